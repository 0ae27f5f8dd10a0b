// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * attach: volumes of a point as block devices of the kernel, read-only, under a
 * name that all of them begin with:
 *
 *	disk image -> loop (part of it) -> [snapshot] -> crypt -> [linear] -> /dev/mapper/NAME-…
 *
 * The snapshot, where one is wanted, is below dm-crypt, and takes what is written
 * (a journal that is replayed) into a file without a name: ciphertext, where the
 * volume is encrypted. Where it is wanted, devices can be written to; nothing ever
 * reaches the disk image, whose loop cannot.
 *
 * What was made is recorded in /run/vaultfs/NAME.json before it is, so that it can
 * be taken down whatever happens to the process or to the file system with the disk
 * image. Such a file is input: it says which device-mapper devices, by name
 * and UUID, and those must begin with the name. Loops are in no record: they
 * go with what is on them.
 *
 * Needs root. One thread; other processes wait for none: they are told.
 */
#pragma once
#include "crypt/volumes.h"

#define ATTACH_NAME_MAX 40
/* How much is kept of what is written, unless told otherwise. */
#define ATTACH_OVERLAY_BYTES (UINT64_C(1) << 30)

/* 0, or -EINVAL with a sentence: letters, digits, and "+-.:=@_", not too long. */
int attach_check_name(const char *name) MUST_USE;

struct attach_options {
	const char *name;
	const char *const *paths; /* of the disks' images, as volumes has them */
	const bool *chosen;	  /* by row; all of them readable */
	uint64_t overlay;	  /* bytes a volume at most; 0: none */
	int (*check)(void);	  /* nonzero: stop; may be NULL */
};

struct attached {
	size_t row;
	char path[160]; /* "/dev/mapper/…" */
};

/*
 * Makes a device for each chosen row, in their order: to be freed by the caller.
 * When it fails, nothing is left. -EEXIST: of that name something is open, or was
 * left. volumes is only needed for the call.
 */
int attach_open(struct volumes *v, const struct attach_options *o,
		struct attached **ret, size_t *n) MUST_USE;

/*
 * Takes down what the record of that name says, as far as it is there. -ENOENT:
 * there is none; -EBUSY with a sentence that says who holds which device, and
 * nothing was touched.
 */
int attach_close(const char *name) MUST_USE;
