// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define CONNECTIONS 64
#define LISTING_MAX (32u << 20)
#define WHAT_MAX 1600
#define URL_MAX 8192
#define PUT_TRIES 8
#define LIST_TRIES 3
#define PAGES_MAX 1000000

static struct remote *remote_of(struct store *s)
{
	return container_of(s, struct remote, base);
}

/* --- the URL --- */

/* Where a secret may stand: nothing of it is repeated. */
static int no_secrets(const char *url)
{
	if (strpbrk(url, "?#"))
		return fail(-EINVAL,
			    "a vault's URL has no query: put a SAS in "
			    "AZURE_STORAGE_SAS_TOKEN, or in the file of "
			    "--sas-file");
	if (strchr(url, '@'))
		return fail(-EINVAL,
			    "a vault's URL has no user and no password: put "
			    "keys in AZURE_STORAGE_KEY, or in "
			    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
	return 0;
}

static bool part_ok(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') ||
		      (p[i] >= 'A' && p[i] <= 'Z') ||
		      (p[i] >= '0' && p[i] <= '9') || strchr("-._$", p[i])))
			return false;
	return n <= 63 && !(n && *p == '.');
}

static int bad_url(const char *url, const char *scheme, size_t parts)
{
	return fail(-EINVAL, "%s: a vault is %s://%s[/PREFIX] here", url,
		    scheme, parts == 2 ? "ACCOUNT/CONTAINER" : "BUCKET");
}

/* "/a//b/" to "a/b/". */
static int set_prefix(const char *p, char **out)
{
	DROP(buf) struct buf b = BUF_INIT(REMOTE_PREFIX_MAX + 1);

	while (*(p += strspn(p, "/"))) {
		size_t n = strcspn(p, "/");

		if (!store_component_ok(p, n))
			return fail(-EINVAL,
				    "'%.*s' cannot be a folder of a vault's "
				    "URL",
				    (int)min_u64(n, 200), p);
		buf_add(&b, p, n);
		buf_u8(&b, '/');
		p += n;
	}
	*out = b.failed ? NULL : strdup(buf_cstr(&b));
	return *out ? 0 : fail(-EINVAL, "a vault's URL is too long");
}

int remote_url_parse(const char *url, const char *scheme, size_t parts,
		     struct remote_url *out)
{
	DROP(remote_url) struct remote_url u = { 0 };
	const char *p = strchr(url, ':') + 1;
	int n, r = no_secrets(url);

	if (r < 0)
		return r;
	if (strncmp(p, "//", 2) != 0)
		return bad_url(url, scheme, parts);
	p += 2;
	for (size_t i = 0; i < parts; i++) {
		size_t len = strcspn(p, "/");

		/* Azure's account may be left to its variable. */
		if (!part_ok(p, len) || (!len && !(parts == 2 && i == 0)))
			return bad_url(url, scheme, parts);
		u.part[i] = strndup(p, len);
		if (!u.part[i])
			return fail(-ENOMEM, "out of memory");
		p += len;
		p += i + 1 < parts && *p == '/';
	}
	r = set_prefix(p, &u.prefix);
	if (r < 0)
		return r;
	n = (int)strlen(u.prefix);
	n = asprintf(&u.shown, "%s://%s%s%s%s%.*s", scheme, u.part[0],
		     parts == 2 ? "/" : "", parts == 2 ? u.part[1] : "",
		     n ? "/" : "", n ? n - 1 : 0, u.prefix);
	if (n < 0) {
		u.shown = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	*out = u;
	u = (struct remote_url){ 0 };
	return 0;
}

void remote_url_release(struct remote_url *u)
{
	free(u->shown);
	free(u->part[0]);
	free(u->part[1]);
	free(u->prefix);
	*u = (struct remote_url){ 0 };
}

/* --- one request --- */

void remote_code(const struct http_response *a,
		 char out[static LISTING_CODE_MAX])
{
	const char *h = http_header(a, "x-ms-error-code");

	if (h)
		snprintf(out, LISTING_CODE_MAX, "%s", h);
	else
		listing_error_code((char *)a->body.data, a->body.len, out);
}

static int prepare(void *ctx, struct http_wire *w)
{
	struct remote_op *op = ctx;

	return op->r->kind->prepare(op, w);
}

static bool again(void *ctx, const struct http_response *a)
{
	struct remote_op *op = ctx;
	char code[LISTING_CODE_MAX];

	if (!op->r->kind->again)
		return false;
	remote_code(a, code);
	return op->r->kind->again(op, a, code);
}

int remote_call(struct remote_op *op, struct http_request *q,
		struct http_response *a)
{
	struct remote *r = op->r;

	q->url = "";
	q->prepare = prepare;
	q->again = again;
	q->ctx = op;
	q->range_field = r->kind->range_field;
	for (int i = 0; i < 2; i++) {
		int e = http_do(r->http, q, a);

		if (e < 0 || !r->kind->judge)
			return e;
		e = r->kind->judge(op, a);
		if (e == 0)
			return 0;
		http_response_release(a);
		if (e < 0)
			return fail(e, "%s is not there, in the secondary copy",
				    q->what);
	}
	return fail(-EAGAIN, "%s: its copy is older than asked for", q->what);
}

static bool code_in(const char *code, const char *const *codes)
{
	for (; *codes; codes++)
		if (!strcmp(code, *codes))
			return true;
	return false;
}

static int refused_access(const char *what, int status, const char *code)
{
	static const char *const wrong[] = { "AuthenticationFailed",
					     "SignatureDoesNotMatch",
					     "InvalidAccessKeyId",
					     "InvalidAuthenticationInfo",
					     "InvalidToken",
					     "ExpiredToken",
					     NULL };
	static const char *const late[] = { "RequestTimeTooSkewed", NULL };

	if (code_in(code, late))
		return fail(-EACCES,
			    "%s: the clock of this machine is not the "
			    "service's (%d %s)",
			    what, status, code);
	if (code_in(code, wrong))
		return fail(-EACCES,
			    "%s: the service does not know the key, SAS or "
			    "token, or it has expired (%d %s)",
			    what, status, code);
	return fail(-EACCES, "%s: the service refuses it to us (%d%s%s)", what,
		    status, *code ? " " : "", code);
}

int remote_refused(struct remote *r, const char *what,
		   const struct http_response *a)
{
	static const char *const no_place[] = { "ContainerNotFound",
						"NoSuchBucket",
						"AccountNotFound",
						"ContainerBeingDeleted", NULL };
	static const char *const full[] = { "QuotaExceeded",
					    "AccountLimitExceeded",
					    "InsufficientCapacity", NULL };
	static const char *const kept[] = { "BlobImmutableDueToPolicy",
					    "BlobImmutableDueToLegalHold",
					    "LeaseIdMissing", "InvalidRequest",
					    NULL };
	const char *region = http_header(a, "x-amz-bucket-region");
	char code[LISTING_CODE_MAX];

	remote_code(a, code);
	if (code_in(code, no_place))
		return fail(-ENXIO, "%s is not there (%s)", r->base.url, code);
	if (a->status == 404)
		return fail(-ENOENT, "%s is not there", what);
	if (code_in(code, full) || a->status == 507)
		return fail(-ENOSPC, "%s: there is no room (%d %s)", what,
			    a->status, code);
	if (a->status == 401 || a->status == 403)
		return refused_access(what, a->status, code);
	if (a->status == 409 && code_in(code, kept))
		return fail(-EACCES,
			    "%s: the service keeps it from being "
			    "changed (%d %s)",
			    what, a->status, code);
	if (a->status == 412)
		return fail(-ESTALE, "%s: it is another by now", what);
	if (a->status / 100 == 3)
		return fail(-EINVAL,
			    "%s: it is elsewhere%s%s (%d%s%s): set AWS_REGION "
			    "or --endpoint",
			    what, region ? ", in region " : "",
			    region ? region : "", a->status, *code ? " " : "",
			    code);
	return fail(-EPROTO, "%s: the service answered %d%s%s", what, a->status,
		    *code ? " " : "", code);
}

/* The key there, and what sentences call it. */
struct name {
	char *key;
	char what[WHAT_MAX];
};

static void drop_name(struct name *n)
{
	free(n->key);
}

static int name_of(struct remote *r, const char *key, struct name *out)
{
	snprintf(out->what, sizeof(out->what), "object %s", key);
	if (asprintf(&out->key, "%s%s", r->prefix, key) < 0) {
		out->key = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	if (strlen(out->key) > 1024)
		return fail(-EINVAL,
			    "%s: its name is too long behind the prefix of %s",
			    out->what, r->base.url);
	return 0;
}

/* --- reading --- */

static int remote_stat(struct store *s, const char *key, uint64_t *size)
{
	struct remote *r = remote_of(s);
	DROP(name) struct name n = { 0 };
	DROP(http_response) struct http_response a = { 0 };
	struct remote_op op = { .r = r, .query = "", .reads = true };
	struct http_request q = { .method = "HEAD", .what = n.what };
	const char *length;
	int e = name_of(r, key, &n);

	op.key = n.key;
	if (e == 0)
		e = remote_call(&op, &q, &a);
	if (e < 0)
		return e;
	if (a.status != 200)
		return remote_refused(r, n.what, &a);
	length = http_header(&a, "Content-Length");
	if (!length || parse_u64(length, size) < 0)
		return fail(-EPROTO, "%s: the service does not tell its size",
			    n.what);
	return 0;
}

static int too_short(const char *what, uint64_t size)
{
	if (size == UINT64_MAX)
		return fail(-EIO, "%s is shorter than its index says", what);
	return fail(-EIO, "%s is shorter than its index says: %llu bytes", what,
		    (unsigned long long)size);
}

static int remote_read(struct store *s, const char *key, void *buf, size_t len,
		       uint64_t off)
{
	struct remote *r = remote_of(s);
	DROP(name) struct name n = { 0 };
	DROP(http_response) struct http_response a = { 0 };
	struct remote_op op = { .r = r, .query = "", .reads = true };
	struct http_request q = { .method = "GET",
				  .what = n.what,
				  .into = buf,
				  .len = len,
				  .off = off };
	int e = name_of(r, key, &n);

	op.key = n.key;
	if (e == 0)
		e = remote_call(&op, &q, &a);
	if (e < 0)
		return e;
	if (a.status == 416)
		return too_short(n.what, a.total);
	return a.status == 206 ? 0 : remote_refused(r, n.what, &a);
}

static int get_whole(struct remote *r, const struct name *n, size_t max,
		     struct http_response *a)
{
	struct remote_op op = { .r = r,
				.key = n->key,
				.query = "",
				.reads = true };
	struct http_request q = { .method = "GET",
				  .what = n->what,
				  .body_max = max,
				  .resume = true };
	int e = remote_call(&op, &q, a);

	if (e < 0)
		return e;
	/* 206: it broke off and was resumed. */
	return a->status == 200 || a->status == 206
		       ? 0
		       : remote_refused(r, n->what, a);
}

static int remote_get(struct store *s, const char *key, size_t max,
		      struct buf *out)
{
	struct remote *r = remote_of(s);
	DROP(name) struct name n = { 0 };
	DROP(http_response) struct http_response a = { 0 };
	int e = name_of(r, key, &n);

	max = min_u64(max, out->max - out->len);
	if (e == 0)
		e = get_whole(r, &n, max, &a);
	if (e < 0)
		return e;
	buf_add(out, a.body.data, a.body.len);
	return buf_check(out, n.what);
}

/* --- writing --- */

static bool same_bytes(const struct buf *b, const struct store_piece *pieces,
		       size_t npieces)
{
	size_t at = 0;

	for (size_t i = 0; i < npieces; i++) {
		if (pieces[i].len > b->len - at ||
		    (pieces[i].len &&
		     memcmp(b->data + at, pieces[i].data, pieces[i].len) != 0))
			return false;
		at += pieces[i].len;
	}
	return at == b->len;
}

static size_t total_of(const struct store_piece *pieces, size_t npieces)
{
	size_t n = 0;

	for (size_t i = 0; i < npieces; i++)
		n += pieces[i].len;
	return n;
}

/*
 * Something has the name, or may have it: our own put, whose answer was lost,
 * or another's. 1 if nothing is there after all.
 */
static int settle(struct remote *r, const struct name *n,
		  const struct store_piece *pieces, size_t npieces)
{
	DROP(http_response) struct http_response a = { 0 };
	int e = get_whole(r, n, total_of(pieces, npieces), &a);

	if (e == -ENOENT)
		return 1;
	if (e == -EFBIG || (e == 0 && !same_bytes(&a.body, pieces, npieces)))
		return fail(-EEXIST, "%s is there already, with other bytes",
			    n->what);
	return e;
}

static bool exists_already(const struct http_response *a)
{
	static const char *const codes[] = {
		"BlobAlreadyExists",	       "BlobImmutableDueToPolicy",
		"BlobImmutableDueToLegalHold", "ResourceAlreadyExists",
		"PreconditionFailed",	       NULL
	};
	char code[LISTING_CODE_MAX];

	if (a->status == 412)
		return true;
	if (a->status != 409)
		return false;
	remote_code(a, code);
	return code_in(code, codes);
}

/* 0, 1 if something has the name, or a failure. */
static int put_once(struct remote *r, const struct name *n,
		    const struct digest *payload,
		    const struct store_piece *pieces, size_t npieces)
{
	DROP(http_response) struct http_response a = { 0 };
	struct remote_op op = { .r = r,
				.key = n->key,
				.query = "",
				.payload = *payload };
	struct http_request q = { .method = "PUT",
				  .what = n->what,
				  .fields = r->kind->put_fields,
				  .nfields = r->kind->nput_fields,
				  .pieces = pieces,
				  .npieces = npieces };
	int e = remote_call(&op, &q, &a), e2;

	if (e < 0)
		return e;
	if (a.status / 100 == 2)
		return 0;
	if (exists_already(&a))
		return 1;
	e = remote_refused(r, n->what, &a);
	/* Who may create and not overwrite is refused what is there. */
	if (e == -EACCES && a.tries > 1) {
		struct err_saved said;

		err_save(e, &said);
		e2 = settle(r, n, pieces, npieces);
		return e2 == 0 || e2 == -EEXIST ? e2 : err_load(&said);
	}
	return e;
}

static int read_only(struct remote *r)
{
	return fail(-EROFS, "%s: it was not opened for writing", r->base.url);
}

static int remote_put(struct store *s, const char *key,
		      const struct store_piece *pieces, size_t npieces)
{
	struct remote *r = remote_of(s);
	DROP(name) struct name n = { 0 };
	struct digest payload = { 0 };
	int e;

	if (!r->writable)
		return read_only(r);
	e = name_of(r, key, &n);
	if (e < 0)
		return e;
	if (r->kind->wants_payload) {
		struct sha256 h;

		sha256_init(&h);
		for (size_t i = 0; i < npieces; i++)
			if (pieces[i].len)
				sha256_add(&h, pieces[i].data, pieces[i].len);
		sha256_final(&h, &payload);
	}
	for (int i = 0; i < PUT_TRIES; i++) {
		e = put_once(r, &n, &payload, pieces, npieces);
		if (e <= 0)
			return e;
		e = settle(r, &n, pieces, npieces);
		if (e <= 0)
			return e;
	}
	return fail(-EAGAIN,
		    "%s: the service says that it is there, and then "
		    "that it is not",
		    n.what);
}

/* Every put is durable when it is answered. */
static int remote_barrier(struct store *s)
{
	return 0;
}

static int remote_remove(struct store *s, const char *key)
{
	struct remote *r = remote_of(s);
	DROP(name) struct name n = { 0 };
	DROP(http_response) struct http_response a = { 0 };
	struct remote_op op = { .r = r, .query = "" };
	struct http_request q = { .method = "DELETE", .what = n.what };
	uint64_t size;
	int e;

	if (!r->writable)
		return read_only(r);
	e = name_of(r, key, &n);
	if (e == 0 && r->kind->removes_nothing)
		e = remote_stat(s, key, &size);
	op.key = n.key;
	if (e == 0)
		e = remote_call(&op, &q, &a);
	if (e < 0)
		return e;
	if (a.status / 100 == 2)
		return 0;
	/* The first of two tries may have done it. */
	if (a.status == 404 && a.tries > 1)
		return 0;
	return remote_refused(r, n.what, &a);
}

/* --- listing --- */

static void cursor_free(struct remote_cursor *c)
{
	free(c->prefix);
	free(c->after);
	free(c->marker);
	*c = (struct remote_cursor){ 0 };
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
	char what[WHAT_MAX];
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

static int remote_list(struct store *s, const char *prefix, const char *after,
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

/* --- the rest --- */

static void remote_traffic(struct store *s, struct store_traffic *out)
{
	struct remote *r = remote_of(s);
	struct http_traffic t;

	http_traffic(r->http, &t);
	*out = (struct store_traffic){
		.parallel = http_connections(r->http),
		.wait_ns = t.wait_ns,
		.requests = t.requests,
		.retries = t.retries,
		.bytes_in = t.bytes_in,
		.bytes_out = t.bytes_out,
	};
}

void remote_release(struct remote *r)
{
	http_free(r->http);
	r->http = NULL;
	for (size_t i = 0; i < REMOTE_CURSORS; i++)
		cursor_free(&r->cursors[i]);
	free(take(r->prefix));
	store_release(&r->base);
}

static void remote_close(struct store *s)
{
	struct remote *r = remote_of(s);

	pthread_mutex_destroy(&r->lock);
	remote_release(r);
	r->kind->release(r);
}

static const struct store_ops remote_ops = {
	.name = "remote",
	.stat = remote_stat,
	.read = remote_read,
	.get = remote_get,
	.put = remote_put,
	.barrier = remote_barrier,
	.list = remote_list,
	.remove = remote_remove,
	.traffic = remote_traffic,
	.close = remote_close,
};

/* VAULTFS_RETRY: how long a request is tried, where nobody says it. */
static int retry_ms(const struct store_options *o, uint64_t *ret)
{
	const char *text = getenv("VAULTFS_RETRY");

	*ret = o->budget_ms;
	if (*ret || !text || !*text)
		return 0;
	if (parse_duration_ms(text, ret) < 0 || !*ret)
		return fail(-EINVAL, "VAULTFS_RETRY: '%.40s' is no time", text);
	return 0;
}

int remote_init(struct remote *r, const struct remote_kind *kind,
		struct remote_url *url, const struct store_options *o,
		bool writable)
{
	struct http_options ho = { .ca_file = o->ca_file,
				   .connections = CONNECTIONS,
				   .backoff_ms = o->backoff_ms
							 ? o->backoff_ms
							 : kind->backoff_ms,
				   .stall_ms = o->stall_ms };
	static const struct rlimit none = { 0, 0 };
	int e = store_init(&r->base, &remote_ops, url->shown, true);

	/* libcurl has copies of what lets us in. */
	if (setrlimit(RLIMIT_CORE, &none))
		log_debug("setrlimit: %s", strerrordesc_np(errno));

	if (e == 0)
		e = retry_ms(o, &ho.budget_ms);
	if (e < 0)
		return e;
	r->base.remote = true;
	r->kind = kind;
	r->prefix = take(url->prefix);
	r->writable = writable;
	pthread_mutex_init(&r->lock, NULL);
	return http_new(&ho, &r->http);
}

/* --- the probe --- */

struct probe {
	struct store *s;
	char dash[64], inside[64]; /* '-' sorts before '/' */
};

static int lacks(const struct probe *p, const char *what)
{
	return fail(-ENOTSUP,
		    "%s cannot hold a vault: the service %s, and a vault "
		    "relies on that it does",
		    p->s->url, what);
}

static int put_text(struct probe *p, const char *key, const char *text)
{
	struct store_piece piece = { text, strlen(text) };

	return p->s->ops->put(p->s, key, &piece, 1);
}

static int try_puts(struct probe *p)
{
	int e = put_text(p, p->dash, "0123456789");

	if (e == -ENXIO && remote_of(p->s)->kind->make_place) {
		e = remote_of(p->s)->kind->make_place(remote_of(p->s));
		if (e == 0)
			e = put_text(p, p->dash, "0123456789");
	}
	if (e == 0)
		e = put_text(p, p->inside, "x");
	if (e < 0)
		return e;
	e = put_text(p, p->dash, "another");
	if (e == 0)
		return lacks(p, "does not refuse to replace an object "
				"(If-None-Match: *)");
	return e == -EEXIST ? 0 : e;
}

static int try_read(struct probe *p)
{
	char got[4];
	int e = p->s->ops->read(p->s, p->dash, got, sizeof(got), 3);

	if (e == -EPROTO)
		return lacks(p, "does not send parts of an object");
	if (e == 0 && memcmp(got, "3456", sizeof(got)) != 0)
		return lacks(p, "does not send the part of an object that is "
				"asked for");
	return e;
}

static int try_list(struct probe *p)
{
	struct store_list l __attribute__((cleanup(drop_store_list))) = { 0 };
	char prefix[64];
	int e;

	snprintf(prefix, sizeof(prefix), "%.*s",
		 (int)(strrchr(p->dash, '-') - p->dash), p->dash);
	e = p->s->ops->list(p->s, prefix, "", 10, false, &l);
	if (e < 0)
		return e;
	if (l.count != 2)
		return lacks(p, "does not list an object as soon as it is "
				"there");
	if (strcmp(l.entries[0].key, p->dash) != 0 ||
	    strcmp(l.entries[1].key, p->inside) != 0 || l.entries[0].size != 10)
		return lacks(p, "does not list objects sorted by the bytes of "
				"their names");
	return 0;
}

/* Those who may not remove may back up all the same. */
static void clean_up(struct probe *p)
{
	int e = p->s->ops->remove(p->s, p->dash);
	int e2 = p->s->ops->remove(p->s, p->inside);

	if (e < 0 || e2 < 0)
		log_info("%s: nothing can be removed there: %s", p->s->url,
			 err_text(e < 0 ? e : e2));
	err_clear();
}

int remote_probe(struct store *s)
{
	struct probe p = { .s = s };
	uint8_t nonce[8];
	char hex[2 * sizeof(nonce) + 1];
	int e = random_bytes(nonce, sizeof(nonce));

	if (e < 0)
		return e;
	hex_of(nonce, sizeof(nonce), hex);
	snprintf(p.dash, sizeof(p.dash), "tmp/probe.%s-a", hex);
	snprintf(p.inside, sizeof(p.inside), "tmp/probe.%s/a", hex);
	e = try_puts(&p);
	if (e == 0)
		e = try_read(&p);
	if (e == 0)
		e = try_list(&p);
	if (e == 0 || e == -ENOTSUP) {
		struct err_saved said;

		err_save(e, &said);
		clean_up(&p);
		return e < 0 ? err_load(&said) : 0;
	}
	return e;
}
