// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The escrow addenda of VMs (FORMAT.md 5.3): listed at most once per refresh
 * interval, and each read once, however many points are asked about. Any thread;
 * no lock is held while the store is asked.
 */
#pragma once
#include "backend/vault/vault.h"

struct addenda;
int addenda_new(struct vault *v, uint64_t refresh_ms,
		struct addenda **ret) MUST_USE;
void addenda_free(struct addenda *a);
DROP_DEFINE(addenda, struct addenda *, addenda_free)

/* Adds those of a point to docs. One that is not sound, or is sealed by a key that
 * does not count, is left out, and told once. */
int addenda_of(struct addenda *a, const struct vault_point *p,
	       struct escrow_docs *docs) MUST_USE;

/* Reads one and checks it, but for the point that it names. text is part of
 * *bytes, to be freed by the caller. */
int addendum_read(struct vault *v, const char *vm, const char *vm_key,
		  const struct point_id *gen, uint8_t **bytes,
		  struct vf_addendum *out) MUST_USE;
/* one() for the generation of each, ascending by key; what it returns ends it,
 * unless it is 0. */
int addenda_list(struct vault *v, const char *vm_key,
		 int (*one)(void *ctx, const struct point_id *gen),
		 void *ctx) MUST_USE;
