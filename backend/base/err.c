// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/parse.h"

#define VPRINTF(f) __attribute__((format(printf, f, 0)))

/* code 0: no sentence. */
static _Thread_local struct err_saved slot;

/* A sentence cut at its maximum must not end in half a character. */
static void cut(char text[static ERR_MAX])
{
	size_t len = ERR_MAX - 1;

	for (size_t back = 1; back <= 3; back++) {
		uint8_t c = (uint8_t)text[len - back];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if (c < 0x80)
			return;
		if (c >= 0xc0) {
			if (need > back)
				text[len - back] = '\0';
			return;
		}
	}
}

VPRINTF(2)
static void format(char out[static ERR_MAX], const char *fmt, va_list ap)
{
	int n = vsnprintf(out, ERR_MAX, fmt, ap);

	if (n < 0)
		out[0] = '\0';
	else if (n >= ERR_MAX)
		cut(out);
}

/* head and tail may point into the slot: it is written last. */
static int install(int code, const char *head, const char *tail)
{
	char text[ERR_MAX];

	assert(code < 0);
	if (snprintf(text, sizeof(text), "%s%s%s", head, tail ? ": " : "",
		     tail ? tail : "") >= ERR_MAX)
		cut(text);
	printable(text);
	slot.code = code;
	memcpy(slot.text, text, sizeof(text));
	return code;
}

static const char *describe(int code, char *tmp, size_t size)
{
	return strerror_r(code < 0 ? -code : code, tmp, size);
}

int fail(int code, const char *fmt, ...)
{
	char head[ERR_MAX];
	va_list ap;

	va_start(ap, fmt);
	format(head, fmt, ap);
	va_end(ap);
	return install(code, head, NULL);
}

int blame(int code, const char *fmt, ...)
{
	char head[ERR_MAX];
	char tmp[128];
	va_list ap;

	va_start(ap, fmt);
	format(head, fmt, ap);
	va_end(ap);
	/*
	 * The code may differ from the slot's: callers translate (-EINVAL of a
	 * parser becomes their -EPROTO) and the sentence still says why.
	 */
	return install(code, head,
		       slot.code ? slot.text
				 : describe(code, tmp, sizeof(tmp)));
}

int advise(int code, const char *what)
{
	const char *text = err_text(code);
	size_t have = strlen(text), n = strlen(what);

	if (have >= n && !strcmp(text + have - n, what))
		return code;
	return fail(code, "%s; %s", text, what);
}

int fail_errno(int errno_value, const char *fmt, ...)
{
	char head[ERR_MAX];
	char tmp[128];
	va_list ap;

	va_start(ap, fmt);
	format(head, fmt, ap);
	va_end(ap);
	/* A call that failed without setting errno has failed all the same. */
	if (errno_value == 0)
		errno_value = EIO;
	if (errno_value < 0)
		errno_value = -errno_value;
	return install(-errno_value, head,
		       describe(errno_value, tmp, sizeof(tmp)));
}

const char *err_text(int r)
{
	static _Thread_local char tmp[128];

	/* A sentence left by another failure is not this one's. */
	if (slot.code && slot.code == r)
		return slot.text;
	return describe(r, tmp, sizeof(tmp));
}

void err_clear(void)
{
	slot.code = 0;
	slot.text[0] = '\0';
}

bool err_is_away(int r)
{
	return r == -EAGAIN || r == -ENXIO;
}

void err_save(int code, struct err_saved *out)
{
	const char *text = err_text(code);
	size_t n = strnlen(text, ERR_MAX - 1);

	out->code = code;
	memmove(out->text, text, n);
	out->text[n] = '\0';
}

int err_load(const struct err_saved *in)
{
	slot.code = in->code;
	memmove(slot.text, in->text, sizeof(slot.text));
	slot.text[ERR_MAX - 1] = '\0';
	return in->code;
}
