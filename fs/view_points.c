// SPDX-License-Identifier: GPL-3.0-or-later
/* A point and what is in it. */
#include "fs/view_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crypt/escrow.h"
#include "fs/resolver.h"

#define POINT_JSON "point.json"
#define POINT_NOTE "point.txt"

/* --- cards: what is known of a point --- */

static void card_free(void *data)
{
	point_info_unref(data);
}

struct card_wanted {
	struct place *place;
	const struct point_row *row;
};

static int card_fill(void *ctx, struct cache_value *out)
{
	const struct card_wanted *w = ctx;
	struct point_info *p;
	int r = catalog_point(view_catalog(w->place), w->place->vault,
			      w->place->vm, w->row, &p);

	if (r)
		return r;
	out->data = p;
	out->destroy = card_free;
	out->size = sizeof(*p);
	out->charge =
		sizeof(*p) + p->ndisks * sizeof(*p->disks) + p->nlabels * 128;
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

int view_card_get(struct place *p, const struct point_row *row,
		  struct cache_blob **ret)
{
	struct card_wanted w = { p, row };
	uint8_t key[CACHE_KEY_SIZE];

	card_key(p, row, key);
	return cache_get(p->view->cards, key, card_fill, &w, ret);
}

struct point_info *view_card(const struct cache_blob *b)
{
	/* The cache has it as it was given: catalogs keep things of their own in it. */
	return (struct point_info *)(uintptr_t)b->data;
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

int view_xattr_point(struct place *p, const struct point_row *row,
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
		buf_str(out, verified_text(view_catalog(p)->trust));
	} else {
		return view_no_xattr(name, key);
	}
	return buf_check(out, "extended attribute");
}

static int xattr_disk(struct place *p, const struct point_row *row,
		      const struct disk_info *d, const char *name,
		      const char *key, struct buf *out)
{
	char hex[DIGEST_HEX + 1];

	if (!d->has_root || (key && strcmp(key, VIEW_XATTR_ROOT) != 0))
		return view_xattr_point(p, row, name, key, out);
	if (key) {
		digest_hex(&d->root, hex);
		buf_str(out, hex);
		return buf_check(out, "extended attribute");
	}
	xattr_name(out, VIEW_XATTR_ROOT);
	return view_xattr_point(p, row, name, NULL, out);
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
	im->place = view_place_ref(p);
	im->row = *row;
	im->form = form;
	*ret = &im->base;
	return 0;
}

static void images_close(struct folder *f)
{
	struct images *im = images_of(f);

	view_place_unref(im->place);
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
		*out = view_text_attr(len, im->row.time_ns,
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
		return view_no_entry(name);
	len = (size_t)(dot - name);
	*note = strcmp(dot, ".txt") == 0;
	if (!*note && strcmp(dot, im->form->suffix) != 0)
		return view_no_entry(name);
	for (size_t i = 0; i < info->ndisks; i++) {
		const struct disk_info *d = &info->disks[i];

		if (strlen(d->name) != len || memcmp(d->name, name, len) != 0)
			continue;
		if (*note ? !has_note(im->form, d) : does_not_fit(im->form, d))
			break;
		*disk = i;
		return 0;
	}
	return view_no_entry(name);
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

	r = view_card_get(im->place, &im->row, &card);
	if (r)
		return r;
	r = find_image(im, view_card(card), name, &disk, &note);
	if (r)
		return r;
	d = &view_card(card)->disks[disk];
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

	r = view_card_get(im->place, &im->row, &card);
	if (r)
		return r;
	info = view_card(card);
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
	do
		r = catalog_open_disk(view_catalog(im->place), im->place->vault,
				      im->place->vm, info, disk, &src);
	while (r == -EBUSY &&
	       resolver_make_room(im->place->view->resolver, im->place->number,
				  im->place->vault, im->place->vm));
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

	r = view_point_now(im->place, &im->row, &now);
	if (r)
		return r;
	r = view_card_get(im->place, &im->row, &card);
	if (r)
		return r;
	info = view_card(card);
	r = find_image(im, info, name, &disk, &note);
	if (r)
		return r;
	if (note) {
		r = note_text(im->form, &info->disks[disk], &text, &len);
		return r ? r : view_text_open(text, len, ret);
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

	r = view_card_get(im->place, &im->row, &card);
	if (r)
		return r;
	r = find_image(im, view_card(card), name, &disk, &note);
	if (r)
		return r;
	if (note)
		return key ? view_no_xattr(name, key) : 0;
	return xattr_disk(im->place, &im->row, &view_card(card)->disks[disk],
			  name, key, out);
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

int view_point_open(struct place *p, const struct point_row *row,
		    struct folder **ret)
{
	struct point_dir *pt = calloc(1, sizeof(*pt));

	if (!pt)
		return fail(-ENOMEM, "out of memory");
	pt->base.ops = &point_ops;
	pt->place = view_place_ref(p);
	pt->row = *row;
	*ret = &pt->base;
	return 0;
}

static void point_close(struct folder *f)
{
	struct point_dir *pt = point_of(f);

	view_place_unref(pt->place);
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
static int open_volumes(struct point_dir *pt, struct folder **ret)
{
	return view_volumes_open(pt->place, &pt->row, ret);
}

static int open_escrow(struct point_dir *pt, struct folder **ret)
{
	return view_escrow_open(pt->place, &pt->row, ret);
}

static const struct point_part {
	const char *name;
	int (*open)(struct point_dir *pt, struct folder **ret);
	bool owner_only;
} point_parts[] = {
	{ "disks", open_disks, false },
	{ "vhd", open_vhds, false },
	{ "volumes", open_volumes, true },
	{ "escrow", open_escrow, true },
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
	int r = view_point_now(pt->place, &pt->row, &now);

	return r ? r : view_card_get(pt->place, &now, ret);
}

/* --- point.json --- */

struct text_wanted {
	struct place *place;
	struct point_info *info;
};

static int make_text(const struct text_wanted *w, char **text, size_t *len)
{
	const struct place *p = w->place;
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	DROP(json) struct json *j = point_json(w->info);
	int r;

	if (!j)
		return fail(-ENOMEM, "out of memory");
	r = catalog_escrow(view_catalog(p), p->vault, p->vm, w->info, &docs);
	if (r)
		return r;
	escrow_describe(&docs, w->info, j);
	return json_text(j, true, text, len);
}

static int text_fill(void *ctx, struct cache_value *out)
{
	char *text;
	int r = make_text(ctx, &text, &out->size);

	if (!r)
		out->data = text;
	return r;
}

static void text_key(const struct place *p, const struct point_row *row,
		     uint8_t out[static CACHE_KEY_SIZE])
{
	uint8_t card[CACHE_KEY_SIZE];

	card_key(p, row, card);
	cache_key(POINT_JSON, card, sizeof(card), out);
}

/* Not with the card: escrow records may be added to a point, and who only reads its
 * disks should not wait for them. So it is made anew after a while. */
static int point_text(struct point_dir *pt, struct cache_blob **ret,
		      uint64_t *left_ns)
{
	struct view *v = pt->place->view;
	DROP(cache_blob) struct cache_blob *card = NULL;
	struct text_wanted w = { .place = pt->place };
	uint8_t key[CACHE_KEY_SIZE];
	struct point_row now;
	int r = view_point_now(pt->place, &pt->row, &now);

	if (!r)
		r = view_card_get(pt->place, &now, &card);
	if (r)
		return r;
	w.info = view_card(card);
	text_key(pt->place, &now, key);
	*left_ns = fresh_key(v->fresh, key).left_ns;
	return cache_get(v->cards, key, text_fill, &w, ret);
}

static int point_json_attr(struct point_dir *pt, struct entry_attr *out)
{
	DROP(cache_blob) struct cache_blob *text = NULL;
	uint64_t left_ns;
	int r = point_text(pt, &text, &left_ns);

	if (!r)
		*out = view_text_attr(text->size, pt->row.time_ns,
				      (uint32_t)(left_ns / 1000000));
	return r;
}

static int point_json_open(struct point_dir *pt, struct source **ret)
{
	DROP(cache_blob) struct cache_blob *text = NULL;
	uint64_t left_ns;
	int r = point_text(pt, &text, &left_ns);

	return r ? r : view_copy_open(text->data, text->size, ret);
}

/* --- what else there is --- */

/* The text about a point that has one: -ENOENT for the others. */
static int point_note(struct point_dir *pt, struct cache_blob **card,
		      const char **text)
{
	int r = point_card(pt, card);

	if (r)
		return r;
	*text = view_card(*card)->note;
	return *text ? 0 : view_no_entry(POINT_NOTE);
}

static int point_note_attr(struct point_dir *pt, struct entry_attr *out)
{
	DROP(cache_blob) struct cache_blob *card = NULL;
	const char *text;
	int r = point_note(pt, &card, &text);

	if (!r)
		*out = view_text_attr(strlen(text), pt->row.time_ns,
				      pt->place->view->fresh_ms);
	return r;
}

static struct entry_attr part_attr(const struct point_dir *pt,
				   const struct point_part *part)
{
	struct entry_attr a = view_dir_attr(pt->row.time_ns, VIEW_FIXED_MS);

	/* What is in it may change, as keys and records come. */
	if (part->owner_only)
		a.valid_ms = pt->place->view->fresh_ms;
	a.owner_only = part->owner_only;
	return a;
}

static int point_lookup(struct folder *f, const char *name,
			struct entry_attr *out)
{
	struct point_dir *pt = point_of(f);
	const struct point_part *part;

	if (strcmp(name, POINT_JSON) == 0)
		return point_json_attr(pt, out);
	if (strcmp(name, POINT_NOTE) == 0)
		return point_note_attr(pt, out);
	part = find_part(name);
	if (!part)
		return view_no_entry(name);
	*out = part_attr(pt, part);
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
	for (; cookie - 1 < ARRAY_SIZE(point_parts); cookie++) {
		a = part_attr(pt, &point_parts[cookie - 1]);
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

	return part ? part->open(point_of(f), ret) : view_no_entry(name);
}

static int point_open_file(struct folder *f, const char *name,
			   struct source **ret)
{
	DROP(cache_blob) struct cache_blob *card = NULL;
	const char *note;
	int r;

	if (strcmp(name, POINT_JSON) == 0)
		return point_json_open(point_of(f), ret);
	if (strcmp(name, POINT_NOTE) != 0)
		return view_no_entry(name);
	r = point_note(point_of(f), &card, &note);
	return r ? r : view_copy_open(note, strlen(note), ret);
}

static const struct folder_ops point_ops = {
	.name = "point",
	.lookup = point_lookup,
	.list = point_list,
	.open_dir = point_open_dir,
	.open = point_open_file,
	.close = point_close,
};
