// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Opens each volume of each point and looks for a file system in it, without
 * restoring anything. Volume keys are kept for the whole run, so a lineage costs one
 * derivation until its header or its record changes.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/azure/rsv.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "crypt/escrow_azure.h"
#include "crypt/keycache.h"
#include "crypt/volumes.h"
#include "tools/common/interrupt.h"
#include "tools/common/open.h"
#include "tools/vaultkey/headers.h"
#include "tools/vaultkey/points.h"
#include "tools/vaultkey/records.h"
#include "tools/vaultkey/vaultkey.h"

enum verdict { OPENS, CANNOT, UNSURE };

static const struct state {
	const char *name;
	enum verdict verdict;
} states[] = {
	[VOLUMES_CLEAR] = { "clear", OPENS },
	[VOLUMES_OPEN] = { "opens", OPENS },
	[VOLUMES_NO_RECORD] = { "no-record", CANNOT },
	[VOLUMES_KEK_MISSING] = { "kek-missing", CANNOT },
	[VOLUMES_WRONG_KEY] = { "wrong-key", CANNOT },
	[VOLUMES_DAMAGED] = { "damaged", CANNOT },
	[VOLUMES_UNSUPPORTED] = { "unsupported", CANNOT },
	[VOLUMES_UNKNOWN] = { "unknown", UNSURE },
};

struct job {
	const struct command *c;
	struct keys_options keys;
	struct string_list header_options;
	struct header_list headers;
	bool trust;
	struct opened o;
	struct keyring *keyring;
	struct keycache *cache;
	struct table *table;
	struct json *list;
	uint64_t points, counts[3];
};

static void drop_job(struct job *j)
{
	drop_keys_options(&j->keys);
	string_list_release(&j->header_options);
	header_list_release(&j->headers);
	keycache_free(j->cache);
	keyring_close(j->keyring);
	table_free(j->table);
	json_close(j->list);
	opened_close(&j->o);
}

/* --- a row --- */

static void tell(struct job *j, const char *vm, const char *point,
		 const struct volumes_row *row)
{
	const struct state *s = &states[row->state];
	bool encrypted = row->info.type != VOLUME_CLEAR || row->detached;
	const char *crypt = encrypted ? volume_type_name(row->info.type) : "";
	struct json *o;

	j->counts[s->verdict]++;
	if (!j->c->json) {
		table_cell(j->table, "%s", vm);
		table_cell(j->table, "%s", point);
		table_cell(j->table, "%s", row->name);
		table_cell(j->table, "%s", s->name);
		table_cell(j->table, "%s", crypt);
		table_cell(j->table, "%s", row->type);
		table_cell(j->table, "%s",
			   *row->reason ? row->reason : row->opened_by);
		return;
	}
	o = json_object();
	json_set_str(o, "vm", vm);
	json_set_str(o, "point", point);
	json_set_str(o, "volume", row->name);
	json_set_str(o, "state", s->name);
	json_set_str(o, "encryption", *crypt ? crypt : NULL);
	json_set_str(o, "type", *row->type ? row->type : NULL);
	json_set_str(o, "openedBy", *row->opened_by ? row->opened_by : NULL);
	json_set_str(o, "reason", *row->reason ? row->reason : NULL);
	json_push(j->list, o);
}

/* What kept a disk or a point from being looked at. */
static void tell_failure(struct job *j, const char *vm, const char *point,
			 const char *disk, int r)
{
	bool damaged = r == -EBADMSG || r == -EPROTO || r == -EKEYREJECTED;
	struct volumes_row row = { .state = damaged ? VOLUMES_DAMAGED
						    : VOLUMES_UNKNOWN };

	snprintf(row.name, sizeof(row.name), "%s", disk);
	snprintf(row.reason, sizeof(row.reason), "%s", err_text(r));
	tell(j, vm, point, &row);
}

/* A key that is right proves nothing of what it decrypts. */
static void tell_volume(struct job *j, const char *vm, const char *point,
			const struct volumes_row *given)
{
	struct volumes_row row = *given;

	if (row.state == VOLUMES_OPEN && !*row.type) {
		row.state = VOLUMES_UNKNOWN;
		snprintf(row.reason, sizeof(row.reason),
			 "its key is right, but no file system, LVM, RAID or "
			 "swap that is known is in what it decrypts: look at "
			 "it in a mount, to see whether that is so by intent");
	}
	tell(j, vm, point, &row);
}

/* --- a point --- */

/* Takes the sources. -ENOMEM and -ECANCELED stop; the rest is told. */
static int look(struct job *j, const char *vm, const char *point,
		struct volumes_disk *disks, size_t n,
		const struct escrow_records *records, const char *untrusted)
{
	DROP(mem) struct volumes_header_file *headers = NULL;
	struct volumes_options vo = {
		.keyring = j->keyring,
		.cache = j->cache,
		.records = records->v,
		.nrecords = records->n,
		.untrusted = untrusted,
	};
	DROP(volumes) struct volumes *v = NULL;
	int r = header_list_for(&j->headers, vm, &headers, &vo.nheaders);

	if (r < 0) {
		for (size_t i = 0; i < n; i++)
			source_close(disks[i].source);
		return r;
	}
	vo.headers = headers;
	r = volumes_open(disks, n, &vo, &v);
	if (r == -ENOMEM || r == -ECANCELED)
		return r;
	if (r < 0)
		tell_failure(j, vm, point, "", r);
	for (size_t i = 0; v && i < volumes_count(v); i++)
		tell_volume(j, vm, point, volumes_at(v, i));
	return 0;
}

static const char *vault_untrusted(const struct job *j)
{
	if (j->trust || j->o.catalog->trust != SEAL_UNPINNED)
		return NULL;
	return "no owner key is pinned here for the vault, so anybody may have "
	       "made its records: 'vaultctl key pin' pins it, "
	       "--trust-unsealed tries them all the same";
}

/* --- a point whose disks nobody can read --- */

static void tell_key(struct job *j, const char *vm, const char *point,
		     const char *place, enum volumes_state state,
		     const char *reason)
{
	struct volumes_row row = { .state = state };

	snprintf(row.name, sizeof(row.name), "%s", place);
	snprintf(row.reason, sizeof(row.reason), "%.900s", reason);
	tell(j, vm, point, &row);
}

static const char *why_not_ready(const struct point_info *p)
{
	for (size_t i = 0; i < p->ndisks; i++) {
		if (p->disks[i].state_sentence)
			return p->disks[i].state_sentence;
	}
	return "their sizes are not known";
}

/* Its key can be tried, but nothing that it opens. */
static int try_key(struct job *j, const char *vm, const char *point,
		   const struct point_info *p, const struct escrow_record *rec)
{
	DROP(secret) struct secret *bek = NULL;
	char place[ESCROW_PLACE_SIZE], text[ERR_MAX];
	int r;

	escrow_place(rec, place);
	r = keyring_unwrap(j->keyring, rec, place, &bek);
	if (r == -ENOMEM || r == -ECANCELED)
		return r;
	if (r == -ENOKEY || r == -ENOENT) {
		tell_key(j, vm, point, place, VOLUMES_KEK_MISSING, err_text(r));
	} else if (r) {
		tell_key(j, vm, point, place, VOLUMES_UNKNOWN, err_text(r));
	} else {
		snprintf(text, sizeof(text),
			 "its key is there; whether it opens the disks cannot "
			 "be tried: %.700s",
			 why_not_ready(p));
		tell_key(j, vm, point, place, VOLUMES_UNKNOWN, text);
	}
	return 0;
}

static int check_keys(struct job *j, const char *vm, const char *point,
		      const struct point_info *p,
		      const struct escrow_records *records)
{
	const struct rsv_facts *f = point_azure_facts(p);
	int r = 0;

	for (size_t i = 0; i < records->n && !r; i++)
		r = try_key(j, vm, point, p, &records->v[i]);
	if (r || records->n)
		return r;
	if (f && f->point->encrypted)
		tell_key(j, vm, point, "the VM", VOLUMES_NO_RECORD,
			 "Azure says that it was encrypted, and nothing of "
			 "its key: restore its disks, which brings the key "
			 "('vaultctl restore-disks')");
	else if (f)
		tell_key(j, vm, point, "the VM", VOLUMES_CLEAR,
			 "Azure says that it was not encrypted");
	else
		tell_key(j, vm, point, "the VM", VOLUMES_UNKNOWN,
			 why_not_ready(p));
	return 0;
}

static bool any_ready(const struct point_info *p)
{
	for (size_t i = 0; i < p->ndisks; i++) {
		if (p->disks[i].state == DISK_READY)
			return true;
	}
	return !p->ndisks;
}

static int one_point(void *ctx, const char *vm, struct point_info *p,
		     const char *name)
{
	DROP(escrow_records) struct escrow_records records = { 0 };
	struct volumes_disk disks[CATALOG_DISKS_MAX];
	struct job *j = ctx;
	size_t n = 0;
	int r = point_records(&j->o, vm, p, &records);

	if (r == 0)
		r = azure_learn(p, &records, j->keyring);
	j->points++;
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		tell_failure(j, vm, name, "", r);
		return 0;
	}
	if (!any_ready(p))
		return check_keys(j, vm, name, p, &records);
	for (size_t i = 0; i < p->ndisks && n < CATALOG_DISKS_MAX; i++) {
		disks[n].name = p->disks[i].name;
		r = catalog_open_disk(j->o.catalog, j->o.name, vm, p, i,
				      &disks[n].source);
		if (r < 0)
			tell_failure(j, vm, name, p->disks[i].name, r);
		else
			n++;
	}
	return n ? look(j, vm, name, disks, n, &records, vault_untrusted(j))
		 : 0;
}

/* --- a mount --- */

struct names {
	struct dirent **v;
	int n;
};

static void drop_names(struct names *l)
{
	for (int i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int list_dir(const char *path, struct names *out)
{
	out->n = scandir(path, &out->v, visible, alphasort);
	if (out->n >= 0)
		return 0;
	out->n = 0;
	return fail_errno(errno, "%s", path);
}

static bool join(char out[static 4096], const char *dir, const char *name)
{
	return snprintf(out, 4096, "%s/%s", dir, name) < 4096;
}

/* The name of a disk from "os.img"; it is cut there. */
static bool is_image(char *name)
{
	size_t n = strlen(name);

	if (n < 5 || strcmp(name + n - 4, ".img"))
		return false;
	name[n - 4] = '\0';
	return true;
}

static size_t open_images(struct job *j, const char *vm, const char *point,
			  const char *dir, struct names *files,
			  struct volumes_disk disks[static CATALOG_DISKS_MAX])
{
	char path[4096];
	size_t n = 0;

	for (int i = 0; i < files->n && n < CATALOG_DISKS_MAX; i++) {
		char *name = files->v[i]->d_name;
		int r;

		if (!join(path, dir, name) || !is_image(name))
			continue;
		disks[n].name = name;
		r = source_open_file(path, &disks[n].source);
		if (r < 0)
			tell_failure(j, vm, point, name, r);
		else
			n++;
	}
	return n;
}

static int mount_point(struct job *j, const char *vm, const char *point,
		       const char *dir)
{
	DROP(escrow_records) struct escrow_records records = { 0 };
	DROP(names) struct names files = { 0 };
	struct volumes_disk disks[CATALOG_DISKS_MAX];
	char path[4096];
	size_t n;
	int r = interrupt_check();

	if (r < 0)
		return r;
	j->points++;
	if (!join(path, dir, "disks"))
		return fail(-ENAMETOOLONG, "%s: the path is too long", dir);
	r = list_dir(path, &files);
	if (r == 0)
		r = point_dir_records(dir, &records);
	if (r == -ENOENT && files.n)
		r = 0; /* it has none */
	if (r < 0) {
		tell_failure(j, vm, point, "", r);
		return 0;
	}
	n = open_images(j, vm, point, path, &files, disks);
	return n ? look(j, vm, point, disks, n, &records,
			j->trust ? NULL : point_dir_untrusted(dir))
		 : 0;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "latest" is a link to one of the others. */
static int mount_vm(struct job *j, const char *vm, const char *dir,
		    const char *point)
{
	DROP(names) struct names points = { 0 };
	char path[4096];
	int r;

	if (point)
		return join(path, dir, point)
			       ? mount_point(j, vm, point, path)
			       : fail(-ENAMETOOLONG, "%s: too long", point);
	r = list_dir(dir, &points);
	for (int i = 0; i < points.n && r == 0; i++)
		if (join(path, dir, points.v[i]->d_name) && is_dir(path))
			r = mount_point(j, vm, points.v[i]->d_name, path);
	return r;
}

/* The directory of a vault, which has a vault.json. */
static int mount_vault(struct job *j, const char *dir, const char *vm,
		       const char *point)
{
	DROP(names) struct names vms = { 0 };
	char path[4096];
	int r;

	if (vm)
		return join(path, dir, vm)
			       ? mount_vm(j, vm, path, point)
			       : fail(-ENAMETOOLONG, "%s: too long", vm);
	r = list_dir(dir, &vms);
	for (int i = 0; i < vms.n && r == 0; i++)
		if (join(path, dir, vms.v[i]->d_name) && is_dir(path))
			r = mount_vm(j, vms.v[i]->d_name, path, NULL);
	return r;
}

static bool is_vault_dir(const char *dir)
{
	char path[4096];

	return join(path, dir, "vault.json") && access(path, F_OK) == 0;
}

/* What is mounted there: a vault's directory, or those of several. */
static int check_mount(struct job *j, const char *dir, const char *vm,
		       const char *point)
{
	DROP(names) struct names vaults = { 0 };
	char path[4096];
	bool any = false;
	int r;

	if (is_vault_dir(dir))
		return mount_vault(j, dir, vm, point);
	r = list_dir(dir, &vaults);
	for (int i = 0; i < vaults.n && r == 0; i++) {
		if (!join(path, dir, vaults.v[i]->d_name) ||
		    !is_vault_dir(path))
			continue;
		any = true;
		r = mount_vault(j, path, vm, point);
	}
	return r || any ? r
			: fail(-ENOENT,
			       "%s is neither a vault nor a mount of vaultfs",
			       dir);
}

static bool is_mount(const char *path)
{
	char child[4096];

	/* A vault in a directory has its header there. */
	return is_dir(path) && join(child, path, "vault.hdr") &&
	       access(child, F_OK) != 0;
}

/* --- all of it --- */

static int report(struct job *j)
{
	struct json *top;
	uint64_t n = j->counts[OPENS] + j->counts[CANNOT] + j->counts[UNSURE];
	int r;

	if (j->c->json) {
		top = json_object();
		json_set_u64(top, "points", j->points);
		json_set_u64(top, "open", j->counts[OPENS]);
		json_set_u64(top, "cannot", j->counts[CANNOT]);
		json_set_u64(top, "unknown", j->counts[UNSURE]);
		json_set_u64(top, "derivations", keycache_derived(j->cache));
		json_set(top, "volumes", take(j->list));
		r = print_json(top);
	} else {
		r = table_print(j->table, 0);
	}
	if (r < 0)
		return r;
	if (j->counts[CANNOT])
		return fail(-ENOKEY,
			    "%llu of %llu volumes cannot be opened with the "
			    "keys that were given",
			    (unsigned long long)j->counts[CANNOT],
			    (unsigned long long)n);
	if (j->counts[UNSURE])
		return fail(-EUNSURE,
			    "of %llu of %llu volumes it could not be found out "
			    "whether they open",
			    (unsigned long long)j->counts[UNSURE],
			    (unsigned long long)n);
	return 0;
}

static int run(struct job *j)
{
	static const char *const headings[] = { "VM",	   "POINT", "VOLUME",
						"STATE",   "CRYPT", "TYPE",
						"REMARKS", NULL };
	const struct command *c = j->c;
	const char *vm = command_arg(c, 1), *point = command_arg(c, 2);
	int r = header_list_read(&j->header_options, NULL, &j->headers);

	if (r == 0)
		r = keys_open(&j->keys, &j->keyring);
	if (r == 0)
		r = keycache_new(&j->cache);
	if (r == 0)
		r = table_new(headings, &j->table);
	if (r < 0)
		return r;
	/* An HSM that is away says nothing of what other keys open. */
	keyring_keep_going(j->keyring);
	j->list = json_array();
	if (is_mount(c->args.v[0])) {
		r = check_mount(j, c->args.v[0], vm, point);
	} else {
		r = open_reading(c, &j->o);
		if (r == 0)
			r = each_point(&j->o, vm, point, one_point, j);
	}
	return r < 0 ? r : report(j);
}

int cmd_check(int argc, char **argv)
{
	DROP(job) struct job j = { 0 };
	const struct option_def options[] = {
		KEYS_OPTIONS(j.keys),
		{ 'H', "header", OPTION_LIST, &j.header_options,
		  "[VM/]VOLUME=FILE",
		  "the LUKS header of a volume that has none of its own" },
		{ 0, "trust-unsealed", OPTION_FLAG, &j.trust, NULL,
		  "also try the records of a vault whose owner key is not "
		  "pinned here" },
	};
	DROP(command)
	struct command c = COMMAND(
		"check", "VAULT|MOUNT [VM] [POINT]", options,
		"Proves, without restoring, that the volumes of points open: "
		"each is decrypted with the keys that are given, and a file "
		"system looked for in it. Prints a row for each. The exit code "
		"is 0 if all open, 1 if some cannot be opened, 3 if it could "
		"not be found out of some.");
	int r = command_parse(&c, argc, argv);

	j.c = &c;
	return r ? r : run(&j);
}
