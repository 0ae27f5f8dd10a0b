// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a frame as it is stored, and a plain one. */
#include "backend/vault/codec.h"
#include "tests/fuzz/fuzz.h"

/* Unpacks into n bytes; a sanitizer sees one too many. */
static int unpack(const uint8_t *data, size_t size, size_t n)
{
	DROP(mem) uint8_t *plain = malloc(n ? n : 1);

	assert(plain);
	return fuzz_checked(codec_unpack(data, size, plain, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) uint8_t *packed = NULL;
	DROP(mem) uint8_t *plain = NULL;
	DROP(mem) uint8_t *again = NULL;
	size_t n = size < VF_FRAME_SIZE ? size : VF_FRAME_SIZE, len;
	bool whole = unpack(data, size, VF_FRAME_SIZE) == 0;
	bool small = unpack(data, size, 700) == 0;

	/* It has one length only. */
	assert(!whole || !small);

	packed = malloc(n ? n : 1);
	plain = fuzz_copy(data, n);
	again = malloc(n ? n : 1);
	assert(packed && again);
	len = codec_pack(plain, n, packed);
	assert(len <= n - n / 16);
	if (!len)
		return 0;
	assert(codec_unpack(packed, len, again, n) == 0);
	assert(!memcmp(again, plain, n));
	assert(unpack(packed, len - 1, n) && unpack(packed, len, n - 1) &&
	       unpack(packed, len, n + 1));
	return 0;
}
