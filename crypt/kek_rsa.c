// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "crypt/kek_impl.h"

DROP_DEFINE(pkey_ctx, EVP_PKEY_CTX *, EVP_PKEY_CTX_free)

unsigned rsa_bits(rsa_key *key)
{
	int bits = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA
			   ? EVP_PKEY_get_bits(key)
			   : 0;

	return bits > 0 ? (unsigned)bits : 0;
}

/* Padding and digests; the context is ready for either direction. */
static bool pad(EVP_PKEY_CTX *ctx, enum wrap_alg alg)
{
	const EVP_MD *md = alg == WRAP_RSA_OAEP_256 ? EVP_sha256() : EVP_sha1();

	if (alg == WRAP_RSA1_5)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0;
}

int rsa_unwrap(rsa_key *key, const struct wrap *w, struct secret **ret)
{
	DROP(secret) struct secret *room = NULL;
	DROP(pkey_ctx) EVP_PKEY_CTX *ctx = NULL;
	size_t n = WRAP_SIZE_MAX;
	int r;

	if (w->size * 8 != (rsa_bits(key) + 7) / 8 * 8)
		return -ENOKEY;
	r = secret_new(WRAP_SIZE_MAX, &room);
	if (r < 0)
		return r;
	ctx = EVP_PKEY_CTX_new(key, NULL);
	if (!ctx || EVP_PKEY_decrypt_init(ctx) <= 0)
		return fail(-EIO, "OpenSSL cannot decrypt with this key");
	if (!pad(ctx, w->alg) ||
	    EVP_PKEY_decrypt(ctx, secret_bytes(room), &n, w->value, w->size) <=
		    0 ||
	    n == 0)
		return -ENOKEY;
	return secret_copy(secret_bytes(room), n, ret);
}

int rsa_wrap(rsa_key *key, struct secret *bek, struct wrap *w)
{
	DROP(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t n = WRAP_SIZE_MAX;

	if (!ctx || EVP_PKEY_encrypt_init(ctx) <= 0 || !pad(ctx, w->alg))
		return fail(-EIO, "OpenSSL cannot encrypt with this key");
	if (EVP_PKEY_encrypt(ctx, w->value, &n, secret_bytes(bek),
			     secret_size(bek)) <= 0)
		return fail(-EINVAL,
			    "a key of %u bits cannot wrap the %zu bytes of a "
			    "BEK with %s",
			    rsa_bits(key), secret_size(bek),
			    wrap_alg_name(w->alg));
	w->size = n;
	return 0;
}

int rsa_spki(rsa_key *key, struct digest *out)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);

	if (n <= 0)
		return fail(-EIO, "OpenSSL does not tell the public key");
	sha256(der, (size_t)n, out);
	OPENSSL_free(der);
	return 0;
}
