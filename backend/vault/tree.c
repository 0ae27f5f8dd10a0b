// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The tree of one disk, read (FORMAT.md 6). Every node is checked against the
 * id that its parent has for it before it goes into the cache, so what comes
 * out of the cache is verified. A node's key in the cache has all that it was
 * checked for: the id, the position and the place.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/codec.h"
#include "backend/vault/fetch.h"
#include "backend/vault/moves.h"
#include "backend/vault/vault.h"

struct tree {
	struct vault *v;
	struct vault_point *p;
	const struct vf_disk *d;
	struct vf_geometry g;
	char vm_key[CATALOG_NAME_MAX + 1];
	char disk_key[CATALOG_NAME_MAX + 1];
	struct digest scope; /* of vault, VM and disk, for keys in the cache */
	/* The root, held for as long as the tree is open; NULL: all zeros. */
	struct cache_blob *root;
};

const struct vf_geometry *tree_geometry(const struct tree *t)
{
	return &t->g;
}

const struct vf_disk *tree_disk(const struct tree *t)
{
	return t->d;
}

struct vault *tree_vault(const struct tree *t)
{
	return t->v;
}

/* --- reading places --- */

/* An object that is neither where it was nor moved. */
static int gone(struct tree *t, const char *key)
{
	return vault_gone(t->v, t->p->info.vm, &t->p->info.row, key);
}

static int read_at(struct tree *t, const struct place *p, void *buf)
{
	char key[VF_KEY_SIZE];

	vf_key_place(key, t->vm_key, t->disk_key, p);
	return fetch_read(vault_fetch(t->v), vault_store(t->v), key, buf,
			  p->length, p->offset);
}

void tree_place_key(const struct tree *t, const struct place *p,
		    uint8_t key[static CACHE_KEY_SIZE])
{
	struct {
		struct digest scope;
		uint64_t seq, nonce;
		uint32_t object, offset, length, where;
	} id = { .scope = t->scope,
		 .seq = p->gen.seq,
		 .nonce = p->gen.nonce,
		 .object = p->object,
		 .offset = p->offset,
		 .length = p->length,
		 .where = p->flags & (PLACE_INDEX | PLACE_POINT) };

	cache_key("stored", &id, sizeof(id), key);
}

/* Is this how a place fails whose bytes may have moved? */
static bool may_have_moved(int r)
{
	return r == -ENOENT || r == -EIO || r == -EBADMSG || r == -EPROTO;
}

typedef int check_fn(void *ctx, const void *buf, size_t len);

/* Reads a place and checks it, there or where it was moved to. */
static int read_stored(struct tree *t, const struct place *p, void *buf,
		       check_fn *check, void *ctx)
{
	struct place at = *p;
	struct err_saved first;
	char key[VF_KEY_SIZE];
	int r = read_at(t, &at, buf), m;

	if (!r && check)
		r = check(ctx, buf, p->length);
	if (!r || !may_have_moved(r))
		return r;
	vf_key_place(key, t->vm_key, t->disk_key, p);
	if (r != -ENOENT && check)
		r = blame(r, "%s at %" PRIu32, key, p->offset);
	err_save(r, &first);
	m = moves_find(t->v, t->p->info.vm, t->d->name, &at);
	if (m == -ENOENT)
		return r == -ENOENT ? gone(t, key) : err_load(&first);
	if (m)
		return m;
	r = read_at(t, &at, buf);
	if (!r && check)
		r = check(ctx, buf, p->length);
	vf_key_place(key, t->vm_key, t->disk_key, &at);
	if (r == -ENOENT)
		return gone(t, key);
	return r ? blame(r, "%s at %" PRIu32, key, at.offset) : 0;
}

int tree_read_place(struct tree *t, const struct place *p, void *buf)
{
	return read_stored(t, p, buf, NULL, NULL);
}

/* The same, of something that the cache on disk may have, and gets. */
static int read_checked(struct tree *t, const struct place *p, void *buf,
			check_fn *check, void *ctx)
{
	struct stash *stash = fetch_stash(vault_fetch(t->v));
	uint8_t key[STASH_KEY_SIZE];
	int r;

	if (!stash)
		return read_stored(t, p, buf, check, ctx);
	tree_place_key(t, p, key);
	if (stash_get(stash, key, buf, p->length)) {
		if (!check(ctx, buf, p->length))
			return 0;
		err_clear();
	}
	r = read_stored(t, p, buf, check, ctx);
	if (!r)
		stash_put(stash, key, buf, p->length);
	return r;
}

/* --- frames --- */

struct frame_check {
	const struct vf_entry *e;
	void *plain;
	uint32_t length;
};

static int check_frame(void *ctx, const void *stored, size_t len)
{
	struct frame_check *f = ctx;
	struct digest d;

	if (f->e->place.flags & PLACE_RAW) {
		/* Read in place: stored is plain. */
		if (len != f->length)
			return fail(-EPROTO, "a raw frame of %zu bytes", len);
	} else {
		int r = codec_unpack(stored, len, f->plain, f->length);

		if (r)
			return r;
	}
	sha256(f->plain, f->length, &d);
	if (!digest_equal(&d, &f->e->id))
		return fail(-EBADMSG, "a frame does not match its digest");
	return 0;
}

int tree_check_frame(struct tree *t, uint64_t frame, const struct vf_entry *e,
		     const void *stored, void *plain)
{
	struct frame_check f = { .e = e,
				 .plain = plain,
				 .length = vf_frame_length(&t->g, frame) };

	if (!(e->place.flags & PLACE_RAW))
		return check_frame(&f, stored, e->place.length);
	if (e->place.length != f.length)
		return fail(-EPROTO, "a raw frame of %" PRIu32 " bytes",
			    e->place.length);
	memcpy(plain, stored, f.length);
	return check_frame(&f, plain, f.length);
}

int tree_read_frame(struct tree *t, uint64_t frame, const struct vf_entry *e,
		    void *buf)
{
	struct frame_check f = { .e = e, .plain = buf };
	uint8_t stored[VF_FRAME_SIZE];
	int r;

	f.length = vf_frame_length(&t->g, frame);
	if (digest_is_zero(&e->id)) {
		memset(buf, 0, f.length);
		return 0;
	}
	if (e->place.flags & PLACE_RAW) {
		if (e->place.length != f.length)
			r = fail(-EPROTO, "a raw frame of %" PRIu32 " bytes",
				 e->place.length);
		else
			r = read_checked(t, &e->place, buf, check_frame, &f);
	} else if (e->place.length >= VF_FRAME_SIZE) {
		r = fail(-EPROTO, "a packed frame of %" PRIu32 " bytes",
			 e->place.length);
	} else {
		r = read_checked(t, &e->place, stored, check_frame, &f);
	}
	if (r)
		blame(r, "disk %s, offset %" PRIu64, t->d->name,
		      frame << VF_FRAME_LOG2);
	return vault_damaged(r);
}

/* --- nodes --- */

struct node_fill {
	struct tree *t;
	const struct vf_entry *e;
	uint8_t level;
	bool table;
	uint64_t number;
	uint32_t count;
	struct vf_node *node;
};

static int check_node(void *ctx, const void *buf, size_t len)
{
	struct node_fill *f = ctx;

	if (f->table)
		return vf_table_parse(buf, len, f->number, f->count, &f->e->id,
				      &f->node);
	return vf_page_parse(buf, len, f->level, f->number, f->count, &f->e->id,
			     &f->node);
}

/* The root mostly came with the point's record already. */
static const uint8_t *root_at_hand(struct tree *t, const struct place *p)
{
	const struct vault_point *pt = t->p;

	if (!pt->object || !(p->flags & PLACE_POINT) ||
	    !point_id_equal(&p->gen, &pt->p.id) ||
	    p->offset > pt->object_length ||
	    p->length > pt->object_length - p->offset)
		return NULL;
	return pt->object + p->offset;
}

static int fill_node(void *ctx, struct cache_value *out)
{
	struct node_fill *f = ctx;
	const struct place *p = &f->e->place;
	const uint8_t *hand = root_at_hand(f->t, p);
	int r;

	if (p->length > (f->table ? VF_TABLE_MAX : VF_PAGE_MAX))
		return fail(-EPROTO, "disk %s: a page of %" PRIu32 " bytes",
			    f->t->d->name, p->length);
	if (hand) {
		r = check_node(f, hand, p->length);
	} else {
		DROP(mem) uint8_t *bytes = malloc(p->length);

		if (!bytes)
			return fail(-ENOMEM, "no memory for a page");
		r = read_checked(f->t, p, bytes, check_node, f);
	}
	if (r) {
		blame(r, "disk %s, %s %" PRIu64, f->t->d->name,
		      f->table ? "frame table" : "page", f->number);
		return vault_damaged(r);
	}
	out->data = f->node;
	out->size = vf_node_size(f->count);
	return 0;
}

static const struct vf_node *node_of(const struct cache_blob *b)
{
	return b->data;
}

static void node_key(const struct node_fill *f,
		     uint8_t out[static CACHE_KEY_SIZE])
{
	const struct place *p = &f->e->place;
	struct {
		struct digest scope, id;
		uint64_t seq, nonce, number;
		uint32_t object, offset, length, what;
	} key;

	key.scope = f->t->scope;
	key.id = f->e->id;
	key.seq = p->gen.seq;
	key.nonce = p->gen.nonce;
	key.number = f->number;
	key.object = p->object;
	key.offset = p->offset;
	key.length = p->length;
	key.what = (uint32_t)p->flags << 16 | (uint32_t)f->table << 8 |
		   f->level;
	cache_key("node", &key, sizeof(key), out);
}

static int get_node(struct node_fill *f, struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	uint8_t k[CACHE_KEY_SIZE];
	int r;

	if (digest_is_zero(&f->e->id)) {
		*ret = NULL;
		return 0;
	}
	node_key(f, k);
	r = cache_get(vault_cache(f->t->v), k, fill_node, f, &b);
	if (r)
		return r;
	/* A hostile tree may name one page where another size is due. */
	if (node_of(b)->count != f->count)
		return fail(-EPROTO, "disk %s: a page of another size",
			    f->t->d->name);
	*ret = take(b);
	return 0;
}

/*
 * Frame tables are small and lie in disk order, so over latency those of a leaf that
 * lie in one aligned window of an object come with one request. A neighbour that
 * does not come out right is given up: who needs it asks for it, and hears why.
 */
#define TABLES_WINDOW_LOG2 16
#define TABLES_MAX 256

struct tables {
	struct tree *t;
	struct cache *cache;
	const struct vf_node *leaf;
	uint32_t want; /* entry of the leaf */
	uint32_t n;
	struct table_want {
		struct node_fill f;
		struct cache_claim *claim;
	} w[TABLES_MAX];
};

static void table_fill_of(const struct tables *x, uint32_t i,
			  struct node_fill *f)
{
	uint64_t first = x->leaf->number << VF_LEAF_LOG2;

	*f = (struct node_fill){ .t = x->t,
				 .table = true,
				 .number = first + i,
				 .e = &x->leaf->e[i] };
	f->count = vf_chunk_frames(&x->t->g, f->number);
}

static bool in_window(const struct tables *x, uint32_t i)
{
	const struct place *p = &x->leaf->e[i].place;
	const struct place *want = &x->leaf->e[x->want].place;

	return !digest_is_zero(&x->leaf->e[i].id) &&
	       p->object == want->object && p->flags == want->flags &&
	       point_id_equal(&p->gen, &want->gen) &&
	       p->length <= VF_TABLE_MAX &&
	       p->offset >> TABLES_WINDOW_LOG2 ==
		       want->offset >> TABLES_WINDOW_LOG2;
}

static void claim_neighbours(struct tables *x)
{
	for (uint32_t i = 0; i < x->leaf->count; i++) {
		struct table_want *w = &x->w[x->n];
		DROP(cache_blob) struct cache_blob *hit = NULL;
		uint8_t key[CACHE_KEY_SIZE];

		if (i == x->want || !in_window(x, i))
			continue;
		table_fill_of(x, i, &w->f);
		node_key(&w->f, key);
		if (cache_claim(x->cache, key, &hit, &w->claim) ==
		    CACHE_CLAIMED)
			x->n++;
	}
}

static int check_table(struct tables *x, struct table_want *w,
		       const uint8_t *stored)
{
	struct cache_value v = { 0 };
	int r = check_node(&w->f, stored, w->f.e->place.length);

	if (r)
		return r;
	v.data = w->f.node;
	v.size = vf_node_size(w->f.count);
	cache_land(x->cache, take(w->claim), 0, &v, NULL);
	return 0;
}

/* Lands what the stash has, and leaves the rest. */
static void tables_from_stash(struct tables *x)
{
	struct stash *stash = fetch_stash(vault_fetch(x->t->v));
	uint8_t key[STASH_KEY_SIZE], stored[VF_TABLE_MAX];
	uint32_t left = 0;

	for (uint32_t i = 0; stash && i < x->n; i++) {
		const struct place *p = &x->w[i].f.e->place;

		tree_place_key(x->t, p, key);
		if (!stash_get(stash, key, stored, p->length) ||
		    check_table(x, &x->w[i], stored))
			x->w[left++] = x->w[i];
	}
	if (stash)
		x->n = left;
}

static int read_window(struct tables *x, uint8_t **ret, struct place *at)
{
	uint64_t from = UINT64_MAX, to = 0;

	*at = x->w[0].f.e->place;
	for (uint32_t i = 0; i < x->n; i++) {
		const struct place *p = &x->w[i].f.e->place;

		from = min_u64(from, p->offset);
		to = max_u64(to, (uint64_t)p->offset + p->length);
	}
	at->offset = (uint32_t)from;
	at->length = (uint32_t)(to - from);
	*ret = malloc(at->length);
	if (!*ret)
		return fail(-ENOMEM, "no memory for frame tables");
	return read_stored(x->t, at, *ret, NULL, NULL);
}

static void land_table(struct tables *x, struct table_want *w,
		       const uint8_t *bytes, struct stash *stash)
{
	const struct place *p = &w->f.e->place;
	uint8_t key[STASH_KEY_SIZE];

	if (check_table(x, w, bytes)) {
		/* Who waits for it tries for himself, and says what is wrong. */
		(void)fail(-ECANCELED, "given up");
		cache_land(x->cache, take(w->claim), -ECANCELED, NULL, NULL);
	} else if (stash) {
		tree_place_key(x->t, p, key);
		stash_put(stash, key, bytes, p->length);
	}
}

/* Fails only when the store is away: what else is wrong may be wrong with one alone. */
static int fetch_tables(struct tables *x)
{
	DROP(mem) uint8_t *stored = NULL;
	struct err_saved why;
	struct place at;
	int r = read_window(x, &stored, &at);

	if (r && !err_is_away(r))
		r = fail(-ECANCELED, "given up");
	if (r)
		err_save(r, &why);
	for (uint32_t i = 0; i < x->n; i++) {
		struct table_want *w = &x->w[i];

		if (r)
			cache_land(x->cache, take(w->claim), err_load(&why),
				   NULL, NULL);
		else
			land_table(x, w,
				   stored + (w->f.e->place.offset - at.offset),
				   fetch_stash(vault_fetch(x->t->v)));
	}
	if (r && r != -ECANCELED)
		return err_load(&why);
	err_clear();
	return 0;
}

/* Makes it likely that entry `want` of a leaf is in the cache; *ret if it was. Fails
 * when the store is away. */
static int bring_tables(struct tree *t, const struct vf_node *leaf,
			uint32_t want, struct cache_blob **ret)
{
	struct tables x;
	uint8_t key[CACHE_KEY_SIZE];

	x.t = t;
	x.cache = vault_cache(t->v);
	x.leaf = leaf;
	x.want = want;
	if (digest_is_zero(&leaf->e[want].id) || !in_window(&x, want))
		return 0;
	table_fill_of(&x, want, &x.w[0].f);
	node_key(&x.w[0].f, key);
	if (cache_claim(x.cache, key, ret, &x.w[0].claim) != CACHE_CLAIMED)
		return 0;
	x.n = 1;
	tables_from_stash(&x);
	if (!x.n)
		return 0;
	claim_neighbours(&x);
	return fetch_tables(&x);
}

/* Another reference to what the tree holds for its whole life. */
static int get_root(struct tree *t, struct cache_blob **ret)
{
	struct vf_entry e = { .id = t->d->root, .place = t->d->root_place };
	struct node_fill f = {
		.t = t,
		.e = &e,
		.level = t->g.root_level,
		.number = 0,
		.count = vf_page_count(&t->g, t->g.root_level, 0),
	};

	return get_node(&f, ret);
}

int tree_page(struct tree *t, uint8_t level, uint64_t number,
	      struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *up = NULL;
	const struct vf_node *at;
	uint8_t l = t->g.root_level;

	if (level > l || (number << vf_level_shift(level)) >= t->g.chunks)
		return fail(-EINVAL, "page %" PRIu64 " of level %u", number,
			    level);
	if (!t->root) {
		*ret = NULL;
		return 0;
	}
	if (level == l)
		return get_root(t, ret);
	at = node_of(t->root);
	while (l > level) {
		struct cache_blob *down = NULL;
		struct node_fill f = { .t = t, .level = (uint8_t)(l - 1) };
		unsigned step = VF_INNER_LOG2 * (unsigned)(l - 1 - level);
		int r;

		f.number = number >> step;
		f.count = vf_page_count(&t->g, f.level, f.number);
		f.e = &at->e[f.number & ((1u << VF_INNER_LOG2) - 1)];
		r = get_node(&f, &down);
		if (r)
			return r;
		cache_unref(up);
		up = down;
		if (!down)
			break;
		at = node_of(down);
		l--;
	}
	*ret = take(up);
	return 0;
}

int tree_table(struct tree *t, uint64_t chunk, struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *held = NULL;
	const struct cache_blob *leaf = t->root;
	struct node_fill f = { .t = t, .table = true, .number = chunk };

	if (chunk >= t->g.chunks)
		return fail(-EINVAL, "chunk %" PRIu64 " of %" PRIu64, chunk,
			    t->g.chunks);
	if (t->g.root_level > 0) {
		int r = tree_page(t, 0, chunk >> VF_LEAF_LOG2, &held);

		if (r)
			return r;
		leaf = held;
	}
	if (!leaf) {
		*ret = NULL;
		return 0;
	}
	f.count = vf_chunk_frames(&t->g, chunk);
	f.e = &node_of(leaf)->e[chunk & ((1u << VF_LEAF_LOG2) - 1)];
	if (vault_fetch(t->v)) {
		DROP(cache_blob) struct cache_blob *hit = NULL;

		int r = bring_tables(t, node_of(leaf),
				     chunk & ((1u << VF_LEAF_LOG2) - 1), &hit);

		if (r)
			return r;
		if (hit && node_of(hit)->count == f.count) {
			*ret = take(hit);
			return 0;
		}
	}
	return get_node(&f, ret);
}

/* --- opening --- */

static int scope_of(struct tree *t)
{
	DROP(buf) struct buf b = BUF_INIT(1024);
	int r = vf_name_encode(t->p->p.vm, t->vm_key);

	if (!r)
		r = vf_name_encode(t->d->name, t->disk_key);
	if (r)
		return r;
	buf_add(&b, vault_id(t->v)->b, sizeof(vault_id(t->v)->b));
	buf_printf(&b, "%s/%s", t->vm_key, t->disk_key);
	r = buf_check(&b, "a key");
	if (!r)
		sha256(b.data, b.len, &t->scope);
	return r;
}

int tree_open(struct vault *v, struct vault_point *p, size_t disk,
	      struct tree **ret)
{
	DROP(tree) struct tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return fail(-ENOMEM, "no memory for a disk");
	if (disk >= p->p.ndisks)
		return fail(-EINVAL, "disk %zu of %zu", disk, p->p.ndisks);
	t->v = v;
	t->p = container_of(point_info_ref(&p->info), struct vault_point, info);
	t->d = &p->p.disks[disk];
	r = vf_geometry(t->d->size, t->d->chunk_log2, &t->g);
	if (!r)
		r = scope_of(t);
	if (!r)
		r = get_root(t, &t->root);
	if (r)
		return r;
	*ret = take(t);
	return 0;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	cache_unref(t->root);
	if (t->p)
		point_info_unref(&t->p->info);
	free(t);
}
