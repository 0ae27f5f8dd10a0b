// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The clear volume: its start is read from where it was moved to, and what BitLocker keeps
 * for itself is zeros.
 */
#include "crypt/bitlocker_impl.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

#define REGIONS (BITLOCKER_COPIES + 1)

struct bitlocker_source {
	struct source base;
	struct source *clear; /* the whole device, decrypted in place */
	uint64_t header_off;
	uint64_t header_size;
	struct region {
		uint64_t off;
		uint64_t len;
	} zeros[REGIONS];
};

static const struct source_ops bitlocker_ops;

/* A run that is all of one kind, from off on. */
struct run {
	uint64_t len;
	uint64_t at; /* on clear */
	bool zero;
};

static struct run run_at(const struct bitlocker_source *s, uint64_t off)
{
	struct run run = { .len = s->base.size - off, .at = off };

	if (off < s->header_size) {
		run.len = min_u64(run.len, s->header_size - off);
		run.at = s->header_off + off;
		return run;
	}
	for (size_t i = 0; i < REGIONS; i++) {
		uint64_t start = s->zeros[i].off;
		uint64_t end = start + s->zeros[i].len;

		if (off >= start && off < end) {
			run.zero = true;
			run.len = min_u64(s->base.size, end) - off;
			return run;
		}
		if (start > off)
			run.len = min_u64(run.len, start - off);
	}
	return run;
}

static int bitlocker_read_at(struct source *src, void *buf, size_t len,
			     uint64_t off)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);
	uint8_t *p = buf;

	while (len) {
		struct run run = run_at(s, off);
		size_t n = min_u64(len, run.len);
		int r = 0;

		if (run.zero)
			memset(p, 0, n);
		else
			r = source_read(s->clear, p, n, run.at);
		if (r < 0)
			return r;
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* Ciphertext has no holes, whatever lies under it. */
static int bitlocker_extent(struct source *src, uint64_t off, uint64_t max,
			    struct extent *out)
{
	struct run run =
		run_at(container_of(src, struct bitlocker_source, base), off);

	*out = (struct extent){ .length = run.len, .hole = run.zero };
	return 0;
}

static void bitlocker_prefetch(struct source *src, uint64_t off, uint64_t len)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);

	while (len) {
		struct run run = run_at(s, off);
		uint64_t n = min_u64(len, run.len);

		if (!run.zero)
			source_prefetch(s->clear, run.at, n);
		off += n;
		len -= n;
	}
}

static void bitlocker_close(struct source *src)
{
	struct bitlocker_source *s =
		container_of(src, struct bitlocker_source, base);

	source_close(s->clear);
	free(s);
}

int bitlocker_map(struct source *data, const struct bitlocker *b,
		  struct secret *volume_key, struct source **ret)
{
	DROP(source) struct source *clear = NULL;
	struct bitlocker_source *s;
	int r = sector_open(data, &b->format, volume_key, &clear);

	if (r < 0)
		return r;
	if (source_size(clear) < b->size)
		return fail(-EPROTO, "the volume is larger than its device");
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "out of memory");
	source_init(&s->base, &bitlocker_ops, b->size);
	s->clear = take(clear);
	s->header_off = b->header_off;
	s->header_size = b->header_size;
	for (int i = 0; i < BITLOCKER_COPIES; i++) {
		s->zeros[i].off = b->copies[i];
		s->zeros[i].len = BITLOCKER_BLOCK_SIZE;
	}
	s->zeros[BITLOCKER_COPIES].off = b->header_off;
	s->zeros[BITLOCKER_COPIES].len = b->header_size;
	*ret = &s->base;
	return 0;
}

static const struct source_ops bitlocker_ops = {
	.name = "bitlocker",
	.read = bitlocker_read_at,
	.extent = bitlocker_extent,
	.prefetch = bitlocker_prefetch,
	.close = bitlocker_close,
};
