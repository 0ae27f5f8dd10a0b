// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * journal: whether a file system was left in order, or has changes in a journal that
 * only the replay of it shows. Who reads without replay sees an older state then, or,
 * with XFS, may see next to nothing.
 *
 * Known: ext2 to ext4, XFS, btrfs, NTFS, by blkid's names. Any thread.
 */
#pragma once
#include "backend/source/source.h"

enum journal_state {
	JOURNAL_NONE,	 /* this kind has none */
	JOURNAL_CLEAN,	 /* nothing is to be replayed */
	JOURNAL_DIRTY,	 /* something is, or may be */
	JOURNAL_UNKNOWN, /* not a kind that is known, or its log lies elsewhere */
};

const char *journal_state_name(enum journal_state s);

/* Fails only when the source does: what makes no sense is JOURNAL_UNKNOWN. */
int journal_read(struct source *s, const char *type,
		 enum journal_state *out) MUST_USE;
