// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 120
/* Backups and prunes at random, against kept images; and what a caller can get wrong. */
#include "backend/vault/writer.h"

#include <errno.h>

#include "backend/base/parse.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

/* --- random sequences --- */

static uint64_t random_size(struct world *w)
{
	switch (world_pick(w, 6)) {
	case 0:
		return 1 + world_pick(w, 70000);
	case 1:
		return 1 + world_pick(w, 3u << 20);
	case 2:
		return (1 + world_pick(w, 40)) << 18;
	case 3:
		return (1 + world_pick(w, 300)) << 16;
	case 4: /* about where the tree gets a level */
		return (64u << 20) + world_pick(w, 5) * 65536 - 131072 +
		       world_pick(w, 2);
	default:
		return 1 + world_pick(w, 200u << 20);
	}
}

static uint32_t random_seed(struct world *w)
{
	/* Few different frames: equal ones turn up at other places too. */
	return world_pick(w, 3) ? 1 + (uint32_t)world_pick(w, 50)
				: 1 + (uint32_t)world_pick(w, 1u << 30);
}

/* Changes the image in a few places; what it did goes to e, in bytes. */
static void mutate(struct world *w, struct image *i, struct extents *e)
{
	size_t n = world_pick(w, 6);

	e->r = calloc(n + 1, sizeof(*e->r));
	e->n = 0;
	for (size_t k = 0; k < n; k++) {
		uint64_t frames = image_frames(i);
		uint64_t from = world_pick(w, frames);
		uint64_t count = 1 + world_pick(w, world_pick(w, 3) ? 4 : 60);
		int how = (int)world_pick(w, 4);
		uint64_t off, end;

		count = min_u64(count, frames - from);
		for (uint64_t f = from; how && f < from + count; f++)
			i->frame[f] = how == 1 ? 0 : random_seed(w);
		/* The list need not keep to frames: it must touch them. */
		off = from * VF_FRAME_SIZE;
		end = min_u64((from + count) * VF_FRAME_SIZE, i->size);
		off += world_pick(w, min_u64(VF_FRAME_SIZE, end - off));
		if (end > off + VF_FRAME_SIZE && end % VF_FRAME_SIZE == 0)
			end -= world_pick(w, VF_FRAME_SIZE);
		e->r[e->n++] =
			(struct extent_range){ off, max_u64(end - off, 1) };
	}
	/* In any order, and overlapping. */
	for (size_t k = 0; k + 1 < e->n; k++) {
		size_t o = k + world_pick(w, e->n - k);
		struct extent_range x = e->r[k];

		e->r[k] = e->r[o];
		e->r[o] = x;
	}
}

/* Another size; extents that now pass the end go. */
static void resize(struct world *w, struct image *i)
{
	uint64_t size = i->size, old = image_frames(i);

	switch (world_pick(w, 4)) {
	case 0:
		size = random_size(w);
		break;
	case 1:
		size += 1 + world_pick(w, 200000);
		break;
	case 2:
		size -= world_pick(w, min_u64(size, 200000));
		break;
	}
	if (size == i->size)
		return;
	image_resize(i, size);
	/* Some of what is new has content. */
	for (uint64_t f = image_frames(i); f-- > old && world_pick(w, 10);)
		i->frame[f] = random_seed(w);
}

static const struct kept *find_kept(const struct world *w,
				    const struct point_id *id)
{
	for (size_t i = 0; i < w->n; i++)
		if (point_id_equal(&w->points[i].id, id))
			return &w->points[i];
	return NULL;
}

static const struct kept *latest_kept(const struct world *w)
{
	const struct kept *k = NULL;

	for (size_t i = 0; i < w->n; i++)
		if (!k || w->points[i].time_ns > k->time_ns)
			k = &w->points[i];
	return k;
}

static void one_backup(struct world *w)
{
	const struct kept *base = w->n ? &w->points[world_pick(w, w->n)] : NULL;
	struct world_disk d[WORLD_DISKS] = { 0 };
	struct extents e[WORLD_DISKS] = { 0 };
	struct world_backup b = { .disks = d };
	struct vault_point *bp = NULL;
	struct backup_result res;
	bool changed = base && world_pick(w, 2);
	bool named = changed || (base && world_pick(w, 3) == 0);

	if (!named)
		base = latest_kept(w);
	b.time_ns = (int64_t)world_pick(w, 1u << 30);
	b.chunk_log2 = (uint8_t)(18 + world_pick(w, 3));
	for (size_t i = 0; base && i < base->ndisks; i++) {
		/* Now and then a disk is not there any more. */
		if (base->ndisks > 1 && !world_pick(w, 8))
			continue;
		d[b.ndisks] = base->disk[i];
		image_copy(&d[b.ndisks].image, &base->disk[i].image);
		mutate(w, &d[b.ndisks].image, &e[b.ndisks]);
		b.ndisks++;
	}
	for (size_t i = 0; i < b.ndisks; i++) {
		if (world_pick(w, 3))
			continue;
		resize(w, &d[i].image);
		for (size_t k = 0; k < e[i].n; k++) {
			uint64_t end = min_u64(e[i].r[k].off + e[i].r[k].len,
					       d[i].image.size);

			e[i].r[k].off = min_u64(e[i].r[k].off, end);
			e[i].r[k].len = end - e[i].r[k].off;
		}
	}
	if (b.ndisks < WORLD_DISKS && (!b.ndisks || !world_pick(w, 6))) {
		struct world_disk *x = &d[b.ndisks];

		/* A name that none of them has, in any order. */
		snprintf(x->name, sizeof(x->name), "d%u",
			 (unsigned)world_pick(w, 90000) + 1);
		image_make(&x->image, random_size(w));
		mutate(w, &x->image, &e[b.ndisks]);
		e[b.ndisks++].n = SIZE_MAX;
	}
	if (named)
		b.base = &base->id;
	if (changed) {
		b.changed = e;
		b.check_percent = (double[]){ 0, 1, 30, 100 }[world_pick(w, 4)];
	}
	CHECK_OK(world_backup(w, &b, &res));
	world_keep(w, &b, &res);
	/* The array may have moved. */
	base = find_kept(w, &res.base);
	CHECK((base != NULL) == (w->n > 1));
	if (base)
		bp = world_point(w, &base->id);
	world_check(w, &w->points[w->n - 1]);
	world_check(w, &w->points[world_pick(w, w->n)]);
	world_check_dead(w, &w->points[w->n - 1], bp);
	if (bp)
		point_info_unref(&bp->info);
	for (size_t i = 0; i < b.ndisks; i++) {
		image_release(&d[i].image);
		free(e[i].r);
	}
}

static void one_prune(struct world *w)
{
	size_t at[64], n = 0;

	for (size_t i = 0; i < w->n && n < 64; i++)
		if (world_pick(w, 2))
			at[n++] = i;
	if (n)
		CHECK_OK(world_prune(w, at, n));
}

static void test_random(uint64_t seed, int steps)
{
	DROP(store) struct store *memory = NULL;
	struct store_fault fault = { 0 };
	struct store *store;
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	CHECK_OK(store_open_fault(memory, &fault, &store));
	world_init(&w, store, seed);
	for (int i = 0; i < steps; i++) {
		if (w.n > 3 && world_pick(&w, 5) == 0)
			one_prune(&w);
		else
			one_backup(&w);
	}
	world_check_all(&w);
	world_release(&w);
}

/*
 * Disks of which nearly all is holes, with trees of one, two and three levels that become one
 * another. What a list of changes does not touch costs nothing.
 */
static void test_levels(void)
{
	/* Two, one, three, two, three, two, one. Those of three are walked through by
	 * check-all only, chunk by chunk: that is two seconds. */
	static const uint64_t sizes[] = {
		100u << 20,
		40u << 20,
		(UINT64_C(70) << 30) + 5,
		UINT64_C(64) << 30,
		(UINT64_C(64) << 30) + (100u << 20),
		90u << 20,
		1,
	};
	DROP(store) struct store *memory = NULL;
	struct store_fault fault = { 0 };
	struct world_disk d = { .name = "os" };
	struct extents none = { 0 };
	struct world_backup b = { .disks = &d, .ndisks = 1, .chunk_log2 = 18 };
	struct backup_result res = { 0 };
	struct store *store;
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	CHECK_OK(store_open_fault(memory, &fault, &store));
	world_init(&w, store, 1);
	image_make(&d.image, sizes[0]);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct point_id base = res.id;
		struct vault_point *bp = NULL;
		bool grew = !i || sizes[i] > d.image.size;

		if (sizes[i] >= UINT64_C(64) << 30 && !check_all())
			continue;
		image_resize(&d.image, sizes[i]);
		/* Only what is new by size changes: that needs no list. */
		for (uint64_t f = image_frames(&d.image), n = 0;
		     grew && f-- > 0 && n < 9 && !d.image.frame[f]; n++)
			d.image.frame[f] = (n % 3) ? (uint32_t)(4 * f + n) : 0;
		if (i) {
			b.base = &base;
			b.changed = &none;
			bp = world_point(&w, &base);
		}
		b.time_ns = (int64_t)i;
		CHECK_OK(world_backup(&w, &b, &res));
		world_keep(&w, &b, &res);
		world_check(&w, &w.points[w.n - 1]);
		world_check_dead(&w, &w.points[w.n - 1], bp);
		if (bp)
			point_info_unref(&bp->info);
	}
	image_release(&d.image);
	world_release(&w);
}

/* Three frames of a disk full of data: what is written is those, and the way to them. */
static void test_cost(void)
{
	DROP(store) struct store *memory = NULL;
	struct store_fault fault = { 0 };
	struct world_disk d = { .name = "os" };
	struct extents e = {
		.r = (struct extent_range[]){ { 5, 5 },
					      { 70u << 20, 1 },
					      { 127u << 20, 9 } },
		.n = 3,
	};
	struct world_backup b = { .disks = &d, .ndisks = 1, .chunk_log2 = 18 };
	struct backup_result res;
	struct point_id base;
	struct store *store;
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	CHECK_OK(store_open_fault(memory, &fault, &store));
	world_init(&w, store, 1);
	image_make(&d.image, 128u << 20);
	for (uint64_t f = 0; f < image_frames(&d.image); f++)
		d.image.frame[f] = (uint32_t)f * 4 + 1;
	CHECK_OK(world_backup(&w, &b, &res));
	base = res.id;
	for (size_t i = 0; i < e.n; i++)
		d.image.frame[e.r[i].off / VF_FRAME_SIZE] = 4 * (uint32_t)i + 4;
	b.base = &base;
	b.changed = &e;
	b.time_ns = 1;
	/* As from a cold start. */
	world_close(&w);
	CHECK_OK(store_open_fault(memory, &fault, &store));
	world_open(&w, store);
	store_fault_reset(&fault);
	CHECK_OK(world_backup(&w, &b, &res));
	CHECK_U64(res.read_bytes, 3 * VF_FRAME_SIZE);
	CHECK_U64(res.new_frames, 3);
	/* Frames; two leaves of 12 KiB, with tables and a dead page. */
	CHECK(res.stored_bytes >= 3 * VF_FRAME_SIZE);
	CHECK(res.stored_bytes < 3 * VF_FRAME_SIZE + 2 * (13u << 10) + 3000);
	CHECK(fault.bytes_read < 100u << 10);
	image_release(&d.image);
	world_release(&w);
}

/* Arguments: how many random histories, and the seed they begin after. */
int main(int argc, char **argv)
{
	uint64_t seeds = check_all() ? 6 : 3, after = 0;

	CHECK(argc < 2 || !parse_u64(argv[1], &seeds));
	CHECK(argc < 3 || !parse_u64(argv[2], &after));
	world_home();
	test_levels();
	test_cost();
	for (uint64_t i = 1; i <= seeds; i++)
		test_random(after + i, 25);
	return 0;
}
