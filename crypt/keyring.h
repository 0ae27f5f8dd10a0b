// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keyring: the keys that the user holds, in the order given: KEKs, each behind a
 * provider (a private key file, PKCS#11, Key Vault; crypt/kek.h), and keys that open
 * volumes by themselves (BEK files, passphrases).
 *
 * A record that only refers to a secret in Key Vault is read there, if that vault is
 * among the KEKs (--kek https://VAULT).
 *
 * A provider that has no key for a record answers -ENOKEY, and the next is tried;
 * anything else puts it out of use until keyring_reset() (one login attempt a
 * process) and is told. Each KEK is tried once per record and process, only on
 * records that it matches or that name none; what was found, and that nothing was,
 * is remembered.
 *
 * Any thread; one unwrapping at a time, others wait. Keys are added before.
 */
#pragma once
#include "backend/base/secret.h"
#include "crypt/escrow.h"
#include "crypt/kek.h"
#include "crypt/volume.h"

#define KEYRING_KEKS_MAX 64
#define KEYRING_PLAIN_MAX 64

struct keyring;

/* Empty. */
int keyring_new(struct keyring **ret) MUST_USE;
/* For a mount: when a provider fails the next is tried, and its failure is told
 * only where none of them has the key. Without it, its failure stops. */
void keyring_keep_going(struct keyring *k);
/* --kek PATH|pkcs11:URI|https:URL[,pass-file=F|,pass-fd=N]. May prompt on a
 * terminal. */
int keyring_add_kek(struct keyring *k, const char *spec) MUST_USE;
/* A KEK of any other kind; taken, on failure too. */
int keyring_add(struct keyring *k, struct kek *kek) MUST_USE;
/* --keys FILE, 0600: a line is what --kek takes, in which there may be a pin-value,
 * or "--bek FILE" or "--password-file FILE"; empty ones and those that begin with #
 * count for nothing. */
int keyring_add_file(struct keyring *k, const char *path) MUST_USE;
/* --bek FILE, --password-file FILE. */
int keyring_add_bek(struct keyring *k, const char *path) MUST_USE;
int keyring_add_password(struct keyring *k, const char *path) MUST_USE;

/* There is no key of any kind in it. */
bool keyring_empty(const struct keyring *k);

/*
 * The BEK of a record, which is of `what` ("os-p2", for messages); to be closed by
 * the caller. -ENOKEY: no KEK here unwraps it ("KEK K does not unwrap the BEK of
 * os-p2", or which KEK is missing); else a provider failed.
 */
int keyring_unwrap(struct keyring *k, const struct escrow_record *record,
		   const char *what, struct secret **ret) MUST_USE;

/* The BEK of a record that is known without asking for it. */
int keyring_learn(struct keyring *k, const struct escrow_record *record,
		  struct secret *bek) MUST_USE;

/* A key that opens volumes by itself, to be tried on each. Borrowed. */
struct keyring_plain {
	const char *name; /* its file's */
	enum key_kind kind;
	struct secret *key;
};
size_t keyring_plain_count(const struct keyring *k);
const struct keyring_plain *keyring_plain_at(const struct keyring *k, size_t i);

/* What was out of use is tried again, and what was not found asked again
 * (SIGHUP). */
void keyring_reset(struct keyring *k);
void keyring_close(struct keyring *k);

/* How many times a KEK was asked to unwrap. For tests. */
uint64_t keyring_asked(const struct keyring *k);

DROP_DEFINE(keyring, struct keyring *, keyring_close)
