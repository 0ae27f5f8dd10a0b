// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files that parse Azure's answers share; nobody else includes it. */
#pragma once
#include <string.h>

#include "backend/azure/model.h"
#include "backend/base/err.h"

/* Room for one more in an array; NULL without memory, or when it is too long. */
void *model_grow(void *array, size_t count, size_t *room, size_t size);
/* The next element of a list, zeroed and counted; returns -ENOMEM from where it
 * stands. */
#define MODEL_NEXT(list)                                                       \
	({                                                                     \
		void *grown_ = model_grow((list)->v, (list)->count,            \
					  &(list)->room, sizeof(*(list)->v));  \
		if (!grown_)                                                   \
			return fail(-ENOMEM, "no memory for a list");          \
		(list)->v = grown_;                                            \
		memset(&(list)->v[(list)->count], 0, sizeof(*(list)->v));      \
		&(list)->v[(list)->count++];                                   \
	})

/* A copy of a text; absent or empty is NULL, which is no failure. */
int model_copy_text(const char *s, char **to) MUST_USE;
/* ... of a member. */
int model_copy(const struct json *j, const char *key, char **to) MUST_USE;
/* ... of one that must be there. */
int model_need(const struct json *j, const char *key, const char *what,
	       char **to) MUST_USE;
/* A member whatever its case: Lun, lun, Uri, uri were all seen. */
const struct json *model_get_folded(const struct json *j, const char *key);
/* The LUN of a disk, -1 for the OS disk (so in the service's own lists). */
bool model_lun(const struct json *j, const char *key, int *lun);
/* ... of a secret, with its NUL, in locked memory. */
int model_secret_text(const char *s, struct secret **to) MUST_USE;
/* Into key->secret_data what is wrapped, else into key->bek. What an RSA key wrapped
 * has its size, whether the key is named or not; all else is the BEK itself, which is
 * kept where memory can be locked. */
int model_secret_data(const char *text, struct rsv_key *key) MUST_USE;
