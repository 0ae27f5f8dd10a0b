// SPDX-License-Identifier: GPL-3.0-or-later
/* Whether a service does what a vault relies on. */
#include "backend/store/remote_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

struct probe {
	struct store *s;
	char dash[64], inside[64]; /* '-' sorts before '/' */
};

static int lacks(const struct probe *p, const char *what)
{
	return fail(-ENOTSUP,
		    "%s cannot hold a vault: the service %s, and a vault "
		    "relies on that it does",
		    p->s->url, what);
}

static int put_text(struct probe *p, const char *key, const char *text)
{
	struct store_piece piece = { text, strlen(text) };

	return p->s->ops->put(p->s, key, &piece, 1);
}

static int try_puts(struct probe *p)
{
	int e = put_text(p, p->dash, "0123456789");

	if (e == -ENXIO && remote_of(p->s)->kind->make_place) {
		e = remote_of(p->s)->kind->make_place(remote_of(p->s));
		if (e == 0)
			e = put_text(p, p->dash, "0123456789");
	}
	if (e == 0)
		e = put_text(p, p->inside, "x");
	if (e < 0)
		return e;
	e = put_text(p, p->dash, "another");
	if (e == 0)
		return lacks(p, "does not refuse to replace an object "
				"(If-None-Match: *)");
	return e == -EEXIST ? 0 : e;
}

static int try_read(struct probe *p)
{
	char got[4];
	int e = p->s->ops->read(p->s, p->dash, got, sizeof(got), 3);

	if (e == -EPROTO)
		return lacks(p, "does not send parts of an object");
	if (e == 0 && memcmp(got, "3456", sizeof(got)) != 0)
		return lacks(p, "does not send the part of an object that is "
				"asked for");
	return e;
}

static int try_list(struct probe *p)
{
	struct store_list l __attribute__((cleanup(drop_store_list))) = { 0 };
	char prefix[64];
	int e;

	snprintf(prefix, sizeof(prefix), "%.*s",
		 (int)(strrchr(p->dash, '-') - p->dash), p->dash);
	e = p->s->ops->list(p->s, prefix, "", 10, false, &l);
	if (e < 0)
		return e;
	if (l.count != 2)
		return lacks(p, "does not list an object as soon as it is "
				"there");
	if (strcmp(l.entries[0].key, p->dash) != 0 ||
	    strcmp(l.entries[1].key, p->inside) != 0 || l.entries[0].size != 10)
		return lacks(p, "does not list objects sorted by the bytes of "
				"their names");
	return 0;
}

/* Those who may not remove may back up all the same. */
static void clean_up(struct probe *p)
{
	int e = p->s->ops->remove(p->s, p->dash);
	int e2 = p->s->ops->remove(p->s, p->inside);

	if (e < 0 || e2 < 0)
		log_info("%s: nothing can be removed there: %s", p->s->url,
			 err_text(e < 0 ? e : e2));
	err_clear();
}

int remote_probe(struct store *s)
{
	struct probe p = { .s = s };
	uint8_t nonce[8];
	char hex[2 * sizeof(nonce) + 1];
	int e = random_bytes(nonce, sizeof(nonce));

	if (e < 0)
		return e;
	hex_of(nonce, sizeof(nonce), hex);
	snprintf(p.dash, sizeof(p.dash), "tmp/probe.%s-a", hex);
	snprintf(p.inside, sizeof(p.inside), "tmp/probe.%s/a", hex);
	e = try_puts(&p);
	if (e == 0)
		e = try_read(&p);
	if (e == 0)
		e = try_list(&p);
	if (e == 0 || e == -ENOTSUP) {
		struct err_saved said;

		err_save(e, &said);
		clean_up(&p);
		return e < 0 ? err_load(&said) : 0;
	}
	return e;
}
