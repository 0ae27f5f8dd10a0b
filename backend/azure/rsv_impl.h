// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of the catalog of an Azure vault share; nobody else includes it. */
#pragma once
#include "backend/azure/access.h"
#include "backend/azure/jobs.h"
#include "backend/azure/rsv.h"
#include "backend/base/pool.h"
#include "backend/source/fresh.h"

#define RSV_API_VAULTS "api-version=2024-04-01"
#define RSV_API_BACKUP "api-version=2023-06-01"
#define RSV_API_COMPUTE "api-version=2024-07-01"

struct rsv {
	struct catalog c;
	struct azure *az;
	struct rsv_address at;
	struct cache *bytes; /* the caller's */
	struct cache *meta;
	struct fresh *fresh; /* of keys of meta */
	struct access_table *access;
	/* For the containers of restore jobs; its texts are ours. */
	struct store_options store;
	struct pool *readers;
};

/* --- rsv_fetch.c: the lists of the service, kept for a while --- */

/* A vault and one of its items, with the lists that hold them. */
struct rsv_place {
	struct cache_blob *vaults, *items;
	const struct rsv_vault *vault;
	const struct rsv_item *item;
};
void rsv_place_release(struct rsv_place *p);
static inline void drop_rsv_place(struct rsv_place *p)
{
	rsv_place_release(p);
}

/* The blob of a kind for an id (compared without case), made anew once it is too old;
 * *generation may be NULL. */
int rsv_fetched(struct rsv *r, const char *kind, const char *id,
		cache_fill_fn *fill, void *ctx, uint64_t *generation,
		struct cache_blob **ret) MUST_USE;
/* The blob's data is a struct rsv_vaults, by shown name; and so on. */
int rsv_get_vaults(struct rsv *r, struct cache_blob **ret) MUST_USE;
/* -ENOENT where there is none of that shown name. */
int rsv_find_vault(struct rsv *r, const char *vault,
		   struct rsv_place *p) MUST_USE;
int rsv_find_items(struct rsv *r, const char *vault,
		   struct rsv_place *p) MUST_USE;
int rsv_find_item(struct rsv *r, const char *vault, const char *vm,
		  struct rsv_place *p) MUST_USE;
/* struct rsv_points; *generation (may be NULL) changes when they may have. */
int rsv_get_points(struct rsv *r, const struct rsv_place *p,
		   uint64_t *generation, struct cache_blob **ret) MUST_USE;
/* struct rsv_snapshots of the machine. */
int rsv_get_snapshots(struct rsv *r, const struct rsv_item *item,
		      struct cache_blob **ret) MUST_USE;
/* struct rsv_restores of the vault. */
int rsv_get_restores(struct rsv *r, const struct rsv_vault *vault,
		     struct cache_blob **ret) MUST_USE;
/* struct rsv_job, with all that it says. */
int rsv_get_job(struct rsv *r, const struct rsv_restore *restore,
		struct cache_blob **ret) MUST_USE;
bool rsv_is_guid(const char *s, size_t n);

/* struct rsv_settings: how a managed disk is encrypted as it is now. One that is gone,
 * or that may not be seen, says nothing. */
int rsv_get_disk_settings(struct rsv *r, const char *id,
			  struct cache_blob **ret) MUST_USE;

/* --- rsv_point.c: one point --- */

struct rsv_disk_place {
	char *id;		  /* of the disk restore point */
	char *family;		  /* of the managed disk */
	struct rsv_settings keys; /* as its restore point has them */
};

struct rsv_point_info {
	struct point_info info; /* first */
	struct rsv_point point;
	struct rsv_facts facts;
	char *item_id, *vault_id, *source_id, *location, *kind, *policy;
	char *sentence; /* of the disks that are not ready */
	char *restored; /* az:// of the disks that a job left; may be NULL */
	struct cache_blob *left; /* they are its disks: a struct rsv_left */
	char *note;
	struct rsv_disk_place *places; /* one a disk; NULL: no snapshot */
};

/* name: the service's, of the point that row stands for. */
int rsv_point_open(struct rsv *r, const struct rsv_place *p,
		   const struct point_row *row, const char *name,
		   struct point_info **ret) MUST_USE;

/* --- rsv_restored.c --- */

/* The newest restore job that has left the disks of the item's point of that time in a
 * storage account: a struct rsv_job. *ret is NULL when none is known to have. */
int rsv_find_restored(struct rsv *r, const struct rsv_place *p, int64_t time_ns,
		      struct cache_blob **ret) MUST_USE;

/* --- rsv_left.c: the disks that a restore job left, as those of the point --- */

/* What was found in the container. */
struct rsv_left {
	char *url; /* az://ACCOUNT/CONTAINER */
	struct catalog *catalog;
	int64_t end_ns;		 /* of the job */
	struct point_info *info; /* NULL: it cannot be read */
	char *why;		 /* then */
};
/* A struct rsv_left, looked for at most once in the refresh interval. */
int rsv_get_left(struct rsv *r, const struct rsv_job *job,
		 struct cache_blob **ret) MUST_USE;
/* The source has a reference of its own. */
int rsv_left_open(struct cache_blob *left, size_t disk,
		  struct source **ret) MUST_USE;

/* --- rsv_escrow.c --- */

/* Documents as a vault of ours keeps them (FORMAT.md, 5.4), of what the point and its
 * disks say of their keys. */
int rsv_point_escrow(struct rsv *r, struct rsv_point_info *i,
		     struct escrow_docs *out) MUST_USE;

static inline struct rsv_point_info *rsv_info_of(struct point_info *p)
{
	return container_of(p, struct rsv_point_info, info);
}
