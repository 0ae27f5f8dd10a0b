// SPDX-License-Identifier: GPL-3.0-or-later
/* Our VHDs against those of qemu-img: skipped where there is none. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/base/parse.h"
#include "backend/source/source.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

extern char **environ;

static const uint8_t uuid[16] = "0123456789abcdef";

/* Its exit code, its output in file out (NULL: none); -1: it is not there. */
static int run(const char *out, const char *const argv[])
{
	posix_spawn_file_actions_t fa;
	int status, r;
	pid_t pid;

	CHECK(!posix_spawn_file_actions_init(&fa));
	CHECK(!posix_spawn_file_actions_addopen(&fa, 1, out ? out : "/dev/null",
						O_WRONLY | O_CREAT | O_TRUNC,
						0600));
	r = posix_spawnp(&pid, argv[0], &fa, NULL, (char **)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -1;
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(out, ...) run(out, (const char *const[]){ __VA_ARGS__, NULL })

static void last_512(const char *path, uint8_t footer[static VHD_FOOTER_SIZE],
		     uint64_t *size)
{
	DROP(source) struct source *s = NULL;

	CHECK_OK(source_open_file(path, &s));
	*size = source_size(s) - VHD_FOOTER_SIZE;
	CHECK_OK(source_read(s, footer, VHD_FOOTER_SIZE, *size));
}

static void put(const char *path, const void *p, size_t n, uint64_t off)
{
	DROP(fd) int fd = open(path, O_WRONLY | O_CREAT, 0600);

	CHECK(fd >= 0 && pwrite(fd, p, n, (off_t)off) == (ssize_t)n);
}

/* qemu's footer and ours, but for what each may choose. geometry: also that;
 * otherwise it writes the maximum, by which it says not to trust it. */
static void compare(uint64_t asked, bool force_size)
{
	uint8_t theirs[VHD_FOOTER_SIZE], ours[VHD_FOOTER_SIZE];
	DROP(source) struct source *s = NULL;
	char size_arg[32];
	uint64_t size;
	bool is_vhd;
	int64_t time;

	snprintf(size_arg, sizeof(size_arg), "%" PRIu64, asked);
	CHECK(RUN(NULL, "qemu-img", "create", "-q", "-f", "vpc", "-o",
		  force_size ? "subformat=fixed,force_size=on"
			     : "subformat=fixed",
		  "q.vhd", size_arg) == 0);
	last_512("q.vhd", theirs, &size);
	CHECK(!force_size || size == asked);

	time = (((int64_t)theirs[24] << 24 | theirs[25] << 16 |
		 theirs[26] << 8 | theirs[27]) +
		946684800) *
	       1000000000;
	CHECK(llabs(time - time_now_ns()) < INT64_C(600) * 1000000000);
	vhd_footer(size, theirs + 68, time, ours);
	memcpy(ours + 28, theirs + 28, 8); /* creator and its version */
	if (force_size)
		memcpy(ours + 56, theirs + 56, 4);
	memcpy(ours + 64, theirs + 64, 4); /* checksum */
	CHECK_MEM(ours, theirs, VHD_FOOTER_SIZE);

	/* The checksum is checked here. */
	CHECK_OK(source_open_file("q.vhd", &s));
	CHECK_OK(source_open_vhd(take(s), VHD_AUTO, &s, &is_vhd));
	CHECK(is_vhd);
	CHECK_U64(source_size(s), size);
	unlink("q.vhd");
}

/* qemu sees the whole disk, also where its geometry is smaller. */
static void qemu_reads(uint64_t size)
{
	const struct pattern p = { .seed = 3 };
	uint8_t tail[4096 + VHD_FOOTER_SIZE], got[4096];
	DROP(source) struct source *s = NULL;
	char want[64];
	struct stat st;

	CHECK_OK(source_open_pattern(&p, size, &s));
	CHECK_OK(source_open_with_vhd_footer(take(s), uuid, 0, &s));
	CHECK_OK(source_read(s, tail, sizeof(tail), size - 4096));
	put("o.vhd", tail, sizeof(tail), size - 4096);
	source_close(take(s));

	CHECK(RUN("info", "qemu-img", "info", "--output=json", "-f", "vpc",
		  "o.vhd") == 0);
	{
		DROP(fd) int fd = open("info", O_RDONLY);
		char text[4096] = "";

		CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
		snprintf(want, sizeof(want), "\"virtual-size\": %" PRIu64 ",",
			 size);
		CHECK(strstr(text, want));
	}
	if (size < GIB) {
		CHECK(RUN(NULL, "qemu-img", "convert", "-f", "vpc", "-O", "raw",
			  "o.vhd", "o.raw") == 0);
		CHECK(!stat("o.raw", &st) && (uint64_t)st.st_size == size);
		CHECK_OK(source_open_file("o.raw", &s));
		CHECK_OK(source_read(s, got, sizeof(got), size - 4096));
		CHECK_MEM(got, tail, sizeof(got));
		unlink("o.raw");
	}
	unlink("o.vhd");
	unlink("info");
}

static void refuses_dynamic(void)
{
	DROP(source) struct source *s = NULL;
	bool is_vhd;

	CHECK(RUN(NULL, "qemu-img", "create", "-q", "-f", "vpc", "q.vhd",
		  "16M") == 0);
	CHECK_OK(source_open_file("q.vhd", &s));
	CHECK_SAYS(-EPROTO, "it is a dynamic VHD",
		   source_open_vhd(take(s), VHD_AUTO, &s, &is_vhd));
	unlink("q.vhd");
}

int main(void)
{
	static const uint64_t sizes[] = {
		MIB,	   10 * MIB,	    33557504,
		100 * MIB, 512 * MIB - 512, 512 * MIB,
		GIB,	   5 * GIB + 512,   31 * GIB,
		32 * GIB,  130 * GIB,	    2040 * GIB,
	};
	const char *dir = getenv("TMPDIR");

	if (RUN(NULL, "qemu-img", "--version") != 0) {
		printf("no qemu-img\n");
		return 77;
	}
	CHECK(chdir(dir ? dir : "/tmp") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		compare(sizes[i], true);
		qemu_reads(sizes[i]);
		/* It writes no other size where it trusts the geometry. */
		if (sizes[i] < 127 * GIB)
			compare(sizes[i], false);
	}
	refuses_dynamic();
	return 0;
}
