// SPDX-License-Identifier: GPL-3.0-or-later
/* SharedKey, with requests that the service's emulator has accepted. */
#include <errno.h>

#include "backend/base/base64.h"
#include "backend/store/http_impl.h"
#include "backend/store/sign_azure.h"
#include "tests/unit/check.h"

/* Public: every emulator has it. */
#define ACCOUNT "devstoreaccount1"
#define KEY                                                                    \
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"      \
	"K1SZFPTOtr/KBHBeksoGMGw=="

static struct secret *key;

static void check(const char *url, const char *const *fields, size_t n,
		  const char *want)
{
	struct http_request q = { .method = "GET",
				  .url = url,
				  .fields = fields,
				  .nfields = n };
	DROP(http_wire) struct http_wire w = { 0 };

	CHECK_OK(http_wire_init(&w, &q));
	CHECK_OK(sign_azure(&w, ACCOUNT, key));
	CHECK_STR(http_wire_get(&w, "Authorization"), want);
}

static void test_vectors(void)
{
	static const char *const part[] = {
		"x-ms-range: bytes=0-511",
		"x-ms-version: 2021-12-02",
		"x-ms-date: Sun, 22 Nov 2026 01:00:00 GMT",
	};
	static const char *const range[] = {
		"x-ms-version: 2021-12-02",
		"Range: bytes=0-511",
		"X-MS-Date: Sun, 22 Nov 2026 01:00:00 GMT",
	};

	check("http://127.0.0.1:10000/devstoreaccount1/bench/d1g", part, 3,
	      "SharedKey " ACCOUNT
	      ":FDYDq+AFs+I+8KCWr0KFksVfv000f1DuqvUAdQbJxL8=");
	check("http://127.0.0.1:10000/devstoreaccount1/bench/d1g", range, 3,
	      "SharedKey " ACCOUNT
	      ":jZHzplMcXVtFicFQfvhywDcXasuOQrn2TEe4JY1JEAU=");
	check("http://127.0.0.1:10000/devstoreaccount1/bench?restype=container"
	      "&comp=list&prefix=d1&delimiter=%2F"
	      "&include=snapshots,metadata",
	      part + 1, 2,
	      "SharedKey " ACCOUNT
	      ":DI+1yDqEXUJwy+vPfC4Y+uVHHvf3lCC15+8JF1C3oCY=");
}

static void test_text(void)
{
	static const char *const fields[] = { "x-ms-b: 2", "If-None-Match: *",
					      "Content-Type: a/b", "X-Ms-A: 1",
					      "Other: no" };
	static const struct store_piece piece = { "12345", 5 };
	struct http_request q = { .method = "PUT",
				  .url = "https://a.example/c/x%2Fy?B=%3d&a&",
				  .fields = fields,
				  .nfields = 5,
				  .pieces = &piece,
				  .npieces = 1 };
	DROP(http_wire) struct http_wire w = { 0 };
	DROP(buf) struct buf b = BUF_INIT(1000);

	CHECK_OK(http_wire_init(&w, &q));
	CHECK_OK(sign_azure_text(&w, "a", &b));
	CHECK_STR(buf_cstr(&b), "PUT\n\n\n5\n\na/b\n\n\n\n*\n\n\n"
				"x-ms-a:1\nx-ms-b:2\n/a/c/x%2Fy\na:\nb:=");
}

static void test_base64(void)
{
	uint8_t data[100], back[BASE64_DECODED_MAX(136)];
	char text[BASE64_ENCODED_SIZE(100)];
	size_t got;

	for (size_t n = 0; n < 100; n++) {
		data[n] = (uint8_t)(n * 37 + 1);
		base64_encode(data, n, text);
		CHECK_U64(strlen(text) + 1, BASE64_ENCODED_SIZE(n));
		CHECK(base64_decode(text, strlen(text), back, &got));
		CHECK_U64(got, n);
		CHECK_MEM(back, data, n);
	}
	base64_encode("foob", 4, text);
	CHECK_STR(text, "Zm9vYg==");
	base64_encode("\377\377\276", 3, text);
	CHECK_STR(text, "//++");
}

int main(void)
{
	uint8_t bytes[BASE64_DECODED_MAX(sizeof(KEY))];
	size_t n;

	CHECK_OK(secret_new(64, &key));
	CHECK(base64_decode(KEY, strlen(KEY), bytes, &n));
	CHECK_U64(n, 64);
	memcpy(secret_bytes(key), bytes, n);
	test_base64();
	test_vectors();
	test_text();
	secret_close(key);
	return 0;
}
