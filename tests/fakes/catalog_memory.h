// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A catalog in memory: one vault, with VMs whose points are added one by one,
 * or made when they are asked for, so that a vault of any size costs nothing.
 * It counts what is asked of it, and fails when told to.
 *
 * The catalog_memory_ functions that change it may be called while others read.
 */
#pragma once
#include <stdatomic.h>

#include "backend/catalog.h"
#include "tests/fakes/source_pattern.h"

struct catalog_memory_disk {
	const char *name;
	uint64_t size;
	enum disk_state state;
	const char *sentence; /* NULL when ready */
	bool no_size;
	/* What it reads: data (borrowed, size bytes), or the pattern, whose
	 * seed is mixed with the point's id. */
	const void *data;
	struct pattern pattern;
	/* Optional: what is read goes through this; takes inner, on failure too. */
	int (*wrap)(struct source *inner, struct source **ret);
};

struct catalog_memory_counts {
	atomic_uint_fast64_t vaults, vms, points, latest, count, point;
	atomic_uint_fast64_t open_disk, describe, escrow;
	atomic_uint_fast64_t rows;  /* of points, handed out */
	atomic_uint_fast64_t reads; /* of disks */
	/* Every call, and every read, returns this; 0: all is well. */
	atomic_int fail;
};

/* vault and id are copied. */
int catalog_memory_new(const char *vault, const char *id,
		       struct catalog **ret) MUST_USE;
struct catalog_memory_counts *catalog_memory_counts(struct catalog *c);
/* What points that are added or made from now on have (copied, but for the
 * texts and data); without it, "os" of 1 MiB and "lun0" of 300 KiB. */
void catalog_memory_set_disks(struct catalog *c,
			      const struct catalog_memory_disk *disks,
			      size_t n);
int catalog_memory_add_vm(struct catalog *c, const char *vm) MUST_USE;
/* Makes the VM if need be; row: time, id, consistency, held, expiry count. */
int catalog_memory_add_point(struct catalog *c, const char *vm,
			     const struct point_row *row) MUST_USE;
/* A point without surprises: id (seq, seq * some prime). */
int catalog_memory_add(struct catalog *c, const char *vm, int64_t time_ns,
		       uint64_t seq) MUST_USE;
int catalog_memory_drop(struct catalog *c, const char *vm,
			int64_t time_ns) MUST_USE;
/* A VM of n points from first_ns on, step_ns apart, made when asked for. */
int catalog_memory_add_made(struct catalog *c, const char *vm, uint64_t n,
			    int64_t first_ns, int64_t step_ns) MUST_USE;
/* The bytes a disk of pattern has; the disks must be those set now. */
void catalog_memory_bytes(struct catalog *c, const struct point_id *id,
			  size_t disk, void *buf, size_t len, uint64_t off);
