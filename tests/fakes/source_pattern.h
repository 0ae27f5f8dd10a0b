// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A source of any size whose content is computed from a seed and the offset:
 * no memory, any thread, and any byte can be checked without keeping a copy.
 * It does not compress, but for its runs of zeros.
 */
#pragma once
#include "backend/source/source.h"

struct pattern {
	uint64_t seed;
	/* The range is cut in runs of this many bytes (a multiple of 8), of
	 * which zero_of_256 in 256 are zeros, chosen by the seed. 0: no zeros. */
	uint64_t run;
	unsigned zero_of_256;
	/* Runs of zeros are holes; else they are data that happens to be zero. */
	bool holes;
};

int source_open_pattern(const struct pattern *p, uint64_t size,
			struct source **ret) MUST_USE;
/* What a read of [off, off+len) must give. */
void pattern_bytes(const struct pattern *p, void *buf, size_t len,
		   uint64_t off);
/* Whether the run that off lies in is zeros. */
bool pattern_is_zero(const struct pattern *p, uint64_t off);
