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
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"
#include "backend/base/log.h"

/* What the managed disk says today. One that is gone, or that may not be seen, says
 * nothing. */
static int disk_settings(struct rsv *r, const char *id,
			 struct rsv_settings *out)
{
	DROP(json) struct json *j = NULL;
	int e;

	if (!id || !arm_id_part(id, "disks", (char[256]){ 0 }, 256))
		return 0;
	e = arm_get(r->az, "a managed disk", id, RSV_API_COMPUTE, &j);
	if (e == -ENOENT || e == -EACCES) {
		log_debug("%s", err_text(e));
		err_clear();
		return 0;
	}
	return e ? e : rsv_settings_parse(j, out);
}

static int add_from_disk(struct rsv *r, struct rsv_point_info *i, size_t k,
			 struct escrow_docs *out)
{
	DROP(rsv_settings) struct rsv_settings now = { 0 };
	int e = disk_settings(r, i->places[k].family, &now);

	return e ? e
		 : azure_record_add_all(out, (int)k, i->point.os, &now, NULL);
}

int rsv_point_escrow(struct rsv *r, struct rsv_point_info *i,
		     struct escrow_docs *out)
{
	const struct rsv_key *key = &i->point.key;
	int e = 0;

	if (i->point.has_key)
		e = azure_record_add(
			out, -1, i->point.os,
			&(struct azure_key_said){ key->secret_url, key->key_url,
						  key->secret_data });
	for (size_t k = 0; !e && i->places && k < i->info.ndisks; k++)
		e = azure_record_add_all(out, (int)k, i->point.os,
					 &i->places[k].keys, key->secret_url);
	if (e || out->n || !i->point.encrypted)
		return e;
	for (size_t k = 0; !e && i->places && k < i->info.ndisks; k++)
		e = add_from_disk(r, i, k, out);
	return e;
}
