// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/link.h"

#include "backend/base/scope.h"

#define SECOND UINT64_C(1000000000)
/* Shorter spans say more about luck than about the link. */
#define SPAN_NS (SECOND / 20)
#define RATE_MAX (UINT64_C(1) << 36)

void link_init(struct link *l)
{
	*l = (struct link){ .under_way = 0 };
	pthread_mutex_init(&l->lock, NULL);
}

void link_release(struct link *l)
{
	pthread_mutex_destroy(&l->lock);
}

void link_begin(struct link *l, uint64_t now)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->lock);

	(void)held;
	if (l->under_way++ == 0)
		l->since_ns = now;
}

/* Down at once, up slowly: what stands in a queue is no round trip. */
static void take_round_trip(struct link *l, uint64_t took)
{
	if (!l->round_trip_ns || took < l->round_trip_ns)
		l->round_trip_ns = took;
	else
		l->round_trip_ns += (min_u64(took, 4 * l->round_trip_ns) -
				     l->round_trip_ns) /
				    32;
}

/* Up at once, down slowly: most of the time nobody asks for all that there is. */
static void take_rate(struct link *l, uint64_t rate)
{
	if (rate > l->rate)
		l->rate = min_u64(rate, RATE_MAX);
	else
		l->rate -= (l->rate - rate) / 16;
}

void link_end(struct link *l, uint64_t began, uint64_t now, uint64_t bytes)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->lock);

	(void)held;
	l->under_way--;
	/* Clocks are read before the lock is taken. */
	if (now > l->since_ns) {
		l->busy_ns += now - l->since_ns;
		l->since_ns = now;
	}
	if (!bytes)
		return;
	if (bytes <= LINK_SMALL)
		take_round_trip(l, now - began);
	l->busy_bytes += bytes;
	if (l->busy_ns < SPAN_NS)
		return;
	take_rate(l, (uint64_t)((double)l->busy_bytes * (double)SECOND /
				(double)l->busy_ns));
	l->busy_ns = 0;
	l->busy_bytes = 0;
}

size_t link_window(struct link *l)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->lock);
	double want =
		(double)l->rate * (double)l->round_trip_ns / (double)SECOND;
	size_t w = LINK_WINDOW_MIN;

	(void)held;
	if (!l->rate || !l->round_trip_ns)
		return LINK_WINDOW_START;
	while (w < LINK_WINDOW_MAX && (double)(2 * w) <= want)
		w *= 2;
	return w;
}

size_t link_ahead(struct link *l)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->lock);

	(void)held;
	return (size_t)min_u64(max_u64(l->rate / 2, LINK_AHEAD_MIN),
			       LINK_AHEAD_MAX);
}

uint64_t link_round_trip(struct link *l)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->lock);

	(void)held;
	return l->round_trip_ns;
}
