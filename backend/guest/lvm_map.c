// SPDX-License-Identifier: GPL-3.0-or-later
/* The bytes of a logical volume. */
#include <errno.h>
#include <string.h>

#include "backend/guest/lvm.h"

struct mapped {
	struct source base;
	struct lvm_segment *segments;
	size_t nsegments;
	struct lvm_area *areas; /* pv: index into inner */
	struct shared **inner;
	size_t ninner;
};

static const struct source_ops mapped_ops;

static struct mapped *mapped_of(struct source *s)
{
	return container_of(s, struct mapped, base);
}

/* A run of bytes that lie together. */
struct run {
	struct source *inner;
	uint64_t off, len;
};

static const struct lvm_segment *segment_at(const struct mapped *m,
					    uint64_t off)
{
	size_t lo = 0, hi = m->nsegments;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->segments[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &m->segments[lo];
}

/* From off on, up to len bytes. */
static struct run run_at(const struct mapped *m, uint64_t off, uint64_t len)
{
	const struct lvm_segment *s = segment_at(m, off);
	const struct lvm_area *areas = &m->areas[s->first_area];
	uint64_t in = off - s->off, left = s->len - in;
	const struct lvm_area *a = areas;
	uint64_t at = in;

	if (s->nareas > 1) {
		uint64_t stripe = in / s->stripe_size;
		uint64_t rest = in % s->stripe_size;

		a = &areas[stripe % s->nareas];
		at = stripe / s->nareas * s->stripe_size + rest;
		left = s->stripe_size - rest;
	}
	return (struct run){
		.inner = shared_source(m->inner[a->pv]),
		.off = a->off + at,
		.len = min_u64(len, left),
	};
}

static int mapped_read(struct source *src, void *buf, size_t len, uint64_t off)
{
	const struct mapped *m = mapped_of(src);
	uint8_t *p = buf;

	while (len) {
		struct run run = run_at(m, off, len);
		int r = source_read(run.inner, p, run.len, run.off);

		if (r)
			return r;
		p += run.len;
		off += run.len;
		len -= run.len;
	}
	return 0;
}

static int mapped_extent(struct source *src, uint64_t off, uint64_t max,
			 struct extent *out)
{
	struct run run = run_at(mapped_of(src), off, max);

	return source_extent(run.inner, run.off, run.len, out);
}

static void mapped_prefetch(struct source *src, uint64_t off, uint64_t len)
{
	while (len) {
		struct run run = run_at(mapped_of(src), off, len);

		source_prefetch(run.inner, run.off, run.len);
		off += run.len;
		len -= run.len;
	}
}

static void mapped_close(struct source *src)
{
	struct mapped *m = mapped_of(src);

	for (size_t i = 0; i < m->ninner; i++)
		shared_unref(m->inner[i]);
	free(m->inner);
	free(m->segments);
	free(m->areas);
	free(m);
}

static const struct source_ops mapped_ops = {
	.name = "logical volume",
	.read = mapped_read,
	.extent = mapped_extent,
	.prefetch = mapped_prefetch,
	.close = mapped_close,
};

static void *copy(const void *p, size_t n, size_t size)
{
	void *q = reallocarray(NULL, n ? n : 1, size);

	if (q && n)
		memcpy(q, p, n * size);
	return q;
}

/* Each physical volume once; areas then say which of these. */
static void keep_pvs(struct mapped *m, size_t nareas, struct shared *const *pvs)
{
	size_t number[LVM_PVS_MAX];

	memset(number, 0xff, sizeof(number));
	for (size_t i = 0; i < nareas; i++) {
		size_t pv = m->areas[i].pv;

		if (number[pv] == SIZE_MAX) {
			number[pv] = m->ninner;
			m->inner[m->ninner++] = shared_ref(pvs[pv]);
		}
		m->areas[i].pv = number[pv];
	}
}

int lvm_open_lv(const struct lvm_lv *lv, struct shared *const *pvs,
		struct source **ret)
{
	struct mapped *m;

	if (*lv->refused)
		return fail(-ENOTSUP, "%s", lv->refused);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail(-ENOMEM, "out of memory");
	source_init(&m->base, &mapped_ops, lv->size);
	m->nsegments = lv->nsegments;
	m->segments = copy(lv->segments, lv->nsegments, sizeof(*m->segments));
	m->areas = copy(lv->areas, lv->nareas, sizeof(*m->areas));
	m->inner = calloc(LVM_PVS_MAX, sizeof(struct shared *));
	if (!m->segments || !m->areas || !m->inner) {
		mapped_close(&m->base);
		return fail(-ENOMEM, "out of memory");
	}
	keep_pvs(m, lv->nareas, pvs);
	*ret = &m->base;
	return 0;
}
