// SPDX-License-Identifier: GPL-3.0-or-later
/* The part of http that judges what comes: is it what was asked for? */
#include "backend/store/http_impl.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"

/* Of an answer that says which part of the object it has. */
static int judge_part(struct http_take *t, uint64_t from)
{
	const char *text = http_header(t->a, "Content-Range");
	const char *length = http_header(t->a, "Content-Length");
	const char *etag = http_header(t->a, "ETag");
	uint64_t end = t->q->len ? t->q->off + t->q->len : UINT64_MAX;
	struct http_range g;

	/* Azurite, at the very end of an object ("bytes 0--1/0"). */
	if (length && !strcmp(length, "0")) {
		if (text && http_parse_range(text, &g))
			t->a->total = g.total;
		t->a->status = 416;
		t->explain = true;
		return 0;
	}
	if (!text || !http_parse_range(text, &g))
		return fail(-EPROTO,
			    "%s: the server sent a part of it and did "
			    "not say which",
			    t->q->what);
	t->a->total = g.total;
	if (t->etag && etag && strcmp(etag, t->etag) != 0)
		return fail(-ESTALE, "%s: it changed while it was read",
			    t->q->what);
	if (t->q->len && g.total != UINT64_MAX && g.total < end) {
		t->a->status = 416;
		t->explain = true;
		return 0;
	}
	if (!t->q->len)
		end = g.total;
	if (!g.placed || g.first != from || end == UINT64_MAX ||
	    g.last != end - 1)
		return fail(-EPROTO,
			    "%s: the server sent another part of it "
			    "than was asked",
			    t->q->what);
	return 0;
}

int http_take_head(struct http_take *t, int status)
{
	const char *etag = http_header(t->a, "ETag");
	int r = 0;

	t->a->status = status;
	t->explain = status >= 300;
	if (t->explain)
		return 0;
	if (t->q->len || t->got) {
		if (status != 206)
			return fail(-EPROTO,
				    "%s: the server does not send a "
				    "part of it: it answered %d",
				    t->q->what, status);
		r = judge_part(t, t->q->off + t->got);
	} else if (status == 206) {
		return fail(-EPROTO,
			    "%s: the server sent a part of it where "
			    "all was asked",
			    t->q->what);
	}
	if (r == 0 && !t->etag && etag) {
		t->etag = strdup(etag);
		if (!t->etag)
			return fail(-ENOMEM, "out of memory");
	}
	return r;
}

static int too_big(const struct http_request *q)
{
	return fail(-EFBIG, "%s: larger than its maximum of %zu bytes", q->what,
		    q->body_max);
}

int http_take_length(const struct http_take *t, uint64_t len)
{
	if (t->explain || t->q->len || len + t->got <= t->q->body_max)
		return 0;
	return too_big(t->q);
}

int http_take_body(struct http_take *t, const char *p, size_t n)
{
	struct buf *body = &t->a->body;

	if (t->explain) {
		size_t room = HTTP_EXPLANATION_MAX -
			      min_u64(body->len, HTTP_EXPLANATION_MAX);

		buf_add(body, p, min_u64(n, room));
		return body->no_memory ? fail(-ENOMEM, "out of memory") : 0;
	}
	if (t->q->len) {
		if (n > t->q->len - t->got)
			return fail(-EPROTO,
				    "%s: the server sent more than "
				    "was asked",
				    t->q->what);
		memcpy((char *)t->q->into + t->got, p, n);
	} else {
		if (n > t->q->body_max - t->got)
			return too_big(t->q);
		if (t->a->locked)
			memcpy(secret_bytes(t->a->locked) + t->got, p, n);
		else
			buf_add(body, p, n);
		if (body->failed)
			return buf_check(body, t->q->what);
	}
	t->got += n;
	return 0;
}

void http_take_again(struct http_take *t)
{
	bool keep = t->q->len || (t->q->resume && t->etag);

	buf_reset(&t->a->head);
	t->a->status = 0;
	if (t->a->total != UINT64_MAX)
		t->a->total = UINT64_MAX;
	if (!keep) {
		t->got = 0;
		free(take(t->etag));
	}
	if (t->q->len || !keep)
		buf_reset(&t->a->body);
	else
		/* An explanation may stand after what is kept. */
		t->a->body.len = t->got;
}
