// SPDX-License-Identifier: GPL-3.0-or-later
/* What Key Vault says: challenges, refusals, values; and addresses of records. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backend/base/err.h"
#include "crypt/keyvault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(mem) char *text = strndup((const char *)data, size);
	DROP(mem) char *copy = malloc(size ? size : 1);
	DROP(secret) struct secret *s = NULL;
	struct kv_url u = { .kind = KV_KEY, .host = "h", .name = "n" }, v;
	struct kv_challenge c;

	assert(text && copy);
	if (size)
		memcpy(copy, data, size);
	assert(kv_failed(&u, "get", 403, copy, size) == -EACCES);
	if (!kv_url_parse(text, &v))
		assert(*v.host && kv_url_same_object(&v, &v));
	if (!kv_challenge_parse(text, &c)) {
		assert(*c.tenant && !strncasecmp(c.resource, "https://", 8));
		assert(!kv_challenge_fits(&c, c.resource + 8));
	}
	if (!kv_cut_value(copy, size, &s))
		assert(secret_size(s) <= size);
	err_clear();
	return 0;
}
