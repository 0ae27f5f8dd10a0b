// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * azure_blob: what is in a container besides the objects of a vault: blobs of any kind
 * and size, read by whoever has requests of his own for them.
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/store/http.h"
#include "backend/store/store.h"

/* Appends the URL of a key; with its SAS, where the store has one: then it is a
 * secret. -ENOTSUP: it is no store of Azure. */
int store_azure_url(struct store *s, const char *key, struct buf *out) MUST_USE;
/* The client of its requests, borrowed; NULL: it is no store of Azure. */
struct http *store_azure_http(struct store *s);
/* For http_request.prepare: date and signature of a try at such a URL. */
int store_azure_let_in(struct store *s, struct http_wire *w) MUST_USE;
