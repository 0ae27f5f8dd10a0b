// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/restored.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

/* --- a point --- */

static void info_destroy(struct point_info *p)
{
	struct rsv_point_info *i = rsv_info_of(p);

	for (size_t k = 0; i->places && k < i->info.ndisks; k++) {
		free(i->places[k].id);
		free(i->places[k].family);
		rsv_settings_release(&i->places[k].keys);
	}
	free(i->places);
	free(i->info.disks);
	rsv_point_release(&i->point);
	free(i->item_id);
	free(i->vault_id);
	free(i->source_id);
	free(i->location);
	free(i->kind);
	free(i->policy);
	free(i->sentence);
	free(i->restored);
	cache_unref(i->left);
	free(i->note);
	free(i);
}

const struct rsv_facts *point_azure_facts(const struct point_info *info)
{
	if (info->destroy != info_destroy)
		return NULL;
	return &rsv_info_of((struct point_info *)(uintptr_t)info)->facts;
}

static void describe_key(const struct rsv_point *p, struct json *into)
{
	struct json *k = json_object();

	json_set_bool(k, "isSourceVMEncrypted", p->encrypted);
	if (p->key.mechanism)
		json_set_str(k, "encryptionMechanism", p->key.mechanism);
	if (p->key.secret_url)
		json_set_str(k, "secretUrl", p->key.secret_url);
	if (p->key.key_url)
		json_set_str(k, "keyUrl", p->key.key_url);
	/* Wrapped or not is not told here: neither is shown. */
	json_set_bool(k, "secretDataInPoint", p->key.secret_data || p->key.bek);
	json_set_bool(k, "keyBackupInPoint", p->key.key_backup != NULL);
	json_set(into, "encryption", k);
}

/* What point.json has of such a point. */
static void info_describe(const struct point_info *info, struct json *into)
{
	const struct rsv_point_info *i =
		rsv_info_of((struct point_info *)(uintptr_t)info);
	const struct rsv_point *p = &i->point;
	struct json *a = json_object();

	json_set_str(into, "tier", rsv_tier_text(p->tiers));
	json_set_str(a, "itemId", i->item_id);
	json_set_str(a, "recoveryPoint", p->name);
	json_set_str(a, "itemType", i->kind);
	if (p->kind)
		json_set_str(a, "objectType", p->kind);
	if (p->os)
		json_set_str(a, "osType", p->os);
	if (i->source_id)
		json_set_str(a, "sourceResourceId", i->source_id);
	if (i->policy)
		json_set_str(a, "policy", i->policy);
	if (i->restored)
		json_set_str(a, "restoredDisks", i->restored);
	json_set(into, "azure", a);
	if (i->facts.is_vm)
		describe_key(p, into);
}

static int copy_text(const char *s, char **to)
{
	if (!s)
		return 0;
	*to = strdup(s);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

static void disk_name(int lun, char out[static CATALOG_NAME_MAX + 1])
{
	if (lun < 0)
		snprintf(out, CATALOG_NAME_MAX + 1, "os");
	else
		snprintf(out, CATALOG_NAME_MAX + 1, "lun%d", lun);
}

static int disk_info_cmp(const void *a, const void *b)
{
	const struct disk_info *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int disks_room(struct rsv_point_info *i, size_t n)
{
	i->info.disks = calloc(n ? n : 1, sizeof(*i->info.disks));
	return i->info.disks ? 0 : fail(-ENOMEM, "out of memory");
}

/* A disk of a snapshot: ascending by name as the others, with its place. */
static int snapshot_order(const void *a, const void *b)
{
	const struct rsv_snapshot_disk *const *x = a, *const *y = b;
	char m[CATALOG_NAME_MAX + 1], n[CATALOG_NAME_MAX + 1];

	disk_name((*x)->lun, m);
	disk_name((*y)->lun, n);
	return strcmp(m, n);
}

static int disks_of_snapshot(struct rsv_point_info *i,
			     const struct rsv_snapshot *s)
{
	const struct rsv_snapshot_disk *order[CATALOG_DISKS_MAX + 1];
	size_t n = s->ndisks;
	int e = disks_room(i, n);

	if (e)
		return e;
	i->places = calloc(n ? n : 1, sizeof(*i->places));
	if (!i->places)
		return fail(-ENOMEM, "out of memory");
	for (size_t k = 0; k < n; k++)
		order[k] = &s->disks[k];
	qsort(order, n, sizeof(*order), snapshot_order);
	for (size_t k = 0; k < n; k++) {
		struct disk_info *d = &i->info.disks[k];
		const char *family = order[k]->source_id;

		disk_name(order[k]->lun, d->name);
		d->has_size = order[k]->size != 0;
		d->size = order[k]->size;
		/* How much of it is hole is not known before it is read. */
		d->data_bytes = d->size;
		i->info.ndisks++;
		e = copy_text(order[k]->id, &i->places[k].id);
		if (!e)
			e = copy_text(family ? family : order[k]->name,
				      &i->places[k].family);
		if (!e)
			e = rsv_settings_copy(&order[k]->keys,
					      &i->places[k].keys);
		if (e)
			return e;
	}
	return 0;
}

/* What is known of the disks of a point that cannot be read: of the configuration,
 * else only that there is one with the system. */
static int disks_unread(struct rsv_point_info *i, enum disk_state state)
{
	const struct rsv_point *p = &i->point;
	size_t n = p->knows_disks ? p->ndisks : 1;
	int e = disks_room(i, n);

	if (e)
		return e;
	for (size_t k = 0; k < n; k++) {
		struct disk_info *d = &i->info.disks[k];

		disk_name(p->knows_disks ? p->disks[k].lun : -1, d->name);
		d->state = state;
		d->state_sentence = i->sentence;
	}
	i->info.ndisks = n;
	qsort(i->info.disks, n, sizeof(*i->info.disks), disk_info_cmp);
	for (size_t k = 1; k < n; k++) {
		if (!strcmp(i->info.disks[k - 1].name, i->info.disks[k].name))
			return fail(-EPROTO, "two disks are called %s",
				    i->info.disks[k].name);
	}
	return 0;
}

/* What to run; prefix: what is said before it. */
static int say_restore(struct rsv_point_info *i, const char *why,
		       const char *prefix)
{
	char time[TIME_TEXT_SIZE];

	time_name(i->info.row.time_ns, time);
	if (asprintf(&i->sentence,
		     "%s; %s'vaultctl restore-disks azure-rsv:%s %s %s "
		     "--to STORAGE-ACCOUNT-ID' asks for that and prints what to "
		     "mount then",
		     why, prefix, i->vault_id, i->info.vm, time) < 0) {
		i->sentence = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

static int say_restored(struct rsv_point_info *i, const char *text,
			const char *why_not)
{
	if (asprintf(&i->sentence,
		     "%s; a restore job has left its disks in %s, which cannot "
		     "be read from here (%s): 'vaultfs %s DIRECTORY' mounts "
		     "them where it can",
		     text, i->restored, why_not, i->restored) < 0) {
		i->sentence = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

/* --- what a restore job left --- */

/* Newer points lack the wrapped key, which the job wrote beside the disks. */
static void key_of_left(struct rsv_point_info *i)
{
	const struct rsv_left *l = i->left->data;
	const struct rsv_key *own = &i->point.key, *key;
	const char *os;

	if (own->secret_data || own->bek || own->key_backup ||
	    !point_restored_key(l->info, &key, &os))
		return;
	if (own->secret_url &&
	    (!key->secret_url ||
	     strcasecmp(own->secret_url, key->secret_url) != 0))
		return;
	i->facts.key = key;
}

static int disks_left(struct rsv_point_info *i)
{
	const struct rsv_left *l = i->left->data;
	size_t n = l->info->ndisks;
	int e = disks_room(i, n);

	if (e)
		return e;
	/* What they point to is the blob's. */
	memcpy(i->info.disks, l->info->disks, n * sizeof(*i->info.disks));
	i->info.ndisks = n;
	key_of_left(i);
	return 0;
}

static int disks_of_job(struct rsv *r, struct rsv_point_info *i,
			const char *text, const struct rsv_job *job)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct rsv_left *l;
	int e = rsv_get_left(r, job, &b);

	if (e)
		return e;
	l = b->data;
	e = copy_text(l->url, &i->restored);
	if (e)
		return e;
	if (l->info) {
		i->left = take(b);
		return disks_left(i);
	}
	e = say_restored(i, text, l->why);
	return e ? e : disks_unread(i, DISK_NEEDS_RESTORE);
}

#define ASK_AZURE "Azure gives nobody its bytes until they are restored: "

/* Who may read the points need not be allowed to read the jobs. */
static int disks_unrestored(struct rsv *r, const struct rsv_place *p,
			    struct rsv_point_info *i, const char *text)
{
	DROP(mem) char *why = strdup(text);
	DROP(cache_blob) struct cache_blob *job = NULL;
	int e = why ? rsv_find_restored(r, p, i->point.time_ns, &job)
		    : fail(-ENOMEM, "out of memory");

	if (!e && job)
		return disks_of_job(r, i, why, job->data);
	if (!e)
		e = say_restore(i, why, ASK_AZURE);
	else if (e == -EACCES)
		e = say_restore(i, why,
				"whether a job has restored it may not be "
				"seen here (Microsoft.RecoveryServices/vaults/"
				"backupJobs/read is missing); " ASK_AZURE);
	return e ? e : disks_unread(i, DISK_NEEDS_RESTORE);
}

static int disks_not_granted(struct rsv_point_info *i)
{
	int e = copy_text(err_text(-EACCES), &i->sentence);

	return e ? e : disks_unread(i, DISK_NEEDS_GRANT);
}

static int disks_of_vm(struct rsv *r, const struct rsv_place *p,
		       struct rsv_point_info *i)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct rsv_snapshot *s;
	unsigned tiers = i->point.tiers;
	int e;

	if (!(tiers & RSV_TIER_SNAPSHOT)) {
		if (tiers & (RSV_TIER_VAULT | RSV_TIER_REHYDRATED))
			return disks_unrestored(r, p, i,
						"it is in the vault tier only");
		if (tiers & RSV_TIER_ARCHIVE)
			return disks_unrestored(r, p, i,
						"it is in the archive tier");
		return disks_unrestored(r, p, i,
					"it is in no tier that is valid");
	}
	e = rsv_get_snapshots(r, p->item, &b);
	if (e == -EACCES)
		return disks_not_granted(i);
	if (e == -ENOENT)
		return disks_unrestored(r, p, i, err_text(e));
	if (e)
		return e;
	s = rsv_snapshot_near(b->data, i->point.time_ns);
	if (!s || !s->ndisks)
		return disks_unrestored(r, p, i,
					"it should have a snapshot, but "
					"there is no restore point of that "
					"time");
	return disks_of_snapshot(i, s);
}

static int say_note(const struct rsv_item *item, struct rsv_point_info *i)
{
	if (asprintf(&i->note,
		     "This is a recovery point of '%s', a backup item of the "
		     "type %s, not of a virtual machine.\n"
		     "It has no disks, and its content cannot be read here: "
		     "Azure gives it only through a restore.\n"
		     "Restore it in the portal, or with\n"
		     "  az backup restore ... (see 'az backup restore --help')\n"
		     "its id is %s/recoveryPoints/%s\n",
		     item->name, item->kind, item->id, i->point.name) < 0) {
		i->note = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	i->info.note = i->note;
	return 0;
}

static int facts_of(struct rsv_point_info *i, const struct rsv_place *p)
{
	int e = copy_text(p->item->id, &i->item_id);

	if (!e)
		e = copy_text(p->vault->id, &i->vault_id);
	if (!e)
		e = copy_text(p->item->source_id, &i->source_id);
	if (!e)
		e = copy_text(p->vault->location, &i->location);
	if (!e)
		e = copy_text(p->item->kind, &i->kind);
	if (!e)
		e = copy_text(p->item->policy, &i->policy);
	i->facts = (struct rsv_facts){
		.point = &i->point,
		.key = &i->point.key,
		.item_id = i->item_id,
		.vault_id = i->vault_id,
		.source_id = i->source_id,
		.location = i->location,
		.item_kind = i->kind,
		.is_vm = p->item->is_vm,
	};
	return e;
}

/* The one GET of a point. */
static int get_point(struct rsv *r, const struct rsv_item *item,
		     const char *name, struct rsv_point *out)
{
	DROP(secret_json) struct json *j = NULL;
	char path[ARM_ID_MAX + 256], what[400];
	int e;

	snprintf(path, sizeof(path), "%s/recoveryPoints/%.200s", item->id,
		 name);
	snprintf(what, sizeof(what), "VM %s: recovery point %.100s",
		 item->shown, name);
	e = arm_get_secret(r->az, what, path, RSV_API_BACKUP, &j);
	if (e == -ENOENT)
		return fail(-ESTALE, "%s was dropped meanwhile", what);
	if (!e)
		e = rsv_point_parse(j, out);
	return e;
}

static int make_info(struct rsv *r, const struct rsv_place *p,
		     const struct point_row *row, const char *name,
		     struct rsv_point_info *i)
{
	int e = get_point(r, p->item, name, &i->point);

	if (e)
		return e;
	i->point.time_ns = row->time_ns;
	i->info.row = *row;
	i->info.written_ns = row->time_ns;
	snprintf(i->info.vm, sizeof(i->info.vm), "%s", p->item->shown);
	i->info.describe = info_describe;
	e = facts_of(i, p);
	if (!e)
		e = p->item->is_vm ? disks_of_vm(r, p, i)
				   : say_note(p->item, i);
	i->info.row.ndisks = (uint16_t)i->info.ndisks;
	return e;
}

int rsv_point_open(struct rsv *r, const struct rsv_place *p,
		   const struct point_row *row, const char *name,
		   struct point_info **ret)
{
	struct rsv_point_info *i = calloc(1, sizeof(*i));
	int e;

	if (!i)
		return fail(-ENOMEM, "out of memory");
	i->info.refs = 1;
	i->info.destroy = info_destroy;
	e = make_info(r, p, row, name, i);
	if (e) {
		info_destroy(&i->info);
		return e;
	}
	*ret = &i->info;
	return 0;
}
