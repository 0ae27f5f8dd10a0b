// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A growing byte buffer with a maximum, and little-endian writers.
 *
 * A failed append (maximum reached, out of memory) sets b->failed and is
 * tested once, with buf_check(), when all has been written. Not thread safe.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t max;
	bool failed;
	bool no_memory; /* and that is why */
	bool secret; /* what it leaves behind, growing and released, is wiped */
};

#define BUF_INIT(maximum)                                                      \
	{                                                                      \
		.max = (maximum)                                               \
	}

#define SECRET_BUF_INIT(maximum)                                               \
	{                                                                      \
		.max = (maximum), .secret = true                               \
	}

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
/* Empties it, keeps the memory. */
void buf_reset(struct buf *b);
/* The same, of one that held a secret: its memory is overwritten. */
void buf_wipe(struct buf *b);
/* 0, or -ENOMEM / -EFBIG with a sentence that names what. */
int buf_check(const struct buf *b, const char *what) MUST_USE;
/* Room for n more bytes at the end, not yet counted in len; NULL on failure. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_zero(struct buf *b, size_t n);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* NUL-terminates without counting the NUL; "" when empty or failed. */
const char *buf_cstr(struct buf *b);
/* Overwrites at an offset already written. */
void buf_set_u32(struct buf *b, size_t off, uint32_t v);

static inline void drop_buf(struct buf *b)
{
	buf_release(b);
}
