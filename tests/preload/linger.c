// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * linger: a program that has done its work stays, so that its memory can be searched
 * for what the work left there.
 *
 *	LINGER	a file: at exit it is made, with the process's id in it; the process
 *		ends once it is removed
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *path;

__attribute__((constructor)) static void begin(void)
{
	path = getenv("LINGER");
}

/* Behind what the program itself has to do at exit. */
__attribute__((destructor)) static void linger(void)
{
	char text[24];
	int fd, n;

	if (!path)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		abort();
	close(fd);
	while (access(path, F_OK) == 0)
		usleep(20000);
}
