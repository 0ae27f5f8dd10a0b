// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A source that only passes on, so that the file at the bottom can be found
 * again when the footer of a VHD was cut off above it.
 */
#include "tools/vaultctl/image.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

struct image {
	struct source base;
	struct source *disk; /* owned; file itself, or a slice that owns file */
	struct source *file;
};

static const struct source_ops image_ops;

static int image_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	return source_read(container_of(s, struct image, base)->disk, buf, len,
			   off);
}

static int image_extent(struct source *s, uint64_t off, uint64_t max,
			struct extent *out)
{
	return source_extent(container_of(s, struct image, base)->disk, off,
			     max, out);
}

static void image_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	source_prefetch(container_of(s, struct image, base)->disk, off, len);
}

static void image_close(struct source *s)
{
	struct image *i = container_of(s, struct image, base);

	source_close(i->disk);
	free(i);
}

/* --- containers of disks that are not read --- */

static const struct container {
	const char *name;
	uint64_t off;
	const char *magic;
	size_t len;
} containers[] = {
	{ "qcow2", 0, "QFI\xfb", 4 },
	{ "VHDX", 0, "vhdxfile", 8 },
	{ "VMDK", 0, "KDMV", 4 },
	{ "VMDK", 0, "# Disk DescriptorFile", 21 },
	{ "VDI", 64, "\x7f\x10\xda\xbe", 4 },
};

/* Its bytes are not those of the disk, and backed up they would look as if. */
static int refuse_container(struct source *file, const char *path)
{
	char start[128] = { 0 };
	int r = source_read(file, start,
			    min_u64(sizeof(start), source_size(file)), 0);

	if (r < 0)
		return blame(r, "%s", path);
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		const struct container *c = &containers[i];

		if (memcmp(start + c->off, c->magic, c->len) != 0)
			continue;
		return fail(
			-EINVAL,
			"%s: it is a %s image; only raw and fixed VHD are read: convert it (qemu-img convert -O raw), or say --image-format raw to keep the container itself",
			path, c->name);
	}
	return 0;
}

int image_open(const char *path, enum vhd_force format, struct source **ret,
	       bool *is_vhd)
{
	DROP(source) struct source *disk = NULL;
	struct source *file = NULL;
	struct image *i;
	int r = source_open_file(path, &file);

	if (r < 0)
		return r;
	r = source_open_vhd(file, format, &disk, is_vhd);
	if (r < 0)
		return blame(r, "%s", path);
	if (source_size(disk) == 0)
		return fail(-EINVAL, "%s: it is empty", path);
	/* A disk that was in a VHD may hold anything. */
	if (format == VHD_AUTO && !*is_vhd) {
		r = refuse_container(file, path);
		if (r < 0)
			return r;
	}
	i = calloc(1, sizeof(*i));
	if (!i)
		return fail(-ENOMEM, "out of memory");
	source_init(&i->base, &image_ops, source_size(disk));
	i->disk = take(disk);
	i->file = file;
	*ret = &i->base;
	return 0;
}

int image_unchanged(struct source *image)
{
	return source_file_unchanged(
		container_of(image, struct image, base)->file);
}

static const struct source_ops image_ops = {
	.name = "image",
	.read = image_read,
	.extent = image_extent,
	.prefetch = image_prefetch,
	.close = image_close,
};
