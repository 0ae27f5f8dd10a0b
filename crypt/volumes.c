// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * In this order, since each step may need what the ones before found: partitions;
 * volumes with a header of their own; headers that the user gave; the system's
 * disk of Azure Disk Encryption, whose header is on its boot partition; logical
 * volumes; data disks whose headers are on the system's root, which may be a
 * logical volume; logical volumes again, if that opened something.
 */
#include "crypt/volumes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"
#include "backend/guest/part.h"
#include "crypt/volumes_impl.h"

/* With ".locked", and a tag, it is still a file name. */
#define NAME_LEN_MAX 230

const char *volumes_state_name(enum volumes_state s)
{
	static const char *const names[] = {
		[VOLUMES_CLEAR] = "clear",
		[VOLUMES_OPEN] = "open",
		[VOLUMES_NO_RECORD] = "no-record",
		[VOLUMES_KEK_MISSING] = "kek-missing",
		[VOLUMES_WRONG_KEY] = "wrong-key",
		[VOLUMES_DAMAGED] = "damaged",
		[VOLUMES_UNSUPPORTED] = "unsupported",
		[VOLUMES_UNKNOWN] = "unknown",
	};

	return names[s];
}

/* --- rows --- */

static void vol_release(struct vol *v)
{
	volume_key_close(v->key);
	shared_unref(v->header);
	shared_unref(v->clear);
	shared_unref(v->raw);
}

static int add_vol(struct volumes *vs, struct vol **ret)
{
	if (vs->n == vs->room) {
		size_t room = 2 * vs->room + 8;
		struct vol *more = reallocarray(vs->v, room, sizeof(*more));

		if (!more)
			return fail(-ENOMEM, "out of memory");
		vs->v = more;
		vs->room = room;
	}
	*ret = &vs->v[vs->n++];
	memset(*ret, 0, sizeof(**ret));
	(*ret)->row.record = -1;
	return 0;
}

void volumes_text(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, size, fmt, ap);
	va_end(ap);
}

void volumes_lock(struct vol *v, enum volumes_state state, const char *fmt, ...)
{
	va_list ap;

	v->row.state = state;
	va_start(ap, fmt);
	vsnprintf(v->row.reason, sizeof(v->row.reason), fmt, ap);
	va_end(ap);
	printable(v->row.reason);
	shared_unref(take(v->clear));
}

static void set_content(struct vol *v, const struct content *c)
{
	memcpy(v->row.type, c->type, sizeof(c->type));
	memcpy(v->row.label, c->label, sizeof(c->label));
	memcpy(v->row.uuid, c->uuid, sizeof(c->uuid));
}

/* --- keys --- */

struct attempt {
	struct volumes *vs;
	const struct vol *v;
	struct source *header;
	/* One of these: */
	const struct escrow_record *record;
	const struct keyring_plain *plain; /* NULL too: the clear key */
	bool no_kek;			   /* none unwraps the record */
	/* What is tried now. */
	struct secret *key;
	enum key_kind kind;
};

static int derive(void *ctx, struct volume_key **ret)
{
	struct attempt *t = ctx;

	return volume_unlock(shared_source(t->v->raw), t->header, t->key,
			     t->kind, ret);
}

/* By the key itself; NULL: the clear key. */
static int try_key(const struct volume_info *info, struct attempt *t,
		   struct secret *key, enum key_kind kind, bool known,
		   struct volume_key **ret)
{
	struct keycache_key k = { .metadata = info->metadata };
	int r = 0;

	t->key = key;
	t->kind = kind;
	if (key)
		r = keycache_name(t->vs->cache, key, kind, &k.who);
	if (r)
		return r;
	if (known)
		return keycache_find(t->vs->cache, &k, ret);
	return keycache_get(t->vs->cache, &k, derive, t, ret);
}

/*
 * By a record: a volume that one opened is known by its digest, and no KEK is asked.
 * One that is new may hold a BEK that is known: --escrow-to wraps it anew for each
 * point.
 */
static int try_record(const struct volume_info *info, struct attempt *t,
		      bool known, struct volume_key **ret)
{
	const struct keycache_key k = { .metadata = info->metadata,
					.who = t->record->digest };
	DROP(secret) struct secret *bek = NULL;
	int r = keycache_find(t->vs->cache, &k, ret);

	if (known || r != -EAGAIN)
		return r;
	r = keyring_unwrap(t->vs->o->keyring, t->record, t->v->row.name, &bek);
	/* That no KEK is here may change, and is not to be remembered. */
	t->no_kek = r == -ENOKEY;
	if (r)
		return r;
	r = try_key(info, t, bek, KEY_BEK, false, ret);
	if (r == 0 || r == -ENOKEY)
		keycache_add(t->vs->cache, &k, r ? NULL : *ret);
	return r;
}

/* "<GUID>.BEK" of a protector that the volume has. */
static bool names_protector(const struct escrow_record *r,
			    const struct volume_info *info)
{
	for (size_t i = 0; i < info->nkey_ids; i++) {
		size_t n = strlen(info->key_ids[i]);

		if (strncasecmp(r->file_name, info->key_ids[i], n) == 0 &&
		    (!r->file_name[n] || r->file_name[n] == '.'))
			return true;
	}
	return false;
}

/* The likeliest first; all are tried, since one BEK often opens all disks. */
static int distance(const struct volumes *vs, const struct vol *v,
		    const struct volume_info *info,
		    const struct escrow_record *r)
{
	if (names_protector(r, info))
		return 0;
	if (!*r->disk)
		return 3;
	if (v->row.logical || strcmp(r->disk, vs->disks[v->row.disk]) != 0)
		return 4;
	if (r->part == v->row.part)
		return 1;
	return r->part ? 4 : 2;
}

/* Of all that was tried the verdict that says most: what could not be found out, then
 * what was not there, then what did not fit. */
static void judge(struct verdict *out, enum volumes_state state,
		  const char *reason)
{
	static const int weight[] = {
		[VOLUMES_NO_RECORD] = 1,   [VOLUMES_WRONG_KEY] = 2,
		[VOLUMES_KEK_MISSING] = 3, [VOLUMES_DAMAGED] = 4,
		[VOLUMES_UNSUPPORTED] = 4, [VOLUMES_UNKNOWN] = 5,
	};

	if (weight[state] <= weight[out->state])
		return;
	out->state = state;
	volumes_text(out->reason, sizeof(out->reason), "%s", reason);
}

static void judge_failure(struct verdict *out, int r, const struct attempt *t)
{
	if (t->no_kek) {
		judge(out, VOLUMES_KEK_MISSING, err_text(-ENOKEY));
		return;
	}
	switch (r) {
	/* The KEK, or the secret, is not in its key vault any more. */
	case -ENOENT:
		judge(out, VOLUMES_KEK_MISSING, err_text(r));
		break;
	case -ENOTSUP:
		judge(out, VOLUMES_UNSUPPORTED, err_text(r));
		break;
	case -EPROTO:
	case -EBADMSG:
		judge(out, VOLUMES_DAMAGED, err_text(r));
		break;
	default:
		judge(out, VOLUMES_UNKNOWN, err_text(r));
	}
}

static void found(struct verdict *out, const struct attempt *t, int record)
{
	out->state = VOLUMES_OPEN;
	*out->reason = '\0';
	out->record = t->record ? record : -1;
	if (t->record)
		volumes_text(out->opened_by, sizeof(out->opened_by),
			     "escrow record %d%s%s", record + 1,
			     *t->record->file_name ? ", " : "",
			     t->record->file_name);
	else if (t->plain)
		volumes_text(out->opened_by, sizeof(out->opened_by), "%s",
			     t->plain->name);
	else
		volumes_text(out->opened_by, sizeof(out->opened_by),
			     "its clear key (it is suspended)");
}

/* Only what is known already, or, else, whatever it takes. i: of the record. */
static bool try_one(const struct volume_info *info, struct attempt *t, size_t i,
		    bool known, struct volume_key **ret, struct verdict *out)
{
	int r;

	t->no_kek = false;
	if (t->record)
		r = try_record(info, t, known, ret);
	else
		r = try_key(info, t, t->plain ? t->plain->key : NULL,
			    t->plain ? t->plain->kind : KEY_BEK, known, ret);
	if (r == 0)
		found(out, t, (int)i);
	else if (known)
		return false;
	else if (r == -ENOKEY && !t->no_kek)
		judge(out, VOLUMES_WRONG_KEY, "");
	else
		judge_failure(out, r, t);
	return r == 0;
}

struct order {
	size_t record;
	int distance;
};

static int compare_order(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	if (x->distance != y->distance)
		return x->distance - y->distance;
	return (x->record > y->record) - (x->record < y->record);
}

static bool try_all(const struct volume_info *info, struct attempt *t,
		    const struct order *order, bool known,
		    struct volume_key **ret, struct verdict *out)
{
	const struct volumes_options *o = t->vs->o;

	t->record = NULL;
	t->plain = NULL;
	if (info->suspended && try_one(info, t, 0, known, ret, out))
		return true;
	for (size_t i = 0; o->keyring && i < keyring_plain_count(o->keyring);
	     i++) {
		t->plain = keyring_plain_at(o->keyring, i);
		if (try_one(info, t, i, known, ret, out))
			return true;
	}
	t->plain = NULL;
	for (size_t i = 0; o->keyring && !o->untrusted && i < o->nrecords;
	     i++) {
		t->record = &o->records[order[i].record];
		if (try_one(info, t, order[i].record, known, ret, out))
			return true;
	}
	return false;
}

static void missing_kek(const struct escrow_record *r, const char *name,
			struct verdict *out)
{
	char kek[WRAP_NAME_SIZE], text[ERR_MAX];

	if (r->nwraps)
		wrap_name(&r->wraps[0], kek);
	if (r->nwraps)
		volumes_text(text, sizeof(text),
			     "the BEK of %s is wrapped by KEK %s: give it with "
			     "--kek",
			     name, kek);
	else
		volumes_text(
			text, sizeof(text),
			"the record of %s has no wrapped key%s%s%s: give its "
			"key with --bek or --password-file",
			name, *r->secret_url ? ", only where it is: " : "",
			r->secret_url,
			*r->secret_url ? " (--kek https://VAULT, of the key "
					 "vault there, reads it)"
				       : "");
	judge(out, VOLUMES_KEK_MISSING, text);
}

/* Nothing opened it: why, and what to do. */
static void conclude(const struct volumes *vs, const struct vol *v,
		     const struct volume_info *info, const struct order *order,
		     struct verdict *out)
{
	const struct volumes_options *o = vs->o;
	const char *type = volume_type_name(info->type), *name = v->row.name;

	if (info->confidential) {
		out->state = VOLUMES_NO_RECORD;
		judge(out, VOLUMES_UNSUPPORTED,
		      "its key is one of a confidential VM, which Azure "
		      "releases to that VM only");
		return;
	}
	if (o->nrecords && o->untrusted)
		judge(out, VOLUMES_UNKNOWN, o->untrusted);
	else if (o->nrecords && !o->keyring)
		missing_kek(&o->records[order[0].record], name, out);
	if (out->state == VOLUMES_NO_RECORD)
		volumes_text(
			out->reason, sizeof(out->reason),
			"%s is encrypted (%s), and there is no escrow record "
			"for it: give its key with --bek or --password-file, "
			"or attach a record with 'vaultkey attach'",
			name, type);
	if (out->state == VOLUMES_WRONG_KEY)
		volumes_text(
			out->reason, sizeof(out->reason),
			"none of the keys that are here opens %s (%s%s%s): "
			"find the one of its time, and give it with --bek or "
			"--password-file",
			name, type, *info->uuid ? ", " : "", info->uuid);
}

void volumes_find_key(struct volumes *vs, const struct vol *v,
		      const struct volume_info *info, struct source *header,
		      struct volume_key **ret, struct verdict *out)
{
	const struct volumes_options *o = vs->o;
	struct attempt t = { .vs = vs, .v = v, .header = header };
	DROP(mem)
	struct order *order =
		calloc(o->nrecords ? o->nrecords : 1, sizeof(*order));

	memset(out, 0, sizeof(*out));
	out->state = VOLUMES_NO_RECORD;
	out->record = -1;
	if (!order) {
		judge(out, VOLUMES_UNKNOWN, "out of memory");
		return;
	}
	for (size_t i = 0; i < o->nrecords; i++)
		order[i] = (struct order){ i, distance(vs, v, info,
						       &o->records[i]) };
	qsort(order, o->nrecords, sizeof(*order), compare_order);
	if (!try_all(info, &t, order, true, ret, out) &&
	    !try_all(info, &t, order, false, ret, out))
		conclude(vs, v, info, order, out);
}

/* --- opening a row --- */

/* LUKS1 has no checksum over its header, and a detached one opens over anything:
 * only what is found in the clear bytes proves them. */
static bool is_proved(const struct volume_info *info, bool detached)
{
	return !detached && info->type != VOLUME_LUKS1;
}

int volumes_try(struct vol *v, const struct volume_info *info,
		struct shared *header, struct volume_key *key,
		const struct verdict *by, bool *opened)
{
	DROP(shared) struct shared *clear = NULL;
	struct source *raw, *s;
	struct content c;
	int r = shared_open(v->raw, &raw);

	*opened = false;
	if (!r)
		r = volume_map(raw, header ? shared_source(header) : NULL, key,
			       &s);
	if (!r)
		r = shared_new(s, &clear);
	if (!r)
		r = content_probe(shared_source(clear), &c);
	if (r)
		return r;
	if (!*c.type && !is_proved(info, header))
		return 0;
	set_content(v, &c);
	v->row.state = VOLUMES_OPEN;
	*v->row.reason = '\0';
	v->row.info = *info;
	v->row.detached = header;
	v->row.size = source_size(shared_source(clear));
	v->row.record = by->record;
	memcpy(v->row.opened_by, by->opened_by, sizeof(by->opened_by));
	shared_unref(v->clear);
	v->clear = take(clear);
	v->header = header ? shared_ref(header) : NULL;
	v->key = volume_key_ref(key);
	*opened = true;
	return 0;
}

static int unlock_in_place(struct volumes *vs, struct vol *v)
{
	DROP(volume_key) struct volume_key *key = NULL;
	struct volume_info info = v->row.info;
	struct verdict by;
	bool opened;
	int r;

	volumes_find_key(vs, v, &info, NULL, &key, &by);
	if (!key) {
		volumes_lock(v, by.state, "%s", by.reason);
		return 0;
	}
	r = volumes_try(v, &info, NULL, key, &by, &opened);
	if (volumes_fatal(r))
		return r;
	if (r == -ENOTSUP)
		volumes_lock(v, VOLUMES_UNSUPPORTED, "%s", err_text(r));
	else if (r == -EPROTO || r == -EBADMSG)
		volumes_lock(v, VOLUMES_DAMAGED, "%s", err_text(r));
	else if (r)
		volumes_lock(v, VOLUMES_UNKNOWN, "%s", err_text(r));
	else if (!opened)
		volumes_lock(v, VOLUMES_DAMAGED,
			     "its key is right, but what it decrypts to is "
			     "nothing that is known: its header, which in "
			     "LUKS1 has no checksum, may be damaged");
	return 0;
}

/* What it is; opens it if it has a header. */
static int look(struct volumes *vs, struct vol *v)
{
	struct source *raw = shared_source(v->raw);
	struct content c;
	int r = volume_probe(raw, &v->row.info);

	v->row.size = source_size(raw);
	if (!r && v->row.info.type == VOLUME_CLEAR) {
		r = content_probe(raw, &c);
		if (!r) {
			set_content(v, &c);
			v->row.state = VOLUMES_CLEAR;
			v->clear = shared_ref(v->raw);
		}
	}
	if (volumes_fatal(r))
		return r;
	if (r) {
		volumes_lock(v, VOLUMES_UNKNOWN, "%s", err_text(r));
		return 0;
	}
	if (v->row.info.type == VOLUME_CLEAR)
		return 0;
	if (v->row.info.state == VOLUME_REFUSED)
		volumes_lock(v, VOLUMES_UNSUPPORTED, "%s", v->row.info.reason);
	else if (v->row.info.state == VOLUME_DAMAGED)
		volumes_lock(v, VOLUMES_DAMAGED, "%s", v->row.info.reason);
	else
		return unlock_in_place(vs, v);
	return 0;
}

bool volumes_is_candidate(const struct vol *v)
{
	/* EFI, BIOS boot, Microsoft's reserved one. */
	static const char *const others[] = {
		"c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
		"21686148-6449-6e6f-744e-656564454649",
		"e3c9e316-0b5c-4db8-817d-f92df00215ae",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (strcmp(v->part_type, others[i]) == 0)
			return false;
	}
	return v->row.state == VOLUMES_CLEAR && !*v->row.type;
}

/* --- disks --- */

static int add_part(struct volumes *vs, size_t disk, struct shared *whole,
		    const struct part *p)
{
	struct vol *v;
	struct source *s;
	int r = add_vol(vs, &v);

	if (r)
		return r;
	v->row.disk = disk;
	v->row.off = p->off;
	v->row.len = p->len;
	v->row.part = p->number;
	memcpy(v->part_type, p->type, sizeof(p->type));
	volumes_text(v->row.name, NAME_LEN_MAX + 1, "%s-p%u", vs->disks[disk],
		     p->number);
	r = shared_open(whole, &s);
	if (!r)
		r = source_open_slice(s, p->off, p->len, &s);
	if (!r)
		r = shared_new(s, &v->raw);
	if (r)
		return r;
	if (p->cut) {
		volumes_lock(v, VOLUMES_DAMAGED,
			     "its partition table says that it ends beyond the "
			     "end of the disk");
		return 0;
	}
	return look(vs, v);
}

static int add_whole(struct volumes *vs, size_t disk, struct shared *whole,
		     const char *unreadable)
{
	struct vol *v;
	int r = add_vol(vs, &v);

	if (r)
		return r;
	v->row.disk = disk;
	v->row.len = source_size(shared_source(whole));
	v->raw = shared_ref(whole);
	volumes_text(v->row.name, NAME_LEN_MAX + 1, "%s", vs->disks[disk]);
	if (!unreadable)
		return look(vs, v);
	volumes_lock(v, VOLUMES_UNKNOWN, "%s", unreadable);
	return 0;
}

static int add_disk(struct volumes *vs, size_t disk, struct shared *whole)
{
	DROP(part_table) struct part_table t = { 0 };
	char why[ERR_MAX];
	int r = part_read(shared_source(whole), &t);

	if (volumes_fatal(r))
		return r;
	if (r) {
		volumes_text(why, sizeof(why), "partition table: %s",
			     err_text(r));
		return add_whole(vs, disk, whole, why);
	}
	if (!t.count)
		return add_whole(vs, disk, whole, NULL);
	for (size_t i = 0; i < t.count && !r; i++)
		r = add_part(vs, disk, whole, &t.parts[i]);
	return r;
}

/* --- logical volumes --- */

static void forget_lvs(struct volumes *vs)
{
	while (vs->n > vs->nparts)
		vol_release(&vs->v[--vs->n]);
	lvm_free(take(vs->lvm));
	vs->npvs = 0;
}

static int add_lv(struct volumes *vs, const struct lvm_lv *lv)
{
	struct vol *v;
	struct source *s;
	int r = add_vol(vs, &v);

	if (r)
		return r;
	v->lv = lv;
	v->row.logical = true;
	volumes_text(v->row.name, NAME_LEN_MAX + 1, "lvm-%s-%s", lv->vg,
		     lv->name);
	v->row.len = v->row.size = lv->size;
	if (*lv->refused) {
		volumes_lock(
			v, lv->missing ? VOLUMES_UNKNOWN : VOLUMES_UNSUPPORTED,
			"%s", lv->refused);
		return 0;
	}
	r = lvm_open_lv(lv, vs->pvs, &s);
	if (!r)
		r = shared_new(s, &v->raw);
	return r ? r : look(vs, v);
}

static int add_lvs(struct volumes *vs)
{
	struct source *sources[LVM_PVS_MAX];
	int r = 0;

	forget_lvs(vs);
	for (size_t i = 0; i < vs->nparts && vs->npvs < LVM_PVS_MAX; i++) {
		struct vol *v = &vs->v[i];

		if (!v->clear || strcmp(v->row.type, CONTENT_LVM) != 0)
			continue;
		vs->pvs[vs->npvs] = v->clear;
		vs->pv_rows[vs->npvs] = i;
		sources[vs->npvs++] = shared_source(v->clear);
	}
	if (vs->npvs)
		r = lvm_read(sources, vs->npvs, &vs->lvm);
	/* A volume that cannot be read now is told of by its own row. */
	if (r && !volumes_fatal(r)) {
		volumes_lock(&vs->v[vs->pv_rows[0]], VOLUMES_UNKNOWN,
			     "LVM metadata: %s", err_text(r));
		return 0;
	}
	for (size_t i = 0; !r && vs->lvm && i < vs->lvm->count; i++)
		r = add_lv(vs, &vs->lvm->lvs[i]);
	return r;
}

/* --- names --- */

static bool same_name(const struct volumes *vs, size_t i)
{
	for (size_t k = 0; k < vs->n; k++) {
		if (k != i && strcmp(vs->v[k].row.name, vs->v[i].row.name) == 0)
			return true;
	}
	return false;
}

/* Those of one name, or of one that was cut, get a tag of what they are. */
static int tag_names(struct volumes *vs)
{
	DROP(mem) bool *tagged = calloc(vs->n ? vs->n : 1, sizeof(*tagged));

	if (!tagged)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < vs->n; i++)
		tagged[i] = same_name(vs, i) ||
			    strlen(vs->v[i].row.name) == NAME_LEN_MAX;
	for (size_t i = 0; i < vs->n; i++) {
		struct volumes_row *row = &vs->v[i].row;
		char id[600];
		struct digest d;
		size_t len = strlen(row->name);

		if (!tagged[i])
			continue;
		if (vs->v[i].lv)
			volumes_text(id, sizeof(id), "lv %s/%s %s",
				     vs->v[i].lv->vg, vs->v[i].lv->name,
				     vs->v[i].lv->uuid);
		else
			volumes_text(id, sizeof(id), "part %s %u",
				     vs->disks[row->disk], row->part);
		sha256(id, strlen(id), &d);
		volumes_text(row->name + len, sizeof(row->name) - len,
			     "~%02x%02x%02x%02x", d.b[0], d.b[1], d.b[2],
			     d.b[3]);
	}
	return 0;
}

/* --- the whole --- */

/* Takes the sources, on failure too. */
static int take_disks(struct volumes *vs, const struct volumes_disk *disks,
		      size_t n)
{
	int r = 0;

	vs->disks = calloc(n ? n : 1, sizeof(char *));
	if (!vs->disks)
		r = fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		DROP(shared) struct shared *whole = NULL;
		int e = shared_new(disks[i].source, &whole);

		if (!r && !e) {
			vs->disks[i] = strdup(disks[i].name);
			vs->ndisks = i + 1;
			if (!vs->disks[i])
				e = fail(-ENOMEM, "out of memory");
		}
		if (!r && !e)
			e = add_disk(vs, i, whole);
		r = r ? r : e;
	}
	vs->nparts = vs->n;
	return r;
}

static int resolve(struct volumes *vs)
{
	bool more = false;
	int r = volumes_given_headers(vs);

	if (!r)
		r = volumes_azure_os(vs);
	if (!r)
		r = add_lvs(vs);
	if (!r)
		r = volumes_azure_data(vs, &more);
	if (!r && more)
		r = add_lvs(vs);
	return r ? r : tag_names(vs);
}

int volumes_open(const struct volumes_disk *disks, size_t ndisks,
		 const struct volumes_options *o, struct volumes **ret)
{
	DROP(volumes) struct volumes *vs = calloc(1, sizeof(*vs));
	DROP(keycache) struct keycache *own = NULL;
	int r = 0;

	if (!vs) {
		for (size_t i = 0; i < ndisks; i++)
			source_close(disks[i].source);
		return fail(-ENOMEM, "out of memory");
	}
	vs->o = o;
	vs->cache = o->cache;
	if (!vs->cache)
		r = keycache_new(&own);
	if (own)
		vs->cache = own;
	if (r) {
		for (size_t i = 0; i < ndisks; i++)
			source_close(disks[i].source);
		return r;
	}
	r = take_disks(vs, disks, ndisks);
	if (!r)
		r = resolve(vs);
	vs->o = NULL;
	vs->cache = NULL;
	if (!r)
		*ret = take(vs);
	return r;
}

void volumes_close(struct volumes *vs)
{
	if (!vs)
		return;
	forget_lvs(vs);
	for (size_t i = 0; i < vs->n; i++)
		vol_release(&vs->v[i]);
	for (size_t i = 0; i < vs->ndisks; i++)
		free(vs->disks[i]);
	free(vs->disks);
	free(vs->v);
	free(vs);
}

size_t volumes_count(const struct volumes *vs)
{
	return vs->n;
}

const struct volumes_row *volumes_at(const struct volumes *vs, size_t i)
{
	return &vs->v[i].row;
}

int volumes_find(const struct volumes *vs, const char *name, size_t *ret)
{
	char names[300] = "";
	size_t len = 0;

	for (size_t i = 0; i < vs->n; i++) {
		const char *has = vs->v[i].row.name;

		if (strcmp(has, name) == 0) {
			*ret = i;
			return 0;
		}
		if (len + strlen(has) + 8 < sizeof(names))
			len += (size_t)snprintf(names + len,
						sizeof(names) - len, "%s%s",
						len ? ", " : "", has);
	}
	return fail(-ENOENT, "there is no volume %s; there are: %s", name,
		    len ? names : "none");
}

int volumes_image(struct volumes *vs, size_t i, struct source **ret)
{
	struct vol *v = &vs->v[i];

	if (!v->clear)
		return fail(-EACCES, "%s is locked: %s", v->row.name,
			    v->row.reason);
	return shared_open(v->clear, ret);
}

int volumes_raw(struct volumes *vs, size_t i, struct source **ret)
{
	struct vol *v = &vs->v[i];

	if (!v->raw)
		return fail(-ENOTSUP, "%s cannot be read: %s", v->row.name,
			    v->row.reason);
	return shared_open(v->raw, ret);
}

const struct volume_key *volumes_key(struct volumes *vs, size_t i)
{
	return vs->v[i].key;
}

struct source *volumes_header(struct volumes *vs, size_t i)
{
	return vs->v[i].header ? shared_source(vs->v[i].header) : NULL;
}

const struct lvm_lv *volumes_lv(const struct volumes *vs, size_t i)
{
	return vs->v[i].lv;
}

size_t volumes_lv_row(const struct volumes *vs, const struct lvm_area *area)
{
	return vs->pv_rows[area->pv];
}
