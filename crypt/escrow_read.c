// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A secret as `az keyvault secret show -o json` prints it:
 *
 *	{ "id": "https://VAULT/secrets/NAME/VERSION", "contentType": "Wrapped BEK",
 *	  "tags": { "DiskEncryptionKeyEncryptionKeyURL": "https://…", … } or null,
 *	  "value": "…", "attributes": { … }, … }
 *
 * Where the secret is not wrapped its value is the BEK: so the value is cut out of
 * the text in locked memory, and json-c gets the rest.
 *
 * Wrapped or not is said, in this order, by the user (who has it from the disk's
 * settings), by the content type, and by the tag with the KEK's URL. The tag with
 * the algorithm says nothing: it is there in both cases.
 */
#include "crypt/escrow.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/base64.h"
#include "crypt/escrow_impl.h"

#define DEPTH 8

/* --- cutting the value out --- */

struct cutter {
	const uint8_t *p;
	size_t n, at;
	struct buf rest;
	struct secret *value;
	bool twice;
};

static void drop_cutter(struct cutter *c)
{
	/* What is no JSON may have had a key where none was looked for. */
	buf_release(&c->rest);
	secret_close(c->value);
}

static void skip_space(struct cutter *c)
{
	while (c->at < c->n && strchr(" \t\r\n", c->p[c->at]) && c->p[c->at])
		c->at++;
}

/* Past a string that begins at at. */
static void skip_string(struct cutter *c)
{
	for (c->at++; c->at < c->n && c->p[c->at] != '"'; c->at++)
		if (c->p[c->at] == '\\')
			c->at++;
	c->at = min_u64(c->at + 1, c->n);
}

static int hex4(const uint8_t *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i] | 0x20;

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (c - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* The characters of a string without its quotes: some writers escape '/', '+' and
 * '='. False for what cannot be in base64. */
static bool unescape(const uint8_t *p, size_t n, uint8_t *out, size_t *len)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		int c = p[i];

		if (c == '\\' && n - i >= 6 && p[i + 1] == 'u') {
			c = hex4(p + i + 2);
			i += 5;
		} else if (c == '\\' && n - i >= 2) {
			c = p[++i] == '/' ? '/' : -1;
		}
		if (c < ' ' || c >= 0x7f)
			return false;
		out[m++] = (uint8_t)c;
	}
	*len = m;
	return true;
}

static int keep_value(struct cutter *c, size_t start, size_t end)
{
	DROP(secret) struct secret *s = NULL;
	DROP(secret) struct secret *exact = NULL;
	size_t n;
	int r;

	if (c->value || c->twice || end - start < 2) {
		c->twice = true;
		return 0;
	}
	r = secret_new(end - start, &s);
	if (r < 0)
		return r;
	if (!unescape(c->p + start + 1, end - start - 2, secret_bytes(s), &n) ||
	    n == 0)
		return fail(-EPROTO, "its value is not base64");
	r = secret_copy(secret_bytes(s), n, &exact);
	if (r == 0)
		c->value = take(exact);
	return r;
}

/* At a string at depth 1: copies it, and if it is the name "value", cuts the string
 * that follows. */
static int pass_string(struct cutter *c, bool top)
{
	size_t start = c->at;
	bool named;

	skip_string(c);
	buf_add(&c->rest, c->p + start, c->at - start);
	named = c->at - start == 7 && !memcmp(c->p + start, "\"value\"", 7);
	skip_space(c);
	if (!top || !named || c->at >= c->n || c->p[c->at] != ':')
		return 0;
	c->at++;
	buf_str(&c->rest, ":");
	skip_space(c);
	if (c->at >= c->n || c->p[c->at] != '"')
		return 0;
	start = c->at;
	skip_string(c);
	buf_str(&c->rest, "\"\"");
	return keep_value(c, start, c->at);
}

static int cut(struct cutter *c)
{
	int depth = 0, r = 0;

	while (c->at < c->n && r == 0) {
		uint8_t ch = c->p[c->at];

		if (ch == '"') {
			r = pass_string(c, depth == 1);
			continue;
		}
		depth += ch == '{' || ch == '[' ? 1 : 0;
		depth -= ch == '}' || ch == ']' ? 1 : 0;
		buf_u8(&c->rest, ch);
		c->at++;
	}
	if (r == 0 && c->twice)
		r = fail(-EPROTO, "it has two values");
	return r < 0 ? r : buf_check(&c->rest, "a secret");
}

/* --- what it says --- */

enum says { SAYS_NOTHING, SAYS_WRAPPED, SAYS_PLAIN };

static enum says what_it_says(const struct escrow_record *rec,
			      const char *kek_url)
{
	if (!strcasecmp(rec->content_type, "Wrapped BEK") || *kek_url)
		return SAYS_WRAPPED;
	if (!strcasecmp(rec->content_type, "BEK"))
		return SAYS_PLAIN;
	return SAYS_NOTHING;
}

static int decide(const struct escrow_request *rq,
		  const struct escrow_record *rec, const char *kek_url,
		  bool *wrapped)
{
	enum says says = what_it_says(rec, kek_url);

	if (rq->plain && says == SAYS_WRAPPED)
		return fail(-EINVAL,
			    "the secret says that it is wrapped: leave --plain "
			    "out");
	if (!rq->wrapped_kek_url && !rq->plain && says == SAYS_NOTHING)
		return fail(-EINVAL, "the secret does not say whether it is "
				     "wrapped; add --wrapped KEKURL or "
				     "--plain");
	*wrapped = rq->wrapped_kek_url || says == SAYS_WRAPPED;
	return 0;
}

static int take_wrapped(const struct escrow_request *rq, const char *kek_url,
			struct secret *value, struct escrow_record *out)
{
	const char *alg =
		json_get_str(out->tags, "DiskEncryptionKeyEncryptionAlgorithm");
	const char *url = rq->wrapped_kek_url ? rq->wrapped_kek_url : kek_url;
	DROP(mem) char *text = NULL;
	struct wrap w = { .alg = WRAP_RSA_OAEP };
	int r;

	if (strlen(url) >= sizeof(w.kek_url))
		return fail(-EINVAL, "the URL of a KEK has more than %zu bytes",
			    sizeof(w.kek_url) - 1);
	memcpy(w.kek_url, url, strlen(url) + 1);
	if (alg && *alg) {
		r = wrap_alg_parse(alg, &w.alg);
		if (r < 0)
			return r;
		w.alg_named = true;
	}
	/* Wrapped, so no secret any more. */
	text = strndup((const char *)secret_bytes(value), secret_size(value));
	if (!text)
		return fail(-ENOMEM, "out of memory");
	r = escrow_wrapped(text, &w);
	if (r < 0)
		return blame(r, "the secret is said to be wrapped, but");
	return escrow_add_wrap(out, &w);
}

static int take_plain(struct secret *value, const char *file_name,
		      struct secret **bek)
{
	DROP(secret) struct secret *raw = NULL;
	size_t n = 0;
	int r = secret_new(BASE64_DECODED_MAX(secret_size(value)), &raw);

	if (r < 0)
		return r;
	if (!base64_decode(secret_bytes(value), secret_size(value),
			   secret_bytes(raw), &n) ||
	    n == 0)
		return fail(-EPROTO, "its value is not base64");
	if (bek_plausible(secret_bytes(raw), n, file_name))
		return secret_copy(secret_bytes(raw), n, bek);
	if (n == 256 || n == 384 || n == 512)
		return fail(-EINVAL,
			    "the secret is said to be plain, but its value "
			    "looks wrapped by a key of %zu bits: add "
			    "--wrapped KEKURL",
			    n * 8);
	return fail(-EPROTO, "the value of the secret is no BEK");
}

static int read_secret(const struct json *j, struct secret *value,
		       const struct escrow_request *rq,
		       struct escrow_record *out, struct secret **bek)
{
	char kek_url[ESCROW_URL_MAX] = "";
	bool wrapped = false;
	int r = escrow_string(j, "id", out->secret_url,
			      sizeof(out->secret_url));

	if (r == 0)
		r = escrow_string(j, "contentType", out->content_type,
				  sizeof(out->content_type));
	if (r == 0)
		r = escrow_tags(j, out);
	if (r == 0)
		r = escrow_string(out->tags,
				  "DiskEncryptionKeyEncryptionKeyURL", kek_url,
				  sizeof(kek_url));
	if (r < 0)
		return r;
	if (!value)
		return fail(-EPROTO, "it has no \"value\": it is what 'az "
				     "keyvault secret show -o json' prints "
				     "that is wanted");
	if (!strcasecmp(out->file_name, "nullProtector.bek"))
		return fail(-EINVAL, "the secret was left when encryption was "
				     "taken off: there is no key in it");
	r = decide(rq, out, kek_url, &wrapped);
	if (r < 0)
		return r;
	return wrapped ? take_wrapped(rq, kek_url, value, out)
		       : take_plain(value, out->file_name, bek);
}

int escrow_read(const struct secret *text, const struct escrow_request *rq,
		struct escrow_record *out, struct secret **bek)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *plain = NULL;
	DROP(json) struct json *j = NULL;
	DROP(mem) char *own = NULL;
	DROP(cutter)
	struct cutter c = { .p = secret_bytes((struct secret *)(uintptr_t)text),
			    .n = secret_size(text),
			    .rest = SECRET_BUF_INIT(SECRET_MAX + 16) };
	size_t len;
	int r = cut(&c);

	if (r == 0)
		r = json_parse(buf_cstr(&c.rest), c.rest.len, DEPTH, &j);
	if (r == 0 && json_get(j, "vaultfsEscrow"))
		r = escrow_own(j, &rec);
	else if (r == 0)
		r = read_secret(j, c.value, rq, &rec, &plain);
	/* Its digest is that of the text that will be kept. */
	if (r == 0)
		r = escrow_text(&rec, &own, &len);
	if (r < 0)
		return blame(r, "%s", rq->what);
	*out = rec;
	rec = (struct escrow_record){ 0 };
	*bek = take(plain);
	return 0;
}
