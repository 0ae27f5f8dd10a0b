// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tree pages and frame tables (FORMAT.md 6), dead pages (6.3), segment
 * trailers (7), and the arithmetic of a disk's tree.
 */
#include "backend/vault/format_impl.h"

#include <errno.h>
#include <inttypes.h>

static const char chunk_tag[16] = "vaultfs:chunk:1";
static const char page_tag[16] = "vaultfs:page:1\0";

/* --- geometry --- */

unsigned vf_level_shift(uint8_t level)
{
	return VF_LEAF_LOG2 + VF_INNER_LOG2 * (unsigned)level;
}

/* How many of 2^shift are needed to cover n. */
static uint64_t shift_up(uint64_t n, unsigned shift)
{
	return shift > 63 ? n > 0
			  : (n >> shift) +
				    ((n & ((UINT64_C(1) << shift) - 1)) != 0);
}

int vf_geometry(uint64_t size, uint8_t chunk_log2, struct vf_geometry *g)
{
	uint8_t level = 0;

	if (size < 1 || size > VF_DISK_MAX)
		return fail(-EPROTO, "a disk of %" PRIu64 " bytes", size);
	if (chunk_log2 < VF_CHUNK_LOG2_MIN || chunk_log2 > VF_CHUNK_LOG2_MAX)
		return fail(-EPROTO, "chunks of 2^%u bytes", chunk_log2);
	g->size = size;
	g->chunk_log2 = chunk_log2;
	g->frames_per_chunk = 1u << (chunk_log2 - VF_FRAME_LOG2);
	g->frames = shift_up(size, VF_FRAME_LOG2);
	g->chunks = shift_up(size, chunk_log2);
	while (shift_up(g->chunks, vf_level_shift(level)) > 1)
		level++;
	g->root_level = level;
	return 0;
}

uint32_t vf_chunk_frames(const struct vf_geometry *g, uint64_t chunk)
{
	uint64_t first = chunk * g->frames_per_chunk;

	return (uint32_t)min_u64(g->frames_per_chunk, g->frames - first);
}

uint32_t vf_frame_length(const struct vf_geometry *g, uint64_t frame)
{
	return (uint32_t)min_u64(VF_FRAME_SIZE,
				 g->size - (frame << VF_FRAME_LOG2));
}

uint32_t vf_page_count(const struct vf_geometry *g, uint8_t level,
		       uint64_t number)
{
	uint64_t children =
		level == 0 ? g->chunks
			   : shift_up(g->chunks, vf_level_shift(level - 1));
	unsigned log2 = level == 0 ? VF_LEAF_LOG2 : VF_INNER_LOG2;

	return (uint32_t)min_u64(UINT64_C(1) << log2,
				 children - (number << log2));
}

/* --- ids --- */

static void node_id(const char tag[static 16], bool with_level,
		    const struct vf_node *node, struct digest *out)
{
	struct sha256 h;
	uint8_t head[8];
	size_t n = 0;
	bool any = false;

	for (uint32_t i = 0; i < node->count && !any; i++)
		any = !digest_is_zero(&node->e[i].id);
	if (!any) {
		memset(out, 0, sizeof(*out));
		return;
	}
	sha256_init(&h);
	sha256_add(&h, tag, 16);
	if (with_level) {
		head[0] = node->level;
		memset(head + 1, 0, 3);
		n = 4;
	}
	head[n++] = (uint8_t)node->count;
	head[n++] = (uint8_t)(node->count >> 8);
	head[n++] = 0;
	head[n++] = 0;
	sha256_add(&h, head, n);
	for (uint32_t i = 0; i < node->count; i++)
		sha256_add(&h, node->e[i].id.b, DIGEST_SIZE);
	sha256_final(&h, out);
}

void vf_page_id(const struct vf_node *node, struct digest *out)
{
	node_id(page_tag, true, node, out);
}

void vf_table_id(const struct vf_node *node, struct digest *out)
{
	node_id(chunk_tag, false, node, out);
}

/* --- pages and tables --- */

size_t vf_node_size(uint32_t count)
{
	return sizeof(struct vf_node) + count * sizeof(struct vf_entry);
}

struct vf_node *vf_node_new(uint32_t count)
{
	struct vf_node *n = calloc(1, vf_node_size(count));

	if (n)
		n->count = count;
	return n;
}

/* index: of a page, whose children are index records; else of a frame table. */
static int entries_parse(struct rd *r, size_t nrows, bool index,
			 struct vf_node *node)
{
	const uint16_t allowed = index ? PLACE_INDEX : PLACE_RAW;
	const uint8_t *rows;
	int e = rd_rows(r, nrows, &rows);

	for (uint32_t i = 0; i < node->count && !e; i++) {
		struct vf_entry *x = &node->e[i];

		rd_digest(r, &x->id);
		e = rd_place(r, rows, nrows, allowed, &x->place);
		if (!e && digest_is_zero(&x->id) != place_is_none(&x->place))
			e = fail(-EPROTO,
				 "entry %" PRIu32 " has one of id and place",
				 i);
		if (!e && !place_is_none(&x->place) &&
		    (index ? x->place.flags != PLACE_INDEX
			   : x->place.length > VF_FRAME_SIZE))
			e = fail(-EPROTO, "entry %" PRIu32 " has a bad place",
				 i);
	}
	if (!e && !rd_done(r))
		e = fail(-EPROTO, "its tables do not fill it");
	return e;
}

int vf_page_parse(const void *p, size_t n, uint8_t level, uint64_t number,
		  uint32_t count, const struct digest *id, struct vf_node **ret)
{
	DROP(mem) struct vf_node *node = NULL;
	struct digest got;
	struct rd r;
	size_t rows;
	int e = record_open(p, n, "VFpg", &r);

	if (e)
		return e;
	node = vf_node_new(count);
	if (!node)
		return fail(-ENOMEM, "no memory for a page");
	node->level = level;
	node->number = number;
	if (rd_u8(&r) != level || rd_u8(&r) != 0 || rd_u16(&r) != count)
		return fail(-EPROTO, "a page of another level or length");
	rows = rd_u16(&r);
	if (rd_u16(&r) != 0 || rd_u64(&r) != number)
		return fail(-EPROTO, "a page of another place in the disk");
	e = entries_parse(&r, rows, true, node);
	if (e)
		return e;
	vf_page_id(node, &got);
	if (digest_is_zero(&got) || !digest_equal(&got, id))
		return fail(-EBADMSG, "a page that does not match its id");
	*ret = take(node);
	return 0;
}

int vf_table_parse(const void *p, size_t n, uint64_t number, uint32_t count,
		   const struct digest *id, struct vf_node **ret)
{
	DROP(mem) struct vf_node *node = NULL;
	struct digest got;
	struct rd r;
	size_t rows;
	int e = record_open(p, n, "VFft", &r);

	if (e)
		return e;
	node = vf_node_new(count);
	if (!node)
		return fail(-ENOMEM, "no memory for a frame table");
	node->number = number;
	if (rd_u64(&r) != number || rd_u16(&r) != count)
		return fail(-EPROTO, "the frame table of another chunk");
	rows = rd_u16(&r);
	if (rd_u32(&r) != 0)
		return fail(-EPROTO, "bad frame table");
	e = entries_parse(&r, rows, false, node);
	if (e)
		return e;
	vf_table_id(node, &got);
	if (digest_is_zero(&got) || !digest_equal(&got, id))
		return fail(-EBADMSG,
			    "a frame table that does not match its id");
	*ret = take(node);
	return 0;
}

static void entries_put(struct buf *b, const struct vf_node *node, bool table)
{
	struct rows t;
	uint16_t row[1 << VF_INNER_LOG2];
	size_t at = record_begin(b, table ? "VFft" : "VFpg");

	rows_init(&t);
	for (uint32_t i = 0; i < node->count; i++)
		row[i] = place_is_none(&node->e[i].place)
				 ? 0
				 : rows_add(&t, &node->e[i].place.gen);
	if (table) {
		buf_u64(b, node->number);
		buf_u16(b, (uint16_t)node->count);
		buf_u16(b, (uint16_t)t.n);
		buf_u32(b, 0);
	} else {
		buf_u8(b, node->level);
		buf_u8(b, 0);
		buf_u16(b, (uint16_t)node->count);
		buf_u16(b, (uint16_t)t.n);
		buf_u16(b, 0);
		buf_u64(b, node->number);
	}
	rows_put(b, &t);
	for (uint32_t i = 0; i < node->count; i++) {
		buf_digest(b, &node->e[i].id);
		place_put(b, row[i], &node->e[i].place);
	}
	record_end(b, at);
}

void vf_page_put(struct buf *b, const struct vf_node *node)
{
	entries_put(b, node, false);
}

void vf_table_put(struct buf *b, const struct vf_node *node)
{
	entries_put(b, node, true);
}

/* --- dead pages (6.3) --- */

void vf_dead_put(struct buf *b, const struct vf_dead *d)
{
	struct rows t;
	uint16_t row[VF_DEAD_PLACES];
	uint16_t prev_row = 0;
	size_t at = record_begin(b, "VFdp");

	rows_init(&t);
	if (!place_is_none(&d->prev_place))
		prev_row = rows_add(&t, &d->prev_place.gen);
	for (size_t i = 0; i < d->count; i++)
		row[i] = rows_add(&t, &d->places[i].gen);
	buf_digest(b, &d->prev);
	place_put(b, prev_row, &d->prev_place);
	buf_u32(b, (uint32_t)d->count);
	buf_u16(b, (uint16_t)t.n);
	buf_u16(b, 0);
	rows_put(b, &t);
	for (size_t i = 0; i < d->count; i++)
		place_put(b, row[i], &d->places[i]);
	record_end(b, at);
}

int vf_dead_parse(const void *p, size_t n, struct vf_dead *out)
{
	DROP(mem) struct place *places = NULL;
	struct vf_dead d = { 0 };
	struct rd r, prev;
	const uint8_t *rows, *prev_bytes;
	size_t nrows;
	int e = record_open(p, n, "VFdp", &r);

	if (e)
		return e;
	rd_digest(&r, &d.prev);
	prev_bytes = rd_ptr(&r, 16);
	d.count = rd_u32(&r);
	nrows = rd_u16(&r);
	if (!prev_bytes || rd_u16(&r) != 0 || !rd_ok(&r) || d.count < 1 ||
	    d.count > VF_DEAD_PLACES)
		return fail(-EPROTO, "bad dead page");
	e = rd_rows(&r, nrows, &rows);
	if (e)
		return e;
	prev = rd_over(prev_bytes, 16);
	e = rd_place(&prev, rows, nrows, PLACE_INDEX, &d.prev_place);
	if (e)
		return e;
	if (digest_is_zero(&d.prev) != place_is_none(&d.prev_place) ||
	    (!place_is_none(&d.prev_place) &&
	     d.prev_place.flags != PLACE_INDEX))
		return fail(-EPROTO, "bad chain of dead pages");
	places = calloc(d.count, sizeof(*places));
	if (!places)
		return fail(-ENOMEM, "no memory for a dead page");
	for (size_t i = 0; i < d.count; i++) {
		e = rd_place(&r, rows, nrows, PLACE_INDEX, &places[i]);
		if (e)
			return e;
		if (place_is_none(&places[i]))
			return fail(-EPROTO, "a dead place of no length");
	}
	if (!rd_done(&r))
		return fail(-EPROTO, "bad dead page");
	d.places = take(places);
	*out = d;
	return 0;
}

/* --- segment trailers (7) --- */

#define TRAILER_ENTRY 56
static const char trailer_end[4] = "VFse";

void vf_trailer_put(struct buf *b, const struct point_id *gen, uint32_t object,
		    const struct vf_segment_frame *f, size_t n)
{
	size_t at = record_begin(b, "VFst");

	buf_gen(b, gen);
	buf_u32(b, object);
	buf_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		buf_u64(b, f[i].frame);
		buf_digest(b, &f[i].digest);
		buf_u32(b, f[i].offset);
		buf_u32(b, f[i].length);
		buf_u16(b, f[i].raw ? PLACE_RAW : 0);
		buf_zero(b, 6);
	}
	record_end(b, at);
	buf_u32(b, (uint32_t)(b->len - at));
	buf_add(b, trailer_end, sizeof(trailer_end));
}

int vf_trailer_length(const uint8_t end[static 8], uint32_t *len)
{
	struct rd r = rd_over(end, 8);
	uint32_t n = rd_u32(&r);

	if (memcmp(end + 4, trailer_end, 4) != 0 || n < VF_HEADER_SIZE ||
	    n > STORE_OBJECT_MAX)
		return fail(-EPROTO, "does not end as a segment does");
	*len = n;
	return 0;
}

int vf_trailer_parse(const void *p, size_t n, const struct point_id *gen,
		     uint32_t object, struct vf_segment_frame **ret,
		     size_t *count)
{
	DROP(mem) struct vf_segment_frame *f = NULL;
	struct point_id got;
	struct rd r;
	uint32_t frames;
	int e = record_open(p, n, "VFst", &r);

	if (e)
		return e;
	rd_gen(&r, &got);
	if (rd_u32(&r) != object || !point_id_equal(&got, gen))
		return fail(-EPROTO, "the trailer of another segment");
	frames = rd_u32(&r);
	if (!rd_ok(&r) || (uint64_t)frames * TRAILER_ENTRY != r.left)
		return fail(-EPROTO, "bad segment trailer");
	f = calloc((size_t)frames + 1, sizeof(*f));
	if (!f)
		return fail(-ENOMEM, "no memory for a segment trailer");
	for (uint32_t i = 0; i < frames; i++) {
		uint16_t flags;

		f[i].frame = rd_u64(&r);
		rd_digest(&r, &f[i].digest);
		f[i].offset = rd_u32(&r);
		f[i].length = rd_u32(&r);
		flags = rd_u16(&r);
		f[i].raw = flags & PLACE_RAW;
		if (!rd_zero(&r, 6) || (flags & ~PLACE_RAW) ||
		    (i && f[i].frame <= f[i - 1].frame) ||
		    f[i].frame >= VF_DISK_MAX >> VF_FRAME_LOG2 ||
		    !f[i].length || f[i].offset > STORE_OBJECT_MAX ||
		    f[i].length > STORE_OBJECT_MAX - f[i].offset)
			return fail(-EPROTO, "bad frame in a segment trailer");
	}
	*ret = take(f);
	*count = frames;
	return 0;
}
