// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * decrypt [-p] IMAGE KEY-FILE [HEADER]: the clear bytes of an encrypted image on standard output,
 * without the kernel. -p: the key is a passphrase or recovery password, not the content
 * of a .BEK file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/secret.h"
#include "crypt/volume.h"

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

static int decrypt(char **argv, enum key_kind kind)
{
	DROP(source) struct source *data = NULL;
	DROP(source) struct source *header = NULL;
	DROP(source) struct source *clear = NULL;
	DROP(secret) struct secret *key = NULL;
	int r = source_open_file(argv[0], &data);

	if (r == 0 && argv[2])
		r = source_open_file(argv[2], &header);
	if (r == 0)
		r = secret_read_file(argv[1], 4096, &key);
	if (r == 0)
		r = volume_open(take(data), header, key, kind, &clear);
	return r < 0 ? r : copy(clear);
}

int main(int argc, char **argv)
{
	enum key_kind kind = KEY_BEK;
	int r;

	if (argc > 1 && strcmp(argv[1], "-p") == 0) {
		kind = KEY_PASSPHRASE;
		argc--;
		argv++;
	}
	if (argc != 3 && argc != 4)
		return 2;
	r = secret_setup();
	if (r == 0)
		r = decrypt(argv + 1, kind);
	if (r == 0 && fflush(stdout))
		r = fail(-EIO, "standard output");
	if (r < 0)
		fprintf(stderr, "decrypt: %s\n", err_text(r));
	return r < 0;
}
