// SPDX-License-Identifier: GPL-3.0-or-later
/* Adding escrow to points that exist (FORMAT.md 5.3). */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <string.h>

#include "backend/base/parse.h"

static int check_point(struct writer *w, const struct escrow_addition *x)
{
	struct vault_point *p = NULL;
	struct point_row row;
	char id[POINT_ID_TEXT];
	bool found = !x->disk;
	int r = w->head ? vault_find_id(w->v, w->head, &x->point, &row)
			: -ENOENT;

	if (r == -ENOENT) {
		point_id_text(&x->point, id);
		return fail(r, "%s has no point %s", w->vm, id);
	}
	if (!r)
		r = vault_point(w->v, w->head, &row, &p);
	if (r)
		return r;
	for (size_t i = 0; i < p->p.ndisks; i++)
		found |= x->disk && !strcmp(p->p.disks[i].name, x->disk);
	point_info_unref(&p->info);
	return found ? 0 : fail(-ENOENT, "the point has no disk '%s'", x->disk);
}

static int put_one(struct writer *w, const struct escrow_addition *x)
{
	DROP(buf) struct buf b = BUF_INIT(VF_ESCROW_MAX + 1024);
	struct vf_addendum a = {
		.vault = *vault_id(w->v),
		.gen = w->gen,
		.point = x->point,
		.time_ns = time_now_ns(),
		.writer = w->key,
		.config_n = w->config->c.n,
		.text = x->text,
		.len = x->len,
	};
	char key[VF_KEY_SIZE];
	int r;

	/* One addendum a generation. */
	r = random_bytes(&a.gen.nonce, sizeof(a.gen.nonce));
	if (r)
		return r;
	memcpy(a.vm, w->vm, sizeof(a.vm));
	if (x->disk)
		memcpy(a.disk, x->disk, strlen(x->disk) + 1);
	r = vf_addendum_build(&b, &a, w->seed);
	if (!r)
		r = buf_check(&b, "an escrow addendum");
	if (r)
		return r;
	vf_key_gen(key, w->vm_key, 'e', &a.gen);
	return store_put(w->store, key, b.data, b.len);
}

int vault_attach(struct vault *v, const char *vm,
		 const struct escrow_addition *add, size_t n)
{
	DROP(writer) struct writer w = { 0 };
	int r = writer_open(v, vm, &w);

	/* All are looked at before the first is put. */
	for (size_t i = 0; i < n && !r; i++)
		r = check_point(&w, &add[i]);
	for (size_t i = 0; i < n && !r; i++)
		r = put_one(&w, &add[i]);
	return r ? r : store_barrier(w.store);
}
