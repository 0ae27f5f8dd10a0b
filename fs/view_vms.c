// SPDX-License-Identifier: GPL-3.0-or-later
/* Vaults and VMs. */
#include "fs/view_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAMES_PAGE 1000
#define LATEST "latest"
#define VAULT_JSON "vault.json"

/* --- a VM --- */

struct vm_dir {
	struct folder base;
	struct place *place;

	/* The point that was named last: what is asked next is often its id. */
	pthread_mutex_t lock; /* protects the two below */
	char last_name[POINT_NAME_SIZE];
	struct point_row last;
};

static const struct folder_ops vm_ops;

static struct vm_dir *vm_of(struct folder *f)
{
	return container_of(f, struct vm_dir, base);
}

static int vm_open(struct view *v, size_t number, const char *vault,
		   const char *vm, struct folder **ret)
{
	struct vm_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = view_place_new(v, number, vault, vm, &d->place);
	if (r) {
		free(d);
		return r;
	}
	d->base.ops = &vm_ops;
	pthread_mutex_init(&d->lock, NULL);
	*ret = &d->base;
	return 0;
}

static void vm_close(struct folder *f)
{
	struct vm_dir *d = vm_of(f);

	view_place_unref(d->place);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static void vm_remember(struct vm_dir *d, const char *name,
			const struct point_row *row)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	snprintf(d->last_name, sizeof(d->last_name), "%s", name);
	d->last = *row;
}

static bool vm_remembers(struct vm_dir *d, const char *name,
			 struct point_row *out)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	if (strcmp(d->last_name, name) != 0)
		return false;
	*out = d->last;
	return true;
}

static struct entry_attr latest_attr(const struct vm_dir *d,
				     const struct point_row *row,
				     const char *target)
{
	return (struct entry_attr){
		.kind = ENTRY_LINK,
		.size = strlen(target),
		.mtime_ns = row->time_ns,
		.nlink = 1,
		.valid_ms = d->place->view->fresh_ms,
	};
}

static struct entry_attr point_attr(const struct vm_dir *d,
				    const struct point_row *row)
{
	return view_dir_attr(row->time_ns, d->place->view->fresh_ms);
}

static int vm_lookup(struct folder *f, const char *name, struct entry_attr *out)
{
	struct vm_dir *d = vm_of(f);
	char target[POINT_NAME_SIZE];
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) == 0) {
		r = view_latest_name(d->place, &row, target);
		if (!r)
			*out = latest_attr(d, &row, target);
		return r;
	}
	r = view_find_point(d->place, name, &row);
	if (r)
		return r;
	vm_remember(d, name, &row);
	*out = point_attr(d, &row);
	return 0;
}

/*
 * Cookies: 1 after "latest", and 2 + t after the point of time t, so that they
 * are good for as long as anybody keeps them. A second is taken as a whole,
 * since what lies in it decides its names, even when the last page ended within
 * it.
 */
static int vm_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		   void *ctx)
{
	struct vm_dir *d = vm_of(f);
	int64_t from = cookie < 2 ? 0 : (int64_t)(cookie - 1);
	DROP(run) struct run run = { .next_ns = view_floor_second(from) };
	char name[POINT_NAME_SIZE];
	struct point_row latest;
	struct entry_attr a;
	size_t n;
	int r;

	if (cookie == 0) {
		r = view_latest_name(d->place, &latest, name);
		if (r && r != -ENOENT)
			return r;
		if (!r) {
			a = latest_attr(d, &latest, name);
			if (emit(ctx, LATEST, &a, 1))
				return 0;
		}
	}
	for (;;) {
		DROP(group) struct group g = { 0 };

		r = view_run_second(&run, d->place, &n);
		if (r || n == 0)
			return r;
		r = view_group_init(&g, run.rows, n);
		if (r)
			return r;
		for (size_t i = 0; i < n; i++) {
			const struct point_row *row = &run.rows[i];

			if (row->time_ns < from)
				continue;
			if (row->time_ns >= INT64_MAX - 16)
				return 0;
			view_group_name(&g, row, name);
			vm_remember(d, name, row);
			a = point_attr(d, row);
			if (emit(ctx, name, &a, (uint64_t)row->time_ns + 2))
				return 0;
		}
		view_run_skip(&run, n);
	}
}

static int vm_open_dir(struct folder *f, const char *name, struct folder **ret)
{
	struct vm_dir *d = vm_of(f);
	struct point_row row;
	int r = view_find_point(d->place, name, &row);

	return r ? r : view_point_open(d->place, &row, ret);
}

static int vm_readlink(struct folder *f, const char *name, char *buf,
		       size_t size)
{
	char target[POINT_NAME_SIZE];
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) != 0)
		return fail(-EINVAL, "%s: not a symbolic link", name);
	r = view_latest_name(vm_of(f)->place, &row, target);
	if (r)
		return r;
	if (strlen(target) >= size)
		return fail(-ENAMETOOLONG, "%s: %zu bytes", name,
			    strlen(target));
	memcpy(buf, target, strlen(target) + 1);
	return 0;
}

static int vm_xattr(struct folder *f, const char *name, const char *key,
		    struct buf *out)
{
	struct vm_dir *d = vm_of(f);
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) == 0)
		return key ? view_no_xattr(name, key) : 0;
	if (!vm_remembers(d, name, &row)) {
		r = view_find_point(d->place, name, &row);
		if (r)
			return r;
	}
	return view_xattr_point(d->place, &row, name, key, out);
}

static const struct folder_ops vm_ops = {
	.name = "vm",
	.lookup = vm_lookup,
	.list = vm_list,
	.open_dir = vm_open_dir,
	.readlink = vm_readlink,
	.xattr = vm_xattr,
	.close = vm_close,
};

/* --- a vault --- */

struct vault_dir {
	struct folder base;
	struct place *place;

	/* What was listed so far, so that a cookie is a place in it and stays
	 * one while VMs come and go. */
	pthread_mutex_t lock; /* protects the rest */
	char **names;
	size_t count, room;
	bool complete;
};

static const struct folder_ops vault_ops;

static struct vault_dir *vault_of(struct folder *f)
{
	return container_of(f, struct vault_dir, base);
}

int view_vault_open(struct view *v, size_t catalog, const char *vault,
		    struct folder **ret)
{
	struct vault_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = view_place_new(v, catalog, vault, NULL, &d->place);
	if (r) {
		free(d);
		return r;
	}
	d->base.ops = &vault_ops;
	pthread_mutex_init(&d->lock, NULL);
	*ret = &d->base;
	return 0;
}

static void vault_close(struct folder *f)
{
	struct vault_dir *d = vault_of(f);

	for (size_t i = 0; i < d->count; i++)
		free(d->names[i]);
	free(d->names);
	view_place_unref(d->place);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int vault_json(struct place *p, char **text, size_t *len)
{
	DROP(json) struct json *j = json_object();
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = catalog_describe(view_catalog(p), p->vault, j);
	return r ? r : json_text(j, true, text, len);
}

static int vault_json_attr(const struct vault_dir *d, struct entry_attr *out)
{
	DROP(mem) char *text = NULL;
	size_t len;
	int r = vault_json(d->place, &text, &len);

	if (!r)
		*out = view_text_attr(len, d->place->view->born_ns,
				      d->place->view->fresh_ms);
	return r;
}

/* A VM whose name is taken by vault.json. */
#define VM_SHOWN_SIZE (CATALOG_NAME_MAX + 8)
static void vm_shown(const char *vm, char out[static VM_SHOWN_SIZE])
{
	struct digest d;

	snprintf(out, VM_SHOWN_SIZE, "%s", vm);
	if (strcmp(vm, VAULT_JSON) != 0)
		return;
	sha256(vm, strlen(vm), &d);
	snprintf(out, VM_SHOWN_SIZE, "%s~%02x%02x", vm, d.b[0], d.b[1]);
}

/* The VM that a shown name stands for; NULL if it is none. */
static const char *vm_named(const char *shown)
{
	char other[VM_SHOWN_SIZE];

	if (strcmp(shown, VAULT_JSON) == 0)
		return NULL;
	vm_shown(VAULT_JSON, other);
	return strcmp(shown, other) == 0 ? VAULT_JSON : shown;
}

/* 0 if it is there, else -ENOENT. */
static int vm_exists(struct vault_dir *d, const char *name, const char *vm)
{
	int r;

	if (!vm || strlen(vm) > CATALOG_NAME_MAX)
		return view_no_entry(name);
	r = catalog_count(view_catalog(d->place), d->place->vault, vm, NULL,
			  NULL);
	return r == -EINVAL ? view_no_entry(name) : r;
}

static int vault_lookup(struct folder *f, const char *name,
			struct entry_attr *out)
{
	struct vault_dir *d = vault_of(f);
	int r;

	if (strcmp(name, VAULT_JSON) == 0)
		return vault_json_attr(d, out);
	r = vm_exists(d, name, vm_named(name));
	if (!r)
		*out = view_above_attr(d->place->view);
	return r;
}

/* Name i of the listing: 0, or 1 when there is none; copied. */
static int vault_name_at(struct vault_dir *d, size_t i,
			 char out[static VM_SHOWN_SIZE], char **after)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	if (i < d->count) {
		vm_shown(d->names[i], out);
		return 0;
	}
	if (d->complete)
		return 1;
	*after = strdup(d->count ? d->names[d->count - 1] : "");
	return *after ? 2 : fail(-ENOMEM, "out of memory");
}

static int vault_add_page(struct vault_dir *d, struct name_page *page,
			  const char *after)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	/* Another thread was faster. */
	if (strcmp(after, d->count ? d->names[d->count - 1] : "") != 0)
		return 0;
	if (d->count + page->count > d->room) {
		size_t room = 2 * d->room + page->count;
		char **names = realloc(d->names, room * sizeof(*names));

		if (!names)
			return fail(-ENOMEM, "out of memory");
		d->names = names;
		d->room = room;
	}
	for (size_t i = 0; i < page->count; i++)
		d->names[d->count++] = take(page->names[i]);
	d->complete = !page->more || !page->count;
	return 0;
}

static int vault_more_names(struct vault_dir *d, const char *after)
{
	DROP(name_page) struct name_page page = { 0 };
	int r = catalog_vms(view_catalog(d->place), d->place->vault, after,
			    NAMES_PAGE, &page);

	return r ? r : vault_add_page(d, &page, after);
}

static int vault_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		      void *ctx)
{
	struct vault_dir *d = vault_of(f);
	char name[VM_SHOWN_SIZE];
	struct entry_attr a;
	int r;

	if (cookie == 0) {
		r = vault_json_attr(d, &a);
		if (r)
			return r;
		if (emit(ctx, VAULT_JSON, &a, 1))
			return 0;
		cookie = 1;
	}
	a = view_above_attr(d->place->view);
	for (;;) {
		DROP(mem) char *after = NULL;

		r = vault_name_at(d, cookie - 1, name, &after);
		if (r < 0 || r == 1)
			return r < 0 ? r : 0;
		if (r == 2) {
			r = vault_more_names(d, after);
			if (r)
				return r;
			continue;
		}
		cookie++;
		if (emit(ctx, name, &a, cookie))
			return 0;
	}
}

static int vault_open_dir(struct folder *f, const char *name,
			  struct folder **ret)
{
	struct vault_dir *d = vault_of(f);
	const char *vm = vm_named(name);

	if (!vm)
		return fail(-ENOTDIR, "%s: not a directory", name);
	return vm_open(d->place->view, d->place->number, d->place->vault, vm,
		       ret);
}

static int vault_open_file(struct folder *f, const char *name,
			   struct source **ret)
{
	char *text;
	size_t len;
	int r;

	if (strcmp(name, VAULT_JSON) != 0)
		return view_no_entry(name);
	r = vault_json(vault_of(f)->place, &text, &len);
	return r ? r : view_text_open(text, len, ret);
}

static const struct folder_ops vault_ops = {
	.name = "vault",
	.lookup = vault_lookup,
	.list = vault_list,
	.open_dir = vault_open_dir,
	.open = vault_open_file,
	.close = vault_close,
};
