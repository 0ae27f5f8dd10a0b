// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which chunks of an image are looked at, and which of their frames are read.
 *
 * Without extents all are, but for chunks that are holes of the image and zeros
 * of the base. With extents: the frames they touch; those whose length or
 * existence changed with the size of the disk; and some others that are read
 * whole, to be compared with the base. The chunks that are left out are as in
 * the base (build_keep()).
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define NONE UINT64_MAX

static uint64_t all_frames(uint32_t n)
{
	return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static int add_range(struct extents *e, uint64_t off, uint64_t end)
{
	struct extent_range *more;

	if (off >= end)
		return 0;
	more = reallocarray(e->r, e->n + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "no memory for extents");
	more[e->n++] = (struct extent_range){ off, end - off };
	e->r = more;
	return 0;
}

/* What another size changes by itself. */
static int add_resized(struct plan *p)
{
	uint64_t size = p->g.size, old = p->base_g.size, last;
	const uint64_t mask = VF_FRAME_SIZE - 1;
	int r;

	if (size == old)
		return 0;
	/* The base's last frame may have been a short one. */
	r = add_range(&p->changed, old & ~mask, size);
	if (r || size > old)
		return r;
	/* It shrank: so is the new last one, and the last chunk may have
	 * fewer frames, none of which has to be read. */
	r = (size & mask) ? add_range(&p->changed, size & ~mask, size) : 0;
	last = p->g.chunks - 1;
	if (vf_chunk_frames(&p->g, last) != vf_chunk_frames(&p->base_g, last))
		p->touch = last;
	return r;
}

/* To whole frames, so that ranges that share one become one. */
static int frame_grid(struct plan *p)
{
	const uint64_t mask = VF_FRAME_SIZE - 1;

	for (size_t i = 0; i < p->changed.n; i++) {
		struct extent_range *x = &p->changed.r[i];
		uint64_t end = x->off + x->len;

		end = min_u64((end + mask) & ~mask, p->g.size);
		x->off &= ~mask;
		x->len = end - x->off;
	}
	return extents_normalise(&p->changed, p->g.size);
}

static int init_changed(struct plan *p, const struct extents *given,
			double percent)
{
	int r = 0;

	if (given->n) {
		p->changed.r = calloc(given->n, sizeof(*given->r));
		if (!p->changed.r)
			return fail(-ENOMEM, "no memory for extents");
		memcpy(p->changed.r, given->r, given->n * sizeof(*given->r));
		p->changed.n = given->n;
		r = extents_normalise(&p->changed, p->g.size);
	}
	if (!r)
		r = add_resized(p);
	if (!r)
		r = frame_grid(p);
	if (r)
		return r;
	if (percent > 0) {
		double n = (double)p->g.chunks * percent / 100;

		p->strata = n >= (double)p->g.chunks ? p->g.chunks
						     : (uint64_t)n;
		if (p->strata < n && p->strata < p->g.chunks)
			p->strata++;
	}
	return 0;
}

uint64_t plan_total(const struct backup_disk *d, double check_percent)
{
	uint64_t size = source_size(d->image);
	double n = (double)size * check_percent / 100;

	if (!d->changed)
		return size;
	for (size_t i = 0; i < d->changed->n; i++)
		n += (double)d->changed->r[i].len;
	return n < (double)size ? (uint64_t)n : size;
}

int plan_init(struct plan *p, const struct backup_disk *d,
	      const struct vf_geometry *g, struct tree *base,
	      double check_percent)
{
	memset(p, 0, sizeof(*p));
	p->g = *g;
	if (base)
		p->base_g = *tree_geometry(base);
	p->image = d->image;
	p->touch = p->check_at = NONE;
	cursor_init(&p->base, base);
	p->whole = !d->changed;
	if (p->whole)
		return 0;
	return init_changed(p, d->changed, check_percent);
}

void plan_release(struct plan *p)
{
	extents_release(&p->changed);
	cursor_release(&p->base);
	memset(p, 0, sizeof(*p));
}

static int set_item(struct plan *p, struct item *it, uint64_t chunk)
{
	it->chunk = chunk;
	it->frames = vf_chunk_frames(&p->g, chunk);
	it->old_frames = 0;
	if (p->base.t && chunk < p->base_g.chunks)
		it->old_frames = vf_chunk_frames(&p->base_g, chunk);
	it->check = it->all_data = false;
	return cursor_chunk(&p->base, chunk, &it->old);
}

/* --- all of the image --- */

static int look_ahead(struct plan *p, uint64_t off)
{
	struct extent x;
	int r;

	while (off >= p->known_end) {
		r = source_extent(p->image, off, p->g.size - off, &x);
		if (r)
			return r;
		p->known_end = off + x.length;
		p->known_hole = x.hole;
	}
	return 0;
}

static int next_whole(struct plan *p, struct item *it)
{
	for (; p->pos < p->g.chunks; p->pos++) {
		uint64_t off = p->pos << p->g.chunk_log2;
		uint64_t end = min_u64(off + (UINT64_C(1) << p->g.chunk_log2),
				       p->g.size);
		int r = look_ahead(p, off);

		if (r)
			return r;
		if (p->known_hole && p->known_end >= end && !p->base.t) {
			/* Nothing to compare with: the whole hole at once. */
			p->pos =
				p->known_end == p->g.size
					? p->g.chunks - 1
					: (p->known_end >> p->g.chunk_log2) - 1;
			continue;
		}
		r = set_item(p, it, p->pos);
		if (r)
			return r;
		if (p->known_hole && p->known_end >= end &&
		    digest_is_zero(&it->old.id))
			continue;
		it->wanted = all_frames(it->frames);
		it->all_data = !p->known_hole && p->known_end >= end;
		p->pos++;
		return 1;
	}
	return 0;
}

/* --- what is said to have changed --- */

static uint64_t range_end(const struct extent_range *x)
{
	return x->off + x->len;
}

/* The first range that ends after off. */
static size_t find_range(const struct plan *p, uint64_t off)
{
	size_t lo = 0, hi = p->changed.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (range_end(&p->changed.r[mid]) <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The first chunk from c on, before end, that no range touches; or NONE. */
static uint64_t next_unlisted(const struct plan *p, uint64_t c, uint64_t end)
{
	while (c < end) {
		size_t i = find_range(p, c << p->g.chunk_log2);

		if (c == p->touch) {
			c++;
			continue;
		}
		if (i == p->changed.n ||
		    p->changed.r[i].off >> p->g.chunk_log2 > c)
			return c;
		c = ((range_end(&p->changed.r[i]) - 1) >> p->g.chunk_log2) + 1;
	}
	return NONE;
}

/*
 * The disk is cut in as many strata as chunks are to be checked, and one chunk
 * that is not listed is drawn from each: spread over the disk, ascending, and
 * in no memory.
 */
static int draw_check(struct plan *p)
{
	while (p->check_at == NONE && p->stratum < p->strata) {
		/* 128 bits: chunks times strata may pass 64. */
		unsigned __int128 n = p->g.chunks;
		uint64_t from = (uint64_t)(n * p->stratum / p->strata);
		uint64_t end = (uint64_t)(n * (p->stratum + 1) / p->strata);
		uint64_t draw;
		int r = random_bytes(&draw, sizeof(draw));

		if (r)
			return r;
		draw = from + draw % (end - from);
		p->stratum++;
		p->check_at = next_unlisted(p, draw, end);
		if (p->check_at == NONE)
			p->check_at = next_unlisted(p, from, draw);
	}
	return 0;
}

/* The frames of a chunk that the ranges from p->at on touch. */
static uint64_t wanted_frames(struct plan *p, const struct item *it)
{
	uint64_t from = it->chunk << p->g.chunk_log2;
	uint64_t end = from + (UINT64_C(1) << p->g.chunk_log2);
	uint64_t mask = 0;

	for (size_t i = p->at; i < p->changed.n && p->changed.r[i].off < end;
	     i++) {
		const struct extent_range *x = &p->changed.r[i];
		uint64_t a = max_u64(x->off, from),
			 b = min_u64(range_end(x), end);

		if (a >= b)
			continue;
		for (uint64_t f = (a - from) >> VF_FRAME_LOG2;
		     f <= (b - 1 - from) >> VF_FRAME_LOG2; f++)
			mask |= UINT64_C(1) << f;
	}
	return mask & all_frames(it->frames);
}

static int next_changed(struct plan *p, struct item *it)
{
	uint64_t chunk = NONE, listed;
	int r = draw_check(p);

	if (r)
		return r;
	p->at = find_range(p, p->pos << p->g.chunk_log2);
	if (p->at < p->changed.n)
		chunk = max_u64(p->changed.r[p->at].off >> p->g.chunk_log2,
				p->pos);
	listed = chunk;
	if (p->touch != NONE)
		listed = min_u64(listed, p->touch);
	chunk = min_u64(listed, p->check_at);
	if (chunk == NONE)
		return 0;
	r = set_item(p, it, chunk);
	if (r)
		return r;
	p->pos = chunk + 1;
	if (chunk == p->check_at) {
		it->check = true;
		it->wanted = all_frames(it->frames);
		p->check_at = NONE;
		return 1;
	}
	if (chunk == p->touch)
		p->touch = NONE;
	it->wanted = wanted_frames(p, it);
	return 1;
}

int plan_next(struct plan *p, struct item *it)
{
	return p->whole ? next_whole(p, it) : next_changed(p, it);
}
