// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Makes BitLocker volumes, as Windows makes them, of clear ones; deterministic, so
 * that its keys are nothing to keep secret. What it writes is read back alike by
 * dislocker, bdemount and the kernel's dm-crypt (through cryptsetup).
 *
 * The last MiB of the volume is lost: there lie the metadata.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uchar.h>

#define MKBITLOCKER_TAIL (1u << 20)
#define MKBITLOCKER_MIN (2u << 20)
#define MKBITLOCKER_COPY 65536

struct mkbitlocker {
	uint16_t method;      /* 0x8000 to 0x8005 */
	uint32_t sector_size; /* 512 or 4096 */
	bool to_go;	      /* as on a removable drive */
	/* Protectors; none but these. */
	const char16_t *password;
	const char *recovery; /* 8 groups of 6 digits and '-' */
	bool external;
	bool windows11; /* its key file then names the volume */
	bool clear;
	bool tpm; /* which nobody here can open */
	/* Things not to be opened: 0 as it should be. */
	uint16_t state, next_state;
	bool on_write;
	bool vista;
	uint64_t volume_size; /* as the metadata say */
	uint8_t seed;	      /* other keys, other GUIDs */
};

struct mkbitlocker_result {
	uint8_t bek[256]; /* the key file */
	size_t bek_size;
	char bek_id[37];
	uint8_t key[64]; /* the volume key, as libcryptsetup gives it */
	size_t key_size;
	/* Where the three copies, and the sectors from 0 on, are. */
	uint64_t copies[3];
	uint64_t moved_off;
	uint64_t moved_size;
};

/* Encrypts image (size bytes, whole sectors) in place. out may be NULL. What the
 * volume shows when it is opened again is the image as it was, with zeros over the
 * copies and the moved sectors: mkbitlocker_clear() makes that. */
void mkbitlocker(const struct mkbitlocker *o, uint8_t *image, size_t size,
		 struct mkbitlocker_result *out);
void mkbitlocker_clear(const struct mkbitlocker_result *r, uint8_t *image);
/* Makes the checksum of a copy (64 KiB) right again. */
void mkbitlocker_seal(uint8_t *copy);
