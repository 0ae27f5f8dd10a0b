// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files crypt/volumes*.c share. */
#pragma once
#include <errno.h>

#include "backend/guest/content.h"
#include "crypt/volumes.h"

struct vol {
	struct volumes_row row;
	char part_type[37];	/* as in part.h; "" : none */
	struct shared *raw;	/* as it lies on the disk */
	struct shared *clear;	/* NULL while it is locked */
	struct shared *header;	/* detached; NULL: none */
	struct volume_key *key; /* that opened it */
	const struct lvm_lv *lv;
};

struct volumes {
	struct vol *v;
	size_t n, room;
	size_t nparts; /* those before are no logical volumes */
	struct lvm *lvm;
	struct shared *pvs[LVM_PVS_MAX]; /* borrowed from rows */
	size_t pv_rows[LVM_PVS_MAX];
	size_t npvs;
	char **disks;
	size_t ndisks;
	/* While it is opened: */
	const struct volumes_options *o;
	struct keycache *cache;
};

/* A key was looked for. */
struct verdict {
	enum volumes_state state; /* VOLUMES_OPEN: found */
	char reason[ERR_MAX];
	int record;
	char opened_by[256];
};

/* What fails for want of memory fails as a whole; the rest is for rows. */
static inline bool volumes_fatal(int r)
{
	return r == -ENOMEM;
}

/* As snprintf(); that a text is cut where it is too long is meant. */
void volumes_text(char *out, size_t size, const char *fmt, ...) PRINTF(3, 4);
/* Puts the row in this state, for this reason. */
void volumes_lock(struct vol *v, enum volumes_state state, const char *fmt, ...)
	PRINTF(3, 4);
/* The volume key of what info describes, by any key there is; *ret stays NULL when
 * none opens it. header: a detached one, else NULL. v is what it is looked for. */
void volumes_find_key(struct volumes *vs, const struct vol *v,
		      const struct volume_info *info, struct source *header,
		      struct volume_key **ret, struct verdict *out);
/*
 * Tries the key on the row: 0 with *opened set when something known was found, or,
 * where the header proves all that is used of it, anything.
 */
int volumes_try(struct vol *v, const struct volume_info *info,
		struct shared *header, struct volume_key *key,
		const struct verdict *found, bool *opened) MUST_USE;
/* A clear row in which nothing is known: one that a detached header may be for. */
bool volumes_is_candidate(const struct vol *v);

/* Azure Disk Encryption, whose headers are files (volumes_azure.c). The latter says
 * whether it opened any. */
int volumes_given_headers(struct volumes *vs) MUST_USE;
int volumes_azure_os(struct volumes *vs) MUST_USE;
int volumes_azure_data(struct volumes *vs, bool *any) MUST_USE;
