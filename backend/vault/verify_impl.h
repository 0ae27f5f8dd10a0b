// SPDX-License-Identifier: GPL-3.0-or-later
/* Between verify.c (vault, VMs, points) and verify_tree.c (the disks of a
 * point). */
#pragma once
#include "backend/base/pool.h"
#include "backend/vault/verify.h"

/* Each waits for one request at a time, of a MiB at most. */
#define VERIFY_THREADS_FAR 16u

struct known_objects;

/*
 * One run. The caller's thread owns all of it; workers only use v, rq->level
 * and objects.
 */
struct verify {
	struct vault *v;
	const struct verify_request *rq;
	struct verify_result *out;
	struct pool *pool;
	struct known_objects *objects; /* any thread */
	/* Objects that were told to be bad, by the SHA-256 of their key;
	 * bounded. */
	struct digest *told;
	size_t ntold;
	/* As out->bad, but an object that was told before counts each time. */
	uint64_t failures;
	bool point_bad; /* something of the point it is at, told or told before */
	/* Where it is. */
	const char *vm;
	struct vm_head *head;
	const struct point_row *row;
	const char *disk;
	double done,
		step; /* fraction of the VM before this disk, and of this disk */
};

/* Failures that end the run: nothing that comes after would be told apart from
 * them. */
bool verify_fatal(int r);
/* Tells of a failure r of the thing it is at, with this thread's sentence; not
 * if that is a point that was dropped meanwhile. Does not count it in
 * failures. */
void verify_tell(struct verify *f, int r);
/* part: of the disk it is at, 0 to 1. 0 or -ECANCELED. */
int verify_progress(struct verify *f, double part) MUST_USE;

int known_objects_new(struct known_objects **ret) MUST_USE;
void known_objects_free(struct known_objects *k);

/*
 * All of a disk's tree that old does not have too: a verified tree, older or
 * newer, of a disk of this name; NULL: none. Its equal parts (the same id in
 * the same place) were seen with it. Tells what is bad and returns 0, or a
 * fatal failure.
 */
int verify_disk(struct verify *f, struct tree *t, struct tree *old) MUST_USE;
