// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/restored.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backend/azure/restored_config.h"
#include "backend/azure/pages.h"
#include "backend/azure/record.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/store/azure_blob.h"

#define CONFIGS_MAX 256
#define BLOB_MAX (8u << 20)
#define LIST_PAGE 1000
#define NAMES_MAX 20000
#define READERS 8
#define NS INT64_C(1000000000)

/* A config: a point of a VM. */
struct entry {
	char *key; /* of the config */
	char *vm;
	struct rsv_config config;
	struct point_row row;
	struct rsv_key key_info; /* of its encryption info blob */
	bool has_key;
};

struct restored {
	struct catalog c;
	struct store *store;
	struct cache *bytes; /* the caller's */
	struct pool *readers;
	char name[CATALOG_NAME_MAX + 1];
	struct entry *entries; /* by VM, then by time */
	size_t nentries;
	struct store_list names; /* all blobs there, ascending */
};

struct restored_point {
	struct point_info info; /* first */
	struct restored *r;
	const struct entry *entry;
	char **keys; /* of the VHDs; NULL: not there */
	char *sentence;
};

static const struct catalog_ops restored_ops;

static struct restored *self(struct catalog *c)
{
	return container_of(c, struct restored, c);
}

static void entry_release(struct entry *e)
{
	rsv_config_release(&e->config);
	rsv_key_release(&e->key_info);
	free(e->key);
	free(e->vm);
}

static void restored_free(struct restored *r)
{
	if (!r)
		return;
	pool_free(r->readers);
	for (size_t i = 0; i < r->nentries; i++)
		entry_release(&r->entries[i]);
	free(r->entries);
	store_list_release(&r->names);
	store_close(r->store);
	free(r);
}

DROP_DEFINE(restored, struct restored *, restored_free)

/* --- looking at what is there --- */

static int list_all(struct store *s, struct store_list *out)
{
	char *after = NULL;
	bool more = true;
	int r = 0;

	while (more && !r) {
		struct store_list page = { 0 };

		r = store_list(s, "", after ? after : "", LIST_PAGE, false,
			       &page);
		for (size_t i = 0; i < page.count && !r; i++)
			r = store_list_add(out, page.entries[i].key,
					   strlen(page.entries[i].key),
					   page.entries[i].size);
		if (!r && out->count > NAMES_MAX)
			r = fail(-EFBIG, "it holds more than %d blobs",
				 NAMES_MAX);
		more = page.more;
		after = out->count ? out->entries[out->count - 1].key : NULL;
		store_list_release(&page);
	}
	return r;
}

static const char *base_of(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash ? slash + 1 : key;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && !strcasecmp(s + n - k, end);
}

static bool is_config(const char *key)
{
	const char *name = base_of(key);

	return (!strncasecmp(name, "config-", 7) ||
		!strcasecmp(name, "vmconfig.json")) &&
	       ends_with(name, ".json");
}

static const struct store_entry *find_blob(const struct restored *r,
					   const char *name)
{
	for (size_t i = 0; i < r->names.count; i++) {
		if (!strcmp(base_of(r->names.entries[i].key), name))
			return &r->names.entries[i];
	}
	return NULL;
}

/* The last part of a VHD's URI, which may have a query. */
static void vhd_name(const char *uri, char out[static STORE_KEY_MAX + 1])
{
	size_t n = strcspn(uri, "?#");
	size_t start = n;

	while (start && uri[start - 1] != '/')
		start--;
	snprintf(out, STORE_KEY_MAX + 1, "%.*s",
		 (int)min_u64(n - start, STORE_KEY_MAX), uri + start);
}

/* "…-20260726-131655.vhd", in UTC; false: not so. */
static bool time_in_name(const char *name, int64_t *ns)
{
	size_t n = strlen(name);
	struct tm tm = { 0 };
	const char *at;
	char *end;

	if (ends_with(name, ".vhd"))
		n -= 4;
	if (n < 15)
		return false;
	at = name + n - 15;
	end = strptime(at, "%Y%m%d-%H%M%S", &tm);
	if (!end || end != at + 15)
		return false;
	*ns = timegm(&tm) * NS;
	return true;
}

static int64_t time_of(const struct rsv_config *c)
{
	char name[STORE_KEY_MAX + 1];
	int64_t ns;

	for (size_t i = 0; i < c->ndisks; i++) {
		vhd_name(c->disks[i].uri, name);
		if (time_in_name(name, &ns))
			return ns;
	}
	return 0;
}

static int get_blob(struct restored *r, const char *key, struct buf *out)
{
	int e = store_get(r->store, key, BLOB_MAX, out);

	return e ? blame(e, "%s", key) : 0;
}

/* What the job wrote of keys: it is told by its name only. */
static bool is_encryption_info(const char *key)
{
	return strcasestr(base_of(key), "encryption") &&
	       ends_with(key, ".json");
}

static int read_keys(struct restored *r, struct entry *to)
{
	for (size_t i = 0; i < r->names.count; i++) {
		DROP(buf) struct buf b = SECRET_BUF_INIT(BLOB_MAX);
		const char *key = r->names.entries[i].key;
		int e;

		if (!is_encryption_info(key) || to->has_key)
			continue;
		e = get_blob(r, key, &b);
		if (!e)
			e = rsv_encryption_info_parse(b.data, b.len,
						      &to->key_info);
		if (e == -EPROTO) {
			log_warn("%s: %s: its keys are not read", key,
				 err_text(e));
			continue;
		}
		if (e)
			return e;
		to->has_key = true;
	}
	return 0;
}

static int read_config(struct restored *r, const char *key, struct entry *to)
{
	DROP(buf) struct buf b = BUF_INIT(BLOB_MAX);
	const char *vm;
	int e = get_blob(r, key, &b);

	if (!e)
		e = rsv_config_parse(b.data, b.len, &to->config);
	if (e)
		return blame(e, "%s", key);
	vm = to->config.vm && !catalog_check_name("VM name", to->config.vm,
						  strlen(to->config.vm))
		     ? to->config.vm
		     : r->name;
	to->key = strdup(key);
	to->vm = strdup(vm);
	if (!to->key || !to->vm)
		return fail(-ENOMEM, "out of memory");
	to->row.time_ns = time_of(&to->config);
	to->row.ndisks = (uint16_t)to->config.ndisks;
	return 0;
}

static void id_of(const struct restored *r, const struct entry *e,
		  struct point_id *out)
{
	struct digest d;
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, r->store->url, strlen(r->store->url) + 1);
	sha256_add(&h, e->key, strlen(e->key));
	sha256_final(&h, &d);
	memcpy(&out->seq, d.b, 8);
	memcpy(&out->nonce, d.b + 8, 8);
	out->seq |= 1;
}

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = strcmp(x->vm, y->vm);

	if (c)
		return c;
	if (x->row.time_ns != y->row.time_ns)
		return x->row.time_ns < y->row.time_ns ? -1 : 1;
	return strcmp(x->key, y->key);
}

/* Times are unique in a VM. */
static void order(struct restored *r)
{
	qsort(r->entries, r->nentries, sizeof(*r->entries), entry_cmp);
	for (size_t i = 0; i < r->nentries; i++) {
		struct entry *e = &r->entries[i];

		id_of(r, e, &e->row.id);
		if (i && !strcmp(e[-1].vm, e->vm) &&
		    e->row.time_ns <= e[-1].row.time_ns)
			e->row.time_ns = e[-1].row.time_ns + 1;
	}
}

static int look(struct restored *r)
{
	size_t n = 0;
	int e = 0;

	for (size_t i = 0; i < r->names.count; i++)
		n += is_config(r->names.entries[i].key);
	if (n > CONFIGS_MAX)
		return fail(-EFBIG,
			    "it holds the disks of %zu restore jobs: "
			    "more than %d",
			    n, CONFIGS_MAX);
	r->entries = calloc(n, sizeof(*r->entries));
	if (!r->entries)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < r->names.count && !e; i++) {
		if (!is_config(r->names.entries[i].key))
			continue;
		e = read_config(r, r->names.entries[i].key,
				&r->entries[r->nentries++]);
	}
	/* Nothing says of which config the info is: of the only one. */
	if (!e && r->nentries == 1)
		e = read_keys(r, &r->entries[0]);
	if (!e)
		order(r);
	return e;
}

/* --- the catalog --- */

static int rc_vaults(struct catalog *c, const char *after, size_t max,
		     struct name_page *out)
{
	if (strcmp(self(c)->name, after) <= 0 || !max)
		return 0;
	out->names = calloc(1, sizeof(*out->names));
	if (out->names)
		out->names[0] = strdup(self(c)->name);
	if (!out->names || !out->names[0]) {
		name_page_release(out);
		return fail(-ENOMEM, "no memory for names");
	}
	out->count = 1;
	return 0;
}

static int check_vault(struct restored *r, const char *vault)
{
	return strcmp(r->name, vault) ? fail(-ENOENT, "no vault %s", vault) : 0;
}

static int rc_vms(struct catalog *c, const char *vault, const char *after,
		  size_t max, struct name_page *out)
{
	struct restored *r = self(c);
	int e = check_vault(r, vault);

	if (e)
		return e;
	out->names = calloc(min_u64(max, r->nentries) + 1, sizeof(*out->names));
	if (!out->names)
		return fail(-ENOMEM, "no memory for names");
	for (size_t i = 0; i < r->nentries; i++) {
		const char *vm = r->entries[i].vm;

		if (strcmp(vm, after) <= 0 ||
		    (i && !strcmp(r->entries[i - 1].vm, vm)))
			continue;
		if (out->count == max) {
			out->more = true;
			break;
		}
		out->names[out->count] = strdup(vm);
		if (!out->names[out->count]) {
			name_page_release(out);
			return fail(-ENOMEM, "no memory for names");
		}
		out->count++;
	}
	return 0;
}

/* The entries of a VM: [*first, *end). */
static int find_vm(struct restored *r, const char *vault, const char *vm,
		   size_t *first, size_t *end)
{
	int e = check_vault(r, vault);

	if (e)
		return e;
	*first = 0;
	while (*first < r->nentries && strcmp(r->entries[*first].vm, vm) != 0)
		(*first)++;
	*end = *first;
	while (*end < r->nentries && !strcmp(r->entries[*end].vm, vm))
		(*end)++;
	return *first == *end ? fail(-ENOENT, "no VM %s", vm) : 0;
}

static int rc_points(struct catalog *c, const char *vault, const char *vm,
		     int64_t from_ns, size_t max, struct point_page *out)
{
	struct restored *r = self(c);
	size_t i, end;
	int e = find_vm(r, vault, vm, &i, &end);

	if (e)
		return e;
	out->rows = calloc(min_u64(max, end - i) + 1, sizeof(*out->rows));
	if (!out->rows)
		return fail(-ENOMEM, "no memory for a list of points");
	for (; i < end; i++) {
		if (r->entries[i].row.time_ns < from_ns)
			continue;
		if (out->count == max) {
			out->more = true;
			out->next_ns = r->entries[i].row.time_ns;
			break;
		}
		out->rows[out->count++] = r->entries[i].row;
	}
	return 0;
}

static int rc_latest(struct catalog *c, const char *vault, const char *vm,
		     struct point_row *out)
{
	size_t first, end;
	int e = find_vm(self(c), vault, vm, &first, &end);

	if (!e)
		*out = self(c)->entries[end - 1].row;
	return e;
}

static int rc_count(struct catalog *c, const char *vault, const char *vm,
		    uint64_t *points, uint64_t *version)
{
	size_t first, end;
	int e = find_vm(self(c), vault, vm, &first, &end);

	if (e || !points)
		return e;
	*points = end - first;
	*version = 1;
	return 0;
}

/* --- a point --- */

static void point_free(struct point_info *info)
{
	struct restored_point *p =
		container_of(info, struct restored_point, info);

	for (size_t i = 0; p->keys && i < info->ndisks; i++)
		free(p->keys[i]);
	free(p->keys);
	free(info->disks);
	free(p->sentence);
	free(p);
}

bool point_restored_key(const struct point_info *info,
			const struct rsv_key **key, const char **os)
{
	const struct restored_point *p =
		container_of(info, struct restored_point, info);

	if (info->destroy != point_free || !p->entry->has_key)
		return false;
	*key = &p->entry->key_info;
	*os = p->entry->config.os;
	return true;
}

static void describe_point(const struct point_info *info, struct json *into)
{
	const struct restored_point *p =
		container_of(info, struct restored_point, info);
	struct json *a = json_object();

	json_set_str(into, "tier", "restored");
	json_set_str(a, "container", p->r->store->url);
	json_set_str(a, "config", p->entry->key);
	json_set(into, "azure", a);
}

static void disk_name(int lun, char out[static CATALOG_NAME_MAX + 1])
{
	if (lun < 0)
		snprintf(out, CATALOG_NAME_MAX + 1, "os");
	else
		snprintf(out, CATALOG_NAME_MAX + 1, "lun%d", lun);
}

static int add_disk(struct restored_point *p,
		    const struct rsv_config_disk *from)
{
	size_t i = p->info.ndisks++;
	struct disk_info *d = &p->info.disks[i];
	char name[STORE_KEY_MAX + 1];
	const struct store_entry *blob;

	vhd_name(from->uri, name);
	disk_name(from->lun, d->name);
	blob = find_blob(p->r, name);
	if (!blob || blob->size <= VHD_FOOTER_SIZE) {
		d->state = DISK_NEEDS_RESTORE;
		d->state_sentence = p->sentence;
		return 0;
	}
	/* A fixed VHD: the disk, then its footer. */
	d->has_size = true;
	d->size = d->data_bytes = blob->size - VHD_FOOTER_SIZE;
	d->was_vhd = true;
	p->keys[i] = strdup(blob->key);
	return p->keys[i] ? 0 : fail(-ENOMEM, "out of memory");
}

static int disk_order(const void *a, const void *b)
{
	const struct rsv_config_disk *const *x = a, *const *y = b;
	char m[CATALOG_NAME_MAX + 1], n[CATALOG_NAME_MAX + 1];

	disk_name((*x)->lun, m);
	disk_name((*y)->lun, n);
	return strcmp(m, n);
}

static int fill_point(struct restored_point *p)
{
	const struct rsv_config *c = &p->entry->config;
	const struct rsv_config_disk *by_name[CATALOG_DISKS_MAX];
	size_t n = c->ndisks;
	int r = 0;

	if (n > CATALOG_DISKS_MAX)
		return fail(-EPROTO, "%zu disks", n);
	p->info.disks = calloc(n + 1, sizeof(*p->info.disks));
	p->keys = calloc(n + 1, sizeof(*p->keys));
	if (!p->info.disks || !p->keys ||
	    asprintf(&p->sentence,
		     "its VHD is not in %s: the job made a managed disk of it, "
		     "or it was removed",
		     p->r->store->url) < 0)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		by_name[i] = &c->disks[i];
	qsort(by_name, n, sizeof(*by_name), disk_order);
	for (size_t i = 0; i < n && !r; i++) {
		if (i && by_name[i]->lun == by_name[i - 1]->lun)
			return fail(-EPROTO, "%s: two disks of one LUN",
				    p->entry->key);
		r = add_disk(p, by_name[i]);
	}
	return r;
}

static int point_of_entry(struct restored *r, const struct entry *from,
			  struct point_info **ret)
{
	struct restored_point *p = calloc(1, sizeof(*p));
	int e;

	if (!p)
		return fail(-ENOMEM, "out of memory");
	p->info.refs = 1;
	p->info.destroy = point_free;
	p->info.describe = describe_point;
	p->info.row = from->row;
	p->info.written_ns = from->row.time_ns;
	snprintf(p->info.vm, sizeof(p->info.vm), "%s", from->vm);
	p->r = r;
	p->entry = from;
	e = fill_point(p);
	if (e) {
		point_free(&p->info);
		return e;
	}
	*ret = &p->info;
	return 0;
}

static int rc_point(struct catalog *c, const char *vault, const char *vm,
		    const struct point_row *row, struct point_info **ret)
{
	struct restored *r = self(c);
	size_t i, end;
	int e = find_vm(r, vault, vm, &i, &end);

	if (e)
		return e;
	while (i < end && !point_id_equal(&r->entries[i].row.id, &row->id))
		i++;
	if (i == end)
		return fail(-ESTALE, "VM %s has no such point", vm);
	return point_of_entry(r, &r->entries[i], ret);
}

int restored_find(struct catalog *c, const char *config,
		  struct point_info **ret)
{
	struct restored *r = self(c);

	for (size_t i = 0; i < r->nentries; i++) {
		if (config ? !strcmp(base_of(r->entries[i].key), config)
			   : r->nentries == 1)
			return point_of_entry(r, &r->entries[i], ret);
	}
	return fail(-ENOENT, "%s has no %.200s (any more)", r->store->url,
		    config ? config : "config of its own");
}

const struct rsv_settings *
point_restored_settings(const struct point_info *info)
{
	return &container_of(info, struct restored_point, info)
			->entry->config.keys;
}

/* --- bytes --- */

struct blob_at {
	struct store *store;
	struct secret *url; /* with its NUL; it may have a SAS */
};

static int blob_url(void *ctx, unsigned refused, const char **url,
		    unsigned *number, void **held)
{
	*url = (const char *)secret_bytes(((struct blob_at *)ctx)->url);
	*number = 1;
	*held = NULL;
	return 0;
}

static int blob_prepare(void *ctx, struct http_wire *w)
{
	return store_azure_let_in(((struct blob_at *)ctx)->store, w);
}

static void blob_close(void *ctx)
{
	struct blob_at *b = ctx;

	secret_close(b->url);
	free(b);
}

static int blob_open(struct restored *r, const char *key,
		     struct pages_place *out)
{
	DROP(buf) struct buf url = SECRET_BUF_INIT(65536);
	struct blob_at *b = calloc(1, sizeof(*b));
	int e;

	if (!b)
		return fail(-ENOMEM, "out of memory");
	e = store_azure_url(r->store, key, &url);
	if (!e)
		e = secret_copy(buf_cstr(&url), url.len + 1, &b->url);
	if (e) {
		free(b);
		return e;
	}
	b->store = r->store;
	*out = (struct pages_place){
		.url = blob_url,
		.prepare = blob_prepare,
		.close = blob_close,
		.ctx = b,
	};
	return 0;
}

int restored_open_disk(const struct point_info *point, size_t disk,
		       int64_t not_after_s, struct source **ret)
{
	const struct restored_point *p =
		container_of(point, struct restored_point, info);
	struct restored *r = p->r;
	DROP(mem) char *identity = NULL;
	char what[600];
	struct pages_options o = {
		.http = store_azure_http(r->store),
		.cache = r->bytes,
		.pool = r->readers,
		.what = what,
		.not_after_s = not_after_s,
	};
	struct pages_place at;
	struct source *s;
	bool is_vhd;
	int e;

	snprintf(what, sizeof(what), "%s, disk %s", point->vm,
		 point->disks[disk].name);
	if (asprintf(&identity, "%s/%s", r->store->url, p->keys[disk]) < 0) {
		identity = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	o.identity = identity;
	e = blob_open(r, p->keys[disk], &at);
	if (!e)
		e = source_open_pages(&o, &at, &s);
	return e ? e : source_open_vhd(s, VHD_YES, ret, &is_vhd);
}

static int rc_open_disk(struct catalog *c, const char *vault, const char *vm,
			struct point_info *point, size_t disk,
			struct source **ret)
{
	return restored_open_disk(point, disk, 0, ret);
}

static int rc_escrow(struct catalog *c, const char *vault, const char *vm,
		     struct point_info *point, struct escrow_docs *out)
{
	const struct restored_point *p =
		container_of(point, struct restored_point, info);
	const struct rsv_config *f = &p->entry->config;
	const struct rsv_key *k = &p->entry->key_info;
	int r = 0;

	if (p->entry->has_key)
		r = azure_record_add(
			out, -1, f->os,
			&(struct azure_key_said){ k->secret_url, k->key_url,
						  k->secret_data });
	/* The info is of the disk with the system alone. */
	return r ? r
		 : azure_record_add_all(out, -1, f->os, &f->keys,
					k->secret_url);
}

static int rc_describe(struct catalog *c, const char *vault, struct json *into)
{
	struct restored *r = self(c);
	int e = check_vault(r, vault);

	if (e)
		return e;
	json_set_str(into, "name", r->name);
	json_set_str(into, "kind", "azure-restored-disks");
	json_set_str(into, "container", r->store->url);
	for (size_t i = 0; i < r->names.count; i++) {
		const char *key = r->names.entries[i].key;

		if (!strncasecmp(base_of(key), "azuredeploy", 11))
			json_set_str(into, "template", key);
	}
	return 0;
}

static void rc_close(struct catalog *c)
{
	restored_free(self(c));
}

static const struct catalog_ops restored_ops = {
	.name = "azure-restored",
	.vaults = rc_vaults,
	.vms = rc_vms,
	.points = rc_points,
	.latest = rc_latest,
	.count = rc_count,
	.point = rc_point,
	.open_disk = rc_open_disk,
	.escrow = rc_escrow,
	.describe = rc_describe,
	.close = rc_close,
};

static bool any_config(const struct store_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		if (is_config(l->entries[i].key))
			return true;
	}
	return false;
}

int catalog_open_restored(struct store **store, const struct catalog_options *o,
			  bool *is, struct catalog **ret)
{
	DROP(restored) struct restored *r = calloc(1, sizeof(*r));
	const char *name = base_of((*store)->url);
	int e;

	*is = false;
	if (!r)
		return fail(-ENOMEM, "out of memory");
	if (!store_azure_http(*store))
		return 0;
	e = list_all(*store, &r->names);
	if (e || !any_config(&r->names))
		return e;
	*is = true;
	e = catalog_check_name("name of the container", name, strlen(name));
	if (e)
		return e;
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->c.ops = &restored_ops;
	r->c.trust = SEAL_NONE;
	r->bytes = o->cache;
	r->store = take(*store);
	e = pool_new(READERS, &r->readers);
	if (!e)
		e = look(r);
	if (e)
		return blame(e, "%s", r->store->url);
	*ret = &take(r)->c;
	return 0;
}
