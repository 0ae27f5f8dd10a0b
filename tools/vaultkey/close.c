// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/attach.h"
#include "tools/vaultkey/vaultkey.h"

int cmd_close(int argc, char **argv)
{
	DROP(command)
	struct command c = COMMAND_PLAIN(
		"close", "NAME",
		"Takes down what 'vaultkey open' made under this name, also "
		"when it was stopped halfway, or the mount with the disk image "
		"is gone. Nothing is touched while one of the devices is in "
		"use: it says by what. It does not unmount.");
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = attach_check_name(c.args.v[0]);
	if (r < 0)
		return bad_usage("%s", err_text(r));
	return attach_close(c.args.v[0]);
}
