// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * How far a long job is, on one line of standard error: bytes, rate, time left.
 * It is drawn only when that is a terminal, after the first second, at most
 * five times a second, and is gone when the job ends. One thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* borrowed */
	bool off;
	bool drawn;
	uint64_t start_ns, last_ns;
	/* A mean of the rate that forgets: bytes a second. */
	uint64_t rate_ns, rate_done;
	double rate;
};

/* off: never drawn. */
void progress_start(struct progress *p, const char *what, bool off);
/* total 0: not known. done may be called as often as one likes. */
void progress_update(struct progress *p, uint64_t done, uint64_t total);
/* Something else to say before the figures ("disk os"); borrowed until the
 * next. */
void progress_what(struct progress *p, const char *what);
/* Takes the line away: before anything else is written, and at the end. */
void progress_end(struct progress *p);

static inline void drop_progress(struct progress *p)
{
	progress_end(p);
}
