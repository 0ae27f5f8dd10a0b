// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/escrow_args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "crypt/escrow_azure.h"
#include "crypt/keyvault.h"
#include "tools/common/document.h"

void escrow_list_release(struct escrow_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free((char *)(uintptr_t)l->v[i].disk);
		free((char *)(uintptr_t)l->v[i].text);
	}
	free(l->v);
	*l = (struct escrow_list){ 0 };
}

int escrow_list_add(struct escrow_list *l, struct escrow_record *r)
{
	DROP(mem) char *disk = *r->disk ? strdup(r->disk) : NULL;
	DROP(mem) char *text = NULL;
	struct escrow_addition *v;
	size_t len;
	int e = escrow_text(r, &text, &len);

	if (e < 0)
		return e;
	v = reallocarray(l->v, l->n + 1, sizeof(*v));
	if (!v || (*r->disk && !disk)) {
		l->v = v ? v : l->v;
		return fail(-ENOMEM, "out of memory");
	}
	l->v = v;
	v[l->n++] = (struct escrow_addition){ .disk = take(disk),
					      .text = take(text),
					      .len = len };
	return 0;
}

/* --- names --- */

static bool is_disk(const char *const *disks, size_t n, const char *name,
		    size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(disks[i]) == len && !memcmp(disks[i], name, len))
			return true;
	return false;
}

/* "os", "os-p2", "": a disk may itself be called so, and then it is meant. */
static int set_place(const char *name, const char *const *disks, size_t ndisks,
		     struct escrow_record *rec)
{
	size_t len = strlen(name), digits = len;
	uint64_t part = 0;

	rec->part = 0;
	*rec->disk = '\0';
	if (!len)
		return 0;
	if (!is_disk(disks, ndisks, name, len)) {
		while (digits && name[digits - 1] >= '0' &&
		       name[digits - 1] <= '9')
			digits--;
		if (digits < 3 || name[digits - 1] != 'p' ||
		    name[digits - 2] != '-' || digits == len ||
		    parse_u64(name + digits, &part) < 0 || part < 1 ||
		    part > 999 || !is_disk(disks, ndisks, name, digits - 2))
			return bad_usage("--escrow: '%s' is neither a disk of "
					 "the point nor DISK-pN, a partition "
					 "of one",
					 name);
		len = digits - 2;
	}
	if (len >= sizeof(rec->disk))
		return bad_usage("--escrow: the name of a disk is too long");
	memcpy(rec->disk, name, len);
	rec->disk[len] = '\0';
	rec->part = (unsigned)part;
	return 0;
}

/* --- wrapping --- */

struct reading {
	const struct escrow_args *a;
	struct keyring *keyring;    /* NULL: no --escrow-to */
	char named[ESCROW_URL_MAX]; /* of a KEK that a record named, the last */
	struct kek_public **to;
};

static void drop_reading(struct reading *x)
{
	for (size_t i = 0; x->to && i < x->a->to.n; i++)
		kek_public_close(x->to[i]);
	free(x->to);
	keyring_close(x->keyring);
}

static int open_keys(struct reading *x)
{
	int r;

	if (!x->a->to.n)
		return 0;
	x->to = calloc(x->a->to.n, sizeof(struct kek_public *));
	if (!x->to)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < x->a->to.n; i++) {
		r = kek_public_open(x->a->to.v[i], &x->to[i]);
		if (r < 0)
			return blame(r, "--escrow-to");
	}
	return keys_open(&x->a->keys, &x->keyring);
}

/* A wrap for each key of --escrow-to. */
static int wrap(const struct reading *x, struct escrow_record *rec,
		const char *what, struct secret *plain)
{
	DROP(secret) struct secret *bek = NULL;
	int r = 0;

	if (!x->a->to.n)
		return 0;
	if (!plain) {
		r = keyring_unwrap(x->keyring, rec, what, &bek);
		plain = bek;
	}
	if (r < 0)
		return blame(r, "--escrow-to");
	for (size_t i = 0; i < x->a->to.n && r == 0; i++) {
		struct wrap w;

		r = kek_public_wrap(x->to[i], WRAP_RSA_OAEP_256, NULL, plain,
				    &w);
		if (r == 0)
			r = escrow_add_wrap(rec, &w);
	}
	return r;
}

static int read_one(const struct reading *x, const char *text,
		    const char *const *disks, size_t ndisks,
		    struct escrow_list *out)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *bek = NULL;
	DROP(mem) char *name = NULL;
	char what[ESCROW_PLACE_SIZE];
	struct escrow_request rq = { .what = what,
				     .wrapped_kek_url = x->a->wrapped,
				     .plain = x->a->plain };
	struct escrow_record place = { 0 };
	const char *path;
	int r = 0;

	/* "=FILE", or no "=" at all: the whole VM. */
	path = strchr(text, '=');
	name = strndup(text, path ? (size_t)(path - text) : 0);
	path = path ? path + 1 : text;
	if (!name)
		return fail(-ENOMEM, "out of memory");
	if (!*path)
		return bad_usage("--escrow %s: FILE is missing", text);
	r = set_place(name, disks, ndisks, &place);
	if (r < 0)
		return r;
	escrow_place(&place, what);
	r = read_escrow(path, &rq, &rec, &bek);
	if (r < 0)
		return r;
	memcpy(rec.disk, place.disk, sizeof(rec.disk));
	rec.part = place.part;
	r = wrap(x, &rec, what, bek);
	if (r == 0 && !rec.nwraps)
		log_warn("%s: the BEK is not wrapped, so its record is kept "
			 "without it; --escrow-to PUBLIC.pem keeps it, wrapped",
			 what);
	return r < 0 ? r : escrow_list_add(out, &rec);
}

int escrow_args_check(const struct escrow_args *a, bool copied)
{
	size_t stdins = 0;

	for (size_t i = 0; i < a->escrow.n; i++) {
		const char *file = strchr(a->escrow.v[i], '=');

		stdins += !strcmp(file ? file + 1 : a->escrow.v[i], "-");
	}
	if (stdins > 1)
		return bad_usage("--escrow: standard input can be read once");
	if (a->plain && a->wrapped)
		return bad_usage("--plain and --wrapped exclude each other");
	if (copied && (a->escrow.n || a->plain || a->wrapped))
		return bad_usage("--escrow, --wrapped and --plain do not go "
				 "with --from, which copies the records of the "
				 "point");
	if (!copied && !a->escrow.n &&
	    (a->to.n || a->wrapped || a->plain || a->keys.keks.n ||
	     a->keys.files.n))
		return bad_usage("--escrow-to, --wrapped, --plain, --kek and "
				 "--keys go with --escrow");
	return 0;
}

int escrow_args_read(const struct escrow_args *a, const char *const *disks,
		     size_t ndisks, struct escrow_list *out)
{
	DROP(reading) struct reading x = { .a = a };
	int r = a->escrow.n ? secret_setup() : 0;

	if (r == 0)
		r = open_keys(&x);
	for (size_t i = 0; i < a->escrow.n && r == 0; i++)
		r = read_one(&x, a->escrow.v[i], disks, ndisks, out);
	return r;
}

/* --- records of a point that is copied --- */

/* The record as the secret has it, which is there and then. */
static int complete(struct escrow_record *rec, struct secret **bek)
{
	DROP(escrow_record) struct escrow_record full = { 0 };
	int r = keyvault_read_record(rec, &full, bek);

	if (r)
		return r;
	escrow_record_release(rec);
	*rec = full;
	full = (struct escrow_record){ 0 };
	return 0;
}

/* The KEKs that are in Key Vault, unless the user names others. */
static int name_keks(struct reading *x, const struct escrow_record *rec)
{
	struct kv_url u;

	for (size_t i = 0; x->keyring && i < rec->nwraps; i++) {
		int r;

		if (x->a->keys.keks.n || x->a->keys.files.n)
			return 0;
		if (!strcmp(rec->wraps[i].kek_url, x->named))
			continue;
		if (kv_url_parse(rec->wraps[i].kek_url, &u)) {
			err_clear();
			continue;
		}
		r = keyring_add_kek(x->keyring, rec->wraps[i].kek_url);
		if (r)
			return r;
		memcpy(x->named, rec->wraps[i].kek_url, sizeof(x->named));
	}
	return 0;
}

static int copy_one(struct reading *x, const struct point_info *p,
		    const struct escrow_doc *d, struct escrow_list *out)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *bek = NULL;
	char what[ESCROW_PLACE_SIZE];
	int r = escrow_parse(d->text, d->len, &rec);

	if (!r && d->disk >= 0)
		snprintf(rec.disk, sizeof(rec.disk), "%s",
			 p->disks[d->disk].name);
	escrow_place(&rec, what);
	if (!r)
		r = azure_bek(p, &rec, &bek);
	if (!r && !bek && !rec.nwraps && *rec.secret_url) {
		r = complete(&rec, &bek);
		if (r && !x->a->to.n) {
			log_warn("%s: %s; its record is copied without the key",
				 what, err_text(r));
			r = 0;
		}
	}
	if (!r)
		r = name_keks(x, &rec);
	if (!r && (bek || rec.nwraps))
		r = wrap(x, &rec, what, bek);
	if (!r && bek && !x->a->to.n)
		log_warn("%s: the BEK is not wrapped, so its record is copied "
			 "without it; --escrow-to PUBLIC.pem keeps it, wrapped",
			 what);
	return r ? blame(r, "the key of %s", what) : escrow_list_add(out, &rec);
}

int escrow_args_copy(const struct escrow_args *a, const struct point_info *p,
		     const struct escrow_docs *docs, struct escrow_list *out)
{
	DROP(reading) struct reading x = { .a = a };
	int r = docs->n ? secret_setup() : 0;

	if (!r)
		r = a->to.n ? open_keys(&x) : keys_tell_keyvault(&a->keys);
	for (size_t i = 0; i < docs->n && !r; i++)
		r = copy_one(&x, p, &docs->v[i], out);
	return r;
}
