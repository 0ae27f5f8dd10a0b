// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"

/*
 *	| guard page |   ... zeros, then size bytes | guard page |
 *
 * The bytes end at the guard, but for the alignment of their start, so that
 * a read or write beyond them stops the program. Pages are not shared between
 * secrets: munlock() of one would unlock its neighbour.
 */
struct secret {
	uint8_t *bytes;
	size_t size;
	uint8_t *map; /* the whole of it, with guards */
	size_t map_size;
};

#define SECRET_ALIGN 16

/* OpenSSL's own copies of private keys go to its secure heap, and fail when it
 * is full; a pair of random generators a thread lives there too. */
#define HEAP_MAX (1u << 20)
#define HEAP_MIN (1u << 15)
/* The least that must remain for our own. */
#define OWN_MIN (1u << 14)

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int lock_failed(int e, size_t size)
{
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	/* EAGAIN is a lack of memory too; elsewhere it means spent retries. */
	return fail(e == EPERM ? -EPERM : -ENOMEM,
		    "cannot lock %zu KiB of memory for keys (%s; the limit is "
		    "%llu KiB): raise it with \"ulimit -l\", or LimitMEMLOCK= "
		    "in the systemd unit",
		    (size + 1023) / 1024, strerrordesc_np(e),
		    (unsigned long long)limit.rlim_cur / 1024);
}

/* As secret_new(), of any size. */
static int new_secret(size_t size, struct secret **ret)
{
	DROP(secret) struct secret *s = NULL;
	size_t page = page_size();
	size_t room = (size + SECRET_ALIGN - 1) / SECRET_ALIGN * SECRET_ALIGN;
	size_t inner = (room + page - 1) / page * page;

	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	s->map_size = inner + 2 * page;
	s->map = mmap(NULL, s->map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return fail_errno(errno, "memory for a key");
	}
	if (mprotect(s->map + page, inner, PROT_READ | PROT_WRITE) < 0)
		return fail_errno(errno, "memory for a key");
	if (mlock(s->map + page, inner) < 0)
		return lock_failed(errno, inner);
	if (madvise(s->map + page, inner, MADV_DONTDUMP) < 0)
		return fail_errno(errno, "keeping a key out of core dumps");
#ifdef MADV_WIPEONFORK
	/* Not in kernels before 4.14, and only a second line. */
	(void)madvise(s->map + page, inner, MADV_WIPEONFORK);
#endif
	s->bytes = s->map + page + inner - room;
	s->size = size;
	*ret = take(s);
	return 0;
}

/*
 * The largest secure heap for OpenSSL that can be locked and leaves room for
 * our own secrets. It cannot be resized later.
 */
static int setup_heap(void)
{
	int r = 0;

	if (CRYPTO_secure_malloc_initialized())
		return 0;
	for (size_t size = HEAP_MAX; size >= HEAP_MIN; size /= 2) {
		DROP(secret) struct secret *own = NULL;
		int got = CRYPTO_secure_malloc_init(size, 32);

		if (got == 1) {
			r = new_secret(OWN_MIN, &own);
			if (r == 0)
				return 0;
		} else {
			/* 2: there, but not locked. */
			r = lock_failed(ENOMEM, size);
		}
		if (got != 0)
			CRYPTO_secure_malloc_done();
	}
	return r;
}

int secret_setup(void)
{
	static const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return fail_errno(errno, "turning core dumps off");
	if (!arena_ready())
		return fail(-ENOMEM, "OpenSSL does not take its memory for "
				     "keys from us");
	return setup_heap();
}

int secret_new(size_t size, struct secret **ret)
{
	if (size == 0 || size > SECRET_MAX)
		return fail(-EINVAL, "a secret has 1 to %d bytes, not %zu",
			    SECRET_MAX, size);
	return new_secret(size, ret);
}

int secret_copy(const void *p, size_t size, struct secret **ret)
{
	int r = secret_new(size, ret);

	if (r == 0)
		memcpy((*ret)->bytes, p, size);
	return r;
}

uint8_t *secret_bytes(struct secret *s)
{
	return s->bytes;
}

size_t secret_size(const struct secret *s)
{
	return s->size;
}

void secret_close(struct secret *s)
{
	if (!s)
		return;
	if (s->bytes)
		explicit_bzero(s->bytes, s->size);
	if (s->map)
		munmap(s->map, s->map_size); /* unlocks */
	free(s);
}

/* Reads up to size bytes; fewer only at the end. */
static int read_full(int fd, const char *path, uint8_t *p, size_t size,
		     size_t *got)
{
	size_t n = 0;

	while (n < size) {
		ssize_t r = read(fd, p + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return fail_errno(errno, "%s", path);
		if (r == 0)
			break;
		n += (size_t)r;
	}
	*got = n;
	return 0;
}

/* shared NULL: it must not be. */
static int open_private(const char *path, bool *shared, int *ret)
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return fail_errno(errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return fail_errno(errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return fail_errno(EISDIR, "%s", path);
	if (shared)
		*shared = st.st_mode & (S_IRGRP | S_IROTH);
	else if (st.st_mode & (S_IRGRP | S_IROTH))
		return fail(-EACCES,
			    "%s holds a key that others can read: "
			    "chmod 600 it",
			    path);
	*ret = take_fd(&fd);
	return 0;
}

/* As secret_read_file(), with any maximum. */
static int read_file(const char *path, size_t max, bool *shared,
		     struct secret **ret)
{
	DROP(fd) int fd = -1;
	DROP(secret) struct secret *all = NULL;
	DROP(secret) struct secret *exact = NULL;
	size_t n = 0;
	int r;

	r = open_private(path, shared, &fd);
	if (r < 0)
		return r;
	/* One more than may be there, to see that there is more. */
	r = new_secret(max + 1, &all);
	if (r < 0)
		return r;
	r = read_full(fd, path, all->bytes, max + 1, &n);
	if (r < 0)
		return r;
	if (n > max)
		return fail(-EFBIG, "%s: larger than %zu bytes", path, max);
	if (n == 0)
		return fail(-EPROTO, "%s: empty", path);
	r = new_secret(n, &exact);
	if (r < 0)
		return r;
	memcpy(exact->bytes, all->bytes, n);
	*ret = take(exact);
	return 0;
}

int secret_read_file(const char *path, size_t max, struct secret **ret)
{
	return read_file(path, max < SECRET_MAX ? max : SECRET_MAX, NULL, ret);
}

int secret_read_shared_file(const char *path, size_t max, bool *shared,
			    struct secret **ret)
{
	return read_file(path, max < SECRET_MAX ? max : SECRET_MAX, shared,
			 ret);
}

static int write_full(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? errno : EIO;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Makes the name durable. */
static int sync_parent(const char *path)
{
	DROP(mem) char *dir = strdup(path);
	DROP(fd) int fd = -1;
	char *slash;

	if (!dir)
		return ENOMEM;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return errno;
	return 0;
}

int secret_write_hex_file(const struct secret *s, const char *path)
{
	static const char digit[] = "0123456789abcdef";
	DROP(secret) struct secret *hex = NULL;
	uint8_t *p;
	int r;

	r = new_secret(2 * s->size + 1, &hex);
	if (r < 0)
		return r;
	p = hex->bytes;
	for (size_t i = 0; i < s->size; i++) {
		*p++ = (uint8_t)digit[s->bytes[i] >> 4];
		*p++ = (uint8_t)digit[s->bytes[i] & 15];
	}
	*p = '\n';
	return secret_write_file(hex, path);
}

int secret_write_file(const struct secret *s, const char *path)
{
	DROP(fd) int fd = -1;
	int e;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
		  0600);
	if (fd < 0)
		return fail_errno(errno, "%s", path);
	/* Whatever the umask took away, the owner must be able to read. */
	e = fchmod(fd, 0600) < 0 ? errno : 0;
	if (e == 0)
		e = write_full(fd, s->bytes, s->size);
	if (e == 0 && fsync(fd) < 0)
		e = errno;
	if (e == 0)
		e = sync_parent(path);
	if (e) {
		unlink(path);
		return fail_errno(e, "%s", path);
	}
	return 0;
}

static int nibble(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Not parse_hex(): the bytes must not pass through ordinary memory, and there
 * is no NUL at the end of them. */
static bool decode(const uint8_t *hex, uint8_t *out, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		int high = nibble(hex[2 * i]);
		int low = nibble(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

int secret_read_hex_file(const char *path, size_t size, struct secret **ret)
{
	DROP(secret) struct secret *text = NULL;
	DROP(secret) struct secret *s = NULL;
	size_t n;
	int r;

	r = secret_new(size, &s);
	if (r < 0)
		return r;
	/* What is longer is no such key, like what is shorter. */
	r = read_file(path, 2 * size + 1, NULL, &text);
	if (r < 0 && r != -EFBIG)
		return r;
	n = text ? text->size : 0;
	if (n && text->bytes[n - 1] == '\n')
		n--;
	if (n != 2 * size || !decode(text->bytes, s->bytes, size))
		return fail(-EPROTO, "%s: not a key of %zu bytes in hex", path,
			    size);
	*ret = take(s);
	return 0;
}

void secret_free_text(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}
