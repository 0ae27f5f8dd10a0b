// SPDX-License-Identifier: GPL-3.0-or-later
/* signals: handlers for those that end a process. */
#pragma once
#include <signal.h>
#include <stddef.h>

/* Has n signals handled so, but those that are ignored: nohup, and a shell's background
 * jobs, mean that. before: n of them as they were; may be NULL. */
void signals_handle(const int *signals, size_t n, const struct sigaction *act,
		    struct sigaction *before);
