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
	uint64_t size;
	int r = catalog_check_name("vault name", name, strlen(name));

	if (r)
		return r;
	r = store_stat(store, VF_HEADER_KEY, &size);
	if (!r)
		return fail(-EEXIST, "%s: there is a vault already",
			    store_url(store));
	if (r != -ENOENT)
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
