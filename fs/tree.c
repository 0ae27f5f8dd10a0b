// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Nodes hang in two hash tables: by id, and by (parent, name). A node whose
 * name came to stand for something else is in the first only.
 *
 * refs of a node counts: its lookups (as one, while there are any), its
 * children, its handles, and calls under way. The last unref takes it out of
 * the tables, and then its reference to its parent, and so on upwards.
 */
#include "fs/tree.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/parse.h"
#include "fs/view.h"

#define BUCKETS_MIN 256
/* Cookies below are "." and "..". */
#define DOTS 2

struct node {
	/* Never change: */
	uint64_t id;
	uint64_t ino;
	struct node *parent; /* counted; NULL for the root */
	uint64_t ident;	     /* of what it stands for; 0: the name alone */
	enum entry_kind kind;

	/* Tree's lock: */
	uint64_t refs, nlookup;
	struct node *next_id, *next_name; /* buckets */
	struct node *next_dead;
	bool named; /* in the table by name */
	struct entry_attr attr;
	uint64_t asked_ns;     /* when attr was, monotonic */
	struct folder *folder; /* set once */
	struct source *source; /* while nopen */
	uint64_t nopen;
	uint64_t ndropped; /* files open on it that leave nothing behind */

	char name[];
};

struct tree {
	uint32_t fixed_ms;
	struct node *root;

	/* The only lock; protects the rest. */
	pthread_mutex_t lock;
	struct node **by_id, **by_name;
	size_t nbuckets; /* of each; a power of two */
	size_t count;
	uint64_t next_id;
	struct handle *handles;
};

/* A mount may end while files are open, so the tree has to know its handles. */
struct handle {
	struct tree *tree;
	struct node *node;
	struct handle *prev, *next; /* tree's lock */
	/* Owned: */
	struct folder *folder;
	struct source *source;
};

struct tree_dir {
	struct handle h; /* its folder: NULL for that of the node */
	struct folder *folder;
};

struct tree_file {
	struct handle h; /* its source: NULL for that of the node */
	struct source *source;
	bool dropped;
};

/* --- tables; all under the lock --- */

static size_t id_bucket(const struct tree *t, uint64_t id)
{
	return id & (t->nbuckets - 1);
}

static size_t name_bucket(const struct tree *t, const struct node *parent,
			  const char *name)
{
	uint64_t h = parent->id * 0x9e3779b97f4a7c15u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return (h ^ h >> 29) & (t->nbuckets - 1);
}

static struct node *find_id(struct tree *t, uint64_t id)
{
	struct node *n = t->by_id[id_bucket(t, id)];

	while (n && n->id != id)
		n = n->next_id;
	return n;
}

static struct node *find_name(struct tree *t, const struct node *parent,
			      const char *name)
{
	struct node *n = t->by_name[name_bucket(t, parent, name)];

	while (n && (n->parent != parent || strcmp(n->name, name) != 0))
		n = n->next_name;
	return n;
}

static void add_id(struct tree *t, struct node *n)
{
	struct node **at = &t->by_id[id_bucket(t, n->id)];

	n->next_id = *at;
	*at = n;
}

static void add_name(struct tree *t, struct node *n)
{
	struct node **at = &t->by_name[name_bucket(t, n->parent, n->name)];

	n->next_name = *at;
	*at = n;
	n->named = true;
}

static void remove_id(struct tree *t, struct node *n)
{
	struct node **at = &t->by_id[id_bucket(t, n->id)];

	while (*at != n)
		at = &(*at)->next_id;
	*at = n->next_id;
}

static void remove_name(struct tree *t, struct node *n)
{
	struct node **at;

	if (!n->named)
		return;
	at = &t->by_name[name_bucket(t, n->parent, n->name)];
	while (*at != n)
		at = &(*at)->next_name;
	*at = n->next_name;
	n->named = false;
}

/* Without memory it stays as small as it is, which is only slower. */
static void grow(struct tree *t)
{
	struct node **old_id = t->by_id, **old_name = t->by_name;
	struct node **by_id, **by_name;
	size_t was = t->nbuckets;

	if (t->count < was)
		return;
	by_id = calloc(2 * was, sizeof(*by_id));
	by_name = calloc(2 * was, sizeof(*by_name));
	if (!by_id || !by_name) {
		free(by_id);
		free(by_name);
		return;
	}
	t->by_id = by_id;
	t->by_name = by_name;
	t->nbuckets = 2 * was;
	for (size_t i = 0; i < was; i++) {
		struct node *n, *next;

		for (n = old_id[i]; n; n = next) {
			next = n->next_id;
			add_id(t, n);
		}
		for (n = old_name[i]; n; n = next) {
			next = n->next_name;
			add_name(t, n);
		}
	}
	free(old_id);
	free(old_name);
}

/* --- references --- */

static void node_free(struct node *n)
{
	source_close(n->source);
	folder_close(n->folder);
	free(n);
}

/* Under the lock; what died is for the caller to free without it. */
static struct node *unref_locked(struct tree *t, struct node *n)
{
	struct node *dead = NULL;

	while (n && --n->refs == 0) {
		struct node *parent = n->parent;

		remove_name(t, n);
		remove_id(t, n);
		t->count--;
		n->next_dead = dead;
		dead = n;
		n = parent;
	}
	return dead;
}

static void free_dead(struct node *dead)
{
	while (dead) {
		struct node *next = dead->next_dead;

		node_free(dead);
		dead = next;
	}
}

static void node_unref(struct tree *t, struct node *n)
{
	struct node *dead;

	pthread_mutex_lock(&t->lock);
	dead = unref_locked(t, n);
	pthread_mutex_unlock(&t->lock);
	free_dead(dead);
}

/* A node and the tree it is of, for DROP. */
struct held {
	struct tree *tree;
	struct node *node;
};

static void drop_held(struct held *h)
{
	if (h->node)
		node_unref(h->tree, h->node);
}

static int hold(struct tree *t, uint64_t id, struct held *h)
{
	DROP(lock) pthread_mutex_t *held = lock(&t->lock);
	struct node *n = find_id(t, id);

	if (!n)
		return fail(-ESTALE, "no such file any more");
	n->refs++;
	*h = (struct held){ t, n };
	return 0;
}

/* --- what an entry is --- */

static uint64_t ino_of(uint64_t parent, uint64_t ident, const char *name)
{
	uint64_t n[] = { parent, ident };
	struct digest d;
	struct sha256 h;
	uint64_t ino;

	sha256_init(&h);
	sha256_add(&h, n, sizeof(n));
	sha256_add(&h, name, strlen(name));
	sha256_final(&h, &d);
	memcpy(&ino, d.b, sizeof(ino));
	ino &= INT64_MAX;
	/* 0 is no number, 1 is the root's. */
	return ino > TREE_ROOT ? ino : ino + 2;
}

static bool is_fixed(const struct tree *t, const struct entry_attr *a)
{
	return a->valid_ms >= t->fixed_ms;
}

/* Of a directory that is not fixed: which point it is, if it is one. */
static int ident_of(struct tree *t, struct folder *f, const char *name,
		    const struct entry_attr *a, uint64_t *ident)
{
	DROP(buf) struct buf b = BUF_INIT(256);
	struct digest d;
	int r;

	*ident = 0;
	if (a->kind != ENTRY_DIR || is_fixed(t, a))
		return 0;
	r = folder_xattr(f, name, VIEW_XATTR_POINT, &b);
	if (r == -ENODATA)
		return 0;
	if (r)
		return r;
	sha256(b.data, b.len, &d);
	memcpy(ident, d.b, sizeof(*ident));
	*ident |= 1;
	return 0;
}

static void set_entry(const struct tree *t, const struct node *n,
		      const struct entry_attr *a, struct tree_entry *out)
{
	out->id = n->id;
	out->ino = n->ino;
	out->attr = *a;
	out->fixed = is_fixed(t, a);
}

/* The node of a name as it is now, one lookup more of it; a new one unless what
 * there is stands for the same. */
static int count_lookup(struct tree *t, struct node *parent, const char *name,
			const struct entry_attr *a, uint64_t ident,
			uint64_t ino, struct tree_entry *out)
{
	size_t len = strlen(name);
	DROP(mem) struct node *fresh = calloc(1, sizeof(*fresh) + len + 1);
	DROP(lock) pthread_mutex_t *held = NULL;
	struct node *n;

	if (!fresh)
		return fail(-ENOMEM, "out of memory");
	held = lock(&t->lock);
	n = find_name(t, parent, name);
	if (n && (n->ident != ident || n->kind != a->kind)) {
		remove_name(t, n);
		n = NULL;
	}
	if (!n) {
		n = take(fresh);
		memcpy(n->name, name, len + 1);
		n->id = t->next_id++;
		n->ino = ino;
		n->ident = ident;
		n->kind = a->kind;
		n->parent = parent;
		parent->refs++;
		t->count++;
		grow(t);
		add_id(t, n);
		add_name(t, n);
	}
	n->attr = *a;
	n->asked_ns = monotonic_ns();
	if (n->nlookup++ == 0)
		n->refs++;
	set_entry(t, n, a, out);
	return 0;
}

/* The folder of a directory, opened when it is first needed. Borrowed. */
static int folder_of(struct tree *t, struct node *n, struct folder **ret)
{
	DROP(folder) struct folder *opened = NULL;
	struct folder *above;
	int r;

	pthread_mutex_lock(&t->lock);
	*ret = n->folder;
	pthread_mutex_unlock(&t->lock);
	if (*ret)
		return 0;
	if (n->kind != ENTRY_DIR)
		return fail(-ENOTDIR, "%s: not a directory", n->name);
	r = folder_of(t, n->parent, &above);
	if (r)
		return r;
	r = folder_open_dir(above, n->name, &opened);
	if (r)
		return r;
	pthread_mutex_lock(&t->lock);
	if (!n->folder)
		n->folder = take(opened);
	*ret = n->folder;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

/* The folder that has the node as an entry. */
static int folder_above(struct tree *t, struct node *n, struct folder **ret)
{
	if (!n->parent)
		return fail(-EINVAL, "the root is no entry of a directory");
	return folder_of(t, n->parent, ret);
}

static struct entry_attr attr_now(struct tree *t, struct node *n, bool *valid)
{
	DROP(lock) pthread_mutex_t *held = lock(&t->lock);

	*valid = monotonic_ns() - n->asked_ns <
		 (uint64_t)n->attr.valid_ms * 1000000;
	return n->attr;
}

static bool is_root(const struct node *n)
{
	return !n->parent;
}

/* --- handles --- */

/* Takes the reference that held has. */
static void handle_add(struct handle *h, struct held *held)
{
	struct tree *t = held->tree;
	DROP(lock) pthread_mutex_t *locked = lock(&t->lock);

	h->tree = t;
	h->node = take(held->node);
	h->next = t->handles;
	if (h->next)
		h->next->prev = h;
	t->handles = h;
}

/* Frees the handle, whatever embeds it, and what it owns, but for its place in
 * the tree. */
static void handle_drop(struct handle *h)
{
	source_close(h->source);
	folder_close(h->folder);
	free(h);
}

static void handle_close(struct handle *h, bool opened_node)
{
	DROP(source) struct source *last = NULL;
	struct tree *t = h->tree;
	struct node *dead;

	pthread_mutex_lock(&t->lock);
	if (h->next)
		h->next->prev = h->prev;
	if (h->prev)
		h->prev->next = h->next;
	else
		t->handles = h->next;
	if (opened_node && --h->node->nopen == 0)
		last = take(h->node->source);
	dead = unref_locked(t, h->node);
	pthread_mutex_unlock(&t->lock);
	free_dead(dead);
	handle_drop(h);
}

/* --- the tree --- */

int tree_new(struct folder *root, uint32_t fixed_ms, struct tree **ret)
{
	DROP(folder) struct folder *folder = root;
	DROP(tree) struct tree *t = calloc(1, sizeof(*t));
	struct node *n;

	if (!t)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	t->fixed_ms = fixed_ms;
	t->nbuckets = BUCKETS_MIN;
	t->by_id = calloc(t->nbuckets, sizeof(struct node *));
	t->by_name = calloc(t->nbuckets, sizeof(struct node *));
	n = calloc(1, sizeof(*n) + 1);
	if (!t->by_id || !t->by_name || !n) {
		free(n);
		return fail(-ENOMEM, "out of memory");
	}
	n->id = TREE_ROOT;
	n->kind = ENTRY_DIR;
	n->ino = TREE_ROOT;
	n->refs = 1;
	n->folder = take(folder);
	n->attr = (struct entry_attr){
		.kind = ENTRY_DIR,
		.mtime_ns = time_now_ns(),
		.valid_ms = fixed_ms - 1,
	};
	t->root = n;
	t->next_id = TREE_ROOT + 1;
	t->count = 1;
	add_id(t, n);
	*ret = take(t);
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	while (t->handles) {
		struct handle *h = t->handles;

		t->handles = h->next;
		handle_drop(h);
	}
	/* The kernel need not forget what it knew when a mount ends. Children
	 * first: nothing here refers to another node. */
	for (size_t i = 0; t->by_id && i < t->nbuckets; i++) {
		struct node *n, *next;

		for (n = t->by_id[i]; n; n = next) {
			next = n->next_id;
			if (n != t->root)
				node_free(n);
		}
	}
	if (t->root)
		node_free(t->root);
	free(t->by_id);
	free(t->by_name);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* A name that is gone is not found again by those who held it. */
static void unname(struct tree *t, struct node *parent, const char *name)
{
	DROP(lock) pthread_mutex_t *held = lock(&t->lock);
	struct node *n = find_name(t, parent, name);

	if (n)
		remove_name(t, n);
}

static int lookup_in(struct tree *t, struct node *parent, const char *name,
		     struct entry_attr *a, uint64_t *ident)
{
	struct folder *f;
	int r;

	if (strlen(name) > TREE_NAME_MAX)
		return fail(-ENAMETOOLONG, "%.40s…: the name is too long",
			    name);
	r = folder_of(t, parent, &f);
	if (r)
		return r;
	r = folder_lookup(f, name, a);
	return r ? r : ident_of(t, f, name, a, ident);
}

int tree_lookup(struct tree *t, uint64_t parent, const char *name,
		struct tree_entry *out)
{
	DROP(held) struct held h = { 0 };
	struct entry_attr a;
	uint64_t ident;
	int r;

	r = hold(t, parent, &h);
	if (r)
		return r;
	r = lookup_in(t, h.node, name, &a, &ident);
	if (r) {
		if (r == -ENOENT)
			unname(t, h.node, name);
		return r;
	}
	return count_lookup(t, h.node, name, &a, ident,
			    ino_of(h.node->ino, ident, name), out);
}

void tree_forget(struct tree *t, uint64_t id, uint64_t nlookup)
{
	struct node *n, *dead = NULL;

	pthread_mutex_lock(&t->lock);
	n = find_id(t, id);
	if (n && n->nlookup) {
		n->nlookup -= min_u64(n->nlookup, nlookup);
		if (!n->nlookup)
			dead = unref_locked(t, n);
	}
	pthread_mutex_unlock(&t->lock);
	free_dead(dead);
}

int tree_attr(struct tree *t, uint64_t id, struct tree_entry *out)
{
	DROP(held) struct held h = { 0 };
	struct entry_attr a;
	uint64_t ident;
	bool valid;
	int r;

	r = hold(t, id, &h);
	if (r)
		return r;
	a = attr_now(t, h.node, &valid);
	if (valid || is_root(h.node)) {
		set_entry(t, h.node, &a, out);
		return 0;
	}
	r = lookup_in(t, h.node->parent, h.node->name, &a, &ident);
	if (r == -ENOENT ||
	    (!r && (ident != h.node->ident || a.kind != h.node->kind)))
		return fail(-ESTALE, "it is not there any more");
	if (r)
		return r;
	{
		DROP(lock) pthread_mutex_t *held = lock(&t->lock);

		h.node->attr = a;
		h.node->asked_ns = monotonic_ns();
	}
	set_entry(t, h.node, &a, out);
	return 0;
}

int tree_readlink(struct tree *t, uint64_t id, char *buf, size_t size)
{
	DROP(held) struct held h = { 0 };
	struct folder *f;
	int r;

	r = hold(t, id, &h);
	if (r)
		return r;
	r = folder_above(t, h.node, &f);
	return r ? r : folder_readlink(f, h.node->name, buf, size);
}

int tree_xattr(struct tree *t, uint64_t id, const char *key, struct buf *out)
{
	DROP(held) struct held h = { 0 };
	struct folder *f;
	int r;

	r = hold(t, id, &h);
	if (r)
		return r;
	if (is_root(h.node))
		return key ? fail(-ENODATA, "no attribute %s", key) : 0;
	r = folder_above(t, h.node, &f);
	return r ? r : folder_xattr(f, h.node->name, key, out);
}

void tree_path(struct tree *t, uint64_t id, char *buf, size_t size)
{
	DROP(held) struct held h = { 0 };
	size_t at = size - 1;

	snprintf(buf, size, "?");
	if (hold(t, id, &h))
		return;
	if (is_root(h.node)) {
		snprintf(buf, size, "/");
		return;
	}
	/* From the end to the front; what is above does not go away. */
	buf[at] = '\0';
	for (const struct node *n = h.node; !is_root(n); n = n->parent) {
		size_t len = strlen(n->name);

		if (len + 1 > at)
			break;
		at -= len;
		memcpy(buf + at, n->name, len);
		buf[--at] = '/';
	}
	memmove(buf, buf + at, size - at);
	printable(buf);
}

size_t tree_count(struct tree *t)
{
	DROP(lock) pthread_mutex_t *held = lock(&t->lock);

	return t->count;
}

/* --- directories --- */

/* A folder of its own where that can be had: one that lists is one that
 * remembers. */
int tree_dir_open(struct tree *t, uint64_t id, struct tree_dir **ret)
{
	DROP(held) struct held h = { 0 };
	DROP(mem) struct tree_dir *d = calloc(1, sizeof(*d));
	struct folder *above;
	int r;

	static_assert(offsetof(struct tree_dir, h) == 0, "freed as its handle");
	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = hold(t, id, &h);
	if (r)
		return r;
	if (h.node->kind != ENTRY_DIR)
		return fail(-ENOTDIR, "%s: not a directory", h.node->name);
	if (is_root(h.node)) {
		r = folder_of(t, h.node, &d->folder);
	} else {
		r = folder_above(t, h.node, &above);
		if (!r)
			r = folder_open_dir(above, h.node->name, &d->h.folder);
		d->folder = d->h.folder;
	}
	if (r)
		return r;
	handle_add(&d->h, &h);
	*ret = take(d);
	return 0;
}

bool tree_dir_fixed(const struct tree_dir *d)
{
	bool valid;
	struct entry_attr a = attr_now(d->h.tree, d->h.node, &valid);

	return is_fixed(d->h.tree, &a);
}

struct listing {
	struct tree_dir *dir;
	tree_emit *emit;
	void *ctx;
	int error;
};

static int list_one(void *ctx, const char *name, const struct entry_attr *a,
		    uint64_t cookie)
{
	struct listing *l = ctx;
	struct tree *t = l->dir->h.tree;
	struct tree_entry e = { .attr = *a, .fixed = is_fixed(t, a) };
	uint64_t ident;
	int r;

	r = ident_of(t, l->dir->folder, name, a, &ident);
	/* It went while it was listed. */
	if (r == -ENOENT)
		return 0;
	if (r) {
		l->error = r;
		return 1;
	}
	e.ino = ino_of(l->dir->h.node->ino, ident, name);
	return l->emit(l->ctx, name, &e, cookie + DOTS);
}

static int list_dot(struct listing *l, const char *name, const struct node *n,
		    uint64_t cookie)
{
	struct tree_entry e = {
		.ino = n->ino,
		.attr = { .kind = ENTRY_DIR },
	};

	return l->emit(l->ctx, name, &e, cookie);
}

int tree_dir_list(struct tree_dir *d, uint64_t cookie, tree_emit *emit,
		  void *ctx)
{
	struct listing l = { .dir = d, .emit = emit, .ctx = ctx };
	const struct node *n = d->h.node, *up = n->parent ? n->parent : n;
	int r;

	if (cookie < 1 && list_dot(&l, ".", n, 1))
		return 0;
	if (cookie < 2 && list_dot(&l, "..", up, 2))
		return 0;
	r = folder_list(d->folder, cookie < DOTS ? 0 : cookie - DOTS, list_one,
			&l);
	return r ? r : l.error;
}

int tree_dir_adopt(struct tree_dir *d, const char *name, struct tree_entry *e)
{
	uint64_t ident;
	int r;

	r = ident_of(d->h.tree, d->folder, name, &e->attr, &ident);
	if (r)
		return r;
	return count_lookup(d->h.tree, d->h.node, name, &e->attr, ident,
			    ino_of(d->h.node->ino, ident, name), e);
}

void tree_dir_close(struct tree_dir *d)
{
	if (d)
		handle_close(&d->h, false);
}

/* --- files --- */

/* Counts one more that is open, if there is a source already or one is
 * brought. */
static struct source *share(struct tree *t, struct node *n,
			    struct source **brought)
{
	DROP(lock) pthread_mutex_t *held = lock(&t->lock);

	if (!n->source) {
		if (!*brought)
			return NULL;
		n->source = take(*brought);
	}
	n->nopen++;
	return n->source;
}

/* What is not fixed is opened each time anew. Two that open a node at once both
 * do it, and one of the sources is closed again. */
int tree_file_open(struct tree *t, uint64_t id, struct tree_file **ret)
{
	DROP(held) struct held h = { 0 };
	DROP(source) struct source *src = NULL;
	DROP(mem) struct tree_file *file = calloc(1, sizeof(*file));
	struct entry_attr a;
	struct folder *f;
	bool valid;
	int r;

	static_assert(offsetof(struct tree_file, h) == 0,
		      "freed as its handle");
	if (!file)
		return fail(-ENOMEM, "out of memory");
	r = hold(t, id, &h);
	if (r)
		return r;
	if (h.node->kind != ENTRY_FILE)
		return fail(-EISDIR, "not a file");
	a = attr_now(t, h.node, &valid);
	if (is_fixed(t, &a))
		file->source = share(t, h.node, &src);
	if (!file->source) {
		r = folder_above(t, h.node, &f);
		if (r)
			return r;
		r = folder_open(f, h.node->name, &src);
		if (r)
			return r;
		if (is_fixed(t, &a))
			file->source = share(t, h.node, &src);
		else
			file->source = file->h.source = take(src);
	}
	file->dropped = a.dropped && file->h.source;
	if (file->dropped) {
		DROP(lock) pthread_mutex_t *held = lock(&t->lock);

		h.node->ndropped++;
	}
	handle_add(&file->h, &h);
	*ret = take(file);
	return 0;
}

bool tree_file_dropped(const struct tree_file *f)
{
	return f->dropped;
}

bool tree_file_fixed(const struct tree_file *f)
{
	return !f->h.source;
}

struct source *tree_file_source(struct tree_file *f)
{
	return f->source;
}

uint64_t tree_file_close_last(struct tree_file *f)
{
	struct tree *t = f->h.tree;
	uint64_t id = 0;

	if (f->dropped) {
		DROP(lock) pthread_mutex_t *held = lock(&t->lock);

		if (--f->h.node->ndropped == 0)
			id = f->h.node->id;
	}
	handle_close(&f->h, !f->h.source);
	return id;
}

void tree_file_close(struct tree_file *f)
{
	if (f)
		tree_file_close_last(f);
}
