// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/interrupt.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/signals.h"

static volatile sig_atomic_t got;

static void note(int sig)
{
	got = sig;
}

void interrupt_setup(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = note };

	sigemptyset(&act.sa_mask);
	/* Calls go on: the job looks at the flag between its steps. */
	act.sa_flags = SA_RESTART | (int)SA_RESETHAND;
	signals_handle(signals, ARRAY_SIZE(signals), &act, NULL);
}

bool interrupted(void)
{
	return got != 0;
}

int interrupt_check(void)
{
	if (!got)
		return 0;
	return fail(-ECANCELED, "stopped by %s",
		    got == SIGINT ? "the user" : strsignal(got));
}
