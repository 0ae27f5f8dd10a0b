// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Each way to a token is a row of `ways`: its own answer tells "not there" (-ENOENT,
 * the next is tried) from "there, and refused", which ends the search: somebody who
 * set a secret that has expired wants to hear that, and not that IMDS does not
 * answer.
 */
#include "backend/azure/credential.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/base/cancel.h"
#include "backend/base/err.h"
#include "backend/base/json.h"
#include "backend/base/jwt.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"
#include "backend/base/secret.h"

#define ANSWER_MAX SECRET_MAX
#define FILE_MAX 32768
#define ARC_KEY_MAX 4096
#define ARC_FOLDER "/var/opt/azcmagent/tokens/"
#define ARC_AGENT "/var/opt/azcmagent/bin/himds"
#define ARC_ENDPOINT "http://127.0.0.1:40342/metadata/identity/oauth2/token"
#define IMDS_HOST "http://169.254.169.254"
#define CLI_LIMIT_NS UINT64_C(60000000000)
#define LIFE_UNKNOWN_S 300

#define DESCRIPTION_MAX 250

struct credentials {
	struct http *http;	/* Entra ID */
	struct http *near_http; /* managed identities: close, never by proxy */
	const char *authority;
	/* As the environment has it; NULL where it says nothing. */
	char *tenant, *client, *certificate, *federated;
	char *identity_endpoint, *imds_endpoint, *pod_host, *only;
	struct secret *secret, *identity_header;
	struct jwt_key *key;
	bool fabric;
	int chosen; /* index in ways, -1 before; atomic */
};

void grant_release(struct grant *g)
{
	secret_close(take(g->token));
}

/* --- answers --- */

/* A number, or a string of digits. */
static bool number_of(const struct json *j, const char *key, uint64_t *v)
{
	const char *s = json_get_str(j, key);

	if (!s)
		return json_get_u64(j, key, v);
	if (parse_u64(s, v) == 0)
		return true;
	err_clear();
	return false;
}

static bool token_chars(const char *s)
{
	for (; *s; s++) {
		if (*s <= ' ' || *s > '~')
			return false;
	}
	return true;
}

int grant_parse(const char *text, size_t len, int64_t now_s, struct grant *out)
{
	DROP(secret_json) struct json *j = NULL;
	const char *token;
	uint64_t n, life = LIFE_UNKNOWN_S;
	int r = json_parse_secret(text, len, 16, &j);

	if (r)
		return r;
	token = json_get_str(j, "access_token");
	if (!token)
		token = json_get_str(j, "accessToken");
	if (!token || !*token || !token_chars(token))
		return fail(-EPROTO, "no access token in the answer");
	if (number_of(j, "expires_in", &n))
		life = n;
	else if (number_of(j, "expires_on", &n) && now_s >= 0)
		life = n > (uint64_t)now_s ? n - (uint64_t)now_s : 0;
	/* A day: nobody gives more. */
	out->life_s = min_u64(life, 86400);
	return secret_copy(token, strlen(token), &out->token);
}

void grant_error(const char *text, size_t len, struct buf *out)
{
	DROP(json) struct json *j = NULL;
	const char *code, *why;
	size_t n;

	if (json_parse(text, len, 16, &j)) {
		err_clear();
		return;
	}
	code = json_get_str(j, "error");
	why = json_get_str(j, "error_description");
	if (code)
		buf_printf(out, ": %.64s", code);
	if (!why)
		return;
	n = strcspn(why, "\r\n");
	buf_printf(out, ": %.*s", (int)min_u64(n, DESCRIPTION_MAX), why);
}

/* Of an answer with that status; what: who was asked. */
static int grant_of(const char *what, struct http_response *a,
		    struct grant *out)
{
	DROP(buf) struct buf why = BUF_INIT(1024);
	int r;

	if (a->status == 200) {
		r = grant_parse((char *)secret_bytes(a->locked), a->locked_len,
				time_now_ns() / 1000000000, out);
		return r ? blame(r, "%s", what) : 0;
	}
	grant_error((char *)a->body.data, a->body.len, &why);
	return fail(-EACCES, "%s refused to give a token (%d)%s", what,
		    a->status, buf_cstr(&why));
}

/* --- Entra ID --- */

static void form(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "%s%s=", b->len ? "&" : "", key);
	http_escape(b, value, false);
}

static bool name_chars(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && *s != '.' && *s != '-')
			return false;
	}
	return true;
}

static int tenant_of(const struct credentials *c, const char *asked,
		     const char **ret)
{
	*ret = asked ? asked : c->tenant;
	if (!name_chars(*ret))
		return fail(-EINVAL, "'%s' is not a tenant's id or name", *ret);
	return 0;
}

/* Sends the form, which is wiped. */
static int ask_entra(struct credentials *c, const char *tenant,
		     struct buf *body, struct grant *out)
{
	static const char *const fields[] = {
		"Content-Type: application/x-www-form-urlencoded",
		"Accept: application/json",
	};
	DROP(buf) struct buf url = BUF_INIT(2048);
	DROP(http_response) struct http_response a = { 0 };
	struct store_piece piece;
	struct http_request q = {
		.method = "POST",
		.what = "Entra ID: a token",
		.fields = fields,
		.nfields = ARRAY_SIZE(fields),
		.pieces = &piece,
		.npieces = 1,
		.body_max = ANSWER_MAX,
		.secret = true,
	};
	int r;

	buf_printf(&url, "%s/%s/oauth2/v2.0/token", c->authority, tenant);
	q.url = buf_cstr(&url);
	piece = (struct store_piece){ body->data, body->len };
	r = buf_check(body, "token request");
	if (!r)
		r = http_do(c->http, &q, &a);
	buf_wipe(body);
	return r ? r : grant_of("Entra ID", &a, out);
}

static void app_form(const struct credentials *c, const char *scope,
		     struct buf *b)
{
	form(b, "grant_type", "client_credentials");
	form(b, "client_id", c->client);
	form(b, "scope", scope);
}

static void add_assertion(struct buf *b, const char *jwt)
{
	form(b, "client_assertion_type",
	     "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	form(b, "client_assertion", jwt);
}

static int add_certificate(struct credentials *c, const char *tenant,
			   struct buf *b)
{
	DROP(buf) struct buf jwt = SECRET_BUF_INIT(32768);
	DROP(buf) struct buf url = BUF_INIT(2048);
	int r;

	buf_printf(&url, "%s/%s/oauth2/v2.0/token", c->authority, tenant);
	r = jwt_assertion(c->key, c->client, buf_cstr(&url),
			  time_now_ns() / 1000000000, &jwt);
	if (!r)
		add_assertion(b, buf_cstr(&jwt));
	return r;
}

static void add_secret(const struct credentials *c, struct buf *b)
{
	char text[4097];
	size_t n = min_u64(secret_size(c->secret), sizeof(text) - 1);

	memcpy(text, secret_bytes(c->secret), n);
	text[n] = '\0';
	form(b, "client_secret", text);
	explicit_bzero(text, sizeof(text));
}

static int from_environment(struct credentials *c, const char *asked,
			    const char *scope, struct grant *out)
{
	DROP(buf) struct buf b = SECRET_BUF_INIT(65536);
	const char *tenant;
	int r;

	if (!c->tenant || !c->client || (!c->secret && !c->key))
		return fail(-ENOENT,
			    "AZURE_TENANT_ID, AZURE_CLIENT_ID and "
			    "AZURE_CLIENT_SECRET or "
			    "AZURE_CLIENT_CERTIFICATE_PATH are not set");
	r = tenant_of(c, asked, &tenant);
	if (r)
		return r;
	app_form(c, scope, &b);
	if (c->secret)
		add_secret(c, &b);
	else
		r = add_certificate(c, tenant, &b);
	return r ? r : ask_entra(c, tenant, &b, out);
}

/* --- workload identity --- */

static int read_text(const char *path, size_t max, struct buf *out)
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail_errno(errno, "%s", path);
	do {
		uint8_t *at = buf_reserve(out, 4096);

		if (!at)
			break;
		n = read(fd, at, 4096);
		if (n < 0)
			return fail_errno(errno, "%s", path);
		out->len += (size_t)n;
	} while (n > 0 && out->len <= max);
	while (out->len && isspace(out->data[out->len - 1]))
		out->len--;
	return buf_check(out, path);
}

static int from_workload(struct credentials *c, const char *asked,
			 const char *scope, struct grant *out)
{
	DROP(buf) struct buf b = SECRET_BUF_INIT(131072);
	DROP(buf) struct buf jwt = SECRET_BUF_INIT(FILE_MAX);
	const char *tenant;
	int r;

	if (!c->tenant || !c->client || !c->federated)
		return fail(-ENOENT, "AZURE_FEDERATED_TOKEN_FILE is not set");
	r = tenant_of(c, asked, &tenant);
	/* It is replaced now and then: read each time. */
	if (!r)
		r = read_text(c->federated, FILE_MAX, &jwt);
	if (r)
		return r;
	app_form(c, scope, &b);
	add_assertion(&b, buf_cstr(&jwt));
	return ask_entra(c, tenant, &b, out);
}

/* --- managed identities --- */

/* What their documentation calls for: not there yet, or too busy. */
static bool identity_again(void *ctx, const struct http_response *a)
{
	return a->status == 404 || a->status == 410;
}

struct identity_call {
	const char *what;
	const char *base;    /* up to the query */
	const char *version; /* api-version */
	const char *field;   /* a header line */
	const char *field2;  /* or NULL */
	uint64_t budget_ms;
	bool again;
};

static void resource_of(const char *scope, struct buf *b)
{
	size_t n = strlen(scope);
	static const char tail[] = "/.default";

	if (n > sizeof(tail) - 1 && !strcmp(scope + n - 9, tail))
		n -= 9;
	buf_printf(b, "%.*s", (int)n, scope);
}

static int ask_identity(struct credentials *c, const struct identity_call *k,
			const char *scope, struct http_response *a)
{
	const char *fields[] = { k->field, k->field2 };
	DROP(buf) struct buf url = BUF_INIT(4096), resource = BUF_INIT(1024);
	struct http_request q = {
		.method = "GET",
		.what = k->what,
		.fields = fields,
		.nfields = k->field2 ? 2 : 1,
		.body_max = ANSWER_MAX,
		.secret = true,
		.again = k->again ? identity_again : NULL,
		.budget_ms = k->budget_ms,
	};
	int r;

	resource_of(scope, &resource);
	buf_printf(&url, "%s%sapi-version=%s&resource=", k->base,
		   strchr(k->base, '?') ? "&" : "?", k->version);
	http_escape(&url, buf_cstr(&resource), false);
	if (c->client) {
		buf_str(&url, "&client_id=");
		http_escape(&url, c->client, false);
	}
	r = buf_check(&url, "token request");
	if (r)
		return r;
	q.url = buf_cstr(&url);
	return http_do(c->near_http, &q, a);
}

static int from_app_service(struct credentials *c, const char *scope,
			    struct grant *out)
{
	DROP(http_response) struct http_response a = { 0 };
	DROP(buf) struct buf field = SECRET_BUF_INIT(8192);
	struct identity_call k = {
		.what = "App Service's managed identity",
		.base = c->identity_endpoint,
		.version = "2019-08-01",
	};
	int r;

	buf_printf(&field, "X-IDENTITY-HEADER: %.*s",
		   (int)secret_size(c->identity_header),
		   (const char *)secret_bytes(c->identity_header));
	k.field = buf_cstr(&field);
	r = ask_identity(c, &k, scope, &a);
	return r ? r : grant_of(k.what, &a, out);
}

bool credential_arc_path_ok(const char *path)
{
	size_t n = strlen(path), prefix = strlen(ARC_FOLDER);

	return n > prefix + 4 && n < 4096 &&
	       !strncmp(path, ARC_FOLDER, prefix) &&
	       !strchr(path + prefix, '/') && !strcmp(path + n - 4, ".key");
}

/* "Basic realm=PATH" */
static int arc_key(const struct http_response *a, struct buf *field)
{
	const char *said = http_header(a, "WWW-Authenticate");
	DROP(buf) struct buf key = SECRET_BUF_INIT(2 * ARC_KEY_MAX);
	int r;

	if (!said || strncasecmp(said, "Basic realm=", 12) != 0)
		return fail(-EPROTO, "Azure Arc's agent does not say where its "
				     "key is");
	said += 12;
	if (!credential_arc_path_ok(said))
		return fail(-EPROTO,
			    "Azure Arc's agent names a key outside of %s: "
			    "refused",
			    ARC_FOLDER);
	r = read_text(said, ARC_KEY_MAX, &key);
	if (r == -EACCES)
		return blame(r, "Azure Arc's key is for members of the group "
				"himds");
	if (r)
		return r;
	buf_printf(field, "Authorization: Basic %s", buf_cstr(&key));
	return buf_check(field, "Azure Arc's key");
}

static int from_arc(struct credentials *c, const char *scope, struct grant *out)
{
	DROP(http_response) struct http_response a = { 0 }, b = { 0 };
	DROP(buf) struct buf field = SECRET_BUF_INIT(16384);
	struct identity_call k = {
		.what = "Azure Arc's managed identity",
		.base = c->identity_endpoint ? c->identity_endpoint
					     : ARC_ENDPOINT,
		.version = "2020-06-01",
		.field = "Metadata: true",
	};
	int r;

	r = ask_identity(c, &k, scope, &a);
	if (r)
		return r;
	if (a.status != 401)
		return grant_of(k.what, &a, out);
	r = arc_key(&a, &field);
	if (r)
		return r;
	k.field2 = buf_cstr(&field);
	r = ask_identity(c, &k, scope, &b);
	return r ? r : grant_of(k.what, &b, out);
}

static int from_imds(struct credentials *c, const char *scope,
		     struct grant *out)
{
	DROP(http_response) struct http_response a = { 0 };
	char base[256];
	struct identity_call k = {
		.what = "the managed identity (IMDS)",
		.base = base,
		.version = "2018-02-01",
		.field = "Metadata: true",
		.again = true,
	};
	int r;

	snprintf(base, sizeof(base), "%s/metadata/identity/oauth2/token",
		 c->pod_host ? c->pod_host : IMDS_HOST);
	r = ask_identity(c, &k, scope, &a);
	/* Nobody there: this is no machine of Azure's. */
	if (r == -EAGAIN && !c->only)
		return fail(-ENOENT, "no managed identity answers here");
	if (r)
		return r;
	if (a.status == 400 && !c->only)
		return fail(-ENOENT, "this machine has no managed identity%s",
			    c->client ? " of AZURE_CLIENT_ID" : "");
	return grant_of(k.what, &a, out);
}

static int from_identity(struct credentials *c, const char *asked,
			 const char *scope, struct grant *out)
{
	if (c->fabric)
		return fail(-ENOENT, "the managed identity of Service Fabric "
				     "is not supported");
	if (c->identity_endpoint && c->identity_header)
		return from_app_service(c, scope, out);
	if ((c->identity_endpoint && c->imds_endpoint) ||
	    access(ARC_AGENT, F_OK) == 0)
		return from_arc(c, scope, out);
	return from_imds(c, scope, out);
}

/* --- the Azure CLI --- */

static bool scope_chars(const char *s)
{
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr(".-:/_", *s))
			return false;
	}
	return true;
}

/* Other programs get no secrets of ours. */
static bool is_secret_variable(const char *line)
{
	static const char *const names[] = {
		"VAULTFS_",
		"VAULTKEY_",
		"VAULTCTL_",
		"AZURE_STORAGE_",
		"AZURE_CLIENT_SECRET=",
		"AZURE_CLIENT_CERTIFICATE_PASSWORD=",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
		"IDENTITY_HEADER=",
		"MSI_SECRET=",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strncmp(line, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

static char **clean_environment(void)
{
	size_t n = 0, k = 0;
	char **out;

	while (environ[n])
		n++;
	out = calloc(n + 1, sizeof(*out));
	for (size_t i = 0; out && i < n; i++) {
		if (!is_secret_variable(environ[i]))
			out[k++] = environ[i];
	}
	return out;
}

struct child {
	pid_t pid;
	int out, err; /* our ends */
};

static void drop_child(struct child *c)
{
	if (c->out >= 0)
		close(c->out);
	if (c->err >= 0)
		close(c->err);
	if (c->pid > 0) {
		kill(c->pid, SIGTERM);
		waitpid(c->pid, NULL, 0);
	}
}

static int child_start(char *const argv[], struct child *c)
{
	posix_spawn_file_actions_t fa;
	DROP(mem) char **env = clean_environment();
	DROP(fd) int out = -1, err = -1;
	int po[2], pe[2], r;

	if (!env)
		return fail(-ENOMEM, "out of memory");
	if (pipe2(po, O_CLOEXEC))
		return fail_errno(errno, "pipe");
	c->out = po[0];
	out = po[1];
	if (pipe2(pe, O_CLOEXEC))
		return fail_errno(errno, "pipe");
	c->err = pe[0];
	err = pe[1];
	if (posix_spawn_file_actions_init(&fa))
		return fail(-ENOMEM, "out of memory");
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_adddup2(&fa, err, 2);
	r = posix_spawnp(&c->pid, argv[0], &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	if (r) {
		c->pid = 0;
		return r == ENOENT ? fail(-ENOENT, "az is not installed")
				   : fail_errno(r, "az");
	}
	return 0;
}

/* What is there to be read goes to b; false at the end. */
static bool drain(int fd, struct buf *b)
{
	uint8_t *at = buf_reserve(b, 4096);
	uint8_t sink[4096];
	ssize_t n = read(fd, at ? at : sink, 4096);

	if (n > 0 && at)
		b->len += (size_t)n;
	return n > 0 || (n < 0 && errno == EINTR);
}

static int child_read(struct child *c, struct buf *out, struct buf *err)
{
	struct pollfd p[2] = { { .fd = c->out, .events = POLLIN },
			       { .fd = c->err, .events = POLLIN } };
	uint64_t end = monotonic_ns() + CLI_LIMIT_NS;

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int r = cancel_check();

		if (r)
			return r;
		if (monotonic_ns() > end)
			return fail(-EAGAIN, "az: no answer after a minute");
		if (poll(p, 2, 200) <= 0)
			continue;
		if (p[0].revents && !drain(c->out, out))
			p[0].fd = -1;
		if (p[1].revents && !drain(c->err, err))
			p[1].fd = -1;
	}
	return 0;
}

static int child_end(struct child *c, int *status)
{
	pid_t pid = c->pid;

	while (waitpid(pid, status, 0) < 0) {
		if (errno != EINTR)
			return fail_errno(errno, "az");
	}
	c->pid = 0;
	return 0;
}

static int cli_failed(struct buf *err)
{
	char text[DESCRIPTION_MAX + 1];
	const char *said = buf_cstr(err);

	if (!strncmp(said, "ERROR: ", 7))
		said += 7;
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(said, "\r\n"), said);
	if (strstr(said, "az login"))
		return fail(-ENOENT, "az: nobody is logged in (az login)");
	return fail(-EACCES, "az account get-access-token: %s", text);
}

static int from_cli(struct credentials *c, const char *asked, const char *scope,
		    struct grant *out)
{
	DROP(child) struct child child = { 0, -1, -1 };
	DROP(buf) struct buf text = SECRET_BUF_INIT(ANSWER_MAX);
	DROP(buf) struct buf err = BUF_INIT(16384);
	const char *argv[] = { "az",	   "account", "get-access-token",
			       "--output", "json",    "--scope",
			       NULL,	   NULL,      NULL,
			       NULL };
	int status, r;

	if (!scope_chars(scope) || (asked && !name_chars(asked)))
		return fail(-EINVAL, "az: a scope or tenant with characters "
				     "that are not let through");
	argv[6] = scope;
	if (asked) {
		argv[7] = "--tenant";
		argv[8] = asked;
	}
	r = child_start((char *const *)(uintptr_t)argv, &child);
	if (!r)
		r = child_read(&child, &text, &err);
	if (!r)
		r = child_end(&child, &status);
	if (r)
		return r;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return cli_failed(&err);
	r = grant_parse((char *)text.data, text.len, time_now_ns() / 1000000000,
			out);
	return r ? blame(r, "az account get-access-token") : 0;
}

/* --- the chain --- */

static const struct way {
	const char *name;
	bool dev;
	int (*get)(struct credentials *c, const char *tenant, const char *scope,
		   struct grant *out);
} ways[] = {
	{ "EnvironmentCredential", false, from_environment },
	{ "WorkloadIdentityCredential", false, from_workload },
	{ "ManagedIdentityCredential", false, from_identity },
	{ "AzureCliCredential", true, from_cli },
};

static bool is_wanted(const struct credentials *c, const struct way *w)
{
	if (!c->only)
		return true;
	if (!strcasecmp(c->only, "prod"))
		return !w->dev;
	if (!strcasecmp(c->only, "dev"))
		return w->dev;
	return !strcasecmp(c->only, w->name);
}

static int check_only(const struct credentials *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (is_wanted(c, &ways[i]))
			return 0;
	}
	return fail(-EINVAL,
		    "AZURE_TOKEN_CREDENTIALS: '%s' is neither prod nor dev nor "
		    "one of EnvironmentCredential, WorkloadIdentityCredential, "
		    "ManagedIdentityCredential, AzureCliCredential",
		    c->only);
}

int credentials_get(struct credentials *c, const char *tenant,
		    const char *scope, struct grant *out)
{
	DROP(buf) struct buf tried = BUF_INIT(900);
	int chosen = __atomic_load_n(&c->chosen, __ATOMIC_ACQUIRE), r;

	if (chosen >= 0) {
		r = ways[chosen].get(c, tenant, scope, out);
		return r ? blame(r == -ENOENT ? -EACCES : r, "%s",
				 ways[chosen].name)
			 : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!is_wanted(c, &ways[i]))
			continue;
		r = ways[i].get(c, tenant, scope, out);
		if (!r) {
			__atomic_store_n(&c->chosen, (int)i, __ATOMIC_RELEASE);
			log_debug("Azure: %s", ways[i].name);
			return 0;
		}
		if (r != -ENOENT)
			return blame(r, "%s", ways[i].name);
		buf_printf(&tried, "%s%s", tried.len ? "; " : "", err_text(r));
	}
	return fail(-EACCES,
		    "no credential for Azure: %s (see CREDENTIALS in "
		    "vaultfs(8))",
		    buf_cstr(&tried));
}

const char *credentials_name(const struct credentials *c)
{
	int chosen = __atomic_load_n(&c->chosen, __ATOMIC_ACQUIRE);

	return chosen < 0 ? "" : ways[chosen].name;
}

/* --- the environment --- */

static int copy_variable(const char *name, char **to)
{
	const char *v = getenv(name);

	if (!v || !*v)
		return 0;
	*to = strdup(v);
	return *to ? 0 : fail(-ENOMEM, "out of memory");
}

static int secret_variable(const char *name, bool unset, struct secret **to)
{
	char *v = getenv(name);
	size_t n = v ? strlen(v) : 0;
	int r;

	if (!n)
		return 0;
	if (n > 4096)
		return fail(-EINVAL, "%s: %zu bytes are too many", name, n);
	r = secret_new(n, to);
	if (r)
		return r;
	memcpy(secret_bytes(*to), v, n);
	if (unset) {
		/* Also out of /proc/PID/environ. */
		explicit_bzero(v, n);
		unsetenv(name);
	}
	return 0;
}

static int read_certificate(struct credentials *c)
{
	DROP(secret) struct secret *password = NULL;
	char text[4097] = "";
	int r;

	r = secret_variable("AZURE_CLIENT_CERTIFICATE_PASSWORD", true,
			    &password);
	if (r || !c->certificate || c->secret || !c->tenant || !c->client)
		return r;
	if (password)
		memcpy(text, secret_bytes(password), secret_size(password));
	r = jwt_key_read(c->certificate, *text ? text : NULL, &c->key);
	explicit_bzero(text, sizeof(text));
	return r ? blame(r, "AZURE_CLIENT_CERTIFICATE_PATH") : 0;
}

static int read_environment(struct credentials *c)
{
	const struct {
		const char *name;
		char **to;
	} all[] = {
		{ "AZURE_TENANT_ID", &c->tenant },
		{ "AZURE_CLIENT_ID", &c->client },
		{ "AZURE_CLIENT_CERTIFICATE_PATH", &c->certificate },
		{ "AZURE_FEDERATED_TOKEN_FILE", &c->federated },
		{ "IDENTITY_ENDPOINT", &c->identity_endpoint },
		{ "IMDS_ENDPOINT", &c->imds_endpoint },
		{ "AZURE_POD_IDENTITY_AUTHORITY_HOST", &c->pod_host },
		{ "AZURE_TOKEN_CREDENTIALS", &c->only },
	};
	const char *print = getenv("IDENTITY_SERVER_THUMBPRINT");
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(all); i++)
		r = copy_variable(all[i].name, all[i].to);
	if (!r)
		r = check_only(c);
	if (!r)
		r = secret_variable("AZURE_CLIENT_SECRET", true, &c->secret);
	if (!r)
		r = secret_variable("IDENTITY_HEADER", false,
				    &c->identity_header);
	c->fabric = print && *print;
	return r ? r : read_certificate(c);
}

int credentials_new(const char *authority, struct credentials **ret)
{
	DROP(credentials) struct credentials *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(-ENOMEM, "out of memory");
	c->authority = authority;
	c->chosen = -1;
	r = read_environment(c);
	if (r)
		return r;
	*ret = take(c);
	return 0;
}

int credentials_connect(struct credentials *c, struct http *http)
{
	/* Close by, or not there at all. */
	struct http_options o = {
		.direct = true,
		.secret = true,
		.connections = 2,
		.connect_ms = 1000,
		.first_ms = 2000,
		.budget_ms = 70000,
	};

	c->http = http;
	return http_new(&o, &c->near_http);
}

void credentials_disconnect(struct credentials *c)
{
	http_free(take(c->near_http));
	c->http = NULL;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	free(c->tenant);
	free(c->client);
	free(c->certificate);
	free(c->federated);
	free(c->identity_endpoint);
	free(c->imds_endpoint);
	free(c->pod_host);
	free(c->only);
	secret_close(c->secret);
	secret_close(c->identity_header);
	jwt_key_close(c->key);
	http_free(c->near_http);
	free(c);
}
