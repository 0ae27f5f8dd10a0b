// SPDX-License-Identifier: GPL-3.0-or-later
/* vaultkey: unwraps the keys of volumes, and opens these with them. */
#include "tools/vaultkey/vaultkey.h"

static const struct subcommand commands[] = {
	{ "unwrap", cmd_unwrap, "unwrap the BEK of an escrow record" },
	{ "open", cmd_open, "open volumes in the kernel, as block devices" },
	{ "close", cmd_close, "take down what 'open' made" },
	{ "check", cmd_check, "prove that the volumes of points open" },
	{ "escrow", cmd_escrow, "wrap a key as an escrow record" },
	{ "rewrap", cmd_rewrap, "wrap the keys of points for another KEK too" },
	{ "attach", cmd_attach, "add escrow records to a point" },
	{ "restore-to-keyvault", cmd_restore_to_keyvault,
	  "put keys that are missing back into Key Vault" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	static const struct program vaultkey = {
		.name = "vaultkey",
		.commands = commands,
		.notes = "A RECORD is a file, a POINT-DIR the directory of a "
			 "point in a mount.",
	};

	return program_main(&vaultkey, argc, argv);
}
