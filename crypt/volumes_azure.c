// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * LUKS headers that lie apart from their data, as Azure Disk Encryption for Linux
 * leaves them (github.com/Azure/azure-linux-extensions, VMEncryption):
 *
 *   system's disk	luks/osluksheader on the boot partition, which is not
 *			encrypted; the root partition has no signature
 *   data disks, dual	var/lib/azure_disk_encryption_config/
 *   pass version	azureluksheader* on the system's root
 *
 * Nothing says for which device a header is, and it opens over any: only a known
 * file system, or member of LVM or of a RAID, in the clear bytes tells.
 *
 * Where a boot partition is no ext file system, or is damaged, it is searched for
 * the header, which begins a file and with it a block.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/guest/ext.h"
#include "crypt/volumes_impl.h"

#define HEADERS_MAX 32
/* Of a boot partition; and what is searched at once. */
#define SEARCH_MAX (UINT64_C(2) << 30)
#define STEP ((size_t)1 << 20)
#define BLOCK 1024
#define MAGIC "LUKS\xba\xbe"

/* A header that was found. */
struct header {
	struct shared *shared;
	char name[512];
	struct volume_info info;
};

struct headers {
	struct header h[HEADERS_MAX];
	size_t n;
};

static void drop_headers(struct headers *hs)
{
	while (hs->n)
		shared_unref(hs->h[--hs->n].shared);
}

/* Keeps the source if there is a LUKS header in it; takes it in any case. */
static int add_header(struct headers *hs, struct source *src, const char *where,
		      const char *path)
{
	DROP(source) struct source *s = src;
	struct header *h = &hs->h[hs->n];
	int r;

	if (hs->n == HEADERS_MAX)
		return 0;
	r = volume_probe(s, &h->info);
	if (r || (h->info.type != VOLUME_LUKS1 && h->info.type != VOLUME_LUKS2))
		return r;
	r = shared_new(take(s), &h->shared);
	if (r)
		return r;
	volumes_text(h->name, sizeof(h->name), "%s:%s", where, path);
	hs->n++;
	return 0;
}

/* --- finding them --- */

static bool has_ext(const struct vol *v)
{
	struct content c = { 0 };

	memcpy(c.type, v->row.type, sizeof(c.type));
	return v->clear && content_is_ext(&c);
}

/* Headers by these names; a file system that is damaged has none. */
static int headers_by_name(const struct vol *v, struct headers *hs)
{
	static const char *const paths[] = { "/luks/osluksheader",
					     "/boot/luks/osluksheader" };
	DROP(ext) struct ext *e = NULL;
	int r = ext_open(v->clear, &e);

	for (size_t i = 0; !r && i < ARRAY_SIZE(paths); i++) {
		struct source *s;

		r = ext_open_file(e, paths[i], &s);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (!r)
			r = add_header(hs, s, v->row.name, paths[i]);
	}
	return volumes_fatal(r) ? r : 0;
}

static int search_step(const struct vol *v, const uint8_t *p, size_t n,
		       uint64_t off, struct headers *hs)
{
	struct source *all = shared_source(v->clear);
	int r = 0;

	for (size_t i = 0; i + BLOCK <= n && !r; i += BLOCK) {
		struct source *s;
		char where[32];

		if (memcmp(p + i, MAGIC, 6) != 0)
			continue;
		r = shared_open(v->clear, &s);
		if (!r)
			r = source_open_slice(s, off + i,
					      source_size(all) - off - i, &s);
		volumes_text(where, sizeof(where), "%" PRIu64, off + i);
		if (!r)
			r = add_header(hs, s, v->row.name, where);
	}
	return r;
}

static int search(const struct vol *v, struct headers *hs)
{
	struct source *s = shared_source(v->clear);
	uint64_t size = source_size(s);
	DROP(mem) uint8_t *p = malloc(STEP);
	int r = 0;

	if (!p)
		return fail(-ENOMEM, "out of memory");
	for (uint64_t off = 0; off < size && !r;) {
		struct extent e;

		r = source_extent(s, off, STEP, &e);
		if (r)
			break;
		if (!e.hole) {
			r = source_read(s, p, e.length, off);
			if (!r)
				r = search_step(v, p, e.length, off, hs);
		}
		off += e.length;
	}
	return volumes_fatal(r) ? r : 0;
}

static bool may_be_boot(const struct vol *v)
{
	return v->clear && v->row.state == VOLUMES_CLEAR &&
	       v->row.size <= SEARCH_MAX &&
	       (has_ext(v) || strcmp(v->row.type, "xfs") == 0);
}

static bool has_keys(const struct volumes *vs)
{
	return vs->o->nrecords ||
	       (vs->o->keyring && keyring_plain_count(vs->o->keyring));
}

/* Those of one disk. */
static int find_os_headers(struct volumes *vs, size_t disk, bool candidates,
			   struct headers *hs)
{
	int r = 0;

	for (size_t i = 0; i < vs->n && !r; i++) {
		if (vs->v[i].row.disk == disk && has_ext(&vs->v[i]) &&
		    vs->v[i].row.state == VOLUMES_CLEAR)
			r = headers_by_name(&vs->v[i], hs);
	}
	/* Reading a boot partition as a whole is only for who needs it. */
	if (r || hs->n || !candidates || !has_keys(vs))
		return r;
	for (size_t i = 0; i < vs->n && !r; i++) {
		if (vs->v[i].row.disk == disk && may_be_boot(&vs->v[i]))
			r = search(&vs->v[i], hs);
	}
	return r;
}

/* --- trying them --- */

struct wanted {
	struct volumes *vs;
	size_t disk; /* SIZE_MAX: any */
};

static bool wants(const struct wanted *w, const struct vol *v)
{
	return (w->disk == SIZE_MAX ||
		(!v->row.logical && v->row.disk == w->disk)) &&
	       volumes_is_candidate(v);
}

static size_t count_wanted(const struct wanted *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->vs->n; i++)
		n += wants(w, &w->vs->v[i]);
	return n;
}

/* One header, whose key is known, on all that it may be for. */
static int try_key(const struct wanted *w, const struct header *h,
		   struct volume_key *key, const struct verdict *by, bool *any)
{
	for (size_t i = 0; i < w->vs->n; i++) {
		struct vol *v = &w->vs->v[i];
		bool opened;
		int r;

		if (!wants(w, v))
			continue;
		r = volumes_try(v, &h->info, h->shared, key, by, &opened);
		if (volumes_fatal(r))
			return r;
		if (r || !opened)
			continue;
		volumes_text(v->row.header_name, sizeof(v->row.header_name),
			     "%s", h->name);
		*any = true;
		return 0;
	}
	return 0;
}

/* What is left, and may belong to a header that did not open it. */
static void lock_rest(const struct wanted *w, const struct header *h,
		      enum volumes_state state, const char *reason)
{
	for (size_t i = 0; i < w->vs->n; i++) {
		struct vol *v = &w->vs->v[i];

		if (!wants(w, v))
			continue;
		v->row.info = h->info;
		v->row.detached = true;
		volumes_text(v->row.header_name, sizeof(v->row.header_name),
			     "%s", h->name);
		volumes_lock(v, state,
			     "nothing is known in it, and it may be encrypted "
			     "with the header %s: %s",
			     h->name, reason);
	}
}

/* The largest of the disk: what an encryption under way is likely of, where all
 * still look clear. */
static struct vol *largest(const struct wanted *w, const struct header *h)
{
	struct vol *found = NULL;

	for (size_t i = 0; i < w->vs->n; i++) {
		struct vol *v = &w->vs->v[i];
		size_t n = strlen(v->row.name);

		if (v->row.logical || v->row.disk != w->disk ||
		    v->row.state != VOLUMES_CLEAR)
			continue;
		/* The header's own place. */
		if (strncmp(h->name, v->row.name, n) == 0 && h->name[n] == ':')
			continue;
		if (!found || v->row.len > found->row.len)
			found = v;
	}
	return found;
}

/* A header that must not be used: its data are not what they seem to be. */
static void refuse_header(const struct wanted *w, const struct header *h)
{
	enum volumes_state state = h->info.state == VOLUME_REFUSED
					   ? VOLUMES_UNSUPPORTED
					   : VOLUMES_DAMAGED;
	struct vol *v;

	if (count_wanted(w)) {
		lock_rest(w, h, state, h->info.reason);
		return;
	}
	v = state == VOLUMES_UNSUPPORTED && w->disk != SIZE_MAX ? largest(w, h)
								: NULL;
	if (!v)
		return;
	v->row.info = h->info;
	v->row.detached = true;
	volumes_text(v->row.header_name, sizeof(v->row.header_name), "%s",
		     h->name);
	volumes_lock(v, state, "it looks clear, but there is the header %s: %s",
		     h->name, h->info.reason);
}

static int try_header(const struct wanted *w, const struct header *h, bool *any)
{
	DROP(volume_key) struct volume_key *key = NULL;
	const struct vol *first = NULL;
	struct verdict by;
	bool opened = false;
	int r;

	for (size_t i = 0; i < w->vs->n && !first; i++)
		first = wants(w, &w->vs->v[i]) ? &w->vs->v[i] : NULL;
	if (!first || h->info.state != VOLUME_READY)
		return 0;
	volumes_find_key(w->vs, first, &h->info, shared_source(h->shared), &key,
			 &by);
	if (!key)
		return 0;
	r = try_key(w, h, key, &by, &opened);
	*any |= opened;
	return r;
}

/* Why the header did not open what is left. */
static void explain(const struct wanted *w, const struct header *h)
{
	DROP(volume_key) struct volume_key *key = NULL;
	const struct vol *first = NULL;
	struct verdict by;

	for (size_t i = 0; i < w->vs->n && !first; i++)
		first = wants(w, &w->vs->v[i]) ? &w->vs->v[i] : NULL;
	if (!first)
		return;
	/* What was found out is in the cache. */
	volumes_find_key(w->vs, first, &h->info, shared_source(h->shared), &key,
			 &by);
	if (key)
		lock_rest(w, h, VOLUMES_DAMAGED,
			  "its key is right, but what it decrypts to is "
			  "nothing that is known");
	else
		lock_rest(w, h, by.state, by.reason);
}

/* All headers on all that they may be for. */
static int try_headers(const struct wanted *w, const struct headers *hs,
		       bool *any)
{
	int r = 0;

	for (size_t i = 0; i < hs->n && !r; i++)
		r = try_header(w, &hs->h[i], any);
	for (size_t i = 0; i < hs->n && !r; i++) {
		if (hs->h[i].info.state != VOLUME_READY)
			refuse_header(w, &hs->h[i]);
	}
	if (!r && hs->n && !*any)
		explain(w, &hs->h[0]);
	return r;
}

int volumes_azure_os(struct volumes *vs)
{
	int r = 0;

	for (size_t disk = 0; disk < vs->ndisks && !r; disk++) {
		DROP(headers) struct headers hs = { 0 };
		struct wanted w = { .vs = vs, .disk = disk };
		bool any = false;

		r = find_os_headers(vs, disk, count_wanted(&w), &hs);
		if (!r)
			r = try_headers(&w, &hs, &any);
	}
	return r;
}

/* --- data disks whose headers are on the system's root --- */

struct config {
	struct ext *ext;
	const char *dir;
	const char *where;
	struct headers *hs;
	int error;
};

static int config_file(void *ctx, const char *name)
{
	struct config *c = ctx;
	char path[400];
	struct source *s;
	int r;

	if (strncmp(name, "azureluksheader", 15) != 0)
		return 0;
	volumes_text(path, sizeof(path), "%s/%s", c->dir, name);
	r = ext_open_file(c->ext, path, &s);
	if (!r)
		r = add_header(c->hs, s, c->where, path);
	c->error = volumes_fatal(r) ? r : 0;
	return c->error;
}

/* /var may be a volume of its own. */
static int headers_of_root(const struct vol *v, struct headers *hs)
{
	static const char *const dirs[] = {
		"/var/lib/azure_disk_encryption_config",
		"/lib/azure_disk_encryption_config",
	};
	DROP(ext) struct ext *e = NULL;
	int r = ext_open(v->clear, &e);

	for (size_t i = 0; !r && i < ARRAY_SIZE(dirs); i++) {
		struct config c = { .ext = e,
				    .dir = dirs[i],
				    .where = v->row.name,
				    .hs = hs };

		r = ext_list(e, dirs[i], config_file, &c);
		if (c.error)
			return c.error;
		if (r == -ENOENT || r == -ENOTDIR)
			r = 0;
	}
	return volumes_fatal(r) ? r : 0;
}

int volumes_azure_data(struct volumes *vs, bool *any)
{
	struct wanted w = { .vs = vs, .disk = SIZE_MAX };
	DROP(headers) struct headers hs = { 0 };
	int r = 0;

	if (!count_wanted(&w))
		return 0;
	for (size_t i = 0; i < vs->n && !r; i++) {
		if (has_ext(&vs->v[i]))
			r = headers_of_root(&vs->v[i], &hs);
	}
	return r ? r : try_headers(&w, &hs, any);
}

/* --- headers that the user gave --- */

int volumes_header_parse(const char *text, char **vm, char **volume,
			 const char **path)
{
	const char *file = strchr(text, '='), *slash, *name = text;
	DROP(mem) char *of_vm = NULL;
	DROP(mem) char *of_volume = NULL;
	size_t n = file ? (size_t)(file - text) : 0;

	slash = memchr(text, '/', n);
	if (!n || !file[1] || slash == text || (slash && slash + 1 == file))
		return fail(-EINVAL,
			    "--header: '%s' is not [VM/]VOLUME=FILE, for "
			    "instance web-01/os-p2=header.img",
			    text);
	if (slash) {
		of_vm = strndup(text, (size_t)(slash - text));
		name = slash + 1;
	}
	of_volume = strndup(name, (size_t)(file - name));
	if (!of_volume || (slash && !of_vm))
		return fail(-ENOMEM, "out of memory");
	*vm = take(of_vm);
	*volume = take(of_volume);
	*path = file + 1;
	return 0;
}

static void use_given(struct volumes *vs, struct vol *v, const char *path,
		      const struct header *h, int *error)
{
	DROP(volume_key) struct volume_key *key = NULL;
	struct verdict by;
	bool opened = false;
	int r;

	v->row.info = h->info;
	v->row.detached = true;
	volumes_text(v->row.header_name, sizeof(v->row.header_name), "%s",
		     path);
	if (h->info.state != VOLUME_READY) {
		volumes_lock(v,
			     h->info.state == VOLUME_REFUSED
				     ? VOLUMES_UNSUPPORTED
				     : VOLUMES_DAMAGED,
			     "header %s: %s", path, h->info.reason);
		return;
	}
	volumes_find_key(vs, v, &h->info, shared_source(h->shared), &key, &by);
	if (!key) {
		volumes_lock(v, by.state, "%s", by.reason);
		return;
	}
	r = volumes_try(v, &h->info, h->shared, key, &by, &opened);
	if (volumes_fatal(r))
		*error = r;
	else if (r)
		volumes_lock(v, VOLUMES_UNKNOWN, "header %s: %s", path,
			     err_text(r));
	else if (!opened)
		volumes_lock(v, VOLUMES_WRONG_KEY,
			     "header %s opens, but with it %s decrypts to "
			     "nothing that is known: it is not its header",
			     path, v->row.name);
}

static int given_header(struct volumes *vs, const struct volumes_header_file *f)
{
	DROP(headers) struct headers hs = { 0 };
	struct source *s;
	struct vol *v = NULL;
	int r;

	for (size_t i = 0; i < vs->n; i++) {
		if (strcmp(vs->v[i].row.name, f->volume) == 0)
			v = &vs->v[i];
	}
	/* A point of another time may have other disks. */
	if (!v || !v->raw)
		return 0;
	r = source_open_file(f->path, &s);
	if (!r)
		r = add_header(&hs, s, "", f->path);
	if (volumes_fatal(r))
		return r;
	if (r) {
		volumes_lock(v, VOLUMES_UNKNOWN, "header %s: %s", f->path,
			     err_text(r));
		return 0;
	}
	if (!hs.n) {
		volumes_lock(v, VOLUMES_DAMAGED,
			     "header %s: there is no LUKS header in it",
			     f->path);
		return 0;
	}
	r = 0;
	use_given(vs, v, f->path, &hs.h[0], &r);
	return r;
}

int volumes_given_headers(struct volumes *vs)
{
	int r = 0;

	for (size_t i = 0; i < vs->o->nheaders && !r; i++)
		r = given_header(vs, &vs->o->headers[i]);
	return r;
}
