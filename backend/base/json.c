// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/json.h"

#include <errno.h>
/* Our json_object() is a function, json-c's a type: theirs gives way here. */
#define json_object json_c_object
#include <json-c/json.h>
#include <json-c/json_visit.h>
#undef json_object
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"

/*
 * A struct json is json-c's json_object under another name. The lack
 * of memory is kept where it struck, as the user data of that object or array
 * (which json-c leaves alone for these), and json_text() looks at all of them.
 */
static char lacking;

static json_c_object *in(const struct json *j)
{
	return (json_c_object *)(uintptr_t)j;
}

static struct json *out(json_c_object *o)
{
	return (struct json *)o;
}

static void mark(json_c_object *o)
{
	if (o)
		json_object_set_userdata(o, &lacking, NULL);
}

struct json *json_object(void)
{
	return out(json_object_new_object());
}

struct json *json_array(void)
{
	return out(json_object_new_array());
}

static int wipe_string(json_c_object *o, int flags, json_c_object *parent,
		       const char *key, size_t *index, void *arg)
{
	if (json_object_is_type(o, json_type_string))
		explicit_bzero((char *)(uintptr_t)json_object_get_string(o),
			       (size_t)json_object_get_string_len(o));
	return JSON_C_VISIT_RETURN_CONTINUE;
}

static void wipe_tree(json_c_object *o)
{
	/* It fails where the visitor does, which does not. */
	if (o && json_c_visit(o, 0, wipe_string, NULL) < 0)
		err_clear();
}

void json_close_secret(struct json *j)
{
	wipe_tree(in(j));
	json_close(j);
}

void json_close(struct json *j)
{
	json_object_put(in(j));
}

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* s, or with stray bytes a copy without; *copy is to be freed. */
static const char *clean(const char *s, char **copy)
{
	size_t n = strlen(s);
	char *at;

	*copy = NULL;
	if (utf8_valid(s, n))
		return s;
	if (n > SIZE_MAX / 3 - 1)
		return NULL;
	*copy = at = malloc(3 * n + 1);
	if (!at)
		return NULL;
	while (n) {
		size_t len = 1;

		while (len <= 4 && len <= n && !utf8_valid(s, len))
			len++;
		if (len > 4 || len > n) {
			memcpy(at, REPLACEMENT, 3);
			at += 3;
			len = 1;
		} else {
			memcpy(at, s, len);
			at += len;
		}
		s += len;
		n -= len;
	}
	*at = '\0';
	return *copy;
}

/* *v is NULL for null. */
static bool new_string(const char *s, json_c_object **v)
{
	DROP(mem) char *copy = NULL;
	const char *text;

	*v = NULL;
	if (!s)
		return true;
	text = clean(s, &copy);
	if (!text || strlen(text) > INT_MAX)
		return false;
	*v = json_object_new_string_len(text, (int)strlen(text));
	return *v != NULL;
}

/* ok: v was made (NULL is then null). Takes v. */
static void set(struct json *obj, const char *key, json_c_object *v, bool ok)
{
	DROP(mem) char *copy = NULL;
	const char *text = clean(key, &copy);

	if (obj && ok && text && json_object_object_add(in(obj), text, v) == 0)
		return;
	json_object_put(v);
	mark(in(obj));
}

static void push(struct json *arr, json_c_object *v, bool ok)
{
	if (arr && ok && json_object_array_add(in(arr), v) == 0)
		return;
	json_object_put(v);
	mark(in(arr));
}

void json_set_str(struct json *obj, const char *key, const char *v)
{
	json_c_object *s;
	bool ok = new_string(v, &s);

	set(obj, key, s, ok);
}

void json_set_u64(struct json *obj, const char *key, uint64_t v)
{
	json_c_object *n = json_object_new_uint64(v);

	set(obj, key, n, n != NULL);
}

void json_set_f64(struct json *obj, const char *key, double v)
{
	static char brief[] = "%.15g";
	json_c_object *n;
	char text[40];
	double back;

	/* JSON has no word for these. */
	if (!isfinite(v)) {
		set(obj, key, NULL, true);
		return;
	}
	n = json_object_new_double(v);
	/* json-c's own 17 digits make 0.1 a 0.10000000000000001. */
	snprintf(text, sizeof(text), "%.15g", v);
	if (n && sscanf(text, "%lf", &back) == 1 && back == v)
		json_object_set_serializer(n, json_object_double_to_json_string,
					   brief, NULL);
	set(obj, key, n, n != NULL);
}

void json_set_bool(struct json *obj, const char *key, bool v)
{
	json_c_object *b = json_object_new_boolean(v);

	set(obj, key, b, b != NULL);
}

void json_set(struct json *obj, const char *key, struct json *v)
{
	set(obj, key, in(v), v != NULL);
}

void json_push(struct json *arr, struct json *v)
{
	push(arr, in(v), v != NULL);
}

void json_push_str(struct json *arr, const char *v)
{
	json_c_object *s;
	bool ok = new_string(v, &s);

	push(arr, s, ok);
}

static int find_mark(json_c_object *o, int flags, json_c_object *parent,
		     const char *key, size_t *i, void *found)
{
	(void)flags;
	(void)parent;
	(void)key;
	(void)i;
	if ((json_object_is_type(o, json_type_object) ||
	     json_object_is_type(o, json_type_array)) &&
	    json_object_get_userdata(o) == &lacking) {
		*(bool *)found = true;
		return JSON_C_VISIT_RETURN_STOP;
	}
	return JSON_C_VISIT_RETURN_CONTINUE;
}

int json_text(const struct json *j, bool pretty, char **ret, size_t *len)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE |
		    (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
			    : JSON_C_TO_STRING_PLAIN);
	bool lacks = !j;
	const char *text;
	size_t n;
	char *copy;

	if (j)
		json_c_visit(in(j), 0, find_mark, &lacks);
	text = lacks ? NULL
		     : json_object_to_json_string_length(in(j), flags, &n);
	copy = text ? malloc(n + 2) : NULL;
	if (!copy)
		return fail(-ENOMEM, "out of memory for JSON");
	memcpy(copy, text, n);
	copy[n] = '\n';
	copy[n + 1] = '\0';
	*ret = copy;
	*len = n + 1;
	return 0;
}

/*
 * json-c is lenient even where it is told to be strict: it reads NaN and
 * Infinity, clamps integers that are too large, stops at a NUL, and a string
 * with \u0000 ends early for those who read it as C does. So a scanner looks
 * over the words first, by RFC 8259; their order is left to json-c.
 */
struct scan {
	const char *text;
	size_t len, at;
};

static int bad(size_t at, const char *why)
{
	return fail(-EPROTO, "JSON: %s at byte %zu", why, at);
}

/* The byte there, or NUL at the end (where NUL is nowhere allowed). */
static char peek(const struct scan *s)
{
	return s->at < s->len ? s->text[s->at] : '\0';
}

static size_t skip_digits(struct scan *s)
{
	size_t n = 0;

	for (; peek(s) >= '0' && peek(s) <= '9'; n++)
		s->at++;
	return n;
}

/* Fits in an int64_t when negative, else in a uint64_t. */
static bool fits(const char *p, size_t n)
{
	bool negative = *p == '-';
	uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX;
	uint64_t v = 0;

	for (size_t i = negative; i < n; i++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(p[i] - '0'), &v))
			return false;
	}
	return v <= limit;
}

static int scan_number(struct scan *s)
{
	size_t start = s->at;
	bool integer = true;
	char first;

	if (peek(s) == '-')
		s->at++;
	first = peek(s);
	switch (skip_digits(s)) {
	case 0:
		return bad(start, "a malformed number");
	case 1:
		break;
	default:
		if (first == '0')
			return bad(start, "a number with a leading zero");
	}
	if (peek(s) == '.') {
		integer = false;
		s->at++;
		if (skip_digits(s) == 0)
			return bad(start, "a malformed number");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		integer = false;
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (skip_digits(s) == 0)
			return bad(start, "a malformed number");
	}
	if (integer && !fits(s->text + start, s->at - start))
		return bad(start, "a number that is too large");
	return 0;
}

static int scan_escape(struct scan *s)
{
	const char *p = s->text + s->at; /* after the backslash */
	size_t left = s->len - s->at;
	uint64_t v;
	char hex[5] = "";

	if (left == 0 || !strchr("\"\\/bfnrtu", *p) || *p == '\0')
		return bad(s->at, "an unknown escape");
	s->at++;
	if (*p != 'u')
		return 0;
	if (left < 5)
		return bad(s->at, "an unfinished escape");
	memcpy(hex, p + 1, 4);
	if (parse_hex_u64(hex, 4, &v) < 0)
		return bad(s->at, "a malformed escape");
	if (v == 0)
		return bad(s->at, "a NUL in a string");
	s->at += 4;
	return 0;
}

static int scan_string(struct scan *s)
{
	size_t start = s->at++;
	int r;

	while (s->at < s->len) {
		char c = s->text[s->at];

		if ((unsigned char)c < 0x20)
			return bad(s->at, "a control character in a string");
		s->at++;
		if (c == '"')
			return 0;
		r = c == '\\' ? scan_escape(s) : 0;
		if (r < 0)
			return r;
	}
	return bad(start, "an unfinished string");
}

static int scan_word(struct scan *s)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i]);

		if (s->len - s->at >= n &&
		    memcmp(s->text + s->at, words[i], n) == 0) {
			s->at += n;
			return 0;
		}
	}
	return bad(s->at, "an unexpected character");
}

static int scan(const char *text, size_t len, int max_depth)
{
	struct scan s = { .text = text, .len = len };
	int depth = 0;
	int r = 0;

	if (!utf8_valid(text, len))
		return fail(-EPROTO, "JSON: not UTF-8");
	while (s.at < len && r == 0) {
		char c = text[s.at];

		switch (c) {
		case '{':
		case '[':
			if (++depth > max_depth)
				return bad(s.at, "nested too deep");
			s.at++;
			break;
		case '}':
		case ']':
			depth--;
			s.at++;
			break;
		case ' ':
		case '\t':
		case '\r':
		case '\n':
		case ',':
		case ':':
			s.at++;
			break;
		case '"':
			r = scan_string(&s);
			break;
		default:
			r = c == '-' || (c >= '0' && c <= '9') ? scan_number(&s)
							       : scan_word(&s);
		}
	}
	return r;
}

/* json_tokener_free() takes no NULL. */
static void close_tokener(struct json_tokener *tok)
{
	if (tok)
		json_tokener_free(tok);
}

DROP_DEFINE(tokener, struct json_tokener *, close_tokener)

/* json-c collects each token in a buffer that grows: here once, so that no smaller
 * one is left behind. */
static int grow_once(struct json_tokener *tok, size_t len)
{
	if (printbuf_memset(tok->pb, (int)len, 0, 1) < 0)
		return fail(-ENOMEM, "out of memory for JSON");
	printbuf_reset(tok->pb);
	return 0;
}

/* What it had collected too, where the text was refused. */
static void wipe_tokener(struct json_tokener *tok, bool refused)
{
	for (int i = 0; refused && i <= tok->depth; i++)
		wipe_tree(tok->stack[i].current);
	explicit_bzero(tok->pb->buf, (size_t)tok->pb->size);
}

static int parse(struct json_tokener *tok, const char *text, size_t len,
		 struct json **ret)
{
	json_c_object *o;
	enum json_tokener_error e;
	size_t end;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
					    JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(tok, text, (int)len);
	e = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	/* A number goes on until something else comes. */
	if (e == json_tokener_continue) {
		o = json_tokener_parse_ex(tok, "\n", 1);
		e = json_tokener_get_error(tok);
	}
	if (e == json_tokener_continue)
		return fail(-EPROTO, "JSON: it ends too early");
	if (e != json_tokener_success)
		return bad(end, json_tokener_error_desc(e));
	while (end < len && strchr(" \t\r\n", text[end]))
		end++;
	if (end < len) {
		json_close_secret(out(o));
		return bad(end, "more than one value");
	}
	*ret = out(o);
	return 0;
}

static int parse_text(const char *text, size_t len, int max_depth, bool secret,
		      struct json **ret)
{
	DROP(tokener) struct json_tokener *tok = NULL;
	int r;

	if (len > INT_MAX / 2)
		return fail(-EPROTO, "JSON: larger than 1 GiB");
	r = scan(text, len, max_depth);
	if (r < 0)
		return r;
	/* json-c counts the values too: one level more than the brackets. */
	tok = json_tokener_new_ex(max_depth > 0 ? max_depth + 2 : 2);
	if (!tok)
		return fail(-ENOMEM, "out of memory for JSON");
	if (secret)
		r = grow_once(tok, len + 1);
	if (r == 0)
		r = parse(tok, text, len, ret);
	if (secret)
		wipe_tokener(tok, r < 0);
	return r;
}

int json_parse(const char *text, size_t len, int max_depth, struct json **ret)
{
	return parse_text(text, len, max_depth, false, ret);
}

int json_parse_secret(const char *text, size_t len, int max_depth,
		      struct json **ret)
{
	return parse_text(text, len, max_depth, true, ret);
}

static json_c_object *typed(const struct json *j, enum json_type type)
{
	return json_object_is_type(in(j), type) ? in(j) : NULL;
}

struct json *json_get(const struct json *obj, const char *key)
{
	json_c_object *o = typed(obj, json_type_object);
	json_c_object *v = NULL;

	if (o)
		json_object_object_get_ex(o, key, &v);
	return out(v);
}

const char *json_get_str(const struct json *obj, const char *key)
{
	return json_as_str(json_get(obj, key));
}

bool json_get_u64(const struct json *obj, const char *key, uint64_t *v)
{
	json_c_object *n = typed(json_get(obj, key), json_type_int);

	/* A negative one would be taken for 0. */
	if (!n || json_object_get_int64(n) < 0)
		return false;
	*v = json_object_get_uint64(n);
	return true;
}

bool json_get_bool(const struct json *obj, const char *key, bool *v)
{
	json_c_object *b = typed(json_get(obj, key), json_type_boolean);

	if (!b)
		return false;
	*v = json_object_get_boolean(b);
	return true;
}

bool json_get_f64(const struct json *obj, const char *key, double *v)
{
	json_c_object *n = in(json_get(obj, key));

	if (!n || (!json_object_is_type(n, json_type_double) &&
		   !json_object_is_type(n, json_type_int)))
		return false;
	*v = json_object_get_double(n);
	return true;
}

bool json_is_array(const struct json *j)
{
	return typed(j, json_type_array) != NULL;
}

size_t json_len(const struct json *arr)
{
	json_c_object *a = typed(arr, json_type_array);

	return a ? json_object_array_length(a) : 0;
}

struct json *json_at(const struct json *arr, size_t i)
{
	json_c_object *a = typed(arr, json_type_array);

	if (!a || i >= json_object_array_length(a))
		return NULL;
	return out(json_object_array_get_idx(a, i));
}

const char *json_as_str(const struct json *j)
{
	json_c_object *s = typed(j, json_type_string);

	return s ? json_object_get_string(s) : NULL;
}

const char *json_key_at(const struct json *obj, size_t i)
{
	json_c_object *o = typed(obj, json_type_object);
	struct lh_entry *e;

	if (!o)
		return NULL;
	e = lh_table_head(json_object_get_object(o));
	for (; e && i; i--)
		e = lh_entry_next(e);
	return e ? lh_entry_k(e) : NULL;
}
