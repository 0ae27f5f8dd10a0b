// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/source_piece.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/err.h"

struct piece {
	struct source base;
	const uint8_t *p;
	uint64_t off, end;
};

static int piece_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct piece *x = container_of(s, struct piece, base);
	uint64_t from = max_u64(off, x->off), to = min_u64(off + len, x->end);

	memset(buf, 0, len);
	if (from < to)
		memcpy((uint8_t *)buf + (from - off), x->p + (from - x->off),
		       to - from);
	return 0;
}

static void piece_close(struct source *s)
{
	free(container_of(s, struct piece, base));
}

static const struct source_ops piece_ops = {
	.name = "piece",
	.read = piece_read,
	.close = piece_close,
};

int source_open_piece(const void *data, size_t n, uint64_t off, uint64_t size,
		      struct source **ret)
{
	struct piece *x = calloc(1, sizeof(*x));

	if (!x)
		return fail(-ENOMEM, "out of memory");
	source_init(&x->base, &piece_ops, size);
	x->p = data;
	x->off = off;
	x->end = off + n;
	*ret = &x->base;
	return 0;
}
