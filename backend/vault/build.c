// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The new tree, built from left to right. In memory is the one unfinished page
 * of each level.
 *
 *	chunk entries -> leaf full: its id -> entry of the page above -> full: ...
 *
 * A page whose id is that of the base's page of the same level and number is
 * the same page: the base's place is kept, and nothing is written. Runs of
 * chunks that are as in the base are taken over by the largest whole pages, so
 * the cost is what changed.
 *
 * Dead: whatever record or frame of the base the new tree does not point to.
 * Since frames and pages are only ever compared at the same address, that is
 * found address by address: frames and tables by the caller, chunk by chunk;
 * pages here, when their successor is finished; what lies beyond the end of a
 * disk that shrank, by a walk at the end. The base's root is not counted: it
 * lies in the base's point object and goes with it, and for the same reason it
 * is never kept as an inner page of a disk that grew.
 */
#include "backend/vault/writer_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static unsigned child_log2(uint8_t level)
{
	return level ? VF_INNER_LOG2 : VF_LEAF_LOG2;
}

int build_init(struct build *b, const struct vf_geometry *g, struct tree *base,
	       struct out *out, struct dead *dead)
{
	memset(b, 0, sizeof(*b));
	b->g = *g;
	b->out = out;
	b->dead = dead;
	buf_init(&b->root_page, VF_PAGE_MAX);
	cursor_init(&b->base, base);
	for (uint8_t l = 0; l <= g->root_level; l++) {
		b->page[l] = vf_node_new(1u << child_log2(l));
		if (!b->page[l])
			return fail(-ENOMEM, "no memory for pages");
	}
	return 0;
}

void build_release(struct build *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(b->page); i++)
		free(b->page[i]);
	buf_release(&b->root_page);
	cursor_release(&b->base);
	memset(b, 0, sizeof(*b));
}

static bool own_object(const struct place *p)
{
	return !(p->flags & PLACE_POINT);
}

static int bury(struct build *b, const struct place *p)
{
	return own_object(p) ? dead_add(b->dead, p) : 0;
}

static int finish_root(struct build *b, const struct vf_node *page,
		       const struct digest *id, const struct vf_entry *old,
		       bool old_is_root)
{
	b->root = *id;
	if (!digest_is_zero(id))
		vf_page_put(&b->root_page, page);
	return old_is_root ? 0 : bury(b, &old->place);
}

/* A page is full: what is its entry in the page above? */
static int finish_page(struct build *b, uint8_t level, struct vf_entry *out)
{
	const struct vf_node *page = b->page[level];
	const struct vf_geometry *bg = b->base.g;
	bool old_is_root = bg && level == bg->root_level;
	struct vf_entry old;
	int r = cursor_page_entry(&b->base, level, page->number, &old);

	if (r)
		return r;
	vf_page_id(page, &out->id);
	memset(&out->place, 0, sizeof(out->place));
	if (level == b->g.root_level)
		return finish_root(b, page, &out->id, &old, old_is_root);
	if (digest_equal(&out->id, &old.id) && own_object(&old.place)) {
		out->place = old.place;
		return 0;
	}
	r = old_is_root ? 0 : bury(b, &old.place);
	if (!r && !digest_is_zero(&out->id))
		r = out_page(b->out, page, &out->place);
	return r;
}

static int add(struct build *b, uint8_t level, uint64_t child,
	       const struct vf_entry *entry)
{
	struct vf_entry e = *entry;

	for (; level <= b->g.root_level; level++) {
		struct vf_node *page = b->page[level];
		uint64_t number = child >> child_log2(level);
		int r;

		if (b->have[level] == 0) {
			page->level = level;
			page->number = number;
			page->count = vf_page_count(&b->g, level, number);
		}
		assert(page->number == number &&
		       b->have[level] ==
			       (child & ((1u << child_log2(level)) - 1)));
		page->e[b->have[level]++] = e;
		if (b->have[level] < page->count)
			return 0;
		b->have[level] = 0;
		r = finish_page(b, level, &e);
		if (r)
			return r;
		child = number;
	}
	return 0;
}

int build_chunk(struct build *b, uint64_t chunk, const struct vf_entry *e)
{
	assert(chunk == b->next);
	b->next++;
	return add(b, 0, chunk, e);
}

/*
 * Can the page of this level that begins with the next chunk be taken over
 * whole? It must end by end, hold the same chunks in both trees, and have a
 * place of its own in the base; or lie where the base has nothing.
 */
static bool keeps_page(const struct build *b, uint8_t level, uint64_t end)
{
	const struct vf_geometry *bg = b->base.g;
	uint64_t span = UINT64_C(1) << vf_level_shift(level);
	uint64_t stop = min_u64(b->next + span, b->g.chunks);

	if (level >= b->g.root_level || (b->next & (span - 1)) || stop > end)
		return false;
	if (!bg || b->next >= bg->chunks)
		return true;
	return level < bg->root_level &&
	       min_u64(b->next + span, bg->chunks) == stop;
}

int build_keep(struct build *b, uint64_t end)
{
	while (b->next < end) {
		struct vf_entry e;
		uint8_t up = 0; /* pages of level up - 1 are kept */
		int r;

		while (keeps_page(b, up, end))
			up++;
		/* Another writer may have put an inner page into a point
		 * object: it is copied, by way of its children. */
		for (r = 0; up; up--) {
			r = cursor_page_entry(&b->base, up - 1,
					      b->next >> vf_level_shift(up - 1),
					      &e);
			if (r || own_object(&e.place))
				break;
		}
		if (!r && up == 0) {
			r = cursor_chunk(&b->base, b->next, &e);
			if (!r)
				r = build_chunk(b, b->next, &e);
			if (!r)
				continue;
		}
		if (!r)
			r = add(b, up, b->next >> vf_level_shift(up - 1), &e);
		if (r)
			return r;
		b->next = min_u64(b->next + (UINT64_C(1)
					     << vf_level_shift(up - 1)),
				  b->g.chunks);
	}
	return 0;
}

/* --- the end of a disk that shrank --- */

static int drop_chunk(struct build *b, uint64_t chunk, const struct vf_entry *e)
{
	const struct vf_geometry *bg = b->base.g;
	DROP(cache_blob) struct cache_blob *blob = NULL;
	const struct vf_node *table;
	int r;

	if (digest_is_zero(&e->id))
		return 0;
	r = tree_table(b->base.t, chunk, &blob);
	if (r || !blob)
		return r;
	table = blob->data;
	for (uint32_t f = 0; f < table->count && !r; f++) {
		if (digest_is_zero(&table->e[f].id))
			continue;
		b->dropped_bytes +=
			vf_frame_length(bg, chunk * bg->frames_per_chunk + f);
		r = dead_add(b->dead, &table->e[f].place);
	}
	return r ? r : bury(b, &e->place);
}

/* What lies under a page of the base, beyond the new end. */
static int drop_page(struct build *b, uint8_t level, uint64_t number)
{
	unsigned log2 = child_log2(level);
	uint32_t count = vf_page_count(b->base.g, level, number);
	const struct vf_node *page;
	int r;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t child = (number << log2) + i;
		struct vf_entry e;

		r = cursor_page(&b->base, level, number, &page);
		if (r || !page)
			return r;
		e = page->e[i];
		if (digest_is_zero(&e.id))
			continue;
		if (level == 0) {
			r = child < b->g.chunks ? 0 : drop_chunk(b, child, &e);
		} else {
			uint64_t stop = (child + 1)
					<< vf_level_shift(level - 1);

			/* One that the new tree has too was seen to when that
			 * page was finished. */
			if (!geometry_has(&b->g, level - 1, child))
				r = bury(b, &e.place);
			if (!r && stop > b->g.chunks)
				r = drop_page(b, level - 1, child);
		}
		if (r)
			return r;
	}
	return 0;
}

int build_finish(struct build *b)
{
	const struct vf_geometry *bg = b->base.g;

	assert(b->next == b->g.chunks);
	if (!bg || bg->chunks <= b->g.chunks)
		return 0;
	return drop_page(b, bg->root_level, 0);
}
