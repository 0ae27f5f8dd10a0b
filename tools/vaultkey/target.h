// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * target: the disks that a user means by DISK-IMAGE or POINT-DIR, with their volumes:
 * an image (raw or VHD), or a block device; or all disks of a point in a mount. An
 * image in disks/ of a point brings the point's escrow records with it.
 */
#pragma once
#include "crypt/volumes.h"
#include "tools/common/options.h"

struct target_options {
	struct keyring *keyring;
	struct string_list headers; /* see headers.h */
	const char *volume;	    /* NULL: none was named */
	bool trust_unsealed;
};

struct target {
	/* By disk. */
	char **names;
	char **paths;
	size_t ndisks;
	struct escrow_records records;
	struct volumes *volumes;
};

int target_open(const char *path, const struct target_options *o,
		struct target *out) MUST_USE;
void target_release(struct target *t);
static inline void drop_target(struct target *t)
{
	target_release(t);
}
