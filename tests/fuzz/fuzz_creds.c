// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a file of credentials, or a connection string. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/store/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text, size_t len, struct creds_text t)
{
	/* A piece of the text, and never an empty one. */
	assert(!t.p || (t.len && t.p >= text && t.p + t.len <= text + len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);

	assert(copy);
	if (size)
		memcpy(copy, data, size);
	check(copy, size, creds_ini(copy, size, "default", "region"));
	check(copy, size, creds_ini(copy, size, "", ""));
	check(copy, size, creds_pair(copy, size, "AccountKey"));
	check(copy, size, creds_pair(copy, size, ""));
	free(copy);
	return 0;
}
