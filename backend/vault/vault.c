// SPDX-License-Identifier: GPL-3.0-or-later
/* Header and config (FORMAT.md 3). */
#include "backend/vault/vault_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/vault/beside.h"
#include "backend/vault/fetch.h"
#include "backend/vault/keys.h"

struct store *vault_store(struct vault *v)
{
	return v->store;
}

const struct vault_id *vault_id(const struct vault *v)
{
	return &v->id;
}

const char *vault_name(const struct vault *v)
{
	return v->name;
}

enum seal_trust vault_trust(const struct vault *v)
{
	return v->trust;
}

struct cache *vault_cache(const struct vault *v)
{
	return v->cache;
}

struct fetch *vault_fetch(const struct vault *v)
{
	return v->fetch;
}

/* --- config --- */

struct vault_config *vault_config_ref(struct vault *v)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);

	__atomic_add_fetch(&v->config->refs, 1, __ATOMIC_RELAXED);
	return v->config;
}

void vault_config_unref(struct vault_config *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vf_config_release(&c->c);
	free(c);
}

void vault_cannot_remember(struct vault *v, int r)
{
	bool first;

	pthread_mutex_lock(&v->lock);
	first = !v->state_warned;
	v->state_warned = true;
	pthread_mutex_unlock(&v->lock);
	if (first)
		log_warn(
			"the heads seen of vault %s cannot be remembered, so a later rollback of it would not be noticed: %s",
			v->name, err_text(r));
}

/* An older config than one seen before, or another of the same number? */
static int check_config_seen(struct vault *v, const struct vf_config *c)
{
	char path[KEYS_PATH_SIZE];
	struct digest seen;
	uint64_t n;
	int r = keys_seen_config(&v->id, &n, &seen);

	if (r)
		return r;
	if (c->n < n) {
		keys_seen_path(&v->id, NULL, path);
		return fail(-EKEYREJECTED,
			    "its config is rolled back: number %" PRIu64
			    " was seen before, now the newest is %" PRIu64
			    "; if that is meant, remove %s",
			    n, c->n, path);
	}
	if (c->n == n && !digest_equal(&seen, &c->digest))
		return fail(
			-EKEYREJECTED,
			"config %" PRIu64
			" is not the one that was seen before: the vault was tampered with",
			n);
	if (c->n > n) {
		r = keys_see_config(&v->id, c->n, &c->digest);
		if (r)
			vault_cannot_remember(v, r);
	}
	return 0;
}

/* Without these nothing of a vault can be read, nor verified. */
static int irreplaceable(int r)
{
	return r == -EBADMSG || r == -EPROTO
		       ? advise(r, "put it back from a copy of the vault")
		       : r;
}

static int load_config(struct vault *v, uint64_t n, struct vault_config **ret)
{
	DROP(buf) struct buf b = BUF_INIT(VF_CONFIG_MAX);
	DROP(vault_config) struct vault_config *c = calloc(1, sizeof(*c));
	char key[VF_KEY_SIZE];
	int r;

	if (!c)
		return fail(-ENOMEM, "no memory for a config");
	c->refs = 1;
	vf_key_config(key, n);
	r = store_get(v->store, key, VF_CONFIG_MAX, &b);
	if (!r)
		r = vf_config_parse(b.data, b.len, &c->c);
	if (r)
		return irreplaceable(blame(r, "config %s", key));
	if (memcmp(&c->c.id, &v->id, sizeof(v->id)) != 0 || c->c.n != n ||
	    memcmp(&c->c.owner, &v->owner, sizeof(v->owner)) != 0)
		return fail(
			-EKEYREJECTED,
			"config %s belongs to another vault, owner or number",
			key);
	*ret = take(c);
	return 0;
}

int vault_newest_number(struct store *s, const char *prefix, uint64_t *n)
{
	DROP(mem) char *after = strdup("");
	size_t ask = 1;

	while (after) {
		DROP(store_list) struct store_list l = { 0 };
		int r = store_list(s, prefix, after, ask, false, &l);

		if (r)
			return r;
		for (size_t i = 0; i < l.count; i++)
			if (!vf_key_inverse(l.entries[i].key + strlen(prefix),
					    n))
				return 0;
		if (!l.more || !l.count)
			return fail(-ENOENT, "nothing below %s", prefix);
		free(after);
		after = strdup(l.entries[l.count - 1].key);
		ask = 1000;
	}
	return fail(-ENOMEM, "no memory for a listing");
}

struct newest {
	struct store *store;
	uint64_t n;
};

static int ask_newest(void *ctx)
{
	struct newest *x = ctx;

	return vault_newest_number(x->store, "h/", &x->n);
}

/* r: how the question for the newest number n ended. */
static int newest_config(struct vault *v, int r, uint64_t n,
			 struct vault_config **ret)
{
	if (r == -ENOENT)
		return fail(
			-EPROTO,
			"it has a header but no config: put h/ back from a copy of the vault");
	return r ? r : load_config(v, n, ret);
}

/* What began at that time has asked for the newest. */
static int take_config(struct vault *v, int r, uint64_t n, uint64_t began)
{
	DROP(vault_config) struct vault_config *c = NULL;
	struct vault_config *old;

	r = newest_config(v, r, n, &c);
	if (!r)
		r = check_config_seen(v, &c->c);
	if (r)
		return blame(r, "vault %s", store_url(v->store));
	pthread_mutex_lock(&v->lock);
	old = v->config;
	if (old && old->c.n > c->c.n)
		old = take(c); /* a faster thread had a newer one */
	else
		v->config = take(c);
	v->config_read_ns = max_u64(v->config_read_ns, began);
	pthread_mutex_unlock(&v->lock);
	vault_config_unref(old);
	return 0;
}

int vault_reload_config(struct vault *v)
{
	struct newest x = { .store = v->store };
	uint64_t began = monotonic_ns();
	int r = ask_newest(&x);

	return take_config(v, r, x.n, began);
}

int vault_put_config(struct vault *v, struct vf_config *c)
{
	DROP(secret) struct secret *seed = NULL;
	DROP(vault_config) struct vault_config *now = NULL;
	DROP(buf) struct buf b = BUF_INIT(VF_CONFIG_MAX);
	char key[VF_KEY_SIZE];
	int r = keys_load(&v->id, "owner", &seed);

	if (r)
		return r;
	now = vault_config_ref(v);
	c->id = v->id;
	c->owner = v->owner;
	c->n = now->c.n + 1;
	c->prev = now->c.digest;
	c->time_ns = time_now_ns();
	r = vf_config_put(&b, c, seed);
	if (r)
		return r;
	vf_key_config(key, c->n);
	r = store_put_whole(v->store, key, b.data, b.len);
	if (r == -EEXIST)
		return fail(
			r,
			"vault %s: another change of its keys was faster; run this again",
			v->name);
	if (!r)
		r = store_barrier(v->store);
	return r ? r : vault_reload_config(v);
}

/* --- opening --- */

/* A store without a header is no vault, or one that lost it. */
static int no_header(struct vault *v)
{
	char key[VF_KEY_SIZE];
	int r = vault_remains(v->store, key);

	if (r < 0)
		return r;
	if (r)
		return fail(-EPROTO, VAULT_HEADLESS, key);
	return fail(-ENOENT, "not a vault: it has no " VF_HEADER_KEY
			     "; make one with 'vaultctl init'");
}

static int read_header(struct vault *v)
{
	DROP(buf) struct buf b = BUF_INIT(4096);
	struct vf_header h;
	int r = store_get(v->store, VF_HEADER_KEY, 4096, &b);

	if (r == -ENOENT)
		return no_header(v);
	if (!r)
		r = vf_header_parse(b.data, b.len, &h);
	if (r)
		return irreplaceable(blame(r, VF_HEADER_KEY));
	v->id = h.id;
	v->owner = h.owner;
	return 0;
}

static int check_pin(struct vault *v)
{
	struct sign_public pinned;
	char hex[2 * SIGN_PUBLIC_SIZE + 1];
	int r = keys_pinned(&v->id, &pinned);

	if (r == -ENOENT) {
		v->trust = SEAL_UNPINNED;
		return 0;
	}
	if (r)
		return r;
	hex_of(pinned.b, sizeof(pinned.b), hex);
	hex[16] = '\0';
	if (memcmp(&pinned, &v->owner, sizeof(pinned)) != 0)
		return fail(
			-EKEYREJECTED,
			"its owner key is not the one that is pinned (%s…): this is not the vault you knew",
			hex);
	v->trust = SEAL_PINNED;
	return 0;
}

int vault_open(struct store *store, struct cache *cache, uint64_t refresh_ms,
	       struct vault **ret)
{
	DROP(vault) struct vault *v = calloc(1, sizeof(*v));
	DROP(beside) struct beside numbers = { 0 };
	struct newest x = { .store = store };
	uint64_t began = monotonic_ns();
	int r;

	if (!v) {
		store_close(store);
		return fail(-ENOMEM, "no memory for a vault");
	}
	pthread_mutex_init(&v->lock, NULL);
	cancel_cond_init(&v->slot_free);
	v->store = store;
	v->cache = cache;
	v->refresh_ms = refresh_ms;
	beside_begin(&numbers, store->remote, ask_newest, &x);
	r = read_header(v);
	if (!r)
		r = check_pin(v);
	if (r)
		return blame(r, "%s", store_url(store));
	r = beside_end(&numbers);
	r = take_config(v, r, x.n, began);
	if (r)
		return r;
	snprintf(v->name, sizeof(v->name), "%s", v->config->c.name);
	if (store->remote)
		r = fetch_new(cache, NULL, &v->fetch);
	if (r)
		return r;
	*ret = take(v);
	return 0;
}

int vault_keep_on_disk(struct vault *v, const char *dir, uint64_t max_bytes)
{
	DROP(stash) struct stash *stash = NULL;
	DROP(mem) char *own = NULL;
	char hex[2 * sizeof(v->id.b) + 1];
	int r;

	hex_of(v->id.b, sizeof(v->id.b), hex);
	if (asprintf(&own, "%s/%s", dir, hex) < 0) {
		own = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	r = stash_open(own, max_bytes, &stash);
	if (r)
		return blame(r, "the cache on disk");
	if (!v->fetch)
		return fetch_new(v->cache, take(stash), &v->fetch);
	fetch_set_stash(v->fetch, take(stash));
	return 0;
}

void vault_close(struct vault *v)
{
	if (!v)
		return;
	vault_free_slots(v);
	vault_config_unref(v->config);
	fetch_free(v->fetch);
	store_close(v->store);
	pthread_cond_destroy(&v->slot_free);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
