// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The directory store: an object is a file, the folders of its key are
 * directories.
 *
 *	/srv/vault/			0700 where we make it: the one gate
 *	/srv/vault/tmp/			unfinished files; never listed
 *	/srv/vault/V/web-01/c/...
 *
 * The root is held open, so a store that is renamed keeps working. When its
 * directory is removed, or the file system under it goes away, the path is
 * opened again: dir_root_lost(). The descriptor's number never changes (dup3), so
 * readers need no lock.
 *
 * A put writes an unnamed file (O_TMPFILE, in the folder itself, so that it
 * inherits what the administrator set there) and links it; where a file system
 * has none, a file in tmp/ is renamed with RENAME_NOREPLACE, or linked.
 *
 * Durability: on the file systems that syncfs_honoured() names, nothing is
 * synced before the barrier, which is one syncfs on the root's descriptor; that
 * is older than the first write, so that it reports every error of writing
 * back. Elsewhere each object is synced before it gets its name, and each
 * directory on the way to it after; the barrier is a syncfs there too, for names
 * that another writer gave and was killed before it synced their directory. What failed to sync once can succeed the
 * second time without being on the disk, so such a failure ends all putting for
 * good.
 *
 * Modes: folders are 0777 and objects 0444 less the umask, as git does it. The
 * root is what keeps strangers out, and an administrator who opens it to a
 * group gets the whole of it readable; no write bits, since an object never
 * changes.
 *
 * Here: the root, reading, opening and closing. The folders that are put into:
 * dir_folder.c; putting and the barrier: dir_put.c; listing and removing:
 * dir_list.c.
 */
#include "backend/store/dir_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "backend/base/err.h"

#define ZFS_MAGIC 0x2fc12fc1

int dir_sys_open(struct dir *d, int at, const char *path, int flags,
		 uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC | O_NOFOLLOW,
		.resolve = resolve | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	bool plain = atomic_load_explicit(&d->no_openat2, memory_order_relaxed);
	int fd, err = 0;

	do {
		if (!plain) {
			fd = (int)syscall(SYS_openat2, at, path, &how,
					  sizeof(how));
			err = errno;
			/* An old kernel, or a container's filter. */
			plain = fd < 0 && (err == ENOSYS || err == EPERM);
		}
		if (plain) {
			fd = openat(at, path, flags | O_CLOEXEC | O_NOFOLLOW);
			if (fd >= 0)
				atomic_store(&d->no_openat2, true);
			err = errno;
		}
	} while (fd < 0 && err == EINTR);
	return fd < 0 ? -err : fd;
}

int dir_sys_fsync(int fd)
{
	while (fsync(fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Some network file systems have no fsync of a directory: nothing to wait
 * for. */
int dir_sys_fsync_folder(int fd)
{
	int r = dir_sys_fsync(fd);

	return r == -EINVAL ? 0 : r;
}

/* A close that fails after writing may be the only word of a lost write. */
int dir_sys_close(int fd)
{
	if (close(fd) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

/* 0..len bytes, fewer only at the end of the file. */
ssize_t dir_sys_pread(int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int dir_sys_write(int fd, const struct store_piece *pieces, size_t npieces)
{
	size_t i = 0, skip = 0; /* done: i pieces and skip bytes */

	while (i < npieces) {
		struct iovec iov[64];
		int niov = 0;
		ssize_t n;

		if (skip == pieces[i].len) {
			i++;
			skip = 0;
			continue;
		}
		for (size_t k = i; k < npieces && niov < 64; k++) {
			size_t from = k == i ? skip : 0;

			iov[niov++] = (struct iovec){
				(char *)pieces[k].data + from,
				pieces[k].len - from,
			};
		}
		n = writev(fd, iov, niov);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		for (size_t left = (size_t)n; left;) {
			size_t step = min_u64(left, pieces[i].len - skip);

			left -= step;
			skip += step;
			if (skip == pieces[i].len) {
				i++;
				skip = 0;
			}
		}
	}
	return 0;
}

/*
 * Sticky failure.
 */

int dir_broken(struct dir *d)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	(void)held;
	return err_load(&d->cause);
}

int dir_break_off(struct dir *d, int code)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	(void)held;
	if (!atomic_load(&d->broken)) {
		err_save(code, &d->cause);
		atomic_store(&d->broken, true);
	}
	return code;
}

/*
 * The root.
 */

static int open_root(const char *path, bool writable)
{
	/* syncfs wants a real descriptor, the rest only a place to start
	 * from. */
	int flags = O_DIRECTORY | O_CLOEXEC | (writable ? O_RDONLY : O_PATH);
	int fd;

	do
		fd = open(path, flags);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* Before 5.8, syncfs did not report what had failed to be written back. */
static bool syncfs_reports(void)
{
	struct utsname u;
	unsigned major, minor;

	return uname(&u) == 0 &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 8));
}

static bool syncfs_honoured(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0 || !syncfs_reports())
		return false;
	switch ((unsigned long)fs.f_type) {
	case EXT4_SUPER_MAGIC: /* and ext2, ext3 */
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case ZFS_MAGIC:
	case TMPFS_MAGIC:
		return true;
	default:
		return false;
	}
}

static bool root_is_gone(struct dir *d, int err)
{
	struct stat now, there;

	if (fstat(d->root, &now) < 0 || now.st_nlink == 0)
		return true;
	/* A disk that was pulled out and mounted again: the old one still
	 * answers from memory, but all it says is EIO. */
	return err != -ENOENT && stat(d->path, &there) == 0 &&
	       S_ISDIR(there.st_mode) && there.st_dev != now.st_dev;
}

int dir_root_lost(struct dir *d, int err, unsigned generation)
{
	DROP(lock) pthread_mutex_t *held = NULL;
	DROP(fd) int fd = -1;

	switch (-err) {
	case ENOENT:
	case ESTALE:
	case EIO:
	case ENXIO:
	case ENODEV:
	case ENOTCONN:
		break;
	default:
		return 0;
	}
	held = lock(&d->lock);
	if (atomic_load(&d->generation) != generation)
		return 1;
	if (!root_is_gone(d, err))
		return 0;
	fd = open_root(d->path, d->writable);
	if (fd < 0)
		return fail(-ENXIO, "vault store %s is not there", d->path);
	if (dup3(fd, d->root, O_CLOEXEC) < 0)
		return fail_errno(errno, "vault store %s", d->path);
	/* Here, not in dir_break_off(): the lock is held. */
	if ((atomic_load(&d->wrote) ||
	     (!d->base.durable_puts && !syncfs_honoured(fd))) &&
	    d->writable && !atomic_load(&d->broken)) {
		d->cause.code = -EIO;
		snprintf(d->cause.text, sizeof(d->cause.text),
			 "vault store %s went away and came back while it was "
			 "written to",
			 d->path);
		atomic_store(&d->broken, true);
	}
	dir_forget_folders(d);
	atomic_fetch_add(&d->generation, 1);
	return 1;
}

int dir_say(struct dir *d, int err, const char *doing, const char *key)
{
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case EISDIR:
	case ESPIPE:
	case ENXIO: /* of opening a socket or a device, not of the store */
		return fail(-ENOENT, "no object %s in %s", key, d->path);
	case EPERM:
	case EACCES:
		return fail(-EACCES, "cannot %s object %s of %s: %s", doing,
			    key, d->path, strerror(-err));
	case ESTALE:
	case ENODEV:
	case ENOTCONN:
		return fail(-EIO, "cannot %s object %s of %s: %s", doing, key,
			    d->path, strerror(-err));
	default:
		return fail_errno(-err, "cannot %s object %s of %s", doing, key,
				  d->path);
	}
}

/*
 * Reading. O_NONBLOCK: a FIFO in the place of an object must not hang us.
 */

static int dir_stat_once(struct dir *d, const char *key, struct stat *st)
{
	DROP(fd) int fd = dir_sys_open(d, d->root, key, O_PATH, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? 0 : -ENOENT;
}

int dir_again(struct dir *d, int err, int tries, unsigned generation,
	      const char *doing, const char *key)
{
	int lost = tries < DIR_TRIES_MAX ? dir_root_lost(d, err, generation)
					 : 0;

	return lost ? lost : dir_say(d, err, doing, key);
}

static int dir_stat(struct store *s, const char *key, uint64_t *size)
{
	struct dir *d = dir_of(s);
	struct stat st;

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int r = dir_stat_once(d, key, &st);

		if (r == 0) {
			*size = (uint64_t)st.st_size;
			return 0;
		}
		r = dir_again(d, r, tries, generation, "look at", key);
		if (r < 0)
			return r;
	}
}

/* Silent but for a short file, whose size is in *size. */
static int dir_read_once(struct dir *d, const char *key, void *buf, size_t len,
			 uint64_t off, uint64_t *size)
{
	DROP(fd)
	int fd = dir_sys_open(d, d->root, key, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = dir_sys_pread(fd, buf, len, off);
	if (n < 0)
		return (int)n;
	if ((size_t)n == len)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*size = (uint64_t)st.st_size;
	return 1;
}

static int dir_read(struct store *s, const char *key, void *buf, size_t len,
		    uint64_t off)
{
	struct dir *d = dir_of(s);
	uint64_t size = 0;

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int r = dir_read_once(d, key, buf, len, off, &size);

		if (r == 0)
			return 0;
		if (r > 0)
			return fail(-EIO,
				    "object %s is shorter than its index "
				    "says: %llu bytes",
				    key, (unsigned long long)size);
		r = dir_again(d, r, tries, generation, "read", key);
		if (r < 0)
			return r;
	}
}

/* Silent; on -EFBIG *size tells why. */
static int dir_get_once(struct dir *d, const char *key, size_t max,
			struct buf *out, uint64_t *size)
{
	DROP(fd)
	int fd = dir_sys_open(d, d->root, key, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	uint8_t *room;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*size = (uint64_t)st.st_size;
	if (*size > max || *size > out->max - out->len)
		return -EFBIG;
	if (!*size)
		return 0;
	room = buf_reserve(out, (size_t)*size);
	if (!room)
		return -ENOMEM;
	n = dir_sys_pread(fd, room, (size_t)*size, 0);
	if (n < 0)
		return (int)n;
	if ((uint64_t)n < *size)
		return -EIO;
	out->len += (size_t)*size;
	return 0;
}

static int dir_get(struct store *s, const char *key, size_t max,
		   struct buf *out)
{
	struct dir *d = dir_of(s);
	uint64_t size = 0;

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int r = dir_get_once(d, key, max, out, &size);

		if (r == 0)
			return 0;
		if (r == -EFBIG)
			return fail(-EFBIG,
				    "object %s is of %llu bytes, more than it "
				    "may be",
				    key, (unsigned long long)size);
		r = dir_again(d, r, tries, generation, "read", key);
		if (r < 0)
			return r;
	}
}

static void dir_close(struct store *s)
{
	struct dir *d = dir_of(s);

	dir_forget_folders(d);
	if (d->root >= 0)
		close(d->root);
	pthread_mutex_destroy(&d->lock);
	free(d->path);
	store_release(s);
	free(d);
}

static const struct store_ops dir_ops = {
	.name = "dir",
	.stat = dir_stat,
	.read = dir_read,
	.get = dir_get,
	.put = dir_put,
	.put_whole = dir_put_whole,
	.barrier = dir_barrier,
	.list = dir_list,
	.remove = dir_remove,
	.close = dir_close,
};

/* A daemon will have changed its directory when the path is needed again. */
static int absolute(const char *path, char **ret)
{
	DROP(mem) char *cwd = NULL;

	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (*path == '/') {
		*ret = strdup(path);
	} else {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return fail_errno(errno, "current directory");
		if (!*path || !strcmp(path, "."))
			*ret = take(cwd);
		else if (asprintf(ret, "%s/%s", strcmp(cwd, "/") ? cwd : "",
				  path) < 0)
			*ret = NULL;
	}
	if (!*ret)
		return fail(-ENOMEM, "out of memory");
	for (size_t n = strlen(*ret); n > 1 && (*ret)[n - 1] == '/'; n--)
		(*ret)[n - 1] = '\0';
	return 0;
}

int store_open_dir(const char *path, bool writable, struct store **ret)
{
	DROP(mem) char *full = NULL;
	DROP(fd) int fd = -1;
	struct dir *d;
	int r = absolute(path, &full);

	if (r < 0)
		return r;
	fd = open_root(full, writable);
	if (fd == -ENOENT)
		return fail(-ENXIO, "vault store %s is not there", full);
	if (fd == -ENOTDIR)
		return fail(-ENXIO, "vault store %s is not a directory", full);
	if (fd < 0)
		return fail_errno(-fd, "vault store %s", full);
	d = calloc(1, sizeof(*d));
	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = store_init(&d->base, &dir_ops, full, !syncfs_honoured(fd));
	if (r < 0) {
		free(d);
		return r;
	}
	pthread_mutex_init(&d->lock, NULL);
	d->path = take(full);
	d->root = take_fd(&fd);
	d->writable = writable;
	*ret = &d->base;
	return 0;
}

/* The new directory's own name must be durable before anything in it is. */
static int sync_parent(int root)
{
	DROP(fd)
	int up = openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* What we may not read we cannot open: by another way then. */
	if (up < 0)
		return syncfs(root) < 0 ? -errno : 0;
	return dir_sys_fsync_folder(up);
}

int store_create_dir(const char *path, struct store **ret)
{
	DROP(store) struct store *s = NULL;
	DROP(mem) char *full = NULL;
	int r = absolute(path, &full);

	if (r < 0)
		return r;
	if (mkdir(full, 0700) < 0 && errno != EEXIST)
		return fail_errno(errno, "cannot make vault store %s", full);
	r = store_open_dir(full, true, &s);
	if (r < 0)
		return r;
	r = sync_parent(dir_of(s)->root);
	if (r < 0)
		return fail_errno(-r, "cannot make vault store %s durable",
				  full);
	*ret = take(s);
	return 0;
}
