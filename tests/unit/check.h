// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * For the unit tests, which are plain programs: the first check that fails
 * prints its line and ends the program with 1.
 */
#pragma once
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/err.h"

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			check_failed(__FILE__, __LINE__, #cond);               \
	} while (0)

/* A call succeeds (0, or a count). */
#define CHECK_OK(call) check_ok(__FILE__, __LINE__, #call, (call))
/* A call fails with exactly this code. */
#define CHECK_FAILS(code, call)                                                \
	check_fails(__FILE__, __LINE__, #call, (code), (call))
/* ... and its sentence contains these words. */
#define CHECK_SAYS(code, words, call)                                          \
	do {                                                                   \
		CHECK_FAILS(code, call);                                       \
		check_in(__FILE__, __LINE__, err_text(code), (words));         \
	} while (0)

#define CHECK_STR(got, want) check_str(__FILE__, __LINE__, (got), (want))
#define CHECK_U64(got, want)                                                   \
	check_u64(__FILE__, __LINE__, #got, (uint64_t)(got), (uint64_t)(want))
#define CHECK_MEM(got, want, n) CHECK(memcmp((got), (want), (n)) == 0)

static _Noreturn inline void check_failed(const char *file, int line,
					  const char *what)
{
	fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
	exit(1);
}

static inline bool check_is_set(const char *name)
{
	const char *s = getenv(name);

	return s && *s;
}

/* CHECK_FULL=1 in the environment: what walks a sample walks all. */
static inline bool check_full(void)
{
	return check_is_set("CHECK_FULL");
}

/* With `make check-all`: samples are larger than those of `make check`. */
static inline bool check_all(void)
{
	return check_full() || check_is_set("CHECK_ALL");
}

static inline void check_ok(const char *file, int line, const char *what, int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s:%d: failed: %s: %d (%s)\n", file, line, what, r,
		err_text(r));
	exit(1);
}

static inline void check_fails(const char *file, int line, const char *what,
			       int code, int r)
{
	if (r == code)
		return;
	fprintf(stderr, "%s:%d: failed: %s: %d (%s), not %d\n", file, line,
		what, r, r < 0 ? err_text(r) : "success", code);
	exit(1);
}

static inline void check_in(const char *file, int line, const char *got,
			    const char *words)
{
	if (strstr(got, words))
		return;
	fprintf(stderr, "%s:%d: failed: no \"%s\" in \"%s\"\n", file, line,
		words, got);
	exit(1);
}

static inline void check_str(const char *file, int line, const char *got,
			     const char *want)
{
	if (got && strcmp(got, want) == 0)
		return;
	fprintf(stderr, "%s:%d: failed: \"%s\", not \"%s\"\n", file, line,
		got ? got : "(null)", want);
	exit(1);
}

static inline void check_u64(const char *file, int line, const char *what,
			     uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	fprintf(stderr,
		"%s:%d: failed: %s is %" PRIu64 " (%#" PRIx64 "), not %" PRIu64
		" (%#" PRIx64 ")\n",
		file, line, what, got, got, want, want);
	exit(1);
}
