// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/parse.h"

#include <errno.h>
#include <time.h>

#include "tests/unit/check.h"

#define NS INT64_C(1000000000)

static void refused(int (*parse)(const char *, uint64_t *), const char *s)
{
	uint64_t v = 77;

	if (parse(s, &v) != -EINVAL) {
		fprintf(stderr, "\"%s\" is accepted\n", s);
		exit(1);
	}
	/* Written only on success. */
	CHECK_U64(v, 77);
}

static void accepted(int (*parse)(const char *, uint64_t *), const char *s,
		     uint64_t want)
{
	uint64_t v = ~want;

	CHECK_OK(parse(s, &v));
	CHECK_U64(v, want);
}

static void test_numbers(void)
{
	static const char *const bad[] = { "",	 " 1", "1 ", "+1", "-1", "0x1",
					   "1.", "a",  "1a", "\n", "1_0" };

	accepted(parse_u64, "0", 0);
	accepted(parse_u64, "007", 7);
	accepted(parse_u64, "18446744073709551615", UINT64_MAX);
	refused(parse_u64, "18446744073709551616");
	refused(parse_u64, "99999999999999999999999");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(parse_u64, bad[i]);
	refused(parse_u64, "12\n");
	CHECK_STR(err_text(-EINVAL), "\"12?\" is not a number");
}

static void test_hex(void)
{
	uint8_t b[4] = { 9, 9, 9, 9 };
	char text[9];
	uint64_t v = 5;

	CHECK_OK(parse_hex_u64("00000000DeadBeef", 16, &v));
	CHECK_U64(v, 0xdeadbeef);
	CHECK_OK(parse_hex_u64("ffffffffffffffff", 16, &v));
	CHECK_U64(v, UINT64_MAX);
	CHECK_FAILS(-EINVAL, parse_hex_u64("", 0, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("", 1, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("12", 1, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("12", 3, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("1g", 2, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("0x", 2, &v));
	CHECK_FAILS(-EINVAL, parse_hex_u64("00000000000000000", 17, &v));
	CHECK_U64(v, UINT64_MAX);

	CHECK_FAILS(-EINVAL, parse_hex("0102030", b, 4));
	CHECK_FAILS(-EINVAL, parse_hex("010203zz", b, 4));
	CHECK_FAILS(-EINVAL, parse_hex("0102030405", b, 4));
	CHECK_MEM(b, "\x9\x9\x9\x9", 4);
	/* It may be a key. */
	CHECK(!strstr(err_text(-EINVAL), "010203"));
	CHECK_OK(parse_hex("00fFa51B", b, 4));
	CHECK_MEM(b, "\x00\xff\xa5\x1b", 4);
	CHECK_OK(parse_hex("", b, 0));
	hex_of(b, 4, text);
	CHECK_STR(text, "00ffa51b");
	hex_of(b, 0, text);
	CHECK_STR(text, "");
}

static void test_sizes(void)
{
	static const char *const bad[] = {
		"",
		"K",
		"-1K",
		"1.5G",
		"1 K",
		"1KB",
		"1Kib",
		"1KiBs",
		"1KK",
		"1X",
		"1iB",
		"16E",
		"1\n",
		"0x10",
		"1Ki",
		"1[",
		"1{",
		"B",
		"18014398509481984K",
	};

	accepted(parse_size, "4096", 4096);
	accepted(parse_size, "512B", 512);
	accepted(parse_size, "64K", 65536);
	accepted(parse_size, "64k", 65536);
	accepted(parse_size, "1M", 1 << 20);
	accepted(parse_size, "2GiB", UINT64_C(2) << 30);
	accepted(parse_size, "1T", UINT64_C(1) << 40);
	accepted(parse_size, "3P", UINT64_C(3) << 50);
	accepted(parse_size, "15EiB", UINT64_C(15) << 60);
	accepted(parse_size, "0E", 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(parse_size, bad[i]);
}

static void test_durations(void)
{
	static const char *const bad[] = {
		"",    "s",  "-1s",  "1.5s", "1 s",
		"1ss", "1x", "5min", "1S",   "18446744073709552"
	};

	accepted(parse_duration_ms, "30", 30000);
	accepted(parse_duration_ms, "30s", 30000);
	accepted(parse_duration_ms, "5m", 300000);
	accepted(parse_duration_ms, "2h", 7200000);
	accepted(parse_duration_ms, "0", 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(parse_duration_ms, bad[i]);
}

static void check_time(const char *s, int64_t want)
{
	int64_t ns = ~want;

	if (parse_time(s, &ns) < 0 || ns != want) {
		fprintf(stderr, "\"%s\" is %" PRId64 ", not %" PRId64 "\n", s,
			ns, want);
		exit(1);
	}
}

static void test_times(void)
{
	static const char *const bad[] = {
		"",
		"2026",
		"2026-11-21",
		"2026-11-21T02:00Z",
		"2026-11-21T02:00:07Zz",
		"2026-11-21T02:00:07 Z",
		" 2026-11-21T02:00:07Z",
		"2026-11-21T02-00:07Z",
		"2026-11-21T02:00-07Z",
		"2026-11-21T02.00.07Z",
		"2026-11-21x02:00:07Z",
		"2026-13-21T02:00:07Z",
		"2026-00-21T02:00:07Z",
		"2026-11-31T02:00:07Z",
		"2026-11-00T02:00:07Z",
		"2026-11-21T24:00:00Z",
		"2026-11-21T02:60:07Z",
		"2026-11-21T02:00:60Z",
		"2026-11-21T02:00:07.Z",
		"2026-11-21T02:00:07.-5Z",
		"2026-11-21T02:00:-7Z",
		"2026-11-21T02:00:07.1234567890Z",
		"2026-11-21T02:00:07,5Z",
		"2026-11-21T02:00:07+1:00",
		"2026-11-21T02:00:07+01",
		"2026-11-21T02:00:07+24:00",
		"2026-11-21T02:00:07+01:60",
		"2026-11-21T02:00:07+01:00Z",
		"2026-1-21T02:00:07Z",
		"+026-11-21T02:00:07Z",
		"2023-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"@",
		"@-",
		"@1x",
		"@+1",
		"@ 1",
		"@1.",
		"@-1.5",
		"@-0.5",
		"@--1",
		"@99999999999999999999",
		"Now",
		"now ",
		/* Beyond 64 bits of nanoseconds. */
		"2262-04-12T00:00:00Z",
		"1677-09-21T00:00:00Z",
		"9999-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z",
		"@9223372037",
	};
	int64_t ns = 5;

	check_time("1970-01-01T00:00:00Z", 0);
	check_time("1970-01-01T00:00:00.000000001Z", 1);
	check_time("1969-12-31T23:59:59.999999999Z", -1);
	check_time("2026-11-21T02:00:07Z", 1795226407 * NS);
	check_time("2026-11-21T02-00-07Z", 1795226407 * NS);
	check_time("2026-11-21 02:00:07", 1795226407 * NS);
	check_time("2026-11-21T03:30:07+01:30", 1795226407 * NS);
	check_time("2026-11-20T21:00:07-05:00", 1795226407 * NS);
	check_time("2026-11-21T02-00-07+00:00", 1795226407 * NS);
	check_time("2026-11-21T02:00:07.5Z", 1795226407 * NS + NS / 2);
	check_time("2026-11-21T02:00:07.1234567Z", 1795226407 * NS + 123456700);
	check_time("2000-02-29T00:00:00Z", 951782400 * NS);
	check_time("2024-02-29T23:59:59Z", 1709251199 * NS);
	check_time("2024-03-01T00:00:00Z", 1709251200 * NS);
	check_time("2100-02-28T23:59:59Z", 4107542399 * NS);
	check_time("2100-03-01T00:00:00Z", 4107542400 * NS);
	check_time("1900-03-01T00:00:00Z", -2203891200 * NS);
	check_time("2262-04-11T23:47:16.854775807Z", INT64_MAX);
	check_time("@0", 0);
	check_time("@1795226407", 1795226407 * NS);
	check_time("@1.25", NS + NS / 4);
	check_time("@-5", -5 * NS);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse_time(bad[i], &ns) != -EINVAL) {
			fprintf(stderr, "\"%s\" is accepted\n", bad[i]);
			exit(1);
		}
		CHECK(ns == 5);
	}
	CHECK_OK(parse_time("now", &ns));
	CHECK(ns > 1700000000 * NS && time_now_ns() >= ns);
	CHECK(monotonic_ns() <= monotonic_ns());
}

static void check_text(int64_t ns, const char *iso, const char *name)
{
	char text[TIME_TEXT_SIZE];

	time_iso(ns, text);
	CHECK_STR(text, iso);
	time_name(ns, text);
	CHECK_STR(text, name);
}

static void test_time_text(void)
{
	char text[TIME_TEXT_SIZE];
	int64_t back;

	check_text(0, "1970-01-01T00:00:00Z", "1970-01-01T00-00-00Z");
	check_text(1795226407 * NS, "2026-11-21T02:00:07Z",
		   "2026-11-21T02-00-07Z");
	check_text(NS / 2, "1970-01-01T00:00:00.500Z", "1970-01-01T00-00-00Z");
	check_text(1000, "1970-01-01T00:00:00.000001Z", "1970-01-01T00-00-00Z");
	check_text(120, "1970-01-01T00:00:00.000000120Z",
		   "1970-01-01T00-00-00Z");
	check_text(-1, "1969-12-31T23:59:59.999999999Z",
		   "1969-12-31T23-59-59Z");
	check_text(-NS, "1969-12-31T23:59:59Z", "1969-12-31T23-59-59Z");
	check_text(4107542400 * NS, "2100-03-01T00:00:00Z",
		   "2100-03-01T00-00-00Z");
	check_text(INT64_MAX, "2262-04-11T23:47:16.854775807Z",
		   "2262-04-11T23-47-16Z");
	check_text(INT64_MIN, "1677-09-21T00:12:43.145224192Z",
		   "1677-09-21T00-12-43Z");

	/* Each day of six centuries, against libc and back again. */
	for (int64_t day = -106000; day < 106000; day++) {
		time_t t = (time_t)(day * 86400 + day % 86400);
		char want[TIME_TEXT_SIZE];
		struct tm tm;

		CHECK(gmtime_r(&t, &tm));
		CHECK(strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm));
		time_iso((int64_t)t * NS, text);
		CHECK_STR(text, want);
		CHECK_OK(parse_time(text, &back));
		CHECK(back == (int64_t)t * NS);
	}
}

static void check_size_text(uint64_t n, const char *want)
{
	char text[SIZE_TEXT_SIZE];

	size_text(n, text);
	CHECK_STR(text, want);
}

static void test_size_text(void)
{
	check_size_text(0, "0 B");
	check_size_text(512, "512 B");
	check_size_text(1023, "1023 B");
	check_size_text(1024, "1.00 KiB");
	check_size_text(1048575, "1.00 MiB");
	check_size_text(1048000, "1023.44 KiB");
	check_size_text(UINT64_C(3) << 29, "1.50 GiB");
	check_size_text(UINT64_C(127) << 30, "127.00 GiB");
	check_size_text(UINT64_MAX, "16.00 EiB");
}

static void test_utf8(void)
{
	static const char *const good[] = {
		"",
		"a",
		"caf\xc3\xa9",
		"\xe2\x82\xac",
		"\xf0\x9f\x94\x91",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"\xc2\x80",
		"\xe0\xa0\x80",
		"\xf0\x90\x80\x80",
	};
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xc3",
		"\xc3z",
		"\xe0\x9f\xbf",
		"\xe2\x82",
		"\xe2\x82z",
		"\xed\xa0\x80",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xf0\x9f\x94",
		"a\xfe"
		"b",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK(utf8_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!utf8_valid(bad[i], strlen(bad[i])));
	CHECK(utf8_valid("a\0b", 3));
	CHECK(!utf8_valid("\xc3\xa9", 1));
}

static void test_printable(void)
{
	char s[] = "a\tb\x01\x7f\xc3\xa9\xc2\x85\xc2\xa0\xff\xe2\x82";

	printable(s);
	CHECK_STR(s, "a?b??\xc3\xa9??\xc2\xa0???");
}

int main(void)
{
	test_numbers();
	test_hex();
	test_sizes();
	test_durations();
	test_times();
	test_time_text();
	test_size_text();
	test_utf8();
	test_printable();
	return 0;
}
