// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/arm.h"
#include "backend/azure/model.h"
#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define API "api-version=2025-01-02"
#define SECOND UINT64_C(1000000000)

struct access_lease {
	struct access_table *table;
	char *id, *family, *what;

	/* Under the table's lock: */
	struct access_lease *next;
	unsigned users;
	bool may_end;
	bool busy; /* somebody asks */
	struct access_url *url;
	unsigned number;
	uint64_t renew_ns, end_ns; /* monotonic; 0: no address */
};

struct access_table {
	struct azure *az;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct access_lease *first;
};

void access_url_unref(struct access_url *u)
{
	if (!u || __atomic_sub_fetch(&u->refs, 1, __ATOMIC_ACQ_REL))
		return;
	secret_close(u->kept);
	free(u);
}

static struct access_url *url_ref(struct access_url *u)
{
	__atomic_add_fetch(&u->refs, 1, __ATOMIC_RELAXED);
	return u;
}

static void lease_free(struct access_lease *l)
{
	if (!l)
		return;
	access_url_unref(l->url);
	free(l->id);
	free(l->family);
	free(l->what);
	free(l);
}

DROP_DEFINE(lease, struct access_lease *, lease_free)

int access_table_new(struct azure *az, struct access_table **ret)
{
	struct access_table *t = calloc(1, sizeof(*t));

	if (!t)
		return fail(-ENOMEM, "out of memory");
	t->az = az;
	pthread_mutex_init(&t->lock, NULL);
	cancel_cond_init(&t->changed);
	*ret = t;
	return 0;
}

void access_table_free(struct access_table *t)
{
	if (!t)
		return;
	while (t->first) {
		struct access_lease *l = t->first;

		t->first = l->next;
		lease_free(l);
	}
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* --- opening --- */

static bool is_live(const struct access_lease *l, uint64_t now)
{
	return l->users || l->busy || l->end_ns > now;
}

/* Those that ended by themselves. */
static void forget_ended(struct access_table *t)
{
	struct access_lease **at = &t->first, *l;
	uint64_t now = monotonic_ns();

	while ((l = *at)) {
		if (is_live(l, now)) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		lease_free(l);
	}
}

static struct access_lease *find(struct access_table *t, const char *id)
{
	struct access_lease *l = t->first;

	while (l && !arm_id_equal(l->id, id))
		l = l->next;
	return l;
}

/* Out of the table. */
static void unlink_lease(struct access_table *t, struct access_lease *l)
{
	struct access_lease **at = &t->first;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
}

/* Makes room in the family: *victim, out of the table, is to be ended. */
static int make_room(struct access_table *t, const struct access_wanted *w,
		     struct access_lease **victim)
{
	struct access_lease *idle = NULL;
	uint64_t soonest = UINT64_MAX, now = monotonic_ns();
	unsigned n = 0, used = 0;

	for (struct access_lease *l = t->first; l; l = l->next) {
		if (!arm_id_equal(l->family, w->family))
			continue;
		n++;
		if (l->users || l->busy)
			used++;
		else if (l->may_end && (!idle || l->end_ns < idle->end_ns))
			idle = l;
		else if (!l->may_end)
			soonest = min_u64(soonest, l->end_ns - now);
	}
	if (n < ACCESS_FAMILY_MAX)
		return 0;
	if (idle) {
		unlink_lease(t, idle);
		*victim = idle;
		return 0;
	}
	if (soonest == UINT64_MAX)
		return fail(-EBUSY,
			    "%s: %u other points of this disk are open, and "
			    "Azure allows no more at a time: close one of them",
			    w->what, used);
	return fail(-EBUSY,
		    "%s: %d other points of this disk are readable now, and "
		    "Azure allows no more at a time: the next place is free in "
		    "%llu minutes",
		    w->what, ACCESS_FAMILY_MAX,
		    (unsigned long long)(soonest / (60 * SECOND) + 1));
}

static int lease_new(struct access_table *t, const struct access_wanted *w,
		     struct access_lease **ret)
{
	DROP(lease) struct access_lease *l = calloc(1, sizeof(*l));

	if (!l)
		return fail(-ENOMEM, "out of memory");
	l->table = t;
	l->may_end = w->may_end;
	l->id = strdup(w->id);
	l->family = strdup(w->family);
	l->what = strdup(w->what);
	if (!l->id || !l->family || !l->what)
		return fail(-ENOMEM, "out of memory");
	*ret = take(l);
	return 0;
}

/* Under the lock. */
static int join(struct access_table *t, const struct access_wanted *w,
		struct access_lease **victim, struct access_lease **ret)
{
	struct access_lease *l;
	int r;

	forget_ended(t);
	l = find(t, w->id);
	if (!l) {
		r = make_room(t, w, victim);
		if (!r)
			r = lease_new(t, w, &l);
		if (r)
			return r;
		l->next = t->first;
		t->first = l;
	}
	l->users++;
	*ret = l;
	return 0;
}

static int api_call(struct access_lease *l, const char *verb,
		    const struct json *body, struct json **result,
		    struct json **status)
{
	DROP(buf) struct buf path = BUF_INIT(ARM_ID_MAX + 32);
	int r;

	buf_printf(&path, "%s/%s", l->id, verb);
	r = buf_check(&path, "id of a disk restore point");
	return r ? r
		 : arm_post(l->table->az, l->what, buf_cstr(&path), API, body,
			    result, status);
}

/* It is no matter if that fails: the other then fails in its own words. */
static void end_access(struct access_lease *l)
{
	DROP(json) struct json *result = NULL, *status = NULL;

	if (api_call(l, "endGetAccess", NULL, &result, &status))
		log_debug("%s: %s", l->what, err_text(-EIO));
}

int access_open(struct access_table *t, const struct access_wanted *w,
		struct access_lease **ret)
{
	DROP(lease) struct access_lease *victim = NULL;
	int r;

	pthread_mutex_lock(&t->lock);
	r = join(t, w, &victim, ret);
	pthread_mutex_unlock(&t->lock);
	if (victim)
		end_access(victim);
	return r;
}

void access_close(struct access_lease *l)
{
	DROP(lock) pthread_mutex_t *held = NULL;

	if (!l)
		return;
	held = lock(&l->table->lock);
	l->users--;
	forget_ended(l->table);
}

/* --- the address --- */

/* With its NUL. */
static int begin_access(struct access_lease *l, struct secret **url)
{
	DROP(json) struct json *body = json_object();
	DROP(secret_json) struct json *result = NULL;
	DROP(secret_json) struct json *status = NULL;
	const char *sas;
	int r;

	json_set_str(body, "access", "Read");
	json_set_u64(body, "durationInSeconds", ACCESS_SECONDS);
	r = api_call(l, "beginGetAccess", body, &result, &status);
	if (r == -EBUSY || r == -EACCES || r == -EINVAL)
		return blame(r, "Azure does not let the disk be read");
	if (r)
		return r;
	r = rsv_access_sas(result, &sas);
	if (r)
		r = rsv_access_sas(status, &sas);
	if (r)
		return blame(r, "%s", l->what);
	return secret_copy(sas, strlen(sas) + 1, url);
}

enum found { FOUND, FETCH, WAIT };

static enum found lease_state(struct access_lease *l, unsigned refused,
			      struct access_url **ret)
{
	uint64_t now = monotonic_ns();
	bool good = l->url && l->url->number != refused && now < l->end_ns;

	if (good && (l->busy || now < l->renew_ns)) {
		*ret = url_ref(l->url);
		return FOUND;
	}
	if (l->busy)
		return WAIT;
	l->busy = true;
	return FETCH;
}

/* Takes text. */
static int lease_settle(struct access_lease *l, int r, struct secret *text,
			uint64_t begun, struct access_url **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&l->table->lock);
	struct access_url *u = r ? NULL : calloc(1, sizeof(*u));

	l->busy = false;
	pthread_cond_broadcast(&l->table->changed);
	if (!r && !u) {
		secret_close(text);
		return fail(-ENOMEM, "out of memory");
	}
	if (r) {
		/* Not in its last minute: the old one may still do. */
		if (!l->url || monotonic_ns() + 60 * SECOND > l->end_ns)
			return r;
		l->renew_ns = monotonic_ns() + 30 * SECOND;
		*ret = url_ref(l->url);
		return 0;
	}
	u->kept = text;
	u->text = (const char *)secret_bytes(text);
	u->refs = 1;
	u->number = ++l->number;
	access_url_unref(l->url);
	l->url = u;
	l->end_ns = begun + ACCESS_SECONDS * SECOND;
	l->renew_ns = begun + ACCESS_SECONDS * SECOND / 5 * 4;
	*ret = url_ref(u);
	return 0;
}

int access_get(struct access_lease *l, unsigned refused,
	       struct access_url **ret)
{
	uint64_t begun = monotonic_ns();
	enum found found = WAIT;
	struct secret *text = NULL;
	int r = 0;

	pthread_mutex_lock(&l->table->lock);
	while (!r && (found = lease_state(l, refused, ret)) == WAIT)
		r = cancel_cond_wait(&l->table->changed, &l->table->lock);
	pthread_mutex_unlock(&l->table->lock);
	if (r || found == FOUND)
		return r;
	r = begin_access(l, &text);
	return lease_settle(l, r, text, begun, ret);
}
