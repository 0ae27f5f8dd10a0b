// SPDX-License-Identifier: GPL-3.0-or-later
/* The contract on the stores of this folder and of the fakes, and the fakes' own faults. */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/store/store.h"
#include "tests/fakes/store_contract.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/store_volatile.h"
#include "tests/unit/check.h"

static char work[PATH_MAX];

static struct store *make_memory(void)
{
	struct store *s;

	CHECK_OK(store_open_memory(&s));
	return s;
}

static struct store *make_volatile(void)
{
	struct store *s;

	CHECK_OK(store_open_volatile(&s));
	return s;
}

static struct store *make_dir(void)
{
	static int number;
	char path[5000];
	struct store *s;

	snprintf(path, sizeof(path), "dir:%s/dir-%d", work, number++);
	CHECK_OK(store_create(path, &s));
	return s;
}

static struct store *make_fault(void)
{
	static struct store *inner;
	static struct store_fault fault;
	struct store *s;

	store_close(inner);
	inner = NULL;
	CHECK_OK(store_open_memory(&inner));
	CHECK_OK(store_open_fault(inner, &fault, &s));
	CHECK_U64(fault.fired, 0);
	return s;
}

static void test_urls(void)
{
	static const char *const unknown[] = { "azure-rsv:/subscriptions/1",
					       "DIR:/x", "file:/x",
					       "a+b.c-9:x" };
	/* None of it is repeated: it may be a secret. */
	static const char *const leaky[] = {
		"az://account/container?sv=1&sig=HUSH",
		"az://account:HUSH@host/container",
		"s3://id:HUSH@bucket",
		"s3://bucket/x#HUSH",
		"https://account.blob.core.windows.net/c?sig=HUSH",
		"https://HUSH@host",
	};
	static const char *const malformed[] = {
		"az:x",		 "az://account", "az://account/",  "az://a b/c",
		"az://a/c/../d", "az://a/c/x y", "s3:bucket",	   "s3://",
		"s3:///prefix",	 "s3://../x",	 "az://a/.hidden",
	};
	DROP(store) struct store *s = NULL;
	char path[5000];

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		CHECK_SAYS(-EINVAL, "not a kind of vault",
			   store_open(unknown[i], false, &s));
		CHECK_SAYS(-EINVAL, "not a kind of vault",
			   store_create(unknown[i], &s));
	}
	for (size_t i = 0; i < ARRAY_SIZE(leaky); i++) {
		CHECK_FAILS(-EINVAL, store_open(leaky[i], false, &s));
		CHECK(!strstr(err_text(-EINVAL), "HUSH"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		CHECK_FAILS(-EINVAL, store_open(malformed[i], false, &s));
	CHECK_FAILS(-EINVAL, store_open("", false, &s));
	CHECK_FAILS(-EINVAL, store_open("dir:", false, &s));
	CHECK_SAYS(-ENXIO, "vault store /no/such is not there",
		   store_open("/no/such", false, &s));
	CHECK_SAYS(-ENXIO, "vault store /no/such is not there",
		   store_open("dir:/no/such/", true, &s));
	CHECK_SAYS(-ENXIO, "/dev/null is not a directory",
		   store_open("/dev/null", false, &s));
	CHECK_FAILS(-ENOENT, store_create("/no/such/place", &s));
	CHECK_FAILS(-ENXIO, store_create("/dev/null", &s));
	CHECK(!s);

	/* A ':' after a '/' is part of a path; messages name all of it. */
	CHECK_OK(chdir(work));
	CHECK_OK(store_create("./x:y", &s));
	snprintf(path, sizeof(path), "%s/x:y", work);
	CHECK_STR(store_url(s), path);
	store_close(take(s));
	CHECK_OK(store_create("dir:x:y", &s));
	CHECK_STR(store_url(s), path);
	store_close(take(s));
	CHECK_OK(store_open("0x", true, &s) == -ENXIO ? 0 : -1);
}

/* The wrapper fills in for what an implementation leaves out. */
static void test_missing_options(void)
{
	static const struct store_ops none = { .name = "none" };
	struct store s;
	struct store_list l = { 0 };

	CHECK_OK(store_init(&s, &none, "none", true));
	CHECK_OK(store_barrier(&s));
	CHECK_FAILS(-EROFS, store_put(&s, "a", "b", 1));
	CHECK_FAILS(-EROFS, store_remove(&s, "a"));
	CHECK_FAILS(-EOPNOTSUPP, store_list(&s, "", "", 1, false, &l));
	store_release(&s);
	store_close(NULL);
}

static void seed(struct store *s)
{
	CHECK_OK(store_put(s, "a/1", "first", 5));
	CHECK_OK(store_put(s, "a/2", "second", 6));
}

/* All kinds of calls, once; the number of those that failed. */
static unsigned calls(struct store *s, unsigned *which)
{
	struct buf b = BUF_INIT(100);
	struct store_list l = { 0 };
	uint64_t size;
	char byte;
	int r[STORE_CALLS] = {
		[STORE_STAT] = store_stat(s, "a/1", &size),
		[STORE_READ] = store_read(s, "a/1", &byte, 1, 0),
		[STORE_GET] = store_get(s, "a/1", 100, &b),
		[STORE_PUT] = store_put(s, "b/1", "x", 1),
		[STORE_LIST] = store_list(s, "a/", "", 9, false, &l),
		[STORE_REMOVE] = store_remove(s, "a/2"),
		[STORE_BARRIER] = store_barrier(s),
	};
	unsigned failed = 0;

	for (unsigned i = 0; i < STORE_CALLS; i++)
		if (r[i] < 0) {
			failed++;
			*which = i;
		}
	buf_release(&b);
	store_list_release(&l);
	return failed;
}

static void test_fault_counts(void)
{
	for (unsigned n = 1; n <= STORE_CALLS + 1; n++) {
		DROP(store) struct store *inner = make_memory();
		DROP(store) struct store *s = NULL;
		struct store_fault f = { .fail_call = n, .error = -ENOSPC };
		unsigned which;

		seed(inner);
		CHECK_OK(store_open_fault(inner, &f, &s));
		CHECK_U64(calls(s, &which), n <= STORE_CALLS);
		CHECK_U64(f.fired, n <= STORE_CALLS);
		CHECK_U64(f.total, STORE_CALLS);
		if (n <= STORE_CALLS)
			CHECK(strstr(err_text(-ENOSPC), "injected"));
		err_clear();
	}
	for (unsigned kind = 0; kind < STORE_CALLS; kind++) {
		DROP(store) struct store *inner = make_memory();
		DROP(store) struct store *s = NULL;
		struct store_fault f = { 0 };
		unsigned which;

		f.fail_of[kind] = 1;
		seed(inner);
		CHECK_OK(store_open_fault(inner, &f, &s));
		CHECK_U64(calls(s, &which), 1);
		CHECK_U64(which, kind);
		for (unsigned i = 0; i < STORE_CALLS; i++)
			CHECK_U64(f.calls[i], 1);
		CHECK_U64(f.bytes_read, kind == STORE_GET ? 1 : 6);
		CHECK_U64(f.bytes_put, 1);
		store_fault_reset(&f);
		CHECK_U64(f.total + f.fired + f.bytes_read, 0);
	}
}

static void test_fault_ways(void)
{
	DROP(store) struct store *inner = make_memory();
	DROP(store) struct store *s = NULL;
	struct store_fault f = { 0 };
	struct buf b = BUF_INIT(100);
	uint64_t size;
	char out[8];

	seed(inner);
	CHECK_OK(store_open_fault(inner, &f, &s));

	/* In a row, and of some keys only. */
	f.fail_of[STORE_STAT] = 2;
	f.fail_times = 2;
	f.only = "/2";
	CHECK_OK(store_stat(s, "a/2", &size));
	CHECK_OK(store_stat(s, "a/1", &size));
	CHECK_FAILS(-EIO, store_stat(s, "a/2", &size));
	CHECK_OK(store_stat(s, "a/1", &size));
	CHECK_FAILS(-EIO, store_stat(s, "a/2", &size));
	CHECK_OK(store_stat(s, "a/2", &size));
	CHECK_U64(f.fired, 2);

	/* The put happened, but its answer was lost: putting again is success. */
	f = (struct store_fault){ .fail_of[STORE_PUT] = 1,
				  .fail_of[STORE_REMOVE] = 1,
				  .error = -EAGAIN,
				  .answer_lost = true };
	CHECK_FAILS(-EAGAIN, store_put(s, "c", "c", 1));
	CHECK_OK(store_stat(inner, "c", &size));
	CHECK_OK(store_put(s, "c", "c", 1));
	CHECK_FAILS(-EAGAIN, store_remove(s, "c"));
	CHECK_FAILS(-ENOENT, store_remove(s, "c"));
	f = (struct store_fault){ .fail_of[STORE_PUT] = 1 };
	CHECK_FAILS(-EIO, store_put(s, "c", "c", 1));
	CHECK_FAILS(-ENOENT, store_stat(inner, "c", &size));

	/* Lies. */
	f = (struct store_fault){ .bend = STORE_FLIP,
				  .bend_key = "a/1",
				  .bend_at = 8 * 2 + 5 };
	CHECK_OK(store_read(s, "a/1", out, 5, 0));
	CHECK_MEM(out, "fiRst", 5);
	CHECK_OK(store_read(s, "a/1", out, 2, 1));
	CHECK_MEM(out, "iR", 2);
	CHECK_U64(f.fired, 2);
	CHECK_OK(store_read(s, "a/1", out, 2, 3));
	CHECK_MEM(out, "st", 2);
	CHECK_OK(store_read(s, "a/2", out, 6, 0));
	CHECK_MEM(out, "second", 6);
	CHECK_U64(f.fired, 2);
	buf_str(&b, "x");
	CHECK_OK(store_get(s, "a/1", 100, &b));
	CHECK_STR(buf_cstr(&b), "xfiRst");

	f = (struct store_fault){ .bend = STORE_TRUNCATE,
				  .bend_key = "a/1",
				  .bend_at = 3 };
	CHECK_OK(store_read(s, "a/1", out, 3, 0));
	CHECK_SAYS(-EIO, "shorter", store_read(s, "a/1", out, 4, 0));
	CHECK_OK(store_stat(s, "a/1", &size));
	CHECK_U64(size, 3);
	buf_reset(&b);
	CHECK_OK(store_get(s, "a/1", 100, &b));
	CHECK_STR(buf_cstr(&b), "fir");

	f = (struct store_fault){ .bend = STORE_OTHER,
				  .bend_key = "a/1",
				  .bend_other = "a/2" };
	CHECK_OK(store_read(s, "a/1", out, 5, 0));
	CHECK_MEM(out, "secon", 5);
	CHECK_OK(store_stat(s, "a/1", &size));
	CHECK_U64(size, 6);
	buf_reset(&b);
	CHECK_OK(store_get(s, "a/1", 100, &b));
	CHECK_STR(buf_cstr(&b), "second");

	f = (struct store_fault){ .bend = STORE_GONE, .bend_key = "a/1" };
	CHECK_FAILS(-ENOENT, store_read(s, "a/1", out, 5, 0));
	CHECK_FAILS(-ENOENT, store_stat(s, "a/1", &size));
	CHECK_FAILS(-ENOENT, store_get(s, "a/1", 100, &b));
	CHECK_U64(f.fired, 3);

	/* A barrier that failed once fails for ever. */
	f = (struct store_fault){ .fail_of[STORE_BARRIER] = 2,
				  .error = -ENOSPC };
	CHECK_OK(store_barrier(s));
	CHECK_FAILS(-ENOSPC, store_barrier(s));
	CHECK_FAILS(-ENOSPC, store_barrier(s));
	CHECK_U64(f.fired, 1);
	buf_release(&b);
}

/* "first", "" or whatever of the object at key; NULL: not there. */
static const char *left(struct store *s, const char *key)
{
	static char text[64];
	struct buf b = BUF_INIT(60);
	int r = store_get(s, key, 60, &b);

	CHECK(r == 0 || r == -ENOENT);
	snprintf(text, sizeof(text), "%s", buf_cstr(&b));
	buf_release(&b);
	return r == 0 ? text : NULL;
}

static int fate(const char *text, const char *whole)
{
	size_t n = strlen(whole);

	if (!text)
		return 1;
	if (!strcmp(text, whole))
		return 0;
	if (!*text)
		return 2;
	CHECK(strlen(text) == n / 2 && !strncmp(text, whole, n / 2));
	return 3;
}

static void test_volatile_few(void)
{
	DROP(store) struct store *s = make_volatile();
	unsigned seen[4][4] = { 0 };

	CHECK(!s->durable_puts);
	CHECK_OK(store_put(s, "safe", "safe", 4));
	CHECK_OK(store_put(s, "gone", "gone", 4));
	CHECK_U64(store_volatile_pending(s), 2);
	CHECK_OK(store_barrier(s));
	CHECK_U64(store_volatile_pending(s), 0);
	CHECK_U64(store_volatile_choices(s), 1);
	CHECK_OK(store_put(s, "one", "one1", 4));
	CHECK_OK(store_put(s, "two", "two2", 4));
	/* Neither adds anything. */
	CHECK_OK(store_put(s, "one", "one1", 4));
	CHECK_FAILS(-EEXIST, store_put(s, "safe", "x", 1));
	CHECK_U64(store_volatile_pending(s), 2);
	CHECK_U64(store_volatile_choices(s), 16);
	for (uint64_t c = 0; c < 16; c++) {
		DROP(store) struct store *found = NULL;
		DROP(mem) char *text = store_volatile_describe(s, c);
		int a, b;

		CHECK_OK(store_volatile_crash(s, c, &found));
		CHECK_STR(left(found, "safe"), "safe");
		CHECK_STR(left(found, "gone"), "gone");
		a = fate(left(found, "one"), "one1");
		b = fate(left(found, "two"), "two2");
		seen[a][b]++;
		CHECK(!strcmp(text, "nothing lost") == (!a && !b));
	}
	for (int i = 0; i < 16; i++)
		CHECK_U64(seen[i / 4][i % 4], 1);

	/* The one that runs on sees all of it. */
	CHECK_STR(left(s, "one"), "one1");
	/* A removal may be lost as well. */
	CHECK_OK(store_barrier(s));
	CHECK_OK(store_remove(s, "gone"));
	memset(seen, 0, sizeof(seen));
	for (uint64_t c = 0; c < store_volatile_choices(s); c++) {
		DROP(store) struct store *found = NULL;

		CHECK_OK(store_volatile_crash(s, c, &found));
		seen[0][fate(left(found, "gone"), "gone")]++;
		CHECK_STR(left(found, "one"), "one1");
	}
	CHECK_U64(seen[0][0], 3);
	CHECK_U64(seen[0][1], 1);
	/* Removed and put again with other bytes. */
	CHECK_OK(store_put(s, "gone", "new.", 4));
	memset(seen, 0, sizeof(seen));
	for (uint64_t c = 0; c < store_volatile_choices(s); c++) {
		DROP(store) struct store *found = NULL;
		const char *text;

		CHECK_OK(store_volatile_crash(s, c, &found));
		text = left(found, "gone");
		CHECK(text);
		seen[1][strcmp(text, "gone") ? fate(text, "new.") : 1]++;
	}
	for (int i = 0; i < 4; i++)
		CHECK_U64(seen[1][i], 1);
}

static void test_volatile_many(void)
{
	DROP(store) struct store *s = make_volatile();
	unsigned seen[20][4] = { 0 };
	bool all_kept = false, all_lost = false;
	char key[16];

	CHECK_OK(store_put(s, "safe", "safe", 4));
	CHECK_OK(store_barrier(s));
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		CHECK_OK(store_put(s, key, "0123", 4));
		CHECK_U64(store_volatile_choices(s), i < 6    ? 4ull << 2 * i
						     : i < 12 ? 2ull << i
							      : 4096);
	}
	for (uint64_t c = 0; c < store_volatile_choices(s); c++) {
		DROP(store) struct store *found = NULL, *again = NULL;
		int kept = 0;

		CHECK_OK(store_volatile_crash(s, c, &found));
		CHECK_OK(store_volatile_crash(s, c, &again));
		CHECK_STR(left(found, "safe"), "safe");
		for (int i = 0; i < 20; i++) {
			int f;

			snprintf(key, sizeof(key), "k%02d", i);
			f = fate(left(found, key), "0123");
			CHECK(f == fate(left(again, key), "0123"));
			seen[i][f]++;
			kept += f == 0;
		}
		all_kept |= kept == 20;
		all_lost |= kept == 0;
	}
	CHECK(all_kept && all_lost);
	for (int i = 0; i < 20; i++)
		for (int f = 0; f < 4; f++)
			CHECK(seen[i][f] > 100);
}

/* What was put whole is there whole, or not at all. */
static void test_volatile_whole(void)
{
	for (int n = 1; n < 20; n += 6) {
		DROP(store) struct store *s = make_volatile();
		bool seen[2] = { false, false };
		char key[16];

		for (int i = 1; i < n; i++) {
			snprintf(key, sizeof(key), "k%02d", i);
			CHECK_OK(store_put(s, key, "0123", 4));
		}
		/* Also when it was put in the other manner before. */
		if (n > 1)
			CHECK_OK(store_put(s, "whole", "4567", 4));
		CHECK_OK(store_put_whole(s, "whole", "4567", 4));
		for (uint64_t c = 0; c < store_volatile_choices(s); c++) {
			DROP(store) struct store *found = NULL;
			int f;

			CHECK_OK(store_volatile_crash(s, c, &found));
			f = fate(left(found, "whole"), "4567");
			CHECK(f < 2);
			seen[f] = true;
		}
		CHECK(seen[0] && seen[1]);
	}
}

static void test_memory_tools(void)
{
	DROP(store) struct store *s = make_memory();
	DROP(store) struct store *copy = NULL;

	seed(s);
	CHECK_U64(store_memory_count(s), 2);
	CHECK_U64(store_memory_bytes(s), 11);
	CHECK_OK(store_memory_copy(s, &copy));
	CHECK_OK(store_memory_set(s, "a/1", "bent", 4));
	CHECK_OK(store_memory_set(s, "a/0", NULL, 0));
	CHECK_STR(left(s, "a/1"), "bent");
	CHECK_STR(left(s, "a/0"), "");
	CHECK_STR(left(copy, "a/1"), "first");
	CHECK(!left(copy, "a/0"));
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	char made[PATH_MAX];

	snprintf(made, sizeof(made), "%s/store.XXXXXX",
		 tmp && *tmp ? tmp : "/tmp");
	CHECK(mkdtemp(made));
	CHECK(realpath(made, work));

	test_urls();
	test_missing_options();
	test_memory_tools();
	test_fault_counts();
	test_fault_ways();
	test_volatile_few();
	test_volatile_many();
	test_volatile_whole();
	store_contract(make_memory);
	store_contract(make_fault);
	store_contract(make_volatile);
	store_contract(make_dir);
	if (!tmp)
		execlp("rm", "rm", "-rf", work, NULL);
	return 0;
}
