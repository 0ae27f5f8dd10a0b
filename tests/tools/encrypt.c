// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * encrypt [-m MODE] [-s SECTOR] [-o OFFSET] KEY-FILE IMAGE
 *
 * Encrypts IMAGE in place, from byte OFFSET to its end, as dm-crypt would: MODE as
 * cryptsetup says it (aes-xts-plain64), KEY-FILE the volume key.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "tests/fakes/encrypt.h"

static int die(const char *what)
{
	fprintf(stderr, "encrypt: %s\n", what);
	return 1;
}

int main(int argc, char **argv)
{
	struct sector_format f = {
		.mode = SECTOR_XTS_PLAIN64,
		.sector_size = 512,
		.iv_unit = 512,
	};
	uint64_t n = 0, off = 0;
	uint8_t key[64], *p;
	ssize_t key_size;
	struct stat st;
	int c, fd;

	while ((c = getopt(argc, argv, "m:s:o:")) >= 0) {
		if (c == 'm' && sector_mode_parse(optarg, &f.mode) == 0)
			continue;
		if (c == 's' && parse_u64(optarg, &n) == 0)
			f.sector_size = (uint32_t)n;
		else if (c != 'o' || parse_size(optarg, &off))
			return die("not used like that");
	}
	if (optind + 2 != argc)
		return die("not used like that");
	fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	key_size = fd < 0 ? -1 : read(fd, key, sizeof(key));
	if (key_size <= 0 || !sector_key_fits(f.mode, (size_t)key_size))
		return die("no key");
	close(fd);
	fd = open(argv[optind + 1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || (uint64_t)st.st_size <= off ||
	    ((uint64_t)st.st_size - off) % f.sector_size || off % 4096)
		return die("no image in whole sectors");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	if (p == MAP_FAILED)
		return die("the image cannot be mapped");
	encrypt_sectors(&f, key, (size_t)key_size, p + off,
			(size_t)st.st_size - off, 0);
	return munmap(p, (size_t)st.st_size) ? die("writing") : 0;
}
