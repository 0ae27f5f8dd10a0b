// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * decrypt [-p] IMAGE KEY-FILE [HEADER]: the clear bytes of an encrypted image on standard output,
 * without the kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/base/err.h"
#include "tests/fakes/volume_tool.h"

#define PIECE (1u << 20)

static int copy(struct source *s)
{
	DROP(mem) uint8_t *p = malloc(PIECE);
	uint64_t size = source_size(s);
	int r = p ? 0 : fail(-ENOMEM, "out of memory");

	for (uint64_t at = 0; at < size && r == 0; at += PIECE) {
		size_t n = min_u64(PIECE, size - at);

		r = source_read(s, p, n, at);
		if (r == 0 && fwrite(p, 1, n, stdout) != n)
			r = fail(-EIO, "standard output");
	}
	return r;
}

static int decrypt(struct volume_tool *t)
{
	DROP(source) struct source *clear = NULL;
	int r = volume_open(take(t->data), t->header, t->key, t->kind, &clear);

	if (r == 0)
		r = copy(clear);
	if (r == 0 && fflush(stdout))
		r = fail(-EIO, "standard output");
	return r;
}

int main(int argc, char **argv)
{
	return volume_tool_main(argc, argv, false, decrypt);
}
