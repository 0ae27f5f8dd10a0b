// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "tools/common/interrupt.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

#define PAGE 1000

struct listing {
	const struct command *c;
	struct catalog *catalog;
	const char *vault, *vm;
	bool names, more;
	/* One of them, or neither when only names are printed. */
	struct table *table;
	struct json *rows;
};

/* --- VMs --- */

/* What is known of it without asking. */
static int emit_name(struct listing *l, const char *vm)
{
	struct json *row;

	if (l->table) {
		table_cell(l->table, "%s", vm);
		table_cell(l->table, "-");
		table_cell(l->table, "-");
		table_cell(l->table, "-");
		return 0;
	}
	row = json_object();
	json_set_str(row, "name", vm);
	json_push(l->rows, row);
	return 0;
}

static int emit_vm(struct listing *l, const char *vm)
{
	struct point_row last;
	uint64_t points, version;
	char name[POINT_NAME_SIZE] = "-";
	struct json *row;
	int r;

	if (l->names) {
		puts(vm);
		return 0;
	}
	if (l->catalog->dear_points && !l->more)
		return emit_name(l, vm);
	r = catalog_count(l->catalog, l->vault, vm, &points, &version);
	if (r < 0)
		return r;
	r = catalog_latest(l->catalog, l->vault, vm, &last);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0)
		point_name(&last, NULL, NULL, name);
	if (l->table) {
		table_cell(l->table, "%s", vm);
		table_cell(l->table, "%llu", (unsigned long long)points);
		table_cell(l->table, "%s", name);
		table_cell(l->table, "%s",
			   r == 0 ? consistency_text(last.consistency) : "-");
		return 0;
	}
	row = json_object();
	json_set_str(row, "name", vm);
	json_set_u64(row, "points", points);
	json_set_str(row, "latest", r == 0 ? name : NULL);
	json_push(l->rows, row);
	return 0;
}

/* What failed may name the VM itself. */
static int name_vm(int r, const char *vm)
{
	char prefix[CATALOG_NAME_MAX + 8];
	const char *text = err_text(r);
	size_t len;

	snprintf(prefix, sizeof(prefix), "VM %s", vm);
	len = strlen(prefix);
	if (!strncmp(text, prefix, len) &&
	    (text[len] == ' ' || text[len] == ':'))
		return r;
	return blame(r, "%s", prefix);
}

/* Told at once: the next one leaves another sentence. */
static void emit_bad_vm(struct listing *l, const char *vm, int r)
{
	struct json *row;

	r = name_vm(r, vm);
	log_error("%s", err_text(r));
	if (!l->rows)
		return;
	row = json_object();
	json_set_str(row, "name", vm);
	json_set_str(row, "error", err_text(r));
	json_push(l->rows, row);
}

/* A VM whose head is damaged must not hide the others. */
static int list_vms(struct listing *l)
{
	char after[CATALOG_NAME_MAX + 1] = "";
	bool more = true;
	size_t bad = 0;
	int r;

	while (more) {
		DROP(name_page) struct name_page page = { 0 };

		r = catalog_vms(l->catalog, l->vault, after, PAGE, &page);
		if (r < 0)
			return r;
		for (size_t i = 0; i < page.count; i++) {
			r = interrupt_check();
			if (r < 0)
				return r;
			r = emit_vm(l, page.names[i]);
			if (r == -ECANCELED)
				return r;
			if (r < 0) {
				emit_bad_vm(l, page.names[i], r);
				bad++;
			}
			snprintf(after, sizeof(after), "%s", page.names[i]);
		}
		more = page.more && page.count;
	}
	if (!bad)
		return 0;
	return fail(-EIO, "%zu VM%s cannot be listed", bad,
		    bad == 1 ? "" : "s");
}

/* --- points of one VM --- */

static void flags_text(const struct point_row *row, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s", row->held ? "held" : "",
		 row->held && row->caller_extents ? "," : "",
		 row->caller_extents ? "extents" : "");
}

struct sums {
	uint64_t size, data, stored, read;
};

/* Only --long costs a read a point. */
static int sum_up(struct listing *l, const struct point_row *row,
		  struct sums *out)
{
	DROP(point_info) struct point_info *p = NULL;
	int r = catalog_point(l->catalog, l->vault, l->vm, row, &p);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->ndisks; i++) {
		out->size += p->disks[i].has_size ? p->disks[i].size : 0;
		out->data += p->disks[i].data_bytes;
		out->stored += p->disks[i].stored_bytes;
		out->read += p->disks[i].read_bytes;
	}
	return 0;
}

static void point_cells(struct listing *l, const struct point_row *row,
			const char *name, const struct sums *s)
{
	char flags[32];

	flags_text(row, flags, sizeof(flags));
	table_cell(l->table, "%s", name);
	table_cell(l->table, "%s", consistency_text(row->consistency));
	table_cell(l->table, "%u", row->ndisks);
	if (l->more) {
		table_size(l->table, s->size);
		table_size(l->table, s->data);
		table_size(l->table, s->stored);
	}
	table_cell(l->table, "%s", *flags ? flags : "-");
}

static void point_object(struct listing *l, const struct point_row *row,
			 const char *name, const struct sums *s)
{
	char id[POINT_ID_TEXT], time[TIME_TEXT_SIZE];
	struct json *j = json_object();

	point_id_text(&row->id, id);
	time_iso(row->time_ns, time);
	json_set_str(j, "name", name);
	json_set_str(j, "time", time);
	json_set_str(j, "id", id);
	json_set_str(j, "consistency", consistency_text(row->consistency));
	json_set_u64(j, "disks", row->ndisks);
	json_set_bool(j, "held", row->held);
	json_set_bool(j, "callerExtents", row->caller_extents);
	if (l->more) {
		json_set_u64(j, "sizeBytes", s->size);
		json_set_u64(j, "dataBytes", s->data);
		json_set_u64(j, "storedBytes", s->stored);
		json_set_u64(j, "readBytes", s->read);
	}
	json_push(l->rows, j);
}

static int emit_point(struct listing *l, const struct point_row *row,
		      const struct point_row *prev,
		      const struct point_row *next)
{
	char name[POINT_NAME_SIZE];
	struct sums s = { 0 };
	int r;

	point_name(row, prev, next, name);
	if (l->names) {
		puts(name);
		return 0;
	}
	if (l->more) {
		r = sum_up(l, row, &s);
		if (r < 0)
			return blame(r, "point %s", name);
	}
	if (l->table)
		point_cells(l, row, name, &s);
	else
		point_object(l, row, name, &s);
	return 0;
}

/* A row is printed once the one after it is known: its name depends on it. */
static int list_points(struct listing *l)
{
	struct point_row prev, cur;
	size_t seen = 0;
	int64_t from = INT64_MIN;
	bool more = true;
	int r;

	while (more) {
		DROP(point_page) struct point_page page = { 0 };

		r = interrupt_check();
		if (r == 0)
			r = catalog_points(l->catalog, l->vault, l->vm, from,
					   PAGE, &page);
		if (r < 0)
			return r;
		for (size_t i = 0; i < page.count; i++, seen++) {
			if (seen) {
				r = emit_point(l, &cur, seen > 1 ? &prev : NULL,
					       &page.rows[i]);
				if (r < 0)
					return r;
				prev = cur;
			}
			cur = page.rows[i];
			from = cur.time_ns + 1;
		}
		more = page.more && page.count;
	}
	return seen ? emit_point(l, &cur, seen > 1 ? &prev : NULL, NULL) : 0;
}

static int new_table(struct listing *l)
{
	static const char *const vms[] = { "VM", ">POINTS", "LATEST",
					   "CONSISTENCY", NULL };
	static const char *const points[] = { "POINT", "CONSISTENCY", ">DISKS",
					      "FLAGS", NULL };
	static const char *const points_long[] = { "POINT",  "CONSISTENCY",
						   ">DISKS", ">SIZE",
						   ">DATA",  ">NEW",
						   "FLAGS",  NULL };

	if (!l->vm)
		return table_new(vms, &l->table);
	return table_new(l->more ? points_long : points, &l->table);
}

static int print_listing(struct listing *l)
{
	DROP(json) struct json *top = NULL;

	if (l->table)
		return table_rows(l->table) ? table_print(l->table, 0) : 0;
	if (!l->rows)
		return 0;
	top = json_object();
	json_set_str(top, "vault", l->vault);
	if (l->vm)
		json_set_str(top, "vm", l->vm);
	json_set(top, l->vm ? "points" : "vms", take(l->rows));
	return print_json(take(top));
}

static int list(struct listing *l)
{
	int r = 0, printed;

	if (l->c->json && !l->names)
		l->rows = json_array();
	else if (!l->names)
		r = new_table(l);
	if (r < 0)
		return r;
	r = l->vm ? list_points(l) : list_vms(l);
	/* What could be read is shown, whatever else failed. */
	if (r < 0) {
		struct err_saved why;

		err_save(r, &why);
		printed = print_listing(l);
		(void)printed;
		return err_load(&why);
	}
	return print_listing(l);
}

int cmd_list(int argc, char **argv)
{
	struct listing l = { 0 };
	const struct option_def options[] = {
		{ 'l', "long", OPTION_FLAG, &l.more, NULL,
		  "also sizes, which takes a read a point" },
		{ '1', "names", OPTION_FLAG, &l.names, NULL,
		  "names only, one a line" },
	};
	DROP(command)
	struct command c = COMMAND(
		"list", "VAULT [VM]", options,
		"Lists the VMs of a vault, or the recovery points of a VM from "
		"the oldest to the newest.");
	DROP(opened) struct opened o = { 0 };
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	l.c = &c;
	l.vm = command_arg(&c, 1);
	if (l.vm) {
		r = check_name_arg("VM name", l.vm);
		if (r < 0)
			return r;
	}
	r = open_reading(&c, &o);
	if (r < 0)
		return r;
	l.catalog = o.catalog;
	l.vault = o.name;
	r = list(&l);
	table_free(l.table);
	json_close(l.rows);
	return r;
}
