// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A store with a volatile cache: a memory store that remembers what was
 * put and removed since the last barrier, and builds what a power failure could have
 * left. What was put before the barrier is whole in all of them. Of each pending
 * put, apart from the others, any of these is left: all of it, nothing, an
 * object of no bytes, its first half; of one that was put whole, all or nothing.
 * A pending removal has happened or not.
 */
#pragma once
#include "backend/store/store.h"

int store_open_volatile(struct store **ret) MUST_USE;

/* Below, s is one of these. */

/* Another one with the same objects and the same pending puts and removals. */
int store_volatile_copy(struct store *s, struct store **ret) MUST_USE;
/* Puts and removals since the last barrier. */
size_t store_volatile_pending(struct store *s);
/*
 * How many choices store_volatile_crash() is worth calling with now: with up to 6
 * pending, every combination of the four fates; up to 12, every
 * combination of kept and lost, the manner of the loss drawn from the choice's
 * number; with more, 4096 of them: all kept, all lost, the first n kept, the
 * first n lost, only one lost, only one kept, then drawn ones.
 */
uint64_t store_volatile_choices(struct store *s);
/* A new memory store (store_memory.h) as it would be found after the power came
 * back. The same choice of the same history is the same store. */
int store_volatile_crash(struct store *s, uint64_t choice,
			 struct store **ret) MUST_USE;
/* "V/web/s/1 torn, V/web/s/2 missing": what differs from what was put, "nothing
 * lost" otherwise; for the messages of a test. Freed by the caller. */
char *store_volatile_describe(struct store *s, uint64_t choice);
