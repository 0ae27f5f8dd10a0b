// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the files of the writer share; private to them. From the bottom up:
 *
 *	host.c		who we are, and whether the process behind a session lives
 *	session.c	what a write needs opened; session records, taking over
 *	put.c		objects on their way to the store, in threads of their own
 *	segment.c	frames into segments, records into index objects
 *	dead.c		dead pages
 *	adopt.c		what killed sessions stored, in disk order
 *	cursor.c	pages of the base's tree, in disk order
 *	build.c		the new tree, from left to right; one page a level in memory
 *	plan.c		which chunks and frames are to be read
 *	chunk.c		one chunk, in a worker: read, hash, compare, pack
 *	backup.c	one disk: the pipeline of all these
 *	point_index.c	a point index that is being changed
 *	commit.c	publishing, and prune
 *	writer.c	vault_backup()
 *
 * Nothing here is safe for more than one thread but put.c's own workers and
 * chunk_work().
 */
#pragma once
#include "backend/base/err.h"
#include "backend/base/pool.h"
#include "backend/vault/writer.h"

/* Writer policy, not format. */
#define SEGMENT_SIZE (4u << 20)
#define SEGMENT_FRAMES 8192u /* bounds the trailer when frames pack well */
#define INDEX_OBJECT_SIZE (4u << 20)
#define GENERATIONS_MAX 4u /* of one frame table */
#define PUT_THREADS 4u
#define PUT_THREADS_FAR                                                        \
	16u /* to a store far away; as many segments in memory */

static inline bool place_equal(const struct place *a, const struct place *b)
{
	return point_id_equal(&a->gen, &b->gen) && a->object == b->object &&
	       a->offset == b->offset && a->length == b->length &&
	       a->flags == b->flags;
}

/* --- host.c --- */

struct host {
	uint8_t boot_id[16];
	uint64_t pid, start_ticks, pidns;
	int64_t boot_ns; /* when it was booted, by its own clock */
	char name[CATALOG_NAME_MAX + 1];
};
enum host_state {
	HOST_ALIVE,    /* its process runs here */
	HOST_DEAD,     /* it ran here, and does not any more */
	HOST_REBOOTED, /* it ran here before the host was booted again */
	HOST_FOREIGN,  /* it ran where we cannot see it */
};
int host_self(struct host *out) MUST_USE;
enum host_state host_judge(const struct host *self, const struct vf_session *s);
/* For tests: the boot id that host_self() gives from now on; NULL: the right
 * one. */
void host_pretend_boot(const uint8_t *id);
/* Sessions that live in this process: a record of ours that is not among them
 * was left behind by a backup that failed, and is as dead as one of a process
 * that was killed. */
int host_live_add(const struct point_id *gen) MUST_USE;
void host_live_remove(const struct point_id *gen);

/* --- session.c --- */

struct adopted {
	struct point_id gen;
	/* The power may have failed since: its objects may be torn. */
	bool verify;
	/* Its session record may be there still. */
	bool recorded;
};

/* One write to one VM. */
struct writer {
	struct vault *v;
	struct store *store; /* borrowed from v */
	char vm[CATALOG_NAME_MAX + 1];
	char vm_key[CATALOG_NAME_MAX + 1];
	struct vm_head *head; /* NULL: the VM does not exist yet */
	struct vault_config *config;
	struct secret *seed;
	struct sign_public key;
	struct point_id gen;
	struct adopted *adopted;
	size_t nadopted;
	/* Sessions that are over, but whose records were left behind. */
	struct point_id *litter;
	size_t nlitter;
	bool live;     /* among host_live */
	bool recorded; /* our session record may be in the store */
};

/* Checks the name and the right to write; reads the head, config and key; draws
 * a generation. */
int writer_open(struct vault *v, const char *vm, struct writer *w) MUST_USE;
void writer_release(struct writer *w);
static inline void drop_writer(struct writer *w)
{
	writer_release(w);
}
int writer_reload_head(struct writer *w) MUST_USE;
/* Takes dead sessions over and puts our record. -EBUSY; -EAGAIN: the head moved
 * meanwhile, and the session was ended: open the writer anew. */
int session_begin(struct writer *w, const struct point_id *base,
		  bool take_over) MUST_USE;
/* Removes our record, and those of the adopted if outcome is VF_COMMITTED. What
 * fails here fails nothing: a record left behind is found to be over by the
 * next session. */
void session_end(struct writer *w, enum vf_outcome outcome, uint64_t commit);
/* What this session and those it adopted stored may never have reached the disk:
 * ends all of them, so that nobody adopts it. Fails when a record could not be
 * ended. */
int session_disown(struct writer *w) MUST_USE;
/* The record of one session: -ENOENT, -EPROTO. */
int session_read(struct writer *w, const struct point_id *gen,
		 struct vf_session *out) MUST_USE;

/* --- put.c --- */

struct outbox;

/* A chunk's plain bytes; counted, since raw frames are put from where they were
 * read. */
struct plain {
	uint8_t *data;
	unsigned refs;
	struct plain *next;
};

/* An object that is being filled, then put. */
struct put {
	struct pool_job job;
	struct outbox *box;
	struct put *next;
	char key[VF_KEY_SIZE];
	struct store_piece *pieces;
	size_t npieces, cap;
	struct plain **held;
	size_t nheld, held_cap;
	uint8_t *own; /* SEGMENT_SIZE bytes */
	size_t own_len;
	struct buf tail; /* comes after the pieces */
};

int outbox_new(struct store *store, size_t plain_size,
	       struct outbox **ret) MUST_USE;
/* Waits for what is on its way. */
void outbox_free(struct outbox *box);
DROP_DEFINE(outbox, struct outbox *, outbox_free)
int outbox_plain(struct outbox *box, struct plain **ret) MUST_USE;
void outbox_unref(struct outbox *box, struct plain *p);
int outbox_begin(struct outbox *box, struct put **ret) MUST_USE;
void outbox_abandon(struct put *p); /* NULL is fine */
/* len bytes at data that belong to held, or (held NULL) are copied. */
int put_add(struct put *p, const void *data, size_t len,
	    struct plain *held) MUST_USE;
/* Sends it off (its key set); it is the outbox's from then on. The failure of
 * any put before is returned. */
int outbox_send(struct put *p) MUST_USE;
/* Waits until all is put. */
int outbox_drain(struct outbox *box) MUST_USE;
uint64_t outbox_bytes(struct outbox *box); /* put so far */

/* --- segment.c --- */

/* Where the objects of one disk of this session go. */
struct out {
	struct outbox *box;
	const char *vm_key;
	char disk_key[CATALOG_NAME_MAX + 1];
	struct point_id gen;
	uint64_t stored; /* bytes, trailers included */

	struct put *segment;
	uint32_t segments; /* begun */
	uint32_t length;   /* of its frames */
	struct vf_segment_frame *frames;
	size_t nframes;

	struct put *index;
	uint32_t indexes;
};
int out_init(struct out *o, struct outbox *box, const struct writer *w,
	     const char *disk) MUST_USE;
void out_release(struct out *o);
/* f: number, digest, length, raw. held as in put_add(). */
int out_frame(struct out *o, struct vf_segment_frame *f, const void *stored,
	      struct plain *held, struct place *place) MUST_USE;
int out_page(struct out *o, const struct vf_node *node,
	     struct place *place) MUST_USE;
int out_table(struct out *o, const struct vf_node *node,
	      struct place *place) MUST_USE;
int out_dead(struct out *o, const struct vf_dead *d, struct place *place,
	     struct digest *id) MUST_USE;
/* Sends off what is begun. */
int out_flush(struct out *o) MUST_USE;

/* --- dead.c --- */

struct dead {
	struct out *out;
	struct place *p;
	size_t n;
	struct digest last;
	struct place last_place;
	uint64_t bytes;
};
void dead_init(struct dead *d, struct out *out);
void dead_release(struct dead *d);
/* A place of none is not added. */
int dead_add(struct dead *d, const struct place *p) MUST_USE;
/* Writes what is left; then last and last_place are those of the last page. */
int dead_finish(struct dead *d) MUST_USE;

/* --- adopt.c --- */

/* A frame that a killed session stored, for one frame of the chunk at work. */
struct candidate {
	uint32_t slot; /* frame in the chunk */
	bool verify;
	bool used;
	struct digest digest;
	struct place place;
};

struct adopt;
/* *ret is NULL when nothing is adopted. */
int adopt_open(struct writer *w, const char *disk_key, struct dead *dead,
	       struct adopt **ret) MUST_USE;
void adopt_close(struct adopt *a);
DROP_DEFINE(adopt, struct adopt *, adopt_close)
/* Candidates for frames [first, first + n), at most nadopted times n; calls
 * ascend. What lies before is dead, and what is given out is the caller's to
 * use or to bury. */
int adopt_next(struct adopt *a, uint64_t first, uint32_t n,
	       struct candidate *out, size_t *count) MUST_USE;
/* All that is left is dead. */
int adopt_finish(struct adopt *a) MUST_USE;

/* --- cursor.c --- */

struct cursor {
	struct tree *t; /* NULL: no base, all is zeros */
	const struct vf_geometry *g;
	struct cursor_at {
		struct cache_blob *blob;
		uint64_t number;
		bool valid;
	} at[VF_LEVEL_MAX + 1];
};
void cursor_init(struct cursor *c, struct tree *t);
void cursor_release(struct cursor *c);
/* *ret is NULL for zeros; good until the next call of the same level. */
int cursor_page(struct cursor *c, uint8_t level, uint64_t number,
		const struct vf_node **ret) MUST_USE;
/* The entry of a chunk in its leaf; of zeros where the base has no such
 * chunk. */
int cursor_chunk(struct cursor *c, uint64_t chunk,
		 struct vf_entry *out) MUST_USE;
/* The entry of a page in its parent, or what the disk says of the root. */
int cursor_page_entry(struct cursor *c, uint8_t level, uint64_t number,
		      struct vf_entry *out) MUST_USE;
/* There is such a page. */
bool geometry_has(const struct vf_geometry *g, uint8_t level, uint64_t number);

/* --- build.c --- */

struct build {
	struct vf_geometry g;
	struct cursor base;
	struct out *out;
	struct dead *dead;
	struct vf_node *page[VF_LEVEL_MAX + 1];
	uint32_t have[VF_LEVEL_MAX + 1];
	uint64_t next; /* chunk */
	struct digest root;
	struct buf root_page; /* its record, empty when all is zeros */
	/* Bytes of base frames that are not zeros and lie beyond the new
	 * end. */
	uint64_t dropped_bytes;
};
int build_init(struct build *b, const struct vf_geometry *g, struct tree *base,
	       struct out *out, struct dead *dead) MUST_USE;
void build_release(struct build *b);
/* Chunks up to end (not included) are as in the base, or zeros where it has
 * none. */
int build_keep(struct build *b, uint64_t end) MUST_USE;
/* The next chunk, which must be b->next. */
int build_chunk(struct build *b, uint64_t chunk,
		const struct vf_entry *e) MUST_USE;
/* After the last chunk: what the base had beyond it is dead. */
int build_finish(struct build *b) MUST_USE;

/* --- chunk.c --- */

enum frame_how { FRAME_KEPT, FRAME_ZERO, FRAME_BASE, FRAME_ADOPTED, FRAME_NEW };

/* What all chunks of one disk share; constant while workers run. */
struct chunk_shared {
	struct writer *w;
	struct source *image;
	struct tree *base; /* or NULL */
	const char *disk_key;
	struct vf_geometry g, base_g;
};

/* One chunk on its way through the pipeline. */
struct item {
	const struct chunk_shared *shared;
	uint64_t chunk;
	uint32_t frames;
	uint64_t wanted;     /* frames to be read, a bit each */
	uint64_t holes;	     /* of them, those that are holes of the image */
	bool check;	     /* only compare with the base */
	bool all_data;	     /* the image has no hole here */
	struct vf_entry old; /* the chunk in the base */
	uint32_t old_frames;
	struct candidate *candidates;
	size_t ncandidates;
	struct plain *plain;

	/* What the worker finds: */
	bool same; /* id equals old.id */
	struct digest id;
	struct cache_blob *old_table; /* when not same, and old is not zeros */
	struct vf_node *table;	      /* of frames; places of FRAME_NEW unset */
	enum frame_how how[VF_FRAMES_MAX];
	struct vf_segment_frame stored[VF_FRAMES_MAX]; /* of FRAME_NEW */
	const uint8_t *bytes[VF_FRAMES_MAX];	       /* of FRAME_NEW */
	uint32_t raw_bytes;
	uint64_t read_bytes;
	uint8_t *packed; /* a chunk's size */
	size_t packed_len;
	uint8_t *scratch; /* a frame's size */
};
int item_init(struct item *it, const struct chunk_shared *s,
	      size_t ncandidates) MUST_USE;
void item_release(struct item *it);
/* In any thread. */
int chunk_work(struct item *it) MUST_USE;

/* --- plan.c --- */

struct plan {
	struct vf_geometry g, base_g;
	bool whole; /* all is read */
	struct source *image;
	struct cursor base;
	/* The whole image: what is known of its extents. */
	uint64_t pos, known_end;
	bool known_hole;
	/* Else: */
	struct extents changed; /* whole frames, sorted */
	size_t at;
	uint64_t touch;		  /* this chunk lost frames; UINT64_MAX: none */
	uint64_t strata, stratum; /* of chunks to check */
	uint64_t check_at;
};
/* Bytes to look at, about. */
uint64_t plan_total(const struct backup_disk *d, double check_percent);
int plan_init(struct plan *p, const struct backup_disk *d,
	      const struct vf_geometry *g, struct tree *base,
	      double check_percent) MUST_USE;
void plan_release(struct plan *p);
/* Sets chunk, frames, wanted, check, all_data and old of the next one. 0: there
 * is none; 1. */
int plan_next(struct plan *p, struct item *it) MUST_USE;

/* --- backup.c --- */

struct backup_run {
	const struct backup_request *rq;
	struct backup_result *result;
	struct backup_progress progress;
	struct writer *w;
	struct vault_point *base; /* or NULL */
	struct pool *pool;
	bool lost; /* to another backup */
};
/* Fills *out but for the root's place, and appends the root page to *root. */
int backup_disk(struct backup_run *run, const struct backup_disk *d,
		struct vf_disk *out, struct buf *root) MUST_USE;

/* --- point_index.c --- */

struct index_page {
	struct vf_index_ref ref;
	size_t origin;		/* in the head */
	struct point_row *rows; /* NULL: not loaded, as in the head */
	size_t n;
	bool changed;
};
struct point_index {
	struct vault *v;
	struct vm_head *head; /* borrowed; NULL: empty */
	struct index_page *p;
	size_t n;
	uint64_t points;
};
int point_index_open(struct point_index *x, struct vault *v,
		     struct vm_head *head) MUST_USE;
void point_index_release(struct point_index *x);
static inline void drop_point_index(struct point_index *x)
{
	point_index_release(x);
}
/* -EEXIST: a point of this time is there. */
int point_index_insert(struct point_index *x,
		       const struct point_row *row) MUST_USE;
/* -ENOENT, -EPERM: nothing may be made of it then. */
int point_index_drop(struct point_index *x, const struct point_id *ids,
		     size_t n) MUST_USE;
int point_index_load(struct point_index *x, size_t i) MUST_USE;

/* --- commit.c --- */

/* What a commit is to say. */
struct change {
	enum vf_kind kind;
	const struct point_row *insert; /* backup */
	const uint8_t *record;		/* of insert */
	const struct point_id *base;	/* of insert; NULL: none */
	const struct point_id *ids;	/* prune */
	size_t nids;
};
/* Tries until it is the head; w->head is then an older one. *seq: of the
 * commit. *lost: failed since another backup was faster. */
int commit_publish(struct writer *w, const struct change *c, uint64_t *seq,
		   bool *lost) MUST_USE;
