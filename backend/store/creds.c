// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/store/creds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/base/base64.h"
#include "backend/base/buf.h"
#include "backend/base/err.h"

#define FILE_MAX 65536
#define KEY_MAX 1024
#define AZURE_SUFFIX "core.windows.net"

/* --- the environment --- */

/* Copies it, then leaves nothing of it behind. */
static int take_variable(const char *name, struct secret **to)
{
	char *value = getenv(name);
	size_t n = value ? strlen(value) : 0;
	int r = 0;

	if (n)
		r = secret_new(n, to);
	if (r < 0)
		return blame(r, "%s", name);
	if (n) {
		memcpy(secret_bytes(*to), value, n);
		explicit_bzero(value, n);
	}
	if (value && unsetenv(name) < 0)
		return fail_errno(errno, "%s", name);
	return 0;
}

int creds_env_take(struct creds_env *out)
{
	struct creds_env e = { 0 };
	const struct {
		const char *name;
		struct secret **to;
	} all[] = {
		{ "AZURE_STORAGE_CONNECTION_STRING", &e.connection },
		{ "AZURE_STORAGE_KEY", &e.azure_key },
		{ "AZURE_STORAGE_SAS_TOKEN", &e.sas },
		{ "AWS_ACCESS_KEY_ID", &e.aws_id },
		{ "AWS_SECRET_ACCESS_KEY", &e.aws_key },
		{ "AWS_SESSION_TOKEN", &e.aws_token },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++)
		r = take_variable(all[i].name, all[i].to);
	if (r < 0) {
		creds_env_release(&e);
		return r;
	}
	*out = e;
	return 0;
}

void creds_env_release(struct creds_env *e)
{
	secret_close(e->connection);
	secret_close(e->azure_key);
	secret_close(e->sas);
	secret_close(e->aws_id);
	secret_close(e->aws_key);
	secret_close(e->aws_token);
	*e = (struct creds_env){ 0 };
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct creds_env process;
static struct err_saved process_failed;

static void take_process(void)
{
	int r = creds_env_take(&process);

	if (r < 0)
		err_save(r, &process_failed);
}

int creds_env(const struct creds_env **ret)
{
	pthread_once(&once, take_process);
	if (process_failed.code)
		return err_load(&process_failed);
	*ret = &process;
	return 0;
}

/* --- texts --- */

static struct creds_text text_of(struct secret *s)
{
	return s ? (struct creds_text){ (char *)secret_bytes(s),
					secret_size(s) }
		 : (struct creds_text){ 0 };
}

static struct creds_text trimmed(const char *p, const char *end)
{
	while (p < end && (unsigned char)*p <= ' ')
		p++;
	while (end > p && (unsigned char)end[-1] <= ' ')
		end--;
	return (struct creds_text){ p, (size_t)(end - p) };
}

static bool is(struct creds_text t, const char *word)
{
	return t.len == strlen(word) && !memcmp(t.p, word, t.len);
}

static bool is_nocase(struct creds_text t, const char *word)
{
	return t.len == strlen(word) && !strncasecmp(t.p, word, t.len);
}

static const char *line_end(const char *p, const char *end)
{
	const char *nl = memchr(p, '\n', (size_t)(end - p));

	return nl ? nl : end;
}

struct creds_text creds_ini(const char *text, size_t len, const char *section,
			    const char *key)
{
	struct creds_text found = { 0 };
	const char *end = text + len, *next;
	bool here = false;

	for (const char *p = text; p < end; p = next + 1) {
		struct creds_text line, name;
		const char *eq;

		next = line_end(p, end);
		line = trimmed(p, next);
		if (!line.len || *line.p == '#' || *line.p == ';')
			continue;
		if (*line.p == '[') {
			const char *close = memchr(line.p, ']', line.len);

			here = close && is(trimmed(line.p + 1, close), section);
			continue;
		}
		eq = memchr(line.p, '=', line.len);
		if (!here || !eq)
			continue;
		name = trimmed(line.p, eq);
		if (is(name, key))
			found = trimmed(eq + 1, line.p + line.len);
	}
	return found.len ? found : (struct creds_text){ 0 };
}

struct creds_text creds_pair(const char *text, size_t len, const char *name)
{
	const char *end = text + len, *next;

	for (const char *p = text; p < end; p = next + 1) {
		const char *eq;

		next = memchr(p, ';', (size_t)(end - p));
		next = next ? next : end;
		eq = memchr(p, '=', (size_t)(next - p));
		if (eq && is_nocase(trimmed(p, eq), name)) {
			struct creds_text t = trimmed(eq + 1, next);

			return t.len ? t : (struct creds_text){ 0 };
		}
	}
	return (struct creds_text){ 0 };
}

static int dup_text(struct creds_text t, char **to)
{
	free(*to);
	*to = strndup(t.p, t.len);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

static int dup_secret(struct creds_text t, struct secret **to)
{
	int r = secret_new(t.len, to);

	if (r == 0)
		memcpy(secret_bytes(*to), t.p, t.len);
	return r;
}

/* What goes into a header or a URL must stay on its line. */
static bool printing(struct creds_text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.p[i] <= ' ' || t.p[i] >= 0x7f)
			return false;
	return t.len > 0;
}

/* --- files --- */

/* "$VARIABLE", or HOME/otherwise; NULL where there is no home. */
static int config_path(const char *variable, const char *in_it,
		       const char *otherwise, char **ret)
{
	const char *dir = getenv(variable), *home = getenv("HOME");
	int n = 0;

	*ret = NULL;
	if (dir && *dir)
		n = asprintf(ret, "%s%s", dir, in_it);
	else if (home && *home)
		n = asprintf(ret, "%s/%s", home, otherwise);
	if (n < 0) {
		*ret = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

/* *ret is NULL if there is none. */
static int read_secret_file(const char *path, struct secret **ret)
{
	int r;

	if (!path || access(path, F_OK) < 0)
		return 0;
	r = secret_read_file(path, FILE_MAX, ret);
	return r;
}

/* One that holds no secrets. */
static int read_plain_file(const char *path, struct buf *out)
{
	DROP(fd) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (fd < 0)
		return 0;
	for (;;) {
		uint8_t *at = buf_reserve(out, 4096);

		if (!at)
			return buf_check(out, path);
		n = read(fd, at, 4096);
		if (n < 0)
			return fail_errno(errno, "%s", path);
		if (!n)
			return 0;
		out->len += (size_t)n;
	}
}

/* --- endpoints --- */

static bool loopback(const char *url)
{
	const char *p = strstr(url, "://");

	p = p ? p + 3 : url;
	return !strncmp(p, "127.", 4) || !strncasecmp(p, "localhost", 9) ||
	       !strncmp(p, "[::1]", 5);
}

/* Without a slash at its end, and with nothing that does not belong there. */
static int set_endpoint(const char *from, struct creds_text t, char **to)
{
	while (t.len && t.p[t.len - 1] == '/')
		t.len--;
	/* What it says may be a secret, and is not repeated. */
	if (!printing(t) || memchr(t.p, '?', t.len) ||
	    memchr(t.p, '@', t.len) || memchr(t.p, '#', t.len) || t.len < 9 ||
	    (strncasecmp(t.p, "http://", 7) != 0 &&
	     strncasecmp(t.p, "https://", 8) != 0))
		return fail(-EINVAL,
			    "%s is an URL like https://host[:port][/path], "
			    "without user, password or query",
			    from);
	return dup_text(t, to);
}

static struct creds_text text(const char *s)
{
	return (struct creds_text){ s, s ? strlen(s) : 0 };
}

/* --- Azure --- */

/* An address rather than a name: there the account is in the path. */
static bool host_is_address(const char *url)
{
	const char *p = strstr(url, "://") + 3;
	size_t n = strspn(p, "0123456789.");

	return *p == '[' || !p[n] || p[n] == ':' || p[n] == '/' ||
	       !strncasecmp(p, "localhost", 9);
}

static int add_account(struct creds_azure *c)
{
	char *path = strchr(strstr(c->endpoint, "://") + 3, '/'), *more;

	if (path || !host_is_address(c->endpoint))
		return 0;
	if (asprintf(&more, "%s/%s", c->endpoint, c->account) < 0)
		return fail(-ENOMEM, "out of memory");
	free(c->endpoint);
	c->endpoint = more;
	return 0;
}

/* "ACCOUNT-secondary" where the account stands in the endpoint. */
static int derive_secondary(struct creds_azure *c)
{
	const char *p = strstr(c->endpoint, c->account);
	size_t n = strlen(c->account);

	/* Where it is a word of its own. */
	while (p && ((p[-1] != '/' && p[-1] != '.') ||
		     (p[n] && p[n] != '.' && p[n] != '/')))
		p = strstr(p + 1, c->account);
	if (!p)
		return 0;
	if (asprintf(&c->secondary, "%.*s%s-secondary%s",
		     (int)(p - c->endpoint), c->endpoint, c->account,
		     p + n) < 0) {
		c->secondary = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

static int azure_endpoint(struct creds_azure *c, const struct store_options *o,
			  struct creds_text conn)
{
	struct creds_text e = creds_pair(conn.p, conn.len, "BlobEndpoint");
	struct creds_text suffix =
		creds_pair(conn.p, conn.len, "EndpointSuffix");
	struct creds_text scheme =
		creds_pair(conn.p, conn.len, "DefaultEndpointsProtocol");
	struct creds_text second =
		creds_pair(conn.p, conn.len, "BlobSecondaryEndpoint");
	const char *given = o->endpoint;
	int r;

	if (!given)
		given = getenv("AZURE_STORAGE_SERVICE_ENDPOINT");
	if (given && *given)
		r = set_endpoint(o->endpoint ? "--endpoint"
					     : "AZURE_STORAGE_SERVICE_ENDPOINT",
				 text(given), &c->endpoint);
	else if (e.p)
		r = set_endpoint("BlobEndpoint in the connection string", e,
				 &c->endpoint);
	else if (asprintf(&c->endpoint, "%s://%s.blob.%.*s",
			  scheme.p && is_nocase(scheme, "http") ? "http"
								: "https",
			  c->account,
			  suffix.p ? (int)suffix.len
				   : (int)strlen(AZURE_SUFFIX),
			  suffix.p ? suffix.p : AZURE_SUFFIX) < 0) {
		c->endpoint = NULL;
		r = fail(-ENOMEM, "out of memory");
	} else {
		r = 0;
	}
	if (r == 0)
		r = add_account(c);
	if (r == 0 && second.p && !o->endpoint)
		return set_endpoint(
			"BlobSecondaryEndpoint in the connection string",
			second, &c->secondary);
	return r < 0 ? r : derive_secondary(c);
}

static int set_key(struct creds_azure *c, const char *from, struct creds_text t)
{
	DROP(secret) struct secret *raw = NULL;
	size_t n = 0;
	int r = secret_new(BASE64_DECODED_MAX(KEY_MAX), &raw);

	if (r < 0)
		return r;
	if (t.len > KEY_MAX ||
	    !base64_decode(t.p, t.len, secret_bytes(raw), &n) || !n)
		return fail(-EINVAL,
			    "%s is not the key of an account: those "
			    "are base64",
			    from);
	return dup_secret((struct creds_text){ (char *)secret_bytes(raw), n },
			  &c->key);
}

static int set_sas(struct creds_azure *c, const char *from, struct creds_text t)
{
	t = trimmed(t.p, t.p + t.len);
	if (t.len && *t.p == '?') {
		t.p++;
		t.len--;
	}
	if (!printing(t) || !memmem(t.p, t.len, "sig=", 4) ||
	    memchr(t.p, '#', t.len) || memmem(t.p, t.len, "://", 3))
		return fail(-EINVAL,
			    "%s is not a SAS: that is a text like "
			    "sv=...&sig=..., without the URL before "
			    "it",
			    from);
	return dup_secret(t, &c->sas);
}

static int sas_file(struct creds_azure *c, const char *path)
{
	DROP(secret) struct secret *s = NULL;
	int r = secret_read_file(path, FILE_MAX, &s);

	if (r < 0)
		return blame(r, "--sas-file");
	return set_sas(c, path, text_of(s));
}

static int connection_string(struct creds_azure *c, struct creds_text conn)
{
	static const char from[] = "AZURE_STORAGE_CONNECTION_STRING";
	struct creds_text name = creds_pair(conn.p, conn.len, "AccountName");
	struct creds_text key = creds_pair(conn.p, conn.len, "AccountKey");
	struct creds_text sas =
		creds_pair(conn.p, conn.len, "SharedAccessSignature");

	if (name.p && !is(name, c->account))
		return fail(-EACCES, "%s is of account '%.*s', not of '%s'",
			    from, (int)min_u64(name.len, 24), name.p,
			    c->account);
	if (key.p)
		return set_key(c, from, key);
	if (sas.p)
		return set_sas(c, from, sas);
	return fail(-EINVAL,
		    "%s has neither AccountKey nor "
		    "SharedAccessSignature",
		    from);
}

static int azure_config(struct creds_azure *c)
{
	DROP(mem) char *path = NULL;
	DROP(secret) struct secret *file = NULL;
	struct creds_text f, account, key, sas;
	int r = config_path("AZURE_CONFIG_DIR", "/config", ".azure/config",
			    &path);

	if (r == 0)
		r = read_secret_file(path, &file);
	if (r < 0 || !file)
		return r;
	f = text_of(file);
	account = creds_ini(f.p, f.len, "storage", "account");
	key = creds_ini(f.p, f.len, "storage", "key");
	sas = creds_ini(f.p, f.len, "storage", "sas_token");
	if (account.p && !is(account, c->account))
		return 0;
	if (key.p)
		return set_key(c, path, key);
	return sas.p ? set_sas(c, path, sas) : 0;
}

static int azure_secret(const struct creds_env *env,
			const struct store_options *o, struct creds_azure *c)
{
	const char *other = getenv("AZURE_STORAGE_ACCOUNT");
	int r;

	if (o->sas_file)
		return sas_file(c, o->sas_file);
	if (env->connection)
		return connection_string(c, text_of(env->connection));
	if ((env->azure_key || env->sas) && other && *other &&
	    strcmp(other, c->account) != 0)
		return fail(-EACCES,
			    "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN is "
			    "of account '%.24s', as AZURE_STORAGE_ACCOUNT "
			    "says, not of '%s'",
			    other, c->account);
	if (env->azure_key)
		return set_key(c, "AZURE_STORAGE_KEY", text_of(env->azure_key));
	if (env->sas)
		return set_sas(c, "AZURE_STORAGE_SAS_TOKEN", text_of(env->sas));
	r = azure_config(c);
	if (r < 0 || c->key || c->sas || o->bearer)
		return r;
	return fail(-EACCES,
		    "nothing lets us into account '%s': set AZURE_STORAGE_KEY, "
		    "AZURE_STORAGE_CONNECTION_STRING or "
		    "AZURE_STORAGE_SAS_TOKEN, or give --sas-file",
		    c->account);
}

static int azure_account(const struct creds_env *env, const char *account,
			 struct creds_azure *c)
{
	struct creds_text conn = text_of(env->connection);
	struct creds_text name = creds_pair(conn.p, conn.len, "AccountName");
	const char *other = getenv("AZURE_STORAGE_ACCOUNT");

	if (*account)
		return dup_text(text(account), &c->account);
	if (name.p)
		return dup_text(name, &c->account);
	if (other && *other)
		return dup_text(text(other), &c->account);
	return fail(-EINVAL, "no account is named: az://ACCOUNT/CONTAINER, or "
			     "AZURE_STORAGE_ACCOUNT");
}

/* Whoever sees a SAS or a bearer on the way has it. */
static int check_clear(const struct creds_azure *c,
		       const struct store_options *o)
{
	if (strncasecmp(c->endpoint, "http://", 7) != 0 ||
	    loopback(c->endpoint) || c->key)
		return 0;
	return fail(-EACCES, "a SAS or a token is not sent over http: use "
			     "https, or the key of the account, which only "
			     "signs");
}

int creds_azure(const struct creds_env *env, const char *account,
		const struct store_options *o, struct creds_azure *out)
{
	struct creds_azure c = { 0 };
	int r = azure_account(env, account, &c);

	if (r == 0)
		r = azure_endpoint(&c, o, text_of(env->connection));
	if (r == 0)
		r = azure_secret(env, o, &c);
	if (r == 0)
		r = check_clear(&c, o);
	if (r < 0) {
		creds_azure_release(&c);
		return r;
	}
	*out = c;
	return 0;
}

void creds_azure_release(struct creds_azure *c)
{
	free(c->account);
	free(c->endpoint);
	free(c->secondary);
	secret_close(c->key);
	secret_close(c->sas);
	*c = (struct creds_azure){ 0 };
}

/* --- S3 --- */

static const char *variable(const char *a, const char *b)
{
	const char *v = getenv(a);

	if (v && *v)
		return v;
	v = b ? getenv(b) : NULL;
	return v && *v ? v : NULL;
}

static const char *profile_name(void)
{
	const char *p = variable("AWS_PROFILE", "AWS_DEFAULT_PROFILE");

	return p ? p : "default";
}

static int s3_three(struct creds_s3 *c, const char *from, struct creds_text id,
		    struct creds_text key, struct creds_text token)
{
	int r;

	if (!printing(id) || memchr(id.p, '/', id.len) || !printing(key) ||
	    (token.p && !printing(token)))
		return fail(-EINVAL, "%s: not a key id with its secret key",
			    from);
	r = dup_text(id, &c->key_id);
	if (r == 0)
		r = dup_secret(key, &c->key);
	if (r == 0 && token.p)
		r = dup_secret(token, &c->token);
	return r;
}

static int s3_file(struct creds_s3 *c)
{
	DROP(mem) char *path = NULL;
	DROP(secret) struct secret *file = NULL;
	const char *section = profile_name();
	struct creds_text f, id, key;
	int r = config_path("AWS_SHARED_CREDENTIALS_FILE", "",
			    ".aws/credentials", &path);

	if (r == 0)
		r = read_secret_file(path, &file);
	if (r < 0)
		return r;
	f = text_of(file);
	id = creds_ini(f.p, f.len, section, "aws_access_key_id");
	key = creds_ini(f.p, f.len, section, "aws_secret_access_key");
	if (id.p && key.p)
		return s3_three(c, path, id, key,
				creds_ini(f.p, f.len, section,
					  "aws_session_token"));
	return fail(-EACCES,
		    "nothing lets us in: set AWS_ACCESS_KEY_ID and "
		    "AWS_SECRET_ACCESS_KEY, or put them under [%s] in %s",
		    section, path ? path : "~/.aws/credentials");
}

static int s3_place(struct creds_s3 *c, const struct store_options *o)
{
	DROP(buf) struct buf file = BUF_INIT(FILE_MAX);
	DROP(mem) char *path = NULL, *section = NULL;
	const char *region = variable("AWS_REGION", "AWS_DEFAULT_REGION");
	const char *endpoint =
		variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
	const char *profile = profile_name();
	struct creds_text in_file, t;
	int r = config_path("AWS_CONFIG_FILE", "", ".aws/config", &path);

	if (r == 0)
		r = read_plain_file(path, &file);
	if (r < 0)
		return r;
	if (asprintf(&section, "%s%s",
		     strcmp(profile, "default") ? "profile " : "",
		     profile) < 0) {
		section = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	in_file = creds_ini((char *)file.data, file.len, section, "region");
	t = region ? text(region) : in_file.p ? in_file : text("us-east-1");
	if (!printing(t) || memchr(t.p, '/', t.len))
		return fail(-EINVAL, "AWS_REGION: '%.*s' is no region",
			    (int)min_u64(t.len, 64), t.p);
	r = dup_text(t, &c->region);
	if (r < 0)
		return r;
	in_file =
		creds_ini((char *)file.data, file.len, section, "endpoint_url");
	if (o->endpoint)
		return set_endpoint("--endpoint", text(o->endpoint),
				    &c->endpoint);
	if (endpoint || in_file.p)
		return set_endpoint("AWS_ENDPOINT_URL",
				    endpoint ? text(endpoint) : in_file,
				    &c->endpoint);
	c->own = true;
	if (asprintf(&c->endpoint, "https://s3.%s.amazonaws.com%s", c->region,
		     !strncmp(c->region, "cn-", 3) ? ".cn" : "") < 0) {
		c->endpoint = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	return 0;
}

int creds_s3(const struct creds_env *env, const struct store_options *o,
	     struct creds_s3 *out)
{
	struct creds_s3 c = { 0 };
	int r = s3_place(&c, o);

	if (r == 0 && env->aws_id && env->aws_key)
		r = s3_three(&c, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
			     text_of(env->aws_id), text_of(env->aws_key),
			     text_of(env->aws_token));
	else if (r == 0)
		r = s3_file(&c);
	if (r < 0) {
		creds_s3_release(&c);
		return r;
	}
	*out = c;
	return 0;
}

void creds_s3_release(struct creds_s3 *c)
{
	free(c->key_id);
	free(c->region);
	free(c->endpoint);
	secret_close(c->key);
	secret_close(c->token);
	*c = (struct creds_s3){ 0 };
}
