// SPDX-License-Identifier: GPL-3.0-or-later
/* Escrow records where a user has them: files, and the directories of points in a
 * mount. */
#pragma once
#include "crypt/escrow.h"

/* It is a directory. */
bool is_point_dir(const char *path);
/* All that are in its escrow/; what is of another kind is left out. -ENOENT: it has
 * none. */
int point_dir_records(const char *path, struct escrow_records *out) MUST_USE;
/*
 * NULL when the mount says that the vault's seals are verified with a pinned key;
 * else why records of it must not be tried: a sentence, good until the next call.
 */
const char *point_dir_untrusted(const char *path);

/* How well a record is for a volume ("os-p2"): 3 for it, 2 for its disk, 1 for
 * the whole VM, 0 not. */
int record_fits(const struct escrow_record *r, const char *volume);
