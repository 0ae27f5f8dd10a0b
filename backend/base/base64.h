// SPDX-License-Identifier: GPL-3.0-or-later
/* Base64 (RFC 4648, section 4: with '+', '/' and padding). Any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "backend/base/scope.h"

#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1) /* with the NUL */

void base64_encode(const void *p, size_t n, char *out /* BASE64_SIZE(n) */);
/* The number of bytes, at most (len + 3) / 4 * 3, or -EINVAL with no word of
 * the text in its sentence: it may be a key. Strict: no spaces, padding as it
 * must be, unused bits zero. out may be the text itself. */
int base64_decode(const char *text, size_t len, uint8_t *out,
		  size_t max) MUST_USE;
