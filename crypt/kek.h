// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * kek: one key-encryption key behind a provider: a private key file, PKCS#11, Key
 * Vault. What unwraps; and, for the public half, what wraps.
 *
 * A provider answers -ENOKEY when its key does not unwrap this, whatever the reason
 * (padding too); with anything else it has failed itself (a login, a device, the
 * network), which its sentence says. Calls come one at a time (keyring.h).
 */
#pragma once
#include "backend/base/err.h"
#include "backend/base/secret.h"
#include "crypt/escrow.h"

struct kek;

struct kek_ops {
	const char *name;
	/* May this KEK have made the wrap? False only when it is known not to
	 * have: by public key, URL, size. Does no I/O. */
	bool (*matches)(struct kek *k, const struct wrap *w);
	/* w->alg counts. */
	int (*unwrap)(struct kek *k, const struct wrap *w, struct secret **ret);
	/* Optional: the secret that a record only refers to, if it is where this
	 * KEK is, else -ENOKEY: as escrow_read() gives it. */
	int (*fetch)(struct kek *k, const struct escrow_record *ref,
		     struct escrow_record *out, struct secret **bek);
	/* Optional: forgets a failed login, so that it is tried anew. */
	void (*reset)(struct kek *k);
	void (*close)(struct kek *k);
	/* It stands for many keys: what fails with one, as long as it answers,
	 * says nothing of the others. */
	bool many;
};

#define KEK_NAME_MAX 256

struct kek {
	const struct kek_ops *ops;
	char name[KEK_NAME_MAX]; /* for messages; no secret in it */
};

/*
 * What --kek takes: PATH|pkcs11:URI|https:URL[,pass-file=F|,pass-fd=N]. A
 * passphrase or PIN that is needed and not given is asked for on the terminal, here
 * and now. A key file is read here; what is behind a login is first asked when it is
 * used. from_file: the words come from a file of the user's own, and may hold
 * a pin-value, which is wiped.
 */
int kek_open(char *spec, bool from_file, struct kek **ret) MUST_USE;
bool kek_matches(struct kek *k, const struct wrap *w);
int kek_unwrap(struct kek *k, const struct wrap *w,
	       struct secret **ret) MUST_USE;
int kek_fetch(struct kek *k, const struct escrow_record *ref,
	      struct escrow_record *out, struct secret **bek) MUST_USE;
void kek_reset(struct kek *k);
void kek_close(struct kek *k);

DROP_DEFINE(kek, struct kek *, kek_close)

/* --- wrapping --- */

/* 2048 bits do not hold every .BEK. */
#define KEK_BITS_MIN 3072

struct kek_public;
/* A public key or certificate in PEM or DER: RSA of KEK_BITS_MIN bits or more. */
int kek_public_open(const char *path, struct kek_public **ret) MUST_USE;
/* Wraps with RSA-OAEP or RSA-OAEP-256; the wrap has the key's digest and this
 * label. */
int kek_public_wrap(struct kek_public *k, enum wrap_alg alg, const char *label,
		    struct secret *bek, struct wrap *out) MUST_USE;
void kek_public_close(struct kek_public *k);

DROP_DEFINE(kek_public, struct kek_public *, kek_public_close)
