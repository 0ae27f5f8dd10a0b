// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Our document (FORMAT.md, 5.4):
 *
 *	{ "vaultfsEscrow": 1, "part": 2, "secretUrl": "https://…",
 *	  "contentType": "Wrapped BEK", "tags": { "MachineName": "web-01", … },
 *	  "wraps": [ { "kekUrl": "https://…", "label": "…", "alg": "RSA-OAEP",
 *		       "spki": "<hex>", "value": "<base64url>" } ] }
 *
 * All but vaultfsEscrow and wraps may be missing, and in a wrap all but value.
 */
#include "crypt/escrow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/rd.h"
#include "backend/base/base64.h"
#include "crypt/escrow_impl.h"

#define VERSION 1
#define DEPTH 4
#define PART_MAX 999

static const char *const alg_names[] = {
	[WRAP_RSA_OAEP] = "RSA-OAEP",
	[WRAP_RSA_OAEP_256] = "RSA-OAEP-256",
	[WRAP_RSA1_5] = "RSA1_5",
};

const char *wrap_alg_name(enum wrap_alg alg)
{
	return alg_names[alg];
}

int wrap_alg_parse(const char *name, enum wrap_alg *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(alg_names); i++) {
		if (strcasecmp(name, alg_names[i]))
			continue;
		*out = (enum wrap_alg)i;
		return 0;
	}
	return fail(
		-ENOTSUP,
		"the wrapping algorithm '%.64s' is not known here (RSA-OAEP, "
		"RSA-OAEP-256 and RSA1_5 are)",
		name);
}

void escrow_record_release(struct escrow_record *r)
{
	json_close(r->tags);
	free(r->wraps);
	*r = (struct escrow_record){ 0 };
}

void escrow_records_release(struct escrow_records *l)
{
	for (size_t i = 0; i < l->n; i++)
		escrow_record_release(&l->v[i]);
	free(l->v);
	*l = (struct escrow_records){ 0 };
}

int escrow_records_add(struct escrow_records *l, struct escrow_record *r)
{
	struct escrow_record *v = reallocarray(l->v, l->n + 1, sizeof(*v));

	if (!v) {
		escrow_record_release(r);
		return fail(-ENOMEM, "out of memory");
	}
	l->v = v;
	v[l->n++] = *r;
	*r = (struct escrow_record){ 0 };
	return 0;
}

void escrow_place(const struct escrow_record *r,
		  char out[static ESCROW_PLACE_SIZE])
{
	if (!*r->disk)
		snprintf(out, ESCROW_PLACE_SIZE, "the VM");
	else if (!r->part)
		snprintf(out, ESCROW_PLACE_SIZE, "%s", r->disk);
	else
		snprintf(out, ESCROW_PLACE_SIZE, "%s-p%u", r->disk, r->part);
}

void wrap_name(const struct wrap *w, char out[static WRAP_NAME_SIZE])
{
	char hex[DIGEST_HEX + 1];

	digest_hex(&w->spki, hex);
	if (*w->kek_url)
		snprintf(out, WRAP_NAME_SIZE, "%s", w->kek_url);
	else if (*w->kek_label)
		snprintf(out, WRAP_NAME_SIZE, "'%s'", w->kek_label);
	else if (w->has_spki)
		snprintf(out, WRAP_NAME_SIZE,
			 "whose public key has the SHA-256 %s", hex);
	else
		snprintf(out, WRAP_NAME_SIZE, "of %zu bits, not named",
			 w->size * 8);
}

int escrow_add_wrap(struct escrow_record *r, const struct wrap *w)
{
	struct wrap *v;

	if (r->nwraps >= ESCROW_WRAPS_MAX)
		return fail(-EFBIG, "a record has at most %d wraps",
			    ESCROW_WRAPS_MAX);
	v = reallocarray(r->wraps, r->nwraps + 1, sizeof(*v));
	if (!v)
		return fail(-ENOMEM, "out of memory");
	r->wraps = v;
	v[r->nwraps++] = *w;
	return 0;
}

/* --- reading what both documents have --- */

int escrow_string(const struct json *j, const char *key, char *out, size_t size)
{
	const char *s = json_get_str(j, key);

	if (!s && json_get(j, key))
		return fail(-EPROTO, "\"%s\" is no string", key);
	if (!s)
		s = "";
	if (strlen(s) >= size)
		return fail(-EPROTO, "\"%s\" has more than %zu bytes", key,
			    size - 1);
	memcpy(out, s, strlen(s) + 1);
	return 0;
}

int escrow_tags(const struct json *j, struct escrow_record *out)
{
	struct json *from = json_get(j, "tags");
	const char *key;
	int r;

	if (!from)
		return 0;
	out->tags = json_object();
	for (size_t i = 0; (key = json_key_at(from, i)); i++) {
		const char *s = json_get_str(from, key);

		if (i >= ESCROW_TAGS_MAX)
			return fail(-EPROTO, "more than %d tags",
				    ESCROW_TAGS_MAX);
		if (s)
			json_set_str(out->tags, key, s);
	}
	r = escrow_string(out->tags, "DiskEncryptionKeyFileName",
			  out->file_name, sizeof(out->file_name));
	if (r == 0)
		r = escrow_string(out->tags, "MachineName", out->machine,
				  sizeof(out->machine));
	return r;
}

int escrow_wrapped(const char *text, struct wrap *out)
{
	size_t n = strlen(text);
	uint8_t bytes[BASE64_DECODED_MAX(WRAP_SIZE_MAX * 4 / 3 + 4)];

	if (n > WRAP_SIZE_MAX * 4 / 3 + 4 ||
	    !base64_decode(text, n, bytes, &out->size))
		return fail(-EPROTO, "its value is not base64, or too long");
	if (out->size < WRAP_SIZE_MIN || out->size > WRAP_SIZE_MAX)
		return fail(-EPROTO,
			    "its value has %zu bytes: what an RSA key of 2048 "
			    "to %d bits wraps has 256 to %d",
			    out->size, WRAP_SIZE_MAX * 8, WRAP_SIZE_MAX);
	memcpy(out->value, bytes, out->size);
	return 0;
}

/* --- our own --- */

static int read_alg(const struct json *j, struct wrap *w)
{
	const char *name = json_get_str(j, "alg");

	w->alg = WRAP_RSA_OAEP;
	w->alg_named = name != NULL;
	if (!name && json_get(j, "alg"))
		return fail(-EPROTO, "\"alg\" is no string");
	return name ? wrap_alg_parse(name, &w->alg) : 0;
}

static int read_wrap(const struct json *j, struct wrap *w)
{
	const char *value = json_get_str(j, "value");
	const char *spki = json_get_str(j, "spki");
	int r = escrow_string(j, "kekUrl", w->kek_url, sizeof(w->kek_url));

	if (r == 0)
		r = escrow_string(j, "label", w->kek_label,
				  sizeof(w->kek_label));
	if (r == 0)
		r = read_alg(j, w);
	if (r < 0)
		return r;
	w->has_spki = spki != NULL;
	if (spki && parse_hex(spki, w->spki.b, DIGEST_SIZE) < 0)
		return fail(-EPROTO, "\"spki\" is no SHA-256 in hex");
	if (!value)
		return fail(-EPROTO, "a wrap has no value");
	return escrow_wrapped(value, w);
}

static int read_wraps(const struct json *list, struct escrow_record *out)
{
	for (size_t i = 0; i < json_len(list); i++) {
		struct wrap w = { 0 };
		int r;

		if (i >= ESCROW_WRAPS_MAX)
			return fail(-EPROTO, "more than %d wraps",
				    ESCROW_WRAPS_MAX);
		r = read_wrap(json_at(list, i), &w);
		if (r == 0)
			r = escrow_add_wrap(out, &w);
		if (r < 0)
			return blame(r, "wrap %zu", i + 1);
	}
	return 0;
}

int escrow_own(const struct json *j, struct escrow_record *out)
{
	uint64_t version, part = 0;
	int r;

	if (!json_get_u64(j, "vaultfsEscrow", &version))
		return fail(-EPROTO, "it is not an escrow record");
	if (version != VERSION)
		return fail(-EPROTO, "an escrow record of version %llu, not %d",
			    (unsigned long long)version, VERSION);
	if (json_get(j, "part") &&
	    (!json_get_u64(j, "part", &part) || part < 1 || part > PART_MAX))
		return fail(-EPROTO, "\"part\" is no partition's number");
	out->part = (unsigned)part;
	r = escrow_string(j, "disk", out->disk, sizeof(out->disk));
	if (r == 0)
		r = escrow_string(j, "secretUrl", out->secret_url,
				  sizeof(out->secret_url));
	if (r == 0)
		r = escrow_string(j, "contentType", out->content_type,
				  sizeof(out->content_type));
	if (r == 0)
		r = escrow_tags(j, out);
	return r < 0 ? r : read_wraps(json_get(j, "wraps"), out);
}

int escrow_parse(const char *text, size_t len, struct escrow_record *out)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(json) struct json *j = NULL;
	int r;

	if (len > ESCROW_TEXT_MAX)
		return fail(-EPROTO, "an escrow record of %zu bytes", len);
	r = json_parse(text, len, DEPTH, &j);
	if (r == 0)
		r = escrow_own(j, &rec);
	if (r == -ENOTSUP)
		return fail(-EPROTO, "%s", err_text(r));
	if (r < 0)
		return r;
	*rec.disk = '\0';
	sha256(text, len, &rec.digest);
	*out = rec;
	rec = (struct escrow_record){ 0 };
	return 0;
}

/* --- writing --- */

static void set_string(struct json *j, const char *key, const char *s)
{
	if (*s)
		json_set_str(j, key, s);
}

static struct json *wrap_json(const struct wrap *w)
{
	char text[BASE64_ENCODED_SIZE(WRAP_SIZE_MAX)], hex[DIGEST_HEX + 1];
	struct json *j = json_object();

	set_string(j, "kekUrl", w->kek_url);
	set_string(j, "label", w->kek_label);
	if (w->alg_named)
		json_set_str(j, "alg", wrap_alg_name(w->alg));
	digest_hex(&w->spki, hex);
	if (w->has_spki)
		json_set_str(j, "spki", hex);
	base64url_encode(w->value, w->size, text);
	json_set_str(j, "value", text);
	return j;
}

static struct json *copy_tags(const struct json *tags)
{
	struct json *copy = json_object();
	const char *key;

	for (size_t i = 0; (key = json_key_at(tags, i)); i++)
		json_set_str(copy, key, json_get_str(tags, key));
	return copy;
}

static struct json *record_json(const struct escrow_record *r, bool place)
{
	struct json *j = json_object(), *wraps = json_array();

	json_set_u64(j, "vaultfsEscrow", VERSION);
	if (place)
		set_string(j, "disk", r->disk);
	if (r->part)
		json_set_u64(j, "part", r->part);
	set_string(j, "secretUrl", r->secret_url);
	set_string(j, "contentType", r->content_type);
	if (r->tags)
		json_set(j, "tags", copy_tags(r->tags));
	for (size_t i = 0; i < r->nwraps; i++)
		json_push(wraps, wrap_json(&r->wraps[i]));
	json_set(j, "wraps", wraps);
	return j;
}

struct json *escrow_json(const struct escrow_record *r)
{
	return record_json(r, true);
}

static struct json *reference(const struct escrow_doc *d,
			      const struct point_info *p)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	struct json *j = json_object(), *keks;

	if (d->disk >= 0)
		json_set_str(j, "disk", p->disks[d->disk].name);
	if (escrow_parse(d->text, d->len, &rec) < 0) {
		json_set_str(j, "unknown", err_text(-EPROTO));
		return j;
	}
	if (rec.part)
		json_set_u64(j, "part", rec.part);
	set_string(j, "secretUrl", rec.secret_url);
	set_string(j, "fileName", rec.file_name);
	keks = json_array();
	for (size_t i = 0; i < rec.nwraps; i++) {
		char name[WRAP_NAME_SIZE];

		wrap_name(&rec.wraps[i], name);
		json_push_str(keks, name);
	}
	json_set(j, "keks", keks);
	return j;
}

struct json *escrow_references(const struct escrow_docs *docs,
			       const struct point_info *p)
{
	struct json *list = json_array();

	for (size_t i = 0; i < docs->n; i++)
		json_push(list, reference(&docs->v[i], p));
	return list;
}

/* A wrap that names a public key is one of ours, for a key that the user has; what
 * only names a URL was made by Azure. */
static bool needs_key_vault(const struct escrow_record *r)
{
	bool named = !r->nwraps && *r->secret_url;

	for (size_t i = 0; i < r->nwraps; i++) {
		if (r->wraps[i].has_spki ||
		    strncasecmp(r->wraps[i].kek_url, "https://", 8) != 0)
			return false;
		named = true;
	}
	return named;
}

bool escrow_key_vault_only(const struct escrow_docs *docs)
{
	bool any = false;

	for (size_t i = 0; i < docs->n; i++) {
		DROP(escrow_record) struct escrow_record rec = { 0 };

		if (escrow_parse(docs->v[i].text, docs->v[i].len, &rec)) {
			err_clear();
			continue;
		}
		if (!needs_key_vault(&rec))
			return false;
		any = true;
	}
	return any;
}

void escrow_describe(const struct escrow_docs *docs, const struct point_info *p,
		     struct json *point)
{
	if (!docs->n)
		return;
	json_set(point, "escrow", escrow_references(docs, p));
	if (escrow_key_vault_only(docs))
		json_set_str(point, "kek", "key-vault-only");
}

int escrow_text(struct escrow_record *r, char **ret, size_t *len)
{
	DROP(json) struct json *j = record_json(r, false);
	DROP(mem) char *text = NULL;
	size_t n;
	int e = json_text(j, false, &text, &n);

	if (e < 0)
		return e;
	text[--n] = '\0'; /* its newline */
	if (n > ESCROW_TEXT_MAX)
		return fail(-EFBIG, "an escrow record of %zu bytes", n);
	sha256(text, n, &r->digest);
	*ret = take(text);
	*len = n;
	return 0;
}

/* --- what a BEK is --- */

#define BEK_HEADER 48
#define BEK_KEY 32

/* facts: an external key of BitLocker; its size twice, version 1. */
static bool is_bek_file(const void *p, size_t n)
{
	struct rd r = rd_over(p, n);
	uint32_t size = rd_u32(&r), version = rd_u32(&r);
	uint32_t header = rd_u32(&r), again = rd_u32(&r);

	return n >= BEK_HEADER + BEK_KEY && size == n && version == 1 &&
	       header == BEK_HEADER && again == n;
}

/* A passphrase is in most cases 172 characters of base64, but may be any text. */
static bool is_text(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < ' ' || p[i] == 0x7f)
			return false;
	return n > 0 && utf8_valid((const char *)p, n);
}

bool bek_plausible(const void *p, size_t n, const char *file_name)
{
	size_t len = strlen(file_name);

	if (n == 0 || n > BEK_MAX)
		return false;
	if (len > 4 && !strcasecmp(file_name + len - 4, ".BEK"))
		return is_bek_file(p, n);
	if (!strncasecmp(file_name, "LinuxPassPhraseFileName", 23))
		return is_text(p, n);
	return is_bek_file(p, n) || is_text(p, n);
}
