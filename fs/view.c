// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One implementation of struct folder a kind of directory. Each embeds a struct
 * dir, which holds what is above it: a counted view, and the place (catalog,
 * vault, VM). No folder needs the one it was opened from.
 *
 * What was read of a point, its record and the text of point.json, is a card in
 * a small bounded cache of the view, so that folders, of which the kernel may
 * keep very many alive, stay small.
 */
#include "fs/view.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

#define SECOND INT64_C(1000000000)
#define NAMES_PAGE 1000
#define ROWS_PAGE 256
/* Points of one second that are told apart; more are refused. */
#define GROUP_MAX 4096
#define CARDS_SIZE ((size_t)8 << 20)
#define TEXT_MAX ((size_t)4 << 20)
#define LATEST "latest"
#define VAULT_JSON "vault.json"
#define POINT_JSON "point.json"
#define POINT_NOTE "point.txt"

/* A point's name: time, '~', whole id. */
#define POINT_NAME_SIZE (TIME_TEXT_SIZE + 1 + POINT_ID_TEXT)

struct vault_row {
	char *shown;
	size_t catalog;
	char *vault; /* as the catalog has it */
};

/* All vaults, ascending by shown name; immutable once made. */
struct vault_table {
	atomic_uint refs;
	uint64_t made_ns; /* monotonic */
	struct vault_row *rows;
	size_t count;
};

struct view {
	atomic_uint refs;
	struct catalog **catalogs;
	size_t ncatalogs;
	uint32_t fresh_ms;
	int64_t born_ns;
	struct cache *cards;

	/* Protects the two below. */
	pthread_mutex_t lock;
	struct vault_table *vaults;
	bool making_vaults; /* by one thread at a time */
};

/* A vault or a VM of one; immutable. */
struct place {
	atomic_uint refs;
	struct view *view;
	size_t number; /* of the catalog */
	char *vault;
	char *vm; /* NULL for a vault */
};

/* --- counted things --- */

static void vault_rows_free(struct vault_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(rows[i].shown);
		free(rows[i].vault);
	}
	free(rows);
}

static void vault_table_unref(struct vault_table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	vault_rows_free(t->rows, t->count);
	free(t);
}

DROP_DEFINE(vault_table, struct vault_table *, vault_table_unref)

static struct view *view_ref(struct view *v)
{
	atomic_fetch_add(&v->refs, 1);
	return v;
}

static void view_unref(struct view *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	vault_table_unref(v->vaults);
	cache_free(v->cards);
	free(v->catalogs);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

DROP_DEFINE(view, struct view *, view_unref)

static struct place *place_ref(struct place *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

static void place_unref(struct place *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	view_unref(p->view);
	free(p->vault);
	free(p->vm);
	free(p);
}

DROP_DEFINE(place, struct place *, place_unref)

static int place_new(struct view *v, size_t number, const char *vault,
		     const char *vm, struct place **ret)
{
	DROP(place) struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&p->refs, 1);
	p->view = view_ref(v);
	p->number = number;
	p->vault = strdup(vault);
	p->vm = vm ? strdup(vm) : NULL;
	if (!p->vault || (vm && !p->vm))
		return fail(-ENOMEM, "out of memory");
	*ret = take(p);
	return 0;
}

static struct catalog *catalog_of(const struct place *p)
{
	return p->view->catalogs[p->number];
}

/* --- entries and texts --- */

static struct entry_attr dir_attr(int64_t mtime_ns, uint32_t valid_ms)
{
	return (struct entry_attr){
		.kind = ENTRY_DIR,
		.mtime_ns = mtime_ns,
		.valid_ms = valid_ms,
	};
}

static struct entry_attr text_attr(size_t size, int64_t mtime_ns,
				   uint32_t valid_ms)
{
	return (struct entry_attr){
		.kind = ENTRY_FILE,
		.size = size,
		.blocks = (size + 511) / 512,
		.mtime_ns = mtime_ns,
		.nlink = 1,
		.valid_ms = valid_ms,
	};
}

static int no_entry(const char *name)
{
	return fail(-ENOENT, "%s: no such file or directory", name);
}

static int no_xattr(const char *name, const char *key)
{
	return fail(-ENODATA, "%s: no attribute %s", name, key);
}

struct text {
	struct source base;
	char *data;
};

static int text_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct text *t = container_of(s, struct text, base);

	memcpy(buf, t->data + off, len);
	return 0;
}

static void text_close(struct source *s)
{
	struct text *t = container_of(s, struct text, base);

	free(t->data);
	free(t);
}

static const struct source_ops text_ops = {
	.name = "text",
	.read = text_read,
	.close = text_close,
};

/* Takes data, on failure too. */
static int text_open(char *data, size_t len, struct source **ret)
{
	struct text *t = calloc(1, sizeof(*t));

	if (!t) {
		free(data);
		return fail(-ENOMEM, "out of memory");
	}
	source_init(&t->base, &text_ops, len);
	t->data = data;
	*ret = &t->base;
	return 0;
}

/* --- cards: what is known of a point --- */

struct card {
	struct point_info *info;
	char *json;
	size_t json_len;
};

static void card_free(void *data)
{
	struct card *c = data;

	if (!c)
		return;
	point_info_unref(c->info);
	free(c->json);
	free(c);
}

DROP_DEFINE(card, void *, card_free)

struct card_wanted {
	struct place *place;
	const struct point_row *row;
};

static int card_fill(void *ctx, struct cache_value *out)
{
	const struct card_wanted *w = ctx;
	DROP(card) void *made = calloc(1, sizeof(struct card));
	DROP(json) struct json *j = NULL;
	struct card *c = made;
	int r;

	if (!c)
		return fail(-ENOMEM, "out of memory");
	r = catalog_point(catalog_of(w->place), w->place->vault, w->place->vm,
			  w->row, &c->info);
	if (r)
		return r;
	j = point_json(c->info);
	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = json_text(j, true, &c->json, &c->json_len);
	if (r)
		return r;
	out->data = take(made);
	out->destroy = card_free;
	out->size = sizeof(*c);
	out->charge = sizeof(*c) + sizeof(*c->info) + c->json_len +
		      c->info->ndisks * sizeof(*c->info->disks) +
		      c->info->nlabels * 128;
	return 0;
}

/* The row is part of the key: holds and expiry may change, and are shown. */
static void card_key(const struct place *p, const struct point_row *row,
		     uint8_t out[static CACHE_KEY_SIZE])
{
	uint64_t n[] = { p->number,
			 row->id.seq,
			 row->id.nonce,
			 (uint64_t)row->time_ns,
			 (uint64_t)row->expiry_ns,
			 row->held };
	struct digest d;
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, n, sizeof(n));
	sha256_add(&h, p->vault, strlen(p->vault) + 1);
	sha256_add(&h, p->vm, strlen(p->vm) + 1);
	sha256_final(&h, &d);
	memcpy(out, d.b, CACHE_KEY_SIZE);
}

static int card_get(struct place *p, const struct point_row *row,
		    struct cache_blob **ret)
{
	struct card_wanted w = { p, row };
	uint8_t key[CACHE_KEY_SIZE];

	card_key(p, row, key);
	return cache_get(p->view->cards, key, card_fill, &w, ret);
}

static const struct card *card_of(const struct cache_blob *b)
{
	return b->data;
}

/* --- names of points --- */

static int64_t floor_second(int64_t ns)
{
	int64_t rest = ns % SECOND;

	if (rest < 0)
		rest += SECOND;
	return ns < INT64_MIN + rest ? INT64_MIN : ns - rest;
}

static bool same_second(int64_t a, int64_t b)
{
	return floor_second(a) == floor_second(b);
}

struct tag {
	char text[5];
};

static int tag_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct tag));
}

/* The points of one second, and the tags that two of them or more have. */
struct group {
	const struct point_row *rows;
	size_t count;
	struct tag *ties;
	size_t nties;
};

static void group_release(struct group *g)
{
	free(g->ties);
	g->ties = NULL;
}

static void drop_group(struct group *g)
{
	group_release(g);
}

static int group_init(struct group *g, const struct point_row *rows, size_t n)
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

static void group_name(const struct group *g, const struct point_row *row,
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

/* Points from next_ns on, ascending, page by page. */
struct run {
	struct point_row *rows;
	size_t count, room;
	int64_t next_ns;
	bool ended; /* none after rows */
};

static void drop_run(struct run *r)
{
	free(r->rows);
}

static int run_next_page(struct run *run, struct place *p)
{
	DROP(point_page) struct point_page page = { 0 };
	int64_t last;
	int r;

	r = catalog_points(catalog_of(p), p->vault, p->vm, run->next_ns,
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

/* Makes rows begin with all points of one second; *n of them, 0 at the end. */
static int run_second(struct run *run, struct place *p, size_t *n)
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

static void run_skip(struct run *run, size_t n)
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

	run->next_ns = floor_second(ns);
	r = run_second(run, p, &n);
	if (r)
		return r;
	if (n && !same_second(run->rows[0].time_ns, ns))
		n = 0;
	return group_init(g, run->rows, n);
}

static int find_point(struct place *p, const char *name, struct point_row *out)
{
	DROP(run) struct run run = { 0 };
	DROP(group) struct group g = { 0 };
	char text[POINT_NAME_SIZE];
	int64_t ns;
	size_t len = strcspn(name, "~");
	int r;

	/* Only the very name: one point, one name. */
	if (len >= TIME_TEXT_SIZE)
		return no_entry(name);
	snprintf(text, sizeof(text), "%.*s", (int)len, name);
	if (text[0] < '0' || text[0] > '9' || parse_time(text, &ns))
		return no_entry(name);
	r = points_of_second(p, ns, &run, &g);
	if (r)
		return r;
	for (size_t i = 0; i < g.count; i++) {
		group_name(&g, &g.rows[i], text);
		if (strcmp(text, name) == 0) {
			*out = g.rows[i];
			return 0;
		}
	}
	return no_entry(name);
}

static int latest_name(struct place *p, struct point_row *row,
		       char out[static POINT_NAME_SIZE])
{
	DROP(run) struct run run = { 0 };
	DROP(group) struct group g = { 0 };
	int r;

	r = catalog_latest(catalog_of(p), p->vault, p->vm, row);
	if (r)
		return r;
	r = points_of_second(p, row->time_ns, &run, &g);
	if (r)
		return r;
	group_name(&g, row, out);
	return 0;
}

/* Whether it is still there, and its row as it is now. */
static int point_now(struct place *p, const struct point_row *row,
		     struct point_row *now)
{
	DROP(point_page) struct point_page page = { 0 };
	char name[TIME_TEXT_SIZE];
	int r;

	r = catalog_points(catalog_of(p), p->vault, p->vm, row->time_ns, 1,
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

/* --- extended attributes --- */

static void xattr_name(struct buf *out, const char *key)
{
	buf_add(out, key, strlen(key) + 1);
}

static const char *verified_text(enum seal_trust trust)
{
	switch (trust) {
	case SEAL_PINNED:
		return "sha256, seal pinned";
	case SEAL_UNPINNED:
		return "sha256, seal not pinned";
	case SEAL_NONE:
		break;
	}
	return "no, as the service gives it";
}

static int xattr_point(struct place *p, const struct point_row *row,
		       const char *name, const char *key, struct buf *out)
{
	char id[POINT_ID_TEXT];

	if (!key) {
		xattr_name(out, VIEW_XATTR_POINT);
		xattr_name(out, VIEW_XATTR_VERIFIED);
	} else if (strcmp(key, VIEW_XATTR_POINT) == 0) {
		point_id_text(&row->id, id);
		buf_str(out, id);
	} else if (strcmp(key, VIEW_XATTR_VERIFIED) == 0) {
		buf_str(out, verified_text(catalog_of(p)->trust));
	} else {
		return no_xattr(name, key);
	}
	return buf_check(out, "extended attribute");
}

static int xattr_disk(struct place *p, const struct point_row *row,
		      const struct disk_info *d, const char *name,
		      const char *key, struct buf *out)
{
	char hex[DIGEST_HEX + 1];

	if (!d->has_root || (key && strcmp(key, VIEW_XATTR_ROOT) != 0))
		return xattr_point(p, row, name, key, out);
	if (key) {
		digest_hex(&d->root, hex);
		buf_str(out, hex);
		return buf_check(out, "extended attribute");
	}
	xattr_name(out, VIEW_XATTR_ROOT);
	return xattr_point(p, row, name, NULL, out);
}

/* --- disks/ and vhd/ --- */

/* One of the two ways in which a disk is shown as a file. */
struct image_form {
	const char *suffix;
	uint64_t footer;
	int (*open)(struct place *p, const struct point_row *row,
		    const struct disk_info *d, struct source *inner,
		    struct source **ret);
};

struct images {
	struct folder base;
	struct place *place;
	struct point_row row;
	const struct image_form *form;
};

static const struct folder_ops images_ops;

static struct images *images_of(struct folder *f)
{
	return container_of(f, struct images, base);
}

static int images_open(struct place *p, const struct point_row *row,
		       const struct image_form *form, struct folder **ret)
{
	struct images *im = calloc(1, sizeof(*im));

	if (!im)
		return fail(-ENOMEM, "out of memory");
	im->base.ops = &images_ops;
	im->place = place_ref(p);
	im->row = *row;
	im->form = form;
	*ret = &im->base;
	return 0;
}

static void images_close(struct folder *f)
{
	struct images *im = images_of(f);

	place_unref(im->place);
	free(im);
}

static int open_raw(struct place *p, const struct point_row *row,
		    const struct disk_info *d, struct source *inner,
		    struct source **ret)
{
	*ret = inner;
	return 0;
}

static const struct image_form raw_form = {
	.suffix = ".img",
	.open = open_raw,
};

static int open_vhd(struct place *p, const struct point_row *row,
		    const struct disk_info *d, struct source *inner,
		    struct source **ret)
{
	return point_disk_as_vhd(row, d, inner, ret);
}

static const struct image_form vhd_form = {
	.suffix = ".vhd",
	.footer = VHD_FOOTER_SIZE,
	.open = open_vhd,
};

static bool is_ready(const struct disk_info *d)
{
	return d->state == DISK_READY && d->has_size;
}

/* Whether the form cannot show this disk at all. */
static bool does_not_fit(const struct image_form *form,
			 const struct disk_info *d)
{
	return form->footer && is_ready(d) && d->size % 512;
}

static bool has_note(const struct image_form *form, const struct disk_info *d)
{
	return !is_ready(d) || does_not_fit(form, d);
}

static const char *not_ready_why(const struct disk_info *d)
{
	if (d->state_sentence)
		return d->state_sentence;
	switch (d->state) {
	case DISK_NEEDS_GRANT:
		return "access to it must be granted first";
	case DISK_NEEDS_RESTORE:
		return "it must be restored from its tier first";
	case DISK_READY:
		break;
	}
	return "its size is not known";
}

static int note_text(const struct image_form *form, const struct disk_info *d,
		     char **ret, size_t *len)
{
	int n;

	if (does_not_fit(form, d))
		n = asprintf(
			ret,
			"disk %s cannot be shown as a VHD: its size, %" PRIu64
			" bytes, is not a multiple of 512; use disks/%s.img\n",
			d->name, d->size, d->name);
	else
		n = asprintf(ret, "disk %s cannot be read yet: %s\n", d->name,
			     not_ready_why(d));
	if (n < 0) {
		*ret = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	*len = (size_t)n;
	return 0;
}

static struct entry_attr image_attr(const struct images *im,
				    const struct disk_info *d)
{
	struct entry_attr a = {
		.kind = ENTRY_FILE,
		.mtime_ns = im->row.time_ns,
		.nlink = 1,
		.valid_ms = VIEW_FIXED_MS,
	};

	if (is_ready(d)) {
		a.size = d->size + im->form->footer;
		a.blocks = (d->data_bytes + 511) / 512 + im->form->footer / 512;
	} else {
		a.valid_ms = im->place->view->fresh_ms;
	}
	return a;
}

static int note_attr(const struct images *im, const struct disk_info *d,
		     struct entry_attr *out)
{
	DROP(mem) char *text = NULL;
	size_t len;
	int r = note_text(im->form, d, &text, &len);

	if (!r)
		*out = text_attr(len, im->row.time_ns,
				 im->place->view->fresh_ms);
	return r;
}

/* The disk that a file name stands for, or -ENOENT. */
static int find_image(const struct images *im, const struct point_info *info,
		      const char *name, size_t *disk, bool *note)
{
	const char *dot = strrchr(name, '.');
	size_t len;

	if (!dot)
		return no_entry(name);
	len = (size_t)(dot - name);
	*note = strcmp(dot, ".txt") == 0;
	if (!*note && strcmp(dot, im->form->suffix) != 0)
		return no_entry(name);
	for (size_t i = 0; i < info->ndisks; i++) {
		const struct disk_info *d = &info->disks[i];

		if (strlen(d->name) != len || memcmp(d->name, name, len) != 0)
			continue;
		if (*note ? !has_note(im->form, d) : does_not_fit(im->form, d))
			break;
		*disk = i;
		return 0;
	}
	return no_entry(name);
}

static int images_lookup(struct folder *f, const char *name,
			 struct entry_attr *out)
{
	struct images *im = images_of(f);
	DROP(cache_blob) struct cache_blob *card = NULL;
	const struct disk_info *d;
	size_t disk;
	bool note;
	int r;

	r = card_get(im->place, &im->row, &card);
	if (r)
		return r;
	r = find_image(im, card_of(card)->info, name, &disk, &note);
	if (r)
		return r;
	d = &card_of(card)->info->disks[disk];
	if (note)
		return note_attr(im, d, out);
	*out = image_attr(im, d);
	return 0;
}

/* The cookie after the image of disk i is 2i+1, after its note 2i+2. */
static int images_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		       void *ctx)
{
	struct images *im = images_of(f);
	DROP(cache_blob) struct cache_blob *card = NULL;
	const struct point_info *info;
	char name[CATALOG_NAME_MAX + 8];
	struct entry_attr a;
	int r;

	r = card_get(im->place, &im->row, &card);
	if (r)
		return r;
	info = card_of(card)->info;
	for (uint64_t n = cookie; n / 2 < info->ndisks; n++) {
		const struct disk_info *d = &info->disks[n / 2];

		if (n % 2 == 0) {
			if (does_not_fit(im->form, d))
				continue;
			snprintf(name, sizeof(name), "%s%s", d->name,
				 im->form->suffix);
			a = image_attr(im, d);
		} else {
			if (!has_note(im->form, d))
				continue;
			snprintf(name, sizeof(name), "%s.txt", d->name);
			r = note_attr(im, d, &a);
			if (r)
				return r;
		}
		if (emit(ctx, name, &a, n + 1))
			break;
	}
	return 0;
}

static int open_image(struct images *im, struct point_info *info, size_t disk,
		      struct source **ret)
{
	const struct disk_info *d = &info->disks[disk];
	DROP(source) struct source *src = NULL;
	int r;

	if (!is_ready(d))
		return fail(-EIO, "cannot be read yet: %s", not_ready_why(d));
	r = catalog_open_disk(catalog_of(im->place), im->place->vault,
			      im->place->vm, info, disk, &src);
	if (r)
		return r;
	r = im->form->open(im->place, &im->row, d, take(src), &src);
	if (r)
		return r;
	/* The size was told before it was opened. */
	if (source_size(src) != d->size + im->form->footer)
		return fail(-EPROTO,
			    "has %" PRIu64
			    " bytes where its record says %" PRIu64,
			    source_size(src), d->size + im->form->footer);
	*ret = take(src);
	return 0;
}

static int images_open_file(struct folder *f, const char *name,
			    struct source **ret)
{
	struct images *im = images_of(f);
	DROP(cache_blob) struct cache_blob *card = NULL;
	struct point_info *info;
	struct point_row now;
	char *text = NULL;
	size_t disk, len;
	bool note;
	int r;

	r = point_now(im->place, &im->row, &now);
	if (r)
		return r;
	r = card_get(im->place, &im->row, &card);
	if (r)
		return r;
	info = card_of(card)->info;
	r = find_image(im, info, name, &disk, &note);
	if (r)
		return r;
	if (note) {
		r = note_text(im->form, &info->disks[disk], &text, &len);
		return r ? r : text_open(text, len, ret);
	}
	r = open_image(im, info, disk, ret);
	return r ? blame(r, "disk %s", info->disks[disk].name) : 0;
}

static int images_xattr(struct folder *f, const char *name, const char *key,
			struct buf *out)
{
	struct images *im = images_of(f);
	DROP(cache_blob) struct cache_blob *card = NULL;
	size_t disk;
	bool note;
	int r;

	r = card_get(im->place, &im->row, &card);
	if (r)
		return r;
	r = find_image(im, card_of(card)->info, name, &disk, &note);
	if (r)
		return r;
	if (note)
		return key ? no_xattr(name, key) : 0;
	return xattr_disk(im->place, &im->row,
			  &card_of(card)->info->disks[disk], name, key, out);
}

static const struct folder_ops images_ops = {
	.name = "images",
	.lookup = images_lookup,
	.list = images_list,
	.open = images_open_file,
	.xattr = images_xattr,
	.close = images_close,
};

/* --- a point --- */

struct point_dir {
	struct folder base;
	struct place *place;
	struct point_row row;
};

static const struct folder_ops point_ops;

static struct point_dir *point_of(struct folder *f)
{
	return container_of(f, struct point_dir, base);
}

static int point_open(struct place *p, const struct point_row *row,
		      struct folder **ret)
{
	struct point_dir *pt = calloc(1, sizeof(*pt));

	if (!pt)
		return fail(-ENOMEM, "out of memory");
	pt->base.ops = &point_ops;
	pt->place = place_ref(p);
	pt->row = *row;
	*ret = &pt->base;
	return 0;
}

static void point_close(struct folder *f)
{
	struct point_dir *pt = point_of(f);

	place_unref(pt->place);
	free(pt);
}

static int open_disks(struct point_dir *pt, struct folder **ret)
{
	return images_open(pt->place, &pt->row, &raw_form, ret);
}

static int open_vhds(struct point_dir *pt, struct folder **ret)
{
	return images_open(pt->place, &pt->row, &vhd_form, ret);
}

/* What a point has besides point.json. */
static const struct point_part {
	const char *name;
	int (*open)(struct point_dir *pt, struct folder **ret);
} point_parts[] = {
	{ "disks", open_disks },
	{ "vhd", open_vhds },
};

static const struct point_part *find_part(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(point_parts); i++) {
		if (strcmp(point_parts[i].name, name) == 0)
			return &point_parts[i];
	}
	return NULL;
}

static int point_card(struct point_dir *pt, struct cache_blob **ret)
{
	struct point_row now;
	int r = point_now(pt->place, &pt->row, &now);

	return r ? r : card_get(pt->place, &now, ret);
}

static int point_json_attr(struct point_dir *pt, struct entry_attr *out)
{
	DROP(cache_blob) struct cache_blob *card = NULL;
	int r = point_card(pt, &card);

	if (!r)
		*out = text_attr(card_of(card)->json_len, pt->row.time_ns,
				 pt->place->view->fresh_ms);
	return r;
}

/* The text about a point that has one: -ENOENT for the others. */
static int point_note(struct point_dir *pt, struct cache_blob **card,
		      const char **text)
{
	int r = point_card(pt, card);

	if (r)
		return r;
	*text = card_of(*card)->info->note;
	return *text ? 0 : no_entry(POINT_NOTE);
}

static int point_note_attr(struct point_dir *pt, struct entry_attr *out)
{
	DROP(cache_blob) struct cache_blob *card = NULL;
	const char *text;
	int r = point_note(pt, &card, &text);

	if (!r)
		*out = text_attr(strlen(text), pt->row.time_ns,
				 pt->place->view->fresh_ms);
	return r;
}

static struct entry_attr part_attr(const struct point_dir *pt)
{
	return dir_attr(pt->row.time_ns, VIEW_FIXED_MS);
}

static int point_lookup(struct folder *f, const char *name,
			struct entry_attr *out)
{
	struct point_dir *pt = point_of(f);

	if (strcmp(name, POINT_JSON) == 0)
		return point_json_attr(pt, out);
	if (strcmp(name, POINT_NOTE) == 0)
		return point_note_attr(pt, out);
	if (!find_part(name))
		return no_entry(name);
	*out = part_attr(pt);
	return 0;
}

static int point_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		      void *ctx)
{
	struct point_dir *pt = point_of(f);
	struct entry_attr a;
	int r;

	if (cookie == 0) {
		r = point_json_attr(pt, &a);
		if (r)
			return r;
		if (emit(ctx, POINT_JSON, &a, 1))
			return 0;
		cookie = 1;
	}
	a = part_attr(pt);
	for (; cookie - 1 < ARRAY_SIZE(point_parts); cookie++) {
		if (emit(ctx, point_parts[cookie - 1].name, &a, cookie + 1))
			return 0;
	}
	if (cookie - 1 == ARRAY_SIZE(point_parts)) {
		r = point_note_attr(pt, &a);
		if (!r)
			emit(ctx, POINT_NOTE, &a, cookie + 1);
		return r == -ENOENT ? 0 : r;
	}
	return 0;
}

static int point_open_dir(struct folder *f, const char *name,
			  struct folder **ret)
{
	const struct point_part *part = find_part(name);

	return part ? part->open(point_of(f), ret) : no_entry(name);
}

static int point_open_file(struct folder *f, const char *name,
			   struct source **ret)
{
	DROP(cache_blob) struct cache_blob *card = NULL;
	const char *shown;
	char *text;
	int r;

	if (strcmp(name, POINT_NOTE) == 0) {
		r = point_note(point_of(f), &card, &shown);
	} else if (strcmp(name, POINT_JSON) == 0) {
		r = point_card(point_of(f), &card);
		shown = r ? NULL : card_of(card)->json;
	} else {
		return no_entry(name);
	}
	if (r)
		return r;
	text = strdup(shown);
	if (!text)
		return fail(-ENOMEM, "out of memory");
	return text_open(text, strlen(text), ret);
}

static const struct folder_ops point_ops = {
	.name = "point",
	.lookup = point_lookup,
	.list = point_list,
	.open_dir = point_open_dir,
	.open = point_open_file,
	.close = point_close,
};

/* --- a VM --- */

struct vm_dir {
	struct folder base;
	struct place *place;

	/* The point that was named last: what is asked next is often its id. */
	pthread_mutex_t lock; /* protects the two below */
	char last_name[POINT_NAME_SIZE];
	struct point_row last;
};

static const struct folder_ops vm_ops;

static struct vm_dir *vm_of(struct folder *f)
{
	return container_of(f, struct vm_dir, base);
}

static int vm_open(struct view *v, size_t number, const char *vault,
		   const char *vm, struct folder **ret)
{
	struct vm_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = place_new(v, number, vault, vm, &d->place);
	if (r) {
		free(d);
		return r;
	}
	d->base.ops = &vm_ops;
	pthread_mutex_init(&d->lock, NULL);
	*ret = &d->base;
	return 0;
}

static void vm_close(struct folder *f)
{
	struct vm_dir *d = vm_of(f);

	place_unref(d->place);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static void vm_remember(struct vm_dir *d, const char *name,
			const struct point_row *row)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	snprintf(d->last_name, sizeof(d->last_name), "%s", name);
	d->last = *row;
}

static bool vm_remembers(struct vm_dir *d, const char *name,
			 struct point_row *out)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	if (strcmp(d->last_name, name) != 0)
		return false;
	*out = d->last;
	return true;
}

static struct entry_attr latest_attr(const struct vm_dir *d,
				     const struct point_row *row,
				     const char *target)
{
	return (struct entry_attr){
		.kind = ENTRY_LINK,
		.size = strlen(target),
		.mtime_ns = row->time_ns,
		.nlink = 1,
		.valid_ms = d->place->view->fresh_ms,
	};
}

static struct entry_attr point_attr(const struct vm_dir *d,
				    const struct point_row *row)
{
	return dir_attr(row->time_ns, d->place->view->fresh_ms);
}

static int vm_lookup(struct folder *f, const char *name, struct entry_attr *out)
{
	struct vm_dir *d = vm_of(f);
	char target[POINT_NAME_SIZE];
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) == 0) {
		r = latest_name(d->place, &row, target);
		if (!r)
			*out = latest_attr(d, &row, target);
		return r;
	}
	r = find_point(d->place, name, &row);
	if (r)
		return r;
	vm_remember(d, name, &row);
	*out = point_attr(d, &row);
	return 0;
}

/*
 * Cookies: 1 after "latest", and 2 + t after the point of time t, so that they
 * are good for as long as anybody keeps them. A second is taken as a whole,
 * since what lies in it decides its names, even when the last page ended within
 * it.
 */
static int vm_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		   void *ctx)
{
	struct vm_dir *d = vm_of(f);
	int64_t from = cookie < 2 ? 0 : (int64_t)(cookie - 1);
	DROP(run) struct run run = { .next_ns = floor_second(from) };
	char name[POINT_NAME_SIZE];
	struct point_row latest;
	struct entry_attr a;
	size_t n;
	int r;

	if (cookie == 0) {
		r = latest_name(d->place, &latest, name);
		if (r && r != -ENOENT)
			return r;
		if (!r) {
			a = latest_attr(d, &latest, name);
			if (emit(ctx, LATEST, &a, 1))
				return 0;
		}
	}
	for (;;) {
		DROP(group) struct group g = { 0 };

		r = run_second(&run, d->place, &n);
		if (r || n == 0)
			return r;
		r = group_init(&g, run.rows, n);
		if (r)
			return r;
		for (size_t i = 0; i < n; i++) {
			const struct point_row *row = &run.rows[i];

			if (row->time_ns < from)
				continue;
			if (row->time_ns >= INT64_MAX - 16)
				return 0;
			group_name(&g, row, name);
			vm_remember(d, name, row);
			a = point_attr(d, row);
			if (emit(ctx, name, &a, (uint64_t)row->time_ns + 2))
				return 0;
		}
		run_skip(&run, n);
	}
}

static int vm_open_dir(struct folder *f, const char *name, struct folder **ret)
{
	struct vm_dir *d = vm_of(f);
	struct point_row row;
	int r = find_point(d->place, name, &row);

	return r ? r : point_open(d->place, &row, ret);
}

static int vm_readlink(struct folder *f, const char *name, char *buf,
		       size_t size)
{
	char target[POINT_NAME_SIZE];
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) != 0)
		return fail(-EINVAL, "%s: not a symbolic link", name);
	r = latest_name(vm_of(f)->place, &row, target);
	if (r)
		return r;
	if (strlen(target) >= size)
		return fail(-ENAMETOOLONG, "%s: %zu bytes", name,
			    strlen(target));
	memcpy(buf, target, strlen(target) + 1);
	return 0;
}

static int vm_xattr(struct folder *f, const char *name, const char *key,
		    struct buf *out)
{
	struct vm_dir *d = vm_of(f);
	struct point_row row;
	int r;

	if (strcmp(name, LATEST) == 0)
		return key ? no_xattr(name, key) : 0;
	if (!vm_remembers(d, name, &row)) {
		r = find_point(d->place, name, &row);
		if (r)
			return r;
	}
	return xattr_point(d->place, &row, name, key, out);
}

static const struct folder_ops vm_ops = {
	.name = "vm",
	.lookup = vm_lookup,
	.list = vm_list,
	.open_dir = vm_open_dir,
	.readlink = vm_readlink,
	.xattr = vm_xattr,
	.close = vm_close,
};

/* --- a vault --- */

struct vault_dir {
	struct folder base;
	struct place *place;

	/* What was listed so far, so that a cookie is a place in it and stays
	 * one while VMs come and go. */
	pthread_mutex_t lock; /* protects the rest */
	char **names;
	size_t count, room;
	bool complete;
};

static const struct folder_ops vault_ops;

static struct vault_dir *vault_of(struct folder *f)
{
	return container_of(f, struct vault_dir, base);
}

static int vault_open(struct view *v, const struct vault_row *row,
		      struct folder **ret)
{
	struct vault_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "out of memory");
	r = place_new(v, row->catalog, row->vault, NULL, &d->place);
	if (r) {
		free(d);
		return r;
	}
	d->base.ops = &vault_ops;
	pthread_mutex_init(&d->lock, NULL);
	*ret = &d->base;
	return 0;
}

static void vault_close(struct folder *f)
{
	struct vault_dir *d = vault_of(f);

	for (size_t i = 0; i < d->count; i++)
		free(d->names[i]);
	free(d->names);
	place_unref(d->place);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int vault_json(struct place *p, char **text, size_t *len)
{
	DROP(json) struct json *j = json_object();
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = catalog_describe(catalog_of(p), p->vault, j);
	return r ? r : json_text(j, true, text, len);
}

static int vault_json_attr(const struct vault_dir *d, struct entry_attr *out)
{
	DROP(mem) char *text = NULL;
	size_t len;
	int r = vault_json(d->place, &text, &len);

	if (!r)
		*out = text_attr(len, d->place->view->born_ns,
				 d->place->view->fresh_ms);
	return r;
}

/* A VM whose name is taken by vault.json. */
#define VM_SHOWN_SIZE (CATALOG_NAME_MAX + 8)
static void vm_shown(const char *vm, char out[static VM_SHOWN_SIZE])
{
	struct digest d;

	snprintf(out, VM_SHOWN_SIZE, "%s", vm);
	if (strcmp(vm, VAULT_JSON) != 0)
		return;
	sha256(vm, strlen(vm), &d);
	snprintf(out, VM_SHOWN_SIZE, "%s~%02x%02x", vm, d.b[0], d.b[1]);
}

/* The VM that a shown name stands for; NULL if it is none. */
static const char *vm_named(const char *shown)
{
	char other[VM_SHOWN_SIZE];

	if (strcmp(shown, VAULT_JSON) == 0)
		return NULL;
	vm_shown(VAULT_JSON, other);
	return strcmp(shown, other) == 0 ? VAULT_JSON : shown;
}

/* 0 if it is there, else -ENOENT. */
static int vm_exists(struct vault_dir *d, const char *name, const char *vm)
{
	int r;

	if (!vm || strlen(vm) > CATALOG_NAME_MAX)
		return no_entry(name);
	r = catalog_count(catalog_of(d->place), d->place->vault, vm, NULL,
			  NULL);
	return r == -EINVAL ? no_entry(name) : r;
}

static struct entry_attr above_attr(const struct view *v)
{
	return dir_attr(v->born_ns, v->fresh_ms);
}

static int vault_lookup(struct folder *f, const char *name,
			struct entry_attr *out)
{
	struct vault_dir *d = vault_of(f);
	int r;

	if (strcmp(name, VAULT_JSON) == 0)
		return vault_json_attr(d, out);
	r = vm_exists(d, name, vm_named(name));
	if (!r)
		*out = above_attr(d->place->view);
	return r;
}

/* Name i of the listing: 0, or 1 when there is none; copied. */
static int vault_name_at(struct vault_dir *d, size_t i,
			 char out[static VM_SHOWN_SIZE], char **after)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	if (i < d->count) {
		vm_shown(d->names[i], out);
		return 0;
	}
	if (d->complete)
		return 1;
	*after = strdup(d->count ? d->names[d->count - 1] : "");
	return *after ? 2 : fail(-ENOMEM, "out of memory");
}

static int vault_add_page(struct vault_dir *d, struct name_page *page,
			  const char *after)
{
	DROP(lock) pthread_mutex_t *held = lock(&d->lock);

	/* Another thread was faster. */
	if (strcmp(after, d->count ? d->names[d->count - 1] : "") != 0)
		return 0;
	if (d->count + page->count > d->room) {
		size_t room = 2 * d->room + page->count;
		char **names = realloc(d->names, room * sizeof(*names));

		if (!names)
			return fail(-ENOMEM, "out of memory");
		d->names = names;
		d->room = room;
	}
	for (size_t i = 0; i < page->count; i++)
		d->names[d->count++] = take(page->names[i]);
	d->complete = !page->more || !page->count;
	return 0;
}

static int vault_more_names(struct vault_dir *d, const char *after)
{
	DROP(name_page) struct name_page page = { 0 };
	int r = catalog_vms(catalog_of(d->place), d->place->vault, after,
			    NAMES_PAGE, &page);

	return r ? r : vault_add_page(d, &page, after);
}

static int vault_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		      void *ctx)
{
	struct vault_dir *d = vault_of(f);
	char name[VM_SHOWN_SIZE];
	struct entry_attr a;
	int r;

	if (cookie == 0) {
		r = vault_json_attr(d, &a);
		if (r)
			return r;
		if (emit(ctx, VAULT_JSON, &a, 1))
			return 0;
		cookie = 1;
	}
	a = above_attr(d->place->view);
	for (;;) {
		DROP(mem) char *after = NULL;

		r = vault_name_at(d, cookie - 1, name, &after);
		if (r < 0 || r == 1)
			return r < 0 ? r : 0;
		if (r == 2) {
			r = vault_more_names(d, after);
			if (r)
				return r;
			continue;
		}
		cookie++;
		if (emit(ctx, name, &a, cookie))
			return 0;
	}
}

static int vault_open_dir(struct folder *f, const char *name,
			  struct folder **ret)
{
	struct vault_dir *d = vault_of(f);
	const char *vm = vm_named(name);

	if (!vm)
		return fail(-ENOTDIR, "%s: not a directory", name);
	return vm_open(d->place->view, d->place->number, d->place->vault, vm,
		       ret);
}

static int vault_open_file(struct folder *f, const char *name,
			   struct source **ret)
{
	char *text;
	size_t len;
	int r;

	if (strcmp(name, VAULT_JSON) != 0)
		return no_entry(name);
	r = vault_json(vault_of(f)->place, &text, &len);
	return r ? r : text_open(text, len, ret);
}

static const struct folder_ops vault_ops = {
	.name = "vault",
	.lookup = vault_lookup,
	.list = vault_list,
	.open_dir = vault_open_dir,
	.open = vault_open_file,
	.close = vault_close,
};

/* --- the root --- */

struct root_dir {
	struct folder base;
	struct view *view;
};

static int vault_row_cmp(const void *a, const void *b)
{
	const struct vault_row *x = a, *y = b;
	int r = strcmp(x->vault, y->vault);

	return r ? r : (x->catalog > y->catalog) - (x->catalog < y->catalog);
}

static int vault_shown_cmp(const void *a, const void *b)
{
	const struct vault_row *x = a, *y = b;

	return strcmp(x->shown, y->shown);
}

struct vault_rows {
	struct vault_row *rows;
	size_t count, room;
};

static void drop_vault_rows(struct vault_rows *r)
{
	vault_rows_free(r->rows, r->count);
}

static int add_vault(struct vault_rows *to, size_t catalog, const char *vault)
{
	struct vault_row *row;

	if (to->count == to->room) {
		size_t room = 2 * to->room + 8;

		row = realloc(to->rows, room * sizeof(*row));
		if (!row)
			return fail(-ENOMEM, "out of memory");
		to->rows = row;
		to->room = room;
	}
	row = &to->rows[to->count];
	*row = (struct vault_row){ .catalog = catalog, .vault = strdup(vault) };
	if (!row->vault)
		return fail(-ENOMEM, "out of memory");
	to->count++;
	return 0;
}

static int add_vaults_of(struct vault_rows *to, struct view *v, size_t n)
{
	bool more = true;
	int r;

	while (more) {
		DROP(name_page) struct name_page page = { 0 };
		const char *after = "";

		if (to->count && to->rows[to->count - 1].catalog == n)
			after = to->rows[to->count - 1].vault;
		r = catalog_vaults(v->catalogs[n], after, NAMES_PAGE, &page);
		if (r)
			return r;
		for (size_t i = 0; i < page.count; i++) {
			r = add_vault(to, n, page.names[i]);
			if (r)
				return r;
		}
		more = page.more && page.count;
	}
	return 0;
}

/* What was known of catalog n before: it cannot be asked now, but its
 * vaults are still where they were. */
static int add_vaults_known(struct vault_rows *to,
			    const struct vault_table *old, size_t n)
{
	int r = 0;

	while (to->count && to->rows[to->count - 1].catalog == n)
		free(to->rows[--to->count].vault);
	for (size_t i = 0; !r && i < old->count; i++) {
		if (old->rows[i].catalog == n)
			r = add_vault(to, n, old->rows[i].vault);
	}
	return r;
}

static int vault_tag(struct view *v, const struct vault_row *row, char out[6])
{
	DROP(json) struct json *j = json_object();
	struct digest d;
	const char *id;
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = catalog_describe(v->catalogs[row->catalog], row->vault, j);
	if (r)
		return r;
	id = json_get_str(j, "id");
	if (!id)
		id = row->vault;
	sha256(id, strlen(id), &d);
	snprintf(out, 6, "~%02x%02x", d.b[0], d.b[1]);
	return 0;
}

/* Shown names of rows[0..n), which are of one name. */
static int show_same(struct view *v, struct vault_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char tag[6] = "", more[24] = "";
		size_t before = 0;
		int r;

		if (n > 1) {
			r = vault_tag(v, &rows[i], tag);
			if (r)
				return r;
		}
		for (size_t k = 0; k < i; k++) {
			size_t len = strlen(rows[k].vault);

			before += strncmp(rows[k].shown + len, tag, 5) == 0;
		}
		if (before)
			snprintf(more, sizeof(more), "-%zu", before + 1);
		if (asprintf(&rows[i].shown, "%s%s%s", rows[i].vault, tag,
			     more) < 0) {
			rows[i].shown = NULL;
			return fail(-ENOMEM, "out of memory");
		}
	}
	return 0;
}

static int make_vaults(struct view *v, const struct vault_table *old,
		       struct vault_table **ret)
{
	DROP(vault_rows) struct vault_rows all = { 0 };
	struct vault_table *t;
	int r;

	for (size_t n = 0; n < v->ncatalogs; n++) {
		r = add_vaults_of(&all, v, n);
		if (r && old)
			r = add_vaults_known(&all, old, n);
		if (r)
			return r;
	}
	if (all.count)
		qsort(all.rows, all.count, sizeof(*all.rows), vault_row_cmp);
	for (size_t i = 0, k; i < all.count; i = k) {
		for (k = i + 1; k < all.count; k++) {
			if (strcmp(all.rows[i].vault, all.rows[k].vault) != 0)
				break;
		}
		r = show_same(v, all.rows + i, k - i);
		if (r)
			return r;
	}
	if (all.count)
		qsort(all.rows, all.count, sizeof(*all.rows), vault_shown_cmp);
	t = calloc(1, sizeof(*t));
	if (!t)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&t->refs, 1);
	t->made_ns = monotonic_ns();
	t->count = all.count;
	t->rows = take(all.rows);
	all.count = 0;
	*ret = t;
	return 0;
}

/* A reference to the table as it is; *make tells the caller to make another. */
static struct vault_table *vaults_now(struct view *v, bool *make)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);
	uint64_t age = monotonic_ns() - v->vaults->made_ns;

	*make = !v->making_vaults && age >= (uint64_t)v->fresh_ms * 1000000;
	if (*make)
		v->making_vaults = true;
	atomic_fetch_add(&v->vaults->refs, 1);
	return v->vaults;
}

/* The table it was, for the caller to drop. */
static struct vault_table *vaults_replace(struct view *v, struct vault_table *t)
{
	DROP(lock) pthread_mutex_t *held = lock(&v->lock);
	struct vault_table *old = NULL;

	if (t) {
		old = v->vaults;
		v->vaults = t;
		atomic_fetch_add(&t->refs, 1);
	} else {
		/* It failed: not again at once. */
		v->vaults->made_ns = monotonic_ns();
	}
	v->making_vaults = false;
	return old;
}

static struct vault_table *vaults_get(struct view *v)
{
	DROP(vault_table) struct vault_table *was = NULL;
	struct vault_table *now, *made = NULL;
	bool make;

	now = vaults_now(v, &make);
	if (!make)
		return now;
	if (make_vaults(v, now, &made))
		made = NULL;
	was = vaults_replace(v, made);
	if (!made)
		return now;
	vault_table_unref(now);
	return made;
}

static struct root_dir *root_of(struct folder *f)
{
	return container_of(f, struct root_dir, base);
}

static void root_close(struct folder *f)
{
	struct root_dir *d = root_of(f);

	view_unref(d->view);
	free(d);
}

static const struct vault_row *find_vault(const struct vault_table *t,
					  const char *name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->rows[i].shown, name) == 0)
			return &t->rows[i];
	}
	return NULL;
}

static int root_lookup(struct folder *f, const char *name,
		       struct entry_attr *out)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);

	if (!find_vault(t, name))
		return no_entry(name);
	*out = above_attr(v);
	return 0;
}

static int root_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		     void *ctx)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);
	struct entry_attr a = above_attr(v);

	for (; cookie < t->count; cookie++) {
		if (emit(ctx, t->rows[cookie].shown, &a, cookie + 1))
			break;
	}
	return 0;
}

static int root_open_dir(struct folder *f, const char *name,
			 struct folder **ret)
{
	struct view *v = root_of(f)->view;
	DROP(vault_table) struct vault_table *t = vaults_get(v);
	const struct vault_row *row = find_vault(t, name);

	return row ? vault_open(v, row, ret) : no_entry(name);
}

static const struct folder_ops root_ops = {
	.name = "root",
	.lookup = root_lookup,
	.list = root_list,
	.open_dir = root_open_dir,
	.close = root_close,
};

int view_open(struct catalog *const *catalogs, size_t n,
	      const struct view_options *o, struct folder **ret)
{
	DROP(view) struct view *v = calloc(1, sizeof(*v));
	struct root_dir *root;
	int r;

	if (!v)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&v->refs, 1);
	pthread_mutex_init(&v->lock, NULL);
	v->fresh_ms = o->fresh_ms;
	v->born_ns = time_now_ns();
	v->catalogs = calloc(n ? n : 1, sizeof(struct catalog *));
	if (!v->catalogs)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		v->catalogs[i] = catalogs[i];
	v->ncatalogs = n;
	r = cache_new(CARDS_SIZE, &v->cards);
	if (r)
		return r;
	r = make_vaults(v, NULL, &v->vaults);
	if (r)
		return r;
	root = calloc(1, sizeof(*root));
	if (!root)
		return fail(-ENOMEM, "out of memory");
	root->base.ops = &root_ops;
	root->view = take(v);
	*ret = &root->base;
	return 0;
}
