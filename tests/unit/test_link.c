// SPDX-License-Identifier: GPL-3.0-or-later
/* link and streams: how much to ask for at once, and when to read ahead. */
#include "backend/source/stream.h"
#include "backend/store/link.h"
#include "tests/unit/check.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define MS UINT64_C(1000000)

/* n requests of size, so many at once, each after rtt_ms and then at rate (bytes a ms,
 * shared). */
static uint64_t play(struct link *l, uint64_t now, unsigned n, unsigned at_once,
		     uint64_t size, uint64_t rtt_ms, uint64_t rate)
{
	for (unsigned i = 0; i < n; i += at_once) {
		uint64_t took = rtt_ms * MS + at_once * size * MS / rate;

		for (unsigned k = 0; k < at_once; k++)
			link_begin(l, now);
		for (unsigned k = 0; k < at_once; k++)
			link_end(l, now, now + took, size);
		now += took;
	}
	return now;
}

static void test_link(void)
{
	struct link l;
	uint64_t now;

	link_init(&l);
	CHECK_U64(link_window(&l), LINK_WINDOW_START);
	CHECK_U64(link_ahead(&l), LINK_AHEAD_MIN);
	/* Near, whatever the rate. */
	now = play(&l, 0, 100, 1, 64 * KIB, 1, 100 * KIB);
	CHECK(link_round_trip(&l) >= MS && link_round_trip(&l) < 3 * MS);
	CHECK_U64(link_window(&l), LINK_WINDOW_MIN);
	/* 20 ms and no limit to speak of: the largest window, many ahead. */
	now = play(&l, now, 400, 1, 64 * KIB, 20, 1000 * KIB);
	now = play(&l, now, 64, 16, 1 * MIB, 20, 1000 * KIB);
	CHECK(link_round_trip(&l) > 15 * MS);
	CHECK_U64(link_window(&l), LINK_WINDOW_MAX);
	CHECK_U64(link_ahead(&l), LINK_AHEAD_MAX);
	/* A thin line: small requests, and no more ahead than it can bring. */
	now = play(&l, now, 2000, 4, 64 * KIB, 20, 1 * KIB);
	CHECK(link_window(&l) <= 256 * KIB);
	CHECK(link_ahead(&l) <= 4 * MIB);
	/* What failed says nothing. */
	{
		size_t was = link_window(&l);

		link_begin(&l, now);
		link_end(&l, now, now + 60000 * MS, 0);
		CHECK_U64(link_window(&l), was);
	}
	link_release(&l);
}

struct seen {
	struct streams s;
	uint64_t ahead, end; /* frames asked for, and up to where */
};

static void note(struct seen *x, uint64_t first, uint64_t n, uint64_t max)
{
	uint64_t from, to;

	streams_note(&x->s, first, n, max, &from, &to);
	CHECK(from <= to);
	if (from == to)
		return;
	CHECK(to <= first + n + max);
	x->ahead += to - from;
	x->end = to;
}

static void test_order(void)
{
	struct seen x = { 0 };
	uint64_t from, to;

	/* The first read says nothing, however long; nor do two frames. */
	streams_note(&x.s, 0, 16, 512, &from, &to);
	CHECK_U64(from, to);
	streams_note(&x.s, 16, 16, 512, &from, &to);
	CHECK(from == 32 && to > 48);
	/* On and on: once each, and as far as may be. */
	memset(&x, 0, sizeof(x));
	for (uint64_t f = 0; f < 4000; f++)
		note(&x, f, 1, 512);
	CHECK(x.ahead <= 4000 + 512 && x.ahead >= 4000);
	CHECK(x.end > 4000 + 200);
	/* In small steps inside of a frame. */
	memset(&x, 0, sizeof(x));
	for (uint64_t i = 0; i < 16000; i++)
		note(&x, i / 16, 1, 512);
	CHECK(x.ahead <= 1000 + 512 && x.ahead >= 1000);
	/* As a kernel asks that has four requests on their way. */
	memset(&x, 0, sizeof(x));
	for (uint64_t i = 0; i < 200; i += 4)
		for (uint64_t k = 0; k < 4; k++)
			note(&x, (i + (k * 3) % 4) * 16, 16, 512);
	CHECK(x.ahead >= 3000 && x.ahead <= 3200 + 512);
	/* None may be ahead. */
	memset(&x, 0, sizeof(x));
	for (uint64_t f = 0; f < 100; f++)
		note(&x, f, 1, 0);
	CHECK_U64(x.ahead, 0);
}

static void test_no_order(void)
{
	struct seen x = { 0 };
	uint64_t n = 1, read = 0;

	for (unsigned i = 0; i < 10000; i++) {
		n = n * 6364136223846793005u + 1442695040888963407u;
		note(&x, (n >> 33) % 1000000, 1, 512);
	}
	CHECK(x.ahead < 50);
	/* Backwards. */
	memset(&x, 0, sizeof(x));
	for (uint64_t f = 5000; f > 0; f--)
		note(&x, f, 1, 512);
	CHECK(x.ahead < 100);
	/* Files of up to a dozen frames: less ahead than was read. */
	memset(&x, 0, sizeof(x));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t at, len;

		n = n * 6364136223846793005u + 1442695040888963407u;
		at = (n >> 33) % 1000000;
		len = 1 + (n >> 20) % 12;
		for (uint64_t f = 0; f < len; f++)
			note(&x, at + f, 1, 512);
		read += len;
	}
	CHECK(x.ahead < read);
	/* Eight readers in turns, all in order. */
	memset(&x, 0, sizeof(x));
	for (uint64_t f = 0; f < 1000; f++)
		for (uint64_t k = 0; k < STREAMS; k++)
			note(&x, k * 100000 + f, 1, 64);
	CHECK(x.ahead >= 8000 && x.ahead <= 8 * (1000 + 64));
}

int main(void)
{
	test_link();
	test_order();
	test_no_order();
	return 0;
}
