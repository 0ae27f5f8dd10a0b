// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * <?xml version="1.0" encoding="utf-8"?>
 * <PageList>
 *	<PageRange><Start>0</Start><End>511</End></PageRange>
 *	<ClearRange><Start>512</Start><End>1023</End></ClearRange>
 *	<NextMarker/>
 * </PageList>
 *
 * Five elements without attributes, whose texts are numbers and one opaque word: a
 * scanner of elements is all that takes. Whatever else there is is refused.
 */
#include <errno.h>
#include <string.h>

#include "backend/azure/pages.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

#define PAGE 512

struct scan {
	const char *p, *end;
};

static void skip_space(struct scan *s)
{
	while (s->p < s->end && strchr(" \t\r\n", *s->p))
		s->p++;
}

static bool starts(const struct scan *s, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(s->end - s->p) >= n && !memcmp(s->p, word, n);
}

/* Moves past the word, and the space before it, if it is next. */
static bool eat(struct scan *s, const char *word)
{
	skip_space(s);
	if (!starts(s, word))
		return false;
	s->p += strlen(word);
	return true;
}

static bool eat_number(struct scan *s, uint64_t *v)
{
	char digits[24];
	size_t n = 0;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
		if (n + 1 == sizeof(digits))
			return false;
		digits[n++] = *s->p++;
	}
	digits[n] = '\0';
	if (n && parse_u64(digits, v) == 0)
		return true;
	err_clear();
	return false;
}

static void eat_declaration(struct scan *s)
{
	/* The BOM that the service writes. */
	if (starts(s, "\xef\xbb\xbf"))
		s->p += 3;
	skip_space(s);
	if (!starts(s, "<?xml"))
		return;
	while (s->p < s->end && *s->p != '>')
		s->p++;
	if (s->p < s->end)
		s->p++;
}

/* 1: a range; 0: something else is next. Half a range is no range that is not
 * there: what it says would read as zeros. */
static int eat_range(struct scan *s, struct page_range *out)
{
	const char *close;
	uint64_t first, last;

	if (eat(s, "<PageRange>")) {
		close = "</PageRange>";
		out->clear = false;
	} else if (eat(s, "<ClearRange>")) {
		close = "</ClearRange>";
		out->clear = true;
	} else {
		return 0;
	}
	if (!eat(s, "<Start>") || !eat_number(s, &first) ||
	    !eat(s, "</Start>") || !eat(s, "<End>") || !eat_number(s, &last) ||
	    !eat(s, "</End>") || !eat(s, close) || last < first ||
	    last == UINT64_MAX)
		return fail(-EPROTO, "a page range that cannot be read");
	out->off = first;
	out->len = last - first + 1;
	return 1;
}

static int eat_marker(struct scan *s, struct buf *marker)
{
	const char *text;

	if (eat(s, "<NextMarker/>") || eat(s, "<NextMarker />"))
		return 0;
	if (!eat(s, "<NextMarker>"))
		return 0;
	text = s->p;
	/* It goes back escaped for a URL: no entities are expected in it. */
	while (s->p < s->end && *s->p != '<' && *s->p != '&')
		s->p++;
	buf_add(marker, text, (size_t)(s->p - text));
	if (!eat(s, "</NextMarker>"))
		return fail(-EPROTO, "a marker of page ranges that cannot be "
				     "read");
	return 0;
}

static int add(struct page_ranges *to, const struct page_range *r, size_t max)
{
	struct page_range *last = to->count ? &to->v[to->count - 1] : NULL;

	if (last && last->off + last->len == r->off &&
	    last->clear == r->clear) {
		last->len += r->len;
		return 0;
	}
	if (to->count == max)
		return fail(-EFBIG, "more than %zu page ranges", max);
	if (to->count == to->room) {
		size_t room = 2 * to->room + 64;
		struct page_range *v = realloc(to->v, room * sizeof(*v));

		if (!v)
			return fail(-ENOMEM, "no memory for page ranges");
		to->v = v;
		to->room = room;
	}
	to->v[to->count++] = *r;
	return 0;
}

static int check_range(const struct page_range *r, uint64_t at, uint64_t from,
		       uint64_t end)
{
	if (r->off < from || r->off >= end || r->len > end - r->off)
		return fail(-EPROTO, "page ranges beyond what was asked");
	if (r->off < at)
		return fail(-EPROTO, "page ranges out of order");
	if (r->off % PAGE || r->len % PAGE)
		return fail(-EPROTO, "page ranges that are not in pages");
	return 0;
}

static int eat_end(struct scan *s)
{
	skip_space(s);
	if (s->p != s->end)
		return fail(-EPROTO, "more behind a list of page ranges");
	return 0;
}

int page_ranges_parse(const char *text, size_t len, uint64_t from, uint64_t end,
		      size_t max, struct page_ranges *to, struct buf *marker)
{
	struct scan s = { text, text + len };
	struct page_range r;
	int e;

	eat_declaration(&s);
	if (eat(&s, "<PageList/>") || eat(&s, "<PageList />"))
		return eat_end(&s);
	if (!eat(&s, "<PageList>"))
		return fail(-EPROTO,
			    "an answer that is no list of page ranges");
	while ((e = eat_range(&s, &r)) > 0) {
		uint64_t at = to->count ? to->v[to->count - 1].off +
						  to->v[to->count - 1].len
					: 0;

		e = check_range(&r, at, from, end);
		if (!e)
			e = add(to, &r, max);
		if (e)
			return e;
	}
	if (!e)
		e = eat_marker(&s, marker);
	if (e)
		return e;
	if (!eat(&s, "</PageList>"))
		return fail(-EPROTO,
			    "a list of page ranges that cannot be read");
	e = eat_end(&s);
	return e ? e : buf_check(marker, "marker of page ranges");
}

void page_ranges_release(struct page_ranges *l)
{
	free(l->v);
	*l = (struct page_ranges){ 0 };
}
