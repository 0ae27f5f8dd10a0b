// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A file NAME is written as .NAME.vaultfs-partial, and gets its name when it is
 * complete and durable. .NAME.vaultfs-progress says what it is of and how far
 * it is. The partial file is locked while it is written, so that two restores
 * cannot share it.
 *
 *	written -> fsync -> journal says "all of it" -> rename -> fsync of the directory
 *
 * The journal stays until every disk of the command is there: a file that has
 * its name and such a journal was completed by an earlier run, and is still that
 * if its inode, size and time are those in the journal's mark.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "tools/vaultctl/restore.h"

/* A file name of at most 255 bytes. */
#define NAME_SIZE 256

struct file_target {
	const char *path;
	int dirfd;
	char name[NAME_SIZE], partial[NAME_SIZE], progress[NAME_SIZE];
	int fd; /* the partial file */
	struct journal journal;
};

static void drop_file_target(struct file_target *t)
{
	drop_fd(&t->fd);
	drop_fd(&t->dirfd);
}

static int set_name(char out[static NAME_SIZE], const char *path,
		    const char *fmt, const char *base)
{
	int n;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	n = snprintf(out, NAME_SIZE, fmt, base);
#pragma GCC diagnostic pop
	if (n < 0 || n >= NAME_SIZE)
		return fail(-ENAMETOOLONG, "%s: its name is too long", path);
	return 0;
}

static int open_dir(struct file_target *t, const char *path)
{
	DROP(mem) char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	const char *base = slash ? path + (slash - dir) + 1 : path;
	int r;

	if (!dir)
		return fail(-ENOMEM, "out of memory");
	if (!*base)
		return fail(-EINVAL, "%s: it names no file", path);
	r = set_name(t->name, path, "%s", base);
	if (r == 0)
		r = set_name(t->partial, path, ".%s.vaultfs-partial", base);
	if (r == 0)
		r = set_name(t->progress, path, ".%s.vaultfs-progress", base);
	if (r < 0)
		return r;
	if (slash)
		slash[slash == dir] = '\0';
	t->path = path;
	t->dirfd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dirfd < 0)
		return fail_errno(errno, "%s", slash ? dir : ".");
	return 0;
}

static bool exists(const struct file_target *t, const char *name)
{
	struct stat st;

	return fstatat(t->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int exists_already(const struct file_target *t)
{
	return fail(-EEXIST, "%s: it is there already (--force replaces it)",
		    t->path);
}

static int open_partial(struct file_target *t)
{
	t->fd = openat(t->dirfd, t->partial,
		       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (t->fd < 0)
		return fail_errno(errno, "%s", t->path);
	if (flock(t->fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return fail(-EBUSY, "%s: another restore is writing it",
				    t->path);
		return fail_errno(errno, "%s", t->path);
	}
	return 0;
}

/* Where to go on; 0: from the start, with an empty file of the right size. */
static int find_start(struct file_target *t, const struct restore_disk *d,
		      const struct restore_options *o, uint64_t *from)
{
	uint64_t size = source_size(d->image);
	bool other = false;
	struct stat st;

	*from = o->resume ? journal_read(&t->journal, &other) : 0;
	if (other)
		log_warn("%s: what is there is of another point: from the "
			 "start",
			 t->path);
	if (fstat(t->fd, &st) < 0)
		return fail_errno(errno, "%s", t->path);
	if (*from && (uint64_t)st.st_size == size && *from <= size)
		return 0;
	*from = 0;
	journal_remove(&t->journal);
	if (ftruncate(t->fd, 0) < 0 || ftruncate(t->fd, (off_t)size) < 0)
		return fail_errno(errno, "%s: making it %" PRIu64 " bytes long",
				  t->path, size);
	return 0;
}

/* Only a warning: a file system that compresses may take it all the same. */
static void check_room(const struct file_target *t,
		       const struct restore_disk *d)
{
	char need[SIZE_TEXT_SIZE], have[SIZE_TEXT_SIZE];
	struct statvfs fs;
	struct stat st;
	uint64_t room;

	if (fstatvfs(t->fd, &fs) < 0 || fstat(t->fd, &st) < 0)
		return;
	room = (uint64_t)fs.f_bavail * fs.f_frsize +
	       (uint64_t)st.st_blocks * 512;
	if (room >= d->data_bytes)
		return;
	size_text(d->data_bytes, need);
	size_text(room, have);
	log_warn("%s: %s are to be written, and only %s are free", t->path,
		 need, have);
}

static int sync_dir(const struct file_target *t)
{
	if (fsync(t->dirfd) < 0 && errno != EINVAL)
		return fail_errno(errno, "%s: its directory", t->path);
	return 0;
}

/* Some network file systems have no RENAME_NOREPLACE; all have link(). */
static int rename_new(const struct file_target *t)
{
	if (renameat2(t->dirfd, t->partial, t->dirfd, t->name,
		      RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
		if (linkat(t->dirfd, t->partial, t->dirfd, t->name, 0) == 0) {
			(void)unlinkat(t->dirfd, t->partial, 0);
			return 0;
		}
	}
	return errno == EEXIST ? exists_already(t)
			       : fail_errno(errno, "%s", t->path);
}

static int set_mark(struct file_target *t, int fd, const char *name,
		    char mark[static JOURNAL_MARK_SIZE])
{
	struct stat st;
	int r = name ? fstatat(t->dirfd, name, &st, AT_SYMLINK_NOFOLLOW)
		     : fstat(fd, &st);

	if (r < 0)
		return fail_errno(errno, "%s", t->path);
	snprintf(mark, JOURNAL_MARK_SIZE, "%ju:%jd:%jd.%09ld",
		 (uintmax_t)st.st_ino, (intmax_t)st.st_size,
		 (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return 0;
}

static int publish(struct file_target *t, const struct restore_disk *d,
		   bool force)
{
	int r = 0;

	if (fsync(t->fd) < 0)
		return fail_errno(errno, "%s: making it durable", t->path);
	r = set_mark(t, t->fd, NULL, t->journal.mark);
	if (r < 0)
		return r;
	journal_write(&t->journal, source_size(d->image));
	if (!force)
		r = rename_new(t);
	else if (renameat(t->dirfd, t->partial, t->dirfd, t->name) < 0)
		r = fail_errno(errno, "%s", t->path);
	return r < 0 ? r : sync_dir(t);
}

static int reached(void *ctx, uint64_t done)
{
	return flusher_reached(ctx, done);
}

static int copy(struct file_target *t, struct restore_disk *d,
		const struct restore_options *o, uint64_t from)
{
	DROP(flusher) struct flusher *f = NULL;
	struct copy c = {
		.src = d->image,
		.fd = t->fd,
		.path = t->path,
		.off = from,
		.end = source_size(d->image),
		.reached = reached,
		.o = o,
	};
	int r = flusher_new(t->fd, t->path, &t->journal, &f);

	if (r < 0)
		return r;
	c.ctx = f;
	r = restore_copy(&c);
	d->written = c.written;
	d->resumed_from = from;
	return r < 0 ? r : flusher_stop(f);
}

/* 1: an earlier run has completed it, and was ended before the other disks
 * were. */
static int done_before(struct file_target *t, const struct restore_disk *d,
		       const struct restore_options *o)
{
	char now[JOURNAL_MARK_SIZE];
	bool other, same;
	int r;

	if (!o->resume || !exists(t, t->name) || exists(t, t->partial) ||
	    journal_read(&t->journal, &other) != source_size(d->image))
		return 0;
	r = set_mark(t, -1, t->name, now);
	if (r < 0)
		return r;
	same = !strcmp(now, t->journal.mark);
	t->journal.mark[0] = '\0';
	if (!same && !o->force)
		return fail(-EEXIST,
			    "%s was changed since it was restored; remove it "
			    "or use --force",
			    t->path);
	return same;
}

int restore_to_file(struct restore_disk *d, const struct restore_options *o)
{
	DROP(file_target) struct file_target t = { .dirfd = -1, .fd = -1 };
	uint64_t from = 0;
	int r = open_dir(&t, d->to);

	if (r < 0)
		return r;
	t.journal = (struct journal){ t.dirfd, t.progress, d->identity, "" };
	r = done_before(&t, d, o);
	if (r < 0)
		return r;
	if (r) {
		d->was_done = true;
		return 0;
	}
	if (!o->force && exists(&t, t.name))
		return exists_already(&t);
	r = open_partial(&t);
	if (r == 0)
		r = find_start(&t, d, o, &from);
	if (r < 0)
		return r;
	check_room(&t, d);
	r = copy(&t, d, o, from);
	if (r == -ECANCELED || r == -ENOSPC)
		return fail(r,
			    "%s: %s (what is there is kept: --resume goes "
			    "on from it)",
			    d->to, err_text(r));
	return r < 0 ? r : publish(&t, d, o->force);
}

void restore_file_settle(const char *to)
{
	DROP(file_target) struct file_target t = { .dirfd = -1, .fd = -1 };

	if (open_dir(&t, to) < 0)
		return;
	t.journal = (struct journal){ t.dirfd, t.progress, "", "" };
	journal_remove(&t.journal);
}
