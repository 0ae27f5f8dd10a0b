// SPDX-License-Identifier: GPL-3.0-or-later
/* Escrow documents, and keys, as the user gives them to a command. */
#pragma once
#include "crypt/escrow.h"

/* A file, or "-" for standard input, in locked memory. *shared tells that others can
 * read it too. */
int read_document(const char *path, bool *shared, struct secret **ret) MUST_USE;
/* ... and what is in it: escrow_read(), with the path for messages where rq->what is
 * NULL. A plain BEK in a file that others can read is refused. */
int read_escrow(const char *path, const struct escrow_request *rq,
		struct escrow_record *out, struct secret **bek) MUST_USE;
