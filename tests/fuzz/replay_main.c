// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The main of a fuzz target in an ordinary build: feeds it the empty input,
 * then each file named, and each file of each directory named. So the corpus
 * is a regression test with any compiler, and a crash found by the fuzzer is
 * reproduced by `fuzz_x FILE`.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t replayed;

static void die(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

/*
 * The input is a heap block of exactly its size, so that a sanitizer sees a
 * read of one byte too many.
 */
static void feed(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		die("malloc");
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	replayed++;
}

static void replay_file(const char *path)
{
	uint8_t *data = NULL;
	size_t len = 0, room = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	do {
		if (len == room) {
			room = room ? room * 2 : 65536;
			data = realloc(data, room);
			if (!data)
				die(path);
		}
		n = read(fd, data + len, room - len);
		if (n < 0)
			die(path);
		len += (size_t)n;
	} while (n > 0);
	close(fd);

	if (getenv("REPLAY_VERBOSE"))
		fprintf(stderr, "%s\n", path);
	feed(data, len);
	free(data);
}

static void replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n;

	if (stat(path, &st) < 0)
		die(path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		die(path);
	for (int i = 0; i < n; i++) {
		char *sub;

		if (names[i]->d_name[0] != '.') {
			if (asprintf(&sub, "%s/%s", path, names[i]->d_name) < 0)
				die(path);
			replay(sub);
			free(sub);
		}
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	feed(NULL, 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%zu inputs\n", replayed);
	return 0;
}
