// SPDX-License-Identifier: GPL-3.0-or-later
/* What is pure in backend/azure/: words, ids, pages of lists, page ranges. */
#include "backend/azure/model.h"

#include <errno.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/credential.h"
#include "backend/azure/jobs.h"
#include "backend/azure/pages.h"
#include "backend/azure/restored_config.h"
#include "backend/azure/rsv.h"
#include "tests/unit/check.h"

static struct json *parsed(const char *text)
{
	struct json *j;

	CHECK_OK(json_parse(text, strlen(text), ARM_DEPTH, &j));
	return j;
}

static void test_durations(void)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{ "PT30M46.6954998S", 1846695 },
		{ "PT0S", 0 },
		{ "P1DT2H", 93600000 },
		{ "00:20:23.0896697", 1223089 },
		{ "1.02:03:04", 93784000 },
		{ "PT100H", 360000000 },
	};
	static const char *const bad[] = { "",	  "P",	      "PT1X",
					   "1:2", "PT1.5.2S", "00:00:00x",
					   "P1Y", "20",	      "PT-1S" };
	uint64_t ms;
	int64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_OK(rsv_duration_ms(good[i].text, &ms));
		CHECK_U64(ms, good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (*bad[i] != 'P' || strlen(bad[i]) > 1)
			CHECK_FAILS(-EINVAL, rsv_duration_ms(bad[i], &ms));
	}
	CHECK(!rsv_time("0001-01-01T00:00:00", &ns));
	CHECK(!rsv_time(NULL, &ns) && !rsv_time("yesterday", &ns));
	CHECK(rsv_time("2026-07-25T08:59:25.6678121Z", &ns));
	CHECK_U64(ns % 1000000000, 667812100);
	CHECK(rsv_time("2026-07-25T08:59:25", &ns));
}

static void check_job_end(const char *text, bool has, int64_t end_ns)
{
	DROP(json) struct json *j = NULL;
	DROP(rsv_job) struct rsv_job job = { 0 };

	CHECK_OK(json_parse(text, strlen(text), 8, &j));
	CHECK_OK(rsv_job_parse(j, &job));
	CHECK(job.has_end == has);
	CHECK(!has || job.end_ns == end_ns);
}

/* One that runs ended in the year 1, and does not say in which zone. */
static void test_job_end(void)
{
	check_job_end("{\"properties\":{\"status\":\"Completed\",\"endTime\":"
		      "\"2026-07-26T13:47:41.8Z\"}}",
		      true, INT64_C(1785073661800000000));
	check_job_end("{\"properties\":{\"status\":\"InProgress\",\"endTime\":"
		      "\"0001-01-01T00:00:00\"}}",
		      false, 0);
	check_job_end("{\"properties\":{\"status\":\"Completed\"}}", false, 0);
}

static void test_job_times(void)
{
	static const char *const bad[] = {
		"13/26/2026 1:16:55 PM", "7/26/2026 13:16:55 PM",
		"7/26/2026 0:16:55 AM",	 "7/26/2026 1:16:55",
		"7/26/2026 1:16:55 XM",	 "/26/2026 1:16:55 PM",
		"7/26/2026 1:16:55 PM.", ""
	};
	int64_t a, b;

	CHECK(rsv_job_time("7/26/2026 1:16:55 PM", &a));
	CHECK(rsv_time("2026-07-26T13:16:55Z", &b));
	CHECK_U64(a, b);
	CHECK(rsv_job_time("12/1/2026 12:00:01 AM", &a));
	CHECK(rsv_job_time("2026-12-01T00:00:01Z", &b));
	CHECK_U64(a, b);
	CHECK(!rsv_job_time(NULL, &a));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!rsv_job_time(bad[i], &a));
}

static void test_ids(void)
{
	char out[ARM_ID_MAX], small[4];
	static const char id[] =
		"/Subscriptions//subscriptions/S/protectionContainers/"
		"IaasVMContainer;iaasvmcontainerv2;rg;vm/protectedItems/VM;x";

	CHECK(arm_id_equal("/subscriptions/A//b/", "/SUBSCRIPTIONS/a/B"));
	CHECK(!arm_id_equal("/a/b", "/a/bc"));
	CHECK(!arm_id_equal("/a/b", "/a/b/c"));
	CHECK_OK(arm_id_fold("/A//B/", out));
	CHECK_STR(out, "/a/b");
	CHECK(arm_id_part(id, "protectioncontainers", out, sizeof(out)));
	CHECK_STR(out, "IaasVMContainer;iaasvmcontainerv2;rg;vm");
	CHECK(arm_id_part(id, "protectedItems", out, sizeof(out)));
	CHECK_STR(out, "VM;x");
	CHECK(!arm_id_part(id, "vaults", out, sizeof(out)));
	CHECK(!arm_id_part(id, "protectionContainers", small, sizeof(small)));

	CHECK(arm_same_host("https://A.b/c?d", "https://a.B:443/"));
	CHECK(!arm_same_host("https://a.b/", "http://a.b/"));
	CHECK(!arm_same_host("https://a.b/", "https://a.b.c/"));
	CHECK(!arm_same_host("https://a.b@evil/", "https://a.b/"));
	CHECK(!arm_same_host("https://a.b:444/", "https://a.b/"));
	CHECK(!arm_same_host("https://evil\\@a.b/", "https://a.b/"));
}

static void test_addresses(void)
{
	static const char sub[] = "11111111-2222-3333-4444-555555555555";
	static const char *const bad[] = {
		"azure-rsv:",
		"azure-rsv:x",
		"azure-rsv:/subscriptions/x",
		"azure-rsv:/subscriptions/11111111-2222-3333-4444-555555555555/"
		"resourceGroups/g/providers/Microsoft.Compute/vaults/v",
		"azure-rsv:/subscriptions/11111111-2222-3333-4444-555555555555/"
		"resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/"
		"v/backupJobs",
		"azure-rsv:/subscriptions/11111111-2222-3333-4444-555555555555/"
		"resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/"
		"v?x",
	};
	struct rsv_address a;

	CHECK_OK(rsv_address_parse(
		"azure-rsv:11111111-2222-3333-4444-555555555555", &a));
	CHECK_STR(a.subscription, sub);
	CHECK_STR(a.vault, "");
	CHECK_OK(rsv_address_parse(
		"azure-rsv:/subscriptions/11111111-2222-3333-4444-555555555555/"
		"resourcegroups/g/providers/microsoft.recoveryservices/vaults/"
		"v/",
		&a));
	CHECK_STR(a.subscription, sub);
	CHECK(*a.vault);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_FAILS(-EINVAL, rsv_address_parse(bad[i], &a));
}

/* As it was recorded in July 2026, with a key as the specification has it. */
static const char live[] =
	"{\"id\":\"/x/recoveryPoints/1\",\"name\":\"1\",\"properties\":{"
	"\"objectType\":\"IaasVMRecoveryPoint\",\"recoveryPointType\":"
	"\"AppConsistent\",\"recoveryPointTime\":"
	"\"2026-07-25T08:59:25.6678121Z\",\"recoveryPointAdditionalInfo\":\"\","
	"\"isSourceVMEncrypted\":true,\"recoveryPointTierDetails\":["
	"{\"type\":\"InstantRP\",\"status\":\"Valid\"},"
	"{\"type\":\"HardenedRP\",\"status\":\"Valid\"}],"
	"\"keyAndSecret\":{\"kekDetails\":null,\"bekDetails\":{\"secretUrl\":"
	"\"https://v/secrets/s/1\",\"secretVaultId\":\"i\",\"secretData\":\"\"},"
	"\"encryptionMechanism\":\"SinglePass\"},\"osType\":\"Windows\","
	"\"recoveryPointProperties\":{\"expiryTime\":\"2026-08-25T00:00:00Z\"},"
	"\"isPrivateAccessEnabledOnAnyDisk\":false}}";

static void test_points(void)
{
	DROP(json) struct json *j = parsed(live);
	DROP(rsv_point) struct rsv_point p = { 0 }, old = { 0 }, sql = { 0 };
	DROP(json)
	struct json *numbers = parsed(
		"{\"name\":\"2\",\"properties\":{\"recoveryPointTime\":"
		"\"2019-01-02T03:04:05\",\"recoveryPointType\":"
		"\"CrashConsistent\",\"recoveryPointTierDetails\":[{\"type\":1,"
		"\"status\":3},{\"type\":2,\"status\":1}],"
		"\"recoveryPointDiskConfiguration\":{\"includedDiskList\":["
		"{\"lun\":-1,\"name\":\"o\"},{\"lun\":3,\"name\":null},"
		"{\"lun\":3000},{}]}}}");
	DROP(json)
	struct json *database = parsed(
		"{\"name\":\"3\",\"properties\":{\"objectType\":"
		"\"AzureWorkloadSQLRecoveryPoint\",\"recoveryPointTimeInUTC\":"
		"\"2019-01-02T03:04:05.5Z\",\"type\":\"Full\"}}");
	DROP(json)
	struct json *timeless =
		parsed("{\"name\":\"4\",\"properties\":{\"recoveryPointTime\":"
		       "\"0001-01-01T00:00:00\"}}");

	CHECK_OK(rsv_point_parse(j, &p));
	CHECK_U64(p.tiers, RSV_TIER_SNAPSHOT | RSV_TIER_VAULT);
	CHECK_STR(rsv_tier_text(p.tiers), "snapshot and vault-standard");
	CHECK(p.consistency == CONSISTENCY_APPLICATION && p.encrypted);
	CHECK(p.has_key && p.expiry_ns && !p.knows_disks);
	CHECK_STR(p.key.secret_url, "https://v/secrets/s/1");
	CHECK(!p.key.key_url && !p.key.secret_data);

	CHECK_OK(rsv_point_parse(numbers, &old));
	CHECK_U64(old.tiers, RSV_TIER_VAULT);
	CHECK_U64(old.ndisks, 2);
	CHECK(old.disks[0].lun == -1 && old.disks[1].lun == 3);

	CHECK_OK(rsv_point_parse(database, &sql));
	CHECK(sql.time_ns % 1000000000 == 500000000);
	CHECK_SAYS(-EPROTO, "has no time", rsv_point_parse(timeless, &sql));
}

static void test_order(void)
{
	DROP(rsv_points) struct rsv_points l = { 0 };
	DROP(json)
	struct json *j = parsed(
		"[{\"name\":\"b\",\"properties\":{\"recoveryPointTime\":"
		"\"2020-01-01T00:00:00Z\"}},{\"name\":\"a\",\"properties\":{"
		"\"recoveryPointTime\":\"2020-01-01T00:00:00Z\"}},{\"name\":"
		"\"c\",\"properties\":{\"recoveryPointTime\":"
		"\"2019-01-01T00:00:00Z\"}},{\"name\":\"c\",\"properties\":{"
		"\"recoveryPointTime\":\"2019-01-01T00:00:00Z\"}}]");

	CHECK_OK(rsv_points_add(&l, j));
	rsv_points_order(&l);
	CHECK_U64(l.count, 3);
	CHECK_STR(l.v[0].name, "c");
	CHECK_STR(l.v[1].name, "a");
	CHECK(l.v[2].time_ns == l.v[1].time_ns + 1);
}

static void test_names(void)
{
	DROP(rsv_items) struct rsv_items l = { 0 };
	DROP(json)
	struct json *j = parsed(
		"[{\"id\":\"/a\",\"properties\":{\"friendlyName\":\"web\"}},"
		"{\"id\":\"/b\",\"properties\":{\"friendlyName\":\"WEB\"}},"
		"{\"id\":\"/A\",\"properties\":{\"friendlyName\":\"web\"}},"
		"{\"id\":\"/c\",\"properties\":{\"friendlyName\":\"..\"}},"
		"{\"id\":\"/d/x;y\",\"properties\":{}}]");
	DROP(rsv_items) struct rsv_items bad = { 0 };
	DROP(json) struct json *none = parsed("[{\"properties\":{}}]");

	CHECK_OK(rsv_items_add(&l, j));
	CHECK_OK(rsv_items_show(&l));
	/* One of them came twice. */
	CHECK_U64(l.count, 4);
	for (size_t i = 0; i < l.count; i++) {
		CHECK_OK(catalog_check_name("x", l.v[i].shown,
					    strlen(l.v[i].shown)));
		CHECK(!i || strcmp(l.v[i - 1].shown, l.v[i].shown) < 0);
		if (strcasecmp(l.v[i].name, "web") == 0)
			CHECK(l.v[i].shown[3] == '~' &&
			      strlen(l.v[i].shown) == 8);
	}
	CHECK_SAYS(-EPROTO, "without \"id\"", rsv_items_add(&bad, none));
}

static void test_snapshots(void)
{
	DROP(rsv_snapshots) struct rsv_snapshots l = { 0 };
	DROP(json)
	struct json *j = parsed(
		"{\"properties\":{\"restorePoints\":[{\"id\":\"/r/1\","
		"\"properties\":{\"timeCreated\":\"2020-01-01T00:10:00Z\","
		"\"provisioningState\":\"Succeeded\",\"sourceMetadata\":{"
		"\"storageProfile\":{\"osDisk\":{\"name\":\"o\",\"diskSizeGB\":"
		"127,\"diskRestorePoint\":{\"id\":\"/d\"}},\"dataDisks\":["
		"{\"lun\":2,\"name\":\"x\"},{\"lun\":1,\"diskSizeGB\":1,"
		"\"diskRestorePoint\":{\"id\":\"/e\"}}]}}}},{\"id\":\"/r/2\","
		"\"properties\":{\"timeCreated\":\"2020-01-01T00:00:01Z\","
		"\"provisioningState\":\"Creating\"}}]}}");
	int64_t t;

	CHECK_OK(rsv_snapshots_add(&l, j));
	CHECK_U64(l.count, 2);
	/* One was left out of the backup. */
	CHECK_U64(l.v[0].ndisks, 2);
	CHECK_U64(l.v[0].disks[0].size, UINT64_C(127) << 30);
	CHECK(rsv_time("2020-01-01T00:00:00Z", &t));
	CHECK(rsv_snapshot_near(&l, t) == &l.v[0]);
	CHECK(!rsv_snapshot_near(&l, t - 2 * RSV_NEAR_NS));
	CHECK(!rsv_snapshot_near(&l, INT64_MIN));
}

static void test_config(void)
{
	static const char text[] =
		"{\"name\":\"vm\xc3\xa4\",\"properties.storageProfile\":{"
		"\"osDisk\":{\"name\":\"o\",\"vhd\":{\"Uri\":\"https://a/b/c\"}},"
		"\"dataDisks\":[{\"Lun\":4,\"Vhd\":{\"uri\":\"https://a/b/d\"}}]"
		"}}";
	uint8_t wide[1024] = { 0 };
	size_t n = 0;
	DROP(rsv_config) struct rsv_config a = { 0 }, b = { 0 };

	CHECK_OK(rsv_config_parse(text, strlen(text), &a));
	CHECK_U64(a.ndisks, 2);
	CHECK(a.disks[0].lun == -1 && a.disks[1].lun == 4);
	for (const char *s = text; *s; s++) {
		/* The one character that is not ASCII: U+00E4. */
		wide[n] = (uint8_t)*s == 0xc3 ? 0xe4 : (uint8_t)*s;
		s += (uint8_t)*s == 0xc3;
		n += 2;
	}
	CHECK_OK(rsv_config_parse(wide, sizeof(wide), &b));
	CHECK_STR(b.vm, "vm\xc3\xa4");
	CHECK_STR(b.disks[1].uri, "https://a/b/d");
	CHECK_FAILS(-EPROTO, rsv_config_parse("{}", 2, &b));
}

static void test_encryption_info(void)
{
	static const char text[] =
		"{\"OsDiskKeyAndSecretDetails\":{\"SecretUrl\":"
		"\"https://v/secrets/s/1\",\"secretData\":\"AAEC\","
		"\"KeyBackupData\":\"AQID\",\"KeyUrl\":null}}";
	DROP(rsv_key) struct rsv_key k = { 0 };

	CHECK_OK(rsv_encryption_info_parse(text, strlen(text), &k));
	CHECK_STR(k.secret_url, "https://v/secrets/s/1");
	CHECK_STR((char *)secret_bytes(k.key_backup), "AQID");
	/* No key wrapped it: it is not kept as text. */
	CHECK(!k.key_url && !k.secret_data);
	CHECK(k.bek && secret_size(k.bek) == 3);
	CHECK(!memcmp(secret_bytes(k.bek), "\x00\x01\x02", 3));
	CHECK_FAILS(-EPROTO, rsv_encryption_info_parse("{}", 2, &k));
}

static void test_settings(void)
{
	DROP(json)
	struct json *disk = parsed(
		"{\"properties\":{\"encryptionSettingsCollection\":{\"enabled\":"
		"true,\"encryptionSettings\":[{\"diskEncryptionKey\":{"
		"\"secretUrl\":\"https://v/secrets/c/1\"},"
		"\"keyEncryptionKey\":{\"keyUrl\":\"https://v/keys/k/1\"}},"
		"{\"diskEncryptionKey\":{\"secretUrl\":"
		"\"https://v/secrets/d/1\"},\"keyEncryptionKey\":null},{},"
		"{\"diskEncryptionKey\":{\"secretUrl\":"
		"\"https://V/secrets/C/1\"}}]}}}");
	DROP(json)
	struct json *one = parsed("{\"DiskEncryptionKey\":{\"SecretUrl\":"
				  "\"https://v/secrets/e/1\"}}");
	DROP(json) struct json *none = parsed("{}");
	DROP(buf) struct buf many = BUF_INIT(65536);
	DROP(rsv_settings) struct rsv_settings s = { 0 }, t = { 0 }, u = { 0 };
	DROP(json) struct json *too_many = NULL;

	CHECK_OK(rsv_settings_parse(disk, &s));
	CHECK_U64(s.count, 2);
	CHECK_STR(s.v[0].key_url, "https://v/keys/k/1");
	CHECK_STR(s.v[1].secret_url, "https://v/secrets/d/1");
	CHECK(!s.v[1].key_url);
	CHECK_OK(rsv_settings_copy(&s, &t));
	CHECK_OK(rsv_settings_add(&t, one));
	CHECK_OK(rsv_settings_add(&t, none));
	CHECK_OK(rsv_settings_add(&t, NULL));
	CHECK_U64(t.count, 3);
	CHECK(rsv_settings_have(&t, "https://v/secrets/E/1"));
	CHECK(!rsv_settings_have(&t, "https://v/secrets/f/1"));
	CHECK(!rsv_settings_have(&t, NULL));
	buf_str(&many, "[");
	for (int i = 0; i < 129; i++)
		buf_printf(&many,
			   "%s{\"diskEncryptionKey\":{\"secretUrl\":\"%d\"}}",
			   i ? "," : "", i);
	buf_str(&many, "]");
	too_many = parsed(buf_cstr(&many));
	CHECK_SAYS(-EPROTO, "more than 128 keys",
		   rsv_settings_add(&u, too_many));
}

static void test_pages(void)
{
	DROP(json) struct json *j = NULL;
	DROP(mem) char *next = NULL;
	static const char last[] = "{\"value\":[],\"nextLink\":null}";
	static const char more[] = "{\"value\":[],\"nextLink\":\"https://x/\"}";
	static const char *const bad[] = { "{}", "{\"value\":\"x\"}",
					   "{\"value\":{}}", "[]", "" };

	CHECK_OK(arm_parse_page(last, strlen(last), &j, &next));
	CHECK(!next);
	json_close(take(j));
	CHECK_OK(arm_parse_page(more, strlen(more), &j, &next));
	CHECK_STR(next, "https://x/");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json *k;
		char *n;

		CHECK_FAILS(-EPROTO,
			    arm_parse_page(bad[i], strlen(bad[i]), &k, &n));
	}
}

#define LIST(x)                                                                \
	"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<PageList>" x "</PageList>"
#define RANGE(a, b)                                                            \
	"<PageRange><Start>" a "</Start><End>" b "</End></PageRange>"

static int ranges(const char *text, struct page_ranges *l, struct buf *marker)
{
	return page_ranges_parse(text, strlen(text), 0, 1 << 20, 4, l, marker);
}

static void test_ranges(void)
{
	DROP(page_ranges) struct page_ranges l = { 0 };
	DROP(buf) struct buf marker = BUF_INIT(100);
	static const char *const bad[] = {
		"",
		"<x/>",
		LIST(RANGE("0", "510")),
		LIST(RANGE("512", "511")),
		LIST(RANGE("512", "1023") RANGE("0", "511")),
		LIST(RANGE("1048576", "1049087")),
		LIST("<PageRange>"),
		LIST(RANGE("0", "99999999999999999999999")),
		LIST(RANGE("", "511")),
		LIST("") "x",
		"<PageList>" RANGE("0", "511"),
	};

	CHECK_OK(ranges(LIST(RANGE("0", "511") RANGE("512", "1023") RANGE(
				"4096", "4607") "<NextMarker>m</NextMarker>"),
			&l, &marker));
	CHECK_U64(l.count, 2);
	CHECK_U64(l.v[0].len, 1024);
	CHECK_STR(buf_cstr(&marker), "m");
	buf_reset(&marker);
	CHECK_OK(ranges("<PageList />", &l, &marker));
	page_ranges_release(&l);
	CHECK_OK(ranges(LIST("<ClearRange><Start>0</Start><End>511</End>"
			     "</ClearRange><NextMarker/>"),
			&l, &marker));
	CHECK(l.count == 1 && l.v[0].clear && !marker.len);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		page_ranges_release(&l);
		buf_reset(&marker);
		CHECK_FAILS(-EPROTO, ranges(bad[i], &l, &marker));
	}
	page_ranges_release(&l);
	CHECK_FAILS(-EFBIG,
		    ranges(LIST(RANGE("0", "511") RANGE("1024", "1535") RANGE(
				   "2048", "2559") RANGE("3072", "3583")
					RANGE("4096", "4607")),
			   &l, &marker));
}

static void check_token(struct secret *got, const char *want)
{
	CHECK_U64(secret_size(got), strlen(want));
	CHECK_MEM(secret_bytes(got), want, strlen(want));
}

static void test_grants(void)
{
	static const char *const bad[] = {
		"",
		"{}",
		"{\"access_token\":\"\"}",
		"{\"access_token\":1}",
		"{\"access_token\":\"a\\nb\"}",
	};
	static const char entra[] =
		"{\"token_type\":\"Bearer\",\"expires_in\":3599,"
		"\"access_token\":\"t1\"}";
	static const char imds[] =
		"{\"access_token\":\"t2\",\"expires_in\":\"100\","
		"\"expires_on\":\"1\",\"refresh_token\":\"\"}";
	static const char cli[] =
		"{\"accessToken\":\"t3\",\"expires_on\":1500,\"expiresOn\":"
		"\"2026-01-01 00:00:00.000000\",\"tenant\":\"x\"}";
	static const char *const paths[] = {
		"/var/opt/azcmagent/tokens/../x.key",
		"/etc/shadow.key",
		"/var/opt/azcmagent/tokens/a/b.key",
		"/var/opt/azcmagent/tokens/x",
		"/var/opt/azcmagent/tokens/.key",
		"",
	};
	DROP(grant) struct grant a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	DROP(buf) struct buf why = BUF_INIT(500);
	static const char error[] =
		"{\"error\":\"invalid_client\",\"error_description\":"
		"\"AADSTS1: no.\\r\\nTrace ID: 1\"}";

	CHECK_OK(grant_parse(entra, strlen(entra), 1000, &a));
	check_token(a.token, "t1");
	CHECK_U64(a.life_s, 3599);
	CHECK_OK(grant_parse(imds, strlen(imds), 1000, &b));
	CHECK_U64(b.life_s, 100);
	CHECK_OK(grant_parse(cli, strlen(cli), 1000, &c));
	CHECK_U64(c.life_s, 500);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_FAILS(-EPROTO,
			    grant_parse(bad[i], strlen(bad[i]), 0, &d));
	grant_error(error, strlen(error), &why);
	CHECK_STR(buf_cstr(&why), ": invalid_client: AADSTS1: no.");
	CHECK(credential_arc_path_ok("/var/opt/azcmagent/tokens/x.key"));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		CHECK(!credential_arc_path_ok(paths[i]));
}

int main(void)
{
	test_durations();
	test_job_times();
	test_job_end();
	test_ids();
	test_addresses();
	test_points();
	test_order();
	test_names();
	test_snapshots();
	test_config();
	test_encryption_info();
	test_settings();
	test_pages();
	test_ranges();
	test_grants();
	return 0;
}
