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

/*
 * Names a key, so that records which hold the same one are known to, however they
 * wrap it: a MAC under a key that this cache alone has, so that the name, unlike a
 * digest, gives nobody a guess at the key.
 */
int keycache_name(struct keycache *c, struct secret *key, enum key_kind kind,
		  struct digest *out) MUST_USE;

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
/* What is known of one key is known by another name, too; found is NULL where it
 * does not open it. */
void keycache_add(struct keycache *c, const struct keycache_key *key,
		  struct volume_key *found);

DROP_DEFINE(keycache, struct keycache *, keycache_free)
