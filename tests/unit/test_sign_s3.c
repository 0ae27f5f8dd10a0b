// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Signature Version 4: the examples of "Authenticating Requests: Using the
 * Authorization Header" (Amazon S3 API Reference), and of RFC 4231.
 */
#include <errno.h>

#include "backend/base/parse.h"
#include "backend/store/http_impl.h"
#include "backend/store/sign_s3.h"
#include "tests/unit/check.h"

#define SECRET_KEY "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define AT (INT64_C(1369353600) * 1000000000) /* 20130524T000000Z */

static struct secret *key;

static void check(const char *method, const char *url,
		  const char *const *fields, size_t n, const char *body,
		  const char *want)
{
	struct http_request q = { .method = method,
				  .url = url,
				  .fields = fields,
				  .nfields = n };
	const struct sign_s3 s = { "us-east-1", "AKIAIOSFODNN7EXAMPLE", key,
				   NULL };
	DROP(http_wire) struct http_wire w = { 0 };
	struct digest d;
	const char *got;

	sha256(body, strlen(body), &d);
	CHECK_OK(http_wire_init(&w, &q));
	CHECK_OK(sign_s3(&w, &s, &d, AT));
	CHECK_STR(http_wire_get(&w, "x-amz-date"), "20130524T000000Z");
	got = strstr(http_wire_get(&w, "Authorization"), "Signature=");
	CHECK_STR(got + 10, want);
	CHECK(strstr(http_wire_get(&w, "Authorization"),
		     "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
		     "aws4_request,SignedHeaders="));
}

static void test_vectors(void)
{
	static const char *const get[] = { "Range: bytes=0-9" };
	static const char *const put[] = {
		"x-amz-storage-class: REDUCED_REDUNDANCY",
		"Date: Fri, 24 May 2013 00:00:00 GMT"
	};

	check("GET", "https://examplebucket.s3.amazonaws.com/test.txt", get, 1,
	      "",
	      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb"
	      "41");
	check("PUT",
	      "http://examplebucket.s3.amazonaws.com:80/test%24file.text", put,
	      2, "Welcome to Amazon S3.",
	      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108"
	      "bd");
	check("GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", NULL,
	      0, "",
	      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783"
	      "543");
	check("GET",
	      "https://examplebucket.s3.amazonaws.com:443?prefix=J&max-keys=2",
	      NULL, 0, "",
	      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6"
	      "f7");
}

static void test_request(void)
{
	static const char *const fields[] = { "X-B: 2", "Authorization: no",
					      "x-a: 1" };
	struct http_request q = { .method = "GET",
				  .url = "http://h:8080/a%20b?x=1&ab=3&a=2&z",
				  .fields = fields,
				  .nfields = 3 };
	DROP(http_wire) struct http_wire w = { 0 };
	DROP(buf) struct buf b = BUF_INIT(1000);
	DROP(buf) struct buf names = BUF_INIT(1000);

	CHECK_OK(http_wire_init(&w, &q));
	CHECK_OK(sign_s3_request(&w, "HASH", &b, &names));
	CHECK_STR(buf_cstr(&b), "GET\n/a%20b\na=2&ab=3&x=1&z=\n"
				"host:h:8080\nx-a:1\nx-b:2\n\n"
				"host;x-a;x-b\nHASH");
}

static void test_token(void)
{
	struct http_request q = { .method = "GET", .url = "https://h/x" };
	struct sign_s3 s = { "us-east-1", "id", key, NULL };
	DROP(http_wire) struct http_wire w = { 0 };
	DROP(secret) struct secret *token = NULL;
	struct digest d;

	CHECK_OK(secret_new(5, &token));
	memcpy(secret_bytes(token), "a/b==", 5);
	s.token = token;
	sha256("", 0, &d);
	CHECK_OK(http_wire_init(&w, &q));
	CHECK_OK(sign_s3(&w, &s, &d, AT));
	CHECK_STR(http_wire_get(&w, "x-amz-security-token"), "a/b==");
	CHECK(strstr(http_wire_get(&w, "Authorization"),
		     "SignedHeaders=host;x-amz-content-sha256;x-amz-date;"
		     "x-amz-security-token,"));
}

static void check_hmac(const char *k, size_t klen, const char *text,
		       const char *want)
{
	char hex[DIGEST_HEX + 1];
	struct digest d;

	hmac_sha256(k, klen, text, strlen(text), &d);
	digest_hex(&d, hex);
	CHECK_STR(hex, want);
}

/* RFC 4231, test cases 2 and 6. */
static void test_hmac(void)
{
	char longest[131];

	memset(longest, 0xaa, sizeof(longest));
	check_hmac("Jefe", 4, "what do ya want for nothing?",
		   "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b96"
		   "4ec3843");
	check_hmac(longest, sizeof(longest),
		   "Test Using Larger Than Block-Size Key - Hash Key First",
		   "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0"
		   "ee37f54");
}

int main(void)
{
	CHECK_OK(secret_new(strlen(SECRET_KEY), &key));
	memcpy(secret_bytes(key), SECRET_KEY, strlen(SECRET_KEY));
	test_hmac();
	test_vectors();
	test_request();
	test_token();
	secret_close(key);
	return 0;
}
