// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a session record, or the end of one. */
#include "tests/fuzz/fuzz.h"

static void parse(const uint8_t *p, size_t n)
{
	DROP(buf) struct buf b = BUF_INIT(2 * VF_RECORD_MAX);
	struct vf_session s;

	if (fuzz_checked(vf_session_parse(p, n, &s)))
		return;
	vf_session_put(&b, &s);
	assert(b.len == n && !memcmp(b.data, p, n));
	vf_session_release(&s);
}

static void parse_end(const uint8_t *p, size_t n)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	struct point_id gen;
	enum vf_outcome outcome;
	uint64_t commit;

	if (fuzz_checked(vf_end_parse(p, n, &gen, &outcome, &commit)))
		return;
	vf_end_put(&b, &gen, outcome, commit);
	assert(b.len == n && !memcmp(b.data, p, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFws");
	DROP(mem) uint8_t *q = fuzz_mended(data, size, "VFwe");

	parse(data, size);
	parse_end(data, size);
	if (p) {
		parse(p, size);
		parse_end(q, size);
	}
	return 0;
}
