// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * arm: calls of Azure Resource Manager: JSON in, JSON out, a bearer token for its
 * audience, lists followed page by page, long-running operations.
 *
 * The rules of the wire are in the specifications of ARM and were checked against
 * recordings: a list is {"value":[…],"nextLink":URL or null or absent}; an error is
 * {"error":{"code","message"}}; 202 gives Azure-AsyncOperation (a status) and
 * Location (the result), which may be 4 KiB long. A URL that the service gives is
 * followed only to the same scheme, host and port.
 *
 * No answer is left in memory: pages of lists, which are large, and other answers come to
 * memory that is wiped, those of arm_post() and of what it began, which may have a SAS,
 * to locked memory.
 *
 * Errors: -ENOENT 404, -EACCES 401 and 403 with what to do, -EBUSY 409, -EAGAIN
 * retries spent, -EINVAL 400, -EPROTO an answer that cannot be right, -EIO any other
 * failure the service tells. Sentences have the service's own code and message.
 */
#pragma once
#include "backend/azure/azure.h"
#include "backend/base/json.h"

/* A whole answer of a list's page; a page of 200 items has about 400 KiB. */
#define ARM_BODY_MAX (32u << 20)
#define ARM_SECRET_MAX SECRET_MAX
#define ARM_DEPTH 48
#define ARM_PAGES_MAX 10000

/*
 * path: from "/subscriptions" on, not escaped, without query; escaped as the
 * official clients do (';' too). query: "api-version=…" and more, escaped, without
 * '?'. what: the object, for sentences ("vault contoso-rsv").
 */
int arm_get(struct azure *az, const char *what, const char *path,
	    const char *query, struct json **ret) MUST_USE;
/* What has a key in it: the answer comes to locked memory (one of more than
 * ARM_SECRET_MAX bytes is asked for again, and comes to memory that is wiped). The tree
 * is of json-c's heap: to be closed by json_close_secret(). */
int arm_get_secret(struct azure *az, const char *what, const char *path,
		   const char *query, struct json **ret) MUST_USE;
/* Each page's "value" array goes to page(), in order; nonzero from it ends the
 * list and is returned. */
int arm_list(struct azure *az, const char *what, const char *path,
	     const char *query,
	     int (*page)(void *ctx, const struct json *values),
	     void *ctx) MUST_USE;

/*
 * POST, once. body: NULL for none. When the service goes on with it (202), asks at
 * its pace until that has ended. *result: what it gave in the end: the answer of
 * the Location URL if there is one, else of the status; NULL if it was empty. To be
 * closed by json_close_secret(), as *status, where it has a secret.
 * status: the last answer of the status URL, may be NULL when there was none.
 */
int arm_post(struct azure *az, const char *what, const char *path,
	     const char *query, const struct json *body, struct json **result,
	     struct json **status) MUST_USE;

/* Waits ms, or until cancelled. */
int arm_wait(uint64_t ms) MUST_USE;

/* --- pure --- */

/* Same scheme, host and port (compared without case; the default port may be
 * there or not). */
bool arm_same_host(const char *a, const char *b);

/* Ids are compared without case, and "//" is "/". */
bool arm_id_equal(const char *a, const char *b);
/* The same for sorting and for keys: lower case, single slashes, without the '/'
 * at the end; truncated ids are -EPROTO. */
#define ARM_ID_MAX 2048
int arm_id_fold(const char *id, char out[static ARM_ID_MAX]) MUST_USE;
/* The part of an id after "/key/" up to the next '/'; false if there is none or it
 * does not fit. */
bool arm_id_part(const char *id, const char *key, char *out, size_t size);

/* What an answer with that status means; the body as it came. */
int arm_failed(const char *what, int status, const char *body,
	       size_t len) MUST_USE;
/* A page: *next as in the answer or NULL, to be freed. */
int arm_parse_page(const char *text, size_t len, struct json **ret,
		   char **next) MUST_USE;
