// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/settings.h"

#include <errno.h>
#include <strings.h>

#include "backend/azure/model_impl.h"
#include "backend/base/err.h"

/* A disk has 128 partitions at most. */
#define SETTINGS_MAX 128

bool rsv_settings_have(const struct rsv_settings *s, const char *secret_url)
{
	for (size_t i = 0; secret_url && i < s->count; i++) {
		if (!strcasecmp(s->v[i].secret_url, secret_url))
			return true;
	}
	return false;
}

static int add(struct rsv_settings *to, const char *secret_url,
	       const char *key_url)
{
	struct rsv_setting *s;
	int r;

	if (!secret_url || !*secret_url || rsv_settings_have(to, secret_url))
		return 0;
	if (to->count == SETTINGS_MAX)
		return fail(-EPROTO, "a disk of more than %d keys",
			    SETTINGS_MAX);
	s = realloc(to->v, (to->count + 1) * sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	to->v = s;
	s += to->count;
	*s = (struct rsv_setting){ 0 };
	r = model_copy_text(secret_url, &s->secret_url);
	if (r)
		return r;
	to->count++;
	return model_copy_text(key_url, &s->key_url);
}

static const char *url_in(const struct json *j, const char *key,
			  const char *url)
{
	return json_as_str(model_get_folded(model_get_folded(j, key), url));
}

static int add_one(struct rsv_settings *to, const struct json *one)
{
	return add(to, url_in(one, "diskEncryptionKey", "secretUrl"),
		   url_in(one, "keyEncryptionKey", "keyUrl"));
}

int rsv_settings_add(struct rsv_settings *to, const struct json *j)
{
	const struct json *list = model_get_folded(j, "encryptionSettings");
	int r = 0;

	if (!list && !json_is_array(j))
		return add_one(to, j);
	if (!list)
		list = j;
	for (size_t i = 0; !r && i < json_len(list); i++)
		r = add_one(to, json_at(list, i));
	return r;
}

int rsv_settings_parse(const struct json *disk, struct rsv_settings *to)
{
	return rsv_settings_add(to, json_get(json_get(disk, "properties"),
					     "encryptionSettingsCollection"));
}

int rsv_settings_copy(const struct rsv_settings *from, struct rsv_settings *to)
{
	int r = 0;

	for (size_t i = 0; !r && i < from->count; i++)
		r = add(to, from->v[i].secret_url, from->v[i].key_url);
	return r;
}

void rsv_settings_release(struct rsv_settings *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->v[i].secret_url);
		free(s->v[i].key_url);
	}
	free(s->v);
	*s = (struct rsv_settings){ 0 };
}
