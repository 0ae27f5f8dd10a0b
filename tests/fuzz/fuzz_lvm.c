// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is the start of a physical volume of 64 MiB, as it is; or, after a 'T', a
 * text of metadata, of which a physical volume is made with right checksums, whose
 * UUID is 32 times 'a'. What is mapped can be read, all of it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "backend/guest/lvm.h"
#include "tests/fakes/source_piece.h"

#define SIZE (UINT64_C(64) << 20)
#define HEAD ((size_t)1 << 20)
#define AREA 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t crc(const uint8_t *p, size_t n)
{
	uint32_t c = 0xf597a6cf;

	while (n--) {
		c ^= *p++;
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
	}
	return c;
}

static void put(uint8_t *p, uint64_t v, int n)
{
	for (int i = 0; i < n; i++, v >>= 8)
		p[i] = (uint8_t)v;
}

static void make_pv(uint8_t *p, const uint8_t *text, size_t len)
{
	uint8_t *label = p + 512, *area = p + AREA;

	memset(p, 0, HEAD);
	memcpy(label, "LABELONE", 8);
	put(label + 8, 1, 8);
	put(label + 20, 32, 4);
	memcpy(label + 24, "LVM2 001", 8);
	memset(label + 32, 'a', 32);
	put(label + 72, HEAD, 8);
	put(label + 104, AREA, 8);
	put(label + 16, crc(label + 20, 492), 4);
	memcpy(area + 4, " LVM2 x[5A%r0N*>", 16);
	put(area + 20, 1, 4);
	put(area + 24, AREA, 8);
	put(area + 32, HEAD - AREA, 8);
	put(area + 40, 512, 8);
	put(area + 48, len, 8);
	put(area + 56, crc(text, len), 4);
	put(area, crc(area + 4, 508), 4);
	memcpy(area + 512, text, len);
}

static void check_lv(const struct lvm_lv *lv, struct shared *pv)
{
	DROP(source) struct source *s = NULL;
	uint8_t buf[5000];
	int r = lvm_open_lv(lv, &pv, &s);

	assert(r == (*lv->refused ? -ENOTSUP : 0));
	if (r)
		return;
	for (size_t i = 0; i < lv->nsegments; i++) {
		uint64_t end = lv->segments[i].off + lv->segments[i].len;
		size_t n = min_u64(sizeof(buf), end);

		assert(end <= source_size(s));
		assert(source_read(s, buf, n, end - n) == 0);
		n = min_u64(sizeof(buf), source_size(s));
		assert(source_read(s, buf, n, 0) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t head[HEAD];
	DROP(source) struct source *base = NULL;
	DROP(shared) struct shared *pv = NULL;
	DROP(lvm) struct lvm *l = NULL;
	struct source *s;

	if (size && data[0] == 'T' && size < HEAD - AREA - 512) {
		make_pv(head, data + 1, size - 1);
		data = head;
		size = HEAD;
	}
	assert(source_open_piece(data, size, 0, SIZE, &base) == 0);
	assert(shared_new(take(base), &pv) == 0);
	s = shared_source(pv);
	assert(lvm_read(&s, 1, &l) == 0);
	for (size_t i = 0; i < l->count; i++)
		check_lv(&l->lvs[i], pv);
	return 0;
}
