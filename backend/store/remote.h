// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * remote: what the stores of object services have in common. A kind says how a
 * request is addressed and signed, and what its service calls things; meanings,
 * retries, create-only puts and listings are here, once.
 *
 * Any thread, any number at once: the client of http does the waiting, and the
 * rest is fixed when the store is open, but for what is under lock.
 */
#pragma once
#include <stdatomic.h>

#include "backend/base/hash.h"
#include "backend/store/http.h"
#include "backend/store/listing.h"
#include "backend/store/store.h"

#define REMOTE_CURSORS 16
#define REMOTE_PREFIX_MAX 400

struct remote;

/* One request, over all its tries. */
struct remote_op {
	struct remote *r;
	const char *key;   /* whole, with the prefix; NULL: the container */
	const char *query; /* without '?'; "" */
	bool reads;	   /* may be answered by a copy */
	struct digest payload;
	/* The kind's own, between tries. */
	bool second, first_only, renewed;
};

struct remote_kind {
	const char *name;
	const char *range_field;
	const char *const *put_fields;
	size_t nput_fields;
	bool wants_payload; /* digest of what is sent */
	/* A remove of what is not there succeeds. */
	bool removes_nothing;
	unsigned list_max;
	uint64_t backoff_ms;
	/* Sets URL, date, signature of a try. */
	int (*prepare)(struct remote_op *op, struct http_wire *w);
	/* An answer that means "again". Optional. */
	bool (*again)(struct remote_op *op, const struct http_response *a,
		      const char *code);
	/* Judges an answer that is no failure; optional. 1: ask once more, op
	 * says how. -ENOENT: it does not count. */
	int (*judge)(struct remote_op *op, const struct http_response *a);
	/* The query of one page. Either after (a whole key, or "") or marker
	 * is given; by_marker says which the service can do. */
	bool by_marker;
	int (*list_query)(struct remote *r, const char *prefix,
			  const char *after, const char *marker, size_t max,
			  bool fold, struct buf *out);
	int (*list_parse)(const struct remote_op *op, const char *text,
			  size_t len, struct listing *out);
	/* Makes the container; optional. */
	int (*make_place)(struct remote *r);
	void (*release)(struct remote *r);
};

/* Where a listing goes on whose service only knows markers. */
struct remote_cursor {
	char *prefix, *after, *marker; /* prefix NULL: free */
	bool fold;
};

struct remote {
	struct store base;
	const struct remote_kind *kind;
	struct http *http;
	char *prefix; /* "" or "a/b/" */
	bool writable;
	bool secret; /* what lets us in goes out as it is; set before remote_init() */
	pthread_mutex_t lock;
	struct remote_cursor cursors[REMOTE_CURSORS]; /* lock */
	unsigned next_cursor;			      /* lock */
};

/* "az://ACCOUNT/CONTAINER/PREFIX", taken apart; parts: how many there are
 * before the prefix. -EINVAL with a sentence that repeats no secret. */
struct remote_url {
	char *shown; /* without what is superfluous */
	char *part[2];
	char *prefix; /* "" or "a/b/" */
};
int remote_url_parse(const char *url, const char *scheme, size_t parts,
		     struct remote_url *out) MUST_USE;
void remote_url_release(struct remote_url *u);
static inline void drop_remote_url(struct remote_url *u)
{
	remote_url_release(u);
}

/* Takes url's parts; on failure nothing is left. remote_close() of the base
 * frees the whole, by the kind's release first. */
int remote_init(struct remote *r, const struct remote_kind *kind,
		struct remote_url *url, const struct store_options *o,
		bool writable) MUST_USE;
/* Of one whose init has failed, or that was never opened. */
void remote_release(struct remote *r);

/* One request; q has method, what, fields and what is wanted. */
int remote_call(struct remote_op *op, struct http_request *q,
		struct http_response *a) MUST_USE;
/* What an answer that is no success means, as store.h has it. */
int remote_refused(struct remote *r, const char *what,
		   const struct http_response *a) MUST_USE;
void remote_code(const struct http_response *a,
		 char out[static LISTING_CODE_MAX]);

/* Tries what a vault relies on. -ENOTSUP with the reason. */
int remote_probe(struct store *s) MUST_USE;
