// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/arena.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/base/err.h"

/* gcc says by a macro that a sanitizer is in, clang by a feature. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define ASAN 1
#else
#define ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define TSAN 1
#else
#define TSAN 0
#endif

#if ASAN
#include <sanitizer/lsan_interface.h>
#endif

/*
 * A range of addresses is reserved once, and locked from its start as far as it was
 * needed: whether a pointer is ours is two comparisons. It is handed out in units;
 * the table of runs lies outside, since a child of fork() sees zeros inside.
 */
#define UNIT 64u
#define RESERVED (64u << 20)
#define UNITS (RESERVED / UNIT)
#define STEP (128u << 10)

/*
 * Work areas beyond this (scrypt's, 16 MiB and more) get a mapping of their own,
 * which is left out of dumps and wiped, but locked only where that is possible:
 * they hold no key.
 */
#define LARGE (1u << 20)
#define LARGE_MAX 8

#if ASAN || TSAN
#define STACK (4u << 20)
#else
#define STACK (512u << 10)
#endif

static struct {
	pthread_mutex_t lock;
	uint8_t *base;
	/* under lock: */
	size_t units;	     /* locked */
	size_t next;	     /* where to look first */
	uint32_t run[UNITS]; /* units of what begins here; 0: free, or inside */
	struct large {
		uint8_t *p;
		size_t size;
	} large[LARGE_MAX];
} arena = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local unsigned depth;
static bool ready;

bool arena_enter(void)
{
	depth++;
	return true;
}

void arena_leave(void)
{
	depth--;
}

bool arena_has(const void *p)
{
	uintptr_t at = (uintptr_t)p, base = (uintptr_t)arena.base;

	return base && at >= base && at - base < RESERVED;
}

bool arena_ready(void)
{
	return ready;
}

/* --- under lock --- */

static bool hide(uint8_t *p, size_t size)
{
	if (madvise(p, size, MADV_DONTDUMP) < 0)
		return false;
#ifdef MADV_WIPEONFORK
	/* Not in kernels before 4.14, and only a second line. */
	(void)madvise(p, size, MADV_WIPEONFORK);
#endif
	return true;
}

/* n units more. */
static bool grow(size_t n)
{
	size_t bytes = ((size_t)n * UNIT + STEP - 1) / STEP * STEP;
	uint8_t *p = arena.base + arena.units * UNIT;

	if (bytes > RESERVED - arena.units * UNIT ||
	    mprotect(p, bytes, PROT_READ | PROT_WRITE) < 0)
		return false;
	if (mlock(p, bytes) < 0 || !hide(p, bytes)) {
		(void)mprotect(p, bytes, PROT_NONE);
		return false;
	}
	arena.units += bytes / UNIT;
	return true;
}

/* The first of n free units in [from, to), or to. */
static size_t find(size_t n, size_t from, size_t to)
{
	size_t start = from;

	for (size_t i = from; i < to;) {
		if (arena.run[i]) {
			i += arena.run[i];
			start = i;
		} else if (++i - start == n) {
			return start;
		}
	}
	return to;
}

static void *small(size_t size)
{
	size_t n = (size + UNIT - 1) / UNIT;
	size_t at = find(n, arena.next, arena.units);

	if (at == arena.units) {
		at = find(n, 0, arena.units);
		if (at == arena.units) {
			/* What is free at the end may be too short for it. */
			if (!grow(n))
				return NULL;
			at = find(n, 0, arena.units);
		}
	}
	arena.run[at] = (uint32_t)n;
	arena.next = at + n;
	return arena.base + at * UNIT;
}

static void *large(size_t size)
{
	for (size_t i = 0; i < LARGE_MAX; i++) {
		struct large *l = &arena.large[i];

		if (l->p)
			continue;
		l->p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (l->p == MAP_FAILED || !hide(l->p, size)) {
			if (l->p != MAP_FAILED)
				munmap(l->p, size);
			l->p = NULL;
			return NULL;
		}
		(void)mlock(l->p, size);
		l->size = size;
		return l->p;
	}
	return NULL;
}

static struct large *find_large(const void *p)
{
	for (size_t i = 0; i < LARGE_MAX; i++)
		if (arena.large[i].p == p)
			return &arena.large[i];
	return NULL;
}

/* How many of them there are, so that free() need not lock for them. */
static int nlarge;

/* --- as OpenSSL calls them --- */

static void *arena_malloc(size_t size)
{
	DROP(lock) pthread_mutex_t *held = lock(&arena.lock);
	void *p;

	if (size > PTRDIFF_MAX)
		return NULL;
	if (size <= LARGE)
		return small(size);
	p = large(size);
	if (p)
		__atomic_add_fetch(&nlarge, 1, __ATOMIC_SEQ_CST);
	return p;
}

/* False when p is not of the arena. */
static bool arena_free(void *p)
{
	bool inside = arena_has(p);

	if (!inside && !__atomic_load_n(&nlarge, __ATOMIC_SEQ_CST))
		return false;

	DROP(lock) pthread_mutex_t *held = lock(&arena.lock);

	if (inside) {
		size_t at = (size_t)((uint8_t *)p - arena.base) / UNIT;

		explicit_bzero(p, arena.run[at] * (size_t)UNIT);
		arena.run[at] = 0;
	} else {
		struct large *l = find_large(p);

		if (!l)
			return false;
		explicit_bzero(l->p, l->size);
		munmap(l->p, l->size);
		l->p = NULL;
		__atomic_sub_fetch(&nlarge, 1, __ATOMIC_SEQ_CST);
	}
	return true;
}

/* What was asked for it, or a little more; 0 when it is not of the arena. */
static size_t arena_size(void *p)
{
	DROP(lock) pthread_mutex_t *held = lock(&arena.lock);
	struct large *l;

	if (arena_has(p))
		return arena.run[(size_t)((uint8_t *)p - arena.base) / UNIT] *
		       (size_t)UNIT;
	l = find_large(p);
	return l ? l->size : 0;
}

static void *hook_malloc(size_t size, const char *file, int line)
{
	if (!size)
		return NULL;
	return depth ? arena_malloc(size) : malloc(size);
}

static void hook_free(void *p, const char *file, int line)
{
	if (p && !arena_free(p))
		free(p);
}

/* What is in the arena stays there; in the arena, what is not moves in. */
static void *hook_realloc(void *p, size_t size, const char *file, int line)
{
	size_t old;
	void *to;

	if (!p)
		return hook_malloc(size, file, line);
	if (!size) {
		hook_free(p, file, line);
		return NULL;
	}
	old = arena_size(p);
	if (!old && !depth)
		return realloc(p, size);
	to = arena_malloc(size);
	if (!to)
		return NULL;
	if (old) {
		memcpy(to, p, old < size ? old : size);
		(void)arena_free(p);
	} else {
		old = malloc_usable_size(p);
		memcpy(to, p, old < size ? old : size);
		explicit_bzero(p, old);
		free(p);
	}
	return to;
}

/* Before main(): OpenSSL takes no other allocator once it has allocated. */
__attribute__((constructor)) static void set_hooks(void)
{
	void *p = mmap(NULL, RESERVED, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return;
	arena.base = p;
#if ASAN
	/* What only the arena points to is not lost. */
	__lsan_register_root_region(p, RESERVED);
#endif
	ready = CRYPTO_set_mem_functions(hook_malloc, hook_realloc,
					 hook_free) == 1;
}

/* --- a stack of its own --- */

struct call {
	int (*fn)(void *ctx);
	void *ctx;
	int r;
	struct err_saved err;
};

static void *on_stack(void *arg)
{
	struct call *c = arg;

	arena_enter();
	c->r = c->fn(c->ctx);
	if (c->r < 0)
		err_save(c->r, &c->err);
	arena_leave();
	return NULL;
}

static int run_on(uint8_t *stack, struct call *c)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int e = pthread_attr_init(&attr);

	if (e)
		return fail_errno(e, "a thread");
	e = pthread_attr_setstack(&attr, stack, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (!e)
		e = pthread_create(&thread, &attr, on_stack, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (e)
		return fail_errno(e, "a thread");
	pthread_join(thread, NULL);
	return c->r < 0 ? err_load(&c->err) : c->r;
}

int arena_run(int (*fn)(void *ctx), void *ctx)
{
	struct call c = { .fn = fn, .ctx = ctx };
	uint8_t *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int r;

	if (stack == MAP_FAILED)
		return fail_errno(errno, "memory for a key");
	if (mlock(stack, STACK) < 0)
		r = fail(-ENOMEM,
			 "cannot lock %u KiB of memory for keys: raise the "
			 "limit with \"ulimit -l\", or LimitMEMLOCK= in the "
			 "systemd unit",
			 STACK >> 10);
	else if (!hide(stack, STACK))
		r = fail_errno(errno, "keeping a key out of core dumps");
	else
		r = run_on(stack, &c);
	explicit_bzero(stack, STACK);
	munmap(stack, STACK);
	return r;
}
