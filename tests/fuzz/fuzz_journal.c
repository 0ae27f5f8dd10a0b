// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is an image, taken for each kind of file system. */
#include <assert.h>
#include <string.h>

#include "backend/guest/journal.h"
#include "tests/fakes/source_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = { "ext4", "xfs",  "btrfs",
					     "ntfs", "vfat", "?" };
	DROP(source) struct source *s = NULL;
	enum journal_state state;

	if (source_open_memory(data, size, NULL, 0, &s) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int r = journal_read(s, kinds[i], &state);

		assert(r == 0 && journal_state_name(state));
	}
	return 0;
}
