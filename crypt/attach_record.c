// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/attach_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "backend/base/err.h"
#include "backend/base/json.h"

#define RUN_DIR "/run/vaultfs"
#define RECORD_MAX (1u << 20)

/* --- its text --- */

static int is_none(const char *what)
{
	return fail(-EPROTO, "it is no record of 'vaultkey open': %s", what);
}

/* "web" or "web-…": nothing of anybody else's. */
static bool belongs(const char *device, const char *name)
{
	size_t n = strlen(name);

	return strncmp(device, name, n) == 0 &&
	       (device[n] == '\0' || device[n] == '-');
}

static int parse_entry(const struct json *j, const char *name,
		       struct attach_record *out)
{
	const char *device = json_get_str(j, "name");
	const char *uuid = json_get_str(j, "uuid");

	if (!device || !dm_name_valid(device) || !belongs(device, name))
		return is_none("a device has a name of somebody else's");
	if (!uuid || !*uuid || strlen(uuid) >= DM_UUID_SIZE)
		return is_none("a device has no UUID");
	return attach_record_add(out, device, uuid);
}

int attach_record_parse(const char *text, size_t len, const char *name,
			struct attach_record *out)
{
	DROP(json) struct json *j = NULL;
	const struct json *list;
	const char *own;
	uint64_t version;
	int r;

	/* Its maker was stopped before it had made anything. */
	if (len == 0)
		return 0;
	r = json_parse(text, len, 8, &j);
	if (r < 0)
		return r;
	own = json_get_str(j, "name");
	if (!json_get_u64(j, "vaultkey", &version) || version != 1)
		return is_none("its version is not 1");
	if (!own || strcmp(own, name) != 0)
		return is_none("it is of another name");
	list = json_get(j, "devices");
	for (size_t i = 0; i < json_len(list) && r == 0; i++)
		r = parse_entry(json_at(list, i), name, out);
	return r;
}

int attach_record_add(struct attach_record *r, const char *name,
		      const char *uuid)
{
	struct attach_entry *e;

	if (r->count >= ATTACH_DEVICES_MAX)
		return fail(-E2BIG, "more than %d devices", ATTACH_DEVICES_MAX);
	e = reallocarray(r->entries, r->count + 1, sizeof(*e));
	if (!e)
		return fail(-ENOMEM, "out of memory");
	r->entries = e;
	e += r->count++;
	snprintf(e->name, sizeof(e->name), "%s", name);
	snprintf(e->uuid, sizeof(e->uuid), "%s", uuid);
	return 0;
}

static int record_text(const struct attach_record *r, const char *name,
		       char **ret, size_t *len)
{
	DROP(json) struct json *j = json_object();
	struct json *list = json_array();

	json_set_u64(j, "vaultkey", 1);
	json_set_str(j, "name", name);
	for (size_t i = 0; i < r->count; i++) {
		struct json *e = json_object();

		json_set_str(e, "name", r->entries[i].name);
		json_set_str(e, "uuid", r->entries[i].uuid);
		json_push(list, e);
	}
	json_set(j, "devices", list);
	return json_text(j, true, ret, len);
}

/* --- its file --- */

static int trusted(int fd, const char *path, mode_t kind)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_errno(errno, "%s", path);
	if ((st.st_mode & S_IFMT) != kind || st.st_uid != geteuid() ||
	    (st.st_mode & 077))
		return fail(-EACCES,
			    "%s: it must be root's, and nobody else's to read "
			    "(0%o), so it is not believed",
			    path, kind == S_IFDIR ? 0700 : 0600);
	return 0;
}

/* Opens NAME.json in the directory, which is made if flags say so. */
static int open_file(const char *name, int flags, struct attach_record *out)
{
	DROP(fd) int dir = -1;
	char file[128];
	int r;

	snprintf(out->path, sizeof(out->path), "%s/%.100s.json", RUN_DIR, name);
	snprintf(file, sizeof(file), "%.100s.json", name);
	if ((flags & O_CREAT) && mkdir(RUN_DIR, 0700) < 0 && errno != EEXIST)
		return fail_errno(errno, RUN_DIR);
	dir = open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return fail_errno(errno, RUN_DIR);
	r = trusted(dir, RUN_DIR, S_IFDIR);
	if (r < 0)
		return r;
	out->fd = openat(dir, file, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
			 0600);
	if (out->fd < 0)
		return fail_errno(errno, "%s", out->path);
	return trusted(out->fd, out->path, S_IFREG);
}

static int hold(struct attach_record *r, const char *name)
{
	struct stat here, there;

	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0)
		return fail(-EBUSY,
			    "%s is being opened or closed by another process",
			    name);
	/* It may have been closed while we waited for nothing. */
	if (fstat(r->fd, &here) < 0 || stat(r->path, &there) < 0 ||
	    here.st_ino != there.st_ino)
		return fail(-ENOENT, "%s is not open", name);
	return 0;
}

int attach_record_new(const char *name, struct attach_record *out)
{
	int r = open_file(name, O_CREAT | O_EXCL, out);

	if (r == -EEXIST)
		return fail(r,
			    "%s is open already, or was left behind: "
			    "'vaultkey close %s' takes it down",
			    name, name);
	return r < 0 ? r : hold(out, name);
}

static int read_all(int fd, char *text, size_t size, size_t *len)
{
	ssize_t n;

	for (*len = 0; *len < size; *len += (size_t)n) {
		n = pread(fd, text + *len, size - *len, (off_t)*len);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
	}
	return -EFBIG;
}

int attach_record_open(const char *name, struct attach_record *out)
{
	DROP(mem) char *text = NULL;
	size_t len = 0;
	int r = open_file(name, 0, out);

	if (r == -ENOENT)
		return fail(r, "%s is not open", name);
	if (r == 0)
		r = hold(out, name);
	if (r < 0)
		return r;
	text = malloc(RECORD_MAX);
	if (!text)
		return fail(-ENOMEM, "out of memory");
	r = read_all(out->fd, text, RECORD_MAX, &len);
	if (r < 0)
		return fail_errno(-r, "%s", out->path);
	r = attach_record_parse(text, len, name, out);
	return r < 0 ? blame(r, "%s", out->path) : 0;
}

int attach_record_write(const struct attach_record *r, const char *name)
{
	DROP(mem) char *text = NULL;
	size_t len = 0;
	int e = record_text(r, name, &text, &len);

	if (e < 0)
		return e;
	if (pwrite(r->fd, text, len, 0) != (ssize_t)len ||
	    ftruncate(r->fd, (off_t)len) < 0)
		return fail_errno(errno ? errno : EIO, "%s", r->path);
	return 0;
}

int attach_record_remove(struct attach_record *r)
{
	if (unlink(r->path) < 0)
		return fail_errno(errno, "%s", r->path);
	return 0;
}

void attach_record_close(struct attach_record *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	free(r->entries);
	r->entries = NULL;
	r->count = 0;
}
