// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/rsv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/pages.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

#define META_BYTES ((size_t)32 << 20)
#define READERS 8

static const struct catalog_ops rsv_ops;

static struct rsv *self(struct catalog *c)
{
	return container_of(c, struct rsv, c);
}

bool catalog_is_azure(const struct catalog *c)
{
	return c->ops == &rsv_ops;
}

/* --- addresses --- */

bool rsv_is_guid(const char *s, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return true;
}

static int bad_address(const char *url)
{
	return fail(-EINVAL,
		    "%.300s: not azure-rsv:SUBSCRIPTION nor azure-rsv:"
		    "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/"
		    "providers/Microsoft.RecoveryServices/vaults/VAULT",
		    url);
}

/* An id that is a vault's and nothing more. */
static bool is_vault_id(const char *id)
{
	char group[128], name[128], provider[128];
	size_t slashes = 0;

	for (const char *s = id; *s; s++)
		slashes += *s == '/';
	return slashes == 8 &&
	       arm_id_part(id, "resourceGroups", group, sizeof(group)) &&
	       arm_id_part(id, "providers", provider, sizeof(provider)) &&
	       arm_id_part(id, "vaults", name, sizeof(name)) &&
	       !strcasecmp(provider, "Microsoft.RecoveryServices");
}

int rsv_address_parse(const char *url, struct rsv_address *out)
{
	const char *id = url;
	size_t n, k;

	if (!strncmp(id, RSV_SCHEME, strlen(RSV_SCHEME)))
		id += strlen(RSV_SCHEME);
	n = strlen(id);
	while (n && id[n - 1] == '/')
		n--;
	*out = (struct rsv_address){ 0 };
	if (rsv_is_guid(id, n)) {
		memcpy(out->subscription, id, n);
		return 0;
	}
	if (n >= sizeof(out->vault) || strpbrk(id, "?#%") ||
	    !utf8_valid(id, n) || strstr(id, "//") || strstr(id, "/.."))
		return bad_address(url);
	memcpy(out->vault, id, n);
	if (!arm_id_part(out->vault, "subscriptions", out->subscription,
			 sizeof(out->subscription)) ||
	    !rsv_is_guid(out->subscription, strlen(out->subscription)))
		return bad_address(url);
	k = strlen("/subscriptions/") + 36;
	if (n == k) {
		out->vault[0] = '\0';
		return 0;
	}
	return is_vault_id(out->vault) ? 0 : bad_address(url);
}

/* --- ids of points --- */

/* A point's id: of its name in the service, the same in every mount. */
static void id_of(const struct rsv_item *item, const char *name,
		  struct point_id *out)
{
	char folded[ARM_ID_MAX];
	struct digest d;
	struct sha256 h;

	if (arm_id_fold(item->id, folded))
		folded[0] = '\0';
	sha256_init(&h);
	sha256_add(&h, folded, strlen(folded) + 1);
	sha256_add(&h, name, strlen(name));
	sha256_final(&h, &d);
	memcpy(&out->seq, d.b, 8);
	memcpy(&out->nonce, d.b + 8, 8);
	out->seq |= 1;
}

static void row_of(const struct rsv_item *item, const struct rsv_point *p,
		   struct point_row *out)
{
	*out = (struct point_row){
		.time_ns = p->time_ns,
		.consistency = p->consistency,
		.expiry_ns = p->expiry_ns,
		.ndisks = (uint16_t)p->ndisks,
	};
	id_of(item, p->name, &out->id);
}

/* --- the catalog --- */

static int rc_vaults(struct catalog *c, const char *after, size_t max,
		     struct name_page *out)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	struct name_list n;
	int e = rsv_get_vaults(self(c), &b);

	if (e)
		return e;
	n = rsv_vaults_names(b->data);
	return names_page(&n, after, max, out);
}

static int rc_vms(struct catalog *c, const char *vault, const char *after,
		  size_t max, struct name_page *out)
{
	DROP(rsv_place) struct rsv_place p = { 0 };
	struct name_list n;
	int e = rsv_find_items(self(c), vault, &p);

	if (e)
		return e;
	n = rsv_items_names(p.items->data);
	return names_page(&n, after, max, out);
}

/* The first point that is not before from_ns. */
static size_t first_from(const struct rsv_points *l, int64_t from_ns)
{
	size_t lo = 0, hi = l->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->v[mid].time_ns < from_ns)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int rc_points(struct catalog *c, const char *vault, const char *vm,
		     int64_t from_ns, size_t max, struct point_page *out)
{
	DROP(rsv_place) struct rsv_place p = { 0 };
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct rsv_points *l;
	size_t first, n;
	int e = rsv_find_item(self(c), vault, vm, &p);

	if (!e)
		e = rsv_get_points(self(c), &p, NULL, &b);
	if (e)
		return e;
	l = b->data;
	first = first_from(l, from_ns);
	n = min_u64(max, l->count - first);
	out->rows = calloc(n ? n : 1, sizeof(*out->rows));
	if (!out->rows)
		return fail(-ENOMEM, "no memory for a list of points");
	for (size_t i = 0; i < n; i++)
		row_of(p.item, &l->v[first + i], &out->rows[i]);
	out->count = n;
	out->more = first + n < l->count;
	if (out->more)
		out->next_ns = l->v[first + n].time_ns;
	return 0;
}

static int rc_latest(struct catalog *c, const char *vault, const char *vm,
		     struct point_row *out)
{
	DROP(rsv_place) struct rsv_place p = { 0 };
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct rsv_points *l;
	int e = rsv_find_item(self(c), vault, vm, &p);

	if (!e)
		e = rsv_get_points(self(c), &p, NULL, &b);
	if (e)
		return e;
	l = b->data;
	if (!l->count)
		return fail(-ENOENT, "VM %s has no recovery point", vm);
	row_of(p.item, &l->v[l->count - 1], out);
	return 0;
}

static int rc_count(struct catalog *c, const char *vault, const char *vm,
		    uint64_t *points, uint64_t *version)
{
	DROP(rsv_place) struct rsv_place p = { 0 };
	DROP(cache_blob) struct cache_blob *b = NULL;
	uint64_t generation;
	int e = rsv_find_item(self(c), vault, vm, &p);

	/* Whether it is there costs nothing more. */
	if (e || !points)
		return e;
	e = rsv_get_points(self(c), &p, &generation, &b);
	if (e)
		return e;
	*points = ((const struct rsv_points *)b->data)->count;
	*version = generation;
	return 0;
}

/* The service's name of a point, to be freed. */
static int name_of(struct rsv *r, const struct rsv_place *p,
		   const struct point_row *row, char **ret)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	char time[TIME_TEXT_SIZE];
	const struct rsv_points *l;
	size_t i;
	int e = rsv_get_points(r, p, NULL, &b);

	if (e)
		return e;
	l = b->data;
	i = first_from(l, row->time_ns);
	if (i < l->count) {
		struct point_row found;

		row_of(p->item, &l->v[i], &found);
		if (point_id_equal(&found.id, &row->id)) {
			*ret = strdup(l->v[i].name);
			return *ret ? 0 : fail(-ENOMEM, "out of memory");
		}
	}
	time_name(row->time_ns, time);
	return fail(-ESTALE, "recovery point %s of VM %s was dropped meanwhile",
		    time, p->item->shown);
}

static int rc_point(struct catalog *c, const char *vault, const char *vm,
		    const struct point_row *row, struct point_info **ret)
{
	DROP(rsv_place) struct rsv_place p = { 0 };
	DROP(mem) char *name = NULL;
	int e = rsv_find_item(self(c), vault, vm, &p);

	if (!e)
		e = name_of(self(c), &p, row, &name);
	return e ? e : rsv_point_open(self(c), &p, row, name, ret);
}

/* --- the bytes of a disk --- */

static int lease_url(void *ctx, unsigned refused, const char **url,
		     unsigned *number, void **held)
{
	struct access_url *u;
	int e = access_get(ctx, refused, &u);

	if (e)
		return e;
	*url = u->text;
	*number = u->number;
	*held = u;
	return 0;
}

static void lease_done(void *held)
{
	access_url_unref(held);
}

static void lease_close(void *ctx)
{
	access_close(ctx);
}

#define DISK_WHAT 600

/* A disk of a point for which an address can be asked. */
static int open_lease(struct rsv *r, struct point_info *point, size_t disk,
		      char what[static DISK_WHAT], struct pages_place *at)
{
	struct rsv_point_info *i = rsv_info_of(point);
	char time[TIME_TEXT_SIZE];
	struct access_lease *lease;
	struct access_wanted w = {
		.id = i->places[disk].id,
		.family = i->places[disk].family,
		.what = what,
		.may_end = i->point.tiers & RSV_TIER_VAULT,
	};
	int e;

	time_name(point->row.time_ns, time);
	snprintf(what, DISK_WHAT, "%s, %s, disk %s", point->vm, time,
		 point->disks[disk].name);
	e = access_open(r->access, &w, &lease);
	if (e)
		return e;
	*at = (struct pages_place){
		.url = lease_url,
		.done = lease_done,
		.close = lease_close,
		.ctx = lease,
	};
	return 0;
}

static int rc_open_disk(struct catalog *c, const char *vault, const char *vm,
			struct point_info *point, size_t disk,
			struct source **ret)
{
	struct rsv *r = self(c);
	struct rsv_point_info *i = rsv_info_of(point);
	char what[DISK_WHAT];
	struct pages_options o = {
		.http = azure_http(r->az),
		.cache = r->bytes,
		.pool = r->readers,
		.what = what,
	};
	struct pages_place at;
	struct source *s;
	bool is_vhd;
	int e;

	if (i->left)
		return rsv_left_open(i->left, disk, ret);
	o.identity = i->places[disk].id;
	e = open_lease(r, point, disk, what, &at);
	if (!e)
		e = source_open_pages(&o, &at, &s);
	return e ? e : source_open_vhd(s, VHD_AUTO, ret, &is_vhd);
}

int rsv_disk_changes(struct catalog *c, struct point_info *now, size_t disk,
		     struct point_info *before, size_t was,
		     int (*each)(void *ctx, uint64_t off, uint64_t len),
		     void *ctx)
{
	struct rsv *r = self(c);
	const struct disk_info *d = &now->disks[disk], *b = &before->disks[was];
	char what[DISK_WHAT], other[DISK_WHAT];
	struct pages_options o = {
		.http = azure_http(r->az),
		.what = what,
	};
	struct pages_place at, from;
	int e;

	if (d->state != DISK_READY || b->state != DISK_READY ||
	    !rsv_info_of(now)->places || !rsv_info_of(before)->places)
		return fail(-ENOTSUP, "it has no snapshot (any more)");
	if (!d->has_size || !b->has_size || d->size != b->size ||
	    !arm_id_equal(rsv_info_of(now)->places[disk].family,
			  rsv_info_of(before)->places[was].family))
		return fail(-ENOTSUP, "it is another disk, or of another size");
	o.identity = rsv_info_of(now)->places[disk].id;
	e = open_lease(r, now, disk, what, &at);
	if (e)
		return e;
	e = open_lease(r, before, was, other, &from);
	if (e) {
		at.close(at.ctx);
		return e;
	}
	return pages_changes(&o, &at, &from, each, ctx);
}

static int rc_escrow(struct catalog *c, const char *vault, const char *vm,
		     struct point_info *point, struct escrow_docs *out)
{
	return rsv_point_escrow(self(c), rsv_info_of(point), out);
}

static int rc_describe(struct catalog *c, const char *vault, struct json *into)
{
	struct rsv *r = self(c);
	DROP(rsv_place) struct rsv_place p = { 0 };
	int e = rsv_find_vault(r, vault, &p);

	if (e)
		return e;
	json_set_str(into, "name", p.vault->name);
	json_set_str(into, "id", p.vault->id);
	json_set_str(into, "kind", "azure-recovery-services");
	json_set_str(into, "subscription", r->at.subscription);
	if (p.vault->location)
		json_set_str(into, "location", p.vault->location);
	json_set_str(into, "credential", azure_credential_name(r->az));
	return 0;
}

static void rsv_free(struct rsv *r)
{
	if (!r)
		return;
	/* Readers ahead still use the rest. */
	pool_free(r->readers);
	access_table_free(r->access);
	cache_free(r->meta);
	azure_unref(r->az);
	fresh_free(r->fresh);
	free((char *)(uintptr_t)r->store.endpoint);
	free((char *)(uintptr_t)r->store.ca_file);
	free((char *)(uintptr_t)r->store.sas_file);
	free(r);
}

DROP_DEFINE(rsv, struct rsv *, rsv_free)

static void rc_close(struct catalog *c)
{
	rsv_free(self(c));
}

static const struct catalog_ops rsv_ops = {
	.name = "azure-rsv",
	.vaults = rc_vaults,
	.vms = rc_vms,
	.points = rc_points,
	.latest = rc_latest,
	.count = rc_count,
	.point = rc_point,
	.open_disk = rc_open_disk,
	.escrow = rc_escrow,
	.describe = rc_describe,
	.close = rc_close,
};

static int keep_text(const char *text, const char **to)
{
	*to = text ? strdup(text) : NULL;
	return text && !*to ? fail(-ENOMEM, "out of memory") : 0;
}

static int keep_store(struct store_options *to, const struct store_options *o)
{
	int e;

	if (!o)
		return 0;
	*to = *o;
	to->ca_file = to->sas_file = NULL;
	e = keep_text(o->endpoint, &to->endpoint);
	if (!e)
		e = keep_text(o->ca_file, &to->ca_file);
	if (!e)
		e = keep_text(o->sas_file, &to->sas_file);
	return e;
}

int catalog_open_azure(const char *url, const struct catalog_options *o,
		       struct catalog **ret)
{
	DROP(rsv) struct rsv *r = calloc(1, sizeof(*r));
	DROP(cache_blob) struct cache_blob *b = NULL;
	int e;

	if (!r)
		return fail(-ENOMEM, "no memory for a catalog");
	r->c.ops = &rsv_ops;
	r->c.trust = SEAL_NONE;
	r->c.dear_points = true;
	r->bytes = o->cache;
	e = rsv_address_parse(url, &r->at);
	if (!e)
		e = keep_store(&r->store, o->store);
	if (!e)
		e = azure_use_ca(o->store ? o->store->ca_file : NULL);
	if (!e)
		e = azure_ref(&r->az);
	if (!e)
		e = cache_new(META_BYTES, &r->meta);
	if (!e)
		e = fresh_new(o->refresh_ms
				      ? max_u64(o->refresh_ms, RSV_FRESH_MS) *
						1000000
				      : 0,
			      &r->fresh);
	if (!e)
		e = access_table_new(r->az, &r->access);
	if (!e)
		e = pool_new(READERS, &r->readers);
	/* Now, while somebody looks: is it there, and may we see it? */
	if (!e)
		e = rsv_get_vaults(r, &b);
	if (e)
		return e;
	*ret = &take(r)->c;
	return 0;
}
