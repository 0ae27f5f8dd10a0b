// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * quiet: which messages of a daemon are worth a line in the log. One about the
 * same object and of the same words passes once in QUIET_AGAIN_S, and all
 * together at most QUIET_BURST at once and QUIET_PER_MINUTE after that. Any
 * thread.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stdint.h>

#define QUIET_AGAIN_S 600
#define QUIET_BURST 20
#define QUIET_PER_MINUTE 30

struct quiet;

int quiet_new(struct quiet **ret) MUST_USE;
void quiet_free(struct quiet *q);
/* Whether to say it at now_ns (monotonic). *held_back: how many others were
 * kept quiet for want of room since one passed. */
bool quiet_pass(struct quiet *q, uint64_t object, const char *text,
		uint64_t now_ns, uint64_t *held_back);

DROP_DEFINE(quiet, struct quiet *, quiet_free)
