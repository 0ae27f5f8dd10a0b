// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Writer keys: each change is a new config record, signed by the owner. Whoever
 * loses the put of a config reads the new one and changes that.
 */
#include "backend/vault/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/keys.h"

#define TRIES 10

static void drop_vf_config(struct vf_config *c)
{
	vf_config_release(c);
}

static void drop_commit(struct vf_commit *c)
{
	vf_commit_release(c);
}

/* A copy of the newest, with room for one more key. */
static int newest_config(struct vault *v, struct vf_config *out)
{
	DROP(vault_config) struct vault_config *now = NULL;
	const struct vf_config *c;
	int r = vault_reload_config(v);

	if (r)
		return r;
	now = vault_config_ref(v);
	c = &now->c;
	*out = *c;
	out->features = calloc(c->nfeatures + 1, sizeof(*c->features));
	out->keys = calloc(c->nkeys + 1, sizeof(*c->keys));
	out->heads = calloc(c->nheads + 1, sizeof(*c->heads));
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
	int r = newest_config(v, &c);

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

/* Gives k these heads; the table is laid out anew. */
static int set_heads(struct vf_config *c, struct vf_key *k,
		     const struct heads *heads)
{
	struct vf_key_head *t = calloc(c->nheads + heads->n + 1, sizeof(*t));
	size_t n = 0;

	if (!t)
		return fail(-ENOMEM, "no memory for heads");
	for (size_t i = 0; i < c->nkeys; i++) {
		struct vf_key *at = &c->keys[i];
		const struct vf_key_head *from = c->heads + at->first_head;

		if (at == k) {
			from = heads->h;
			at->nheads = (uint32_t)heads->n;
		}
		if (at->nheads)
			memcpy(t + n, from, at->nheads * sizeof(*t));
		at->first_head = at->retired ? (uint32_t)n : 0;
		n += at->nheads;
	}
	free(c->heads);
	c->heads = t;
	c->nheads = n;
	return 0;
}

/* The heads are read right before the put; what gets in between is found by
 * raise_heads(). -EALREADY: it is retired. */
static int try_retire(struct vault *v, const struct sign_public *key)
{
	DROP(vf_config) struct vf_config c = { 0 };
	DROP(heads) struct heads heads = { 0 };
	struct vf_key *k;
	int r = newest_config(v, &c);

	if (r)
		return r;
	k = find_key(&c, key);
	if (!k)
		return fail(-ENOENT, "this key is no writer key of the vault");
	if (k->retired)
		return fail(-EALREADY, "this key is retired already");
	r = all_heads(v, &heads);
	if (r)
		return r;
	k->retired = c.n + 1;
	r = set_heads(&c, k, &heads);
	return r ? r : vault_put_config(v, &c);
}

/* A commit whatever its key is worth: -ENOENT. */
static int raw_commit(struct vault *v, const char *vm, uint64_t seq,
		      struct vf_commit *out)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	char vm_key[CATALOG_NAME_MAX + 1], key[VF_KEY_SIZE];
	size_t len;
	int r = vf_name_encode(vm, vm_key);

	if (r)
		return r;
	vf_key_commit(key, vm_key, seq);
	r = store_get(vault_store(v), key, VF_COMMIT_MAX, &b);
	if (r)
		return r;
	len = b.len;
	b.len = b.cap = 0;
	r = vf_commit_parse(take(b.data), len, out);
	if (r)
		return blame(r, "commit %s", key);
	if (out->seq == seq && strcmp(out->vm, vm) == 0 &&
	    memcmp(&out->id, vault_id(v), sizeof(out->id)) == 0)
		return 0;
	vf_commit_release(out);
	return fail(-EKEYREJECTED, "commit %s is another", key);
}

/*
 * The last commit of a VM that counts, or would if key k did to the end of the
 * chain: those of k that were made under a config which did not know of its
 * end. *seq: the head of k.
 */
static int raised_head(struct vault *v, const struct vf_config *c,
		       const struct vf_key *k, const char *vm, uint64_t *seq)
{
	struct digest prev = { 0 };
	uint64_t at = *seq ? *seq : 1;

	for (;; at++) {
		DROP(commit) struct vf_commit x = { 0 };
		int r = raw_commit(v, vm, at, &x);

		if (r == -ENOENT) {
			err_clear();
			return 0;
		}
		if (r)
			return r;
		if (at > *seq && at > 1 && !digest_equal(&x.prev, &prev))
			return fail(-EKEYREJECTED,
				    "VM %s: commit %" PRIu64
				    " does not follow the one before it",
				    vm, at);
		prev = x.digest;
		if (memcmp(&x.writer, &k->key, sizeof(k->key)) != 0) {
			if (vf_config_key_counts(c, &x.writer, vm, at)) {
				err_clear();
				return 0;
			}
		} else if (x.config_n < k->retired) {
			*seq = max_u64(*seq, at);
		} else {
			return 0;
		}
	}
}

static int raise_page(struct vault *v, const struct vf_config *c,
		      const struct vf_key *k, const struct name_page *page,
		      struct heads *out, bool *moved)
{
	for (size_t i = 0; i < page->count; i++) {
		struct vf_key_head *h = NULL, *more;
		struct digest vm;
		uint64_t seq;
		int r;

		sha256(page->names[i], strlen(page->names[i]), &vm);
		for (size_t n = 0; n < out->n && !h; n++)
			if (digest_equal(&out->h[n].vm, &vm))
				h = &out->h[n];
		seq = h ? h->seq : 0;
		r = raised_head(v, c, k, page->names[i], &seq);
		if (r)
			return r;
		if (seq == (h ? h->seq : 0))
			continue;
		*moved = true;
		if (!h) {
			more = reallocarray(out->h, out->n + 1, sizeof(*more));
			if (!more)
				return fail(-ENOMEM, "no memory for heads");
			out->h = more;
			h = &more[out->n++];
			h->vm = vm;
		}
		h->seq = seq;
	}
	return 0;
}

/* Commits that got in between the reading of the heads and the put of the
 * config that retires the key: one more config has them count. */
static int try_raise(struct vault *v, const struct sign_public *key,
		     bool *moved)
{
	DROP(vf_config) struct vf_config c = { 0 };
	DROP(heads) struct heads heads = { 0 };
	char after[CATALOG_NAME_MAX + 1] = "";
	struct vf_key *k;
	bool more = true;
	int r = newest_config(v, &c);

	*moved = false;
	if (r)
		return r;
	k = find_key(&c, key);
	if (!k || !k->retired)
		return fail(-ENOENT, "this key is no retired key of the vault");
	heads.h = calloc(k->nheads + 1, sizeof(*heads.h));
	if (!heads.h)
		return fail(-ENOMEM, "no memory for heads");
	heads.n = k->nheads;
	if (heads.n)
		memcpy(heads.h, c.heads + k->first_head,
		       heads.n * sizeof(*heads.h));
	while (more) {
		DROP(name_page) struct name_page page = { 0 };

		r = vault_vms(v, after, 1000, &page);
		if (!r)
			r = raise_page(v, &c, k, &page, &heads, moved);
		if (r)
			return r;
		more = page.more && page.count;
		if (more)
			memcpy(after, page.names[page.count - 1],
			       strlen(page.names[page.count - 1]) + 1);
	}
	if (!*moved)
		return 0;
	r = set_heads(&c, k, &heads);
	return r ? r : vault_put_config(v, &c);
}

int vault_key_retire(struct vault *v, const struct sign_public *key)
{
	bool was, moved = false;
	int r = -EEXIST;

	for (int i = 0; i < TRIES && r == -EEXIST; i++)
		r = try_retire(v, key);
	was = r == -EALREADY;
	if (r && !was)
		return r;
	r = -EEXIST;
	for (int i = 0; i < TRIES && r == -EEXIST; i++)
		r = try_raise(v, key, &moved);
	if (!r && was && !moved)
		return fail(-EINVAL, "this key is retired already");
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
