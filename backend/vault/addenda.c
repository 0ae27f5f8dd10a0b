// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/addenda.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define VMS_MAX 16
#define LIST_PAGE 1000
#define ADDENDUM_MAX (VF_ESCROW_MAX + 1024)

/* One that is good, or (len 0) one that is not and was told. Counted. */
struct item {
	struct point_id gen, point;
	char disk[CATALOG_NAME_MAX + 1];
	char *text;
	size_t len;
	int refs;
};

/* All of a VM, as of one listing; never changed. Counted. */
struct snapshot {
	struct item **items; /* in the order of their keys */
	size_t n;
	uint64_t listed_ns;
	int refs;
};

struct addenda {
	struct vault *v;
	uint64_t refresh_ms;
	pthread_mutex_t lock;
	/* under lock; the least recently used is the last one */
	struct vm {
		char name[CATALOG_NAME_MAX + 1];
		struct snapshot *all;
	} vms[VMS_MAX];
	size_t nvms;
};

static struct item *item_ref(struct item *i)
{
	__atomic_add_fetch(&i->refs, 1, __ATOMIC_RELAXED);
	return i;
}

static void item_unref(struct item *i)
{
	if (!i || __atomic_sub_fetch(&i->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(i->text);
	free(i);
}

static struct snapshot *snapshot_ref(struct snapshot *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

static void snapshot_unref(struct snapshot *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < s->n; i++)
		item_unref(s->items[i]);
	free(s->items);
	free(s);
}

DROP_DEFINE(snapshot, struct snapshot *, snapshot_unref)

int addenda_new(struct vault *v, uint64_t refresh_ms, struct addenda **ret)
{
	struct addenda *a = calloc(1, sizeof(*a));

	if (!a)
		return fail(-ENOMEM, "no memory for escrow");
	a->v = v;
	a->refresh_ms = refresh_ms;
	pthread_mutex_init(&a->lock, NULL);
	*ret = a;
	return 0;
}

void addenda_free(struct addenda *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->nvms; i++)
		snapshot_unref(a->vms[i].all);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* --- one of them --- */

int addendum_read(struct vault *v, const char *vm, const char *vm_key,
		  const struct point_id *gen, uint8_t **bytes,
		  struct vf_addendum *out)
{
	DROP(vault_config) struct vault_config *config = vault_config_ref(v);
	DROP(buf) struct buf b = BUF_INIT(ADDENDUM_MAX);
	struct vf_addendum a;
	char key[VF_KEY_SIZE];
	int r;

	vf_key_gen(key, vm_key, 'e', gen);
	r = store_get(vault_store(v), key, ADDENDUM_MAX, &b);
	if (!r)
		r = vf_addendum_parse(b.data, b.len, &a);
	if (r)
		return blame(r, "escrow addendum %s", key);
	if (memcmp(&a.vault, vault_id(v), sizeof(a.vault)) != 0 ||
	    !point_id_equal(&a.gen, gen) || strcmp(a.vm, vm) != 0)
		return fail(-EPROTO,
			    "escrow addendum %s is of another vault, VM or "
			    "generation",
			    key);
	r = vf_config_key_counts(&config->c, &a.writer, vm, gen->seq);
	if (r)
		return blame(r, "escrow addendum %s", key);
	*out = a;
	*bytes = take(b.data);
	return 0;
}

static bool is_bad(int r)
{
	return r == -EPROTO || r == -EBADMSG || r == -EKEYREJECTED ||
	       r == -EFBIG || r == -ENOTSUP;
}

static int read_item(struct addenda *a, const char *vm, const char *vm_key,
		     const struct point_id *gen, struct item **ret)
{
	DROP(mem) uint8_t *bytes = NULL;
	struct item *i = calloc(1, sizeof(*i));
	struct vf_addendum x;
	int r;

	if (!i)
		return fail(-ENOMEM, "no memory for escrow");
	i->refs = 1;
	i->gen = *gen;
	r = addendum_read(a->v, vm, vm_key, gen, &bytes, &x);
	if (!r) {
		i->point = x.point;
		memcpy(i->disk, x.disk, sizeof(i->disk));
		i->text = malloc(x.len + 1);
		if (i->text)
			memcpy(i->text, x.text, x.len);
		i->len = x.len;
		r = i->text ? 0 : fail(-ENOMEM, "no memory for escrow");
	} else if (is_bad(r)) {
		log_warn("%s: %s; it is left out", vm, err_text(r));
		r = 0;
	}
	if (r)
		item_unref(i);
	else
		*ret = i;
	return r;
}

/* --- all of a VM --- */

static int list_page(const struct store_list *page, size_t skip,
		     int (*one)(void *ctx, const struct point_id *gen),
		     void *ctx)
{
	for (size_t i = 0; i < page->count; i++) {
		struct point_id gen;
		int r;

		if (vf_key_parse_gen(page->entries[i].key + skip, &gen) < 0)
			continue;
		r = one(ctx, &gen);
		if (r)
			return r;
	}
	return 0;
}

int addenda_list(struct vault *v, const char *vm_key,
		 int (*one)(void *ctx, const struct point_id *gen), void *ctx)
{
	char prefix[VF_KEY_SIZE], after[VF_KEY_SIZE] = "";
	bool more = true;

	snprintf(prefix, sizeof(prefix), "V/%s/e/", vm_key);
	while (more) {
		DROP(store_list) struct store_list page = { 0 };
		int r = store_list(vault_store(v), prefix, after, LIST_PAGE,
				   false, &page);

		if (!r)
			r = list_page(&page, strlen(prefix), one, ctx);
		if (r)
			return r;
		more = page.more && page.count;
		if (page.count)
			snprintf(after, sizeof(after), "%s",
				 page.entries[page.count - 1].key);
	}
	return 0;
}

struct listing {
	struct addenda *a;
	const char *vm, *vm_key;
	const struct snapshot *old;
	struct snapshot *new;
	bool reloaded;
};

static int compare(const struct point_id *a, const struct point_id *b)
{
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return a->nonce < b->nonce ? -1 : a->nonce > b->nonce;
}

/* Keys ascend as generations do. */
static struct item *known(const struct snapshot *s, const struct point_id *gen)
{
	size_t from = 0, to = s ? s->n : 0;

	while (from < to) {
		size_t mid = from + (to - from) / 2;
		int c = compare(&s->items[mid]->gen, gen);

		if (!c)
			return s->items[mid];
		if (c < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

static int add_gen(void *ctx, const struct point_id *gen)
{
	struct listing *l = ctx;
	struct item *i = known(l->old, gen);
	struct item **items;
	int r = 0;

	if (i) {
		item_ref(i);
	} else {
		/* By a key that was added, or retired, since. */
		if (!l->reloaded)
			r = vault_reload_config(l->a->v);
		l->reloaded = true;
		if (!r)
			r = read_item(l->a, l->vm, l->vm_key, gen, &i);
		if (r == -ENOENT)
			return 0; /* dropped since it was listed */
	}
	if (r)
		return r;
	items = reallocarray(l->new->items, l->new->n + 1, sizeof(*items));
	if (!items) {
		item_unref(i);
		return fail(-ENOMEM, "no memory for escrow");
	}
	l->new->items = items;
	items[l->new->n++] = i;
	return 0;
}

static int list_vm(struct addenda *a, const char *vm,
		   const struct snapshot *old, struct snapshot **ret)
{
	DROP(snapshot) struct snapshot *s = calloc(1, sizeof(*s));
	char vm_key[CATALOG_NAME_MAX + 1];
	struct listing l = { .a = a,
			     .vm = vm,
			     .vm_key = vm_key,
			     .old = old,
			     .new = s };
	int r = vf_name_encode(vm, vm_key);

	if (!s)
		return fail(-ENOMEM, "no memory for escrow");
	s->refs = 1;
	s->listed_ns = monotonic_ns();
	if (!r)
		r = addenda_list(a->v, vm_key, add_gen, &l);
	if (!r)
		*ret = take(s);
	return r;
}

/* Moved to the front; with the lock. NULL: none yet. */
static struct snapshot *get(struct addenda *a, const char *vm)
{
	for (size_t i = 0; i < a->nvms; i++) {
		struct vm found = a->vms[i];

		if (strcmp(found.name, vm) != 0)
			continue;
		memmove(a->vms + 1, a->vms, i * sizeof(*a->vms));
		a->vms[0] = found;
		return snapshot_ref(found.all);
	}
	return NULL;
}

static void set(struct addenda *a, const char *vm, struct snapshot *s)
{
	DROP(lock) pthread_mutex_t *held = lock(&a->lock);
	struct snapshot *old = get(a, vm);

	if (old) {
		snapshot_unref(a->vms[0].all);
		snapshot_unref(old);
	} else {
		if (a->nvms == VMS_MAX)
			snapshot_unref(a->vms[--a->nvms].all);
		memmove(a->vms + 1, a->vms, a->nvms * sizeof(*a->vms));
		a->nvms++;
		snprintf(a->vms[0].name, sizeof(a->vms[0].name), "%s", vm);
	}
	a->vms[0].all = snapshot_ref(s);
}

static int snapshot_of(struct addenda *a, const char *vm, struct snapshot **ret)
{
	DROP(snapshot) struct snapshot *old = NULL;
	int r;

	pthread_mutex_lock(&a->lock);
	old = get(a, vm);
	pthread_mutex_unlock(&a->lock);
	if (old && monotonic_ns() - old->listed_ns < a->refresh_ms * 1000000) {
		*ret = take(old);
		return 0;
	}
	r = list_vm(a, vm, old, ret);
	if (!r)
		set(a, vm, *ret);
	return r;
}

/* -1 for the whole VM; -2: the point has no such disk. */
static int disk_of(const struct vault_point *p, const char *name)
{
	if (!*name)
		return -1;
	for (size_t i = 0; i < p->p.ndisks; i++)
		if (strcmp(p->p.disks[i].name, name) == 0)
			return (int)i;
	return -2;
}

int addenda_of(struct addenda *a, const struct vault_point *p,
	       struct escrow_docs *docs)
{
	DROP(snapshot) struct snapshot *s = NULL;
	int r = snapshot_of(a, p->p.vm, &s);

	for (size_t i = 0; !r && i < s->n; i++) {
		const struct item *it = s->items[i];
		int disk = disk_of(p, it->disk);

		if (it->len && point_id_equal(&it->point, &p->p.id) &&
		    disk >= -1)
			r = escrow_docs_add(docs, disk, it->text, it->len);
	}
	return r;
}
