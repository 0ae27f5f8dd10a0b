// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/dm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/fs.h>
#include <linux/keyctl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "backend/base/err.h"
#include "backend/base/log.h"

/* Attaching competes with others for the same free number. */
#define LOOP_TRIES 64

/* --- device-mapper --- */

/* What libdevmapper said last: its calls only return that they failed. */
static char said[ERR_MAX];

PRINTF(5, 6)
static void note(int level, const char *file, int line, int dm_errno,
		 const char *fmt, ...)
{
	char text[ERR_MAX];
	va_list ap;

	/* The low bits are the level, 3 and 2 being errors. */
	if ((level & 7) > 4)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_debug("device-mapper: %s", text);
	if ((level & 7) <= 3)
		snprintf(said, sizeof(said), "%s", text);
}

static int failed(struct dm_task *t, const char *what, const char *name)
{
	int e = t ? dm_task_get_errno(t) : ENOMEM;

	if (e == 0)
		e = EIO;
	return fail(-e, "/dev/mapper/%s: %s: %s", name, what,
		    said[0] ? said : strerror(e));
}

static void task_free(struct dm_task *t)
{
	if (t)
		dm_task_destroy(t);
}

DROP_DEFINE(task, struct dm_task *, task_free)

static int task_new(int type, const char *name, struct dm_task **ret)
{
	DROP(task) struct dm_task *t = NULL;

	dm_log_with_errno_init(note);
	said[0] = '\0';
	t = dm_task_create(type);
	if (!t || (name && !dm_task_set_name(t, name)))
		return failed(t, "cannot be asked for",
			      name ? name : "control");
	*ret = take(t);
	return 0;
}

/* Runs it, and waits until udev, where there is one, has made the nodes. */
static int task_run(struct dm_task *t)
{
	uint32_t cookie = 0;
	int ok;

	ok = dm_task_set_cookie(t, &cookie,
				DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
					DM_UDEV_DISABLE_DISK_RULES_FLAG |
					DM_UDEV_DISABLE_OTHER_RULES_FLAG);
	ok = ok && dm_task_run(t);
	dm_udev_wait(cookie);
	return ok;
}

bool dm_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= DM_NAME_SIZE || !strcmp(name, ".") ||
	    !strcmp(name, "..") || !strcmp(name, "control"))
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789#+-.:=@_") == n;
}

int dm_check(void)
{
	DROP(task) struct dm_task *t = NULL;
	int r;

	if (geteuid() != 0)
		return fail(-EACCES,
			    "only root can open volumes in the kernel; without "
			    "it, mount the vault with the keys and read its "
			    "volumes/");
	r = task_new(DM_DEVICE_VERSION, NULL, &t);
	if (r == 0 && !dm_task_run(t))
		return fail(-EACCES,
			    "no device-mapper here (%s); without it, mount the "
			    "vault with the keys and read its volumes/",
			    said[0] ? said : "no driver");
	return r;
}

int dm_query(const char *name, struct dm_device *out)
{
	DROP(task) struct dm_task *t = NULL;
	struct dm_info info;
	const char *uuid;
	int r = task_new(DM_DEVICE_INFO, name, &t);

	memset(out, 0, sizeof(*out));
	if (r < 0)
		return r;
	if (!dm_task_run(t) || !dm_task_get_info(t, &info))
		return failed(t, "no answer", name);
	if (!info.exists)
		return 0;
	uuid = dm_task_get_uuid(t);
	out->exists = true;
	snprintf(out->uuid, sizeof(out->uuid), "%s", uuid ? uuid : "");
	out->major = info.major;
	out->minor = info.minor;
	out->open_count = info.open_count > 0 ? (unsigned)info.open_count : 0;
	out->readonly = info.read_only;
	return 0;
}

int dm_create(const char *name, const char *uuid, bool readonly,
	      const struct dm_target *targets, size_t n)
{
	DROP(task) struct dm_task *t = NULL;
	struct dm_device there;
	int r = dm_query(name, &there);

	if (r < 0)
		return r;
	if (there.exists)
		return fail(-EEXIST, "/dev/mapper/%s: it is there already",
			    name);
	r = task_new(DM_DEVICE_CREATE, name, &t);
	if (r < 0)
		return r;
	/* The text of its tables is wiped after use. */
	if (!dm_task_set_uuid(t, uuid) || !dm_task_secure_data(t) ||
	    (readonly && !dm_task_set_ro(t)))
		return failed(t, "cannot be described", name);
	for (size_t i = 0; i < n; i++)
		if (!dm_task_add_target(t, targets[i].start, targets[i].len,
					targets[i].type, targets[i].params))
			return failed(t, "cannot be described", name);
	if (!task_run(t))
		return failed(t, "cannot be made", name);
	return 0;
}

int dm_remove(const char *name)
{
	DROP(task) struct dm_task *t = NULL;
	int r = task_new(DM_DEVICE_REMOVE, name, &t);

	if (r < 0)
		return r;
	dm_task_retry_remove(t);
	if (!task_run(t))
		return failed(t, "cannot be removed", name);
	return 0;
}

/* --- keys --- */

int dm_key_add(struct secret *key, const char *name, struct dm_key *out)
{
	char what[DM_NAME_SIZE + 16];
	long serial;

	snprintf(what, sizeof(what), "vaultfs:%s", name);
	serial = syscall(SYS_add_key, "logon", what, secret_bytes(key),
			 secret_size(key), KEY_SPEC_THREAD_KEYRING);
	if (serial < 0)
		return fail_errno(errno, "the kernel does not take the volume "
					 "key into its keyring");
	out->serial = (int32_t)serial;
	snprintf(out->spec, sizeof(out->spec), ":%zu:logon:%s",
		 secret_size(key), what);
	return 0;
}

void dm_key_drop(struct dm_key *k)
{
	if (k->serial)
		syscall(SYS_keyctl, KEYCTL_UNLINK, k->serial,
			KEY_SPEC_THREAD_KEYRING);
	k->serial = 0;
}

/* --- loop devices --- */

static int configure(int fd, int file, uint64_t off, uint64_t len,
		     bool readonly)
{
	struct loop_config c = {
		.fd = (uint32_t)file,
		.info.lo_offset = off,
		.info.lo_sizelimit = len,
		/* Pages are kept once: by what is on top of the loop. */
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO |
				 (readonly ? LO_FLAGS_READ_ONLY : 0),
	};

	return ioctl(fd, LOOP_CONFIGURE, &c) < 0 ? -errno : 0;
}

/* -EBUSY: somebody else has taken that number meanwhile. */
static int loop_try(int control, int file, uint64_t off, uint64_t len,
		    bool readonly, struct loop *ret)
{
	DROP(fd) int fd = -1;
	char path[sizeof(ret->path)];
	int number = ioctl(control, LOOP_CTL_GET_FREE), r;

	if (number < 0)
		return fail_errno(errno, "no loop device is to be had");
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0 && errno == ENXIO)
		return -EBUSY;
	if (fd < 0)
		return fail_errno(errno, "%s", path);
	r = configure(fd, file, off, len, readonly);
	if (r == -EBUSY)
		return r;
	if (r < 0)
		return fail_errno(-r, "%s: cannot be attached", path);
	memcpy(ret->path, path, sizeof(path));
	ret->fd = take_fd(&fd);
	return 0;
}

int loop_open(int file, uint64_t off, uint64_t len, bool readonly,
	      struct loop *ret)
{
	DROP(fd) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int r = -EBUSY;

	if (control < 0)
		return fail_errno(errno,
				  "/dev/loop-control (is the kernel's module "
				  "'loop' loaded?)");
	if (off % DM_SECTOR || len < DM_SECTOR)
		return fail(-EINVAL,
			    "it lies at byte %" PRIu64
			    ", not on a sector: the kernel cannot open it",
			    off);
	for (int i = 0; i < LOOP_TRIES && r == -EBUSY; i++)
		r = loop_try(control, file, off, len - len % DM_SECTOR,
			     readonly, ret);
	if (r == -EBUSY)
		return fail(r, "others take every free loop device");
	return r;
}

void loop_close(struct loop *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void blockdev_read_ahead(const char *path, uint64_t bytes)
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, BLKRASET, bytes / DM_SECTOR) < 0)
		log_debug("%s: read-ahead stays as it is", path);
}
