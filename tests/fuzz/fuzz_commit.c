// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a commit. */
#include "tests/fuzz/fuzz.h"

#define WRITER_AT 348

/* Builds it again from what was parsed; its inline pages are as they were. */
static void rebuild(struct vf_commit *c, struct buf *out)
{
	struct buf *pages = calloc(c->npages + 1, sizeof(*pages));
	const struct buf **inl = calloc(c->npages + 1, sizeof(*inl));
	uint8_t *newest = fuzz_copy(c->newest, c->newest_length);

	assert(pages && inl);
	for (size_t i = 0; i < c->npages; i++) {
		if (c->pages[i].commit != c->seq)
			continue;
		assert(c->pages[i].offset + (uint64_t)c->pages[i].length <=
		       c->length);
		buf_init(&pages[i], VF_RECORD_MAX);
		buf_add(&pages[i], c->bytes + c->pages[i].offset,
			c->pages[i].length);
		inl[i] = &pages[i];
	}
	if (c->newest_length)
		c->newest = newest;
	assert(vf_commit_build(c, inl, fuzz_seed()) == 0);
	buf_add(out, c->bytes, c->length);
	for (size_t i = 0; i < c->npages; i++)
		buf_release(&pages[i]);
	free(pages);
	free(inl);
	free(newest);
}

/* Takes p. */
static int parse(uint8_t *p, size_t n, struct buf *again)
{
	struct vf_commit c;
	int r = fuzz_checked(vf_commit_parse(p, n, &c));

	if (r)
		return r;
	assert(!c.newest_length ||
	       (c.newest >= c.bytes &&
		c.newest + c.newest_length + SIGN_SIZE == c.bytes + c.length));
	if (again)
		rebuild(&c, again);
	vf_commit_release(&c);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf one = BUF_INIT(2 * VF_COMMIT_MAX);
	DROP(buf) struct buf two = BUF_INIT(2 * VF_COMMIT_MAX);
	uint8_t *p = fuzz_mended(data, size, "VFcm");

	(void)parse(fuzz_copy(data, size), size, NULL);
	if (p)
		(void)parse(p, size, NULL);
	p = fuzz_sealed(data, size, "VFcm", VF_TAG_COMMIT, fuzz_seed(),
			WRITER_AT);
	if (!p || parse(p, size, &one))
		return 0;
	assert(parse(fuzz_copy(one.data, one.len), one.len, &two) == 0);
	fuzz_same(&one, &two);
	return 0;
}
