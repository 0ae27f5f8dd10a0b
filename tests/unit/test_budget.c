// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What opening and reading costs, counted in requests and bytes that a store is asked
 * for, on a vault as large as they come: a full disk of 32 TiB, 3,650 points, and
 * pages whose entries lie in as many generations as they can.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/base/parse.h"
#include "backend/vault/vault.h"
#include "fs/view.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_synth.h"
#include "tests/unit/check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define KIB 1024u
#define MIB (1024u * KIB)
#define TIB ((uint64_t)MIB * MIB)
#define DAY_NS (INT64_C(86400) * 1000000000)

/* The budgets. */
#define OPEN_REQUESTS 8
#define OPEN_BYTES (64 * KIB)
#define FIRST_REQUESTS 4
#define FIRST_BYTES (192 * KIB)
#define MEMORY_KIB (64 * KIB)

#define CACHE_SIZE (32 * MIB)
#define RANDOM_READS (SANITIZED || !check_all() ? 1000 : 10000)

/* --- what was asked --- */

enum asked {
	ASKED_FRAME,
	ASKED_TABLE,
	ASKED_LEAF,
	ASKED_INNER,
	ASKED_OTHER,
	ASKED_KINDS
};

#define TRACE_MAX 64

struct trace {
	struct store_fault fault;
	unsigned of[ASKED_KINDS];
	char line[TRACE_MAX][160];
	unsigned n;
};

/* The synthetic store's numbering of index objects tells their kind. */
static enum asked kind_of(const char *key)
{
	const char *m = strstr(key, "/m/");

	if (strstr(key, "/s/"))
		return ASKED_FRAME;
	if (!m)
		return ASKED_OTHER;
	switch (m[3 + 8]) {
	case '8':
		return ASKED_INNER;
	case '4':
		return ASKED_LEAF;
	default:
		return ASKED_TABLE;
	}
}

static void note(void *ctx, enum store_call call, const char *key)
{
	static const char *const name[] = { "stat",    "read", "get",	"put",
					    "barrier", "list", "remove" };
	struct trace *t = ctx;

	t->of[kind_of(key)]++;
	snprintf(t->line[t->n % TRACE_MAX], sizeof(t->line[0]), "%s %s",
		 name[call], key);
	t->n++;
}

static void reset(struct trace *t)
{
	store_fault_reset(&t->fault);
	memset(t->of, 0, sizeof(t->of));
	t->n = 0;
}

/* Says what was asked when it was too much. */
static void within(const struct trace *t, const char *what, uint64_t requests,
		   uint64_t bytes)
{
	uint64_t n = t->fault.total, b = t->fault.bytes_read;

	printf("%s: %" PRIu64 " requests of %" PRIu64 ", %" PRIu64
	       " bytes of %" PRIu64 "\n",
	       what, n, requests, b, bytes);
	if (n <= requests && b <= bytes)
		return;
	for (unsigned i = 0; i < t->n && i < TRACE_MAX; i++)
		fprintf(stderr, "  %s\n", t->line[i]);
	CHECK_U64(n, requests);
	CHECK_U64(b, bytes);
}

/* --- a vault, opened --- */

static const struct store_synth large = {
	.disk_size = 32 * TIB,
	.generations = 3650,
	.points = 3650,
	.vms = 1,
	.first_ns = INT64_C(1262304000) * 1000000000, /* 2010 */
	.step_ns = DAY_NS,
};

struct opened {
	struct store *inner;
	struct trace trace;
	struct cache *cache;
	struct catalog *catalog;
};

static void open_vault(const struct store_synth *o, struct opened *v)
{
	struct catalog_options co = { .refresh_ms = 3600 * 1000 };
	struct store *s;

	memset(v, 0, sizeof(*v));
	v->trace.fault.before = note;
	v->trace.fault.ctx = &v->trace;
	CHECK_OK(store_open_synth(o, &v->inner));
	CHECK_OK(store_open_fault(v->inner, &v->trace.fault, &s));
	CHECK_OK(cache_new(CACHE_SIZE, &v->cache));
	co.cache = v->cache;
	CHECK_OK(catalog_open_vault(s, &co, &v->catalog));
}

static void close_vault(struct opened *v)
{
	catalog_close(v->catalog);
	cache_free(v->cache);
	store_close(v->inner);
}

static struct source *open_disk(struct opened *v, const struct point_row *row)
{
	struct point_info *p = NULL;
	struct source *src = NULL;

	CHECK_OK(catalog_point(v->catalog, SYNTH_VAULT, "vm-00000", row, &p));
	CHECK_U64(p->ndisks, 1);
	CHECK_OK(catalog_open_disk(v->catalog, SYNTH_VAULT, "vm-00000", p, 0,
				   &src));
	point_info_unref(p);
	return src;
}

static void read_4k(const struct store_synth *o, struct source *src,
		    uint64_t off)
{
	uint8_t got[4 * KIB], want[4 * KIB];

	CHECK_OK(source_read(src, got, sizeof(got), off));
	store_synth_expect(o, want, sizeof(want), off);
	CHECK_MEM(got, want, sizeof(got));
}

static int count_one(void *ctx, const char *name, const struct entry_attr *attr,
		     uint64_t cookie)
{
	++*(uint64_t *)ctx;
	return 0;
}

/* --- tests --- */

/* From nothing to an open disk, then its first bytes. which is -1 for "latest". */
static void open_one(long which, uint64_t off)
{
	struct opened v;
	struct point_row row;
	struct source *src;
	char text[TIME_TEXT_SIZE], what[80];

	open_vault(&large, &v);
	if (which < 0) {
		snprintf(text, sizeof(text), "latest");
	} else {
		time_iso(large.first_ns + which * large.step_ns, text);
	}
	CHECK_OK(catalog_find_point(v.catalog, SYNTH_VAULT, "vm-00000", text,
				    &row));
	if (which >= 0)
		CHECK(row.time_ns == large.first_ns + which * large.step_ns);
	src = open_disk(&v, &row);
	CHECK_U64(source_size(src), large.disk_size);
	snprintf(what, sizeof(what), "open %s", text);
	within(&v.trace, what, OPEN_REQUESTS, OPEN_BYTES);
	reset(&v.trace);
	read_4k(&large, src, off);
	snprintf(what, sizeof(what), "first 4 KiB of %s", text);
	within(&v.trace, what, FIRST_REQUESTS, FIRST_BYTES);
	source_close(src);
	close_vault(&v);
}

static void test_open(void)
{
	long last = large.points - 1;

	open_one(-1, 0);
	open_one(last, large.disk_size - 4 * KIB);
	open_one(0, 0);
	open_one(last / 2, large.disk_size / 2);
	/* At the edges of a page of the index. */
	open_one(VF_INDEX_ROWS - 1, 7 * TIB + 68 * KIB);
	open_one(VF_INDEX_ROWS, 9 * TIB + 60 * KIB);
	open_one(last / VF_INDEX_ROWS * VF_INDEX_ROWS - 1, 0);
	open_one(last / VF_INDEX_ROWS * VF_INDEX_ROWS, 0);
}

/* The same through the tree of the mount, name by name, as the kernel asks. */
static void view_one(long which, uint64_t off)
{
	struct view_options vo = { .fresh_ms = 5000 };
	struct opened v;
	struct folder *at;
	struct source *src;
	struct entry_attr attr;
	char point[TIME_TEXT_SIZE], what[80];
	const char *path[] = { SYNTH_VAULT, "vm-00000", point, "disks" };

	time_name(large.first_ns + which * large.step_ns, point);
	open_vault(&large, &v);
	CHECK_OK(view_open(&v.catalog, 1, &vo, &at));
	for (size_t i = 0; i < ARRAY_SIZE(path); i++) {
		struct folder *in;

		CHECK_OK(folder_lookup(at, path[i], &attr));
		CHECK_OK(folder_open_dir(at, path[i], &in));
		folder_close(at);
		at = in;
	}
	CHECK_OK(folder_lookup(at, SYNTH_DISK ".img", &attr));
	CHECK_U64(attr.size, large.disk_size);
	CHECK_OK(folder_open(at, SYNTH_DISK ".img", &src));
	snprintf(what, sizeof(what), "open %s in the mount", point);
	within(&v.trace, what, OPEN_REQUESTS, OPEN_BYTES);
	reset(&v.trace);
	read_4k(&large, src, off);
	within(&v.trace, "first 4 KiB in the mount", FIRST_REQUESTS,
	       FIRST_BYTES);
	source_close(src);
	folder_close(at);
	close_vault(&v);
}

static void test_view(void)
{
	long last = large.points - 1;

	view_one(last, 0);
	view_one(0, 0);
	view_one(last / 2, large.disk_size / 2);
	view_one(VF_INDEX_ROWS - 1, 0);
	view_one(VF_INDEX_ROWS, 0);
}

/* Two requests that go out together: each waits for the other to have begun, so who sends
 * one after the other's answer never gets on. */
struct pair {
	enum store_call call[2];
	const char *key[2];
	bool begun[2];
};

static struct {
	pthread_mutex_t lock; /* protects pairs */
	pthread_cond_t changed;
	struct pair pairs[2];
} together = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.pairs = { { { STORE_GET, STORE_LIST }, { "vault.hdr", "h/" }, { 0 } },
		   { { STORE_GET, STORE_STAT }, { "/c/", "/c/" }, { 0 } } },
};

static void note_far(void *ctx, enum store_call call, const char *key)
{
	DROP(lock) pthread_mutex_t *held = lock(&together.lock);

	note(ctx, call, key);
	for (size_t i = 0; i < ARRAY_SIZE(together.pairs); i++) {
		struct pair *p = &together.pairs[i];

		for (size_t k = 0; k < 2; k++) {
			if (p->call[k] != call || !strstr(key, p->key[k]))
				continue;
			p->begun[k] = true;
			pthread_cond_broadcast(&together.changed);
			while (!p->begun[!k])
				pthread_cond_wait(&together.changed, held);
		}
	}
}

#define ROUND_TRIPS 10

/* A vault far away: mounted, its VMs and points listed, a disk of 32 TiB opened and read. */
static void test_round_trips(void)
{
	struct view_options vo = { .fresh_ms = 5000 };
	struct catalog_options co = { .refresh_ms = 3600 * 1000 };
	struct opened v = { 0 };
	struct folder *root, *vault, *vm, *point, *disks;
	struct entry_attr attr;
	struct source *src;
	struct store *s;
	uint64_t n = 0;
	char name[TIME_TEXT_SIZE];

	v.trace.fault.before = note_far;
	v.trace.fault.ctx = &v.trace;
	v.trace.fault.remote = true;
	CHECK_OK(store_open_synth(&large, &v.inner));
	CHECK_OK(store_open_fault(v.inner, &v.trace.fault, &s));
	CHECK_OK(cache_new(CACHE_SIZE, &v.cache));
	co.cache = v.cache;
	CHECK_OK(catalog_open_vault(s, &co, &v.catalog));
	CHECK_OK(view_open(&v.catalog, 1, &vo, &root));
	CHECK_OK(folder_open_dir(root, SYNTH_VAULT, &vault));
	CHECK_OK(folder_list(vault, 0, count_one, &n));
	CHECK_OK(folder_open_dir(vault, "vm-00000", &vm));
	time_name(large.first_ns + (large.points - 1) * large.step_ns, name);
	CHECK_OK(folder_lookup(vm, name, &attr));
	CHECK_OK(folder_open_dir(vm, name, &point));
	CHECK_OK(folder_open_dir(point, "disks", &disks));
	CHECK_OK(folder_lookup(disks, SYNTH_DISK ".img", &attr));
	CHECK_OK(folder_open(disks, SYNTH_DISK ".img", &src));
	read_4k(&large, src, 7 * TIB);
	/* The first of each pair goes with the second. */
	within(&v.trace, "mount, list, open, read 4 KiB from afar",
	       ROUND_TRIPS + ARRAY_SIZE(together.pairs), 384 * KIB);
	source_close(src);
	folder_close(disks);
	folder_close(point);
	folder_close(vm);
	folder_close(vault);
	folder_close(root);
	close_vault(&v);
}

/* The same numbers on every machine. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static uint64_t peak_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

/* Each random read costs one frame, and pages that are not in the cache once each. */
static void test_random(void)
{
	struct opened v;
	struct point_row row;
	struct source *src;
	uint64_t x = 1, requests, bytes;
	unsigned frames = 0;

	open_vault(&large, &v);
	CHECK_OK(catalog_latest(v.catalog, SYNTH_VAULT, "vm-00000", &row));
	src = open_disk(&v, &row);
	requests = v.trace.fault.total;
	bytes = v.trace.fault.bytes_read;
	for (int i = 0; i < RANDOM_READS; i++) {
		uint64_t off = next_random(&x) % (large.disk_size / (4 * KIB)) *
			       (4 * KIB);

		reset(&v.trace);
		read_4k(&large, src, off);
		CHECK(v.trace.of[ASKED_FRAME] <= 1);
		CHECK(v.trace.of[ASKED_TABLE] <= 1);
		CHECK(v.trace.of[ASKED_LEAF] <= 1);
		CHECK(v.trace.of[ASKED_INNER] <= 1);
		CHECK_U64(v.trace.of[ASKED_OTHER], 0);
		frames += v.trace.of[ASKED_FRAME];
		requests += v.trace.fault.total;
		bytes += v.trace.fault.bytes_read;
		/* What lies beside it in its frame costs nothing more. */
		reset(&v.trace);
		read_4k(&large, src, off ^ (4 * KIB));
		CHECK_U64(v.trace.fault.total, 0);
	}
	/* A frame that was read of another place with the same bytes is no request. */
	CHECK(frames <= RANDOM_READS && frames > RANDOM_READS / 2);
	printf("%d random reads: %" PRIu64 " requests, %u of frames, %" PRIu64
	       " bytes\n",
	       RANDOM_READS, requests, frames, bytes);
	source_close(src);
	close_vault(&v);
	printf("peak memory: %" PRIu64 " KiB of %u\n", peak_kib(), MEMORY_KIB);
	if (!SANITIZED)
		CHECK(peak_kib() <= MEMORY_KIB);
}

/* Reading on through a chunk asks for its pages once and each frame's bytes once. */
static void test_sequential(void)
{
	DROP(mem) uint8_t *got = malloc(MIB), *want = malloc(MIB);
	struct opened v;
	struct point_row row;
	struct source *src;

	CHECK(got && want);
	open_vault(&large, &v);
	CHECK_OK(catalog_latest(v.catalog, SYNTH_VAULT, "vm-00000", &row));
	src = open_disk(&v, &row);
	reset(&v.trace);
	for (unsigned i = 0; i < 64; i++) {
		uint64_t off = 5 * TIB + (uint64_t)i * MIB;

		CHECK_OK(source_read(src, got, MIB, off));
		store_synth_expect(&large, want, MIB, off);
		CHECK_MEM(got, want, MIB);
	}
	CHECK_U64(v.trace.of[ASKED_INNER], 1);
	CHECK_U64(v.trace.of[ASKED_LEAF], 1);
	CHECK_U64(v.trace.of[ASKED_TABLE], 64);
	CHECK(v.trace.of[ASKED_FRAME] <= 64 * 16);
	source_close(src);
	close_vault(&v);
}

/* 10,000 points are listed with one request a page of the index. */
static void test_list(void)
{
	struct store_synth o = large;
	struct opened v;
	uint64_t pages, listed = 0, count, version;
	int64_t from = INT64_MIN;
	struct view_options vo = { .fresh_ms = 5000 };
	struct folder *root, *vault, *vm;

	o.points = 10000;
	o.step_ns = DAY_NS / 24;
	pages = (o.points + VF_INDEX_ROWS - 1) / VF_INDEX_ROWS;
	open_vault(&o, &v);
	CHECK_OK(catalog_count(v.catalog, SYNTH_VAULT, "vm-00000", &count,
			       &version));
	CHECK_U64(count, o.points);
	reset(&v.trace);
	for (bool more = true; more;) {
		DROP(point_page) struct point_page p = { 0 };

		CHECK_OK(catalog_points(v.catalog, SYNTH_VAULT, "vm-00000",
					from, 100, &p));
		CHECK(p.count > 0);
		for (size_t i = 0; i < p.count; i++)
			CHECK(p.rows[i].time_ns ==
			      o.first_ns + (int64_t)(listed + i) * o.step_ns);
		listed += p.count;
		from = p.rows[p.count - 1].time_ns + 1;
		more = p.more;
	}
	CHECK_U64(listed, o.points);
	within(&v.trace, "list 10,000 points", pages, pages * 21 * KIB);
	close_vault(&v);

	/* And as `ls` does. */
	open_vault(&o, &v);
	CHECK_OK(view_open(&v.catalog, 1, &vo, &root));
	CHECK_OK(folder_open_dir(root, SYNTH_VAULT, &vault));
	CHECK_OK(folder_open_dir(vault, "vm-00000", &vm));
	listed = 0;
	CHECK_OK(folder_list(vm, 0, count_one, &listed));
	CHECK(listed >= o.points);
	within(&v.trace, "open, and list 10,000 points in the mount",
	       OPEN_REQUESTS + pages, (pages + 2) * 21 * KIB);
	folder_close(vm);
	folder_close(vault);
	folder_close(root);
	close_vault(&v);
}

/* 500 VMs of 200 points: opened and listed without reading a commit. */
static void test_many(void)
{
	struct store_synth o = large;
	struct opened v;
	DROP(name_page) struct name_page vms = { 0 };
	DROP(name_page) struct name_page far = { 0 };

	o.vms = 500;
	o.points = 200;
	open_vault(&o, &v);
	within(&v.trace, "open a vault of 100,000 points", 3, 4 * KIB);
	reset(&v.trace);
	CHECK_OK(catalog_vms(v.catalog, SYNTH_VAULT, "", 1000, &vms));
	CHECK_U64(vms.count, o.vms);
	within(&v.trace, "list 500 VMs", o.vms + 1, 0);
	close_vault(&v);

	/* From afar, many at once and in the same order. */
	open_vault(&o, &v);
	v.trace.fault.before = NULL; /* not for many threads */
	vault_store(catalog_vault(v.catalog))->remote = true;
	CHECK_OK(catalog_vms(v.catalog, SYNTH_VAULT, "", 300, &far));
	CHECK(far.count == 300 && far.more);
	for (size_t i = 0; i < far.count; i++)
		CHECK_STR(far.names[i], vms.names[i]);
	close_vault(&v);
}

int main(void)
{
	char dir[512];

	/* What was seen of these vaults is nobody's business. */
	snprintf(dir, sizeof(dir), "%s/vaultfs-budget.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	CHECK(mkdtemp(dir));
	setenv("VAULTFS_CONFIG_DIR", dir, 1);
	setenv("VAULTFS_STATE_DIR", dir, 1);
	test_random();
	test_open();
	test_view();
	test_round_trips();
	test_sequential();
	test_list();
	test_many();
	return 0;
}
