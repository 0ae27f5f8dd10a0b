// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 600
/*
 * The directory store: what is on the disk, what others do to it meanwhile,
 * and every system call failing in turn.
 *
 * Runs itself under tests/preload/failsys.so; the children's names are in main().
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <malloc.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/store/store.h"
#include "tests/fakes/store_contract.h"
#include "tests/unit/check.h"

static char work[PATH_MAX];	 /* ours, empty at the start */
static char fast[PATH_MAX + 10]; /* a small tmpfs, or a directory in it */
static bool mounts;		 /* fast is a tmpfs, and more can be mounted */

#define PATH_SIZE (PATH_MAX + 100)

/* The path of a thing in work; good until the 4th call after. */
static char *in(const char *dir, const char *name)
{
	static char text[4][PATH_SIZE];
	static unsigned turn;
	char *p = text[turn++ % 4];

	snprintf(p, PATH_SIZE, "%s/%s", dir, name);
	return p;
}

static void make_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	CHECK(nftw(path, remove_one, 20, FTW_DEPTH | FTW_PHYS) == 0);
}

static bool is(struct store *s, const char *key, const char *text)
{
	struct buf b = BUF_INIT(1000);
	bool same;

	CHECK_OK(store_get(s, key, 1000, &b));
	same = !strcmp(buf_cstr(&b), text);
	buf_release(&b);
	return same;
}

static int puts_text(struct store *s, const char *key, const char *text)
{
	return store_put(s, key, text, strlen(text));
}

static unsigned files_in(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

/*
 * On the disk.
 */

static void test_files(void)
{
	DROP(store) struct store *s = NULL;
	DROP(store) struct store *reader = NULL;
	DROP(mem) char *root = strdup(in(work, "files"));
	struct stat st;
	mode_t before = umask(022);
	uint64_t size;

	CHECK_OK(store_create(root, &s));
	CHECK(stat(root, &st) == 0 && (st.st_mode & 07777) == 0700);
	CHECK_OK(puts_text(s, "V/vm/c/1", "commit"));
	CHECK(stat(in(root, "V/vm/c/1"), &st) == 0);
	CHECK_U64(st.st_mode, S_IFREG | 0444);
	CHECK_U64(st.st_nlink, 1);
	CHECK(stat(in(root, "V/vm"), &st) == 0);
	CHECK_U64(st.st_mode, S_IFDIR | 0755);
	umask(077);
	CHECK_OK(puts_text(s, "W/x", "x"));
	CHECK(stat(in(root, "W/x"), &st) == 0);
	CHECK_U64(st.st_mode, S_IFREG | 0400);
	umask(before);
	CHECK_OK(store_barrier(s));
	CHECK_U64(files_in(in(root, "tmp")), 0);

	CHECK_OK(store_open(root, false, &reader));
	CHECK(is(reader, "V/vm/c/1", "commit"));
	CHECK_SAYS(-EROFS, "reading only", puts_text(reader, "y", "y"));
	CHECK_SAYS(-EROFS, "reading only", store_remove(reader, "W/x"));
	CHECK_OK(store_barrier(reader));
	CHECK_FAILS(-ENOENT, store_stat(reader, "y", &size));

	/* A second one that makes the same place finds what is there. */
	store_close(take(s));
	CHECK_OK(store_create(root, &s));
	CHECK(is(s, "W/x", "x"));

	/* Folders go with their last object; those that have more stay. */
	CHECK_OK(puts_text(s, "V/vm/p/1", "p"));
	CHECK_OK(store_remove(s, "V/vm/c/1"));
	CHECK(access(in(root, "V/vm/c"), F_OK) < 0);
	CHECK(access(in(root, "V/vm/p"), F_OK) == 0);
	CHECK_OK(store_remove(s, "V/vm/p/1"));
	CHECK(access(in(root, "V"), F_OK) < 0);
	CHECK(access(root, F_OK) == 0);

	/* A name that no directory takes is no object, and cannot be one. */
	{
		char longer[300];

		memset(longer, 'n', 256);
		longer[256] = '\0';
		CHECK_FAILS(-ENOENT, store_stat(s, longer, &size));
		CHECK_FAILS(-ENAMETOOLONG, store_put(s, longer, "x", 1));
		longer[100] = '/';
		CHECK_OK(store_put(s, longer, "x", 1));
	}
	/* Nor can an object be a folder. */
	CHECK_FAILS(-ENOTDIR, puts_text(s, "W/x/y", "z"));
	CHECK_FAILS(-EISDIR, puts_text(s, "W", "z"));
}

/* What others put there is no object of ours, and is left alone. */
static void test_strangers(void)
{
	static const char *const not_ours[] = { "link",	     "dangling",
						"linkdir/o", "fifo",
						"sock",	     "d",
						"d/link",    "loop" };
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(work, "strangers"));
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct store_list l = { 0 };
	uint64_t size;
	char byte;
	int fd;

	CHECK_OK(store_create(root, &s));
	CHECK_OK(puts_text(s, "d/o", "ours"));
	make_file(in(work, "outside"), "secret");
	CHECK(mkdir(in(work, "outdir"), 0700) == 0);
	make_file(in(work, "outdir/o"), "secret");
	CHECK(symlink("../outside", in(root, "link")) == 0);
	CHECK(symlink("../../outside", in(root, "d/link")) == 0);
	CHECK(symlink("nowhere", in(root, "dangling")) == 0);
	CHECK(symlink("loop", in(root, "loop")) == 0);
	CHECK(symlink("../outdir", in(root, "linkdir")) == 0);
	CHECK(mkfifo(in(root, "fifo"), 0600) == 0);
	CHECK(chdir(root) == 0);
	snprintf(un.sun_path, sizeof(un.sun_path), "sock");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	close(fd);
	make_file("lost+found", "odd name");
	make_file("with space", "odd name");
	CHECK(mkdir("tmp", 0700) == 0 || errno == EEXIST);
	make_file("tmp/left", "left by a killed writer");
	CHECK(mkdir("d/tmp", 0700) == 0);
	make_file("d/tmp/o", "a folder like others");

	for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++) {
		struct buf b = BUF_INIT(100);
		struct stat st;

		CHECK_FAILS(-ENOENT, store_stat(s, not_ours[i], &size));
		CHECK_FAILS(-ENOENT, store_read(s, not_ours[i], &byte, 1, 0));
		CHECK_FAILS(-ENOENT, store_get(s, not_ours[i], 100, &b));
		CHECK_FAILS(-ENOENT, store_remove(s, not_ours[i]));
		CHECK(puts_text(s, not_ours[i], "secret") < 0);
		CHECK(!strchr(not_ours[i], '/')
			      ? lstat(in(root, not_ours[i]), &st) == 0
			      : true);
	}
	CHECK(access(in(work, "nowhere"), F_OK) < 0);
	CHECK(access("nowhere", F_OK) < 0);
	CHECK_FAILS(-ENOTDIR, puts_text(s, "linkdir/new", "x"));
	CHECK(puts_text(s, "linkdir/sub/new", "x") < 0);
	CHECK_U64(files_in(in(work, "outdir")), 1);

	for (int fold = 0; fold < 2; fold++) {
		CHECK_OK(store_list(s, "", "", 10, fold, &l));
		CHECK_U64(l.count, fold ? 1 : 2);
		CHECK_STR(l.entries[0].key, fold ? "d/" : "d/o");
		store_list_release(&l);
		CHECK_OK(store_list(s, "linkdir/", "", 10, fold, &l));
		CHECK_U64(l.count, 0);
		CHECK_OK(store_list(s, "tmp/", "", 10, fold, &l));
		CHECK_U64(l.count, 0);
		CHECK_OK(store_list(s, "t", "", 10, fold, &l));
		CHECK_U64(l.count, 0);
		CHECK_OK(store_list(s, "d/o/", "", 10, fold, &l));
		CHECK_U64(l.count, 0);
	}
	CHECK_OK(store_list(s, "d/t", "", 10, false, &l));
	CHECK_STR(l.entries[0].key, "d/tmp/o");
	store_list_release(&l);
	CHECK(chdir(work) == 0);
}

/* Folders without objects must neither end a page early nor make it empty. */
static void test_empty_folders(void)
{
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(fast, "empties"));
	char after[50] = "", path[50];
	unsigned pages = 0, seen = 0;
	bool more = true;

	CHECK_OK(store_create(root, &s));
	CHECK(chdir(root) == 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "e%04d", i);
		CHECK(mkdir(path, 0700) == 0);
	}
	CHECK(chdir(work) == 0);
	CHECK_OK(puts_text(s, "e1500/deep/o", "1"));
	CHECK_OK(puts_text(s, "z/o", "2"));
	while (more) {
		struct store_list l = { 0 };

		CHECK_OK(store_list(s, "", after, 1, false, &l));
		CHECK(l.count || !l.more);
		for (size_t i = 0; i < l.count; i++) {
			snprintf(after, sizeof(after), "%s", l.entries[i].key);
			seen++;
		}
		more = l.more;
		store_list_release(&l);
		CHECK(++pages < 4);
	}
	CHECK_U64(seen, 2);
	CHECK_STR(after, "z/o");
	remove_tree(root);
}

/*
 * Going away and coming back.
 */

static void test_renamed(void)
{
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(work, "renamed"));

	CHECK_OK(store_create(root, &s));
	CHECK_OK(puts_text(s, "a/1", "one"));
	CHECK(rename(root, in(work, "renamed2")) == 0);
	CHECK_OK(puts_text(s, "a/2", "two"));
	CHECK_OK(puts_text(s, "b/3", "three"));
	CHECK(is(s, "a/1", "one") && is(s, "b/3", "three"));
	CHECK_OK(store_barrier(s));
	/* Another one in its place does not matter. */
	CHECK(mkdir(root, 0700) == 0);
	CHECK(is(s, "a/2", "two"));
}

static void check_gone(struct store *s, const char *root)
{
	char said[PATH_SIZE + 100];
	struct store_list l = { 0 };
	struct buf b = BUF_INIT(100);
	uint64_t size;
	char byte;

	snprintf(said, sizeof(said), "vault store %s is not there", root);
	CHECK_SAYS(-ENXIO, said, store_stat(s, "a/1", &size));
	CHECK_SAYS(-ENXIO, said, store_read(s, "a/1", &byte, 1, 0));
	CHECK_SAYS(-ENXIO, said, store_get(s, "a/1", 9, &b));
	CHECK_SAYS(-ENXIO, said, store_list(s, "", "", 9, false, &l));
	CHECK_SAYS(-ENXIO, said, store_list(s, "a/", "", 9, true, &l));
}

static void test_back_again(void)
{
	DROP(store) struct store *reader = NULL;
	DROP(store) struct store *writer = NULL;
	DROP(store) struct store *idle = NULL;
	DROP(store) struct store *another = NULL;
	DROP(mem) char *root = strdup(in(work, "back"));
	struct store_list l = { 0 };
	uint64_t size;

	CHECK_OK(store_create(root, &writer));
	CHECK_OK(store_open(root, false, &reader));
	CHECK_OK(store_open(root, true, &idle));
	CHECK_OK(puts_text(writer, "a/1", "one"));
	CHECK(is(reader, "a/1", "one"));
	for (int round = 0; round < 3; round++) {
		remove_tree(root);
		check_gone(reader, root);
		CHECK_SAYS(-ENXIO, "is not there", puts_text(idle, "a/1", "x"));
		CHECK_SAYS(-ENXIO, "is not there", store_remove(idle, "a/1"));

		/* Back, but empty: told apart. */
		CHECK(mkdir(root, 0700) == 0);
		CHECK_SAYS(-ENOENT, "no object a/1",
			   store_stat(reader, "a/1", &size));
		CHECK_OK(store_list(reader, "", "", 9, false, &l));
		CHECK_U64(l.count, 0);
		CHECK_OK(store_create(root, &another));
		CHECK_OK(puts_text(another, "a/1", "new"));
		store_close(take(another));
		CHECK(is(reader, "a/1", "new"));
		CHECK_OK(store_list(reader, "a/", "", 9, false, &l));
		CHECK_U64(l.count, 1);
		store_list_release(&l);
		CHECK(is(idle, "a/1", "new"));
		/* What it had written is lost, so it must not go on. */
		CHECK(is(writer, "a/1", "new"));
		CHECK_SAYS(-EIO, "came back", puts_text(writer, "a/2", "two"));
		CHECK_SAYS(-EIO, "came back", store_barrier(writer));
	}
	/* One that had not written may. */
	CHECK_OK(puts_text(idle, "a/2", "two"));
	CHECK_OK(store_barrier(idle));
	CHECK(is(reader, "a/2", "two"));
	/* A barrier cannot promise what is not there any more. */
	remove_tree(root);
	CHECK_SAYS(-ENXIO, "is not there", store_barrier(idle));
	CHECK(mkdir(root, 0700) == 0);
	CHECK_SAYS(-ENXIO, "is not there", store_barrier(idle));
	CHECK_SAYS(-ENXIO, "is not there", puts_text(idle, "a/3", "x"));
}

struct watcher {
	struct store *s;
	atomic_bool *stop;
	unsigned long whole;
	pthread_t thread;
};

static void *watch(void *arg)
{
	struct watcher *me = arg;

	while (!atomic_load(me->stop)) {
		struct store_list l = { 0 };
		char text[4];
		int r = store_read(me->s, "a/1", text, 3, 0);

		if (r == 0) {
			CHECK_MEM(text, "one", 3);
			me->whole++;
		} else {
			CHECK(r == -ENOENT || r == -ENXIO);
		}
		r = store_list(me->s, "", "", 9, false, &l);
		CHECK(r == 0 || r == -ENXIO);
		store_list_release(&l);
	}
	return NULL;
}

/* Many threads read while the root comes and goes. */
static void test_back_again_threads(void)
{
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(fast, "flicker"));
	struct watcher them[4];
	atomic_bool stop = false;

	CHECK(mkdir(root, 0700) == 0);
	CHECK_OK(store_open(root, false, &s));
	for (size_t i = 0; i < ARRAY_SIZE(them); i++) {
		them[i] = (struct watcher){ .s = s, .stop = &stop };
		CHECK(!pthread_create(&them[i].thread, NULL, watch, &them[i]));
	}
	for (int i = 0; i < 60; i++) {
		CHECK(mkdir(root, 0700) == 0 || errno == EEXIST);
		CHECK(mkdir(in(root, "a"), 0700) == 0);
		make_file(in(root, "a/new"), "one");
		CHECK(rename(in(root, "a/new"), in(root, "a/1")) == 0);
		usleep(1000);
		CHECK(unlink(in(root, "a/1")) == 0);
		CHECK(rmdir(in(root, "a")) == 0);
		CHECK(rmdir(root) == 0);
		usleep(500);
	}
	CHECK(mkdir(root, 0700) == 0);
	CHECK(mkdir(in(root, "a"), 0700) == 0);
	/* Renamed here too: they would see one that is being written. */
	make_file(in(root, "a/new"), "one");
	CHECK(rename(in(root, "a/new"), in(root, "a/1")) == 0);
	usleep(20000);
	atomic_store(&stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(them); i++) {
		pthread_join(them[i].thread, NULL);
		CHECK(them[i].whole);
	}
	CHECK(is(s, "a/1", "one"));
	remove_tree(root);
}

/* A file system that is taken away while it is in use, and mounted again. */
static void test_remounted(void)
{
	DROP(store) struct store *reader = NULL;
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(work, "mounted"));
	uint64_t size;

	if (!mounts) {
		puts("skipped: a store on a file system that is unmounted");
		return;
	}
	CHECK(mkdir(root, 0700) == 0);
	CHECK(mount("a", root, "tmpfs", 0, "size=1m") == 0);
	CHECK(mkdir(in(root, "v"), 0700) == 0);
	CHECK_OK(store_create(in(root, "v"), &s));
	CHECK_OK(puts_text(s, "a/1", "one"));
	CHECK_OK(store_open(in(root, "v"), false, &reader));
	CHECK(umount2(root, MNT_DETACH) == 0);
	/* It is still whole for those who have it open. */
	CHECK(is(reader, "a/1", "one"));
	CHECK_OK(puts_text(s, "a/2", "two"));
	CHECK_OK(store_barrier(s));
	CHECK_FAILS(-ENOENT, store_stat(reader, "a/3", &size));
}

static void test_full(void)
{
	DROP(store) struct store *s = NULL;
	DROP(mem) char *root = strdup(in(work, "full"));
	const size_t size = 50000;
	DROP(mem) uint8_t *data = malloc(size);
	uint64_t got;
	char key[20];
	int n = 0, r;

	if (!mounts) {
		puts("skipped: a full file system");
		return;
	}
	CHECK(mkdir(root, 0700) == 0);
	CHECK(mount("b", root, "tmpfs", 0, "size=512k") == 0);
	CHECK_OK(store_create(in(root, "v"), &s));
	for (;; n++) {
		snprintf(key, sizeof(key), "f/%d", n);
		memset(data, n, size);
		r = store_put(s, key, data, size);
		if (r < 0)
			break;
		CHECK(n < 100);
	}
	CHECK(n > 5);
	CHECK_SAYS(-ENOSPC, "cannot put object f/", r);
	CHECK_FAILS(-ENOENT, store_stat(s, key, &got));
	CHECK_FAILS(-ENOSPC, store_put(s, key, data, size));
	/* It is not sticky: what was there is whole, and the rest can follow. */
	CHECK_OK(store_barrier(s));
	for (int i = 0; i < n; i++) {
		struct buf b = BUF_INIT(size);

		snprintf(key, sizeof(key), "f/%d", i);
		CHECK_OK(store_get(s, key, size, &b));
		CHECK_U64(b.len, size);
		CHECK(b.data[0] == i && !memcmp(b.data, b.data + 1, size - 1));
		buf_release(&b);
	}
	CHECK_OK(store_remove(s, "f/0"));
	CHECK_OK(store_put(s, "f/again", data, size));
	CHECK_OK(store_barrier(s));

	/* No barrier of ours reaches another file system inside. */
	CHECK(mkdir(in(root, "v/other"), 0700) == 0);
	CHECK(mount("c", in(root, "v/other"), "tmpfs", 0, "size=64k") == 0);
	CHECK_SAYS(-EXDEV, "another file system", puts_text(s, "other/x", "x"));
	CHECK_SAYS(-EXDEV, "another file system",
		   puts_text(s, "other/sub/x", "x"));
	CHECK(umount2(root, MNT_DETACH) == 0);
}

/*
 * Under failsys.
 */

struct env {
	const char *at;
	const char *error;
	const char *without;
	const char *only;
	const char *times;
	bool kill;
	bool after;
	bool halve;
};

static char *self(void)
{
	static char path[PATH_SIZE];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	CHECK(n > 0);
	path[n] = '\0';
	return path;
}

static void set_env(const char *dir, const struct env *e)
{
	char text[PATH_SIZE + 50], above[PATH_SIZE], *slash;
	const char *asan = getenv("ASAN_OPTIONS");

	/* $B/tests/unit/x -> $B/tests/preload/failsys.so */
	snprintf(above, sizeof(above), "%s", self());
	for (int i = 0; i < 2; i++) {
		slash = strrchr(above, '/');
		CHECK(slash);
		*slash = '\0';
	}
	snprintf(text, sizeof(text), "%s/preload/failsys.so", above);
	CHECK(access(text, R_OK) == 0);
	setenv("LD_PRELOAD", text, 1);
	snprintf(text, sizeof(text), "%s:verify_asan_link_order=0",
		 asan ? asan : "");
	setenv("ASAN_OPTIONS", text, 1);
	setenv("FAILSYS_DIR", dir, 1);
	snprintf(text, sizeof(text), "%s/count", work);
	setenv("FAILSYS_COUNT_FILE", text, 1);
	if (e->at)
		setenv("FAILSYS_AT", e->at, 1);
	if (e->error)
		setenv("FAILSYS_ERRNO", e->error, 1);
	if (e->without)
		setenv("FAILSYS_WITHOUT", e->without, 1);
	if (e->only)
		setenv("FAILSYS_ONLY", e->only, 1);
	if (e->times)
		setenv("FAILSYS_TIMES", e->times, 1);
	setenv("FAILSYS_KILL", e->kill ? "1" : "0", 1);
	setenv("FAILSYS_AFTER", e->after ? "1" : "0", 1);
	setenv("FAILSYS_SHORT", e->halve ? "1" : "0", 1);
}

/* What it counted, into *counted and *struck. */
static void read_counts(unsigned long *counted, unsigned long *struck)
{
	FILE *f = fopen(in(work, "count"), "r");

	CHECK(f && fscanf(f, "%lu %lu", counted, struck) == 2);
	fclose(f);
}

/* Runs a child of main() on dir, which must exit with 0. */
static void run(const char *what, const char *dir, const char *arg,
		const struct env *e, unsigned long *counted,
		unsigned long *struck)
{
	pid_t pid;
	int status;

	unlink(in(work, "count"));
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		set_env(dir, e);
		execl(self(), self(), what, dir, arg, NULL);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr,
			"child %s with AT=%s ERRNO=%s WITHOUT=%s ONLY=%s%s%s%s: "
			"status %#x\n",
			what, e->at, e->error, e->without, e->only,
			e->kill ? " KILL" : "", e->after ? " AFTER" : "",
			e->halve ? " SHORT" : "", status);
		exit(1);
	}
	read_counts(counted, struck);
}

/* What the scenario puts. */
static const struct item {
	const char *key;
	size_t len;
	bool removed; /* at its end */
} items[] = {
	{ "V/a/s/1", 140000, false }, { "V/a/s/2", 1, false },
	{ "V/b/p/1", 7000, true },    { "V/b/p/2", 100, true },
	{ "V/c/d/e/f", 3000, true },  { "vault.hdr", 500, false },
	{ "h/0", 0, false },	      { "V/a/c/commit", 4000, false },
};

#define COMMIT (ARRAY_SIZE(items) - 1)

static uint8_t *bytes_of(size_t i)
{
	uint8_t *p = malloc(items[i].len + 1);

	for (size_t k = 0; k < items[i].len; k++)
		p[k] = (uint8_t)(k * 7 + (k >> 8) + i);
	return p;
}

/* Success is never wrong; failure has a sentence. */
static bool fine(int r)
{
	if (r == 0)
		return true;
	CHECK(r < 0);
	CHECK(err_text(r)[0]);
	CHECK(!strstr(err_text(r), "Success"));
	return false;
}

static int put_item(struct store *s, size_t i)
{
	DROP(mem) uint8_t *p = bytes_of(i);
	size_t third = items[i].len / 3;
	const struct store_piece pieces[] = {
		{ p, third },
		{ NULL, 0 },
		{ p + third, items[i].len - third },
	};

	if (i == COMMIT)
		return store_put_whole(s, items[i].key, p, items[i].len);
	return store_putv(s, items[i].key, pieces, ARRAY_SIZE(pieces));
}

/* As it is to be, where it can be read at all. */
static bool check_item(struct store *s, size_t i)
{
	DROP(mem) uint8_t *p = bytes_of(i);
	DROP(mem) uint8_t *back = malloc(items[i].len + 1);
	struct buf b = BUF_INIT(1u << 20);
	uint64_t size = items[i].len;
	bool all;

	all = fine(store_stat(s, items[i].key, &size));
	CHECK_U64(size, items[i].len);
	if (fine(store_get(s, items[i].key, 1u << 20, &b))) {
		CHECK_U64(b.len, items[i].len);
		CHECK(!b.len || !memcmp(b.data, p, b.len));
	} else {
		all = false;
		CHECK_U64(b.len, 0);
	}
	buf_release(&b);
	if (items[i].len > 1) {
		if (fine(store_read(s, items[i].key, back, items[i].len - 1,
				    1)))
			CHECK_MEM(back, p + 1, items[i].len - 1);
		else
			all = false;
	}
	return all;
}

static int item_named(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		if (!strcmp(items[i].key, key))
			return (int)i;
	return -1;
}

/* Which items a listing gives, a bit each; false if it failed. */
static bool list_items(struct store *s, size_t max, unsigned *found)
{
	char after[STORE_KEY_MAX + 1] = "";
	bool more = true;

	*found = 0;
	while (more) {
		struct store_list l = { 0 };

		if (!fine(store_list(s, "", after, max, false, &l)))
			return false;
		CHECK(l.count || !l.more);
		for (size_t k = 0; k < l.count; k++) {
			int i = item_named(l.entries[k].key);

			CHECK(i >= 0);
			CHECK_U64(l.entries[k].size, items[i].len);
			*found |= 1u << i;
			snprintf(after, sizeof(after), "%s", l.entries[k].key);
		}
		more = l.more;
		store_list_release(&l);
	}
	return true;
}

/*
 * Puts, reads, lists and removes; what succeeded is noted for the parent, as the
 * bits of two numbers. Returns whether all of it succeeded.
 */
static bool scenario(struct store *s, unsigned *put, unsigned *removed)
{
	unsigned found;
	int barrier = 0;
	bool all = true;
	uint64_t size;

	for (size_t i = 0; i < COMMIT; i++) {
		if (fine(put_item(s, i)))
			*put |= 1u << i;
		else
			all = false;
	}
	/* The same again is success, other bytes are not. */
	all &= fine(put_item(s, 0));
	CHECK(!fine(store_put(s, items[0].key, "x", 1)));
	CHECK(!fine(store_stat(s, "no/such", &size)));
	barrier = store_barrier(s);
	if (fine(barrier)) {
		if (fine(put_item(s, COMMIT)))
			*put |= 1u << COMMIT;
		else
			all = false;
		all &= fine(store_barrier(s));
	} else {
		/* For ever, and with the same cause. */
		all = false;
		CHECK_FAILS(barrier, put_item(s, COMMIT));
		CHECK_FAILS(barrier, store_barrier(s));
	}
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		all &= check_item(s, i);
	for (size_t max = 5; max < 200; max += 99) {
		if (list_items(s, max, &found))
			CHECK_U64(found & *put, *put);
		else
			all = false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		if (!items[i].removed)
			continue;
		if (fine(store_remove(s, items[i].key)))
			*removed |= 1u << i;
		else
			all = false;
	}
	return all;
}

static void noted_scenario(const char *dir, const char *notes)
{
	DROP(store) struct store *s = NULL;
	unsigned put = 0, removed = 0;
	FILE *f;

	if (fine(store_create(dir, &s)))
		(void)scenario(s, &put, &removed);
	f = fopen(notes, "w");
	CHECK(f);
	fprintf(f, "%u %u\n", put, removed);
	fclose(f);
}

/* After the child: nothing is torn, nothing that succeeded is missing, and it can be
 * done again. */
static void check_after(const char *dir, unsigned put, unsigned removed,
			bool answer_lost)
{
	DROP(store) struct store *s = NULL;
	unsigned found, again = 0;

	CHECK_OK(store_create(dir, &s));
	CHECK(list_items(s, 3, &found));
	/* Unless a removal happened whose answer was lost. */
	for (size_t i = 0; answer_lost && i < ARRAY_SIZE(items); i++)
		put &= ~(items[i].removed ? 1u << i : 0);
	CHECK_U64(found & put & ~removed, put & ~removed);
	CHECK_U64(found & removed, 0);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		if (found & 1u << i)
			CHECK(check_item(s, i));
	removed = 0;
	CHECK(scenario(s, &again, &removed));
}

/*
 * Call n fails, or is the last that is made. A process of its own for each, forked and not
 * started: that takes ten times as long as what it does. Returns whether there was one.
 */
static bool strike(void (*arm)(unsigned long), unsigned long n, const char *dir,
		   const char *notes)
{
	bool kill = !strcmp(getenv("FAILSYS_KILL"), "1"), killed;
	unsigned long counted, struck = 0;
	unsigned put = 0, removed = 0;
	int status;
	pid_t pid;

	unlink(notes);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		arm(n);
		noted_scenario(dir, notes);
		exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	killed = kill && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!killed) {
		FILE *f = fopen(notes, "r");

		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		CHECK(f && fscanf(f, "%u %u", &put, &removed) == 2);
		fclose(f);
		read_counts(&counted, &struck);
	}
	check_after(dir, put, removed, !strcmp(getenv("FAILSYS_AFTER"), "1"));
	remove_tree(dir);
	return killed || struck;
}

/* For a child that forks: what lets call n fail; notes is a file in work, which is set. */
static void (*arm_for(const char *notes))(unsigned long)
{
	void (*arm)(unsigned long) =
		(void (*)(unsigned long))dlsym(RTLD_DEFAULT, "failsys_arm");

	CHECK(arm);
	snprintf(work, sizeof(work), "%s", notes);
	CHECK(strrchr(work, '/'));
	*strrchr(work, '/') = '\0';
	return arm;
}

/* Call 1, 2, ... until none is struck; by default one in so many, for their time. */
static int child_walk(const char *dir, const char *notes)
{
	void (*arm)(unsigned long) = arm_for(notes);
	unsigned long n = 0, stride = check_full() ? 1 : check_all() ? 6 : 14;

	while (strike(arm, n + 1, dir, notes))
		n += stride;
	/* There are as many as the scenario has. */
	CHECK(n > 60 || getenv("FAILSYS_ONLY"));
	if (getenv("VERBOSE"))
		printf("%lu calls\n", n);
	return 0;
}

static void walk(const char *name, struct env e)
{
	DROP(mem) char *notes = strdup(in(work, "notes"));
	DROP(mem) char *dir = strdup(in(fast, "walk"));
	unsigned long counted, struck;

	if (getenv("VERBOSE"))
		printf("%s: ", name);
	run("walk", dir, notes, &e, &counted, &struck);
}

static void test_walk(void)
{
	const char *san = getenv("SAN");
	bool quick = san && *san;

	/* One thread only: nothing there for that sanitizer. */
	if (quick && strstr(san, "thread"))
		return;

	walk("plain, EIO", (struct env){ .error = "EIO" });
	walk("in tmp/, killed",
	     (struct env){ .kill = true, .without = "tmpfile" });
	if (quick)
		return;
	walk("plain, killed", (struct env){ .kill = true });
	walk("each put durable, EIO",
	     (struct env){ .error = "EIO", .without = "syncfs" });
	/* The other kinds of system differ in a call or two. */
	if (!check_full())
		return;
	walk("in tmp/, EIO",
	     (struct env){ .error = "EIO", .without = "tmpfile" });
	walk("in tmp/, linked, EIO",
	     (struct env){ .error = "EIO", .without = "tmpfile,renameat2" });
	walk("in tmp/, linked, killed",
	     (struct env){ .kill = true, .without = "tmpfile,renameat2" });
	walk("old system, ENOSPC",
	     (struct env){ .error = "ENOSPC", .without = "proc,openat2" });
	walk("each put durable, in tmp/, ENOSPC",
	     (struct env){ .error = "ENOSPC", .without = "syncfs,tmpfile" });
	/* As a server does whose answer was lost on the way. */
	walk("answer lost, EIO", (struct env){ .error = "EIO",
					       .without = "tmpfile,syncfs",
					       .only = "rename,mkdir,unlink",
					       .after = true });
}

static int child_interrupted(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	unsigned put = 0, removed = 0;

	(void)arg;
	CHECK_OK(store_create(dir, &s));
	CHECK(scenario(s, &put, &removed));
	CHECK_U64(put, (1u << ARRAY_SIZE(items)) - 1);
	return 0;
}

/* A signal in any of these is no failure. */
static void test_interrupted(void)
{
	static const char *const only[] = { "read",   "write", "fsync",
					    "syncfs", "open",  "close" };
	DROP(mem) char *dir = strdup(in(fast, "eintr"));
	unsigned long counted, struck = 0;

	for (size_t i = 0; i < ARRAY_SIZE(only); i++)
		for (int durable = 0; durable < 2; durable++) {
			struct env e = { .at = "1",
					 .error = "EINTR",
					 .only = only[i],
					 .without = durable ? "syncfs" : NULL };

			/* The first one, and all but it: an open or a sync
			 * that never succeeds would go on for ever. */
			if (!strcmp(only[i], "close"))
				e.times = "0";
			run("interrupted", dir, NULL, &e, &counted, &struck);
			CHECK(struck ||
			      !strcmp(only[i], durable ? "syncfs" : "fsync"));
			remove_tree(dir);
		}
}

/* What failed to sync once fails from then on, though the system would not. */
static int child_sticky(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	int r = 0, done = 0;
	char key[20];

	CHECK_OK(store_open(dir, true, &s));
	CHECK(s->durable_puts == (*arg == 'd'));
	for (int i = 0; r == 0 && i < 5; i++) {
		snprintf(key, sizeof(key), "k/%d", i);
		r = puts_text(s, key, "text");
		if (r == 0)
			r = store_barrier(s);
		done += r == 0;
	}
	if (r == 0)
		return 0; /* it came too late */
	CHECK_SAYS(-EIO, "durable", r);
	CHECK_SAYS(-EIO, "durable", puts_text(s, "later", "x"));
	CHECK_SAYS(-EIO, "durable", puts_text(s, "k/0", "text"));
	CHECK_SAYS(-EIO, "durable", store_barrier(s));
	CHECK_SAYS(-EIO, "durable", store_barrier(s));
	/* Reading goes on, and so does another opener. */
	for (int i = 0; i < done; i++) {
		snprintf(key, sizeof(key), "k/%d", i);
		CHECK(is(s, key, "text"));
	}
	store_close(take(s));
	CHECK_OK(store_open(dir, true, &s));
	CHECK_OK(puts_text(s, "later", "x"));
	CHECK_OK(store_barrier(s));
	return 0;
}

/* Call 1, 2, ... until none is struck, in a process of its own each, as in child_walk. */
static int child_sticky_walk(const char *dir, const char *notes)
{
	void (*arm)(unsigned long) = arm_for(notes);
	const char *kind = getenv("FAILSYS_WITHOUT") ? "d" : "s";
	unsigned long counted, struck = 1, n;
	int status;
	pid_t pid;

	for (n = 1; struck; n++) {
		CHECK(mkdir(dir, 0700) == 0);
		unlink(in(work, "count"));
		fflush(NULL);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			arm(n);
			exit(child_sticky(dir, kind));
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		read_counts(&counted, &struck);
		remove_tree(dir);
	}
	/* A file and its folder each, and a folder that was made. */
	CHECK(n > (!strcmp(getenv("FAILSYS_ONLY"), "fsync") ? 2 * 5 + 2 : 5));
	return 0;
}

static void test_sticky(void)
{
	DROP(mem) char *dir = strdup(in(fast, "sticky"));
	DROP(mem) char *notes = strdup(in(work, "notes"));
	unsigned long counted, struck;

	/* Where each put is durable the barrier syncs all the same: names that
	 * a killed writer gave. */
	for (int kind = 0; kind < 3; kind++)
		run("sticky", dir, notes,
		    &(struct env){ .only = kind == 1 ? "fsync" : "syncfs",
				   .without = kind > 0 ? "syncfs" : NULL },
		    &counted, &struck);
}

static char *contract_dir;

static struct store *make_next(void)
{
	static int number;
	char path[PATH_SIZE];
	struct store *s;

	snprintf(path, sizeof(path), "%s/%d", contract_dir, number++);
	CHECK_OK(store_create(path, &s));
	return s;
}

static int child_contract(const char *dir, const char *arg)
{
	(void)arg;
	contract_dir = strdup(dir);
	store_contract(make_next);
	free(contract_dir);
	return 0;
}

/* On systems that have less. */
static void test_lesser_systems(void)
{
	static const char *const lesser[] = { "tmpfile", "tmpfile,renameat2",
					      "proc,openat2",
					      "syncfs,tmpfile" };
	DROP(mem) char *dir = strdup(in(fast, "lesser"));
	DROP(store) struct store *s = NULL;
	unsigned long counted, struck;

	for (size_t i = 0; i < ARRAY_SIZE(lesser); i++) {
		struct env e = { .without = lesser[i], .halve = i == 1 };

		if (!check_all() && i % 3 == 0)
			continue;
		CHECK(mkdir(dir, 0700) == 0);
		run("contract", dir, NULL, &e, &counted, &struck);
		CHECK(counted > 100);
		/* Nothing was left behind. */
		for (int k = 0; k < 6; k++) {
			char tmp[20];

			snprintf(tmp, sizeof(tmp), "%d/tmp", k);
			CHECK_U64(files_in(in(dir, tmp)), 0);
		}
		remove_tree(dir);
	}
	/* Where nothing is create-only, nothing is put. */
	CHECK(mkdir(dir, 0700) == 0);
	run("refused", dir, NULL,
	    &(struct env){ .without = "tmpfile,renameat2,link" }, &counted,
	    &struck);
	CHECK_OK(store_open(dir, false, &s));
	remove_tree(dir);
}

static int child_refused(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;

	(void)arg;
	CHECK_OK(store_open(dir, true, &s));
	CHECK_SAYS(-EOPNOTSUPP, "without replacing", puts_text(s, "a", "b"));
	CHECK_U64(files_in(in(dir, "tmp")), 0);
	return 0;
}

/* The files of killed writers go after a day, those of others stay. */
static int child_sweep(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	struct timespec old[2] = { { .tv_nsec = UTIME_OMIT },
				   { .tv_nsec = 0 } };

	(void)arg;
	CHECK_OK(store_open(dir, true, &s));
	CHECK(mkdir(in(dir, "tmp"), 0700) == 0);
	make_file(in(dir, "tmp/new"), "");
	make_file(in(dir, "tmp/old"), "");
	old[1].tv_sec = time(NULL) - 25 * 60 * 60;
	CHECK(utimensat(AT_FDCWD, in(dir, "tmp/old"), old, 0) == 0);
	CHECK_OK(puts_text(s, "a", "b"));
	CHECK(access(in(dir, "tmp/new"), F_OK) == 0);
	CHECK(access(in(dir, "tmp/old"), F_OK) < 0);
	CHECK_U64(files_in(in(dir, "tmp")), 1);
	/* The folder may go too. */
	remove_tree(in(dir, "tmp"));
	CHECK_OK(puts_text(s, "c", "d"));
	return 0;
}

/*
 * What it costs.
 */

static int child_reads(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	char text[4];

	(void)arg;
	CHECK_OK(store_open(dir, false, &s));
	for (int i = 0; i < 100; i++)
		CHECK_OK(store_read(s, "d/0000", text, 3, 1));
	return 0;
}

static int child_puts(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	char key[20];

	(void)arg;
	CHECK_OK(store_open(dir, true, &s));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "p/q/r/%d", i);
		CHECK_OK(puts_text(s, key, key));
	}
	return 0;
}

/* Synced before it has a name, also where the barrier syncs all the rest. */
static int child_whole(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;

	(void)arg;
	CHECK_OK(store_open(dir, true, &s));
	CHECK(!s->durable_puts);
	CHECK_OK(store_put_whole(s, "w/a", "x", 1));
	CHECK_OK(puts_text(s, "w/b", "x"));
	CHECK_OK(store_put_whole(s, "w/c", "x", 1));
	CHECK_OK(store_put_whole(s, "w/b", "x", 1));
	return 0;
}

static int child_list(const char *dir, const char *arg)
{
	DROP(store) struct store *s = NULL;
	struct store_list l = { 0 };
	char text[32];

	(void)arg;
	CHECK_OK(store_open(dir, false, &s));
	CHECK_OK(store_list(s, "d/", "", 1, false, &l));
	CHECK_STR(l.entries[0].key, "d/0000");
	CHECK(l.more);
	store_list_release(&l);
	CHECK_OK(store_list(s, "d/", "d/2998", 5, false, &l));
	CHECK_U64(l.count, 1);
	CHECK(!l.more);
	store_list_release(&l);
	CHECK_OK(store_list(s, "d/", "d/1499", 10, true, &l));
	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "d/%d", 1500 + i);
		CHECK_STR(l.entries[i].key, text);
	}
	store_list_release(&l);
	return 0;
}

static void test_costs(void)
{
	DROP(mem) char *dir = strdup(in(fast, "costs"));
	DROP(store) struct store *s = NULL;
	unsigned long counted, struck;
	char key[20];

	CHECK_OK(store_create(dir, &s));
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "d/%04d", i);
		CHECK_OK(puts_text(s, key, "text"));
	}
	/* An open and a read each (and a close, which is not counted). */
	run("reads", dir, NULL, &(struct env){ 0 }, &counted, &struck);
	CHECK(counted <= 2 * 100 + 1);
	/* An open, a write, a link and a close each, and the folders once. */
	run("puts", dir, NULL, &(struct env){ 0 }, &counted, &struck);
	CHECK(counted <= 4 * 100 + 20);
	run("whole", dir, NULL, &(struct env){ .only = "fsync" }, &counted,
	    &struck);
	/* The last one twice: as new, then as the one that was there. */
	CHECK_U64(counted, 4);
	/* Sizes of those that are returned only. */
	run("list", dir, NULL, &(struct env){ .only = "stat" }, &counted,
	    &struck);
	CHECK(counted <= 1 + 1 + 10 + 3);
	store_close(take(s));
	remove_tree(dir);
}

/* A disk that was pulled out and is back: the old mount only says EIO. */
static int child_pulled(const char *unused, const char *dir)
{
	DROP(store) struct store *reader = NULL;
	DROP(store) struct store *s = NULL;
	const char *v = in(dir, "v");

	(void)unused;
	CHECK_OK(store_create(v, &s));
	CHECK_OK(puts_text(s, "a/1", "old"));
	CHECK_OK(store_open(v, false, &reader));
	CHECK(umount2(dir, MNT_DETACH) == 0);
	CHECK(mount("e", dir, "tmpfs", 0, "size=1m") == 0);
	store_close(take(s));
	CHECK_OK(store_create(v, &s));
	CHECK_OK(puts_text(s, "a/1", "new"));
	CHECK(is(reader, "a/1", "new"));
	CHECK(is(reader, "a/1", "new"));
	return 0;
}

static void test_pulled(void)
{
	DROP(mem) char *dir = strdup(in(work, "pulled"));
	unsigned long counted, struck;

	if (!mounts)
		return;
	CHECK(mkdir(dir, 0700) == 0);
	CHECK(mount("d", dir, "tmpfs", 0, "size=1m") == 0);
	/* What was unmounted has a path of its own. */
	run("pulled", "/v", dir,
	    &(struct env){ .only = "read", .at = "1", .error = "EIO" },
	    &counted, &struck);
	CHECK_U64(struck, 1);
	CHECK(umount2(dir, MNT_DETACH) == 0);
}

static void test_sweep(void)
{
	DROP(mem) char *dir = strdup(in(fast, "sweep"));
	unsigned long counted, struck;

	CHECK(mkdir(dir, 0700) == 0);
	run("sweep", dir, NULL, &(struct env){ .without = "tmpfile" }, &counted,
	    &struck);
	remove_tree(dir);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * The mounts of the cases beside this one, which are copied with the rest: while we held
 * them, what was unmounted there would not end.
 */
static void leave_mounts(void)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char *dirs[100];
	size_t count = 0;
	struct mntent *m;

	CHECK(f);
	while (count < ARRAY_SIZE(dirs) && (m = getmntent(f)))
		if (!strncmp(m->mnt_type, "fuse", 4))
			dirs[count++] = strdup(m->mnt_dir);
	endmntent(f);
	while (count) {
		/* Those that came with a namespace of a user are not ours to leave. */
		(void)umount2(dirs[--count], MNT_DETACH);
		free(dirs[count]);
	}
}

/* Mounts of our own, where the system lets us. */
static bool own_mounts(void)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	char map[64];

	if (unshare(CLONE_NEWNS) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			return false;
		(void)write_text("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		if (!write_text("/proc/self/uid_map", map))
			return false;
		snprintf(map, sizeof(map), "0 %u 1", gid);
		if (!write_text("/proc/self/gid_map", map))
			return false;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return false;
	leave_mounts();
	return mount("fast", fast, "tmpfs", 0, "size=256m,mode=700") == 0;
}

/* Thousands of barriers on a disk that others use take minutes. */
static void make_fast(void)
{
	snprintf(fast, sizeof(fast), "%s/fast", work);
	CHECK(mkdir(fast, 0700) == 0);
	mounts = own_mounts();
	if (mounts)
		return;
	snprintf(fast, sizeof(fast), "/dev/shm/vaultfs-store.XXXXXX");
	if (!mkdtemp(fast))
		snprintf(fast, sizeof(fast), "%s/fast", work);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *dir, const char *arg);
	} children[] = {
		{ "walk", child_walk },
		{ "sticky", child_sticky_walk },
		{ "interrupted", child_interrupted },
		{ "contract", child_contract },
		{ "refused", child_refused },
		{ "sweep", child_sweep },
		{ "reads", child_reads },
		{ "puts", child_puts },
		{ "list", child_list },
		{ "pulled", child_pulled },
		{ "whole", child_whole },
	};
	const char *tmp = getenv("TMPDIR");
	char made[1024];

	/* The same large buffers again and again: a mapping for each takes longer. */
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 16 << 20);
	for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(children); i++)
		if (!strcmp(argv[1], children[i].name))
			return children[i].run(argv[2], argv[3]);

	snprintf(made, sizeof(made), "%s/store.XXXXXX",
		 tmp && *tmp ? tmp : "/tmp");
	CHECK(mkdtemp(made));
	CHECK(realpath(made, work));
	CHECK(chdir(work) == 0);
	make_fast();

	test_files();
	test_strangers();
	test_empty_folders();
	test_renamed();
	test_back_again();
	test_back_again_threads();
	test_remounted();
	test_full();
	test_costs();
	test_pulled();
	test_sweep();
	test_sticky();
	test_interrupted();
	test_lesser_systems();
	test_walk();
	CHECK(chdir("/") == 0);
	if (mounts)
		umount2(fast, MNT_DETACH);
	else
		remove_tree(fast);
	remove_tree(work);
	return 0;
}
