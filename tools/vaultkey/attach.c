// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/common/escrow_args.h"
#include "tools/common/open.h"
#include "tools/vaultkey/vaultkey.h"

static int tell(const struct command *c, const struct escrow_list *l)
{
	struct json *top;

	if (!c->json) {
		if (!c->quiet)
			printf("%zu escrow record%s added\n", l->n,
			       l->n == 1 ? "" : "s");
		return 0;
	}
	top = json_object();
	json_set_u64(top, "added", l->n);
	return print_json(top);
}

static int run(const struct command *c, const struct escrow_args *a,
	       struct opened *o, struct point_info **p, struct escrow_list *l)
{
	const char *names[CATALOG_DISKS_MAX], *vm = c->args.v[1];
	struct point_row row;
	struct vault *v;
	int r = catalog_find_point(o->catalog, o->name, vm, c->args.v[2], &row);

	if (r == 0)
		r = catalog_point(o->catalog, o->name, vm, &row, p);
	if (r == 0)
		r = opened_native(o, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < (*p)->ndisks; i++)
		names[i] = (*p)->disks[i].name;
	r = escrow_args_read(a, names, (*p)->ndisks, l);
	for (size_t i = 0; i < l->n; i++)
		l->v[i].point = row.id;
	if (r == 0)
		r = vault_attach(v, vm, l->v, l->n);
	return r < 0 ? r : tell(c, l);
}

int cmd_attach(int argc, char **argv)
{
	DROP(escrow_args) struct escrow_args a = { 0 };
	const struct option_def options[] = {
		ESCROW_OPTIONS(a),
	};
	DROP(command)
	struct command c = COMMAND(
		"attach", "VAULT VM POINT", options,
		"Adds escrow records to a recovery point that exists. What it "
		"has already stays.");
	DROP(opened) struct opened o = { 0 };
	DROP(point_info) struct point_info *p = NULL;
	DROP(escrow_list) struct escrow_list l = { 0 };
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	if (!a.escrow.n)
		return bad_usage("--escrow is missing");
	r = escrow_args_check(&a, false);
	if (r == 0)
		r = check_name_arg("VM name", c.args.v[1]);
	if (r == 0)
		r = open_writing(&c, &o);
	return r < 0 ? r : run(&c, &a, &o, &p, &l);
}
