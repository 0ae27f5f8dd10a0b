// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The escrow records of a point of Azure: one of the whole VM, of its keyAndSecret;
 * one of each other secret that the restore point of a disk names (of Windows each
 * volume has its own). Where Azure left the
 * wrapped key out (secretData, in points of today) a record says only which version
 * of which secret it is, which is read in Key Vault when it is needed.
 *
 * Where a point that is encrypted says nothing at all, the settings of the managed
 * disks as they are now are taken: a key that was changed since then does not open,
 * which is found out.
 */
#include <errno.h>
#include <string.h>

#include "backend/azure/arm.h"
#include "backend/azure/record.h"
#include "backend/azure/restored.h"
#include "backend/azure/rsv_impl.h"

static int add_from_disk(struct rsv *r, struct rsv_point_info *i, size_t k,
			 struct escrow_docs *out)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const char *id = i->places[k].family;
	int e;

	if (!id || !arm_id_part(id, "disks", (char[256]){ 0 }, 256))
		return 0;
	e = rsv_get_disk_settings(r, id, &b);
	return e ? e
		 : azure_record_add_all(out, (int)k, i->point.os, b->data,
					NULL);
}

int rsv_point_escrow(struct rsv *r, struct rsv_point_info *i,
		     struct escrow_docs *out)
{
	const struct rsv_key *key = i->facts.key;
	const struct rsv_left *left = i->left ? i->left->data : NULL;
	int e = 0;

	if (i->point.has_key || key != &i->point.key)
		e = azure_record_add(
			out, -1, i->point.os,
			&(struct azure_key_said){ key->secret_url, key->key_url,
						  key->secret_data });
	for (size_t k = 0; !e && i->places && k < i->info.ndisks; k++)
		e = azure_record_add_all(out, (int)k, i->point.os,
					 &i->places[k].keys, key->secret_url);
	if (!e && left)
		e = azure_record_add_all(out, -1, i->point.os,
					 point_restored_settings(left->info),
					 key->secret_url);
	if (e || out->n || !i->point.encrypted)
		return e;
	for (size_t k = 0; !e && i->places && k < i->info.ndisks; k++)
		e = add_from_disk(r, i, k, out);
	return e;
}
