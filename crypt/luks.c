// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * LUKS1, numbers big endian, in the first 592 bytes:
 *
 *	  0   6  "LUKS\xba\xbe"		  8  32  cipher ("aes")
 *	  6   2  version 1		 40  32  mode ("xts-plain64")
 *	104   4  data, in sectors of 512	 72  32  hash
 *	108   4  bytes of the volume key	112  52  digest of the volume key
 *	168  40  UUID			164   4  its iterations
 *	208  8 slots of 48: active 4, iterations 4, salt 32, material in sectors
 *	     4, stripes 4
 *
 * LUKS2: a header of 4096 bytes, JSON behind it, twice; the second copy starts
 * where the first ends.
 *
 *	  0   6  "LUKS\xba\xbe" or "SKUL\xba\xbe"	168  40  UUID
 *	  6   2  version 2				256   8  its own offset
 *	  8   8  bytes, with the JSON			448  64  checksum of them,
 *	 16   8  sequence number				 these 64 being 0
 *	 24  48  label					512      zeros
 *	 72  32  checksum's algorithm			4096     JSON
 */
#include "crypt/luks.h"

#include <errno.h>
#include <inttypes.h>
#include <libcryptsetup.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"
#include "backend/base/json.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/guest/window.h"

#define MAGIC_SIZE 6
#define MAGIC "LUKS\xba\xbe"
#define MAGIC_2 "SKUL\xba\xbe"
#define AT_VERSION 6
#define AT_UUID 168
#define UUID_SIZE 40
#define SECTOR 512

#define LUKS1_SIZE 592
#define LUKS1_SLOTS 8
#define LUKS1_STRIPES 4000
#define LUKS1_ACTIVE 0x00ac71f3u

#define LUKS2_BINARY 4096
#define LUKS2_MIN 0x4000
#define LUKS2_MAX 0x400000
#define LUKS2_CHECKSUM_AT 448
#define LUKS2_CHECKSUM_SIZE 64

/* Of one key slot's material: 4000 stripes of a key of 64 bytes are 256000. */
#define MATERIAL_MAX (UINT64_C(2) << 20)
/* What deriving a key may cost: about a minute. A header is input. */
#define PBKDF2_MAX (UINT64_C(1) << 28)
#define ARGON2_MAX (UINT64_C(1) << 28) /* KiB times passes */

static uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* A field that is filled up with NULs. */
static void get_text(char *out, const uint8_t *p, size_t n)
{
	memcpy(out, p, n);
	out[n] = '\0';
	printable(out);
}

static void add_area(struct luks *l, uint64_t off, uint64_t len)
{
	l->areas[l->nareas++] = (struct luks_area){ off, len };
}

static int set_cipher(struct luks *l)
{
	if (sector_mode_parse(l->cipher, &l->format.mode) < 0 ||
	    l->format.mode == SECTOR_CBC_EBOIV ||
	    l->format.mode == SECTOR_CBC_ELEPHANT)
		return fail(-ENOTSUP, "cipher %s cannot be opened here",
			    l->cipher);
	if (l->key_size && !sector_key_fits(l->format.mode, l->key_size))
		return fail(-ENOTSUP,
			    "cipher %s with a key of %zu bits cannot be opened "
			    "here",
			    l->cipher, l->key_size * 8);
	return 0;
}

/* --- LUKS1 --- */

static int read_slot1(const uint8_t *slot, uint64_t size, struct luks *l)
{
	uint64_t iterations = get(slot + 4, 4);
	uint64_t off = get(slot + 40, 4) * SECTOR;
	uint64_t len = get(slot + 44, 4) * l->key_size;

	if (get(slot, 4) != LUKS1_ACTIVE)
		return 0;
	if (get(slot + 44, 4) != LUKS1_STRIPES || off < LUKS1_SIZE ||
	    off > size || len > size - off ||
	    (l->data_offset && off + len > l->data_offset))
		return fail(-EPROTO, "LUKS1 header: a key slot lies wrong");
	if (iterations > PBKDF2_MAX)
		return fail(-ENOTSUP,
			    "a key slot wants %" PRIu64
			    " iterations, too many to be meant",
			    iterations);
	add_area(l, off, len);
	return 0;
}

static int read_luks1(struct source *s, struct luks *l)
{
	uint64_t size = source_size(s);
	uint8_t h[LUKS1_SIZE];
	char name[33], mode[33];
	int r;

	if (size < sizeof(h))
		return fail(-EPROTO, "LUKS1 header: cut off");
	r = source_read(s, h, sizeof(h), 0);
	if (r < 0)
		return r;
	sha256(h, sizeof(h), &l->digest);
	get_text(l->uuid, h + AT_UUID, UUID_SIZE);
	get_text(name, h + 8, 32);
	get_text(mode, h + 40, 32);
	snprintf(l->cipher, sizeof(l->cipher), "%.31s-%.31s", name, mode);
	l->data_offset = get(h + 104, 4) * SECTOR;
	l->key_size = get(h + 108, 4);
	l->format.sector_size = SECTOR;
	l->format.iv_unit = SECTOR;
	r = set_cipher(l);
	if (r < 0)
		return r;
	if (get(h + 164, 4) > PBKDF2_MAX)
		return fail(-ENOTSUP,
			    "its digest wants %" PRIu64
			    " iterations, too many to be meant",
			    get(h + 164, 4));
	add_area(l, 0, min_u64(size, LUKS2_BINARY));
	for (int i = 0; i < LUKS1_SLOTS && r == 0; i++)
		r = read_slot1(h + 208 + 48 * i, size, l);
	return r;
}

/* --- LUKS2: the binary header --- */

static bool header_size_valid(uint64_t n)
{
	return n >= LUKS2_MIN && n <= LUKS2_MAX && (n & (n - 1)) == 0;
}

/* The checksum over all of it. Changes h in its course, and back. */
static int checksum_matches(uint8_t *h, size_t size, bool *ret)
{
	uint8_t stored[LUKS2_CHECKSUM_SIZE], computed[EVP_MAX_MD_SIZE];
	char name[33];
	unsigned n = 0;
	EVP_MD *md;

	*ret = false;
	get_text(name, h + 72, 32);
	md = EVP_MD_fetch(NULL, name, NULL);
	if (!md)
		return 0;
	memcpy(stored, h + LUKS2_CHECKSUM_AT, sizeof(stored));
	memset(h + LUKS2_CHECKSUM_AT, 0, sizeof(stored));
	if (EVP_Digest(h, size, computed, &n, md, NULL) == 1)
		*ret = n <= sizeof(stored) && n >= 20 &&
		       memcmp(stored, computed, n) == 0;
	memcpy(h + LUKS2_CHECKSUM_AT, stored, sizeof(stored));
	EVP_MD_free(md);
	return n ? 0 : fail(-ENOMEM, "no memory for a checksum");
}

/*
 * The header at off, with its JSON, if there is a whole one: else *ret is NULL.
 * size 0: as it says itself.
 */
static int read_copy(struct source *s, uint64_t off, const char *magic,
		     uint64_t size, uint8_t **ret)
{
	uint64_t end = source_size(s);
	DROP(mem) uint8_t *h = NULL;
	uint8_t head[SECTOR];
	bool good;
	int r;

	*ret = NULL;
	if (off > end || end - off < sizeof(head))
		return 0;
	r = source_read(s, head, sizeof(head), off);
	if (r < 0)
		return r;
	if (size == 0)
		size = get(head + 8, 8);
	if (memcmp(head, magic, MAGIC_SIZE) != 0 ||
	    get(head + AT_VERSION, 2) != 2 || get(head + 8, 8) != size ||
	    get(head + 256, 8) != off || !header_size_valid(size) ||
	    size > end - off)
		return 0;
	h = malloc(size);
	if (!h)
		return fail(-ENOMEM, "out of memory");
	r = source_read(s, h, size, off);
	if (r < 0)
		return r;
	r = checksum_matches(h, size, &good);
	if (r == 0 && good)
		*ret = take(h);
	return r;
}

/*
 * A second copy without a first one may be what is left of an earlier volume,
 * under something else. It counts where the first one's place holds nothing else:
 * a header that is damaged, also in its magic, or zeros.
 */
static int nothing_else(struct source *s, uint64_t size, bool *ret)
{
	DROP(mem) uint8_t *h = malloc(size);
	int r;

	if (!h)
		return fail(-ENOMEM, "out of memory");
	r = source_read(s, h, size, 0);
	if (r < 0)
		return r;
	*ret = memcmp(h, MAGIC, MAGIC_SIZE) == 0 || is_zero(h, size);
	if (*ret)
		return 0;
	memcpy(h, MAGIC, MAGIC_SIZE);
	return checksum_matches(h, size, ret);
}

/* The same, of the first bytes only: most volumes are looked at no further. */
static int worth_a_search(struct source *s, const uint8_t head[static SECTOR],
			  bool *ret)
{
	uint8_t start[LUKS2_BINARY];
	int r = 0;

	*ret = memcmp(head, MAGIC, MAGIC_SIZE) == 0 ||
	       (head[AT_UUID + 8] == '-' && head[AT_UUID + 13] == '-');
	if (!*ret && is_zero(head, SECTOR) && source_size(s) >= LUKS2_MIN) {
		r = source_read(s, start, sizeof(start), 0);
		*ret = r == 0 && is_zero(start, sizeof(start));
	}
	return r;
}

static int read_second(struct source *s, const uint8_t head[static SECTOR],
		       const uint8_t *first, uint8_t **ret)
{
	DROP(mem) uint8_t *found = NULL;
	bool good;
	int r;

	*ret = NULL;
	if (first) {
		uint64_t size = get(first + 8, 8);

		return read_copy(s, size, MAGIC_2, size, ret);
	}
	r = worth_a_search(s, head, &good);
	if (r < 0 || !good)
		return r;
	for (uint64_t n = LUKS2_MIN; n <= LUKS2_MAX && !found; n *= 2) {
		r = read_copy(s, n, MAGIC_2, n, &found);
		if (r == 0 && found)
			r = nothing_else(s, n, &good);
		if (r < 0)
			return r;
	}
	if (found && good)
		*ret = take(found);
	return 0;
}

/* --- LUKS2: the JSON --- */

static int malformed(const char *what)
{
	return fail(-EPROTO, "LUKS2 metadata: %s", what);
}

/* 64-bit numbers are strings there. */
static bool get_number(const struct json *obj, const char *key, uint64_t *out)
{
	const char *s = json_get_str(obj, key);

	return s && parse_u64(s, out) == 0;
}

static int check_requirements(const struct json *j)
{
	const struct json *config = json_get(j, "config");
	const struct json *all =
		json_get(json_get(config, "requirements"), "mandatory");
	const char *name;

	if (json_get(config, "requirements") &&
	    !json_get(json_get(config, "requirements"), "mandatory"))
		return malformed("requirements are no list");
	if (json_len(all) == 0)
		return 0;
	name = json_as_str(json_at(all, 0));
	if (name && strncmp(name, "online-reencrypt", 16) == 0)
		return fail(-ENOTSUP,
			    "its encryption was under way when it was backed "
			    "up: restore the disk ('vaultctl restore'), then "
			    "run 'cryptsetup reencrypt --resume-only' on the "
			    "copy");
	return fail(-ENOTSUP, "it requires \"%.64s\", which is not known",
		    name ? name : "?");
}

static int check_segment(const struct json *segment, struct luks *l)
{
	const char *size = json_get_str(segment, "size");
	const char *type = json_get_str(segment, "type");
	const char *cipher = json_get_str(segment, "encryption");
	uint64_t tweak, sector_size;

	if (!type || !size)
		return malformed("its segment is incomplete");
	if (strcmp(type, "crypt") != 0)
		return fail(-ENOTSUP, "its segment is \"%.32s\", not encrypted",
			    type);
	if (json_get(segment, "integrity"))
		return fail(-ENOTSUP,
			    "its sectors carry integrity tags, which only the "
			    "kernel reads (dm-integrity)");
	if (!cipher || !get_number(segment, "offset", &l->data_offset) ||
	    !get_number(segment, "iv_tweak", &tweak) ||
	    !json_get_u64(segment, "sector_size", &sector_size) ||
	    l->data_offset % SECTOR || l->data_offset > INT64_MAX / 2)
		return malformed("its segment is incomplete");
	if (strcmp(size, "dynamic") == 0)
		l->data_size = 0;
	else if (parse_u64(size, &l->data_size) < 0 || l->data_size == 0)
		return malformed("its segment's size is none");
	/* No version of cryptsetup writes one for a single segment, or heeds
	 * it there. */
	if (tweak != 0 || json_len(json_get(segment, "flags")))
		return fail(-ENOTSUP, "its segment has marks that are not "
				      "known");
	if (sector_size < SECTOR || sector_size > SECTOR_SIZE_MAX ||
	    (sector_size & (sector_size - 1)) || l->data_size % sector_size)
		return malformed("its sector size is none");
	snprintf(l->cipher, sizeof(l->cipher), "%s", cipher);
	printable(l->cipher);
	l->format.sector_size = (uint32_t)sector_size;
	l->format.iv_unit = SECTOR; /* whatever the sector size */
	return 0;
}

static int check_kdf(const struct json *kdf)
{
	const char *type = json_get_str(kdf, "type");
	uint64_t n = 0, memory = 1, max = PBKDF2_MAX;
	bool found;

	if (!type)
		return malformed("a key slot has no derivation");
	if (strcmp(type, "pbkdf2") == 0) {
		found = json_get_u64(kdf, "iterations", &n);
	} else {
		found = json_get_u64(kdf, "time", &n) &&
			json_get_u64(kdf, "memory", &memory);
		max = ARGON2_MAX;
	}
	if (!found || n == 0 || memory == 0)
		return malformed("a key slot has no derivation");
	if (n > max / memory)
		return fail(-ENOTSUP, "a key slot asks for more computation "
				      "than can be meant");
	return 0;
}

static int check_slot(const struct json *slot, uint64_t end, struct luks *l)
{
	const char *type = json_get_str(slot, "type");
	const struct json *area = json_get(slot, "area");
	uint64_t off, len;
	int r;

	/* Others are for re-encryption, which is refused elsewhere. */
	if (!type || strcmp(type, "luks2") != 0)
		return 0;
	if (!get_number(area, "offset", &off) ||
	    !get_number(area, "size", &len) || off > end || len > end - off ||
	    len > MATERIAL_MAX)
		return malformed("a key slot lies wrong");
	r = check_kdf(json_get(slot, "kdf"));
	if (r == 0)
		add_area(l, off, len);
	return r;
}

static int check_slots(const struct json *j, uint64_t end, struct luks *l)
{
	const struct json *slots = json_get(j, "keyslots");
	const char *key;
	int r = 0;

	for (size_t i = 0; r == 0 && (key = json_key_at(slots, i)); i++) {
		if (i == LUKS_SLOTS_MAX)
			return malformed("too many key slots");
		r = check_slot(json_get(slots, key), end, l);
	}
	return r;
}

static bool list_has(const struct json *list, const char *name)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const char *s = json_as_str(json_at(list, i));

		if (s && strcmp(s, name) == 0)
			return true;
	}
	return false;
}

/* The size of the key that the segment's digest is of. */
static int check_digests(const struct json *j, const char *segment,
			 struct luks *l)
{
	const struct json *digests = json_get(j, "digests");
	const struct json *slots = json_get(j, "keyslots");
	const char *key, *slot;
	uint64_t n;

	for (size_t i = 0; (key = json_key_at(digests, i)); i++) {
		const struct json *d = json_get(digests, key);

		if (json_get_u64(d, "iterations", &n) && n > PBKDF2_MAX)
			return fail(-ENOTSUP, "a digest asks for more "
					      "computation than can be meant");
		if (!list_has(json_get(d, "segments"), segment))
			continue;
		for (size_t k = 0; (slot = json_key_at(slots, k)); k++)
			if (list_has(json_get(d, "keyslots"), slot) &&
			    json_get_u64(json_get(slots, slot), "key_size",
					 &n) &&
			    n <= 512)
				l->key_size = n;
	}
	return 0;
}

static void find_tokens(const struct json *j, struct luks *l)
{
	const struct json *tokens = json_get(j, "tokens");
	const char *key;

	for (size_t i = 0; (key = json_key_at(tokens, i)); i++) {
		const char *type = json_get_str(json_get(tokens, key), "type");

		if (type && strncmp(type, "Azure_Disk_Encryption", 21) == 0)
			l->confidential = true;
	}
}

static int check_metadata(const struct json *j, uint64_t end, struct luks *l)
{
	const struct json *segments = json_get(j, "segments");
	const char *name = json_key_at(segments, 0);
	int r;

	find_tokens(j, l);
	r = check_requirements(j);
	if (r < 0)
		return r;
	if (!name)
		return malformed("no segment");
	if (json_key_at(segments, 1))
		return fail(-ENOTSUP, "it has several segments");
	r = check_segment(json_get(segments, name), l);
	if (r == 0)
		r = check_digests(j, name, l);
	if (r == 0)
		r = set_cipher(l);
	if (r == 0)
		r = check_slots(j, end, l);
	return r;
}

/* h: the better of the copies. */
static int read_metadata(struct source *s, const uint8_t *h, struct luks *l)
{
	uint64_t size = get(h + 8, 8);
	const char *text = (const char *)h + LUKS2_BINARY;
	DROP(json) struct json *j = NULL;
	uint64_t both = min_u64(2 * size, source_size(s));
	int r;

	sha256(h, size, &l->digest);
	get_text(l->uuid, h + AT_UUID, UUID_SIZE);
	get_text(l->label, h + 24, 48);
	add_area(l, 0, both);
	r = json_parse(text, strnlen(text, size - LUKS2_BINARY), 16, &j);
	if (r == -EPROTO)
		return blame(r, "LUKS2 metadata");
	if (r < 0)
		return r;
	return check_metadata(j, source_size(s), l);
}

static int read_luks2(struct source *s, const uint8_t head[static SECTOR],
		      struct luks *l)
{
	DROP(mem) uint8_t *first = NULL;
	DROP(mem) uint8_t *second = NULL;
	int r = read_copy(s, 0, MAGIC, 0, &first);

	if (r == 0)
		r = read_second(s, head, first, &second);
	if (r < 0)
		return r;
	if (!first && !second) {
		if (memcmp(head, MAGIC, MAGIC_SIZE) != 0)
			return 0;
		l->version = 2;
		return fail(-EBADMSG,
			    "neither copy of its LUKS2 header is whole");
	}
	l->version = 2;
	/* As libcryptsetup chooses. */
	if (!first || (second && get(second + 16, 8) > get(first + 16, 8)))
		return read_metadata(s, second, l);
	return read_metadata(s, first, l);
}

int luks_read(struct source *s, struct luks *out)
{
	uint8_t head[SECTOR];
	uint64_t version;
	int r;

	memset(out, 0, sizeof(*out));
	if (source_size(s) < sizeof(head))
		return 0;
	r = source_read(s, head, sizeof(head), 0);
	if (r < 0)
		return r;
	version = get(head + AT_VERSION, 2);
	if (memcmp(head, MAGIC, MAGIC_SIZE) != 0 || version == 2)
		return read_luks2(s, head, out);
	if (version == 1) {
		out->version = 1;
		return read_luks1(s, out);
	}
	/* A damaged version's second copy tells. */
	r = read_luks2(s, head, out);
	if (r == -EBADMSG)
		return fail(r, "LUKS version %" PRIu64 " is not known",
			    version);
	return r;
}

/* --- the volume key --- */

/* libcryptsetup's state is global, and Argon2 may take all there is. */
static pthread_mutex_t unlocking = PTHREAD_MUTEX_INITIALIZER;

static void log_line(int level, const char *text, void *ctx)
{
	log_debug("libcryptsetup: %s", text);
}

DROP_DEFINE(crypt, struct crypt_device *, crypt_free)

/* A file in memory with the metadata, and holes where the rest is. */
static int copy_metadata(struct source *s, const struct luks *l, int *ret)
{
	DROP(fd) int fd = memfd_create("luks", MFD_CLOEXEC);
	/* The area of key slots, which it checks the size against, has at most
	 * 128 MiB. */
	uint64_t end = l->data_offset + 2 * LUKS2_MAX + (128 << 20);
	int r;

	if (fd < 0)
		return fail_errno(errno, "memory for a header");
	for (size_t i = 0; i < l->nareas; i++) {
		end = max_u64(end, l->areas[i].off + l->areas[i].len);
		r = window_copy(s, fd, l->areas[i].off, l->areas[i].len);
		if (r < 0)
			return r;
	}
	if (end > INT64_MAX || ftruncate(fd, (off_t)end) < 0)
		return fail(-EPROTO, "its data start too far in");
	*ret = take_fd(&fd);
	return 0;
}

/* That libcryptsetup has read from it what we have. */
static bool agrees(struct crypt_device *cd, const struct luks *l)
{
	const char *name = crypt_get_cipher(cd);
	const char *mode = crypt_get_cipher_mode(cd);
	const char *uuid = crypt_get_uuid(cd);
	uint32_t flags = 0;
	char cipher[80];

	if (!name || !mode || !uuid)
		return false;
	snprintf(cipher, sizeof(cipher), "%s-%s", name, mode);
	if (l->version == 2 &&
	    (crypt_persistent_flags_get(cd, CRYPT_FLAGS_REQUIREMENTS, &flags) ||
	     flags || crypt_reencrypt_status(cd, NULL) != CRYPT_REENCRYPT_NONE))
		return false;
	return strcmp(cipher, l->cipher) == 0 && strcmp(uuid, l->uuid) == 0 &&
	       crypt_get_data_offset(cd) == l->data_offset / SECTOR &&
	       (uint32_t)crypt_get_sector_size(cd) == l->format.sector_size;
}

static int key_failed(int r)
{
	switch (r) {
	case -EPERM:
	case -ENOENT:
		return fail(-ENOKEY, "the key does not open it");
	case -ENOMEM:
		return fail(-ENOMEM, "there is not enough memory to derive its "
				     "key (Argon2 often takes 1 GiB)");
	case -EINVAL:
		return fail(-EPROTO, "its key slots are damaged");
	default:
		return fail(-ENOTSUP,
			    "its key slots cannot be opened in userspace "
			    "(error %d of libcryptsetup)",
			    -r);
	}
}

static int get_key(struct crypt_device *cd, const struct luks *l,
		   struct secret *passphrase, struct secret **ret)
{
	DROP(secret) struct secret *key = NULL;
	int n = crypt_get_volume_key_size(cd);
	size_t size;
	int r;

	if (n <= 0 || !sector_key_fits(l->format.mode, (size_t)n))
		return fail(-ENOTSUP,
			    "cipher %s with a key of %d bytes cannot be opened "
			    "here",
			    l->cipher, n);
	r = secret_new((size_t)n, &key);
	if (r < 0)
		return r;
	size = (size_t)n;
	/* Any slot: only those of the data's own key are tried, and the key is
	 * checked against its digest. */
	r = crypt_volume_key_get(cd, CRYPT_ANY_SLOT, (char *)secret_bytes(key),
				 &size, (const char *)secret_bytes(passphrase),
				 secret_size(passphrase));
	if (r < 0)
		return key_failed(r);
	if (size != secret_size(key))
		return fail(-EPROTO, "its volume key has %zu bytes, not %d",
			    size, n);
	*ret = take(key);
	return 0;
}

/*
 * The metadata of s for libcryptsetup, in a file in memory, fd, that it may mend.
 * device: where the data are, NULL: nowhere. unlocking is held.
 */
static int load(int fd, const struct luks *l, const char *device,
		struct crypt_device **ret)
{
	DROP(crypt) struct crypt_device *cd = NULL;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	crypt_set_log_callback(NULL, log_line, NULL);
	/* Locks are files under /run, and nobody else knows this one. */
	crypt_metadata_locking(NULL, 0);
	r = crypt_init_data_device(&cd, path, device);
	if (r < 0)
		return fail_errno(-r, "libcryptsetup, on %s",
				  device ? device : path);
	r = crypt_load(cd, l->version == 1 ? CRYPT_LUKS1 : CRYPT_LUKS2, NULL);
	if (r == -ENOMEM)
		return fail(r, "out of memory");
	if (r < 0)
		return fail(-EPROTO,
			    "its header is damaged (error %d of "
			    "libcryptsetup)",
			    -r);
	if (!agrees(cd, l))
		return fail(-EPROTO, "its header can be read in two ways");
	*ret = take(cd);
	return 0;
}

struct key_wanted {
	struct crypt_device *cd;
	const struct luks *l;
	struct secret *passphrase, **ret;
};

static int run_get_key(void *ctx)
{
	struct key_wanted *x = ctx;

	return get_key(x->cd, x->l, x->passphrase, x->ret);
}

int luks_unlock(struct source *s, const struct luks *l,
		struct secret *passphrase, struct secret **ret)
{
	DROP(fd) int fd = -1;
	int r = copy_metadata(s, l, &fd);

	if (r < 0)
		return r;

	DROP(lock) pthread_mutex_t *held = lock(&unlocking);
	DROP(crypt) struct crypt_device *cd = NULL;

	r = load(fd, l, NULL, &cd);
	if (r < 0)
		return r;

	/* Derived keys pass through its frames, and OpenSSL's memory. */
	struct key_wanted x = { cd, l, passphrase, ret };

	return arena_run(run_get_key, &x);
}

/* --- the kernel --- */

int luks_activate(struct source *s, const struct luks *l,
		  struct secret *volume_key, const char *device,
		  const char *name, bool readonly)
{
	/* By the kernel's keyring where libcryptsetup does that, so that the key
	 * is in no table. */
	uint32_t flags = CRYPT_ACTIVATE_PRIVATE |
			 (l->version == 2 ? CRYPT_ACTIVATE_KEYRING_KEY : 0) |
			 (readonly ? CRYPT_ACTIVATE_READONLY : 0);
	DROP(fd) int fd = -1;
	int r = copy_metadata(s, l, &fd);

	if (r < 0)
		return r;

	DROP(lock) pthread_mutex_t *held = lock(&unlocking);
	DROP(crypt) struct crypt_device *cd = NULL;

	r = load(fd, l, device, &cd);
	if (r < 0)
		return r;
	r = crypt_activate_by_volume_key(cd, name,
					 (const char *)secret_bytes(volume_key),
					 secret_size(volume_key), flags);
	if (r == -EPERM)
		return fail(-ENOKEY, "the volume key is of other metadata");
	if (r < 0)
		return fail_errno(-r,
				  "/dev/mapper/%s: dm-crypt does not take it "
				  "(is the kernel's module 'dm-crypt' there, "
				  "and its cipher %s?)",
				  name, l->cipher);
	return 0;
}

/* --- the data --- */

int luks_map(struct source *data, const struct luks *l, bool detached,
	     struct secret *volume_key, struct source **ret)
{
	DROP(source) struct source *owned = data;
	uint64_t size = source_size(data);
	int r;

	if (!detached && l->data_offset == 0)
		return fail(-EPROTO, "its header is for the data of another "
				     "device (a detached one)");
	if (l->data_offset > size || l->data_size > size - l->data_offset)
		return fail(
			-EPROTO,
			"its data, %" PRIu64 " bytes at %" PRIu64
			", pass the end of the device, which is at %" PRIu64,
			l->data_size, l->data_offset, size);
	size = l->data_size ? l->data_size : size - l->data_offset;
	r = source_open_slice(take(owned), l->data_offset, size, &owned);
	if (r < 0)
		return r;
	return sector_open(take(owned), &l->format, volume_key, ret);
}
