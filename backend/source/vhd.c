// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A fixed VHD is the disk, byte for byte, followed by a footer of 512 bytes
 * ("Virtual Hard Disk Image Format Specification", version 1.0, Microsoft,
 * 2006). All numbers are big endian:
 *
 *	 0   8	cookie		"conectix"
 *	 8   4	features	2: the bit that is always set
 *	12   4	version		0x00010000
 *	16   8	data offset	all ones: no dynamic header
 *	24   4	time		seconds since 2000-01-01 UTC
 *	28   4	creator		see below
 *	32   4	its version
 *	36   4	its system	"Wi2k"
 *	40   8	original size	bytes
 *	48   8	current size	bytes
 *	56   4	geometry	cylinders 2, heads 1, sectors 1
 *	60   4	type		2 fixed, 3 dynamic, 4 differencing
 *	64   4	checksum	complement of the sum of all bytes but these
 *	68  16	uuid
 *	84   1	saved state
 *	85 427	zeros
 *
 * The size is the current size. Virtual PC took it from the geometry, which is
 * smaller than the disk in general; qemu still does, and cuts off the last
 * sectors, unless it knows the creator for one that does not. Hence ours is
 * that of Hyper-V and Azure, "win ", and not a name of our own.
 */
#include "backend/source/source.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/err.h"

#define COOKIE "conectix"
#define AT_COOKIE 0
#define AT_FEATURES 8
#define AT_VERSION 12
#define AT_DATA_OFFSET 16
#define AT_TIME 24
#define AT_CREATOR 28
#define AT_CREATOR_VERSION 32
#define AT_CREATOR_OS 36
#define AT_ORIGINAL_SIZE 40
#define AT_CURRENT_SIZE 48
#define AT_GEOMETRY 56
#define AT_TYPE 60
#define AT_CHECKSUM 64
#define AT_UUID 68

#define VERSION_1 0x00010000u
#define TYPE_FIXED 2
#define TYPE_DYNAMIC 3
#define TYPE_DIFFERENCING 4
#define SECTOR 512
#define EPOCH_2000 946684800 /* in seconds since 1970 */
#define NS 1000000000

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static uint32_t checksum(const uint8_t footer[static VHD_FOOTER_SIZE])
{
	uint32_t sum = 0;

	for (size_t i = 0; i < VHD_FOOTER_SIZE; i++)
		if (i < AT_CHECKSUM || i >= AT_CHECKSUM + 4)
			sum += footer[i];
	return ~sum;
}

/* --- a disk with a footer -> the disk --- */

/* 0 if it is the footer of a fixed VHD whose disk is disk_size bytes. */
static int check_footer(const uint8_t footer[static VHD_FOOTER_SIZE],
			uint64_t disk_size)
{
	uint32_t version = get32(footer + AT_VERSION);
	uint32_t type = get32(footer + AT_TYPE);
	uint64_t size = get64(footer + AT_CURRENT_SIZE);

	if (get32(footer + AT_CHECKSUM) != checksum(footer))
		return fail(-EPROTO, "VHD footer: wrong checksum");
	if (version >> 16 != VERSION_1 >> 16)
		return fail(-EPROTO, "VHD footer: version %u.%u is not known",
			    version >> 16, version & 0xffff);
	if (type == TYPE_DYNAMIC || type == TYPE_DIFFERENCING)
		return fail(-EPROTO,
			    "it is a %s VHD; only fixed ones are read: "
			    "convert it (qemu-img convert -O raw)",
			    type == TYPE_DYNAMIC ? "dynamic" : "differencing");
	if (type != TYPE_FIXED)
		return fail(-EPROTO,
			    "VHD footer: disk type %" PRIu32 " is not known",
			    type);
	if (size != disk_size)
		return fail(-EPROTO,
			    "VHD footer: it says %" PRIu64
			    " bytes, but %" PRIu64 " are before it",
			    size, disk_size);
	return 0;
}

int source_open_vhd(struct source *inner, enum vhd_force force,
		    struct source **ret, bool *is_vhd)
{
	DROP(source) struct source *owned = inner;
	uint64_t size = source_size(inner);
	uint8_t footer[VHD_FOOTER_SIZE];
	bool found = false;
	int r;

	if (force != VHD_RAW && size >= VHD_FOOTER_SIZE) {
		r = source_read(inner, footer, sizeof(footer),
				size - VHD_FOOTER_SIZE);
		if (r < 0)
			return blame(r, "VHD footer");
		found = !memcmp(footer + AT_COOKIE, COOKIE, strlen(COOKIE));
	}
	if (!found) {
		if (force == VHD_YES)
			return fail(-EPROTO,
				    "no VHD footer in its last 512 bytes");
		*ret = take(owned);
		*is_vhd = false;
		return 0;
	}
	r = check_footer(footer, size - VHD_FOOTER_SIZE);
	if (r < 0)
		return r;
	r = source_open_slice(take(owned), 0, size - VHD_FOOTER_SIZE, ret);
	if (r < 0)
		return r;
	*is_vhd = true;
	return 0;
}

/* --- a disk -> a disk with a footer --- */

/* The algorithm of the specification's appendix. */
static uint32_t geometry(uint64_t disk_size)
{
	uint64_t sectors = min_u64(disk_size / SECTOR, 65535 * 16 * 255);
	uint64_t per_track, heads, tracks;

	if (sectors >= 65535 * 16 * 63) {
		per_track = 255;
		heads = 16;
		tracks = sectors / per_track;
	} else {
		per_track = 17;
		tracks = sectors / per_track;
		heads = max_u64((tracks + 1023) / 1024, 4);
		if (tracks >= heads * 1024 || heads > 16) {
			per_track = 31;
			heads = 16;
			tracks = sectors / per_track;
		}
		if (tracks >= heads * 1024) {
			per_track = 63;
			heads = 16;
			tracks = sectors / per_track;
		}
	}
	return (uint32_t)(tracks / heads << 16 | heads << 8 | per_track);
}

static uint32_t seconds_since_2000(int64_t time_ns)
{
	int64_t s = time_ns / NS - EPOCH_2000;

	if (s < 0)
		return 0;
	return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

void vhd_footer(uint64_t disk_size, const uint8_t uuid[static 16],
		int64_t time_ns, uint8_t out[static VHD_FOOTER_SIZE])
{
	memset(out, 0, VHD_FOOTER_SIZE);
	memcpy(out + AT_COOKIE, COOKIE, strlen(COOKIE));
	put32(out + AT_FEATURES, 2);
	put32(out + AT_VERSION, VERSION_1);
	put64(out + AT_DATA_OFFSET, UINT64_MAX);
	put32(out + AT_TIME, seconds_since_2000(time_ns));
	memcpy(out + AT_CREATOR, "win ", 4);
	put32(out + AT_CREATOR_VERSION, 0x000a0000);
	memcpy(out + AT_CREATOR_OS, "Wi2k", 4);
	put64(out + AT_ORIGINAL_SIZE, disk_size);
	put64(out + AT_CURRENT_SIZE, disk_size);
	put32(out + AT_GEOMETRY, geometry(disk_size));
	put32(out + AT_TYPE, TYPE_FIXED);
	memcpy(out + AT_UUID, uuid, 16);
	put32(out + AT_CHECKSUM, checksum(out));
}

struct footed {
	struct source base;
	struct source *inner;
	uint8_t footer[VHD_FOOTER_SIZE];
};

static const struct source_ops footed_ops;

static int footed_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct footed *v = container_of(s, struct footed, base);
	uint64_t end = source_size(v->inner);
	size_t disk = 0;
	int r;

	if (off < end) {
		disk = min_u64(len, end - off);
		r = source_read(v->inner, buf, disk, off);
		if (r < 0)
			return r;
	}
	if (disk < len)
		memcpy((uint8_t *)buf + disk, v->footer + (off + disk - end),
		       len - disk);
	return 0;
}

static int footed_extent(struct source *s, uint64_t off, uint64_t max,
			 struct extent *out)
{
	struct footed *v = container_of(s, struct footed, base);

	if (off < source_size(v->inner))
		return source_extent(v->inner, off, max, out);
	*out = (struct extent){ .length = max };
	return 0;
}

static void footed_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct footed *v = container_of(s, struct footed, base);

	source_prefetch(v->inner, off, len);
}

static void footed_close(struct source *s)
{
	struct footed *v = container_of(s, struct footed, base);

	source_close(v->inner);
	free(v);
}

int source_open_with_vhd_footer(struct source *inner,
				const uint8_t uuid[static 16], int64_t time_ns,
				struct source **ret)
{
	DROP(source) struct source *owned = inner;
	uint64_t size = source_size(inner);
	struct footed *v;

	if (size % SECTOR != 0)
		return fail(-EINVAL,
			    "a VHD is whole sectors of 512 bytes, and %" PRIu64
			    " bytes are not",
			    size);
	if (size > UINT64_MAX - VHD_FOOTER_SIZE)
		return fail(-EFBIG, "no room for a VHD footer");
	v = calloc(1, sizeof(*v));
	if (!v)
		return fail(-ENOMEM, "out of memory");
	source_init(&v->base, &footed_ops, size + VHD_FOOTER_SIZE);
	v->inner = take(owned);
	vhd_footer(size, uuid, time_ns, v->footer);
	*ret = &v->base;
	return 0;
}

static const struct source_ops footed_ops = {
	.name = "vhd",
	.read = footed_read,
	.extent = footed_extent,
	.prefetch = footed_prefetch,
	.close = footed_close,
};
