// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultctl/restore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

enum target { TARGET_DIR, TARGET_FILE, TARGET_DEVICE, TARGET_STREAM };

struct restore {
	struct opened o;
	const char *vm;
	struct point_info *point;
	bool vhd;
	enum target target;
	struct restore_disk *disks;
	size_t n;
	uint64_t total;
	struct restore_options options;
	struct progress progress;
};

static void drop_restore(struct restore *r)
{
	for (size_t i = 0; i < r->n; i++) {
		source_close(r->disks[i].image);
		free(r->disks[i].to);
	}
	free(r->disks);
	point_info_unref(r->point);
	opened_close(&r->o);
}

/* --- which disks --- */

static bool wanted(const struct string_list *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->v[i], name))
			return true;
	return names->n == 0;
}

static int check_names(const struct restore *r, const struct string_list *names)
{
	for (size_t i = 0; i < names->n; i++) {
		bool found = false;

		for (size_t d = 0; d < r->point->ndisks; d++)
			found |= !strcmp(r->point->disks[d].name, names->v[i]);
		if (!found)
			return fail(-ENOENT, "%s: the point has no disk '%s'",
				    r->vm, names->v[i]);
	}
	return 0;
}

static void set_identity(const struct restore *r, const struct disk_info *info,
			 struct restore_disk *d)
{
	char id[POINT_ID_TEXT], root[DIGEST_HEX + 1];

	if (!info->has_root)
		return;
	point_id_text(&r->point->row.id, id);
	digest_hex(&info->root, root);
	snprintf(d->identity, sizeof(d->identity), "%s %s %s %llu %u %s", id,
		 info->name, root, (unsigned long long)info->size,
		 info->chunk_size, r->vhd ? "vhd" : "raw");
}

static int open_disk(struct restore *r, size_t i)
{
	const struct disk_info *info = &r->point->disks[i];
	struct restore_disk *d = &r->disks[r->n];
	int e;

	if (info->state != DISK_READY)
		return fail(-EAGAIN, "disk %s: %s", info->name,
			    info->state_sentence ? info->state_sentence
						 : "it is not ready");
	d->name = info->name;
	d->data_bytes = info->data_bytes;
	e = catalog_open_disk(r->o.catalog, r->o.name, r->vm, r->point, i,
			      &d->image);
	if (e < 0)
		return blame(e, "disk %s", info->name);
	r->n++;
	set_identity(r, info, d);
	if (r->vhd) {
		e = point_disk_as_vhd(&r->point->row, info, take(d->image),
				      &d->image);
		if (e < 0)
			return blame(e, "disk %s", info->name);
	}
	r->total += source_size(d->image);
	return 0;
}

static int open_disks(struct restore *r, const struct string_list *names)
{
	int e = check_names(r, names);

	if (e < 0)
		return e;
	r->disks = calloc(r->point->ndisks, sizeof(*r->disks));
	if (!r->disks)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < r->point->ndisks; i++) {
		if (!wanted(names, r->point->disks[i].name))
			continue;
		e = open_disk(r, i);
		if (e < 0)
			return e;
	}
	return 0;
}

/* --- where to --- */

static int find_target(const char *to, enum target *out)
{
	size_t len = strlen(to);
	struct stat st;

	if (!strcmp(to, "-")) {
		*out = TARGET_STREAM;
		return isatty(STDOUT_FILENO)
			       ? bad_usage("--to - would write an image to the "
					   "terminal")
			       : 0;
	}
	if (len && to[len - 1] == '/' && mkdir(to, 0700) < 0 && errno != EEXIST)
		return fail_errno(errno, "%s", to);
	*out = TARGET_FILE;
	if (stat(to, &st) < 0)
		return errno == ENOENT ? 0 : fail_errno(errno, "%s", to);
	if (S_ISDIR(st.st_mode))
		*out = TARGET_DIR;
	else if (S_ISBLK(st.st_mode))
		*out = TARGET_DEVICE;
	else if (!S_ISREG(st.st_mode))
		return fail(-EINVAL,
			    "%s: it is no directory, file or block device", to);
	return 0;
}

static int set_targets(struct restore *r, const char *to)
{
	const char *slash = to[strlen(to) - 1] == '/' ? "" : "/";

	if (r->target != TARGET_DIR && r->n > 1)
		return fail(-EINVAL,
			    "%s: the point has %zu disks: name one by --disk, "
			    "or a directory",
			    to, r->n);
	for (size_t i = 0; i < r->n; i++) {
		struct restore_disk *d = &r->disks[i];

		if (r->target != TARGET_DIR)
			d->to = strdup(to);
		else if (asprintf(&d->to, "%s%s%s.%s", to, slash, d->name,
				  r->vhd ? "vhd" : "img") < 0)
			d->to = NULL;
		if (!d->to)
			return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

/* --- at work --- */

static int restore_one(struct restore *r, struct restore_disk *d)
{
	char data[SIZE_TEXT_SIZE];
	int e;

	size_text(d->data_bytes, data);
	log_info("disk %s to %s: %s of data, %u workers", d->name, d->to, data,
		 restore_workers());
	progress_what(&r->progress, d->name);
	switch (r->target) {
	case TARGET_DEVICE:
		e = restore_to_device(d, &r->options);
		/* A thin one may be full, which write_at() does not place. */
		return e == -ENOSPC ? blame(e, "%s", d->to) : e;
	case TARGET_STREAM:
		return restore_to_stream(d, &r->options);
	case TARGET_DIR:
	case TARGET_FILE:
		break;
	}
	return restore_to_file(d, &r->options);
}

static int restore_all(struct restore *r, bool quiet)
{
	int e = 0;

	progress_start(&r->progress, "restore", quiet);
	r->options.progress = &r->progress;
	r->options.total = r->total;
	for (size_t i = 0; i < r->n && e == 0; i++) {
		e = restore_one(r, &r->disks[i]);
		r->options.before += source_size(r->disks[i].image);
	}
	progress_end(&r->progress);
	if (e < 0 || r->target == TARGET_DEVICE || r->target == TARGET_STREAM)
		return e;
	for (size_t i = 0; i < r->n; i++)
		restore_file_settle(r->disks[i].to);
	return 0;
}

static int report_object(const struct restore *r, const char *point,
			 double seconds)
{
	struct json *top = json_object(), *disks = json_array();
	char id[POINT_ID_TEXT];

	point_id_text(&r->point->row.id, id);
	json_set_str(top, "vault", r->o.name);
	json_set_str(top, "vm", r->vm);
	json_set_str(top, "point", point);
	json_set_str(top, "id", id);
	json_set_str(top, "format", r->vhd ? "vhd" : "raw");
	for (size_t i = 0; i < r->n; i++) {
		const struct restore_disk *d = &r->disks[i];
		struct json *row = json_object();

		json_set_str(row, "name", d->name);
		json_set_str(row, "to", d->to);
		json_set_u64(row, "sizeBytes", source_size(d->image));
		json_set_u64(row, "writtenBytes", d->written);
		json_set_u64(row, "resumedFrom", d->resumed_from);
		json_set_bool(row, "wasDone", d->was_done);
		json_push(disks, row);
	}
	json_set(top, "disks", disks);
	json_set_f64(top, "seconds", seconds);
	return print_json(top);
}

static void report_line(const struct restore *r, const char *point,
			const struct restore_disk *d, double seconds)
{
	char size[SIZE_TEXT_SIZE], from[SIZE_TEXT_SIZE];

	size_text(source_size(d->image), size);
	size_text(d->resumed_from, from);
	printf("%s %s %s: %s, %s", r->vm, point, d->name, d->to, size);
	if (d->was_done)
		printf(", was there already\n");
	else if (d->resumed_from)
		printf(", resumed at %s\n", from);
	else if (r->n == 1)
		printf(" in %.1f s\n", seconds);
	else
		putchar('\n');
}

static int report(const struct command *c, const struct restore *r,
		  double seconds)
{
	char point[POINT_NAME_SIZE];

	point_name(&r->point->row, NULL, NULL, point);
	if (c->json)
		return report_object(r, point, seconds);
	if (r->target == TARGET_STREAM || c->quiet)
		return 0;
	for (size_t i = 0; i < r->n; i++)
		report_line(r, point, &r->disks[i], seconds);
	return 0;
}

static int prepare(struct restore *r, const struct command *c,
		   const struct string_list *names, const char *to)
{
	const char *point = c->args.v[2];
	struct point_row row;
	int e;

	r->vm = c->args.v[1];
	e = check_name_arg("VM name", r->vm);
	if (e == 0)
		e = find_target(to, &r->target);
	if (e < 0)
		return e;
	if (r->vhd && r->target == TARGET_DEVICE)
		return bad_usage("--format vhd is for files; a device gets the "
				 "disk itself");
	if (c->json && r->target == TARGET_STREAM)
		return bad_usage("--json and --to - both write to standard "
				 "output");
	e = open_reading(c, &r->o);
	if (e == 0)
		e = catalog_find_point(r->o.catalog, r->o.name, r->vm, point,
				       &row);
	if (e == 0)
		e = catalog_point(r->o.catalog, r->o.name, r->vm, &row,
				  &r->point);
	if (e == 0)
		e = open_disks(r, names);
	return e < 0 ? e : set_targets(r, to);
}

int cmd_restore(int argc, char **argv)
{
	static const char *const formats[] = { "raw", "vhd", NULL };
	DROP(string_list) struct string_list names = { 0 };
	DROP(restore) struct restore r = { 0 };
	const char *to = NULL, *format = "raw";
	const struct option_def options[] = {
		{ 'o', "to", OPTION_VALUE, &to, "TARGET",
		  "a directory, which gets a file NAME.img or NAME.vhd a disk; "
		  "or, for one disk, a file, a block device, or - for standard "
		  "output" },
		{ 'd', "disk", OPTION_LIST, &names, "NAME",
		  "this disk only; may be repeated (default: all of them)" },
		{ 'f', "format", OPTION_VALUE, &format, "FORMAT",
		  "raw (default) or vhd, a fixed VHD" },
		{ 'r', "resume", OPTION_FLAG, &r.options.resume, NULL,
		  "go on from where a restore of the same point was stopped" },
		{ 0, "force", OPTION_FLAG, &r.options.force, NULL,
		  "replace files that are there, once the new ones are "
		  "complete" },
	};
	DROP(command)
	struct command c = COMMAND(
		"restore", "VAULT VM POINT", options,
		"Restores disks of a recovery point; every byte is verified. "
		"Holes of the disks are holes of the files. A file gets its "
		"name when it is complete; a device gets its first and "
		"last MiB last. What is on a device is overwritten.");
	uint64_t start = monotonic_ns();
	int e = command_parse(&c, argc, argv);

	if (e)
		return e;
	if (!to || !*to)
		return bad_usage("--to is missing");
	e = option_choice("--format", format, formats);
	if (e < 0)
		return e;
	r.vhd = e == 1;
	e = prepare(&r, &c, &names, to);
	if (e == 0)
		e = restore_all(&r, c.quiet);
	if (e < 0)
		return e;
	return report(&c, &r, (double)(monotonic_ns() - start) / 1e9);
}
