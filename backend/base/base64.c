// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/base64.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "backend/base/err.h"

static const char letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)b[i + 1] << 8;
		if (i + 2 < n)
			v |= b[i + 2];
		*out++ = letters[v >> 18];
		*out++ = letters[v >> 12 & 63];
		*out++ = i + 1 < n ? letters[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? letters[v & 63] : '=';
	}
	*out = '\0';
}

static int value_of(char c)
{
	const char *p = c ? strchr(letters, c) : NULL;

	return p ? (int)(p - letters) : -1;
}

int base64_decode(const char *text, size_t len, uint8_t *out, size_t max)
{
	size_t n = 0, pad = 0;

	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	if (len % 4 || len > INT_MAX || len / 4 * 3 - pad > max)
		return fail(-EINVAL, "it is no base64 of at most %zu bytes",
			    max);
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0;
		size_t bytes = i + 4 == len ? 3 - pad : 3;

		for (size_t k = 0; k < 4; k++) {
			int d = k > bytes ? 0 : value_of(text[i + k]);

			if (d < 0)
				return fail(-EINVAL, "it is no base64");
			v = v << 6 | (uint32_t)d;
		}
		if (v & ((1u << 8 * (3 - bytes)) - 1))
			return fail(-EINVAL, "it is no base64");
		for (size_t k = 0; k < bytes; k++)
			out[n++] = (uint8_t)(v >> (16 - 8 * k));
	}
	return (int)n;
}
