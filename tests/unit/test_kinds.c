// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A disk may hold the very bytes of a record of its own vault: a guest may have
 * seen one. They are the disk's bytes all the same, and the record stays a
 * record, whichever is asked for first.
 */
#include "backend/vault/vault.h"
#include "tests/fakes/source_memory.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

static const char *const VM = "twin";

static void backup(struct world *w, int64_t time_ns, const uint8_t *p, size_t n)
{
	struct source *image;
	struct backup_disk d = { .name = "os" };
	struct backup_request rq = {
		.vm = VM,
		.time_ns = time_ns,
		.consistency = CONSISTENCY_CRASH,
		.disks = &d,
		.ndisks = 1,
	};
	struct backup_result res;

	CHECK_OK(source_open_memory(p, n, NULL, 0, &image));
	d.image = image;
	CHECK_OK(vault_backup(w->v, &rq, &res));
	source_close(image);
}

/* All but the last byte: a part of the frame, which goes through the cache. */
static void check_disk(struct world *w, struct vm_head *h, const uint8_t *want,
		       size_t n)
{
	DROP(mem) uint8_t *got = malloc(n);
	struct vault_point *p;
	struct source *s;
	struct tree *t;
	struct point_row row;

	CHECK(got);
	CHECK_OK(vault_find_time(w->v, h, 2, &row));
	CHECK_OK(vault_point(w->v, h, &row, &p));
	CHECK_OK(tree_open(w->v, p, 0, &t));
	CHECK_OK(source_open_disk(t, &s));
	CHECK(source_size(s) == n);
	CHECK_OK(source_read(s, got, n - 1, 0));
	CHECK(memcmp(got, want, n - 1) == 0);
	source_close(s);
	point_info_unref(&p->info);
}

/* The points of the first head, through the page that the disk is a copy of. */
static void check_index(struct world *w, struct vm_head *h)
{
	struct point_row rows[VF_INDEX_ROWS];
	size_t n;

	CHECK_OK(vault_index_page(w->v, h, 0, rows, &n));
	CHECK(n == 1 && rows[0].time_ns == 1);
}

/* With a cache that knows nothing yet. The vault closes its store with it. */
static void reopen(struct world *w)
{
	struct store *copy;

	CHECK_OK(store_memory_copy(w->store, &copy));
	world_close(w);
	world_open(w, copy);
}

int main(void)
{
	static const uint8_t first[100] = { 1, 2, 3 };
	struct vm_head *before, *after;
	struct store *store;
	struct world w;
	const uint8_t *page;
	size_t n;

	world_home();
	CHECK_OK(store_open_memory(&store));
	world_init(&w, store, 1);
	backup(&w, 1, first, sizeof(first));
	CHECK_OK(vault_head(w.v, VM, 0, &before));
	page = before->c.bytes + before->c.pages[0].offset;
	n = before->c.pages[0].length;
	backup(&w, 2, page, n);
	CHECK_OK(vault_head(w.v, VM, 0, &after));

	reopen(&w);
	check_index(&w, before);
	check_disk(&w, after, page, n);
	reopen(&w);
	check_disk(&w, after, page, n);
	check_index(&w, before);

	vm_head_unref(before);
	vm_head_unref(after);
	world_release(&w);
	return 0;
}
