// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is the start of a disk of 64 MiB, or, after a 'T', its end: its partition
 * table, and what a volume of these bytes holds. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "backend/guest/content.h"
#include "backend/guest/part.h"

#define SIZE (UINT64_C(64) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fake {
	struct source base;
	const uint8_t *p;
	uint64_t off, n;
};

static int fake_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct fake *f = container_of(s, struct fake, base);

	memset(buf, 0, len);
	for (size_t i = 0; i < len; i++)
		if (off + i >= f->off && off + i - f->off < f->n)
			((uint8_t *)buf)[i] = f->p[off + i - f->off];
	return 0;
}

static void fake_close(struct source *s)
{
}

static const struct source_ops fake_ops = {
	.name = "fake",
	.read = fake_read,
	.close = fake_close,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(part_table) struct part_table t = { 0 };
	struct fake f = { .p = data, .n = size };
	struct content c;
	int r;

	if (size && data[0] == 'T') {
		f.p++;
		f.n = size - 1;
		f.off = SIZE - f.n;
	}
	source_init(&f.base, &fake_ops, SIZE);
	r = part_read(&f.base, &t);
	assert(r == 0 || r == -EPROTO);
	for (size_t i = 0; i < t.count; i++) {
		assert(t.parts[i].len && t.parts[i].off < SIZE);
		assert(t.parts[i].len <= SIZE - t.parts[i].off);
		assert(i == 0 || t.parts[i].number >= t.parts[i - 1].number);
	}
	assert(content_probe(&f.base, &c) == 0);
	return 0;
}
