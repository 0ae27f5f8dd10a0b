// SPDX-License-Identifier: GPL-3.0-or-later
/* vaultctl restore-disks: what only Azure can do for a point in the vault tier. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/azure/restore.h"
#include "tools/common/interrupt.h"
#include "tools/common/open.h"
#include "tools/common/progress.h"
#include "tools/vaultctl/vaultctl.h"

/* It costs money and half an hour: a person is asked, a script says --yes. */
static int ask(const char *vm, const char *point, const char *account)
{
	char answer[8];

	if (!isatty(STDIN_FILENO))
		return bad_usage("Azure is asked for a restore, which takes "
				 "time and space that are paid for: add --yes");
	fprintf(stderr,
		"Azure restores the disks of %s, %s, to %s: go on? [y/N] ", vm,
		point, account);
	if (!fgets(answer, sizeof(answer), stdin) ||
	    (answer[0] != 'y' && answer[0] != 'Y'))
		return fail(-ECANCELED, "nothing was asked for");
	return 0;
}

static int tell(void *ctx, const struct rsv_job *job)
{
	struct progress *p = ctx;

	progress_update(p, job->percent, 100);
	return interrupt_check();
}

static int print_done(const struct command *c, const struct rsv_job *job)
{
	struct json *j;

	if (!job->account || !job->container)
		return fail(-EPROTO, "Azure does not say where the disks are");
	if (!c->json) {
		printf("az://%s/%s\n", job->account, job->container);
		return 0;
	}
	j = json_object();
	json_set_str(j, "account", job->account);
	json_set_str(j, "container", job->container);
	json_set_str(j, "config", job->config);
	json_set_str(j, "template", job->template_uri);
	json_set_str(j, "encryptionInfo", job->encryption_blob);
	json_set_str(j, "status", job->status);
	return print_json(j);
}

static int restore_disks(const struct command *c, struct opened *o,
			 const char *vm, const char *point, const char *to)
{
	DROP(point_info) struct point_info *p = NULL;
	DROP(rsv_job) struct rsv_job job = { 0 };
	DROP(progress) struct progress bar = { 0 };
	struct point_row row;
	int r = catalog_find_point(o->catalog, o->name, vm, point, &row);

	if (!r)
		r = catalog_point(o->catalog, o->name, vm, &row, &p);
	if (r)
		return r;
	progress_start(&bar, "restoring (percent)", c->quiet);
	r = azure_restore_disks(p, to, tell, &bar, &job);
	progress_end(&bar);
	return r ? r : print_done(c, &job);
}

int cmd_restore_disks(int argc, char **argv)
{
	DROP(opened) struct opened o = { 0 };
	const char *to = NULL;
	bool yes = false;
	const struct option_def options[] = {
		{ 't', "to", OPTION_VALUE, &to, "ACCOUNT",
		  "the id of the storage account, in the vault's region, where "
		  "the disks go" },
		{ 'y', "yes", OPTION_FLAG, &yes, NULL,
		  "do not ask whether to go on" },
	};
	DROP(command)
	struct command c = COMMAND(
		"restore-disks", "VAULT VM POINT", options,
		"Asks Azure to restore the disks of a point of a Recovery "
		"Services vault to a storage account, waits for that, and "
		"prints where they are. Nothing else here asks for it.");
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	if (!to)
		return bad_usage("--to ACCOUNT is missing");
	r = yes ? 0 : ask(command_arg(&c, 1), command_arg(&c, 2), to);
	if (r)
		return r;
	interrupt_setup();
	r = open_quietly(&c, &o);
	return r ? r
		 : restore_disks(&c, &o, command_arg(&c, 1), command_arg(&c, 2),
				 to);
}
