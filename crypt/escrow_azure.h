// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What points of Azure have of keys that no escrow record may hold.
 *
 * Some points of VMs without a KEK have the BEK itself (secretData): the keyring
 * learns that it is the one of the record that refers to its secret.
 */
#pragma once
#include "backend/azure/model.h"
#include "backend/catalog.h"
#include "crypt/keyring.h"

/* What a point, or the job that restored it, has of its keys. Borrowed. */
struct azure_keys {
	const struct rsv_key *key;
	const char *os; /* "Linux", …; may be NULL */
};
/* False: there is nothing of the kind. */
bool azure_keys_of(const struct point_info *info, struct azure_keys *out);
/* The BEK that the point has for a record, a copy; NULL: none. */
int azure_bek(const struct point_info *info, const struct escrow_record *rec,
	      struct secret **ret) MUST_USE;
/* keyring: NULL is ignored; so are points of other catalogs. */
int azure_learn(const struct point_info *info,
		const struct escrow_records *records,
		struct keyring *keyring) MUST_USE;
