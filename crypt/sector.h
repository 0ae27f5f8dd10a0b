// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * sector: the clear bytes of a source whose sectors are encrypted one by one,
 * as dm-crypt and BitLocker do. AES by OpenSSL.
 *
 * Reads of any alignment, any number at once. A big one is read into the
 * caller's buffer and decrypted there. Nothing here is authenticated: whoever
 * opens a volume proves the key first (volume.h).
 *
 * Where the rules come from: for LUKS the kernel's documentation of dm-crypt
 * (Documentation/admin-guide/device-mapper/dm-crypt.rst) and IEEE 1619; for
 * BitLocker the library libbde's description of the format ("BitLocker Drive
 * Encryption (BDE) format specification") and N. Ferguson, "AES-CBC + Elephant
 * diffuser", Microsoft, 2006.
 */
#pragma once
#include "backend/base/secret.h"
#include "backend/source/source.h"

/*
 * n is the number that the IV is made from: format.iv_offset, plus the sector's
 * byte offset divided by format.iv_unit.
 */
enum sector_mode {
	/* Tweak: n in 64 bits, little endian. Key: 32 bytes (AES-128) or 64
	 * (AES-256), both halves. */
	SECTOR_XTS_PLAIN64,
	SECTOR_XTS_PLAIN, /* n cut to 32 bits */
	/* Key: 16, 24 or 32 bytes. */
	SECTOR_CBC_PLAIN64,
	SECTOR_CBC_PLAIN,
	SECTOR_CBC_ESSIV_SHA256, /* IV: n, encrypted with SHA-256 of the key */
	/* BitLocker. IV: n, encrypted with the key. */
	SECTOR_CBC_EBOIV,
	/* BitLocker before Windows 8: as EBOIV, and the diffuser. Key: that of
	 * CBC, 16 or 32 bytes, then as many for the sector keys. */
	SECTOR_CBC_ELEPHANT,
};

#define SECTOR_SIZE_MAX 4096

struct sector_format {
	enum sector_mode mode;
	uint32_t sector_size; /* 512, 1024, 2048 or 4096 */
	/* Bytes by which n grows by one. dm-crypt: 512 whatever the sector's
	 * size, or the sector's size with iv_large_sectors. BitLocker: the
	 * sector's size for XTS, 1 for CBC. */
	uint32_t iv_unit;
	uint64_t iv_offset; /* n of inner's first byte */
};

/* As cryptsetup writes it: "aes-xts-plain64". */
const char *sector_mode_name(enum sector_mode mode);
/* -EINVAL where there is none of that name. */
int sector_mode_parse(const char *name, enum sector_mode *out) MUST_USE;
/* Whether a key of so many bytes fits. */
bool sector_key_fits(enum sector_mode mode, size_t key_size);

/*
 * inner, from its first byte, decrypted. Its size is inner's, cut to whole sectors.
 * Copies key; owns inner, also on failure. -EINVAL for a format or key that is none.
 */
int sector_open(struct source *inner, const struct sector_format *format,
		struct secret *key, struct source **ret) MUST_USE;
