// SPDX-License-Identifier: GPL-3.0-or-later
// needs: VAULT_URL_BASE
// timeout: 120
/*
 * The contract on a store that is reached over a network: below the URL in
 * VAULT_URL_BASE, with the credentials of the environment.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "backend/base/hash.h"
#include "backend/base/parse.h"
#include "backend/store/store.h"
#include "tests/fakes/store_contract.h"
#include "tests/unit/check.h"

static char base[PATH_MAX];

/* A folder of its own; names may be long, so this one is not. */
static struct store *make(void)
{
	struct store_options o = { .endpoint = getenv("VAULT_ENDPOINT") };
	char url[PATH_MAX + 20], hex[9];
	uint8_t nonce[4];
	struct store *s;

	CHECK_OK(random_bytes(nonce, sizeof(nonce)));
	hex_of(nonce, sizeof(nonce), hex);
	snprintf(url, sizeof(url), "%s/%s", base, hex);
	CHECK_OK(store_create_with(url, &o, &s));
	CHECK_STR(store_url(s), url);
	return s;
}

/* What the probe made is gone, and was never shown. */
static void test_probe(void)
{
	DROP(store) struct store *s = make();
	struct store_list l = { 0 };
	struct store_traffic t;

	CHECK_OK(store_list(s, "", "", 10, false, &l));
	CHECK_U64(l.count, 0);
	store_list_release(&l);
	store_traffic(s, &t);
	CHECK(t.requests >= 6 && t.parallel > 1 && t.wait_ns);
	CHECK(s->durable_puts);
}

static void test_not_there(void)
{
	struct store_options o = { .endpoint = getenv("VAULT_ENDPOINT") };
	const char *url = !strncmp(base, "az:", 3)
				  ? "az:///no-such-container-here"
				  : "s3://no-such-bucket-here";
	DROP(store) struct store *s = NULL;
	DROP(store) struct store *readonly = NULL;
	struct store_list l = { 0 };
	uint8_t byte;

	CHECK_OK(store_open_with(url, &o, true, &s));
	CHECK_FAILS(-ENXIO, store_read(s, "a", &byte, 1, 0));
	CHECK_FAILS(-ENXIO, store_put(s, "a", "x", 1));
	CHECK_FAILS(-ENXIO, store_list(s, "", "", 10, false, &l));
	CHECK(strstr(err_text(-ENXIO), "is not there"));

	CHECK_OK(store_open_with(base, &o, false, &readonly));
	CHECK_FAILS(-EROFS, store_put(readonly, "a", "x", 1));
	CHECK_FAILS(-EROFS, store_remove(readonly, "a"));
}

int main(void)
{
	const char *b = getenv("VAULT_URL_BASE");

	CHECK(b);
	snprintf(base, sizeof(base), "%s", b);
	test_probe();
	test_not_there();
	store_contract(make);
	return 0;
}
