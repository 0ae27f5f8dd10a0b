// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * cache: a bounded, shared map from a 32-byte key to an immutable blob, least
 * recently used out first. Every operation is O(1); no lock is held while a
 * blob is made or destroyed. Any thread, any number at once.
 *
 * The bound is on what the map holds, overhead included, and holds at every
 * moment. Outside of it: blobs that are just being made, and those that were
 * evicted while somebody still has a reference.
 *
 * The map is in shards, each with its part of the bound: a sixteenth, but not
 * less than 16 MiB (a smaller cache is one shard). A blob larger than that is
 * handed out but not retained. max_bytes 0 retains nothing, and is still
 * single-flight.
 *
 * A key must always stand for the same content: the first blob stays. Kinds of
 * data that share a cache take their keys from cache_key(): else bytes that a
 * guest chose could have the key of what is no such bytes at all.
 */
#pragma once
#include "backend/base/scope.h"
#include <stddef.h>
#include <stdint.h>

#define CACHE_KEY_SIZE 32

struct cache;

/* Borrowed between cache_get() and cache_unref(); read only. It outlives its
 * eviction and the cache itself while there is a reference. */
struct cache_blob {
	const void *data;
	size_t size;
};

/* What a fill makes; all zero before. */
struct cache_value {
	void *data; /* may be NULL with size 0 */
	size_t size;
	/* What is counted against the bound besides the entry itself; 0: size.
	 * For data that points to more. */
	size_t charge;
	/* Called once with data, by the last unref, in whatever thread; NULL:
	 * free(). Must not use the cache. */
	void (*destroy)(void *data);
};

/* 0 with *out filled, or a negative errno with a sentence and nothing left
 * behind. May use the cache for other keys, as long as no two fills can wait
 * for each other. */
typedef int cache_fill_fn(void *ctx, struct cache_value *out);

struct cache_stats {
	uint64_t hits; /* served without a fill of their own, waits included */
	uint64_t misses; /* fills begun */
	uint64_t waits;	 /* waits begun for a fill of somebody else */
	uint64_t evictions;
	uint64_t bytes; /* held now; never more than max_bytes */
	uint64_t count; /* blobs held now */
};

/* SHA-256 over the kind (a word; its NUL parts it from the rest) and what names
 * the blob among its kind. */
void cache_key(const char *kind, const void *id, size_t n,
	       uint8_t key[static CACHE_KEY_SIZE]);

int cache_new(size_t max_bytes, struct cache **ret) MUST_USE;
/* When no thread uses it any more. References stay good. */
void cache_free(struct cache *c);

/*
 * A reference to the blob of key. On a miss it is made by fill(ctx): one fill a
 * key at a time, and whoever asks for the key meanwhile waits for it and shares
 * the result. A failure goes, with its sentence, to all who waited, and is not
 * remembered; -ECANCELED is the filler's own matter, and the next of those who
 * waited fills in its place.
 */
int cache_get(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
	      cache_fill_fn *fill, void *ctx, struct cache_blob **ret) MUST_USE;

/*
 * The same in two steps, for who makes many blobs with one request. Never waits:
 *
 *	CACHE_HIT	*ret is a reference to the blob
 *	CACHE_BUSY	somebody else is making it; cache_get() would wait
 *	CACHE_CLAIMED	it is the caller's to make: cache_land() must follow,
 *			whatever happens, in any thread
 *
 * or -ENOMEM. Who has a claim must not wait for somebody else's fill of the same
 * kind of data before it has landed: two of them might wait for each other.
 */
enum cache_claimed { CACHE_HIT, CACHE_BUSY, CACHE_CLAIMED };
struct cache_claim;
int cache_claim(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
		struct cache_blob **ret, struct cache_claim **claim) MUST_USE;
/*
 * r is 0 with *v made as by a fill, or a failure with this thread's sentence, which goes
 * to all who wait; -ECANCELED gives the claim up: who waits makes it himself.
 * ret: a reference, on success only; NULL: not wanted.
 */
void cache_land(struct cache *c, struct cache_claim *claim, int r,
		const struct cache_value *v, struct cache_blob **ret);
/* What the cache may hold. */
size_t cache_max(const struct cache *c);
/* A reference if the blob is there; else NULL: never waits, never fills. Counts
 * as a hit, or as nothing. */
struct cache_blob *
cache_peek(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE]) MUST_USE;
/* A hint: keeps a copy of data if the key is not there yet, not being filled,
 * and there is memory for it. */
void cache_put(struct cache *c, const uint8_t key[static CACHE_KEY_SIZE],
	       const void *data, size_t size);
void cache_unref(struct cache_blob *b);
/* One more, of who has one. */
struct cache_blob *cache_ref(struct cache_blob *b);

void cache_stats(struct cache *c, struct cache_stats *out);

DROP_DEFINE(cache, struct cache *, cache_free)
DROP_DEFINE(cache_blob, struct cache_blob *, cache_unref)
