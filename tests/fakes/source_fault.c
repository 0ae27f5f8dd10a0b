// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/source_fault.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "backend/base/err.h"

struct faulty {
	struct source base;
	struct source *inner;
	struct source_fault *fault;
};

static const struct source_ops fault_ops;

/* Call number n of a kind whose first failing call is number first. */
static int strike(struct source_fault *f, uint64_t n, uint64_t first,
		  const char *what)
{
	if (first == 0 || n < first || n - first >= max_u64(f->fail_times, 1))
		return 0;
	atomic_fetch_add(&f->fired, 1);
	return fail(f->error ? f->error : -EIO, "injected: %s %" PRIu64, what,
		    n);
}

static int fault_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct faulty *fs = container_of(s, struct faulty, base);
	struct source_fault *f = fs->fault;
	uint64_t n = atomic_fetch_add(&f->reads, 1) + 1;
	int r;

	atomic_fetch_add(&f->bytes, len);
	if (f->delay_us) {
		struct timespec t = { f->delay_us / 1000000,
				      f->delay_us % 1000000 * 1000L };

		nanosleep(&t, NULL);
	}
	r = strike(f, n, f->fail_read, "read");
	if (r < 0)
		return r;
	if (f->shrunk_to && off + len > f->shrunk_to) {
		atomic_fetch_add(&f->fired, 1);
		return fail(-EIO,
			    "injected: it shrank while it was read (%" PRIu64
			    " bytes at opening, %" PRIu64 " now)",
			    s->size, f->shrunk_to);
	}
	return source_read(fs->inner, buf, len, off);
}

static int fault_extent(struct source *s, uint64_t off, uint64_t max,
			struct extent *out)
{
	struct faulty *fs = container_of(s, struct faulty, base);
	uint64_t n = atomic_fetch_add(&fs->fault->extents, 1) + 1;
	int r = strike(fs->fault, n, fs->fault->fail_extent, "extent");

	if (r < 0)
		return r;
	return source_extent(fs->inner, off, max, out);
}

static void fault_prefetch(struct source *s, uint64_t off, uint64_t len)
{
	struct faulty *fs = container_of(s, struct faulty, base);

	atomic_fetch_add(&fs->fault->prefetches, 1);
	source_prefetch(fs->inner, off, len);
}

static void fault_close(struct source *s)
{
	struct faulty *fs = container_of(s, struct faulty, base);

	atomic_fetch_add(&fs->fault->closes, 1);
	source_close(fs->inner);
	free(fs);
}

int source_open_fault(struct source *inner, struct source_fault *fault,
		      struct source **ret)
{
	struct faulty *fs = calloc(1, sizeof(*fs));

	if (!fs) {
		source_close(inner);
		return fail(-ENOMEM, "out of memory");
	}
	source_init(&fs->base, &fault_ops, source_size(inner));
	fs->inner = inner;
	fs->fault = fault;
	*ret = &fs->base;
	return 0;
}

static const struct source_ops fault_ops = {
	.name = "fault",
	.read = fault_read,
	.extent = fault_extent,
	.prefetch = fault_prefetch,
	.close = fault_close,
};
