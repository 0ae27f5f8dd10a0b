// SPDX-License-Identifier: GPL-3.0-or-later
/* What the providers share. */
#pragma once
#include "crypt/kek.h"

#define PASS_MAX 1024

/* The rest of a --kek: how its passphrase or PIN comes. */
struct kek_pass {
	const char *file; /* NULL: not given */
	int fd;		  /* -1: not given */
};

/* Private key file. */
int kek_open_file(const char *path, const struct kek_pass *pass,
		  struct kek **ret) MUST_USE;
/* pin: from the URI, or NULL; taken, on failure too. */
int kek_open_pkcs11(const char *uri, struct secret *pin,
		    const struct kek_pass *pass, struct kek **ret) MUST_USE;

/* Nothing is asked of the vault before a record is to be unwrapped. */
int kek_open_vault(const char *url, const struct kek_pass *pass,
		   struct kek **ret) MUST_USE;

bool kek_pass_given(const struct kek_pass *pass);
/*
 * The passphrase, without the newline at its end: from the file or descriptor, else
 * asked for on the terminal. -ENOTTY: there is no terminal.
 */
int kek_pass_get(const struct kek_pass *pass, const char *prompt,
		 struct secret **ret) MUST_USE;

/* --- RSA, in the arena only (backend/base/arena.h) --- */

typedef struct evp_pkey_st rsa_key;

/* -ENOKEY with no sentence for any failure but the lack of memory. */
int rsa_unwrap(rsa_key *key, const struct wrap *w,
	       struct secret **ret) MUST_USE;
int rsa_wrap(rsa_key *key, struct secret *bek, struct wrap *w) MUST_USE;
/* SHA-256 of its SubjectPublicKeyInfo. */
int rsa_spki(rsa_key *key, struct digest *out) MUST_USE;
/* In bits; 0 when it is no RSA key. */
unsigned rsa_bits(rsa_key *key);
