// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Base64 (RFC 4648) as services, their scripts and people write it: the standard
 * alphabet or base64url, with padding or without. Leaves nothing behind of what
 * passes through.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What n characters may decode to. */
#define BASE64_DECODED_MAX(n) ((n) / 4 * 3 + 3)
/* ... and be encoded to, with the NUL. */
#define BASE64_ENCODED_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* Strict: nothing but the alphabet, '=' only where it belongs, no bits left over.
 * out has room for BASE64_DECODED_MAX(n). */
bool base64_decode(const void *text, size_t n, uint8_t *out, size_t *len);
/* The standard alphabet with padding, NUL-terminated. */
void base64_encode(const void *p, size_t n, char *out);
/* base64url without padding, NUL-terminated. */
void base64url_encode(const void *p, size_t n, char *out);
