// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/document.h"

#include <errno.h>
#include <string.h>

#include "backend/base/err.h"

static int read_stdin(struct secret **ret)
{
	DROP(secret) struct secret *all = NULL;
	size_t n = 0;
	int r = secret_new(SECRET_MAX, &all);

	while (r == 0 && n < SECRET_MAX) {
		ssize_t got = read(STDIN_FILENO, secret_bytes(all) + n,
				   SECRET_MAX - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(errno, "standard input");
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (r < 0)
		return r;
	if (n == 0)
		return fail(-EPROTO, "standard input: empty");
	if (n == SECRET_MAX)
		return fail(-EFBIG, "standard input: %d bytes or more",
			    SECRET_MAX);
	return secret_copy(secret_bytes(all), n, ret);
}

int read_document(const char *path, bool *shared, struct secret **ret)
{
	*shared = false;
	return strcmp(path, "-")
		       ? secret_read_shared_file(path, SECRET_MAX, shared, ret)
		       : read_stdin(ret);
}

int read_escrow(const char *path, const struct escrow_request *rq,
		struct escrow_record *out, struct secret **bek)
{
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(secret) struct secret *text = NULL;
	DROP(secret) struct secret *plain = NULL;
	struct escrow_request request = *rq;
	bool shared;
	int r = read_document(path, &shared, &text);

	if (!request.what)
		request.what = path;
	if (r == 0)
		r = escrow_read(text, &request, &rec, &plain);
	if (r < 0)
		return r;
	if (plain && shared)
		return fail(-EACCES,
			    "%s holds a key that others can read: chmod 600 "
			    "it",
			    path);
	*out = rec;
	rec = (struct escrow_record){ 0 };
	*bek = take(plain);
	return 0;
}
