// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 600
/*
 * A small vault of every kind of commit, damaged in every way, and read whole each time:
 * what comes out is right, or it is an error; never other bytes. The reader has seen the
 * vault before, with its owner key pinned.
 *
 * A byte that a whole reading asks the store for must be missed when it is wrong. One that
 * is not asked for cannot matter; those are, in this vault:
 *	- commits before the head that are no relocate commits, and configs before the newest
 *	- lists of claims, sessions, escrow addenda: not needed to read a disk
 *	- trailers of segments, dead pages, what only dropped points needed
 *	- what a relocate commit left behind
 * A zstd frame has bits of no meaning; what is unpacked is compared with its digest.
 *
 * By default a sample, for its time; CHECK_FULL=1 in the environment: each byte.
 */
#include <errno.h>

#include "backend/vault/keys.h"
#include "tests/fakes/golden.h"
#include "tests/fakes/store_fault.h"
#include "tests/unit/check.h"

#define VAULT_NAME "golden"

/* --- what a clean reading gave --- */

struct piece {
	uint64_t off;
	size_t len;
	uint8_t *bytes;
};
struct disk {
	struct disk_info info;
	struct piece *pieces;
	size_t npieces;
};
struct point {
	char vm[CATALOG_NAME_MAX + 1];
	struct point_row row;
	struct label labels[4];
	size_t nlabels;
	struct disk disks[4];
	size_t ndisks;
	bool met; /* in the reading at hand */
};
static struct point points[8];
static size_t npoints;

struct object {
	char *key;
	uint8_t *data;
	size_t len;
	uint8_t *asked; /* for each byte: a clean reading asked for it */
};
static struct object objects[128];
static size_t nobjects;

static const char *trying; /* for messages */
static size_t trying_at;

static _Noreturn void wrong(const char *what)
{
	fprintf(stderr, "%s, %zu: %s\n", trying, trying_at, what);
	exit(1);
}

/* --- one whole reading --- */

struct reading {
	bool first;   /* the clean one: remembers what it sees */
	bool forgets; /* the reader has no memory: an older state may pass */
	unsigned errors;
	unsigned disks;
};

static bool failed(struct reading *g, int r)
{
	if (r >= 0)
		return false;
	/* An edge prints this: there must be a sentence. */
	if (!*err_text(r) || strcmp(err_text(r), strerror(-r)) == 0)
		wrong("an error without a sentence");
	if (r == -ENOMEM || r == -EINVAL || r == -EFAULT)
		wrong(err_text(r));
	if (g->first)
		wrong(err_text(r));
	if (getenv("CORRUPT_SAY"))
		fprintf(stderr, "%s, %zu: %s\n", trying, trying_at,
			err_text(r));
	g->errors++;
	return true;
}

static void see_piece(struct reading *g, struct disk *d, size_t k,
		      const struct piece *p)
{
	if (g->first) {
		d->pieces = realloc(d->pieces, (k + 1) * sizeof(*d->pieces));
		CHECK(d->pieces);
		d->pieces[k] = *p;
		d->pieces[k].bytes = malloc(p->len);
		CHECK(d->pieces[k].bytes);
		memcpy(d->pieces[k].bytes, p->bytes, p->len);
		d->npieces = k + 1;
		return;
	}
	if (k >= d->npieces || d->pieces[k].off != p->off ||
	    d->pieces[k].len != p->len)
		wrong("other extents");
	if (memcmp(d->pieces[k].bytes, p->bytes, p->len) != 0)
		wrong("WRONG BYTES");
}

/* All data; and of the holes, which are compared by where they are, a bit. */
static void read_disk(struct reading *g, struct catalog *c,
		      struct point_info *info, size_t i, struct disk *d)
{
	static uint8_t bytes[1u << 20];
	DROP(source) struct source *s = NULL;
	const struct disk_info *x = &info->disks[i];
	size_t k = 0;

	if (g->first)
		d->info = *x;
	if (strcmp(d->info.name, x->name) != 0 || d->info.size != x->size ||
	    !digest_equal(&d->info.root, &x->root) ||
	    d->info.data_bytes != x->data_bytes)
		wrong("another disk");
	if (failed(g, catalog_open_disk(c, VAULT_NAME, info->vm, info, i, &s)))
		return;
	if (source_size(s) != x->size)
		wrong("a disk of another size");
	for (uint64_t off = 0; off < x->size;) {
		struct extent e;

		if (failed(g, source_extent(s, off, x->size - off, &e)))
			return;
		if (!e.hole)
			e.length = min_u64(e.length, sizeof(bytes));
		else if (failed(g, source_read(s, bytes, 1, off)))
			return;
		else if (bytes[0])
			wrong("a hole with a byte in it");
		if (!e.hole) {
			struct piece p = { off, e.length, bytes };

			if (failed(g, source_read(s, bytes, e.length, off)))
				return;
			see_piece(g, d, k++, &p);
		}
		off += e.length;
	}
	if (k != d->npieces)
		wrong("data where a hole was");
	g->disks++;
}

static void read_point(struct reading *g, struct catalog *c, const char *vm,
		       const struct point_row *row)
{
	DROP(point_info) struct point_info *info = NULL;
	struct point *p = NULL;

	if (g->first) {
		p = &points[npoints++];
		CHECK(npoints <= ARRAY_SIZE(points));
		memcpy(p->vm, vm, strlen(vm) + 1);
		p->row = *row;
	}
	for (size_t i = 0; i < npoints && !p; i++)
		if (strcmp(points[i].vm, vm) == 0 &&
		    point_id_equal(&points[i].row.id, &row->id))
			p = &points[i];
	if (!p && g->forgets) /* one that was dropped since */
		return;
	if (!p || (p->met && !g->first))
		wrong("a point that is not there");
	p->met = true;
	/* An older state of the same point may have other flags. */
	if (!g->forgets && memcmp(&p->row, row, sizeof(*row)) != 0)
		wrong("another row of a point");
	if (failed(g, catalog_point(c, VAULT_NAME, vm, row, &info)))
		return;
	if (g->first) {
		p->ndisks = info->ndisks;
		p->nlabels = info->nlabels;
		CHECK(p->ndisks <= ARRAY_SIZE(p->disks) &&
		      p->nlabels <= ARRAY_SIZE(p->labels));
		for (size_t i = 0; i < p->nlabels; i++) {
			p->labels[i].key = strdup(info->labels[i].key);
			p->labels[i].value = strdup(info->labels[i].value);
		}
	}
	if (info->ndisks != p->ndisks || info->nlabels != p->nlabels)
		wrong("another record of a point");
	for (size_t i = 0; i < p->nlabels; i++)
		if (strcmp(p->labels[i].key, info->labels[i].key) != 0 ||
		    strcmp(p->labels[i].value, info->labels[i].value) != 0)
			wrong("other labels");
	for (size_t i = 0; i < p->ndisks; i++)
		read_disk(g, c, info, i, &p->disks[i]);
}

static void read_vm(struct reading *g, struct catalog *c, const char *vm)
{
	int64_t from = INT64_MIN;
	uint64_t count, version;
	bool more = true;

	if (failed(g, catalog_count(c, VAULT_NAME, vm, &count, &version)))
		return;
	while (more) {
		DROP(point_page) struct point_page page = { 0 };

		if (failed(g,
			   catalog_points(c, VAULT_NAME, vm, from, 100, &page)))
			return;
		for (size_t i = 0; i < page.count; i++)
			read_point(g, c, vm, &page.rows[i]);
		more = page.more && page.count;
		if (more)
			from = page.rows[page.count - 1].time_ns + 1;
	}
}

/* Takes s. */
static void read_all(struct reading *g, struct store *s)
{
	struct cache *cache = NULL;
	struct catalog_options o = { .refresh_ms = 1000000 };
	DROP(name_page) struct name_page vms = { 0 };
	struct catalog *c = NULL;

	for (size_t i = 0; i < npoints; i++)
		points[i].met = false;
	CHECK_OK(cache_new(1u << 20, &cache));
	o.cache = cache;
	if (!failed(g, catalog_open_vault(s, &o, &c))) {
		if (!failed(g, catalog_vms(c, VAULT_NAME, "", 10, &vms)))
			for (size_t i = 0; i < vms.count; i++)
				read_vm(g, c, vms.names[i]);
		/* What is not listed may not be missed in silence. */
		for (size_t i = 0; i < npoints && !g->errors; i++) {
			uint64_t n, version;

			if (points[i].met || g->forgets)
				continue;
			if (!failed(g,
				    catalog_count(c, VAULT_NAME, points[i].vm,
						  &n, &version)))
				wrong("a point is missing in silence");
		}
		catalog_close(c);
	}
	cache_free(cache);
}

/* --- a store that notes which bytes are asked for --- */

struct noting {
	struct store base;
	struct store *inner;
};

static struct store *inner_of(struct store *s)
{
	return container_of(s, struct noting, base)->inner;
}

static struct object *object_of(const char *key)
{
	for (size_t i = 0; i < nobjects; i++)
		if (strcmp(objects[i].key, key) == 0)
			return &objects[i];
	return NULL;
}

static int noting_stat(struct store *s, const char *key, uint64_t *size)
{
	return store_stat(inner_of(s), key, size);
}

static int noting_read(struct store *s, const char *key, void *buf, size_t len,
		       uint64_t off)
{
	struct object *o = object_of(key);

	if (o && off + len <= o->len)
		memset(o->asked + off, 1, len);
	return store_read(inner_of(s), key, buf, len, off);
}

static int noting_get(struct store *s, const char *key, size_t max,
		      struct buf *out)
{
	struct object *o = object_of(key);

	if (o)
		memset(o->asked, 1, o->len);
	return store_get(inner_of(s), key, max, out);
}

static int noting_list(struct store *s, const char *prefix, const char *after,
		       size_t max, bool fold, struct store_list *out)
{
	return store_list(inner_of(s), prefix, after, max, fold, out);
}

static void noting_close(struct store *s)
{
	store_release(s);
	free(container_of(s, struct noting, base));
}

static const struct store_ops noting_ops = {
	.name = "noting",
	.stat = noting_stat,
	.read = noting_read,
	.get = noting_get,
	.list = noting_list,
	.close = noting_close,
};

static struct store *open_noting(struct store *inner)
{
	struct noting *n = calloc(1, sizeof(*n));

	CHECK(n);
	CHECK_OK(store_init(&n->base, &noting_ops, "noting", true));
	n->inner = inner;
	return &n->base;
}

static void list_objects(struct store *s)
{
	DROP(store_list) struct store_list l = { 0 };

	CHECK_OK(store_list(s, "", "", STORE_LIST_MAX, false, &l));
	CHECK(!l.more && l.count <= ARRAY_SIZE(objects));
	for (size_t i = 0; i < l.count; i++) {
		struct object *o = &objects[nobjects++];
		DROP(buf) struct buf b = BUF_INIT(STORE_OBJECT_MAX);

		CHECK_OK(store_get(s, l.entries[i].key, STORE_OBJECT_MAX, &b));
		o->key = strdup(l.entries[i].key);
		o->len = b.len;
		o->data = take(b.data);
		b.len = b.cap = 0;
		o->asked = calloc(1, o->len + 1);
		CHECK(o->key && o->asked);
	}
}

/* --- the ways to damage it --- */

static bool full;

static bool is_segment(const char *key)
{
	return strstr(key, "/s/") != NULL;
}

static struct store *bent(struct store *s, struct store_fault *f,
			  const char *key, enum store_bend bend, uint64_t at)
{
	struct store *out;

	*f = (struct store_fault){ .bend = bend,
				   .bend_key = key,
				   .bend_at = at };
	CHECK_OK(store_open_fault(s, f, &out));
	return out;
}

/* Each byte in turn, another bit of it each time. */
static void flip(struct store *s)
{
	size_t tried = 0, noticed = 0, not_asked = 0, same = 0;
	struct store_fault f;

	for (size_t i = 0; i < nobjects; i++) {
		const struct object *o = &objects[i];
		size_t some = check_all() ? 16 : 8, missed = 0;
		size_t step = full ? 1 : o->len / some + 1;

		trying = o->key;
		for (size_t at = full ? 0 : i % step; at < o->len; at += step) {
			struct reading g = { 0 };

			trying_at = at;
			read_all(&g, bent(s, &f, o->key, STORE_FLIP,
					  8 * at + at % 8));
			tried++;
			noticed += g.errors != 0;
			if (!g.errors && o->asked[at] && is_segment(o->key))
				same++;
			else if (!!g.errors != o->asked[at])
				wrong(g.errors ? "missed, but not needed"
					       : "needed, but not missed");
			else
				missed += !g.errors;
		}
		not_asked += missed;
		if (full && missed)
			printf("%s: %zu of %zu bytes are not needed\n", o->key,
			       missed, o->len);
	}
	printf("%zu bits flipped: %zu noticed, %zu in bytes that are not needed, %zu without a meaning in zstd\n",
	       tried, noticed, not_asked, same);
	CHECK(noticed > tried / 4);
}

static void truncate_each(struct store *s)
{
	size_t tried = 0, noticed = 0;
	struct store_fault f;

	for (size_t i = 0; i < nobjects; i++) {
		const struct object *o = &objects[i];
		const size_t lengths[] = { 0, 1, o->len / 2, o->len - 1 };

		trying = o->key;
		for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
			struct reading g = { 0 };
			bool needed = false;

			trying_at = lengths[k];
			for (size_t at = lengths[k]; at < o->len; at++)
				needed |= o->asked[at];
			read_all(&g, bent(s, &f, o->key, STORE_TRUNCATE,
					  lengths[k]));
			tried++;
			noticed += g.errors != 0;
			if (!!g.errors != needed)
				wrong(g.errors ? "missed, but not needed"
					       : "needed, but not missed");
		}
	}
	printf("%zu times cut off: %zu noticed\n", tried, noticed);
}

static bool is_needed(const struct object *o)
{
	return memchr(o->asked, 1, o->len) != NULL;
}

static void remove_each(struct store *s, bool forgets)
{
	size_t noticed = 0;

	for (size_t i = 0; i < nobjects; i++) {
		DROP(store) struct store *copy = NULL;
		struct reading g = { .forgets = forgets };
		struct store_fault f;

		if (forgets)
			golden_fresh_user();
		trying = objects[i].key;
		trying_at = forgets;
		CHECK_OK(store_memory_copy(s, &copy));
		CHECK_OK(store_remove(copy, objects[i].key));
		read_all(&g, bent(copy, &f, NULL, STORE_STRAIGHT, 0));
		noticed += g.errors != 0;
		if (!forgets && !!g.errors != is_needed(&objects[i]))
			wrong(g.errors ? "missed, but not needed"
				       : "needed, but not missed");
	}
	printf("%zu objects removed%s: %zu noticed\n", nobjects,
	       forgets ? ", the reader new to the vault" : "", noticed);
}

/* c, p, m, ...: the folder that an object is in. */
static const char *kind_of(const char *key, size_t *len)
{
	const char *end = strrchr(key, '/'), *p = end;

	if (!end) {
		*len = 0;
		return key;
	}
	while (p > key && p[-1] != '/')
		p--;
	*len = (size_t)(end - p);
	return p;
}

static bool same_kind(const char *a, const char *b)
{
	size_t na, nb;
	const char *ka = kind_of(a, &na), *kb = kind_of(b, &nb);

	return na == nb && memcmp(ka, kb, na) == 0;
}

/* A relocate copies, so there are some. */
static bool same_bytes(const struct object *a, const struct object *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static void swap_each(struct store *s, bool forgets)
{
	size_t tried = 0, noticed = 0;

	for (size_t i = 0; i < nobjects; i++) {
		for (size_t k = i + 1; k < nobjects; k++) {
			const struct object *a = &objects[i], *b = &objects[k];
			DROP(store) struct store *copy = NULL;
			struct reading g = { .forgets = forgets };
			struct store_fault f;

			if (!same_kind(a->key, b->key) || same_bytes(a, b) ||
			    (forgets && !full && (i + k) % 8))
				continue;
			if (forgets)
				golden_fresh_user();
			trying = a->key;
			trying_at = k;
			CHECK_OK(store_memory_copy(s, &copy));
			CHECK_OK(store_memory_set(copy, a->key, b->data,
						  b->len));
			CHECK_OK(store_memory_set(copy, b->key, a->data,
						  a->len));
			read_all(&g, bent(copy, &f, NULL, STORE_STRAIGHT, 0));
			tried++;
			noticed += g.errors != 0;
			if (!forgets && !g.errors &&
			    (is_needed(a) || is_needed(b)))
				wrong("needed, but not missed");
		}
	}
	printf("%zu pairs swapped%s: %zu noticed\n", tried,
	       forgets ? ", the reader new to the vault" : "", noticed);
}

int main(void)
{
	DROP(store) struct store *s = golden_load("small-1");
	DROP(secret) struct secret *owner = golden_seed("owner");
	struct reading g = { .first = true };
	struct vault_id id;
	struct sign_public key;

	full = check_full();
	golden_fresh_user();
	for (size_t i = 0; i < sizeof(id.b); i++)
		id.b[i] = (uint8_t)(0xa0 + i);
	CHECK_OK(sign_public_of(owner, &key));
	CHECK_OK(keys_pin(&id, &key));
	list_objects(s);
	trying = "nothing";
	read_all(&g, open_noting(s));
	CHECK_U64(npoints, 4);
	CHECK_U64(g.disks, 7);

	flip(s);
	truncate_each(s);
	remove_each(s, false);
	swap_each(s, false);
	remove_each(s, true);
	swap_each(s, true);
	return 0;
}
