// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>

#include "backend/base/parse.h"
#include "backend/vault/writer.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

struct victims {
	struct point_row *rows;
	struct point_id *ids;
	size_t n;
};

static void drop_victims(struct victims *v)
{
	free(v->rows);
	free(v->ids);
}

static bool already(const struct victims *v, const struct point_id *id)
{
	for (size_t i = 0; i < v->n; i++)
		if (point_id_equal(&v->ids[i], id))
			return true;
	return false;
}

/* All of them are found before any is dropped. */
static int find_victims(const struct command *c, struct opened *o,
			const char *vm, struct victims *v)
{
	size_t max = c->args.n - 2;
	int r;

	v->rows = calloc(max, sizeof(*v->rows));
	v->ids = calloc(max, sizeof(*v->ids));
	if (!v->rows || !v->ids)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 2; i < c->args.n; i++) {
		struct point_row *row = &v->rows[v->n];

		r = catalog_find_point(o->catalog, o->name, vm, c->args.v[i],
				       row);
		if (r < 0)
			return r;
		if (row->held)
			return fail(-EPERM,
				    "%s: point %s is under legal hold and "
				    "cannot be dropped",
				    vm, c->args.v[i]);
		if (already(v, &row->id))
			continue;
		v->ids[v->n++] = row->id;
	}
	return 0;
}

static int report(const struct command *c, const char *vm,
		  const struct victims *v, bool dry)
{
	DROP(json) struct json *top = NULL;
	struct json *list;
	char name[POINT_NAME_SIZE], id[POINT_ID_TEXT];

	if (!c->json) {
		for (size_t i = 0; i < v->n && !c->quiet; i++) {
			point_name(&v->rows[i], NULL, NULL, name);
			printf("%s %s: %s\n", vm, name,
			       dry ? "would be dropped" : "dropped");
		}
		return 0;
	}
	top = json_object();
	list = json_array();
	for (size_t i = 0; i < v->n; i++) {
		struct json *row = json_object();

		point_name(&v->rows[i], NULL, NULL, name);
		point_id_text(&v->rows[i].id, id);
		json_set_str(row, "name", name);
		json_set_str(row, "id", id);
		json_push(list, row);
	}
	json_set_str(top, "vm", vm);
	json_set_bool(top, "dryRun", dry);
	json_set(top, "dropped", list);
	return print_json(take(top));
}

int cmd_prune(int argc, char **argv)
{
	bool dry = false;
	const struct option_def options[] = {
		{ 'n', "dry-run", OPTION_FLAG, &dry, NULL,
		  "only tell what would be dropped" },
	};
	DROP(command)
	struct command c = COMMAND(
		"prune", "VAULT VM POINT...", options,
		"Drops recovery points of a VM, all of those named or none. "
		"They are gone from listings and mounts at once; what only "
		"they needed stays in the vault until it is swept.");
	DROP(opened) struct opened o = { 0 };
	DROP(victims) struct victims v = { 0 };
	struct vault *vault;
	const char *vm;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	vm = c.args.v[1];
	r = check_name_arg("VM name", vm);
	if (r == 0)
		r = dry ? open_reading(&c, &o) : open_writing(&c, &o);
	if (r == 0)
		r = find_victims(&c, &o, vm, &v);
	if (r == 0 && !dry)
		r = opened_native(&o, &vault);
	if (r == 0 && !dry)
		r = vault_prune(vault, vm, v.ids, v.n);
	return r < 0 ? r : report(&c, vm, &v, dry);
}
