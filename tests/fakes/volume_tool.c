// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/volume_tool.h"

#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/secret.h"

static int open_all(struct volume_tool *t, const char *key, const char *header)
{
	int r = source_open_file(t->image, &t->data);

	if (r == 0 && header)
		r = source_open_file(header, &t->header);
	if (r == 0 && strcmp(key, "-") != 0)
		r = secret_read_file(key, 4096, &t->key);
	return r;
}

int volume_tool_main(int argc, char **argv, bool named,
		     int (*run)(struct volume_tool *t))
{
	const char *program = argv[0];
	struct volume_tool t = { .kind = KEY_BEK };
	int r;

	if (argc > 1 && strcmp(argv[1], "-p") == 0) {
		t.kind = KEY_PASSPHRASE;
		argc--;
		argv++;
	}
	if (argc != 3 + named && argc != 4 + named)
		return 2;
	t.image = argv[1];
	t.name = named ? argv[2] : NULL;
	argv += 2 + named;
	r = secret_setup();
	if (r == 0)
		r = open_all(&t, argv[0], argv[1]);
	if (r == 0)
		r = run(&t);
	source_close(t.data);
	source_close(t.header);
	secret_close(t.key);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", program, err_text(r));
	return r < 0;
}
