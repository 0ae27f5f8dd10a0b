// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * guest: what backend/guest/ finds in images.
 *
 *	guest part IMAGE		partitions: number offset length type label
 *	guest content IMAGE		type, label, UUID
 *	guest lvm PV...			logical volumes: name, size, or why not
 *	guest lv VG/LV PV...		the bytes of one
 *	guest cat IMAGE PATH		the bytes of a file in ext2, ext3, ext4
 *	guest ls IMAGE PATH		the names in a directory there
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/guest/content.h"
#include "backend/guest/ext.h"
#include "backend/guest/lvm.h"
#include "backend/guest/part.h"

static int part(char **argv)
{
	DROP(part_table) struct part_table t = { 0 };
	DROP(source) struct source *s = NULL;
	int r = source_open_file(argv[0], &s);

	if (!r)
		r = part_read(s, &t);
	if (r)
		return r;
	printf("%s %u\n", *t.type ? t.type : "none", t.sector_size);
	for (size_t i = 0; i < t.count; i++)
		printf("%u %" PRIu64 " %" PRIu64 "%s %s %s\n",
		       t.parts[i].number, t.parts[i].off, t.parts[i].len,
		       t.parts[i].cut ? "(cut)" : "", t.parts[i].type,
		       t.parts[i].label);
	return 0;
}

static int content(char **argv)
{
	DROP(source) struct source *s = NULL;
	struct content c;
	int r = source_open_file(argv[0], &s);

	if (!r)
		r = content_probe(s, &c);
	if (!r)
		printf("%s|%s|%s\n", c.type, c.label, c.uuid);
	return r;
}

struct pvs {
	struct source *sources[LVM_PVS_MAX];
	struct shared *shared[LVM_PVS_MAX];
	size_t n;
};

static void drop_pvs(struct pvs *p)
{
	while (p->n)
		shared_unref(p->shared[--p->n]);
}

static int open_pvs(char **argv, struct pvs *p)
{
	for (; *argv; argv++) {
		struct source *s;
		int r = source_open_file(*argv, &s);

		if (!r)
			r = shared_new(s, &p->shared[p->n]);
		if (r)
			return r;
		p->sources[p->n] = shared_source(p->shared[p->n]);
		p->n++;
	}
	return 0;
}

static int list_lvs(char **argv)
{
	DROP(pvs) struct pvs p = { 0 };
	DROP(lvm) struct lvm *l = NULL;
	int r = open_pvs(argv, &p);

	if (!r)
		r = lvm_read(p.sources, p.n, &l);
	for (size_t i = 0; !r && i < l->count; i++) {
		const struct lvm_lv *lv = &l->lvs[i];

		printf("%s/%s ", lv->vg, lv->name);
		if (*lv->refused)
			printf("refused: %s\n", lv->refused);
		else
			printf("%" PRIu64 "\n", lv->size);
	}
	for (size_t i = 0; !r && i < l->ndamaged; i++)
		printf("damaged: %s\n", l->damaged[i]);
	return r;
}

static int copy_out(struct source *s)
{
	static uint8_t buf[1 << 20];
	uint64_t size = source_size(s);

	for (uint64_t off = 0; off < size;) {
		size_t n = min_u64(sizeof(buf), size - off);
		int r = source_read(s, buf, n, off);

		if (r)
			return r;
		if (fwrite(buf, 1, n, stdout) != n)
			return fail_errno(errno, "writing");
		off += n;
	}
	return 0;
}

static int cat_lv(char **argv)
{
	DROP(pvs) struct pvs p = { 0 };
	DROP(lvm) struct lvm *l = NULL;
	DROP(source) struct source *s = NULL;
	int r = open_pvs(argv + 1, &p);

	if (!r)
		r = lvm_read(p.sources, p.n, &l);
	for (size_t i = 0; !r && i < l->count; i++) {
		char name[2 * LVM_NAME_MAX + 2];

		snprintf(name, sizeof(name), "%s/%s", l->lvs[i].vg,
			 l->lvs[i].name);
		if (strcmp(name, argv[0]) == 0)
			r = lvm_open_lv(&l->lvs[i], p.shared, &s);
	}
	if (r)
		return r;
	return s ? copy_out(s) : fail(-ENOENT, "no such logical volume");
}

static int open_ext(const char *path, struct ext **ret)
{
	DROP(shared) struct shared *shared = NULL;
	struct source *s;
	int r = source_open_file(path, &s);

	if (!r)
		r = shared_new(s, &shared);
	return r ? r : ext_open(shared, ret);
}

static int cat(char **argv)
{
	DROP(source) struct source *s = NULL;
	DROP(ext) struct ext *e = NULL;
	int r = open_ext(argv[0], &e);

	if (!r)
		r = ext_open_file(e, argv[1], &s);
	/* It outlives its file system. */
	ext_close(take(e));
	return r ? r : copy_out(s);
}

static int say_name(void *ctx, const char *name)
{
	puts(name);
	return 0;
}

static int ls(char **argv)
{
	DROP(ext) struct ext *e = NULL;
	int r = open_ext(argv[0], &e);

	return r ? r : ext_list(e, argv[1], say_name, NULL);
}

static const struct {
	const char *name;
	int least;
	int (*run)(char **argv);
} commands[] = {
	{ "part", 1, part }, { "content", 1, content }, { "lvm", 1, list_lvs },
	{ "lv", 2, cat_lv }, { "cat", 2, cat },		{ "ls", 2, ls },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		int r;

		if (strcmp(argv[1], commands[i].name) != 0 ||
		    argc - 2 < commands[i].least)
			continue;
		r = commands[i].run(argv + 2);
		if (r)
			fprintf(stderr, "guest: %s\n", err_text(r));
		return r ? 1 : 0;
	}
	fprintf(stderr, "guest: not used like that\n");
	return 2;
}
