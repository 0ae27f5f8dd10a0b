// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * disk: the image of one disk of one recovery point, out of its chunk tree.
 *
 * A read is cut into chunks, and a chunk into runs of frames that lie side by
 * side in one object: a run is one request. Frames that are wanted whole and
 * stored raw are read straight into the reader's buffer and hashed there. A
 * frame that is wanted in part goes through the cache, under its digest, so
 * that its neighbours in it come for nothing.
 *
 * Where the vault is far away (vault_fetch()), all goes through the cache by
 * frames_get(), and who reads in order finds there what frames_ahead() has brought. Work
 * ahead holds the disk: closing it waits for that, after it was told to stop.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/source/cache.h"
#include "backend/source/source.h"
#include "backend/source/stream.h"
#include "backend/vault/codec.h"
#include "backend/vault/fetch.h"
#include "backend/vault/vault.h"

/* One request asks for at most so much. */
#define RUN_MAX (1u << 20)

struct disk_source {
	struct source s;
	struct vault *v;
	struct tree *t;
	struct fetch *fetch; /* NULL: near */

	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t idle;
	struct streams streams;
	unsigned ahead; /* windows under way */
	bool reader;	/* is counted by fetch */
	atomic_bool closing;
};

static const struct vf_node *node_of(const struct cache_blob *b)
{
	return b->data;
}

/* --- a frame in part --- */

struct frame_fill {
	struct disk_source *d;
	uint64_t frame;
	const struct vf_entry *e;
};

static int fill_frame(void *ctx, struct cache_value *out)
{
	struct frame_fill *f = ctx;
	uint32_t len = vf_frame_length(tree_geometry(f->d->t), f->frame);
	DROP(mem) uint8_t *plain = malloc(len);
	int r;

	if (!plain)
		return fail(-ENOMEM, "no memory for a frame");
	r = tree_read_frame(f->d->t, f->frame, f->e, plain);
	if (r)
		return r;
	out->data = take(plain);
	out->size = len;
	return 0;
}

static int read_part(struct disk_source *d, uint64_t frame,
		     const struct vf_entry *e, void *buf, size_t len,
		     size_t skip)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	struct frame_fill f = { .d = d, .frame = frame, .e = e };
	uint8_t key[CACHE_KEY_SIZE];
	int r;

	cache_key("frame", e->id.b, sizeof(e->id.b), key);
	r = cache_get(vault_cache(d->v), key, fill_frame, &f, &b);
	if (r)
		return r;
	if (b->size < skip + len)
		return fail(-EBADMSG,
			    "two frames of different length have one digest");
	memcpy(buf, (const uint8_t *)b->data + skip, len);
	return 0;
}

/* --- whole frames --- */

/* How many frames from e on (at most n) lie side by side, and their stored
 * bytes. */
static uint32_t run_of(const struct vf_entry *e, uint32_t n, uint32_t *bytes,
		       bool *raw)
{
	uint32_t k = 1;

	*bytes = e->place.length;
	*raw = e->place.flags & PLACE_RAW;
	for (; k < n; k++) {
		const struct place *p = &e[k].place;

		if (digest_is_zero(&e[k].id) || p->object != e->place.object ||
		    !point_id_equal(&p->gen, &e->place.gen) ||
		    p->offset != e->place.offset + (uint64_t)*bytes ||
		    p->length > RUN_MAX - *bytes)
			break;
		*bytes += p->length;
		*raw = *raw && (p->flags & PLACE_RAW);
	}
	return k;
}

/* Checks frames that were read as one run; false: one of them does not
 * match. */
static bool run_checks(struct disk_source *d, uint64_t frame,
		       const struct vf_entry *e, uint32_t n,
		       const uint8_t *stored, bool in_place, uint8_t *out)
{
	const struct vf_geometry *g = tree_geometry(d->t);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = vf_frame_length(g, frame + i);
		struct digest got;

		if (in_place) {
			if (e[i].place.length != len)
				return false;
		} else if (e[i].place.flags & PLACE_RAW) {
			if (e[i].place.length != len)
				return false;
			memcpy(out, stored, len);
		} else if (codec_unpack(stored, e[i].place.length, out, len)) {
			return false;
		}
		sha256(out, len, &got);
		if (!digest_equal(&got, &e[i].id))
			return false;
		stored += e[i].place.length;
		out += len;
	}
	return true;
}

/* n whole frames, none of them zero, side by side in one object. */
static int read_run(struct disk_source *d, uint64_t frame,
		    const struct vf_entry *e, uint32_t n, uint32_t bytes,
		    bool raw, uint8_t *out)
{
	const struct vf_geometry *g = tree_geometry(d->t);
	DROP(mem) uint8_t *scratch = NULL;
	struct place p = e->place;
	uint64_t plain = 0;
	uint8_t *stored = out;
	int r;

	for (uint32_t i = 0; i < n; i++)
		plain += vf_frame_length(g, frame + i);
	/* Raw frames of the right lengths fill the reader's own buffer. */
	if (!raw || plain != bytes) {
		scratch = malloc(bytes);
		if (!scratch)
			return fail(-ENOMEM, "no memory for a read");
		stored = scratch;
	}
	p.length = bytes;
	r = tree_read_place(d->t, &p, stored);
	if (!r && run_checks(d, frame, e, n, stored, !scratch, out))
		return 0;
	if (r && r != -EIO && r != -ENOENT && r != -ESTALE)
		return r;
	/*
	 * Something in the run is wrong or was moved: each frame by itself
	 * finds which, looks where it moved to, and says so.
	 */
	for (uint32_t i = 0; i < n; i++) {
		r = tree_read_frame(d->t, frame + i, &e[i], out);
		if (r)
			return r;
		out += vf_frame_length(g, frame + i);
	}
	return 0;
}

/* --- a chunk --- */

/* [skip, skip+len) of a chunk. */
static int read_chunk(struct disk_source *d, uint64_t chunk, uint8_t *buf,
		      size_t len, size_t skip)
{
	DROP(cache_blob) struct cache_blob *table = NULL;
	const struct vf_geometry *g = tree_geometry(d->t);
	uint64_t first = chunk * g->frames_per_chunk;
	uint32_t count = vf_chunk_frames(g, chunk);
	uint32_t i = (uint32_t)(skip >> VF_FRAME_LOG2);
	int r = tree_table(d->t, chunk, &table);

	if (r)
		return r;
	if (!table) {
		memset(buf, 0, len);
		return 0;
	}
	skip &= VF_FRAME_SIZE - 1;
	while (len) {
		const struct vf_entry *e = &node_of(table)->e[i];
		size_t here = vf_frame_length(g, first + i);
		size_t n = min_u64(here - skip, len);

		if (digest_is_zero(&e->id)) {
			memset(buf, 0, n);
			i++;
		} else if (n < here) {
			r = read_part(d, first + i, e, buf, n, skip);
			if (r)
				return r;
			i++;
		} else {
			uint32_t whole = 0, bytes, k;
			size_t room = len;
			bool raw;

			n = 0;
			while (i + whole < count &&
			       vf_frame_length(g, first + i + whole) <= room)
				room -= vf_frame_length(g, first + i + whole++);
			k = run_of(e, whole, &bytes, &raw);
			r = read_run(d, first + i, e, k, bytes, raw, buf);
			if (r)
				return r;
			while (k--)
				n += vf_frame_length(g, first + i++);
		}
		skip = 0;
		buf += n;
		len -= n;
	}
	return 0;
}

static int read_near(struct disk_source *d, uint8_t *p, size_t len,
		     uint64_t off)
{
	const struct vf_geometry *g = tree_geometry(d->t);
	uint64_t size = UINT64_C(1) << g->chunk_log2;

	while (len) {
		uint64_t skip = off & (size - 1);
		size_t n = min_u64(len, size - skip);
		int r = read_chunk(d, off >> g->chunk_log2, p, n, skip);

		if (r)
			return r;
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* --- over latency --- */

struct window {
	struct pool_job job;
	struct disk_source *d;
	uint64_t first;
	uint32_t n;
};

static bool is_closing(void *ctx)
{
	struct disk_source *d = ctx;

	return atomic_load(&d->closing);
}

static size_t window_bytes(uint32_t frames)
{
	return (size_t)frames << VF_FRAME_LOG2;
}

static void run_window(struct pool_job *job)
{
	struct window *w = container_of(job, struct window, job);
	struct disk_source *d = w->d;
	struct cancel before = cancel_set((struct cancel){ is_closing, d });

	if (!is_closing(d))
		frames_ahead(d->t, w->first, w->n);
	cancel_set(before);
	fetch_window_done(d->fetch, window_bytes(w->n));
	free(w);
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);
	(void)held;
	d->ahead--;
	pthread_cond_signal(&d->idle);
}

/* false: there is enough under way already. */
static bool send_window(struct disk_source *d, uint64_t first, uint32_t n)
{
	struct window *w = malloc(sizeof(*w));

	if (!w)
		return false;
	*w = (struct window){ .d = d, .first = first, .n = n };
	w->job.work = run_window;
	pthread_mutex_lock(&d->lock);
	d->ahead++;
	pthread_mutex_unlock(&d->lock);
	if (fetch_submit_window(d->fetch, &w->job, window_bytes(n)))
		return true;
	free(w);
	pthread_mutex_lock(&d->lock);
	d->ahead--;
	pthread_mutex_unlock(&d->lock);
	return false;
}

static void read_ahead(struct disk_source *d, uint64_t first, uint64_t n)
{
	uint64_t frames = tree_geometry(d->t)->frames;
	uint64_t max = fetch_ahead(d->fetch), from, to, told;
	uint32_t window = fetch_window(d->fetch);
	bool begins;

	pthread_mutex_lock(&d->lock);
	streams_note(&d->streams, first, n, max, &from, &to);
	begins = from < to && !d->reader;
	d->reader |= begins;
	pthread_mutex_unlock(&d->lock);
	if (begins)
		fetch_reader(d->fetch, 1);
	told = to;
	to = min_u64(to, frames);
	while (from < to) {
		/* Up to where the next window begins for everybody. */
		uint64_t end = min_u64(to, (from / window + 1) * window);

		if (!send_window(d, from, (uint32_t)(end - from)))
			break;
		from = end;
	}
	if (from >= to)
		return;
	pthread_mutex_lock(&d->lock);
	streams_back(&d->streams, from, told);
	pthread_mutex_unlock(&d->lock);
}

static void copy_out(const struct cache_blob *b, uint8_t *buf, size_t n,
		     size_t skip)
{
	if (b)
		memcpy(buf, (const uint8_t *)b->data + skip, n);
	else
		memset(buf, 0, n);
}

static int read_far(struct disk_source *d, uint8_t *buf, size_t len,
		    uint64_t off)
{
	uint64_t first = off >> VF_FRAME_LOG2;
	uint64_t last = (off + len - 1) >> VF_FRAME_LOG2;
	size_t skip = off & (VF_FRAME_SIZE - 1);

	read_ahead(d, first, last - first + 1);
	while (len) {
		struct cache_blob *blobs[FRAMES_MAX];
		uint32_t n = (uint32_t)min_u64(last - first + 1, FRAMES_MAX);
		int r = frames_get(d->t, first, n, blobs);

		if (r)
			return r;
		for (uint32_t i = 0; i < n; i++) {
			size_t m = min_u64(VF_FRAME_SIZE - skip, len);

			copy_out(blobs[i], buf, m, skip);
			cache_unref(blobs[i]);
			buf += m;
			len -= m;
			skip = 0;
		}
		first += n;
	}
	return 0;
}

static int disk_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct disk_source *d = container_of(s, struct disk_source, s);

	if (!d->fetch)
		return read_near(d, buf, len, off);
	return len ? read_far(d, buf, len, off) : 0;
}

static void disk_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct disk_source *d = container_of(s, struct disk_source, s);
	uint64_t first = off >> VF_FRAME_LOG2, end;

	if (!d->fetch || !len)
		return;
	end = (off + len - 1) / VF_FRAME_SIZE + 1;
	for (uint32_t n; first < end; first += n) {
		n = (uint32_t)min_u64(end - first, FRAMES_MAX);
		if (!send_window(d, first, n))
			return;
	}
}

/* --- extents --- */

/*
 * If the page above chunk at some level is all zeros: how many chunks from
 * chunk on are zero for that reason; the highest such page counts. 0: none is.
 */
static int zero_chunks(struct disk_source *d, uint64_t chunk, uint64_t *n)
{
	const struct vf_geometry *g = tree_geometry(d->t);

	*n = 0;
	for (int level = g->root_level; level >= 0; level--) {
		DROP(cache_blob) struct cache_blob *b = NULL;
		unsigned shift = vf_level_shift((uint8_t)level);
		uint64_t number = chunk >> shift;
		int r = tree_page(d->t, (uint8_t)level, number, &b);

		if (r)
			return r;
		if (!b) {
			*n = min_u64((number + 1) << shift, g->chunks) - chunk;
			return 0;
		}
		if (level == 0 &&
		    digest_is_zero(
			    &node_of(b)
				     ->e[chunk & ((1u << VF_LEAF_LOG2) - 1)]
				     .id))
			*n = 1;
	}
	return 0;
}

/* The kind of the bytes at off, and where it ends for certain. */
static int step(struct disk_source *d, uint64_t off, struct extent *out)
{
	DROP(cache_blob) struct cache_blob *table = NULL;
	const struct vf_geometry *g = tree_geometry(d->t);
	uint64_t chunk = off >> g->chunk_log2;
	uint64_t first = chunk * g->frames_per_chunk;
	uint64_t end, zero;
	uint32_t i = (uint32_t)((off >> VF_FRAME_LOG2) - first);
	uint32_t count = vf_chunk_frames(g, chunk);
	int r = zero_chunks(d, chunk, &zero);

	if (r)
		return r;
	if (zero) {
		out->hole = true;
		end = (chunk + zero) << g->chunk_log2;
	} else {
		r = tree_table(d->t, chunk, &table);
		if (r)
			return r;
		out->hole = digest_is_zero(&node_of(table)->e[i].id);
		while (i < count &&
		       digest_is_zero(&node_of(table)->e[i].id) == out->hole)
			i++;
		end = (first + i) << VF_FRAME_LOG2;
	}
	out->length = min_u64(end, g->size) - off;
	return 0;
}

/* Steps of one kind are joined, but not for long: the caller may not need so
 * much. */
#define STEPS_MAX 64

static int disk_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	struct disk_source *d = container_of(s, struct disk_source, s);
	struct extent e = { 0 };

	for (int i = 0; i < STEPS_MAX; i++) {
		struct extent more;
		int r;

		if (i && (e.length >= max || off + e.length >= s->size))
			break;
		r = step(d, off + e.length, &more);
		if (r)
			return r;
		if (i && more.hole != e.hole)
			break;
		e.hole = more.hole;
		e.length += more.length;
	}
	e.length = min_u64(e.length, max);
	*out = e;
	return 0;
}

static void disk_close(struct source *s)
{
	struct disk_source *d = container_of(s, struct disk_source, s);

	atomic_store(&d->closing, true);
	pthread_mutex_lock(&d->lock);
	while (d->ahead)
		pthread_cond_wait(&d->idle, &d->lock);
	pthread_mutex_unlock(&d->lock);
	if (d->reader)
		fetch_reader(d->fetch, -1);
	tree_close(d->t);
	pthread_cond_destroy(&d->idle);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static const struct source_ops disk_ops = {
	.name = "disk",
	.read = disk_read,
	.extent = disk_extent,
	.prefetch = disk_prefetch,
	.close = disk_close,
};

int source_open_disk(struct tree *t, struct source **ret)
{
	struct disk_source *d = calloc(1, sizeof(*d));

	if (!d) {
		tree_close(t);
		return fail(-ENOMEM, "no memory for a disk");
	}
	source_init(&d->s, &disk_ops, tree_geometry(t)->size);
	d->t = t;
	d->v = tree_vault(t);
	d->fetch = vault_fetch(d->v);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->idle, NULL);
	*ret = &d->s;
	return 0;
}
