// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What says how a VM's disks were encrypted and with which key, by the first byte: the
 * config of a restore job (UTF-16LE or UTF-8, padded), its encryption info, the settings
 * of a disk in each of their forms. What was read must hold what its headers say.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/azure/arm.h"
#include "backend/azure/restored_config.h"
#include "backend/azure/settings.h"
#include "backend/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A failure is one of two, and has its sentence. */
static int checked(int r)
{
	assert(r == 0 || r == -EPROTO || r == -ENOMEM);
	assert(!r || *err_text(r));
	return r;
}

static void check_settings(const struct rsv_settings *s)
{
	DROP(rsv_settings) struct rsv_settings copy = { 0 };

	assert(s->count <= 128);
	for (size_t i = 0; i < s->count; i++) {
		assert(*s->v[i].secret_url);
		assert(rsv_settings_have(s, s->v[i].secret_url));
	}
	/* Each secret is there once: none is lost in a copy. */
	assert(!checked(rsv_settings_copy(s, &copy)));
	assert(copy.count == s->count);
	for (size_t i = 0; i < s->count; i++)
		assert(!strcmp(copy.v[i].secret_url, s->v[i].secret_url) &&
		       !copy.v[i].key_url == !s->v[i].key_url);
}

static void config(const char *text, size_t n)
{
	DROP(rsv_config) struct rsv_config c = { 0 };

	if (checked(rsv_config_parse(text, n, &c))) {
		assert(!c.disks && !c.vm && !c.keys.v);
		return;
	}
	assert(c.ndisks <= CATALOG_DISKS_MAX);
	check_settings(&c.keys);
}

static void info(const char *text, size_t n)
{
	DROP(rsv_key) struct rsv_key k = { 0 };

	if (checked(rsv_encryption_info_parse(text, n, &k))) {
		assert(!k.secret_url && !k.bek && !k.key_backup);
		return;
	}
	/* One that is wrapped stays text, one that is not is locked away. */
	assert(!k.bek || !k.secret_data);
	assert(!k.bek || secret_size(k.bek));
	assert(!k.key_url || !k.bek);
}

static void settings(const char *text, size_t n, bool of_disk)
{
	DROP(secret_json) struct json *j = NULL;
	DROP(rsv_settings) struct rsv_settings s = { 0 };

	if (checked(json_parse_secret(text, n, ARM_DEPTH, &j)))
		return;
	/* What was added before a failure stays, and is sound. */
	checked(of_disk ? rsv_settings_parse(j, &s) : rsv_settings_add(&s, j));
	check_settings(&s);
	if (!of_disk) {
		size_t before = s.count;

		/* A second time adds nothing. */
		checked(rsv_settings_add(&s, j));
		assert(s.count == before);
	}
}

static void managed_disk(const char *text, size_t n)
{
	settings(text, n, true);
}

static void any_form(const char *text, size_t n)
{
	settings(text, n, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *, size_t) = {
		config,
		info,
		managed_disk,
		any_form,
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
