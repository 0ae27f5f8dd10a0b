// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/sign_s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

#define TEXT_MAX (64u << 10)
#define QUERY_MAX 32
#define STAMP_SIZE 32

/* One "name=value" of the query, as it stands there. */
struct part {
	const char *p;
	size_t len;
};

/* By name: '=' ends one, and must not be compared with what goes on there. */
static int by_name_of_part(const void *a, const void *b)
{
	const struct part *x = a, *y = b;
	const char *e = memchr(x->p, '=', x->len);
	const char *f = memchr(y->p, '=', y->len);
	size_t xn = e ? (size_t)(e - x->p) : x->len;
	size_t yn = f ? (size_t)(f - y->p) : y->len;
	int c = memcmp(x->p, y->p, min_u64(xn, yn));

	return c ? c : (xn > yn) - (xn < yn);
}

static int add_query(const char *p, struct buf *out)
{
	struct part parts[QUERY_MAX];
	size_t n = 0;

	while (*p) {
		size_t len = strcspn(p, "&");

		if (n == QUERY_MAX)
			return fail(-EINVAL, "a query of more than %d parts",
				    QUERY_MAX);
		if (len)
			parts[n++] = (struct part){ p, len };
		p += len + (p[len] == '&');
	}
	qsort(parts, n, sizeof(*parts), by_name_of_part);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_u8(out, '&');
		buf_add(out, parts[i].p, parts[i].len);
		if (!memchr(parts[i].p, '=', parts[i].len))
			buf_u8(out, '=');
	}
	return 0;
}

/* As libcurl sends it: without the port that the scheme has by itself. */
static void add_host(const char *url, struct buf *out)
{
	bool tls = !strncasecmp(url, "https:", 6);
	const char *p = strstr(url, "://"), *port = tls ? ":443" : ":80";
	size_t n, k = strlen(port);

	p = p ? p + 3 : url;
	n = strcspn(p, "/?");
	if (n > k && !memcmp(p + n - k, port, k))
		n -= k;
	buf_add(out, p, n);
}

static int by_name(const void *a, const void *b)
{
	const struct http_field *const *x = a, *const *y = b;

	return strcasecmp((*x)->name, (*y)->name);
}

static void add_lower(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_u8(out, *s >= 'A' && *s <= 'Z' ? (uint8_t)(*s + 32)
						   : (uint8_t)*s);
}

/* All that are sent are signed, and the host. */
static void add_fields(const struct http_wire *w, struct buf *out,
		       struct buf *names)
{
	const struct http_field *all[HTTP_FIELDS_MAX + 1];
	DROP(buf) struct buf value = BUF_INIT(1024);
	struct http_field host = { (char *)"host", NULL };
	size_t n = 0;

	add_host(w->url, &value);
	host.value = (char *)buf_cstr(&value);
	all[n++] = &host;
	for (size_t i = 0; i < w->nfields; i++)
		if (strcasecmp(w->fields[i].name, "Authorization") != 0)
			all[n++] = &w->fields[i];
	qsort(all, n, sizeof(struct http_field *), by_name);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_u8(names, ';');
		add_lower(names, all[i]->name);
		add_lower(out, all[i]->name);
		buf_printf(out, ":%s\n", all[i]->value);
	}
}

int sign_s3_request(const struct http_wire *w, const char *payload_hex,
		    struct buf *out, struct buf *names)
{
	const char *p = strstr(w->url, "://");
	size_t n;
	int r = 0;

	p = p ? p + 3 : w->url;
	p += strcspn(p, "/?");
	n = strcspn(p, "?");
	buf_printf(out, "%s\n%.*s%s\n", w->method, (int)n, p, n ? "" : "/");
	if (p[n])
		r = add_query(p + n + 1, out);
	buf_u8(out, '\n');
	add_fields(w, out, names);
	buf_printf(out, "\n%s\n%s", buf_cstr(names), payload_hex);
	if (r == 0)
		r = buf_check(names, "what is to be signed");
	return r < 0 ? r : buf_check(out, "what is to be signed");
}

/* "20130524T000000Z"; its first eight are the day. */
static void stamp_of(int64_t ns, char out[static STAMP_SIZE])
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm = { 0 };

	gmtime_r(&t, &tm);
	strftime(out, STAMP_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

static void chain(struct digest *key, const char *text)
{
	struct digest next;

	hmac_sha256(key->b, sizeof(key->b), text, strlen(text), &next);
	*key = next;
	explicit_bzero(&next, sizeof(next));
}

static int signing_key(const struct sign_s3 *s, const char *day,
		       struct digest *out)
{
	DROP(secret) struct secret *first = NULL;
	int r = secret_new(4 + secret_size(s->key), &first);

	if (r < 0)
		return r;
	memcpy(secret_bytes(first), "AWS4", 4);
	memcpy(secret_bytes(first) + 4, secret_bytes(s->key),
	       secret_size(s->key));
	hmac_sha256(secret_bytes(first), secret_size(first), day, 8, out);
	chain(out, s->region);
	chain(out, "s3");
	chain(out, "aws4_request");
	return 0;
}

static int set_fields(struct http_wire *w, const struct sign_s3 *s,
		      const char *stamp, const char *payload_hex)
{
	DROP(mem) char *token = NULL;
	int r = http_wire_set(w, "x-amz-date", stamp);

	if (r == 0)
		r = http_wire_set(w, "x-amz-content-sha256", payload_hex);
	if (r < 0 || !s->token)
		return r;
	token = strndup((char *)secret_bytes(s->token), secret_size(s->token));
	if (!token)
		return fail(-ENOMEM, "out of memory");
	r = http_wire_set(w, "x-amz-security-token", token);
	explicit_bzero(token, strlen(token));
	return r;
}

int sign_s3(struct http_wire *w, const struct sign_s3 *s,
	    const struct digest *payload, int64_t now_ns)
{
	DROP(buf) struct buf request = BUF_INIT(TEXT_MAX);
	DROP(buf) struct buf names = BUF_INIT(TEXT_MAX);
	DROP(buf) struct buf text = BUF_INIT(TEXT_MAX);
	DROP(buf) struct buf value = BUF_INIT(TEXT_MAX);
	char stamp[STAMP_SIZE], hex[DIGEST_HEX + 1];
	struct digest d, key;
	int r;

	stamp_of(now_ns, stamp);
	digest_hex(payload, hex);
	r = set_fields(w, s, stamp, hex);
	if (r == 0)
		r = sign_s3_request(w, hex, &request, &names);
	if (r < 0)
		return r;
	sha256(request.data, request.len, &d);
	digest_hex(&d, hex);
	buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/s3/aws4_request\n%s",
		   stamp, stamp, s->region, hex);
	r = buf_check(&text, "what is to be signed");
	if (r == 0)
		r = signing_key(s, stamp, &key);
	if (r < 0)
		return r;
	hmac_sha256(key.b, sizeof(key.b), text.data, text.len, &d);
	explicit_bzero(&key, sizeof(key));
	digest_hex(&d, hex);
	buf_printf(&value,
		   "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/s3/aws4_request,"
		   "SignedHeaders=%s,Signature=%s",
		   s->key_id, stamp, s->region, buf_cstr(&names), hex);
	r = buf_check(&value, "a signature");
	return r < 0 ? r : http_wire_set(w, "Authorization", buf_cstr(&value));
}
