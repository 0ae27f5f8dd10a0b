// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/rd.h"

#include <string.h>

struct rd rd_over(const void *p, size_t len)
{
	/* Never NULL, so that rd_ptr(r, 0) at an empty input is no failure. */
	return (struct rd){ .p = p ? p : "",
			    .left = p ? len : 0,
			    .over = !p && len };
}

/* After an overrun nothing is left, so that what follows yields zeros too. */
static void overrun(struct rd *r)
{
	r->p += r->left;
	r->left = 0;
	r->over = true;
}

const uint8_t *rd_ptr(struct rd *r, size_t n)
{
	const uint8_t *at = r->p;

	if (r->over || n > r->left) {
		overrun(r);
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return at;
}

static uint64_t rd_le(struct rd *r, size_t n)
{
	const uint8_t *at = rd_ptr(r, n);
	uint64_t v = 0;

	if (!at)
		return 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

uint8_t rd_u8(struct rd *r)
{
	return (uint8_t)rd_le(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
	return (uint16_t)rd_le(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
	return (uint32_t)rd_le(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
	return rd_le(r, 8);
}

void rd_bytes(struct rd *r, void *out, size_t n)
{
	size_t have = n < r->left ? n : r->left;

	if (n == 0)
		return;
	memcpy(out, r->p, have);
	memset((uint8_t *)out + have, 0, n - have);
	rd_skip(r, n);
}

void rd_skip(struct rd *r, size_t n)
{
	(void)rd_ptr(r, n);
}

bool rd_ok(const struct rd *r)
{
	return !r->over;
}

bool rd_done(const struct rd *r)
{
	return !r->over && r->left == 0;
}
