// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Is what this thread does still wanted? Asked by what may wait for long (the
 * answer of a server, the next try), a few times a second.
 *
 * A thread that works for somebody says how to ask (a FUSE request that was
 * interrupted); a program that is told to stop says it for all its threads.
 */
#pragma once
#include <stdbool.h>

#include "backend/base/scope.h"

struct cancel {
	bool (*asked)(void *ctx); /* NULL: nobody asks */
	void *ctx;
};

/* For the calling thread, until the next call; returns what it was before. */
struct cancel cancel_set(struct cancel c);
/* For all threads; once, before the second thread is there. */
void cancel_set_all(bool (*asked)(void));
bool cancel_asked(void);
/* 0, or -ECANCELED with a sentence. */
int cancel_check(void) MUST_USE;
