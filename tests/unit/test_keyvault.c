// SPDX-License-Identifier: GPL-3.0-or-later
/* What of Key Vault needs no connection. */
#include "crypt/keyvault.h"

#include <errno.h>

#include "tests/unit/check.h"

static void test_urls(void)
{
	static const char *const bad[] = {
		"",
		"http://v/keys/k/1",
		"https://",
		"https://v/keys",
		"https://v/keys/",
		"https://v/certificates/k/1",
		"https://v/keys/k/1/2",
		"https://v/keys/k_1/1",
		"https://u@v/keys/k",
		"https://v/keys/k?x",
		"https://v//keys/k",
		"https://v/keys/../k",
	};
	struct kv_url a, b;

	CHECK_OK(kv_url_parse("https://V.Vault.azure.net:443/Keys/K-1/Ab", &a));
	CHECK(a.kind == KV_KEY);
	CHECK_STR(a.host, "v.vault.azure.net");
	CHECK_STR(a.name, "K-1");
	CHECK_STR(a.version, "Ab");
	CHECK_OK(kv_url_parse("https://w.vault.azure.net:8443/keys/k-1/", &b));
	CHECK_STR(b.host, "w.vault.azure.net:8443");
	CHECK_STR(b.version, "");
	CHECK(kv_url_same_object(&a, &b));
	CHECK_OK(kv_url_parse("https://w/secrets/k-1/aB", &b));
	CHECK(!kv_url_same_object(&a, &b));
	CHECK_OK(kv_url_parse("https://w/keys/k-1/2", &b));
	CHECK(!kv_url_same_object(&a, &b));
	CHECK_OK(kv_url_parse("https://w/", &b));
	CHECK(b.kind == KV_VAULT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_FAILS(-EINVAL, kv_url_parse(bad[i], &a));
}

static void test_challenges(void)
{
	static const char *const bad[] = {
		"",
		"Basic realm=\"x\"",
		"Bearer ",
		"Bearer resource=\"https://v\"",
		"Bearer authorization=\"https://l/t\"",
		"Bearer authorization=\"https://l\", resource=\"https://v\"",
		"Bearer authorization=\"http://l/t\", resource=\"https://v\"",
		"Bearer authorization=\"https://l/t\", resource=\"https://v/x\"",
		"Bearer authorization=\"https://l/t\", resource=\"v\"",
		"Bearer authorization=\"https://l/t\", resource=\"https://v",
	};
	struct kv_challenge c;

	CHECK_OK(kv_challenge_parse(
		"Bearer authorization=\"https://login.windows.net/t-1\", "
		"resource=\"https://vault.azure.net\"",
		&c));
	CHECK_STR(c.tenant, "t-1");
	CHECK_STR(c.resource, "https://vault.azure.net");
	CHECK(kv_challenge_fits(&c, "kv.vault.azure.net"));
	CHECK(kv_challenge_fits(&c, "KV.Vault.azure.net:443"));
	CHECK(!kv_challenge_fits(&c, "vault.azure.net"));
	CHECK(!kv_challenge_fits(&c, "kvvault.azure.net"));
	CHECK(!kv_challenge_fits(&c, "kv.vault.azure.net.evil"));
	CHECK_OK(kv_challenge_parse(
		"Bearer scope=\"https://managedhsm.azure.net/.default\",error="
		"\"x\",authorization_uri=\"https://l/t/oauth2\"",
		&c));
	CHECK_STR(c.resource, "https://managedhsm.azure.net");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_FAILS(-EPROTO, kv_challenge_parse(bad[i], &c));
}

static void test_words(void)
{
	static const struct {
		int status, code;
		const char *body, *says;
	} rows[] = {
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"message\":\"Caller was "
		  "not found on any access policy\",\"innererror\":{\"code\":"
		  "\"AccessDenied\"}}}",
		  "set-policy" },
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"innerError\":{\"code\":"
		  "\"ForbiddenByRbac\"}}}",
		  "Key Vault Crypto User" },
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"innererror\":{\"code\":"
		  "\"ForbiddenByFirewall\"}}}",
		  "network-rule" },
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"innererror\":{\"code\":"
		  "\"SecretDisabled\"}}}",
		  "--enabled true" },
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"message\":\"Operation "
		  "unwrapKey is not permitted on this key.\"}}",
		  "--ops" },
		{ 403, -EACCES,
		  "{\"error\":{\"code\":\"Forbidden\",\"message\":\"Operation "
		  "unwrapKey is not allowed on an expired key.\"}}",
		  "--expires" },
		{ 401, -EACCES,
		  "{\"error\":{\"code\":\"Unauthorized\",\"message\":\"AKV10032: "
		  "Invalid issuer.\"}}",
		  "another tenant" },
		{ 409, -EBUSY,
		  "{\"error\":{\"code\":\"Conflict\",\"innererror\":{\"code\":"
		  "\"ObjectIsDeletedButRecoverable\"}}}",
		  "recovered" },
		{ 409, -EBUSY,
		  "{\"error\":{\"code\":\"Conflict\",\"innererror\":{\"code\":"
		  "\"ObjectIsBeingRecovered\"}}}",
		  "in a minute" },
		{ 418, -EIO, "no JSON", "answers 418" },
		{ 403, -EACCES, "{\"error\":null}", "answers 403" },
	};
	struct kv_url u;

	CHECK_OK(kv_url_parse("https://kv.vault.azure.net/keys/kek/1", &u));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK_SAYS(rows[i].code, rows[i].says,
			   kv_failed(&u, "unwrapKey", rows[i].status,
				     rows[i].body, strlen(rows[i].body)));
		check_in(__FILE__, __LINE__, err_text(rows[i].code),
			 "key kek of kv.vault.azure.net: unwrapKey: ");
	}
}

static void test_values(void)
{
	char text[] = "{\"kid\":\"value\",\"x\":{\"value\":\"no\"},\"value\" : "
		      "\"YWJj\\/\"}";
	static const char *const bad[] = {
		"",
		"{}",
		"{\"value\":1}",
		"{\"value\":\"\"}",
		"{\"value\":\"x",
		"{\"value\":\"a\\u0041\"}",
		"{\"a\":{\"value\":\"x\"}}",
	};
	DROP(secret) struct secret *s = NULL;

	CHECK_OK(kv_cut_value(text, strlen(text), &s));
	CHECK_U64(secret_size(s), 5);
	CHECK_MEM(secret_bytes(s), "YWJj/", 5);
	CHECK(!memmem(text, sizeof(text), "YWJj", 4));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char copy[64];
		struct secret *none;

		snprintf(copy, sizeof(copy), "%s", bad[i]);
		CHECK_FAILS(-EPROTO, kv_cut_value(copy, strlen(copy), &none));
	}
}

static void test_maps(void)
{
	CHECK_OK(keyvault_map_host("old.vault.azure.net=New.vault.azure.net"));
	CHECK_OK(keyvault_map_host("https://o2=https://n2:99"));
	CHECK_STR(keyvault_mapped("old.vault.azure.net"),
		  "new.vault.azure.net");
	CHECK_STR(keyvault_mapped("o2"), "n2:99");
	CHECK_STR(keyvault_mapped("other"), "other");
	CHECK_FAILS(-EINVAL, keyvault_map_host("x"));
	CHECK_FAILS(-EINVAL, keyvault_map_host("x="));
	CHECK_FAILS(-EINVAL, keyvault_map_host("a=b/keys/k"));
	CHECK_FAILS(-EINVAL, keyvault_trust_resource("a b"));
}

int main(void)
{
	CHECK_OK(secret_setup());
	test_urls();
	test_challenges();
	test_words();
	test_values();
	test_maps();
	return 0;
}
