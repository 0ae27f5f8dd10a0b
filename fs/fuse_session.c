// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The session: mounting and unmounting by libfuse and fusermount3, what they say, the loop
 * and its threads, and signals.
 */
#include "fs/fuse_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/log.h"

#define THREADS_IDLE 10
/* Requests may wait for a store, and for a volume to be opened (WAITING_MAX in
 * fs/resolver.c); others go on meanwhile. */
#define THREADS_MAX (FS_WAITING_MAX + 160)

/* --- mounting --- */

/* libfuse says things through a function without a context: what it said last
 * in this thread while mounting, and the log otherwise. */
static _Thread_local char *said;
#define SAID_SIZE 400

static void hear(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[SAID_SIZE];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	if (said) {
		if (!*said)
			snprintf(said, SAID_SIZE, "%s", text);
	} else if (level <= FUSE_LOG_ERR) {
		log_error("%s", text);
	} else if (level <= FUSE_LOG_INFO) {
		log_info("%s", text);
	} else {
		log_debug("%s", text);
	}
}

/* fusermount3 is another program: it says things on standard error, and with
 * auto_unmount lives on with whatever it was given. */
struct hush {
	int out, err; /* as they were */
	int file;
};

static struct hush hush_begin(void)
{
	struct hush h = { .out = -1, .err = -1 };

	h.file = memfd_create("said", MFD_CLOEXEC);
	if (h.file < 0)
		return h;
	h.out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	h.err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(h.file, STDOUT_FILENO);
	dup2(h.file, STDERR_FILENO);
	return h;
}

static void restore_fd(int was, int fd)
{
	if (was >= 0) {
		dup2(was, fd);
		close(was);
	}
}

/* The first line of what was said, if anything. */
static void hush_end(struct hush *h, char *text, size_t size)
{
	ssize_t n;

	if (h->file < 0)
		return;
	restore_fd(h->out, STDOUT_FILENO);
	restore_fd(h->err, STDERR_FILENO);
	n = pread(h->file, text, size - 1, 0);
	if (n > 0) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
	}
	close(h->file);
}

static const char *without_prefix(const char *text)
{
	static const char *const prefixes[] = { "fuse: ", "fusermount3: ",
						"fusermount: " };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (strncmp(text, prefixes[i], n) == 0)
			return text + n;
	}
	return text;
}

/* That it is unmounted already is no news. */
static void unmount_quietly(struct fs *fs)
{
	char heard[SAID_SIZE] = "", other[SAID_SIZE] = "";
	struct hush h = hush_begin();

	said = heard;
	fuse_session_unmount(fs->se);
	said = NULL;
	hush_end(&h, other, sizeof(other));
	if (*heard || *other)
		log_debug("%s: %s", fs->mountpoint,
			  without_prefix(*heard ? heard : other));
}

static int mount_quietly(struct fs *fs)
{
	char heard[SAID_SIZE] = "", other[SAID_SIZE] = "";
	struct hush h = hush_begin();
	int r;

	said = heard;
	r = fuse_session_mount(fs->se, fs->mountpoint);
	said = NULL;
	hush_end(&h, other, sizeof(other));
	if (r == 0) {
		fs->mounted = true;
		return 0;
	}
	if (!*other && !*heard)
		return fail(-EIO, "%s: cannot mount", fs->mountpoint);
	return fail(-EIO, "%s: cannot mount: %s", fs->mountpoint,
		    without_prefix(*other ? other : heard));
}

/* Only root may; without it reads are in smaller steps. Asked of the kernel
 * alone: the mount does not answer yet. */
static void raise_read_ahead(struct fs *fs)
{
	char path[80];
	struct statx st;
	FILE *f;

	if (statx(AT_FDCWD, fs->mountpoint,
		  AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st)) {
		log_debug("%s: statx: %s", fs->mountpoint, strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 st.stx_dev_major, st.stx_dev_minor);
	f = fopen(path, "we");
	if (!f) {
		log_debug("%s: %s: reads ahead stay small", path,
			  strerror(errno));
		return;
	}
	fprintf(f, "%zu\n", FS_READ_AHEAD >> 10);
	if (fclose(f))
		log_debug("%s: %s: reads ahead stay small", path,
			  strerror(errno));
}

static int session_args(const struct fs_options *o, struct fuse_args *args)
{
	DROP(mem) char *opts = NULL;
	char max_read[40];

	snprintf(max_read, sizeof(max_read), "max_read=%zu", FS_READ_MAX);
	if (fuse_opt_add_opt(&opts, "ro") ||
	    fuse_opt_add_opt(&opts, "default_permissions") ||
	    fuse_opt_add_opt(&opts, "subtype=vaultfs") ||
	    fuse_opt_add_opt(&opts, max_read))
		return fail(-ENOMEM, "out of memory");
	if (o->extra && *o->extra && fuse_opt_add_opt(&opts, o->extra))
		return fail(-ENOMEM, "out of memory");
	if (o->source) {
		DROP(mem) char *name = NULL;

		if (asprintf(&name, "fsname=%s", o->source) < 0) {
			name = NULL;
			return fail(-ENOMEM, "out of memory");
		}
		if (fuse_opt_add_opt_escaped(&opts, name))
			return fail(-ENOMEM, "out of memory");
	}
	if (fuse_opt_add_arg(args, "vaultfs") || fuse_opt_add_arg(args, "-o") ||
	    fuse_opt_add_arg(args, opts) ||
	    (o->debug && fuse_opt_add_arg(args, "-d")))
		return fail(-ENOMEM, "out of memory");
	return 0;
}

static int session_new(struct fs *fs, const struct fs_options *o)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char heard[SAID_SIZE] = "";
	int r = session_args(o, &args);

	if (!r) {
		said = heard;
		fs->se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), fs);
		said = NULL;
		if (!fs->se)
			r = fail(-EINVAL, "cannot mount: %s",
				 *heard ? without_prefix(heard)
					: "libfuse gives no reason");
	}
	fuse_opt_free_args(&args);
	return r;
}

int fs_mount(struct tree *t, const struct fs_options *o, struct fs **ret)
{
	DROP(fs) struct fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return fail(-ENOMEM, "out of memory");
	fs->tree = t;
	fs->uid = o->uid;
	fs->gid = o->gid;
	fs->umask = o->umask;
	fs->wait_ms = o->wait_ms;
	fs->ready = o->ready;
	fs->ready_ctx = o->ready_ctx;
	fs->owner = getuid();
	fs->shared = o->has_keys_gid;
	fs->owner_gid = o->has_keys_gid ? o->keys_gid : getgid();
	fs->hangup = o->hangup;
	fs->hangup_ctx = o->hangup_ctx;
	fs->stop = -1;
	fs->mountpoint = strdup(o->mountpoint);
	if (!fs->mountpoint)
		return fail(-ENOMEM, "out of memory");
	r = quiet_new(&fs->quiet);
	if (r)
		return r;
	r = pthread_key_create(&fs->buffers, free);
	if (r)
		return fail_errno(r, "pthread_key_create");
	fs->have_buffers = true;
	fuse_set_log_func(hear);
	r = session_new(fs, o);
	if (r)
		return r;
	/* Before the mount: a signal in between would leave it behind. */
	if (fuse_set_signal_handlers(fs->se))
		return fail(-EIO, "cannot set signal handlers");
	fs->handling_signals = true;
	r = mount_quietly(fs);
	if (r)
		return r;
	raise_read_ahead(fs);
	*ret = take(fs);
	return 0;
}

/* --- SIGHUP --- */

static void *hear_hangups(void *arg)
{
	struct fs *fs = arg;
	struct signalfd_siginfo info;
	sigset_t set;
	DROP(fd) int fd = -1;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	for (;;) {
		struct pollfd p[] = { { .fd = fd, .events = POLLIN },
				      { .fd = fs->stop, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			break;
		if (p[0].revents && read(fd, &info, sizeof(info)) > 0)
			fs->hangup(fs->hangup_ctx);
	}
	return NULL;
}

static int begin_hearing(struct fs *fs)
{
	int r;

	if (!fs->hangup)
		return 0;
	fs->stop = eventfd(0, EFD_CLOEXEC);
	if (fs->stop < 0)
		return fail_errno(errno, "eventfd");
	r = pthread_create(&fs->hearing, NULL, hear_hangups, fs);
	if (!r)
		return 0;
	close(take_fd(&fs->stop));
	return fail_errno(r, "a thread for SIGHUP");
}

static void end_hearing(struct fs *fs)
{
	if (fs->stop < 0)
		return;
	eventfd_write(fs->stop, 1);
	pthread_join(fs->hearing, NULL);
	close(take_fd(&fs->stop));
}

int fs_run(struct fs *fs)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r = begin_hearing(fs);

	if (r) {
		fuse_loop_cfg_destroy(config);
		return r;
	}
	if (!config) {
		end_hearing(fs);
		return fail(-ENOMEM, "out of memory");
	}
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_idle_threads(config, THREADS_IDLE);
	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	r = fuse_session_loop_mt(fs->se, config);
	fuse_loop_cfg_destroy(config);
	end_hearing(fs);
	/* A positive number is a signal that ended it. */
	if (r < 0)
		return fail_errno(-r, "%s: reading from /dev/fuse",
				  fs->mountpoint);
	return 0;
}

void fs_close(struct fs *fs)
{
	if (!fs)
		return;
	if (fs->handling_signals)
		fuse_remove_signal_handlers(fs->se);
	if (fs->mounted)
		unmount_quietly(fs);
	if (fs->se)
		fuse_session_destroy(fs->se);
	if (fs->have_buffers)
		pthread_key_delete(fs->buffers);
	quiet_free(fs->quiet);
	free(fs->mountpoint);
	free(fs);
}
