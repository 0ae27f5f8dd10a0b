// SPDX-License-Identifier: GPL-3.0-or-later
/* The URL of a vault on an object service. */
#include "backend/store/remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"

/* Where a secret may stand: nothing of it is repeated. */
static int no_secrets(const char *url)
{
	if (strpbrk(url, "?#"))
		return fail(-EINVAL,
			    "a vault's URL has no query: put a SAS in "
			    "AZURE_STORAGE_SAS_TOKEN, or in the file of "
			    "--sas-file");
	if (strchr(url, '@'))
		return fail(-EINVAL,
			    "a vault's URL has no user and no password: put "
			    "keys in AZURE_STORAGE_KEY, or in "
			    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
	return 0;
}

static bool part_ok(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') ||
		      (p[i] >= 'A' && p[i] <= 'Z') ||
		      (p[i] >= '0' && p[i] <= '9') || strchr("-._$", p[i])))
			return false;
	return n <= 63 && !(n && *p == '.');
}

static int bad_url(const char *url, const char *scheme, size_t parts)
{
	return fail(-EINVAL, "%s: a vault is %s://%s[/PREFIX] here", url,
		    scheme, parts == 2 ? "ACCOUNT/CONTAINER" : "BUCKET");
}

/* "/a//b/" to "a/b/". */
static int set_prefix(const char *p, char **out)
{
	DROP(buf) struct buf b = BUF_INIT(REMOTE_PREFIX_MAX + 1);

	while (*(p += strspn(p, "/"))) {
		size_t n = strcspn(p, "/");

		if (!store_component_ok(p, n))
			return fail(-EINVAL,
				    "'%.*s' cannot be a folder of a vault's "
				    "URL",
				    (int)min_u64(n, 200), p);
		buf_add(&b, p, n);
		buf_u8(&b, '/');
		p += n;
	}
	*out = b.failed ? NULL : strdup(buf_cstr(&b));
	return *out ? 0 : fail(-EINVAL, "a vault's URL is too long");
}

int remote_url_parse(const char *url, const char *scheme, size_t parts,
		     struct remote_url *out)
{
	DROP(remote_url) struct remote_url u = { 0 };
	const char *p = strchr(url, ':') + 1;
	int n, r = no_secrets(url);

	if (r < 0)
		return r;
	if (strncmp(p, "//", 2) != 0)
		return bad_url(url, scheme, parts);
	p += 2;
	for (size_t i = 0; i < parts; i++) {
		size_t len = strcspn(p, "/");

		/* Azure's account may be left to its variable. */
		if (!part_ok(p, len) || (!len && !(parts == 2 && i == 0)))
			return bad_url(url, scheme, parts);
		u.part[i] = strndup(p, len);
		if (!u.part[i])
			return fail(-ENOMEM, "out of memory");
		p += len;
		p += i + 1 < parts && *p == '/';
	}
	r = set_prefix(p, &u.prefix);
	if (r < 0)
		return r;
	n = (int)strlen(u.prefix);
	n = asprintf(&u.shown, "%s://%s%s%s%s%.*s", scheme, u.part[0],
		     parts == 2 ? "/" : "", parts == 2 ? u.part[1] : "",
		     n ? "/" : "", n ? n - 1 : 0, u.prefix);
	if (n < 0) {
		u.shown = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	*out = u;
	u = (struct remote_url){ 0 };
	return 0;
}

void remote_url_release(struct remote_url *u)
{
	free(u->shown);
	free(u->part[0]);
	free(u->part[1]);
	free(u->prefix);
	*u = (struct remote_url){ 0 };
}
