// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The range is cut into pieces of 1 MiB, or one long hole. Workers read a
 * piece, which verifies it, and write it at its place; this thread hands pieces
 * out and counts what is done in order.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/pool.h"
#include "tools/common/interrupt.h"
#include "tools/vaultctl/restore.h"

/* A hole that must be zeroed is done in parts, so that one can see it go on. */
#define HOLE_PIECE (UINT64_C(256) << 20)

struct piece {
	uint64_t off, len;
	bool hole;
	uint64_t written;
	uint8_t *buf; /* RESTORE_PIECE */
};

struct copying {
	struct copy *c;
	struct piece pieces[RESTORE_DEPTH];
	uint64_t next; /* where the next piece begins */
	size_t pushed;
};

unsigned restore_workers(void)
{
	unsigned n = pool_default_threads();

	/* Two at least: one waits for the store, one works. */
	return n < 2 ? 2 : n > RESTORE_DEPTH ? RESTORE_DEPTH : n;
}

int write_at(int fd, const char *path, const void *p, size_t len, uint64_t off)
{
	const uint8_t *b = p;

	while (len) {
		ssize_t n = pwrite(fd, b, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		/* Of no room the caller tells where, and what to do. */
		if (n < 0 && errno == ENOSPC)
			return fail_errno(errno, "writing at %" PRIu64, off);
		if (n <= 0)
			return fail_errno(n ? errno : EIO,
					  "%s: writing at %" PRIu64, path, off);
		b += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int write_zeros(const struct copy *c, uint64_t off, uint64_t len)
{
	DROP(mem) uint8_t *zeros = calloc(1, RESTORE_PIECE);
	int r = zeros ? 0 : fail(-ENOMEM, "out of memory");

	while (len && r == 0) {
		size_t n = min_u64(len, RESTORE_PIECE);

		r = write_at(c->fd, c->path, zeros, n, off);
		off += n;
		len -= n;
	}
	return r;
}

/* A device that can forget a range and promise zeros is asked to; one that can
 * write them by itself too. */
static int zero_range(const struct copy *c, uint64_t off, uint64_t len)
{
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (fallocate(c->fd, modes[i], (off_t)off, (off_t)len) == 0)
			return 0;
	return write_zeros(c, off, len);
}

static int put_data(const struct copy *c, struct piece *p, uint64_t off,
		    size_t len)
{
	int r = source_read(c->src, p->buf, len, off);

	if (r == 0)
		r = write_at(c->fd, c->path, p->buf, len, off);
	/* A hint: the medium works while we do, not only at the end. */
	if (r == 0)
		(void)sync_file_range(c->fd, (off_t)off, (off_t)len,
				      SYNC_FILE_RANGE_WRITE);
	if (r == 0)
		p->written += len;
	return r;
}

static int run_piece(void *ctx, void *item)
{
	const struct copy *c = ctx;
	struct piece *p = item;
	uint64_t off = p->off, end = p->off + p->len;
	struct extent e;
	int r = 0;

	if (p->hole)
		return c->zero_holes ? zero_range(c, off, p->len) : 0;
	for (; off < end && r == 0; off += e.length) {
		r = source_extent(c->src, off, end - off, &e);
		if (r < 0)
			return r;
		if (!e.hole)
			r = put_data(c, p, off, (size_t)e.length);
		else if (c->zero_holes)
			r = zero_range(c, off, e.length);
	}
	return r;
}

/* A hole over the whole of a piece may be much longer: that is asked once. */
static int cut(struct copying *g, struct piece *p)
{
	const struct copy *c = g->c;
	uint64_t left = c->end - g->next;
	struct extent e;
	int r;

	p->off = g->next;
	p->written = 0;
	p->len = min_u64(left, RESTORE_PIECE - g->next % RESTORE_PIECE);
	r = source_extent(c->src, p->off, p->len, &e);
	if (r < 0)
		return r;
	p->hole = e.hole && e.length == p->len;
	if (p->hole && left > p->len) {
		r = source_extent(c->src, p->off, min_u64(left, HOLE_PIECE),
				  &e);
		if (r < 0)
			return r;
		if (e.hole)
			p->len = e.length;
	}
	g->next += p->len;
	return 0;
}

static int fill(struct copying *g, struct ordered *q)
{
	int r;

	while (g->next < g->c->end && ordered_room(q)) {
		struct piece *p = &g->pieces[g->pushed % RESTORE_DEPTH];

		r = cut(g, p);
		if (r < 0)
			return r;
		g->pushed++;
		ordered_push(q, p);
	}
	return 0;
}

static int finished(struct copy *c, const struct piece *p)
{
	uint64_t done = p->off + p->len;

	c->written += p->written;
	progress_update(c->o->progress, c->o->before + done, c->o->total);
	return c->reached ? c->reached(c->ctx, done) : 0;
}

static int work(struct copying *g, struct ordered *q)
{
	void *item;
	int r;

	for (;;) {
		r = interrupt_check();
		if (r == 0)
			r = fill(g, q);
		if (r < 0)
			return r;
		r = ordered_pop(q, &item);
		if (!item)
			return 0;
		if (r == 0)
			r = finished(g->c, item);
		if (r < 0)
			return r;
	}
}

int restore_copy(struct copy *c)
{
	struct copying g = { .c = c, .next = c->off };
	DROP(mem) uint8_t *memory = NULL;
	DROP(pool) struct pool *pool = NULL;
	DROP(ordered) struct ordered *q = NULL;
	int r;

	memory = malloc((size_t)RESTORE_DEPTH * RESTORE_PIECE);
	if (!memory)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < RESTORE_DEPTH; i++)
		g.pieces[i].buf = memory + i * RESTORE_PIECE;
	r = pool_new(restore_workers(), &pool);
	if (r == 0)
		r = ordered_new(pool, RESTORE_DEPTH, run_piece, c, &q);
	return r < 0 ? r : work(&g, q);
}
