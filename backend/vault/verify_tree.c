// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One disk. This thread walks the pages; the frame table of each chunk, and its
 * frames, are a worker's. A child whose entry (id and place) is that of the old
 * tree is passed over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/vault/verify_impl.h"

/* --- objects whose length is known --- */

/* Frames of one object come one after the other, so that a small table that
 * forgets asks the store for each about once. */
#define KNOWN_SLOTS 8192
#define TOLD_MAX 65536

struct known_object {
	struct digest key;
	uint64_t size;
};

struct known_objects {
	pthread_mutex_t lock; /* protects slots */
	struct known_object slots[KNOWN_SLOTS];
};

int known_objects_new(struct known_objects **ret)
{
	struct known_objects *k = calloc(1, sizeof(*k));

	if (!k)
		return fail(-ENOMEM, "no memory for a list of objects");
	pthread_mutex_init(&k->lock, NULL);
	*ret = k;
	return 0;
}

void known_objects_free(struct known_objects *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static struct known_object *slot_of(struct known_objects *k,
				    const struct digest *key)
{
	return &k->slots[(key->b[0] | key->b[1] << 8) % KNOWN_SLOTS];
}

static bool known(struct known_objects *k, const struct digest *key,
		  uint64_t *size)
{
	DROP(lock) pthread_mutex_t *held = lock(&k->lock);
	struct known_object *s = slot_of(k, key);

	(void)held;
	*size = s->size;
	return digest_equal(&s->key, key);
}

static void remember(struct known_objects *k, const struct digest *key,
		     uint64_t size)
{
	DROP(lock) pthread_mutex_t *held = lock(&k->lock);

	(void)held;
	*slot_of(k, key) = (struct known_object){ *key, size };
}

/* --- a chunk, on a worker --- */

struct failure {
	struct failure *next;
	bool of_object; /* told once, whatever frames need it */
	struct digest object;
	struct err_saved why;
};

struct chunk_job {
	uint64_t chunk;
	/* Results. */
	uint64_t frames, bytes;
	struct failure *first, **last;
};

struct disk_walk {
	struct verify *f;
	struct tree *t, *old;
	char vm_key[CATALOG_NAME_MAX + 1], disk_key[CATALOG_NAME_MAX + 1];
	struct ordered *q;
	struct chunk_job *jobs;
	size_t depth, pushed;
};

/* Fails only for lack of memory; r itself is kept for later. */
static int note(struct chunk_job *j, int r, const struct digest *object)
{
	struct failure *x;

	if (verify_fatal(r))
		return r;
	x = calloc(1, sizeof(*x));
	if (!x)
		return fail(-ENOMEM, "no memory for what is bad");
	err_save(r, &x->why);
	if (object) {
		x->of_object = true;
		x->object = *object;
	}
	*j->last = x;
	j->last = &x->next;
	return 0;
}

static bool same_entry(const struct vf_entry *a, const struct vf_entry *b)
{
	return digest_equal(&a->id, &b->id) &&
	       point_id_equal(&a->place.gen, &b->place.gen) &&
	       a->place.object == b->place.object &&
	       a->place.offset == b->place.offset &&
	       a->place.length == b->place.length &&
	       a->place.flags == b->place.flags;
}

/* Entry i of what a blob holds: a node, or NULL when it is not there. */
static const struct vf_entry *entry_of(const struct cache_blob *b, uint32_t i)
{
	const struct vf_node *n = b ? b->data : NULL;

	return n && i < n->count ? &n->e[i] : NULL;
}

/* The trailer of a segment, which is not needed to read it, but to mend it. */
static int check_trailer(struct disk_walk *w, const char *key,
			 const struct place *p, uint64_t size)
{
	struct store *s = vault_store(w->f->v);
	DROP(mem) struct vf_segment_frame *frames = NULL;
	DROP(mem) uint8_t *trailer = NULL;
	uint8_t end[8];
	uint32_t len;
	size_t n;
	int r;

	if (size < sizeof(end))
		return fail(-EPROTO, "%s has no trailer", key);
	r = store_read(s, key, end, sizeof(end), size - sizeof(end));
	if (r == 0)
		r = vf_trailer_length(end, &len);
	if (r < 0)
		return blame(r, "%s", key);
	if (len > size - sizeof(end) || !len)
		return fail(-EPROTO, "%s: a trailer of %" PRIu32 " bytes", key,
			    len);
	trailer = malloc(len);
	if (!trailer)
		return fail(-ENOMEM, "no memory for a trailer");
	r = store_read(s, key, trailer, len, size - sizeof(end) - len);
	if (r == 0)
		r = vf_trailer_parse(trailer, len, &p->gen, p->object, &frames,
				     &n);
	return r < 0 ? blame(r, "%s", key) : 0;
}

/* Is it where a relocate commit put it? */
static bool was_moved(struct disk_walk *w, const struct place *p)
{
	DROP(mem) uint8_t *bytes = malloc(p->length);

	return w->f->head->c.last_relocate && bytes &&
	       tree_read_place(w->t, p, bytes) == 0;
}

/*
 * The object of a place is there, is long enough, and has its trailer. *object:
 * the digest of its key, for telling; *readable: the place itself can be read.
 */
static int check_object(struct disk_walk *w, const struct place *p,
			struct digest *object, bool *readable)
{
	char key[VF_KEY_SIZE];
	uint64_t size;
	bool segment = !(p->flags & (PLACE_INDEX | PLACE_POINT));
	int r, trailer = 0;

	vf_key_place(key, w->vm_key, w->disk_key, p);
	sha256(key, strlen(key), object);
	if (!known(w->f->objects, object, &size)) {
		*readable = false;
		r = store_stat(vault_store(w->f->v), key, &size);
		if (r == -ENOENT && was_moved(w, p)) {
			*readable = true;
			return 0;
		}
		if (r == -ENOENT)
			return fail(r, "object %s is missing", key);
		if (r < 0)
			return r;
		remember(w->f->objects, object, size);
		if (segment && w->f->rq->level >= VERIFY_CHECKSUMS)
			trailer = check_trailer(w, key, p, size);
	}
	*readable = (uint64_t)p->offset + p->length <= size;
	if (!*readable)
		return fail(-EIO,
			    "object %s is cut short: %" PRIu64
			    " bytes, %" PRIu64 " are needed",
			    key, size, (uint64_t)p->offset + p->length);
	return trailer;
}

/*
 * Frames of a chunk that lie side by side in one object are read together. What is wrong
 * with one of them is then said by reading it alone.
 */
#define RUN_MAX (1u << 20)

struct run {
	struct place at; /* length 0: nothing was read */
	uint8_t *bytes;
};

static void drop_run(struct run *r)
{
	free(r->bytes);
}

/* Where it lies in what was read, or NULL. */
static const uint8_t *in_run(const struct run *r, const struct place *p)
{
	if (!point_id_equal(&r->at.gen, &p->gen) || r->at.object != p->object ||
	    p->offset < r->at.offset ||
	    (uint64_t)p->offset + p->length >
		    (uint64_t)r->at.offset + r->at.length)
		return NULL;
	return r->bytes + (p->offset - r->at.offset);
}

static void read_run(struct disk_walk *w, struct run *r,
		     const struct vf_node *table, uint32_t i)
{
	const struct vf_entry *e = &table->e[i];

	r->at = e->place;
	while (++i < table->count) {
		const struct place *p = &table->e[i].place;

		if (digest_is_zero(&table->e[i].id) ||
		    p->object != r->at.object ||
		    !point_id_equal(&p->gen, &r->at.gen) ||
		    p->offset != (uint64_t)r->at.offset + r->at.length ||
		    p->length > RUN_MAX - r->at.length)
			break;
		r->at.length += p->length;
	}
	if (r->at.length > RUN_MAX) {
		r->at.length = 0;
		return;
	}
	free(r->bytes);
	r->bytes = malloc(r->at.length);
	if (!r->bytes || tree_read_place(w->t, &r->at, r->bytes)) {
		err_clear();
		r->at.length = 0;
	}
}

static int read_frame(struct disk_walk *w, struct run *run,
		      const struct vf_node *table, uint32_t i, uint64_t frame)
{
	const struct vf_entry *e = &table->e[i];
	const uint8_t *stored = in_run(run, &e->place);
	uint8_t plain[VF_FRAME_SIZE];

	if (!stored) {
		read_run(w, run, table, i);
		stored = in_run(run, &e->place);
	}
	if (stored && tree_check_frame(w->t, frame, e, stored, plain) == 0)
		return 0;
	return tree_read_frame(w->t, frame, e, plain);
}

static int check_frame(struct disk_walk *w, struct chunk_job *j,
		       struct run *run, const struct vf_node *table, uint32_t i)
{
	uint64_t frame = j->chunk * tree_geometry(w->t)->frames_per_chunk + i;
	const struct vf_entry *e = &table->e[i];
	struct digest object;
	bool readable;
	int r = check_object(w, &e->place, &object, &readable);

	j->frames++;
	if (r < 0) {
		r = note(j, r, &object);
		if (r < 0 || !readable)
			return r;
	}
	if (w->f->rq->level < VERIFY_DATA) {
		j->bytes += e->place.length;
		return 0;
	}
	j->bytes += vf_frame_length(tree_geometry(w->t), frame);
	r = read_frame(w, run, table, i, frame);
	return r < 0 ? note(j, r, NULL) : 0;
}

static int check_frames(struct disk_walk *w, struct chunk_job *j,
			const struct vf_node *table,
			const struct cache_blob *old)
{
	DROP(run) struct run run = { 0 };
	int r = 0;

	for (uint32_t i = 0; i < table->count && r == 0; i++) {
		const struct vf_entry *e = &table->e[i];
		const struct vf_entry *o = entry_of(old, i);

		if (digest_is_zero(&e->id) || (o && same_entry(e, o)))
			continue;
		r = check_frame(w, j, &run, table, i);
	}
	return r;
}

static int run_chunk(void *ctx, void *item)
{
	struct disk_walk *w = ctx;
	struct chunk_job *j = item;
	DROP(cache_blob) struct cache_blob *table = NULL;
	DROP(cache_blob) struct cache_blob *old = NULL;
	int r = tree_table(w->t, j->chunk, &table);

	if (r < 0)
		return note(j, r, NULL);
	if (!table)
		return 0;
	/* Only a help: without it more frames are looked at. */
	if (w->old && j->chunk < tree_geometry(w->old)->chunks &&
	    tree_table(w->old, j->chunk, &old) < 0)
		old = NULL;
	return check_frames(w, j, table->data, old);
}

/* --- the walk, on the caller's thread --- */

static bool told_before(struct verify *f, const struct digest *object)
{
	struct digest *told;

	/* The newest first: frames of one object come together. */
	for (size_t i = f->ntold; i-- > 0;)
		if (digest_equal(&f->told[i], object))
			return true;
	if (f->ntold == TOLD_MAX)
		return false;
	if ((f->ntold & (f->ntold - 1)) == 0) {
		told = reallocarray(f->told, f->ntold ? f->ntold * 2 : 1,
				    sizeof(*told));
		if (!told)
			return false; /* then it is told again */
		f->told = told;
	}
	f->told[f->ntold++] = *object;
	return false;
}

/* Tells of all failures of a chunk, or only frees them. */
static void finish_failures(struct disk_walk *w, struct chunk_job *j, bool tell)
{
	while (j->first) {
		struct failure *x = j->first;

		j->first = x->next;
		w->f->failures += tell;
		if (tell && x->of_object && told_before(w->f, &x->object))
			w->f->point_bad = true;
		else if (tell)
			verify_tell(w->f, err_load(&x->why));
		free(x);
	}
}

static int pop(struct disk_walk *w)
{
	struct chunk_job *j;
	void *item;
	int r = ordered_pop(w->q, &item);

	j = item;
	if (!j)
		return r;
	w->f->out->nodes++;
	w->f->out->frames += j->frames;
	w->f->out->bytes += j->bytes;
	if (r < 0)
		return r;
	finish_failures(w, j, true);
	return verify_progress(
		w->f, (double)j->chunk / (double)tree_geometry(w->t)->chunks);
}

static int push(struct disk_walk *w, uint64_t chunk)
{
	struct chunk_job *j;
	int r = ordered_room(w->q) ? 0 : pop(w);

	if (r < 0)
		return r;
	j = &w->jobs[w->pushed++ % w->depth];
	*j = (struct chunk_job){ .chunk = chunk };
	j->last = &j->first;
	ordered_push(w->q, j);
	return 0;
}

/* The page of the old tree in the same position, if it has one. */
static void old_page(struct disk_walk *w, uint8_t level, uint64_t number,
		     struct cache_blob **ret)
{
	const struct vf_geometry *g = w->old ? tree_geometry(w->old) : NULL;

	*ret = NULL;
	if (!g || level > g->root_level ||
	    number << vf_level_shift(level) >= g->chunks)
		return;
	if (tree_page(w->old, level, number, ret) < 0)
		*ret = NULL;
}

static int walk_page(struct disk_walk *w, uint8_t level, uint64_t number)
{
	DROP(cache_blob) struct cache_blob *page = NULL;
	DROP(cache_blob) struct cache_blob *old = NULL;
	const struct vf_node *n;
	unsigned log2 = level ? VF_INNER_LOG2 : VF_LEAF_LOG2;
	int r = tree_page(w->t, level, number, &page);

	if (r < 0 && !verify_fatal(r)) {
		w->f->failures++;
		verify_tell(w->f, r);
		return 0;
	}
	if (r < 0 || !page)
		return r;
	w->f->out->nodes++;
	old_page(w, level, number, &old);
	n = page->data;
	for (uint32_t i = 0; i < n->count && r == 0; i++) {
		const struct vf_entry *o = entry_of(old, i);
		uint64_t child = (number << log2) + i;

		if (digest_is_zero(&n->e[i].id) ||
		    (o && same_entry(&n->e[i], o)))
			continue;
		if (level)
			r = walk_page(w, (uint8_t)(level - 1), child);
		else
			r = push(w, child);
	}
	return r;
}

/* Nothing in flight may be left behind, nor what it found. */
static int drain(struct disk_walk *w, int r)
{
	struct err_saved why;

	while (r == 0 && ordered_inflight(w->q))
		r = pop(w);
	if (r < 0)
		err_save(r, &why);
	ordered_free(take(w->q));
	for (size_t i = 0; i < w->depth; i++)
		finish_failures(w, &w->jobs[i], false);
	return r < 0 ? err_load(&why) : 0;
}

int verify_disk(struct verify *f, struct tree *t, struct tree *old)
{
	struct disk_walk w = { .f = f, .t = t, .old = old };
	DROP(mem) struct chunk_job *jobs = NULL;
	int r;

	/* Other chunks: nothing in the one is anything in the other. */
	if (old &&
	    tree_geometry(old)->chunk_log2 != tree_geometry(t)->chunk_log2)
		w.old = NULL;
	w.depth = 4 * (size_t)pool_threads(f->pool);
	w.jobs = jobs = calloc(w.depth, sizeof(*jobs));
	if (!jobs)
		return fail(-ENOMEM, "no memory for chunks");
	r = vf_name_encode(f->head->vm, w.vm_key);
	if (r == 0)
		r = vf_name_encode(tree_disk(t)->name, w.disk_key);
	if (r == 0)
		r = ordered_new(f->pool, w.depth, run_chunk, &w, &w.q);
	if (r < 0)
		return r;
	return drain(&w, walk_page(&w, tree_geometry(t)->root_level, 0));
}
