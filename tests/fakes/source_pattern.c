// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/source_pattern.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

#define WORD 8

struct patterned {
	struct source base;
	struct pattern p;
};

static const struct source_ops pattern_ops;

/* The finaliser of SplitMix64: each bit of the result depends on all of x. */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline uint64_t word_at(uint64_t seed, uint64_t index)
{
	return htole64(mix(seed + (index + 1) * 0x9e3779b97f4a7c15u));
}

static void random_part(uint64_t seed, uint8_t *out, size_t len, uint64_t off)
{
	while (len > 0) {
		uint64_t w = word_at(seed, off / WORD);
		size_t skip = off % WORD, n = min_u64(len, WORD - skip);

		memcpy(out, (uint8_t *)&w + skip, n);
		out += n;
		len -= n;
		off += n;
		/* Aligned now, or at the end: whole words. */
		for (; len >= WORD && off % WORD == 0;
		     out += WORD, len -= WORD, off += WORD) {
			w = word_at(seed, off / WORD);
			memcpy(out, &w, WORD);
		}
	}
}

bool pattern_is_zero(const struct pattern *p, uint64_t off)
{
	if (p->run == 0 || p->zero_of_256 == 0)
		return false;
	return (mix(~p->seed + mix(off / p->run)) & 255) < p->zero_of_256;
}

void pattern_bytes(const struct pattern *p, void *buf, size_t len, uint64_t off)
{
	uint8_t *out = buf;

	while (len > 0) {
		size_t n = len;

		if (p->run)
			n = min_u64(len, p->run - off % p->run);
		if (pattern_is_zero(p, off))
			memset(out, 0, n);
		else
			random_part(p->seed, out, n, off);
		out += n;
		len -= n;
		off += n;
	}
}

static int pattern_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct patterned *ps = container_of(s, struct patterned, base);

	pattern_bytes(&ps->p, buf, len, off);
	return 0;
}

static int pattern_extent(struct source *s, uint64_t off, uint64_t max,
			  struct extent *out)
{
	struct patterned *ps = container_of(s, struct patterned, base);
	uint64_t end = off + max, at = off;
	bool hole = ps->p.holes && pattern_is_zero(&ps->p, off);

	/* A bounded look ahead: two neighbours may be alike. */
	for (int i = 0; i < 4096 && at < end && ps->p.run; i++) {
		if ((ps->p.holes && pattern_is_zero(&ps->p, at)) != hole)
			break;
		at += min_u64(end - at, ps->p.run - at % ps->p.run);
	}
	*out = (struct extent){ .length = ps->p.run ? at - off : max,
				.hole = hole };
	return 0;
}

static void pattern_close(struct source *s)
{
	free(container_of(s, struct patterned, base));
}

int source_open_pattern(const struct pattern *p, uint64_t size,
			struct source **ret)
{
	struct patterned *ps = calloc(1, sizeof(*ps));

	assert(p->run % WORD == 0);
	if (!ps)
		return fail(-ENOMEM, "out of memory");
	source_init(&ps->base, &pattern_ops, size);
	ps->p = *p;
	*ret = &ps->base;
	return 0;
}

static const struct source_ops pattern_ops = {
	.name = "pattern",
	.read = pattern_read,
	.extent = pattern_extent,
	.close = pattern_close,
};
