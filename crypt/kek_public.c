// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/source/source.h"
#include "crypt/kek_impl.h"

#define FILE_MAX (64u << 10)

struct kek_public {
	EVP_PKEY *key;
	struct digest spki;
};

DROP_DEFINE(bio, BIO *, BIO_free_all)
DROP_DEFINE(cert, X509 *, X509_free)

/* In PEM or DER: a public key, or the one of a certificate. */
static EVP_PKEY *find_key(BIO *bio)
{
	DROP(cert) X509 *cert = NULL;
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

	if (!key && BIO_reset(bio) >= 0)
		key = d2i_PUBKEY_bio(bio, NULL);
	if (!key && BIO_reset(bio) >= 0)
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!key && !cert && BIO_reset(bio) >= 0)
		cert = d2i_X509_bio(bio, NULL);
	if (!key && cert)
		key = X509_get_pubkey(cert);
	ERR_clear_error();
	return key;
}

static int check(struct kek_public *k, const char *path)
{
	unsigned bits = k->key ? rsa_bits(k->key) : 0;

	if (!k->key)
		return fail(-EPROTO,
			    "%s: it holds no public key or certificate in PEM "
			    "or DER (of a private key, 'openssl pkey -pubout' "
			    "makes one)",
			    path);
	if (!bits)
		return fail(-EPROTO, "%s: it is no RSA key", path);
	if (bits < KEK_BITS_MIN)
		return fail(-EINVAL,
			    "%s: a key of %u bits cannot wrap every BitLocker "
			    "key file (some have 224 bytes): use one of %d "
			    "bits or more",
			    path, bits, KEK_BITS_MIN);
	if (bits > WRAP_SIZE_MAX * 8)
		return fail(-EINVAL,
			    "%s: a key of %u bits; at most %d are possible",
			    path, bits, WRAP_SIZE_MAX * 8);
	return rsa_spki(k->key, &k->spki);
}

static int read_all(const char *path, uint8_t **ret, size_t *n)
{
	DROP(source) struct source *s = NULL;
	DROP(mem) uint8_t *p = NULL;
	int r = source_open_file(path, &s);

	if (r < 0)
		return r;
	*n = (size_t)min_u64(source_size(s), FILE_MAX + 1);
	if (*n > FILE_MAX)
		return fail(-EFBIG, "%s: larger than %u bytes", path, FILE_MAX);
	p = malloc(*n + 1);
	if (!p)
		return fail(-ENOMEM, "out of memory");
	r = source_read(s, p, *n, 0);
	if (r == 0)
		*ret = take(p);
	return r;
}

int kek_public_open(const char *path, struct kek_public **ret)
{
	DROP(kek_public) struct kek_public *k = calloc(1, sizeof(*k));
	DROP(mem) uint8_t *text = NULL;
	DROP(bio) BIO *bio = NULL;
	size_t n;
	int r;

	if (!k)
		return fail(-ENOMEM, "out of memory");
	r = read_all(path, &text, &n);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(text, (int)n);
	if (!bio)
		return fail(-ENOMEM, "out of memory");
	k->key = find_key(bio);
	r = check(k, path);
	if (r == 0)
		*ret = take(k);
	return r;
}

struct wrapping {
	EVP_PKEY *key;
	struct secret *bek;
	struct wrap *out;
};

static int do_wrap(void *ctx)
{
	struct wrapping *x = ctx;
	int r = rsa_wrap(x->key, x->bek, x->out);

	ERR_clear_error();
	return r;
}

int kek_public_wrap(struct kek_public *k, enum wrap_alg alg, const char *label,
		    struct secret *bek, struct wrap *out)
{
	struct wrap w = { .alg = alg, .alg_named = true, .has_spki = true };
	struct wrapping x = { .key = k->key, .bek = bek, .out = &w };
	int r;

	w.spki = k->spki;
	snprintf(w.kek_label, sizeof(w.kek_label), "%s", label ? label : "");
	r = arena_run(do_wrap, &x);
	if (r == 0)
		*out = w;
	return r;
}

void kek_public_close(struct kek_public *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}
