// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Putting into a directory store, and the barrier. The functions are silent,
 * except that they keep the cause when they break off; put_any() tells.
 */
#include "backend/store/dir_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/hash.h"

#define OBJECT_MODE 0444
#define TMP_AGE_MAX (24 * 60 * 60) /* seconds; then its writer is dead */
#define PUT_TRIES_MAX 200
#define COMPARE_SIZE (128u << 10)

static int sync_or_break(struct dir *d, int r, const char *key)
{
	if (r < 0)
		return dir_break_off(d, fail_errno(-r,
						   "cannot make object %s of "
						   "%s durable",
						   key, d->path));
	return 0;
}

static bool same_bytes(int fd, const struct store_piece *pieces, size_t npieces,
		       uint8_t *work, int *err)
{
	uint64_t off = 0;

	for (size_t i = 0; i < npieces; i++) {
		const uint8_t *p = pieces[i].data;

		for (size_t done = 0; done < pieces[i].len;) {
			size_t n = min_u64(pieces[i].len - done, COMPARE_SIZE);
			ssize_t got = dir_sys_pread(fd, work, n, off);

			if (got < 0)
				*err = (int)got;
			if (got != (ssize_t)n || memcmp(work, p + done, n) != 0)
				return false;
			done += n;
			off += n;
		}
	}
	return true;
}

/* Something has the name. Ours from before, if the bytes are the same. */
static int settle(struct dir *d, const struct folder *f, const char *leaf,
		  const char *key, const struct store_piece *pieces,
		  size_t npieces, bool whole)
{
	DROP(fd)
	int fd = dir_sys_open(d, f->fd, leaf, O_RDONLY | O_NONBLOCK, 0);
	DROP(mem) uint8_t *work = NULL;
	uint64_t size = 0;
	struct stat st;
	int r = 0;

	if (fd == -ENOENT)
		return -EAGAIN; /* removed meanwhile: the name is free again */
	if (fd == -ELOOP || fd == -ENXIO)
		return -EEXIST;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	for (size_t i = 0; i < npieces; i++)
		size += pieces[i].len;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -EEXIST;
	work = malloc(COMPARE_SIZE);
	if (!work)
		return -ENOMEM;
	if (!same_bytes(fd, pieces, npieces, work, &r))
		return r < 0 ? r : -EEXIST;
	/* It may have been put in the other manner. */
	if (d->base.durable_puts || whole)
		r = sync_or_break(d, dir_sys_fsync(fd), key);
	if (r == 0 && d->base.durable_puts)
		r = sync_or_break(d, dir_sys_fsync_folder(f->fd), key);
	/* Whoever wrote it, it is for our barrier to make it durable. */
	atomic_store(&d->wrote, true);
	return r;
}

static bool folder_gone(const struct folder *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_nlink == 0;
}

static int link_unnamed(int fd, int at, const char *leaf)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, at, leaf, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	/* No /proc? This way needs a capability, or Linux 6.10. */
	return linkat(fd, "", at, leaf, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* A hint, so that the medium works before the barrier; what fails is told
 * there. */
static void start_writing(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* -EOPNOTSUPP: this file system or system has no such files. */
static int put_unnamed(struct dir *d, const struct folder *f, const char *leaf,
		       const char *key, const struct store_piece *pieces,
		       size_t npieces, bool whole)
{
	DROP(fd) int fd = -1;
	int r;

	do
		fd = openat(f->fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC,
			    OBJECT_MODE);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return errno == EISDIR || errno == EINVAL ? -EOPNOTSUPP
							  : -errno;
	r = dir_sys_write(fd, pieces, npieces);
	if (r < 0)
		return r;
	if (d->base.durable_puts || whole) {
		r = sync_or_break(d, dir_sys_fsync(fd), key);
		if (r < 0)
			return r;
	} else {
		start_writing(fd);
	}
	r = link_unnamed(fd, f->fd, leaf);
	if (r == -ENOENT && !folder_gone(f))
		return -EOPNOTSUPP;
	if (r < 0)
		return r;
	atomic_store(&d->wrote, true);
	return sync_or_break(d, dir_sys_close(take_fd(&fd)), key);
}

/*
 * Files that killed writers left. Their age is measured against a file made
 * just now, on the store's own clock. One whose writer is alive after all
 * makes that writer's put fail, and nothing else.
 */
static void sweep(struct dir *d, int tmp, int now_fd)
{
	int fd = openat(tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat now, st;
	struct dirent *e;
	DIR *list;

	if (fd < 0)
		return;
	list = fdopendir(fd);
	if (!list) {
		close(fd);
		return;
	}
	atomic_store(&d->swept, true);
	if (fstat(now_fd, &now) == 0)
		while ((e = readdir(list)))
			if (fstatat(tmp, e->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
				    0 &&
			    S_ISREG(st.st_mode) &&
			    now.st_mtime - st.st_mtime > TMP_AGE_MAX)
				(void)unlinkat(tmp, e->d_name, 0);
	closedir(list);
}

/* Gives the finished file its name; -EOPNOTSUPP if it cannot be done safely. */
static int publish_named(struct dir *d, int tmp, const char *name, int at,
			 const char *leaf)
{
	int err;

	if (!atomic_load(&d->no_rename)) {
		if (renameat2(tmp, name, at, leaf, RENAME_NOREPLACE) == 0)
			return 0;
		err = errno;
		if (err != EINVAL && err != ENOSYS && err != EOPNOTSUPP)
			return -err;
		atomic_store(&d->no_rename, true);
	}
	if (linkat(tmp, name, at, leaf, 0) < 0)
		return errno == EPERM || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	(void)unlinkat(tmp, name, 0);
	return 0;
}

static int put_named(struct dir *d, const struct folder *f, const char *leaf,
		     const char *key, const struct store_piece *pieces,
		     size_t npieces, bool whole)
{
	struct folder *tmp;
	uint8_t random[8];
	char name[17];
	int r, err, fd;

	r = dir_folder_get(d, DIR_TMP, strlen(DIR_TMP), &tmp);
	if (r < 0)
		return r;
	r = random_bytes(random, sizeof(random));
	if (r < 0) {
		dir_folder_put(d, tmp);
		return r;
	}
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(name + 2 * i, 3, "%02x", random[i]);
	do
		fd = openat(tmp->fd, name,
			    O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW |
				    O_CLOEXEC,
			    OBJECT_MODE);
	while (fd < 0 && errno == EINTR);
	err = errno;
	if (fd < 0) {
		if (err == ENOENT)
			dir_folder_forget(d, tmp);
		dir_folder_put(d, tmp);
		return -err;
	}
	if (!atomic_load(&d->swept))
		sweep(d, tmp->fd, fd);
	r = dir_sys_write(fd, pieces, npieces);
	if (r == 0 && (d->base.durable_puts || whole))
		r = sync_or_break(d, dir_sys_fsync(fd), key);
	else if (r == 0)
		start_writing(fd);
	if (r == 0)
		r = dir_sys_close(fd);
	else
		close(fd);
	if (r == 0)
		r = publish_named(d, tmp->fd, name, f->fd, leaf);
	if (r == 0)
		atomic_store(&d->wrote, true);
	else
		(void)unlinkat(tmp->fd, name, 0);
	dir_folder_put(d, tmp);
	return r;
}

static int put_once(struct dir *d, const char *key,
		    const struct store_piece *pieces, size_t npieces,
		    bool whole)
{
	const char *slash = strrchr(key, '/');
	const char *leaf = slash ? slash + 1 : key;
	struct folder *f;
	int r = dir_folder_get(d, key, slash ? (size_t)(slash - key) : 0, &f);

	if (r < 0)
		return r;
	r = atomic_load(&d->no_tmpfile)
		    ? -EOPNOTSUPP
		    : put_unnamed(d, f, leaf, key, pieces, npieces, whole);
	if (r == -EOPNOTSUPP) {
		atomic_store(&d->no_tmpfile, true);
		r = put_named(d, f, leaf, key, pieces, npieces, whole);
	}
	if (r == 0 && d->base.durable_puts)
		r = sync_or_break(d, dir_sys_fsync_folder(f->fd), key);
	else if (r == -EEXIST)
		r = settle(d, f, leaf, key, pieces, npieces, whole);
	/* Removed under us, which file systems tell in several ways. */
	if (r < 0 && (r == -ESTALE || folder_gone(f))) {
		dir_folder_forget(d, f);
		r = -EAGAIN;
	}
	dir_folder_put(d, f);
	return r;
}

static int say_put(struct dir *d, int err, const char *key)
{
	switch (-err) {
	case EEXIST:
		return fail(-EEXIST,
			    "object %s is in %s already, with other bytes", key,
			    d->path);
	case EISDIR:
		return fail(-EISDIR, "object %s of %s: a folder has this name",
			    key, d->path);
	case EXDEV:
		return fail(-EXDEV,
			    "object %s: another file system is mounted inside "
			    "vault store %s, which must be one file system",
			    key, d->path);
	case EOPNOTSUPP:
		return fail(-EOPNOTSUPP,
			    "the file system of vault store %s can neither "
			    "link files nor rename them without replacing",
			    d->path);
	case EDQUOT:
		return fail(-ENOSPC, "cannot put object %s into %s: %s", key,
			    d->path, strerror(EDQUOT));
	case EPERM:
	case EACCES:
		return fail(-EACCES, "cannot put object %s into %s: %s", key,
			    d->path, strerror(-err));
	case ENOENT:
	case ENXIO:
	case ESTALE:
	case ENODEV:
	case ENOTCONN:
		return fail(-EIO, "cannot put object %s into %s: %s", key,
			    d->path, strerror(-err));
	default:
		return fail_errno(-err, "cannot put object %s into %s", key,
				  d->path);
	}
}

/* Others are busy in the same folders: let them come through. */
static void pause_after(int tries)
{
	struct timespec t = { 0, tries * 20000L };

	if (tries > 2)
		nanosleep(&t, NULL);
}

/* whole: synced before it has its name, so that it is never torn. */
static int put_any(struct store *s, const char *key,
		   const struct store_piece *pieces, size_t npieces, bool whole)
{
	struct dir *d = dir_of(s);

	if (!d->writable)
		return fail(-EROFS, "%s was opened for reading only", d->path);
	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int lost, r;

		if (atomic_load(&d->broken))
			return dir_broken(d);
		r = put_once(d, key, pieces, npieces, whole);
		if (atomic_load(&d->broken))
			return dir_broken(d);
		if (r == 0)
			return 0;
		/* -EAGAIN: a folder or the object was removed as we came. */
		if (tries == PUT_TRIES_MAX)
			return say_put(d, r, key);
		lost = dir_root_lost(d, r == -EAGAIN ? -ENOENT : r, generation);
		if (lost < 0)
			return lost;
		if (!lost && r != -EAGAIN && r != -ENOENT)
			return say_put(d, r, key);
		pause_after(tries);
	}
}

int dir_put(struct store *s, const char *key, const struct store_piece *pieces,
	    size_t npieces)
{
	return put_any(s, key, pieces, npieces, false);
}

int dir_put_whole(struct store *s, const char *key,
		  const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, true);
}

int dir_barrier(struct store *s)
{
	struct dir *d = dir_of(s);
	struct stat st;
	int r;

	if (atomic_load(&d->broken))
		return dir_broken(d);
	if (!d->writable || !atomic_load(&d->wrote))
		return 0;
	/* Also where each put is durable: what is built on may have been put
	 * by a writer that was killed before it synced the folder. */
	do
		r = syncfs(d->root);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return dir_break_off(d, fail_errno(errno,
						   "cannot make what was "
						   "written to %s durable",
						   d->path));
	if (fstat(d->root, &st) < 0 || st.st_nlink == 0)
		return dir_break_off(d,
				     fail(-ENXIO, "vault store %s is not there",
					  d->path));
	return 0;
}
