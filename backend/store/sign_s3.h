// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Signature Version 4 of S3: the Authorization of one request, by ourselves and
 * not by libcurl, whose own differs from version to version (before 8.x it does
 * not sort a query, nor escape a path). Pure, but for what it is given.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
#pragma once
#include "backend/base/hash.h"
#include "backend/base/secret.h"
#include "backend/store/http.h"

struct sign_s3 {
	const char *region;
	const char *key_id;
	struct secret *key;   /* its text */
	struct secret *token; /* of a session, its text; or NULL */
};

/*
 * Sets x-amz-date, x-amz-content-sha256, x-amz-security-token and
 * Authorization. The URL's path and query are escaped as RFC 3986 has it; the
 * query may be in any order. payload: the SHA-256 of the body.
 */
int sign_s3(struct http_wire *w, const struct sign_s3 *s,
	    const struct digest *payload, int64_t now_ns) MUST_USE;
/* What is hashed for it: for tests. */
int sign_s3_request(const struct http_wire *w, const char *payload_hex,
		    struct buf *out, struct buf *names) MUST_USE;
