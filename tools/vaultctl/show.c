// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"
#include "crypt/escrow.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

/* --- a vault --- */

static int show_vault(const struct command *c, struct opened *o)
{
	DROP(json) struct json *j = json_object();
	int r = j ? catalog_describe(o->catalog, o->name, j)
		  : fail(-ENOMEM, "out of memory");

	if (r < 0)
		return r;
	/* The description is what vault.json of a mount holds: JSON already. */
	(void)c;
	return print_json(take(j));
}

/* --- a point --- */

static int print_disks(const struct point_info *p)
{
	static const char *const headings[] = { "DISK", ">SIZE", ">DATA",
						">NEW", "STATE", "ROOT",
						NULL };
	DROP(table) struct table *t = NULL;
	int r = table_new(headings, &t);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->ndisks; i++) {
		const struct disk_info *d = &p->disks[i];
		char root[DIGEST_HEX + 1] = "-";

		if (d->has_root)
			digest_hex(&d->root, root);
		table_cell(t, "%s", d->name);
		if (d->has_size)
			table_size(t, d->size);
		else
			table_cell(t, "-");
		table_size(t, d->data_bytes);
		table_size(t, d->stored_bytes);
		table_cell(t, "%s",
			   d->state_sentence ? d->state_sentence : "ready");
		/* Enough to tell images apart; --json has all of it. */
		table_cell(t, "%.16s", root);
	}
	putchar('\n');
	return table_print(t, 2);
}

/* As list has it: with its tag when another point has its second. */
static int name_point(struct opened *o, const char *vm,
		      const struct point_row *row,
		      char out[static POINT_NAME_SIZE])
{
	const int64_t second = 1000000000;
	DROP(point_page) struct point_page page = { 0 };
	int64_t within = (row->time_ns % second + second) % second;
	const struct point_row *other = NULL;
	int r = catalog_points(o->catalog, o->name, vm, row->time_ns - within,
			       2, &page);

	if (r < 0)
		return r;
	for (size_t i = 0; i < page.count; i++)
		if (!other && !point_id_equal(&page.rows[i].id, &row->id))
			other = &page.rows[i];
	point_name(row, other, NULL, out);
	return 0;
}

static void print_point(const struct point_info *p, const char *name)
{
	char id[POINT_ID_TEXT], text[TIME_TEXT_SIZE];

	print_field("VM", "%s", p->vm);
	print_field("Point", "%s", name);
	time_iso(p->row.time_ns, text);
	print_field("Time", "%s", text);
	point_id_text(&p->row.id, id);
	print_field("Id", "%s", id);
	print_field("Consistency", "%s", consistency_text(p->row.consistency));
	if (p->base.seq || p->base.nonce) {
		point_id_text(&p->base, id);
		print_field("Base", "%s", id);
	}
	time_iso(p->written_ns, text);
	print_field("Written", "%s", text);
	if (p->row.expiry_ns) {
		time_iso(p->row.expiry_ns, text);
		print_field("Expires", "%s", text);
	}
	if (p->row.held)
		print_field("Hold", "legal hold");
	if (p->row.caller_extents)
		print_field("Changes", "extents as given by the caller");
	for (size_t i = 0; i < p->nlabels; i++)
		print_field(i ? "" : "Labels", "%s=%s", p->labels[i].key,
			    p->labels[i].value);
}

static void print_escrow(const struct escrow_docs *docs,
			 const struct point_info *p)
{
	for (size_t i = 0; i < docs->n; i++) {
		DROP(escrow_record) struct escrow_record rec = { 0 };
		const struct escrow_doc *d = &docs->v[i];
		char place[ESCROW_PLACE_SIZE], kek[WRAP_NAME_SIZE];

		if (escrow_parse(d->text, d->len, &rec) < 0) {
			print_field(i ? "" : "Escrow",
				    "a document of another kind");
			continue;
		}
		if (d->disk >= 0)
			snprintf(rec.disk, sizeof(rec.disk), "%s",
				 p->disks[d->disk].name);
		escrow_place(&rec, place);
		if (!rec.nwraps)
			print_field(i ? "" : "Escrow",
				    "%s: not wrapped, so "
				    "not kept",
				    place);
		for (size_t k = 0; k < rec.nwraps; k++) {
			wrap_name(&rec.wraps[k], kek);
			print_field(i || k ? "" : "Escrow", "%s: KEK %s", place,
				    kek);
		}
	}
}

static int show_point(const struct command *c, struct opened *o, const char *vm,
		      const char *point)
{
	DROP(point_info) struct point_info *p = NULL;
	char name[POINT_NAME_SIZE];
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	struct point_row row;
	struct json *j;
	int r = catalog_find_point(o->catalog, o->name, vm, point, &row);

	if (r == 0)
		r = catalog_point(o->catalog, o->name, vm, &row, &p);
	if (r == 0)
		r = name_point(o, vm, &row, name);
	if (r == 0)
		r = catalog_escrow(o->catalog, o->name, vm, p, &docs);
	if (r < 0)
		return r;
	if (c->json) {
		j = point_json(p);
		escrow_describe(&docs, p, j);
		json_set_str(j, "name", name);
		return print_json(j);
	}
	print_point(p, name);
	print_escrow(&docs, p);
	return print_disks(p);
}

/* --- a VM --- */

struct vm_summary {
	uint64_t points;
	bool any;
	struct point_row first, last;
};

static int summarise(struct opened *o, const char *vm, struct vm_summary *s)
{
	DROP(point_page) struct point_page page = { 0 };
	uint64_t version;
	int r = catalog_count(o->catalog, o->name, vm, &s->points, &version);

	if (r == 0)
		r = catalog_points(o->catalog, o->name, vm, INT64_MIN, 1,
				   &page);
	if (r < 0)
		return r;
	if (!page.count)
		return 0;
	s->any = true;
	s->first = page.rows[0];
	return catalog_latest(o->catalog, o->name, vm, &s->last);
}

static int vm_object(const struct opened *o, const char *vm,
		     const struct vm_summary *s, const struct point_info *last)
{
	struct json *j = json_object();
	char name[POINT_NAME_SIZE];

	json_set_str(j, "vault", o->name);
	json_set_str(j, "vm", vm);
	json_set_u64(j, "points", s->points);
	if (s->any) {
		point_name(&s->first, NULL, NULL, name);
		json_set_str(j, "oldest", name);
		json_set(j, "latest", point_json(last));
	}
	return print_json(j);
}

static int show_vm(const struct command *c, struct opened *o, const char *vm)
{
	DROP(point_info) struct point_info *last = NULL;
	struct vm_summary s = { 0 };
	char name[POINT_NAME_SIZE];
	int r = summarise(o, vm, &s);

	if (r == 0 && s.any)
		r = catalog_point(o->catalog, o->name, vm, &s.last, &last);
	if (r < 0)
		return r;
	if (c->json)
		return vm_object(o, vm, &s, last);
	print_field("VM", "%s", vm);
	print_field("Vault", "%s", o->name);
	print_field("Points", "%llu", (unsigned long long)s.points);
	if (!s.any)
		return 0;
	point_name(&s.first, NULL, NULL, name);
	print_field("Oldest", "%s", name);
	point_name(&s.last, NULL, NULL, name);
	print_field("Latest", "%s", name);
	return print_disks(last);
}

int cmd_show(int argc, char **argv)
{
	DROP(command)
	struct command c = COMMAND_PLAIN(
		"show", "VAULT [VM] [POINT]",
		"Shows a vault, a VM with the disks of its latest point, or one "
		"recovery point: its times, consistency, labels, disks, sizes "
		"and root hashes.");
	DROP(opened) struct opened o = { 0 };
	const char *vm, *point;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	vm = command_arg(&c, 1);
	point = command_arg(&c, 2);
	if (vm) {
		r = check_name_arg("VM name", vm);
		if (r < 0)
			return r;
	}
	r = open_reading(&c, &o);
	if (r < 0)
		return r;
	if (!vm)
		return show_vault(&c, &o);
	return point ? show_point(&c, &o, vm, point) : show_vm(&c, &o, vm);
}
