// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/guest/content.h"
#include "backend/guest/journal.h"
#include "crypt/attach.h"
#include "crypt/dm.h"
#include "tools/common/interrupt.h"
#include "tools/vaultkey/target.h"
#include "tools/vaultkey/vaultkey.h"

#define MOUNT_SIZE 512

struct job {
	const char *name;
	uint64_t overlay;
	struct target target;
	bool *chosen; /* by row */
	struct attached *attached;
	size_t nattached;
	enum journal_state *journals; /* of attached */
};

static void drop_job(struct job *j)
{
	target_release(&j->target);
	free(j->chosen);
	free(j->attached);
	free(j->journals);
}

/* --- which volumes --- */

static bool is_locked(const struct volumes_row *row)
{
	return row->state == VOLUMES_NO_RECORD ||
	       row->state == VOLUMES_KEK_MISSING ||
	       row->state == VOLUMES_WRONG_KEY || row->state == VOLUMES_UNKNOWN;
}

static bool is_member(const struct volumes_row *row)
{
	return strcmp(row->type, CONTENT_LVM) == 0;
}

/* A logical volume that lies on row. */
static bool lies_on(const struct volumes *v, size_t lv, size_t row)
{
	const struct lvm_lv *l = volumes_lv(v, lv);

	for (size_t i = 0; l && i < l->nareas; i++)
		if (volumes_lv_row(v, &l->areas[i]) == row)
			return true;
	return false;
}

/* What is on a physical volume is meant when that is named. */
static int choose_named(struct job *j, const char *name)
{
	const struct volumes *v = j->target.volumes;
	const struct volumes_row *row;
	size_t i;
	int r = volumes_find(v, name, &i);

	if (r < 0)
		return r;
	row = volumes_at(v, i);
	if (!volumes_readable(row))
		return fail(-ENOKEY, "%s: %s", row->name, row->reason);
	/* The root of an Azure VM looks like that. */
	if (!*row->type && row->state == VOLUMES_CLEAR)
		return fail(-ENOKEY,
			    "%s: nothing that is known is in it: it is empty, "
			    "or encrypted with a header that lies elsewhere "
			    "(--header)",
			    row->name);
	j->chosen[i] = true;
	for (size_t k = 0; k < volumes_count(v); k++)
		if (volumes_readable(volumes_at(v, k)) && lies_on(v, k, i))
			j->chosen[k] = true;
	return 0;
}

/* All that holds something; what LVM is made of comes along. */
static int choose_all(struct job *j)
{
	const struct volumes *v = j->target.volumes;
	const struct volumes_row *locked = NULL;
	bool any = false, opened = false;

	for (size_t i = 0; i < volumes_count(v); i++) {
		const struct volumes_row *row = volumes_at(v, i);

		if (!volumes_readable(row)) {
			if (!locked || (is_locked(row) && !is_locked(locked)))
				locked = row;
			continue;
		}
		opened = opened || row->state == VOLUMES_OPEN;
		j->chosen[i] = row->size && !is_member(row) &&
			       (*row->type || row->state == VOLUMES_OPEN);
		any = any || j->chosen[i];
	}
	/* The clear boot partition alone is not what was asked for. */
	if (locked && (!any || (is_locked(locked) && !opened)))
		return fail(-ENOKEY, "%s: %s", locked->name, locked->reason);
	if (!any)
		return fail(-ENOENT, "no volume with anything that is known in "
				     "it is there");
	for (size_t i = 0; i < volumes_count(v); i++)
		if (!volumes_readable(volumes_at(v, i)))
			log_warn("%s stays closed: %s", volumes_at(v, i)->name,
				 volumes_at(v, i)->reason);
	return 0;
}

static int choose(struct job *j, const char *volume)
{
	size_t n = volumes_count(j->target.volumes);

	j->chosen = calloc(n ? n : 1, sizeof(*j->chosen));
	if (!j->chosen)
		return fail(-ENOMEM, "out of memory");
	return volume ? choose_named(j, volume) : choose_all(j);
}

/* --- how to mount them --- */

static bool is_any(const char *type, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(type, *list) == 0)
			return true;
	return false;
}

/* What this kind wants beside, where its journal is as it is. */
static const char *special_options(const char *type, bool replay)
{
	static const char *const ext[] = { "ext2", "ext3", "ext4", NULL };

	if (strcmp(type, "xfs") == 0)
		return replay ? ",nouuid" : ",nouuid,norecovery";
	if (replay)
		return "";
	if (is_any(type, ext))
		return ",noload";
	return strcmp(type, "btrfs") == 0 ? ",rescue=nologreplay" : "";
}

/* The line that mounts it; false where there is nothing to mount. replay: its
 * journal is in order, or will be replayed. */
static bool mount_line(const char *type, bool replay, const char *device,
		       char out[static MOUNT_SIZE])
{
	static const char *const known[] = { "ext2",  "ext3",	 "ext4",
					     "xfs",   "btrfs",	 "vfat",
					     "exfat", "iso9660", "squashfs",
					     "udf",   NULL };
	bool ntfs = strcmp(type, "ntfs") == 0;

	if (!ntfs && !is_any(type, known))
		return false;
	snprintf(out, MOUNT_SIZE,
		 "mount -t %s -o ro,nosuid,nodev,noexec%s %s /mnt",
		 ntfs ? "ntfs-3g" : type, special_options(type, replay),
		 device);
	return true;
}

/* ext without a journal has nothing to load, and says so of noload. */
static bool will_replay(const struct job *j, size_t i)
{
	return j->overlay || j->journals[i] == JOURNAL_CLEAN ||
	       j->journals[i] == JOURNAL_NONE;
}

static void warn(const struct volumes_row *row, enum journal_state state,
		 bool replay)
{
	const char *loss =
		strcmp(row->type, "xfs") == 0
			? "files and directories that were written last are "
			  "missing, up to all of them"
			: "what was written last is missing or stale";

	if (strcmp(row->type, "ntfs") == 0) {
		if (state == JOURNAL_DIRTY)
			log_warn("%s: Windows had not put its NTFS in order, "
				 "and no reader here replays its journal: what "
				 "was written last may be missing or stale",
				 row->name);
	} else if (!replay && *row->type && state == JOURNAL_DIRTY) {
		log_warn("%s: its %s journal is not replayed, since nothing "
			 "can be written: %s; 'vaultkey open --overlay' "
			 "replays it, and leaves the backup as it is",
			 row->name, row->type, loss);
	}
}

static int read_journals(struct job *j)
{
	struct volumes *v = j->target.volumes;
	int r = 0;

	j->journals =
		calloc(j->nattached ? j->nattached : 1, sizeof(*j->journals));
	if (!j->journals)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < j->nattached && r == 0; i++) {
		DROP(source) struct source *image = NULL;
		const struct volumes_row *row =
			volumes_at(v, j->attached[i].row);

		r = volumes_image(v, j->attached[i].row, &image);
		if (r == 0)
			r = journal_read(image, row->type, &j->journals[i]);
		if (r < 0)
			return blame(r, "%s", row->name);
		warn(row, j->journals[i], will_replay(j, i));
	}
	return r;
}

/* --- telling --- */

static int tell_json(const struct job *j)
{
	struct json *top = json_object(), *list = json_array();
	struct json *closed = json_array();
	const struct volumes *v = j->target.volumes;
	char line[MOUNT_SIZE];

	json_set_str(top, "name", j->name);
	json_set_u64(top, "overlayBytes", j->overlay);
	for (size_t i = 0; i < j->nattached; i++) {
		const struct attached *a = &j->attached[i];
		const struct volumes_row *row = volumes_at(v, a->row);
		struct json *e = json_object();

		json_set_str(e, "volume", row->name);
		json_set_str(e, "device", a->path);
		json_set_str(e, "encryption",
			     row->state == VOLUMES_OPEN
				     ? volume_type_name(row->info.type)
				     : NULL);
		json_set_str(e, "type", *row->type ? row->type : NULL);
		json_set_str(e, "label", *row->label ? row->label : NULL);
		json_set_str(e, "uuid", *row->uuid ? row->uuid : NULL);
		json_set_u64(e, "size", row->size);
		json_set_str(e, "journal", journal_state_name(j->journals[i]));
		json_set_str(e, "mount",
			     mount_line(row->type, will_replay(j, i), a->path,
					line)
				     ? line
				     : NULL);
		json_push(list, e);
	}
	for (size_t i = 0; i < volumes_count(v); i++) {
		const struct volumes_row *row = volumes_at(v, i);
		struct json *e;

		if (volumes_readable(row))
			continue;
		e = json_object();
		json_set_str(e, "volume", row->name);
		json_set_str(e, "state", volumes_state_name(row->state));
		json_set_str(e, "reason", row->reason);
		json_push(closed, e);
	}
	json_set(top, "volumes", list);
	json_set(top, "closed", closed);
	return print_json(top);
}

static int tell_text(const struct job *j)
{
	static const char *const headings[] = { "VOLUME",  "DEVICE", "HOLDS",
						"JOURNAL", ">SIZE",  NULL };
	DROP(table) struct table *t = NULL;
	char line[MOUNT_SIZE];
	int r = table_new(headings, &t);

	if (r < 0)
		return r;
	for (size_t i = 0; i < j->nattached; i++) {
		const struct volumes_row *row =
			volumes_at(j->target.volumes, j->attached[i].row);

		table_cell(t, "%s", row->name);
		table_cell(t, "%s", j->attached[i].path);
		table_cell(t, "%s", *row->type ? row->type : "?");
		table_cell(t, "%s", journal_state_name(j->journals[i]));
		table_size(t, row->size);
	}
	r = table_print(t, 0);
	if (r < 0)
		return r;
	putchar('\n');
	for (size_t i = 0; i < j->nattached; i++) {
		const struct attached *a = &j->attached[i];

		if (mount_line(volumes_at(j->target.volumes, a->row)->type,
			       will_replay(j, i), a->path, line))
			puts(line);
	}
	printf("vaultkey close %s\n", j->name);
	return 0;
}

/* --- the command --- */

static int run(struct job *j, const char *path, const struct target_options *o,
	       const struct command *c)
{
	struct attach_options attach = {
		.name = j->name,
		.overlay = j->overlay,
		.check = interrupt_check,
	};
	int r = target_open(path, o, &j->target), closed;

	if (r == 0)
		r = choose(j, o->volume);
	if (r < 0)
		return r;
	attach.paths = (const char *const *)j->target.paths;
	attach.chosen = j->chosen;
	r = attach_open(j->target.volumes, &attach, &j->attached,
			&j->nattached);
	if (r < 0)
		return r;
	r = read_journals(j);
	if (r == 0)
		r = c->json ? tell_json(j) : tell_text(j);
	if (r < 0) {
		struct err_saved why;

		err_save(r, &why);
		closed = attach_close(j->name);
		if (closed < 0)
			log_error("%s", err_text(closed));
		return err_load(&why);
	}
	return 0;
}

static int parse_overlay(const char *text, uint64_t *out)
{
	if (!text)
		return 0;
	*out = ATTACH_OVERLAY_BYTES;
	if (!*text)
		return 0;
	if (parse_size(text, out) < 0 || *out < (UINT64_C(1) << 20) ||
	    *out > INT64_MAX)
		return bad_usage("--overlay=%s is no size of 1M or more", text);
	*out -= *out % DM_SECTOR;
	return 0;
}

int cmd_open(int argc, char **argv)
{
	DROP(keys_options) struct keys_options keys = { 0 };
	DROP(string_list) struct string_list headers = { 0 };
	DROP(keyring) struct keyring *keyring = NULL;
	DROP(job) struct job j = { 0 };
	struct target_options o = { 0 };
	const char *overlay = NULL;
	const struct option_def options[] = {
		{ 'V', "volume", OPTION_VALUE, &o.volume, "NAME",
		  "only this one, as os-p2, or lvm-rootvg-rootlv" },
		KEYS_OPTIONS(keys),
		{ 'H', "header", OPTION_LIST, &headers, "[[VM/]VOLUME=]FILE",
		  "the LUKS header of a volume that has none of its own; "
		  "without VOLUME= it is for that of --volume" },
		{ 0, "overlay", OPTION_OPTIONAL, &overlay, "SIZE",
		  "replay journals: what is written goes to a temporary file, "
		  "at most so much for each volume (1G)" },
		{ 0, "trust-unsealed", OPTION_FLAG, &o.trust_unsealed, NULL,
		  "also try the records of a vault whose owner key is not "
		  "pinned here" },
	};
	DROP(command)
	struct command c = COMMAND(
		"open", "DISK-IMAGE|POINT-DIR NAME", options,
		"Opens the volumes of a disk image, or of all disks of a point "
		"in a mount, in the kernel, as /dev/mapper/NAME-…, read-only, "
		"and prints how to mount each. 'vaultkey close NAME' ends it.");
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	j.name = c.args.v[1];
	if (attach_check_name(j.name) < 0)
		return bad_usage("%s", err_text(-EINVAL));
	r = parse_overlay(overlay, &j.overlay);
	if (r == 0)
		r = dm_check();
	if (r == 0)
		r = keys_open(&keys, &keyring);
	if (r < 0)
		return r;
	o.keyring = keyring;
	o.headers = headers;
	return run(&j, c.args.v[0], &o, &c);
}
