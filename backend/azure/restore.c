// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/restore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/base/err.h"

#define API "api-version=2023-06-01"
/* As the service's own clients ask. */
#define LOOK_MS 15000
#define LOOK_FIRST_MS 200

static bool is_account_id(const char *id)
{
	char name[64], provider[64];

	return arm_id_part(id, "storageAccounts", name, sizeof(name)) &&
	       arm_id_part(id, "providers", provider, sizeof(provider)) &&
	       !strcasecmp(provider, "Microsoft.Storage") &&
	       strlen(id) < ARM_ID_MAX;
}

static int check_point(const struct rsv_facts *f, const char *account)
{
	if (!f)
		return fail(-EINVAL, "it is no point of an Azure vault");
	if (!f->is_vm)
		return fail(-EINVAL,
			    "it is a point of the type %s, not of a "
			    "virtual machine: it has no disks",
			    f->item_kind);
	if (!f->source_id || !f->location)
		return fail(-EINVAL, "Azure does not tell of which machine, or "
				     "where, it is");
	if (!is_account_id(account))
		return fail(-EINVAL,
			    "'%.200s' is not the id of a storage account "
			    "(/subscriptions/…/providers/Microsoft.Storage/"
			    "storageAccounts/NAME)",
			    account);
	return 0;
}

static struct json *request_of(const struct rsv_facts *f, const char *account)
{
	struct json *j = json_object(), *p = json_object();
	bool archived =
		f->point->tiers & RSV_TIER_ARCHIVE &&
		!(f->point->tiers & (RSV_TIER_VAULT | RSV_TIER_REHYDRATED));

	json_set_str(p, "objectType",
		     archived ? "IaasVMRestoreWithRehydrationRequest"
			      : "IaasVMRestoreRequest");
	json_set_str(p, "recoveryPointId", f->point->name);
	json_set_str(p, "recoveryType", "RestoreDisks");
	json_set_str(p, "sourceResourceId", f->source_id);
	json_set_str(p, "storageAccountId", account);
	json_set_str(p, "region", f->location);
	json_set_bool(p, "createNewCloudService", false);
	json_set_bool(p, "originalStorageAccountOption", false);
	if (archived) {
		struct json *r = json_object();

		json_set_str(r, "rehydrationRetentionDuration", "P7D");
		json_set_str(r, "rehydrationPriority", "Standard");
		json_set(p, "recoveryPointRehydrationInfo", r);
	}
	json_set(j, "properties", p);
	return j;
}

/* The operation's end only says which job it is. */
static int begin(struct azure *az, const struct rsv_facts *f,
		 const char *account, char *job, size_t size)
{
	DROP(json) struct json *body = request_of(f, account);
	DROP(json) struct json *result = NULL, *status = NULL;
	DROP(buf) struct buf path = BUF_INIT(ARM_ID_MAX + 256);
	const char *id;
	int r;

	buf_printf(&path, "%s/recoveryPoints/%s/restore", f->item_id,
		   f->point->name);
	r = buf_check(&path, "id of a recovery point");
	if (!r)
		r = arm_post(az, "the restore of the disks", buf_cstr(&path),
			     API, body, &result, &status);
	if (r)
		return r;
	id = json_get_str(json_get(status, "properties"), "jobId");
	if (!id || strlen(id) >= size || strchr(id, '/'))
		return fail(-EPROTO, "Azure accepted the restore, but does not "
				     "say which job it is");
	memcpy(job, id, strlen(id) + 1);
	return 0;
}

static int look(struct azure *az, const struct rsv_facts *f, const char *job,
		struct rsv_job *out)
{
	DROP(json) struct json *j = NULL;
	DROP(buf) struct buf path = BUF_INIT(ARM_ID_MAX + 256);
	int r;

	buf_printf(&path, "%s/backupJobs/%s", f->vault_id, job);
	r = buf_check(&path, "id of a job");
	if (!r)
		r = arm_get(az, "the restore's job", buf_cstr(&path), API, &j);
	return r ? r : rsv_job_parse(j, out);
}

static int follow(struct azure *az, const struct rsv_facts *f, const char *job,
		  restore_progress *progress, void *ctx, struct rsv_job *done)
{
	uint64_t pause = LOOK_FIRST_MS;

	for (;;) {
		DROP(rsv_job) struct rsv_job now = { 0 };
		int r = look(az, f, job, &now);

		if (!r)
			r = progress(ctx, &now);
		if (r)
			return r;
		if (now.state == RSV_JOB_FAILED)
			return fail(-EIO, "the job %s: %s", now.status,
				    now.error ? now.error
					      : "Azure does not say why");
		if (now.state != RSV_JOB_RUNS) {
			*done = now;
			now = (struct rsv_job){ 0 };
			return 0;
		}
		r = arm_wait(pause);
		if (r)
			return r;
		pause = min_u64(2 * pause, LOOK_MS);
	}
}

int azure_restore_disks(const struct point_info *info, const char *account,
			restore_progress *progress, void *ctx,
			struct rsv_job *done)
{
	const struct rsv_facts *f = point_azure_facts(info);
	DROP(azure) struct azure *az = NULL;
	char job[128];
	int r = check_point(f, account);

	if (!r)
		r = azure_ref(&az);
	if (!r)
		r = begin(az, f, account, job, sizeof(job));
	if (r)
		return r;
	r = follow(az, f, job, progress, ctx, done);
	return r ? blame(r, "restore job %s", job) : 0;
}
