// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The heads of VMs, and which VMs there are (FORMAT.md 4).
 *
 * Heads are kept in slots, one a VM, newest use first. A slot is refreshed by
 * one thread at a time (slot->busy), outside the lock; others wait for it.
 */
#include "backend/vault/vault_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/pool.h"
#include "backend/vault/beside.h"
#include "backend/vault/keys.h"

#define SLOTS_MAX 1024
#define EXISTS_AT_ONCE 16
#define SLOTS_BYTES (64u << 20)
#define CONFIG_AGE_NS (10 * UINT64_C(1000000000))

struct slot {
	struct slot *next;
	char vm[CATALOG_NAME_MAX + 1];
	struct vm_head *head; /* NULL: not loaded yet */
	uint64_t checked_ns;  /* monotonic, when it was the head for certain */
	uint64_t listed;      /* a commit that was listed; 0: none */
	/* The store did not answer: when that was known, monotonic, and its sentence. */
	uint64_t away_ns;
	struct err_saved away;
	bool busy;
	unsigned users; /* threads that hold the slot: not to be freed */
};

void vm_head_unref(struct vm_head *h)
{
	if (!h || __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vf_commit_release(&h->c);
	free(h);
}

static struct vm_head *head_ref(struct vm_head *h)
{
	__atomic_add_fetch(&h->refs, 1, __ATOMIC_RELAXED);
	return h;
}

/* May this commit speak for the vault? */
static int check_seal(struct vault *v, const struct vf_commit *c)
{
	DROP(vault_config) struct vault_config *cfg = vault_config_ref(v);
	int r;

	if (memcmp(&c->id, &v->id, sizeof(v->id)) != 0)
		return fail(-EKEYREJECTED, "it belongs to another vault");
	if (c->config_n > cfg->c.n) {
		/* Keys were changed since the config was read. */
		vault_config_unref(take(cfg));
		r = vault_reload_config(v);
		if (r)
			return r;
		cfg = vault_config_ref(v);
	}
	if (c->config_n < 1 || c->config_n > cfg->c.n ||
	    (c->config_n == cfg->c.n &&
	     !digest_equal(&c->config_digest, &cfg->c.digest)))
		return fail(
			-EKEYREJECTED,
			"it was made under a config that this vault does not have");
	return vf_config_key_counts(&cfg->c, &c->writer, c->vm, c->seq);
}

int vault_commit(struct vault *v, const char *vm_key, uint64_t seq,
		 struct vf_commit *out)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	struct vf_commit c;
	char key[VF_KEY_SIZE], encoded[CATALOG_NAME_MAX + 1];
	size_t len;
	int r;

	vf_key_commit(key, vm_key, seq);
	r = store_get(v->store, key, VF_COMMIT_MAX, &b);
	if (r)
		return r;
	len = b.len;
	b.len = b.cap = 0;
	r = vf_commit_parse(take(b.data), len, &c);
	if (r)
		return blame(r, "commit %s", key);
	if (c.seq != seq || vf_name_encode(c.vm, encoded) ||
	    strcmp(encoded, vm_key) != 0)
		r = fail(-EKEYREJECTED, "it is commit %" PRIu64 " of VM %s",
			 c.seq, c.vm);
	if (!r)
		r = check_seal(v, &c);
	if (r) {
		vf_commit_release(&c);
		return blame(r, "commit %s", key);
	}
	*out = c;
	return 0;
}

/*
 * From the head back to the commit that was seen, by their hashes: a fork from
 * before it would pass for news. Costs what happened since, once.
 */
static int check_chain(struct vault *v, const struct vm_head *h, uint64_t seen,
		       const struct digest *digest)
{
	struct digest want = h->c.prev;

	for (uint64_t seq = h->c.seq - 1; seq > seen; seq--) {
		DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
		struct vf_commit c;
		struct digest got;
		char key[VF_KEY_SIZE];
		size_t len;
		int r;

		vf_key_commit(key, h->vm_key, seq);
		r = store_get(v->store, key, VF_COMMIT_MAX, &b);
		if (r)
			return blame(r, "commit %s", key);
		sha256(b.data, b.len, &got);
		if (!digest_equal(&got, &want))
			return fail(
				-EKEYREJECTED,
				"commit %s is not the one that the next refers to: the vault was tampered with",
				key);
		len = b.len;
		b.len = b.cap = 0;
		r = vf_commit_parse(take(b.data), len, &c);
		if (r)
			return blame(r, "commit %s", key);
		want = c.prev;
		vf_commit_release(&c);
	}
	if (!digest_equal(&want, digest))
		return fail(
			-EKEYREJECTED,
			"VM %s: commit %" PRIu64
			" is not the one that was seen before: the vault was tampered with",
			h->vm, seen);
	return 0;
}

/* now: the newest commit that there is; 0: none. */
static int rolled_back(struct vault *v, const char *vm, const char *vm_key,
		       uint64_t seen, uint64_t now)
{
	char newest[48], path[KEYS_PATH_SIZE];

	snprintf(newest, sizeof(newest),
		 now ? "the newest is %" PRIu64 : "there is none", now);
	keys_seen_path(&v->id, vm_key, path);
	return fail(-EKEYREJECTED,
		    "VM %s is rolled back: commit %" PRIu64
		    " was seen before, now %s; if that is meant, remove %s",
		    vm, seen, newest, path);
}

/* The head must not be older than what was seen, nor another. */
static int check_head_seen(struct vault *v, struct vm_head *h)
{
	struct digest seen;
	uint64_t seq;
	int r = keys_seen_head(&v->id, h->vm_key, &seq, &seen);

	if (r)
		return r;
	if (h->c.seq < seq)
		return rolled_back(v, h->vm, h->vm_key, seq, h->c.seq);
	if ((h->c.seq == seq && !digest_equal(&seen, &h->c.digest)) ||
	    (seq && h->c.seq == seq + 1 && !digest_equal(&seen, &h->c.prev)))
		return fail(
			-EKEYREJECTED,
			"VM %s: commit %" PRIu64
			" is not the one that was seen before: the vault was tampered with",
			h->vm, seq);
	if (seq && h->c.seq > seq + 1) {
		r = check_chain(v, h, seq, &seen);
		if (r)
			return r;
	}
	if (h->c.seq > seq) {
		r = keys_see_head(&v->id, h->vm_key, h->c.seq, &h->c.digest);
		if (r)
			vault_cannot_remember(v, r);
	}
	return 0;
}

/* Where the store lists the head to be; -ENOENT: no such VM. */
static int listed_head(struct vault *v, const char *vm, const char *vm_key,
		       uint64_t *seq)
{
	char prefix[VF_KEY_SIZE];
	struct digest seen;
	uint64_t was;
	int r;

	snprintf(prefix, sizeof(prefix), "V/%s/c/", vm_key);
	r = vault_newest_number(v->store, prefix, seq);
	if (r != -ENOENT)
		return r;
	/* Commits are never deleted. */
	r = keys_seen_head(&v->id, vm_key, &was, &seen);
	if (r)
		return r;
	if (was)
		return rolled_back(v, vm, vm_key, was, 0);
	return fail(-ENOENT, "vault %s has no VM '%s'", v->name, vm);
}

/* A key may have been retired since the config was read: what is new is not
 * believed on an old one. */
static int check_retired(struct vault *v, const struct vf_commit *c)
{
	uint64_t read_ns;
	int r;

	pthread_mutex_lock(&v->lock);
	read_ns = v->config_read_ns;
	pthread_mutex_unlock(&v->lock);
	if (monotonic_ns() - read_ns < CONFIG_AGE_NS)
		return 0;
	r = vault_reload_config(v);
	return r ? r : check_seal(v, c);
}

struct next_commit {
	struct store *store;
	char key[VF_KEY_SIZE];
};

/* 1: it is there. */
static int ask_next(void *ctx)
{
	struct next_commit *n = ctx;
	uint64_t size;
	int r = store_stat(n->store, n->key, &size);

	return r ? r : 1;
}

/*
 * From a head that was one (or none) to the one that is: seq+1 is asked for
 * until it is not there. Each step is held together by the hash chain.
 */
static int find_head(struct vault *v, const char *vm, struct vm_head *from,
		     uint64_t listed, struct vm_head **ret)
{
	DROP(vm_head) struct vm_head *h = from ? head_ref(from) : NULL;
	struct next_commit after = { .store = v->store };
	DROP(beside) struct beside proof = { 0 };
	char vm_key[CATALOG_NAME_MAX + 1];
	uint64_t next;
	int r = vf_name_encode(vm, vm_key);

	if (r)
		return r;
	if (h)
		next = h->c.seq + 1;
	else if (listed)
		next = listed;
	else
		r = listed_head(v, vm, vm_key, &next);
	/* Over latency, that it is the head is asked while it is read. */
	if (!r && !h && v->store->remote) {
		vf_key_commit(after.key, vm_key, next + 1);
		beside_begin(&proof, true, ask_next, &after);
	}
	while (!r) {
		DROP(vm_head) struct vm_head *n = calloc(1, sizeof(*n));

		if (!n)
			return fail(-ENOMEM, "no memory for a head");
		n->refs = 1;
		snprintf(n->vm, sizeof(n->vm), "%s", vm);
		snprintf(n->vm_key, sizeof(n->vm_key), "%s", vm_key);
		r = vault_commit(v, vm_key, next, &n->c);
		if (r)
			break;
		r = check_retired(v, &n->c);
		if (r)
			return blame(r, "VM %s: commit %" PRIu64, vm, next);
		if (h && (!digest_equal(&n->c.prev, &h->c.digest) ||
			  n->c.config_n < h->c.config_n))
			return fail(
				-EKEYREJECTED,
				"VM %s: commit %" PRIu64
				" does not follow the one before it: the vault was tampered with",
				vm, next);
		vm_head_unref(h);
		h = take(n);
		next++;
		if (proof.running && beside_end(&proof) == -ENOENT)
			r = -ENOENT;
	}
	if (r != -ENOENT || !h)
		return r;
	if (h != from) {
		r = check_head_seen(v, h);
		if (r)
			return r;
	}
	*ret = take(h);
	return 0;
}

/* With the lock: the slot of a VM, moved to the front; made if there is
 * none. */
static struct slot *slot_of(struct vault *v, const char *vm)
{
	struct slot **p, *s;

	for (p = &v->slots; (s = *p); p = &s->next)
		if (strcmp(s->vm, vm) == 0)
			break;
	if (s) {
		*p = s->next;
	} else {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		snprintf(s->vm, sizeof(s->vm), "%s", vm);
		v->nslots++;
	}
	s->next = v->slots;
	v->slots = s;
	return s;
}

void vault_free_slots(struct vault *v)
{
	while (v->slots) {
		struct slot *s = v->slots;

		v->slots = s->next;
		vm_head_unref(s->head);
		free(s);
	}
}

static uint64_t slot_size(const struct slot *s)
{
	return s->head ? s->head->c.length : 0;
}

/* With the lock: frees the least recently used slots that nobody holds. */
static void trim_slots(struct vault *v)
{
	while (v->nslots > SLOTS_MAX || v->slot_bytes > SLOTS_BYTES) {
		struct slot **last = NULL;

		for (struct slot **p = &v->slots; *p; p = &(*p)->next)
			if (!(*p)->users)
				last = p;
		if (!last)
			return;
		{
			struct slot *s = *last;

			*last = s->next;
			v->slot_bytes -= slot_size(s);
			vm_head_unref(s->head);
			free(s);
			v->nslots--;
		}
	}
}

/*
 * With the lock, let go meanwhile: the head that somebody has found, or *ret NULL where
 * it is the caller's to look; the slot is busy then.
 */
static int await_head(struct vault *v, struct slot *s, uint64_t max_age_ms,
		      struct vm_head **ret)
{
	uint64_t asked = monotonic_ns();

	for (;;) {
		int r;

		/* A check that began after this call is as good as our own. */
		if (s->head && s->checked_ns + max_age_ms * 1000000 >= asked) {
			*ret = head_ref(s->head);
			return 0;
		}
		/* And who waited while the store was tried for long has waited enough:
		 * else many would stand in line, each for as long. */
		if (s->away_ns >= asked)
			return err_load(&s->away);
		if (!s->busy)
			break;
		r = cancel_cond_wait(&v->slot_free, &v->lock);
		if (r)
			return r;
	}
	s->busy = true;
	*ret = NULL;
	return 0;
}

/* With the lock: what came of looking, which began then. */
static void settle_head(struct vault *v, struct slot *s, int r,
			struct vm_head *h, uint64_t began)
{
	s->busy = false;
	if (!r) {
		v->slot_bytes -= slot_size(s);
		vm_head_unref(s->head);
		s->head = head_ref(h);
		s->checked_ns = began;
		v->slot_bytes += slot_size(s);
	} else if (err_is_away(r)) {
		err_save(r, &s->away);
		s->away_ns = monotonic_ns();
	}
	pthread_cond_broadcast(&v->slot_free);
}

int vault_head(struct vault *v, const char *vm, uint64_t max_age_ms,
	       struct vm_head **ret)
{
	DROP(vm_head) struct vm_head *from = NULL;
	DROP(vm_head) struct vm_head *h = NULL;
	uint64_t began, listed = 0;
	struct slot *s;
	int r;

	pthread_mutex_lock(&v->lock);
	s = slot_of(v, vm);
	if (!s) {
		pthread_mutex_unlock(&v->lock);
		return fail(-ENOMEM, "no memory for a head");
	}
	s->users++;
	r = await_head(v, s, max_age_ms, &h);
	if (!r && !h) {
		from = s->head ? head_ref(s->head) : NULL;
		listed = s->listed;
		pthread_mutex_unlock(&v->lock);

		began = monotonic_ns();
		r = find_head(v, vm, from, listed, &h);
		/* Then it is not as it was listed, and that is told from a listing. */
		if (r == -ENOENT && !from && listed)
			r = find_head(v, vm, from, 0, &h);

		pthread_mutex_lock(&v->lock);
		settle_head(v, s, r, h, began);
	}
	s->users--;
	trim_slots(v);
	pthread_mutex_unlock(&v->lock);
	if (!r)
		*ret = take(h);
	return vault_damaged(r);
}

/* --- VMs --- */

/* Who looks at the VM next need not list it again: commits are never deleted, and from
 * one that was there the head is found by asking on. */
static void remember_listed(struct vault *v, const char *vm, uint64_t seq)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);
	struct slot *s = slot_of(v, vm);

	(void)held;
	if (s)
		s->listed = max_u64(s->listed, seq);
	trim_slots(v);
}

/* A VM exists when it has a commit: a first backup at work has none yet. */
static int vm_exists(struct vault *v, const char *vm, const char *vm_key,
		     bool *yes)
{
	uint64_t seq;
	int r;

	pthread_mutex_lock(&v->lock);
	*yes = false;
	for (struct slot *s = v->slots; s && !*yes; s = s->next)
		*yes = s->head && strcmp(s->vm, vm) == 0;
	pthread_mutex_unlock(&v->lock);
	if (*yes)
		return 0;
	r = listed_head(v, vm, vm_key, &seq);
	if (!r && v->store->remote)
		remember_listed(v, vm, seq);
	/* One that was tampered with is there, and says so when it is looked
	 * at. */
	*yes = r == 0 || r == -EKEYREJECTED;
	return *yes || r == -ENOENT ? 0 : r;
}

static int name_page_add(struct name_page *p, const char *name)
{
	char **more = realloc(p->names, (p->count + 1) * sizeof(*more));

	if (!more)
		return fail(-ENOMEM, "no memory for names");
	p->names = more;
	p->names[p->count] = strdup(name);
	if (!p->names[p->count])
		return fail(-ENOMEM, "no memory for names");
	p->count++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those after a name, of a listing. */
struct names_after {
	const char *after;
	struct name_page *all;
};

static int add_name(struct names_after *x, const char *name)
{
	return strcmp(name, x->after) <= 0 ? 0 : name_page_add(x->all, name);
}

/* What the store has below V/, encoded. */
static int stored_vms(struct vault *v, struct names_after *x)
{
	char last[VF_KEY_SIZE] = "";
	bool more = true;
	int r = 0;

	while (more && !r) {
		DROP(store_list) struct store_list l = { 0 };

		r = store_list(v->store, "V/", last, 1000, true, &l);
		if (r)
			return r;
		more = l.more;
		if (l.count)
			snprintf(last, sizeof(last), "%s",
				 l.entries[l.count - 1].key);
		for (size_t i = 0; i < l.count && !r; i++) {
			const char *k = l.entries[i].key + 2;
			size_t n = strlen(k);
			char name[CATALOG_NAME_MAX + 1];

			if (!n || k[n - 1] != '/')
				continue;
			if (vf_name_decode(k, n - 1, name))
				log_warn("vault %s: '%s' is no VM's: %s",
					 v->name, l.entries[i].key,
					 err_text(-EPROTO));
			else
				r = add_name(x, name);
		}
	}
	return r;
}

static int seen_vm(void *ctx, const char *vm_key)
{
	char name[CATALOG_NAME_MAX + 1];

	if (vf_name_decode(vm_key, strlen(vm_key), name))
		return 0;
	return add_name(ctx, name);
}

/* Whether one of the listed VMs exists: an item of the pipeline. */
struct exists {
	const char *vm;
	bool yes;
};

static int ask_exists(void *ctx, void *item)
{
	struct vault *v = ctx;
	struct exists *x = item;
	char key[CATALOG_NAME_MAX + 1];
	int r = vf_name_encode(x->vm, key);

	return r ? r : vm_exists(v, x->vm, key, &x->yes);
}

static int add_existing_near(struct vault *v, const struct name_page *all,
			     size_t max, struct name_page *out)
{
	for (size_t i = 0; i < all->count; i++) {
		struct exists x = { .vm = all->names[i] };
		int r;

		if (out->count == max) {
			out->more = true;
			break;
		}
		r = ask_exists(v, &x);
		if (!r && x.yes)
			r = name_page_add(out, x.vm);
		if (r)
			return r;
	}
	return 0;
}

/* A round trip each, so many at once. */
static int add_existing_far(struct vault *v, const struct name_page *all,
			    size_t max, struct name_page *out)
{
	struct exists x[EXISTS_AT_ONCE];
	DROP(pool) struct pool *pool = NULL;
	DROP(ordered) struct ordered *q = NULL;
	size_t next = 0;
	int r = pool_new(EXISTS_AT_ONCE, &pool);

	if (!r)
		r = ordered_new(pool, EXISTS_AT_ONCE, ask_exists, v, &q);
	while (!r) {
		struct exists *done;
		void *item;

		for (; next < all->count && ordered_room(q); next++) {
			x[next % EXISTS_AT_ONCE] =
				(struct exists){ .vm = all->names[next] };
			ordered_push(q, &x[next % EXISTS_AT_ONCE]);
		}
		r = ordered_pop(q, &item);
		done = item;
		if (!done)
			break;
		if (!r && out->count == max) {
			out->more = true;
			break;
		}
		if (!r && done->yes)
			r = name_page_add(out, done->vm);
	}
	return r;
}

static void drop_twins(struct name_page *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->count; i++)
		if (n && !strcmp(p->names[n - 1], p->names[i]))
			free(p->names[i]);
		else
			p->names[n++] = p->names[i];
	p->count = n;
}

/*
 * Encoded names do not sort as the names do ('%' is small), so all are looked
 * at and those after `after` kept: a vault has hundreds of VMs, not millions.
 * One that was seen before and has vanished is listed too: it would be missed
 * by nobody otherwise. It says so when it is looked at.
 */
int vault_vms(struct vault *v, const char *after, size_t max,
	      struct name_page *out)
{
	DROP(name_page) struct name_page all = { 0 };
	struct names_after x = { .after = after, .all = &all };
	int r = stored_vms(v, &x);

	if (!r)
		r = keys_seen_vms(&v->id, seen_vm, &x);
	if (r)
		return r;
	if (all.count)
		qsort(all.names, all.count, sizeof(*all.names), by_name);
	drop_twins(&all);
	if (v->store->remote && all.count > 1)
		r = add_existing_far(v, &all, max, out);
	else
		r = add_existing_near(v, &all, max, out);
	if (r)
		name_page_release(out);
	return r;
}
