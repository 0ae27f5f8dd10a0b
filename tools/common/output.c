// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

#define COLUMNS_MAX 16
#define FIELD_WIDTH 13

struct table {
	const char *headings[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t ncols;
	char **cells; /* row after row */
	size_t n, cap;
	bool failed;
};

int table_new(const char *const *headings, struct table **ret)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return fail(-ENOMEM, "out of memory");
	for (; headings[t->ncols] && t->ncols < COLUMNS_MAX; t->ncols++) {
		const char *h = headings[t->ncols];

		t->right[t->ncols] = *h == '>';
		t->headings[t->ncols] = *h == '>' ? h + 1 : h;
	}
	*ret = t;
	return 0;
}

/* Takes text. */
static void add(struct table *t, char *text)
{
	char **cells = t->cells;

	if (text && t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;

		cells = reallocarray(cells, cap, sizeof(*cells));
		if (cells) {
			t->cells = cells;
			t->cap = cap;
		}
	}
	if (!text || !cells) {
		free(text);
		t->failed = true;
		return;
	}
	printable(text);
	t->cells[t->n++] = text;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add(t, text);
}

void table_size(struct table *t, uint64_t bytes)
{
	char text[SIZE_TEXT_SIZE];

	size_text(bytes, text);
	table_cell(t, "%s", text);
}

size_t table_rows(const struct table *t)
{
	return t->n / t->ncols;
}

/* Columns that a terminal gives to UTF-8 text; good enough without tables of
 * wide characters. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_row(const struct table *t, const char *const *row,
		      const size_t *widths, int indent)
{
	size_t n = t->ncols;

	/* What is empty at the end is no blanks. */
	while (n && !*row[n - 1])
		n--;
	printf("%*s", indent, "");
	for (size_t c = 0; c < n; c++) {
		int pad = (int)(widths[c] - width(row[c]));
		bool last = c + 1 == n;

		if (t->right[c])
			printf("%*s%s%s", pad, "", row[c], last ? "" : "  ");
		else
			printf("%s%*s", row[c], last ? 0 : pad + 2, "");
	}
	putchar('\n');
}

int table_print(struct table *t, int indent)
{
	size_t widths[COLUMNS_MAX] = { 0 };

	if (t->failed)
		return fail(-ENOMEM, "out of memory");
	for (size_t c = 0; c < t->ncols; c++)
		widths[c] = width(t->headings[c]);
	for (size_t i = 0; i < t->n; i++)
		widths[i % t->ncols] =
			max_u64(widths[i % t->ncols], width(t->cells[i]));
	print_row(t, t->headings, widths, indent);
	for (size_t i = 0; i + t->ncols <= t->n; i += t->ncols)
		print_row(t, (const char *const *)t->cells + i, widths, indent);
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void print_field(const char *key, const char *fmt, ...)
{
	DROP(mem) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		printable(text);
	printf("%-*s%s\n", FIELD_WIDTH, key, text ? text : "?");
}

int print_json(struct json *j)
{
	DROP(json) struct json *owned = j;
	DROP(mem) char *text = NULL;
	size_t len;
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = json_text(j, true, &text, &len);
	if (r < 0)
		return r;
	fwrite(text, 1, len, stdout);
	return 0;
}

int output_finish(void)
{
	if (fflush(stdout) == EOF)
		return fail_errno(errno, "standard output");
	if (ferror(stdout))
		return fail(-EIO, "standard output: not all of it was written");
	return 0;
}
