// SPDX-License-Identifier: GPL-3.0-or-later
/* Listing a directory store, and removing from it. */
#include "backend/store/dir_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCAN_MIN 1024

/*
 * Listing. In one directory, a folder sorts as its name with the '/', so
 * that what is under it comes where whole keys would: a-b < a.b < a/b < a0.
 * Only the names wanted next are kept: a heap, the greatest first.
 */

struct names {
	char **v;
	size_t count;
	size_t max;
};

static void drop_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->v[i]);
	free(n->v);
}

static void sift_up(struct names *n, size_t i)
{
	while (i && strcmp(n->v[i], n->v[(i - 1) / 2]) > 0) {
		char *t = n->v[i];

		n->v[i] = n->v[(i - 1) / 2];
		i = (i - 1) / 2;
		n->v[i] = t;
	}
}

static void sift_down(struct names *n)
{
	for (size_t i = 0, k; (k = 2 * i + 1) < n->count; i = k) {
		char *t = n->v[i];

		if (k + 1 < n->count && strcmp(n->v[k + 1], n->v[k]) > 0)
			k++;
		if (strcmp(n->v[k], t) <= 0)
			break;
		n->v[i] = n->v[k];
		n->v[k] = t;
	}
}

/* Takes name if it is among the max smallest. */
static void names_add(struct names *n, char *name)
{
	if (n->count < n->max) {
		n->v[n->count++] = name;
		sift_up(n, n->count - 1);
		return;
	}
	free(n->v[0]);
	n->v[0] = name;
	sift_down(n);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct walk {
	struct dir *d;
	size_t max;
	bool fold;
	struct store_list *out;
	char path[STORE_KEY_MAX + 1]; /* "" or ends in '/' */
	size_t len;
};

/* One position in one directory: names that start with begin and sort after
 * from. */
struct span {
	const char *begin;
	const char *from;
	bool into; /* the folder that from lies in is wanted too */
};

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static bool wanted(const struct span *at, const char *name)
{
	size_t len = strlen(name);

	return strcmp(name, at->from) > 0 ||
	       (at->into && name[len - 1] == '/' && starts(at->from, name));
}

/* 'f' file, 'd' directory, 0 neither. */
static char kind(int at, const struct dirent *e)
{
	struct stat st;

	if (e->d_type == DT_REG)
		return 'f';
	if (e->d_type == DT_DIR)
		return 'd';
	if (e->d_type != DT_UNKNOWN ||
	    fstatat(at, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : 0;
}

/* The next names of a directory, sorted; folders end in '/'. */
static int scan(struct walk *w, DIR *list, const struct span *at,
		struct names *out)
{
	struct dirent *e;

	out->v = malloc(out->max * sizeof(*out->v));
	if (!out->v)
		return -ENOMEM;
	rewinddir(list);
	for (;;) {
		char name[NAME_MAX + 2], *copy;
		size_t len;
		char what;

		errno = 0;
		e = readdir(list);
		if (!e && errno)
			return -errno;
		if (!e)
			break;
		len = strlen(e->d_name);
		if (!starts(e->d_name, at->begin) ||
		    !store_component_ok(e->d_name, len) ||
		    w->len + len > STORE_KEY_MAX ||
		    (!w->len && !strcmp(e->d_name, DIR_TMP)))
			continue;
		if (out->count == out->max && strcmp(e->d_name, out->v[0]) >= 0)
			continue;
		what = kind(dirfd(list), e);
		if (!what)
			continue;
		memcpy(name, e->d_name, len);
		if (what == 'd')
			name[len++] = '/';
		name[len] = '\0';
		if (!wanted(at, name) || w->len + len > STORE_KEY_MAX ||
		    (out->count == out->max && strcmp(name, out->v[0]) >= 0))
			continue;
		copy = strdup(name);
		if (!copy)
			return -ENOMEM;
		names_add(out, copy);
	}
	qsort(out->v, out->count, sizeof(*out->v), by_name);
	return 0;
}

static int walk_folder(struct walk *w, struct span at);

/* 1 when the page is full. */
static int walk_name(struct walk *w, int fd, const char *name,
		     const struct span *at)
{
	size_t len = strlen(name), before = w->len;
	bool folder = name[len - 1] == '/';
	struct stat st = { 0 };
	int r = 0;

	if (w->out->count == w->max) {
		w->out->more = true;
		return 1;
	}
	if (!folder) {
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		if (!S_ISREG(st.st_mode))
			return 0;
	}
	memcpy(w->path + w->len, name, len + 1);
	w->len += len;
	if (folder && !w->fold)
		r = walk_folder(w, (struct span){ "",
						  starts(at->from, name)
							  ? at->from + len
							  : "",
						  true });
	else if (store_list_add(w->out, w->path, w->len, (uint64_t)st.st_size) <
		 0)
		r = -ENOMEM;
	w->len = before;
	w->path[before] = '\0';
	/* A folder that went away meanwhile, or has become something else. */
	return folder && (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) ? 0 : r;
}

static void drop_dir(DIR **list)
{
	if (*list)
		closedir(*list);
}

/* The directory w->path, from a position in it on. Silent. */
static int walk_folder(struct walk *w, struct span at)
{
	DROP(dir) DIR *list = NULL;
	DROP(fd) int fd = -1;
	DROP(mem) char *from = NULL;

	if (w->len)
		w->path[w->len - 1] = '\0';
	fd = dir_sys_open(w->d, w->d->root, w->len ? w->path : ".",
			  O_RDONLY | O_DIRECTORY, 0);
	if (w->len)
		w->path[w->len - 1] = '/';
	if (fd < 0)
		return fd;
	list = fdopendir(fd);
	if (!list)
		return -errno;
	take_fd(&fd);
	for (;;) {
		size_t want = w->max - w->out->count + 1;
		DROP(names)
		struct names n = {
			.max = max_u64(want, SCAN_MIN),
		};
		int r = scan(w, list, &at, &n);

		for (size_t i = 0; r == 0 && i < n.count; i++)
			r = walk_name(w, dirfd(list), n.v[i], &at);
		if (r != 0 || n.count < n.max)
			return r;
		free(from);
		from = take(n.v[n.count - 1]);
		n.count--;
		at.from = from;
		at.into = false;
	}
}

static int list_once(struct walk *w, const char *prefix, const char *after)
{
	const char *slash = strrchr(prefix, '/');
	size_t len = slash ? (size_t)(slash - prefix) + 1 : 0;
	struct span at = { prefix + len, "", !w->fold };
	struct stat st;
	int r;

	memcpy(w->path, prefix, len);
	w->path[len] = '\0';
	w->len = len;
	if (starts(after, w->path))
		at.from = after + len;
	else if (strcmp(after, w->path) > 0)
		return 0;
	if (starts(w->path, DIR_TMP "/"))
		return 0;
	r = walk_folder(w, at);
	if (r < 0)
		return r;
	/* A directory that was removed reads like an empty one. */
	if (fstat(w->d->root, &st) < 0)
		return -errno;
	return st.st_nlink ? 0 : -ENOENT;
}

int dir_list(struct store *s, const char *prefix, const char *after, size_t max,
	     bool fold, struct store_list *out)
{
	struct dir *d = dir_of(s);
	struct walk w = { .d = d, .max = max, .fold = fold, .out = out };

	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int lost, r = list_once(&w, prefix, after);

		if (r == 0)
			return 0;
		store_list_release(out);
		if (r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG)
			return 0;
		lost = tries < DIR_TRIES_MAX ? dir_root_lost(d, r, generation)
					     : 0;
		if (lost < 0)
			return lost;
		if (!lost && r == -ENOENT)
			return 0;
		if (!lost)
			return fail_errno(-r, "cannot list %s%s%s", d->path,
					  *prefix ? "/" : "", prefix);
	}
}

/*
 * Removing. Folders go with their last object, so that what was dropped
 * leaves nothing behind. A put that comes at that time makes them again.
 */

static int remove_once(struct dir *d, const char *key)
{
	const char *slash = strrchr(key, '/');
	char path[STORE_KEY_MAX + 1];
	const int flags = O_PATH | O_DIRECTORY;
	DROP(fd) int at = -1;
	struct stat st;
	char *cut;

	snprintf(path, sizeof(path), "%.*s", slash ? (int)(slash - key) : 1,
		 slash ? key : ".");
	at = dir_sys_open(d, d->root, path, flags, 0);
	if (at < 0)
		return at;
	slash = slash ? slash + 1 : key;
	if (fstatat(at, slash, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	if (unlinkat(at, slash, 0) < 0)
		return -errno;
	while (slash != key) {
		close(take_fd(&at));
		cut = strrchr(path, '/');
		slash = cut ? cut + 1 : path;
		if (cut)
			*cut = '\0';
		at = dir_sys_open(d, d->root, cut ? path : ".", flags, 0);
		if (at < 0 || unlinkat(at, slash, AT_REMOVEDIR) < 0 || !cut)
			break;
	}
	return 0;
}

int dir_remove(struct store *s, const char *key)
{
	struct dir *d = dir_of(s);

	if (!d->writable)
		return fail(-EROFS, "%s was opened for reading only", d->path);
	for (int tries = 0;; tries++) {
		unsigned generation = atomic_load(&d->generation);
		int r = remove_once(d, key);

		if (r == 0)
			return 0;
		r = dir_again(d, r, tries, generation, "remove", key);
		if (r < 0)
			return r;
	}
}
