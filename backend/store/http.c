// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The client: callers build a try, hand it to the client's thread, and wait for
 * its end. The thread owns the multi handle, and a try from when it takes it
 * out of the queue until it marks it as ended; what a try has found out is
 * judged in the caller's thread.
 *
 *	http_do: prepare -> queue -> [thread: run] -> judge -> again, or done
 *
 * Locks: http.lock alone, never held across I/O.
 */
#include "backend/store/http_try.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define CONNECTIONS 64
#define CONNECT_MS 10000
#define STALL_MS 30000
#define BUDGET_MS 60000
#define FIRST_MS 15000
#define BACKOFF_MS 1000
/* A try that is begun has at least so long. */
#define TRY_MIN_MS 1000
#define BUFFER_SIZE (512L << 10)
#define SECRET_BUFFER_SIZE (64L << 10)
/* How often a waiting caller asks whether it is still wanted. */
#define ASK_MS 50

struct http {
	struct http_options o; /* with no zeros */
	char *ca_file;
	CURLM *multi; /* the thread's */
	pthread_t thread;
	bool started;
	atomic_bool seen; /* some host has answered */

	pthread_mutex_t lock;
	pthread_cond_t ended;	      /* some try ended */
	struct attempt *first, *last; /* lock; the queue */
	struct attempt *running;      /* lock; a list */
	unsigned nrunning;	      /* lock */
	bool ending;		      /* lock */
	struct http_traffic counts;   /* lock */
};

static bool is_secret(const struct attempt *y)
{
	return y->t->take.q->secret || y->t->h->o.secret;
}

/* --- callbacks, in the client's thread --- */

static int refuse(struct attempt *y, int r)
{
	err_save(r, &y->said);
	y->verdict = r;
	return r;
}

static size_t on_head(char *line, size_t size, size_t n, void *arg)
{
	struct attempt *y = arg;
	struct http_response *a = y->t->take.a;

	n *= size;
	if (n >= 5 && !memcmp(line, "HTTP/", 5)) {
		/* The one before was 1xx, or a proxy's. */
		buf_reset(&a->head);
		y->whole_head = false;
		return n;
	}
	y->whole_head |= *line == '\r' || *line == '\n';
	http_head_line(&a->head, line, n);
	if (a->head.failed) {
		refuse(y, buf_check(&a->head, "the head of an answer"));
		return 0;
	}
	return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct attempt *y = arg;
	int r = 0;

	n *= size;
	if (!y->judged) {
		r = http_judge_head(y);
		/* Announced as too long: none of it is waited for. */
		if (r == 0) {
			curl_off_t whole = -1;

			curl_easy_getinfo(y->easy,
					  CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
					  &whole);
			if (whole > 0)
				r = http_take_length(&y->t->take,
						     (uint64_t)whole);
		}
	}
	if (r == 0)
		r = http_take_body(&y->t->take, p, n);
	/* It is libcurl's own buffer. */
	if (is_secret(y))
		explicit_bzero(p, n);
	if (r < 0) {
		refuse(y, r);
		return 0;
	}
	return n;
}

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *arg)
{
	curl_tls_forget(ssl_ctx);
	return CURLE_OK;
}

static size_t on_send(char *p, size_t size, size_t n, void *arg)
{
	struct attempt *y = arg;
	const struct http_request *q = y->t->take.q;
	size_t done = 0;

	n *= size;
	while (done < n && y->piece < q->npieces) {
		const struct store_piece *x = &q->pieces[y->piece];
		size_t part = min_u64(n - done, x->len - y->at);

		if (part)
			memcpy(p + done, (const char *)x->data + y->at, part);
		done += part;
		y->at += part;
		if (y->at == x->len) {
			y->piece++;
			y->at = 0;
		}
	}
	return done;
}

/*
 * Counts what goes out: a request that found its kept connection dead is sent
 * again by libcurl itself, and whoever removes something must know. Nothing of
 * it is kept.
 */
static int on_debug(CURL *easy, curl_infotype type, char *data, size_t n,
		    void *arg)
{
	struct attempt *y = arg;

	if (type == CURLINFO_HEADER_OUT &&
	    !(n > 8 && !memcmp(data, "CONNECT ", 8)))
		y->times++;
	return 0;
}

/* libcurl rewinds when a kept connection turns out to be dead. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
	struct attempt *y = arg;

	if (origin != SEEK_SET || off != 0)
		return CURL_SEEKFUNC_CANTSEEK;
	y->piece = y->at = 0;
	return CURL_SEEKFUNC_OK;
}

/* --- the client's thread --- */

static void finish(struct attempt *y, CURLcode code)
{
	struct http *h = y->t->h;
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	for (struct attempt **p = &h->running; *p; p = &(*p)->next) {
		if (*p == y) {
			*p = y->next;
			h->nrunning--;
			break;
		}
	}
	y->code = code;
	y->done = true;
	pthread_cond_broadcast(&h->ended);
}

/* The next in the queue that may run, NULL if none. */
static struct attempt *dequeue(struct http *h)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);
	struct attempt *y = h->first;

	if (!y || h->nrunning >= h->o.connections)
		return NULL;
	h->first = y->next;
	if (!h->first)
		h->last = NULL;
	y->next = h->running;
	h->running = y;
	h->nrunning++;
	y->is_running = true;
	y->began_ns = monotonic_ns();
	return y;
}

/* One that runs and is not wanted any more. */
static struct attempt *dropped(struct http *h)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	for (struct attempt *y = h->running; y; y = y->next)
		if (y->drop)
			return y;
	return NULL;
}

static void turn(struct http *h)
{
	struct attempt *y;
	CURLMsg *m;
	int n;

	while ((y = dropped(h))) {
		curl_multi_remove_handle(h->multi, y->easy);
		finish(y, CURLE_ABORTED_BY_CALLBACK);
	}
	while ((y = dequeue(h)))
		if (curl_multi_add_handle(h->multi, y->easy) != CURLM_OK)
			finish(y, CURLE_OUT_OF_MEMORY);
	curl_multi_perform(h->multi, &n);
	while ((m = curl_multi_info_read(h->multi, &n))) {
		CURLcode code = m->data.result;
		CURL *easy = m->easy_handle;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&y);
		curl_multi_remove_handle(h->multi, easy);
		finish(y, code);
	}
}

static bool nothing_left(struct http *h)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	return h->ending && !h->first && !h->running;
}

static bool may_start(struct http *h)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	return h->first && h->nrunning < h->o.connections;
}

static void *client_main(void *arg)
{
	struct http *h = arg;

	curl_wiping(h->o.secret);
	while (!nothing_left(h)) {
		turn(h);
		if (!may_start(h))
			curl_multi_poll(h->multi, NULL, 0, 1000, NULL);
	}
	return NULL;
}

/* --- one try, in the caller's thread --- */

static void attempt_release(struct attempt *y)
{
	curl_wiping(is_secret(y));
	curl_easy_cleanup(y->easy);
	curl_slist_free_all(y->list);
	curl_wiping(false);
	http_wire_release(&y->wire);
}

static void drop_attempt(struct attempt *y)
{
	attempt_release(y);
}

static int add_line(struct attempt *y, const char *line)
{
	struct curl_slist *more = curl_slist_append(y->list, line);

	if (!more)
		return fail(-ENOMEM, "out of memory");
	y->list = more;
	return 0;
}

static int add_fields(struct attempt *y)
{
	/* Waiting for "100 Continue" would cost a round trip. */
	int r = add_line(y, "Expect:");

	for (size_t i = 0; r == 0 && i < y->wire.nfields; i++) {
		const struct http_field *f = &y->wire.fields[i];
		DROP(buf)
		struct buf line = SECRET_BUF_INIT(HTTP_HEAD_MAX);

		/* asprintf() would leave pieces of it behind. */
		buf_str(&line, f->name);
		buf_str(&line, *f->value ? ": " : ";");
		buf_str(&line, f->value);
		r = buf_check(&line, "a header");
		if (!r)
			r = add_line(y, buf_cstr(&line));
	}
	return r;
}

/* Where the next try begins, and that it must be of the same object. */
static int set_range(struct attempt *y)
{
	struct transfer *t = y->t;
	const struct http_request *q = t->take.q;
	char text[64];
	int r;

	if (q->len)
		snprintf(text, sizeof(text), "bytes=%llu-%llu",
			 (unsigned long long)(q->off + t->take.got),
			 (unsigned long long)(q->off + q->len - 1));
	else if (t->take.got)
		snprintf(text, sizeof(text), "bytes=%llu-",
			 (unsigned long long)t->take.got);
	else
		return 0;
	r = http_wire_set(&y->wire, q->range_field ? q->range_field : "Range",
			  text);
	if (r == 0 && t->take.got && t->take.etag &&
	    !http_wire_get(&y->wire, "If-Match"))
		r = http_wire_set(&y->wire, "If-Match", t->take.etag);
	return r;
}

static uint64_t rate_ms(uint64_t bytes)
{
	return bytes * 1000 / HTTP_RATE_MIN;
}

static uint64_t spent_ms(const struct transfer *t)
{
	return (monotonic_ns() - t->start_ns) / 1000000;
}

/* Milliseconds that are left for all further tries. */
static uint64_t left_ms(const struct transfer *t)
{
	uint64_t budget = t->take.q->budget_ms ? t->take.q->budget_ms
					       : t->h->o.budget_ms;
	uint64_t spent = spent_ms(t);

	if (!atomic_load(&t->h->seen))
		budget = min_u64(budget, t->h->o.first_ms);
	budget += t->came_ms + t->sent_ms;
	return spent < budget ? budget - spent : 0;
}

static void set_limits(struct attempt *y, uint64_t left)
{
	const struct transfer *t = y->t;
	const struct http_options *o = &t->h->o;
	uint64_t ahead = t->take.q->len ? t->take.q->len : t->take.q->body_max;
	uint64_t ms = left + rate_ms(ahead + y->wire.body_len) + 1;

	curl_easy_setopt(y->easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)min_u64(o->connect_ms, left + 1));
	curl_easy_setopt(y->easy, CURLOPT_TIMEOUT_MS,
			 (long)min_u64(ms, INT32_MAX));
	curl_easy_setopt(y->easy, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_RATE_MIN);
	curl_easy_setopt(y->easy, CURLOPT_LOW_SPEED_TIME,
			 (long)(min_u64(o->stall_ms, left + 999) + 999) / 1000);
}

static void set_body(struct attempt *y)
{
	const struct http_request *q = y->t->take.q;
	bool writes = !strcmp(q->method, "PUT") || !strcmp(q->method, "POST") ||
		      !strcmp(q->method, "PATCH");

	if (q->npieces || writes) {
		curl_easy_setopt(y->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(y->easy, CURLOPT_INFILESIZE_LARGE,
				 (curl_off_t)y->wire.body_len);
		curl_easy_setopt(y->easy, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(y->easy, CURLOPT_READDATA, y);
		curl_easy_setopt(y->easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(y->easy, CURLOPT_SEEKDATA, y);
	}
	if (!strcmp(q->method, "HEAD"))
		curl_easy_setopt(y->easy, CURLOPT_NOBODY, 1L);
	else if (strcmp(q->method, "GET") != 0)
		curl_easy_setopt(y->easy, CURLOPT_CUSTOMREQUEST, q->method);
}

/* HTTP/2 would have more copies of it. */
static void set_secret(struct attempt *y)
{
	if (!y->t->h->o.secret) {
		curl_easy_setopt(y->easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(y->easy, CURLOPT_FORBID_REUSE, 1L);
	}
	/* All of it is wiped: no more than is used. */
	curl_easy_setopt(y->easy, CURLOPT_UPLOAD_BUFFERSIZE,
			 SECRET_BUFFER_SIZE);
	curl_easy_setopt(y->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	if (curl_has_openssl())
		curl_easy_setopt(y->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
}

static int attempt_make(struct attempt *y, uint64_t left)
{
	const struct http_request *q = y->t->take.q;
	int r = http_wire_init(&y->wire, q);

	y->wire.number = y->t->take.a->tries;
	if (r == 0)
		r = set_range(y);
	if (r == 0 && q->prepare)
		r = q->prepare(q->ctx, &y->wire);
	if (r == 0)
		r = add_fields(y);
	if (r < 0)
		return blame(r, "%s", q->what);
	y->easy = curl_easy_init();
	if (!y->easy)
		return fail(-ENOMEM, "out of memory");
	curl_easy_setopt(y->easy, CURLOPT_NOSIGNAL, 1L);
	/* Else who leaves while a name is looked up waits for that, in the one thread. */
	curl_easy_setopt(y->easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(y->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	/* A SAS, and what was signed, go out byte for byte. */
	curl_easy_setopt(y->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(y->easy, CURLOPT_PRIVATE, y);
	curl_easy_setopt(y->easy, CURLOPT_USERAGENT,
			 "vaultfs/" VAULTFS_VERSION);
	curl_easy_setopt(y->easy, CURLOPT_HTTPHEADER, y->list);
	curl_easy_setopt(y->easy, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(y->easy, CURLOPT_HEADERDATA, y);
	curl_easy_setopt(y->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(y->easy, CURLOPT_WRITEDATA, y);
	curl_easy_setopt(y->easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	curl_easy_setopt(y->easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_SIZE);
	curl_easy_setopt(y->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(y->easy, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(y->easy, CURLOPT_DEBUGDATA, y);
	curl_easy_setopt(y->easy, CURLOPT_VERBOSE, 1L);
	/* On a connection of its own libcurl never sends it twice. */
	if (q->once)
		curl_easy_setopt(y->easy, CURLOPT_FRESH_CONNECT, 1L);
	if (is_secret(y))
		set_secret(y);
	if (y->t->h->ca_file)
		curl_easy_setopt(y->easy, CURLOPT_CAINFO, y->t->h->ca_file);
	if (y->t->h->o.direct)
		curl_easy_setopt(y->easy, CURLOPT_PROXY, "");
	set_body(y);
	set_limits(y, left);
	if (curl_easy_setopt(y->easy, CURLOPT_URL, y->wire.url) != CURLE_OK)
		return fail(-ENOMEM, "out of memory");
	return 0;
}

static void enqueue(struct http *h, struct attempt *y)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	if (h->last)
		h->last->next = y;
	else
		h->first = y;
	h->last = y;
	h->counts.requests++;
	h->counts.retries += y->t->take.a->tries > 1;
}

/* One that has not begun is simply taken back. */
static void give_up(struct http *h, struct attempt *y)
{
	struct attempt *before = NULL;

	y->drop = true;
	if (y->is_running || y->done)
		return;
	for (struct attempt *x = h->first; x != y; x = x->next)
		before = x;
	if (before)
		before->next = y->next;
	else
		h->first = y->next;
	if (h->last == y)
		h->last = before;
	y->code = CURLE_ABORTED_BY_CALLBACK;
	y->done = true;
}

static void deadline_in(uint64_t ms, struct timespec *at)
{
	clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_sec += (time_t)(ms / 1000);
	at->tv_nsec += (long)(ms % 1000) * 1000000;
	if (at->tv_nsec >= 1000000000) {
		at->tv_sec++;
		at->tv_nsec -= 1000000000;
	}
}

/* Waits a moment; true when it has ended. */
static bool wait_moment(struct http *h, struct attempt *y, bool drop)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);
	struct timespec at;

	if (drop && !y->drop)
		give_up(h, y);
	deadline_in(ASK_MS, &at);
	while (!y->done)
		if (pthread_cond_timedwait(&h->ended, held, &at))
			break;
	return y->done;
}

/* 0, or -ECANCELED when the try was given up. */
static int attempt_run(struct attempt *y)
{
	struct http *h = y->t->h;
	uint64_t grace = y->wire.body_len ? HTTP_WRITE_GRACE_MS : 0;
	uint64_t asked_ns = 0, queued_ns = monotonic_ns();
	bool drop = false;

	enqueue(h, y);
	curl_multi_wakeup(h->multi);
	while (!wait_moment(h, y, drop)) {
		if (!cancel_asked())
			continue;
		if (!asked_ns)
			asked_ns = monotonic_ns();
		if (monotonic_ns() - asked_ns < grace * 1000000)
			continue;
		drop = true;
		curl_multi_wakeup(h->multi);
	}
	/* Its turn had to come first: the server is not to blame. */
	if (y->began_ns)
		y->t->start_ns += y->began_ns - queued_ns;
	if (y->drop && y->code == CURLE_ABORTED_BY_CALLBACK)
		return fail(-ECANCELED, "%s: stopped", y->t->take.q->what);
	return 0;
}

/* Time that brought bytes is not time that was waited in vain, as far as a line of the
 * least rate would have needed it. */
static void credit(struct attempt *y, uint64_t out)
{
	curl_off_t total_us = 0;
	uint64_t took;

	curl_easy_getinfo(y->easy, CURLINFO_TOTAL_TIME_T, &total_us);
	took = (uint64_t)total_us / 1000;
	y->t->came_ms += min_u64(rate_ms(y->t->take.got - y->had), took);
	y->t->sent_ms = max_u64(y->t->sent_ms, min_u64(rate_ms(out), took));
}

static void count(struct attempt *y)
{
	struct http *h = y->t->h;
	const char *m = y->t->take.q->method;
	curl_off_t in = 0, out = 0, before = 0, first = 0;
	long status = 0;

	curl_easy_getinfo(y->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(y->easy, CURLINFO_SIZE_DOWNLOAD_T, &in);
	curl_easy_getinfo(y->easy, CURLINFO_SIZE_UPLOAD_T, &out);
	curl_easy_getinfo(y->easy, CURLINFO_PRETRANSFER_TIME_T, &before);
	curl_easy_getinfo(y->easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
	credit(y, (uint64_t)out);
	log_debug("%s %s: %ld, %lld bytes in, %lld out, %lld us", m,
		  y->t->take.q->what, status, (long long)in, (long long)out,
		  (long long)first);

	DROP(lock) pthread_mutex_t *held = lock(&h->lock);
	if (y->times > 1) {
		y->t->take.a->tries += y->times - 1;
		h->counts.requests += y->times - 1;
		h->counts.retries += y->times - 1;
	}
	h->counts.bytes_in += (uint64_t)in;
	h->counts.bytes_out += (uint64_t)out;
	if (y->code == CURLE_OK && first > before && !y->wire.body_len) {
		uint64_t ns = (uint64_t)(first - before) * 1000;

		h->counts.wait_ns = h->counts.wait_ns
					    ? h->counts.wait_ns -
						      h->counts.wait_ns / 8 +
						      ns / 8
					    : ns;
	}
}

/* --- the next try --- */

static int wait_ms(uint64_t ms)
{
	uint64_t end = monotonic_ns() + ms * 1000000;
	int r;

	for (;;) {
		uint64_t now = monotonic_ns();
		uint64_t part = min_u64(end > now ? end - now : 0,
					UINT64_C(1000000) * ASK_MS);
		struct timespec ts = { 0, (long)part };

		r = cancel_check();
		if (r < 0 || !part)
			return r;
		nanosleep(&ts, NULL);
	}
}

static int spent(const struct transfer *t, const struct outcome *o)
{
	return fail(-EAGAIN, "%s: %s (%u %s in %llu s)", t->take.q->what,
		    o->cause, t->take.a->tries,
		    t->take.a->tries == 1 ? "try" : "tries",
		    (unsigned long long)(spent_ms(t) + 500) / 1000);
}

/* Waits before the next try, or says why there is none. */
static int again(struct transfer *t, const struct outcome *o)
{
	uint32_t dice = 0;
	uint64_t ms;
	int r;

	if (t->take.q->once && o->reached)
		return fail(-EAGAIN,
			    "%s: %s, and it may have been done all "
			    "the same",
			    t->take.q->what, o->cause);
	r = random_bytes(&dice, sizeof(dice));
	if (r < 0)
		return r;
	ms = http_backoff_ms(t->h->o.backoff_ms, t->take.a->tries, o->broke,
			     http_header(t->take.a, "Retry-After"),
			     time_now_ns(), dice);
	if (ms >= left_ms(t))
		return spent(t, o);
	log_info("%s: %s: try %u in %llu ms", t->take.q->what, o->cause,
		 t->take.a->tries + 1, (unsigned long long)ms);
	http_take_again(&t->take);
	r = wait_ms(ms);
	return r < 0 ? blame(r, "%s", t->take.q->what) : 0;
}

static int one_try(struct transfer *t, struct outcome *o)
{
	DROP(attempt) struct attempt y = { .t = t, .had = t->take.got };
	int r;

	*o = (struct outcome){ 0 };
	t->take.a->tries++;
	r = attempt_make(&y, max_u64(left_ms(t), TRY_MIN_MS));
	if (r == 0)
		r = attempt_run(&y);
	if (r < 0)
		return r;
	count(&y);
	r = http_judge(&y, o);
	if (o->answered)
		atomic_store(&t->h->seen, true);
	return r;
}

static int transfer(struct transfer *t)
{
	struct outcome o;
	int r = cancel_check();

	if (r < 0)
		return blame(r, "%s", t->take.q->what);
	for (;;) {
		r = one_try(t, &o);
		if (r < 0 || !o.again)
			return r;
		r = again(t, &o);
		if (r < 0)
			return r;
	}
}

int http_do(struct http *h, const struct http_request *q,
	    struct http_response *a)
{
	struct transfer t = { .take = { .q = q, .a = a }, .h = h };
	int r;

	*a = (struct http_response){ .total = UINT64_MAX };
	buf_init(&a->head, HTTP_HEAD_MAX);
	a->head.secret = h->o.secret;
	/* An explanation may be longer than what is wanted; http_take_body() bounds
	 * it. */
	buf_init(&a->body, max_u64(q->body_max, HTTP_EXPLANATION_MAX));
	a->body.secret = h->o.secret;
	t.start_ns = monotonic_ns();
	r = q->secret ? secret_new(q->body_max, &a->locked) : 0;
	if (r == 0)
		r = transfer(&t);
	if (q->secret)
		a->locked_len = t.take.got;
	free(t.take.etag);
	if (r < 0)
		http_response_release(a);
	return r;
}

/* --- the client --- */

void http_traffic(struct http *h, struct http_traffic *out)
{
	DROP(lock) pthread_mutex_t *held = lock(&h->lock);

	*out = h->counts;
}

unsigned http_connections(const struct http *h)
{
	return h->o.connections;
}

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void global_init(void)
{
	global_code = curl_start();
}

static void set_defaults(struct http_options *o)
{
	o->connections = o->connections ? o->connections : CONNECTIONS;
	o->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
	o->stall_ms = o->stall_ms ? o->stall_ms : STALL_MS;
	o->budget_ms = o->budget_ms ? o->budget_ms : BUDGET_MS;
	o->first_ms = o->first_ms ? o->first_ms : FIRST_MS;
	o->backoff_ms = o->backoff_ms ? o->backoff_ms : BACKOFF_MS;
}

/* Signals are for the threads that the program has set up for them. */
static int start(struct http *h)
{
	sigset_t all, before;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&h->thread, NULL, client_main, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e)
		return fail(-ENOMEM, "cannot start a thread: %s",
			    strerrordesc_np(e));
	pthread_setname_np(h->thread, "http");
	h->started = true;
	return 0;
}

int http_new(const struct http_options *o, struct http **ret)
{
	DROP(http) struct http *h = NULL;
	pthread_condattr_t attr;
	int r;

	r = curl_load();
	if (r)
		return r;
	pthread_once(&global_once, global_init);
	if (global_code != CURLE_OK)
		return fail(-EIO, "libcurl cannot be set up: %s",
			    curl_easy_strerror(global_code));
	/* An old file that cannot be read is told before the first try. */
	if (o->ca_file && access(o->ca_file, R_OK) < 0)
		return fail_errno(errno, "--cacert %s", o->ca_file);
	h = calloc(1, sizeof(*h));
	if (!h)
		return fail(-ENOMEM, "out of memory");
	h->o = *o;
	set_defaults(&h->o);
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->ended, &attr);
	pthread_condattr_destroy(&attr);
	h->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	h->multi = curl_multi_init();
	if (!h->multi || (o->ca_file && !h->ca_file))
		return fail(-ENOMEM, "out of memory");
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS,
			  (long)h->o.connections);
	r = start(h);
	if (r < 0)
		return r;
	*ret = take(h);
	return 0;
}

static void stop(struct http *h)
{
	{
		DROP(lock) pthread_mutex_t *held = lock(&h->lock);

		h->ending = true;
	}
	curl_multi_wakeup(h->multi);
	pthread_join(h->thread, NULL);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	if (h->started)
		stop(h);
	curl_multi_cleanup(h->multi);
	pthread_cond_destroy(&h->ended);
	pthread_mutex_destroy(&h->lock);
	free(h->ca_file);
	free(h);
}
