// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * escrow: a record of one BEK: wrapped, for one KEK or more, with what is known of
 * it. Read from what `az keyvault secret show -o json` prints or from our own JSON
 * (vaultkey.1), and written in the latter form, which is what a vault keeps.
 *
 * A record never holds a plain BEK: reading a secret that is not wrapped gives the
 * BEK apart, as a struct secret, and a record without a wrap.
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/json.h"
#include "backend/base/secret.h"
#include "backend/catalog.h"

#define WRAP_SIZE_MAX 2048 /* bytes of RSA ciphertext */
#define ESCROW_WRAPS_MAX 32
#define ESCROW_URL_MAX 1024

/* As Key Vault names them. RSA-OAEP is that with SHA-1, MGF1 too. */
enum wrap_alg { WRAP_RSA_OAEP, WRAP_RSA_OAEP_256, WRAP_RSA1_5 };

struct wrap {
	char kek_url[ESCROW_URL_MAX]; /* with version; "" : not known */
	char kek_label[128];	      /* what people call it; "" : none */
	enum wrap_alg alg;
	bool has_spki;
	struct digest spki; /* SHA-256 of the KEK's SubjectPublicKeyInfo */
	uint8_t value[WRAP_SIZE_MAX];
	size_t size;
};

struct escrow_record {
	/* What it is for. "": the whole VM; part 0: the whole disk, else
	 * partition pN of it. */
	char disk[CATALOG_NAME_MAX + 1];
	unsigned part;
	char secret_url[ESCROW_URL_MAX]; /* with version; "": not known */
	char content_type[128];
	/* DiskEncryptionKeyFileName: "LinuxPassPhraseFileName…" or
	 * "<GUID>.BEK", which names the BitLocker protector. */
	char file_name[256];
	char machine[256];
	struct json *tags; /* all of them, as they came; may be NULL */
	struct wrap *wraps;
	size_t nwraps;
	/* Of its JSON text: equal digest, equal BEK. */
	struct digest digest;
};
void escrow_record_release(struct escrow_record *r);
static inline void drop_escrow_record(struct escrow_record *r)
{
	escrow_record_release(r);
}

/* One of our own documents, as a vault keeps it; disk comes from where it was
 * found. -EPROTO with a sentence. */
int escrow_parse(const char *text, size_t len,
		 struct escrow_record *out) MUST_USE;
