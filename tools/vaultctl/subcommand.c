// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultctl/vaultctl.h"

#include <stdio.h>
#include <string.h>

const struct subcommand *find_subcommand(const struct subcommand *table,
					 const char *name)
{
	for (; table->name; table++)
		if (!strcmp(table->name, name))
			return table;
	return NULL;
}

void print_subcommands(const struct subcommand *table)
{
	for (; table->name; table++)
		printf("  %-9s %s\n", table->name, table->summary);
}
