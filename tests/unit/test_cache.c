// SPDX-License-Identifier: GPL-3.0-or-later
/* cache: what it holds and for how long, single flight, the bound. */
#include "backend/source/cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "backend/base/parse.h"
#include "tests/unit/check.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define THREADS 8

struct key {
	uint8_t b[CACHE_KEY_SIZE];
};

/* The awkward user: small integers. */
static struct key key_of(uint64_t n)
{
	struct key k = { { 0 } };

	memcpy(k.b, &n, sizeof(n));
	return k;
}

#define KEY(n) key_of(n).b

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void nap_ms(unsigned ms)
{
	struct timespec t = { 0, ms * 1000000L };

	nanosleep(&t, NULL);
}

static struct cache_stats stats(struct cache *c)
{
	struct cache_stats s;

	cache_stats(c, &s);
	return s;
}

/* --- fills --- */

static atomic_int alive; /* blobs made by make() and not yet destroyed */

struct recipe {
	size_t size;
	size_t charge;
	uint8_t byte;
	int error;
	atomic_int calls;
};

static void unmake(void *data)
{
	atomic_fetch_sub(&alive, 1);
	free(data);
}

static int make(void *ctx, struct cache_value *out)
{
	struct recipe *r = ctx;

	CHECK(!out->data && !out->size && !out->charge && !out->destroy);
	atomic_fetch_add(&r->calls, 1);
	if (r->error)
		return fail(r->error, "no %d today", r->byte);
	out->data = malloc(r->size);
	CHECK(out->data);
	memset(out->data, r->byte, r->size);
	out->size = r->size;
	out->charge = r->charge;
	out->destroy = unmake;
	atomic_fetch_add(&alive, 1);
	return 0;
}

static void get_put_away(struct cache *c, uint64_t n, struct recipe *r)
{
	DROP(cache_blob) struct cache_blob *b = NULL;

	CHECK_OK(cache_get(c, KEY(n), make, r, &b));
	CHECK(b->size == r->size);
}

static bool holds(struct cache *c, uint64_t n)
{
	DROP(cache_blob) struct cache_blob *b = cache_peek(c, KEY(n));

	return b;
}

/* --- one thread --- */

static void test_basics(void)
{
	struct recipe r = { .size = 1000, .byte = 7 };
	DROP(cache) struct cache *c = NULL;
	struct cache_blob *a = NULL, *b = NULL;
	const uint8_t *p;

	cache_free(NULL);
	cache_unref(NULL);
	CHECK_OK(cache_new(MIB, &c));
	CHECK(!cache_peek(c, KEY(1)));
	CHECK_OK(cache_get(c, KEY(1), make, &r, &a));
	CHECK_OK(cache_get(c, KEY(1), make, &r, &b));
	CHECK(a == b && r.calls == 1 && a->size == 1000);
	p = a->data;
	CHECK(p[0] == 7 && p[999] == 7);
	cache_unref(b);
	b = cache_peek(c, KEY(1));
	CHECK(a == b);
	cache_unref(b);
	CHECK(stats(c).hits == 2 && stats(c).misses == 1);
	CHECK(stats(c).count == 1 && stats(c).evictions == 0);
	CHECK(stats(c).bytes > 1000 && stats(c).bytes < 1500);

	/* The reference outlives the cache. */
	cache_free(take(c));
	CHECK(alive == 1 && p[500] == 7);
	cache_unref(a);
	CHECK(alive == 0);
}

static int make_nothing(void *ctx, struct cache_value *out)
{
	return 0;
}

static void test_put(void)
{
	struct recipe r = { .size = 10, .byte = 9 };
	DROP(cache) struct cache *c = NULL;
	DROP(cache_blob) struct cache_blob *b = NULL, *empty = NULL;
	char text[] = "hello";

	CHECK_OK(cache_new(MIB, &c));
	cache_put(c, KEY(1), text, sizeof(text));
	text[0] = 'j';
	cache_put(c, KEY(1), text, sizeof(text)); /* the first one stays */
	CHECK_OK(cache_get(c, KEY(1), make, &r, &b));
	CHECK(r.calls == 0 && b->size == 6 && !strcmp(b->data, "hello"));
	cache_put(c, KEY(2), NULL, 0);
	CHECK(holds(c, 2));
	cache_put(c, KEY(3), c, SIZE_MAX); /* never read, never kept */
	cache_put(c, KEY(3), c, MIB);
	CHECK(!holds(c, 3));
	CHECK_OK(cache_get(c, KEY(4), make_nothing, NULL, &empty));
	CHECK(empty->size == 0 && holds(c, 4));
	CHECK(stats(c).count == 3 && stats(c).misses == 1);
}

static void test_least_recent_goes(void)
{
	struct recipe r = { .size = 100 * KIB };
	DROP(cache) struct cache *c = NULL;

	CHECK_OK(cache_new(MIB, &c)); /* ten of them and a bit */
	for (uint64_t i = 0; i < 10; i++)
		get_put_away(c, i, &r);
	CHECK(stats(c).evictions == 0 && stats(c).count == 10);
	get_put_away(c, 0, &r); /* a hit */
	CHECK(holds(c, 1));	/* a hit, too */
	get_put_away(c, 10, &r);
	get_put_away(c, 11, &r);
	CHECK(stats(c).evictions == 2 && stats(c).bytes <= MIB);
	CHECK(!holds(c, 2) && !holds(c, 3));
	for (uint64_t i = 0; i < 12; i++)
		CHECK(holds(c, i) == (i != 2 && i != 3));
	CHECK(alive == 10);
	/* One of half the cache pushes out as much as it needs. */
	r.size = MIB / 2;
	get_put_away(c, 100, &r);
	CHECK(stats(c).count == 6 && stats(c).bytes <= MIB);
	cache_free(take(c));
	CHECK(alive == 0);
}

static void test_charge(void)
{
	struct recipe small = { .size = 10, .charge = 600 * KIB };
	struct recipe huge = { .size = 10, .charge = SIZE_MAX };
	DROP(cache) struct cache *c = NULL;

	CHECK_OK(cache_new(MIB, &c));
	get_put_away(c, 1, &small);
	get_put_away(c, 2, &small);
	CHECK(stats(c).count == 1 && stats(c).evictions == 1 && alive == 1);
	get_put_away(c, 3, &huge);
	CHECK(!holds(c, 3) && holds(c, 2) && alive == 1);
}

static void test_too_large(void)
{
	struct recipe r = { .size = MIB, .byte = 3 };
	DROP(cache) struct cache *c = NULL, *none = NULL;
	DROP(cache_blob) struct cache_blob *b = NULL;

	CHECK_OK(cache_new(MIB, &c));
	CHECK_OK(cache_get(c, KEY(1), make, &r, &b));
	CHECK(b->size == MIB && ((const uint8_t *)b->data)[MIB - 1] == 3);
	CHECK(stats(c).count == 0 && stats(c).bytes == 0 && !holds(c, 1));
	CHECK(alive == 1);
	cache_unref(take(b));
	CHECK(alive == 0);

	CHECK_OK(cache_new(0, &none));
	r.size = 0;
	get_put_away(none, 1, &r);
	get_put_away(none, 1, &r);
	cache_put(none, KEY(2), "x", 1);
	CHECK(r.calls == 3 && stats(none).count == 0);
}

static void test_failure(void)
{
	struct recipe r = { .size = 10, .byte = 5, .error = -ESTALE };
	DROP(cache) struct cache *c = NULL;
	struct cache_blob *b = NULL;

	CHECK_OK(cache_new(MIB, &c));
	CHECK_SAYS(-ESTALE, "no 5 today", cache_get(c, KEY(1), make, &r, &b));
	CHECK(!b && !holds(c, 1) && stats(c).count == 0);
	r.error = 0;
	get_put_away(c, 1, &r);
	CHECK(r.calls == 2 && stats(c).misses == 2 && stats(c).hits == 0);
}

/* Bytes in use are evicted from the map, not from under their user. */
static void test_evicted_in_use(void)
{
	struct recipe r = { .size = 600 * KIB, .byte = 1 };
	DROP(cache) struct cache *c = NULL;
	DROP(cache_blob) struct cache_blob *b = NULL;

	CHECK_OK(cache_new(MIB, &c));
	CHECK_OK(cache_get(c, KEY(1), make, &r, &b));
	r.byte = 2;
	get_put_away(c, 2, &r);
	CHECK(!holds(c, 1) && alive == 2 && stats(c).count == 1);
	CHECK(((const uint8_t *)b->data)[r.size - 1] == 1);
}

/* Many small ones, by number: the map grows, the bound holds with overhead. */
static void test_many(void)
{
	enum { N = 300000 };
	DROP(cache) struct cache *c = NULL;
	uint64_t held = 0;

	CHECK_OK(cache_new(64 * MIB, &c));
	for (uint64_t i = 0; i < N; i++)
		cache_put(c, KEY(i << 20), &i, sizeof(i));
	for (uint64_t i = 0; i < N; i++) {
		DROP(cache_blob)
		struct cache_blob *b = cache_peek(c, KEY(i << 20));

		if (b) {
			held++;
			CHECK(!memcmp(b->data, &i, sizeof(i)));
		}
	}
	CHECK_U64(held, stats(c).count);
	CHECK(stats(c).count + stats(c).evictions == N);
	/* The shards share small integers evenly: none was pushed out while
	 * another one had much room. */
	CHECK(stats(c).bytes <= 64 * MIB);
	CHECK(stats(c).evictions == 0 || stats(c).bytes > 60 * MIB);
}

/* --- threads --- */

static void start(pthread_t *t, void *(*run)(void *), void *arg)
{
	CHECK(!pthread_create(t, NULL, run, arg));
}

static void join_all(pthread_t *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		CHECK(!pthread_join(t[i], NULL));
}

struct crowd {
	struct cache *c;
	struct recipe r;
	atomic_bool go;
	atomic_int failed;
	atomic_int served;
};

/* Once all the others have come and wait. */
static int make_when_told(void *ctx, struct cache_value *out)
{
	struct crowd *w = ctx;

	while (!atomic_load(&w->go))
		nap_ms(1);
	return make(&w->r, out);
}

static void *one_of_crowd(void *arg)
{
	struct crowd *w = arg;
	DROP(cache_blob) struct cache_blob *b = NULL;
	int r;

	r = cache_get(w->c, KEY(1), make_when_told, w, &b);
	if (r < 0) {
		CHECK(r == w->r.error && !b);
		CHECK_STR(err_text(r), "no 8 today");
		atomic_fetch_add(&w->failed, 1);
		return NULL;
	}
	CHECK(b->size == w->r.size && ((const uint8_t *)b->data)[0] == 8);
	atomic_fetch_add(&w->served, 1);
	return NULL;
}

/* All ask for one key at once: one fill, whose end all share, be it good,
 * bad, or too large to be retained. */
static void test_single_flight(void)
{
	static const struct {
		size_t size;
		int error;
	} cases[] = { { 1000, 0 }, { 0, -EACCES }, { 2 * MIB, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct crowd w = { .r = { .size = cases[i].size,
					  .error = cases[i].error,
					  .byte = 8 } };
		pthread_t t[THREADS];

		CHECK_OK(cache_new(MIB, &w.c));
		for (unsigned n = 0; n < THREADS; n++)
			start(&t[n], one_of_crowd, &w);
		while (stats(w.c).waits < THREADS - 1)
			nap_ms(1);
		/* Not ready, so not there; and not to be put. */
		CHECK(!holds(w.c, 1));
		cache_put(w.c, KEY(1), "x", 1);
		CHECK(stats(w.c).count == 0);
		atomic_store(&w.go, true);
		join_all(t, THREADS);
		CHECK(w.r.calls == 1);
		CHECK(w.failed == (cases[i].error ? THREADS : 0));
		CHECK(w.served == (cases[i].error ? 0 : THREADS));
		CHECK(stats(w.c).misses == 1);
		CHECK(stats(w.c).hits == (cases[i].error ? 0 : THREADS - 1));
		CHECK(holds(w.c, 1) == (cases[i].size == 1000));
		cache_free(w.c);
		CHECK(alive == 0);
	}
}

/* --- claims --- */

static struct cache_value value_of(size_t size, int byte)
{
	struct cache_value v = { .data = malloc(size), .size = size };

	CHECK(v.data);
	memset(v.data, byte, size);
	return v;
}

static void *waiter(void *arg)
{
	struct crowd *w = arg;
	DROP(cache_blob) struct cache_blob *b = NULL;

	if (cache_get(w->c, KEY(1), make, &w->r, &b) < 0) {
		CHECK_STR(err_text(-EIO), "not today");
		atomic_fetch_add(&w->failed, 1);
		return NULL;
	}
	CHECK(b->size == 1000);
	atomic_fetch_add(&w->served, 1);
	return NULL;
}

/* Who waits for a claim has what it lands with, and makes it himself when it is given
 * up. */
static void test_claim(void)
{
	static const int ends[] = { 0, -EIO, -ECANCELED };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct crowd w = { .r = { .size = 1000, .byte = 8 } };
		struct cache_value v = value_of(1000, 7);
		struct cache_blob *b = NULL, *again = NULL;
		struct cache_claim *claim = NULL, *second = NULL;
		pthread_t t[THREADS];

		CHECK_OK(cache_new(MIB, &w.c));
		CHECK(cache_claim(w.c, KEY(1), &b, &claim) == CACHE_CLAIMED);
		CHECK(cache_claim(w.c, KEY(1), &b, &second) == CACHE_BUSY);
		CHECK(!b && !second && !holds(w.c, 1));
		for (unsigned n = 0; n < THREADS; n++)
			start(&t[n], waiter, &w);
		while (stats(w.c).waits < THREADS)
			nap_ms(1);
		if (ends[i])
			(void)fail(ends[i], "not today");
		cache_land(w.c, claim, ends[i], &v, ends[i] ? NULL : &b);
		join_all(t, THREADS);
		if (ends[i])
			free(v.data);
		CHECK(w.failed == (ends[i] == -EIO ? THREADS : 0));
		CHECK(w.served == (ends[i] == -EIO ? 0 : THREADS));
		CHECK(w.r.calls == (ends[i] == -ECANCELED ? 1 : 0));
		if (!ends[i]) {
			CHECK(((const uint8_t *)b->data)[999] == 7);
			CHECK(cache_claim(w.c, KEY(1), &again, &second) ==
			      CACHE_HIT);
			CHECK(again == b);
		}
		cache_unref(b);
		cache_unref(again);
		cache_free(w.c);
		CHECK(alive == 0);
	}
}

#define PUTS (check_all() ? 2000 : 500)

static void *put_thread(void *arg)
{
	static const uint8_t data[20000] = { 1 };

	for (uint64_t i = 0; i < PUTS; i++)
		cache_put(arg, KEY(i), data, sizeof(data));
	return NULL;
}

/* All put the same keys in the same order: one of each stays. */
static void test_put_at_once(void)
{
	DROP(cache) struct cache *c = NULL;
	pthread_t t[THREADS];

	CHECK_OK(cache_new(128 * MIB, &c));
	for (unsigned i = 0; i < THREADS; i++)
		start(&t[i], put_thread, c);
	join_all(t, THREADS);
	CHECK_U64(stats(c).count, PUTS);
	CHECK(stats(c).bytes / PUTS - 20000 < 500 && stats(c).misses == 0);
}

/*
 * The stress: all threads ask for keys of a small range, some far more often
 * than others. Each key has its own content; some fills fail; those of the upper keys
 * ask the cache for a lower one. A counter a key proves that no two fills of it
 * are ever under way, a thread of its own that the bound holds.
 */
enum { KEYS = 3000 };

static int rounds(void)
{
	return check_all() ? 20000 : 6000;
}

struct stress {
	struct cache *c;
	size_t max;
	atomic_int filling[KEYS];
	atomic_uint_fast64_t fills, failures, gets, failed_gets;
	atomic_bool stop;
};

struct order {
	struct stress *st;
	uint64_t n;
};

static size_t size_of_key(uint64_t n)
{
	return 64 + n * 7919 % 40000;
}

static uint64_t salt(void)
{
	static _Thread_local uint64_t state;

	if (!state)
		state = (uint64_t)(uintptr_t)&state;
	return next_random(&state);
}

static int make_for_stress(void *ctx, struct cache_value *out)
{
	struct order *o = ctx;
	struct stress *st = o->st;
	struct recipe r = { .size = size_of_key(o->n),
			    .byte = (uint8_t)(o->n * 31) };
	int result;

	CHECK(atomic_fetch_add(&st->filling[o->n], 1) == 0);
	atomic_fetch_add(&st->fills, 1);
	if (salt() % 16 == 0)
		sched_yield();
	if (o->n >= KEYS / 2) {
		struct order lower = { st, o->n - KEYS / 2 };
		DROP(cache_blob) struct cache_blob *b = NULL;

		atomic_fetch_add(&st->gets, 1);
		result = cache_get(st->c, KEY(lower.n), make_for_stress, &lower,
				   &b);
		if (result < 0)
			atomic_fetch_add(&st->failed_gets, 1);
	}
	if (salt() % 50 == 0) {
		r.error = -EIO;
		r.byte = (uint8_t)o->n;
		atomic_fetch_add(&st->failures, 1);
	}
	result = make(&r, out);
	CHECK(atomic_fetch_sub(&st->filling[o->n], 1) == 1);
	return result;
}

static void check_content(const struct cache_blob *b, uint64_t n)
{
	const uint8_t *p = b->data;

	CHECK(b->size == size_of_key(n));
	CHECK(p[0] == (uint8_t)(n * 31) && p[b->size - 1] == p[0] &&
	      p[b->size / 2] == p[0]);
}

static void *stress_thread(void *arg)
{
	struct stress *st = arg;
	struct cache_blob *kept[4] = { NULL };
	uint64_t kept_key[4] = { 0 };

	for (int i = 0, n = rounds(); i < n; i++) {
		uint64_t x = salt();
		/* Half of the time one of 32 keys. */
		struct order o = { st,
				   x & 1 ? (x >> 8) % 32 : (x >> 8) % KEYS };
		struct cache_blob *b = NULL;
		char text[32];
		int r;

		if (x >> 60 == 0) {
			b = cache_peek(st->c, KEY(o.n));
			if (!b)
				continue;
			/* so that hits + misses + failed = gets */
			atomic_fetch_add(&st->gets, 1);
		} else {
			atomic_fetch_add(&st->gets, 1);
			r = cache_get(st->c, KEY(o.n), make_for_stress, &o, &b);
			if (r < 0) {
				snprintf(text, sizeof(text), "no %d today",
					 (uint8_t)o.n);
				CHECK(r == -EIO && !b);
				CHECK_STR(err_text(r), text);
				atomic_fetch_add(&st->failed_gets, 1);
				continue;
			}
		}
		check_content(b, o.n);
		/* Some are kept for a while, past their eviction. */
		if (kept[i % 4]) {
			check_content(kept[i % 4], kept_key[i % 4]);
			cache_unref(kept[i % 4]);
		}
		kept[i % 4] = b;
		kept_key[i % 4] = o.n;
	}
	for (int i = 0; i < 4; i++)
		cache_unref(kept[i]);
	return NULL;
}

static void *watch_bound(void *arg)
{
	struct stress *st = arg;

	while (!atomic_load(&st->stop)) {
		CHECK(stats(st->c).bytes <= st->max);
		/* What lives is held, or being made, kept or just served. */
		nap_ms(1);
	}
	return NULL;
}

static void test_stress(size_t max, bool evicts)
{
	static struct stress st;
	pthread_t t[THREADS], watcher;
	struct cache_stats end;

	memset(&st, 0, sizeof(st));
	st.max = max;
	CHECK_OK(cache_new(max, &st.c));
	start(&watcher, watch_bound, &st);
	for (unsigned i = 0; i < THREADS; i++)
		start(&t[i], stress_thread, &st);
	join_all(t, THREADS);
	atomic_store(&st.stop, true);
	join_all(&watcher, 1);

	end = stats(st.c);
	CHECK(end.bytes <= max);
	CHECK_U64(end.misses, st.fills);
	CHECK((end.evictions > 0) == evicts);
	/* Each get is a miss, a hit, or a wait for a fill that failed. */
	CHECK(end.waits >= st.failed_gets - st.failures);
	CHECK_U64(end.hits + end.misses + (st.failed_gets - st.failures),
		  st.gets);
	CHECK_U64(alive, end.count);
	printf("%zu MiB: %" PRIu64 " gets, %" PRIu64 " fills, %" PRIu64
	       " of them failed, %" PRIu64 " waits\n",
	       max / MIB, (uint64_t)st.gets, (uint64_t)st.fills,
	       (uint64_t)st.failures, end.waits);
	cache_free(st.c);
	CHECK(alive == 0);
}

int main(void)
{
	test_basics();
	test_put();
	test_least_recent_goes();
	test_charge();
	test_too_large();
	test_failure();
	test_evicted_in_use();
	test_many();
	test_single_flight();
	test_claim();
	test_put_at_once();
	test_stress(0, false);
	test_stress(4 * MIB, true);
	test_stress(40 * MIB, true);   /* two shards */
	test_stress(256 * MIB, false); /* sixteen, all fits */
	return 0;
}
