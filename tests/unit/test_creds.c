// SPDX-License-Identifier: GPL-3.0-or-later
/* What lets us in: which of the variables and files counts, and that none stays. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/store/creds.h"
#include "tests/unit/check.h"

extern char **environ;

static char work[PATH_MAX];

static void clear(void)
{
	clearenv();
	setenv("HOME", work, 1);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[PATH_MAX + 100];
	DROP(fd) int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", work, name);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
	CHECK(fd >= 0 &&
	      write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void folder(const char *name)
{
	char path[PATH_MAX + 100];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void check_secret(struct secret *s, const char *want)
{
	CHECK(s);
	CHECK_U64(secret_size(s), strlen(want));
	CHECK_MEM(secret_bytes(s), want, strlen(want));
}

/* Whatever was in the variables is neither there nor where it was. */
static void test_taken(void)
{
	struct creds_env e;
	const char *place;

	clear();
	CHECK_OK(setenv("AZURE_STORAGE_KEY", "c2VjcmV0", 1));
	CHECK_OK(setenv("AWS_SECRET_ACCESS_KEY", "hush", 1));
	CHECK_OK(setenv("AWS_REGION", "stays", 1));
	CHECK_OK(setenv("AZURE_STORAGE_SAS_TOKEN", "", 1));
	place = getenv("AWS_SECRET_ACCESS_KEY");
	CHECK_OK(creds_env_take(&e));
	CHECK(!getenv("AZURE_STORAGE_KEY") && !getenv("AWS_SECRET_ACCESS_KEY"));
	CHECK(!getenv("AZURE_STORAGE_SAS_TOKEN"));
	CHECK(!*place);
	CHECK_STR(getenv("AWS_REGION"), "stays");
	check_secret(e.azure_key, "c2VjcmV0");
	check_secret(e.aws_key, "hush");
	CHECK(!e.sas && !e.aws_id);
	creds_env_release(&e);
}

struct azure_case {
	const char *account, *connection, *key, *sas, *variable, *endpoint;
	int code;
	const char *says; /* in the sentence of a failure */
	const char *is;	  /* account; NULL: the same */
	const char *endpoint_is, *second_is;
	const char *key_is, *sas_is;
};

static void check_azure(const struct azure_case *t)
{
	struct store_options o = { .endpoint = t->endpoint };
	struct creds_azure c = { 0 };
	struct creds_env e;
	int r;

	clear();
	if (t->connection)
		setenv("AZURE_STORAGE_CONNECTION_STRING", t->connection, 1);
	if (t->key)
		setenv("AZURE_STORAGE_KEY", t->key, 1);
	if (t->sas)
		setenv("AZURE_STORAGE_SAS_TOKEN", t->sas, 1);
	if (t->variable)
		setenv("AZURE_STORAGE_ACCOUNT", t->variable, 1);
	CHECK_OK(creds_env_take(&e));
	r = creds_azure(&e, t->account, &o, &c);
	creds_env_release(&e);
	if (t->code) {
		CHECK_SAYS(t->code, t->says, r);
		CHECK(!strstr(err_text(t->code), "SECRET"));
		return;
	}
	CHECK_OK(r);
	CHECK_STR(c.account, t->is ? t->is : t->account);
	CHECK_STR(c.endpoint, t->endpoint_is);
	if (t->second_is)
		CHECK_STR(c.secondary, t->second_is);
	if (t->key_is)
		check_secret(c.key, t->key_is);
	if (t->sas_is)
		check_secret(c.sas, t->sas_is);
	CHECK(!c.key == !t->key_is && !c.sas == !t->sas_is);
	creds_azure_release(&c);
}

static void test_azure(void)
{
	static const struct azure_case cases[] = {
		{ .account = "a",
		  .key = "a2V5",
		  .endpoint_is = "https://a.blob.core.windows.net",
		  .second_is = "https://a-secondary.blob.core.windows.net",
		  .key_is = "key" },
		{ .account = "a",
		  .sas = "?sv=1&sig=x%2Fy%3D\n",
		  .endpoint_is = "https://a.blob.core.windows.net",
		  .sas_is = "sv=1&sig=x%2Fy%3D" },
		/* An address has the account in its path. */
		{ .account = "acc",
		  .key = "a2V5",
		  .endpoint = "http://127.0.0.1:10000/",
		  .endpoint_is = "http://127.0.0.1:10000/acc",
		  .second_is = "http://127.0.0.1:10000/acc-secondary",
		  .key_is = "key" },
		{ .account = "acc",
		  .key = "a2V5",
		  .endpoint = "http://127.0.0.1:10000/acc",
		  .endpoint_is = "http://127.0.0.1:10000/acc",
		  .key_is = "key" },
		{ .account = "acc",
		  .key = "a2V5",
		  .endpoint = "https://blobs.example",
		  .endpoint_is = "https://blobs.example",
		  .key_is = "key" },
		{ .account = "",
		  .variable = "v",
		  .key = "a2V5",
		  .is = "v",
		  .endpoint_is = "https://v.blob.core.windows.net",
		  .key_is = "key" },
		{ .account = "c",
		  .connection = "DefaultEndpointsProtocol=https;AccountName=c;"
				"AccountKey=a2V5;EndpointSuffix=core.example",
		  .key = "b3RoZXI=",
		  .endpoint_is = "https://c.blob.core.example",
		  .key_is = "key" },
		{ .account = "",
		  .connection = "BlobEndpoint=https://b.example/;"
				"BlobSecondaryEndpoint=https://b2.example;"
				"AccountName=c;"
				"SharedAccessSignature=sv=1&sig=x",
		  .is = "c",
		  .endpoint_is = "https://b.example",
		  .second_is = "https://b2.example",
		  .sas_is = "sv=1&sig=x" },

		{ .account = "a", .code = -EACCES, .says = "lets us into" },
		{ .account = "",
		  .key = "a2V5",
		  .code = -EINVAL,
		  .says = "no account" },
		{ .account = "a",
		  .variable = "b",
		  .key = "a2V5",
		  .code = -EACCES,
		  .says = "of account 'b'" },
		{ .account = "a",
		  .key = "SECRET!",
		  .code = -EINVAL,
		  .says = "base64" },
		{ .account = "a",
		  .sas = "https://a/?sig=SECRET",
		  .code = -EINVAL,
		  .says = "not a SAS" },
		{ .account = "a",
		  .sas = "SECRET",
		  .code = -EINVAL,
		  .says = "not a SAS" },
		{ .account = "a",
		  .connection = "AccountName=b;AccountKey=a2V5",
		  .code = -EACCES,
		  .says = "is of account 'b'" },
		{ .account = "a",
		  .connection = "AccountName=a",
		  .code = -EINVAL,
		  .says = "neither AccountKey" },
		{ .account = "a",
		  .key = "a2V5",
		  .code = -EINVAL,
		  .endpoint = "https://u:SECRET@h",
		  .says = "--endpoint" },
		{ .account = "a",
		  .key = "a2V5",
		  .code = -EINVAL,
		  .endpoint = "https://h?sig=SECRET",
		  .says = "--endpoint" },
		{ .account = "a",
		  .key = "a2V5",
		  .code = -EINVAL,
		  .endpoint = "ftp://h",
		  .says = "--endpoint" },
		{ .account = "a",
		  .key = "a2V5",
		  .code = -EINVAL,
		  .endpoint = "http://",
		  .says = "--endpoint" },
		/* Who sees it has it; a key only signs. */
		{ .account = "a",
		  .sas = "sv=1&sig=x",
		  .code = -EACCES,
		  .endpoint = "http://h.example",
		  .says = "over http" },
		{ .account = "a",
		  .key = "a2V5",
		  .endpoint = "http://h.example",
		  .endpoint_is = "http://h.example",
		  .key_is = "key" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_azure(&cases[i]);
}

static void test_azure_files(void)
{
	char path[PATH_MAX + 20];
	struct store_options o = { .sas_file = path };
	struct creds_azure c = { 0 };
	struct creds_env e;

	clear();
	setenv("AZURE_STORAGE_KEY", "a2V5", 1);
	snprintf(path, sizeof(path), "%s/sas", work);
	write_file("sas", "sv=1&sig=file\n", 0600);
	CHECK_OK(creds_env_take(&e));
	CHECK_OK(creds_azure(&e, "a", &o, &c));
	check_secret(c.sas, "sv=1&sig=file");
	CHECK(!c.key);
	creds_azure_release(&c);
	write_file("sas", "sv=1&sig=file\n", 0644);
	CHECK(chmod(path, 0644) == 0);
	CHECK_SAYS(-EACCES, "--sas-file", creds_azure(&e, "a", &o, &c));
	creds_env_release(&e);

	folder(".azure");
	write_file(".azure/config",
		   "[cloud]\nkey = bm8=\n[storage]\nkey = ZmlsZQ==\n", 0600);
	CHECK_OK(creds_env_take(&e));
	o.sas_file = NULL;
	CHECK_OK(creds_azure(&e, "a", &o, &c));
	check_secret(c.key, "file");
	creds_azure_release(&c);
	write_file(".azure/config", "[storage]\naccount = b\nkey = ZmlsZQ==\n",
		   0600);
	CHECK_SAYS(-EACCES, "lets us into", creds_azure(&e, "a", &o, &c));
	creds_env_release(&e);
}

static void check_s3(const char *id, const char *key, const char *region,
		     const char *endpoint)
{
	struct store_options o = { 0 };
	struct creds_s3 c = { 0 };
	struct creds_env e;

	CHECK_OK(creds_env_take(&e));
	CHECK_OK(creds_s3(&e, &o, &c));
	CHECK_STR(c.key_id, id);
	check_secret(c.key, key);
	CHECK_STR(c.region, region);
	CHECK_STR(c.endpoint, endpoint);
	creds_s3_release(&c);
	creds_env_release(&e);
}

static void test_s3(void)
{
	struct store_options o = { 0 };
	struct creds_s3 c = { 0 };
	struct creds_env e;

	clear();
	CHECK_OK(creds_env_take(&e));
	CHECK_SAYS(-EACCES, "nothing lets us in: set AWS_ACCESS_KEY_ID",
		   creds_s3(&e, &o, &c));
	creds_env_release(&e);
	setenv("AWS_ACCESS_KEY_ID", "id", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "k/+=", 1);
	check_s3("id", "k/+=", "us-east-1",
		 "https://s3.us-east-1.amazonaws.com");

	folder(".aws");
	write_file(".aws/credentials",
		   "[default]\naws_access_key_id=D\naws_secret_access_key=d\n"
		   "[other]\naws_access_key_id = O\n"
		   "aws_secret_access_key = o\naws_session_token = t\n",
		   0600);
	write_file(".aws/config",
		   "[default]\nregion = eu-north-1\n[profile other]\n"
		   "endpoint_url = https://s3.example/\nregion=here\n",
		   0644);
	check_s3("D", "d", "eu-north-1", "https://s3.eu-north-1.amazonaws.com");
	setenv("AWS_PROFILE", "other", 1);
	check_s3("O", "o", "here", "https://s3.example");
	setenv("AWS_REGION", "there", 1);
	setenv("AWS_ENDPOINT_URL", "http://h:1", 1);
	check_s3("O", "o", "there", "http://h:1");
	setenv("AWS_ACCESS_KEY_ID", "a\nb", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
	CHECK_OK(creds_env_take(&e));
	CHECK_SAYS(-EINVAL, "not a key id", creds_s3(&e, &o, &c));
	creds_env_release(&e);
}

static struct creds_text text_of(const char *s)
{
	return creds_ini(s, strlen(s), "s", "k");
}

static void test_texts(void)
{
	static const char pairs[] = " A = 1 ;b==2;;c=;A=3";

	CHECK(!text_of("").p && !text_of("k=1").p && !text_of("[s]\nk=").p);
	CHECK_U64(text_of("[s]\n k = a b \n").len, 3);
	CHECK_MEM(text_of("[t]\nk=1\n[ s ]\r\n#k=2\r\nk=3\r\nkk=4").p, "3", 1);
	CHECK_MEM(text_of("[s]\nk=1\n[t]\n[s]\nk=a=b").p, "a=b", 3);
	CHECK_MEM(creds_pair(pairs, strlen(pairs), "a").p, "1", 1);
	CHECK_MEM(creds_pair(pairs, strlen(pairs), "B").p, "=2", 2);
	CHECK(!creds_pair(pairs, strlen(pairs), "c").p);
	CHECK(!creds_pair(pairs, strlen(pairs), "d").p);
}

int main(void)
{
	CHECK(getcwd(work, sizeof(work)));
	test_texts();
	test_taken();
	test_azure();
	test_azure_files();
	test_s3();
	return 0;
}
