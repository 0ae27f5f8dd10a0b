// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/keycache.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/base/log.h"

/* A key takes pages of locked memory, of which there is little. */
#define KEYS_MAX 256
#define ENTRIES_MAX 4096

struct entry {
	struct keycache_key key;
	struct volume_key *found; /* NULL: it does not open it */
	uint64_t used;
};

struct keycache {
	/* Held while one is derived; taken before the other lock. */
	pthread_mutex_t deriving;
	atomic_uint_fast64_t derived;

	pthread_mutex_t lock;  /* protects the rest */
	struct secret *naming; /* NULL: no key was named yet */
	struct entry *entries;
	size_t count, nkeys;
	uint64_t clock;
};

int keycache_new(struct keycache **ret)
{
	struct keycache *c = calloc(1, sizeof(*c));

	if (c)
		c->entries = calloc(ENTRIES_MAX, sizeof(*c->entries));
	if (!c || !c->entries) {
		free(c);
		return fail(-ENOMEM, "out of memory");
	}
	pthread_mutex_init(&c->deriving, NULL);
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void keycache_free(struct keycache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		volume_key_close(c->entries[i].found);
	free(c->entries);
	secret_close(c->naming);
	pthread_mutex_destroy(&c->deriving);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

uint64_t keycache_derived(struct keycache *c)
{
	return atomic_load(&c->derived);
}

/* --- names --- */

struct naming {
	struct secret *with, *key;
	struct digest *out;
};

static int name_key(void *ctx)
{
	struct naming *n = ctx;

	hmac_sha256(secret_bytes(n->with), secret_size(n->with),
		    secret_bytes(n->key), secret_size(n->key), n->out);
	return 0;
}

static int naming_key(struct keycache *c, struct secret **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	DROP(secret) struct secret *s = NULL;
	int r;

	if (!c->naming) {
		r = secret_new(DIGEST_SIZE, &s);
		if (r == 0)
			r = random_bytes(secret_bytes(s), DIGEST_SIZE);
		if (r < 0)
			return r;
		c->naming = take(s);
	}
	*ret = c->naming;
	return 0;
}

int keycache_name(struct keycache *c, struct secret *key, enum key_kind kind,
		  struct digest *out)
{
	struct naming n = { .key = key, .out = out };
	int r = naming_key(c, &n.with);

	/* What is hashed lies in OpenSSL's context, and on the stack. */
	if (r == 0)
		r = arena_run(name_key, &n);
	/* One key in two uses may be two keys. */
	if (r == 0)
		out->b[0] ^= (uint8_t)kind;
	return r;
}

/* --- entries --- */

int keycache_find(struct keycache *c, const struct keycache_key *key,
		  struct volume_key **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);

	for (size_t i = 0; i < c->count; i++) {
		struct entry *e = &c->entries[i];

		if (memcmp(&e->key, key, sizeof(*key)) != 0)
			continue;
		e->used = ++c->clock;
		if (!e->found)
			return -ENOKEY;
		*ret = volume_key_ref(e->found);
		return 0;
	}
	return -EAGAIN;
}

/* Under the lock: the entry that was not used for the longest time; only one with
 * a key if keys. */
static struct entry *oldest(struct keycache *c, bool keys)
{
	struct entry *found = NULL;

	for (size_t i = 0; i < c->count; i++) {
		struct entry *e = &c->entries[i];

		if (keys && !e->found)
			continue;
		if (!found || e->used < found->used)
			found = e;
	}
	return found;
}

void keycache_add(struct keycache *c, const struct keycache_key *key,
		  struct volume_key *found)
{
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	struct entry *e = NULL;

	if (found && c->nkeys == KEYS_MAX)
		e = oldest(c, true);
	else if (c->count == ENTRIES_MAX)
		e = oldest(c, false);
	if (e) {
		c->nkeys -= e->found != NULL;
		volume_key_close(e->found);
	} else {
		e = &c->entries[c->count++];
	}
	*e = (struct entry){ .key = *key, .used = ++c->clock };
	if (found) {
		e->found = volume_key_ref(found);
		c->nkeys++;
	}
}

int keycache_get(struct keycache *c, const struct keycache_key *key,
		 int (*derive)(void *ctx, struct volume_key **ret), void *ctx,
		 struct volume_key **ret)
{
	DROP(lock) pthread_mutex_t *held = NULL;
	DROP(volume_key) struct volume_key *k = NULL;
	int r = keycache_find(c, key, ret);

	if (r != -EAGAIN)
		return r;
	held = lock(&c->deriving);
	/* Somebody may have done it meanwhile. */
	r = keycache_find(c, key, ret);
	if (r != -EAGAIN)
		return r;
	atomic_fetch_add(&c->derived, 1);
	log_debug("a key is derived");
	r = derive(ctx, &k);
	if (r == 0 || r == -ENOKEY)
		keycache_add(c, key, k);
	if (r == 0)
		*ret = take(k);
	return r;
}
