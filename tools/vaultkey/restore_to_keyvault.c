// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Puts a key and a secret that are missing back into Key Vault, from what the point or
 * the restore job has of them. Whatever is there stays as it is: a name that exists,
 * in whatever version, is left alone, and so is one that was deleted and can be
 * recovered, which Key Vault itself refuses to replace.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "backend/base/base64.h"
#include "backend/base/log.h"
#include "crypt/escrow_azure.h"
#include "crypt/keyvault.h"
#include "tools/common/open.h"
#include "tools/vaultkey/vaultkey.h"

enum what { KEY_BACKUP, SECRET_BACKUP, SECRET_WRAPPED, SECRET_BEK };
enum there { THERE, OTHER_VERSION, GONE };

struct item {
	enum what what;
	struct kv_url url;
	enum there there;
	bool done;
};

struct job {
	const struct command *c;
	struct keys_options keys;
	const char *save;
	bool yes;
	struct opened o;
	struct point_info *info;
	struct azure_keys has;
	struct item items[2];
	size_t n;
};

static void drop_job(struct job *j)
{
	drop_keys_options(&j->keys);
	point_info_unref(j->info);
	opened_close(&j->o);
}

static const char *kind(const struct item *i)
{
	return i->url.kind == KV_KEY ? "key" : "secret";
}

/* --- what is missing --- */

static int look(struct item *i)
{
	struct kv_url any = i->url;
	int r = keyvault_check(&i->url);

	i->there = THERE;
	if (r != -ENOENT)
		return r;
	log_info("%s", err_text(r));
	*any.version = '\0';
	i->there = OTHER_VERSION;
	r = keyvault_check(&any);
	if (r != -ENOENT)
		return r;
	i->there = GONE;
	return 0;
}

static int plan_one(struct job *j, enum what what, const char *url)
{
	struct item *i = &j->items[j->n];
	int r;

	i->what = what;
	r = kv_url_parse(url, &i->url);
	if (!r)
		r = look(i);
	if (!r)
		j->n++;
	return r;
}

static int plan_secret(struct job *j, const struct rsv_key *k)
{
	if (!k->secret_url)
		return 0;
	if (k->secret_backup)
		return plan_one(j, SECRET_BACKUP, k->secret_url);
	if (k->secret_data)
		return plan_one(j, SECRET_WRAPPED, k->secret_url);
	return k->bek ? plan_one(j, SECRET_BEK, k->secret_url) : 0;
}

static int plan(struct job *j)
{
	const struct rsv_key *k = j->has.key;
	int r = 0;

	if (k->key_url && k->key_backup)
		r = plan_one(j, KEY_BACKUP, k->key_url);
	if (!r)
		r = plan_secret(j, k);
	if (!r && !j->n)
		return fail(-ENOENT,
			    "this point has no backup of a key or secret, as "
			    "most since July 2017: restore its disks "
			    "('vaultctl restore-disks'), and name the "
			    "container, az://..., here");
	return r;
}

static size_t show_plan(const struct job *j)
{
	size_t missing = 0;

	for (size_t n = 0; n < j->n; n++) {
		const struct item *i = &j->items[n];
		const char *host = keyvault_mapped(i->url.host);

		missing += i->there == GONE;
		if (j->c->quiet)
			continue;
		if (i->there == GONE)
			fprintf(stderr,
				"%s %s is missing in %s: to be put "
				"back\n",
				kind(i), i->url.name, host);
		else
			fprintf(stderr, "%s %s is in %s%s: left alone\n",
				kind(i), i->url.name, host,
				i->there == THERE ? ""
						  : ", though in another "
						    "version");
	}
	return missing;
}

static int ask(const struct job *j)
{
	char answer[8];

	if (j->yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return bad_usage("keys and secrets are put into a key vault: "
				 "add --yes");
	fprintf(stderr, "go on? [y/N] ");
	if (!fgets(answer, sizeof(answer), stdin) ||
	    (answer[0] != 'y' && answer[0] != 'Y'))
		return fail(-ECANCELED, "nothing was changed");
	return 0;
}

/* --- putting back --- */

static int decode(struct secret *backup, struct secret **ret)
{
	const char *text = (const char *)secret_bytes(backup);
	DROP(secret) struct secret *raw = NULL;
	size_t n = strlen(text);
	int r = secret_new(BASE64_DECODED_MAX(n), &raw);

	if (r)
		return r;
	if (!base64_decode(text, n, secret_bytes(raw), &n) || !n)
		return fail(-EPROTO, "the backup in the point is no base64");
	return secret_copy(secret_bytes(raw), n, ret);
}

static int restore_blob(const struct item *i, struct secret *backup)
{
	DROP(secret) struct secret *blob = NULL;
	int r = decode(backup, &blob);

	return r ? r
		 : keyvault_restore(&i->url, secret_bytes(blob),
				    secret_size(blob));
}

/* As Azure Disk Encryption tags it. */
static struct json *tags_of(const struct job *j, const struct item *i)
{
	const struct rsv_key *k = j->has.key;
	struct json *t = json_object();
	char text[ESCROW_URL_MAX];
	struct kv_url u;

	json_set_str(t, "DiskEncryptionKeyEncryptionAlgorithm", "RSA-OAEP");
	if (j->has.os && !strcasecmp(j->has.os, "Windows")) {
		snprintf(text, sizeof(text), "%s.BEK", i->url.name);
		json_set_str(t, "DiskEncryptionKeyFileName", text);
	} else {
		json_set_str(t, "DiskEncryptionKeyFileName",
			     "LinuxPassPhraseFileName");
	}
	json_set_str(t, "MachineName", j->info->vm);
	if (i->what != SECRET_WRAPPED || !k->key_url)
		return t;
	/* Where the key is now. */
	if (kv_url_parse(k->key_url, &u)) {
		err_clear();
		return t;
	}
	snprintf(text, sizeof(text), "https://%s/keys/%s/%s",
		 keyvault_mapped(u.host), u.name, u.version);
	json_set_str(t, "DiskEncryptionKeyEncryptionKeyURL", text);
	return t;
}

static int set_secret(const struct job *j, const struct item *i)
{
	DROP(json) struct json *tags = tags_of(j, i);
	DROP(secret) struct secret *value = NULL;
	const struct rsv_key *k = j->has.key;
	size_t n;
	int r;

	if (i->what == SECRET_WRAPPED) {
		r = secret_copy(k->secret_data, strlen(k->secret_data), &value);
		return r ? r
			 : keyvault_set_secret(&i->url, value, "Wrapped BEK",
					       tags);
	}
	n = secret_size(k->bek);
	r = secret_new(BASE64_ENCODED_SIZE(n), &value);
	if (r)
		return r;
	base64_encode(secret_bytes(k->bek), n, (char *)secret_bytes(value));
	return keyvault_set_secret(&i->url, value, "BEK", tags);
}

static int put_back(const struct job *j, const struct item *i)
{
	switch (i->what) {
	case KEY_BACKUP:
		return restore_blob(i, j->has.key->key_backup);
	case SECRET_BACKUP:
		return restore_blob(i, j->has.key->secret_backup);
	case SECRET_WRAPPED:
	case SECRET_BEK:
		break;
	}
	return set_secret(j, i);
}

static int put_all(struct job *j)
{
	int r = 0;

	for (size_t n = 0; n < j->n && !r; n++) {
		struct item *i = &j->items[n];

		if (i->there != GONE)
			continue;
		r = put_back(j, i);
		i->done = !r;
	}
	return r;
}

static int tell(const struct job *j)
{
	struct json *list = json_array();

	for (size_t n = 0; n < j->n; n++) {
		const struct item *i = &j->items[n];
		struct json *o = json_object();

		if (!j->c->json && i->done)
			printf("%s %s: put back into %s\n", kind(i),
			       i->url.name, keyvault_mapped(i->url.host));
		json_set_str(o, "kind", kind(i));
		json_set_str(o, "name", i->url.name);
		json_set_str(o, "vault", keyvault_mapped(i->url.host));
		json_set_bool(o, "putBack", i->done);
		json_push(list, o);
	}
	if (j->c->json)
		return print_json(list);
	json_close(list);
	return 0;
}

/* --- the blobs as files --- */

static int save_one(const struct job *j, const struct item *i)
{
	const struct rsv_key *k = j->has.key;
	DROP(secret) struct secret *blob = NULL;
	DROP(mem) char *path = NULL;
	int r;

	if (i->what != KEY_BACKUP && i->what != SECRET_BACKUP)
		return 0;
	r = decode(i->what == KEY_BACKUP ? k->key_backup : k->secret_backup,
		   &blob);
	if (r)
		return r;
	if (asprintf(&path, "%s/%s-%s.backup", j->save, kind(i), i->url.name) <
	    0) {
		path = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	r = secret_write_file(blob, path);
	if (!r)
		printf("%s\n", path);
	return r;
}

static int save(const struct job *j)
{
	int r = 0;

	for (size_t n = 0; n < j->n && !r; n++)
		r = save_one(j, &j->items[n]);
	return r;
}

/* --- all of it --- */

static int open_point(struct job *j)
{
	const char *vm = command_arg(j->c, 1), *point = command_arg(j->c, 2);
	struct point_row row;
	int r = open_quietly(j->c, &j->o);

	if (!r)
		r = check_name_arg("VM name", vm);
	if (!r)
		r = catalog_find_point(j->o.catalog, j->o.name, vm,
				       point ? point : "latest", &row);
	if (!r)
		r = catalog_point(j->o.catalog, j->o.name, vm, &row, &j->info);
	if (r)
		return r;
	if (azure_keys_of(j->info, &j->has))
		return 0;
	return fail(-EINVAL,
		    "%s: only points of Azure, and disks that it "
		    "restored, have backups of keys",
		    j->c->args.v[0]);
}

static int run(struct job *j)
{
	int r = secret_setup();

	if (!r)
		r = keys_tell_keyvault(&j->keys);
	if (!r)
		r = open_point(j);
	if (!r)
		r = plan(j);
	if (r)
		return r;
	if (j->save)
		return save(j);
	if (show_plan(j)) {
		r = ask(j);
		if (!r)
			r = put_all(j);
	}
	return r ? r : tell(j);
}

int cmd_restore_to_keyvault(int argc, char **argv)
{
	DROP(job) struct job j = { 0 };
	const struct option_def options[] = {
		{ 'y', "yes", OPTION_FLAG, &j.yes, NULL,
		  "do not ask whether to go on" },
		{ 0, "kek-host", OPTION_LIST, &j.keys.kek_hosts, "OLD=NEW",
		  "put into the key vault NEW what was in OLD; may be "
		  "repeated" },
		{ 0, "kv-resource", OPTION_LIST, &j.keys.kv_resources, "HOST",
		  "this key vault gets a token for whatever it names; may be "
		  "repeated" },
		{ 0, "save", OPTION_VALUE, &j.save, "DIR",
		  "change nothing, but write the backups as files (mode 0600) "
		  "into this directory, as 'az keyvault key restore' takes "
		  "them" },
	};
	DROP(command)
	struct command c = COMMAND(
		"restore-to-keyvault", "VAULT VM [POINT]", options,
		"Puts the KEK and the secret of a point of Azure, or of disks "
		"that it restored (az://...), back into Key Vault where they "
		"are missing. What is there, in whatever version, is left "
		"alone; nothing is deleted.");
	int r = command_parse(&c, argc, argv);

	j.c = &c;
	return r ? r : run(&j);
}
