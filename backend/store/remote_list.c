// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Listings of remote: the service's pages made what a store's list is
 * (backend/store/store.h).
 */
#include "backend/store/remote_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"

#define LISTING_MAX (32u << 20)
#define URL_MAX 8192
#define LIST_TRIES 3
#define PAGES_MAX 1000000

static void cursor_free(struct remote_cursor *c)
{
	free(c->prefix);
	free(c->after);
	free(c->marker);
	*c = (struct remote_cursor){ 0 };
}

void remote_list_release(struct remote *r)
{
	for (size_t i = 0; i < REMOTE_CURSORS; i++)
		cursor_free(&r->cursors[i]);
}

/* The marker to go on with after this key; NULL if it is not known. */
static char *cursor_take(struct remote *r, const char *prefix,
			 const char *after, bool fold)
{
	DROP(lock) pthread_mutex_t *held = lock(&r->lock);

	for (size_t i = 0; i < REMOTE_CURSORS; i++) {
		struct remote_cursor *c = &r->cursors[i];

		if (c->prefix && c->fold == fold &&
		    !strcmp(c->prefix, prefix) && !strcmp(c->after, after))
			return strdup(c->marker);
	}
	return NULL;
}

/* Only a help: without memory for it the next page is looked for anew. */
static void cursor_keep(struct remote *r, const char *prefix, const char *after,
			const char *marker, bool fold)
{
	DROP(lock) pthread_mutex_t *held = lock(&r->lock);
	struct remote_cursor *c =
		&r->cursors[r->next_cursor++ % REMOTE_CURSORS];

	cursor_free(c);
	*c = (struct remote_cursor){ strdup(prefix), strdup(after),
				     strdup(marker), fold };
	if (!c->prefix || !c->after || !c->marker)
		cursor_free(c);
}

/* A listing on its way: over as many pages as it takes to have an entry. */
struct walk {
	struct remote *r;
	const char *prefix, *after; /* as the caller has them: without ours */
	size_t max;
	bool fold;
	struct store_list *out;
	char *marker; /* of the page that comes; NULL: the first */
	char *last;   /* greatest of the names that were shown */
};

static void drop_walk(struct walk *w)
{
	free(w->marker);
	free(w->last);
}

static int by_name(const void *a, const void *b)
{
	const struct listing_item *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int fetch_page_once(struct walk *w, struct listing *page)
{
	struct remote *r = w->r;
	DROP(http_response) struct http_response a = { 0 };
	DROP(buf) struct buf query = BUF_INIT(URL_MAX);
	DROP(mem) char *prefix = NULL, *after = NULL;
	struct remote_op op = { .r = r, .reads = true };
	char what[REMOTE_WHAT_MAX];
	struct http_request q = { .method = "GET",
				  .what = what,
				  .body_max = LISTING_MAX };
	/* Without a marker it is walked to where it goes on. */
	size_t max = r->kind->by_marker && *w->after && !w->marker
			     ? r->kind->list_max
			     : min_u64(w->max, r->kind->list_max);
	int e;

	snprintf(what, sizeof(what), "list of %s/%s", r->base.url, w->prefix);
	if (asprintf(&prefix, "%s%s", r->prefix, w->prefix) < 0)
		prefix = NULL;
	if (asprintf(&after, "%s%s", *w->after ? r->prefix : "", w->after) < 0)
		after = NULL;
	if (!prefix || !after)
		return fail(-ENOMEM, "out of memory");
	e = r->kind->list_query(r, prefix, after, w->marker, max, w->fold,
				&query);
	if (e == 0)
		e = buf_check(&query, what);
	if (e < 0)
		return e;
	op.query = buf_cstr(&query);
	e = remote_call(&op, &q, &a);
	if (e < 0)
		return e;
	if (a.status != 200)
		return remote_refused(r, what, &a);
	e = r->kind->list_parse(&op, (char *)a.body.data, a.body.len, page);
	return e < 0 ? blame(e, "%s", what) : 0;
}

/* An answer in XML that is not whole is as good as one that broke off. */
static int fetch_page(struct walk *w, struct listing *page)
{
	int e = -EPROTO;

	for (int i = 0; i < LIST_TRIES && e == -EPROTO; i++)
		e = fetch_page_once(w, page);
	return e;
}

/* Those that are not ours are left out: other people's, and the probes'. */
static bool shown(const struct walk *w, const char *name, bool folder)
{
	DROP(mem) char *copy = NULL;
	size_t n = strlen(name);

	if (!strncmp(name, "tmp/", 4))
		return !strncmp(w->prefix, "tmp/", 4);
	if (!folder)
		return store_key_ok(name);
	copy = n ? strndup(name, n - 1) : NULL;
	return copy && store_key_ok(copy);
}

/* Adds what of a page is to be shown; stops when it is enough. */
static int take_page(struct walk *w, struct listing *page, bool *full)
{
	size_t skip = strlen(w->r->prefix);

	/* A page may be empty and more follow. */
	if (page->count)
		qsort(page->items, page->count, sizeof(*page->items), by_name);
	for (size_t i = 0; i < page->count; i++) {
		const struct listing_item *x = &page->items[i];
		const char *name = x->name + skip;
		int e;

		if (strncmp(x->name, w->r->prefix, skip) != 0 ||
		    strncmp(name, w->prefix, strlen(w->prefix)) != 0)
			return fail(-EPROTO,
				    "list of %s/%s: the service sent another "
				    "name than was asked",
				    w->r->base.url, w->prefix);
		if (strcmp(name, w->after) <= 0 || !shown(w, name, x->folder))
			continue;
		/* A folder may be told again by the next page. */
		if (w->last && !strcmp(name, w->last))
			continue;
		if (w->last && strcmp(name, w->last) < 0)
			return fail(-EPROTO,
				    "list of %s/%s: the service does not sort "
				    "by bytes (an account with a hierarchical "
				    "namespace?)",
				    w->r->base.url, w->prefix);
		if (w->out->count == w->max) {
			*full = true;
			return 0;
		}
		e = store_list_add(w->out, name, strlen(name), x->size);
		free(w->last);
		w->last = strdup(name);
		if (e < 0 || !w->last)
			return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

int remote_list(struct store *s, const char *prefix, const char *after,
		size_t max, bool fold, struct store_list *out)
{
	struct remote *r = remote_of(s);
	__attribute__((cleanup(drop_walk))) struct walk w = { .r = r,
							      .prefix = prefix,
							      .after = after,
							      .max = max,
							      .fold = fold,
							      .out = out };

	if (r->kind->by_marker && *after)
		w.marker = cursor_take(r, prefix, after, fold);
	for (size_t pages = 0; pages < PAGES_MAX; pages++) {
		DROP(listing) struct listing page = { 0 };
		bool full = false, more;
		int e = fetch_page(&w, &page);

		if (e == 0)
			e = take_page(&w, &page, &full);
		if (e < 0)
			return e;
		more = r->kind->by_marker ? page.marker != NULL
					  : page.truncated;
		/* The rest of this page is for the next call. */
		if (full && r->kind->by_marker && w.marker)
			cursor_keep(r, prefix, w.last, w.marker, fold);
		if (!full && more && r->kind->by_marker && out->count)
			cursor_keep(r, prefix, w.last, page.marker, fold);
		out->more = full || more;
		if (out->count || !more)
			return 0;
		/* A page that shows nothing: the next. */
		if (r->kind->by_marker) {
			free(w.marker);
			w.marker = take(page.marker);
		} else if (page.count) {
			free(w.last);
			w.last = strdup(page.items[page.count - 1].name +
					strlen(r->prefix));
			if (!w.last)
				return fail(-ENOMEM, "out of memory");
			w.after = w.last;
		} else {
			break;
		}
	}
	return fail(-EPROTO,
		    "list of %s/%s: the service sends pages without names and "
		    "no end",
		    r->base.url, prefix);
}
