// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * source: read-only bytes of a known size. Everything that is read is one, and
 * everything that changes bytes on the way is a source on a source.
 *
 * Immutable once open: size and content never change. Any number of threads
 * may read at once; there is no position. An opener that wraps another source
 * owns it from then on, on failure too.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;

/* A run of bytes that starts where it was asked about. */
struct extent {
	uint64_t length; /* >= 1 */
	bool hole;	 /* reads as zeros and costs no storage */
};

struct source_ops {
	const char *name;
	int (*read)(struct source *s, void *buf, size_t len, uint64_t off);
	/* Optional: without it all is data. */
	int (*extent)(struct source *s, uint64_t off, uint64_t max,
		      struct extent *out);
	/* Optional: a hint that this range is read soon; must not block
	 * long. */
	void (*prefetch)(struct source *s, uint64_t off, uint64_t len);
	/* Frees s itself too, and what it owns. */
	void (*close)(struct source *s);
};

/* Embedded first in each implementation, set by source_init(). */
struct source {
	const struct source_ops *ops;
	uint64_t size;
};

static inline void source_init(struct source *s, const struct source_ops *ops,
			       uint64_t size)
{
	s->ops = ops;
	s->size = size;
}

uint64_t source_size(const struct source *s);
/* All len bytes or an error; buf is undefined on error. A range beyond the size
 * is -EINVAL. len 0 is fine. -EIO, -EBADMSG, -ESTALE, -EAGAIN as in err.h. */
int source_read(struct source *s, void *buf, size_t len, uint64_t off) MUST_USE;
/* Data or hole from off (< size) on, looking at most max (>= 1) bytes ahead;
 * out->length is >= 1 and at most max and never passes the end. Two
 * neighbouring extents may be of the same kind. */
int source_extent(struct source *s, uint64_t off, uint64_t max,
		  struct extent *out) MUST_USE;
/* A hint; what lies beyond the size is ignored. */
void source_prefetch(struct source *s, uint64_t off, uint64_t len);
void source_close(struct source *s);

DROP_DEFINE(source, struct source *, source_close)

/* --- implementations that need no more than this --- */

/*
 * file: a regular file or a block device, by path; anything else is -EINVAL or
 * -EISDIR. Holes by SEEK_HOLE for regular files. Its size is fixed at opening; a
 * file that is found shorter later gives -EIO ("it shrank while it was read").
 * Neither file nor device is ever written.
 */
int source_open_file(const char *path, struct source **ret) MUST_USE;
/* Says whether the file's size, mtime or ctime differ from what they were at
 * opening: 0 unchanged, -ESTALE with a sentence. For a device always 0. Only
 * for a source of source_open_file(). */
int source_file_unchanged(struct source *s) MUST_USE;

/* slice: [off, off+len) of inner, which it owns. */
int source_open_slice(struct source *inner, uint64_t off, uint64_t len,
		      struct source **ret) MUST_USE;

/*
 * VHD: if the last 512 bytes of inner are the footer of a fixed VHD, the disk
 * without it; *is_vhd says so; otherwise inner itself comes back. A footer with
 * the cookie but a wrong checksum, of a dynamic or differencing VHD, or whose
 * current size is not that of the file less 512, is -EPROTO with a sentence. (A
 * raw disk whose last sector is a whole, right footer cannot be told from a
 * VHD: force says which, VHD_AUTO, VHD_RAW or VHD_YES.)
 */
enum vhd_force { VHD_AUTO, VHD_RAW, VHD_YES };
int source_open_vhd(struct source *inner, enum vhd_force force,
		    struct source **ret, bool *is_vhd) MUST_USE;

#define VHD_FOOTER_SIZE 512
/*
 * The other way round: inner followed by a footer made for it. uuid: 16 bytes,
 * so that the same point always gives the same footer; time_ns: as in parse.h,
 * cut to what a footer can say (2000 to 2136). -EINVAL when inner is not a
 * multiple of 512 bytes. The size is not limited: only the geometry, which
 * nobody should trust, saturates at 127 GiB. (Users of a VHD have limits: 2040
 * GiB for some, and Azure wants whole MiB.)
 */
int source_open_with_vhd_footer(struct source *inner,
				const uint8_t uuid[static 16], int64_t time_ns,
				struct source **ret) MUST_USE;
void vhd_footer(uint64_t disk_size, const uint8_t uuid[static 16],
		int64_t time_ns, uint8_t out[static VHD_FOOTER_SIZE]);
