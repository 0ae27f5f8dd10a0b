// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/pool.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MAX_THREADS 1024
/* Enough that a worker finds its next job waiting. */
#define QUEUE_PER_THREAD 4

/*
 * Semaphores, since many threads wait for the same: up to glibc 2.40 a signal to a
 * condition with many waiters may wake none (sourceware.org, bug 25847), and a job that
 * nobody takes is a reader who waits for ever.
 */
struct pool {
	unsigned nthreads; /* started */
	sem_t work; /* jobs in the queue; at the end, one more for each thread */
	sem_t room;	      /* how many more it takes */
	pthread_mutex_t lock; /* protects what follows */
	struct pool_job *first, *last;
	bool ending;
	pthread_t threads[];
};

static void down(sem_t *s)
{
	while (sem_wait(s) < 0)
		assert(errno == EINTR);
}

/* NULL: there are none, and none will come. */
static struct pool_job *next_job(struct pool *p)
{
	struct pool_job *job;

	down(&p->work);
	DROP(lock) pthread_mutex_t *held = lock(&p->lock);
	(void)held;
	job = p->first;
	if (!job)
		return NULL;
	p->first = job->next;
	if (!p->first)
		p->last = NULL;
	sem_post(&p->room);
	return job;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	struct pool_job *job;

	while ((job = next_job(p)) != NULL) {
		/* What an earlier job failed with is not this one's. */
		err_clear();
		job->work(job);
	}
	return NULL;
}

/*
 * Signals are for the threads that the program has set up for them: a worker
 * starts with all blocked, so there is no moment in which it may take one.
 */
static int start_threads(struct pool *p, unsigned n)
{
	sigset_t all, before;
	int e = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->nthreads < n && e == 0) {
		char name[16];

		e = pthread_create(&p->threads[p->nthreads], NULL, worker, p);
		if (e)
			break;
		snprintf(name, sizeof(name), "worker-%u", p->nthreads);
		pthread_setname_np(p->threads[p->nthreads], name);
		p->nthreads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* Not -EAGAIN: that means that retries are spent. */
	if (e)
		return fail(-ENOMEM, "cannot start worker thread %u of %u: %s",
			    p->nthreads + 1, n, strerrordesc_np(e));
	return 0;
}

int pool_new(unsigned nthreads, struct pool **ret)
{
	DROP(pool) struct pool *p = NULL;
	int r;

	if (nthreads == 0 || nthreads > MAX_THREADS)
		return fail(-EINVAL, "%u worker threads: 1 to %u are possible",
			    nthreads, MAX_THREADS);
	p = calloc(1, sizeof(*p) + nthreads * sizeof(p->threads[0]));
	if (!p)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&p->lock, NULL);
	sem_init(&p->work, 0, 0);
	sem_init(&p->room, 0, nthreads * QUEUE_PER_THREAD);
	r = start_threads(p, nthreads);
	if (r < 0)
		return r;
	*ret = take(p);
	return 0;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		sem_post(&p->work);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	sem_destroy(&p->work);
	sem_destroy(&p->room);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

unsigned pool_threads(const struct pool *p)
{
	return p->nthreads;
}

unsigned pool_default_threads(void)
{
	/* The kernel refuses a mask that is too small for the machine. */
	for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)cpus);
		size_t size = CPU_ALLOC_SIZE((size_t)cpus);
		int n = 0;

		if (!set)
			break;
		if (sched_getaffinity(0, size, set) == 0)
			n = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (n > 0)
			return (unsigned)n < MAX_THREADS ? (unsigned)n
							 : MAX_THREADS;
	}
	return 1;
}

void pool_submit(struct pool *p, struct pool_job *job)
{
	down(&p->room);
	DROP(lock) pthread_mutex_t *held = lock(&p->lock);
	(void)held;
	assert(!p->ending);
	job->next = NULL;
	if (p->last)
		p->last->next = job;
	else
		p->first = job;
	p->last = job;
	sem_post(&p->work);
}

/*
 * A ring of depth slots. Items are numbered from 0 as they are pushed; item i
 * is in slot i % depth while popped <= i < pushed. Both counters belong to the
 * caller's thread, and a slot to one worker from push until done is set.
 */
struct slot {
	struct pool_job job;
	struct ordered *o;
	void *item;
	bool done; /* by o->lock; the rest is read after it was seen true */
	int result;
	struct err_saved why; /* when result is negative */
};

struct ordered {
	struct pool *pool;
	int (*run)(void *ctx, void *item);
	void *ctx;
	uint64_t pushed, popped;
	size_t depth;
	pthread_mutex_t lock;
	pthread_cond_t finished;
	struct slot slots[];
};

static void run_slot(struct pool_job *job)
{
	struct slot *s = container_of(job, struct slot, job);
	struct ordered *o = s->o;

	s->result = o->run(o->ctx, s->item);
	if (s->result < 0)
		err_save(s->result, &s->why);
	/* Signalled under the lock: o may be gone as soon as it is released. */
	pthread_mutex_lock(&o->lock);
	s->done = true;
	pthread_cond_signal(&o->finished);
	pthread_mutex_unlock(&o->lock);
}

int ordered_new(struct pool *p, size_t depth, int (*run)(void *ctx, void *item),
		void *ctx, struct ordered **ret)
{
	struct ordered *o = NULL;
	size_t size;

	if (depth == 0)
		return fail(-EINVAL, "a pipeline needs a depth of at least 1");
	if (__builtin_mul_overflow(depth, sizeof(o->slots[0]), &size) ||
	    __builtin_add_overflow(size, sizeof(*o), &size))
		return fail(-ENOMEM, "out of memory");
	o = calloc(1, size);
	if (!o)
		return fail(-ENOMEM, "out of memory");
	o->pool = p;
	o->run = run;
	o->ctx = ctx;
	o->depth = depth;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->finished, NULL);
	*ret = o;
	return 0;
}

bool ordered_room(const struct ordered *o)
{
	return ordered_inflight(o) < o->depth;
}

size_t ordered_inflight(const struct ordered *o)
{
	return (size_t)(o->pushed - o->popped);
}

void ordered_push(struct ordered *o, void *item)
{
	struct slot *s = &o->slots[o->pushed % o->depth];

	assert(ordered_room(o));
	s->job.work = run_slot;
	s->o = o;
	s->item = item;
	s->done = false;
	o->pushed++;
	pool_submit(o->pool, &s->job);
}

/* Waits for the oldest; NULL when nothing is in flight. */
static struct slot *oldest(struct ordered *o)
{
	DROP(lock) pthread_mutex_t *held = lock(&o->lock);
	struct slot *s = &o->slots[o->popped % o->depth];

	if (o->pushed == o->popped)
		return NULL;
	while (!s->done)
		pthread_cond_wait(&o->finished, held);
	o->popped++;
	return s;
}

int ordered_pop(struct ordered *o, void **item)
{
	struct slot *s = oldest(o);

	*item = s ? s->item : NULL;
	if (s && s->result < 0)
		return err_load(&s->why);
	return s ? s->result : 0;
}

void ordered_free(struct ordered *o)
{
	if (!o)
		return;
	/* Not by ordered_pop(): it would replace the sentence of the failure
	 * that we are perhaps being dropped for. */
	while (oldest(o))
		;
	pthread_cond_destroy(&o->finished);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
