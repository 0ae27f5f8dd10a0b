// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a point record. */
#include "tests/fuzz/fuzz.h"

static int parse(const uint8_t *p, size_t n, struct buf *again)
{
	struct vf_point pt;
	int r = fuzz_checked(vf_point_parse(p, n, &pt));

	if (r)
		return r;
	assert(pt.ndisks >= 1 && pt.ndisks <= CATALOG_DISKS_MAX);
	for (size_t i = 0; i < pt.ndisks; i++) {
		struct vf_geometry g;

		assert(vf_geometry(pt.disks[i].size, pt.disks[i].chunk_log2,
				   &g) == 0);
		assert(g.root_level == pt.disks[i].root_level);
	}
	vf_point_put(again, &pt);
	vf_point_release(&pt);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf raw = BUF_INIT(2 * VF_RECORD_MAX);
	DROP(buf) struct buf one = BUF_INIT(2 * VF_RECORD_MAX);
	DROP(buf) struct buf two = BUF_INIT(2 * VF_RECORD_MAX);
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFpr");

	(void)parse(data, size, &raw);
	/* A row table that this software would not write may be too long for it. */
	if (!p || parse(p, size, &one) || one.failed)
		return 0;
	/* An adopted generation that is named twice is put once. */
	if (parse(one.data, one.len, &two) == 0)
		fuzz_same(&one, &two);
	return 0;
}
