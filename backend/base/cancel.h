// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Is what this thread does still wanted? Asked by what may wait for long (the
 * answer of a server, the next try), a few times a second.
 *
 * A thread that works for somebody says how to ask (a FUSE request that was
 * interrupted); a program that is told to stop says it for all its threads.
 */
#pragma once
#include <pthread.h>
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

/* A condition that may be waited for without end: for cancel_cond_wait() alone. */
void cancel_cond_init(pthread_cond_t *c);
/*
 * With m held: waits for c, but a moment at most; the caller looks again at what it
 * waits for, and comes back. -ECANCELED with a sentence, and without waiting, when the
 * thread's work is not wanted any more.
 */
int cancel_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) MUST_USE;
