// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/jwt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/arena.h"
#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/json.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"

#define FILE_MAX 65536
#define LIFE_S 600
#define EARLY_S 60
#define SALT 32

struct jwt_key {
	EVP_PKEY *key;
	uint8_t thumbprint[32];
};

void jwt_key_close(struct jwt_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

static void drop_bio(BIO **b)
{
	BIO_free(*b);
}

static void drop_cert(X509 **c)
{
	X509_free(*c);
}

/* Never asks on a terminal. */
static int password_of(char *buf, int size, int writing, void *ctx)
{
	const char *password = ctx;
	size_t n = password ? strlen(password) : 0;

	if (!n || n > (size_t)size)
		return -1;
	memcpy(buf, password, n);
	return (int)n;
}

static int check_pair(const struct jwt_key *k, X509 *cert, const char *path)
{
	if (EVP_PKEY_get_base_id(k->key) != EVP_PKEY_RSA)
		return fail(-EINVAL, "%s: its private key is not an RSA key",
			    path);
	if (X509_check_private_key(cert, k->key) != 1)
		return fail(-EINVAL,
			    "%s: the first certificate and the private key do "
			    "not belong together",
			    path);
	return 0;
}

struct reading {
	struct jwt_key *k;
	const char *path, *password;
	struct secret *pem;
};

/* In the arena, in a thread of its own. */
static int read_pem(void *ctx)
{
	const struct reading *g = ctx;
	struct jwt_key *k = g->k;
	const char *path = g->path;
	const uint8_t *pem = secret_bytes(g->pem);
	int len = (int)secret_size(g->pem);
	__attribute__((cleanup(drop_bio)))
	BIO *first = BIO_new_mem_buf(pem, len);
	__attribute__((cleanup(drop_bio)))
	BIO *again = BIO_new_mem_buf(pem, len);
	__attribute__((cleanup(drop_cert))) X509 *cert = NULL;
	unsigned n = sizeof(k->thumbprint);

	if (!first || !again)
		return fail(-ENOMEM, "out of memory");
	cert = PEM_read_bio_X509(first, NULL, password_of, NULL);
	if (!cert)
		return fail(-EINVAL, "%s: no certificate in it (PEM)", path);
	k->key = PEM_read_bio_PrivateKey(again, NULL, password_of,
					 (void *)(uintptr_t)g->password);
	if (!k->key)
		return fail(-EINVAL,
			    "%s: no private key in it that can be read (PEM; "
			    "an encrypted one needs its password)",
			    path);
	if (X509_digest(cert, EVP_sha256(), k->thumbprint, &n) != 1)
		return fail(-EIO, "%s: no digest of its certificate", path);
	return check_pair(k, cert, path);
}

int jwt_key_read(const char *path, const char *password, struct jwt_key **ret)
{
	DROP(secret) struct secret *pem = NULL;
	DROP(jwt_key) struct jwt_key *k = NULL;
	struct reading g = { .path = path, .password = password };
	int r = secret_read_file(path, FILE_MAX, &pem);

	if (r)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return fail(-ENOMEM, "out of memory");
	g.k = k;
	g.pem = pem;
	r = arena_run(read_pem, &g);
	if (r)
		return r;
	*ret = take(k);
	return 0;
}

/* base64url without padding (RFC 7515). */
static void add_b64u(struct buf *out, const void *p, size_t n)
{
	size_t size = (n + 2) / 3 * 4;
	uint8_t *at = buf_reserve(out, size + 1);
	int len;

	if (!at)
		return;
	len = EVP_EncodeBlock(at, p, (int)n);
	while (len > 0 && at[len - 1] == '=')
		len--;
	for (int i = 0; i < len; i++) {
		if (at[i] == '+')
			at[i] = '-';
		else if (at[i] == '/')
			at[i] = '_';
	}
	out->len += (size_t)len;
}

static int add_json(struct buf *out, const struct json *j)
{
	DROP(mem) char *text = NULL;
	size_t len;
	int r = json_text(j, false, &text, &len);

	if (r)
		return r;
	/* Without its newline. */
	add_b64u(out, text, len - 1);
	return 0;
}

static int add_header(const struct jwt_key *k, struct buf *out)
{
	DROP(json) struct json *j = json_object();
	DROP(buf) struct buf print = BUF_INIT(64);

	add_b64u(&print, k->thumbprint, sizeof(k->thumbprint));
	json_set_str(j, "alg", "PS256");
	json_set_str(j, "typ", "JWT");
	json_set_str(j, "x5t#S256", buf_cstr(&print));
	return add_json(out, j);
}

static int add_claims(const char *client, const char *audience, int64_t now_s,
		      struct buf *out)
{
	DROP(json) struct json *j = json_object();
	uint64_t now = (uint64_t)now_s;
	uint8_t u[16];
	char hex[33], id[37];
	int r = random_bytes(u, sizeof(u));

	if (r)
		return r;
	u[6] = (u[6] & 0x0f) | 0x40;
	u[8] = (u[8] & 0x3f) | 0x80;
	hex_of(u, sizeof(u), hex);
	snprintf(id, sizeof(id), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		 hex + 12, hex + 16, hex + 20);
	json_set_str(j, "aud", audience);
	json_set_str(j, "iss", client);
	json_set_str(j, "sub", client);
	json_set_str(j, "jti", id);
	json_set_u64(j, "iat", now);
	json_set_u64(j, "nbf", now - EARLY_S);
	json_set_u64(j, "exp", now - EARLY_S + LIFE_S);
	return add_json(out, j);
}

struct signing {
	const struct jwt_key *k;
	struct buf *out;
};

/* In the arena: it has numbers of the key. */
static int sign(void *arg)
{
	const struct signing *s = arg;
	struct buf *out = s->out;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	uint8_t sig[1024];
	size_t n = sizeof(sig);
	bool ok;

	if (!md)
		return fail(-ENOMEM, "out of memory");
	ok = EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, s->k->key) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	     EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, SALT) == 1 &&
	     EVP_DigestSign(md, sig, &n, out->data, out->len) == 1;
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	if (!ok)
		return fail(-EIO, "signing with the certificate's key failed");
	buf_u8(out, '.');
	add_b64u(out, sig, n);
	return 0;
}

static int add_signature(const struct jwt_key *k, struct buf *out)
{
	struct signing s = { k, out };

	return arena_run(sign, &s);
}

int jwt_assertion(const struct jwt_key *k, const char *client,
		  const char *audience, int64_t now_s, struct buf *out)
{
	DROP(buf) struct buf text = BUF_INIT(16384);
	int r = add_header(k, &text);

	if (r)
		return r;
	buf_u8(&text, '.');
	r = add_claims(client, audience, now_s, &text);
	if (!r)
		r = buf_check(&text, "client assertion");
	if (!r)
		r = add_signature(k, &text);
	if (!r)
		r = buf_check(&text, "client assertion");
	if (r)
		return r;
	buf_add(out, text.data, text.len);
	return buf_check(out, "client assertion");
}
