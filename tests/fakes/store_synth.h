// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A read-only store that holds a vault too large to exist: each VM has one disk of
 * which every frame is there, and as many points as one likes. Records, pages and frames are
 * made when they are asked for, out of the key, the offset and a few digests; what
 * the real reader does with them, it does in full, seals and digests included.
 *
 * The pages are as large as a lineage of many generations makes them: the entries of
 * one page lie in as many generations as they can, those of a frame table in four.
 *
 * Any thread.
 */
#pragma once
#include "backend/store/store.h"
#include "backend/vault/format.h"

#define SYNTH_VAULT "synth"
#define SYNTH_DISK "disk"

struct store_synth {
	/* A multiple of 256 GiB, from 512 GiB to 256 TiB. */
	uint64_t disk_size;
	/* At least 1024: the sessions that the pages and frames came from. */
	uint32_t generations;
	uint32_t points;	   /* of each VM, at least 1 */
	uint32_t vms;		   /* 1 to 10,000 */
	int64_t first_ns, step_ns; /* times of the points */
};

int store_open_synth(const struct store_synth *o, struct store **ret) MUST_USE;

/* The name of VM i. */
void store_synth_vm(unsigned i, char out[static 16]);
/* What the disk has at [off, off+len); the same in every point and VM.
 * Both are multiples of 8. */
void store_synth_expect(const struct store_synth *o, void *buf, size_t len,
			uint64_t off);
