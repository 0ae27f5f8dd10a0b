// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/record.h"

#include <string.h>
#include <strings.h>

#include "backend/base/err.h"
#include "backend/base/json.h"

static void set_tag(struct json *tags, const char *key, const char *value)
{
	if (value)
		json_set_str(tags, key, value);
}

int azure_record_add(struct escrow_docs *to, int disk, const char *os,
		     const struct azure_key_said *s)
{
	DROP(json) struct json *j = json_object();
	struct json *tags = json_object(), *wraps = json_array();
	bool wrapped = s->key_url || s->data;
	DROP(mem) char *text = NULL;
	size_t len;
	int e;

	json_set_u64(j, "vaultfsEscrow", 1);
	if (s->secret_url)
		json_set_str(j, "secretUrl", s->secret_url);
	json_set_str(j, "contentType", wrapped ? "Wrapped BEK" : "BEK");
	/* As the secret's own tags have it. */
	if (os && !strcasecmp(os, "Linux"))
		set_tag(tags, "DiskEncryptionKeyFileName",
			"LinuxPassPhraseFileName");
	set_tag(tags, "DiskEncryptionKeyEncryptionKeyURL", s->key_url);
	json_set(j, "tags", tags);
	if (s->data) {
		struct json *w = json_object();

		if (s->key_url)
			json_set_str(w, "kekUrl", s->key_url);
		json_set_str(w, "value", s->data);
		json_push(wraps, w);
	}
	json_set(j, "wraps", wraps);
	e = json_text(j, false, &text, &len);
	/* Without its newline. */
	return e ? e : escrow_docs_add(to, disk, text, len - 1);
}

int azure_record_add_all(struct escrow_docs *to, int disk, const char *os,
			 const struct rsv_settings *all, const char *known)
{
	int r = 0;

	for (size_t i = 0; !r && i < all->count; i++) {
		const struct rsv_setting *s = &all->v[i];

		if (known && !strcasecmp(s->secret_url, known))
			continue;
		r = azure_record_add(to, disk, os,
				     &(struct azure_key_said){
					     s->secret_url, s->key_url, NULL });
	}
	return r;
}
