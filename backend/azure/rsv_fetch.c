// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What was fetched is a blob in a bounded cache of the catalog's own, under the
 * kind, the id and a generation. Generations are in a table of a fixed size: an
 * entry that is too old, or was another's, gets the next number, so that the blob
 * is fetched anew (by one thread, while the others wait for it).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/arm.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

/* --- what was fetched --- */

/* The generation under which to look for that key. */
static uint64_t generation_of(struct rsv *r, const uint8_t *key)
{
	DROP(lock) pthread_mutex_t *held = lock(&r->lock);
	struct rsv_slot *s = &r->slots[(key[0] | key[1] << 8) % RSV_SLOTS];
	uint64_t now = monotonic_ns();

	if (!s->generation || memcmp(s->key, key, sizeof(s->key)) != 0 ||
	    now - s->made_ns >= r->fresh_ns) {
		memcpy(s->key, key, sizeof(s->key));
		s->generation = ++r->generation;
		s->made_ns = now;
	}
	return s->generation;
}

/* The blob of a kind for an id (compared without case); *generation may be NULL. */
static int fetched(struct rsv *r, const char *kind, const char *id,
		   cache_fill_fn *fill, void *ctx, uint64_t *generation,
		   struct cache_blob **ret)
{
	uint8_t key[CACHE_KEY_SIZE];
	char folded[ARM_ID_MAX];
	uint64_t g;
	struct sha256 h;
	struct digest d;
	int e = arm_id_fold(id, folded);

	if (e)
		return e;
	cache_key(kind, folded, strlen(folded), key);
	g = generation_of(r, key);
	sha256_init(&h);
	sha256_add(&h, key, sizeof(key));
	sha256_add(&h, &g, sizeof(g));
	sha256_final(&h, &d);
	memcpy(key, d.b, sizeof(key));
	if (generation)
		*generation = g;
	return cache_get(r->meta, key, fill, ctx, ret);
}

/* --- vaults --- */

static void vaults_destroy(void *data)
{
	rsv_vaults_release(data);
	free(data);
}

static int vaults_page(void *ctx, const struct json *values)
{
	return rsv_vaults_add(ctx, values);
}

static int one_vault(struct rsv *r, struct rsv_vaults *to)
{
	DROP(json) struct json *j = NULL, *list = json_array();
	int e = arm_get(r->az, "the vault", r->at.vault, RSV_API_VAULTS, &j);

	if (e)
		return e;
	if (!list)
		return fail(-ENOMEM, "out of memory");
	json_push(list, take(j));
	return rsv_vaults_add(to, list);
}

static int all_vaults(struct rsv *r, struct rsv_vaults *to)
{
	char path[256];

	snprintf(
		path, sizeof(path),
		"/subscriptions/%s/providers/Microsoft.RecoveryServices/vaults",
		r->at.subscription);
	return arm_list(r->az, "the vaults of the subscription", path,
			RSV_API_VAULTS, vaults_page, to);
}

static int vaults_fill(void *ctx, struct cache_value *out)
{
	struct rsv *r = ctx;
	struct rsv_vaults *list = calloc(1, sizeof(*list));
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	e = *r->at.vault ? one_vault(r, list) : all_vaults(r, list);
	if (!e)
		e = rsv_vaults_show(list);
	if (e) {
		vaults_destroy(list);
		return e;
	}
	out->data = list;
	out->destroy = vaults_destroy;
	out->charge = sizeof(*list) + list->count * 512;
	return 0;
}

int rsv_get_vaults(struct rsv *r, struct cache_blob **ret)
{
	return fetched(r, "vaults", "", vaults_fill, r, NULL, ret);
}

static const struct rsv_vault *vault_named(const struct cache_blob *b,
					   const char *name)
{
	const struct rsv_vaults *l = b->data;
	size_t lo = 0, hi = l->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(l->v[mid].shown, name);

		if (!c)
			return &l->v[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* --- items --- */

struct items_wanted {
	struct rsv *r;
	const struct rsv_vault *vault;
};

static void items_destroy(void *data)
{
	rsv_items_release(data);
	free(data);
}

static int items_page(void *ctx, const struct json *values)
{
	return rsv_items_add(ctx, values);
}

static int items_fill(void *ctx, struct cache_value *out)
{
	const struct items_wanted *w = ctx;
	struct rsv_items *list = calloc(1, sizeof(*list));
	char path[ARM_ID_MAX + 64], what[300];
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	snprintf(path, sizeof(path), "%s/backupProtectedItems", w->vault->id);
	snprintf(what, sizeof(what), "vault %s: its protected items",
		 w->vault->shown);
	/* No filter: then the service gives items of every kind. */
	e = arm_list(w->r->az, what, path, RSV_API_BACKUP, items_page, list);
	if (!e)
		e = rsv_items_show(list);
	if (e) {
		items_destroy(list);
		return e;
	}
	out->data = list;
	out->destroy = items_destroy;
	out->charge = sizeof(*list) + list->count * 1024;
	return 0;
}

void rsv_place_release(struct rsv_place *p)
{
	cache_unref(p->items);
	cache_unref(p->vaults);
}

int rsv_find_vault(struct rsv *r, const char *vault, struct rsv_place *p)
{
	int e = rsv_get_vaults(r, &p->vaults);

	if (e)
		return e;
	p->vault = vault_named(p->vaults, vault);
	return p->vault ? 0 : fail(-ENOENT, "no vault '%s'", vault);
}

int rsv_find_items(struct rsv *r, const char *vault, struct rsv_place *p)
{
	struct items_wanted w = { .r = r };
	int e = rsv_find_vault(r, vault, p);

	if (e)
		return e;
	w.vault = p->vault;
	return fetched(r, "items", p->vault->id, items_fill, &w, NULL,
		       &p->items);
}

int rsv_find_item(struct rsv *r, const char *vault, const char *vm,
		  struct rsv_place *p)
{
	const struct rsv_items *l;
	size_t lo = 0, hi;
	int e = rsv_find_items(r, vault, p);

	if (e)
		return e;
	l = p->items->data;
	for (hi = l->count; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(l->v[mid].shown, vm);

		if (!c) {
			p->item = &l->v[mid];
			return 0;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return fail(-ENOENT, "vault %s has no VM '%s'", vault, vm);
}

/* --- recovery points --- */

static void points_destroy(void *data)
{
	rsv_points_release(data);
	free(data);
}

static int points_page(void *ctx, const struct json *values)
{
	return rsv_points_add(ctx, values);
}

struct points_wanted {
	struct rsv *r;
	const struct rsv_item *item;
};

static int points_fill(void *ctx, struct cache_value *out)
{
	const struct points_wanted *w = ctx;
	struct rsv_points *list = calloc(1, sizeof(*list));
	char path[ARM_ID_MAX + 64], what[300];
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	snprintf(path, sizeof(path), "%s/recoveryPoints", w->item->id);
	snprintf(what, sizeof(what), "VM %s: its recovery points",
		 w->item->shown);
	e = arm_list(w->r->az, what, path, RSV_API_BACKUP, points_page, list);
	if (e) {
		points_destroy(list);
		return e;
	}
	rsv_points_order(list);
	out->data = list;
	out->destroy = points_destroy;
	out->charge = sizeof(*list) + list->count * (sizeof(*list->v) + 160);
	return 0;
}

int rsv_get_points(struct rsv *r, const struct rsv_place *p,
		   uint64_t *generation, struct cache_blob **ret)
{
	struct points_wanted w = { r, p->item };

	return fetched(r, "points", p->item->id, points_fill, &w, generation,
		       ret);
}

/* --- restore points --- */

static void collections_destroy(void *data)
{
	rsv_collections_release(data);
	free(data);
}

static int collections_page(void *ctx, const struct json *values)
{
	return rsv_collections_add(ctx, values);
}

struct collections_wanted {
	struct rsv *r;
	const char *subscription;
};

static int collections_fill(void *ctx, struct cache_value *out)
{
	const struct collections_wanted *w = ctx;
	struct rsv_collections *list = calloc(1, sizeof(*list));
	char path[256];
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	snprintf(path, sizeof(path),
		 "/subscriptions/%s/providers/Microsoft.Compute/"
		 "restorePointCollections",
		 w->subscription);
	e = arm_list(w->r->az, "the restore points of the subscription", path,
		     RSV_API_COMPUTE, collections_page, list);
	if (e) {
		collections_destroy(list);
		return e;
	}
	out->data = list;
	out->destroy = collections_destroy;
	out->charge = sizeof(*list) + list->count * 768;
	return 0;
}

static void snapshots_destroy(void *data)
{
	rsv_snapshots_release(data);
	free(data);
}

struct snapshots_wanted {
	struct rsv *r;
	const struct rsv_item *item;
	const struct rsv_collections *all;
};

static int add_collection(struct rsv *r, const struct rsv_item *item,
			  const struct rsv_collection *c,
			  struct rsv_snapshots *to)
{
	DROP(json) struct json *j = NULL;
	char what[300];
	int e;

	snprintf(what, sizeof(what), "VM %s: its restore points", item->shown);
	e = arm_get(r->az, what, c->id,
		    "$expand=restorePoints&" RSV_API_COMPUTE, &j);
	/* Gone since the list was made. */
	if (e == -ENOENT)
		return 0;
	return e ? e : rsv_snapshots_add(to, j);
}

static int snapshots_fill(void *ctx, struct cache_value *out)
{
	const struct snapshots_wanted *w = ctx;
	struct rsv_snapshots *list = calloc(1, sizeof(*list));
	size_t disks = 0;
	int e = 0;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; !e && i < w->all->count; i++) {
		if (arm_id_equal(w->all->v[i].source_id, w->item->source_id))
			e = add_collection(w->r, w->item, &w->all->v[i], list);
	}
	if (e) {
		snapshots_destroy(list);
		return e;
	}
	for (size_t i = 0; i < list->count; i++)
		disks += list->v[i].ndisks;
	out->data = list;
	out->destroy = snapshots_destroy;
	out->charge = sizeof(*list) + list->count * 512 + disks * 1024;
	return 0;
}

int rsv_get_snapshots(struct rsv *r, const struct rsv_item *item,
		      struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *all = NULL;
	char subscription[64];
	struct collections_wanted cw = { r, subscription };
	struct snapshots_wanted w = { .r = r, .item = item };
	int e;

	if (!item->source_id ||
	    !arm_id_part(item->source_id, "subscriptions", subscription,
			 sizeof(subscription)) ||
	    !rsv_is_guid(subscription, strlen(subscription)))
		return fail(-ENOENT,
			    "the vault does not tell of which machine it is");
	e = fetched(r, "collections", subscription, collections_fill, &cw, NULL,
		    &all);
	if (e)
		return e;
	w.all = all->data;
	return fetched(r, "snapshots", item->source_id, snapshots_fill, &w,
		       NULL, ret);
}

/* --- restore jobs --- */

static void restores_destroy(void *data)
{
	rsv_restores_release(data);
	free(data);
}

static int restores_page(void *ctx, const struct json *values)
{
	return rsv_restores_add(ctx, values);
}

struct restores_wanted {
	struct rsv *r;
	const struct rsv_vault *vault;
};

static int restores_fill(void *ctx, struct cache_value *out)
{
	const struct restores_wanted *w = ctx;
	struct rsv_restores *list = calloc(1, sizeof(*list));
	char path[ARM_ID_MAX + 64], what[300];
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	snprintf(path, sizeof(path), "%s/backupJobs", w->vault->id);
	snprintf(what, sizeof(what), "vault %s: its restore jobs",
		 w->vault->shown);
	e = arm_list(w->r->az, what, path,
		     "$filter=backupManagementType%20eq%20%27AzureIaasVM%27"
		     "%20and%20operation%20eq%20%27Restore%27&" RSV_API_BACKUP,
		     restores_page, list);
	if (e) {
		restores_destroy(list);
		return e;
	}
	rsv_restores_order(list);
	out->data = list;
	out->destroy = restores_destroy;
	out->charge = sizeof(*list) + list->count * 768;
	return 0;
}

int rsv_get_restores(struct rsv *r, const struct rsv_vault *vault,
		     struct cache_blob **ret)
{
	struct restores_wanted w = { r, vault };

	return fetched(r, "restores", vault->id, restores_fill, &w, NULL, ret);
}

static void job_destroy(void *data)
{
	rsv_job_release(data);
	free(data);
}

struct job_wanted {
	struct rsv *r;
	const struct rsv_restore *restore;
};

static int job_fill(void *ctx, struct cache_value *out)
{
	const struct job_wanted *w = ctx;
	DROP(json) struct json *j = NULL;
	struct rsv_job *job;
	char what[300];
	int e;

	snprintf(what, sizeof(what), "restore job %.200s", w->restore->name);
	e = arm_get(w->r->az, what, w->restore->id, RSV_API_BACKUP, &j);
	if (e)
		return e;
	job = calloc(1, sizeof(*job));
	if (!job)
		return fail(-ENOMEM, "out of memory");
	e = rsv_job_parse(j, job);
	if (e) {
		job_destroy(job);
		return blame(e, "%s", what);
	}
	out->data = job;
	out->destroy = job_destroy;
	out->charge = sizeof(*job) + 4096;
	return 0;
}

int rsv_get_job(struct rsv *r, const struct rsv_restore *restore,
		struct cache_blob **ret)
{
	struct job_wanted w = { r, restore };
	uint8_t key[CACHE_KEY_SIZE];

	/* It has ended: what it says stays so. */
	cache_key("job", restore->id, strlen(restore->id), key);
	return cache_get(r->meta, key, job_fill, &w, ret);
}
