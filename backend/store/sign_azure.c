// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/sign_azure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/base64.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"

#define TEXT_MAX (64u << 10)
#define QUERY_MAX 32

/* The standard headers, in the order in which they are signed. */
static const char *const fixed[] = {
	"Content-Encoding",
	"Content-Language",
	NULL, /* Content-Length */
	"Content-MD5",
	"Content-Type",
	"Date",
	"If-Modified-Since",
	"If-Match",
	"If-None-Match",
	"If-Unmodified-Since",
	"Range",
};

static void add_fixed(const struct http_wire *w, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		const char *v = fixed[i] ? http_wire_get(w, fixed[i]) : NULL;

		if (v)
			buf_str(out, v);
		else if (!fixed[i] && w->body_len)
			buf_printf(out, "%llu",
				   (unsigned long long)w->body_len);
		buf_u8(out, '\n');
	}
}

static int by_name(const void *a, const void *b)
{
	const struct http_field *const *x = a, *const *y = b;

	return strcasecmp((*x)->name, (*y)->name);
}

static void add_lower(struct buf *out, const char *s, size_t n)
{
	for (; n; n--, s++)
		buf_u8(out, *s >= 'A' && *s <= 'Z' ? (uint8_t)(*s + 32)
						   : (uint8_t)*s);
}

/* By name; for the names of ours the service's order is that of the bytes. */
static void add_own(const struct http_wire *w, struct buf *out)
{
	const struct http_field *own[HTTP_FIELDS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < w->nfields; i++)
		if (!strncasecmp(w->fields[i].name, "x-ms-", 5))
			own[n++] = &w->fields[i];
	qsort(own, n, sizeof(struct http_field *), by_name);
	for (size_t i = 0; i < n; i++) {
		add_lower(out, own[i]->name, strlen(own[i]->name));
		buf_u8(out, ':');
		buf_str(out, own[i]->value);
		buf_u8(out, '\n');
	}
}

struct pair {
	const char *key, *value;
	size_t klen, vlen;
};

static int by_key(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int c = strncasecmp(x->key, y->key, min_u64(x->klen, y->klen));

	return c ? c : (x->klen > y->klen) - (x->klen < y->klen);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static void add_decoded(struct buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi, lo;

		if (s[i] == '%' && n - i > 2 &&
		    (hi = hex_digit(s[i + 1])) >= 0 &&
		    (lo = hex_digit(s[i + 2])) >= 0) {
			buf_u8(out, (uint8_t)(hi << 4 | lo));
			i += 2;
		} else {
			buf_u8(out, (uint8_t)s[i]);
		}
	}
}

static int add_query(const char *p, struct buf *out)
{
	struct pair pairs[QUERY_MAX];
	size_t n = 0;

	while (*p) {
		size_t len = strcspn(p, "&");
		const char *eq = memchr(p, '=', len);
		size_t klen = eq ? (size_t)(eq - p) : len;

		if (n == QUERY_MAX)
			return fail(-EINVAL, "a query of more than %d parts",
				    QUERY_MAX);
		if (len)
			pairs[n++] = (struct pair){ p, eq ? eq + 1 : p + klen,
						    klen,
						    len - klen - (eq != NULL) };
		p += len + (p[len] == '&');
	}
	qsort(pairs, n, sizeof(*pairs), by_key);
	for (size_t i = 0; i < n; i++) {
		buf_u8(out, '\n');
		add_lower(out, pairs[i].key, pairs[i].klen);
		buf_u8(out, ':');
		add_decoded(out, pairs[i].value, pairs[i].vlen);
	}
	return 0;
}

static int add_resource(const char *url, const char *account, struct buf *out)
{
	const char *p = strstr(url, "://");
	size_t n;

	p = p ? p + 3 : url;
	p += strcspn(p, "/?");
	n = strcspn(p, "?");
	buf_printf(out, "/%s%s%.*s", account, n ? "" : "/", (int)n, p);
	return p[n] ? add_query(p + n + 1, out) : 0;
}

int sign_azure_text(const struct http_wire *w, const char *account,
		    struct buf *out)
{
	int r;

	buf_printf(out, "%s\n", w->method);
	add_fixed(w, out);
	add_own(w, out);
	r = add_resource(w->url, account, out);
	return r < 0 ? r : buf_check(out, "what is to be signed");
}

int sign_azure(struct http_wire *w, const char *account, struct secret *key)
{
	DROP(buf) struct buf text = BUF_INIT(TEXT_MAX);
	DROP(mem) char *value = NULL;
	char sig[BASE64_ENCODED_SIZE(DIGEST_SIZE)];
	struct digest d;
	int r = sign_azure_text(w, account, &text);

	if (r < 0)
		return r;
	hmac_sha256(secret_bytes(key), secret_size(key), text.data, text.len,
		    &d);
	base64_encode(d.b, sizeof(d.b), sig);
	if (asprintf(&value, "SharedKey %s:%s", account, sig) < 0) {
		value = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return http_wire_set(w, "Authorization", value);
}
