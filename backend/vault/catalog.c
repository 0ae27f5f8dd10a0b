// SPDX-License-Identifier: GPL-3.0-or-later
/* The catalog of one native vault. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/vault/addenda.h"
#include "backend/vault/vault.h"

struct vault_catalog {
	struct catalog c;
	struct vault *v;
	struct addenda *addenda;
	uint64_t refresh_ms;
};

static struct vault_catalog *self(struct catalog *c)
{
	return container_of(c, struct vault_catalog, c);
}

static int check_vault(struct vault_catalog *c, const char *vault)
{
	if (strcmp(vault, vault_name(c->v)) != 0)
		return fail(-ENOENT, "no vault '%s'", vault);
	return 0;
}

static int head_of(struct vault_catalog *c, const char *vault, const char *vm,
		   struct vm_head **ret)
{
	int r = check_vault(c, vault);

	return r ? r : vault_head(c->v, vm, c->refresh_ms, ret);
}

static int vc_vaults(struct catalog *c, const char *after, size_t max,
		     struct name_page *out)
{
	const char *name = vault_name(self(c)->v);

	if (!max || strcmp(name, after) <= 0)
		return 0;
	out->names = malloc(sizeof(*out->names));
	if (out->names)
		out->names[0] = strdup(name);
	if (!out->names || !out->names[0]) {
		free(take(out->names));
		return fail(-ENOMEM, "no memory for names");
	}
	out->count = 1;
	return 0;
}

static int vc_vms(struct catalog *c, const char *vault, const char *after,
		  size_t max, struct name_page *out)
{
	int r = check_vault(self(c), vault);

	return r ? r : vault_vms(self(c)->v, after, max, out);
}

/* What one page of the index has from from_ns on: one request at most. */
static int vc_points(struct catalog *c, const char *vault, const char *vm,
		     int64_t from_ns, size_t max, struct point_page *out)
{
	DROP(vm_head) struct vm_head *h = NULL;
	DROP(mem) struct point_row *rows = NULL;
	size_t page = 0, n, first = 0;
	int r = head_of(self(c), vault, vm, &h);

	if (r)
		return r;
	while (page < h->c.npages && h->c.pages[page].last_ns < from_ns)
		page++;
	if (!max || page == h->c.npages)
		return 0;
	rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	if (!rows)
		return fail(-ENOMEM, "no memory for a list of points");
	r = vault_index_page(self(c)->v, h, page, rows, &n);
	if (r)
		return r;
	/* The last row is not before from_ns. */
	while (rows[first].time_ns < from_ns)
		first++;
	n -= first;
	memmove(rows, rows + first, n * sizeof(*rows));
	if (n > max) {
		out->more = true;
		out->next_ns = rows[max].time_ns;
		n = max;
	} else if (page + 1 < h->c.npages) {
		out->more = true;
		out->next_ns = h->c.pages[page + 1].first_ns;
	}
	out->rows = take(rows);
	out->count = n;
	return 0;
}

static int vc_latest(struct catalog *c, const char *vault, const char *vm,
		     struct point_row *out)
{
	DROP(vm_head) struct vm_head *h = NULL;
	DROP(mem) struct point_row *page = NULL;
	size_t n;
	int r = head_of(self(c), vault, vm, &h);

	if (r)
		return r;
	if (!h->c.npages)
		return fail(-ENOENT, "VM %s has no recovery point", vm);
	page = calloc(VF_INDEX_ROWS, sizeof(*page));
	if (!page)
		return fail(-ENOMEM, "no memory for a list of points");
	r = vault_index_page(self(c)->v, h, h->c.npages - 1, page, &n);
	if (!r)
		*out = page[n - 1];
	return r;
}

static int vc_count(struct catalog *c, const char *vault, const char *vm,
		    uint64_t *points, uint64_t *version)
{
	DROP(vm_head) struct vm_head *h = NULL;
	int r = head_of(self(c), vault, vm, &h);

	if (r || !points)
		return r;
	*points = h->c.npoints;
	*version = h->c.seq;
	return 0;
}

static int vc_point(struct catalog *c, const char *vault, const char *vm,
		    const struct point_row *row, struct point_info **ret)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct vault_point *p;
	int r = head_of(self(c), vault, vm, &h);

	if (!r)
		r = vault_point(self(c)->v, h, row, &p);
	if (!r)
		*ret = &p->info;
	return r;
}

static int vc_open_disk(struct catalog *c, const char *vault, const char *vm,
			struct point_info *point, size_t disk,
			struct source **ret)
{
	struct vault_point *p = container_of(point, struct vault_point, info);
	struct tree *t = NULL;
	int r = check_vault(self(c), vault);

	if (!r)
		r = tree_open(self(c)->v, p, disk, &t);
	if (r)
		return blame(r, "%s, disk %s", vm, point->disks[disk].name);
	return source_open_disk(t, ret);
}

static int vc_escrow(struct catalog *c, const char *vault, const char *vm,
		     struct point_info *point, struct escrow_docs *out)
{
	struct vault_point *p = container_of(point, struct vault_point, info);
	char vm_key[CATALOG_NAME_MAX + 1];
	int r = check_vault(self(c), vault);

	if (!r)
		r = vf_name_encode(vm, vm_key);
	if (!r)
		r = vault_point_escrow(self(c)->v, vm_key, p, out);
	return r ? r : addenda_of(self(c)->addenda, p, out);
}

static int vc_describe(struct catalog *c, const char *vault, struct json *into)
{
	DROP(vault_config) struct vault_config *cfg = NULL;
	struct vault *v = self(c)->v;
	char hex[2 * SIGN_PUBLIC_SIZE + 1], time[TIME_TEXT_SIZE];
	int r = check_vault(self(c), vault);

	if (r)
		return r;
	cfg = vault_config_ref(v);
	json_set_str(into, "name", vault_name(v));
	hex_of(vault_id(v)->b, sizeof(vault_id(v)->b), hex);
	json_set_str(into, "id", hex);
	json_set_str(into, "kind", "native");
	json_set_u64(into, "formatVersion", 1);
	json_set_str(into, "store", store_url(vault_store(v)));
	hex_of(cfg->c.owner.b, sizeof(cfg->c.owner.b), hex);
	json_set_str(into, "ownerKey", hex);
	json_set_bool(into, "ownerKeyPinned", vault_trust(v) == SEAL_PINNED);
	json_set_u64(into, "config", cfg->c.n);
	time_iso(cfg->c.time_ns, time);
	json_set_str(into, "configTime", time);
	return 0;
}

static void vc_close(struct catalog *c)
{
	addenda_free(self(c)->addenda);
	vault_close(self(c)->v);
	free(self(c));
}

static const struct catalog_ops vault_catalog_ops = {
	.name = "vault",
	.vaults = vc_vaults,
	.vms = vc_vms,
	.points = vc_points,
	.latest = vc_latest,
	.count = vc_count,
	.point = vc_point,
	.open_disk = vc_open_disk,
	.escrow = vc_escrow,
	.describe = vc_describe,
	.close = vc_close,
};

/* It costs time not to have it, nothing else. */
static void keep(struct vault *v, const struct catalog_options *o)
{
	int r;

	if (!o->keep_dir || !o->keep_bytes ||
	    (!vault_store(v)->remote && !o->keep_near))
		return;
	r = vault_keep_on_disk(v, o->keep_dir, o->keep_bytes);
	if (r)
		log_warn("vault %s: %s; going on without it", vault_name(v),
			 err_text(r));
}

int catalog_open_vault(struct store *store, const struct catalog_options *o,
		       struct catalog **ret)
{
	DROP(mem) struct vault_catalog *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		store_close(store);
		return fail(-ENOMEM, "no memory for a catalog");
	}
	r = vault_open(store, o->cache, o->refresh_ms, &c->v);
	if (r)
		return r;
	r = addenda_new(c->v, o->refresh_ms, &c->addenda);
	if (r) {
		vault_close(c->v);
		return r;
	}
	keep(c->v, o);
	c->c.ops = &vault_catalog_ops;
	c->c.trust = vault_trust(c->v);
	c->refresh_ms = o->refresh_ms;
	*ret = &take(c)->c;
	return 0;
}

struct vault *catalog_vault(struct catalog *c)
{
	return c->ops == &vault_catalog_ops ? self(c)->v : NULL;
}
