// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/volumes_impl.h"

#include <errno.h>

static void set_text(struct json *j, const char *key, const char *text)
{
	json_set_str(j, key, *text ? text : NULL);
}

static struct json *encryption(const struct volumes_row *row)
{
	const struct volume_info *info = &row->info;
	struct json *j = json_object();

	json_set_str(j, "type", volume_type_name(info->type));
	set_text(j, "uuid", info->uuid);
	set_text(j, "label", info->label);
	set_text(j, "cipher", info->cipher);
	json_set_u64(j, "keyBits", info->key_bits);
	json_set_u64(j, "sectorSize", info->sector_size);
	if (row->detached)
		json_set_str(j, "header", row->header_name);
	if (info->type == VOLUME_BITLOCKER)
		json_set_bool(j, "suspended", info->suspended);
	if (info->nkey_ids) {
		struct json *ids = json_array();

		for (size_t i = 0; i < info->nkey_ids; i++)
			json_push_str(ids, info->key_ids[i]);
		json_set(j, "keyIds", ids);
	}
	return j;
}

static struct json *one(const struct volumes *vs, const struct vol *v)
{
	const struct volumes_row *row = &v->row;
	struct json *j = json_object();

	json_set_str(j, "name", row->name);
	json_set_str(j, "state", volumes_state_name(row->state));
	set_text(j, "reason", row->reason);
	if (row->logical) {
		json_set_str(j, "volumeGroup", v->lv->vg);
		json_set_str(j, "logicalVolume", v->lv->name);
	} else {
		json_set_str(j, "disk", vs->disks[row->disk]);
		if (row->part)
			json_set_u64(j, "partition", row->part);
		json_set_u64(j, "offset", row->off);
		json_set_u64(j, "length", row->len);
		set_text(j, "partitionType", v->part_type);
	}
	json_set_u64(j, "size", row->size);
	set_text(j, "type", row->type);
	set_text(j, "label", row->label);
	set_text(j, "uuid", row->uuid);
	if (row->info.type != VOLUME_CLEAR)
		json_set(j, "encryption", encryption(row));
	set_text(j, "openedBy", row->opened_by);
	return j;
}

struct json *volumes_json(const struct volumes *vs)
{
	struct json *j = json_object(), *rows = json_array();

	for (size_t i = 0; i < vs->n; i++)
		json_push(rows, one(vs, &vs->v[i]));
	json_set(j, "volumes", rows);
	if (vs->lvm && vs->lvm->ndamaged) {
		struct json *notes = json_array();

		for (size_t i = 0; i < vs->lvm->ndamaged; i++)
			json_push_str(notes, vs->lvm->damaged[i]);
		json_set(j, "problems", notes);
	}
	return j;
}
