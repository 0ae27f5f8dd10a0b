// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * streams: who reads a source in order, told from who does not, by the frames that
 * are touched. Pure: no I/O, no clock, no lock (the caller's).
 *
 * A kernel that reads ahead has several requests on their way, which come in any
 * order; so a stream is a window of frames with a bit for each that was touched, and
 * its run is how many before the end of a read were touched without a gap. Reading
 * that goes on is answered with as much ahead as the run is long, twice as much once it
 * is long: what is fetched for nothing is never much more than what was wanted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define STREAMS 8
#define STREAM_FRAMES 256u /* that a stream remembers; a multiple of 64 */
#define STREAM_RUN_MIN 4u  /* frames in order, before anything is read ahead */
#define STREAM_RUN_LONG 16u

struct stream {
	bool used;
	uint64_t base; /* the frame of bit 0 */
	uint64_t touched[STREAM_FRAMES / 64];
	uint64_t ahead; /* read ahead up to here */
	uint64_t stamp; /* of the last read */
};

struct streams {
	struct stream s[STREAMS];
	uint64_t stamp;
};

/*
 * Frames [first, first + n) are read, n >= 1. *from and *to: what is to be read ahead
 * now, in frames, at most max of them beyond what was read; none when they are equal. It
 * is taken for done: the same is not answered twice.
 */
void streams_note(struct streams *s, uint64_t first, uint64_t n, uint64_t max,
		  uint64_t *from, uint64_t *to);
/* Of that, only what lies before `from` could be: the rest is answered again. */
void streams_back(struct streams *s, uint64_t from, uint64_t to);
