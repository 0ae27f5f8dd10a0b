// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/guest/window.h"

#include <errno.h>
#include <sys/mman.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"

#define STEP (64u << 10)

static int put(int fd, const uint8_t *p, size_t n, uint64_t off)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return fail_errno(w < 0 ? errno : EIO,
					  "memory for a volume's head");
		p += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

int window_copy(struct source *s, int fd, uint64_t off, uint64_t len)
{
	uint64_t size = source_size(s);
	DROP(mem) uint8_t *p = malloc(STEP);

	if (!p)
		return fail(-ENOMEM, "out of memory");
	off = min_u64(off, size);
	len = min_u64(len, size - off);
	while (len) {
		size_t n = min_u64(len, STEP);
		int r = source_read(s, p, n, off);

		/* Zeros are there already. */
		if (!r && !is_zero(p, n))
			r = put(fd, p, n, off);
		if (r)
			return r;
		off += n;
		len -= n;
	}
	return 0;
}

int window_make(struct source *s, uint64_t head, uint64_t tail, int *ret)
{
	uint64_t size = source_size(s);
	DROP(fd) int fd = memfd_create("volume", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return fail_errno(errno, "memory for a volume's head");
	if (size > INT64_MAX || ftruncate(fd, (off_t)size))
		return fail_errno(errno, "memory for a volume's head");
	head = min_u64(head, size);
	tail = min_u64(tail, size - head);
	r = window_copy(s, fd, 0, head);
	if (!r)
		r = window_copy(s, fd, size - tail, tail);
	if (!r)
		*ret = take_fd(&fd);
	return r;
}
