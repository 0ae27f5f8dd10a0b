// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

#define PATH_SIZE KEYS_PATH_SIZE
#define TEXT_MAX 256

/* Where each kind of file lives: variable of ours, XDG's, below home. */
static const struct place_of {
	const char *own, *xdg, *home;
} config_place = { "VAULTFS_CONFIG_DIR", "XDG_CONFIG_HOME", ".config" },
  state_place = { "VAULTFS_STATE_DIR", "XDG_STATE_HOME", ".local/state" },
  cache_place = { "VAULTFS_CACHE_DIR", "XDG_CACHE_HOME", ".cache" };

static int root_dir(const struct place_of *w, char *out, size_t size)
{
	const char *own = getenv(w->own), *xdg = getenv(w->xdg);
	const char *home = getenv("HOME");
	char room[4096];
	struct passwd pw, *got = NULL;
	int n;

	if (own && *own) {
		n = snprintf(out, size, "%s", own);
	} else if (xdg && *xdg == '/') {
		n = snprintf(out, size, "%s/vaultfs", xdg);
	} else {
		if (!home || *home != '/') {
			/* A systemd mount has no HOME. */
			if (getpwuid_r(getuid(), &pw, room, sizeof(room),
				       &got) ||
			    !got)
				return fail(
					-ENXIO,
					"no home directory is known; set %s",
					w->own);
			home = pw.pw_dir;
		}
		n = snprintf(out, size, "%s/%s/vaultfs", home, w->home);
	}
	if (n < 0 || (size_t)n >= size)
		return fail(-ENAMETOOLONG, "%s is too long", w->own);
	return 0;
}

int keys_cache_dir(char *out, size_t size)
{
	return root_dir(&cache_place, out, size);
}

static int path_of(const struct place_of *w, const struct vault_id *id,
		   const char *rest, char *out, size_t size)
{
	char root[PATH_SIZE / 2];
	char hex[33];
	int n, r = root_dir(w, root, sizeof(root));

	if (r)
		return r;
	hex_of(id->b, sizeof(id->b), hex);
	n = snprintf(out, size, "%s/vaults/%s/%s", root, hex, rest);
	if (n < 0 || (size_t)n >= size)
		return fail(-ENAMETOOLONG, "%s: path is too long", root);
	return 0;
}

/* Makes the directories above path. */
static int make_parents(const char *path)
{
	char p[PATH_SIZE];

	snprintf(p, sizeof(p), "%s", path);
	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = '\0';
		if (mkdir(p, 0700) && errno != EEXIST)
			return fail_errno(errno, "%s: cannot be made", p);
		*s = '/';
	}
	return 0;
}

/* A short text file, whole; -ENOENT without a sentence worth reading. */
static int read_text(const char *path, char text[static TEXT_MAX])
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail_errno(errno, "%s", path);
	n = read(fd, text, TEXT_MAX - 1);
	if (n < 0)
		return fail_errno(errno, "%s", path);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	text[n] = '\0';
	return 0;
}

/* By a temporary file beside it and rename, so that readers see the old or the
 * new. durable: also after a power failure. The temporary name is none that a
 * VM has in keys. */
static int write_text(const char *path, const char *text, bool durable)
{
	const char *base = strrchr(path, '/') + 1;
	char tmp[PATH_SIZE + 32];
	uint64_t nonce;
	size_t len = strlen(text);
	DROP(fd) int fd = -1;
	int r = make_parents(path);

	if (!r)
		r = random_bytes(&nonce, sizeof(nonce));
	if (r)
		return r;
	snprintf(tmp, sizeof(tmp), "%.*s.%s.%016" PRIx64, (int)(base - path),
		 path, base, nonce);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(errno, "%s: cannot be made", tmp);
	if (write(fd, text, len) != (ssize_t)len || (durable && fsync(fd)) ||
	    rename(tmp, path)) {
		r = fail_errno(errno ? errno : ENOSPC, "%s: cannot be written",
			       path);
		unlink(tmp);
		return r;
	}
	return 0;
}

int keys_pinned(const struct vault_id *id, struct sign_public *out)
{
	char path[PATH_SIZE], text[TEXT_MAX];
	int r = path_of(&config_place, id, "owner.pub", path, sizeof(path));

	if (!r)
		r = read_text(path, text);
	if (r)
		return r;
	r = parse_hex(text, out->b, sizeof(out->b));
	return r ? blame(-EPROTO, "%s: not a pinned key", path) : 0;
}

int keys_pin(const struct vault_id *id, const struct sign_public *owner)
{
	char path[PATH_SIZE], text[2 * SIGN_PUBLIC_SIZE + 2];
	struct sign_public had;
	int r = keys_pinned(id, &had);

	if (r && r != -ENOENT)
		return r;
	if (!r) {
		if (memcmp(&had, owner, sizeof(had)) == 0)
			return 0;
		return fail(-EEXIST,
			    "another owner key is pinned for this vault");
	}
	r = path_of(&config_place, id, "owner.pub", path, sizeof(path));
	if (r)
		return r;
	hex_of(owner->b, sizeof(owner->b), text);
	text[2 * SIGN_PUBLIC_SIZE] = '\n';
	text[2 * SIGN_PUBLIC_SIZE + 1] = '\0';
	return write_text(path, text, true);
}

static int key_path(const struct vault_id *id, const char *which, char *path,
		    size_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.key", which);
	return path_of(&config_place, id, name, path, size);
}

int keys_load(const struct vault_id *id, const char *which,
	      struct secret **seed)
{
	char path[PATH_SIZE];
	int r = key_path(id, which, path, sizeof(path));

	if (r)
		return r;
	if (access(path, F_OK) && errno == ENOENT)
		return fail(
			-ENOENT,
			strcmp(which, "owner") == 0
				? "this needs the vault's owner key, which is not on this host (%s); run it where the vault was made"
				: "this host has no writer key for the vault (%s); see 'vaultctl key add'",
			path);
	return secret_read_hex_file(path, SIGN_SEED_SIZE, seed);
}

int keys_save(const struct vault_id *id, const char *which, struct secret *seed)
{
	char path[PATH_SIZE];
	int r = key_path(id, which, path, sizeof(path));

	if (!r)
		r = make_parents(path);
	return r ? r : secret_write_hex_file(seed, path);
}

/* "NUMBER DIGEST" files. */
static int read_seen(const char *path, uint64_t *n, struct digest *digest)
{
	char text[TEXT_MAX];
	char *space;
	int r = read_text(path, text);

	if (r == -ENOENT) {
		*n = 0;
		memset(digest, 0, sizeof(*digest));
		return 0;
	}
	if (r)
		return r;
	/* Not synced, so a power failure may leave it empty: nothing is known then,
	 * and the day of a power failure is no day to refuse a restore. */
	if (!*text) {
		*n = 0;
		memset(digest, 0, sizeof(*digest));
		return 0;
	}
	space = strchr(text, ' ');
	if (space)
		*space++ = '\0';
	if (!space || parse_u64(text, n) ||
	    parse_hex(space, digest->b, sizeof(digest->b)))
		return fail(
			-EPROTO,
			"%s: damaged; remove it if you trust the vault as it is now",
			path);
	return 0;
}

static int write_seen(const char *path, uint64_t n, const struct digest *digest)
{
	char text[TEXT_MAX], hex[DIGEST_HEX + 1];

	digest_hex(digest, hex);
	snprintf(text, sizeof(text), "%" PRIu64 " %s\n", n, hex);
	return write_text(path, text, false);
}

static int head_path(const struct vault_id *id, const char *vm, char *path,
		     size_t size)
{
	char name[CATALOG_NAME_MAX + 16];

	snprintf(name, sizeof(name), "heads/%s", vm);
	return path_of(&state_place, id, name, path, size);
}

int keys_seen_head(const struct vault_id *id, const char *vm_encoded,
		   uint64_t *seq, struct digest *digest)
{
	char path[PATH_SIZE];
	int r = head_path(id, vm_encoded, path, sizeof(path));

	return r ? r : read_seen(path, seq, digest);
}

int keys_seen_vms(const struct vault_id *id,
		  int (*one)(void *ctx, const char *vm_encoded), void *ctx)
{
	char path[PATH_SIZE];
	struct dirent *e;
	DIR *dir;
	int r = path_of(&state_place, id, "heads", path, sizeof(path));

	if (r)
		return r;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : fail_errno(errno, "%s", path);
	while (!r && (errno = 0, e = readdir(dir)))
		if (e->d_name[0] != '.')
			r = one(ctx, e->d_name);
	if (!r && errno)
		r = fail_errno(errno, "%s", path);
	closedir(dir);
	return r;
}

int keys_see_head(const struct vault_id *id, const char *vm_encoded,
		  uint64_t seq, const struct digest *digest)
{
	char path[PATH_SIZE];
	int r = head_path(id, vm_encoded, path, sizeof(path));

	return r ? r : write_seen(path, seq, digest);
}

static int config_path(const struct vault_id *id, char *path, size_t size)
{
	return path_of(&state_place, id, "config", path, size);
}

void keys_seen_path(const struct vault_id *id, const char *vm_encoded,
		    char path[static KEYS_PATH_SIZE])
{
	if (vm_encoded ? head_path(id, vm_encoded, path, KEYS_PATH_SIZE)
		       : config_path(id, path, KEYS_PATH_SIZE))
		path[0] = '\0';
}

int keys_seen_config(const struct vault_id *id, uint64_t *n,
		     struct digest *digest)
{
	char path[PATH_SIZE];
	int r = config_path(id, path, sizeof(path));

	return r ? r : read_seen(path, n, digest);
}

int keys_see_config(const struct vault_id *id, uint64_t n,
		    const struct digest *digest)
{
	char path[PATH_SIZE];
	int r = config_path(id, path, sizeof(path));

	return r ? r : write_seen(path, n, digest);
}
