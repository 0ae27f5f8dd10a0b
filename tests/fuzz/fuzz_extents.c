// SPDX-License-Identifier: GPL-3.0-or-later
/* extents_parse(), and extents_normalise() of what it gives: sorted, apart, inside. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "backend/vault/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t disk = UINT64_C(1) << 40;
	struct extents e;
	uint64_t end = 0;

	if (extents_parse((const char *)data, size, &e) < 0)
		return 0;
	if (extents_normalise(&e, disk) == 0)
		for (size_t i = 0; i < e.n; i++) {
			assert(e.r[i].len && e.r[i].len <= disk - e.r[i].off);
			assert(i == 0 || e.r[i].off > end);
			end = e.r[i].off + e.r[i].len;
		}
	extents_release(&e);
	return 0;
}
