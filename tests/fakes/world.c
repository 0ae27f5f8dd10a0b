// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/world.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "backend/base/parse.h"
#include "tests/unit/check.h"

/* --- images --- */

uint64_t image_frames(const struct image *i)
{
	return (i->size + VF_FRAME_SIZE - 1) / VF_FRAME_SIZE;
}

void image_make(struct image *i, uint64_t size)
{
	i->size = size;
	i->frame = calloc(image_frames(i), sizeof(*i->frame));
	i->hard = NULL;
	CHECK(i->frame);
}

void image_copy(struct image *to, const struct image *from)
{
	image_make(to, from->size);
	memcpy(to->frame, from->frame, image_frames(from) * sizeof(*to->frame));
}

void image_resize(struct image *i, uint64_t size)
{
	struct image old = *i;

	image_make(i, size);
	memcpy(i->frame, old.frame,
	       min_u64(image_frames(i), image_frames(&old)) *
		       sizeof(*i->frame));
	free(old.frame);
}

void image_release(struct image *i)
{
	free(i->frame);
	free(i->hard);
	i->frame = i->hard = NULL;
}

static uint64_t step(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

size_t image_frame(const struct image *i, uint64_t f, uint8_t *out)
{
	uint64_t x = i->frame[f] * UINT64_C(0x9e3779b97f4a7c15) + 1;
	size_t n = (size_t)min_u64(VF_FRAME_SIZE,
				   i->size - f * (uint64_t)VF_FRAME_SIZE);
	size_t random = VF_FRAME_SIZE;

	if (!i->frame[f]) {
		memset(out, 0, n);
		return n;
	}
	/* Three in four pack well. The first byte is never zero, so that no
	 * frame, however short, is zeros. */
	if (i->frame[f] & 3)
		random = 64;
	if (i->hard)
		random = i->hard[f];
	memset(out, (int)i->frame[f] & 0xff, n);
	for (size_t at = 0; at + 8 <= n && at < random; at += 8) {
		uint64_t v = step(&x);

		memcpy(out + at, &v, 8);
	}
	out[0] |= 1;
	return n;
}

struct image_src {
	struct source base;
	const struct image *i;
};

static int image_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	const struct image *i = container_of(s, struct image_src, base)->i;
	uint8_t frame[VF_FRAME_SIZE], *out = buf;

	while (len) {
		uint64_t f = off / VF_FRAME_SIZE;
		size_t skip = off % VF_FRAME_SIZE;
		size_t n = min_u64(VF_FRAME_SIZE - skip, len);

		/* A whole frame goes where it is wanted at once. */
		if (n == VF_FRAME_SIZE) {
			image_frame(i, f, out);
		} else {
			image_frame(i, f, frame);
			memcpy(out, frame + skip, n);
		}
		out += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int image_extent(struct source *s, uint64_t off, uint64_t max,
			struct extent *out)
{
	const struct image *i = container_of(s, struct image_src, base)->i;
	uint64_t f = off / VF_FRAME_SIZE, n;

	n = min_u64(image_frames(i), (off + max - 1) / VF_FRAME_SIZE + 1);
	out->hole = !i->frame[f];
	while (f < n && !i->frame[f] == out->hole)
		f++;
	out->length = min_u64(min_u64(f * VF_FRAME_SIZE, i->size) - off, max);
	return 0;
}

static void image_close(struct source *s)
{
	free(container_of(s, struct image_src, base));
}

static const struct source_ops image_ops = {
	.name = "image",
	.read = image_read,
	.extent = image_extent,
	.close = image_close,
};

struct source *image_source(const struct image *i)
{
	struct image_src *s = calloc(1, sizeof(*s));

	CHECK(s);
	source_init(&s->base, &image_ops, i->size);
	s->i = i;
	return &s->base;
}

/* --- the vault --- */

void world_home(void)
{
	static char dir[] = "world-XXXXXX";

	CHECK(mkdtemp(dir));
	setenv("VAULTFS_CONFIG_DIR", dir, 1);
	setenv("VAULTFS_STATE_DIR", dir, 1);
}

void world_open(struct world *w, struct store *store)
{
	w->store = store;
	if (!w->cache)
		CHECK_OK(cache_new(64u << 20, &w->cache));
	CHECK_OK(vault_open(store, w->cache, 0, &w->v));
}

void world_init(struct world *w, struct store *store, uint64_t seed)
{
	struct vault_id id;

	memset(w, 0, sizeof(*w));
	w->random = seed * 2 + 1;
	CHECK_OK(vault_init(store, "world", &id));
	world_open(w, store);
}

void world_close(struct world *w)
{
	vault_close(w->v);
	w->v = NULL;
	cache_free(w->cache);
	w->cache = NULL;
}

static void kept_release(struct kept *k)
{
	for (size_t i = 0; i < k->ndisks; i++)
		image_release(&k->disk[i].image);
}

void world_release(struct world *w)
{
	world_close(w);
	for (size_t i = 0; i < w->n; i++)
		kept_release(&w->points[i]);
	free(w->points);
}

uint64_t world_random(struct world *w)
{
	return step(&w->random) * UINT64_C(0x2545f4914f6cdd1d) >> 8;
}

uint64_t world_pick(struct world *w, uint64_t n)
{
	return world_random(w) % n;
}

int world_backup(struct world *w, const struct world_backup *b,
		 struct backup_result *res)
{
	struct backup_disk d[WORLD_DISKS];
	struct backup_request rq = {
		.vm = "web 01",
		.time_ns = b->time_ns,
		.consistency = CONSISTENCY_CRASH,
		.disks = d,
		.ndisks = b->ndisks,
		.base = b->base,
		.check_percent = b->check_percent,
		.chunk_log2 = b->chunk_log2,
		.take_over = b->take_over,
	};
	int r;

	memset(d, 0, sizeof(d));
	for (size_t i = 0; i < b->ndisks; i++) {
		d[i].name = b->disks[i].name;
		d[i].image = image_source(&b->disks[i].image);
		if (b->changed && b->changed[i].n != SIZE_MAX)
			d[i].changed = &b->changed[i];
	}
	r = vault_backup(w->v, &rq, res);
	for (size_t i = 0; i < b->ndisks; i++)
		source_close(d[i].image);
	return r;
}

void world_keep(struct world *w, const struct world_backup *b,
		const struct backup_result *res)
{
	struct kept *k;

	w->points = reallocarray(w->points, w->n + 1, sizeof(*w->points));
	CHECK(w->points);
	k = &w->points[w->n++];
	memset(k, 0, sizeof(*k));
	k->id = res->id;
	k->base = res->base;
	k->time_ns = b->time_ns;
	k->ndisks = b->ndisks;
	for (size_t i = 0; i < b->ndisks; i++) {
		memcpy(k->disk[i].name, b->disks[i].name,
		       sizeof(k->disk[i].name));
		image_copy(&k->disk[i].image, &b->disks[i].image);
	}
}

int world_prune(struct world *w, const size_t *at, size_t n)
{
	struct point_id ids[64];
	size_t kept = 0;
	int r;

	CHECK(n <= 64);
	for (size_t i = 0; i < n; i++)
		ids[i] = w->points[at[i]].id;
	r = vault_prune(w->v, "web 01", ids, n);
	if (r)
		return r;
	for (size_t i = 0; i < w->n; i++) {
		bool drop = false;

		for (size_t k = 0; k < n; k++)
			drop |= at[k] == i;
		if (drop)
			kept_release(&w->points[i]);
		else
			w->points[kept++] = w->points[i];
	}
	w->n = kept;
	return 0;
}

struct vault_point *world_point(struct world *w, const struct point_id *id)
{
	DROP(vm_head) struct vm_head *head = NULL;
	struct vault_point *p;
	struct point_row row;
	int r;

	CHECK_OK(vault_head(w->v, "web 01", 0, &head));
	r = vault_find_id(w->v, head, id, &row);
	if (r == -ENOENT)
		return NULL;
	CHECK_OK(r);
	CHECK_OK(vault_point(w->v, head, &row, &p));
	return p;
}

/* --- is it all there? --- */

static void check_range(struct source *s, const struct image *i, uint64_t off,
			size_t len)
{
	DROP(mem) uint8_t *got = malloc(len + 1), *want = malloc(len + 1);
	DROP(source) struct source *raw = image_source(i);

	CHECK_OK(source_read(s, got, len, off));
	CHECK_OK(source_read(raw, want, len, off));
	CHECK_MEM(got, want, len);
}

static void check_disk(struct world *w, struct vault_point *p, size_t at,
		       const struct image *i)
{
	DROP(source) struct source *s = NULL;
	struct tree *t;

	CHECK_OK(tree_open(w->v, p, at, &t));
	CHECK_OK(source_open_disk(t, &s));
	CHECK_U64(source_size(s), i->size);
	for (uint64_t off = 0; off < i->size;) {
		struct extent x;
		uint64_t end;

		CHECK_OK(source_extent(s, off, i->size - off, &x));
		end = off + x.length;
		for (uint64_t f = off / VF_FRAME_SIZE; f * VF_FRAME_SIZE < end;
		     f++)
			CHECK(!i->frame[f] == x.hole);
		for (; !x.hole && off < end; off += VF_FRAME_SIZE)
			check_range(s, i, off,
				    (size_t)min_u64(VF_FRAME_SIZE, end - off));
		off = end;
	}
	for (int k = 0; k < 8; k++) {
		uint64_t off = world_pick(w, i->size);
		uint64_t len = 1 + world_pick(w, 100000);

		check_range(s, i, off, (size_t)min_u64(len, i->size - off));
	}
}

void world_check(struct world *w, const struct kept *k)
{
	struct vault_point *p = world_point(w, &k->id);

	CHECK(p);
	CHECK_U64(p->p.ndisks, k->ndisks);
	CHECK(p->p.time_ns == k->time_ns);
	for (size_t i = 0; i < k->ndisks; i++)
		for (size_t d = 0; d < k->ndisks; d++)
			if (strcmp(p->p.disks[d].name, k->disk[i].name) == 0)
				check_disk(w, p, d, &k->disk[i].image);
	point_info_unref(&p->info);
}

void world_check_all(struct world *w)
{
	DROP(vm_head) struct vm_head *head = NULL;
	struct point_row rows[VF_INDEX_ROWS];
	size_t n, total = 0;

	CHECK_OK(vault_head(w->v, "web 01", 0, &head));
	for (size_t i = 0; i < head->c.npages; i++) {
		CHECK_OK(vault_index_page(w->v, head, i, rows, &n));
		total += n;
	}
	CHECK_U64(total, w->n);
	CHECK_U64(head->c.npoints, w->n);
	for (size_t i = 0; i < w->n; i++)
		world_check(w, &w->points[i]);
}

/* --- brute force --- */

struct used {
	uint8_t kind; /* 0: a frame, 1: a table, 2 + level: a page */
	uint64_t number;
	struct place p;
};
struct use {
	struct used *u;
	size_t n, cap;
	uint64_t data_bytes;
};

static void use_add(struct use *x, uint8_t kind, uint64_t number,
		    struct place p)
{
	if (x->n == x->cap) {
		x->cap = x->cap ? 2 * x->cap : 1024;
		x->u = reallocarray(x->u, x->cap, sizeof(*x->u));
		CHECK(x->u);
	}
	p.flags &= PLACE_INDEX;
	x->u[x->n++] = (struct used){ kind, number, p };
}

static void walk_table(struct tree *t, uint64_t chunk, struct use *x)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct vf_geometry *g = tree_geometry(t);
	const struct vf_node *n;
	struct point_id gens[VF_FRAMES_MAX];
	size_t ngens = 0;

	CHECK_OK(tree_table(t, chunk, &b));
	n = b->data;
	for (uint32_t f = 0; f < n->count; f++) {
		uint64_t frame = chunk * g->frames_per_chunk + f;
		size_t k = 0;

		if (place_is_none(&n->e[f].place))
			continue;
		x->data_bytes += vf_frame_length(g, frame);
		use_add(x, 0, frame, n->e[f].place);
		while (k < ngens &&
		       !point_id_equal(&gens[k], &n->e[f].place.gen))
			k++;
		if (k == ngens)
			gens[ngens++] = n->e[f].place.gen;
	}
	CHECK(ngens <= 4);
}

static void walk(struct tree *t, uint8_t level, uint64_t number, struct use *x)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct vf_node *n;

	CHECK_OK(tree_page(t, level, number, &b));
	if (!b)
		return;
	n = b->data;
	for (uint32_t i = 0; i < n->count; i++) {
		uint64_t child = (number << (level ? 10 : 8)) + i;

		if (place_is_none(&n->e[i].place))
			continue;
		/* Only the root lies in a point object. */
		CHECK(!(n->e[i].place.flags & PLACE_POINT));
		use_add(x, level ? (uint8_t)(1 + level) : 1, child,
			n->e[i].place);
		if (level)
			walk(t, level - 1, child, x);
		else
			walk_table(t, child, x);
	}
}

static int by_use(const void *a, const void *b)
{
	const struct used *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int by_place(const void *x, const void *y)
{
	const struct place *a = &((const struct used *)x)->p;
	const struct place *b = &((const struct used *)y)->p;

	if (a->gen.seq != b->gen.seq)
		return a->gen.seq < b->gen.seq ? -1 : 1;
	if (a->gen.nonce != b->gen.nonce)
		return a->gen.nonce < b->gen.nonce ? -1 : 1;
	if (a->flags != b->flags)
		return a->flags < b->flags ? -1 : 1;
	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static bool same_place(const struct place *a, const struct place *b)
{
	return point_id_equal(&a->gen, &b->gen) && a->object == b->object &&
	       a->offset == b->offset && a->length == b->length &&
	       a->flags == b->flags;
}

/* Neighbours become one, and nothing overlaps. */
static void merge(struct use *x)
{
	size_t n = 0;

	if (x->n)
		qsort(x->u, x->n, sizeof(*x->u), by_place);
	for (size_t i = 0; i < x->n; i++) {
		struct place *a = n ? &x->u[n - 1].p : NULL, *b = &x->u[i].p;
		bool one = a && point_id_equal(&a->gen, &b->gen) &&
			   a->flags == b->flags && a->object == b->object;

		if (one)
			CHECK(a->offset + a->length <= b->offset);
		if (one && a->offset + a->length == b->offset)
			a->length += b->length;
		else
			x->u[n++] = x->u[i];
	}
	x->n = n;
}

static void read_dead(struct tree *t, struct use *x)
{
	struct place at = tree_disk(t)->dead_place;
	struct digest id = tree_disk(t)->dead;

	while (!place_is_none(&at)) {
		DROP(mem) uint8_t *b = malloc(at.length);
		struct vf_dead d;
		struct digest got;

		CHECK_OK(tree_read_place(t, &at, b));
		sha256(b, at.length, &got);
		CHECK(digest_equal(&got, &id));
		CHECK_OK(vf_dead_parse(b, at.length, &d));
		CHECK(d.count >= 1 && d.count <= VF_DEAD_PLACES);
		for (size_t i = 0; i < d.count; i++)
			use_add(x, 0, 0, d.places[i]);
		at = d.prev_place;
		id = d.prev;
		free(d.places);
	}
}

/* What adopted generations stored for a disk, and the new tree does not use. */
static void adopted_dead(struct world *w, struct vault_point *p,
			 const char *disk, const struct use *now,
			 struct use *dead)
{
	struct use live = { 0 };

	for (size_t i = 0; i < now->n; i++)
		use_add(&live, 0, 0, now->u[i].p);
	if (live.n)
		qsort(live.u, live.n, sizeof(*live.u), by_place);
	for (size_t a = 0; a < p->p.nadopted; a++) {
		DROP(store_list) struct store_list l = { 0 };
		char prefix[VF_KEY_SIZE], id[POINT_ID_TEXT];

		point_id_text(&p->p.adopted[a], id);
		snprintf(prefix, sizeof(prefix), "V/web%%2001/d/%s/%s/", disk,
			 id);
		CHECK_OK(store_list(w->store, prefix, "", STORE_LIST_MAX, false,
				    &l));
		for (size_t i = 0; i < l.count; i++) {
			const char *name = l.entries[i].key + strlen(prefix);
			DROP(mem) uint8_t *b = malloc(l.entries[i].size + 1);
			DROP(mem) struct vf_segment_frame *f = NULL;
			struct place whole = {
				.gen = p->p.adopted[a],
				.length = (uint32_t)l.entries[i].size,
				.flags = name[0] == 'm' ? PLACE_INDEX : 0,
			};
			uint32_t len;
			uint64_t number;
			size_t n;

			CHECK_OK(parse_hex_u64(name + 2, 16, &number));
			whole.object = (uint32_t)number;
			if (whole.length)
				CHECK_OK(store_read(w->store, l.entries[i].key,
						    b, whole.length, 0));
			if (name[0] == 'm' || whole.length < 8 ||
			    vf_trailer_length(b + whole.length - 8, &len) ||
			    len > whole.length - 8 ||
			    vf_trailer_parse(b + whole.length - 8 - len, len,
					     &whole.gen, whole.object, &f,
					     &n)) {
				if (whole.length)
					use_add(dead, 0, 0, whole);
				continue;
			}
			for (size_t k = 0; k < n; k++) {
				struct used u = { .p = whole };

				u.p.offset = f[k].offset;
				u.p.length = f[k].length;
				if (!live.n || !bsearch(&u, live.u, live.n,
							sizeof(u), by_place))
					use_add(dead, 0, 0, u.p);
			}
		}
	}
	free(live.u);
}

static uint64_t stored_bytes(struct world *w, const struct point_id *gen,
			     const char *disk)
{
	DROP(store_list) struct store_list l = { 0 };
	char prefix[VF_KEY_SIZE], id[POINT_ID_TEXT];
	uint64_t n = 0;

	point_id_text(gen, id);
	snprintf(prefix, sizeof(prefix), "V/web%%2001/d/%s/%s/", disk, id);
	CHECK_OK(store_list(w->store, prefix, "", STORE_LIST_MAX, false, &l));
	for (size_t i = 0; i < l.count; i++)
		n += l.entries[i].size;
	return n;
}

static void check_dead_disk(struct world *w, struct vault_point *p, size_t at,
			    struct vault_point *base)
{
	struct use now = { 0 }, was = { 0 }, want = { 0 }, got = { 0 };
	const struct vf_disk *d = &p->p.disks[at];
	struct tree *t, *b;
	uint64_t bytes = 0;
	size_t k = 0;

	CHECK_OK(tree_open(w->v, p, at, &t));
	walk(t, tree_geometry(t)->root_level, 0, &now);
	CHECK_U64(d->data_bytes, now.data_bytes);
	CHECK_U64(d->stored_bytes, stored_bytes(w, &p->p.id, d->name));
	for (size_t i = 0; base && i < base->p.ndisks; i++) {
		if (strcmp(base->p.disks[i].name, d->name))
			continue;
		CHECK_OK(tree_open(w->v, base, i, &b));
		walk(b, tree_geometry(b)->root_level, 0, &was);
		tree_close(b);
	}
	if (now.n)
		qsort(now.u, now.n, sizeof(*now.u), by_use);
	if (was.n)
		qsort(was.u, was.n, sizeof(*was.u), by_use);
	for (size_t i = 0; i < was.n; i++) {
		while (k < now.n && by_use(&now.u[k], &was.u[i]) < 0)
			k++;
		if (k < now.n && by_use(&now.u[k], &was.u[i]) == 0 &&
		    same_place(&now.u[k].p, &was.u[i].p))
			continue;
		use_add(&want, 0, 0, was.u[i].p);
	}
	adopted_dead(w, p, d->name, &now, &want);
	merge(&want);
	read_dead(t, &got);
	for (size_t i = 0; i < got.n; i++)
		bytes += got.u[i].p.length;
	CHECK_U64(d->dead_bytes, bytes);
	merge(&got);
	CHECK_U64(got.n, want.n);
	for (size_t i = 0; i < got.n; i++)
		CHECK(same_place(&got.u[i].p, &want.u[i].p));
	tree_close(t);
	free(now.u);
	free(was.u);
	free(want.u);
	free(got.u);
}

void world_check_dead(struct world *w, const struct kept *k,
		      struct vault_point *base)
{
	struct vault_point *p = world_point(w, &k->id);

	CHECK(p);
	for (size_t i = 0; i < p->p.ndisks; i++)
		check_dead_disk(w, p, i, base);
	point_info_unref(&p->info);
}
