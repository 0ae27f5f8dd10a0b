// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * failsys: lets one system call on files below one directory fail, or the process
 * be killed just before it. Loaded before the C library, so that what is
 * tested is the program as it is shipped:
 *
 *	LD_PRELOAD=$BUILD/tests/preload/failsys.so FAILSYS_DIR=/tmp/v \
 *		FAILSYS_AT=17 FAILSYS_ERRNO=ENOSPC FAILSYS_COUNT_FILE=/tmp/n \
 *		vaultctl backup ...
 *
 * To walk through a whole run: N = 1, 2, ... until the count file says that
 * nothing was struck. Set the variables for that one command only: processes that it
 * starts inherit them and count for themselves. Who walks far forks instead, without
 * FAILSYS_AT, and has each child call failsys_arm(N), which dlsym() finds.
 *
 *	FAILSYS_DIR	what is counted: calls on paths and descriptors below
 *			it, and on the directory itself. Required.
 *	FAILSYS_AT	the number of the call that fails, from 1; none if unset
 *	FAILSYS_TIMES	how many fail from there on (1); 0: all of them
 *	FAILSYS_ERRNO	what it fails with: a name (EIO, ENOSPC, EDQUOT, EROFS, EINTR,
 *			EACCES, ENOENT, ESTALE, EMFILE, ENOMEM, EEXIST) or a
 *			number; EIO if unset. The call is not made, except
 *			that close() always closes.
 *	FAILSYS_AFTER	1: the call is made, and fails all the same: its answer was lost
 *	FAILSYS_KILL	1: SIGKILL before the call in place of the failure
 *	FAILSYS_ONLY	names, with commas: only these calls are counted. They are: open
 *			read write close stat link rename mkdir unlink fsync
 *			syncfs
 *	FAILSYS_WITHOUT	what this system has not, with commas: openat2,
 *			tmpfile (O_TMPFILE), proc (links through /proc/self/fd),
 *			renameat2 (RENAME_NOREPLACE), link, syncfs (the file
 *			system's type is none that is known to honour it).
 *			Such calls fail as they do on those systems; that is
 *			neither counted nor struck.
 *	FAILSYS_SHORT	1: each read and write moves half of what was asked
 *	FAILSYS_COUNT_FILE  at exit: "COUNTED STRUCK\n". Not after a SIGKILL.
 *	FAILSYS_TRACE	a file: a line "NUMBER NAME PATH" is added for each counted call
 *
 * Not covered: what the C library does inside itself (fopen, opendir, readdir),
 * and memory maps. Which threads' calls get which number varies from run to run.
 *
 * A sanitized program wants its own run time first; it is content with
 * ASAN_OPTIONS=verify_asan_link_order=0 in the environment.
 */

/* Both open and open64 are defined below, so the one must not be the other. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The next definition of the function of this name; looked up at its first call. */
#define REAL(name)                                                             \
	({                                                                     \
		static _Atomic(void *) real_;                                  \
		void *f_ = atomic_load(&real_);                                \
		if (!f_) {                                                     \
			f_ = dlsym(RTLD_NEXT, #name);                          \
			atomic_store(&real_, f_);                              \
		}                                                              \
		(__typeof__(name) *)f_;                                        \
	})

/* What fortified programs call; no header declares them. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t room);

static struct {
	bool on;
	char dir[2 * PATH_MAX];
	size_t len;
	unsigned long at;
	unsigned long times;
	int error;
	bool after;
	bool kill;
	bool halve;
	const char *only;
	const char *without;
	const char *count_file;
	const char *trace;
} config;

static atomic_ulong counted;
static atomic_ulong struck;

/* Digits; 0 for anything else. */
static unsigned long number(const char *s)
{
	unsigned long n = 0;

	for (; s && *s; s++) {
		if (*s < '0' || *s > '9')
			return 0;
		n = n * 10 + (unsigned long)(*s - '0');
	}
	return n;
}

static int errno_of(const char *s)
{
	static const struct {
		const char *name;
		int value;
	} known[] = {
		{ "EIO", EIO },	      { "ENOSPC", ENOSPC },
		{ "EDQUOT", EDQUOT }, { "EROFS", EROFS },
		{ "EINTR", EINTR },   { "EACCES", EACCES },
		{ "ENOENT", ENOENT }, { "ESTALE", ESTALE },
		{ "EMFILE", EMFILE }, { "ENOMEM", ENOMEM },
		{ "EEXIST", EEXIST },
	};

	for (size_t i = 0; s && i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(s, known[i].name))
			return known[i].value;
	return number(s) ? (int)number(s) : EIO;
}

static bool set(const char *name)
{
	const char *v = getenv(name);

	return v && *v && strcmp(v, "0") != 0;
}

/* The directory need not be there yet. */
static void resolve(const char *path)
{
	char head[PATH_MAX], above[PATH_MAX], *slash;

	if (realpath(path, config.dir))
		return;
	snprintf(head, sizeof(head), "%s", path);
	while (strlen(head) > 1 && head[strlen(head) - 1] == '/')
		head[strlen(head) - 1] = '\0';
	slash = strrchr(head, '/');
	if (slash)
		*slash = '\0';
	if (realpath(!slash ? "." : *head ? head : "/", above))
		snprintf(config.dir, sizeof(config.dir), "%s/%s",
			 strcmp(above, "/") ? above : "",
			 slash ? slash + 1 : head);
	else
		snprintf(config.dir, sizeof(config.dir), "%s", path);
}

__attribute__((constructor)) static void start(void)
{
	const char *dir = getenv("FAILSYS_DIR"), *s;

	if (!dir || !*dir)
		return;
	resolve(dir);
	config.len = strlen(config.dir);
	config.at = number(getenv("FAILSYS_AT"));
	s = getenv("FAILSYS_TIMES");
	config.times = s ? number(s) : 1;
	config.error = errno_of(getenv("FAILSYS_ERRNO"));
	config.after = set("FAILSYS_AFTER");
	config.kill = set("FAILSYS_KILL");
	config.halve = set("FAILSYS_SHORT");
	config.only = getenv("FAILSYS_ONLY");
	config.without = getenv("FAILSYS_WITHOUT");
	config.count_file = getenv("FAILSYS_COUNT_FILE");
	config.trace = getenv("FAILSYS_TRACE");
	config.on = true;
}

/* From now on, call n counted from here; 0: none. */
void failsys_arm(unsigned long n);

void failsys_arm(unsigned long n)
{
	config.at = n;
	atomic_store(&counted, 0);
	atomic_store(&struck, 0);
}

static void append(const char *path, int flags, const char *text)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			      O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

	if (fd < 0)
		return;
	syscall(SYS_write, fd, text, strlen(text));
	syscall(SYS_close, fd);
}

__attribute__((destructor)) static void end(void)
{
	char text[64];

	if (!config.on || !config.count_file)
		return;
	snprintf(text, sizeof(text), "%lu %lu\n", atomic_load(&counted),
		 atomic_load(&struck));
	append(config.count_file, O_TRUNC, text);
}

/* word is one of the words, which have commas between them. */
static bool listed(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; p && (p = strstr(p, word)); p += len)
		if ((p == words || p[-1] == ',') && (!p[len] || p[len] == ','))
			return true;
	return false;
}

static bool without(const char *what)
{
	return config.on && config.without && listed(config.without, what);
}

/*
 * Which calls count.
 */

static bool below(const char *path)
{
	return !strncmp(path, config.dir, config.len) &&
	       (!path[config.len] || path[config.len] == '/' ||
		path[config.len] == ' ');
}

static bool fd_path(int fd, char path[static PATH_MAX])
{
	char self[40];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool fd_below(int fd, char path[static PATH_MAX])
{
	int keep = errno;
	bool r = config.on && fd >= 0 && fd_path(fd, path) && below(path);

	errno = keep;
	return r;
}

static bool at_below(int at, const char *name, char path[static PATH_MAX])
{
	int keep = errno;
	size_t len;
	bool r = false;

	if (!config.on || !name)
		return false;
	if (*name == '/') {
		snprintf(path, PATH_MAX, "%s", name);
		return below(path);
	}
	if (at == AT_FDCWD ? getcwd(path, PATH_MAX) != NULL
			   : fd_path(at, path)) {
		r = below(path);
		len = strlen(path);
		snprintf(path + len, PATH_MAX - len, "/%s", name);
		r = r || below(path);
	}
	errno = keep;
	return r;
}

/* Counts one. True: this is the one that fails. */
static bool hit(const char *name, const char *path)
{
	unsigned long n;
	char line[PATH_MAX + 64];
	int keep = errno;
	bool now;

	if (config.only && !listed(config.only, name))
		return false;
	n = atomic_fetch_add(&counted, 1) + 1;
	now = config.at && n >= config.at &&
	      (!config.times || n - config.at < config.times);
	if (config.trace) {
		snprintf(line, sizeof(line), "%lu %s %s%s\n", n, name, path,
			 now ? " <-" : "");
		append(config.trace, O_APPEND, line);
	}
	if (now) {
		atomic_fetch_add(&struck, 1);
		if (config.kill)
			raise(SIGKILL);
	}
	errno = keep;
	return now;
}

/* The value of call, or -1: it is not made, or its answer is lost. */
#define STRIKE(counts, name, path, call)                                       \
	({                                                                     \
		__typeof__(call) r_ = -1;                                      \
		bool now_ = (counts) && hit(name, path);                       \
		if (!now_ || config.after)                                     \
			r_ = (call);                                           \
		if (now_) {                                                    \
			r_ = -1;                                               \
			errno = config.error;                                  \
		}                                                              \
		r_;                                                            \
	})

/* Opening: a descriptor whose answer is lost must not stay open. */
#define OPEN(at, path, flags, call)                                            \
	({                                                                     \
		char where_[PATH_MAX];                                         \
		int fd_ = -1;                                                  \
		if (!at_below(at, path, where_)) {                             \
			fd_ = (int)(call);                                     \
		} else if (((flags)&O_TMPFILE) == O_TMPFILE &&                 \
			   without("tmpfile")) {                               \
			errno = EOPNOTSUPP;                                    \
		} else if (!hit("open", where_)) {                             \
			fd_ = (int)(call);                                     \
		} else {                                                       \
			if (config.after && (fd_ = (int)(call)) >= 0)          \
				syscall(SYS_close, fd_);                       \
			fd_ = -1;                                              \
			errno = config.error;                                  \
		}                                                              \
		fd_;                                                           \
	})

#define MODE_OF(flags)                                                         \
	({                                                                     \
		mode_t mode_ = 0;                                              \
		if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {        \
			va_list ap_;                                           \
			va_start(ap_, flags);                                  \
			mode_ = (mode_t)va_arg(ap_, unsigned);                 \
			va_end(ap_);                                           \
		}                                                              \
		mode_;                                                         \
	})

int open(const char *path, int flags, ...)
{
	mode_t mode = MODE_OF(flags);

	return OPEN(AT_FDCWD, path, flags, REAL(open)(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = MODE_OF(flags);

	return OPEN(AT_FDCWD, path, flags, REAL(open64)(path, flags, mode));
}

int openat(int at, const char *path, int flags, ...)
{
	mode_t mode = MODE_OF(flags);

	return OPEN(at, path, flags, REAL(openat)(at, path, flags, mode));
}

int openat64(int at, const char *path, int flags, ...)
{
	mode_t mode = MODE_OF(flags);

	return OPEN(at, path, flags, REAL(openat64)(at, path, flags, mode));
}

int __open_2(const char *path, int flags)
{
	return OPEN(AT_FDCWD, path, flags, REAL(__open_2)(path, flags));
}

int __open64_2(const char *path, int flags)
{
	return OPEN(AT_FDCWD, path, flags, REAL(__open64_2)(path, flags));
}

int __openat_2(int at, const char *path, int flags)
{
	return OPEN(at, path, flags, REAL(__openat_2)(at, path, flags));
}

int __openat64_2(int at, const char *path, int flags)
{
	return OPEN(at, path, flags, REAL(__openat64_2)(at, path, flags));
}

long syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
#ifdef SYS_openat2
	if (nr == SYS_openat2) {
		if (without("openat2")) {
			errno = ENOSYS;
			return -1;
		}
		return OPEN((int)a[0], (const char *)a[1], 0,
			    REAL(syscall)(nr, a[0], a[1], a[2], a[3]));
	}
#endif
	return REAL(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static size_t half(size_t n)
{
	return config.halve && n > 1 ? n / 2 : n;
}

/* A call on one descriptor, of n bytes in or out. */
#define MOVE(name, fd, n, call)                                                \
	({                                                                     \
		char path_[PATH_MAX];                                          \
		bool below_ = fd_below(fd, path_);                             \
		if (below_)                                                    \
			n = half(n);                                           \
		STRIKE(below_, name, path_, call);                             \
	})

ssize_t read(int fd, void *buf, size_t n)
{
	return MOVE("read", fd, n, REAL(read)(fd, buf, n));
}

ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
	return MOVE("read", fd, n, REAL(__read_chk)(fd, buf, n, room));
}

ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return MOVE("read", fd, n, REAL(pread)(fd, buf, n, off));
}

ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room)
{
	return MOVE("read", fd, n, REAL(__pread_chk)(fd, buf, n, off, room));
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	return MOVE("read", fd, n, REAL(pread64)(fd, buf, n, off));
}

ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t room)
{
	return MOVE("read", fd, n, REAL(__pread64_chk)(fd, buf, n, off, room));
}

ssize_t write(int fd, const void *buf, size_t n)
{
	return MOVE("write", fd, n, REAL(write)(fd, buf, n));
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return MOVE("write", fd, n, REAL(pwrite)(fd, buf, n, off));
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off)
{
	return MOVE("write", fd, n, REAL(pwrite64)(fd, buf, n, off));
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	char path[PATH_MAX];
	struct iovec first = { 0 };

	if (!fd_below(fd, path))
		return REAL(writev)(fd, iov, count);
	if (config.halve && count > 0) {
		first = (struct iovec){ iov[0].iov_base, half(iov[0].iov_len) };
		/* Nothing written would look like a full disk. */
		if (first.iov_len)
			return STRIKE(true, "write", path,
				      REAL(writev)(fd, &first, 1));
	}
	return STRIKE(true, "write", path, REAL(writev)(fd, iov, count));
}

int close(int fd)
{
	char path[PATH_MAX];
	bool now = fd_below(fd, path) &&
		   (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY &&
		   !(fcntl(fd, F_GETFL) & O_PATH) && hit("close", path);
	int r = REAL(close)(fd);

	if (!now)
		return r;
	errno = config.error;
	return -1;
}

#define ON_FD(name, fd, call)                                                  \
	({                                                                     \
		char path_[PATH_MAX];                                          \
		STRIKE(fd_below(fd, path_), name, path_, call);                \
	})

#define ON_PATH(name, at, path, call)                                          \
	({                                                                     \
		char path_[PATH_MAX];                                          \
		STRIKE(at_below(at, path, path_), name, path_, call);          \
	})

int fsync(int fd)
{
	return ON_FD("fsync", fd, REAL(fsync)(fd));
}

int fdatasync(int fd)
{
	return ON_FD("fsync", fd, REAL(fdatasync)(fd));
}

int syncfs(int fd)
{
	return ON_FD("syncfs", fd, REAL(syncfs)(fd));
}

int fstat(int fd, struct stat *st)
{
	return ON_FD("stat", fd, REAL(fstat)(fd, st));
}

int fstat64(int fd, struct stat64 *st)
{
	return ON_FD("stat", fd, REAL(fstat64)(fd, st));
}

int fstatat(int at, const char *path, struct stat *st, int flags)
{
	return ON_PATH("stat", at, path, REAL(fstatat)(at, path, st, flags));
}

int fstatat64(int at, const char *path, struct stat64 *st, int flags)
{
	return ON_PATH("stat", at, path, REAL(fstatat64)(at, path, st, flags));
}

int mkdir(const char *path, mode_t mode)
{
	return ON_PATH("mkdir", AT_FDCWD, path, REAL(mkdir)(path, mode));
}

int mkdirat(int at, const char *path, mode_t mode)
{
	return ON_PATH("mkdir", at, path, REAL(mkdirat)(at, path, mode));
}

int unlink(const char *path)
{
	return ON_PATH("unlink", AT_FDCWD, path, REAL(unlink)(path));
}

int rmdir(const char *path)
{
	return ON_PATH("unlink", AT_FDCWD, path, REAL(rmdir)(path));
}

int unlinkat(int at, const char *path, int flags)
{
	return ON_PATH("unlink", at, path, REAL(unlinkat)(at, path, flags));
}

static bool no_link(const char *old)
{
	if (without("link")) {
		errno = EPERM;
		return true;
	}
	if (without("proc") && !strncmp(old, "/proc/", 6)) {
		errno = ENOENT;
		return true;
	}
	return false;
}

int link(const char *old, const char *path)
{
	if (no_link(old))
		return -1;
	return ON_PATH("link", AT_FDCWD, path, REAL(link)(old, path));
}

int linkat(int old_at, const char *old, int at, const char *path, int flags)
{
	if (no_link(old))
		return -1;
	return ON_PATH("link", at, path,
		       REAL(linkat)(old_at, old, at, path, flags));
}

int rename(const char *old, const char *path)
{
	return ON_PATH("rename", AT_FDCWD, path, REAL(rename)(old, path));
}

int renameat(int old_at, const char *old, int at, const char *path)
{
	return ON_PATH("rename", at, path,
		       REAL(renameat)(old_at, old, at, path));
}

int renameat2(int old_at, const char *old, int at, const char *path,
	      unsigned flags)
{
	if (flags && without("renameat2")) {
		errno = EINVAL;
		return -1;
	}
	return ON_PATH("rename", at, path,
		       REAL(renameat2)(old_at, old, at, path, flags));
}

int fstatfs(int fd, struct statfs *fs)
{
	int r = REAL(fstatfs)(fd, fs);

	if (r == 0 && without("syncfs"))
		fs->f_type = 0;
	return r;
}

int fstatfs64(int fd, struct statfs64 *fs)
{
	int r = REAL(fstatfs64)(fd, fs);

	if (r == 0 && without("syncfs"))
		fs->f_type = 0;
	return r;
}
