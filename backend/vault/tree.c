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
	return store_read(vault_store(t->v), key, buf, p->length, p->offset);
}

/* Is this how a place fails whose bytes may have moved? */
static bool may_have_moved(int r)
{
	return r == -ENOENT || r == -EIO || r == -EBADMSG || r == -EPROTO;
}

/* Reads a place and checks it, there or where it was moved to. */
static int read_checked(struct tree *t, const struct place *p, void *buf,
			int (*check)(void *ctx, const void *buf, size_t len),
			void *ctx)
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
	return read_checked(t, p, buf, NULL, NULL);
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

static int get_node(struct node_fill *f, struct cache_blob **ret)
{
	const struct place *p = &f->e->place;
	struct {
		struct digest scope, id;
		uint64_t seq, nonce, number;
		uint32_t object, offset, length, what;
	} key;
	DROP(cache_blob) struct cache_blob *b = NULL;
	uint8_t k[CACHE_KEY_SIZE];
	int r;

	if (digest_is_zero(&f->e->id)) {
		*ret = NULL;
		return 0;
	}
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
	cache_key("node", &key, sizeof(key), k);
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
