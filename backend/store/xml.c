// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/xml.h"

#include <errno.h>
#include <string.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"

/* One element that is open. */
struct level {
	char name[XML_NAME_MAX + 1];
	struct buf text;
	const char *attributes;
	size_t attributes_len;
};

struct walk {
	const char *p, *end;
	struct level levels[XML_DEPTH_MAX];
	size_t depth;
	bool root; /* the outermost element was there */
	int (*element)(void *ctx, const struct xml_element *e);
	void *ctx;
};

static void drop_walk(struct walk *w)
{
	for (size_t i = 0; i < XML_DEPTH_MAX; i++)
		buf_release(&w->levels[i].text);
}

static int bad(const char *why)
{
	return fail(-EPROTO, "an answer in XML that %s", why);
}

static bool at(const struct walk *w, const char *words)
{
	size_t n = strlen(words);

	return (size_t)(w->end - w->p) >= n && !memcmp(w->p, words, n);
}

static bool space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
	       c == ':' || (unsigned char)c >= 0x80;
}

/* Past the next `words`. */
static int skip_past(struct walk *w, const char *words)
{
	const char *q =
		memmem(w->p, (size_t)(w->end - w->p), words, strlen(words));

	if (!q)
		return bad("ends too early");
	w->p = q + strlen(words);
	return 0;
}

static int read_name(struct walk *w, char out[static XML_NAME_MAX + 1])
{
	const char *start = w->p, *colon;
	size_t n;

	while (w->p < w->end && name_byte(*w->p))
		w->p++;
	n = (size_t)(w->p - start);
	colon = memrchr(start, ':', n);
	if (colon) {
		n -= (size_t)(colon + 1 - start);
		start = colon + 1;
	}
	if (!n || n > XML_NAME_MAX)
		return bad("has an element without a usable name");
	memcpy(out, start, n);
	out[n] = '\0';
	return 0;
}

/* --- text --- */

static void put_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_u8(b, (uint8_t)c);
	} else if (c < 0x800) {
		buf_u8(b, (uint8_t)(0xc0 | c >> 6));
		buf_u8(b, (uint8_t)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		buf_u8(b, (uint8_t)(0xe0 | c >> 12));
		buf_u8(b, (uint8_t)(0x80 | (c >> 6 & 63)));
		buf_u8(b, (uint8_t)(0x80 | (c & 63)));
	} else {
		buf_u8(b, (uint8_t)(0xf0 | c >> 18));
		buf_u8(b, (uint8_t)(0x80 | (c >> 12 & 63)));
		buf_u8(b, (uint8_t)(0x80 | (c >> 6 & 63)));
		buf_u8(b, (uint8_t)(0x80 | (c & 63)));
	}
}

/* "#65" or "#x41". */
static bool reference(const char *p, size_t n, uint32_t *out)
{
	uint32_t base = n > 1 && p[1] == 'x' ? 16 : 10, v = 0;
	size_t i = base == 16 ? 2 : 1;

	if (i >= n || n > 9)
		return false;
	for (; i < n; i++) {
		char c = p[i];
		uint32_t d = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
			     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
			     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
						    : 16;

		if (d >= base)
			return false;
		v = v * base + d;
	}
	*out = v;
	return v && v <= 0x10ffff && !(v >= 0xd800 && v < 0xe000);
}

static int entity(struct walk *w, struct buf *out)
{
	static const struct {
		const char *name;
		char c;
	} known[] = { { "lt", '<' },
		      { "gt", '>' },
		      { "amp", '&' },
		      { "quot", '"' },
		      { "apos", '\'' } };
	size_t left = (size_t)(w->end - w->p);
	const char *name = w->p + 1;
	const char *semi = memchr(w->p, ';', min_u64(left, 12));
	size_t n = semi ? (size_t)(semi - name) : 0;
	uint32_t c;

	w->p = semi ? semi + 1 : w->end;
	for (size_t i = 0; n && i < ARRAY_SIZE(known); i++) {
		if (n == strlen(known[i].name) &&
		    !memcmp(name, known[i].name, n)) {
			buf_u8(out, (uint8_t)known[i].c);
			return 0;
		}
	}
	if (!n || *name != '#' || !reference(name, n, &c))
		return bad("has an entity that is not known");
	put_utf8(out, c);
	return 0;
}

static int text_room(struct walk *w)
{
	struct buf *b = &w->levels[w->depth - 1].text;

	if (!b->failed)
		return 0;
	return b->no_memory ? fail(-ENOMEM, "out of memory")
			    : bad("has too long a text");
}

/* Up to the next '<'. */
static int read_text(struct walk *w)
{
	struct buf *b = w->depth ? &w->levels[w->depth - 1].text : NULL;
	int r = 0;

	while (r == 0 && w->p < w->end && *w->p != '<') {
		const char *start = w->p;

		while (w->p < w->end && *w->p != '<' && *w->p != '&')
			w->p++;
		if (memchr(start, '\0', (size_t)(w->p - start)))
			return bad("has a zero byte");
		if (b) {
			buf_add(b, start, (size_t)(w->p - start));
		} else {
			while (start < w->p && space(*start))
				start++;
			if (start < w->p || (w->p < w->end && *w->p == '&'))
				return bad("has text outside of it");
		}
		if (w->p < w->end && *w->p == '&')
			r = entity(w, b);
		if (r == 0 && b)
			r = text_room(w);
	}
	return r;
}

static int read_cdata(struct walk *w)
{
	const char *start = w->p + 9;
	int r;

	w->p = start;
	r = skip_past(w, "]]>");
	if (r < 0)
		return r;
	if (!w->depth)
		return bad("has text outside of it");
	if (memchr(start, '\0', (size_t)(w->p - start)))
		return bad("has a zero byte");
	buf_add(&w->levels[w->depth - 1].text, start,
		(size_t)(w->p - 3 - start));
	return text_room(w);
}

/* --- elements --- */

static int close_level(struct walk *w)
{
	struct level *l = &w->levels[--w->depth];
	struct xml_element e = {
		.name = l->name,
		.parent = w->depth ? w->levels[w->depth - 1].name : "",
		.text = buf_cstr(&l->text),
		.len = l->text.len,
		.attributes = l->attributes,
		.attributes_len = l->attributes_len,
	};

	return w->element(w->ctx, &e);
}

/* Past the attributes: to the '>' that is not within quotes. */
static int skip_attributes(struct walk *w)
{
	char quote = '\0';

	for (; w->p < w->end; w->p++) {
		if (quote) {
			if (*w->p == quote)
				quote = '\0';
		} else if (*w->p == '"' || *w->p == '\'') {
			quote = *w->p;
		} else if (*w->p == '<') {
			return bad("has a '<' within an element");
		} else if (*w->p == '>') {
			return 0;
		}
	}
	return bad("ends too early");
}

static int open_level(struct walk *w)
{
	struct level *l;
	bool empty;
	int r;

	w->p++;
	if (w->depth == XML_DEPTH_MAX)
		return bad("is too deep");
	if (!w->depth && w->root)
		return bad("has a second outermost element");
	l = &w->levels[w->depth];
	r = read_name(w, l->name);
	if (r < 0)
		return r;
	l->attributes = w->p;
	r = skip_attributes(w);
	if (r < 0)
		return r;
	empty = w->p > l->attributes && w->p[-1] == '/';
	l->attributes_len = (size_t)(w->p - l->attributes) - empty;
	w->p++;
	buf_init(&l->text, XML_TEXT_MAX);
	w->depth++;
	w->root = true;
	r = empty ? close_level(w) : 0;
	if (empty)
		buf_release(&l->text);
	return r;
}

static int end_level(struct walk *w)
{
	char name[XML_NAME_MAX + 1];
	int r;

	w->p += 2;
	r = read_name(w, name);
	if (r < 0)
		return r;
	while (w->p < w->end && space(*w->p))
		w->p++;
	if (w->p == w->end || *w->p != '>')
		return bad("ends too early");
	w->p++;
	if (!w->depth || strcmp(name, w->levels[w->depth - 1].name) != 0)
		return bad("ends another element than it began");
	r = close_level(w);
	buf_release(&w->levels[w->depth].text);
	return r;
}

static int markup(struct walk *w)
{
	if (at(w, "<?"))
		return skip_past(w, "?>");
	if (at(w, "<!--"))
		return skip_past(w, "-->");
	if (at(w, "<![CDATA["))
		return read_cdata(w);
	if (at(w, "<!"))
		return bad("has a DTD");
	return at(w, "</") ? end_level(w) : open_level(w);
}

int xml_walk(const char *text, size_t len,
	     int (*element)(void *ctx, const struct xml_element *e), void *ctx)
{
	__attribute__((cleanup(drop_walk))) struct walk w = { .p = text,
							      .end = text + len,
							      .element =
								      element,
							      .ctx = ctx };
	int r = 0;

	if (at(&w, "\xef\xbb\xbf"))
		w.p += 3;
	while (r == 0 && w.p < w.end)
		r = *w.p == '<' ? markup(&w) : read_text(&w);
	if (r < 0)
		return r;
	return w.depth || !w.root ? bad("ends too early") : 0;
}
