// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a command gives on standard output: tables for people, JSON for
 * machines. The caller's thread only.
 */
#pragma once
#include "backend/base/json.h"
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of cells in columns as wide as they need to be, two spaces apart. */
struct table;
/* headings: ended by NULL; one that begins with '>' is of a column that is
 * aligned to the right. */
int table_new(const char *const *headings, struct table **ret) MUST_USE;
/* The next cell of the row; after the last of its columns a new row begins. A
 * failure to add is reported by table_print(). */
void table_cell(struct table *t, const char *fmt, ...) PRINTF(2, 3);
void table_size(struct table *t, uint64_t bytes);
size_t table_rows(const struct table *t);
/* indent: spaces before each line. -ENOMEM. */
int table_print(struct table *t, int indent) MUST_USE;
void table_free(struct table *t);
DROP_DEFINE(table, struct table *, table_free)

/* "Key:     value" */
void print_field(const char *key, const char *fmt, ...) PRINTF(2, 3);

/* Prints the value, indented, and closes it. */
int print_json(struct json *j) MUST_USE;

/* Once, at the end: whether all that was printed has been written. */
int output_finish(void) MUST_USE;
