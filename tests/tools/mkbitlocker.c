// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mkbitlocker [-m METHOD] [-s SECTOR] [-r RECOVERY] [-k BEK-FILE] [-c] [-z] IMAGE
 *
 * Makes a BitLocker volume of IMAGE (a file system that leaves the last MiB free),
 * in place. -m 8000 to 8005 (8004: XTS-AES-128); -s 512 or 4096; protectors: -r a
 * recovery password, -k an external key, written to that file, -c a clear key.
 * With -z, instead, IMAGE becomes what the volume shows: zeros where the metadata
 * are.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "tests/fakes/mkbitlocker.h"

static int die(const char *what)
{
	fprintf(stderr, "mkbitlocker: %s\n", what);
	return 1;
}

static int write_key(const char *path, const struct mkbitlocker_result *r)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, r->bek, r->bek_size);

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)r->bek_size ? 0 : die(path);
}

int main(int argc, char **argv)
{
	struct mkbitlocker o = { .method = 0x8004, .sector_size = 512 };
	struct mkbitlocker_result r;
	const char *key_file = NULL;
	bool clear = false;
	uint64_t n = 0;
	struct stat st;
	uint8_t *p;
	int c, fd;

	while ((c = getopt(argc, argv, "m:s:r:k:cz")) >= 0) {
		if (c == 'm' && parse_hex_u64(optarg, 4, &n) == 0)
			o.method = (uint16_t)n;
		else if (c == 's' && parse_u64(optarg, &n) == 0)
			o.sector_size = (uint32_t)n;
		else if (c == 'r')
			o.recovery = optarg;
		else if (c == 'k')
			key_file = optarg;
		else if (c == 'c')
			o.clear = true;
		else if (c == 'z')
			clear = true;
		else
			return die("not used like that") + 1;
	}
	if (optind + 1 != argc || o.method < 0x8000 || o.method > 0x8005 ||
	    (o.sector_size != 512 && o.sector_size != 4096))
		return die("not used like that") + 1;
	o.external = key_file != NULL;
	fd = open(argv[optind], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < MKBITLOCKER_MIN ||
	    st.st_size % o.sector_size)
		return die("no image of 2 MiB or more, in whole sectors");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
		 clear ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return die("the image cannot be mapped");
	mkbitlocker(&o, p, (size_t)st.st_size, &r);
	if (clear) {
		/* Only where the metadata lie. */
		for (int i = 0; i < 3; i++) {
			memset(p, 0, MKBITLOCKER_COPY);
			if (pwrite(fd, p, MKBITLOCKER_COPY,
				   (off_t)r.copies[i]) < 0)
				return die("writing");
		}
		if (pwrite(fd, p, r.moved_size, (off_t)r.moved_off) < 0)
			return die("writing");
	}
	munmap(p, (size_t)st.st_size);
	close(fd);
	return key_file && !clear ? write_key(key_file, &r) : 0;
}
