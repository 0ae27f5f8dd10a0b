// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * pages: a page blob as a source. Its holes are known by Get Page Ranges, asked for
 * a window at a time when something in it is first read; what is data is read in
 * chunks of PAGES_CHUNK through the shared cache, each with If-Match on what the
 * blob was when it was opened. Sequential readers are read ahead of.
 *
 * The first byte of a disk costs at most five requests: its size, its footer, the
 * page ranges of two windows, the chunk.
 *
 * Errors of reads: -ESTALE the blob changed, -EACCES refused also at a new address.
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/base/pool.h"
#include "backend/source/cache.h"
#include "backend/source/source.h"
#include "backend/store/http.h"

#define PAGES_CHUNK (1u << 20)
#define PAGES_WINDOW (UINT64_C(32) << 30)

/* Where the blob is, as that may change. */
struct pages_place {
	/* The URL, to be freed by done(); refused: what `number` was of one that
	 * the service refused, 0 for none. */
	int (*url)(void *ctx, unsigned refused, const char **url,
		   unsigned *number, void **held);
	void (*done)(void *held);
	/* For what has no SAS: signs each try; may be NULL. */
	int (*prepare)(void *ctx, struct http_wire *w);
	void (*close)(void *ctx);
	void *ctx;
};

struct pages_options {
	struct http *http;
	struct cache *cache;  /* may be NULL */
	struct pool *pool;    /* for reading ahead; may be NULL */
	const char *what;     /* for sentences */
	const char *identity; /* the blob's among all in the cache: its id */
	/* What was written to after this time (Unix seconds) is -ESTALE; 0: nothing
	 * is. */
	int64_t not_after_s;
};

/* Takes the place (its close() is called in the end, on failure too). */
int source_open_pages(const struct pages_options *o,
		      const struct pages_place *place,
		      struct source **ret) MUST_USE;

/*
 * Calls each() for the ranges of a blob that differ from an older snapshot of the
 * same disk (Get Page Ranges with x-ms-previous-snapshot-url); nonzero from it ends
 * it. Takes both places. -EFBIG: too many; -EIO: the service does not compare them,
 * as across the size of 4 TiB.
 */
int pages_changes(const struct pages_options *o,
		  const struct pages_place *place,
		  const struct pages_place *before,
		  int (*each)(void *ctx, uint64_t off, uint64_t len),
		  void *ctx) MUST_USE;

/* --- the answer of Get Page Ranges: pure --- */

struct page_range {
	uint64_t off, len;
	bool clear; /* of a diff: zeros now */
};
struct page_ranges {
	struct page_range *v;
	size_t count, room;
};
void page_ranges_release(struct page_ranges *l);

/*
 * Appends the ranges of one answer, which lie in [from, end), and joins neighbours
 * of a kind. marker: what asks for more, "" at the end. -EPROTO: not ascending,
 * outside, not in pages, no such XML. -EFBIG: more than max ranges.
 */
int page_ranges_parse(const char *text, size_t len, uint64_t from, uint64_t end,
		      size_t max, struct page_ranges *to,
		      struct buf *marker) MUST_USE;

static inline void drop_page_ranges(struct page_ranges *l)
{
	page_ranges_release(l);
}
