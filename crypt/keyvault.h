// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keyvault: Azure Key Vault and Managed HSM, as far as a recovery takes them:
 * secrets read by version, unwrapKey, what was deleted, and putting back.
 *
 * A token is asked for as the vault's own 401 says (tenant, resource), which is
 * believed only if the vault's host lies under the resource's; for hosts named by
 * keyvault_trust_resource() whatever it says is taken, and said on stderr.
 *
 * Errors, with what to do in the sentence: -EACCES (no permission, firewall,
 * disabled), -ENOENT (deleted, purged, another version), -EAGAIN nobody answers,
 * -EBUSY (409), -EPROTO, -EIO. Plain keys are in secrets only; what passes through
 * the connection's buffers is wiped where it is ours.
 *
 * Any thread; but configure before the second one.
 */
#pragma once
#include "crypt/escrow.h"

#define KV_HOST_MAX 256
#define KV_NAME_MAX 128
#define KV_API "api-version=7.4"

enum kv_kind { KV_KEY, KV_SECRET, KV_VAULT };

/* https://HOST[:PORT]/keys/NAME[/VERSION], the same of secrets, or the vault's own
 * address. Host and kind in lower case, the default port left out. */
struct kv_url {
	enum kv_kind kind;
	char host[KV_HOST_MAX]; /* with a port that is not 443 */
	char name[KV_NAME_MAX];
	char version[KV_NAME_MAX]; /* "": none */
};
/* -EINVAL with a sentence. */
int kv_url_parse(const char *text, struct kv_url *out) MUST_USE;
/* Names and versions, without case; a version that one of them has not is no
 * difference. Not the hosts. */
bool kv_url_same_object(const struct kv_url *a, const struct kv_url *b);

/* --kek-host OLD=NEW: what a record says is in OLD is looked for in NEW. */
int keyvault_map_host(const char *spec) MUST_USE;
/* The host where to look for what is said to be in this one. */
const char *keyvault_mapped(const char *host);
/* --kv-resource HOST: whatever this host names as its resource gets a token. */
int keyvault_trust_resource(const char *host) MUST_USE;

/* A secret, as `az keyvault secret show` would print it: for escrow_read(). url with
 * version (a record's is never taken for the newest). */
int keyvault_get_secret(const struct kv_url *url,
			struct secret **json) MUST_USE;
/* The record that a secret makes which `ref` only refers to, for the same place; the
 * BEK itself where it is not wrapped, else *bek is NULL. */
int keyvault_read_record(const struct escrow_record *ref,
			 struct escrow_record *out,
			 struct secret **bek) MUST_USE;
/* -ENOKEY: the key does not unwrap this. */
int keyvault_unwrap(const struct kv_url *key, enum wrap_alg alg,
		    const void *value, size_t size,
		    struct secret **ret) MUST_USE;
/* Whether it is there and may be read: 0, or as above. */
int keyvault_check(const struct kv_url *url) MUST_USE;

/* Puts back from a backup blob (bytes, as the service gave them). -EEXIST: there is
 * one of that name. */
int keyvault_restore(const struct kv_url *where, const void *blob,
		     size_t size) MUST_USE;
/* Sets a secret of that name: a new version. record: its content type and tags. */
int keyvault_set_secret(const struct kv_url *where, struct secret *value,
			const char *content_type,
			const struct json *tags) MUST_USE;

/* --- pure, for tests --- */

struct kv_challenge {
	char tenant[64];
	char resource[KV_HOST_MAX + 16]; /* https://… */
};
/* Of a WWW-Authenticate header: authorization or authorization_uri, resource or
 * scope. -EPROTO. */
int kv_challenge_parse(const char *header, struct kv_challenge *out) MUST_USE;
/* Does the host (without port) lie under the resource's? */
bool kv_challenge_fits(const struct kv_challenge *c, const char *host);
/* What an answer means; verb: "unwrapKey", "get", …. -EACCES and so on. */
int kv_failed(const struct kv_url *url, const char *verb, int status,
	      const char *body, size_t len) MUST_USE;
/* The string member "value" of an object, out of text, which is wiped there. */
int kv_cut_value(char *text, size_t len, struct secret **ret) MUST_USE;
