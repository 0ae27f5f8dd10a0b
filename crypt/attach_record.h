// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * attach_record: which devices belong to a name, as /run/vaultfs/NAME.json says:
 *
 *	{ "vaultkey": 1, "name": "web",
 *	  "devices": [ { "name": "web-os-p2", "uuid": "CRYPT-LUKS2-…" }, … ] }
 *
 * in the order in which they are made. A record is held by one process at a time,
 * by a lock on its file. Only root's own file, mode 0600, is believed.
 */
#pragma once
#include <stdbool.h>

#include "backend/base/scope.h"
#include "crypt/dm.h"

#define ATTACH_DEVICES_MAX 1024

struct attach_entry {
	char name[DM_NAME_SIZE];
	char uuid[DM_UUID_SIZE];
};

struct attach_record {
	int fd; /* -1: none */
	char path[128];
	struct attach_entry *entries;
	size_t count;
};
#define ATTACH_RECORD_INIT                                                     \
	{                                                                      \
		.fd = -1                                                       \
	}

/* The text of one that is for name: entries only. -EPROTO. */
int attach_record_parse(const char *text, size_t len, const char *name,
			struct attach_record *out) MUST_USE;

/* A new one, without devices. -EEXIST. */
int attach_record_new(const char *name, struct attach_record *out) MUST_USE;
/* One that is there. -ENOENT; -EBUSY when another process has it. */
int attach_record_open(const char *name, struct attach_record *out) MUST_USE;
int attach_record_add(struct attach_record *r, const char *name,
		      const char *uuid) MUST_USE;
/* Writes what it now says. */
int attach_record_write(const struct attach_record *r,
			const char *name) MUST_USE;
/* Removes the file. */
int attach_record_remove(struct attach_record *r) MUST_USE;
void attach_record_close(struct attach_record *r);

/* Who has device d, called name, open, other than devices of r, in words: "it is
 * mounted on /mnt". */
void attach_holder(const struct attach_record *r, const struct dm_device *d,
		   const char *name, char *out, size_t size);
/* How many devices of r are on d. */
unsigned attach_own_holders(const struct attach_record *r,
			    const struct dm_device *d);

static inline void drop_attach_record(struct attach_record *r)
{
	attach_record_close(r);
}
