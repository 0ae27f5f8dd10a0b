// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * model: what the answers of Recovery Services, Backup and Compute say, taken out
 * of their JSON. Pure: no requests.
 *
 * Tolerant in what it reads, since the services are: ids in any case, durations
 * and enumerations of both generations of the API (2018: numbers and
 * "00:20:23.0896697"; now: words and "PT30M46.6954998S"), times with seven digits
 * and with no zone, 0001-01-01 for none, and any member missing. An element that
 * cannot be an answer at all is -EPROTO with a sentence.
 *
 * Each add function appends to an array that grows; elements are released by the
 * release function of the array.
 */
#pragma once
#include "backend/azure/names.h"
#include "backend/azure/settings.h"
#include "backend/base/json.h"
#include "backend/base/secret.h"
#include "backend/catalog.h"

/* --- lists that grow --- */

struct rsv_vault {
	char *id;   /* as the service has it */
	char *name; /* its own; shown may be longer */
	char *shown;
	char *location;
};
struct rsv_vaults {
	struct rsv_vault *v;
	size_t count, room;
};
int rsv_vaults_add(struct rsv_vaults *to, const struct json *values) MUST_USE;
void rsv_vaults_release(struct rsv_vaults *l);

struct rsv_item {
	char *id;
	char *name; /* what people call it */
	char *shown;
	char *kind;	 /* "Microsoft.Compute/virtualMachines", … */
	char *source_id; /* of the VM; NULL for what is none */
	char *state;	 /* "Protected"; NULL */
	char *policy;	 /* its name; NULL */
	bool is_vm;
	bool classic;
	bool soft_deleted;
};
struct rsv_items {
	struct rsv_item *v;
	size_t count, room;
};
int rsv_items_add(struct rsv_items *to, const struct json *values) MUST_USE;
void rsv_items_release(struct rsv_items *l);

enum rsv_tier {
	RSV_TIER_SNAPSHOT = 1, /* InstantRP, Valid: can be read */
	RSV_TIER_VAULT = 2,    /* HardenedRP, Valid */
	RSV_TIER_ARCHIVE = 4,
	RSV_TIER_REHYDRATED = 8,
};
/* "snapshot and vault", "vault-standard", …: the portal's words. */
const char *rsv_tier_text(unsigned tiers);

struct rsv_key {
	char *secret_url;
	char *secret_data;  /* wrapped, in base64; else NULL */
	struct secret *bek; /* where the point has it, and not wrapped */
	char *key_url, *mechanism;
	/* Backup blobs, which are secrets too, in base64 with its NUL. */
	struct secret *key_backup, *secret_backup;
};

void rsv_key_release(struct rsv_key *k);

struct rsv_disk_ref {
	int lun; /* -1: the OS disk */
	char *name;
};

struct rsv_point {
	char *name; /* the last part of its id */
	int64_t time_ns;
	enum consistency consistency;
	unsigned tiers; /* enum rsv_tier */
	int64_t expiry_ns;
	bool encrypted, private_access, managed, confidential;
	char *os;
	char *kind; /* objectType */
	bool has_key;
	struct rsv_key key;
	struct rsv_disk_ref *disks; /* recoveryPointDiskConfiguration */
	size_t ndisks;
	bool knows_disks;
};
struct rsv_points {
	struct rsv_point *v;
	size_t count, room;
};
int rsv_points_add(struct rsv_points *to, const struct json *values) MUST_USE;
/* When all are there: ascending in time, which is unique then: of two in one tick
 * of the service's clock (100 ns) the later by name comes a nanosecond later. */
void rsv_points_order(struct rsv_points *l);
/* One point, from the answer that has only it. There may be keys in j
 * (json_close_secret()). */
int rsv_point_parse(const struct json *j, struct rsv_point *out) MUST_USE;
void rsv_point_release(struct rsv_point *p);
void rsv_points_release(struct rsv_points *l);

/* --- restore points of Compute --- */

struct rsv_collection {
	char *id;
	char *source_id;
};
struct rsv_collections {
	struct rsv_collection *v;
	size_t count, room;
};
/* Those made by Azure Backup only. */
int rsv_collections_add(struct rsv_collections *to,
			const struct json *values) MUST_USE;
void rsv_collections_release(struct rsv_collections *l);

struct rsv_snapshot_disk {
	int lun; /* -1: the OS disk */
	char *name;
	char *id;	 /* of the disk restore point */
	char *source_id; /* of the managed disk; may be NULL */
	uint64_t size;	 /* 0: not told */
	struct rsv_settings keys;
};
struct rsv_snapshot {
	char *id, *name;
	int64_t time_ns;
	bool ready;
	struct rsv_snapshot_disk *disks;
	size_t ndisks;
};
struct rsv_snapshots {
	struct rsv_snapshot *v;
	size_t count, room;
};
/* From a collection, got with $expand=restorePoints. */
int rsv_snapshots_add(struct rsv_snapshots *to,
		      const struct json *collection) MUST_USE;
void rsv_snapshots_release(struct rsv_snapshots *l);

/* How far a restore point's time may be from its recovery point's: the snapshot is
 * taken within the job, and no VM is backed up more often than hourly. */
#define RSV_NEAR_NS (INT64_C(30) * 60 * 1000000000)
/* The nearest one in time that is ready; NULL if none is near. */
const struct rsv_snapshot *rsv_snapshot_near(const struct rsv_snapshots *l,
					     int64_t time_ns);

/* The SAS in an answer of beginGetAccess: {"accessSAS"}, or an operation's status.
 * -EPROTO. Borrowed from j. */
int rsv_access_sas(const struct json *j, const char **ret) MUST_USE;

/* --- words --- */

/* "PT30M46.6954998S", "P1DT2H", "00:20:23.0896697", "1.02:03:04": milliseconds. */
int rsv_duration_ms(const char *text, uint64_t *ms) MUST_USE;
/* false for none: absent, null, 0001-01-01. */
bool rsv_time(const char *text, int64_t *ns);

/* Gives each its shown name (names.h), and sorts by it. */
int rsv_vaults_show(struct rsv_vaults *l) MUST_USE;
int rsv_items_show(struct rsv_items *l) MUST_USE;
struct name_list rsv_vaults_names(const struct rsv_vaults *l);
struct name_list rsv_items_names(const struct rsv_items *l);

static inline void drop_rsv_vaults(struct rsv_vaults *l)
{
	rsv_vaults_release(l);
}
static inline void drop_rsv_items(struct rsv_items *l)
{
	rsv_items_release(l);
}
static inline void drop_rsv_points(struct rsv_points *l)
{
	rsv_points_release(l);
}
static inline void drop_rsv_point(struct rsv_point *p)
{
	rsv_point_release(p);
}
static inline void drop_rsv_collections(struct rsv_collections *l)
{
	rsv_collections_release(l);
}
static inline void drop_rsv_snapshots(struct rsv_snapshots *l)
{
	rsv_snapshots_release(l);
}
static inline void drop_rsv_key(struct rsv_key *k)
{
	rsv_key_release(k);
}
