// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One disk of a backup:
 *
 *	plan -> [ worker: read, hash, compare, pack ] ... -> in order again, in the
 *	caller's thread: frames to segments, table and pages to index objects, what is dead
 *	to dead pages -> [ putters ]
 *
 * Only the caller's thread touches the tree and the objects that are being
 * filled, so nothing there is locked. Memory: depth chunks, one page a level,
 * the segments on their way.
 */
#include "backend/vault/writer_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/base/parse.h"

/*
 * Order matters at the end: workers first, then the puts on their way, then
 * what both of them use. See release().
 */
struct disk_run {
	struct backup_run *run;
	const struct backup_disk *d;
	struct chunk_shared shared;
	struct plan plan;
	struct outbox *box;
	struct out out;
	struct dead dead;
	struct adopt *adopt;
	struct build build;
	struct ordered *ordered;
	struct item *items;
	size_t nitems;
	struct item **idle;
	size_t nidle;
	uint64_t read_bytes, data_bytes;
	uint64_t done_before; /* progress of the disks before */
};

static void release(struct disk_run *x)
{
	ordered_free(x->ordered);
	out_release(&x->out);
	for (size_t i = 0; x->items && i < x->nitems; i++) {
		if (x->box)
			outbox_unref(x->box, x->items[i].plain);
		item_release(&x->items[i]);
	}
	outbox_free(x->box);
	build_release(&x->build);
	plan_release(&x->plan);
	adopt_close(x->adopt);
	dead_release(&x->dead);
	tree_close(x->shared.base);
	free(x->items);
	free(x->idle);
}

static int run_item(void *ctx, void *item)
{
	return chunk_work(item);
}

static int init_items(struct disk_run *x)
{
	size_t per = x->run->w->nadopted * x->shared.g.frames_per_chunk;
	int r = 0;

	x->nitems = 2 * pool_threads(x->run->pool) + 2;
	x->items = calloc(x->nitems, sizeof(*x->items));
	x->idle = calloc(x->nitems, sizeof(*x->idle));
	if (!x->items || !x->idle)
		return fail(-ENOMEM, "no memory for a backup");
	for (size_t i = 0; i < x->nitems && !r; i++) {
		r = item_init(&x->items[i], &x->shared, per);
		x->idle[x->nidle++] = &x->items[i];
	}
	return r;
}

/* The disk of this name in the base: *chunk_log2 is then the lineage's. */
static int open_base(struct disk_run *x, uint8_t *chunk_log2)
{
	struct vault_point *base = x->run->base;
	char when[TIME_TEXT_SIZE];
	int r;

	for (size_t i = 0; base && i < base->p.ndisks; i++) {
		if (strcmp(base->p.disks[i].name, x->d->name))
			continue;
		r = tree_open(x->run->w->v, base, i, &x->shared.base);
		if (r)
			return r;
		x->shared.base_g = *tree_geometry(x->shared.base);
		*chunk_log2 = x->shared.base_g.chunk_log2;
		x->data_bytes = base->p.disks[i].data_bytes;
		return 0;
	}
	if (!x->d->changed)
		return 0;
	time_iso(base->p.time_ns, when);
	return fail(
		-EINVAL,
		"point %s has no such disk: it has to be read as a whole, without a list of changed extents",
		when);
}

static int init(struct disk_run *x)
{
	const struct backup_request *rq = x->run->rq;
	struct writer *w = x->run->w;
	uint8_t log2 = rq->chunk_log2 ? rq->chunk_log2 : VF_CHUNK_LOG2;
	int r = open_base(x, &log2);

	if (!r)
		r = vf_geometry(source_size(x->d->image), log2, &x->shared.g);
	if (!r)
		r = outbox_new(w->store, (size_t)1 << log2, &x->box);
	if (!r)
		r = out_init(&x->out, x->box, w, x->d->name);
	if (r)
		return r;
	x->shared.w = w;
	x->shared.image = x->d->image;
	x->shared.disk_key = x->out.disk_key;
	dead_init(&x->dead, &x->out);
	r = plan_init(&x->plan, x->d, &x->shared.g, x->shared.base,
		      rq->check_percent);
	if (!r)
		r = adopt_open(w, x->out.disk_key, &x->dead, &x->adopt);
	if (!r)
		r = build_init(&x->build, &x->shared.g, x->shared.base, &x->out,
			       &x->dead);
	if (!r)
		r = init_items(x);
	if (!r)
		r = ordered_new(x->run->pool, x->nitems, run_item, NULL,
				&x->ordered);
	return r;
}

/* --- what a worker made of a chunk --- */

static void count_frames(struct disk_run *x, const struct item *it)
{
	struct backup_result *res = x->run->result;

	for (uint32_t f = 0; f < it->frames; f++) {
		if (!(it->wanted >> f & 1))
			continue;
		if (it->how[f] == FRAME_ZERO)
			res->zero_frames++;
		else if (it->same || it->how[f] == FRAME_BASE)
			res->reused_frames++;
		else if (it->how[f] == FRAME_ADOPTED)
			res->adopted_frames++;
		else
			res->new_frames++;
	}
}

static uint64_t frame_bytes(const struct vf_geometry *g, uint64_t chunk,
			    uint32_t f)
{
	return vf_frame_length(g, chunk * g->frames_per_chunk + f);
}

/* Frames of the base's chunk that the new one does not keep, and its table. */
static int bury_old(struct disk_run *x, const struct item *it)
{
	const struct vf_node *old = it->old_table ? it->old_table->data : NULL;
	int r = 0;

	for (uint32_t f = 0; old && f < it->old_frames && !r; f++) {
		const struct vf_entry *e = &old->e[f];

		if (digest_is_zero(&e->id))
			continue;
		x->data_bytes -= frame_bytes(&x->shared.base_g, it->chunk, f);
		/* The same place is kept at the same frame, or nowhere. */
		if (f >= it->frames || it->how[f] == FRAME_ZERO ||
		    !place_equal(&it->table->e[f].place, &e->place))
			r = dead_add(&x->dead, &e->place);
	}
	return r ? r : dead_add(&x->dead, &it->old.place);
}

static int store_new(struct disk_run *x, struct item *it)
{
	/* Few raw frames are copied: else one would keep a whole chunk's buffer
	 * until the segment is full. */
	bool hold = it->raw_bytes >= (1u << x->shared.g.chunk_log2) / 2;
	int r = 0;

	for (uint32_t f = 0; f < it->frames && !r; f++) {
		if (it->how[f] != FRAME_ZERO)
			x->data_bytes +=
				frame_bytes(&x->shared.g, it->chunk, f);
		if (it->how[f] == FRAME_NEW)
			r = out_frame(&x->out, &it->stored[f], it->bytes[f],
				      hold && it->stored[f].raw ? it->plain
								: NULL,
				      &it->table->e[f].place);
	}
	return r;
}

static int take_chunk(struct disk_run *x, struct item *it)
{
	struct vf_entry e = { .id = it->id };
	int r;

	if (it->same)
		return build_chunk(&x->build, it->chunk, &it->old);
	r = store_new(x, it);
	if (!r)
		r = bury_old(x, it);
	if (!r && !digest_is_zero(&it->id))
		r = out_table(&x->out, it->table, &e.place);
	if (!r)
		r = build_chunk(&x->build, it->chunk, &e);
	return r;
}

static int differs(struct disk_run *x, const struct item *it)
{
	char when[TIME_TEXT_SIZE];

	time_iso(x->run->base->p.time_ns, when);
	return fail(
		-EBADMSG,
		"chunk at offset %" PRIu64
		" differs from point %s although the extents do not list it",
		it->chunk << x->shared.g.chunk_log2, when);
}

static int finish_item(struct disk_run *x, struct item *it)
{
	int r = 0;

	x->read_bytes += it->read_bytes;
	x->run->result->read_bytes += it->read_bytes;
	count_frames(x, it);
	if (it->check && !it->same)
		return differs(x, it);
	/* A chunk that was only checked is left to the next build_keep(). */
	if (!it->check) {
		r = build_keep(&x->build, it->chunk);
		if (!r)
			r = take_chunk(x, it);
	}
	for (size_t i = 0; i < it->ncandidates && !r; i++)
		if (!it->candidates[i].used)
			r = dead_add(&x->dead, &it->candidates[i].place);
	return r;
}

/* --- the pipeline --- */

static void recycle(struct disk_run *x, struct item *it)
{
	outbox_unref(x->box, take(it->plain));
	cache_unref(take(it->old_table));
	x->idle[x->nidle++] = it;
}

/* 0: nothing more to do. */
static int push_next(struct disk_run *x)
{
	struct item *it;
	int r;

	assert(x->nidle);
	it = x->idle[x->nidle - 1];
	r = plan_next(&x->plan, it);
	if (r <= 0)
		return r;
	it->ncandidates = 0;
	r = adopt_next(x->adopt, it->chunk * x->shared.g.frames_per_chunk,
		       it->frames, it->candidates, &it->ncandidates);
	if (!r)
		r = outbox_plain(x->box, &it->plain);
	if (r)
		return r;
	x->nidle--;
	ordered_push(x->ordered, it);
	return 1;
}

static int tell(struct disk_run *x, const struct item *it)
{
	struct backup_progress *p = &x->run->progress;
	const struct backup_request *rq = x->run->rq;
	uint64_t total = plan_total(x->d, rq->check_percent);
	uint64_t done = total;

	if (x->plan.whole && it)
		done = (it->chunk + 1) << x->shared.g.chunk_log2;
	else if (it)
		done = p->done - x->done_before +
		       (uint64_t)__builtin_popcountll(it->wanted) *
			       VF_FRAME_SIZE;
	p->done = x->done_before + min_u64(done, total);
	p->stored = x->run->result->stored_bytes + outbox_bytes(x->box);
	p->disk = x->d->name;
	if (rq->progress && rq->progress(rq->progress_ctx, p))
		return fail(-ECANCELED, "stopped");
	return 0;
}

static int pump(struct disk_run *x)
{
	bool more = true;

	for (;;) {
		void *item;
		struct item *it;
		int r = 0;

		while (more && ordered_room(x->ordered)) {
			r = push_next(x);
			if (r < 0)
				return r;
			more = r > 0;
		}
		r = ordered_pop(x->ordered, &item);
		it = item;
		if (!it)
			return r;
		if (!r)
			r = finish_item(x, it);
		if (!r)
			r = tell(x, it);
		recycle(x, it);
		if (r)
			return r;
	}
}

static int finish_tree(struct disk_run *x)
{
	int r = build_keep(&x->build, x->shared.g.chunks);

	if (!r)
		r = build_finish(&x->build);
	if (!r)
		r = adopt_finish(x->adopt);
	if (!r)
		r = dead_finish(&x->dead);
	if (!r)
		r = out_flush(&x->out);
	if (!r)
		r = outbox_drain(x->box);
	if (!r)
		r = buf_check(&x->build.root_page, "the root page");
	return r;
}

static int unchanged(struct disk_run *x)
{
	int r = x->d->unchanged ? x->d->unchanged(x->d->image) : 0;

	if (r == -ESTALE)
		r = fail(
			-ESTALE,
			"the image changed while it was read; snapshot it first");
	return r;
}

static int run_disk(struct disk_run *x, struct vf_disk *out, struct buf *root)
{
	int r = init(x);

	if (!r)
		r = pump(x);
	if (!r)
		r = unchanged(x);
	if (!r)
		r = finish_tree(x);
	if (!r)
		r = tell(x, NULL);
	if (r)
		return r;
	memset(out, 0, sizeof(*out));
	memcpy(out->name, x->d->name, strlen(x->d->name) + 1);
	out->chunk_log2 = x->shared.g.chunk_log2;
	out->root_level = x->shared.g.root_level;
	out->caller_extents = x->d->changed != NULL;
	out->was_vhd = x->d->was_vhd;
	out->size = x->shared.g.size;
	out->root = x->build.root;
	out->dead = x->dead.last;
	out->dead_place = x->dead.last_place;
	out->dead_bytes = x->dead.bytes;
	out->data_bytes = x->data_bytes - x->build.dropped_bytes;
	out->stored_bytes = x->out.stored;
	out->read_bytes = x->read_bytes;
	buf_add(root, x->build.root_page.data, x->build.root_page.len);
	x->run->result->stored_bytes += x->out.stored;
	return buf_check(root, "root pages");
}

int backup_disk(struct backup_run *run, const struct backup_disk *d,
		struct vf_disk *out, struct buf *root)
{
	struct disk_run x = { .run = run,
			      .d = d,
			      .done_before = run->progress.done };
	int r;

	run->progress.disk = d->name;
	r = run_disk(&x, out, root);
	release(&x);
	return r ? blame(r, "%s", d->name) : 0;
}
