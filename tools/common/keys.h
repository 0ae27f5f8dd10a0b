// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The options that name keys, for each command that opens volumes or records:
 *
 *	DROP(keys_options) struct keys_options keys = { 0 };
 *	const struct option_def options[] = {
 *		KEYS_OPTIONS(keys),
 *		...
 *	};
 *	r = keys_open(&keys, &keyring);
 *
 * KEKs are tried in this order: those of --kek, then those of the --keys files.
 */
#pragma once
#include "crypt/keyring.h"
#include "tools/common/options.h"

struct keys_options {
	struct string_list keks, files, beks, passwords;
	struct string_list kek_hosts, kv_resources;
};
static inline void drop_keys_options(struct keys_options *k)
{
	string_list_release(&k->keks);
	string_list_release(&k->files);
	string_list_release(&k->beks);
	string_list_release(&k->passwords);
	string_list_release(&k->kek_hosts);
	string_list_release(&k->kv_resources);
}

#define KEYS_KEKS_OPTIONS(k)                                                   \
	{ 'k',                                                                 \
	  "kek",                                                               \
	  OPTION_LIST,                                                         \
	  &(k).keks,                                                           \
	  "KEK",                                                               \
	  "a KEK: a private key file, a pkcs11: URI or an https: URL of Key "  \
	  "Vault, with ,pass-file=FILE or ,pass-fd=N for its passphrase or "   \
	  "PIN; may be repeated, and is tried in this order" },                \
		{ 'K',                                                         \
		  "keys",                                                      \
		  OPTION_LIST,                                                 \
		  &(k).files,                                                  \
		  "FILE",                                                      \
		  "a file (mode 0600) whose lines are what --kek takes" },     \
		{ 0,                                                           \
		  "kek-host",                                                  \
		  OPTION_LIST,                                                 \
		  &(k).kek_hosts,                                              \
		  "OLD=NEW",                                                   \
		  "what a record says is in the key vault OLD is in NEW; may " \
		  "be repeated" },                                             \
	{                                                                      \
		0, "kv-resource", OPTION_LIST, &(k).kv_resources, "HOST",      \
			"this key vault gets a token for whatever it names; "  \
			"may be repeated"                                      \
	}
#define KEYS_OPTIONS(k)                                                        \
	KEYS_KEKS_OPTIONS(k),                                                  \
		{ 'B',                                                         \
		  "bek",                                                       \
		  OPTION_LIST,                                                 \
		  &(k).beks,                                                   \
		  "FILE",                                                      \
		  "a volume's own key: a .BEK file, or a passphrase of which " \
		  "each byte counts; may be repeated, and is tried on each "   \
		  "volume" },                                                  \
	{                                                                      \
		'P', "password-file", OPTION_LIST, &(k).passwords, "FILE",     \
			"a volume's passphrase, BitLocker password or "        \
			"recovery password; may be repeated"                   \
	}

/* Only --kek-host and --kv-resource; once, here or by keys_open(). */
int keys_tell_keyvault(const struct keys_options *k) MUST_USE;
/* Also sets up locked memory. May ask for passphrases on the terminal. */
int keys_open(const struct keys_options *k, struct keyring **ret) MUST_USE;
