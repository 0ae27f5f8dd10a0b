// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One table of a command's options and operands, from which both its parser and
 * its
 * --help are made, so that the two cannot differ.
 *
 *	const struct option_def options[] = {
 *		{ 'n', "name", OPTION_VALUE, &name, "NAME", "what it is" },
 *	};
 *	DROP(command) struct command c = COMMAND("init", "VAULT", options,
 *						 "Makes a new vault.");
 *	r = command_parse(&c, argc, argv);
 *	if (r)
 *		return r;
 *
 * Every command also takes --json, --quiet, --verbose and --help, and the
 * options of how a VAULT is reached over a network. Options and operands may be
 * mixed; "--" ends the options. One call in a process.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "backend/base/err.h"
#include "backend/store/store.h"

/*
 * How a command was called is wrong: exit code 2, and a hint at the help. No
 * errno; a function that returns it leaves a sentence that names the option or
 * operand.
 */
#define EUSAGE 5000
#define bad_usage(...) fail(-EUSAGE, __VA_ARGS__)

/* What the help calls the program; borrowed. */
void options_program(const char *name);

/* Words of argv, in order. */
struct string_list {
	const char **v;
	size_t n;
};
void string_list_release(struct string_list *l);
static inline void drop_string_list(struct string_list *l)
{
	string_list_release(l);
}

enum option_kind {
	OPTION_FLAG,  /* to: bool * */
	OPTION_COUNT, /* to: int *, one more each time */
	OPTION_VALUE, /* to: const char **; the last one given counts */
	OPTION_LIST,  /* to: struct string_list * */
	/* to: const char **; "" when it is given without a value, which can
	 * only be --name=VALUE. It has no letter. */
	OPTION_OPTIONAL,
};

struct option_def {
	char letter;	  /* 0: it has only a long name */
	const char *name; /* without dashes */
	enum option_kind kind;
	void *to;
	const char *arg; /* how its value is called; NULL for a flag */
	const char *help;
};

struct command {
	const char *name;     /* "backup", "key add" */
	const char *operands; /* "VAULT VM [POINT]", "VAULT VM POINT..." */
	const char *about; /* what it does, in sentences; '\n': a new paragraph */
	const struct option_def *options;
	size_t noptions;
	/* Set by command_parse(): */
	bool json, quiet;
	int verbose;
	struct store_options store; /* how VAULT is reached */
	struct string_list args;    /* the operands that were given */
};

#define COMMAND(the_name, the_operands, the_options, the_about)                \
	{                                                                      \
		.name = the_name, .operands = the_operands,                    \
		.about = the_about, .options = the_options,                    \
		.noptions = ARRAY_SIZE(the_options)                            \
	}
#define COMMAND_PLAIN(the_name, the_operands, the_about)                       \
	{                                                                      \
		.name = the_name, .operands = the_operands, .about = the_about \
	}

/*
 * argv[0] is the command's name. 0; 1 when the help was asked for and printed;
 * -EUSAGE. Also sets the log level as --quiet and --verbose say.
 */
int command_parse(struct command *c, int argc, char **argv) MUST_USE;
void command_release(struct command *c);
static inline void drop_command(struct command *c)
{
	command_release(c);
}

/* The i-th operand, or NULL if it was not given. */
const char *command_arg(const struct command *c, size_t i);

/* The index of value in words (ended by NULL), or -EUSAGE with a sentence that
 * names the option and the words. */
int option_choice(const char *option, const char *value,
		  const char *const *words) MUST_USE;

/* "NAME=REST" apart at the first '='; the name is copied (to be freed), the
 * rest is borrowed from text. -EUSAGE naming the option. */
int option_pair(const char *option, const char *form, const char *text,
		char **name, const char **rest) MUST_USE;
