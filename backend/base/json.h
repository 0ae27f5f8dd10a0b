// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * JSON for people and machines, over json-c (this is the one file that knows
 * it). Writing only builds what we show; reading is bounded and strict.
 * Strings that are not UTF-8 have their stray bytes written as U+FFFD.
 * Values are owned by the object or array they are added to. Out of memory
 * while building sets a flag on the root that json_text() reports.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json; /* a value */

struct json *json_object(void);
struct json *json_array(void);
void json_close(struct json *j);
void json_set_str(struct json *obj, const char *key,
		  const char *v); /* NULL: null */
void json_set_u64(struct json *obj, const char *key, uint64_t v);
void json_set_f64(struct json *obj, const char *key, double v);
void json_set_bool(struct json *obj, const char *key, bool v);
/* Takes v (also on failure). NULL, from a constructor that failed, is the lack
 * of memory that json_text() then reports; so is building on NULL as the
 * root. */
void json_set(struct json *obj, const char *key, struct json *v);
void json_push(struct json *arr, struct json *v);
void json_push_str(struct json *arr, const char *v);
/* The text with a final newline, to be freed by the caller; pretty: indented by
 * two spaces. -ENOMEM. */
int json_text(const struct json *j, bool pretty, char **ret,
	      size_t *len) MUST_USE;

/* Parses exactly one value with brackets at most max_depth deep; -EPROTO with a
 * sentence. null, as the whole or within it, is a NULL pointer. Refused as
 * well: integers beyond 64 bits, and NUL in strings. */
int json_parse(const char *text, size_t len, int max_depth,
	       struct json **ret) MUST_USE;
/* The same, of a text with secrets: none of it is left in memory but in the tree, to
 * be closed by json_close_secret(), and in text, which is the caller's to wipe. */
int json_parse_secret(const char *text, size_t len, int max_depth,
		      struct json **ret) MUST_USE;
/* Overwrites each string of a tree that nobody else holds, and closes it. */
void json_close_secret(struct json *j);
/* Members; NULL or the default when absent or of another type. Borrowed. */
struct json *json_get(const struct json *obj, const char *key);
const char *json_get_str(const struct json *obj, const char *key);
bool json_get_u64(const struct json *obj, const char *key, uint64_t *v);
bool json_get_bool(const struct json *obj, const char *key, bool *v);
/* Of any number. */
bool json_get_f64(const struct json *obj, const char *key, double *v);
bool json_is_array(const struct json *j);
size_t json_len(const struct json *arr); /* 0 for no array */
struct json *json_at(const struct json *arr, size_t i);
const char *json_as_str(const struct json *j); /* NULL for no string */
/* Member keys in order, for i < count: NULL past the end. */
const char *json_key_at(const struct json *obj, size_t i);

DROP_DEFINE(json, struct json *, json_close)
DROP_DEFINE(secret_json, struct json *, json_close_secret)
