// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/restored.h"
#include "backend/azure/rsv.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/vault/vault.h"

int catalog_check_name(const char *what, const char *name, size_t len)
{
	char shown[CATALOG_NAME_MAX + 1];

	snprintf(shown, sizeof(shown), "%.*s", (int)min_u64(len, 60), name);
	printable(shown);
	if (!len)
		return fail(-EINVAL, "%s: empty", what);
	if (len > CATALOG_NAME_MAX)
		return fail(-EINVAL, "%s '%s…' has %zu bytes; %d are allowed",
			    what, shown, len, CATALOG_NAME_MAX);
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)name[i];

		if (c == '/')
			return fail(-EINVAL, "%s '%s' has a '/' in it", what,
				    shown);
		if (c < 0x20 || c == 0x7f)
			return fail(-EINVAL,
				    "%s '%s' has a control character in it",
				    what, shown);
	}
	if ((len == 1 && name[0] == '.') ||
	    (len == 2 && name[0] == '.' && name[1] == '.'))
		return fail(-EINVAL, "%s '%s' is not allowed", what, shown);
	if (!utf8_valid(name, len))
		return fail(-EINVAL, "%s '%s' is not UTF-8", what, shown);
	return 0;
}

void point_id_text(const struct point_id *id, char out[static POINT_ID_TEXT])
{
	snprintf(out, POINT_ID_TEXT, "%016" PRIx64 ".%016" PRIx64, id->seq,
		 id->nonce);
}

const char *consistency_text(enum consistency c)
{
	switch (c) {
	case CONSISTENCY_CRASH:
		return "CrashConsistent";
	case CONSISTENCY_FILE_SYSTEM:
		return "FileSystemConsistent";
	case CONSISTENCY_APPLICATION:
		return "ApplicationConsistent";
	case CONSISTENCY_UNKNOWN:
		break;
	}
	return "Unknown";
}

void name_page_release(struct name_page *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->names[i]);
	free(p->names);
	*p = (struct name_page){ 0 };
}

void point_page_release(struct point_page *p)
{
	free(p->rows);
	*p = (struct point_page){ 0 };
}

void escrow_docs_release(struct escrow_docs *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].text);
	free(l->v);
	*l = (struct escrow_docs){ 0 };
}

int escrow_docs_add(struct escrow_docs *l, int disk, const void *text,
		    size_t len)
{
	struct escrow_doc *v = reallocarray(l->v, l->n + 1, sizeof(*v));
	char *copy = malloc(len + 1);

	l->v = v ? v : l->v;
	if (!v || !copy) {
		free(copy);
		return fail(-ENOMEM, "no memory for escrow");
	}
	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	v[l->n++] = (struct escrow_doc){ disk, copy, len };
	return 0;
}

struct point_info *point_info_ref(struct point_info *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void point_info_unref(struct point_info *p)
{
	if (p && !__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		p->destroy(p);
}

/* --- wrappers --- */

/* A container that is no vault of ours: perhaps a restore job left disks there. */
static int open_restored(const char *url, const struct catalog_options *o,
			 int failed, struct catalog **ret)
{
	DROP(store) struct store *store = NULL;
	struct err_saved why;
	bool is = false;
	int r;

	if (failed != -ENOENT)
		return failed;
	err_save(failed, &why);
	r = store_open_with(url, o->store, false, &store);
	if (!r)
		r = catalog_open_restored(&store, o, &is, ret);
	return is ? r : err_load(&why);
}

int catalog_open(const char *url, const struct catalog_options *o,
		 struct catalog **ret)
{
	struct store *store;
	int r;

	if (!strncmp(url, RSV_SCHEME, strlen(RSV_SCHEME)))
		return catalog_open_azure(url, o, ret);
	r = store_open_with(url, o->store, false, &store);
	if (!r)
		r = catalog_open_vault(store, o, ret);
	return r && !strncmp(url, "az:", 3) ? open_restored(url, o, r, ret) : r;
}

int catalog_vaults(struct catalog *c, const char *after, size_t max,
		   struct name_page *out)
{
	*out = (struct name_page){ 0 };
	return c->ops->vaults(c, after, max, out);
}

int catalog_vms(struct catalog *c, const char *vault, const char *after,
		size_t max, struct name_page *out)
{
	*out = (struct name_page){ 0 };
	return c->ops->vms(c, vault, after, max, out);
}

int catalog_points(struct catalog *c, const char *vault, const char *vm,
		   int64_t from_ns, size_t max, struct point_page *out)
{
	*out = (struct point_page){ .next_ns = INT64_MIN };
	return c->ops->points(c, vault, vm, from_ns, max, out);
}

int catalog_latest(struct catalog *c, const char *vault, const char *vm,
		   struct point_row *out)
{
	return c->ops->latest(c, vault, vm, out);
}

int catalog_count(struct catalog *c, const char *vault, const char *vm,
		  uint64_t *points, uint64_t *version)
{
	return c->ops->count(c, vault, vm, points, version);
}

int catalog_point(struct catalog *c, const char *vault, const char *vm,
		  const struct point_row *row, struct point_info **ret)
{
	return c->ops->point(c, vault, vm, row, ret);
}

int catalog_open_disk(struct catalog *c, const char *vault, const char *vm,
		      struct point_info *point, size_t disk,
		      struct source **ret)
{
	const struct disk_info *d;

	if (disk >= point->ndisks)
		return fail(-EINVAL, "disk %zu of %zu", disk, point->ndisks);
	d = &point->disks[disk];
	if (d->state != DISK_READY)
		return fail(-EIO, "disk %s: %s", d->name, d->state_sentence);
	return c->ops->open_disk(c, vault, vm, point, disk, ret);
}

int catalog_escrow(struct catalog *c, const char *vault, const char *vm,
		   struct point_info *point, struct escrow_docs *out)
{
	struct escrow_docs docs = { 0 };
	int r = 0;

	if (c->ops->escrow)
		r = c->ops->escrow(c, vault, vm, point, &docs);
	if (r) {
		escrow_docs_release(&docs);
		return r;
	}
	*out = docs;
	return 0;
}

int catalog_describe(struct catalog *c, const char *vault, struct json *into)
{
	return c->ops->describe(c, vault, into);
}

void catalog_close(struct catalog *c)
{
	if (c)
		c->ops->close(c);
}

/* --- what people see of a point --- */

static void set_time(struct json *j, const char *key, int64_t ns)
{
	char text[TIME_TEXT_SIZE];

	time_iso(ns, text);
	json_set_str(j, key, text);
}

static struct json *disk_json(const struct disk_info *d)
{
	struct json *j = json_object();
	char hex[DIGEST_HEX + 1];

	json_set_str(j, "name", d->name);
	if (d->has_size)
		json_set_u64(j, "size", d->size);
	json_set_str(j, "state",
		     d->state == DISK_READY	    ? "ready"
		     : d->state == DISK_NEEDS_GRANT ? "needs-grant"
						    : "needs-restore");
	if (d->state_sentence)
		json_set_str(j, "stateReason", d->state_sentence);
	if (d->has_root) {
		digest_hex(&d->root, hex);
		json_set_str(j, "rootHash", hex);
		json_set_u64(j, "chunkSize", d->chunk_size);
		json_set_u64(j, "dataBytes", d->data_bytes);
		json_set_u64(j, "storedBytes", d->stored_bytes);
		json_set_u64(j, "readBytes", d->read_bytes);
	}
	if (d->caller_extents)
		json_set_str(j, "extents", "as given by the caller");
	if (d->was_vhd)
		json_set_str(j, "sourceFormat", "vhd");
	return j;
}

struct json *point_json(const struct point_info *p)
{
	struct json *j = json_object(), *disks = json_array();
	char id[POINT_ID_TEXT], name[TIME_TEXT_SIZE];

	point_id_text(&p->row.id, id);
	time_name(p->row.time_ns, name);
	json_set_str(j, "name", name);
	json_set_str(j, "id", id);
	json_set_str(j, "vm", p->vm);
	set_time(j, "recoveryPointTime", p->row.time_ns);
	set_time(j, "written", p->written_ns);
	json_set_str(j, "recoveryPointType",
		     consistency_text(p->row.consistency));
	json_set_str(j, "tier", "vault");
	json_set_bool(j, "legalHold", p->row.held);
	if (p->row.expiry_ns)
		set_time(j, "expiry", p->row.expiry_ns);
	if (p->base.seq) {
		point_id_text(&p->base, id);
		json_set_str(j, "base", id);
	} else {
		json_set_str(j, "base", NULL);
	}
	if (p->row.caller_extents)
		json_set_str(j, "extents", "as given by the caller");
	if (p->nlabels) {
		struct json *l = json_object();

		for (size_t i = 0; i < p->nlabels; i++)
			json_set_str(l, p->labels[i].key, p->labels[i].value);
		json_set(j, "labels", l);
	}
	for (size_t i = 0; i < p->ndisks; i++)
		json_push(disks, disk_json(&p->disks[i]));
	json_set(j, "disks", disks);
	if (p->describe)
		p->describe(p, j);
	return j;
}

/* --- finding a point by what the user wrote --- */

#define SHOWN 3

struct finder {
	const char *text;
	size_t len;
	unsigned count;
	struct point_row found;
	char some[SHOWN][TIME_TEXT_SIZE];
};

/* Does the row match the text: its id, its time with or without colons, or the
 * beginning of that? whole: nothing else can be meant. */
static bool row_matches(const struct finder *f, const struct point_row *row,
			bool *whole)
{
	char id[POINT_ID_TEXT], name[TIME_TEXT_SIZE], iso[TIME_TEXT_SIZE];

	point_id_text(&row->id, id);
	time_name(row->time_ns, name);
	time_iso(row->time_ns, iso);
	*whole = strcmp(f->text, id) == 0 || strcmp(f->text, iso) == 0;
	return *whole || strncmp(f->text, name, f->len) == 0 ||
	       strncmp(f->text, iso, f->len) == 0 ||
	       (f->len >= 8 && strncmp(f->text, id, f->len) == 0);
}

static int not_found(const char *vm, const char *text)
{
	return fail(
		-ENOENT,
		"VM %s has no recovery point '%s'; 'vaultctl list' shows them",
		vm, text);
}

/* Whether there may be more behind a page, and from when on to ask for it. */
static bool page_goes_on(const struct point_page *p, int64_t *from)
{
	int64_t last;

	if (!p->more || !p->count)
		return false;
	last = p->rows[p->count - 1].time_ns;
	*from = p->next_ns > last ? p->next_ns : last + 1;
	return true;
}

/* NAME~HEX, as the mount writes points of one second. */
static int find_tilde(struct catalog *c, const char *vault, const char *vm,
		      const char *text, const char *tilde,
		      struct point_row *out)
{
	char name[TIME_TEXT_SIZE];
	int64_t from, upto;
	bool more = true;

	snprintf(name, sizeof(name), "%.*s", (int)(tilde - text), text);
	if (parse_time(name, &from))
		return not_found(vm, text);
	upto = from + 1000000000;
	while (more && from < upto) {
		DROP(point_page) struct point_page p = { 0 };
		int r = catalog_points(c, vault, vm, from, 1024, &p);

		if (r)
			return r;
		for (size_t i = 0; i < p.count; i++) {
			const struct point_row *row = &p.rows[i];
			char row_name[TIME_TEXT_SIZE], hex[5];

			time_name(row->time_ns, row_name);
			point_id_tag(&row->id, hex);
			if (row->time_ns < upto &&
			    strcmp(row_name, name) == 0 &&
			    strcmp(hex, tilde + 1) == 0) {
				*out = *row;
				return 0;
			}
		}
		more = page_goes_on(&p, &from);
	}
	return not_found(vm, text);
}

/* Asks only for the points from that time on when the text is a whole time. */
static int scan(struct catalog *c, const char *vault, const char *vm,
		struct finder *f, bool *whole)
{
	int64_t from = INT64_MIN, upto = INT64_MAX, t;
	bool more = true;

	if (f->len >= 19 && parse_time(f->text, &t) == 0) {
		from = t;
		upto = t + 1000000000;
	}
	while (more && from < upto) {
		DROP(point_page) struct point_page p = { 0 };
		int r = catalog_points(c, vault, vm, from, 1024, &p);

		if (r)
			return r;
		more = page_goes_on(&p, &from);
		for (size_t i = 0; i < p.count; i++) {
			struct point_row *row = &p.rows[i];

			if (row->time_ns >= upto)
				return 0;
			if (!row_matches(f, row, whole))
				continue;
			f->found = *row;
			if (*whole)
				return 0;
			if (f->count < SHOWN)
				time_iso(row->time_ns, f->some[f->count]);
			f->count++;
		}
	}
	return 0;
}

int catalog_find_point(struct catalog *c, const char *vault, const char *vm,
		       const char *text, struct point_row *out)
{
	struct finder f = { .text = text, .len = strlen(text) };
	const char *tilde = strchr(text, '~');
	bool whole = false;
	int r;

	if (!f.len)
		return fail(
			-EINVAL,
			"an empty recovery point; give a time, or 'latest'");
	if (strcmp(text, "latest") == 0)
		return catalog_latest(c, vault, vm, out);
	if (tilde)
		return find_tilde(c, vault, vm, text, tilde, out);
	r = scan(c, vault, vm, &f, &whole);
	if (r)
		return r;
	if (!whole && !f.count)
		return not_found(vm, text);
	if (!whole && f.count > 1)
		return fail(
			-EINVAL,
			"'%s' stands for %u recovery points of %s: %s, %s%s; write more of it",
			text, f.count, vm, f.some[0], f.some[1],
			f.count > 2 ? ", …" : "");
	*out = f.found;
	return 0;
}

/* As in records: little endian. */
static void id_bytes(const struct point_id *id, uint8_t out[static 16])
{
	for (int i = 0; i < 8; i++) {
		out[i] = (uint8_t)(id->seq >> 8 * i);
		out[8 + i] = (uint8_t)(id->nonce >> 8 * i);
	}
}

void point_id_tag(const struct point_id *id, char out[static 5])
{
	uint8_t b[16];
	struct digest d;

	id_bytes(id, b);
	sha256(b, sizeof(b), &d);
	hex_of(d.b, 2, out);
}

int point_disk_as_vhd(const struct point_row *row, const struct disk_info *d,
		      struct source *image, struct source **ret)
{
	static const char domain[16] = "vaultfs:vhd:1";
	uint8_t id[16];
	struct digest sum;
	struct sha256 h;

	id_bytes(&row->id, id);
	sha256_init(&h);
	sha256_add(&h, domain, sizeof(domain));
	if (d->has_root)
		sha256_add(&h, d->root.b, sizeof(d->root.b));
	else
		sha256_add(&h, d->name, strlen(d->name));
	sha256_add(&h, id, sizeof(id));
	sha256_final(&h, &sum);
	/* RFC 9562: version 8, made as its maker likes. */
	sum.b[6] = (sum.b[6] & 0x0f) | 0x80;
	sum.b[8] = (sum.b[8] & 0x3f) | 0x80;
	return source_open_with_vhd_footer(image, sum.b, row->time_ns, ret);
}
