// SPDX-License-Identifier: GPL-3.0-or-later
/* What escrow.c (our documents) and escrow_read.c (those of others) share. */
#pragma once
#include "crypt/escrow.h"

/* A string member, "" when it is missing. */
int escrow_string(const struct json *j, const char *key, char *out,
		  size_t size) MUST_USE;
/* The tags, and what is in them. */
int escrow_tags(const struct json *j, struct escrow_record *out) MUST_USE;
/* A wrap's value from base64. */
int escrow_wrapped(const char *text, struct wrap *out) MUST_USE;
/* Our own document. */
int escrow_own(const struct json *j, struct escrow_record *out) MUST_USE;
