// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/program.h"

#include <stdio.h>
#include <string.h>

#include "backend/base/cancel.h"
#include "backend/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"

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

static int print_usage(const struct program *p)
{
	printf("usage: %s COMMAND [OPTION]... ...\n\n", p->name);
	print_subcommands(p->commands);
	printf("\n'%s help COMMAND' tells what a command does and takes.\n%s\n",
	       p->name, p->notes);
	return 0;
}

/* "help backup" is "backup --help", and "help key add" is "key add --help". */
static int help(const struct program *p, int argc, char **argv)
{
	static char flag[] = "--help";
	char *words[4] = { NULL };
	const struct subcommand *s;
	int n = 0;

	if (argc < 2)
		return print_usage(p);
	for (int i = 1; i < argc && n < 2; i++)
		words[n++] = argv[i];
	words[n++] = flag;
	s = find_subcommand(p->commands, words[0]);
	if (!s)
		return bad_usage("'%s' is no command", words[0]);
	return s->run(n, words);
}

static int run(const struct program *p, int argc, char **argv,
	       const struct subcommand **which)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name)
		return bad_usage("COMMAND is missing");
	if (!strcmp(name, "help") || !strcmp(name, "--help") ||
	    !strcmp(name, "-h"))
		return help(p, argc - 1, argv + 1);
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("%s " VAULTFS_VERSION "\n", p->name);
		return 0;
	}
	*which = find_subcommand(p->commands, name);
	if (!*which)
		return bad_usage("'%s' is no command", name);
	return (*which)->run(argc - 1, argv + 1);
}

int program_main(const struct program *p, int argc, char **argv)
{
	const struct subcommand *which = NULL;
	int r, end;

	log_init(p->name, LOG_LEVEL_WARN);
	options_program(p->name);
	interrupt_setup();
	cancel_set_all(interrupted);
	r = run(p, argc, argv, &which);
	if (r == -EUSAGE)
		log_error("%s (try '%s help%s%s')", err_text(r), p->name,
			  which ? " " : "", which ? which->name : "");
	else if (r < 0)
		log_error("%s", err_text(r));
	end = output_finish();
	if (end < 0 && r >= 0)
		log_error("%s", err_text(end));
	if (r == -EUSAGE)
		return 2;
	if (r == -EUNSURE)
		return 3;
	return r < 0 || end < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
