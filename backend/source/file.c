// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A regular file or a block device as a source.
 *
 * Threads share one descriptor. That is fine for pread, which has no position,
 * and for lseek(SEEK_DATA, SEEK_HOLE) too: it answers from its argument alone,
 * and the position it leaves behind is used by nobody.
 */
#include "backend/source/source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"

/* posix_fadvise() queues its reads before it returns; a hint must not block. */
#define PREFETCH_MAX (16u << 20)

_Static_assert(sizeof(off_t) == 8, "needs -D_FILE_OFFSET_BITS=64");

struct file {
	struct source base;
	char *path;
	int fd;
	bool device;
	/* As they were at opening. */
	struct timespec mtime, ctime;

	/* The last run of data that was found. tmpfs looks at every page up to
	 * the hole it is asked for: to ask for each chunk of a dense image anew
	 * would take the square of its size. That a hole was made in it since
	 * changes no byte that is read. */
	pthread_mutex_t lock; /* of the two below; not held across I/O */
	uint64_t data_start, data_end;
};

static const struct source_ops file_ops;

static void file_close(struct source *s)
{
	struct file *f = container_of(s, struct file, base);

	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void drop_file(struct file **f)
{
	if (*f)
		file_close(&(*f)->base);
}

/* Nothing else is opened: a fifo would block, a character device may act. */
static int check_kind(const char *path, mode_t mode)
{
	const char *kind = "no file";

	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	if (S_ISDIR(mode))
		return fail(-EISDIR, "%s: it is a directory, not a disk image",
			    path);
	if (S_ISFIFO(mode))
		kind = "a pipe";
	else if (S_ISSOCK(mode))
		kind = "a socket";
	else if (S_ISCHR(mode))
		kind = "a character device";
	return fail(-EINVAL,
		    "%s: it is %s, not a regular file or a block device", path,
		    kind);
}

static int size_now(const struct file *f, uint64_t *size)
{
	struct stat st;
	uint64_t n;

	if (f->device) {
		if (ioctl(f->fd, BLKGETSIZE64, &n) < 0)
			return fail_errno(errno, "%s: its size", f->path);
		*size = n;
		return 0;
	}
	if (fstat(f->fd, &st) < 0)
		return fail_errno(errno, "%s: its size", f->path);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int shrank(const struct file *f)
{
	uint64_t now;
	int r = size_now(f, &now);

	if (r < 0)
		return r;
	return fail(-EIO,
		    "%s: it shrank while it was read (%" PRIu64
		    " bytes at opening, %" PRIu64 " now)",
		    f->path, f->base.size, now);
}

static int file_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct file *f = container_of(s, struct file, base);
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pread(f->fd, p, len, (off_t)off);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return fail_errno(errno,
					  "%s: reading %zu bytes at %" PRIu64,
					  f->path, len, off);
		}
		if (n == 0)
			return shrank(f);
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

/* lseek() says ENXIO where there is no data up to the end, and where off is
 * past the end. The latter is what was cut off since the opening, and no
 * hole. */
static int no_data(const struct file *f, uint64_t max, struct extent *out)
{
	uint64_t now;
	int r = size_now(f, &now);

	if (r < 0)
		return r;
	if (now < f->base.size)
		return shrank(f);
	*out = (struct extent){ .length = max, .hole = true };
	return 0;
}

static uint64_t known_data(struct file *f, uint64_t off)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->lock);

	(void)held;
	return off >= f->data_start && off < f->data_end ? f->data_end - off
							 : 0;
}

static void learn_data(struct file *f, uint64_t off, uint64_t end)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->lock);

	(void)held;
	f->data_start = off;
	f->data_end = end;
}

static int file_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	struct file *f = container_of(s, struct file, base);
	uint64_t known;
	off_t at, end;

	*out = (struct extent){ .length = max };
	if (f->device)
		return 0;
	known = known_data(f, off);
	if (known) {
		out->length = known;
		return 0;
	}
	at = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (at < 0) {
		if (errno == ENXIO)
			return no_data(f, max, out);
		if (errno == EINVAL || errno == EOPNOTSUPP)
			return 0; /* a file system without it */
		return fail_errno(errno, "%s: looking for holes", f->path);
	}
	if ((uint64_t)at > off) {
		*out = (struct extent){ .length = (uint64_t)at - off,
					.hole = true };
		return 0;
	}
	/* Whatever it cannot say is data. */
	end = lseek(f->fd, (off_t)off, SEEK_HOLE);
	if (end > at) {
		out->length = (uint64_t)(end - at);
		learn_data(f, (uint64_t)at, (uint64_t)end);
	}
	return 0;
}

static void file_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct file *f = container_of(s, struct file, base);

	(void)posix_fadvise(f->fd, (off_t)off,
			    (off_t)min_u64(len, PREFETCH_MAX),
			    POSIX_FADV_WILLNEED);
}

int source_open_file(const char *path, struct source **ret)
{
	DROP(file) struct file *f = NULL;
	struct stat st;
	uint64_t size;
	int r;

	if (stat(path, &st) < 0)
		return fail_errno(errno, "%s", path);
	r = check_kind(path, st.st_mode);
	if (r < 0)
		return r;

	f = calloc(1, sizeof(*f));
	if (!f)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&f->lock, NULL);
	f->fd = -1;
	f->path = strdup(path);
	if (!f->path)
		return fail(-ENOMEM, "out of memory");
	/* Not blocking: it may have become a fifo just now. Regular files and
	 * block devices do not care. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0)
		return fail_errno(errno, "%s", path);
	if (fstat(f->fd, &st) < 0)
		return fail_errno(errno, "%s", path);
	r = check_kind(path, st.st_mode);
	if (r < 0)
		return r;
	f->device = S_ISBLK(st.st_mode);
	f->mtime = st.st_mtim;
	f->ctime = st.st_ctim;
	r = size_now(f, &size);
	if (r < 0)
		return r;
	(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	source_init(&f->base, &file_ops, size);
	*ret = &take(f)->base;
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

int source_file_unchanged(struct source *s)
{
	struct file *f = container_of(s, struct file, base);
	struct stat st;

	assert(s->ops == &file_ops);
	if (f->device)
		return 0;
	if (fstat(f->fd, &st) < 0)
		return fail_errno(errno, "%s", f->path);
	if ((uint64_t)st.st_size != s->size)
		return fail(-ESTALE,
			    "%s: it changed while it was read (%" PRIu64
			    " bytes at opening, %" PRIu64 " now)",
			    f->path, s->size, (uint64_t)st.st_size);
	if (!same_time(&st.st_mtim, &f->mtime) ||
	    !same_time(&st.st_ctim, &f->ctime))
		return fail(-ESTALE, "%s: it was written to while it was read",
			    f->path);
	return 0;
}

static const struct source_ops file_ops = {
	.name = "file",
	.read = file_read,
	.extent = file_extent,
	.prefetch = file_prefetch,
	.close = file_close,
};
