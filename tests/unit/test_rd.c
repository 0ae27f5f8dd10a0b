// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/rd.h"

#include "tests/unit/check.h"

static const uint8_t bytes[] = { 1,  2,	 3,  4,	 5,  6,	   7,  8,  9,  10,
				 11, 12, 13, 14, 15, 0xff, 17, 18, 19, 20 };

static void test_values(void)
{
	struct rd r = rd_over(bytes, sizeof(bytes));
	uint8_t out[2];

	CHECK_U64(rd_u8(&r), 1);
	CHECK_U64(rd_u16(&r), 0x0302);
	CHECK_U64(rd_u32(&r), 0x07060504);
	CHECK(!rd_done(&r));
	CHECK_U64(rd_u64(&r), 0x0f0e0d0c0b0a0908);
	CHECK_U64(rd_u8(&r), 0xff);
	rd_bytes(&r, out, 2);
	CHECK(out[0] == 17 && out[1] == 18);
	CHECK(rd_ptr(&r, 1) == bytes + 18);
	CHECK_U64(r.left, 1);
	rd_skip(&r, 1);
	CHECK(rd_ok(&r) && rd_done(&r));
	CHECK(rd_ptr(&r, 0) == bytes + sizeof(bytes));
	rd_skip(&r, 0);
	rd_bytes(&r, NULL, 0);
	CHECK(rd_ok(&r) && rd_done(&r));
	CHECK_U64(rd_u8(&r), 0);
	CHECK(!rd_ok(&r) && !rd_done(&r));
}

/* A number of which a part is there is zero, and so is all that follows. */
static void test_over(void)
{
	for (size_t n = 0; n < 8; n++) {
		struct rd r = rd_over(bytes, n);

		CHECK_U64(rd_u64(&r), 0);
		CHECK(!rd_ok(&r));
		CHECK_U64(rd_u8(&r), 0);
		CHECK_U64(rd_u16(&r), 0);
		CHECK_U64(rd_u32(&r), 0);
		CHECK(!rd_ptr(&r, 0));
		CHECK(!rd_ok(&r) && !rd_done(&r));
	}
}

static void test_bytes(void)
{
	struct rd r = rd_over(bytes, 3);
	uint8_t out[6];

	memset(out, 0xee, sizeof(out));
	rd_bytes(&r, out, 5);
	CHECK_MEM(out, "\1\2\3\0\0\xee", 6);
	CHECK(!rd_ok(&r));
	rd_bytes(&r, out, 6);
	CHECK_MEM(out, "\0\0\0\0\0\0", 6);
}

static void test_skip(void)
{
	struct rd r = rd_over(bytes, sizeof(bytes));

	rd_skip(&r, SIZE_MAX);
	CHECK(!rd_ok(&r));
	r = rd_over(bytes, sizeof(bytes));
	CHECK(!rd_ptr(&r, sizeof(bytes) + 1));
	CHECK(!rd_ok(&r));
	r = rd_over(NULL, 0);
	CHECK(rd_done(&r));
	CHECK(rd_ptr(&r, 0));
	CHECK(rd_done(&r));
	CHECK_U64(rd_u8(&r), 0);
	CHECK(!rd_ok(&r));
}

int main(void)
{
	test_values();
	test_over();
	test_bytes();
	test_skip();
	return 0;
}
