// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is the text of a record: what comes out are devices of that name. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crypt/attach_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(attach_record) struct attach_record rec = ATTACH_RECORD_INIT;
	int r = attach_record_parse((const char *)data, size, "web", &rec);

	assert(r == 0 || r == -EPROTO || r == -E2BIG || r == -ENOMEM);
	for (size_t i = 0; i < rec.count; i++) {
		const struct attach_entry *e = &rec.entries[i];

		assert(strncmp(e->name, "web", 3) == 0);
		assert(dm_name_valid(e->name) && !strchr(e->name, '/'));
		assert(e->uuid[0] && strlen(e->uuid) < DM_UUID_SIZE);
	}
	return 0;
}
