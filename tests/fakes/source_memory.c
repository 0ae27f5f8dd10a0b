// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/source_memory.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

struct memory {
	struct source base;
	uint8_t *data;
	struct memory_hole *holes;
	size_t nholes;
};

static const struct source_ops memory_ops, plain_ops;

static int memory_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct memory *m = container_of(s, struct memory, base);

	memcpy(buf, m->data + off, len);
	return 0;
}

static int memory_extent(struct source *s, uint64_t off, uint64_t max,
			 struct extent *out)
{
	struct memory *m = container_of(s, struct memory, base);

	*out = (struct extent){ .length = max };
	for (size_t i = 0; i < m->nholes; i++) {
		const struct memory_hole *h = &m->holes[i];

		if (off < h->off) {
			out->length = h->off - off;
			return 0;
		}
		if (off - h->off < h->len) {
			out->length = h->len - (off - h->off);
			out->hole = true;
			return 0;
		}
	}
	return 0;
}

static void memory_close(struct source *s)
{
	struct memory *m = container_of(s, struct memory, base);

	free(m->data);
	free(m->holes);
	free(m);
}

int source_open_memory(const void *data, size_t size,
		       const struct memory_hole *holes, size_t nholes,
		       struct source **ret)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(-ENOMEM, "out of memory");
	/* malloc, and of exactly this size: a sanitizer sees what goes past. */
	m->data = malloc(size);
	m->holes = calloc(nholes, sizeof(*holes));
	if ((size && !m->data) || (nholes && !m->holes)) {
		memory_close(&m->base);
		return fail(-ENOMEM, "out of memory");
	}
	if (data && size)
		memcpy(m->data, data, size);
	else if (size)
		memset(m->data, 0, size);
	for (size_t i = 0; i < nholes; i++) {
		assert(holes[i].off <= size &&
		       holes[i].len <= size - holes[i].off);
		assert(i == 0 ||
		       holes[i - 1].off + holes[i - 1].len <= holes[i].off);
		m->holes[i] = holes[i];
		memset(m->data + holes[i].off, 0, holes[i].len);
	}
	m->nholes = nholes;
	source_init(&m->base, nholes ? &memory_ops : &plain_ops, size);
	*ret = &m->base;
	return 0;
}

static const struct source_ops memory_ops = {
	.name = "memory",
	.read = memory_read,
	.extent = memory_extent,
	.close = memory_close,
};

static const struct source_ops plain_ops = {
	.name = "memory",
	.read = memory_read,
	.close = memory_close,
};
