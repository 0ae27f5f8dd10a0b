// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is an image. What opens as a VHD is the image without its last 512
 * bytes, what does not is the whole, and nothing fails but with -EPROTO.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "backend/source/source.h"
#include "tests/fakes/source_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_as(const uint8_t *data, size_t size, enum vhd_force force)
{
	DROP(source) struct source *s = NULL;
	struct source *inner;
	bool is_vhd;
	uint8_t *buf;
	uint64_t n;
	int r;

	if (source_open_memory(data, size, NULL, 0, &inner) < 0)
		return;
	r = source_open_vhd(inner, force, &s, &is_vhd);
	if (r < 0) {
		assert(r == -EPROTO && force != VHD_RAW && !s);
		return;
	}
	n = source_size(s);
	assert(n == size - (is_vhd ? VHD_FOOTER_SIZE : 0));
	assert(is_vhd || force != VHD_YES);
	buf = malloc(n + 1);
	r = buf ? source_read(s, buf, n, 0) : 0;
	assert(r == 0 && (!buf || n == 0 || !memcmp(buf, data, n)));
	assert(!buf || source_read(s, buf, 1, n) == -EINVAL);
	free(buf);
}

/* Only the checksum stands between most mutations and the parser: mend it. */
static void seal(uint8_t *footer)
{
	uint32_t sum = 0;

	memset(footer + 64, 0, 4);
	for (int i = 0; i < VHD_FOOTER_SIZE; i++)
		sum += footer[i];
	for (int i = 0; i < 4; i++)
		footer[64 + i] = (uint8_t)(~sum >> (24 - 8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *sealed;

	for (int force = VHD_AUTO; force <= VHD_YES; force++)
		open_as(data, size, (enum vhd_force)force);
	sealed = malloc(size);
	if (size < VHD_FOOTER_SIZE || !sealed) {
		free(sealed);
		return 0;
	}
	memcpy(sealed, data, size);
	seal(sealed + size - VHD_FOOTER_SIZE);
	open_as(sealed, size, VHD_AUTO);
	open_as(sealed, size, VHD_YES);
	free(sealed);
	return 0;
}
