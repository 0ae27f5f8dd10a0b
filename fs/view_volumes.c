// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * volumes/ and escrow/ of a point. Neither is asked for anything until it is listed
 * or something is looked up in it.
 */
#include "fs/view_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/resolver.h"

#define IMG ".img"
#define LOCKED ".locked"
#define VOLUMES_JSON "volumes.json"
#define TEXT_MAX ((size_t)64 << 10)

/* --- what they have in common --- */

struct inside {
	struct folder base;
	struct place *place;
	struct point_row row;
};

static struct inside *inside_of(struct folder *f)
{
	return container_of(f, struct inside, base);
}

static int inside_open(struct place *p, const struct point_row *row,
		       const struct folder_ops *ops, struct folder **ret)
{
	struct inside *in = calloc(1, sizeof(*in));

	if (!in)
		return fail(-ENOMEM, "out of memory");
	in->base.ops = ops;
	in->place = view_place_ref(p);
	in->row = *row;
	*ret = &in->base;
	return 0;
}

static void inside_close(struct folder *f)
{
	struct inside *in = inside_of(f);

	view_place_unref(in->place);
	free(in);
}

static int inside_xattr(struct folder *f, const char *name, const char *key,
			struct buf *out)
{
	struct inside *in = inside_of(f);

	return view_xattr_point(in->place, &in->row, name, key, out);
}

static struct entry_attr private_text(const struct inside *in, size_t size)
{
	struct entry_attr a = view_text_attr(size, in->row.time_ns,
					     in->place->view->fresh_ms);

	a.owner_only = true;
	return a;
}

/* --- volumes/ --- */

static int volumes_of(const struct inside *in, struct resolved **ret)
{
	const struct place *p = in->place;

	return resolver_get(p->view->resolver, p->number, p->vault, p->vm,
			    &in->row, ret);
}

static int locked_text(const struct volumes_row *row, struct buf *b)
{
	buf_printf(b, "%s is locked (%s): %s\n", row->name,
		   volumes_state_name(row->state), row->reason);
	return buf_check(b, "text");
}

static int row_attr(const struct inside *in, const struct volumes_row *row,
		    struct entry_attr *out)
{
	DROP(buf) struct buf b = BUF_INIT(TEXT_MAX);
	int r;

	if (!volumes_readable(row)) {
		r = locked_text(row, &b);
		*out = private_text(in, b.len);
		return r;
	}
	*out = private_text(in, row->size);
	out->dropped = true;
	return 0;
}

static void row_name(const struct volumes_row *row, char *out, size_t size)
{
	snprintf(out, size, "%s%s", row->name,
		 volumes_readable(row) ? IMG : LOCKED);
}

static int find_row(const struct volumes *v, const char *name, size_t *ret)
{
	char shown[300];

	for (size_t i = 0; i < volumes_count(v); i++) {
		row_name(volumes_at(v, i), shown, sizeof(shown));
		if (strcmp(shown, name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return view_no_entry(name);
}

static int volumes_lookup(struct folder *f, const char *name,
			  struct entry_attr *out)
{
	DROP(resolved) struct resolved *p = NULL;
	struct inside *in = inside_of(f);
	size_t row, len;
	int r = volumes_of(in, &p);

	if (r)
		return r;
	if (strcmp(name, VOLUMES_JSON) == 0) {
		resolved_json(p, &len);
		*out = private_text(in, len);
		return 0;
	}
	r = find_row(resolved_volumes(p), name, &row);
	return r ? r : row_attr(in, volumes_at(resolved_volumes(p), row), out);
}

static int volumes_list(struct folder *f, uint64_t cookie, folder_emit *emit,
			void *ctx)
{
	DROP(resolved) struct resolved *p = NULL;
	struct inside *in = inside_of(f);
	const struct volumes *v;
	struct entry_attr a;
	char name[300];
	size_t len;
	int r = volumes_of(in, &p);

	if (r)
		return r;
	v = resolved_volumes(p);
	for (; cookie < volumes_count(v); cookie++) {
		r = row_attr(in, volumes_at(v, cookie), &a);
		if (r)
			return r;
		row_name(volumes_at(v, cookie), name, sizeof(name));
		if (emit(ctx, name, &a, cookie + 1))
			return 0;
	}
	if (cookie == volumes_count(v)) {
		resolved_json(p, &len);
		a = private_text(in, len);
		emit(ctx, VOLUMES_JSON, &a, cookie + 1);
	}
	return 0;
}

static int volumes_open_file(struct folder *f, const char *name,
			     struct source **ret)
{
	DROP(resolved) struct resolved *p = NULL;
	DROP(buf) struct buf b = BUF_INIT(TEXT_MAX);
	struct inside *in = inside_of(f);
	const struct volumes_row *row;
	struct point_row now;
	const char *json;
	size_t i, len;
	int r = view_point_now(in->place, &in->row, &now);

	if (!r)
		r = volumes_of(in, &p);
	if (r)
		return r;
	if (strcmp(name, VOLUMES_JSON) == 0) {
		json = resolved_json(p, &len);
		return view_copy_open(json, len, ret);
	}
	r = find_row(resolved_volumes(p), name, &i);
	if (r)
		return r;
	row = volumes_at(resolved_volumes(p), i);
	if (volumes_readable(row))
		return volumes_image(resolved_volumes(p), i, ret);
	r = locked_text(row, &b);
	return r ? r : view_copy_open(b.data, b.len, ret);
}

static const struct folder_ops volumes_ops = {
	.name = "volumes",
	.lookup = volumes_lookup,
	.list = volumes_list,
	.open = volumes_open_file,
	.xattr = inside_xattr,
	.close = inside_close,
};

int view_volumes_open(struct place *p, const struct point_row *row,
		      struct folder **ret)
{
	return inside_open(p, row, &volumes_ops, ret);
}

/* --- escrow/ --- */

/* As text for people; what is no record of ours that can be read is not shown: it
 * might have a key in it that is not wrapped. */
static int doc_text(const struct escrow_doc *d, const char *disk, char **ret,
		    size_t *len)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(json) struct json *j = NULL;
	int r = escrow_parse(d->text, d->len, &rec);

	if (r == -ENOMEM)
		return r;
	if (r) {
		j = json_object();
		json_set_str(j, "withheld", err_text(r));
	} else {
		snprintf(rec.disk, sizeof(rec.disk), "%s", disk);
		j = escrow_json(&rec);
	}
	return json_text(j, true, ret, len);
}

struct escrow {
	struct cache_blob *card;
	struct escrow_docs docs;
};

static void drop_escrow(struct escrow *e)
{
	escrow_docs_release(&e->docs);
	cache_unref(e->card);
}

static int escrow_of(struct inside *in, struct escrow *e)
{
	struct place *p = in->place;
	int r = view_card_get(p, &in->row, &e->card);

	return r ? r
		 : catalog_escrow(view_catalog(p), p->vault, p->vm,
				  view_card(e->card), &e->docs);
}

static const char *disk_of(const struct escrow *e, size_t i)
{
	int disk = e->docs.v[i].disk;

	return disk < 0 ? "" : view_card(e->card)->disks[disk].name;
}

static void doc_name(const struct escrow *e, size_t i, char *out, size_t size)
{
	const char *disk = disk_of(e, i);

	snprintf(out, size, "%zu-%s.json", i + 1, *disk ? disk : "vm");
}

static int doc_attr(const struct inside *in, const struct escrow *e, size_t i,
		    struct entry_attr *out)
{
	DROP(mem) char *text = NULL;
	size_t len = 0;
	int r = doc_text(&e->docs.v[i], disk_of(e, i), &text, &len);

	*out = private_text(in, len);
	return r;
}

static int find_doc(const struct escrow *e, const char *name, size_t *ret)
{
	char shown[CATALOG_NAME_MAX + 40];

	for (size_t i = 0; i < e->docs.n; i++) {
		doc_name(e, i, shown, sizeof(shown));
		if (strcmp(shown, name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return view_no_entry(name);
}

static int escrow_lookup(struct folder *f, const char *name,
			 struct entry_attr *out)
{
	DROP(escrow) struct escrow e = { 0 };
	size_t i;
	int r = escrow_of(inside_of(f), &e);

	if (!r)
		r = find_doc(&e, name, &i);
	return r ? r : doc_attr(inside_of(f), &e, i, out);
}

static int escrow_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		       void *ctx)
{
	DROP(escrow) struct escrow e = { 0 };
	char name[CATALOG_NAME_MAX + 40];
	struct entry_attr a;
	int r = escrow_of(inside_of(f), &e);

	for (; !r && cookie < e.docs.n; cookie++) {
		r = doc_attr(inside_of(f), &e, cookie, &a);
		if (r)
			return r;
		doc_name(&e, cookie, name, sizeof(name));
		if (emit(ctx, name, &a, cookie + 1))
			break;
	}
	return r;
}

static int escrow_open_file(struct folder *f, const char *name,
			    struct source **ret)
{
	DROP(escrow) struct escrow e = { 0 };
	char *text = NULL;
	size_t i, len;
	int r = escrow_of(inside_of(f), &e);

	if (!r)
		r = find_doc(&e, name, &i);
	if (!r)
		r = doc_text(&e.docs.v[i], disk_of(&e, i), &text, &len);
	return r ? r : view_text_open(text, len, ret);
}

static const struct folder_ops escrow_ops = {
	.name = "escrow",
	.lookup = escrow_lookup,
	.list = escrow_list,
	.open = escrow_open_file,
	.xattr = inside_xattr,
	.close = inside_close,
};

int view_escrow_open(struct place *p, const struct point_row *row,
		     struct folder **ret)
{
	return inside_open(p, row, &escrow_ops, ret);
}
