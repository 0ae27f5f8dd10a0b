// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * luks: LUKS1 and LUKS2 volumes: the header, the volume key by libcryptsetup,
 * the data by sector.h.
 *
 * The formats: "LUKS1 On-Disk Format Specification", version 1.2.3, and "LUKS2
 * On-Disk Format Specification", version 1.1.2, both of the cryptsetup project.
 *
 * libcryptsetup sees a copy of the metadata only, in a file in memory, and may
 * mend that one; the volume itself is neither written nor given to it.
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/secret.h"
#include "backend/source/source.h"
#include "crypt/sector.h"

#define LUKS_SLOTS_MAX 32

struct luks_area {
	uint64_t off;
	uint64_t len;
};

/* A header. What is found before something is wrong is filled in all the same. */
struct luks {
	int version; /* 1, 2; 0: there is none here */
	char uuid[41];
	char label[49];
	char cipher[65]; /* "aes-xts-plain64" */
	size_t key_size; /* of the volume key */
	struct sector_format format;
	/* In bytes, on the device that holds the data, be it this one or, with
	 * a detached header, another. */
	uint64_t data_offset;
	uint64_t data_size; /* 0: to the device's end */
	/* The passphrase can only be had from a confidential VM's attestation
	 * (a token of Azure Disk Encryption says so). */
	bool confidential;
	/* Of the header's bytes: equal digest, equal volume key. */
	struct digest digest;

	/* What libcryptsetup needs to see. */
	struct luks_area areas[LUKS_SLOTS_MAX + 2];
	size_t nareas;
};

/*
 * Reads the header of s, or the secondary one where the first is damaged. 0 (also
 * where there is none: version 0), or, with version set, -ENOTSUP for what must
 * not be opened here, -EPROTO, -EBADMSG for what is damaged; else the source's
 * failure.
 *
 * LUKS1 has no checksum: that its data offset and cipher are right is not proved by
 * the key that opens it, only by what is found in the clear data.
 */
int luks_read(struct source *s, struct luks *out) MUST_USE;

/*
 * The volume key, from header l of source s. -ENOKEY when the passphrase does not
 * open it. Takes seconds, and with Argon2 up to 4 GiB of memory (1 GiB is usual):
 * one at a time in a process, others wait.
 */
int luks_unlock(struct source *s, const struct luks *l,
		struct secret *passphrase, struct secret **ret) MUST_USE;

/*
 * /dev/mapper/NAME: the clear data, by dm-crypt through libcryptsetup. s and l are
 * as for luks_unlock(), device is the block device with the data. Its UUID is
 * "CRYPT-LUKS2-…-NAME". Needs root.
 */
int luks_activate(struct source *s, const struct luks *l,
		  struct secret *volume_key, const char *device,
		  const char *name, bool readonly) MUST_USE;

/* The clear data of device data, which it owns. detached: l is not of data. */
int luks_map(struct source *data, const struct luks *l, bool detached,
	     struct secret *volume_key, struct source **ret) MUST_USE;
