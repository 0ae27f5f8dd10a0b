// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/common/document.h"
#include "tools/vaultkey/vaultkey.h"

struct arguments {
	struct string_list to;
	const char *file_name, *label, *algorithm, *machine;
};

static void drop_arguments(struct arguments *a)
{
	string_list_release(&a->to);
}

static int check_key(struct secret *bek, const char *file_name)
{
	size_t n = secret_size(bek);

	if (bek_plausible(secret_bytes(bek), n, file_name))
		return 0;
	if (secret_bytes(bek)[n - 1] == '\n')
		return fail(-EINVAL,
			    "the key ends in a newline, which would be "
			    "part of it: leave it out ('printf %%s', "
			    "or 'tr -d \"\\n\"')");
	return fail(-EINVAL,
		    "what is on standard input is no key for '%s': a .BEK file "
		    "or a passphrase (text) is wanted",
		    file_name);
}

static int add_wrap(struct escrow_record *rec, const char *path,
		    enum wrap_alg alg, const char *label, struct secret *bek)
{
	DROP(kek_public) struct kek_public *k = NULL;
	struct wrap w;
	int r = kek_public_open(path, &k);

	if (r == 0)
		r = kek_public_wrap(k, alg, label, bek, &w);
	if (r == 0)
		r = escrow_add_wrap(rec, &w);
	return r < 0 ? blame(r, "--to") : 0;
}

static int make(const struct arguments *a, enum wrap_alg alg,
		struct escrow_record *rec)
{
	DROP(secret) struct secret *bek = NULL;
	bool shared;
	int r = read_document("-", &shared, &bek);

	if (r == 0)
		r = check_key(bek, a->file_name);
	for (size_t i = 0; i < a->to.n && r == 0; i++)
		r = add_wrap(rec, a->to.v[i], alg, a->label, bek);
	snprintf(rec->content_type, sizeof(rec->content_type), "Wrapped BEK");
	rec->tags = json_object();
	json_set_str(rec->tags, "DiskEncryptionKeyFileName", a->file_name);
	if (a->machine)
		json_set_str(rec->tags, "MachineName", a->machine);
	return r;
}

static int run(const struct arguments *a)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	enum wrap_alg alg = WRAP_RSA_OAEP_256;
	int r;

	if (!a->to.n)
		return bad_usage("--to is missing: the public key to wrap for");
	if (!a->file_name)
		return bad_usage("--file-name is missing: GUID.BEK for "
				 "BitLocker, LinuxPassPhraseFileName for LUKS");
	if (strlen(a->file_name) >= sizeof(rec.file_name) ||
	    (a->label && strlen(a->label) >= sizeof(rec.wraps->kek_label)))
		return bad_usage("--file-name or --label is too long");
	if (a->algorithm && wrap_alg_parse(a->algorithm, &alg) < 0)
		return bad_usage("--algorithm: %s", err_text(-ENOTSUP));
	if (alg == WRAP_RSA1_5)
		return bad_usage("--algorithm: RSA1_5 is only for reading what "
				 "was wrapped with it");
	r = secret_setup();
	if (r == 0)
		r = make(a, alg, &rec);
	return r < 0 ? r : print_json(escrow_json(&rec));
}

int cmd_escrow(int argc, char **argv)
{
	DROP(arguments) struct arguments a = { 0 };
	const struct option_def options[] = {
		{ 't', "to", OPTION_LIST, &a.to, "PUBLIC",
		  "the public key or certificate (RSA, 3072 bits or more) to "
		  "wrap the key for; may be repeated" },
		{ 'n', "file-name", OPTION_VALUE, &a.file_name, "NAME",
		  "what the key is: GUID.BEK, a BitLocker key file, or "
		  "LinuxPassPhraseFileName, a LUKS passphrase" },
		{ 'l', "label", OPTION_VALUE, &a.label, "TEXT",
		  "what people call the KEK" },
		{ 'm', "machine", OPTION_VALUE, &a.machine, "NAME",
		  "the machine that the key is of" },
		{ 'a', "algorithm", OPTION_VALUE, &a.algorithm, "NAME",
		  "RSA-OAEP-256 (default) or RSA-OAEP" },
	};
	DROP(command)
	struct command c = COMMAND(
		"escrow", "", options,
		"Wraps the key on standard input for a public key, and prints "
		"the escrow record that 'vaultctl backup --escrow' takes. The "
		"bytes are taken as they are: a newline would be part of the "
		"key.");
	int r = command_parse(&c, argc, argv);

	return r ? r : run(&a);
}
