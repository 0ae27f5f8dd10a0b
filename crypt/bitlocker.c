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
 */
#include "crypt/bitlocker_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/rd.h"

#define DATA_AT 112 /* structures in the block */
#define SECTOR 512

#define ROLE_PROTECTOR 2
#define ROLE_KEY 3
#define ROLE_DESCRIPTION 7
#define ROLE_MOVED 15
#define STRUCTURE 8 /* header */

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

void bitlocker_guid(const uint8_t g[static 16], char out[GUID_TEXT_SIZE])
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

int bitlocker_next(struct rd *r, struct bitlocker_structure *out)
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

int bitlocker_find(struct rd r, uint16_t type, struct bitlocker_structure *out)
{
	int n;

	while ((n = bitlocker_next(&r, out)) > 0)
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

	if (off == 0 || !in_source(s, off, BITLOCKER_BLOCK_SIZE))
		return 0;
	p = malloc(BITLOCKER_BLOCK_SIZE);
	if (!p)
		return fail(-ENOMEM, "out of memory");
	e = source_read(s, p, BITLOCKER_BLOCK_SIZE, off);
	if (e < 0)
		return e;
	if (memcmp(p, signature, sizeof(signature)) != 0)
		return 0;
	r = rd_over(p, BITLOCKER_BLOCK_SIZE);
	rd_skip(&r, sizeof(signature));
	valid = rd_u16(&r) * (size_t)16;
	version = rd_u16(&r);
	if (version == 1)
		*vista = true;
	if (version != 2 || valid < DATA_AT || valid > BITLOCKER_BLOCK_SIZE - 8)
		return 0;
	rd_skip(&r, 20 + 8 * (size_t)which);
	if (rd_u64(&r) != off)
		return 0;
	r = rd_over(p + valid, BITLOCKER_BLOCK_SIZE - valid);
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

static int add_protector(const struct bitlocker_structure *d,
			 struct bitlocker *b)
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
	bitlocker_guid(guid, p->id);
	p->off = (size_t)(r.p - b->block);
	p->len = r.left;
	b->nprotectors++;
	if (p->type == PROTECTOR_CLEAR)
		b->suspended = true;
	return 0;
}

static int add_structure(const struct bitlocker_structure *d,
			 struct bitlocker *b)
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

		good = c % ss == 0 && in_source(s, c, BITLOCKER_BLOCK_SIZE) &&
		       apart(c, BITLOCKER_BLOCK_SIZE, 0, moved) &&
		       apart(c, BITLOCKER_BLOCK_SIZE, b->header_off, moved);
		for (int k = 0; k < i && good; k++)
			good = apart(c, BITLOCKER_BLOCK_SIZE, b->copies[k],
				     BITLOCKER_BLOCK_SIZE);
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
	struct bitlocker_structure d;
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
	bitlocker_guid(guid, b->id);
	if (size < DATA_AT - 64 || size > b->valid - 64)
		return fail(-EPROTO, "its BitLocker metadata pass their end");
	r.left = size - (DATA_AT - 64);
	while ((n = bitlocker_next(&r, &d)) > 0) {
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
		explicit_bzero(b->block, BITLOCKER_BLOCK_SIZE);
	free(b->block);
	b->block = NULL;
}
