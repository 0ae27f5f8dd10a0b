// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * restore: asks Azure Backup to restore the disks of a point of a VM to a storage
 * account, as VHDs, and follows the job. The only thing here that Azure is asked to
 * do; it takes about a minute for 4 GiB, and is paid for by storage.
 */
#pragma once
#include "backend/azure/jobs.h"
#include "backend/azure/rsv.h"

/* How far it is; nonzero ends the waiting (the job goes on) and is returned. */
typedef int restore_progress(void *ctx, const struct rsv_job *job);

/*
 * info: a point of a catalog of Azure. account: the id of a storage account in the
 * vault's region. *done: what the job left, released by the caller.
 * -EIO: the job failed, with Azure's words.
 */
int azure_restore_disks(const struct point_info *info, const char *account,
			restore_progress *progress, void *ctx,
			struct rsv_job *done) MUST_USE;
