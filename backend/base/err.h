// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Failures. A function that can fail returns 0 (or a documented count), else a
 * negative errno, and leaves one sentence in a slot of its thread.
 *
 *	return fail(-EPROTO, "%s: bad magic", key);
 *	return blame(r, "recovery point %s", id);	"recovery point X: ..."
 *
 * Only the edges (the FUSE replies, the mains) print it, once. A worker thread
 * that answers another hands its sentence over: err_save() there, err_load()
 * here. Sentences are bounded to ERR_MAX bytes and cut at the end when longer;
 * control characters in them are replaced by '?' (names come from outside).
 *
 * Meanings that are fixed everywhere: -ENOENT not there, -EACCES permission,
 * -EEXIST create-only lost, -ESTALE it changed or was dropped meanwhile,
 * -EAGAIN retries spent, -EPROTO bytes that break the format, -EIO the medium
 * failed, -EBADMSG a digest or checksum does not match, -EKEYREJECTED a seal
 * that does not verify, -ECANCELED stopped by the user, -ENXIO the store is not there.
 */
#pragma once
#include <stdbool.h>

#include "backend/base/scope.h"

#define ERR_MAX 1024

int fail(int code, const char *fmt, ...) PRINTF(2, 3);
/* Puts "where: " before the thread's sentence; returns code unchanged. With no
 * sentence yet, the sentence becomes "where: <strerror(code)>". */
int blame(int code, const char *fmt, ...) PRINTF(2, 3);
/* Puts "; what" after r's sentence, unless it ends so: what to do about it.
 * Returns r. */
int advise(int code, const char *what);
/* fail(-errno_value) with ": <strerror>" appended: for system calls. */
int fail_errno(int errno_value, const char *fmt, ...) PRINTF(2, 3);

/* The sentence for a failure r just returned; falls back to strerror(-r). The
 * pointer is good until the thread's next fail() or blame(). */
const char *err_text(int r);
void err_clear(void);

/* Whether r tells that the store does not answer, or is not there: then it says nothing
 * of what was asked for. */
bool err_is_away(int r);

/* Hands a sentence between threads. */
struct err_saved {
	int code;
	char text[ERR_MAX];
};
void err_save(int code, struct err_saved *out);
/* Installs it as this thread's sentence; returns its code. */
int err_load(const struct err_saved *in);
