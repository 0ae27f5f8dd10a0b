// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Writing into a native vault: backup, prune, and the writer keys. FORMAT.md
 * sections 5 to 8.
 *
 * One call is one session; calls for different VMs may run at once, in one
 * process or many. Each returns after the commit is durable, or failed having
 * changed nothing that a reader sees.
 */
#pragma once
#include "backend/vault/vault.h"

/* Ranges of a disk in bytes; sorted and merged by extents_normalise(). */
struct extents {
	struct extent_range {
		uint64_t off, len;
	} * r;
	size_t n;
};
void extents_release(struct extents *e);
/* Sorts, merges; -EINVAL for one that overflows or passes size. */
int extents_normalise(struct extents *e, uint64_t size) MUST_USE;
/*
 * What changed, as text or as JSON; -EINVAL with the number of the line or
 * entry.
 *
 * Text: lines "OFFSET LENGTH" in bytes, or as parse_size() reads them ("64K");
 * '#' and what follows it, and empty lines, are ignored. When nothing changed
 * it is the one word "none": a text without a word is -EINVAL, since it is what
 * a program leaves that died before it wrote any.
 *
 * JSON (the first character is '['): an array of objects with "start" (or
 * "offset") and "length", as `qemu-img map --output=json` and `nbdinfo --json
 * --map=qemu:dirty-bitmap:NAME` give. An entry counts as changed unless it has
 * "dirty": false, or "present": false (a cluster that the top image does not
 * have), or "type": 0 (clean; where there is a "type", a "description" must be
 * "clean" or "dirty", so that a map of data and holes is not mistaken for one
 * of changes). "dirty" alone counts where it is given. "data" and "zero" say
 * nothing about change and are ignored. [] is an empty list.
 */
int extents_parse(const char *text, size_t len, struct extents *out) MUST_USE;

struct backup_progress {
	uint64_t total; /* bytes to look at, over all disks */
	uint64_t done;
	uint64_t stored;  /* bytes put */
	const char *disk; /* at work on */
};

struct backup_disk {
	const char *name;
	struct source *image; /* borrowed */
	bool was_vhd;
	const struct extents *changed; /* NULL: all of it is read */
	/* Asked after the last read: did the image change under us? 0 or a
	 * failure. NULL: no. */
	int (*unchanged)(struct source *image);
};

/* An escrow document for a point. */
struct escrow_addition {
	struct point_id point; /* of vault_attach() only */
	const char *disk;      /* NULL: the whole VM */
	const char *text;      /* JSON */
	size_t len;
};

struct backup_request {
	const char *vm;
	int64_t time_ns;
	enum consistency consistency;
	const struct label *labels;
	size_t nlabels;
	const struct escrow_addition *escrow;
	size_t nescrow;
	struct backup_disk *disks;
	size_t ndisks;
	/* NULL: the head's latest point is the base, if there is one. Required
	 * with changed. */
	const struct point_id *base;
	double check_percent; /* of unlisted chunks to read again and compare */
	bool take_over; /* an open session of another host is dead: the user says so */
	uint8_t chunk_log2; /* 0: VF_CHUNK_LOG2; a lineage keeps its own */
	/* Called now and then on the caller's thread; nonzero stops with
	 * -ECANCELED. */
	int (*progress)(void *ctx, const struct backup_progress *p);
	void *progress_ctx;
};

struct backup_result {
	struct point_id id;
	uint64_t seq;
	struct point_id base; /* zeros: none */
	bool resumed;
	uint64_t read_bytes, stored_bytes, new_frames, reused_frames,
		zero_frames, adopted_frames;
};

/*
 * All disks become one point, or none does. -EEXIST: a point of this time is
 * there; -EBUSY: another backup of this VM is running (names it); -ESTALE: lost
 * to another backup, or the base was dropped;
 * -EROFS: the vault uses read-compatible features this software does not know.
 */
int vault_backup(struct vault *v, const struct backup_request *rq,
		 struct backup_result *out) MUST_USE;

/* Drops points from the index: one commit for all. -ENOENT, -EPERM for one that
 * is held. */
int vault_prune(struct vault *v, const char *vm, const struct point_id *ids,
		size_t n) MUST_USE;

/* Adds escrow documents to points that exist, durably. -ENOENT: no such point, or
 * disk. After another failure some may have been added. */
int vault_attach(struct vault *v, const char *vm,
		 const struct escrow_addition *add, size_t n) MUST_USE;

/*
 * Writer keys. add: the public key of another host. retire: records the heads
 * of all VMs, and raises them to what the key's host committed before it could
 * know. Of a retired key it does the latter once more: 0 when there was such a
 * commit (one that its host was told does not count), else -EINVAL.
 */
int vault_key_add(struct vault *v, const struct sign_public *key,
		  const char *label) MUST_USE;
int vault_key_retire(struct vault *v, const struct sign_public *key) MUST_USE;
/* This host's writer key, made if it has none. */
int vault_key_local(struct vault *v, struct sign_public *out) MUST_USE;
