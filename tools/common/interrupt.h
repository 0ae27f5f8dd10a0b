// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * SIGINT, SIGTERM and SIGHUP ask a long job to stop where it is safe to. A
 * second signal ends the process at once, as without us.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>

/* Once, before the first thread. */
void interrupt_setup(void);
/* Any thread. */
bool interrupted(void);
/* 0, or -ECANCELED with a sentence. */
int interrupt_check(void) MUST_USE;
