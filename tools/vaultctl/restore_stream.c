// SPDX-License-Identifier: GPL-3.0-or-later
/* `--to -`: the image on standard output, read ahead by workers, written in
 * order. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/pool.h"
#include "tools/common/interrupt.h"
#include "tools/vaultctl/restore.h"

struct chunk {
	uint64_t off;
	size_t len;
	uint8_t *buf;
};

struct stream {
	struct source *src;
	struct chunk chunks[RESTORE_DEPTH];
	uint64_t next;
	size_t pushed;
};

static int run_chunk(void *ctx, void *item)
{
	struct stream *s = ctx;
	struct chunk *c = item;

	return source_read(s->src, c->buf, c->len, c->off);
}

static int write_out(const struct chunk *c)
{
	const uint8_t *p = c->buf;
	size_t len = c->len;

	while (len) {
		ssize_t n = write(STDOUT_FILENO, p, len);
		int r = interrupt_check();

		if (r < 0)
			return r;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(errno, "standard output");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void fill(struct stream *s, struct ordered *q)
{
	uint64_t size = source_size(s->src);

	while (s->next < size && ordered_room(q)) {
		struct chunk *c = &s->chunks[s->pushed++ % RESTORE_DEPTH];

		c->off = s->next;
		c->len = (size_t)min_u64(RESTORE_PIECE, size - s->next);
		s->next += c->len;
		ordered_push(q, c);
	}
}

static int work(struct stream *s, struct ordered *q, struct restore_disk *d,
		const struct restore_options *o)
{
	struct chunk *c;
	void *item;
	int r;

	for (;;) {
		fill(s, q);
		r = ordered_pop(q, &item);
		c = item;
		if (!c)
			return 0;
		if (r == 0)
			r = interrupt_check();
		if (r == 0)
			r = write_out(c);
		if (r < 0)
			return r;
		d->written += c->len;
		progress_update(o->progress, c->off + c->len, o->total);
	}
}

int restore_to_stream(struct restore_disk *d, const struct restore_options *o)
{
	struct stream s = { .src = d->image };
	DROP(mem) uint8_t *memory = NULL;
	DROP(pool) struct pool *pool = NULL;
	DROP(ordered) struct ordered *q = NULL;
	int r;

	memory = malloc((size_t)RESTORE_DEPTH * RESTORE_PIECE);
	if (!memory)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < RESTORE_DEPTH; i++)
		s.chunks[i].buf = memory + i * RESTORE_PIECE;
	r = pool_new(restore_workers(), &pool);
	if (r == 0)
		r = ordered_new(pool, RESTORE_DEPTH, run_chunk, &s, &q);
	return r < 0 ? r : work(&s, q, d, o);
}
