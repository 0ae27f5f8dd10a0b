// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/base/err.h"

#define NS_PER_S 1000000000
#define S_PER_DAY 86400

/* Reads digits up to the first other character; false for none or too many. */
static bool number(const char **s, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	}
	*s = p;
	*out = v;
	return true;
}

int parse_u64(const char *s, uint64_t *out)
{
	const char *p = s;
	uint64_t v;

	if (!number(&p, &v) || *p)
		return fail(-EINVAL, "\"%.64s\" is not a number", s);
	*out = v;
	return 0;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool all_hex(const char *s, size_t digits)
{
	for (size_t i = 0; i < digits; i++)
		if (nibble(s[i]) < 0)
			return false;
	return s[digits] == '\0';
}

/* The sentences on hex do not quote it: it may be a key. */
int parse_hex_u64(const char *s, size_t digits, uint64_t *out)
{
	uint64_t v = 0;

	if (digits == 0 || digits > 16 || !all_hex(s, digits))
		return fail(-EINVAL, "not %zu hex digits", digits);
	for (size_t i = 0; i < digits; i++)
		v = v << 4 | (uint64_t)nibble(s[i]);
	*out = v;
	return 0;
}

int parse_hex(const char *s, uint8_t *out, size_t bytes)
{
	if (bytes > SIZE_MAX / 2 || !all_hex(s, 2 * bytes))
		return fail(-EINVAL, "not %zu bytes in hex", bytes);
	for (size_t i = 0; i < bytes; i++)
		out[i] =
			(uint8_t)(nibble(s[2 * i]) << 4 | nibble(s[2 * i + 1]));
	return 0;
}

/* "", "B", "K" or "KiB" and so on: as a number of bits to shift by. */
static bool size_unit(const char *s, unsigned *shift)
{
	static const char units[] = "KMGTPE";
	const char *unit;

	*shift = 0;
	if (*s == '\0' || strcmp(s, "B") == 0)
		return true;
	unit = strchr(units, *s >= 'a' ? *s - 'a' + 'A' : *s);
	if (!unit || (s[1] && strcmp(s + 1, "iB") != 0))
		return false;
	*shift = 10 * (unsigned)(unit - units + 1);
	return true;
}

int parse_size(const char *s, uint64_t *out)
{
	const char *p = s;
	unsigned shift;
	uint64_t v;

	if (!number(&p, &v) || !size_unit(p, &shift) || v > UINT64_MAX >> shift)
		return fail(-EINVAL,
			    "\"%.64s\" is not a size such as 4096, 64K, 1M or "
			    "2GiB",
			    s);
	*out = v << shift;
	return 0;
}

int parse_duration_ms(const char *s, uint64_t *out)
{
	const char *p = s;
	uint64_t scale = 1000;
	uint64_t v;
	bool ok = number(&p, &v);

	if (ok && *p) {
		scale *= *p == 'm' ? 60 : *p == 'h' ? 3600 : *p == 's';
		p++;
	}
	if (!ok || *p || !scale || __builtin_mul_overflow(v, scale, &v))
		return fail(-EINVAL,
			    "\"%.64s\" is not a duration such as 30s, 5m or 2h",
			    s);
	*out = v;
	return 0;
}

/*
 * Days since 1970-01-01 of a day of the Gregorian calendar, and back. Years
 * are counted from 1 March, so that the leap day is the last of its year, and
 * in eras of 400 years, which all have 146097 days. (H. Hinnant, "chrono-
 * compatible low-level date algorithms".)
 */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t in_era = y - era * 400;
	int64_t in_year =
		(153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 +
	       in_year - 719468;
}

struct civil {
	int year, month, day, hour, minute, second;
	int ns;
};

static struct civil civil_of(int64_t ns)
{
	/* Rounded down, so that the fraction is positive before 1970 too. */
	int64_t sec = ns / NS_PER_S - (ns % NS_PER_S < 0);
	int64_t days = sec / S_PER_DAY - (sec % S_PER_DAY < 0);
	int64_t left = sec - days * S_PER_DAY;
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t d = z - era * 146097;
	int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
	int64_t in_year = d - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * in_year + 2) / 153;

	return (struct civil){
		.year = (int)(y + era * 400 + (m >= 10)),
		.month = (int)(m < 10 ? m + 3 : m - 9),
		.day = (int)(in_year - (153 * m + 2) / 5 + 1),
		.hour = (int)(left / 3600),
		.minute = (int)(left / 60 % 60),
		.second = (int)(left % 60),
		.ns = (int)((ns % NS_PER_S + NS_PER_S) % NS_PER_S),
	};
}

static int64_t days_in(int64_t year, int64_t month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30,
					31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

/* Exactly n digits. */
static bool digits(const char **s, int n, int64_t *out)
{
	int64_t v = 0;

	for (; n; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*out = v;
	return true;
}

static bool literal(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

/* ".5": one to nine digits, as nanoseconds; absent is 0. */
static bool fraction(const char **s, int64_t *ns)
{
	int64_t scale = NS_PER_S;
	int64_t v = 0;

	*ns = 0;
	if (!literal(s, '.'))
		return true;
	if (**s < '0' || **s > '9')
		return false;
	for (; **s >= '0' && **s <= '9'; (*s)++) {
		if (scale == 1)
			return false;
		scale /= 10;
		v = v * 10 + (**s - '0');
	}
	*ns = v * scale;
	return true;
}

static bool zone(const char **s, int64_t *seconds)
{
	bool west = **s == '-';
	int64_t h, m;

	*seconds = 0;
	if (literal(s, 'Z') || **s == '\0')
		return true;
	if (!literal(s, west ? '-' : '+') || !digits(s, 2, &h) ||
	    !literal(s, ':') || !digits(s, 2, &m) || h > 23 || m > 59)
		return false;
	*seconds = (west ? -1 : 1) * (h * 3600 + m * 60);
	return true;
}

static bool calendar_time(const char *p, int64_t *sec, int64_t *frac)
{
	int64_t year, month, day, hour, minute, second, offset;
	char colon;

	if (!digits(&p, 4, &year) || !literal(&p, '-') ||
	    !digits(&p, 2, &month) || !literal(&p, '-') || !digits(&p, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > days_in(year, month))
		return false;
	if (!literal(&p, 'T') && !literal(&p, ' '))
		return false;
	if (!digits(&p, 2, &hour))
		return false;
	colon = *p;
	if ((colon != ':' && colon != '-') || !literal(&p, colon) ||
	    !digits(&p, 2, &minute) || !literal(&p, colon) ||
	    !digits(&p, 2, &second))
		return false;
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	if (!fraction(&p, frac) || !zone(&p, &offset) || *p)
		return false;
	*sec = days_of(year, month, day) * S_PER_DAY + hour * 3600 +
	       minute * 60 + second - offset;
	return true;
}

/* "@1700000000", "@1700000000.25", "@-1"; no fraction before 1970, where it
 * would be unclear which way it counts. */
static bool epoch_time(const char *p, int64_t *sec, int64_t *frac)
{
	bool negative;
	uint64_t v;

	if (!literal(&p, '@'))
		return false;
	negative = literal(&p, '-');
	if (!number(&p, &v) || v > INT64_MAX)
		return false;
	*frac = 0;
	if ((!negative && !fraction(&p, frac)) || *p)
		return false;
	*sec = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

int parse_time(const char *s, int64_t *ns)
{
	int64_t sec = 0, frac = 0, v;

	if (strcmp(s, "now") == 0) {
		*ns = time_now_ns();
		return 0;
	}
	if (!(*s == '@' ? epoch_time : calendar_time)(s, &sec, &frac))
		return fail(-EINVAL,
			    "\"%.64s\" is not a time such as "
			    "2026-11-21T02:00:07Z, @seconds or now",
			    s);
	if (__builtin_mul_overflow(sec, NS_PER_S, &v) ||
	    __builtin_add_overflow(v, frac, &v))
		return fail(-EINVAL,
			    "\"%.64s\" is out of the range of times "
			    "(1677 to 2262)",
			    s);
	*ns = v;
	return 0;
}

void time_name(int64_t ns, char out[static TIME_TEXT_SIZE])
{
	struct civil c = civil_of(ns);

	snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d-%02d-%02dZ", c.year,
		 c.month, c.day, c.hour, c.minute, c.second);
}

void time_iso(int64_t ns, char out[static TIME_TEXT_SIZE])
{
	struct civil c = civil_of(ns);
	int width = 9;
	int f = c.ns;
	int n;

	n = snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d",
		     c.year, c.month, c.day, c.hour, c.minute, c.second);
	if (f == 0) {
		snprintf(out + n, TIME_TEXT_SIZE - (size_t)n, "Z");
		return;
	}
	/* Milli-, micro- or nanoseconds: the coarsest that loses nothing. */
	for (; f % 1000 == 0; f /= 1000)
		width -= 3;
	snprintf(out + n, TIME_TEXT_SIZE - (size_t)n, ".%0*dZ", width, f);
}

int64_t time_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void size_text(uint64_t n, char out[static SIZE_TEXT_SIZE])
{
	static const char units[] = "KMGTPE";
	size_t i = 0;
	double v = (double)n / 1024;

	if (n < 1024) {
		snprintf(out, SIZE_TEXT_SIZE, "%" PRIu64 " B", n);
		return;
	}
	/* What would round to "1024.00" is 1 of the next unit. */
	for (; v >= 1023.995 && i + 2 < sizeof(units); i++)
		v /= 1024;
	snprintf(out, SIZE_TEXT_SIZE, "%.2f %ciB", v, units[i]);
}

/* Length of the well-formed sequence at p (Unicode, table 3-7), or 0. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

bool utf8_valid(const char *s, size_t n)
{
	const uint8_t *p = (const uint8_t *)s;

	while (n) {
		size_t len = utf8_sequence(p, n);

		if (len == 0)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

void hex_of(const void *p, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		*out++ = digit[b[i] >> 4];
		*out++ = digit[b[i] & 15];
	}
	*out = '\0';
}

void printable(char *s)
{
	uint8_t *p = (uint8_t *)s;
	size_t n = strlen(s);

	while (n) {
		size_t len = utf8_sequence(p, n);
		/* U+0080 to U+009f are controls as well (CSI is U+009b). */
		bool bad = len == 0 || p[0] < 0x20 || p[0] == 0x7f ||
			   (p[0] == 0xc2 && p[1] < 0xa0);

		if (len == 0)
			len = 1;
		if (bad)
			memset(p, '?', len);
		p += len;
		n -= len;
	}
}
