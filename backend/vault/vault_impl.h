// SPDX-License-Identifier: GPL-3.0-or-later
/* What a vault's header and config (vault.c) and its heads (heads.c) share. */
#pragma once
#include <pthread.h>

#include "backend/vault/vault.h"

struct vault {
	struct store *store;
	struct cache *cache; /* borrowed */
	struct fetch *fetch; /* NULL: the store is near, and nothing is kept */
	uint64_t refresh_ms;
	struct vault_id id;
	struct sign_public owner;
	enum seal_trust trust;
	char name[CATALOG_NAME_MAX + 1];

	/* Protects what follows. Never held across I/O. */
	pthread_mutex_t lock;
	pthread_cond_t slot_free;
	struct vault_config *config;
	uint64_t config_read_ns; /* monotonic, when its reading began */
	struct slot *slots;
	size_t nslots;
	uint64_t slot_bytes; /* of the heads in them */
	bool state_warned;
};

/* The greatest of the numbers whose <~n> end the keys of a prefix: mostly the first key,
 * but keys that the format does not have are passed over. -ENOENT: none. */
int vault_newest_number(struct store *s, const char *prefix,
			uint64_t *n) MUST_USE;
/* Remembering what was seen is a help, not a duty: a mount may run where nothing can be
 * kept. Says so once. */
void vault_cannot_remember(struct vault *v, int r);
void vault_free_slots(struct vault *v);
