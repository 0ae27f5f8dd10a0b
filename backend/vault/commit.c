// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Publishing (FORMAT.md 8): one create-only put of the next commit; and prune.
 *
 * Who loses the put looks at each commit that came in between, and builds its
 * own anew on the new head's point index. What a sweep between the two claimed
 * must not be needed by us: our own and adopted generations are protected by
 * our session record, and what the base's tree holds by the base, as long as
 * that was a point when the sweep began.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/parse.h"
#include "backend/vault/keys.h"

/* Each of them is another's success; this many mean that something is wrong. */
#define TRIES 1000

/* --- one commit --- */

static void drop_commit(struct vf_commit *c)
{
	vf_commit_release(c);
}

struct inline_pages {
	struct buf *b; /* of each page of the table; empty when not inline */
	const struct buf **p;
	size_t n;
};

static void drop_inline_pages(struct inline_pages *x)
{
	for (size_t i = 0; x->b && i < x->n; i++)
		buf_release(&x->b[i]);
	free(x->b);
	free(x->p);
}

/* The page table: changed pages and the last one are inline. */
static int put_pages(struct point_index *x, struct vf_commit *c,
		     struct inline_pages *in)
{
	c->npoints = x->points;
	c->npages = in->n = x->n;
	c->pages = calloc(x->n + 1, sizeof(*c->pages));
	in->b = calloc(x->n + 1, sizeof(*in->b));
	in->p = calloc(x->n + 1, sizeof(*in->p));
	if (!c->pages || !in->b || !in->p)
		return fail(-ENOMEM, "no memory for a commit");
	for (size_t i = 0; i < x->n; i++) {
		struct index_page *p = &x->p[i];
		struct vf_index_ref *ref = &c->pages[i];
		int r = 0;

		*ref = p->ref;
		if (!p->changed && i + 1 < x->n)
			continue;
		r = point_index_load(x, i);
		if (r)
			return r;
		buf_init(&in->b[i], VF_COMMIT_MAX);
		vf_index_put(&in->b[i], p->rows, p->n);
		r = buf_check(&in->b[i], "a page of the point index");
		if (r)
			return r;
		in->p[i] = &in->b[i];
		ref->rows = (uint32_t)p->n;
		ref->length = (uint32_t)in->b[i].len;
		ref->commit = c->seq;
	}
	return 0;
}

/* The newest point's record, appended to b. */
static int newest_record(struct writer *w, struct point_index *x,
			 const struct change *ch, struct buf *b)
{
	const struct index_page *last = &x->p[x->n - 1];
	const struct point_row *row = &last->rows[last->n - 1];
	const struct vf_commit *head = w->head ? &w->head->c : NULL;
	struct vault_point *p;
	int r;

	if (ch->insert && row->time_ns == ch->insert->time_ns) {
		buf_add(b, ch->record, row->record_length);
	} else if (head && head->npages &&
		   head->pages[head->npages - 1].last_ns == row->time_ns) {
		/* No two points have one time, so it is the same one. */
		buf_add(b, head->newest, head->newest_length);
	} else {
		r = vault_point(w->v, w->head, row, &p);
		if (r)
			return r;
		buf_add(b, p->record, p->record_length);
		point_info_unref(&p->info);
	}
	return buf_check(b, "the newest point's record");
}

static int change_index(struct point_index *x, const struct change *ch)
{
	switch (ch->kind) {
	case VF_BACKUP:
		return point_index_insert(x, ch->insert);
	case VF_PRUNE:
		return point_index_drop(x, ch->ids, ch->nids);
	default:
		return fail(-EINVAL, "commits of kind %s are not made here",
			    vf_kind_text(ch->kind));
	}
}

/* What does not depend on the change. */
static int fill_commit(struct writer *w, struct vf_commit *c)
{
	c->id = *vault_id(w->v);
	c->seq = 1;
	if (w->head) {
		c->seq = w->head->c.seq + 1;
		c->prev = w->head->c.digest;
		c->last_relocate = w->head->c.last_relocate;
		c->last_intent = w->head->c.last_intent;
	}
	c->config_n = w->config->c.n;
	c->config_digest = w->config->c.digest;
	c->time_ns = time_now_ns();
	c->session = w->gen;
	memcpy(c->vm, w->vm, sizeof(c->vm));
	c->writer = w->key;
	/* A key retired since we began would make a head that nobody
	 * accepts. */
	return vf_config_key_counts(&w->config->c, &w->key, w->vm, c->seq);
}

static int build(struct writer *w, const struct change *ch, struct vf_commit *c)
{
	DROP(point_index) struct point_index x = { 0 };
	DROP(inline_pages) struct inline_pages in = { 0 };
	DROP(buf) struct buf newest = BUF_INIT(VF_RECORD_MAX);
	int r = fill_commit(w, c);

	if (!r)
		r = point_index_open(&x, w->v, w->head);
	if (!r)
		r = change_index(&x, ch);
	if (!r)
		r = put_pages(&x, c, &in);
	if (!r && x.n)
		r = newest_record(w, &x, ch, &newest);
	if (r)
		return r;
	c->kind = ch->kind;
	c->nids = ch->insert ? 1 : ch->nids;
	c->ids = calloc(c->nids, sizeof(*c->ids));
	if (!c->ids)
		return fail(-ENOMEM, "no memory for a commit");
	memcpy(c->ids, ch->insert ? &ch->insert->id : ch->ids,
	       c->nids * sizeof(*c->ids));
	c->newest = newest.data;
	c->newest_length = (uint32_t)newest.len;
	return vf_commit_build(c, in.p, w->seed);
}

/* --- what came in between --- */

static int lost_to(struct writer *w, const struct vf_commit *c)
{
	struct vf_session s = { 0 };
	struct point_row row;
	char when[TIME_TEXT_SIZE] = "since dropped", key[DIGEST_HEX + 1];
	const char *who = key;

	hex_of(c->writer.b, sizeof(c->writer.b), key);
	if (vault_find_id(w->v, w->head, &c->ids[0], &row) == 0)
		time_iso(row.time_ns, when);
	for (size_t i = 0; i < w->config->c.nkeys; i++)
		if (w->config->c.keys[i].label[0] &&
		    memcmp(&w->config->c.keys[i].key, &c->writer,
			   sizeof(c->writer)) == 0)
			who = w->config->c.keys[i].label;
	/* Its session record says the host, if it is there still. */
	if (session_read(w, &c->session, &s) == 0)
		who = s.host;
	fail(-ESTALE,
	     "lost to another backup of %s (point %s, by %s); run it again",
	     w->vm, when, who);
	vf_session_release(&s);
	return -ESTALE;
}

static bool is_ours(const struct writer *w, const struct point_id *gen)
{
	if (point_id_equal(gen, &w->gen))
		return true;
	for (size_t i = 0; i < w->nadopted; i++)
		if (point_id_equal(gen, &w->adopted[i].gen))
			return true;
	return false;
}

static int check_claims(struct writer *w, const struct vf_commit *c)
{
	DROP(buf) struct buf b = BUF_INIT(STORE_OBJECT_MAX);
	struct vf_list list = { 0 };
	char key[VF_KEY_SIZE];
	struct digest got;
	int r;

	vf_key_gen(key, w->vm_key, 'l', &c->session);
	r = store_get(w->store, key, STORE_OBJECT_MAX, &b);
	if (r == -ENOENT)
		return fail(
			-ESTALE,
			"a sweep came in between, and what it claimed cannot be read any more; run it again");
	if (r)
		return r;
	sha256(b.data, b.len, &got);
	if (b.len != c->list_length || !digest_equal(&got, &c->list_digest))
		return fail(-EBADMSG, "%s: not what its commit says", key);
	r = vf_list_parse(b.data, b.len, &list);
	if (r)
		return blame(r, "%s", key);
	for (size_t i = 0; i < list.nclaims && !r; i++)
		if (is_ours(w, &list.claims[i].gen))
			r = fail(
				-ESTALE,
				"a sweep claimed what this backup stored; run it again");
	vf_list_release(&list);
	return r;
}

struct between {
	bool gone; /* the base was dropped */
	bool lost; /* another backup was faster */
};

/* One commit that came before ours. */
static int pass(struct writer *w, const struct change *ch,
		const struct vf_commit *c, struct between *b)
{
	if (ch->kind != VF_BACKUP)
		return 0;
	switch (c->kind) {
	case VF_BACKUP:
		b->lost = true;
		return lost_to(w, c);
	case VF_PRUNE:
		for (size_t i = 0; ch->base && i < c->nids; i++)
			b->gone |= point_id_equal(&c->ids[i], ch->base);
		return 0;
	case VF_INTENT:
		if (b->gone)
			return fail(
				-ESTALE,
				"the base was dropped and swept meanwhile; run it again");
		return check_claims(w, c);
	default:
		return 0;
	}
}

/* Reads the new head, and passes each commit up to it. */
static int rebase(struct writer *w, const struct change *ch, struct between *b)
{
	uint64_t old = w->head ? w->head->c.seq : 0;
	int r = writer_reload_head(w);

	if (r)
		return r;
	if (!w->head || w->head->c.seq <= old)
		return fail(
			-EIO,
			"commit %" PRIu64
			" of %s is there when it is put, and not there when it is read",
			old + 1, w->vm);
	for (uint64_t seq = old + 1; seq <= w->head->c.seq && !r; seq++) {
		DROP(commit) struct vf_commit c = { 0 };

		r = vault_commit(w->v, w->vm_key, seq, &c);
		if (!r)
			r = pass(w, ch, &c, b);
	}
	return r;
}

static int reload_config(struct writer *w)
{
	int r = vault_reload_config(w->v);

	if (r)
		return r;
	vault_config_unref(w->config);
	w->config = vault_config_ref(w->v);
	return 0;
}

/*
 * Who retires a key reads the heads again after its config is there, and we read
 * the config again after our commit is: one of the two sees the other.
 */
static int still_counts(struct writer *w, const struct vf_commit *c)
{
	int r = reload_config(w);

	if (r)
		return r;
	if (!vf_config_key_counts(&w->config->c, &w->key, w->vm, c->seq))
		return 0;
	return fail(
		-EKEYREJECTED,
		"the key of this host was retired while the %s ran: it does not count unless the owner of the vault runs 'vaultctl key retire' for this key again",
		vf_kind_text(c->kind));
}

/* 0: it is the head; 1: another has its seq. */
static int try_commit(struct writer *w, const struct change *ch, uint64_t *seq)
{
	DROP(commit) struct vf_commit c = { 0 };
	char key[VF_KEY_SIZE];
	int r = reload_config(w);

	if (!r)
		r = build(w, ch, &c);
	if (r)
		return r;
	vf_key_commit(key, w->vm_key, c.seq);
	*seq = 0;
	/* A torn commit would be a head that nobody can read. */
	r = store_put_whole(w->store, key, c.bytes, c.length);
	if (r == -EEXIST)
		return 1;
	if (!r)
		r = store_barrier(w->store);
	if (!r)
		r = still_counts(w, &c);
	if (r)
		return blame(r, "publishing commit %" PRIu64 " of %s", c.seq,
			     w->vm);
	*seq = c.seq;
	/* What is seen is only remembered against a rollback: it is there. */
	if (keys_see_head(vault_id(w->v), w->vm_key, c.seq, &c.digest))
		err_clear();
	return 0;
}

int commit_publish(struct writer *w, const struct change *ch, uint64_t *seq,
		   bool *lost)
{
	struct between b = { 0 };
	int r = store_barrier(w->store);

	for (int i = 0; i < TRIES && !r; i++) {
		r = try_commit(w, ch, seq);
		if (r != 1)
			return r;
		r = rebase(w, ch, &b);
	}
	*lost = b.lost;
	return r ? r
		 : fail(-EAGAIN, "%s changes faster than a commit can be made",
			w->vm);
}

/* --- prune --- */

int vault_prune(struct vault *v, const char *vm, const struct point_id *ids,
		size_t n)
{
	DROP(writer) struct writer w = { 0 };
	struct change ch = { .kind = VF_PRUNE, .ids = ids, .nids = n };
	uint64_t seq;
	bool lost;
	int r;

	if (!n)
		return 0;
	/* Nothing is stored before the commit: no session has to protect it. */
	r = writer_open(v, vm, &w);
	if (r)
		return r;
	if (!w.head)
		return fail(-ENOENT, "there is no VM %s", vm);
	return commit_publish(&w, &ch, &seq, &lost);
}
