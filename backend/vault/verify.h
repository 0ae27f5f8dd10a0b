// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Verifies a vault, or a VM or point of it: that everything that live points
 * need is there, is what it says, and is sealed. A failure is told and the work
 * goes on, so that one run finds all that is bad.
 */
#pragma once
#include "backend/vault/vault.h"

enum verify_level {
	/* Index pages and frame tables are read; of every object that they
	 * name, its length is asked. */
	VERIFY_OBJECTS,
	/* Also: every commit, from the first, its seal and hash chain; the
	 * chain of the configs; point records, labels, escrow, dead pages, the
	 * trailers of segments. */
	VERIFY_CHECKSUMS,
	/* Also every frame, by its digest; one that several points share
	 * once. */
	VERIFY_DATA,
};

/* Something bad. Borrowed during the call. */
struct verify_bad {
	const char *vm;		       /* NULL: the vault itself */
	const struct point_row *point; /* NULL: the VM itself */
	const char *disk;	       /* NULL: all of the point */
	int code;
	const char *sentence;
};

struct verify_progress {
	const char *vm;
	uint64_t bytes; /* checked so far: stored or plain, as the level goes */
	double fraction; /* of the VM's points, 0 to 1; not of their bytes */
};

struct verify_request {
	const char *vm; /* NULL: all of them */
	const struct point_id
		*point; /* NULL: all of the VM's; else vm is given too */
	enum verify_level level;
	/* 0: as many as there are processors, or as a store far away needs to
	 * have many requests on their way. */
	unsigned threads;
	/* Both on the caller's thread. progress: nonzero stops with
	 * -ECANCELED. */
	void (*bad)(void *ctx, const struct verify_bad *b);
	int (*progress)(void *ctx, const struct verify_progress *p);
	void *ctx;
};

struct verify_result {
	uint64_t vms, points, disks, commits;
	uint64_t nodes;	 /* tree pages and frame tables */
	uint64_t frames; /* as many as the level looked at; shared ones once */
	uint64_t bytes; /* of the frames: plain ones read at VERIFY_DATA, else stored */
	uint64_t bad;
	uint64_t bad_points; /* points in which something was bad */
};

/*
 * 0 when all was looked at, bad or not: see out->bad. Negative when it could
 * not go on:
 * -ECANCELED, -ENOMEM, -ENXIO (the store is gone), -EAGAIN (it does not answer), -ENOENT (no such
 * VM or point). *out is set in any case. What is dropped by others while it works is left out.
 */
int vault_verify(struct vault *v, const struct verify_request *rq,
		 struct verify_result *out) MUST_USE;
