// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The container in which a restore job left the disks of a point is opened as the
 * catalog that it is (restored.h); its disks are then those of the point. Who may see
 * the vault need not be let in there, and what is there may be removed at any time: that
 * is no failure of the point, but what is said of its disks.
 *
 * A point never changes, a VHD does, once a machine runs on it: one that was written to
 * after the job had ended is not read as the point's, and one that is being read is
 * pinned to what it was (pages.h).
 *
 * The catalog lives as long as the blob that has it: a point and each open disk have a
 * reference.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/restored.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"

/* A list of names, the configs, a client with its thread. */
#define LEFT_CHARGE ((size_t)1 << 20)

static void left_free(void *data)
{
	struct rsv_left *l = data;

	point_info_unref(l->info);
	catalog_close(l->catalog);
	free(l->url);
	free(l->why);
	free(l);
}

static void left_drop(struct rsv_left *l)
{
	if (l)
		left_free(l);
}

DROP_DEFINE(rsv_left, struct rsv_left *, left_drop)

#define SECOND_NS INT64_C(1000000000)
/* Two services' clocks. */
#define GRACE_S 60

struct left_wanted {
	struct rsv *r;
	const struct rsv_job *job;
};

/* Of a cloud that is not the public one the account has another address. */
static int own_endpoint(const struct left_wanted *w, char **ret)
{
	const char *suffix = azure_cloud(w->r->az)->blob_suffix;

	if (w->r->store.endpoint || !suffix)
		return 0;
	if (asprintf(ret, "https://%s%s", w->job->account, suffix) < 0) {
		*ret = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

static int look(const struct left_wanted *w, struct rsv_left *l)
{
	DROP(store) struct store *store = NULL;
	DROP(mem) char *endpoint = NULL;
	struct catalog_options o = { .cache = w->r->bytes };
	struct store_options so = w->r->store;
	bool is = false;
	int r;

	/* Without it nothing tells whether they are still what was restored. */
	if (!w->job->has_end)
		return fail(-EPROTO, "the job does not say when it ended");
	l->end_ns = w->job->end_ns;
	r = own_endpoint(w, &endpoint);
	if (endpoint)
		so.endpoint = endpoint;
	if (!r)
		r = store_open_with(l->url, &so, false, &store);
	if (!r)
		r = catalog_open_restored(&store, &o, &is, &l->catalog);
	if (!r && !is)
		r = fail(-ENOENT,
			 "%s has no config of a restore job (any "
			 "more)",
			 l->url);
	return r ? r : restored_find(l->catalog, w->job->config, &l->info);
}

static int left_new(const struct rsv_job *job, struct rsv_left **ret)
{
	DROP(rsv_left) struct rsv_left *l = calloc(1, sizeof(*l));

	if (!l)
		return fail(-ENOMEM, "out of memory");
	if (asprintf(&l->url, "az://%s/%s", job->account, job->container) < 0) {
		l->url = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	*ret = take(l);
	return 0;
}

/* That it cannot be read is kept too: nobody waits for the same storage account again
 * at once. */
static int left_fill(void *ctx, struct cache_value *out)
{
	const struct left_wanted *w = ctx;
	DROP(rsv_left) struct rsv_left *l = NULL;
	int r = left_new(w->job, &l);

	if (r)
		return r;
	r = look(w, l);
	if (r == -ECANCELED || r == -ENOMEM)
		return r;
	if (r) {
		l->why = strdup(err_text(r));
		err_clear();
		if (!l->why)
			return fail(-ENOMEM, "out of memory");
	}
	out->destroy = left_free;
	out->charge = l->info ? LEFT_CHARGE : sizeof(*l) + 1024;
	out->data = take(l);
	return 0;
}

int rsv_get_left(struct rsv *r, const struct rsv_job *job,
		 struct cache_blob **ret)
{
	struct left_wanted w = { r, job };
	DROP(mem) char *id = NULL;

	/* A container may have the configs of several jobs. */
	if (asprintf(&id, "%s/%s/%s", job->account, job->container,
		     job->config ? job->config : "") < 0) {
		id = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return rsv_fetched(r, "left", id, left_fill, &w, NULL, ret);
}

/* --- a disk, with what it is read through --- */

struct left_disk {
	struct source base;
	struct source *inner;
	struct cache_blob *left;
};

static struct left_disk *disk_of(struct source *s)
{
	return container_of(s, struct left_disk, base);
}

static int disk_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	return source_read(disk_of(s)->inner, buf, len, off);
}

static int disk_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	return source_extent(disk_of(s)->inner, off, max, out);
}

static void disk_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	source_prefetch(disk_of(s)->inner, off, len);
}

static void disk_close(struct source *s)
{
	struct left_disk *d = disk_of(s);

	source_close(d->inner);
	cache_unref(d->left);
	free(d);
}

static const struct source_ops left_ops = {
	.name = "restored disk",
	.read = disk_read,
	.extent = disk_extent,
	.prefetch = disk_prefetch,
	.close = disk_close,
};

static int say_written(const struct rsv_left *l)
{
	return fail(-EIO,
		    "its VHD in %s was written to after the restore job had "
		    "ended, as by a machine that was made of it: it is no "
		    "longer what the point has; 'vaultfs %s DIRECTORY' shows "
		    "it as it is",
		    l->url, l->url);
}

int rsv_left_open(struct cache_blob *left, size_t disk, struct source **ret)
{
	const struct rsv_left *l = left->data;
	struct left_disk *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = restored_open_disk(l->info, disk, l->end_ns / SECOND_NS + GRACE_S,
			       &d->inner);
	if (r) {
		free(d);
		return r == -ESTALE ? say_written(l) : r;
	}
	source_init(&d->base, &left_ops, source_size(d->inner));
	d->left = cache_ref(left);
	*ret = &d->base;
	return 0;
}
