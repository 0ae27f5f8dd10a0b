// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading a vault that is far away: what it costs in requests and bytes, how many are
 * on their way at once, and what happens when the server is not there. Nothing is
 * asserted in time.
 */
#include "backend/vault/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/vault/writer.h"
#include "tests/fakes/source_pattern.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define FRAME VF_FRAME_SIZE
#define DELAY_US 2000u

/* --- a vault of one disk, read from afar --- */

static const struct pattern content = { .seed = 7,
					.run = 256 * KIB,
					.zero_of_256 = 32,
					.holes = true };

/* So many requests of data must be at the gate together. Who comes there waits for the
 * others, but not for ever: under load a window may find that those before it are not
 * accounted for yet, and a reader goes on alone. */
#define GATE 4
#define GATE_MS 200

struct counts {
	atomic_uint_fast64_t data, index; /* requests */
	pthread_mutex_t lock;		  /* protects what follows */
	pthread_cond_t changed;
	bool gate;
	unsigned at_gate, at_gate_max;
};

struct far {
	struct store_fault fault;
	struct counts counts;
	struct cache *cache;
	struct vault *v;
	struct source *disk;
};

static void wait_at_gate(struct counts *c)
{
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	struct timespec until;
	int r = 0;

	if (!c->gate)
		return;
	c->at_gate++;
	c->at_gate_max = (unsigned)max_u64(c->at_gate_max, c->at_gate);
	c->gate = c->at_gate < GATE;
	pthread_cond_broadcast(&c->changed);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += GATE_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (c->gate && !r)
		r = pthread_cond_timedwait(&c->changed, held, &until);
	c->at_gate--;
}

static void count(void *ctx, enum store_call call, const char *key)
{
	struct counts *c = ctx;

	if (strstr(key, "/s/")) {
		atomic_fetch_add(&c->data, 1);
		wait_at_gate(c);
	}
	if (strstr(key, "/m/"))
		atomic_fetch_add(&c->index, 1);
}

static void backup(struct store *s, struct source *image, int64_t time_ns,
		   const struct extents *changed, const struct point_id *base,
		   struct point_id *id)
{
	struct cache *cache;
	struct vault *v;
	struct backup_disk d = { .name = "os",
				 .image = image,
				 .changed = changed };
	struct backup_request rq = { .vm = "vm",
				     .time_ns = time_ns,
				     .consistency = CONSISTENCY_CRASH,
				     .disks = &d,
				     .ndisks = 1,
				     .base = base };
	struct backup_result res;

	CHECK_OK(cache_new(16 * MIB, &cache));
	CHECK_OK(vault_open(s, cache, 0, &v));
	CHECK_OK(vault_backup(v, &rq, &res));
	*id = res.id;
	/* The vault owns the store, which lives on. */
	vault_close(v);
	cache_free(cache);
}

/* A store that is closed by those who open a vault in it, and is still there. */
static struct store *borrow(struct store *s, struct store_fault *f)
{
	struct store *b;

	CHECK_OK(store_open_fault(s, f, &b));
	return b;
}

static void open_far(struct far *x, struct store *s, size_t cache_bytes,
		     const char *keep)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct vault_point *p;
	struct point_row rows[VF_INDEX_ROWS];
	struct tree *t;
	size_t n;

	memset(x, 0, sizeof(*x));
	pthread_mutex_init(&x->counts.lock, NULL);
	pthread_cond_init(&x->counts.changed, NULL);
	x->fault.remote = true;
	x->fault.delay_us = DELAY_US;
	x->fault.before = count;
	x->fault.ctx = &x->counts;
	CHECK_OK(cache_new(cache_bytes, &x->cache));
	CHECK_OK(
		vault_open(borrow(s, &x->fault), x->cache, 3600 * 1000, &x->v));
	/* Keys fall into sets by chance: with room for many times what is read, none of
	 * them overflows. */
	if (keep)
		CHECK_OK(vault_keep_on_disk(x->v, keep, 256 * MIB));
	CHECK_OK(vault_head(x->v, "vm", 0, &h));
	CHECK_OK(vault_index_page(x->v, h, h->c.npages - 1, rows, &n));
	CHECK_OK(vault_point(x->v, h, &rows[n - 1], &p));
	CHECK_OK(tree_open(x->v, p, 0, &t));
	point_info_unref(&p->info);
	CHECK_OK(source_open_disk(t, &x->disk));
	store_fault_reset(&x->fault);
	atomic_store(&x->counts.data, 0);
	atomic_store(&x->counts.index, 0);
}

static void close_far(struct far *x)
{
	source_close(x->disk);
	vault_close(x->v);
	cache_free(x->cache);
}

static void read_check(struct source *s, size_t len, uint64_t off)
{
	DROP(mem) uint8_t *got = malloc(len);
	DROP(mem) uint8_t *want = malloc(len);

	CHECK(got && want);
	CHECK_OK(source_read(s, got, len, off));
	pattern_bytes(&content, want, len, off);
	CHECK_MEM(got, want, len);
}

/* Stored bytes of the disk's [from, to): the pattern does not pack. */
static uint64_t data_bytes(uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	for (uint64_t f = from / FRAME; f * FRAME < to; f++)
		n += pattern_is_zero(&content, f * FRAME) ? 0 : FRAME;
	return n;
}

static struct store *new_vault(uint64_t size)
{
	struct store_fault none = { .fail_call = 0 };
	struct store *s;
	struct source *image;
	struct vault_id id;
	struct point_id point;

	CHECK_OK(store_open_memory(&s));
	CHECK_OK(vault_init(s, "far", &id));
	CHECK_OK(source_open_pattern(&content, size, &image));
	backup(borrow(s, &none), image, 1000, NULL, NULL, &point);
	source_close(image);
	return s;
}

static struct store *vault_32m;

/* --- tests --- */

/* Who reads in order has many requests on their way, and nothing twice. (How large they
 * are depends on what was measured.) */
static void sequential(size_t step)
{
	struct far x;
	uint64_t data = data_bytes(0, 32 * MIB);

	open_far(&x, vault_32m, 32 * MIB, NULL);
	for (uint64_t off = 0; off < 32 * MIB; off += step) {
		/* From here on he is known to read in order. */
		if (off >= 8 * MIB && off < 8 * MIB + step) {
			pthread_mutex_lock(&x.counts.lock);
			x.counts.gate = true;
			pthread_mutex_unlock(&x.counts.lock);
		}
		read_check(x.disk, min_u64(step, 32 * MIB - off), off);
	}
	printf("32 MiB in steps of %zu KiB: %" PRIu64
	       " requests of data, %" PRIu64 " of the index, %" PRIu64
	       " bytes for %" PRIu64 ", %" PRIu64 " at once\n",
	       step / KIB, (uint64_t)x.counts.data, (uint64_t)x.counts.index,
	       (uint64_t)x.fault.bytes_read, data,
	       (uint64_t)x.fault.flying_max);
	CHECK(x.fault.bytes_read >= data);
	/* Holes are short here; what lies between two frames is not counted as
	 * waste, since there is nothing. */
	CHECK(x.fault.bytes_read <= data + data / 20 + 256 * KIB);
	CHECK(x.counts.index <= 4);
	CHECK(x.counts.data <= data / FRAME);
	CHECK(x.counts.at_gate_max >= GATE);
	close_far(&x);
}

static void test_sequential(void)
{
	sequential(128 * KIB);
	sequential(1 * MIB);
	sequential(4 * MIB + FRAME);
}

/* Random reads cost a frame each, once, and the tables around it. */
static void test_random(void)
{
	struct far x;
	bool seen[32 * MIB / FRAME] = { false };
	uint64_t distinct = 0, n = 1;

	open_far(&x, vault_32m, 32 * MIB, NULL);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t off;

		n = n * 6364136223846793005u + 1442695040888963407u;
		off = (n >> 33) % (32 * MIB / 4096) * 4096;
		if (!pattern_is_zero(&content, off) && !seen[off / FRAME])
			distinct++;
		seen[off / FRAME] = true;
		read_check(x.disk, 4096, off);
	}
	printf("200 random reads: %" PRIu64 " requests of data for %" PRIu64
	       " frames, %" PRIu64 " of the index\n",
	       (uint64_t)x.counts.data, distinct, (uint64_t)x.counts.index);
	/* Chance makes a few of them neighbours, which looks like an order. */
	CHECK(x.counts.data <= distinct + distinct / 10);
	CHECK(x.counts.index <= 4);
	CHECK(x.fault.bytes_read <=
	      (distinct + distinct / 10) * FRAME + 256 * KIB);
	close_far(&x);
}

struct reader {
	struct source *s;
	uint64_t off;
};

static void *one_reader(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = 0; i < 16; i++)
		read_check(r->s, 4096, r->off + i * FRAME + 8192);
	return NULL;
}

/* Many readers of the same frames cost what one costs. */
static void test_single_flight(void)
{
	struct far x;
	pthread_t t[16];
	struct reader r = { .off = 8 * MIB };

	open_far(&x, vault_32m, 32 * MIB, NULL);
	r.s = x.disk;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, one_reader, &r));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	/* With what is read ahead: each frame once. */
	CHECK(x.fault.bytes_read <= 4 * MIB + 256 * KIB);
	CHECK(x.counts.data <= 64);
	close_far(&x);
}

/* A cache too small to read ahead into still gives the right bytes. */
static void test_no_memory(void)
{
	static const size_t sizes[] = { 0, 256 * KIB, 2 * MIB };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct far x;

		open_far(&x, vault_32m, sizes[i], NULL);
		for (uint64_t off = 0; off < 4 * MIB; off += 128 * KIB)
			read_check(x.disk, 128 * KIB, off);
		close_far(&x);
	}
}

/* From now on nothing comes from the store. */
static void go_away(struct far *x)
{
	x->fault.error = -EAGAIN;
	x->fault.fail_call = 1;
	x->fault.fail_times = UINT64_MAX / 2;
}

/* The second time all comes from the disk. (What is read ahead may be more than the first
 * time, and is nobody's matter.) */
static void test_kept(void)
{
	struct far x;

	for (int turn = 0; turn < 2; turn++) {
		open_far(&x, vault_32m, 16 * MIB, "kept");
		if (turn)
			go_away(&x);
		for (uint64_t off = 0; off < 16 * MIB; off += 128 * KIB)
			read_check(x.disk, 128 * KIB, off);
		if (!turn)
			CHECK(x.counts.data > 0 && x.counts.index > 0);
		close_far(&x);
	}
}

/* A segment's frame that is damaged fails alone, with its sentence; where a good
 * copy is kept on disk, it is no matter. */
static void test_damage(void)
{
	struct far x;
	DROP(store_list) struct store_list l = { 0 };
	uint8_t buf[FRAME];
	const char *key = NULL;
	unsigned failed = 0;

	CHECK_OK(store_list(vault_32m, "V/vm/d/os/", "", 100, false, &l));
	for (size_t i = 0; i < l.count && !key; i++)
		if (strstr(l.entries[i].key, "/s/"))
			key = l.entries[i].key;
	CHECK(key);
	open_far(&x, vault_32m, 32 * MIB, NULL);
	x.fault.bend = STORE_FLIP;
	x.fault.bend_key = key;
	x.fault.bend_at = (3 * FRAME + 5) * 8;
	for (uint64_t off = 0; off < 8 * MIB; off += FRAME) {
		int r = source_read(x.disk, buf, sizeof(buf), off);

		if (r) {
			CHECK_SAYS(-EBADMSG, "does not match its digest", r);
			failed++;
		} else {
			uint8_t want[FRAME];

			pattern_bytes(&content, want, FRAME, off);
			CHECK_MEM(buf, want, FRAME);
		}
	}
	CHECK_U64(failed, 1);
	close_far(&x);
	/* "kept" has the first 16 MiB. */
	open_far(&x, vault_32m, 32 * MIB, "kept");
	x.fault.bend = STORE_FLIP;
	x.fault.bend_key = key;
	x.fault.bend_at = (3 * FRAME + 5) * 8;
	read_check(x.disk, 8 * MIB, 0);
	close_far(&x);
}

/* The server goes away: what is in memory or on disk goes on, the rest fails with its
 * cause; it comes back, and all is well. */
static void test_away(void)
{
	struct far x;
	uint8_t buf[4096];
	uint64_t far_off = 28 * MIB;

	while (pattern_is_zero(&content, far_off))
		far_off += FRAME;
	open_far(&x, vault_32m, 32 * MIB, "kept");
	read_check(x.disk, 4096, 0);
	store_fault_reset(&x.fault);
	go_away(&x);
	for (uint64_t off = 0; off < 16 * MIB; off += 128 * KIB)
		read_check(x.disk, 128 * KIB, off);
	CHECK_SAYS(-EAGAIN, "injected",
		   source_read(x.disk, buf, sizeof(buf), far_off));
	x.fault.fail_call = 0;
	read_check(x.disk, 4096, far_off);
	close_far(&x);
}

/* A table that is not there while the server is away: asked for once, not once for all
 * its window and once more for itself. */
static void test_away_once(void)
{
	struct far x;
	uint8_t buf[4096];

	open_far(&x, vault_32m, 32 * MIB, NULL);
	go_away(&x);
	CHECK_SAYS(-EAGAIN, "injected", source_read(x.disk, buf, 4096, 0));
	CHECK_U64(x.fault.total, 1);
	close_far(&x);
}

static bool yes(void *ctx)
{
	return atomic_load((atomic_bool *)ctx);
}

struct stopped {
	struct source *s;
	uint64_t off;
	atomic_bool stop;
	int r;
};

static void *stopped_reader(void *arg)
{
	struct stopped *t = arg;
	uint8_t buf[4096];

	cancel_set((struct cancel){ yes, &t->stop });
	t->r = source_read(t->s, buf, sizeof(buf), t->off);
	return NULL;
}

/* Who waits for what somebody else fetches can be interrupted; who fetches is not
 * disturbed. */
static void test_interrupted(void)
{
	struct far x;
	struct stopped first = { .off = MIB }, second = { .off = MIB + 4096 };
	pthread_t a, b;
	struct cache_stats st;

	while (pattern_is_zero(&content, first.off))
		first.off += FRAME;
	second.off = first.off + 4096;
	open_far(&x, vault_32m, 32 * MIB, NULL);
	/* The table is there. */
	read_check(x.disk, 4096, 2 * MIB);
	store_fault_reset(&x.fault);
	x.fault.delay_us = 1000 * 1000;
	first.s = second.s = x.disk;
	CHECK(!pthread_create(&a, NULL, stopped_reader, &first));
	while (!atomic_load(&x.fault.flying_max))
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	CHECK(!pthread_create(&b, NULL, stopped_reader, &second));
	do {
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		cache_stats(x.cache, &st);
	} while (!st.waits && atomic_load(&x.fault.flying));
	atomic_store(&second.stop, true);
	pthread_join(b, NULL);
	CHECK(second.r == -ECANCELED || !atomic_load(&x.fault.flying));
	pthread_join(a, NULL);
	CHECK_OK(first.r);
	close_far(&x);
}

struct looker {
	struct vault *v;
	bool stop;
	int r;
};

static bool told(void *ctx)
{
	return *(bool *)ctx;
}

static void *look(void *arg)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct looker *l = arg;

	cancel_set((struct cancel){ told, &l->stop });
	l->r = vault_head(l->v, "vm", 0, &h);
	return NULL;
}

/* Who waits for another's look at a head hears that he is not wanted, and does not stand
 * in line for a server that does not answer. */
static void test_looking(void)
{
	struct far x;
	struct looker l[8] = { 0 };
	pthread_t t[ARRAY_SIZE(l)];

	open_far(&x, vault_32m, 32 * MIB, NULL);
	go_away(&x);
	x.fault.delay_us = 2000 * 1000;
	for (size_t i = 0; i < ARRAY_SIZE(l); i++) {
		l[i].v = x.v;
		l[i].stop = i == ARRAY_SIZE(l) - 1;
		CHECK(!pthread_create(&t[i], NULL, look, &l[i]));
		/* The first one is at it. */
		while (!i && !atomic_load(&x.fault.flying_max))
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(l); i++)
		CHECK(!pthread_join(t[i], NULL));
	for (size_t i = 0; i + 1 < ARRAY_SIZE(l); i++)
		CHECK(l[i].r == -EAGAIN);
	CHECK(l[ARRAY_SIZE(l) - 1].r == -ECANCELED);
	/* Each for himself would be seven; a machine may keep one so long that he is late. */
	CHECK(x.fault.total <= 3);
	close_far(&x);
}

/* Points of many generations, in a world whose every byte is known. */
static void test_world(void)
{
	struct store_fault fault = { .remote = true, .delay_us = 200 };
	struct store *memory;
	struct world w;
	struct world_disk disk = { .name = "os" };

	CHECK_OK(store_open_memory(&memory));
	world_init(&w, borrow(memory, &fault), 3);
	image_make(&disk.image, 20 * MIB + 12345);
	for (uint64_t i = 0; i < image_frames(&disk.image); i++)
		disk.image.frame[i] = (uint32_t)world_pick(&w, 1000);
	for (int turn = 0; turn < 6; turn++) {
		struct world_backup b = { .time_ns = 1000 + turn,
					  .disks = &disk,
					  .ndisks = 1 };
		struct backup_result res;

		CHECK_OK(world_backup(&w, &b, &res));
		world_keep(&w, &b, &res);
		for (unsigned i = 0; i < 40; i++)
			disk.image.frame[world_pick(
				&w, image_frames(&disk.image))] =
				(uint32_t)world_pick(&w, 100000);
	}
	CHECK_U64(w.n, 6);
	world_check_all(&w);
	CHECK_OK(vault_keep_on_disk(w.v, "world-kept", 32 * MIB));
	world_check_all(&w);
	image_release(&disk.image);
	world_release(&w);
	store_close(memory);
}

int main(void)
{
	world_home();
	vault_32m = new_vault(32 * MIB);
	test_sequential();
	test_random();
	test_single_flight();
	test_no_memory();
	test_kept();
	test_damage();
	test_away();
	test_away_once();
	test_interrupted();
	test_looking();
	test_world();
	store_close(vault_32m);
	return 0;
}
