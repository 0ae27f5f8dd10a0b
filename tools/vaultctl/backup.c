// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/vault/writer.h"
#include "tools/common/escrow_args.h"
#include "tools/common/interrupt.h"
#include "tools/common/open.h"
#include "tools/common/progress.h"
#include "tools/vaultctl/backup_from.h"
#include "tools/vaultctl/image.h"
#include "tools/vaultctl/vaultctl.h"

/* A file of extents: 10 million lines. */
#define EXTENTS_MAX (256u << 20)
#define LABELS_MAX 1024

/* The command line, before it is looked at. */
struct arguments {
	struct string_list disks, changed, labels;
	const char *time, *consistency, *base, *check, *image_format;
	bool take_over;
	struct escrow_args escrow;
	struct from from; /* url NULL: images */
};

/* All that a request points to. */
struct job {
	struct backup_request rq;
	char **names;		 /* of disks */
	struct extents *extents; /* of disks; used where changed is not NULL */
	bool *told;		 /* of disks: from_changes() */
	struct label *labels;
	size_t nown; /* of them, as the user gave them: the first */
	struct escrow_list escrow;
	struct point_id base;
	struct progress progress;
	uint64_t size; /* of all disks */
};

static void drop_arguments(struct arguments *a)
{
	string_list_release(&a->disks);
	string_list_release(&a->changed);
	string_list_release(&a->labels);
	drop_escrow_args(&a->escrow);
	from_close(&a->from);
}

static void drop_job(struct job *j)
{
	for (size_t i = 0; i < j->rq.ndisks; i++) {
		source_close(j->rq.disks[i].image);
		extents_release(&j->extents[i]);
		free(j->names[i]);
	}
	for (size_t i = 0; i < j->nown; i++)
		free(j->labels[i].key);
	free(j->told);
	free(j->rq.disks);
	free(j->names);
	free(j->extents);
	free(j->labels);
	escrow_list_release(&j->escrow);
}

static struct backup_disk *find_disk(struct job *j, const char *name)
{
	for (size_t i = 0; i < j->rq.ndisks; i++)
		if (!strcmp(j->names[i], name))
			return &j->rq.disks[i];
	return NULL;
}

/* --- disks --- */

/* The vault would grow while it is read, and hold itself. */
static int check_outside(const char *url, const char *path)
{
	DROP(mem) char *vault = NULL;
	DROP(mem) char *image = NULL;
	size_t len;

	vault = realpath(!strncmp(url, "dir:", 4) ? url + 4 : url, NULL);
	image = realpath(path, NULL);
	if (!vault || !image)
		return 0; /* opening them says why */
	len = strlen(vault);
	if (strncmp(image, vault, len) == 0 && image[len] == '/')
		return fail(-EINVAL, "%s: it lies inside the vault", path);
	return 0;
}

static int add_disk(struct job *j, const char *url, const char *text,
		    enum vhd_force format)
{
	DROP(mem) char *name = NULL;
	struct backup_disk *d = &j->rq.disks[j->rq.ndisks];
	const char *path;
	int r = option_pair("--disk", "NAME=IMAGE", text, &name, &path);

	if (r < 0)
		return r;
	if (!*path)
		return bad_usage("--disk wants NAME=IMAGE, not '%s'", text);
	r = check_name_arg("disk name", name);
	if (r == 0)
		r = check_outside(url, path);
	if (r < 0)
		return r;
	if (find_disk(j, name))
		return bad_usage("--disk names '%s' twice", name);
	r = image_open(path, format, &d->image, &d->was_vhd);
	if (r < 0)
		return r;
	d->name = name;
	j->names[j->rq.ndisks++] = take(name);
	d->unchanged = image_unchanged;
	j->size += source_size(d->image);
	return 0;
}

static int make_room(struct job *j, size_t n)
{
	j->rq.disks = calloc(n, sizeof(*j->rq.disks));
	j->names = calloc(n, sizeof(*j->names));
	j->extents = calloc(n, sizeof(*j->extents));
	j->told = calloc(n, sizeof(*j->told));
	if (!j->rq.disks || !j->names || !j->extents || !j->told)
		return fail(-ENOMEM, "out of memory");
	return 0;
}

/* Those of the point that is copied. */
static int copy_disks(struct job *j, struct from *from)
{
	int r = make_room(j, from->info->ndisks);

	if (r == 0)
		r = from_disks(from, &j->rq);
	for (size_t i = 0; i < j->rq.ndisks; i++) {
		j->names[i] = strdup(j->rq.disks[i].name);
		if (!j->names[i])
			return fail(-ENOMEM, "out of memory");
		j->size += source_size(j->rq.disks[i].image);
	}
	return r;
}

static int add_disks(struct job *j, const char *url, const struct arguments *a)
{
	static const char *const formats[] = { "auto", "raw", "vhd", NULL };
	int format = VHD_AUTO, r;

	_Static_assert(VHD_AUTO == 0 && VHD_RAW == 1 && VHD_YES == 2,
		       "in the order of formats[]");
	if (!a->disks.n)
		return bad_usage("--disk is missing");
	if (a->disks.n > CATALOG_DISKS_MAX)
		return bad_usage("--disk is given %zu times, a point has at "
				 "most %d disks",
				 a->disks.n, CATALOG_DISKS_MAX);
	if (a->image_format) {
		format = option_choice("--image-format", a->image_format,
				       formats);
		if (format < 0)
			return format;
	}
	r = make_room(j, a->disks.n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < a->disks.n; i++) {
		r = add_disk(j, url, a->disks.v[i], (enum vhd_force)format);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- extents --- */

/* poll() returns on a signal, where a read() would go on waiting. */
static int wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR || interrupted())
			break;
	return interrupt_check();
}

static int read_all(int fd, const char *path, struct buf *out)
{
	const size_t step = 1 << 16;

	for (;;) {
		uint8_t *p = buf_reserve(out, step);
		ssize_t n;
		int r = wait_readable(fd);

		if (r < 0)
			return r;
		if (!p)
			return buf_check(out, path);
		n = read(fd, p, step);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(errno, "%s", path);
		if (n == 0)
			return 0;
		out->len += (size_t)n;
	}
}

static int read_extents(const char *path, struct extents *out)
{
	DROP(buf) struct buf text = BUF_INIT(EXTENTS_MAX);
	DROP(fd) int fd = -1;
	bool standard = !strcmp(path, "-");
	int r;

	if (!standard) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return fail_errno(errno, "%s", path);
	}
	r = read_all(standard ? STDIN_FILENO : fd, path, &text);
	if (r == 0)
		r = extents_parse(buf_cstr(&text), text.len, out);
	return r < 0 ? blame(r, "%s", standard ? "standard input" : path) : 0;
}

static int add_changed(struct job *j, const char *text, bool *standard)
{
	DROP(mem) char *name = NULL;
	struct backup_disk *d;
	const char *path;
	size_t i;
	int r = option_pair("--changed", "NAME=EXTENTS", text, &name, &path);

	if (r < 0)
		return r;
	if (!*path)
		return bad_usage("--changed wants NAME=EXTENTS, not '%s'",
				 text);
	d = find_disk(j, name);
	if (!d)
		return bad_usage("--changed names '%s', and no --disk does",
				 name);
	if (d->changed)
		return bad_usage("--changed names '%s' twice", name);
	if (!strcmp(path, "-")) {
		if (*standard)
			return bad_usage(
				"--changed reads standard input twice");
		*standard = true;
	}
	i = (size_t)(d - j->rq.disks);
	r = read_extents(path, &j->extents[i]);
	if (r == 0)
		r = extents_normalise(&j->extents[i], source_size(d->image));
	if (r < 0)
		return blame(r, "--changed %s", name);
	d->changed = &j->extents[i];
	return 0;
}

/* --- the rest of the request --- */

static int add_label(struct job *j, const char *text)
{
	struct label *l = &j->labels[j->rq.nlabels];
	const char *value;
	int r = option_pair("--label", "KEY=VALUE", text, &l->key, &value);

	if (r < 0)
		return r;
	/* Only read by the writer, whose struct owns what it holds
	 * elsewhere. */
	l->value = (char *)(uintptr_t)value;
	for (size_t i = 0; i < j->rq.nlabels; i++) {
		if (strcmp(j->labels[i].key, l->key))
			continue;
		r = bad_usage("--label names '%s' twice", l->key);
		free(l->key);
		return r;
	}
	j->rq.nlabels++;
	j->nown++;
	return 0;
}

/* Of a point that is copied, unless the user says otherwise. */
static void copy_labels(struct job *j, const struct from *from)
{
	for (size_t i = 0; i < from->nlabels; i++) {
		bool given = false;

		for (size_t k = 0; k < j->nown; k++)
			given |= !strcmp(j->labels[k].key, from->labels[i].key);
		if (!given)
			j->labels[j->rq.nlabels++] = from->labels[i];
	}
}

static int add_labels(struct job *j, const struct string_list *given)
{
	int r = 0;

	if (given->n > LABELS_MAX)
		return bad_usage("--label is given %zu times, %d are possible",
				 given->n, LABELS_MAX);
	j->labels = calloc(given->n + FROM_LABELS, sizeof(*j->labels));
	if (!j->labels)
		return fail(-ENOMEM, "out of memory");
	j->rq.labels = j->labels;
	for (size_t i = 0; i < given->n && r == 0; i++)
		r = add_label(j, given->v[i]);
	return r;
}

static int parse_percent(const char *text, double *out)
{
	DROP(mem) char *digits = strdup(text);
	size_t len;
	uint64_t n;

	if (!digits)
		return fail(-ENOMEM, "out of memory");
	len = strlen(digits);
	if (len && digits[len - 1] == '%')
		digits[len - 1] = '\0';
	if (parse_u64(digits, &n) < 0 || n > 100)
		return bad_usage("--check is a percentage, 0%% to 100%%, not "
				 "'%s'",
				 text);
	*out = (double)n;
	return 0;
}

static int set_values(struct job *j, const struct arguments *a)
{
	static const char *const words[] = { "crash", "filesystem",
					     "application", NULL };
	int choice, r;

	j->rq.take_over = a->take_over;
	j->rq.time_ns = time_now_ns();
	if (a->time && parse_time(a->time, &j->rq.time_ns) < 0)
		return bad_usage("--time: %s", err_text(-EINVAL));
	j->rq.consistency = CONSISTENCY_CRASH;
	if (a->consistency) {
		choice = option_choice("--consistency", a->consistency, words);
		if (choice < 0)
			return choice;
		j->rq.consistency = CONSISTENCY_CRASH + (unsigned)choice;
	}
	if (a->check) {
		r = parse_percent(a->check, &j->rq.check_percent);
		if (r < 0)
			return r;
	}
	if (a->changed.n && !a->base)
		return bad_usage("--changed wants --base, the point that it is "
				 "relative to");
	if (a->check && !a->changed.n)
		return bad_usage("--check goes with --changed: without it all "
				 "is read");
	return add_labels(j, &a->labels);
}

static int add_escrow(struct job *j, const struct escrow_args *a, bool standard)
{
	int r;

	for (size_t i = 0; standard && i < a->escrow.n; i++) {
		const char *file = strchr(a->escrow.v[i], '=');

		if (!strcmp(file ? file + 1 : a->escrow.v[i], "-"))
			return bad_usage("--changed and --escrow cannot both "
					 "read standard input");
	}
	r = escrow_args_read(a, (const char *const *)j->names, j->rq.ndisks,
			     &j->escrow);
	j->rq.escrow = j->escrow.v;
	j->rq.nescrow = j->escrow.n;
	return r;
}

static int find_base(struct job *j, struct opened *o, const char *text)
{
	struct point_row row;
	int r = catalog_find_point(o->catalog, o->name, j->rq.vm, text, &row);

	if (r < 0)
		return blame(r, "--base");
	j->base = row.id;
	j->rq.base = &j->base;
	return 0;
}

/* --- at work --- */

static int progress(void *ctx, const struct backup_progress *p)
{
	struct job *j = ctx;

	if (interrupted()) {
		progress_end(&j->progress);
		return 1;
	}
	progress_what(&j->progress, p->disk ? p->disk : "backup");
	progress_update(&j->progress, p->done, p->total);
	return 0;
}

static int result_object(const struct job *j, const struct opened *o,
			 const struct backup_result *res, double seconds)
{
	struct json *top = json_object(), *disks = json_array();
	char text[TIME_TEXT_SIZE], id[POINT_ID_TEXT];

	json_set_str(top, "vault", o->name);
	json_set_str(top, "vm", j->rq.vm);
	time_name(j->rq.time_ns, text);
	json_set_str(top, "point", text);
	time_iso(j->rq.time_ns, text);
	json_set_str(top, "time", text);
	point_id_text(&res->id, id);
	json_set_str(top, "id", id);
	json_set_u64(top, "seq", res->seq);
	point_id_text(&res->base, id);
	json_set_str(top, "base", res->base.seq || res->base.nonce ? id : NULL);
	json_set_bool(top, "resumed", res->resumed);
	for (size_t i = 0; i < j->rq.ndisks; i++)
		json_push_str(disks, j->names[i]);
	json_set(top, "disks", disks);
	json_set_u64(top, "sizeBytes", j->size);
	json_set_u64(top, "readBytes", res->read_bytes);
	json_set_u64(top, "storedBytes", res->stored_bytes);
	json_set_u64(top, "newFrames", res->new_frames);
	json_set_u64(top, "reusedFrames", res->reused_frames);
	json_set_u64(top, "zeroFrames", res->zero_frames);
	json_set_u64(top, "adoptedFrames", res->adopted_frames);
	json_set_f64(top, "seconds", seconds);
	return print_json(top);
}

static void tell_more(const struct backup_result *res)
{
	char base[POINT_ID_TEXT], read_text[SIZE_TEXT_SIZE];

	point_id_text(&res->base, base);
	size_text(res->read_bytes, read_text);
	log_info("point %llu on %s: %s read; frames: %llu new, %llu as in the "
		 "base, %llu zero, %llu from unfinished backups",
		 (unsigned long long)res->seq, res->base.seq ? base : "nothing",
		 read_text, (unsigned long long)res->new_frames,
		 (unsigned long long)res->reused_frames,
		 (unsigned long long)res->zero_frames,
		 (unsigned long long)res->adopted_frames);
}

static void print_result(const struct job *j, const struct backup_result *res,
			 double seconds)
{
	char point[TIME_TEXT_SIZE], size[SIZE_TEXT_SIZE],
		stored[SIZE_TEXT_SIZE];

	time_name(j->rq.time_ns, point);
	size_text(j->size, size);
	size_text(res->stored_bytes, stored);
	printf("%s %s: %zu disk%s, %s, %s new in %.1f s%s\n", j->rq.vm, point,
	       j->rq.ndisks, j->rq.ndisks == 1 ? "" : "s", size, stored,
	       seconds, res->resumed ? ", resumed" : "");
}

/* --- keys --- */

static int count_escrow(struct opened *o, const char *vm, const char *point,
			size_t *ret)
{
	DROP(escrow_docs) struct escrow_docs docs = { 0 };
	DROP(point_info) struct point_info *p = NULL;
	struct point_row row;
	int r = catalog_find_point(o->catalog, o->name, vm, point, &row);

	if (r == 0)
		r = catalog_point(o->catalog, o->name, vm, &row, &p);
	if (r == 0)
		r = catalog_escrow(o->catalog, o->name, vm, p, &docs);
	*ret = docs.n;
	return r;
}

/*
 * Records are not taken over from the point before: a disk may have got another key
 * since then, and nobody would know until it is needed. That they are missing is
 * said while somebody can still help it.
 */
static void warn_of_keys(struct job *j, struct opened *o,
			 const struct backup_result *res)
{
	char id[POINT_ID_TEXT], when[TIME_TEXT_SIZE];
	size_t n;
	int r;

	if (j->rq.nescrow || !res->base.seq)
		return;
	point_id_text(&res->base, id);
	r = count_escrow(o, j->rq.vm, id, &n);
	time_name(j->rq.time_ns, when);
	if (r < 0)
		log_warn("%s %s has no escrow records, and whether the point "
			 "before it has some is not known: %s",
			 j->rq.vm, when, err_text(r));
	else if (n)
		log_warn("%s %s has no escrow records, unlike the point before "
			 "it: without them its encrypted volumes open only for "
			 "who has their keys; add them with 'vaultkey attach', "
			 "and next time with --escrow",
			 j->rq.vm, when);
}

static int run(const struct command *c, struct job *j, struct opened *o)
{
	struct backup_result res = { 0 };
	uint64_t start = monotonic_ns();
	struct vault *v;
	double seconds;
	int r = opened_native(o, &v);

	if (r < 0)
		return r;
	j->rq.progress = progress;
	j->rq.progress_ctx = j;
	progress_start(&j->progress, "backup", c->quiet);
	r = vault_backup(v, &j->rq, &res);
	progress_end(&j->progress);
	if (r == -ECANCELED)
		return fail(r,
			    "%s: the backup was stopped; the next one goes "
			    "on where it was",
			    j->rq.vm);
	if (r < 0)
		return r;
	seconds = (double)(monotonic_ns() - start) / 1e9;
	tell_more(&res);
	warn_of_keys(j, o, &res);
	if (c->json)
		return result_object(j, o, &res, seconds);
	if (!c->quiet)
		print_result(j, &res, seconds);
	return 0;
}

/* A mount has vault.json beside the VMs, and latest beside the points. */
static int refuse_new_vm(struct opened *o, const char *vm)
{
	uint64_t points, version;
	int r;

	if (strcmp(vm, "latest") != 0 && strcmp(vm, "vault.json") != 0)
		return 0;
	r = catalog_count(o->catalog, o->name, vm, &points, &version);
	if (r != -ENOENT)
		return r;
	return fail(-EINVAL,
		    "VM name '%s': a mount uses it for something else; choose "
		    "another",
		    vm);
}

static int prepare_images(struct job *j, struct opened *o,
			  const struct command *c, const struct arguments *a)
{
	const char *url = c->args.v[0];
	bool standard = false;
	int r = add_disks(j, url, a);

	for (size_t i = 0; i < a->changed.n && r == 0; i++)
		r = add_changed(j, a->changed.v[i], &standard);
	if (r == 0)
		r = add_escrow(j, &a->escrow, standard);
	if (r == 0)
		r = open_writing(c, o);
	if (r == 0)
		r = refuse_new_vm(o, j->rq.vm);
	if (r == 0 && a->base)
		r = find_base(j, o, a->base);
	return r;
}

static int check_from(const struct arguments *a)
{
	if (a->disks.n || a->changed.n || a->time || a->consistency ||
	    a->base || a->check || a->image_format)
		return bad_usage("--from copies a point as it is: --disk, "
				 "--changed, --time, --consistency, --base, "
				 "--check and --image-format do not go with "
				 "it");
	return 0;
}

static int copy_changes(struct job *j, struct from *from, struct opened *o)
{
	bool any;
	int r = from_changes(from, o, j->rq.vm, j->extents, j->told, &j->base,
			     &any);

	if (r)
		return r;
	if (any)
		j->rq.base = &j->base;
	for (size_t i = 0; i < j->rq.ndisks; i++) {
		if (j->told[i])
			j->rq.disks[i].changed = &j->extents[i];
	}
	return 0;
}

static int prepare_copy(struct job *j, struct opened *o,
			const struct command *c, struct arguments *a)
{
	int r = check_from(a);

	if (r == 0)
		r = open_writing(c, o);
	if (r == 0)
		r = refuse_new_vm(o, j->rq.vm);
	if (r == 0)
		r = from_open(&a->from, c, j->rq.vm);
	if (r < 0)
		return r;
	j->rq.time_ns = a->from.info->row.time_ns;
	/* What says nothing promises the least. */
	if (a->from.info->row.consistency != CONSISTENCY_UNKNOWN)
		j->rq.consistency = a->from.info->row.consistency;
	copy_labels(j, &a->from);
	/* Keys first: without them the rest may be in vain. */
	r = from_escrow(&a->from, &a->escrow, &j->escrow);
	j->rq.escrow = j->escrow.v;
	j->rq.nescrow = j->escrow.n;
	if (r == 0)
		r = copy_disks(j, &a->from);
	return r < 0 ? r : copy_changes(j, &a->from, o);
}

static int prepare(struct job *j, struct opened *o, const struct command *c,
		   struct arguments *a)
{
	int r;

	j->rq.vm = c->args.v[1];
	r = check_name_arg("VM name", j->rq.vm);
	if (r == 0 && !a->from.url && (a->from.vm || a->from.point))
		return bad_usage("--from-vm and --point go with --from");
	if (r == 0)
		r = set_values(j, a);
	if (r == 0)
		r = escrow_args_check(&a->escrow, a->from.url != NULL);
	if (r < 0)
		return r;
	return a->from.url ? prepare_copy(j, o, c, a)
			   : prepare_images(j, o, c, a);
}

int cmd_backup(int argc, char **argv)
{
	DROP(arguments) struct arguments a = { 0 };
	const struct option_def options[] = {
		{ 'd', "disk", OPTION_LIST, &a.disks, "NAME=IMAGE",
		  "a disk: its name in the point, and a raw file, a block "
		  "device or a fixed VHD; once for each disk" },
		{ 't', "time", OPTION_VALUE, &a.time, "TIME",
		  "the time the images are of (default: now)" },
		{ 'c', "consistency", OPTION_VALUE, &a.consistency, "WORD",
		  "application, filesystem or crash (default)" },
		{ 'b', "base", OPTION_VALUE, &a.base, "POINT",
		  "build on this point (default: the latest)" },
		{ 'C', "changed", OPTION_LIST, &a.changed, "NAME=EXTENTS",
		  "read only these ranges of a disk, which are all that "
		  "changed since --base: a file, or - for standard input, of "
		  "lines 'OFFSET LENGTH' or JSON" },
		{ 0, "check", OPTION_VALUE, &a.check, "N%",
		  "read so much of what --changed left out, and fail if it "
		  "differs" },
		{ 0, "from", OPTION_VALUE, &a.from.url, "VAULT",
		  "copy a point of this vault (azure-rsv:..., or any other) "
		  "instead of images: its disks, time and keys" },
		{ 0, "from-vm", OPTION_VALUE, &a.from.vm, "VM",
		  "what the VM is called there (default: the same)" },
		{ 0, "point", OPTION_VALUE, &a.from.point, "POINT",
		  "the point of --from (default: latest)" },
		{ 'l', "label", OPTION_LIST, &a.labels, "KEY=VALUE",
		  "a label of the point; may be repeated" },
		ESCROW_OPTIONS(a.escrow),
		{ 0, "image-format", OPTION_VALUE, &a.image_format, "FORMAT",
		  "raw, vhd or auto (default: a VHD is known by its footer)" },
		{ 0, "take-over", OPTION_FLAG, &a.take_over, NULL,
		  "another host's unfinished backup of this VM is dead for "
		  "certain: go on from it" },
	};
	DROP(command)
	struct command c = COMMAND(
		"backup", "VAULT VM", options,
		"Backs disk images up as one recovery point of a VM, which is "
		"made when it is new. All disks become one point, or none "
		"does. Only what differs from the base point is stored. A "
		"backup that was killed is gone on with by the next one.");
	DROP(opened) struct opened o = { 0 };
	DROP(job) struct job j = { 0 };
	int r = command_parse(&c, argc, argv);

	if (r)
		return r;
	r = prepare(&j, &o, &c, &a);
	if (r == 0)
		r = run(&c, &j, &o);
	if (r == 0)
		from_tell(&a.from);
	return r;
}
