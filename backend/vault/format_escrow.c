// SPDX-License-Identifier: GPL-3.0-or-later
/* Escrow of a point, and escrow addenda (FORMAT.md 5 and 5.3). */
#include "backend/vault/format_impl.h"

#include <errno.h>

/* --- the section of a point object --- */

void vf_escrow_put(struct buf *b, const struct escrow_doc *docs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_u16(b, docs[i].disk < 0 ? VF_ESCROW_VM
					    : (uint16_t)docs[i].disk);
		buf_u16(b, 0);
		buf_u32(b, (uint32_t)docs[i].len);
		buf_add(b, docs[i].text, docs[i].len);
	}
}

int vf_escrow_parse(const void *p, size_t n, size_t ndisks,
		    struct escrow_docs *out)
{
	struct rd r = rd_over(p, n);

	while (r.left) {
		uint16_t disk = rd_u16(&r), zero = rd_u16(&r);
		uint32_t len = rd_u32(&r);
		const uint8_t *text = rd_ptr(&r, len);
		int e;

		if (!rd_ok(&r) || zero ||
		    (disk != VF_ESCROW_VM && disk >= ndisks))
			return fail(-EPROTO, "bad escrow");
		e = escrow_docs_add(out, disk == VF_ESCROW_VM ? -1 : disk, text,
				    len);
		if (e)
			return e;
	}
	return 0;
}

/* --- addenda --- */

int vf_addendum_build(struct buf *b, const struct vf_addendum *a,
		      struct secret *writer_seed)
{
	size_t at = record_begin(b, "VFea");

	buf_add(b, a->vault.b, sizeof(a->vault.b));
	buf_gen(b, &a->gen);
	buf_gen(b, &a->point);
	buf_u64(b, (uint64_t)a->time_ns);
	buf_name(b, a->vm);
	buf_name(b, a->disk);
	buf_add(b, a->writer.b, sizeof(a->writer.b));
	buf_u64(b, a->config_n);
	buf_u32(b, (uint32_t)a->len);
	buf_u32(b, 0);
	buf_add(b, a->text, a->len);
	return record_sign_end(b, at, VF_TAG_ESCROW, writer_seed);
}

int vf_addendum_parse(const void *p, size_t n, struct vf_addendum *out)
{
	struct vf_addendum a = { 0 };
	struct rd r;
	uint32_t zero;
	int e = record_open(p, n, "VFea", &r);

	if (e)
		return e;
	rd_bytes(&r, a.vault.b, sizeof(a.vault.b));
	rd_gen(&r, &a.gen);
	rd_gen(&r, &a.point);
	a.time_ns = (int64_t)rd_u64(&r);
	e = rd_name(&r, "VM name", false, a.vm);
	if (!e)
		e = rd_name(&r, "disk name", true, a.disk);
	if (e)
		return e;
	rd_bytes(&r, a.writer.b, sizeof(a.writer.b));
	a.config_n = rd_u64(&r);
	a.len = rd_u32(&r);
	zero = rd_u32(&r);
	a.text = (const char *)rd_ptr(&r, a.len);
	rd_skip(&r, SIGN_SIZE);
	if (!rd_done(&r) || zero)
		return fail(-EPROTO, "bad escrow addendum");
	e = record_check_sign(p, n, VF_TAG_ESCROW, &a.writer);
	if (!e)
		*out = a;
	return e;
}
