// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Each record of the points is unwrapped with a KEK that is at hand, and a record
 * with a wrap for the new one is added to its point, unless that has one already.
 * Points whose records are equal get equal new ones, so that what opens one of them
 * is known for all (crypt/keycache.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "tools/common/escrow_args.h"
#include "tools/common/open.h"
#include "tools/vaultkey/points.h"
#include "tools/vaultkey/vaultkey.h"

#define TO_MAX 16
/* So many additions at a time: each batch is made durable as a whole. */
#define BATCH 256

/* What a record became. */
struct made {
	struct digest from;
	struct wrap *wraps; /* one for each key of --to; NULL: not unwrapped */
};

struct job {
	const struct command *c;
	struct keys_options keys;
	struct string_list to;
	bool trust;
	struct opened o;
	struct vault *vault;
	struct keyring *keyring;
	struct kek_public *public[TO_MAX];
	struct digest spki[TO_MAX];
	struct made *made;
	size_t nmade;
	char vm[CATALOG_NAME_MAX + 1]; /* of the batch */
	struct escrow_list batch;
	uint64_t points, records, added, failed;
};

static void drop_job(struct job *j)
{
	drop_keys_options(&j->keys);
	string_list_release(&j->to);
	for (size_t i = 0; i < TO_MAX; i++)
		kek_public_close(j->public[i]);
	for (size_t i = 0; i < j->nmade; i++)
		free(j->made[i].wraps);
	free(j->made);
	escrow_list_release(&j->batch);
	keyring_close(j->keyring);
	opened_close(&j->o);
}

static int flush(struct job *j)
{
	int r = 0;

	if (j->batch.n)
		r = vault_attach(j->vault, j->vm, j->batch.v, j->batch.n);
	if (r == 0)
		j->added += j->batch.n;
	escrow_list_release(&j->batch);
	return r;
}

/* Both are of one BEK, as far as they say. */
static bool same_secret(const struct escrow_record *a,
			const struct escrow_record *b)
{
	return a->part == b->part && !strcmp(a->disk, b->disk) &&
	       !strcmp(a->secret_url, b->secret_url) &&
	       !strcmp(a->file_name, b->file_name);
}

static bool has_wrap(const struct escrow_records *all,
		     const struct escrow_record *rec, const struct digest *spki)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct escrow_record *r = &all->v[i];

		if (!same_secret(r, rec))
			continue;
		for (size_t k = 0; k < r->nwraps; k++)
			if (r->wraps[k].has_spki &&
			    digest_equal(&r->wraps[k].spki, spki))
				return true;
	}
	return false;
}

static int make(struct job *j, const struct escrow_record *rec,
		const char *what, struct made *m)
{
	DROP(mem) struct wrap *w = NULL;
	DROP(secret) struct secret *bek = NULL;
	int r = keyring_unwrap(j->keyring, rec, what, &bek);

	if (r == -ENOKEY) {
		log_error("%s", err_text(r));
		return 0;
	}
	if (r < 0)
		return r;
	w = calloc(j->to.n, sizeof(*w));
	if (!w)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < j->to.n && r == 0; i++)
		r = kek_public_wrap(j->public[i], WRAP_RSA_OAEP_256, NULL, bek,
				    &w[i]);
	if (r == 0)
		m->wraps = take(w);
	return r;
}

static int find_or_make(struct job *j, const struct escrow_record *rec,
			const char *what, struct made **ret)
{
	struct made *m;
	int r;

	for (size_t i = 0; i < j->nmade; i++) {
		*ret = &j->made[i];
		if (digest_equal(&j->made[i].from, &rec->digest))
			return 0;
	}
	m = reallocarray(j->made, j->nmade + 1, sizeof(*m));
	if (!m)
		return fail(-ENOMEM, "out of memory");
	j->made = m;
	m += j->nmade;
	*m = (struct made){ .from = rec->digest };
	r = make(j, rec, what, m);
	if (r == 0)
		j->nmade++;
	*ret = m;
	return r;
}

/* The same record with the wraps that its point lacks, and no other. */
static int add(struct job *j, const struct escrow_records *all,
	       struct escrow_record *rec, const char *what,
	       const struct point_id *point)
{
	DROP(mem) struct wrap *old = NULL;
	bool lacks[TO_MAX], any = false;
	struct made *m = NULL;
	int r;

	for (size_t i = 0; i < j->to.n; i++) {
		lacks[i] = !has_wrap(all, rec, &j->spki[i]);
		any |= lacks[i];
	}
	if (!rec->nwraps || !any)
		return 0;
	r = find_or_make(j, rec, what, &m);
	if (r < 0)
		return r;
	if (!m->wraps) {
		j->failed++;
		return 0;
	}
	old = take(rec->wraps);
	rec->nwraps = 0;
	for (size_t i = 0; i < j->to.n && r == 0; i++)
		if (lacks[i])
			r = escrow_add_wrap(rec, &m->wraps[i]);
	if (r == 0)
		r = escrow_list_add(&j->batch, rec);
	if (r == 0)
		j->batch.v[j->batch.n - 1].point = *point;
	return r;
}

static int one_point(void *ctx, const char *vm, struct point_info *p,
		     const char *name)
{
	DROP(escrow_records) struct escrow_records all = { 0 };
	struct job *j = ctx;
	int r = 0;

	if (strcmp(vm, j->vm) || j->batch.n >= BATCH)
		r = flush(j);
	snprintf(j->vm, sizeof(j->vm), "%s", vm);
	if (r == 0)
		r = point_records(&j->o, vm, p, &all);
	j->points++;
	for (size_t i = 0; i < all.n && r == 0; i++) {
		char place[ESCROW_PLACE_SIZE], what[512];

		escrow_place(&all.v[i], place);
		snprintf(what, sizeof(what), "%s %s, %s", vm, name, place);
		j->records++;
		r = add(j, &all, &all.v[i], what, &p->row.id);
	}
	return r;
}

static int open_public(struct job *j)
{
	DROP(secret) struct secret *probe = NULL;
	int r = secret_copy("x", 1, &probe);

	for (size_t i = 0; i < j->to.n && r == 0; i++) {
		struct wrap w;

		r = kek_public_open(j->to.v[i], &j->public[i]);
		if (r < 0)
			return blame(r, "--to");
		r = kek_public_wrap(j->public[i], WRAP_RSA_OAEP_256, NULL,
				    probe, &w);
		j->spki[i] = w.spki;
	}
	return r;
}

static int tell(const struct job *j)
{
	struct json *top;
	int r = 0;

	if (j->c->json) {
		top = json_object();
		json_set_u64(top, "points", j->points);
		json_set_u64(top, "records", j->records);
		json_set_u64(top, "added", j->added);
		json_set_u64(top, "failed", j->failed);
		r = print_json(top);
	} else if (!j->c->quiet) {
		printf("%llu points, %llu records: %llu added\n",
		       (unsigned long long)j->points,
		       (unsigned long long)j->records,
		       (unsigned long long)j->added);
	}
	if (r == 0 && j->failed)
		r = fail(-ENOKEY,
			 "%llu record%s not unwrapped by the KEKs that were "
			 "given",
			 (unsigned long long)j->failed,
			 j->failed == 1 ? " was" : "s were");
	return r;
}

static int check_trust(const struct job *j)
{
	if (j->trust || j->o.catalog->trust == SEAL_PINNED)
		return 0;
	return fail(-EACCES,
		    "vault %s: no owner key is pinned here, so anybody may "
		    "have made its records: 'vaultctl key pin' pins it, "
		    "--trust-unsealed tries them all the same",
		    j->o.name);
}

static int run(struct job *j)
{
	const struct command *c = j->c;
	int r;

	if (!j->to.n || j->to.n > TO_MAX)
		return bad_usage(j->to.n ? "--to is given too often"
					 : "--to is missing: the public key to "
					   "wrap for");
	if (!j->keys.keks.n && !j->keys.files.n)
		return bad_usage("--kek is missing: the key that unwraps the "
				 "records");
	r = open_writing(c, &j->o);
	if (r == 0)
		r = check_trust(j);
	if (r == 0)
		r = opened_native(&j->o, &j->vault);
	if (r == 0)
		r = open_public(j);
	if (r == 0)
		r = keys_open(&j->keys, &j->keyring);
	if (r == 0)
		r = each_point(&j->o, command_arg(c, 1), command_arg(c, 2),
			       one_point, j);
	if (r == 0)
		r = flush(j);
	return r < 0 ? r : tell(j);
}

int cmd_rewrap(int argc, char **argv)
{
	DROP(job) struct job j = { 0 };
	const struct option_def options[] = {
		{ 't', "to", OPTION_LIST, &j.to, "PUBLIC",
		  "the public key or certificate (RSA, 3072 bits or more) to "
		  "wrap the keys for; may be repeated" },
		KEYS_KEKS_OPTIONS(j.keys),
		{ 0, "trust-unsealed", OPTION_FLAG, &j.trust, NULL,
		  "also try the records of a vault whose owner key is not "
		  "pinned here" },
	};
	DROP(command)
	struct command c = COMMAND(
		"rewrap", "VAULT [VM] [POINT]", options,
		"Unwraps the keys of points that exist and adds escrow records "
		"with the same keys wrapped for another KEK. What the points "
		"have stays; those that have a wrap for it already are left "
		"alone, so it can be run again.");
	int r = command_parse(&c, argc, argv);

	j.c = &c;
	return r ? r : run(&j);
}
