// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * restored: a storage container in which a restore job of Azure Backup left the disks
 * of a VM, as a catalog:
 *
 *	az://ACCOUNT/CONTAINER
 *
 * It has one vault, which is called like the container; a VM for each name in the
 * configs there (config-*.json), and a point for each config. A disk is the VHD that
 * the config names, read where it is read; the records of its keys are from the
 * config's encryption settings and from the encryption info blob.
 *
 * The time of a point is the one in the names of its VHDs (…-20260726-131655.vhd),
 * which is when the job ran: when the point was made nothing there says.
 *
 * What is there is looked at once, when it is opened: a container is listed, and each
 * config is read. Any thread.
 */
#pragma once
#include "backend/azure/model.h"
#include "backend/catalog.h"

/* Whether a container, which is no vault of ours, looks like one: it has a config.
 * Takes the store where it does; *is says so. */
int catalog_open_restored(struct store **store, const struct catalog_options *o,
			  bool *is, struct catalog **ret) MUST_USE;

/* The point of the config of that name, as the job tells it (NULL: it does not; the only
 * one); -ENOENT. Borrows c, which catalog_open_restored() made. */
int restored_find(struct catalog *c, const char *config,
		  struct point_info **ret) MUST_USE;

/* A disk of such a point, if its VHD was not written to after that time (Unix seconds);
 * -ESTALE. */
int restored_open_disk(const struct point_info *info, size_t disk,
		       int64_t not_after_s, struct source **ret) MUST_USE;
/* The settings in such a point's config; borrowed. */
const struct rsv_settings *
point_restored_settings(const struct point_info *info);
/* What the encryption info blob of such a point has; false: it is another point, or
 * there is none. Borrowed. */
bool point_restored_key(const struct point_info *info,
			const struct rsv_key **key, const char **os);
