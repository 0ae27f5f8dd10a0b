// SPDX-License-Identifier: GPL-3.0-or-later
/* What http.c and http_wire.c share; nobody else includes it. */
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
