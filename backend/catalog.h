// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * catalog: vaults, VMs, recovery points and disks, however they are kept. One
 * catalog is what one VAULT argument names; it has one vault or more.
 *
 * Everything is asked page by page and nothing is loaded whole. Names that come
 * out are valid (utf-8, 1..200 bytes, no '/', no control characters, neither
 * "." nor ".."); an implementation refuses others where they enter.
 *
 * Any thread. Calls may do I/O and block; a catalog looks for news of a VM at
 * most once per refresh interval (catalog_open()'s), on the calls themselves.
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/json.h"
#include "backend/base/scope.h"
#include "backend/source/cache.h"
#include "backend/source/source.h"
#include "backend/store/store.h"

#define CATALOG_NAME_MAX 200
#define CATALOG_DISKS_MAX 64

/* 0 for a valid name, else -EINVAL with a sentence that begins with what ("VM
 * name"). */
int catalog_check_name(const char *what, const char *name, size_t len) MUST_USE;

/* The (seq, nonce) of the session that made it; a unique number of a point in
 * its VM. */
struct point_id {
	uint64_t seq;
	uint64_t nonce;
};
#define POINT_ID_TEXT 34 /* "0000000000000001.9f86d081884c7d65" and NUL */
void point_id_text(const struct point_id *id, char out[static POINT_ID_TEXT]);
static inline bool point_id_equal(const struct point_id *a,
				  const struct point_id *b)
{
	return a->seq == b->seq && a->nonce == b->nonce;
}

/* The 4 hex digits that follow '~' where several points have one name: the
 * first two bytes of SHA-256 over seq and nonce, little endian. */
void point_id_tag(const struct point_id *id, char out[static 5]);

enum consistency {
	CONSISTENCY_UNKNOWN = 0,
	CONSISTENCY_CRASH = 1,
	CONSISTENCY_FILE_SYSTEM = 2,
	CONSISTENCY_APPLICATION = 3,
};
/* "CrashConsistent", …: Azure Backup's words. */
const char *consistency_text(enum consistency c);

struct name_page {
	char **names; /* ascending bytewise */
	size_t count;
	bool more;
};
void name_page_release(struct name_page *p);

/* What a listing of points shows; cheap. */
struct point_row {
	int64_t time_ns; /* unique in its VM */
	struct point_id id;
	enum consistency consistency;
	bool held;	     /* legal hold */
	bool caller_extents; /* "extents as given by the caller" */
	int64_t expiry_ns;   /* 0: none */
	uint16_t ndisks;
	/* for the implementation: */
	struct digest record_digest;
	uint32_t record_length;
	uint32_t object_length;
};
struct point_page {
	struct point_row *rows; /* ascending in time */
	size_t count;
	bool more;
	/* With more: no point lies between the last row and this time; one that
	 * is not after the last row says nothing. */
	int64_t next_ns;
};
void point_page_release(struct point_page *p);

enum disk_state { DISK_READY, DISK_NEEDS_GRANT, DISK_NEEDS_RESTORE };

struct disk_info {
	char name[CATALOG_NAME_MAX + 1];
	bool has_size;
	uint64_t size;
	enum disk_state state;
	const char *state_sentence; /* NULL when ready */
	bool caller_extents;
	bool was_vhd;
	bool has_root;
	struct digest root; /* identifies the image with size and chunk size */
	uint32_t chunk_size;
	uint64_t data_bytes;   /* in frames that are not zero */
	uint64_t stored_bytes; /* what its session stored for it */
	uint64_t read_bytes;   /* what its session read of the image */
	uint64_t dead_bytes;
};

struct label {
	char *key, *value;
};

/* All of a point's record; immutable, shared, counted. */
struct point_info {
	struct point_row row;
	struct point_id base; /* zeros: none */
	int64_t written_ns;
	char vm[CATALOG_NAME_MAX + 1];
	struct label *labels;
	size_t nlabels;
	size_t ndisks;
	struct disk_info *disks; /* ascending by name */
	/* May be NULL: a text about a point that has no disks to read. */
	const char *note;
	/* Optional: adds to what point_json() says, or replaces it. */
	void (*describe)(const struct point_info *, struct json *into);
	void *impl;
	void (*destroy)(struct point_info *);
	int refs; /* atomic */
};
struct point_info *point_info_ref(struct point_info *p);
void point_info_unref(struct point_info *p);
DROP_DEFINE(point_info, struct point_info *, point_info_unref)

/*
 * Escrow: documents about the keys of a point's volumes, as they are kept; what is
 * in them is told by crypt/escrow.h.
 */
struct escrow_doc {
	int disk;   /* index into the point's disks; -1: the whole VM */
	char *text; /* JSON; NUL-terminated */
	size_t len;
};
struct escrow_docs {
	struct escrow_doc *v;
	size_t n;
};
void escrow_docs_release(struct escrow_docs *l);
static inline void drop_escrow_docs(struct escrow_docs *l)
{
	escrow_docs_release(l);
}
int escrow_docs_add(struct escrow_docs *l, int disk, const void *text,
		    size_t len) MUST_USE;

/* How far the seals of a vault were verified. */
enum seal_trust {
	SEAL_UNPINNED, /* sound in themselves, but no owner key is pinned here */
	SEAL_PINNED,
	SEAL_NONE, /* no such vault: the service stands for its bytes */
};

struct catalog;

struct catalog_ops {
	const char *name;
	int (*vaults)(struct catalog *c, const char *after, size_t max,
		      struct name_page *out);
	int (*vms)(struct catalog *c, const char *vault, const char *after,
		   size_t max, struct name_page *out);
	int (*points)(struct catalog *c, const char *vault, const char *vm,
		      int64_t from_ns, size_t max, struct point_page *out);
	int (*latest)(struct catalog *c, const char *vault, const char *vm,
		      struct point_row *out);
	int (*count)(struct catalog *c, const char *vault, const char *vm,
		     uint64_t *points, uint64_t *version);
	int (*point)(struct catalog *c, const char *vault, const char *vm,
		     const struct point_row *row, struct point_info **ret);
	int (*open_disk)(struct catalog *c, const char *vault, const char *vm,
			 struct point_info *point, size_t disk,
			 struct source **ret);
	/* Optional: without it, points have no escrow. */
	int (*escrow)(struct catalog *c, const char *vault, const char *vm,
		      struct point_info *point, struct escrow_docs *out);
	int (*describe)(struct catalog *c, const char *vault,
			struct json *into);
	void (*close)(struct catalog *c);
};

struct catalog {
	const struct catalog_ops *ops;
	enum seal_trust trust;
	/* How many points a VM has, and which is its latest, costs requests of its
	 * own: not asked of each VM where only VMs are listed. */
	bool dear_points;
};

struct store_options;

struct catalog_options {
	struct cache *cache; /* shared by all that is opened; borrowed */
	uint64_t refresh_ms; /* how old news may be; 0: ask each time */
	/* What was fetched is kept here, in a folder a vault, at most so much
	 * of each; NULL or 0: nowhere. Only a vault that is far away has it
	 * kept, unless keep_near. */
	const char *keep_dir;
	uint64_t keep_bytes;
	bool keep_near;
	const struct store_options *store; /* borrowed during the call; may be
					      NULL */
};

/* Opens what a VAULT argument names, for reading. The catalog owns its
 * store. */
int catalog_open(const char *url, const struct catalog_options *o,
		 struct catalog **ret) MUST_USE;
/* "" for the start; the names after `after`. */
int catalog_vaults(struct catalog *c, const char *after, size_t max,
		   struct name_page *out) MUST_USE;
int catalog_vms(struct catalog *c, const char *vault, const char *after,
		size_t max, struct name_page *out) MUST_USE;
/* Points with time >= from_ns, ascending; a page may be short, but not empty
 * while there are more. -ENOENT: no such VM. */
int catalog_points(struct catalog *c, const char *vault, const char *vm,
		   int64_t from_ns, size_t max,
		   struct point_page *out) MUST_USE;
/* The greatest in time; -ENOENT if there is none. */
int catalog_latest(struct catalog *c, const char *vault, const char *vm,
		   struct point_row *out) MUST_USE;
/* How many points; version changes whenever the VM's list of points may
 * have. Both NULL: only whether the VM is there, which costs less. */
int catalog_count(struct catalog *c, const char *vault, const char *vm,
		  uint64_t *points, uint64_t *version) MUST_USE;
/* row as given by this catalog. -ESTALE with its sentence if it was dropped
 * meanwhile. */
int catalog_point(struct catalog *c, const char *vault, const char *vm,
		  const struct point_row *row,
		  struct point_info **ret) MUST_USE;
/* point->disks[disk]; may take long. The source keeps what it needs; it must be
 * closed before the catalog is. Reads of a point dropped meanwhile give -ESTALE
 * once its data is gone. */
int catalog_open_disk(struct catalog *c, const char *vault, const char *vm,
		      struct point_info *point, size_t disk,
		      struct source **ret) MUST_USE;
/* All escrow documents of a point, what was added later too: that is looked for at
 * most once per refresh interval. */
int catalog_escrow(struct catalog *c, const char *vault, const char *vm,
		   struct point_info *point, struct escrow_docs *out) MUST_USE;
/* What vault.json shows. */
int catalog_describe(struct catalog *c, const char *vault,
		     struct json *into) MUST_USE;
void catalog_close(struct catalog *c);

/* What point.json and `show` give of a point: times, consistency, disks, sizes,
 * root hashes, labels. */
struct json *point_json(const struct point_info *p);

/*
 * A disk's image with a VHD footer, the same bytes wherever it is made: the
 * footer's UUID is the first half of SHA-256("vaultfs:vhd:1\0\0\0" || root ||
 * seq || nonce) as a UUID of version 8, its time the point's. Takes image, on
 * failure too.
 */
int point_disk_as_vhd(const struct point_row *row, const struct disk_info *d,
		      struct source *image, struct source **ret) MUST_USE;

/*
 * A point as the user names it: a time (colons or not), a unique prefix of one,
 * an id, a name with ~hex, or "latest". -ENOENT, or -EINVAL when several match,
 * with a sentence that names some of them.
 */
int catalog_find_point(struct catalog *c, const char *vault, const char *vm,
		       const char *text, struct point_row *out) MUST_USE;

DROP_DEFINE(catalog, struct catalog *, catalog_close)
static inline void drop_name_page(struct name_page *p)
{
	name_page_release(p);
}
static inline void drop_point_page(struct point_page *p)
{
	point_page_release(p);
}
