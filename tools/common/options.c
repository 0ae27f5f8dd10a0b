// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/bearer.h"
#include "backend/base/log.h"

#define HELP_WIDTH 79
#define HELP_COLUMN 28
/* Long options are numbered from here on, out of the way of the letters. */
#define LONG_BASE 256

static const char *program = "vaultctl";

void options_program(const char *name)
{
	program = name;
}

void string_list_release(struct string_list *l)
{
	free(l->v);
	*l = (struct string_list){ 0 };
}

static int string_list_add(struct string_list *l, const char *s)
{
	const char **v = reallocarray(l->v, l->n + 1, sizeof(*v));

	if (!v)
		return fail(-ENOMEM, "out of memory");
	v[l->n++] = s;
	l->v = v;
	return 0;
}

void command_release(struct command *c)
{
	string_list_release(&c->args);
}

const char *command_arg(const struct command *c, size_t i)
{
	return i < c->args.n ? c->args.v[i] : NULL;
}

/* --- the table, with what every command takes at its end --- */

#define NSHARED 4
#define NREACH 4

struct option_table {
	struct option_def *defs;
	size_t n;
	bool help;
};

static void drop_option_table(struct option_table *t)
{
	free(t->defs);
}

static int table_make(struct command *c, struct option_table *t)
{
	/* Of those that name a vault. */
	const struct option_def reach[NREACH] = {
		{ 0, "endpoint", OPTION_VALUE, &c->store.endpoint, "URL",
		  "where an az: or s3: vault is served, if not by the vendor" },
		{ 0, "cacert", OPTION_VALUE, &c->store.ca_file, "FILE",
		  "trust the authorities in this PEM file instead of the "
		  "system's" },
		{ 0, "sas-file", OPTION_VALUE, &c->store.sas_file, "FILE",
		  "az: the shared access signature (SAS) that lets us in" },
		{ 0, "secondary", OPTION_FLAG, &c->store.secondary, NULL,
		  "az: read the secondary copy where the first fails" },
	};
	const struct option_def shared[NSHARED] = {
		{ 'J', "json", OPTION_FLAG, &c->json, NULL,
		  "print the result as JSON" },
		{ 'v', "verbose", OPTION_COUNT, &c->verbose, NULL,
		  "tell more; twice: still more" },
		{ 'q', "quiet", OPTION_FLAG, &c->quiet, NULL,
		  "tell nothing but errors" },
		{ 'h', "help", OPTION_FLAG, &t->help, NULL,
		  "show this help and exit" },
	};

	bool reaches = !strncmp(c->operands, "VAULT", 5);
	size_t at = c->noptions;

	t->n = c->noptions + (reaches ? NREACH : 0) + NSHARED;
	t->defs = calloc(t->n, sizeof(*t->defs));
	if (!t->defs)
		return fail(-ENOMEM, "out of memory");
	if (c->noptions)
		memcpy(t->defs, c->options, c->noptions * sizeof(*t->defs));
	if (reaches) {
		memcpy(t->defs + at, reach, sizeof(reach));
		at += NREACH;
	}
	memcpy(t->defs + at, shared, sizeof(shared));
	return 0;
}

/* --- help --- */

/* Words of text from column col on, broken at HELP_WIDTH and indented. */
static void print_wrapped(const char *text, int col, int indent)
{
	while (*text) {
		int len = (int)strcspn(text, " \n");

		if (col > indent && col + 1 + len > HELP_WIDTH) {
			printf("\n%*s", indent, "");
			col = indent;
		} else if (col > indent) {
			putchar(' ');
			col++;
		}
		fwrite(text, 1, (size_t)len, stdout);
		col += len;
		text += len;
		if (*text == '\n') {
			printf("\n\n%*s", indent, "");
			col = indent;
		}
		if (*text)
			text++;
	}
	putchar('\n');
}

static void print_option(const struct option_def *o)
{
	int col = o->letter ? printf("  -%c, ", o->letter) : printf("      ");

	col += printf("--%s", o->name);
	if (o->kind == OPTION_OPTIONAL)
		col += printf("[=%s]", o->arg);
	else if (o->arg)
		col += printf(" %s", o->arg);
	if (col + 2 > HELP_COLUMN) {
		putchar('\n');
		col = 0;
	}
	printf("%*s", HELP_COLUMN - col, "");
	print_wrapped(o->help, HELP_COLUMN, HELP_COLUMN);
}

static void print_help(const struct command *c, const struct option_table *t)
{
	printf("usage: %s %s [OPTION]... %s\n\n", program, c->name,
	       c->operands);
	print_wrapped(c->about, 0, 0);
	putchar('\n');
	for (size_t i = 0; i < t->n; i++)
		print_option(&t->defs[i]);
}

/* --- operands --- */

/* The first `count` words of "VAULT VM [POINT]" that must be given. */
static size_t operands_required(const char *operands)
{
	size_t n = 0;

	for (const char *p = operands; *p; p += strspn(p, " ")) {
		if (*p == '[')
			break;
		n++;
		p += strcspn(p, " ");
	}
	return n;
}

static size_t operands_max(const char *operands)
{
	size_t n = 0;

	if (strstr(operands, "..."))
		return SIZE_MAX;
	for (const char *p = operands; *p; p += strspn(p, " ")) {
		n++;
		p += strcspn(p, " ");
	}
	return n;
}

static const char *operand_at(const char *operands, size_t i, int *len)
{
	const char *p = operands;

	while (i--) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	*len = (int)strcspn(p, " .");
	return p;
}

static int check_operands(const struct command *c)
{
	size_t required = operands_required(c->operands);
	int len;
	const char *name;

	if (c->args.n < required) {
		name = operand_at(c->operands, c->args.n, &len);
		return bad_usage("%.*s is missing", len, name);
	}
	if (c->args.n > operands_max(c->operands))
		return bad_usage("'%s' is one operand too many",
				 c->args.v[operands_max(c->operands)]);
	for (size_t i = 0; i < c->args.n; i++) {
		if (*c->args.v[i])
			continue;
		name = operand_at(c->operands, min_u64(i, required - 1), &len);
		return bad_usage("%.*s is empty", len, name);
	}
	return 0;
}

/* --- parsing --- */

static int apply(const struct option_def *o, const char *value)
{
	switch (o->kind) {
	case OPTION_FLAG:
		*(bool *)o->to = true;
		return 0;
	case OPTION_COUNT:
		(*(int *)o->to)++;
		return 0;
	case OPTION_VALUE:
		*(const char **)o->to = value;
		return 0;
	case OPTION_OPTIONAL:
		*(const char **)o->to = value ? value : "";
		return 0;
	case OPTION_LIST:
		return string_list_add(o->to, value);
	}
	return 0;
}

/* What getopt_long() needs, made of our table. */
struct getopt_form {
	struct option *longs;
	char *letters;
};

static void drop_getopt_form(struct getopt_form *f)
{
	free(f->longs);
	free(f->letters);
}

static int form_make(const struct option_table *t, struct getopt_form *f)
{
	char *p;

	f->longs = calloc(t->n + 1, sizeof(*f->longs));
	f->letters = calloc(t->n + 1, 2);
	if (!f->longs || !f->letters)
		return fail(-ENOMEM, "out of memory");
	p = f->letters;
	*p++ = ':'; /* a missing value is told apart, and nothing printed */
	for (size_t i = 0; i < t->n; i++) {
		const struct option_def *o = &t->defs[i];

		f->longs[i] = (struct option){
			.name = o->name,
			.has_arg = o->kind == OPTION_OPTIONAL
					   ? optional_argument
				   : o->arg ? required_argument
					    : no_argument,
			.val = LONG_BASE + (int)i,
		};
		if (!o->letter)
			continue;
		*p++ = o->letter;
		if (o->arg)
			*p++ = ':';
	}
	return 0;
}

static const struct option_def *find(const struct option_table *t, int c)
{
	if (c >= LONG_BASE)
		return (size_t)(c - LONG_BASE) < t->n ? &t->defs[c - LONG_BASE]
						      : NULL;
	for (size_t i = 0; i < t->n; i++)
		if (c && t->defs[i].letter == c)
			return &t->defs[i];
	return NULL;
}

/* getopt_long() returned ':' or '?' after it looked at this word. */
static int complain(const struct option_table *t, int c, const char *word)
{
	const struct option_def *o = find(t, optopt);
	int len = (int)strcspn(word, "=");

	if (c == ':' && o)
		return bad_usage("--%s wants %s", o->name, o->arg);
	if (o && optopt >= LONG_BASE)
		return bad_usage("--%s takes no value", o->name);
	if (optopt)
		return bad_usage("-%c is no option of this command", optopt);
	return bad_usage("%.*s is no option of this command, or short for "
			 "several",
			 len, word);
}

static int parse_options(struct command *c, struct option_table *t, int argc,
			 char **argv)
{
	DROP(getopt_form) struct getopt_form f = { 0 };
	const struct option_def *o;
	int r, ch;

	r = form_make(t, &f);
	if (r < 0)
		return r;
	optind = 0;
	opterr = 0;
	while ((ch = getopt_long(argc, argv, f.letters, f.longs, NULL)) != -1) {
		o = find(t, ch);
		if (ch == '?' || ch == ':' || !o)
			return complain(t, ch, argv[optind - 1]);
		r = apply(o, optarg);
		if (r < 0)
			return r;
	}
	for (; optind < argc; optind++) {
		r = string_list_add(&c->args, argv[optind]);
		if (r < 0)
			return r;
	}
	return 0;
}

static void set_log_level(const struct command *c)
{
	if (c->quiet)
		log_set_level(LOG_LEVEL_ERROR);
	else if (c->verbose > 1)
		log_set_level(LOG_LEVEL_DEBUG);
	else if (c->verbose)
		log_set_level(LOG_LEVEL_INFO);
}

int command_parse(struct command *c, int argc, char **argv)
{
	DROP(option_table) struct option_table t = { 0 };
	int r = table_make(c, &t);

	if (r == 0)
		r = parse_options(c, &t, argc, argv);
	if (r < 0)
		return r;
	if (t.help) {
		print_help(c, &t);
		return 1;
	}
	set_log_level(c);
	r = azure_bearer_offer(&c->store);
	return r < 0 ? r : check_operands(c);
}

/* --- values --- */

int option_choice(const char *option, const char *value,
		  const char *const *words)
{
	char list[256] = "";
	size_t used = 0;

	for (int i = 0; words[i]; i++) {
		int n;

		if (!strcmp(value, words[i]))
			return i;
		n = snprintf(list + used, sizeof(list) - used, "%s%s",
			     !i		    ? ""
			     : words[i + 1] ? ", "
					    : " or ",
			     words[i]);
		if (n > 0 && used + (size_t)n < sizeof(list))
			used += (size_t)n;
	}
	return bad_usage("%s is %s, not '%s'", option, list, value);
}

int option_pair(const char *option, const char *form, const char *text,
		char **name, const char **rest)
{
	const char *eq = strchr(text, '=');

	if (!eq || eq == text)
		return bad_usage("%s wants %s, not '%s'", option, form, text);
	*name = strndup(text, (size_t)(eq - text));
	if (!*name)
		return fail(-ENOMEM, "out of memory");
	*rest = eq + 1;
	return 0;
}
