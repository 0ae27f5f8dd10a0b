// SPDX-License-Identifier: GPL-3.0-or-later
/* The point index and point objects, read (FORMAT.md 4.1 and 5). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/vault.h"

/* A point object up to this size is read whole, in one request. */
#define WHOLE_MAX (256u << 10)

/* --- index --- */

struct index_rows {
	size_t n;
	struct point_row rows[VF_INDEX_ROWS];
};

struct index_fill {
	struct vault *v;
	struct vm_head *h;
	const struct vf_index_ref *ref;
};

static int fill_index(void *ctx, struct cache_value *out)
{
	struct index_fill *f = ctx;
	const struct vf_index_ref *p = f->ref;
	DROP(mem) struct index_rows *rows = malloc(sizeof(*rows));
	DROP(mem) uint8_t *bytes = malloc(p->length);
	struct digest d;
	char key[VF_KEY_SIZE];
	int r;

	if (!rows || !bytes)
		return fail(-ENOMEM, "no memory for the point index");
	vf_key_commit(key, f->h->vm_key, p->commit);
	if (p->commit == f->h->c.seq) {
		memcpy(bytes, f->h->c.bytes + p->offset, p->length);
	} else {
		r = store_read(vault_store(f->v), key, bytes, p->length,
			       p->offset);
		if (r)
			return r;
	}
	sha256(bytes, p->length, &d);
	if (!digest_equal(&d, &p->digest))
		return fail(
			-EBADMSG,
			"%s: page of the point index does not match its digest",
			key);
	r = vf_index_parse(bytes, p->length, rows->rows, &rows->n);
	if (r)
		return blame(r, "%s", key);
	out->size = sizeof(*rows);
	out->data = take(rows);
	return 0;
}

int vault_index_page(struct vault *v, struct vm_head *h, size_t i,
		     struct point_row *rows, size_t *n)
{
	DROP(cache_blob) struct cache_blob *blob = NULL;
	struct index_fill f = { .v = v, .h = h };
	const struct index_rows *got;
	uint8_t key[CACHE_KEY_SIZE];
	int r;

	if (i >= h->c.npages)
		return fail(-EINVAL, "page %zu of %zu of the point index", i,
			    h->c.npages);
	f.ref = &h->c.pages[i];
	/* The digest of its bytes names it. */
	cache_key("index", f.ref->digest.b, sizeof(f.ref->digest.b), key);
	r = cache_get(vault_cache(v), key, fill_index, &f, &blob);
	if (r)
		return vault_damaged(r);
	got = blob->data;
	/* Not in fill_index(): the same page may stand in more than one table. */
	if (got->n != f.ref->rows || got->rows[0].time_ns != f.ref->first_ns ||
	    got->rows[got->n - 1].time_ns != f.ref->last_ns)
		return fail(
			-EPROTO,
			"%s: a page of the point index is not as the table of commit %" PRIu64
			" says",
			h->vm, h->c.seq);
	memcpy(rows, got->rows, got->n * sizeof(*rows));
	*n = got->n;
	return 0;
}

static int no_point(struct vm_head *h, const char *which)
{
	return fail(-ENOENT, "VM %s has no recovery point %s", h->vm, which);
}

int vault_find_id(struct vault *v, struct vm_head *h, const struct point_id *id,
		  struct point_row *out)
{
	DROP(mem) struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	char text[POINT_ID_TEXT];

	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	/* The newest first: it is asked for most. */
	for (size_t i = h->c.npages; i-- > 0;) {
		size_t n;
		int r = vault_index_page(v, h, i, rows, &n);

		if (r)
			return r;
		for (size_t k = n; k-- > 0;) {
			if (point_id_equal(&rows[k].id, id)) {
				*out = rows[k];
				return 0;
			}
		}
	}
	point_id_text(id, text);
	return no_point(h, text);
}

int vault_find_time(struct vault *v, struct vm_head *h, int64_t time_ns,
		    struct point_row *out)
{
	DROP(mem) struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));

	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	for (size_t i = 0; i < h->c.npages; i++) {
		size_t n;
		int r;

		if (time_ns < h->c.pages[i].first_ns ||
		    time_ns > h->c.pages[i].last_ns)
			continue;
		r = vault_index_page(v, h, i, rows, &n);
		if (r)
			return r;
		for (size_t k = 0; k < n; k++) {
			if (rows[k].time_ns == time_ns) {
				*out = rows[k];
				return 0;
			}
		}
	}
	return no_point(h, "of that time");
}

/* --- points --- */

static void destroy_point(struct point_info *info)
{
	struct vault_point *p = container_of(info, struct vault_point, info);

	labels_free(info->labels, info->nlabels);
	free(info->disks);
	vf_point_release(&p->p);
	free(p->object);
	free(p->record);
	free(p);
}

int vault_damaged(int r)
{
	return r == -EBADMSG || r == -EPROTO || r == -EIO
		       ? advise(r, VAULT_DAMAGED_ADVICE)
		       : r;
}

int vault_gone(struct vault *v, const char *vm, const struct point_row *row,
	       const char *key)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct point_row now;
	char name[TIME_TEXT_SIZE];
	/* It may have been dropped just now. */
	int r = vault_head(v, vm, 0, &h);

	if (!r)
		r = vault_find_id(v, h, &row->id, &now);
	if (!r)
		return vault_damaged(fail(-EIO,
					  "object %s is missing from vault %s",
					  key, vault_name(v)));
	if (r != -ENOENT)
		return r;
	time_name(row->time_ns, name);
	return fail(
		-ESTALE,
		"recovery point %s of %s was dropped from the vault, and its data is gone",
		name, vm);
}

/* Bytes of the point object, exactly. */
static int read_object(struct vault *v, const char *vm, const char *vm_key,
		       const struct point_row *row, void *buf, size_t len,
		       uint64_t off)
{
	char key[VF_KEY_SIZE];
	int r;

	vf_key_gen(key, vm_key, 'p', &row->id);
	r = store_read(vault_store(v), key, buf, len, off);
	return r == -ENOENT ? vault_gone(v, vm, row, key) : r;
}

static int read_record(struct vault *v, struct vm_head *h,
		       const struct point_row *row, struct vault_point *p)
{
	bool whole = row->object_length <= WHOLE_MAX;
	struct digest d;
	int r;

	p->record_length = row->record_length;
	p->record = malloc(row->record_length);
	if (whole) {
		p->object_length = row->object_length;
		p->object = malloc(row->object_length);
	}
	if (!p->record || (whole && !p->object))
		return fail(-ENOMEM, "no memory for its record");
	if (whole) {
		r = read_object(v, h->vm, h->vm_key, row, p->object,
				p->object_length, 0);
		if (!r)
			memcpy(p->record, p->object, p->record_length);
	} else {
		r = read_object(v, h->vm, h->vm_key, row, p->record,
				p->record_length, 0);
	}
	if (r)
		return r;
	sha256(p->record, p->record_length, &d);
	if (!digest_equal(&d, &row->record_digest))
		return fail(
			-EBADMSG,
			"its record does not match the digest that the sealed index has");
	return vf_point_parse(p->record, p->record_length, &p->p);
}

/* A section after the record: labels, escrow. */
static int read_section(struct vault *v, const char *vm_key,
			const struct point_row *row, struct vault_point *p,
			const struct vf_section *s, const char *what,
			uint8_t **ret)
{
	DROP(mem) uint8_t *bytes = NULL;
	struct digest d;
	int r = 0;

	if (s->offset < p->record_length || s->offset > row->object_length ||
	    s->length > row->object_length - s->offset)
		return fail(-EPROTO, "%s lie outside of its object", what);
	bytes = malloc(s->length);
	if (!bytes)
		return fail(-ENOMEM, "no memory for %s", what);
	if (p->object)
		memcpy(bytes, p->object + s->offset, s->length);
	else
		r = read_object(v, p->p.vm, vm_key, row, bytes, s->length,
				s->offset);
	if (r)
		return r;
	sha256(bytes, s->length, &d);
	if (!digest_equal(&d, &s->digest))
		return fail(-EBADMSG, "%s do not match their digest", what);
	*ret = take(bytes);
	return 0;
}

static int fill_info(struct vault *v, struct vault_point *p,
		     const struct point_row *row)
{
	struct point_info *i = &p->info;

	i->row = *row;
	i->base = p->p.base;
	i->written_ns = p->p.written_ns;
	i->impl = v;
	snprintf(i->vm, sizeof(i->vm), "%s", p->p.vm);
	i->ndisks = p->p.ndisks;
	i->disks = calloc(i->ndisks, sizeof(*i->disks));
	if (!i->disks)
		return fail(-ENOMEM, "no memory for its disks");
	for (size_t k = 0; k < i->ndisks; k++) {
		const struct vf_disk *d = &p->p.disks[k];
		struct disk_info *o = &i->disks[k];

		snprintf(o->name, sizeof(o->name), "%s", d->name);
		o->has_size = true;
		o->size = d->size;
		o->state = DISK_READY;
		o->caller_extents = d->caller_extents;
		o->was_vhd = d->was_vhd;
		o->has_root = true;
		o->root = d->root;
		o->chunk_size = 1u << d->chunk_log2;
		o->data_bytes = d->data_bytes;
		o->stored_bytes = d->stored_bytes;
		o->read_bytes = d->read_bytes;
		o->dead_bytes = d->dead_bytes;
	}
	return 0;
}

static int load_point(struct vault *v, struct vm_head *h,
		      const struct point_row *row, struct vault_point *p)
{
	int r = read_record(v, h, row, p);

	if (r)
		return r;
	/* The index is sealed, and so is the record by its digest: still, both
	 * must tell of the same point. */
	if (memcmp(&p->p.vault, vault_id(v), sizeof(p->p.vault)) != 0 ||
	    !point_id_equal(&p->p.id, &row->id) ||
	    p->p.time_ns != row->time_ns || strcmp(p->p.vm, h->vm) != 0 ||
	    p->p.ndisks != row->ndisks)
		return fail(-EPROTO, "its record is that of another point");
	r = fill_info(v, p, row);
	if (!r && p->p.labels.length) {
		DROP(mem) uint8_t *bytes = NULL;

		r = read_section(v, h->vm_key, row, p, &p->p.labels, "labels",
				 &bytes);
		if (!r)
			r = vf_labels_parse(bytes, p->p.labels.length,
					    &p->info.labels, &p->info.nlabels);
	}
	return r;
}

int vault_point(struct vault *v, struct vm_head *h, const struct point_row *row,
		struct vault_point **ret)
{
	struct vault_point *p = calloc(1, sizeof(*p));
	char name[TIME_TEXT_SIZE];
	int r;

	if (!p)
		return fail(-ENOMEM, "no memory for a recovery point");
	p->info.refs = 1;
	p->info.destroy = destroy_point;
	r = load_point(v, h, row, p);
	if (r) {
		point_info_unref(&p->info);
		time_name(row->time_ns, name);
		return r == -ESTALE
			       ? r
			       : vault_damaged(blame(r,
						     "recovery point %s of %s",
						     name, h->vm));
	}
	*ret = p;
	return 0;
}

int vault_point_escrow(struct vault *v, const char *vm_key,
		       struct vault_point *p, struct escrow_docs *docs)
{
	const struct vf_section *s = &p->p.escrow;
	DROP(mem) uint8_t *bytes = NULL;
	char id[POINT_ID_TEXT];
	int r;

	if (!s->length)
		return 0;
	r = read_section(v, vm_key, &p->info.row, p, s, "escrow records",
			 &bytes);
	if (!r)
		r = vf_escrow_parse(bytes, s->length, p->p.ndisks, docs);
	point_id_text(&p->p.id, id);
	return r ? blame(r, "%s: recovery point %s", p->p.vm, id) : 0;
}
