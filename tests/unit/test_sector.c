// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/sector.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backend/base/parse.h"
#include "tests/fakes/encrypt.h"
#include "tests/fakes/source_fault.h"
#include "tests/fakes/source_memory.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

#define SIZE (56u << 10)

static struct secret *secret_of(const void *p, size_t n)
{
	struct secret *s;

	CHECK_OK(secret_new(n, &s));
	memcpy(secret_bytes(s), p, n);
	return s;
}

static void make_key(uint8_t key[static 64], unsigned seed)
{
	for (unsigned i = 0; i < 64; i++)
		key[i] = (uint8_t)(seed * 41 + i * i * 7 + i * 3 + 1);
}

/* --- published vectors --- */

struct vector {
	size_t key_size;
	const char *key;
	uint64_t number;
	const char *text; /* 512 bytes; clear: 00, 01, … ff, 00, … */
};

static const struct vector vectors[] = {
	/* IEEE 1619-2007, annex B, vector 4 */
	{ 32,
	  "27182818284590452353602874713526"
	  "31415926535897932384626433832795",
	  0,
	  "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c"
	  "c78cf7f5e543445f8333d8fa7f56000005279fa5d8b5e4ad40e736ddb4d35412"
	  "328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c92cc512c8866c7e860ce"
	  "93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad0265"
	  "5ea92dc4c4e41a8952c651d33174be51a10c421110e6d81588ede82103a252d8"
	  "a750e8768defffed9122810aaeb99f9172af82b604dc4b8e51bcb08235a6f434"
	  "1332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c"
	  "5ccf2a55d705ddcd86d449511ceb7ec30bf12b1fa35b913f9f747a8afd1b130e"
	  "94bff94effd01a91735ca1726acd0b197c4e5b03393697e126826fb6bbde8ecc"
	  "1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef5297ca67e9f3"
	  "e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc2f801e23e56fd344"
	  "b07f22154beba0f08ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd"
	  "74d20cc39881c213ee770b1010e4bea718846977ae119f7a023ab58cca0ad752"
	  "afe656bb3c17256a9f6e9bf19fdd5a38fc82bbe872c5539edb609ef4f79c203e"
	  "bb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18d"
	  "eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568" },
	/* and vector 10 */
	{ 64,
	  "2718281828459045235360287471352662497757247093699959574966967627"
	  "3141592653589793238462643383279502884197169399375105820974944592",
	  0xff,
	  "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
	  "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd"
	  "5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a741b0"
	  "c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca"
	  "2a3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0"
	  "b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f"
	  "93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec"
	  "583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a"
	  "84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1"
	  "505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae"
	  "9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29"
	  "a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac"
	  "6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f"
	  "645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed5376441a77ed4385"
	  "1ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa"
	  "773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151" },
};

static void test_vector(const struct vector *v)
{
	const struct sector_format f = { .mode = SECTOR_XTS_PLAIN64,
					 .sector_size = 512,
					 .iv_unit = 512,
					 .iv_offset = v->number };
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	uint8_t raw[64], text[512], got[512];

	CHECK_OK(parse_hex(v->key, raw, v->key_size));
	CHECK_OK(parse_hex(v->text, text, sizeof(text)));
	key = secret_of(raw, v->key_size);
	CHECK_OK(source_open_memory(text, sizeof(text), NULL, 0, &s));
	CHECK_OK(sector_open(take(s), &f, key, &s));
	CHECK_OK(source_read(s, got, sizeof(got), 0));
	for (int i = 0; i < 512; i++)
		CHECK_U64(got[i], i & 0xff);
}

/* --- against an encryptor as simple as can be --- */

static const struct pattern pattern = { .seed = 11 };

static void clear_bytes(uint8_t *p, size_t n, uint64_t off)
{
	pattern_bytes(&pattern, p, n, off);
}

static struct source *encrypted(const struct sector_format *f,
				const uint8_t *key, size_t key_size,
				size_t size, struct source_fault *fault)
{
	DROP(mem) uint8_t *p = malloc(size);
	struct source *s;

	CHECK(p);
	clear_bytes(p, size, 0);
	encrypt_sectors(f, key, key_size, p, size - size % f->sector_size, 0);
	CHECK_OK(source_open_memory(p, size, NULL, 0, &s));
	if (fault)
		CHECK_OK(source_open_fault(s, fault, &s));
	return s;
}

static void check_read(struct source *s, size_t len, uint64_t off)
{
	/* At an odd address, with guards. */
	DROP(mem) uint8_t *got = malloc(len + 3);
	DROP(mem) uint8_t *want = malloc(len + 1);

	CHECK(got && want);
	memset(got, 0xa5, len + 3);
	clear_bytes(want, len, off);
	CHECK_OK(source_read(s, got + 1, len, off));
	CHECK_MEM(got + 1, want, len);
	CHECK(got[0] == 0xa5 && got[len + 1] == 0xa5);
}

static void check_format(const struct sector_format *f, size_t key_size)
{
	static const uint32_t lens[] = { 1,    15,   511,  512,	  513,
					 4095, 4096, 8191, 20480, 33333 };
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	uint8_t raw[64];
	uint32_t random = 1;

	make_key(raw, (unsigned)key_size + f->sector_size);
	key = secret_of(raw, key_size);
	CHECK_OK(sector_open(encrypted(f, raw, key_size, SIZE, NULL), f, key,
			     &s));
	CHECK_U64(source_size(s), SIZE);
	check_read(s, SIZE, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		check_read(s, lens[i], 0);
		check_read(s, lens[i], SIZE - lens[i]);
		for (int k = 0; k < 4; k++) {
			random = random * 1664525 + 1013904223;
			check_read(s, lens[i], random % (SIZE - lens[i]));
		}
	}
}

/* Each mode, key size, sector size, and way to count. */
static void test_formats(void)
{
	static const size_t keys[] = { 16, 24, 32, 64 };
	static const uint32_t sizes[] = { 512, 1024, 2048, 4096 };
	int n = 0;

	for (int mode = 0; mode <= SECTOR_CBC_ELEPHANT; mode++)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
				struct sector_format f = {
					.mode = (enum sector_mode)mode,
					.sector_size = sizes[i],
					.iv_unit = mode >= SECTOR_CBC_EBOIV
							   ? 1
							   : 512,
					.iv_offset = i * 1000,
				};

				if (!sector_key_fits(f.mode, keys[k]))
					continue;
				check_format(&f, keys[k]);
				n++;
				/* iv_large_sectors */
				f.iv_unit = sizes[i];
				if (sizes[i] == 4096)
					check_format(&f, keys[k]);
			}
	CHECK_U64(n, 4 * (2 * 2 + 4 * 3 + 2));
}

/* The number passes 32 bits within a batch: plain forgets it, plain64 does not. */
static void test_wrap(void)
{
	static const enum sector_mode all[] = { SECTOR_XTS_PLAIN,
						SECTOR_XTS_PLAIN64,
						SECTOR_CBC_PLAIN,
						SECTOR_CBC_PLAIN64 };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct sector_format f = { .mode = all[i],
					   .sector_size = 512,
					   .iv_unit = 512,
					   .iv_offset = UINT32_MAX - 3u };

		check_format(&f, 32);
	}
}

/* --- as a source --- */

static void test_refused(void)
{
	static const struct sector_format bad[] = {
		{ .sector_size = 256, .iv_unit = 256 },
		{ .sector_size = 8192, .iv_unit = 512 },
		{ .sector_size = 1536, .iv_unit = 512 },
		{ .sector_size = 512, .iv_unit = 0 },
		{ .sector_size = 4096, .iv_unit = 1024 },
		{ .mode = (enum sector_mode)99,
		  .sector_size = 512,
		  .iv_unit = 512 },
	};
	static const struct sector_format good = { .sector_size = 512,
						   .iv_unit = 512 };
	DROP(secret) struct secret *key = NULL;
	DROP(secret) struct secret *odd = NULL;
	struct source_fault fault = { 0 };
	struct source *s;
	uint8_t raw[64];
	enum sector_mode mode;

	make_key(raw, 1);
	key = secret_of(raw, 32);
	odd = secret_of(raw, 48);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		s = encrypted(&good, raw, 32, 4096, &fault);
		CHECK_FAILS(-EINVAL, sector_open(s, &bad[i], key, &s));
		CHECK_U64(fault.closes, i + 1);
	}
	s = encrypted(&good, raw, 32, 4096, &fault);
	CHECK_FAILS(-EINVAL, sector_open(s, &good, odd, &s));

	for (int i = 0; i <= SECTOR_CBC_ELEPHANT; i++) {
		CHECK_OK(sector_mode_parse(
			sector_mode_name((enum sector_mode)i), &mode));
		CHECK(mode == (enum sector_mode)i);
	}
	CHECK_SAYS(-EINVAL, "aes-xts-plain128",
		   sector_mode_parse("aes-xts-plain128", &mode));
}

/* Sectors cut off at the end are not there; nothing is a hole; hints go on. */
static void test_source(void)
{
	const struct sector_format f = { .sector_size = 4096, .iv_unit = 512 };
	struct memory_hole hole = { 0, 8192 };
	struct source_fault fault = { 0 };
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	struct extent e;
	uint8_t raw[64];

	make_key(raw, 2);
	key = secret_of(raw, 64);
	CHECK_OK(source_open_memory(NULL, 10000, &hole, 1, &s));
	CHECK_OK(source_open_fault(take(s), &fault, &s));
	CHECK_OK(sector_open(take(s), &f, key, &s));
	CHECK_U64(source_size(s), 8192);
	CHECK_OK(source_extent(s, 0, 8192, &e));
	CHECK(!e.hole && e.length == 8192);
	source_prefetch(s, 100, 200);
	CHECK_U64(fault.prefetches, 1);
	CHECK_U64(fault.reads, 0);
	/* A big read is one read. */
	CHECK_OK(source_read(s, raw, 0, 0));
	check_format(&f, 64);
	{
		uint8_t big[8192];

		CHECK_OK(source_read(s, big, sizeof(big), 0));
		CHECK_U64(fault.reads, 1);
		CHECK_U64(fault.bytes, 8192);
	}
}

/* Each of the reads below fails in its turn. */
static void test_faults(void)
{
	const struct sector_format f = { .sector_size = 512, .iv_unit = 512 };
	DROP(secret) struct secret *key = NULL;
	uint8_t raw[64], buf[3000];
	uint64_t n = 0;
	int r;

	make_key(raw, 3);
	key = secret_of(raw, 32);
	do {
		DROP(source) struct source *s = NULL;
		struct source_fault fault = { .fail_read = ++n };

		CHECK_OK(sector_open(encrypted(&f, raw, 32, 4096, &fault), &f,
				     key, &s));
		r = source_read(s, buf, sizeof(buf), 100);
		CHECK(r == 0 ? fault.fired == 0 : r == -EIO);
		/* The context is fit for use. */
		fault.fail_read = 0;
		check_read(s, 3000, 100);
	} while (r < 0);
	CHECK_U64(n, 4); /* head, middle, tail */
}

struct job {
	struct source *s;
	unsigned seed;
};

static void *reader(void *arg)
{
	struct job *j = arg;
	uint32_t random = j->seed;

	for (int i = 0; i < 60; i++) {
		random = random * 1664525 + 1013904223;
		check_read(j->s, 1 + random % 9000, (random >> 8) % 40000);
	}
	return NULL;
}

static void test_threads(enum sector_mode mode)
{
	const struct sector_format f = { .mode = mode,
					 .sector_size = 512,
					 .iv_unit = 512 };
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	struct job jobs[6];
	pthread_t threads[6];
	uint8_t raw[64];

	make_key(raw, 4);
	key = secret_of(raw, 32);
	CHECK_OK(sector_open(encrypted(&f, raw, 32, SIZE, NULL), &f, key, &s));
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++) {
		jobs[i] = (struct job){ s, i };
		CHECK(!pthread_create(&threads[i], NULL, reader, &jobs[i]));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
		CHECK(!pthread_join(threads[i], NULL));
}

/* --- nothing of the key stays --- */

/* The needle is kept in another form, so as not to find itself. */
static size_t find_in_range(const uint8_t *p, size_t n,
			    const uint8_t inverse[static 16])
{
	const uint8_t *end = p + n;
	size_t found = 0;

	while (end - p >= 16 &&
	       (p = memchr(p, inverse[0] ^ 0xff, (size_t)(end - p) - 15))) {
		size_t k = 1;

		while (k < 16 && (p[k] ^ inverse[k]) == 0xff)
			k++;
		found += k == 16;
		p++;
	}
	return found;
}

static size_t find_in_memory(const uint8_t inverse[static 16])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	DROP(fd) int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	size_t found = 0;
	char line[512];

	CHECK(maps && mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t from, to;
		char *dash = strchr(line, '-');
		char *blank = strchr(line, ' ');
		uint8_t *p;
		ssize_t n;

		CHECK(dash && blank);
		*dash = *blank = '\0';
		CHECK_OK(parse_hex_u64(line, strlen(line), &from));
		CHECK_OK(parse_hex_u64(dash + 1, strlen(dash + 1), &to));
		if (blank[1] != 'r' || blank[2] != 'w')
			continue;
		p = calloc(1, to - from);
		CHECK(p);
		n = pread(mem, p, to - from, (off_t)from);
		if (n > 0)
			found += find_in_range(p, (size_t)n, inverse);
		explicit_bzero(p, to - from); /* copies of keys */
		free(p);
	}
	fclose(maps);
	return found;
}

static void use_key(enum sector_mode mode, const uint8_t *inverse, size_t size)
{
	const struct sector_format f = { .mode = mode,
					 .sector_size = 512,
					 .iv_unit = 512 };
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	uint8_t buf[4096];

	CHECK_OK(secret_new(size, &key));
	for (size_t i = 0; i < size; i++)
		secret_bytes(key)[i] = inverse[i] ^ 0xff;
	CHECK_OK(source_open_memory(NULL, 8192, NULL, 0, &s));
	CHECK_OK(sector_open(take(s), &f, key, &s));
	CHECK_OK(source_read(s, buf, sizeof(buf), 512));
	CHECK(find_in_memory(inverse) >= 1);
}

static void test_wiped(void)
{
	const char *san = getenv("SAN");

	/* Sanitizers keep freed memory for a while, and have terabytes. */
	if (san && *san)
		return;
	for (int mode = 0; mode <= SECTOR_CBC_ELEPHANT; mode++) {
		uint8_t inverse[64];

		make_key(inverse, 100 + (unsigned)mode);
		use_key((enum sector_mode)mode, inverse, 32);
		CHECK_U64(find_in_memory(inverse), 0);
		CHECK_U64(find_in_memory(inverse + 16), 0);
	}
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		test_vector(&vectors[i]);
	test_formats();
	test_wrap();
	test_refused();
	test_source();
	test_faults();
	test_threads(SECTOR_XTS_PLAIN64);
	test_threads(SECTOR_CBC_ESSIV_SHA256);
	test_wiped();
	return 0;
}
