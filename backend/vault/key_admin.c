// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Writer keys: each change is a new config record, signed by the owner. Whoever
 * loses the put of a config reads the new one and changes that.
 */
#include "backend/vault/writer.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/keys.h"

#define TRIES 10

static void drop_vf_config(struct vf_config *c)
{
	vf_config_release(c);
}

/* A copy with room for one more key, and for more heads. */
static int copy_config(struct vault *v, size_t more_heads,
		       struct vf_config *out)
{
	DROP(vault_config) struct vault_config *now = vault_config_ref(v);
	const struct vf_config *c = &now->c;

	*out = *c;
	out->features = calloc(c->nfeatures + 1, sizeof(*c->features));
	out->keys = calloc(c->nkeys + 1, sizeof(*c->keys));
	out->heads = calloc(c->nheads + more_heads + 1, sizeof(*c->heads));
	if (!out->features || !out->keys || !out->heads)
		return fail(-ENOMEM, "no memory for a config");
	if (c->nfeatures)
		memcpy(out->features, c->features,
		       c->nfeatures * sizeof(*c->features));
	if (c->nkeys)
		memcpy(out->keys, c->keys, c->nkeys * sizeof(*c->keys));
	if (c->nheads)
		memcpy(out->heads, c->heads, c->nheads * sizeof(*c->heads));
	return 0;
}

static struct vf_key *find_key(struct vf_config *c,
			       const struct sign_public *key)
{
	for (size_t i = 0; i < c->nkeys; i++)
		if (memcmp(&c->keys[i].key, key, sizeof(*key)) == 0)
			return &c->keys[i];
	return NULL;
}

static int try_add(struct vault *v, const struct sign_public *key,
		   const char *label)
{
	DROP(vf_config) struct vf_config c = { 0 };
	struct vf_key *k;
	int r = vault_reload_config(v);

	if (!r)
		r = copy_config(v, 0, &c);
	if (r)
		return r;
	k = find_key(&c, key);
	if (k)
		return fail(
			-EINVAL,
			k->retired
				? "this key was retired: it cannot come back"
				: "this key is a writer key of the vault already");
	k = &c.keys[c.nkeys++];
	k->key = *key;
	k->added = c.n + 1;
	memcpy(k->label, label, strlen(label));
	return vault_put_config(v, &c);
}

int vault_key_add(struct vault *v, const struct sign_public *key,
		  const char *label)
{
	int r = -EEXIST;

	if (strlen(label) > 64 || !utf8_valid(label, strlen(label)))
		return fail(-EINVAL,
			    "a key's label is at most 64 bytes of UTF-8");
	for (int i = 0; i < TRIES && r == -EEXIST; i++)
		r = try_add(v, key, label);
	return r;
}

/* --- retiring --- */

struct heads {
	struct vf_key_head *h;
	size_t n;
};

static void drop_heads(struct heads *x)
{
	free(x->h);
}

static int add_head(struct vault *v, const char *vm, struct heads *x)
{
	DROP(vm_head) struct vm_head *head = NULL;
	struct vf_key_head *more;
	int r = vault_head(v, vm, 0, &head);

	if (r == -ENOENT) {
		err_clear();
		return 0;
	}
	if (r)
		return r;
	more = reallocarray(x->h, x->n + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "no memory for heads");
	x->h = more;
	sha256(vm, strlen(vm), &more[x->n].vm);
	more[x->n++].seq = head->c.seq;
	return 0;
}

static int all_heads(struct vault *v, struct heads *x)
{
	char after[CATALOG_NAME_MAX + 1] = "";
	bool more = true;
	int r = 0;

	while (more && !r) {
		DROP(name_page) struct name_page page = { 0 };

		r = vault_vms(v, after, 1000, &page);
		if (r)
			return r;
		for (size_t i = 0; i < page.count && !r; i++)
			r = add_head(v, page.names[i], x);
		more = page.more && page.count;
		if (more)
			memcpy(after, page.names[page.count - 1],
			       strlen(page.names[page.count - 1]) + 1);
	}
	return r;
}

static int try_retire(struct vault *v, const struct sign_public *key,
		      const struct heads *heads)
{
	DROP(vf_config) struct vf_config c = { 0 };
	struct vf_key *k;
	int r = vault_reload_config(v);

	if (!r)
		r = copy_config(v, heads->n, &c);
	if (r)
		return r;
	k = find_key(&c, key);
	if (!k)
		return fail(-ENOENT, "this key is no writer key of the vault");
	if (k->retired)
		return fail(-EINVAL, "this key is retired already");
	k->retired = c.n + 1;
	k->first_head = (uint32_t)c.nheads;
	k->nheads = (uint32_t)heads->n;
	if (heads->n)
		memcpy(c.heads + c.nheads, heads->h,
		       heads->n * sizeof(*heads->h));
	c.nheads += heads->n;
	return vault_put_config(v, &c);
}

int vault_key_retire(struct vault *v, const struct sign_public *key)
{
	DROP(heads) struct heads heads = { 0 };
	int r = all_heads(v, &heads);

	if (r)
		return r;
	r = -EEXIST;
	for (int i = 0; i < TRIES && r == -EEXIST; i++)
		r = try_retire(v, key, &heads);
	return r;
}

int vault_key_local(struct vault *v, struct sign_public *out)
{
	DROP(secret) struct secret *seed = NULL;
	const struct vault_id *id = vault_id(v);
	int r = keys_load(id, "writer", &seed);

	if (r == -ENOENT) {
		err_clear();
		r = sign_new_key(&seed);
		if (!r)
			r = keys_save(id, "writer", seed);
		/* Another process was faster: then it is that one. */
		if (r == -EEXIST) {
			secret_close(take(seed));
			r = keys_load(id, "writer", &seed);
		}
	}
	return r ? r : sign_public_of(seed, out);
}
