// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultkey/points.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "tools/common/interrupt.h"

#define PAGE 256

int point_records(struct opened *o, const char *vm, struct point_info *p,
		  struct escrow_records *out)
{
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	int r = catalog_escrow(o->catalog, o->name, vm, p, &docs);

	for (size_t i = 0; i < docs.n && r == 0; i++) {
		DROP(escrow_record) struct escrow_record rec = { 0 };
		const struct escrow_doc *d = &docs.v[i];

		r = escrow_parse(d->text, d->len, &rec);
		if (r == -EPROTO) {
			log_info("%s: %s", vm, err_text(r));
			r = 0;
			continue;
		}
		if (r == 0 && d->disk >= 0)
			snprintf(rec.disk, sizeof(rec.disk), "%s",
				 p->disks[d->disk].name);
		if (r == 0)
			r = escrow_records_add(out, &rec);
	}
	return r;
}

struct walk {
	struct opened *o;
	int (*one)(void *ctx, const char *vm, struct point_info *p,
		   const char *name);
	void *ctx;
};

static int visit(const struct walk *w, const char *vm,
		 const struct point_row *row, const struct point_row *prev,
		 const struct point_row *next)
{
	DROP(point_info) struct point_info *p = NULL;
	char name[POINT_NAME_SIZE];
	int r = interrupt_check();

	if (r == 0)
		r = catalog_point(w->o->catalog, w->o->name, vm, row, &p);
	if (r < 0)
		return r;
	point_name(row, prev, next, name);
	return w->one(w->ctx, vm, p, name);
}

static int visit_page(const struct walk *w, const char *vm,
		      const struct point_page *page, struct point_row *prev,
		      bool *have)
{
	int r = 0;

	for (size_t i = 0; i < page->count && r == 0; i++) {
		r = visit(w, vm, &page->rows[i], *have ? prev : NULL,
			  i + 1 < page->count ? &page->rows[i + 1] : NULL);
		*prev = page->rows[i];
		*have = true;
	}
	return r;
}

static int visit_vm(const struct walk *w, const char *vm)
{
	struct point_row prev;
	bool have = false, more = true;
	int64_t from = INT64_MIN;

	while (more) {
		DROP(point_page) struct point_page page = { 0 };
		int r = catalog_points(w->o->catalog, w->o->name, vm, from,
				       PAGE, &page);

		if (r == 0)
			r = visit_page(w, vm, &page, &prev, &have);
		if (r)
			return r;
		more = page.more;
		if (page.count)
			from = page.rows[page.count - 1].time_ns + 1;
		if (more && page.next_ns > from)
			from = page.next_ns;
		if (more && !page.count && page.next_ns == INT64_MIN)
			return 0;
	}
	return 0;
}

static int visit_all(const struct walk *w)
{
	char after[CATALOG_NAME_MAX + 1] = "";
	bool more = true;

	while (more) {
		DROP(name_page) struct name_page page = { 0 };
		int r = catalog_vms(w->o->catalog, w->o->name, after, PAGE,
				    &page);

		for (size_t i = 0; i < page.count && r == 0; i++)
			r = visit_vm(w, page.names[i]);
		if (r)
			return r;
		more = page.more && page.count;
		if (page.count)
			snprintf(after, sizeof(after), "%s",
				 page.names[page.count - 1]);
	}
	return 0;
}

int each_point(struct opened *o, const char *vm, const char *point,
	       int (*one)(void *ctx, const char *vm, struct point_info *p,
			  const char *name),
	       void *ctx)
{
	const struct walk w = { .o = o, .one = one, .ctx = ctx };
	struct point_row row;
	int r;

	if (!vm)
		return visit_all(&w);
	r = check_name_arg("VM name", vm);
	if (r == 0 && !point)
		return visit_vm(&w, vm);
	if (r == 0)
		r = catalog_find_point(o->catalog, o->name, vm, point, &row);
	return r < 0 ? r : visit(&w, vm, &row, NULL, NULL);
}
