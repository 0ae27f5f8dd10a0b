// SPDX-License-Identifier: GPL-3.0-or-later
/* source: the wrappers, file, slice, and the fakes that others rely on. */
#include "backend/source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/fakes/source_fault.h"
#include "tests/fakes/source_memory.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* --- wrappers --- */

/* Gives what it is told to give, and records what it was asked. */
struct liar {
	struct source base;
	struct extent say;
	int result;
	uint64_t off, len;
	unsigned calls, closes;
};

static int liar_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct liar *l = container_of(s, struct liar, base);

	l->calls++;
	l->off = off;
	l->len = len;
	return l->result;
}

static int liar_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	struct liar *l = container_of(s, struct liar, base);

	l->calls++;
	l->off = off;
	l->len = max;
	*out = l->say;
	return l->result;
}

static void liar_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct liar *l = container_of(s, struct liar, base);

	l->calls++;
	l->off = off;
	l->len = len;
}

static void liar_close(struct source *s)
{
	container_of(s, struct liar, base)->closes++;
}

static const struct source_ops liar_ops = {
	.name = "liar",
	.read = liar_read,
	.extent = liar_extent,
	.prefetch = liar_prefetch,
	.close = liar_close,
};

static void test_wrappers(void)
{
	struct liar l = { 0 };
	struct source *s = &l.base;
	struct extent e = { .length = 77 };
	uint8_t b[8];

	source_close(NULL);
	source_init(s, &liar_ops, 1000);
	CHECK(source_size(s) == 1000);

	CHECK_SAYS(-EINVAL, "pass the end", source_read(s, b, 1, 1000));
	CHECK_FAILS(-EINVAL, source_read(s, b, 2, 999));
	CHECK_FAILS(-EINVAL, source_read(s, b, 8, UINT64_MAX));
	CHECK_FAILS(-EINVAL, source_read(s, b, 8, UINT64_MAX - 3));
	CHECK_FAILS(-EINVAL, source_read(s, b, SIZE_MAX, 1));
	CHECK_FAILS(-EINVAL, source_read(s, b, 0, 1001));
	CHECK_OK(source_read(s, NULL, 0, 0));
	CHECK_OK(source_read(s, NULL, 0, 1000));
	CHECK(l.calls == 0);
	CHECK_OK(source_read(s, b, 8, 992));
	CHECK(l.calls == 1 && l.off == 992 && l.len == 8);
	l.result = -ESTALE;
	CHECK_FAILS(-ESTALE, source_read(s, b, 8, 992));

	l = (struct liar){ .base = l.base };
	CHECK_FAILS(-EINVAL, source_extent(s, 1000, 1, &e));
	CHECK_FAILS(-EINVAL, source_extent(s, UINT64_MAX, 1, &e));
	CHECK_FAILS(-EINVAL, source_extent(s, 0, 0, &e));
	CHECK(l.calls == 0 && e.length == 77);
	l.result = -EIO;
	l.say = (struct extent){ .length = 5, .hole = true };
	CHECK(source_extent(s, 0, 1, &e) == -EIO && e.length == 77);
	l.result = 0;
	CHECK_OK(source_extent(s, 10, 100, &e));
	CHECK(l.off == 10 && l.len == 100 && e.length == 5 && e.hole);
	CHECK_OK(source_extent(s, 10, UINT64_MAX, &e));
	CHECK(l.off == 10 && l.len == 990);
	/* Too long is cut; nothing at all is data. */
	l.say.length = UINT64_MAX;
	CHECK(source_extent(s, 999, 7, &e) == 0 && e.length == 1 && e.hole);
	CHECK(source_extent(s, 0, 7, &e) == 0 && e.length == 7 && e.hole);
	l.say.length = 0;
	CHECK(source_extent(s, 3, 7, &e) == 0 && e.length == 7 && !e.hole);

	l.calls = 0;
	source_prefetch(s, 1000, 1);
	source_prefetch(s, UINT64_MAX, UINT64_MAX);
	source_prefetch(s, 5, 0);
	CHECK(l.calls == 0);
	source_prefetch(s, 5, UINT64_MAX);
	CHECK(l.calls == 1 && l.off == 5 && l.len == 995);
	source_close(s);
	CHECK(l.closes == 1);
}

static void test_defaults(void)
{
	DROP(source) struct source *s = NULL, *empty = NULL;
	struct extent e;

	CHECK_OK(source_open_memory("0123456789", 10, NULL, 0, &s));
	CHECK_OK(source_extent(s, 0, UINT64_MAX, &e));
	CHECK(e.length == 10 && !e.hole);
	CHECK(source_extent(s, 9, 5, &e) == 0 && e.length == 1);
	source_prefetch(s, 0, 10);

	CHECK_OK(source_open_memory(NULL, 0, NULL, 0, &empty));
	CHECK_OK(source_read(empty, NULL, 0, 0));
	CHECK_FAILS(-EINVAL, source_extent(empty, 0, 1, &e));
}

/* --- file --- */

static char scratch[32];

/* An empty file of the test's; scratch is its path. */
static int scratch_file(void)
{
	int fd;

	snprintf(scratch, sizeof(scratch), "test_source.XXXXXX");
	fd = mkstemp(scratch);
	CHECK(fd >= 0);
	return fd;
}

static void write_at(int fd, const void *p, size_t n, uint64_t off)
{
	CHECK(pwrite(fd, p, n, (off_t)off) == (ssize_t)n);
}

/* Extents cover all of it, holes are zeros; returns the bytes of holes. */
static uint64_t check_extents(struct source *s, uint64_t max)
{
	uint64_t size = source_size(s), holes = 0;
	uint8_t *buf = malloc(size);

	CHECK(buf && source_read(s, buf, size, 0) == 0);
	for (uint64_t off = 0; off < size;) {
		struct extent e;

		CHECK_OK(source_extent(s, off, max, &e));
		CHECK(e.length >= 1 && e.length <= max &&
		      e.length <= size - off);
		if (e.hole) {
			holes += e.length;
			CHECK(all_zero(buf + off, e.length));
		}
		off += e.length;
	}
	free(buf);
	return holes;
}

static void test_file_content(void)
{
	static uint8_t data[300000], got[300000];
	DROP(fd) int fd = scratch_file();
	DROP(source) struct source *s = NULL;
	uint64_t rng = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)next_random(&rng);
	write_at(fd, data, sizeof(data), 0);
	CHECK_OK(source_open_file(scratch, &s));
	unlink(scratch);
	CHECK(source_size(s) == sizeof(data));
	CHECK_OK(source_read(s, got, sizeof(got), 0));
	CHECK(!memcmp(got, data, sizeof(data)));
	for (int i = 0; i < 1000; i++) {
		uint64_t off = next_random(&rng) % sizeof(data);
		size_t len = next_random(&rng) % (sizeof(data) - off + 1);

		CHECK_OK(source_read(s, got, len, off));
		CHECK(!memcmp(got, data + off, len));
	}
	source_prefetch(s, 0, UINT64_MAX);
	CHECK(check_extents(s, 4096) == 0);

	/* It grew: what was there at opening is still what it is. */
	CHECK(ftruncate(fd, 2 * sizeof(data)) == 0);
	CHECK(source_size(s) == sizeof(data));
	CHECK_FAILS(-EINVAL, source_read(s, got, 1, sizeof(data)));
	CHECK(check_extents(s, UINT64_MAX) == 0);
}

static void test_file_holes(void)
{
	enum { MIB = 1 << 20 };
	static uint8_t data[MIB];
	DROP(fd) int fd = scratch_file();
	DROP(source) struct source *s = NULL;
	struct extent e;
	uint64_t holes;
	bool known;

	memset(data, 'x', sizeof(data));
	CHECK(ftruncate(fd, 8 * MIB) == 0);
	write_at(fd, data, MIB, 2 * MIB);
	write_at(fd, data, MIB, 4 * MIB);
	CHECK_OK(source_open_file(scratch, &s));
	unlink(scratch);
	known = lseek(fd, 0, SEEK_DATA) == 2 * MIB;
	holes = check_extents(s, UINT64_MAX);
	CHECK(check_extents(s, 5000) == holes);
	if (!known) {
		printf("no SEEK_HOLE here\n");
		return;
	}
	CHECK(holes == 6 * MIB);
	CHECK_OK(source_extent(s, 0, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 2 * MIB);
	CHECK_OK(source_extent(s, 2 * MIB + 5, UINT64_MAX, &e));
	CHECK(!e.hole && e.length == MIB - 5);
	CHECK_OK(source_extent(s, 8 * MIB - 1, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 1);
	/* The hole at the end is none where the file was cut. */
	CHECK(ftruncate(fd, 6 * MIB) == 0);
	CHECK_FAILS(-EIO, source_extent(s, 5 * MIB, UINT64_MAX, &e));
	CHECK_SAYS(-EIO,
		   "shrank while it was read (8388608 bytes at opening, "
		   "6291456 now)",
		   source_extent(s, 7 * MIB, UINT64_MAX, &e));
}

static void test_file_shrinks(void)
{
	static uint8_t data[10000], got[10000];
	DROP(fd) int fd = scratch_file();
	DROP(source) struct source *s = NULL;
	char text[400];

	write_at(fd, data, sizeof(data), 0);
	CHECK_OK(source_open_file(scratch, &s));
	snprintf(text, sizeof(text),
		 "%s: it shrank while it was read (10000 bytes at opening, "
		 "5000 now)",
		 scratch);
	unlink(scratch);
	CHECK(ftruncate(fd, 5000) == 0);
	CHECK_OK(source_read(s, got, 5000, 0));
	CHECK_FAILS(-EIO, source_read(s, got, 5001, 0));
	CHECK_STR(err_text(-EIO), text);
	CHECK_FAILS(-EIO, source_read(s, got, 1, 9999));
	CHECK_SAYS(-ESTALE, "5000 now", source_file_unchanged(s));
}

static void test_file_unchanged(void)
{
	DROP(fd) int fd = scratch_file();
	DROP(source) struct source *s = NULL, *again = NULL;
	const struct timespec old[2] = { { 1000000000, 1 }, { 1000000000, 1 } };

	write_at(fd, "abc", 3, 0);
	CHECK(futimens(fd, old) == 0);
	CHECK_OK(source_open_file(scratch, &s));
	CHECK_OK(source_file_unchanged(s));
	write_at(fd, "abd", 3, 0);
	CHECK_SAYS(-ESTALE, "written to while it was read",
		   source_file_unchanged(s));

	/* Also where somebody puts the time back: ctime tells. The clock of
	 * files has ticks. */
	CHECK(futimens(fd, old) == 0);
	CHECK_OK(source_open_file(scratch, &again));
	unlink(scratch);
	usleep(50000);
	write_at(fd, "abe", 3, 0);
	CHECK(futimens(fd, old) == 0);
	CHECK_FAILS(-ESTALE, source_file_unchanged(again));
}

static void test_file_kinds(void)
{
	struct source *s = NULL;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[40]; /* a socket's is short */
	DROP(fd) int fd = -1;

	snprintf(path, sizeof(path), "test_source.%d", (int)getpid());
	CHECK_SAYS(-ENOENT, path, source_open_file(path, &s));
	CHECK_SAYS(-EISDIR, "directory", source_open_file("/", &s));
	CHECK_SAYS(-EINVAL, "a character device",
		   source_open_file("/dev/null", &s));

	CHECK(mkfifo(path, 0600) == 0);
	CHECK_SAYS(-EINVAL, "a pipe", source_open_file(path, &s));
	unlink(path);

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	CHECK_SAYS(-EINVAL, "a socket", source_open_file(path, &s));
	unlink(path);
	CHECK(!s);
}

struct reader {
	struct source *s;
	const struct pattern *p;
	uint64_t seed;
};

static void *read_thread(void *arg)
{
	struct reader *r = arg;
	uint64_t rng = r->seed, size = source_size(r->s);
	static _Thread_local uint8_t got[20000], want[20000];

	for (int i = 0; i < 2000; i++) {
		uint64_t off = next_random(&rng) % size;
		size_t len =
			min_u64(next_random(&rng) % sizeof(got), size - off);
		struct extent e;

		CHECK_OK(source_read(r->s, got, len, off));
		pattern_bytes(r->p, want, len, off);
		CHECK(!memcmp(got, want, len));
		CHECK_OK(source_extent(r->s, off, UINT64_MAX, &e));
		CHECK(!e.hole || pattern_is_zero(r->p, off));
	}
	return NULL;
}

static void test_file_threads(void)
{
	enum { RUN = 65536, RUNS = 32, THREADS = 4 };
	static uint8_t buf[RUN];
	const struct pattern p = { .seed = 7, .run = RUN, .zero_of_256 = 128 };
	DROP(fd) int fd = scratch_file();
	DROP(source) struct source *s = NULL;
	struct reader r[THREADS];
	pthread_t t[THREADS];

	CHECK(ftruncate(fd, RUNS * RUN) == 0);
	for (int i = 0; i < RUNS; i++) {
		pattern_bytes(&p, buf, RUN, (uint64_t)i * RUN);
		if (!pattern_is_zero(&p, (uint64_t)i * RUN))
			write_at(fd, buf, RUN, (uint64_t)i * RUN);
	}
	CHECK_OK(source_open_file(scratch, &s));
	unlink(scratch);
	for (unsigned i = 0; i < THREADS; i++) {
		r[i] = (struct reader){ s, &p, i };
		CHECK(!pthread_create(&t[i], NULL, read_thread, &r[i]));
	}
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(!pthread_join(t[i], NULL));
}

/* --- slice --- */

static void test_slice(void)
{
	const struct memory_hole holes[] = { { 2, 2 }, { 6, 2 } };
	struct source_fault f = { 0 };
	DROP(source) struct source *s = NULL;
	struct source *inner;
	struct extent e;
	char got[8] = "";

	CHECK_OK(source_open_memory("0123456789", 10, holes, 2, &inner));
	CHECK_OK(source_open_fault(inner, &f, &inner));
	CHECK_OK(source_open_slice(inner, 3, 4, &s));
	CHECK(source_size(s) == 4);
	CHECK_OK(source_read(s, got, 4, 0));
	CHECK(!memcmp(got,
		      "\0"
		      "45\0",
		      4));
	CHECK_FAILS(-EINVAL, source_read(s, got, 1, 4));
	CHECK_FAILS(-EINVAL, source_read(s, got, 2, 3));
	CHECK_OK(source_extent(s, 0, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 1);
	CHECK_OK(source_extent(s, 1, UINT64_MAX, &e));
	CHECK(!e.hole && e.length == 2);
	CHECK_OK(source_extent(s, 3, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 1);
	source_prefetch(s, 0, 100);
	CHECK(f.prefetches == 1);
	f.fail_read = f.reads + 1;
	CHECK(source_read(s, got, 4, 0) == -EIO && f.fired == 1);
	CHECK_OK(source_read(s, got, 4, 0));
	source_close(take(s));
	CHECK(f.closes == 1);

	/* Nothing, at the end; and owned on failure too. */
	for (int i = 0; i < 5; i++) {
		const uint64_t off[] = { 10, 11, 10, 1, UINT64_MAX };
		const uint64_t len[] = { 0, 0, 1, UINT64_MAX, 2 };

		f = (struct source_fault){ 0 };
		CHECK_OK(source_open_memory("0123456789", 10, NULL, 0, &inner));
		CHECK_OK(source_open_fault(inner, &f, &inner));
		CHECK(source_open_slice(inner, off[i], len[i], &s) ==
		      (i == 0 ? 0 : -EINVAL));
		CHECK(f.closes == (i == 0 ? 0 : 1));
		CHECK(!s == (i != 0));
		source_close(take(s));
		CHECK(f.closes == 1);
	}
}

/* --- the fakes --- */

static void test_memory(void)
{
	const struct memory_hole holes[] = { { 0, 3 }, { 3, 1 }, { 9, 1 } };
	DROP(source) struct source *s = NULL;
	char got[10];

	CHECK_OK(source_open_memory("0123456789", 10, holes, 3, &s));
	CHECK_OK(source_read(s, got, 10, 0));
	CHECK(!memcmp(got,
		      "\0\0\0\0"
		      "45678\0",
		      10));
	CHECK(check_extents(s, 100) == 5);
	CHECK(check_extents(s, 1) == 5);
}

/* A scenario of five reads, each of them failing once. */
static void test_fault(void)
{
	for (uint64_t n = 1;; n++) {
		struct source_fault f = { .fail_read = n, .error = -EAGAIN };
		DROP(source) struct source *s = NULL;
		uint64_t done = 0;
		char c;

		CHECK_OK(source_open_memory("01234", 5, NULL, 0, &s));
		CHECK_OK(source_open_fault(take(s), &f, &s));
		while (done < 5 && source_read(s, &c, 1, done) == 0)
			done++;
		if (f.fired == 0) {
			CHECK(n == 6 && done == 5 && f.reads == 5 &&
			      f.bytes == 5);
			break;
		}
		CHECK(done == n - 1 && f.fired == 1 && f.reads == n);
		CHECK(strstr(err_text(-EAGAIN), "injected: read"));
	}

	struct source_fault f = { .shrunk_to = 3, .fail_extent = 2 };
	DROP(source) struct source *s = NULL;
	struct extent e;
	char got[5];

	CHECK_OK(source_open_memory("01234", 5, NULL, 0, &s));
	CHECK_OK(source_open_fault(take(s), &f, &s));
	CHECK_OK(source_read(s, got, 3, 0));
	CHECK_SAYS(-EIO, "(5 bytes at opening, 3 now)",
		   source_read(s, got, 4, 0));
	CHECK_OK(source_extent(s, 0, 1, &e));
	CHECK(source_extent(s, 0, 1, &e) == -EIO && f.fired == 2);
}

static void test_pattern(void)
{
	enum { SIZE = 100003 };
	static uint8_t all[SIZE], got[SIZE];
	const struct pattern variants[] = {
		{ .seed = 1 },
		{ .seed = 2, .run = 512, .zero_of_256 = 64, .holes = true },
		{ .seed = 2, .run = 512, .zero_of_256 = 64 },
		{ .seed = 3, .run = 4096, .zero_of_256 = 256, .holes = true },
	};
	const struct pattern huge = { .seed = 5, .run = 1 << 20 };
	DROP(source) struct source *s = NULL;
	struct extent e;
	uint64_t rng = 9;

	for (size_t v = 0; v < ARRAY_SIZE(variants); v++) {
		const struct pattern *p = &variants[v];
		DROP(source) struct source *t = NULL;
		uint64_t holes, zeros = 0;

		CHECK_OK(source_open_pattern(p, SIZE, &t));
		CHECK_OK(source_read(t, all, SIZE, 0));
		for (int i = 0; i < 2000; i++) {
			uint64_t off = next_random(&rng) % SIZE;
			size_t len = next_random(&rng) % 2000;

			len = min_u64(len, SIZE - off);
			CHECK_OK(source_read(t, got, len, off));
			CHECK(!memcmp(got, all + off, len));
		}
		for (uint64_t i = 0; i < SIZE; i++) {
			zeros += pattern_is_zero(p, i);
			if (pattern_is_zero(p, i))
				CHECK(all[i] == 0);
		}
		holes = check_extents(t, UINT64_MAX);
		CHECK(holes == (p->holes ? zeros : 0));
		CHECK(check_extents(t, 333) == holes);
		CHECK(v != 1 || (zeros > SIZE / 8 && zeros < SIZE / 2));
		CHECK(v != 3 || zeros == SIZE);
	}
	/* 8 EiB cost nothing. */
	CHECK_OK(source_open_pattern(&huge, INT64_MAX, &s));
	CHECK_OK(source_read(s, got, 100, INT64_MAX - 100));
	CHECK(!all_zero(got, 100));
	CHECK(source_extent(s, 0, UINT64_MAX, &e) == 0 && !e.hole);
}

int main(void)
{
	const char *dir = getenv("TMPDIR");

	CHECK(chdir(dir ? dir : "/tmp") == 0);
	alarm(240); /* a fifo that blocks */
	test_wrappers();
	test_defaults();
	test_file_content();
	test_file_holes();
	test_file_shrinks();
	test_file_unchanged();
	test_file_kinds();
	test_file_threads();
	test_slice();
	test_memory();
	test_fault();
	test_pattern();
	return 0;
}
