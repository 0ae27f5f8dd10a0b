// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Pages of the base's tree as they are needed from left to right: the last one
 * of each level is kept, so that each is asked for once whatever the cache
 * holds.
 */
#include "backend/vault/writer_impl.h"

#include <string.h>

void cursor_init(struct cursor *c, struct tree *t)
{
	memset(c, 0, sizeof(*c));
	c->t = t;
	c->g = t ? tree_geometry(t) : NULL;
}

void cursor_release(struct cursor *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->at); i++)
		cache_unref(c->at[i].blob);
	memset(c, 0, sizeof(*c));
}

bool geometry_has(const struct vf_geometry *g, uint8_t level, uint64_t number)
{
	return level <= g->root_level &&
	       number < ((g->chunks - 1) >> vf_level_shift(level)) + 1;
}

int cursor_page(struct cursor *c, uint8_t level, uint64_t number,
		const struct vf_node **ret)
{
	struct cursor_at *at = &c->at[level];

	if (!at->valid || at->number != number) {
		struct cache_blob *blob = NULL;
		int r = tree_page(c->t, level, number, &blob);

		if (r)
			return r;
		cache_unref(at->blob);
		at->blob = blob;
		at->number = number;
		at->valid = true;
	}
	*ret = at->blob ? at->blob->data : NULL;
	return 0;
}

static int child(struct cursor *c, uint8_t level, uint64_t number,
		 uint32_t slot, struct vf_entry *out)
{
	const struct vf_node *page;
	int r = cursor_page(c, level, number, &page);

	if (r)
		return r;
	if (page)
		*out = page->e[slot];
	else
		memset(out, 0, sizeof(*out));
	return 0;
}

int cursor_chunk(struct cursor *c, uint64_t chunk, struct vf_entry *out)
{
	if (!c->t || chunk >= c->g->chunks) {
		memset(out, 0, sizeof(*out));
		return 0;
	}
	return child(c, 0, chunk >> VF_LEAF_LOG2,
		     chunk & ((1u << VF_LEAF_LOG2) - 1), out);
}

int cursor_page_entry(struct cursor *c, uint8_t level, uint64_t number,
		      struct vf_entry *out)
{
	if (!c->t || !geometry_has(c->g, level, number)) {
		memset(out, 0, sizeof(*out));
		return 0;
	}
	if (level == c->g->root_level) {
		out->id = tree_disk(c->t)->root;
		out->place = tree_disk(c->t)->root_place;
		return 0;
	}
	return child(c, level + 1, number >> VF_INNER_LOG2,
		     number & ((1u << VF_INNER_LOG2) - 1), out);
}
