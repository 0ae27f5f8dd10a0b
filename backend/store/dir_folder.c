// SPDX-License-Identifier: GPL-3.0-or-later
/* The folders that a directory store puts into, kept open. */
#include "backend/store/dir_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_MODE 0777

static void folder_free(struct folder *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f);
}

/* With the lock held: out of the table, freed by its last user. */
static void folder_drop(struct dir *d, size_t i)
{
	struct folder *f = d->folders[i];

	d->folders[i] = NULL;
	f->kept = false;
	if (!f->users)
		folder_free(f);
}

void dir_forget_folders(struct dir *d)
{
	for (size_t i = 0; i < DIR_FOLDERS_MAX; i++)
		if (d->folders[i])
			folder_drop(d, i);
}

void dir_folder_put(struct dir *d, struct folder *f)
{
	bool last;

	pthread_mutex_lock(&d->lock);
	last = --f->users == 0 && !f->kept;
	pthread_mutex_unlock(&d->lock);
	if (last)
		folder_free(f);
}

void dir_folder_forget(struct dir *d, const struct folder *f)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	(void)held;
	for (size_t i = 0; i < DIR_FOLDERS_MAX; i++)
		if (d->folders[i] == f)
			folder_drop(d, i);
}

/*
 * Opens path, making what is missing. Another file system mounted on a folder
 * would be left out of the syncfs, so it is refused. Where every put must be
 * durable, each directory on the way is synced even if it was there, since the
 * one who made it may not have come to that. Silent.
 */
static int make_folder(struct dir *d, const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY;
	DROP(fd) int at = dir_sys_open(d, d->root, ".", flags, RESOLVE_NO_XDEV);

	if (at < 0 || !*path)
		return take_fd(&at);
	if (!d->base.durable_puts) {
		int fd = dir_sys_open(d, at, path, flags, RESOLVE_NO_XDEV);

		if (fd != -ENOENT)
			return fd;
	}
	while (*path) {
		size_t len = strcspn(path, "/");
		char name[NAME_MAX + 1];
		int r, fd;

		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + (path[len] == '/');
		if (mkdirat(at, name, FOLDER_MODE) < 0 && errno != EEXIST)
			return -errno;
		r = d->base.durable_puts ? dir_sys_fsync_folder(at) : 0;
		if (r < 0)
			return dir_break_off(d, fail_errno(-r,
							   "cannot make folder "
							   "%s of %s durable",
							   name, d->path));
		fd = dir_sys_open(d, at, name, flags, RESOLVE_NO_XDEV);
		if (fd < 0)
			return fd;
		close(at);
		at = fd;
	}
	return take_fd(&at);
}

static struct folder *find_folder(struct dir *d, const char *path, size_t len)
{
	for (size_t i = 0; i < DIR_FOLDERS_MAX; i++) {
		struct folder *f = d->folders[i];

		if (!f || strncmp(f->path, path, len) != 0 || f->path[len])
			continue;
		f->users++;
		f->used = ++d->clock;
		return f;
	}
	return NULL;
}

/* With the lock held; leaves it out of the table when all others are in use. */
static void keep_folder(struct dir *d, struct folder *f)
{
	size_t oldest = DIR_FOLDERS_MAX;

	for (size_t i = 0; i < DIR_FOLDERS_MAX; i++) {
		if (!d->folders[i]) {
			oldest = i;
			break;
		}
		if (!d->folders[i]->users &&
		    (oldest == DIR_FOLDERS_MAX ||
		     d->folders[i]->used < d->folders[oldest]->used))
			oldest = i;
	}
	if (oldest == DIR_FOLDERS_MAX)
		return;
	if (d->folders[oldest])
		folder_drop(d, oldest);
	d->folders[oldest] = f;
	f->kept = true;
	f->used = ++d->clock;
}

int dir_folder_get(struct dir *d, const char *path, size_t len,
		   struct folder **ret)
{
	unsigned generation = atomic_load(&d->generation);
	struct folder *f, *other;
	int r;

	pthread_mutex_lock(&d->lock);
	f = find_folder(d, path, len);
	pthread_mutex_unlock(&d->lock);
	if (f) {
		*ret = f;
		return 0;
	}
	f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	*f = (struct folder){ strndup(path, len), -1, 1, false, 0 };
	r = f->path ? make_folder(d, f->path) : -ENOMEM;
	if (r < 0) {
		folder_free(f);
		return r;
	}
	f->fd = r;
	pthread_mutex_lock(&d->lock);
	other = find_folder(d, path, len);
	if (!other && generation == atomic_load(&d->generation))
		keep_folder(d, f);
	pthread_mutex_unlock(&d->lock);
	if (other)
		folder_free(f);
	*ret = other ? other : f;
	return 0;
}
