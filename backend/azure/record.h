// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * record: an escrow document as a vault keeps it (FORMAT.md, 5.4), of what Azure says
 * of a key in a point, a disk, or what a restore job left.
 */
#pragma once
#include "backend/azure/settings.h"
#include "backend/catalog.h"

struct azure_key_said {
	const char *secret_url, *key_url; /* with version; may be NULL */
	const char *data;		  /* wrapped, in base64; may be NULL */
};

/* disk: as in struct escrow_doc. os: "Linux", "Windows" or NULL. */
int azure_record_add(struct escrow_docs *to, int disk, const char *os,
		     const struct azure_key_said *s) MUST_USE;
/* One of each setting, but of the secret that has a record already (known; or
 * NULL). */
int azure_record_add_all(struct escrow_docs *to, int disk, const char *os,
			 const struct rsv_settings *all,
			 const char *known) MUST_USE;
