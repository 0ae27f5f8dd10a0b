// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"

/* Verified frames and index pages. A command reads a point once: more than what
 * its workers share is not worth the memory. */
#define CACHE_BYTES (64u << 20)
/* One command sees one state of a VM. */
#define REFRESH_MS 60000

/* The commands name a VM and no vault, so there must be one. */
static int only_vault(struct opened *o)
{
	DROP(name_page) struct name_page page = { 0 };
	int r = catalog_vaults(o->catalog, "", 2, &page);

	if (r < 0)
		return r;
	if (page.count != 1)
		return fail(-EINVAL, "%s",
			    page.count ? "it holds several vaults: name one"
				       : "it holds no vault");
	snprintf(o->name, sizeof(o->name), "%s", page.names[0]);
	return 0;
}

static void tell_trust(const struct opened *o)
{
	if (o->catalog->trust == SEAL_UNPINNED)
		log_warn("vault %s: no owner key is pinned here, so its seals "
			 "are checked with the key that it brings itself (see "
			 "'vaultctl key pin')",
			 o->name);
}

int open_url(const struct command *c, const char *url, struct opened *o)
{
	struct catalog_options options = { .refresh_ms = REFRESH_MS,
					   .store = &c->store };
	int r = cache_new(CACHE_BYTES, &o->cache);

	if (r < 0)
		return r;
	options.cache = o->cache;
	r = catalog_open(url, &options, &o->catalog);
	if (r < 0)
		return r;
	r = only_vault(o);
	if (r < 0)
		return blame(r, "%s", url);
	return 0;
}

int open_quietly(const struct command *c, struct opened *o)
{
	return open_url(c, c->args.v[0], o);
}

int open_reading(const struct command *c, struct opened *o)
{
	int r = open_quietly(c, o);

	if (r == 0)
		tell_trust(o);
	return r;
}

int open_writing(const struct command *c, struct opened *o)
{
	struct catalog_options options = { 0 };
	struct store *store = NULL;
	const char *url = c->args.v[0];
	int r = secret_setup();

	if (r < 0)
		return r;
	r = cache_new(CACHE_BYTES, &o->cache);
	if (r < 0)
		return r;
	r = store_open_with(url, &c->store, true, &store);
	if (r < 0)
		return r;
	options.cache = o->cache;
	r = catalog_open_vault(store, &options, &o->catalog);
	if (r < 0)
		return r;
	r = only_vault(o);
	if (r < 0)
		return blame(r, "%s", url);
	tell_trust(o);
	return 0;
}

int opened_native(struct opened *o, struct vault **ret)
{
	*ret = catalog_vault(o->catalog);
	if (!*ret)
		return fail(-EINVAL, "%s: it is not a vault of our own format",
			    o->name);
	return 0;
}

void opened_close(struct opened *o)
{
	catalog_close(o->catalog);
	cache_free(o->cache);
	o->catalog = NULL;
	o->cache = NULL;
}

int check_name_arg(const char *what, const char *name)
{
	return catalog_check_name(what, name, strlen(name));
}

void point_name(const struct point_row *row, const struct point_row *prev,
		const struct point_row *next, char out[static POINT_NAME_SIZE])
{
	char own[TIME_TEXT_SIZE], other[TIME_TEXT_SIZE], tag[5];
	bool shared = false;

	time_name(row->time_ns, own);
	if (prev) {
		time_name(prev->time_ns, other);
		shared = !strcmp(own, other);
	}
	if (next && !shared) {
		time_name(next->time_ns, other);
		shared = !strcmp(own, other);
	}
	point_id_tag(&row->id, tag);
	snprintf(out, POINT_NAME_SIZE, "%s%s%s", own, shared ? "~" : "",
		 shared ? tag : "");
}
