// SPDX-License-Identifier: GPL-3.0-or-later
/* stash: the cache on disk. What it has is right or not there, whatever happened. */
#include "backend/source/stash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/hash.h"
#include "backend/source/cache.h"
#include "tests/unit/check.h"

#define MIB (UINT64_C(1) << 20)
#define FRAME (64u << 10)

struct key {
	uint8_t b[STASH_KEY_SIZE];
};

static struct key key_of(uint64_t n)
{
	struct key k;

	cache_key("test", &n, sizeof(n), k.b);
	return k;
}

/* What entry n holds, and how much. */
static size_t content(uint64_t n, uint8_t *out)
{
	size_t len = n % 3 ? FRAME : 1 + n * 7919 % FRAME;
	uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			x = x * UINT64_C(6364136223846793005) + 1;
		out[i] = (uint8_t)(x >> (8 + i % 8 * 7));
	}
	return len;
}

static void put(struct stash *s, uint64_t n)
{
	uint8_t data[FRAME];

	stash_put(s, key_of(n).b, data, content(n, data));
}

/* Found or not, but never another's. */
static bool has(struct stash *s, uint64_t n)
{
	uint8_t want[FRAME], got[FRAME];
	size_t len = content(n, want);

	if (!stash_get(s, key_of(n).b, got, len))
		return false;
	CHECK_MEM(got, want, len);
	return true;
}

static struct stash_stats stats(struct stash *s)
{
	struct stash_stats st;

	stash_stats(s, &st);
	return st;
}

static void test_basics(void)
{
	struct stash *s;
	struct stat st;
	uint8_t buf[FRAME];

	CHECK_OK(stash_open("basics/deep", 64 * MIB, &s));
	CHECK(!has(s, 1));
	for (uint64_t i = 0; i < 100; i++)
		put(s, i);
	for (uint64_t i = 0; i < 100; i++)
		CHECK(has(s, i));
	CHECK(!stash_get(s, key_of(1).b, buf, 17));
	CHECK_U64(stats(s).damaged, 0);
	stash_close(s);
	CHECK(!stat("basics/deep/stash", &st) && (st.st_mode & 0777) == 0600);
	CHECK(!stat("basics/deep", &st) && (st.st_mode & 0777) == 0700);
	/* It is still there after it was closed. */
	CHECK_OK(stash_open("basics/deep", 64 * MIB, &s));
	for (uint64_t i = 0; i < 100; i++)
		CHECK(has(s, i));
	stash_close(s);
}

/* It stays within its bound, and the newest stay. */
static void test_bound(void)
{
	static const uint64_t sizes[] = { 0, 8 * MIB, 20 * MIB };

	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct stash *s;
		struct stat st;
		unsigned found = 0;

		CHECK_OK(stash_open("bound", sizes[k], &s));
		for (uint64_t i = 0; i < 1000; i++)
			put(s, i);
		CHECK(!stat("bound/stash", &st));
		CHECK((uint64_t)st.st_size <=
		      (sizes[k] ? sizes[k] : STASH_HEADER + STASH_SET));
		for (uint64_t i = 0; i < 1000; i++)
			found += has(s, i);
		/* Three quarters of what would fit, if all were large. */
		CHECK(found >= sizes[k] / MIB * 12);
		CHECK(has(s, 999));
		stash_close(s);
	}
	/* Made smaller, for one who has it open too. */
	{
		struct stash *a, *b;
		struct stat st;

		CHECK_OK(stash_open("bound", 20 * MIB, &a));
		CHECK_OK(stash_open("bound", 4 * MIB, &b));
		for (uint64_t i = 0; i < 300; i++)
			put(i % 2 ? a : b, i);
		CHECK(!stat("bound/stash", &st));
		CHECK((uint64_t)st.st_size <= 4 * MIB);
		CHECK(has(a, 299) && has(b, 299));
		stash_close(a);
		stash_close(b);
	}
}

/* All of the header and of the first entries (which end the index with 118 that are
 * empty), by default one in three; some of the rest. */
static off_t next_byte(off_t at)
{
	const off_t entries = STASH_HEADER + STASH_INDEX - 126 * 64;

	if (at < 40 || (at >= STASH_HEADER && at < STASH_HEADER + 8) ||
	    (at >= entries && at < entries + 8 * 64))
		return at + (check_all() ? 1 : 3);
	if (at < STASH_HEADER)
		return STASH_HEADER;
	if (at < entries)
		return entries;
	return at + 4999;
}

/* Each byte of the index, and many of the rest, damaged in turn. */
static void test_damage(void)
{
	struct stash *s;
	struct stat st;
	unsigned lost = 0;
	int fd;

	CHECK_OK(stash_open("damage", 4 * MIB, &s));
	for (uint64_t i = 0; i < 8; i++)
		put(s, i);
	fd = open("damage/stash", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && !fstat(fd, &st));
	for (off_t at = 0; at < st.st_size; at = next_byte(at)) {
		uint8_t was, bad;
		unsigned found = 0;

		CHECK(pread(fd, &was, 1, at) == 1);
		bad = was ^ 0x40;
		CHECK(pwrite(fd, &bad, 1, at) == 1);
		for (uint64_t i = 0; i < 8; i++)
			found += has(s, i);
		lost += found < 8;
		CHECK(found >= 7 || at < STASH_HEADER);
		CHECK(pwrite(fd, &was, 1, at) == 1);
	}
	CHECK(lost > 100 && stats(s).damaged > 100);
	/* A damaged entry is mended by the next put. */
	for (off_t at = STASH_HEADER + STASH_INDEX; at < st.st_size; at += 64)
		CHECK(pwrite(fd, "damage", 6, at) == 6);
	for (uint64_t i = 0; i < 8; i++)
		CHECK(!has(s, i));
	for (uint64_t i = 0; i < 8; i++)
		put(s, i);
	for (uint64_t i = 0; i < 8; i++)
		CHECK(has(s, i));
	/* Cut off, emptied, garbage: all is lost, and nothing breaks. */
	CHECK(!ftruncate(fd, STASH_HEADER + 100));
	for (uint64_t i = 0; i < 8; i++)
		CHECK(!has(s, i));
	put(s, 1);
	CHECK(has(s, 1));
	CHECK(!ftruncate(fd, 0));
	put(s, 1);
	CHECK(!has(s, 1));
	stash_close(s);
	CHECK_OK(stash_open("damage", 4 * MIB, &s));
	put(s, 1);
	CHECK(has(s, 1));
	close(fd);
	stash_close(s);
}

/* --- several at once --- */

static void churn(struct stash *s, uint64_t seed, unsigned turns)
{
	for (unsigned i = 0; i < turns; i++) {
		uint64_t n;

		seed = seed * UINT64_C(6364136223846793005) +
		       1442695040888963407u;
		n = (seed >> 33) % 300;
		if (!has(s, n))
			put(s, n);
	}
}

static void *churn_thread(void *arg)
{
	churn(arg, (uint64_t)(uintptr_t)&arg, 300);
	return NULL;
}

static void test_threads(void)
{
	pthread_t t[4];
	struct stash *s;

	CHECK_OK(stash_open("threads", 8 * MIB, &s));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, churn_thread, s));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	CHECK(stats(s).hits > 100);
	stash_close(s);
}

static pid_t child(uint64_t seed, unsigned turns)
{
	pid_t pid = fork();
	struct stash *s;

	CHECK(pid >= 0);
	if (pid)
		return pid;
	CHECK_OK(stash_open("many", 6 * MIB, &s));
	churn(s, seed, turns);
	stash_close(s);
	_exit(0);
}

/* Several processes, some killed in the middle of things. */
static void test_processes(void)
{
	struct stash *s;
	pid_t steady[2];
	int status;

	for (uint64_t i = 0; i < 2; i++)
		steady[i] = child(i + 1, 600);
	for (unsigned i = 0; i < 8; i++) {
		pid_t pid = child(i + 10, 1000000);
		struct timespec t = { 0, (5 + i * 7) * 1000000L };

		nanosleep(&t, NULL);
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	}
	for (uint64_t i = 0; i < 2; i++)
		CHECK(waitpid(steady[i], &status, 0) == steady[i] &&
		      WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_OK(stash_open("many", 6 * MIB, &s));
	churn(s, 5, 500);
	CHECK(stats(s).hits > 50);
	stash_close(s);
}

/* --- where it cannot be written --- */

/* A file that may not grow stands for a full disk: no root is needed. */
static void test_full(void)
{
	struct rlimit was, small;
	struct stash *s;
	struct stash_stats st;

	CHECK_OK(stash_open("full", 64 * MIB, &s));
	for (uint64_t i = 0; i < 4; i++)
		put(s, i);
	CHECK(!getrlimit(RLIMIT_FSIZE, &was));
	small = was;
	small.rlim_cur = 4096;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(!setrlimit(RLIMIT_FSIZE, &small));
	for (uint64_t i = 4; i < 50; i++)
		put(s, i);
	for (uint64_t i = 0; i < 4; i++)
		CHECK(has(s, i));
	for (uint64_t i = 4; i < 50; i++)
		CHECK(!has(s, i));
	st = stats(s);
	CHECK_U64(st.failed_puts, 46);
	CHECK_U64(st.damaged, 0);
	CHECK(!setrlimit(RLIMIT_FSIZE, &was));
	stash_close(s);
	CHECK_OK(stash_open("full", 64 * MIB, &s));
	put(s, 50);
	CHECK(has(s, 50));
	stash_close(s);
	/* No folder: told, not worked around. */
	CHECK(!mkdir("nothing", 0700) &&
	      !symlink("/dev/null", "nothing/stash"));
	CHECK_SAYS(-ELOOP, "nothing/stash", stash_open("nothing", MIB, &s));
	CHECK_SAYS(-ENOTDIR, "basics",
		   stash_open("basics/deep/stash/x", MIB, &s));
}

int main(void)
{
	test_basics();
	test_bound();
	test_damage();
	test_threads();
	test_processes();
	test_full();
	return 0;
}
