// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A KEK in memory, with scripted faults: what it "unwraps" is a value whose first
 * byte is its id, and the BEK is the text that follows, up to a NUL.
 */
#pragma once
#include "crypt/kek.h"

struct kek_fake {
	struct kek base;
	uint8_t id;
	bool picky;    /* matches only wraps that begin with its id */
	int fail_with; /* a negative errno: it has failed */
	int asked, resets;
};

/* Belongs to the caller, also after the keyring is closed. */
void kek_fake_init(struct kek_fake *k, uint8_t id, const char *name);
void kek_fake_wrap(uint8_t id, const char *bek, struct wrap *out);
