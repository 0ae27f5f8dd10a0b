// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A VM's point index while it is being changed: the head's page table, with
 * those pages loaded that are touched. Pages that are not stay where earlier
 * commits placed them.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <string.h>

#include "backend/base/parse.h"

/* Neighbours with no more rows than this between them become one. */
#define JOIN_ROWS (VF_INDEX_ROWS / 2)

int point_index_open(struct point_index *x, struct vault *v,
		     struct vm_head *head)
{
	memset(x, 0, sizeof(*x));
	x->v = v;
	x->head = head;
	if (!head || !head->c.npages)
		return 0;
	x->p = calloc(head->c.npages, sizeof(*x->p));
	if (!x->p)
		return fail(-ENOMEM, "no memory for the point index");
	x->n = head->c.npages;
	x->points = head->c.npoints;
	for (size_t i = 0; i < x->n; i++) {
		x->p[i].ref = head->c.pages[i];
		x->p[i].n = head->c.pages[i].rows;
		x->p[i].origin = i;
	}
	return 0;
}

void point_index_release(struct point_index *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->p[i].rows);
	free(x->p);
	memset(x, 0, sizeof(*x));
}

int point_index_load(struct point_index *x, size_t i)
{
	DROP(mem) struct point_row *rows = NULL;
	size_t n;
	int r;

	if (x->p[i].rows)
		return 0;
	rows = calloc(VF_INDEX_ROWS, sizeof(*rows));
	if (!rows)
		return fail(-ENOMEM, "no memory for the point index");
	r = vault_index_page(x->v, x->head, x->p[i].origin, rows, &n);
	if (r)
		return r;
	x->p[i].rows = take(rows);
	x->p[i].n = n;
	return 0;
}

static void set_times(struct index_page *p)
{
	p->changed = true;
	if (!p->n)
		return;
	p->ref.first_ns = p->rows[0].time_ns;
	p->ref.last_ns = p->rows[p->n - 1].time_ns;
}

/* An empty page at i. */
static int open_gap(struct point_index *x, size_t i)
{
	struct index_page *more = reallocarray(x->p, x->n + 1, sizeof(*more));
	struct point_row *rows = calloc(VF_INDEX_ROWS, sizeof(*rows));

	if (more)
		x->p = more;
	if (!more || !rows) {
		free(rows);
		return fail(-ENOMEM, "no memory for the point index");
	}
	memmove(&x->p[i + 1], &x->p[i], (x->n - i) * sizeof(*x->p));
	x->p[i] = (struct index_page){ .rows = rows, .changed = true };
	x->n++;
	return 0;
}

static void close_gap(struct point_index *x, size_t i)
{
	free(x->p[i].rows);
	memmove(&x->p[i], &x->p[i + 1], (x->n - i - 1) * sizeof(*x->p));
	x->n--;
}

/* The upper half of a full page becomes one of its own. */
static int split(struct point_index *x, size_t i)
{
	size_t half = x->p[i].n / 2;
	int r = open_gap(x, i + 1);

	if (r)
		return r;
	x->p[i + 1].n = x->p[i].n - half;
	memcpy(x->p[i + 1].rows, x->p[i].rows + half,
	       x->p[i + 1].n * sizeof(struct point_row));
	x->p[i].n = half;
	set_times(&x->p[i]);
	set_times(&x->p[i + 1]);
	return 0;
}

/* The page that a point of this time belongs to, made if need be; it has
 * room. */
static int find_page(struct point_index *x, int64_t t, size_t *ret)
{
	size_t i = 0;
	int r;

	while (i < x->n && x->p[i].ref.last_ns < t)
		i++;
	/* After all that is there, as nearly always: full pages stay full. */
	if (i == x->n) {
		*ret = i;
		if (i == 0 || x->p[i - 1].n == VF_INDEX_ROWS)
			return open_gap(x, i);
		*ret = i - 1;
		return point_index_load(x, i - 1);
	}
	/* Between two pages: the one before may have room. */
	if (x->p[i].n == VF_INDEX_ROWS && i && t < x->p[i].ref.first_ns &&
	    x->p[i - 1].n < VF_INDEX_ROWS)
		i--;
	r = point_index_load(x, i);
	if (r)
		return r;
	if (x->p[i].n == VF_INDEX_ROWS) {
		r = split(x, i);
		if (r)
			return r;
		if (x->p[i].ref.last_ns < t)
			i++;
	}
	*ret = i;
	return 0;
}

static int there_is(int64_t t)
{
	char when[TIME_TEXT_SIZE];

	time_iso(t, when);
	return fail(-EEXIST, "there is a point of %s already", when);
}

int point_index_insert(struct point_index *x, const struct point_row *row)
{
	struct index_page *p;
	size_t i, at = 0;
	int r = find_page(x, row->time_ns, &i);

	if (r)
		return r;
	p = &x->p[i];
	while (at < p->n && p->rows[at].time_ns < row->time_ns)
		at++;
	if (at < p->n && p->rows[at].time_ns == row->time_ns)
		return there_is(row->time_ns);
	memmove(&p->rows[at + 1], &p->rows[at], (p->n - at) * sizeof(*p->rows));
	p->rows[at] = *row;
	p->n++;
	set_times(p);
	x->points++;
	return 0;
}

/* --- dropping --- */

static int by_id(const void *x, const void *y)
{
	const struct point_id *a = x, *b = y;

	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return a->nonce < b->nonce ? -1 : a->nonce > b->nonce;
}

static int check_droppable(const struct point_row *row)
{
	char when[TIME_TEXT_SIZE];

	if (!row->held)
		return 0;
	time_iso(row->time_ns, when);
	return fail(-EPERM, "point %s is under legal hold", when);
}

/* Rows of page i whose ids are listed leave it; *dropped grows by their
 * number. */
static int drop_rows(struct point_index *x, size_t i,
		     const struct point_id *ids, size_t n, size_t *dropped)
{
	struct index_page *p = &x->p[i];
	bool loaded = p->rows != NULL;
	size_t kept = 0;
	int r = point_index_load(x, i);

	if (r)
		return r;
	for (size_t k = 0; k < p->n; k++) {
		if (!bsearch(&p->rows[k].id, ids, n, sizeof(*ids), by_id)) {
			p->rows[kept++] = p->rows[k];
			continue;
		}
		r = check_droppable(&p->rows[k]);
		if (r)
			return r;
	}
	if (kept == p->n) {
		/* Untouched pages do not pile up in memory. */
		if (!loaded)
			free(take(p->rows));
		return 0;
	}
	*dropped += p->n - kept;
	x->points -= p->n - kept;
	p->n = kept;
	set_times(p);
	return 0;
}

static int join_pages(struct point_index *x)
{
	for (size_t i = 0; i + 1 < x->n;) {
		struct index_page *a = &x->p[i], *b = &x->p[i + 1];
		int r;

		if ((!a->changed && !b->changed) || a->n + b->n > JOIN_ROWS) {
			i++;
			continue;
		}
		r = point_index_load(x, i);
		if (!r)
			r = point_index_load(x, i + 1);
		if (r)
			return r;
		memcpy(a->rows + a->n, b->rows, b->n * sizeof(*b->rows));
		a->n += b->n;
		set_times(a);
		close_gap(x, i + 1);
	}
	return 0;
}

int point_index_drop(struct point_index *x, const struct point_id *ids,
		     size_t n)
{
	DROP(mem) struct point_id *sorted = calloc(n + 1, sizeof(*sorted));
	char text[POINT_ID_TEXT];
	size_t dropped = 0;
	int r = 0;

	if (!sorted)
		return fail(-ENOMEM, "no memory for ids");
	memcpy(sorted, ids, n * sizeof(*ids));
	qsort(sorted, n, sizeof(*sorted), by_id);
	for (size_t i = 1; i < n; i++)
		if (point_id_equal(&sorted[i - 1], &sorted[i])) {
			point_id_text(&sorted[i], text);
			return fail(-EINVAL, "point %s is named twice", text);
		}
	/* The oldest first: that is mostly what is dropped, and once all are
	 * found the rest is not read. */
	for (size_t i = 0; i < x->n && dropped < n && !r; i++)
		r = drop_rows(x, i, sorted, n, &dropped);
	if (r)
		return r;
	if (dropped < n)
		return fail(-ENOENT,
			    n == 1 ? "there is no such point"
				   : "not all of these points are there");
	for (size_t i = x->n; i-- > 0;)
		if (!x->p[i].n)
			close_gap(x, i);
	return join_pages(x);
}
