// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mount_fake [-s SIZE] [-o OPTIONS] MOUNTPOINT: mounts, in the foreground and
 * with the options of vaultfs, a vault that is in memory:
 *
 *	fake/memory	one point; disks/os.img is SIZE (256M) of memory as it
 *			stands: what FUSE alone can do, for the benchmark
 *	fake/many	10,000 points
 *	fake/vm-000 …	500 VMs of 200 points
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "fs/fuse.h"
#include "fs/view.h"
#include "tests/fakes/catalog_memory.h"

#define HOUR INT64_C(3600000000000)
#define START INT64_C(1700000000000000000)

static void ready(void *ctx)
{
	log_info("%s: mounted", (const char *)ctx);
}

/* Bytes that do not compress, and are there before anybody measures. */
static void *make_data(uint64_t size)
{
	uint64_t x = 88172645463325252u;
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	for (uint64_t i = 0; i < size / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	return p;
}

static int fill(struct catalog *c, const struct catalog_memory_disk *disk)
{
	char name[32];
	int r;

	catalog_memory_set_disks(c, disk, 1);
	r = catalog_memory_add(c, "memory", START, 1);
	if (!r)
		r = catalog_memory_add_made(c, "many", 10000, START, HOUR);
	for (unsigned i = 0; !r && i < 500; i++) {
		snprintf(name, sizeof(name), "vm-%03u", i);
		r = catalog_memory_add_made(c, name, 200, START, 24 * HOUR);
	}
	return r;
}

static int run(const char *mountpoint, uint64_t size, const char *extra)
{
	struct catalog_memory_disk disk = { .name = "os", .size = size };
	struct view_options vo = { .fresh_ms = 5000 };
	struct fs_options fo = {
		.mountpoint = mountpoint,
		.source = "fake",
		.extra = extra,
		.uid = getuid(),
		.gid = getgid(),
		.ready = ready,
		.ready_ctx = (void *)(uintptr_t)mountpoint,
	};
	DROP(catalog) struct catalog *c = NULL;
	DROP(tree) struct tree *t = NULL;
	DROP(fs) struct fs *fs = NULL;
	struct folder *root;
	int r;

	disk.data = make_data(size);
	if (!disk.data)
		return fail(-1, "no memory");
	r = catalog_memory_new("fake", "0123456789abcdef", &c);
	if (!r)
		r = fill(c, &disk);
	if (!r)
		r = view_open(&c, 1, &vo, &root);
	if (!r)
		r = tree_new(root, VIEW_FIXED_MS, &t);
	if (!r)
		r = fs_mount(t, &fo, &fs);
	return r ? r : fs_run(fs);
}

int main(int argc, char **argv)
{
	const char *extra = NULL;
	uint64_t size = 256 << 20;
	int c, r = 0;

	log_init("mount_fake", LOG_LEVEL_INFO);
	while ((c = getopt(argc, argv, "s:o:")) != -1) {
		switch (c) {
		case 's':
			r = parse_size(optarg, &size);
			break;
		case 'o':
			extra = optarg;
			break;
		default:
			return 2;
		}
		if (r) {
			log_error("%s", err_text(r));
			return 2;
		}
	}
	if (optind != argc - 1) {
		fprintf(stderr,
			"usage: mount_fake [-s SIZE] [-o OPTIONS] MOUNTPOINT\n");
		return 2;
	}
	r = run(argv[optind], size, extra);
	if (r)
		log_error("%s", err_text(r));
	return r ? 1 : 0;
}
