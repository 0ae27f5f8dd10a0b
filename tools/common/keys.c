// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/keys.h"

#include "crypt/keyvault.h"

static int for_all(const struct string_list *l, int (*set)(const char *text))
{
	for (size_t i = 0; i < l->n; i++) {
		int r = set(l->v[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_all(struct keyring *k, const struct string_list *l,
		   const char *option,
		   int (*add)(struct keyring *k, const char *text))
{
	for (size_t i = 0; i < l->n; i++) {
		int r = add(k, l->v[i]);

		if (r < 0)
			return blame(r, "%s", option);
	}
	return 0;
}

int keys_tell_keyvault(const struct keys_options *o)
{
	int r = for_all(&o->kek_hosts, keyvault_map_host);

	return r ? r : for_all(&o->kv_resources, keyvault_trust_resource);
}

int keys_open(const struct keys_options *o, struct keyring **ret)
{
	DROP(keyring) struct keyring *k = NULL;
	int r = secret_setup();

	if (r == 0)
		r = keys_tell_keyvault(o);
	if (r == 0)
		r = keyring_new(&k);
	if (r == 0)
		r = add_all(k, &o->keks, "--kek", keyring_add_kek);
	if (r == 0)
		r = add_all(k, &o->files, "--keys", keyring_add_file);
	if (r == 0)
		r = add_all(k, &o->beks, "--bek", keyring_add_bek);
	if (r == 0)
		r = add_all(k, &o->passwords, "--password-file",
			    keyring_add_password);
	if (r == 0)
		*ret = take(k);
	return r;
}
