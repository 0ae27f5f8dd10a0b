// SPDX-License-Identifier: GPL-3.0-or-later
/* A range of another source: a partition, a disk without its footer. */
#include "backend/source/source.h"

#include <errno.h>
#include <inttypes.h>

#include "backend/base/err.h"

struct slice {
	struct source base;
	struct source *inner;
	uint64_t start; /* start + base.size <= size of inner */
};

static const struct source_ops slice_ops;

static int slice_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct slice *sl = container_of(s, struct slice, base);

	return source_read(sl->inner, buf, len, sl->start + off);
}

static int slice_extent(struct source *s, uint64_t off, uint64_t max,
			struct extent *out)
{
	struct slice *sl = container_of(s, struct slice, base);

	return source_extent(sl->inner, sl->start + off, max, out);
}

static void slice_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct slice *sl = container_of(s, struct slice, base);

	source_prefetch(sl->inner, sl->start + off, len);
}

static void slice_close(struct source *s)
{
	struct slice *sl = container_of(s, struct slice, base);

	source_close(sl->inner);
	free(sl);
}

int source_open_slice(struct source *inner, uint64_t off, uint64_t len,
		      struct source **ret)
{
	DROP(source) struct source *owned = inner;
	uint64_t size = source_size(inner);
	struct slice *sl;

	if (off > size || len > size - off)
		return fail(-EINVAL,
			    "slice: %" PRIu64 " bytes at %" PRIu64
			    " pass the end, which is at %" PRIu64,
			    len, off, size);
	sl = calloc(1, sizeof(*sl));
	if (!sl)
		return fail(-ENOMEM, "out of memory");
	source_init(&sl->base, &slice_ops, len);
	sl->inner = take(owned);
	sl->start = off;
	*ret = &sl->base;
	return 0;
}

static const struct source_ops slice_ops = {
	.name = "slice",
	.read = slice_read,
	.extent = slice_extent,
	.prefetch = slice_prefetch,
	.close = slice_close,
};
