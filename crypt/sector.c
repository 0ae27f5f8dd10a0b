// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * EVP wants one call a sector to set the IV, which at 512 bytes costs as much as
 * the decryption. So sectors go in batches:
 *
 * CBC: a batch is decrypted as if it were one long message, and then only the
 * first block of each sector is wrong: it was XORed with the last ciphertext of
 * the sector before it instead of with its own IV. Both are known.
 *
 * XTS with small sectors: the tweaks of a batch are encrypted by one call, their
 * multiples (by x in GF(2^128)) computed here, and all blocks decrypted by one
 * call of ECB between the two XORs. Large sectors go to OpenSSL's XTS one by
 * one, which is faster from about 2 KiB on.
 *
 * IVs are encrypted a batch at a time as well.
 */
#include "crypt/sector.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"

#define BLOCK 16
/* Sectors of a batch: 8 KiB of small ones stay in the first-level cache. */
#define BATCH 16
#define XTS_BY_ECB_MAX 1024

/* --- what belongs to one read at a time --- */

#define LANES 4
typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint64_t block __attribute__((vector_size(BLOCK)));
/* In buffers of any alignment. */
typedef uint64_t block_at
	__attribute__((vector_size(BLOCK), aligned(1), may_alias));

struct cipher {
	struct cipher *next;
	EVP_CIPHER_CTX *data; /* ECB, XTS or CBC; decrypts */
	EVP_CIPHER_CTX *iv;   /* ECB; encrypts: XTS tweaks, CBC IVs */
	EVP_CIPHER_CTX *key;  /* ECB; encrypts: Elephant's sector keys */
	uint8_t ivs[BATCH * BLOCK];
	uint8_t last[BATCH * BLOCK]; /* ciphertext */
	uint8_t sector[SECTOR_SIZE_MAX];
	union {
		uint8_t tweaks[BATCH * XTS_BY_ECB_MAX];
		lanes words[SECTOR_SIZE_MAX / 4];
	} u;
};

struct sector {
	struct source base;
	struct source *inner;
	struct secret *key;
	struct sector_format format;
	bool xts_by_ecb;
	EVP_CIPHER *data;
	EVP_CIPHER *ecb; /* of data's key size */
	EVP_CIPHER *iv_ecb;
	pthread_mutex_t lock;
	struct cipher *idle; /* under lock */
};

static const struct source_ops sector_ops;

static const struct {
	const char *name;
	bool xts;
} modes[] = {
	[SECTOR_XTS_PLAIN64] = { "aes-xts-plain64", true },
	[SECTOR_XTS_PLAIN] = { "aes-xts-plain", true },
	[SECTOR_CBC_PLAIN64] = { "aes-cbc-plain64", false },
	[SECTOR_CBC_PLAIN] = { "aes-cbc-plain", false },
	[SECTOR_CBC_ESSIV_SHA256] = { "aes-cbc-essiv:sha256", false },
	[SECTOR_CBC_EBOIV] = { "aes-cbc-eboiv", false },
	[SECTOR_CBC_ELEPHANT] = { "aes-cbc-elephant", false },
};

const char *sector_mode_name(enum sector_mode mode)
{
	return modes[mode].name;
}

int sector_mode_parse(const char *name, enum sector_mode *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(modes[i].name, name) != 0)
			continue;
		*out = (enum sector_mode)i;
		return 0;
	}
	return fail(-EINVAL, "cipher %s is not known", name);
}

/* Bytes of the key of data's AES. */
static size_t aes_size(enum sector_mode mode, size_t key_size)
{
	return modes[mode].xts || mode == SECTOR_CBC_ELEPHANT ? key_size / 2
							      : key_size;
}

bool sector_key_fits(enum sector_mode mode, size_t key_size)
{
	if (modes[mode].xts || mode == SECTOR_CBC_ELEPHANT)
		return key_size == 32 || key_size == 64;
	return key_size == 16 || key_size == 24 || key_size == 32;
}

static int openssl_failed(void)
{
	return fail(-EIO, "decryption failed in OpenSSL");
}

/* --- contexts --- */

static void cipher_free(struct cipher *c)
{
	if (!c)
		return;
	/* These wipe the keys that they hold. */
	EVP_CIPHER_CTX_free(c->data);
	EVP_CIPHER_CTX_free(c->iv);
	EVP_CIPHER_CTX_free(c->key);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

DROP_DEFINE(cipher, struct cipher *, cipher_free)

static int keyed(const EVP_CIPHER *cipher, const uint8_t *key, int encrypt,
		 EVP_CIPHER_CTX **ret)
{
	/* A context holds the key, and its schedule. */
	DROP(arena) bool in = arena_enter();

	*ret = EVP_CIPHER_CTX_new();
	if (!*ret)
		return fail(-ENOMEM, "out of memory");
	if (EVP_CipherInit_ex2(*ret, cipher, key, NULL, encrypt, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_padding(*ret, 0) != 1)
		return openssl_failed();
	return 0;
}

/* The key that IVs are encrypted with, for SECTOR_CBC_ESSIV_SHA256. */
static int essiv_key(struct sector *s, struct secret **ret)
{
	DROP(secret) struct secret *salt = NULL;
	int r = secret_new(EVP_MAX_MD_SIZE, &salt);

	if (r < 0)
		return r;
	if (EVP_Digest(secret_bytes(s->key), secret_size(s->key),
		       secret_bytes(salt), NULL, EVP_sha256(), NULL) != 1)
		return openssl_failed();
	*ret = take(salt);
	return 0;
}

static int cipher_new(struct sector *s, struct cipher **ret)
{
	DROP(cipher) struct cipher *c = NULL;
	DROP(secret) struct secret *salt = NULL;
	enum sector_mode mode = s->format.mode;
	const uint8_t *key = secret_bytes(s->key);
	/* Of XTS and Elephant only. */
	const uint8_t *second = key + aes_size(mode, secret_size(s->key));
	const uint8_t *iv_key = modes[mode].xts ? second : key;
	int r;

	c = aligned_alloc(64, (sizeof(*c) + 63) / 64 * 64);
	if (!c)
		return fail(-ENOMEM, "out of memory");
	memset(c, 0, sizeof(*c));
	r = keyed(s->xts_by_ecb ? s->ecb : s->data, key, 0, &c->data);
	if (r < 0)
		return r;
	if (mode == SECTOR_CBC_ESSIV_SHA256) {
		r = essiv_key(s, &salt);
		if (r < 0)
			return r;
		iv_key = secret_bytes(salt);
	}
	if (s->iv_ecb) {
		r = keyed(s->iv_ecb, iv_key, 1, &c->iv);
		if (r < 0)
			return r;
	}
	if (mode == SECTOR_CBC_ELEPHANT) {
		r = keyed(s->ecb, second, 1, &c->key);
		if (r < 0)
			return r;
	}
	*ret = take(c);
	return 0;
}

/* As many as there ever were reads at once. */
static int cipher_get(struct sector *s, struct cipher **ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->idle;
	if (*ret)
		s->idle = (*ret)->next;
	pthread_mutex_unlock(&s->lock);
	return *ret ? 0 : cipher_new(s, ret);
}

static void cipher_put(struct sector *s, struct cipher *c)
{
	DROP(lock) pthread_mutex_t *held = lock(&s->lock);

	c->next = s->idle;
	s->idle = c;
}

static bool crypt_blocks(EVP_CIPHER_CTX *ctx, void *p, size_t n)
{
	int done = 0;

	return EVP_CipherUpdate(ctx, p, &done, p, (int)n) == 1 &&
	       (size_t)done == n;
}

/* --- decrypting a batch --- */

/* The numbers of count sectors from off on, as blocks. */
static void number(const struct sector_format *f, uint8_t *out, uint64_t off,
		   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t n =
			f->iv_offset + (off + i * f->sector_size) / f->iv_unit;

		if (f->mode == SECTOR_XTS_PLAIN || f->mode == SECTOR_CBC_PLAIN)
			n &= UINT32_MAX;
		n = htole64(n);
		memcpy(out + i * BLOCK, &n, sizeof(n));
		memset(out + i * BLOCK + sizeof(n), 0, BLOCK - sizeof(n));
	}
}

static void xor_block(uint8_t *p, const uint8_t *q)
{
	*(block_at *)p ^= *(const block_at *)q;
}

/* Times x: a shift by one through all 128 bits, little endian, and what falls
 * out comes back as 0x87. Each 64-bit half takes the top bit of the other. */
static inline block times_x(block t)
{
	block top = t >> 63;
	block carry = __builtin_shufflevector(top, top, 1, 0);

	return (t + t) ^ (-carry & (block){ 0x87, 1 });
}

static bool xts_batch(struct sector *s, struct cipher *c, uint8_t *p,
		      size_t count)
{
	size_t size = s->format.sector_size;

	if (!crypt_blocks(c->iv, c->ivs, count * BLOCK))
		return false;
	for (size_t i = 0; i < count; i++) {
		block t = *(const block_at *)(c->ivs + i * BLOCK);
		uint8_t *tweak = c->u.tweaks + i * size;
		uint8_t *data = p + i * size;

		for (size_t j = 0; j < size; j += BLOCK) {
			*(block_at *)(tweak + j) = t;
			*(block_at *)(data + j) ^= t;
			t = times_x(t);
		}
	}
	if (!crypt_blocks(c->data, p, count * size))
		return false;
	for (size_t j = 0; j < count * size; j += BLOCK)
		xor_block(p + j, c->u.tweaks + j);
	return true;
}

static bool xts_each(struct sector *s, struct cipher *c, uint8_t *p,
		     size_t count)
{
	size_t size = s->format.sector_size;

	for (size_t i = 0; i < count; i++)
		if (EVP_CipherInit_ex2(c->data, NULL, NULL, c->ivs + i * BLOCK,
				       0, NULL) != 1 ||
		    !crypt_blocks(c->data, p + i * size, size))
			return false;
	return true;
}

static bool cbc_batch(struct sector *s, struct cipher *c, uint8_t *p,
		      size_t count)
{
	size_t size = s->format.sector_size;

	if (c->iv && !crypt_blocks(c->iv, c->ivs, count * BLOCK))
		return false;
	for (size_t i = 1; i < count; i++)
		memcpy(c->last + i * BLOCK, p + i * size - BLOCK, BLOCK);
	if (EVP_CipherInit_ex2(c->data, NULL, NULL, c->ivs, 0, NULL) != 1 ||
	    !crypt_blocks(c->data, p, count * size))
		return false;
	for (size_t i = 1; i < count; i++) {
		xor_block(p + i * size, c->last + i * BLOCK);
		xor_block(p + i * size, c->ivs + i * BLOCK);
	}
	return true;
}

/* --- Elephant --- */

static inline lanes rotated(lanes v, unsigned by)
{
	return by ? v << by | v >> (32 - by) : v;
}

/*
 * The diffuser works on the n words of a sector, indices modulo n, each step on
 * what the steps before it have left: B with d[i] += d[i+2] ^ (d[i+5] <<< r),
 * A with d[i] += d[i-2] ^ (d[i-5] <<< r). Here on LANES sectors at once, word i
 * of all of them in d[i].
 */
static void diffuser_b(lanes *d, size_t n)
{
	static const unsigned rotate[4] = { 0, 10, 0, 25 };

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < n - 8; i += 4)
			for (size_t j = i; j < i + 4; j++)
				d[j] += d[j + 2] ^
					rotated(d[j + 5], rotate[j - i]);
		for (size_t j = n - 8; j < n; j++)
			d[j] += d[(j + 2) % n] ^
				rotated(d[(j + 5) % n], rotate[j % 4]);
	}
}

static void diffuser_a(lanes *d, size_t n)
{
	static const unsigned rotate[4] = { 9, 0, 13, 0 };

	for (int round = 0; round < 5; round++) {
		for (size_t j = 0; j < 8; j++)
			d[j] += d[(j + n - 2) % n] ^
				rotated(d[(j + n - 5) % n], rotate[j % 4]);
		for (size_t i = 8; i < n; i += 4)
			for (size_t j = i; j < i + 4; j++)
				d[j] += d[j - 2] ^
					rotated(d[j - 5], rotate[j - i]);
	}
}

static uint32_t get_word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static void put_word(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

/* keys: two blocks a sector. count is at most LANES. */
static void diffuse(struct sector *s, struct cipher *c, uint8_t *p,
		    size_t count, const uint8_t *keys)
{
	size_t size = s->format.sector_size;
	size_t n = size / 4;
	lanes *d = c->u.words;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < LANES; k++)
			d[i][k] = k < count ? get_word(p + k * size + i * 4)
					    : 0;
	diffuser_b(d, n);
	diffuser_a(d, n);
	for (size_t k = 0; k < count; k++) {
		for (size_t i = 0; i < n; i++)
			put_word(p + k * size + i * 4, d[i][k]);
		for (size_t i = 0; i < size; i += BLOCK)
			xor_block(p + k * size + i,
				  keys + k * 2 * BLOCK + i % (2 * BLOCK));
	}
}

/* Sector key: the number, and the number with 0x80 in its last byte, both
 * encrypted. */
static bool elephant_batch(struct sector *s, struct cipher *c, uint8_t *p,
			   uint64_t off, size_t count)
{
	size_t size = s->format.sector_size;
	uint8_t keys[LANES * 2 * BLOCK];

	if (!cbc_batch(s, c, p, count))
		return false;
	for (size_t i = 0, n; i < count; i += n) {
		n = count - i < LANES ? count - i : LANES;
		for (size_t k = 0; k < n; k++) {
			uint8_t *key = keys + k * 2 * BLOCK;

			number(&s->format, key, off + (i + k) * size, 1);
			memcpy(key + BLOCK, key, BLOCK);
			key[2 * BLOCK - 1] = 0x80;
		}
		if (!crypt_blocks(c->key, keys, n * 2 * BLOCK))
			return false;
		diffuse(s, c, p + i * size, n, keys);
	}
	return true;
}

/* Whole sectors, in place. */
static int decrypt(struct sector *s, struct cipher *c, uint8_t *p, size_t len,
		   uint64_t off)
{
	size_t size = s->format.sector_size;

	while (len) {
		size_t n = len / size < BATCH ? len / size : BATCH;
		bool good;

		number(&s->format, c->ivs, off, n);
		if (s->format.mode == SECTOR_CBC_ELEPHANT)
			good = elephant_batch(s, c, p, off, n);
		else if (!modes[s->format.mode].xts)
			good = cbc_batch(s, c, p, n);
		else if (s->xts_by_ecb)
			good = xts_batch(s, c, p, n);
		else
			good = xts_each(s, c, p, n);
		if (!good)
			return openssl_failed();
		p += n * size;
		off += n * size;
		len -= n * size;
	}
	return 0;
}

/* --- the source --- */

/* A part of one sector. */
static int read_part(struct sector *s, struct cipher *c, void *buf, size_t len,
		     uint64_t off)
{
	size_t size = s->format.sector_size;
	uint64_t start = off - off % size;
	int r = source_read(s->inner, c->sector, size, start);

	if (r == 0)
		r = decrypt(s, c, c->sector, size, start);
	if (r == 0)
		memcpy(buf, c->sector + (off - start), len);
	return r;
}

static int read_with(struct sector *s, struct cipher *c, uint8_t *p, size_t len,
		     uint64_t off)
{
	size_t size = s->format.sector_size;
	size_t n = off % size ? min_u64(len, size - off % size) : 0;
	int r = 0;

	if (n) {
		r = read_part(s, c, p, n, off);
		p += n;
		off += n;
		len -= n;
	}
	n = len - len % size;
	if (r == 0 && n) {
		r = source_read(s->inner, p, n, off);
		if (r == 0)
			r = decrypt(s, c, p, n, off);
	}
	if (r == 0 && len > n)
		r = read_part(s, c, p + n, len - n, off + n);
	return r;
}

static int sector_read(struct source *src, void *buf, size_t len, uint64_t off)
{
	struct sector *s = container_of(src, struct sector, base);
	struct cipher *c;
	int r = cipher_get(s, &c);

	if (r < 0)
		return r;
	r = read_with(s, c, buf, len, off);
	cipher_put(s, c);
	return r;
}

static void sector_prefetch(struct source *src, uint64_t off, uint64_t len)
{
	struct sector *s = container_of(src, struct sector, base);
	uint64_t start = off - off % s->format.sector_size;

	source_prefetch(s->inner, start, len + (off - start));
}

static void sector_close(struct source *src)
{
	struct sector *s = container_of(src, struct sector, base);

	while (s->idle) {
		struct cipher *c = s->idle;

		s->idle = c->next;
		cipher_free(c);
	}
	EVP_CIPHER_free(s->data);
	EVP_CIPHER_free(s->ecb);
	EVP_CIPHER_free(s->iv_ecb);
	secret_close(s->key);
	source_close(s->inner);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static EVP_CIPHER *fetch(size_t key_size, const char *mode)
{
	char name[32];

	snprintf(name, sizeof(name), "AES-%zu-%s", key_size * 8, mode);
	return EVP_CIPHER_fetch(NULL, name, NULL);
}

static int fetch_all(struct sector *s)
{
	enum sector_mode mode = s->format.mode;
	size_t size = aes_size(mode, secret_size(s->key));

	/* times_x() is written for little-endian machines. */
	s->xts_by_ecb = modes[mode].xts && htole32(1) == 1 &&
			s->format.sector_size <= XTS_BY_ECB_MAX;
	s->data = fetch(size, modes[mode].xts ? "XTS" : "CBC");
	s->ecb = fetch(size, "ECB");
	if (!s->data || !s->ecb)
		return openssl_failed();
	if (s->xts_by_ecb || mode == SECTOR_CBC_EBOIV ||
	    mode == SECTOR_CBC_ELEPHANT)
		s->iv_ecb = fetch(size, "ECB");
	else if (mode == SECTOR_CBC_ESSIV_SHA256)
		s->iv_ecb = fetch(32, "ECB");
	else
		return 0;
	return s->iv_ecb ? 0 : openssl_failed();
}

static bool format_valid(const struct sector_format *f)
{
	uint32_t size = f->sector_size;

	return (size_t)f->mode < ARRAY_SIZE(modes) && size >= 512 &&
	       size <= SECTOR_SIZE_MAX && (size & (size - 1)) == 0 &&
	       (f->iv_unit == 1 || f->iv_unit == 512 || f->iv_unit == size);
}

int sector_open(struct source *inner, const struct sector_format *format,
		struct secret *key, struct source **ret)
{
	DROP(source) struct source *owned = inner;
	DROP(source) struct source *half = NULL;
	struct cipher *c;
	struct sector *s;
	uint64_t size;
	int r;

	if (!format_valid(format) ||
	    !sector_key_fits(format->mode, secret_size(key)))
		return fail(-EINVAL, "no such cipher, sector size or key size");
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	size = source_size(inner);
	source_init(&s->base, &sector_ops, size - size % format->sector_size);
	pthread_mutex_init(&s->lock, NULL);
	s->inner = take(owned);
	s->format = *format;
	half = &s->base;
	r = secret_new(secret_size(key), &s->key);
	if (r < 0)
		return r;
	memcpy(secret_bytes(s->key), secret_bytes(key), secret_size(key));
	r = fetch_all(s);
	if (r < 0)
		return r;
	/* What OpenSSL cannot do shows now, not at the first read. */
	r = cipher_new(s, &c);
	if (r < 0)
		return r;
	cipher_put(s, c);
	*ret = take(half);
	return 0;
}

static const struct source_ops sector_ops = {
	.name = "sector",
	.read = sector_read,
	.prefetch = sector_prefetch,
	.close = sector_close,
};
