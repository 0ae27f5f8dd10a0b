// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is the end of a segment: its trailer, and the 8 bytes after it. */
#include "tests/fuzz/fuzz.h"

static void parse(const uint8_t *p, size_t n, const struct point_id *gen,
		  uint32_t object)
{
	DROP(buf) struct buf b = BUF_INIT(2 * VF_RECORD_MAX);
	struct vf_segment_frame *f = NULL;
	size_t count;

	if (fuzz_checked(vf_trailer_parse(p, n, gen, object, &f, &count)))
		return;
	vf_trailer_put(&b, gen, object, f, count);
	assert(b.len == n + 8 && !memcmp(b.data, p, n));
	free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) uint8_t *p = NULL;
	struct point_id gen;
	uint32_t length, object;
	struct rd r;

	if (size < 8)
		return 0;
	if (vf_trailer_length(data + size - 8, &length) == 0)
		assert(length >= VF_HEADER_SIZE && length <= STORE_OBJECT_MAX);
	p = fuzz_mended(data, size - 8, "VFst");
	if (!p)
		return 0;
	r = rd_over(p + VF_HEADER_SIZE, size - 8 - VF_HEADER_SIZE);
	gen.seq = rd_u64(&r);
	gen.nonce = rd_u64(&r);
	object = rd_u32(&r);
	parse(data, size - 8, &gen, object);
	parse(p, size - 8, &gen, object);
	return 0;
}
