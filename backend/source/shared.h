// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * shared: one source with several users: a disk under its partitions, a decrypted
 * volume under its logical volumes. It lives as long as there is a reference or a
 * source on it. Any thread.
 */
#pragma once
#include "backend/source/source.h"

struct shared;

/* Owns inner, on failure too. */
int shared_new(struct source *inner, struct shared **ret) MUST_USE;
struct shared *shared_ref(struct shared *s);
void shared_unref(struct shared *s);
/* Borrowed, while there is a reference. */
struct source *shared_source(const struct shared *s);
/* The same bytes, as a source of the caller's own. */
int shared_open(struct shared *s, struct source **ret) MUST_USE;

DROP_DEFINE(shared, struct shared *, shared_unref)
