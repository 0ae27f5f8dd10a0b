// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * resolver: the volumes of points, opened when they are first asked for, by threads
 * of its own; what is done is kept for a while. So a request waits only for its own
 * point, and may stop waiting (cancel_asked()): the work goes on, and is there for
 * the next one who asks.
 *
 * What is locked is looked at again after a while: a record may have been added.
 *
 * Any thread.
 */
#pragma once
#include "backend/catalog.h"
#include "crypt/volumes.h"

struct resolver;

/* All of it is borrowed. */
struct resolver_options {
	struct catalog *const *catalogs;
	uint32_t fresh_ms;
	struct keyring *keyring; /* NULL: none */
	struct keycache *cache;
	bool trust_unsealed; /* records of vaults whose owner key is not pinned */
	const struct resolver_header *headers;
	size_t nheaders;
};

/* --header VM/DISK-pN=FILE */
struct resolver_header {
	const char *vm; /* NULL: any */
	struct volumes_header_file file;
};

int resolver_new(const struct resolver_options *o,
		 struct resolver **ret) MUST_USE;
/* Nobody has anything of it. Stops what is under way. */
void resolver_free(struct resolver *r);
/* What is locked, or could not be found out, is looked at anew. */
void resolver_reset(struct resolver *r);

/* Azure lets a few points of a disk be read at a time: forgets the point of this VM
 * that was not used for longest, and its disks with it. False: there is none but
 * those in use. */
bool resolver_make_room(struct resolver *r, size_t catalog, const char *vault,
			const char *vm);

struct resolved;
/* Counted. -ECANCELED when it is not wanted any more; -EAGAIN when too many wait. */
int resolver_get(struct resolver *r, size_t catalog, const char *vault,
		 const char *vm, const struct point_row *row,
		 struct resolved **ret) MUST_USE;
void resolved_unref(struct resolved *p);
struct volumes *resolved_volumes(struct resolved *p);
/* The text of volumes.json. */
const char *resolved_json(const struct resolved *p, size_t *len);

DROP_DEFINE(resolver, struct resolver *, resolver_free)
DROP_DEFINE(resolved, struct resolved *, resolved_unref)
