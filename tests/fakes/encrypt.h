// SPDX-License-Identifier: GPL-3.0-or-later
/* Encrypts sectors as crypt/sector.h decrypts them, in the simplest way there is:
 * one sector and one call after the other, by the words of the documents. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "crypt/sector.h"

/* In place: whole sectors, which lie at off of the device. Ends the program when
 * OpenSSL does not do it. */
void encrypt_sectors(const struct sector_format *f, const uint8_t *key,
		     size_t key_size, uint8_t *p, size_t len, uint64_t off);
