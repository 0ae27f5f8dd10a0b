// SPDX-License-Identifier: GPL-3.0-or-later
/* vault_backup(): the request is checked, the disks are stored, the point is
 * made of them. */
#include "backend/vault/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/parse.h"
#include "backend/vault/writer_impl.h"

/* --- the request --- */

static int by_name(const void *x, const void *y)
{
	const struct backup_disk *const *a = x, *const *b = y;

	return strcmp((*a)->name, (*b)->name);
}

/* The disks in the order of the record. */
static int sort_disks(const struct backup_request *rq,
		      const struct backup_disk **out)
{
	char key[CATALOG_NAME_MAX + 1];
	int r = 0;

	for (size_t i = 0; i < rq->ndisks && !r; i++) {
		const struct backup_disk *d = &rq->disks[i];

		out[i] = d;
		r = catalog_check_name("disk name", d->name, strlen(d->name));
		if (!r)
			r = vf_name_encode(d->name, key);
		if (!r && source_size(d->image) == 0)
			r = fail(-EINVAL, "%s: the image is empty", d->name);
		if (!r && source_size(d->image) > VF_DISK_MAX)
			r = fail(-EFBIG, "%s: the image is over 2^56 bytes",
				 d->name);
	}
	if (r)
		return r;
	qsort(out, rq->ndisks, sizeof(*out), by_name);
	for (size_t i = 1; i < rq->ndisks; i++)
		if (strcmp(out[i - 1]->name, out[i]->name) == 0)
			return fail(-EINVAL, "disk %s is given twice",
				    out[i]->name);
	return 0;
}

static int check_request(const struct backup_request *rq)
{
	if (rq->ndisks < 1 || rq->ndisks > CATALOG_DISKS_MAX)
		return fail(-EINVAL, "%zu disks: a point has 1 to %d",
			    rq->ndisks, CATALOG_DISKS_MAX);
	if (rq->consistency < CONSISTENCY_CRASH ||
	    rq->consistency > CONSISTENCY_APPLICATION)
		return fail(-EINVAL, "no such consistency");
	/* A mount does not list such points. */
	if (rq->time_ns < 0)
		return fail(-EINVAL, "a point's time is not before 1970");
	if (!(rq->check_percent >= 0 && rq->check_percent <= 100))
		return fail(-EINVAL, "the share to check is 0 to 100 percent");
	if (rq->chunk_log2 && (rq->chunk_log2 < VF_CHUNK_LOG2_MIN ||
			       rq->chunk_log2 > VF_CHUNK_LOG2_MAX))
		return fail(-EINVAL, "chunks are 256 KiB to 4 MiB");
	for (size_t i = 0; i < rq->ndisks; i++)
		if (rq->disks[i].changed && !rq->base)
			return fail(
				-EINVAL,
				"%s: changed extents are relative to a point: name the base",
				rq->disks[i].name);
	return 0;
}

static int by_key(const void *x, const void *y)
{
	const struct label *a = x, *b = y;

	return strcmp(a->key, b->key);
}

static int put_labels(const struct backup_request *rq, struct buf *out)
{
	DROP(mem) struct label *l = calloc(rq->nlabels + 1, sizeof(*l));

	if (!l)
		return fail(-ENOMEM, "no memory for labels");
	for (size_t i = 0; i < rq->nlabels; i++) {
		l[i] = rq->labels[i];
		if (!l[i].key[0])
			return fail(-EINVAL, "a label without a name");
		if (!utf8_valid(l[i].key, strlen(l[i].key)) ||
		    !utf8_valid(l[i].value, strlen(l[i].value)))
			return fail(-EINVAL, "label %s is not UTF-8", l[i].key);
	}
	qsort(l, rq->nlabels, sizeof(*l), by_key);
	for (size_t i = 1; i < rq->nlabels; i++)
		if (strcmp(l[i - 1].key, l[i].key) == 0)
			return fail(-EINVAL, "label %s is given twice",
				    l[i].key);
	vf_labels_put(out, l, rq->nlabels);
	return buf_check(out, "labels");
}

/* disks: in the order of the point. */
static int put_escrow(const struct backup_request *rq,
		      const struct backup_disk **disks, struct buf *out)
{
	for (size_t i = 0; i < rq->nescrow; i++) {
		const struct escrow_addition *e = &rq->escrow[i];
		struct escrow_doc doc = { .disk = -1,
					  .text = (char *)(uintptr_t)e->text,
					  .len = e->len };

		for (size_t k = 0; e->disk && k < rq->ndisks; k++)
			if (!strcmp(disks[k]->name, e->disk))
				doc.disk = (int)k;
		if (e->disk && doc.disk < 0)
			return fail(-EINVAL,
				    "escrow of disk %s, which is not "
				    "backed up",
				    e->disk);
		vf_escrow_put(out, &doc, 1);
	}
	return buf_check(out, "escrow records");
}

/* --- the base --- */

static int refuse_same_time(struct writer *w, int64_t t)
{
	char when[TIME_TEXT_SIZE];
	struct point_row row;
	int r;

	if (!w->head)
		return 0;
	r = vault_find_time(w->v, w->head, t, &row);
	if (r == 0) {
		time_iso(t, when);
		return fail(-EEXIST, "there is a point of %s already", when);
	}
	if (r != -ENOENT)
		return r;
	err_clear();
	return 0;
}

static int latest(struct writer *w, struct point_row *out)
{
	DROP(mem) struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	size_t n;
	int r;

	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	r = vault_index_page(w->v, w->head, w->head->c.npages - 1, rows, &n);
	if (!r)
		*out = rows[n - 1];
	return r;
}

/* *ret stays NULL when there is none and none was asked for. */
static int find_base(struct writer *w, const struct backup_request *rq,
		     struct vault_point **ret)
{
	char text[POINT_ID_TEXT];
	struct point_row row;
	int r = -ENOENT;

	if (!rq->base && (!w->head || !w->head->c.npages))
		return 0;
	if (rq->base && w->head)
		r = vault_find_id(w->v, w->head, rq->base, &row);
	else if (w->head)
		r = latest(w, &row);
	if (r == -ENOENT && rq->base) {
		point_id_text(rq->base, text);
		return fail(-ENOENT, "%s has no point %s to build on", w->vm,
			    text);
	}
	if (!r)
		r = vault_point(w->v, w->head, &row, ret);
	return r;
}

/* --- the point --- */

struct point_parts {
	struct vf_point p;
	struct buf labels, escrow, roots;
	struct buf object;
	uint32_t record_length;
};

static void drop_point_parts(struct point_parts *x)
{
	vf_point_release(&x->p);
	buf_release(&x->labels);
	buf_release(&x->escrow);
	buf_release(&x->roots);
	buf_release(&x->object);
}

static int init_parts(struct writer *w, const struct backup_request *rq,
		      const struct backup_disk **disks,
		      const struct vault_point *base, struct point_parts *x)
{
	struct vf_point *p = &x->p;
	int r = put_labels(rq, &x->labels);

	if (!r)
		r = put_escrow(rq, disks, &x->escrow);
	if (r)
		return r;
	p->vault = *vault_id(w->v);
	p->id = w->gen;
	if (base)
		p->base = base->p.id;
	p->time_ns = rq->time_ns;
	p->consistency = rq->consistency;
	memcpy(p->vm, w->vm, sizeof(p->vm));
	p->disks = calloc(rq->ndisks, sizeof(*p->disks));
	p->adopted = calloc(w->nadopted + 1, sizeof(*p->adopted));
	if (!p->disks || !p->adopted)
		return fail(-ENOMEM, "no memory for a point");
	p->ndisks = rq->ndisks;
	p->nadopted = w->nadopted;
	for (size_t i = 0; i < w->nadopted; i++)
		p->adopted[i] = w->adopted[i].gen;
	return 0;
}

/*
 * The object: record, labels, escrow, roots. The record's length does not depend on the
 * offsets in it, so it is built once to know them, and once with them.
 */
static void place_section(struct vf_section *s, const struct buf *b,
			  uint32_t *at)
{
	if (!b->len)
		return;
	s->offset = *at;
	s->length = (uint32_t)b->len;
	sha256(b->data, b->len, &s->digest);
	*at += s->length;
}

static int build_object(struct point_parts *x)
{
	struct vf_point *p = &x->p;
	uint32_t at;

	p->written_ns = time_now_ns();
	vf_point_put(&x->object, p);
	x->record_length = at = (uint32_t)x->object.len;
	place_section(&p->labels, &x->labels, &at);
	place_section(&p->escrow, &x->escrow, &at);
	for (size_t i = 0; i < p->ndisks; i++) {
		if (place_is_none(&p->disks[i].root_place))
			continue;
		p->disks[i].root_place.offset = at;
		at += p->disks[i].root_place.length;
	}
	buf_reset(&x->object);
	vf_point_put(&x->object, p);
	buf_add(&x->object, x->labels.data, x->labels.len);
	buf_add(&x->object, x->escrow.data, x->escrow.len);
	buf_add(&x->object, x->roots.data, x->roots.len);
	return buf_check(&x->object, "the point object");
}

static int store_disks(struct backup_run *run, const struct backup_disk **disks,
		       struct point_parts *x)
{
	for (size_t i = 0; i < run->rq->ndisks; i++) {
		struct vf_disk *d = &x->p.disks[i];
		size_t before = x->roots.len;
		int r = backup_disk(run, disks[i], d, &x->roots);

		if (r)
			return r;
		x->p.caller_extents |= d->caller_extents;
		if (x->roots.len > before)
			d->root_place = (struct place){
				.gen = run->w->gen,
				.length = (uint32_t)(x->roots.len - before),
				.flags = PLACE_POINT,
			};
	}
	return 0;
}

static int publish(struct backup_run *run, struct point_parts *x, uint64_t *seq)
{
	struct writer *w = run->w;
	struct point_row row = {
		.time_ns = x->p.time_ns,
		.id = x->p.id,
		.consistency = x->p.consistency,
		.caller_extents = x->p.caller_extents,
		.ndisks = (uint16_t)x->p.ndisks,
		.record_length = x->record_length,
		.object_length = (uint32_t)x->object.len,
	};
	struct change ch = {
		.kind = VF_BACKUP,
		.insert = &row,
		.record = x->object.data,
		.base = run->base ? &run->base->p.id : NULL,
	};
	char key[VF_KEY_SIZE];
	int r;

	sha256(x->object.data, x->record_length, &row.record_digest);
	vf_key_gen(key, w->vm_key, 'p', &w->gen);
	r = store_put(w->store, key, x->object.data, x->object.len);
	return r ? r : commit_publish(w, &ch, seq, &run->lost);
}

/* --- all of it --- */

static int run_backup(struct backup_run *run, const struct backup_disk **disks)
{
	DROP(point_parts)
	struct point_parts x = {
		.labels = BUF_INIT(VF_LABELS_MAX),
		.escrow = BUF_INIT(VF_ESCROW_MAX),
		.roots = BUF_INIT(STORE_OBJECT_MAX),
		.object = BUF_INIT(STORE_OBJECT_MAX),
	};
	const struct backup_request *rq = run->rq;
	struct writer *w = run->w;
	uint64_t seq;
	int r = init_parts(w, rq, disks, run->base, &x);

	for (size_t i = 0; i < rq->ndisks; i++)
		run->progress.total += plan_total(disks[i], rq->check_percent);
	if (!r)
		r = pool_new(pool_default_threads(), &run->pool);
	if (!r)
		r = store_disks(run, disks, &x);
	if (!r)
		r = build_object(&x);
	if (!r)
		r = publish(run, &x, &seq);
	if (r)
		return r;
	session_end(w, VF_COMMITTED, seq);
	run->result->seq = seq;
	run->result->id = w->gen;
	run->result->resumed = w->nadopted > 0;
	if (run->base)
		run->result->base = run->base->p.id;
	return 0;
}

/* Opens the writer, finds the base, begins the session; anew when the VM
 * changes meanwhile. */
static int begin(struct vault *v, const struct backup_request *rq,
		 struct writer *w, struct vault_point **base)
{
	int r = -EAGAIN;

	for (int i = 0; i < 10 && r == -EAGAIN; i++) {
		if (*base)
			point_info_unref(&(*base)->info);
		*base = NULL;
		r = writer_open(v, rq->vm, w);
		if (!r)
			r = refuse_same_time(w, rq->time_ns);
		if (!r)
			r = find_base(w, rq, base);
		if (!r)
			r = session_begin(w, *base ? &(*base)->p.id : NULL,
					  rq->take_over);
	}
	return r;
}

/*
 * After the failure r. What the kernel could not write back it tells once to each
 * who has the store open: the next program would read those bytes from memory and
 * build on them. A barrier says whether it happened; if it failed before it
 * fails again (store.h).
 */
static int distrust_store(struct writer *w, int r)
{
	struct err_saved why;

	err_save(r, &why);
	if (store_barrier(w->store) < 0 && session_disown(w) < 0)
		return blame(
			err_load(&why),
			"what this backup stored may not have reached the disk, and its session could not be ended: restart the machine before the next backup of %s",
			w->vm);
	return err_load(&why);
}

int vault_backup(struct vault *v, const struct backup_request *rq,
		 struct backup_result *out)
{
	DROP(mem) const struct backup_disk **disks = NULL;
	DROP(writer) struct writer w = { 0 };
	struct backup_result result = { 0 };
	struct backup_run run = { .rq = rq, .result = &result, .w = &w };
	int r = check_request(rq);

	if (r)
		return r;
	disks = calloc(rq->ndisks, sizeof(struct backup_disk *));
	if (!disks)
		return fail(-ENOMEM, "no memory for a backup");
	r = sort_disks(rq, disks);
	if (!r)
		r = begin(v, rq, &w, &run.base);
	if (!r)
		r = run_backup(&run, disks);
	/* Lost to another backup, of which what we stored is no part: nothing
	 * to take over. What failed else leaves its session behind, and the
	 * next one adopts it. */
	if (r == -ESTALE && run.lost) {
		struct err_saved why;

		err_save(r, &why);
		session_end(&w, VF_GIVEN_UP, 0);
		r = err_load(&why);
	}
	if (r && w.recorded)
		r = distrust_store(&w, r);
	pool_free(run.pool);
	if (run.base)
		point_info_unref(&run.base->info);
	if (!r)
		*out = result;
	return r;
}
