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
 * opened again: root_lost(). The descriptor's number never changes (dup3), so
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
 */
#include "backend/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"

#define ZFS_MAGIC 0x2fc12fc1
#define OBJECT_MODE 0444
#define FOLDER_MODE 0777
#define TMP "tmp"
#define TMP_AGE_MAX (24 * 60 * 60) /* seconds; then its writer is dead */
#define FOLDERS_MAX 16
#define TRIES_MAX 16
#define PUT_TRIES_MAX 200
#define SCAN_MIN 1024
#define COMPARE_SIZE (128u << 10)

/* A directory kept open for putting into it; it exists, and so do its
 * parents. */
struct folder {
	char *path;
	int fd;
	unsigned users; /* lock */
	bool kept;	/* lock: in dir->folders */
	uint64_t used;	/* lock */
};

struct dir {
	struct store base;
	char *path; /* absolute */
	int root;   /* same number for life; replaced under lock */
	bool writable;
	atomic_uint generation; /* of the root */
	atomic_bool no_openat2;
	atomic_bool no_tmpfile;
	atomic_bool no_rename; /* RENAME_NOREPLACE */
	atomic_bool swept;
	atomic_bool wrote; /* an object became visible */
	atomic_bool broken;
	pthread_mutex_t lock;
	struct err_saved cause;		     /* lock; of broken */
	struct folder *folders[FOLDERS_MAX]; /* lock */
	uint64_t clock;			     /* lock */
};

static const struct store_ops dir_ops;

static struct dir *dir_of(struct store *s)
{
	return container_of(s, struct dir, base);
}

/*
 * Functions called sys_ and those that say "silent" return a negative errno
 * as the system gave it, and no sentence: the retries decide on it first.
 */

static int sys_open(struct dir *d, int at, const char *path, int flags,
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

static int sys_fsync(int fd)
{
	while (fsync(fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Some network file systems have no fsync of a directory: nothing to wait
 * for. */
static int sys_fsync_folder(int fd)
{
	int r = sys_fsync(fd);

	return r == -EINVAL ? 0 : r;
}

/* A close that fails after writing may be the only word of a lost write. */
static int sys_close(int fd)
{
	if (close(fd) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

/* 0..len bytes, fewer only at the end of the file. */
static ssize_t sys_pread(int fd, void *buf, size_t len, uint64_t off)
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

static int sys_write(int fd, const struct store_piece *pieces, size_t npieces)
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

static int broken(struct dir *d)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	(void)held;
	return err_load(&d->cause);
}

/* Keeps the thread's sentence as the reason, if it is the first. */
static int break_off(struct dir *d, int code)
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

static void forget_folders(struct dir *d);

/*
 * After the silent failure err of a call that began when the root was of the
 * given generation: 1 if it is worth another try, 0 if the failure stands,
 * -ENXIO with its sentence if the store is not there.
 */
static int root_lost(struct dir *d, int err, unsigned generation)
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
	/* Here, not in break_off(): the lock is held. */
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
	forget_folders(d);
	atomic_fetch_add(&d->generation, 1);
	return 1;
}

/* What a failed call that names an object that is to be there means. */
static int say(struct dir *d, int err, const char *doing, const char *key)
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
	DROP(fd) int fd = sys_open(d, d->root, key, O_PATH, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? 0 : -ENOENT;
}

static int dir_stat(struct store *s, const char *key, uint64_t *size)
{
	struct dir *d = dir_of(s);
	struct stat st;

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int lost, r = dir_stat_once(d, key, &st);

		if (r == 0) {
			*size = (uint64_t)st.st_size;
			return 0;
		}
		lost = tries < TRIES_MAX ? root_lost(d, r, generation) : 0;
		if (lost < 0)
			return lost;
		if (!lost)
			return say(d, r, "look at", key);
	}
}

/* Silent but for a short file, whose size is in *size. */
static int dir_read_once(struct dir *d, const char *key, void *buf, size_t len,
			 uint64_t off, uint64_t *size)
{
	DROP(fd) int fd = sys_open(d, d->root, key, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = sys_pread(fd, buf, len, off);
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
		int lost, r = dir_read_once(d, key, buf, len, off, &size);

		if (r == 0)
			return 0;
		if (r > 0)
			return fail(-EIO,
				    "object %s is shorter than its index "
				    "says: %llu bytes",
				    key, (unsigned long long)size);
		lost = tries < TRIES_MAX ? root_lost(d, r, generation) : 0;
		if (lost < 0)
			return lost;
		if (!lost)
			return say(d, r, "read", key);
	}
}

/* Silent; on -EFBIG *size tells why. */
static int dir_get_once(struct dir *d, const char *key, size_t max,
			struct buf *out, uint64_t *size)
{
	DROP(fd) int fd = sys_open(d, d->root, key, O_RDONLY | O_NONBLOCK, 0);
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
	n = sys_pread(fd, room, (size_t)*size, 0);
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
		int lost, r = dir_get_once(d, key, max, out, &size);

		if (r == 0)
			return 0;
		if (r == -EFBIG)
			return fail(-EFBIG,
				    "object %s is of %llu bytes, more than it "
				    "may be",
				    key, (unsigned long long)size);
		lost = tries < TRIES_MAX ? root_lost(d, r, generation) : 0;
		if (lost < 0)
			return lost;
		if (!lost)
			return say(d, r, "read", key);
	}
}

/*
 * Folders.
 */

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

static void forget_folders(struct dir *d)
{
	for (size_t i = 0; i < FOLDERS_MAX; i++)
		if (d->folders[i])
			folder_drop(d, i);
}

static void folder_put(struct dir *d, struct folder *f)
{
	bool last;

	pthread_mutex_lock(&d->lock);
	last = --f->users == 0 && !f->kept;
	pthread_mutex_unlock(&d->lock);
	if (last)
		folder_free(f);
}

/* It was removed under us. */
static void folder_forget(struct dir *d, const struct folder *f)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	(void)held;
	for (size_t i = 0; i < FOLDERS_MAX; i++)
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
	DROP(fd) int at = sys_open(d, d->root, ".", flags, RESOLVE_NO_XDEV);

	if (at < 0 || !*path)
		return take_fd(&at);
	if (!d->base.durable_puts) {
		int fd = sys_open(d, at, path, flags, RESOLVE_NO_XDEV);

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
		r = d->base.durable_puts ? sys_fsync_folder(at) : 0;
		if (r < 0)
			return break_off(d, fail_errno(-r,
						       "cannot make folder "
						       "%s of %s durable",
						       name, d->path));
		fd = sys_open(d, at, name, flags, RESOLVE_NO_XDEV);
		if (fd < 0)
			return fd;
		close(at);
		at = fd;
	}
	return take_fd(&at);
}

static struct folder *find_folder(struct dir *d, const char *path, size_t len)
{
	for (size_t i = 0; i < FOLDERS_MAX; i++) {
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
	size_t oldest = FOLDERS_MAX;

	for (size_t i = 0; i < FOLDERS_MAX; i++) {
		if (!d->folders[i]) {
			oldest = i;
			break;
		}
		if (!d->folders[i]->users &&
		    (oldest == FOLDERS_MAX ||
		     d->folders[i]->used < d->folders[oldest]->used))
			oldest = i;
	}
	if (oldest == FOLDERS_MAX)
		return;
	if (d->folders[oldest])
		folder_drop(d, oldest);
	d->folders[oldest] = f;
	f->kept = true;
	f->used = ++d->clock;
}

/* The folder of the first len bytes of path, made if it is missing. Silent. */
static int folder_get(struct dir *d, const char *path, size_t len,
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

/*
 * Putting. The functions below are silent, except that they keep the cause when
 * they break off.
 */

static int sync_or_break(struct dir *d, int r, const char *key)
{
	if (r < 0)
		return break_off(d, fail_errno(-r,
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
			ssize_t got = sys_pread(fd, work, n, off);

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
	DROP(fd) int fd = sys_open(d, f->fd, leaf, O_RDONLY | O_NONBLOCK, 0);
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
		r = sync_or_break(d, sys_fsync(fd), key);
	if (r == 0 && d->base.durable_puts)
		r = sync_or_break(d, sys_fsync_folder(f->fd), key);
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

/* -EOPNOTSUPP: this file system or system has no such files. */
/* A hint, so that the medium works before the barrier; what fails is told
 * there. */
static void start_writing(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

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
	r = sys_write(fd, pieces, npieces);
	if (r < 0)
		return r;
	if (d->base.durable_puts || whole) {
		r = sync_or_break(d, sys_fsync(fd), key);
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
	return sync_or_break(d, sys_close(take_fd(&fd)), key);
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

	r = folder_get(d, TMP, strlen(TMP), &tmp);
	if (r < 0)
		return r;
	r = random_bytes(random, sizeof(random));
	if (r < 0) {
		folder_put(d, tmp);
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
			folder_forget(d, tmp);
		folder_put(d, tmp);
		return -err;
	}
	if (!atomic_load(&d->swept))
		sweep(d, tmp->fd, fd);
	r = sys_write(fd, pieces, npieces);
	if (r == 0 && (d->base.durable_puts || whole))
		r = sync_or_break(d, sys_fsync(fd), key);
	else if (r == 0)
		start_writing(fd);
	if (r == 0)
		r = sys_close(fd);
	else
		close(fd);
	if (r == 0)
		r = publish_named(d, tmp->fd, name, f->fd, leaf);
	if (r == 0)
		atomic_store(&d->wrote, true);
	else
		(void)unlinkat(tmp->fd, name, 0);
	folder_put(d, tmp);
	return r;
}

static int put_once(struct dir *d, const char *key,
		    const struct store_piece *pieces, size_t npieces,
		    bool whole)
{
	const char *slash = strrchr(key, '/');
	const char *leaf = slash ? slash + 1 : key;
	struct folder *f;
	int r = folder_get(d, key, slash ? (size_t)(slash - key) : 0, &f);

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
		r = sync_or_break(d, sys_fsync_folder(f->fd), key);
	else if (r == -EEXIST)
		r = settle(d, f, leaf, key, pieces, npieces, whole);
	/* Removed under us, which file systems tell in several ways. */
	if (r < 0 && (r == -ESTALE || folder_gone(f))) {
		folder_forget(d, f);
		r = -EAGAIN;
	}
	folder_put(d, f);
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
			return broken(d);
		r = put_once(d, key, pieces, npieces, whole);
		if (atomic_load(&d->broken))
			return broken(d);
		if (r == 0)
			return 0;
		/* -EAGAIN: a folder or the object was removed as we came. */
		if (tries == PUT_TRIES_MAX)
			return say_put(d, r, key);
		lost = root_lost(d, r == -EAGAIN ? -ENOENT : r, generation);
		if (lost < 0)
			return lost;
		if (!lost && r != -EAGAIN && r != -ENOENT)
			return say_put(d, r, key);
		pause_after(tries);
	}
}

static int dir_put(struct store *s, const char *key,
		   const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, false);
}

static int dir_put_whole(struct store *s, const char *key,
			 const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, true);
}

static int dir_barrier(struct store *s)
{
	struct dir *d = dir_of(s);
	struct stat st;
	int r;

	if (atomic_load(&d->broken))
		return broken(d);
	if (!d->writable || !atomic_load(&d->wrote))
		return 0;
	/* Also where each put is durable: what is built on may have been put
	 * by a writer that was killed before it synced the folder. */
	do
		r = syncfs(d->root);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return break_off(d, fail_errno(errno,
					       "cannot make what was "
					       "written to %s durable",
					       d->path));
	if (fstat(d->root, &st) < 0 || st.st_nlink == 0)
		return break_off(d, fail(-ENXIO, "vault store %s is not there",
					 d->path));
	return 0;
}

/*
 * Listing. In one directory, a folder sorts as its name with the '/', so
 * that what is under it comes where whole keys would: a-b < a.b < a/b < a0.
 * Only the names wanted next are kept: a heap, the greatest first.
 */

struct names {
	char **v;
	size_t count;
	size_t max;
};

static void drop_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->v[i]);
	free(n->v);
}

static void sift_up(struct names *n, size_t i)
{
	while (i && strcmp(n->v[i], n->v[(i - 1) / 2]) > 0) {
		char *t = n->v[i];

		n->v[i] = n->v[(i - 1) / 2];
		i = (i - 1) / 2;
		n->v[i] = t;
	}
}

static void sift_down(struct names *n)
{
	for (size_t i = 0, k; (k = 2 * i + 1) < n->count; i = k) {
		char *t = n->v[i];

		if (k + 1 < n->count && strcmp(n->v[k + 1], n->v[k]) > 0)
			k++;
		if (strcmp(n->v[k], t) <= 0)
			break;
		n->v[i] = n->v[k];
		n->v[k] = t;
	}
}

/* Takes name if it is among the max smallest. */
static void names_add(struct names *n, char *name)
{
	if (n->count < n->max) {
		n->v[n->count++] = name;
		sift_up(n, n->count - 1);
		return;
	}
	free(n->v[0]);
	n->v[0] = name;
	sift_down(n);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct walk {
	struct dir *d;
	size_t max;
	bool fold;
	struct store_list *out;
	char path[STORE_KEY_MAX + 1]; /* "" or ends in '/' */
	size_t len;
};

/* One position in one directory: names that start with begin and sort after
 * from. */
struct span {
	const char *begin;
	const char *from;
	bool into; /* the folder that from lies in is wanted too */
};

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static bool wanted(const struct span *at, const char *name)
{
	size_t len = strlen(name);

	return strcmp(name, at->from) > 0 ||
	       (at->into && name[len - 1] == '/' && starts(at->from, name));
}

/* 'f' file, 'd' directory, 0 neither. */
static char kind(int at, const struct dirent *e)
{
	struct stat st;

	if (e->d_type == DT_REG)
		return 'f';
	if (e->d_type == DT_DIR)
		return 'd';
	if (e->d_type != DT_UNKNOWN ||
	    fstatat(at, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : 0;
}

/* The next names of a directory, sorted; folders end in '/'. */
static int scan(struct walk *w, DIR *list, const struct span *at,
		struct names *out)
{
	struct dirent *e;

	out->v = malloc(out->max * sizeof(*out->v));
	if (!out->v)
		return -ENOMEM;
	rewinddir(list);
	for (;;) {
		char name[NAME_MAX + 2], *copy;
		size_t len;
		char what;

		errno = 0;
		e = readdir(list);
		if (!e && errno)
			return -errno;
		if (!e)
			break;
		len = strlen(e->d_name);
		if (!starts(e->d_name, at->begin) ||
		    !store_component_ok(e->d_name, len) ||
		    w->len + len > STORE_KEY_MAX ||
		    (!w->len && !strcmp(e->d_name, TMP)))
			continue;
		if (out->count == out->max && strcmp(e->d_name, out->v[0]) >= 0)
			continue;
		what = kind(dirfd(list), e);
		if (!what)
			continue;
		memcpy(name, e->d_name, len);
		if (what == 'd')
			name[len++] = '/';
		name[len] = '\0';
		if (!wanted(at, name) || w->len + len > STORE_KEY_MAX ||
		    (out->count == out->max && strcmp(name, out->v[0]) >= 0))
			continue;
		copy = strdup(name);
		if (!copy)
			return -ENOMEM;
		names_add(out, copy);
	}
	qsort(out->v, out->count, sizeof(*out->v), by_name);
	return 0;
}

static int walk_folder(struct walk *w, struct span at);

/* 1 when the page is full. */
static int walk_name(struct walk *w, int fd, const char *name,
		     const struct span *at)
{
	size_t len = strlen(name), before = w->len;
	bool folder = name[len - 1] == '/';
	struct stat st = { 0 };
	int r = 0;

	if (w->out->count == w->max) {
		w->out->more = true;
		return 1;
	}
	if (!folder) {
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		if (!S_ISREG(st.st_mode))
			return 0;
	}
	memcpy(w->path + w->len, name, len + 1);
	w->len += len;
	if (folder && !w->fold)
		r = walk_folder(w, (struct span){ "",
						  starts(at->from, name)
							  ? at->from + len
							  : "",
						  true });
	else if (store_list_add(w->out, w->path, w->len, (uint64_t)st.st_size) <
		 0)
		r = -ENOMEM;
	w->len = before;
	w->path[before] = '\0';
	/* A folder that went away meanwhile, or has become something else. */
	return folder && (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) ? 0 : r;
}

static void drop_dir(DIR **list)
{
	if (*list)
		closedir(*list);
}

/* The directory w->path, from a position in it on. Silent. */
static int walk_folder(struct walk *w, struct span at)
{
	DROP(dir) DIR *list = NULL;
	DROP(fd) int fd = -1;
	DROP(mem) char *from = NULL;

	if (w->len)
		w->path[w->len - 1] = '\0';
	fd = sys_open(w->d, w->d->root, w->len ? w->path : ".",
		      O_RDONLY | O_DIRECTORY, 0);
	if (w->len)
		w->path[w->len - 1] = '/';
	if (fd < 0)
		return fd;
	list = fdopendir(fd);
	if (!list)
		return -errno;
	take_fd(&fd);
	for (;;) {
		size_t want = w->max - w->out->count + 1;
		DROP(names)
		struct names n = {
			.max = max_u64(want, SCAN_MIN),
		};
		int r = scan(w, list, &at, &n);

		for (size_t i = 0; r == 0 && i < n.count; i++)
			r = walk_name(w, dirfd(list), n.v[i], &at);
		if (r != 0 || n.count < n.max)
			return r;
		free(from);
		from = take(n.v[n.count - 1]);
		n.count--;
		at.from = from;
		at.into = false;
	}
}

static int list_once(struct walk *w, const char *prefix, const char *after)
{
	const char *slash = strrchr(prefix, '/');
	size_t len = slash ? (size_t)(slash - prefix) + 1 : 0;
	struct span at = { prefix + len, "", !w->fold };
	struct stat st;
	int r;

	memcpy(w->path, prefix, len);
	w->path[len] = '\0';
	w->len = len;
	if (starts(after, w->path))
		at.from = after + len;
	else if (strcmp(after, w->path) > 0)
		return 0;
	if (starts(w->path, TMP "/"))
		return 0;
	r = walk_folder(w, at);
	if (r < 0)
		return r;
	/* A directory that was removed reads like an empty one. */
	if (fstat(w->d->root, &st) < 0)
		return -errno;
	return st.st_nlink ? 0 : -ENOENT;
}

static int dir_list(struct store *s, const char *prefix, const char *after,
		    size_t max, bool fold, struct store_list *out)
{
	struct dir *d = dir_of(s);
	struct walk w = { .d = d, .max = max, .fold = fold, .out = out };

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int lost, r = list_once(&w, prefix, after);

		if (r == 0)
			return 0;
		store_list_release(out);
		if (r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG)
			return 0;
		lost = tries < TRIES_MAX ? root_lost(d, r, generation) : 0;
		if (lost < 0)
			return lost;
		if (!lost && r == -ENOENT)
			return 0;
		if (!lost)
			return fail_errno(-r, "cannot list %s%s%s", d->path,
					  *prefix ? "/" : "", prefix);
	}
}

/*
 * Removing. Folders go with their last object, so that what was dropped
 * leaves nothing behind. A put that comes at that time makes them again.
 */

static int remove_once(struct dir *d, const char *key)
{
	const char *slash = strrchr(key, '/');
	char path[STORE_KEY_MAX + 1];
	const int flags = O_PATH | O_DIRECTORY;
	DROP(fd) int at = -1;
	struct stat st;
	char *cut;

	snprintf(path, sizeof(path), "%.*s", slash ? (int)(slash - key) : 1,
		 slash ? key : ".");
	at = sys_open(d, d->root, path, flags, 0);
	if (at < 0)
		return at;
	slash = slash ? slash + 1 : key;
	if (fstatat(at, slash, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	if (unlinkat(at, slash, 0) < 0)
		return -errno;
	while (slash != key) {
		close(take_fd(&at));
		cut = strrchr(path, '/');
		slash = cut ? cut + 1 : path;
		if (cut)
			*cut = '\0';
		at = sys_open(d, d->root, cut ? path : ".", flags, 0);
		if (at < 0 || unlinkat(at, slash, AT_REMOVEDIR) < 0 || !cut)
			break;
	}
	return 0;
}

static int dir_remove(struct store *s, const char *key)
{
	struct dir *d = dir_of(s);

	if (!d->writable)
		return fail(-EROFS, "%s was opened for reading only", d->path);
	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int lost, r = remove_once(d, key);

		if (r == 0)
			return 0;
		lost = tries < TRIES_MAX ? root_lost(d, r, generation) : 0;
		if (lost < 0)
			return lost;
		if (!lost)
			return say(d, r, "remove", key);
	}
}

static void dir_close(struct store *s)
{
	struct dir *d = dir_of(s);

	forget_folders(d);
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
	return sys_fsync_folder(up);
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
