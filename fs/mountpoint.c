// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/err.h"

static int is_empty(const char *path)
{
	DIR *d = opendir(path);
	int r = 0;

	/* Who may not read it may still be allowed to mount on it. */
	if (!d)
		return errno == EACCES
			       ? 0
			       : fail_errno(errno, "mount point %s", path);
	for (const struct dirent *e; !r && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fail(-ENOTEMPTY,
				 "mount point %s is not empty ('-o nonempty' "
				 "mounts over what is there)",
				 path);
	}
	closedir(d);
	return r;
}

int mountpoint_check(const char *path, bool nonempty, char **ret)
{
	DROP(mem) char *real = NULL;
	struct statx st;
	int r;

	if (statx(AT_FDCWD, path, 0, STATX_TYPE, &st)) {
		if (errno == ENOTCONN)
			return fail(
				-ENOTCONN,
				"mount point %s is busy: what was mounted "
				"there died; 'fusermount3 -uz' takes it away",
				path);
		if (errno == ENOENT)
			return fail(
				-ENOENT,
				"mount point %s: there is no such directory",
				path);
		return fail_errno(errno, "mount point %s", path);
	}
	if (!S_ISDIR(st.stx_mode))
		return fail(-ENOTDIR, "mount point %s is not a directory",
			    path);
	if (st.stx_attributes & st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
		return fail(
			-EBUSY,
			"mount point %s is busy: something is mounted there",
			path);
	/* fusermount3 has the same rule. */
	if (geteuid() != 0 && access(path, W_OK))
		return fail_errno(
			errno,
			"mount point %s: you may not write to it, and so not "
			"mount there",
			path);
	if (!nonempty) {
		r = is_empty(path);
		if (r)
			return r;
	}
	real = realpath(path, NULL);
	if (!real)
		return fail_errno(errno, "mount point %s", path);
	*ret = take(real);
	return 0;
}

int mountpoint_check_fuse(void)
{
	DROP(fd) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return fail(
			-ENODEV,
			"there is no /dev/fuse: load the kernel's module "
			"(modprobe fuse), or give the container the device");
	default:
		return fail_errno(errno, "/dev/fuse");
	}
}

int mountpoint_outside(const char *mountpoint, const char *option,
		       const char *path)
{
	DROP(mem) char *real = realpath(path, NULL);
	size_t n = strlen(mountpoint);

	/* One that is not there is told of by whoever opens it. */
	if (!real || strncmp(real, mountpoint, n) != 0 ||
	    (real[n] != '/' && real[n]))
		return 0;
	return fail(-EINVAL,
		    "%s: %s lies under the mountpoint: what is read from there "
		    "would wait for itself",
		    option, path);
}
