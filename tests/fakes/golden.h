// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The vaults of tests/data: unpacked, loaded into a memory store, and compared with
 * what the independent writer says is in them. Failures end the program, as checks do;
 * without tar or xz it ends as skipped.
 */
#pragma once
#include "backend/vault/vault.h"
#include "tests/fakes/store_memory.h"

/* Unpacks tests/data/NAME.tar.xz below TMPDIR; the path of its directory, to be freed. */
char *golden_unpack(const char *name);
/* What tests/data/NAME.json says; json_close(). */
struct json *golden_json(const char *name);
/* Its objects in a new memory store. */
struct store *golden_load(const char *name);
/* Everything that the catalog has against everything that want has, every byte read:
 * how many disks were compared. */
size_t golden_compare(struct catalog *c, const struct json *want);
/* The seed of a key that the writer made from these words: "owner", "writer a". */
struct secret *golden_seed(const char *words);
/* Makes VAULTFS_CONFIG_DIR and VAULTFS_STATE_DIR new empty directories. */
void golden_fresh_user(void);
