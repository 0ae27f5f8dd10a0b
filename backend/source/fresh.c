// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/source/fresh.h"

#include <errno.h>
#include <string.h>

#include "backend/base/hash.h"
#include "backend/base/parse.h"

#define SLOTS 4096

struct slot {
	uint8_t key[CACHE_KEY_SIZE];
	uint64_t generation; /* 0: none */
	uint64_t begun_ns;   /* monotonic */
};

struct fresh {
	uint64_t max_age_ns;

	pthread_mutex_t lock; /* protects the two below */
	uint64_t last;
	struct slot slots[SLOTS];
};

int fresh_new(uint64_t max_age_ns, struct fresh **ret)
{
	struct fresh *f = calloc(1, sizeof(*f));

	if (!f)
		return fail(-ENOMEM, "out of memory");
	f->max_age_ns = max_age_ns;
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

void fresh_free(struct fresh *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static struct fresh_age age_of(struct fresh *f, const uint8_t *key)
{
	DROP(lock) pthread_mutex_t *held = lock(&f->lock);
	struct slot *s = &f->slots[(key[0] | key[1] << 8) % SLOTS];
	uint64_t now = monotonic_ns();

	if (!s->generation || memcmp(s->key, key, sizeof(s->key)) != 0 ||
	    now - s->begun_ns >= f->max_age_ns) {
		memcpy(s->key, key, sizeof(s->key));
		s->generation = ++f->last;
		s->begun_ns = now;
	}
	return (struct fresh_age){
		.generation = s->generation,
		.left_ns = f->max_age_ns - (now - s->begun_ns),
	};
}

struct fresh_age fresh_key(struct fresh *f, uint8_t key[static CACHE_KEY_SIZE])
{
	struct fresh_age age = age_of(f, key);
	struct sha256 h;
	struct digest d;

	sha256_init(&h);
	sha256_add(&h, key, CACHE_KEY_SIZE);
	sha256_add(&h, &age.generation, sizeof(age.generation));
	sha256_final(&h, &d);
	memcpy(key, d.b, CACHE_KEY_SIZE);
	return age;
}
