// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/beside.h"

static void *run(void *arg)
{
	struct beside *b = arg;
	int r;

	cancel_set(b->cancel);
	r = b->ask(b->ctx);
	if (r < 0)
		err_save(r, &b->result);
	else
		b->result.code = r;
	return NULL;
}

void beside_begin(struct beside *b, bool far, int (*ask)(void *ctx), void *ctx)
{
	b->ask = ask;
	b->ctx = ctx;
	b->cancel = cancel_set((struct cancel){ NULL, NULL });
	cancel_set(b->cancel);
	/* Without a thread it takes a round trip more. */
	b->running = far && pthread_create(&b->thread, NULL, run, b) == 0;
}

int beside_end(struct beside *b)
{
	if (!b->running)
		return b->ask(b->ctx);
	pthread_join(b->thread, NULL);
	b->running = false;
	return b->result.code < 0 ? err_load(&b->result) : b->result.code;
}

void beside_drop(struct beside *b)
{
	if (b->running)
		pthread_join(b->thread, NULL);
	b->running = false;
}
