// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Each request fetches what it is about from the tree and replies exactly once.
 *
 * Why a second read makes no request: files that are fixed (fs/tree.h) are
 * opened with keep_cache, their attributes are valid for days, and the kernel
 * is not asked to compare times (AUTO_INVAL_DATA), so that their pages stay.
 * Files that are not fixed are read with direct_io, past the page cache: what a
 * program reads is one text, as it was at open, whatever size the kernel
 * believes it has.
 *
 * Sequential reads: the kernel reads ahead (FS_READ_AHEAD) in requests of up to
 * 1 MiB, several at a time, and libfuse's threads verify them side by side.
 */
#include "fs/fuse_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define LIST_MAX ((size_t)1 << 20)
#define XATTR_MAX ((size_t)64 << 10)
#define BACKGROUND_MAX 64
#define BLOCK_SIZE (64 << 10)

static const char *const request_names[] = {
#define X(name) #name,
	REQUESTS(X)
#undef X
};

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void count(struct fs *fs, enum request what, uint64_t n)
{
	atomic_fetch_add_explicit(&fs->counts[what], n, memory_order_relaxed);
}

/* --- failures --- */

/* What a program is told. Codes that have a meaning of ours, or would mislead,
 * become EIO; the log has the sentence. */
static int errno_for(int r)
{
	switch (-r) {
	case EACCES:
	case EINVAL:
	case EISDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ENODATA:
	case ENOENT:
	case ENOMEM:
	case ENOTDIR:
	case EOPNOTSUPP:
	case EROFS:
	case ERANGE:
	case ESTALE:
		return -r;
	case ECANCELED:
	case EINTR:
		return EINTR;
	default:
		return EIO;
	}
}

/* A point that was dropped is no trouble of ours. */
static void log_failure(struct fs *fs, fuse_ino_t ino, int r, const char *text)
{
	char path[600];
	uint64_t held_back;

	if (!quiet_pass(fs->quiet, ino, text, monotonic_ns(), &held_back))
		return;
	tree_path(fs->tree, ino, path, sizeof(path));
	if (r == -ESTALE)
		log_info("%s: %s", path, text);
	else if (held_back)
		log_error("%s: %s (and %" PRIu64 " other messages held back)",
			  path, text, held_back);
	else
		log_error("%s: %s", path, text);
}

/* Of a name or node: that it is not there is an answer, no failure. */
static void reply_failed(fuse_req_t req, fuse_ino_t ino, int r)
{
	struct fs *fs = fs_of(req);
	char text[ERR_MAX];

	if (r == -ECANCELED || r == -EINTR) {
		count(fs, REQ_interrupted, 1);
	} else if (r != -ENOENT && r != -ENODATA && r != -ERANGE &&
		   r != -ENAMETOOLONG) {
		snprintf(text, sizeof(text), "%s", err_text(r));
		count(fs, REQ_failed, 1);
		log_failure(fs, ino, r, text);
	}
	fuse_reply_err(req, errno_for(r));
}

/* Of the content of what is there: nothing but EIO, since ENOENT (of an object
 * of the vault) would be taken for something else. */
static void reply_unreadable(fuse_req_t req, fuse_ino_t ino, int r)
{
	switch (-r) {
	case ENOENT:
	case ENXIO:
	case ESTALE:
	case EINVAL:
	case ENODATA:
	case ERANGE:
	case ENAMETOOLONG: {
		char text[ERR_MAX];

		snprintf(text, sizeof(text), "%s", err_text(r));
		r = fail(-EIO, "%s", text);
	}
	}
	reply_failed(req, ino, r);
}

static void reply_refused(fuse_req_t req)
{
	count(fs_of(req), REQ_refused, 1);
	fuse_reply_err(req, EROFS);
}

/* --- a store that does not answer --- */

#define WAIT_POLL_NS 100000000L
#define WAIT_TRY_NS (UINT64_C(1) * 1000000000)

/* One request, which may take long:
 *
 *	DROP(patience) struct patience p = patience_of(req, ino);
 *	do {
 *		r = ...;
 *	} while (once_more(&p, r));
 *
 * Whatever waits for the store in the meantime asks whether it is still wanted.
 */
struct patience {
	struct fs *fs;
	fuse_req_t req;
	fuse_ino_t ino;
	uint64_t began_ns;
	bool waited;
	struct cancel before;
};

static bool unwanted(void *ctx)
{
	fuse_req_t req = ctx;

	return fuse_req_interrupted(req) || fuse_session_exited(fs_of(req)->se);
}

static struct patience patience_of(fuse_req_t req, fuse_ino_t ino)
{
	return (struct patience){
		.fs = fs_of(req),
		.req = req,
		.ino = ino,
		.began_ns = monotonic_ns(),
		.before = cancel_set((struct cancel){ unwanted, req }),
	};
}

static void drop_patience(struct patience *p)
{
	cancel_set(p->before);
	/* The request itself is answered, and gone. */
	if (p->waited)
		atomic_fetch_sub(&p->fs->waiting, 1);
}

/* Whether there is room for one more that waits: else all threads would, and nobody
 * would hear that one of them is not wanted any more. */
static bool may_wait(struct patience *p)
{
	if (p->waited || atomic_fetch_add(&p->fs->waiting, 1) < FS_WAITING_MAX)
		return true;
	atomic_fetch_sub(&p->fs->waiting, 1);
	return false;
}

static bool once_more(struct patience *p, int r)
{
	struct fs *fs = p->fs;
	const struct timespec poll = { 0, WAIT_POLL_NS };
	struct err_saved why;
	uint64_t now = monotonic_ns(), until = now + WAIT_TRY_NS;

	if (!err_is_away(r) || !fs->wait_ms || unwanted(p->req) ||
	    (now - p->began_ns) / 1000000 >= fs->wait_ms || !may_wait(p))
		return false;
	err_save(r, &why);
	if (!p->waited) {
		count(fs, REQ_waited, 1);
		log_failure(fs, p->ino, r, why.text);
	}
	p->waited = true;
	while (monotonic_ns() < until && !unwanted(p->req))
		nanosleep(&poll, NULL);
	/* Not the last try: who was interrupted hears it from that. */
	(void)err_load(&why);
	return !unwanted(p->req);
}

/* --- attributes --- */

static double seconds(uint32_t ms)
{
	return ms / 1000.0;
}

static struct timespec timespec_of(int64_t ns)
{
	int64_t rest = ns % 1000000000;

	if (rest < 0)
		rest += 1000000000;
	return (struct timespec){ .tv_sec = (ns - rest) / 1000000000,
				  .tv_nsec = rest };
}

static mode_t mode_of(const struct fs *fs, const struct entry_attr *a)
{
	mode_t mask = ~fs->umask &
		      (a->owner_only ? fs->shared ? 0770 : 0700 : 0777);

	switch (a->kind) {
	case ENTRY_DIR:
		return S_IFDIR | ((a->owner_only ? 0750 : 0555) & mask);
	case ENTRY_FILE:
		return S_IFREG | (0444 & mask);
	case ENTRY_LINK:
		break;
	}
	return S_IFLNK | 0777;
}

static struct stat stat_of(const struct fs *fs, const struct tree_entry *e)
{
	struct timespec time = timespec_of(e->attr.mtime_ns);

	return (struct stat){
		.st_ino = e->ino,
		.st_mode = mode_of(fs, &e->attr),
		.st_nlink = e->attr.nlink ? e->attr.nlink : 1,
		.st_uid = e->attr.owner_only ? fs->owner : fs->uid,
		.st_gid = e->attr.owner_only ? fs->owner_gid : fs->gid,
		.st_size = (off_t)e->attr.size,
		.st_blocks = (blkcnt_t)e->attr.blocks,
		.st_blksize = BLOCK_SIZE,
		.st_atim = time,
		.st_mtim = time,
		.st_ctim = time,
	};
}

static struct fuse_entry_param param_of(const struct fs *fs,
					const struct tree_entry *e)
{
	return (struct fuse_entry_param){
		.ino = e->id,
		.attr = stat_of(fs, e),
		.attr_timeout = seconds(e->attr.valid_ms),
		.entry_timeout = seconds(e->attr.valid_ms),
	};
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	DROP(patience) struct patience patience = patience_of(req, parent);
	struct fs *fs = fs_of(req);
	struct fuse_entry_param p;
	struct tree_entry e;
	int r;

	count(fs, REQ_lookup, 1);
	do {
		r = tree_lookup(fs->tree, parent, name, &e);
	} while (once_more(&patience, r));
	if (r) {
		reply_failed(req, parent, r);
		return;
	}
	p = param_of(fs, &e);
	/* The kernel did not hear of it, so it will not forget it. */
	if (fuse_reply_entry(req, &p))
		tree_forget(fs->tree, e.id, 1);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct fs *fs = fs_of(req);

	count(fs, REQ_forget, 1);
	tree_forget(fs->tree, ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t n,
			    struct fuse_forget_data *forgets)
{
	struct fs *fs = fs_of(req);

	count(fs, REQ_forget, n);
	for (size_t i = 0; i < n; i++)
		tree_forget(fs->tree, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	struct tree_entry e;
	struct stat st;
	int r;

	count(fs, REQ_getattr, 1);
	do {
		r = tree_attr(fs->tree, ino, &e);
	} while (once_more(&patience, r));
	if (r) {
		reply_failed(req, ino, r);
		return;
	}
	st = stat_of(fs, &e);
	fuse_reply_attr(req, &st, seconds(e.attr.valid_ms));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	char target[4096];
	int r;

	count(fs, REQ_readlink, 1);
	do {
		r = tree_readlink(fs->tree, ino, target, sizeof(target));
	} while (once_more(&patience, r));
	if (r)
		reply_failed(req, ino, r);
	else
		fuse_reply_readlink(req, target);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	count(fs_of(req), REQ_access, 1);
	fuse_reply_err(req, mask & W_OK ? EROFS : 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = BLOCK_SIZE,
		.f_frsize = 512,
		.f_flag = ST_RDONLY,
		.f_namemax = TREE_NAME_MAX,
	};

	count(fs_of(req), REQ_statfs, 1);
	fuse_reply_statfs(req, &st);
}

/* --- directories --- */

static struct tree_dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct tree_dir *)(uintptr_t)fi->fh;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	struct tree_dir *d;
	int r;

	count(fs, REQ_opendir, 1);
	do {
		r = tree_dir_open(fs->tree, ino, &d);
	} while (once_more(&patience, r));
	if (r) {
		reply_failed(req, ino, r);
		return;
	}
	fi->fh = (uintptr_t)d;
	fi->cache_readdir = fi->keep_cache = tree_dir_fixed(d);
	if (fuse_reply_open(req, fi))
		tree_dir_close(d);
}

/* A reply to readdir as it grows. */
struct listing {
	fuse_req_t req;
	struct tree_dir *dir;
	bool plus;
	char *buf;
	size_t size, used;
	int error;
	/* Nodes that the reply tells the kernel of: it forgets them, if it hears
	 * of them. */
	uint64_t *told;
	size_t ntold, told_cap;
};

/* Room for one more in l->told. */
static bool told_room(struct listing *l)
{
	size_t cap = l->told_cap ? 2 * l->told_cap : 64;
	uint64_t *more;

	if (l->ntold < l->told_cap)
		return true;
	more = reallocarray(l->told, cap, sizeof(*more));
	if (!more)
		return false;
	l->told = more;
	l->told_cap = cap;
	return true;
}

static int list_plain(struct listing *l, const char *name,
		      const struct tree_entry *e, uint64_t cookie)
{
	struct stat st = stat_of(fs_of(l->req), e);
	size_t n;

	n = fuse_add_direntry(l->req, l->buf + l->used, l->size - l->used, name,
			      &st, (off_t)cookie);
	if (n > l->size - l->used)
		return 1;
	l->used += n;
	return 0;
}

/* "." and ".." are no lookups: their number is 0. */
static int list_plus(struct listing *l, const char *name,
		     const struct tree_entry *e, uint64_t cookie)
{
	struct fs *fs = fs_of(l->req);
	struct tree_entry known = *e;
	struct fuse_entry_param p;
	int r;

	if (fuse_add_direntry_plus(l->req, NULL, 0, name, NULL, 0) >
	    l->size - l->used)
		return 1;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
		r = told_room(l) ? tree_dir_adopt(l->dir, name, &known)
				 : fail(-ENOMEM, "no memory for a listing");
		if (r == -ENOENT)
			return 0;
		if (r) {
			l->error = r;
			return 1;
		}
		l->told[l->ntold++] = known.id;
	}
	p = param_of(fs, &known);
	l->used += fuse_add_direntry_plus(l->req, l->buf + l->used,
					  l->size - l->used, name, &p,
					  (off_t)cookie);
	return 0;
}

static int list_one(void *ctx, const char *name, const struct tree_entry *e,
		    uint64_t cookie)
{
	struct listing *l = ctx;

	return l->plus ? list_plus(l, name, e, cookie)
		       : list_plain(l, name, e, cookie);
}

static void list_reply(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi, bool plus)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	size_t room = min_u64(size, LIST_MAX);
	DROP(mem) char *buf = malloc(room ? room : 1);
	struct listing l = {
		.req = req,
		.dir = dir_of(fi),
		.plus = plus,
		.buf = buf,
		.size = room,
	};
	int r;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	do {
		l.error = 0;
		r = tree_dir_list(l.dir, (uint64_t)off, list_one, &l);
		if (!r)
			r = l.error;
	} while (!l.used && once_more(&patience, r));
	/* What was collected is delivered; the failure comes with the next
	 * call. */
	if (r && !l.used)
		reply_failed(req, ino, r);
	else if (fuse_reply_buf(req, buf, l.used))
		for (size_t i = 0; i < l.ntold; i++)
			tree_forget(fs->tree, l.told[i], 1);
	free(l.told);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	count(fs_of(req), REQ_readdir, 1);
	list_reply(req, ino, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	count(fs_of(req), REQ_readdirplus, 1);
	list_reply(req, ino, size, off, fi, true);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	count(fs_of(req), REQ_releasedir, 1);
	tree_dir_close(dir_of(fi));
	fuse_reply_err(req, 0);
}

/* --- files --- */

static struct tree_file *file_of(const struct fuse_file_info *fi)
{
	return (struct tree_file *)(uintptr_t)fi->fh;
}

/* A plain O_DIRECT read is one that the kernel cuts into requests which it sends
 * side by side (FUSE_CAP_ASYNC_DIO), and whose end it awaits unkillably: with
 * --offline=wait that may be for ever. Of a file with direct_io it sends one at a
 * time, and the reader can be interrupted; those of AIO and io_uring still go side by
 * side. */
static bool is_direct_and_waits(const struct fs *fs,
				const struct fuse_file_info *fi)
{
	return fs->wait_ms && fi->flags & O_DIRECT;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	struct tree_file *f;
	int r;

	count(fs, REQ_open, 1);
	if ((fi->flags & O_ACCMODE) != O_RDONLY ||
	    fi->flags & (O_TRUNC | O_APPEND)) {
		reply_refused(req);
		return;
	}
	if (fuse_req_interrupted(req)) {
		reply_failed(req, ino, -EINTR);
		return;
	}
	do {
		r = tree_file_open(fs->tree, ino, &f);
	} while (once_more(&patience, r));
	if (r == -ESTALE) {
		/* Makes the kernel look the path up again. */
		reply_failed(req, ino, r);
		return;
	}
	if (r) {
		reply_unreadable(req, ino, r);
		return;
	}
	fi->fh = (uintptr_t)f;
	fi->keep_cache = tree_file_fixed(f);
	fi->direct_io = (!tree_file_fixed(f) && !tree_file_dropped(f)) ||
			is_direct_and_waits(fs, fi);
	if (fuse_reply_open(req, fi))
		tree_file_close(f);
}

/* The thread's own, for as long as it lives. */
static void *read_buffer(struct fs *fs)
{
	void *buf = pthread_getspecific(fs->buffers);

	if (buf)
		return buf;
	buf = aligned_alloc(4096, FS_READ_MAX);
	if (buf && pthread_setspecific(fs->buffers, buf)) {
		free(buf);
		return NULL;
	}
	return buf;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	struct source *src = tree_file_source(file_of(fi));
	uint64_t end = source_size(src), from = (uint64_t)off;
	size_t n = from < end ? min_u64(size, end - from) : 0;
	void *buf = read_buffer(fs);
	int r;

	count(fs, REQ_read, 1);
	if (fuse_req_interrupted(req)) {
		reply_failed(req, ino, -EINTR);
		return;
	}
	if (!n) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	/* The mount says max_read; a short reply would be taken for the end. */
	if (n > FS_READ_MAX) {
		reply_failed(req, ino,
			     fail(-EINVAL, "a read of %zu bytes at once", n));
		return;
	}
	do {
		r = source_read(src, buf, n, from);
	} while (once_more(&patience, r));
	if (r) {
		reply_unreadable(req, ino, r);
		return;
	}
	count(fs, REQ_read_bytes, n);
	fuse_reply_buf(req, buf, n);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	uint64_t drop;

	count(fs, REQ_release, 1);
	drop = tree_file_close_last(file_of(fi));
	fuse_reply_err(req, 0);
	if (!drop)
		return;
	/* Should it be opened again by now, it only loses what was read ahead. */
	count(fs, REQ_dropped, 1);
	fuse_lowlevel_notify_inval_inode(fs->se, drop, 0, 0);
}

/* The first byte at or after off that is data, or hole; the end counts as a
 * hole. 1 when there is no more data. */
static int seek(fuse_req_t req, struct source *src, uint64_t off, bool hole,
		uint64_t *ret)
{
	uint64_t end = source_size(src);
	struct extent e;
	int r;

	while (off < end) {
		if (fuse_req_interrupted(req))
			return -EINTR;
		r = source_extent(src, off, end - off, &e);
		if (r)
			return r;
		if (e.hole == hole)
			break;
		off += e.length;
	}
	if (off >= end && !hole)
		return 1;
	*ret = off;
	return 0;
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct source *src = tree_file_source(file_of(fi));
	uint64_t at = 0;
	int r;

	count(fs_of(req), REQ_lseek, 1);
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (off < 0 || (uint64_t)off >= source_size(src)) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	do {
		r = seek(req, src, (uint64_t)off, whence == SEEK_HOLE, &at);
	} while (once_more(&patience, r));
	if (r > 0)
		fuse_reply_err(req, ENXIO);
	else if (r)
		reply_unreadable(req, ino, r);
	else
		fuse_reply_lseek(req, (off_t)at);
}

/* --- extended attributes --- */

static void stats_text(struct fs *fs, struct buf *out)
{
	for (size_t i = 0; i < REQ_COUNT; i++)
		buf_printf(out, "%s\"%s\": %" PRIu64, i ? ", " : "{",
			   request_names[i],
			   (uint64_t)atomic_load(&fs->counts[i]));
	buf_printf(out, ", \"nodes\": %zu}", tree_count(fs->tree));
}

static void reply_xattr(fuse_req_t req, fuse_ino_t ino, int r,
			const struct buf *b, size_t size)
{
	if (r)
		reply_failed(req, ino, r);
	else if (!size)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)b->data, b->len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	DROP(buf) struct buf b = BUF_INIT(XATTR_MAX);
	int r;

	count(fs, REQ_getxattr, 1);
	/* Nothing but our own: no labels, no access lists, no capabilities. */
	if (strncmp(name, "user.vaultfs.", 13) != 0) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	if (ino == TREE_ROOT && strcmp(name, FS_XATTR_STATS) == 0) {
		stats_text(fs, &b);
		r = buf_check(&b, "statistics");
	} else {
		do {
			buf_reset(&b);
			r = tree_xattr(fs->tree, ino, name, &b);
		} while (once_more(&patience, r));
	}
	reply_xattr(req, ino, r, &b, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	DROP(patience) struct patience patience = patience_of(req, ino);
	struct fs *fs = fs_of(req);
	DROP(buf) struct buf b = BUF_INIT(XATTR_MAX);
	int r;

	count(fs, REQ_listxattr, 1);
	do {
		buf_reset(&b);
		r = tree_xattr(fs->tree, ino, NULL, &b);
	} while (once_more(&patience, r));
	reply_xattr(req, ino, r, &b, size);
}

/*  --- what would write; the kernel refuses most of it before it gets here
 * --- */

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	reply_refused(req);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	reply_refused(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	reply_refused(req);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_refused(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		       const char *name)
{
	reply_refused(req);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t newparent, const char *newname,
		      unsigned int flags)
{
	reply_refused(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		    const char *newname)
{
	reply_refused(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	reply_refused(req);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	reply_refused(req);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	reply_refused(req);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	reply_refused(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
			 off_t length, struct fuse_file_info *fi)
{
	reply_refused(req);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t out,
			       off_t off_out, struct fuse_file_info *fi_out,
			       size_t len, int flags)
{
	reply_refused(req);
}

/* --- the session --- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	conn->want |= conn->capable &
		      (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
		       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
		       FUSE_CAP_PARALLEL_DIROPS);
	conn->max_read = FS_READ_MAX;
	/* The kernel takes the smaller of this and what the device is set
	 * to. */
	conn->max_readahead = FS_READ_AHEAD;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	if (fs->ready)
		fs->ready(fs->ready_ctx);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.access = op_access,
	.statfs = op_statfs,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.open = op_open,
	.read = op_read,
	.release = op_release,
	.lseek = op_lseek,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_remove,
	.rmdir = op_remove,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.write = op_write,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
};
