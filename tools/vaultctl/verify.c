// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"
#include "tools/common/interrupt.h"
#include "tools/common/open.h"
#include "tools/common/progress.h"
#include "tools/vaultctl/vaultctl.h"

struct verification {
	const struct command *c;
	struct progress progress;
	struct json *list; /* with --json */
};

/* Who verifies need not be told to: the sentence without that advice, which
 * ends it. */
static void without_advice(const char *sentence, char out[static ERR_MAX])
{
	static const char advice[] = "; " VAULT_DAMAGED_ADVICE;
	size_t len = strnlen(sentence, ERR_MAX - 1), n = strlen(advice);

	if (len > n && !memcmp(sentence + len - n, advice, n))
		len -= n;
	memcpy(out, sentence, len);
	out[len] = '\0';
}

static void bad_text(const struct verify_bad *b)
{
	char point[POINT_NAME_SIZE];

	if (b->vm)
		printf("%s", b->vm);
	if (b->point) {
		point_name(b->point, NULL, NULL, point);
		printf(" %s", point);
	}
	printf("%s%s\n", b->vm ? ": " : "", b->sentence);
	fflush(stdout);
}

static void bad_object(struct json *list, const struct verify_bad *b)
{
	struct json *j = json_object();
	char text[POINT_NAME_SIZE], id[POINT_ID_TEXT];

	json_set_str(j, "vm", b->vm);
	if (b->point) {
		point_name(b->point, NULL, NULL, text);
		point_id_text(&b->point->id, id);
		json_set_str(j, "point", text);
		json_set_str(j, "id", id);
	}
	json_set_str(j, "disk", b->disk);
	json_set_str(j, "what", b->sentence);
	json_push(list, j);
}

static void bad(void *ctx, const struct verify_bad *b)
{
	struct verification *x = ctx;
	struct verify_bad said = *b;
	char sentence[ERR_MAX];

	without_advice(b->sentence, sentence);
	said.sentence = sentence;
	progress_end(&x->progress);
	if (x->list)
		bad_object(x->list, &said);
	else
		bad_text(&said);
}

static int progress(void *ctx, const struct verify_progress *p)
{
	struct verification *x = ctx;
	uint64_t total = 0;

	if (interrupted())
		return 1;
	progress_what(&x->progress, p->vm ? p->vm : "verify");
	/* The points that are left may be larger or smaller: an estimate. */
	if (p->fraction > 0.001)
		total = (uint64_t)((double)p->bytes / p->fraction);
	progress_update(&x->progress, p->bytes, total);
	return 0;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static int report_object(struct verification *x, const struct opened *o,
			 const char *level, const struct verify_result *res)
{
	struct json *j = json_object();

	json_set_str(j, "vault", o->name);
	json_set_str(j, "level", level);
	json_set_bool(j, "ok", res->bad == 0);
	json_set_u64(j, "vms", res->vms);
	json_set_u64(j, "points", res->points);
	json_set_u64(j, "disks", res->disks);
	json_set_u64(j, "commits", res->commits);
	json_set_u64(j, "nodes", res->nodes);
	json_set_u64(j, "frames", res->frames);
	json_set_u64(j, "bytes", res->bytes);
	json_set_u64(j, "badPoints", res->bad_points);
	json_set(j, "bad", x->list);
	x->list = NULL;
	return print_json(j);
}

static int report(struct verification *x, const struct opened *o,
		  const char *level, const struct verify_result *res)
{
	char bytes[SIZE_TEXT_SIZE];
	int r = 0;

	size_text(res->bytes, bytes);
	if (x->list)
		r = report_object(x, o, level, res);
	else if (!res->bad && !x->c->quiet)
		printf("verified: %llu VM%s, %llu point%s, %s\n",
		       (unsigned long long)res->vms, plural(res->vms),
		       (unsigned long long)res->points, plural(res->points),
		       bytes);
	if (r < 0 || !res->bad)
		return r;
	return fail(-EBADMSG, "%s: %llu thing%s bad, in %llu of %llu point%s",
		    o->name, (unsigned long long)res->bad,
		    res->bad == 1 ? " is" : "s are",
		    (unsigned long long)res->bad_points,
		    (unsigned long long)res->points, plural(res->points));
}

static int run(struct verification *x, struct opened *o,
	       const struct verify_request *rq, const char *level)
{
	struct verify_result res;
	struct vault *v;
	int r = opened_native(o, &v);

	if (r < 0)
		return r;
	progress_start(&x->progress, "verify", x->c->quiet);
	r = vault_verify(v, rq, &res);
	progress_end(&x->progress);
	return r < 0 ? r : report(x, o, level, &res);
}

int cmd_verify(int argc, char **argv)
{
	static const char *const levels[] = { "objects", "checksums", "data",
					      NULL };
	const char *level = "data";
	const struct option_def options[] = {
		{ 'l', "level", OPTION_VALUE, &level, "LEVEL",
		  "objects: all that points need is there, and long enough; "
		  "checksums: also commits and their seals, records, dead "
		  "pages, trailers; data (default): also every byte of every "
		  "disk" },
	};
	DROP(command)
	struct command c = COMMAND(
		"verify", "VAULT [VM] [POINT]", options,
		"Checks a vault, a VM or a point. Prints a line for each thing "
		"that is bad, goes on, and fails at the end if there was one. "
		"What points share is read once.");
	DROP(opened) struct opened o = { 0 };
	struct verification x = { .c = &c };
	struct verify_request rq = { .bad = bad,
				     .progress = progress,
				     .ctx = &x };
	struct point_row row;
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = option_choice("--level", level, levels);
	if (r < 0)
		return r;
	rq.level = (enum verify_level)r;
	rq.vm = command_arg(&c, 1);
	r = rq.vm ? check_name_arg("VM name", rq.vm) : 0;
	if (r == 0)
		r = open_reading(&c, &o);
	if (r == 0 && command_arg(&c, 2)) {
		r = catalog_find_point(o.catalog, o.name, rq.vm, c.args.v[2],
				       &row);
		rq.point = &row.id;
	}
	if (r < 0)
		return r;
	x.list = c.json ? json_array() : NULL;
	r = run(&x, &o, &rq, level);
	json_close(x.list);
	return r;
}
