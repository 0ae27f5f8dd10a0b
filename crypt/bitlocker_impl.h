// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of bitlocker share of the format, which crypt/bitlocker.c describes. */
#pragma once
#include "backend/base/rd.h"
#include "crypt/bitlocker.h"

#define BITLOCKER_BLOCK_SIZE 65536

#define TYPE_KEY 1
#define TYPE_TEXT 2
#define TYPE_STRETCH 3
#define TYPE_ENCRYPTED 5
#define TYPE_EXTERNAL 9
#define TYPE_MOVED 15
#define TYPE_VOLUME_ID 23

/* A structure, its content at p. */
struct bitlocker_structure {
	uint16_t role;
	uint16_t type;
	const uint8_t *p;
	size_t len;
};

/* Takes the next one: 1, 0 at the end, or -EPROTO. */
int bitlocker_next(struct rd *r, struct bitlocker_structure *out) MUST_USE;
/* The first of that type within a protector or an external key; -ENOENT. */
int bitlocker_find(struct rd r, uint16_t type,
		   struct bitlocker_structure *out) MUST_USE;
void bitlocker_guid(const uint8_t g[static 16], char out[GUID_TEXT_SIZE]);
