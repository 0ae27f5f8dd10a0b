// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/vault/writer.h"

#include <errno.h>

#include "tests/unit/check.h"

static void gives(const char *text, size_t n, const uint64_t *want)
{
	struct extents e;

	CHECK_OK(extents_parse(text, strlen(text), &e));
	CHECK_U64(e.n, n);
	for (size_t i = 0; i < n; i++) {
		CHECK_U64(e.r[i].off, want[2 * i]);
		CHECK_U64(e.r[i].len, want[2 * i + 1]);
	}
	extents_release(&e);
}

static void refused(const char *text, const char *words)
{
	struct extents e;

	CHECK_SAYS(-EINVAL, words, extents_parse(text, strlen(text), &e));
}

static void test_text(void)
{
	/* What a program that died leaves is no list of nothing. */
	refused("", "no extents in it; write 'none'");
	refused("# nothing\n\n  \t\r\n", "no extents in it; write 'none'");
	gives("none", 0, NULL);
	gives("# nothing\n\n none\t# at all\r\n", 0, NULL);
	refused("none\n0 1\n", "'none' stands beside extents");
	refused("none\nnone\n", "line 2");
	refused("none 1\n", "line 1");
	gives("0 4096", 1, (uint64_t[]){ 0, 4096 });
	gives("64K\t1M # two\r\n 2GiB 1\n", 2,
	      (uint64_t[]){ 65536, 1 << 20, 2147483648, 1 });
	gives("18446744073709551615 0\n", 1, (uint64_t[]){ UINT64_MAX, 0 });
	refused("0 1\n5\n", "line 2");
	refused("0 1 2\n", "line 1: a line is");
	refused("x 1\n", "line 1");
	refused("0 1\n\n1 -1\n", "line 3");
	refused("18446744073709551615 1\n", "2^64");
}

static void test_json(void)
{
	gives("[]", 0, NULL);
	/* qemu-img map: "offset" is where the host has it. */
	gives(" [{ \"start\": 0, \"length\": 65536, \"depth\": 0, \"present\": true, \"zero\": false, \"data\": true, \"offset\": 327680},\n"
	      "{ \"start\": 65536, \"length\": 10, \"depth\": 0, \"present\": true, \"zero\": true, \"data\": false},\n"
	      "{ \"start\": 70000, \"length\": 10, \"depth\": 0, \"present\": false, \"zero\": true, \"data\": false}]\n",
	      2, (uint64_t[]){ 0, 65536, 65536, 10 });
	/* nbdinfo --map of a dirty bitmap. */
	gives("[{ \"offset\": 0, \"length\": 65536, \"type\": 1, \"description\": \"dirty\" },"
	      "{ \"offset\": 65536, \"length\": 65536, \"type\": 0, \"description\": \"clean\" },"
	      "{ \"offset\": 131072, \"length\": 5, \"type\": 1}]",
	      2, (uint64_t[]){ 0, 65536, 131072, 5 });
	gives("[{\"start\":1,\"length\":2,\"dirty\":true,\"present\":false},{\"start\":1,\"length\":2,\"dirty\":false}]",
	      1, (uint64_t[]){ 1, 2 });
	/* ... and of data and holes, which says nothing of change. */
	refused("[{ \"offset\": 0, \"length\": 65536, \"type\": 0, \"description\": \"data\" }]",
		"extent 1: this is a map of data and holes");
	refused("[{\"start\":1}]", "extent 1: an extent needs \"length\"");
	refused("[{\"start\":1,\"length\":1},7]", "extent 2");
	refused("[{\"length\":1}]", "\"start\" or \"offset\"");
	refused("[{\"start\":-1,\"length\":1}]", "extent 1");
	refused("[{\"start\":1,\"length\":1,\"dirty\":1}]", "true or false");
	refused("[{\"start\":1,\"length\":1,\"type\":3}]", "0 or 1");
	refused("[{", "list of extents");
	refused("[] []", "list of extents");
}

static void test_normalise(void)
{
	struct extent_range r[] = { { 100, 50 }, { 0, 10 },  { 140, 5 },
				    { 10, 5 },	 { 150, 1 }, { 200, 0 },
				    { 130, 40 } };
	struct extents e = { .r = malloc(sizeof(r)), .n = ARRAY_SIZE(r) };

	memcpy(e.r, r, sizeof(r));
	CHECK_FAILS(-EINVAL, extents_normalise(&e, 169));
	CHECK_OK(extents_normalise(&e, 200));
	CHECK_U64(e.n, 2);
	CHECK_U64(e.r[0].off, 0);
	CHECK_U64(e.r[0].len, 15);
	CHECK_U64(e.r[1].off, 100);
	CHECK_U64(e.r[1].len, 70);
	e.r[0] = (struct extent_range){ UINT64_MAX, 2 };
	CHECK_SAYS(-EINVAL, "passes the end", extents_normalise(&e, 200));
	extents_release(&e);
	CHECK_OK(extents_normalise(&e, 0));
}

int main(void)
{
	test_text();
	test_json();
	test_normalise();
	return 0;
}
