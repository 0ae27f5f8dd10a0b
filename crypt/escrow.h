// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * escrow: a record of one BEK: wrapped, for one KEK or more, with what is known of
 * it. Read from what `az keyvault secret show -o json` prints or from our own JSON
 * (backend/vault/FORMAT.md, 5.4), and written in the latter form, which is what a
 * vault keeps.
 *
 * A record never holds a plain BEK: reading a secret that is not wrapped gives the
 * BEK apart, as a struct secret, and a record without a wrap.
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/json.h"
#include "backend/base/secret.h"
#include "backend/catalog.h"

#define WRAP_SIZE_MIN 256 /* bytes of RSA ciphertext */
#define WRAP_SIZE_MAX 2048
#define ESCROW_WRAPS_MAX 32
#define ESCROW_TAGS_MAX 64
#define ESCROW_URL_MAX 1024
#define ESCROW_TEXT_MAX (64u << 10) /* of a JSON document */
#define BEK_MAX 4096 /* bytes; a .BEK has 156 to 224, a passphrase often 172 */

/* As Key Vault names them. RSA-OAEP is that with SHA-1, MGF1 too. */
enum wrap_alg { WRAP_RSA_OAEP, WRAP_RSA_OAEP_256, WRAP_RSA1_5 };
const char *wrap_alg_name(enum wrap_alg alg);
/* Any case. -ENOTSUP with a sentence. */
int wrap_alg_parse(const char *name, enum wrap_alg *out) MUST_USE;

struct wrap {
	char kek_url[ESCROW_URL_MAX]; /* with version; "" : not known */
	char kek_label[128];	      /* what people call it; "" : none */
	/* The record names it; else it is RSA-OAEP as far as is known, or, as likely
	 * as not, RSA-OAEP-256. */
	bool alg_named;
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

struct escrow_records {
	struct escrow_record *v;
	size_t n;
};
void escrow_records_release(struct escrow_records *l);
static inline void drop_escrow_records(struct escrow_records *l)
{
	escrow_records_release(l);
}
/* Takes r, which is empty afterwards, on failure too. */
int escrow_records_add(struct escrow_records *l,
		       struct escrow_record *r) MUST_USE;

/* One of our own documents, as a vault keeps it; disk comes from where it was
 * found. -EPROTO with a sentence. */
int escrow_parse(const char *text, size_t len,
		 struct escrow_record *out) MUST_USE;

/* The document, in one line, to be freed by the caller; sets the digest. It does
 * not say the disk. */
int escrow_text(struct escrow_record *r, char **ret, size_t *len) MUST_USE;
/* The same for people, with its disk. */
struct json *escrow_json(const struct escrow_record *r);
/* What is known of the records of a point without their values, for point.json: a
 * list. Documents of another kind are told as such. */
struct json *escrow_references(const struct escrow_docs *docs,
			       const struct point_info *p);
/* Adds that to what point_json() says, where there are any; and "kek":
 * "key-vault-only" where nothing but keys in Key Vault unwraps them: a point that
 * is lost with that key vault. */
void escrow_describe(const struct escrow_docs *docs, const struct point_info *p,
		     struct json *point);
bool escrow_key_vault_only(const struct escrow_docs *docs);
/* "os-p2", "os", or "the VM". */
#define ESCROW_PLACE_SIZE (CATALOG_NAME_MAX + 16)
void escrow_place(const struct escrow_record *r,
		  char out[static ESCROW_PLACE_SIZE]);
/* Whom a wrap is for, as well as the record knows: its URL, label or digest. */
#define WRAP_NAME_SIZE (ESCROW_URL_MAX + 128)
void wrap_name(const struct wrap *w, char out[static WRAP_NAME_SIZE]);
/* -EFBIG when there are too many. */
int escrow_add_wrap(struct escrow_record *r, const struct wrap *w) MUST_USE;

struct escrow_request {
	const char *what; /* for messages: "os" */
	/* What the user says of a secret: the KEK that it is wrapped by, or that
	 * it is plain. */
	const char *wrapped_kek_url;
	bool plain;
};

/*
 * What the user has: az's document, or ours. *bek is the plain BEK when it is
 * not wrapped, else NULL. -EPROTO: it is neither, or not sound; -EINVAL: it does
 * not say whether it is wrapped, or other than the user says.
 */
int escrow_read(const struct secret *text, const struct escrow_request *rq,
		struct escrow_record *out, struct secret **bek) MUST_USE;

/*
 * Whether bytes can be the BEK of this name: a .BEK keeps to its format, what is
 * for Linux is text; either, where the name says neither. This is all that is
 * asked of what a KEK gave: nobody learns why it was refused.
 */
bool bek_plausible(const void *p, size_t n, const char *file_name);
