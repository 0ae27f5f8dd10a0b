// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ext: files of an ext2, ext3 or ext4 file system, by libext2fs, which never sees
 * a device. The journal is not replayed: what it holds is not seen.
 *
 * One thread at a time on one file system; its files are any thread's, and outlive
 * it.
 */
#pragma once
#include "backend/source/shared.h"

struct ext;

/* -EPROTO when it is damaged, -ENOTSUP for features that are not known. */
int ext_open(struct shared *s, struct ext **ret) MUST_USE;
void ext_close(struct ext *e);
/* A regular file, links followed within the file system. -ENOENT, -EISDIR, -EINVAL
 * for what is no regular file, -ENOTSUP for one whose bytes lie elsewhere than in
 * blocks (inline, encrypted), -EPROTO. */
int ext_open_file(struct ext *e, const char *path,
		  struct source **ret) MUST_USE;
/* The names in a directory, but for "." and "..", in no order; emit's nonzero
 * stops. */
int ext_list(struct ext *e, const char *path,
	     int (*emit)(void *ctx, const char *name), void *ctx) MUST_USE;

DROP_DEFINE(ext, struct ext *, ext_close)
