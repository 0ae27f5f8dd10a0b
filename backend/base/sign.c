// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/sign.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"

DROP_DEFINE(pkey, EVP_PKEY *, EVP_PKEY_free)
DROP_DEFINE(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free)

static int openssl_failed(const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	/* Left behind, it would be taken for the next caller's. */
	ERR_clear_error();
	return fail(-EIO, "Ed25519: cannot %s: %s", what,
		    why ? why : "OpenSSL does not say why");
}

static int open_seed(struct secret *seed, EVP_PKEY **ret)
{
	if (secret_size(seed) != SIGN_SEED_SIZE)
		return fail(-EINVAL, "a signing key has %d bytes, not %zu",
			    SIGN_SEED_SIZE, secret_size(seed));
	*ret = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
					    secret_bytes(seed), SIGN_SEED_SIZE);
	return *ret ? 0 : openssl_failed("load the signing key");
}

/* Ed25519 is not streamed: it needs the message in one piece. Messages are
 * public, so ordinary memory does. */
static int join(const char *tag, const void *msg, size_t len, uint8_t **ret,
		size_t *ret_len)
{
	size_t tag_len = strlen(tag);
	size_t size;
	uint8_t *all;

	if (__builtin_add_overflow(tag_len, len, &size))
		return fail(-EFBIG, "the message to sign is too large");
	all = malloc(size ? size : 1);
	if (!all)
		return fail(-ENOMEM, "out of memory");
	memcpy(all, tag, tag_len);
	if (len)
		memcpy(all + tag_len, msg, len);
	*ret = all;
	*ret_len = size;
	return 0;
}

int sign_new_key(struct secret **seed)
{
	DROP(secret) struct secret *s = NULL;
	int r;

	r = secret_new(SIGN_SEED_SIZE, &s);
	if (r < 0)
		return r;
	r = random_bytes(secret_bytes(s), SIGN_SEED_SIZE);
	if (r < 0)
		return r;
	*seed = take(s);
	return 0;
}

int sign_public_of(struct secret *seed, struct sign_public *out)
{
	DROP(pkey) EVP_PKEY *key = NULL;
	struct sign_public public;
	size_t len = sizeof(public.b);
	int r;

	r = open_seed(seed, &key);
	if (r < 0)
		return r;
	if (EVP_PKEY_get_raw_public_key(key, public.b, &len) != 1 ||
	    len != sizeof(public.b))
		return openssl_failed("derive the public key");
	*out = public;
	return 0;
}

int sign_make(struct secret *seed, const char *tag, const void *msg, size_t len,
	      uint8_t sig[static SIGN_SIZE])
{
	DROP(pkey) EVP_PKEY *key = NULL;
	DROP(md_ctx) EVP_MD_CTX *ctx = NULL;
	DROP(mem) uint8_t *all = NULL;
	uint8_t made[SIGN_SIZE];
	size_t made_len = sizeof(made);
	size_t all_len;
	int r;

	r = join(tag, msg, len, &all, &all_len);
	if (r < 0)
		return r;
	r = open_seed(seed, &key);
	if (r < 0)
		return r;
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return fail(-ENOMEM, "out of memory");
	if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(ctx, made, &made_len, all, all_len) != 1 ||
	    made_len != sizeof(made))
		return openssl_failed("sign");
	memcpy(sig, made, sizeof(made));
	return 0;
}

int sign_check(const struct sign_public *key, const char *tag, const void *msg,
	       size_t len, const uint8_t sig[static SIGN_SIZE])
{
	DROP(pkey) EVP_PKEY *pkey = NULL;
	DROP(md_ctx) EVP_MD_CTX *ctx = NULL;
	DROP(mem) uint8_t *all = NULL;
	size_t all_len;
	int r;

	r = join(tag, msg, len, &all, &all_len);
	if (r < 0)
		return r;
	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->b,
					   sizeof(key->b));
	if (!pkey)
		return openssl_failed("load the public key");
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return fail(-ENOMEM, "out of memory");
	if (EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) != 1)
		return openssl_failed("verify");
	if (EVP_DigestVerify(ctx, sig, SIGN_SIZE, all, all_len) != 1) {
		ERR_clear_error();
		return fail(-EKEYREJECTED, "the signature does not verify");
	}
	return 0;
}
