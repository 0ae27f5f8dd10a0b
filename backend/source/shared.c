// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/source/shared.h"

#include <errno.h>
#include <stdatomic.h>

#include "backend/base/err.h"

struct shared {
	atomic_uint refs;
	struct source *inner;
};

struct user {
	struct source base;
	struct shared *shared;
};

int shared_new(struct source *inner, struct shared **ret)
{
	struct shared *s = calloc(1, sizeof(*s));

	if (!s) {
		source_close(inner);
		return fail(-ENOMEM, "out of memory");
	}
	atomic_init(&s->refs, 1);
	s->inner = inner;
	*ret = s;
	return 0;
}

struct shared *shared_ref(struct shared *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void shared_unref(struct shared *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	source_close(s->inner);
	free(s);
}

struct source *shared_source(const struct shared *s)
{
	return s->inner;
}

static struct source *inner_of(struct source *s)
{
	return container_of(s, struct user, base)->shared->inner;
}

static int user_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	return source_read(inner_of(s), buf, len, off);
}

static int user_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	return source_extent(inner_of(s), off, max, out);
}

static void user_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	source_prefetch(inner_of(s), off, len);
}

static void user_close(struct source *s)
{
	struct user *u = container_of(s, struct user, base);

	shared_unref(u->shared);
	free(u);
}

static const struct source_ops user_ops = {
	.name = "shared",
	.read = user_read,
	.extent = user_extent,
	.prefetch = user_prefetch,
	.close = user_close,
};

int shared_open(struct shared *s, struct source **ret)
{
	struct user *u = calloc(1, sizeof(*u));

	if (!u)
		return fail(-ENOMEM, "out of memory");
	source_init(&u->base, &user_ops, source_size(s->inner));
	u->shared = shared_ref(s);
	*ret = &u->base;
	return 0;
}
