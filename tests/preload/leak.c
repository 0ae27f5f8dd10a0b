// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * leak: makes a program leak, so that a search for what leaks can be proved to see it.
 *
 *	LEAK_DIR	each file in it is copied to ordinary memory, a block
 *			each, and stays there
 *	LEAK_LOCK	1: mlock() does nothing and says it did
 *	LEAK_DUMP	1: madvise(MADV_DONTDUMP) does
 *	LEAK_WIPE	1: explicit_bzero() does
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCKS_MAX 1024

/* So that they are not lost. */
static void *volatile blocks[BLOCKS_MAX];
static size_t nblocks;

static bool is_set(const char *name)
{
	return getenv(name) != NULL;
}

static void copy(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    nblocks == BLOCKS_MAX) {
		if (fd >= 0)
			close(fd);
		return;
	}

	void *p = malloc((size_t)st.st_size + 1);

	if (!p || read(fd, p, (size_t)st.st_size) != st.st_size)
		abort();
	blocks[nblocks++] = p;
	close(fd);
}

__attribute__((constructor)) static void leak(void)
{
	const char *path = getenv("LEAK_DIR");
	DIR *dir = path ? opendir(path) : NULL;

	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));)
		copy(dirfd(dir), e->d_name);
	closedir(dir);
}

int mlock(const void *p, size_t size)
{
	if (is_set("LEAK_LOCK"))
		return 0;
	return (int)syscall(SYS_mlock, p, size);
}

int madvise(void *p, size_t size, int advice)
{
	if (advice == MADV_DONTDUMP && is_set("LEAK_DUMP"))
		return 0;
	return (int)syscall(SYS_madvise, p, size, advice);
}

void explicit_bzero(void *p, size_t size)
{
	volatile unsigned char *at = p;

	if (is_set("LEAK_WIPE"))
		return;
	while (size--)
		*at++ = 0;
}

/* What it is called where the compiler knows the size. */
void __explicit_bzero_chk(void *p, size_t size, size_t room);
void __explicit_bzero_chk(void *p, size_t size, size_t room)
{
	if (size > room)
		abort();
	explicit_bzero(p, size);
}
