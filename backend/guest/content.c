// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/guest/content.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/guest/window.h"

/* ZFS has labels in the first 512 KiB; members of old RAIDs have theirs in the last
 * 128. */
#define HEAD (UINT64_C(512) << 10)
#define TAIL (UINT64_C(192) << 10)

/* What is not here either cannot be on an Azure VM, or has a magic number of two
 * bytes, which is found in noise. */
static const char *const known[] = {
	"ext2",	       "ext3",	   "ext4",
	"jbd",	       "xfs",	   "btrfs",
	"vfat",	       "exfat",	   "ntfs",
	"ReFS",	       "swap",	   "swsuspend",
	"LVM2_member", "iso9660",  "linux_raid_member",
	"squashfs",    "f2fs",	   "udf",
	"jfs",	       "reiserfs", "zfs_member",
	"ocfs2",       "gfs2",	   "bcache",
	"crypto_LUKS", "erofs",	   "BitLocker",
	"nilfs2",      "stratis",  "VMFS_volume_member",
};

DROP_DEFINE(probe, blkid_probe, blkid_free_probe)

static void get_value(blkid_probe pr, const char *name, char *out, size_t size)
{
	const char *text;

	*out = '\0';
	if (blkid_probe_lookup_value(pr, name, &text, NULL))
		return;
	snprintf(out, size, "%s", text);
	printable(out);
}

/* 1: nothing. */
static int probe(int fd, struct content *out)
{
	char *names[ARRAY_SIZE(known) + 1] = { 0 };
	DROP(probe) blkid_probe pr = blkid_new_probe();
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		names[i] = (char *)known[i];
	if (!pr || blkid_probe_set_device(pr, fd, 0, 0) ||
	    blkid_probe_enable_partitions(pr, 0) ||
	    blkid_probe_enable_superblocks(pr, 1) ||
	    blkid_probe_set_superblocks_flags(
		    pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
				BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE) ||
	    blkid_probe_filter_superblocks_type(pr, BLKID_FLTR_ONLYIN, names))
		return fail(-ENOMEM, "libblkid does not start");
	r = blkid_do_safeprobe(pr);
	/* Several things, one of them left over from before. */
	if (r == -2)
		snprintf(out->type, sizeof(out->type), "ambivalent");
	if (r)
		return 1;
	get_value(pr, "TYPE", out->type, sizeof(out->type));
	get_value(pr, "LABEL", out->label, sizeof(out->label));
	get_value(pr, "UUID", out->uuid, sizeof(out->uuid));
	return 0;
}

int content_probe(struct source *s, struct content *out)
{
	DROP(fd) int fd = -1;
	int r;

	memset(out, 0, sizeof(*out));
	if (source_size(s) < 4096)
		return 0;
	r = window_make(s, HEAD, TAIL, &fd);
	if (!r)
		r = probe(fd, out);
	return r < 0 ? r : 0;
}

bool content_is_ext(const struct content *c)
{
	return strcmp(c->type, "ext2") == 0 || strcmp(c->type, "ext3") == 0 ||
	       strcmp(c->type, "ext4") == 0;
}
