// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "crypt/attach_record.h"

/* What is far away comes in large pieces. */
#define READ_AHEAD (UINT64_C(4) << 20)
/* What dm-snapshot copies at a time: a page, so that little is copied. */
#define OVERLAY_CHUNK (4096 / DM_SECTOR)
#define PARAMS_MAX (1u << 16)

int attach_check_name(const char *name)
{
	if (!dm_name_valid(name) || name[0] == '-' || name[0] == '.' ||
	    strlen(name) > ATTACH_NAME_MAX || strchr(name, '#'))
		return fail(-EINVAL,
			    "NAME '%s': letters, digits and '+-.:=@_', at most "
			    "%d of them, not beginning with '-' or '.'",
			    name, ATTACH_NAME_MAX);
	return 0;
}

/* --- the plan: which devices are made, and of what --- */

enum piece_kind {
	PIECE_PART,    /* linear, of a loop: a name for what is clear */
	PIECE_OVERLAY, /* a snapshot of a loop */
	PIECE_LV,
	PIECE_CRYPT, /* of a loop, or of the piece below */
};

#define NO_PIECE SIZE_MAX

struct piece {
	enum piece_kind kind;
	size_t row;
	size_t below; /* PIECE_CRYPT: or NO_PIECE */
	char name[DM_NAME_SIZE];
	char uuid[DM_UUID_SIZE];
};

struct plan {
	struct volumes *v;
	const struct attach_options *o;
	struct piece *pieces;
	size_t n;
	/* By row: the piece with its clear bytes. */
	size_t *clear;
	char tag[17]; /* in our own UUIDs */
	struct attach_record record;
	size_t made; /* so many of the pieces may be there */
};

static void plan_release(struct plan *p)
{
	free(p->pieces);
	free(p->clear);
	attach_record_close(&p->record);
}

static void drop_plan(struct plan *p)
{
	plan_release(p);
}

static bool name_taken(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->pieces[i].name, name) == 0)
			return true;
	return false;
}

/* "web-os-p2"; "web-rootlv" for a logical volume, with its group where that name
 * is taken. What device-mapper has no room for in a name becomes '_'. */
static int piece_name(const struct plan *p, size_t row, const char *suffix,
		      char out[static DM_NAME_SIZE])
{
	const struct volumes_row *v = volumes_at(p->v, row);
	const struct lvm_lv *lv = volumes_lv(p->v, row);
	const char *forms[2] = { lv ? lv->name : v->name, v->name };
	size_t at;
	int n;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		n = snprintf(out, DM_NAME_SIZE, "%s-%s%s", p->o->name, forms[i],
			     suffix);
		if (n >= DM_NAME_SIZE)
			return fail(-ENAMETOOLONG,
				    "%s: its name is too long for the kernel",
				    v->name);
		for (at = 0; out[at]; at++) {
			char one[2] = { out[at], '\0' };

			if (!dm_name_valid(one) && out[at] != '.')
				out[at] = '_';
		}
		if (!name_taken(p, out))
			return 0;
	}
	return fail(-EEXIST, "%s: two volumes would have the name %s", v->name,
		    out);
}

static int add_piece(struct plan *p, enum piece_kind kind, size_t row,
		     size_t below, const char *suffix, size_t *ret)
{
	struct piece *all = reallocarray(p->pieces, p->n + 1, sizeof(*all));
	char uuid[VOLUME_DM_UUID_SIZE];
	struct piece *e;
	int r;

	if (!all)
		return fail(-ENOMEM, "out of memory");
	p->pieces = all;
	e = &all[p->n];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->row = row;
	e->below = below;
	r = piece_name(p, row, suffix, e->name);
	if (r < 0)
		return r;
	if (kind == PIECE_CRYPT)
		volume_dm_uuid(&volumes_at(p->v, row)->info, e->name, uuid);
	else
		snprintf(uuid, sizeof(uuid), "VAULTFS-%s-%zu", p->tag, p->n);
	/* As libcryptsetup cuts it. */
	snprintf(e->uuid, sizeof(e->uuid), "%.*s", DM_UUID_SIZE - 1, uuid);
	*ret = p->n++;
	return 0;
}

static bool is_encrypted(const struct volumes_row *row)
{
	return row->state == VOLUMES_OPEN;
}

static int plan_row(struct plan *p, size_t row);

static int plan_lv(struct plan *p, size_t row, const char *suffix, size_t *ret)
{
	const struct lvm_lv *lv = volumes_lv(p->v, row);
	int r;

	for (size_t i = 0; i < lv->nareas; i++) {
		r = plan_row(p, volumes_lv_row(p->v, &lv->areas[i]));
		if (r < 0)
			return r;
	}
	return add_piece(p, PIECE_LV, row, NO_PIECE, suffix, ret);
}

/* What lies below a piece has to be there before it, so it comes first. */
static int plan_row(struct plan *p, size_t row)
{
	const struct volumes_row *v = volumes_at(p->v, row);
	bool crypt = is_encrypted(v);
	size_t raw = NO_PIECE;
	int r = 0;

	if (p->clear[row] != NO_PIECE)
		return 0;
	if (!volumes_readable(v))
		return fail(-ENOKEY, "%s: %s", v->name, v->reason);
	if (v->logical)
		r = plan_lv(p, row, crypt ? ".raw" : "", &raw);
	else if (p->o->overlay)
		r = add_piece(p, PIECE_OVERLAY, row, NO_PIECE,
			      crypt ? ".cow" : "", &raw);
	else if (!crypt)
		r = add_piece(p, PIECE_PART, row, NO_PIECE, "", &raw);
	if (r == 0 && crypt)
		r = add_piece(p, PIECE_CRYPT, row, raw, "", &raw);
	if (r == 0)
		p->clear[row] = raw;
	return r;
}

static int plan_init(struct plan *p)
{
	size_t n = volumes_count(p->v);
	uint8_t tag[8];
	int r = 0;

	p->clear = calloc(n ? n : 1, sizeof(*p->clear));
	if (!p->clear)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		p->clear[i] = NO_PIECE;
	r = random_bytes(tag, sizeof(tag));
	if (r < 0)
		return r;
	hex_of(tag, sizeof(tag), p->tag);
	for (size_t i = 0; i < n && r == 0; i++)
		if (p->o->chosen[i])
			r = plan_row(p, i);
	return r;
}

/* --- making it --- */

static bool writable(const struct plan *p)
{
	return p->o->overlay != 0;
}

static uint64_t sectors(uint64_t bytes)
{
	return bytes / DM_SECTOR;
}

static int loop_of_row(const struct plan *p, size_t row, struct loop *ret)
{
	const struct volumes_row *v = volumes_at(p->v, row);
	const char *path = p->o->paths[v->disk];
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return fail_errno(errno, "%s", path);
	r = loop_open(fd, v->off, v->len, true, ret);
	if (r < 0)
		return blame(r, "%s", path);
	blockdev_read_ahead(ret->path, READ_AHEAD);
	return 0;
}

/* Where what is written goes: a file without a name, which is gone when the
 * device is. */
static int overlay_file(uint64_t size, int *ret)
{
	const char *dir = getenv("TMPDIR");
	DROP(fd) int fd = -1;

	if (!dir || dir[0] != '/')
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(errno,
				  "%s: no temporary file for what is written "
				  "(TMPDIR says where)",
				  dir);
	if (ftruncate(fd, (off_t)size) < 0)
		return fail_errno(errno,
				  "%s: a temporary file of %" PRIu64 " bytes",
				  dir, size);
	*ret = take_fd(&fd);
	return 0;
}

static int make_overlay(const struct plan *p, const struct piece *e)
{
	DROP(loop) struct loop origin = LOOP_INIT;
	DROP(loop) struct loop cow = LOOP_INIT;
	DROP(fd) int file = -1;
	char params[128];
	struct dm_target t = {
		.len = sectors(volumes_at(p->v, e->row)->len),
		.type = "snapshot",
		.params = params,
	};
	int r = loop_of_row(p, e->row, &origin);

	if (r == 0)
		r = overlay_file(p->o->overlay, &file);
	if (r == 0)
		r = loop_open(file, 0, p->o->overlay, false, &cow);
	if (r < 0)
		return r;
	snprintf(params, sizeof(params), "%s %s N %d", origin.path, cow.path,
		 OVERLAY_CHUNK);
	return dm_create(e->name, e->uuid, false, &t, 1);
}

static int make_part(const struct plan *p, const struct piece *e)
{
	DROP(loop) struct loop loop = LOOP_INIT;
	char params[64];
	struct dm_target t = {
		.len = sectors(volumes_at(p->v, e->row)->len),
		.type = "linear",
		.params = params,
	};
	int r = loop_of_row(p, e->row, &loop);

	if (r < 0)
		return r;
	snprintf(params, sizeof(params), "%s 0", loop.path);
	return dm_create(e->name, e->uuid, true, &t, 1);
}

static void add_area(const struct plan *p, const struct lvm_area *a,
		     struct buf *params)
{
	size_t row = volumes_lv_row(p->v, a);

	buf_printf(params, "%s/dev/mapper/%s %" PRIu64, params->len ? " " : "",
		   p->pieces[p->clear[row]].name, sectors(a->off));
}

static int segment_params(const struct plan *p, const struct lvm_lv *lv,
			  const struct lvm_segment *s, struct buf *params)
{
	if (s->stripe_size)
		buf_printf(params, "%zu %" PRIu64, s->nareas,
			   sectors(s->stripe_size));
	for (size_t i = 0; i < s->nareas; i++)
		add_area(p, &lv->areas[s->first_area + i], params);
	return buf_check(params, "the table of a logical volume");
}

static int make_lv(const struct plan *p, const struct piece *e)
{
	const struct lvm_lv *lv = volumes_lv(p->v, e->row);
	DROP(mem) struct dm_target *t = calloc(lv->nsegments, sizeof(*t));
	/* Of all segments, one after the other, a NUL after each. */
	DROP(buf) struct buf text = BUF_INIT(PARAMS_MAX);
	DROP(mem) size_t *at = calloc(lv->nsegments, sizeof(*at));
	int r = 0;

	if (!t || !at)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < lv->nsegments && r == 0; i++) {
		const struct lvm_segment *s = &lv->segments[i];
		DROP(buf) struct buf params = BUF_INIT(PARAMS_MAX);

		r = segment_params(p, lv, s, &params);
		at[i] = text.len;
		buf_add(&text, buf_cstr(&params), params.len + 1);
		t[i].start = sectors(s->off);
		t[i].len = sectors(s->len);
		t[i].type = s->stripe_size ? "striped" : "linear";
	}
	if (r == 0)
		r = buf_check(&text, "the table of a logical volume");
	if (r < 0)
		return r;
	for (size_t i = 0; i < lv->nsegments; i++)
		t[i].params = (const char *)text.data + at[i];
	return dm_create(e->name, e->uuid, !writable(p), t, lv->nsegments);
}

static int make_crypt(const struct plan *p, const struct piece *e)
{
	DROP(loop) struct loop loop = LOOP_INIT;
	DROP(source) struct source *raw = NULL;
	char device[DM_NAME_SIZE + 16];
	int r = 0;

	if (e->below == NO_PIECE) {
		r = loop_of_row(p, e->row, &loop);
		snprintf(device, sizeof(device), "%s", loop.path);
	} else {
		snprintf(device, sizeof(device), "/dev/mapper/%s",
			 p->pieces[e->below].name);
	}
	if (r == 0)
		r = volumes_raw(p->v, e->row, &raw);
	if (r < 0)
		return r;
	return volume_activate(raw, volumes_header(p->v, e->row),
			       volumes_key(p->v, e->row), device, e->name,
			       e->uuid, !writable(p));
}

/* The record says what is really there, should libcryptsetup have another mind
 * of UUIDs than ours. */
static int confirm(struct plan *p, size_t i)
{
	struct piece *e = &p->pieces[i];
	struct dm_device d;
	int r = dm_query(e->name, &d);

	if (r < 0 || strcmp(d.uuid, e->uuid) == 0)
		return r;
	snprintf(e->uuid, sizeof(e->uuid), "%s", d.uuid);
	memcpy(p->record.entries[i].uuid, e->uuid, sizeof(e->uuid));
	return attach_record_write(&p->record, p->o->name);
}

static int make_piece(struct plan *p, size_t i)
{
	const struct piece *e = &p->pieces[i];
	char path[160];
	int r = p->o->check ? p->o->check() : 0;

	if (r < 0)
		return r;
	switch (e->kind) {
	case PIECE_PART:
		r = make_part(p, e);
		break;
	case PIECE_OVERLAY:
		r = make_overlay(p, e);
		break;
	case PIECE_LV:
		r = make_lv(p, e);
		break;
	case PIECE_CRYPT:
		r = make_crypt(p, e);
		break;
	}
	/* A call that was interrupted says no more than that. */
	if (r < 0 && p->o->check && p->o->check() < 0)
		return p->o->check();
	if (r < 0)
		return blame(r, "%s", volumes_at(p->v, e->row)->name);
	p->made = i + 1;
	snprintf(path, sizeof(path), "/dev/mapper/%s", e->name);
	blockdev_read_ahead(path, READ_AHEAD);
	return confirm(p, i);
}

/* --- taking it down --- */

/* What has that name and UUID; nothing of anybody else's. */
static int find_own(const struct attach_entry *e, struct dm_device *out)
{
	int r = dm_query(e->name, out);

	if (r == 0 && strcmp(out->uuid, e->uuid) != 0)
		out->exists = false;
	return r;
}

/* The last ones made go first. All of them are tried. */
static int remove_devices(const struct attach_record *record, size_t n)
{
	struct err_saved first = { 0 };
	struct dm_device d;
	int r;

	while (n-- > 0) {
		r = find_own(&record->entries[n], &d);
		if (r == 0 && d.exists)
			r = dm_remove(record->entries[n].name);
		if (r < 0 && first.code == 0)
			err_save(r, &first);
	}
	return first.code ? err_load(&first) : 0;
}

/* After failure r, which stays the sentence. */
static int undo(struct plan *p, int r)
{
	struct err_saved why;

	err_save(r, &why);
	r = remove_devices(&p->record, p->made);
	if (r == 0)
		r = attach_record_remove(&p->record);
	if (r < 0)
		log_error("%s; 'vaultkey close %s' will take down the rest",
			  err_text(r), p->o->name);
	return err_load(&why);
}

static int record_plan(struct plan *p)
{
	int r = attach_record_new(p->o->name, &p->record);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n && r == 0; i++)
		r = attach_record_add(&p->record, p->pieces[i].name,
				      p->pieces[i].uuid);
	if (r == 0)
		r = attach_record_write(&p->record, p->o->name);
	return r < 0 ? undo(p, r) : 0;
}

static int list_attached(const struct plan *p, struct attached **ret, size_t *n)
{
	size_t count = volumes_count(p->v), k = 0;
	struct attached *a = calloc(count ? count : 1, sizeof(*a));

	if (!a)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		if (!p->o->chosen[i])
			continue;
		a[k].row = i;
		snprintf(a[k++].path, sizeof(a->path), "/dev/mapper/%s",
			 p->pieces[p->clear[i]].name);
	}
	*ret = a;
	*n = k;
	return 0;
}

int attach_open(struct volumes *v, const struct attach_options *o,
		struct attached **ret, size_t *n)
{
	DROP(plan)
	struct plan p = {
		.v = v,
		.o = o,
		.record = ATTACH_RECORD_INIT,
	};
	int r = attach_check_name(o->name);

	if (r == 0)
		r = dm_check();
	if (r == 0)
		r = plan_init(&p);
	if (r == 0)
		r = record_plan(&p);
	if (r < 0)
		return r;
	for (size_t i = 0; i < p.n && r == 0; i++)
		r = make_piece(&p, i);
	if (r == 0 && o->check)
		r = o->check();
	if (r == 0)
		r = list_attached(&p, ret, n);
	return r < 0 ? undo(&p, r) : 0;
}

static int check_unused(const struct attach_record *record, const char *name)
{
	char who[1200];
	struct dm_device d;
	int r;

	for (size_t i = record->count; i-- > 0;) {
		r = find_own(&record->entries[i], &d);
		if (r < 0)
			return r;
		if (!d.exists || d.open_count <= attach_own_holders(record, &d))
			continue;
		attach_holder(record, &d, record->entries[i].name, who,
			      sizeof(who));
		return fail(-EBUSY,
			    "/dev/mapper/%s is in use: %s; end that, then "
			    "'vaultkey close %s' again",
			    record->entries[i].name, who, name);
	}
	return 0;
}

int attach_close(const char *name)
{
	DROP(attach_record)
	struct attach_record record = ATTACH_RECORD_INIT;
	int r = attach_check_name(name);

	if (r == 0)
		r = attach_record_open(name, &record);
	if (r == 0)
		r = dm_check();
	if (r == 0)
		r = check_unused(&record, name);
	if (r == 0)
		r = remove_devices(&record, record.count);
	return r < 0 ? r : attach_record_remove(&record);
}
