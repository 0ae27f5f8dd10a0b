// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * stash: a bounded cache on disk, from a 32-byte key to some bytes. It holds what a
 * vault has stored, as it is stored: neither clear bytes of an encrypted vault, nor
 * anything that cannot be fetched again.
 *
 * One file, DIR/stash, for any number of processes and threads, with no lock between
 * processes and nothing to recover: it is a table of sets, a key belongs to one set, and each
 * entry is checked when it is used (its key, length and CRC32C). What two writers, a
 * kill or a power failure have torn is not found. A caller whose own digest does not
 * match takes that for a miss too.
 *
 * A cache that cannot be written is not an error: stash_put() then does nothing for a
 * while. It also leaves a twentieth of the file system free for others.
 *
 *	file	header (4 KiB), then sets of STASH_SET bytes
 *	set	index (8 KiB), then an arena of 2 MiB
 *	index	where the next entry goes (slot, offset), then 126 entries of
 *		64 bytes {key, offset, length, CRC of the bytes, CRC of the entry}
 *
 * In a set the oldest goes first, whether it was used or not: what is used often is
 * in memory.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/scope.h"

#define STASH_KEY_SIZE 32
#define STASH_BYTES_MAX (128u << 10) /* of one entry */
#define STASH_ARENA (2u << 20)
#define STASH_INDEX (8u << 10)
#define STASH_SET (STASH_INDEX + STASH_ARENA)
#define STASH_HEADER 4096u

struct stash;

/*
 * Opens DIR/stash, made if it is not there (0600; the folders of DIR too, 0700), of at
 * most max_bytes, at least one set. One that has another size gets this one, for
 * all who use it. Fails where nothing can be read and written.
 */
int stash_open(const char *dir, uint64_t max_bytes,
	       struct stash **ret) MUST_USE;
void stash_close(struct stash *s);
DROP_DEFINE(stash, struct stash *, stash_close)

/* Exactly len bytes into buf, if they are there and sound. */
bool stash_get(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
	       void *buf, size_t len);
/* A hint; the same key always stands for the same bytes. */
void stash_put(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
	       const void *data, size_t len);

struct stash_stats {
	uint64_t hits, misses;
	uint64_t damaged; /* of the misses: entries that were not sound */
	uint64_t puts, failed_puts;
};
void stash_stats(struct stash *s, struct stash_stats *out);
