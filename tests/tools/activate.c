// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * activate [-p] IMAGE NAME KEY-FILE [HEADER]: /dev/mapper/NAME of an encrypted image, read-only,
 * as vaultkey makes it of a volume. -p: the key is a passphrase or recovery password, not
 * the content of a .BEK file. KEY-FILE "-": none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/secret.h"
#include "crypt/dm.h"
#include "crypt/volume.h"

static int activate(char **argv, enum key_kind kind)
{
	DROP(source) struct source *data = NULL;
	DROP(source) struct source *header = NULL;
	DROP(secret) struct secret *key = NULL;
	DROP(volume_key) struct volume_key *volume_key = NULL;
	DROP(loop) struct loop loop = LOOP_INIT;
	DROP(fd) int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	char uuid[VOLUME_DM_UUID_SIZE];
	struct volume_info info;
	int r = source_open_file(argv[0], &data);

	if (r == 0 && argv[3])
		r = source_open_file(argv[3], &header);
	if (r == 0 && strcmp(argv[2], "-") != 0)
		r = secret_read_file(argv[2], 4096, &key);
	if (r == 0)
		r = volume_probe(header ? header : data, &info);
	if (r == 0)
		r = volume_unlock(data, header, key, kind, &volume_key);
	if (r == 0)
		r = loop_open(fd, 0, source_size(data), true, &loop);
	if (r < 0)
		return r;
	volume_dm_uuid(&info, argv[1], uuid);
	return volume_activate(data, header, volume_key, loop.path, argv[1],
			       uuid, true);
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
	if (argc != 4 && argc != 5)
		return 2;
	r = secret_setup();
	if (r == 0)
		r = activate(argv + 1, kind);
	if (r < 0)
		fprintf(stderr, "activate: %s\n", err_text(r));
	return r < 0;
}
