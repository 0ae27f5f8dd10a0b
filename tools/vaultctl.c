// SPDX-License-Identifier: GPL-3.0-or-later
/* vaultctl: makes vaults, fills them, looks after them, restores from them. */
#include "tools/vaultctl/vaultctl.h"

static const struct subcommand commands[] = {
	{ "init", cmd_init, "make a new vault" },
	{ "backup", cmd_backup, "back disk images up as one recovery point" },
	{ "list", cmd_list, "list the VMs of a vault, or the points of a VM" },
	{ "show", cmd_show, "show a vault, a VM or a point in detail" },
	{ "restore", cmd_restore,
	  "restore disks of a point to files or devices" },
	{ "restore-disks", cmd_restore_disks,
	  "ask Azure to restore the disks of a point of its vault" },
	{ "verify", cmd_verify, "check that what is in a vault is whole" },
	{ "prune", cmd_prune, "drop points of a VM" },
	{ "key", cmd_key, "show, add, retire and pin the keys of a vault" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	static const struct program vaultctl = {
		.name = "vaultctl",
		.commands = commands,
		.notes = "A VAULT is a directory (a path, or dir:PATH), "
			 "az://ACCOUNT/CONTAINER\nor s3://BUCKET, with "
			 "/PREFIX if there are several. A POINT is a time,\n"
			 "the beginning of one, or 'latest'.",
	};

	return program_main(&vaultctl, argc, argv);
}
