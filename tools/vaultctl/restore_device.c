// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A block device has no name that it could get at the end. Instead its first
 * and last MiB, where partition tables, boot sectors and LUKS headers are, are
 * zeroed and made durable first, and written last, the first one at the very
 * end, after all else is durable: until then nothing takes the device for a
 * disk.
 *
 * The journal lies in the user's state directory, by the device's number, which
 * another device may have tomorrow, and a new one reads as zeros. So the first
 * MiB is not all zeros: at 20 KiB are 16 bytes of magic and a random nonce, which
 * the journal keeps. That the first MiB still is that and nothing else proves
 * that it is this device and that nobody has used it since.
 *
 * Nothing is looked for at 20 KiB: boot sectors, GPT, LVM, LUKS and md headers and
 * file systems' superblocks are in the first 16 KiB, or at 32 KiB, 64 KiB and on
 * (ISO 9660, btrfs, the second LUKS2 header at a power of two); swap's is at the
 * end of a page. What has an entry there (GPT of 4 KiB sectors, the labels of
 * ZFS) is found by a header that is zeros here.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "tools/vaultctl/restore.h"

#define EDGE (UINT64_C(1) << 20)
#define MARK_OFF 20480
#define MARK_MAGIC "vaultfs-restore\n"
#define NONCE_SIZE 16

struct device {
	const char *path;
	int fd;
	int statefd;
	uint64_t size;	     /* of the disk that goes there */
	uint64_t head, tail; /* [0, head) and [tail, size) are the edges */
	char journal_name[64];
	struct journal journal;
	struct flusher *flusher;
};

static void drop_device(struct device *d)
{
	flusher_free(d->flusher);
	drop_fd(&d->fd);
	drop_fd(&d->statefd);
}

/* --- the journal's place --- */

static int state_path(char *out, size_t size)
{
	const char *own = getenv("VAULTFS_STATE_DIR");
	const char *xdg = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");
	const struct passwd *pw;
	int n;

	if (!home || !*home) {
		pw = getpwuid(getuid());
		home = pw ? pw->pw_dir : "/";
	}
	if (own && *own)
		n = snprintf(out, size, "%s/restore", own);
	else if (xdg && *xdg)
		n = snprintf(out, size, "%s/vaultfs/restore", xdg);
	else
		n = snprintf(out, size, "%s/.local/state/vaultfs/restore",
			     home);
	return n < 0 || (size_t)n >= size
		       ? fail(-ENAMETOOLONG, "state directory: too long")
		       : 0;
}

static int open_state(struct device *d)
{
	char path[4096];
	int r = state_path(path, sizeof(path));

	if (r < 0)
		return r;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		(void)mkdir(path, 0700); /* the last one tells */
		*p = '/';
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(errno, "%s", path);
	d->statefd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->statefd < 0)
		return fail_errno(errno, "%s", path);
	return 0;
}

/* --- the device --- */

static int open_device(struct device *d, const char *path)
{
	struct stat st;

	d->path = path;
	/* O_EXCL: not while it is mounted, or a part of something that is. */
	d->fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC | O_NOCTTY);
	if (d->fd < 0 && errno == EBUSY)
		return fail(-EBUSY,
			    "%s: it is in use (mounted, or part of "
			    "something that is)",
			    path);
	if (d->fd < 0)
		return fail_errno(errno, "%s", path);
	if (fstat(d->fd, &st) < 0)
		return fail_errno(errno, "%s", path);
	if (!S_ISBLK(st.st_mode))
		return fail(-ENOTBLK, "%s: it is no block device any more",
			    path);
	snprintf(d->journal_name, sizeof(d->journal_name), "%u:%u",
		 major(st.st_rdev), minor(st.st_rdev));
	return 0;
}

static int check_size(const struct device *d)
{
	char need[SIZE_TEXT_SIZE], have[SIZE_TEXT_SIZE];
	uint64_t size;

	if (ioctl(d->fd, BLKGETSIZE64, &size) < 0)
		return fail_errno(errno, "%s: its size", d->path);
	size_text(d->size, need);
	size_text(size, have);
	if (size < d->size)
		return fail(-ENOSPC,
			    "%s: it is too small, %" PRIu64
			    " bytes (%s) where %" PRIu64 " (%s) are needed",
			    d->path, size, have, d->size, need);
	if (size > d->size)
		log_warn("%s: it is larger than the disk (%s, %s); what lies "
			 "behind is left as it is",
			 d->path, have, need);
	return 0;
}

static int flush_device(const struct device *d)
{
	if (fsync(d->fd) < 0)
		return fail_errno(errno, "%s: making it durable", d->path);
	return 0;
}

static void put_mark(uint8_t *head, const uint8_t nonce[static NONCE_SIZE])
{
	memcpy(head + MARK_OFF, MARK_MAGIC, strlen(MARK_MAGIC));
	memcpy(head + MARK_OFF + strlen(MARK_MAGIC), nonce, NONCE_SIZE);
}

static void nonce_text(const uint8_t nonce[static NONCE_SIZE],
		       char out[static JOURNAL_MARK_SIZE])
{
	for (size_t i = 0; i < NONCE_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", nonce[i]);
}

/* A disk smaller than a MiB is all head: nothing of it can be resumed, and it
 * needs no mark. */
static int mark_head(struct device *d, uint8_t *head)
{
	uint8_t nonce[NONCE_SIZE];
	int r;

	if (d->head < EDGE)
		return 0;
	r = random_bytes(nonce, sizeof(nonce));
	if (r < 0)
		return r;
	put_mark(head, nonce);
	nonce_text(nonce, d->journal.mark);
	return 0;
}

static int zero_edges(struct device *d)
{
	DROP(mem) uint8_t *zeros = calloc(1, EDGE);
	int r;

	if (!zeros)
		return fail(-ENOMEM, "out of memory");
	r = write_at(d->fd, d->path, zeros, (size_t)(d->size - d->tail),
		     d->tail);
	if (r == 0)
		r = mark_head(d, zeros);
	if (r == 0)
		r = write_at(d->fd, d->path, zeros, (size_t)d->head, 0);
	return r < 0 ? r : flush_device(d);
}

/* Our mark, the one in the journal, and zeros. */
static bool head_is_ours(const struct device *d)
{
	DROP(mem) uint8_t *buf = malloc(EDGE);
	char text[JOURNAL_MARK_SIZE];
	const uint8_t *nonce;
	uint64_t have = 0;

	while (buf && have < d->head) {
		ssize_t n = pread(d->fd, buf + have, (size_t)(d->head - have),
				  (off_t)have);

		if (n <= 0)
			return false;
		have += (uint64_t)n;
	}
	if (!buf || d->head < EDGE ||
	    memcmp(buf + MARK_OFF, MARK_MAGIC, strlen(MARK_MAGIC)) != 0)
		return false;
	nonce = buf + MARK_OFF + strlen(MARK_MAGIC);
	nonce_text(nonce, text);
	memset(buf + MARK_OFF, 0, strlen(MARK_MAGIC) + NONCE_SIZE);
	return !strcmp(text, d->journal.mark) && is_zero(buf, (size_t)d->head);
}

static uint64_t find_start(struct device *d, bool resume)
{
	bool other = false;
	uint64_t from = resume ? journal_read(&d->journal, &other) : 0;

	if (from && (from > d->size || !head_is_ours(d))) {
		log_warn("%s: it was used since, or is another device: from "
			 "the start",
			 d->path);
		from = 0;
	} else if (other) {
		log_warn("%s: what is there is of another point: from the "
			 "start",
			 d->path);
	}
	return from;
}

static int reached(void *ctx, uint64_t done)
{
	return flusher_reached(ctx, done);
}

static int copy_range(struct device *d, struct restore_disk *disk,
		      const struct restore_options *o, uint64_t off,
		      uint64_t end)
{
	struct copy c = {
		.src = disk->image,
		.fd = d->fd,
		.path = d->path,
		.off = off,
		.end = end,
		.zero_holes = true,
		.reached = d->flusher ? reached : NULL,
		.ctx = d->flusher,
		.o = o,
	};
	int r = off < end ? restore_copy(&c) : 0;

	disk->written += c.written;
	return r;
}

static int copy_middle(struct device *d, struct restore_disk *disk,
		       const struct restore_options *o, uint64_t from)
{
	int r = flusher_new(d->fd, d->path, &d->journal, &d->flusher);

	if (r < 0)
		return r;
	r = copy_range(d, disk, o, max_u64(from, d->head), d->tail);
	if (r == 0)
		r = flusher_stop(d->flusher);
	flusher_free(take(d->flusher));
	return r < 0 ? r : flush_device(d);
}

static int write_all(struct device *d, struct restore_disk *disk,
		     const struct restore_options *o)
{
	uint64_t from = find_start(d, o->resume);
	int r = 0;

	disk->resumed_from = from;
	if (!from) {
		journal_remove(&d->journal);
		r = zero_edges(d);
	}
	if (r == 0)
		r = copy_middle(d, disk, o, from);
	if (r == 0)
		r = copy_range(d, disk, o, d->tail, d->size);
	if (r == 0)
		r = flush_device(d);
	if (r == 0)
		r = copy_range(d, disk, o, 0, d->head);
	return r < 0 ? r : flush_device(d);
}

int restore_to_device(struct restore_disk *disk,
		      const struct restore_options *o)
{
	DROP(device)
	struct device d = {
		.fd = -1,
		.statefd = -1,
		.size = source_size(disk->image),
	};
	int r;

	d.head = min_u64(EDGE, d.size);
	d.tail = max_u64(d.head, d.size > EDGE ? d.size - EDGE : 0);
	r = open_device(&d, disk->to);
	if (r == 0)
		r = check_size(&d);
	if (r == 0)
		r = open_state(&d);
	if (r < 0)
		return r;
	d.journal = (struct journal){ d.statefd, d.journal_name, disk->identity,
				      "" };
	r = write_all(&d, disk, o);
	if (r == -ECANCELED)
		return fail(r, "%s: %s (--resume goes on from there)", disk->to,
			    err_text(r));
	if (r == 0)
		journal_remove(&d.journal);
	return r;
}
