// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/fetch.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/format.h"

struct fetch {
	struct cache *cache; /* borrowed */
	struct stash *stash;
	struct link link;
	uint64_t ahead_max;
	atomic_int readers;
	atomic_uint_fast64_t held; /* bytes of the windows under way */
	atomic_uint lines_busy, windows_busy;

	/* Protects the making of the two. Vaults that are only listed need no threads. */
	pthread_mutex_t lock;
	struct pool *windows, *lines;

	/* Protects the buffers that nobody uses. The one given back last is taken
	 * first: it may still be in the processor's cache. */
	pthread_mutex_t idle_lock;
	uint8_t *idle[FETCH_IDLE];
	unsigned nidle;
};

int fetch_new(struct cache *cache, struct stash *stash, struct fetch **ret)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f) {
		stash_close(stash);
		return fail(-ENOMEM, "out of memory");
	}
	f->cache = cache;
	f->stash = stash;
	f->ahead_max = min_u64(FETCH_AHEAD_MAX, cache_max(cache) / 4);
	link_init(&f->link);
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->idle_lock, NULL);
	*ret = f;
	return 0;
}

void fetch_set_stash(struct fetch *f, struct stash *stash)
{
	stash_close(f->stash);
	f->stash = stash;
}

static void drop_idle(struct fetch *f)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->idle_lock);

	(void)held;
	while (f->nidle)
		free(f->idle[--f->nidle]);
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	/* Windows wait for lines. */
	pool_free(f->windows);
	pool_free(f->lines);
	stash_close(f->stash);
	link_release(&f->link);
	drop_idle(f);
	pthread_mutex_destroy(&f->idle_lock);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int fetch_read(struct fetch *f, struct store *s, const char *key, void *buf,
	       size_t len, uint64_t off)
{
	uint64_t began;
	int r;

	if (!f)
		return store_read(s, key, buf, len, off);
	began = monotonic_ns();
	link_begin(&f->link, began);
	r = store_read(s, key, buf, len, off);
	link_end(&f->link, began, monotonic_ns(), r ? 0 : len);
	return r;
}

struct stash *fetch_stash(struct fetch *f)
{
	return f ? f->stash : NULL;
}

uint64_t fetch_ahead(struct fetch *f)
{
	int readers = atomic_load(&f->readers);
	uint64_t share = f->ahead_max / (uint64_t)(readers > 1 ? readers : 1);

	return min_u64(share, link_ahead(&f->link)) / VF_FRAME_SIZE;
}

/* Several in what is ahead: else the way would be empty between two. A small cache has
 * room for few, which had better not be tiny. */
#define WINDOWS_AHEAD 8
#define WINDOWS_AHEAD_FEW 2
#define AHEAD_SMALL 32u

uint32_t fetch_window(struct fetch *f)
{
	uint64_t ahead = fetch_ahead(f);
	uint64_t most = ahead / (ahead < AHEAD_SMALL ? WINDOWS_AHEAD_FEW
						     : WINDOWS_AHEAD);
	uint64_t frames = min_u64(link_window(&f->link) / VF_FRAME_SIZE, most);

	return (uint32_t)max_u64(1, min_u64(frames, FRAMES_MAX));
}

void fetch_reader(struct fetch *f, int more)
{
	if (atomic_fetch_add(&f->readers, more) + more == 0)
		drop_idle(f);
}

#define LARGE_PAGE ((size_t)2 << 20)
/* Smaller ones malloc() has at hand. */
#define BUFFER_SMALL ((size_t)1 << 20)

uint8_t *fetch_buffer(struct fetch *f, size_t len)
{
	uint8_t *p;

	if (len < BUFFER_SMALL)
		return malloc(len);
	{
		DROP(lock) pthread_mutex_t *held = lock(&f->idle_lock);

		(void)held;
		if (f->nidle)
			return f->idle[--f->nidle];
	}
	p = aligned_alloc(LARGE_PAGE, LINK_WINDOW_MAX);
	/* Only for speed. */
	if (p)
		(void)madvise(p, LINK_WINDOW_MAX, MADV_HUGEPAGE);
	return p;
}

void fetch_buffer_done(struct fetch *f, uint8_t *p, size_t len)
{
	if (len >= BUFFER_SMALL && p && atomic_load(&f->readers)) {
		DROP(lock) pthread_mutex_t *held = lock(&f->idle_lock);

		(void)held;
		if (f->nidle < FETCH_IDLE) {
			f->idle[f->nidle++] = p;
			return;
		}
	}
	free(p);
}

/* NULL: no memory for threads. */
static struct pool *pool_of(struct fetch *f, struct pool **p, unsigned threads)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->lock);

	(void)held;
	if (!*p && pool_new(threads, p))
		*p = NULL;
	return *p;
}

/* A thread is there for each that is let in, so that no queue grows and nobody waits. */
static bool enter(atomic_uint *busy, unsigned max)
{
	unsigned n = atomic_load(busy);

	while (n < max)
		if (atomic_compare_exchange_weak(busy, &n, n + 1))
			return true;
	return false;
}

bool fetch_submit_window(struct fetch *f, struct pool_job *job, size_t bytes)
{
	struct pool *p;

	if (atomic_load(&f->held) + bytes > f->ahead_max ||
	    !enter(&f->windows_busy, FETCH_WINDOWS))
		return false;
	p = pool_of(f, &f->windows, FETCH_WINDOWS);
	if (!p) {
		atomic_fetch_sub(&f->windows_busy, 1);
		return false;
	}
	atomic_fetch_add(&f->held, bytes);
	pool_submit(p, job);
	return true;
}

void fetch_window_done(struct fetch *f, size_t bytes)
{
	atomic_fetch_sub(&f->held, bytes);
	atomic_fetch_sub(&f->windows_busy, 1);
}

bool fetch_submit_line(struct fetch *f, struct pool_job *job)
{
	struct pool *p;

	if (!enter(&f->lines_busy, FETCH_LINES))
		return false;
	p = pool_of(f, &f->lines, FETCH_LINES);
	if (!p) {
		atomic_fetch_sub(&f->lines_busy, 1);
		return false;
	}
	pool_submit(p, job);
	return true;
}

void fetch_line_done(struct fetch *f)
{
	atomic_fetch_sub(&f->lines_busy, 1);
}
