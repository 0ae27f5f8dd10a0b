// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * http: requests to servers, over libcurl (this is the one file that knows it).
 *
 * A client is a pool of connections that are kept, HTTP/1.1 or 2, TLS verified,
 * proxies by the usual variables (https_proxy, no_proxy, ...). http_do() is
 * synchronous and for any thread: as many requests are in flight as threads are
 * in it, up to the client's connections; the others wait for their turn. One
 * thread of the client moves the bytes. Redirects are not followed.
 *
 * Tries: a request that failed on the way, or was answered with 408, 429, 500,
 * 502, 503 or 504, is sent again: at once after a connection that broke, else
 * after backoff x (2^(n-1) - 1) with jitter, or what Retry-After says. A body
 * that broke off is asked for from where it broke, with If-Match. All tries
 * together have budget_ms, longer only by what has come at HTTP_RATE_MIN or
 * faster; a host that has never answered, FIRST_MS. Then it is -EAGAIN with the
 * last cause. cancel_asked() ends the waiting within a fraction of a second
 * (a request that writes, after HTTP_WRITE_GRACE_MS: nobody would know whether
 * it happened).
 *
 * Errors: -EAGAIN retries spent, -ECANCELED, -EPROTO the server broke the
 * protocol (another range than asked, more bytes than announced...), -ENXIO there
 * is no way to it (a certificate that is not trusted, a URL of no host), -EFBIG a body over its maximum, -ESTALE the object
 * changed between two parts of one body, -ENOMEM, -EINVAL. Every other answer of
 * the server is a success here, with its status. No sentence and no log line has
 * a URL's query, a header or a body; they name the request as `what` has it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/buf.h"
#include "backend/base/scope.h"
#include "backend/base/secret.h"
#include "backend/store/store.h"

/* Slower than this many bytes a second is as good as not answering. */
#define HTTP_RATE_MIN 1024
#define HTTP_WRITE_GRACE_MS 3000
#define HTTP_FIELDS_MAX 32
#define HTTP_HEAD_MAX (64u << 10)

struct http;

/* Zero: the value in brackets. */
struct http_options {
	const char *ca_file; /* PEM of the authorities; [the system's] */
	bool direct;	     /* never by a proxy */
	/* Its requests have secrets in their URL or fields, or in the answers:
	 * whatever held them is wiped when they are done. HTTP/1.1 only. */
	bool secret;
	unsigned connections; /* at a time to one host [64] */
	uint64_t connect_ms;  /* [10000] */
	uint64_t stall_ms;    /* without HTTP_RATE_MIN [30000] */
	uint64_t budget_ms;   /* [60000] */
	uint64_t first_ms;    /* budget of a host never seen [15000] */
	uint64_t backoff_ms;  /* [1000] */
};

/* The options are copied. Not across a fork(). */
int http_new(const struct http_options *o, struct http **ret) MUST_USE;
/* No request may be in flight. */
void http_free(struct http *h);
DROP_DEFINE(http, struct http *, http_free)

struct http_field {
	char *name, *value;
};

/* One try as it goes out: what the request has, and what prepare() changes. */
struct http_wire {
	const char *method;
	char *url;
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t nfields;
	uint64_t body_len; /* of what is sent */
	unsigned number;   /* of the try, from 1 */
};
/* Replaces one of the same name (compared without case). A name or value with a
 * control character is -EINVAL. */
int http_wire_set(struct http_wire *w, const char *name,
		  const char *value) MUST_USE;
/* NULL if it is not there. */
const char *http_wire_get(const struct http_wire *w, const char *name);
int http_wire_url(struct http_wire *w, const char *url) MUST_USE;

struct http_response {
	int status;
	unsigned tries;
	uint64_t total;	 /* of a range: the object's whole size; UINT64_MAX:
			   not told */
	struct buf head; /* http_header() reads it */
	/* What came, at most body_max (wiped, of a secret client); of a failure's explanation (status >=
	 * 400) the first 64 KiB. Empty for a range, which is in `into`. */
	struct buf body;
	/* Of a secret request, instead of the body of a success. */
	struct secret *locked;
	size_t locked_len;
};
/* NULL if it is not there. Of several, the first. */
const char *http_header(const struct http_response *a, const char *name);
void http_response_release(struct http_response *a);
static inline void drop_http_response(struct http_response *a)
{
	http_response_release(a);
}

struct http_request {
	const char *method; /* "GET" */
	/* For sentences and logs, without secrets: "az://a/c: list". */
	const char *what;
	const char *url; /* http: or https:; escaped; may hold a SAS */
	const char *const *fields; /* "Name: value" */
	size_t nfields;
	/* Called before each try, in the caller's thread: adds what is good for
	 * one try only (a date, a signature, a bearer), or takes another host.
	 * Range and If-Match are there already. */
	int (*prepare)(void *ctx, struct http_wire *w);
	/* Of an answer that is not retried by its status alone: is it all the
	 * same one that means "again"? Optional. */
	bool (*again)(void *ctx, const struct http_response *a);
	void *ctx;

	/* The body that is sent, borrowed; a POST or PUT without one has
	 * length 0. */
	const struct store_piece *pieces;
	size_t npieces;

	/*
	 * What is wanted: exactly [off, off+len) into `into` when len is not 0,
	 * else a body of at most body_max bytes. The range goes out in the
	 * header that range_field names ["Range"]; a status of 206 is then sure
	 * to have brought all of it, and 416 says that the object is shorter
	 * (also where the server itself sends what there is).
	 */
	void *into;
	size_t len;
	uint64_t off;
	const char *range_field;
	size_t body_max;
	/* A GET whose body is the bytes of an object: when it breaks off it is
	 * resumed, if there is an ETag, rather than begun anew. A range always
	 * is. */
	bool resume;
	/* Not sent again where it may have had its effect (a POST that is not
	 * idempotent): only if it cannot have reached the server, or was
	 * answered 429 or 503. */
	bool once;
	/* What comes may be a key (body_max is at most SECRET_MAX then): it is
	 * in locked memory, and what libcurl and OpenSSL had of it is wiped; a
	 * connection of its own, unless all of the client's are such. */
	bool secret;
	/* Instead of the client's; 0: that. */
	uint64_t budget_ms;
};

/* 0 with the answer, whose memory the caller releases; on failure *a is empty
 * (a range's bytes in `into` are then whatever came). */
int http_do(struct http *h, const struct http_request *q,
	    struct http_response *a) MUST_USE;

/* What was measured, of all requests so far. */
struct http_traffic {
	uint64_t requests; /* sent, tries included */
	uint64_t retries;
	uint64_t bytes_in, bytes_out; /* bodies */
	/* From a request's end to the first byte of its answer: smoothed as TCP
	 * does it (1/8), over answers to reads; 0: none yet. */
	uint64_t wait_ns;
};
void http_traffic(struct http *h, struct http_traffic *out);
unsigned http_connections(const struct http *h);

/* Appends text escaped for a URL (RFC 3986: all but letters, digits, -._~);
 * '/' stays where slash says so. */
void http_escape(struct buf *b, const char *text, bool slash);
/* Such a date as Unix seconds; false: it is none. */
bool http_parse_date(const char *text, int64_t *seconds);
/* "Sun, 22 Nov 2026 01:00:00 GMT" of now, for Date and x-ms-date. */
#define HTTP_DATE_SIZE 48
void http_date(int64_t ns, char out[static HTTP_DATE_SIZE]);
