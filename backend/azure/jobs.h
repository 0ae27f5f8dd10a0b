// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * jobs: what Backup's answers say of its jobs, taken out of their JSON. Pure: no
 * requests. Tolerant as model.h is.
 */
#pragma once
#include "backend/azure/model.h"

enum rsv_job_state {
	RSV_JOB_RUNS,
	RSV_JOB_DONE,
	RSV_JOB_WARNED,
	RSV_JOB_FAILED
};

struct rsv_job {
	enum rsv_job_state state;
	char *status;
	unsigned percent; /* 0..100 */
	char *detail;	  /* "40 GBs / 127 GBs Transferred"; may be NULL */
	char *error;	  /* may be NULL */
	char *account, *container, *config, *config_uri;
	char *template_uri;
	char *encryption_blob;
	char *target_group; /* managed disks were made there; NULL: VHDs */
	bool has_point_time, has_end;
	int64_t end_ns;
	int64_t point_time_ns; /* of the point restored, in whole seconds */
	uint64_t duration_ms;
};
int rsv_job_parse(const struct json *j, struct rsv_job *out) MUST_USE;
void rsv_job_release(struct rsv_job *j);

/* Restores of machines that were completed, of a list of jobs; which of their points
 * each was for is only in the job's own answer. */
struct rsv_restore {
	char *id, *name; /* of the job */
	char *container; /* "iaasvmcontainerv2;RG;VM" */
	int64_t start_ns;
};
struct rsv_restores {
	struct rsv_restore *v;
	size_t count, room;
};
int rsv_restores_add(struct rsv_restores *to,
		     const struct json *values) MUST_USE;
/* The newest first. */
void rsv_restores_order(struct rsv_restores *l);
void rsv_restores_release(struct rsv_restores *l);

/* "7/26/2026 1:16:55 PM", as a job has the time of its point; or as rsv_time. */
bool rsv_job_time(const char *text, int64_t *ns);

static inline void drop_rsv_job(struct rsv_job *j)
{
	rsv_job_release(j);
}
static inline void drop_rsv_restores(struct rsv_restores *l)
{
	rsv_restores_release(l);
}
