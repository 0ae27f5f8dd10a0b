// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * xml: a bounded scanner of the little XML that object stores answer with.
 *
 * Elements, attributes (skipped, but for what the caller looks for in their
 * text), character data, the five entities and character references, comments,
 * CDATA and processing instructions. A DTD is refused, so there is nothing to
 * expand and nothing to fetch. Names lose their namespace prefix. At most
 * XML_DEPTH_MAX deep, names of XML_NAME_MAX bytes, XML_TEXT_MAX of text in one
 * element: all else is -EPROTO.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/scope.h"

#define XML_DEPTH_MAX 16
#define XML_NAME_MAX 63
#define XML_TEXT_MAX 8192

/* An element that ends. */
struct xml_element {
	const char *name, *parent; /* parent: "" for the outermost */
	const char *text; /* its own character data, decoded, with a NUL; text
			     of elements within it is theirs */
	size_t len;
	const char *attributes; /* as they stand there */
	size_t attributes_len;
};

/* Calls back at the end of each element; what that returns below zero ends the
 * walk. -EPROTO with a sentence, -ENOMEM. */
int xml_walk(const char *text, size_t len,
	     int (*element)(void *ctx, const struct xml_element *e),
	     void *ctx) MUST_USE;
