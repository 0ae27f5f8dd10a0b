// SPDX-License-Identifier: GPL-3.0-or-later
/* Each parser of what Azure's services answer, by the first byte. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/credential.h"
#include "backend/azure/jobs.h"
#include "backend/azure/model.h"
#include "backend/azure/pages.h"
#include "backend/azure/restored_config.h"
#include "backend/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void names_are_good(const struct rsv_items *l)
{
	for (size_t i = 0; i < l->count; i++) {
		assert(catalog_check_name("x", l->v[i].shown,
					  strlen(l->v[i].shown)) == 0);
		assert(!i || strcmp(l->v[i - 1].shown, l->v[i].shown) <= 0);
	}
}

static void lists(const struct json *values)
{
	DROP(rsv_vaults) struct rsv_vaults v = { 0 };
	DROP(rsv_items) struct rsv_items i = { 0 };
	DROP(rsv_points) struct rsv_points p = { 0 };
	DROP(rsv_collections) struct rsv_collections c = { 0 };
	DROP(rsv_restores) struct rsv_restores jobs = { 0 };

	if (!rsv_restores_add(&jobs, values)) {
		rsv_restores_order(&jobs);
		for (size_t k = 1; k < jobs.count; k++)
			assert(jobs.v[k - 1].start_ns >= jobs.v[k].start_ns);
	}
	if (!rsv_vaults_add(&v, values) && rsv_vaults_show(&v))
		err_clear();
	if (!rsv_items_add(&i, values) && !rsv_items_show(&i))
		names_are_good(&i);
	if (!rsv_points_add(&p, values)) {
		rsv_points_order(&p);
		for (size_t k = 1; k < p.count; k++)
			assert(p.v[k - 1].time_ns < p.v[k].time_ns);
	}
	if (rsv_collections_add(&c, values))
		err_clear();
}

static void objects(struct json *j)
{
	DROP(rsv_point) struct rsv_point p = { 0 };
	DROP(rsv_settings) struct rsv_settings settings = { 0 };
	DROP(rsv_snapshots) struct rsv_snapshots s = { 0 };
	DROP(rsv_job) struct rsv_job job = { 0 };
	const char *sas;

	if (!rsv_point_parse(j, &p))
		assert(p.ndisks <= CATALOG_DISKS_MAX);
	if (rsv_settings_parse(j, &settings))
		err_clear();
	if (!rsv_snapshots_add(&s, j))
		rsv_snapshot_near(&s, 0);
	if (!rsv_job_parse(j, &job))
		assert(job.percent <= 100);
	if (!rsv_access_sas(j, &sas))
		assert(!strncasecmp(sas, "https://", 8));
}

static void list(const char *text, size_t n)
{
	DROP(json) struct json *j = NULL;
	DROP(mem) char *next = NULL;

	if (arm_parse_page(text, n, &j, &next))
		return;
	lists(json_get(j, "value"));
}

static void object(const char *text, size_t n)
{
	DROP(json) struct json *j = NULL;

	if (json_parse(text, n, ARM_DEPTH, &j) == 0)
		objects(j);
}

static void ranges(const char *text, size_t n)
{
	DROP(page_ranges) struct page_ranges l = { 0 };
	DROP(buf) struct buf marker = BUF_INIT(4096);
	const uint64_t end = UINT64_C(1) << 40;
	uint64_t at = 0;

	if (page_ranges_parse(text, n, 0, end, 1000, &l, &marker))
		return;
	for (size_t i = 0; i < l.count; i++) {
		assert(l.v[i].len && l.v[i].off >= at);
		at = l.v[i].off + l.v[i].len;
		assert(at <= end);
	}
}

static void config(const char *text, size_t n)
{
	DROP(rsv_config) struct rsv_config c = { 0 };
	DROP(rsv_key) struct rsv_key k = { 0 };

	if (!rsv_config_parse(text, n, &c))
		assert(c.ndisks <= CATALOG_DISKS_MAX);
	if (rsv_encryption_info_parse(text, n, &k))
		err_clear();
}

static void words(const char *text, size_t n)
{
	DROP(mem) char *copy = strndup(text, n);
	DROP(grant) struct grant g = { 0 };
	DROP(buf) struct buf why = BUF_INIT(1024);
	char fold[ARM_ID_MAX];
	uint64_t ms;
	int64_t ns;

	assert(copy);
	if (rsv_duration_ms(copy, &ms))
		err_clear();
	rsv_time(copy, &ns);
	if (!arm_id_fold(copy, fold))
		assert(arm_id_equal(copy, fold));
	arm_same_host(copy, "https://management.azure.com");
	arm_id_part(copy, "vaults", fold, sizeof(fold));
	if (!grant_parse(text, n, 0, &g))
		assert(secret_size(g.token));
	grant_error(text, n, &why);
	assert(arm_failed("x", 404, text, n) == -ENOENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *, size_t) = {
		list, object, ranges, config, words,
	};
	char *text;

	if (!size)
		return 0;
	/* Of exactly its size, so that a read beyond it is seen. */
	text = malloc(size > 1 ? size - 1 : 1);
	assert(text);
	memcpy(text, data + 1, size - 1);
	parsers[data[0] % ARRAY_SIZE(parsers)](text, size - 1);
	free(text);
	return 0;
}
