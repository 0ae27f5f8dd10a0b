// SPDX-License-Identifier: GPL-3.0-or-later
/* tree: numbers, counts and handles, over the view of a catalog in memory; and
 * which messages quiet lets pass. */
#include "fs/tree.h"

#include <errno.h>

#include "backend/base/parse.h"
#include "fs/quiet.h"
#include "fs/view.h"
#include "tests/fakes/catalog_memory.h"
#include "tests/unit/check.h"

#define SECOND INT64_C(1000000000)
#define NAME "1970-01-01T00-00-00Z"

/* A vault "v" with a VM "vm" of one point at time 0. */
struct world {
	struct catalog *c;
	struct tree *t;
};

static struct world new_world(uint32_t fresh_ms)
{
	struct view_options o = { .fresh_ms = fresh_ms };
	struct folder *root;
	struct world w;

	CHECK_OK(catalog_memory_new("v", "1", &w.c));
	CHECK_OK(catalog_memory_add(w.c, "vm", 0, 1));
	CHECK_OK(view_open(&w.c, 1, &o, &root));
	CHECK_OK(tree_new(root, VIEW_FIXED_MS, &w.t));
	return w;
}

static void end_world(struct world *w)
{
	tree_free(w->t);
	catalog_close(w->c);
}

/* Looks each word of the path up; one count for each stays. */
static struct tree_entry walk(struct tree *t, const char *path)
{
	struct tree_entry e = { .id = TREE_ROOT };
	char word[300];

	while (*path) {
		size_t n = strcspn(path, "/");

		snprintf(word, sizeof(word), "%.*s", (int)n, path);
		CHECK_OK(tree_lookup(t, e.id, word, &e));
		path += n + (path[n] == '/');
	}
	return e;
}

struct listed {
	struct tree_dir *adopt_in; /* NULL: no */
	char text[1000];
	struct tree_entry last;
	char last_name[300];
	uint64_t cookie;
	size_t left; /* entries to take */
};

static int collect(void *ctx, const char *name, const struct tree_entry *e,
		   uint64_t cookie)
{
	struct listed *l = ctx;
	size_t len = strlen(l->text);

	if (!l->left)
		return 1;
	l->left--;
	snprintf(l->text + len, sizeof(l->text) - len, "%s ", name);
	snprintf(l->last_name, sizeof(l->last_name), "%s", name);
	CHECK(cookie > l->cookie);
	l->cookie = cookie;
	l->last = *e;
	CHECK_U64(e->id, 0);
	if (l->adopt_in && name[0] != '.')
		CHECK_OK(tree_dir_adopt(l->adopt_in, name, &l->last));
	return 0;
}

static void check_list(struct tree *t, uint64_t id, const char *want)
{
	struct tree_dir *d;

	CHECK_OK(tree_dir_open(t, id, &d));
	for (size_t step = 1; step < 5; step++) {
		struct listed l = { 0 };

		do {
			l.left = step;
			CHECK_OK(tree_dir_list(d, l.cookie, collect, &l));
		} while (l.left < step);
		CHECK_STR(l.text, want);
	}
	tree_dir_close(d);
}

static void test_lookup(void)
{
	struct world w = new_world(10000);
	struct tree_entry root, a, b, again;
	char path[100];

	CHECK_U64(tree_count(w.t), 1);
	CHECK_OK(tree_attr(w.t, TREE_ROOT, &root));
	CHECK_U64(root.ino, TREE_ROOT);
	CHECK(root.attr.kind == ENTRY_DIR && !root.fixed);

	a = walk(w.t, "v/vm/" NAME "/disks/os.img");
	CHECK_U64(tree_count(w.t), 6);
	CHECK(a.fixed && a.attr.size == 1 << 20);
	CHECK_OK(tree_attr(w.t, a.id, &b));
	CHECK_U64(b.id, a.id);
	CHECK_U64(b.ino, a.ino);
	tree_path(w.t, a.id, path, sizeof(path));
	CHECK_STR(path, "/v/vm/" NAME "/disks/os.img");
	tree_path(w.t, a.id, path, sizeof("/" NAME "/disks/os.img") + 1);
	CHECK_STR(path, "/" NAME "/disks/os.img");
	tree_path(w.t, TREE_ROOT, path, sizeof(path));
	CHECK_STR(path, "/");

	/* The same name is the same node; each lookup counts. */
	again = walk(w.t, "v/vm/" NAME "/disks/os.img");
	CHECK_U64(again.id, a.id);
	tree_forget(w.t, a.id, 1);
	CHECK_OK(tree_attr(w.t, a.id, &b));
	tree_forget(w.t, a.id, 1);
	CHECK_FAILS(-ESTALE, tree_attr(w.t, a.id, &b));
	tree_path(w.t, a.id, path, sizeof(path));
	CHECK_STR(path, "?");
	CHECK_U64(tree_count(w.t), 5);
	/* A number is not used again; st_ino is what it was. */
	again = walk(w.t, "v/vm/" NAME "/disks/os.img");
	CHECK(again.id > a.id);
	CHECK_U64(again.ino, a.ino);

	CHECK_FAILS(-ENOENT, tree_lookup(w.t, TREE_ROOT, "w", &b));
	CHECK_FAILS(-ENOTDIR, tree_lookup(w.t, again.id, "x", &b));
	CHECK_FAILS(-ESTALE, tree_lookup(w.t, 999, "x", &b));
	{
		char longest[400];

		memset(longest, 'x', sizeof(longest));
		longest[256] = '\0';
		CHECK_FAILS(-ENAMETOOLONG,
			    tree_lookup(w.t, TREE_ROOT, longest, &b));
		longest[255] = '\0';
		CHECK_FAILS(-ENOENT, tree_lookup(w.t, TREE_ROOT, longest, &b));
	}
	/* Of what is not there, or too often. */
	tree_forget(w.t, 999, 1);
	tree_forget(w.t, again.id, 100);
	tree_forget(w.t, TREE_ROOT, 100);
	CHECK_OK(tree_attr(w.t, TREE_ROOT, &b));
	end_world(&w);
}

/* A parent lives as long as its child, also when the kernel forgot it first. */
static void test_parents(void)
{
	struct world w = new_world(10000);
	struct tree_entry v, vm, p, e;

	CHECK_OK(tree_lookup(w.t, TREE_ROOT, "v", &v));
	CHECK_OK(tree_lookup(w.t, v.id, "vm", &vm));
	CHECK_OK(tree_lookup(w.t, vm.id, NAME, &p));
	tree_forget(w.t, v.id, 1);
	tree_forget(w.t, vm.id, 1);
	CHECK_U64(tree_count(w.t), 4);
	CHECK_OK(tree_lookup(w.t, p.id, "disks", &e));
	tree_forget(w.t, e.id, 1);
	tree_forget(w.t, p.id, 1);
	CHECK_U64(tree_count(w.t), 1);
	end_world(&w);
}

static void test_listing(void)
{
	struct world w = new_world(10000);
	struct tree_entry vm = walk(w.t, "v/vm"), disks, e;
	struct listed l = { .left = 100 };
	struct tree_dir *d;

	CHECK_OK(catalog_memory_add(w.c, "vm", 86400 * SECOND, 2));
	check_list(w.t, TREE_ROOT, ". .. v ");
	check_list(w.t, vm.id, ". .. latest " NAME " 1970-01-02T00-00-00Z ");
	/* What is listed has the numbers that it has when it is looked up. */
	CHECK_OK(tree_dir_open(w.t, vm.id, &d));
	CHECK(!tree_dir_fixed(d));
	CHECK_OK(tree_dir_list(d, 0, collect, &l));
	CHECK_OK(tree_lookup(w.t, vm.id, "1970-01-02T00-00-00Z", &e));
	CHECK_U64(l.last.ino, e.ino);
	CHECK_U64(l.last.attr.mtime_ns, e.attr.mtime_ns);
	/* Adopted, it is a node. */
	l = (struct listed){ .left = 100, .adopt_in = d };
	CHECK_OK(tree_dir_list(d, 0, collect, &l));
	CHECK_U64(l.last.id, e.id);
	tree_forget(w.t, e.id, 1);
	CHECK_OK(tree_attr(w.t, e.id, &e));
	tree_forget(w.t, e.id, 1);
	CHECK_FAILS(-ESTALE, tree_attr(w.t, e.id, &e));
	tree_dir_close(d);

	disks = walk(w.t, "v/vm/" NAME "/disks");
	check_list(w.t, disks.id, ". .. lun0.img os.img ");
	CHECK_OK(tree_dir_open(w.t, disks.id, &d));
	CHECK(tree_dir_fixed(d));
	tree_dir_close(d);
	CHECK_OK(tree_lookup(w.t, disks.id, "os.img", &e));
	CHECK_FAILS(-ENOTDIR, tree_dir_open(w.t, e.id, &d));
	end_world(&w);
}

/* A point is dropped, and another made of the same time. */
static void test_identity(void)
{
	struct world w = new_world(0);
	struct tree_entry vm = walk(w.t, "v/vm"), old, now, e;
	struct tree_entry old_disk = walk(w.t, "v/vm/" NAME "/disks/os.img");
	struct tree_file *f, *g;
	uint8_t buf[16];

	CHECK_OK(tree_lookup(w.t, vm.id, NAME, &old));
	CHECK_OK(tree_file_open(w.t, old_disk.id, &f));
	CHECK_OK(catalog_memory_drop(w.c, "vm", 0));
	CHECK_FAILS(-ESTALE, tree_attr(w.t, old.id, &e));
	CHECK_OK(catalog_memory_add(w.c, "vm", 0, 2));
	CHECK_FAILS(-ESTALE, tree_attr(w.t, old.id, &e));
	CHECK_OK(tree_lookup(w.t, vm.id, NAME, &now));
	CHECK(now.id != old.id);
	CHECK(now.ino != old.ino);
	CHECK(walk(w.t, "v/vm/" NAME "/disks/os.img").id != old_disk.id);
	/* The old one stays the old one. */
	CHECK_FAILS(-ESTALE, tree_attr(w.t, old.id, &e));
	CHECK_OK(source_read(tree_file_source(f), buf, sizeof(buf), 0));
	tree_file_close(f);
	CHECK_FAILS(-ESTALE, tree_file_open(w.t, old_disk.id, &f));
	/* And the new one can be found while the old is known. */
	CHECK_OK(tree_lookup(w.t, vm.id, NAME, &e));
	CHECK_U64(e.id, now.id);
	e = walk(w.t, "v/vm/" NAME "/disks/os.img");
	CHECK_OK(tree_file_open(w.t, e.id, &g));
	tree_file_close(g);
	end_world(&w);
}

static void test_files(void)
{
	struct world w = new_world(10000);
	struct catalog_memory_counts *n = catalog_memory_counts(w.c);
	struct tree_entry disk = walk(w.t, "v/vm/" NAME "/disks/os.img");
	struct tree_entry text = walk(w.t, "v/vm/" NAME "/point.json");
	struct tree_file *a, *b;
	struct tree_entry e;

	/* One source for all that have a disk open. */
	CHECK_OK(tree_file_open(w.t, disk.id, &a));
	CHECK_OK(tree_file_open(w.t, disk.id, &b));
	CHECK(tree_file_fixed(a));
	CHECK(tree_file_source(a) == tree_file_source(b));
	CHECK_U64(n->open_disk, 1);
	tree_file_close(a);
	CHECK_U64(source_size(tree_file_source(b)), 1 << 20);
	/* A handle keeps its node. */
	tree_forget(w.t, disk.id, 1);
	CHECK_OK(tree_attr(w.t, disk.id, &e));
	tree_file_close(b);
	CHECK_FAILS(-ESTALE, tree_attr(w.t, disk.id, &e));

	/* What may change is opened each time. */
	CHECK_OK(tree_file_open(w.t, text.id, &a));
	CHECK_OK(tree_file_open(w.t, text.id, &b));
	CHECK(!tree_file_fixed(a));
	CHECK(tree_file_source(a) != tree_file_source(b));
	tree_file_close(a);
	/* What stays open is closed with the tree. */
	disk = walk(w.t, "v/vm/" NAME "/vhd/os.vhd");
	CHECK_OK(tree_file_open(w.t, disk.id, &a));
	CHECK_OK(tree_file_open(w.t, disk.id, &a));
	{
		struct tree_dir *d;

		CHECK_OK(tree_dir_open(w.t, TREE_ROOT, &d));
		CHECK_OK(tree_dir_open(w.t, walk(w.t, "v").id, &d));
	}
	/* A directory is no file. */
	CHECK_FAILS(-EISDIR, tree_file_open(w.t, TREE_ROOT, &a));
	end_world(&w);
}

/* Attributes are asked again when their time is over, and not before. */
static void test_times(void)
{
	struct world w = new_world(1000000);
	struct catalog_memory_counts *n = catalog_memory_counts(w.c);
	struct tree_entry point = walk(w.t, "v/vm/" NAME), e;
	uint64_t before = n->points;

	CHECK_OK(tree_attr(w.t, point.id, &e));
	CHECK_U64(n->points, before);
	end_world(&w);

	w = new_world(0);
	n = catalog_memory_counts(w.c);
	point = walk(w.t, "v/vm/" NAME);
	before = n->points;
	CHECK_OK(tree_attr(w.t, point.id, &e));
	CHECK(n->points > before);
	end_world(&w);
}

static void test_links_and_xattrs(void)
{
	struct world w = new_world(0);
	struct tree_entry latest = walk(w.t, "v/vm/latest");
	struct tree_entry disk = walk(w.t, "v/vm/" NAME "/disks/os.img");
	DROP(buf) struct buf b = BUF_INIT(100);
	char text[100];

	CHECK_OK(tree_readlink(w.t, latest.id, text, sizeof(text)));
	CHECK_STR(text, NAME);
	CHECK_FAILS(-EINVAL, tree_readlink(w.t, TREE_ROOT, text, 100));
	CHECK_OK(tree_xattr(w.t, disk.id, VIEW_XATTR_ROOT, &b));
	CHECK_U64(b.len, 64);
	CHECK_FAILS(-ENODATA, tree_xattr(w.t, TREE_ROOT, "user.x", &b));
	buf_reset(&b);
	CHECK_OK(tree_xattr(w.t, TREE_ROOT, NULL, &b));
	CHECK_U64(b.len, 0);
	end_world(&w);
}

/* --- many threads, while points come and go --- */

#define THREADS 8
#define ROUNDS 400

struct crowd {
	struct world w;
	atomic_bool over;
};

static int adopt_all(void *ctx, const char *name, const struct tree_entry *e,
		     uint64_t cookie)
{
	struct tree_dir *d = ctx;
	struct tree_entry known = *e;
	int r;

	if (name[0] == '.')
		return 0;
	r = tree_dir_adopt(d, name, &known);
	CHECK(r == 0 || r == -ENOENT);
	return 0;
}

static void use_point(struct tree *t, uint64_t vm, const char *name)
{
	struct tree_entry p, disks, os;
	struct tree_file *f;
	uint8_t buf[64];
	int r = tree_lookup(t, vm, name, &p);

	if (r) {
		CHECK(r == -ENOENT);
		return;
	}
	r = tree_lookup(t, p.id, "disks", &disks);
	CHECK(r == 0 || r == -ENOENT);
	tree_forget(t, p.id, 1);
	if (r)
		return;
	r = tree_lookup(t, disks.id, "os.img", &os);
	CHECK(r == 0 || r == -ESTALE);
	tree_forget(t, disks.id, 1);
	if (r)
		return;
	r = tree_file_open(t, os.id, &f);
	CHECK(r == 0 || r == -ESTALE);
	tree_forget(t, os.id, 1);
	if (r)
		return;
	CHECK_OK(source_read(tree_file_source(f), buf, sizeof(buf), 4096));
	tree_file_close(f);
}

static void *use(void *arg)
{
	struct crowd *c = arg;
	struct tree *t = c->w.t;
	struct tree_entry v, vm, e;
	struct tree_dir *d;

	for (int i = 0; i < ROUNDS; i++) {
		CHECK_OK(tree_lookup(t, TREE_ROOT, "v", &v));
		CHECK_OK(tree_lookup(t, v.id, "vm", &vm));
		tree_forget(t, v.id, 1);
		use_point(t, vm.id, NAME);
		use_point(t, vm.id, "1970-01-01T00-00-01Z");
		CHECK_OK(tree_attr(t, vm.id, &e));
		if (i % 16 == 0) {
			CHECK_OK(tree_dir_open(t, vm.id, &d));
			CHECK_OK(tree_dir_list(d, 0, adopt_all, d));
			tree_dir_close(d);
		}
		tree_forget(t, vm.id, 1);
	}
	return NULL;
}

static void *change(void *arg)
{
	struct crowd *c = arg;

	for (uint64_t seq = 2; !atomic_load(&c->over); seq++) {
		CHECK_OK(catalog_memory_add(c->w.c, "vm", SECOND, seq));
		sched_yield();
		CHECK_OK(catalog_memory_drop(c->w.c, "vm", SECOND));
	}
	return NULL;
}

static void test_threads(void)
{
	struct crowd c = { .w = new_world(0) };
	pthread_t users[THREADS], changer;

	pthread_create(&changer, NULL, change, &c);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&users[i], NULL, use, &c);
	for (int i = 0; i < THREADS; i++)
		pthread_join(users[i], NULL);
	atomic_store(&c.over, true);
	pthread_join(changer, NULL);
	end_world(&c.w);
}

/* --- quiet --- */

static void test_quiet(void)
{
	uint64_t held = 0, passed = 0, now = 1000 * (uint64_t)SECOND;
	struct quiet *q;
	char text[40];

	CHECK_OK(quiet_new(&q));
	CHECK(quiet_pass(q, 1, "it broke", now, &held));
	CHECK(!quiet_pass(q, 1, "it broke", now + 1, &held));
	CHECK(quiet_pass(q, 2, "it broke", now, &held));
	CHECK(quiet_pass(q, 1, "otherwise", now, &held));
	CHECK(quiet_pass(q, 1, "it broke",
			 now + (QUIET_AGAIN_S + 1) * (uint64_t)SECOND, &held));
	quiet_free(q);

	CHECK_OK(quiet_new(&q));
	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "frame %d is bad", i);
		passed += quiet_pass(q, 1, text, now, &held);
	}
	CHECK(passed >= QUIET_BURST && passed <= QUIET_BURST + 1);
	CHECK_U64(held, 0);
	CHECK(quiet_pass(q, 1, "a minute later", now + 60 * SECOND, &held));
	CHECK_U64(held, 500 - passed);
	quiet_free(q);
}

int main(void)
{
	test_lookup();
	test_parents();
	test_listing();
	test_identity();
	test_files();
	test_times();
	test_links_and_xattrs();
	test_threads();
	test_quiet();
	return 0;
}
