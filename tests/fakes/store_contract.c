// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/store_contract.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/check.h"

#define THREADS 8

static uint64_t draw(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i % 8 ? seed >> 8 * (i % 8)
				       : draw(&seed) & 0xff);
}

static bool has(struct store *s, const char *key, const void *data, size_t len)
{
	struct buf b
		__attribute__((cleanup(drop_buf))) = BUF_INIT(STORE_OBJECT_MAX);

	CHECK_OK(store_get(s, key, STORE_OBJECT_MAX, &b));
	return b.len == len && (!len || !memcmp(b.data, data, len));
}

static void names(struct store *s)
{
	static const char *const bad[] = { "",	   "/",	  "a/",	   "/a",
					   "a//b", ".",	  "..",	   "a/..",
					   "../a", "./a", "a b",   "a\nb",
					   "a\\b", "a:b", "\303a", "a*",
					   "tmp",  "a/.", "tmp/x", "a/../b" };
	static const char *const good[] = { "...",   "a...",	  "%2F",
					    "~",     "_",	  "-",
					    "x/tmp", "tmp-/file", "tmpfile",
					    "A",     "b",	  "0" };
	DROP(mem) char *longest = malloc(STORE_KEY_MAX + 2);
	struct store_list l = { 0 };
	struct buf b = BUF_INIT(100);
	uint64_t size;
	uint8_t byte;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_FAILS(-EINVAL, store_put(s, bad[i], "x", 1));
		CHECK_FAILS(-EINVAL, store_stat(s, bad[i], &size));
		CHECK_FAILS(-EINVAL, store_read(s, bad[i], &byte, 1, 0));
		CHECK_FAILS(-EINVAL, store_get(s, bad[i], 100, &b));
		CHECK_FAILS(-EINVAL, store_remove(s, bad[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_OK(store_put(s, good[i], good[i], strlen(good[i])));
		CHECK(has(s, good[i], good[i], strlen(good[i])));
	}
	/* Keys that differ in case only are two. */
	CHECK_FAILS(-ENOENT, store_stat(s, "a", &size));

	memset(longest, 'k', STORE_KEY_MAX + 1);
	for (size_t i = 200; i < STORE_KEY_MAX; i += 200)
		longest[i] = '/';
	longest[STORE_KEY_MAX + 1] = '\0';
	CHECK_FAILS(-EINVAL, store_put(s, longest, "x", 1));
	longest[STORE_KEY_MAX] = '\0';
	CHECK_OK(store_put(s, longest, "x", 1));
	CHECK_OK(store_list(s, "kkk", "", 10, false, &l));
	CHECK_U64(l.count, 1);
	CHECK_STR(l.entries[0].key, longest);
	store_list_release(&l);
	CHECK_FAILS(-EINVAL, store_list(s, "/", "", 1, false, &l));
	CHECK_FAILS(-EINVAL, store_list(s, "../", "", 1, false, &l));
	CHECK_FAILS(-EINVAL, store_list(s, "a//", "", 1, false, &l));
	CHECK_FAILS(-EINVAL, store_list(s, "a b", "", 1, false, &l));
	CHECK_FAILS(-EINVAL, store_list(s, "", "", 0, false, &l));
	CHECK_FAILS(-EINVAL,
		    store_list(s, "", "", STORE_LIST_MAX + 1, false, &l));
	CHECK(!l.entries && !l.count);
}

static void bytes(struct store *s)
{
	const size_t size = (5u << 20) + 12345;
	DROP(mem) uint8_t *data = malloc(size);
	DROP(mem) uint8_t *back = malloc(size);
	struct buf b = BUF_INIT(1000);
	uint64_t got, seed = 5;

	fill(data, size, 1);
	CHECK_OK(store_put(s, "d/big", data, size));
	CHECK_OK(store_stat(s, "d/big", &got));
	CHECK_U64(got, size);
	CHECK(has(s, "d/big", data, size));
	for (int i = 0; i < (check_all() ? 50 : 12); i++) {
		uint64_t off = draw(&seed) % size;
		size_t len = 1 + draw(&seed) % (size - off);

		CHECK_OK(store_read(s, "d/big", back, len, off));
		CHECK_MEM(back, data + off, len);
	}
	CHECK_OK(store_read(s, "d/big", back, size, 0));
	CHECK_OK(store_read(s, "d/big", back, 1, size - 1));
	CHECK_SAYS(-EIO, "d/big is shorter than its index says",
		   store_read(s, "d/big", back, 1, size));
	CHECK_SAYS(-EIO, "d/big is shorter than its index says",
		   store_read(s, "d/big", back, size, 1));
	CHECK_FAILS(-EIO, store_read(s, "d/big", back, 1, STORE_OBJECT_MAX));
	CHECK_FAILS(-EIO, store_read(s, "d/big", back, 2, UINT64_MAX));
	CHECK_FAILS(-EINVAL, store_read(s, "d/big", back, 0, 0));
	CHECK_FAILS(-EFBIG,
		    store_put(s, "huge", data, (size_t)STORE_OBJECT_MAX + 1));

	CHECK_OK(store_put(s, "d/none", NULL, 0));
	CHECK_OK(store_stat(s, "d/none", &got));
	CHECK_U64(got, 0);
	CHECK(has(s, "d/none", NULL, 0));
	CHECK_FAILS(-EIO, store_read(s, "d/none", back, 1, 0));

	/* get appends, or changes nothing. */
	CHECK_OK(store_put(s, "d/ten", "0123456789", 10));
	buf_add(&b, "ab", 2);
	CHECK_OK(store_get(s, "d/ten", 10, &b));
	CHECK_U64(b.len, 12);
	CHECK_MEM(b.data, "ab0123456789", 12);
	CHECK_FAILS(-EFBIG, store_get(s, "d/ten", 9, &b));
	CHECK_FAILS(-EFBIG, store_get(s, "d/big", SIZE_MAX, &b));
	CHECK_FAILS(-ENOENT, store_get(s, "d/nine", 10, &b));
	CHECK_U64(b.len, 12);
	CHECK(!b.failed);
	buf_release(&b);

	/* In pieces, some of none. */
	{
		struct store_piece pieces[300];
		size_t at = 0;

		for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
			size_t len = i % 7 * 1000;

			pieces[i] =
				(struct store_piece){ len ? data + at : NULL,
						      len };
			at += len;
		}
		CHECK_OK(store_putv(s, "d/pieces", pieces, ARRAY_SIZE(pieces)));
		CHECK(has(s, "d/pieces", data, at));
		CHECK_OK(store_put(s, "d/pieces", data, at));
		CHECK_OK(store_putv(s, "d/nothing", NULL, 0));
		CHECK(has(s, "d/nothing", NULL, 0));
	}

	/* What is not there. */
	CHECK_FAILS(-ENOENT, store_stat(s, "no", &got));
	CHECK_FAILS(-ENOENT, store_stat(s, "no/such/thing", &got));
	CHECK_FAILS(-ENOENT, store_read(s, "no/such/thing", back, 1, 0));
	CHECK_FAILS(-ENOENT, store_remove(s, "no/such/thing"));
	/* A folder is no object, and an object no folder. */
	CHECK_FAILS(-ENOENT, store_stat(s, "d", &got));
	CHECK_FAILS(-ENOENT, store_read(s, "d", back, 1, 0));
	CHECK_FAILS(-ENOENT, store_remove(s, "d"));
	CHECK_FAILS(-ENOENT, store_stat(s, "d/ten/x", &got));
	CHECK_FAILS(-ENOENT, store_read(s, "d/ten/x", back, 1, 0));
	CHECK_FAILS(-ENOENT, store_remove(s, "d/ten/x"));
}

static void create_only(struct store *s)
{
	static const char *const others[] = { "Hello", "hellO", "hell",
					      "hello!", "" };
	struct store_list l = { 0 };
	uint64_t size;

	CHECK_OK(store_put(s, "o/a", "hello", 5));
	CHECK_OK(store_put(s, "o/a", "hello", 5));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		CHECK_SAYS(-EEXIST, "o/a",
			   store_put(s, "o/a", others[i], strlen(others[i])));
		CHECK(has(s, "o/a", "hello", 5));
	}
	CHECK_OK(store_put(s, "o/none", "", 0));
	CHECK_OK(store_put(s, "o/none", "", 0));
	CHECK_FAILS(-EEXIST, store_put(s, "o/none", "x", 1));
	CHECK_OK(store_barrier(s));
	CHECK_OK(store_barrier(s));

	/* A whole one is an object like the others. */
	CHECK_OK(store_put_whole(s, "o/whole", "hello", 5));
	CHECK_OK(store_put_whole(s, "o/whole", "hello", 5));
	CHECK_OK(store_put(s, "o/whole", "hello", 5));
	CHECK_FAILS(-EEXIST, store_put_whole(s, "o/whole", "hellO", 5));
	CHECK_FAILS(-EEXIST, store_put(s, "o/whole", "", 0));
	CHECK_FAILS(-EINVAL, store_put_whole(s, "o//whole", "hello", 5));
	CHECK_FAILS(-EFBIG, store_put_whole(s, "o/big", "hello",
					    (size_t)STORE_OBJECT_MAX + 1));
	CHECK(has(s, "o/whole", "hello", 5));
	CHECK_OK(store_put_whole(s, "o/empty", NULL, 0));
	CHECK_OK(store_barrier(s));
	CHECK_OK(store_remove(s, "o/whole"));
	CHECK_OK(store_remove(s, "o/empty"));

	CHECK_OK(store_remove(s, "o/a"));
	CHECK_FAILS(-ENOENT, store_remove(s, "o/a"));
	CHECK_FAILS(-ENOENT, store_stat(s, "o/a", &size));
	/* The name is free again. */
	CHECK_OK(store_put(s, "o/a", "other", 5));
	CHECK(has(s, "o/a", "other", 5));
	CHECK_OK(store_remove(s, "o/a"));
	CHECK_OK(store_remove(s, "o/none"));
	CHECK_OK(store_list(s, "", "", 10, false, &l));
	CHECK_U64(l.count, 0);
	CHECK(!l.more);
	store_list_release(&l);
	CHECK_OK(store_barrier(s));
}

/*
 * Listing, against the plainest thing that does the same.
 */

static int by_key(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All the keys that a listing is to give, in one page. */
static size_t model(char **keys, size_t n, const char *prefix,
		    const char *after, bool fold,
		    char (*out)[STORE_KEY_MAX + 1])
{
	size_t plen = strlen(prefix), count = 0;

	for (size_t i = 0; i < n; i++) {
		const char *slash;
		char *to = out[count];

		if (strncmp(keys[i], prefix, plen) != 0)
			continue;
		slash = fold ? strchr(keys[i] + plen, '/') : NULL;
		snprintf(to, STORE_KEY_MAX + 1, "%.*s",
			 slash ? (int)(slash - keys[i]) + 1 : STORE_KEY_MAX,
			 keys[i]);
		if (strcmp(to, after) <= 0 ||
		    (count && !strcmp(to, out[count - 1])))
			continue;
		count++;
	}
	return count;
}

static void check_list(struct store *s, char **keys, size_t n,
		       const char *prefix, const char *start, size_t max,
		       bool fold)
{
	static char want[400][STORE_KEY_MAX + 1];
	char after[STORE_KEY_MAX + 2];
	size_t count = model(keys, n, prefix, start, fold, want), at = 0;
	bool more = true;

	snprintf(after, sizeof(after), "%s", start);
	while (more) {
		struct store_list l = { 0 };

		CHECK_OK(store_list(s, prefix, after, max, fold, &l));
		CHECK(l.count <= max);
		CHECK(l.count || !l.more);
		CHECK(at + l.count <= count);
		for (size_t i = 0; i < l.count; i++, at++) {
			const char *key = l.entries[i].key;

			CHECK_STR(key, want[at]);
			/* Each object has as many bytes as its name. */
			CHECK_U64(l.entries[i].size, key[strlen(key) - 1] == '/'
							     ? 0
							     : strlen(key));
			snprintf(after, sizeof(after), "%s", key);
		}
		more = l.more;
		store_list_release(&l);
	}
	CHECK_U64(at, count);
}

static bool folder_of(const char *a, const char *b)
{
	size_t n = strlen(a);

	return !strncmp(a, b, n) && b[n] == '/';
}

/* Over a network each page costs a request: then some of the cases are left
 * out, but for CHECK_FULL=1. */
static bool dear(struct store *s)
{
	struct store_traffic t;

	store_traffic(s, &t);
	return t.parallel && !check_full();
}

/* One in so many of the keys is listed from. */
static size_t stride(struct store *s)
{
	return dear(s) ? 16 : check_all() ? 1 : 8;
}

static void listing(struct store *s)
{
	/* Those that sort before and after '/'. */
	static const char *const parts[] = { "a",  "a-", "a.", "a0", "a%",
					     "ab", "b",	 "-",  "b~", "A" };
	char *keys[300];
	size_t n = 0;
	uint64_t seed = 11;

	check_list(s, keys, 0, "", "", 10, false);
	check_list(s, keys, 0, "a/", "", 10, true);
	for (int i = 0; i < 300; i++) {
		size_t depth = 1 + draw(&seed) % 4;
		struct buf b = BUF_INIT(STORE_KEY_MAX);
		bool clash = false;
		const char *key;

		for (size_t k = 0; k < depth; k++) {
			if (k)
				buf_u8(&b, '/');
			buf_str(&b, parts[draw(&seed) % ARRAY_SIZE(parts)]);
		}
		key = buf_cstr(&b);
		for (size_t k = 0; k < n; k++)
			clash |= !strcmp(keys[k], key) ||
				 folder_of(keys[k], key) ||
				 folder_of(key, keys[k]);
		if (!clash) {
			CHECK_OK(store_put(s, key, key, strlen(key)));
			keys[n++] = strdup(key);
		}
		buf_release(&b);
	}
	CHECK(n > 60);
	qsort(keys, n, sizeof(*keys), by_key);

	for (int fold = 0; fold < 2; fold++) {
		for (size_t max = dear(s) ? 13 : 1; max < 400;
		     max = max * (dear(s) || check_all() ? 3 : 12) + 1) {
			check_list(s, keys, n, "", "", max, fold);
			check_list(s, keys, n, "a/", "", max, fold);
			check_list(s, keys, n, "a", "", max, fold);
			check_list(s, keys, n, "a.", "", max, fold);
			check_list(s, keys, n, "b/a", "", max, fold);
			check_list(s, keys, n, "zz", "", max, fold);
			check_list(s, keys, n, "zz/a", "", max, fold);
			check_list(s, keys, n, keys[n / 2], "", max, fold);
		}
	}
	for (size_t i = 0; i < n; i += stride(s)) {
		char between[STORE_KEY_MAX + 2];

		snprintf(between, sizeof(between), "%s-", keys[i]);
		check_list(s, keys, n, "", keys[i], 5, false);
		check_list(s, keys, n, "", between, 5, false);
		check_list(s, keys, n, "a", keys[i], 5, false);
		check_list(s, keys, n, "a/", between, 2, false);
	}
	check_list(s, keys, n, "", "zzzz", 5, false);
	check_list(s, keys, n, "b/", "a", 5, true);
	check_list(s, keys, n, "a", "b", 5, true);
	for (size_t i = 0; i < n; i++)
		free(keys[i]);
}

/* One page after the other while others come and go: those that stay are each seen once. */
static void listing_moving(struct store *s)
{
	char after[STORE_KEY_MAX + 2] = "", key[40];
	size_t seen = 0, round = 0;
	bool more = true;

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "m/%02d/%d", i / 10, i % 10);
		CHECK_OK(store_put(s, key, "x", 1));
	}
	while (more) {
		struct store_list l = { 0 };

		CHECK_OK(store_list(s, "m/", after, 7, false, &l));
		for (size_t i = 0; i < l.count; i++) {
			CHECK(strcmp(l.entries[i].key, after) > 0);
			snprintf(after, sizeof(after), "%s", l.entries[i].key);
			seen += !strchr(after, '~');
		}
		more = l.more;
		store_list_release(&l);
		snprintf(key, sizeof(key), "m/%02zu/~", round);
		if (round++ < 10)
			CHECK_OK(store_put(s, key, "y", 1));
		CHECK(round < 1000);
	}
	CHECK_U64(seen, 100);
}

/*
 * Threads.
 */

struct racer {
	struct store *s;
	const char *key;
	int number;
	bool same; /* all put the same bytes */
	atomic_int *stop;
	int result;
	uint64_t reads;
	pthread_t thread;
	pthread_barrier_t *start;
};

#define RACE_SIZE 300000

static void race_bytes(uint8_t *data, int number)
{
	memset(data, 'A' + number, RACE_SIZE);
	data[0] = data[RACE_SIZE - 1] = (uint8_t)number;
}

static void *race_put(void *arg)
{
	struct racer *me = arg;
	DROP(mem) uint8_t *data = malloc(RACE_SIZE);

	race_bytes(data, me->same ? 0 : me->number);
	pthread_barrier_wait(me->start);
	me->result = store_put(me->s, me->key, data, RACE_SIZE);
	return NULL;
}

/* Whatever is there, is there whole. */
static void *race_get(void *arg)
{
	struct racer *me = arg;
	DROP(mem) uint8_t *data = malloc(RACE_SIZE);
	struct buf b = BUF_INIT(STORE_OBJECT_MAX);
	int last;

	pthread_barrier_wait(me->start);
	/* Once more after the end: then it must be there. */
	do {
		uint8_t byte = 0;
		uint64_t size = 0;
		int r;

		last = atomic_load(me->stop);
		r = store_stat(me->s, me->key, &size);
		CHECK(r == 0 ? size == RACE_SIZE : r == -ENOENT);
		r = store_read(me->s, me->key, &byte, 1, RACE_SIZE - 1);
		CHECK(r == 0 ? byte < THREADS : r == -ENOENT);
		buf_reset(&b);
		r = store_get(me->s, me->key, STORE_OBJECT_MAX, &b);
		CHECK(r == 0 || r == -ENOENT);
		if (r == 0) {
			CHECK_U64(b.len, RACE_SIZE);
			CHECK(b.data[0] < THREADS);
			race_bytes(data, b.data[0]);
			CHECK_MEM(b.data, data, RACE_SIZE);
			me->reads++;
		}
	} while (!last);
	CHECK(me->reads);
	buf_release(&b);
	return NULL;
}

static void race(struct store *s, const char *key, bool same)
{
	struct racer put[THREADS], get[2];
	pthread_barrier_t start;
	atomic_int stop = 0;
	DROP(mem) uint8_t *data = malloc(RACE_SIZE);
	int winner = -1;

	pthread_barrier_init(&start, NULL, THREADS + ARRAY_SIZE(get));
	for (int i = 0; i < THREADS; i++) {
		put[i] = (struct racer){ .s = s,
					 .key = key,
					 .number = i,
					 .same = same,
					 .start = &start };
		CHECK(!pthread_create(&put[i].thread, NULL, race_put, &put[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(get); i++) {
		get[i] = (struct racer){ .s = s,
					 .key = key,
					 .stop = &stop,
					 .start = &start };
		CHECK(!pthread_create(&get[i].thread, NULL, race_get, &get[i]));
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(put[i].thread, NULL);
	atomic_store(&stop, 1);
	for (size_t i = 0; i < ARRAY_SIZE(get); i++)
		pthread_join(get[i].thread, NULL);
	pthread_barrier_destroy(&start);

	for (int i = 0; i < THREADS; i++) {
		if (same) {
			CHECK_OK(put[i].result);
		} else if (put[i].result == 0) {
			CHECK(winner < 0);
			winner = i;
		} else {
			CHECK_U64(-put[i].result, EEXIST);
		}
	}
	CHECK(same || winner >= 0);
	race_bytes(data, same ? 0 : winner);
	CHECK(has(s, key, data, RACE_SIZE));
}

/* Each thread its own objects, in folders they share, which come and go. */
static void *come_and_go(void *arg)
{
	struct racer *me = arg;

	pthread_barrier_wait(me->start);
	for (int i = 0; i < (dear(me->s) ? 5 : check_all() ? 40 : 17); i++) {
		char key[64];

		snprintf(key, sizeof(key), "shared/%d/deep/%d", i % 3,
			 me->number);
		CHECK_OK(store_put(me->s, key, key, strlen(key)));
		CHECK(has(me->s, key, key, strlen(key)));
		if (i % 8 == 0)
			CHECK_OK(store_barrier(me->s));
		CHECK_OK(store_remove(me->s, key));
	}
	return NULL;
}

static void crowd(struct store *s)
{
	struct racer them[THREADS];
	struct store_list l = { 0 };
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		them[i] =
			(struct racer){ .s = s, .number = i, .start = &start };
		CHECK(!pthread_create(&them[i].thread, NULL, come_and_go,
				      &them[i]));
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(them[i].thread, NULL);
	pthread_barrier_destroy(&start);
	CHECK_OK(store_list(s, "", "", 10, false, &l));
	CHECK_U64(l.count, 0);
	store_list_release(&l);
}

static void threads(struct store *s)
{
	char key[40];

	crowd(s);
	for (int i = 0; i < (dear(s) || !check_all() ? 2 : 5); i++) {
		snprintf(key, sizeof(key), "race/%d/differ", i);
		race(s, key, false);
		snprintf(key, sizeof(key), "race/%d/same", i);
		race(s, key, true);
	}
	CHECK_OK(store_barrier(s));
}

void store_contract(struct store *(*make)(void))
{
	void (*const parts[])(struct store *) = { names,	  bytes,
						  create_only,	  listing,
						  listing_moving, threads };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		DROP(store) struct store *s = make();

		CHECK(s);
		CHECK(store_url(s)[0]);
		parts[i](s);
	}
}
