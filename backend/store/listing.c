// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/store/xml.h"

/* More than any server sends in a page. */
#define ITEMS_MAX 100000

struct reading {
	struct listing *l;
	struct listing_item now; /* the entry that is being read */
	bool odd;		 /* its name is not in the XML as it is */
};

static bool is(const struct xml_element *e, const char *parent,
	       const char *name)
{
	return !strcmp(e->name, name) && !strcmp(e->parent, parent);
}

static int keep_text(const struct xml_element *e, char **to)
{
	free(*to);
	*to = NULL;
	if (!e->len)
		return 0;
	*to = strdup(e->text);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

static int keep_size(const struct xml_element *e, uint64_t *to)
{
	return parse_u64(e->text, to) == 0
		       ? 0
		       : fail(-EPROTO, "a listing with a size of '%.40s'",
			      e->text);
}

/* Azure: "Sun, 22 Nov 2026 01:00:00 GMT". */
static int64_t rfc_seconds(const char *text)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	return end && !*end ? (int64_t)timegm(&tm) : 0;
}

static int add(struct reading *g, bool folder)
{
	struct listing *l = g->l;
	struct listing_item *more;

	/* A name that our objects cannot have: not one of ours. */
	if (!g->now.name || g->odd) {
		free(g->now.name);
		g->now = (struct listing_item){ 0 };
		g->odd = false;
		return 0;
	}
	if (l->count == ITEMS_MAX)
		return fail(-EPROTO, "a listing of more than %d entries",
			    ITEMS_MAX);
	if (!(l->count & (l->count - 1))) {
		more = reallocarray(l->items, l->count ? 2 * l->count : 1,
				    sizeof(*more));
		if (!more)
			return fail(-ENOMEM, "out of memory");
		l->items = more;
	}
	g->now.folder = folder;
	if (folder)
		g->now.size = 0;
	l->items[l->count++] = g->now;
	g->now = (struct listing_item){ 0 };
	return 0;
}

static bool encoded(const struct xml_element *e)
{
	return memmem(e->attributes, e->attributes_len, "Encoded", 7) != NULL;
}

static int azure_element(void *ctx, const struct xml_element *e)
{
	struct reading *g = ctx;

	if (is(e, "Blob", "Name") || is(e, "BlobPrefix", "Name")) {
		g->odd = encoded(e);
		return keep_text(e, &g->now.name);
	}
	if (is(e, "Properties", "Content-Length"))
		return keep_size(e, &g->now.size);
	if (is(e, "Properties", "Last-Modified")) {
		g->now.modified_s = rfc_seconds(e->text);
		return 0;
	}
	if (is(e, "Blobs", "Blob"))
		return add(g, false);
	if (is(e, "Blobs", "BlobPrefix"))
		return add(g, true);
	if (is(e, "EnumerationResults", "NextMarker"))
		return keep_text(e, &g->l->marker);
	if (!*e->parent && strcmp(e->name, "EnumerationResults") != 0)
		return fail(-EPROTO, "an answer in XML that is no listing");
	return 0;
}

static int s3_element(void *ctx, const struct xml_element *e)
{
	struct reading *g = ctx;

	if (is(e, "Contents", "Key") || is(e, "CommonPrefixes", "Prefix"))
		return keep_text(e, &g->now.name);
	if (is(e, "Contents", "Size"))
		return keep_size(e, &g->now.size);
	if (is(e, "ListBucketResult", "Contents"))
		return add(g, false);
	if (is(e, "ListBucketResult", "CommonPrefixes"))
		return add(g, true);
	if (is(e, "ListBucketResult", "IsTruncated"))
		g->l->truncated = !strcmp(e->text, "true");
	if (!*e->parent && strcmp(e->name, "ListBucketResult") != 0)
		return fail(-EPROTO, "an answer in XML that is no listing");
	return 0;
}

static int parse(const char *text, size_t len,
		 int (*element)(void *, const struct xml_element *),
		 struct listing *out)
{
	struct reading g = { .l = out };
	int r;

	*out = (struct listing){ 0 };
	r = xml_walk(text, len, element, &g);
	free(g.now.name);
	if (r < 0)
		listing_release(out);
	return r;
}

int listing_parse_azure(const char *text, size_t len, struct listing *out)
{
	return parse(text, len, azure_element, out);
}

int listing_parse_s3(const char *text, size_t len, struct listing *out)
{
	return parse(text, len, s3_element, out);
}

void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
	free(l->marker);
	*l = (struct listing){ 0 };
}

static int code_element(void *ctx, const struct xml_element *e)
{
	char *out = ctx;
	size_t n = 0;

	if (!is(e, "Error", "Code"))
		return 0;
	for (size_t i = 0; i < e->len && n < LISTING_CODE_MAX - 1; i++) {
		char c = e->text[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9'))
			out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

void listing_error_code(const char *text, size_t len,
			char out[static LISTING_CODE_MAX])
{
	*out = '\0';
	/* It only explains: what cannot be read of it is left out. */
	if (xml_walk(text, len, code_element, out) < 0)
		err_clear();
}

static int sync_element(void *ctx, const struct xml_element *e)
{
	if (is(e, "GeoReplication", "LastSyncTime"))
		*(int64_t *)ctx = rfc_seconds(e->text);
	return 0;
}

int listing_parse_sync(const char *text, size_t len, int64_t *out_s)
{
	int64_t s = 0;
	int r = xml_walk(text, len, sync_element, &s);

	if (r < 0)
		return r;
	if (!s)
		return fail(-EPROTO, "the service does not say up to when its "
				     "secondary copy is whole");
	*out_s = s;
	return 0;
}
