// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/hash.h"

#include <pthread.h>

#include "backend/base/parse.h"
#include "tests/unit/check.h"

#define BIG 70000

static uint8_t data[BIG + 64];

static void fill(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
}

static void check_sha256(const void *p, size_t n, const char *want)
{
	char hex[DIGEST_HEX + 1];
	struct digest d, e;
	struct sha256 h;

	sha256(p, n, &d);
	digest_hex(&d, hex);
	CHECK_STR(hex, want);

	sha256_init(&h);
	for (size_t i = 0; i < n; i += 7)
		sha256_add(&h, (const uint8_t *)p + i, n - i < 7 ? n - i : 7);
	sha256_final(&h, &e);
	CHECK(digest_equal(&d, &e));
}

/* FIPS 180-4, as in NIST's examples and CAVP. */
static void test_sha256(void)
{
	static char million[1000000];
	struct sha256 h = { 0 };
	struct digest d;

	check_sha256("", 0,
		     "e3b0c44298fc1c149afbf4c8996fb924"
		     "27ae41e4649b934ca495991b7852b855");
	check_sha256(NULL, 0,
		     "e3b0c44298fc1c149afbf4c8996fb924"
		     "27ae41e4649b934ca495991b7852b855");
	check_sha256("abc", 3,
		     "ba7816bf8f01cfea414140de5dae2223"
		     "b00361a396177a9cb410ff61f20015ad");
	check_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		     56,
		     "248d6a61d20638b8e5c026930c3e6039"
		     "a33ce45964ff2167f6ecedd419db06c1");
	memset(million, 'a', sizeof(million));
	check_sha256(million, sizeof(million),
		     "cdc76e5c9914fb9281a1c7e284d73e67"
		     "f1809a48a497200e046d39ccc7112cd0");

	/* Given up half way, never begun, and twice. */
	sha256_release(&h);
	sha256_init(&h);
	sha256_add(&h, "abc", 3);
	sha256_release(&h);
	sha256_release(&h);
	{
		DROP(sha256) struct sha256 dropped = { 0 };

		sha256_init(&dropped);
	}

	memset(&d, 0, sizeof(d));
	CHECK(digest_is_zero(&d));
	d.b[31] = 1;
	CHECK(!digest_is_zero(&d));
}

static void *hash_often(void *arg)
{
	const struct digest *want = arg;
	struct digest d;

	for (int i = 0; i < 50; i++) {
		sha256(data, BIG, &d);
		CHECK(digest_equal(&d, want));
	}
	return NULL;
}

static void test_threads(void)
{
	pthread_t t[4];
	struct digest d;

	sha256(data, BIG, &d);
	/* Rounds, so that threads end and others begin. */
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(t); i++)
			CHECK(!pthread_create(&t[i], NULL, hash_often, &d));
		for (size_t i = 0; i < ARRAY_SIZE(t); i++)
			CHECK(!pthread_join(t[i], NULL));
	}
}

static void check_crc(const void *p, size_t n, uint32_t want)
{
	CHECK_U64(crc32c(0, p, n), want);
	CHECK_U64(crc32c_table(0, p, n), want);
}

/* RFC 3720, appendix B.4, and the usual check value. */
static void test_crc32c(void)
{
	uint8_t p[32];

	check_crc("123456789", 9, 0xe3069283);
	check_crc("", 0, 0);
	check_crc("a", 1, 0xc1d04330);
	memset(p, 0, 32);
	check_crc(p, 32, 0x8a9136aa);
	memset(p, 0xff, 32);
	check_crc(p, 32, 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		p[i] = (uint8_t)i;
	check_crc(p, 32, 0x46dd794e);
	for (int i = 0; i < 32; i++)
		p[i] = (uint8_t)(31 - i);
	check_crc(p, 32, 0x113fdb5c);

	/* The two ways agree at each alignment and length, and in parts. */
	for (size_t at = 0; at < 16; at++) {
		for (size_t n = 0; n < 300; n++) {
			uint32_t want = crc32c_table(0, data + at, n);
			size_t half = n / 3;

			CHECK_U64(crc32c(0, data + at, n), want);
			CHECK_U64(crc32c(crc32c(0, data + at, half),
					 data + at + half, n - half),
				  want);
			CHECK_U64(crc32c_table(crc32c(0, data + at, half),
					       data + at + half, n - half),
				  want);
		}
	}
	CHECK_U64(crc32c(7, data, BIG), crc32c_table(7, data, BIG));
}

static void test_is_zero(void)
{
	static uint8_t z[1024 + 16];

	CHECK(is_zero(NULL, 0));
	for (size_t at = 0; at < 9; at++) {
		for (size_t n = 0; n < 600; n++) {
			memset(z, 0xff, sizeof(z));
			memset(z + at, 0, n);
			CHECK(is_zero(z + at, n));
			for (size_t i = 0; i < n; i++) {
				z[at + i] = 1;
				CHECK(!is_zero(z + at, n));
				z[at + i] = 0;
			}
		}
	}
}

static void test_random(void)
{
	static uint8_t a[1000], b[1000];

	CHECK_OK(random_bytes(a, 0));
	CHECK_OK(random_bytes(a, sizeof(a)));
	CHECK_OK(random_bytes(b, sizeof(b)));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	CHECK(!is_zero(a + 984, 16));
}

int main(void)
{
	fill();
	test_sha256();
	test_threads();
	test_crc32c();
	test_is_zero();
	test_random();
	return 0;
}
