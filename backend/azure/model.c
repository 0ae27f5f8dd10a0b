// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/model.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/model_impl.h"
#include "backend/base/base64.h"
#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

#define LIST_MAX 1000000
#define GIB (UINT64_C(1) << 30)
#define DISK_GIB_MAX 65536
#define LUN_MAX 63
#define SECRET_DATA_MAX 8192

/* --- little helpers --- */

void *model_grow(void *array, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : 16;
	void *p;

	if (count < *room)
		return array;
	if (more > LIST_MAX)
		return NULL;
	p = realloc(array, more * size);
	if (p)
		*room = more;
	return p;
}

int model_copy_text(const char *s, char **to)
{
	if (!s || !*s)
		return 0;
	*to = strdup(s);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

int model_copy(const struct json *j, const char *key, char **to)
{
	return model_copy_text(json_get_str(j, key), to);
}

const struct json *model_get_folded(const struct json *j, const char *key)
{
	const char *k;

	for (size_t i = 0; (k = json_key_at(j, i)); i++) {
		if (!strcasecmp(k, key))
			return json_get(j, k);
	}
	return NULL;
}

int model_need(const struct json *j, const char *key, const char *what,
	       char **to)
{
	const char *s = json_get_str(j, key);

	if (!s || !*s)
		return fail(-EPROTO, "%s without \"%s\"", what, key);
	if (strlen(s) >= ARM_ID_MAX)
		return fail(-EPROTO, "%s: \"%s\" of %zu bytes", what, key,
			    strlen(s));
	return model_copy_text(s, to);
}

static bool flag(const struct json *j, const char *key)
{
	bool v = false;

	return json_get_bool(j, key, &v) && v;
}

static bool contains(const char *text, const char *part)
{
	return text && strcasestr(text, part);
}

static const char *last_part(const char *id)
{
	const char *s = strrchr(id, '/');

	return s ? s + 1 : id;
}

/* --- times and durations --- */

bool rsv_time(const char *text, int64_t *ns)
{
	if (!text || !*text || !strncmp(text, "0001-", 5))
		return false;
	if (parse_time(text, ns)) {
		err_clear();
		return false;
	}
	return true;
}

struct number {
	uint64_t whole;
	uint64_t ms; /* of the fraction */
};

/* Digits and, perhaps, a fraction; *s is moved past them. */
static bool take_number(const char **s, struct number *n)
{
	uint64_t unit = 100;

	*n = (struct number){ 0 };
	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++) {
		if (n->whole > 100000000)
			return false;
		n->whole = n->whole * 10 + (uint64_t)(**s - '0');
	}
	if (**s != '.' || !isdigit((unsigned char)(*s)[1]))
		return true;
	for ((*s)++; isdigit((unsigned char)**s); (*s)++) {
		n->ms += (uint64_t)(**s - '0') * unit;
		unit /= 10;
	}
	return true;
}

static bool iso_duration(const char *s, uint64_t *ms)
{
	uint64_t sum = 0;
	bool time = false;
	struct number n;

	if (*s++ != 'P' || !*s)
		return false;
	while (*s) {
		uint64_t unit;

		if (*s == 'T' && !time) {
			time = true;
			s++;
			continue;
		}
		if (!take_number(&s, &n))
			return false;
		switch (*s++) {
		case 'D':
			unit = 86400000;
			break;
		case 'W':
			unit = 604800000;
			break;
		case 'H':
			unit = 3600000;
			break;
		case 'M':
			unit = 60000;
			break;
		case 'S':
			unit = 1000;
			break;
		default:
			return false;
		}
		/* Months have no length. */
		if (unit < 86400000 && !time)
			return false;
		sum += n.whole * unit + (unit == 1000 ? n.ms : 0);
	}
	*ms = sum;
	return true;
}

/* [D.]HH:MM:SS[.fffffff] */
static bool clock_duration(const char *s, uint64_t *ms)
{
	const char *colon = strchr(s, ':'), *dot = strchr(s, '.');
	uint64_t part[3], days = 0, frac = 0;
	struct number n;

	if (!colon)
		return false;
	if (dot && dot < colon) {
		char head[16];

		if ((size_t)(dot - s) >= sizeof(head))
			return false;
		memcpy(head, s, (size_t)(dot - s));
		head[dot - s] = '\0';
		if (parse_u64(head, &days) || days > 100000)
			return false;
		s = dot + 1;
	}
	for (int i = 0; i < 3; i++) {
		if (!take_number(&s, &n) || (n.ms && i < 2))
			return false;
		part[i] = n.whole;
		frac = n.ms;
		if (i < 2 && *s++ != ':')
			return false;
	}
	*ms = ((days * 24 + part[0]) * 60 + part[1]) * 60000 + part[2] * 1000 +
	      frac;
	return !*s;
}

int rsv_duration_ms(const char *text, uint64_t *ms)
{
	if (*text == 'P' ? iso_duration(text, ms) : clock_duration(text, ms))
		return 0;
	return fail(-EINVAL, "'%.40s' is no duration", text);
}

/* --- shown names --- */

#define BEGINS_AS_NAMED(type)                                                  \
	_Static_assert(offsetof(type, id) == 0 &&                              \
			       offsetof(type, name) == sizeof(char *) &&       \
			       offsetof(type, shown) == 2 * sizeof(char *),    \
		       "as names.h has it")
BEGINS_AS_NAMED(struct rsv_vault);
BEGINS_AS_NAMED(struct rsv_item);

static void vault_release(void *element)
{
	struct rsv_vault *v = element;

	free(v->id);
	free(v->name);
	free(v->shown);
	free(v->location);
}

static void item_release(void *element)
{
	struct rsv_item *i = element;

	free(i->id);
	free(i->name);
	free(i->shown);
	free(i->kind);
	free(i->source_id);
	free(i->state);
	free(i->policy);
}

struct name_list rsv_vaults_names(const struct rsv_vaults *l)
{
	return (struct name_list){ l->v, l->count, sizeof(*l->v),
				   vault_release };
}

struct name_list rsv_items_names(const struct rsv_items *l)
{
	return (struct name_list){ l->v, l->count, sizeof(*l->v),
				   item_release };
}

int rsv_vaults_show(struct rsv_vaults *l)
{
	struct name_list n = rsv_vaults_names(l);
	int r = names_show(&n);

	l->count = n.count;
	return r;
}

int rsv_items_show(struct rsv_items *l)
{
	struct name_list n = rsv_items_names(l);
	int r = names_show(&n);

	l->count = n.count;
	return r;
}

/* --- vaults --- */

static int add_vault(struct rsv_vaults *to, const struct json *j)
{
	struct rsv_vault *v = MODEL_NEXT(to);
	int r = model_need(j, "id", "a vault", &v->id);

	if (!r)
		r = model_need(j, "name", "a vault", &v->name);
	if (!r)
		r = model_copy(j, "location", &v->location);
	return r;
}

int rsv_vaults_add(struct rsv_vaults *to, const struct json *values)
{
	int r = 0;

	for (size_t i = 0; !r && i < json_len(values); i++)
		r = add_vault(to, json_at(values, i));
	return r;
}

void rsv_vaults_release(struct rsv_vaults *l)
{
	for (size_t i = 0; i < l->count; i++)
		vault_release(&l->v[i]);
	free(l->v);
	*l = (struct rsv_vaults){ 0 };
}

/* --- items --- */

static int add_item(struct rsv_items *to, const struct json *j)
{
	const struct json *p = json_get(j, "properties");
	struct rsv_item *it = MODEL_NEXT(to);
	int r = model_need(j, "id", "a protected item", &it->id);

	if (r)
		return r;
	r = model_copy(p, "friendlyName", &it->name);
	if (!r && !it->name)
		r = model_copy_text(last_part(it->id), &it->name);
	if (!r && !it->name)
		r = fail(-EPROTO, "a protected item without a name");
	if (!r)
		r = model_copy(p, "protectedItemType", &it->kind);
	if (!r && !it->kind)
		r = model_copy_text("an unknown type", &it->kind);
	if (!r)
		r = model_copy(p, "sourceResourceId", &it->source_id);
	if (!r && !it->source_id)
		r = model_copy(p, "virtualMachineId", &it->source_id);
	if (!r)
		r = model_copy(p, "protectionState", &it->state);
	if (!r)
		r = model_copy(p, "policyName", &it->policy);
	if (r)
		return r;
	it->soft_deleted = flag(p, "isScheduledForDeferredDelete");
	it->classic = contains(it->kind, "ClassicCompute");
	it->is_vm = contains(it->kind, "/virtualMachines") ||
		    !strcasecmp(it->kind, "AzureIaaSVMProtectedItem");
	return 0;
}

int rsv_items_add(struct rsv_items *to, const struct json *values)
{
	int r = 0;

	for (size_t i = 0; !r && i < json_len(values); i++)
		r = add_item(to, json_at(values, i));
	return r;
}

void rsv_items_release(struct rsv_items *l)
{
	for (size_t i = 0; i < l->count; i++)
		item_release(&l->v[i]);
	free(l->v);
	*l = (struct rsv_items){ 0 };
}

/* --- recovery points --- */

const char *rsv_tier_text(unsigned tiers)
{
	bool snapshot = tiers & RSV_TIER_SNAPSHOT;

	if (tiers & RSV_TIER_REHYDRATED)
		return "archive, rehydrated";
	if (tiers & RSV_TIER_VAULT)
		return snapshot ? "snapshot and vault-standard"
				: "vault-standard";
	if (tiers & RSV_TIER_ARCHIVE)
		return snapshot ? "snapshot and vault-archive"
				: "vault-archive";
	return snapshot ? "snapshot" : "none";
}

/* A word, or the number it had in 2018. */
static bool is_word(const struct json *j, const char *key, const char *word,
		    uint64_t number)
{
	const char *s = json_get_str(j, key);
	uint64_t n;

	if (s)
		return !strcasecmp(s, word);
	return json_get_u64(j, key, &n) && n == number;
}

static unsigned tiers_of(const struct json *p)
{
	const struct json *list = json_get(p, "recoveryPointTierDetails");
	unsigned tiers = 0;

	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *t = json_at(list, i);
		bool valid = is_word(t, "status", "Valid", 1);
		bool back = is_word(t, "status", "Rehydrated", 4);

		if (is_word(t, "type", "InstantRP", 1))
			tiers |= valid ? RSV_TIER_SNAPSHOT : 0;
		else if (is_word(t, "type", "HardenedRP", 2))
			tiers |= valid ? RSV_TIER_VAULT
				       : (back ? RSV_TIER_REHYDRATED : 0);
		else if (is_word(t, "type", "ArchivedRP", 3))
			tiers |= valid || back ? RSV_TIER_ARCHIVE : 0;
	}
	return tiers;
}

static enum consistency consistency_of(const char *s)
{
	if (contains(s, "AppConsistent") ||
	    contains(s, "ApplicationConsistent"))
		return CONSISTENCY_APPLICATION;
	if (contains(s, "FileSystemConsistent"))
		return CONSISTENCY_FILE_SYSTEM;
	if (contains(s, "CrashConsistent"))
		return CONSISTENCY_CRASH;
	return CONSISTENCY_UNKNOWN;
}

int model_secret_text(const char *s, struct secret **to)
{
	size_t n = s ? strlen(s) : 0;

	if (n >= SECRET_MAX)
		return fail(-EPROTO, "a backup of a key of %zu bytes", n);
	return n ? secret_copy(s, n + 1, to) : 0;
}

int model_secret_data(const char *text, struct rsv_key *key)
{
	DROP(secret) struct secret *raw = NULL;
	size_t n, len = text ? strlen(text) : 0;

	if (!len || len > SECRET_DATA_MAX)
		return 0;
	if (secret_new(BASE64_DECODED_MAX(len), &raw)) {
		err_clear();
		return 0;
	}
	if (!base64_decode(text, len, secret_bytes(raw), &n) || !n)
		return 0;
	if (key->key_url || n == 256 || n == 384 || n == 512)
		return model_copy_text(text, &key->secret_data);
	return secret_copy(secret_bytes(raw), n, &key->bek);
}

static int key_of(const struct json *p, struct rsv_point *out)
{
	const struct json *k = json_get(p, "keyAndSecret");
	const struct json *kek = json_get(k, "kekDetails");
	const struct json *bek = json_get(k, "bekDetails");
	struct rsv_key *key = &out->key;
	int r = model_copy(bek, "secretUrl", &key->secret_url);

	if (!r)
		r = model_copy(kek, "keyUrl", &key->key_url);
	if (!r)
		r = model_secret_data(json_get_str(bek, "secretData"), key);
	if (!r)
		r = model_secret_text(json_get_str(kek, "keyBackupData"),
				      &key->key_backup);
	if (!r)
		r = model_copy(k, "encryptionMechanism", &key->mechanism);
	out->has_key = key->secret_url || key->secret_data || key->bek;
	return r;
}

bool model_lun(const struct json *j, const char *key, int *lun)
{
	const struct json *v = json_get(j, key);
	uint64_t n;

	if (!v)
		return false;
	if (json_get_u64(j, key, &n)) {
		if (n > LUN_MAX)
			return false;
		*lun = (int)n;
		return true;
	}
	/* A negative number is none that json_get_u64() gives. */
	*lun = -1;
	return true;
}

static int disk_refs(const struct json *p, struct rsv_point *out)
{
	const struct json *c = json_get(p, "recoveryPointDiskConfiguration");
	const struct json *list = json_get(c, "includedDiskList");
	size_t n = json_len(list);

	if (!n)
		return 0;
	if (n > CATALOG_DISKS_MAX)
		return fail(-EPROTO, "a point of %zu disks", n);
	out->disks = calloc(n, sizeof(*out->disks));
	if (!out->disks)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct json *d = json_at(list, i);
		struct rsv_disk_ref *ref = &out->disks[out->ndisks];
		int r;

		if (!model_lun(d, "lun", &ref->lun))
			continue;
		out->ndisks++;
		r = model_copy(d, "name", &ref->name);
		if (r)
			return r;
	}
	out->knows_disks = out->ndisks > 0;
	return 0;
}

static int point_texts(const struct json *p, struct rsv_point *out)
{
	const char *security = json_get_str(p, "securityType");
	int r = model_copy(p, "osType", &out->os);

	if (!r)
		r = model_copy(p, "objectType", &out->kind);
	if (!r)
		r = disk_refs(p, out);
	out->encrypted = flag(p, "isSourceVMEncrypted");
	out->managed = flag(p, "isManagedVirtualMachine");
	out->private_access = flag(p, "isPrivateAccessEnabledOnAnyDisk");
	out->confidential = contains(security, "Confidential");
	return r;
}

/* All but its keys. */
static int parse_point(const struct json *j, struct rsv_point *out)
{
	const struct json *p = json_get(j, "properties");
	const struct json *more = json_get(p, "recoveryPointProperties");
	const char *time = json_get_str(p, "recoveryPointTime");
	DROP(rsv_point) struct rsv_point got = { 0 };
	int r = model_need(j, "name", "a recovery point", &got.name);

	if (r)
		return r;
	/* Those of databases have another name for it. */
	if (!time)
		time = json_get_str(p, "recoveryPointTimeInUTC");
	if (!rsv_time(time, &got.time_ns))
		return fail(-EPROTO, "recovery point %s has no time", got.name);
	got.consistency = consistency_of(json_get_str(p, "recoveryPointType"));
	got.tiers = tiers_of(p);
	if (!rsv_time(json_get_str(more, "expiryTime"), &got.expiry_ns))
		got.expiry_ns = 0;
	r = point_texts(p, &got);
	if (r)
		return r;
	*out = got;
	got = (struct rsv_point){ 0 };
	return 0;
}

int rsv_point_parse(const struct json *j, struct rsv_point *out)
{
	int r = parse_point(j, out);

	if (r)
		return r;
	r = key_of(json_get(j, "properties"), out);
	if (r)
		rsv_point_release(out);
	return r;
}

static int point_cmp(const void *a, const void *b)
{
	const struct rsv_point *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return strcmp(x->name, y->name);
}

void rsv_points_order(struct rsv_points *l)
{
	size_t kept = 0;

	if (l->count)
		qsort(l->v, l->count, sizeof(*l->v), point_cmp);
	for (size_t i = 0; i < l->count; i++) {
		if (kept && !strcmp(l->v[kept - 1].name, l->v[i].name))
			rsv_point_release(&l->v[i]);
		else
			l->v[kept++] = l->v[i];
	}
	l->count = kept;
	for (size_t i = 1; i < l->count; i++) {
		if (l->v[i].time_ns <= l->v[i - 1].time_ns)
			l->v[i].time_ns = l->v[i - 1].time_ns + 1;
	}
}

int rsv_points_add(struct rsv_points *to, const struct json *values)
{
	for (size_t i = 0; i < json_len(values); i++) {
		struct rsv_point *p = MODEL_NEXT(to);
		int r = parse_point(json_at(values, i), p);

		if (r)
			return r;
	}
	return 0;
}

void rsv_key_release(struct rsv_key *k)
{
	free(k->secret_url);
	secret_free_text(k->secret_data);
	secret_close(k->bek);
	free(k->key_url);
	secret_close(k->key_backup);
	secret_close(k->secret_backup);
	free(k->mechanism);
	*k = (struct rsv_key){ 0 };
}

void rsv_point_release(struct rsv_point *p)
{
	struct rsv_key *k = &p->key;

	for (size_t i = 0; i < p->ndisks; i++)
		free(p->disks[i].name);
	free(p->disks);
	free(p->name);
	free(p->os);
	free(p->kind);
	rsv_key_release(k);
	*p = (struct rsv_point){ 0 };
}

void rsv_points_release(struct rsv_points *l)
{
	for (size_t i = 0; i < l->count; i++)
		rsv_point_release(&l->v[i]);
	free(l->v);
	*l = (struct rsv_points){ 0 };
}

/* --- restore points --- */

int rsv_collections_add(struct rsv_collections *to, const struct json *values)
{
	for (size_t i = 0; i < json_len(values); i++) {
		const struct json *j = json_at(values, i);
		const struct json *s =
			json_get(json_get(j, "properties"), "source");
		const char *name = json_get_str(j, "name");
		struct rsv_collection *c;
		int r;

		if (!json_get_str(s, "id") || !name ||
		    strncasecmp(name, "AzureBackup_", 12) != 0)
			continue;
		c = MODEL_NEXT(to);
		r = model_need(j, "id", "a restore point collection", &c->id);
		if (!r)
			r = model_copy(s, "id", &c->source_id);
		if (r)
			return r;
	}
	return 0;
}

void rsv_collections_release(struct rsv_collections *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->v[i].id);
		free(l->v[i].source_id);
	}
	free(l->v);
	*l = (struct rsv_collections){ 0 };
}

static int snapshot_disk(const struct json *j, int lun, struct rsv_snapshot *to)
{
	struct rsv_snapshot_disk *d = &to->disks[to->ndisks];
	uint64_t gib;
	int r;

	/* One that was left out of the backup has none. */
	if (!json_get_str(json_get(j, "diskRestorePoint"), "id"))
		return 0;
	to->ndisks++;
	d->lun = lun;
	r = model_copy(json_get(j, "diskRestorePoint"), "id", &d->id);
	if (!r)
		r = model_copy(j, "name", &d->name);
	if (!r)
		r = model_copy(json_get(j, "managedDisk"), "id", &d->source_id);
	if (!r)
		r = rsv_settings_add(&d->keys,
				     json_get(j, "encryptionSettings"));
	if (json_get_u64(j, "diskSizeGB", &gib) && gib <= DISK_GIB_MAX)
		d->size = gib * GIB;
	return r;
}

static int snapshot_disks(const struct json *profile, struct rsv_snapshot *s)
{
	const struct json *os = json_get(profile, "osDisk");
	const struct json *data = json_get(profile, "dataDisks");
	size_t n = json_len(data);
	int r = 0;

	if (n >= CATALOG_DISKS_MAX)
		return fail(-EPROTO, "a restore point of %zu disks", n);
	s->disks = calloc(n + 1, sizeof(*s->disks));
	if (!s->disks)
		return fail(-ENOMEM, "out of memory");
	if (os)
		r = snapshot_disk(os, -1, s);
	for (size_t i = 0; !r && i < n; i++) {
		const struct json *d = json_at(data, i);
		int lun;

		if (!model_lun(d, "lun", &lun) || lun < 0)
			continue;
		for (size_t k = 0; k < s->ndisks; k++) {
			if (s->disks[k].lun == lun)
				return fail(-EPROTO,
					    "a restore point with two disks "
					    "of LUN %d",
					    lun);
		}
		r = snapshot_disk(d, lun, s);
	}
	return r;
}

static int add_snapshot(struct rsv_snapshots *to, const struct json *j)
{
	const struct json *p = json_get(j, "properties");
	const char *state = json_get_str(p, "provisioningState");
	struct rsv_snapshot *s = MODEL_NEXT(to);
	int r = model_need(j, "id", "a restore point", &s->id);

	if (!r)
		r = model_copy_text(last_part(s->id), &s->name);
	if (r)
		return r;
	s->ready = rsv_time(json_get_str(p, "timeCreated"), &s->time_ns) &&
		   (!state || !strcasecmp(state, "Succeeded"));
	return snapshot_disks(
		json_get(json_get(p, "sourceMetadata"), "storageProfile"), s);
}

int rsv_snapshots_add(struct rsv_snapshots *to, const struct json *collection)
{
	const struct json *list =
		json_get(json_get(collection, "properties"), "restorePoints");
	int r = 0;

	for (size_t i = 0; !r && i < json_len(list); i++)
		r = add_snapshot(to, json_at(list, i));
	return r;
}

void rsv_snapshots_release(struct rsv_snapshots *l)
{
	for (size_t i = 0; i < l->count; i++) {
		struct rsv_snapshot *s = &l->v[i];

		for (size_t k = 0; k < s->ndisks; k++) {
			free(s->disks[k].name);
			free(s->disks[k].id);
			free(s->disks[k].source_id);
			rsv_settings_release(&s->disks[k].keys);
		}
		free(s->disks);
		free(s->id);
		free(s->name);
	}
	free(l->v);
	*l = (struct rsv_snapshots){ 0 };
}

const struct rsv_snapshot *rsv_snapshot_near(const struct rsv_snapshots *l,
					     int64_t time_ns)
{
	const struct rsv_snapshot *best = NULL;
	int64_t least = RSV_NEAR_NS + 1;

	for (size_t i = 0; i < l->count; i++) {
		const struct rsv_snapshot *s = &l->v[i];
		int64_t far;

		if (!s->ready ||
		    __builtin_sub_overflow(s->time_ns, time_ns, &far))
			continue;
		far = far < 0 ? -far : far;
		if (far < least) {
			least = far;
			best = s;
		}
	}
	return best;
}

int rsv_access_sas(const struct json *j, const char **ret)
{
	const struct json *o = json_get(json_get(j, "properties"), "output");
	const char *sas = json_get_str(j, "accessSAS");

	if (!sas)
		sas = json_get_str(o, "accessSAS");
	if (!sas || strncasecmp(sas, "https://", 8) != 0 || !strchr(sas, '?'))
		return fail(-EPROTO, "Azure's answer to beginGetAccess has no "
				     "address to read from");
	*ret = sas;
	return 0;
}
