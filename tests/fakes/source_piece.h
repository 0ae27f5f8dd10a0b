// SPDX-License-Identifier: GPL-3.0-or-later
/* A source that is zeros but for one piece. */
#pragma once
#include "backend/source/source.h"

/* Of size bytes, of which n, at off, are data's. Borrows data. */
int source_open_piece(const void *data, size_t n, uint64_t off, uint64_t size,
		      struct source **ret) MUST_USE;
