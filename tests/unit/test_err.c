// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/err.h"

#include <errno.h>
#include <pthread.h>

#include "backend/base/parse.h"
#include "tests/unit/check.h"

static void test_sentences(void)
{
	err_clear();
	CHECK_STR(err_text(-ENOENT), "No such file or directory");
	CHECK(fail(-EPROTO, "%s: bad magic", "k1") == -EPROTO);
	CHECK_STR(err_text(-EPROTO), "k1: bad magic");
	CHECK(blame(-EPROTO, "point %d", 7) == -EPROTO);
	CHECK_STR(err_text(-EPROTO), "point 7: k1: bad magic");

	/* A translated code keeps its sentence, under the new code. */
	CHECK(blame(-EIO, "vault") == -EIO);
	CHECK_STR(err_text(-EIO), "vault: point 7: k1: bad magic");
	/* One that left none does not get another's. */
	CHECK_STR(err_text(-ENOENT), "No such file or directory");

	err_clear();
	CHECK(blame(-ENOENT, "where") == -ENOENT);
	CHECK_STR(err_text(-ENOENT), "where: No such file or directory");

	CHECK(fail_errno(ENOSPC, "put %s", "x") == -ENOSPC);
	CHECK_STR(err_text(-ENOSPC), "put x: No space left on device");
	/* Never a success. */
	CHECK(fail_errno(0, "strange") == -EIO);

	/* The sentence may be made of itself. */
	CHECK(fail(-EIO, "a") == -EIO);
	CHECK(fail(-EINVAL, "b: %s", err_text(-EIO)) == -EINVAL);
	CHECK_STR(err_text(-EINVAL), "b: a");
	CHECK(blame(-EINVAL, "%s", err_text(-EINVAL)) == -EINVAL);
	CHECK_STR(err_text(-EINVAL), "b: a: b: a");
}

static void test_bounds(void)
{
	char text[3 * ERR_MAX];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	CHECK_FAILS(-EIO, fail(-EIO, "%s", text));
	CHECK_U64(strlen(err_text(-EIO)), ERR_MAX - 1);
	CHECK_FAILS(-EIO, blame(-EIO, "at the %s", "front"));
	CHECK_U64(strlen(err_text(-EIO)), ERR_MAX - 1);
	CHECK(strncmp(err_text(-EIO), "at the front: xxx", 17) == 0);

	fail(-EIO, "it broke");
	CHECK_FAILS(-EIO, advise(-EIO, "mend it"));
	CHECK_STR(err_text(-EIO), "it broke; mend it");
	/* Once is enough. */
	CHECK_FAILS(-EIO, advise(blame(-EIO, "x"), "mend it"));
	CHECK_STR(err_text(-EIO), "x: it broke; mend it");

	/* Cut between characters, wherever the end falls. */
	for (size_t lead = 0; lead < 4; lead++) {
		size_t n = lead;

		memset(text, 'x', lead);
		for (; n + 4 < 2 * ERR_MAX; n += 4)
			memcpy(text + n, "\xf0\x9f\x94\x91", 4);
		text[n] = '\0';
		CHECK_FAILS(-EIO, fail(-EIO, "%s", text));
		n = strlen(err_text(-EIO));
		CHECK(n > ERR_MAX - 5 && n < ERR_MAX);
		CHECK(!strchr(err_text(-EIO), '?'));
		CHECK(utf8_valid(err_text(-EIO), n));
	}

	CHECK_FAILS(-EIO, fail(-EIO, "a\nb\x1b[2J\x7f\xc2\x9b"
				     "31m caf\xc3\xa9 \xff"));
	CHECK_STR(err_text(-EIO), "a?b?[2J???31m caf\xc3\xa9 ?");
}

static void *worker(void *arg)
{
	struct err_saved *saved = arg;

	CHECK_STR(err_text(-EIO), "Input/output error");
	err_save(fail(-ESTALE, "from the worker"), saved);
	return NULL;
}

static void test_threads(void)
{
	struct err_saved saved;
	pthread_t t;

	CHECK_FAILS(-EIO, fail(-EIO, "ours"));
	CHECK(pthread_create(&t, NULL, worker, &saved) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK_STR(err_text(-EIO), "ours");
	CHECK_FAILS(-ESTALE, err_load(&saved));
	CHECK_STR(err_text(-ESTALE), "from the worker");

	err_clear();
	err_save(-EACCES, &saved);
	CHECK(saved.code == -EACCES);
	CHECK_STR(saved.text, "Permission denied");
}

int main(void)
{
	test_sentences();
	test_bounds();
	test_threads();
	return 0;
}
