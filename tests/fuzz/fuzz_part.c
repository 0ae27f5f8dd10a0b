// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is the start of a disk of 64 MiB, or, after a 'T', its end: its partition
 * table, and what a volume of these bytes holds. */
#include <assert.h>
#include <errno.h>

#include "backend/guest/content.h"
#include "backend/guest/part.h"
#include "tests/fakes/source_piece.h"

#define SIZE (UINT64_C(64) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(part_table) struct part_table t = { 0 };
	DROP(source) struct source *disk = NULL;
	bool end = size && data[0] == 'T';
	uint64_t off = end ? SIZE - (size - 1) : 0;
	struct content c;
	int r;

	assert(source_open_piece(data + end, size - end, off, SIZE, &disk) ==
	       0);
	r = part_read(disk, &t);
	assert(r == 0 || r == -EPROTO);
	for (size_t i = 0; i < t.count; i++) {
		assert(t.parts[i].len && t.parts[i].off < SIZE);
		assert(t.parts[i].len <= SIZE - t.parts[i].off);
		assert(i == 0 || t.parts[i].number >= t.parts[i - 1].number);
	}
	assert(content_probe(disk, &c) == 0);
	return 0;
}
