// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is the start of a volume of 64 MiB, or, after a 'J', the first 512
 * bytes of a LUKS2 header and its JSON, of which both copies are made, with right
 * checksums. What is ready opens with any key, whatever it then shows; libcryptsetup
 * sees those of LUKS1 whose derivation is cheap.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "crypt/luks.h"
#include "crypt/volume.h"
#include "tests/fakes/source_piece.h"

#define SIZE (UINT64_C(64) << 20)
#define HEADER 0x4000
#define BINARY 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static void make_copy(uint8_t *h, const uint8_t *data, size_t size, bool second)
{
	size_t n = min_u64(size, BINARY);

	memset(h, 0, HEADER);
	memcpy(h, data, n);
	memcpy(h, second ? "SKUL\xba\xbe\0\2" : "LUKS\xba\xbe\0\2", 8);
	put64(h + 8, HEADER);
	put64(h + 256, second ? HEADER : 0);
	memcpy(h + 72, "sha256\0", 8);
	if (size > n)
		memcpy(h + 4096, data + n, min_u64(size - n, HEADER - 4097));
	memset(h + 448, 0, 64);
	if (EVP_Digest(h, HEADER, h + 448, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static bool cheap(const uint8_t *p, size_t n, const struct luks *l)
{
	if (l->version != 1 || n < 592 || get32(p + 164) > 1000)
		return false;
	for (int i = 0; i < 8; i++)
		if (get32(p + 208 + 48 * i + 4) > 1000)
			return false;
	return true;
}

static void check(const uint8_t *data, size_t size)
{
	DROP(source) struct source *volume = NULL;
	DROP(source) struct source *again = NULL;
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;
	struct volume_info info;
	struct luks l;
	uint8_t buf[5000];
	int r;

	assert(source_open_piece(data, size, 0, SIZE, &volume) == 0);
	assert(source_open_piece(data, size, 0, SIZE, &again) == 0);
	assert(volume_probe(volume, &info) == 0);
	r = luks_read(volume, &l);
	assert(r == 0 || r == -ENOTSUP || r == -EPROTO || r == -EBADMSG);
	assert(r == 0 || l.version);
	if (r < 0 || !l.version)
		return;
	assert(info.state == VOLUME_READY);
	for (size_t i = 0; i < l.nareas; i++)
		assert(l.areas[i].len <= SIZE &&
		       l.areas[i].off <= SIZE - l.areas[i].len);
	if (secret_new(l.key_size && l.key_size <= 64 ? l.key_size : 32, &key) <
	    0)
		return;
	if (luks_map(take(again), &l, false, key, &s) == 0) {
		uint64_t n = source_size(s);

		assert(n <= SIZE - l.data_offset);
		if (n >= sizeof(buf))
			assert(source_read(s, buf, sizeof(buf),
					   n - sizeof(buf)) == 0);
	}
	if (cheap(data, size, &l)) {
		struct secret *vk = NULL;

		if (luks_unlock(volume, &l, key, &vk) == 0)
			secret_close(vk);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[2 * HEADER];

	if (size == 0 || data[0] != 'J') {
		check(data, size);
		return 0;
	}
	make_copy(image, data + 1, size - 1, false);
	make_copy(image + HEADER, data + 1, size - 1, true);
	check(image, sizeof(image));
	return 0;
}
