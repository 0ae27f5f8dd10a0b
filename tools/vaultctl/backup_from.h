// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * backup --from VAULT: a point of another vault, which is mostly one of Azure, as what
 * is backed up: its disks, its time, its keys; and of its disks only what differs
 * from the point that was copied last, where the service can tell.
 */
#pragma once
#include "backend/vault/writer.h"
#include "tools/common/escrow_args.h"
#include "tools/common/open.h"

#define FROM_LABELS 3

struct from {
	/* The options. */
	const char *url, *vm, *point;

	struct opened o;
	struct point_info *info;
	struct label
		labels[FROM_LABELS]; /* where it came from; values are owned */
	size_t nlabels;
	bool key_vault_only; /* its keys, as they are copied */
};
void from_close(struct from *f);
static inline void drop_from(struct from *f)
{
	from_close(f);
}

/* The point; vm: where the option does not name another. */
int from_open(struct from *f, const struct command *c, const char *vm) MUST_USE;
/* Its disks: images and names of rq's disks, which has room for them and counts
 * them; names are the point's. */
int from_disks(struct from *f, struct backup_request *rq) MUST_USE;
/*
 * What changed of each disk since the newest point of the VM in the vault `to`, if that
 * is a copy from here: true, with its id, and extents[i] of disk i where has[i]. Why
 * not is told.
 */
int from_changes(struct from *f, struct opened *to, const char *vm,
		 struct extents *extents, bool *has, struct point_id *base,
		 bool *any) MUST_USE;
/* Its records. */
int from_escrow(struct from *f, const struct escrow_args *a,
		struct escrow_list *out) MUST_USE;
/* Once it is copied: says so where its keys die with a key vault. */
void from_tell(const struct from *f);
