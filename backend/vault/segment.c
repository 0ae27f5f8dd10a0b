// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The objects of one disk of one session: frames go to segments, each ending
 * with its trailer; tables, pages and dead pages go to index objects, one after
 * the other.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <string.h>

int out_init(struct out *o, struct outbox *box, const struct writer *w,
	     const char *disk)
{
	memset(o, 0, sizeof(*o));
	o->box = box;
	o->vm_key = w->vm_key;
	o->gen = w->gen;
	o->frames = malloc(SEGMENT_FRAMES * sizeof(*o->frames));
	if (!o->frames)
		return fail(-ENOMEM, "no memory for a segment");
	return vf_name_encode(disk, o->disk_key);
}

void out_release(struct out *o)
{
	outbox_abandon(o->segment);
	outbox_abandon(o->index);
	free(o->frames);
	memset(o, 0, sizeof(*o));
}

static int flush_segment(struct out *o)
{
	struct put *p = take(o->segment);
	uint32_t n = o->segments - 1;

	if (!p)
		return 0;
	vf_trailer_put(&p->tail, &o->gen, n, o->frames, o->nframes);
	vf_key_object(p->key, o->vm_key, o->disk_key, &o->gen, 's', n);
	o->stored += o->length + p->tail.len;
	return outbox_send(p);
}

int out_frame(struct out *o, struct vf_segment_frame *f, const void *stored,
	      struct plain *held, struct place *place)
{
	int r = 0;

	if (o->segment && (o->length + f->length > SEGMENT_SIZE ||
			   o->nframes == SEGMENT_FRAMES))
		r = flush_segment(o);
	if (!r && !o->segment) {
		r = outbox_begin(o->box, &o->segment);
		o->segments++;
		o->length = 0;
		o->nframes = 0;
	}
	if (!r)
		r = put_add(o->segment, stored, f->length, held);
	if (r)
		return r;
	f->offset = o->length;
	*place = (struct place){
		.gen = o->gen,
		.object = o->segments - 1,
		.offset = f->offset,
		.length = f->length,
		.flags = f->raw ? PLACE_RAW : 0,
	};
	o->frames[o->nframes++] = *f;
	o->length += f->length;
	return 0;
}

static int flush_index(struct out *o)
{
	struct put *p = take(o->index);

	if (!p)
		return 0;
	vf_key_object(p->key, o->vm_key, o->disk_key, &o->gen, 'm',
		      o->indexes - 1);
	o->stored += p->tail.len;
	return outbox_send(p);
}

/* Where the next record goes. */
static int begin_record(struct out *o, struct buf **b)
{
	int r = 0;

	if (o->index && o->index->tail.len > INDEX_OBJECT_SIZE - VF_PAGE_MAX)
		r = flush_index(o);
	if (!r && !o->index) {
		r = outbox_begin(o->box, &o->index);
		o->indexes++;
	}
	if (!r)
		*b = &o->index->tail;
	return r;
}

static int end_record(struct out *o, size_t at, struct place *place)
{
	struct buf *b = &o->index->tail;

	*place = (struct place){
		.gen = o->gen,
		.object = o->indexes - 1,
		.offset = (uint32_t)at,
		.length = (uint32_t)(b->len - at),
		.flags = PLACE_INDEX,
	};
	return buf_check(b, "an index object");
}

static int out_node(struct out *o,
		    void (*put)(struct buf *b, const struct vf_node *node),
		    const struct vf_node *node, struct place *place)
{
	struct buf *b;
	int r = begin_record(o, &b);
	size_t at;

	if (r)
		return r;
	at = b->len;
	put(b, node);
	return end_record(o, at, place);
}

int out_page(struct out *o, const struct vf_node *node, struct place *place)
{
	return out_node(o, vf_page_put, node, place);
}

int out_table(struct out *o, const struct vf_node *node, struct place *place)
{
	return out_node(o, vf_table_put, node, place);
}

int out_dead(struct out *o, const struct vf_dead *d, struct place *place,
	     struct digest *id)
{
	struct buf *b;
	int r = begin_record(o, &b);
	size_t at;

	if (r)
		return r;
	at = b->len;
	vf_dead_put(b, d);
	r = end_record(o, at, place);
	if (!r)
		sha256(b->data + at, b->len - at, id);
	return r;
}

int out_flush(struct out *o)
{
	int r = flush_segment(o);

	return r ? r : flush_index(o);
}
