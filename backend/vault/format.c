// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * FORMAT.md is the description; the section of each record is named with it.
 * This file has what all records share, the keys of objects, and the header and
 * config; format_commit.c the commit and its index, format_point.c the point,
 * format_tree.c the tree, format_session.c sessions and lists.
 */
#include "backend/vault/format_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"

/* --- records (1.1) --- */

size_t record_begin(struct buf *b, const char magic[static 4])
{
	size_t at = b->len;

	buf_add(b, magic, 4);
	buf_u16(b, 1);
	buf_u8(b, 0);  /* suite */
	buf_u8(b, 0);  /* flags */
	buf_u32(b, 0); /* length, set by record_end() */
	buf_u32(b, 0); /* CRC, likewise */
	return at;
}

void record_set_length(struct buf *b, size_t at, size_t length)
{
	if (!b->failed)
		buf_set_u32(b, at + 8, (uint32_t)length);
}

void record_end(struct buf *b, size_t at)
{
	if (b->failed)
		return;
	record_set_length(b, at, b->len - at);
	buf_set_u32(b, at + 12, 0);
	buf_set_u32(b, at + 12, crc32c(0, b->data + at, b->len - at));
}

/* Copies of the header with the CRC as zero, then the rest: no copy of the
 * whole. */
static uint32_t record_crc(const uint8_t *p, size_t n)
{
	uint8_t head[VF_HEADER_SIZE];
	uint32_t crc;

	memcpy(head, p, sizeof(head));
	memset(head + 12, 0, 4);
	crc = crc32c(0, head, sizeof(head));
	return crc32c(crc, p + sizeof(head), n - sizeof(head));
}

int record_open(const void *p, size_t n, const char magic[static 4],
		struct rd *body)
{
	const uint8_t *b = p;
	struct rd r = rd_over(p, n);
	uint8_t got[4];
	uint16_t version;
	uint8_t suite, flags;
	uint32_t length, crc;

	rd_bytes(&r, got, sizeof(got));
	version = rd_u16(&r);
	suite = rd_u8(&r);
	flags = rd_u8(&r);
	length = rd_u32(&r);
	crc = rd_u32(&r);
	if (!rd_ok(&r))
		return fail(-EPROTO, "cut off: %zu bytes", n);
	if (memcmp(got, magic, 4) != 0)
		return fail(-EPROTO, "not a %.4s record", magic);
	if (version != 1)
		return fail(
			-ENOTSUP,
			"of format version %u, newer than this software's 1; install a newer vaultfs",
			version);
	if (suite != 0)
		return fail(
			-ENOTSUP,
			"of suite %u, which this software does not know; install a newer vaultfs",
			suite);
	if (flags != 0)
		return fail(
			-ENOTSUP,
			"has record flags 0x%02x, which this software does not know; install a newer vaultfs",
			flags);
	if (length != n)
		return fail(-EPROTO, "says it has %" PRIu32 " bytes, has %zu",
			    length, n);
	if (record_crc(b, n) != crc)
		return fail(-EBADMSG, "checksum does not match");
	*body = r;
	return 0;
}

/* What a signature covers: the record up to the signature, CRC as zero. The
 * caller frees it. */
int record_signed_part(const uint8_t *p, size_t n, uint8_t **ret)
{
	uint8_t *copy = malloc(n - SIGN_SIZE);

	if (!copy)
		return fail(-ENOMEM, "no memory for a record");
	memcpy(copy, p, n - SIGN_SIZE);
	memset(copy + 12, 0, 4);
	*ret = copy;
	return 0;
}

int record_sign_end(struct buf *b, size_t at, const char *tag,
		    struct secret *seed)
{
	uint8_t sig[SIGN_SIZE];
	int r;

	/* The length is signed, so it is set as it will be. */
	record_set_length(b, at, b->len - at + SIGN_SIZE);
	r = buf_check(b, "a signed record");
	if (r)
		return r;
	buf_set_u32(b, at + 12, 0);
	r = sign_make(seed, tag, b->data + at, b->len - at, sig);
	if (r)
		return r;
	buf_add(b, sig, sizeof(sig));
	record_end(b, at);
	return buf_check(b, "a signed record");
}

int record_check_sign(const uint8_t *p, size_t n, const char *tag,
		      const struct sign_public *key)
{
	DROP(mem) uint8_t *part = NULL;
	int r;

	if (n < VF_HEADER_SIZE + SIGN_SIZE)
		return fail(-EPROTO, "too short for a signature");
	r = record_signed_part(p, n, &part);
	if (r)
		return r;
	return sign_check(key, tag, part, n - SIGN_SIZE, p + n - SIGN_SIZE);
}

bool rd_zero(struct rd *r, size_t n)
{
	const uint8_t *p = rd_ptr(r, n);

	return p && is_zero(p, n);
}

void rd_digest(struct rd *r, struct digest *out)
{
	rd_bytes(r, out->b, DIGEST_SIZE);
}

void rd_gen(struct rd *r, struct point_id *out)
{
	out->seq = rd_u64(r);
	out->nonce = rd_u64(r);
}

void buf_digest(struct buf *b, const struct digest *d)
{
	buf_add(b, d->b, DIGEST_SIZE);
}

void buf_gen(struct buf *b, const struct point_id *g)
{
	buf_u64(b, g->seq);
	buf_u64(b, g->nonce);
}

void buf_name(struct buf *b, const char *name)
{
	size_t n = strlen(name);

	buf_u16(b, (uint16_t)n);
	buf_add(b, name, n);
	buf_zero(b, VF_NAME_FIELD - 2 - n);
}

int rd_name(struct rd *r, const char *what, bool may_be_empty,
	    char out[static CATALOG_NAME_MAX + 1])
{
	const uint8_t *p = rd_ptr(r, VF_NAME_FIELD);
	size_t n;

	if (!p)
		return fail(-EPROTO, "%s: cut off", what);
	n = (size_t)p[0] | (size_t)p[1] << 8;
	if (n > CATALOG_NAME_MAX || !is_zero(p + 2 + n, VF_NAME_FIELD - 2 - n))
		return fail(-EPROTO, "%s: bad name field", what);
	if (!n && may_be_empty) {
		out[0] = '\0';
		return 0;
	}
	if (catalog_check_name(what, (const char *)p + 2, n))
		return blame(-EPROTO, "bad name field");
	memcpy(out, p + 2, n);
	out[n] = '\0';
	return 0;
}

/* --- rows and places (1.2) --- */

int rd_rows(struct rd *r, size_t n, const uint8_t **rows)
{
	*rows = rd_ptr(r, n * 16);
	if (n && !*rows)
		return fail(-EPROTO, "row table is cut off");
	return 0;
}

int rd_place(struct rd *r, const uint8_t *rows, size_t nrows, uint16_t allowed,
	     struct place *out)
{
	uint16_t row;

	out->object = rd_u32(r);
	out->offset = rd_u32(r);
	out->length = rd_u32(r);
	row = rd_u16(r);
	out->flags = rd_u16(r);
	if (out->length == 0) {
		if (out->object || out->offset || row || out->flags)
			return fail(-EPROTO, "a place of no length");
		out->gen = (struct point_id){ 0 };
		return 0;
	}
	if (row >= nrows)
		return fail(-EPROTO, "row %u of %zu", row, nrows);
	if (out->flags & ~allowed)
		return fail(-EPROTO, "place flags 0x%x", out->flags);
	if (out->offset > STORE_OBJECT_MAX ||
	    out->length > STORE_OBJECT_MAX - out->offset)
		return fail(-EPROTO, "a place beyond the greatest object");
	if ((out->flags & PLACE_POINT) && out->object)
		return fail(-EPROTO, "a point object with a number");
	{
		struct rd g = rd_over(rows + 16 * (size_t)row, 16);

		rd_gen(&g, &out->gen);
	}
	return 0;
}

uint16_t rows_add(struct rows *t, const struct point_id *gen)
{
	/* Neighbours mostly share a generation: look from the last one back. */
	for (size_t i = t->n; i-- > 0;)
		if (point_id_equal(&t->gen[i], gen))
			return (uint16_t)i;
	if (t->n == ARRAY_SIZE(t->gen)) {
		t->full = true; /* told by rows_put() */
		return 0;
	}
	t->gen[t->n] = *gen;
	return (uint16_t)t->n++;
}

void rows_put(struct buf *b, const struct rows *t)
{
	for (size_t i = 0; i < t->n; i++)
		buf_gen(b, &t->gen[i]);
	if (t->full)
		b->failed = true;
}

void place_put(struct buf *b, uint16_t row, const struct place *p)
{
	if (place_is_none(p)) {
		buf_zero(b, 16);
		return;
	}
	buf_u32(b, p->object);
	buf_u32(b, p->offset);
	buf_u32(b, p->length);
	buf_u16(b, row);
	buf_u16(b, p->flags);
}

/* --- vault header (3) --- */

void vf_header_put(struct buf *b, const struct vf_header *h)
{
	size_t at = record_begin(b, "VFhd");

	buf_add(b, h->id.b, sizeof(h->id.b));
	buf_add(b, h->owner.b, sizeof(h->owner.b));
	buf_u64(b, (uint64_t)h->created_ns);
	buf_zero(b, 56);
	record_end(b, at);
}

int vf_header_parse(const void *p, size_t n, struct vf_header *out)
{
	struct vf_header h;
	struct rd r;
	int e = record_open(p, n, "VFhd", &r);

	if (e)
		return e;
	rd_bytes(&r, h.id.b, sizeof(h.id.b));
	rd_bytes(&r, h.owner.b, sizeof(h.owner.b));
	h.created_ns = (int64_t)rd_u64(&r);
	if (!rd_zero(&r, 56) || !rd_done(&r))
		return fail(-EPROTO, "bad vault header");
	*out = h;
	return 0;
}

/* --- config (3) --- */

#define CONFIG_FIXED 360
#define KEY_SIZE 136
#define FEATURE_SIZE 48
#define FEATURE_NAME 46
#define KEY_LABEL 64

int vf_config_put(struct buf *b, const struct vf_config *c,
		  struct secret *owner_seed)
{
	size_t at = record_begin(b, "VFcf");

	buf_add(b, c->id.b, sizeof(c->id.b));
	buf_u64(b, c->n);
	buf_digest(b, &c->prev);
	buf_u64(b, (uint64_t)c->time_ns);
	buf_u64(b, c->incompatible);
	buf_u64(b, c->read_compatible);
	buf_u64(b, c->compatible);
	buf_u16(b, (uint16_t)c->nfeatures);
	buf_u16(b, (uint16_t)c->nkeys);
	buf_u32(b, (uint32_t)c->nheads);
	buf_u32(b, 0);
	buf_u32(b, 0);
	buf_name(b, c->name);
	buf_add(b, c->owner.b, sizeof(c->owner.b));
	buf_zero(b, 4);
	for (size_t i = 0; i < c->nfeatures; i++) {
		size_t len = strnlen(c->features[i].name, FEATURE_NAME);

		buf_u8(b, c->features[i].class);
		buf_u8(b, c->features[i].bit);
		buf_add(b, c->features[i].name, len);
		buf_zero(b, FEATURE_NAME - len);
	}
	for (size_t i = 0; i < c->nkeys; i++) {
		const struct vf_key *k = &c->keys[i];
		size_t len = strnlen(k->label, KEY_LABEL);

		buf_add(b, k->key.b, sizeof(k->key.b));
		buf_u64(b, k->added);
		buf_u64(b, k->retired);
		buf_u32(b, k->first_head);
		buf_u32(b, k->nheads);
		buf_zero(b, 16);
		buf_add(b, k->label, len);
		buf_zero(b, KEY_LABEL - len);
	}
	for (size_t i = 0; i < c->nheads; i++) {
		buf_digest(b, &c->heads[i].vm);
		buf_u64(b, c->heads[i].seq);
	}
	return record_sign_end(b, at, VF_TAG_CONFIG, owner_seed);
}

/* A text field padded with zeros; -EPROTO when bytes follow a zero. */
static int rd_padded(struct rd *r, size_t n, char *out)
{
	const uint8_t *p = rd_ptr(r, n);
	size_t len;

	if (!p)
		return fail(-EPROTO, "cut off");
	len = strnlen((const char *)p, n);
	if (!is_zero(p + len, n - len))
		return fail(-EPROTO, "a text field with bytes behind its end");
	memcpy(out, p, len);
	out[len] = '\0';
	printable(out);
	return 0;
}

static const char *unknown_name(const struct vf_config *c, uint8_t class,
				uint64_t unknown, char *room, size_t size)
{
	int bit = __builtin_ctzll(unknown);

	for (size_t i = 0; i < c->nfeatures; i++)
		if (c->features[i].class == class && c->features[i].bit == bit)
			return c->features[i].name;
	snprintf(room, size, "bit %d", bit);
	return room;
}

/* Among the first n writer keys; NULL if it is not there. */
static const struct vf_key *find_key(const struct vf_config *c, size_t n,
				     const struct sign_public *key)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(c->keys[i].key.b, key->b, sizeof(key->b)) == 0)
			return &c->keys[i];
	return NULL;
}

static int config_tables(struct rd *r, struct vf_config *c)
{
	int e;

	for (size_t i = 0; i < c->nfeatures; i++) {
		c->features[i].class = rd_u8(r);
		c->features[i].bit = rd_u8(r);
		e = rd_padded(r, FEATURE_NAME, c->features[i].name);
		if (e)
			return e;
		if (c->features[i].class > 2 || c->features[i].bit > 63)
			return fail(-EPROTO, "bad feature name %zu", i);
	}
	for (size_t i = 0; i < c->nkeys; i++) {
		struct vf_key *k = &c->keys[i];

		rd_bytes(r, k->key.b, sizeof(k->key.b));
		k->added = rd_u64(r);
		k->retired = rd_u64(r);
		k->first_head = rd_u32(r);
		k->nheads = rd_u32(r);
		if (!rd_zero(r, 16))
			return fail(-EPROTO, "bad writer key %zu", i);
		e = rd_padded(r, KEY_LABEL, k->label);
		if (e)
			return e;
		if (k->first_head > c->nheads ||
		    k->nheads > c->nheads - k->first_head ||
		    (!k->retired && (k->first_head || k->nheads)))
			return fail(-EPROTO, "heads of writer key %zu", i);
		if (k->added < 1 || k->added > c->n || k->retired > c->n ||
		    find_key(c, i, &k->key))
			return fail(-EPROTO, "bad writer key %zu", i);
	}
	for (size_t i = 0; i < c->nheads; i++) {
		rd_digest(r, &c->heads[i].vm);
		c->heads[i].seq = rd_u64(r);
	}
	return 0;
}

static int config_parse(const void *p, size_t n, struct vf_config *c)
{
	struct rd r;
	uint32_t slots, policy;
	int e = record_open(p, n, "VFcf", &r);

	if (e)
		return e;
	rd_bytes(&r, c->id.b, sizeof(c->id.b));
	c->n = rd_u64(&r);
	rd_digest(&r, &c->prev);
	c->time_ns = (int64_t)rd_u64(&r);
	c->incompatible = rd_u64(&r);
	c->read_compatible = rd_u64(&r);
	c->compatible = rd_u64(&r);
	c->nfeatures = rd_u16(&r);
	c->nkeys = rd_u16(&r);
	c->nheads = rd_u32(&r);
	slots = rd_u32(&r);
	policy = rd_u32(&r);
	e = rd_name(&r, "vault name", false, c->name);
	if (e)
		return e;
	rd_bytes(&r, c->owner.b, sizeof(c->owner.b));
	/* Before the sizes count, the whole must have them. */
	if (!rd_zero(&r, 4) ||
	    (uint64_t)n != CONFIG_FIXED +
				   FEATURE_SIZE * (uint64_t)c->nfeatures +
				   KEY_SIZE * (uint64_t)c->nkeys +
				   40 * (uint64_t)c->nheads + slots + policy +
				   SIGN_SIZE)
		return fail(-EPROTO, "bad lengths");
	c->features = calloc(c->nfeatures + 1, sizeof(*c->features));
	c->keys = calloc(c->nkeys + 1, sizeof(*c->keys));
	c->heads = calloc(c->nheads + 1, sizeof(*c->heads));
	if (!c->features || !c->keys || !c->heads)
		return fail(-ENOMEM, "no memory for the config");
	e = config_tables(&r, c);
	if (e)
		return e;
	e = record_check_sign(p, n, VF_TAG_CONFIG, &c->owner);
	if (e)
		return e;
	/* Unknown bits first: they explain what else looks odd. */
	if (c->incompatible & ~VF_KNOWN_INCOMPATIBLE) {
		char room[16];

		return fail(
			-ENOTSUP,
			"uses the feature '%s', which this software does not know; install a newer vaultfs",
			unknown_name(c, 0,
				     c->incompatible & ~VF_KNOWN_INCOMPATIBLE,
				     room, sizeof(room)));
	}
	if (slots || policy)
		return fail(-EPROTO, "areas that no feature names");
	sha256(p, n, &c->digest);
	return 0;
}

int vf_config_parse(const void *p, size_t n, struct vf_config *out)
{
	struct vf_config c = { 0 };
	int r = config_parse(p, n, &c);

	if (r) {
		vf_config_release(&c);
		return r;
	}
	*out = c;
	return 0;
}

void vf_config_release(struct vf_config *c)
{
	free(c->features);
	free(c->keys);
	free(c->heads);
	memset(c, 0, sizeof(*c));
}

int vf_config_key_counts(const struct vf_config *c,
			 const struct sign_public *key, const char *vm,
			 uint64_t seq)
{
	struct digest vm_digest;
	char hex[2 * SIGN_PUBLIC_SIZE + 1];
	const struct vf_key *k = find_key(c, c->nkeys, key);

	hex_of(key->b, sizeof(key->b), hex);
	hex[16] = '\0';
	if (!k)
		return fail(
			-EKEYREJECTED,
			"sealed by key %s…, which is no writer of this vault",
			hex);
	if (!k->retired)
		return 0;
	sha256(vm, strlen(vm), &vm_digest);
	for (size_t i = 0; i < k->nheads; i++) {
		const struct vf_key_head *h = &c->heads[k->first_head + i];

		if (digest_equal(&h->vm, &vm_digest) && seq <= h->seq)
			return 0;
	}
	return fail(-EKEYREJECTED, "sealed by key %s… after it was retired",
		    hex);
}

/* --- keys of objects (2) --- */

static bool plain_in_key(uint8_t c)
{
	/* Not isalnum(): it asks the locale. */
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';
}

int vf_name_encode(const char *name, char out[static CATALOG_NAME_MAX + 1])
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;
	int r = catalog_check_name("name", name, strlen(name));

	if (r)
		return r;
	for (const char *s = name; *s; s++) {
		uint8_t c = (uint8_t)*s;
		bool plain = plain_in_key(c) && !(c == '.' && s == name);

		if (n + (plain ? 1 : 3) > CATALOG_NAME_MAX)
			return fail(
				-EINVAL,
				"the name '%s' is too long: written for the store it passes %d bytes; choose a shorter one",
				name, CATALOG_NAME_MAX);
		if (plain) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = digits[c >> 4];
			out[n++] = digits[c & 15];
		}
	}
	out[n] = '\0';
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int vf_name_decode(const char *key, size_t n,
		   char out[static CATALOG_NAME_MAX + 1])
{
	char again[CATALOG_NAME_MAX + 1];
	size_t len = 0;

	if (n > CATALOG_NAME_MAX)
		return fail(-EPROTO, "a name of %zu bytes in a key", n);
	for (size_t i = 0; i < n; i++) {
		int hi, lo;

		if (key[i] != '%') {
			out[len++] = key[i];
			continue;
		}
		hi = i + 2 < n ? hex_digit(key[i + 1]) : -1;
		lo = i + 2 < n ? hex_digit(key[i + 2]) : -1;
		if (hi < 0 || lo < 0)
			return fail(-EPROTO, "a bad %% in a key");
		out[len++] = (char)(hi << 4 | lo);
		i += 2;
	}
	out[len] = '\0';
	/* Only the one written form counts, or two keys would be one name. */
	if (memchr(out, '\0', len) || vf_name_encode(out, again) ||
	    strlen(again) != n || memcmp(again, key, n) != 0)
		return fail(-EPROTO, "a name in a key that is not in its form");
	return 0;
}

void vf_key_config(char k[static VF_KEY_SIZE], uint64_t n)
{
	snprintf(k, VF_KEY_SIZE, "h/%016" PRIx64, UINT64_MAX - n);
}

void vf_key_commit(char k[static VF_KEY_SIZE], const char *vm, uint64_t seq)
{
	snprintf(k, VF_KEY_SIZE, "V/%s/c/%016" PRIx64, vm, UINT64_MAX - seq);
}

void vf_key_gen(char k[static VF_KEY_SIZE], const char *vm, char kind,
		const struct point_id *gen)
{
	snprintf(k, VF_KEY_SIZE, "V/%s/%c/%016" PRIx64 ".%016" PRIx64, vm, kind,
		 gen->seq, gen->nonce);
}

void vf_key_end(char k[static VF_KEY_SIZE], const char *vm,
		const struct point_id *gen)
{
	snprintf(k, VF_KEY_SIZE, "V/%s/w/%016" PRIx64 ".%016" PRIx64 ".end", vm,
		 gen->seq, gen->nonce);
}

void vf_key_object(char k[static VF_KEY_SIZE], const char *vm, const char *disk,
		   const struct point_id *gen, char kind, uint32_t n)
{
	snprintf(k, VF_KEY_SIZE,
		 "V/%s/d/%s/%016" PRIx64 ".%016" PRIx64 "/%c/%016" PRIx32, vm,
		 disk, gen->seq, gen->nonce, kind, n);
}

void vf_key_place(char k[static VF_KEY_SIZE], const char *vm, const char *disk,
		  const struct place *p)
{
	if (p->flags & PLACE_POINT)
		vf_key_gen(k, vm, 'p', &p->gen);
	else
		vf_key_object(k, vm, disk, &p->gen,
			      p->flags & PLACE_INDEX ? 'm' : 's', p->object);
}

/* 16 lower-case digits: in capitals they would be another key. */
static bool hex16(const char *text, uint64_t *out)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

int vf_key_inverse(const char *text, uint64_t *n)
{
	uint64_t v;

	if (strlen(text) != 16 || !hex16(text, &v))
		return fail(-EPROTO, "'%s' is no number of this form", text);
	*n = UINT64_MAX - v;
	return 0;
}

int vf_key_parse_gen(const char *text, struct point_id *gen)
{
	struct point_id g;

	if (strlen(text) != 33 || !hex16(text, &g.seq) || text[16] != '.' ||
	    !hex16(text + 17, &g.nonce))
		return fail(-EPROTO, "'%s' is no generation", text);
	*gen = g;
	return 0;
}
