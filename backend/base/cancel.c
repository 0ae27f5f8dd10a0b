// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/cancel.h"

#include <errno.h>

#include "backend/base/err.h"

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
