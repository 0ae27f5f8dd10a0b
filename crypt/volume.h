// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * volume: an encrypted partition, logical volume or disk: what it is, and its clear
 * bytes. LUKS1, LUKS2, BitLocker.
 *
 * A volume that opens was opened by its own key: LUKS and BitLocker prove that.
 * Whether its clear bytes are what they should be (a file system, say) is for the
 * caller to look at, and needed where nothing else proves it: with a detached
 * header, which opens over any device, and with LUKS1, whose header has no
 * checksum.
 *
 * Any thread. Unlocking a LUKS volume waits for others that are being unlocked.
 */
#pragma once
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/secret.h"
#include "backend/source/source.h"

enum volume_type {
	VOLUME_CLEAR, /* no header that is known; may have a detached one */
	VOLUME_LUKS1,
	VOLUME_LUKS2,
	VOLUME_BITLOCKER,
};

enum volume_state {
	VOLUME_READY,	/* opens with its key */
	VOLUME_REFUSED, /* must not be opened, or cannot be here */
	VOLUME_DAMAGED,
};

#define VOLUME_KEY_IDS 4

struct volume_info {
	enum volume_type type;
	enum volume_state state;
	char reason[ERR_MAX]; /* a sentence; "" when ready */
	/* What is known; empty or 0 where that was not found. */
	char uuid[41];
	char label[256];
	char cipher[65]; /* "aes-xts-plain64" */
	unsigned key_bits;
	uint32_t sector_size;
	uint64_t data_offset; /* LUKS: where the data start, in bytes */
	uint64_t size;	      /* of the clear volume; 0: not known from here */
	/* BitLocker: key files that open it, by their protectors' GUIDs, as
	 * their names say (in lower case); and whether it is suspended, and opens
	 * with no key. */
	char key_ids[VOLUME_KEY_IDS][37];
	size_t nkey_ids;
	bool suspended;
	/* Azure: the key is one of a confidential VM, released only to it. */
	bool confidential;
	/* Of the metadata; two that are equal have the same volume key. */
	struct digest metadata;
};

enum key_kind {
	KEY_BEK,	/* a LUKS passphrase, or the content of a .BEK file */
	KEY_PASSPHRASE, /* a LUKS passphrase, a BitLocker password (UTF-8) or
			 * recovery password */
};

const char *volume_type_name(enum volume_type type);

/* Reads a few dozen KiB and derives no key. Fails only when the source does. A
 * detached header is probed as any source. */
int volume_probe(struct source *s, struct volume_info *out) MUST_USE;

/* A volume key, and the metadata that it belongs to; counted. */
struct volume_key;
struct volume_key *volume_key_ref(struct volume_key *k);
void volume_key_close(struct volume_key *k);

/*
 * The volume key of data, whose header is in source header if that is not NULL
 * (LUKS only). key is exactly the bytes (no newline is cut off) and may be NULL for
 * BitLocker, which then opens if it is suspended. Nothing is owned. May take seconds,
 * and memory (luks.h).
 *
 * -ENOKEY: the key is not its; -ENOTSUP, -EPROTO, -EBADMSG: as volume_probe() says,
 * with that sentence; -ENOTSUP also for a clear volume.
 */
int volume_unlock(struct source *data, struct source *header,
		  struct secret *key, enum key_kind kind,
		  struct volume_key **ret) MUST_USE;

/*
 * The clear bytes of data, which it owns, also on failure; header is borrowed for
 * the call. -ENOKEY when the volume key is of other metadata: then it is to be
 * derived anew.
 */
int volume_map(struct source *data, struct source *header,
	       const struct volume_key *key, struct source **ret) MUST_USE;

/* Both in one. */
int volume_open(struct source *data, struct source *header, struct secret *key,
		enum key_kind kind, struct source **ret) MUST_USE;

/*
 * The same for the kernel: /dev/mapper/NAME, of device, the block device whose
 * bytes data are. uuid: what device-mapper is to call it, which is what
 * volume_dm_uuid() gives. Needs root.
 */
int volume_activate(struct source *data, struct source *header,
		    const struct volume_key *key, const char *device,
		    const char *name, const char *uuid, bool readonly) MUST_USE;
#define VOLUME_DM_UUID_SIZE 200
void volume_dm_uuid(const struct volume_info *info, const char *name,
		    char out[static VOLUME_DM_UUID_SIZE]);

DROP_DEFINE(volume_key, struct volume_key *, volume_key_close)
