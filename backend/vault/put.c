// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Objects on their way to the store.
 *
 * The caller fills one put at a time and sends it off; a few threads put them,
 * at most that many at once, and outbox_send() waits when all are busy: that
 * bounds memory. Puts, and the plain buffers whose bytes they hold, are used
 * again.
 *
 * Locks: mutex only; it is not held while an object is put.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <string.h>

struct outbox {
	struct store *store;
	size_t plain_size;
	unsigned threads;
	struct pool *pool;
	pthread_mutex_t mutex; /* protects what follows */
	pthread_cond_t landed;
	unsigned flying;
	struct err_saved failure; /* the first; code 0: none */
	uint64_t bytes;
	struct put *idle;
	struct plain *spare;
};

int outbox_new(struct store *store, size_t plain_size, struct outbox **ret)
{
	DROP(outbox) struct outbox *box = calloc(1, sizeof(*box));
	int r;

	if (!box)
		return fail(-ENOMEM, "no memory for a backup");
	box->store = store;
	box->plain_size = plain_size;
	pthread_mutex_init(&box->mutex, NULL);
	pthread_cond_init(&box->landed, NULL);
	box->threads = store->remote ? PUT_THREADS_FAR : PUT_THREADS;
	r = pool_new(box->threads, &box->pool);
	if (r)
		return r;
	*ret = take(box);
	return 0;
}

static void put_free(struct put *p)
{
	buf_release(&p->tail);
	free(p->pieces);
	free(p->held);
	free(p->own);
	free(p);
}

void outbox_free(struct outbox *box)
{
	if (!box)
		return;
	pool_free(box->pool);
	while (box->idle) {
		struct put *p = box->idle;

		box->idle = p->next;
		put_free(p);
	}
	while (box->spare) {
		struct plain *p = box->spare;

		box->spare = p->next;
		free(p->data);
		free(p);
	}
	pthread_cond_destroy(&box->landed);
	pthread_mutex_destroy(&box->mutex);
	free(box);
}

int outbox_plain(struct outbox *box, struct plain **ret)
{
	struct plain *p;

	{
		DROP(lock) pthread_mutex_t *held = lock(&box->mutex);

		p = box->spare;
		if (p)
			box->spare = p->next;
	}
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (p)
			p->data = malloc(box->plain_size);
		if (!p || !p->data) {
			free(p);
			return fail(-ENOMEM, "no memory for a chunk");
		}
	}
	p->refs = 1;
	*ret = p;
	return 0;
}

/* With the mutex held. */
static void unref(struct outbox *box, struct plain *p)
{
	if (--p->refs)
		return;
	p->next = box->spare;
	box->spare = p;
}

void outbox_unref(struct outbox *box, struct plain *p)
{
	if (!p)
		return;
	DROP(lock) pthread_mutex_t *held = lock(&box->mutex);
	unref(box, p);
}

int outbox_begin(struct outbox *box, struct put **ret)
{
	struct put *p;

	{
		DROP(lock) pthread_mutex_t *held = lock(&box->mutex);

		p = box->idle;
		if (p)
			box->idle = p->next;
	}
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return fail(-ENOMEM, "no memory for an object");
		p->box = box;
		buf_init(&p->tail, STORE_OBJECT_MAX);
	}
	p->npieces = p->nheld = p->own_len = 0;
	buf_reset(&p->tail);
	*ret = p;
	return 0;
}

/* With the mutex held: it is empty again, and free for the next. */
static void retire(struct put *p)
{
	for (size_t i = 0; i < p->nheld; i++)
		unref(p->box, p->held[i]);
	p->nheld = 0;
	p->next = p->box->idle;
	p->box->idle = p;
}

void outbox_abandon(struct put *p)
{
	if (!p)
		return;
	DROP(lock) pthread_mutex_t *held = lock(&p->box->mutex);
	retire(p);
}

static int hold(struct put *p, struct plain *plain)
{
	if (p->nheld && p->held[p->nheld - 1] == plain)
		return 0;
	if (p->nheld == p->held_cap) {
		size_t cap = p->held_cap ? 2 * p->held_cap : 16;
		struct plain **more = reallocarray(p->held, cap, sizeof(*more));

		if (!more)
			return fail(-ENOMEM, "no memory for a segment");
		p->held = more;
		p->held_cap = cap;
	}
	p->held[p->nheld++] = plain;
	DROP(lock) pthread_mutex_t *held = lock(&p->box->mutex);
	plain->refs++;
	return 0;
}

static int add_piece(struct put *p, const uint8_t *data, size_t len)
{
	struct store_piece *last = p->npieces ? &p->pieces[p->npieces - 1]
					      : NULL;

	if (last && (const uint8_t *)last->data + last->len == data) {
		last->len += len;
		return 0;
	}
	/* One is left for the tail. */
	if (p->npieces + 1 >= p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 32;
		struct store_piece *more =
			reallocarray(p->pieces, cap, sizeof(*more));

		if (!more)
			return fail(-ENOMEM, "no memory for a segment");
		p->pieces = more;
		p->cap = cap;
	}
	p->pieces[p->npieces++] = (struct store_piece){ data, len };
	return 0;
}

int put_add(struct put *p, const void *data, size_t len, struct plain *held)
{
	if (held) {
		int r = hold(p, held);

		return r ? r : add_piece(p, data, len);
	}
	if (!p->own) {
		p->own = malloc(SEGMENT_SIZE);
		if (!p->own)
			return fail(-ENOMEM, "no memory for a segment");
	}
	if (len > SEGMENT_SIZE - p->own_len)
		return fail(-EFBIG, "a segment over %u bytes", SEGMENT_SIZE);
	memcpy(p->own + p->own_len, data, len);
	p->own_len += len;
	return add_piece(p, p->own + p->own_len - len, len);
}

static void work(struct pool_job *job)
{
	struct put *p = container_of(job, struct put, job);
	struct outbox *box = p->box;
	struct err_saved why;
	uint64_t bytes = 0;
	int r = store_putv(box->store, p->key, p->pieces, p->npieces);

	if (r < 0)
		err_save(r, &why);
	for (size_t i = 0; i < p->npieces; i++)
		bytes += p->pieces[i].len;
	DROP(lock) pthread_mutex_t *held = lock(&box->mutex);
	if (r < 0 && !box->failure.code)
		box->failure = why;
	if (r == 0)
		box->bytes += bytes;
	retire(p);
	box->flying--;
	pthread_cond_signal(&box->landed);
}

int outbox_send(struct put *p)
{
	struct outbox *box = p->box;
	int r = buf_check(&p->tail, "an object's records");

	if (!r && p->tail.len)
		r = add_piece(p, p->tail.data, p->tail.len);
	if (!r) {
		DROP(lock) pthread_mutex_t *held = lock(&box->mutex);

		while (box->flying >= box->threads)
			pthread_cond_wait(&box->landed, held);
		if (box->failure.code)
			r = err_load(&box->failure);
		else
			box->flying++;
	}
	if (r) {
		outbox_abandon(p);
		return r;
	}
	p->job.work = work;
	pool_submit(box->pool, &p->job);
	return 0;
}

int outbox_drain(struct outbox *box)
{
	DROP(lock) pthread_mutex_t *held = lock(&box->mutex);

	while (box->flying)
		pthread_cond_wait(&box->landed, held);
	return box->failure.code ? err_load(&box->failure) : 0;
}

uint64_t outbox_bytes(struct outbox *box)
{
	DROP(lock) pthread_mutex_t *held = lock(&box->mutex);

	return box->bytes;
}
