// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the targets of vault records share. A record is fed to its parser as it is, and with
 * its length and CRC mended, or little would get past them; where there is a seal, sealed
 * anew, too.
 *
 * What was parsed is put and parsed again: that must give the same bytes as before.
 */
#pragma once
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/vault/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a parser may answer; a failure has its sentence. */
static inline int fuzz_checked(int r)
{
	assert(r == 0 || r == -EPROTO || r == -EBADMSG || r == -ENOTSUP ||
	       r == -EKEYREJECTED || r == -ENOMEM);
	assert(!r || *err_text(r));
	return r;
}

static inline void fuzz_mend_crc(uint8_t *p, size_t n)
{
	uint32_t crc;

	memset(p + 12, 0, 4);
	crc = crc32c(0, p, n);
	memcpy(p + 12, &crc, sizeof(crc));
}

/* A block of exactly its size, freed by the caller. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);

	assert(p);
	if (n)
		memcpy(p, data, n);
	return p;
}

/* A copy with a good header of this kind; NULL if there is no room for one. */
static inline uint8_t *fuzz_mended(const uint8_t *data, size_t n,
				   const char magic[static 4])
{
	static const uint8_t version[4] = { 1, 0, 0, 0 };
	uint32_t length = (uint32_t)n;
	uint8_t *p;

	if (n < VF_HEADER_SIZE)
		return NULL;
	p = fuzz_copy(data, n);
	memcpy(p, magic, 4);
	memcpy(p + 4, version, sizeof(version));
	memcpy(p + 8, &length, sizeof(length));
	fuzz_mend_crc(p, n);
	return p;
}

/* ... and sealed by the seed, whose public key is put at key_at. */
static inline uint8_t *fuzz_sealed(const uint8_t *data, size_t n,
				   const char magic[static 4], const char *tag,
				   struct secret *seed, size_t key_at)
{
	struct sign_public key;
	uint8_t *p;

	if (n < key_at + sizeof(key) + SIGN_SIZE)
		return NULL;
	p = fuzz_mended(data, n, magic);
	assert(sign_public_of(seed, &key) == 0);
	memcpy(p + key_at, key.b, sizeof(key));
	memset(p + 12, 0, 4);
	assert(sign_make(seed, tag, p, n - SIGN_SIZE, p + n - SIGN_SIZE) == 0);
	fuzz_mend_crc(p, n);
	return p;
}

static inline struct secret *fuzz_seed(void)
{
	static struct secret *seed;

	if (!seed) {
		assert(secret_new(SIGN_SEED_SIZE, &seed) == 0);
		memset(secret_bytes(seed), 7, SIGN_SEED_SIZE);
	}
	return seed;
}

static inline void fuzz_same(const struct buf *a, const struct buf *b)
{
	assert(!a->failed && !b->failed);
	assert(a->len == b->len && !memcmp(a->data, b->data, a->len));
}
