// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * LUKS volumes through crypt/volume.h. Their headers are libcryptsetup's and qemu's;
 * the ciphertext is qemu's, or that of our own encryptor under the key that
 * libcryptsetup tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "backend/base/json.h"
#include "crypt/luks.h"
#include "crypt/volume.h"
#include "tests/fakes/encrypt.h"
#include "tests/fakes/source_fault.h"
#include "tests/fakes/source_memory.h"
#include "tests/fakes/source_pattern.h"
#include "tests/unit/check.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define FILE_SIZE (4 * MIB)
#define DATA (256 * KIB) /* clear bytes of a volume */
#define PASSPHRASE "correct horse"

static const struct pattern pattern = { .seed = 5 };

extern char **environ;

static struct secret *secret_of(const void *p, size_t n)
{
	struct secret *s;

	CHECK_OK(secret_new(n, &s));
	memcpy(secret_bytes(s), p, n);
	return s;
}

static struct secret *passphrase(void)
{
	return secret_of(PASSPHRASE, strlen(PASSPHRASE));
}

static struct source *file(const char *path)
{
	struct source *s;

	CHECK_OK(source_open_file(path, &s));
	return s;
}

/* --- making volumes --- */

struct recipe {
	int version;
	const char *mode; /* "xts-plain64" */
	size_t key_size;
	uint32_t sector_size;
	bool argon2;
	const char *label;
	bool detached;
	uint64_t data_offset; /* with a detached header */
	bool one_slot;
};

static void make_file(const char *path, uint64_t size)
{
	DROP(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
}

static void write_at(const char *path, const void *p, size_t n, uint64_t off)
{
	DROP(fd) int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && pwrite(fd, p, n, (off_t)off) == (ssize_t)n);
}

static void quiet(int level, const char *text, void *ctx)
{
}

/* A header in path; the key and the data's offset come back. */
static void format_header(const struct recipe *r, const char *path,
			  uint8_t key[static 64], uint64_t *data_offset)
{
	struct crypt_pbkdf_type kdf = {
		.type = r->argon2 ? CRYPT_KDF_ARGON2ID : CRYPT_KDF_PBKDF2,
		.hash = "sha256",
		.iterations = r->argon2 ? 4 : 1000,
		.max_memory_kb = r->argon2 ? 64 : 0,
		.parallel_threads = r->argon2 ? 1 : 0,
		.flags = CRYPT_PBKDF_NO_BENCHMARK,
	};
	struct crypt_params_luks1 one = { .hash = "sha256" };
	struct crypt_params_luks2 two = { .pbkdf = &kdf,
					  .sector_size = r->sector_size,
					  .label = r->label };
	struct crypt_device *cd = NULL;
	size_t size = r->key_size;
	int slot = r->one_slot ? 0 : 3;

	make_file(path, FILE_SIZE);
	if (r->detached)
		make_file("data", 3 * MIB);
	CHECK(!crypt_init_data_device(&cd, path, r->detached ? "data" : path));
	CHECK(!crypt_set_pbkdf_type(cd, &kdf));
	/* Room for four slots. */
	if (r->version == 2)
		CHECK(!crypt_set_metadata_size(cd, 16 * KIB, MIB));
	if (r->data_offset)
		CHECK(!crypt_set_data_offset(cd, r->data_offset / 512));
	CHECK(!crypt_format(cd, r->version == 1 ? CRYPT_LUKS1 : CRYPT_LUKS2,
			    "aes", r->mode, NULL, NULL, r->key_size,
			    r->version == 1 ? (void *)&one : (void *)&two));
	/* Not in slot 0 only. */
	if (!r->one_slot)
		CHECK(crypt_keyslot_add_by_volume_key(cd, 0, NULL, 0, "another",
						      7) == 0);
	CHECK(crypt_keyslot_add_by_volume_key(cd, slot, NULL, 0, PASSPHRASE,
					      strlen(PASSPHRASE)) == slot);
	CHECK(crypt_volume_key_get(cd, slot, (char *)key, &size, PASSPHRASE,
				   strlen(PASSPHRASE)) == slot);
	CHECK_U64(size, r->key_size);
	*data_offset = crypt_get_data_offset(cd) * 512;
	crypt_free(cd);
}

static void write_data(const struct recipe *r, const char *path,
		       const uint8_t *key, uint64_t off)
{
	struct sector_format f = { .sector_size = r->sector_size,
				   .iv_unit = 512 };
	DROP(mem) uint8_t *p = malloc(DATA);
	char name[64];

	snprintf(name, sizeof(name), "aes-%s", r->mode);
	CHECK_OK(sector_mode_parse(name, &f.mode));
	CHECK(p);
	pattern_bytes(&pattern, p, DATA, 0);
	encrypt_sectors(&f, key, r->key_size, p, DATA, 0);
	write_at(path, p, DATA, off);
}

static void check_clear(struct source *s)
{
	DROP(mem) uint8_t *got = malloc(DATA);
	DROP(mem) uint8_t *want = malloc(DATA);

	CHECK(got && want);
	pattern_bytes(&pattern, want, DATA, 0);
	CHECK_OK(source_read(s, got, DATA, 0));
	CHECK_MEM(got, want, DATA);
}

/* --- what libcryptsetup formats --- */

static void test_recipe(const struct recipe *r)
{
	DROP(source) struct source *s = NULL;
	DROP(source) struct source *header = NULL;
	DROP(secret) struct secret *key = passphrase();
	DROP(secret) struct secret *wrong = secret_of("wrong", 5);
	const char *data = r->detached ? "data" : "luks";
	struct volume_info info;
	char cipher[64];
	uint8_t raw[64];
	uint64_t off;

	format_header(r, "luks", raw, &off);
	write_data(r, data, raw, off);

	s = file("luks");
	CHECK_OK(volume_probe(s, &info));
	CHECK(info.type == (r->version == 1 ? VOLUME_LUKS1 : VOLUME_LUKS2));
	CHECK(info.state == VOLUME_READY && !info.reason[0]);
	snprintf(cipher, sizeof(cipher), "aes-%s", r->mode);
	CHECK_STR(info.cipher, cipher);
	CHECK_STR(info.label, r->label ? r->label : "");
	CHECK_U64(strlen(info.uuid), 36);
	CHECK_U64(info.sector_size, r->sector_size);
	CHECK_U64(info.key_bits, r->key_size * 8);
	CHECK_U64(info.data_offset, off);
	if (!r->detached)
		CHECK_U64(info.size, FILE_SIZE - off);

	if (r->detached) {
		header = take(s);
		CHECK_SAYS(-ENOTSUP, "no header",
			   volume_open(file(data), NULL, key, KEY_BEK, &s));
		if (off == 0)
			CHECK_SAYS(-EPROTO, "of another device",
				   volume_open(file("luks"), NULL, key, KEY_BEK,
					       &s));
	} else {
		source_close(take(s));
	}
	CHECK_SAYS(-ENOKEY, "does not open",
		   volume_open(file(data), header, wrong, KEY_PASSPHRASE, &s));
	CHECK_FAILS(-ENOKEY,
		    volume_open(file(data), header, NULL, KEY_BEK, &s));
	CHECK_OK(volume_open(file(data), header, key, KEY_BEK, &s));
	CHECK_U64(source_size(s), (r->detached ? 3 * MIB : FILE_SIZE) - off);
	check_clear(s);
	unlink("luks");
	unlink("data");
}

/* Slots are dear to make: the first of each version has several. */
static void test_recipes(void)
{
	static const struct recipe all[] = {
		{ .version = 1,
		  .mode = "xts-plain64",
		  .key_size = 32,
		  .sector_size = 512 },
		{ .version = 1,
		  .mode = "xts-plain64",
		  .key_size = 64,
		  .sector_size = 512,
		  .detached = true,
		  .one_slot = true },
		{ .version = 1,
		  .mode = "cbc-essiv:sha256",
		  .key_size = 32,
		  .sector_size = 512,
		  .detached = true,
		  .data_offset = 2 * MIB,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "xts-plain64",
		  .key_size = 64,
		  .sector_size = 512,
		  .label = "the data" },
		{ .version = 2,
		  .mode = "xts-plain64",
		  .key_size = 64,
		  .sector_size = 4096,
		  .argon2 = true,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "cbc-essiv:sha256",
		  .key_size = 32,
		  .sector_size = 4096,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "cbc-plain64",
		  .key_size = 16,
		  .sector_size = 512,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "cbc-plain",
		  .key_size = 24,
		  .sector_size = 2048,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "xts-plain",
		  .key_size = 32,
		  .sector_size = 1024,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "xts-plain64",
		  .key_size = 64,
		  .sector_size = 4096,
		  .detached = true,
		  .one_slot = true },
		{ .version = 2,
		  .mode = "xts-plain64",
		  .key_size = 64,
		  .sector_size = 512,
		  .detached = true,
		  .data_offset = 2 * MIB,
		  .one_slot = true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		test_recipe(&all[i]);
}

/* --- what qemu formats and encrypts --- */

/* Its exit code; -1: it is not there. */
static int run(const char *const argv[])
{
	posix_spawn_file_actions_t fa;
	int status, r;
	pid_t pid;

	CHECK(!posix_spawn_file_actions_init(&fa));
	CHECK(!posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY,
						0));
	r = posix_spawnp(&pid, argv[0], &fa, NULL, (char **)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -1;
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* One will do, and not each time: it takes two seconds to find out how fast it is. */
static void test_qemu(void)
{
	static const struct {
		const char *options, *cipher;
	} all[] = {
		{ "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,"
		  "ivgen-hash-alg=sha256",
		  "aes-cbc-essiv:sha256" },
	};
	DROP(secret) struct secret *key = passphrase();
	DROP(mem) uint8_t *p = malloc(DATA);

	CHECK(p);
	pattern_bytes(&pattern, p, DATA, 0);
	make_file("clear", DATA);
	write_at("clear", p, DATA, 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		DROP(source) struct source *s = NULL;
		struct volume_info info;
		char options[256];
		int r = -1;

		snprintf(options, sizeof(options),
			 "key-secret=s,iter-time=10,%s", all[i].options);
		/* It gives up at times, on a busy machine, because it cannot
		 * tell how fast it is. */
		for (int k = 0, again = 1; k < 5 && again; k++) {
			r = run((const char *const[]){
				"qemu-img", "convert", "-f", "raw", "-O",
				"luks", "--object",
				"secret,id=s,data=" PASSPHRASE, "-o", options,
				"clear", "qemu", NULL });
			again = r > 0;
		}
		if (r < 0) {
			puts("no qemu-img: its volumes are not read");
			return;
		}
		CHECK(r == 0);
		s = file("qemu");
		CHECK_OK(volume_probe(s, &info));
		CHECK_STR(info.cipher, all[i].cipher);
		CHECK_U64(info.size, DATA);
		CHECK_OK(volume_open(take(s), NULL, key, KEY_BEK, &s));
		CHECK_U64(source_size(s), DATA);
		check_clear(s);
		unlink("qemu");
	}
	unlink("clear");
}

/* --- what is refused --- */

#define HEADER 0x4000
/* As much as holds the first four slots. */
#define HEADERS (2 * MIB)

static uint8_t *read_all(const char *path, size_t n)
{
	DROP(source) struct source *s = file(path);
	uint8_t *p = malloc(n);

	CHECK(p);
	CHECK_OK(source_read(s, p, n, 0));
	return p;
}

static void seal(uint8_t *h)
{
	memset(h + 448, 0, 64);
	CHECK(EVP_Digest(h, HEADER, h + 448, NULL, EVP_sha256(), NULL));
}

/* Replaces the first from by to in the JSON of both headers. */
static void edit(uint8_t *image, const char *from, const char *to)
{
	for (int i = 0; i < 2; i++) {
		uint8_t *h = image + i * HEADER;
		char *text = (char *)h + 4096;
		char *at = strstr(text, from);
		size_t rest, n = strlen(to);

		CHECK(at);
		rest = strlen(at + strlen(from)) + 1;
		memmove(at + n, at + strlen(from), rest);
		memcpy(at, to, n);
		memset(at + n + rest, 0,
		       (size_t)((char *)h + HEADER - (at + n + rest)));
		seal(h);
	}
}

static void probe_image(const uint8_t *image, size_t n,
			struct volume_info *info)
{
	DROP(source) struct source *s = NULL;

	CHECK_OK(source_open_memory(image, n, NULL, 0, &s));
	CHECK_OK(volume_probe(s, info));
}

static void check_refused(const uint8_t *image, size_t n,
			  enum volume_state state, const char *words)
{
	DROP(secret) struct secret *key = passphrase();
	struct volume_info info;
	struct source *s;
	int r;

	probe_image(image, n, &info);
	if (info.state != state || !strstr(info.reason, words)) {
		fprintf(stderr, "state %d (%s), not \"%s\"\n", info.state,
			info.reason, words);
		exit(1);
	}
	CHECK_OK(source_open_memory(image, n, NULL, 0, &s));
	r = volume_open(s, NULL, key, KEY_BEK, &s);
	CHECK(r == (state == VOLUME_REFUSED ? -ENOTSUP : -EPROTO));
	CHECK_STR(err_text(r), info.reason);
}

static void test_refused(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 512,
					      .argon2 = true };
	static const struct {
		const char *from, *to;
		enum volume_state state;
		const char *words;
	} all[] = {
		{ "\"config\":{",
		  "\"config\":{\"requirements\":{\"mandatory\":["
		  "\"online-reencrypt-v2\"]},",
		  VOLUME_REFUSED, "--resume-only" },
		{ "\"config\":{",
		  "\"config\":{\"requirements\":{\"mandatory\":[\"future\"]},",
		  VOLUME_REFUSED, "\"future\"" },
		{ "\"config\":{", "\"config\":{\"requirements\":[\"future\"],",
		  VOLUME_DAMAGED, "requirements" },
		{ "\"iv_tweak\":",
		  "\"integrity\":{\"type\":\"hmac(sha256)\"},\"iv_tweak\":",
		  VOLUME_REFUSED, "integrity" },
		{ "\"segments\":{",
		  "\"segments\":{\"1\":{\"type\":\"linear\",\"offset\":\"0\","
		  "\"size\":\"512\"},",
		  VOLUME_REFUSED, "several segments" },
		{ "\"iv_tweak\":\"0\"", "\"iv_tweak\":\"8\"", VOLUME_REFUSED,
		  "marks" },
		{ "\"iv_tweak\":",
		  "\"flags\":[\"in-reencryption\"],\"iv_tweak\":",
		  VOLUME_REFUSED, "marks" },
		{ "\"segments\":{\"0\":{\"type\":\"crypt\"",
		  "\"segments\":{\"0\":{\"type\":\"linear\"", VOLUME_REFUSED,
		  "linear" },
		{ "\"sector_size\":512", "\"sector_size\":1536", VOLUME_DAMAGED,
		  "sector size" },
		{ "\"size\":\"dynamic\"", "\"size\":\"0\"", VOLUME_DAMAGED,
		  "size" },
		{ "\"size\":\"dynamic\"", "\"size\":\"17179869184\"",
		  VOLUME_READY, "" },
		{ "\"time\":4", "\"time\":4000000000", VOLUME_REFUSED,
		  "computation" },
		{ "\"memory\":64", "\"memory\":4000000000", VOLUME_REFUSED,
		  "computation" },
		{ "\"kdf\":{\"type\":\"argon2id\"",
		  "\"kdf\":{\"type\":\"none\"", VOLUME_READY, "" },
		{ "{", "[", VOLUME_DAMAGED, "LUKS2 metadata" },
	};
	DROP(secret) struct secret *key = passphrase();
	struct volume_info info;
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		DROP(mem) uint8_t *image = read_all("luks", HEADERS);
		struct source *s;

		edit(image, all[i].from, all[i].to);
		if (all[i].state != VOLUME_READY) {
			check_refused(image, HEADERS, all[i].state,
				      all[i].words);
			continue;
		}
		/* It shows only later. */
		CHECK_OK(source_open_memory(image, HEADERS, NULL, 0, &s));
		CHECK_FAILS(-EPROTO, volume_open(s, NULL, key, KEY_BEK, &s));
	}
	{
		DROP(mem) uint8_t *image = read_all("luks", HEADERS);

		edit(image, "\"encryption\":\"aes-xts-plain64\",\"sector",
		     "\"encryption\":\"twofish-xts-plain64\",\"sector");
		check_refused(image, HEADERS, VOLUME_REFUSED, "twofish");
	}
	{
		DROP(mem) uint8_t *image = read_all("luks", HEADERS);
		DROP(secret) struct secret *wrong = secret_of("x", 1);
		struct source *s;

		edit(image, "\"tokens\":{",
		     "\"tokens\":{\"5\":{\"type\":\"Azure_Disk_Encryption\","
		     "\"keyslots\":[]}");
		probe_image(image, HEADERS, &info);
		CHECK(info.confidential && info.state == VOLUME_READY);
		CHECK_OK(source_open_memory(image, HEADERS, NULL, 0, &s));
		CHECK_SAYS(-ENOKEY, "confidential",
			   volume_open(s, NULL, wrong, KEY_BEK, &s));
	}
	unlink("luks");
}

static void test_refused1(void)
{
	static const struct recipe recipe = { .version = 1,
					      .mode = "xts-plain64",
					      .key_size = 32,
					      .sector_size = 512 };
	DROP(mem) uint8_t *image = NULL;
	struct volume_info info;
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	image = read_all("luks", HEADERS);
	memcpy(image + 8, "serpent", 8);
	check_refused(image, HEADERS, VOLUME_REFUSED, "serpent-xts-plain64");
	memcpy(image + 8, "aes\0\0\0\0", 8);
	image[164] = 0x7f;
	check_refused(image, HEADERS, VOLUME_REFUSED, "iterations");
	image[164] = 0;
	image[212] = 0x7f; /* of slot 0 */
	check_refused(image, HEADERS, VOLUME_REFUSED, "iterations");
	image[212] = 0;
	image[248] = 0x7f; /* its material */
	check_refused(image, HEADERS, VOLUME_DAMAGED, "key slot");
	probe_image(image, 300, &info);
	CHECK(info.type == VOLUME_CLEAR);
	probe_image(image, 512, &info);
	CHECK(info.type == VOLUME_LUKS1 && info.state == VOLUME_DAMAGED);
	image[7] = 9;
	probe_image(image, HEADERS, &info);
	CHECK(info.type == VOLUME_LUKS2 && info.state == VOLUME_DAMAGED);
	CHECK(strstr(info.reason, "version 9"));
	unlink("luks");
}

/* --- damage --- */

/*
 * Each byte of the header changed in turn: the right bytes, or no bytes. But for
 * the data's offset, which nothing in LUKS1 proves.
 */
static bool random_byte(size_t i)
{
	size_t at = i < 208 ? i : (i - 208) % 48;

	if (i >= 208)
		return at >= 8 && at < 40;	    /* salt */
	return (i >= 112 && i < 164) || i >= 168 || /* digest, salt, UUID */
	       (i >= 8 && i < 104 && (i - 8) % 32 >= 16); /* ends of names */
}

static void test_bytes1(void)
{
	static const struct recipe recipe = { .version = 1,
					      .mode = "xts-plain64",
					      .key_size = 32,
					      .sector_size = 512,
					      .one_slot = true };
	DROP(secret) struct secret *key = passphrase();
	DROP(mem) uint8_t *image = NULL;
	uint8_t raw[64], got[4096], want[4096];
	size_t right = 0, size = FILE_SIZE;
	bool every = check_full();
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	write_data(&recipe, "luks", raw, off);
	CHECK(off + DATA <= size);
	image = read_all("luks", size);
	pattern_bytes(&pattern, want, sizeof(want), 0);
	/* Of the slots that are not in use, one. */
	for (size_t i = 0; i < 208 + 2 * 48; i++) {
		DROP(source) struct source *s = NULL;
		uint8_t was = image[i];
		int r;

		/* They take time: of bytes that are all alike, one in sixteen. */
		if ((i >= 104 && i < 108) ||
		    (random_byte(i) && i % 16 && !every))
			continue;
		/* As much as makes a number of iterations refused. */
		image[i] ^= i == 164 || (i >= 208 && (i - 208) % 48 == 4)
				    ? 0x80
				    : 0x01;
		CHECK_OK(source_open_memory(image, size, NULL, 0, &s));
		r = volume_open(take(s), NULL, key, KEY_BEK, &s);
		image[i] = was;
		if (r < 0) {
			CHECK(r == -ENOKEY || r == -ENOTSUP || r == -EPROTO ||
			      r == -EBADMSG);
			continue;
		}
		CHECK_OK(source_read(s, got, sizeof(got), 0));
		CHECK_MEM(got, want, sizeof(got));
		right++;
	}
	/* The UUID, the unused slot. */
	CHECK(right > 20 && right < 160);
	unlink("luks");
}

static int open_image(const uint8_t *image, size_t size)
{
	DROP(secret) struct secret *key = passphrase();
	DROP(source) struct source *s = NULL;
	int r;

	CHECK_OK(source_open_memory(image, size, NULL, 0, &s));
	r = volume_open(take(s), NULL, key, KEY_BEK, &s);
	if (r == 0)
		check_clear(s);
	return r;
}

/* A byte changed in either copy of a LUKS2 header: the other one serves. In both:
 * a refusal. */
static void test_bytes2(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 4096,
					      .one_slot = true };
	DROP(mem) uint8_t *image = NULL;
	struct volume_info good, info;
	size_t size = FILE_SIZE, step = check_full() ? 1 : 97;
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	write_data(&recipe, "luks", raw, off);
	image = read_all("luks", size);
	/* Only what is looked at takes time. */
	probe_image(image, 2 * HEADER, &good);
	for (size_t i = 0; i < HEADER; i += i < 600 ? 1 : step) {
		image[i] ^= 0x10;
		probe_image(image, 2 * HEADER, &info);
		CHECK(info.state == good.state);
		CHECK_STR(info.uuid, good.uuid);
		CHECK_U64(info.data_offset, good.data_offset);
		if (i == 3 || i % 128 == 8)
			CHECK_OK(open_image(image, size));
		image[HEADER + i] ^= 0x10;
		probe_image(image, 2 * HEADER, &info);
		/* No magic in either: no LUKS. */
		CHECK(info.state == VOLUME_DAMAGED ||
		      (i < 6 && info.type == VOLUME_CLEAR));
		image[i] ^= 0x10;
		probe_image(image, 2 * HEADER, &info);
		CHECK_STR(info.uuid, good.uuid);
		image[HEADER + i] ^= 0x10;
	}
	/* Lost altogether. */
	memset(image, 0, HEADER);
	CHECK_OK(open_image(image, size));
	/* Overwritten with something else, wherever: what is behind it is
	 * history. */
	image[HEADER - 1] = 1;
	probe_image(image, size, &info);
	CHECK(info.type == VOLUME_CLEAR);
	image[HEADER - 1] = 0;
	image[1080] = 0x53;
	probe_image(image, size, &info);
	CHECK(info.type == VOLUME_CLEAR);
	memset(image, 'x', 4096);
	probe_image(image, size, &info);
	CHECK(info.type == VOLUME_CLEAR);
	unlink("luks");
}

/* A byte of the key slot's material: each counts, so that there is no key. */
static void test_material(void)
{
	for (int version = 1; version <= 2; version++) {
		const struct recipe recipe = { .version = version,
					       .mode = "xts-plain64",
					       .key_size = 64,
					       .sector_size = 512,
					       .one_slot = true };
		DROP(mem) uint8_t *image = NULL;
		uint8_t raw[64];
		uint64_t off, at = 2 * HEADER, n = 64 * 4000;

		format_header(&recipe, "luks", raw, &off);
		write_data(&recipe, "luks", raw, off);
		image = read_all("luks", FILE_SIZE);
		/* Of LUKS1, in sectors. */
		if (version == 1)
			at = 512 * ((uint64_t)image[250] << 8 | image[251]);
		for (uint64_t i = 0; i < n; i += n / 4 - 1) {
			image[at + i] ^= 0x40;
			CHECK_FAILS(-ENOKEY, open_image(image, FILE_SIZE));
			image[at + i] ^= 0x40;
		}
		CHECK_OK(open_image(image, FILE_SIZE));
		unlink("luks");
	}
}

/* The newer of two whole copies counts, as in libcryptsetup. */
static void test_newer(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 512,
					      .label = "old",
					      .one_slot = true };
	DROP(mem) uint8_t *image = NULL;
	struct volume_info info;
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	write_data(&recipe, "luks", raw, off);
	image = read_all("luks", FILE_SIZE);
	image[HEADER + 23]++; /* sequence number */
	memcpy(image + HEADER + 24, "new", 3);
	seal(image + HEADER);
	probe_image(image, FILE_SIZE, &info);
	CHECK_STR(info.label, "new");
	CHECK_OK(open_image(image, FILE_SIZE));
	unlink("luks");
}

/* --- the medium, the key, several at once --- */

static void test_faults(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 512 };
	DROP(secret) struct secret *key = passphrase();
	uint8_t raw[64];
	uint64_t off, n = 0;
	int r;

	format_header(&recipe, "luks", raw, &off);
	do {
		struct source_fault fault = { .fail_read = ++n };
		struct source *s = file("luks");

		CHECK_OK(source_open_fault(s, &fault, &s));
		r = volume_open(s, NULL, key, KEY_BEK, &s);
		CHECK(r == 0 ? fault.fired == 0 : r == -EIO);
		if (r == 0) {
			/* The metadata only. */
			CHECK(fault.bytes < MIB);
			source_close(s);
		}
		CHECK_U64(fault.closes, 1);
	} while (r < 0);
	CHECK(n > 3);
	unlink("luks");
}

/* A volume key serves another point of the same volume, and no other volume. */
static void test_key(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 512,
					      .one_slot = true };
	DROP(volume_key) struct volume_key *vk = NULL;
	DROP(secret) struct secret *key = passphrase();
	DROP(source) struct source *s = NULL;
	struct volume_info one, two;
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	write_data(&recipe, "luks", raw, off);
	s = file("luks");
	CHECK_OK(volume_probe(s, &one));
	CHECK_OK(volume_unlock(s, NULL, key, KEY_BEK, &vk));
	CHECK_OK(volume_map(take(s), NULL, vk, &s));
	check_clear(s);
	source_close(take(s));

	format_header(&recipe, "luks", raw, &off);
	s = file("luks");
	CHECK_OK(volume_probe(s, &two));
	CHECK(!digest_equal(&one.metadata, &two.metadata));
	CHECK_SAYS(-ENOKEY, "other metadata",
		   volume_map(take(s), NULL, vk, &s));
	unlink("luks");
}

static void *opener(void *unused)
{
	DROP(secret) struct secret *key = passphrase();
	DROP(source) struct source *s = NULL;

	for (int i = 0; i < 2; i++) {
		CHECK_OK(volume_open(file("luks"), NULL, key, KEY_BEK, &s));
		check_clear(s);
		source_close(take(s));
	}
	return NULL;
}

static void test_threads(void)
{
	static const struct recipe recipe = { .version = 2,
					      .mode = "xts-plain64",
					      .key_size = 64,
					      .sector_size = 512,
					      .argon2 = true,
					      .one_slot = true };
	pthread_t threads[4];
	uint8_t raw[64];
	uint64_t off;

	format_header(&recipe, "luks", raw, &off);
	write_data(&recipe, "luks", raw, off);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK(!pthread_create(&threads[i], NULL, opener, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK(!pthread_join(threads[i], NULL));
	unlink("luks");
}

/* libcryptsetup waits for the disk after each write: in memory that is nothing. */
static char directory[] = "/dev/shm/vaultfs-luks.XXXXXX";

static void clean(void)
{
	static const char *const names[] = { "luks", "data", "clear", "qemu" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(names[i]);
	rmdir(directory);
}

int main(void)
{
	if (mkdtemp(directory)) {
		CHECK(chdir(directory) == 0);
		atexit(clean);
	}
	crypt_set_log_callback(NULL, quiet, NULL);
	test_recipes();
	if (check_all())
		test_qemu();
	test_refused();
	test_refused1();
	test_bytes1();
	test_bytes2();
	test_material();
	test_newer();
	test_faults();
	test_key();
	test_threads();
	return 0;
}
