// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Threads that run jobs, and the ordered pipeline that backup, restore and
 * verify are made of.
 *
 * pool: nthreads workers; pool_submit() blocks while the queue is full, and
 * jobs run in any order. Not to be called from inside a job of the same pool.
 *
 * ordered: jobs are handed out in order, worked on in parallel, and finished in
 * order by the caller's own thread: for (;;) { ordered_push; ordered_pop }.
 * At most depth jobs are in flight, which bounds memory.
 */
#pragma once
#include "backend/base/err.h"
#include <stdbool.h>
#include <stddef.h>

struct pool;
int pool_new(unsigned nthreads, struct pool **ret) MUST_USE;
/* Waits for the jobs that were submitted, ends the threads. */
void pool_free(struct pool *p);
unsigned pool_threads(const struct pool *p);
/* Number of CPUs this process may use, at least 1. */
unsigned pool_default_threads(void);

/* A job: work() runs on a worker. Embed it; it must live until it has run. */
struct pool_job {
	void (*work)(struct pool_job *);
	struct pool_job *next; /* the pool's */
};
void pool_submit(struct pool *p, struct pool_job *job);

/*
 * ordered: run() is called on a worker with the caller's item and returns 0 or
 * a negative errno with a sentence, which travels with the item.
 */
struct ordered;
int ordered_new(struct pool *p, size_t depth, int (*run)(void *ctx, void *item),
		void *ctx, struct ordered **ret) MUST_USE;
/* Waits for what is in flight, dropping results. The pool stays. */
void ordered_free(struct ordered *o);
/* True while fewer than depth items are in flight. */
bool ordered_room(const struct ordered *o);
size_t ordered_inflight(const struct ordered *o);
/* Hands an item to the workers; there must be room. The item is borrowed until
 * it is popped. */
void ordered_push(struct ordered *o, void *item);
/* Waits for the oldest item; its result is returned (and its sentence installed
 * in this thread). *item is NULL when nothing is in flight. */
int ordered_pop(struct ordered *o, void **item) MUST_USE;

DROP_DEFINE(pool, struct pool *, pool_free)
DROP_DEFINE(ordered, struct ordered *, ordered_free)
