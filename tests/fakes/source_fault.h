// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A source that counts what is asked of another one, and fails when told to.
 *
 * Faults are counted, not random: let read N fail, for N = 1, 2, ... until the
 * scenario passes with fired still 0.
 */
#pragma once
#include <stdatomic.h>

#include "backend/source/source.h"

/* The caller's; it outlives the source. All zero: nothing fails. The first part is
 * set before the source is used, or changed while no other thread uses it. */
struct source_fault {
	uint64_t fail_read;   /* the first read that fails, from 1; 0: none */
	uint64_t fail_extent; /* likewise */
	uint64_t fail_times;  /* how many in a row; 0: one */
	int error;	      /* what it returns; 0: -EIO */
	/* The medium was cut off here: what reads past it fails as file does;
	 * 0: it was not. */
	uint64_t shrunk_to;
	unsigned delay_us; /* each read takes this long */

	atomic_uint_fast64_t reads; /* begun, of len >= 1 */
	atomic_uint_fast64_t bytes; /* asked for by them */
	atomic_uint_fast64_t extents;
	atomic_uint_fast64_t prefetches;
	atomic_uint_fast64_t closes;
	atomic_uint_fast64_t fired; /* faults that happened */
};

int source_open_fault(struct source *inner, struct source_fault *fault,
		      struct source **ret) MUST_USE;
