// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The process's Azure, and its cache of tokens. An entry stays while the process
 * runs: there are as many as there are scopes and tenants, which are few.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/azure/credential.h"
#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"

#define ENTRIES_MAX 64
#define SECOND UINT64_C(1000000000)
/* As the official clients: five minutes before the end, or half of its life. */
#define EARLY_NS (300 * SECOND)
#define AGAIN_NS (30 * SECOND)
/* A token that ends sooner is not worth sending. */
#define USABLE_NS (5 * SECOND)

struct entry {
	char *tenant; /* "" : the credential's own */
	char *scope;
	struct azure_token *token;
	uint64_t renew_ns, end_ns; /* monotonic */
	bool busy;		   /* somebody asks for one */
};

struct azure {
	int refs; /* under `shared_lock` */
	struct azure_cloud cloud;
	char *own_authority, *own_arm;
	struct http *http;
	struct credentials *credentials;

	pthread_mutex_t lock; /* protects the entries; not held across I/O */
	pthread_cond_t changed;
	struct entry entries[ENTRIES_MAX];
	size_t nentries;
};

/* One environment, one identity: every vault and every KEK uses it. */
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct azure *shared;
static char *ca_file;

static const struct azure_cloud clouds[] = {
	{
		.name = "public",
		.authority = "https://login.microsoftonline.com",
		.arm = "https://management.azure.com",
		.arm_audience = "https://management.azure.com",
		.vault_suffix = ".vault.azure.net",
		.hsm_suffix = ".managedhsm.azure.net",
		.blob_suffix = ".blob.core.windows.net",
	},
	{
		.name = "usgov",
		.authority = "https://login.microsoftonline.us",
		.arm = "https://management.usgovcloudapi.net",
		.arm_audience = "https://management.usgovcloudapi.net",
		.vault_suffix = ".vault.usgovcloudapi.net",
		.hsm_suffix = ".managedhsm.usgovcloudapi.net",
		.blob_suffix = ".blob.core.usgovcloudapi.net",
	},
	{
		.name = "china",
		.authority = "https://login.partner.microsoftonline.cn",
		.arm = "https://management.chinacloudapi.cn",
		.arm_audience = "https://management.chinacloudapi.cn",
		.vault_suffix = ".vault.azure.cn",
		.hsm_suffix = ".managedhsm.azure.cn",
		.blob_suffix = ".blob.core.chinacloudapi.cn",
	},
};

/* --- the cloud --- */

static const char *set_variable(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* A copy without '/' at its end. Only https: what goes there is a secret. */
static int address(const char *name, const char *value, char **ret)
{
	size_t n = strlen(value);

	if (strncasecmp(value, "https://", 8) != 0)
		return fail(-EINVAL, "%s: '%s' is not an https address", name,
			    value);
	while (n > 8 && value[n - 1] == '/')
		n--;
	*ret = strndup(value, n);
	return *ret ? 0 : fail(-ENOMEM, "out of memory");
}

static bool is_of_cloud(const struct azure_cloud *c, const char *authority)
{
	return strcasecmp(authority, c->authority) == 0 ||
	       (strcmp(c->name, "china") == 0 &&
		strcasecmp(authority, "https://login.chinacloudapi.cn") == 0);
}

static int choose_cloud(struct azure *az)
{
	const char *name = set_variable("VAULTFS_AZURE_CLOUD");
	const char *authority = set_variable("AZURE_AUTHORITY_HOST");
	const char *arm = set_variable("VAULTFS_AZURE_ARM");
	size_t i, found = name ? ARRAY_SIZE(clouds) : 0;
	int r;

	if (authority) {
		r = address("AZURE_AUTHORITY_HOST", authority,
			    &az->own_authority);
		if (r)
			return r;
	}
	for (i = 0; i < ARRAY_SIZE(clouds); i++) {
		if (name ? strcasecmp(name, clouds[i].name) == 0
			 : authority &&
				    is_of_cloud(&clouds[i], az->own_authority))
			found = i;
	}
	if (found == ARRAY_SIZE(clouds))
		return fail(-EINVAL,
			    "VAULTFS_AZURE_CLOUD: '%s' is none of public, "
			    "usgov, china",
			    name);
	az->cloud = clouds[found];
	if (az->own_authority)
		az->cloud.authority = az->own_authority;
	if (!arm)
		return 0;
	r = address("VAULTFS_AZURE_ARM", arm, &az->own_arm);
	if (!r)
		az->cloud.arm = az->own_arm;
	return r;
}

const struct azure_cloud *azure_cloud(const struct azure *az)
{
	return &az->cloud;
}

struct http *azure_http(const struct azure *az)
{
	return az->http;
}

const char *azure_credential_name(const struct azure *az)
{
	return credentials_name(az->credentials);
}

int azure_scope(const char *audience, char *out, size_t size)
{
	size_t n = strlen(audience);
	int len;

	while (n && audience[n - 1] == '/')
		n--;
	len = snprintf(out, size, "%.*s/.default", (int)n, audience);
	if (len < 0 || (size_t)len >= size)
		return fail(-EPROTO, "a token's audience of %zu bytes", n);
	return 0;
}

/* --- the process's one --- */

static void azure_free(struct azure *az)
{
	if (!az)
		return;
	credentials_free(az->credentials);
	http_free(az->http);
	free(az->own_authority);
	free(az->own_arm);
	pthread_cond_destroy(&az->changed);
	pthread_mutex_destroy(&az->lock);
	free(az);
}

DROP_DEFINE(azure_new, struct azure *, azure_free)

static int azure_new(struct azure **ret)
{
	DROP(azure_new) struct azure *az = calloc(1, sizeof(*az));
	int r;

	if (!az)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&az->lock, NULL);
	cancel_cond_init(&az->changed);
	r = choose_cloud(az);
	if (!r)
		r = credentials_new(az->cloud.authority, &az->credentials);
	if (r)
		return r;
	*ret = take(az);
	return 0;
}

int azure_use_ca(const char *file)
{
	DROP(lock) pthread_mutex_t *held = lock(&shared_lock);

	if (!file)
		return 0;
	free(ca_file);
	ca_file = strdup(file);
	return ca_file ? 0 : fail(-ENOMEM, "out of memory");
}

static int connect_all(struct azure *az)
{
	struct http_options o = {
		.ca_file = ca_file ? ca_file : set_variable("VAULTFS_CACERT"),
		.secret = true,
	};
	int r = http_new(&o, &az->http);

	return r ? r : credentials_connect(az->credentials, az->http);
}

int azure_ref(struct azure **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&shared_lock);
	int r = 0;

	if (!shared)
		r = azure_new(&shared);
	if (!r && !shared->http)
		r = connect_all(shared);
	if (r)
		return r;
	shared->refs++;
	*ret = shared;
	return 0;
}

/* The last one closes the connections. What the environment said is kept: its
 * secrets are no longer there to be read. */
void azure_unref(struct azure *az)
{
	DROP(lock) pthread_mutex_t *held = NULL;

	if (!az)
		return;
	held = lock(&shared_lock);
	if (--az->refs)
		return;
	credentials_disconnect(az->credentials);
	http_free(take(az->http));
}

/* --- tokens --- */

void azure_token_unref(struct azure_token *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	secret_close(t->field);
	free(t);
}

int azure_token_header(const struct azure_token *t, struct http_wire *w)
{
	return http_wire_set(w, "Authorization",
			     (const char *)secret_bytes(t->field));
}

static struct azure_token *token_ref(struct azure_token *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

static int token_new(const struct secret *token, struct azure_token **ret)
{
	static const char word[] = "Bearer ";
	size_t n = secret_size(token), before = sizeof(word) - 1;
	DROP(azure_token) struct azure_token *t = calloc(1, sizeof(*t));
	uint8_t *at;
	int r;

	if (!t)
		return fail(-ENOMEM, "out of memory");
	t->refs = 1;
	r = secret_new(before + n + 1, &t->field);
	if (r)
		return r;
	at = secret_bytes(t->field);
	memcpy(at, word, before);
	memcpy(at + before, secret_bytes((struct secret *)(uintptr_t)token), n);
	*ret = take(t);
	return 0;
}

/* The entry, made if need be; NULL without memory or room. Under the lock. */
static struct entry *entry_of(struct azure *az, const char *tenant,
			      const char *scope)
{
	struct entry *e;

	for (size_t i = 0; i < az->nentries; i++) {
		e = &az->entries[i];
		if (!strcmp(e->tenant, tenant) && !strcmp(e->scope, scope))
			return e;
	}
	if (az->nentries == ENTRIES_MAX)
		return NULL;
	e = &az->entries[az->nentries];
	e->tenant = strdup(tenant);
	e->scope = strdup(scope);
	if (!e->tenant || !e->scope) {
		free(take(e->tenant));
		free(take(e->scope));
		return NULL;
	}
	az->nentries++;
	return e;
}

enum found { FOUND, FETCH, WAIT };

/* What a caller does now. Under the lock. */
static enum found entry_state(struct entry *e, struct azure_token **ret)
{
	uint64_t now = monotonic_ns();
	bool good = e->token && now + USABLE_NS < e->end_ns;

	if (good && (e->busy || now < e->renew_ns)) {
		*ret = token_ref(e->token);
		return FOUND;
	}
	if (e->busy)
		return WAIT;
	e->busy = true;
	return FETCH;
}

/* After asking, with what it gave. An early renewal that failed is no failure: the
 * old one still serves. */
static int entry_settle(struct azure *az, struct entry *e, int r,
			struct grant *g, struct azure_token **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&az->lock);
	uint64_t now = monotonic_ns(), life;
	struct azure_token *t = NULL;

	e->busy = false;
	pthread_cond_broadcast(&az->changed);
	if (!r)
		r = token_new(g->token, &t);
	if (r) {
		if (!e->token || now + USABLE_NS >= e->end_ns)
			return r;
		log_debug("a token was not renewed: %s", err_text(r));
		e->renew_ns = now + AGAIN_NS;
		*ret = token_ref(e->token);
		return 0;
	}
	life = g->life_s * SECOND;
	azure_token_unref(e->token);
	e->token = t;
	e->end_ns = now + life;
	e->renew_ns = now + life - (life > 2 * EARLY_NS ? EARLY_NS : life / 2);
	*ret = token_ref(t);
	return 0;
}

int azure_token(struct azure *az, const char *tenant, const char *scope,
		struct azure_token **ret)
{
	DROP(grant) struct grant g = { 0 };
	enum found found = WAIT;
	struct entry *e;
	int r = 0;

	pthread_mutex_lock(&az->lock);
	e = entry_of(az, tenant ? tenant : "", scope);
	while (e && !r && (found = entry_state(e, ret)) == WAIT)
		r = cancel_cond_wait(&az->changed, &az->lock);
	pthread_mutex_unlock(&az->lock);
	if (!e)
		return fail(-ENOMEM, "no room for another token");
	if (r || found == FOUND)
		return r;
	r = credentials_get(az->credentials, tenant, scope, &g);
	return entry_settle(az, e, r, &g, ret);
}

void azure_token_reject(struct azure *az, const struct azure_token *t)
{
	DROP(lock) pthread_mutex_t *held = lock(&az->lock);

	for (size_t i = 0; i < az->nentries; i++) {
		if (az->entries[i].token == t)
			az->entries[i].end_ns = 0;
	}
}
