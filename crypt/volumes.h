// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * volumes: what lies on the disks of one point: partitions, whole disks without a
 * table, logical volumes, each clear, opened, or locked for a reason. The one place
 * that joins disks, escrow records and the keyring; `volumes/` of the mount, and
 * `vaultkey open`, `check` and `unwrap` ask it.
 *
 * Resolved once, when it is opened, which may take seconds (keys are derived);
 * after that it does not change, and any thread may read from it.
 */
#pragma once
#include "backend/catalog.h"
#include "backend/source/source.h"
#include "crypt/escrow.h"
#include "crypt/keyring.h"
#include "crypt/volume.h"

enum volumes_state {
	VOLUMES_CLEAR,	     /* was never encrypted */
	VOLUMES_OPEN,	     /* opened, and known data found in it */
	VOLUMES_NO_RECORD,   /* there is no escrow record for it */
	VOLUMES_KEK_MISSING, /* no KEK here for its records */
	VOLUMES_WRONG_KEY,   /* keys were there, none opens it */
	VOLUMES_DAMAGED,
	VOLUMES_UNSUPPORTED,
	VOLUMES_UNKNOWN, /* could not be found out (an HSM, the network) */
};

struct volumes_row {
	char name[256]; /* "os-p2", "lun0" (no table), "lvm-rootvg-rootlv" */
	enum volumes_state state;
	char reason[ERR_MAX]; /* what is wrong and what to do; "" when open */
	/* Where it lies, for what is not a logical volume. */
	size_t disk; /* index into the point's disks */
	uint64_t off, len;
	unsigned part; /* 0: the whole disk */
	bool logical;
	struct volume_info info; /* of its encryption */
	bool detached;		 /* its header lies elsewhere */
	char header_name[512];	 /* where: "os-p1:/luks/osluksheader" */
	/* What it holds, clear or once opened: blkid's names; "" unknown. */
	char type[64];
	char label[256];
	char uuid[64];
	uint64_t size; /* of what is shown */
	/* Which record opened it: index into the records; -1 none, or a key
	 * that the user gave. */
	int record;
};

struct volumes_disk {
	const char *name;
	struct source *source; /* owned, on failure too */
};

struct volumes_header_file { /* --header [VM/]DISK-pN=FILE */
	const char *volume;
	const char *path;
};

struct volumes_options {
	struct keyring *keyring;	     /* borrowed; NULL: none */
	const struct escrow_record *records; /* borrowed while opening */
	size_t nrecords;
	/* Why records must not be tried (seal not verified with a pinned key and
	 * no --trust-unsealed); NULL: they may. */
	const char *untrusted;
	const struct volumes_header_file *headers;
	size_t nheaders;
};

struct volumes;
int volumes_open(const struct volumes_disk *disks, size_t ndisks,
		 const struct volumes_options *o,
		 struct volumes **ret) MUST_USE;
size_t volumes_count(const struct volumes *v);
const struct volumes_row *volumes_at(const struct volumes *v, size_t i);
/* The clear bytes of a row that is clear or open; it keeps v alive. */
int volumes_image(struct volumes *v, size_t i, struct source **ret) MUST_USE;
/* For a row that was opened: its volume key, and its detached header (NULL if
 * there is none). Borrowed. */
const struct volume_key *volumes_key(struct volumes *v, size_t i);
struct source *volumes_header(struct volumes *v, size_t i);
struct json *volumes_json(const struct volumes *v);
void volumes_close(struct volumes *v);

DROP_DEFINE(volumes, struct volumes *, volumes_close)
