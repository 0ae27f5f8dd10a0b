// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/mkbitlocker.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/buf.h"
#include "tests/fakes/encrypt.h"

#define COPY MKBITLOCKER_COPY
#define MOVED 8192
#define FILETIME UINT64_C(0x01d9a5c0d3b2a100)

static const uint8_t guid_normal[16] = { 0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e,
					 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3,
					 0x39, 0xe3, 0xd0, 0x01 };
static const uint8_t guid_on_write[16] = { 0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd,
					   0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3,
					   0x28, 0x4e, 0xae, 0xd8 };

static void must(int ok)
{
	if (ok == 1)
		return;
	fprintf(stderr, "mkbitlocker: OpenSSL failed\n");
	abort();
}

static void sha(const void *p, size_t n, uint8_t out[static 32])
{
	must(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL));
}

/* Bytes that look random, for one purpose of one volume. */
static void some(const struct mkbitlocker *o, const char *what, void *out,
		 size_t n)
{
	uint8_t h[32];
	char text[64];

	for (size_t i = 0; i < n; i += 32) {
		int len = snprintf(text, sizeof(text), "%s %u %zu", what,
				   o->seed, i);

		sha(text, (size_t)len, h);
		memcpy((uint8_t *)out + i, h, n - i < 32 ? n - i : 32);
	}
}

static void guid_text(const uint8_t *g, char out[37])
{
	snprintf(out, 37,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x%02x%02x%02x%02x",
		 g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9],
		 g[10], g[11], g[12], g[13], g[14], g[15]);
}

/* --- structures: the size is set when they end --- */

static size_t begin(struct buf *b, uint16_t role, uint16_t type, uint16_t flags)
{
	size_t at = b->len;

	buf_u16(b, 0);
	buf_u16(b, role);
	buf_u16(b, type);
	buf_u16(b, flags);
	return at;
}

static void end(struct buf *b, size_t at)
{
	b->data[at] = (uint8_t)(b->len - at);
	b->data[at + 1] = (uint8_t)((b->len - at) >> 8);
}

static void text(struct buf *b, uint16_t role, const char *s)
{
	size_t at = begin(b, role, 2, 1);

	do
		buf_u16(b, (uint8_t)*s);
	while (*s++);
	end(b, at);
}

static void plain_key(struct buf *b, uint16_t flags, uint16_t kind,
		      const uint8_t *key, size_t n)
{
	size_t at = begin(b, 0, 1, flags);

	buf_u16(b, kind);
	buf_u16(b, 0);
	buf_add(b, key, n);
	end(b, at);
}

/* A key, encrypted with another. */
static void sealed_key(const struct mkbitlocker *o, struct buf *b,
		       uint16_t role, const uint8_t with[static 32],
		       uint16_t kind, const uint8_t *key, size_t n)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct buf inner = BUF_INIT(4096);
	uint8_t nonce[12], tag[16], out[128];
	char what[32];
	size_t at;
	int len = 0;

	plain_key(&inner, 1, kind, key, n);
	snprintf(what, sizeof(what), "nonce %zu", b->len);
	some(o, what, nonce, sizeof(nonce));
	must(ctx && inner.len <= sizeof(out));
	must(EVP_EncryptInit_ex(ctx, EVP_aes_256_ccm(), NULL, NULL, NULL));
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL));
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, NULL));
	must(EVP_EncryptInit_ex(ctx, NULL, NULL, with, nonce));
	must(EVP_EncryptUpdate(ctx, out, &len, inner.data, (int)inner.len));
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag));
	EVP_CIPHER_CTX_free(ctx);

	at = begin(b, role, 5, 1);
	buf_add(b, nonce, sizeof(nonce));
	buf_add(b, tag, sizeof(tag));
	buf_add(b, out, inner.len);
	end(b, at);
	buf_release(&inner);
}

static void stretched(const uint8_t first[static 32],
		      const uint8_t salt[static 16], uint8_t out[static 32])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t chain[88] = { 0 };

	must(ctx && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL));
	memcpy(chain + 32, first, 32);
	memcpy(chain + 64, salt, 16);
	for (uint64_t n = 0; n < 1 << 20; n++) {
		for (int i = 0; i < 8; i++)
			chain[80 + i] = (uint8_t)(n >> (8 * i));
		must(EVP_DigestInit_ex2(ctx, NULL, NULL));
		must(EVP_DigestUpdate(ctx, chain, sizeof(chain)));
		must(EVP_DigestFinal_ex(ctx, chain, NULL));
	}
	memcpy(out, chain, 32);
	EVP_MD_CTX_free(ctx);
}

static void password_hash(const char16_t *s, uint8_t out[static 32])
{
	struct buf b = BUF_INIT(4096);

	while (*s)
		buf_u16(&b, *s++);
	sha(b.data, b.len, out);
	sha(out, 32, out);
	buf_release(&b);
}

static void recovery_hash(const char *s, uint8_t out[static 32])
{
	struct buf b = BUF_INIT(64);
	unsigned group = 0;

	for (;; s++) {
		if (*s >= '0' && *s <= '9') {
			group = group * 10 + (unsigned)(*s - '0');
			continue;
		}
		must(group % 11 == 0);
		buf_u16(&b, (uint16_t)(group / 11));
		group = 0;
		if (!*s)
			break;
	}
	must(b.len == 16);
	sha(b.data, b.len, out);
	buf_release(&b);
}

/* --- protectors --- */

static size_t protector(const struct mkbitlocker *o, struct buf *b,
			uint16_t type, const char *what)
{
	size_t at = begin(b, 2, 8, type == 0 ? 3 : 1);
	uint8_t guid[16];

	some(o, what, guid, sizeof(guid));
	buf_add(b, guid, sizeof(guid));
	buf_u64(b, FILETIME);
	buf_u16(b, 0);
	buf_u16(b, type);
	return at;
}

/* By a password of either kind. */
static void by_hash(const struct mkbitlocker *o, struct buf *b, uint16_t type,
		    const uint8_t hash[static 32], const uint8_t *vmk)
{
	bool recovery = type == 0x0800;
	size_t at = protector(o, b, type, recovery ? "recovery" : "password");
	size_t inner;
	uint8_t salt[16], key[32];

	some(o, recovery ? "salt r" : "salt p", salt, sizeof(salt));
	stretched(hash, salt, key);
	inner = begin(b, 0, 3, 1);
	buf_u32(b, recovery ? 0x1000 : 0x1001);
	buf_add(b, salt, sizeof(salt));
	if (recovery) {
		sealed_key(o, b, 0x12, vmk, 0x1000, hash, 16);
		sealed_key(o, b, 0x13, vmk, 0x2008, key, 32);
	} else {
		sealed_key(o, b, 0, vmk, 0x2007, key, 32);
	}
	end(b, inner);
	sealed_key(o, b, 0, key, 0x2003, vmk, 32);
	end(b, at);
}

static void by_external(const struct mkbitlocker *o, struct buf *b,
			const uint8_t *vmk)
{
	size_t at = protector(o, b, 0x0200, "external");
	size_t inner;
	uint8_t key[32];

	some(o, "external key", key, sizeof(key));
	text(b, 0, "ExternalKey");
	inner = begin(b, 0, 4, 1);
	buf_u32(b, 0x2002);
	sealed_key(o, b, 0, vmk, 0x2002, key, 32);
	end(b, inner);
	sealed_key(o, b, 0, key, 0x2003, vmk, 32);
	end(b, at);
}

static void by_clear(const struct mkbitlocker *o, struct buf *b,
		     const uint8_t *vmk)
{
	size_t at = protector(o, b, 0, "clear");
	uint8_t key[32];

	some(o, "clear key", key, sizeof(key));
	plain_key(b, 1, 0x2000, key, 32);
	sealed_key(o, b, 0, key, 0x2003, vmk, 32);
	end(b, at);
}

static void key_file(const struct mkbitlocker *o, struct mkbitlocker_result *r)
{
	struct buf b = BUF_INIT(sizeof(r->bek));
	uint8_t guid[16], volume[16], key[32];
	size_t at, inner;

	some(o, "external", guid, sizeof(guid));
	some(o, "volume", volume, sizeof(volume));
	some(o, "external key", key, sizeof(key));
	guid_text(guid, r->bek_id);
	buf_u32(&b, 0);
	buf_u32(&b, 1);
	buf_u32(&b, 48);
	buf_u32(&b, 0);
	buf_add(&b, guid, sizeof(guid));
	buf_u32(&b, 1);
	buf_u32(&b, 0);
	buf_u64(&b, FILETIME);
	at = begin(&b, 6, 9, 1);
	buf_add(&b, guid, sizeof(guid));
	buf_u64(&b, FILETIME);
	text(&b, 0, "ExternalKey");
	if (o->windows11) {
		inner = begin(&b, 0x19, 0x17, 1);
		buf_add(&b, volume, sizeof(volume));
		end(&b, inner);
	}
	plain_key(&b, 1, 0x2002, key, 32);
	end(&b, at);
	buf_set_u32(&b, 0, (uint32_t)b.len);
	buf_set_u32(&b, 12, (uint32_t)b.len);
	memcpy(r->bek, b.data, b.len);
	r->bek_size = b.len;
	buf_release(&b);
}

/* --- the metadata --- */

static void volume_key(const struct mkbitlocker *o, uint8_t stored[static 64],
		       size_t *stored_size, struct mkbitlocker_result *r)
{
	bool two = o->method <= 0x8001;
	size_t half = o->method & 1 ? 32 : 16;

	some(o, "volume key", stored, 64);
	if (two) {
		*stored_size = 64;
		r->key_size = 2 * half;
		memcpy(r->key, stored, half);
		memcpy(r->key + half, stored + 32, half);
		return;
	}
	*stored_size = o->method >= 0x8004 ? 2 * half : half;
	r->key_size = *stored_size;
	memcpy(r->key, stored, r->key_size);
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	return crc ^ 0xffffffff;
}

void mkbitlocker_seal(uint8_t *copy)
{
	size_t valid = 16 * (copy[8] | (size_t)copy[9] << 8);
	uint32_t crc;

	if (valid > COPY - 8)
		return;
	crc = crc32(copy, valid);
	for (int i = 0; i < 4; i++)
		copy[valid + 4 + i] = (uint8_t)(crc >> (8 * i));
}

static void dataset(const struct mkbitlocker *o, struct buf *b,
		    const struct mkbitlocker_result *r, const uint8_t *vmk,
		    const uint8_t *stored, size_t stored_size)
{
	uint8_t guid[16], hash[32];
	size_t at;

	some(o, "volume", guid, sizeof(guid));
	buf_u32(b, 0);
	buf_u32(b, 1);
	buf_u32(b, 48);
	buf_u32(b, 0);
	buf_add(b, guid, sizeof(guid));
	buf_u32(b, 9);
	buf_u16(b, o->method);
	buf_u16(b, 0);
	buf_u64(b, FILETIME);
	text(b, 7, "WEB-01 C: 11/21/2026");
	if (o->tpm)
		end(b, protector(o, b, 0x0100, "tpm"));
	if (o->password) {
		password_hash(o->password, hash);
		by_hash(o, b, 0x2000, hash, vmk);
	}
	if (o->recovery) {
		recovery_hash(o->recovery, hash);
		by_hash(o, b, 0x0800, hash, vmk);
	}
	if (o->external)
		by_external(o, b, vmk);
	if (o->clear)
		by_clear(o, b, vmk);
	sealed_key(o, b, 3, vmk, o->method, stored, stored_size);
	at = begin(b, 15, 15, 1);
	buf_u64(b, r->moved_off);
	buf_u64(b, r->moved_size);
	end(b, at);
	buf_set_u32(b, 64, (uint32_t)b->len - 64);
	buf_set_u32(b, 76, (uint32_t)b->len - 64);
}

static void metadata(const struct mkbitlocker *o, size_t size, struct buf *b,
		     struct mkbitlocker_result *r)
{
	uint8_t vmk[32], stored[64], hash[32];
	size_t stored_size, valid;

	some(o, "vmk", vmk, sizeof(vmk));
	volume_key(o, stored, &stored_size, r);
	buf_add(b, "-FVE-FS-", 8);
	buf_u16(b, 0);
	buf_u16(b, o->vista ? 1 : 2);
	buf_u16(b, o->state ? o->state : 4);
	buf_u16(b, o->next_state ? o->next_state : 4);
	buf_u64(b, o->volume_size ? o->volume_size : size);
	buf_u32(b, 0);
	buf_u32(b, MOVED / o->sector_size);
	for (int i = 0; i < 3; i++)
		buf_u64(b, r->copies[i]);
	buf_u64(b, r->moved_off);
	dataset(o, b, r, vmk, stored, stored_size);

	valid = (b->len + 15) / 16 * 16;
	buf_zero(b, valid - b->len);
	b->data[8] = (uint8_t)(valid / 16);
	b->data[9] = (uint8_t)(valid / 16 >> 8);
	sha(b->data, valid, hash);
	buf_u16(b, (uint16_t)(COPY - valid));
	buf_u16(b, 2);
	buf_u32(b, 0);
	sealed_key(o, b, 0, vmk, 0x2005, hash, sizeof(hash));
	buf_zero(b, COPY - b->len);
	must(buf_check(b, "metadata") == 0);
	mkbitlocker_seal(b->data);
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void boot_sector(const struct mkbitlocker *o,
			const struct mkbitlocker_result *r, uint8_t *p)
{
	size_t at = o->to_go ? 424 : 160;

	memset(p, 0, o->sector_size);
	memcpy(p, o->vista ? "\xeb\x52\x90" : "\xeb\x58\x90", 3);
	memcpy(p + 3, o->to_go ? "MSWIN4.1" : "-FVE-FS-", 8);
	put(p + 11, o->sector_size, 2);
	p[13] = (uint8_t)(4096 / o->sector_size);
	p[21] = 0xf8;
	put(p + 24, 63, 2);
	put(p + 26, 255, 2);
	put(p + 36, 0x1fe0, 4);
	p[48] = 1;
	p[50] = 6;
	memcpy(p + 64, "\x80\0\x29", 3);
	memcpy(p + 71, "NO NAME    FAT32   ", 19);
	memcpy(p + at, o->on_write ? guid_on_write : guid_normal, 16);
	for (int i = 0; i < 3; i++)
		put(p + at + 16 + 8 * i, r->copies[i], 8);
	p[510] = 0x55;
	p[511] = 0xaa;
}

static struct sector_format format(const struct mkbitlocker *o)
{
	struct sector_format f = { .sector_size = o->sector_size,
				   .iv_unit = 1 };

	if (o->method <= 0x8001)
		f.mode = SECTOR_CBC_ELEPHANT;
	else if (o->method <= 0x8003)
		f.mode = SECTOR_CBC_EBOIV;
	else
		f.iv_unit = o->sector_size;
	return f;
}

void mkbitlocker(const struct mkbitlocker *o, uint8_t *image, size_t size,
		 struct mkbitlocker_result *out)
{
	struct mkbitlocker_result r = { 0 };
	struct buf b = BUF_INIT(COPY);
	struct sector_format f = format(o);
	uint8_t head[MOVED];

	must(size >= MKBITLOCKER_MIN && size % o->sector_size == 0);
	/* Something must follow the last copy: libcryptsetup never returns
	 * where nothing does. */
	r.copies[0] = (size - MKBITLOCKER_TAIL) / 4096 * 4096;
	r.moved_off = r.copies[0] + COPY;
	r.moved_size = MOVED;
	r.copies[1] = r.copies[0] + (256 << 10);
	r.copies[2] = r.copies[0] + (512 << 10);
	metadata(o, size, &b, &r);
	key_file(o, &r);

	memcpy(head, image, MOVED);
	encrypt_sectors(&f, r.key, r.key_size, image, size, 0);
	/* The IVs are those of the place where they are kept. */
	encrypt_sectors(&f, r.key, r.key_size, head, MOVED, r.moved_off);
	memcpy(image + r.moved_off, head, MOVED);
	memset(image, 0, MOVED);
	boot_sector(o, &r, image);
	for (int i = 0; i < 3; i++)
		memcpy(image + r.copies[i], b.data, COPY);
	buf_release(&b);
	if (out)
		*out = r;
}

void mkbitlocker_clear(const struct mkbitlocker_result *r, uint8_t *image)
{
	for (int i = 0; i < 3; i++)
		memset(image + r->copies[i], 0, COPY);
	memset(image + r->moved_off, 0, r->moved_size);
}
