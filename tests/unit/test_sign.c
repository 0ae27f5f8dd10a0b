// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/sign.h"

#include <errno.h>
#include <pthread.h>

#include "backend/base/hash.h"
#include "backend/base/parse.h"
#include "tests/unit/check.h"

/* RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc). */
static const struct {
	const char *seed, *public, *msg, *sig;
} vectors[] = {
	{
		"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		"",
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
		"5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
	},
	{
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		"72",
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
	},
	{
		"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
		"af82",
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
		"18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
	},
	{
		"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
		"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
		"09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
	},
};

static void test_vectors(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		DROP(secret) struct secret *seed = NULL;
		uint8_t msg[64], want[SIGN_SIZE], sig[SIGN_SIZE];
		size_t len = strlen(vectors[i].msg) / 2;
		struct sign_public public, derived;
		char tag[65] = "";

		CHECK_OK(secret_new(SIGN_SEED_SIZE, &seed));
		CHECK_OK(parse_hex(vectors[i].seed, secret_bytes(seed), 32));
		CHECK_OK(parse_hex(vectors[i].public, public.b, 32));
		CHECK_OK(parse_hex(vectors[i].msg, msg, len));
		CHECK_OK(parse_hex(vectors[i].sig, want, SIGN_SIZE));
		CHECK_OK(sign_public_of(seed, &derived));
		CHECK_MEM(derived.b, public.b, 32);
		CHECK_OK(sign_make(seed, "", msg, len, sig));
		CHECK_MEM(sig, want, SIGN_SIZE);
		CHECK_OK(sign_check(&public, "", msg, len, want));

		/* The tag is the beginning of what is signed. */
		if (len && !memchr(msg, 0, len)) {
			memcpy(tag, msg, len);
			CHECK_OK(sign_check(&public, tag, NULL, 0, want));
			tag[1] = '\0';
			CHECK_OK(sign_check(&public, tag, msg + 1, len - 1,
					    want));
		}
	}
}

static void rejected(const struct sign_public *key, const char *tag,
		     const char *msg, size_t len, const uint8_t *sig)
{
	CHECK_SAYS(-EKEYREJECTED, "does not verify",
		   sign_check(key, tag, msg, len, sig));
}

static void test_rejections(void)
{
	DROP(secret) struct secret *seed = NULL;
	DROP(secret) struct secret *other = NULL;
	struct sign_public public, public2;
	uint8_t sig[SIGN_SIZE], bent[SIGN_SIZE];
	static const char msg[] = "root hash";

	CHECK_OK(sign_new_key(&seed));
	CHECK_OK(sign_new_key(&other));
	CHECK_U64(secret_size(seed), SIGN_SEED_SIZE);
	CHECK_OK(sign_public_of(seed, &public));
	CHECK_OK(sign_public_of(other, &public2));
	CHECK(memcmp(public.b, public2.b, 32) != 0);
	CHECK_OK(sign_make(seed, "point\n", msg, 9, sig));
	CHECK_OK(sign_check(&public, "point\n", msg, 9, sig));
	rejected(&public2, "point\n", msg, 9, sig);
	rejected(&public, "vault\n", msg, 9, sig);
	rejected(&public, "", msg, 9, sig);
	rejected(&public, "point\n", msg, 8, sig);
	rejected(&public, "point\n", "root hasH", 9, sig);
	for (size_t i = 0; i < SIGN_SIZE; i++) {
		memcpy(bent, sig, SIGN_SIZE);
		bent[i] ^= 1;
		rejected(&public, "point\n", msg, 9, bent);
	}
	memset(bent, 0, SIGN_SIZE);
	rejected(&public, "point\n", msg, 9, bent);
	memset(bent, 0xff, SIGN_SIZE);
	rejected(&public, "point\n", msg, 9, bent);
	/* Bytes that are no point of the curve. */
	memset(public2.b, 0xff, 32);
	rejected(&public2, "point\n", msg, 9, sig);
}

static void test_wrong_seed(void)
{
	DROP(secret) struct secret *seed = NULL;
	struct sign_public public;
	uint8_t sig[SIGN_SIZE];

	CHECK_OK(secret_new(31, &seed));
	CHECK_FAILS(-EINVAL, sign_public_of(seed, &public));
	CHECK_FAILS(-EINVAL, sign_make(seed, "t", "m", 1, sig));
}

static void *sign_often(void *arg)
{
	struct secret *seed = arg;
	struct sign_public public;
	uint8_t sig[SIGN_SIZE];

	CHECK_OK(sign_public_of(seed, &public));
	for (uint32_t i = 0; i < 50; i++) {
		CHECK_OK(sign_make(seed, "t", &i, sizeof(i), sig));
		CHECK_OK(sign_check(&public, "t", &i, sizeof(i), sig));
	}
	return NULL;
}

static void test_threads(void)
{
	DROP(secret) struct secret *seed = NULL;
	pthread_t t[4];

	CHECK_OK(sign_new_key(&seed));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, sign_often, seed));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_join(t[i], NULL));
}

int main(void)
{
	CHECK_OK(secret_setup());
	test_vectors();
	test_rejections();
	test_wrong_seed();
	test_threads();
	return 0;
}
