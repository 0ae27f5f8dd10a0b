// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * listing: what object stores answer, read: List Blobs of Azure, ListObjectsV2
 * of S3, and the errors of both. Bytes of a server: bounded, -EPROTO with a
 * sentence. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/scope.h"

struct listing {
	struct listing_item {
		char *name; /* never empty, no NUL */
		uint64_t size;
		int64_t modified_s; /* since 1970; 0: not told */
		bool folder;	    /* a common prefix */
	} * items;
	size_t count;
	char *marker; /* where Azure's next page begins; NULL: this is the last */
	bool truncated; /* S3: there are more */
};

int listing_parse_azure(const char *text, size_t len,
			struct listing *out) MUST_USE;
int listing_parse_s3(const char *text, size_t len,
		     struct listing *out) MUST_USE;
void listing_release(struct listing *l);
static inline void drop_listing(struct listing *l)
{
	listing_release(l);
}

#define LISTING_CODE_MAX 64
/* The <Code> of an <Error>, of both kinds; "" if it is none. Bytes that are no
 * letters or digits are left out. */
void listing_error_code(const char *text, size_t len,
			char out[static LISTING_CODE_MAX]);
/* <LastSyncTime> of Azure's service statistics, in seconds since 1970; -EPROTO
 * if it is not there. */
int listing_parse_sync(const char *text, size_t len, int64_t *out_s) MUST_USE;
