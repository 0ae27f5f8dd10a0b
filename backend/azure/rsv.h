// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * rsv: an Azure Recovery Services vault as it stands, or all of a subscription, as
 * a catalog:
 *
 *	azure-rsv:/subscriptions/S/resourceGroups/G/providers/
 *		Microsoft.RecoveryServices/vaults/V
 *	azure-rsv:/subscriptions/S	or	azure-rsv:S
 *
 * Only reads: nothing is restored, and no session for file recovery is begun, by
 * listing or reading. The one thing that changes in Azure is that a disk of a
 * snapshot becomes readable for half an hour when its file is opened (access.h).
 *
 * Requests: vaults, items of a vault, and recovery points of an item are lists of
 * the service, fetched when first asked for, whole (they come in no useful order),
 * and kept for RSV_FRESH_MS or the refresh interval, whichever is longer. A point
 * costs one GET; the first one with a snapshot, the list of restore point
 * collections of the subscription and one GET a VM besides; one of the vault tier
 * only, the list of restore jobs of its vault, and one GET for each newer job of its
 * machine, once; where one of them left its disks, the list of their container and what
 * is written there of them (restored.h). Then its disks are those.
 *
 * Any thread.
 */
#pragma once
#include "backend/azure/model.h"
#include "backend/catalog.h"

#define RSV_SCHEME "azure-rsv:"
#define RSV_FRESH_MS 60000

int catalog_open_azure(const char *url, const struct catalog_options *o,
		       struct catalog **ret) MUST_USE;
bool catalog_is_azure(const struct catalog *c);

/* What a URL names; vault "" for all of the subscription. -EINVAL. */
struct rsv_address {
	char subscription[64];
	char vault[2048]; /* the vault's id */
};
int rsv_address_parse(const char *url, struct rsv_address *out) MUST_USE;

/*
 * Calls each() for the ranges in which a disk of one point differs from that of an
 * older one, both of the snapshot tier of this catalog, as the service tells them;
 * they may go beyond the disk, into its footer. -ENOTSUP: they cannot be compared;
 * other failures are of the requests (pages.h).
 */
int rsv_disk_changes(struct catalog *c, struct point_info *now, size_t disk,
		     struct point_info *before, size_t was,
		     int (*each)(void *ctx, uint64_t off, uint64_t len),
		     void *ctx) MUST_USE;

/* What of a point of such a catalog only Azure knows. Borrowed from info; NULL for a
 * point of another catalog. */
struct rsv_facts {
	const struct rsv_point *point; /* from its own GET */
	/* The point's, or where that has less, what a restore job wrote of it. */
	const struct rsv_key *key;
	const char *item_id, *vault_id, *source_id;
	const char *location; /* of the vault; may be NULL */
	const char *item_kind;
	bool is_vm;
};
const struct rsv_facts *point_azure_facts(const struct point_info *info);
