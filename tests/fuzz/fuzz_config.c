// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a config record. */
#include "tests/fuzz/fuzz.h"

#define OWNER_AT 324

/* Every key, whether it counts: none may lead outside of the tables. */
static void ask(const struct vf_config *c)
{
	for (size_t i = 0; i < c->nkeys && i < 100; i++) {
		int r = vf_config_key_counts(c, &c->keys[i].key, "vm", 5);

		assert(r == 0 || r == -EKEYREJECTED);
		assert(r == 0 || c->keys[i].retired);
		assert(strlen(c->keys[i].label) <= 64);
	}
}

static int parse(const uint8_t *p, size_t n, struct buf *again)
{
	struct vf_config c;
	int r = fuzz_checked(vf_config_parse(p, n, &c));

	if (r)
		return r;
	assert(!(c.incompatible & ~VF_KNOWN_INCOMPATIBLE));
	ask(&c);
	if (again)
		assert(vf_config_put(again, &c, fuzz_seed()) == 0);
	vf_config_release(&c);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf one = BUF_INIT(2 * VF_CONFIG_MAX);
	DROP(buf) struct buf two = BUF_INIT(2 * VF_CONFIG_MAX);
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFcf");
	DROP(mem)
	uint8_t *q = fuzz_sealed(data, size, "VFcf", VF_TAG_CONFIG, fuzz_seed(),
				 OWNER_AT);

	(void)parse(data, size, NULL);
	if (p)
		(void)parse(p, size, NULL);
	if (!q || parse(q, size, &one))
		return 0;
	assert(parse(one.data, one.len, &two) == 0);
	fuzz_same(&one, &two);
	return 0;
}
