// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * link: what the way to a store costs, measured on the requests that go over it,
 * and what follows from it for how much to ask at once and how far ahead.
 *
 *	round trip	of requests up to LINK_SMALL: the least of late
 *	rate		bytes a second, all requests together, while any is under
 *			way; a peak that fades
 *	window		round trip x rate: a request that takes as long to bring
 *			its bytes as to be answered
 *	ahead		what comes in half a second, so that a reader who jumps does
 *			not stand behind more than that
 *
 * Any thread. Times are those of monotonic_ns(), and are the caller's to give.
 */
#pragma once
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_SMALL (128u << 10)
#define LINK_WINDOW_MIN ((size_t)64 << 10)
#define LINK_WINDOW_MAX ((size_t)4 << 20)
#define LINK_WINDOW_START ((size_t)256 << 10) /* until the rate is known */
#define LINK_AHEAD_MIN ((size_t)2 << 20)
#define LINK_AHEAD_MAX ((size_t)32 << 20)

struct link {
	pthread_mutex_t lock; /* protects all below */
	uint64_t round_trip_ns;
	uint64_t rate;
	uint64_t under_way;
	uint64_t since_ns;   /* counted up to here, while any is under way */
	uint64_t busy_ns;    /* of the present measurement */
	uint64_t busy_bytes; /* that have come in it */
};

void link_init(struct link *l);
void link_release(struct link *l);
/* A request goes out, and is over: bytes is what it brought, 0 if it failed. */
void link_begin(struct link *l, uint64_t now);
void link_end(struct link *l, uint64_t began, uint64_t now, uint64_t bytes);
/* A power of two. */
size_t link_window(struct link *l);
size_t link_ahead(struct link *l);
uint64_t link_round_trip(struct link *l);
