// SPDX-License-Identifier: GPL-3.0-or-later
/* A source of bytes in memory. */
#pragma once
#include "backend/source/source.h"

struct memory_hole {
	uint64_t off;
	uint64_t len;
};

/* Copies data (NULL: all zeros). The holes, sorted and disjoint, become zeros and are
 * what extent says; without any, the source has no extent method. */
int source_open_memory(const void *data, size_t size,
		       const struct memory_hole *holes, size_t nholes,
		       struct source **ret) MUST_USE;
