// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * credential: the ways to get a token that the environment offers; see azure.h.
 * Used by token.c only, by one thread a scope.
 */
#pragma once
#include "backend/azure/azure.h"
#include "backend/base/buf.h"

/* What a token endpoint gave. */
struct grant {
	struct secret *token; /* without a NUL */
	uint64_t life_s;
};
void grant_release(struct grant *g);
static inline void drop_grant(struct grant *g)
{
	grant_release(g);
}

/*
 * Reads the answer of a token endpoint (Entra ID, the managed identities: numbers
 * may be strings) or of `az account get-access-token`. now_s: the time, for answers
 * that give only when it ends. -EPROTO.
 */
int grant_parse(const char *text, size_t len, int64_t now_s,
		struct grant *out) MUST_USE;
/* Appends what a failed token request says of its reason, on one line: the code and
 * the first line of its description. */
void grant_error(const char *text, size_t len, struct buf *out);

struct credentials;

/* Reads the environment. authority: as in azure.h; borrowed. */
int credentials_new(const char *authority, struct credentials **ret) MUST_USE;
/* Before the first token; http: borrowed, for Entra ID. */
int credentials_connect(struct credentials *c, struct http *http) MUST_USE;
void credentials_disconnect(struct credentials *c);
void credentials_free(struct credentials *c);
DROP_DEFINE(credentials, struct credentials *, credentials_free)

int credentials_get(struct credentials *c, const char *tenant,
		    const char *scope, struct grant *out) MUST_USE;
const char *credentials_name(const struct credentials *c);

/* Where Azure Arc may send us for its key: a file NAME.key right in its tokens
 * folder. */
bool credential_arc_path_ok(const char *path);
