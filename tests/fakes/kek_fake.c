// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/kek_fake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct kek_fake *fake(struct kek *k)
{
	return container_of(k, struct kek_fake, base);
}

static bool fake_matches(struct kek *k, const struct wrap *w)
{
	return !fake(k)->picky || w->value[0] == fake(k)->id;
}

static int fake_unwrap(struct kek *k, const struct wrap *w, struct secret **ret)
{
	struct kek_fake *f = fake(k);

	f->asked++;
	if (f->fail_with)
		return fail(f->fail_with, "KEK %s: it is away", k->name);
	if (w->value[0] != f->id)
		return -ENOKEY;
	return secret_copy(w->value + 1, strlen((char *)w->value + 1), ret);
}

static void fake_reset(struct kek *k)
{
	fake(k)->resets++;
}

static void fake_close(struct kek *k)
{
}

static const struct kek_ops fake_ops = {
	.name = "fake",
	.matches = fake_matches,
	.unwrap = fake_unwrap,
	.reset = fake_reset,
	.close = fake_close,
};

void kek_fake_init(struct kek_fake *k, uint8_t id, const char *name)
{
	*k = (struct kek_fake){ .base.ops = &fake_ops, .id = id };
	snprintf(k->base.name, sizeof(k->base.name), "%s", name);
}

void kek_fake_wrap(uint8_t id, const char *bek, struct wrap *out)
{
	*out = (struct wrap){ .size = WRAP_SIZE_MIN, .alg_named = true };
	out->value[0] = id;
	memcpy(out->value + 1, bek, strlen(bek));
}
