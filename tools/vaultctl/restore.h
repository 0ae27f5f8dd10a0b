// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The parts of `restore`: restore.c (the command) chooses disks and targets;
 * restore_file.c, restore_device.c and restore_stream.c each know how one kind
 * of target is made so that it never looks complete before it is;
 * restore_copy.c moves the bytes.
 */
#pragma once
#include "backend/catalog.h"
#include "backend/source/source.h"
#include "tools/common/progress.h"

/* --- what is restored (restore.c) --- */

struct restore_disk {
	const char *name;
	struct source *image; /* with its footer, if a VHD is wanted */
	char *to; /* path of the file or device; "-": standard output */
	uint64_t data_bytes; /* about so much of it is no hole; 0: not known */
	/* Names these bytes and no others: equal texts, equal images. "" when
	 * nothing does, and then nothing can be resumed. One line. */
	char identity[512];
	/* Results. */
	uint64_t resumed_from;
	uint64_t written;
	bool was_done; /* by an earlier run */
};

struct restore_options {
	bool resume, force;
	struct progress *progress;
	uint64_t before; /* bytes of the disks before this one, for the progress */
	uint64_t total; /* of all disks */
};

int restore_to_file(struct restore_disk *d,
		    const struct restore_options *o) MUST_USE;
/* When all disks are there: takes away what only a later --resume would ask
 * for. */
void restore_file_settle(const char *to);
int restore_to_device(struct restore_disk *d,
		      const struct restore_options *o) MUST_USE;
/* To standard output. */
int restore_to_stream(struct restore_disk *d,
		      const struct restore_options *o) MUST_USE;

/* --- moving bytes (restore_copy.c) --- */

struct copy {
	struct source *src;
	int fd;
	const char *path;  /* of fd, for messages */
	uint64_t off, end; /* the range, the same in both */
	bool zero_holes;   /* else they read as zeros already */
	/* Caller's thread, in order: all before `done` is written, though not
	 * durable yet; nonzero ends it. May be NULL. */
	int (*reached)(void *ctx, uint64_t done);
	void *ctx;
	const struct restore_options *o;
	uint64_t written; /* bytes; grows */
};
/* Many reads in flight; writes happen at their place, in any order. */
int restore_copy(struct copy *c) MUST_USE;
/* -ENOSPC without the path, which the caller adds. */
int write_at(int fd, const char *path, const void *p, size_t len,
	     uint64_t off) MUST_USE;
/* How many workers, and how many MiB in flight at most. */
unsigned restore_workers(void);
#define RESTORE_PIECE (1u << 20)
#define RESTORE_DEPTH 16u

/* --- how far a target is (restore_journal.c) --- */

/*
 * A small text file, replaced whole: the identity of what is restored, by what
 * its target is known again, and up to where it is durable. path is absolute or
 * relative to dirfd.
 */
#define JOURNAL_MARK_SIZE 96
struct journal {
	int dirfd; /* borrowed */
	const char *name;
	const char *identity;
	char mark[JOURNAL_MARK_SIZE]; /* one word; "": none */
};
/* Up to where, and sets the mark; 0 when there is none, or it is of something
 * else. */
uint64_t journal_read(struct journal *j, bool *other);
/* What cannot be written is told to who wants to hear it, and is no failure. */
void journal_write(const struct journal *j, uint64_t done);
void journal_remove(const struct journal *j);

/*
 * Makes what has been written durable now and then, and notes it in the
 * journal, from a thread of its own, so that the copying goes on and the end is
 * no one long flush.
 */
struct flusher;
int flusher_new(int fd, const char *path, const struct journal *j,
		struct flusher **ret) MUST_USE;
/* All before `done` is written. Returns the failure of an earlier flush. */
int flusher_reached(struct flusher *f, uint64_t done) MUST_USE;
/* Waits for it; no flush runs afterwards. */
int flusher_stop(struct flusher *f) MUST_USE;
void flusher_free(struct flusher *f);
DROP_DEFINE(flusher, struct flusher *, flusher_free)
