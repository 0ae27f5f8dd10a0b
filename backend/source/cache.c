// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * An entry is in one of these states, all changed under its shard's lock:
 *
 *	filling	in the map, not in the LRU list; flight says who waits
 *	held	in the map and in the LRU list; its charge is in shard->bytes
 *	gone	in neither: evicted, failed, or too large to be retained
 *
 *	filling -> held		the fill succeeded
 *	filling -> gone		it failed, or the blob is too large
 *	held -> gone		evicted, or the cache was freed
 *
 * refs counts the map (while filling or held), the filler, those who wait, and
 * those who were given the blob. It is raised under the lock, by somebody
 * who found the entry in the map, so never from 0; it is lowered anywhere.
 */
#include "backend/source/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"

#define SHARDS_MAX 16
#define SHARD_MIN_BYTES ((size_t)16 << 20)
#define BUCKETS_MIN 64
/* An entry, what malloc adds to it and to its data, and up to four table slots,
 * which is where a table that never shrinks stands when it was just doubled. */
#define OVERHEAD (sizeof(struct entry) + 2 * 16 + 4 * sizeof(void *))

/* A fill under way. Freed by the last of those who wait, or by the filler. */
struct flight {
	pthread_cond_t ended; /* with the shard's lock */
	bool done;
	unsigned waiters;
	struct err_saved error; /* code < 0 if it failed */
};

struct entry {
	struct cache_blob blob; /* set before it is held, then immutable */
	void *data;		/* blob.data, for destroy */
	void (*destroy)(void *data);
	size_t charge; /* OVERHEAD included */
	atomic_uint refs;

	/* Shard's lock. */
	uint64_t hash;
	uint8_t key[CACHE_KEY_SIZE];
	struct entry *chain; /* bucket; then, once gone, a list to unref */
	struct entry *newer, *older;
	struct flight *flight; /* not NULL: filling */
};

struct shard {
	/* The only lock there is; nothing is taken under it, and no blob is
	 * made or destroyed under it. Protects all below. */
	pthread_mutex_t lock;
	struct entry **buckets;
	size_t nbuckets; /* a power of two */
	size_t count;	 /* in the map: filling and held */
	struct entry *newest, *oldest;
	size_t bytes; /* <= max */
	size_t max;
	uint64_t held, hits, misses, waits, evictions;
} __attribute__((aligned(64)));

struct cache {
	unsigned nshards; /* a power of two */
	struct shard shards[];
};

/* Keys may be digests or small integers: all of the key goes in, and every bit
 * of the result depends on all of it. */
static uint64_t hash_key(const uint8_t key[static CACHE_KEY_SIZE])
{
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < CACHE_KEY_SIZE; i += sizeof(uint64_t)) {
		uint64_t w;

		memcpy(&w, key + i, sizeof(w));
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 29);
}

/* The high bits choose the shard, the low ones its bucket. */
static struct shard *shard_of(struct cache *c, uint64_t hash)
{
	return &c->shards[(hash >> 32) & (c->nshards - 1)];
}

static void entry_unref(struct entry *e)
{
	if (!e ||
	    atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) > 1)
		return;
	assert(!e->flight);
	if (e->destroy)
		e->destroy(e->data);
	else
		free(e->data);
	free(e);
}

static void entry_ref(struct entry *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

DROP_DEFINE(entry, struct entry *, entry_unref)

static struct entry *entry_new(const uint8_t key[static CACHE_KEY_SIZE],
			       uint64_t hash)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	memcpy(e->key, key, CACHE_KEY_SIZE);
	e->hash = hash;
	atomic_init(&e->refs, 1);
	return e;
}

static void entry_set(struct entry *e, const struct cache_value *v)
{
	size_t charge = v->charge ? v->charge : v->size;

	e->data = v->data;
	e->destroy = v->destroy;
	e->blob.data = v->data;
	e->blob.size = v->size;
	if (__builtin_add_overflow(charge, OVERHEAD, &e->charge))
		e->charge = SIZE_MAX;
}

static struct flight *flight_new(void)
{
	struct flight *fl = calloc(1, sizeof(*fl));

	if (fl)
		cancel_cond_init(&fl->ended);
	return fl;
}

static void flight_free(struct flight *fl)
{
	if (!fl)
		return;
	pthread_cond_destroy(&fl->ended);
	free(fl);
}

/* --- all below, up to the API, with the shard's lock held --- */

static struct entry **bucket_of(struct shard *sh, uint64_t hash)
{
	return &sh->buckets[hash & (sh->nbuckets - 1)];
}

static struct entry *map_find(struct shard *sh, uint64_t hash,
			      const uint8_t key[static CACHE_KEY_SIZE])
{
	for (struct entry *e = *bucket_of(sh, hash); e; e = e->chain)
		if (e->hash == hash && !memcmp(e->key, key, CACHE_KEY_SIZE))
			return e;
	return NULL;
}

/* Without memory it stays as it is: slower, not wrong. */
static void map_grow(struct shard *sh)
{
	size_t n = sh->nbuckets * 2;
	struct entry **old = sh->buckets, **bigger = calloc(n, sizeof(*bigger));

	if (!bigger)
		return;
	sh->buckets = bigger;
	sh->nbuckets = n;
	for (size_t i = 0; i < n / 2; i++) {
		for (struct entry *e = old[i], *next; e; e = next) {
			struct entry **b = bucket_of(sh, e->hash);

			next = e->chain;
			e->chain = *b;
			*b = e;
		}
	}
	free(old);
}

static void map_add(struct shard *sh, struct entry *e)
{
	struct entry **b;

	if (sh->count >= sh->nbuckets)
		map_grow(sh);
	b = bucket_of(sh, e->hash);
	e->chain = *b;
	*b = e;
	sh->count++;
	entry_ref(e);
}

/* The map's reference becomes the caller's. */
static void map_remove(struct shard *sh, struct entry *e)
{
	struct entry **p = bucket_of(sh, e->hash);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	e->chain = NULL;
	sh->count--;
}

static void lru_unlink(struct shard *sh, struct entry *e)
{
	*(e->newer ? &e->newer->older : &sh->newest) = e->older;
	*(e->older ? &e->older->newer : &sh->oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void lru_link(struct shard *sh, struct entry *e)
{
	e->older = sh->newest;
	*(sh->newest ? &sh->newest->newer : &sh->oldest) = e;
	sh->newest = e;
}

static void touch(struct shard *sh, struct entry *e)
{
	if (e == sh->newest)
		return;
	lru_unlink(sh, e);
	lru_link(sh, e);
}

static bool retainable(const struct shard *sh, const struct entry *e)
{
	return e->charge <= sh->max;
}

/* Makes room and holds e, which is in the map. What had to go is returned, a
 * list by chain, to be unref'd without the lock. */
static struct entry *hold(struct shard *sh, struct entry *e)
{
	struct entry *gone = NULL;

	while (sh->bytes > sh->max - e->charge) {
		struct entry *victim = sh->oldest;

		lru_unlink(sh, victim);
		map_remove(sh, victim);
		sh->bytes -= victim->charge;
		sh->held--;
		sh->evictions++;
		victim->chain = gone;
		gone = victim;
	}
	lru_link(sh, e);
	sh->bytes += e->charge;
	sh->held++;
	return gone;
}

/* Waits for the end of the fill of e. */
static int await(struct shard *sh, struct entry *e)
{
	struct flight *fl = e->flight;
	int r = 0;

	sh->waits++;
	fl->waiters++;
	while (!fl->done && !r)
		r = cancel_cond_wait(&fl->ended, &sh->lock);
	fl->waiters--;
	if (!fl->done)
		return r; /* then it is the filler's to free */
	r = fl->error.code < 0 ? err_load(&fl->error) : 0;
	if (!r)
		sh->hits++;
	if (fl->waiters == 0)
		flight_free(fl);
	return r;
}

/* --- the API --- */

static void unref_list(struct entry *e)
{
	for (struct entry *next; e; e = next) {
		next = e->chain;
		entry_unref(e);
	}
}

/* Ends the fill of e, r its result: wakes those who wait, holds it or drops it
 * from the map. */
static void land(struct shard *sh, struct entry *e, int r)
{
	struct flight *fl = e->flight;
	struct entry *gone;

	if (r < 0)
		err_save(r, &fl->error);
	pthread_mutex_lock(&sh->lock);
	e->flight = NULL;
	if (r == 0 && retainable(sh, e)) {
		gone = hold(sh, e);
	} else {
		map_remove(sh, e);
		gone = e;
	}
	fl->done = true;
	if (fl->waiters > 0) {
		pthread_cond_broadcast(&fl->ended);
		fl = NULL; /* theirs now */
	}
	pthread_mutex_unlock(&sh->lock);
	flight_free(fl);
	unref_list(gone);
}

/* The entry of key, made and claimed (*mine) if there is none; NULL: no memory. With the
 * lock held. */
static struct entry *find_or_claim(struct shard *sh, uint64_t hash,
				   const uint8_t key[static CACHE_KEY_SIZE],
				   bool *mine)
{
	struct entry *e = map_find(sh, hash, key);

	*mine = !e;
	if (e) {
		entry_ref(e);
		return e;
	}
	/* Small: not worth a second look-up for the sake of the lock. */
	e = entry_new(key, hash);
	if (e)
		e->flight = flight_new();
	if (!e || !e->flight) {
		entry_unref(e);
		return NULL;
	}
	map_add(sh, e);
	sh->misses++;
	return e;
}

static int cache_get_once(struct cache *c,
			  const uint8_t key[static CACHE_KEY_SIZE],
			  cache_fill_fn *fill, void *ctx, bool *waited,
			  struct cache_blob **ret)
{
	uint64_t hash = hash_key(key);
	struct shard *sh = shard_of(c, hash);
	struct cache_value v = { 0 };
	DROP(entry) struct entry *e = NULL;
	bool mine;
	int r = 0;

	*waited = false;
	pthread_mutex_lock(&sh->lock);
	e = find_or_claim(sh, hash, key, &mine);
	if (e && !mine) {
		if (e->flight) {
			*waited = true;
			r = await(sh, e);
		} else {
			sh->hits++;
			touch(sh, e);
		}
	}
	pthread_mutex_unlock(&sh->lock);
	if (!e)
		return fail(-ENOMEM, "out of memory");
	if (mine) {
		r = fill(ctx, &v);
		if (r == 0)
			entry_set(e, &v);
		land(sh, e, r);
	}
	if (r < 0)
		return r;
	*ret = &take(e)->blob;
	return 0;
}

int cache_get(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
	      cache_fill_fn *fill, void *ctx, struct cache_blob **ret)
{
	bool waited;
	int r;

	do {
		r = cache_get_once(c, key, fill, ctx, &waited, ret);
	} while (waited && r == -ECANCELED && !cancel_asked());
	return r;
}

int cache_claim(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
		struct cache_blob **ret, struct cache_claim **claim)
{
	uint64_t hash = hash_key(key);
	struct shard *sh = shard_of(c, hash);
	DROP(entry) struct entry *e = NULL;
	bool mine, busy;

	pthread_mutex_lock(&sh->lock);
	e = find_or_claim(sh, hash, key, &mine);
	busy = e && !mine && e->flight;
	if (e && !mine && !busy) {
		sh->hits++;
		touch(sh, e);
	}
	pthread_mutex_unlock(&sh->lock);
	if (!e)
		return fail(-ENOMEM, "out of memory");
	if (busy)
		return CACHE_BUSY;
	if (mine) {
		*claim = (struct cache_claim *)take(e);
		return CACHE_CLAIMED;
	}
	*ret = &take(e)->blob;
	return CACHE_HIT;
}

void cache_land(struct cache *c, struct cache_claim *claim, int r,
		const struct cache_value *v, struct cache_blob **ret)
{
	DROP(entry) struct entry *e = (struct entry *)claim;

	if (r == 0)
		entry_set(e, v);
	land(shard_of(c, e->hash), e, r);
	if (r == 0 && ret)
		*ret = &take(e)->blob;
}

size_t cache_max(const struct cache *c)
{
	return c->nshards * c->shards[0].max;
}

struct cache_blob *cache_peek(struct cache *c,
			      const uint8_t key[static CACHE_KEY_SIZE])
{
	uint64_t hash = hash_key(key);
	struct shard *sh = shard_of(c, hash);
	struct entry *e;

	pthread_mutex_lock(&sh->lock);
	e = map_find(sh, hash, key);
	if (e && e->flight)
		e = NULL;
	if (e) {
		entry_ref(e);
		touch(sh, e);
		sh->hits++;
	}
	pthread_mutex_unlock(&sh->lock);
	return e ? &e->blob : NULL;
}

void cache_put(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
	       const void *data, size_t size)
{
	uint64_t hash = hash_key(key);
	struct shard *sh = shard_of(c, hash);
	struct cache_value v = { .size = size };
	DROP(entry) struct entry *e = NULL;
	struct entry *gone = NULL;
	bool there;

	pthread_mutex_lock(&sh->lock);
	there = map_find(sh, hash, key);
	pthread_mutex_unlock(&sh->lock);
	if (there)
		return;

	/* Copied without the lock; somebody may be faster. */
	e = entry_new(key, hash);
	if (!e)
		return;
	entry_set(e, &v);
	if (!retainable(sh, e))
		return;
	if (size > 0) {
		v.data = malloc(size);
		if (!v.data)
			return;
		memcpy(v.data, data, size);
		entry_set(e, &v);
	}
	pthread_mutex_lock(&sh->lock);
	if (!map_find(sh, hash, key)) {
		map_add(sh, e);
		gone = hold(sh, e);
	}
	pthread_mutex_unlock(&sh->lock);
	unref_list(gone);
}

void cache_unref(struct cache_blob *b)
{
	if (b)
		entry_unref(container_of(b, struct entry, blob));
}

struct cache_blob *cache_ref(struct cache_blob *b)
{
	atomic_fetch_add(&container_of(b, struct entry, blob)->refs, 1);
	return b;
}

void cache_stats(struct cache *c, struct cache_stats *out)
{
	*out = (struct cache_stats){ 0 };
	for (unsigned i = 0; i < c->nshards; i++) {
		struct shard *sh = &c->shards[i];

		pthread_mutex_lock(&sh->lock);
		out->hits += sh->hits;
		out->misses += sh->misses;
		out->waits += sh->waits;
		out->evictions += sh->evictions;
		out->bytes += sh->bytes;
		out->count += sh->held;
		pthread_mutex_unlock(&sh->lock);
	}
}

void cache_key(const char *kind, const void *id, size_t n,
	       uint8_t key[static CACHE_KEY_SIZE])
{
	struct digest d;
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, kind, strlen(kind) + 1);
	sha256_add(&h, id, n);
	sha256_final(&h, &d);
	memcpy(key, d.b, CACHE_KEY_SIZE);
}

int cache_new(size_t max_bytes, struct cache **ret)
{
	DROP(cache) struct cache *c = NULL;
	unsigned nshards = 1;
	size_t size;

	while (nshards < SHARDS_MAX &&
	       max_bytes / (nshards * 2) >= SHARD_MIN_BYTES)
		nshards *= 2;
	size = sizeof(*c) + nshards * sizeof(c->shards[0]);
	c = aligned_alloc(_Alignof(struct cache), size);
	if (!c)
		return fail(-ENOMEM, "out of memory");
	memset(c, 0, size);
	/* nshards counts those that cache_free() can release. */
	for (; c->nshards < nshards; c->nshards++) {
		struct shard *sh = &c->shards[c->nshards];

		sh->buckets = calloc(BUCKETS_MIN, sizeof(struct entry *));
		if (!sh->buckets)
			return fail(-ENOMEM, "out of memory");
		sh->nbuckets = BUCKETS_MIN;
		sh->max = max_bytes / nshards;
		pthread_mutex_init(&sh->lock, NULL);
	}
	*ret = take(c);
	return 0;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nshards; i++) {
		struct shard *sh = &c->shards[i];

		for (struct entry *e = sh->newest, *older; e; e = older) {
			older = e->older;
			entry_unref(e);
		}
		assert(sh->count == sh->held); /* no fill is under way */
		free(sh->buckets);
		pthread_mutex_destroy(&sh->lock);
	}
	free(c);
}
