// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "backend/azure/bearer.h"
#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "crypt/volumes.h"

/* Long options are numbered from here on, out of the way of the letters. */
#define LONG_BASE 256

enum long_only {
	OPT_CACHE_SIZE = LONG_BASE,
	OPT_CACHE_DIR,
	OPT_DISK_CACHE_SIZE,
	OPT_OFFLINE,
	OPT_REFRESH,
	OPT_LOG,
	OPT_REQUIRE_PIN,
	OPT_ENDPOINT,
	OPT_CACERT,
	OPT_SAS_FILE,
	OPT_SECONDARY,
	OPT_TRUST_UNSEALED,
	OPT_HEADER,
	OPT_KEK_HOST,
	OPT_KV_RESOURCE,
};

static const struct {
	int value;
	const char *name, *arg, *help;
} options[] = {
	{ 'o', "options", "LIST",
	  "mount options, split by commas; see vaultfs(8)" },
	{ OPT_CACHE_SIZE, "cache-size", "SIZE",
	  "memory for what was verified (default: 128M)" },
	{ OPT_CACHE_DIR, "cache-dir", "DIR",
	  "keep what was fetched there (~/.cache/vaultfs)" },
	{ OPT_DISK_CACHE_SIZE, "disk-cache-size", "SIZE",
	  "keep so much of each vault there (4G)" },
	{ OPT_OFFLINE, "offline", "MODE",
	  "while a server is away: fail, wait, wait=TIME" },
	{ OPT_REFRESH, "refresh", "TIME",
	  "show new points after at most this long (10s)" },
	{ OPT_LOG, "log", "FILE", "log to a file, or to syslog" },
	{ OPT_REQUIRE_PIN, "require-pin", NULL,
	  "refuse a vault whose owner key is not pinned here" },
	{ OPT_ENDPOINT, "endpoint", "URL",
	  "where az: and s3: vaults are served, if not by the vendor" },
	{ OPT_CACERT, "cacert", "FILE",
	  "trust the authorities in this PEM file, not the system's" },
	{ OPT_SAS_FILE, "sas-file", "FILE",
	  "az: the shared access signature that lets us in" },
	{ OPT_SECONDARY, "secondary", NULL,
	  "az: read the secondary copy where the first fails" },
	{ 'k', "kek", "KEK", "a KEK: a key file, a pkcs11: URI or a URL" },
	{ 'K', "keys", "FILE", "a file of such KEKs, one a line" },
	{ 'B', "bek", "FILE", "a volume's own key" },
	{ 'P', "password-file", "FILE", "a passphrase or recovery password" },
	{ OPT_KEK_HOST, "kek-host", "OLD=NEW",
	  "what was in the key vault OLD is in NEW" },
	{ OPT_KV_RESOURCE, "kv-resource", "HOST",
	  "this key vault gets a token for whatever it names" },
	{ OPT_TRUST_UNSEALED, "trust-unsealed", NULL,
	  "use records of vaults that are not pinned" },
	{ OPT_HEADER, "header", "[VM/]VOLUME=FILE",
	  "a LUKS header that lies apart from its volume" },
	{ 'f', "foreground", NULL, "stay in the foreground, log to stderr" },
	{ 'd', "debug", NULL, "log each request; implies -f" },
	{ 'v', "verbose", NULL, "tell more; twice: still more" },
	{ 'h', "help", NULL, "show this help and exit" },
	{ 'V', "version", NULL, "show the version and exit" },
};

void args_print_help(void)
{
	puts("usage: vaultfs [OPTION]... VAULT... MOUNTPOINT\n\n"
	     "Mounts recovery vaults: their VMs, points and disks, read-only.\n"
	     "A VAULT is a directory (a path, or dir:PATH),\n"
	     "az://ACCOUNT/CONTAINER[/PREFIX] or s3://BUCKET[/PREFIX].\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		char left[40], letter[5] = "    ";

		if (options[i].value < LONG_BASE)
			snprintf(letter, sizeof(letter), "-%c, ",
				 options[i].value);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter,
			 options[i].name, options[i].arg ? " " : "",
			 options[i].arg ? options[i].arg : "");
		printf("  %-24s  %s\n", left, options[i].help);
	}
	puts("\n'fusermount3 -u MOUNTPOINT' unmounts.");
}

void args_release(struct args *a)
{
	for (size_t i = 0; i < a->nvaults; i++)
		free(a->vaults[i]);
	free(a->vaults);
	free(a->mountpoint);
	free(a->fsname);
	free(a->kernel);
	free(a->log);
	free(a->cache_dir);
	free((char *)a->store.endpoint);
	free((char *)a->store.ca_file);
	free((char *)a->store.sas_file);
	for (size_t i = 0; i < a->nkeys; i++)
		free(a->keys[i].text);
	free(a->keys);
	for (size_t i = 0; i < a->nheaders; i++) {
		free(a->headers[i].vm);
		free(a->headers[i].volume);
		free(a->headers[i].path);
	}
	free(a->headers);
}

static int set_text(char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

/* A path, which must mean the same once we are in another directory. */
static int absolute(const char *path, const char *prefix, char **ret)
{
	DROP(mem) char *cwd = NULL;
	int n;

	if (*path == '/' || !*path)
		n = asprintf(ret, "%s%s", prefix, path);
	else if (!(cwd = getcwd(NULL, 0)))
		return fail_errno(errno, "the current directory");
	else
		n = asprintf(ret, "%s%s/%s", prefix, cwd, path);
	if (n < 0) {
		*ret = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

/* "az:...": letters, digits, '+', '-', '.', and a colon before any slash. */
static bool has_scheme(const char *url)
{
	size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyz"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

	return n && url[n] == ':';
}

static int add_vault(struct args *a, const char *url)
{
	char **more;
	char *own;
	int r;

	if (!*url)
		return fail(-EINVAL, "VAULT is empty");
	if (strncmp(url, "dir:", 4) == 0)
		r = absolute(url + 4, "dir:", &own);
	else if (has_scheme(url))
		r = (own = strdup(url)) ? 0 : fail(-ENOMEM, "out of memory");
	else
		r = absolute(url, "", &own);
	if (r)
		return r;
	more = reallocarray(a->vaults, a->nvaults + 1, sizeof(*more));
	if (!more) {
		free(own);
		return fail(-ENOMEM, "out of memory");
	}
	a->vaults = more;
	a->vaults[a->nvaults++] = own;
	return 0;
}

/* --- keys --- */

static bool is_url(const char *text)
{
	return strncmp(text, "pkcs11:", 7) == 0 ||
	       strncmp(text, "https:", 6) == 0;
}

/* The text of a key, whose paths mean the same in another directory. */
static int key_text(const char *text, char **ret)
{
	const char *pass = strstr(text, ",pass-file=");
	DROP(mem) char *first = NULL, *second = NULL;
	size_t n = pass ? (size_t)(pass - text) : strlen(text);
	int r = 0;

	first = strndup(text, n);
	if (!first)
		return fail(-ENOMEM, "out of memory");
	if (!is_url(text)) {
		DROP(mem) char *relative = take(first);

		r = absolute(relative, "", &first);
	}
	if (!r && pass)
		r = absolute(pass + 11, ",pass-file=", &second);
	if (r)
		return r;
	if (asprintf(ret, "%s%s", first, second ? second : "") < 0) {
		*ret = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

static int add_key(struct args *a, enum args_key_kind kind, const char *text)
{
	struct args_key *more =
		reallocarray(a->keys, a->nkeys + 1, sizeof(*more));
	int r;

	if (!more)
		return fail(-ENOMEM, "out of memory");
	a->keys = more;
	if (!*text)
		return fail(-EINVAL, "a key's file has no name");
	if (kind == ARGS_KEK_HOST || kind == ARGS_KV_RESOURCE) {
		more[a->nkeys].text = NULL;
		r = set_text(&more[a->nkeys].text, text);
	} else {
		r = key_text(text, &more[a->nkeys].text);
	}
	if (r)
		return r;
	more[a->nkeys++].kind = kind;
	return 0;
}

static int add_kek(struct args *a, const char *value)
{
	return add_key(a, ARGS_KEK, value);
}

static int add_keys_file(struct args *a, const char *value)
{
	return add_key(a, ARGS_KEYS, value);
}

static int add_bek(struct args *a, const char *value)
{
	return add_key(a, ARGS_BEK, value);
}

static int add_password(struct args *a, const char *value)
{
	return add_key(a, ARGS_PASSWORD, value);
}

static int add_kek_host(struct args *a, const char *value)
{
	return add_key(a, ARGS_KEK_HOST, value);
}

static int add_kv_resource(struct args *a, const char *value)
{
	return add_key(a, ARGS_KV_RESOURCE, value);
}

static int add_header(struct args *a, const char *value)
{
	struct args_header *more =
		reallocarray(a->headers, a->nheaders + 1, sizeof(*more));
	struct args_header *h;
	const char *path;
	int r;

	if (!more)
		return fail(-ENOMEM, "out of memory");
	a->headers = more;
	h = &more[a->nheaders];
	memset(h, 0, sizeof(*h));
	r = volumes_header_parse(value, &h->vm, &h->volume, &path);
	if (r)
		return r;
	a->nheaders++;
	return absolute(path, "", &h->path);
}

/* --- -o --- */

/* What one -o said, all of them together. */
struct mount_words {
	bool rw, dev, suid;
};

static int number(const char *name, const char *value, uint64_t max,
		  uint64_t *out)
{
	int r = parse_u64(value, out);

	if (!r && *out > max)
		r = fail(-EINVAL, "%s is too large", value);
	return r ? blame(-EINVAL, "-o %s", name) : 0;
}

static int set_uid(struct args *a, const char *value)
{
	uint64_t n;
	int r = number("uid", value, UINT32_MAX - 1, &n);

	if (!r)
		a->uid = (uid_t)n;
	return r;
}

static int set_gid(struct args *a, const char *value)
{
	uint64_t n;
	int r = number("gid", value, UINT32_MAX - 1, &n);

	if (!r)
		a->gid = (gid_t)n;
	return r;
}

static int set_keys_gid(struct args *a, const char *value)
{
	uint64_t n;
	int r = number("keys_gid", value, UINT32_MAX - 1, &n);

	if (!r) {
		a->keys_gid = (gid_t)n;
		a->has_keys_gid = true;
	}
	return r;
}

static int set_umask(struct args *a, const char *value)
{
	mode_t mode = 0;
	size_t n = strspn(value, "01234567");

	if (!n || value[n] || n > 4)
		return fail(-EINVAL,
			    "-o umask: '%s' is no octal number of up "
			    "to four digits",
			    value);
	for (size_t i = 0; i < n; i++)
		mode = mode * 8 + (mode_t)(value[i] - '0');
	a->umask = mode & 0777;
	return 0;
}

static int set_cache_size(struct args *a, const char *value)
{
	int r = parse_size(value, &a->cache_size);

	if (!r && a->cache_size > SIZE_MAX / 2)
		r = fail(-EINVAL, "%s is too large", value);
	return r ? blame(-EINVAL, "--cache-size") : 0;
}

static int set_cache_dir(struct args *a, const char *value)
{
	if (!*value)
		return fail(-EINVAL, "--cache-dir: DIR is empty");
	a->disk_cache_asked = true;
	free(take(a->cache_dir));
	return absolute(value, "", &a->cache_dir);
}

static int set_disk_cache_size(struct args *a, const char *value)
{
	int r = parse_size(value, &a->disk_cache_size);

	a->disk_cache_asked = true;
	if (!r && a->disk_cache_size > INT64_MAX / 2)
		r = fail(-EINVAL, "%s is too large", value);
	return r ? blame(-EINVAL, "--disk-cache-size") : 0;
}

static int set_offline(struct args *a, const char *value)
{
	int r;

	if (strcmp(value, "fail") == 0) {
		a->offline_wait_ms = 0;
		return 0;
	}
	if (strcmp(value, "wait") == 0) {
		a->offline_wait_ms = ARGS_WAIT_FOR_EVER;
		return 0;
	}
	if (strncmp(value, "wait=", 5) != 0)
		return fail(-EINVAL,
			    "--offline: '%s' is none of fail, wait, wait=TIME",
			    value);
	r = parse_duration_ms(value + 5, &a->offline_wait_ms);
	return r ? blame(-EINVAL, "--offline") : 0;
}

static int set_refresh(struct args *a, const char *value)
{
	int r = parse_duration_ms(value, &a->refresh_ms);

	if (!r && a->refresh_ms > UINT64_C(24) * 3600 * 1000)
		r = fail(-EINVAL, "%s is more than a day", value);
	return r ? blame(-EINVAL, "--refresh") : 0;
}

static int set_log(struct args *a, const char *value)
{
	if (!*value)
		return fail(-EINVAL, "--log: FILE is empty");
	/* It stays what it is when we are in another directory. */
	if (strcmp(value, "syslog") == 0)
		return set_text(&a->log, value);
	free(take(a->log));
	return absolute(value, "", &a->log);
}

static int set_endpoint(struct args *a, const char *value)
{
	if (!*value)
		return fail(-EINVAL, "--endpoint: URL is empty");
	return set_text((char **)&a->store.endpoint, value);
}

static int set_file(const char *option, const char *value, const char **to)
{
	if (!*value)
		return fail(-EINVAL, "%s: FILE is empty", option);
	free((char *)*to);
	*to = NULL;
	return absolute(value, "", (char **)to);
}

static int set_cacert(struct args *a, const char *value)
{
	return set_file("--cacert", value, &a->store.ca_file);
}

static int set_sas_file(struct args *a, const char *value)
{
	return set_file("--sas-file", value, &a->store.sas_file);
}

static int set_fsname(struct args *a, const char *value)
{
	return set_text(&a->fsname, value);
}

static const struct {
	const char *name;
	int (*set)(struct args *a, const char *value);
} values[] = {
	{ "vault", add_vault },
	{ "cache_size", set_cache_size },
	{ "refresh", set_refresh },
	{ "log", set_log },
	{ "uid", set_uid },
	{ "gid", set_gid },
	{ "umask", set_umask },
	{ "fsname", set_fsname },
	{ "cache_dir", set_cache_dir },
	{ "offline", set_offline },
	{ "disk_cache_size", set_disk_cache_size },
	{ "endpoint", set_endpoint },
	{ "cacert", set_cacert },
	{ "sas_file", set_sas_file },
	{ "kek", add_kek },
	{ "keys", add_keys_file },
	{ "bek", add_bek },
	{ "password_file", add_password },
	{ "kek_host", add_kek_host },
	{ "kv_resource", add_kv_resource },
	{ "header", add_header },
	{ "keys_gid", set_keys_gid },
};

/* Handed to libfuse as they are; with "=", whatever follows it too. */
static const char *const kernel_words[] = {
	"allow_other", "allow_root", "auto_unmount", "noexec",
	"noatime",     "nodiratime", "relatime",     "strictatime",
	"context=",    "fscontext=", "defcontext=",  "rootcontext=",
};

/* True of every mount of ours, without meaning for it, or for mount(8)
 * alone. */
static const char *const ignored_words[] = {
	"ro",	   "nosuid",	"suid",	    "nodev",	  "dev",
	"exec",	   "atime",	"diratime", "norelatime", "async",
	"sync",	   "dirsync",	"auto",	    "noauto",	  "user",
	"nouser",  "users",	"owner",    "noowner",	  "group",
	"nogroup", "_netdev",	"nofail",   "defaults",	  "default_permissions",
	"silent",  "loud",	"subtype=", "comment=",	  "x-",
	"X-",	   "max_read=",
};

static bool is_word(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(words[i]);
		char last = words[i][len - 1];

		if (last == '=' || last == '-'
			    ? strncmp(word, words[i], len) == 0
			    : strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

static int add_kernel_word(struct args *a, const char *word)
{
	char *more;

	if (asprintf(&more, "%s%s%s", a->kernel ? a->kernel : "",
		     a->kernel ? "," : "", word) < 0)
		return fail(-ENOMEM, "out of memory");
	free(a->kernel);
	a->kernel = more;
	return 0;
}

static int mount_word(struct args *a, const char *word, struct mount_words *w)
{
	const char *value = strchr(word, '=');

	if (!*word)
		return 0;
	w->rw |= strcmp(word, "rw") == 0;
	w->dev |= strcmp(word, "dev") == 0 || strcmp(word, "nodev") == 0;
	w->suid |= strcmp(word, "suid") == 0 || strcmp(word, "nosuid") == 0;
	if (strcmp(word, "rw") == 0)
		return 0; /* judged when all is known */
	if (strcmp(word, "allow_other") == 0)
		a->allow_other = true;
	if (strcmp(word, "debug") == 0) {
		a->debug = a->foreground = true;
		return 0;
	}
	if (strcmp(word, "nonempty") == 0) {
		a->nonempty = true;
		return 0;
	}
	if (strcmp(word, "secondary") == 0) {
		a->store.secondary = true;
		return 0;
	}
	if (strcmp(word, "require_pin") == 0) {
		a->require_pin = true;
		return 0;
	}
	if (strcmp(word, "trust_unsealed") == 0) {
		a->trust_unsealed = true;
		return 0;
	}
	if (is_word(ignored_words, ARRAY_SIZE(ignored_words), word))
		return 0;
	if (is_word(kernel_words, ARRAY_SIZE(kernel_words), word))
		return add_kernel_word(a, word);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		size_t n = strlen(values[i].name);

		if (strncmp(word, values[i].name, n) != 0)
			continue;
		if (word[n] == '=')
			return values[i].set(a, value + 1);
		if (!word[n])
			return fail(-EINVAL, "-o %s needs a value", word);
	}
	return fail(-EINVAL, "-o: '%s' is no mount option of vaultfs", word);
}

/* Words are split by commas; a backslash before a comma keeps it. */
static int mount_words(struct args *a, const char *list, struct mount_words *w)
{
	DROP(mem) char *word = malloc(strlen(list) + 1);
	size_t len = 0;
	int r;

	if (!word)
		return fail(-ENOMEM, "out of memory");
	for (const char *p = list;; p++) {
		if (*p == '\\' && p[1]) {
			word[len++] = *++p;
		} else if (*p && *p != ',') {
			word[len++] = *p;
		} else {
			word[len] = '\0';
			r = mount_word(a, word, w);
			if (r)
				return r;
			len = 0;
			if (!*p)
				return 0;
		}
	}
}

/*
 * mount(8) says "rw" unless fstab says "ro", and mount.fuse3 always adds what
 * it thinks of devices and set-user-id; so "rw" beside those is nobody's wish.
 */
static int judge_rw(const struct mount_words *w)
{
	if (w->rw && !(w->dev && w->suid))
		return fail(-EINVAL,
			    "-o rw: a vault is always mounted read-only");
	return 0;
}

/* --- the whole line --- */

static int one_option(struct args *a, int c, const char *value,
		      struct mount_words *w)
{
	switch (c) {
	case 'o':
		return mount_words(a, value, w);
	case OPT_CACHE_SIZE:
		return set_cache_size(a, value);
	case OPT_CACHE_DIR:
		return set_cache_dir(a, value);
	case OPT_DISK_CACHE_SIZE:
		return set_disk_cache_size(a, value);
	case OPT_OFFLINE:
		return set_offline(a, value);
	case OPT_REFRESH:
		return set_refresh(a, value);
	case OPT_LOG:
		return set_log(a, value);
	case OPT_ENDPOINT:
		return set_endpoint(a, value);
	case OPT_CACERT:
		return set_cacert(a, value);
	case OPT_SAS_FILE:
		return set_sas_file(a, value);
	case OPT_SECONDARY:
		a->store.secondary = true;
		return 0;
	case OPT_REQUIRE_PIN:
		a->require_pin = true;
		return 0;
	case OPT_TRUST_UNSEALED:
		a->trust_unsealed = true;
		return 0;
	case OPT_KEK_HOST:
		return add_kek_host(a, value);
	case OPT_KV_RESOURCE:
		return add_kv_resource(a, value);
	case OPT_HEADER:
		return add_header(a, value);
	case 'k':
		return add_kek(a, value);
	case 'K':
		return add_keys_file(a, value);
	case 'B':
		return add_bek(a, value);
	case 'P':
		return add_password(a, value);
	case 'f':
		a->foreground = true;
		return 0;
	case 'd':
		a->debug = a->foreground = true;
		return 0;
	case 'v':
		a->verbose++;
		return 0;
	case 'h':
		a->help = true;
		return 0;
	case 'V':
		a->version = true;
		return 0;
	default:
		return fail(-EINVAL, "option %d", c);
	}
}

static bool is_option(int letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].value == letter)
			return true;
	}
	return false;
}

/* getopt tells in optopt which it was: 0 for a long one that it does not
 * know. */
static int bad_option(int c, char **argv)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return fail(-EINVAL, "%s needs a value", word);
	if (!optopt)
		return fail(-EINVAL, "%s is no option", word);
	if (is_option(optopt))
		return fail(-EINVAL, "%s takes no value", word);
	return fail(-EINVAL, "-%c is no option", optopt);
}

static int parse_options(struct args *a, int argc, char **argv)
{
	struct option longs[ARRAY_SIZE(options) + 1] = { 0 };
	struct mount_words w = { 0 };
	char shorts[2 * ARRAY_SIZE(options) + 2] = ":";
	size_t n = 1;
	int c, r;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		longs[i] = (struct option){
			.name = options[i].name,
			.has_arg = options[i].arg ? required_argument
						  : no_argument,
			.val = options[i].value,
		};
		if (options[i].value >= LONG_BASE)
			continue;
		shorts[n++] = (char)options[i].value;
		if (options[i].arg)
			shorts[n++] = ':';
	}
	shorts[n] = '\0';
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == '?' || c == ':')
			return bad_option(c, argv);
		r = one_option(a, c, optarg, &w);
		if (r)
			return r;
		if (a->help || a->version)
			return 0;
	}
	return judge_rw(&w);
}

/* Others must not read what is encrypted for a reason. */
static int judge_keys(const struct args *a)
{
	if (!a->nkeys || !a->allow_other || a->has_keys_gid)
		return 0;
	return fail(-EINVAL,
		    "-o allow_other with keys: say with -o keys_gid=GID whom "
		    "decrypted volumes are for, besides the user who mounts");
}

static bool is_no_device(const char *operand)
{
	return strcmp(operand, "vaultfs") == 0 || strcmp(operand, "none") == 0;
}

static int parse_operands(struct args *a, int argc, char **argv)
{
	int r;

	if (argc && a->nvaults && argc > 1 && is_no_device(argv[0])) {
		argv++;
		argc--;
	}
	if (argc == 0)
		return fail(-EINVAL, a->nvaults ? "MOUNTPOINT is missing"
						: "VAULT is missing");
	for (int i = 0; i < argc - 1; i++) {
		r = add_vault(a, argv[i]);
		if (r)
			return r;
	}
	if (!a->nvaults)
		return fail(-EINVAL, "VAULT or MOUNTPOINT is missing");
	if (!*argv[argc - 1])
		return fail(-EINVAL, "MOUNTPOINT is empty");
	return set_text(&a->mountpoint, argv[argc - 1]);
}

int args_parse(struct args *a, int argc, char **argv)
{
	int r;

	*a = (struct args){
		.cache_size = ARGS_CACHE_SIZE,
		.disk_cache_size = ARGS_DISK_CACHE_SIZE,
		.refresh_ms = ARGS_REFRESH_MS,
		.uid = getuid(),
		.gid = getgid(),
	};
	r = parse_options(a, argc, argv);
	if (r || a->help || a->version)
		return r;
	r = judge_keys(a);
	if (!r)
		r = azure_bearer_offer(&a->store);
	return r ? r : parse_operands(a, argc - optind, argv + optind);
}
