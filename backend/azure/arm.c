// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/arm.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

/* What a service may ask for at most between two looks. */
#define POLL_MAX_MS 60000
#define POLL_FIRST_MS 500
#define MESSAGE_MAX 400

/* --- ids --- */

/* One character of an id as it counts; *s moves on. */
static char next_folded(const char **s)
{
	char c = **s;

	if (!c)
		return '\0';
	if (c == '/') {
		while (**s == '/')
			(*s)++;
		return **s ? '/' : '\0';
	}
	(*s)++;
	return (char)tolower((unsigned char)c);
}

bool arm_id_equal(const char *a, const char *b)
{
	char x, y;

	do {
		x = next_folded(&a);
		y = next_folded(&b);
	} while (x && x == y);
	return x == y;
}

int arm_id_fold(const char *id, char out[static ARM_ID_MAX])
{
	size_t n = 0;
	char c;

	while ((c = next_folded(&id))) {
		if (n + 1 == ARM_ID_MAX)
			return fail(-EPROTO, "an id of more than %d bytes",
				    ARM_ID_MAX - 1);
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

bool arm_id_part(const char *id, const char *key, char *out, size_t size)
{
	size_t k = strlen(key), n;

	for (const char *s = strchr(id, '/'); s; s = strchr(s + 1, '/')) {
		if (strncasecmp(s + 1, key, k) != 0 || s[1 + k] != '/')
			continue;
		s += k + 2;
		n = strcspn(s, "/");
		if (!n || n >= size)
			return false;
		memcpy(out, s, n);
		out[n] = '\0';
		return true;
	}
	return false;
}

/* --- URLs --- */

struct host {
	bool tls;
	const char *name;
	size_t len;
	const char *port;
	size_t port_len;
};

static bool split_host(const char *url, struct host *h)
{
	const char *s, *colon;
	size_t n;

	if (!strncasecmp(url, "https://", 8))
		h->tls = true;
	else if (!strncasecmp(url, "http://", 7))
		h->tls = false;
	else
		return false;
	s = url + (h->tls ? 8 : 7);
	n = strcspn(s, "/?#");
	/* No user: what is before '@' looks like a host to people. */
	if (!n || memchr(s, '@', n) || memchr(s, '\\', n))
		return false;
	colon = *s == '[' ? memchr(s, ']', n) : s;
	colon = colon ? memchr(colon, ':', n - (size_t)(colon - s)) : NULL;
	h->name = s;
	h->len = colon ? (size_t)(colon - s) : n;
	h->port = colon ? colon + 1 : (h->tls ? "443" : "80");
	h->port_len = colon ? n - h->len - 1 : strlen(h->port);
	return true;
}

bool arm_same_host(const char *a, const char *b)
{
	struct host x, y;

	return split_host(a, &x) && split_host(b, &y) && x.tls == y.tls &&
	       x.len == y.len && !strncasecmp(x.name, y.name, x.len) &&
	       x.port_len == y.port_len && !strncmp(x.port, y.port, x.port_len);
}

static int check_link(const struct azure *az, const char *what,
		      const char *kind, const char *url)
{
	struct host h = { 0 };

	if (arm_same_host(url, azure_cloud(az)->arm))
		return 0;
	if (!split_host(url, &h))
		return fail(-EPROTO, "%s: the %s is no web address", what,
			    kind);
	return fail(-EPROTO,
		    "%s: the %s leads to another host, '%.*s': refused, since "
		    "a token would go there",
		    what, kind, (int)min_u64(h.len, 200), h.name);
}

/* --- what failed --- */

static const char *advice(const char *code, int status)
{
	static const struct {
		const char *code, *advice;
	} known[] = {
		{ "AuthorizationFailed",
		  "; the identity needs the role Backup Reader on the vault "
		  "(and, to read disks, Disk Snapshot Contributor or Disk "
		  "Restore Operator on the resource group of the restore "
		  "points)" },
		{ "SubscriptionNotFound",
		  "; is it of this tenant, and may the identity see it?" },
		{ "InvalidAuthenticationTokenTenant",
		  "; the credential is of another tenant (AZURE_TENANT_ID)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!strcasecmp(code, known[i].code))
			return known[i].advice;
	}
	return status == 401 ? "; see CREDENTIALS in vaultfs(8)" : "";
}

static int code_of(int status)
{
	switch (status) {
	case 400:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return -EBUSY;
	case 410:
		return -ESTALE;
	case 429:
	case 503:
		return -EAGAIN;
	}
	return -EIO;
}

int arm_failed(const char *what, int status, const char *body, size_t len)
{
	DROP(json) struct json *j = NULL;
	const struct json *e;
	const char *code = NULL, *message = NULL;
	size_t n;

	if (len && json_parse(body, len, ARM_DEPTH, &j))
		err_clear();
	e = json_get(j, "error");
	code = json_get_str(e ? e : j, "code");
	message = json_get_str(e ? e : j, "message");
	if (!code)
		code = "";
	if (!message)
		message = "";
	n = min_u64(strcspn(message, "\r\n"), MESSAGE_MAX);
	return fail(code_of(status), "%s: Azure answers %d%s%.100s%s%.*s%s",
		    what, status, *code ? " " : "", code, n ? ": " : "", (int)n,
		    message, advice(code, status));
}

int arm_parse_page(const char *text, size_t len, struct json **ret, char **next)
{
	DROP(secret_json) struct json *j = NULL;
	const char *link;
	int r = json_parse_secret(text, len, ARM_DEPTH, &j);

	if (r)
		return r;
	if (!json_is_array(json_get(j, "value")))
		return fail(-EPROTO, "a list without its \"value\"");
	link = json_get_str(j, "nextLink");
	*next = NULL;
	if (link && *link) {
		*next = strdup(link);
		if (!*next)
			return fail(-ENOMEM, "out of memory");
	}
	*ret = take(j);
	return 0;
}

/* --- requests --- */

struct call {
	struct azure *az;
	struct azure_token *token;
};

static int set_bearer(void *ctx, struct http_wire *w)
{
	struct call *c = ctx;
	char scope[256];
	int r = azure_scope(azure_cloud(c->az)->arm_audience, scope,
			    sizeof(scope));

	if (r)
		return r;
	azure_token_unref(take(c->token));
	r = azure_token(c->az, NULL, scope, &c->token);
	return r ? r : azure_token_header(c->token, w);
}

static int make_url(const struct azure *az, const char *path, const char *query,
		    struct buf *url)
{
	buf_str(url, azure_cloud(az)->arm);
	http_escape(url, path, true);
	buf_printf(url, "?%s", query);
	return buf_check(url, "URL");
}

/* One request, and one more with another token after a 401. secret: the answer of a
 * success comes to locked memory. */
static int send_request(struct azure *az, const char *what, const char *method,
			const char *url, const char *body, size_t body_len,
			bool secret, struct http_response *a)
{
	static const char *const fields[] = {
		"Accept: application/json",
		"Content-Type: application/json",
	};
	struct call call = { .az = az };
	struct store_piece piece = { body, body_len };
	struct http_request q = {
		.method = method,
		.what = what,
		.url = url,
		.fields = fields,
		.nfields = body ? 2 : 1,
		.prepare = set_bearer,
		.ctx = &call,
		.pieces = body ? &piece : NULL,
		.npieces = body ? 1 : 0,
		.body_max = secret ? ARM_SECRET_MAX : ARM_BODY_MAX,
		.secret = secret,
		.once = strcmp(method, "GET") != 0,
	};
	int r = http_do(azure_http(az), &q, a);

	if (!r && a->status == 401 && call.token) {
		azure_token_reject(az, call.token);
		http_response_release(a);
		r = http_do(azure_http(az), &q, a);
	}
	azure_token_unref(call.token);
	return r;
}

/* What a failure says. */
static const char *text_of(const struct http_response *a)
{
	return (const char *)a->body.data;
}

/* What a success has. */
static size_t answer_len(const struct http_response *a)
{
	return a->locked ? a->locked_len : a->body.len;
}

static int parse_answer(const struct http_response *a, struct json **ret)
{
	const char *text = a->locked ? (const char *)secret_bytes(a->locked)
				     : text_of(a);

	return json_parse_secret(text, answer_len(a), ARM_DEPTH, ret);
}

static int get_url(struct azure *az, const char *what, const char *url,
		   bool secret, struct http_response *a)
{
	int r = send_request(az, what, "GET", url, NULL, 0, secret, a);

	if (r)
		return r;
	if (a->status < 200 || a->status > 299)
		return arm_failed(what, a->status, text_of(a), a->body.len);
	return 0;
}

static int get_object(struct azure *az, const char *what, const char *path,
		      const char *query, bool secret, struct json **ret)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(buf) struct buf url = BUF_INIT(16384);
	int r = make_url(az, path, query, &url);

	if (!r)
		r = get_url(az, what, buf_cstr(&url), secret, &a);
	if (r == -EFBIG && secret)
		r = get_url(az, what, buf_cstr(&url), false, &a);
	if (r)
		return r;
	r = parse_answer(&a, ret);
	return r ? blame(r, "%s", what) : 0;
}

int arm_get(struct azure *az, const char *what, const char *path,
	    const char *query, struct json **ret)
{
	return get_object(az, what, path, query, false, ret);
}

int arm_get_secret(struct azure *az, const char *what, const char *path,
		   const char *query, struct json **ret)
{
	return get_object(az, what, path, query, true, ret);
}

int arm_list(struct azure *az, const char *what, const char *path,
	     const char *query,
	     int (*page)(void *ctx, const struct json *values), void *ctx)
{
	DROP(buf) struct buf url = BUF_INIT(65536);
	int r = make_url(az, path, query, &url);

	for (unsigned n = 0; !r && n < ARM_PAGES_MAX; n++) {
		DROP(http_response) struct http_response a = { 0 };
		DROP(secret_json) struct json *j = NULL;
		DROP(mem) char *next = NULL;

		r = cancel_check();
		if (!r)
			r = get_url(az, what, buf_cstr(&url), false, &a);
		if (r)
			return r;
		r = arm_parse_page(text_of(&a), a.body.len, &j, &next);
		if (r)
			return blame(r, "%s", what);
		r = page(ctx, json_get(j, "value"));
		if (r || !next)
			return r;
		r = check_link(az, what, "link to the next page", next);
		if (r)
			return r;
		if (!strcmp(next, buf_cstr(&url)))
			return fail(-EPROTO,
				    "%s: a page of the list links to itself",
				    what);
		buf_reset(&url);
		buf_str(&url, next);
		r = buf_check(&url, "link to the next page");
	}
	return r ? r : fail(-EPROTO, "%s: a list without end", what);
}

/* --- long-running operations --- */

int arm_wait(uint64_t ms)
{
	uint64_t end = monotonic_ns() + ms * 1000000;

	for (;;) {
		struct timespec t = { 0, 100000000 };
		uint64_t now = monotonic_ns();
		int r = cancel_check();

		if (r || now >= end)
			return r;
		t.tv_nsec = (long)min_u64(end - now, 100000000);
		nanosleep(&t, NULL);
	}
}

static uint64_t pause_of(const struct http_response *a, unsigned turn)
{
	const char *after = http_header(a, "Retry-After");
	uint64_t s, ms = POLL_FIRST_MS << (turn < 6 ? turn : 6);

	if (after) {
		if (parse_u64(after, &s) == 0)
			ms = s * 1000;
		else
			err_clear();
	}
	return min_u64(ms, POLL_MAX_MS);
}

/* "Succeeded", "Failed", "Canceled" end it; whatever else there is goes on. */
static int ended(const char *what, const struct json *j, bool *done)
{
	const char *s = json_get_str(j, "status");
	const struct json *e = json_get(j, "error");
	const char *code = json_get_str(e, "code");
	const char *message = json_get_str(e, "message");

	if (!s)
		return fail(-EPROTO, "%s: a state of no operation", what);
	*done = !strcasecmp(s, "Succeeded");
	if (*done)
		return 0;
	if (!strcasecmp(s, "Failed") || !strcasecmp(s, "Canceled") ||
	    !strcasecmp(s, "Cancelled"))
		return fail(-EIO, "%s: Azure says %s%s%.100s%s%.400s", what, s,
			    code ? ": " : "", code ? code : "",
			    message ? ": " : "", message ? message : "");
	return 0;
}

static int keep_link(struct azure *az, const char *what,
		     const struct http_response *a, const char *name,
		     struct buf *to)
{
	const char *url = http_header(a, name);
	int r;

	if (!url)
		return 0;
	r = check_link(az, what, name, url);
	if (r)
		return r;
	buf_str(to, url);
	return buf_check(to, name);
}

static int follow_status(struct azure *az, const char *what, const char *url,
			 uint64_t pause, struct json **status)
{
	for (unsigned turn = 0;; turn++) {
		DROP(http_response) struct http_response a = { 0 };
		DROP(secret_json) struct json *j = NULL;
		bool done = false;
		int r = arm_wait(pause);

		if (!r)
			r = get_url(az, what, url, true, &a);
		if (!r)
			r = parse_answer(&a, &j);
		if (!r)
			r = ended(what, j, &done);
		if (r)
			return r;
		if (done) {
			*status = take(j);
			return 0;
		}
		pause = pause_of(&a, turn + 1);
	}
}

static int follow_location(struct azure *az, const char *what, const char *url,
			   uint64_t pause, struct json **result)
{
	for (unsigned turn = 0;; turn++) {
		DROP(http_response) struct http_response a = { 0 };
		int r = get_url(az, what, url, true, &a);

		if (r)
			return r;
		if (a.status != 202)
			return answer_len(&a) ? parse_answer(&a, result) : 0;
		pause = pause_of(&a, turn);
		r = arm_wait(pause);
		if (r)
			return r;
	}
}

/* What a 202 began. */
static int follow(struct azure *az, const char *what,
		  const struct http_response *a, struct json **result,
		  struct json **status)
{
	DROP(buf) struct buf async = BUF_INIT(HTTP_HEAD_MAX);
	DROP(buf) struct buf location = BUF_INIT(HTTP_HEAD_MAX);
	uint64_t pause = pause_of(a, 0);
	int r = keep_link(az, what, a, "Azure-AsyncOperation", &async);

	if (!r)
		r = keep_link(az, what, a, "Location", &location);
	if (r)
		return r;
	if (!async.len && !location.len)
		return fail(-EPROTO, "%s: Azure does not say where to ask on",
			    what);
	if (async.len)
		r = follow_status(az, what, buf_cstr(&async), pause, status);
	if (!r && location.len)
		r = follow_location(az, what, buf_cstr(&location), pause,
				    result);
	return r;
}

int arm_post(struct azure *az, const char *what, const char *path,
	     const char *query, const struct json *body, struct json **result,
	     struct json **status)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(secret_json) struct json *res = NULL;
	DROP(secret_json) struct json *st = NULL;
	DROP(buf) struct buf url = BUF_INIT(16384);
	DROP(mem) char *text = NULL;
	size_t len = 0;
	int r = make_url(az, path, query, &url);

	if (!r && body)
		r = json_text(body, false, &text, &len);
	if (!r)
		r = send_request(az, what, "POST", buf_cstr(&url), text, len,
				 true, &a);
	if (r)
		return r;
	if (a.status == 202)
		r = follow(az, what, &a, &res, &st);
	else if (a.status < 200 || a.status > 299)
		r = arm_failed(what, a.status, text_of(&a), a.body.len);
	else if (answer_len(&a))
		r = parse_answer(&a, &res);
	if (r)
		return r;
	*result = take(res);
	*status = take(st);
	return 0;
}
