// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/kek.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/parse.h"
#include "crypt/kek_impl.h"

/* --- ",pass-file=F" and ",pass-fd=N" --- */

/* Cuts it off; paths may have commas, so only a known word at the end counts. */
static int split_pass(char *spec, struct kek_pass *pass)
{
	char *comma = strrchr(spec, ',');
	uint64_t fd;

	*pass = (struct kek_pass){ .fd = -1 };
	if (!comma)
		return 0;
	if (!strncmp(comma, ",pass-file=", 11)) {
		pass->file = comma + 11;
		if (!*pass->file)
			return fail(-EINVAL, "pass-file= names no file");
	} else if (!strncmp(comma, ",pass-fd=", 9)) {
		if (parse_u64(comma + 9, &fd) < 0 || fd > INT32_MAX)
			return fail(-EINVAL, "pass-fd= is no number of a file "
					     "descriptor");
		pass->fd = (int)fd;
	} else {
		return 0;
	}
	*comma = '\0';
	return 0;
}

/* --- "pin-value=" of a PKCS#11 URI (RFC 7512) --- */

static int unhex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode_pin(const char *p, size_t n, struct secret **ret)
{
	DROP(secret) struct secret *s = NULL;
	DROP(secret) struct secret *exact = NULL;
	size_t m = 0;
	int r = secret_new(n + 1, &s);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		int high = p[i] == '%' && n - i > 2 ? unhex(p[i + 1]) : -1;
		int low = high >= 0 ? unhex(p[i + 2]) : -1;

		if (low >= 0)
			i += 2;
		secret_bytes(s)[m++] = low >= 0 ? (uint8_t)(high << 4 | low)
						: (uint8_t)p[i];
	}
	if (m == 0)
		return fail(-EINVAL, "pin-value= is empty");
	r = secret_copy(secret_bytes(s), m, &exact);
	if (r == 0)
		*ret = take(exact);
	return r;
}

/* Takes it out of the URI. */
static int split_pin(char *uri, bool from_file, struct secret **pin)
{
	char *at = strcasestr(uri, "pin-value=");
	size_t n, len;
	int r;

	if (!at || at == uri || !strchr(":;?&", at[-1]))
		return 0;
	n = strcspn(at + 10, "&;");
	if (!from_file) {
		/* It is in the process's arguments, for all to see: nothing
		 * is gained by wiping it here. */
		return fail(-EINVAL,
			    "a pin-value in an argument can be read by all "
			    "users of this host: use ,pass-file= or ,pass-fd=, "
			    "or put it into a file for --keys");
	}
	r = decode_pin(at + 10, n, pin);
	len = strlen(at);
	/* With the separator before it, unless another attribute follows. */
	explicit_bzero(at, 10 + n);
	if (at[10 + n])
		memmove(at, at + 11 + n, len - (10 + n));
	else
		at[-1] = '\0';
	explicit_bzero(at + strlen(at), len - strlen(at));
	return r;
}

static int open_pkcs11(char *spec, bool from_file, const struct kek_pass *pass,
		       struct kek **ret)
{
	DROP(secret) struct secret *pin = NULL;
	int r = split_pin(spec, from_file, &pin);

	if (r < 0)
		return r;
	return kek_open_pkcs11(spec, take(pin), pass, ret);
}

int kek_open(char *spec, bool from_file, struct kek **ret)
{
	struct kek_pass pass;
	int r = split_pass(spec, &pass);

	if (r < 0)
		return r;
	if (!strncasecmp(spec, "pkcs11:", 7))
		return open_pkcs11(spec, from_file, &pass, ret);
	if (!strncasecmp(spec, "https:", 6))
		return kek_open_vault(spec, &pass, ret);
	if (!*spec)
		return fail(-EINVAL, "a KEK is a file, a pkcs11: URI or an "
				     "https: URL, not empty");
	return kek_open_file(spec, &pass, ret);
}

bool kek_matches(struct kek *k, const struct wrap *w)
{
	return k->ops->matches(k, w);
}

int kek_unwrap(struct kek *k, const struct wrap *w, struct secret **ret)
{
	return k->ops->unwrap(k, w, ret);
}

int kek_fetch(struct kek *k, const struct escrow_record *ref,
	      struct escrow_record *out, struct secret **bek)
{
	return k->ops->fetch ? k->ops->fetch(k, ref, out, bek) : -ENOKEY;
}

void kek_reset(struct kek *k)
{
	if (k->ops->reset)
		k->ops->reset(k);
}

void kek_close(struct kek *k)
{
	if (k)
		k->ops->close(k);
}
