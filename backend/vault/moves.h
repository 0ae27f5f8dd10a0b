// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where relocate commits moved what (FORMAT.md 9). Asked only when a place
 * fails.
 */
#pragma once
#include "backend/vault/vault.h"

/*
 * The present place of what was at *p of a disk: 0 and *p changed, or -ENOENT
 * when no relocate commit moved it. Any thread.
 */
int moves_find(struct vault *v, const char *vm, const char *disk,
	       struct place *p) MUST_USE;
