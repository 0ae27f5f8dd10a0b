// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * image [--holes] FILE SIZE SEED: bytes that no compressor shrinks, the same for the
 * same seed. With --holes, the middle third of each 3 MiB (of the file, when it is
 * smaller) is a hole.
 *
 * image --at OFFSET FILE SIZE SEED: those bytes are written there, and the rest of the
 * file stays as it is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "tests/fakes/source_pattern.h"

#define PAGE 4096
#define MIB ((uint64_t)1 << 20)

static int write_out(int fd, const struct pattern *p, uint64_t at, uint64_t off,
		     uint64_t end)
{
	static uint8_t buf[256 << 10];

	while (off < end) {
		size_t n = min_u64(end - off, sizeof(buf));
		ssize_t wrote;

		pattern_bytes(p, buf, n, off);
		wrote = pwrite(fd, buf, n, (off_t)(at + off));
		if (wrote <= 0)
			return -1;
		off += (uint64_t)wrote;
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool holes = argc > 1 && !strcmp(argv[1], "--holes");
	bool inside = argc > 2 && !strcmp(argv[1], "--at");
	struct pattern p = { 0 };
	uint64_t size, period, off, end, at = 0;
	int fd, r = 0, options = holes + 2 * inside;

	if (argc - options != 4 || parse_size(argv[options + 2], &size) < 0 ||
	    (inside && parse_size(argv[2], &at) < 0)) {
		fprintf(stderr, "usage: image [--holes] FILE SIZE SEED\n"
				"       image --at OFFSET FILE SIZE SEED\n");
		return 2;
	}
	argv += options;
	for (const char *c = argv[3]; *c; c++)
		p.seed = p.seed * 257 + (uint8_t)*c;
	period = size < 3 * MIB ? size / 3 / PAGE * PAGE : MIB;
	holes = holes && period;
	if (!holes)
		period = size;

	fd = open(argv[1],
		  O_WRONLY | O_CLOEXEC | (inside ? 0 : O_CREAT | O_TRUNC),
		  0666);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	for (off = 0; off < size && r == 0; off = end) {
		end = min_u64(off + period, size);
		/* What is left out is the hole. */
		if (!holes || off / period % 3 != 1 || end - off < period)
			r = write_out(fd, &p, at, off, end);
	}
	if (r == 0 && !inside)
		r = ftruncate(fd, (off_t)size);
	if (r < 0 || close(fd) < 0) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
