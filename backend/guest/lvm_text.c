// SPDX-License-Identifier: GPL-3.0-or-later
/*
 *	vg0 {				# a section
 *		seqno = 4
 *		status = ["READ", "WRITE"]
 *		physical_volumes {
 *			pv0 { id = "…" }
 *		}
 *	}
 *
 * Names are words or quoted; strings have \" and \\; numbers are not negative
 * where we look, so that a sign makes a number 0 and no error.
 */
#include "backend/guest/lvm_text.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

#define DEPTH_MAX 8
#define NODES_MAX 400000
#define BLOCK_NODES 512

struct block {
	struct block *next;
	size_t used;
	struct text_node nodes[BLOCK_NODES];
};

struct lvm_text {
	char *text; /* strings in it are ended in place */
	struct block *blocks;
	size_t count;
	struct text_node root;
};

struct parser {
	struct lvm_text *t;
	char *p, *end; /* *end is NUL */
};

static int broken(const struct parser *p, const char *what)
{
	return fail(-EPROTO, "LVM metadata: %s at byte %zu", what,
		    (size_t)(p->p - p->t->text));
}

static int new_node(struct parser *p, struct text_node **ret)
{
	struct block *b = p->t->blocks;

	if (++p->t->count > NODES_MAX)
		return broken(p, "too many values");
	if (!b || b->used == BLOCK_NODES) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return fail(-ENOMEM, "out of memory");
		b->next = p->t->blocks;
		p->t->blocks = b;
	}
	*ret = &b->nodes[b->used++];
	return 0;
}

static void skip_space(struct parser *p)
{
	for (;;) {
		p->p += strspn(p->p, " \t\r\n");
		if (*p->p != '#')
			return;
		p->p += strcspn(p->p, "\n");
	}
}

/* From behind the opening quote; ends it in place. */
static int quoted(struct parser *p, const char **ret)
{
	char *to = p->p;

	*ret = p->p;
	for (; p->p < p->end && *p->p != '"'; p->p++) {
		if (*p->p == '\\' && p->p + 1 < p->end)
			p->p++;
		*to++ = *p->p;
	}
	if (p->p >= p->end)
		return broken(p, "a string without an end");
	p->p++;
	*to = '\0';
	return 0;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("_.+-/", c));
}

/* A name and what follows it: '{' or '='; the name is ended in its place. */
static int name(struct parser *p, const char **ret, char *what)
{
	char *end;
	int r;

	if (*p->p == '"') {
		p->p++;
		r = quoted(p, ret);
		if (r)
			return r;
		end = NULL;
	} else {
		*ret = p->p;
		while (is_word(*p->p))
			p->p++;
		end = p->p;
		if (end == *ret)
			return broken(p, "no name");
	}
	skip_space(p);
	*what = *p->p;
	if (*what != '{' && *what != '=')
		return broken(p, "neither a section nor a value");
	p->p++;
	if (end)
		*end = '\0';
	return 0;
}

static void number(struct parser *p, struct text_node *n)
{
	bool fits = true;

	n->kind = TEXT_NUMBER;
	for (; *p->p >= '0' && *p->p <= '9'; p->p++)
		fits = fits &&
		       !__builtin_mul_overflow(n->number, 10, &n->number) &&
		       !__builtin_add_overflow(n->number, *p->p - '0',
					       &n->number);
	if (!fits)
		n->number = UINT64_MAX;
}

/* What is no list. */
static int scalar(struct parser *p, struct text_node *n)
{
	char c = *p->p;

	if (c == '"') {
		n->kind = TEXT_STRING;
		p->p++;
		return quoted(p, &n->string);
	}
	if (c >= '0' && c <= '9') {
		number(p, n);
		if (*p->p != '.')
			return 0;
	} else if (c != '-') {
		return broken(p, "no value");
	}
	n->kind = TEXT_NUMBER;
	n->number = 0;
	p->p++;
	p->p += strspn(p->p, "0123456789.");
	return 0;
}

static int list(struct parser *p, struct text_node *n)
{
	const struct text_node **at = &n->child;
	struct text_node *item;
	int r;

	n->kind = TEXT_LIST;
	for (;;) {
		skip_space(p);
		if (*p->p == ']') {
			p->p++;
			return 0;
		}
		r = new_node(p, &item);
		if (!r)
			r = scalar(p, item);
		if (r)
			return r;
		*at = item;
		at = &item->next;
		skip_space(p);
		if (*p->p == ',')
			p->p++;
		else if (*p->p != ']')
			return broken(p, "a list without an end");
	}
}

static int section(struct parser *p, struct text_node *n, int depth)
{
	const struct text_node **at = &n->child;
	struct text_node *item;
	char what = 0;
	int r;

	n->kind = TEXT_SECTION;
	for (;;) {
		skip_space(p);
		if (*p->p == (depth ? '}' : '\0')) {
			/* A NUL within is no end. */
			if (!depth && p->p != p->end)
				return broken(p, "a NUL");
			p->p += depth ? 1 : 0;
			return 0;
		}
		r = new_node(p, &item);
		if (!r)
			r = name(p, &item->name, &what);
		if (r)
			return r;
		skip_space(p);
		if (what == '{' && depth == DEPTH_MAX)
			return broken(p, "sections nested too deep");
		if (what == '{') {
			r = section(p, item, depth + 1);
		} else if (*p->p == '[') {
			p->p++;
			r = list(p, item);
		} else {
			r = scalar(p, item);
		}
		if (r)
			return r;
		*at = item;
		at = &item->next;
	}
}

int lvm_text_parse(const char *text, size_t len, struct lvm_text **ret)
{
	DROP(lvm_text) struct lvm_text *t = calloc(1, sizeof(*t));
	struct parser p = { .t = t };
	int r;

	if (len > LVM_TEXT_MAX)
		return fail(-EPROTO, "LVM metadata: %zu bytes are too many",
			    len);
	/* It ends with one NUL, which counts. */
	if (len && !text[len - 1])
		len--;
	if (t)
		t->text = malloc(len + 1);
	if (!t || !t->text)
		return fail(-ENOMEM, "out of memory");
	memcpy(t->text, text, len);
	t->text[len] = '\0';
	p.p = t->text;
	p.end = t->text + len;
	r = section(&p, &t->root, 0);
	if (!r)
		*ret = take(t);
	return r;
}

void lvm_text_free(struct lvm_text *t)
{
	if (!t)
		return;
	while (t->blocks) {
		struct block *b = t->blocks;

		t->blocks = b->next;
		free(b);
	}
	free(t->text);
	free(t);
}

const struct text_node *lvm_text_root(const struct lvm_text *t)
{
	return &t->root;
}

const struct text_node *text_get(const struct text_node *section,
				 const char *name, enum text_kind kind)
{
	const struct text_node *n = section ? section->child : NULL;

	while (n && (n->kind != kind || !n->name || strcmp(n->name, name) != 0))
		n = n->next;
	return n;
}

const char *text_string(const struct text_node *section, const char *name)
{
	const struct text_node *n = text_get(section, name, TEXT_STRING);

	return n ? n->string : NULL;
}

bool text_number(const struct text_node *section, const char *name,
		 uint64_t *out)
{
	const struct text_node *n = text_get(section, name, TEXT_NUMBER);

	if (n)
		*out = n->number;
	return n;
}

bool text_has(const struct text_node *section, const char *name,
	      const char *string)
{
	const struct text_node *n = text_get(section, name, TEXT_LIST);

	for (n = n ? n->child : NULL; n; n = n->next) {
		if (n->kind == TEXT_STRING && strcmp(n->string, string) == 0)
			return true;
	}
	return false;
}
