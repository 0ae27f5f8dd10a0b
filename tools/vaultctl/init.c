// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/hash.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"
#include "backend/vault/keys.h"
#include "backend/vault/vault.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

/* The vault's name when none is given: the last component of its place. */
static int default_name(const char *url, char out[static CATALOG_NAME_MAX + 1])
{
	DROP(mem) char *base = NULL;
	int r = store_url_name(url, &base);

	if (r < 0)
		return r;
	if (check_name_arg("vault name", base) < 0)
		return fail(-EINVAL,
			    "%s: the last part of it cannot name the vault: "
			    "use --name",
			    url);
	memcpy(out, base, strlen(base) + 1);
	return 0;
}

static int report(const struct command *c, const char *url, const char *name,
		  const struct vault_id *id)
{
	DROP(json) struct json *j = NULL;
	struct sign_public owner;
	char id_hex[2 * sizeof(id->b) + 1];
	char owner_hex[2 * SIGN_PUBLIC_SIZE + 1];
	int r = keys_pinned(id, &owner);

	if (r < 0)
		return r;
	hex_of(id->b, sizeof(id->b), id_hex);
	hex_of(owner.b, sizeof(owner.b), owner_hex);
	if (!c->json) {
		if (!c->quiet)
			printf("%s: vault '%s' %s, owner key %s\n", url, name,
			       id_hex, owner_hex);
		return 0;
	}
	j = json_object();
	json_set_str(j, "vault", name);
	json_set_str(j, "url", url);
	json_set_str(j, "id", id_hex);
	json_set_str(j, "ownerKey", owner_hex);
	return print_json(take(j));
}

int cmd_init(int argc, char **argv)
{
	const char *given = NULL;
	const struct option_def options[] = {
		{ 'n', "name", OPTION_VALUE, &given, "NAME",
		  "name of the vault, which a mount shows as a directory; by "
		  "default the last part of VAULT" },
	};
	DROP(command)
	struct command c = COMMAND(
		"init", "VAULT", options,
		"Makes a new, empty vault, and the directory, container or "
		"bucket for it if it is not there. The owner key, the first writer key and the pin "
		"of the owner key are kept in your configuration directory: "
		"keep a copy of owner.key in a safe place.");
	DROP(store) struct store *store = NULL;
	char name[CATALOG_NAME_MAX + 1];
	struct vault_id id;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	if (given) {
		r = check_name_arg("vault name", given);
		if (r < 0)
			return r;
		memcpy(name, given, strlen(given) + 1);
	}
	r = secret_setup();
	if (r == 0)
		r = store_create_with(c.args.v[0], &c.store, &store);
	if (r == 0 && !given)
		r = default_name(c.args.v[0], name);
	if (r == 0)
		r = vault_init(store, name, &id);
	if (r < 0)
		return r;
	return report(&c, c.args.v[0], name, &id);
}
