// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/hash.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

/*
 * Fetching the algorithm by name and allocating a context cost more than the
 * hashing of a small record, so the one is done once a process and the other
 * once a thread.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MD *algorithm;

static _Noreturn void die(const char *why)
{
	log_error("SHA-256: %s", why);
	abort();
}

static void free_context(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void setup(void)
{
	algorithm = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	if (!algorithm)
		die("OpenSSL does not offer it");
	if (pthread_key_create(&context_key, free_context))
		die("no thread key is left");
}

static EVP_MD_CTX *new_context(void)
{
	EVP_MD_CTX *ctx;

	pthread_once(&once, setup);
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		die("out of memory");
	return ctx;
}

static EVP_MD_CTX *thread_context(void)
{
	EVP_MD_CTX *ctx;

	pthread_once(&once, setup);
	ctx = pthread_getspecific(context_key);
	if (ctx)
		return ctx;
	ctx = new_context();
	if (pthread_setspecific(context_key, ctx))
		die("out of memory");
	return ctx;
}

void sha256(const void *p, size_t n, struct digest *out)
{
	EVP_MD_CTX *ctx = thread_context();

	if (EVP_DigestInit_ex2(ctx, algorithm, NULL) != 1 ||
	    EVP_DigestUpdate(ctx, p, n) != 1 ||
	    EVP_DigestFinal_ex(ctx, out->b, NULL) != 1)
		die("OpenSSL failed");
}

void sha256_init(struct sha256 *h)
{
	h->ctx = new_context();
	if (EVP_DigestInit_ex2(h->ctx, algorithm, NULL) != 1)
		die("OpenSSL failed");
}

void sha256_add(struct sha256 *h, const void *p, size_t n)
{
	if (EVP_DigestUpdate(h->ctx, p, n) != 1)
		die("OpenSSL failed");
}

void sha256_final(struct sha256 *h, struct digest *out)
{
	if (EVP_DigestFinal_ex(h->ctx, out->b, NULL) != 1)
		die("OpenSSL failed");
	sha256_release(h);
}

void sha256_release(struct sha256 *h)
{
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
		 struct digest *out)
{
	uint8_t pad[64] = { 0 };
	struct sha256 h;
	struct digest inner;

	if (key_len > sizeof(pad)) {
		sha256(key, key_len, &inner);
		memcpy(pad, inner.b, sizeof(inner.b));
	} else if (key_len) {
		memcpy(pad, key, key_len);
	}
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	sha256_init(&h);
	sha256_add(&h, pad, sizeof(pad));
	sha256_add(&h, p, n);
	sha256_final(&h, &inner);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	sha256_init(&h);
	sha256_add(&h, pad, sizeof(pad));
	sha256_add(&h, inner.b, sizeof(inner.b));
	sha256_final(&h, out);
	explicit_bzero(pad, sizeof(pad));
}

/*
 * Slicing by eight: crc_table[k][b] is the CRC of byte b followed by k zero
 * bytes, so eight bytes are folded in by eight independent look-ups.
 */
#define CRC32C_POLY 0x82f63b78u /* Castagnoli, reflected */

static pthread_once_t crc_once = PTHREAD_ONCE_INIT;
static uint32_t crc_table[8][256];

static void crc_setup(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t c = b;

		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ (c & 1 ? CRC32C_POLY : 0);
		crc_table[0][b] = c;
	}
	for (int k = 1; k < 8; k++) {
		for (int b = 0; b < 256; b++) {
			uint32_t c = crc_table[k - 1][b];

			crc_table[k][b] = (c >> 8) ^ crc_table[0][c & 0xff];
		}
	}
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t c = ~crc;

	pthread_once(&crc_once, crc_setup);
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v = le64toh(load64(p)) ^ c;

		c = crc_table[7][v & 0xff] ^ crc_table[6][(v >> 8) & 0xff] ^
		    crc_table[5][(v >> 16) & 0xff] ^
		    crc_table[4][(v >> 24) & 0xff] ^
		    crc_table[3][(v >> 32) & 0xff] ^
		    crc_table[2][(v >> 40) & 0xff] ^
		    crc_table[1][(v >> 48) & 0xff] ^ crc_table[0][v >> 56];
	}
	for (; n; p++, n--)
		c = (c >> 8) ^ crc_table[0][(c ^ *p) & 0xff];
	return ~c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = (uint32_t)~crc;

	for (; n >= 8; p += 8, n -= 8)
		c = __builtin_ia32_crc32di(c, load64(p));
	for (; n; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, n);
#endif
	return crc32c_table(crc, p, n);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_SIZE) == 0;
}

bool digest_is_zero(const struct digest *a)
{
	return is_zero(a->b, DIGEST_SIZE);
}

void digest_hex(const struct digest *d, char out[static DIGEST_HEX + 1])
{
	hex_of(d->b, DIGEST_SIZE, out);
}

int random_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail(-EIO, "the system gives no random bytes");
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

/* What every x86-64 and arm64 loads at once, at any address. */
typedef uint64_t pair __attribute__((vector_size(16), aligned(1), may_alias));

bool is_zero(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t any = 0;

	/* Data mostly differs from zero in its first word. */
	if (n >= 8 && load64(p))
		return false;
	for (; n >= 256; p += 256, n -= 256) {
		const pair *v = (const pair *)p;
		/* Four sums, since each OR waits for the one before. */
		pair a = v[0] | v[1] | v[2] | v[3];
		pair b = v[4] | v[5] | v[6] | v[7];
		pair c = v[8] | v[9] | v[10] | v[11];
		pair d = v[12] | v[13] | v[14] | v[15];

		a |= b;
		c |= d;
		a |= c;
		if (a[0] | a[1])
			return false;
	}
	for (; n >= 8; p += 8, n -= 8)
		any |= load64(p);
	for (; n; p++, n--)
		any |= *p;
	return any == 0;
}
