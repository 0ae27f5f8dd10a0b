// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/store/creds.h"
#include "backend/store/remote.h"

static bool key_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || (c && strchr("._%~-", c));
}

bool store_component_ok(const char *name, size_t len)
{
	if (!len || (len == 1 && name[0] == '.') ||
	    (len == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!key_byte(name[i]))
			return false;
	return true;
}

/* Where the bytes of a prefix stop being complete components. */
static bool folders_ok(const char *key, const char **tail)
{
	const char *slash;

	for (; (slash = strchr(key, '/')); key = slash + 1)
		if (!store_component_ok(key, (size_t)(slash - key)))
			return false;
	*tail = key;
	return true;
}

/* The directory store keeps its unfinished files there, so no store has it. */
static bool reserved(const char *key)
{
	return !strncmp(key, "tmp", 3) && (!key[3] || key[3] == '/');
}

bool store_key_ok(const char *key)
{
	const char *tail;

	return strnlen(key, STORE_KEY_MAX + 1) <= STORE_KEY_MAX &&
	       !reserved(key) && folders_ok(key, &tail) &&
	       store_component_ok(tail, strlen(tail));
}

static int check_key(const char *key)
{
	if (strnlen(key, STORE_KEY_MAX + 1) > STORE_KEY_MAX)
		return fail(-EINVAL, "object name of more than %d bytes",
			    STORE_KEY_MAX);
	if (!store_key_ok(key))
		return fail(-EINVAL, "'%s' cannot name an object", key);
	return 0;
}

static int check_prefix(const char *prefix)
{
	const char *tail;

	if (strnlen(prefix, STORE_KEY_MAX + 1) > STORE_KEY_MAX)
		return fail(-EINVAL, "prefix of more than %d bytes",
			    STORE_KEY_MAX);
	if (!folders_ok(prefix, &tail))
		return fail(-EINVAL, "'%s' cannot begin an object's name",
			    prefix);
	for (; *tail; tail++)
		if (!key_byte(*tail))
			return fail(-EINVAL,
				    "'%s' cannot begin an object's name",
				    prefix);
	return 0;
}

/* Length of a scheme that ends in ':', 0 for a path. */
static size_t scheme_len(const char *url)
{
	const char *p = url;

	if (!((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')))
		return 0;
	while ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
	       (*p >= '0' && *p <= '9') || *p == '+' || *p == '-' || *p == '.')
		p++;
	return *p == ':' ? (size_t)(p - url) : 0;
}

static bool has_scheme(const char *url, const char *scheme)
{
	size_t n = strlen(scheme);

	return scheme_len(url) == n && !memcmp(url, scheme, n);
}

static bool is_remote(const char *url)
{
	return has_scheme(url, "az") || has_scheme(url, "s3");
}

/* Where there is one of these, all of it may be a secret. */
static int shown_len(const char *url)
{
	return (int)(strpbrk(url, "?#@") ? scheme_len(url) : strlen(url));
}

static int parse_url(const char *url, const char **path)
{
	size_t n = scheme_len(url);

	if (n && !has_scheme(url, "dir"))
		return fail(-EINVAL,
			    "%.*s: '%.*s:' is not a kind of vault that this "
			    "build knows: a vault is a path, dir:PATH, "
			    "az://ACCOUNT/CONTAINER or s3://BUCKET",
			    shown_len(url), url, (int)n, url);
	*path = n ? url + n + 1 : url;
	if (!**path)
		return fail(-EINVAL, "'%s' names no directory", url);
	return 0;
}

int store_open_with(const char *url, const struct store_options *o,
		    bool writable, struct store **ret)
{
	static const struct store_options usual = { 0 };
	const struct creds_env *env;
	const char *path;
	int r;

	/* Whatever is opened: children get none of it. */
	r = creds_env(&env);
	if (r < 0)
		return r;
	o = o ? o : &usual;
	if (has_scheme(url, "az"))
		return store_open_azure(url, o, writable, ret);
	if (has_scheme(url, "s3"))
		return store_open_s3(url, o, writable, ret);
	r = parse_url(url, &path);
	return r < 0 ? r : store_open_dir(path, writable, ret);
}

int store_open(const char *url, bool writable, struct store **ret)
{
	return store_open_with(url, NULL, writable, ret);
}

int store_create_with(const char *url, const struct store_options *o,
		      struct store **ret)
{
	DROP(store) struct store *s = NULL;
	const char *path;
	int r;

	if (!is_remote(url)) {
		r = parse_url(url, &path);
		return r < 0 ? r : store_create_dir(path, ret);
	}
	r = store_open_with(url, o, true, &s);
	if (r == 0)
		r = remote_probe(s);
	if (r < 0)
		return r;
	*ret = take(s);
	return 0;
}

int store_create(const char *url, struct store **ret)
{
	return store_create_with(url, NULL, ret);
}

int store_url_name(const char *url, char **ret)
{
	DROP(mem) char *real = NULL;
	const char *path, *base;
	size_t n = strlen(url);
	int r;

	if (is_remote(url)) {
		while (n && url[n - 1] == '/')
			n--;
		base = memrchr(url, '/', n);
		base = base ? base + 1 : url;
		*ret = strndup(base, n - (size_t)(base - url));
	} else {
		r = parse_url(url, &path);
		if (r < 0)
			return r;
		real = realpath(path, NULL);
		if (!real)
			return fail_errno(errno, "%s", url);
		*ret = strdup(strrchr(real, '/') + 1);
	}
	return *ret ? 0 : fail(-ENOMEM, "out of memory");
}

const char *store_url(const struct store *s)
{
	return s->url;
}

int store_stat(struct store *s, const char *key, uint64_t *size)
{
	int r = check_key(key);

	return r < 0 ? r : s->ops->stat(s, key, size);
}

int store_read(struct store *s, const char *key, void *buf, size_t len,
	       uint64_t off)
{
	int r = check_key(key);

	if (r < 0)
		return r;
	if (!len)
		return fail(-EINVAL, "object %s: a read of no bytes", key);
	/* No object is that long, so this one is too short. */
	if (len > STORE_OBJECT_MAX || off > STORE_OBJECT_MAX - len)
		return fail(-EIO,
			    "object %s is shorter than its index says: that is "
			    "more than the %u bytes of the longest object",
			    key, STORE_OBJECT_MAX);
	return s->ops->read(s, key, buf, len, off);
}

int store_get(struct store *s, const char *key, size_t max, struct buf *out)
{
	int r = check_key(key);

	if (r < 0)
		return r;
	return s->ops->get(s, key, min_u64(max, STORE_OBJECT_MAX), out);
}

int store_put(struct store *s, const char *key, const void *data, size_t len)
{
	return store_putv(s, key, &(struct store_piece){ data, len }, 1);
}

static int check_put(struct store *s, const char *key,
		     const struct store_piece *pieces, size_t npieces)
{
	size_t left = STORE_OBJECT_MAX;
	int r = check_key(key);

	if (r < 0)
		return r;
	for (size_t i = 0; i < npieces; i++) {
		if (pieces[i].len > left)
			return fail(-EFBIG,
				    "object %s is over the maximum of %u bytes",
				    key, STORE_OBJECT_MAX);
		left -= pieces[i].len;
	}
	if (!s->ops->put)
		return fail(-EROFS, "%s: cannot be written to", s->url);
	return 0;
}

int store_putv(struct store *s, const char *key,
	       const struct store_piece *pieces, size_t npieces)
{
	int r = check_put(s, key, pieces, npieces);

	return r ? r : s->ops->put(s, key, pieces, npieces);
}

int store_put_whole(struct store *s, const char *key, const void *data,
		    size_t len)
{
	struct store_piece piece = { data, len };
	int r = check_put(s, key, &piece, 1);

	if (r)
		return r;
	return (s->ops->put_whole ? s->ops->put_whole : s->ops->put)(s, key,
								     &piece, 1);
}

int store_barrier(struct store *s)
{
	return s->ops->barrier ? s->ops->barrier(s) : 0;
}

int store_list(struct store *s, const char *prefix, const char *after,
	       size_t max, bool fold, struct store_list *out)
{
	struct store_list l __attribute__((cleanup(drop_store_list))) = { 0 };
	int r = check_prefix(prefix);

	if (r < 0)
		return r;
	if (strnlen(after, STORE_KEY_MAX + 2) > STORE_KEY_MAX + 1)
		return fail(-EINVAL,
			    "list %s: to go on after a name of more "
			    "than %d bytes",
			    prefix, STORE_KEY_MAX);
	if (!max || max > STORE_LIST_MAX)
		return fail(-EINVAL, "list %s: pages of %zu entries", prefix,
			    max);
	if (!s->ops->list)
		return fail(-EOPNOTSUPP, "%s: cannot be listed", s->url);
	r = s->ops->list(s, prefix, after, max, fold, &l);
	if (r < 0)
		return r;
	*out = l;
	l = (struct store_list){ 0 };
	return 0;
}

int store_list_add(struct store_list *l, const char *key, size_t len,
		   uint64_t size)
{
	char *copy;

	/* Grows at each power of two, so the capacity need not be kept. */
	if (!(l->count & (l->count - 1))) {
		size_t cap = l->count ? 2 * l->count : 1;
		struct store_entry *e = realloc(l->entries, cap * sizeof(*e));

		if (!e)
			return fail(-ENOMEM, "out of memory");
		l->entries = e;
	}
	copy = strndup(key, len);
	if (!copy)
		return fail(-ENOMEM, "out of memory");
	l->entries[l->count++] = (struct store_entry){ copy, size };
	return 0;
}

void store_list_release(struct store_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->entries[i].key);
	free(l->entries);
	*l = (struct store_list){ 0 };
}

int store_remove(struct store *s, const char *key)
{
	int r = check_key(key);

	if (r < 0)
		return r;
	if (!s->ops->remove)
		return fail(-EROFS, "%s: nothing can be removed", s->url);
	return s->ops->remove(s, key);
}

void store_traffic(struct store *s, struct store_traffic *out)
{
	*out = (struct store_traffic){ 0 };
	if (s->ops->traffic)
		s->ops->traffic(s, out);
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

int store_init(struct store *s, const struct store_ops *ops, const char *url,
	       bool durable_puts)
{
	char *copy = strdup(url);

	if (!copy)
		return fail(-ENOMEM, "out of memory");
	*s = (struct store){ .ops = ops,
			     .url = copy,
			     .durable_puts = durable_puts };
	return 0;
}

void store_release(struct store *s)
{
	free(s->url);
	s->url = NULL;
}
