// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * objects list VAULT | pull VAULT DIR | push DIR VAULT | clear VAULT
 *
 * The objects of a vault, wherever it is, as files: their keys, a line each; all of
 * them into DIR; DIR's files as all that the vault has (its place is made if need
 * be). For cases that alter what a vault stores.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/store/store.h"

struct keys {
	char **all;
	size_t n;
};

static void drop_keys(struct keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->all[i]);
	free(k->all);
}

static int add_key(struct keys *k, const char *key)
{
	char **more = reallocarray(k->all, k->n + 1, sizeof(*more));

	if (!more)
		return fail(-ENOMEM, "out of memory");
	k->all = more;
	k->all[k->n] = strdup(key);
	return k->all[k->n++] ? 0 : fail(-ENOMEM, "out of memory");
}

static int stored(struct store *s, struct keys *out)
{
	for (bool more = true; more;) {
		DROP(store_list) struct store_list l = { 0 };
		const char *after = out->n ? out->all[out->n - 1] : "";
		int r = store_list(s, "", after, STORE_LIST_MAX, false, &l);

		for (size_t i = 0; r == 0 && i < l.count; i++)
			r = add_key(out, l.entries[i].key);
		if (r < 0)
			return r;
		more = l.more;
	}
	return 0;
}

static int get(struct store *s, const char *key, struct buf *out)
{
	buf_init(out, STORE_OBJECT_MAX);
	return store_get(s, key, STORE_OBJECT_MAX, out);
}

/* Makes the folders on the way to a file. */
static int make_folders(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return fail_errno(errno, "%s", path);
	}
	return 0;
}

static int write_file(const char *dir, const char *key, const struct buf *b)
{
	DROP(mem) char *path = NULL;
	FILE *f;
	int r;

	if (asprintf(&path, "%s/%s", dir, key) < 0)
		return fail(-ENOMEM, "out of memory");
	r = make_folders(path);
	if (r < 0)
		return r;
	f = fopen(path, "we");
	if (!f || (b->len && fwrite(b->data, b->len, 1, f) != 1) ||
	    fclose(f) != 0)
		return fail_errno(errno, "%s", path);
	return 0;
}

static int pull(struct store *s, const char *dir)
{
	DROP(keys) struct keys k = { 0 };
	int r = stored(s, &k);

	for (size_t i = 0; r == 0 && i < k.n; i++) {
		DROP(buf) struct buf b = { 0 };

		r = get(s, k.all[i], &b);
		/* Somebody else may be at work. */
		if (r == -ENOENT)
			r = 0;
		else if (r == 0)
			r = write_file(dir, k.all[i], &b);
	}
	return r;
}

/* nftw() has no argument for it. */
static struct keys files;
static size_t root_len;

static int on_file(const char *path, const struct stat *st, int type,
		   struct FTW *at)
{
	return type == FTW_F && add_key(&files, path + root_len + 1) < 0;
}

static int read_file(const char *dir, const char *key, struct buf *b)
{
	DROP(mem) char *path = NULL;
	struct stat st;
	uint8_t *p;
	FILE *f;

	buf_init(b, STORE_OBJECT_MAX);
	if (asprintf(&path, "%s/%s", dir, key) < 0)
		return fail(-ENOMEM, "out of memory");
	f = fopen(path, "re");
	if (!f || fstat(fileno(f), &st) < 0)
		return fail_errno(errno, "%s", path);
	p = buf_reserve(b, (size_t)st.st_size + 1);
	if (!p)
		return buf_check(b, path);
	b->len += fread(p, 1, (size_t)st.st_size, f);
	fclose(f);
	return 0;
}

/* Removes what is there with other bytes. 1: there is nothing to be put. */
static int make_room(struct store *s, const char *key, const struct buf *want)
{
	DROP(buf) struct buf have = { 0 };
	int r = get(s, key, &have);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (have.len == want->len &&
	    (!want->len || !memcmp(have.data, want->data, want->len)))
		return 1;
	return store_remove(s, key);
}

static bool is_file(const char *key)
{
	for (size_t i = 0; i < files.n; i++)
		if (!strcmp(files.all[i], key))
			return true;
	return false;
}

static int push(const char *dir, struct store *s)
{
	DROP(keys) struct keys k = { 0 };
	int r = stored(s, &k);

	root_len = strlen(dir);
	if (r == 0 && nftw(dir, on_file, 20, FTW_PHYS) != 0)
		r = fail(-EIO, "%s cannot be read", dir);
	for (size_t i = 0; r == 0 && i < k.n; i++)
		if (!is_file(k.all[i]))
			r = store_remove(s, k.all[i]);
	for (size_t i = 0; r == 0 && i < files.n; i++) {
		DROP(buf) struct buf b = { 0 };

		r = read_file(dir, files.all[i], &b);
		if (r == 0)
			r = make_room(s, files.all[i], &b);
		if (r == 0)
			r = store_put(s, files.all[i], b.data, b.len);
		r = r == 1 ? 0 : r;
	}
	drop_keys(&files);
	return r;
}

static int clear(struct store *s)
{
	DROP(keys) struct keys k = { 0 };
	int r = stored(s, &k);

	for (size_t i = 0; r == 0 && i < k.n; i++)
		r = store_remove(s, k.all[i]);
	return r;
}

static int list(struct store *s)
{
	DROP(keys) struct keys k = { 0 };
	int r = stored(s, &k);

	for (size_t i = 0; r == 0 && i < k.n; i++)
		puts(k.all[i]);
	return r;
}

static int run(char **argv, int argc)
{
	const char *what = argc > 1 ? argv[1] : "";
	bool pushes = !strcmp(what, "push") && argc == 4;
	DROP(store) struct store *s = NULL;
	int r;

	if (argc < 3)
		return fail(-EINVAL, "what, and of which vault?");
	r = pushes ? store_create(argv[3], &s) : store_open(argv[2], true, &s);
	if (r < 0)
		return r;
	if (pushes)
		return push(argv[2], s);
	if (!strcmp(what, "pull") && argc == 4)
		return pull(s, argv[3]);
	if (!strcmp(what, "clear"))
		return clear(s);
	if (!strcmp(what, "list"))
		return list(s);
	return fail(-EINVAL, "%s is not known", what);
}

int main(int argc, char **argv)
{
	int r = run(argv, argc);

	if (r < 0)
		fprintf(stderr, "objects: %s\n", err_text(r));
	return r < 0;
}
