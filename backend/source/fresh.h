// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fresh: keys of a cache whose blobs are to be made anew after a while. A key of what
 * may change gets the number of its present generation mixed in, and the next one when
 * that is too old; blobs of past generations are no longer found, and leave the cache
 * as the least recently used do. So whoever asks within one generation shares one blob,
 * and the cache remains one of keys that stand for the same content for ever.
 *
 * The generations are in a table of a fixed size: two keys of one place in it take it
 * from each other, which costs a blob that is made once more, and nothing else.
 *
 * Any thread. Lock: its own, held for a few instructions.
 */
#pragma once
#include "backend/base/err.h"
#include "backend/source/cache.h"

struct fresh;

/* max_age_ns 0: every asking begins a generation. */
int fresh_new(uint64_t max_age_ns, struct fresh **ret) MUST_USE;
void fresh_free(struct fresh *f);

struct fresh_age {
	uint64_t generation; /* another one: it may have changed */
	uint64_t left_ns;    /* until the next one begins */
};
/* Makes key that of its present generation. */
struct fresh_age fresh_key(struct fresh *f, uint8_t key[static CACHE_KEY_SIZE]);

DROP_DEFINE(fresh, struct fresh *, fresh_free)
