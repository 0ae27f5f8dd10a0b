// SPDX-License-Identifier: GPL-3.0-or-later
// timeout: 120
/*
 * Records, names, keys and geometry: there and back, against the vectors of the
 * independent writer, and damaged in every bit and at every length.
 */
#include <errno.h>

#include "backend/base/parse.h"
#include "backend/vault/codec.h"
#include "backend/vault/format_impl.h"
#include "tests/fakes/golden.h"
#include "tests/unit/check.h"

static struct secret *seed;
static struct sign_public public;

static const struct point_id g1 = { 1, 0x1111 }, g2 = { 2, 0x2222222222222222 },
			     g3 = { 3, UINT64_MAX };

static struct digest digest_of(const char *text)
{
	struct digest d;

	sha256(text, strlen(text), &d);
	return d;
}

static struct vault_id some_id(void)
{
	struct vault_id id;

	for (size_t i = 0; i < sizeof(id.b); i++)
		id.b[i] = (uint8_t)(0xc0 + i);
	return id;
}

static struct place place_at(const struct point_id *gen, uint32_t object,
			     uint32_t offset, uint32_t length, uint16_t flags)
{
	return (struct place){ *gen, object, offset, length, flags };
}

/* --- a sample of each record; parse and put again --- */

static void header_make(struct buf *b)
{
	struct vf_header h = { .id = some_id(),
			       .owner = public,
			       .created_ns = -5 };

	vf_header_put(b, &h);
}

static int header_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_header h;
	int r = vf_header_parse(p, n, &h);

	if (!r)
		vf_header_put(out, &h);
	return r;
}

static void config_make(struct buf *b)
{
	struct vf_feature features[] = { { 1, 7, "a feature" }, { 2, 63, "" } };
	struct vf_key keys[] = {
		{ .key = public,
		  .added = 1,
		  .retired = 3,
		  .nheads = 2,
		  .label = "host-a" },
		{ .key = { { 9 } }, .added = 2, .label = "größe" },
		{ .key = { { 8 } }, .added = 2, .retired = 3, .first_head = 2 },
	};
	struct vf_key_head heads[] = { { digest_of("a"), 5 },
				       { digest_of("b"), UINT64_MAX } };
	struct vf_config c = {
		.id = some_id(),
		.n = 3,
		.prev = digest_of("config 2"),
		.time_ns = INT64_MIN,
		.read_compatible = 0,
		.compatible = UINT64_C(1) << 63,
		.name = "a vault",
		.owner = public,
		.features = features,
		.nfeatures = ARRAY_SIZE(features),
		.keys = keys,
		.nkeys = ARRAY_SIZE(keys),
		.heads = heads,
		.nheads = ARRAY_SIZE(heads),
	};

	/* Names for the longest there may be. */
	memset(features[1].name, 'x', 46);
	memset(keys[2].label, 'y', 64);
	CHECK_OK(vf_config_put(b, &c, seed));
}

static int config_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_config c;
	int r = vf_config_parse(p, n, &c);

	if (r)
		return r;
	CHECK_OK(vf_config_put(out, &c, seed));
	vf_config_release(&c);
	return 0;
}

static const struct point_row rows[] = {
	{ .time_ns = INT64_MIN,
	  .id = { 1, 2 },
	  .consistency = CONSISTENCY_CRASH,
	  .held = true,
	  .expiry_ns = INT64_MAX,
	  .ndisks = 64,
	  .record_digest = { { 1 } },
	  .record_length = 16,
	  .object_length = STORE_OBJECT_MAX },
	{ .time_ns = 0,
	  .id = { UINT64_MAX, UINT64_MAX },
	  .consistency = CONSISTENCY_APPLICATION,
	  .caller_extents = true,
	  .ndisks = 1,
	  .record_length = 800,
	  .object_length = 800 },
};

static void index_make(struct buf *b)
{
	vf_index_put(b, rows, ARRAY_SIZE(rows));
}

static int index_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct point_row got[VF_INDEX_ROWS];
	size_t count;
	int r = vf_index_parse(p, n, got, &count);

	if (!r)
		vf_index_put(out, got, count);
	return r;
}

/* Two pages: one of an earlier commit, one inline. */
static void commit_make_kind(struct buf *b, enum vf_kind kind)
{
	DROP(buf) struct buf page = BUF_INIT(VF_RECORD_MAX);
	const struct buf *inl[] = { NULL, &page };
	struct vf_index_ref refs[] = {
		{ .first_ns = INT64_MIN,
		  .last_ns = INT64_MIN + 1,
		  .rows = 2,
		  .length = 24 + 160,
		  .commit = 3,
		  .offset = 5000,
		  .digest = { { 4 } } },
		{ .first_ns = -4, .last_ns = -4, .rows = 1, .commit = 9 },
	};
	struct point_row row = rows[1];
	struct point_id ids[] = { g1, g2 };
	uint16_t flags[] = { 1, 2 };
	int64_t expiry[] = { -1, 1 };
	struct vf_commit c = {
		.id = some_id(),
		.seq = 9,
		.prev = digest_of("commit 8"),
		.config_n = 2,
		.config_digest = digest_of("config 2"),
		.kind = kind,
		.time_ns = 77,
		.session = g3,
		.vm = "vm",
		.writer = public,
		.last_relocate = kind == VF_RELOCATE ? 9 : 4,
		.last_intent = kind == VF_INTENT ? 9 : 8,
		.npoints = 3,
		.pages = refs,
		.npages = 2,
		.ids = ids,
		.nids = 2,
		.new_flags = flags,
		.new_expiry = expiry,
		.list_digest = digest_of("list"),
		.list_length = 300,
		.intent_seq = 8,
		.swept_outcome = 2,
		.prev_relocate = 4,
		.newest = (const uint8_t *)"the newest record",
		.newest_length = 17,
	};

	row.time_ns = -4;
	vf_index_put(&page, &row, 1);
	if (kind == VF_BACKUP)
		ids[0] = c.session;
	CHECK_OK(vf_commit_build(&c, inl, seed));
	buf_add(b, c.bytes, c.length);
	free(c.bytes);
}

#define COMMIT(name, kind)                                                     \
	static void name(struct buf *b)                                        \
	{                                                                      \
		commit_make_kind(b, kind);                                     \
	}
COMMIT(backup_make, VF_BACKUP)
COMMIT(prune_make, VF_PRUNE)
COMMIT(intent_make, VF_INTENT)
COMMIT(swept_make, VF_SWEPT)
COMMIT(relocate_make, VF_RELOCATE)
COMMIT(holds_make, VF_CONFIG)

static int commit_again(const uint8_t *p, size_t n, struct buf *out)
{
	DROP(buf) struct buf page = BUF_INIT(VF_RECORD_MAX);
	const struct buf *inl[] = { NULL, &page };
	uint8_t *copy = malloc(n + 1);
	DROP(mem) uint8_t *newest = NULL;
	struct vf_commit c;
	int r;

	CHECK(copy);
	memcpy(copy, p, n);
	r = vf_commit_parse(copy, n, &c);
	if (r)
		return r;
	CHECK(c.npages == 2);
	buf_add(&page, c.bytes + c.pages[1].offset, c.pages[1].length);
	newest = malloc(c.newest_length);
	CHECK(newest);
	memcpy(newest, c.newest, c.newest_length);
	c.newest = newest;
	CHECK_OK(vf_commit_build(&c, inl, seed));
	buf_add(out, c.bytes, c.length);
	vf_commit_release(&c);
	return 0;
}

static void point_make(struct buf *b)
{
	struct point_id adopted[] = { g1 };
	struct vf_disk disks[] = {
		{ .name = ".swap %",
		  .chunk_log2 = 18,
		  .size = 1,
		  .dead = digest_of("dead"),
		  .dead_place = place_at(&g2, UINT32_MAX, 0, 1, PLACE_INDEX),
		  .dead_bytes = 1,
		  .read_bytes = 4 },
		{ .name = "data",
		  .chunk_log2 = 22,
		  .root_level = 2,
		  .caller_extents = true,
		  .was_vhd = true,
		  .size = VF_DISK_MAX >> 8,
		  .root = digest_of("root"),
		  .root_place = place_at(&g3, 0, STORE_OBJECT_MAX - 5, 5,
					 PLACE_POINT),
		  .data_bytes = 2,
		  .stored_bytes = 3 },
	};
	struct vf_point p = {
		.vault = some_id(),
		.id = g3,
		.base = g1,
		.time_ns = -7,
		.written_ns = 8,
		.consistency = CONSISTENCY_FILE_SYSTEM,
		.caller_extents = true,
		.vm = "größe 1",
		.labels = { 1600, 10, digest_of("labels") },
		.adopted = adopted,
		.nadopted = 1,
		.disks = disks,
		.ndisks = 2,
	};

	vf_point_put(b, &p);
}

static int point_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_point pt;
	int r = vf_point_parse(p, n, &pt);

	if (r)
		return r;
	vf_point_put(out, &pt);
	vf_point_release(&pt);
	return 0;
}

#define PAGE_COUNT 5
#define PAGE_NUMBER 0x123456789
static struct vf_node *page_node(bool table)
{
	struct vf_node *n = vf_node_new(PAGE_COUNT);
	uint16_t flags = table ? 0 : PLACE_INDEX;

	CHECK(n);
	n->level = table ? 0 : 3;
	n->number = PAGE_NUMBER;
	n->e[0].id = digest_of("child 0");
	n->e[0].place = place_at(&g1, 0, 0, 70, flags);
	n->e[2].id = digest_of("child 2");
	n->e[2].place =
		place_at(&g2, 5, 999, VF_FRAME_SIZE, table ? PLACE_RAW : flags);
	n->e[4].id = digest_of("child 4");
	n->e[4].place = place_at(&g1, UINT32_MAX, 70, 1, flags);
	return n;
}

static struct digest page_want(bool table)
{
	DROP(mem) struct vf_node *n = page_node(table);
	struct digest d;

	if (table)
		vf_table_id(n, &d);
	else
		vf_page_id(n, &d);
	return d;
}

static void page_make(struct buf *b)
{
	DROP(mem) struct vf_node *n = page_node(false);

	vf_page_put(b, n);
}

static void table_make(struct buf *b)
{
	DROP(mem) struct vf_node *n = page_node(true);

	vf_table_put(b, n);
}

static int page_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct digest id = page_want(false);
	DROP(mem) struct vf_node *node = NULL;
	int r = vf_page_parse(p, n, 3, PAGE_NUMBER, PAGE_COUNT, &id, &node);

	if (!r)
		vf_page_put(out, node);
	return r;
}

static int table_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct digest id = page_want(true);
	DROP(mem) struct vf_node *node = NULL;
	int r = vf_table_parse(p, n, PAGE_NUMBER, PAGE_COUNT, &id, &node);

	if (!r)
		vf_table_put(out, node);
	return r;
}

static void dead_make(struct buf *b)
{
	struct place places[] = {
		place_at(&g1, 0, 10, 20, 0),
		place_at(&g2, 7, 0, STORE_OBJECT_MAX, PLACE_INDEX),
	};
	struct vf_dead d = {
		.prev = digest_of("before"),
		.prev_place = place_at(&g3, 1, 2, 3, PLACE_INDEX),
		.places = places,
		.count = 2,
	};

	vf_dead_put(b, &d);
}

static int dead_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_dead d;
	int r = vf_dead_parse(p, n, &d);

	if (r)
		return r;
	vf_dead_put(out, &d);
	free(d.places);
	return 0;
}

static const struct vf_segment_frame frames[] = {
	{ 0, { { 1 } }, 0, 10, false },
	{ (VF_DISK_MAX >> VF_FRAME_LOG2) - 1, { { 2 } }, 10, 65536, true },
};

/* Without the 8 bytes after it. */
static void trailer_make(struct buf *b)
{
	vf_trailer_put(b, &g2, 4, frames, ARRAY_SIZE(frames));
	b->len -= 8;
}

static int trailer_again(const uint8_t *p, size_t n, struct buf *out)
{
	DROP(mem) struct vf_segment_frame *f = NULL;
	size_t count;
	int r = vf_trailer_parse(p, n, &g2, 4, &f, &count);

	if (r)
		return r;
	vf_trailer_put(out, &g2, 4, f, count);
	out->len -= 8;
	return 0;
}

static void session_make(struct buf *b)
{
	struct point_id adopted[] = { g1, g2 };
	struct vf_session s = {
		.vault = some_id(),
		.gen = g3,
		.base = g1,
		.time_ns = -1,
		.boot_id = { 1, 2, 3 },
		.pid = 4,
		.start_ticks = 5,
		.pidns = 6,
		.kind = VF_CONFIG,
		.writer = public,
		.host = "host.example",
		.vm = "vm",
		.adopted = adopted,
		.nadopted = 2,
	};

	vf_session_put(b, &s);
}

static int session_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_session s;
	int r = vf_session_parse(p, n, &s);

	if (r)
		return r;
	vf_session_put(out, &s);
	vf_session_release(&s);
	return 0;
}

static void end_make(struct buf *b)
{
	vf_end_put(b, &g3, VF_ADOPTED, 0);
}

static int end_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct point_id gen;
	enum vf_outcome outcome;
	uint64_t commit;
	int r = vf_end_parse(p, n, &gen, &outcome, &commit);

	if (!r)
		vf_end_put(out, &gen, outcome, commit);
	return r;
}

/* Lists are only read here: put as FORMAT.md 9 has them. */
static size_t list_begin(struct buf *b, uint16_t kind, uint32_t entries)
{
	size_t at = record_begin(b, "VFls");

	buf_u16(b, kind);
	buf_u16(b, 2);
	buf_u16(b, 2);
	buf_u16(b, 0);
	buf_u32(b, entries);
	buf_u32(b, 0);
	buf_name(b, "d");
	buf_name(b, "e");
	buf_gen(b, &g1);
	buf_gen(b, &g2);
	return at;
}

static const struct vf_claim claims[] = {
	{ 0, 0, { 1, 0x1111 }, 7 },
	{ 1, PLACE_INDEX, { 2, 0x2222222222222222 }, UINT32_MAX },
	{ 0xffff, PLACE_POINT, { 1, 0x1111 }, 0 },
	{ 0xffff, 8, { 1, 0x1111 }, 0 },
};

static void put_claim(struct buf *b, const struct vf_claim *c)
{
	buf_u16(b, c->disk);
	buf_u16(b, !point_id_equal(&c->gen, &g1));
	buf_u16(b, c->flags);
	buf_u16(b, 0);
	buf_u32(b, c->object);
	buf_u32(b, 0);
}

static void claims_make(struct buf *b)
{
	size_t at = list_begin(b, 3, ARRAY_SIZE(claims));

	for (size_t i = 0; i < ARRAY_SIZE(claims); i++)
		put_claim(b, &claims[i]);
	record_end(b, at);
}

static void put_move(struct buf *b, const struct vf_move *m)
{
	buf_u16(b, m->disk);
	buf_zero(b, 6);
	place_put(b, !point_id_equal(&m->from.gen, &g1), &m->from);
	place_put(b, !point_id_equal(&m->to.gen, &g1), &m->to);
}

static void moves_make(struct buf *b)
{
	struct vf_move m = { 1, place_at(&g1, 4, 5, 6, PLACE_INDEX),
			     place_at(&g2, 7, 8, 6, PLACE_INDEX) };
	size_t at = list_begin(b, 5, 1);

	put_move(b, &m);
	record_end(b, at);
}

static int list_again(const uint8_t *p, size_t n, struct buf *out)
{
	struct vf_list l;
	int r = vf_list_parse(p, n, &l);

	if (r)
		return r;
	/* Its tables cannot be put as they were but by what was read. */
	if (l.ndisks == 2 && strcmp(l.disks[0].s, "d") == 0 &&
	    strcmp(l.disks[1].s, "e") == 0) {
		size_t at = list_begin(out, l.kind,
				       (uint32_t)(l.nclaims + l.nmoves));

		for (size_t i = 0; i < l.nclaims; i++)
			put_claim(out, &l.claims[i]);
		for (size_t i = 0; i < l.nmoves; i++)
			put_move(out, &l.moves[i]);
		record_end(out, at);
	}
	vf_list_release(&l);
	return 0;
}

struct range {
	size_t off, len;
};

static const struct kind {
	const char *name;
	void (*make)(struct buf *b);
	int (*again)(const uint8_t *p, size_t n, struct buf *out);
	bool sealed;
	/* What was put need not be what was flipped: generations in another order. */
	bool orders;
	struct range zero[6]; /* besides the padding of names */
} kinds[] = {
	{ "header", header_make, header_again, .zero = { { 72, 56 } } },
	{ "config", config_make, config_again, .sealed = true },
	{ "index", index_make, index_again,
	  .zero = { { 20, 4 },
		    { 24 + 65, 1 },
		    { 24 + 70, 2 },
		    { 104 + 70, 2 } } },
	{ "backup", backup_make, commit_again, .sealed = true },
	{ "prune", prune_make, commit_again, .sealed = true },
	{ "intent", intent_make, commit_again, .sealed = true },
	{ "swept", swept_make, commit_again, .sealed = true },
	{ "relocate", relocate_make, commit_again, .sealed = true },
	{ "holds", holds_make, commit_again, .sealed = true },
	{ "point", point_make, point_again, .orders = true,
	  .zero = { { 81, 1 },
		    { 90, 6 },
		    { 300, 4 },
		    { 432 + 344, 56 },
		    { 832 + 344, 56 } } },
	{ "page", page_make, page_again, .orders = true,
	  .zero = { { 17, 1 }, { 22, 2 }, { 64 + 48, 48 } } },
	{ "table", table_make, table_again, .orders = true,
	  .zero = { { 28, 4 }, { 64 + 48, 48 } } },
	{ "dead", dead_make, dead_again, .orders = true,
	  .zero = { { 70, 2 } } },
	{ "trailer", trailer_make, trailer_again,
	  .zero = { { 40 + 50, 6 }, { 96 + 50, 6 } } },
	{ "session", session_make, session_again, .zero = { { 116, 4 } } },
	{ "end", end_make, end_again, .zero = { { 34, 6 }, { 48, 8 } } },
	{ "claims", claims_make, list_again, .orders = true,
	  .zero = { { 22, 2 }, { 28, 4 }, { 472 + 6, 2 }, { 472 + 12, 4 } } },
	{ "moves", moves_make, list_again, .orders = true,
	  .zero = { { 22, 2 }, { 28, 4 }, { 472 + 2, 6 } } },
};

static const struct kind *now;
static size_t now_at;

static void say_where(void)
{
	fprintf(stderr, "(%s, %zu)\n", now->name, now_at);
}

static void mend_crc(uint8_t *p, size_t n)
{
	uint32_t crc;

	memset(p + 12, 0, 4);
	crc = crc32c(0, p, n);
	memcpy(p + 12, &crc, sizeof(crc));
}

/* Refused, in a way that err.h has. */
static void refused(int r)
{
	if (r == -EPROTO || r == -EBADMSG || r == -ENOTSUP ||
	    r == -EKEYREJECTED)
		return;
	say_where();
	CHECK(!"an error that is none of a parser's");
}

static int parse_copy(const uint8_t *p, size_t n, struct buf *out)
{
	/* Of its exact size, for sanitizers. */
	DROP(mem) uint8_t *copy = malloc(n ? n : 1);

	CHECK(copy);
	memcpy(copy, p, n);
	return now->again(copy, n, out);
}

static void test_round(const struct buf *b)
{
	DROP(buf) struct buf again = BUF_INIT(VF_COMMIT_MAX);

	CHECK_OK(parse_copy(b->data, b->len, &again));
	CHECK_OK(buf_check(&again, now->name));
	CHECK_U64(again.len, b->len);
	CHECK_MEM(again.data, b->data, b->len);
}

static void test_lengths(const struct buf *b)
{
	DROP(buf) struct buf out = BUF_INIT(VF_COMMIT_MAX);
	DROP(mem) uint8_t *p = calloc(1, b->len + 16);

	CHECK(p);
	for (size_t n = 0; n < b->len + 16; n++) {
		uint32_t length = (uint32_t)n;

		if (n == b->len)
			continue;
		now_at = n;
		memset(p, 0, b->len + 16);
		memcpy(p, b->data, b->len);
		refused(parse_copy(p, n, &out));
		if (n < VF_HEADER_SIZE)
			continue;
		/* It may even say that it is so short or long. */
		memcpy(p + 8, &length, sizeof(length));
		mend_crc(p, n);
		refused(parse_copy(p, n, &out));
	}
	CHECK_U64(out.len, 0);
}

static bool always_zero(size_t at)
{
	for (size_t i = 0; i < ARRAY_SIZE(now->zero); i++)
		if (at - now->zero[i].off < now->zero[i].len)
			return true;
	return false;
}

static void test_flips(const struct buf *b)
{
	DROP(mem) uint8_t *p = malloc(b->len);
	size_t parsed = 0;

	CHECK(p);
	for (size_t i = 0; i < 8 * b->len; i++) {
		DROP(buf) struct buf out = BUF_INIT(VF_COMMIT_MAX);
		size_t at = i / 8;
		int r;

		now_at = at;
		memcpy(p, b->data, b->len);
		p[at] ^= (uint8_t)(1u << i % 8);
		refused(parse_copy(p, b->len, &out));
		/* Seals take their time: one bit of each byte. */
		if (at - 12 < 4 || (now->sealed && i % 8 != at % 8))
			continue;
		mend_crc(p, b->len);
		r = parse_copy(p, b->len, &out);
		if (!r &&
		    (at < VF_HEADER_SIZE || now->sealed || always_zero(at))) {
			say_where();
			CHECK(!"a bit that must not be flipped");
		}
		if (r) {
			refused(r);
			continue;
		}
		/* What is accepted has one form only. */
		parsed++;
		if (now->orders)
			continue;
		CHECK(out.len == b->len && !memcmp(out.data, p, b->len));
	}
	CHECK(now->sealed ? !parsed : parsed > 0);
}

static void test_records(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);

		now = &kinds[i];
		now_at = 0;
		now->make(&b);
		CHECK_OK(buf_check(&b, now->name));
		test_round(&b);
		test_lengths(&b);
		test_flips(&b);
		/* None is taken for another. */
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			DROP(buf) struct buf out = BUF_INIT(VF_COMMIT_MAX);

			if (kinds[k].again == now->again)
				continue;
			CHECK_SAYS(-EPROTO, "not a VF",
				   kinds[k].again(b.data, b.len, &out));
		}
	}
}

/* --- fields whose values are few --- */

static int with(const char *kind, size_t at, size_t size, uint64_t v)
{
	DROP(buf) struct buf b = BUF_INIT(VF_COMMIT_MAX);
	DROP(buf) struct buf out = BUF_INIT(VF_COMMIT_MAX);
	bool commit = false;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			now = &kinds[i];
	now_at = at;
	now->make(&b);
	memcpy(b.data + at, &v, size);
	if (now->sealed) {
		size_t n = b.len - SIGN_SIZE;

		commit = now->again == commit_again;
		memset(b.data + 12, 0, 4);
		CHECK_OK(sign_make(seed, commit ? VF_TAG_COMMIT : VF_TAG_CONFIG,
				   b.data, n, b.data + n));
	}
	mend_crc(b.data, b.len);
	return parse_copy(b.data, b.len, &out);
}

#define PAGES 416 /* of a commit: its page table, two rows of 72 */
#define BODY (PAGES + 2 * 72)

static void test_values(void)
{
	static const struct {
		const char *kind;
		size_t at, size;
		uint64_t v;
		bool good;
	} cases[] = {
		/* consistency, tier, flags, disks, lengths of an index row */
		{ "index", 24 + 64, 1, 0, false },
		{ "index", 24 + 64, 1, 3, true },
		{ "index", 24 + 64, 1, 4, false },
		{ "index", 24 + 66, 2, 3, true },
		{ "index", 24 + 66, 2, 4, false },
		{ "index", 24 + 68, 2, 0, false },
		{ "index", 24 + 68, 2, 65, false },
		{ "index", 24 + 56, 4, 15, false },
		{ "index", 24 + 60, 4, STORE_OBJECT_MAX + 1, false },
		{ "index", 104 + 60, 4, 799, false },
		/* times ascend */
		{ "index", 104, 8, (uint64_t)INT64_MIN, false },
		{ "index", 104, 8, (uint64_t)INT64_MIN + 1, true },
		{ "index", 16, 4, 0, false },
		{ "index", 16, 4, 1, false },
		{ "index", 16, 4, 257, false },

		{ "point", 80, 1, 0, false },
		{ "point", 80, 1, 4, false },
		{ "point", 82, 2, 0, false }, /* but a disk has it */
		{ "point", 82, 2, 3, false },
		{ "point", 84, 2, 0, false },
		{ "point", 84, 2, 1, false },
		{ "point", 84, 2, 3, false },
		{ "point", 86, 2, 2, false },
		{ "point", 88, 2, 3, true },
		{ "point", 88, 2, 4, false },
		{ "point", 308, 4, VF_LABELS_MAX, true },
		{ "point", 308, 4, VF_LABELS_MAX + 1, false },
		{ "point", 308, 4, 0, false },
		{ "point", 432 + 204, 1, 17, false },
		{ "point", 432 + 204, 1, 20, true },
		{ "point", 432 + 204, 1, 23, false },
		{ "point", 432 + 205, 1, 1, false },
		{ "point", 432 + 206, 2, 4, false },
		{ "point", 432 + 208, 8, 0, false },
		{ "point", 432 + 208, 8, VF_DISK_MAX + 1, false },
		/* an id has a place */
		{ "point", 432 + 216, 1, 1, false },
		{ "point", 432 + 296 + 8, 4, 0, false },
		/* INDEX for the dead page, POINT for the root, of this point */
		{ "point", 432 + 296 + 14, 2, 0, true },
		{ "point", 432 + 296 + 14, 2, PLACE_POINT, false },
		{ "point", 832 + 248 + 14, 2, PLACE_INDEX, false },
		{ "point", 832 + 248 + 14, 2, PLACE_INDEX | PLACE_POINT,
		  false },
		{ "point", 832 + 248 + 12, 2, 1, false },
		{ "point", 832 + 248 + 12, 2, 3, false },
		{ "point", 832 + 248 + 8, 4, 6, false },
		/* names ascend */
		{ "point", 432 + 2, 1, 'a', true },
		{ "point", 432 + 2, 1, 'e', false },
		{ "point", 432 + 2, 1, '/', false },
		{ "point", 432 + 2, 1, 0xff, false },
		{ "point", 432, 2, 201, false },
		{ "point", 432, 2, 0, false },

		{ "page", 16, 1, 2, false },
		{ "page", 18, 2, 4, false },
		{ "page", 24, 8, PAGE_NUMBER + 1, false },
		{ "page", 64 + 32 + 12, 2, 1, true },
		{ "page", 64 + 32 + 12, 2, 2, false },
		{ "page", 64 + 32 + 14, 2, 0, false },
		{ "page", 64 + 32 + 14, 2, PLACE_POINT, false },
		{ "page", 64 + 32 + 4, 4, STORE_OBJECT_MAX - 70, true },
		{ "page", 64 + 32 + 4, 4, STORE_OBJECT_MAX - 69, false },
		{ "page", 64 + 32 + 4, 4, UINT32_MAX, false },
		{ "page", 64, 1, 0x55, false }, /* not its id */

		{ "table", 16, 8, 0, false },
		{ "table", 24, 2, 6, false },
		{ "table", 64 + 32 + 14, 2, PLACE_RAW, true },
		{ "table", 64 + 32 + 14, 2, PLACE_INDEX, false },
		{ "table", 64 + 32 + 8, 4, VF_FRAME_SIZE, true },
		{ "table", 64 + 32 + 8, 4, VF_FRAME_SIZE + 1, false },

		{ "dead", 64, 4, 0, false },
		{ "dead", 64, 4, 1, false },
		{ "dead", 64, 4, VF_DEAD_PLACES + 1, false },
		{ "dead", 48 + 14, 2, 0, false },
		{ "dead", 120 + 14, 2, PLACE_RAW, false },
		{ "dead", 120 + 14, 2, PLACE_INDEX, true },
		{ "dead", 120 + 8, 4, 0, false },

		{ "trailer", 36, 4, 1, false },
		{ "trailer", 36, 4, UINT32_MAX, false },
		{ "trailer", 32, 4, 5, false },
		{ "trailer", 96, 8, 0, false },
		{ "trailer", 96, 8, VF_DISK_MAX >> VF_FRAME_LOG2, false },
		{ "trailer", 96 + 48, 2, 2, false },
		{ "trailer", 96 + 44, 4, 0, false },

		{ "session", 112, 2, 0, false },
		{ "session", 112, 2, 1, true },
		{ "session", 112, 2, 7, false },
		{ "session", 114, 2, 1, false },
		{ "session", 152, 2, 0, false },
		{ "session", 356, 2, 0, false },
		{ "end", 32, 2, 0, false },
		{ "end", 32, 2, 1, true },
		{ "end", 32, 2, 5, false },

		{ "claims", 16, 2, 4, false },
		{ "claims", 24, 4, 3, false },
		{ "claims", 472, 2, 1, true },
		{ "claims", 472, 2, 2, false },
		{ "claims", 472, 2, 0xffff, false },
		{ "claims", 472 + 2, 2, 2, false },
		{ "claims", 472 + 4, 2, PLACE_RAW, false },
		{ "claims", 472 + 4, 2, PLACE_POINT, false },
		{ "claims", 504, 2, 0, false },
		{ "claims", 504 + 4, 2, PLACE_POINT | 8, false },
		{ "claims", 504 + 8, 4, 1, false },
		{ "moves", 472, 2, 2, false },
		{ "moves", 472 + 8 + 8, 4, 7, false },
		{ "moves", 472 + 8 + 8, 4, 0, false },
		{ "moves", 472 + 8 + 14, 2, 0, false },
		{ "moves", 472 + 8 + 14, 2, PLACE_RAW, false },

		{ "backup", 32, 8, 0, false },
		{ "backup", 114, 2, 1, false },
		{ "backup", 116, 4, 15, false },
		{ "backup", 128, 8, 0, false }, /* the session's seq */
		{ "backup", 128, 8, 4, false }, /* not the point's */
		{ "backup", 380, 4, 1, false },
		{ "backup", 384, 8, 9, false }, /* no relocate itself */
		{ "backup", 384, 8, 0, true },
		{ "backup", 392, 8, 9, false },
		{ "backup", 400, 8, 2, false },
		{ "backup", 408, 4, 1, false },
		{ "backup", 408, 4, UINT32_MAX, false },
		{ "backup", 412, 4, 16, false },
		{ "backup", 412, 4, 0, false },
		{ "backup", PAGES + 8, 8, 0, false }, /* they overlap */
		{ "backup", PAGES + 16, 4, 0, false },
		{ "backup", PAGES + 24, 8, 8, true },
		{ "backup", PAGES + 24, 8, 9, false }, /* not inline */
		{ "backup", PAGES + 24, 8, 10, false },
		{ "backup", PAGES + 24, 8, 0, false },
		{ "backup", PAGES + 36, 4, 1, false },
		{ "backup", PAGES + 72 + 24, 8, 8, false },
		{ "backup", PAGES + 72 + 32, 4, BODY + 15, false },
		{ "backup", BODY, 8, 2, false },
		{ "prune", BODY, 4, 0, false },
		{ "prune", BODY, 4, 1, false },
		{ "prune", BODY, 4, 3, false },
		{ "prune", BODY + 4, 4, 1, false },
		{ "holds", BODY + 8 + 16, 2, 0, true },
		{ "holds", BODY + 8 + 16, 2, 4, false },
		{ "holds", BODY + 8 + 18, 2, 1, false },
		{ "intent", 392, 8, 8, false },
		{ "intent", BODY + 36, 4, 1, false },
		{ "relocate", 384, 8, 0, false },
		{ "relocate", BODY + 40, 8, 0, true },
		{ "relocate", BODY + 40, 8, 9, false },
		{ "swept", BODY, 8, 0, false },
		{ "swept", BODY, 8, 9, false },
		{ "swept", BODY + 8, 4, 1, true },
		{ "swept", BODY + 8, 4, 3, false },

		{ "config", 104, 2, 1, false },
		{ "config", 104, 2, UINT16_MAX, false },
		{ "config", 106, 2, UINT16_MAX, false },
		{ "config", 108, 4, UINT32_MAX, false },
		{ "config", 112, 4, 1, false },
		{ "config", 116, 4, UINT32_MAX - 63, false },
		{ "config", 356, 4, 1, false },
		{ "config", 360, 1, 3, false },
		{ "config", 361, 1, 64, false },
		/* keys: 456, 592, 728 */
		{ "config", 456 + 32, 8, 0, false },
		{ "config", 456 + 32, 8, 4, false },
		{ "config", 456 + 40, 8, 0, false }, /* active, with heads */
		{ "config", 456 + 40, 8, 4, false },
		{ "config", 456 + 48, 4, 1, false },
		{ "config", 456 + 52, 4, 3, false },
		{ "config", 592 + 48, 4, 1, false },
		{ "config", 592, 1, 8, false }, /* there twice */
		{ "config", 728 + 48, 4, 3, false },
		{ "config", 728 + 52, 4, UINT32_MAX, false },
		{ "config", 728 + 56, 8, 1, false },
	};

	size_t bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = with(cases[i].kind, cases[i].at, cases[i].size,
			     cases[i].v);

		if (!r != cases[i].good) {
			fprintf(stderr, "%s at %zu: %" PRIu64 ": %s\n",
				cases[i].kind, cases[i].at, cases[i].v,
				r ? err_text(r) : "taken");
			bad++;
		}
		if (r)
			refused(r);
	}
	CHECK_U64(bad, 0);
	CHECK_SAYS(-ENOTSUP, "a commit of kind 0", with("backup", 112, 2, 0));
	CHECK_SAYS(-ENOTSUP, "a commit of kind 7", with("backup", 112, 2, 7));
	CHECK_SAYS(-ENOTSUP, "the feature 'bit 0'", with("config", 80, 8, 1));
	CHECK_OK(with("config", 88, 8, UINT64_MAX));
	CHECK_OK(with("config", 96, 8, UINT64_MAX));
}

/* --- vectors --- */

static const char *str_of(const struct json *j, const char *key)
{
	const char *s = json_get_str(j, key);

	CHECK(s);
	return s;
}

static uint64_t u64_of(const struct json *j, const char *key)
{
	uint64_t n;

	CHECK(json_get_u64(j, key, &n));
	return n;
}

static size_t hex_bytes(const char *hex, uint8_t *out, size_t room)
{
	size_t n = strlen(hex) / 2;

	CHECK(n <= room);
	CHECK_OK(parse_hex(hex, out, n));
	return n;
}

static struct digest digest_at(const char *hex)
{
	struct digest d;

	CHECK_U64(hex_bytes(hex, d.b, sizeof(d.b)), DIGEST_SIZE);
	return d;
}

static void check_id(const struct digest *got, const char *want)
{
	char hex[DIGEST_HEX + 1];

	digest_hex(got, hex);
	CHECK_STR(hex, want);
}

static void vector_names(const struct json *v)
{
	const struct json *all = json_get(v, "names");

	CHECK(json_len(all) > 10);
	for (size_t i = 0; i < json_len(all); i++) {
		const struct json *x = json_at(all, i);
		char name[256], key[CATALOG_NAME_MAX + 1];
		char back[CATALOG_NAME_MAX + 1];
		size_t n = hex_bytes(str_of(x, "name"), (uint8_t *)name, 255);
		uint8_t field[VF_NAME_FIELD];
		DROP(buf) struct buf b = BUF_INIT(VF_NAME_FIELD);
		struct rd r;
		bool ok;

		CHECK(json_get_bool(x, "ok", &ok));
		name[n] = '\0';
		if (!ok) {
			CHECK_FAILS(-EINVAL, vf_name_encode(name, key));
			continue;
		}
		CHECK_OK(vf_name_encode(name, key));
		CHECK_STR(key, str_of(x, "key"));
		CHECK_OK(vf_name_decode(key, strlen(key), back));
		CHECK_STR(back, name);
		buf_name(&b, name);
		CHECK_U64(hex_bytes(str_of(x, "name204"), field, sizeof(field)),
			  VF_NAME_FIELD);
		CHECK(b.len == sizeof(field) && !memcmp(b.data, field, b.len));
		r = rd_over(field, sizeof(field));
		CHECK_OK(rd_name(&r, "name", false, back));
		CHECK_STR(back, name);
	}
}

static void vector_keys(const struct json *v)
{
	const struct json *all = json_get(v, "point_names");

	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		const struct json *x = json_at(all, i);
		struct point_id id = { u64_of(x, "seq"), u64_of(x, "nonce") };
		struct point_id back;
		DROP(buf) struct buf b = BUF_INIT(16);
		uint8_t bytes[16];
		char text[POINT_ID_TEXT];

		point_id_text(&id, text);
		CHECK_STR(text, str_of(x, "name"));
		CHECK_OK(vf_key_parse_gen(text, &back));
		CHECK(point_id_equal(&id, &back));
		buf_gen(&b, &id);
		CHECK_U64(hex_bytes(str_of(x, "bytes"), bytes, 16), 16);
		CHECK_MEM(b.data, bytes, 16);
	}
	all = json_get(v, "descending");
	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		const struct json *x = json_at(all, i);
		char key[VF_KEY_SIZE];
		uint64_t n;

		vf_key_config(key, u64_of(x, "n"));
		CHECK_STR(key + 2, str_of(x, "name"));
		CHECK_OK(vf_key_inverse(key + 2, &n));
		CHECK_U64(n, u64_of(x, "n"));
	}
}

static void vector_places(const struct json *v)
{
	const struct json *all = json_get(v, "places");
	static uint8_t table[65536 * 16];

	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		const struct json *x = json_at(all, i);
		struct place p, want = {
			.object = (uint32_t)u64_of(x, "n"),
			.offset = (uint32_t)u64_of(x, "offset"),
			.length = (uint32_t)u64_of(x, "length"),
			.flags = (uint16_t)u64_of(x, "flags"),
		};
		uint16_t row = (uint16_t)u64_of(x, "row");
		DROP(buf) struct buf b = BUF_INIT(16);
		uint8_t bytes[16];
		struct rd r = rd_over(bytes, sizeof(bytes));

		CHECK_U64(hex_bytes(str_of(x, "bytes"), bytes, 16), 16);
		place_put(&b, row, &want);
		CHECK_MEM(b.data, bytes, 16);
		memset(table, 0, sizeof(table));
		table[16 * row] = 9;
		CHECK_OK(rd_place(&r, table, row + 1u, want.flags, &p));
		CHECK(p.gen.seq == 9 && !p.gen.nonce &&
		      p.object == want.object && p.offset == want.offset &&
		      p.length == want.length && p.flags == want.flags);
		r = rd_over(bytes, sizeof(bytes));
		CHECK_FAILS(-EPROTO, rd_place(&r, table, row, want.flags, &p));
		r = rd_over(bytes, sizeof(bytes));
		CHECK_FAILS(-EPROTO, rd_place(&r, table, row + 1u, 0, &p));
	}
}

static struct vf_node *node_of_ids(const struct json *ids, uint8_t level)
{
	struct vf_node *n = vf_node_new((uint32_t)json_len(ids));

	CHECK(n);
	n->level = level;
	for (uint32_t i = 0; i < n->count; i++)
		n->e[i].id = digest_at(json_as_str(json_at(ids, i)));
	return n;
}

static void vector_tree(const struct json *v)
{
	const struct json *all = json_get(v, "chunks"), *x;
	DROP(mem) struct vf_node *node = NULL;
	struct digest id;
	uint8_t record[1024];
	size_t n;

	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		x = json_at(all, i);
		free(node);
		node = node_of_ids(json_get(x, "digests"), 0);
		vf_table_id(node, &id);
		check_id(&id, str_of(x, "id"));
	}
	all = json_get(v, "pages");
	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		x = json_at(all, i);
		free(node);
		node = node_of_ids(json_get(x, "ids"),
				   (uint8_t)u64_of(x, "level"));
		vf_page_id(node, &id);
		check_id(&id, str_of(x, "id"));
	}
	x = json_get(v, "table");
	n = hex_bytes(str_of(x, "record"), record, sizeof(record));
	id = digest_at(str_of(x, "id"));
	free(take(node));
	CHECK_OK(vf_table_parse(record, n, u64_of(x, "chunk"), 3, &id, &node));
	{
		DROP(buf) struct buf b = BUF_INIT(VF_TABLE_MAX);

		vf_table_put(&b, node);
		CHECK(b.len == n && !memcmp(b.data, record, n));
		/* It is that of no other chunk, nor of more frames. */
		free(take(node));
		CHECK_FAILS(-EPROTO,
			    vf_table_parse(record, n, 8, 3, &id, &node));
		CHECK_FAILS(-EPROTO,
			    vf_table_parse(record, n, 9, 4, &id, &node));
		id.b[31] ^= 1;
		CHECK_FAILS(-EBADMSG,
			    vf_table_parse(record, n, 9, 3, &id, &node));
	}
	x = json_get(v, "leaf");
	n = hex_bytes(str_of(x, "record"), record, sizeof(record));
	id = digest_at(str_of(x, "id"));
	CHECK_OK(vf_page_parse(record, n, 0, u64_of(x, "number"), 3, &id,
			       &node));
	{
		DROP(buf) struct buf b = BUF_INIT(VF_PAGE_MAX);

		vf_page_put(&b, node);
		CHECK(b.len == n && !memcmp(b.data, record, n));
	}
}

static void vector_rest(const struct json *v)
{
	const struct json *all = json_get(v, "crc32c"), *x;
	static uint8_t plain[VF_FRAME_SIZE];
	struct digest d;
	uint8_t bytes[1024], want[1024];
	size_t n, len;

	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		x = json_at(all, i);
		n = hex_bytes(str_of(x, "data"), bytes, sizeof(bytes));
		CHECK_U64(crc32c(0, bytes, n), u64_of(x, "crc"));
	}
	all = json_get(v, "record");
	for (size_t i = 0; i < json_len(all); i++) {
		DROP(buf) struct buf b = BUF_INIT(1024);
		struct rd body;
		size_t at;

		x = json_at(all, i);
		at = record_begin(&b, str_of(x, "magic"));
		n = hex_bytes(str_of(x, "body"), bytes, sizeof(bytes));
		buf_add(&b, bytes, n);
		record_end(&b, at);
		len = hex_bytes(str_of(x, "record"), want, sizeof(want));
		CHECK(b.len == len && !memcmp(b.data, want, len));
		CHECK_OK(record_open(want, len, str_of(x, "magic"), &body));
		CHECK(body.left == n && !memcmp(body.p, bytes, n));
	}
	all = json_get(v, "frames");
	for (size_t i = 0; i < json_len(all); i++) {
		const char *text;

		x = json_at(all, i);
		text = str_of(x, "text");
		len = u64_of(x, "length");
		CHECK(len <= sizeof(plain));
		memset(plain, 0, sizeof(plain));
		n = strlen(text) + 1;
		for (size_t k = 0; n > 1 && k < len; k++)
			plain[k] = k % n == n - 1 ? '\n' : (uint8_t)text[k % n];
		sha256(plain, len, &d);
		if (is_zero(plain, len))
			memset(&d, 0, sizeof(d));
		check_id(&d, str_of(x, "digest"));
	}
	all = json_get(v, "signatures");
	CHECK(json_len(all));
	for (size_t i = 0; i < json_len(all); i++) {
		DROP(secret) struct secret *s = NULL;
		DROP(buf) struct buf b = BUF_INIT(1024);
		struct sign_public key;
		size_t at;

		x = json_at(all, i);
		CHECK_OK(secret_new(SIGN_SEED_SIZE, &s));
		hex_bytes(str_of(x, "seed"), secret_bytes(s), SIGN_SEED_SIZE);
		CHECK_OK(sign_public_of(s, &key));
		hex_bytes(str_of(x, "public"), want, sizeof(want));
		CHECK_MEM(key.b, want, sizeof(key.b));
		at = record_begin(&b, str_of(x, "magic"));
		n = hex_bytes(str_of(x, "body"), bytes, sizeof(bytes));
		buf_add(&b, bytes, n);
		CHECK_OK(record_sign_end(&b, at, str_of(x, "tag"), s));
		len = hex_bytes(str_of(x, "record"), want, sizeof(want));
		CHECK(b.len == len && !memcmp(b.data, want, len));
		CHECK_OK(record_check_sign(want, len, str_of(x, "tag"), &key));
		CHECK_FAILS(-EKEYREJECTED,
			    record_check_sign(want, len, "other", &key));
	}
}

static void test_vectors(void)
{
	DROP(json) struct json *v = golden_json("vectors-1");

	vector_names(v);
	vector_keys(v);
	vector_places(v);
	vector_tree(v);
	vector_rest(v);
}

/* --- names and keys --- */

static void test_names(void)
{
	static const char *const not_written[] = {
		"",	    "%",    "%4",   "a%",    "a%2",  "%2e",
		"%2Ex%2e",  "%41",  ".x",   "a/b",   "a b",  "%2F",
		"%00",	    "a%0A", "%7F",  "%2E",   "%2E.", "%FF",
		"\xc3\xb6", "%C3",  "%%41", "a%2Eb",
	};
	char name[CATALOG_NAME_MAX + 1], key[CATALOG_NAME_MAX + 1];
	char text[300];

	for (size_t i = 0; i < ARRAY_SIZE(not_written); i++)
		CHECK_FAILS(-EPROTO,
			    vf_name_decode(not_written[i],
					   strlen(not_written[i]), name));
	/* The written form has its limit, too. */
	memset(text, ' ', sizeof(text));
	text[66] = '\0';
	CHECK_OK(vf_name_encode(text, key));
	CHECK_U64(strlen(key), 198);
	text[66] = 'x';
	text[67] = 'x';
	text[68] = '\0';
	CHECK_OK(vf_name_encode(text, key));
	CHECK_U64(strlen(key), 200);
	CHECK_OK(vf_name_decode(key, 200, name));
	CHECK_STR(name, text);
	text[68] = 'x';
	text[69] = '\0';
	CHECK_SAYS(-EINVAL, "is too long", vf_name_encode(text, key));
	memset(text, 'x', 201);
	CHECK_FAILS(-EPROTO, vf_name_decode(text, 201, name));
	/* Every character, alone and behind another. */
	for (int c = 1; c < 256; c++) {
		char one[3] = { (char)c }, two[3] = { 'a', (char)c };

		for (const char *n = one;; n = two) {
			bool ok = c >= 0x20 && c < 0x7f && c != '/' &&
				  !(n == one && c == '.');

			if (ok) {
				CHECK_OK(vf_name_encode(n, key));
				CHECK_OK(
					vf_name_decode(key, strlen(key), name));
				CHECK_STR(name, n);
			} else {
				CHECK_FAILS(-EINVAL, vf_name_encode(n, key));
			}
			if (n == two)
				break;
		}
	}
}

static void test_keys(void)
{
	struct place p = place_at(&g2, 0x1f, 1, 2, 0);
	char k[VF_KEY_SIZE];
	struct point_id gen;
	uint64_t n;

	vf_key_config(k, 1);
	CHECK_STR(k, "h/fffffffffffffffe");
	vf_key_commit(k, "a%20b", 2);
	CHECK_STR(k, "V/a%20b/c/fffffffffffffffd");
	vf_key_gen(k, "v", 'p', &g2);
	CHECK_STR(k, "V/v/p/0000000000000002.2222222222222222");
	vf_key_end(k, "v", &g1);
	CHECK_STR(k, "V/v/w/0000000000000001.0000000000001111.end");
	vf_key_place(k, "v", "d", &p);
	CHECK_STR(
		k,
		"V/v/d/d/0000000000000002.2222222222222222/s/000000000000001f");
	p.flags = PLACE_RAW;
	vf_key_place(k, "v", "d", &p);
	CHECK(strstr(k, "/s/"));
	p.flags = PLACE_INDEX;
	vf_key_place(k, "v", "d", &p);
	CHECK(strstr(k, "/m/000000000000001f"));
	p.flags = PLACE_POINT;
	vf_key_place(k, "v", "d", &p);
	CHECK_STR(k, "V/v/p/0000000000000002.2222222222222222");

	CHECK_FAILS(-EPROTO, vf_key_inverse("", &n));
	CHECK_FAILS(-EPROTO, vf_key_inverse("fffffffffffffff", &n));
	CHECK_FAILS(-EPROTO, vf_key_inverse("fffffffffffffffff", &n));
	CHECK_FAILS(-EPROTO, vf_key_inverse("FFFFFFFFFFFFFFFE", &n));
	CHECK_FAILS(-EPROTO, vf_key_inverse("0x00000000000000", &n));
	CHECK_OK(vf_key_inverse("0000000000000000", &n));
	CHECK_U64(n, UINT64_MAX);
	CHECK_FAILS(-EPROTO, vf_key_parse_gen("", &gen));
	CHECK_FAILS(-EPROTO,
		    vf_key_parse_gen("0000000000000001-0000000000000002",
				     &gen));
	CHECK_FAILS(-EPROTO,
		    vf_key_parse_gen("000000000000000A.0000000000000002",
				     &gen));
	CHECK_FAILS(-EPROTO,
		    vf_key_parse_gen("0000000000000001.0000000000000002.end",
				     &gen));
	CHECK_OK(vf_key_parse_gen("00000000000000ff.0000000000000002", &gen));
	CHECK(gen.seq == 255 && gen.nonce == 2);
}

/* --- geometry --- */

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static void check_geometry(uint64_t size, uint8_t log2)
{
	struct vf_geometry g;
	uint64_t chunk = UINT64_C(1) << log2, n, children;
	uint8_t level = 0;

	CHECK_OK(vf_geometry(size, log2, &g));
	CHECK_U64(g.frames, ceil_div(size, VF_FRAME_SIZE));
	CHECK_U64(g.chunks, ceil_div(size, chunk));
	CHECK_U64(g.frames_per_chunk, chunk / VF_FRAME_SIZE);
	n = ceil_div(g.chunks, 256);
	for (; n > 1; level++)
		n = ceil_div(n, 1024);
	CHECK_U64(g.root_level, level);
	CHECK(level <= VF_LEVEL_MAX);

	CHECK_U64(vf_frame_length(&g, g.frames - 1),
		  size - (g.frames - 1) * VF_FRAME_SIZE);
	CHECK_U64(vf_chunk_frames(&g, g.chunks - 1),
		  g.frames - (g.chunks - 1) * g.frames_per_chunk);
	if (g.frames > 1)
		CHECK_U64(vf_frame_length(&g, 0), VF_FRAME_SIZE);
	if (g.chunks > 1)
		CHECK_U64(vf_chunk_frames(&g, 0), g.frames_per_chunk);

	children = g.chunks;
	for (uint8_t l = 0; l <= level; l++) {
		uint64_t per = l ? 1024 : 256, pages = ceil_div(children, per);
		uint64_t last = children - (pages - 1) * per;

		CHECK_U64(vf_page_count(&g, l, pages - 1), last);
		CHECK(last >= 1 && last <= per);
		if (pages > 1)
			CHECK_U64(vf_page_count(&g, l, 0), per);
		children = pages;
	}
	CHECK_U64(children, 1);
}

static void test_geometry(void)
{
	struct vf_geometry g;

	for (uint8_t log2 = VF_CHUNK_LOG2_MIN; log2 <= VF_CHUNK_LOG2_MAX;
	     log2++) {
		uint64_t chunk = UINT64_C(1) << log2;
		const uint64_t edges[] = {
			VF_FRAME_SIZE,
			chunk - VF_FRAME_SIZE,
			chunk,
			2 * chunk,
			255 * chunk,
			256 * chunk,
			257 * chunk,
			512 * chunk,
			262144 * chunk,
			262145 * chunk,
			2 * 262144 * chunk,
			(UINT64_C(1) << 28) * chunk,
			VF_DISK_MAX - chunk,
			VF_DISK_MAX - VF_FRAME_SIZE,
			VF_DISK_MAX - 1,
		};

		check_geometry(1, log2);
		check_geometry(512, log2);
		check_geometry(VF_DISK_MAX, log2);
		for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
			check_geometry(edges[i] - 1, log2);
			check_geometry(edges[i], log2);
			check_geometry(edges[i] + 1, log2);
		}
		CHECK_OK(vf_geometry(256 * chunk, log2, &g));
		CHECK_U64(g.root_level, 0);
		CHECK_OK(vf_geometry(256 * chunk + 1, log2, &g));
		CHECK_U64(g.root_level, 1);
		CHECK_OK(vf_geometry(262144 * chunk, log2, &g));
		CHECK_U64(g.root_level, 1);
		CHECK_OK(vf_geometry(262144 * chunk + 1, log2, &g));
		CHECK_U64(g.root_level, 2);
		CHECK_FAILS(-EPROTO, vf_geometry(0, log2, &g));
		CHECK_FAILS(-EPROTO, vf_geometry(VF_DISK_MAX + 1, log2, &g));
		CHECK_FAILS(-EPROTO, vf_geometry(UINT64_MAX, log2, &g));
	}
	CHECK_FAILS(-EPROTO, vf_geometry(1, VF_CHUNK_LOG2_MIN - 1, &g));
	CHECK_FAILS(-EPROTO, vf_geometry(1, VF_CHUNK_LOG2_MAX + 1, &g));
	CHECK_FAILS(-EPROTO, vf_geometry(1, 255, &g));
	CHECK_U64(vf_level_shift(0), 8);
	CHECK_U64(vf_level_shift(3), 38);
}

/* --- zeros, labels, frames --- */

static void test_zeros(void)
{
	DROP(mem) struct vf_node *n = vf_node_new(3);
	DROP(mem) struct vf_node *got = NULL;
	DROP(buf) struct buf b = BUF_INIT(VF_PAGE_MAX);
	struct digest id, other;

	CHECK(n);
	/* Zeros all the way up have no id, whatever level and count. */
	vf_table_id(n, &id);
	CHECK(digest_is_zero(&id));
	n->level = 2;
	vf_page_id(n, &id);
	CHECK(digest_is_zero(&id));
	/* So no id can be that of a page of zeros, which is never stored. */
	vf_page_put(&b, n);
	other = digest_of("any");
	CHECK_FAILS(-EBADMSG,
		    vf_page_parse(b.data, b.len, 2, 0, 3, &other, &got));
	memset(&other, 0, sizeof(other));
	CHECK_FAILS(-EBADMSG,
		    vf_page_parse(b.data, b.len, 2, 0, 3, &other, &got));
	/* Where they are counts, and so do level and count. */
	n->e[0].id = digest_of("x");
	vf_page_id(n, &id);
	n->level = 1;
	vf_page_id(n, &other);
	CHECK(!digest_equal(&id, &other));
	n->level = 2;
	n->e[1].id = n->e[0].id;
	memset(&n->e[0].id, 0, sizeof(n->e[0].id));
	vf_page_id(n, &other);
	CHECK(!digest_equal(&id, &other) && !digest_is_zero(&other));
	n->count = 2;
	vf_page_id(n, &id);
	CHECK(!digest_equal(&id, &other));
	vf_table_id(n, &id);
	CHECK(!digest_equal(&id, &other));
}

static void test_labels(void)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool good;
	} cases[] = {
		{ "", 0, true },
		{ "\1\0a\0\0", 5, true },
		{ "\1\0a\1\0b", 6, true },
		{ "\0\0\1\0b", 5, false }, /* no key */
		{ "\1\0a\1\0", 5, false },
		{ "\1\0a\1", 4, false },
		{ "\1\0a", 3, false },
		{ "\1", 1, false },
		{ "\377\377a\0\0", 5, false },
		{ "\1\0a\0\0\1\0b\0\0", 10, true },
		{ "\1\0b\0\0\1\0a\0\0", 10, false },
		{ "\1\0a\0\0\1\0a\0\0", 10, false },
		{ "\1\0a\0\0\2\0\303\266\0\0", 11, true },
		{ "\2\0\303\266\0\0\1\0a\0\0", 11, false }, /* bytewise */
		{ "\1\0\377\0\0", 5, false },
		{ "\1\0\0\0\0", 5, false },
		{ "\1\0a\1\0\0", 6, false },
	};
	struct label *l = NULL;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		DROP(buf) struct buf b = BUF_INIT(VF_LABELS_MAX);
		int r = vf_labels_parse(cases[i].bytes, cases[i].n, &l, &n);

		CHECK(cases[i].good ? !r : r == -EPROTO);
		if (r)
			continue;
		vf_labels_put(&b, l, n);
		CHECK(b.len == cases[i].n &&
		      (!b.len || !memcmp(b.data, cases[i].bytes, b.len)));
		labels_free(l, n);
	}
}

static void test_frames(void)
{
	static uint8_t plain[VF_FRAME_SIZE], packed[VF_FRAME_SIZE];
	static uint8_t got[VF_FRAME_SIZE + 1], two[2 * VF_FRAME_SIZE];
	uint64_t x = 1;
	size_t n;

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i / 100);
	n = codec_pack(plain, sizeof(plain), packed);
	CHECK(n > 0 && n <= sizeof(plain) - sizeof(plain) / 16);
	CHECK_OK(codec_unpack(packed, n, got, sizeof(plain)));
	CHECK_MEM(got, plain, sizeof(plain));
	CHECK_FAILS(-EPROTO, codec_unpack(packed, n, got, sizeof(plain) + 1));
	CHECK_FAILS(-EPROTO, codec_unpack(packed, n, got, sizeof(plain) - 1));
	for (size_t k = 0; k < n; k++)
		CHECK_FAILS(-EPROTO,
			    codec_unpack(packed, k, got, sizeof(plain)));
	/* Nothing may follow it, not even what zstd would pass over. */
	memcpy(two, packed, n);
	memcpy(two + n, packed, n);
	CHECK_FAILS(-EPROTO, codec_unpack(two, 2 * n, got, sizeof(plain)));
	memcpy(two + n, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	CHECK_FAILS(-EPROTO, codec_unpack(two, n + 8, got, sizeof(plain)));
	memcpy(two, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	memcpy(two + 8, packed, n);
	CHECK_FAILS(-EPROTO, codec_unpack(two, n + 8, got, sizeof(plain)));
	/* Without the content's size, raw blocks, with windows of these sizes. */
	for (unsigned w = 0; w < 256; w++) {
		static const uint8_t head[] = { 0x28, 0xb5, 0x2f, 0xfd, 0 };
		static const uint8_t block[] = { 41,  0,   0,	'h',
						 'e', 'l', 'l', 'o' };
		uint64_t size = UINT64_C(1) << (10 + (w >> 3));

		size += size / 8 * (w & 7);
		memcpy(two, head, sizeof(head));
		two[5] = (uint8_t)w;
		memcpy(two + 6, block, sizeof(block));
		if (size <= 128u << 10)
			CHECK_OK(codec_unpack(two, 14, got, 5));
		else
			CHECK_FAILS(-EPROTO, codec_unpack(two, 14, got, 5));
	}
	/* With a dictionary's number. */
	two[4] = 1;
	two[5] = 0;
	memmove(two + 7, two + 6, 8);
	two[6] = 5;
	CHECK_FAILS(-EPROTO, codec_unpack(two, 15, got, 5));

	/* What does not shrink is raw, and so is what hardly does. */
	for (size_t i = 0; i < sizeof(plain); i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		plain[i] = (uint8_t)(x >> 56);
	}
	CHECK_U64(codec_pack(plain, sizeof(plain), packed), 0);
	CHECK_U64(codec_pack(plain, 1, packed), 0);
	memset(plain, 0, sizeof(plain) / 17);
	CHECK_U64(codec_pack(plain, sizeof(plain), packed), 0);
	memset(plain, 0, sizeof(plain) / 15);
	CHECK(codec_pack(plain, sizeof(plain), packed) > 0);
}

static void test_trailer_end(void)
{
	DROP(buf) struct buf b = BUF_INIT(4096);
	uint32_t n;

	vf_trailer_put(&b, &g1, 0, frames, 2);
	CHECK_OK(vf_trailer_length(b.data + b.len - 8, &n));
	CHECK_U64(n, b.len - 8);
	CHECK_FAILS(-EPROTO,
		    vf_trailer_length((const uint8_t *)"\20\0\0\0VFsf", &n));
	CHECK_FAILS(-EPROTO,
		    vf_trailer_length((const uint8_t *)"\17\0\0\0VFse", &n));
	CHECK_FAILS(-EPROTO,
		    vf_trailer_length((const uint8_t *)"\1\0\0\4VFse", &n));
	CHECK_OK(vf_trailer_length((const uint8_t *)"\0\0\0\4VFse", &n));
}

int main(void)
{
	seed = golden_seed("owner");
	CHECK_OK(sign_public_of(seed, &public));
	test_vectors();
	test_names();
	test_keys();
	test_geometry();
	test_zeros();
	test_labels();
	test_frames();
	test_trailer_end();
	test_values();
	test_records();
	secret_close(seed);
	return 0;
}
