// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/store_volatile.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"
#include "tests/fakes/store_memory.h"

#define CHOICES_MAX 4096

/* The newest thing that happened to a key since the barrier. */
struct pending {
	char *key;
	bool durable;	   /* it was there, whole, at the barrier */
	struct buf before; /* ... with these bytes */
	struct buf after;  /* what was put, unless it is removed again */
	bool there;	   /* now */
	bool whole;	   /* it is not torn: what is lost of it is all of it */
};

struct cached {
	struct store base;
	struct store *memory; /* as a reader sees it now */
	pthread_mutex_t lock;
	struct pending *pending; /* lock; in the order of time */
	size_t count;		 /* lock */
};

enum fate { KEPT, MISSING, EMPTY, TORN, FATES };

static const struct store_ops volatile_ops;

static struct cached *cached_of(struct store *s)
{
	return container_of(s, struct cached, base);
}

static int volatile_stat(struct store *s, const char *key, uint64_t *size)
{
	return store_stat(cached_of(s)->memory, key, size);
}

static int volatile_read(struct store *s, const char *key, void *buf,
			 size_t len, uint64_t off)
{
	return store_read(cached_of(s)->memory, key, buf, len, off);
}

static int volatile_get(struct store *s, const char *key, size_t max,
			struct buf *out)
{
	return store_get(cached_of(s)->memory, key, max, out);
}

static int volatile_list(struct store *s, const char *prefix, const char *after,
			 size_t max, bool fold, struct store_list *out)
{
	return store_list(cached_of(s)->memory, prefix, after, max, fold, out);
}

/* With the lock held, before the change is made. */
static int pending_of(struct cached *c, const char *key, struct pending **ret)
{
	struct pending *p;
	int r;

	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->pending[i].key, key) != 0)
			continue;
		*ret = &c->pending[i];
		return 0;
	}
	p = realloc(c->pending, (c->count + 1) * sizeof(*p));
	if (!p)
		return fail(-ENOMEM, "out of memory");
	c->pending = p;
	p += c->count;
	*p = (struct pending){
		.key = strdup(key),
		.before = BUF_INIT(STORE_OBJECT_MAX),
		.after = BUF_INIT(STORE_OBJECT_MAX),
	};
	if (!p->key)
		return fail(-ENOMEM, "out of memory");
	c->count++;
	r = store_get(c->memory, key, STORE_OBJECT_MAX, &p->before);
	if (r < 0 && r != -ENOENT)
		return r;
	p->durable = p->there = r == 0;
	*ret = p;
	return 0;
}

static void forget_last_if_unused(struct cached *c)
{
	struct pending *p = &c->pending[c->count - 1];

	if (p->there != p->durable || p->after.len)
		return;
	free(p->key);
	buf_release(&p->before);
	buf_release(&p->after);
	c->count--;
}

static int put_any(struct store *s, const char *key,
		   const struct store_piece *pieces, size_t npieces, bool whole)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	struct pending *p;
	uint64_t size;
	int r;

	(void)held;
	/* Nothing new, or refused. */
	if (store_stat(c->memory, key, &size) == 0) {
		r = store_putv(c->memory, key, pieces, npieces);
		for (size_t i = 0; r == 0 && whole && i < c->count; i++)
			if (!strcmp(c->pending[i].key, key))
				c->pending[i].whole = true;
		return r;
	}
	r = pending_of(c, key, &p);
	if (r < 0)
		return r;
	r = store_putv(c->memory, key, pieces, npieces);
	if (r < 0) {
		forget_last_if_unused(c);
		return r;
	}
	p->there = true;
	p->whole = whole;
	buf_reset(&p->after);
	for (size_t i = 0; i < npieces; i++)
		if (pieces[i].len)
			buf_add(&p->after, pieces[i].data, pieces[i].len);
	return buf_check(&p->after, key);
}

static int volatile_put(struct store *s, const char *key,
			const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, false);
}

static int volatile_put_whole(struct store *s, const char *key,
			      const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, true);
}

static int volatile_remove(struct store *s, const char *key)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	struct pending *p;
	uint64_t size;
	int r = store_stat(c->memory, key, &size);

	(void)held;
	if (r == 0)
		r = pending_of(c, key, &p);
	if (r == 0)
		r = store_remove(c->memory, key);
	if (r == 0)
		p->there = false;
	return r;
}

static void forget(struct cached *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->pending[i].key);
		buf_release(&c->pending[i].before);
		buf_release(&c->pending[i].after);
	}
	c->count = 0;
}

static int volatile_barrier(struct store *s)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);

	(void)held;
	forget(c);
	return 0;
}

static void volatile_close(struct store *s)
{
	struct cached *c = cached_of(s);

	forget(c);
	free(c->pending);
	store_close(c->memory);
	pthread_mutex_destroy(&c->lock);
	store_release(s);
	free(c);
}

static const struct store_ops volatile_ops = {
	.name = "volatile",
	.stat = volatile_stat,
	.read = volatile_read,
	.get = volatile_get,
	.put = volatile_put,
	.put_whole = volatile_put_whole,
	.barrier = volatile_barrier,
	.list = volatile_list,
	.remove = volatile_remove,
	.close = volatile_close,
};

/* Owns memory from here on. */
static int open_on(struct store *memory, struct store **ret)
{
	DROP(store) struct store *owned = memory;
	struct cached *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(-ENOMEM, "out of memory");
	r = store_init(&c->base, &volatile_ops, "volatile", false);
	if (r < 0) {
		free(c);
		return r;
	}
	c->memory = take(owned);
	pthread_mutex_init(&c->lock, NULL);
	*ret = &c->base;
	return 0;
}

int store_open_volatile(struct store **ret)
{
	struct store *memory;
	int r = store_open_memory(&memory);

	return r < 0 ? r : open_on(memory, ret);
}

static int copy_pending(const struct pending *from, struct pending *to)
{
	*to = *from;
	to->key = strdup(from->key);
	buf_init(&to->before, STORE_OBJECT_MAX);
	buf_init(&to->after, STORE_OBJECT_MAX);
	buf_add(&to->before, from->before.data, from->before.len);
	buf_add(&to->after, from->after.data, from->after.len);
	if (!to->key || to->before.failed || to->after.failed)
		return fail(-ENOMEM, "out of memory");
	return 0;
}

int store_volatile_copy(struct store *s, struct store **ret)
{
	struct cached *c = cached_of(s), *to;
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	DROP(store) struct store *copy = NULL;
	struct store *memory;
	int r = store_memory_copy(c->memory, &memory);

	(void)held;
	if (r == 0)
		r = open_on(memory, &copy);
	if (r < 0)
		return r;
	to = cached_of(copy);
	to->pending = calloc(c->count + 1, sizeof(*to->pending));
	if (!to->pending)
		return fail(-ENOMEM, "out of memory");
	while (r == 0 && to->count < c->count) {
		r = copy_pending(&c->pending[to->count],
				 &to->pending[to->count]);
		to->count++;
	}
	if (r < 0)
		return r;
	*ret = take(copy);
	return 0;
}

size_t store_volatile_pending(struct store *s)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);

	(void)held;
	return c->count;
}

uint64_t store_volatile_choices(struct store *s)
{
	size_t n = store_volatile_pending(s);

	if (n <= 6)
		return 1ull << 2 * n;
	if (n <= 12)
		return 1ull << n;
	return CHOICES_MAX;
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static enum fate fate_of(uint64_t choice, size_t i, size_t n)
{
	uint64_t drawn = mix(choice * 65537 + i);
	enum fate lost = MISSING + drawn % (FATES - 1);

	if (n <= 6)
		return choice >> 2 * i & 3;
	if (n <= 12)
		return choice >> i & 1 ? lost : KEPT;
	if (choice == 0)
		return KEPT;
	if (choice == 1)
		return lost;
	choice -= 2;
	if (choice < 4 * n) {
		size_t at = choice / 4;

		switch (choice % 4) {
		case 0:
			return i < at ? KEPT : lost;
		case 1:
			return i < at ? lost : KEPT;
		case 2:
			return i == at ? lost : KEPT;
		default:
			return i == at ? KEPT : lost;
		}
	}
	return drawn >> 8 & 1 ? lost : KEPT;
}

/* What is left of one object; *len bytes at *data, or nothing. */
static bool left_of(const struct pending *p, enum fate fate,
		    const uint8_t **data, size_t *len, const char **word)
{
	const struct buf *b = p->there || !p->durable ? &p->after : &p->before;

	if (p->whole && fate != KEPT)
		fate = MISSING;
	*word = NULL;
	*data = b->data;
	*len = b->len;
	if (!p->there) {
		/* A removal that was lost, of something durable or not. */
		if (fate == KEPT || (!p->durable && fate == MISSING))
			return false;
		*word = "back again";
		return true;
	}
	switch (fate) {
	case KEPT:
		return true;
	case MISSING:
		*word = "missing";
		if (!p->durable)
			return false;
		/* Removed and put again, and both were lost. */
		*word = "the old one";
		*data = p->before.data;
		*len = p->before.len;
		return true;
	case EMPTY:
		*word = "empty";
		*len = 0;
		return true;
	default:
		*word = "torn";
		*len /= 2;
		return true;
	}
}

int store_volatile_crash(struct store *s, uint64_t choice, struct store **ret)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	DROP(store) struct store *copy = NULL;
	int r = store_memory_copy(c->memory, &copy);

	(void)held;
	for (size_t i = 0; r == 0 && i < c->count; i++) {
		const struct pending *p = &c->pending[i];
		const uint8_t *data;
		const char *word;
		size_t len;

		if (left_of(p, fate_of(choice, i, c->count), &data, &len,
			    &word))
			r = store_memory_set(copy, p->key, data, len);
		else if (p->there)
			r = store_remove(copy, p->key);
	}
	if (r < 0)
		return r;
	*ret = take(copy);
	return 0;
}

char *store_volatile_describe(struct store *s, uint64_t choice)
{
	struct cached *c = cached_of(s);
	DROP(lock) pthread_mutex_t *held = lock(&c->lock);
	struct buf b = BUF_INIT(1u << 20);
	char *text;

	(void)held;
	for (size_t i = 0; i < c->count; i++) {
		const uint8_t *data;
		const char *word;
		size_t len;

		(void)left_of(&c->pending[i], fate_of(choice, i, c->count),
			      &data, &len, &word);
		if (word)
			buf_printf(&b, "%s%s %s", b.len ? ", " : "",
				   c->pending[i].key, word);
	}
	text = strdup(b.len ? buf_cstr(&b) : "nothing lost");
	buf_release(&b);
	return text;
}
