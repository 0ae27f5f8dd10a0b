// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * jwt: the client assertion by which an application shows Entra ID that it has
 * the private key of a certificate (RFC 7515, 7519, 7523; PS256, x5t#S256), over
 * OpenSSL. Any thread.
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/base/scope.h"

struct jwt_key;

/*
 * A PEM file with the certificate and its private key, in any order; more
 * certificates may follow. password: of the key, or NULL. -EACCES where group or
 * others can read it, -EINVAL with a sentence where one of the two is missing,
 * is not an RSA key, or they do not belong together.
 */
int jwt_key_read(const char *path, const char *password,
		 struct jwt_key **ret) MUST_USE;
void jwt_key_close(struct jwt_key *k);
DROP_DEFINE(jwt_key, struct jwt_key *, jwt_key_close)

/*
 * Appends the assertion for client at audience (the token endpoint's URL), good
 * for ten minutes from now_s, a minute before it included: clocks differ.
 */
int jwt_assertion(const struct jwt_key *k, const char *client,
		  const char *audience, int64_t now_s,
		  struct buf *out) MUST_USE;
