// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A bounded little-endian reader of foreign bytes. Reading past the end yields
 * zeros and sets a flag, which is tested once at the end with rd_ok().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd {
	const uint8_t *p;
	size_t left;
	bool over;
};

struct rd rd_over(const void *p, size_t len);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
/* Copies n bytes; zeros past the end. */
void rd_bytes(struct rd *r, void *out, size_t n);
/* A pointer to n bytes inside the input, or NULL past the end. */
const uint8_t *rd_ptr(struct rd *r, size_t n);
void rd_skip(struct rd *r, size_t n);
/* Nothing was read past the end. */
bool rd_ok(const struct rd *r);
/* ... and nothing is left either. */
bool rd_done(const struct rd *r);
