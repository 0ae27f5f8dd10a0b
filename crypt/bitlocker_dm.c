// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A BitLocker volume as a table of device-mapper:
 *
 *	0               header_size    crypt, from header_off, as if it lay there
 *	…               …              crypt, in place
 *	each copy       64 KiB         zero
 *	header_off      header_size    zero
 *	…               …              crypt, in place
 *
 * dm-crypt counts iv_offset in units of 512 bytes, and in larger ones only as
 * it makes the IV (iv_large_sectors).
 */
#include "crypt/bitlocker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "crypt/dm.h"

#define COPY_SIZE 65536
#define TARGETS_MAX (2 * (BITLOCKER_COPIES + 1) + 2)
#define PARAMS_SIZE 512

struct table {
	const struct bitlocker *b;
	const char *device, *key;
	struct dm_target targets[TARGETS_MAX];
	char params[TARGETS_MAX][PARAMS_SIZE];
	size_t n;
	uint64_t at; /* so far, in bytes */
};

static void add_zero(struct table *t, uint64_t len)
{
	t->targets[t->n++] = (struct dm_target){ .start = t->at / DM_SECTOR,
						 .len = len / DM_SECTOR,
						 .type = "zero",
						 .params = "" };
	t->at += len;
}

/* len bytes of the volume, which lie at from of the device. */
static void add_crypt(struct table *t, uint64_t from, uint64_t len)
{
	const struct sector_format *f = &t->b->format;
	char *params = t->params[t->n];
	char large[64] = "";

	if (f->sector_size != DM_SECTOR)
		snprintf(large, sizeof(large),
			 " 2 sector_size:%" PRIu32 " iv_large_sectors",
			 f->sector_size);
	snprintf(params, PARAMS_SIZE, "%s %s %" PRIu64 " %s %" PRIu64 "%s",
		 sector_mode_name(f->mode), t->key, from / DM_SECTOR, t->device,
		 from / DM_SECTOR, large);
	t->targets[t->n++] = (struct dm_target){ .start = t->at / DM_SECTOR,
						 .len = len / DM_SECTOR,
						 .type = "crypt",
						 .params = params };
	t->at += len;
}

struct zone {
	uint64_t off, len;
};

static int by_offset(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int build(struct table *t)
{
	const struct bitlocker *b = t->b;
	struct zone zones[BITLOCKER_COPIES + 1];

	for (int i = 0; i < BITLOCKER_COPIES; i++)
		zones[i] = (struct zone){ b->copies[i], COPY_SIZE };
	zones[BITLOCKER_COPIES] =
		(struct zone){ b->header_off, b->header_size };
	qsort(zones, ARRAY_SIZE(zones), sizeof(zones[0]), by_offset);

	add_crypt(t, b->header_off, b->header_size);
	for (size_t i = 0; i < ARRAY_SIZE(zones) && t->at < b->size; i++) {
		uint64_t off = min_u64(zones[i].off, b->size);
		uint64_t end = min_u64(zones[i].off + zones[i].len, b->size);

		/* Those that reading the metadata has made sure of. */
		if (off < t->at)
			return fail(-EPROTO, "its metadata overlap");
		if (off > t->at)
			add_crypt(t, t->at, off - t->at);
		if (end > off)
			add_zero(t, end - off);
	}
	if (t->at < b->size)
		add_crypt(t, t->at, b->size - t->at);
	return 0;
}

int bitlocker_activate(const struct bitlocker *b, struct secret *volume_key,
		       const char *device, const char *name, const char *uuid,
		       bool readonly)
{
	DROP(dm_key) struct dm_key key = { 0 };
	DROP(mem) struct table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return fail(-ENOMEM, "out of memory");
	r = dm_key_add(volume_key, name, &key);
	if (r < 0)
		return r;
	t->b = b;
	t->device = device;
	t->key = key.spec;
	r = build(t);
	return r < 0 ? r : dm_create(name, uuid, readonly, t->targets, t->n);
}
