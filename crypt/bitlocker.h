// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * bitlocker: BitLocker volumes (Windows 7 and later): the metadata, the volume key
 * by one of its protectors, the data by sector.h.
 *
 * The format was never published. What is here follows libbde's "BitLocker Drive
 * Encryption (BDE) format specification" (J. Metz), the public headers of
 * cryptsetup's lib/bitlk, and volumes made by Windows.
 *
 * Not by libcryptsetup: version 2.6 of it reads the first copy of the metadata
 * only and checks nothing, has no clear keys and no passwords beyond ASCII, and
 * never tells the sector size, the state or the map, so that all of the parsing
 * would be here in any case, and two ways to the key to keep in step. The
 * unwrapping itself is SHA-256 and AES-CCM, both OpenSSL's. The tests compare its
 * keys with libcryptsetup's.
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/secret.h"
#include "backend/source/source.h"
#include "crypt/sector.h"

#define BITLOCKER_COPIES 3
#define BITLOCKER_PROTECTORS_MAX 32
#define GUID_TEXT_SIZE 37

enum bitlocker_protector_type {
	PROTECTOR_CLEAR = 0x0000, /* the volume is suspended: anyone may */
	PROTECTOR_TPM = 0x0100,
	PROTECTOR_EXTERNAL = 0x0200, /* a .BEK file */
	PROTECTOR_TPM_PIN = 0x0500,
	PROTECTOR_RECOVERY = 0x0800,
	PROTECTOR_PUBLIC_KEY = 0x1000,
	PROTECTOR_PASSWORD = 0x2000,
};

struct bitlocker_protector {
	uint16_t type;
	/* Lower case. That of a .BEK file is in its name. */
	char id[GUID_TEXT_SIZE];
	/* Its data structures, within block. */
	size_t off;
	size_t len;
};

/* The metadata. What is found before something is wrong is filled in all the same. */
struct bitlocker {
	bool here; /* else: no such volume */
	char id[GUID_TEXT_SIZE];
	char label[256]; /* usually computer, drive and date */
	uint16_t method;
	size_t key_size; /* of the volume key */
	struct sector_format format;
	uint64_t size; /* of the clear volume */
	/* The first header_size bytes are kept at header_off. */
	uint64_t header_off;
	uint64_t header_size;
	uint64_t copies[BITLOCKER_COPIES];
	bool suspended; /* there is a clear key */
	struct bitlocker_protector protectors[BITLOCKER_PROTECTORS_MAX];
	size_t nprotectors;
	/* Of the block below: equal digest, equal volume key and map. */
	struct digest digest;

	uint8_t *block; /* the good copy */
	size_t valid;	/* bytes of it that its checksum covers */
	size_t key_off; /* the volume key's structure, within it */
	size_t key_len;
};

/*
 * 0 (also where there is none: !here), or, with here set, -ENOTSUP for what must not
 * be opened here, -EPROTO or -EBADMSG for what is damaged; else the source's
 * failure. To be released in any case.
 */
int bitlocker_read(struct source *s, struct bitlocker *out) MUST_USE;
void bitlocker_release(struct bitlocker *b);

/*
 * The volume key. text: key is a password (UTF-8) or a recovery password (48 digits,
 * grouped in any way); else the content of a .BEK file. key NULL: by a clear key,
 * which is also tried when key is not the right one. -ENOKEY when none opens it;
 * -EBADMSG when one does, but shows that the metadata were changed. A password takes
 * a fifth of a second for each protector of its kind.
 */
int bitlocker_unlock(const struct bitlocker *b, struct secret *key, bool text,
		     struct secret **ret) MUST_USE;

/* The clear volume, whose metadata read as zeros, as in Windows. Owns data. */
int bitlocker_map(struct source *data, const struct bitlocker *b,
		  struct secret *volume_key, struct source **ret) MUST_USE;

/*
 * /dev/mapper/NAME: the same, by dm-crypt. device: the block device that data is.
 * Not through libcryptsetup, for the reasons above, and since its activation never
 * returns when a copy of the metadata is the last thing on the device; the table is
 * the one that it makes, and so may be the UUID. Needs root.
 */
int bitlocker_activate(const struct bitlocker *b, struct secret *volume_key,
		       const char *device, const char *name, const char *uuid,
		       bool readonly) MUST_USE;

static inline void drop_bitlocker(struct bitlocker *b)
{
	bitlocker_release(b);
}
