// SPDX-License-Identifier: GPL-3.0-or-later
/* A store in memory: what every other store must behave like. */
#pragma once
#include "backend/store/store.h"

/* Empty, writable; its puts are durable. */
int store_open_memory(struct store **ret) MUST_USE;

/* Below, s is one of these. What no store would do, for tests that damage one. */

/* Puts these bytes in the object's place, or makes it. */
int store_memory_set(struct store *s, const char *key, const void *data,
		     size_t len) MUST_USE;
/* Another one with the same objects. */
int store_memory_copy(struct store *s, struct store **ret) MUST_USE;
size_t store_memory_count(struct store *s);
uint64_t store_memory_bytes(struct store *s);
