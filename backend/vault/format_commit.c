// SPDX-License-Identifier: GPL-3.0-or-later
/* Commits and pages of the point index (FORMAT.md 4). */
#include "backend/vault/format_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define COMMIT_FIXED 416
#define INDEX_REF_SIZE 72
#define INDEX_ROW_SIZE 80
#define ROW_HELD 1u
#define ROW_CALLER_EXTENTS 2u

static_assert(VF_COMMIT_MAX < STORE_OBJECT_MAX, "a commit is one object");

const char *vf_kind_text(enum vf_kind k)
{
	switch (k) {
	case VF_BACKUP:
		return "backup";
	case VF_PRUNE:
		return "prune";
	case VF_INTENT:
		return "sweep intent";
	case VF_SWEPT:
		return "swept";
	case VF_RELOCATE:
		return "relocate";
	case VF_CONFIG:
		return "config";
	}
	return "unknown";
}

/* --- point index (4.1) --- */

void vf_index_put(struct buf *b, const struct point_row *rows, size_t n)
{
	size_t at = record_begin(b, "VFix");

	buf_u32(b, (uint32_t)n);
	buf_u32(b, 0);
	for (size_t i = 0; i < n; i++) {
		const struct point_row *w = &rows[i];

		buf_u64(b, (uint64_t)w->time_ns);
		buf_gen(b, &w->id);
		buf_digest(b, &w->record_digest);
		buf_u32(b, w->record_length);
		buf_u32(b, w->object_length);
		buf_u8(b, (uint8_t)w->consistency);
		buf_u8(b, 0);
		buf_u16(b,
			(w->held ? ROW_HELD : 0) |
				(w->caller_extents ? ROW_CALLER_EXTENTS : 0));
		buf_u16(b, w->ndisks);
		buf_u16(b, 0);
		buf_u64(b, (uint64_t)w->expiry_ns);
	}
	record_end(b, at);
}

static int index_row(struct rd *r, struct point_row *w)
{
	uint8_t tier;
	uint16_t flags;

	memset(w, 0, sizeof(*w));
	w->time_ns = (int64_t)rd_u64(r);
	rd_gen(r, &w->id);
	rd_digest(r, &w->record_digest);
	w->record_length = rd_u32(r);
	w->object_length = rd_u32(r);
	w->consistency = rd_u8(r);
	tier = rd_u8(r);
	flags = rd_u16(r);
	w->ndisks = rd_u16(r);
	if (rd_u16(r) != 0 || tier != 0 ||
	    (flags & ~(ROW_HELD | ROW_CALLER_EXTENTS)) ||
	    w->consistency < CONSISTENCY_CRASH ||
	    w->consistency > CONSISTENCY_APPLICATION || !w->ndisks ||
	    w->ndisks > CATALOG_DISKS_MAX ||
	    w->record_length < VF_HEADER_SIZE ||
	    w->object_length < w->record_length ||
	    w->object_length > STORE_OBJECT_MAX)
		return fail(-EPROTO, "bad row in the point index");
	w->held = flags & ROW_HELD;
	w->caller_extents = flags & ROW_CALLER_EXTENTS;
	w->expiry_ns = (int64_t)rd_u64(r);
	return 0;
}

int vf_index_parse(const void *p, size_t len, struct point_row *rows, size_t *n)
{
	struct rd r;
	uint32_t count;
	int e = record_open(p, len, "VFix", &r);

	if (e)
		return e;
	count = rd_u32(&r);
	if (rd_u32(&r) != 0 || !rd_ok(&r) || count < 1 ||
	    count > VF_INDEX_ROWS || r.left != count * INDEX_ROW_SIZE)
		return fail(-EPROTO, "bad page of the point index");
	for (uint32_t i = 0; i < count; i++) {
		e = index_row(&r, &rows[i]);
		if (e)
			return e;
		if (i && rows[i].time_ns <= rows[i - 1].time_ns)
			return fail(-EPROTO,
				    "times in the point index do not ascend");
	}
	*n = count;
	return 0;
}

/* --- commits --- */

static void body_put(struct buf *b, const struct vf_commit *c)
{
	switch (c->kind) {
	case VF_BACKUP:
		buf_gen(b, &c->ids[0]);
		break;
	case VF_PRUNE:
	case VF_CONFIG:
		buf_u32(b, (uint32_t)c->nids);
		buf_u32(b, 0);
		for (size_t i = 0; i < c->nids; i++) {
			buf_gen(b, &c->ids[i]);
			if (c->kind == VF_PRUNE)
				continue;
			buf_u16(b, c->new_flags[i]);
			buf_zero(b, 6);
			buf_u64(b, (uint64_t)c->new_expiry[i]);
		}
		break;
	case VF_INTENT:
	case VF_RELOCATE:
		buf_digest(b, &c->list_digest);
		buf_u32(b, c->list_length);
		buf_u32(b, 0);
		if (c->kind == VF_RELOCATE)
			buf_u64(b, c->prev_relocate);
		break;
	case VF_SWEPT:
		buf_u64(b, c->intent_seq);
		buf_u32(b, c->swept_outcome);
		buf_u32(b, 0);
		break;
	}
}

/* Gives the pages of this commit their offsets and digests. */
static int place_pages(struct vf_commit *c, const struct buf *const *inl,
		       size_t at)
{
	for (size_t i = 0; i < c->npages; i++) {
		struct vf_index_ref *p = &c->pages[i];

		if (p->commit != c->seq)
			continue;
		assert(inl[i]);
		if (at + inl[i]->len > VF_COMMIT_MAX)
			return fail(-EFBIG, "a commit over %u bytes",
				    VF_COMMIT_MAX);
		p->offset = (uint32_t)at;
		p->length = (uint32_t)inl[i]->len;
		sha256(inl[i]->data, inl[i]->len, &p->digest);
		at += inl[i]->len;
	}
	return 0;
}

static void commit_fixed_put(struct buf *b, const struct vf_commit *c,
			     size_t body)
{
	buf_add(b, c->id.b, sizeof(c->id.b));
	buf_u64(b, c->seq);
	buf_digest(b, &c->prev);
	buf_u64(b, c->config_n);
	buf_digest(b, &c->config_digest);
	buf_u16(b, c->kind);
	buf_u16(b, 0);
	buf_u32(b, (uint32_t)body);
	buf_u64(b, (uint64_t)c->time_ns);
	buf_gen(b, &c->session);
	buf_name(b, c->vm);
	buf_add(b, c->writer.b, sizeof(c->writer.b));
	buf_u32(b, 0);
	buf_u64(b, c->last_relocate);
	buf_u64(b, c->last_intent);
	buf_u64(b, c->npoints);
	buf_u32(b, (uint32_t)c->npages);
	buf_u32(b, c->newest_length);
	for (size_t i = 0; i < c->npages; i++) {
		const struct vf_index_ref *p = &c->pages[i];

		buf_u64(b, (uint64_t)p->first_ns);
		buf_u64(b, (uint64_t)p->last_ns);
		buf_u32(b, p->rows);
		buf_u32(b, p->length);
		buf_u64(b, p->commit);
		buf_u32(b, p->offset);
		buf_u32(b, 0);
		buf_digest(b, &p->digest);
	}
}

int vf_commit_build(struct vf_commit *c, const struct buf *const *inline_pages,
		    struct secret *writer_seed)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	DROP(buf) struct buf body = BUF_INIT(VF_COMMIT_MAX);
	size_t at;
	int r;

	body_put(&body, c);
	r = buf_check(&body, "a commit's body");
	if (r)
		return r;
	r = place_pages(c, inline_pages,
			COMMIT_FIXED + INDEX_REF_SIZE * c->npages + body.len);
	if (r)
		return r;
	at = record_begin(&b, "VFcm");
	commit_fixed_put(&b, c, body.len);
	buf_add(&b, body.data, body.len);
	for (size_t i = 0; i < c->npages; i++)
		if (c->pages[i].commit == c->seq)
			buf_add(&b, inline_pages[i]->data,
				inline_pages[i]->len);
	buf_add(&b, c->newest, c->newest_length);
	r = record_sign_end(&b, at, VF_TAG_COMMIT, writer_seed);
	if (r)
		return r;
	sha256(b.data, b.len, &c->digest);
	c->length = b.len;
	free(c->bytes);
	c->bytes = take(b.data);
	c->newest = c->newest_length ? c->bytes + c->length - SIGN_SIZE -
					       c->newest_length
				     : NULL;
	b.len = b.cap = 0;
	return 0;
}

static int body_ids(struct rd *r, struct vf_commit *c)
{
	uint32_t n = rd_u32(r);
	size_t each = c->kind == VF_PRUNE ? 16 : 32;

	if (rd_u32(r) != 0 || !rd_ok(r) || !n || n != r->left / each)
		return fail(-EPROTO, "bad body of a %s commit",
			    vf_kind_text(c->kind));
	c->ids = calloc(n, sizeof(*c->ids));
	c->new_flags = calloc(n, sizeof(*c->new_flags));
	c->new_expiry = calloc(n, sizeof(*c->new_expiry));
	if (!c->ids || !c->new_flags || !c->new_expiry)
		return fail(-ENOMEM, "no memory for a commit");
	c->nids = n;
	for (uint32_t i = 0; i < n; i++) {
		rd_gen(r, &c->ids[i]);
		if (c->kind == VF_PRUNE)
			continue;
		c->new_flags[i] = rd_u16(r);
		if (!rd_zero(r, 6) ||
		    (c->new_flags[i] & ~(ROW_HELD | ROW_CALLER_EXTENTS)))
			return fail(-EPROTO, "bad body of a config commit");
		c->new_expiry[i] = (int64_t)rd_u64(r);
	}
	return 0;
}

static int body_parse(struct rd *r, struct vf_commit *c)
{
	int e = 0;

	switch (c->kind) {
	case VF_BACKUP:
		c->ids = calloc(1, sizeof(*c->ids));
		if (!c->ids)
			return fail(-ENOMEM, "no memory for a commit");
		c->nids = 1;
		rd_gen(r, &c->ids[0]);
		if (!point_id_equal(&c->ids[0], &c->session))
			e = fail(-EPROTO, "a point of another session");
		break;
	case VF_PRUNE:
	case VF_CONFIG:
		e = body_ids(r, c);
		break;
	case VF_INTENT:
	case VF_RELOCATE:
		rd_digest(r, &c->list_digest);
		c->list_length = rd_u32(r);
		if (rd_u32(r) != 0)
			e = fail(-EPROTO, "bad body");
		if (c->kind == VF_RELOCATE)
			c->prev_relocate = rd_u64(r);
		if (c->prev_relocate >= c->seq)
			e = fail(-EPROTO, "bad body");
		break;
	case VF_SWEPT:
		c->intent_seq = rd_u64(r);
		c->swept_outcome = rd_u32(r);
		if (rd_u32(r) != 0 || c->swept_outcome < 1 ||
		    c->swept_outcome > 2 || c->intent_seq < 1 ||
		    c->intent_seq >= c->seq)
			e = fail(-EPROTO, "bad body");
		break;
	default:
		return fail(
			-ENOTSUP,
			"a commit of kind %u, which this software does not know; install a newer vaultfs",
			c->kind);
	}
	if (e)
		return e;
	if (!rd_done(r))
		return fail(-EPROTO, "bad body of a %s commit",
			    vf_kind_text(c->kind));
	return 0;
}

/* The page table; *at ends up behind the inline pages. */
static int pages_parse(struct rd *r, struct vf_commit *c, uint64_t *at)
{
	uint64_t points = 0;

	for (size_t i = 0; i < c->npages; i++) {
		struct vf_index_ref *p = &c->pages[i];

		p->first_ns = (int64_t)rd_u64(r);
		p->last_ns = (int64_t)rd_u64(r);
		p->rows = rd_u32(r);
		p->length = rd_u32(r);
		p->commit = rd_u64(r);
		p->offset = rd_u32(r);
		if (rd_u32(r) != 0)
			return fail(-EPROTO, "bad page table");
		rd_digest(r, &p->digest);
		if (p->rows < 1 || p->rows > VF_INDEX_ROWS ||
		    p->length !=
			    VF_HEADER_SIZE + 8 + INDEX_ROW_SIZE * p->rows ||
		    p->first_ns > p->last_ns ||
		    (i && p->first_ns <= p[-1].last_ns) || p->commit < 1 ||
		    p->commit > c->seq || p->offset < COMMIT_FIXED ||
		    p->offset > VF_COMMIT_MAX)
			return fail(-EPROTO, "bad page table");
		points += p->rows;
		if (p->commit != c->seq)
			continue;
		if (p->offset != *at)
			return fail(-EPROTO, "an inline page out of place");
		*at += p->length;
	}
	if (points != c->npoints ||
	    (c->npages && c->pages[c->npages - 1].commit != c->seq))
		return fail(-EPROTO, "bad page table");
	return 0;
}

/* Of the newest commit of a kind "up to this one": this one, or an earlier
 * one. */
static bool newest_ok(const struct vf_commit *c, enum vf_kind kind,
		      uint64_t seq)
{
	return c->kind == kind ? seq == c->seq : seq < c->seq;
}

static int commit_fixed_parse(struct rd *r, struct vf_commit *c, uint32_t *body)
{
	int e;

	rd_bytes(r, c->id.b, sizeof(c->id.b));
	c->seq = rd_u64(r);
	rd_digest(r, &c->prev);
	c->config_n = rd_u64(r);
	rd_digest(r, &c->config_digest);
	c->kind = rd_u16(r);
	if (rd_u16(r) != 0)
		return fail(-EPROTO, "bad commit");
	*body = rd_u32(r);
	c->time_ns = (int64_t)rd_u64(r);
	rd_gen(r, &c->session);
	e = rd_name(r, "VM name", false, c->vm);
	if (e)
		return e;
	rd_bytes(r, c->writer.b, sizeof(c->writer.b));
	if (rd_u32(r) != 0)
		return fail(-EPROTO, "bad commit");
	c->last_relocate = rd_u64(r);
	c->last_intent = rd_u64(r);
	c->npoints = rd_u64(r);
	c->npages = rd_u32(r);
	c->newest_length = rd_u32(r);
	if (!rd_ok(r) || c->seq < 1 || c->session.seq < 1 ||
	    c->session.seq > c->seq ||
	    !newest_ok(c, VF_RELOCATE, c->last_relocate) ||
	    !newest_ok(c, VF_INTENT, c->last_intent) ||
	    (c->npages > 0) != (c->npoints > 0) ||
	    (c->npages > 0) != (c->newest_length > 0) ||
	    c->npages > r->left / INDEX_REF_SIZE)
		return fail(-EPROTO, "bad commit");
	return 0;
}

static int commit_parse(struct vf_commit *c)
{
	struct rd r, body;
	const uint8_t *bp;
	uint32_t blen = 0;
	uint64_t at;
	int e = record_open(c->bytes, c->length, "VFcm", &r);

	if (!e)
		e = commit_fixed_parse(&r, c, &blen);
	if (e)
		return e;
	c->pages = calloc(c->npages + 1, sizeof(*c->pages));
	if (!c->pages)
		return fail(-ENOMEM, "no memory for a commit");
	at = COMMIT_FIXED + INDEX_REF_SIZE * c->npages + (uint64_t)blen;
	e = pages_parse(&r, c, &at);
	if (e)
		return e;
	if (at + c->newest_length + SIGN_SIZE != c->length)
		return fail(-EPROTO, "its parts do not fill it");
	bp = rd_ptr(&r, blen);
	if (!bp && blen)
		return fail(-EPROTO, "bad commit");
	body = rd_over(bp, blen);
	e = body_parse(&body, c);
	if (e)
		return e;
	if (c->newest_length)
		c->newest = c->bytes + at;
	e = record_check_sign(c->bytes, c->length, VF_TAG_COMMIT, &c->writer);
	if (e)
		return e;
	sha256(c->bytes, c->length, &c->digest);
	return 0;
}

int vf_commit_parse(uint8_t *p, size_t n, struct vf_commit *out)
{
	struct vf_commit c = { .bytes = p, .length = n };
	int r = commit_parse(&c);

	if (r) {
		vf_commit_release(&c);
		return r;
	}
	*out = c;
	return 0;
}

void vf_commit_release(struct vf_commit *c)
{
	free(c->pages);
	free(c->ids);
	free(c->new_flags);
	free(c->new_expiry);
	free(c->bytes);
	memset(c, 0, sizeof(*c));
}
