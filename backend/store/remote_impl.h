// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of remote share, which its kinds do not see. */
#pragma once
#include "backend/store/remote.h"

#define REMOTE_WHAT_MAX 1600 /* what sentences call an object */

static inline struct remote *remote_of(struct store *s)
{
	return container_of(s, struct remote, base);
}

/* The store's list (backend/store/store.h), in remote_list.c. */
int remote_list(struct store *s, const char *prefix, const char *after,
		size_t max, bool fold, struct store_list *out) MUST_USE;
/* Forgets where listings go on. */
void remote_list_release(struct remote *r);
