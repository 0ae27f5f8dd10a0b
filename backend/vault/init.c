// SPDX-License-Identifier: GPL-3.0-or-later
/* The making of a vault: its keys, its first config, its header. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/keys.h"
#include "backend/vault/vault.h"

int vault_remains(struct store *s, char key[static VF_KEY_SIZE])
{
	static const char *const prefixes[] = { "h/", "V/" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		DROP(store_list) struct store_list l = { 0 };
		int r = store_list(s, prefixes[i], "", 1, false, &l);

		if (r)
			return r;
		if (l.count) {
			snprintf(key, VF_KEY_SIZE, "%s", l.entries[0].key);
			return 1;
		}
	}
	return 0;
}

/* What is lost of a vault must not be buried under a new one. */
static int check_empty(struct store *s)
{
	char key[VF_KEY_SIZE];
	uint64_t size;
	int r = store_stat(s, VF_HEADER_KEY, &size);

	if (!r)
		return fail(-EEXIST, "%s: there is a vault already",
			    store_url(s));
	if (r != -ENOENT)
		return r;
	r = vault_remains(s, key);
	if (r <= 0)
		return r;
	return fail(-EEXIST, "%s: " VAULT_HEADLESS, store_url(s), key);
}

static int new_key(const struct vault_id *id, const char *which,
		   struct secret **seed, struct sign_public *public)
{
	int r = sign_new_key(seed);

	if (!r)
		r = sign_public_of(*seed, public);
	return r ? r : keys_save(id, which, *seed);
}

int vault_init(struct store *store, const char *name, struct vault_id *id)
{
	DROP(secret) struct secret *owner = NULL;
	DROP(secret) struct secret *writer = NULL;
	DROP(buf) struct buf hdr = BUF_INIT(4096);
	DROP(buf) struct buf cfg = BUF_INIT(VF_CONFIG_MAX);
	struct vf_header h = { .created_ns = time_now_ns() };
	struct vf_key key = { .added = 1 };
	struct vf_config c = { .n = 1, .keys = &key, .nkeys = 1 };
	char config_key[VF_KEY_SIZE];
	int r = catalog_check_name("vault name", name, strlen(name));

	if (!r)
		r = check_empty(store);
	if (r)
		return r;
	r = random_bytes(&h.id, sizeof(h.id));
	if (!r)
		r = new_key(&h.id, "owner", &owner, &h.owner);
	if (!r)
		r = new_key(&h.id, "writer", &writer, &key.key);
	if (r)
		return r;
	if (gethostname(key.label, sizeof(key.label) - 1))
		key.label[0] = '\0';
	c.id = h.id;
	c.owner = h.owner;
	c.time_ns = h.created_ns;
	snprintf(c.name, sizeof(c.name), "%s", name);
	r = vf_config_put(&cfg, &c, owner);
	if (r)
		return r;
	vf_header_put(&hdr, &h);
	r = buf_check(&hdr, VF_HEADER_KEY);
	vf_key_config(config_key, 1);
	/* Whole: nobody could open a vault whose config is torn. The header
	 * last: with it, it is a vault. Two who make one at once are told apart
	 * by the create-only put of whichever of the two comes second. */
	if (!r)
		r = store_put_whole(store, config_key, cfg.data, cfg.len);
	if (!r)
		r = store_barrier(store);
	if (!r)
		r = store_put_whole(store, VF_HEADER_KEY, hdr.data, hdr.len);
	if (!r)
		r = store_barrier(store);
	if (!r)
		r = keys_pin(&h.id, &h.owner);
	if (r)
		return blame(r, "%s: cannot make a vault", store_url(store));
	*id = h.id;
	return 0;
}
