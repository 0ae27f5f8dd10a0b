// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a list of claims or moves. */
#include "tests/fuzz/fuzz.h"

static void parse(const uint8_t *p, size_t n)
{
	struct vf_list l;

	if (fuzz_checked(vf_list_parse(p, n, &l)))
		return;
	assert(l.kind == 3 ? !l.nmoves : l.kind == 5 && !l.nclaims);
	for (size_t i = 0; i < l.nmoves; i++) {
		const struct vf_move *m = &l.moves[i];

		assert(m->disk < l.ndisks && m->from.length &&
		       m->from.length == m->to.length &&
		       m->from.flags == m->to.flags &&
		       !(m->from.flags & ~PLACE_INDEX));
	}
	for (size_t i = 0; i < l.nclaims; i++)
		assert(l.claims[i].disk < l.ndisks ||
		       (l.claims[i].disk == 0xffff && !l.claims[i].object));
	for (size_t i = 0; i < l.ndisks; i++)
		assert(catalog_check_name("disk", l.disks[i].s,
					  strlen(l.disks[i].s)) == 0);
	vf_list_release(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) uint8_t *p = fuzz_mended(data, size, "VFls");

	parse(data, size);
	if (p)
		parse(p, size);
	return 0;
}
