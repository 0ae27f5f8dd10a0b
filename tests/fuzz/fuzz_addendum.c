// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is an escrow addendum, or, after an 'E', the escrow of a point of three
 * disks. */
#include "tests/fuzz/fuzz.h"

#define WRITER_AT (16 + 16 + 16 + 16 + 8 + 204 + 204)

static void section(const uint8_t *data, size_t size)
{
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);

	if (size > VF_ESCROW_MAX ||
	    fuzz_checked(vf_escrow_parse(data, size, 3, &docs)))
		return;
	for (size_t i = 0; i < docs.n; i++)
		assert(docs.v[i].disk >= -1 && docs.v[i].disk < 3);
	vf_escrow_put(&b, docs.v, docs.n);
	assert(b.len == size && (!size || !memcmp(b.data, data, size)));
}

static void addendum(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf first = BUF_INIT(VF_RECORD_MAX);
	DROP(buf) struct buf second = BUF_INIT(VF_RECORD_MAX);
	struct vf_addendum a, again;

	if (fuzz_checked(vf_addendum_parse(data, size, &a)))
		return;
	assert(a.len <= size && a.text >= (const char *)data &&
	       a.text + a.len <= (const char *)data + size);
	assert(sign_public_of(fuzz_seed(), &a.writer) == 0);
	assert(vf_addendum_build(&first, &a, fuzz_seed()) == 0);
	assert(vf_addendum_parse(first.data, first.len, &again) == 0);
	assert(vf_addendum_build(&second, &again, fuzz_seed()) == 0);
	fuzz_same(&first, &second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p;

	if (size && data[0] == 'E') {
		section(data + 1, size - 1);
		return 0;
	}
	addendum(data, size);
	p = fuzz_sealed(data, size, "VFea", VF_TAG_ESCROW, fuzz_seed(),
			WRITER_AT);
	if (p)
		addendum(p, size);
	free(p);
	return 0;
}
