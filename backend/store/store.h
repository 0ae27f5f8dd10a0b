// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * store: named immutable objects.
 *
 * A key is 1 to 1000 bytes of [A-Za-z0-9._%~-] in components split by '/'; no
 * component is empty, "." or "..", and the first is not "tmp" (the directory
 * store's own). No key is a folder of another. An object is at most
 * STORE_OBJECT_MAX bytes, becomes visible whole or not at all, and is never
 * changed once visible.
 *
 * Meanings are fixed: -ENOENT no such object, -EACCES, -EROFS, -EEXIST the
 * create-only put lost (another object with other bytes has the name), -ENOSPC,
 * -ESTALE the object changed,
 * -EAGAIN retries spent, -EPROTO the server broke the protocol, -EIO the medium
 * failed, or (from read) the object is shorter than the range that was asked.
 * -ENXIO: the store itself is not there (directory gone, server unreachable), told apart from
 * an object that is not there; from the calls that can tell.
 *
 * Any thread, any number at once. Borrowed by those who read through it; the
 * one who opened it closes it last.
 */
#pragma once
#include "backend/base/scope.h"
#include "backend/base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_OBJECT_MAX (64u << 20)
#define STORE_KEY_MAX 1000
#define STORE_LIST_MAX 5000

struct store;

/* One page of a listing, sorted bytewise by key. Freed by
 * store_list_release(). */
struct store_list {
	struct store_entry {
		char *key;     /* whole key; ends in '/' for a common prefix */
		uint64_t size; /* 0 for a common prefix */
	} * entries;
	size_t count;
	bool more; /* there may be more after the last entry */
};

/* A piece of an object to be put. */
struct store_piece {
	const void *data;
	size_t len;
};

/* What was measured of a store that is reached over a network. */
struct store_traffic {
	/* Requests in flight that are useful; 0: the store is local, and has
	 * nothing below. */
	unsigned parallel;
	/* From a request to the first byte of its answer, smoothed over the
	 * last few; 0: none yet. */
	uint64_t wait_ns;
	uint64_t requests, retries;   /* so far; tries are requests */
	uint64_t bytes_in, bytes_out; /* of bodies, so far */
};

struct store_ops {
	const char *name;
	int (*stat)(struct store *s, const char *key, uint64_t *size);
	int (*read)(struct store *s, const char *key, void *buf, size_t len,
		    uint64_t off);
	int (*get)(struct store *s, const char *key, size_t max,
		   struct buf *out);
	int (*put)(struct store *s, const char *key,
		   const struct store_piece *pieces, size_t npieces);
	/* As put; optional: without it put is as good. */
	int (*put_whole)(struct store *s, const char *key,
			 const struct store_piece *pieces, size_t npieces);
	int (*barrier)(struct store *s);
	int (*list)(struct store *s, const char *prefix, const char *after,
		    size_t max, bool fold, struct store_list *out);
	int (*remove)(struct store *s, const char *key);
	/* Optional: without it the store is local. */
	void (*traffic)(struct store *s, struct store_traffic *out);
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	char *url; /* for messages; no secrets */
	/* A put is durable on return; else only after the next barrier, and an
	 * object put before a power failure without one may come back torn. */
	bool durable_puts;
	/* A round trip costs more than copying what it brings: its readers ask for much
	 * at once and ahead of time, and its writers have many puts on their way. Set by
	 * the opener, after store_init(). */
	bool remote;
};

struct http_wire;

/* How a store is reached; zeros and NULLs are what is usual. Borrowed during
 * the call, and what bearer needs as long as the store is open. */
struct store_options {
	const char *endpoint; /* another service than the vendor's own */
	const char *ca_file;  /* authorities of its certificate */
	const char *sas_file; /* Azure: a file that holds a SAS */
	bool secondary;	      /* Azure: read the secondary copy as well */
	uint64_t budget_ms;   /* how long a request is tried */
	uint64_t backoff_ms;  /* unit of the waits between tries */
	uint64_t stall_ms;    /* how long nothing may come */
	/* Azure, where no key and no SAS is found: sets Authorization ("Bearer
	 * ...") of one try, by a token for https://storage.azure.com/. Any
	 * thread; may take long. refused: the last token was not taken (401),
	 * and another is asked for next; optional. */
	int (*bearer)(void *ctx, struct http_wire *w);
	void (*bearer_refused)(void *ctx);
	void *bearer_ctx;
};

/*
 * Opens the store a VAULT argument names: "dir:PATH", or a PATH;
 * "az://ACCOUNT/CONTAINER[/PREFIX]"; "s3://BUCKET[/PREFIX]". Anything else with
 * a scheme is -EINVAL, and so is a URL with a query or a password, which is not
 * repeated in the sentence. A directory must exist (-ENXIO with its sentence);
 * of a remote store nothing is asked yet. writable false: every put and remove
 * is -EROFS. o may be NULL.
 */
int store_open_with(const char *url, const struct store_options *o,
		    bool writable, struct store **ret) MUST_USE;
int store_open(const char *url, bool writable, struct store **ret) MUST_USE;
/* Makes the place itself (the directory, 0700; the container or bucket) if it
 * is not there, and opens it writable. A remote one is tried with
 * small objects below tmp/: -ENOTSUP if it does not do what a vault relies on,
 * with the reason. */
int store_create_with(const char *url, const struct store_options *o,
		      struct store **ret) MUST_USE;
int store_create(const char *url, struct store **ret) MUST_USE;
/* The name of a vault there when none is given: the last part of the URL, or of
 * the path that it leads to; to be freed by the caller. */
int store_url_name(const char *url, char **ret) MUST_USE;

const char *store_url(const struct store *s);
int store_stat(struct store *s, const char *key, uint64_t *size) MUST_USE;
/* Exactly [off, off+len) into buf; len >= 1. One request. */
int store_read(struct store *s, const char *key, void *buf, size_t len,
	       uint64_t off) MUST_USE;
/* The whole object appended to out, -EFBIG if it is over max bytes. One
 * request. */
int store_get(struct store *s, const char *key, size_t max,
	      struct buf *out) MUST_USE;
/*
 * Creates; never replaces. An object of the same bytes already there is success
 * (a lost answer is settled by reading back); one of other bytes is -EEXIST.
 */
int store_put(struct store *s, const char *key, const void *data,
	      size_t len) MUST_USE;
int store_putv(struct store *s, const char *key,
	       const struct store_piece *pieces, size_t npieces) MUST_USE;
/*
 * The same, but a power failure leaves all of it or nothing, never a torn
 * object, also where puts are not durable: for an object whose being there
 * decides (a commit, a config). Durable only after the next barrier all the
 * same.
 */
int store_put_whole(struct store *s, const char *key, const void *data,
		    size_t len) MUST_USE;
/* All that was put before it (by this opener) is durable on return. A barrier
 * that failed once fails for ever: the session that used it must end. */
int store_barrier(struct store *s) MUST_USE;
/*
 * At most max entries (1..5000) whose key starts with prefix and is greater
 * than after ("" for the start). fold: keys that have a '/' after the prefix
 * are folded into one entry ending in that '/', as object stores do with a
 * delimiter. A page may be short, but one that says more is not empty: one goes
 * on after its last entry. A folder that has no objects (any more) may show.
 */
int store_list(struct store *s, const char *prefix, const char *after,
	       size_t max, bool fold, struct store_list *out) MUST_USE;
void store_list_release(struct store_list *l);
/* -ENOENT if it is not there. Not durable by itself: after a power failure the
 * object may be there again. */
int store_remove(struct store *s, const char *key) MUST_USE;
void store_traffic(struct store *s, struct store_traffic *out);
void store_close(struct store *s);

/* For implementations; store_init() copies url. */
/* One component of a key (or a name found in a directory) is as it must be. */
bool store_component_ok(const char *name, size_t len);
/* Appends the first len bytes of key. -ENOMEM. */
int store_list_add(struct store_list *l, const char *key, size_t len,
		   uint64_t size) MUST_USE;
int store_init(struct store *s, const struct store_ops *ops, const char *url,
	       bool durable_puts) MUST_USE;
void store_release(struct store *s);

DROP_DEFINE(store, struct store *, store_close)

static inline void drop_store_list(struct store_list *l)
{
	store_list_release(l);
}

/* The implementations' own openers, for store_open() and tests. */
int store_open_dir(const char *path, bool writable,
		   struct store **ret) MUST_USE;
int store_create_dir(const char *path, struct store **ret) MUST_USE;
/* url: from "az:", or "s3:", on. */
int store_open_azure(const char *url, const struct store_options *o,
		     bool writable, struct store **ret) MUST_USE;
int store_open_s3(const char *url, const struct store_options *o, bool writable,
		  struct store **ret) MUST_USE;
/* Is this a name that store_put() takes? */
bool store_key_ok(const char *key);
