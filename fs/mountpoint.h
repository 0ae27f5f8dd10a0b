// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mountpoint: whether something can be mounted at a path, asked before it is
 * tried, so that what is wrong is said in words of ours.
 */
#pragma once
#include <stdbool.h>

#include "backend/base/scope.h"

/* *ret: the path without links, to be freed. nonempty: entries in it do not
 * matter. */
int mountpoint_check(const char *path, bool nonempty, char **ret) MUST_USE;
/* That a file is not under the mountpoint (as mountpoint_check() gives it), where
 * whoever serves the mount would wait for itself. */
int mountpoint_outside(const char *mountpoint, const char *option,
		       const char *path) MUST_USE;
/* That this system has FUSE and lets us use it. */
int mountpoint_check_fuse(void) MUST_USE;
