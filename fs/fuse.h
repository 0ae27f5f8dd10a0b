// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The FUSE side: requests of the kernel answered out of a tree. fs/fuse.c
 * (the operations) and fs/fuse_session.c (the session) alone know libfuse.
 *
 * Everything is read-only: the kernel is told so ("ro"), and whatever would
 * write is answered
 * -EROFS besides.
 *
 * What is owner_only (backend/folder.h) is for the user who mounted, whatever uid
 * and gid say, and the group keys_gid: 0700 and 0400, or 0750 and 0440. The kernel
 * checks that (default_permissions). When the last of those who have a file open
 * that is to be dropped closes it, the kernel is told to forget its pages.
 *
 * Failures go to the log as "PATH: sentence", once for each object and cause
 * (fs/quiet.h); the caller gets an errno that programs know.
 *
 * The extended attribute FS_XATTR_STATS of the root, which no listing shows, is
 * one line of JSON: how many requests of each kind were answered since the
 * mount began.
 */
#pragma once
#include <sys/types.h>

#include "fs/tree.h"

#define FS_XATTR_STATS "user.vaultfs.stats"
/* What the kernel reads ahead, where we may say so (as root). */
#define FS_READ_AHEAD ((size_t)4 << 20)

struct fs_options {
	const char *mountpoint; /* absolute */
	const char *source;	/* shown as the device */
	/* More options for libfuse and the kernel, split by commas; may be
	 * NULL. */
	const char *extra;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	/* Who may read what was encrypted, besides who mounted. */
	bool has_keys_gid;
	gid_t keys_gid;
	bool debug; /* libfuse logs each request */
	/* How long a request waits for a store that does not answer, before it
	 * fails with what the store said; UINT64_MAX: for ever. It ends early
	 * when the caller is interrupted, or the mount ends. */
	uint64_t wait_ms;
	/* SIGHUP, which was blocked before any thread was made: called for each, in
	 * a thread of its own. NULL: SIGHUP ends the mount. */
	void (*hangup)(void *ctx);
	void *hangup_ctx;
	/* Called once, when the mount answers. */
	void (*ready)(void *ctx);
	void *ready_ctx;
};

struct fs;

/* Mounts. t is borrowed; o's strings need not live on. The sentence says what
 * libfuse and fusermount3 had to say, which appears nowhere else. */
int fs_mount(struct tree *t, const struct fs_options *o,
	     struct fs **ret) MUST_USE;
/* Answers until it is unmounted or SIGINT, SIGTERM or (without o->hangup) SIGHUP
 * comes. 0 for both. */
int fs_run(struct fs *fs) MUST_USE;
/* Unmounts, lazily if it is busy, and frees. */
void fs_close(struct fs *fs);

DROP_DEFINE(fs, struct fs *, fs_close)
