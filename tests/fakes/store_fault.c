// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/store_fault.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "backend/base/err.h"

struct faulty {
	struct store base;
	struct store *inner;
	struct store_fault *fault;
	atomic_int barrier_failed;
};

static const struct store_ops fault_ops;

static const char *const names[STORE_CALLS] = {
	[STORE_STAT] = "stat",	   [STORE_READ] = "read",
	[STORE_GET] = "get",	   [STORE_PUT] = "put",
	[STORE_LIST] = "list",	   [STORE_BARRIER] = "barrier",
	[STORE_REMOVE] = "remove",
};

static struct faulty *faulty_of(struct store *s)
{
	return container_of(s, struct faulty, base);
}

static bool due(const struct store_fault *f, uint64_t n, uint64_t first)
{
	return first && n >= first && n - first < max_u64(f->fail_times, 1);
}

/* DROP(flight) struct store_fault *flying = fly(f); */
static struct store_fault *fly(struct store_fault *f)
{
	uint64_t n = atomic_fetch_add(&f->flying, 1) + 1;
	uint64_t max = atomic_load(&f->flying_max);

	while (n > max &&
	       !atomic_compare_exchange_weak(&f->flying_max, &max, n))
		;
	return f;
}

static void drop_flight(struct store_fault **f)
{
	atomic_fetch_sub(&(*f)->flying, 1);
}

/* Each call comes through here first. */
static int begin(struct store_fault *f, enum store_call call, const char *key)
{
	uint64_t all, n;

	if (f->before)
		f->before(f->ctx, call, key);
	if (f->delay_us) {
		struct timespec t = { f->delay_us / 1000000,
				      f->delay_us % 1000000 * 1000L };

		nanosleep(&t, NULL);
	}
	if (f->only && !strstr(key, f->only))
		return 0;
	all = atomic_fetch_add(&f->total, 1) + 1;
	n = atomic_fetch_add(&f->calls[call], 1) + 1;
	if (!due(f, all, f->fail_call) && !due(f, n, f->fail_of[call]))
		return 0;
	atomic_fetch_add(&f->fired, 1);
	return fail(f->error ? f->error : -EIO,
		    "injected: %s %" PRIu64 " (call %" PRIu64 "): %s",
		    names[call], n, all, key);
}

static bool bent(struct store_fault *f, const char *key, enum store_bend how)
{
	if (f->bend != how || !f->bend_key || strcmp(key, f->bend_key) != 0)
		return false;
	/* A flip counts when it hits what is read. */
	if (how != STORE_FLIP)
		atomic_fetch_add(&f->fired, 1);
	return true;
}

static int gone(const char *key)
{
	return fail(-ENOENT, "injected: no object %s", key);
}

static int fault_stat(struct store *s, const char *key, uint64_t *size)
{
	struct faulty *fs = faulty_of(s);
	struct store_fault *f = fs->fault;
	int r = begin(f, STORE_STAT, key);

	if (r < 0)
		return r;
	if (bent(f, key, STORE_GONE))
		return gone(key);
	if (bent(f, key, STORE_OTHER))
		key = f->bend_other;
	r = store_stat(fs->inner, key, size);
	if (r == 0 && bent(f, key, STORE_TRUNCATE))
		*size = min_u64(*size, f->bend_at);
	return r;
}

static void flip(struct store_fault *f, void *buf, size_t len, uint64_t off)
{
	uint64_t at = f->bend_at / 8;

	if (at < off || at - off >= len)
		return;
	((uint8_t *)buf)[at - off] ^= (uint8_t)(1u << f->bend_at % 8);
	atomic_fetch_add(&f->fired, 1);
}

static int fault_read(struct store *s, const char *key, void *buf, size_t len,
		      uint64_t off)
{
	struct faulty *fs = faulty_of(s);
	DROP(flight) struct store_fault *f = fly(fs->fault);
	int r = begin(f, STORE_READ, key);

	atomic_fetch_add(&f->bytes_read, len);
	if (r < 0)
		return r;
	if (bent(f, key, STORE_GONE))
		return gone(key);
	if (off + len > f->bend_at && bent(f, key, STORE_TRUNCATE))
		return fail(-EIO,
			    "object %s is shorter than its index says: "
			    "%" PRIu64 " bytes",
			    key, f->bend_at);
	if (bent(f, key, STORE_OTHER))
		key = f->bend_other;
	r = store_read(fs->inner, key, buf, len, off);
	if (r == 0 && bent(f, key, STORE_FLIP))
		flip(f, buf, len, off);
	return r;
}

static int fault_get(struct store *s, const char *key, size_t max,
		     struct buf *out)
{
	struct faulty *fs = faulty_of(s);
	DROP(flight) struct store_fault *f = fly(fs->fault);
	size_t had = out->len;
	int r = begin(f, STORE_GET, key);

	if (r < 0)
		return r;
	if (bent(f, key, STORE_GONE))
		return gone(key);
	if (bent(f, key, STORE_OTHER))
		key = f->bend_other;
	r = store_get(fs->inner, key, max, out);
	if (r < 0)
		return r;
	if (bent(f, key, STORE_FLIP))
		flip(f, out->data + had, out->len - had, 0);
	if (bent(f, key, STORE_TRUNCATE))
		out->len = had + min_u64(out->len - had, f->bend_at);
	atomic_fetch_add(&f->bytes_read, out->len - had);
	return 0;
}

static int put_inner(struct faulty *fs, const char *key,
		     const struct store_piece *pieces, size_t npieces,
		     bool whole)
{
	/* put_whole has one piece. */
	if (whole)
		return store_put_whole(fs->inner, key, pieces->data,
				       pieces->len);
	return store_putv(fs->inner, key, pieces, npieces);
}

static int put_any(struct store *s, const char *key,
		   const struct store_piece *pieces, size_t npieces, bool whole)
{
	struct faulty *fs = faulty_of(s);
	DROP(flight) struct store_fault *flying = fly(fs->fault);
	int r = begin(fs->fault, STORE_PUT, key);
	struct err_saved said;

	(void)flying;
	for (size_t i = 0; i < npieces; i++)
		atomic_fetch_add(&fs->fault->bytes_put, pieces[i].len);
	if (r == 0)
		return put_inner(fs, key, pieces, npieces, whole);
	if (!fs->fault->answer_lost)
		return r;
	err_save(r, &said);
	r = put_inner(fs, key, pieces, npieces, whole);
	/* What would have failed anyhow says its own reason. */
	return r < 0 ? r : err_load(&said);
}

static int fault_put(struct store *s, const char *key,
		     const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, false);
}

static int fault_put_whole(struct store *s, const char *key,
			   const struct store_piece *pieces, size_t npieces)
{
	return put_any(s, key, pieces, npieces, true);
}

static int fault_barrier(struct store *s)
{
	struct faulty *fs = faulty_of(s);
	int r = begin(fs->fault, STORE_BARRIER, "");

	if (r == 0 && atomic_load(&fs->barrier_failed))
		r = fail(atomic_load(&fs->barrier_failed),
			 "injected: a barrier has failed before");
	if (r == 0)
		r = store_barrier(fs->inner);
	if (r < 0)
		atomic_store(&fs->barrier_failed, r);
	return r;
}

static int fault_list(struct store *s, const char *prefix, const char *after,
		      size_t max, bool fold, struct store_list *out)
{
	struct faulty *fs = faulty_of(s);
	int r = begin(fs->fault, STORE_LIST, prefix);

	if (r < 0)
		return r;
	return store_list(fs->inner, prefix, after, max, fold, out);
}

static int fault_remove(struct store *s, const char *key)
{
	struct faulty *fs = faulty_of(s);
	int r = begin(fs->fault, STORE_REMOVE, key);
	struct err_saved said;

	if (r == 0)
		return store_remove(fs->inner, key);
	if (!fs->fault->answer_lost)
		return r;
	err_save(r, &said);
	r = store_remove(fs->inner, key);
	return r < 0 ? r : err_load(&said);
}

static void fault_close(struct store *s)
{
	store_release(s);
	free(faulty_of(s));
}

static const struct store_ops fault_ops = {
	.name = "fault",
	.stat = fault_stat,
	.read = fault_read,
	.get = fault_get,
	.put = fault_put,
	.put_whole = fault_put_whole,
	.barrier = fault_barrier,
	.list = fault_list,
	.remove = fault_remove,
	.close = fault_close,
};

int store_open_fault(struct store *inner, struct store_fault *fault,
		     struct store **ret)
{
	struct faulty *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return fail(-ENOMEM, "out of memory");
	r = store_init(&fs->base, &fault_ops, inner->url, inner->durable_puts);
	if (r < 0) {
		free(fs);
		return r;
	}
	fs->base.remote = inner->remote || fault->remote;
	fs->inner = inner;
	fs->fault = fault;
	*ret = &fs->base;
	return 0;
}

void store_fault_reset(struct store_fault *fault)
{
	atomic_store(&fault->total, 0);
	for (size_t i = 0; i < STORE_CALLS; i++)
		atomic_store(&fault->calls[i], 0);
	atomic_store(&fault->bytes_read, 0);
	atomic_store(&fault->bytes_put, 0);
	atomic_store(&fault->fired, 0);
	atomic_store(&fault->flying_max, 0);
}
