// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/jobs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "backend/azure/model_impl.h"

/* --- times --- */

/* One or more digits, at most width of them, and what follows them. */
static bool us_part(const char **s, int width, char then, unsigned *v)
{
	int n = 0;

	for (*v = 0; n < width && isdigit((unsigned char)**s); n++)
		*v = *v * 10 + (unsigned)(*(*s)++ - '0');
	return n && *(*s)++ == then;
}

bool rsv_job_time(const char *text, int64_t *ns)
{
	unsigned month, day, year, hour, minute, second;
	char iso[64];
	const char *s = text;

	if (!text)
		return false;
	if (!us_part(&s, 2, '/', &month))
		return rsv_time(text, ns);
	if (!us_part(&s, 2, '/', &day) || !us_part(&s, 4, ' ', &year) ||
	    !us_part(&s, 2, ':', &hour) || !us_part(&s, 2, ':', &minute) ||
	    !us_part(&s, 2, ' ', &second) || hour < 1 || hour > 12 ||
	    (strcasecmp(s, "AM") != 0 && strcasecmp(s, "PM") != 0))
		return false;
	hour = hour % 12 + (toupper((unsigned char)*s) == 'P' ? 12 : 0);
	snprintf(iso, sizeof(iso), "%04u-%02u-%02uT%02u:%02u:%02uZ", year,
		 month, day, hour, minute, second);
	return rsv_time(iso, ns);
}

/* --- one job --- */

static enum rsv_job_state job_state(const char *s)
{
	if (!strcasecmp(s, "Completed"))
		return RSV_JOB_DONE;
	if (!strcasecmp(s, "CompletedWithWarnings"))
		return RSV_JOB_WARNED;
	if (!strcasecmp(s, "Failed") || !strcasecmp(s, "Cancelled"))
		return RSV_JOB_FAILED;
	return RSV_JOB_RUNS;
}

static unsigned percent_of(const struct json *ext)
{
	double v;

	if (!json_get_f64(ext, "progressPercentage", &v) || !(v > 0))
		return 0;
	return v > 100 ? 100 : (unsigned)v;
}

static int job_error(const struct json *p, char **to)
{
	const struct json *e = json_at(json_get(p, "errorDetails"), 0);
	const char *s = json_get_str(e, "errorString");
	const char *more =
		json_as_str(json_at(json_get(e, "recommendations"), 0));

	if (!s)
		s = json_get_str(e, "errorTitle");
	if (!s)
		return 0;
	if (asprintf(to, "%.400s%s%.300s", s, more ? " " : "",
		     more ? more : "") < 0) {
		*to = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

static int job_places(const struct json *bag, struct rsv_job *out)
{
	int r = model_copy(bag, "Target Storage Account Name", &out->account);

	if (!r)
		r = model_copy(bag, "Config Blob Container Name",
			       &out->container);
	if (!r)
		r = model_copy(bag, "Config Blob Name", &out->config);
	if (!r)
		r = model_copy(bag, "Config Blob Uri", &out->config_uri);
	if (!r)
		r = model_copy(bag, "Encryption Info Blob Name",
			       &out->encryption_blob);
	if (!r)
		r = model_copy(bag, "Create VM Template Blob Uri",
			       &out->template_uri);
	/* Its older name. */
	if (!r && !out->template_uri)
		r = model_copy(bag, "Template Blob Uri", &out->template_uri);
	return r ? r
		 : model_copy(bag, "Target resource group", &out->target_group);
}

/* The key ends with a space there; nothing promises that it always will. */
static void job_point(const struct json *bag, struct rsv_job *out)
{
	const char *s = json_get_str(bag, "Recovery point time ");

	if (!s)
		s = json_get_str(bag, "Recovery point time");
	out->has_point_time = rsv_job_time(s, &out->point_time_ns);
}

int rsv_job_parse(const struct json *j, struct rsv_job *out)
{
	const struct json *p = json_get(j, "properties");
	const struct json *ext = json_get(p, "extendedInfo");
	const struct json *tasks = json_get(ext, "tasksList");
	const char *duration = json_get_str(p, "duration");
	DROP(rsv_job) struct rsv_job got = { 0 };
	int r = model_need(p, "status", "a job", &got.status);

	if (r)
		return r;
	got.state = job_state(got.status);
	got.percent = percent_of(ext);
	/* While it runs it ended in the year 1. */
	got.has_end = rsv_time(json_get_str(p, "endTime"), &got.end_ns) &&
		      got.end_ns > 0;
	if (duration && rsv_duration_ms(duration, &got.duration_ms))
		err_clear();
	for (size_t i = 0; !r && !got.detail && i < json_len(tasks); i++)
		r = model_copy(json_at(tasks, i), "taskExecutionDetails",
			       &got.detail);
	if (!r)
		r = job_error(p, &got.error);
	if (!r)
		r = job_places(json_get(ext, "propertyBag"), &got);
	if (r)
		return r;
	job_point(json_get(ext, "propertyBag"), &got);
	*out = got;
	got = (struct rsv_job){ 0 };
	return 0;
}

void rsv_job_release(struct rsv_job *j)
{
	free(j->status);
	free(j->detail);
	free(j->error);
	free(j->account);
	free(j->container);
	free(j->config);
	free(j->config_uri);
	free(j->template_uri);
	free(j->encryption_blob);
	free(j->target_group);
	*j = (struct rsv_job){ 0 };
}

/* --- restores of a list --- */

static bool is_restore(const struct json *p)
{
	const char *what = json_get_str(p, "operation");
	const char *status = json_get_str(p, "status");
	enum rsv_job_state state;

	if (!what || !status || strcasecmp(what, "Restore") != 0)
		return false;
	state = job_state(status);
	return state == RSV_JOB_DONE || state == RSV_JOB_WARNED;
}

int rsv_restores_add(struct rsv_restores *to, const struct json *values)
{
	for (size_t i = 0; i < json_len(values); i++) {
		const struct json *j = json_at(values, i);
		const struct json *p = json_get(j, "properties");
		struct rsv_restore *one;
		int64_t start;
		int r;

		if (!is_restore(p) || !json_get_str(p, "containerName") ||
		    !rsv_time(json_get_str(p, "startTime"), &start))
			continue;
		one = MODEL_NEXT(to);
		one->start_ns = start;
		r = model_need(j, "id", "a job", &one->id);
		if (!r)
			r = model_need(j, "name", "a job", &one->name);
		if (!r)
			r = model_copy(p, "containerName", &one->container);
		if (r)
			return r;
	}
	return 0;
}

static int restore_cmp(const void *a, const void *b)
{
	const struct rsv_restore *x = a, *y = b;

	if (x->start_ns != y->start_ns)
		return x->start_ns > y->start_ns ? -1 : 1;
	return strcmp(x->name, y->name);
}

void rsv_restores_order(struct rsv_restores *l)
{
	if (l->count)
		qsort(l->v, l->count, sizeof(*l->v), restore_cmp);
}

void rsv_restores_release(struct rsv_restores *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->v[i].id);
		free(l->v[i].name);
		free(l->v[i].container);
	}
	free(l->v);
	*l = (struct rsv_restores){ 0 };
}
