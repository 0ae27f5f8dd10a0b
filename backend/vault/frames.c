// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A batch of frames on their way into the cache (backend/vault/fetch.h):
 *
 *	claim -> what the stash has -> sort by place -> runs -> [ lines ] -> land
 *
 * Tables are looked up before the first claim, and who finds a frame claimed by
 * somebody else waits for it only after all that he has claimed himself has landed.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/vault/fetch.h"
#include "backend/vault/vault.h"

/* Bytes between two frames of an object that are fetched with them rather than with
 * a second request. */
#define GAP_MAX (128u << 10)
#define RUN_MAX LINK_WINDOW_MAX
/* Chunks are of 256 KiB at least. */
#define TABLES_MAX (FRAMES_MAX / 4 + 2)

/* A frame that is ours to make. */
struct want {
	uint64_t frame;
	const struct vf_entry *e;
	struct cache_claim *claim;
	uint32_t at; /* in the batch */
};

struct batch {
	struct tree *t;
	struct fetch *f;
	struct cache *cache;
	struct cancel cancel; /* the caller's, for the lines */
	uint64_t first;
	uint32_t n;
	struct cache_blob *tables[TABLES_MAX];
	uint32_t ntables;
	const struct vf_entry *e[FRAMES_MAX]; /* NULL: zeros */
	struct want w[FRAMES_MAX];
	uint32_t nw;
	struct cache_blob **blobs; /* NULL: none wanted */

	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t done;
	unsigned lines_left;
	struct err_saved failure; /* the first of what was ours; code 0: none */
};

struct line {
	struct pool_job job;
	struct batch *b;
	uint32_t from, to; /* of b->w */
};

static const struct vf_node *node_of(const struct cache_blob *b)
{
	return b->data;
}

static void frame_key(const struct vf_entry *e,
		      uint8_t key[static CACHE_KEY_SIZE])
{
	cache_key("frame", e->id.b, sizeof(e->id.b), key);
}

/* --- which frames --- */

static int look_up(struct batch *b)
{
	const struct vf_geometry *g = tree_geometry(b->t);
	const struct cache_blob *table = NULL;
	uint64_t chunk = UINT64_MAX;

	for (uint32_t i = 0; i < b->n; i++) {
		uint64_t frame = b->first + i;
		uint64_t in = frame / g->frames_per_chunk;
		const struct vf_entry *e;

		if (in != chunk) {
			struct cache_blob *got = NULL;
			int r = tree_table(b->t, in, &got);

			if (r)
				return r;
			if (got)
				b->tables[b->ntables++] = got;
			table = got;
			chunk = in;
		}
		e = table ? &node_of(table)->e[frame % g->frames_per_chunk]
			  : NULL;
		b->e[i] = e && !digest_is_zero(&e->id) ? e : NULL;
	}
	return 0;
}

/* Hits are taken, what nobody has is claimed. */
static int claim_all(struct batch *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct cache_blob *hit = NULL;
		struct cache_claim *claim = NULL;
		uint8_t key[CACHE_KEY_SIZE];
		int r;

		if (!b->e[i])
			continue;
		frame_key(b->e[i], key);
		r = cache_claim(b->cache, key, &hit, &claim);
		if (r < 0)
			return r;
		if (r == CACHE_CLAIMED)
			b->w[b->nw++] = (struct want){ b->first + i, b->e[i],
						       claim, i };
		if (r == CACHE_HIT && b->blobs)
			b->blobs[i] = hit;
		else
			cache_unref(hit);
	}
	return 0;
}

/* --- landing --- */

static void land(struct batch *b, struct want *w, int r, uint8_t *plain)
{
	struct cache_value v = {
		.data = plain,
		.size = vf_frame_length(tree_geometry(b->t), w->frame),
	};

	if (r) {
		DROP(lock) pthread_mutex_t *held = lock(&b->lock);

		(void)held;
		if (!b->failure.code)
			err_save(r, &b->failure);
	}
	cache_land(b->cache, take(w->claim), r, &v,
		   b->blobs ? &b->blobs[w->at] : NULL);
}

/* By itself: looks where it moved to, and says what is wrong with it. */
static int fetch_alone(struct batch *b, const struct want *w, uint8_t **ret)
{
	DROP(mem) uint8_t *plain = malloc(VF_FRAME_SIZE);
	int r;

	if (!plain)
		return fail(-ENOMEM, "no memory for a frame");
	r = tree_read_frame(b->t, w->frame, w->e, plain);
	if (!r)
		*ret = take(plain);
	return r;
}

static int unpack(struct batch *b, const struct want *w, const void *stored,
		  uint8_t **ret)
{
	DROP(mem) uint8_t *plain = malloc(VF_FRAME_SIZE);
	int r;

	if (!plain)
		return fail(-ENOMEM, "no memory for a frame");
	r = tree_check_frame(b->t, w->frame, w->e, stored, plain);
	if (!r)
		*ret = take(plain);
	return r;
}

/* 0 and landed; -ENOENT: the stash does not have it. */
static int from_stash(struct batch *b, struct want *w)
{
	struct stash *stash = fetch_stash(b->f);
	uint8_t stored[VF_FRAME_SIZE], key[STASH_KEY_SIZE];
	uint8_t *plain = NULL;

	if (w->e->place.length > sizeof(stored))
		return -ENOENT;
	tree_place_key(b->t, &w->e->place, key);
	if (!stash_get(stash, key, stored, w->e->place.length) ||
	    unpack(b, w, stored, &plain))
		return -ENOENT;
	land(b, w, 0, plain);
	return 0;
}

static void take_from_stash(struct batch *b)
{
	uint32_t left = 0;

	if (!fetch_stash(b->f))
		return;
	for (uint32_t i = 0; i < b->nw; i++)
		if (from_stash(b, &b->w[i]))
			b->w[left++] = b->w[i];
	b->nw = left;
}

/* --- runs --- */

static int by_place(const void *x, const void *y)
{
	const struct place *a = &((const struct want *)x)->e->place;
	const struct place *b = &((const struct want *)y)->e->place;

	if (a->gen.seq != b->gen.seq)
		return a->gen.seq < b->gen.seq ? -1 : 1;
	if (a->gen.nonce != b->gen.nonce)
		return a->gen.nonce < b->gen.nonce ? -1 : 1;
	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	return (a->offset > b->offset) - (a->offset < b->offset);
}

static uint64_t end_of(const struct place *p)
{
	return (uint64_t)p->offset + p->length;
}

static bool same_object(const struct place *a, const struct place *b)
{
	return point_id_equal(&a->gen, &b->gen) && a->object == b->object &&
	       ((a->flags ^ b->flags) & ~PLACE_RAW) == 0;
}

/* Where the run that begins with w[from] ends. */
static uint32_t run_end(const struct batch *b, uint32_t from)
{
	const struct place *first = &b->w[from].e->place;
	uint64_t end = end_of(first);
	uint32_t i = from + 1;

	for (; i < b->nw && first->length <= VF_FRAME_SIZE; i++) {
		const struct place *p = &b->w[i].e->place;

		if (p->length > VF_FRAME_SIZE || !same_object(first, p) ||
		    p->offset > end + GAP_MAX ||
		    end_of(p) > first->offset + (uint64_t)RUN_MAX)
			break;
		end = max_u64(end, end_of(p));
	}
	return i;
}

/* All of them failed with this thread's sentence. */
static void land_failed(struct batch *b, uint32_t from, uint32_t to, int r)
{
	struct err_saved why;

	err_save(r, &why);
	for (uint32_t i = from; i < to; i++)
		land(b, &b->w[i], err_load(&why), NULL);
}

/* What one frame can have that its neighbours have not. */
static bool of_one_frame(int r)
{
	return r == -ENOENT || r == -EIO || r == -ESTALE || r == -EBADMSG ||
	       r == -EPROTO;
}

static void keep(struct batch *b, const struct want *w, const uint8_t *stored)
{
	uint8_t key[STASH_KEY_SIZE];

	if (!fetch_stash(b->f))
		return;
	tree_place_key(b->t, &w->e->place, key);
	stash_put(fetch_stash(b->f), key, stored, w->e->place.length);
}

/* All that is in the run, from the offset of p on, whose length is set. */
static int read_place(struct batch *b, uint32_t from, uint32_t to,
		      struct place *p, uint8_t **ret)
{
	uint64_t end = 0;

	if (p->length > VF_FRAME_SIZE)
		return fail(-EPROTO, "a frame of %" PRIu32 " bytes", p->length);
	for (uint32_t i = from; i < to; i++)
		end = max_u64(end, end_of(&b->w[i].e->place));
	p->length = (uint32_t)(end - p->offset);
	*ret = fetch_buffer(b->f, p->length);
	if (!*ret)
		return fail(-ENOMEM, "no memory for a read");
	return tree_read_place(b->t, p, *ret);
}

/* r: what the run's read returned, into stored. */
static void land_run(struct batch *b, uint32_t from, uint32_t to, int r,
		     const struct place *p, const uint8_t *stored)
{
	bool good[FRAMES_MAX] = { 0 };

	if (r && !of_one_frame(r)) {
		land_failed(b, from, to, r);
		return;
	}
	for (uint32_t i = from; i < to; i++) {
		struct want *w = &b->w[i];
		uint8_t *plain = NULL;
		int one = r;

		if (!one)
			one = unpack(b, w,
				     stored + (w->e->place.offset - p->offset),
				     &plain);
		good[i - from] = !one;
		if (one)
			one = fetch_alone(b, w, &plain);
		land(b, w, one, plain);
	}
	/* Nobody waits for this. */
	for (uint32_t i = from; i < to; i++)
		if (good[i - from])
			keep(b, &b->w[i],
			     stored + (b->w[i].e->place.offset - p->offset));
}

static void read_run(struct batch *b, uint32_t from, uint32_t to)
{
	struct place p = b->w[from].e->place;
	uint8_t *stored = NULL;
	int r = read_place(b, from, to, &p, &stored);

	land_run(b, from, to, r, &p, stored);
	fetch_buffer_done(b->f, stored, p.length);
}

static void run_line(struct pool_job *job)
{
	struct line *l = container_of(job, struct line, job);
	struct batch *b = l->b;
	struct cancel before = cancel_set(b->cancel);

	read_run(b, l->from, l->to);
	cancel_set(before);
	fetch_line_done(b->f);
	DROP(lock) pthread_mutex_t *held = lock(&b->lock);
	(void)held;
	b->lines_left--;
	pthread_cond_signal(&b->done);
}

static void read_runs(struct batch *b)
{
	struct line lines[FRAMES_MAX];
	uint32_t n = 0, from, to;

	qsort(b->w, b->nw, sizeof(*b->w), by_place);
	/* All but the last on lines, as far as there are any. */
	for (from = 0; from < b->nw; from = to) {
		struct line *l = &lines[n];

		to = run_end(b, from);
		*l = (struct line){ .b = b, .from = from, .to = to };
		l->job.work = run_line;
		pthread_mutex_lock(&b->lock);
		b->lines_left++;
		pthread_mutex_unlock(&b->lock);
		if (to < b->nw && fetch_submit_line(b->f, &l->job)) {
			n++;
			continue;
		}
		pthread_mutex_lock(&b->lock);
		b->lines_left--;
		pthread_mutex_unlock(&b->lock);
		read_run(b, from, to);
	}
	DROP(lock) pthread_mutex_t *held = lock(&b->lock);
	while (b->lines_left)
		pthread_cond_wait(&b->done, held);
}

/* --- what somebody else is making, or has failed to make --- */

struct alone {
	struct batch *b;
	struct want w;
};

static int fill_alone(void *ctx, struct cache_value *out)
{
	struct alone *a = ctx;
	uint8_t *plain = NULL;
	int r = fetch_alone(a->b, &a->w, &plain);

	if (r)
		return r;
	out->data = plain;
	out->size = vf_frame_length(tree_geometry(a->b->t), a->w.frame);
	return 0;
}

static int wait_for_others(struct batch *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct alone a = { b, { b->first + i, b->e[i], NULL, i } };
		uint8_t key[CACHE_KEY_SIZE];
		int r;

		if (!b->e[i] || b->blobs[i])
			continue;
		frame_key(b->e[i], key);
		r = cache_get(b->cache, key, fill_alone, &a, &b->blobs[i]);
		if (r)
			return r;
	}
	return 0;
}

static int check_lengths(const struct batch *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		if (b->blobs[i] &&
		    b->blobs[i]->size !=
			    vf_frame_length(tree_geometry(b->t), b->first + i))
			return fail(
				-EBADMSG,
				"two frames of different length have one digest");
	return 0;
}

static int run_batch(struct batch *b)
{
	int r = look_up(b);

	if (!r)
		r = claim_all(b);
	if (r) {
		land_failed(b, 0, b->nw, r);
		return r;
	}
	take_from_stash(b);
	read_runs(b);
	/* Not again at once: what failed has been tried for long enough. */
	if (b->failure.code)
		return err_load(&b->failure);
	if (!b->blobs)
		return 0;
	r = wait_for_others(b);
	return r ? r : check_lengths(b);
}

static int batch(struct tree *t, uint64_t first, uint32_t n,
		 struct cache_blob **blobs)
{
	struct batch b = {
		.t = t,
		.f = vault_fetch(tree_vault(t)),
		.cache = vault_cache(tree_vault(t)),
		.first = first,
		.n = n,
		.blobs = blobs,
	};
	int r;

	b.cancel = cancel_set((struct cancel){ NULL, NULL });
	cancel_set(b.cancel);
	pthread_mutex_init(&b.lock, NULL);
	pthread_cond_init(&b.done, NULL);
	r = run_batch(&b);
	for (uint32_t i = 0; i < b.ntables; i++)
		cache_unref(b.tables[i]);
	pthread_cond_destroy(&b.done);
	pthread_mutex_destroy(&b.lock);
	return r;
}

int frames_get(struct tree *t, uint64_t first, uint32_t n,
	       struct cache_blob **blobs)
{
	int r;

	memset(blobs, 0, n * sizeof(*blobs));
	r = batch(t, first, n, blobs);
	for (uint32_t i = 0; r && i < n; i++)
		cache_unref(take(blobs[i]));
	return r;
}

void frames_ahead(struct tree *t, uint64_t first, uint32_t n)
{
	if (batch(t, first, n, NULL))
		err_clear();
}
