// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where it is said (offsets in bytes; XFS is big-endian, the others little):
 *
 *	ext	at 1024: 56 magic ef53; 92 compatible features, 4: a journal;
 *		96 incompatible features, 4: it needs recovery
 *	btrfs	at 65536: 64 "_BHRfS_M"; 96 root of the log tree, 0: none
 *	NTFS	11 bytes a sector, 13 sectors a cluster, 48 cluster of the MFT,
 *		64 clusters a record; record 3 ($Volume), attribute 0x70: its
 *		value has flags at 10, 1: dirty
 *	XFS	0 "XFSB", 4 block size, 48 first block of the log, 84 blocks of an
 *		allocation group, 96 blocks of the log, 124 bits of a block's
 *		number in its group
 *
 * ext: the kernel's Documentation/filesystems/ext4/super.rst; btrfs: its
 * Documentation/dev/On-disk-format; NTFS: the Linux-NTFS project's description;
 * XFS: "XFS Algorithms & Data Structures", chapter "Journaling Log".
 *
 * The log of XFS is a ring of 512-byte blocks. Each begins with the number of the
 * cycle in which it was written, or with feedbabe when a record begins there, the
 * cycle then being at 4; a record further has at 12 the length of its data,
 * at 40 the number of operations, at 320 the size of its buffer, which gives the number of
 * its header blocks: one for each 32 KiB. The head is where the cycle steps back.
 * The log is clean when the last record before the head is the one that unmounting
 * writes: a single operation (12 bytes: its flags at 9) that says so.
 */
#include "backend/guest/journal.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/rd.h"

#define BLOCK 512
#define XLOG_MAGIC 0xfeedbabeu
#define XLOG_UNMOUNT 0x20
#define XLOG_HEADER_BYTES 32768
/* A record before the head: headers and data, at most 256 KiB. */
#define XLOG_LOOK_BACK 1024
#define XLOG_BLOCKS_MAX (UINT64_C(1) << 32)
#define MFT_RECORD_MAX 4096

const char *journal_state_name(enum journal_state s)
{
	static const char *const names[] = {
		[JOURNAL_NONE] = "none",
		[JOURNAL_CLEAN] = "clean",
		[JOURNAL_DIRTY] = "dirty",
		[JOURNAL_UNKNOWN] = "unknown",
	};

	return names[s];
}

static bool inside(struct source *s, uint64_t off, uint64_t len)
{
	return off <= source_size(s) && len <= source_size(s) - off;
}

static uint64_t big(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* --- ext, btrfs --- */

static int ext_state(struct source *s, enum journal_state *out)
{
	uint8_t sb[128];
	struct rd r;
	uint32_t compatible, incompatible;
	uint16_t magic;
	int e;

	if (!inside(s, 1024, sizeof(sb)))
		return 0;
	e = source_read(s, sb, sizeof(sb), 1024);
	if (e < 0)
		return e;
	r = rd_over(sb, sizeof(sb));
	rd_skip(&r, 56);
	magic = rd_u16(&r);
	rd_skip(&r, 92 - 58);
	compatible = rd_u32(&r);
	incompatible = rd_u32(&r);
	if (magic != 0xef53)
		return 0;
	if (incompatible & 4)
		*out = JOURNAL_DIRTY;
	else
		*out = compatible & 4 ? JOURNAL_CLEAN : JOURNAL_NONE;
	return 0;
}

static int btrfs_state(struct source *s, enum journal_state *out)
{
	uint8_t sb[128];
	struct rd r;
	int e;

	if (!inside(s, 65536, sizeof(sb)))
		return 0;
	e = source_read(s, sb, sizeof(sb), 65536);
	if (e < 0)
		return e;
	if (memcmp(sb + 64, "_BHRfS_M", 8) != 0)
		return 0;
	r = rd_over(sb, sizeof(sb));
	rd_skip(&r, 96);
	*out = rd_u64(&r) ? JOURNAL_DIRTY : JOURNAL_CLEAN;
	return 0;
}

/* --- NTFS --- */

/* Where record 3 of the MFT is, or 0. */
static uint64_t volume_record(const uint8_t boot[static BLOCK], size_t *size)
{
	struct rd r = rd_over(boot, BLOCK);
	uint64_t cluster, sector, mft;
	uint8_t per_cluster;
	int8_t per_record;

	rd_skip(&r, 11);
	sector = rd_u16(&r);
	per_cluster = rd_u8(&r);
	rd_skip(&r, 48 - 14);
	mft = rd_u64(&r);
	rd_skip(&r, 64 - 56);
	per_record = (int8_t)rd_u8(&r);
	/* Above 128 it is a power of two, negated. */
	if (per_cluster > 128)
		cluster = per_cluster >= 236 ? sector << (256 - per_cluster)
					     : 0;
	else
		cluster = sector * per_cluster;
	if (per_record < 0)
		*size = per_record >= -12 ? (size_t)1 << -per_record : 0;
	else
		*size = (size_t)per_record * cluster;
	if (cluster == 0 || *size < 256 || *size > MFT_RECORD_MAX ||
	    mft > UINT64_MAX / 2 / cluster)
		return 0;
	return mft * cluster + 3 * *size;
}

/* The flags in attribute 0x70 of a record. */
static bool volume_flags(const uint8_t *record, size_t size, uint16_t *flags)
{
	struct rd r = rd_over(record, size);
	uint32_t type, len;
	uint16_t value;
	size_t at;

	rd_skip(&r, 20);
	at = rd_u16(&r);
	while (at + 24 <= size) {
		r = rd_over(record + at, size - at);
		type = rd_u32(&r);
		len = rd_u32(&r);
		if (len < 24 || len > size - at)
			return false;
		if (type == 0x70) {
			r = rd_over(record + at, len);
			rd_skip(&r, 20);
			value = rd_u16(&r);
			r = rd_over(record + at, len);
			rd_skip(&r, value + 10u);
			*flags = rd_u16(&r);
			return rd_ok(&r);
		}
		at += len;
	}
	return false;
}

static int ntfs_state(struct source *s, enum journal_state *out)
{
	uint8_t boot[BLOCK], record[MFT_RECORD_MAX];
	uint64_t at;
	uint16_t flags;
	size_t size;
	int e;

	if (!inside(s, 0, sizeof(boot)))
		return 0;
	e = source_read(s, boot, sizeof(boot), 0);
	if (e < 0)
		return e;
	at = volume_record(boot, &size);
	if (memcmp(boot + 3, "NTFS    ", 8) != 0 || at == 0 ||
	    !inside(s, at, size))
		return 0;
	e = source_read(s, record, size, at);
	if (e < 0)
		return e;
	if (memcmp(record, "FILE", 4) == 0 &&
	    volume_flags(record, size, &flags))
		*out = flags & 1 ? JOURNAL_DIRTY : JOURNAL_CLEAN;
	return 0;
}

/* --- XFS --- */

struct ring {
	struct source *s;
	uint64_t off;	 /* in bytes */
	uint64_t blocks; /* of 512 bytes */
};

static int ring_block(const struct ring *g, uint64_t block,
		      uint8_t out[static BLOCK])
{
	return source_read(g->s, out, BLOCK,
			   g->off + block % g->blocks * BLOCK);
}

static int ring_cycle(const struct ring *g, uint64_t block, uint32_t *ret)
{
	uint8_t b[BLOCK];
	int r = ring_block(g, block, b);

	if (r == 0)
		*ret = (uint32_t)(big(b, 4) == XLOG_MAGIC ? big(b + 4, 4)
							  : big(b, 4));
	return r;
}

/* The first block of the cycle that the ring ends with, or, where all of it is of
 * one cycle, the end. */
static int ring_head(const struct ring *g, uint64_t *ret)
{
	uint64_t low = 0, high = g->blocks - 1, mid;
	uint32_t first, last, cycle;
	int r = ring_cycle(g, 0, &first);

	if (r == 0)
		r = ring_cycle(g, high, &last);
	if (r < 0)
		return r;
	if (first == last) {
		*ret = g->blocks;
		return 0;
	}
	while (high - low > 1) {
		mid = low + (high - low) / 2;
		r = ring_cycle(g, mid, &cycle);
		if (r < 0)
			return r;
		if (cycle == last)
			high = mid;
		else
			low = mid;
	}
	*ret = high;
	return 0;
}

/* Whether the record at block ends at head, and is that of an unmount. */
static int is_unmount(const struct ring *g, uint64_t block,
		      const uint8_t h[static BLOCK], uint64_t head, bool *ret)
{
	uint64_t len = big(h + 12, 4), headers = 1;
	uint8_t op[BLOCK];
	int r;

	if (big(h + 8, 4) == 2)
		headers = (big(h + 320, 4) + XLOG_HEADER_BYTES - 1) /
			  XLOG_HEADER_BYTES;
	if (headers == 0)
		headers = 1;
	*ret = false;
	if (big(h + 40, 4) != 1 ||
	    block + headers + (len + BLOCK - 1) / BLOCK != head)
		return 0;
	r = ring_block(g, block + headers, op);
	if (r == 0)
		*ret = op[9] & XLOG_UNMOUNT;
	return r;
}

static int ring_state(const struct ring *g, enum journal_state *out)
{
	uint8_t h[BLOCK];
	uint64_t head;
	bool clean;
	int r = ring_head(g, &head);

	if (r < 0)
		return r;
	*out = JOURNAL_DIRTY;
	/* So that looking back never passes zero. */
	head += g->blocks;
	for (uint64_t n = 1; n <= min_u64(XLOG_LOOK_BACK, g->blocks); n++) {
		r = ring_block(g, head - n, h);
		if (r < 0)
			return r;
		if (big(h, 4) != XLOG_MAGIC)
			continue;
		r = is_unmount(g, head - n, h, head, &clean);
		if (r == 0 && clean)
			*out = JOURNAL_CLEAN;
		return r;
	}
	return 0;
}

static int xfs_state(struct source *s, enum journal_state *out)
{
	uint64_t block, start, group, bits, number;
	struct ring g = { .s = s };
	uint8_t sb[BLOCK];
	int r;

	if (!inside(s, 0, sizeof(sb)))
		return 0;
	r = source_read(s, sb, sizeof(sb), 0);
	if (r < 0)
		return r;
	block = big(sb + 4, 4);
	start = big(sb + 48, 8);
	group = big(sb + 84, 4);
	bits = sb[124];
	if (memcmp(sb, "XFSB", 4) != 0 || block < BLOCK || block > 65536 ||
	    block % BLOCK || bits > 32 || start == 0)
		return 0;
	number =
		(start >> bits) * group + (start & ((UINT64_C(1) << bits) - 1));
	g.blocks = big(sb + 96, 4) * (block / BLOCK);
	if (start >> bits > UINT32_MAX || number > UINT64_MAX / 2 / block ||
	    g.blocks < 2 || g.blocks > XLOG_BLOCKS_MAX ||
	    !inside(s, number * block, g.blocks * BLOCK))
		return 0;
	g.off = number * block;
	return ring_state(&g, out);
}

int journal_read(struct source *s, const char *type, enum journal_state *out)
{
	static const struct {
		const char *type;
		int (*read)(struct source *s, enum journal_state *out);
	} kinds[] = {
		{ "ext2", ext_state },	  { "ext3", ext_state },
		{ "ext4", ext_state },	  { "xfs", xfs_state },
		{ "btrfs", btrfs_state }, { "ntfs", ntfs_state },
	};
	static const char *const none[] = { "vfat", "exfat", "swap", "iso9660",
					    "squashfs" };

	*out = JOURNAL_UNKNOWN;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(type, kinds[i].type) == 0)
			return kinds[i].read(s, out);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (strcmp(type, none[i]) == 0)
			*out = JOURNAL_NONE;
	return 0;
}
