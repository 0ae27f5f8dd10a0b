// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The keys of a vault. Its owner key signs the config, which lists the writer
 * keys, which sign commits; readers pin the owner key. FORMAT.md, sections 3
 * and 6.2.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/vault/keys.h"
#include "backend/vault/writer.h"
#include "tools/common/open.h"
#include "tools/vaultctl/vaultctl.h"

#define KEY_HEX (2 * SIGN_PUBLIC_SIZE + 1)

static void key_hex(const struct sign_public *key, char out[static KEY_HEX])
{
	hex_of(key->b, sizeof(key->b), out);
}

static bool key_equal(const struct sign_public *a, const struct sign_public *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static int parse_key(const char *what, const char *text,
		     struct sign_public *out)
{
	if (parse_hex(text, out->b, sizeof(out->b)) < 0)
		return bad_usage("%s is 64 hex digits, not '%s'", what, text);
	return 0;
}

/* --- list --- */

static int list_object(const struct vault *v, const struct vf_config *c,
		       bool pinned)
{
	struct json *top = json_object(), *keys = json_array();
	char hex[KEY_HEX];

	json_set_str(top, "vault", vault_name(v));
	key_hex(&c->owner, hex);
	json_set_str(top, "ownerKey", hex);
	json_set_bool(top, "pinned", pinned);
	for (size_t i = 0; i < c->nkeys; i++) {
		struct json *k = json_object();

		key_hex(&c->keys[i].key, hex);
		json_set_str(k, "key", hex);
		json_set_str(k, "label", c->keys[i].label);
		json_set_bool(k, "active", c->keys[i].retired == 0);
		json_set_u64(k, "addedInConfig", c->keys[i].added);
		if (c->keys[i].retired)
			json_set_u64(k, "retiredInConfig", c->keys[i].retired);
		json_push(keys, k);
	}
	json_set(top, "writerKeys", keys);
	return print_json(top);
}

static int list_table(const struct vf_config *c, bool pinned)
{
	static const char *const headings[] = { "KEY", "ROLE", "STATE", "LABEL",
						NULL };
	DROP(table) struct table *t = NULL;
	char hex[KEY_HEX];
	int r = table_new(headings, &t);

	if (r < 0)
		return r;
	key_hex(&c->owner, hex);
	table_cell(t, "%s", hex);
	table_cell(t, "owner");
	table_cell(t, pinned ? "pinned" : "not pinned");
	table_cell(t, "-");
	for (size_t i = 0; i < c->nkeys; i++) {
		key_hex(&c->keys[i].key, hex);
		table_cell(t, "%s", hex);
		table_cell(t, "writer");
		table_cell(t, c->keys[i].retired ? "retired" : "active");
		table_cell(t, "%s", *c->keys[i].label ? c->keys[i].label : "-");
	}
	return table_print(t, 0);
}

static int key_list(int argc, char **argv)
{
	DROP(command)
	struct command c = COMMAND_PLAIN(
		"key list", "VAULT",
		"Lists the owner key, whether it is pinned here, and the "
		"writer keys.");
	DROP(opened) struct opened o = { 0 };
	DROP(vault_config) struct vault_config *config = NULL;
	struct vault *v;
	bool pinned;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = open_reading(&c, &o);
	if (r == 0)
		r = opened_native(&o, &v);
	if (r < 0)
		return r;
	config = vault_config_ref(v);
	pinned = vault_trust(v) == SEAL_PINNED;
	return c.json ? list_object(v, &config->c, pinned)
		      : list_table(&config->c, pinned);
}

/* --- add, retire --- */

static int report_key(const struct command *c, const struct sign_public *key,
		      const char *done)
{
	struct json *j;
	char hex[KEY_HEX];

	key_hex(key, hex);
	if (!c->json) {
		if (!c->quiet)
			printf("writer key %s: %s\n", hex, done);
		return 0;
	}
	j = json_object();
	json_set_str(j, "key", hex);
	json_set_str(j, "result", done);
	return print_json(j);
}

static int open_for_keys(const struct command *c, struct opened *o,
			 struct vault **v)
{
	int r = open_writing(c, o);

	return r < 0 ? r : opened_native(o, v);
}

static int key_add(int argc, char **argv)
{
	const char *label = "";
	const struct option_def options[] = {
		{ 'l', "label", OPTION_VALUE, &label, "LABEL",
		  "whose it is, for people: at most 64 bytes" },
	};
	DROP(command)
	struct command c = COMMAND(
		"key add", "VAULT KEY", options,
		"Adds the writer key of another host, so that it may back up "
		"into the vault. KEY is what 'vaultctl key show' prints there. "
		"Needs the owner key.");
	DROP(opened) struct opened o = { 0 };
	struct sign_public key;
	struct vault *v;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	if (strlen(label) > 64 || !utf8_valid(label, strlen(label)))
		return bad_usage("--label wants at most 64 bytes of UTF-8");
	r = parse_key("KEY", c.args.v[1], &key);
	if (r == 0)
		r = open_for_keys(&c, &o, &v);
	if (r == 0)
		r = vault_key_add(v, &key, label);
	return r < 0 ? r : report_key(&c, &key, "added");
}

/* Without a writer nobody can back up, and whoever retires one may have meant
 * another. */
static int check_not_last(struct vault *v, const struct sign_public *key)
{
	DROP(vault_config) struct vault_config *config = vault_config_ref(v);
	bool active = false;

	for (size_t i = 0; i < config->c.nkeys; i++) {
		if (config->c.keys[i].retired)
			continue;
		if (!key_equal(&config->c.keys[i].key, key))
			return 0;
		active = true;
	}
	if (!active)
		return 0; /* retiring it says why */
	return fail(-EINVAL,
		    "this is the last active writer key: without it no host "
		    "can back up; --force retires it all the same");
}

static int key_retire(int argc, char **argv)
{
	bool force = false;
	const struct option_def options[] = {
		{ 0, "force", OPTION_FLAG, &force, NULL,
		  "also the last one that is active" },
	};
	DROP(command)
	struct command c = COMMAND(
		"key retire", "VAULT KEY", options,
		"Retires a writer key: what it has signed up to now counts, "
		"what it signs from now on does not. Needs the owner key.");
	DROP(opened) struct opened o = { 0 };
	struct sign_public key;
	struct vault *v;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = parse_key("KEY", c.args.v[1], &key);
	if (r == 0)
		r = open_for_keys(&c, &o, &v);
	if (r == 0 && !force)
		r = check_not_last(v, &key);
	if (r == 0)
		r = vault_key_retire(v, &key);
	return r < 0 ? r : report_key(&c, &key, "retired");
}

/* --- pin --- */

static int report_pin(const struct command *c, const struct vault *v,
		      const struct sign_public *owner, bool was)
{
	struct json *j;
	char hex[KEY_HEX];

	key_hex(owner, hex);
	if (!c->json) {
		if (!c->quiet)
			printf("vault %s: owner key %s: %s\n", vault_name(v),
			       hex, was ? "was pinned already" : "pinned");
		return 0;
	}
	j = json_object();
	json_set_str(j, "vault", vault_name(v));
	json_set_str(j, "ownerKey", hex);
	json_set_bool(j, "pinned", true);
	json_set_bool(j, "wasPinned", was);
	return print_json(j);
}

/* Trust on first use, or on the word of whoever gave the wanted key (else
 * NULL). */
static int pin(const struct command *c, struct vault *v,
	       const struct sign_public *wanted)
{
	DROP(vault_config) struct vault_config *config = vault_config_ref(v);
	struct sign_public pinned;
	char hex[KEY_HEX];
	int r;

	if (wanted && !key_equal(wanted, &config->c.owner)) {
		key_hex(&config->c.owner, hex);
		return fail(-EKEYREJECTED,
			    "vault %s: its owner key is %s, not the one given: "
			    "nothing is pinned",
			    vault_name(v), hex);
	}
	r = keys_pinned(vault_id(v), &pinned);
	if (r == 0)
		return report_pin(c, v, &config->c.owner, true);
	if (r == -ENOENT)
		r = keys_pin(vault_id(v), &config->c.owner);
	return r < 0 ? r : report_pin(c, v, &config->c.owner, false);
}

static int key_pin(int argc, char **argv)
{
	DROP(command)
	struct command c = COMMAND_PLAIN(
		"key pin", "VAULT [OWNER_KEY]",
		"Remembers the owner key of the vault: from now on a vault of "
		"this id with another owner is refused. With OWNER_KEY, as "
		"'vaultctl key list' prints it elsewhere, only if it is that "
		"one; else whatever the vault says now is trusted.");
	DROP(opened) struct opened o = { 0 };
	struct sign_public wanted;
	const char *text;
	struct vault *v;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	text = command_arg(&c, 1);
	r = text ? parse_key("OWNER_KEY", text, &wanted) : 0;
	if (r < 0)
		return r;
	/* What it is about to do away with needs no warning. */
	r = open_quietly(&c, &o);
	if (r == 0)
		r = opened_native(&o, &v);
	return r < 0 ? r : pin(&c, v, text ? &wanted : NULL);
}

/* --- show --- */

static void warn_retired(struct vault *v, const struct sign_public *key)
{
	DROP(vault_config) struct vault_config *config = vault_config_ref(v);

	for (size_t i = 0; i < config->c.nkeys; i++)
		if (config->c.keys[i].retired &&
		    key_equal(&config->c.keys[i].key, key))
			log_warn("this key was retired and cannot come back: "
				 "move the file writer.key of this vault away "
				 "(see FILES in vaultctl(1)), and run this "
				 "again for a new one");
}

static int key_show(int argc, char **argv)
{
	DROP(command)
	struct command c = COMMAND_PLAIN(
		"key show", "VAULT",
		"Prints the public writer key of this host, which is made if "
		"there is none. The owner of the vault adds it by 'vaultctl "
		"key add'.");
	DROP(opened) struct opened o = { 0 };
	struct sign_public key;
	struct vault *v;
	char hex[KEY_HEX];
	struct json *j;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = open_for_keys(&c, &o, &v);
	if (r == 0)
		r = vault_key_local(v, &key);
	if (r < 0)
		return r;
	warn_retired(v, &key);
	key_hex(&key, hex);
	if (!c.json)
		return puts(hex) == EOF ? -EIO : 0;
	j = json_object();
	json_set_str(j, "vault", vault_name(v));
	json_set_str(j, "key", hex);
	return print_json(j);
}

static const struct subcommand actions[] = {
	{ "list", key_list, "list the owner key and the writer keys" },
	{ "show", key_show, "print the writer key of this host" },
	{ "add", key_add, "let another host write" },
	{ "retire", key_retire, "let a host write no more" },
	{ "pin", key_pin, "remember the vault's owner key" },
	{ NULL, NULL, NULL },
};

int cmd_key(int argc, char **argv)
{
	const struct subcommand *a;

	if (argc < 2)
		return bad_usage("list, show, add, retire or pin is missing");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		puts("usage: vaultctl key ACTION [OPTION]... VAULT [KEY]\n");
		print_subcommands(actions);
		puts("\n'vaultctl help key ACTION' tells more.");
		return 1;
	}
	a = find_subcommand(actions, argv[1]);
	if (!a)
		return bad_usage("'%s' is not list, show, add, retire or pin",
				 argv[1]);
	return a->run(argc - 1, argv + 1);
}
