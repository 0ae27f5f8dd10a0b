// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * volumes: what lies on the disks of one point: partitions, whole disks without a
 * table, logical volumes, each clear, opened, or locked for a reason. The one place
 * that joins disks, escrow records and the keyring; `volumes/` of the mount, and
 * `vaultkey open`, `check` and `unwrap` ask it.
 *
 * Opened are: LUKS and BitLocker volumes with a header of their own; volumes whose
 * LUKS header is a file of Azure Disk Encryption on another one (the boot partition,
 * the system's root), or was given by the user; and what is in logical volumes.
 * Whatever its header does not prove to be right (LUKS1, detached headers) counts as
 * opened only when something known is found in it.
 *
 * Resolved once, when it is opened, which may take seconds (keys are derived);
 * after that it does not change, and any thread may read from it.
 */
#pragma once
#include "backend/catalog.h"
#include "backend/guest/lvm.h"
#include "backend/source/source.h"
#include "crypt/escrow.h"
#include "crypt/keycache.h"
#include "crypt/keyring.h"
#include "crypt/volume.h"

enum volumes_state {
	VOLUMES_CLEAR,	     /* was never encrypted */
	VOLUMES_OPEN,	     /* opened */
	VOLUMES_NO_RECORD,   /* there is no escrow record for it */
	VOLUMES_KEK_MISSING, /* no KEK here for its records */
	VOLUMES_WRONG_KEY,   /* keys were there, none opens it */
	VOLUMES_DAMAGED,
	VOLUMES_UNSUPPORTED,
	VOLUMES_UNKNOWN, /* could not be found out (an HSM, the network) */
};
/* "clear", "open", "no-record", "kek-missing", … */
const char *volumes_state_name(enum volumes_state s);

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
	/*
	 * What it holds, clear or once opened: blkid's names; "": nothing that
	 * is known, which in a volume that is open is either nobody's file
	 * system, or damage: its key was right.
	 */
	char type[64];
	char label[256];
	char uuid[64];
	uint64_t size; /* of what is shown */
	/* Which record opened it: index into the records; -1: none, or a key
	 * that the user gave. */
	int record;
	char opened_by[256]; /* in words: "escrow record 2", "key file k.bek" */
};

/* Clear or open, so that volumes_image() gives it. */
static inline bool volumes_readable(const struct volumes_row *row)
{
	return row->state == VOLUMES_CLEAR || row->state == VOLUMES_OPEN;
}

struct volumes_disk {
	const char *name;
	struct source *source; /* owned, on failure too */
};

struct volumes_header_file { /* --header [VM/]DISK-pN=FILE */
	const char *volume;
	const char *path;
};
/* That option's value apart: vm (NULL where none is named) and volume are to be
 * freed by the caller, path is the rest of text. -EINVAL with a sentence. */
int volumes_header_parse(const char *text, char **vm, char **volume,
			 const char **path) MUST_USE;

struct volumes_options {
	struct keyring *keyring;	     /* borrowed; NULL: none */
	struct keycache *cache;		     /* borrowed; NULL: none */
	const struct escrow_record *records; /* borrowed while opening */
	size_t nrecords;
	/* Why records must not be tried (seal not verified with a pinned key and
	 * no --trust-unsealed); NULL: they may. */
	const char *untrusted;
	const struct volumes_header_file *headers;
	size_t nheaders;
};

struct volumes;
/* Fails when a disk cannot be read, or for want of memory: what is wrong with a
 * volume is in its row. */
int volumes_open(const struct volumes_disk *disks, size_t ndisks,
		 const struct volumes_options *o,
		 struct volumes **ret) MUST_USE;
/* In the order of disks and partitions, logical volumes last. */
size_t volumes_count(const struct volumes *v);
const struct volumes_row *volumes_at(const struct volumes *v, size_t i);
/* The one of that name; -ENOENT with a sentence that names some there are. */
int volumes_find(const struct volumes *v, const char *name,
		 size_t *ret) MUST_USE;
/* The clear bytes of a row that is readable; outlives v, but not the disks'
 * catalog. */
int volumes_image(struct volumes *v, size_t i, struct source **ret) MUST_USE;
/* The bytes of a row as they are on the disk, or in the logical volume. */
int volumes_raw(struct volumes *v, size_t i, struct source **ret) MUST_USE;
/* For a row that was opened: its volume key, and its detached header (NULL if
 * there is none). Borrowed. */
const struct volume_key *volumes_key(struct volumes *v, size_t i);
struct source *volumes_header(struct volumes *v, size_t i);
/* A logical volume's layout (NULL for other rows); and the row on whose clear bytes
 * an area of it lies. */
const struct lvm_lv *volumes_lv(const struct volumes *v, size_t i);
size_t volumes_lv_row(const struct volumes *v, const struct lvm_area *area);
/* What volumes.json shows. */
struct json *volumes_json(const struct volumes *v);
void volumes_close(struct volumes *v);

DROP_DEFINE(volumes, struct volumes *, volumes_close)
