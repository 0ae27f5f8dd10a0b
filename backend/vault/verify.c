// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The vault from the top down: configs, VMs, commits, points; verify_tree.c
 * does their disks.
 *
 * Points of a VM are taken in order of time. Each disk is compared with the
 * last tree of its name in which nothing was bad, and only what differs is
 * looked at: what a chain of incremental points shares is verified once, and no
 * set of all that was seen is needed.
 */
#include "backend/vault/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/vault/addenda.h"
#include "backend/vault/verify_impl.h"

#define VMS_PAGE 256
/* How old it may be what is known of a VM when something of it is bad. */
#define NEWS_MS 1000
/* A dead page holds 4096 places: more of them than this is no honest record. */
#define DEAD_PAGES_MAX (1u << 20)

bool verify_fatal(int r)
{
	/* What cannot be had just now is not bad. */
	return r == -ECANCELED || r == -ENOMEM || err_is_away(r);
}

/* Was the point that it is at dropped since its row was read? */
static bool dropped(struct verify *f)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct point_row now;

	return f->row && vault_head(f->v, f->vm, NEWS_MS, &h) == 0 &&
	       vault_find_id(f->v, h, &f->row->id, &now) == -ENOENT;
}

void verify_tell(struct verify *f, int r)
{
	struct err_saved why;
	struct verify_bad bad = {
		.vm = f->vm,
		.point = f->row,
		.disk = f->disk,
		.code = r,
	};

	err_save(r, &why);
	/* Then nothing that it lacks is bad. */
	if (dropped(f))
		return;
	bad.sentence = why.text;
	f->point_bad = true;
	f->out->bad++;
	if (f->rq->bad)
		f->rq->bad(f->rq->ctx, &bad);
}

int verify_progress(struct verify *f, double part)
{
	struct verify_progress p = {
		.vm = f->vm,
		.bytes = f->out->bytes,
		.fraction = f->done + f->step * part,
	};

	if (f->rq->progress && f->rq->progress(f->rq->ctx, &p))
		return fail(-ECANCELED, "the verification was stopped");
	return 0;
}

/* 0 for one that ends nothing, after it was told. */
static int tell(struct verify *f, int r)
{
	if (r < 0 && !verify_fatal(r)) {
		f->failures++;
		verify_tell(f, r);
		r = 0;
	}
	return r;
}

/* --- configs --- */

/* Digests of configs 1 to n, as commits name them. */
struct configs {
	struct digest *digests;
	uint64_t n;
};

static int check_config(struct verify *f, struct configs *c, uint64_t n,
			const struct vf_config *head)
{
	DROP(buf) struct buf b = BUF_INIT(VF_CONFIG_MAX);
	struct vf_config got;
	char key[VF_KEY_SIZE];
	int r;

	vf_key_config(key, n);
	r = store_get(vault_store(f->v), key, VF_CONFIG_MAX, &b);
	if (r == 0)
		r = vf_config_parse(b.data, b.len, &got);
	if (r < 0)
		return blame(r, "config %s", key);
	c->digests[n] = got.digest;
	if (memcmp(&got.id, &head->id, sizeof(got.id)) || got.n != n ||
	    memcmp(&got.owner, &head->owner, sizeof(got.owner)))
		r = fail(-EKEYREJECTED,
			 "config %s is of another vault, owner or number", key);
	else if (!digest_equal(&got.prev, &c->digests[n - 1]))
		r = fail(-EKEYREJECTED,
			 "config %s does not follow the one before it", key);
	vf_config_release(&got);
	return r;
}

static int check_configs(struct verify *f, struct configs *c)
{
	DROP(vault_config) struct vault_config *newest = vault_config_ref(f->v);
	int r = 0;

	/* Their numbers have no gap, so this is as many objects as there
	 * are. */
	c->n = newest->c.n;
	c->digests = calloc(c->n + 1, sizeof(*c->digests));
	if (!c->digests)
		return fail(-ENOMEM, "no memory for the list of configs");
	for (uint64_t n = 1; n <= c->n && r == 0; n++)
		r = tell(f, check_config(f, c, n, &newest->c));
	return r;
}

/* --- commits --- */

static int check_inline_pages(struct verify *f, const struct vf_commit *c)
{
	DROP(mem) struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	struct digest d;
	size_t n;
	int r;

	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	for (size_t i = 0; i < c->npages; i++) {
		const struct vf_index_ref *p = &c->pages[i];

		if (p->commit != c->seq)
			continue;
		if (p->offset > c->length || p->length > c->length - p->offset)
			return fail(-EPROTO, "an index page outside of it");
		sha256(c->bytes + p->offset, p->length, &d);
		if (!digest_equal(&d, &p->digest))
			return fail(-EBADMSG, "an index page does not match "
					      "its digest");
		r = vf_index_parse(c->bytes + p->offset, p->length, rows, &n);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What each kind may do to the number of points. */
static bool count_fits(const struct vf_commit *c, uint64_t before)
{
	switch (c->kind) {
	case VF_BACKUP:
		return c->npoints == before + 1;
	case VF_PRUNE:
		return c->npoints + c->nids == before;
	case VF_INTENT:
	case VF_SWEPT:
	case VF_RELOCATE:
	case VF_CONFIG:
		break;
	}
	return c->npoints == before;
}

struct chain {
	struct digest prev;
	uint64_t points;
	bool known; /* the one before was sound */
};

static int check_commit(struct verify *f, const struct configs *configs,
			uint64_t seq, struct chain *chain)
{
	struct vf_commit c;
	char key[VF_KEY_SIZE];
	int r = vault_commit(f->v, f->head->vm_key, seq, &c);

	vf_key_commit(key, f->head->vm_key, seq);
	if (r == -ENOENT)
		return fail(r, "commit %s is missing", key);
	if (r < 0)
		return r;
	if (c.config_n <= configs->n &&
	    !digest_equal(&c.config_digest, &configs->digests[c.config_n]))
		r = fail(-EKEYREJECTED, "made under another config %" PRIu64,
			 c.config_n);
	else if (chain->known && !digest_equal(&c.prev, &chain->prev))
		r = fail(-EKEYREJECTED, "it does not follow the one before it");
	else if (chain->known && !count_fits(&c, chain->points))
		r = fail(-EPROTO, "it has %" PRIu64 " points after %" PRIu64,
			 c.npoints, chain->points);
	else
		r = check_inline_pages(f, &c);
	*chain = (struct chain){ c.digest, c.npoints, true };
	if (r == 0 && seq == f->head->c.seq &&
	    !digest_equal(&c.digest, &f->head->c.digest))
		r = fail(-EKEYREJECTED, "it is not the head it was");
	vf_commit_release(&c);
	return r < 0 ? blame(r, "commit %s", key) : 0;
}

static int check_commits(struct verify *f, const struct configs *configs)
{
	struct chain chain = { .known = true };
	int r = 0;

	for (uint64_t seq = 1; seq <= f->head->c.seq && r == 0; seq++) {
		f->out->commits++;
		r = check_commit(f, configs, seq, &chain);
		if (r < 0)
			chain.known = false;
		r = tell(f, r);
		if (r == 0)
			r = verify_progress(f, 0);
	}
	return r;
}

/* Commits are never deleted, so each has to be there. */
static int check_commits_exist(struct verify *f)
{
	char key[VF_KEY_SIZE];
	uint64_t size;
	int r = 0;

	for (uint64_t seq = 1; seq <= f->head->c.seq && r == 0; seq++) {
		f->out->commits++;
		vf_key_commit(key, f->head->vm_key, seq);
		r = store_stat(vault_store(f->v), key, &size);
		if (r == -ENOENT)
			r = fail(r, "commit %s is missing", key);
		r = tell(f, r);
	}
	return r;
}

/* --- points --- */

static int check_escrow(struct verify *f, struct vault_point *p)
{
	DROP(escrow_docs) struct escrow_docs docs = { 0 };

	return vault_point_escrow(f->v, f->head->vm_key, p, &docs);
}

/* One of a point that was dropped is whole, and no matter. */
static int check_addendum(void *ctx, const struct point_id *gen)
{
	struct verify *f = ctx;
	DROP(mem) uint8_t *bytes = NULL;
	struct vf_addendum a;
	int r = addendum_read(f->v, f->head->vm, f->head->vm_key, gen, &bytes,
			      &a);

	return r == -ENOENT ? 0 : tell(f, r);
}

static int check_addenda(struct verify *f)
{
	return tell(f, addenda_list(f->v, f->head->vm_key, check_addendum, f));
}

/* One page of the chain; *next and *at are those of the page before it. */
static int check_dead_page(struct tree *t, struct digest *next,
			   struct place *at, uint64_t *bytes)
{
	DROP(mem) uint8_t *record = NULL;
	struct vf_dead page = { 0 };
	struct digest d;
	int r;

	if (place_is_none(at) || at->length > VF_RECORD_MAX)
		return fail(-EPROTO, "dead page of %" PRIu32 " bytes",
			    at->length);
	record = malloc(at->length);
	if (!record)
		return fail(-ENOMEM, "no memory for a dead page");
	r = tree_read_place(t, at, record);
	if (r < 0)
		return r;
	sha256(record, at->length, &d);
	if (!digest_equal(&d, next))
		return fail(-EBADMSG, "a dead page does not match its id");
	r = vf_dead_parse(record, at->length, &page);
	if (r < 0)
		return r;
	for (size_t i = 0; i < page.count; i++)
		*bytes += page.places[i].length;
	*next = page.prev;
	*at = page.prev_place;
	free(page.places);
	return 0;
}

static int check_dead_pages(struct tree *t)
{
	const struct vf_disk *d = tree_disk(t);
	struct digest next = d->dead;
	struct place at = d->dead_place;
	uint64_t bytes = 0;
	int r;

	for (unsigned i = 0; !digest_is_zero(&next); i++) {
		if (i == DEAD_PAGES_MAX)
			return fail(-EPROTO, "its dead pages have no end");
		r = check_dead_page(t, &next, &at, &bytes);
		if (r < 0)
			return blame(r, "disk %s", d->name);
	}
	if (bytes != d->dead_bytes)
		return fail(-EPROTO,
			    "disk %s: %" PRIu64 " bytes in its dead pages, its "
			    "record says %" PRIu64,
			    d->name, bytes, d->dead_bytes);
	return 0;
}

/* The last sound tree of each disk name of the VM. */
struct sound_trees {
	struct tree *trees[CATALOG_DISKS_MAX];
	size_t n;
};

static void sound_trees_release(struct sound_trees *s)
{
	while (s->n)
		tree_close(s->trees[--s->n]);
}

static struct tree **find_sound(struct sound_trees *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(tree_disk(s->trees[i])->name, name))
			return &s->trees[i];
	return NULL;
}

/* Takes t. */
static void keep_sound(struct sound_trees *s, struct tree *t)
{
	struct tree **slot = find_sound(s, tree_disk(t)->name);

	/* Disks that are in no point any more are the first to go. */
	if (!slot && s->n == CATALOG_DISKS_MAX)
		slot = &s->trees[0];
	if (!slot) {
		s->trees[s->n++] = t;
		return;
	}
	tree_close(*slot);
	*slot = t;
}

static int check_disk(struct verify *f, struct vault_point *p, size_t i,
		      struct sound_trees *sound)
{
	DROP(tree) struct tree *t = NULL;
	struct tree **old;
	uint64_t before = f->failures;
	int r;

	f->disk = p->p.disks[i].name;
	f->out->disks++;
	r = tree_open(f->v, p, i, &t);
	if (r < 0)
		return tell(f, r);
	old = find_sound(sound, f->disk);
	r = verify_disk(f, t, old ? *old : NULL);
	if (r == 0 && f->rq->level >= VERIFY_CHECKSUMS)
		r = tell(f, check_dead_pages(t));
	if (r == 0 && f->failures == before)
		keep_sound(sound, take(t));
	return r;
}

static int check_disks(struct verify *f, struct vault_point *p,
		       struct sound_trees *sound)
{
	double step = f->step;
	int r = 0;

	if (f->rq->level >= VERIFY_CHECKSUMS)
		r = tell(f, check_escrow(f, p));
	f->step = step / (double)p->p.ndisks;
	for (size_t i = 0; i < p->p.ndisks && r == 0; i++) {
		r = check_disk(f, p, i, sound);
		f->done += f->step;
	}
	f->disk = NULL;
	f->step = step;
	return r;
}

static int check_point(struct verify *f, const struct point_row *row,
		       struct sound_trees *sound)
{
	struct vault_point *p = NULL;
	double done = f->done;
	int r;

	f->row = row;
	f->out->points++;
	f->point_bad = false;
	r = tell(f, vault_point(f->v, f->head, row, &p));
	if (p) {
		r = check_disks(f, p, sound);
		point_info_unref(&p->info);
	}
	f->out->bad_points += f->point_bad;
	f->row = NULL;
	f->done = done + f->step;
	return r;
}

/* --- a VM --- */

static int check_points(struct verify *f, struct sound_trees *sound)
{
	DROP(mem) struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	size_t n;
	int r = 0;

	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	f->step = f->head->c.npoints ? 1.0 / (double)f->head->c.npoints : 0;
	for (size_t i = 0; i < f->head->c.npages && r == 0; i++) {
		r = vault_index_page(f->v, f->head, i, rows, &n);
		if (r < 0) {
			r = tell(f, r);
			continue;
		}
		for (size_t k = 0; k < n && r == 0; k++)
			r = check_point(f, &rows[k], sound);
	}
	return r;
}

static int check_one_point(struct verify *f, struct sound_trees *sound)
{
	struct point_row row;
	int r = vault_find_id(f->v, f->head, f->rq->point, &row);

	f->step = 1;
	return r < 0 ? r : check_point(f, &row, sound);
}

static int check_head(struct verify *f, const struct configs *configs)
{
	struct sound_trees sound = { 0 };
	int r;

	f->done = f->step = 0;
	if (f->rq->level >= VERIFY_CHECKSUMS)
		r = check_commits(f, configs);
	else
		r = check_commits_exist(f);
	if (r == 0 && f->rq->level >= VERIFY_CHECKSUMS)
		r = check_addenda(f);
	if (r == 0)
		r = f->rq->point ? check_one_point(f, &sound)
				 : check_points(f, &sound);
	sound_trees_release(&sound);
	return r;
}

static int check_vm(struct verify *f, const char *vm,
		    const struct configs *configs)
{
	DROP(vm_head) struct vm_head *head = NULL;
	int r = vault_head(f->v, vm, 0, &head);

	if (r == -ENOENT && f->rq->vm)
		return r;
	f->out->vms++;
	f->vm = vm;
	f->head = head;
	r = r < 0 ? tell(f, r) : check_head(f, configs);
	f->vm = NULL;
	f->head = NULL;
	return r;
}

static int check_vms(struct verify *f, const struct configs *configs)
{
	char after[CATALOG_NAME_MAX + 1] = "";
	bool more = true;
	int r = 0;

	if (f->rq->vm)
		return check_vm(f, f->rq->vm, configs);
	while (more && r == 0) {
		DROP(name_page) struct name_page page = { 0 };

		r = vault_vms(f->v, after, VMS_PAGE, &page);
		if (r < 0)
			return r;
		for (size_t i = 0; i < page.count && r == 0; i++)
			r = check_vm(f, page.names[i], configs);
		if (page.count)
			snprintf(after, sizeof(after), "%s",
				 page.names[page.count - 1]);
		more = page.more && page.count;
	}
	return r;
}

static void drop_verify(struct verify *f)
{
	pool_free(f->pool);
	known_objects_free(f->objects);
	free(f->told);
}

int vault_verify(struct vault *v, const struct verify_request *rq,
		 struct verify_result *out)
{
	DROP(verify) struct verify f = { .v = v, .rq = rq, .out = out };
	struct configs configs = { 0 };
	int r;

	*out = (struct verify_result){ 0 };
	r = pool_new(rq->threads	      ? rq->threads
		     : vault_store(v)->remote ? VERIFY_THREADS_FAR
					      : pool_default_threads(),
		     &f.pool);
	if (r == 0)
		r = known_objects_new(&f.objects);
	if (r == 0 && rq->level >= VERIFY_CHECKSUMS)
		r = check_configs(&f, &configs);
	if (r == 0)
		r = check_vms(&f, &configs);
	free(configs.digests);
	return r;
}
