// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * All numbers are little endian. Sector 0 has a boot sector's form, "-FVE-FS-"
 * or, on removable drives, "MSWIN4.1" at 3, bytes a sector at 11 (0: 512), and
 * at 160 or 424 a GUID that says what kind of volume it is, and three offsets,
 * one for each copy of the metadata, of 64 KiB each:
 *
 *	 0  8  "-FVE-FS-"			16  8  size of the volume
 *	 8  2  bytes that are checked, / 16	28  4  sectors moved, from 0 on
 *	10  2  version: 2 (Vista: 1)		32 24  offsets of the copies
 *	12  2  state, 4: encrypted		56  8  where they were moved to
 *	14  2  state to come
 *	64  4  size of what follows		80 16  GUID of the volume
 *	68  4  version 1			100 2  method
 *	72  4  48				112    data structures
 *
 * Behind what is checked: u16 size, u16 version, u32 CRC-32, and a structure of
 * type 5 that holds the SHA-256 of it, under the VMK.
 *
 * A data structure: u16 size with these 8 bytes, u16 role, u16 type, u16 flags.
 * By type: 1 key (u16 its kind, u16, the key); 2 text (UTF-16); 3 stretch (u32,
 * salt of 16); 5 encrypted (nonce of 12, tag of 16, AES-CCM of a structure of type
 * 1); 8 protector (GUID, FILETIME, u16, u16 its type; structures from 36 on); 9 the
 * external key of a .BEK file (GUID, FILETIME; structures from 32 on); 15 offset
 * and size. By role: 2 protector, 3 volume key, 7 description, 15 moved sectors.
 *
 * A protector's key (of the file; or SHA-256, stretched by 2^20 rounds, of the
 * password) opens the VMK, and that the volume key (FVEK).
 */
#include "crypt/bitlocker.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/rd.h"

#define BLOCK_SIZE 65536
#define DATA_AT 112 /* structures in the block */
#define SECTOR 512

#define ROLE_PROTECTOR 2
#define ROLE_KEY 3
#define ROLE_DESCRIPTION 7
#define ROLE_MOVED 15
#define TYPE_KEY 1
#define TYPE_TEXT 2
#define TYPE_STRETCH 3
#define TYPE_ENCRYPTED 5
#define TYPE_EXTERNAL 9
#define TYPE_MOVED 15
#define TYPE_VOLUME_ID 23
#define KIND_HASH 0x2005

#define NONCE 12
#define TAG 16
#define SALT 16
#define HASH 32
#define VMK 32
#define STRUCTURE 8 /* header */
#define SEALED (STRUCTURE + NONCE + TAG)
#define OPENED (STRUCTURE + 4) /* before the key of type 1 */

static const uint8_t signature[8] = "-FVE-FS-";

/* 4967d63b-2e29-4ad8-8399-f6a339e3d001 */
static const uint8_t guid_normal[16] = { 0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e,
					 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3,
					 0x39, 0xe3, 0xd0, 0x01 };
/* 92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8 */
static const uint8_t guid_on_write[16] = { 0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd,
					   0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3,
					   0x28, 0x4e, 0xae, 0xd8 };

static const struct method {
	uint16_t method;
	enum sector_mode mode;
	size_t key_size;
} methods[] = {
	{ 0x8000, SECTOR_CBC_ELEPHANT, 32 },
	{ 0x8001, SECTOR_CBC_ELEPHANT, 64 },
	{ 0x8002, SECTOR_CBC_EBOIV, 16 },
	{ 0x8003, SECTOR_CBC_EBOIV, 32 },
	{ 0x8004, SECTOR_XTS_PLAIN64, 32 },
	{ 0x8005, SECTOR_XTS_PLAIN64, 64 },
};

/* --- pieces --- */

static void guid_text(const uint8_t g[static 16], char out[GUID_TEXT_SIZE])
{
	/* The first three numbers are little endian. */
	static const int order[16] = { 3, 2, 1,	 0,  5,	 4,  7,	 6,
				       8, 9, 10, 11, 12, 13, 14, 15 };
	char *p = out;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		hex_of(g + order[i], 1, p);
		p += 2;
	}
}

/* One unit or a pair of UTF-16; 0xfffd for what is none. */
static uint32_t utf16_next(struct rd *r)
{
	uint32_t high = rd_u16(r);
	struct rd ahead = *r;
	uint32_t low;

	if (high < 0xd800 || high > 0xdfff)
		return high;
	low = rd_u16(&ahead);
	if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return 0xfffd;
	*r = ahead;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t utf8_put(char out[static 4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* What does not fit is left out. */
static void utf16_text(struct rd r, char *out, size_t size)
{
	size_t n = 0;

	while (r.left >= 2 && n + 5 <= size) {
		uint32_t c = utf16_next(&r);

		if (c == 0)
			break;
		n += utf8_put(out + n, c);
	}
	out[n] = '\0';
	printable(out);
}

/* A structure, its content at p. */
struct structure {
	uint16_t role;
	uint16_t type;
	const uint8_t *p;
	size_t len;
};

/* Takes the next one: 1, 0 at the end, or -EPROTO. */
static int next_structure(struct rd *r, struct structure *out)
{
	uint16_t size;

	if (r->left < STRUCTURE)
		return 0;
	size = rd_u16(r);
	if (size == 0)
		return 0;
	if (size < STRUCTURE || size - 2u > r->left)
		return fail(-EPROTO,
			    "a data structure of %u bytes passes the "
			    "end",
			    size);
	out->role = rd_u16(r);
	out->type = rd_u16(r);
	rd_skip(r, 2);
	out->len = size - STRUCTURE;
	out->p = rd_ptr(r, out->len);
	return 1;
}

/* The first of that type within a protector or an external key; -ENOENT. */
static int find_structure(struct rd r, uint16_t type, struct structure *out)
{
	int n;

	while ((n = next_structure(&r, out)) > 0)
		if (out->type == type)
			return 0;
	return n < 0 ? n : -ENOENT;
}

/* As in Ethernet and zip; four bits at a time. */
static uint32_t crc32(const uint8_t *p, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = UINT32_MAX;

	while (n--) {
		crc ^= *p++;
		crc = table[crc & 15] ^ crc >> 4;
		crc = table[crc & 15] ^ crc >> 4;
	}
	return ~crc;
}

/* --- reading the metadata --- */

static bool in_source(struct source *s, uint64_t off, uint64_t len)
{
	return off <= source_size(s) && len <= source_size(s) - off;
}

/* 1: a whole copy, which b then owns; 0: none. */
static int read_copy(struct source *s, uint64_t off, int which,
		     struct bitlocker *b, bool *vista)
{
	DROP(mem) uint8_t *p = NULL;
	struct rd r;
	uint16_t version;
	uint32_t crc;
	size_t valid;
	int e;

	if (off == 0 || !in_source(s, off, BLOCK_SIZE))
		return 0;
	p = malloc(BLOCK_SIZE);
	if (!p)
		return fail(-ENOMEM, "out of memory");
	e = source_read(s, p, BLOCK_SIZE, off);
	if (e < 0)
		return e;
	if (memcmp(p, signature, sizeof(signature)) != 0)
		return 0;
	r = rd_over(p, BLOCK_SIZE);
	rd_skip(&r, sizeof(signature));
	valid = rd_u16(&r) * (size_t)16;
	version = rd_u16(&r);
	if (version == 1)
		*vista = true;
	if (version != 2 || valid < DATA_AT || valid > BLOCK_SIZE - 8)
		return 0;
	rd_skip(&r, 20 + 8 * (size_t)which);
	if (rd_u64(&r) != off)
		return 0;
	r = rd_over(p + valid, BLOCK_SIZE - valid);
	rd_skip(&r, 4);
	crc = rd_u32(&r);
	if (crc != crc32(p, valid))
		return 0;
	b->block = take(p);
	b->valid = valid;
	return 1;
}

static int find_copy(struct source *s, struct rd offsets, struct bitlocker *b)
{
	bool vista = false;
	int r = 0;

	for (int i = 0; i < BITLOCKER_COPIES && r == 0; i++)
		r = read_copy(s, rd_u64(&offsets), i, b, &vista);
	if (r < 0)
		return r;
	if (r == 0 && vista)
		return fail(-ENOTSUP, "BitLocker as in Windows Vista cannot be "
				      "opened here");
	if (r == 0)
		return fail(-EBADMSG, "none of the three copies of its "
				      "BitLocker metadata is whole");
	sha256(b->block, b->valid, &b->digest);
	return 0;
}

static int check_state(uint16_t now, uint16_t next)
{
	static const char *const name[] = {
		[1] = "decrypted",	   [2] = "being converted",
		[3] = "conversion paused", [4] = "encrypted",
		[5] = "being converted",
	};

	if (now == 4 && next == 4)
		return 0;
	return fail(-ENOTSUP,
		    "its encryption was not complete when it was backed up "
		    "(state %u, %s; next %u): let Windows finish it on a "
		    "restored copy",
		    now, now < ARRAY_SIZE(name) && name[now] ? name[now] : "?",
		    next);
}

static int read_method(uint16_t method, struct bitlocker *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (methods[i].method != method)
			continue;
		b->method = method;
		b->format.mode = methods[i].mode;
		b->key_size = methods[i].key_size;
		b->format.iv_unit = b->format.mode == SECTOR_XTS_PLAIN64
					    ? b->format.sector_size
					    : 1;
		return 0;
	}
	return fail(-ENOTSUP, "BitLocker's encryption method %#x is not known",
		    method);
}

static int add_protector(const struct structure *d, struct bitlocker *b)
{
	struct bitlocker_protector *p = &b->protectors[b->nprotectors];
	struct rd r = rd_over(d->p, d->len);
	uint8_t guid[16];

	if (b->nprotectors == BITLOCKER_PROTECTORS_MAX)
		return fail(-EPROTO, "too many protectors");
	rd_bytes(&r, guid, sizeof(guid));
	rd_skip(&r, 10);
	p->type = rd_u16(&r);
	if (!rd_ok(&r))
		return fail(-EPROTO, "a protector is cut off");
	guid_text(guid, p->id);
	p->off = (size_t)(r.p - b->block);
	p->len = r.left;
	b->nprotectors++;
	if (p->type == PROTECTOR_CLEAR)
		b->suspended = true;
	return 0;
}

static int add_structure(const struct structure *d, struct bitlocker *b)
{
	struct rd r = rd_over(d->p, d->len);

	switch (d->role) {
	case ROLE_PROTECTOR:
		return add_protector(d, b);
	case ROLE_KEY:
		if (d->type == TYPE_ENCRYPTED && !b->key_len) {
			b->key_off = (size_t)(d->p - b->block);
			b->key_len = d->len;
		}
		return 0;
	case ROLE_DESCRIPTION:
		if (d->type == TYPE_TEXT)
			utf16_text(r, b->label, sizeof(b->label));
		return 0;
	case ROLE_MOVED:
		if (d->type == TYPE_MOVED && !b->header_size) {
			b->header_off = rd_u64(&r);
			b->header_size = rd_u64(&r);
		}
		return rd_ok(&r) ? 0
				 : fail(-EPROTO, "a data structure is cut "
						 "off");
	default:
		return 0;
	}
}

static bool apart(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
	return a + na <= b || b + nb <= a;
}

/* All regions whole sectors, inside, and none over another. */
static int check_map(struct source *s, const struct bitlocker *b)
{
	uint64_t ss = b->format.sector_size;
	uint64_t moved = b->header_size;
	bool good = moved % ss == 0 && b->header_off % ss == 0 &&
		    in_source(s, b->header_off, moved) &&
		    apart(0, moved, b->header_off, moved);

	for (int i = 0; i < BITLOCKER_COPIES && good; i++) {
		uint64_t c = b->copies[i];

		good = c % ss == 0 && in_source(s, c, BLOCK_SIZE) &&
		       apart(c, BLOCK_SIZE, 0, moved) &&
		       apart(c, BLOCK_SIZE, b->header_off, moved);
		for (int k = 0; k < i && good; k++)
			good = apart(c, BLOCK_SIZE, b->copies[k], BLOCK_SIZE);
	}
	return good ? 0
		    : fail(-EPROTO, "the parts of its BitLocker metadata "
				    "lie wrong");
}

static int read_block(struct source *s, struct bitlocker *b)
{
	struct rd r = rd_over(b->block, b->valid);
	uint16_t now, next, method;
	uint32_t moved, size;
	uint64_t moved_to;
	struct structure d;
	uint8_t guid[16];
	int n;

	rd_skip(&r, 12);
	now = rd_u16(&r);
	next = rd_u16(&r);
	b->size = rd_u64(&r);
	rd_skip(&r, 4);
	moved = rd_u32(&r);
	for (int i = 0; i < BITLOCKER_COPIES; i++)
		b->copies[i] = rd_u64(&r);
	moved_to = rd_u64(&r);
	size = rd_u32(&r);
	rd_skip(&r, 12);
	rd_bytes(&r, guid, sizeof(guid));
	rd_skip(&r, 4);
	method = rd_u16(&r);
	rd_skip(&r, 10);
	guid_text(guid, b->id);
	if (size < DATA_AT - 64 || size > b->valid - 64)
		return fail(-EPROTO, "its BitLocker metadata pass their end");
	r.left = size - (DATA_AT - 64);
	while ((n = next_structure(&r, &d)) > 0) {
		n = add_structure(&d, b);
		if (n < 0)
			return n;
	}
	if (n < 0)
		return n;
	n = check_state(now, next);
	if (n == 0)
		n = read_method(method, b);
	if (n < 0)
		return n;
	/* The sector size itself has no checksum. This is what it can be held
	 * against. */
	if (b->header_size == 0 || b->header_off != moved_to ||
	    b->header_size != (uint64_t)moved * b->format.sector_size)
		return fail(-EPROTO,
			    "its sector size (%" PRIu32 ") does not agree with "
			    "its BitLocker metadata",
			    b->format.sector_size);
	if (!b->key_len)
		return fail(-EPROTO, "its BitLocker metadata have no volume "
				     "key");
	b->size = min_u64(b->size, source_size(s));
	b->size -= b->size % b->format.sector_size;
	return check_map(s, b);
}

/* What sector 0 says. offsets: of the copies. */
static int read_boot(const uint8_t boot[static SECTOR], struct bitlocker *b,
		     struct rd *offsets)
{
	static const uint8_t removable[8] = "MSWIN4.1";
	static const uint8_t code[3] = { 0xeb, 0x58, 0x90 };
	static const uint8_t code_vista[3] = { 0xeb, 0x52, 0x90 };
	struct rd r = rd_over(boot, SECTOR);
	bool on_write, known;
	size_t at = 160;
	uint16_t ss;

	if (memcmp(boot + 3, removable, sizeof(removable)) == 0)
		at = 424;
	on_write = memcmp(boot + at, guid_on_write, 16) == 0;
	known = memcmp(boot + at, guid_normal, 16) == 0 || on_write;
	/* Any FAT may say MSWIN4.1. */
	b->here = memcmp(boot + 3, signature, sizeof(signature)) == 0 ||
		  (at == 424 && known);
	if (!b->here)
		return 0;
	if (memcmp(boot, code_vista, sizeof(code_vista)) == 0)
		return fail(-ENOTSUP, "BitLocker as in Windows Vista cannot be "
				      "opened here");
	if (on_write)
		return fail(-ENOTSUP,
			    "BitLocker was encrypting or decrypting it when it "
			    "was backed up (encrypt-on-write): let Windows "
			    "finish on a restored copy");
	if (!known || memcmp(boot, code, sizeof(code)) != 0)
		return fail(-ENOTSUP, "it is a BitLocker volume of a kind that "
				      "is not known");
	rd_skip(&r, 11);
	ss = rd_u16(&r);
	if (ss != 0 && ss != 512 && ss != 4096)
		return fail(-EPROTO, "BitLocker with sectors of %u bytes", ss);
	b->format.sector_size = ss ? ss : 512;
	*offsets = rd_over(boot + at + 16, 24);
	return 0;
}

int bitlocker_read(struct source *s, struct bitlocker *out)
{
	struct rd offsets = rd_over(NULL, 0);
	uint8_t boot[SECTOR];
	int r;

	memset(out, 0, sizeof(*out));
	if (source_size(s) < sizeof(boot))
		return 0;
	r = source_read(s, boot, sizeof(boot), 0);
	if (r < 0)
		return r;
	r = read_boot(boot, out, &offsets);
	if (r < 0 || !out->here)
		return r;
	r = find_copy(s, offsets, out);
	return r < 0 ? r : read_block(s, out);
}

void bitlocker_release(struct bitlocker *b)
{
	if (!b)
		return;
	/* A clear key may be in it. */
	if (b->block)
		explicit_bzero(b->block, BLOCK_SIZE);
	free(b->block);
	b->block = NULL;
}

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
	struct structure d;
	struct rd inside;
	int r = ccm_open(key, p, len, &all);

	if (r < 0)
		return r;
	inside = rd_over(secret_bytes(all), secret_size(all));
	r = next_structure(&inside, &d);
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
	struct structure d, key, volume;

	memset(out, 0, sizeof(*out));
	rd_skip(&r, 16);
	if (!rd_ok(&r) || !guid || size != n || copy != size || version != 1 ||
	    head != 48 || find_structure(r, TYPE_EXTERNAL, &d) < 0 ||
	    d.len < 24)
		return no_bek();
	r = rd_over(d.p + 24, d.len - 24);
	if (find_structure(r, TYPE_KEY, &key) < 0 || key.len != 4 + HASH)
		return no_bek();
	guid_text(guid, out->id);
	out->key = key.p + 4;
	if (find_structure(r, TYPE_VOLUME_ID, &volume) == 0 && volume.len == 16)
		guid_text(volume.p, out->volume);
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
	struct structure d, found = { 0 };
	struct rd r = inside(b, p);
	int n;

	while ((n = next_structure(&r, &d)) > 0)
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
	struct structure d;
	int r = find_structure(inside(b, p), TYPE_STRETCH, &d);

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
	struct structure d;
	int r = find_structure(inside(b, p), TYPE_KEY, &d);

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
	struct rd r = rd_over(b->block + b->valid, BLOCK_SIZE - b->valid);
	DROP(secret) struct secret *hash = NULL;
	struct structure d;
	int e;

	rd_skip(&r, 8);
	e = next_structure(&r, &d);
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

/* --- the map --- */

#define REGIONS (BITLOCKER_COPIES + 1)

struct bitlocker_source {
	struct source base;
	struct source *clear; /* the whole device, decrypted in place */
	uint64_t header_off;
	uint64_t header_size;
	struct region {
		uint64_t off;
		uint64_t len;
	} zeros[REGIONS];
};

static const struct source_ops bitlocker_ops;

/* A run that is all of one kind, from off on. */
struct run {
	uint64_t len;
	uint64_t at; /* on clear */
	bool zero;
};

static struct run run_at(const struct bitlocker_source *s, uint64_t off)
{
	struct run run = { .len = s->base.size - off, .at = off };

	if (off < s->header_size) {
		run.len = min_u64(run.len, s->header_size - off);
		run.at = s->header_off + off;
		return run;
	}
	for (size_t i = 0; i < REGIONS; i++) {
		uint64_t start = s->zeros[i].off;
		uint64_t end = start + s->zeros[i].len;

		if (off >= start && off < end) {
			run.zero = true;
			run.len = min_u64(s->base.size, end) - off;
			return run;
		}
		if (start > off)
			run.len = min_u64(run.len, start - off);
	}
	return run;
}

static int bitlocker_read_at(struct source *src, void *buf, size_t len,
			     uint64_t off)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);
	uint8_t *p = buf;

	while (len) {
		struct run run = run_at(s, off);
		size_t n = min_u64(len, run.len);
		int r = 0;

		if (run.zero)
			memset(p, 0, n);
		else
			r = source_read(s->clear, p, n, run.at);
		if (r < 0)
			return r;
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* Ciphertext has no holes, whatever lies under it. */
static int bitlocker_extent(struct source *src, uint64_t off, uint64_t max,
			    struct extent *out)
{
	struct run run =
		run_at(container_of(src, struct bitlocker_source, base), off);

	*out = (struct extent){ .length = run.len, .hole = run.zero };
	return 0;
}

static void bitlocker_prefetch(struct source *src, uint64_t off, uint64_t len)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);

	while (len) {
		struct run run = run_at(s, off);
		uint64_t n = min_u64(len, run.len);

		if (!run.zero)
			source_prefetch(s->clear, run.at, n);
		off += n;
		len -= n;
	}
}

static void bitlocker_close(struct source *src)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);

	source_close(s->clear);
	free(s);
}

int bitlocker_map(struct source *data, const struct bitlocker *b,
		  struct secret *volume_key, struct source **ret)
{
	DROP(source) struct source *clear = NULL;
	struct bitlocker_source *s;
	int r = sector_open(data, &b->format, volume_key, &clear);

	if (r < 0)
		return r;
	if (source_size(clear) < b->size)
		return fail(-EPROTO, "the volume is larger than its device");
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	source_init(&s->base, &bitlocker_ops, b->size);
	s->clear = take(clear);
	s->header_off = b->header_off;
	s->header_size = b->header_size;
	for (int i = 0; i < BITLOCKER_COPIES; i++) {
		s->zeros[i].off = b->copies[i];
		s->zeros[i].len = BLOCK_SIZE;
	}
	s->zeros[BITLOCKER_COPIES].off = b->header_off;
	s->zeros[BITLOCKER_COPIES].len = b->header_size;
	*ret = &s->base;
	return 0;
}

static const struct source_ops bitlocker_ops = {
	.name = "bitlocker",
	.read = bitlocker_read_at,
	.extent = bitlocker_extent,
	.prefetch = bitlocker_prefetch,
	.close = bitlocker_close,
};
