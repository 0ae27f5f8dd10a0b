// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * arena: locked memory that OpenSSL allocates from while a thread handles keys.
 *
 * OpenSSL keeps private numbers in its secure heap only in part: copies of primes,
 * key schedules and passphrases stay on the ordinary heap when it frees them. So
 * its allocator is ours: in a thread that is in the arena, what it asks for is
 * locked, left out of core dumps, zero in a child of fork(), and wiped when freed,
 * whichever thread frees it; elsewhere it is malloc()'s.
 *
 *	DROP(arena) bool in = arena_enter();
 *
 * Nests. Any thread. Memory that cannot be locked is a failed allocation, which
 * OpenSSL reports as one.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>

bool arena_enter(void);
void arena_leave(void);
static inline void drop_arena(bool *in)
{
	if (*in)
		arena_leave();
}

/*
 * Runs fn in the arena and on a stack of locked memory that is wiped afterwards,
 * for what leaves keys in its frames; returns what it returns, with its sentence.
 * No signal is handled there.
 */
int arena_run(int (*fn)(void *ctx), void *ctx) MUST_USE;

/* OpenSSL allocates through us: it was told so before its first allocation. */
bool arena_ready(void);
/* p lies in it. For tests. */
bool arena_has(const void *p);
