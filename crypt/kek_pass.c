// SPDX-License-Identifier: GPL-3.0-or-later
/* Passphrases and PINs: from a file, a descriptor or the terminal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

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

/* A line, not shown. Control-C is read as a character, so that no signal leaves
 * the terminal as it is here. */
static int ask(int tty, const char *prompt, struct secret **ret)
{
	DROP(secret) struct secret *line = NULL;
	struct termios before, quiet;
	ssize_t n;
	int r = secret_new(PASS_MAX + 1, &line);

	if (r < 0)
		return r;
	if (tcgetattr(tty, &before) < 0)
		return fail_errno(errno, "the terminal");
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_lflag |= ICANON | ECHONL;
	quiet.c_cc[VEOL] = CTRL_C;
	/* First, so that nothing typed at the prompt is shown, or lost. */
	tcsetattr(tty, TCSAFLUSH, &quiet);
	dprintf(tty, "%s: ", prompt);
	do
		n = read(tty, secret_bytes(line), PASS_MAX + 1);
	while (n < 0 && errno == EINTR);
	tcsetattr(tty, TCSAFLUSH, &before);
	if (n < 0)
		return fail_errno(errno, "the terminal");
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
