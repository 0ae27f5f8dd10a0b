// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/check.h"

static char dir[] = "/tmp/test_log.XXXXXX";

static void check_file(const char *name, const char *want)
{
	static char text[20000];
	DROP(fd) int fd = open(name, O_RDONLY);
	struct stat st;
	ssize_t n;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	CHECK_U64(st.st_mode & 07777, 0600);
	n = read(fd, text, sizeof(text) - 1);
	CHECK(n >= 0);
	text[n] = '\0';
	CHECK_STR(text, want);
}

static void *log_often(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_info("%s", (const char *)arg);
	return NULL;
}

int main(void)
{
	static char big[10000];
	static char text[] = "text";
	pthread_t t[3];
	struct stat st;

	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	log_init("prog", LOG_LEVEL_INFO);
	CHECK_SAYS(-ENOENT, "no/such", log_to("no/such"));
	CHECK_OK(log_to("a"));
	errno = EBUSY;
	log_error("key %d", 1);
	CHECK(errno == EBUSY);
	log_warn("forged\nprog: line \x1b[2J");
	log_debug("not told");
	log_set_level(LOG_LEVEL_DEBUG);
	CHECK(log_enabled(LOG_LEVEL_DEBUG));
	log_debug("told");
	log_set_level(LOG_LEVEL_ERROR);
	CHECK(!log_enabled(LOG_LEVEL_WARN));
	log_warn("not told");
	check_file("a", "prog: key 1\nprog: forged?prog: line ?[2J\n"
			"prog: told\n");

	/* A second file replaces the first, and is appended to. */
	log_set_level(LOG_LEVEL_INFO);
	CHECK_OK(log_to("b"));
	log_info("b");
	CHECK_OK(log_to("a"));
	log_info("again");
	check_file("b", "prog: b\n");
	check_file("a", "prog: key 1\nprog: forged?prog: line ?[2J\n"
			"prog: told\nprog: again\n");

	/* Cut, but a line. */
	CHECK_OK(log_to("c"));
	memset(big, 'x', sizeof(big) - 1);
	log_info("%s", big);
	CHECK(stat("c", &st) == 0 && st.st_size > 4000 && st.st_size < 4200);

	CHECK_OK(log_to("d"));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, log_often, text));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_join(t[i], NULL));
	CHECK(stat("d", &st) == 0);
	CHECK_U64(st.st_size, 600 * strlen("prog: text\n"));

	for (const char *name = "abcd"; *name; name++)
		CHECK(unlink((char[]){ *name, '\0' }) == 0);
	CHECK(rmdir(dir) == 0);
	return 0;
}
