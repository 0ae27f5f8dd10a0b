// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is a name as it is, a name as keys have it, and the end of a key. Only the one
 * written form of a name is read.
 */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

static void as_written(const char *text, size_t n)
{
	char name[CATALOG_NAME_MAX + 1], again[CATALOG_NAME_MAX + 1];

	if (fuzz_checked(vf_name_decode(text, n, name)))
		return;
	assert(vf_name_encode(name, again) == 0);
	assert(strlen(again) == n && !memcmp(again, text, n));
	for (size_t i = 0; i < n; i++)
		assert(text[i] > ' ' && text[i] < 0x7f && text[i] != '/');
}

static void as_it_is(const char *name)
{
	char text[CATALOG_NAME_MAX + 1], again[CATALOG_NAME_MAX + 1];
	int r = vf_name_encode(name, text);

	assert(r == 0 || r == -EINVAL);
	if (r)
		return;
	assert(vf_name_decode(text, strlen(text), again) == 0);
	assert(strcmp(again, name) == 0);
}

static void as_end_of_key(const char *text)
{
	char key[VF_KEY_SIZE];
	struct point_id gen;
	uint64_t n;

	if (!fuzz_checked(vf_key_inverse(text, &n))) {
		vf_key_config(key, n);
		assert(strcmp(key + strlen("h/"), text) == 0);
	}
	if (!fuzz_checked(vf_key_parse_gen(text, &gen))) {
		vf_key_gen(key, "v", 'p', &gen);
		assert(strcmp(key + strlen("V/v/p/"), text) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) char *text = strndup(size ? (const char *)data : "", size);

	assert(text);
	as_written((const char *)data, size);
	as_it_is(text);
	as_end_of_key(text);
	return 0;
}
