// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * restored_config: the two blobs that a restore job leaves beside the VHDs, which say
 * of what machine they are and by which key they were encrypted. Pure: no requests.
 * Tolerant as model.h is; the facts about their encoding are few.
 */
#pragma once
#include "backend/azure/model.h"

struct rsv_config_disk {
	int lun;
	char *name, *uri;
};
struct rsv_config {
	char *vm;
	char *os;		  /* "Linux"; may be NULL */
	struct rsv_settings keys; /* of all its disks */
	struct rsv_config_disk *disks;
	size_t ndisks;
};
/*
 * The config blob: JSON in UTF-16LE (or UTF-8, with or without BOM), padded with
 * NULs, whose keys have dots in them. The bytes as they came.
 */
int rsv_config_parse(const void *bytes, size_t len,
		     struct rsv_config *out) MUST_USE;
void rsv_config_release(struct rsv_config *c);
/* The encryption info blob, in the same encodings: OsDiskKeyAndSecretDetails. */
int rsv_encryption_info_parse(const void *bytes, size_t len,
			      struct rsv_key *out) MUST_USE;

static inline void drop_rsv_config(struct rsv_config *c)
{
	rsv_config_release(c);
}
