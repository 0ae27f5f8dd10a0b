// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/source/source.h"

#include <errno.h>
#include <inttypes.h>

#include "backend/base/err.h"

uint64_t source_size(const struct source *s)
{
	return s->size;
}

int source_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	if (off > s->size || len > s->size - off)
		return fail(-EINVAL,
			    "%s: %zu bytes at %" PRIu64
			    " pass the end, which is at %" PRIu64,
			    s->ops->name, len, off, s->size);
	if (len == 0)
		return 0;
	return s->ops->read(s, buf, len, off);
}

int source_extent(struct source *s, uint64_t off, uint64_t max,
		  struct extent *out)
{
	struct extent e;
	int r;

	if (off >= s->size || max == 0)
		return fail(-EINVAL,
			    "%s: no extent of at most %" PRIu64
			    " bytes at %" PRIu64 ", the end is at %" PRIu64,
			    s->ops->name, max, off, s->size);
	max = min_u64(max, s->size - off);
	e = (struct extent){ .length = max };
	if (s->ops->extent) {
		r = s->ops->extent(s, off, max, &e);
		if (r < 0)
			return r;
		/* Callers loop over extents: one of nothing would never end.
		 * "Data" is never a wrong answer. */
		if (e.length == 0)
			e = (struct extent){ .length = max };
		e.length = min_u64(e.length, max);
	}
	*out = e;
	return 0;
}

void source_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	if (!s->ops->prefetch || len == 0 || off >= s->size)
		return;
	s->ops->prefetch(s, off, min_u64(len, s->size - off));
}

void source_close(struct source *s)
{
	if (s)
		s->ops->close(s);
}
