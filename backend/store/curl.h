// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * libcurl, loaded when the first server is asked: it brings two dozen libraries with
 * it, of which no vault in a directory needs any, and a command would spend more time on
 * loading them than on its work. After curl_load() its functions are called as ever.
 */
#pragma once
#include <curl/curl.h>

#include "backend/base/err.h"

/* Once is enough, and every time gives the same. -ENOTSUP: it is not installed. Any
 * thread. */
int curl_load(void) MUST_USE;
