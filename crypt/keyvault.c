// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Lock: `lock` protects what the hosts' challenges were; not held across I/O. Maps
 * and trusted hosts are set up before there are threads.
 */
#include "crypt/keyvault.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/azure.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/base64.h"

/* A secret has at most 25 KiB. */
#define BODY_MAX SECRET_MAX
#define HOSTS_MAX 32
#define DEPTH 16

/* --- what the user says --- */

static struct host_map {
	char from[KV_HOST_MAX], to[KV_HOST_MAX];
} maps[HOSTS_MAX];
static size_t nmaps;
static char trusted[HOSTS_MAX][KV_HOST_MAX];
static size_t ntrusted;

/* A host, or its URL. */
static int read_host(const char *option, const char *text, size_t n,
		     char out[static KV_HOST_MAX])
{
	char full[KV_HOST_MAX + 16];
	struct kv_url u;

	snprintf(full, sizeof(full), "%s%.*s",
		 n > 8 && !strncasecmp(text, "https://", 8) ? "" : "https://",
		 (int)min_u64(n, KV_HOST_MAX), text);
	if (kv_url_parse(full, &u) || u.kind != KV_VAULT)
		return fail(-EINVAL, "%s: '%.*s' is not the host of a vault",
			    option, (int)min_u64(n, 100), text);
	snprintf(out, KV_HOST_MAX, "%s", u.host);
	return 0;
}

int keyvault_map_host(const char *spec)
{
	const char *eq = strchr(spec, '=');
	int r;

	if (!eq)
		return fail(-EINVAL, "--kek-host: '%s' is not OLD=NEW", spec);
	if (nmaps == HOSTS_MAX)
		return fail(-EINVAL, "--kek-host: more than %d", HOSTS_MAX);
	r = read_host("--kek-host", spec, (size_t)(eq - spec),
		      maps[nmaps].from);
	if (!r)
		r = read_host("--kek-host", eq + 1, strlen(eq + 1),
			      maps[nmaps].to);
	if (!r)
		nmaps++;
	return r;
}

const char *keyvault_mapped(const char *host)
{
	for (size_t i = 0; i < nmaps; i++) {
		if (!strcasecmp(maps[i].from, host))
			return maps[i].to;
	}
	return host;
}

int keyvault_trust_resource(const char *host)
{
	int r;

	if (ntrusted == HOSTS_MAX)
		return fail(-EINVAL, "--kv-resource: more than %d", HOSTS_MAX);
	r = read_host("--kv-resource", host, strlen(host), trusted[ntrusted]);
	if (r)
		return r;
	ntrusted++;
	return 0;
}

static bool is_trusted(const char *host)
{
	for (size_t i = 0; i < ntrusted; i++) {
		if (!strcasecmp(trusted[i], host))
			return true;
	}
	return false;
}

/* --- challenges --- */

static pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char host[KV_HOST_MAX];
	struct kv_challenge c;
} challenges[HOSTS_MAX];
static size_t nchallenges;

static bool known_challenge(const char *host, struct kv_challenge *out)
{
	DROP(lock) pthread_mutex_t *held = lock(&lock_);

	for (size_t i = 0; i < nchallenges; i++) {
		if (!strcmp(challenges[i].host, host)) {
			*out = challenges[i].c;
			return true;
		}
	}
	return false;
}

static void keep_challenge(const char *host, const struct kv_challenge *c)
{
	DROP(lock) pthread_mutex_t *held = lock(&lock_);
	size_t i = nchallenges < HOSTS_MAX ? nchallenges++ : 0;

	snprintf(challenges[i].host, sizeof(challenges[i].host), "%s", host);
	challenges[i].c = *c;
}

static int accept_challenge(const char *host, const struct http_response *a,
			    struct kv_challenge *out)
{
	const char *header = http_header(a, "WWW-Authenticate");
	int r;

	if (!header)
		return fail(-EPROTO,
			    "%s: it asks for a token and does not say "
			    "which",
			    host);
	r = kv_challenge_parse(header, out);
	if (r)
		return blame(r, "%s", host);
	if (kv_challenge_fits(out, host))
		return 0;
	if (!is_trusted(host))
		return fail(-EACCES,
			    "%s asks for a token for another service, %s: "
			    "refused (if that is right, as in some clouds: "
			    "--kv-resource %s)",
			    host, out->resource, host);
	log_warn("%s gets a token for %s, as --kv-resource says", host,
		 out->resource);
	return 0;
}

/* --- requests --- */

struct call {
	struct azure *az;
	const struct kv_challenge *c;
	struct azure_token *token;
};

static int set_bearer(void *ctx, struct http_wire *w)
{
	struct call *c = ctx;
	char scope[KV_HOST_MAX + 32];
	int r = azure_scope(c->c->resource, scope, sizeof(scope));

	if (r)
		return r;
	azure_token_unref(take(c->token));
	r = azure_token(c->az, c->c->tenant, scope, &c->token);
	return r ? r : azure_token_header(c->token, w);
}

struct kv_call {
	const char *host;
	const char *method, *path;
	const void *body; /* JSON, or NULL */
	size_t len;
};

static int send_call(struct azure *az, const struct kv_call *k,
		     const struct kv_challenge *c, struct http_response *a)
{
	static const char *const fields[] = {
		"Accept: application/json",
		"Content-Type: application/json",
	};
	DROP(buf) struct buf url = BUF_INIT(4096);
	struct call call = { .az = az, .c = c };
	struct store_piece piece = { k->body, k->len };
	struct http_request q = {
		.method = k->method,
		.what = k->host,
		.fields = fields,
		.nfields = k->body && c ? 2 : 1,
		.prepare = c ? set_bearer : NULL,
		.ctx = &call,
		/* The first one, which only asks which token is wanted, has no
		 * body. */
		.pieces = k->body && c ? &piece : NULL,
		.npieces = k->body && c ? 1 : 0,
		.body_max = BODY_MAX,
		.once = !strcmp(k->method, "PUT"),
		.secret = true,
	};
	int r;

	buf_printf(&url, "https://%s", k->host);
	buf_str(&url, k->path);
	buf_printf(&url, "?%s", KV_API);
	r = buf_check(&url, "URL");
	if (r)
		return r;
	q.url = buf_cstr(&url);
	r = http_do(azure_http(az), &q, a);
	if (!r && a->status == 401 && call.token) {
		/* Perhaps it was revoked. */
		azure_token_reject(az, call.token);
		http_response_release(a);
		r = http_do(azure_http(az), &q, a);
	}
	azure_token_unref(call.token);
	return r;
}

/* Any status. */
static int do_call(const struct kv_call *k, struct http_response *a)
{
	DROP(azure) struct azure *az = NULL;
	struct kv_challenge c;
	int r = azure_ref(&az);

	if (r)
		return r;
	if (!known_challenge(k->host, &c)) {
		DROP(http_response) struct http_response first = { 0 };

		r = send_call(az, k, NULL, &first);
		if (r == -EAGAIN)
			return blame(r, "the key vault (does it exist? 'az "
					"keyvault list-deleted' shows those "
					"that can be recovered)");
		if (r)
			return r;
		if (first.status != 401)
			return fail(-EPROTO,
				    "%s answers %d where a token should be "
				    "asked for: it is no key vault",
				    k->host, first.status);
		r = accept_challenge(k->host, &first, &c);
		if (r)
			return r;
		keep_challenge(k->host, &c);
	}
	return send_call(az, k, &c, a);
}

/* Of a success. */
static char *text_of(const struct http_response *a)
{
	return (char *)secret_bytes(a->locked);
}

static const char *kind_path(const struct kv_url *u)
{
	return u->kind == KV_SECRET ? "secrets" : "keys";
}

static const char *host_of(const struct kv_url *u)
{
	return keyvault_mapped(u->host);
}

/* --- what is gone --- */

static int say_deleted(const struct kv_url *u, const char *body, size_t len)
{
	DROP(json) struct json *j = NULL;
	const char *kind = u->kind == KV_SECRET ? "secret" : "key";
	int64_t now = time_now_ns() / 1000000000;
	uint64_t purge = 0;

	if (json_parse(body, len, DEPTH, &j))
		err_clear();
	if (json_get_u64(j, "scheduledPurgeDate", &purge) &&
	    purge > (uint64_t)now)
		return fail(-ENOENT,
			    "%s %s of %s was deleted; it can be recovered for "
			    "%" PRIu64 " days more: 'az keyvault %s recover "
			    "--vault-name %.*s --name %s'",
			    kind, u->name, host_of(u),
			    (purge - (uint64_t)now) / 86400, kind,
			    (int)strcspn(host_of(u), "."), host_of(u), u->name);
	return fail(-ENOENT,
		    "%s %s of %s was deleted; it may still be recovered: 'az "
		    "keyvault %s recover --vault-name %.*s --name %s'",
		    kind, u->name, host_of(u), kind,
		    (int)strcspn(host_of(u), "."), host_of(u), u->name);
}

static int ask(const struct kv_url *u, const char *folder, const char *version,
	       struct http_response *a)
{
	char path[3 * KV_NAME_MAX];
	struct kv_call k = { .host = host_of(u),
			     .method = "GET",
			     .path = path };

	snprintf(path, sizeof(path), "/%s%s/%s%s%s", folder, kind_path(u),
		 u->name, *version ? "/" : "", version);
	return do_call(&k, a);
}

/* After a 404: why, as far as we may see. */
static int say_missing(const struct kv_url *u)
{
	DROP(http_response) struct http_response gone = { 0 }, other = { 0 };
	const char *kind = u->kind == KV_SECRET ? "secret" : "key";
	int r = ask(u, "deleted", "", &gone);

	if (!r && gone.status == 200)
		return say_deleted(u, text_of(&gone), gone.locked_len);
	if (!r && gone.status == 403)
		return fail(-ENOENT,
			    "%s %s is not in %s; whether it was deleted this "
			    "identity may not see: 'az keyvault %s "
			    "list-deleted'",
			    kind, u->name, host_of(u), kind);
	if (*u->version && !ask(u, "", "", &other) && other.status == 200)
		return fail(-ENOENT,
			    "%s %s is in %s, but not its version %s, which the "
			    "record names: 'vaultkey restore-to-keyvault' puts "
			    "it back from a backup under another vault, and "
			    "--kek-host %s=THAT-HOST finds it there",
			    kind, u->name, host_of(u), u->version, u->host);
	return fail(-ENOENT,
		    "%s %s is not in %s, nor among what was deleted there: it "
		    "was purged, or is in another vault (--kek-host "
		    "%s=THAT-HOST); 'vaultkey restore-to-keyvault' puts it "
		    "back where a point has its backup",
		    kind, u->name, host_of(u), u->host);
}

static int settle(const struct kv_url *u, const char *verb,
		  const struct http_response *a)
{
	struct kv_url shown = *u;

	if (a->status >= 200 && a->status <= 299)
		return 0;
	snprintf(shown.host, sizeof(shown.host), "%s", host_of(u));
	/* What is put back is not there yet. */
	if (a->status == 404 &&
	    (!strcmp(verb, "get") || !strcmp(verb, "unwrapKey")))
		return say_missing(u);
	return kv_failed(&shown, verb, a->status, (char *)a->body.data,
			 a->body.len);
}

/* NAME.managedhsm.azure.net, and alike in each cloud. */
static bool is_hsm(const char *host)
{
	const char *dot = strchr(host, '.');

	return dot && !strncasecmp(dot, ".managedhsm.", 12);
}

/* --- what it is for --- */

int keyvault_get_secret(const struct kv_url *u, struct secret **json)
{
	DROP(http_response) struct http_response a = { 0 };
	int r;

	if (is_hsm(host_of(u)))
		return fail(-ENOENT,
			    "%s: a managed HSM has keys only, no secrets: give "
			    "the volume's own key with --bek",
			    host_of(u));
	if (u->kind != KV_SECRET || !*u->version)
		return fail(-EINVAL, "a secret's address with its version is "
				     "needed");
	r = ask(u, "", u->version, &a);
	if (!r)
		r = settle(u, "get", &a);
	if (!r)
		r = secret_copy(text_of(&a), a.locked_len, json);
	return r;
}

/* Wrapped or not is said by the point or the disk first, then by the secret. */
int keyvault_read_record(const struct escrow_record *ref,
			 struct escrow_record *out, struct secret **bek)
{
	const char *kek =
		json_get_str(ref->tags, "DiskEncryptionKeyEncryptionKeyURL");
	struct escrow_request rq = {
		.what = ref->secret_url,
		.wrapped_kek_url = kek && *kek ? kek : NULL,
	};
	DROP(secret) struct secret *json = NULL;
	struct kv_url u;
	int r = kv_url_parse(ref->secret_url, &u);

	rq.plain = !rq.wrapped_kek_url && !strcasecmp(ref->content_type, "BEK");
	if (!r)
		r = keyvault_get_secret(&u, &json);
	if (!r)
		r = escrow_read(json, &rq, out, bek);
	if (r)
		return r;
	memcpy(out->disk, ref->disk, sizeof(out->disk));
	out->part = ref->part;
	/* Where the point says it was, and not where it was found. */
	memcpy(out->secret_url, ref->secret_url, sizeof(out->secret_url));
	if (!*out->file_name)
		memcpy(out->file_name, ref->file_name, sizeof(out->file_name));
	return 0;
}

int keyvault_check(const struct kv_url *u)
{
	DROP(http_response) struct http_response a = { 0 };
	int r = ask(u, "", u->version, &a);

	if (!r)
		r = settle(u, "get", &a);
	return r;
}

static int decode_plain(struct http_response *a, struct secret **ret)
{
	DROP(secret) struct secret *text = NULL, *bytes = NULL;
	size_t n;
	int r = kv_cut_value(text_of(a), a->locked_len, &text);

	if (r)
		return r;
	n = secret_size(text);
	r = secret_new(BASE64_DECODED_MAX(n), &bytes);
	if (r)
		return r;
	if (!base64_decode(secret_bytes(text), n, secret_bytes(bytes), &n) ||
	    !n)
		return fail(-EPROTO, "its value is no base64");
	return secret_copy(secret_bytes(bytes), n, ret);
}

int keyvault_unwrap(const struct kv_url *u, enum wrap_alg alg,
		    const void *value, size_t size, struct secret **ret)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(buf) struct buf body = BUF_INIT(16384);
	char path[3 * KV_NAME_MAX], text[BASE64_ENCODED_SIZE(WRAP_SIZE_MAX)];
	struct kv_call k = { .host = host_of(u), .method = "POST" };
	int r;

	if (u->kind != KV_KEY || size > WRAP_SIZE_MAX)
		return fail(-EINVAL, "no key, or %zu bytes to unwrap", size);
	base64url_encode(value, size, text);
	buf_printf(&body, "{\"alg\":\"%s\",\"value\":\"%s\"}",
		   wrap_alg_name(alg), text);
	snprintf(path, sizeof(path), "/keys/%s%s%s/unwrapkey", u->name,
		 *u->version ? "/" : "", u->version);
	r = buf_check(&body, "a request");
	if (r)
		return r;
	k.path = path;
	k.body = body.data;
	k.len = body.len;
	r = do_call(&k, &a);
	if (r)
		return r;
	/* Another key's, or the wrong algorithm: nobody is told which. */
	if (a.status == 400)
		return fail(-ENOKEY, "key %s of %s does not unwrap this",
			    u->name, k.host);
	r = settle(u, "unwrapKey", &a);
	if (!r) {
		r = decode_plain(&a, ret);
		if (r)
			r = blame(r, "key %s of %s", u->name, k.host);
	}
	return r;
}

/* --- putting back --- */

int keyvault_restore(const struct kv_url *u, const void *blob, size_t size)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(mem) char *text = malloc(BASE64_ENCODED_SIZE(size) + 32);
	char path[64];
	struct kv_call k = { .host = host_of(u),
			     .method = "POST",
			     .path = path };
	size_t n;
	int r;

	if (!text)
		return fail(-ENOMEM, "out of memory");
	n = (size_t)snprintf(text, 32, "{\"value\":\"");
	base64url_encode(blob, size, text + n);
	n = strlen(text);
	memcpy(text + n, "\"}", 3);
	snprintf(path, sizeof(path), "/%s/restore", kind_path(u));
	k.body = text;
	k.len = n + 2;
	r = do_call(&k, &a);
	explicit_bzero(text, n);
	if (!r)
		r = settle(u, "restore", &a);
	return r;
}

/* What needs no escape in JSON: all that a BEK is kept as. */
static bool is_base64(const struct secret *value)
{
	const uint8_t *p = secret_bytes((struct secret *)(uintptr_t)value);

	for (size_t i = 0; i < secret_size(value); i++) {
		if (!isalnum(p[i]) && (!p[i] || !strchr("+/=-_", p[i])))
			return false;
	}
	return true;
}

/* The request but for its value, which does not pass through json-c. */
static int set_rest(const char *content_type, const struct json *tags,
		    char **text, size_t *n)
{
	DROP(json) struct json *j = json_object(), *copy = NULL;
	DROP(mem) char *tag_text = NULL;
	int r = 0;

	if (content_type && *content_type)
		json_set_str(j, "contentType", content_type);
	if (tags) {
		r = json_text(tags, false, &tag_text, n);
		if (!r)
			r = json_parse(tag_text, *n, DEPTH, &copy);
		json_set(j, "tags", take(copy));
	}
	return r ? r : json_text(j, false, text, n);
}

int keyvault_set_secret(const struct kv_url *u, struct secret *value,
			const char *content_type, const struct json *tags)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(mem) char *rest = NULL;
	DROP(buf) struct buf body = SECRET_BUF_INIT(2 * SECRET_MAX);
	char path[2 * KV_NAME_MAX];
	struct kv_call k = { .host = host_of(u),
			     .method = "PUT",
			     .path = path };
	size_t n = 0;
	int r = set_rest(content_type, tags, &rest, &n);

	if (r)
		return r;
	if (!is_base64(value))
		return fail(-EPROTO, "the value of secret %s is not base64",
			    u->name);
	/* At once, so that no smaller buffer is left behind. */
	if (!buf_reserve(&body, secret_size(value) + n + 32))
		return buf_check(&body, "a request");
	buf_str(&body, "{\"value\":\"");
	buf_add(&body, secret_bytes(value), secret_size(value));
	/* rest is "{…}": its members follow. */
	buf_str(&body, strcmp(rest, "{}\n") ? "\"," : "\"");
	buf_add(&body, rest + 1, n - 1);
	r = buf_check(&body, "a request");
	if (r)
		return r;
	snprintf(path, sizeof(path), "/secrets/%s", u->name);
	k.body = body.data;
	k.len = body.len;
	r = do_call(&k, &a);
	return r ? r : settle(u, "set", &a);
}
