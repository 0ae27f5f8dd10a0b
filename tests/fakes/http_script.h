// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A server on loopback that answers request after request with the next line of
 * a script, byte for byte as it stands there: what no real server can be made
 * to say. Several connections at once; each request takes the next step.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "backend/base/scope.h"

enum http_then {
	THEN_KEEP,
	THEN_CLOSE, /* after the answer */
	THEN_RESET, /* with a TCP reset */
	THEN_HANG,  /* the connection stays open, and nothing more comes */
	THEN_DRIP,  /* the answer itself goes out a byte at a time, slowly */
};

struct http_step {
	const char *expect; /* words that the request must have; NULL: any */
	const char *answer; /* NULL: none */
	size_t len;	    /* 0: strlen(answer) */
	enum http_then then;
};

struct http_script;
/* steps are borrowed; a request after the last of them gets 599. */
int http_script_start(const struct http_step *steps, size_t n,
		      struct http_script **ret) MUST_USE;
/* "http://127.0.0.1:PORT" */
const char *http_script_url(const struct http_script *s);
/* How many requests came, and the text of one of them (head and body). */
size_t http_script_count(struct http_script *s);
const char *http_script_request(struct http_script *s, size_t i);
void http_script_stop(struct http_script *s);
DROP_DEFINE(http_script, struct http_script *, http_script_stop)
