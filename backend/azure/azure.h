// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * azure: what all talk with Azure shares in a process: the cloud, a pool of
 * connections, and the tokens, one cache by scope.
 *
 * The cloud is the one that AZURE_AUTHORITY_HOST belongs to (public, US Gov,
 * China), or VAULTFS_AZURE_CLOUD names; VAULTFS_AZURE_ARM is another address of
 * its resource manager (Azure Stack; a double). Credentials are looked for as
 * the official DefaultAzureCredential does:
 *
 *	EnvironmentCredential		AZURE_TENANT_ID, AZURE_CLIENT_ID and
 *		AZURE_CLIENT_SECRET, or AZURE_CLIENT_CERTIFICATE_PATH
 *	WorkloadIdentityCredential	AZURE_FEDERATED_TOKEN_FILE
 *	ManagedIdentityCredential	App Service, Arc, IMDS
 *	AzureCliCredential		az account get-access-token
 *
 * The first that is there is kept for good; one that is there and refused ends the
 * search. AZURE_TOKEN_CREDENTIALS narrows it: "prod" (the first three), "dev" (the
 * last), or one of the names. AZURE_CLIENT_SECRET and
 * AZURE_CLIENT_CERTIFICATE_PASSWORD are unset once they were read.
 *
 * No token is ever in a log or a sentence; it is kept in locked memory, and what
 * libcurl had of it while it was sent is wiped. Any thread.
 */
#pragma once
#include "backend/base/scope.h"
#include "backend/store/http.h"

struct azure;

struct azure_cloud {
	const char *name;
	const char *authority; /* https://login…, no '/' at its end */
	const char *arm;       /* https://management… */
	const char *arm_audience;
	const char *vault_suffix; /* .vault.azure.net */
	const char *hsm_suffix;	  /* NULL: none there */
	const char *blob_suffix;
};

/* The process's one, made by the first call; while a fork() is to come, nobody
 * may ask. -EINVAL where the environment says what cannot be. */
int azure_ref(struct azure **ret) MUST_USE;
/* Before that, --cacert: the authorities to trust, else VAULTFS_CACERT, else the
 * system's. NULL is ignored; the file's name is copied. */
int azure_use_ca(const char *file) MUST_USE;
void azure_unref(struct azure *az);
DROP_DEFINE(azure, struct azure *, azure_unref)

const struct azure_cloud *azure_cloud(const struct azure *az);
struct http *azure_http(const struct azure *az);

struct azure_token {
	struct secret *field; /* "Bearer …" and its NUL */
	int refs;	      /* atomic */
};
void azure_token_unref(struct azure_token *t);
DROP_DEFINE(azure_token, struct azure_token *, azure_token_unref)
/* Sets the Authorization of one try. */
int azure_token_header(const struct azure_token *t,
		       struct http_wire *w) MUST_USE;

/*
 * A token for a scope ("https://management.azure.com/.default"), counted; renewed
 * before it ends, by one thread while the others go on with the old one. tenant:
 * NULL for the credential's own. -EACCES: refused, or no credential is there, with
 * a sentence that says what was tried; -EAGAIN: nobody answers.
 */
int azure_token(struct azure *az, const char *tenant, const char *scope,
		struct azure_token **ret) MUST_USE;
/* The service refused it: the next call gets another. */
void azure_token_reject(struct azure *az, const struct azure_token *t);
/* Which credential is used: "EnvironmentCredential", …; "" before the first
 * token. */
const char *azure_credential_name(const struct azure *az);

/* "<audience>/.default" */
int azure_scope(const char *audience, char *out, size_t size) MUST_USE;
