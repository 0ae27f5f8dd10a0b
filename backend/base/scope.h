// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Cleanup at the end of a scope, and ownership that can be seen.
 *
 *	DROP(fd) int fd = -1;			closed when it leaves the scope
 *	DROP(mem) uint8_t *p = NULL;		freed
 *	DROP(source) struct source *src = NULL;	source_close()d
 *	*ret = take(src);			moves out, leaves NULL
 *
 * Each module that has a closer declares it with DROP_DEFINE. A DROP variable
 * is initialised where it is declared, so that an early return is safe.
 */
#pragma once
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define DROP(name) __attribute__((cleanup(drop_##name)))

#define DROP_DEFINE(name, type, closer)                                        \
	static inline void drop_##name(type *p)                                \
	{                                                                      \
		closer(*p);                                                    \
	}

#define take(p)                                                                \
	({                                                                     \
		__typeof__(p) *taken_ = &(p);                                  \
		__typeof__(p) moved_ = *taken_;                                \
		*taken_ = NULL;                                                \
		moved_;                                                        \
	})

#define container_of(ptr, type, member)                                        \
	((type *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline void drop_mem(void *p)
{
	free(*(void **)p);
}

static inline void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* DROP(lock) pthread_mutex_t *held = lock(&x->lock); */
static inline pthread_mutex_t *lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

static inline void drop_lock(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

/* Moves an fd out, leaving -1. */
static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}
