// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 180
/*
 * Backups that are killed, at every call of the store; power failures; several writers.
 * After each, all acknowledged points are whole, and the next backup takes over what was stored.
 */
#include "backend/vault/writer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "backend/base/parse.h"
#include "backend/vault/writer_impl.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/store_volatile.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

#define FOR_EVER 1000000

/* Each history of a vault has heads of its own. */
static void new_state(void)
{
	char dir[] = "state-XXXXXX";

	CHECK(mkdtemp(dir));
	setenv("VAULTFS_STATE_DIR", dir, 1);
}

/* Frames that do not pack, so that there are several segments. */
static void fill(struct image *i, uint64_t from, uint64_t n, uint32_t seed)
{
	for (uint64_t f = from; f < from + n; f++)
		i->frame[f] = (seed + (uint32_t)f) * 4;
}

/* A vault with one point, and the image of the next. */
struct scene {
	struct store *store;
	struct world w;
	struct world_disk disk;
};

static void scene_init(struct scene *s, struct store *store)
{
	struct world_backup b = { .time_ns = 1000,
				  .disks = &s->disk,
				  .ndisks = 1,
				  .chunk_log2 = 18 };
	struct backup_result res;
	struct store_fault *none = calloc(1, sizeof(*none));
	struct store *front;

	s->store = store;
	new_state();
	CHECK_OK(store_open_fault(store, none, &front));
	world_init(&s->w, front, 7);
	snprintf(s->disk.name, sizeof(s->disk.name), "os");
	image_make(&s->disk.image, (14u << 20) + 5);
	fill(&s->disk.image, 0, 60, 1000);
	CHECK_OK(world_backup(&s->w, &b, &res));
	world_keep(&s->w, &b, &res);
	world_close(&s->w);
	free(none);
	/* 120 of its 225 frames are other ones. */
	fill(&s->disk.image, 40, 120, 5000);
}

static void scene_release(struct scene *s)
{
	image_release(&s->disk.image);
	world_release(&s->w);
}

static size_t sessions(struct store *s)
{
	DROP(store_list) struct store_list l = { 0 };

	CHECK_OK(store_list(s, "V/web%2001/w/", "", 100, false, &l));
	return l.count;
}

static int backup_at(struct scene *s, struct world *w, int64_t t,
		     struct backup_result *res)
{
	struct world_backup b = { .time_ns = t,
				  .disks = &s->disk,
				  .ndisks = 1 };
	int r = world_backup(w, &b, res);

	if (!r)
		world_keep(w, &b, res);
	return r;
}

/* A world on this store that knows the scene's points. */
static void branch(struct scene *s, struct world *w, struct store *front)
{
	memset(w, 0, sizeof(*w));
	w->random = 99;
	w->points = calloc(s->w.n, sizeof(*w->points));
	CHECK(w->points);
	w->n = s->w.n;
	for (size_t i = 0; i < w->n; i++) {
		w->points[i] = s->w.points[i];
		image_copy(&w->points[i].disk[0].image,
			   &s->w.points[i].disk[0].image);
	}
	world_open(w, front);
}

static void reopen(struct world *w, struct store *under)
{
	static struct store_fault none;
	struct store *front;

	if (w->v)
		world_close(w);
	CHECK_OK(store_open_fault(under, &none, &front));
	world_open(w, front);
}

/* The next backup works, takes over, and leaves nothing behind. */
static void retry(struct scene *s, struct world *w, struct store *under,
		  struct backup_result *res)
{
	struct vault_point *base;
	int r;

	reopen(w, under);
	r = backup_at(s, w, 2000, res);
	if (r == -EEXIST) {
		/* Only its answer was lost. */
		world_check(w, &w->points[0]);
		r = backup_at(s, w, 3000, res);
		w->n--;
		image_release(&w->points[w->n].disk[0].image);
	} else {
		CHECK_OK(r);
		base = world_point(w, &res->base);
		world_check_dead(w, &w->points[w->n - 1], base);
		point_info_unref(&base->info);
		world_check_all(w);
	}
	CHECK_OK(r);
	CHECK_U64(sessions(under), 0);
}

/* --- killed at call n, once or for ever --- */

static bool kill_at(struct scene *s, uint64_t n, uint64_t times, bool lost,
		    uint64_t *adopted)
{
	DROP(store) struct store *copy = NULL;
	struct store_fault fault = { .fail_times = times,
				     .answer_lost = lost,
				     .error = -ENOSPC };
	struct backup_result res;
	struct store *front;
	struct world w;
	bool fired;
	int r;

	new_state();
	CHECK_OK(store_memory_copy(s->store, &copy));
	CHECK_OK(store_open_fault(copy, &fault, &front));
	branch(s, &w, front);
	store_fault_reset(&fault);
	fault.fail_call = n;
	r = backup_at(s, &w, 2000, &res);
	fired = fault.fired > 0;
	/* What fails after the commit, when records are removed, fails nothing. */
	if (!fired)
		CHECK_OK(r);
	if (r)
		CHECK(r == -ENOSPC);
	if (r) {
		retry(s, &w, copy, &res);
		*adopted += res.adopted_frames;
	} else {
		reopen(&w, copy);
		world_check_all(&w);
	}
	world_release(&w);
	return fired;
}

/* Sanitizers look at the same code each time: some of the calls are enough. So
 * they are for a check that should not take long; CHECK_FULL=1 takes each. */
static uint64_t stride(void)
{
	return check_full() ? 1 : check_all() ? 5 : 9;
}

static void test_kill(struct scene *s)
{
	uint64_t n, adopted = 0;

	for (n = 1; kill_at(s, n, FOR_EVER, false, &adopted); n += stride())
		;
	/* There was something to stop, and something to take over. */
	CHECK(n > 20);
	CHECK(adopted > 100 / stride());
	for (n = 1; kill_at(s, n, 1, n / stride() & 1, &adopted); n += stride())
		;
}

/*
 * A barrier that failed: nobody builds on what may never have reached the disk,
 * nor on what a session had stored that this one took over.
 */
static void test_barrier(struct scene *s, bool killed_before)
{
	DROP(store) struct store *copy = NULL;
	struct store_fault kill = { .fail_times = FOR_EVER };
	struct store_fault fault = { 0 };
	struct backup_result res;
	struct store *front;
	struct world w;

	new_state();
	CHECK_OK(store_memory_copy(s->store, &copy));
	CHECK_OK(store_open_fault(copy, &kill, &front));
	branch(s, &w, front);
	if (killed_before) {
		store_fault_reset(&kill);
		kill.fail_of[STORE_BARRIER] = 1;
		/* A program that is killed ends nothing. */
		kill.fail_of[STORE_REMOVE] = 1;
		kill.fail_of[STORE_PUT] = 4;
		CHECK_FAILS(-EIO, backup_at(s, &w, 2000, &res));
		CHECK(sessions(copy) == 1);
	}
	world_close(&w);
	CHECK_OK(store_open_fault(copy, &fault, &front));
	world_open(&w, front);
	store_fault_reset(&fault);
	fault.fail_of[STORE_BARRIER] = 1;
	CHECK_FAILS(-EIO, backup_at(s, &w, 2000, &res));
	CHECK(fault.fired);
	CHECK_U64(sessions(copy), 0);
	retry(s, &w, copy, &res);
	CHECK_U64(res.adopted_frames, 0);
	world_release(&w);
}

/* Killed twice: the third takes over from both. */
static void test_kill_twice(struct scene *s)
{
	uint64_t most = 0;

	for (uint64_t i = 0; i < 40; i += stride()) {
		DROP(store) struct store *copy = NULL;
		struct store_fault fault = { .fail_times = FOR_EVER };
		struct backup_result res;
		struct store *front;
		struct world w;

		new_state();
		CHECK_OK(store_memory_copy(s->store, &copy));
		for (int k = 0; k < 2; k++) {
			CHECK_OK(store_open_fault(copy, &fault, &front));
			if (k == 0)
				branch(s, &w, front);
			else
				world_open(&w, front);
			store_fault_reset(&fault);
			fault.fail_call = k == 0 ? 12 + i / 4 : 14 + i;
			if (backup_at(s, &w, 2000, &res) == 0)
				break;
			world_close(&w);
			fault.fail_call = 0;
		}
		if (w.n == s->w.n)
			retry(s, &w, copy, &res);
		most = max_u64(most, res.adopted_frames);
		world_release(&w);
	}
	CHECK(most > 100 / stride());
}

/* --- power failures --- */

static void crash_at(struct scene *s, struct store *disk, struct world *w,
		     bool acknowledged, uint64_t choice, uint64_t *adopted)
{
	DROP(store) struct store *after = NULL;
	struct backup_result res;

	new_state();
	CHECK_OK(store_volatile_crash(disk, choice, &after));
	/* It is still a store in which objects may have been torn. */
	after->durable_puts = false;
	if (!acknowledged) {
		retry(s, w, after, &res);
		*adopted += res.adopted_frames;
		/* The point of this history is none of the next one's. */
		if (w->n > s->w.n)
			image_release(&w->points[--w->n].disk[0].image);
	} else {
		reopen(w, after);
		world_check(w, &w->points[0]);
		world_check(w, &w->points[1]);
	}
	world_close(w);
}

static bool power_at(struct scene *s, uint64_t n, uint64_t *adopted)
{
	struct store_fault fault = { .fail_times = FOR_EVER };
	struct store *disk, *front;
	struct backup_result res;
	struct world w;
	uint8_t boot[16] = { 1, 2, 3 };
	bool fired;
	int r;

	new_state();
	CHECK_OK(store_volatile_copy(s->store, &disk));
	CHECK_OK(store_open_fault(disk, &fault, &front));
	branch(s, &w, front);
	store_fault_reset(&fault);
	fault.fail_call = n;
	r = backup_at(s, &w, 2000, &res);
	fired = fault.fired > 0;
	world_close(&w);
	/* From here on the host was booted again. */
	host_pretend_boot(boot);
	for (int k = 0; k < 4; k++)
		crash_at(s, disk, &w, r == 0,
			 world_random(&s->w) % store_volatile_choices(disk),
			 adopted);
	host_pretend_boot(NULL);
	world_release(&w);
	store_close(disk);
	return fired;
}

static void test_power(void)
{
	struct store *first;
	struct scene s = { 0 };
	uint64_t adopted = 0;

	CHECK_OK(store_open_volatile(&first));
	scene_init(&s, first);
	for (uint64_t n = 1; power_at(&s, n, &adopted); n += stride())
		;
	CHECK(adopted > 100 / stride());
	scene_release(&s);
	store_close(first);
}

/* --- sessions of others --- */

static void put_session(struct store *store, const struct vault_id *id,
			struct vf_session s)
{
	DROP(buf) struct buf b = BUF_INIT(1 << 20);
	char key[VF_KEY_SIZE];

	s.vault = *id;
	s.kind = VF_BACKUP;
	s.time_ns = time_now_ns();
	snprintf(s.vm, sizeof(s.vm), "web 01");
	vf_session_put(&b, &s);
	vf_key_gen(key, "web%2001", 'w', &s.gen);
	CHECK_OK(store_put(store, key, b.data, b.len));
}

static void test_sessions(struct scene *s)
{
	DROP(store) struct store *copy = NULL;
	struct world_backup b = { .time_ns = 2000,
				  .disks = &s->disk,
				  .ndisks = 1 };
	struct vf_session other = { .gen = { 2, 77 } };
	static struct store_fault none;
	struct backup_result res;
	struct store *front;
	struct host self;
	struct world w;

	new_state();
	CHECK_OK(store_memory_copy(s->store, &copy));
	CHECK_OK(store_open_fault(copy, &none, &front));
	branch(s, &w, front);
	CHECK_OK(host_self(&self));
	/* Alive: process 1 with its own start time is never ours to kill. */
	memcpy(other.boot_id, self.boot_id, 16);
	snprintf(other.host, sizeof(other.host), "%s", self.name);
	other.pidns = self.pidns;
	other.pid = self.pid;
	other.start_ticks = self.start_ticks;
	CHECK_OK(host_live_add(&other.gen));
	put_session(copy, vault_id(w.v), other);
	CHECK_SAYS(-EBUSY, "is being backed up by process",
		   world_backup(&w, &b, &res));
	b.take_over = true;
	CHECK_SAYS(-EBUSY, "wait for it", world_backup(&w, &b, &res));
	host_live_remove(&other.gen);
	/* The same process started at another time: dead. */
	other.gen.nonce = 78;
	other.start_ticks++;
	put_session(copy, vault_id(w.v), other);
	b.take_over = false;
	CHECK_OK(world_backup(&w, &b, &res));
	CHECK(res.resumed);
	CHECK_U64(sessions(copy), 0);
	/* On another host: only if the user says so. */
	b.time_ns++;
	other.gen = (struct point_id){ 3, 79 };
	memset(other.boot_id, 9, 16);
	snprintf(other.host, sizeof(other.host), "elsewhere");
	put_session(copy, vault_id(w.v), other);
	CHECK_SAYS(-EBUSY, "--take-over", world_backup(&w, &b, &res));
	CHECK_SAYS(-EBUSY, "on host elsewhere", world_backup(&w, &b, &res));
	b.take_over = true;
	CHECK_OK(world_backup(&w, &b, &res));
	CHECK(res.resumed);
	CHECK_U64(sessions(copy), 0);
	world_release(&w);
}

/*
 * A session whose point is there, but whose record is too (its removal was undone):
 * to adopt it would declare its frames dead.
 */
static void test_settled(struct scene *s)
{
	DROP(store) struct store *copy = NULL;
	static struct store_fault none;
	struct backup_result res, again;
	struct vf_session left = { 0 };
	struct store *front;
	struct host self;
	struct world w;

	new_state();
	CHECK_OK(store_memory_copy(s->store, &copy));
	CHECK_OK(store_open_fault(copy, &none, &front));
	branch(s, &w, front);
	CHECK_OK(backup_at(s, &w, 2000, &res));
	CHECK_OK(host_self(&self));
	left.gen = res.id;
	memcpy(left.boot_id, self.boot_id, 16);
	snprintf(left.host, sizeof(left.host), "%s", self.name);
	left.pidns = self.pidns;
	left.pid = self.pid;
	left.start_ticks = self.start_ticks + 1;
	put_session(copy, vault_id(w.v), left);
	fill(&s->disk.image, 0, 10, 9000);
	CHECK_OK(backup_at(s, &w, 3000, &again));
	CHECK(!again.resumed);
	CHECK_U64(sessions(copy), 0);
	world_check_all(&w);
	world_release(&w);
	fill(&s->disk.image, 0, 60, 1000);
	fill(&s->disk.image, 40, 120, 5000);
}

/* --- races --- */

struct intruder {
	struct scene *s;
	struct world *w; /* another process's view */
	enum { PRUNE, BACKUP } what;
	bool done;
	struct backup_result res;
};

/* Before our commit is put, another one gets there. */
static void intrude(void *ctx, enum store_call call, const char *key)
{
	struct intruder *x = ctx;
	size_t first = 0;

	if (call != STORE_PUT || !strstr(key, "/c/") || x->done)
		return;
	x->done = true;
	if (x->what == PRUNE) {
		CHECK_OK(world_prune(x->w, &first, 1));
	} else {
		struct world_backup b = { .time_ns = 1500,
					  .disks = &x->s->disk,
					  .ndisks = 1 };
		/* A backup would see our session: here its record was lost. */
		DROP(store_list) struct store_list l = { 0 };

		CHECK_OK(store_list(x->w->store, "V/web%2001/w/", "", 10, false,
				    &l));
		for (size_t i = 0; i < l.count; i++)
			CHECK_OK(store_remove(x->w->store, l.entries[i].key));
		CHECK_OK(world_backup(x->w, &b, &x->res));
		world_keep(x->w, &b, &x->res);
	}
}

static void test_lost_put(struct scene *s, int what)
{
	DROP(store) struct store *copy = NULL;
	static struct store_fault none;
	struct world other, w;
	struct intruder x = { .s = s, .w = &other, .what = what };
	struct store_fault fault = { .before = intrude, .ctx = &x };
	struct backup_result res;
	struct store *front;

	new_state();
	CHECK_OK(store_memory_copy(s->store, &copy));
	CHECK_OK(store_open_fault(copy, &none, &front));
	branch(s, &other, front);
	CHECK_OK(store_open_fault(copy, &fault, &front));
	branch(s, &w, front);
	if (what == PRUNE) {
		CHECK_OK(backup_at(s, &w, 2000, &res));
		CHECK_U64(res.seq, 3);
		/* The base is gone, which the new point does not mind. */
		image_release(&w.points[0].disk[0].image);
		w.points[0] = w.points[1];
		w.n = 1;
		world_check_all(&w);
	} else {
		CHECK_SAYS(-ESTALE, "lost to another backup of web 01",
			   backup_at(s, &w, 2000, &res));
		CHECK_U64(sessions(copy), 0);
		world_check_all(&other);
	}
	CHECK(x.done);
	world_release(&w);
	world_release(&other);
}

struct racer {
	struct scene *s;
	struct world w;
	int64_t time_ns;
	int r;
	struct backup_result res;
};

static void *race(void *arg)
{
	struct racer *x = arg;
	struct world_backup b = { .time_ns = x->time_ns,
				  .disks = &x->s->disk,
				  .ndisks = 1 };

	x->r = world_backup(&x->w, &b, &x->res);
	if (x->r)
		CHECK(x->r == -EBUSY || x->r == -ESTALE);
	return NULL;
}

static void test_race(struct scene *s)
{
	int won = 0, lost = 0, races = check_all() ? 20 : 10;

	for (int i = 0; i < races; i++) {
		DROP(store) struct store *copy = NULL;
		static struct store_fault none;
		struct racer x[2];
		pthread_t t[2];
		struct world w;
		struct store *front;

		new_state();
		CHECK_OK(store_memory_copy(s->store, &copy));
		for (int k = 0; k < 2; k++) {
			x[k] = (struct racer){ .s = s, .time_ns = 2000 + k };
			CHECK_OK(store_open_fault(copy, &none, &front));
			branch(s, &x[k].w, front);
		}
		for (int k = 0; k < 2; k++)
			CHECK(pthread_create(&t[k], NULL, race, &x[k]) == 0);
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
		CHECK_OK(store_open_fault(copy, &none, &front));
		branch(s, &w, front);
		for (int k = 0; k < 2; k++) {
			struct world_backup b = { .time_ns = x[k].time_ns,
						  .disks = &s->disk,
						  .ndisks = 1 };

			won += x[k].r == 0;
			lost += x[k].r != 0;
			if (x[k].r == 0)
				world_keep(&w, &b, &x[k].res);
			world_release(&x[k].w);
		}
		world_check_all(&w);
		CHECK_U64(sessions(copy), 0);
		world_release(&w);
	}
	CHECK(won >= races && lost > 0);
}

int main(void)
{
	struct store *memory;
	struct scene s = { 0 };

	world_home();
	CHECK_OK(store_open_memory(&memory));
	scene_init(&s, memory);
	test_sessions(&s);
	test_settled(&s);
	test_barrier(&s, false);
	test_barrier(&s, true);
	test_kill(&s);
	test_kill_twice(&s);
	test_lost_put(&s, PRUNE);
	test_lost_put(&s, BACKUP);
	test_race(&s);
	test_power();
	scene_release(&s);
	store_close(memory);
	return 0;
}
