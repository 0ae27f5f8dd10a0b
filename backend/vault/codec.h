// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * How a frame is stored: one zstd frame, or raw when zstd level 1 saves less
 * than 1/16. The one file that knows zstd. Any thread: contexts are a thread's
 * own.
 */
#pragma once
#include "backend/base/scope.h"
#include <stddef.h>
#include <stdint.h>

/* A shorter form of the n plain bytes at most n - n/16 long into out (capacity
 * n): its length, or 0 when it is to be stored raw. */
size_t codec_pack(const void *plain, size_t n, void *out);
/* Exactly n plain bytes out of the stored ones, else -EPROTO. */
int codec_unpack(const void *stored, size_t len, void *plain,
		 size_t n) MUST_USE;
