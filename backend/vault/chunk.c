// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One chunk, in a worker: read what is wanted of it, find zeros, hash, compare
 * with the base and with what killed sessions stored, and pack what is new.
 *
 * A chunk whose id is the base's keeps the base's table as it is, so that
 * nothing more has to be asked of the base.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/vault/codec.h"

int item_init(struct item *it, const struct chunk_shared *s, size_t ncandidates)
{
	memset(it, 0, sizeof(*it));
	it->shared = s;
	it->table = vf_node_new(VF_FRAMES_MAX);
	it->packed = malloc((size_t)1 << s->g.chunk_log2);
	it->scratch = malloc(VF_FRAME_SIZE);
	it->candidates = calloc(ncandidates + 1, sizeof(*it->candidates));
	if (!it->table || !it->packed || !it->scratch || !it->candidates)
		return fail(-ENOMEM, "no memory for a chunk");
	return 0;
}

void item_release(struct item *it)
{
	cache_unref(it->old_table);
	free(it->table);
	free(it->packed);
	free(it->scratch);
	free(it->candidates);
	memset(it, 0, sizeof(*it));
}

static uint64_t first_frame(const struct item *it)
{
	return it->chunk * it->shared->g.frames_per_chunk;
}

static uint32_t frame_length(const struct item *it, uint32_t f)
{
	return vf_frame_length(&it->shared->g, first_frame(it) + f);
}

static uint8_t *frame_at(const struct item *it, uint32_t f)
{
	return it->plain->data + ((size_t)f << VF_FRAME_LOG2);
}

static bool wanted(const struct item *it, uint32_t f)
{
	return it->wanted >> f & 1;
}

static const struct vf_node *old_table(const struct item *it)
{
	return it->old_table ? it->old_table->data : NULL;
}

/* --- reading --- */

static void set_zero(struct item *it, uint32_t f)
{
	it->how[f] = FRAME_ZERO;
	memset(&it->table->e[f], 0, sizeof(it->table->e[f]));
}

/* A hole: frames that lie in it as a whole are zeros unseen, of others a part
 * is. */
static void take_hole(struct item *it, size_t off, size_t end)
{
	for (uint32_t f = (uint32_t)(off >> VF_FRAME_LOG2);
	     f < it->frames && (size_t)f << VF_FRAME_LOG2 < end; f++) {
		size_t from = (size_t)f << VF_FRAME_LOG2;
		size_t to = from + frame_length(it, f);

		if (off <= from && to <= end) {
			it->holes |= UINT64_C(1) << f;
			continue;
		}
		from = max_u64(from, off);
		to = min_u64(to, end);
		memset(it->plain->data + from, 0, to - from);
	}
}

/* Bytes [off, end) of the chunk; what lies in a hole is not read. */
static int read_run(struct item *it, size_t off, size_t end)
{
	const struct chunk_shared *s = it->shared;
	uint64_t at = it->chunk << s->g.chunk_log2;

	while (off < end) {
		struct extent x = { .length = end - off };
		int r = 0;

		if (!it->all_data)
			r = source_extent(s->image, at + off, end - off, &x);
		if (r)
			return r;
		if (x.hole) {
			take_hole(it, off, off + x.length);
		} else {
			r = source_read(s->image, it->plain->data + off,
					x.length, at + off);
			it->read_bytes += x.length;
		}
		if (r)
			return r;
		off += x.length;
	}
	return 0;
}

static int read_wanted(struct item *it)
{
	uint32_t f = 0;

	it->read_bytes = 0;
	it->holes = 0;
	while (f < it->frames) {
		uint32_t from = f;
		size_t end;
		int r;

		if (!wanted(it, f)) {
			f++;
			continue;
		}
		while (f < it->frames && wanted(it, f))
			f++;
		end = ((size_t)(f - 1) << VF_FRAME_LOG2) +
		      frame_length(it, f - 1);
		r = read_run(it, (size_t)from << VF_FRAME_LOG2, end);
		if (r)
			return r;
	}
	return 0;
}

static void hash_wanted(struct item *it)
{
	for (uint32_t f = 0; f < it->frames; f++) {
		uint32_t n = frame_length(it, f);

		if (!wanted(it, f))
			continue;
		set_zero(it, f);
		if ((it->holes >> f & 1) || is_zero(frame_at(it, f), n))
			continue;
		it->how[f] = FRAME_NEW;
		sha256(frame_at(it, f), n, &it->table->e[f].id);
	}
}

/* --- comparing --- */

static int need_old_table(struct item *it)
{
	int r;

	if (it->old_table || digest_is_zero(&it->old.id))
		return 0;
	r = tree_table(it->shared->base, it->chunk, &it->old_table);
	return r ? blame(r, "the base's frame table of chunk %" PRIu64,
			 it->chunk)
		 : 0;
}

static void keep_unwanted(struct item *it)
{
	const struct vf_node *old = old_table(it);

	for (uint32_t f = 0; f < it->frames; f++) {
		if (wanted(it, f))
			continue;
		set_zero(it, f);
		if (!old || f >= it->old_frames ||
		    digest_is_zero(&old->e[f].id))
			continue;
		it->how[f] = FRAME_KEPT;
		it->table->e[f] = old->e[f];
	}
}

static void compare_base(struct item *it)
{
	const struct vf_node *old = old_table(it);

	for (uint32_t f = 0; old && f < it->frames && f < it->old_frames; f++) {
		if (it->how[f] != FRAME_NEW ||
		    !digest_equal(&it->table->e[f].id, &old->e[f].id))
			continue;
		it->how[f] = FRAME_BASE;
		it->table->e[f].place = old->e[f].place;
	}
}

/* Are these the stored bytes of a frame with this digest? 0, -EBADMSG,
 * -EPROTO. */
static int check_stored(struct item *it, uint32_t f, const struct place *p,
			const uint8_t *stored)
{
	uint32_t n = frame_length(it, f);
	const uint8_t *plain = stored;
	struct digest got;
	int r = 0;

	if (p->flags & PLACE_RAW) {
		if (p->length != n)
			return fail(-EPROTO, "a raw frame of another length");
	} else {
		r = codec_unpack(stored, p->length, it->scratch, n);
		plain = it->scratch;
	}
	if (r)
		return r;
	sha256(plain, n, &got);
	if (!digest_equal(&got, &it->table->e[f].id))
		return fail(-EBADMSG,
			    "a stored frame that does not match its digest");
	return 0;
}

static int read_adopted(struct item *it, const struct place *p, void *buf)
{
	const struct writer *w = it->shared->w;
	char key[VF_KEY_SIZE];

	vf_key_place(key, w->vm_key, it->shared->disk_key, p);
	return store_read(w->store, key, buf, p->length, p->offset);
}

/* After a power failure an object may be torn: its trailer is no proof of its
 * frames. */
static int verify_candidate(struct item *it, const struct candidate *c)
{
	/* Packing comes later, so its buffer is free. */
	uint8_t *stored = it->packed;
	int r;

	if (c->place.length > VF_FRAME_SIZE)
		return -EPROTO;
	r = read_adopted(it, &c->place, stored);
	if (!r)
		r = check_stored(it, c->slot, &c->place, stored);
	if (r == -EIO || r == -ENOENT || r == -EPROTO || r == -EBADMSG) {
		err_clear();
		return -EBADMSG;
	}
	return r;
}

static int compare_adopted(struct item *it)
{
	for (size_t i = 0; i < it->ncandidates; i++) {
		struct candidate *c = &it->candidates[i];
		uint32_t n = frame_length(it, c->slot);
		int r = 0;

		if (it->how[c->slot] != FRAME_NEW ||
		    !digest_equal(&it->table->e[c->slot].id, &c->digest) ||
		    ((c->place.flags & PLACE_RAW) ? c->place.length != n
						  : c->place.length > n))
			continue;
		if (c->verify)
			r = verify_candidate(it, c);
		if (r == -EBADMSG)
			continue;
		if (r)
			return r;
		c->used = true;
		it->how[c->slot] = FRAME_ADOPTED;
		it->table->e[c->slot].place = c->place;
	}
	return 0;
}

/* --- storing --- */

static void set_stored(struct item *it, uint32_t f, const uint8_t *bytes,
		       uint32_t length, bool raw)
{
	it->how[f] = FRAME_NEW;
	it->bytes[f] = bytes;
	it->stored[f] = (struct vf_segment_frame){
		.frame = first_frame(it) + f,
		.digest = it->table->e[f].id,
		.length = length,
		.raw = raw,
	};
	if (raw)
		it->raw_bytes += length;
}

static void pack_new(struct item *it)
{
	it->packed_len = 0;
	it->raw_bytes = 0;
	for (uint32_t f = 0; f < it->frames; f++) {
		uint32_t n = frame_length(it, f);
		uint8_t *out = it->packed + it->packed_len;
		size_t len;

		if (it->how[f] != FRAME_NEW)
			continue;
		len = codec_pack(frame_at(it, f), n, out);
		if (len)
			set_stored(it, f, out, (uint32_t)len, false);
		else
			set_stored(it, f, frame_at(it, f), n, true);
		it->packed_len += len;
	}
}

/*
 * Stores a frame again as it is stored. It was not read from the image, or it
 * equals what was, so its part of the plain buffer is free for it.
 */
static int store_again(struct item *it, uint32_t f)
{
	const struct place p = it->table->e[f].place;
	bool raw = p.flags & PLACE_RAW;
	uint8_t *to = raw ? frame_at(it, f) : it->packed + it->packed_len;
	int r;

	if (p.length > frame_length(it, f))
		return fail(-EPROTO, "a frame stored longer than it is");
	if (it->how[f] == FRAME_ADOPTED)
		r = read_adopted(it, &p, to);
	else
		r = tree_read_place(it->shared->base, &p, to);
	if (!r)
		r = check_stored(it, f, &p, to);
	if (r)
		return blame(r, "frame %" PRIu64, first_frame(it) + f);
	if (!raw)
		it->packed_len += p.length;
	for (size_t i = 0; i < it->ncandidates; i++)
		if (it->candidates[i].slot == f)
			it->candidates[i].used = false;
	set_stored(it, f, to, p.length, raw);
	return 0;
}

struct share {
	struct point_id gen;
	uint32_t frames;
};

/* The generations of the frames that stay where they are; *own: some do not. */
static uint32_t count_shares(const struct item *it,
			     struct share share[static VF_FRAMES_MAX],
			     bool *own)
{
	uint32_t n = 0;

	*own = false;
	for (uint32_t f = 0; f < it->frames; f++) {
		const struct point_id *gen = &it->table->e[f].place.gen;
		uint32_t i;

		if (it->how[f] == FRAME_ZERO)
			continue;
		if (it->how[f] == FRAME_NEW) {
			*own = true;
			continue;
		}
		for (i = 0; i < n && !point_id_equal(&share[i].gen, gen); i++)
			;
		if (i == n)
			share[n++] = (struct share){ *gen, 0 };
		share[i].frames++;
	}
	return n;
}

/* Frames of the rarest generations move, until few enough are left. */
static int limit_generations(struct item *it)
{
	struct share share[VF_FRAMES_MAX];
	bool own;
	uint32_t n = count_shares(it, share, &own);

	while (n + own > GENERATIONS_MAX) {
		const struct share *rarest = &share[0];

		for (uint32_t i = 1; i < n; i++)
			if (share[i].frames < rarest->frames)
				rarest = &share[i];
		for (uint32_t f = 0; f < it->frames; f++) {
			int r;

			if (it->how[f] == FRAME_ZERO ||
			    it->how[f] == FRAME_NEW ||
			    !point_id_equal(&it->table->e[f].place.gen,
					    &rarest->gen))
				continue;
			r = store_again(it, f);
			if (r)
				return r;
		}
		n = count_shares(it, share, &own);
	}
	return 0;
}

int chunk_work(struct item *it)
{
	int r;

	it->same = false;
	it->table->number = it->chunk;
	it->table->count = it->frames;
	r = read_wanted(it);
	if (r)
		return r;
	hash_wanted(it);
	/* What is not read is what the base has. */
	for (uint32_t f = 0; f < it->frames && !r; f++)
		if (!wanted(it, f) && f < it->old_frames)
			r = need_old_table(it);
	if (r)
		return r;
	keep_unwanted(it);
	vf_table_id(it->table, &it->id);
	it->same = it->old_frames == it->frames &&
		   digest_equal(&it->id, &it->old.id);
	if (it->same || it->check)
		return 0;
	r = need_old_table(it);
	if (r)
		return r;
	compare_base(it);
	r = compare_adopted(it);
	if (r)
		return r;
	pack_new(it);
	return limit_generations(it);
}
