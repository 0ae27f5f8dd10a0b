// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The input is a document: one of ours, as a vault keeps it, and, read as the user
 * gives it, also one of `az`. What was parsed is written and parsed again: that is
 * the same record.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crypt/escrow.h"
#include "backend/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(struct escrow_record *rec)
{
	DROP(escrow_record) struct escrow_record back = { 0 };
	DROP(mem) char *text = NULL;
	size_t len;
	int r = escrow_text(rec, &text, &len);

	if (r == -EFBIG)
		return;
	assert(r == 0);
	assert(escrow_parse(text, len, &back) == 0);
	assert(digest_equal(&back.digest, &rec->digest));
	assert(back.nwraps == rec->nwraps && back.part == rec->part);
	assert(!strcmp(back.file_name, rec->file_name));
	for (size_t i = 0; i < back.nwraps; i++) {
		assert(back.wraps[i].size == rec->wraps[i].size);
		assert(!memcmp(back.wraps[i].value, rec->wraps[i].value,
			       back.wraps[i].size));
	}
}

static void read_as(struct secret *text, const char *kek_url, bool plain)
{
	const struct escrow_request rq = { .what = "os",
					   .wrapped_kek_url = kek_url,
					   .plain = plain };
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *bek = NULL;
	int r = escrow_read(text, &rq, &rec, &bek);

	assert(r == 0 || r == -EPROTO || r == -EINVAL || r == -ENOTSUP ||
	       r == -EFBIG);
	assert(r == 0 || *err_text(r));
	if (r == 0)
		again(&rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *text = NULL;
	int r;

	if (size == 0 || size > SECRET_MAX)
		return 0;
	r = escrow_parse((const char *)data, size, &rec);
	assert(r == 0 || r == -EPROTO);
	assert(r == 0 || *err_text(r));
	if (r == 0)
		again(&rec);
	assert(secret_copy(data, size, &text) == 0);
	read_as(text, NULL, false);
	read_as(text, NULL, true);
	read_as(text, "https://v/keys/k/1", false);
	return 0;
}
