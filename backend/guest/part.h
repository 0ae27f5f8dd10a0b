// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * part: the partition table of a disk: MBR with its chain of extended boot
 * records, GPT with sectors of 512 or of 4096 bytes. By libblkid, which sees a
 * copy of the disk's head and tail and of that chain, in memory.
 *
 * Any thread.
 */
#pragma once
#include "backend/source/source.h"

#define PARTS_MAX 256

struct part {
	unsigned number; /* as Linux counts them, from 1 */
	uint64_t off;
	uint64_t len;	/* cut to the disk's end */
	bool cut;	/* the table says that it ends beyond it */
	char type[37];	/* GUID in lower case, or "0x83" */
	char uuid[48];	/* "" : none */
	char label[80]; /* GPT: its name */
};

struct part_table {
	char type[8]; /* "gpt", "dos"; "": there is none */
	uint32_t sector_size;
	struct part *parts; /* ascending by number */
	size_t count;
};

/*
 * 0, also where there is no table. A source that has a file system or a header of
 * LUKS or BitLocker in its first sector has none, whatever else the sector looks
 * like. -EPROTO for more than PARTS_MAX; else the source's failure. To be released.
 */
int part_read(struct source *disk, struct part_table *out) MUST_USE;
void part_table_release(struct part_table *t);

static inline void drop_part_table(struct part_table *t)
{
	part_table_release(t);
}
