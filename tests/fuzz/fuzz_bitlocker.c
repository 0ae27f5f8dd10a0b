// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is sector 0 and a copy of the metadata, which is put at three places of
 * a volume of 4 MiB, as it is and with its checksum made right. What is found is
 * whole; what is opened shows a volume, whatever the key.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "backend/base/hash.h"
#include "crypt/bitlocker.h"
#include "crypt/volume.h"
#include "tests/fakes/mkbitlocker.h"

#define SECTOR 512
#define SIZE (UINT64_C(4) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t places[3] = { 1 << 20, 2 << 20, 3 << 20 };

struct fake {
	struct source base;
	uint8_t image[SIZE];
};

static int fake_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, container_of(s, struct fake, base)->image + off, len);
	return 0;
}

/* Not freed: it is used again. */
static void fake_close(struct source *s)
{
}

static const struct source_ops fake_ops = {
	.name = "fake",
	.read = fake_read,
	.close = fake_close,
};

static void check_map(struct fake *f, const struct bitlocker *b)
{
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	uint8_t buf[8192];
	struct extent e;

	if (secret_new(b->key_size, &key) < 0)
		return;
	memset(secret_bytes(key), 0x5a, b->key_size / 2);
	if (bitlocker_map(&f->base, b, key, &s) < 0)
		return;
	assert(source_size(s) <= SIZE);
	for (uint64_t at = 0; at < source_size(s); at += e.length) {
		size_t n;

		assert(source_extent(s, at, SIZE, &e) == 0);
		n = min_u64(e.length, sizeof(buf));
		assert(source_read(s, buf, n, at) == 0);
		assert(!e.hole || is_zero(buf, n));
		assert(source_read(s, buf, n, at + e.length - n) == 0);
		assert(!e.hole || is_zero(buf, n));
	}
}

static void check(struct fake *f)
{
	DROP(bitlocker) struct bitlocker b = { 0 };
	struct volume_info info;
	struct secret *key = NULL;
	int r = bitlocker_read(&f->base, &b);

	assert(volume_probe(&f->base, &info) == 0);
	assert(r == 0 || r == -ENOTSUP || r == -EPROTO || r == -EBADMSG);
	if (r < 0 || !b.here)
		return;
	assert(info.type == VOLUME_BITLOCKER && info.state == VOLUME_READY);
	assert(strlen(b.id) == 36 && b.size <= SIZE);
	check_map(f, &b);
	r = bitlocker_unlock(&b, NULL, false, &key);
	assert(r <= 0);
	secret_close(key);
}

/* A key file, too. */
static void check_key(const uint8_t *data, size_t size, struct fake *f)
{
	DROP(bitlocker) struct bitlocker b = { 0 };
	DROP(secret) struct secret *file = NULL;
	struct secret *key = NULL;
	size_t n = size < 300 ? size : 300;

	if (n == 0 || bitlocker_read(&f->base, &b) < 0 || !b.here ||
	    secret_new(n, &file) < 0)
		return;
	memcpy(secret_bytes(file), data, n);
	if (bitlocker_unlock(&b, file, false, &key) == 0)
		secret_close(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake f;
	static uint8_t copy[MKBITLOCKER_COPY];
	size_t n = size < SECTOR ? size : SECTOR;

	source_init(&f.base, &fake_ops, SIZE);
	memset(f.image, 0, SECTOR);
	memcpy(f.image, data, n);
	memset(copy, 0, sizeof(copy));
	memcpy(copy, data + n, min_u64(size - n, sizeof(copy)));
	for (int sealed = 0; sealed < 2; sealed++) {
		if (sealed)
			mkbitlocker_seal(copy);
		for (int i = 0; i < 3; i++)
			memcpy(f.image + places[i], copy, sizeof(copy));
		check(&f);
	}
	n = min_u64(size - n, 200);
	check_key(data + size - n, n, &f);
	return 0;
}
