// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * lvm_text: the text in which LVM2 keeps its metadata: nested sections of values,
 * which are strings, numbers, and lists of these.
 */
#pragma once
#include "backend/base/scope.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LVM_TEXT_MAX ((size_t)8 << 20)

enum text_kind { TEXT_SECTION, TEXT_LIST, TEXT_STRING, TEXT_NUMBER };

/* A value; its name is NULL in a list. */
struct text_node {
	const char *name;
	enum text_kind kind;
	const char *string;
	uint64_t number;
	const struct text_node *child; /* the first, of a section or a list */
	const struct text_node *next;
};

struct lvm_text;

/* -EPROTO for what is no such text, nested too deep or too long. */
int lvm_text_parse(const char *text, size_t len,
		   struct lvm_text **ret) MUST_USE;
void lvm_text_free(struct lvm_text *t);
/* The whole of it: a section. */
const struct text_node *lvm_text_root(const struct lvm_text *t);
/* By name; NULL when it is not there or of another kind. */
const struct text_node *text_get(const struct text_node *section,
				 const char *name, enum text_kind kind);
/* NULL, or false, likewise. */
const char *text_string(const struct text_node *section, const char *name);
bool text_number(const struct text_node *section, const char *name,
		 uint64_t *out);
/* Whether the list of that name has the string. */
bool text_has(const struct text_node *section, const char *name,
	      const char *string);

DROP_DEFINE(lvm_text, struct lvm_text *, lvm_text_free)
