// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 120
/*
 * The keyring: its order, what it remembers, what a failing provider does; and
 * private key files of every form that openssl(1) makes, each of which unwraps what
 * its public key wrapped. Ciphertext of openssl pkeyutl, which is not ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/base/arena.h"
#include "backend/base/hash.h"
#include "crypt/keyring.h"
#include "tests/fakes/kek_fake.h"
#include "tests/unit/check.h"

#define SET(to, text) snprintf(to, sizeof(to), "%s", text)

extern char **environ;

static char dir[] = "/tmp/test_keyring.XXXXXX";

#define PATH 128
static void in_dir(const char *name, char out[static PATH])
{
	snprintf(out, PATH, "%s/%s", dir, name);
}

static void shell(const char *format, ...)
{
	static char sh[] = "sh", c[] = "-c";
	char line[1024], *argv[] = { sh, c, line, NULL };
	va_list ap;
	int status;
	pid_t pid;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	CHECK(posix_spawnp(&pid, sh, NULL, NULL, argv, environ) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status == 0)
		return;
	fprintf(stderr, "failed: %s\n", line);
	exit(1);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[PATH];
	FILE *f;

	in_dir(name, path);
	unlink(path);
	f = fopen(path, "w");
	CHECK(f);
	CHECK(fputs(text, f) >= 0);
	CHECK(fclose(f) == 0);
	CHECK(chmod(path, mode) == 0);
}

static void record_of(const struct wrap *w, uint8_t number,
		      struct escrow_record *out)
{
	*out = (struct escrow_record){ 0 };
	out->digest.b[0] = number;
	CHECK_OK(escrow_add_wrap(out, w));
}

static void unwraps(struct keyring *k, const struct escrow_record *rec,
		    const char *want)
{
	DROP(secret) struct secret *s = NULL;

	CHECK_OK(keyring_unwrap(k, rec, "os-p2", &s));
	CHECK_U64(secret_size(s), strlen(want));
	CHECK_MEM(secret_bytes(s), want, strlen(want));
}

#define REFUSES(code, words, ring, rec)                                        \
	do {                                                                   \
		struct secret *none_ = NULL;                                   \
		CHECK_SAYS(code, words,                                        \
			   keyring_unwrap(ring, rec, "os-p2", &none_));        \
		CHECK(!none_);                                                 \
	} while (0)

/* --- with KEKs in memory --- */

static void test_order(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a, b, c;
	struct escrow_record rec;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	kek_fake_init(&b, 'b', "B");
	kek_fake_init(&c, 'c', "C");
	CHECK_OK(keyring_new(&k));
	CHECK(keyring_empty(k));
	CHECK_OK(keyring_add(k, &a.base));
	CHECK_OK(keyring_add(k, &b.base));
	CHECK_OK(keyring_add(k, &c.base));
	CHECK(!keyring_empty(k));
	kek_fake_wrap('b', "the passphrase", &w);
	record_of(&w, 1, &rec);
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked, 1);
	CHECK_U64(b.asked, 1);
	CHECK_U64(c.asked, 0);
	/* It is remembered. */
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked + b.asked + c.asked, 2);
	/* Another record of the same wrap is another question. */
	rec.digest.b[0] = 2;
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked + b.asked, 4);
	escrow_record_release(&rec);
}

static void test_in_vain(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a, b;
	struct escrow_record rec;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	kek_fake_init(&b, 'b', "B");
	b.picky = true;
	CHECK_OK(keyring_new(&k));
	kek_fake_wrap('x', "the passphrase", &w);
	SET(w.kek_url, "https://v/keys/k/7");
	record_of(&w, 1, &rec);
	REFUSES(-ENOKEY,
		"the BEK of os-p2 is wrapped by KEK https://v/keys/k/7: give "
		"it with --kek",
		k, &rec);
	CHECK_OK(keyring_add(k, &b.base));
	REFUSES(-ENOKEY, "it is not among the keys that were given", k, &rec);
	CHECK_U64(b.asked, 0);
	CHECK_OK(keyring_add(k, &a.base));
	REFUSES(-ENOKEY, "KEK A does not unwrap the BEK of os-p2", k, &rec);
	/* Once per record and process. */
	REFUSES(-ENOKEY, "KEK A does not unwrap the BEK of os-p2", k, &rec);
	CHECK_U64(a.asked, 1);
	keyring_reset(k);
	REFUSES(-ENOKEY, "KEK A does not unwrap the BEK of os-p2", k, &rec);
	CHECK_U64(a.asked, 2);
	escrow_record_release(&rec);
}

/* A plaintext that is no BEK is told like one that does not come out. */
static void test_no_bek(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a;
	struct escrow_record rec;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	CHECK_OK(keyring_new(&k));
	CHECK_OK(keyring_add(k, &a.base));
	kek_fake_wrap('a', "text", &w);
	record_of(&w, 1, &rec);
	SET(rec.file_name, "0A1B.BEK");
	REFUSES(-ENOKEY, "KEK A does not unwrap the BEK of os-p2", k, &rec);
	SET(rec.file_name, "");
	rec.digest.b[0] = 2;
	unwraps(k, &rec, "text");
	rec.wraps[0].value[2] = '\1';
	rec.digest.b[0] = 3;
	REFUSES(-ENOKEY, "KEK A does not unwrap the BEK of os-p2", k, &rec);
	escrow_record_release(&rec);
}

static void test_provider_fails(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a, b;
	struct escrow_record rec, other;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	kek_fake_init(&b, 'b', "B");
	a.fail_with = -EACCES;
	CHECK_OK(keyring_new(&k));
	CHECK_OK(keyring_add(k, &a.base));
	CHECK_OK(keyring_add(k, &b.base));
	kek_fake_wrap('b', "the passphrase", &w);
	record_of(&w, 1, &rec);
	record_of(&w, 2, &other);
	/* It stops here, and is not tried again: a PIN may be spent. */
	REFUSES(-EACCES, "KEK A: it is away", k, &rec);
	CHECK_U64(b.asked, 0);
	CHECK_U64(a.asked, 1);
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked, 1);
	w.value[0] = 'x';
	other.wraps[0].value[0] = 'x';
	REFUSES(-EACCES, "KEK A: it is away", k, &other);
	CHECK_U64(a.asked, 1);
	CHECK_U64(a.resets, 0);
	keyring_reset(k);
	CHECK_U64(a.resets, 1);
	CHECK_U64(b.resets, 0);
	a.fail_with = 0;
	REFUSES(-ENOKEY, "KEK A, B do not unwrap the BEK of os-p2", k, &other);
	escrow_record_release(&rec);
	escrow_record_release(&other);
}

static void test_keeps_going(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a, b;
	struct escrow_record rec;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	kek_fake_init(&b, 'b', "B");
	a.fail_with = -EIO;
	CHECK_OK(keyring_new(&k));
	keyring_keep_going(k);
	CHECK_OK(keyring_add(k, &a.base));
	CHECK_OK(keyring_add(k, &b.base));
	kek_fake_wrap('b', "the passphrase", &w);
	record_of(&w, 1, &rec);
	unwraps(k, &rec, "the passphrase");
	rec.wraps[0].value[0] = 'x';
	rec.digest.b[0] = 2;
	REFUSES(-EIO, "KEK A: it is away", k, &rec);
	CHECK_U64(a.asked, 1);
	escrow_record_release(&rec);
}

/* More BEKs than are kept: all still come out. */
static void test_many(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct kek_fake a;
	struct escrow_record rec;
	struct wrap w;

	kek_fake_init(&a, 'a', "A");
	CHECK_OK(keyring_new(&k));
	CHECK_OK(keyring_add(k, &a.base));
	kek_fake_wrap('a', "the passphrase", &w);
	record_of(&w, 1, &rec);
	for (int i = 0; i < 600; i++) {
		rec.digest.b[1] = (uint8_t)i;
		rec.digest.b[2] = (uint8_t)(i >> 8);
		unwraps(k, &rec, "the passphrase");
	}
	CHECK_U64(a.asked, 600);
	/* The newest are there, the oldest not. */
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked, 600);
	rec.digest.b[1] = rec.digest.b[2] = 0;
	unwraps(k, &rec, "the passphrase");
	CHECK_U64(a.asked, 601);
	escrow_record_release(&rec);
}

/* --- with files --- */

#define BEK "MTIzNDU2Nzg5MGFiY2RlZg=="

/* By openssl(1), for the public key rsa.pub. */
static void wrap_by_openssl(enum wrap_alg alg, struct wrap *out)
{
	static const char *const options[] = {
		[WRAP_RSA_OAEP] = "-pkeyopt rsa_padding_mode:oaep "
				  "-pkeyopt rsa_oaep_md:sha1 "
				  "-pkeyopt rsa_mgf1_md:sha1",
		[WRAP_RSA_OAEP_256] = "-pkeyopt rsa_padding_mode:oaep "
				      "-pkeyopt rsa_oaep_md:sha256 "
				      "-pkeyopt rsa_mgf1_md:sha256",
		[WRAP_RSA1_5] = "-pkeyopt rsa_padding_mode:pkcs1",
	};
	char path[PATH];
	FILE *f;

	shell("printf %%s '%s' | openssl pkeyutl -encrypt -pubin -inkey "
	      "%s/rsa.pub %s -out %s/wrapped",
	      BEK, dir, options[alg], dir);
	in_dir("wrapped", path);
	*out = (struct wrap){ .alg = alg, .alg_named = true };
	f = fopen(path, "r");
	CHECK(f);
	out->size = fread(out->value, 1, sizeof(out->value), f);
	fclose(f);
	CHECK_U64(out->size, 384);
}

static void make_keys(void)
{
	const char *src = getenv("SRC");

	/* Keys that are there already: to find such primes takes half a second. */
	shell("umask 077 && cd '%s/tests/data' &&"
	      "cp rsa-3072-1.pem %s/rsa.pem &&"
	      "cp rsa-3072-2.pem %s/other.pem && cp rsa-2048.pem %s/short.pem",
	      src ? src : ".", dir, dir, dir);
	shell("cd %s && exec 2>/dev/null && umask 077 &&"
	      "openssl rsa -in rsa.pem -pubout -out rsa.pub &&"
	      "openssl rsa -in short.pem -pubout -out short.pub &&"
	      "openssl genrsa -out tiny.pem 1024 &&"
	      "openssl ecparam -name prime256v1 -genkey -noout -out ec.pem",
	      dir);
	write_file("pass", "open sesame\n", 0600);
}

#define P "-passout pass:'open sesame' "

/* How openssl makes it from rsa.pem, and whether it is encrypted. */
static const struct form {
	const char *name, *make;
	bool encrypted;
} forms[] = {
	{ "pkcs8.pem", "pkcs8 -topk8 -nocrypt -in rsa.pem", false },
	{ "pkcs8.der", "pkcs8 -topk8 -nocrypt -in rsa.pem -outform DER",
	  false },
	{ "rsa.der", "rsa -in rsa.pem -traditional -outform DER", false },
	{ "rsa1.pem", "rsa -in rsa.pem -traditional", false },
	{ "old.pem", "rsa -in rsa.pem -traditional -aes128 " P, true },
	{ "old3.pem", "rsa -in rsa.pem -traditional -des3 " P, true },
	{ "enc.pem", "pkcs8 -topk8 -v2 aes256 -in rsa.pem " P, true },
	{ "enc.der", "pkcs8 -topk8 -v2 aes256 -outform DER -in rsa.pem " P,
	  true },
	{ "scrypt.pem", "pkcs8 -topk8 -scrypt -in rsa.pem " P, true },
	/* In the legacy provider. */
	{ "des.pem",
	  "pkcs8 -topk8 -v1 PBE-SHA1-RC4-128 -in rsa.pem " P
	  "-provider legacy -provider default",
	  true },
	{ "new.p12", "pkcs12 -export -inkey rsa.pem -nocerts " P, true },
	{ "old.p12", "pkcs12 -export -inkey rsa.pem -nocerts -legacy " P,
	  true },
	{ "none.p12",
	  "pkcs12 -export -inkey rsa.pem -nocerts -passout pass:", false },
};

static void open_form(const struct form *f, const struct escrow_record *rec)
{
	DROP(keyring) struct keyring *k = NULL;
	char spec[3 * PATH];

	shell("cd %s && umask 077 && openssl %s -out %s 2>/dev/null", dir,
	      f->make, f->name);
	CHECK_OK(keyring_new(&k));
	snprintf(spec, sizeof(spec), "%s/%s%s%s%s", dir, f->name,
		 f->encrypted ? ",pass-file=" : "", f->encrypted ? dir : "",
		 f->encrypted ? "/pass" : "");
	CHECK_OK(keyring_add_kek(k, spec));
	unwraps(k, rec, BEK);
}

static void test_forms(void)
{
	struct escrow_record rec;
	struct wrap w;

	wrap_by_openssl(WRAP_RSA_OAEP, &w);
	record_of(&w, 1, &rec);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		open_form(&forms[i], &rec);
	escrow_record_release(&rec);
}

static void add(struct keyring *k, const char *name)
{
	char path[PATH];

	in_dir(name, path);
	CHECK_OK(keyring_add_kek(k, path));
}

static void test_algorithms(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct escrow_record rec;
	struct wrap w;
	uint8_t number = 1;

	CHECK_OK(keyring_new(&k));
	add(k, "other.pem");
	add(k, "rsa.pem");
	for (int alg = 0; alg < 3; alg++) {
		/* As each of the three, and as none: only RSA1_5 has to be
		 * named. */
		wrap_by_openssl((enum wrap_alg)alg, &w);
		for (int as = 0; as < 4; as++) {
			record_of(&w, number++, &rec);
			rec.wraps[0].alg = (enum wrap_alg)(as % 3);
			rec.wraps[0].alg_named = as < 3;
			if (as == alg || (as == 3 && alg != WRAP_RSA1_5))
				unwraps(k, &rec, BEK);
			else
				REFUSES(-ENOKEY, "not unwrap the BEK of os-p2",
					k, &rec);
			escrow_record_release(&rec);
		}
	}
}

/* Each byte of the ciphertext matters, and every refusal is worded alike. */
static void test_changed(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct escrow_record rec;
	char said[ERR_MAX] = "";
	struct wrap w;

	CHECK_OK(keyring_new(&k));
	add(k, "rsa.pem");
	for (int alg = 0; alg < 3; alg++) {
		wrap_by_openssl((enum wrap_alg)alg, &w);
		for (size_t i = 0; i < w.size; i += 29) {
			struct secret *none = NULL;

			record_of(&w, (uint8_t)i, &rec);
			rec.digest.b[1] = (uint8_t)alg;
			rec.digest.b[2] = (uint8_t)(i >> 8);
			rec.wraps[0].value[i] ^= 1;
			CHECK_FAILS(-ENOKEY,
				    keyring_unwrap(k, &rec, "os-p2", &none));
			if (*said)
				CHECK_STR(err_text(-ENOKEY), said);
			snprintf(said, sizeof(said), "%s", err_text(-ENOKEY));
			escrow_record_release(&rec);
		}
	}
}

/* Only records that it matches: by public key, else by size. */
static void test_matches(void)
{
	DROP(keyring) struct keyring *k = NULL;
	DROP(kek_public) struct kek_public *public = NULL;
	DROP(secret) struct secret *bek = NULL;
	struct escrow_record rec;
	struct wrap w;
	char path[PATH];

	in_dir("rsa.pub", path);
	CHECK_OK(kek_public_open(path, &public));
	CHECK_OK(secret_copy(BEK, strlen(BEK), &bek));
	CHECK_OK(kek_public_wrap(public, WRAP_RSA_OAEP_256, "the safe", bek,
				 &w));
	CHECK_STR(w.kek_label, "the safe");
	CHECK(w.has_spki && w.alg_named && w.alg == WRAP_RSA_OAEP_256);
	record_of(&w, 1, &rec);
	CHECK_OK(keyring_new(&k));
	add(k, "other.pem");
	add(k, "short.pem");
	REFUSES(-ENOKEY, "is wrapped by KEK 'the safe': it is not among", k,
		&rec);
	CHECK_U64(keyring_asked(k), 0);
	add(k, "rsa.pem");
	unwraps(k, &rec, BEK);
	CHECK_U64(keyring_asked(k), 1);
	escrow_record_release(&rec);
}

static void test_public(void)
{
	DROP(kek_public) struct kek_public *k = NULL;
	DROP(secret) struct secret *big = NULL;
	char path[PATH];
	struct wrap w;

	in_dir("short.pub", path);
	CHECK_SAYS(-EINVAL, "use one of 3072 bits", kek_public_open(path, &k));
	in_dir("rsa.pem", path);
	CHECK_SAYS(-EPROTO, "openssl pkey -pubout", kek_public_open(path, &k));
	in_dir("nothing", path);
	CHECK_FAILS(-ENOENT, kek_public_open(path, &k));
	shell("cd %s && openssl req -x509 -key rsa.pem -subj /CN=kek -out "
	      "cert.pem && openssl x509 -in cert.pem -outform DER -out "
	      "cert.der && openssl rsa -pubin -in rsa.pub -outform DER -out "
	      "pub.der 2>/dev/null",
	      dir);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "cert.pem", "cert.der",
						     "pub.der" };

		in_dir(names[i], path);
		CHECK_OK(kek_public_open(path, &k));
		kek_public_close(take(k));
	}
	in_dir("rsa.pub", path);
	CHECK_OK(kek_public_open(path, &k));
	CHECK_OK(secret_new(319, &big));
	CHECK_SAYS(-EINVAL, "cannot wrap the 319 bytes",
		   kek_public_wrap(k, WRAP_RSA_OAEP_256, NULL, big, &w));
}

static int add_as(const char *format, ...)
{
	DROP(keyring) struct keyring *k = NULL;
	char spec[3 * PATH];
	va_list ap;

	va_start(ap, format);
	vsnprintf(spec, sizeof(spec), format, ap);
	va_end(ap);
	CHECK_OK(keyring_new(&k));
	return keyring_add_kek(k, spec);
}

static void test_specs(void)
{
	char path[PATH];
	int ends[2];

	write_file("wrong", "open simsim\n", 0600);
	write_file("junk", "no key\n", 0600);
	CHECK_SAYS(-EACCES, "the passphrase does not open it",
		   add_as("%s/enc.pem,pass-file=%s/wrong", dir, dir));
	CHECK_SAYS(-EACCES, "the passphrase does not open it",
		   add_as("%s/new.p12,pass-file=%s/wrong", dir, dir));
	/* The test has no terminal, or one that nobody sits at. */
	CHECK(dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) == 0);
	CHECK_SAYS(-EINVAL, "add ,pass-file=FILE", add_as("%s/enc.pem", dir));
	CHECK_SAYS(-EINVAL, "add ,pass-file=FILE", add_as("%s/new.p12", dir));
	CHECK_SAYS(-ENOENT, "nothing", add_as("%s/nothing", dir));
	CHECK_SAYS(-ENOENT, "nothing",
		   add_as("%s/enc.pem,pass-file=%s/nothing", dir, dir));
	CHECK_SAYS(-EPROTO, "no private key", add_as("%s/junk", dir));
	CHECK_SAYS(-EPROTO, "no RSA key", add_as("%s/ec.pem", dir));
	CHECK_SAYS(-EPROTO, "1024 bits", add_as("%s/tiny.pem", dir));
	CHECK_SAYS(-EINVAL, "pass-fd=", add_as("%s/enc.pem,pass-fd=x", dir));
	CHECK_SAYS(-EINVAL, "pass-file=", add_as("%s/enc.pem,pass-file=", dir));
	CHECK_SAYS(-EINVAL, "secret, no key", add_as("https://v/secrets/k/1"));
	CHECK_SAYS(-EINVAL, "can be read by all users",
		   add_as("pkcs11:token=t;object=k?pin-value=1234"));
	CHECK(!strstr(err_text(-EINVAL), "1234"));
	CHECK_FAILS(-EINVAL, add_as(""));
	in_dir("rsa.pem", path);
	CHECK(chmod(path, 0644) == 0);
	CHECK_SAYS(-EACCES, "chmod 600", add_as("%s", path));
	CHECK(chmod(path, 0600) == 0);
	/* A comma of the name's own. */
	shell("cp -p %s/rsa.pem '%s/a,pass.pem'", dir, dir);
	CHECK_OK(add_as("%s/a,pass.pem", dir));

	CHECK(pipe(ends) == 0);
	CHECK(write(ends[1], "open sesame\n", 12) == 12);
	close(ends[1]);
	CHECK_OK(add_as("%s/enc.pem,pass-fd=%d", dir, ends[0]));
	CHECK_SAYS(-EINVAL, "no passphrase",
		   add_as("%s/enc.pem,pass-fd=%d", dir, ends[0]));
	close(ends[0]);
	CHECK_SAYS(-EBADF, "descriptor",
		   add_as("%s/enc.pem,pass-fd=%d", dir, ends[0]));
}

static void test_plain_keys(void)
{
	DROP(keyring) struct keyring *k = NULL;
	const struct keyring_plain *p;
	char path[PATH];

	write_file("bek", "exact bytes\n", 0600);
	write_file("crlf", "words of it\r\n", 0600);
	CHECK_OK(keyring_new(&k));
	in_dir("bek", path);
	CHECK_OK(keyring_add_bek(k, path));
	in_dir("crlf", path);
	CHECK_OK(keyring_add_password(k, path));
	CHECK(!keyring_empty(k));
	CHECK_U64(keyring_plain_count(k), 2);
	p = keyring_plain_at(k, 0);
	CHECK(p->kind == KEY_BEK);
	CHECK_U64(secret_size(p->key), 12);
	CHECK_MEM(secret_bytes(p->key), "exact bytes\n", 12);
	p = keyring_plain_at(k, 1);
	CHECK(p->kind == KEY_PASSPHRASE);
	CHECK_STR(p->name, path);
	CHECK_U64(secret_size(p->key), 11);
	write_file("crlf", "\r\n", 0600);
	CHECK_SAYS(-EPROTO, "no passphrase", keyring_add_password(k, path));
	write_file("crlf", "x", 0640);
	CHECK_SAYS(-EACCES, "chmod 600", keyring_add_bek(k, path));
}

static void test_keys_file(void)
{
	DROP(keyring) struct keyring *k = NULL;
	struct escrow_record rec;
	char path[PATH], text[1024];
	struct wrap w;

	snprintf(text, sizeof(text),
		 "# ours\n\n%s/other.pem\r\n  --kek %s/enc.pem,"
		 "pass-file=%s/pass  \n--bek=%s/bek\n"
		 "--password-file %s/pass\n"
		 "pkcs11:token=t;object=k?pin-value=12%%334&x=y",
		 dir, dir, dir, dir, dir);
	write_file("keys", text, 0600);
	in_dir("keys", path);
	CHECK_OK(keyring_new(&k));
	CHECK_OK(keyring_add_file(k, path));
	CHECK_U64(keyring_plain_count(k), 2);
	wrap_by_openssl(WRAP_RSA_OAEP, &w);
	record_of(&w, 1, &rec);
	unwraps(k, &rec, BEK);
	escrow_record_release(&rec);

	write_file("keys", "\n--what is this\n", 0600);
	CHECK_SAYS(-EINVAL, "keys, line 2: an option",
		   keyring_add_file(k, path));
	write_file("keys", "pkcs11:token=t?pin-value=", 0600);
	CHECK_SAYS(-EINVAL, "keys, line 1: pin-value= is empty",
		   keyring_add_file(k, path));
	write_file("keys", "x", 0644);
	CHECK_SAYS(-EACCES, "chmod 600", keyring_add_file(k, path));
}

/* --- the arena --- */

struct made {
	EVP_PKEY *key;
};

static int load(void *ctx)
{
	struct made *m = ctx;
	char path[PATH];
	FILE *f;

	CHECK(arena_has(OPENSSL_malloc(1000)));
	in_dir("rsa.pem", path);
	f = fopen(path, "r");
	CHECK(f);
	m->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	return fail(-ESTALE, "a sentence");
}

static void test_arena(void)
{
	struct made m = { 0 };
	void *out, *in, *moved;

	CHECK(arena_ready());
	CHECK_SAYS(-ESTALE, "a sentence", arena_run(load, &m));
	CHECK(m.key && arena_has(m.key));
	EVP_PKEY_free(m.key);

	out = OPENSSL_malloc(100);
	CHECK(!arena_has(out));
	memset(out, 'o', 100);
	{
		DROP(arena) bool first = arena_enter();
		DROP(arena) bool second = arena_enter();

		in = OPENSSL_malloc(100);
		CHECK(arena_has(in));
		memset(in, 'i', 100);
		/* It moves in, with its bytes. */
		moved = OPENSSL_realloc(out, 5000);
		CHECK(arena_has(moved));
		CHECK_MEM(moved, "oooo", 4);
		CHECK(((char *)moved)[99] == 'o');
	}
	/* ... and never out. */
	in = OPENSSL_realloc(in, 70000);
	CHECK(arena_has(in));
	CHECK(((char *)in)[99] == 'i');
	in = OPENSSL_realloc(in, 10);
	CHECK(arena_has(in));
	CHECK_MEM(in, "iiiiiiiiii", 10);
	OPENSSL_free(moved);
	CHECK(is_zero(moved, 5000));
	OPENSSL_free(in);
	out = OPENSSL_malloc(100);
	CHECK(!arena_has(out));
	OPENSSL_free(out);
}

static void test_arena_fills(void)
{
	DROP(arena) bool in = arena_enter();
	void *p[200];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 200; i++) {
			p[i] = OPENSSL_malloc(1 + (size_t)i * 37);
			CHECK(arena_has(p[i]));
			memset(p[i], i, 1 + (size_t)i * 37);
		}
		for (int i = 0; i < 200; i++)
			for (size_t j = 0; j < 1 + (size_t)i * 37; j++)
				CHECK(((uint8_t *)p[i])[j] == (uint8_t)i);
		for (int i = 0; i < 200; i += 2)
			OPENSSL_free(p[i]);
		for (int i = 1; i < 200; i += 2)
			OPENSSL_free(p[i]);
	}
	/* A work area that is not locked. */
	p[0] = OPENSSL_malloc(16 << 20);
	CHECK(p[0] && !arena_has(p[0]));
	memset(p[0], 1, 16 << 20);
	p[0] = OPENSSL_realloc(p[0], 17 << 20);
	CHECK(((uint8_t *)p[0])[(16 << 20) - 1] == 1);
	OPENSSL_free(p[0]);
}

int main(void)
{
	CHECK(mkdtemp(dir));
	CHECK_OK(secret_setup());
	make_keys();
	test_arena();
	test_arena_fills();
	test_order();
	test_in_vain();
	test_no_bek();
	test_provider_fails();
	test_keeps_going();
	test_many();
	test_forms();
	test_algorithms();
	test_changed();
	test_matches();
	test_public();
	test_specs();
	test_plain_keys();
	test_keys_file();
	shell("rm -r %s", dir);
	return 0;
}
