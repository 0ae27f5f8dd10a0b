// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Each function of libcurl that we call, under its own name, so that its header and the
 * checks of types in it hold as they are: who calls one that is not here does not link.
 */
#include "backend/store/curl.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Since 7.16 of 2006 its ABI has not changed. */
#define LIBRARY "libcurl.so.4"

/* The headers' macros of these names check arguments, and are not wanted here. */
#undef curl_easy_getinfo
#undef curl_easy_setopt
#undef curl_multi_setopt

#define FUNCTIONS(F)                                                           \
	F(curl_easy_cleanup)                                                   \
	F(curl_easy_getinfo)                                                   \
	F(curl_easy_init)                                                      \
	F(curl_easy_setopt)                                                    \
	F(curl_easy_strerror)                                                  \
	F(curl_global_init_mem)                                                \
	F(curl_multi_add_handle)                                               \
	F(curl_multi_cleanup)                                                  \
	F(curl_multi_info_read)                                                \
	F(curl_multi_init)                                                     \
	F(curl_multi_perform)                                                  \
	F(curl_multi_poll)                                                     \
	F(curl_multi_remove_handle)                                            \
	F(curl_multi_setopt)                                                   \
	F(curl_multi_wakeup)                                                   \
	F(curl_slist_append)                                                   \
	F(curl_slist_free_all)                                                 \
	F(curl_version_info)

#define POINTER(name) __typeof__(name) *name;
static struct {
	FUNCTIONS(POINTER)
} in;

/* Of the TLS library that came with it; NULL: it is another one. */
static __typeof__(SSL_CTX_set_options) *set_options;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char failure[200]; /* empty: it is there */

static void *find(void *library, const char *name)
{
	void *f = dlsym(library, name);

	if (!f && !*failure)
		snprintf(failure, sizeof(failure),
			 "%s: it has no %s; install libcurl 7.68 or newer",
			 LIBRARY, name);
	return f;
}

static void load(void)
{
	/* Never closed: it may have registered what runs at exit. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(failure, sizeof(failure),
			 "%s; install libcurl, which vaults on a server need",
			 dlerror());
		return;
	}
#define FIND(name) in.name = (__typeof__(name) *)find(library, #name);
	FUNCTIONS(FIND)
	set_options = dlsym(library, "SSL_CTX_set_options");
}

int curl_load(void)
{
	pthread_once(&once, load);
	return *failure ? fail(-ENOTSUP, "%s", failure) : 0;
}

/* --- memory --- */

/*
 * libcurl copies what a request has (its fields, its URL) several times, and frees that
 * as it is. Which of it was a secret it does not know; we know of which client the
 * thread is that it frees it in.
 */
static _Thread_local bool wiping;

void curl_wiping(bool on)
{
	wiping = on;
}

static void wiped_free(void *p)
{
	if (wiping && p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *wiped_realloc(void *p, size_t size)
{
	size_t old;
	void *to;

	if (!wiping || !p)
		return realloc(p, size);
	old = malloc_usable_size(p);
	if (size && size <= old)
		return p;
	to = size ? malloc(size) : NULL;
	if (size && !to)
		return NULL;
	if (to)
		memcpy(to, p, old);
	wiped_free(p);
	return to;
}

CURLcode curl_start(void)
{
	return in.curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiped_free,
				       wiped_realloc, strdup, calloc);
}

/* --- calls --- */

CURL *curl_easy_init(void)
{
	return in.curl_easy_init();
}

void curl_easy_cleanup(CURL *h)
{
	in.curl_easy_cleanup(h);
}

const char *curl_easy_strerror(CURLcode code)
{
	return in.curl_easy_strerror(code);
}

/* Options are numbered by the type of their one argument. */
#define TYPE_OF(option) ((int)(option) / 10000 * 10000)

CURLcode curl_easy_setopt(CURL *h, CURLoption option, ...)
{
	CURLcode code;
	va_list ap;

	va_start(ap, option);
	switch (TYPE_OF(option)) {
	case CURLOPTTYPE_LONG:
		code = in.curl_easy_setopt(h, option, va_arg(ap, long));
		break;
	case CURLOPTTYPE_OFF_T:
		code = in.curl_easy_setopt(h, option, va_arg(ap, curl_off_t));
		break;
	default:
		code = in.curl_easy_setopt(h, option, va_arg(ap, void *));
	}
	va_end(ap);
	return code;
}

CURLcode curl_easy_getinfo(CURL *h, CURLINFO info, ...)
{
	CURLcode code;
	va_list ap;

	va_start(ap, info);
	code = in.curl_easy_getinfo(h, info, va_arg(ap, void *));
	va_end(ap);
	return code;
}

CURLM *curl_multi_init(void)
{
	return in.curl_multi_init();
}

CURLMcode curl_multi_cleanup(CURLM *m)
{
	return in.curl_multi_cleanup(m);
}

CURLMcode curl_multi_add_handle(CURLM *m, CURL *h)
{
	return in.curl_multi_add_handle(m, h);
}

CURLMcode curl_multi_remove_handle(CURLM *m, CURL *h)
{
	return in.curl_multi_remove_handle(m, h);
}

CURLMcode curl_multi_setopt(CURLM *m, CURLMoption option, ...)
{
	CURLMcode code;
	va_list ap;

	va_start(ap, option);
	if (TYPE_OF(option) == CURLOPTTYPE_LONG)
		code = in.curl_multi_setopt(m, option, va_arg(ap, long));
	else
		code = in.curl_multi_setopt(m, option, va_arg(ap, void *));
	va_end(ap);
	return code;
}

CURLMcode curl_multi_perform(CURLM *m, int *running)
{
	return in.curl_multi_perform(m, running);
}

CURLMcode curl_multi_poll(CURLM *m, struct curl_waitfd fds[], unsigned nfds,
			  int ms, int *ready)
{
	return in.curl_multi_poll(m, fds, nfds, ms, ready);
}

CURLMcode curl_multi_wakeup(CURLM *m)
{
	return in.curl_multi_wakeup(m);
}

CURLMsg *curl_multi_info_read(CURLM *m, int *left)
{
	return in.curl_multi_info_read(m, left);
}

struct curl_slist *curl_slist_append(struct curl_slist *l, const char *text)
{
	return in.curl_slist_append(l, text);
}

void curl_slist_free_all(struct curl_slist *l)
{
	in.curl_slist_free_all(l);
}

bool curl_has_openssl(void)
{
	const char *tls = in.curl_version_info(CURLVERSION_NOW)->ssl_version;

	return set_options && tls && !strncmp(tls, "OpenSSL/", 8);
}

void curl_tls_forget(void *ssl_ctx)
{
	set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
}
