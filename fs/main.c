// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vaultfs: mounts vaults.
 *
 * Threads do not survive a fork, so in the background everything is opened in
 * the child. Until the mount answers the child is still at the terminal, says
 * what is wrong there, and is stopped by an interrupt; the parent waits on a
 * pipe for its one byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/log.h"
#include "backend/base/signals.h"
#include "backend/catalog.h"
#include "backend/vault/keys.h"
#include "crypt/keyvault.h"
#include "fs/args.h"
#include "fs/fuse.h"
#include "fs/mountpoint.h"
#include "fs/view.h"

/* --- what is mounted --- */

struct vaults {
	struct cache *cache;
	struct catalog **catalogs;
	size_t count;
};

static void vaults_close(struct vaults *v)
{
	while (v->count)
		catalog_close(v->catalogs[--v->count]);
	free(v->catalogs);
	cache_free(v->cache);
}

static void drop_vaults(struct vaults *v)
{
	vaults_close(v);
}

/* News is as old as the kernel's knowledge and the catalog's together. */
static uint32_t half_refresh_ms(const struct args *a)
{
	return (uint32_t)(a->refresh_ms / 2);
}

/* Who can replace a vault can bring one with an id of its own, of which nothing
 * is known here: only a pin that has to be there tells. */
static int check_trust(const struct catalog *c, const struct args *a,
		       const char *vault)
{
	if (c->trust == SEAL_PINNED)
		return 0;
	if (c->trust == SEAL_NONE)
		return a->require_pin ? fail(-EACCES,
					     "%s: its bytes have no seals, and "
					     "--require-pin asks for them",
					     vault)
				      : 0;
	if (a->require_pin)
		return fail(-EACCES,
			    "%s: no owner key is pinned here for it, and "
			    "--require-pin asks for one (see 'vaultctl key "
			    "pin')",
			    vault);
	log_warn("%s: no owner key is pinned here, so its seals are checked "
		 "with the key that it brings itself (see 'vaultctl key pin')",
		 vault);
	return 0;
}

/* Where what is fetched is kept. Without a home it is kept nowhere, unless a place was
 * named. */
static void choose_keep(const struct args *a, struct catalog_options *o,
			char *usual, size_t size)
{
	o->keep_bytes = a->disk_cache_size;
	o->keep_near = a->disk_cache_asked;
	o->keep_dir = a->cache_dir;
	if (o->keep_dir || !o->keep_bytes)
		return;
	if (keys_cache_dir(usual, size))
		log_info("nothing is kept on disk: %s", err_text(-ENXIO));
	else
		o->keep_dir = usual;
}

static int vaults_open(struct vaults *v, const struct args *a)
{
	struct catalog_options o = { .refresh_ms = half_refresh_ms(a),
				     .store = &a->store };
	char usual[4096];
	int r = cache_new(a->cache_size, &v->cache);

	if (r)
		return r;
	choose_keep(a, &o, usual, sizeof(usual));
	o.cache = v->cache;
	v->catalogs = calloc(a->nvaults, sizeof(struct catalog *));
	if (!v->catalogs)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < a->nvaults; i++) {
		struct catalog *c;

		r = catalog_open(a->vaults[i], &o, &c);
		if (r)
			return r;
		v->catalogs[v->count++] = c;
		r = check_trust(c, a, a->vaults[i]);
		if (r)
			return r;
	}
	return 0;
}

/* --- keys --- */

struct keys {
	struct keyring *keyring;
	struct keycache *cache;
	struct resolver_header *headers;
	struct folder *root; /* borrowed; set once there is one */
};

static void drop_keys(struct keys *k)
{
	keyring_close(k->keyring);
	keycache_free(k->cache);
	free(k->headers);
}

/* What Key Vault is told comes before the keys that are there. */
static int tell_keyvault(const struct args_key *key)
{
	if (key->kind == ARGS_KEK_HOST)
		return keyvault_map_host(key->text);
	if (key->kind == ARGS_KV_RESOURCE)
		return keyvault_trust_resource(key->text);
	return 0;
}

static int add_key(struct keyring *k, const struct args_key *key)
{
	static const struct {
		const char *option;
		int (*add)(struct keyring *k, const char *text);
	} kinds[] = {
		[ARGS_KEK] = { "--kek", keyring_add_kek },
		[ARGS_KEYS] = { "--keys", keyring_add_file },
		[ARGS_BEK] = { "--bek", keyring_add_bek },
		[ARGS_PASSWORD] = { "--password-file", keyring_add_password },
		[ARGS_KEK_HOST] = { 0 },
		[ARGS_KV_RESOURCE] = { 0 },
	};
	int r = kinds[key->kind].add ? kinds[key->kind].add(k, key->text) : 0;

	return r ? blame(r, "%s", kinds[key->kind].option) : 0;
}

/* May ask for passphrases, on the terminal. Also without keys: a volume may open
 * without one. */
static int keys_open(struct keys *k, const struct args *a)
{
	int r = a->nkeys ? secret_setup() : 0;

	if (!r)
		r = keyring_new(&k->keyring);
	if (!r)
		r = keycache_new(&k->cache);
	if (r)
		return r;
	keyring_keep_going(k->keyring);
	for (size_t i = 0; i < a->nkeys && !r; i++)
		r = tell_keyvault(&a->keys[i]);
	for (size_t i = 0; i < a->nkeys && !r; i++)
		r = add_key(k->keyring, &a->keys[i]);
	if (r)
		return r;
	k->headers = calloc(a->nheaders + 1, sizeof(*k->headers));
	if (!k->headers)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < a->nheaders; i++)
		k->headers[i] = (struct resolver_header){
			a->headers[i].vm,
			{ a->headers[i].volume, a->headers[i].path },
		};
	return 0;
}

/* SIGHUP: what failed may work now. */
static void hangup(void *ctx)
{
	struct keys *k = ctx;

	log_info("SIGHUP: keys that failed are tried again");
	keyring_reset(k->keyring);
	view_reset(k->root);
}

/* Before there is a second thread: they all inherit it. */
static void block_hangup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* The path in the text of a key, if it is one. */
static int key_outside(const char *mountpoint, const struct args_key *key)
{
	DROP(mem) char *first = strdup(key->text);
	char *pass = first ? strstr(first, ",pass-") : NULL;
	int r = 0;

	if (!first)
		return fail(-ENOMEM, "out of memory");
	if (pass)
		*pass = '\0';
	if (*first == '/')
		r = mountpoint_outside(mountpoint, "a key", first);
	if (!r && pass && strncmp(pass + 1, "pass-file=", 10) == 0)
		r = mountpoint_outside(mountpoint, "pass-file", pass + 11);
	return r;
}

static int paths_outside(const char *mountpoint, const struct args *a)
{
	int r = 0;

	for (size_t i = 0; i < a->nkeys && !r; i++)
		r = key_outside(mountpoint, &a->keys[i]);
	for (size_t i = 0; i < a->nheaders && !r; i++)
		r = mountpoint_outside(mountpoint, "--header",
				       a->headers[i].path);
	if (!r && a->cache_dir)
		r = mountpoint_outside(mountpoint, "--cache-dir", a->cache_dir);
	return r;
}

/* What the mount table shows as the device. */
static const char *source_name(const struct args *a, struct buf *b)
{
	if (a->fsname)
		return a->fsname;
	for (size_t i = 0; i < a->nvaults; i++)
		buf_printf(b, "%s%s", i ? "," : "", a->vaults[i]);
	return b->failed ? "vaultfs" : buf_cstr(b);
}

/* --- the background --- */

struct background {
	bool wanted;
	int pipe; /* the parent waits at its other end; -1: nobody does */
};

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		if (null > 2)
			close(null);
	}
	setsid();
	if (chdir("/"))
		log_debug("chdir /: %s", strerror(errno));
}

/* The mount answers. */
static void ready(void *ctx)
{
	struct background *bg = ctx;

	log_info("mounted");
	if (!bg->wanted)
		return;
	leave_terminal();
	if (write(bg->pipe, "", 1) != 1)
		log_debug("the parent is gone");
	close(bg->pipe);
	bg->pipe = -1;
}

static int run(const struct args *a, const char *mountpoint,
	       struct background *bg)
{
	DROP(keys) struct keys keys = { 0 };
	DROP(vaults) struct vaults v = { 0 };
	DROP(tree) struct tree *tree = NULL;
	DROP(fs) struct fs *fs = NULL;
	DROP(buf) struct buf name = BUF_INIT(4096);
	struct view_options vo = {
		.fresh_ms = half_refresh_ms(a),
		.trust_unsealed = a->trust_unsealed,
		.nheaders = a->nheaders,
	};
	struct fs_options fo = {
		.mountpoint = mountpoint,
		.extra = a->kernel,
		.uid = a->uid,
		.gid = a->gid,
		.umask = a->umask,
		.has_keys_gid = a->has_keys_gid,
		.keys_gid = a->keys_gid,
		.debug = a->debug,
		.wait_ms = a->offline_wait_ms,
		.ready = ready,
		.ready_ctx = bg,
	};
	struct folder *root;
	int r;

	if (a->nkeys) {
		block_hangup();
		fo.hangup = hangup;
		fo.hangup_ctx = &keys;
	}
	r = keys_open(&keys, a);
	if (!r)
		r = vaults_open(&v, a);
	if (r)
		return r;
	vo.keyring = keys.keyring;
	vo.keycache = keys.cache;
	vo.headers = keys.headers;
	r = view_open(v.catalogs, v.count, &vo, &root);
	if (r)
		return r;
	keys.root = root;
	r = tree_new(root, VIEW_FIXED_MS, &tree);
	if (r)
		return r;
	fo.source = source_name(a, &name);
	r = fs_mount(tree, &fo, &fs);
	if (r)
		return r;
	/* From here on nobody looks at the terminal. */
	if (a->log || bg->wanted) {
		r = log_to(a->log ? a->log : "syslog");
		if (r)
			return r;
	}
	r = fs_run(fs);
	if (!r)
		log_info("unmounted");
	return r;
}

static int run_and_tell(const struct args *a, const char *mountpoint,
			struct background *bg)
{
	int r = run(a, mountpoint, bg);

	if (r)
		log_error("%s", err_text(r));
	return r ? 1 : 0;
}

static pid_t waited_for;

static void pass_on(int sig)
{
	int saved = errno;

	kill(waited_for, sig);
	errno = saved;
}

/* Who ends the command means the child, which may be at a prompt. */
static void pass_signals_to(pid_t child)
{
	static const int enders[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction act = { .sa_handler = pass_on,
				 .sa_flags = SA_RESTART };

	waited_for = child;
	signals_handle(enders, ARRAY_SIZE(enders), &act, NULL);
}

/* 0 once the mount answers, else what the child ended with. */
static int wait_for_child(pid_t child, int pipe)
{
	char byte;
	ssize_t n;
	int status;

	do {
		n = read(pipe, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return 1;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
	log_error("ended by signal %d before it had mounted", WTERMSIG(status));
	return 1;
}

static int run_in_background(const struct args *a, const char *mountpoint)
{
	struct background bg = { .wanted = true, .pipe = -1 };
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC)) {
		log_error("pipe: %s", strerror(errno));
		return 1;
	}
	child = fork();
	if (child < 0) {
		log_error("fork: %s", strerror(errno));
		return 1;
	}
	if (child == 0) {
		close(ends[0]);
		bg.pipe = ends[1];
		return run_and_tell(a, mountpoint, &bg);
	}
	close(ends[1]);
	pass_signals_to(child);
	return wait_for_child(child, ends[0]);
}

/* --- the start --- */

/* What is opened later must not get the number of a standard stream. */
static void fill_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

/* In the background we are in another directory. */
static int make_absolute(const char *variable)
{
	DROP(mem) char *cwd = NULL, *path = NULL;
	const char *value = getenv(variable);

	if (!value || !*value || *value == '/')
		return 0;
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return fail_errno(errno, "the current directory");
	if (asprintf(&path, "%s/%s", cwd, value) < 0) {
		path = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return setenv(variable, path, 1) ? fail_errno(errno, "%s", variable)
					 : 0;
}

static void no_core_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none))
		log_debug("setrlimit: %s", strerror(errno));
}

#define HEAP_BESIDE ((size_t)64 << 20)
#define HEAP_MAX ((size_t)1 << 30)

/*
 * Dozens of threads that come and go with buffers of a few sizes: left to itself, malloc
 * keeps an arena a thread and twice the memory that is in use. One heap, then; and since
 * the first use of a page costs up to 15 us on a virtual machine, so that a frame takes
 * longer to find memory for than to verify, it lies in large pages. It is as large
 * from the start as the cache will make it: what is not used yet is no memory yet.
 */
static void tame_malloc(size_t cache)
{
	size_t size = min_u64(cache, HEAP_MAX) + HEAP_BESIDE;
	const uintptr_t large = (uintptr_t)2 << 20;
	uintptr_t from = (uintptr_t)sbrk(0), to;
	void *volatile grown;

	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, (int)(size + HEAP_BESIDE));
	mallopt(M_TOP_PAD, (int)size);
	/* Not to be left out by a compiler that knows malloc(). */
	grown = malloc(512u << 10);
	free(grown);
	mallopt(M_TOP_PAD, 128 << 10);
	from = (from + large - 1) & ~(large - 1);
	to = (uintptr_t)sbrk(0) & ~(large - 1);
	/* Only for speed. */
	if (from < to)
		(void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

static int start(const struct args *a)
{
	DROP(mem) char *mountpoint = NULL;
	struct background none = { .wanted = false, .pipe = -1 };
	int r;

	tame_malloc(a->cache_size);
	r = make_absolute("VAULTFS_CONFIG_DIR");
	if (!r)
		r = make_absolute("VAULTFS_STATE_DIR");
	if (!r)
		r = make_absolute("VAULTFS_CACHE_DIR");
	if (!r)
		r = mountpoint_check_fuse();
	if (!r)
		r = mountpoint_check(a->mountpoint, a->nonempty, &mountpoint);
	if (!r)
		r = paths_outside(mountpoint, a);
	if (r) {
		log_error("%s", err_text(r));
		return 1;
	}
	if (a->foreground)
		return run_and_tell(a, mountpoint, &none);
	return run_in_background(a, mountpoint);
}

int main(int argc, char **argv)
{
	DROP(args) struct args a = { 0 };
	int r;

	fill_standard_streams();
	no_core_dumps();
	log_init("vaultfs", LOG_LEVEL_WARN);
	r = args_parse(&a, argc, argv);
	if (r) {
		log_error("%s (try 'vaultfs --help')", err_text(r));
		return 2;
	}
	if (a.help) {
		args_print_help();
		return 0;
	}
	if (a.version) {
		puts("vaultfs " VAULTFS_VERSION);
		return 0;
	}
	if (a.debug || a.verbose > 1)
		log_set_level(LOG_LEVEL_DEBUG);
	else if (a.verbose)
		log_set_level(LOG_LEVEL_INFO);
	return start(&a);
}
