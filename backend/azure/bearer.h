// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * bearer: Azure Blob opened with a token of the process's credential (azure.h),
 * where nothing else lets us in: what store_options.bearer asks for.
 *
 * Nobody is asked for a token before a request needs one. Any thread.
 */
#pragma once
#include "backend/store/store.h"

/* Sets o's bearer. The authorities of o->ca_file, if it is set, are those of the
 * service that gives the tokens too. */
int azure_bearer_offer(struct store_options *o) MUST_USE;
