// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What it costs to browse a file system in a vault that is far away: the recorded reads of
 * 200 random small files out of an ext4 of 20,000 (tests/data/browse-ext4.txt; made by
 * tests/tools/browse.py), played on a disk that has the 64 KiB windows that they touch, and
 * those after them for who reads more than is asked; each packs as small as it did there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/vault/fetch.h"
#include "tests/fakes/store_fault.h"
#include "tests/fakes/store_memory.h"
#include "tests/fakes/world.h"
#include "tests/unit/check.h"

#define MIB (1024u * 1024)
#define DISK_SIZE (UINT64_C(4096) * MIB)
#define READS_MAX 4096
/* The budget. */
#define BYTES_MAX (25u * MIB)
#define PER_WINDOW 1.2

struct read {
	uint64_t off;
	uint32_t len;
};

struct trace {
	struct read r[READS_MAX];
	size_t n;
	struct {
		uint64_t at;
		uint32_t packed;
	} frame[READS_MAX];
	size_t nframes;
};

static void load(struct trace *t)
{
	const char *src = getenv("SRC");
	char path[4096];
	uint64_t off;
	uint32_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/browse-ext4.txt",
		 src ? src : ".");
	f = fopen(path, "re");
	CHECK(f);
	while (fscanf(f, "= %" SCNu64 " %" SCNu32 "\n", &off, &len) == 2) {
		CHECK(t->nframes < READS_MAX);
		t->frame[t->nframes].at = off;
		t->frame[t->nframes++].packed = len;
	}
	while (fscanf(f, "%" SCNu64 " %" SCNu32, &off, &len) == 2) {
		CHECK(t->n < READS_MAX);
		t->r[t->n++] = (struct read){ off * 1024, len * 1024 };
	}
	fclose(f);
	CHECK(t->n > 1000);
}

/* How many windows the reads touch. */
static uint64_t windows_of(const struct trace *t, uint64_t frames)
{
	bool *touched = calloc(frames, 1);
	uint64_t n = 0;

	CHECK(touched);
	for (size_t i = 0; i < t->n; i++) {
		uint64_t f = t->r[i].off / VF_FRAME_SIZE;
		uint64_t last = (t->r[i].off + t->r[i].len - 1) / VF_FRAME_SIZE;

		for (; f <= last; f++) {
			n += !touched[f];
			touched[f] = true;
		}
	}
	free(touched);
	return n;
}

static uint64_t make_image(const struct trace *t, struct image *image)
{
	image_make(image, DISK_SIZE);
	image->hard = calloc(image_frames(image), sizeof(*image->hard));
	CHECK(image->hard);
	for (size_t i = 0; i < t->nframes; i++) {
		uint64_t f = t->frame[i].at;

		CHECK(f < image_frames(image));
		image->frame[f] = (uint32_t)f + 1;
		image->hard[f] = t->frame[i].packed;
	}
	return windows_of(t, image_frames(image));
}

static void fill(struct store *memory, const struct image *image)
{
	struct world w;
	struct world_disk disk = { .name = "os", .image = *image };
	struct world_backup b = { .time_ns = 1000,
				  .disks = &disk,
				  .ndisks = 1 };
	struct store_fault none = { .fail_call = 0 };
	struct backup_result res;
	struct store *s;

	CHECK_OK(store_open_fault(memory, &none, &s));
	world_init(&w, s, 1);
	CHECK_OK(world_backup(&w, &b, &res));
	world_release(&w);
}

static struct source *open_disk(struct vault *v)
{
	DROP(vm_head) struct vm_head *h = NULL;
	struct point_row rows[VF_INDEX_ROWS];
	struct vault_point *p;
	struct source *disk;
	struct tree *t;
	char vm[] = "web 01";
	size_t n;

	CHECK_OK(vault_head(v, vm, 0, &h));
	CHECK_OK(vault_index_page(v, h, 0, rows, &n));
	CHECK_OK(vault_point(v, h, &rows[0], &p));
	CHECK_OK(tree_open(v, p, 0, &t));
	point_info_unref(&p->info);
	CHECK_OK(source_open_disk(t, &disk));
	return disk;
}

static void play(const struct trace *t, const struct image *image,
		 struct source *disk)
{
	static uint8_t got[MIB], want[VF_FRAME_SIZE];

	for (size_t i = 0; i < t->n; i++) {
		uint64_t off = t->r[i].off, f = off / VF_FRAME_SIZE;
		size_t skip = off % VF_FRAME_SIZE;
		size_t n = min_u64(t->r[i].len, VF_FRAME_SIZE - skip);

		CHECK(t->r[i].len <= sizeof(got));
		CHECK_OK(source_read(disk, got, t->r[i].len, off));
		image_frame(image, f, want);
		CHECK_MEM(got, want + skip, n);
	}
}

int main(void)
{
	static struct trace t;
	struct store_fault fault = { .remote = true };
	struct store *memory, *s;
	struct image image;
	struct source *disk;
	struct cache *cache;
	struct vault *v;
	uint64_t windows, requests, bytes;

	world_home();
	load(&t);
	windows = make_image(&t, &image);
	CHECK_OK(store_open_memory(&memory));
	fill(memory, &image);
	/* Twice: what was read the second time is on disk. */
	for (int turn = 0; turn < 2; turn++) {
		CHECK_OK(store_open_fault(memory, &fault, &s));
		CHECK_OK(cache_new(64 * MIB, &cache));
		CHECK_OK(vault_open(s, cache, 3600 * 1000, &v));
		CHECK_OK(vault_keep_on_disk(v, "kept", 256 * MIB));
		disk = open_disk(v);
		store_fault_reset(&fault);
		/* What was not read before is nobody's matter: that is only ahead. */
		fault.fail_call = turn;
		fault.fail_times = UINT64_MAX / 2;
		play(&t, &image, disk);
		source_close(disk);
		requests = fault.total;
		bytes = fault.bytes_read;
		vault_close(v);
		cache_free(cache);
		if (turn)
			break;
		printf("browse: %" PRIu64 " requests for %" PRIu64
		       " windows, %" PRIu64 " bytes of %u\n",
		       requests, windows, bytes, BYTES_MAX);
		CHECK((double)requests <= PER_WINDOW * (double)windows);
		CHECK(bytes <= BYTES_MAX);
	}
	image_release(&image);
	store_close(memory);
	return 0;
}
