// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files that parse Azure's answers share; nobody else includes it. */
#pragma once
#include "backend/azure/model.h"

/* A copy of a text; absent or empty is NULL, which is no failure. */
int model_copy_text(const char *s, char **to) MUST_USE;
/* ... of a member. */
int model_copy(const struct json *j, const char *key, char **to) MUST_USE;
/* A member whatever its case: Lun, lun, Uri, uri were all seen. */
const struct json *model_get_folded(const struct json *j, const char *key);
/* The LUN of a disk, -1 for the OS disk (so in the service's own lists). */
bool model_lun(const struct json *j, const char *key, int *lun);
/* Into key->secret_data what is wrapped, else into key->bek. What an RSA key wrapped
 * has its size, whether the key is named or not; all else is the BEK itself, which is
 * kept where memory can be locked. */
int model_secret_data(const char *text, struct rsv_key *key) MUST_USE;
