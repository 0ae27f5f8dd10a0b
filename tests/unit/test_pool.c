// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/pool.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/unit/check.h"

struct count_job {
	struct pool_job job;
	atomic_int *count;
};

static void count(struct pool_job *job)
{
	struct count_job *c = container_of(job, struct count_job, job);

	atomic_fetch_add(c->count, 1);
	/* The pool has no more business with it. */
	free(c);
}

static void submit_count(struct pool *p, atomic_int *n)
{
	struct count_job *c = calloc(1, sizeof(*c));

	CHECK(c);
	c->job.work = count;
	c->count = n;
	pool_submit(p, &c->job);
}

static void test_jobs(void)
{
	for (unsigned threads = 1; threads <= 8; threads *= 2) {
		DROP(pool) struct pool *p = NULL;
		atomic_int n = 0;

		CHECK_OK(pool_new(threads, &p));
		CHECK_U64(pool_threads(p), threads);
		for (int i = 0; i < 1000; i++)
			submit_count(p, &n);
		/* Freeing waits for all that was submitted. */
		pool_free(take(p));
		CHECK_U64(atomic_load(&n), 1000);
	}
}

static void test_arguments(void)
{
	struct pool *p = NULL;

	CHECK_FAILS(-EINVAL, pool_new(0, &p));
	CHECK_FAILS(-EINVAL, pool_new(1000000, &p));
	CHECK(!p);
	pool_free(NULL);
	ordered_free(NULL);
	CHECK(pool_default_threads() >= 1);
}

static void test_affinity(void)
{
	cpu_set_t before, one;

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &before)) {
			CPU_SET(i, &one);
			break;
		}
	}
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	CHECK_U64(pool_default_threads(), 1);
	CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
}

struct look_job {
	struct pool_job job;
	sigset_t mask;
	char name[16];
};

static void look(struct pool_job *job)
{
	struct look_job *l = container_of(job, struct look_job, job);

	pthread_sigmask(SIG_SETMASK, NULL, &l->mask);
	pthread_getname_np(pthread_self(), l->name, sizeof(l->name));
}

static void test_worker(void)
{
	struct look_job l = { .job.work = look };
	struct pool *p = NULL;
	sigset_t mine;

	CHECK_OK(pool_new(1, &p));
	pool_submit(p, &l.job);
	pool_free(p);
	CHECK(sigismember(&l.mask, SIGINT) == 1);
	CHECK(sigismember(&l.mask, SIGTERM) == 1);
	CHECK(strncmp(l.name, "worker-0", 9) == 0);
	/* The caller's own mask is as it was. */
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	CHECK(sigismember(&mine, SIGINT) == 0);
}

/* Several threads submit to one pool. */
static atomic_int submitted;

static void *submitter(void *arg)
{
	for (int i = 0; i < 500; i++)
		submit_count(arg, &submitted);
	return NULL;
}

static void test_submitters(void)
{
	struct pool *p = NULL;
	pthread_t t[4];

	CHECK_OK(pool_new(2, &p));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, submitter, p));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_join(t[i], NULL));
	pool_free(p);
	CHECK_U64(atomic_load(&submitted), 2000);
}

struct item {
	unsigned i;
	bool ran;
};

struct setting {
	unsigned fail_every;
	bool nap;
};

static int run(void *ctx, void *arg)
{
	struct setting *s = ctx;
	struct item *item = arg;

	/* The later ones are quicker: order must not come by itself. */
	if (s->nap) {
		struct timespec t = { 0, (item->i % 4 == 0) * 300000 };

		nanosleep(&t, NULL);
	}
	item->ran = true;
	if (s->fail_every && item->i % s->fail_every == 0)
		return fail(-EIO, "item %u", item->i);
	/* Without a sentence, which must not be that of an earlier item. */
	if (s->fail_every && item->i % s->fail_every == 1)
		return -EBADMSG;
	return 0;
}

static void pipeline(unsigned threads, size_t depth, unsigned items,
		     struct setting s)
{
	DROP(pool) struct pool *p = NULL;
	DROP(ordered) struct ordered *o = NULL;
	struct item *all = calloc(items, sizeof(*all));
	unsigned pushed = 0, popped = 0;
	void *got;

	CHECK(all);
	CHECK_OK(pool_new(threads, &p));
	CHECK_OK(ordered_new(p, depth, run, &s, &o));
	CHECK_OK(ordered_pop(o, &got));
	CHECK(!got);
	while (popped < items) {
		int r;

		while (pushed < items && ordered_room(o)) {
			all[pushed].i = pushed;
			ordered_push(o, &all[pushed++]);
		}
		CHECK_U64(ordered_inflight(o), pushed - popped);
		CHECK(pushed - popped <= depth);
		r = ordered_pop(o, &got);
		CHECK(got == &all[popped] && all[popped].ran);
		if (s.fail_every && popped % s.fail_every == 0) {
			char want[32];

			snprintf(want, sizeof(want), "item %u", popped);
			CHECK_FAILS(-EIO, r);
			CHECK_STR(err_text(r), want);
		} else if (s.fail_every && popped % s.fail_every == 1) {
			CHECK_FAILS(-EBADMSG, r);
			CHECK_STR(err_text(r), "Bad message");
		} else {
			CHECK_OK(r);
		}
		popped++;
	}
	CHECK_U64(ordered_inflight(o), 0);
	CHECK_OK(ordered_pop(o, &got));
	CHECK(!got);
	free(all);
}

/* Dropped with items in flight: they have run, and the sentence of the failure
 * that it is dropped for is not lost. */
static int dropped(struct pool *p, struct item *items, size_t n)
{
	DROP(ordered) struct ordered *o = NULL;
	struct setting s = { .fail_every = 1, .nap = true };

	CHECK_OK(ordered_new(p, n, run, &s, &o));
	for (size_t i = 0; i < n; i++)
		ordered_push(o, &items[i]);
	return fail(-ECANCELED, "stopped");
}

static void test_drop(void)
{
	DROP(pool) struct pool *p = NULL;
	struct ordered *o = NULL;
	struct item items[50] = { 0 };

	CHECK_OK(pool_new(3, &p));
	for (unsigned i = 0; i < ARRAY_SIZE(items); i++)
		items[i].i = i;
	CHECK_FAILS(-ECANCELED, dropped(p, items, ARRAY_SIZE(items)));
	CHECK_STR(err_text(-ECANCELED), "stopped");
	for (unsigned i = 0; i < ARRAY_SIZE(items); i++)
		CHECK(items[i].ran);
	CHECK_FAILS(-EINVAL, ordered_new(p, 0, run, NULL, &o));
	CHECK_FAILS(-ENOMEM, ordered_new(p, SIZE_MAX / 8, run, NULL, &o));
	CHECK(!o);
}

/* Two pipelines in two threads share a pool. */
static void *pipeline_thread(void *arg)
{
	struct setting s = { 0 };
	struct ordered *o = NULL;
	struct item items[8] = { 0 };
	void *got;

	CHECK_OK(ordered_new(arg, 8, run, &s, &o));
	for (unsigned i = 0; i < 400; i++) {
		if (!ordered_room(o)) {
			CHECK_OK(ordered_pop(o, &got));
			CHECK(got == &items[i % 8]);
		}
		items[i % 8].i = i;
		ordered_push(o, &items[i % 8]);
	}
	ordered_free(o);
	return NULL;
}

static void test_shared(void)
{
	DROP(pool) struct pool *p = NULL;
	pthread_t t[3];

	CHECK_OK(pool_new(2, &p));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, pipeline_thread, p));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_join(t[i], NULL));
}

int main(void)
{
	test_arguments();
	test_affinity();
	test_jobs();
	test_worker();
	test_submitters();
	pipeline(1, 1, 50, (struct setting){ 0 });
	pipeline(4, 1, 50, (struct setting){ .nap = true });
	pipeline(4, 7, 500, (struct setting){ .nap = true });
	pipeline(4, 64, 500, (struct setting){ .nap = true, .fail_every = 5 });
	pipeline(2, 1000, 3000, (struct setting){ .fail_every = 7 });
	test_drop();
	test_shared();
	return 0;
}
