// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * SharedKey of Azure Storage: the Authorization of one request. Pure: what is
 * signed is the try as it goes out, so it is the last thing done to it.
 *
 * https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/base/secret.h"
#include "backend/store/http.h"

/* What is signed. The path and query are those of the URL; with the account in
 * an emulator's path it stands there twice, as it must. Each query key once. */
int sign_azure_text(const struct http_wire *w, const char *account,
		    struct buf *out) MUST_USE;
/* Sets Authorization. key: the account's, decoded. x-ms-date must be set. */
int sign_azure(struct http_wire *w, const char *account,
	       struct secret *key) MUST_USE;
