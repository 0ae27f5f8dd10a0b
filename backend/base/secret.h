// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A secret: bytes in locked memory that is left out of core dumps, wiped when
 * closed, and has no printer. Any thread may read one that no thread closes.
 * A child of fork() sees zeros: a daemon forks first, then opens its secrets.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret;

#define SECRET_MAX 65536

/* Once, early in main(): sets up locked memory and turns core dumps off.
 * -EPERM/-ENOMEM with a sentence where memory cannot be locked. */
int secret_setup(void) MUST_USE;
/* size bytes, zeroed, 1..65536. */
int secret_new(size_t size, struct secret **ret) MUST_USE;
/* ... with these bytes. */
int secret_copy(const void *p, size_t size, struct secret **ret) MUST_USE;
uint8_t *secret_bytes(struct secret *s);
size_t secret_size(const struct secret *s);
void secret_close(struct secret *s);
/* Reads a whole file of at most max bytes; refuses one that group or others can
 * read (-EACCES, the sentence says: chmod 600). */
int secret_read_file(const char *path, size_t max,
		     struct secret **ret) MUST_USE;
/* Any file; *shared tells that group or others can read it. */
int secret_read_shared_file(const char *path, size_t max, bool *shared,
			    struct secret **ret) MUST_USE;
/* Writes it to a new 0600 file (-EEXIST if there is one), durable on return. */
int secret_write_file(const struct secret *s, const char *path) MUST_USE;
/* Writes it as lower-case hex and a newline to a new 0600 file (-EEXIST if
 * there is one), durable on return; and reads such a file of exactly size
 * bytes. */
int secret_write_hex_file(const struct secret *s, const char *path) MUST_USE;
int secret_read_hex_file(const char *path, size_t size,
			 struct secret **ret) MUST_USE;

/* Overwrites and frees a string of the heap that held one; NULL is nothing. */
void secret_free_text(char *text);

DROP_DEFINE(secret, struct secret *, secret_close)
