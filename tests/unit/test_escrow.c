// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Escrow records: what `az` prints, with each way in which a secret says that it is
 * wrapped, or plain, or says nothing; our own documents; base64; what a BEK is.
 */
#include <errno.h>
#include <stdarg.h>

#include "backend/base/buf.h"
#include "backend/base/base64.h"
#include "crypt/escrow.h"
#include "tests/unit/check.h"

#define SECRET_URL "https://v.vault.azure.net/secrets/0a1b/0123456789abcdef"
#define KEK_URL "https://v.vault.azure.net/keys/kek/fedcba9876543210"

#define SET(to, text) snprintf(to, sizeof(to), "%s", text)

static char wrapped[BASE64_ENCODED_SIZE(384)]; /* of 384 bytes */
/* Base64 of base64 characters, as the extension's BEKs are. */
static char plain[300];
static char passphrase[173];

static void make_values(void)
{
	uint8_t bytes[384];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 0xc0);
	base64url_encode(bytes, sizeof(bytes), wrapped);
	for (size_t i = 0; i < 172; i++)
		passphrase[i] = "abcXYZ019+/"[i % 11];
	memcpy(passphrase + 170, "==", 3);
	base64url_encode(passphrase, 172, plain);
}

static struct secret *text_of(const char *fmt, ...)
{
	struct buf b = BUF_INIT(SECRET_MAX);
	struct secret *s;
	char line[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if (*p == '\'')
			*p = '"';
	buf_str(&b, line);
	CHECK_OK(secret_copy(b.data, b.len, &s));
	buf_release(&b);
	return s;
}

struct result {
	struct escrow_record rec;
	struct secret *bek;
};

static int read_text(struct secret *text, const char *kek_url, bool is_plain,
		     struct result *out)
{
	struct escrow_request rq = { .what = "os",
				     .wrapped_kek_url = kek_url,
				     .plain = is_plain };
	int r;

	*out = (struct result){ 0 };
	r = escrow_read(text, &rq, &out->rec, &out->bek);
	secret_close(text);
	return r;
}

static void release(struct result *r)
{
	escrow_record_release(&r->rec);
	secret_close(r->bek);
}

static struct secret *az(const char *value, const char *type, const char *tags)
{
	return text_of("{'attributes': {'enabled': true, 'exp': null},\n"
		       " 'contentType': %s%s%s, 'id': '" SECRET_URL "',\n"
		       " 'kid': null, 'managed': null, 'name': '0a1b',\n"
		       " 'tags': %s, 'value': '%s'}\n",
		       type ? "'" : "", type ? type : "null", type ? "'" : "",
		       tags ? tags : "null", value);
}

static void test_wrapped(void)
{
	static const char tag[] =
		"{'DiskEncryptionKeyEncryptionKeyURL': '" KEK_URL "',"
		" 'DiskEncryptionKeyEncryptionAlgorithm': 'RSA-OAEP-256',"
		" 'DiskEncryptionKeyFileName': 'LinuxPassPhraseFileName',"
		" 'MachineName': 'web-01'}";
	struct result x;

	/* By its tag. */
	CHECK_OK(read_text(az(wrapped, NULL, tag), NULL, false, &x));
	CHECK(!x.bek);
	CHECK_STR(x.rec.secret_url, SECRET_URL);
	CHECK_STR(x.rec.file_name, "LinuxPassPhraseFileName");
	CHECK_STR(x.rec.machine, "web-01");
	CHECK_U64(x.rec.nwraps, 1);
	CHECK_STR(x.rec.wraps[0].kek_url, KEK_URL);
	CHECK(x.rec.wraps[0].alg_named);
	CHECK(x.rec.wraps[0].alg == WRAP_RSA_OAEP_256);
	CHECK_U64(x.rec.wraps[0].size, 384);
	CHECK_U64(x.rec.wraps[0].value[1], 0xc7);
	release(&x);
	/* By its type; the algorithm is not named. */
	CHECK_OK(read_text(az(wrapped, "Wrapped BEK", NULL), NULL, false, &x));
	CHECK_U64(x.rec.nwraps, 1);
	CHECK_STR(x.rec.wraps[0].kek_url, "");
	CHECK(!x.rec.wraps[0].alg_named);
	CHECK(x.rec.wraps[0].alg == WRAP_RSA_OAEP);
	release(&x);
	/* By the user, who knows better than the type. */
	CHECK_OK(read_text(az(wrapped, "BEK", NULL), KEK_URL, false, &x));
	CHECK_STR(x.rec.wraps[0].kek_url, KEK_URL);
	release(&x);

	CHECK_SAYS(-EINVAL, "leave --plain out",
		   read_text(az(wrapped, NULL, tag), NULL, true, &x));
	CHECK_SAYS(-EPROTO, "256 to 2048",
		   read_text(az(plain, "Wrapped BEK", NULL), NULL, false, &x));
	CHECK_SAYS(-EPROTO, "not base64",
		   read_text(az("a$$$", "Wrapped BEK", NULL), NULL, false, &x));
	CHECK_SAYS(-ENOTSUP, "'A256KW' is not known",
		   read_text(az(wrapped, NULL,
				"{'DiskEncryptionKeyEncryptionKeyURL': 'u',"
				"'DiskEncryptionKeyEncryptionAlgorithm':"
				" 'A256KW'}"),
			     NULL, false, &x));
}

static void test_plain(void)
{
	struct result x;
	char escaped[400];
	size_t n = 0;

	CHECK_OK(read_text(az(plain, "BEK", NULL), NULL, false, &x));
	CHECK_U64(x.rec.nwraps, 0);
	CHECK_U64(secret_size(x.bek), 172);
	CHECK_MEM(secret_bytes(x.bek), passphrase, 172);
	release(&x);
	CHECK_OK(read_text(az(plain, NULL, NULL), NULL, true, &x));
	CHECK_U64(secret_size(x.bek), 172);
	release(&x);
	/* An empty tag, as the extension writes it when there is no KEK. */
	CHECK_OK(read_text(az(plain, "BEK",
			      "{'DiskEncryptionKeyEncryptionKeyURL': '',"
			      "'DiskEncryptionKeyEncryptionAlgorithm':"
			      "'RSA-OAEP'}"),
			   NULL, false, &x));
	CHECK(x.bek);
	release(&x);
	/* Padding; characters that some writers escape. */
	for (const char *p = plain; *p; p++)
		n += (size_t)snprintf(escaped + n, sizeof(escaped) - n,
				      *p == 'Y' ? "\\u0059" : "%c", *p);
	snprintf(escaped + n, sizeof(escaped) - n, "\\u003D\\u003d");
	CHECK(strlen(plain) % 4 == 2);
	CHECK_OK(read_text(az(escaped, "BEK", NULL), NULL, false, &x));
	CHECK_MEM(secret_bytes(x.bek), passphrase, 172);
	release(&x);

	CHECK_SAYS(-EINVAL,
		   "os: the secret does not say whether it is wrapped; add "
		   "--wrapped KEKURL or --plain",
		   read_text(az(plain, NULL, NULL), NULL, false, &x));
	/* The tag with the algorithm is no evidence. */
	CHECK_SAYS(-EINVAL, "does not say whether",
		   read_text(az(plain, "",
				"{'DiskEncryptionKeyEncryptionAlgorithm':"
				"'RSA-OAEP'}"),
			     NULL, false, &x));
	CHECK_SAYS(-EINVAL, "looks wrapped by a key of 3072 bits",
		   read_text(az(wrapped, "BEK", NULL), NULL, false, &x));
	CHECK_SAYS(-EPROTO, "is no BEK",
		   read_text(az("AAAA", "BEK", NULL), NULL, false, &x));
	CHECK_SAYS(-EINVAL, "no key in it",
		   read_text(az(plain, "BEK",
				"{'DiskEncryptionKeyFileName':"
				"'nullProtector.bek'}"),
			     NULL, false, &x));
}

static void test_documents(void)
{
	struct result x;

	CHECK_SAYS(-EPROTO, "az keyvault secret show",
		   read_text(text_of("{'id': 'x'}"), NULL, true, &x));
	CHECK_SAYS(-EPROTO, "az keyvault secret show",
		   read_text(text_of("{'value': null, 'a': {'value': 'AAAA'}}"),
			     NULL, true, &x));
	CHECK_SAYS(-EPROTO, "two values",
		   read_text(text_of("{'value': 'AAAA', 'value': 'AAAA'}"),
			     NULL, true, &x));
	CHECK_SAYS(-EPROTO, "JSON",
		   read_text(text_of("{'value': 'AAAA'"), NULL, true, &x));
	CHECK_SAYS(-EPROTO, "JSON",
		   read_text(text_of("{'value': 'AAAA"), NULL, true, &x));
	CHECK_SAYS(-EPROTO, "no string",
		   read_text(text_of("{'value': 'AAAA', 'id': 4}"), NULL, true,
			     &x));
	/* The member that is meant is the secret's own. */
	CHECK_OK(read_text(text_of("{'tags': {'value': 'a', 'x': '\\'value\\':"
				   "'}, 'value' : '%s'}",
				   plain),
			   NULL, true, &x));
	CHECK_U64(secret_size(x.bek), 172);
	release(&x);
}

/* No part of a plain value is in what a failure says, nor on the heap that json-c
 * uses: there is a search of the memory for the latter (cases/keys/memory.sh). */
static void test_own(void)
{
	struct escrow_record rec = { 0 }, back;
	DROP(mem) char *text = NULL;
	struct digest digest;
	struct wrap w = { .alg = WRAP_RSA1_5, .alg_named = true, .size = 256 };
	struct result x;
	char place[ESCROW_PLACE_SIZE];
	size_t len;

	SET(rec.disk, "os");
	rec.part = 2;
	SET(rec.secret_url, SECRET_URL);
	SET(rec.content_type, "Wrapped BEK");
	rec.tags = json_object();
	json_set_str(rec.tags, "DiskEncryptionKeyFileName", "A.BEK");
	json_set_str(rec.tags, "ä", "ü");
	CHECK_OK(escrow_add_wrap(&rec, &w));
	w = (struct wrap){ .size = 512, .has_spki = true };
	memset(&w.spki, 0xab, sizeof(w.spki));
	SET(w.kek_label, "the safe");
	w.value[511] = 9;
	CHECK_OK(escrow_add_wrap(&rec, &w));
	CHECK_OK(escrow_text(&rec, &text, &len));
	CHECK(!strstr(text, "\"disk\"") && !strchr(text, '\n'));

	CHECK_OK(escrow_parse(text, len, &back));
	CHECK(digest_equal(&back.digest, &rec.digest));
	sha256(text, len, &digest);
	CHECK(digest_equal(&back.digest, &digest));
	CHECK_STR(back.disk, "");
	CHECK_U64(back.part, 2);
	CHECK_STR(back.secret_url, SECRET_URL);
	CHECK_STR(back.file_name, "A.BEK");
	CHECK_U64(back.nwraps, 2);
	CHECK(back.wraps[0].alg == WRAP_RSA1_5 && back.wraps[0].alg_named);
	CHECK(!back.wraps[0].has_spki);
	CHECK(!back.wraps[1].alg_named && back.wraps[1].has_spki);
	CHECK_MEM(&back.wraps[1].spki, &w.spki, sizeof(w.spki));
	CHECK_MEM(back.wraps[1].value, w.value, 512);
	CHECK_STR(back.wraps[1].kek_label, "the safe");
	/* As the user may give it. */
	CHECK_OK(read_text(text_of("%s", text), NULL, false, &x));
	CHECK_U64(x.rec.nwraps, 2);
	CHECK(digest_equal(&x.rec.digest, &rec.digest));
	release(&x);

	escrow_place(&rec, place);
	CHECK_STR(place, "os-p2");
	rec.part = 0;
	escrow_place(&rec, place);
	CHECK_STR(place, "os");
	escrow_record_release(&back);
	escrow_record_release(&rec);
	escrow_place(&rec, place);
	CHECK_STR(place, "the VM");
}

static int parse_text(const char *text)
{
	struct escrow_record rec;
	char line[8192];
	size_t n = 0;
	int r;

	for (; text[n]; n++)
		line[n] = text[n] == '\'' ? '"' : text[n];
	r = escrow_parse(line, n, &rec);
	if (r == 0)
		escrow_record_release(&rec);
	return r;
}

static void test_own_bad(void)
{
	static const char *const bad[][2] = {
		{ "{'k': 1}", "not an escrow record" },
		{ "[]", "not an escrow record" },
		{ "{'vaultfsEscrow': 2}", "version 2" },
		{ "{'vaultfsEscrow': 1, 'part': 0}", "part" },
		{ "{'vaultfsEscrow': 1, 'part': 1000}", "part" },
		{ "{'vaultfsEscrow': 1, 'secretUrl': []}", "secretUrl" },
		{ "{'vaultfsEscrow': 1, 'wraps': [{}]}", "no value" },
		{ "{'vaultfsEscrow': 1, 'wraps': [{'value': 'AAAA'}]}",
		  "256 to 2048" },
		{ "{'vaultfsEscrow': 1, 'wraps': [{'alg': 1}]}", "alg" },
		{ "{'vaultfsEscrow': 1, 'wraps': [{'alg': 'DES'}]}", "DES" },
		{ "{'vaultfsEscrow': 1, 'wraps': [{'spki': 'ab'}]}", "spki" },
		{ "{'vaultfsEscrow': 1", "JSON" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_SAYS(-EPROTO, bad[i][1], parse_text(bad[i][0]));
	CHECK_OK(parse_text("{'vaultfsEscrow': 1}"));
	CHECK_OK(parse_text("{'vaultfsEscrow': 1, 'later': {}}"));
}

static void test_too_many(void)
{
	struct escrow_record rec = { 0 };
	struct wrap w = { .size = 256 };

	for (int i = 0; i < ESCROW_WRAPS_MAX; i++)
		CHECK_OK(escrow_add_wrap(&rec, &w));
	CHECK_FAILS(-EFBIG, escrow_add_wrap(&rec, &w));
	escrow_record_release(&rec);
}

static void test_base64(void)
{
	static const struct {
		const char *text, *bytes;
		int n; /* -1: refused */
	} rows[] = {
		{ "", "", 0 },		{ "Zg==", "f", 1 },
		{ "Zg", "f", 1 },	{ "Zm8=", "fo", 2 },
		{ "Zm8", "fo", 2 },	{ "Zm9v", "foo", 3 },
		{ "+/-_", NULL, 3 },	{ "Z", NULL, -1 },
		{ "Zg=", NULL, -1 },	{ "Zh", NULL, -1 },
		{ "Zm9vZ", NULL, -1 },	{ "====", NULL, -1 },
		{ "Zm9v\n", NULL, -1 }, { "Zg==Zg==", NULL, -1 },
		{ "=", NULL, -1 },	{ "Zm=v", NULL, -1 },
	};
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t out[32];
		size_t n = 99;
		bool ok = base64_decode(rows[i].text, strlen(rows[i].text), out,
					&n);

		CHECK(ok == (rows[i].n >= 0));
		if (!ok)
			continue;
		CHECK_U64(n, rows[i].n);
		if (rows[i].bytes)
			CHECK_MEM(out, rows[i].bytes, n);
	}
	base64url_encode("\xfb\xff\xfe", 3, text);
	CHECK_STR(text, "-__-");
	base64url_encode("foob", 4, text);
	CHECK_STR(text, "Zm9vYg");
	base64url_encode("", 0, text);
	CHECK_STR(text, "");
}

static void test_plausible(void)
{
	uint8_t bek[156] = { 156, 0, 0, 0, 1, 0, 0, 0, 48, 0, 0, 0, 156 };

	CHECK(bek_plausible(bek, 156, "X.BEK"));
	CHECK(bek_plausible(bek, 156, ""));
	CHECK(!bek_plausible(bek, 155, "X.bek"));
	CHECK(!bek_plausible(bek, 156, "LinuxPassPhraseFileName"));
	CHECK(bek_plausible(passphrase, 172, "LinuxPassPhraseFileName_0_1"));
	CHECK(bek_plausible("any text", 8, ""));
	CHECK(!bek_plausible("any text", 8, "X.BEK"));
	CHECK(!bek_plausible("", 0, ""));
	CHECK(!bek_plausible("a\nb", 3, ""));
	CHECK(!bek_plausible("\xff\xfe", 2, ""));
	bek[4] = 2;
	CHECK(!bek_plausible(bek, 156, ""));
}

int main(void)
{
	make_values();
	test_wrapped();
	test_plain();
	test_documents();
	test_own();
	test_own_bad();
	test_too_many();
	test_base64();
	test_plausible();
	return 0;
}
