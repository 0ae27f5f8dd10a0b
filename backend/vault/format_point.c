// SPDX-License-Identifier: GPL-3.0-or-later
/* Point records and labels (FORMAT.md 5). */
#include "backend/vault/format_impl.h"

#include <errno.h>

#include "backend/base/parse.h"

#define POINT_FIXED 384
#define DISK_SIZE 400
#define POINT_CALLER_EXTENTS 2u
#define DISK_CALLER_EXTENTS 1u
#define DISK_WAS_VHD 2u

static void section_put(struct buf *b, const struct vf_section *s)
{
	buf_u32(b, s->offset);
	buf_u32(b, s->length);
	buf_digest(b, &s->digest);
}

static void disk_put(struct buf *b, struct rows *t, const struct vf_disk *d)
{
	uint16_t root = place_is_none(&d->root_place)
				? 0
				: rows_add(t, &d->root_place.gen);
	uint16_t dead = place_is_none(&d->dead_place)
				? 0
				: rows_add(t, &d->dead_place.gen);

	buf_name(b, d->name);
	buf_u8(b, d->chunk_log2);
	buf_u8(b, d->root_level);
	buf_u16(b, (d->caller_extents ? DISK_CALLER_EXTENTS : 0) |
			   (d->was_vhd ? DISK_WAS_VHD : 0));
	buf_u64(b, d->size);
	buf_digest(b, &d->root);
	place_put(b, root, &d->root_place);
	buf_digest(b, &d->dead);
	place_put(b, dead, &d->dead_place);
	buf_u64(b, d->dead_bytes);
	buf_u64(b, d->data_bytes);
	buf_u64(b, d->stored_bytes);
	buf_u64(b, d->read_bytes);
	buf_zero(b, 56);
}

void vf_point_put(struct buf *b, const struct vf_point *p)
{
	struct rows t;
	size_t at = record_begin(b, "VFpr");

	/* The adopted generations are the first rows: each is there once. */
	rows_init(&t);
	for (size_t i = 0; i < p->nadopted; i++)
		rows_add(&t, &p->adopted[i]);
	for (size_t i = 0; i < p->ndisks; i++) {
		if (!place_is_none(&p->disks[i].root_place))
			rows_add(&t, &p->disks[i].root_place.gen);
		if (!place_is_none(&p->disks[i].dead_place))
			rows_add(&t, &p->disks[i].dead_place.gen);
	}
	buf_add(b, p->vault.b, sizeof(p->vault.b));
	buf_gen(b, &p->id);
	buf_gen(b, &p->base);
	buf_u64(b, (uint64_t)p->time_ns);
	buf_u64(b, (uint64_t)p->written_ns);
	buf_u8(b, (uint8_t)p->consistency);
	buf_u8(b, 0); /* tier */
	buf_u16(b, p->caller_extents ? POINT_CALLER_EXTENTS : 0);
	buf_u16(b, (uint16_t)p->ndisks);
	buf_u16(b, (uint16_t)t.n);
	buf_u16(b, (uint16_t)p->nadopted);
	buf_zero(b, 6);
	buf_name(b, p->vm);
	buf_zero(b, 4);
	section_put(b, &p->labels);
	section_put(b, &p->escrow);
	rows_put(b, &t);
	for (size_t i = 0; i < p->ndisks; i++)
		disk_put(b, &t, &p->disks[i]);
	record_end(b, at);
}

static int section_parse(struct rd *r, uint32_t max, struct vf_section *s)
{
	s->offset = rd_u32(r);
	s->length = rd_u32(r);
	rd_digest(r, &s->digest);
	if (s->length > max || s->offset > STORE_OBJECT_MAX ||
	    (!s->length && (s->offset || !digest_is_zero(&s->digest))))
		return fail(-EPROTO, "bad section");
	return 0;
}

static int disk_parse(struct rd *r, const uint8_t *rows, size_t nrows,
		      const struct point_id *own, struct vf_disk *d)
{
	struct vf_geometry g;
	uint16_t flags;
	int e = rd_name(r, "disk name", false, d->name);

	if (e)
		return e;
	d->chunk_log2 = rd_u8(r);
	d->root_level = rd_u8(r);
	flags = rd_u16(r);
	d->size = rd_u64(r);
	rd_digest(r, &d->root);
	e = rd_place(r, rows, nrows, PLACE_POINT, &d->root_place);
	if (e)
		return e;
	rd_digest(r, &d->dead);
	e = rd_place(r, rows, nrows, PLACE_INDEX, &d->dead_place);
	if (e)
		return e;
	d->dead_bytes = rd_u64(r);
	d->data_bytes = rd_u64(r);
	d->stored_bytes = rd_u64(r);
	d->read_bytes = rd_u64(r);
	d->caller_extents = flags & DISK_CALLER_EXTENTS;
	d->was_vhd = flags & DISK_WAS_VHD;
	e = vf_geometry(d->size, d->chunk_log2, &g);
	if (e)
		return blame(e, "disk %s", d->name);
	/* Every point has its roots in its own object. */
	if (!place_is_none(&d->root_place) &&
	    (d->root_place.flags != PLACE_POINT ||
	     !point_id_equal(&d->root_place.gen, own)))
		return fail(-EPROTO, "the root of disk %s is elsewhere",
			    d->name);
	if (!rd_zero(r, 56) ||
	    (flags & ~(DISK_CALLER_EXTENTS | DISK_WAS_VHD)) ||
	    d->root_level != g.root_level ||
	    digest_is_zero(&d->root) != place_is_none(&d->root_place) ||
	    digest_is_zero(&d->dead) != place_is_none(&d->dead_place))
		return fail(-EPROTO, "bad record of disk %s", d->name);
	return 0;
}

static int point_fixed_parse(struct rd *r, struct vf_point *p, size_t *rows)
{
	uint16_t flags;
	uint8_t tier;
	int e;

	rd_bytes(r, p->vault.b, sizeof(p->vault.b));
	rd_gen(r, &p->id);
	rd_gen(r, &p->base);
	p->time_ns = (int64_t)rd_u64(r);
	p->written_ns = (int64_t)rd_u64(r);
	p->consistency = rd_u8(r);
	tier = rd_u8(r);
	flags = rd_u16(r);
	p->caller_extents = flags & POINT_CALLER_EXTENTS;
	p->ndisks = rd_u16(r);
	*rows = rd_u16(r);
	p->nadopted = rd_u16(r);
	if (!rd_zero(r, 6) || tier || (flags & ~POINT_CALLER_EXTENTS) ||
	    p->consistency < CONSISTENCY_CRASH ||
	    p->consistency > CONSISTENCY_APPLICATION || !p->ndisks ||
	    p->ndisks > CATALOG_DISKS_MAX || p->nadopted > *rows)
		return fail(-EPROTO, "bad point record");
	e = rd_name(r, "VM name", false, p->vm);
	if (!e && !rd_zero(r, 4))
		e = fail(-EPROTO, "bad point record");
	if (!e)
		e = section_parse(r, VF_LABELS_MAX, &p->labels);
	if (!e)
		e = section_parse(r, VF_ESCROW_MAX, &p->escrow);
	return e;
}

static int point_parse(const void *bytes, size_t n, struct vf_point *p)
{
	const uint8_t *rows;
	struct rd r;
	size_t nrows;
	bool caller_extents = false;
	int e = record_open(bytes, n, "VFpr", &r);

	if (!e)
		e = point_fixed_parse(&r, p, &nrows);
	if (!e)
		e = rd_rows(&r, nrows, &rows);
	if (e)
		return e;
	if (r.left != DISK_SIZE * p->ndisks)
		return fail(-EPROTO, "its parts do not fill it");
	p->adopted = calloc(p->nadopted + 1, sizeof(*p->adopted));
	p->disks = calloc(p->ndisks, sizeof(*p->disks));
	if (!p->adopted || !p->disks)
		return fail(-ENOMEM, "no memory for a point record");
	for (size_t i = 0; i < p->nadopted; i++) {
		struct rd g = rd_over(rows + 16 * i, 16);

		rd_gen(&g, &p->adopted[i]);
	}
	for (size_t i = 0; i < p->ndisks; i++) {
		e = disk_parse(&r, rows, nrows, &p->id, &p->disks[i]);
		if (e)
			return e;
		caller_extents |= p->disks[i].caller_extents;
		if (i && strcmp(p->disks[i - 1].name, p->disks[i].name) >= 0)
			return fail(-EPROTO, "disks are not in order");
	}
	if (caller_extents != p->caller_extents || !rd_done(&r))
		return fail(-EPROTO, "bad point record");
	return 0;
}

int vf_point_parse(const void *p, size_t n, struct vf_point *out)
{
	struct vf_point pt = { 0 };
	int r = point_parse(p, n, &pt);

	if (r) {
		vf_point_release(&pt);
		return r;
	}
	*out = pt;
	return 0;
}

void vf_point_release(struct vf_point *p)
{
	free(p->adopted);
	free(p->disks);
	memset(p, 0, sizeof(*p));
}

/* --- labels --- */

void vf_labels_put(struct buf *b, const struct label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = strlen(labels[i].key), v = strlen(labels[i].value);

		if (k > UINT16_MAX || v > UINT16_MAX) {
			b->failed = true;
			return;
		}
		buf_u16(b, (uint16_t)k);
		buf_add(b, labels[i].key, k);
		buf_u16(b, (uint16_t)v);
		buf_add(b, labels[i].value, v);
	}
}

void labels_free(struct label *labels, size_t n)
{
	for (size_t i = 0; labels && i < n; i++) {
		free(labels[i].key);
		free(labels[i].value);
	}
	free(labels);
}

static int label_text(struct rd *r, char **ret)
{
	size_t n = rd_u16(r);
	const uint8_t *p = rd_ptr(r, n);

	if (!rd_ok(r) || (n && memchr(p, '\0', n)) ||
	    (n && !utf8_valid((const char *)p, n)))
		return fail(-EPROTO, "bad label");
	*ret = strndup(n ? (const char *)p : "", n);
	return *ret ? 0 : fail(-ENOMEM, "no memory for labels");
}

int vf_labels_parse(const void *p, size_t n, struct label **labels,
		    size_t *count)
{
	struct rd r = rd_over(p, n);
	struct label *l = NULL;
	size_t have = 0;

	while (r.left) {
		struct label *more = realloc(l, (have + 1) * sizeof(*l));
		int e = more ? 0 : fail(-ENOMEM, "no memory for labels");

		if (more) {
			l = more;
			l[have] = (struct label){ 0 };
			e = label_text(&r, &l[have].key);
			if (!e && !*l[have].key)
				e = fail(-EPROTO, "a label without a key");
			if (!e)
				e = label_text(&r, &l[have].value);
			have++;
		}
		if (!e && have > 1 &&
		    strcmp(l[have - 2].key, l[have - 1].key) >= 0)
			e = fail(-EPROTO, "labels are not in order");
		if (e) {
			labels_free(l, have);
			return e;
		}
	}
	*labels = l;
	*count = have;
	return 0;
}
