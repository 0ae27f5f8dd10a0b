// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keycache: the volume keys of a process, by the metadata that they belong to and
 * the record or key that gave them; and that one gave none. So the points of a
 * lineage cost one derivation, until the header changes.
 *
 * Any thread; one derivation at a time, others wait.
 */
#pragma once
#include "crypt/volume.h"

struct keycache;

int keycache_new(struct keycache **ret) MUST_USE;
void keycache_free(struct keycache *c);
/* How often a key was derived, or it was tried. */
uint64_t keycache_derived(struct keycache *c);

/* What opens a volume with metadata `metadata`, by key `who`: equal digests, equal
 * keys. */
struct keycache_key {
	struct digest metadata;
	struct digest who;
};

/* 0: *ret is a reference; -ENOKEY: who does not open it; -EAGAIN: not known.
 * Without a sentence. */
int keycache_find(struct keycache *c, const struct keycache_key *key,
		  struct volume_key **ret) MUST_USE;
/*
 * The same, and made by derive(ctx) if it is not known: 0, -ENOKEY (which is
 * remembered), or another failure (which is not).
 */
int keycache_get(struct keycache *c, const struct keycache_key *key,
		 int (*derive)(void *ctx, struct volume_key **ret), void *ctx,
		 struct volume_key **ret) MUST_USE;

DROP_DEFINE(keycache, struct keycache *, keycache_free)
