// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/escrow_azure.h"

#include <string.h>
#include <strings.h>

#include "backend/azure/rsv.h"

int azure_learn(const struct point_info *info,
		const struct escrow_records *records, struct keyring *keyring)
{
	const struct rsv_facts *f = point_azure_facts(info);
	const struct rsv_key *key = f ? &f->point->key : NULL;
	int r = 0;

	if (!key || !key->bek || !keyring)
		return 0;
	for (size_t i = 0; i < records->n && !r; i++) {
		const struct escrow_record *rec = &records->v[i];

		if (rec->nwraps || *rec->disk ||
		    strcasecmp(rec->secret_url,
			       key->secret_url ? key->secret_url : "") != 0)
			continue;
		r = keyring_learn(keyring, rec, key->bek);
	}
	return r;
}
