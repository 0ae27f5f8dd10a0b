// SPDX-License-Identifier: GPL-3.0-or-later
/* The VAULT of a command, its first operand, opened for reading or writing, with
 * the cache it needs. */
#pragma once
#include "backend/base/parse.h"
#include "backend/catalog.h"
#include "backend/vault/vault.h"
#include "tools/common/options.h"

struct opened {
	struct cache *cache;
	struct catalog *catalog;
	char name[CATALOG_NAME_MAX + 1]; /* of its one vault */
};

/* Whatever VAULT may be. Says so on stderr when no owner key is pinned here. */
int open_reading(const struct command *c, struct opened *o) MUST_USE;
/* The same, but says nothing. */
int open_quietly(const struct command *c, struct opened *o) MUST_USE;
/* One that an option names. */
int open_url(const struct command *c, const char *url,
	     struct opened *o) MUST_USE;
/* A native vault, whose keys will be needed: also sets up locked memory. */
int open_writing(const struct command *c, struct opened *o) MUST_USE;
/* The native vault of one that is open; fails for another kind. */
int opened_native(struct opened *o, struct vault **ret) MUST_USE;
void opened_close(struct opened *o);
static inline void drop_opened(struct opened *o)
{
	opened_close(o);
}

/* A name the user gave, before anything is asked of the vault. */
int check_name_arg(const char *what, const char *name) MUST_USE;

/*
 * The name of a point that the commands and the mount show: its time, and ~
 * with four hex digits of its id when another point (a neighbour in time: prev
 * or next, which may be NULL) has the same one.
 */
#define POINT_NAME_SIZE (TIME_TEXT_SIZE + 8)
void point_name(const struct point_row *row, const struct point_row *prev,
		const struct point_row *next, char out[static POINT_NAME_SIZE]);
