// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The points of VAULT [VM [POINT]], one after the other, with their escrow records.
 */
#pragma once
#include "crypt/escrow.h"
#include "tools/common/open.h"

/* Our own documents of a point, with the names of their disks; others are left
 * out. */
int point_records(struct opened *o, const char *vm, struct point_info *p,
		  struct escrow_records *out) MUST_USE;
/* one() for each point, VM by VM, in the order of time; vm and point may be NULL.
 * What it returns ends it, unless it is 0. name: of the point, as commands show
 * it. */
int each_point(struct opened *o, const char *vm, const char *point,
	       int (*one)(void *ctx, const char *vm, struct point_info *p,
			  const char *name),
	       void *ctx) MUST_USE;
