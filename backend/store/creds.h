// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * creds: what lets us in, from the variables and files that the services' own
 * tools use.
 *
 * Variables that hold secrets are read once, then wiped where they stood (so
 * /proc/PID/environ loses them too) and unset: a child never has them. Secrets
 * are in locked memory; none is in a sentence.
 */
#pragma once
#include <stdbool.h>

#include "backend/base/scope.h"
#include "backend/base/secret.h"
#include "backend/store/store.h"

/* The variables. */
struct creds_env {
	struct secret *connection, *azure_key, *sas; /* text; NULL: not set */
	struct secret *aws_id, *aws_key, *aws_token;
};

/* Takes them out of the environment. No other thread may use that. */
int creds_env_take(struct creds_env *out) MUST_USE;
void creds_env_release(struct creds_env *e);
/* Those of this process: taken at the first call, which comes before the second
 * thread and after the last fork(). Never released. */
int creds_env(const struct creds_env **ret) MUST_USE;

struct creds_azure {
	char *account;
	char *endpoint;	 /* "https://account.blob.core.windows.net": no slash at
			    its end */
	char *secondary; /* the same of the read-only copy */
	/* One of them, or neither. */
	struct secret *key; /* of the account, decoded */
	struct secret *sas; /* its text, as it was given, without '?' */
};

/*
 * For an account ("": AZURE_STORAGE_ACCOUNT's): the first of the file of
 * o->sas_file, AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY,
 * AZURE_STORAGE_SAS_TOKEN, and [storage] in $AZURE_CONFIG_DIR/config
 * (~/.azure). Without any of them, o->bearer lets us in; -EACCES if that is
 * not there either.
 */
int creds_azure(const struct creds_env *env, const char *account,
		const struct store_options *o,
		struct creds_azure *out) MUST_USE;
void creds_azure_release(struct creds_azure *c);

struct creds_s3 {
	char *key_id;
	struct secret *key, *token; /* text; token may be NULL */
	char *region;
	char *endpoint; /* no slash at its end; may have "{bucket}" */
	bool own;	/* the endpoint is Amazon's own, for the region */
};

/*
 * AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the
 * section of AWS_PROFILE in AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials);
 * the region from AWS_REGION, AWS_DEFAULT_REGION or AWS_CONFIG_FILE
 * (~/.aws/config); the endpoint from o->endpoint, AWS_ENDPOINT_URL_S3,
 * AWS_ENDPOINT_URL or that file.
 */
int creds_s3(const struct creds_env *env, const struct store_options *o,
	     struct creds_s3 *out) MUST_USE;
void creds_s3_release(struct creds_s3 *c);

/* --- for tests and the fuzzer --- */

struct creds_text {
	const char *p; /* NULL: not there */
	size_t len;
};
/* The value of a key of a section of an ini file; of several, the last. */
struct creds_text creds_ini(const char *text, size_t len, const char *section,
			    const char *key);
/* The value of a name in "Name=Value;Name=Value". */
struct creds_text creds_pair(const char *text, size_t len, const char *name);
