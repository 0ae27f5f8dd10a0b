// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * BitLocker volumes through crypt/volume.h: those of Windows by the published
 * hashes of their clear bytes, and those of our own writer, which dislocker and
 * libcryptsetup read too.
 */
#include <errno.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "crypt/bitlocker.h"
#include "crypt/volume.h"
#include "tests/fakes/mkbitlocker.h"
#include "tests/fakes/source_fault.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

#define SIZE (MKBITLOCKER_MIN + 65536)
#define RECOVERY "363770-230505-096371-652674-567006-579150-291038-408111"

static const struct pattern pattern = { .seed = 9 };

extern char **environ;

static struct secret *secret_of(const void *p, size_t n)
{
	struct secret *s;

	CHECK_OK(secret_new(n, &s));
	memcpy(secret_bytes(s), p, n);
	return s;
}

static struct secret *text(const char *s)
{
	return secret_of(s, strlen(s));
}

/* Bytes that are not copied: some tests open a volume for each of its bytes. */
struct borrowed {
	struct source base;
	const uint8_t *p;
};

static int borrowed_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, container_of(s, struct borrowed, base)->p + off, len);
	return 0;
}

static void borrowed_close(struct source *s)
{
	free(container_of(s, struct borrowed, base));
}

static const struct source_ops borrowed_ops = {
	.name = "borrowed",
	.read = borrowed_read,
	.close = borrowed_close,
};

static struct source *memory(const uint8_t *p, size_t n)
{
	struct borrowed *b = calloc(1, sizeof(*b));

	CHECK(b);
	source_init(&b->base, &borrowed_ops, n);
	b->p = p;
	return &b->base;
}

/* A volume, and what it is when it is opened. */
struct volume {
	uint8_t *image;
	uint8_t *clear;
	size_t size;
	struct mkbitlocker_result r;
};

static void make(const struct mkbitlocker *o, size_t size, struct volume *v)
{
	v->size = size;
	v->image = malloc(size);
	v->clear = malloc(size);
	CHECK(v->image && v->clear);
	pattern_bytes(&pattern, v->clear, size, 0);
	memcpy(v->image, v->clear, size);
	mkbitlocker(o, v->image, size, &v->r);
	mkbitlocker_clear(&v->r, v->clear);
}

static void drop_volume(struct volume *v)
{
	free(v->image);
	free(v->clear);
}

static struct secret *bek(const struct volume *v)
{
	return secret_of(v->r.bek, v->r.bek_size);
}

static int open_with(const struct volume *v, struct secret *key,
		     enum key_kind kind, struct source **ret)
{
	return volume_open(memory(v->image, v->size), NULL, key, kind, ret);
}

static void check_clear(struct source *s, const struct volume *v)
{
	DROP(mem) uint8_t *got = malloc(v->size);
	uint64_t n = source_size(s);
	uint32_t random = 7;

	CHECK(got && n <= v->size);
	CHECK_OK(source_read(s, got, n, 0));
	CHECK_MEM(got, v->clear, n);
	/* Across the borders of the regions, at any alignment. */
	for (int i = 0; i < 200; i++) {
		uint64_t at = i % 2 ? MKBITLOCKER_MIN - MKBITLOCKER_TAIL : 0;
		uint64_t off, len;

		random = random * 1664525 + 1013904223;
		off = at + (random >> 8) % 700000;
		len = 1 + (random >> 4) % 20000;
		if (off >= n)
			continue;
		len = min_u64(len, n - off);
		CHECK_OK(source_read(s, got, len, off));
		CHECK_MEM(got, v->clear + off, len);
	}
}

static void check_opens(const struct volume *v, struct secret *key,
			enum key_kind kind)
{
	DROP(source) struct source *s = NULL;

	CHECK_OK(open_with(v, key, kind, &s));
	check_clear(s, v);
}

static void write_file(const char *path, const void *p, size_t n)
{
	DROP(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
}

/* --- volumes of Windows --- */

static const char *shared(const char *name, char out[static 512])
{
	const char *dir = getenv("SHARED");
	const char *src = getenv("SRC");

	if (dir)
		snprintf(out, 512, "%s/data/bitlocker/%s", dir, name);
	else
		snprintf(out, 512, "%s/../shared/data/bitlocker/%s",
			 src ? src : ".", name);
	return access(out, R_OK) == 0 ? out : NULL;
}

/* Its exit code, its output in file out (NULL: none); -1: it is not there. */
static int run(const char *out, const char *const argv[])
{
	posix_spawn_file_actions_t fa;
	int status, r;
	pid_t pid;

	CHECK(!posix_spawn_file_actions_init(&fa));
	for (int fd = 1; fd <= 2; fd++)
		CHECK(!posix_spawn_file_actions_addopen(
			&fa, fd, out && fd == 1 ? out : "/dev/null",
			O_WRONLY | O_CREAT | O_TRUNC, 0600));
	r = posix_spawnp(&pid, argv[0], &fa, NULL, (char **)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -1;
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_hash(struct source *s, const char *want)
{
	DROP(mem) uint8_t *p = malloc(1 << 20);
	uint64_t size = source_size(s);
	char hex[DIGEST_HEX + 1];
	struct sha256 h;
	struct digest d;

	CHECK(p);
	sha256_init(&h);
	for (uint64_t at = 0; at < size; at += 1 << 20) {
		size_t n = min_u64(1 << 20, size - at);

		CHECK_OK(source_read(s, p, n, at));
		sha256_add(&h, p, n);
	}
	sha256_final(&h, &d);
	digest_hex(&d, hex);
	CHECK_STR(hex, want);
}

static void test_windows(const char *name, const char *bek_name,
			 const char *password, const char *hash)
{
	DROP(source) struct source *s = NULL;
	DROP(secret) struct secret *key = NULL;
	struct volume_info info;
	uint8_t raw[512];
	char path[512];

	if (!shared(name, path)) {
		printf("%s is not there: skipped\n", name);
		return;
	}
	if (run("image", (const char *const[]){ "xz", "-dc", path, NULL })) {
		puts("no xz: skipped");
		return;
	}
	if (bek_name) {
		DROP(fd) int fd = -1;
		ssize_t n;

		CHECK(shared(bek_name, path));
		fd = open(path, O_RDONLY);
		n = read(fd, raw, sizeof(raw));
		CHECK(n == 156);
		key = secret_of(raw, (size_t)n);
	} else {
		key = text(password);
	}
	CHECK_OK(source_open_file("image", &s));
	CHECK_OK(volume_probe(s, &info));
	CHECK(info.type == VOLUME_BITLOCKER && info.state == VOLUME_READY);
	CHECK_U64(info.size, source_size(s));
	CHECK_STR(info.cipher, "aes-xts-plain64");
	CHECK(!strncmp(info.label, "DESKTOP-", 8));
	CHECK(!bek_name ||
	      !strncasecmp(info.key_ids[0], bek_name, strlen(bek_name) - 4));
	CHECK_OK(volume_open(take(s), NULL, key,
			     bek_name ? KEY_BEK : KEY_PASSPHRASE, &s));
	check_hash(s, hash);
	unlink("image");
}

/* --- methods and sector sizes --- */

/* What others make of it. */
static void check_dislocker(const struct volume *v)
{
	DROP(source) struct source *s = NULL;
	int r;

	write_file("volume", v->image, v->size);
	write_file("key.bek", v->r.bek, v->r.bek_size);
	r = run(NULL,
		(const char *const[]){ "dislocker-file", "-V", "volume", "-f",
				       "key.bek", "--", "out", NULL });
	if (r < 0) {
		puts("no dislocker-file: not compared");
		return;
	}
	CHECK(r == 0);
	CHECK_OK(source_open_file("out", &s));
	CHECK_U64(source_size(s), v->size);
	check_clear(s, v);
	unlink("out");
	unlink("volume");
	unlink("key.bek");
}

static void quiet(int level, const char *line, void *ctx)
{
}

static void check_libcryptsetup(const struct volume *v)
{
	DROP(secret) struct secret *key = NULL;
	DROP(secret) struct secret *file = bek(v);
	struct bitlocker b;
	struct crypt_device *cd = NULL;
	DROP(source) struct source *s = memory(v->image, v->size);
	char theirs[64];
	size_t n = sizeof(theirs);

	CHECK_OK(bitlocker_read(s, &b));
	CHECK_OK(bitlocker_unlock(&b, file, false, &key));
	CHECK_U64(secret_size(key), v->r.key_size);
	CHECK_MEM(secret_bytes(key), v->r.key, v->r.key_size);
	bitlocker_release(&b);

	write_file("volume", v->image, v->size);
	crypt_set_log_callback(NULL, quiet, NULL);
	CHECK(!crypt_init(&cd, "volume"));
	CHECK(!crypt_load(cd, CRYPT_BITLK, NULL));
	CHECK(crypt_volume_key_get(cd, CRYPT_ANY_SLOT, theirs, &n,
				   (const char *)v->r.bek, v->r.bek_size) >= 0);
	CHECK_U64(n, v->r.key_size);
	CHECK_MEM(theirs, v->r.key, n);
	crypt_free(cd);
	unlink("volume");
}

static void test_methods(void)
{
	static const char *const names[] = { "aes-cbc-elephant",
					     "aes-cbc-eboiv",
					     "aes-xts-plain64" };

	for (uint16_t method = 0x8000; method <= 0x8005; method++)
		for (uint32_t ss = 512; ss <= 4096; ss += 4096 - 512) {
			struct mkbitlocker o = { .method = method,
						 .sector_size = ss,
						 .external = true,
						 .tpm = true,
						 .to_go = method == 0x8003 };
			DROP(volume) struct volume v = { 0 };
			DROP(source) struct source *s = NULL;
			DROP(secret) struct secret *key = NULL;
			struct volume_info info;

			make(&o, SIZE, &v);
			s = memory(v.image, SIZE);
			CHECK_OK(volume_probe(s, &info));
			CHECK(info.type == VOLUME_BITLOCKER);
			CHECK(info.state == VOLUME_READY);
			CHECK_STR(info.cipher, names[(method - 0x8000) / 2]);
			CHECK_STR(info.label, "WEB-01 C: 11/21/2026");
			CHECK_U64(info.sector_size, ss);
			CHECK_U64(info.size, SIZE);
			CHECK_U64(info.nkey_ids, 1);
			CHECK_STR(info.key_ids[0], v.r.bek_id);
			key = bek(&v);
			check_opens(&v, key, KEY_BEK);
			check_libcryptsetup(&v);
			check_dislocker(&v);
		}
}

/* --- protectors --- */

static void check_no_key(const struct volume *v, struct secret *key,
			 enum key_kind kind, const char *words)
{
	DROP(secret) struct secret *owned = key;
	struct source *s;

	CHECK_SAYS(-ENOKEY, words, open_with(v, owned, kind, &s));
}

static void test_passwords(void)
{
	/* The text below, which clang-format would spoil as a literal. */
	static const char16_t utf16[] = { 'G',	  'r',	  0xfc,	  0xdf,	  'e',
					  ',',	  ' ',	  0x5bc6, 0x7801, ' ',
					  0xd83d, 0xdd11, 0 };
	struct mkbitlocker o = { .method = 0x8004,
				 .sector_size = 512,
				 .password = utf16,
				 .recovery = RECOVERY };
	DROP(volume) struct volume v = { 0 };
	DROP(secret) struct secret *password = text("Grüße, 密码 \U0001f511");
	DROP(secret)
	struct secret *recovery =
		text("363770 230505\t096371-652674567006--579150-291038 "
		     "408111\r\n");

	make(&o, SIZE, &v);
	check_opens(&v, password, KEY_PASSPHRASE);
	check_opens(&v, recovery, KEY_PASSPHRASE);
	check_no_key(&v, text("Grüße, 密码"), KEY_PASSPHRASE,
		     "its protectors: password {");
	/* No text, no BEK, no key: none is stretched. */
	check_no_key(&v, text("\xff\xfe"), KEY_PASSPHRASE, "protectors");
	check_no_key(&v, text("Grüße"), KEY_BEK, "no .BEK file");
	check_no_key(&v, NULL, KEY_PASSPHRASE, "recovery password {");
}

static void test_external(void)
{
	struct mkbitlocker o = { .method = 0x8005,
				 .sector_size = 512,
				 .external = true,
				 .windows11 = true };
	struct mkbitlocker other = o;
	DROP(volume) struct volume v = { 0 };
	DROP(volume) struct volume w = { 0 };
	DROP(secret) struct secret *key = NULL;
	uint8_t raw[256];
	size_t n;

	other.seed = 1;
	make(&o, SIZE, &v);
	make(&other, SIZE, &w);
	key = bek(&v);
	CHECK_U64(secret_size(key), 180);
	check_opens(&v, key, KEY_BEK);

	check_no_key(&v, bek(&w), KEY_BEK, "is for volume {");
	n = v.r.bek_size;
	memcpy(raw, v.r.bek, n);
	raw[16] ^= 1; /* its protector; the copy further on counts no more */
	check_no_key(&v, secret_of(raw, n), KEY_BEK, "its protectors");
	raw[16] ^= 1;
	raw[n - 1] ^= 1; /* the key */
	check_no_key(&v, secret_of(raw, n), KEY_BEK, "its protectors");
	raw[n - 1] ^= 1;
	check_no_key(&v, secret_of(raw, n - 1), KEY_BEK, "no .BEK file");
	check_no_key(&v, secret_of(raw, n + 1), KEY_BEK, "no .BEK file");
	/* Each byte of it: no harm, and no key but by the right bytes. */
	for (size_t i = 0; i < n; i++) {
		DROP(secret) struct secret *bent = secret_of(raw, n);
		DROP(source) struct source *s = NULL;
		int r;

		secret_bytes(bent)[i] ^= 0x11;
		r = open_with(&v, bent, KEY_BEK, &s);
		CHECK(r == 0 ? i < n - 32 : r == -ENOKEY);
	}
}

static void test_clear_key(void)
{
	struct mkbitlocker o = { .method = 0x8002,
				 .sector_size = 512,
				 .external = true,
				 .clear = true };
	DROP(volume) struct volume v = { 0 };
	DROP(source) struct source *s = NULL;
	DROP(secret) struct secret *wrong = text("wrong");
	struct volume_info info;

	make(&o, SIZE, &v);
	s = memory(v.image, SIZE);
	CHECK_OK(volume_probe(s, &info));
	CHECK(info.suspended);
	check_opens(&v, NULL, KEY_BEK);
	check_opens(&v, wrong, KEY_BEK);
}

/* --- what is refused --- */

static void check_refused(const struct mkbitlocker *change, const char *words)
{
	struct mkbitlocker o = *change;
	DROP(volume) struct volume v = { 0 };
	DROP(source) struct source *s = NULL;
	DROP(secret) struct secret *key = NULL;
	struct volume_info info;

	o.method = o.method ? o.method : 0x8004;
	o.sector_size = 512;
	o.external = true;
	make(&o, SIZE, &v);
	key = bek(&v);
	s = memory(v.image, SIZE);
	CHECK_OK(volume_probe(s, &info));
	CHECK(info.type == VOLUME_BITLOCKER && info.state == VOLUME_REFUSED);
	CHECK(strstr(info.reason, words));
	CHECK_SAYS(-ENOTSUP, words, open_with(&v, key, KEY_BEK, &s));
}

static void test_refused(void)
{
	static const struct {
		struct mkbitlocker o;
		const char *words;
	} all[] = {
		{ { .on_write = true }, "encrypt-on-write" },
		{ { .vista = true }, "Vista" },
		{ { .state = 2 }, "state 2" },
		{ { .state = 5 }, "being converted" },
		{ { .next_state = 1 }, "next 1" },
		{ { .state = 77 }, "state 77" },
		{ { .method = 0x8006 }, "0x8006" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		check_refused(&all[i].o, all[i].words);
}

/* The metadata's size of the volume against that of the device. */
static void test_sizes(void)
{
	static const uint64_t sizes[] = { SIZE + 4096, SIZE - 512, SIZE - 100,
					  MKBITLOCKER_MIN - 4096, 4096 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct mkbitlocker o = { .method = 0x8004,
					 .sector_size = 512,
					 .external = true,
					 .volume_size = sizes[i] };
		DROP(volume) struct volume v = { 0 };
		DROP(source) struct source *s = NULL;
		DROP(secret) struct secret *key = NULL;

		make(&o, SIZE, &v);
		key = bek(&v);
		CHECK_OK(open_with(&v, key, KEY_BEK, &s));
		CHECK_U64(source_size(s), min_u64(sizes[i], SIZE) / 512 * 512);
		check_clear(s, &v);
	}
}

/* Only the metadata are holes. */
static void test_extents(void)
{
	struct mkbitlocker o = { .method = 0x8004,
				 .sector_size = 4096,
				 .external = true };
	DROP(volume) struct volume v = { 0 };
	DROP(source) struct source *s = NULL;
	DROP(secret) struct secret *key = NULL;
	uint64_t holes = 0;
	struct extent e;

	make(&o, SIZE, &v);
	key = bek(&v);
	CHECK_OK(open_with(&v, key, KEY_BEK, &s));
	for (uint64_t at = 0; at < SIZE; at += e.length) {
		CHECK_OK(source_extent(s, at, SIZE, &e));
		if (e.hole) {
			CHECK(is_zero(v.clear + at, e.length));
			holes += e.length;
		}
	}
	CHECK_U64(holes, 3 * MKBITLOCKER_COPY + v.r.moved_size);
	source_prefetch(s, 0, SIZE);
}

/* --- damage --- */

static void test_copies(void)
{
	struct mkbitlocker o = { .method = 0x8004,
				 .sector_size = 512,
				 .external = true };
	DROP(volume) struct volume v = { 0 };
	DROP(secret) struct secret *key = NULL;
	struct source *s;

	make(&o, SIZE, &v);
	key = bek(&v);
	memset(v.image + v.r.copies[0], 0, MKBITLOCKER_COPY);
	check_opens(&v, key, KEY_BEK);
	v.image[v.r.copies[1] + 300] ^= 1;
	check_opens(&v, key, KEY_BEK);
	v.image[v.r.copies[2] + 300] ^= 1;
	CHECK_SAYS(-EBADMSG, "none of the three copies",
		   open_with(&v, key, KEY_BEK, &s));
}

/*
 * Each byte (by default one in four) of sector 0, of the metadata (in all copies), and of
 * the metadata with the checksum made right again: the right bytes, or no bytes.
 */
static void check_bytes(const struct volume *v, struct secret *key, size_t at,
			size_t n, size_t copies, bool seal, uint8_t flip)
{
	DROP(mem) uint8_t *got = malloc(v->size);
	const uint8_t *first = v->image + v->r.copies[0];
	uint8_t kept[3][1024];
	size_t valid = 16 * (first[8] | (size_t)first[9] << 8);

	CHECK(got && valid < 900);
	for (size_t i = 0; i < n; i += check_all() ? 1 : 4) {
		DROP(source) struct source *s = NULL;
		int r;

		for (size_t c = 0; c < copies; c++) {
			uint8_t *copy = v->image + v->r.copies[c];

			memcpy(kept[c], copy, sizeof(kept[c]));
			copy[at + i] ^= flip;
			if (seal)
				mkbitlocker_seal(copy);
		}
		if (copies == 0)
			v->image[at + i] ^= flip;
		r = open_with(v, key, KEY_BEK, &s);
		if (r == 0) {
			/* Its ends, and where the metadata lie. */
			uint64_t size = source_size(s);

			CHECK(copies == 0 || !seal || at + i >= valid);
			CHECK_U64(size, v->size);
			CHECK_OK(source_read(s, got, 16384, 0));
			CHECK_MEM(got, v->clear, 16384);
		} else if (r != -ENOKEY && r != -ENOTSUP && r != -EPROTO &&
			   r != -EBADMSG) {
			fprintf(stderr, "byte %zu: %d (%s)\n", at + i, r,
				err_text(r));
			exit(1);
		}
		for (size_t c = 0; c < copies; c++)
			memcpy(v->image + v->r.copies[c], kept[c],
			       sizeof(kept[c]));
		if (copies == 0)
			v->image[at + i] ^= flip;
	}
}

static void test_bytes(void)
{
	struct mkbitlocker o = { .method = 0x8004,
				 .sector_size = 4096,
				 .external = true };
	DROP(volume) struct volume v = { 0 };
	DROP(secret) struct secret *key = NULL;
	struct source *s;
	uint8_t *ss;

	make(&o, SIZE, &v);
	key = bek(&v);
	check_bytes(&v, key, 0, 512, 0, false, 0x01);
	check_bytes(&v, key, 0, 512, 0, false, 0x10);
	check_bytes(&v, key, 0, 900, 1, false, 0x01);
	check_bytes(&v, key, 0, 900, 3, false, 0x80);
	check_bytes(&v, key, 0, 900, 3, true, 0x01);
	/* The sector size, which nothing seals. */
	ss = v.image + 11;
	memcpy(ss, "\0\2", 2);
	CHECK_SAYS(-EPROTO, "sector size", open_with(&v, key, KEY_BEK, &s));
	memcpy(ss, "\0\0", 2);
	CHECK_SAYS(-EPROTO, "sector size", open_with(&v, key, KEY_BEK, &s));
}

static void test_faults(void)
{
	struct mkbitlocker o = { .method = 0x8000,
				 .sector_size = 512,
				 .external = true };
	DROP(volume) struct volume v = { 0 };
	DROP(secret) struct secret *key = NULL;
	uint8_t buf[9000];
	uint64_t n = 0;
	int r;

	make(&o, SIZE, &v);
	key = bek(&v);
	do {
		struct source_fault fault = { .fail_read = ++n };
		struct source *s = memory(v.image, SIZE);

		CHECK_OK(source_open_fault(s, &fault, &s));
		r = volume_open(s, NULL, key, KEY_BEK, &s);
		if (r == 0) {
			r = source_read(s, buf, sizeof(buf), 100);
			source_close(s);
		}
		CHECK(r == 0 ? fault.fired == 0 : r == -EIO);
		CHECK_U64(fault.closes, 1);
	} while (r < 0);
	CHECK(n > 4);
}

/* A volume key is for one volume; a header is not for these. */
static void test_key(void)
{
	struct mkbitlocker o = { .method = 0x8004,
				 .sector_size = 512,
				 .external = true };
	struct mkbitlocker other = o;
	DROP(volume) struct volume v = { 0 };
	DROP(volume) struct volume w = { 0 };
	DROP(volume_key) struct volume_key *vk = NULL;
	DROP(secret) struct secret *key = NULL;
	DROP(source) struct source *s = NULL;

	other.seed = 3;
	make(&o, SIZE, &v);
	make(&other, SIZE, &w);
	key = bek(&v);
	s = memory(v.image, SIZE);
	CHECK_OK(volume_unlock(s, NULL, key, KEY_BEK, &vk));
	CHECK_OK(volume_map(take(s), NULL, vk, &s));
	check_clear(s, &v);
	source_close(take(s));
	CHECK_FAILS(-ENOKEY, volume_map(memory(w.image, SIZE), NULL, vk, &s));
	s = memory(v.image, SIZE);
	CHECK_SAYS(-ENOTSUP, "detached",
		   volume_map(memory(w.image, SIZE), s, vk, &s));
}

/* Neither one nor the other. */
static void test_clear(void)
{
	static const size_t sizes[] = { 0, 1, 511, 512, 4096 };
	DROP(secret) struct secret *key = text("x");
	uint8_t p[4096];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct source *s;
		struct volume_info info;

		pattern_bytes(&pattern, p, sizeof(p), 0);
		s = memory(p, sizes[i]);
		CHECK_OK(volume_probe(s, &info));
		CHECK(info.type == VOLUME_CLEAR);
		CHECK_STR(volume_type_name(info.type), "clear");
		CHECK_SAYS(-ENOTSUP, "no header",
			   volume_open(s, NULL, key, KEY_BEK, &s));
	}
	/* An ordinary FAT. */
	memset(p, 0, 512);
	memcpy(p, "\xeb\x58\x90MSWIN4.1", 11);
	{
		DROP(source) struct source *s = memory(p, 4096);
		struct volume_info info;

		CHECK_OK(volume_probe(s, &info));
		CHECK(info.type == VOLUME_CLEAR);
	}
}

int main(void)
{
	test_windows("bitlk-aes-xts-128-startup-key.img.xz",
		     "4381F759-C4F8-4DE0-BB61-FC33A831BDA5.BEK", NULL,
		     "bbb68369d8f7badb2c2330349d9d0cf12e68f54eece25e718d2bb13f"
		     "eba23f7a");
	test_windows("bitlk-aes-xts-256.img.xz", NULL, "anaconda",
		     "5bb6ff5acbded10be990c6fa208ab479934a08bc2e88740a1aa2642a"
		     "f2f42025");
	test_methods();
	test_passwords();
	test_external();
	test_clear_key();
	test_refused();
	test_sizes();
	test_extents();
	test_copies();
	test_bytes();
	test_faults();
	test_key();
	test_clear();
	return 0;
}
