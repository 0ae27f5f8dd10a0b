// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Locks: `lock` protects the windows; not held across I/O. A window is read by one
 * thread while the others that need it wait; readers ahead hold the blob alive by
 * counting themselves in it.
 */
#include "backend/azure/pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define VERSION_FIELD "x-ms-version: 2021-12-02"
#define RANGES_BODY_MAX (16u << 20)
/* Of a window; with more, all of it is taken for data, which only costs. */
#define RANGES_MAX 100000
#define AHEAD 4
#define SIZE_MAX_BLOB (UINT64_C(1) << 46)

enum window_state { WINDOW_UNKNOWN, WINDOW_BUSY, WINDOW_KNOWN, WINDOW_DATA };

struct window {
	enum window_state state;
	struct page_ranges ranges;
};

struct pages {
	struct source base;
	struct http *http;
	struct cache *cache;
	struct pool *pool;
	struct pages_place place;
	char *what, *identity;
	char *etag;
	bool paged; /* has page ranges */

	atomic_uint refs;
	atomic_bool closed;
	atomic_uint_fast64_t last_chunk; /* read last */
	atomic_uint_fast64_t ahead;	 /* chunks before it were asked for */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct window *windows;
	size_t nwindows;
	/* The service did not answer: when that was known, monotonic, and its sentence. */
	uint64_t away_ns;
	struct err_saved away;
};

static struct pages *pages_of(struct source *s)
{
	return container_of(s, struct pages, base);
}

static void pages_unref(struct pages *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	if (p->place.close)
		p->place.close(p->place.ctx);
	for (size_t i = 0; i < p->nwindows; i++)
		page_ranges_release(&p->windows[i].ranges);
	free(p->windows);
	free(p->what);
	free(p->identity);
	free(p->etag);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

DROP_DEFINE(pages, struct pages *, pages_unref)

/* --- requests --- */

struct ask {
	const char *method;
	const char *query;    /* "comp=pagelist", or NULL */
	const char *range;    /* a header line, or NULL */
	const char *previous; /* another, with a secret, or NULL */
	void *into;
	uint64_t off;
	size_t len;
	size_t body_max;
};

static int add_field(const char **fields, size_t n, const char *line)
{
	if (!line)
		return 0;
	fields[n] = line;
	return 1;
}

static int ask_once(struct pages *p, const struct ask *k, const char *url,
		    struct http_response *a)
{
	DROP(buf) struct buf full = SECRET_BUF_INIT(65536);
	DROP(buf) struct buf match = BUF_INIT(1024);
	const char *fields[4] = { VERSION_FIELD };
	size_t n = 1;
	struct http_request q = {
		.method = k->method,
		.what = p->what,
		.fields = fields,
		.prepare = p->place.prepare,
		.ctx = p->place.ctx,
		.into = k->into,
		.len = k->len,
		.off = k->off,
		.range_field = "x-ms-range",
		.body_max = k->body_max,
	};
	int r;

	/* A SAS is kept as it is, to the byte. */
	buf_str(&full, url);
	if (k->query)
		buf_printf(&full, "%c%s", strchr(url, '?') ? '&' : '?',
			   k->query);
	if (p->etag)
		buf_printf(&match, "If-Match: %s", p->etag);
	n += (size_t)add_field(fields, n, p->etag ? buf_cstr(&match) : NULL);
	n += (size_t)add_field(fields, n, k->range);
	n += (size_t)add_field(fields, n, k->previous);
	r = buf_check(&full, "URL");
	if (r)
		return r;
	q.url = buf_cstr(&full);
	q.nfields = n;
	return http_do(p->http, &q, a);
}

static int refused(struct pages *p, const struct http_response *a)
{
	const char *code = http_header(a, "x-ms-error-code");

	switch (a->status) {
	case 412:
	case 304:
		return fail(-ESTALE, "%s: it changed while it was read",
			    p->what);
	case 403:
		return fail(-EACCES, "%s: the storage service refuses (%s)",
			    p->what, code ? code : "403");
	case 404:
		return fail(-ENOENT, "%s: it is not there (any more) (%s)",
			    p->what, code ? code : "404");
	case 416:
		return fail(-EIO, "%s: it is shorter than it was", p->what);
	}
	return fail(-EIO, "%s: the storage service answers %d %s", p->what,
		    a->status, code ? code : "");
}

/* Once more at another address where this one is refused: it may have ended. */
static int ask(struct pages *p, const struct ask *k, struct http_response *a)
{
	unsigned number = 0;

	for (unsigned turn = 0;; turn++) {
		const char *url;
		void *held = NULL;
		int r = p->place.url(p->place.ctx, number, &url, &number,
				     &held);

		if (r)
			return r;
		r = ask_once(p, k, url, a);
		if (p->place.done)
			p->place.done(held);
		if (r)
			return r;
		if (a->status == 200 || a->status == 206)
			return 0;
		if (turn || (a->status != 403 && a->status != 404) ||
		    p->place.prepare)
			return refused(p, a);
		http_response_release(a);
	}
}

/* --- windows: what is hole --- */

static int ask_ranges(struct pages *p, const char *previous, uint64_t from,
		      uint64_t end, struct buf *marker, struct page_ranges *to)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(buf) struct buf query = BUF_INIT(8192);
	char range[80];
	struct ask k = {
		.method = "GET",
		.range = range,
		.previous = previous,
		.body_max = RANGES_BODY_MAX,
	};
	int r;

	snprintf(range, sizeof(range), "x-ms-range: bytes=%" PRIu64 "-%" PRIu64,
		 from, end - 1);
	buf_str(&query, "comp=pagelist");
	if (marker->len) {
		buf_str(&query, "&marker=");
		http_escape(&query, buf_cstr(marker), false);
	}
	r = buf_check(&query, "marker of page ranges");
	if (r)
		return r;
	k.query = buf_cstr(&query);
	r = ask(p, &k, &a);
	if (r)
		return r;
	buf_reset(marker);
	r = page_ranges_parse((char *)a.body.data, a.body.len, from, end,
			      RANGES_MAX, to, marker);
	return r ? blame(r, "%s", p->what) : 0;
}

/* previous: NULL, or the header that asks for what differs. */
static int read_window(struct pages *p, const char *previous, size_t i,
		       struct page_ranges *to)
{
	uint64_t from = i * PAGES_WINDOW;
	uint64_t end = min_u64(from + PAGES_WINDOW, source_size(&p->base));
	DROP(buf) struct buf marker = BUF_INIT(4096);
	int r;

	do {
		r = ask_ranges(p, previous, from, end, &marker, to);
	} while (!r && marker.len);
	return r;
}

/* Makes window i known; others may be at it. */
static int need_window(struct pages *p, size_t i)
{
	DROP(page_ranges) struct page_ranges got = { 0 };
	struct window *w = &p->windows[i];
	uint64_t asked = monotonic_ns();
	bool mine;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	while (!r && w->state == WINDOW_BUSY)
		r = cancel_cond_wait(&p->changed, &p->lock);
	/* Who waited while it was tried for long has waited enough. */
	if (!r && w->state == WINDOW_UNKNOWN && p->away_ns >= asked)
		r = err_load(&p->away);
	mine = !r && w->state == WINDOW_UNKNOWN;
	if (mine)
		w->state = WINDOW_BUSY;
	pthread_mutex_unlock(&p->lock);
	if (!mine)
		return r;

	r = read_window(p, NULL, i, &got);
	pthread_mutex_lock(&p->lock);
	if (r == -EFBIG) {
		log_debug("%s: too many page ranges: read as data", p->what);
		w->state = WINDOW_DATA;
		r = 0;
	} else if (r) {
		w->state = WINDOW_UNKNOWN;
		if (err_is_away(r)) {
			err_save(r, &p->away);
			p->away_ns = monotonic_ns();
		}
	} else {
		w->ranges = got;
		got = (struct page_ranges){ 0 };
		w->state = WINDOW_KNOWN;
	}
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return r;
}

/* Ranges do not change once known: no lock. From off on, within one window. */
static void look(const struct page_ranges *l, uint64_t off, uint64_t max,
		 struct extent *out)
{
	size_t lo = 0, hi = l->count;

	/* The first that ends after off. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->v[mid].off + l->v[mid].len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == l->count) {
		*out = (struct extent){ max, true };
		return;
	}
	out->hole = l->v[lo].off > off;
	out->length = min_u64(max, out->hole
					   ? l->v[lo].off - off
					   : l->v[lo].off + l->v[lo].len - off);
}

static int pages_extent(struct source *s, uint64_t off, uint64_t max,
			struct extent *out)
{
	struct pages *p = pages_of(s);
	size_t i = off / PAGES_WINDOW;
	int r;

	if (!p->paged) {
		*out = (struct extent){ max, false };
		return 0;
	}
	r = need_window(p, i);
	if (r)
		return r;
	max = min_u64(max, (i + 1) * PAGES_WINDOW - off);
	if (p->windows[i].state == WINDOW_DATA)
		*out = (struct extent){ max, false };
	else
		look(&p->windows[i].ranges, off, max, out);
	return 0;
}

/* --- chunks: what is data --- */

struct chunk_wanted {
	struct pages *p;
	uint64_t number;
};

static size_t chunk_size(const struct pages *p, uint64_t number)
{
	return min_u64(PAGES_CHUNK,
		       source_size(&p->base) - number * PAGES_CHUNK);
}

static int read_range(struct pages *p, void *buf, size_t len, uint64_t off)
{
	DROP(http_response) struct http_response a = { 0 };
	struct ask k = { .method = "GET", .into = buf, .len = len, .off = off };

	return ask(p, &k, &a);
}

static int chunk_fill(void *ctx, struct cache_value *out)
{
	const struct chunk_wanted *w = ctx;
	size_t n = chunk_size(w->p, w->number);
	DROP(mem) void *data = malloc(n);
	int r;

	if (!data)
		return fail(-ENOMEM, "no memory for a part of a disk");
	r = read_range(w->p, data, n, w->number * PAGES_CHUNK);
	if (r)
		return r;
	out->data = take(data);
	out->size = n;
	return 0;
}

static void chunk_key(const struct pages *p, uint64_t number,
		      uint8_t key[static CACHE_KEY_SIZE])
{
	DROP(buf) struct buf b = BUF_INIT(8192);

	buf_add(&b, p->identity, strlen(p->identity) + 1);
	buf_add(&b, p->etag, strlen(p->etag) + 1);
	buf_u64(&b, number);
	cache_key("azure-page", b.data, b.len, key);
}

static int chunk_get(struct pages *p, uint64_t number, struct cache_blob **ret)
{
	struct chunk_wanted w = { p, number };
	uint8_t key[CACHE_KEY_SIZE];

	chunk_key(p, number, key);
	return cache_get(p->cache, key, chunk_fill, &w, ret);
}

/* --- reading ahead --- */

struct ahead {
	struct pool_job job;
	struct pages *p;
	uint64_t number;
};

static bool is_hole(struct pages *p, uint64_t number)
{
	size_t n = chunk_size(p, number);
	struct extent e;

	return p->paged &&
	       !pages_extent(&p->base, number * PAGES_CHUNK, n, &e) && e.hole &&
	       e.length == n;
}

static bool is_closed(void *ctx)
{
	return atomic_load(&((struct pages *)ctx)->closed);
}

/* Nobody wants it any more once the disk is closed: a service that is silent must
 * not hold up who waits for the pool to end. */
static void read_ahead(struct pool_job *job)
{
	struct ahead *a = container_of(job, struct ahead, job);
	DROP(cache_blob) struct cache_blob *b = NULL;
	struct cancel before = cancel_set((struct cancel){ is_closed, a->p });

	/* A failure is told to who asks for it. */
	if (!is_closed(a->p) && !is_hole(a->p, a->number) &&
	    chunk_get(a->p, a->number, &b))
		err_clear();
	cancel_set(before);
	pages_unref(a->p);
	free(a);
}

static void submit_ahead(struct pages *p, uint64_t number)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return;
	a->job.work = read_ahead;
	a->p = p;
	a->number = number;
	atomic_fetch_add(&p->refs, 1);
	pool_submit(p->pool, &a->job);
}

/* Who reads one chunk after the other gets the next ones in time. */
static void notice(struct pages *p, uint64_t number)
{
	uint64_t last = atomic_exchange(&p->last_chunk, number);
	uint64_t end = (source_size(&p->base) - 1) / PAGES_CHUNK;
	uint64_t from;

	if (!p->pool || !p->cache || number == last)
		return;
	if (number != last + 1) {
		atomic_store(&p->ahead, number + 1);
		return;
	}
	from = atomic_load(&p->ahead);
	if (from <= number || from > number + AHEAD)
		from = number + 1;
	atomic_store(&p->ahead, number + AHEAD + 1);
	for (; from <= number + AHEAD && from <= end; from++)
		submit_ahead(p, from);
}

/* --- the source --- */

static int read_data(struct pages *p, uint8_t *buf, size_t len, uint64_t off)
{
	if (!p->cache)
		return read_range(p, buf, len, off);
	while (len) {
		DROP(cache_blob) struct cache_blob *b = NULL;
		uint64_t number = off / PAGES_CHUNK;
		size_t in = off % PAGES_CHUNK;
		size_t n = min_u64(len, chunk_size(p, number) - in);
		int r;

		notice(p, number);
		r = chunk_get(p, number, &b);
		if (r)
			return r;
		memcpy(buf, (const uint8_t *)b->data + in, n);
		buf += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int pages_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct pages *p = pages_of(s);
	uint8_t *at = buf;

	while (len) {
		struct extent e;
		int r = pages_extent(s, off, len, &e);

		if (r)
			return r;
		if (e.hole)
			memset(at, 0, e.length);
		else
			r = read_data(p, at, e.length, off);
		if (r)
			return r;
		at += e.length;
		off += e.length;
		len -= e.length;
	}
	return 0;
}

static void pages_close(struct source *s)
{
	struct pages *p = pages_of(s);

	atomic_store(&p->closed, true);
	pages_unref(p);
}

static const struct source_ops pages_ops = {
	.name = "pages",
	.read = pages_read,
	.extent = pages_extent,
	.close = pages_close,
};

/* A service that does not tell when has told nothing. */
static int check_written(const struct pages *p, const struct http_response *a,
			 int64_t not_after_s)
{
	const char *when = http_header(a, "Last-Modified");
	int64_t s;

	if (!not_after_s)
		return 0;
	if (!when || !http_parse_date(when, &s))
		return fail(-EPROTO,
			    "%s: the storage service does not say when it was "
			    "written",
			    p->what);
	if (s > not_after_s)
		return fail(-ESTALE, "%s: it was written to later, on %s",
			    p->what, when);
	return 0;
}

static int read_properties(struct pages *p, int64_t not_after_s)
{
	DROP(http_response) struct http_response a = { 0 };
	struct ask k = { .method = "HEAD" };
	const char *etag, *length, *type;
	uint64_t size;
	int r = ask(p, &k, &a);

	if (!r)
		r = check_written(p, &a, not_after_s);
	if (r)
		return r;
	etag = http_header(&a, "ETag");
	length = http_header(&a, "Content-Length");
	type = http_header(&a, "x-ms-blob-type");
	if (!etag || !length || parse_u64(length, &size))
		return fail(-EPROTO, "%s: no size and ETag in the answer",
			    p->what);
	if (!size || size > SIZE_MAX_BLOB)
		return fail(-EPROTO, "%s: a blob of %s bytes is no disk",
			    p->what, length);
	p->paged = type && !strcmp(type, "PageBlob");
	p->etag = strdup(etag);
	if (!p->etag)
		return fail(-ENOMEM, "out of memory");
	source_init(&p->base, &pages_ops, size);
	p->nwindows = (size + PAGES_WINDOW - 1) / PAGES_WINDOW;
	p->windows = calloc(p->nwindows, sizeof(*p->windows));
	return p->windows ? 0 : fail(-ENOMEM, "out of memory");
}

int source_open_pages(const struct pages_options *o,
		      const struct pages_place *place, struct source **ret)
{
	DROP(pages) struct pages *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		place->close(place->ctx);
		return fail(-ENOMEM, "out of memory");
	}
	atomic_init(&p->refs, 1);
	atomic_init(&p->last_chunk, UINT64_MAX - 1);
	pthread_mutex_init(&p->lock, NULL);
	cancel_cond_init(&p->changed);
	p->place = *place;
	p->http = o->http;
	p->cache = o->cache;
	p->pool = o->pool;
	p->what = strdup(o->what);
	p->identity = strdup(o->identity);
	if (!p->what || !p->identity)
		return fail(-ENOMEM, "out of memory");
	r = read_properties(p, o->not_after_s);
	if (r)
		return r;
	*ret = &take(p)->base;
	return 0;
}

/* --- what differs --- */

static int window_changes(struct pages *p, const char *previous, size_t i,
			  int (*each)(void *ctx, uint64_t off, uint64_t len),
			  void *ctx)
{
	DROP(page_ranges) struct page_ranges got = { 0 };
	int r = read_window(p, previous, i, &got);

	for (size_t k = 0; k < got.count && !r; k++)
		r = each(ctx, got.v[k].off, got.v[k].len);
	return r;
}

static int all_changes(struct pages *p, const struct pages_place *before,
		       int (*each)(void *ctx, uint64_t off, uint64_t len),
		       void *ctx)
{
	int r = 0;

	for (size_t i = 0; i < p->nwindows && !r; i++) {
		DROP(buf) struct buf line = SECRET_BUF_INIT(16384);
		unsigned number = 0;
		void *held = NULL;
		const char *url;

		/* Asked for each time: it may be a long disk. */
		r = before->url(before->ctx, 0, &url, &number, &held);
		if (r)
			return r;
		buf_printf(&line, "x-ms-previous-snapshot-url: %s", url);
		if (before->done)
			before->done(held);
		r = buf_check(&line, "address of a snapshot");
		if (!r)
			r = window_changes(p, buf_cstr(&line), i, each, ctx);
	}
	return r;
}

int pages_changes(const struct pages_options *o,
		  const struct pages_place *place,
		  const struct pages_place *before,
		  int (*each)(void *ctx, uint64_t off, uint64_t len), void *ctx)
{
	DROP(source) struct source *s = NULL;
	int r = source_open_pages(o, place, &s);

	if (!r && !pages_of(s)->paged)
		r = fail(-EIO, "%s: it is no page blob", o->what);
	if (!r)
		r = all_changes(pages_of(s), before, each, ctx);
	before->close(before->ctx);
	return r;
}
