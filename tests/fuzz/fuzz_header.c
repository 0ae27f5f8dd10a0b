// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a vault header. */
#include "tests/fuzz/fuzz.h"

static void parse(const uint8_t *p, size_t n)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	struct vf_header h;

	if (fuzz_checked(vf_header_parse(p, n, &h)))
		return;
	vf_header_put(&b, &h);
	assert(b.len == n && !memcmp(b.data, p, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFhd");

	parse(data, size);
	if (p)
		parse(p, size);
	return 0;
}
