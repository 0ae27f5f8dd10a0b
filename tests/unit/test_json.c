// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/json.h"

#include <errno.h>
#include <math.h>

#include "tests/unit/check.h"

static void check_text(const struct json *j, bool pretty, const char *want)
{
	DROP(mem) char *text = NULL;
	size_t len = 0;

	CHECK_OK(json_text(j, pretty, &text, &len));
	CHECK_STR(text, want);
	CHECK_U64(len, strlen(want));
}

static void test_build(void)
{
	DROP(json) struct json *o = json_object();
	struct json *a = json_array();
	struct json *in = json_object();

	check_text(o, false, "{}\n");
	json_set_str(o, "name", "web-01 \"x\" a/b\n");
	json_set_str(o, "none", NULL);
	json_set_u64(o, "max", UINT64_MAX);
	json_set_bool(o, "yes", true);
	json_set_f64(o, "pi", 3.25);
	json_push_str(a, "one");
	json_push_str(a, NULL);
	json_set_u64(in, "n", 0);
	json_push(a, in);
	json_set(o, "list", a);
	/* An attached value can still grow. */
	json_push_str(a, "two");
	json_set_str(in, "late", "yes");
	check_text(o, false,
		   "{\"name\":\"web-01 \\\"x\\\" a/b\\n\",\"none\":null,"
		   "\"max\":18446744073709551615,\"yes\":true,\"pi\":3.25,"
		   "\"list\":[\"one\",null,{\"n\":0,\"late\":\"yes\"},"
		   "\"two\"]}\n");
	json_set_str(o, "name", "other");
	CHECK_STR(json_get_str(o, "name"), "other");
}

static void test_pretty(void)
{
	DROP(json) struct json *o = json_object();
	struct json *a = json_array();

	json_set_u64(o, "a", 1);
	json_push_str(a, "x");
	json_set(o, "b", a);
	check_text(o, true,
		   "{\n"
		   "  \"a\": 1,\n"
		   "  \"b\": [\n"
		   "    \"x\"\n"
		   "  ]\n"
		   "}\n");
}

static void check_f64(double v, const char *want)
{
	DROP(json) struct json *o = json_object();
	char text[64];

	json_set_f64(o, "v", v);
	snprintf(text, sizeof(text), "{\"v\":%s}\n", want);
	check_text(o, false, text);
}

static void test_f64(void)
{
	check_f64(0.1, "0.1");
	check_f64(1.0 / 3, "0.33333333333333331");
	check_f64(-2.5, "-2.5");
	check_f64(1e300, "1e+300");
	check_f64(NAN, "null");
	check_f64(INFINITY, "null");
	check_f64(5, "5.0");
}

static void test_not_utf8(void)
{
	DROP(json) struct json *a = json_array();
	DROP(json) struct json *o = json_object();

	json_push_str(a, "caf\xc3\xa9");
	json_push_str(a, "caf\xe9");
	json_push_str(a, "\xff\xfe");
	json_push_str(a, "\xe2\x82"
			 "a\xf0\x9f\x94\x91\xf0\x9f");
	check_text(a, false,
		   "[\"caf\xc3\xa9\",\"caf\xef\xbf\xbd\","
		   "\"\xef\xbf\xbd\xef\xbf\xbd\","
		   "\"\xef\xbf\xbd\xef\xbf\xbd"
		   "a\xf0\x9f\x94\x91"
		   "\xef\xbf\xbd\xef\xbf\xbd\"]\n");
	json_set_bool(o, "k\xff", true);
	check_text(o, false, "{\"k\xef\xbf\xbd\":true}\n");
}

/* A constructor that ran out of memory gives NULL. */
static void test_no_memory(void)
{
	struct json *root = json_object();
	struct json *in = json_array();
	char *text = NULL;
	size_t len;

	json_set_u64(NULL, "a", 1);
	json_push_str(NULL, "a");
	CHECK_FAILS(-ENOMEM, json_text(NULL, true, &text, &len));
	json_set(root, "in", in);
	json_set_u64(root, "b", 1);
	json_push(in, NULL);
	CHECK_SAYS(-ENOMEM, "memory", json_text(root, false, &text, &len));
	CHECK(!text);
	json_close(root);

	root = json_object();
	json_set(root, "in", NULL);
	CHECK_FAILS(-ENOMEM, json_text(root, false, &text, &len));
	json_close(root);
	json_close(NULL);
}

static void test_read(void)
{
	static const char text[] =
		" {\"s\":\"x\\u00e9\\ud83d\\udd11\",\"u\":18446744073709551615,"
		"\"neg\":-1,\"f\":1.0,\"t\":true,\"nil\":null,"
		"\"a\":[1,\"two\",null,[],{\"k\":false}],\"o\":{}} \r\n\t";
	static const char *const keys[] = { "s", "u",	"neg", "f",
					    "t", "nil", "a",   "o" };
	DROP(json) struct json *j = NULL;
	struct json *a;
	uint64_t v = 42;
	bool b = false;

	CHECK_OK(json_parse(text, strlen(text), 3, &j));
	CHECK_STR(json_get_str(j, "s"), "x\xc3\xa9\xf0\x9f\x94\x91");
	CHECK(!json_get_str(j, "u") && !json_get_str(j, "nil"));
	CHECK(!json_get_str(j, "absent") && !json_get_str(NULL, "s"));
	CHECK(json_get_u64(j, "u", &v));
	CHECK_U64(v, UINT64_MAX);
	v = 42;
	CHECK(!json_get_u64(j, "neg", &v) && !json_get_u64(j, "f", &v));
	CHECK(!json_get_u64(j, "s", &v) && !json_get_u64(j, "t", &v));
	CHECK(!json_get_u64(j, "nil", &v) && !json_get_u64(j, "absent", &v));
	CHECK_U64(v, 42);
	CHECK(json_get_bool(j, "t", &b) && b);
	CHECK(!json_get_bool(j, "u", &b) && b);
	CHECK(!json_get(j, "nil"));

	a = json_get(j, "a");
	CHECK_U64(json_len(a), 5);
	CHECK_STR(json_as_str(json_at(a, 1)), "two");
	CHECK(!json_as_str(json_at(a, 0)) && !json_at(a, 2));
	CHECK(!json_at(a, 5) && !json_at(a, SIZE_MAX) && !json_at(j, 0));
	CHECK(json_get_bool(json_at(a, 4), "k", &b) && !b);
	CHECK_U64(json_len(j), 0);
	CHECK_U64(json_len(NULL), 0);
	CHECK(!json_get(a, "k"));

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		CHECK_STR(json_key_at(j, i), keys[i]);
	CHECK(!json_key_at(j, ARRAY_SIZE(keys)));
	CHECK(!json_key_at(a, 0) && !json_key_at(NULL, 0));
	CHECK(!json_key_at(json_get(j, "o"), 0));
}

static void test_scalars(void)
{
	static const char *const good[] = {
		"1",	 "-0",
		"0",	 "12.5e-3",
		"true",	 "false",
		"null",	 "\"\"",
		" 7 ",	 "[]",
		"{}",	 "1E5",
		"-1.5",	 "-9223372036854775808",
		"[1]\n", "\"\\/\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		DROP(json) struct json *j = NULL;

		CHECK_OK(json_parse(good[i], strlen(good[i]), 1, &j));
	}
}

static void refused(const char *text, size_t len)
{
	struct json *j = NULL;
	int r = json_parse(text, len, 8, &j);

	if (r != -EPROTO || j) {
		fprintf(stderr, "'%.*s' is accepted: %d\n", (int)len, text, r);
		exit(1);
	}
	CHECK(strstr(err_text(r), "JSON: "));
}

static void test_refused(void)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[",
		"}",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{'a':1}",
		"{1:1}",
		"'a'",
		"\"a",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u0000\"",
		"\"a\\u0000b\"",
		"{\"a\\u0000b\":1}",
		"\"\n\"",
		"\"\x01\"",
		"\"\xff\"",
		"\"\xc3\"",
		"\xef\xbb\xbf{}",
		"NaN",
		"nan",
		"Infinity",
		"-Infinity",
		"-",
		"+1",
		".5",
		"1.",
		"1.e5",
		"1e",
		"1e+",
		"01",
		"-01",
		"00",
		"0x10",
		"1_0",
		"True",
		"TRUE",
		"nul",
		"nulll",
		"tru",
		"truefalse",
		"18446744073709551616",
		"-9223372036854775809",
		"99999999999999999999999999",
		"{} {}",
		"[] 1",
		"1 2",
		"{}x",
		"{}]",
		"/* c */ {}",
		"{} // c",
		"[1 2]",
		"[1:2]",
		"{\"a\",1}",
		"[\"a\" \"b\"]",
		"[1]]",
		"[}",
		"{]",
		",",
		":",
		"\\",
		"\"\\",
		"\"\\u00",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], strlen(bad[i]));
	refused("{}\0", 3);
	refused("{}\0{}", 5);
	refused("[1,\0", 4);
	refused("\"a\0b\"", 5);
	refused("12\0", 3);
	refused("tru", 3);
	/* Bounded by len, not by a NUL. */
	refused("{}", 1);
	refused("true", 3);
}

static void test_depth(void)
{
	char text[400];
	struct json *j = NULL;

	for (int depth = 1; depth <= 150; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		CHECK_OK(json_parse(text, 2 * (size_t)depth, depth, &j));
		json_close(take(j));
		CHECK_SAYS(-EPROTO, "deep",
			   json_parse(text, 2 * (size_t)depth, depth - 1, &j));
		/* With something in it. */
		text[depth] = '1';
		memset(text + depth + 1, ']', (size_t)depth);
		CHECK_OK(json_parse(text, 2 * (size_t)depth + 1, depth, &j));
		json_close(take(j));
	}
	CHECK_OK(json_parse("7", 1, 0, &j));
	json_close(take(j));
	CHECK_FAILS(-EPROTO, json_parse("[]", 2, 0, &j));
}

/* What we write, we read. */
static void test_round(void)
{
	DROP(json) struct json *o = json_object();
	DROP(json) struct json *back = NULL;
	DROP(mem) char *text = NULL;
	char all[256];
	size_t len;

	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	json_set_str(o, all, all);
	CHECK_OK(json_text(o, true, &text, &len));
	CHECK_OK(json_parse(text, len, 1, &back));
	CHECK_STR(json_get_str(back, json_key_at(o, 0)),
		  json_get_str(o, json_key_at(o, 0)));
}

/* The heap of a sanitizer is elsewhere, and keeps what is freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_IS_OURS 0
#else
#define HEAP_IS_OURS 1
#endif

#if HEAP_IS_OURS
/* A secret that is nowhere but where it is put. */
static char secret_at(size_t i)
{
	return (char)('A' + ((uint32_t)i * 2654435761u >> 13) % 26);
}

#define SECRET_LEN 400
#define SECRET_PART 64 /* of its middle: free() overwrites the beginning */

/* How often a part of it is in the heap. */
static int in_heap(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	int found = 0;

	CHECK(maps != NULL);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (!strstr(line, "[heap]") ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		for (const char *p = (const char *)from;
		     p + SECRET_PART <= (const char *)to; p++) {
			size_t i = 0;

			while (i < SECRET_PART && p[i] == secret_at(200 + i))
				i++;
			found += i == SECRET_PART;
		}
	}
	fclose(maps);
	return found;
}

/* {"a":"SECRET","b":"x…"}: what follows makes json-c's buffers grow. */
static char *secret_text(size_t *len)
{
	char *text = malloc(8192);
	size_t n;

	CHECK(text != NULL);
	n = (size_t)snprintf(text, 8192, "{\"a\":\"");
	for (size_t i = 0; i < SECRET_LEN; i++)
		text[n++] = secret_at(i);
	n += (size_t)snprintf(text + n, 16, "\",\"b\":\"");
	memset(text + n, 'x', 4000);
	n += 4000;
	n += (size_t)snprintf(text + n, 16, "\"}");
	*len = n;
	return text;
}

static void test_secret(void)
{
	struct json *j = NULL;
	size_t len;
	char *text = secret_text(&len);

	CHECK_U64(in_heap(), 1);
	CHECK_OK(json_parse_secret(text, len, 2, &j));
	CHECK_U64(in_heap(), 2);
	json_close_secret(j);
	CHECK_U64(in_heap(), 1);
	/* Nor of what is refused. */
	text[len - 1] = ']';
	CHECK_FAILS(-EPROTO, json_parse_secret(text, len, 2, &j));
	CHECK_U64(in_heap(), 1);
	/* That is looked for where it would be. */
	text[len - 1] = '}';
	CHECK_OK(json_parse(text, len, 2, &j));
	json_close(j);
	CHECK(in_heap() > 1);
	explicit_bzero(text, len);
	free(text);
	json_close_secret(NULL);
}
#endif

int main(void)
{
#if HEAP_IS_OURS
	test_secret();
#endif
	test_build();
	test_pretty();
	test_f64();
	test_not_utf8();
	test_no_memory();
	test_read();
	test_scalars();
	test_refused();
	test_depth();
	test_round();
	return 0;
}
