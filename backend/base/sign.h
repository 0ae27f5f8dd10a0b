// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ed25519 (RFC 8032) over a tag and a message: signs tag || message, so that a
 * signature of one kind of record is never one of another. Any thread.
 */
#pragma once
#include "backend/base/scope.h"
#include "backend/base/secret.h"
#include <stddef.h>
#include <stdint.h>

#define SIGN_PUBLIC_SIZE 32
#define SIGN_SEED_SIZE 32
#define SIGN_SIZE 64

struct sign_public {
	uint8_t b[SIGN_PUBLIC_SIZE];
};

/* A new random key: its 32-byte seed. */
int sign_new_key(struct secret **seed) MUST_USE;
int sign_public_of(struct secret *seed, struct sign_public *out) MUST_USE;
int sign_make(struct secret *seed, const char *tag, const void *msg, size_t len,
	      uint8_t sig[static SIGN_SIZE]) MUST_USE;
/* 0, or -EKEYREJECTED with a sentence. */
int sign_check(const struct sign_public *key, const char *tag, const void *msg,
	       size_t len, const uint8_t sig[static SIGN_SIZE]) MUST_USE;
