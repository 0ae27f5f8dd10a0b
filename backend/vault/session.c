// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Session records (FORMAT.md 8), and the taking over of killed sessions.
 *
 * A session record is removed (or ended) only when its work is done or was
 * given up before anything was written. A backup that fails later leaves its
 * record, as one that is killed does: what it stored is not swept, and the next
 * backup adopts it. Only when the store could not make things durable are its
 * record and those it adopted removed: what they stored may exist in memory only.
 *
 * A record may also outlive its session's success: a crash between the commit
 * and the removal, or a removal undone by a power failure. To adopt such a one
 * would declare frames dead that a point needs. So before anything is adopted,
 * the commits since its start are asked whether it, or a session that had
 * adopted it, became a point.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"
#include "backend/vault/keys.h"

#define ADOPTED_MAX 4096u

/* --- what a write needs --- */

static int check_features(const struct vf_config *c)
{
	uint64_t unknown = c->read_compatible & ~VF_KNOWN_READ_COMPATIBLE;

	if (!unknown)
		return 0;
	for (size_t i = 0; i < c->nfeatures; i++)
		if (c->features[i].class == 1 && c->features[i].bit < 64 &&
		    (unknown >> c->features[i].bit & 1))
			return fail(
				-EROFS,
				"the vault uses the feature \"%s\", which this software can read but not write; install a newer vaultfs",
				c->features[i].name);
	return fail(
		-EROFS,
		"the vault uses features that this software can read but not write; install a newer vaultfs");
}

static int new_generation(struct writer *w)
{
	w->gen.seq = w->head ? w->head->c.seq + 1 : 1;
	return random_bytes(&w->gen.nonce, sizeof(w->gen.nonce));
}

int writer_reload_head(struct writer *w)
{
	struct vm_head *head = NULL;
	int r = vault_head(w->v, w->vm, 0, &head);

	if (r == -ENOENT) {
		err_clear();
		r = 0;
	}
	if (r)
		return r;
	vm_head_unref(w->head);
	w->head = head;
	return 0;
}

/* A retired key never comes back: what to do is told. r: why it does not
 * count. */
static int refuse_key(struct writer *w, int r)
{
	const struct vf_config *c = &w->config->c;
	char key[2 * SIGN_PUBLIC_SIZE + 1], id[33];

	for (size_t i = 0; i < c->nkeys; i++) {
		if (!c->keys[i].retired ||
		    memcmp(&c->keys[i].key, &w->key, sizeof(w->key)) != 0)
			continue;
		hex_of(w->key.b, sizeof(w->key.b), key);
		hex_of(vault_id(w->v)->b, sizeof(vault_id(w->v)->b), id);
		return fail(
			r,
			"%s: this host's writer key %.16s… was retired; move vaults/%s/writer.key of the configuration directory (~/.config/vaultfs) away, then 'vaultctl key show' makes a new one for the owner to add",
			w->vm, key, id);
	}
	return r;
}

static int open_key(struct writer *w)
{
	int r = keys_load(vault_id(w->v), "writer", &w->seed);

	if (!r)
		r = sign_public_of(w->seed, &w->key);
	if (!r)
		r = vf_config_key_counts(&w->config->c, &w->key, w->vm,
					 w->gen.seq);
	return r == -EKEYREJECTED ? refuse_key(w, r) : r;
}

static int open_writer(struct vault *v, const char *vm, struct writer *w)
{
	int r = catalog_check_name("VM name", vm, strlen(vm));

	if (r)
		return r;
	memcpy(w->vm, vm, strlen(vm) + 1);
	w->v = v;
	w->store = vault_store(v);
	r = vf_name_encode(vm, w->vm_key);
	if (!r)
		r = vault_reload_config(v);
	if (r)
		return r;
	w->config = vault_config_ref(v);
	r = check_features(&w->config->c);
	if (!r)
		r = writer_reload_head(w);
	if (!r)
		r = new_generation(w);
	if (!r)
		r = open_key(w);
	return r;
}

int writer_open(struct vault *v, const char *vm, struct writer *w)
{
	int r;

	writer_release(w);
	r = open_writer(v, vm, w);
	if (r)
		writer_release(w);
	return r;
}

void writer_release(struct writer *w)
{
	if (w->live)
		host_live_remove(&w->gen);
	vm_head_unref(w->head);
	vault_config_unref(w->config);
	secret_close(w->seed);
	free(w->adopted);
	free(w->litter);
	memset(w, 0, sizeof(*w));
}

/* --- the records that are there --- */

struct open_list {
	struct point_id *gen;
	size_t n;
};

static void drop_open_list(struct open_list *l)
{
	free(l->gen);
}

static int add_id(struct point_id **p, size_t *n, const struct point_id *id)
{
	struct point_id *more;

	if (*n >= ADOPTED_MAX)
		return fail(-EFBIG, "over %u unfinished sessions", ADOPTED_MAX);
	more = reallocarray(*p, *n + 1, sizeof(**p));
	if (!more)
		return fail(-ENOMEM, "no memory for sessions");
	more[(*n)++] = *id;
	*p = more;
	return 0;
}

/* One name under w/: a record opens its generation, an end (which sorts right
 * after it) closes it. Other names are none of ours. */
static int take_name(struct open_list *l, const char *name)
{
	struct point_id gen;
	char text[POINT_ID_TEXT];
	size_t n = strlen(name);

	if (n < POINT_ID_TEXT - 1)
		return 0;
	memcpy(text, name, POINT_ID_TEXT - 1);
	text[POINT_ID_TEXT - 1] = '\0';
	if (vf_key_parse_gen(text, &gen)) {
		err_clear();
		return 0;
	}
	if (n == POINT_ID_TEXT - 1)
		return add_id(&l->gen, &l->n, &gen);
	if (strcmp(name + n - 4, ".end") == 0 && l->n &&
	    point_id_equal(&l->gen[l->n - 1], &gen))
		l->n--;
	return 0;
}

static int list_open(struct writer *w, struct open_list *out)
{
	char prefix[VF_KEY_SIZE], after[VF_KEY_SIZE] = "";
	bool more = true;
	int r = 0;

	snprintf(prefix, sizeof(prefix), "V/%s/w/", w->vm_key);
	while (more && !r) {
		DROP(store_list) struct store_list page = { 0 };

		r = store_list(w->store, prefix, after, STORE_LIST_MAX, false,
			       &page);
		if (r)
			return r;
		for (size_t i = 0; i < page.count && !r; i++)
			r = take_name(out,
				      page.entries[i].key + strlen(prefix));
		more = page.more && page.count;
		if (more)
			snprintf(after, sizeof(after), "%s",
				 page.entries[page.count - 1].key);
	}
	return r;
}

int session_read(struct writer *w, const struct point_id *gen,
		 struct vf_session *out)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	char key[VF_KEY_SIZE];
	int r;

	vf_key_gen(key, w->vm_key, 'w', gen);
	r = store_get(w->store, key, VF_RECORD_MAX, &b);
	if (!r)
		r = vf_session_parse(b.data, b.len, out);
	if (!r && (!point_id_equal(&out->gen, gen) || strcmp(out->vm, w->vm) ||
		   memcmp(&out->vault, vault_id(w->v), sizeof(out->vault)))) {
		vf_session_release(out);
		r = fail(-EPROTO, "the record of another session");
	}
	return r ? blame(r, "%s", key) : 0;
}

/* --- is it over? --- */

static bool among(const struct point_id *ids, size_t n,
		  const struct point_id *id)
{
	for (size_t i = 0; i < n; i++)
		if (point_id_equal(&ids[i], id))
			return true;
	return false;
}

/* The point that commit c made. -ENOENT: dropped and swept. */
static int read_point_of(struct writer *w, const struct vf_commit *c,
			 struct vf_point *out)
{
	DROP(mem) uint8_t *record = NULL;
	char key[VF_KEY_SIZE];
	uint8_t head[VF_HEADER_SIZE];
	struct rd r = rd_over(head, sizeof(head));
	uint32_t n;
	int e;

	if (c->newest) {
		e = vf_point_parse(c->newest, c->newest_length, out);
		if (e || point_id_equal(&out->id, &c->ids[0]))
			return e;
		vf_point_release(out);
	}
	vf_key_gen(key, w->vm_key, 'p', &c->ids[0]);
	e = store_read(w->store, key, head, sizeof(head), 0);
	if (e)
		return e;
	rd_skip(&r, 8);
	n = rd_u32(&r);
	if (n < VF_HEADER_SIZE || n > VF_RECORD_MAX)
		return fail(-EPROTO, "%s: bad length", key);
	record = malloc(n);
	if (!record)
		return fail(-ENOMEM, "no memory for a point record");
	e = store_read(w->store, key, record, n, 0);
	if (!e)
		e = vf_point_parse(record, n, out);
	return e ? blame(e, "%s", key) : 0;
}

/* Is part of a point: 1. A session's commit is never older than its seq. */
static int is_settled(struct writer *w, const struct point_id *gen)
{
	uint64_t head = w->head ? w->head->c.seq : 0;
	int found = 0;

	for (uint64_t seq = max_u64(gen->seq, 1); seq <= head && !found;
	     seq++) {
		struct vf_commit c = { 0 };
		struct vf_point p = { 0 };
		int r = vault_commit(w->v, w->vm_key, seq, &c);

		if (r)
			return r;
		if (c.kind == VF_BACKUP) {
			found = point_id_equal(&c.ids[0], gen);
			r = found ? 0 : read_point_of(w, &c, &p);
		}
		/* Its point was swept: whatever it had adopted went with it,
		 * or is in points that came after. Not to be touched. */
		if (r == -ENOENT) {
			found = 1;
			r = 0;
		}
		if (!found && among(p.adopted, p.nadopted, gen))
			found = 1;
		vf_point_release(&p);
		vf_commit_release(&c);
		if (r)
			return r;
	}
	return found;
}

/* --- taking over --- */

static int adopt_one(struct writer *w, const struct point_id *gen, bool verify,
		     bool recorded)
{
	struct adopted *more;
	int r;

	for (size_t i = 0; i < w->nadopted; i++) {
		struct adopted *a = &w->adopted[i];

		if (!point_id_equal(&a->gen, gen))
			continue;
		/* Only its own record knows under which boot it ran. */
		if (recorded)
			a->verify = verify;
		a->recorded |= recorded;
		return 0;
	}
	r = is_settled(w, gen);
	if (r < 0)
		return r;
	if (r)
		return recorded ? add_id(&w->litter, &w->nlitter, gen) : 0;
	if (w->nadopted >= ADOPTED_MAX)
		return fail(-EFBIG, "over %u unfinished sessions", ADOPTED_MAX);
	more = reallocarray(w->adopted, w->nadopted + 1, sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "no memory for sessions");
	more[w->nadopted++] = (struct adopted){ *gen, verify, recorded };
	w->adopted = more;
	return 0;
}

static int adopt_session(struct writer *w, const struct point_id *gen,
			 const struct vf_session *s, bool verify)
{
	int r = adopt_one(w, gen, verify, true);

	for (size_t i = 0; s && i < s->nadopted && !r; i++)
		r = adopt_one(w, &s->adopted[i], !w->store->durable_puts,
			      false);
	return r;
}

static int busy(const struct vf_session *s, enum host_state state)
{
	char since[TIME_TEXT_SIZE];

	time_iso(s->time_ns, since);
	if (state == HOST_ALIVE)
		return fail(-EBUSY,
			    "%s is being backed up by process %" PRIu64
			    " on host %s since %s; wait for it",
			    s->vm, s->pid, s->host, since);
	return fail(
		-EBUSY,
		"%s is being backed up by process %" PRIu64
		" on host %s since %s, which cannot be seen from here; wait for it or, if it is dead for certain, use --take-over",
		s->vm, s->pid, s->host, since);
}

/*
 * One session record that was there before ours. A torn one (only where a put
 * is not durable by itself) was of a session that the power failure ended.
 */
static int settle_one(struct writer *w, const struct host *self,
		      const struct point_id *gen, bool take_over)
{
	struct vf_session s = { 0 };
	enum host_state state;
	int r = session_read(w, gen, &s);

	if (r == -ENOENT) {
		err_clear();
		return 0;
	}
	if (r == -EPROTO && (!w->store->durable_puts || take_over)) {
		err_clear();
		return adopt_session(w, gen, NULL, true);
	}
	if (r)
		return r;
	if (s.kind == VF_BACKUP) {
		state = host_judge(self, &s);
		if (state == HOST_ALIVE ||
		    (state == HOST_FOREIGN && !take_over))
			r = busy(&s, state);
		else
			r = adopt_session(w, gen, &s,
					  state != HOST_DEAD &&
						  !w->store->durable_puts);
	}
	vf_session_release(&s);
	return r;
}

static int put_record(struct writer *w, const struct host *self,
		      const struct point_id *base)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	DROP(mem) struct point_id *ids = calloc(w->nadopted + 1, sizeof(*ids));
	struct vf_session s = {
		.vault = *vault_id(w->v),
		.gen = w->gen,
		.time_ns = time_now_ns(),
		.pid = self->pid,
		.start_ticks = self->start_ticks,
		.pidns = self->pidns,
		.kind = VF_BACKUP,
		.writer = w->key,
		.adopted = ids,
		.nadopted = w->nadopted,
	};
	char key[VF_KEY_SIZE];
	int r;

	if (!ids)
		return fail(-ENOMEM, "no memory for a session");
	if (base)
		s.base = *base;
	memcpy(s.boot_id, self->boot_id, sizeof(s.boot_id));
	memcpy(s.host, self->name, sizeof(s.host));
	memcpy(s.vm, w->vm, sizeof(s.vm));
	for (size_t i = 0; i < w->nadopted; i++)
		ids[i] = w->adopted[i].gen;
	vf_session_put(&b, &s);
	r = buf_check(&b, "a session record");
	if (r)
		return r;
	vf_key_gen(key, w->vm_key, 'w', &w->gen);
	w->recorded = true;
	return store_put(w->store, key, b.data, b.len);
}

static int before(const struct point_id *a, const struct point_id *b)
{
	return a->seq != b->seq ? a->seq < b->seq : a->nonce < b->nonce;
}

/*
 * Another session may have begun since we looked. Of two that see each other,
 * the smaller generation stays. (One that looked before our record was there
 * goes on too: then the commit decides.)
 */
static int look_again(struct writer *w, const struct host *self,
		      const struct open_list *known)
{
	DROP(open_list) struct open_list now = { 0 };
	int r = list_open(w, &now);

	for (size_t i = 0; i < now.n && !r; i++) {
		struct vf_session s = { 0 };
		enum host_state state;

		if (!before(&now.gen[i], &w->gen) ||
		    among(known->gen, known->n, &now.gen[i]))
			continue;
		r = session_read(w, &now.gen[i], &s);
		if (r == -ENOENT || r == -EPROTO) {
			err_clear();
			r = 0;
			continue;
		}
		if (r)
			break;
		state = host_judge(self, &s);
		if (s.kind == VF_BACKUP &&
		    (state == HOST_ALIVE || state == HOST_FOREIGN))
			r = busy(&s, state);
		vf_session_release(&s);
	}
	return r;
}

int session_begin(struct writer *w, const struct point_id *base, bool take_over)
{
	DROP(open_list) struct open_list known = { 0 };
	uint64_t seq = w->head ? w->head->c.seq : 0;
	struct host self;
	int r = host_self(&self);

	if (!r)
		r = list_open(w, &known);
	for (size_t i = 0; i < known.n && !r; i++)
		r = settle_one(w, &self, &known.gen[i], take_over);
	if (!r)
		r = host_live_add(&w->gen);
	if (r)
		return r;
	w->live = true;
	r = put_record(w, &self, base);
	if (r)
		return r;
	r = look_again(w, &self, &known);
	if (!r)
		r = writer_reload_head(w);
	/* Whoever committed since may have adopted what we adopt. */
	if (!r && (w->head ? w->head->c.seq : 0) != seq)
		r = fail(-EAGAIN, "%s changed while a backup began", w->vm);
	if (r == -EBUSY || r == -EAGAIN) {
		struct err_saved why;

		err_save(r, &why);
		session_end(w, VF_GIVEN_UP, 0);
		r = err_load(&why);
	}
	return r;
}

/* --- the end --- */

static int end_record(struct writer *w, const struct point_id *gen,
		      enum vf_outcome outcome, uint64_t commit)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	char key[VF_KEY_SIZE];
	int r;

	vf_key_gen(key, w->vm_key, 'w', gen);
	r = store_remove(w->store, key);
	if (r == 0 || r == -ENOENT)
		return 0;
	/* It may not be removed: so its end is told. */
	vf_end_put(&b, gen, outcome, commit);
	vf_key_end(key, w->vm_key, gen);
	r = buf_check(&b, "the end of a session");
	return r ? r : store_put(w->store, key, b.data, b.len);
}

/* What fails here fails nothing, see session_end(). */
static void try_end(struct writer *w, const struct point_id *gen,
		    enum vf_outcome outcome, uint64_t commit)
{
	if (end_record(w, gen, outcome, commit))
		err_clear();
}

int session_disown(struct writer *w)
{
	struct err_saved why = { 0 };

	for (size_t i = 0; i < w->nadopted; i++) {
		int r = w->adopted[i].recorded
				? end_record(w, &w->adopted[i].gen, VF_GIVEN_UP,
					     0)
				: 0;

		if (r)
			err_save(r, &why);
	}
	if (w->recorded) {
		int r = end_record(w, &w->gen, VF_GIVEN_UP, 0);

		if (r)
			err_save(r, &why);
	}
	w->recorded = false;
	return why.code ? err_load(&why) : 0;
}

void session_end(struct writer *w, enum vf_outcome outcome, uint64_t commit)
{
	/* Our own goes last: while it is there, what it adopted is
	 * protected. */
	if (outcome == VF_COMMITTED) {
		for (size_t i = 0; i < w->nadopted; i++)
			if (w->adopted[i].recorded)
				try_end(w, &w->adopted[i].gen, VF_ADOPTED,
					commit);
		for (size_t i = 0; i < w->nlitter; i++)
			try_end(w, &w->litter[i], VF_COMMITTED, 0);
	}
	if (w->recorded)
		try_end(w, &w->gen, outcome, commit);
	w->recorded = false;
	if (w->live)
		host_live_remove(&w->gen);
	w->live = false;
	err_clear();
}
