// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A store that counts what is asked of another one, and fails or lies when told to.
 *
 * Faults are counted, not random: let call N fail, for N = 1, 2, ... until the
 * scenario passes with fired still 0.
 */
#pragma once
#include <stdatomic.h>

#include "backend/store/store.h"

enum store_call {
	STORE_STAT,
	STORE_READ,
	STORE_GET,
	STORE_PUT,
	STORE_BARRIER,
	STORE_LIST,
	STORE_REMOVE,
	STORE_CALLS,
};

/* What stat, read and get tell of the object named bend_key. */
enum store_bend {
	STORE_STRAIGHT,
	STORE_FLIP,	/* bit bend_at is inverted (bit 0: lowest of byte 0) */
	STORE_TRUNCATE, /* it has bend_at bytes only, if it has more */
	STORE_OTHER,	/* it is the object named bend_other */
	STORE_GONE,	/* -ENOENT */
};

/*
 * The caller's; it outlives the store. All zero: nothing fails. The first part is
 * set before the store is used, or changed while no other thread uses it.
 */
struct store_fault {
	uint64_t fail_call; /* this call fails, of any kind, from 1 */
	uint64_t fail_of[STORE_CALLS]; /* ... of the calls of one kind */
	/* Counts, and so fails, only calls whose key, or prefix, contains this;
	 * a barrier has none. NULL: all. */
	const char *only;
	uint64_t fail_times; /* how many in a row; 0: one */
	int error;	     /* what it returns; 0: -EIO */
	/* A put or remove that fails has been done all the same: its answer was lost. */
	bool answer_lost;
	enum store_bend bend;
	const char *bend_key;
	const char *bend_other;
	uint64_t bend_at;
	unsigned delay_us; /* each call takes this long */
	bool remote;	   /* the store says that it is far away */
	/* Called before each call, in its thread; key is the prefix of a list,
	 * "" of a barrier. */
	void (*before)(void *ctx, enum store_call call, const char *key);
	void *ctx;

	atomic_uint_fast64_t total; /* calls begun */
	atomic_uint_fast64_t calls[STORE_CALLS];
	atomic_uint_fast64_t bytes_read; /* asked for by read, brought by get */
	atomic_uint_fast64_t bytes_put;	 /* handed to put */
	atomic_uint_fast64_t fired;	 /* faults and lies that happened */
	/* Of read, get and put: at work now, and the most at once. */
	atomic_uint_fast64_t flying, flying_max;
};

/* Borrows inner. A barrier that failed fails from then on, as the contract has it;
 * a put after it is let through, so that a test sees who does that. */
int store_open_fault(struct store *inner, struct store_fault *fault,
		     struct store **ret) MUST_USE;
/* Counters to zero. */
void store_fault_reset(struct store_fault *fault);
