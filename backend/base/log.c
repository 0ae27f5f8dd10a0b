// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

#define LINE_MAX_BYTES 4096

static const char *program = "vaultfs";
static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_int target_fd = STDERR_FILENO;
static atomic_bool to_syslog;

void log_init(const char *prog, enum log_level level)
{
	program = prog;
	log_set_level(level);
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&threshold);
}

int log_to(const char *target)
{
	DROP(fd) int fd = -1;
	int old;

	if (strcmp(target, "syslog") == 0) {
		openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
		atomic_store(&to_syslog, true);
		return 0;
	}
	fd = open(target, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY,
		  0600);
	if (fd < 0)
		return fail_errno(errno, "log file %s", target);
	old = atomic_load(&target_fd);
	if (old == STDERR_FILENO) {
		atomic_store(&target_fd, take_fd(&fd));
	} else if (dup3(fd, old, O_CLOEXEC) < 0) {
		/* In place, since another thread may be writing to it. */
		return fail_errno(errno, "log file %s", target);
	}
	atomic_store(&to_syslog, false);
	return 0;
}

/* One write(2) a line, so that lines of several threads do not mix. */
static void put_line(const char *text)
{
	char line[LINE_MAX_BYTES + 128];
	int fd = atomic_load(&target_fd);
	int n = snprintf(line, sizeof(line), "%s: %s\n", program, text);
	const char *p = line;
	size_t left;

	if (n < 0)
		return;
	left = (size_t)n;
	if (left >= sizeof(line)) {
		left = sizeof(line) - 1;
		line[left - 1] = '\n';
	}
	while (left) {
		ssize_t done = write(fd, p, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* there is nowhere to tell it */
		p += done;
		left -= (size_t)done;
	}
}

__attribute__((format(printf, 2, 0))) static void
put(enum log_level level, const char *fmt, va_list ap)
{
	static const int priority[] = {
		[LOG_LEVEL_ERROR] = LOG_ERR,
		[LOG_LEVEL_WARN] = LOG_WARNING,
		[LOG_LEVEL_INFO] = LOG_INFO,
		[LOG_LEVEL_DEBUG] = LOG_DEBUG,
	};
	char text[LINE_MAX_BYTES];
	int saved = errno;

	if (!log_enabled(level))
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	/* Names come from outside: they must not forge lines. */
	printable(text);
	if (atomic_load(&to_syslog))
		syslog(priority[level], "%s", text);
	else
		put_line(text);
	errno = saved;
}

#define DEFINE_LOG(name, level)                                                \
	void name(const char *fmt, ...)                                        \
	{                                                                      \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, fmt);                                             \
		put(level, fmt, ap);                                           \
		va_end(ap);                                                    \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
