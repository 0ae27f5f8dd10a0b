// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is a small file system (the corpus has sparse ones of 64 KiB). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "backend/guest/ext.h"
#include "tests/fakes/source_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool allowed(int r)
{
	return r == 0 || r == -EPROTO || r == -ENOTSUP || r == -ENOENT ||
	       r == -EISDIR || r == -ENOTDIR || r == -EINVAL || r == -ENOMEM;
}

static int count(void *ctx, const char *name)
{
	return ++*(int *)ctx == 1000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(shared) struct shared *shared = NULL;
	DROP(source) struct source *file = NULL;
	DROP(ext) struct ext *e = NULL;
	struct source *s = NULL;
	uint8_t buf[4096];
	int r, n = 0;

	if (size > 1 << 20)
		return 0;
	assert(source_open_memory(data, size, NULL, 0, &s) == 0);
	assert(shared_new(s, &shared) == 0);
	r = ext_open(shared, &e);
	assert(allowed(r));
	if (r)
		return 0;
	assert(allowed(ext_list(e, "/luks", count, &n)));
	r = ext_open_file(e, "/luks/osluksheader", &file);
	assert(allowed(r));
	if (r)
		return 0;
	for (uint64_t off = 0; off < source_size(file); off += sizeof(buf)) {
		size_t len = min_u64(sizeof(buf), source_size(file) - off);

		assert(source_read(file, buf, len, off) == 0);
	}
	return 0;
}
