// SPDX-License-Identifier: GPL-3.0-or-later
/* What --header says: LUKS headers in files, for volumes that have none of their
 * own. */
#pragma once
#include "crypt/volumes.h"
#include "tools/common/options.h"

struct header_arg {
	char *vm; /* NULL: any */
	char *volume;
	const char *path; /* borrowed from the option */
};

struct header_list {
	struct header_arg *v;
	size_t n;
};

/* Each is [VM/]VOLUME=FILE, or, where volume is not NULL, FILE for that one. */
int header_list_read(const struct string_list *options, const char *volume,
		     struct header_list *out) MUST_USE;
/* Those for a VM (NULL: not known, all of them), borrowed; *ret is to be freed. */
int header_list_for(const struct header_list *l, const char *vm,
		    struct volumes_header_file **ret, size_t *n) MUST_USE;
void header_list_release(struct header_list *l);
static inline void drop_header_list(struct header_list *l)
{
	header_list_release(l);
}
