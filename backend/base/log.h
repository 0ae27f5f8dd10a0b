// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Talk to the user on stderr, or to syslog for a daemon. Data never goes here.
 * Any thread. No secret is ever passed to it.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* prog is borrowed for the life of the process. Lines: "prog: text". */
void log_init(const char *prog, enum log_level level);
void log_set_level(enum log_level level);
/* From now on to this file (opened for append, created 0600) or, with "syslog",
 * to the system's log. 0 or negative errno with a sentence. */
int log_to(const char *target) MUST_USE;
void log_error(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_debug(const char *fmt, ...) PRINTF(1, 2);
bool log_enabled(enum log_level level);
