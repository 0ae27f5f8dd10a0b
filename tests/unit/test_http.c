// SPDX-License-Identifier: GPL-3.0-or-later
/* http, against a server that says what no real one can be made to say. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/base/cancel.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"
#include "backend/store/http_impl.h"
#include "tests/fakes/http_script.h"
#include "tests/unit/check.h"

/* Waits short enough for a test, long enough for a busy machine. */
static const struct http_options quick = {
	.backoff_ms = 1,
	.budget_ms = 20000,
	.first_ms = 20000,
	.stall_ms = 1000,
};

#define OK(body) "HTTP/1.1 200 OK\r\nContent-Length: " body
#define PART(range, len)                                                       \
	"HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: "       \
	"bytes " range "\r\nContent-Length: " len "\r\n\r\n"

struct setup {
	struct http *h;
	struct http_script *s;
	char url[200];
};

static struct setup begin(const struct http_step *steps, size_t n,
			  const struct http_options *o)
{
	struct setup u = { 0 };

	CHECK_OK(http_new(o, &u.h));
	CHECK_OK(http_script_start(steps, n, &u.s));
	snprintf(u.url, sizeof(u.url), "%s/thing?sig=SECRET",
		 http_script_url(u.s));
	return u;
}

/* The script was used up, and no more asked. */
static void end(struct setup *u, size_t requests)
{
	CHECK_U64(http_script_count(u->s), requests);
	http_free(u->h);
	http_script_stop(u->s);
}

#define BEGIN(steps) begin(steps, ARRAY_SIZE(steps), &quick)

static int get(struct setup *u, size_t max, bool resume,
	       struct http_response *a)
{
	struct http_request q = { .method = "GET",
				  .what = "the thing",
				  .url = u->url,
				  .body_max = max,
				  .resume = resume };

	return http_do(u->h, &q, a);
}

static int range(struct setup *u, void *into, size_t len, uint64_t off,
		 struct http_response *a)
{
	struct http_request q = { .method = "GET",
				  .what = "the thing",
				  .url = u->url,
				  .into = into,
				  .len = len,
				  .off = off };

	return http_do(u->h, &q, a);
}

/* What came quickly before the server went away is no reason to try for longer: the
 * budget is what was waited in vain. */
static void test_budget_after_bytes(void)
{
	static const struct http_options o = { .backoff_ms = 20,
					       .budget_ms = 300,
					       .first_ms = 300,
					       .stall_ms = 1000 };
	static char part[9000], into[16384];
	DROP(http_response) struct http_response a = { 0 };
	struct http_step steps[32];
	struct setup u;
	int head = snprintf(part, sizeof(part), "%s",
			    PART("0-16383/16384", "16384"));

	memset(part + head, 'x', 8192);
	steps[0] = (struct http_step){ NULL, part, (size_t)head + 8192,
				       THEN_RESET };
	for (size_t i = 1; i < ARRAY_SIZE(steps); i++)
		steps[i] = (struct http_step){ NULL, NULL, 0, THEN_RESET };
	u = begin(steps, ARRAY_SIZE(steps), &o);
	CHECK_SAYS(-EAGAIN, "broke", range(&u, into, sizeof(into), 0, &a));
	/* Waits of 0, 20, 60 and 140 ms: with a second for each KiB more would fit. */
	CHECK(http_script_count(u.s) <= 6);
	http_free(u.h);
	http_script_stop(u.s);
}

/* All bytes are there, and only the end of the answer is not. */
static void test_end_is_missing(void)
{
	static const struct http_step steps[] = {
		{ NULL,
		  "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\n"
		  "Content-Range: bytes 0-4/100\r\n"
		  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		  0, THEN_CLOSE },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);
	char into[5];

	CHECK_OK(range(&u, into, sizeof(into), 0, &a));
	CHECK_MEM(into, "hello", 5);
	end(&u, 1);
}

static void test_answers(void)
{
	static const struct http_step steps[] = {
		{ "GET /thing?sig=SECRET HTTP/1.1\r\n",
		  "HTTP/1.1 100 Continue\r\nX-A: no\r\n\r\n"
		  "HTTP/1.1 200 OK\r\nX-A:  one \r\nx-b:\r\n"
		  "Content-Length: 5\r\n\r\nhello",
		  0, THEN_KEEP },
		{ NULL, OK("0\r\n\r\n"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nwhy", 0,
		  THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 307 There\r\nLocation: /x\r\n"
		  "Content-Length: 0\r\n\r\n",
		  0, THEN_KEEP },
		{ NULL, OK("6\r\n\r\nfollow"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "6\r\nfollow\r\n0\r\n\r\n",
		  0, THEN_KEEP },
		{ NULL, OK("5\r\n\r\n12345"), 0, THEN_KEEP },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);

	CHECK_OK(get(&u, 100, false, &a));
	CHECK_U64(a.status, 200);
	CHECK_U64(a.tries, 1);
	CHECK_STR(buf_cstr(&a.body), "hello");
	CHECK_STR(http_header(&a, "x-a"), "one");
	CHECK_STR(http_header(&a, "X-B"), "");
	CHECK(!http_header(&a, "x-c"));
	http_response_release(&a);

	CHECK_OK(get(&u, 100, false, &a));
	CHECK_U64(a.body.len, 0);
	http_response_release(&a);
	CHECK_OK(get(&u, 0, false, &a));
	CHECK_U64(a.status, 404);
	CHECK_STR(buf_cstr(&a.body), "why");
	http_response_release(&a);
	CHECK_OK(get(&u, 0, false, &a));
	CHECK_U64(a.status, 307);
	CHECK_STR(http_header(&a, "Location"), "/x");
	http_response_release(&a);
	/* One byte too many. */
	CHECK_SAYS(-EFBIG, "maximum of 5", get(&u, 5, false, &a));
	CHECK(!a.body.data && !a.head.data);
	CHECK_FAILS(-EFBIG, get(&u, 5, false, &a));
	CHECK_OK(get(&u, 5, false, &a));
	CHECK_STR(buf_cstr(&a.body), "12345");
	end(&u, 7);
}

static int get_secret(struct setup *u, struct http_response *a)
{
	struct http_request q = { .method = "GET",
				  .what = "the thing",
				  .url = u->url,
				  .body_max = 8,
				  .secret = true };

	return http_do(u->h, &q, a);
}

/* A key is in locked memory only; why there is none is not. */
static void test_secret(void)
{
	static const struct http_step steps[] = {
		{ NULL, OK("6\r\n\r\nsecret"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 403 No\r\nContent-Length: 11\r\n\r\nnot for "
		  "you",
		  0, THEN_KEEP },
		/* Begun anew after it broke off, and after an explanation. */
		{ NULL, OK("8\r\n\r\nbroken"), 0, THEN_CLOSE },
		{ NULL, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", 0,
		  THEN_KEEP },
		{ NULL, OK("3\r\n\r\nkey"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "6\r\nfollow\r\n3\r\ning\r\n0\r\n\r\n",
		  0, THEN_KEEP },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);

	CHECK_OK(get_secret(&u, &a));
	CHECK_U64(a.status, 200);
	CHECK_U64(a.body.len, 0);
	CHECK_U64(a.locked_len, 6);
	CHECK_MEM(secret_bytes(a.locked), "secret", 6);
	http_response_release(&a);
	CHECK(!a.locked && !a.locked_len);

	CHECK_OK(get_secret(&u, &a));
	CHECK_U64(a.status, 403);
	CHECK_STR(buf_cstr(&a.body), "not for you");
	CHECK_U64(a.locked_len, 0);
	http_response_release(&a);

	CHECK_OK(get_secret(&u, &a));
	CHECK_U64(a.tries, 3);
	CHECK_U64(a.body.len, 0);
	CHECK_U64(a.locked_len, 3);
	CHECK_MEM(secret_bytes(a.locked), "key", 3);
	http_response_release(&a);

	CHECK_SAYS(-EFBIG, "maximum of 8", get_secret(&u, &a));
	CHECK(!a.locked);
	end(&u, 6);
}

static int stamp(void *ctx, struct http_wire *w)
{
	char text[32];
	int *calls = ctx;

	snprintf(text, sizeof(text), "%d of %u", ++*calls, w->number);
	CHECK_FAILS(-EINVAL, http_wire_set(w, "x", "a\r\nb: c"));
	CHECK_FAILS(-EINVAL, http_wire_set(w, "a:b", "c"));
	CHECK_STR(http_wire_get(w, "content-type"), "application/json");
	return http_wire_set(w, "X-Stamp", text);
}

static void test_sending(void)
{
	static const struct http_step steps[] = {
		{ "POST /thing?sig=SECRET HTTP/1.1\r\n",
		  "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n"
		  "Content-Length: 4\r\n\r\nbusy",
		  0, THEN_KEEP },
		{ "X-Stamp: 2 of 2\r\n",
		  "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", 0,
		  THEN_KEEP },
		{ "PUT /", OK("0\r\n\r\n"), 0, THEN_KEEP },
		{ "HEAD /", OK("500\r\n\r\n"), 0, THEN_KEEP },
		{ "DELETE /", "HTTP/1.1 204 Gone\r\n\r\n", 0, THEN_KEEP },
	};
	static const char *const fields[] = { "Content-Type: application/json",
					      "X-Long: 1" };
	static const struct store_piece pieces[] = { { "{\"a\"", 4 },
						     { NULL, 0 },
						     { ":1}", 3 } };
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);
	int calls = 0;
	struct http_request q = { .method = "POST",
				  .what = "the thing",
				  .url = u.url,
				  .fields = fields,
				  .nfields = 2,
				  .prepare = stamp,
				  .ctx = &calls,
				  .pieces = pieces,
				  .npieces = 3,
				  .body_max = 100,
				  .once = true };
	struct http_traffic t;

	CHECK_OK(http_do(u.h, &q, &a));
	CHECK_U64(a.status, 202);
	CHECK_U64(a.tries, 2);
	CHECK_STR(buf_cstr(&a.body), "{}");
	CHECK(strstr(http_script_request(u.s, 1), "\r\n\r\n{\"a\":1}"));
	CHECK(!strstr(http_script_request(u.s, 1), "Expect"));
	http_response_release(&a);
	http_traffic(u.h, &t);
	CHECK_U64(t.requests, 2);
	CHECK_U64(t.retries, 1);
	CHECK_U64(t.bytes_out, 14);

	q.npieces = 0;
	q.method = "PUT";
	CHECK_OK(http_do(u.h, &q, &a));
	CHECK(strstr(http_script_request(u.s, 2), "Content-Length: 0\r\n"));
	http_response_release(&a);
	q.method = "HEAD";
	CHECK_OK(http_do(u.h, &q, &a));
	CHECK_U64(a.status, 200);
	CHECK_STR(http_header(&a, "content-length"), "500");
	http_response_release(&a);
	q.method = "DELETE";
	CHECK_OK(http_do(u.h, &q, &a));
	CHECK_U64(a.status, 204);
	end(&u, 5);
}

static void test_ranges(void)
{
	static const struct http_step steps[] = {
		{ "Range: bytes=2-5\r\n", PART("2-5/10", "4") "cdef", 0,
		  THEN_KEEP },
		/* It ends within. */
		{ NULL, PART("2-3/4", "2") "cd", 0, THEN_KEEP },
		{ NULL, PART("4-3/4", "0"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 416 No\r\nContent-Range: bytes */4\r\n"
		  "Content-Length: 0\r\n\r\n",
		  0, THEN_KEEP },
		/* Lies. */
		{ NULL, OK("4\r\n\r\ncdef"), 0, THEN_KEEP },
		{ NULL, PART("3-6/10", "4") "defg", 0, THEN_KEEP },
		{ NULL, PART("2-4/10", "3") "cde", 0, THEN_KEEP },
		{ NULL, PART("2-6/10", "5") "cdefg", 0, THEN_KEEP },
		{ NULL, PART("2-5/10", "5") "cdefg", 0, THEN_KEEP },
		{ NULL, PART("x", "4") "cdef", 0, THEN_KEEP },
		{ NULL, "HTTP/1.1 206 OK\r\nContent-Length: 4\r\n\r\ncdef", 0,
		  THEN_KEEP },
		/* Size not told. */
		{ NULL, PART("2-5/*", "4") "cdef", 0, THEN_KEEP },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);
	char got[4];

	CHECK_OK(range(&u, got, 4, 2, &a));
	CHECK_U64(a.status, 206);
	CHECK_U64(a.total, 10);
	CHECK_MEM(got, "cdef", 4);
	CHECK_STR(http_header(&a, "etag"), "\"1\"");
	http_response_release(&a);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(range(&u, got, 4, 2, &a));
		CHECK_U64(a.status, 416);
		CHECK_U64(a.total, 4);
		http_response_release(&a);
	}
	CHECK_OK(range(&u, got, 4, 2, &a));
	CHECK_U64(a.status, 416);
	http_response_release(&a);
	CHECK_SAYS(-EPROTO, "does not send a part", range(&u, got, 4, 2, &a));
	for (int i = 0; i < 3; i++)
		CHECK_SAYS(-EPROTO, "another part", range(&u, got, 4, 2, &a));
	CHECK_SAYS(-EPROTO, "more than was asked", range(&u, got, 4, 2, &a));
	for (int i = 0; i < 2; i++)
		CHECK_SAYS(-EPROTO, "did not say which",
			   range(&u, got, 4, 2, &a));
	CHECK_OK(range(&u, got, 4, 2, &a));
	CHECK_U64(a.total, UINT64_MAX);
	end(&u, 12);
}

static void test_resume(void)
{
	static const struct http_step steps[] = {
		{ "Range: bytes=2-9\r\n", PART("2-9/10", "8") "cde", 0,
		  THEN_CLOSE },
		{ "Range: bytes=5-9\r\nIf-Match: \"1\"\r\n",
		  PART("5-9/10", "5") "f", 0, THEN_RESET },
		{ "Range: bytes=6-9\r\n",
		  "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n"
		  "Content-Length: 4\r\n\r\nbusy",
		  0, THEN_KEEP },
		{ "Range: bytes=6-9\r\nIf-Match: \"1\"\r\n",
		  PART("6-9/10", "4") "ghij", 0, THEN_KEEP },

		/* All of it, which ends early. */
		{ NULL,
		  "HTTP/1.1 200 OK\r\nETag: \"2\"\r\n"
		  "Content-Length: 6\r\n\r\nabc",
		  0, THEN_CLOSE },
		{ "Range: bytes=3-\r\nIf-Match: \"2\"\r\n",
		  "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 0,
		  THEN_KEEP },
		{ "Range: bytes=3-\r\nIf-Match: \"2\"\r\n",
		  "HTTP/1.1 206 OK\r\nETag: \"2\"\r\nContent-Range: "
		  "bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef",
		  0, THEN_KEEP },

		/* It has become another: both kinds of servers. */
		{ NULL, PART("2-9/10", "8") "cde", 0, THEN_CLOSE },
		{ "If-Match: \"1\"\r\n",
		  "HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n", 0,
		  THEN_KEEP },
		{ NULL, PART("2-9/10", "8") "cde", 0, THEN_CLOSE },
		{ NULL,
		  "HTTP/1.1 206 OK\r\nETag: \"other\"\r\nContent-Range: "
		  "bytes 5-9/10\r\nContent-Length: 5\r\n\r\nfghij",
		  0, THEN_KEEP },

		/* Without ETag, or when it is not an object: from the start. */
		{ NULL, OK("6\r\n\r\nabc"), 0, THEN_CLOSE },
		{ NULL, OK("6\r\n\r\nabcdef"), 0, THEN_KEEP },
		{ NULL,
		  "HTTP/1.1 200 OK\r\nETag: \"2\"\r\n"
		  "Content-Length: 6\r\n\r\nabc",
		  0, THEN_CLOSE },
		{ NULL, OK("6\r\n\r\nabcdef"), 0, THEN_KEEP },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);
	char got[8];

	CHECK_OK(range(&u, got, 8, 2, &a));
	CHECK_MEM(got, "cdefghij", 8);
	CHECK_U64(a.tries, 4);
	http_response_release(&a);
	CHECK_OK(get(&u, 10, true, &a));
	CHECK_STR(buf_cstr(&a.body), "abcdef");
	http_response_release(&a);
	CHECK_SAYS(-ESTALE, "changed", range(&u, got, 8, 2, &a));
	CHECK_SAYS(-ESTALE, "changed", range(&u, got, 8, 2, &a));
	for (int i = 0; i < 2; i++) {
		CHECK_OK(get(&u, 10, i == 0, &a));
		CHECK_STR(buf_cstr(&a.body), "abcdef");
		http_response_release(&a);
	}
	CHECK(!strstr(http_script_request(u.s, 12), "If-Match"));
	CHECK(!strstr(http_script_request(u.s, 14), "Range"));
	end(&u, 15);
}

static void test_breaks(void)
{
	static const struct http_step steps[] = {
		{ NULL, NULL, 0, THEN_CLOSE },
		{ NULL, NULL, 0, THEN_RESET },
		{ NULL, "HTTP/1.1 200 OK\r\nConte", 0, THEN_CLOSE },
		{ NULL, NULL, 0, THEN_HANG },
		{ NULL, PART("0-3/4", "4") "abcd", 0, THEN_DRIP },
		{ NULL, OK("2\r\n\r\nok"), 0, THEN_KEEP },
		/* What is not HTTP at all is not tried again. */
		{ NULL, "SSH-2.0-OpenSSH_9.2\r\n", 0, THEN_CLOSE },
	};
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);

	CHECK_OK(get(&u, 10, true, &a));
	CHECK_STR(buf_cstr(&a.body), "ok");
	/* libcurl itself tries a kept connection once more. */
	CHECK(a.tries >= 5);
	http_response_release(&a);
	CHECK_SAYS(-EPROTO, "does not speak HTTP", get(&u, 10, true, &a));
	end(&u, 7);
}

static void test_budget(void)
{
	static const struct http_step busy = {
		.answer = "HTTP/1.1 503 Busy\r\nx-ms-error-code: ServerBusy\r\n"
			  "Content-Length: 0\r\n\r\n",
	};
	static const struct http_step later = {
		.answer = "HTTP/1.1 429 Slower\r\nRetry-After: 3600\r\n"
			  "Content-Length: 0\r\n\r\n",
	};
	struct http_options o = { .backoff_ms = 20, .budget_ms = 200 };
	DROP(http_response) struct http_response a = { 0 };
	struct http_step many[64];
	struct setup u;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = busy;
	u = begin(many, ARRAY_SIZE(many), &o);
	CHECK_SAYS(-EAGAIN, "answered 503 ServerBusy (", get(&u, 10, true, &a));
	CHECK(!strstr(err_text(-EAGAIN), "SECRET"));
	CHECK(!strstr(err_text(-EAGAIN), "/thing"));
	CHECK(http_script_count(u.s) >= 2);
	end(&u, http_script_count(u.s));

	/* Longer than there is time: not waited for. */
	u = begin(&later, 1, &o);
	CHECK_SAYS(-EAGAIN, "answered 429 (1 try", get(&u, 10, true, &a));
	end(&u, 1);

	/* Nobody there. */
	u = begin(NULL, 0, &o);
	http_script_stop(take(u.s));
	CHECK_SAYS(-EAGAIN,
		   "no connection to 127.0.0.1:", get(&u, 10, true, &a));
	CHECK(!strstr(err_text(-EAGAIN), "SECRET"));
	http_free(u.h);
}

/* What may have been done is not done twice. */
static void test_once(void)
{
	static const struct http_step steps[] = {
		{ NULL, NULL, 0, THEN_CLOSE },
		{ NULL, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 0,
		  THEN_CLOSE },
	};
	static const struct store_piece piece = { "x", 1 };
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = BEGIN(steps);
	struct http_request q = { .method = "POST",
				  .what = "the thing",
				  .url = u.url,
				  .pieces = &piece,
				  .npieces = 1,
				  .once = true };

	for (int i = 0; i < 2; i++)
		CHECK_SAYS(-EAGAIN, "may have been done", http_do(u.h, &q, &a));
	end(&u, 2);
}

static bool asked(void *ctx)
{
	return atomic_load((atomic_int *)ctx) > 0;
}

static void *ask_soon(void *arg)
{
	struct timespec ts = { 0, 100000000 };

	nanosleep(&ts, NULL);
	atomic_store((atomic_int *)arg, 1);
	return NULL;
}

static void test_cancel(void)
{
	static const struct http_step steps[] = {
		{ NULL, NULL, 0, THEN_HANG },
		{ NULL,
		  "HTTP/1.1 503 Busy\r\nRetry-After: 3000\r\n"
		  "Content-Length: 0\r\n\r\n",
		  0, THEN_KEEP },
	};
	struct http_options o = { .budget_ms = 1u << 30, .first_ms = 1u << 30 };
	DROP(http_response) struct http_response a = { 0 };
	struct setup u = begin(steps, ARRAY_SIZE(steps), &o);
	atomic_int flag = 0;
	pthread_t t;

	cancel_set((struct cancel){ asked, &flag });
	for (int i = 0; i < 2; i++) {
		atomic_store(&flag, 0);
		CHECK(!pthread_create(&t, NULL, ask_soon, &flag));
		CHECK_FAILS(-ECANCELED, get(&u, 10, true, &a));
		pthread_join(t, NULL);
	}
	/* It stays so. */
	CHECK_FAILS(-ECANCELED, get(&u, 10, true, &a));
	cancel_set((struct cancel){ 0 });
	end(&u, 2);
}

/* More callers than connections. */
static void *get_many(void *arg)
{
	struct setup *u = arg;

	for (int i = 0; i < 20; i++) {
		DROP(http_response) struct http_response a = { 0 };

		CHECK_OK(get(u, 10, true, &a));
		CHECK_STR(buf_cstr(&a.body), "ok");
	}
	return NULL;
}

static void test_many(void)
{
	struct http_options o = { .connections = 4 };
	struct http_step steps[400];
	pthread_t threads[20];
	struct setup u;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		steps[i] = (struct http_step){ .answer = OK("2\r\n\r\nok") };
	u = begin(steps, ARRAY_SIZE(steps), &o);
	CHECK_U64(http_connections(u.h), 4);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK(!pthread_create(&threads[i], NULL, get_many, &u));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	end(&u, 400);
}

static void test_parts(void)
{
	static const struct {
		const char *text;
		bool good;
		struct http_range want;
	} ranges[] = {
		{ "bytes 0-511/1024", true, { true, 0, 511, 1024 } },
		{ "bytes 0-511/*", true, { true, 0, 511, UINT64_MAX } },
		{ "bytes */1024", true, { false, 0, 0, 1024 } },
		{ "bytes=3-4/5", true, { true, 3, 4, 5 } },
		{ "", false, { 0 } },
		{ "bytes", false, { 0 } },
		{ "bytes 1-/2", false, { 0 } },
		{ "bytes 1-2", false, { 0 } },
		{ "bytes 1-2/", false, { 0 } },
		{ "bytes 1-2/3x", false, { 0 } },
		{ "bytes 1-99999999999999999999/3", false, { 0 } },
		{ "items 1-2/3", false, { 0 } },
	};
	char host[40], date[HTTP_DATE_SIZE];
	struct buf b = BUF_INIT(1000);

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct http_range g = { 0 };

		CHECK(http_parse_range(ranges[i].text, &g) == ranges[i].good);
		CHECK(g.placed == ranges[i].want.placed);
		CHECK_U64(g.first, ranges[i].want.first);
		CHECK_U64(g.last, ranges[i].want.last);
		CHECK_U64(g.total, ranges[i].want.total);
	}
	http_host("https://u:p@host:1/x@y?z", host, sizeof(host));
	CHECK_STR(host, "host:1");
	http_host("http://h?x", host, sizeof(host));
	CHECK_STR(host, "h");
	http_date(INT64_C(1795309200) * 1000000000, date);
	CHECK_STR(date, "Sun, 22 Nov 2026 01:00:00 GMT");
	http_escape(&b, "a b/\303\244+~", false);
	http_escape(&b, "/%", true);
	CHECK_STR(buf_cstr(&b), "a%20b%2F%C3%A4%2B~/%25");
	buf_release(&b);
}

static void test_backoff(void)
{
	const int64_t now = INT64_C(1795309200) * 1000000000;

	/* At once after a break, a little later when the server is busy. */
	CHECK_U64(http_backoff_ms(4000, 1, true, NULL, now, 999), 0);
	CHECK(http_backoff_ms(4000, 1, false, NULL, now, 999) <= 1000);
	for (unsigned n = 2; n < 40; n++) {
		uint64_t mid = n > 3 ? 20000 : 4000 * ((1u << (n - 1)) - 1);

		for (uint32_t dice = 0; dice < 100000; dice += 777) {
			uint64_t ms = http_backoff_ms(4000, n, n & 1, NULL, now,
						      dice);

			CHECK(ms >= mid * 3 / 4 && ms <= mid * 5 / 4);
		}
	}
	CHECK_U64(http_backoff_ms(4000, 5, false, "0", now, 7), 0);
	CHECK_U64(http_backoff_ms(4000, 5, false, "7", now, 0), 7000);
	CHECK_U64(http_backoff_ms(4000, 5, false,
				  "Sun, 22 Nov 2026 01:00:09 GMT", now, 0),
		  9000);
	CHECK_U64(http_backoff_ms(4000, 5, false,
				  "Sun, 22 Nov 2026 00:00:09 GMT", now, 0),
		  0);
	/* Nonsense is as nothing. */
	CHECK(http_backoff_ms(4000, 2, false, "soon", now, 0) >= 3000);
}

static void test_options(void)
{
	struct http_options o = { .ca_file = "/no/such/file" };
	struct http *h = NULL;

	CHECK_SAYS(-ENOENT, "--cacert /no/such/file", http_new(&o, &h));
	CHECK(!h);
}

int main(void)
{
	/* The servers are on loopback. */
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	CHECK_OK(secret_setup());
	test_parts();
	test_backoff();
	test_options();
	test_answers();
	test_budget_after_bytes();
	test_end_is_missing();
	test_secret();
	test_sending();
	test_ranges();
	test_resume();
	test_breaks();
	test_budget();
	test_once();
	test_cancel();
	test_many();
	return 0;
}
