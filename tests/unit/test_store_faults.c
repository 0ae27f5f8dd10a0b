// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 120
/*
 * The stores of object services against a fake that checks signatures and meets
 * requests with what real services do on bad days (tests/fakes/blobs.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/store/http.h"
#include "backend/store/store.h"
#include "tests/fakes/store_contract.h"
#include "tests/unit/check.h"

#define KEY "dGhlIGtleSBvZiB0aGUgYWNjb3VudDogMzIgYnl0ZXMh"
#define SAS "sv=1&sig=SECRETSAS"

struct fake {
	pid_t pid;
	FILE *to, *from;
	char url[100];
	bool azure;
};

static struct fake fake_start(const char *kind)
{
	struct fake f = { .azure = !strcmp(kind, "azure") };
	const char *src = getenv("SRC");
	char path[PATH_MAX], line[200];
	int in[2], out[2];

	CHECK(src);
	snprintf(path, sizeof(path), "%s/tests/fakes/blobs.py", src);
	CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	f.pid = fork();
	CHECK(f.pid >= 0);
	if (!f.pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("python3", "python3", path, kind, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	f.to = fdopen(in[1], "w");
	f.from = fdopen(out[0], "r");
	CHECK(fgets(line, sizeof(line), f.from));
	CHECK(sscanf(line, "READY %99s", f.url) == 1);
	return f;
}

static void fake_stop(struct fake *f)
{
	int status;

	fclose(f->to);
	CHECK(waitpid(f->pid, &status, 0) == f->pid && status == 0);
	fclose(f->from);
}

static const char *say(struct fake *f, const char *command)
{
	static char line[65536];

	fprintf(f->to, "%s\n", command);
	fflush(f->to);
	CHECK(fgets(line, sizeof(line), f->from));
	return line;
}

static void fault(struct fake *f, const char *words)
{
	char line[200];

	snprintf(line, sizeof(line), "fault %s", words);
	CHECK_STR(say(f, line), "ok\n");
}

/* All that was to be met, was. */
static void met(struct fake *f)
{
	CHECK_STR(say(f, "clear"), "0\n");
}

static struct store_options usual(const struct fake *f)
{
	return (struct store_options){
		.endpoint = f->url,
		.budget_ms = 30000,
		.backoff_ms = 1,
		.stall_ms = 1000,
	};
}

static void place(const struct fake *f, char *out, size_t size)
{
	static int number;

	snprintf(out, size, f->azure ? "az://acct/c/%d" : "s3://bucket/%d",
		 number++);
}

static struct store *make_with(struct fake *f, const struct store_options *o)
{
	struct store *s;
	char url[100];

	place(f, url, sizeof(url));
	CHECK_OK(store_create_with(url, o, &s));
	return s;
}

static struct fake *current;

static struct store *make(void)
{
	struct store_options o = usual(current);

	return make_with(current, &o);
}

static void check_has(struct store *s, const char *key, const char *want)
{
	DROP(buf) struct buf b = BUF_INIT(1000);

	CHECK_OK(store_get(s, key, 1000, &b));
	CHECK_STR(buf_cstr(&b), want);
}

static bool slow(const char *words)
{
	return !strncmp(words, "drip", 4) || !strncmp(words, "hang", 4);
}

static void test_passing(struct fake *f)
{
	/* Each is met once, or as often as it says, and then all is well. */
	static const char *const reads[] = { "503 GET",
					     "503-later GET",
					     "500 GET 3",
					     "reset GET 2",
					     "close GET 2",
					     "truncate GET",
					     "truncate-reset GET",
					     "lost GET",
					     "drip GET",
					     "hang GET" };
	static const char *const puts[] = { "503 PUT",	  "500 PUT 2",
					    "reset PUT",  "lost PUT",
					    "lost PUT 2", "twice PUT",
					    "hang PUT" };
	DROP(store) struct store *s = make();
	char got[5], key[40];
	struct store_list l = { 0 };
	uint64_t size;

	CHECK_OK(store_put(s, "k", "0123456789", 10));
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		/* It is http that waits, for either kind. */
		if (slow(reads[i]) && !f->azure)
			continue;
		fault(f, reads[i]);
		CHECK_OK(store_read(s, "k", got, 5, 3));
		CHECK_MEM(got, "34567", 5);
		met(f);
		if (slow(reads[i]))
			continue;
		fault(f, reads[i]);
		check_has(s, "k", "0123456789");
		met(f);
	}
	for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
		snprintf(key, sizeof(key), "p/%zu", i);
		if (!slow(puts[i]) || f->azure)
			fault(f, puts[i]);
		CHECK_OK(store_put(s, key, key, strlen(key)));
		met(f);
		check_has(s, key, key);
	}
	/* It was ours that was not told of, and another's is found. */
	fault(f, "lost PUT");
	CHECK_FAILS(-EEXIST, store_put(s, "k", "other", 5));
	met(f);
	fault(f, "503 HEAD");
	CHECK_OK(store_stat(s, "k", &size));
	CHECK_U64(size, 10);
	met(f);
	fault(f, "lost DELETE");
	CHECK_OK(store_remove(s, "k"));
	met(f);
	fault(f, "truncate-xml GET 1 0 prefix=");
	CHECK_OK(store_list(s, "p/", "", 100, false, &l));
	CHECK_U64(l.count, ARRAY_SIZE(puts));
	met(f);
	store_list_release(&l);
	if (f->azure) {
		fault(f, "empty-page GET 3 0 prefix=");
		CHECK_OK(store_list(s, "p/", "", 100, false, &l));
		CHECK_U64(l.count, ARRAY_SIZE(puts));
		store_list_release(&l);
		met(f);
	} else {
		fault(f, "409-conflict PUT");
		CHECK_OK(store_put(s, "conflict", "x", 1));
		met(f);
	}
}

static void test_lies(struct fake *f)
{
	static const char *const lies[] = { "ignore-range GET", "shift GET",
					    "short GET", "long GET" };
	static const struct {
		const char *fault, *says;
	} lacks[] = {
		{ "overwrite PUT 1 2", "does not refuse to replace" },
		/* The first GET settles the put that was refused. */
		{ "ignore-range GET 1 1", "does not send parts" },
		{ "shift GET 1 1", "does not send parts" },
		{ "stale-list GET 1 0 prefix=", "as soon as it is there" },
	};
	DROP(store) struct store *s = make();
	struct store_options o = usual(f);
	char got[5];

	CHECK_OK(store_put(s, "k", "0123456789", 10));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		fault(f, lies[i]);
		CHECK_FAILS(-EPROTO, store_read(s, "k", got, 5, 3));
		met(f);
	}
	fault(f, "truncate GET");
	fault(f, "other-etag GET");
	CHECK_FAILS(-ESTALE, store_read(s, "k", got, 5, 3));
	met(f);
	/* What a vault relies on, and does not find. */
	for (size_t i = 0; i < ARRAY_SIZE(lacks); i++) {
		struct store *none = NULL;
		char url[100];

		place(f, url, sizeof(url));
		fault(f, lacks[i].fault);
		CHECK_SAYS(-ENOTSUP, lacks[i].says,
			   store_create_with(url, &o, &none));
		CHECK(!none);
		met(f);
	}
}

static void test_refused(struct fake *f)
{
	DROP(store) struct store *s = make();
	DROP(store) struct store *once = NULL;
	struct store_options o = usual(f);
	struct store_list l = { 0 };
	char byte, url[100];

	CHECK_OK(store_put(s, "k", "x", 1));
	CHECK_STR(say(f, "deny DELETE"), "ok\n");
	CHECK_SAYS(-EACCES, "refuses it", store_remove(s, "k"));
	/* A vault can be made all the same. */
	place(f, url, sizeof(url));
	CHECK_OK(store_create_with(url, &o, &once));
	CHECK_OK(store_put(once, "k", "x", 1));
	CHECK_OK(store_list(once, "", "", 10, false, &l));
	CHECK_U64(l.count, 1);
	CHECK_STR(l.entries[0].key, "k");
	store_list_release(&l);
	CHECK_STR(say(f, "allow DELETE"), "ok\n");

	CHECK_STR(say(f, "deny GET"), "ok\n");
	CHECK_FAILS(-EACCES, store_read(s, "k", &byte, 1, 0));
	CHECK_FAILS(-EACCES, store_list(s, "", "", 10, false, &l));
	CHECK_STR(say(f, "allow GET"), "ok\n");
	CHECK_FAILS(-ENOENT, store_read(s, "no", &byte, 1, 0));
}

static void test_away(struct fake *f)
{
	struct store_options o = usual(f);
	DROP(store) struct store *s = NULL;
	struct store_traffic before, after;
	char byte;

	o.budget_ms = 300;
	s = make_with(f, &o);
	store_traffic(s, &before);
	fault(f, "503 GET 1000");
	CHECK_SAYS(-EAGAIN, "answered 503", store_read(s, "k", &byte, 1, 0));
	say(f, "clear");
	store_traffic(s, &after);
	CHECK(after.retries > before.retries);
	CHECK_U64(after.requests - before.requests,
		  after.retries - before.retries + 1);
}

/* --- Azure's own --- */

static void write_sas(const char *text)
{
	DROP(fd)
	int fd = open("sas", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 &&
	      write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void test_sas(struct fake *f)
{
	struct store_options o = usual(f);
	DROP(store) struct store *s = NULL;
	struct store_list l = { 0 };
	char byte;

	write_sas("?" SAS "\n");
	o.sas_file = "sas";
	s = make_with(f, &o);
	CHECK_OK(store_put(s, "a/k", "x", 1));
	check_has(s, "a/k", "x");
	CHECK_OK(store_list(s, "", "", 10, true, &l));
	CHECK_U64(l.count, 1);
	store_list_release(&l);
	store_close(take(s));

	write_sas("sv=1&sig=SECRETWRONG");
	CHECK_OK(store_open_with("az://acct/c/x", &o, true, &s));
	CHECK_SAYS(-EACCES, "does not know the key, SAS",
		   store_read(s, "k", &byte, 1, 0));
	CHECK(!strstr(err_text(-EACCES), "SECRET"));
}

static int bearer(void *ctx, struct http_wire *w)
{
	++*(int *)ctx;
	return http_wire_set(w, "Authorization", "Bearer TESTBEARER");
}

static void test_bearer(struct fake *f)
{
	struct store_options o = usual(f);
	DROP(store) struct store *s = NULL;
	int calls = 0;

	o.bearer = bearer;
	o.bearer_ctx = &calls;
	/* Not where there is a key. */
	s = make_with(f, &o);
	CHECK_OK(store_put(s, "k", "x", 1));
	check_has(s, "k", "x");
	CHECK_U64(calls, 0);
}

static bool asked_second(struct fake *f)
{
	return strstr(say(f, "log"), "acct-secondary") != NULL;
}

static void test_secondary(struct fake *f)
{
	struct store_options o = usual(f);
	DROP(store) struct store *s = NULL;
	DROP(store) struct store *behind = NULL;
	struct store_list l = { 0 };
	char byte;

	o.secondary = true;
	o.budget_ms = 2500;
	CHECK_STR(say(f, "sync 60"), "ok\n");
	s = make_with(f, &o);
	CHECK_OK(store_put(s, "old", "x", 1));
	say(f, "log");
	check_has(s, "old", "x");
	CHECK(!asked_second(f));

	CHECK_STR(say(f, "fail-primary"), "ok\n");
	check_has(s, "old", "x");
	CHECK(asked_second(f));
	CHECK_OK(store_list(s, "", "", 10, false, &l));
	CHECK_U64(l.count, 1);
	store_list_release(&l);
	/* While the first location fails, the copy's word counts. */
	CHECK_FAILS(-ENOENT, store_read(s, "no", &byte, 1, 0));
	CHECK_FAILS(-EAGAIN, store_put(s, "new", "x", 1));

	/* A copy that was whole before there was anything. */
	CHECK_STR(say(f, "sync -3600"), "ok\n");
	CHECK_OK(store_open_with(store_url(s), &o, true, &behind));
	CHECK_OK(store_list(behind, "", "", 10, false, &l));
	CHECK_U64(l.count, 0);
	CHECK_FAILS(-ENOENT, store_read(behind, "old", &byte, 1, 0));

	CHECK_STR(say(f, "fail-primary off"), "ok\n");
	/* Not there in the copy: the first is asked, and answers. */
	fault(f, "503 GET 1 0 old");
	check_has(s, "old", "x");
	met(f);
	CHECK_OK(store_put(s, "new", "x", 1));
	check_has(s, "new", "x");
}

/* --- nothing is told --- */

static void check_log(void)
{
	static const char *const secrets[] = { "SECRET",    "TESTBEARER",
					       KEY,	    "sig=",
					       "Signature", "Authorization:" };
	DROP(buf) struct buf b = BUF_INIT(64u << 20);
	FILE *log = fopen("log", "r");
	size_t n;

	CHECK(log);
	while ((n = fread(buf_reserve(&b, 65536), 1, 65536, log)) > 0)
		b.len += n;
	fclose(log);
	/* It says something, at every verbosity. */
	CHECK(strstr(buf_cstr(&b), "try 2"));
	CHECK(strstr(buf_cstr(&b), "GET object"));
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
		CHECK(!strstr(buf_cstr(&b), secrets[i]));
}

static void test_kind(const char *kind)
{
	struct fake f = fake_start(kind);

	current = &f;
	test_passing(&f);
	test_lies(&f);
	test_refused(&f);
	test_away(&f);
	if (f.azure) {
		test_sas(&f);
		test_bearer(&f);
		test_secondary(&f);
	}
	if (check_full())
		store_contract(make);
	fake_stop(&f);
}

int main(void)
{
	log_init("test", LOG_LEVEL_DEBUG);
	CHECK_OK(log_to("log"));
	/* The servers are on loopback. */
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	setenv("AZURE_STORAGE_ACCOUNT", "acct", 1);
	setenv("AZURE_STORAGE_KEY", KEY, 1);
	setenv("AWS_ACCESS_KEY_ID", "TESTKEY", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "TESTSECRET", 1);
	signal(SIGPIPE, SIG_IGN);
	test_kind("azure");
	test_kind("s3");
	check_log();
	return 0;
}
