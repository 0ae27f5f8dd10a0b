// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A program of subcommands, each in a file of its own, and its end: the sentence of
 * a failure, the exit code, and whether all output was written.
 */
#pragma once
#include "tools/common/options.h"

/*
 * What was asked could not be found out: exit code 3. No errno; a function that
 * returns it leaves its sentence.
 */
#define EUNSURE 5001

/*
 * A row of a table of commands; the last one has no name. argv[0] is the
 * subcommand's name. It returns 0 (or 1: the help was shown), else a negative
 * errno, -EUSAGE or -EUNSURE with a sentence.
 */
struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};
/* NULL when there is none of this name. */
const struct subcommand *find_subcommand(const struct subcommand *table,
					 const char *name);
void print_subcommands(const struct subcommand *table);

struct program {
	const char *name;
	const struct subcommand *commands;
	const char *notes; /* for the end of its help */
};

/* All of main(): the exit code. */
int program_main(const struct program *p, int argc, char **argv);
