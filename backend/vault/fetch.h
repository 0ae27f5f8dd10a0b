// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fetch: reading a vault whose store is far away, or has a cache on disk. One for
 * each such vault; NULL for one that is read as it lies.
 *
 *	frames_get()	a reader wants these frames now
 *	frames_ahead()	somebody will
 *
 * Both claim in the cache what is not there (so that two readers of one frame cost
 * one request), take what the stash has, and ask for the rest in as few requests as
 * there are runs in the objects; several runs at once, on threads of their own.
 * Every frame is verified before it lands in the cache, and after that goes to the
 * stash.
 *
 * Memory: what is under way ahead of readers is at most FETCH_AHEAD_MAX, and a quarter of
 * the cache; what readers wait for, they hold themselves. Buffers are kept while somebody
 * reads in order, FETCH_IDLE of them.
 *
 * Threads: windows (frames_ahead(), one each) and lines (one run each). A window may
 * wait for lines, a line for nothing but the store.
 */
#pragma once
#include "backend/base/cancel.h"
#include "backend/base/pool.h"
#include "backend/source/cache.h"
#include "backend/source/stash.h"
#include "backend/store/link.h"
#include "backend/store/store.h"

#define FETCH_AHEAD_MAX LINK_AHEAD_MAX
#define FETCH_WINDOWS 16u /* threads that read ahead */
#define FETCH_LINES 32u	  /* threads that ask for runs */
#define FETCH_IDLE 8u	  /* buffers that are kept */
/* Frames that one call may ask for: LINK_WINDOW_MAX. */
#define FRAMES_MAX 64u

struct fetch;
struct tree;
struct place;
struct vf_entry;

/* stash: may be NULL; taken, on failure too. cache is borrowed. */
int fetch_new(struct cache *cache, struct stash *stash,
	      struct fetch **ret) MUST_USE;
/* Before anything is read. */
void fetch_set_stash(struct fetch *f, struct stash *stash);
/* When nothing of it is at work any more. */
void fetch_free(struct fetch *f);
DROP_DEFINE(fetch, struct fetch *, fetch_free)

/* As store_read(), and measured. f may be NULL. */
int fetch_read(struct fetch *f, struct store *s, const char *key, void *buf,
	       size_t len, uint64_t off) MUST_USE;
/* NULL: none. */
struct stash *fetch_stash(struct fetch *f);
/* Frames that one request should ask for, and that a reader may have ahead. */
uint32_t fetch_window(struct fetch *f);
uint64_t fetch_ahead(struct fetch *f);
/* One more, or one less, who reads in order: they share what may be ahead. */
void fetch_reader(struct fetch *f, int more);

/* For work that others wait for; false: nothing was taken, there is too much already.
 * bytes: what it will hold, until fetch_window_done(). */
bool fetch_submit_window(struct fetch *f, struct pool_job *job, size_t bytes);
void fetch_window_done(struct fetch *f, size_t bytes);
bool fetch_submit_line(struct fetch *f, struct pool_job *job);
void fetch_line_done(struct fetch *f);

/*
 * len bytes, at most LINK_WINDOW_MAX, for what a request brings: where that is much,
 * memory that was used for it before. For each new piece the system would have to find
 * and clear a thousand pages, which takes longer than the bytes do on their way from a
 * near server. NULL: no memory. Given back with the same len.
 */
uint8_t *fetch_buffer(struct fetch *f, size_t len);
void fetch_buffer_done(struct fetch *f, uint8_t *p, size_t len);

/*
 * Frames [first, first + n), n <= FRAMES_MAX, inside the disk: blobs[i] is a reference to
 * the plain bytes, or NULL for zeros. On failure there are none.
 */
int frames_get(struct tree *t, uint64_t first, uint32_t n,
	       struct cache_blob **blobs) MUST_USE;
/* The same without handing anything out; what fails is nobody's matter. */
void frames_ahead(struct tree *t, uint64_t first, uint32_t n);
