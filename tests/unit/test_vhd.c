// SPDX-License-Identifier: GPL-3.0-or-later
/* The fixed VHD footer, read and made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/source/source.h"
#include "tests/fakes/source_fault.h"
#include "tests/fakes/source_memory.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

#define SECONDS(s) ((int64_t)(s)*1000000000)
#define DISK 4096

static const uint8_t uuid[16] = "0123456789abcdef";

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* After a field was changed on purpose. */
static void seal(uint8_t *footer)
{
	uint32_t sum = 0;

	put_be32(footer + 64, 0);
	for (int i = 0; i < VHD_FOOTER_SIZE; i++)
		sum += footer[i];
	put_be32(footer + 64, ~sum);
}

/* The example of the facts: every field at its place. */
static void test_fields(void)
{
	uint8_t f[VHD_FOOTER_SIZE], zeros[427] = { 0 };
	uint32_t sum = 0;

	vhd_footer(0xa00000, uuid, SECONDS(946684800 + 0x32951336), f);
	CHECK(!memcmp(f, "conectix\0\0\0\2\0\1\0\0", 16));
	CHECK(!memcmp(f + 16, "\377\377\377\377\377\377\377\377", 8));
	CHECK(be32(f + 24) == 0x32951336);
	CHECK(!memcmp(f + 28, "win ", 4));
	CHECK(!memcmp(f + 36, "Wi2k", 4));
	CHECK(!memcmp(f + 40, "\0\0\0\0\0\xa0\0\0", 8));
	CHECK(!memcmp(f + 48, "\0\0\0\0\0\xa0\0\0", 8));
	CHECK(be32(f + 60) == 2);
	CHECK(!memcmp(f + 68, uuid, 16));
	CHECK(f[84] == 0 && !memcmp(f + 85, zeros, sizeof(zeros)));
	for (int i = 0; i < VHD_FOOTER_SIZE; i++)
		sum += i >= 64 && i < 68 ? 0 : f[i];
	CHECK(be32(f + 64) == (uint32_t)~sum);

	vhd_footer(0, uuid, SECONDS(946684800) - 1, f);
	CHECK(be32(f + 24) == 0);
	vhd_footer(0, uuid, INT64_MIN, f);
	CHECK(be32(f + 24) == 0);
	vhd_footer(0, uuid, SECONDS(946684801), f);
	CHECK(be32(f + 24) == 1);
	vhd_footer(0, uuid, INT64_MAX, f);
	CHECK(be32(f + 24) == UINT32_MAX);
}

/* Values that qemu-img writes, and the borders of the algorithm. */
static void test_geometry(void)
{
	static const struct {
		uint64_t sectors;
		uint32_t chs; /* cylinders << 16 | heads << 8 | sectors */
	} known[] = {
		{ 0, 0x00000411 },
		{ 0xa07000 / 512, 0x012e0411 },
		{ 0x2002000 / 512, 0x03c40411 },
		{ 0x14003a000 / 512, 0x28a3103f },
		/* 17 a track up to 16 heads of 1024, then 31, then 63 */
		{ 17u * 16 * 1024 - 1, 0x03ff1011 },
		{ 17u * 16 * 1024, 0x0231101f },
		{ 31u * 16 * 1024 - 1, 0x03ff101f },
		{ 31u * 16 * 1024, 0x01f7103f },
		{ 65535u * 16 * 63 - 1, 0xfffe103f },
		{ 65535u * 16 * 63, 0x3f3f10ff },
		{ 65535u * 16 * 255, 0xffff10ff },
		{ 65535u * 16 * 255 + 1, 0xffff10ff },
		{ UINT64_MAX / 512, 0xffff10ff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		uint8_t f[VHD_FOOTER_SIZE];

		vhd_footer(known[i].sectors * 512, uuid, 0, f);
		if (be32(f + 56) != known[i].chs)
			fprintf(stderr, "%zu: %08x\n", i, be32(f + 56));
		CHECK(be32(f + 56) == known[i].chs);
	}
}

static void test_append(void)
{
	static uint8_t want[DISK + VHD_FOOTER_SIZE], got[sizeof(want)];
	const struct memory_hole holes[] = { { 512, 512 }, { 3584, 512 } };
	struct source_fault fault = { 0 };
	DROP(source) struct source *s = NULL;
	struct extent e;

	for (int i = 0; i < DISK; i++)
		want[i] = (uint8_t)(i * 7 + i / 256 + 1);
	CHECK_OK(source_open_memory(want, DISK, holes, 2, &s));
	CHECK_OK(source_read(s, want, DISK, 0));
	vhd_footer(DISK, uuid, SECONDS(1700000000), want + DISK);
	CHECK_OK(source_open_fault(take(s), &fault, &s));
	CHECK_OK(source_open_with_vhd_footer(take(s), uuid, SECONDS(1700000000),
					     &s));
	CHECK(source_size(s) == sizeof(want));

	for (size_t off = 0; off <= sizeof(want); off += 37)
		for (size_t len = 0; len <= sizeof(want) - off; len += 41) {
			memset(got, 0xee, sizeof(got));
			CHECK_OK(source_read(s, got, len, off));
			CHECK(!memcmp(got, want + off, len));
		}
	/* Around the border, byte by byte. */
	for (size_t off = DISK - 3; off <= DISK + 3; off++)
		for (size_t len = 0; len <= 6; len++) {
			CHECK_OK(source_read(s, got, len, off));
			CHECK(!memcmp(got, want + off, len));
		}
	CHECK_FAILS(-EINVAL, source_read(s, got, 1, sizeof(want)));

	/* The footer alone does not touch the disk. */
	fault.fail_read = fault.reads + 1;
	CHECK_OK(source_read(s, got, VHD_FOOTER_SIZE, DISK));
	CHECK_FAILS(-EIO, source_read(s, got, VHD_FOOTER_SIZE + 1, DISK - 1));
	CHECK(fault.fired == 1);

	CHECK_OK(source_extent(s, 0, UINT64_MAX, &e));
	CHECK(!e.hole && e.length == 512);
	CHECK_OK(source_extent(s, 600, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 424);
	CHECK_OK(source_extent(s, 3584, UINT64_MAX, &e));
	CHECK(e.hole && e.length == 512);
	CHECK_OK(source_extent(s, DISK, UINT64_MAX, &e));
	CHECK(!e.hole && e.length == VHD_FOOTER_SIZE);
	CHECK_OK(source_extent(s, DISK + 500, UINT64_MAX, &e));
	CHECK(!e.hole && e.length == 12);
	source_prefetch(s, DISK - 1, 10);
	source_prefetch(s, DISK, 10);
	CHECK(fault.prefetches == 1);
	source_close(take(s));
	CHECK(fault.closes == 1);
}

static void test_append_odd(void)
{
	struct source_fault fault = { 0 };
	DROP(source) struct source *s = NULL;
	const struct pattern p = { .seed = 1 };
	struct source *inner;

	CHECK_OK(source_open_memory(NULL, 513, NULL, 0, &inner));
	CHECK_OK(source_open_fault(inner, &fault, &inner));
	CHECK_SAYS(-EINVAL, "513 bytes are not",
		   source_open_with_vhd_footer(inner, uuid, 0, &s));
	CHECK(!s && fault.closes == 1);
	CHECK_OK(source_open_pattern(&p, UINT64_MAX - 511, &inner));
	CHECK_FAILS(-EFBIG, source_open_with_vhd_footer(inner, uuid, 0, &s));
	CHECK_OK(source_open_pattern(&p, UINT64_MAX - 1023, &inner));
	CHECK_OK(source_open_with_vhd_footer(inner, uuid, 0, &s));
	CHECK(source_size(s) == UINT64_MAX - 511);
}

/* Opens a disk with this footer, or one that ends in these 512 bytes. */
static int open_with(const uint8_t *footer, enum vhd_force force,
		     struct source **s, bool *is_vhd)
{
	uint8_t image[DISK + VHD_FOOTER_SIZE];
	struct source_fault fault = { 0 };
	struct source *inner;
	int r;

	memset(image, 'd', DISK);
	memcpy(image + DISK, footer, VHD_FOOTER_SIZE);
	CHECK_OK(source_open_memory(image, sizeof(image), NULL, 0, &inner));
	CHECK_OK(source_open_fault(inner, &fault, &inner));
	r = source_open_vhd(inner, force, s, is_vhd);
	CHECK(fault.closes == (r < 0));
	if (r == 0) {
		CHECK(source_size(*s) ==
		      DISK + (*is_vhd ? 0 : VHD_FOOTER_SIZE));
		CHECK(source_read(*s, image, DISK, 0) == 0 && image[0] == 'd' &&
		      image[DISK - 1] == 'd');
		source_close(*s);
		*s = NULL;
	}
	return r;
}

static void test_open(void)
{
	uint8_t good[VHD_FOOTER_SIZE], f[VHD_FOOTER_SIZE];
	struct source *s = NULL;
	bool is_vhd = false;

	vhd_footer(DISK, uuid, SECONDS(1700000000), good);
	CHECK(open_with(good, VHD_AUTO, &s, &is_vhd) == 0 && is_vhd);
	is_vhd = false;
	CHECK(open_with(good, VHD_YES, &s, &is_vhd) == 0 && is_vhd);
	CHECK(open_with(good, VHD_RAW, &s, &is_vhd) == 0 && !is_vhd);

	memset(f, 0, sizeof(f));
	is_vhd = true;
	CHECK(open_with(f, VHD_AUTO, &s, &is_vhd) == 0 && !is_vhd);
	CHECK_SAYS(-EPROTO, "no VHD footer",
		   open_with(f, VHD_YES, &s, &is_vhd));

	/* Every bit: in the cookie it is no footer any more, elsewhere the
	 * checksum tells. */
	for (int bit = 0; bit < 8 * VHD_FOOTER_SIZE; bit++) {
		memcpy(f, good, sizeof(f));
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		is_vhd = true;
		if (bit < 64) {
			CHECK_OK(open_with(f, VHD_AUTO, &s, &is_vhd));
			CHECK(!is_vhd);
			CHECK_FAILS(-EPROTO,
				    open_with(f, VHD_YES, &s, &is_vhd));
		} else {
			CHECK_FAILS(-EPROTO,
				    open_with(f, VHD_AUTO, &s, &is_vhd));
			CHECK_STR(err_text(-EPROTO),
				  "VHD footer: wrong checksum");
			CHECK_OK(open_with(f, VHD_RAW, &s, &is_vhd));
		}
	}

	static const struct {
		int at;
		uint32_t value;
		const char *says;
	} bad[] = {
		{ 12, 0x00020000, "version 2.0" },
		{ 52, DISK - 512, "it says 3584 bytes, but 4096" },
		{ 52, DISK + 512, "it says 4608 bytes, but 4096" },
		{ 48, 1, "it says 4294971392 bytes, but 4096" },
		{ 60, 0, "type 0" },
		{ 60, 3, "dynamic VHD" },
		{ 60, 4, "differencing VHD" },
		{ 60, 7, "type 7" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(f, good, sizeof(f));
		put_be32(f + bad[i].at, bad[i].value);
		seal(f);
		CHECK_SAYS(-EPROTO, bad[i].says,
			   open_with(f, VHD_AUTO, &s, &is_vhd));
		CHECK_FAILS(-EPROTO, open_with(f, VHD_YES, &s, &is_vhd));
		CHECK_OK(open_with(f, VHD_RAW, &s, &is_vhd));
	}
	/* Not looked at: what other programs fill as they like. */
	memcpy(f, good, sizeof(f));
	memcpy(f + 28, "qem2", 4);
	put_be32(f + 16, 0);
	put_be32(f + 56, 0);
	f[84] = 1;
	f[511] = 1;
	seal(f);
	CHECK(open_with(f, VHD_AUTO, &s, &is_vhd) == 0 && is_vhd);
}

static void test_open_small(void)
{
	uint8_t f[VHD_FOOTER_SIZE];
	DROP(source) struct source *s = NULL;
	bool is_vhd = true;

	vhd_footer(0, uuid, 0, f);
	for (size_t size = 0; size <= VHD_FOOTER_SIZE; size += 73) {
		CHECK_OK(source_open_memory(f, size, NULL, 0, &s));
		CHECK_OK(source_open_vhd(take(s), VHD_AUTO, &s, &is_vhd));
		CHECK(!is_vhd && source_size(s) == size);
		CHECK_FAILS(-EPROTO,
			    source_open_vhd(take(s), VHD_YES, &s, &is_vhd));
		CHECK(!s);
	}
	CHECK_OK(source_open_memory(f, sizeof(f), NULL, 0, &s));
	CHECK_OK(source_open_vhd(take(s), VHD_AUTO, &s, &is_vhd));
	CHECK(is_vhd && source_size(s) == 0);
}

static void test_open_unreadable(void)
{
	struct source_fault fault = { .fail_read = 1 };
	struct source *inner, *s = NULL;
	bool is_vhd = true;

	CHECK_OK(source_open_memory(NULL, DISK, NULL, 0, &inner));
	CHECK_OK(source_open_fault(inner, &fault, &inner));
	CHECK_SAYS(-EIO, "VHD footer: injected",
		   source_open_vhd(inner, VHD_AUTO, &s, &is_vhd));
	CHECK(!s && is_vhd && fault.closes == 1);
}

static void test_round_trip(void)
{
	const struct pattern p = { .seed = 4,
				   .run = 512,
				   .zero_of_256 = 99,
				   .holes = true };
	const uint64_t size = UINT64_C(32) << 40;
	DROP(source) struct source *s = NULL;
	uint8_t got[5000], want[5000];
	struct extent e, f;
	bool is_vhd = false;

	CHECK_OK(source_open_pattern(&p, size, &s));
	CHECK_OK(source_open_with_vhd_footer(take(s), uuid, 0, &s));
	CHECK(source_open_vhd(take(s), VHD_AUTO, &s, &is_vhd) == 0 && is_vhd);
	CHECK(source_size(s) == size);
	pattern_bytes(&p, want, sizeof(want), size - sizeof(want));
	CHECK_OK(source_read(s, got, sizeof(got), size - sizeof(got)));
	CHECK(!memcmp(got, want, sizeof(got)));
	for (uint64_t off = size - 100000; off < size; off += e.length) {
		CHECK_OK(source_extent(s, off, UINT64_MAX, &e));
		CHECK(e.hole == pattern_is_zero(&p, off));
		CHECK(source_extent(s, off, 1, &f) == 0 && f.length == 1);
	}
}

int main(void)
{
	test_fields();
	test_geometry();
	test_append();
	test_append_odd();
	test_open();
	test_open_small();
	test_open_unreadable();
	test_round_trip();
	return 0;
}
