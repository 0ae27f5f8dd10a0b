// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The store of S3 and the services like it: an object is put by one conditional
 * PutObject, lists are ListObjectsV2.
 *
 *	s3://BUCKET/PREFIX	https://BUCKET.s3.REGION.amazonaws.com/PREFIX/KEY
 *
 * At another endpoint the bucket is in the path, or where "{bucket}" stands.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/store/creds.h"
#include "backend/store/remote.h"
#include "backend/store/sign_s3.h"

#define URL_MAX 8192
#define LIST_MAX 1000

struct s3 {
	struct remote remote;
	struct creds_s3 creds;
	struct sign_s3 sign;
	char *base; /* URL of the bucket: no slash at its end */
};

static struct s3 *s3_of(struct remote *r)
{
	return container_of(r, struct s3, remote);
}

static int s3_prepare(struct remote_op *op, struct http_wire *w)
{
	struct s3 *s = s3_of(op->r);
	DROP(buf) struct buf url = BUF_INIT(URL_MAX);
	struct digest nothing;
	int r;

	buf_printf(&url, "%s/", s->base);
	if (op->key)
		http_escape(&url, op->key, true);
	if (*op->query)
		buf_printf(&url, "?%s", op->query);
	r = buf_check(&url, "a URL");
	if (r == 0)
		r = http_wire_url(w, buf_cstr(&url));
	if (r < 0)
		return r;
	sha256(NULL, 0, &nothing);
	return sign_s3(w, &s->sign,
		       w->body_len || !digest_is_zero(&op->payload)
			       ? &op->payload
			       : &nothing,
		       time_now_ns());
}

static bool s3_again(struct remote_op *op, const struct http_response *a,
		     const char *code)
{
	/* Another put of the same name is under way; a slow client. */
	return (a->status == 409 &&
		(!strcmp(code, "ConditionalRequestConflict") ||
		 !strcmp(code, "OperationAborted") ||
		 !strcmp(code, "ConcurrentModification"))) ||
	       (a->status == 400 && !strcmp(code, "RequestTimeout"));
}

static int s3_list_query(struct remote *r, const char *prefix,
			 const char *after, const char *marker, size_t max,
			 bool fold, struct buf *out)
{
	size_t n = strlen(after);

	buf_printf(out, "list-type=2&max-keys=%zu", max);
	if (*prefix) {
		buf_str(out, "&prefix=");
		http_escape(out, prefix, false);
	}
	if (fold)
		buf_str(out, "&delimiter=%2F");
	if (n) {
		buf_str(out, "&start-after=");
		http_escape(out, after, false);
		/* All that is in the folder lies before this. */
		if (fold && after[n - 1] == '/')
			buf_str(out, "%7F");
	}
	return 0;
}

static int s3_list_parse(const struct remote_op *op, const char *text,
			 size_t len, struct listing *out)
{
	return listing_parse_s3(text, len, out);
}

/* Amazon wants to be told the region, but for its first one. */
static int s3_make_place(struct remote *r)
{
	struct s3 *s = s3_of(r);
	DROP(http_response) struct http_response answer = { 0 };
	DROP(buf) struct buf body = BUF_INIT(URL_MAX);
	struct store_piece piece;
	struct remote_op op = { .r = r, .query = "" };
	struct http_request q = { .method = "PUT",
				  .what = r->base.url,
				  .pieces = &piece,
				  .npieces = 1 };
	int e;

	if (s->creds.own && strcmp(s->creds.region, "us-east-1") != 0)
		buf_printf(&body,
			   "<CreateBucketConfiguration><LocationConstraint>%s"
			   "</LocationConstraint></CreateBucketConfiguration>",
			   s->creds.region);
	e = buf_check(&body, r->base.url);
	if (e < 0)
		return e;
	piece = (struct store_piece){ body.data, body.len };
	sha256(body.data, body.len, &op.payload);
	e = remote_call(&op, &q, &answer);
	if (e < 0)
		return e;
	/* 409: another has just made it. */
	if (answer.status / 100 == 2 || answer.status == 409)
		return 0;
	return remote_refused(r, r->base.url, &answer);
}

static void s3_release(struct remote *r)
{
	struct s3 *s = s3_of(r);

	creds_s3_release(&s->creds);
	free(s->base);
	free(s);
}

static const char *const put_fields[] = {
	"Content-Type: application/octet-stream",
	"If-None-Match: *",
};

static const struct remote_kind s3_kind = {
	.name = "s3",
	.put_fields = put_fields,
	.nput_fields = ARRAY_SIZE(put_fields),
	.wants_payload = true,
	.removes_nothing = true,
	.list_max = LIST_MAX,
	.backoff_ms = 1000,
	.prepare = s3_prepare,
	.again = s3_again,
	.list_query = s3_list_query,
	.list_parse = s3_list_parse,
	.make_place = s3_make_place,
	.release = s3_release,
};

/* Amazon's certificates are for one name before its own, so not for a bucket
 * with dots. */
static int bucket_url(struct s3 *s, const char *bucket)
{
	const char *e = s->creds.endpoint, *hole = strstr(e, "{bucket}");
	int n;

	if (hole)
		n = asprintf(&s->base, "%.*s%s%s", (int)(hole - e), e, bucket,
			     hole + 8);
	else if (s->creds.own && !strchr(bucket, '.'))
		n = asprintf(&s->base, "https://%s.%s", bucket,
			     e + strlen("https://"));
	else
		n = asprintf(&s->base, "%s/%s", e, bucket);
	if (n < 0) {
		s->base = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

int store_open_s3(const char *url, const struct store_options *o, bool writable,
		  struct store **ret)
{
	DROP(remote_url) struct remote_url u = { 0 };
	const struct creds_env *env;
	struct s3 *s;
	int r = remote_url_parse(url, "s3", 1, &u);

	if (r == 0)
		r = creds_env(&env);
	if (r < 0)
		return r;
	if (o->sas_file || o->secondary)
		return fail(-EINVAL,
			    "%s: --sas-file and --secondary are for "
			    "az: only",
			    u.shown);
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	r = creds_s3(env, o, &s->creds);
	if (r == 0)
		r = bucket_url(s, u.part[0]);
	if (r == 0)
		r = remote_init(&s->remote, &s3_kind, &u, o, writable);
	if (r < 0) {
		r = blame(r, "%s", u.shown);
		remote_release(&s->remote);
		s3_release(&s->remote);
		return r;
	}
	s->sign = (struct sign_s3){ s->creds.region, s->creds.key_id,
				    s->creds.key, s->creds.token };
	*ret = &s->remote.base;
	return 0;
}
