// SPDX-License-Identifier: GPL-3.0-or-later
/* Passphrases and PINs: from a file, a descriptor or the terminal. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "backend/base/signals.h"
#include "crypt/kek_impl.h"

#define CTRL_C 3

bool kek_pass_given(const struct kek_pass *pass)
{
	return pass->file || pass->fd >= 0;
}

/* One newline at its end is not part of it; there must be something else. */
static int trimmed(const uint8_t *p, size_t n, const char *from,
		   struct secret **ret)
{
	if (n && p[n - 1] == '\n')
		n--;
	if (n && p[n - 1] == '\r')
		n--;
	if (n == 0)
		return fail(-EINVAL, "%s: no passphrase in it", from);
	return secret_copy(p, n, ret);
}

static int read_fd(int fd, struct secret **ret)
{
	DROP(secret) struct secret *all = NULL;
	char from[40];
	size_t n = 0;
	int r = secret_new(PASS_MAX + 1, &all);

	if (r < 0)
		return r;
	snprintf(from, sizeof(from), "file descriptor %d", fd);
	while (n <= PASS_MAX) {
		ssize_t got = read(fd, secret_bytes(all) + n, PASS_MAX + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(errno, "%s", from);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > PASS_MAX)
		return fail(-EFBIG, "%s: a passphrase of more than %d bytes",
			    from, PASS_MAX);
	return trimmed(secret_bytes(all), n, from, ret);
}

static int read_file(const char *path, struct secret **ret)
{
	DROP(secret) struct secret *all = NULL;
	int r = secret_read_file(path, PASS_MAX, &all);

	return r < 0 ? r
		     : trimmed(secret_bytes(all), secret_size(all), path, ret);
}

/* --- the terminal --- */

/*
 * A signal that ends the process would leave the terminal without echo: while it is
 * so the signal only wakes the reader, and takes effect, as it would have, once the
 * terminal is as it was. A pipe wakes, since the signal may come to any thread. One
 * prompt at a time, by the main thread.
 */
static const int enders[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

struct watch {
	int wake[2]; /* a byte for each signal: its number */
	struct sigaction before[ARRAY_SIZE(enders)];
};

static int wake_fd;

static void wake(int sig)
{
	int saved = errno;
	uint8_t byte = (uint8_t)sig;

	/* Full: woken already. */
	if (write(wake_fd, &byte, 1) < 0)
		errno = saved;
}

static int watch_begin(struct watch *w)
{
	struct sigaction act = { .sa_handler = wake, .sa_flags = SA_RESTART };

	if (pipe2(w->wake, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail_errno(errno, "a pipe");
	wake_fd = w->wake[1];
	sigfillset(&act.sa_mask);
	signals_handle(enders, ARRAY_SIZE(enders), &act, w->before);
	return 0;
}

/* Returns the signal that came, which has had its effect if that was not the end; 0:
 * none. */
static int watch_end(struct watch *w)
{
	uint8_t sig = 0;

	for (size_t i = 0; i < ARRAY_SIZE(enders); i++)
		sigaction(enders[i], &w->before[i], NULL);
	if (read(w->wake[0], &sig, 1) == 1)
		raise(sig);
	close(w->wake[0]);
	close(w->wake[1]);
	return sig;
}

/* As read(), but -1 with EINTR when a signal woke it. */
static ssize_t read_line(int tty, const struct watch *w, struct secret *line)
{
	struct pollfd on[] = { { .fd = tty, .events = POLLIN },
			       { .fd = w->wake[0], .events = POLLIN } };
	int r;

	do
		r = poll(on, ARRAY_SIZE(on), -1);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -1;
	if (on[1].revents) {
		errno = EINTR;
		return -1;
	}
	return read(tty, secret_bytes(line), PASS_MAX + 1);
}

/* A line, not shown. Control-C is read as a character. */
static int ask(int tty, const char *prompt, struct secret **ret)
{
	DROP(secret) struct secret *line = NULL;
	struct termios before, quiet;
	struct watch w;
	int sig, error;
	ssize_t n;
	int r = secret_new(PASS_MAX + 1, &line);

	if (r < 0)
		return r;
	if (tcgetattr(tty, &before) < 0)
		return fail_errno(errno, "the terminal");
	r = watch_begin(&w);
	if (r < 0)
		return r;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_lflag |= ICANON | ECHONL;
	quiet.c_cc[VEOL] = CTRL_C;
	/* First, so that nothing typed at the prompt is shown, or lost. */
	tcsetattr(tty, TCSAFLUSH, &quiet);
	dprintf(tty, "%s: ", prompt);
	n = read_line(tty, &w, line);
	error = errno;
	tcsetattr(tty, TCSAFLUSH, &before);
	sig = watch_end(&w);
	if (sig)
		return fail(-ECANCELED, "stopped by %s", strsignal(sig));
	if (n < 0)
		return fail_errno(error, "the terminal");
	if (n == 0 || memchr(secret_bytes(line), CTRL_C, (size_t)n))
		return fail(-ECANCELED, "no passphrase was given");
	return trimmed(secret_bytes(line), (size_t)n, "the terminal", ret);
}

int kek_pass_get(const struct kek_pass *pass, const char *prompt,
		 struct secret **ret)
{
	DROP(fd) int tty = -1;

	if (pass->file)
		return read_file(pass->file, ret);
	if (pass->fd >= 0)
		return read_fd(pass->fd, ret);
	if (isatty(STDIN_FILENO))
		tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0)
		return fail(-ENOTTY,
			    "%s: there is no terminal to ask on; add "
			    ",pass-file=FILE or ,pass-fd=N",
			    prompt);
	return ask(tty, prompt, ret);
}
