// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files fs/view_*.c share, and the root. */
#include "fs/view_impl.h"

#include "fs/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAMES_PAGE 1000
#define CARDS_SIZE ((size_t)8 << 20)

struct vault_row {
	char *shown;
	size_t catalog;
	char *vault; /* as the catalog has it */
};

/* All vaults, ascending by shown name; immutable once made. */
struct vault_table {
	atomic_uint refs;
	uint64_t made_ns; /* monotonic */
	struct vault_row *rows;
	size_t count;
};

/* --- counted things --- */

static void vault_rows_free(struct vault_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(rows[i].shown);
		free(rows[i].vault);
	}
	free(rows);
}

static void vault_table_unref(struct vault_table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	vault_rows_free(t->rows, t->count);
	free(t);
}

DROP_DEFINE(vault_table, struct vault_table *, vault_table_unref)

struct view *view_ref(struct view *v)
{
	atomic_fetch_add(&v->refs, 1);
	return v;
}

void view_unref(struct view *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	vault_table_unref(v->vaults);
	resolver_free(v->resolver);
	cache_free(v->cards);
	fresh_free(v->fresh);
	free(v->catalogs);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

struct place *view_place_ref(struct place *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void view_place_unref(struct place *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	view_unref(p->view);
	free(p->vault);
	free(p->vm);
	free(p);
}

int view_place_new(struct view *v, size_t number, const char *vault,
		   const char *vm, struct place **ret)
{
	DROP(place) struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&p->refs, 1);
	p->view = view_ref(v);
	p->number = number;
	p->vault = strdup(vault);
	p->vm = vm ? strdup(vm) : NULL;
	if (!p->vault || (vm && !p->vm))
		return fail(-ENOMEM, "out of memory");
	*ret = take(p);
	return 0;
}

struct catalog *view_catalog(const struct place *p)
{
	return p->view->catalogs[p->number];
}

/* --- entries and texts --- */

struct entry_attr view_dir_attr(int64_t mtime_ns, uint32_t valid_ms)
{
	return (struct entry_attr){
		.kind = ENTRY_DIR,
		.mtime_ns = mtime_ns,
		.valid_ms = valid_ms,
	};
}

struct entry_attr view_text_attr(size_t size, int64_t mtime_ns,
				 uint32_t valid_ms)
{
	return (struct entry_attr){
		.kind = ENTRY_FILE,
		.size = size,
		.blocks = (size + 511) / 512,
		.mtime_ns = mtime_ns,
		.nlink = 1,
		.valid_ms = valid_ms,
	};
}

int view_no_entry(const char *name)
{
	return fail(-ENOENT, "%s: no such file or directory", name);
}

int view_no_xattr(const char *name, const char *key)
{
	return fail(-ENODATA, "%s: no attribute %s", name, key);
}

struct entry_attr view_above_attr(const struct view *v)
{
	return view_dir_attr(v->born_ns, v->fresh_ms);
}

struct text {
	struct source base;
	char *data;
};

static int text_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct text *t = container_of(s, struct text, base);

	memcpy(buf, t->data + off, len);
	return 0;
}

static void text_close(struct source *s)
{
	struct text *t = container_of(s, struct text, base);

	free(t->data);
	free(t);
}

static const struct source_ops text_ops = {
	.name = "text",
	.read = text_read,
	.close = text_close,
};

int view_text_open(char *data, size_t len, struct source **ret)
{
	struct text *t = calloc(1, sizeof(*t));

	if (!t) {
		free(data);
		return fail(-ENOMEM, "out of memory");
	}
	source_init(&t->base, &text_ops, len);
	t->data = data;
	*ret = &t->base;
	return 0;
}

int view_copy_open(const void *text, size_t len, struct source **ret)
{
	char *copy = malloc(len ? len : 1);

	if (!copy)
		return fail(-ENOMEM, "out of memory");
	memcpy(copy, text, len);
	return view_text_open(copy, len, ret);
}

/* --- the root --- */

struct root_dir {
	struct folder base;
	struct view *view;
};

static int vault_row_cmp(const void *a, const void *b)
{
	const struct vault_row *x = a, *y = b;
	int r = strcmp(x->vault, y->vault);

	return r ? r : (x->catalog > y->catalog) - (x->catalog < y->catalog);
}

static int vault_shown_cmp(const void *a, const void *b)
{
	const struct vault_row *x = a, *y = b;

	return strcmp(x->shown, y->shown);
}

struct vault_rows {
	struct vault_row *rows;
	size_t count, room;
};

static void drop_vault_rows(struct vault_rows *r)
{
	vault_rows_free(r->rows, r->count);
}

static int add_vault(struct vault_rows *to, size_t catalog, const char *vault)
{
	struct vault_row *row;

	if (to->count == to->room) {
		size_t room = 2 * to->room + 8;

		row = realloc(to->rows, room * sizeof(*row));
		if (!row)
			return fail(-ENOMEM, "out of memory");
		to->rows = row;
		to->room = room;
	}
	row = &to->rows[to->count];
	*row = (struct vault_row){ .catalog = catalog, .vault = strdup(vault) };
	if (!row->vault)
		return fail(-ENOMEM, "out of memory");
	to->count++;
	return 0;
}

static int add_vaults_of(struct vault_rows *to, struct view *v, size_t n)
{
	bool more = true;
	int r;

	while (more) {
		DROP(name_page) struct name_page page = { 0 };
		const char *after = "";

		if (to->count && to->rows[to->count - 1].catalog == n)
			after = to->rows[to->count - 1].vault;
		r = catalog_vaults(v->catalogs[n], after, NAMES_PAGE, &page);
		if (r)
			return r;
		for (size_t i = 0; i < page.count; i++) {
			r = add_vault(to, n, page.names[i]);
			if (r)
				return r;
		}
		more = page.more && page.count;
	}
	return 0;
}

/* What was known of catalog n before: it cannot be asked now, but its
 * vaults are still where they were. */
static int add_vaults_known(struct vault_rows *to,
			    const struct vault_table *old, size_t n)
{
	int r = 0;

	while (to->count && to->rows[to->count - 1].catalog == n)
		free(to->rows[--to->count].vault);
	for (size_t i = 0; !r && i < old->count; i++) {
		if (old->rows[i].catalog == n)
			r = add_vault(to, n, old->rows[i].vault);
	}
	return r;
}

static int vault_tag(struct view *v, const struct vault_row *row, char out[6])
{
	DROP(json) struct json *j = json_object();
	struct digest d;
	const char *id;
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = catalog_describe(v->catalogs[row->catalog], row->vault, j);
	if (r)
		return r;
	id = json_get_str(j, "id");
	if (!id)
		id = row->vault;
	sha256(id, strlen(id), &d);
	snprintf(out, 6, "~%02x%02x", d.b[0], d.b[1]);
	return 0;
}

/* Shown names of rows[0..n), which are of one name. */
static int show_same(struct view *v, struct vault_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char tag[6] = "", more[24] = "";
		size_t before = 0;
		int r;

		if (n > 1) {
			r = vault_tag(v, &rows[i], tag);
			if (r)
				return r;
		}
		for (size_t k = 0; k < i; k++) {
			size_t len = strlen(rows[k].vault);

			before += strncmp(rows[k].shown + len, tag, 5) == 0;
		}
		if (before)
			snprintf(more, sizeof(more), "-%zu", before + 1);
		if (asprintf(&rows[i].shown, "%s%s%s", rows[i].vault, tag,
			     more) < 0) {
			rows[i].shown = NULL;
			return fail(-ENOMEM, "out of memory");
		}
	}
	return 0;
}

static int make_vaults(struct view *v, const struct vault_table *old,
		       struct vault_table **ret)
{
	DROP(vault_rows) struct vault_rows all = { 0 };
	struct vault_table *t;
	int r;

	for (size_t n = 0; n < v->ncatalogs; n++) {
		r = add_vaults_of(&all, v, n);
		if (r && old)
			r = add_vaults_known(&all, old, n);
		if (r)
			return r;
	}
	if (all.count)
		qsort(all.rows, all.count, sizeof(*all.rows), vault_row_cmp);
	for (size_t i = 0, k; i < all.count; i = k) {
		for (k = i + 1; k < all.count; k++) {
			if (strcmp(all.rows[i].vault, all.rows[k].vault) != 0)
				break;
		}
		r = show_same(v, all.rows + i, k - i);
		if (r)
			return r;
	}
	if (all.count)
		qsort(all.rows, all.count, sizeof(*all.rows), vault_shown_cmp);
	t = calloc(1, sizeof(*t));
	if (!t)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&t->refs, 1);
	t->made_ns = monotonic_ns();
	t->count = all.count;
	t->rows = take(all.rows);
	all.count = 0;
	*ret = t;
	return 0;
}

/* A reference to the table as it is; *make tells the caller to make another. */
static struct vault_table *vaults_now(struct view *v, bool *make)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);
	uint64_t age = monotonic_ns() - v->vaults->made_ns;

	*make = !v->making_vaults && age >= (uint64_t)v->fresh_ms * 1000000;
	if (*make)
		v->making_vaults = true;
	atomic_fetch_add(&v->vaults->refs, 1);
	return v->vaults;
}

/* The table it was, for the caller to drop. */
static struct vault_table *vaults_replace(struct view *v, struct vault_table *t)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);
	struct vault_table *old = NULL;

	if (t) {
		old = v->vaults;
		v->vaults = t;
		atomic_fetch_add(&t->refs, 1);
	} else {
		/* It failed: not again at once. */
		v->vaults->made_ns = monotonic_ns();
	}
	v->making_vaults = false;
	return old;
}

static struct vault_table *vaults_get(struct view *v)
{
	DROP(vault_table) struct vault_table *was = NULL;
	struct vault_table *now, *made = NULL;
	bool make;

	now = vaults_now(v, &make);
	if (!make)
		return now;
	if (make_vaults(v, now, &made))
		made = NULL;
	was = vaults_replace(v, made);
	if (!made)
		return now;
	vault_table_unref(now);
	return made;
}

static struct root_dir *root_of(struct folder *f)
{
	return container_of(f, struct root_dir, base);
}

static void root_close(struct folder *f)
{
	struct root_dir *d = root_of(f);

	view_unref(d->view);
	free(d);
}

static const struct vault_row *find_vault(const struct vault_table *t,
					  const char *name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->rows[i].shown, name) == 0)
			return &t->rows[i];
	}
	return NULL;
}

static int root_lookup(struct folder *f, const char *name,
		       struct entry_attr *out)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);

	if (!find_vault(t, name))
		return view_no_entry(name);
	*out = view_above_attr(v);
	return 0;
}

static int root_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		     void *ctx)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);
	struct entry_attr a = view_above_attr(v);

	for (; cookie < t->count; cookie++) {
		if (emit(ctx, t->rows[cookie].shown, &a, cookie + 1))
			break;
	}
	return 0;
}

static int root_open_dir(struct folder *f, const char *name,
			 struct folder **ret)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);
	const struct vault_row *row = find_vault(t, name);

	return row ? view_vault_open(v, row->catalog, row->vault, ret)
		   : view_no_entry(name);
}

static const struct folder_ops root_ops = {
	.name = "root",
	.lookup = root_lookup,
	.list = root_list,
	.open_dir = root_open_dir,
	.close = root_close,
};

static int open_resolver(struct view *v, const struct view_options *o)
{
	struct resolver_options ro = {
		.catalogs = v->catalogs,
		.fresh_ms = v->fresh_ms,
		.keyring = o->keyring,
		.cache = o->keycache,
		.trust_unsealed = o->trust_unsealed,
		.headers = o->headers,
		.nheaders = o->nheaders,
	};

	return resolver_new(&ro, &v->resolver);
}

void view_reset(struct folder *root)
{
	resolver_reset(root_of(root)->view->resolver);
}

int view_open(struct catalog *const *catalogs, size_t n,
	      const struct view_options *o, struct folder **ret)
{
	DROP(view) struct view *v = calloc(1, sizeof(*v));
	struct root_dir *root;
	int r;

	if (!v)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&v->refs, 1);
	pthread_mutex_init(&v->lock, NULL);
	v->fresh_ms = o->fresh_ms;
	v->born_ns = time_now_ns();
	v->catalogs = calloc(n ? n : 1, sizeof(struct catalog *));
	if (!v->catalogs)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		v->catalogs[i] = catalogs[i];
	v->ncatalogs = n;
	r = cache_new(CARDS_SIZE, &v->cards);
	if (!r)
		r = fresh_new((uint64_t)v->fresh_ms * 1000000, &v->fresh);
	if (r)
		return r;
	r = open_resolver(v, o);
	if (r)
		return r;
	r = make_vaults(v, NULL, &v->vaults);
	if (r)
		return r;
	root = calloc(1, sizeof(*root));
	if (!root)
		return fail(-ENOMEM, "out of memory");
	root->base.ops = &root_ops;
	root->view = take(v);
	*ret = &root->base;
	return 0;
}
