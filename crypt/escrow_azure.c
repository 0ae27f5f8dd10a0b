// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/escrow_azure.h"

#include <string.h>
#include <strings.h>

#include "backend/azure/restored.h"
#include "backend/azure/rsv.h"

bool azure_keys_of(const struct point_info *info, struct azure_keys *out)
{
	const struct rsv_facts *f = point_azure_facts(info);

	if (!f)
		return point_restored_key(info, &out->key, &out->os);
	out->key = f->key;
	out->os = f->point->os;
	return true;
}

/* Borrowed; NULL: none. */
static struct secret *bek_of(const struct point_info *info,
			     const struct escrow_record *rec)
{
	struct azure_keys has;
	const char *url;

	if (!azure_keys_of(info, &has))
		return NULL;
	url = has.key->secret_url ? has.key->secret_url : "";
	if (rec->nwraps || *rec->disk || strcasecmp(rec->secret_url, url) != 0)
		return NULL;
	return has.key->bek;
}

int azure_bek(const struct point_info *info, const struct escrow_record *rec,
	      struct secret **ret)
{
	struct secret *s = bek_of(info, rec);

	return s ? secret_copy(secret_bytes(s), secret_size(s), ret) : 0;
}

int azure_learn(const struct point_info *info,
		const struct escrow_records *records, struct keyring *keyring)
{
	int r = 0;

	for (size_t i = 0; keyring && i < records->n && !r; i++) {
		struct secret *bek = bek_of(info, &records->v[i]);

		if (bek)
			r = keyring_learn(keyring, &records->v[i], bek);
	}
	return r;
}
