// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/cancel.h"

#include <errno.h>
#include <time.h>

#include "backend/base/err.h"

/* Who waits asks so often whether he should go on. */
#define MOMENT_NS 200000000L

static _Thread_local struct cancel mine;
static bool (*all)(void);

struct cancel cancel_set(struct cancel c)
{
	struct cancel before = mine;

	mine = c;
	return before;
}

void cancel_set_all(bool (*asked)(void))
{
	all = asked;
}

bool cancel_asked(void)
{
	return (mine.asked && mine.asked(mine.ctx)) || (all && all());
}

int cancel_check(void)
{
	return cancel_asked() ? fail(-ECANCELED, "stopped") : 0;
}

void cancel_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(c, &a);
	pthread_condattr_destroy(&a);
}

int cancel_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	struct timespec until;
	int r = cancel_check();

	if (r)
		return r;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += MOMENT_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(c, m, &until);
	return 0;
}
