// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"

#define FIRST_CAP 64

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf)BUF_INIT(max);
}

void buf_release(struct buf *b)
{
	if (!b)
		return;
	if (b->secret)
		buf_wipe(b);
	free(b->data);
	*b = (struct buf){ .max = b->max, .secret = b->secret };
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	b->no_memory = false;
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_reset(b);
}

int buf_check(const struct buf *b, const char *what)
{
	if (!b->failed)
		return 0;
	if (b->no_memory)
		return fail(-ENOMEM, "%s: out of memory", what);
	return fail(-EFBIG, "%s: larger than its maximum of %zu bytes", what,
		    b->max);
}

/* realloc() may move what there is, and leave it where it was. */
static uint8_t *grow(struct buf *b, size_t cap)
{
	uint8_t *data;

	if (!b->secret)
		return realloc(b->data, cap);
	data = malloc(cap);
	if (data && b->data) {
		memcpy(data, b->data, b->len);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	return data;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t need, cap;
	uint8_t *data;

	if (b->failed)
		return NULL;
	/* No object is larger than PTRDIFF_MAX, whatever the maximum says. */
	if (n > b->max - b->len || b->len + n >= PTRDIFF_MAX) {
		b->failed = true;
		return NULL;
	}
	/* One more than is asked for, so that buf_cstr() always has its NUL. */
	need = b->len + n + 1;
	if (need <= b->cap)
		return b->data + b->len;
	cap = b->cap ? b->cap : FIRST_CAP;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (b->max < SIZE_MAX && cap > b->max + 1)
		cap = b->max + 1;
	data = grow(b, cap);
	if (!data) {
		b->failed = true;
		b->no_memory = true;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return data + b->len;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	uint8_t *at;

	if (n == 0)
		return;
	at = buf_reserve(b, n);
	if (!at)
		return;
	memcpy(at, p, n);
	b->len += n;
}

void buf_zero(struct buf *b, size_t n)
{
	uint8_t *at;

	if (n == 0)
		return;
	at = buf_reserve(b, n);
	if (!at)
		return;
	memset(at, 0, n);
	b->len += n;
}

/* The low n bytes of v, least first. */
static void put_le(uint8_t *at, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static void add_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t *at = buf_reserve(b, n);

	if (!at)
		return;
	put_le(at, v, n);
	b->len += n;
}

void buf_u8(struct buf *b, uint8_t v)
{
	add_le(b, v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
	add_le(b, v, 2);
}

void buf_u32(struct buf *b, uint32_t v)
{
	add_le(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
	add_le(b, v, 8);
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	uint8_t *at;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		b->no_memory = true;
		return;
	}
	at = buf_reserve(b, (size_t)n);
	if (!at)
		return;
	/* The reserve holds one more byte, for the NUL. */
	va_start(ap, fmt);
	vsnprintf((char *)at, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
	if (b->failed || b->len == 0)
		return "";
	b->data[b->len] = '\0';
	return (const char *)b->data;
}

void buf_set_u32(struct buf *b, size_t off, uint32_t v)
{
	/* After a failure the offset may never have been written. */
	if (b->failed)
		return;
	assert(off <= b->len && b->len - off >= 4);
	put_le(b->data + off, v, 4);
}
