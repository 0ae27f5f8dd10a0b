// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mount_fake [-s SIZE] [-d CIPHER] [-o OPTIONS] MOUNTPOINT: mounts, in the
 * foreground and with the options of vaultfs, a vault that is in memory:
 *
 *	fake/memory	one point; disks/os.img is SIZE (256M) of memory as it
 *			stands: what FUSE alone can do, for the benchmark; with
 *			-d what FUSE, SHA-256 and that cipher (xts-128, xts-256,
 *			elephant) can do
 *	fake/many	10,000 points
 *	fake/vm-000 …	500 VMs of 200 points
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "crypt/sector.h"
#include "fs/fuse.h"
#include "fs/view.h"
#include "tests/fakes/catalog_memory.h"

#define HOUR INT64_C(3600000000000)
#define START INT64_C(1700000000000000000)

/* --- hashed and decrypted on the way --- */

#define FRAME ((size_t)64 << 10)

struct hashed {
	struct source base;
	struct source *inner;
};

/* As frames are verified, though nothing is compared. */
static int hashed_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	int r = source_read(container_of(s, struct hashed, base)->inner, buf,
			    len, off);
	struct digest d;

	for (size_t i = 0; r == 0 && i < len; i += FRAME)
		sha256((uint8_t *)buf + i, min_u64(FRAME, len - i), &d);
	return r;
}

static void hashed_close(struct source *s)
{
	struct hashed *h = container_of(s, struct hashed, base);

	source_close(h->inner);
	free(h);
}

static const struct source_ops hashed_ops = {
	.name = "hashed",
	.read = hashed_read,
	.close = hashed_close,
};

static const struct cipher {
	const char *name;
	struct sector_format format;
	size_t key_size;
} ciphers[] = {
	{ "xts-128", { SECTOR_XTS_PLAIN64, 512, 512, 0 }, 32 },
	{ "xts-256", { SECTOR_XTS_PLAIN64, 512, 512, 0 }, 64 },
	{ "elephant", { SECTOR_CBC_ELEPHANT, 512, 1, 0 }, 32 },
};
static const struct cipher *cipher;

static int wrap(struct source *inner, struct source **ret)
{
	DROP(source) struct source *owned = inner;
	DROP(secret) struct secret *key = NULL;
	struct hashed *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return fail(-ENOMEM, "out of memory");
	source_init(&h->base, &hashed_ops, source_size(inner));
	h->inner = take(owned);
	owned = &h->base;
	r = secret_new(cipher->key_size, &key);
	/* Whatever it is; but XTS has two. */
	for (size_t i = 0; r == 0 && i < cipher->key_size; i++)
		secret_bytes(key)[i] = (uint8_t)i;
	return r ? r : sector_open(take(owned), &cipher->format, key, ret);
}

static int find_cipher(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++)
		if (strcmp(ciphers[i].name, name) == 0)
			cipher = &ciphers[i];
	return cipher ? 0 : fail(-EINVAL, "cipher '%s' is not known", name);
}

/* --- the mount --- */

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
	struct catalog_memory_disk disk = { .name = "os",
					    .size = size,
					    .wrap = cipher ? wrap : NULL };
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
	int r = secret_setup();

	if (r)
		return r;
	disk.data = make_data(size);
	if (!disk.data)
		return fail(-ENOMEM, "no memory");
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
	while ((c = getopt(argc, argv, "s:d:o:")) != -1) {
		switch (c) {
		case 's':
			r = parse_size(optarg, &size);
			break;
		case 'd':
			r = find_cipher(optarg);
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
			"usage: mount_fake [-s SIZE] [-d CIPHER] [-o OPTIONS] MOUNTPOINT\n");
		return 2;
	}
	r = run(argv[optind], size, extra);
	if (r)
		log_error("%s", err_text(r));
	return r ? 1 : 0;
}
