// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultkey/target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/vaultkey/headers.h"
#include "tools/vaultkey/records.h"

void target_release(struct target *t)
{
	volumes_close(t->volumes);
	escrow_records_release(&t->records);
	for (size_t i = 0; i < t->ndisks; i++) {
		free(t->names[i]);
		free(t->paths[i]);
	}
	free(t->names);
	free(t->paths);
	memset(t, 0, sizeof(*t));
}

/* "os" of ".../os.img". */
static char *disk_name(const char *path)
{
	const char *base = strrchr(path, '/');
	const char *dot;

	base = base ? base + 1 : path;
	dot = strrchr(base, '.');
	return strndup(base, dot && dot != base ? (size_t)(dot - base)
						: strlen(base));
}

/* Takes path. */
static int add_disk(struct target *t, char *path)
{
	DROP(mem) char *owned = path;
	DROP(mem) char *name = path ? disk_name(path) : NULL;
	char **names = reallocarray(t->names, t->ndisks + 1, sizeof(*names));
	char **paths;

	if (names)
		t->names = names;
	paths = reallocarray(t->paths, t->ndisks + 1, sizeof(*paths));
	if (paths)
		t->paths = paths;
	if (!names || !paths || !name)
		return fail(-ENOMEM, "out of memory");
	names[t->ndisks] = take(name);
	paths[t->ndisks++] = take(owned);
	return 0;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int is_image(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".img") == 0;
}

static int add_disks(struct target *t, const char *point)
{
	DROP(mem) char *dir = join(point, "disks");
	struct dirent **files;
	int n, r = 0;

	if (!dir)
		return fail(-ENOMEM, "out of memory");
	n = scandir(dir, &files, is_image, alphasort);
	if (n < 0)
		return fail_errno(errno,
				  "%s (a POINT-DIR is the directory of a point "
				  "in a mount)",
				  dir);
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = add_disk(t, join(dir, files[i]->d_name));
		free(files[i]);
	}
	free(files);
	if (r == 0 && n == 0)
		r = fail(-ENOENT, "%s: no disk is there", dir);
	return r;
}

/* The point's directory, when image is in its disks/; else NULL. */
static char *point_of(const char *image)
{
	static const char suffix[] = "/disks";
	char *dir = realpath(image, NULL);
	char *base = dir ? strrchr(dir, '/') : NULL;

	if (base)
		*base = '\0';
	if (!base || base - dir < (ptrdiff_t)strlen(suffix) ||
	    strcmp(base - strlen(suffix), suffix) != 0) {
		free(dir);
		return NULL;
	}
	base[-(ptrdiff_t)strlen(suffix)] = '\0';
	return dir;
}

/* A disk without records may be clear, or opened by a key that was given. */
static int add_records(struct target *t, const char *point)
{
	int r = point_dir_records(point, &t->records);

	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

static int open_disk(const char *path, struct source **ret)
{
	DROP(source) struct source *file = NULL;
	bool is_vhd;
	int r = source_open_file(path, &file);

	if (r == 0)
		r = source_open_vhd(take(file), VHD_AUTO, ret, &is_vhd);
	return r < 0 ? blame(r, "%s", path) : 0;
}

static int open_disks(const struct target *t, struct volumes_disk *disks)
{
	int r = 0;

	for (size_t i = 0; i < t->ndisks && r == 0; i++) {
		disks[i].name = t->names[i];
		r = open_disk(t->paths[i], &disks[i].source);
	}
	for (size_t i = 0; i < t->ndisks && r < 0; i++)
		source_close(disks[i].source);
	return r;
}

/* The VM of a point in a mount: its directory's. */
static char *vm_of(const char *point)
{
	DROP(mem) char *path = point ? realpath(point, NULL) : NULL;
	char *end = path ? strrchr(path, '/') : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	end = strrchr(path, '/');
	return end ? strdup(end + 1) : NULL;
}

/* point: NULL, if it is not known. */
static int open_volumes(struct target *t, const struct target_options *o,
			const char *point, const char *untrusted)
{
	DROP(header_list) struct header_list headers = { 0 };
	DROP(mem) struct volumes_header_file *files = NULL;
	DROP(mem) char *vm = vm_of(point);
	DROP(mem)
	struct volumes_disk *disks = calloc(t->ndisks, sizeof(*disks));
	struct volumes_options options = {
		.keyring = o->keyring,
		.records = t->records.v,
		.nrecords = t->records.n,
		.untrusted = untrusted,
	};
	int r;

	if (!disks)
		return fail(-ENOMEM, "out of memory");
	r = header_list_read(&o->headers, o->volume, &headers);
	if (r == 0)
		r = header_list_for(&headers, vm, &files, &options.nheaders);
	if (r == 0)
		r = open_disks(t, disks);
	if (r < 0)
		return r;
	options.headers = files;
	return volumes_open(disks, t->ndisks, &options, &t->volumes);
}

int target_open(const char *path, const struct target_options *o,
		struct target *out)
{
	bool is_point = is_point_dir(path);
	DROP(mem) char *point = is_point ? strdup(path) : point_of(path);
	const char *untrusted = NULL;
	int r;

	r = is_point ? add_disks(out, path) : add_disk(out, strdup(path));
	if (r == 0 && point)
		r = add_records(out, point);
	if (r < 0)
		return r;
	if (out->records.n && !o->trust_unsealed)
		untrusted = point_dir_untrusted(point);
	return open_volumes(out, o, point, untrusted);
}
