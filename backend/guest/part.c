// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * libblkid reads the tables; what is here gives it the bytes. An MBR's extended
 * partitions are a chain: each record of the chain, a sector anywhere in the
 * extended partition, has one logical partition and a link to the next record.
 *
 *	446  4 entries of 16: flag, 3 bytes, type at 4, 3 bytes, first sector
 *	     at 8, sectors at 12	510  55 aa
 */
#include "backend/guest/part.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/rd.h"
#include "backend/guest/window.h"

/* GPT: 128 entries are 16 KiB, behind the first two sectors, and again before
 * the last one. More entries than these hold have never been seen. */
#define HEAD (UINT64_C(256) << 10)
#define TAIL (UINT64_C(192) << 10)
#define SECTOR 512
#define ENTRIES 446
#define LINKS_MAX 256

/* --- the chain of extended boot records --- */

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static bool has_mark(const uint8_t sector[static SECTOR])
{
	return sector[510] == 0x55 && sector[511] == 0xaa;
}

/* The first sector of the first extended entry; 0: there is none. */
static uint32_t extended_entry(const uint8_t sector[static SECTOR])
{
	for (int i = 0; i < 4; i++) {
		struct rd r = rd_over(sector + ENTRIES + 16 * i, 16);
		uint8_t type;
		uint32_t first;

		rd_skip(&r, 4);
		type = rd_u8(&r);
		rd_skip(&r, 3);
		first = rd_u32(&r);
		if (is_extended(type) && first)
			return first;
	}
	return 0;
}

/* As far as it leads, and no farther than LINKS_MAX: it may go round. */
static int copy_chain(struct source *disk, const uint8_t mbr[static SECTOR],
		      int fd)
{
	uint64_t base = (uint64_t)extended_entry(mbr) * SECTOR, at = base;
	uint8_t sector[SECTOR];

	for (int i = 0; base && i < LINKS_MAX; i++) {
		uint32_t next;
		int r;

		if (at > source_size(disk) || source_size(disk) - at < SECTOR)
			break;
		r = source_read(disk, sector, SECTOR, at);
		if (!r)
			r = window_copy(disk, fd, at, SECTOR);
		if (r)
			return r;
		next = has_mark(sector) ? extended_entry(sector) : 0;
		if (!next)
			break;
		at = base + (uint64_t)next * SECTOR;
	}
	return 0;
}

/* --- the tables --- */

DROP_DEFINE(probe, blkid_probe, blkid_free_probe)

static void copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text ? text : "");
	printable(out);
}

static int add_part(struct part_table *t, blkid_partition p, uint64_t disk_size)
{
	/* libblkid counts in sectors of 512 whatever the disk's are. */
	uint64_t start = (uint64_t)blkid_partition_get_start(p);
	uint64_t sectors = (uint64_t)blkid_partition_get_size(p);
	int number = blkid_partition_get_partno(p);
	struct part *part;
	const char *type;

	if (blkid_partition_is_extended(p) || number <= 0 || !sectors ||
	    start >= disk_size / SECTOR)
		return 0;
	if (t->count == PARTS_MAX)
		return fail(-EPROTO, "more than %d partitions", PARTS_MAX);
	part = &t->parts[t->count++];
	part->number = (unsigned)number;
	part->off = start * SECTOR;
	part->cut = sectors > (disk_size - part->off) / SECTOR;
	part->len = part->cut ? disk_size - part->off : sectors * SECTOR;
	type = blkid_partition_get_type_string(p);
	if (type)
		copy_text(part->type, sizeof(part->type), type);
	else
		snprintf(part->type, sizeof(part->type), "0x%02x",
			 (unsigned)blkid_partition_get_type(p));
	copy_text(part->uuid, sizeof(part->uuid), blkid_partition_get_uuid(p));
	copy_text(part->label, sizeof(part->label),
		  blkid_partition_get_name(p));
	return 0;
}

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* An MBR's type byte 0xee says that the disk has a GPT, and is no table. */
static int take_table(blkid_partlist list, const char *type, uint64_t disk_size,
		      struct part_table *t)
{
	int n = blkid_partlist_numof_partitions(list);
	int r = 0;

	if (n <= 0)
		return 0;
	t->parts = calloc(PARTS_MAX, sizeof(*t->parts));
	if (!t->parts)
		return fail(-ENOMEM, "out of memory");
	for (int i = 0; i < n && !r; i++)
		r = add_part(t, blkid_partlist_get_partition(list, i),
			     disk_size);
	if (r)
		return r;
	if (!t->count) {
		free(take(t->parts));
		return 0;
	}
	qsort(t->parts, t->count, sizeof(*t->parts), compare_parts);
	copy_text(t->type, sizeof(t->type), type);
	return 0;
}

static int probe_with(int fd, uint64_t size, unsigned sector,
		      struct part_table *t)
{
	DROP(probe) blkid_probe pr = blkid_new_probe();
	blkid_partlist list;
	blkid_parttable table;
	const char *type;

	if (!pr || blkid_probe_set_device(pr, fd, 0, 0) ||
	    blkid_probe_set_sectorsize(pr, sector) ||
	    blkid_probe_enable_superblocks(pr, 0) ||
	    blkid_probe_enable_partitions(pr, 1))
		return fail(-ENOMEM, "libblkid does not start");
	/* NULL: no table, or one that it does not believe. */
	list = blkid_probe_get_partitions(pr);
	table = list ? blkid_partlist_get_table(list) : NULL;
	type = table ? blkid_parttable_get_type(table) : NULL;
	if (!type || (strcmp(type, "gpt") != 0 && strcmp(type, "dos") != 0))
		return 0;
	t->sector_size = sector;
	return take_table(list, type, size, t);
}

/*
 * These begin in the first sector, which a table would need; libblkid itself looks
 * for FAT and NTFS there, whose boot code can look like a table.
 */
static bool is_no_table(const uint8_t sector[static SECTOR])
{
	return !has_mark(sector) || memcmp(sector + 3, "EXFAT   ", 8) == 0 ||
	       memcmp(sector + 3, "-FVE-FS-", 8) == 0 ||
	       memcmp(sector + 3, "MSWIN4.1", 8) == 0 ||
	       memcmp(sector + 3, "NTFS    ", 8) == 0 ||
	       memcmp(sector + 3, "ReFS\0\0\0\0", 8) == 0 ||
	       memcmp(sector, "XFSB", 4) == 0 ||
	       memcmp(sector, "LUKS\xba\xbe", 6) == 0;
}

int part_read(struct source *disk, struct part_table *out)
{
	DROP(part_table) struct part_table t = { 0 };
	DROP(fd) int fd = -1;
	uint64_t size = source_size(disk);
	uint8_t mbr[SECTOR];
	int r;

	memset(out, 0, sizeof(*out));
	if (size < 2 * SECTOR)
		return 0;
	r = source_read(disk, mbr, sizeof(mbr), 0);
	if (r || is_no_table(mbr))
		return r;
	r = window_make(disk, HEAD, TAIL, &fd);
	if (!r)
		r = copy_chain(disk, mbr, fd);
	if (!r)
		r = probe_with(fd, size, 512, &t);
	if (!r && !t.count)
		r = probe_with(fd, size, 4096, &t);
	if (r)
		return r;
	*out = t;
	memset(&t, 0, sizeof(t));
	return 0;
}

void part_table_release(struct part_table *t)
{
	free(t->parts);
	memset(t, 0, sizeof(*t));
}
