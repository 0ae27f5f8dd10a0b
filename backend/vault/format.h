// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The records of FORMAT.md as structs, and between them and bytes. Pure: no
 * I/O, no state; any thread. Parsers take foreign bytes: each returns 0,
 * -EPROTO (the bytes break the format), -EBADMSG (a checksum or id does not
 * match), -EKEYREJECTED (the signature does not), -ENOTSUP (newer version or
 * suite) or -ENOMEM, with a sentence without the object's name, which the
 * caller adds by blame(). The bytes given are borrowed only during the call. Builders append
 * one whole record with its CRC to a buf; what fails there is found by
 * buf_check().
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/base/hash.h"
#include "backend/base/rd.h"
#include "backend/base/sign.h"
#include "backend/catalog.h"

#define VF_FRAME_SIZE (64u << 10)
#define VF_FRAME_LOG2 16
#define VF_CHUNK_LOG2_MIN 18
#define VF_CHUNK_LOG2_MAX 22
#define VF_CHUNK_LOG2 20
#define VF_FRAMES_MAX 64u /* of a chunk */
#define VF_LEAF_LOG2 8
#define VF_INNER_LOG2 10
#define VF_LEVEL_MAX 5
#define VF_DISK_MAX (UINT64_C(1) << 56)
#define VF_HEADER_SIZE 16
#define VF_NAME_FIELD 204
#define VF_INDEX_ROWS 256u /* of a point index page */
#define VF_DEAD_PLACES 4096u
#define VF_LABELS_MAX (64u << 10)
#define VF_ESCROW_MAX (1u << 20)
/* Bounds of whole records, for reads. */
#define VF_PAGE_MAX (32 + 1024 * (16 + 48))
#define VF_TABLE_MAX (32 + 64 * (16 + 48))
#define VF_COMMIT_MAX (8u << 20)
#define VF_CONFIG_MAX (1u << 20)
#define VF_RECORD_MAX (1u << 20)

#define VF_TAG_CONFIG "vaultfs:config:1"
#define VF_TAG_COMMIT "vaultfs:commit:1"
#define VF_TAG_ESCROW "vaultfs:escrow:1"

/* Features this code knows. */
#define VF_KNOWN_INCOMPATIBLE UINT64_C(0)
#define VF_KNOWN_READ_COMPATIBLE UINT64_C(0)

struct vault_id {
	uint8_t b[16];
};

/* A generation, and a point's id: struct point_id of catalog.h. */

enum place_flags { PLACE_RAW = 1, PLACE_INDEX = 2, PLACE_POINT = 4 };

/* A place with its generation looked up: absolute inside one disk. length 0:
 * none. */
struct place {
	struct point_id gen;
	uint32_t object;
	uint32_t offset;
	uint32_t length;
	uint16_t flags;
};
static inline bool place_is_none(const struct place *p)
{
	return p->length == 0;
}

struct vf_name {
	char s[CATALOG_NAME_MAX + 1];
};

struct vf_header {
	struct vault_id id;
	struct sign_public owner;
	int64_t created_ns;
};
void vf_header_put(struct buf *b, const struct vf_header *h);
int vf_header_parse(const void *p, size_t n, struct vf_header *out) MUST_USE;

/* --- config --- */
struct vf_feature {
	uint8_t class;
	uint8_t bit;
	char name[47];
};
struct vf_key_head {
	struct digest vm;
	uint64_t seq;
};
struct vf_key {
	struct sign_public key;
	uint64_t added;
	uint64_t retired; /* 0: active */
	char label[65];
	uint32_t first_head, nheads;
};
struct vf_config {
	struct vault_id id;
	uint64_t n;
	struct digest prev;
	int64_t time_ns;
	uint64_t incompatible, read_compatible, compatible;
	char name[CATALOG_NAME_MAX + 1];
	struct sign_public owner;
	struct vf_feature *features;
	size_t nfeatures;
	struct vf_key *keys;
	size_t nkeys;
	struct vf_key_head *heads;
	size_t nheads;
	struct digest digest; /* of the whole object; set by the parser */
};
/* Appends the signed record. */
int vf_config_put(struct buf *b, const struct vf_config *c,
		  struct secret *owner_seed) MUST_USE;
/* Also checks the signature by the owner key in it (-EKEYREJECTED) and the
 * features (-ENOTSUP, by name). */
int vf_config_parse(const void *p, size_t n, struct vf_config *out) MUST_USE;
void vf_config_release(struct vf_config *c);
/* Does this key count for commit seq of that VM? 0 or -EKEYREJECTED. */
int vf_config_key_counts(const struct vf_config *c,
			 const struct sign_public *key, const char *vm,
			 uint64_t seq) MUST_USE;

/* --- commit --- */
enum vf_kind {
	VF_BACKUP = 1,
	VF_PRUNE = 2,
	VF_INTENT = 3,
	VF_SWEPT = 4,
	VF_RELOCATE = 5,
	VF_CONFIG = 6,
};
const char *vf_kind_text(enum vf_kind k);

struct vf_index_ref { /* a row of the page table */
	int64_t first_ns, last_ns;
	uint32_t rows;
	uint32_t length;
	uint64_t commit; /* seq of the commit that holds it */
	uint32_t offset;
	struct digest digest;
};
struct vf_commit {
	struct vault_id id;
	uint64_t seq;
	struct digest prev;
	uint64_t config_n;
	struct digest config_digest;
	enum vf_kind kind;
	int64_t time_ns;
	struct point_id session;
	char vm[CATALOG_NAME_MAX + 1];
	struct sign_public writer;
	uint64_t last_relocate, last_intent;
	uint64_t npoints;
	struct vf_index_ref *pages;
	size_t npages;
	/* The body by kind. */
	struct point_id *ids; /* backup: the one; prune, config: those named */
	size_t nids;
	uint16_t *new_flags;	   /* config: of each id */
	int64_t *new_expiry;	   /* config: of each id */
	struct digest list_digest; /* intent, relocate */
	uint32_t list_length;
	uint64_t intent_seq;	/* swept */
	uint32_t swept_outcome; /* swept */
	uint64_t prev_relocate; /* relocate */
	/* The newest point's record, and the whole object's bytes (owned;
	 * inline pages are read from it at pages[i].offset). */
	const uint8_t *newest; /* into bytes; NULL if no point */
	uint32_t newest_length;
	uint8_t *bytes;
	size_t length;
	struct digest digest; /* of the whole object */
};
/*
 * Builds and signs. Uses every field up to the body, pages[] (for pages with
 * commit == seq: offset and digest are set here from inline_pages[i].data, in
 * the order of pages[]; entries of inline_pages of other pages are NULL),
 * newest and newest_length. Leaves bytes, length and digest set.
 */
int vf_commit_build(struct vf_commit *c, const struct buf *const *inline_pages,
		    struct secret *writer_seed) MUST_USE;
/* Takes p (malloc'ed), on failure too. Checks structure and the signature with
 * the key that it names; whether that key counts is the caller's to ask. */
int vf_commit_parse(uint8_t *p, size_t n, struct vf_commit *out) MUST_USE;
void vf_commit_release(struct vf_commit *c);

/* --- point index page --- */
void vf_index_put(struct buf *b, const struct point_row *rows, size_t n);
/* rows[VF_INDEX_ROWS] by the caller; *n is how many. Ascending times are
 * checked. */
int vf_index_parse(const void *p, size_t len, struct point_row *rows,
		   size_t *n) MUST_USE;

/* --- point record --- */
struct vf_section {
	uint32_t offset, length;
	struct digest digest;
};
struct vf_disk {
	char name[CATALOG_NAME_MAX + 1];
	uint8_t chunk_log2;
	uint8_t root_level;
	bool caller_extents, was_vhd;
	uint64_t size;
	struct digest root;
	struct place root_place;
	struct digest dead;
	struct place dead_place;
	uint64_t dead_bytes, data_bytes, stored_bytes, read_bytes;
};
struct vf_point {
	struct vault_id vault;
	struct point_id id, base;
	int64_t time_ns, written_ns;
	enum consistency consistency;
	bool caller_extents;
	char vm[CATALOG_NAME_MAX + 1];
	struct vf_section labels, escrow;
	struct point_id *adopted;
	size_t nadopted;
	struct vf_disk *disks; /* ascending by name */
	size_t ndisks;
};
void vf_point_put(struct buf *b, const struct vf_point *p);
int vf_point_parse(const void *p, size_t n, struct vf_point *out) MUST_USE;
void vf_point_release(struct vf_point *p);
/* The length the record will have: it does not depend on values. rows: distinct
 * generations. */
void vf_labels_put(struct buf *b, const struct label *labels, size_t n);
int vf_labels_parse(const void *p, size_t n, struct label **labels,
		    size_t *count) MUST_USE;
void labels_free(struct label *labels, size_t n);

/* --- escrow --- */
#define VF_ESCROW_VM 0xffff /* of no disk */
void vf_escrow_put(struct buf *b, const struct escrow_doc *docs, size_t n);
/* Adds to out, on failure too. */
int vf_escrow_parse(const void *p, size_t n, size_t ndisks,
		    struct escrow_docs *out) MUST_USE;
struct vf_addendum {
	struct vault_id vault;
	struct point_id gen, point;
	int64_t time_ns;
	char vm[CATALOG_NAME_MAX + 1];
	char disk[CATALOG_NAME_MAX + 1]; /* "": the whole VM */
	struct sign_public writer;
	uint64_t config_n;
	const char *text; /* not NUL-terminated */
	size_t len;
};
/* Signs; uses every field. */
int vf_addendum_build(struct buf *b, const struct vf_addendum *a,
		      struct secret *writer_seed) MUST_USE;
/* Checks structure and the signature with the key that it names; whether that
 * counts is the caller's to ask. text points into p. */
int vf_addendum_parse(const void *p, size_t n,
		      struct vf_addendum *out) MUST_USE;

/* --- tree --- */
struct vf_entry {
	struct digest
		id; /* of the child, or the frame's digest; zero: all zeros */
	struct place place;
};
/* A tree page or a frame table, with rows resolved. One allocation: free(). */
struct vf_node {
	uint8_t level; /* pages only */
	uint64_t number;
	uint32_t count;
	struct vf_entry e[];
};
size_t vf_node_size(uint32_t count);
struct vf_node *vf_node_new(uint32_t count); /* zeroed; NULL: no memory */
/* level, number and count as the position in the disk demands; id as the parent
 * gives it. */
int vf_page_parse(const void *p, size_t n, uint8_t level, uint64_t number,
		  uint32_t count, const struct digest *id,
		  struct vf_node **ret) MUST_USE;
void vf_page_put(struct buf *b, const struct vf_node *node);
int vf_table_parse(const void *p, size_t n, uint64_t number, uint32_t count,
		   const struct digest *id, struct vf_node **ret) MUST_USE;
void vf_table_put(struct buf *b, const struct vf_node *node);
/* Zero when all children are. */
void vf_page_id(const struct vf_node *node, struct digest *out);
void vf_table_id(const struct vf_node *node, struct digest *out);

/* Where things are in a disk. */
struct vf_geometry {
	uint64_t size;
	uint8_t chunk_log2;
	uint8_t root_level;
	uint32_t frames_per_chunk;
	uint64_t frames, chunks;
};
int vf_geometry(uint64_t size, uint8_t chunk_log2,
		struct vf_geometry *g) MUST_USE;
uint32_t vf_chunk_frames(const struct vf_geometry *g, uint64_t chunk);
/* Plain bytes of a frame: 64 KiB but for the last of the disk. */
uint32_t vf_frame_length(const struct vf_geometry *g, uint64_t frame);
/* Entries of page `number` at level. */
uint32_t vf_page_count(const struct vf_geometry *g, uint8_t level,
		       uint64_t number);
/* Chunks under one page of this level, log2. */
unsigned vf_level_shift(uint8_t level);

/* --- dead pages, segments, sessions, lists --- */
struct vf_dead {
	struct digest prev;
	struct place prev_place;
	struct place *places;
	size_t count;
};
void vf_dead_put(struct buf *b, const struct vf_dead *d);
int vf_dead_parse(const void *p, size_t n, struct vf_dead *out) MUST_USE;

struct vf_segment_frame {
	uint64_t frame;
	struct digest digest;
	uint32_t offset, length;
	bool raw;
};
/* The trailer and the 8 bytes after it. */
void vf_trailer_put(struct buf *b, const struct point_id *gen, uint32_t object,
		    const struct vf_segment_frame *f, size_t n);
/* The last 8 bytes of a segment: the trailer's length. */
int vf_trailer_length(const uint8_t end[static 8], uint32_t *len) MUST_USE;
int vf_trailer_parse(const void *p, size_t n, const struct point_id *gen,
		     uint32_t object, struct vf_segment_frame **ret,
		     size_t *count) MUST_USE;

struct vf_session {
	struct vault_id vault;
	struct point_id gen, base;
	int64_t time_ns;
	uint8_t boot_id[16];
	uint64_t pid, start_ticks, pidns;
	enum vf_kind kind;
	struct sign_public writer;
	char host[CATALOG_NAME_MAX + 1];
	char vm[CATALOG_NAME_MAX + 1];
	struct point_id *adopted;
	size_t nadopted;
};
void vf_session_put(struct buf *b, const struct vf_session *s);
int vf_session_parse(const void *p, size_t n, struct vf_session *out) MUST_USE;
void vf_session_release(struct vf_session *s);
enum vf_outcome {
	VF_COMMITTED = 1,
	VF_GIVEN_UP = 2,
	VF_ABANDONED = 3,
	VF_ADOPTED = 4
};
void vf_end_put(struct buf *b, const struct point_id *gen,
		enum vf_outcome outcome, uint64_t commit);
int vf_end_parse(const void *p, size_t n, struct point_id *gen,
		 enum vf_outcome *outcome, uint64_t *commit) MUST_USE;

struct vf_move {
	uint16_t disk;
	struct place from, to;
};
struct vf_claim {
	uint16_t disk; /* 0xffff: none */
	uint16_t flags;
	struct point_id gen;
	uint32_t object;
};
struct vf_list {
	uint16_t kind;
	struct vf_name *disks;
	size_t ndisks;
	struct vf_move *moves;
	size_t nmoves;
	struct vf_claim *claims;
	size_t nclaims;
};
int vf_list_parse(const void *p, size_t n, struct vf_list *out) MUST_USE;
void vf_list_release(struct vf_list *l);

/* --- keys of objects --- */
#define VF_KEY_SIZE 512
#define VF_HEADER_KEY "vault.hdr"
/* A name as written in keys; it must be valid and fit: -EINVAL. */
int vf_name_encode(const char *name,
		   char out[static CATALOG_NAME_MAX + 1]) MUST_USE;
/* The other way, strict: -EPROTO for what vf_name_encode() would not have
 * written. */
int vf_name_decode(const char *key, size_t n,
		   char out[static CATALOG_NAME_MAX + 1]) MUST_USE;
/* vm and disk are encoded names. */
void vf_key_config(char k[static VF_KEY_SIZE], uint64_t n);
void vf_key_commit(char k[static VF_KEY_SIZE], const char *vm, uint64_t seq);
/* kind: 'p' point object, 'e' escrow, 'w' session, 'l' list. */
void vf_key_gen(char k[static VF_KEY_SIZE], const char *vm, char kind,
		const struct point_id *gen);
void vf_key_end(char k[static VF_KEY_SIZE], const char *vm,
		const struct point_id *gen);
/* The object that a place of this disk names. */
void vf_key_place(char k[static VF_KEY_SIZE], const char *vm, const char *disk,
		  const struct place *p);
void vf_key_object(char k[static VF_KEY_SIZE], const char *vm, const char *disk,
		   const struct point_id *gen, char kind /* 'm' or 's' */,
		   uint32_t n);
/* The <~n> or <gen> that ends a key. */
int vf_key_inverse(const char *text, uint64_t *n) MUST_USE;
int vf_key_parse_gen(const char *text, struct point_id *gen) MUST_USE;
