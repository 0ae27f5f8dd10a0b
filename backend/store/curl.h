// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * libcurl, loaded when the first server is asked: it brings two dozen libraries with
 * it, of which no vault in a directory needs any, and a command would spend more time on
 * loading them than on its work. After curl_load() its functions are called as ever.
 */
#pragma once
#include <curl/curl.h>
#include <stdbool.h>

#include "backend/base/err.h"

/* Once is enough, and every time gives the same. -ENOTSUP: it is not installed. Any
 * thread. */
int curl_load(void) MUST_USE;

/* As curl_global_init(), once: its memory is ours, so that it can be wiped. */
CURLcode curl_start(void);
/* What libcurl frees, and outgrows, in this thread from now on is wiped, or not. */
void curl_wiping(bool on);

/* It was built with OpenSSL, so that CURLOPT_SSL_CTX_FUNCTION hands out an SSL_CTX. */
bool curl_has_openssl(void);
/* Connections of this SSL_CTX wipe what they have decrypted once it is read: else a
 * copy of the last record stays in OpenSSL's buffer. */
void curl_tls_forget(void *ssl_ctx);
