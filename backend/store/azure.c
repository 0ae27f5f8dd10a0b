// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The store of Azure Blob: an object is a block blob, put by one Put Blob.
 *
 *	az://ACCOUNT/CONTAINER/PREFIX	https://ACCOUNT.blob.core.windows.net/
 *					CONTAINER/PREFIX/KEY
 *
 * Signed by the account's key, or with a SAS (kept byte for byte, at the end of
 * each query), or with a bearer.
 *
 * The secondary copy (--secondary; RA-GRS accounts): tries alternate as the
 * official clients do, and go to the copy first while the primary has failed
 * lately. The copy is behind, so of it only what is older than LastSyncTime
 * counts: up to there it is whole. What it has not got is asked of the primary,
 * unless that has just failed: then the copy's word counts.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/store/azure_blob.h"
#include "backend/store/creds.h"
#include "backend/store/remote.h"
#include "backend/store/sign_azure.h"

#define VERSION "2021-12-02"
#define URL_MAX 16384
#define LIST_MAX 5000
#define STATS_MAX 65536
/* How long LastSyncTime is taken for granted: it only grows. */
#define SYNC_MS 60000
/* How long the primary counts as failing. */
#define FAILING_MS 30000

struct azure {
	struct remote remote;
	struct creds_azure creds;
	char *container;
	/* Used where creds has neither key nor SAS. */
	int (*bearer)(void *ctx, struct http_wire *w);
	void (*bearer_refused)(void *ctx);
	void *bearer_ctx;
	bool secondary;
	atomic_uint_fast64_t failing_until_ns; /* monotonic */
	pthread_mutex_t sync_lock;
	int64_t sync_s;	       /* sync_lock; 0: the copy is of no use */
	bool sync_asking;      /* sync_lock: some thread does */
	uint64_t sync_next_ns; /* sync_lock; monotonic */
};

static struct azure *azure_of(struct remote *r)
{
	return container_of(r, struct azure, remote);
}

/* --- one try --- */

/* container NULL: the service itself; key NULL: the container. */
static int set_url(struct azure *a, const char *endpoint, const char *container,
		   const char *key, const char *query, struct http_wire *w)
{
	/* It may have a SAS. */
	DROP(buf) struct buf url = SECRET_BUF_INIT(URL_MAX);
	int r;

	buf_str(&url, endpoint);
	buf_u8(&url, '/');
	if (container)
		buf_str(&url, container);
	if (key) {
		buf_u8(&url, '/');
		http_escape(&url, key, true);
	}
	if (*query)
		buf_printf(&url, "?%s", query);
	if (a->creds.sas) {
		buf_u8(&url, *query ? '&' : '?');
		buf_add(&url, secret_bytes(a->creds.sas),
			secret_size(a->creds.sas));
	}
	r = buf_check(&url, "a URL");
	return r ? r : http_wire_url(w, buf_cstr(&url));
}

static int let_in(struct azure *a, struct http_wire *w)
{
	char date[HTTP_DATE_SIZE];
	int r = http_wire_set(w, "x-ms-version", VERSION);

	http_date(time_now_ns(), date);
	if (r == 0)
		r = http_wire_set(w, "x-ms-date", date);
	if (r < 0 || a->creds.sas)
		return r;
	if (a->creds.key)
		return sign_azure(w, a->creds.account, a->creds.key);
	r = a->bearer(a->bearer_ctx, w);
	return r != -EACCES ? r
			    : blame(r, "no AZURE_STORAGE_KEY, "
				       "AZURE_STORAGE_SAS_TOKEN or --sas-file");
}

/* --- the secondary copy --- */

static bool failing(struct azure *a)
{
	return monotonic_ns() < atomic_load(&a->failing_until_ns);
}

static int stats_prepare(void *ctx, struct http_wire *w)
{
	struct azure *a = ctx;
	int r = set_url(a, a->creds.secondary, NULL, NULL,
			"restype=service&comp=stats", w);

	return r < 0 ? r : let_in(a, w);
}

static int fetch_sync(struct azure *a, int64_t *out)
{
	DROP(http_response) struct http_response answer = { 0 };
	struct http_request q = { .method = "GET",
				  .what = "state of the secondary copy",
				  .url = "",
				  .prepare = stats_prepare,
				  .ctx = a,
				  .body_max = STATS_MAX,
				  .budget_ms = 5000 };
	int r = http_do(a->remote.http, &q, &answer);

	if (r < 0)
		return r;
	if (answer.status != 200)
		return remote_refused(&a->remote, q.what, &answer);
	return listing_parse_sync((char *)answer.body.data, answer.body.len,
				  out);
}

/* What is known of it; true if it is time to ask, and the caller is the one who
 * does: the others go on with what is known. */
static bool sync_due(struct azure *a, int64_t *known)
{
	DROP(lock) pthread_mutex_t *held = lock(&a->sync_lock);

	*known = a->sync_s;
	if (a->sync_asking || monotonic_ns() < a->sync_next_ns)
		return false;
	a->sync_asking = true;
	return true;
}

/* Up to when the copy is whole; 0: it is of no use now. */
static int64_t sync_time(struct azure *a)
{
	int64_t known, s = 0;
	int r;

	if (!sync_due(a, &known))
		return known;
	r = fetch_sync(a, &s);
	if (r < 0) {
		log_warn("%s: the secondary copy is not used: %s",
			 a->remote.base.url, err_text(r));
		err_clear();
	}
	DROP(lock) pthread_mutex_t *held = lock(&a->sync_lock);
	/* What was whole stays so, if it cannot be asked just now. */
	if (r == 0 || !a->sync_s)
		a->sync_s = s;
	if (r != -ECANCELED)
		a->sync_next_ns = monotonic_ns() + UINT64_C(1000000) * SYNC_MS;
	a->sync_asking = false;
	return a->sync_s;
}

/* Which of the two this try is for. */
static bool take_second(struct azure *a, struct remote_op *op,
			const struct http_wire *w)
{
	bool before = op->second;

	if (!a->secondary || !op->reads)
		return false;
	/* The try before this one was the primary's, and it has failed. */
	if (w->number > 1 && !before && !op->first_only)
		atomic_store(&a->failing_until_ns,
			     monotonic_ns() + UINT64_C(1000000) * FAILING_MS);
	if (op->first_only)
		return false;
	if (w->number == 1 ? !failing(a) : before)
		return false;
	return sync_time(a) != 0;
}

static int azure_prepare(struct remote_op *op, struct http_wire *w)
{
	struct azure *a = azure_of(op->r);
	int r;

	op->second = take_second(a, op, w);
	r = set_url(a, op->second ? a->creds.secondary : a->creds.endpoint,
		    a->container, op->key, op->query, w);
	return r < 0 ? r : let_in(a, w);
}

/* Not there, or there since too late: the primary knows. */
static bool ask_first(struct azure *a, struct remote_op *op)
{
	if (failing(a))
		return false;
	op->first_only = true;
	return true;
}

static bool azure_again(struct remote_op *op, const struct http_response *h,
			const char *code)
{
	struct azure *a = azure_of(op->r);

	/* A token may end early. */
	if (h->status == 401 && !a->creds.key && !a->creds.sas &&
	    a->bearer_refused && !op->renewed) {
		op->renewed = true;
		a->bearer_refused(a->bearer_ctx);
		return true;
	}
	return op->second && (h->status == 404 || h->status == 403) &&
	       ask_first(a, op);
}

static int azure_judge(struct remote_op *op, const struct http_response *h)
{
	struct azure *a = azure_of(op->r);
	const char *when = http_header(h, "Last-Modified");
	struct tm tm = { 0 };

	if (!op->second) {
		/* It answers again. */
		if (a->secondary)
			atomic_store(&a->failing_until_ns, 0);
		return 0;
	}
	if (!op->key || !when || h->status / 100 != 2 ||
	    !strptime(when, "%a, %d %b %Y %H:%M:%S GMT", &tm) ||
	    (int64_t)timegm(&tm) < sync_time(a))
		return 0;
	return ask_first(a, op) ? 1 : -ENOENT;
}

/* --- lists --- */

static int azure_list_query(struct remote *r, const char *prefix,
			    const char *after, const char *marker, size_t max,
			    bool fold, struct buf *out)
{
	buf_printf(out, "restype=container&comp=list&maxresults=%zu", max);
	if (*prefix) {
		buf_str(out, "&prefix=");
		http_escape(out, prefix, false);
	}
	if (fold)
		buf_str(out, "&delimiter=%2F");
	if (marker) {
		buf_str(out, "&marker=");
		http_escape(out, marker, false);
	}
	return 0;
}

/* Of the copy, only what was there when it was whole. */
static int azure_list_parse(const struct remote_op *op, const char *text,
			    size_t len, struct listing *out)
{
	int r = listing_parse_azure(text, len, out);
	int64_t limit;
	size_t n = 0;

	if (r < 0 || !op->second)
		return r;
	limit = sync_time(azure_of(op->r));
	for (size_t i = 0; i < out->count; i++) {
		struct listing_item x = out->items[i];

		if (x.folder || (x.modified_s && x.modified_s < limit))
			out->items[n++] = x;
		else
			free(x.name);
	}
	out->count = n;
	return 0;
}

/* --- the place --- */

static int azure_make_place(struct remote *r)
{
	DROP(http_response) struct http_response answer = { 0 };
	struct remote_op op = { .r = r, .query = "restype=container" };
	struct http_request q = { .method = "PUT", .what = r->base.url };
	int e = remote_call(&op, &q, &answer);

	if (e < 0)
		return e;
	/* Another has just made it. */
	if (answer.status / 100 == 2 || answer.status == 409)
		return 0;
	return remote_refused(r, r->base.url, &answer);
}

static void azure_release(struct remote *r)
{
	struct azure *a = azure_of(r);

	pthread_mutex_destroy(&a->sync_lock);
	creds_azure_release(&a->creds);
	free(a->container);
	free(a);
}

static const char *const put_fields[] = {
	"Content-Type: application/octet-stream",
	"x-ms-blob-type: BlockBlob",
	"If-None-Match: *",
};

static const struct remote_kind azure_kind = {
	.name = "azure",
	.range_field = "x-ms-range",
	.put_fields = put_fields,
	.nput_fields = ARRAY_SIZE(put_fields),
	.list_max = LIST_MAX,
	.backoff_ms = 4000,
	.prepare = azure_prepare,
	.again = azure_again,
	.judge = azure_judge,
	.by_marker = true,
	.list_query = azure_list_query,
	.list_parse = azure_list_parse,
	.make_place = azure_make_place,
	.release = azure_release,
};

/* --- blobs that are no objects of ours --- */

static struct azure *azure_store(struct store *s)
{
	struct remote *r = container_of(s, struct remote, base);

	return !strncmp(s->url, "az:", 3) && r->kind == &azure_kind
		       ? azure_of(r)
		       : NULL;
}

int store_azure_url(struct store *s, const char *key, struct buf *out)
{
	struct azure *a = azure_store(s);

	if (!a)
		return fail(-ENOTSUP, "%s: it is no container of Azure",
			    s->url);
	buf_printf(out, "%s/%s/", a->creds.endpoint, a->container);
	http_escape(out, a->remote.prefix, true);
	http_escape(out, key, true);
	if (a->creds.sas) {
		buf_u8(out, '?');
		buf_add(out, secret_bytes(a->creds.sas),
			secret_size(a->creds.sas));
	}
	return buf_check(out, "a URL");
}

struct http *store_azure_http(struct store *s)
{
	struct azure *a = azure_store(s);

	return a ? a->remote.http : NULL;
}

int store_azure_let_in(struct store *s, struct http_wire *w)
{
	return let_in(azure_store(s), w);
}

static int check_secondary(const struct azure *a)
{
	if (!a->secondary || a->creds.secondary)
		return 0;
	return fail(-EINVAL,
		    "--secondary: the endpoint of account '%s' does not tell "
		    "where its copy is: name it as BlobSecondaryEndpoint in "
		    "AZURE_STORAGE_CONNECTION_STRING",
		    a->creds.account);
}

int store_open_azure(const char *url, const struct store_options *o,
		     bool writable, struct store **ret)
{
	DROP(remote_url) struct remote_url u = { 0 };
	const struct creds_env *env;
	struct azure *a;
	int r = remote_url_parse(url, "az", 2, &u);

	if (r == 0)
		r = creds_env(&env);
	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (!a)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&a->sync_lock, NULL);
	a->container = take(u.part[1]);
	a->bearer = o->bearer;
	a->bearer_refused = o->bearer_refused;
	a->bearer_ctx = o->bearer_ctx;
	a->secondary = o->secondary;
	r = creds_azure(env, u.part[0], o, &a->creds);
	if (r == 0)
		r = check_secondary(a);
	/* A SAS or a token goes out as it is, a key only signs. */
	a->remote.secret = !a->creds.key;
	if (r == 0)
		r = remote_init(&a->remote, &azure_kind, &u, o, writable);
	if (r < 0) {
		r = blame(r, "%s", u.shown);
		remote_release(&a->remote);
		azure_release(&a->remote);
		return r;
	}
	*ret = &a->remote.base;
	return 0;
}
