// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * lvm: logical volumes of LVM2, read from the text metadata of their physical
 * volumes, which may lie on several disks. Linear and striped ones are mapped;
 * others are there with the reason why they are not.
 *
 * Any thread; immutable once read.
 */
#pragma once
#include "backend/base/err.h"
#include "backend/source/shared.h"

#define LVM_PVS_MAX 256
#define LVM_LVS_MAX 1024
#define LVM_NAME_MAX 127
#define LVM_STRIPES_MAX 128
#define LVM_UUID_SIZE 39

/* Stripes are of stripe_size bytes, in turn; one area: linear. */
struct lvm_segment {
	uint64_t off; /* in the logical volume; ascending, without gaps */
	uint64_t len;
	uint64_t stripe_size; /* 0: linear */
	size_t first_area;    /* into the volume's areas */
	size_t nareas;
};

struct lvm_area {
	size_t pv; /* index into what was given to lvm_read() */
	uint64_t off;
};

struct lvm_lv {
	char vg[LVM_NAME_MAX + 1];
	char name[LVM_NAME_MAX + 1];
	char uuid[LVM_UUID_SIZE];
	uint64_t size;
	char refused[ERR_MAX]; /* why it is not mapped; "" : it is */
	bool missing;	       /* ... because a physical volume is not there */
	struct lvm_segment *segments;
	size_t nsegments;
	struct lvm_area *areas;
	size_t nareas;
};

struct lvm {
	/* What users see of every volume group, ascending by vg, name. */
	struct lvm_lv *lvs;
	size_t count;
	/* Physical volumes whose metadata are damaged: a sentence each. */
	char (*damaged)[ERR_MAX];
	size_t ndamaged;
};

/*
 * pvs: sources that may be physical volumes; those that are none are passed over.
 * Fails only when a source does.
 */
int lvm_read(struct source *const *pvs, size_t n, struct lvm **ret) MUST_USE;
void lvm_free(struct lvm *l);
/* A volume that is not refused; pvs as they were given to lvm_read(). Keeps those
 * that it needs. */
int lvm_open_lv(const struct lvm_lv *lv, struct shared *const *pvs,
		struct source **ret) MUST_USE;

DROP_DEFINE(lvm, struct lvm *, lvm_free)
