// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * beside: one question to a store that is asked while another is under way, where a round
 * trip costs something. Where it does not, it is asked when its answer is wanted.
 *
 *	DROP(beside) struct beside b = { 0 };
 *	beside_begin(&b, store->remote, ask, &x);
 *	...
 *	r = beside_end(&b);
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"

struct beside {
	int (*ask)(void *ctx);
	void *ctx;
	bool running;
	pthread_t thread;
	struct cancel cancel; /* of who began it */
	struct err_saved result;
};

/* What ask() uses is left alone until beside_end(). */
void beside_begin(struct beside *b, bool far, int (*ask)(void *ctx), void *ctx);
/* What ask() returned, with its sentence. Once. */
int beside_end(struct beside *b) MUST_USE;

/* Nobody wants the answer. */
void beside_drop(struct beside *b);
static inline void drop_beside(struct beside *b)
{
	beside_drop(b);
}
