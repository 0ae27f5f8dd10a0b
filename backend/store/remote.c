// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/store/remote_impl.h"

#define CONNECTIONS 64
#define PUT_TRIES 8

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
	char what[REMOTE_WHAT_MAX];
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
	remote_list_release(r);
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
				   .secret = r->secret,
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
