// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A physical volume, little endian (from LVM2's lib/format_text/layout.h and
 * lib/label/label.h, in words):
 *
 *	label: in one of the first four sectors of 512 bytes
 *	  0  8  "LABELONE"		 16  4  CRC of what follows, to the
 *	  8  8  its own sector			sector's end
 *	 24  8  "LVM2 001"		 20  4  where the header is, in it
 *	header
 *	  0 32  UUID, without dashes	 32  8  bytes of the device
 *	 40     areas {offset 8, bytes 8}: of data, up to one of zeros; then of
 *		metadata, likewise
 *	area of metadata: a header of 512 bytes, and text in a ring behind it
 *	  0  4  CRC of the other 508	  4 16  " LVM2 x[5A%r0N*>"
 *	 20  4  version 1		 24  8  its own offset
 *	 32  8  bytes, with the header
 *	 40     texts {offset 8, bytes 8, CRC 4, flags 4: 1 ignored}: the first
 *		is the one that counts
 *
 * The CRC is that of Ethernet, begun with 0xf597a6cf and not inverted.
 *
 * The text of every area of a volume group is the same, but for those that were
 * not there when it was written: the greatest seqno counts.
 */
#include "backend/guest/lvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"
#include "backend/base/rd.h"
#include "backend/guest/lvm_text.h"

#define SECTOR 512
#define LABEL_SECTORS 4
#define AREAS_MAX 8
#define CRC_START 0xf597a6cfu
#define UUID_CHARS 32
/* A volume group has at most so many bytes: 8 EiB. */
#define SIZE_LIMIT ((uint64_t)INT64_MAX)

static uint32_t crc(const uint8_t *p, size_t n, uint32_t start)
{
	uint32_t c = start;

	while (n--) {
		c ^= *p++;
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
	}
	return c;
}

/* --- physical volumes --- */

struct pv {
	bool here;
	char uuid[UUID_CHARS + 1];
	uint64_t size; /* of its source */
	size_t nareas;
	uint64_t areas[AREAS_MAX]; /* of metadata */
};

/* A text that was read, and who had it. */
struct group {
	struct lvm_text *text;
	const struct text_node *vg;
	const char *id;
	uint64_t seqno;
};

/* All that is known while reading. */
struct reader {
	struct source *const *sources;
	struct pv *pvs;
	size_t npvs;
	struct group *groups; /* one a volume group, the newest */
	size_t ngroups;
	struct lvm *out;
};

static int note_damage(struct reader *rd, const char *text)
{
	char(*more)[ERR_MAX] =
		reallocarray(rd->out->damaged, rd->out->ndamaged + 1, ERR_MAX);

	if (!more)
		return fail(-ENOMEM, "out of memory");
	rd->out->damaged = more;
	snprintf(more[rd->out->ndamaged++], ERR_MAX, "%s", text);
	return 0;
}

/* What is wrong with the bytes is noted, and others may do; 0 then. */
static int note_if_damaged(struct reader *rd, int r)
{
	char text[ERR_MAX];

	if (r != -EPROTO && r != -EBADMSG)
		return r;
	snprintf(text, sizeof(text), "%s", err_text(r));
	return note_damage(rd, text);
}

static void parse_header(const uint8_t *p, size_t n, struct pv *pv)
{
	struct rd r = rd_over(p, n);
	uint64_t off;

	rd_bytes(&r, pv->uuid, UUID_CHARS);
	rd_skip(&r, 8);
	do {
		off = rd_u64(&r);
		rd_skip(&r, 8);
	} while (off && rd_ok(&r));
	for (;;) {
		off = rd_u64(&r);
		rd_skip(&r, 8);
		if (!off || !rd_ok(&r) || pv->nareas == AREAS_MAX)
			break;
		pv->areas[pv->nareas++] = off;
	}
	printable(pv->uuid);
	pv->here = true;
}

static void parse_label(const uint8_t *p, uint64_t sector, struct pv *pv)
{
	struct rd r = rd_over(p, SECTOR);
	uint32_t sum, at;
	uint64_t self;

	if (memcmp(p, "LABELONE", 8) != 0 || memcmp(p + 24, "LVM2 001", 8) != 0)
		return;
	rd_skip(&r, 8);
	self = rd_u64(&r);
	sum = rd_u32(&r);
	at = rd_u32(&r);
	if (self != sector || sum != crc(p + 20, SECTOR - 20, CRC_START) ||
	    at < 32 || at > SECTOR)
		return;
	parse_header(p + at, SECTOR - at, pv);
}

static int read_label(struct source *s, struct pv *pv)
{
	uint8_t p[LABEL_SECTORS * SECTOR];
	int r;

	pv->size = source_size(s);
	if (pv->size < sizeof(p))
		return 0;
	r = source_read(s, p, sizeof(p), 0);
	for (uint64_t i = 0; !r && !pv->here && i < LABEL_SECTORS; i++)
		parse_label(p + i * SECTOR, i, pv);
	return r;
}

/* --- areas of metadata --- */

struct area_head {
	uint64_t start, size; /* of the area */
	uint64_t off, len;    /* of the text: from start, and its bytes */
	uint32_t sum;
	bool empty;
};

static int parse_area(const uint8_t *p, uint64_t start, uint64_t device,
		      struct area_head *h)
{
	struct rd r = rd_over(p, SECTOR);
	uint32_t sum = rd_u32(&r), version, flags;

	if (memcmp(p + 4, " LVM2 x[5A%r0N*>", 16) != 0 ||
	    sum != crc(p + 4, SECTOR - 4, CRC_START))
		return fail(-EBADMSG, "LVM metadata: an area's header is "
				      "damaged");
	rd_skip(&r, 16);
	version = rd_u32(&r);
	h->start = rd_u64(&r);
	h->size = rd_u64(&r);
	h->off = rd_u64(&r);
	h->len = rd_u64(&r);
	h->sum = rd_u32(&r);
	flags = rd_u32(&r);
	h->empty = !h->off || !h->len || flags & 1;
	if (version != 1 || h->start != start || h->size <= SECTOR ||
	    h->size > device - start)
		return fail(-EPROTO, "LVM metadata: an area lies wrong");
	if (!h->empty && (h->off < SECTOR || h->off >= h->size ||
			  h->len > h->size - SECTOR || h->len > LVM_TEXT_MAX))
		return fail(-EPROTO, "LVM metadata: a text lies wrong");
	return 0;
}

/* The text is in a ring: it may go on behind the header. */
static int read_text(struct source *s, const struct area_head *h, char **ret)
{
	DROP(mem) char *text = malloc(h->len);
	size_t first = min_u64(h->len, h->size - h->off);
	int r;

	if (!text)
		return fail(-ENOMEM, "out of memory");
	r = source_read(s, text, first, h->start + h->off);
	if (!r && first < h->len)
		r = source_read(s, text + first, h->len - first,
				h->start + SECTOR);
	if (r)
		return r;
	if (crc((uint8_t *)text, h->len, CRC_START) != h->sum)
		return fail(-EBADMSG, "LVM metadata: the checksum of the text "
				      "does not match");
	*ret = take(text);
	return 0;
}

static bool name_valid(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-");

	return n && !name[n] && n <= LVM_NAME_MAX && *name != '-' &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The only section of the outermost level. */
static const struct text_node *find_vg(const struct lvm_text *t)
{
	const struct text_node *n = lvm_text_root(t)->child;

	while (n && n->kind != TEXT_SECTION)
		n = n->next;
	return n;
}

/* Takes *text if it is the newest. */
static int add_group(struct reader *rd, struct lvm_text **text)
{
	struct group g = { .text = *text, .vg = find_vg(*text) };
	struct group *more;

	if (!g.vg || !name_valid(g.vg->name) ||
	    !(g.id = text_string(g.vg, "id")) ||
	    !text_number(g.vg, "seqno", &g.seqno))
		return fail(-EPROTO, "LVM metadata: no volume group in it");
	for (size_t i = 0; i < rd->ngroups; i++) {
		struct group *old = &rd->groups[i];

		if (strcmp(old->id, g.id) != 0)
			continue;
		if (old->seqno < g.seqno) {
			lvm_text_free(old->text);
			*old = g;
			*text = NULL;
		}
		return 0;
	}
	more = reallocarray(rd->groups, rd->ngroups + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "out of memory");
	rd->groups = more;
	more[rd->ngroups++] = g;
	*text = NULL;
	return 0;
}

static int read_area(struct reader *rd, size_t pv, uint64_t start)
{
	DROP(lvm_text) struct lvm_text *parsed = NULL;
	DROP(mem) char *text = NULL;
	struct source *s = rd->sources[pv];
	struct area_head h = { 0 };
	uint8_t p[SECTOR];
	int r;

	if (start > source_size(s) || source_size(s) - start < SECTOR)
		return fail(-EPROTO, "LVM metadata: an area lies beyond the "
				     "end of the volume");
	r = source_read(s, p, sizeof(p), start);
	if (!r)
		r = parse_area(p, start, source_size(s), &h);
	if (r || h.empty)
		return r;
	r = read_text(s, &h, &text);
	if (!r)
		r = lvm_text_parse(text, h.len, &parsed);
	return r ? r : add_group(rd, &parsed);
}

static int read_pv(struct reader *rd, size_t i)
{
	struct pv *pv = &rd->pvs[i];
	int r = read_label(rd->sources[i], pv);

	for (size_t k = 0; !r && k < pv->nareas; k++)
		r = note_if_damaged(rd, read_area(rd, i, pv->areas[k]));
	return r;
}

/* --- logical volumes --- */

/* Why this one is not mapped; the first reason stays. */
static void refuse(struct lvm_lv *lv, const char *fmt, ...) PRINTF(2, 3);
static void refuse(struct lvm_lv *lv, const char *fmt, ...)
{
	va_list ap;

	if (*lv->refused)
		return;
	va_start(ap, fmt);
	vsnprintf(lv->refused, sizeof(lv->refused), fmt, ap);
	va_end(ap);
	printable(lv->refused);
}

#define RESTORE "restore the disks, and activate it with LVM there"

static const char *kind_of(const char *type)
{
	static const struct {
		const char *prefix, *kind;
	} kinds[] = {
		{ "thin-pool", "a pool of thin volumes" },
		{ "thin", "a thin volume" },
		{ "raid", "a RAID volume" },
		{ "mirror", "a mirrored volume" },
		{ "snapshot", "a snapshot" },
		{ "cache", "a cached volume" },
		{ "writecache", "a cached volume" },
		{ "vdo", "a deduplicated volume (VDO)" },
		{ "integrity", "a volume with integrity data" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strncmp(type, kinds[i].prefix, strlen(kinds[i].prefix)) ==
		    0)
			return kinds[i].kind;
	}
	return NULL;
}

static void refuse_type(struct lvm_lv *lv, const char *type)
{
	const char *kind = kind_of(type);

	if (kind)
		refuse(lv, "it is %s, which is not mapped here: " RESTORE,
		       kind);
	else
		refuse(lv,
		       "it has a segment of type '%.64s', which is not mapped "
		       "here: " RESTORE,
		       type);
}

static bool to_bytes(uint64_t extents, uint64_t extent_size, uint64_t *out)
{
	return !__builtin_mul_overflow(extents, extent_size, out) &&
	       !__builtin_mul_overflow(*out, SECTOR, out) && *out <= SIZE_LIMIT;
}

/* UUIDs have dashes in the text, and none in the header. */
static bool same_uuid(const char *text, const char *bare)
{
	for (; *text; text++) {
		if (*text == '-')
			continue;
		if (*text != *bare++)
			return false;
	}
	return !*bare;
}

struct vg {
	const struct text_node *node;
	uint64_t extent_size; /* in sectors */
};

/* The physical volume of that name in the group, as it was given; how many there
 * are of its UUID. */
static size_t find_pv(const struct reader *rd, const char *uuid, size_t *index)
{
	size_t n = 0;

	for (size_t i = 0; i < rd->npvs; i++) {
		if (rd->pvs[i].here && same_uuid(uuid, rd->pvs[i].uuid)) {
			*index = i;
			n++;
		}
	}
	return n;
}

/* One area: a name of a physical volume, and an extent of it. */
static int add_area(const struct reader *rd, const struct vg *vg,
		    struct lvm_lv *lv, const char *name, uint64_t extent,
		    uint64_t len)
{
	const struct text_node *pv =
		text_get(text_get(vg->node, "physical_volumes", TEXT_SECTION),
			 name, TEXT_SECTION);
	const char *uuid = text_string(pv, "id");
	uint64_t start = 0, first = 0, off;
	struct lvm_area *more;
	size_t index = 0, n;

	if (!pv || !uuid || !text_number(pv, "pe_start", &start)) {
		/* A logical volume's name: one that is being moved. */
		refuse(lv,
		       "it lies on '%.64s', which is no physical volume (it may "
		       "have been being moved): " RESTORE,
		       name);
		return 0;
	}
	n = find_pv(rd, uuid, &index);
	lv->missing |= n == 0;
	if (n == 0)
		refuse(lv,
		       "it lies on physical volume %.48s, which is on no disk "
		       "of this point that can be read",
		       uuid);
	if (n > 1)
		refuse(lv,
		       "it lies on physical volume %.48s, of which there are "
		       "%zu on these disks",
		       uuid, n);
	if (n != 1)
		return 0;
	if (!to_bytes(extent, vg->extent_size, &first) ||
	    !to_bytes(1, start, &off) ||
	    __builtin_add_overflow(off, first, &off) ||
	    off > rd->pvs[index].size || len > rd->pvs[index].size - off) {
		refuse(lv,
		       "its metadata place it beyond the end of physical "
		       "volume %.48s",
		       uuid);
		return 0;
	}
	more = reallocarray(lv->areas, lv->nareas + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "out of memory");
	lv->areas = more;
	more[lv->nareas++] = (struct lvm_area){ .pv = index, .off = off };
	return 0;
}

static int add_areas(const struct reader *rd, const struct vg *vg,
		     struct lvm_lv *lv, struct lvm_segment *s,
		     const struct text_node *node)
{
	const struct text_node *n = text_get(node, "stripes", TEXT_LIST);
	int r = 0;

	s->first_area = lv->nareas;
	for (n = n ? n->child : NULL; n && n->next && !r; n = n->next->next) {
		if (n->kind != TEXT_STRING || n->next->kind != TEXT_NUMBER)
			break;
		if (lv->nareas - s->first_area == s->nareas) {
			refuse(lv, "its metadata have too many stripes");
			return 0;
		}
		r = add_area(rd, vg, lv, n->string, n->next->number,
			     s->len / s->nareas);
		if (*lv->refused)
			return r;
	}
	if (!r && (n || lv->nareas - s->first_area != s->nareas))
		refuse(lv, "its metadata have the wrong number of stripes");
	return r;
}

static int add_segment(const struct reader *rd, const struct vg *vg,
		       struct lvm_lv *lv, const struct text_node *node)
{
	const char *type = text_string(node, "type");
	uint64_t first, count, stripes = 0, stripe = 0;
	struct lvm_segment s = { 0 }, *more;
	int r;

	if (!type || strcmp(type, "striped") != 0) {
		refuse_type(lv, type ? type : "?");
		return 0;
	}
	if (!text_number(node, "start_extent", &first) ||
	    !text_number(node, "extent_count", &count) || !count ||
	    !text_number(node, "stripe_count", &stripes) || !stripes ||
	    stripes > LVM_STRIPES_MAX || count % stripes ||
	    !to_bytes(first, vg->extent_size, &s.off) ||
	    !to_bytes(count, vg->extent_size, &s.len) ||
	    s.len > SIZE_LIMIT - s.off) {
		refuse(lv, "its metadata have a segment that makes no sense");
		return 0;
	}
	s.nareas = stripes;
	if (stripes > 1) {
		if (!text_number(node, "stripe_size", &stripe) || !stripe ||
		    stripe > UINT32_MAX ||
		    s.len / stripes % (stripe * SECTOR)) {
			refuse(lv, "its metadata have stripes of a size that "
				   "makes no sense");
			return 0;
		}
		s.stripe_size = stripe * SECTOR;
	}
	r = add_areas(rd, vg, lv, &s, node);
	if (r || *lv->refused)
		return r;
	more = reallocarray(lv->segments, lv->nsegments + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "out of memory");
	lv->segments = more;
	more[lv->nsegments++] = s;
	return 0;
}

static int compare_segments(const void *a, const void *b)
{
	const struct lvm_segment *x = a, *y = b;

	return (x->off > y->off) - (x->off < y->off);
}

static void finish_segments(struct lvm_lv *lv, uint64_t want)
{
	uint64_t at = 0;

	if (lv->nsegments)
		qsort(lv->segments, lv->nsegments, sizeof(*lv->segments),
		      compare_segments);
	for (size_t i = 0; i < lv->nsegments; i++) {
		if (lv->segments[i].off != at) {
			refuse(lv, "its metadata have segments with gaps");
			return;
		}
		at += lv->segments[i].len;
	}
	lv->size = at;
	if (lv->nsegments != want)
		refuse(lv, "its metadata lack segments");
}

/* Whether a snapshot's data are kept in volume `name`, or, when that is being merged,
 * go back to it. */
static bool is_of_snapshot(const struct vg *vg, const char *name)
{
	const struct text_node *lv =
		text_get(vg->node, "logical_volumes", TEXT_SECTION);

	for (lv = lv ? lv->child : NULL; lv; lv = lv->next) {
		const struct text_node *seg;
		const char *cow, *merging, *origin;

		if (lv->kind != TEXT_SECTION)
			continue;
		seg = text_get(lv, "segment1", TEXT_SECTION);
		cow = text_string(seg, "cow_store");
		merging = text_string(seg, "merging_store");
		origin = text_string(seg, "origin");
		if ((cow && strcmp(cow, name) == 0) ||
		    (merging && (strcmp(merging, name) == 0 ||
				 (origin && strcmp(origin, name) == 0))))
			return true;
	}
	return false;
}

static int fill_lv(const struct reader *rd, const struct vg *vg,
		   const struct text_node *node, struct lvm_lv *lv)
{
	const char *uuid = text_string(node, "id");
	uint64_t want = 0;
	int r = 0;

	snprintf(lv->vg, sizeof(lv->vg), "%s", vg->node->name);
	snprintf(lv->name, sizeof(lv->name), "%s", node->name);
	snprintf(lv->uuid, sizeof(lv->uuid), "%s", uuid ? uuid : "");
	printable(lv->uuid);
	if (is_of_snapshot(vg, node->name))
		refuse_type(lv, "snapshot");
	if (!text_number(node, "segment_count", &want) || !want)
		refuse(lv, "its metadata lack segments");
	for (const struct text_node *n = node->child; n && !r; n = n->next) {
		if (*lv->refused)
			break;
		if (n->kind == TEXT_SECTION &&
		    strncmp(n->name, "segment", 7) == 0)
			r = add_segment(rd, vg, lv, n);
	}
	if (!r && !*lv->refused)
		finish_segments(lv, want);
	return r;
}

/* Snapshots are in a volume of another name, which nobody sees. */
static bool is_seen(const struct text_node *lv)
{
	const char *type =
		text_string(text_get(lv, "segment1", TEXT_SECTION), "type");

	return lv->kind == TEXT_SECTION && text_has(lv, "status", "VISIBLE") &&
	       (!type || strcmp(type, "snapshot") != 0);
}

static int add_lv(struct reader *rd, const struct vg *vg,
		  const struct text_node *node)
{
	struct lvm_lv *more, *lv;

	if (rd->out->count == LVM_LVS_MAX)
		return note_damage(rd, "LVM: more logical volumes than are "
				       "shown here");
	if (!name_valid(node->name))
		return note_damage(rd, "LVM metadata: a logical volume of a "
				       "name that cannot be");
	more = reallocarray(rd->out->lvs, rd->out->count + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "out of memory");
	rd->out->lvs = more;
	lv = &more[rd->out->count++];
	memset(lv, 0, sizeof(*lv));
	return fill_lv(rd, vg, node, lv);
}

static int add_lvs(struct reader *rd, const struct group *g)
{
	const struct text_node *lv =
		text_get(g->vg, "logical_volumes", TEXT_SECTION);
	struct vg vg = { .node = g->vg };
	int r = 0;

	if (!text_number(g->vg, "extent_size", &vg.extent_size) ||
	    !vg.extent_size)
		return note_damage(rd, "LVM metadata: extents of no size");
	for (lv = lv ? lv->child : NULL; lv && !r; lv = lv->next) {
		if (is_seen(lv))
			r = add_lv(rd, &vg, lv);
	}
	return r;
}

static int compare_lvs(const void *a, const void *b)
{
	const struct lvm_lv *x = a, *y = b;
	int r = strcmp(x->vg, y->vg);

	if (!r)
		r = strcmp(x->name, y->name);
	return r ? r : strcmp(x->uuid, y->uuid);
}

static void drop_reader(struct reader *rd)
{
	for (size_t i = 0; i < rd->ngroups; i++)
		lvm_text_free(rd->groups[i].text);
	free(rd->groups);
	free(rd->pvs);
	lvm_free(rd->out);
}

int lvm_read(struct source *const *pvs, size_t n, struct lvm **ret)
{
	DROP(reader) struct reader rd = { .sources = pvs, .npvs = n };
	int r = 0;

	if (n > LVM_PVS_MAX)
		return fail(-EPROTO, "more than %d physical volumes",
			    LVM_PVS_MAX);
	rd.out = calloc(1, sizeof(*rd.out));
	rd.pvs = calloc(n ? n : 1, sizeof(*rd.pvs));
	if (!rd.out || !rd.pvs)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n && !r; i++)
		r = read_pv(&rd, i);
	for (size_t i = 0; i < rd.ngroups && !r; i++)
		r = add_lvs(&rd, &rd.groups[i]);
	if (r)
		return r;
	if (rd.out->count)
		qsort(rd.out->lvs, rd.out->count, sizeof(*rd.out->lvs),
		      compare_lvs);
	*ret = take(rd.out);
	return 0;
}

void lvm_free(struct lvm *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->count; i++) {
		free(l->lvs[i].segments);
		free(l->lvs[i].areas);
	}
	free(l->lvs);
	free(l->damaged);
	free(l);
}
