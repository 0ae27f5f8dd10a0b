// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where the restore jobs of a vault have left the disks of a point.
 *
 * The list of jobs has no more of a job than the machine and when it ran; which point
 * it restored, and where to, takes a GET of the job itself. So only those of the same
 * machine that began after the point was made are asked, the newest first, and each
 * once, as it has ended.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/rsv_impl.h"
#include "backend/base/err.h"

/* Jobs asked for one point: a machine is not restored more often than that in the
 * time for which a vault keeps its jobs. */
#define JOBS_MAX 32
#define SECOND_NS INT64_C(1000000000)

/* Names of accounts and containers are lower case letters, digits and dashes; "$web"
 * and the like hold no restored disks. */
static bool is_place(const char *s)
{
	if (!s || !*s)
		return false;
	for (; *s; s++) {
		if (!islower((unsigned char)*s) &&
		    !isdigit((unsigned char)*s) && *s != '-')
			return false;
	}
	return true;
}

/* A job leaves out the "IaasVMContainer;" of the container's name. */
static bool is_container(const char *name, const char *of_job)
{
	const char *sub = strchr(name, ';');

	return !strcasecmp(name, of_job) ||
	       (sub && !strcasecmp(sub + 1, of_job));
}

/* Jobs tell the time of their point to the second. */
static bool has_point(const struct rsv_job *j, int64_t time_ns)
{
	return j->has_point_time &&
	       j->point_time_ns / SECOND_NS == time_ns / SECOND_NS;
}

/* Managed disks that a job made by itself have no VHDs to read. */
static bool left_vhds(const struct rsv_job *j)
{
	return is_place(j->account) && is_place(j->container) &&
	       !j->target_group;
}

static int look_in(struct rsv *r, const struct rsv_restore *one,
		   int64_t time_ns, struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	int e = rsv_get_job(r, one, &b);

	/* Gone since the list was made. */
	if (e == -ENOENT) {
		err_clear();
		return 0;
	}
	if (!e && has_point(b->data, time_ns) && left_vhds(b->data))
		*ret = take(b);
	return e;
}

int rsv_find_restored(struct rsv *r, const struct rsv_place *p, int64_t time_ns,
		      struct cache_blob **ret)
{
	DROP(cache_blob) struct cache_blob *b = NULL;
	const struct rsv_restores *l;
	char container[ARM_ID_MAX];
	int asked = 0;
	int e;

	*ret = NULL;
	if (!arm_id_part(p->item->id, "protectionContainers", container,
			 sizeof(container)))
		return 0;
	e = rsv_get_restores(r, p->vault, &b);
	if (e)
		return e;
	l = b->data;
	for (size_t i = 0; !e && !*ret && i < l->count; i++) {
		const struct rsv_restore *one = &l->v[i];

		if (one->start_ns < time_ns ||
		    !is_container(container, one->container))
			continue;
		if (asked++ == JOBS_MAX)
			break;
		e = look_in(r, one, time_ns, ret);
	}
	return e;
}
