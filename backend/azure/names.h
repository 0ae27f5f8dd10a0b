// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * names: how vaults and backup items are called where they are shown: lists of
 * elements that begin with three strings, id, name and shown name.
 *
 * A shown name is the own one, made a valid file name; where several have one name
 * (compared without case), all get '~' and four hex digits of the SHA-256 of their
 * folded id, or eight where that is the same too. Pure.
 */
#pragma once
#include "backend/catalog.h"

struct name_list {
	void *v;
	size_t count, size; /* of an element, in bytes */
	void (*release)(void *element);
};

/* Drops what is there twice (by id), sets the shown names, and sorts by them. */
int names_show(struct name_list *l) MUST_USE;
/* At most max shown names, those after `after`, of a list so sorted. */
int names_page(const struct name_list *l, const char *after, size_t max,
	       struct name_page *out) MUST_USE;
