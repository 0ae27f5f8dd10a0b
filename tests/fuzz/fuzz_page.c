// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is a tree page or a frame table. Its position in the disk and its id are taken
 * from itself, so that it is the one that the caller wants.
 */
#include "tests/fuzz/fuzz.h"

struct want {
	bool table;
	uint8_t level;
	uint64_t number;
	uint32_t count;
	struct digest id;
};

static struct want want_of(const uint8_t *p, size_t n, bool table)
{
	struct rd r = rd_over(p + VF_HEADER_SIZE, n - VF_HEADER_SIZE);
	struct want w = { .table = table };
	struct vf_node *node;
	size_t rows;

	if (table) {
		w.number = rd_u64(&r);
		w.count = rd_u16(&r);
		rows = rd_u16(&r);
		rd_skip(&r, 4);
	} else {
		w.level = rd_u8(&r);
		rd_skip(&r, 1);
		w.count = rd_u16(&r);
		rows = rd_u16(&r);
		rd_skip(&r, 2);
		w.number = rd_u64(&r);
	}
	w.count = (uint32_t)min_u64(w.count, table ? VF_FRAMES_MAX : 1024);
	rd_skip(&r, 16 * rows);
	node = vf_node_new(w.count);
	assert(node);
	node->level = w.level;
	for (uint32_t i = 0; i < w.count; i++) {
		rd_bytes(&r, node->e[i].id.b, DIGEST_SIZE);
		rd_skip(&r, 16);
	}
	if (table)
		vf_table_id(node, &w.id);
	else
		vf_page_id(node, &w.id);
	free(node);
	return w;
}

static int parse(const uint8_t *p, size_t n, const struct want *w,
		 struct buf *again)
{
	struct vf_node *node = NULL;
	int r = w->table ? vf_table_parse(p, n, w->number, w->count, &w->id,
					  &node)
			 : vf_page_parse(p, n, w->level, w->number, w->count,
					 &w->id, &node);

	if (fuzz_checked(r))
		return r;
	assert(node->count == w->count && node->number == w->number);
	if (w->table)
		vf_table_put(again, node);
	else
		vf_page_put(again, node);
	free(node);
	return 0;
}

static void one_kind(const uint8_t *data, size_t size, bool table)
{
	DROP(buf) struct buf raw = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf one = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf two = BUF_INIT(VF_RECORD_MAX);
	DROP(mem) uint8_t *p = fuzz_mended(data, size, table ? "VFft" : "VFpg");
	struct want w;

	if (!p)
		return;
	w = want_of(p, size, table);
	(void)parse(data, size, &w, &raw);
	if (parse(p, size, &w, &one))
		return;
	/* All that a parser accepts is of the id it was asked for, and not zero. */
	assert(!digest_is_zero(&w.id));
	assert(parse(one.data, one.len, &w, &two) == 0);
	fuzz_same(&one, &two);
	w.id.b[0] ^= 1;
	assert(parse(p, size, &w, &two) == -EBADMSG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	one_kind(data, size, false);
	one_kind(data, size, true);
	return 0;
}
