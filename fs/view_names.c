// SPDX-License-Identifier: GPL-3.0-or-later
/* Points by name: those of one second are told apart by tags. */
#include "fs/view_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define ROWS_PAGE 256
/* Points of one second that are told apart; more are refused. */
#define GROUP_MAX 4096

int64_t view_floor_second(int64_t ns)
{
	int64_t rest = ns % SECOND;

	if (rest < 0)
		rest += SECOND;
	return ns < INT64_MIN + rest ? INT64_MIN : ns - rest;
}

static bool same_second(int64_t a, int64_t b)
{
	return view_floor_second(a) == view_floor_second(b);
}

static int tag_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct tag));
}

void view_group_release(struct group *g)
{
	free(g->ties);
	g->ties = NULL;
}

int view_group_init(struct group *g, const struct point_row *rows, size_t n)
{
	DROP(mem) struct tag *tags = NULL;
	size_t nties = 0;

	*g = (struct group){ .rows = rows, .count = n };
	if (n < 2)
		return 0;
	tags = calloc(n, sizeof(*tags));
	if (!tags)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		point_id_tag(&rows[i].id, tags[i].text);
	qsort(tags, n, sizeof(*tags), tag_cmp);
	for (size_t i = 1; i < n; i++) {
		if (tag_cmp(&tags[i - 1], &tags[i]) == 0)
			tags[nties++] = tags[i];
	}
	g->ties = take(tags);
	g->nties = nties;
	return 0;
}

void view_group_name(const struct group *g, const struct point_row *row,
		     char out[static POINT_NAME_SIZE])
{
	char id[POINT_ID_TEXT];
	struct tag tag;
	size_t len;

	time_name(row->time_ns, out);
	if (g->count < 2)
		return;
	len = strlen(out);
	point_id_tag(&row->id, tag.text);
	if (g->nties &&
	    bsearch(&tag, g->ties, g->nties, sizeof(tag), tag_cmp)) {
		point_id_text(&row->id, id);
		snprintf(out + len, POINT_NAME_SIZE - len, "~%s", id);
	} else {
		snprintf(out + len, POINT_NAME_SIZE - len, "~%s", tag.text);
	}
}

static int run_next_page(struct run *run, struct place *p)
{
	DROP(point_page) struct point_page page = { 0 };
	int64_t last;
	int r;

	r = catalog_points(view_catalog(p), p->vault, p->vm, run->next_ns,
			   ROWS_PAGE, &page);
	if (r)
		return r;
	if (!page.count) {
		run->ended = true;
		return 0;
	}
	if (run->count + page.count > run->room) {
		size_t room = 2 * run->room + page.count;
		struct point_row *rows =
			realloc(run->rows, room * sizeof(*rows));

		if (!rows)
			return fail(-ENOMEM, "out of memory");
		run->rows = rows;
		run->room = room;
	}
	memcpy(run->rows + run->count, page.rows,
	       page.count * sizeof(*page.rows));
	run->count += page.count;
	last = page.rows[page.count - 1].time_ns;
	/* What does not ascend would never end. */
	if (last < run->next_ns)
		return fail(-EPROTO, "VM %s: points out of order", p->vm);
	run->ended = !page.more || last == INT64_MAX;
	if (run->ended)
		run->next_ns = last;
	else
		run->next_ns = page.next_ns > last ? page.next_ns : last + 1;
	return 0;
}

int view_run_second(struct run *run, struct place *p, size_t *n)
{
	size_t i = 0;
	int r;

	for (;;) {
		while (i < run->count &&
		       same_second(run->rows[i].time_ns, run->rows[0].time_ns))
			i++;
		if (i > GROUP_MAX)
			return fail(-EFBIG,
				    "VM %s: more than %d points of one second",
				    p->vm, GROUP_MAX);
		if (i < run->count || run->ended)
			break;
		/* The page may know that the next one is of a later second. */
		if (i && !same_second(run->next_ns, run->rows[0].time_ns))
			break;
		r = run_next_page(run, p);
		if (r)
			return r;
	}
	*n = i;
	return 0;
}

void view_run_skip(struct run *run, size_t n)
{
	run->count -= n;
	memmove(run->rows, run->rows + n, run->count * sizeof(*run->rows));
}

/* All points of the second that ns lies in. */
static int points_of_second(struct place *p, int64_t ns, struct run *run,
			    struct group *g)
{
	size_t n = 0;
	int r;

	run->next_ns = view_floor_second(ns);
	r = view_run_second(run, p, &n);
	if (r)
		return r;
	if (n && !same_second(run->rows[0].time_ns, ns))
		n = 0;
	return view_group_init(g, run->rows, n);
}

int view_find_point(struct place *p, const char *name, struct point_row *out)
{
	DROP(run) struct run run = { 0 };
	DROP(group) struct group g = { 0 };
	char text[POINT_NAME_SIZE];
	int64_t ns;
	size_t len = strcspn(name, "~");
	int r;

	/* Only the very name: one point, one name. */
	if (len >= TIME_TEXT_SIZE)
		return view_no_entry(name);
	snprintf(text, sizeof(text), "%.*s", (int)len, name);
	if (text[0] < '0' || text[0] > '9' || parse_time(text, &ns))
		return view_no_entry(name);
	r = points_of_second(p, ns, &run, &g);
	if (r)
		return r;
	for (size_t i = 0; i < g.count; i++) {
		view_group_name(&g, &g.rows[i], text);
		if (strcmp(text, name) == 0) {
			*out = g.rows[i];
			return 0;
		}
	}
	return view_no_entry(name);
}

int view_latest_name(struct place *p, struct point_row *row,
		     char out[static POINT_NAME_SIZE])
{
	DROP(run) struct run run = { 0 };
	DROP(group) struct group g = { 0 };
	int r;

	r = catalog_latest(view_catalog(p), p->vault, p->vm, row);
	if (r)
		return r;
	r = points_of_second(p, row->time_ns, &run, &g);
	if (r)
		return r;
	view_group_name(&g, row, out);
	return 0;
}

int view_point_now(struct place *p, const struct point_row *row,
		   struct point_row *now)
{
	DROP(point_page) struct point_page page = { 0 };
	char name[TIME_TEXT_SIZE];
	int r;

	r = catalog_points(view_catalog(p), p->vault, p->vm, row->time_ns, 1,
			   &page);
	if (r)
		return r;
	if (page.count != 1 || page.rows[0].time_ns != row->time_ns ||
	    !point_id_equal(&page.rows[0].id, &row->id)) {
		time_name(row->time_ns, name);
		return fail(-ESTALE,
			    "recovery point %s of VM %s was dropped meanwhile",
			    name, p->vm);
	}
	*now = page.rows[0];
	return 0;
}
