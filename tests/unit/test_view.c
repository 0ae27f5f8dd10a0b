// SPDX-License-Identifier: GPL-3.0-or-later
/* view: the tree of names over a catalog in memory, and what it asks of it. */
#include "fs/view.h"

#include <errno.h>

#include "backend/base/parse.h"
#include "tests/fakes/catalog_memory.h"
#include "tests/unit/check.h"

#define SECOND INT64_C(1000000000)
#define DAY (86400 * SECOND)

static int64_t time_of(const char *text)
{
	int64_t ns;

	CHECK_OK(parse_time(text, &ns));
	return ns;
}

static struct catalog *new_catalog(const char *vault, const char *id)
{
	struct catalog *c;

	CHECK_OK(catalog_memory_new(vault, id, &c));
	return c;
}

static struct folder *open_view(struct catalog **c, size_t n, uint32_t fresh_ms)
{
	struct view_options o = { .fresh_ms = fresh_ms };
	struct folder *root;

	CHECK_OK(view_open(c, n, &o, &root));
	return root;
}

/* "a/b/c" from root; closes what it passes. */
static struct folder *walk(struct folder *root, const char *path)
{
	struct folder *f = root, *next;
	char word[300];

	while (*path) {
		size_t n = strcspn(path, "/");

		snprintf(word, sizeof(word), "%.*s", (int)n, path);
		CHECK_OK(folder_open_dir(f, word, &next));
		if (f != root)
			folder_close(f);
		f = next;
		path += n + (path[n] == '/');
	}
	return f;
}

/* --- listings --- */

struct names {
	char *text; /* "a b c " */
	size_t count;
	size_t stop_after; /* entries of one call; 0: all */
	size_t this_call;
	uint64_t cookie;
	struct entry_attr last;
};

static int collect(void *ctx, const char *name, const struct entry_attr *a,
		   uint64_t cookie)
{
	struct names *n = ctx;
	char *text;

	if (n->stop_after && n->this_call == n->stop_after)
		return 1;
	CHECK(cookie > n->cookie);
	CHECK(cookie <= INT64_MAX - 16);
	CHECK(asprintf(&text, "%s%s ", n->text ? n->text : "", name) > 0);
	free(n->text);
	n->text = text;
	n->count++;
	n->this_call++;
	n->cookie = cookie;
	n->last = *a;
	return 0;
}

/* All names, in calls of at most step entries. */
static char *list_by(struct folder *f, size_t step)
{
	struct names n = { .stop_after = step };

	do {
		n.this_call = 0;
		CHECK_OK(folder_list(f, n.cookie, collect, &n));
	} while (n.this_call);
	return n.text ? n.text : strdup("");
}

static void check_list(struct folder *f, const char *want)
{
	for (size_t step = 0; step < 4; step++) {
		DROP(mem) char *got = list_by(f, step);

		CHECK_STR(got, want);
	}
}

static int count_one(void *ctx, const char *name, const struct entry_attr *a,
		     uint64_t cookie)
{
	++*(uint64_t *)ctx;
	return 0;
}

/* --- cases --- */

static void test_layout(void)
{
	struct catalog *c = new_catalog("contoso-rsv", "11");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct entry_attr a;
	char link[64];

	CHECK_OK(catalog_memory_add(c, "web-01",
				    time_of("2026-11-20T02:00:07Z"), 1));
	CHECK_OK(catalog_memory_add(c, "web-01",
				    time_of("2026-11-21T02:00:07.25Z"), 2));
	CHECK_OK(catalog_memory_add_vm(c, "empty"));
	root = open_view(&c, 1, 1000);
	check_list(root, "contoso-rsv ");
	CHECK_FAILS(-ENOENT, folder_lookup(root, "contoso", &a));

	f = walk(root, "contoso-rsv");
	check_list(f, "vault.json empty web-01 ");
	CHECK_OK(folder_lookup(f, "web-01", &a));
	CHECK(a.kind == ENTRY_DIR && a.valid_ms == 1000);
	CHECK_FAILS(-ENOENT, folder_lookup(f, "web-02", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "", &a));
	folder_close(take(f));

	f = walk(root, "contoso-rsv/empty");
	check_list(f, "");
	CHECK_FAILS(-ENOENT, folder_lookup(f, "latest", &a));
	folder_close(take(f));

	f = walk(root, "contoso-rsv/web-01");
	check_list(f, "latest 2026-11-20T02-00-07Z 2026-11-21T02-00-07Z ");
	CHECK_OK(folder_readlink(f, "latest", link, sizeof(link)));
	CHECK_STR(link, "2026-11-21T02-00-07Z");
	CHECK_FAILS(-ENAMETOOLONG, folder_readlink(f, "latest", link, 20));
	CHECK_OK(folder_lookup(f, "latest", &a));
	CHECK_U64(a.size, 20);
	CHECK(a.kind == ENTRY_LINK && a.valid_ms == 1000);
	CHECK_OK(folder_lookup(f, "2026-11-21T02-00-07Z", &a));
	CHECK(a.kind == ENTRY_DIR && a.valid_ms == 1000);
	CHECK_U64(a.mtime_ns, time_of("2026-11-21T02:00:07.25Z"));
	/* One point has one name. */
	CHECK_FAILS(-ENOENT, folder_lookup(f, "2026-11-21T02:00:07Z", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "2026-11-21", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "2026-11-21T02-00-08Z", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "2026-11-21T02-00-07Z~abcd", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "@1795226407", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "now", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "~", &a));
	folder_close(take(f));

	f = walk(root, "contoso-rsv/web-01/2026-11-21T02-00-07Z");
	check_list(f, "point.json disks vhd volumes escrow ");
	CHECK_OK(folder_lookup(f, "disks", &a));
	CHECK(a.valid_ms == VIEW_FIXED_MS);
	CHECK_U64(a.mtime_ns, time_of("2026-11-21T02:00:07.25Z"));
	folder_close(take(f));

	f = walk(root, "contoso-rsv/web-01/2026-11-21T02-00-07Z/disks");
	check_list(f, "lun0.img os.img ");
	CHECK_FAILS(-ENOENT, folder_lookup(f, "os.txt", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "os.vhd", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, "os", &a));
	CHECK_FAILS(-ENOENT, folder_lookup(f, ".img", &a));
	folder_close(take(f));
	f = walk(root, "contoso-rsv/web-01/2026-11-21T02-00-07Z/vhd");
	check_list(f, "lun0.vhd os.vhd ");
	folder_close(take(f));

	folder_close(take(root));
	catalog_close(c);
}

/* Text files: the size that is told is the size that is read. */
static void test_texts(void)
{
	struct catalog *c = new_catalog("v", "0123");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	DROP(source) struct source *s = NULL;
	struct entry_attr a;
	char text[4096] = "";

	CHECK_OK(catalog_memory_add(c, "vm", 0, 1));
	root = open_view(&c, 1, 0);
	f = walk(root, "v");
	CHECK_OK(folder_lookup(f, "vault.json", &a));
	CHECK_OK(folder_open(f, "vault.json", &s));
	CHECK_U64(source_size(s), a.size);
	CHECK_OK(source_read(s, text, a.size, 0));
	CHECK(strstr(text, "\"id\": \"0123\""));
	CHECK(text[a.size - 1] == '\n');
	source_close(take(s));
	CHECK_FAILS(-ENOENT, folder_open(f, "vm", &s));
	folder_close(take(f));

	f = walk(root, "v/vm/1970-01-01T00-00-00Z");
	CHECK_OK(folder_lookup(f, "point.json", &a));
	CHECK_OK(folder_open(f, "point.json", &s));
	CHECK_U64(source_size(s), a.size);
	memset(text, 0, sizeof(text));
	CHECK_OK(source_read(s, text, a.size, 0));
	CHECK(strstr(text, "0000000000000001."));
	CHECK(strstr(text, "\"rootHash\""));
	source_close(take(s));
	/* Asked again, the record is not: it is the listing that is. */
	CHECK_U64(catalog_memory_counts(c)->point, 1);
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

static void open_and_close(struct folder *f, const char *name)
{
	struct source *s;

	CHECK_OK(folder_open(f, name, &s));
	source_close(s);
}

/* What a point's text costs is paid once while it is fresh, and each time without. */
static void test_text_is_kept(void)
{
	struct catalog *c = new_catalog("v", "0123");
	struct catalog_memory_counts *n = catalog_memory_counts(c);
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct entry_attr a;

	CHECK_OK(catalog_memory_add(c, "vm", 0, 1));
	CHECK_OK(catalog_memory_add(c, "vm", SECOND, 2));
	root = open_view(&c, 1, 3600000);
	f = walk(root, "v/vm/1970-01-01T00-00-00Z");
	CHECK_OK(folder_lookup(f, "point.json", &a));
	CHECK(a.valid_ms > 0 && a.valid_ms <= 3600000);
	open_and_close(f, "point.json");
	CHECK_OK(folder_lookup(f, "point.json", &a));
	CHECK_U64(n->escrow, 1);
	folder_close(take(f));
	/* It belongs to the point, and not to the folder. */
	f = walk(root, "v/vm/1970-01-01T00-00-00Z");
	open_and_close(f, "point.json");
	CHECK_U64(n->escrow, 1);
	folder_close(take(f));
	f = walk(root, "v/vm/1970-01-01T00-00-01Z");
	/* A failure is not kept. */
	n->fail = -EIO;
	CHECK_FAILS(-EIO, folder_lookup(f, "point.json", &a));
	n->fail = 0;
	n->escrow = 0;
	open_and_close(f, "point.json");
	CHECK_U64(n->escrow, 1);
	folder_close(take(f));
	folder_close(take(root));

	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm/1970-01-01T00-00-00Z");
	CHECK_OK(folder_lookup(f, "point.json", &a));
	CHECK_U64(a.valid_ms, 0);
	open_and_close(f, "point.json");
	CHECK_U64(n->escrow, 3);
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

static void test_disks(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *raw = NULL, *vhd = NULL;
	DROP(source) struct source *s = NULL;
	struct point_id id = { 7, 7 * 1000003 };
	static uint8_t got[1 << 20], want[1 << 20];
	uint8_t footer[512];
	struct entry_attr a, b;
	struct extent e;

	CHECK_OK(catalog_memory_add(c, "vm", SECOND, 7));
	root = open_view(&c, 1, 0);
	raw = walk(root, "v/vm/1970-01-01T00-00-01Z/disks");
	vhd = walk(root, "v/vm/1970-01-01T00-00-01Z/vhd");
	CHECK_OK(folder_lookup(raw, "os.img", &a));
	CHECK_U64(a.size, 1 << 20);
	CHECK(a.blocks < (1 << 20) / 512 && a.blocks > 0);
	CHECK_U64(a.mtime_ns, SECOND);
	CHECK_U64(a.valid_ms, VIEW_FIXED_MS);
	CHECK_OK(folder_lookup(vhd, "os.vhd", &b));
	CHECK_U64(b.size, a.size + 512);
	CHECK_U64(b.blocks, a.blocks + 1);

	CHECK_OK(folder_open(raw, "os.img", &s));
	CHECK_OK(source_read(s, got, sizeof(got), 0));
	catalog_memory_bytes(c, &id, 1, want, sizeof(want), 0);
	CHECK_MEM(got, want, sizeof(want));
	CHECK_OK(source_extent(s, 0, sizeof(got), &e));
	source_close(take(s));

	CHECK_OK(folder_open(vhd, "os.vhd", &s));
	CHECK_U64(source_size(s), b.size);
	CHECK_OK(source_read(s, got, sizeof(got), 0));
	CHECK_MEM(got, want, sizeof(want));
	CHECK_OK(source_read(s, footer, 512, 1 << 20));
	CHECK_MEM(footer, "conectix", 8);
	source_close(take(s));
	/* The same point always has the same footer. */
	CHECK_OK(folder_open(vhd, "os.vhd", &s));
	CHECK_OK(source_read(s, got, 512, 1 << 20));
	CHECK_MEM(got, footer, 512);
	source_close(take(s));

	folder_close(take(raw));
	folder_close(take(vhd));
	folder_close(take(root));
	catalog_close(c);
}

static char *read_text(struct folder *f, const char *name)
{
	DROP(source) struct source *s = NULL;
	char *text;

	CHECK_OK(folder_open(f, name, &s));
	text = calloc(1, source_size(s) + 1);
	CHECK_OK(source_read(s, text, source_size(s), 0));
	return text;
}

static void test_disks_not_ready(void)
{
	static const struct catalog_memory_disk disks[] = {
		{ .name = "a",
		  .size = 4096,
		  .state = DISK_NEEDS_GRANT,
		  .sentence = "ask Bob for it" },
		{ .name = "b", .no_size = true },
		{ .name = "c", .size = 1000 },
		{ .name = "d", .size = 1024 },
	};
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *raw = NULL, *vhd = NULL;
	DROP(source) struct source *s = NULL;
	DROP(mem) char *text = NULL;
	struct entry_attr a;

	catalog_memory_set_disks(c, disks, ARRAY_SIZE(disks));
	CHECK_OK(catalog_memory_add(c, "vm", SECOND, 1));
	root = open_view(&c, 1, 50);
	raw = walk(root, "v/vm/1970-01-01T00-00-01Z/disks");
	vhd = walk(root, "v/vm/1970-01-01T00-00-01Z/vhd");
	check_list(raw, "a.img a.txt b.img b.txt c.img d.img ");
	check_list(vhd, "a.vhd a.txt b.vhd b.txt c.txt d.vhd ");
	CHECK_OK(folder_lookup(raw, "a.img", &a));
	CHECK_U64(a.size, 0);
	CHECK_U64(a.valid_ms, 50);
	CHECK_SAYS(-EIO, "disk a: cannot be read yet: ask Bob for it",
		   folder_open(raw, "a.img", &s));
	CHECK_SAYS(-EIO, "size is not known", folder_open(raw, "b.img", &s));
	text = read_text(raw, "a.txt");
	CHECK(strstr(text, "ask Bob for it\n"));
	CHECK_OK(folder_lookup(raw, "a.txt", &a));
	CHECK_U64(a.size, strlen(text));
	free(take(text));
	text = read_text(vhd, "c.txt");
	CHECK(strstr(text, "not a multiple of 512; use disks/c.img\n"));
	CHECK_FAILS(-ENOENT, folder_open(vhd, "c.vhd", &s));
	CHECK_FAILS(-ENOENT, folder_open(vhd, "d.txt", &s));
	CHECK_OK(folder_open(vhd, "d.vhd", &s));

	source_close(take(s));
	folder_close(take(raw));
	folder_close(take(vhd));
	folder_close(take(root));
	catalog_close(c);
}

/* The names of points of one second, in every way that they are asked for. */
static void test_one_second(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	int64_t t = time_of("2026-11-21T02:00:07Z");
	struct point_id ids[3];
	char tags[3][5], want[300], name[160], link[100];
	struct entry_attr a;
	struct point_row twin = { 0 };

	CHECK_OK(catalog_memory_add(c, "vm", t - 1, 9));
	for (uint64_t i = 0; i < 3; i++) {
		ids[i] = (struct point_id){ i + 1, (i + 1) * 1000003 };
		point_id_tag(&ids[i], tags[i]);
		CHECK_OK(catalog_memory_add(
			c, "vm", t + (int64_t)i * (SECOND / 2 - 1), i + 1));
	}
	CHECK_OK(catalog_memory_add(c, "vm", t + SECOND, 10));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	snprintf(want, sizeof(want),
		 "latest 2026-11-21T02-00-06Z 2026-11-21T02-00-07Z~%s "
		 "2026-11-21T02-00-07Z~%s 2026-11-21T02-00-07Z~%s "
		 "2026-11-21T02-00-08Z ",
		 tags[0], tags[1], tags[2]);
	check_list(f, want);
	CHECK_FAILS(-ENOENT, folder_lookup(f, "2026-11-21T02-00-07Z", &a));
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "2026-11-21T02-00-07Z~%s",
			 tags[i]);
		CHECK_OK(folder_lookup(f, name, &a));
		CHECK_U64(a.mtime_ns, t + i * (SECOND / 2 - 1));
	}
	/* The digits are those that are documented. */
	{
		uint8_t raw[16] = { 1 };
		struct digest d;

		for (int i = 0; i < 8; i++)
			raw[8 + i] = (uint8_t)(ids[0].nonce >> (8 * i));
		sha256(raw, 16, &d);
		snprintf(name, sizeof(name), "%02x%02x", d.b[0], d.b[1]);
		CHECK_STR(tags[0], name);
	}

	/* Where the digits are the same too, the whole id is the name; two such
	 * ids are found by trying. */
	twin.time_ns = t + 3;
	for (twin.id.seq = 1000;; twin.id.seq++) {
		char tag[5];

		point_id_tag(&twin.id, tag);
		if (strcmp(tag, tags[1]) == 0)
			break;
	}
	CHECK_OK(catalog_memory_add_point(c, "vm", &twin));
	point_id_text(&twin.id, link);
	snprintf(name, sizeof(name), "2026-11-21T02-00-07Z~%s", link);
	CHECK_OK(folder_lookup(f, name, &a));
	CHECK_U64(a.mtime_ns, t + 3);
	snprintf(name, sizeof(name), "2026-11-21T02-00-07Z~%s", tags[1]);
	CHECK_FAILS(-ENOENT, folder_lookup(f, name, &a));
	CHECK_OK(catalog_memory_drop(c, "vm", t + 3));
	CHECK_OK(folder_lookup(f, name, &a));

	CHECK_OK(catalog_memory_drop(c, "vm", t + SECOND));
	CHECK_OK(folder_readlink(f, "latest", link, sizeof(link)));
	snprintf(name, sizeof(name), "2026-11-21T02-00-07Z~%s", tags[2]);
	CHECK_STR(link, name);

	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

/* A second that lies across two pages of the catalog is still one. */
static void test_second_across_pages(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	DROP(mem) char *got = NULL;
	char want[50], tag[5];

	for (uint64_t i = 0; i < 255; i++)
		CHECK_OK(catalog_memory_add(c, "vm", (int64_t)i * SECOND,
					    i + 1));
	CHECK_OK(catalog_memory_add(c, "vm", 255 * SECOND, 1000));
	CHECK_OK(catalog_memory_add(c, "vm", 255 * SECOND + 1, 1001));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	got = list_by(f, 0);
	for (uint64_t seq = 1000; seq <= 1001; seq++) {
		struct point_id id = { seq, seq * 1000003 };

		point_id_tag(&id, tag);
		snprintf(want, sizeof(want), "1970-01-01T00-04-15Z~%s ", tag);
		CHECK(strstr(got, want));
	}
	CHECK(!strstr(got, "00-04-15Z "));
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

/* Ten thousand points are asked for in pages, and not one of them alone;
 * cookies stay good while points come and go. */
static void test_many_points(void)
{
	struct catalog *c = new_catalog("v", "1");
	struct catalog_memory_counts *n = catalog_memory_counts(c);
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct names seen = { .stop_after = 100 };
	struct entry_attr a;
	uint64_t count = 0;

	CHECK_OK(catalog_memory_add_made(c, "vm", 10000, 0, DAY));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	CHECK_U64(n->points + n->latest + n->point, 0);
	CHECK_OK(folder_list(f, 0, count_one, &count));
	CHECK_U64(count, 10001);
	CHECK(n->points < 60);
	CHECK_U64(n->point, 0);
	CHECK_OK(folder_lookup(f, "1970-01-31T00-00-00Z", &a));
	CHECK(n->points < 62);
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);

	c = new_catalog("v", "1");
	for (uint64_t i = 0; i < 300; i++)
		CHECK_OK(catalog_memory_add(c, "vm", (int64_t)i * DAY, i + 1));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	CHECK_OK(folder_list(f, 0, collect, &seen));
	CHECK_U64(seen.count, 100);
	/* The last one seen, one seen before, one to come; and a new one. */
	CHECK_OK(catalog_memory_drop(c, "vm", 98 * DAY));
	CHECK_OK(catalog_memory_drop(c, "vm", 50 * DAY));
	CHECK_OK(catalog_memory_drop(c, "vm", 200 * DAY));
	CHECK_OK(catalog_memory_add(c, "vm", 150 * DAY + SECOND, 1000));
	do {
		seen.this_call = 0;
		CHECK_OK(folder_list(f, seen.cookie, collect, &seen));
	} while (seen.this_call);
	CHECK_U64(seen.count, 1 + 300 - 1 + 1);
	free(seen.text);
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

/* To open a vault and list its VMs, no VM is asked. */
static void test_many_vms(void)
{
	struct catalog *c = new_catalog("v", "1");
	struct catalog_memory_counts *n = catalog_memory_counts(c);
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	uint64_t count = 0;
	char name[20];

	for (int i = 0; i < 2500; i++) {
		snprintf(name, sizeof(name), "vm-%04d", i);
		CHECK_OK(catalog_memory_add_made(c, name, 200, 0, DAY));
	}
	root = open_view(&c, 1, 0);
	CHECK_U64(n->vms, 0);
	f = walk(root, "v");
	CHECK_OK(folder_list(f, 0, count_one, &count));
	CHECK_U64(count, 2501);
	CHECK_U64(n->vms, 3);
	CHECK_U64(n->points + n->latest + n->count + n->point + n->rows, 0);
	folder_close(take(f));

	/* A VM that comes while they are listed moves no other. */
	{
		struct names seen = { .stop_after = 1200 };

		f = walk(root, "v");
		CHECK_OK(folder_list(f, 0, collect, &seen));
		CHECK_OK(catalog_memory_add_vm(c, "a-new-one"));
		do {
			seen.this_call = 0;
			CHECK_OK(folder_list(f, seen.cookie, collect, &seen));
		} while (seen.this_call);
		CHECK_U64(seen.count, 2501);
		free(seen.text);
		folder_close(take(f));
	}
	folder_close(take(root));
	catalog_close(c);
}

static void test_names_taken(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct entry_attr a;
	struct digest d;
	char name[40];

	CHECK_OK(catalog_memory_add(c, "vault.json", 0, 1));
	root = open_view(&c, 1, 0);
	f = walk(root, "v");
	sha256("vault.json", 10, &d);
	snprintf(name, sizeof(name), "vault.json~%02x%02x", d.b[0], d.b[1]);
	CHECK_OK(folder_lookup(f, "vault.json", &a));
	CHECK(a.kind == ENTRY_FILE);
	CHECK_OK(folder_lookup(f, name, &a));
	CHECK(a.kind == ENTRY_DIR);
	folder_close(take(f));
	snprintf(name, sizeof(name), "v/vault.json~%02x%02x", d.b[0], d.b[1]);
	f = walk(root, name);
	check_list(f, "latest 1970-01-01T00-00-00Z ");
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

/* Vaults of one name. */
static void test_vault_names(void)
{
	struct catalog *c[5] = {
		new_catalog("same", "id-1"),  new_catalog("other", "id-2"),
		new_catalog("same", "id-3"),  new_catalog("same", "id-1"),
		new_catalog("alone", "id-1"),
	};
	DROP(folder) struct folder *root = NULL;
	struct digest d1, d3;
	char a[20], b[20], twin[20], want[200];
	struct entry_attr attr;

	sha256("id-1", 4, &d1);
	sha256("id-3", 4, &d3);
	snprintf(a, sizeof(a), "same~%02x%02x", d1.b[0], d1.b[1]);
	snprintf(twin, sizeof(twin), "same~%02x%02x-2", d1.b[0], d1.b[1]);
	snprintf(b, sizeof(b), "same~%02x%02x", d3.b[0], d3.b[1]);
	snprintf(want, sizeof(want), "alone other %s %s %s ",
		 strcmp(b, a) < 0 ? b : a, strcmp(b, a) < 0 ? a : twin,
		 strcmp(b, a) < 0 ? twin : b);
	root = open_view(c, 5, 0);
	check_list(root, want);
	CHECK_FAILS(-ENOENT, folder_lookup(root, "same", &attr));
	CHECK_OK(folder_lookup(root, twin, &attr));

	/* One that cannot be asked stays where it was. */
	catalog_memory_counts(c[1])->fail = -ENXIO;
	check_list(root, want);
	folder_close(take(root));
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		catalog_close(c[i]);
}

static void check_xattr(struct folder *f, const char *name, const char *key,
			const char *want)
{
	DROP(buf) struct buf b = BUF_INIT(1000);

	CHECK_OK(folder_xattr(f, name, key, &b));
	if (key) {
		CHECK_STR(buf_cstr(&b), want);
		return;
	}
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = b.data[i] ? b.data[i] : ' ';
	CHECK_STR(buf_cstr(&b), want);
}

static void test_xattrs(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	DROP(buf) struct buf b = BUF_INIT(1000);

	CHECK_OK(catalog_memory_add(c, "vm", 0, 1));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	check_xattr(f, "1970-01-01T00-00-00Z", "user.vaultfs.point",
		    "0000000000000001.00000000000f4243");
	check_xattr(f, "1970-01-01T00-00-00Z", NULL,
		    "user.vaultfs.point user.vaultfs.verified ");
	CHECK_FAILS(-ENODATA, folder_xattr(f, "1970-01-01T00-00-00Z",
					   "user.vaultfs.root", &b));
	check_xattr(f, "latest", NULL, "");
	folder_close(take(f));
	f = walk(root, "v/vm/1970-01-01T00-00-00Z/disks");
	check_xattr(f, "os.img", NULL,
		    "user.vaultfs.root user.vaultfs.point "
		    "user.vaultfs.verified ");
	check_xattr(f, "os.img", "user.vaultfs.verified",
		    "sha256, seal pinned");
	c->trust = SEAL_UNPINNED;
	check_xattr(f, "os.img", "user.vaultfs.verified",
		    "sha256, seal not pinned");
	CHECK_OK(folder_xattr(f, "os.img", "user.vaultfs.root", &b));
	CHECK_U64(b.len, 64);
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

/* A point that is dropped, and one that takes its time. */
static void test_dropped(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL, *vm = NULL, *disks = NULL;
	DROP(source) struct source *s = NULL;
	struct entry_attr a;

	CHECK_OK(catalog_memory_add(c, "vm", 0, 1));
	root = open_view(&c, 1, 0);
	vm = walk(root, "v/vm");
	f = walk(root, "v/vm/1970-01-01T00-00-00Z");
	disks = walk(root, "v/vm/1970-01-01T00-00-00Z/disks");
	CHECK_OK(folder_lookup(disks, "os.img", &a));
	CHECK_OK(catalog_memory_drop(c, "vm", 0));
	CHECK_FAILS(-ENOENT, folder_lookup(vm, "1970-01-01T00-00-00Z", &a));
	CHECK_SAYS(-ESTALE, "1970-01-01T00-00-00Z of VM vm was dropped",
		   folder_open(f, "point.json", &s));
	CHECK_FAILS(-ESTALE, folder_open(disks, "os.img", &s));
	CHECK_OK(catalog_memory_add(c, "vm", 0, 2));
	CHECK_FAILS(-ESTALE, folder_open(disks, "os.img", &s));
	folder_close(take(disks));
	disks = walk(root, "v/vm/1970-01-01T00-00-00Z/disks");
	CHECK_OK(folder_open(disks, "os.img", &s));

	source_close(take(s));
	folder_close(take(disks));
	folder_close(take(f));
	folder_close(take(vm));
	folder_close(take(root));
	catalog_close(c);
}

/* Times that no clock has. */
static void test_odd_times(void)
{
	struct catalog *c = new_catalog("v", "1");
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct entry_attr a;
	char name[TIME_TEXT_SIZE];

	CHECK_OK(catalog_memory_add(c, "vm", INT64_MIN, 1));
	CHECK_OK(catalog_memory_add(c, "vm", -1, 2));
	CHECK_OK(catalog_memory_add(c, "vm", 0, 3));
	CHECK_OK(catalog_memory_add(c, "vm", INT64_MAX, 4));
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	check_list(f, "latest 1970-01-01T00-00-00Z ");
	CHECK_OK(folder_lookup(f, "1969-12-31T23-59-59Z", &a));
	CHECK_U64(a.mtime_ns, -1);
	time_name(INT64_MAX, name);
	CHECK_OK(folder_lookup(f, name, &a));
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

static void test_failures(void)
{
	struct catalog *c = new_catalog("v", "1");
	struct catalog_memory_counts *n = catalog_memory_counts(c);
	struct view_options o = { 0 };
	DROP(folder) struct folder *root = NULL;
	DROP(folder) struct folder *f = NULL;
	struct names seen = { 0 };
	struct entry_attr a;
	struct source *s;

	CHECK_OK(catalog_memory_add(c, "vm", 0, 1));
	n->fail = -ENXIO;
	CHECK_FAILS(-ENXIO, view_open(&c, 1, &o, &root));
	n->fail = 0;
	root = open_view(&c, 1, 0);
	f = walk(root, "v/vm");
	n->fail = -EIO;
	CHECK_FAILS(-EIO, folder_lookup(f, "1970-01-01T00-00-00Z", &a));
	CHECK_FAILS(-EIO, folder_lookup(f, "latest", &a));
	CHECK_FAILS(-EIO, folder_list(f, 0, collect, &seen));
	n->fail = 0;
	folder_close(take(f));
	f = walk(root, "v/vm/1970-01-01T00-00-00Z/disks");
	n->fail = -EIO;
	CHECK_FAILS(-EIO, folder_lookup(f, "os.img", &a));
	CHECK_FAILS(-EIO, folder_open(f, "os.img", &s));
	n->fail = 0;
	CHECK_OK(folder_lookup(f, "os.img", &a));
	folder_close(take(f));
	folder_close(take(root));
	catalog_close(c);
}

int main(void)
{
	test_layout();
	test_texts();
	test_text_is_kept();
	test_disks();
	test_disks_not_ready();
	test_one_second();
	test_second_across_pages();
	test_many_points();
	test_many_vms();
	test_names_taken();
	test_vault_names();
	test_xattrs();
	test_dropped();
	test_odd_times();
	test_failures();
	return 0;
}
