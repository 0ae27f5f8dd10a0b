// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is what a server answers: a listing of either kind, an error. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/store/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int r, struct listing *l)
{
	assert(r == 0 || r == -EPROTO || r == -ENOMEM);
	assert(r == 0 || (*err_text(r) && !l->count));
	for (size_t i = 0; i < l->count; i++) {
		assert(*l->items[i].name);
		assert(strlen(l->items[i].name) <= 8192);
		assert(!l->items[i].folder || !l->items[i].size);
	}
	listing_release(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	char code[LISTING_CODE_MAX];
	struct listing l = { 0 };
	int64_t s;

	/* Of exactly its size: reading past the end is seen. */
	assert(copy);
	if (size)
		memcpy(copy, data, size);
	check(listing_parse_azure(copy, size, &l), &l);
	check(listing_parse_s3(copy, size, &l), &l);
	listing_error_code(copy, size, code);
	assert(strlen(code) < sizeof(code));
	assert(listing_parse_sync(copy, size, &s) <= 0);
	free(copy);
	return 0;
}
