// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What was fetched is a blob in a bounded cache of the catalog's own, under the
 * kind, the id and a generation (fresh.h), so that what is too old is fetched anew, by
 * one thread, while the others wait for it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/arm.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

/* --- what was fetched --- */

int rsv_fetched(struct rsv *r, const char *kind, const char *id,
		cache_fill_fn *fill, void *ctx, uint64_t *generation,
		struct cache_blob **ret)
{
	uint8_t key[CACHE_KEY_SIZE];
	char folded[ARM_ID_MAX];
	struct fresh_age age;
	int e = arm_id_fold(id, folded);

	if (e)
		return e;
	cache_key(kind, folded, strlen(folded), key);
	age = fresh_key(r->fresh, key);
	if (generation)
		*generation = age.generation;
	return cache_get(r->meta, key, fill, ctx, ret);
}

/* --- lists --- */

/* A kind of list (model.h): how the service is asked for it, what an entry counts for in
 * the cache, and what is done with it. */
struct list_wanted;
struct list_kind {
	const char *name;
	const char *what[2]; /* before and after the shown name of its owner */
	const char *path[2]; /* before and after its owner's id */
	const char *query;
	size_t size, each;
	/* NULL: by its pages */
	int (*get)(const struct list_wanted *w, void *list);
	int (*page)(void *list, const struct json *values);
	int (*settle)(void *list); /* when all is there; may be NULL */
	size_t (*count)(const void *list);
	void (*destroy)(void *list);
};

/* Its functions, by those of the model. */
#define LIST_FUNCTIONS(kind)                                                   \
	static int kind##_page(void *list, const struct json *values)          \
	{                                                                      \
		return rsv_##kind##_add(list, values);                         \
	}                                                                      \
	static size_t kind##_count(const void *list)                           \
	{                                                                      \
		return ((const struct rsv_##kind *)list)->count;               \
	}                                                                      \
	static void kind##_destroy(void *list)                                 \
	{                                                                      \
		rsv_##kind##_release(list);                                    \
		free(list);                                                    \
	}
#define LIST_OPS(kind)                                                         \
	.name = #kind, .size = sizeof(struct rsv_##kind), .page = kind##_page, \
	.count = kind##_count, .destroy = kind##_destroy

LIST_FUNCTIONS(vaults)
LIST_FUNCTIONS(items)
LIST_FUNCTIONS(points)
LIST_FUNCTIONS(collections)
LIST_FUNCTIONS(restores)

static int vaults_settle(void *list)
{
	return rsv_vaults_show(list);
}

static int items_settle(void *list)
{
	return rsv_items_show(list);
}

static int points_settle(void *list)
{
	rsv_points_order(list);
	return 0;
}

static int restores_settle(void *list)
{
	rsv_restores_order(list);
	return 0;
}

struct list_wanted {
	struct rsv *r;
	const struct list_kind *kind;
	const char *id, *shown; /* of its owner */
};

static int list_pages(const struct list_wanted *w, void *list)
{
	const struct list_kind *k = w->kind;
	char path[ARM_ID_MAX + 128], what[300];

	snprintf(path, sizeof(path), "%s%s%s", k->path[0], w->id, k->path[1]);
	snprintf(what, sizeof(what), "%s%s%s", k->what[0], w->shown,
		 k->what[1]);
	return arm_list(w->r->az, what, path, k->query, k->page, list);
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

static int vaults_get(const struct list_wanted *w, void *list)
{
	return *w->r->at.vault ? one_vault(w->r, list) : list_pages(w, list);
}

static const struct list_kind vaults_kind = {
	LIST_OPS(vaults),
	.what = { "the vaults of the subscription", "" },
	.path = { "/subscriptions/",
		  "/providers/Microsoft.RecoveryServices/vaults" },
	.query = RSV_API_VAULTS,
	.each = 512,
	.get = vaults_get,
	.settle = vaults_settle,
};

/* No filter: then the service gives items of every kind. */
static const struct list_kind items_kind = {
	LIST_OPS(items),
	.what = { "vault ", ": its protected items" },
	.path = { "", "/backupProtectedItems" },
	.query = RSV_API_BACKUP,
	.each = 1024,
	.settle = items_settle,
};

static const struct list_kind points_kind = {
	LIST_OPS(points),
	.what = { "VM ", ": its recovery points" },
	.path = { "", "/recoveryPoints" },
	.query = RSV_API_BACKUP,
	.each = sizeof(struct rsv_point) + 160,
	.settle = points_settle,
};

static const struct list_kind collections_kind = {
	LIST_OPS(collections),
	.what = { "the restore points of the subscription", "" },
	.path = { "/subscriptions/",
		  "/providers/Microsoft.Compute/restorePointCollections" },
	.query = RSV_API_COMPUTE,
	.each = 768,
};

static const struct list_kind restores_kind = {
	LIST_OPS(restores),
	.what = { "vault ", ": its restore jobs" },
	.path = { "", "/backupJobs" },
	.query = "$filter=backupManagementType%20eq%20%27AzureIaasVM%27"
		 "%20and%20operation%20eq%20%27Restore%27&" RSV_API_BACKUP,
	.each = 768,
	.settle = restores_settle,
};

static int list_fill(void *ctx, struct cache_value *out)
{
	const struct list_wanted *w = ctx;
	const struct list_kind *k = w->kind;
	void *list = calloc(1, k->size);
	int e;

	if (!list)
		return fail(-ENOMEM, "out of memory");
	e = k->get ? k->get(w, list) : list_pages(w, list);
	if (!e && k->settle)
		e = k->settle(list);
	if (e) {
		k->destroy(list);
		return e;
	}
	out->data = list;
	out->destroy = k->destroy;
	out->charge = k->size + k->count(list) * k->each;
	return 0;
}

/* The list of that kind whose owner has this id; *generation may be NULL. */
static int list_fetched(struct rsv *r, const struct list_kind *kind,
			const char *id, const char *shown, uint64_t *generation,
			struct cache_blob **ret)
{
	struct list_wanted w = { r, kind, id, shown };

	return rsv_fetched(r, kind->name, id, list_fill, &w, generation, ret);
}

/* --- vaults --- */

int rsv_get_vaults(struct rsv *r, struct cache_blob **ret)
{
	return list_fetched(r, &vaults_kind, r->at.subscription, "", NULL, ret);
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
	int e = rsv_find_vault(r, vault, p);

	if (e)
		return e;
	return list_fetched(r, &items_kind, p->vault->id, p->vault->shown, NULL,
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

int rsv_get_points(struct rsv *r, const struct rsv_place *p,
		   uint64_t *generation, struct cache_blob **ret)
{
	return list_fetched(r, &points_kind, p->item->id, p->item->shown,
			    generation, ret);
}

/* --- restore points --- */

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
	struct snapshots_wanted w = { .r = r, .item = item };
	int e;

	if (!item->source_id ||
	    !arm_id_part(item->source_id, "subscriptions", subscription,
			 sizeof(subscription)) ||
	    !rsv_is_guid(subscription, strlen(subscription)))
		return fail(-ENOENT,
			    "the vault does not tell of which machine it is");
	e = list_fetched(r, &collections_kind, subscription, "", NULL, &all);
	if (e)
		return e;
	w.all = all->data;
	return rsv_fetched(r, "snapshots", item->source_id, snapshots_fill, &w,
			   NULL, ret);
}

/* --- restore jobs --- */

int rsv_get_restores(struct rsv *r, const struct rsv_vault *vault,
		     struct cache_blob **ret)
{
	return list_fetched(r, &restores_kind, vault->id, vault->shown, NULL,
			    ret);
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

/* --- managed disks --- */

static void settings_destroy(void *data)
{
	rsv_settings_release(data);
	free(data);
}

struct settings_wanted {
	struct rsv *r;
	const char *id;
};

static int get_settings(const struct settings_wanted *w,
			struct rsv_settings *to)
{
	DROP(json) struct json *j = NULL;
	int e = arm_get(w->r->az, "a managed disk", w->id, RSV_API_COMPUTE, &j);

	if (e == -ENOENT || e == -EACCES) {
		log_debug("%s", err_text(e));
		err_clear();
		return 0;
	}
	return e ? e : rsv_settings_parse(j, to);
}

static int settings_fill(void *ctx, struct cache_value *out)
{
	struct rsv_settings *s = calloc(1, sizeof(*s));
	int e;

	if (!s)
		return fail(-ENOMEM, "out of memory");
	e = get_settings(ctx, s);
	if (e) {
		settings_destroy(s);
		return e;
	}
	out->data = s;
	out->destroy = settings_destroy;
	out->charge = sizeof(*s) + s->count * 512;
	return 0;
}

int rsv_get_disk_settings(struct rsv *r, const char *id,
			  struct cache_blob **ret)
{
	struct settings_wanted w = { r, id };

	return rsv_fetched(r, "settings", id, settings_fill, &w, NULL, ret);
}
