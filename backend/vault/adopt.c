// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What killed sessions stored of one disk. The frames of a session ascend over
 * its segments, as those of the new backup do, so each adopted generation is
 * one stream of trailers that is read along: in memory is one trailer of each.
 *
 * Each adopted frame is either given out, and used or buried by the caller, or
 * buried here: it is dead from the first. So are adopted index objects, and
 * what has no readable trailer, as a whole. Trailers of segments are not, as
 * they are not in any dead page: an object of which all frames are dead is
 * dead. What adopted sessions stored of disks that are not in the new point is
 * found by the point's list of adopted generations.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"

/* One request brings the whole trailer of a segment of frames that do not
 * pack. */
#define TAIL_READ (16u << 10)

struct stream {
	const struct adopted *from;
	char prefix[VF_KEY_SIZE]; /* of its segments */
	struct store_list page;
	size_t at; /* in page: the object after the one at hand */
	bool listed;
	struct vf_segment_frame *frames;
	size_t n, next;
	uint64_t expect; /* no frame before this one is given out any more */
	uint32_t object;
};

struct adopt {
	struct writer *w;
	const char *disk_key;
	struct dead *dead;
	size_t n;
	struct stream s[];
};

static void object_prefix(char out[static VF_KEY_SIZE], const struct writer *w,
			  const char *disk_key, const struct point_id *gen,
			  char kind)
{
	char id[POINT_ID_TEXT];

	point_id_text(gen, id);
	snprintf(out, VF_KEY_SIZE, "V/%s/d/%s/%s/%c/", w->vm_key, disk_key, id,
		 kind);
}

int adopt_open(struct writer *w, const char *disk_key, struct dead *dead,
	       struct adopt **ret)
{
	struct adopt *a;

	*ret = NULL;
	if (!w->nadopted)
		return 0;
	a = calloc(1, sizeof(*a) + w->nadopted * sizeof(a->s[0]));
	if (!a)
		return fail(-ENOMEM, "no memory to take over a backup");
	a->w = w;
	a->disk_key = disk_key;
	a->dead = dead;
	a->n = w->nadopted;
	for (size_t i = 0; i < a->n; i++) {
		a->s[i].from = &w->adopted[i];
		object_prefix(a->s[i].prefix, w, disk_key, &w->adopted[i].gen,
			      's');
	}
	*ret = a;
	return 0;
}

void adopt_close(struct adopt *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++) {
		store_list_release(&a->s[i].page);
		free(a->s[i].frames);
	}
	free(a);
}

/* The next object of a listing, or NULL at its end. */
static int next_object(struct adopt *a, struct stream *s, const char *prefix,
		       const struct store_entry **ret)
{
	*ret = NULL;
	while (s->at == s->page.count) {
		struct store_list more = { 0 };
		char after[VF_KEY_SIZE] = "";
		int r;

		if (s->listed && !s->page.more)
			return 0;
		if (s->page.count)
			snprintf(after, sizeof(after), "%s",
				 s->page.entries[s->page.count - 1].key);
		else if (s->listed)
			return 0;
		r = store_list(a->w->store, prefix, after, STORE_LIST_MAX,
			       false, &more);
		if (r)
			return r;
		store_list_release(&s->page);
		s->page = more;
		s->at = 0;
		s->listed = true;
	}
	*ret = &s->page.entries[s->at++];
	return 0;
}

static int bury_object(struct adopt *a, const struct point_id *gen,
		       uint32_t object, uint64_t size, uint16_t flags)
{
	struct place p = {
		.gen = *gen,
		.object = object,
		.length = (uint32_t)min_u64(size, STORE_OBJECT_MAX),
		.flags = flags,
	};

	return dead_add(a->dead, &p);
}

static int read_trailer(struct adopt *a, struct stream *s, const char *key,
			uint64_t size)
{
	uint32_t tail = (uint32_t)min_u64(size, TAIL_READ);
	DROP(mem) uint8_t *buf = NULL;
	uint32_t len;
	int r;

	if (size < 8 || size > STORE_OBJECT_MAX)
		return fail(-EPROTO, "%s: not a segment", key);
	buf = malloc(tail);
	if (!buf)
		return fail(-ENOMEM, "no memory to take over a backup");
	r = store_read(a->w->store, key, buf, tail, size - tail);
	if (!r)
		r = vf_trailer_length(buf + tail - 8, &len);
	if (r)
		return r;
	if (len > size - 8)
		return fail(-EPROTO, "%s: not a segment", key);
	if (len > tail - 8) {
		free(buf);
		buf = malloc(len);
		if (!buf)
			return fail(-ENOMEM, "no memory to take over a backup");
		r = store_read(a->w->store, key, buf, len, size - 8 - len);
		if (r)
			return r;
		tail = len + 8;
	}
	r = vf_trailer_parse(buf + tail - 8 - len, len, &s->from->gen,
			     s->object, &s->frames, &s->n);
	return r ? blame(r, "%s", key) : 0;
}

/* Frames that a trailer speaks of and the segment cannot have. */
static bool trailer_fits(const struct stream *s, uint64_t size)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->frames[i].offset + (uint64_t)s->frames[i].length > size)
			return false;
	return true;
}

/* Makes the next trailer the one at hand; s->n is 0 at the end. */
static int advance(struct adopt *a, struct stream *s)
{
	const struct store_entry *e;
	uint64_t n;
	int r;

	for (;;) {
		free(take(s->frames));
		s->n = s->next = 0;
		r = next_object(a, s, s->prefix, &e);
		if (r || !e)
			return r;
		if (parse_hex_u64(e->key + strlen(s->prefix), 16, &n) ||
		    n > UINT32_MAX) {
			err_clear();
			continue;
		}
		s->object = (uint32_t)n;
		r = read_trailer(a, s, e->key, e->size);
		if (r == 0 && s->n && trailer_fits(s, e->size))
			return 0;
		/* Torn, or gone: nothing of it can be used. */
		if (r && r != -EPROTO && r != -ENOENT && r != -ENOTSUP)
			return r;
		err_clear();
		r = bury_object(a, &s->from->gen, s->object, e->size, 0);
		if (r)
			return r;
	}
}

static struct place frame_place(const struct stream *s)
{
	const struct vf_segment_frame *f = &s->frames[s->next];

	return (struct place){
		.gen = s->from->gen,
		.object = s->object,
		.offset = f->offset,
		.length = f->length,
		.flags = f->raw ? PLACE_RAW : 0,
	};
}

/* Up to frame end: buries what lies before first, gives out the rest. */
static int run_stream(struct adopt *a, struct stream *s, uint64_t first,
		      uint64_t end, struct candidate *out, size_t *count)
{
	for (;;) {
		struct place p;
		uint64_t frame;
		int r = 0;

		if (s->next == s->n) {
			r = advance(a, s);
			if (r || !s->n)
				return r;
		}
		frame = s->frames[s->next].frame;
		if (frame >= end)
			return 0;
		p = frame_place(s);
		if (frame < first || frame < s->expect) {
			r = dead_add(a->dead, &p);
		} else {
			out[(*count)++] = (struct candidate){
				.slot = (uint32_t)(frame - first),
				.verify = s->from->verify,
				.digest = s->frames[s->next].digest,
				.place = p,
			};
			s->expect = frame + 1;
		}
		if (r)
			return r;
		s->next++;
	}
}

int adopt_next(struct adopt *a, uint64_t first, uint32_t n,
	       struct candidate *out, size_t *count)
{
	int r = 0;

	*count = 0;
	for (size_t i = 0; a && i < a->n && !r; i++)
		r = run_stream(a, &a->s[i], first, first + n, out, count);
	return r;
}

int adopt_finish(struct adopt *a)
{
	int r = 0;

	for (size_t i = 0; a && i < a->n && !r; i++) {
		struct stream *s = &a->s[i];
		const struct store_entry *e;
		char prefix[VF_KEY_SIZE];
		uint64_t n;

		r = run_stream(a, s, UINT64_MAX, UINT64_MAX, NULL, NULL);
		if (r)
			return r;
		store_list_release(&s->page);
		s->page = (struct store_list){ 0 };
		s->at = 0;
		s->listed = false;
		object_prefix(prefix, a->w, a->disk_key, &s->from->gen, 'm');
		while (!(r = next_object(a, s, prefix, &e)) && e) {
			if (parse_hex_u64(e->key + strlen(prefix), 16, &n) ||
			    n > UINT32_MAX) {
				err_clear();
				continue;
			}
			r = bury_object(a, &s->from->gen, (uint32_t)n, e->size,
					PLACE_INDEX);
			if (r)
				return r;
		}
	}
	return r;
}
