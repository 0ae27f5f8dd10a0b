// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * content: what a volume holds, by its superblock: a file system, swap, a member of
 * LVM or of a RAID. By libblkid, on a copy of the volume's head and tail in memory.
 * Only what a superblock of many bytes or a checksum proves is looked for, so
 * that noise is taken for nothing.
 *
 * Any thread.
 */
#pragma once
#include "backend/source/source.h"

struct content {
	char type[32];	 /* "ext4", "LVM2_member", …: blkid's names;
			 * "ambivalent": several of them; "": nothing that is
			 * known */
	char label[256]; /* printable */
	char uuid[64];
};

#define CONTENT_LVM "LVM2_member"

int content_probe(struct source *s, struct content *out) MUST_USE;
/* ext2, ext3, ext4. */
bool content_is_ext(const struct content *c);
