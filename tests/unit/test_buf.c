// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/buf.h"

#include <errno.h>

#include "backend/base/rd.h"
#include "tests/unit/check.h"

static void test_bytes(void)
{
	static const uint8_t want[] = {
		1, 0x02, 0x01, 0x04, 0x03, 0x02, 0x01, 8,   7, 6, 5, 4,
		3, 2,	 1,    'a',  'b',  'x',	 '4',  '2', 0, 0, 0,
	};
	DROP(buf) struct buf b = BUF_INIT(1000);

	CHECK_STR(buf_cstr(&b), "");
	buf_u8(&b, 1);
	buf_u16(&b, 0x0102);
	buf_u32(&b, 0x01020304);
	buf_u64(&b, 0x0102030405060708);
	buf_str(&b, "ab");
	buf_printf(&b, "%c%d", 'x', 42);
	buf_zero(&b, 3);
	buf_add(&b, NULL, 0);
	CHECK_OK(buf_check(&b, "b"));
	CHECK_U64(b.len, sizeof(want));
	CHECK_MEM(b.data, want, sizeof(want));

	buf_set_u32(&b, 3, 0xa1b2c3d4);
	CHECK_MEM(b.data + 3, "\xd4\xc3\xb2\xa1", 4);
	CHECK_U64(b.len, sizeof(want));

	buf_reset(&b);
	CHECK_U64(b.len, 0);
	CHECK(b.data && b.cap);
	buf_printf(&b, "%s", "");
	buf_str(&b, "again");
	CHECK_STR(buf_cstr(&b), "again");
	CHECK_U64(b.len, 5);
	buf_release(&b);
	CHECK(!b.data && !b.len && b.max == 1000);
	buf_release(&b);
	buf_release(NULL);
}

static void test_reserve(void)
{
	DROP(buf) struct buf b;
	uint8_t *at;

	buf_init(&b, 100);
	CHECK(buf_reserve(&b, 0));
	at = buf_reserve(&b, 60);
	CHECK(at);
	CHECK_U64(b.len, 0);
	memset(at, 'r', 60);
	b.len += 60;
	CHECK(buf_reserve(&b, 40));
	CHECK(!b.failed);
	CHECK(!buf_reserve(&b, 41));
	CHECK(b.failed);
	/* A failure stays until the reset. */
	CHECK(!buf_reserve(&b, 1));
	CHECK_U64(b.len, 60);
}

static void test_maximum(void)
{
	/* The maximum is exact, at whatever step it falls. */
	for (size_t max = 0; max < 300; max++) {
		DROP(buf) struct buf b = BUF_INIT(max);

		for (size_t i = 0; i < max; i++)
			buf_u8(&b, 'm');
		CHECK_OK(buf_check(&b, "b"));
		CHECK_U64(strlen(buf_cstr(&b)), max);
		CHECK(b.cap <= max + 1);
		buf_u8(&b, 'm');
		CHECK_U64(b.len, max);
		CHECK_SAYS(-EFBIG, "index: larger than",
			   buf_check(&b, "index"));
		CHECK_STR(buf_cstr(&b), "");
		buf_set_u32(&b, 5000, 1); /* nothing */
		buf_reset(&b);
		CHECK_OK(buf_check(&b, "b"));
	}
}

static void test_huge(void)
{
	DROP(buf) struct buf b = BUF_INIT(SIZE_MAX);

	buf_str(&b, "x");
	/* The arithmetic does not overflow. */
	CHECK(!buf_reserve(&b, SIZE_MAX));
	CHECK(b.failed);
	buf_reset(&b);
	CHECK(!buf_reserve(&b, SIZE_MAX - 1));
	buf_reset(&b);
	CHECK_STR(buf_cstr(&b), "");
	buf_str(&b, "fine");
	CHECK_STR(buf_cstr(&b), "fine");

	/* As a failed realloc() leaves it. */
	b.failed = b.no_memory = true;
	CHECK_SAYS(-ENOMEM, "key: out of memory", buf_check(&b, "key"));
}

static void test_long_printf(void)
{
	DROP(buf) struct buf b = BUF_INIT(1 << 20);

	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%0*d,", 1 + i % 90, i % 10);
	CHECK_OK(buf_check(&b, "b"));
	CHECK(b.len > 40000 && b.data[b.len - 1] == ',');
	CHECK_U64(strlen(buf_cstr(&b)), b.len);
}

int main(void)
{
	test_bytes();
	test_reserve();
	test_maximum();
	test_huge();
	test_long_printf();
	return 0;
}
