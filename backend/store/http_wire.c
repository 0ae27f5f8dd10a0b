// SPDX-License-Identifier: GPL-3.0-or-later
/* The part of http that has no connection: fields, ranges, dates, waits. */
#include "backend/store/http_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

#define BACKOFF_MAX_MS 20000
#define RETRY_AFTER_MAX_S 3600

/* --- what goes out --- */

static bool clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static struct http_field *find(const struct http_wire *w, const char *name)
{
	for (size_t i = 0; i < w->nfields; i++)
		if (!strcasecmp(w->fields[i].name, name))
			return (struct http_field *)&w->fields[i];
	return NULL;
}

const char *http_wire_get(const struct http_wire *w, const char *name)
{
	const struct http_field *f = find(w, name);

	return f ? f->value : NULL;
}

int http_wire_set(struct http_wire *w, const char *name, const char *value)
{
	struct http_field *f = find(w, name);
	DROP(mem) char *n = NULL;
	DROP(mem) char *v = NULL;

	/* The value may be a secret: it is not repeated. */
	if (!*name || !clean(name) || strchr(name, ':') || !clean(value))
		return fail(-EINVAL, "a header cannot be sent: it has a "
				     "control character");
	v = strdup(value);
	if (f && v) {
		secret_free_text(f->value);
		f->value = take(v);
		return 0;
	}
	if (w->nfields == HTTP_FIELDS_MAX)
		return fail(-EINVAL, "a request of more than %d headers",
			    HTTP_FIELDS_MAX);
	n = strdup(name);
	if (!n || !v)
		return fail(-ENOMEM, "out of memory");
	w->fields[w->nfields++] = (struct http_field){ take(n), take(v) };
	return 0;
}

int http_wire_url(struct http_wire *w, const char *url)
{
	char *copy = strdup(url);

	if (!copy)
		return fail(-ENOMEM, "out of memory");
	secret_free_text(w->url);
	w->url = copy;
	return 0;
}

static int set_line(struct http_wire *w, const char *line)
{
	const char *colon = strchr(line, ':');
	DROP(mem) char *name = NULL;

	if (!colon)
		return fail(-EINVAL, "a header without a colon");
	name = strndup(line, (size_t)(colon - line));
	if (!name)
		return fail(-ENOMEM, "out of memory");
	return http_wire_set(w, name, colon + 1 + strspn(colon + 1, " "));
}

int http_wire_init(struct http_wire *w, const struct http_request *q)
{
	int r = http_wire_url(w, q->url);

	w->method = q->method;
	for (size_t i = 0; i < q->npieces; i++)
		w->body_len += q->pieces[i].len;
	for (size_t i = 0; r == 0 && i < q->nfields; i++)
		r = set_line(w, q->fields[i]);
	return r;
}

void http_wire_release(struct http_wire *w)
{
	for (size_t i = 0; i < w->nfields; i++) {
		free(w->fields[i].name);
		secret_free_text(w->fields[i].value);
	}
	secret_free_text(w->url);
	*w = (struct http_wire){ 0 };
}

void http_escape(struct buf *b, const char *text, bool slash)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    (c >= '0' && c <= '9') || strchr("-._~", c) ||
		    (slash && c == '/'))
			buf_u8(b, c);
		else
			buf_printf(b, "%%%02X", c);
	}
}

void http_host(const char *url, char *out, size_t size)
{
	const char *p = strstr(url, "://"), *at;
	size_t n;

	p = p ? p + 3 : url;
	n = strcspn(p, "/?#");
	at = memrchr(p, '@', n);
	if (at) {
		n -= (size_t)(at + 1 - p);
		p = at + 1;
	}
	snprintf(out, size, "%.*s", (int)min_u64(n, size - 1), p);
}

/* --- what comes --- */

/* Names and values, each with its NUL. */
void http_head_line(struct buf *head, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	const char *v, *end = line + len;

	if (!colon || colon == line)
		return;
	v = colon + 1;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (unsigned char)end[-1] <= ' ')
		end--;
	/* A NUL would shift all that follows. */
	if (memchr(line, '\0', len))
		return;
	buf_add(head, line, (size_t)(colon - line));
	buf_u8(head, 0);
	buf_add(head, v, (size_t)(end - v));
	buf_u8(head, 0);
}

const char *http_header(const struct http_response *a, const char *name)
{
	const char *p = (const char *)a->head.data;
	const char *end = p + a->head.len;

	while (p && p < end) {
		const char *value = p + strlen(p) + 1;

		if (!strcasecmp(p, name))
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

void http_response_release(struct http_response *a)
{
	buf_release(&a->head);
	buf_release(&a->body);
	secret_close(take(a->locked));
	a->locked_len = 0;
	a->status = 0;
}

/* Up to 18 digits at p; NULL without any. */
static const char *digits(const char *p, uint64_t *out)
{
	const char *start = p;

	*out = 0;
	while (*p >= '0' && *p <= '9' && p - start < 18)
		*out = *out * 10 + (uint64_t)(*p++ - '0');
	return p == start || (*p >= '0' && *p <= '9') ? NULL : p;
}

bool http_parse_range(const char *text, struct http_range *out)
{
	struct http_range g = { .total = UINT64_MAX };
	const char *p = text;

	if (strncasecmp(p, "bytes", 5) != 0)
		return false;
	p += 5;
	while (*p == ' ' || *p == '=')
		p++;
	if (*p == '*') {
		p++;
	} else {
		p = digits(p, &g.first);
		if (!p || *p++ != '-' || !(p = digits(p, &g.last)))
			return false;
		g.placed = true;
	}
	if (*p++ != '/')
		return false;
	if (*p == '*')
		p++;
	else if (!(p = digits(p, &g.total)))
		return false;
	if (*p)
		return false;
	*out = g;
	return true;
}

/* --- time --- */

void http_date(int64_t ns, char out[static HTTP_DATE_SIZE])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm = { 0 };

	/* Not strftime(): the names do not follow the locale. */
	gmtime_r(&t, &tm);
	snprintf(out, HTTP_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
		 days + 3 * tm.tm_wday, tm.tm_mday % 100,
		 months + 3 * tm.tm_mon, (tm.tm_year + 1900) % 10000,
		 tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
}

bool http_parse_date(const char *text, int64_t *seconds)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	if (!end || *end)
		return false;
	*seconds = (int64_t)timegm(&tm);
	return true;
}

/* Seconds, or a date. */
static bool retry_after(const char *text, int64_t now_ns, uint64_t *ms)
{
	const char *end;
	uint64_t s;
	int64_t left;

	end = digits(text, &s);
	if (end && !*end) {
		*ms = min_u64(s, RETRY_AFTER_MAX_S) * 1000;
		return true;
	}
	if (!http_parse_date(text, &left))
		return false;
	left -= now_ns / 1000000000;
	*ms = left <= 0 ? 0 : min_u64((uint64_t)left, RETRY_AFTER_MAX_S) * 1000;
	return true;
}

uint64_t http_backoff_ms(uint64_t unit, unsigned failed, bool broke,
			 const char *after, int64_t now_ns, uint32_t dice)
{
	uint64_t ms;

	if (after && retry_after(after, now_ns, &ms))
		/* Not all who were told the same come at the same time. */
		return ms + (ms ? dice % 250 : 0);
	if (failed <= 1)
		/* A connection that had stood idle for too long breaks when it
		 * is used: that says nothing about the server. */
		return broke ? 0 : dice % (unit / 4 + 1);
	ms = failed > 16 ? BACKOFF_MAX_MS
			 : min_u64(unit * ((1u << (failed - 1)) - 1),
				   BACKOFF_MAX_MS);
	/* 3/4 to 5/4 */
	return ms * 3 / 4 + (ms ? dice % (ms / 2 + 1) : 0);
}
