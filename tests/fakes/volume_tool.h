// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the tools that open an encrypted image have in common, their command line:
 *
 *	[-p] IMAGE [NAME] KEY-FILE [HEADER]
 *
 * -p: the key is a passphrase or recovery password, not the content of a .BEK file.
 * KEY-FILE "-": none.
 */
#pragma once
#include "crypt/volume.h"

struct volume_tool {
	const char *image;
	const char *name;      /* NULL: the tool takes none */
	struct source *data;   /* of image */
	struct source *header; /* NULL: in data */
	struct secret *key;
	enum key_kind kind;
};

/* The whole of a main: what it returns. run may take what is in t. */
int volume_tool_main(int argc, char **argv, bool named,
		     int (*run)(struct volume_tool *t));
