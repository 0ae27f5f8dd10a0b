// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/store_memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/base/err.h"

/* Copies of a store have them in common. */
struct bytes {
	atomic_uint refs;
	size_t len;
	uint8_t data[];
};

struct object {
	char *key;
	struct bytes *b;
};

struct memory {
	struct store base;
	pthread_mutex_t lock;
	struct object *objects; /* lock; sorted by key */
	size_t count;		/* lock */
	size_t room;		/* lock */
};

static const struct store_ops memory_ops;

static struct bytes *bytes_new(size_t len)
{
	struct bytes *b = malloc(sizeof(*b) + len);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->len = len;
	return b;
}

static void bytes_unref(struct bytes *b)
{
	if (b && atomic_fetch_sub(&b->refs, 1) == 1)
		free(b);
}

static void drop_bytes(struct bytes **b)
{
	bytes_unref(*b);
}

static struct memory *memory_of(struct store *s)
{
	return container_of(s, struct memory, base);
}

/* Where the first key that is not less is, or would be. */
static size_t place(const struct memory *m, const char *key)
{
	size_t lo = 0, hi = m->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(m->objects[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct object *find(const struct memory *m, const char *key)
{
	size_t i = place(m, key);

	return i < m->count && !strcmp(m->objects[i].key, key) ? &m->objects[i]
							       : NULL;
}

static int missing(const char *key)
{
	return fail(-ENOENT, "no object %s in memory", key);
}

static int memory_stat(struct store *s, const char *key, uint64_t *size)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct object *o = find(m, key);

	(void)held;
	if (!o)
		return missing(key);
	*size = o->b->len;
	return 0;
}

static int memory_read(struct store *s, const char *key, void *buf, size_t len,
		       uint64_t off)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct object *o = find(m, key);

	(void)held;
	if (!o)
		return missing(key);
	if (off > o->b->len || len > o->b->len - off)
		return fail(-EIO,
			    "object %s is shorter than its index says: %zu "
			    "bytes",
			    key, o->b->len);
	memcpy(buf, o->b->data + off, len);
	return 0;
}

static int memory_get(struct store *s, const char *key, size_t max,
		      struct buf *out)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct object *o = find(m, key);
	uint8_t *room;

	(void)held;
	if (!o)
		return missing(key);
	if (o->b->len > max || o->b->len > out->max - out->len)
		return fail(-EFBIG,
			    "object %s is of %zu bytes, more than it may be",
			    key, o->b->len);
	if (!o->b->len)
		return 0;
	room = buf_reserve(out, o->b->len);
	if (!room)
		return fail(-ENOMEM, "out of memory");
	memcpy(room, o->b->data, o->b->len);
	out->len += o->b->len;
	return 0;
}

/* Takes b. With the lock held. */
static int insert(struct memory *m, const char *key, struct bytes *b)
{
	DROP(bytes) struct bytes *owned = b;
	size_t i = place(m, key);
	char *copy;

	if (m->count == m->room) {
		size_t room = m->room ? 2 * m->room : 16;
		struct object *o = realloc(m->objects, room * sizeof(*o));

		if (!o)
			return fail(-ENOMEM, "out of memory");
		m->objects = o;
		m->room = room;
	}
	copy = strdup(key);
	if (!copy)
		return fail(-ENOMEM, "out of memory");
	memmove(&m->objects[i + 1], &m->objects[i],
		(m->count - i) * sizeof(*m->objects));
	m->objects[i] = (struct object){ copy, take(owned) };
	m->count++;
	return 0;
}

static int memory_put(struct store *s, const char *key,
		      const struct store_piece *pieces, size_t npieces)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = NULL;
	DROP(bytes) struct bytes *b = NULL;
	size_t len = 0;
	struct object *o;

	for (size_t i = 0; i < npieces; i++)
		len += pieces[i].len;
	b = bytes_new(len);
	if (!b)
		return fail(-ENOMEM, "out of memory");
	len = 0;
	for (size_t i = 0; i < npieces; i++) {
		if (pieces[i].len)
			memcpy(b->data + len, pieces[i].data, pieces[i].len);
		len += pieces[i].len;
	}
	held = lock(&m->lock);
	o = find(m, key);
	if (!o)
		return insert(m, key, take(b));
	if (o->b->len == len && !memcmp(o->b->data, b->data, len))
		return 0;
	return fail(-EEXIST, "object %s is in memory already, with other bytes",
		    key);
}

static int memory_barrier(struct store *s)
{
	(void)s;
	return 0;
}

static int memory_list(struct store *s, const char *prefix, const char *after,
		       size_t max, bool fold, struct store_list *out)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	size_t plen = strlen(prefix);

	(void)held;
	for (size_t i = place(m, prefix); i < m->count; i++) {
		const struct object *o = &m->objects[i];
		const char *slash = NULL;
		size_t len = strlen(o->key);
		const struct store_entry *last =
			out->count ? &out->entries[out->count - 1] : NULL;
		char entry[STORE_KEY_MAX + 1];

		if (strncmp(o->key, prefix, plen) != 0)
			break;
		if (fold)
			slash = strchr(o->key + plen, '/');
		if (slash)
			len = (size_t)(slash - o->key) + 1;
		memcpy(entry, o->key, len);
		entry[len] = '\0';
		if (strcmp(entry, after) <= 0 ||
		    (last && !strcmp(last->key, entry)))
			continue;
		if (out->count == max) {
			out->more = true;
			break;
		}
		if (store_list_add(out, entry, len, slash ? 0 : o->b->len) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int memory_remove(struct store *s, const char *key)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct object *o = find(m, key);

	(void)held;
	if (!o)
		return missing(key);
	free(o->key);
	bytes_unref(o->b);
	m->count--;
	memmove(o, o + 1,
		(size_t)(m->objects + m->count - o) * sizeof(*m->objects));
	return 0;
}

static void memory_close(struct store *s)
{
	struct memory *m = memory_of(s);

	for (size_t i = 0; i < m->count; i++) {
		free(m->objects[i].key);
		bytes_unref(m->objects[i].b);
	}
	free(m->objects);
	pthread_mutex_destroy(&m->lock);
	store_release(s);
	free(m);
}

static const struct store_ops memory_ops = {
	.name = "memory",
	.stat = memory_stat,
	.read = memory_read,
	.get = memory_get,
	.put = memory_put,
	.barrier = memory_barrier,
	.list = memory_list,
	.remove = memory_remove,
	.close = memory_close,
};

int store_open_memory(struct store **ret)
{
	struct memory *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return fail(-ENOMEM, "out of memory");
	r = store_init(&m->base, &memory_ops, "memory", true);
	if (r < 0) {
		free(m);
		return r;
	}
	pthread_mutex_init(&m->lock, NULL);
	*ret = &m->base;
	return 0;
}

/* Takes b. With the lock held. */
static int set(struct memory *m, const char *key, struct bytes *b)
{
	struct object *o = find(m, key);

	if (!o)
		return insert(m, key, b);
	bytes_unref(o->b);
	o->b = b;
	return 0;
}

int store_memory_set(struct store *s, const char *key, const void *data,
		     size_t len)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct bytes *b = bytes_new(len);

	(void)held;
	if (!b)
		return fail(-ENOMEM, "out of memory");
	if (len)
		memcpy(b->data, data, len);
	return set(m, key, b);
}

int store_memory_copy(struct store *s, struct store **ret)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	DROP(store) struct store *copy = NULL;
	int r = store_open_memory(&copy);

	(void)held;
	for (size_t i = 0; r == 0 && i < m->count; i++) {
		atomic_fetch_add(&m->objects[i].b->refs, 1);
		r = set(memory_of(copy), m->objects[i].key, m->objects[i].b);
	}
	if (r < 0)
		return r;
	*ret = take(copy);
	return 0;
}

size_t store_memory_count(struct store *s)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);

	(void)held;
	return m->count;
}

uint64_t store_memory_bytes(struct store *s)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	uint64_t sum = 0;

	(void)held;
	for (size_t i = 0; i < m->count; i++)
		sum += m->objects[i].b->len;
	return sum;
}
