// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the files fs/view*.c share. One implementation of struct folder a kind of
 * directory. Each embeds a struct folder and holds what is above it: a counted
 * place (catalog, vault, VM) of a counted view. No folder needs the one it was
 * opened from.
 *
 * What was read of a point is a card in a small bounded cache of the view, so that
 * folders, of which the kernel may keep very many alive, stay small; the text of
 * point.json is in it too, for fresh_ms.
 */
#pragma once
#include <stdatomic.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/source/fresh.h"
#include "fs/view.h"

/* A point's name: time, '~', whole id. */
#define POINT_NAME_SIZE (TIME_TEXT_SIZE + 1 + POINT_ID_TEXT)

struct vault_table;

struct view {
	atomic_uint refs;
	struct catalog **catalogs;
	size_t ncatalogs;
	uint32_t fresh_ms;
	int64_t born_ns;
	struct cache *cards;
	struct fresh *fresh; /* of keys of cards */
	struct resolver *resolver;

	/* Protects the two below. */
	pthread_mutex_t lock;
	struct vault_table *vaults;
	bool making_vaults; /* by one thread at a time */
};

/* A vault or a VM of one; immutable. */
struct place {
	atomic_uint refs;
	struct view *view;
	size_t number; /* of the catalog */
	char *vault;
	char *vm; /* NULL for a vault */
};

/* --- view.c --- */

struct view *view_ref(struct view *v);
void view_unref(struct view *v);
int view_place_new(struct view *v, size_t number, const char *vault,
		   const char *vm, struct place **ret) MUST_USE;
struct place *view_place_ref(struct place *p);
void view_place_unref(struct place *p);
struct catalog *view_catalog(const struct place *p);

struct entry_attr view_dir_attr(int64_t mtime_ns, uint32_t valid_ms);
struct entry_attr view_text_attr(size_t size, int64_t mtime_ns,
				 uint32_t valid_ms);
/* Of what lies above a point. */
struct entry_attr view_above_attr(const struct view *v);
int view_no_entry(const char *name);
int view_no_xattr(const char *name, const char *key);
/* A source; takes data, on failure too. */
int view_text_open(char *data, size_t len, struct source **ret) MUST_USE;
int view_copy_open(const void *text, size_t len, struct source **ret) MUST_USE;

/* --- view_names.c --- */

struct tag {
	char text[5];
};

/* The points of one second, and the tags that two of them or more have. */
struct group {
	const struct point_row *rows;
	size_t count;
	struct tag *ties;
	size_t nties;
};
int view_group_init(struct group *g, const struct point_row *rows,
		    size_t n) MUST_USE;
void view_group_name(const struct group *g, const struct point_row *row,
		     char out[static POINT_NAME_SIZE]);
void view_group_release(struct group *g);
static inline void drop_group(struct group *g)
{
	view_group_release(g);
}

/* Points from next_ns on, ascending, page by page. */
struct run {
	struct point_row *rows;
	size_t count, room;
	int64_t next_ns;
	bool ended; /* none after rows */
};
/* Makes rows begin with all points of one second; *n of them, 0 at the end. */
int view_run_second(struct run *run, struct place *p, size_t *n) MUST_USE;
void view_run_skip(struct run *run, size_t n);
static inline void drop_run(struct run *r)
{
	free(r->rows);
}
int64_t view_floor_second(int64_t ns);

int view_find_point(struct place *p, const char *name,
		    struct point_row *out) MUST_USE;
int view_latest_name(struct place *p, struct point_row *row,
		     char out[static POINT_NAME_SIZE]) MUST_USE;
/* Whether it is still there, and its row as it is now. */
int view_point_now(struct place *p, const struct point_row *row,
		   struct point_row *now) MUST_USE;

/* --- view_points.c --- */

/* What is known of a point, kept as long as the blob is. */
int view_card_get(struct place *p, const struct point_row *row,
		  struct cache_blob **ret) MUST_USE;
struct point_info *view_card(const struct cache_blob *b);
int view_xattr_point(struct place *p, const struct point_row *row,
		     const char *name, const char *key,
		     struct buf *out) MUST_USE;
int view_point_open(struct place *p, const struct point_row *row,
		    struct folder **ret) MUST_USE;

/* --- view_volumes.c --- */

int view_volumes_open(struct place *p, const struct point_row *row,
		      struct folder **ret) MUST_USE;
int view_escrow_open(struct place *p, const struct point_row *row,
		     struct folder **ret) MUST_USE;

/* --- view_vms.c --- */

int view_vault_open(struct view *v, size_t catalog, const char *vault,
		    struct folder **ret) MUST_USE;

DROP_DEFINE(view, struct view *, view_unref)
DROP_DEFINE(place, struct place *, view_place_unref)
