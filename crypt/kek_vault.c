// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A key in Azure Key Vault or a Managed HSM, which unwraps where it is. The URL is a
 * key's with its version, a key's without (then the record's version counts), or a
 * vault's (then any key of it that a record names).
 *
 * A record's key is this one if name and version are the same: a key that was
 * restored from a backup keeps both, under another vault's host.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "crypt/kek_impl.h"
#include "crypt/keyvault.h"

struct kek_vault {
	struct kek base;
	struct kv_url url;
};

static struct kek_vault *vault_of(struct kek *k)
{
	return container_of(k, struct kek_vault, base);
}

/* Which key of ours the record's would be; false if none. */
static bool choose(const struct kek_vault *v, const struct wrap *w,
		   struct kv_url *out)
{
	struct kv_url named;

	*out = v->url;
	if (!*w->kek_url)
		return v->url.kind == KV_KEY;
	if (kv_url_parse(w->kek_url, &named)) {
		err_clear();
		return false;
	}
	if (named.kind != KV_KEY)
		return false;
	if (v->url.kind == KV_VAULT) {
		if (strcasecmp(keyvault_mapped(named.host), v->url.host) != 0)
			return false;
	} else if (!kv_url_same_object(&named, &v->url)) {
		return false;
	}
	*out = named;
	memcpy(out->host, v->url.host, sizeof(out->host));
	if (*v->url.version)
		memcpy(out->version, v->url.version, sizeof(out->version));
	return true;
}

static bool vault_matches(struct kek *k, const struct wrap *w)
{
	struct kv_url u;

	return choose(vault_of(k), w, &u);
}

static int vault_unwrap(struct kek *k, const struct wrap *w,
			struct secret **ret)
{
	struct kv_url u;

	if (!choose(vault_of(k), w, &u))
		return -ENOKEY;
	return keyvault_unwrap(&u, w->alg, w->value, w->size, ret);
}

/* Of this vault only, which the user named: nobody else's record sends us anywhere
 * with a token. */
static int vault_fetch(struct kek *k, const struct escrow_record *ref,
		       struct escrow_record *out, struct secret **bek)
{
	struct kv_url u;

	if (kv_url_parse(ref->secret_url, &u)) {
		err_clear();
		return -ENOKEY;
	}
	if (u.kind != KV_SECRET ||
	    strcasecmp(keyvault_mapped(u.host), vault_of(k)->url.host) != 0)
		return -ENOKEY;
	return keyvault_read_record(ref, out, bek);
}

static void vault_close(struct kek *k)
{
	free(vault_of(k));
}

static const struct kek_ops vault_ops = {
	.name = "key vault",
	.matches = vault_matches,
	.unwrap = vault_unwrap,
	.fetch = vault_fetch,
	.close = vault_close,
	.many = true,
};

int kek_open_vault(const char *url, const struct kek_pass *pass,
		   struct kek **ret)
{
	DROP(mem) struct kek_vault *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return fail(-ENOMEM, "out of memory");
	r = kv_url_parse(url, &v->url);
	if (r)
		return r;
	if (v->url.kind == KV_SECRET)
		return fail(-EINVAL, "%s: that is a secret, no key", url);
	if (kek_pass_given(pass))
		return fail(-EINVAL,
			    "%s: a key in Key Vault has no passphrase; who may "
			    "use it is said by a credential (vaultfs(8))",
			    url);
	v->base.ops = &vault_ops;
	snprintf(v->base.name, sizeof(v->base.name), "%.250s", url);
	*ret = &take(v)->base;
	return 0;
}
