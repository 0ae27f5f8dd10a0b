// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/encrypt.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok)
{
	if (ok == 1)
		return;
	fprintf(stderr, "encrypt: OpenSSL failed\n");
	abort();
}

/* iv NULL: none. */
static void run(const char *mode, const uint8_t *key, size_t key_size,
		const uint8_t *iv, uint8_t *p, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	EVP_CIPHER *cipher;
	char name[32];
	int n = 0;

	snprintf(name, sizeof(name), "aes-%zu-%s",
		 key_size * 8 / (strcmp(mode, "xts") == 0 ? 2 : 1), mode);
	cipher = EVP_CIPHER_fetch(NULL, name, NULL);
	must(cipher && ctx);
	must(EVP_EncryptInit_ex2(ctx, cipher, key, iv, NULL));
	must(EVP_CIPHER_CTX_set_padding(ctx, 0));
	must(EVP_EncryptUpdate(ctx, p, &n, p, (int)len));
	must((size_t)n == len);
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(cipher);
}

static void number(uint8_t iv[static 16], uint64_t n, int bytes)
{
	memset(iv, 0, 16);
	for (int i = 0; i < bytes; i++)
		iv[i] = (uint8_t)(n >> (8 * i));
}

static uint32_t rol(uint32_t v, int by)
{
	return by ? v << by | v >> (32 - by) : v;
}

static uint32_t word(const uint8_t *p, size_t i)
{
	return (uint32_t)p[4 * i] | (uint32_t)p[4 * i + 1] << 8 |
	       (uint32_t)p[4 * i + 2] << 16 | (uint32_t)p[4 * i + 3] << 24;
}

static void sub(uint8_t *p, size_t i, uint32_t v)
{
	v = word(p, i) - v;
	for (int k = 0; k < 4; k++)
		p[4 * i + k] = (uint8_t)(v >> (8 * k));
}

static void elephant(const uint8_t *tweak, size_t key_size, uint8_t *p,
		     size_t len, uint64_t off)
{
	static const int a[4] = { 9, 0, 13, 0 }, b[4] = { 0, 10, 0, 25 };
	uint8_t key[32];
	size_t n = len / 4;

	number(key, off, 8);
	number(key + 16, off, 8);
	key[31] = 0x80;
	run("ecb", tweak, key_size, NULL, key, 32);
	for (size_t i = 0; i < len; i++)
		p[i] ^= key[i % 32];
	for (int round = 0; round < 5; round++)
		for (size_t i = n; i-- > 0;)
			sub(p, i,
			    word(p, (i + n - 2) % n) ^
				    rol(word(p, (i + n - 5) % n), a[i % 4]));
	for (int round = 0; round < 3; round++)
		for (size_t i = n; i-- > 0;)
			sub(p, i,
			    word(p, (i + 2) % n) ^
				    rol(word(p, (i + 5) % n), b[i % 4]));
}

static void one(const struct sector_format *f, const uint8_t *key, size_t ks,
		uint8_t *p, uint64_t off)
{
	uint64_t n = f->iv_offset + off / f->iv_unit;
	uint8_t iv[16], salt[32];

	number(iv, n,
	       f->mode == SECTOR_XTS_PLAIN || f->mode == SECTOR_CBC_PLAIN ? 4
									  : 8);
	switch (f->mode) {
	case SECTOR_XTS_PLAIN64:
	case SECTOR_XTS_PLAIN:
		run("xts", key, ks, iv, p, f->sector_size);
		return;
	case SECTOR_CBC_ESSIV_SHA256:
		must(EVP_Digest(key, ks, salt, NULL, EVP_sha256(), NULL));
		run("ecb", salt, 32, NULL, iv, 16);
		break;
	case SECTOR_CBC_ELEPHANT:
		elephant(key + ks / 2, ks / 2, p, f->sector_size, n);
		ks /= 2;
		run("ecb", key, ks, NULL, iv, 16);
		break;
	case SECTOR_CBC_EBOIV:
		run("ecb", key, ks, NULL, iv, 16);
		break;
	default:
		break;
	}
	run("cbc", key, ks, iv, p, f->sector_size);
}

void encrypt_sectors(const struct sector_format *f, const uint8_t *key,
		     size_t key_size, uint8_t *p, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len; i += f->sector_size)
		one(f, key, key_size, p + i, off + i);
}
