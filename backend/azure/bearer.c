// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/bearer.h"

#include <pthread.h>
#include <stdlib.h>

#include "backend/azure/azure.h"

/* Good in every cloud. */
#define SCOPE "https://storage.azure.com/.default"

/* The process's one, until it ends. */
static struct bearer {
	pthread_mutex_t lock;
	struct azure *az;	  /* lock */
	struct azure_token *last; /* lock; what the newest try was given */
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void release(void)
{
	azure_token_unref(take(shared.last));
	azure_unref(take(shared.az));
}

static int shared_azure(struct azure **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&shared.lock);
	int r = 0;

	if (!shared.az) {
		r = azure_ref(&shared.az);
		if (r == 0)
			atexit(release);
	}
	if (r == 0)
		*ret = shared.az;
	return r;
}

static int let_in(void *ctx, struct http_wire *w)
{
	struct azure_token *t = NULL, *before;
	struct azure *az;
	int r = shared_azure(&az);

	if (r == 0)
		r = azure_token(az, NULL, SCOPE, &t);
	if (r < 0)
		return r;
	r = azure_token_header(t, w);
	pthread_mutex_lock(&shared.lock);
	before = shared.last;
	shared.last = t;
	pthread_mutex_unlock(&shared.lock);
	azure_token_unref(before);
	return r;
}

static void refused(void *ctx)
{
	struct azure_token *t;

	pthread_mutex_lock(&shared.lock);
	t = shared.last;
	shared.last = NULL;
	pthread_mutex_unlock(&shared.lock);
	if (t)
		azure_token_reject(shared.az, t);
	azure_token_unref(t);
}

int azure_bearer_offer(struct store_options *o)
{
	o->bearer = let_in;
	o->bearer_refused = refused;
	o->bearer_ctx = NULL;
	return azure_use_ca(o->ca_file);
}
