// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/store_memory.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

struct object {
	char *key;
	uint8_t *data;
	size_t len;
};

struct memory {
	struct store base;
	pthread_mutex_t lock;
	struct object *objects; /* lock; sorted by key */
	size_t count;		/* lock */
	size_t room;		/* lock */
};

static const struct store_ops memory_ops;

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
	*size = o->len;
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
	if (off > o->len || len > o->len - off)
		return fail(-EIO,
			    "object %s is shorter than its index says: %zu "
			    "bytes",
			    key, o->len);
	memcpy(buf, o->data + off, len);
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
	if (o->len > max || o->len > out->max - out->len)
		return fail(-EFBIG,
			    "object %s is of %zu bytes, more than it may be",
			    key, o->len);
	if (!o->len)
		return 0;
	room = buf_reserve(out, o->len);
	if (!room)
		return fail(-ENOMEM, "out of memory");
	memcpy(room, o->data, o->len);
	out->len += o->len;
	return 0;
}

/* Takes data. With the lock held. */
static int insert(struct memory *m, const char *key, uint8_t *data, size_t len)
{
	DROP(mem) uint8_t *owned = data;
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
	m->objects[i] = (struct object){ copy, take(owned), len };
	m->count++;
	return 0;
}

static int memory_put(struct store *s, const char *key,
		      const struct store_piece *pieces, size_t npieces)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = NULL;
	DROP(mem) uint8_t *data = NULL;
	size_t len = 0;
	struct object *o;

	for (size_t i = 0; i < npieces; i++)
		len += pieces[i].len;
	data = malloc(len + 1);
	if (!data)
		return fail(-ENOMEM, "out of memory");
	len = 0;
	for (size_t i = 0; i < npieces; i++) {
		if (pieces[i].len)
			memcpy(data + len, pieces[i].data, pieces[i].len);
		len += pieces[i].len;
	}
	held = lock(&m->lock);
	o = find(m, key);
	if (!o)
		return insert(m, key, take(data), len);
	if (o->len == len && !memcmp(o->data, data, len))
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
		if (store_list_add(out, entry, len, slash ? 0 : o->len) < 0)
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
	free(o->data);
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
		free(m->objects[i].data);
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

int store_memory_set(struct store *s, const char *key, const void *data,
		     size_t len)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	struct object *o = find(m, key);
	uint8_t *copy = malloc(len + 1);

	(void)held;
	if (!copy)
		return fail(-ENOMEM, "out of memory");
	if (len)
		memcpy(copy, data, len);
	if (!o)
		return insert(m, key, copy, len);
	free(o->data);
	o->data = copy;
	o->len = len;
	return 0;
}

int store_memory_copy(struct store *s, struct store **ret)
{
	struct memory *m = memory_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&m->lock);
	DROP(store) struct store *copy = NULL;
	int r = store_open_memory(&copy);

	(void)held;
	for (size_t i = 0; r == 0 && i < m->count; i++)
		r = store_memory_set(copy, m->objects[i].key,
				     m->objects[i].data, m->objects[i].len);
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
		sum += m->objects[i].len;
	return sum;
}
