// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A key in an HSM, by a URI of RFC 7512, through OpenSSL's pkcs11 engine (libp11).
 * The module is the URI's module-path, else that of PKCS11_MODULE_PATH, else the
 * one that the engine was built for (p11-kit's).
 *
 * The engine is one for the whole process, and it keeps the PIN of its last login.
 * Nothing is asked of the token before a record is to be unwrapped, so that a mount
 * comes up while it is away; a PIN that is wrong is given once (keyring.h).
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ui.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/arena.h"
#include "crypt/kek_impl.h"

struct kek_pkcs11 {
	struct kek base;
	char *uri;
	char *module;	    /* NULL: the default */
	struct secret *pin; /* NULL: none; NUL-terminated */
	EVP_PKEY *key;	    /* once it was used */
	struct digest spki;
};

static const struct kek_ops pkcs11_ops;

static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static ENGINE *engine; /* under engine_lock; kept until the process ends */

/* --- what the engine says --- */

/* CKR_ codes (PKCS#11 3.0, appendix A), as the engine hands them on. */
enum {
	CKR_DEVICE_ERROR = 0x30,
	CKR_DEVICE_MEMORY = 0x31,
	CKR_DEVICE_REMOVED = 0x32,
	CKR_PIN_INCORRECT = 0xa0,
	CKR_PIN_INVALID = 0xa1,
	CKR_PIN_LEN_RANGE = 0xa2,
	CKR_PIN_EXPIRED = 0xa3,
	CKR_PIN_LOCKED = 0xa4,
	CKR_SESSION_CLOSED = 0xb0,
	CKR_SESSION_HANDLE_INVALID = 0xb3,
	CKR_TOKEN_NOT_PRESENT = 0xe0,
	CKR_TOKEN_NOT_RECOGNIZED = 0xe1,
	CKR_USER_NOT_LOGGED_IN = 0x101,
};

static bool device_failed(int reason)
{
	switch (reason) {
	case CKR_DEVICE_ERROR:
	case CKR_DEVICE_MEMORY:
	case CKR_DEVICE_REMOVED:
	case CKR_SESSION_CLOSED:
	case CKR_SESSION_HANDLE_INVALID:
	case CKR_TOKEN_NOT_PRESENT:
	case CKR_TOKEN_NOT_RECOGNIZED:
	case CKR_USER_NOT_LOGGED_IN:
		return true;
	default:
		return false;
	}
}

static bool pin_refused(int reason)
{
	return reason >= CKR_PIN_INCORRECT && reason <= CKR_PIN_LOCKED;
}

/* The first of the thread's errors that is one of these; 0 if none is. Empties
 * them. */
static int look(bool (*is)(int reason))
{
	int found = 0;
	unsigned long e;

	while ((e = ERR_get_error())) {
		int reason = ERR_GET_REASON(e);

		/* OpenSSL's own libraries come first and count otherwise. */
		if (!found && ERR_GET_LIB(e) >= ERR_LIB_USER && is(reason))
			found = reason;
	}
	return found;
}

static int not_found(const struct kek_pkcs11 *k)
{
	if (look(pin_refused))
		return fail(-EACCES,
			    "KEK %s: the token refuses the PIN; it is not "
			    "tried again, since most tokens lock after a few "
			    "wrong ones",
			    k->base.name);
	return fail(-EIO,
		    "KEK %s: the token or its key is not to be had%s: look "
		    "with 'pkcs11-tool --list-objects' or 'p11tool "
		    "--list-all', and whether the module is right "
		    "(PKCS11_MODULE_PATH, or module-path= in the URI)",
		    k->base.name, k->pin ? "" : " without a PIN");
}

/* --- the engine --- */

static int start(ENGINE *e, const char *module)
{
	if (module && !ENGINE_ctrl_cmd_string(e, "MODULE_PATH", module, 0))
		return fail(-EIO, "the pkcs11 engine refuses module %s",
			    module);
	/* What went wrong is ours to say; versions without it do no harm. */
	(void)ENGINE_ctrl_cmd_string(e, "QUIET", NULL, 1);
	if (ENGINE_init(e) != 1) {
		ERR_clear_error();
		return fail(-EIO,
			    "the PKCS#11 module %s cannot be loaded (set "
			    "PKCS11_MODULE_PATH, or module-path= in the URI)",
			    module ? module : "of this system");
	}
	return 0;
}

static int get_engine(const char *module, ENGINE **ret)
{
	DROP(lock) pthread_mutex_t *held = lock(&engine_lock);
	ENGINE *e;
	int r;

	*ret = engine;
	if (engine)
		return 0;
	ENGINE_load_dynamic();
	e = ENGINE_by_id("pkcs11");
	ERR_clear_error();
	if (!e)
		return fail(-EIO, "OpenSSL's pkcs11 engine is not installed "
				  "(libengine-pkcs11-openssl on Debian)");
	r = start(e, module);
	if (r < 0) {
		ENGINE_free(e);
		return r;
	}
	*ret = engine = e;
	return 0;
}

/* It must not ask: a mount has no terminal, and we have asked before. */
static int no_prompt(UI *ui, UI_STRING *uis)
{
	return 0;
}

static EVP_PKEY *load_key(ENGINE *e, const char *uri)
{
	UI_METHOD *mute = UI_create_method("none");
	EVP_PKEY *key = NULL;

	if (mute && UI_method_set_reader(mute, no_prompt) == 0)
		key = ENGINE_load_private_key(e, uri, mute, NULL);
	if (mute)
		UI_destroy_method(mute);
	return key;
}

static int load(struct kek_pkcs11 *k)
{
	ENGINE *e;
	int r = get_engine(k->module, &e);

	if (r < 0)
		return blame(r, "KEK %s", k->base.name);
	if (k->pin &&
	    !ENGINE_ctrl_cmd_string(e, "PIN", (char *)secret_bytes(k->pin), 0))
		return fail(-EIO, "KEK %s: the pkcs11 engine takes no PIN",
			    k->base.name);
	k->key = load_key(e, k->uri);
	if (!k->key)
		return not_found(k);
	ERR_clear_error();
	if (!rsa_bits(k->key))
		return fail(-EIO, "KEK %s: it is no RSA key", k->base.name);
	return rsa_spki(k->key, &k->spki);
}

static void forget_key(struct kek_pkcs11 *k)
{
	EVP_PKEY_free(k->key);
	k->key = NULL;
}

struct unwrapping {
	struct kek_pkcs11 *k;
	const struct wrap *w;
	struct secret *bek;
};

static int unwrap(void *ctx)
{
	struct unwrapping *u = ctx;
	struct kek_pkcs11 *k = u->k;
	int reason, r = k->key ? 0 : load(k);

	if (r < 0)
		return r;
	if (u->w->has_spki && !digest_equal(&u->w->spki, &k->spki))
		return -ENOKEY;
	ERR_clear_error();
	r = rsa_unwrap(k->key, u->w, &u->bek);
	reason = look(device_failed);
	if (r != -ENOKEY || !reason)
		return r;
	forget_key(k);
	return fail(-EIO, "KEK %s: the token failed (PKCS#11 error 0x%x)",
		    k->base.name, (unsigned)reason);
}

static int pkcs11_unwrap(struct kek *base, const struct wrap *w,
			 struct secret **ret)
{
	struct unwrapping u = { .k = container_of(base, struct kek_pkcs11,
						  base),
				.w = w };
	int r = arena_run(unwrap, &u);

	if (r == 0)
		*ret = u.bek;
	return r;
}

/* Before its first use, nothing is known of it. */
static bool pkcs11_matches(struct kek *base, const struct wrap *w)
{
	struct kek_pkcs11 *k = container_of(base, struct kek_pkcs11, base);

	if (!k->key)
		return true;
	if (w->has_spki)
		return digest_equal(&w->spki, &k->spki);
	return w->size == (rsa_bits(k->key) + 7) / 8;
}

static void pkcs11_reset(struct kek *base)
{
	forget_key(container_of(base, struct kek_pkcs11, base));
}

static void pkcs11_close(struct kek *base)
{
	struct kek_pkcs11 *k = container_of(base, struct kek_pkcs11, base);

	forget_key(k);
	secret_close(k->pin);
	free(k->uri);
	free(k->module);
	free(k);
}

/* --- opening --- */

/* "module-path=…" out of the URI: not every version of the engine knows it. */
static int split_module(struct kek_pkcs11 *k)
{
	char *at = strcasestr(k->uri, "module-path=");
	size_t n, rest;

	if (!at || at == k->uri || !strchr("?&;", at[-1]))
		return 0;
	n = strcspn(at + 12, "&;");
	if (memchr(at + 12, '%', n))
		return fail(-EINVAL, "module-path= in a KEK's URI cannot have "
				     "%%-codes here: set PKCS11_MODULE_PATH");
	k->module = strndup(at + 12, n);
	if (!k->module)
		return fail(-ENOMEM, "out of memory");
	rest = strlen(at + 12 + n);
	if (rest)
		memmove(at, at + 13 + n, rest);
	else
		at[-1] = '\0';
	return 0;
}

static int terminated(const struct secret *s, struct secret **ret)
{
	size_t n = secret_size(s);
	int r = secret_new(n + 1, ret);

	if (r == 0)
		memcpy(secret_bytes(*ret),
		       secret_bytes((struct secret *)(uintptr_t)s), n);
	return r;
}

/* Given in some way, or asked for where there is a terminal; some tokens need none,
 * or have keys of their own for it. */
static int find_pin(struct kek_pkcs11 *k, struct secret *given,
		    const struct kek_pass *pass)
{
	DROP(secret) struct secret *pin = NULL;
	char prompt[KEK_NAME_MAX + 16];
	int r;

	if (given)
		return terminated(given, &k->pin);
	if (!kek_pass_given(pass) && strcasestr(k->uri, "pin-source="))
		return 0;
	snprintf(prompt, sizeof(prompt), "PIN of %s", k->base.name);
	r = kek_pass_get(pass, prompt, &pin);
	if (r == -ENOTTY)
		return 0;
	return r < 0 ? r : terminated(pin, &k->pin);
}

int kek_open_pkcs11(const char *uri, struct secret *pin,
		    const struct kek_pass *pass, struct kek **ret)
{
	DROP(secret) struct secret *given = pin;
	DROP(kek) struct kek *owned = NULL;
	struct kek_pkcs11 *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return fail(-ENOMEM, "out of memory");
	owned = &k->base;
	k->base.ops = &pkcs11_ops;
	k->uri = strdup(uri);
	if (!k->uri)
		return fail(-ENOMEM, "out of memory");
	r = split_module(k);
	snprintf(k->base.name, sizeof(k->base.name), "%s", k->uri);
	if (r == 0)
		r = find_pin(k, given, pass);
	if (r == 0)
		*ret = take(owned);
	return r;
}

static const struct kek_ops pkcs11_ops = {
	.name = "pkcs11",
	.matches = pkcs11_matches,
	.unwrap = pkcs11_unwrap,
	.reset = pkcs11_reset,
	.close = pkcs11_close,
};
