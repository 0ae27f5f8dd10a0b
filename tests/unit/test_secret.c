// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/base/hash.h"
#include "tests/unit/check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* mlock() and signals are not the kernel's own */
#else
#define SANITIZED 0
#endif

static char dir[] = "/tmp/test_secret.XXXXXX";
static char path[64];

static void write_file(const char *text, size_t n, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, text, n) == (ssize_t)n);
	CHECK(fchmod(fd, mode) == 0);
	close(fd);
}

static void test_memory(void)
{
	static const size_t sizes[] = { 1,    15,   16,	  32,	 4080, 4095,
					4096, 4097, 8192, 65535, 65536 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		DROP(secret) struct secret *s = NULL;

		CHECK_OK(secret_new(sizes[i], &s));
		CHECK_U64(secret_size(s), sizes[i]);
		CHECK(is_zero(secret_bytes(s), sizes[i]));
		CHECK((uintptr_t)secret_bytes(s) % 16 == 0);
		memset(secret_bytes(s), 0xaa, sizes[i]);
	}
	for (int i = 0; i < 2; i++) {
		struct secret *s = NULL;

		CHECK_FAILS(-EINVAL, secret_new(i ? 65537 : 0, &s));
		CHECK(!s);
	}
	secret_close(NULL);
}

/* The end of the child that touches the byte at off. */
static int touch(struct secret *s, long off)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)(secret_bytes(s) + off) = 1;
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void test_guards(void)
{
	DROP(secret) struct secret *s = NULL;

	CHECK_OK(secret_new(64, &s));
	CHECK(touch(s, 63) == 0);
	CHECK(WIFSIGNALED(touch(s, 64)));
	CHECK(WIFSIGNALED(touch(s, -4096)));
}

/* What the kernel says of the pages: locked, not dumped, wiped on fork. */
static void test_flags(void)
{
	DROP(secret) struct secret *s = NULL;
	unsigned long from, to, at;
	char line[512];
	bool here = false, locked = false, flags = false;
	FILE *f;

	CHECK_OK(secret_new(32, &s));
	at = (unsigned long)secret_bytes(s);
	f = fopen("/proc/self/smaps", "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		unsigned long kib;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= at && at < to;
		else if (here && sscanf(line, "Locked: %lu kB", &kib) == 1)
			locked = kib > 0;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			flags = strstr(line, " lo") && strstr(line, " dd") &&
				strstr(line, " wf");
	}
	fclose(f);
	CHECK(SANITIZED || (locked && flags));
}

static void test_fork(void)
{
	DROP(secret) struct secret *s = NULL;
	int status;
	pid_t pid;

	CHECK_OK(secret_new(32, &s));
	memset(secret_bytes(s), 7, 32);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(is_zero(secret_bytes(s), 32) ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
	CHECK_U64(secret_bytes(s)[31], 7);
}

static void test_setup(void)
{
	struct rlimit limit;
	void *p;

	CHECK_OK(secret_setup());
	CHECK_OK(secret_setup());
	CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
	CHECK(limit.rlim_cur == 0 && limit.rlim_max == 0);
	p = OPENSSL_secure_malloc(100);
	CHECK(p && CRYPTO_secure_allocated(p));
	OPENSSL_secure_free(p);
}

/* Only where the kernel holds us to the limit: not root, not sanitized. */
static void test_limit(void)
{
	static const struct rlimit none = { 0, 0 };
	struct secret *s = NULL;
	int status;
	pid_t pid;

	if (SANITIZED)
		return;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
		if (geteuid() == 0)
			CHECK(setresuid(65534, 65534, 65534) == 0);
		CHECK_SAYS(-EPERM, "ulimit -l", secret_new(32, &s));
		CHECK_SAYS(-EPERM, "LimitMEMLOCK=", secret_new(1, &s));
		CHECK(!s);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

/* Before test_setup(): each in a process that has not been set up yet. */
static void setup_under_limit(rlim_t kib, bool works)
{
	struct rlimit limit = { kib * 1024, kib * 1024 };
	int status;
	pid_t pid;

	if (SANITIZED)
		return;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
		if (geteuid() == 0)
			CHECK(setresuid(65534, 65534, 65534) == 0);
		if (works) {
			struct secret *s = NULL;
			void *p;

			CHECK_OK(secret_setup());
			CHECK_OK(secret_new(32, &s));
			secret_close(s);
			p = OPENSSL_secure_malloc(64);
			CHECK(CRYPTO_secure_allocated(p));
			OPENSSL_secure_free(p);
		} else {
			int r = secret_setup();

			CHECK(r == -ENOMEM || r == -EPERM);
			CHECK(strstr(err_text(r), "ulimit -l"));
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

static void test_read(void)
{
	struct secret *s = NULL;
	static char big[70000];

	unlink(path);
	CHECK_SAYS(-ENOENT, path, secret_read_file(path, 10, &s));
	CHECK_SAYS(-EISDIR, dir, secret_read_file(dir, 10, &s));

	write_file("pass phrase\n", 12, 0600);
	CHECK_OK(secret_read_file(path, 12, &s));
	CHECK_U64(secret_size(s), 12);
	CHECK_MEM(secret_bytes(s), "pass phrase\n", 12);
	secret_close(s);
	s = NULL;
	CHECK_FAILS(-EFBIG, secret_read_file(path, 11, &s));
	/* A failure quotes nothing of it. */
	CHECK(!strstr(err_text(-EFBIG), "pass"));

	write_file("k", 1, 0400);
	CHECK_OK(secret_read_file(path, 65536, &s));
	CHECK_U64(secret_size(s), 1);
	secret_close(s);
	s = NULL;
	write_file("k", 1, 0640);
	CHECK_SAYS(-EACCES, "chmod 600", secret_read_file(path, 10, &s));
	write_file("k", 1, 0604);
	CHECK_SAYS(-EACCES, "chmod 600", secret_read_file(path, 10, &s));
	write_file("", 0, 0600);
	CHECK_FAILS(-EPROTO, secret_read_file(path, 10, &s));

	memset(big, 'k', sizeof(big));
	write_file(big, 65536, 0600);
	CHECK_OK(secret_read_file(path, SIZE_MAX, &s));
	CHECK_U64(secret_size(s), 65536);
	secret_close(s);
	s = NULL;
	write_file(big, 65537, 0600);
	CHECK_FAILS(-EFBIG, secret_read_file(path, SIZE_MAX, &s));
	CHECK(!s);
}

static void hex_refused(const char *text, size_t n)
{
	struct secret *s = NULL;

	write_file(text, n, 0600);
	CHECK_SAYS(-EPROTO, "4 bytes in hex",
		   secret_read_hex_file(path, 4, &s));
	CHECK(!s);
}

static void test_hex(void)
{
	static const size_t sizes[] = { 1, 32, 65536 };
	DROP(secret) struct secret *four = NULL;
	struct stat st;
	char text[32];
	mode_t mask;
	int fd;

	CHECK_OK(secret_new(4, &four));
	memcpy(secret_bytes(four), "\x00\xff\xa5\x1b", 4);
	unlink(path);
	mask = umask(0377);
	CHECK_OK(secret_write_hex_file(four, path));
	umask(mask);
	CHECK(stat(path, &st) == 0);
	CHECK_U64(st.st_mode & 07777, 0600);
	CHECK_SAYS(-EEXIST, path, secret_write_hex_file(four, path));
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text)) == 9);
	close(fd);
	CHECK_MEM(text, "00ffa51b\n", 9);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		DROP(secret) struct secret *s = NULL;
		DROP(secret) struct secret *back = NULL;

		CHECK_OK(secret_new(sizes[i], &s));
		CHECK_OK(random_bytes(secret_bytes(s), sizes[i]));
		unlink(path);
		CHECK_OK(secret_write_hex_file(s, path));
		CHECK_OK(secret_read_hex_file(path, sizes[i], &back));
		CHECK_U64(secret_size(back), sizes[i]);
		CHECK_MEM(secret_bytes(back), secret_bytes(s), sizes[i]);
	}

	hex_refused("00ffa51\n", 8);
	hex_refused("00ffa51b0\n", 10);
	hex_refused("00ffa51b00\n", 11);
	hex_refused("00ffa51b\n\n", 10);
	hex_refused("00ffa51g\n", 9);
	hex_refused("00ffa51\0\n", 9);
	hex_refused("\n", 1);
	write_file("00FFa51B", 8, 0600);
	secret_close(take(four));
	CHECK_OK(secret_read_hex_file(path, 4, &four));
	CHECK_MEM(secret_bytes(four), "\x00\xff\xa5\x1b", 4);
	secret_close(take(four));
	CHECK_FAILS(-EINVAL, secret_read_hex_file(path, 0, &four));
	write_file("00ffa51b\n", 9, 0644);
	CHECK_FAILS(-EACCES, secret_read_hex_file(path, 4, &four));
}

static void test_relative(void)
{
	DROP(secret) struct secret *s = NULL;

	CHECK_OK(secret_new(2, &s));
	CHECK(chdir(dir) == 0);
	unlink(path);
	CHECK_OK(secret_write_hex_file(s, "key"));
	CHECK(access(path, F_OK) == 0);
	CHECK_FAILS(-ENOENT, secret_write_hex_file(s, "no/such/key"));
}

int main(void)
{
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/key", dir);
	setup_under_limit(0, false);
	setup_under_limit(32, false);
	setup_under_limit(64, true);
	setup_under_limit(8192, true);
	test_setup();
	test_memory();
	test_guards();
	test_flags();
	test_fork();
	test_limit();
	test_read();
	test_hex();
	test_relative();
	unlink(path);
	rmdir(dir);
	return 0;
}
