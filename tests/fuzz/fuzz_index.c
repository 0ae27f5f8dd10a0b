// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a page of the point index. */
#include "tests/fuzz/fuzz.h"

static int parse(const uint8_t *p, size_t n, struct buf *again)
{
	static struct point_row rows[VF_INDEX_ROWS];
	size_t count;
	int r = fuzz_checked(vf_index_parse(p, n, rows, &count));

	if (r)
		return r;
	assert(count >= 1 && count <= VF_INDEX_ROWS);
	for (size_t i = 1; i < count; i++)
		assert(rows[i].time_ns > rows[i - 1].time_ns);
	vf_index_put(again, rows, count);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf raw = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf one = BUF_INIT(VF_RECORD_MAX);
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFix");

	(void)parse(data, size, &raw);
	if (!p || parse(p, size, &one))
		return 0;
	assert(one.len == size && !memcmp(one.data, p, size));
	return 0;
}
