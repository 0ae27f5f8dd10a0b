// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/keyring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/log.h"

#define KEYS_FILE_MAX SECRET_MAX
/* Each BEK has a locked page; the oldest goes first. */
#define FOUND_MAX 256

/* A KEK, and whether it is of use. */
struct member {
	struct kek *kek;
	struct err_saved failed; /* code 0: it has not */
};

/* What was found out about a record. */
struct answer {
	struct digest record;
	uint64_t asked;	    /* KEKs that do not unwrap it, a bit each */
	struct secret *bek; /* NULL: not found, or made room */
	uint64_t since;
};

struct keyring {
	bool keep_going;
	struct member members[KEYRING_KEKS_MAX];
	size_t n;
	struct keyring_plain plain[KEYRING_PLAIN_MAX];
	size_t nplain;
	pthread_mutex_t lock; /* for all that follows, and the members */
	struct answer *answers;
	size_t nanswers;
	size_t nfound;
	uint64_t clock;
	uint64_t asked;
};

int keyring_new(struct keyring **ret)
{
	struct keyring *k = calloc(1, sizeof(*k));

	if (!k)
		return fail(-ENOMEM, "out of memory");
	pthread_mutex_init(&k->lock, NULL);
	*ret = k;
	return 0;
}

void keyring_keep_going(struct keyring *k)
{
	k->keep_going = true;
}

/* --- adding keys --- */

int keyring_add(struct keyring *k, struct kek *kek)
{
	DROP(kek) struct kek *owned = kek;

	if (k->n >= KEYRING_KEKS_MAX)
		return fail(-EINVAL, "more than %d KEKs", KEYRING_KEKS_MAX);
	k->members[k->n++].kek = take(owned);
	return 0;
}

static int add_spec(struct keyring *k, char *spec, bool from_file)
{
	struct kek *kek = NULL;
	int r = kek_open(spec, from_file, &kek);

	return r < 0 ? r : keyring_add(k, kek);
}

int keyring_add_kek(struct keyring *k, const char *spec)
{
	DROP(mem) char *copy = strdup(spec);

	if (!copy)
		return fail(-ENOMEM, "out of memory");
	return add_spec(k, copy, false);
}

/* Takes key. */
static int add_plain(struct keyring *k, const char *path, enum key_kind kind,
		     struct secret *key)
{
	DROP(secret) struct secret *owned = key;
	char *name;

	if (k->nplain >= KEYRING_PLAIN_MAX)
		return fail(-EINVAL, "more than %d keys of volumes",
			    KEYRING_PLAIN_MAX);
	name = strdup(path);
	if (!name)
		return fail(-ENOMEM, "out of memory");
	k->plain[k->nplain++] = (struct keyring_plain){ .name = name,
							.kind = kind,
							.key = take(owned) };
	return 0;
}

/* Each byte counts. */
int keyring_add_bek(struct keyring *k, const char *path)
{
	struct secret *s;
	int r = secret_read_file(path, BEK_MAX, &s);

	return r < 0 ? r : add_plain(k, path, KEY_BEK, s);
}

/* The newline at its end is an editor's. */
int keyring_add_password(struct keyring *k, const char *path)
{
	DROP(secret) struct secret *all = NULL;
	struct secret *s;
	int r = secret_read_file(path, BEK_MAX, &all);
	size_t n;

	if (r < 0)
		return r;
	n = secret_size(all);
	if (secret_bytes(all)[n - 1] == '\n')
		n--;
	if (n && secret_bytes(all)[n - 1] == '\r')
		n--;
	if (!n)
		return fail(-EPROTO, "%s: no passphrase in it", path);
	r = secret_copy(secret_bytes(all), n, &s);
	return r < 0 ? r : add_plain(k, path, KEY_PASSPHRASE, s);
}

/* What follows "--word " or "--word="; NULL if it is another line. */
static char *after(char *line, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(line, word, n) || (line[n] != ' ' && line[n] != '='))
		return NULL;
	line += n + 1;
	return line + strspn(line, " ");
}

static int add_line(struct keyring *k, char *line)
{
	size_t n = strlen(line);
	char *rest;

	while (n && strchr(" \t\r", line[n - 1]))
		line[--n] = '\0';
	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	rest = after(line, "--bek");
	if (rest)
		return keyring_add_bek(k, rest);
	rest = after(line, "--password-file");
	if (rest)
		return keyring_add_password(k, rest);
	rest = after(line, "--kek");
	if (!rest && !strncmp(line, "--", 2))
		return fail(-EINVAL, "an option that is not known here");
	return add_spec(k, rest ? rest : line, true);
}

int keyring_add_file(struct keyring *k, const char *path)
{
	DROP(secret) struct secret *text = NULL;
	DROP(secret) struct secret *lines = NULL;
	unsigned number = 0;
	char *at, *end;
	int r = secret_read_file(path, KEYS_FILE_MAX - 1, &text);

	if (r == 0)
		r = secret_new(secret_size(text) + 1, &lines);
	if (r < 0)
		return r;
	at = (char *)secret_bytes(lines);
	memcpy(at, secret_bytes(text), secret_size(text));
	if (strlen(at) != secret_size(text))
		return fail(-EPROTO, "%s: it is no text", path);
	for (; at; at = end) {
		end = strchr(at, '\n');
		if (end)
			*end++ = '\0';
		number++;
		r = add_line(k, at);
		if (r < 0)
			return blame(r, "%s, line %u", path, number);
	}
	return 0;
}

bool keyring_empty(const struct keyring *k)
{
	return !k->n && !k->nplain;
}

size_t keyring_plain_count(const struct keyring *k)
{
	return k->nplain;
}

const struct keyring_plain *keyring_plain_at(const struct keyring *k, size_t i)
{
	return &k->plain[i];
}

/* --- under lock: what is known already --- */

static struct answer *find(struct keyring *k, const struct digest *d)
{
	for (size_t i = 0; i < k->nanswers; i++)
		if (digest_equal(&k->answers[i].record, d))
			return &k->answers[i];
	return NULL;
}

static struct answer *find_or_add(struct keyring *k, const struct digest *d)
{
	struct answer *a = find(k, d);

	if (a)
		return a;
	a = reallocarray(k->answers, k->nanswers + 1, sizeof(*a));
	if (!a)
		return NULL;
	k->answers = a;
	a += k->nanswers++;
	*a = (struct answer){ .record = *d };
	return a;
}

static void make_room(struct keyring *k)
{
	struct answer *oldest = NULL;

	if (k->nfound < FOUND_MAX)
		return;
	for (size_t i = 0; i < k->nanswers; i++) {
		struct answer *a = &k->answers[i];

		if (a->bek && (!oldest || a->since < oldest->since))
			oldest = a;
	}
	secret_close(take(oldest->bek));
	k->nfound--;
}

static int remember(struct keyring *k, struct answer *a, struct secret *bek)
{
	int r;

	make_room(k);
	r = secret_copy(secret_bytes(bek), secret_size(bek), &a->bek);
	if (r == 0)
		k->nfound++;
	return r;
}

/* --- under lock: asking --- */

/* An algorithm that is not named is one of two; RSA1_5 never is. */
static int try_wrap(struct keyring *k, struct kek *kek, const struct wrap *w,
		    struct secret **ret)
{
	struct wrap other = *w;
	int r;

	k->asked++;
	r = kek_unwrap(kek, w, ret);
	if (r != -ENOKEY || w->alg_named)
		return r;
	other.alg = WRAP_RSA_OAEP_256;
	return kek_unwrap(kek, &other, ret);
}

/* What comes out and is no BEK counts as not having come out. */
static int try_kek(struct keyring *k, struct kek *kek,
		   const struct escrow_record *record, bool *tried,
		   struct secret **ret)
{
	for (size_t i = 0; i < record->nwraps; i++) {
		DROP(secret) struct secret *bek = NULL;
		const struct wrap *w = &record->wraps[i];
		int r;

		if (!kek_matches(kek, w))
			continue;
		r = try_wrap(k, kek, w, &bek);
		/* Once it was used, more is known of it. */
		*tried |= kek_matches(kek, w);
		if (r == 0 && bek_plausible(secret_bytes(bek), secret_size(bek),
					    record->file_name)) {
			*ret = take(bek);
			return 0;
		}
		if (r < 0 && r != -ENOKEY)
			return r;
	}
	return -ENOKEY;
}

/* The KEKs that were asked, and in vain. */
static int none_unwraps(const struct keyring *k, const struct answer *a,
			const char *what)
{
	char names[ERR_MAX] = "";
	size_t n = 0, len = 0;

	for (size_t i = 0; i < k->n; i++) {
		if (!(a->asked >> i & 1) || len >= sizeof(names))
			continue;
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s", n ? ", " : "",
					k->members[i].kek->name);
		n++;
	}
	return fail(-ENOKEY, "KEK %s %s not unwrap the BEK of %s", names,
		    n == 1 ? "does" : "do", what);
}

static int none_matches(const struct keyring *k,
			const struct escrow_record *record, const char *what)
{
	char name[WRAP_NAME_SIZE];

	if (!record->nwraps && *record->secret_url)
		return fail(-ENOKEY,
			    "the record of %s has no wrapped key, only where "
			    "it is: %s; --kek https://VAULT, of the key vault "
			    "there, reads it",
			    what, record->secret_url);
	if (!record->nwraps)
		return fail(-ENOKEY, "the record of %s has no wrapped key",
			    what);
	wrap_name(&record->wraps[0], name);
	return fail(-ENOKEY, "the BEK of %s is wrapped by KEK %s%s: %s", what,
		    name, record->nwraps > 1 ? ", or another one" : "",
		    k->n ? "it is not among the keys that were given"
			 : "give it with --kek");
}

/* A provider failed: is it of no use from now on? The first failure is told. */
static void member_failed(struct keyring *k, struct member *m, int r,
			  struct err_saved *first)
{
	struct err_saved now;

	err_save(r, &now);
	if (!first->code)
		*first = now;
	if (m->kek->ops->many && r != -EAGAIN)
		return;
	m->failed = now;
	if (k->keep_going)
		log_error("%s; it is out of use", now.text);
}

/* -ENOKEY without a sentence: none has it. */
static int ask_keks(struct keyring *k, struct answer *a,
		    const struct escrow_record *record,
		    struct err_saved *failed, struct secret **ret)
{
	for (size_t i = 0; i < k->n; i++) {
		struct member *m = &k->members[i];
		bool tried = false;
		int r;

		if (m->failed.code) {
			if (!failed->code)
				*failed = m->failed;
			continue;
		}
		if (a->asked >> i & 1)
			continue;
		r = try_kek(k, m->kek, record, &tried, ret);
		if (r == 0)
			return remember(k, a, *ret);
		if (r == -ENOKEY && tried)
			a->asked |= UINT64_C(1) << i;
		if (r == -ENOKEY)
			continue;
		member_failed(k, m, r, failed);
		if (!k->keep_going)
			return r;
	}
	return -ENOKEY;
}

/* Reads the secret that a record refers to. *bek, or a record with a wrap. */
static int fetch(struct keyring *k, const struct escrow_record *ref,
		 struct err_saved *failed, struct escrow_record *out,
		 struct secret **bek)
{
	for (size_t i = 0; i < k->n; i++) {
		struct member *m = &k->members[i];
		int r = m->failed.code ? -ENOKEY
				       : kek_fetch(m->kek, ref, out, bek);

		if (m->failed.code && !failed->code && m->kek->ops->fetch)
			*failed = m->failed;
		if (r == 0)
			return 0;
		if (r == -ENOKEY)
			continue;
		member_failed(k, m, r, failed);
		if (!k->keep_going)
			return r;
	}
	return -ENOKEY;
}

static int ask(struct keyring *k, struct answer *a,
	       const struct escrow_record *record, const char *what,
	       struct secret **ret)
{
	DROP(escrow_record) struct escrow_record full = { 0 };
	DROP(secret) struct secret *bek = NULL;
	struct err_saved failed = { 0 };
	int r = 0;

	if (!record->nwraps && *record->secret_url) {
		r = fetch(k, record, &failed, &full, &bek);
		record = r ? record : &full;
	}
	if (bek && !r) {
		*ret = take(bek);
		return remember(k, a, *ret);
	}
	if (!r)
		r = ask_keks(k, a, record, &failed, ret);
	if (!r)
		return 0;
	if (failed.code)
		return err_load(&failed);
	return a->asked ? none_unwraps(k, a, what)
			: none_matches(k, record, what);
}

int keyring_unwrap(struct keyring *k, const struct escrow_record *record,
		   const char *what, struct secret **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&k->lock);
	struct answer *a = find_or_add(k, &record->digest);
	struct secret *bek = NULL;
	int r;

	if (!a)
		return fail(-ENOMEM, "out of memory");
	a->since = ++k->clock;
	if (a->bek)
		return secret_copy(secret_bytes(a->bek), secret_size(a->bek),
				   ret);
	r = ask(k, a, record, what, &bek);
	if (r < 0) {
		secret_close(bek);
		return r;
	}
	*ret = bek;
	return 0;
}

int keyring_learn(struct keyring *k, const struct escrow_record *record,
		  struct secret *bek)
{
	DROP(lock) pthread_mutex_t *held = lock(&k->lock);
	struct answer *a = find_or_add(k, &record->digest);

	if (!a)
		return fail(-ENOMEM, "out of memory");
	a->since = ++k->clock;
	return a->bek ? 0 : remember(k, a, bek);
}

void keyring_reset(struct keyring *k)
{
	DROP(lock) pthread_mutex_t *held = lock(&k->lock);

	for (size_t i = 0; i < k->n; i++) {
		if (!k->members[i].failed.code)
			continue;
		k->members[i].failed = (struct err_saved){ 0 };
		kek_reset(k->members[i].kek);
	}
	for (size_t i = 0; i < k->nanswers; i++)
		k->answers[i].asked = 0;
}

uint64_t keyring_asked(const struct keyring *k)
{
	return k->asked;
}

void keyring_close(struct keyring *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n; i++)
		kek_close(k->members[i].kek);
	for (size_t i = 0; i < k->nplain; i++) {
		free((char *)(uintptr_t)k->plain[i].name);
		secret_close(k->plain[i].key);
	}
	for (size_t i = 0; i < k->nanswers; i++)
		secret_close(k->answers[i].bek);
	free(k->answers);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
