// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/quiet.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

#define SLOTS 1024
#define SECOND UINT64_C(1000000000)
#define ONE_EACH (60 * SECOND / QUIET_PER_MINUTE)

struct quiet {
	pthread_mutex_t lock; /* protects all */
	/* What passed last, by its hash; another of the same slot replaces
	 * it. */
	struct {
		uint64_t hash;
		uint64_t at_ns;
	} said[SLOTS];
	/* A bucket: each line takes one, one comes back each ONE_EACH. */
	uint64_t room;
	uint64_t room_at_ns;
	uint64_t held_back;
};

int quiet_new(struct quiet **ret)
{
	struct quiet *q = calloc(1, sizeof(*q));

	if (!q)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&q->lock, NULL);
	q->room = QUIET_BURST;
	*ret = q;
	return 0;
}

void quiet_free(struct quiet *q)
{
	if (!q)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static uint64_t hash_of(uint64_t object, const char *text)
{
	uint64_t h = (object + 1) * 0x9e3779b97f4a7c15u;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3u;
	h ^= h >> 32;
	return h ? h : 1;
}

static void refill(struct quiet *q, uint64_t now_ns)
{
	uint64_t n = (now_ns - q->room_at_ns) / ONE_EACH;

	if (!n)
		return;
	q->room = min_u64(QUIET_BURST, q->room + n);
	q->room_at_ns += n * ONE_EACH;
}

bool quiet_pass(struct quiet *q, uint64_t object, const char *text,
		uint64_t now_ns, uint64_t *held_back)
{
	DROP(lock) pthread_mutex_t *held = lock(&q->lock);
	uint64_t hash = hash_of(object, text);
	size_t slot = hash % SLOTS;

	if (q->said[slot].hash == hash &&
	    now_ns - q->said[slot].at_ns < QUIET_AGAIN_S * SECOND)
		return false;
	refill(q, now_ns);
	if (!q->room) {
		q->held_back++;
		return false;
	}
	q->room--;
	q->said[slot].hash = hash;
	q->said[slot].at_ns = now_ns;
	*held_back = q->held_back;
	q->held_back = 0;
	return true;
}
