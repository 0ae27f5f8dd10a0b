// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The journal is five lines:
 *
 *	vaultfs-restore 2
 *	IDENTITY
 *	MARK
 *	DONE
 *	end
 *
 * It is replaced by rename after the data it speaks of is durable. It is not
 * itself made durable: an old one costs work twice, and one that is torn has no
 * "end".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/pool.h"
#include "tools/vaultctl/restore.h"

#define MAGIC "vaultfs-restore 2"
#define JOURNAL_MAX 1024
#define TEMP_NAME 288

/* Whichever comes first. Small enough that a kill costs little and a flush does
 * not fill the disk's queue, large enough that flushing costs nothing. */
#define FLUSH_BYTES (UINT64_C(512) << 20)
#define FLUSH_NS (UINT64_C(5) * 1000000000)

/* --- the file --- */

/* The line at *p, ended in place; NULL when there is none that is whole. */
static char *line(char **p)
{
	char *start = *p;
	char *nl = strchr(start, '\n');

	if (!nl)
		return NULL;
	*nl = '\0';
	*p = nl + 1;
	return start;
}

uint64_t journal_read(struct journal *j, bool *other)
{
	DROP(fd) int fd = openat(j->dirfd, j->name, O_RDONLY | O_CLOEXEC);
	char text[JOURNAL_MAX + 1];
	char *p = text, *magic, *identity, *mark, *done, *end;
	uint64_t n;
	ssize_t len;

	*other = false;
	if (fd < 0)
		return 0;
	len = read(fd, text, JOURNAL_MAX);
	if (len < 0)
		return 0;
	text[len] = '\0';
	magic = line(&p);
	identity = magic ? line(&p) : NULL;
	mark = identity ? line(&p) : NULL;
	done = mark ? line(&p) : NULL;
	end = done ? line(&p) : NULL;
	if (!end || strcmp(end, "end") || strcmp(magic, MAGIC) ||
	    strlen(mark) >= sizeof(j->mark) || parse_u64(done, &n) < 0)
		return 0;
	*other = !*j->identity || strcmp(identity, j->identity);
	if (*other)
		return 0;
	snprintf(j->mark, sizeof(j->mark), "%s", mark);
	return n;
}

static int try_write(const struct journal *j, uint64_t done)
{
	DROP(fd) int fd = -1;
	char temp[TEMP_NAME], text[JOURNAL_MAX];
	int n;

	snprintf(temp, sizeof(temp), "%s~", j->name);
	n = snprintf(text, sizeof(text), MAGIC "\n%s\n%s\n%" PRIu64 "\nend\n",
		     j->identity, j->mark, done);
	fd = openat(j->dirfd, temp,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0 || n < 0)
		return fail_errno(errno, "%s", temp);
	errno = ENOSPC; /* when it is short */
	if (write(fd, text, (size_t)n) != n ||
	    renameat(j->dirfd, temp, j->dirfd, j->name) < 0) {
		int r = fail_errno(errno, "%s", temp);

		(void)unlinkat(j->dirfd, temp, 0);
		return r;
	}
	return 0;
}

void journal_write(const struct journal *j, uint64_t done)
{
	int r = *j->identity ? try_write(j, done) : 0;

	/* What is restored is none the worse for it. */
	if (r < 0)
		log_info("--resume will not be able to go on from here: %s",
			 err_text(r));
}

/* Durably: were it there again after a power failure, it would speak of what
 * has been overwritten since. */
void journal_remove(const struct journal *j)
{
	if (unlinkat(j->dirfd, j->name, 0) == 0)
		(void)fsync(j->dirfd);
}

/* --- the thread --- */

struct flusher {
	int fd;
	const char *path;
	const struct journal *journal;
	struct pool *pool; /* of one thread */
	struct pool_job job;
	uint64_t last, last_ns; /* when the last flush began */
	uint64_t upto;		/* of the flush that runs */
	pthread_mutex_t lock;	/* protects what follows */
	bool busy;
	int result;
	struct err_saved why;
};

static void flush(struct pool_job *job)
{
	struct flusher *f = container_of(job, struct flusher, job);
	int r = 0;

	if (fdatasync(f->fd) < 0)
		r = fail_errno(errno, "%s: making it durable", f->path);
	else
		journal_write(f->journal, f->upto);
	pthread_mutex_lock(&f->lock);
	f->result = r;
	if (r < 0)
		err_save(r, &f->why);
	f->busy = false;
	pthread_mutex_unlock(&f->lock);
}

int flusher_new(int fd, const char *path, const struct journal *j,
		struct flusher **ret)
{
	DROP(flusher) struct flusher *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&f->lock, NULL);
	f->fd = fd;
	f->path = path;
	f->journal = j;
	f->last_ns = monotonic_ns();
	r = pool_new(1, &f->pool);
	if (r < 0)
		return r;
	*ret = take(f);
	return 0;
}

static int look(struct flusher *f, bool *busy)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->lock);

	(void)held;
	*busy = f->busy;
	return f->result < 0 ? err_load(&f->why) : 0;
}

int flusher_reached(struct flusher *f, uint64_t done)
{
	uint64_t now = monotonic_ns();
	bool busy;
	int r = look(f, &busy);

	if (r < 0 || busy)
		return r;
	if (done - f->last < FLUSH_BYTES && now - f->last_ns < FLUSH_NS)
		return 0;
	f->last = f->upto = done;
	f->last_ns = now;
	f->busy = true; /* no job runs: nobody else looks */
	f->job.work = flush;
	pool_submit(f->pool, &f->job);
	return 0;
}

int flusher_stop(struct flusher *f)
{
	pool_free(take(f->pool));
	return f->result < 0 ? err_load(&f->why) : 0;
}

void flusher_free(struct flusher *f)
{
	if (!f)
		return;
	pool_free(f->pool);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
