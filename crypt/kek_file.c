// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A private key in a file: PEM or DER, PKCS#8 encrypted or not, the traditional
 * forms, PKCS#12. Old files have ciphers that OpenSSL 3 keeps in its legacy
 * provider, so they are read in a library context of their own that has it; the
 * rest of the process does not.
 */
#include <errno.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "crypt/kek_impl.h"

#define FILE_MAX SECRET_MAX
#define BITS_MIN 2048
#define BITS_MAX (WRAP_SIZE_MAX * 8)

struct kek_file {
	struct kek base;
	OSSL_LIB_CTX *lib;
	OSSL_PROVIDER *providers[2];
	EVP_PKEY *key;
	struct digest spki;
};

static const struct kek_ops file_ops;

DROP_DEFINE(bio, BIO *, BIO_free_all)
DROP_DEFINE(decoder, OSSL_DECODER_CTX *, OSSL_DECODER_CTX_free)
DROP_DEFINE(pkcs12, PKCS12 *, PKCS12_free)

struct reading {
	const char *path;
	const struct kek_pass *pass;
	struct kek_file *k;
	struct secret *text;
	struct secret *phrase; /* once it was needed */
	bool asked;
	int phrase_error;
};

static void drop_reading(struct reading *x)
{
	secret_close(x->text);
	secret_close(x->phrase);
}

/* Asks once. */
static struct secret *phrase(struct reading *x)
{
	char prompt[512];

	if (x->asked)
		return x->phrase;
	x->asked = true;
	snprintf(prompt, sizeof(prompt), "passphrase of %s", x->path);
	x->phrase_error = kek_pass_get(x->pass, prompt, &x->phrase);
	return x->phrase;
}

static int give_phrase(char *buf, int size, int rwflag, void *ctx)
{
	struct secret *s = phrase(ctx);

	if (!s || secret_size(s) > (size_t)size)
		return -1;
	memcpy(buf, secret_bytes(s), secret_size(s));
	return (int)secret_size(s);
}

static BIO *text_bio(struct reading *x)
{
	return BIO_new_mem_buf(secret_bytes(x->text),
			       (int)secret_size(x->text));
}

static void decode(struct reading *x)
{
	DROP(bio) BIO *bio = text_bio(x);
	DROP(decoder)
	OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&x->k->key, NULL,
							      NULL, NULL,
							      EVP_PKEY_KEYPAIR,
							      x->k->lib, NULL);

	if (bio && ctx &&
	    OSSL_DECODER_CTX_set_pem_password_cb(ctx, give_phrase, x) == 1)
		(void)OSSL_DECODER_from_bio(ctx, bio);
}

/* The phrase as PKCS12_parse() wants it, NUL-terminated. */
static bool parse_pkcs12(struct reading *x, PKCS12 *p12, struct secret *s)
{
	DROP(secret) struct secret *z = NULL;

	if (!s)
		return PKCS12_parse(p12, "", &x->k->key, NULL, NULL) == 1;
	if (secret_new(secret_size(s) + 1, &z) < 0)
		return false;
	memcpy(secret_bytes(z), secret_bytes(s), secret_size(s));
	return PKCS12_parse(p12, (char *)secret_bytes(z), &x->k->key, NULL,
			    NULL) == 1;
}

/* False: the file is no PKCS#12. */
static bool decode_pkcs12(struct reading *x)
{
	DROP(bio) BIO *bio = text_bio(x);
	DROP(pkcs12)
	PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, x->k->lib, NULL);

	if (!bio || !p12 || !d2i_PKCS12_bio(bio, &p12))
		return false;
	if (PKCS12_verify_mac(p12, "", 0) || PKCS12_verify_mac(p12, NULL, 0))
		return parse_pkcs12(x, p12, NULL) || true;
	(void)(phrase(x) && parse_pkcs12(x, p12, x->phrase));
	return true;
}

static int why_not(const struct reading *x)
{
	if (x->phrase_error == -ENOTTY)
		return fail(-EINVAL,
			    "%s is encrypted: add ,pass-file=FILE or "
			    ",pass-fd=N",
			    x->path);
	if (x->phrase_error < 0)
		return blame(x->phrase_error, "%s", x->path);
	if (x->asked)
		return fail(-EACCES, "%s: the passphrase does not open it",
			    x->path);
	return fail(-EPROTO,
		    "%s: it holds no private key that is known here (PEM, DER, "
		    "PKCS#8, PKCS#12)",
		    x->path);
}

static int check_key(const struct reading *x)
{
	unsigned bits = rsa_bits(x->k->key);

	if (!bits)
		return fail(-EPROTO, "%s: it is no RSA key", x->path);
	if (bits < BITS_MIN || bits > BITS_MAX)
		return fail(-EPROTO,
			    "%s: an RSA key of %u bits; a KEK has %d to %d",
			    x->path, bits, BITS_MIN, BITS_MAX);
	return rsa_spki(x->k->key, &x->k->spki);
}

static int read_key(void *ctx)
{
	struct reading *x = ctx;
	int r = secret_read_file(x->path, FILE_MAX, &x->text);

	if (r < 0)
		return r;
	if (!decode_pkcs12(x))
		decode(x);
	ERR_clear_error();
	return x->k->key ? check_key(x) : why_not(x);
}

/* Outside of the arena: none of it is secret, and it is large. */
static int open_library(struct kek_file *k)
{
	k->lib = OSSL_LIB_CTX_new();
	if (!k->lib)
		return fail(-ENOMEM, "out of memory");
	k->providers[0] = OSSL_PROVIDER_load(k->lib, "default");
	/* Not everywhere installed; without it, what it opens is not known. */
	k->providers[1] = OSSL_PROVIDER_load(k->lib, "legacy");
	ERR_clear_error();
	if (!k->providers[0])
		return fail(-EIO, "OpenSSL has no default provider");
	return 0;
}

int kek_open_file(const char *path, const struct kek_pass *pass,
		  struct kek **ret)
{
	DROP(kek) struct kek *owned = NULL;
	DROP(reading) struct reading x = { .path = path, .pass = pass };
	struct kek_file *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return fail(-ENOMEM, "out of memory");
	owned = &k->base;
	k->base.ops = &file_ops;
	snprintf(k->base.name, sizeof(k->base.name), "%s", path);
	x.k = k;
	r = open_library(k);
	if (r == 0)
		r = arena_run(read_key, &x);
	if (r < 0)
		return r;
	*ret = take(owned);
	return 0;
}

static bool file_matches(struct kek *base, const struct wrap *w)
{
	struct kek_file *k = container_of(base, struct kek_file, base);

	if (w->has_spki)
		return digest_equal(&w->spki, &k->spki);
	return w->size == (rsa_bits(k->key) + 7) / 8;
}

struct unwrapping {
	EVP_PKEY *key;
	const struct wrap *w;
	struct secret *bek;
};

static int unwrap(void *ctx)
{
	struct unwrapping *u = ctx;
	int r = rsa_unwrap(u->key, u->w, &u->bek);

	ERR_clear_error();
	return r;
}

static int file_unwrap(struct kek *base, const struct wrap *w,
		       struct secret **ret)
{
	struct kek_file *k = container_of(base, struct kek_file, base);
	struct unwrapping u = { .key = k->key, .w = w };
	int r = arena_run(unwrap, &u);

	if (r == 0)
		*ret = u.bek;
	return r;
}

static void file_close(struct kek *base)
{
	struct kek_file *k = container_of(base, struct kek_file, base);

	EVP_PKEY_free(k->key);
	for (size_t i = 0; i < ARRAY_SIZE(k->providers); i++)
		if (k->providers[i])
			OSSL_PROVIDER_unload(k->providers[i]);
	OSSL_LIB_CTX_free(k->lib);
	free(k);
}

static const struct kek_ops file_ops = {
	.name = "file",
	.matches = file_matches,
	.unwrap = file_unwrap,
	.close = file_close,
};
