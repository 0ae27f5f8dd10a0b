// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/common/document.h"
#include "tools/vaultkey/records.h"
#include "tools/vaultkey/vaultkey.h"

struct job {
	const char *volume, *out;
	const char *wrapped;
	bool plain, trust;
	struct keyring *keyring;
	struct escrow_records records;
	struct secret *bek;
	const struct escrow_record *record; /* whose it is */
};

static void drop_job(struct job *j)
{
	keyring_close(j->keyring);
	escrow_records_release(&j->records);
	secret_close(j->bek);
}

/* A file holds one record, or a secret, whose value may be the BEK as it is. */
static int from_file(struct job *j, const char *path)
{
	const struct escrow_request rq = { .wrapped_kek_url = j->wrapped,
					   .plain = j->plain };
	DROP(escrow_record) struct escrow_record rec = { 0 };
	int r = read_escrow(path, &rq, &rec, &j->bek);

	return r < 0 ? r : escrow_records_add(&j->records, &rec);
}

/* "os-p2, lun0" */
static void list_places(const struct escrow_records *l, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < l->n && len < size; i++) {
		char place[ESCROW_PLACE_SIZE];

		escrow_place(&l->v[i], place);
		len += (size_t)snprintf(out + len, size - len, "%s%s",
					i ? ", " : "", place);
	}
}

static int from_point(struct job *j, const char *path)
{
	const char *why = j->trust ? NULL : point_dir_untrusted(path);
	char places[512] = "";
	int r = why ? fail(-EACCES, "%s", why)
		    : point_dir_records(path, &j->records);

	if (r < 0)
		return r;
	list_places(&j->records, places, sizeof(places));
	if (!j->volume && j->records.n > 1)
		return bad_usage("%s has %zu records: say which with --volume "
				 "(they are for %s)",
				 path, j->records.n, places);
	return 0;
}

/* The records that fit best come first. */
static int unwrap_any(struct job *j, const char *from)
{
	int r = -ENOENT;

	for (int fit = 3; fit > 0 && r; fit--) {
		for (size_t i = 0; i < j->records.n && r; i++) {
			const struct escrow_record *rec = &j->records.v[i];
			char place[ESCROW_PLACE_SIZE];

			if (j->volume ? record_fits(rec, j->volume) != fit
				      : fit != 1)
				continue;
			escrow_place(rec, place);
			r = keyring_unwrap(j->keyring, rec,
					   j->volume	? j->volume
					   : *rec->disk ? place
							: from,
					   &j->bek);
			if (r < 0 && r != -ENOKEY)
				return r;
			j->record = rec;
		}
	}
	if (r == -ENOENT)
		return fail(r, "%s: there is no escrow record for %s", from,
			    j->volume);
	return r;
}

static int write_stdout(const struct secret *s)
{
	const uint8_t *p = secret_bytes((struct secret *)(uintptr_t)s);
	size_t n = secret_size(s);

	while (n) {
		ssize_t r = write(STDOUT_FILENO, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return fail_errno(r < 0 ? errno : EIO,
					  "standard output");
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static int tell(const struct job *j)
{
	struct json *top = json_object();

	json_set_str(top, "out", j->out);
	json_set_u64(top, "bytes", secret_size(j->bek));
	json_set_str(top, "volume", j->volume);
	if (j->record)
		json_set_str(top, "secretUrl",
			     *j->record->secret_url ? j->record->secret_url
						    : NULL);
	return print_json(top);
}

static int deliver(const struct job *j, const struct command *c)
{
	int r;

	if (!j->out || !strcmp(j->out, "-"))
		return write_stdout(j->bek);
	r = secret_write_file(j->bek, j->out);
	if (r == -EEXIST)
		return fail(r, "%s is there already: remove it first", j->out);
	return r < 0 || !c->json ? r : tell(j);
}

static int check_usage(const struct job *j, const struct command *c)
{
	if (j->plain && j->wrapped)
		return bad_usage("--plain and --wrapped exclude each other");
	if (c->json && (!j->out || !strcmp(j->out, "-")))
		return bad_usage("--json goes with --out FILE: a BEK is no "
				 "JSON");
	if (!j->out && isatty(STDOUT_FILENO))
		return bad_usage("standard output is a terminal: --out FILE "
				 "writes the BEK there, --out - shows it here");
	return 0;
}

int cmd_unwrap(int argc, char **argv)
{
	DROP(keys_options) struct keys_options keys = { 0 };
	DROP(job) struct job j = { 0 };
	const struct option_def options[] = {
		{ 'V', "volume", OPTION_VALUE, &j.volume, "NAME",
		  "the volume whose BEK is wanted, as os-p2, where a point has "
		  "several records" },
		KEYS_KEKS_OPTIONS(keys),
		{ 'o', "out", OPTION_VALUE, &j.out, "FILE",
		  "write the BEK to this new file (mode 0600) instead of "
		  "standard output; - is that, also when it is a terminal" },
		{ 'w', "wrapped", OPTION_VALUE, &j.wrapped, "KEKURL",
		  "the secret is wrapped, by this KEK, though it does not say "
		  "so" },
		{ 0, "plain", OPTION_FLAG, &j.plain, NULL,
		  "the secret is not wrapped" },
		{ 0, "trust-unsealed", OPTION_FLAG, &j.trust, NULL,
		  "also try the records of a vault whose owner key is not "
		  "pinned here" },
	};
	DROP(command)
	struct command c = COMMAND(
		"unwrap", "RECORD|POINT-DIR", options,
		"Unwraps the BEK of an escrow record with a KEK and writes its "
		"exact bytes, with no newline. A RECORD is a file of ours, or "
		"what 'az keyvault secret show -o json' prints ('-': standard "
		"input); a POINT-DIR is the directory of a point in a mount.");
	const char *from;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	from = c.args.v[0];
	r = check_usage(&j, &c);
	if (r == 0)
		r = keys_open(&keys, &j.keyring);
	if (r == 0)
		r = is_point_dir(from) ? from_point(&j, from)
				       : from_file(&j, from);
	if (r == 0 && !j.bek)
		r = unwrap_any(&j, from);
	return r < 0 ? r : deliver(&j, &c);
}
