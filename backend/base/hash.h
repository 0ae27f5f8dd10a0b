// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * SHA-256 (OpenSSL, which uses the CPU's SHA instructions) and CRC32C
 * (Castagnoli, reflected, initial and final XOR 0xffffffff, as in iSCSI;
 * SSE4.2 where the CPU has it, a table elsewhere). Any thread.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32
#define DIGEST_HEX 64

struct digest {
	uint8_t b[DIGEST_SIZE];
};

/* Cannot fail but for lack of memory at the process's first call in a thread,
 * which aborts: no caller could go on without digests. */
void sha256(const void *p, size_t n, struct digest *out);

/* In parts. */
struct sha256 {
	void *ctx;
};
void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *p, size_t n);
/* Ends it and releases what init took. */
void sha256_final(struct sha256 *h, struct digest *out);
/* Gives up one that is not ended; nothing after final, or when zeroed. */
void sha256_release(struct sha256 *h);

/* RFC 2104. key is not kept anywhere. */
void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
		 struct digest *out);

uint32_t crc32c(uint32_t crc, const void *p, size_t n); /* start with 0 */
/* The same without the CPU's help; for tests. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n);

bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *a);
void digest_hex(const struct digest *d, char out[static DIGEST_HEX + 1]);

/* n random bytes from the system's generator. -EIO where there is none. */
int random_bytes(void *p, size_t n) MUST_USE;
/* All n bytes are zero. Fast: about memory speed. */
bool is_zero(const void *p, size_t n);

static inline void drop_sha256(struct sha256 *h)
{
	sha256_release(h);
}
