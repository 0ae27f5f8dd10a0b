// SPDX-License-Identifier: GPL-3.0-or-later
/* image: what `backup --disk NAME=IMAGE` names, a raw file, a block device or a
 * fixed VHD, as the source of the disk in it. */
#pragma once
#include "backend/source/source.h"

int image_open(const char *path, enum vhd_force format, struct source **ret,
	       bool *is_vhd) MUST_USE;
/* Of an image only: 0, or -ESTALE when the file was changed since it was
 * opened. */
int image_unchanged(struct source *image) MUST_USE;
