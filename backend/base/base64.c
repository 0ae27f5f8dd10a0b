// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/base64.h"

static int value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

bool base64_decode(const void *text, size_t n, uint8_t *out, size_t *len)
{
	const uint8_t *p = text;
	uint32_t bits = 0;
	unsigned have = 0;
	size_t m = 0;

	if (n % 4 == 0 && n && p[n - 1] == '=')
		n -= p[n - 2] == '=' ? 2 : 1;
	if (n % 4 == 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		int v = value(p[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[m++] = (uint8_t)(bits >> have);
		}
	}
	if (bits & ((1u << have) - 1))
		return false;
	*len = m;
	return true;
}

void base64_encode(const void *p, size_t n, char *out)
{
	char *end;

	base64url_encode(p, n, out);
	for (end = out; *end; end++)
		*end = *end == '-' ? '+' : *end == '_' ? '/' : *end;
	while ((end - out) % 4)
		*end++ = '=';
	*end = '\0';
}

void base64url_encode(const void *p, size_t n, char *out)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *in = p;
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | in[i];
		for (have += 8; have >= 6;) {
			have -= 6;
			*out++ = digit[bits >> have & 63];
		}
	}
	if (have)
		*out++ = digit[bits << (6 - have) & 63];
	*out = '\0';
}
