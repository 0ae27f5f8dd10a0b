// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/codec.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include "backend/base/err.h"

#define LEVEL 1
#define WINDOW_MAX (128u << 10)

/* One pair of contexts a thread, made when first used, freed when it ends. */
struct contexts {
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void free_contexts(void *p)
{
	struct contexts *x = p;

	ZSTD_freeCCtx(x->c);
	ZSTD_freeDCtx(x->d);
	free(x);
}

static void make_key(void)
{
	key_error = pthread_key_create(&key, free_contexts);
}

static struct contexts *my_contexts(void)
{
	struct contexts *x;

	pthread_once(&once, make_key);
	if (key_error)
		return NULL;
	x = pthread_getspecific(key);
	if (x)
		return x;
	x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	x->c = ZSTD_createCCtx();
	x->d = ZSTD_createDCtx();
	if (!x->c || !x->d || pthread_setspecific(key, x)) {
		free_contexts(x);
		return NULL;
	}
	return x;
}

size_t codec_pack(const void *plain, size_t n, void *out)
{
	struct contexts *x = my_contexts();
	size_t most = n - n / 16;
	size_t r;

	if (!x || !most)
		return 0;
	/* A result that does not fit is an error here, and means raw. */
	r = ZSTD_compressCCtx(x->c, out, most, plain, n, LEVEL);
	return ZSTD_isError(r) ? 0 : r;
}

/*
 * The header of a zstd frame (RFC 8878, 3.1.1.1): of this magic, not skippable
 * nor of an older zstd, with no dictionary, and a window that any reader can
 * afford.
 */
static bool header_ok(const uint8_t *p, size_t len)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	uint64_t window;

	if (len < 6 || memcmp(p, magic, sizeof(magic)) != 0 || (p[4] & 3))
		return false;
	if (p[4] & 0x20) /* single segment: the window is the content */
		return true;
	window = UINT64_C(1) << (10 + (p[5] >> 3));
	window += (window >> 3) * (p[5] & 7);
	return window <= WINDOW_MAX;
}

int codec_unpack(const void *stored, size_t len, void *plain, size_t n)
{
	struct contexts *x = my_contexts();
	size_t r;

	if (!x)
		return fail(-ENOMEM, "no memory to decompress");
	/* One frame only: what follows it would else be decoded too. */
	r = ZSTD_findFrameCompressedSize(stored, len);
	if (ZSTD_isError(r) || r != len || !header_ok(stored, len))
		return fail(-EPROTO, "stored bytes are no single zstd frame");
	r = ZSTD_decompressDCtx(x->d, plain, n, stored, len);
	if (ZSTD_isError(r))
		return fail(-EPROTO, "zstd: %s", ZSTD_getErrorName(r));
	if (r != n)
		return fail(-EPROTO, "%zu bytes where %zu were expected", r, n);
	return 0;
}
