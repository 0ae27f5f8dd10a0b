// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/source/stream.h"

#include <string.h>

#include "backend/base/scope.h"

static bool touched(const struct stream *s, uint64_t frame)
{
	uint64_t i = frame - s->base;

	return frame >= s->base && i < STREAM_FRAMES &&
	       (s->touched[i / 64] >> i % 64 & 1);
}

/* Makes room for frames up to end, forgetting the oldest. */
static void slide(struct stream *s, uint64_t end)
{
	size_t words;

	if (end <= s->base + STREAM_FRAMES)
		return;
	words = (end - s->base - STREAM_FRAMES + 63) / 64;
	if (words >= STREAM_FRAMES / 64) {
		memset(s->touched, 0, sizeof(s->touched));
		s->base = end - STREAM_FRAMES;
		return;
	}
	memmove(s->touched, s->touched + words,
		sizeof(s->touched) - words * sizeof(s->touched[0]));
	memset(s->touched + STREAM_FRAMES / 64 - words, 0,
	       words * sizeof(s->touched[0]));
	s->base += 64 * words;
}

static void touch(struct stream *s, uint64_t first, uint64_t n)
{
	slide(s, first + n);
	for (uint64_t f = max_u64(first, s->base); f < first + n; f++)
		s->touched[(f - s->base) / 64] |= UINT64_C(1)
						  << (f - s->base) % 64;
}

/* The one that this read belongs to, else the one unused for longest, made anew. */
static struct stream *find(struct streams *all, uint64_t first, uint64_t n)
{
	struct stream *oldest = &all->s[0];

	for (size_t i = 0; i < STREAMS; i++) {
		struct stream *s = &all->s[i];

		if (s->used && first + n >= s->base &&
		    first <= s->base + STREAM_FRAMES)
			return s;
		if (!s->used || (oldest->used && s->stamp < oldest->stamp))
			oldest = s;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->used = true;
	oldest->base = first > STREAM_FRAMES / 2 ? first - STREAM_FRAMES / 2
						 : 0;
	oldest->base &= ~UINT64_C(63);
	return oldest;
}

void streams_note(struct streams *all, uint64_t first, uint64_t n, uint64_t max,
		  uint64_t *from, uint64_t *to)
{
	struct stream *s = find(all, first, n);
	/* One read alone is no order, however long. */
	bool goes_on = touched(s, first) || (first && touched(s, first - 1));
	uint64_t end = first + n, run = 0, want;

	*from = *to = 0;
	s->stamp = ++all->stamp;
	touch(s, first, n);
	while (run < end && touched(s, end - 1 - run))
		run++;
	if (!goes_on || run < STREAM_RUN_MIN)
		return;
	want = min_u64(run < STREAM_RUN_LONG ? run / 2 : 2 * run, max);
	/* Where the reader has jumped, it says nothing about him. */
	if (s->ahead < end || s->ahead > end + 2 * max)
		s->ahead = end;
	if (end + want <= s->ahead)
		return;
	/* In pieces worth a request: not a frame for each that was read. */
	if (end + want - s->ahead < (want + 3) / 4)
		return;
	*from = s->ahead;
	*to = s->ahead = end + want;
}

void streams_back(struct streams *all, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (all->s[i].used && all->s[i].ahead == to)
			all->s[i].ahead = from;
}
