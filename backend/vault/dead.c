// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Dead pages (FORMAT.md 6.3). Places come in disk order, which is mostly the
 * order in which they were written, so that sorting what fits in memory merges
 * nearly all neighbours.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <string.h>

#define CAPACITY (4 * VF_DEAD_PLACES)

void dead_init(struct dead *d, struct out *out)
{
	memset(d, 0, sizeof(*d));
	d->out = out;
}

void dead_release(struct dead *d)
{
	free(d->p);
	memset(d, 0, sizeof(*d));
}

static int by_place(const void *x, const void *y)
{
	const struct place *a = x, *b = y;

	if (a->gen.seq != b->gen.seq)
		return a->gen.seq < b->gen.seq ? -1 : 1;
	if (a->gen.nonce != b->gen.nonce)
		return a->gen.nonce < b->gen.nonce ? -1 : 1;
	if (a->flags != b->flags)
		return a->flags < b->flags ? -1 : 1;
	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return 0;
}

static void merge(struct dead *d)
{
	size_t n = 0;

	qsort(d->p, d->n, sizeof(*d->p), by_place);
	for (size_t i = 0; i < d->n; i++) {
		struct place *last = n ? &d->p[n - 1] : NULL;
		const struct place *p = &d->p[i];

		if (last && point_id_equal(&last->gen, &p->gen) &&
		    last->flags == p->flags && last->object == p->object &&
		    last->offset + last->length == p->offset)
			last->length += p->length;
		else
			d->p[n++] = *p;
	}
	d->n = n;
}

/* Writes the first n places as a page. */
static int write_page(struct dead *d, size_t n)
{
	struct vf_dead page = {
		.prev = d->last,
		.prev_place = d->last_place,
		.places = d->p,
		.count = n,
	};
	int r = out_dead(d->out, &page, &d->last_place, &d->last);

	if (r)
		return r;
	memmove(d->p, d->p + n, (d->n - n) * sizeof(*d->p));
	d->n -= n;
	return 0;
}

int dead_add(struct dead *d, const struct place *p)
{
	int r = 0;

	if (place_is_none(p))
		return 0;
	if (!d->p) {
		d->p = malloc(CAPACITY * sizeof(*d->p));
		if (!d->p)
			return fail(-ENOMEM, "no memory for dead places");
	}
	if (d->n == CAPACITY) {
		merge(d);
		/* Half is kept, to be merged with what comes. */
		while (d->n > CAPACITY / 2 && !r)
			r = write_page(d, VF_DEAD_PLACES);
		if (r)
			return r;
	}
	d->p[d->n] = *p;
	d->p[d->n++].flags &= PLACE_INDEX;
	d->bytes += p->length;
	return 0;
}

int dead_finish(struct dead *d)
{
	int r = 0;

	if (d->n)
		merge(d);
	while (d->n && !r)
		r = write_page(d,
			       d->n < VF_DEAD_PLACES ? d->n : VF_DEAD_PLACES);
	return r;
}
