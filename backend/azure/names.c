// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/parse.h"

enum field { ID, NAME, SHOWN };

/* The three strings of an element. */
static char **fields(const struct name_list *l, size_t i)
{
	return (char **)((char *)l->v + i * l->size);
}

/* A valid file name of what may be none. */
static char *file_name(const char *name)
{
	DROP(buf) struct buf b = BUF_INIT(CATALOG_NAME_MAX - 16);
	size_t n = strlen(name);

	while (n > CATALOG_NAME_MAX - 20 ||
	       (n && !utf8_valid(name, n) && n > CATALOG_NAME_MAX - 24))
		n--;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		buf_u8(&b, c == '/' || (uint8_t)c < 0x20 || c == 0x7f
				   ? '_'
				   : (uint8_t)c);
	}
	if (!b.len || !strcmp(buf_cstr(&b), ".") || !strcmp(buf_cstr(&b), ".."))
		buf_str(&b, "_");
	if (!utf8_valid((char *)b.data, b.len)) {
		for (size_t i = 0; i < b.len; i++) {
			if (b.data[i] >= 0x80)
				b.data[i] = '_';
		}
	}
	return b.failed ? NULL : strdup(buf_cstr(&b));
}

/* An element while it gets its name. */
struct named {
	const char *id;
	char **shown;
	const char *wanted;
	char tag[9];
};

static int named_cmp(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = strcasecmp(*x->shown, *y->shown);

	return r ? r : strcmp(x->tag, y->tag);
}

static int set_tag(struct named *n)
{
	char folded[ARM_ID_MAX];
	struct digest d;
	int r = arm_id_fold(n->id, folded);

	if (r)
		return r;
	sha256(folded, strlen(folded), &d);
	hex_of(d.b, 4, n->tag);
	return 0;
}

/* n of one name. */
static int tell_apart(struct named *all, size_t n)
{
	int digits = 4;

	for (size_t i = 1; i < n; i++) {
		if (!strncmp(all[i - 1].tag, all[i].tag, 4))
			digits = 8;
	}
	for (size_t i = 0; i < n; i++) {
		char *name;

		if (asprintf(&name, "%s~%.*s", *all[i].shown, digits,
			     all[i].tag) < 0)
			return fail(-ENOMEM, "out of memory");
		free(*all[i].shown);
		*all[i].shown = name;
	}
	return 0;
}

static int show_all(struct named *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = set_tag(&all[i]);

		if (r)
			return r;
		free(*all[i].shown);
		*all[i].shown = file_name(all[i].wanted);
		if (!*all[i].shown)
			return fail(-ENOMEM, "out of memory");
	}
	qsort(all, count, sizeof(*all), named_cmp);
	for (size_t i = 0, k; i < count; i = k) {
		int r = 0;

		for (k = i + 1; k < count; k++) {
			if (strcasecmp(*all[i].shown, *all[k].shown) != 0)
				break;
		}
		if (k - i > 1)
			r = tell_apart(all + i, k - i);
		if (r)
			return r;
	}
	return 0;
}

static int id_cmp(const void *a, const void *b)
{
	return strcasecmp(((char *const *)a)[ID], ((char *const *)b)[ID]);
}

static int shown_cmp(const void *a, const void *b)
{
	return strcmp(((char *const *)a)[SHOWN], ((char *const *)b)[SHOWN]);
}

/* The same one twice, as when a list changes between its pages. */
static void drop_doubles(struct name_list *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++) {
		if (kept &&
		    arm_id_equal(fields(l, kept - 1)[ID], fields(l, i)[ID])) {
			l->release(fields(l, i));
			continue;
		}
		if (kept != i)
			memcpy(fields(l, kept), fields(l, i), l->size);
		kept++;
	}
	l->count = kept;
}

int names_show(struct name_list *l)
{
	DROP(mem) struct named *all = NULL;
	int r;

	if (!l->count)
		return 0;
	qsort(l->v, l->count, l->size, id_cmp);
	drop_doubles(l);
	all = calloc(l->count, sizeof(*all));
	if (!all)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < l->count; i++)
		all[i] = (struct named){ .id = fields(l, i)[ID],
					 .shown = &fields(l, i)[SHOWN],
					 .wanted = fields(l, i)[NAME] };
	r = show_all(all, l->count);
	if (!r)
		qsort(l->v, l->count, l->size, shown_cmp);
	return r;
}

int names_page(const struct name_list *l, const char *after, size_t max,
	       struct name_page *out)
{
	out->names = calloc(min_u64(max, l->count) + 1, sizeof(*out->names));
	if (!out->names)
		return fail(-ENOMEM, "no memory for names");
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(fields(l, i)[SHOWN], after) <= 0)
			continue;
		if (out->count == max) {
			out->more = true;
			break;
		}
		out->names[out->count] = strdup(fields(l, i)[SHOWN]);
		if (!out->names[out->count]) {
			name_page_release(out);
			return fail(-ENOMEM, "no memory for names");
		}
		out->count++;
	}
	return 0;
}
