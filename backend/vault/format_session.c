// SPDX-License-Identifier: GPL-3.0-or-later
/* Sessions and their ends (FORMAT.md 8), lists of claims and moves (9). */
#include "backend/vault/format_impl.h"

#include <errno.h>

#define SESSION_FIXED 560

void vf_session_put(struct buf *b, const struct vf_session *s)
{
	size_t at = record_begin(b, "VFws");

	buf_add(b, s->vault.b, sizeof(s->vault.b));
	buf_gen(b, &s->gen);
	buf_gen(b, &s->base);
	buf_u64(b, (uint64_t)s->time_ns);
	buf_add(b, s->boot_id, sizeof(s->boot_id));
	buf_u64(b, s->pid);
	buf_u64(b, s->start_ticks);
	buf_u64(b, s->pidns);
	buf_u16(b, s->kind);
	buf_u16(b, (uint16_t)s->nadopted);
	buf_u32(b, 0);
	buf_add(b, s->writer.b, sizeof(s->writer.b));
	buf_name(b, s->host);
	buf_name(b, s->vm);
	for (size_t i = 0; i < s->nadopted; i++)
		buf_gen(b, &s->adopted[i]);
	record_end(b, at);
}

static int session_parse(const void *p, size_t n, struct vf_session *s)
{
	struct rd r;
	int e = record_open(p, n, "VFws", &r);

	if (e)
		return e;
	rd_bytes(&r, s->vault.b, sizeof(s->vault.b));
	rd_gen(&r, &s->gen);
	rd_gen(&r, &s->base);
	s->time_ns = (int64_t)rd_u64(&r);
	rd_bytes(&r, s->boot_id, sizeof(s->boot_id));
	s->pid = rd_u64(&r);
	s->start_ticks = rd_u64(&r);
	s->pidns = rd_u64(&r);
	s->kind = rd_u16(&r);
	s->nadopted = rd_u16(&r);
	if (rd_u32(&r) != 0 || s->kind < VF_BACKUP || s->kind > VF_CONFIG)
		return fail(-EPROTO, "bad session record");
	rd_bytes(&r, s->writer.b, sizeof(s->writer.b));
	e = rd_name(&r, "host name", false, s->host);
	if (!e)
		e = rd_name(&r, "VM name", false, s->vm);
	if (e)
		return e;
	if (r.left != 16 * s->nadopted)
		return fail(-EPROTO, "its parts do not fill it");
	s->adopted = calloc(s->nadopted + 1, sizeof(*s->adopted));
	if (!s->adopted)
		return fail(-ENOMEM, "no memory for a session");
	for (size_t i = 0; i < s->nadopted; i++)
		rd_gen(&r, &s->adopted[i]);
	return rd_done(&r) ? 0 : fail(-EPROTO, "bad session record");
}

int vf_session_parse(const void *p, size_t n, struct vf_session *out)
{
	struct vf_session s = { 0 };
	int r = session_parse(p, n, &s);

	if (r) {
		vf_session_release(&s);
		return r;
	}
	*out = s;
	return 0;
}

void vf_session_release(struct vf_session *s)
{
	free(s->adopted);
	memset(s, 0, sizeof(*s));
}

void vf_end_put(struct buf *b, const struct point_id *gen,
		enum vf_outcome outcome, uint64_t commit)
{
	size_t at = record_begin(b, "VFwe");

	buf_gen(b, gen);
	buf_u16(b, (uint16_t)outcome);
	buf_zero(b, 6);
	buf_u64(b, commit);
	buf_zero(b, 8);
	record_end(b, at);
}

int vf_end_parse(const void *p, size_t n, struct point_id *gen,
		 enum vf_outcome *outcome, uint64_t *commit)
{
	struct rd r;
	struct point_id g;
	uint16_t o;
	uint64_t c;
	int e = record_open(p, n, "VFwe", &r);

	if (e)
		return e;
	rd_gen(&r, &g);
	o = rd_u16(&r);
	if (!rd_zero(&r, 6))
		return fail(-EPROTO, "bad end of a session");
	c = rd_u64(&r);
	if (!rd_zero(&r, 8) || !rd_done(&r) || o < VF_COMMITTED ||
	    o > VF_ADOPTED)
		return fail(-EPROTO, "bad end of a session");
	*gen = g;
	*outcome = o;
	*commit = c;
	return 0;
}

/* --- lists --- */

#define CLAIM_SIZE 16
#define MOVE_SIZE 40
#define NO_DISK 0xffff
#define CLAIM_ESCROW 8

/* One kind of object, with the fields that its key has. */
static bool claim_ok(const struct vf_claim *c, size_t ndisks)
{
	switch (c->flags) {
	case 0:
	case PLACE_INDEX:
		return c->disk < ndisks;
	case PLACE_POINT:
	case CLAIM_ESCROW:
		return c->disk == NO_DISK && !c->object;
	default:
		return false;
	}
}

static int claim_parse(struct rd *r, const uint8_t *rows, size_t nrows,
		       size_t ndisks, struct vf_claim *c)
{
	uint16_t row;

	c->disk = rd_u16(r);
	row = rd_u16(r);
	c->flags = rd_u16(r);
	if (rd_u16(r) != 0)
		return fail(-EPROTO, "bad claim");
	c->object = rd_u32(r);
	if (rd_u32(r) != 0 || row >= nrows || !claim_ok(c, ndisks))
		return fail(-EPROTO, "bad claim");
	{
		struct rd g = rd_over(rows + 16 * (size_t)row, 16);

		rd_gen(&g, &c->gen);
	}
	return 0;
}

static int move_parse(struct rd *r, const uint8_t *rows, size_t nrows,
		      size_t ndisks, struct vf_move *m)
{
	int e;

	m->disk = rd_u16(r);
	if (!rd_zero(r, 6) || m->disk >= ndisks)
		return fail(-EPROTO, "bad move");
	e = rd_place(r, rows, nrows, PLACE_INDEX, &m->from);
	if (!e)
		e = rd_place(r, rows, nrows, PLACE_INDEX, &m->to);
	if (e)
		return e;
	if (place_is_none(&m->from) || m->from.length != m->to.length ||
	    m->from.flags != m->to.flags)
		return fail(-EPROTO, "bad move");
	return 0;
}

static int list_tables(struct rd *r, struct vf_list *l, size_t nrows,
		       size_t entries)
{
	const uint8_t *rows;
	int e = 0;

	for (size_t i = 0; i < l->ndisks && !e; i++)
		e = rd_name(r, "disk name", false, l->disks[i].s);
	if (!e)
		e = rd_rows(r, nrows, &rows);
	for (size_t i = 0; i < entries && !e; i++)
		e = l->kind == 3 ? claim_parse(r, rows, nrows, l->ndisks,
					       &l->claims[i])
				 : move_parse(r, rows, nrows, l->ndisks,
					      &l->moves[i]);
	if (!e && !rd_done(r))
		e = fail(-EPROTO, "its parts do not fill it");
	return e;
}

static int list_parse(const void *p, size_t n, struct vf_list *l)
{
	struct rd r;
	size_t nrows, entries;
	int e = record_open(p, n, "VFls", &r);

	if (e)
		return e;
	l->kind = rd_u16(&r);
	l->ndisks = rd_u16(&r);
	nrows = rd_u16(&r);
	if (rd_u16(&r) != 0)
		return fail(-EPROTO, "bad list");
	entries = rd_u32(&r);
	if (rd_u32(&r) != 0 || !rd_ok(&r) || (l->kind != 3 && l->kind != 5) ||
	    (uint64_t)r.left !=
		    (uint64_t)VF_NAME_FIELD * l->ndisks + 16 * nrows +
			    (uint64_t)(l->kind == 3 ? CLAIM_SIZE : MOVE_SIZE) *
				    entries)
		return fail(-EPROTO, "bad list");
	l->disks = calloc(l->ndisks + 1, sizeof(*l->disks));
	if (l->kind == 3) {
		l->nclaims = entries;
		l->claims = calloc(entries + 1, sizeof(*l->claims));
	} else {
		l->nmoves = entries;
		l->moves = calloc(entries + 1, sizeof(*l->moves));
	}
	if (!l->disks || (!l->claims && !l->moves))
		return fail(-ENOMEM, "no memory for a list");
	return list_tables(&r, l, nrows, entries);
}

int vf_list_parse(const void *p, size_t n, struct vf_list *out)
{
	struct vf_list l = { 0 };
	int r = list_parse(p, n, &l);

	if (r) {
		vf_list_release(&l);
		return r;
	}
	*out = l;
	return 0;
}

void vf_list_release(struct vf_list *l)
{
	free(l->disks);
	free(l->moves);
	free(l->claims);
	memset(l, 0, sizeof(*l));
}
