// SPDX-License-Identifier: GPL-3.0-or-later
/* What the two files that know libfuse share: the operations (fs/fuse.c) and the session
 * that they answer in (fs/fuse_session.c). */
#pragma once
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fs/fuse.h"
#include "fs/quiet.h"

#define FS_READ_MAX ((size_t)1 << 20)

/* The kinds of request that are counted. */
#define REQUESTS(X)                                                            \
	X(lookup)                                                              \
	X(forget)                                                              \
	X(getattr)                                                             \
	X(readlink)                                                            \
	X(open)                                                                \
	X(read)                                                                \
	X(read_bytes)                                                          \
	X(release)                                                             \
	X(opendir)                                                             \
	X(readdir)                                                             \
	X(readdirplus)                                                         \
	X(releasedir)                                                          \
	X(lseek)                                                               \
	X(statfs)                                                              \
	X(getxattr)                                                            \
	X(listxattr)                                                           \
	X(access)                                                              \
	X(dropped)                                                             \
	X(refused)                                                             \
	X(interrupted)                                                         \
	X(waited)                                                              \
	X(failed)

enum request {
#define X(name) REQ_##name,
	REQUESTS(X)
#undef X
		REQ_COUNT
};

/* So many requests wait for stores that are away (--offline=wait); more fail at once. */
#define FS_WAITING_MAX 96

struct fs {
	struct tree *tree;
	struct quiet *quiet;
	uint64_t wait_ms;
	struct fuse_session *se;
	bool mounted, handling_signals;
	char *mountpoint;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	uid_t owner; /* who mounted */
	gid_t owner_gid;
	bool shared; /* with the group keys_gid, which is owner_gid then */
	void (*ready)(void *ctx);
	void *ready_ctx;
	void (*hangup)(void *ctx);
	void *hangup_ctx;
	int stop; /* an eventfd that ends the thread below; -1: none */
	pthread_t hearing;
	bool have_buffers;
	pthread_key_t buffers; /* of each thread: FS_READ_MAX bytes */
	atomic_uint waiting;   /* requests, for a store that is away */
	atomic_uint_fast64_t counts[REQ_COUNT];
};

/* Their user data is a struct fs. */
extern const struct fuse_lowlevel_ops fs_ops;
