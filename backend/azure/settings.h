// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * settings: the encryption settings of a disk: for each volume that was encrypted
 * apart (of Windows every one) which secret holds its BEK and which key wrapped that.
 * Pure: no requests.
 *
 * The services have them in three forms, all of which are read, in any case:
 *
 *	one:		{"diskEncryptionKey": {"secretUrl"},
 *			 "keyEncryptionKey": {"keyUrl"}}		VM, restore point
 *	a list:		[one, …]
 *	a collection:	{"encryptionSettings": [one, …], …}	managed disk
 */
#pragma once
#include "backend/base/json.h"

struct rsv_setting {
	char *secret_url;
	char *key_url; /* NULL: not wrapped */
};
/* Each secret once. */
struct rsv_settings {
	struct rsv_setting *v;
	size_t count;
};

/* Adds those in j, which may be NULL. -EPROTO: more than a disk can have. What was
 * added before a failure stays, here and below. */
int rsv_settings_add(struct rsv_settings *to, const struct json *j) MUST_USE;
/* ... of a managed disk, as Compute gives it. */
int rsv_settings_parse(const struct json *disk,
		       struct rsv_settings *to) MUST_USE;
int rsv_settings_copy(const struct rsv_settings *from,
		      struct rsv_settings *to) MUST_USE;
/* Is there one of that secret? NULL: no. */
bool rsv_settings_have(const struct rsv_settings *s, const char *secret_url);
void rsv_settings_release(struct rsv_settings *s);

static inline void drop_rsv_settings(struct rsv_settings *s)
{
	rsv_settings_release(s);
}
