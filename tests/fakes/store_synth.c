// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Contents come in classes, so that a few hundred digests say the ids of everything:
 *
 *	frame	f of a chunk of class c:   class 16 c + f  (4096 of them)
 *	chunk	j of a leaf of class l:	   class (l + j) % 256
 *	leaf	i of an inner page m:	   class (m + i) % 256
 *	inner page m			   class m % 256
 *
 * Places are a page's or frame's own. An object's number and the offset in it say what
 * lies there, and the generation follows from that; asked for in another
 * generation, it is not there.
 *
 *	s/<chunk / 64>			 16 frames of each chunk
 *	m/<leaf>			 the leaf's 256 frame tables, TABLE_STEP apart
 *	m/<LEAVES | leaf / 64>		 leaves, LEAF_STEP apart
 *	m/<INNERS | inner page>
 *
 * Generations seq 1 to o.generations are those the tree lies in: of points that were
 * pruned since. Point p is made by generation seq o.generations + 1 + p, and by the
 * commit of the same seq, which has the page of the index that it changed.
 */
#include "tests/fakes/store_synth.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"

#define CLASSES 256u
#define FRAMES 16u /* of a chunk of 1 MiB */
#define LEAF_CHUNKS (1u << VF_LEAF_LOG2)
#define INNER_PAGES (1u << VF_INNER_LOG2)
#define INNER_LOG2 (VF_CHUNK_LOG2 + VF_LEAF_LOG2 + VF_INNER_LOG2) /* bytes */
#define FRAME_WORDS (VF_FRAME_SIZE / sizeof(uint64_t))
#define TABLE_STEP 4096u
#define LEAF_STEP 32768u
#define LEAVES 0x40000000u
#define INNERS 0x80000000u
#define COMMIT_SIZE 416u /* up to its page table */
#define REF_SIZE 72u
#define BODY_SIZE 16u

struct synth {
	struct store base;
	struct store_synth o;
	struct vault_id id;
	struct secret *owner, *writer; /* seeds */
	struct sign_public writer_key;
	struct buf header, config;
	struct digest config_digest;
	struct digest chunk[CLASSES], leaf[CLASSES], inner[CLASSES], root;
	struct buf root_page;
	uint32_t table_length, leaf_length, inner_length, record_length;
	uint32_t inners; /* pages below the root */
};

static const struct store_ops synth_ops;

/* The same in every synthetic vault. */
static struct digest frame_digest[CLASSES * FRAMES];
static pthread_once_t frames_once = PTHREAD_ONCE_INIT;

static struct synth *synth_of(struct store *s)
{
	return container_of(s, struct synth, base);
}

/* --- what is where --- */

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (SplitMix64). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct point_id gen_of_seq(uint64_t seq)
{
	return (struct point_id){ seq, mix(seq) };
}

/* Neighbours lie in different generations: all entries of a page do. */
static struct point_id gen_of(const struct synth *y, uint64_t what)
{
	return gen_of_seq(1 + what % y->o.generations);
}

static unsigned leaf_class(uint64_t leaf)
{
	return (unsigned)((leaf >> VF_INNER_LOG2) + (leaf % INNER_PAGES)) %
	       CLASSES;
}

static unsigned chunk_class(uint64_t chunk)
{
	return (leaf_class(chunk >> VF_LEAF_LOG2) +
		(unsigned)(chunk % LEAF_CHUNKS)) %
	       CLASSES;
}

/* Words from..to of a frame. */
static void frame_words(unsigned class, size_t from, size_t to, uint8_t *out)
{
	for (size_t i = from; i < to; i++) {
		uint64_t x = (class * (uint64_t)FRAME_WORDS + i + 1) *
			     0x9e3779b97f4a7c15u;

		x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
		x ^= x >> 32;
		memcpy(out, &x, sizeof(x));
		out += sizeof(x);
	}
}

static void frame_fill(unsigned class, uint8_t out[static VF_FRAME_SIZE])
{
	frame_words(class, 0, FRAME_WORDS, out);
}

static void hash_frames(void)
{
	uint8_t frame[VF_FRAME_SIZE];

	for (unsigned c = 0; c < CLASSES * FRAMES; c++) {
		frame_fill(c, frame);
		sha256(frame, sizeof(frame), &frame_digest[c]);
	}
}

static struct place frame_place(const struct synth *y, uint64_t chunk,
				unsigned f)
{
	return (struct place){
		.gen = gen_of(y, chunk * 13 + (f % 4) * 271),
		.object = (uint32_t)(chunk / 64),
		.offset = ((uint32_t)(chunk % 64) * FRAMES + f) * VF_FRAME_SIZE,
		.length = VF_FRAME_SIZE,
		.flags = PLACE_RAW,
	};
}

static struct place table_place(const struct synth *y, uint64_t chunk)
{
	return (struct place){
		.gen = gen_of(y, chunk + chunk / LEAF_CHUNKS),
		.object = (uint32_t)(chunk >> VF_LEAF_LOG2),
		.offset = (uint32_t)(chunk % LEAF_CHUNKS) * TABLE_STEP,
		.length = y->table_length,
		.flags = PLACE_INDEX,
	};
}

static struct place leaf_place(const struct synth *y, uint64_t leaf)
{
	return (struct place){
		.gen = gen_of(y, leaf * 7),
		.object = LEAVES | (uint32_t)(leaf / 64),
		.offset = (uint32_t)(leaf % 64) * LEAF_STEP,
		.length = y->leaf_length,
		.flags = PLACE_INDEX,
	};
}

static struct place inner_place(const struct synth *y, uint64_t inner)
{
	return (struct place){
		.gen = gen_of(y, inner * 11),
		.object = INNERS | (uint32_t)inner,
		.length = y->inner_length,
		.flags = PLACE_INDEX,
	};
}

/* --- pages --- */

static struct vf_node *table_node(const struct synth *y, uint64_t chunk)
{
	struct vf_node *n = vf_node_new(FRAMES);

	if (!n)
		return NULL;
	n->number = chunk;
	for (unsigned f = 0; f < FRAMES; f++) {
		n->e[f].id = frame_digest[chunk_class(chunk) * FRAMES + f];
		n->e[f].place = frame_place(y, chunk, f);
	}
	return n;
}

static struct vf_node *leaf_node(const struct synth *y, uint64_t leaf)
{
	struct vf_node *n = vf_node_new(LEAF_CHUNKS);

	if (!n)
		return NULL;
	n->number = leaf;
	for (unsigned j = 0; j < LEAF_CHUNKS; j++) {
		uint64_t chunk = (leaf << VF_LEAF_LOG2) + j;

		n->e[j].id = y->chunk[chunk_class(chunk)];
		n->e[j].place = table_place(y, chunk);
	}
	return n;
}

static struct vf_node *inner_node(const struct synth *y, uint64_t inner)
{
	struct vf_node *n = vf_node_new(INNER_PAGES);

	if (!n)
		return NULL;
	n->level = 1;
	n->number = inner;
	for (unsigned i = 0; i < INNER_PAGES; i++) {
		uint64_t leaf = (inner << VF_INNER_LOG2) + i;

		n->e[i].id = y->leaf[leaf_class(leaf)];
		n->e[i].place = leaf_place(y, leaf);
	}
	return n;
}

static struct vf_node *root_node(const struct synth *y)
{
	struct vf_node *n = vf_node_new(y->inners);

	if (!n)
		return NULL;
	n->level = 2;
	for (uint32_t m = 0; m < y->inners; m++) {
		n->e[m].id = y->inner[m % CLASSES];
		n->e[m].place = inner_place(y, m);
	}
	return n;
}

static int put_node(struct vf_node *node, bool table, struct buf *b)
{
	DROP(mem) struct vf_node *owned = node;

	if (!node)
		return fail(-ENOMEM, "no memory for a page");
	if (table)
		vf_table_put(b, owned);
	else
		vf_page_put(b, owned);
	return buf_check(b, "a page");
}

static int node_id(struct vf_node *node, bool table, struct digest *id)
{
	DROP(mem) struct vf_node *owned = node;

	if (!node)
		return fail(-ENOMEM, "no memory for a page");
	if (table)
		vf_table_id(owned, id);
	else
		vf_page_id(owned, id);
	return 0;
}

/* Records of a kind are all of one length. */
static int node_length(struct vf_node *node, bool table, uint32_t *length)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	int r = put_node(node, table, &b);

	*length = (uint32_t)b.len;
	return r;
}

/* Ids from the frames up: those of a level need those below it. */
static int make_ids(struct synth *y)
{
	int r;

	pthread_once(&frames_once, hash_frames);
	/* A place needs a length before it is known. */
	y->table_length = y->leaf_length = y->inner_length = 1;
	r = node_length(table_node(y, 0), true, &y->table_length);
	if (!r)
		r = node_length(leaf_node(y, 0), false, &y->leaf_length);
	if (!r)
		r = node_length(inner_node(y, 0), false, &y->inner_length);
	/* Chunk c, leaf c and inner page c are the first ones of class c. */
	for (unsigned c = 0; !r && c < CLASSES; c++)
		r = node_id(table_node(y, c), true, &y->chunk[c]);
	for (unsigned c = 0; !r && c < CLASSES; c++)
		r = node_id(leaf_node(y, c), false, &y->leaf[c]);
	for (unsigned c = 0; !r && c < CLASSES && c < y->inners; c++)
		r = node_id(inner_node(y, c), false, &y->inner[c]);
	if (!r)
		r = node_id(root_node(y), false, &y->root);
	if (!r)
		r = put_node(root_node(y), false, &y->root_page);
	return r;
}

/* --- points, their index, commits --- */

void store_synth_vm(unsigned i, char out[static 16])
{
	snprintf(out, 16, "vm-%05u", i);
}

static uint64_t seq_of(const struct synth *y, uint64_t point)
{
	return y->o.generations + 1 + point;
}

static int put_record(const struct synth *y, const char *vm, uint64_t point,
		      struct buf *b)
{
	struct vf_disk d = {
		.name = SYNTH_DISK,
		.chunk_log2 = VF_CHUNK_LOG2,
		.root_level = 2,
		.size = y->o.disk_size,
		.root = y->root,
		.data_bytes = y->o.disk_size,
		.stored_bytes = y->root_page.len,
	};
	struct vf_point p = {
		.vault = y->id,
		.id = gen_of_seq(seq_of(y, point)),
		.time_ns = y->o.first_ns + (int64_t)point * y->o.step_ns,
		.consistency = CONSISTENCY_CRASH,
		.disks = &d,
		.ndisks = 1,
	};

	p.written_ns = p.time_ns;
	if (point)
		p.base = gen_of_seq(seq_of(y, point - 1));
	snprintf(p.vm, sizeof(p.vm), "%s", vm);
	d.root_place = (struct place){
		.gen = p.id,
		.offset = y->record_length,
		.length = (uint32_t)y->root_page.len,
		.flags = PLACE_POINT,
	};
	vf_point_put(b, &p);
	return buf_check(b, "a point record");
}

static uint32_t page_rows(uint64_t points, uint64_t page)
{
	return (uint32_t)min_u64(points - page * VF_INDEX_ROWS, VF_INDEX_ROWS);
}

/* Page i of the index of the first `points` points. */
static int put_index(const struct synth *y, const char *vm, uint64_t points,
		     uint64_t page, struct buf *b)
{
	uint32_t n = page_rows(points, page);
	DROP(mem) struct point_row *rows = calloc(n, sizeof(*rows));
	DROP(buf) struct buf rec = BUF_INIT(VF_RECORD_MAX);

	if (!rows)
		return fail(-ENOMEM, "no memory for a page");
	for (uint32_t i = 0; i < n; i++) {
		uint64_t p = page * VF_INDEX_ROWS + i;
		int r;

		buf_reset(&rec);
		r = put_record(y, vm, p, &rec);
		if (r)
			return r;
		rows[i] = (struct point_row){
			.time_ns = y->o.first_ns + (int64_t)p * y->o.step_ns,
			.id = gen_of_seq(seq_of(y, p)),
			.consistency = CONSISTENCY_CRASH,
			.ndisks = 1,
			.record_length = (uint32_t)rec.len,
			.object_length = (uint32_t)(rec.len + y->root_page.len),
		};
		sha256(rec.data, rec.len, &rows[i].record_digest);
	}
	vf_index_put(b, rows, n);
	return buf_check(b, "a page of the index");
}

static size_t index_length(uint32_t rows)
{
	return VF_HEADER_SIZE + 8 + (size_t)80 * rows;
}

/* Where the last page lies in the commit of this many points. */
static size_t index_offset(uint64_t points)
{
	uint64_t pages = (points + VF_INDEX_ROWS - 1) / VF_INDEX_ROWS;

	return COMMIT_SIZE + REF_SIZE * pages + BODY_SIZE;
}

static size_t commit_length(const struct synth *y, uint64_t points)
{
	uint64_t pages = (points + VF_INDEX_ROWS - 1) / VF_INDEX_ROWS;

	return index_offset(points) +
	       index_length(page_rows(points, pages - 1)) + y->record_length +
	       SIGN_SIZE;
}

/* The page's row in the page table; each but the last was left by the commit that
 * filled it. */
static int page_ref(const struct synth *y, const char *vm, uint64_t points,
		    uint64_t page, struct buf *bytes, struct vf_index_ref *ref)
{
	uint32_t rows = page_rows(points, page);
	uint64_t last = page * VF_INDEX_ROWS + rows - 1;
	int r = put_index(y, vm, points, page, bytes);

	if (r)
		return r;
	*ref = (struct vf_index_ref){
		.first_ns = y->o.first_ns +
			    (int64_t)(page * VF_INDEX_ROWS) * y->o.step_ns,
		.last_ns = y->o.first_ns + (int64_t)last * y->o.step_ns,
		.rows = rows,
		.length = (uint32_t)bytes->len,
		.commit = seq_of(y, last),
		.offset = (uint32_t)index_offset(last + 1),
	};
	sha256(bytes->data, bytes->len, &ref->digest);
	return 0;
}

static int put_commit(const struct synth *y, const char *vm, uint64_t points,
		      struct buf *out)
{
	size_t npages = (points + VF_INDEX_ROWS - 1) / VF_INDEX_ROWS;
	DROP(mem) struct vf_index_ref *pages = calloc(npages, sizeof(*pages));
	DROP(mem) const struct buf **inl = calloc(npages, sizeof(*inl));
	DROP(buf) struct buf page = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf rec = BUF_INIT(VF_RECORD_MAX);
	struct point_id id = gen_of_seq(seq_of(y, points - 1));
	struct vf_commit c = {
		.id = y->id,
		.seq = id.seq,
		.config_n = 1,
		.config_digest = y->config_digest,
		.kind = VF_BACKUP,
		.time_ns = y->o.first_ns,
		.session = id,
		.writer = y->writer_key,
		.npoints = points,
		.pages = pages,
		.npages = npages,
		.ids = &id,
		.nids = 1,
	};
	int r = 0;

	if (!pages || !inl)
		return fail(-ENOMEM, "no memory for a commit");
	snprintf(c.vm, sizeof(c.vm), "%s", vm);
	for (size_t i = 0; !r && i < npages; i++) {
		buf_reset(&page);
		r = page_ref(y, vm, points, i, &page, &pages[i]);
	}
	inl[npages - 1] = &page;
	/* Nobody walks the chain of this vault; but it must look like one. */
	memset(&c.prev, 0xaa, sizeof(c.prev));
	if (!r)
		r = put_record(y, vm, points - 1, &rec);
	if (r)
		return r;
	c.newest = rec.data;
	c.newest_length = (uint32_t)rec.len;
	r = vf_commit_build(&c, inl, y->writer);
	if (r)
		return r;
	assert(c.length == commit_length(y, points));
	buf_add(out, c.bytes, c.length);
	free(c.bytes);
	return buf_check(out, "a commit");
}

/* --- the store --- */

static int missing(const char *key)
{
	return fail(-ENOENT, "no object %s in this synthetic vault", key);
}

/* Appends the bytes that lie at offset off: all that one record or frame has
 * from there on. */
static int part_of_disk(const struct synth *y, const char *key,
			const char *rest, uint64_t off, struct buf *out)
{
	char prefix[sizeof(SYNTH_DISK "/")], kind;
	char gen_text[POINT_ID_TEXT];
	struct point_id gen;
	struct place p;
	uint64_t n, what;
	uint32_t skip;
	int r;

	if (strncmp(rest, SYNTH_DISK "/", sizeof(prefix) - 1) != 0 ||
	    strlen(rest) != sizeof(prefix) - 1 + 33 + 3 + 16)
		return missing(key);
	rest += sizeof(prefix) - 1;
	snprintf(gen_text, sizeof(gen_text), "%.33s", rest);
	if (vf_key_parse_gen(gen_text, &gen) ||
	    sscanf(rest + 33, "/%c/%16" SCNx64, &kind, &n) != 2)
		return missing(key);
	if (kind == 's') {
		what = off / VF_FRAME_SIZE;
		skip = off % VF_FRAME_SIZE;
		p = frame_place(y, n * 64 + what / FRAMES, what % FRAMES);
	} else if (n & INNERS) {
		what = n & ~INNERS;
		skip = (uint32_t)off;
		p = inner_place(y, what);
	} else if (n & LEAVES) {
		what = (n & ~LEAVES) * 64 + off / LEAF_STEP;
		skip = off % LEAF_STEP;
		p = leaf_place(y, what);
	} else {
		what = n * LEAF_CHUNKS + off / TABLE_STEP;
		skip = off % TABLE_STEP;
		p = table_place(y, what);
	}
	if (n != p.object || !point_id_equal(&gen, &p.gen))
		return missing(key);
	if (kind == 's') {
		uint8_t *room = buf_reserve(out, VF_FRAME_SIZE);
		uint64_t chunk = n * 64 + what / FRAMES;

		if (!room)
			return fail(-ENOMEM, "no memory for a frame");
		frame_fill(chunk_class(chunk) * FRAMES +
				   (unsigned)(what % FRAMES),
			   room);
		out->len += VF_FRAME_SIZE;
		r = 0;
	} else if (n & INNERS) {
		r = put_node(inner_node(y, what), false, out);
	} else if (n & LEAVES) {
		r = put_node(leaf_node(y, what), false, out);
	} else {
		r = put_node(table_node(y, what), true, out);
	}
	if (r)
		return r;
	skip = (uint32_t)min_u64(skip, out->len);
	memmove(out->data, out->data + skip, out->len - skip);
	out->len -= skip;
	return 0;
}

/* Of a VM's objects: its commits and point objects whole, or, of a commit that is only
 * looked into, the page of the index. *at: where in the object out begins. */
static int part_of_vm(const struct synth *y, const char *key, uint64_t off,
		      size_t len, struct buf *out, uint64_t *at)
{
	char vm[16], mine[16];
	const char *rest;
	unsigned i;
	uint64_t seq, points;
	struct point_id id;

	if (sscanf(key, "V/vm-%5u/", &i) != 1 || i >= y->o.vms)
		return missing(key);
	store_synth_vm(i, mine);
	snprintf(vm, sizeof(vm), "%.8s", key + 2);
	if (strcmp(vm, mine) != 0 || key[10] != '/')
		return missing(key);
	rest = key + 11;
	if (!strncmp(rest, "d/", 2)) {
		*at = off;
		return part_of_disk(y, key, rest + 2, off, out);
	}
	*at = 0;
	if (!strncmp(rest, "c/", 2)) {
		if (vf_key_inverse(rest + 2, &seq) || seq < seq_of(y, 0) ||
		    seq > seq_of(y, y->o.points - 1))
			return missing(key);
		points = seq - seq_of(y, 0) + 1;
		if (off == index_offset(points) &&
		    len <= index_length((points - 1) % VF_INDEX_ROWS + 1)) {
			*at = off;
			return put_index(y, vm, points,
					 (points - 1) / VF_INDEX_ROWS, out);
		}
		return put_commit(y, vm, points, out);
	}
	if (!strncmp(rest, "p/", 2)) {
		int r;

		if (vf_key_parse_gen(rest + 2, &id) || id.seq < seq_of(y, 0) ||
		    id.seq > seq_of(y, y->o.points - 1) ||
		    id.nonce != mix(id.seq))
			return missing(key);
		r = put_record(y, vm, id.seq - seq_of(y, 0), out);
		if (!r)
			buf_add(out, y->root_page.data, y->root_page.len);
		return r ? r : buf_check(out, "a point object");
	}
	return missing(key);
}

static int part_of(const struct synth *y, const char *key, uint64_t off,
		   size_t len, struct buf *out, uint64_t *at)
{
	const struct buf *whole = NULL;
	char config[VF_KEY_SIZE];

	vf_key_config(config, 1);
	if (!strcmp(key, "vault.hdr"))
		whole = &y->header;
	else if (!strcmp(key, config))
		whole = &y->config;
	if (!whole)
		return part_of_vm(y, key, off, len, out, at);
	*at = 0;
	buf_add(out, whole->data, whole->len);
	return buf_check(out, "an object");
}

static int synth_read(struct store *s, const char *key, void *buf, size_t len,
		      uint64_t off)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	uint64_t at;
	int r = part_of(synth_of(s), key, off, len, &b, &at);

	if (r)
		return r;
	if (off - at > b.len || len > b.len - (off - at))
		return fail(-EIO, "object %s: nothing lies at %" PRIu64, key,
			    off);
	memcpy(buf, b.data + (off - at), len);
	return 0;
}

static int synth_get(struct store *s, const char *key, size_t max,
		     struct buf *out)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	uint64_t at;
	int r = part_of(synth_of(s), key, 0, SIZE_MAX, &b, &at);

	if (r)
		return r;
	if (b.len > max || b.len > out->max - out->len)
		return fail(-EFBIG, "object %s is of %zu bytes", key, b.len);
	buf_add(out, b.data, b.len);
	return buf_check(out, key);
}

static int synth_stat(struct store *s, const char *key, uint64_t *size)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	uint64_t at;
	int r = part_of(synth_of(s), key, 0, SIZE_MAX, &b, &at);

	if (!r)
		*size = b.len;
	return r;
}

/* Adds it if it is after `after`; 1: the page is full. */
static int list_one(struct store_list *out, const char *key, uint64_t size,
		    const char *after, size_t max)
{
	if (strcmp(key, after) <= 0)
		return 0;
	if (out->count == max) {
		out->more = true;
		return 1;
	}
	return store_list_add(out, key, strlen(key), size);
}

static int synth_list(struct store *s, const char *prefix, const char *after,
		      size_t max, bool fold, struct store_list *out)
{
	const struct synth *y = synth_of(s);
	char key[VF_KEY_SIZE], vm[16];
	int r = 0;

	if (!strcmp(prefix, "h/")) {
		vf_key_config(key, 1);
		r = list_one(out, key, y->config.len, after, max);
		return r < 0 ? r : 0;
	}
	for (unsigned i = 0; !r && i < y->o.vms; i++) {
		store_synth_vm(i, vm);
		if (!strcmp(prefix, "V/") && fold) {
			snprintf(key, sizeof(key), "V/%s/", vm);
			r = list_one(out, key, 0, after, max);
			continue;
		}
		snprintf(key, sizeof(key), "V/%s/c/", vm);
		if (strcmp(prefix, key) != 0)
			continue;
		for (uint64_t p = y->o.points; !r && p-- > 0;) {
			vf_key_commit(key, vm, seq_of(y, p));
			r = list_one(out, key, commit_length(y, p + 1), after,
				     max);
		}
	}
	return r < 0 ? r : 0;
}

static int synth_put(struct store *s, const char *key,
		     const struct store_piece *pieces, size_t npieces)
{
	return fail(-EROFS, "%s: a synthetic vault cannot be written", key);
}

static int synth_barrier(struct store *s)
{
	return 0;
}

static int synth_remove(struct store *s, const char *key)
{
	return fail(-EROFS, "%s: a synthetic vault cannot be written", key);
}

static void synth_free(struct synth *y)
{
	secret_close(y->owner);
	secret_close(y->writer);
	buf_release(&y->header);
	buf_release(&y->config);
	buf_release(&y->root_page);
	free(y);
}

static void synth_close(struct store *s)
{
	store_release(s);
	synth_free(synth_of(s));
}

static const struct store_ops synth_ops = {
	.name = "synth",
	.stat = synth_stat,
	.read = synth_read,
	.get = synth_get,
	.put = synth_put,
	.barrier = synth_barrier,
	.list = synth_list,
	.remove = synth_remove,
	.close = synth_close,
};

static int new_key(struct secret **seed, struct sign_public *public)
{
	int r = sign_new_key(seed);

	return r ? r : sign_public_of(*seed, public);
}

/* Header and config, sealed by keys of this store's own. */
static int make_vault(struct synth *y)
{
	struct vf_header h = { .created_ns = y->o.first_ns };
	struct vf_key key = { .added = 1, .label = "synth" };
	struct vf_config c = {
		.n = 1,
		.time_ns = y->o.first_ns,
		.name = SYNTH_VAULT,
		.keys = &key,
		.nkeys = 1,
	};
	int r = random_bytes(&y->id, sizeof(y->id));

	if (!r)
		r = new_key(&y->owner, &h.owner);
	if (!r)
		r = new_key(&y->writer, &y->writer_key);
	if (r)
		return r;
	h.id = c.id = y->id;
	c.owner = h.owner;
	key.key = y->writer_key;
	vf_header_put(&y->header, &h);
	r = buf_check(&y->header, "a header");
	if (!r)
		r = vf_config_put(&y->config, &c, y->owner);
	if (!r)
		sha256(y->config.data, y->config.len, &y->config_digest);
	return r;
}

int store_open_synth(const struct store_synth *o, struct store **ret)
{
	DROP(buf) struct buf rec = BUF_INIT(VF_RECORD_MAX);
	struct synth *y = calloc(1, sizeof(*y));
	int r;

	if (!y)
		return fail(-ENOMEM, "no memory for a store");
	y->o = *o;
	y->inners = (uint32_t)(o->disk_size >> INNER_LOG2);
	assert(o->disk_size == (uint64_t)y->inners << INNER_LOG2 &&
	       y->inners >= 2 && y->inners <= INNER_PAGES &&
	       o->generations >= INNER_PAGES && o->points && o->vms &&
	       o->vms <= 10000);
	buf_init(&y->header, VF_RECORD_MAX);
	buf_init(&y->config, VF_CONFIG_MAX);
	buf_init(&y->root_page, VF_RECORD_MAX);
	r = make_ids(y);
	if (!r)
		r = make_vault(y);
	/* The root page comes after the record, whose length has no values in it. */
	if (!r)
		r = put_record(y, "vm-00000", 0, &rec);
	y->record_length = (uint32_t)rec.len;
	if (!r)
		r = store_init(&y->base, &synth_ops, "synth", true);
	if (r) {
		synth_free(y);
		return r;
	}
	*ret = &y->base;
	return 0;
}

void store_synth_expect(const struct store_synth *o, void *buf, size_t len,
			uint64_t off)
{
	uint8_t *out = buf;

	assert(!(off % sizeof(uint64_t)) && !(len % sizeof(uint64_t)) &&
	       off <= o->disk_size && len <= o->disk_size - off);
	while (len) {
		uint64_t chunk = off >> VF_CHUNK_LOG2;
		unsigned f = (unsigned)(off >> VF_FRAME_LOG2) % FRAMES;
		size_t skip = off % VF_FRAME_SIZE;
		size_t n = min_u64(len, VF_FRAME_SIZE - skip);

		frame_words(chunk_class(chunk) * FRAMES + f,
			    skip / sizeof(uint64_t),
			    (skip + n) / sizeof(uint64_t), out);
		out += n;
		off += n;
		len -= n;
	}
}
