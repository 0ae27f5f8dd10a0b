// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * dm: device-mapper and loop devices, by the kernel's own calls: what block devices
 * of a volume are made of. This is the one place that knows libdevmapper.
 *
 * Needs root. Nothing here remembers what was made (attach.h does). One thread.
 *
 * The tables: the kernel's Documentation/admin-guide/device-mapper/
 * (linear.rst, striped.rst, snapshot.rst, dm-crypt.rst, zero.rst).
 */
#pragma once
#include "backend/base/secret.h"
#include <stdbool.h>
#include <stdint.h>

#define DM_SECTOR 512
#define DM_NAME_SIZE 128 /* with the NUL, as the kernel has it */
#define DM_UUID_SIZE 129

/* A name that device-mapper takes as it is: letters, digits, and "#+-.:=@_". */
bool dm_name_valid(const char *name);

struct dm_target {
	uint64_t start, len; /* in sectors */
	const char *type;    /* "linear" */
	const char *params;
};

/* -EACCES with a sentence where there is no device-mapper, or no right to it. */
int dm_check(void) MUST_USE;

/*
 * Makes /dev/mapper/NAME, of targets without gaps, in order. It is hidden from
 * udev's rules, which would look for LVM and file systems in it. -EEXIST.
 */
int dm_create(const char *name, const char *uuid, bool readonly,
	      const struct dm_target *targets, size_t n) MUST_USE;

struct dm_device {
	bool exists;
	char uuid[DM_UUID_SIZE];
	unsigned major, minor;
	unsigned open_count;
	bool readonly;
};
int dm_query(const char *name, struct dm_device *out) MUST_USE;
/* Waits a little for those who only look at it (udev); then -EBUSY. */
int dm_remove(const char *name) MUST_USE;

/*
 * The volume key of a crypt target, in the kernel's keyring and of this thread
 * only: so it is in no table, which everybody's dmsetup shows to root, and in no
 * memory but ours. To be dropped once the table is loaded.
 */
struct dm_key {
	int32_t serial; /* 0: none */
	char spec[160]; /* ":64:logon:vaultfs:…", for the target */
};
int dm_key_add(struct secret *key, const char *name,
	       struct dm_key *out) MUST_USE;
void dm_key_drop(struct dm_key *k);

/*
 * A loop device of [off, off + len) of a file or device. It is gone once nobody
 * has it open, so that it lasts as long as *ret, or what was made of it.
 * off: whole sectors.
 */
struct loop {
	int fd; /* owned; -1: none */
	char path[32];
};
#define LOOP_INIT                                                              \
	{                                                                      \
		.fd = -1                                                       \
	}
int loop_open(int file, uint64_t off, uint64_t len, bool readonly,
	      struct loop *ret) MUST_USE;
void loop_close(struct loop *l);

/* How far ahead the kernel reads of a device: what is far away comes in large
 * pieces. Only a hint. */
void blockdev_read_ahead(const char *path, uint64_t bytes);

static inline void drop_loop(struct loop *l)
{
	loop_close(l);
}
static inline void drop_dm_key(struct dm_key *k)
{
	dm_key_drop(k);
}
