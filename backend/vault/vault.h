// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The native vault, opened: its config, the heads of its VMs, the point index,
 * point records, and the trees of their disks. FORMAT.md says what lies in the
 * store.
 *
 * Any thread. A struct vm_head is an immutable snapshot of one head; it is
 * counted, and the vault keeps the newest one of each VM that was asked for
 * (bounded: the least recently used are dropped).
 */
#pragma once
#include "backend/catalog.h"
#include "backend/vault/format.h"

struct vault;

/*
 * Opens the vault in a store, which it owns from then on, on failure too. Reads
 * the header and the newest config: three requests. -ENOENT: not a vault;
 * -ENOTSUP: of a newer format;
 * -EKEYREJECTED: another owner key is pinned, or rolled back. cache: borrowed.
 */
int vault_open(struct store *store, struct cache *cache, uint64_t refresh_ms,
	       struct vault **ret) MUST_USE;
/* Frames, tables and pages that are read from now on are kept in DIR/<vault id>,
 * at most max_bytes of them (backend/source/stash.h). Before anything is read. */
int vault_keep_on_disk(struct vault *v, const char *dir,
		       uint64_t max_bytes) MUST_USE;
void vault_close(struct vault *v);
DROP_DEFINE(vault, struct vault *, vault_close)

/*
 * Makes a new vault in a writable store (borrowed): owner and writer keys,
 * header, first config, pins the owner key. -EEXIST if there is a vault
 * already, or what is left of one.
 */
int vault_init(struct store *store, const char *name,
	       struct vault_id *id) MUST_USE;
/* For a store without a header: 1 and a key if other objects of a vault are
 * there, else 0. And what to say of it, with that key. */
int vault_remains(struct store *s, char key[static VF_KEY_SIZE]) MUST_USE;
#define VAULT_HEADLESS                                                         \
	"it has %s, and no " VF_HEADER_KEY ": put " VF_HEADER_KEY              \
	" back from a copy of the vault, or, if the vault was never finished," \
	" empty it and run 'vaultctl init'"

struct store *vault_store(struct vault *v);
const struct vault_id *vault_id(const struct vault *v);
const char *vault_name(const struct vault *v);
enum seal_trust vault_trust(const struct vault *v);
struct cache *vault_cache(const struct vault *v);
/* How it is read over latency; NULL: its store is near, and nothing is kept on disk. */
struct fetch *vault_fetch(const struct vault *v);
/* The newest config as read at opening or by vault_reload_config(). Counted. */
struct vault_config {
	struct vf_config c;
	int refs;
};
struct vault_config *vault_config_ref(struct vault *v);
void vault_config_unref(struct vault_config *c);
int vault_reload_config(struct vault *v) MUST_USE;
DROP_DEFINE(vault_config, struct vault_config *, vault_config_unref)
/* Signs and puts c as config n = newest + 1 (prev, n, owner, id are set here).
 * -EEXIST: another was faster. */
int vault_put_config(struct vault *v, struct vf_config *c) MUST_USE;

struct vm_head {
	struct vf_commit c;
	char vm[CATALOG_NAME_MAX + 1];
	char vm_key[CATALOG_NAME_MAX + 1]; /* encoded */
	int refs;
};
/*
 * The head of a VM: -ENOENT no such VM. max_age_ms: how old the answer may be;
 * 0: asks the store (one request when nothing changed). Verifies seal, writer
 * key, vault, name and number, and against the last head seen.
 */
int vault_head(struct vault *v, const char *vm, uint64_t max_age_ms,
	       struct vm_head **ret) MUST_USE;
void vm_head_unref(struct vm_head *h);
DROP_DEFINE(vm_head, struct vm_head *, vm_head_unref)
/* Reads and verifies one commit by its seq: for verify and chains. -ENOENT. */
int vault_commit(struct vault *v, const char *vm_key, uint64_t seq,
		 struct vf_commit *out) MUST_USE;
/* VMs that exist, and those that were seen before and are gone, ascending. */
int vault_vms(struct vault *v, const char *after, size_t max,
	      struct name_page *out) MUST_USE;

/* Page i of the head's point index: rows[VF_INDEX_ROWS]. */
int vault_index_page(struct vault *v, struct vm_head *h, size_t i,
		     struct point_row *rows, size_t *n) MUST_USE;
/* Row of the point with this id, or time; -ENOENT. */
int vault_find_id(struct vault *v, struct vm_head *h, const struct point_id *id,
		  struct point_row *out) MUST_USE;
int vault_find_time(struct vault *v, struct vm_head *h, int64_t time_ns,
		    struct point_row *out) MUST_USE;

/* A point's record, its labels, and its root pages; counted through
 * point_info. */
struct vault_point {
	struct point_info info; /* first */
	struct vf_point p;
	uint8_t *object; /* the whole point object's bytes, or NULL: read apart */
	size_t object_length;
	uint8_t *record; /* bytes of the record (its digest is the row's) */
	size_t record_length;
};
int vault_point(struct vault *v, struct vm_head *h, const struct point_row *row,
		struct vault_point **ret) MUST_USE;
/* Adds the escrow that is in its own object to docs, on failure too; addenda.h has
 * the rest. */
int vault_point_escrow(struct vault *v, const char *vm_key,
		       struct vault_point *p,
		       struct escrow_docs *docs) MUST_USE;

/* What to say of an object that a point needs and that is not there, having
 * looked at the head anew: -ESTALE, the point was dropped; -EIO, the vault is
 * damaged. */
int vault_gone(struct vault *v, const char *vm, const struct point_row *row,
	       const char *key) MUST_USE;
/* Where r is that of damage (-EBADMSG, -EPROTO, -EIO), its sentence gets the
 * advice that it calls for. Returns r. */
#define VAULT_DAMAGED_ADVICE "run 'vaultctl verify'"
int vault_damaged(int r);

/*
 * tree: the verified pages of one disk of one point, through the shared cache.
 * The nodes are counted blobs: cache_unref(). Keeps the point's record; any
 * thread.
 */
struct tree;
int tree_open(struct vault *v, struct vault_point *p, size_t disk,
	      struct tree **ret) MUST_USE;
void tree_close(struct tree *t);
const struct vf_geometry *tree_geometry(const struct tree *t);
const struct vf_disk *tree_disk(const struct tree *t);
struct vault *tree_vault(const struct tree *t);
/* The page `number` of a level, the blob's data being a struct vf_node; *ret is
 * NULL when it is all zeros. Level root_level is the root. */
int tree_page(struct tree *t, uint8_t level, uint64_t number,
	      struct cache_blob **ret) MUST_USE;
/* The frame table of a chunk; NULL when it is all zeros. */
int tree_table(struct tree *t, uint64_t chunk,
	       struct cache_blob **ret) MUST_USE;
/* Reads n bytes of a stored object of this disk (a place, or a run of
 * neighbours), looking in the relocate lists when it is not there: -ESTALE when
 * it is gone for good. */
int tree_read_place(struct tree *t, const struct place *p, void *buf) MUST_USE;
/* The key of a place in the cache on disk. */
void tree_place_key(const struct tree *t, const struct place *p,
		    uint8_t key[static CACHE_KEY_SIZE]);
/* From the stored bytes of one frame, e->place.length of them, its plain ones:
 * verified. -EBADMSG, -EPROTO. */
int tree_check_frame(struct tree *t, uint64_t frame, const struct vf_entry *e,
		     const void *stored, void *plain) MUST_USE;
/* The plain bytes of one frame, verified. buf holds its vf_frame_length(). */
int tree_read_frame(struct tree *t, uint64_t frame, const struct vf_entry *e,
		    void *buf) MUST_USE;
DROP_DEFINE(tree, struct tree *, tree_close)

/* disk: the whole image as a source, every byte verified. Takes t, on failure
 * too. */
int source_open_disk(struct tree *t, struct source **ret) MUST_USE;

/* The catalog of one native vault; takes the store, on failure too. */
int catalog_open_vault(struct store *store, const struct catalog_options *o,
		       struct catalog **ret) MUST_USE;
/* The vault behind a catalog of this kind; NULL for another. */
struct vault *catalog_vault(struct catalog *c);
