// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the format_*.c files share: the frame of a record, rows, places, and
 * readers of the common fields. Private to backend/vault/format*.c.
 */
#pragma once
#include <string.h>

#include "backend/base/err.h"
#include "backend/store/store.h"
#include "backend/vault/format.h"

/* A record's header, its length and CRC to be set by record_end(); returns
 * where it begins. */
size_t record_begin(struct buf *b, const char magic[static 4]);
void record_set_length(struct buf *b, size_t at, size_t length);
void record_end(struct buf *b, size_t at);
/* Signs what was written since at, appends the signature, ends the record. */
int record_sign_end(struct buf *b, size_t at, const char *tag,
		    struct secret *seed) MUST_USE;
/* Checks header, exact length and CRC; *body reads what follows the header. */
int record_open(const void *p, size_t n, const char magic[static 4],
		struct rd *body) MUST_USE;
int record_signed_part(const uint8_t *p, size_t n, uint8_t **ret) MUST_USE;
int record_check_sign(const uint8_t *p, size_t n, const char *tag,
		      const struct sign_public *key) MUST_USE;

/* Reads n bytes; true if they were there and zero. */
bool rd_zero(struct rd *r, size_t n) MUST_USE;
void rd_digest(struct rd *r, struct digest *out);
void rd_gen(struct rd *r, struct point_id *out);
int rd_name(struct rd *r, const char *what, bool may_be_empty,
	    char out[static CATALOG_NAME_MAX + 1]) MUST_USE;
int rd_rows(struct rd *r, size_t n, const uint8_t **rows) MUST_USE;
int rd_place(struct rd *r, const uint8_t *rows, size_t nrows, uint16_t allowed,
	     struct place *out) MUST_USE;

void buf_digest(struct buf *b, const struct digest *d);
void buf_gen(struct buf *b, const struct point_id *g);
void buf_name(struct buf *b, const char *name);

/* The row table of a record that is being built. */
struct rows {
	struct point_id gen[VF_DEAD_PLACES];
	size_t n;
	bool full;
};
static inline void rows_init(struct rows *t)
{
	t->n = 0;
	t->full = false;
}
uint16_t rows_add(struct rows *t, const struct point_id *gen);
void rows_put(struct buf *b, const struct rows *t);
/* row: what rows_add() gave for its generation. */
void place_put(struct buf *b, uint16_t row, const struct place *p);
