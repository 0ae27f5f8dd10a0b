// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The vaults that the independent writer made, read whole: commits of all six kinds, adopted
 * and relocated frames, dead lists, chunk sizes that change, heads of two writers.
 */
#include "tests/fakes/golden.h"
#include "tests/unit/check.h"

static size_t compare(struct store *s, const char *name, size_t cache_size)
{
	DROP(json) struct json *want = golden_json(name);
	DROP(catalog) struct catalog *c = NULL;
	struct cache *cache = NULL;
	struct catalog_options o = { 0 };
	size_t disks;

	CHECK_OK(cache_new(cache_size, &cache));
	o.cache = cache;
	CHECK_OK(catalog_open_vault(s, &o, &c));
	CHECK(c->trust == SEAL_UNPINNED);
	disks = golden_compare(c, want);
	catalog_close(take(c));
	cache_free(cache);
	return disks;
}

int main(void)
{
	DROP(mem) char *dir = golden_unpack("golden-1");
	struct store *s;

	golden_fresh_user();
	CHECK_OK(store_open_dir(dir, false, &s));
	CHECK_U64(compare(s, "golden-1", 64u << 20), 308);
	/* The same vault id, so this one would be the other one, rolled back. */
	golden_fresh_user();
	CHECK_U64(compare(golden_load("small-1"), "small-1", 64u << 20), 7);
	/* Nothing is kept in a cache of no size: every page is read each time. */
	CHECK_U64(compare(golden_load("small-1"), "small-1", 0), 7);
	return 0;
}
