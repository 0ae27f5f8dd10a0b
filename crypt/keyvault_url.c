// SPDX-License-Identifier: GPL-3.0-or-later
/* What of keyvault.h needs no connection. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/err.h"
#include "crypt/keyvault.h"

/* --- URLs --- */

static bool host_chars(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr(".-:", s[i]))
			return false;
	}
	return n && n < KV_HOST_MAX && s[0] != ':' && s[0] != '.';
}

static bool take_host(const char **s, char out[static KV_HOST_MAX])
{
	size_t n = strcspn(*s, "/?#");

	if (!host_chars(*s, n))
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)(*s)[i]);
	out[n] = '\0';
	if (n > 4 && !strcmp(out + n - 4, ":443"))
		out[n - 4] = '\0';
	*s += n;
	return true;
}

/* "/part", of the characters that Key Vault's names have; false at the end too. */
static bool take_part(const char **s, char out[static KV_NAME_MAX])
{
	size_t n;

	if (**s != '/')
		return false;
	n = strcspn(*s + 1, "/");
	if (!n || n >= KV_NAME_MAX)
		return false;
	for (size_t i = 1; i <= n; i++) {
		if (!isalnum((unsigned char)(*s)[i]) && (*s)[i] != '-')
			return false;
	}
	memcpy(out, *s + 1, n);
	out[n] = '\0';
	*s += n + 1;
	return true;
}

static bool parse_url(const char *s, struct kv_url *u)
{
	char kind[KV_NAME_MAX];

	if (strncasecmp(s, "https://", 8) != 0)
		return false;
	s += 8;
	if (!take_host(&s, u->host))
		return false;
	u->kind = KV_VAULT;
	if (!strcmp(s, "") || !strcmp(s, "/"))
		return true;
	if (!take_part(&s, kind) || !take_part(&s, u->name))
		return false;
	if (!strcasecmp(kind, "keys"))
		u->kind = KV_KEY;
	else if (!strcasecmp(kind, "secrets"))
		u->kind = KV_SECRET;
	else
		return false;
	if (*s && strcmp(s, "/") != 0 && !take_part(&s, u->version))
		return false;
	return !*s || !strcmp(s, "/");
}

int kv_url_parse(const char *text, struct kv_url *out)
{
	*out = (struct kv_url){ 0 };
	if (parse_url(text, out))
		return 0;
	return fail(-EINVAL,
		    "'%.200s' is not https://VAULT-HOST/keys/NAME/VERSION, the "
		    "same of secrets, or https://VAULT-HOST",
		    text);
}

bool kv_url_same_object(const struct kv_url *a, const struct kv_url *b)
{
	return a->kind == b->kind && !strcasecmp(a->name, b->name) &&
	       (!*a->version || !*b->version ||
		!strcasecmp(a->version, b->version));
}

/* --- challenges --- */

/* The quoted value of a parameter, wherever it stands. */
static bool parameter(const char *header, const char *name, char *out,
		      size_t size)
{
	size_t k = strlen(name);

	for (const char *s = header; (s = strcasestr(s, name)); s += k) {
		const char *end;

		if (s != header && s[-1] != ' ' && s[-1] != ',')
			continue;
		if (s[k] != '=' || s[k + 1] != '"')
			continue;
		end = strchr(s + k + 2, '"');
		if (!end || (size_t)(end - (s + k + 2)) >= size)
			return false;
		memcpy(out, s + k + 2, (size_t)(end - (s + k + 2)));
		out[end - (s + k + 2)] = '\0';
		return true;
	}
	return false;
}

static bool tenant_of(const char *authority, struct kv_challenge *out)
{
	const char *s;
	size_t n;

	if (strncasecmp(authority, "https://", 8) != 0)
		return false;
	s = strchr(authority + 8, '/');
	if (!s)
		return false;
	n = strcspn(++s, "/?");
	if (!n || n >= sizeof(out->tenant))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '.')
			return false;
	}
	memcpy(out->tenant, s, n);
	out->tenant[n] = '\0';
	return true;
}

static bool resource_of(const char *header, struct kv_challenge *out)
{
	static const char tail[] = "/.default";
	char *r = out->resource;
	size_t n;

	if (!parameter(header, "resource", r, sizeof(out->resource)) &&
	    !parameter(header, "scope", r, sizeof(out->resource)))
		return false;
	n = strlen(r);
	if (n > 9 && !strcmp(r + n - 9, tail))
		r[n -= 9] = '\0';
	while (n && r[n - 1] == '/')
		r[--n] = '\0';
	return !strncasecmp(r, "https://", 8) && host_chars(r + 8, n - 8);
}

int kv_challenge_parse(const char *header, struct kv_challenge *out)
{
	char authority[512];

	*out = (struct kv_challenge){ 0 };
	if (strncasecmp(header, "Bearer ", 7) != 0)
		return fail(-EPROTO, "the vault asks for no bearer token");
	if (!parameter(header, "authorization", authority, sizeof(authority)) &&
	    !parameter(header, "authorization_uri", authority,
		       sizeof(authority)))
		return fail(-EPROTO, "the vault names no authority");
	if (!tenant_of(authority, out))
		return fail(-EPROTO, "the vault's authority names no tenant");
	if (!resource_of(header, out))
		return fail(-EPROTO, "the vault names no resource");
	return 0;
}

bool kv_challenge_fits(const struct kv_challenge *c, const char *host)
{
	const char *want = c->resource + 8;
	size_t n = strcspn(host, ":"), k = strcspn(want, ":");

	return n > k + 1 && host[n - k - 1] == '.' &&
	       !strncasecmp(host + n - k, want, k);
}

/* --- values --- */

static void skip_space(const char *text, size_t len, size_t *at)
{
	while (*at < len && isspace((unsigned char)text[*at]))
		(*at)++;
}

/* Past a string; at stands on its quote. False where it has no end. */
static bool skip_string(const char *text, size_t len, size_t *at)
{
	for ((*at)++; *at < len; (*at)++) {
		if (text[*at] == '\\')
			(*at)++;
		else if (text[*at] == '"') {
			(*at)++;
			return true;
		}
	}
	return false;
}

/* Base64 of either alphabet has nothing to escape but '/'. */
static int copy_value(char *text, size_t len, struct secret **ret)
{
	DROP(secret) struct secret *s = NULL;
	size_t n = 0;
	int r;

	if (!len)
		return fail(-EPROTO, "an empty value");
	r = secret_new(len, &s);
	if (r)
		return r;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' && i + 1 < len && text[i + 1] == '/')
			continue;
		if (text[i] == '\\')
			return fail(-EPROTO, "a value with escapes");
		secret_bytes(s)[n++] = (uint8_t)text[i];
	}
	r = secret_copy(secret_bytes(s), n, ret);
	explicit_bzero(text, len);
	return r;
}

int kv_cut_value(char *text, size_t len, struct secret **ret)
{
	int depth = 0;

	for (size_t at = 0; at < len;) {
		size_t start = at;
		bool named;

		depth += text[at] == '{' || text[at] == '[';
		depth -= text[at] == '}' || text[at] == ']';
		if (text[at] != '"') {
			at++;
			continue;
		}
		if (!skip_string(text, len, &at))
			break;
		named = depth == 1 && at - start == 7 &&
			!memcmp(text + start, "\"value\"", 7);
		skip_space(text, len, &at);
		if (!named || at >= len || text[at] != ':')
			continue;
		at++;
		skip_space(text, len, &at);
		start = at + 1;
		if (at >= len || text[at] != '"' ||
		    !skip_string(text, len, &at))
			break;
		return copy_value(text + start, at - 1 - start, ret);
	}
	return fail(-EPROTO, "an answer without its value");
}
