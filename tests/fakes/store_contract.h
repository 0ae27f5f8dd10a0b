// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What store.h promises, checked through store.h alone: every store's unit test runs
 * it, and so does a store's fake server. The first thing that does not hold ends the
 * program (tests/unit/check.h).
 */
#pragma once
#include "backend/store/store.h"

/* make() gives a new, empty, writable store; the suite closes it. It is called
 * several times, once an earlier one was closed. */
void store_contract(struct store *(*make)(void));
