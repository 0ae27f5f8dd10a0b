// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 120
/*
 * The point index as the writer changes it: many points in a random order of time, pruned at
 * random, against a model; sweeps that come in between; what a caller can get wrong; writer keys.
 */
#include "backend/vault/writer.h"

#include <errno.h>
#include <stdio.h>

#include "backend/base/parse.h"
#include "backend/vault/format_impl.h"
#include "backend/vault/keys.h"
#include "tests/fakes/source_fault.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

#define POINTS 1000

/* --- against a model --- */

struct model {
	struct entry {
		int64_t time_ns;
		struct point_id id;
	} e[POINTS];
	size_t n;
};

static int by_time(const void *x, const void *y)
{
	const struct entry *a = x, *b = y;

	return a->time_ns < b->time_ns ? -1 : a->time_ns > b->time_ns;
}

static void check_index(struct world *w, struct model *m)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct point_row rows[VF_INDEX_ROWS];
	struct vf_point newest = { 0 };
	size_t at = 0, n;

	CHECK_OK(vault_head(w->v, "web 01", 0, &h));
	qsort(m->e, m->n, sizeof(m->e[0]), by_time);
	CHECK_U64(h->c.npoints, m->n);
	for (size_t i = 0; i < h->c.npages; i++) {
		CHECK_OK(vault_index_page(w->v, h, i, rows, &n));
		CHECK_U64(n, h->c.pages[i].rows);
		for (size_t k = 0; k < n; k++, at++) {
			CHECK(at < m->n);
			CHECK(rows[k].time_ns == m->e[at].time_ns);
			CHECK(point_id_equal(&rows[k].id, &m->e[at].id));
		}
	}
	CHECK_U64(at, m->n);
	CHECK((h->c.newest != NULL) == (m->n > 0));
	if (!m->n)
		return;
	CHECK_U64(h->c.pages[h->c.npages - 1].commit, h->c.seq);
	CHECK_OK(vf_point_parse(h->c.newest, h->c.newest_length, &newest));
	CHECK(point_id_equal(&newest.id, &m->e[m->n - 1].id));
	vf_point_release(&newest);
}

static void add_point(struct world *w, struct model *m, struct world_disk *d,
		      int64_t t)
{
	struct world_backup b = { .time_ns = t, .disks = d, .ndisks = 1 };
	struct backup_result res;

	for (size_t i = 0; i < m->n; i++) {
		if (m->e[i].time_ns != t)
			continue;
		CHECK_SAYS(-EEXIST, "already", world_backup(w, &b, &res));
		return;
	}
	CHECK_OK(world_backup(w, &b, &res));
	m->e[m->n++] = (struct entry){ t, res.id };
}

static void prune_some(struct world *w, struct model *m, bool oldest)
{
	DROP(mem) struct point_id *ids = calloc(m->n + 1, sizeof(*ids));
	size_t n = 0, kept = 0, want = 1 + world_pick(w, m->n);

	for (size_t i = 0; i < m->n; i++) {
		bool drop = oldest ? i < want : world_pick(w, m->n) < want;

		if (drop)
			ids[n++] = m->e[i].id;
		else
			m->e[kept++] = m->e[i];
	}
	m->n = kept;
	if (n)
		CHECK_OK(vault_prune(w->v, "web 01", ids, n));
}

static void world_of(struct world *w, struct store *under,
		     struct store_fault *f)
{
	struct store *front;

	CHECK_OK(store_open_fault(under, f, &front));
	world_init(w, front, 3);
}

static void test_model(void)
{
	DROP(store) struct store *memory = NULL;
	static struct model m;
	struct store_fault none = { 0 };
	struct world_disk d = { .name = "os" };
	size_t points = check_all() ? POINTS : 2 * VF_INDEX_ROWS + 50;
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	world_of(&w, memory, &none);
	image_make(&d.image, 5);
	d.image.frame[0] = 1;
	/* The first half as time goes, the other anywhere: of several pages. */
	for (size_t i = 0; i < points; i++) {
		add_point(&w, &m, &d,
			  i < points / 2 ? (int64_t)i * 1000
					 : (int64_t)world_pick(&w, 500000));
		if (i % 97 == 0)
			check_index(&w, &m);
	}
	check_index(&w, &m);
	for (int i = 0; m.n; i++) {
		prune_some(&w, &m, i % 3 == 0);
		check_index(&w, &m);
		/* Gaps are filled again. */
		for (int k = 0; i < 4 && k < 40; k++)
			add_point(&w, &m, &d, (int64_t)world_pick(&w, 500000));
		check_index(&w, &m);
	}
	/* A VM without points is still one, and goes on. */
	add_point(&w, &m, &d, 7);
	check_index(&w, &m);
	image_release(&d.image);
	world_release(&w);
}

/* --- sweeps --- */

/* Another program that does what no code here does yet: claims one object, in an intent commit. */
struct sweeper {
	struct world *w;
	struct point_id claim; /* generation, of which it claims segment 0 */
	bool claim_session;    /* of the newest session */
	const struct point_id *drop; /* a point to prune first */
	int at;			     /* the how manieth put of a commit */
};

static void claim(struct sweeper *x)
{
	DROP(vm_head) struct vm_head *h = NULL;
	DROP(secret) struct secret *seed = NULL;
	DROP(buf) struct buf b = BUF_INIT(1 << 20);
	DROP(mem) const struct buf **inl = NULL;
	struct buf page = BUF_INIT(1 << 20);
	struct point_row rows[VF_INDEX_ROWS];
	struct point_id gen = { 1, 0 };
	struct vf_commit c = { 0 };
	char key[VF_KEY_SIZE];
	size_t at, n;

	if (x->drop)
		CHECK_OK(vault_prune(x->w->v, "web 01", x->drop, 1));
	if (x->claim_session) {
		DROP(store_list) struct store_list l = { 0 };

		CHECK_OK(store_list(x->w->store, "V/web%2001/w/", "", 10, false,
				    &l));
		CHECK_U64(l.count, 1);
		CHECK_OK(vf_key_parse_gen(strrchr(l.entries[0].key, '/') + 1,
					  &x->claim));
	}
	CHECK_OK(random_bytes(&gen.nonce, sizeof(gen.nonce)));
	at = record_begin(&b, "VFls");
	buf_u16(&b, 3);
	buf_u16(&b, 1);
	buf_u16(&b, 1);
	buf_u16(&b, 0);
	buf_u32(&b, 1);
	buf_u32(&b, 0);
	buf_name(&b, "os");
	buf_gen(&b, &x->claim);
	buf_zero(&b, 16); /* disk 0, row 0, segment 0 */
	record_end(&b, at);
	vf_key_gen(key, "web%2001", 'l', &gen);
	CHECK_OK(store_put(x->w->store, key, b.data, b.len));
	CHECK_OK(vault_head(x->w->v, "web 01", 0, &h));
	c = h->c;
	c.bytes = NULL;
	c.ids = NULL;
	c.new_flags = NULL;
	c.new_expiry = NULL;
	c.seq++;
	c.prev = h->c.digest;
	c.kind = VF_INTENT;
	c.session = gen;
	c.last_intent = c.seq;
	sha256(b.data, b.len, &c.list_digest);
	c.list_length = (uint32_t)b.len;
	c.pages = calloc(c.npages + 1, sizeof(*c.pages));
	inl = calloc(c.npages + 1, sizeof(struct buf *));
	CHECK(c.pages && inl);
	memcpy(c.pages, h->c.pages, c.npages * sizeof(*c.pages));
	if (c.npages) {
		CHECK_OK(vault_index_page(x->w->v, h, c.npages - 1, rows, &n));
		vf_index_put(&page, rows, n);
		c.pages[c.npages - 1].commit = c.seq;
		inl[c.npages - 1] = &page;
	}
	CHECK_OK(keys_load(vault_id(x->w->v), "writer", &seed));
	CHECK_OK(vf_commit_build(&c, inl, seed));
	vf_key_commit(key, "web%2001", c.seq);
	CHECK_OK(store_put(x->w->store, key, c.bytes, c.length));
	vf_commit_release(&c);
	buf_release(&page);
}

static void before_commit(void *ctx, enum store_call call, const char *key)
{
	struct sweeper *x = ctx;

	if (call == STORE_PUT && strstr(key, "/c/") && x->at > 0 &&
	    --x->at == 0)
		claim(x);
}

static void test_sweep(void)
{
	DROP(store) struct store *memory = NULL;
	struct store_fault none = { 0 };
	struct world other, w;
	struct sweeper x = { .w = &other, .claim = { 1, 1 } };
	struct store_fault fault = { .before = before_commit, .ctx = &x };
	struct world_disk d = { .name = "os" };
	struct world_backup b = { .disks = &d, .ndisks = 1 };
	struct backup_result first, res;
	struct store *front;

	CHECK_OK(store_open_memory(&memory));
	world_of(&other, memory, &none);
	CHECK_OK(store_open_fault(memory, &fault, &front));
	memset(&w, 0, sizeof(w));
	w.random = 5;
	world_open(&w, front);
	image_make(&d.image, 200000);
	d.image.frame[1] = 4;
	b.time_ns = 1;
	CHECK_OK(world_backup(&w, &b, &first));
	world_keep(&w, &b, &first);
	/* Of what is not ours: no matter. */
	x.at = 1;
	b.time_ns = 2;
	CHECK_OK(world_backup(&w, &b, &res));
	CHECK_U64(res.seq, 3);
	world_keep(&w, &b, &res);
	/* Of what we stored (a sweep that ignores sessions). */
	x.at = 1;
	x.claim_session = true;
	d.image.frame[0] = 8;
	b.time_ns = 3;
	CHECK_SAYS(-ESTALE, "claimed what this backup stored",
		   world_backup(&w, &b, &res));
	x.claim_session = false;
	CHECK_OK(world_backup(&w, &b, &res));
	world_keep(&w, &b, &res);
	/* The base was dropped, then swept. */
	x.at = 1;
	x.claim = (struct point_id){ 1, 1 };
	x.drop = &first.id;
	b.base = &first.id;
	b.time_ns = 4;
	CHECK_SAYS(-ESTALE, "the base was dropped and swept",
		   world_backup(&w, &b, &res));
	CHECK_SAYS(-ENOENT, "has no point", world_backup(&w, &b, &res));
	b.base = NULL;
	x.drop = NULL;
	CHECK_OK(world_backup(&w, &b, &res));
	image_release(&d.image);
	world_release(&w);
	world_release(&other);
}

/* --- what a caller can get wrong --- */

struct call {
	struct world *w;
	struct backup_disk d[2];
	struct backup_request rq;
	struct backup_result res;
};

static void call_init(struct call *c, struct world *w, struct source *image)
{
	memset(c, 0, sizeof(*c));
	c->w = w;
	c->d[0] = (struct backup_disk){ .name = "os", .image = image };
	c->d[1] = (struct backup_disk){ .name = "lun0", .image = image };
	c->rq = (struct backup_request){
		.vm = "vm",
		.time_ns = 5,
		.consistency = CONSISTENCY_CRASH,
		.disks = c->d,
		.ndisks = 2,
	};
}

static int run(struct call *c)
{
	return vault_backup(c->w->v, &c->rq, &c->res);
}

static int stop(void *ctx, const struct backup_progress *p)
{
	uint64_t *calls = ctx;

	CHECK(p->done <= p->total && p->disk);
	return ++*calls == 3;
}

static int has_changed(struct source *image)
{
	return fail(-ESTALE, "the file is another");
}

static void test_requests(void)
{
	DROP(store) struct store *memory = NULL;
	struct store_fault none = { 0 };
	struct source_fault broken = { 0 };
	struct image image = { 0 };
	struct source *src, *raw;
	struct label labels[2] = { { (char *)"b", (char *)"2" },
				   { (char *)"a", (char *)"1" } };
	struct extents some = { .r = (struct extent_range[]){ { 70000, 5 } },
				.n = 1 };
	struct extents past = { .r = (struct extent_range[]){ { 5, 1u << 30 } },
				.n = 1 };
	struct point_id no = { 1, 2 };
	struct vault_point *p;
	struct point_row row;
	struct vm_head *h;
	struct world w;
	struct call c;
	uint64_t calls = 0;

	CHECK_OK(store_open_memory(&memory));
	world_of(&w, memory, &none);
	image_make(&image, 3u << 20);
	for (uint64_t f = 0; f < 48; f++)
		image.frame[f] = 4 * (uint32_t)f + 4;
	CHECK_OK(source_open_fault(image_source(&image), &broken, &src));
	call_init(&c, &w, src);
	c.rq.vm = "a/b";
	CHECK_SAYS(-EINVAL, "VM name", run(&c));
	call_init(&c, &w, src);
	c.d[1].name = "os";
	CHECK_SAYS(-EINVAL, "disk os is given twice", run(&c));
	c.d[1].name = "..";
	CHECK_FAILS(-EINVAL, run(&c));
	call_init(&c, &w, src);
	c.rq.ndisks = 0;
	CHECK_FAILS(-EINVAL, run(&c));
	call_init(&c, &w, src);
	c.rq.consistency = CONSISTENCY_UNKNOWN;
	CHECK_FAILS(-EINVAL, run(&c));
	call_init(&c, &w, src);
	c.rq.time_ns = -1;
	CHECK_SAYS(-EINVAL, "not before 1970", run(&c));
	call_init(&c, &w, src);
	c.d[0].changed = &some;
	CHECK_SAYS(-EINVAL, "name the base", run(&c));
	c.rq.base = &no;
	CHECK_SAYS(-ENOENT, "vm has no point", run(&c));
	/* Nothing of all that made a VM. */
	CHECK_FAILS(-ENOENT, vault_head(w.v, "vm", 0, &h));
	/* The image fails, changes, the user stops: sessions stay, and are taken over. */
	call_init(&c, &w, src);
	broken.fail_read = 2;
	CHECK_SAYS(-EIO, "lun0", run(&c));
	broken.fail_read = 0;
	c.d[0].unchanged = has_changed;
	CHECK_SAYS(-ESTALE,
		   "os: the image changed while it was read; snapshot it first",
		   run(&c));
	c.d[0].unchanged = NULL;
	c.rq.progress = stop;
	c.rq.progress_ctx = &calls;
	CHECK_FAILS(-ECANCELED, run(&c));
	c.rq.progress = NULL;
	c.rq.labels = labels;
	c.rq.nlabels = 2;
	CHECK_OK(run(&c));
	CHECK(c.res.resumed && c.res.adopted_frames > 40);
	CHECK_OK(vault_head(w.v, "vm", 0, &h));
	CHECK_OK(vault_find_id(w.v, h, &c.res.id, &row));
	CHECK_OK(vault_point(w.v, h, &row, &p));
	CHECK_U64(p->info.nlabels, 2);
	CHECK_STR(p->info.labels[0].key, "a");
	CHECK_STR(p->info.disks[0].name, "lun0");
	point_info_unref(&p->info);
	vm_head_unref(h);
	/* Changed extents: only they are read, and checks find what they hide. */
	raw = c.d[0].image;
	no = c.res.id;
	c.rq.base = &no;
	c.rq.time_ns = 6;
	c.d[0].changed = c.d[1].changed = &some;
	image.frame[1] = 999;
	CHECK_OK(run(&c));
	CHECK_U64(c.res.read_bytes, 2 * VF_FRAME_SIZE);
	CHECK_U64(c.res.new_frames, 2);
	c.rq.time_ns = 7;
	c.rq.check_percent = 100;
	CHECK_OK(run(&c));
	CHECK_U64(c.res.read_bytes, 2 * (2 * (1u << 20) + VF_FRAME_SIZE));
	image.frame[40] = 999;
	c.rq.time_ns = 8;
	CHECK_SAYS(-EBADMSG, "lun0: chunk at offset 2097152 differs from point",
		   run(&c));
	c.d[1].changed = &past;
	CHECK_SAYS(-EINVAL, "lun0: an extent of", run(&c));
	/* A disk that the base does not have. */
	c.d[1].name = "new";
	c.d[1].changed = &some;
	CHECK_SAYS(-EINVAL, "new: point", run(&c));
	c.d[1].changed = NULL;
	c.rq.check_percent = 0;
	CHECK_OK(run(&c));
	CHECK(raw == src);
	source_close(src);
	image_release(&image);
	world_release(&w);
}

static void test_prune_refusals(void)
{
	DROP(store) struct store *memory = NULL;
	struct store_fault none = { 0 };
	struct world_disk d = { .name = "os" };
	struct world_backup b = { .time_ns = 1, .disks = &d, .ndisks = 1 };
	struct backup_result res;
	struct point_id ids[2];
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	world_of(&w, memory, &none);
	CHECK_FAILS(-ENOENT, vault_prune(w.v, "web 01", ids, 1));
	image_make(&d.image, 1);
	CHECK_OK(world_backup(&w, &b, &res));
	ids[0] = ids[1] = res.id;
	CHECK_SAYS(-EINVAL, "named twice", vault_prune(w.v, "web 01", ids, 2));
	ids[1].nonce++;
	CHECK_SAYS(-ENOENT, "not all", vault_prune(w.v, "web 01", ids, 2));
	CHECK_FAILS(-ENOENT, vault_prune(w.v, "web 01", ids + 1, 1));
	CHECK_OK(vault_prune(w.v, "web 01", ids, 1));
	CHECK_OK(vault_prune(w.v, "web 01", ids, 0));
	image_release(&d.image);
	world_release(&w);
}

static void test_keys(void)
{
	DROP(store) struct store *memory = NULL;
	DROP(secret) struct secret *seed = NULL;
	struct store_fault none = { 0 };
	struct world_disk d = { .name = "os" };
	struct world_backup b = { .time_ns = 1, .disks = &d, .ndisks = 1 };
	struct backup_result res;
	struct sign_public key, mine;
	struct vault_config *cfg;
	struct world w;

	CHECK_OK(store_open_memory(&memory));
	world_of(&w, memory, &none);
	image_make(&d.image, 1);
	CHECK_OK(world_backup(&w, &b, &res));
	world_keep(&w, &b, &res);
	CHECK_OK(sign_new_key(&seed));
	CHECK_OK(sign_public_of(seed, &key));
	CHECK_FAILS(-ENOENT, vault_key_retire(w.v, &key));
	CHECK_OK(vault_key_add(w.v, &key, "other host"));
	CHECK_SAYS(-EINVAL, "already", vault_key_add(w.v, &key, "again"));
	CHECK_OK(vault_key_local(w.v, &mine));
	CHECK_SAYS(-EINVAL, "already", vault_key_add(w.v, &mine, "mine"));
	CHECK_OK(vault_key_retire(w.v, &mine));
	CHECK_SAYS(-EINVAL, "retired already", vault_key_retire(w.v, &mine));
	CHECK_SAYS(-EINVAL, "cannot come back", vault_key_add(w.v, &mine, "x"));
	cfg = vault_config_ref(w.v);
	CHECK_U64(cfg->c.nkeys, 2);
	CHECK_U64(cfg->c.nheads, 1);
	CHECK_U64(cfg->c.heads[0].seq, 1);
	vault_config_unref(cfg);
	/* What the key made before still counts; it makes no more. */
	world_check_all(&w);
	b.time_ns = 2;
	CHECK_FAILS(-EKEYREJECTED, world_backup(&w, &b, &res));
	image_release(&d.image);
	world_release(&w);
}

/* One program commits, another retires its key, at the worst moment. */
struct retirer {
	struct world *other;
	struct world_backup *b; /* at the put of a config; NULL: retire */
	const char *at;
	bool done;
	struct backup_result res;
};

static void in_between(void *ctx, enum store_call call, const char *key)
{
	struct retirer *x = ctx;
	struct sign_public mine;

	if (call != STORE_PUT || !strstr(key, x->at) || x->done)
		return;
	x->done = true;
	if (x->b) {
		CHECK_OK(world_backup(x->other, x->b, &x->res));
		return;
	}
	CHECK_OK(vault_key_local(x->other->v, &mine));
	CHECK_OK(vault_key_retire(x->other->v, &mine));
}

static void test_retire_race(bool commit_in_between, bool new_vm)
{
	DROP(store) struct store *memory = NULL;
	DROP(vault_config) struct vault_config *cfg = NULL;
	struct store_fault none = { 0 };
	struct world_disk d = { .name = "os" };
	struct world_backup b = { .time_ns = 1, .disks = &d, .ndisks = 1 };
	struct backup_result res;
	struct sign_public mine;
	struct world other, w;
	struct retirer x = { .other = &other, .at = "h/" };
	struct store_fault fault = { .before = in_between, .ctx = &x };
	struct store *front;

	CHECK_OK(store_open_memory(&memory));
	world_of(&other, memory, &none);
	CHECK_OK(store_open_fault(memory, &fault, &front));
	memset(&w, 0, sizeof(w));
	w.random = 5;
	world_open(&w, front);
	image_make(&d.image, 200000);
	d.image.frame[1] = 4;
	if (!new_vm) {
		CHECK_OK(world_backup(&other, &b, &res));
		world_keep(&w, &b, &res);
	}
	CHECK_OK(vault_key_local(w.v, &mine));
	b.time_ns = 2;
	if (commit_in_between) {
		x.b = &b;
		CHECK_OK(vault_key_retire(w.v, &mine));
		world_keep(&w, &b, &x.res);
	} else {
		x.at = "/c/";
		CHECK_SAYS(-EKEYREJECTED,
			   "the key of this host was retired while the backup",
			   world_backup(&w, &b, &res));
		CHECK_OK(vault_key_retire(other.v, &mine));
	}
	CHECK(x.done);
	CHECK_SAYS(-EINVAL, "retired already", vault_key_retire(w.v, &mine));
	cfg = vault_config_ref(w.v);
	CHECK_U64(cfg->c.nheads, 1);
	CHECK_U64(cfg->c.heads[0].seq, new_vm ? 1 : 2);
	if (commit_in_between)
		world_check_all(&w);
	b.time_ns = 3;
	CHECK_SAYS(-EKEYREJECTED, "was retired; move",
		   world_backup(&w, &b, &res));
	image_release(&d.image);
	world_release(&w);
	world_release(&other);
}

int main(void)
{
	world_home();
	test_requests();
	test_prune_refusals();
	test_keys();
	for (int i = 0; i < 4; i++)
		test_retire_race(i & 1, i & 2);
	test_sweep();
	test_model();
	return 0;
}
