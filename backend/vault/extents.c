// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/json.h"
#include "backend/base/parse.h"

/* 1 GiB of memory; a list of every second frame of a 8 TiB disk has as many. */
#define EXTENTS_MAX (UINT64_C(1) << 26)
#define LINE_SIZE 256

void extents_release(struct extents *e)
{
	free(e->r);
	e->r = NULL;
	e->n = 0;
}

static int by_offset(const void *x, const void *y)
{
	const struct extent_range *a = x, *b = y;

	return a->off < b->off ? -1 : a->off > b->off;
}

int extents_normalise(struct extents *e, uint64_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (e->r[i].off > size || e->r[i].len > size - e->r[i].off)
			return fail(-EINVAL,
				    "an extent of %" PRIu64
				    " bytes at offset %" PRIu64
				    " passes the end of the disk (%" PRIu64
				    " bytes)",
				    e->r[i].len, e->r[i].off, size);
	if (e->n)
		qsort(e->r, e->n, sizeof(*e->r), by_offset);
	for (size_t i = 0; i < e->n; i++) {
		struct extent_range x = e->r[i],
				    *last = n ? &e->r[n - 1] : NULL;

		if (!x.len)
			continue;
		if (last && x.off <= last->off + last->len)
			last->len =
				max_u64(last->len, x.off + x.len - last->off);
		else
			e->r[n++] = x;
	}
	e->n = n;
	return 0;
}

/* What is being read: entries, with room for more. */
struct reading {
	struct extents e;
	size_t cap;
	bool none; /* the text says that there are none */
};

static void drop_reading(struct reading *x)
{
	extents_release(&x->e);
}

static int add(struct reading *x, uint64_t off, uint64_t len)
{
	if (len > UINT64_MAX - off)
		return fail(-EINVAL, "an extent passes 2^64");
	if (x->e.n == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 64;
		struct extent_range *more;

		if (cap > EXTENTS_MAX)
			return fail(-EFBIG, "over %" PRIu64 " extents",
				    EXTENTS_MAX);
		more = reallocarray(x->e.r, cap, sizeof(*more));
		if (!more)
			return fail(-ENOMEM, "no memory for extents");
		x->e.r = more;
		x->cap = cap;
	}
	x->e.r[x->e.n++] = (struct extent_range){ off, len };
	return 0;
}

/* --- text --- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts the next word off a NUL-terminated line; "" at its end. */
static char *next_word(char **line)
{
	char *word, *p = *line;

	while (is_blank(*p))
		p++;
	word = p;
	while (*p && !is_blank(*p))
		p++;
	if (*p)
		*p++ = '\0';
	*line = p;
	return word;
}

static int parse_line(char *line, struct reading *x)
{
	char *comment = strchr(line, '#');
	char *off_text, *len_text;
	uint64_t off, len;
	int r;

	if (comment)
		*comment = '\0';
	off_text = next_word(&line);
	if (!*off_text)
		return 0;
	len_text = next_word(&line);
	if (strcmp(off_text, "none") == 0 && !*len_text && !x->none) {
		x->none = true;
		return 0;
	}
	if (!*len_text || *next_word(&line))
		return fail(-EINVAL, "a line is \"OFFSET LENGTH\"");
	r = parse_size(off_text, &off);
	if (!r)
		r = parse_size(len_text, &len);
	return r ? r : add(x, off, len);
}

static int parse_text(const char *text, size_t len, struct reading *x)
{
	const char *end = text + len;
	uint64_t number = 0;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		const char *stop = nl ? nl : end;
		size_t n = (size_t)(stop - text);
		char line[LINE_SIZE];
		int r;

		number++;
		if (n >= sizeof(line) && *text != '#')
			return fail(-EINVAL, "line %" PRIu64 ": too long",
				    number);
		n = n < sizeof(line) ? n : sizeof(line) - 1;
		if (memchr(text, '\0', n))
			return fail(-EINVAL, "line %" PRIu64 ": a NUL byte",
				    number);
		memcpy(line, text, n);
		line[n] = '\0';
		r = parse_line(line, x);
		if (r)
			return blame(r, "line %" PRIu64, number);
		text = nl ? nl + 1 : end;
	}
	if (x->none && x->e.n)
		return fail(-EINVAL, "'none' stands beside extents");
	/* What a program leaves that died before its first line would
	 * otherwise make a point that equals its base. */
	if (!x->none && !x->e.n)
		return fail(
			-EINVAL,
			"no extents in it; write 'none' if nothing changed");
	return 0;
}

/* --- JSON --- */

/* Does the entry say that it did not change? The rules are in the header. */
static int entry_clean(const struct json *e, bool *clean)
{
	const char *what = json_get_str(e, "description");
	uint64_t type;
	bool flag;

	*clean = false;
	if (json_get(e, "dirty")) {
		if (!json_get_bool(e, "dirty", &flag))
			return fail(-EINVAL, "\"dirty\" is true or false");
		*clean = !flag;
		return 0;
	}
	if (json_get(e, "present")) {
		if (!json_get_bool(e, "present", &flag))
			return fail(-EINVAL, "\"present\" is true or false");
		*clean = !flag;
	}
	if (json_get(e, "type")) {
		/* The same numbers mean data and holes in another map. */
		if (what && strcmp(what, "dirty") && strcmp(what, "clean"))
			return fail(
				-EINVAL,
				"this is a map of data and holes (\"%s\"), not of what changed: a dirty bitmap's is needed",
				what);
		if (!json_get_u64(e, "type", &type) || type > 1)
			return fail(-EINVAL,
				    "\"type\" of a dirty bitmap is 0 or 1");
		*clean = type == 0;
	}
	return 0;
}

static int parse_entry(const struct json *e, struct reading *x)
{
	uint64_t off, len;
	bool clean;
	int r;

	if (!json_get_u64(e, "start", &off) && !json_get_u64(e, "offset", &off))
		return fail(-EINVAL, "an extent needs \"start\" or \"offset\"");
	/* qemu-img has both: there "offset" is where the host has it. */
	if (!json_get_u64(e, "length", &len))
		return fail(-EINVAL, "an extent needs \"length\"");
	r = entry_clean(e, &clean);
	if (r || clean)
		return r;
	return add(x, off, len);
}

static int parse_json(const char *text, size_t len, struct reading *x)
{
	DROP(json) struct json *j = NULL;
	int r = json_parse(text, len, 4, &j);

	/* What the user gave is to blame, not what a vault holds. */
	if (r == -EPROTO)
		return blame(-EINVAL, "the list of extents");
	if (r)
		return r;
	for (size_t i = 0; i < json_len(j); i++) {
		r = parse_entry(json_at(j, i), x);
		if (r)
			return blame(r, "extent %zu", i + 1);
	}
	return 0;
}

int extents_parse(const char *text, size_t len, struct extents *out)
{
	DROP(reading) struct reading x = { 0 };
	size_t i = 0;
	int r;

	while (i < len && (is_blank(text[i]) || text[i] == '\n'))
		i++;
	r = i < len && text[i] == '[' ? parse_json(text, len, &x)
				      : parse_text(text, len, &x);
	if (r)
		return r;
	*out = x.e;
	x.e = (struct extents){ 0 };
	return 0;
}
