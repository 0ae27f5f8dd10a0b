// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultctl/backup_from.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/rsv.h"
#include "backend/base/log.h"

/* By which the copy of a point is known again. */
#define LABEL_ITEM "azure.item"
#define LABEL_POINT "azure.recoveryPoint"
#define LABEL_MACHINE "azure.sourceResourceId"

#define EXTENTS_MAX ((size_t)10000000)

void from_close(struct from *f)
{
	for (size_t i = 0; i < f->nlabels; i++)
		free(f->labels[i].value);
	point_info_unref(f->info);
	opened_close(&f->o);
}

/* --- the point --- */

static int add_label(struct from *f, const char *key, const char *value)
{
	struct label *l = &f->labels[f->nlabels];

	if (!value)
		return 0;
	l->key = (char *)(uintptr_t)key;
	l->value = strdup(value);
	if (!l->value)
		return fail(-ENOMEM, "out of memory");
	f->nlabels++;
	return 0;
}

static int add_labels(struct from *f)
{
	const struct rsv_facts *a = point_azure_facts(f->info);
	int r;

	if (!a)
		return 0;
	r = add_label(f, LABEL_ITEM, a->item_id);
	if (!r)
		r = add_label(f, LABEL_POINT, a->point->name);
	if (!r)
		r = add_label(f, LABEL_MACHINE, a->source_id);
	return r;
}

int from_open(struct from *f, const struct command *c, const char *vm)
{
	const char *name = f->vm ? f->vm : vm;
	struct point_row row;
	int r = open_url(c, f->url, &f->o);

	if (!r)
		r = catalog_find_point(f->o.catalog, f->o.name, name,
				       f->point ? f->point : "latest", &row);
	if (!r)
		r = catalog_point(f->o.catalog, f->o.name, name, &row,
				  &f->info);
	if (!r && !f->info->ndisks)
		r = fail(-EINVAL, "this point of %s has no disks", name);
	if (!r)
		r = add_labels(f);
	return r ? blame(r, "--from") : 0;
}

int from_disks(struct from *f, struct backup_request *rq)
{
	for (size_t i = 0; i < f->info->ndisks; i++) {
		struct backup_disk *d = &rq->disks[i];
		int r = catalog_open_disk(f->o.catalog, f->o.name, f->info->vm,
					  f->info, i, &d->image);

		if (r)
			return blame(r, "--from");
		d->name = f->info->disks[i].name;
		d->was_vhd = f->info->disks[i].was_vhd;
		rq->ndisks++;
	}
	return 0;
}

/* --- what changed --- */

static const char *label_of(const struct point_info *p, const char *key)
{
	for (size_t i = 0; i < p->nlabels; i++) {
		if (!strcmp(p->labels[i].key, key))
			return p->labels[i].value;
	}
	return "";
}

/* Here, the point that `copy` is a copy of; NULL: none. */
static int find_copied(struct from *f, const struct point_info *copy,
		       struct point_info **ret)
{
	const struct rsv_facts *now = point_azure_facts(f->info), *was;
	DROP(point_page) struct point_page page = { 0 };
	DROP(point_info) struct point_info *p = NULL;
	int r;

	if (!now || strcasecmp(label_of(copy, LABEL_ITEM), now->item_id) != 0)
		return 0;
	r = catalog_points(f->o.catalog, f->o.name, f->info->vm,
			   copy->row.time_ns, 1, &page);
	if (r || !page.count || page.rows[0].time_ns != copy->row.time_ns ||
	    copy->row.time_ns >= f->info->row.time_ns)
		return r;
	r = catalog_point(f->o.catalog, f->o.name, f->info->vm, &page.rows[0],
			  &p);
	if (r)
		return r;
	was = point_azure_facts(p);
	if (!strcmp(was->point->name, label_of(copy, LABEL_POINT)))
		*ret = take(p);
	return 0;
}

struct collecting {
	struct extents *to;
	size_t room;
	uint64_t size; /* of the disk: its footer is none of it */
};

static int collect(void *ctx, uint64_t off, uint64_t len)
{
	struct collecting *c = ctx;
	struct extents *e = c->to;

	if (off >= c->size)
		return 0;
	if (e->n == EXTENTS_MAX)
		return fail(-EFBIG, "more than %zu ranges", EXTENTS_MAX);
	if (e->n == c->room) {
		size_t room = 2 * c->room + 64;
		struct extent_range *r = reallocarray(e->r, room, sizeof(*r));

		if (!r)
			return fail(-ENOMEM, "out of memory");
		e->r = r;
		c->room = room;
	}
	if (len > c->size - off)
		len = c->size - off;
	e->r[e->n++] = (struct extent_range){ off, len };
	return 0;
}

static bool find_disk(const struct point_info *p, const char *name, size_t *ret)
{
	for (size_t i = 0; i < p->ndisks; i++) {
		if (strcmp(p->disks[i].name, name) != 0)
			continue;
		*ret = i;
		return true;
	}
	return false;
}

/* One disk. What cannot be told is read, which is right too. */
static int disk_changes(struct from *f, struct point_info *before,
			const struct point_info *copy, size_t i,
			struct extents *out, bool *has)
{
	const struct disk_info *d = &f->info->disks[i];
	struct collecting c = { .to = out, .size = d->size };
	size_t was, kept;
	int r;

	if (!find_disk(before, d->name, &was) ||
	    !find_disk(copy, d->name, &kept) ||
	    copy->disks[kept].size != d->size)
		return 0;
	r = rsv_disk_changes(f->o.catalog, f->info, i, before, was, collect,
			     &c);
	if (!r)
		r = extents_normalise(out, d->size);
	*has = !r;
	if (!r)
		return 0;
	extents_release(out);
	if (r == -ENOMEM || r == -ECANCELED)
		return r;
	log_warn("disk %s: what changed since the last copy is not told (%s): "
		 "all of it is read",
		 d->name, err_text(r));
	return 0;
}

/* The newest copy is the base; NULL: there is none. */
static int newest(struct opened *to, const char *vm, struct point_info **ret)
{
	struct point_row row;
	int r = catalog_latest(to->catalog, to->name, vm, &row);

	if (r == -ENOENT) {
		err_clear();
		return 0;
	}
	return r ? r : catalog_point(to->catalog, to->name, vm, &row, ret);
}

int from_changes(struct from *f, struct opened *to, const char *vm,
		 struct extents *extents, bool *has, struct point_id *base,
		 bool *any)
{
	DROP(point_info) struct point_info *copy = NULL;
	DROP(point_info) struct point_info *before = NULL;
	int r = newest(to, vm, &copy);

	*any = false;
	if (!r && copy)
		r = find_copied(f, copy, &before);
	if (r)
		return blame(r, "--from");
	for (size_t i = 0; before && i < f->info->ndisks && !r; i++) {
		r = disk_changes(f, before, copy, i, &extents[i], &has[i]);
		*any |= has[i];
	}
	if (*any)
		*base = copy->row.id;
	return r;
}

/* --- keys --- */

static int as_docs(const struct escrow_list *l, struct escrow_docs *out)
{
	int r = 0;

	for (size_t i = 0; i < l->n && !r; i++)
		r = escrow_docs_add(out, -1, l->v[i].text, l->v[i].len);
	return r;
}

int from_escrow(struct from *f, const struct escrow_args *a,
		struct escrow_list *out)
{
	DROP(escrow_docs) struct escrow_docs docs = { 0 }, kept = { 0 };
	int r = catalog_escrow(f->o.catalog, f->o.name, f->info->vm, f->info,
			       &docs);

	if (!r)
		r = escrow_args_copy(a, f->info, &docs, out);
	if (!r)
		r = as_docs(out, &kept);
	if (r)
		return blame(r, "--from");
	if (a->to.n && !docs.n)
		log_warn("the point has no escrow record: nothing is wrapped "
			 "for --escrow-to");
	f->key_vault_only = escrow_key_vault_only(&kept);
	return 0;
}

void from_tell(const struct from *f)
{
	if (f->key_vault_only)
		log_warn("the keys of this point are wrapped by keys in Key "
			 "Vault only, and cannot be unwrapped once that vault "
			 "is gone: --escrow-to PUBLIC.pem wraps them for a key "
			 "of your own too (vaultkey rewrap: for points that "
			 "were copied)");
}
