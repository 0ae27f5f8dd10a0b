// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What Key Vault's refusals mean, and what to do: {"error":{"code","message",
 * "innererror":{"code"}}}. The inner code says most where there is one; it was also
 * seen spelled innerError.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/err.h"
#include "crypt/keyvault.h"

#define DEPTH 16

struct refusal {
	const char *code;    /* inner or outer; NULL: any */
	const char *message; /* a part of it; NULL: any */
	int status;
	const char *words;
};

/* The first that fits. */
static const struct refusal refusals[] = {
	{ "AccessDenied", NULL, 403,
	  "no access policy of the vault lets this identity do that: 'az "
	  "keyvault set-policy', with --key-permissions unwrapKey get and "
	  "--secret-permissions get" },
	{ "ForbiddenByPolicy", NULL, 403,
	  "no access policy of the vault lets this identity do that: 'az "
	  "keyvault set-policy', with --key-permissions unwrapKey get and "
	  "--secret-permissions get" },
	{ "ForbiddenByRbac", NULL, 403,
	  "this identity has no role for that: Key Vault Crypto User for keys, "
	  "Key Vault Secrets User for secrets (a new assignment takes some "
	  "minutes)" },
	{ "ForbiddenByFirewall", NULL, 403,
	  "the vault's firewall does not let this address in: run this from a "
	  "network it allows, or add the address ('az keyvault network-rule "
	  "add')" },
	{ "ForbiddenByConnection", NULL, 403,
	  "the vault takes only private connections: run this from a network "
	  "with its private endpoint" },
	{ "SecretDisabled", NULL, 403,
	  "it is disabled: 'az keyvault secret set-attributes --enabled "
	  "true'" },
	{ "KeyDisabled", NULL, 403,
	  "it is disabled: 'az keyvault key set-attributes --enabled true'" },
	{ NULL, "disabled", 403,
	  "it is disabled: 'az keyvault key (or secret) set-attributes "
	  "--enabled true'" },
	{ NULL, "expired", 403,
	  "it has expired: 'az keyvault key (or secret) set-attributes "
	  "--expires' with a time to come" },
	{ NULL, "not permitted on this key", 403,
	  "the key's own operations do not have that: 'az keyvault key "
	  "set-attributes --ops unwrapKey wrapKey'" },
	{ NULL, "AKV10032", 401,
	  "the credential is of another tenant than the vault" },
	{ "ObjectIsDeletedButRecoverable", NULL, 409,
	  "one of that name was deleted and can be recovered: do that rather "
	  "than to make another" },
	{ "ObjectIsBeingRecovered", NULL, 409,
	  "it is just being recovered: try again in a minute" },
};

struct said {
	const char *code, *inner, *message;
};

static const struct json *folded(const struct json *j, const char *key)
{
	const char *k;

	for (size_t i = 0; (k = json_key_at(j, i)); i++) {
		if (!strcasecmp(k, key))
			return json_get(j, k);
	}
	return NULL;
}

static const char *text_or(const char *s)
{
	return s ? s : "";
}

static struct said what_was_said(const struct json *j)
{
	const struct json *e = json_get(j, "error");
	const struct json *in = folded(e, "innererror");

	return (struct said){
		.code = text_or(json_get_str(e, "code")),
		.inner = text_or(json_get_str(in, "code")),
		.message = text_or(json_get_str(e, "message")),
	};
}

static bool applies(const struct refusal *x, const struct said *s, int status)
{
	if (x->status != status)
		return false;
	if (x->code && strcasecmp(x->code, s->inner) != 0 &&
	    strcasecmp(x->code, s->code) != 0)
		return false;
	return !x->message || strcasestr(s->message, x->message);
}

static int errno_of(int status)
{
	switch (status) {
	case 400:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return -EBUSY;
	case 429:
	case 503:
		return -EAGAIN;
	}
	return -EIO;
}

static const char *kind_name(const struct kv_url *u)
{
	return u->kind == KV_SECRET ? "secret" : "key";
}

int kv_failed(const struct kv_url *u, const char *verb, int status,
	      const char *body, size_t len)
{
	DROP(json) struct json *j = NULL;
	const char *words = NULL;
	struct said s;

	if (len && json_parse(body, len, DEPTH, &j))
		err_clear();
	s = what_was_said(j);
	for (size_t i = 0; !words && i < ARRAY_SIZE(refusals); i++) {
		if (applies(&refusals[i], &s, status))
			words = refusals[i].words;
	}
	if (words)
		return fail(errno_of(status), "%s %s of %s: %s: %s (%s%s%s)",
			    kind_name(u), u->name, u->host, verb, words, s.code,
			    *s.inner ? "/" : "", s.inner);
	return fail(errno_of(status),
		    "%s %s of %s: %s: the vault answers %d %s%s%s%s%.*s",
		    kind_name(u), u->name, u->host, verb, status, s.code,
		    *s.inner ? "/" : "", s.inner, *s.message ? ": " : "",
		    (int)min_u64(strcspn(s.message, "\r\n"), 300), s.message);
}
