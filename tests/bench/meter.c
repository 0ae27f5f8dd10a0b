// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the benchmark measures with, apart from the programs themselves:
 *
 *	meter hash SIZE			one core of SHA-256, as OpenSSL does it, over
 *					SIZE of memory by 64 KiB; again for each line
 *					of standard input
 *	meter fill FILE SIZE SEED	a file that no compressor shrinks
 *	meter read FILE			from the start to the end by 1 MiB
 *	meter random FILE COUNT SEED	4 KiB at random places, one at a time
 *
 * Each result is one line: bytes per second; for random, the median and the
 * 95th percentile of the latency, in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/scope.h"

#define MIB ((size_t)1 << 20)
#define FRAME ((size_t)64 << 10)
#define PAGE ((size_t)4096)

/* xorshift64 (Marsaglia); never 0. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static uint64_t seed_of(uint64_t seed)
{
	return (seed + 1) * 0x9e3779b97f4a7c15u | 1;
}

static void fill(void *p, size_t n, uint64_t *x)
{
	uint8_t *out = p;

	for (size_t i = 0; i < n; i += sizeof(*x)) {
		next_random(x);
		memcpy(out + i, x, sizeof(*x));
	}
}

static void say_rate(uint64_t bytes, uint64_t ns)
{
	printf("%.0f\n", (double)bytes * 1e9 / (double)max_u64(ns, 1));
	fflush(stdout);
}

/* --- hash --- */

static int hash_once(EVP_MD_CTX *ctx, const EVP_MD *md, const uint8_t *p,
		     size_t n)
{
	uint8_t digest[EVP_MAX_MD_SIZE];

	for (size_t i = 0; i < n; i += FRAME)
		if (!EVP_DigestInit_ex(ctx, md, NULL) ||
		    !EVP_DigestUpdate(ctx, p + i, FRAME) ||
		    !EVP_DigestFinal_ex(ctx, digest, NULL))
			return fail(-EIO, "OpenSSL cannot hash");
	return 0;
}

static int hash(char **args)
{
	EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint64_t size, x = seed_of(0);
	uint8_t *p;
	int c, r = parse_size(args[0], &size);

	if (r)
		return r;
	size = size / MIB * MIB;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!md || !ctx || p == MAP_FAILED)
		return fail(-ENOMEM, "no memory to hash");
	fill(p, size, &x);
	printf("ready\n");
	fflush(stdout);
	while (!r && (c = getchar()) != EOF) {
		uint64_t start = monotonic_ns();

		if (c != '\n')
			continue;
		r = hash_once(ctx, md, p, size);
		say_rate(size, monotonic_ns() - start);
	}
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	munmap(p, size);
	return r;
}

/* --- files --- */

static int make_file(char **args)
{
	DROP(fd) int fd = -1;
	DROP(mem) uint8_t *buf = malloc(MIB);
	uint64_t size, seed, x, start = monotonic_ns();
	int r = parse_size(args[1], &size);

	if (!r)
		r = parse_u64(args[2], &seed);
	if (r)
		return r;
	if (!buf)
		return fail(-ENOMEM, "no memory");
	fd = open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(errno, "%s", args[0]);
	x = seed_of(seed);
	for (uint64_t off = 0; off < size; off += MIB) {
		size_t n = min_u64(MIB, size - off);

		fill(buf, MIB, &x);
		if (pwrite(fd, buf, n, (off_t)off) != (ssize_t)n)
			return fail_errno(errno ? errno : ENOSPC, "%s",
					  args[0]);
	}
	say_rate(size, monotonic_ns() - start);
	return 0;
}

static int read_file(char **args)
{
	DROP(fd) int fd = -1;
	DROP(mem) uint8_t *buf = malloc(MIB);
	uint64_t off = 0, start = monotonic_ns();
	ssize_t n;

	if (!buf)
		return fail(-ENOMEM, "no memory");
	fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(errno, "%s", args[0]);
	while ((n = pread(fd, buf, MIB, (off_t)off)) > 0)
		off += (uint64_t)n;
	if (n < 0)
		return fail_errno(errno, "%s", args[0]);
	say_rate(off, monotonic_ns() - start);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int random_reads(char **args)
{
	DROP(fd) int fd = -1;
	DROP(mem) uint64_t *ns = NULL;
	uint8_t buf[PAGE];
	uint64_t count, seed, x, pages;
	struct stat st;
	int r = parse_u64(args[1], &count);

	if (!r)
		r = parse_u64(args[2], &seed);
	if (r)
		return r;
	ns = calloc(count + 1, sizeof(*ns));
	if (!ns || !count)
		return fail(-ENOMEM, "no memory for %" PRIu64 " reads", count);
	fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return fail_errno(errno, "%s", args[0]);
	pages = (uint64_t)st.st_size / PAGE;
	if (!pages)
		return fail(-EINVAL, "%s: too small", args[0]);
	x = seed_of(seed);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t off = next_random(&x) % pages * PAGE;
		uint64_t start = monotonic_ns();

		if (pread(fd, buf, PAGE, (off_t)off) != (ssize_t)PAGE)
			return fail_errno(errno, "%s", args[0]);
		ns[i] = monotonic_ns() - start;
	}
	qsort(ns, count, sizeof(*ns), by_value);
	printf("%.1f %.1f\n", (double)ns[count / 2] / 1e3,
	       (double)ns[count * 95 / 100] / 1e3);
	return 0;
}

/* --- */

static const struct {
	const char *name;
	int args;
	int (*run)(char **args);
} meters[] = {
	{ "hash", 1, hash },
	{ "fill", 3, make_file },
	{ "read", 1, read_file },
	{ "random", 3, random_reads },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(meters); i++) {
		int r;

		if (strcmp(argv[1], meters[i].name) != 0 ||
		    argc != 2 + meters[i].args)
			continue;
		r = meters[i].run(argv + 2);
		if (r)
			fprintf(stderr, "meter: %s\n", err_text(r));
		return r ? 1 : 0;
	}
	fprintf(stderr,
		"usage: meter hash SIZE | fill FILE SIZE SEED | read FILE | random FILE COUNT SEED\n");
	return 2;
}
