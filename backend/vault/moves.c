// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/moves.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

/* A relocate commit's list, and the one before it. */
struct moves {
	struct vf_list list;
	uint64_t before;
};

static void destroy_moves(void *p)
{
	struct moves *m = p;

	vf_list_release(&m->list);
	free(m);
}

struct moves_fill {
	struct vault *v;
	struct vm_head *h;
	uint64_t seq;
};

static int load_list(struct moves_fill *f, const struct vf_commit *c,
		     struct moves *m)
{
	DROP(buf) struct buf b = BUF_INIT(STORE_OBJECT_MAX);
	struct digest d;
	char key[VF_KEY_SIZE];
	int r;

	if (c->kind != VF_RELOCATE || c->prev_relocate >= c->seq)
		return fail(-EPROTO, "commit %" PRIu64 " is no relocate commit",
			    c->seq);
	vf_key_gen(key, f->h->vm_key, 'l', &c->session);
	r = store_get(vault_store(f->v), key, STORE_OBJECT_MAX, &b);
	if (r)
		return r;
	sha256(b.data, b.len, &d);
	if (b.len != c->list_length || !digest_equal(&d, &c->list_digest))
		return fail(-EBADMSG, "%s: does not match its digest", key);
	r = vf_list_parse(b.data, b.len, &m->list);
	if (!r && m->list.kind != VF_RELOCATE)
		r = fail(-EPROTO, "no list of moves");
	m->before = c->prev_relocate;
	return r ? blame(r, "%s", key) : 0;
}

static int fill_moves(void *ctx, struct cache_value *out)
{
	struct moves_fill *f = ctx;
	struct moves *m = calloc(1, sizeof(*m));
	struct vf_commit c;
	int r;

	if (!m)
		return fail(-ENOMEM, "no memory for moves");
	r = vault_commit(f->v, f->h->vm_key, f->seq, &c);
	if (!r) {
		r = load_list(f, &c, m);
		vf_commit_release(&c);
	}
	if (r) {
		destroy_moves(m);
		return r;
	}
	out->data = m;
	out->size = sizeof(*m);
	out->charge = sizeof(*m) + m->list.nmoves * sizeof(struct vf_move);
	out->destroy = destroy_moves;
	return 0;
}

static int get_moves(struct vault *v, struct vm_head *h, uint64_t seq,
		     struct cache_blob **ret)
{
	struct moves_fill f = { .v = v, .h = h, .seq = seq };
	DROP(buf) struct buf b = BUF_INIT(1024);
	uint8_t key[CACHE_KEY_SIZE];
	int r;

	buf_add(&b, vault_id(v)->b, sizeof(vault_id(v)->b));
	buf_u64(&b, seq);
	buf_str(&b, h->vm_key);
	r = buf_check(&b, "a key");
	if (r)
		return r;
	cache_key("moves", b.data, b.len, key);
	return cache_get(vault_cache(v), key, fill_moves, &f, ret);
}

static bool apply(const struct moves *m, const char *disk, struct place *p)
{
	for (size_t i = 0; i < m->list.nmoves; i++) {
		const struct vf_move *x = &m->list.moves[i];
		const struct place *from = &x->from;

		if (strcmp(m->list.disks[x->disk].s, disk) != 0 ||
		    !point_id_equal(&from->gen, &p->gen) ||
		    from->object != p->object ||
		    (from->flags & PLACE_INDEX) != (p->flags & PLACE_INDEX) ||
		    p->offset < from->offset ||
		    p->offset + (uint64_t)p->length >
			    from->offset + (uint64_t)from->length)
			continue;
		p->gen = x->to.gen;
		p->object = x->to.object;
		p->offset = x->to.offset + (p->offset - from->offset);
		return true;
	}
	return false;
}

/* By the relocate commits up to that head. */
static int find_up_to(struct vault *v, struct vm_head *h, const char *disk,
		      struct place *p)
{
	DROP(mem) uint64_t *chain = NULL;
	struct place at = *p;
	size_t n = 0;
	bool moved = false;
	int r;

	/* The chain goes back in time; places are looked up forward. */
	for (uint64_t seq = h->c.last_relocate; seq;) {
		DROP(cache_blob) struct cache_blob *b = NULL;
		uint64_t *more = realloc(chain, (n + 1) * sizeof(*more));

		if (!more)
			return fail(-ENOMEM, "no memory for moves");
		chain = more;
		chain[n++] = seq;
		r = get_moves(v, h, seq, &b);
		if (r)
			return r;
		seq = ((const struct moves *)b->data)->before;
	}
	while (n-- > 0) {
		DROP(cache_blob) struct cache_blob *b = NULL;

		r = get_moves(v, h, chain[n], &b);
		if (r)
			return r;
		moved |= apply(b->data, disk, &at);
	}
	if (!moved)
		return fail(-ENOENT, "not moved");
	*p = at;
	return 0;
}

int moves_find(struct vault *v, const char *vm, const char *disk,
	       struct place *p)
{
	DROP(vm_head) struct vm_head *h = NULL;
	DROP(vm_head) struct vm_head *now = NULL;
	int r;

	if (p->flags & PLACE_POINT)
		return fail(-ENOENT, "not moved");
	r = vault_head(v, vm, 1000, &h);
	if (!r)
		r = find_up_to(v, h, disk, p);
	if (r != -ENOENT)
		return r;
	/* It may have moved just now. */
	r = vault_head(v, vm, 0, &now);
	if (r)
		return r;
	if (now->c.last_relocate == h->c.last_relocate)
		return fail(-ENOENT, "not moved");
	return find_up_to(v, now, disk, p);
}
