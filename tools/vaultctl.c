// SPDX-License-Identifier: GPL-3.0-or-later
/* vaultctl: makes vaults, fills them, looks after them, restores from them. */
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/vaultctl/vaultctl.h"

static const struct subcommand commands[] = {
	{ "init", cmd_init, "make a new vault" },
	{ "backup", cmd_backup, "back disk images up as one recovery point" },
	{ "list", cmd_list, "list the VMs of a vault, or the points of a VM" },
	{ "show", cmd_show, "show a vault, a VM or a point in detail" },
	{ "restore", cmd_restore,
	  "restore disks of a point to files or devices" },
	{ "verify", cmd_verify, "check that what is in a vault is whole" },
	{ "prune", cmd_prune, "drop points of a VM" },
	{ "key", cmd_key, "show, add, retire and pin the keys of a vault" },
	{ NULL, NULL, NULL },
};

static int print_usage(void)
{
	puts("usage: vaultctl COMMAND [OPTION]... VAULT ...\n");
	print_subcommands(commands);
	puts("\n'vaultctl help COMMAND' tells what a command does and takes.\n"
	     "A VAULT is a directory: a path, or dir:PATH. A POINT is a time,\n"
	     "the beginning of one, or 'latest'.");
	return 0;
}

/* "help backup" is "backup --help", and "help key add" is "key add --help". */
static int help(int argc, char **argv)
{
	static char flag[] = "--help";
	char *words[4] = { NULL };
	const struct subcommand *s;
	int n = 0;

	if (argc < 2)
		return print_usage();
	for (int i = 1; i < argc && n < 2; i++)
		words[n++] = argv[i];
	words[n++] = flag;
	s = find_subcommand(commands, words[0]);
	if (!s)
		return bad_usage("'%s' is no command", words[0]);
	return s->run(n, words);
}

static int run(int argc, char **argv, const struct subcommand **which)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name)
		return bad_usage("COMMAND is missing");
	if (!strcmp(name, "help") || !strcmp(name, "--help") ||
	    !strcmp(name, "-h"))
		return help(argc - 1, argv + 1);
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("vaultctl " VAULTFS_VERSION);
		return 0;
	}
	*which = find_subcommand(commands, name);
	if (!*which)
		return bad_usage("'%s' is no command", name);
	return (*which)->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	const struct subcommand *which = NULL;
	int r, end;

	log_init("vaultctl", LOG_LEVEL_WARN);
	interrupt_setup();
	r = run(argc, argv, &which);
	if (r == -EUSAGE)
		log_error("%s (try 'vaultctl help%s%s')", err_text(r),
			  which ? " " : "", which ? which->name : "");
	else if (r < 0)
		log_error("%s", err_text(r));
	end = output_finish();
	if (end < 0 && r >= 0)
		log_error("%s", err_text(end));
	if (r == -EUSAGE)
		return 2;
	return r < 0 || end < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
