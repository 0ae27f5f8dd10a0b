// SPDX-License-Identifier: GPL-3.0-or-later
/* What http.c, http_wire.c and http_take.c share; nobody else includes it. */
#pragma once
#include "backend/store/http.h"

int http_wire_init(struct http_wire *w, const struct http_request *q) MUST_USE;
void http_wire_release(struct http_wire *w);
static inline void drop_http_wire(struct http_wire *w)
{
	http_wire_release(w);
}

/* Adds one line of an answer's head to it, as http_header() wants it. */
void http_head_line(struct buf *head, const char *line, size_t len);

/* "bytes 0-511/1024", "bytes 0-511/" "*", "bytes " "*" "/1024". */
struct http_range {
	bool placed; /* first and last are told */
	uint64_t first, last;
	uint64_t total; /* UINT64_MAX: not told */
};
bool http_parse_range(const char *text, struct http_range *out);

/* "host:port" of a URL, for sentences: no user, no path. */
void http_host(const char *url, char *out, size_t size);

/* Milliseconds to wait before the next try after `failed` failures; after is
 * the Retry-After header or NULL, dice a random number. */
uint64_t http_backoff_ms(uint64_t unit, unsigned failed, bool broke,
			 const char *after, int64_t now_ns, uint32_t dice);

#define HTTP_EXPLANATION_MAX (64u << 10)

/* One answer that is being put together, over all the tries of a request. */
struct http_take {
	const struct http_request *q;
	struct http_response *a;
	uint64_t got; /* bytes of the body that are kept */
	char *etag;   /* of the object whose bytes they are; to be freed */
	bool explain; /* the body only explains a failure */
};
/* The head is whole, in a->head: a->status, and whether the body is taken. Errors as
 * http_do()'s. */
int http_take_head(struct http_take *t, int status) MUST_USE;
/* A body of so many bytes is announced. */
int http_take_length(const struct http_take *t, uint64_t len) MUST_USE;
int http_take_body(struct http_take *t, const char *p, size_t n) MUST_USE;
/* What a new try must not find: the rest of the one before. */
void http_take_again(struct http_take *t);
