// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Numbers, sizes, times and names as people write them; UTF-8; hex.
 * Every function is strict: the whole string or -EINVAL with a sentence.
 * Times are nanoseconds since 1970-01-01T00:00:00Z (UTC, no leap seconds).
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int parse_u64(const char *s, uint64_t *out) MUST_USE;
/* Hex of exactly digits characters, lower or upper case. */
int parse_hex_u64(const char *s, size_t digits, uint64_t *out) MUST_USE;
int parse_hex(const char *s, uint8_t *out, size_t bytes) MUST_USE;
/* "4096", "64K", "1M", "2GiB", "1T": powers of two. */
int parse_size(const char *s, uint64_t *out) MUST_USE;
/* "30", "30s", "5m", "2h": milliseconds. */
int parse_duration_ms(const char *s, uint64_t *out) MUST_USE;
/* 2026-11-21T02:00:07Z, also with '-' for ':', with a fraction of up to nine
 * digits, "YYYY-MM-DD HH:MM:SS", with +hh:mm; or "@seconds"; or "now". UTC
 * where no zone is given; years 1677 to 2262. */
int parse_time(const char *s, int64_t *ns) MUST_USE;

#define TIME_TEXT_SIZE 48
/* 2026-11-21T02-00-07Z: the form that names a point (no colons, no
 * fraction). */
void time_name(int64_t ns, char out[static TIME_TEXT_SIZE]);
/* 2026-11-21T02:00:07Z, with ".nnn…" where there is a fraction. */
void time_iso(int64_t ns, char out[static TIME_TEXT_SIZE]);
int64_t time_now_ns(void);
/* For durations; never goes back. */
uint64_t monotonic_ns(void);

/* "1.50 GiB", "512 B". */
#define SIZE_TEXT_SIZE 32
void size_text(uint64_t n, char out[static SIZE_TEXT_SIZE]);

bool utf8_valid(const char *s, size_t n);
void hex_of(const void *p, size_t n, char *out /* 2n+1 */);
/* Replaces what a terminal must not see (control characters, bytes that are no
 * UTF-8) by '?', in place. */
void printable(char *s);
