// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A vault of one VM, and what every point of it must read as: for tests of the writer.
 *
 * An image is a number a frame (0: zeros), from which the frame's bytes follow; so a
 * kept copy of a large disk is small. Whatever fails here ends the test.
 */
#pragma once
#include "backend/vault/writer.h"

#define WORLD_DISKS 3

struct image {
	uint64_t size;
	uint32_t *frame; /* seeds */
	/* How many bytes of a frame do not pack; NULL: as the seed has it. */
	uint32_t *hard;
};
uint64_t image_frames(const struct image *i);
void image_make(struct image *i, uint64_t size);
void image_copy(struct image *to, const struct image *from);
void image_resize(struct image *i, uint64_t size);
void image_release(struct image *i);
/* Content of frame f, its VF_FRAME_SIZE bytes cut to the disk's end. */
size_t image_frame(const struct image *i, uint64_t f, uint8_t *out);
/* The image as a source; holes where frames are zeros. Borrows i. */
struct source *image_source(const struct image *i);

struct world_disk {
	char name[8];
	struct image image;
};
struct kept {
	struct point_id id, base;
	int64_t time_ns;
	size_t ndisks;
	struct world_disk disk[WORLD_DISKS];
};

struct world {
	struct store *store; /* borrowed */
	struct cache *cache;
	struct vault *v;
	struct kept *points; /* alive, in no order */
	size_t n;
	uint64_t random;
};

/* Private directories for keys; once a program. */
void world_home(void);
/* Makes a vault in the store, opens it. */
void world_init(struct world *w, struct store *store, uint64_t seed);
/* Opens what is in the store, e.g. after a crash; the points are left alone. */
void world_open(struct world *w, struct store *store);
void world_close(struct world *w);
void world_release(struct world *w);

uint64_t world_random(struct world *w);
/* 0 to n - 1. */
uint64_t world_pick(struct world *w, uint64_t n);

/* One backup of these disks; on success the point is kept. changed: of each disk, or NULL. */
struct world_backup {
	int64_t time_ns;
	struct world_disk *disks;
	size_t ndisks;
	const struct point_id *base;
	const struct extents *changed;
	double check_percent;
	uint8_t chunk_log2;
	bool take_over;
};
int world_backup(struct world *w, const struct world_backup *b,
		 struct backup_result *res);
void world_keep(struct world *w, const struct world_backup *b,
		const struct backup_result *res);
int world_prune(struct world *w, const size_t *at, size_t n);

/* The point as the vault has it now; NULL: it is not in the index. */
struct vault_point *world_point(struct world *w, const struct point_id *id);
/* Reads all of the point's data, holes by extents, and some ranges at random. */
void world_check(struct world *w, const struct kept *k);
/* Index and points are those kept; each point is checked. */
void world_check_all(struct world *w);
/* Dead pages, data bytes, stored bytes and generations of a point, against a walk over its tree
 * and its base's (NULL: none). */
void world_check_dead(struct world *w, const struct kept *k,
		      struct vault_point *base);
