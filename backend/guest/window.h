// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * window: a file in memory, as long as a source, with those parts of it that are
 * copied in, and holes elsewhere: what a library is given that wants a file.
 */
#pragma once
#include "backend/source/source.h"

/* *fd: the caller's, with head bytes of the start and tail bytes of the end. */
int window_make(struct source *s, uint64_t head, uint64_t tail,
		int *fd) MUST_USE;
/* What lies beyond the end is left out. */
int window_copy(struct source *s, int fd, uint64_t off, uint64_t len) MUST_USE;
