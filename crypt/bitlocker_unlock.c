// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * From a key as people have it to the volume key. The key (of a .BEK file; or SHA-256,
 * stretched by 2^20 rounds, of a password) opens the VMK by a protector, and that the
 * volume key (FVEK).
 */
#include "crypt/bitlocker_impl.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"

#define NONCE 12
#define TAG 16
#define SALT 16
#define HASH 32
#define VMK 32

/* --- unwrapping --- */

DROP_DEFINE(cipher_ctx, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)
DROP_DEFINE(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free)

/* The content of a structure of type 5: nonce, tag, text. -ENOKEY when the tag
 * does not match. */
static int ccm_open(const uint8_t key[static HASH], const uint8_t *p,
		    size_t len, struct secret **ret)
{
	DROP(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	DROP(secret) struct secret *out = NULL;
	int r, n = 0;

	if (!ctx)
		return fail(-ENOMEM, "out of memory");
	if (len <= NONCE + TAG)
		return fail(-EPROTO, "an encrypted key is cut off");
	r = secret_new(len - NONCE - TAG, &out);
	if (r < 0)
		return r;
	if (EVP_DecryptInit_ex(ctx, EVP_aes_256_ccm(), NULL, NULL, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, NONCE, NULL) !=
		    1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG,
				(void *)(p + NONCE)) != 1 ||
	    EVP_DecryptInit_ex(ctx, NULL, NULL, key, p) != 1)
		return fail(-EIO, "unwrapping a key failed in OpenSSL");
	if (EVP_DecryptUpdate(ctx, secret_bytes(out), &n, p + NONCE + TAG,
			      (int)secret_size(out)) != 1)
		return fail(-ENOKEY, "the key does not open it");
	*ret = take(out);
	return 0;
}

/* The same for a structure that holds a key of at least size bytes. */
static int open_key(const uint8_t key[static HASH], const uint8_t *p,
		    size_t len, size_t size, struct secret **ret)
{
	DROP(secret) struct secret *all = NULL;
	DROP(secret) struct secret *out = NULL;
	struct bitlocker_structure d;
	struct rd inside;
	int r = ccm_open(key, p, len, &all);

	if (r < 0)
		return r;
	inside = rd_over(secret_bytes(all), secret_size(all));
	r = bitlocker_next(&inside, &d);
	if (r < 0)
		return r;
	if (r == 0 || d.type != TYPE_KEY || d.len < 4 || d.len - 4 < size)
		return fail(-EPROTO, "an unwrapped key has not the right form");
	r = secret_new(d.len - 4, &out);
	if (r < 0)
		return r;
	memcpy(secret_bytes(out), d.p + 4, d.len - 4);
	*ret = take(out);
	return 0;
}

/*
 * 2^20 times: last = SHA-256(last, first, salt, count).
 *
 *	0 last 32, 32 first 32, 64 salt 16, 80 count 8
 */
static int stretch(const uint8_t first[static HASH],
		   const uint8_t salt[static SALT], struct secret **ret)
{
	DROP(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	DROP(secret) struct secret *chain = NULL;
	DROP(secret) struct secret *out = NULL;
	uint8_t *p;
	int r = secret_new(88, &chain);

	if (r == 0)
		r = secret_new(HASH, &out);
	if (r < 0)
		return r;
	p = secret_bytes(chain);
	memcpy(p + 32, first, HASH);
	memcpy(p + 64, salt, SALT);
	if (!ctx || EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) != 1)
		return fail(-ENOMEM, "out of memory");
	for (uint64_t i = 0; i < UINT64_C(1) << 20; i++) {
		uint64_t count = htole64(i);

		memcpy(p + 80, &count, sizeof(count));
		if (EVP_DigestInit_ex2(ctx, NULL, NULL) != 1 ||
		    EVP_DigestUpdate(ctx, p, 88) != 1 ||
		    EVP_DigestFinal_ex(ctx, p, NULL) != 1)
			return fail(-EIO, "SHA-256 failed in OpenSSL");
	}
	memcpy(secret_bytes(out), p, HASH);
	*ret = take(out);
	return 0;
}

static int sha256_secret(const uint8_t *p, size_t n, struct secret **ret)
{
	int r = secret_new(HASH, ret);

	if (r < 0)
		return r;
	if (EVP_Digest(p, n, secret_bytes(*ret), NULL, EVP_sha256(), NULL) == 1)
		return 0;
	secret_close(take(*ret));
	return fail(-EIO, "SHA-256 failed in OpenSSL");
}

/* --- keys as people have them --- */

/* One character of valid UTF-8. */
static uint32_t utf8_next(struct rd *r)
{
	uint32_t c = rd_u8(r);
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more)
		c &= 0x3fu >> more;
	while (more--)
		c = c << 6 | (rd_u8(r) & 0x3f);
	return c;
}

/* SHA-256, twice, of the text in UTF-16. *ret is NULL for what is no text. */
static int password_hash(struct secret *text, struct secret **ret)
{
	DROP(secret) struct secret *utf16 = NULL;
	DROP(secret) struct secret *once = NULL;
	size_t n = secret_size(text);
	struct rd r = rd_over(secret_bytes(text), n);
	uint8_t *start, *p;
	int e;

	*ret = NULL;
	/* A password has at most 256 characters. */
	if (n > 1024 || !utf8_valid((const char *)secret_bytes(text), n))
		return 0;
	e = secret_new(2 * n, &utf16);
	if (e < 0)
		return e;
	start = p = secret_bytes(utf16);
	while (r.left) {
		uint32_t c = utf8_next(&r);

		if (c >= 0x10000) {
			uint32_t high = 0xd800 + ((c - 0x10000) >> 10);

			*p++ = (uint8_t)high;
			*p++ = (uint8_t)(high >> 8);
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		*p++ = (uint8_t)c;
		*p++ = (uint8_t)(c >> 8);
	}
	e = sha256_secret(start, (size_t)(p - start), &once);
	return e < 0 ? e : sha256_secret(secret_bytes(once), HASH, ret);
}

/*
 * Eight numbers of six digits, each a multiple of 11: SHA-256 of the eight
 * quotients of 16 bits. Blanks and dashes may stand anywhere. *ret is NULL for what
 * is none.
 */
static int recovery_hash(struct secret *text, struct secret **ret)
{
	DROP(secret) struct secret *numbers = NULL;
	struct rd r = rd_over(secret_bytes(text), secret_size(text));
	uint32_t group = 0;
	size_t digits = 0;
	uint8_t *p;
	int e = secret_new(16, &numbers);

	*ret = NULL;
	if (e < 0)
		return e;
	p = secret_bytes(numbers);
	while (r.left) {
		uint8_t c = rd_u8(&r);

		if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c < '0' || c > '9' || digits == 48)
			return 0;
		group = group * 10 + (c - '0');
		if (++digits % 6 != 0)
			continue;
		if (group % 11 != 0 || group / 11 > UINT16_MAX)
			return 0;
		*p++ = (uint8_t)(group / 11);
		*p++ = (uint8_t)(group / 11 >> 8);
		group = 0;
	}
	return digits == 48 ? sha256_secret(secret_bytes(numbers), 16, ret) : 0;
}

/*
 * A .BEK file: u32 size, 1, 48, size; GUID of its protector; 16 bytes; then one
 * structure of type 9 that holds one of type 1, with 32 bytes of key, and, since
 * Windows 11, one of type 23 with the volume's GUID.
 */
struct external {
	char id[GUID_TEXT_SIZE];
	char volume[GUID_TEXT_SIZE]; /* "" when it does not say */
	const uint8_t *key;	     /* VMK's, 32 bytes, within the secret */
};

static int no_bek(void)
{
	return fail(-ENOKEY, "the key is no .BEK file of BitLocker");
}

static int external_parse(struct secret *file, struct external *out)
{
	size_t n = secret_size(file);
	struct rd r = rd_over(secret_bytes(file), n);
	uint32_t size = rd_u32(&r);
	uint32_t version = rd_u32(&r);
	uint32_t head = rd_u32(&r);
	uint32_t copy = rd_u32(&r);
	const uint8_t *guid = rd_ptr(&r, 16);
	struct bitlocker_structure d, key, volume;

	memset(out, 0, sizeof(*out));
	rd_skip(&r, 16);
	if (!rd_ok(&r) || !guid || size != n || copy != size || version != 1 ||
	    head != 48 || bitlocker_find(r, TYPE_EXTERNAL, &d) < 0 ||
	    d.len < 24)
		return no_bek();
	r = rd_over(d.p + 24, d.len - 24);
	if (bitlocker_find(r, TYPE_KEY, &key) < 0 || key.len != 4 + HASH)
		return no_bek();
	bitlocker_guid(guid, out->id);
	out->key = key.p + 4;
	if (bitlocker_find(r, TYPE_VOLUME_ID, &volume) == 0 && volume.len == 16)
		bitlocker_guid(volume.p, out->volume);
	return 0;
}

/* --- from a protector to the volume key --- */

static struct rd inside(const struct bitlocker *b,
			const struct bitlocker_protector *p)
{
	return rd_over(b->block + p->off, p->len);
}

/* The last of the protector's encrypted structures: those before it, if any, are
 * inside of others. */
static int open_vmk(const struct bitlocker *b,
		    const struct bitlocker_protector *p,
		    const uint8_t key[static HASH], struct secret **ret)
{
	struct bitlocker_structure d, found = { 0 };
	struct rd r = inside(b, p);
	int n;

	while ((n = bitlocker_next(&r, &d)) > 0)
		if (d.type == TYPE_ENCRYPTED)
			found = d;
	if (n < 0)
		return n;
	if (!found.p)
		return fail(-EPROTO, "a protector has no key");
	return open_key(key, found.p, found.len, VMK, ret);
}

static int by_hash(const struct bitlocker *b,
		   const struct bitlocker_protector *p, struct secret *hash,
		   struct secret **vmk)
{
	DROP(secret) struct secret *key = NULL;
	struct bitlocker_structure d;
	int r = bitlocker_find(inside(b, p), TYPE_STRETCH, &d);

	if (r == -ENOENT || (r == 0 && d.len < 4 + SALT))
		return fail(-EPROTO, "a protector has no salt");
	if (r == 0)
		r = stretch(secret_bytes(hash), d.p + 4, &key);
	return r < 0 ? r : open_vmk(b, p, secret_bytes(key), vmk);
}

static int by_clear_key(const struct bitlocker *b,
			const struct bitlocker_protector *p,
			struct secret **vmk)
{
	struct bitlocker_structure d;
	int r = bitlocker_find(inside(b, p), TYPE_KEY, &d);

	if (r == -ENOENT || (r == 0 && d.len != 4 + HASH))
		return fail(-EPROTO, "its clear key has not the right form");
	return r < 0 ? r : open_vmk(b, p, d.p + 4, vmk);
}

static const char *type_name(uint16_t type)
{
	switch (type) {
	case PROTECTOR_CLEAR:
		return "clear key";
	case PROTECTOR_TPM:
		return "TPM";
	case PROTECTOR_EXTERNAL:
		return "external key";
	case PROTECTOR_TPM_PIN:
		return "TPM and PIN";
	case PROTECTOR_RECOVERY:
		return "recovery password";
	case PROTECTOR_PUBLIC_KEY:
		return "certificate";
	case PROTECTOR_PASSWORD:
		return "password";
	default:
		return "something else";
	}
}

/* What would open it. */
static int no_key(const struct bitlocker *b)
{
	char text[512] = "";
	size_t n = 0;

	for (size_t i = 0; i < b->nprotectors && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s {%s}",
				      i ? ", " : "",
				      type_name(b->protectors[i].type),
				      b->protectors[i].id);
	return fail(-ENOKEY, "the key does not open it; its protectors: %s",
		    n ? text : "none");
}

/* Tries hash on all protectors of a type. */
static int by_hash_of_type(const struct bitlocker *b, uint16_t type,
			   struct secret *hash, struct secret **vmk)
{
	int r = -ENOKEY;

	for (size_t i = 0; i < b->nprotectors && r == -ENOKEY; i++)
		if (b->protectors[i].type == type)
			r = by_hash(b, &b->protectors[i], hash, vmk);
	return r;
}

static int by_text(const struct bitlocker *b, struct secret *text,
		   struct secret **vmk)
{
	DROP(secret) struct secret *recovery = NULL;
	DROP(secret) struct secret *password = NULL;
	int r = recovery_hash(text, &recovery);

	if (r < 0)
		return r;
	r = -ENOKEY;
	if (recovery)
		r = by_hash_of_type(b, PROTECTOR_RECOVERY, recovery, vmk);
	if (r != -ENOKEY)
		return r;
	r = password_hash(text, &password);
	if (r < 0)
		return r;
	if (!password)
		return -ENOKEY;
	return by_hash_of_type(b, PROTECTOR_PASSWORD, password, vmk);
}

static int by_external(const struct bitlocker *b, struct secret *file,
		       struct secret **vmk)
{
	struct external e;
	int r = external_parse(file, &e);

	if (r < 0)
		return r;
	if (e.volume[0] && strcmp(e.volume, b->id) != 0)
		return fail(-ENOKEY,
			    "the key file is for volume {%s}, and "
			    "this is {%s}",
			    e.volume, b->id);
	r = -ENOKEY;
	for (size_t i = 0; i < b->nprotectors && r == -ENOKEY; i++)
		if (b->protectors[i].type == PROTECTOR_EXTERNAL &&
		    strcmp(b->protectors[i].id, e.id) == 0)
			r = open_vmk(b, &b->protectors[i], e.key, vmk);
	if (r == -ENOKEY) {
		no_key(b);
		return blame(r, "key file {%s}", e.id);
	}
	return r;
}

static int by_clear(const struct bitlocker *b, struct secret **vmk)
{
	int r = -ENOKEY;

	for (size_t i = 0; i < b->nprotectors && r == -ENOKEY; i++)
		if (b->protectors[i].type == PROTECTOR_CLEAR)
			r = by_clear_key(b, &b->protectors[i], vmk);
	return r;
}

/* That the metadata are what they were when the VMK last was in use. */
static int check_sealed_hash(const struct bitlocker *b, struct secret *vmk)
{
	struct rd r =
		rd_over(b->block + b->valid, BITLOCKER_BLOCK_SIZE - b->valid);
	DROP(secret) struct secret *hash = NULL;
	struct bitlocker_structure d;
	int e;

	rd_skip(&r, 8);
	e = bitlocker_next(&r, &d);
	if (e < 0)
		return e;
	if (e == 0 || d.type != TYPE_ENCRYPTED)
		return fail(-EBADMSG, "its BitLocker metadata lack the hash "
				      "that proves them");
	e = open_key(secret_bytes(vmk), d.p, d.len, HASH, &hash);
	if (e == -ENOMEM)
		return e;
	if (e < 0 || memcmp(secret_bytes(hash), b->digest.b, HASH) != 0)
		return fail(-EBADMSG, "its BitLocker metadata were changed: "
				      "their hash does not match");
	return 0;
}

/* Methods with a diffuser have room for two keys of 32 bytes, of which each
 * starts its half. */
static int pack_key(const struct bitlocker *b, struct secret *fvek,
		    struct secret **ret)
{
	size_t half = b->key_size / 2;
	bool two = b->format.mode == SECTOR_CBC_ELEPHANT;
	size_t need = two ? 32 + half : b->key_size;
	int r;

	if (secret_size(fvek) < need)
		return fail(-EPROTO, "its volume key is too short");
	r = secret_new(b->key_size, ret);
	if (r < 0)
		return r;
	memcpy(secret_bytes(*ret), secret_bytes(fvek),
	       two ? half : b->key_size);
	if (two)
		memcpy(secret_bytes(*ret) + half, secret_bytes(fvek) + 32,
		       half);
	return 0;
}

int bitlocker_unlock(const struct bitlocker *b, struct secret *key, bool text,
		     struct secret **ret)
{
	/* Contexts hold keys, and their schedules. */
	DROP(arena) bool in = arena_enter();
	DROP(secret) struct secret *vmk = NULL;
	DROP(secret) struct secret *fvek = NULL;
	int r = -ENOKEY;

	if (key)
		r = text ? by_text(b, key, &vmk) : by_external(b, key, &vmk);
	if (r == -ENOKEY && b->suspended)
		r = by_clear(b, &vmk);
	if (r == -ENOKEY && (!key || text))
		return no_key(b);
	if (r < 0)
		return r;
	r = check_sealed_hash(b, vmk);
	if (r < 0)
		return r;
	r = open_key(secret_bytes(vmk), b->block + b->key_off, b->key_len,
		     b->key_size, &fvek);
	/* The VMK has proved itself: it is not the key that is wrong. */
	if (r == -ENOKEY)
		return fail(-EBADMSG, "its volume key is damaged");
	return r < 0 ? r : pack_key(b, fvek, ret);
}
