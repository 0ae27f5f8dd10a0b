// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What this user keeps of each vault, outside of it:
 *
 *	$VAULTFS_CONFIG_DIR, else $XDG_CONFIG_HOME/vaultfs, else ~/.config/vaultfs:
 *		vaults/<vault id>/owner.pub	the pinned owner key, 64 hex digits
 *		vaults/<vault id>/owner.key	0600, where the vault was made
 *		vaults/<vault id>/writer.key	0600, on each host that writes
 *	$VAULTFS_STATE_DIR, else $XDG_STATE_HOME/vaultfs, else ~/.local/state/vaultfs:
 *		vaults/<vault id>/config	the greatest config n seen, and its digest
 *		vaults/<vault id>/heads/<vm>	the last head seen: seq and digest
 *
 * (~ is the password file's when HOME is not set: a systemd mount.) Files are
 * replaced by rename. Any thread; several processes.
 */
#pragma once
#include "backend/vault/format.h"

/* 0; -ENOENT when none is pinned. */
int keys_pinned(const struct vault_id *id, struct sign_public *out) MUST_USE;
/* -EEXIST if another one is pinned. */
int keys_pin(const struct vault_id *id,
	     const struct sign_public *owner) MUST_USE;
/* which: "owner" or "writer". -ENOENT with a sentence that says what to do. */
int keys_load(const struct vault_id *id, const char *which,
	      struct secret **seed) MUST_USE;
/* -EEXIST if there is one. */
int keys_save(const struct vault_id *id, const char *which,
	      struct secret *seed) MUST_USE;

/* Where the cache on disk is, unless the user says otherwise; it need not exist. -ENXIO:
 * no home is known. */
int keys_cache_dir(char *out, size_t size) MUST_USE;

/* The last head seen; seq 0 when none. */
int keys_seen_head(const struct vault_id *id, const char *vm_encoded,
		   uint64_t *seq, struct digest *digest) MUST_USE;
/* one() for each VM, as in keys, of which a head was seen, in no order; what it
 * returns ends it, unless it is 0. */
int keys_seen_vms(const struct vault_id *id,
		  int (*one)(void *ctx, const char *vm_encoded),
		  void *ctx) MUST_USE;
int keys_see_head(const struct vault_id *id, const char *vm_encoded,
		  uint64_t seq, const struct digest *digest) MUST_USE;
/* The file that remembers the head of a VM (NULL: the config), for people to
 * remove; "" when no place for it is known. */
#define KEYS_PATH_SIZE 4096
void keys_seen_path(const struct vault_id *id, const char *vm_encoded,
		    char path[static KEYS_PATH_SIZE]);
int keys_seen_config(const struct vault_id *id, uint64_t *n,
		     struct digest *digest) MUST_USE;
int keys_see_config(const struct vault_id *id, uint64_t n,
		    const struct digest *digest) MUST_USE;
