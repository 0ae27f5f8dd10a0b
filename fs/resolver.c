// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/resolver.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "crypt/escrow_azure.h"

/* Keys are derived one at a time anyway; the others wait for a vault. */
#define WORKERS_MAX 4
#define KEPT_MAX 64
#define WAITING_MAX 96
/* What is locked is not asked for again at once. */
#define LOCKED_MS 10000

struct resolved {
	struct resolver *r;
	struct resolved *next;
	/* Never change: */
	size_t catalog;
	char *vault, *vm;
	struct point_row row;

	/* The resolver's lock: */
	unsigned refs; /* of those who have it; the list does not count */
	bool listed, started, done;
	uint64_t done_ns, used;

	/* Set by the worker, read once it is done: */
	struct err_saved failed;
	struct volumes *volumes;
	char *json;
	size_t json_len;
	bool locked; /* something is, and may not be for long */
};

struct resolver {
	struct resolver_options o;
	atomic_bool stopping;

	/* Protects the rest. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct resolved *list;
	unsigned waiting, idle;
	uint64_t clock;
	pthread_t workers[WORKERS_MAX];
	size_t nworkers;
};

/* --- one point --- */

static void resolved_free(struct resolved *p)
{
	if (!p)
		return;
	volumes_close(p->volumes);
	free(p->json);
	free(p->vault);
	free(p->vm);
	free(p);
}

static int parse_records(const struct escrow_docs *docs,
			 const struct point_info *info,
			 struct escrow_records *out)
{
	for (size_t i = 0; i < docs->n; i++) {
		DROP(escrow_record) struct escrow_record r = { 0 };
		int e = escrow_parse(docs->v[i].text, docs->v[i].len, &r);

		/* One of another kind, or of a later version, is shown and not
		 * used. */
		if (e == -ENOMEM)
			return e;
		if (e) {
			log_debug("%s: %s", info->vm, err_text(e));
			continue;
		}
		if (docs->v[i].disk >= 0)
			snprintf(r.disk, sizeof(r.disk), "%s",
				 info->disks[docs->v[i].disk].name);
		e = escrow_records_add(out, &r);
		if (e)
			return e;
	}
	return 0;
}

static bool is_ready(const struct disk_info *d)
{
	return d->state == DISK_READY && d->has_size;
}

/* Those that can be read; the caller's, on failure too. */
static int open_disks(struct resolved *p, struct point_info *info,
		      struct volumes_disk *disks, size_t *n)
{
	struct catalog *c = p->r->o.catalogs[p->catalog];

	for (size_t i = 0; i < info->ndisks; i++) {
		int r;

		if (!is_ready(&info->disks[i]))
			continue;
		r = catalog_open_disk(c, p->vault, p->vm, info, i,
				      &disks[*n].source);
		if (r)
			return blame(r, "disk %s", info->disks[i].name);
		disks[(*n)++].name = info->disks[i].name;
	}
	return 0;
}

static size_t headers_for(const struct resolved *p,
			  struct volumes_header_file *out)
{
	const struct resolver_options *o = &p->r->o;
	size_t n = 0;

	for (size_t i = 0; i < o->nheaders; i++) {
		if (!o->headers[i].vm || strcmp(o->headers[i].vm, p->vm) == 0)
			out[n++] = o->headers[i].file;
	}
	return n;
}

static const char unsealed[] =
	"the seal of this point was not verified with a pinned key, so that its "
	"escrow records could be anybody's: pin the vault's owner key ('vaultctl "
	"key pin'), or say --trust-unsealed";

static int open_volumes(struct resolved *p, struct point_info *info,
			const struct escrow_records *records)
{
	const struct resolver_options *ro = &p->r->o;
	struct volumes_disk disks[CATALOG_DISKS_MAX];
	DROP(mem)
	struct volumes_header_file *headers =
		calloc(ro->nheaders + 1, sizeof(*headers));
	struct volumes_options o = {
		.keyring = ro->keyring,
		.cache = ro->cache,
		.records = records->v,
		.nrecords = records->n,
		.headers = headers,
	};
	size_t n = 0;
	int r;

	if (!headers)
		return fail(-ENOMEM, "out of memory");
	o.nheaders = headers_for(p, headers);
	if (ro->catalogs[p->catalog]->trust == SEAL_UNPINNED &&
	    !ro->trust_unsealed)
		o.untrusted = unsealed;
	if (info->ndisks > CATALOG_DISKS_MAX)
		return fail(-EPROTO, "more than %d disks", CATALOG_DISKS_MAX);
	r = open_disks(p, info, disks, &n);
	if (!r)
		return volumes_open(disks, n, &o, &p->volumes);
	while (n)
		source_close(disks[--n].source);
	return r;
}

static int make_json(struct resolved *p)
{
	DROP(json) struct json *j = volumes_json(p->volumes);

	for (size_t i = 0; i < volumes_count(p->volumes); i++)
		p->locked |= !volumes_readable(volumes_at(p->volumes, i));
	return json_text(j, true, &p->json, &p->json_len);
}

static int resolve_once(struct resolved *p)
{
	struct catalog *c = p->r->o.catalogs[p->catalog];
	DROP(escrow_records) struct escrow_records records = { 0 };
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	DROP(point_info) struct point_info *info = NULL;
	int r = catalog_point(c, p->vault, p->vm, &p->row, &info);

	if (!r)
		r = catalog_escrow(c, p->vault, p->vm, info, &docs);
	if (!r)
		r = parse_records(&docs, info, &records);
	if (!r)
		r = azure_learn(info, &records, p->r->o.keyring);
	if (!r)
		r = open_volumes(p, info, &records);
	return r ? r : make_json(p);
}

static int resolve(struct resolved *p)
{
	int r = resolve_once(p);

	while (r == -EBUSY &&
	       resolver_make_room(p->r, p->catalog, p->vault, p->vm))
		r = resolve_once(p);
	return r;
}

/* --- workers --- */

static bool is_stopping(void *ctx)
{
	return atomic_load(&((struct resolver *)ctx)->stopping);
}

/* Under the lock: one that nobody works on. */
static struct resolved *next_job(struct resolver *r)
{
	struct resolved *p = r->list, *last = NULL;

	/* The oldest: the list begins with the newest. */
	for (; p; p = p->next) {
		if (!p->started)
			last = p;
	}
	return last;
}

static void *work(void *arg)
{
	struct resolver *r = arg;

	cancel_set((struct cancel){ is_stopping, r });
	pthread_mutex_lock(&r->lock);
	while (!is_stopping(r)) {
		struct resolved *p = next_job(r);
		int e;

		if (!p) {
			r->idle++;
			pthread_cond_wait(&r->changed, &r->lock);
			r->idle--;
			continue;
		}
		p->started = true;
		p->refs++;
		pthread_mutex_unlock(&r->lock);
		e = resolve(p);
		if (e)
			err_save(e, &p->failed);
		pthread_mutex_lock(&r->lock);
		p->done = true;
		p->done_ns = monotonic_ns();
		pthread_cond_broadcast(&r->changed);
		pthread_mutex_unlock(&r->lock);
		resolved_unref(p);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* Under the lock. */
static int more_workers(struct resolver *r)
{
	unsigned jobs = 0;
	int e;

	/* Who is idle may have been called for another already, and not be awake. */
	for (struct resolved *p = r->list; p; p = p->next)
		jobs += !p->started;
	if (jobs <= r->idle || r->nworkers == WORKERS_MAX)
		return 0;
	e = pthread_create(&r->workers[r->nworkers], NULL, work, r);
	if (!e)
		r->nworkers++;
	return e && !r->nworkers ? fail_errno(e, "a thread to open volumes")
				 : 0;
}

/* --- the list; under the lock --- */

static bool is_stale(const struct resolver *r, const struct resolved *p)
{
	uint64_t age;

	if (!p->done)
		return false;
	age = (monotonic_ns() - p->done_ns) / 1000000;
	if (p->failed.code)
		return age >= min_u64(r->o.fresh_ms, LOCKED_MS);
	return p->locked && age >= max_u64(r->o.fresh_ms, LOCKED_MS);
}

static bool is_of(const struct resolved *p, size_t catalog, const char *vault,
		  const char *vm, const struct point_row *row)
{
	return p->catalog == catalog && p->row.time_ns == row->time_ns &&
	       point_id_equal(&p->row.id, &row->id) &&
	       strcmp(p->vault, vault) == 0 && strcmp(p->vm, vm) == 0;
}

static void unlist(struct resolver *r, struct resolved *p)
{
	struct resolved **at = &r->list;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->listed = false;
}

bool resolver_make_room(struct resolver *r, size_t catalog, const char *vault,
			const char *vm)
{
	struct resolved *oldest = NULL;

	pthread_mutex_lock(&r->lock);
	for (struct resolved *p = r->list; p; p = p->next) {
		if (!p->refs && p->done && p->volumes &&
		    p->catalog == catalog && !strcmp(p->vault, vault) &&
		    !strcmp(p->vm, vm) && (!oldest || p->used < oldest->used))
			oldest = p;
	}
	if (oldest)
		unlist(r, oldest);
	pthread_mutex_unlock(&r->lock);
	resolved_free(oldest);
	return oldest != NULL;
}

/* Takes out the least recently used ones that nobody has, down to the bound; they
 * are returned as a list. */
static struct resolved *shrink(struct resolver *r)
{
	struct resolved *dead = NULL;

	for (;;) {
		struct resolved *oldest = NULL;
		size_t n = 0;

		for (struct resolved *p = r->list; p; p = p->next) {
			n++;
			if (!p->refs && p->done &&
			    (!oldest || p->used < oldest->used))
				oldest = p;
		}
		if (n <= KEPT_MAX || !oldest)
			return dead;
		unlist(r, oldest);
		oldest->next = dead;
		dead = oldest;
	}
}

static void free_list(struct resolved *p)
{
	while (p) {
		struct resolved *next = p->next;

		resolved_free(p);
		p = next;
	}
}

static struct resolved *find(struct resolver *r, size_t catalog,
			     const char *vault, const char *vm,
			     const struct point_row *row)
{
	for (struct resolved *p = r->list; p; p = p->next) {
		if (is_of(p, catalog, vault, vm, row))
			return p;
	}
	return NULL;
}

static int add(struct resolver *r, size_t catalog, const char *vault,
	       const char *vm, const struct point_row *row,
	       struct resolved **ret)
{
	struct resolved *p = calloc(1, sizeof(*p));

	if (p) {
		p->vault = strdup(vault);
		p->vm = strdup(vm);
	}
	if (!p || !p->vault || !p->vm) {
		resolved_free(p);
		return fail(-ENOMEM, "out of memory");
	}
	p->r = r;
	p->catalog = catalog;
	p->row = *row;
	p->listed = true;
	p->next = r->list;
	r->list = p;
	*ret = p;
	return 0;
}

/* --- asking --- */

/* Under the lock, which is let go meanwhile. */
static int wait_for(struct resolver *r, struct resolved *p)
{
	int e = 0;

	if (!p->done && r->waiting >= WAITING_MAX)
		return fail(-EAGAIN,
			    "%u requests wait for volumes to be opened: try "
			    "again later",
			    r->waiting);
	r->waiting++;
	while (!p->done && !e)
		e = cancel_cond_wait(&r->changed, &r->lock);
	r->waiting--;
	return e;
}

/* An object that is missing in a vault is no name that is not there. */
static int load_failure(const struct resolved *p)
{
	int e = p->failed.code;

	if (e != -ENOENT && e != -ENODATA)
		return err_load(&p->failed);
	return fail(-EIO, "%s", p->failed.text);
}

int resolver_get(struct resolver *r, size_t catalog, const char *vault,
		 const char *vm, const struct point_row *row,
		 struct resolved **ret)
{
	struct resolved *p, *dead = NULL;
	int e = 0;

	pthread_mutex_lock(&r->lock);
	p = find(r, catalog, vault, vm, row);
	if (p && is_stale(r, p)) {
		unlist(r, p);
		if (!p->refs) {
			p->next = NULL;
			dead = p;
		}
		p = NULL;
	}
	if (!p)
		e = add(r, catalog, vault, vm, row, &p);
	if (!e && !p->started) {
		e = more_workers(r);
		pthread_cond_broadcast(&r->changed);
	}
	if (!e) {
		p->refs++;
		p->used = ++r->clock;
		e = wait_for(r, p);
	} else if (p) {
		p->refs++;
	}
	pthread_mutex_unlock(&r->lock);
	free_list(dead);
	if (!e && p->failed.code)
		e = load_failure(p);
	if (e) {
		resolved_unref(p);
		return e;
	}
	*ret = p;
	return 0;
}

void resolved_unref(struct resolved *p)
{
	struct resolver *r;
	struct resolved *dead;

	if (!p)
		return;
	r = p->r;
	pthread_mutex_lock(&r->lock);
	p->refs--;
	dead = shrink(r);
	if (!p->refs && !p->listed && p->done) {
		p->next = dead;
		dead = p;
	}
	pthread_mutex_unlock(&r->lock);
	free_list(dead);
}

struct volumes *resolved_volumes(struct resolved *p)
{
	return p->volumes;
}

const char *resolved_json(const struct resolved *p, size_t *len)
{
	*len = p->json_len;
	return p->json;
}

void resolver_reset(struct resolver *r)
{
	struct resolved *dead = NULL;

	pthread_mutex_lock(&r->lock);
	for (struct resolved *p = r->list, *next; p; p = next) {
		next = p->next;
		if (!p->done || (!p->locked && !p->failed.code))
			continue;
		unlist(r, p);
		if (p->refs)
			continue;
		p->next = dead;
		dead = p;
	}
	pthread_mutex_unlock(&r->lock);
	free_list(dead);
}

int resolver_new(const struct resolver_options *o, struct resolver **ret)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return fail(-ENOMEM, "out of memory");
	r->o = *o;
	pthread_mutex_init(&r->lock, NULL);
	cancel_cond_init(&r->changed);
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	atomic_store(&r->stopping, true);
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < r->nworkers; i++)
		pthread_join(r->workers[i], NULL);
	free_list(r->list);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
