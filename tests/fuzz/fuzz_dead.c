// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a dead page. */
#include "tests/fuzz/fuzz.h"

static int parse(const uint8_t *p, size_t n, struct buf *again)
{
	struct vf_dead d;
	int r = fuzz_checked(vf_dead_parse(p, n, &d));

	if (r)
		return r;
	assert(d.count >= 1 && d.count <= VF_DEAD_PLACES);
	for (size_t i = 0; i < d.count; i++)
		assert(!place_is_none(&d.places[i]));
	vf_dead_put(again, &d);
	free(d.places);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf raw = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf one = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf two = BUF_INIT(VF_RECORD_MAX);
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFdp");

	(void)parse(data, size, &raw);
	if (!p || parse(p, size, &one))
		return 0;
	assert(parse(one.data, one.len, &two) == 0);
	fuzz_same(&one, &two);
	return 0;
}
