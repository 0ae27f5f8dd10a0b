// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/catalog_memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"

#define DISKS_MAX 8

struct vm {
	char *name;
	/* Ascending in time; none when made. */
	struct point_row *rows;
	size_t nrows, room;
	uint64_t version;
	/* Made when asked for: */
	uint64_t made;
	int64_t first_ns, step_ns;
};

struct memory {
	struct catalog base;
	char *vault, *id;
	struct catalog_memory_counts counts;

	pthread_mutex_t lock; /* protects the rest */
	struct vm *vms;	      /* ascending by name */
	size_t nvms, room;
	struct catalog_memory_disk disks[DISKS_MAX];
	size_t ndisks;
};

static struct memory *memory_of(struct catalog *c)
{
	return container_of(c, struct memory, base);
}

static int told_to_fail(struct memory *m)
{
	int r = atomic_load(&m->counts.fail);

	return r ? fail(r, "the fake was told to fail") : 0;
}

/* --- disks --- */

struct disk {
	struct source base;
	struct memory *m;
	struct source *pattern; /* or */
	const uint8_t *data;
};

static int disk_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct disk *d = container_of(s, struct disk, base);
	int r = told_to_fail(d->m);

	atomic_fetch_add(&d->m->counts.reads, 1);
	if (r)
		return r;
	if (d->pattern)
		return source_read(d->pattern, buf, len, off);
	memcpy(buf, d->data + off, len);
	return 0;
}

static int disk_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	struct disk *d = container_of(s, struct disk, base);

	if (d->pattern)
		return source_extent(d->pattern, off, max, out);
	*out = (struct extent){ .length = max, .hole = false };
	return 0;
}

static void disk_close(struct source *s)
{
	struct disk *d = container_of(s, struct disk, base);

	source_close(d->pattern);
	free(d);
}

static const struct source_ops disk_ops = {
	.name = "fake disk",
	.read = disk_read,
	.extent = disk_extent,
	.close = disk_close,
};

static struct pattern pattern_of(const struct catalog_memory_disk *spec,
				 const struct point_id *id)
{
	struct pattern p = spec->pattern;

	p.seed = p.seed * 31 + id->seq * 7919 + id->nonce;
	return p;
}

static uint64_t data_bytes(const struct catalog_memory_disk *spec,
			   const struct point_id *id)
{
	struct pattern p = pattern_of(spec, id);
	uint64_t sum = 0, n;

	if (spec->data || !p.run || !p.zero_of_256)
		return spec->size;
	for (uint64_t off = 0; off < spec->size; off += p.run) {
		n = min_u64(p.run, spec->size - off);
		sum += pattern_is_zero(&p, off) ? 0 : n;
	}
	return sum;
}

/* --- VMs --- */

/* Where it is or belongs; true if it is there. */
static bool find_vm(struct memory *m, const char *name, size_t *at)
{
	size_t lo = 0, hi = m->nvms;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int r = strcmp(m->vms[mid].name, name);

		if (r == 0) {
			*at = mid;
			return true;
		}
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	return false;
}

static int get_vm(struct memory *m, const char *name, struct vm **ret)
{
	size_t at;

	if (!find_vm(m, name, &at))
		return fail(-ENOENT, "no VM '%s'", name);
	*ret = &m->vms[at];
	return 0;
}

static int make_vm(struct memory *m, const char *name, struct vm **ret)
{
	size_t at;

	if (!find_vm(m, name, &at)) {
		if (m->nvms == m->room) {
			size_t room = 2 * m->room + 16;
			struct vm *vms = realloc(m->vms, room * sizeof(*vms));

			if (!vms)
				return fail(-ENOMEM, "out of memory");
			m->vms = vms;
			m->room = room;
		}
		memmove(m->vms + at + 1, m->vms + at,
			(m->nvms - at) * sizeof(*m->vms));
		m->vms[at] = (struct vm){ .name = strdup(name) };
		m->nvms++;
	}
	*ret = &m->vms[at];
	return 0;
}

static uint64_t point_count(const struct vm *vm)
{
	return vm->made ? vm->made : vm->nrows;
}

static struct point_row point_at(const struct vm *vm, uint64_t i)
{
	if (!vm->made)
		return vm->rows[i];
	return (struct point_row){
		.time_ns = vm->first_ns + (int64_t)i * vm->step_ns,
		.id = { .seq = i + 1, .nonce = (i + 1) * 0x9e3779b97f4a7c15u },
		.consistency = CONSISTENCY_APPLICATION,
		.ndisks = 2,
	};
}

/* The first at or after from_ns. */
static uint64_t lower_bound(const struct vm *vm, int64_t from_ns)
{
	uint64_t lo = 0, hi = point_count(vm);

	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;

		if (point_at(vm, mid).time_ns < from_ns)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* --- the catalog --- */

static int memory_vaults(struct catalog *c, const char *after, size_t max,
			 struct name_page *out)
{
	struct memory *m = memory_of(c);
	int r = told_to_fail(m);

	atomic_fetch_add(&m->counts.vaults, 1);
	*out = (struct name_page){ 0 };
	if (r || strcmp(after, m->vault) >= 0)
		return r;
	out->names = calloc(1, sizeof(char *));
	out->names[0] = strdup(m->vault);
	out->count = 1;
	return 0;
}

static int check_vault(struct memory *m, const char *vault)
{
	int r = told_to_fail(m);

	if (!r && strcmp(vault, m->vault) != 0)
		r = fail(-ENOENT, "no vault '%s'", vault);
	return r;
}

static int memory_vms(struct catalog *c, const char *vault, const char *after,
		      size_t max, struct name_page *out)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	size_t at;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.vms, 1);
	*out = (struct name_page){ 0 };
	if (r)
		return r;
	if (find_vm(m, after, &at))
		at++;
	out->names = calloc(max, sizeof(char *));
	while (at < m->nvms && out->count < max)
		out->names[out->count++] = strdup(m->vms[at++].name);
	out->more = at < m->nvms;
	return 0;
}

static int memory_points(struct catalog *c, const char *vault, const char *name,
			 int64_t from_ns, size_t max, struct point_page *out)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	uint64_t at;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.points, 1);
	*out = (struct point_page){ 0 };
	if (!r)
		r = get_vm(m, name, &vm);
	if (r)
		return r;
	at = lower_bound(vm, from_ns);
	out->rows = calloc(max, sizeof(*out->rows));
	while (at < point_count(vm) && out->count < max)
		out->rows[out->count++] = point_at(vm, at++);
	out->more = at < point_count(vm);
	atomic_fetch_add(&m->counts.rows, out->count);
	return 0;
}

static int memory_latest(struct catalog *c, const char *vault, const char *name,
			 struct point_row *out)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.latest, 1);
	if (!r)
		r = get_vm(m, name, &vm);
	if (r)
		return r;
	if (!point_count(vm))
		return fail(-ENOENT, "VM %s has no points", name);
	*out = point_at(vm, point_count(vm) - 1);
	atomic_fetch_add(&m->counts.rows, 1);
	return 0;
}

static int memory_count(struct catalog *c, const char *vault, const char *name,
			uint64_t *points, uint64_t *version)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.count, 1);
	if (!r)
		r = get_vm(m, name, &vm);
	if (r || !points)
		return r;
	*points = point_count(vm);
	*version = vm->version;
	return 0;
}

static void info_destroy(struct point_info *p)
{
	free(p->disks);
	free(p);
}

static void fill_disk(struct disk_info *d, const struct catalog_memory_disk *s,
		      const struct point_id *id)
{
	snprintf(d->name, sizeof(d->name), "%s", s->name);
	d->has_size = !s->no_size;
	d->size = s->size;
	d->state = s->state;
	d->state_sentence = s->sentence;
	d->has_root = s->state == DISK_READY;
	sha256(id, sizeof(*id), &d->root);
	d->root.b[0] ^= (uint8_t)s->size;
	d->chunk_size = 1 << 20;
	d->data_bytes = data_bytes(s, id);
}

static int memory_point(struct catalog *c, const char *vault, const char *name,
			const struct point_row *row, struct point_info **ret)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct point_info *info;
	struct vm *vm;
	uint64_t at;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.point, 1);
	if (!r)
		r = get_vm(m, name, &vm);
	if (r)
		return r;
	at = lower_bound(vm, row->time_ns);
	if (at == point_count(vm) || point_at(vm, at).time_ns != row->time_ns)
		return fail(-ESTALE, "it was dropped");
	info = calloc(1, sizeof(*info));
	info->row = *row;
	info->refs = 1;
	info->destroy = info_destroy;
	snprintf(info->vm, sizeof(info->vm), "%s", name);
	info->ndisks = m->ndisks;
	info->disks = calloc(m->ndisks + 1, sizeof(*info->disks));
	for (size_t i = 0; i < m->ndisks; i++)
		fill_disk(&info->disks[i], &m->disks[i], &row->id);
	*ret = info;
	return 0;
}

static int memory_open_disk(struct catalog *c, const char *vault,
			    const char *vm, struct point_info *point,
			    size_t disk, struct source **ret)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	const struct catalog_memory_disk *spec = &m->disks[disk];
	struct pattern p = pattern_of(spec, &point->row.id);
	struct disk *d;
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.open_disk, 1);
	if (r)
		return r;
	d = calloc(1, sizeof(*d));
	d->m = m;
	d->data = spec->data;
	if (!d->data) {
		r = source_open_pattern(&p, spec->size, &d->pattern);
		if (r) {
			free(d);
			return r;
		}
	}
	source_init(&d->base, &disk_ops, spec->size);
	if (spec->wrap)
		return spec->wrap(&d->base, ret);
	*ret = &d->base;
	return 0;
}

/* There is none. */
static int memory_escrow(struct catalog *c, const char *vault, const char *vm,
			 struct point_info *point, struct escrow_docs *out)
{
	struct memory *m = memory_of(c);

	atomic_fetch_add(&m->counts.escrow, 1);
	return told_to_fail(m);
}

static int memory_describe(struct catalog *c, const char *vault,
			   struct json *into)
{
	struct memory *m = memory_of(c);
	int r = check_vault(m, vault);

	atomic_fetch_add(&m->counts.describe, 1);
	if (r)
		return r;
	json_set_str(into, "name", m->vault);
	json_set_str(into, "id", m->id);
	return 0;
}

static void memory_close(struct catalog *c)
{
	struct memory *m = memory_of(c);

	for (size_t i = 0; i < m->nvms; i++) {
		free(m->vms[i].name);
		free(m->vms[i].rows);
	}
	free(m->vms);
	free(m->vault);
	free(m->id);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static const struct catalog_ops memory_ops = {
	.name = "memory",
	.vaults = memory_vaults,
	.vms = memory_vms,
	.points = memory_points,
	.latest = memory_latest,
	.count = memory_count,
	.point = memory_point,
	.open_disk = memory_open_disk,
	.escrow = memory_escrow,
	.describe = memory_describe,
	.close = memory_close,
};

int catalog_memory_new(const char *vault, const char *id, struct catalog **ret)
{
	static const struct catalog_memory_disk disks[] = {
		{ .name = "lun0", .size = 300 << 10, .pattern = { .seed = 2 } },
		{ .name = "os",
		  .size = 1 << 20,
		  .pattern = { 1, 64 << 10, 100, true } },
	};
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(-ENOMEM, "out of memory");
	m->base.ops = &memory_ops;
	m->base.trust = SEAL_PINNED;
	m->vault = strdup(vault);
	m->id = strdup(id);
	pthread_mutex_init(&m->lock, NULL);
	catalog_memory_set_disks(&m->base, disks, ARRAY_SIZE(disks));
	*ret = &m->base;
	return 0;
}

struct catalog_memory_counts *catalog_memory_counts(struct catalog *c)
{
	return &memory_of(c)->counts;
}

void catalog_memory_set_disks(struct catalog *c,
			      const struct catalog_memory_disk *disks, size_t n)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);

	m->ndisks = n < DISKS_MAX ? n : DISKS_MAX;
	memcpy(m->disks, disks, m->ndisks * sizeof(*disks));
}

int catalog_memory_add_vm(struct catalog *c, const char *name)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;

	return make_vm(m, name, &vm);
}

int catalog_memory_add_point(struct catalog *c, const char *name,
			     const struct point_row *row)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	uint64_t at;
	int r = make_vm(m, name, &vm);

	if (r)
		return r;
	if (vm->nrows == vm->room) {
		size_t room = 2 * vm->room + 16;
		struct point_row *rows =
			realloc(vm->rows, room * sizeof(*rows));

		if (!rows)
			return fail(-ENOMEM, "out of memory");
		vm->rows = rows;
		vm->room = room;
	}
	at = lower_bound(vm, row->time_ns);
	if (at < vm->nrows && vm->rows[at].time_ns == row->time_ns)
		return fail(-EEXIST, "there is a point of this time");
	memmove(vm->rows + at + 1, vm->rows + at,
		(vm->nrows - at) * sizeof(*vm->rows));
	vm->rows[at] = *row;
	vm->rows[at].ndisks = (uint16_t)m->ndisks;
	vm->nrows++;
	vm->version++;
	return 0;
}

int catalog_memory_add(struct catalog *c, const char *vm, int64_t time_ns,
		       uint64_t seq)
{
	struct point_row row = {
		.time_ns = time_ns,
		.id = { .seq = seq, .nonce = seq * 1000003 },
		.consistency = CONSISTENCY_CRASH,
	};

	return catalog_memory_add_point(c, vm, &row);
}

int catalog_memory_drop(struct catalog *c, const char *name, int64_t time_ns)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	uint64_t at;
	int r = get_vm(m, name, &vm);

	if (r)
		return r;
	at = lower_bound(vm, time_ns);
	if (at == vm->nrows || vm->rows[at].time_ns != time_ns)
		return fail(-ENOENT, "no such point");
	vm->nrows--;
	memmove(vm->rows + at, vm->rows + at + 1,
		(vm->nrows - at) * sizeof(*vm->rows));
	vm->version++;
	return 0;
}

int catalog_memory_add_made(struct catalog *c, const char *name, uint64_t n,
			    int64_t first_ns, int64_t step_ns)
{
	struct memory *m = memory_of(c);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct vm *vm;
	int r = make_vm(m, name, &vm);

	if (r)
		return r;
	vm->made = n;
	vm->first_ns = first_ns;
	vm->step_ns = step_ns;
	return 0;
}

void catalog_memory_bytes(struct catalog *c, const struct point_id *id,
			  size_t disk, void *buf, size_t len, uint64_t off)
{
	struct memory *m = memory_of(c);
	struct pattern p;

	{
		DROP(lock) pthread_mutex_t *held = lock(&m->lock);

		p = pattern_of(&m->disks[disk], id);
	}
	pattern_bytes(&p, buf, len, off);
}
