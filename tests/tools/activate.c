// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * activate [-p] IMAGE NAME KEY-FILE [HEADER]: /dev/mapper/NAME of an encrypted image, read-only,
 * as vaultkey makes it of a volume.
 */
#include <fcntl.h>

#include "crypt/dm.h"
#include "tests/fakes/volume_tool.h"

static int activate(struct volume_tool *t)
{
	DROP(volume_key) struct volume_key *volume_key = NULL;
	DROP(loop) struct loop loop = LOOP_INIT;
	DROP(fd) int fd = open(t->image, O_RDONLY | O_CLOEXEC);
	char uuid[VOLUME_DM_UUID_SIZE];
	struct volume_info info;
	int r = volume_probe(t->header ? t->header : t->data, &info);

	if (r == 0)
		r = volume_unlock(t->data, t->header, t->key, t->kind,
				  &volume_key);
	if (r == 0)
		r = loop_open(fd, 0, source_size(t->data), true, &loop);
	if (r < 0)
		return r;
	volume_dm_uuid(&info, t->name, uuid);
	return volume_activate(t->data, t->header, volume_key, loop.path,
			       t->name, uuid, true);
}

int main(int argc, char **argv)
{
	return volume_tool_main(argc, argv, true, activate);
}
