// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Whom the reader believes: pins, heads seen, configs, writer keys, versions; keys that are
 * not the format's; points that were dropped while they are read. The vault is the small one
 * of the independent writer, whose keys are known, so that anything can be sealed here.
 */
#include <errno.h>

#include "backend/vault/format_impl.h"
#include "backend/vault/keys.h"
#include "backend/vault/writer.h"
#include "tests/fakes/golden.h"
#include "tests/unit/check.h"

#define VM "a b"
#define VM_KEY "a%20b"
#define HEAD 11 /* of that VM; of VM b it is 1 */
#define CONFIG 2

static struct store *small; /* as it was made */
static struct secret *owner, *writer_a, *writer_b;
static struct vault_id id;
static struct sign_public owner_public;

/* A copy of the vault, that this user never saw. */
static struct store *fresh(void)
{
	struct store *s;

	golden_fresh_user();
	CHECK_OK(store_memory_copy(small, &s));
	return s;
}

struct look {
	struct cache *cache;
	struct vault *v;
};

/* The vault opens its own copy of what s holds now. */
static int look(struct look *l, struct store *s)
{
	struct store *copy;

	*l = (struct look){ 0 };
	CHECK_OK(store_memory_copy(s, &copy));
	CHECK_OK(cache_new(1u << 20, &l->cache));
	return vault_open(copy, l->cache, 0, &l->v);
}

static void look_away(struct look *l)
{
	vault_close(l->v);
	cache_free(l->cache);
}

static int look_at_vm(struct store *s, const char *vm)
{
	struct look l;
	struct vm_head *h = NULL;
	int r = look(&l, s);

	if (!r)
		r = vault_head(l.v, vm, 0, &h);
	vm_head_unref(h);
	look_away(&l);
	return r;
}

static int look_at(struct store *s)
{
	return look_at_vm(s, VM);
}

static void get(struct store *s, const char *key, struct buf *b)
{
	*b = (struct buf)BUF_INIT(STORE_OBJECT_MAX);
	CHECK_OK(store_get(s, key, STORE_OBJECT_MAX, b));
}

static void get_config(struct store *s, uint64_t n, struct vf_config *c)
{
	DROP(buf) struct buf b;
	char key[VF_KEY_SIZE];

	vf_key_config(key, n);
	get(s, key, &b);
	CHECK_OK(vf_config_parse(b.data, b.len, c));
}

static void set_config(struct store *s, const struct vf_config *c)
{
	DROP(buf) struct buf b = BUF_INIT(VF_CONFIG_MAX);
	char key[VF_KEY_SIZE];

	CHECK_OK(vf_config_put(&b, c, owner));
	vf_key_config(key, c->n);
	CHECK_OK(store_memory_set(s, key, b.data, b.len));
}

static void get_commit(struct store *s, const char *vm_key, uint64_t seq,
		       struct vf_commit *c)
{
	struct buf b;
	char key[VF_KEY_SIZE];

	vf_key_commit(key, vm_key, seq);
	get(s, key, &b);
	CHECK_OK(vf_commit_parse(b.data, b.len, c));
}

/* Seals c with these rows as its one page. The newest record stays. */
static void set_commit(struct store *s, const char *vm_key, struct vf_commit *c,
		       const struct point_row *rows, size_t n,
		       struct secret *seed)
{
	DROP(buf) struct buf page = BUF_INIT(VF_RECORD_MAX);
	DROP(mem) uint8_t *newest = malloc(c->newest_length);
	const struct buf *pages[] = { &page };
	char key[VF_KEY_SIZE];

	CHECK(newest && c->npages == 1);
	memcpy(newest, c->newest, c->newest_length);
	c->newest = newest;
	CHECK_OK(sign_public_of(seed, &c->writer));
	vf_index_put(&page, rows, n);
	c->pages[0] = (struct vf_index_ref){ .first_ns = rows[0].time_ns,
					     .last_ns = rows[n - 1].time_ns,
					     .rows = (uint32_t)n,
					     .commit = c->seq };
	c->npoints = n;
	CHECK_OK(vf_commit_build(c, pages, seed));
	vf_key_commit(key, vm_key, c->seq);
	CHECK_OK(store_memory_set(s, key, c->bytes, c->length));
}

static size_t rows_of(const struct vf_commit *c, struct point_row *rows)
{
	size_t n;

	CHECK_OK(vf_index_parse(c->bytes + c->pages[0].offset,
				c->pages[0].length, rows, &n));
	return n;
}

/*
 * A commit that follows the head in all it says, and changes nothing: as another time of
 * the same holds and expiries would.
 */
static void next_commit(struct store *s, struct vf_commit *c,
			struct point_row *rows, size_t *n)
{
	get_commit(s, VM_KEY, HEAD, c);
	*n = rows_of(c, rows);
	c->seq++;
	c->prev = c->digest;
	c->session = (struct point_id){ c->seq, 77 };
	c->kind = VF_CONFIG;
	c->nids = 1;
	c->ids[0] = rows[0].id;
	free(c->new_flags);
	free(c->new_expiry);
	c->new_flags = calloc(1, sizeof(*c->new_flags));
	c->new_expiry = calloc(1, sizeof(*c->new_expiry));
	CHECK(c->new_flags && c->new_expiry);
	c->new_flags[0] = rows[0].held;
}

/* --- pins and what was seen --- */

static void test_pins(void)
{
	DROP(store) struct store *s = fresh();
	struct sign_public other = owner_public;
	struct look l;

	CHECK_OK(look(&l, s));
	CHECK(vault_trust(l.v) == SEAL_UNPINNED);
	look_away(&l);

	CHECK_OK(keys_pin(&id, &owner_public));
	CHECK_OK(look(&l, s));
	CHECK(vault_trust(l.v) == SEAL_PINNED);
	look_away(&l);
	CHECK_OK(look_at(s));
	CHECK_SAYS(-EEXIST, "another owner key is pinned",
		   (other.b[0] ^= 1, keys_pin(&id, &other)));

	golden_fresh_user();
	CHECK_OK(keys_pin(&id, &other));
	CHECK_SAYS(-EKEYREJECTED, "not the one that is pinned", look_at(s));
}

/* A stranger's whole vault, under the id of ours. */
static void test_stranger(void)
{
	DROP(store) struct store *s = fresh();
	DROP(secret) struct secret *mine = NULL;
	struct vf_header h = { .id = id };
	DROP(buf) struct buf b = BUF_INIT(4096);

	CHECK_OK(keys_pin(&id, &owner_public));
	CHECK_OK(sign_new_key(&mine));
	CHECK_OK(sign_public_of(mine, &h.owner));
	vf_header_put(&b, &h);
	CHECK_OK(store_memory_set(s, "vault.hdr", b.data, b.len));
	CHECK_SAYS(-EKEYREJECTED, "not the one that is pinned", look_at(s));
	/* Who has nothing pinned sees at least that it does not fit. */
	golden_fresh_user();
	CHECK_SAYS(-EKEYREJECTED, "another vault, owner or number", look_at(s));
}

static void remove_commit(struct store *s, uint64_t seq)
{
	char key[VF_KEY_SIZE];

	vf_key_commit(key, VM_KEY, seq);
	CHECK_OK(store_remove(s, key));
}

static int list_vms(struct store *s, struct name_page *out)
{
	struct look l;
	int r = look(&l, s);

	if (!r)
		r = vault_vms(l.v, "", 10, out);
	look_away(&l);
	return r;
}

static void test_rolled_back(void)
{
	DROP(store) struct store *s = fresh();
	DROP(name_page) struct name_page vms = { 0 };
	uint64_t seq;
	struct digest d;

	CHECK_OK(look_at(s));
	CHECK_OK(keys_seen_head(&id, VM_KEY, &seq, &d));
	CHECK_U64(seq, HEAD);
	remove_commit(s, HEAD);
	CHECK_SAYS(-EKEYREJECTED, "VM a b is rolled back: commit 11 was seen",
		   look_at(s));
	/* The other VM is as it was. */
	CHECK_OK(look_at_vm(s, "b"));
	for (uint64_t i = 1; i < HEAD; i++)
		remove_commit(s, i);
	CHECK_SAYS(-EKEYREJECTED, "now there is none; if that is meant, remove",
		   look_at(s));
	/* Nobody would miss it if it were not listed. */
	CHECK_OK(list_vms(s, &vms));
	CHECK_U64(vms.count, 2);
	CHECK_STR(vms.names[0], VM);
	name_page_release(&vms);
	CHECK_SAYS(-ENOENT, "has no VM 'nobody'", look_at_vm(s, "nobody"));
	/* Who never saw it cannot know. */
	golden_fresh_user();
	CHECK_FAILS(-ENOENT, look_at(s));
	CHECK_OK(list_vms(s, &vms));
	CHECK_U64(vms.count, 1);
	CHECK_STR(vms.names[0], "b");
}

static void test_other_head(void)
{
	DROP(store) struct store *s = fresh();
	struct point_row rows[VF_INDEX_ROWS];
	struct vf_commit c;
	size_t n;

	CHECK_OK(look_at(s));
	/* Another commit of the number that was seen, by a key that counts. */
	get_commit(s, VM_KEY, HEAD, &c);
	n = rows_of(&c, rows);
	c.time_ns++;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	vf_commit_release(&c);
	CHECK_SAYS(-EKEYREJECTED, "commit 11 is not the one that was seen",
		   look_at(s));
	/* ... and one that follows that other one. */
	next_commit(s, &c, rows, &n);
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	vf_commit_release(&c);
	CHECK_SAYS(-EKEYREJECTED, "commit 11 is not the one that was seen",
		   look_at(s));
	golden_fresh_user();
	CHECK_OK(look_at(s));
}

/* The vault stays open, and its head moves on. */
static void test_chain(void)
{
	struct store *s = fresh();
	struct point_row rows[VF_INDEX_ROWS];
	struct cache *cache = NULL;
	struct vault *v = NULL;
	struct vm_head *h = NULL;
	struct vf_commit c;
	size_t n;

	CHECK_OK(cache_new(1u << 20, &cache));
	CHECK_OK(vault_open(s, cache, 0, &v));
	CHECK_OK(vault_head(v, VM, 0, &h));
	CHECK_U64(h->c.seq, HEAD);
	vm_head_unref(h);

	next_commit(s, &c, rows, &n);
	c.prev.b[5] ^= 1;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_SAYS(-EKEYREJECTED, "does not follow the one before",
		   vault_head(v, VM, 0, &h));
	c.prev.b[5] ^= 1;
	c.config_n = 1;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_SAYS(-EKEYREJECTED, "does not follow the one before",
		   vault_head(v, VM, 0, &h));
	c.config_n = CONFIG;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_OK(vault_head(v, VM, 0, &h));
	CHECK_U64(h->c.seq, HEAD + 1);
	vm_head_unref(h);
	vf_commit_release(&c);
	vault_close(v);
	cache_free(cache);
}

static void test_configs(void)
{
	DROP(store) struct store *s = fresh();
	struct vf_config c;
	char key[VF_KEY_SIZE];

	CHECK_OK(look_at(s));
	get_config(s, CONFIG, &c);
	/* Another one of that number. */
	c.time_ns++;
	set_config(s, &c);
	CHECK_SAYS(-EKEYREJECTED, "config 2 is not the one that was seen",
		   look_at(s));
	vf_config_release(&c);
	vf_key_config(key, CONFIG);
	CHECK_OK(store_remove(s, key));
	CHECK_SAYS(-EKEYREJECTED, "config is rolled back: number 2 was seen",
		   look_at(s));
	/* A commit tells that there was one. */
	golden_fresh_user();
	CHECK_SAYS(-EKEYREJECTED, "a config that this vault does not have",
		   look_at(s));
	vf_key_config(key, 1);
	CHECK_OK(store_remove(s, key));
	CHECK_SAYS(-EPROTO, "has a header but no config", look_at(s));
	CHECK_OK(store_remove(s, "vault.hdr"));
	CHECK_SAYS(-EPROTO, "and no vault.hdr: put vault.hdr back", look_at(s));
}

/* --- who seals --- */

static void test_writers(void)
{
	DROP(store) struct store *s = fresh();
	DROP(secret) struct secret *nobody = NULL;
	struct point_row rows[VF_INDEX_ROWS];
	struct vf_commit c;
	struct look l;
	size_t n;

	next_commit(s, &c, rows, &n);
	CHECK_OK(sign_new_key(&nobody));
	set_commit(s, VM_KEY, &c, rows, n, nobody);
	CHECK_SAYS(-EKEYREJECTED, "which is no writer of this vault",
		   look_at(s));
	set_commit(s, VM_KEY, &c, rows, n, writer_a);
	CHECK_SAYS(-EKEYREJECTED, "after it was retired", look_at(s));
	/* A seal that is not of the key that is named. */
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_OK(look_at(s));
	memcpy(c.bytes + 348, owner_public.b, sizeof(owner_public.b));
	memset(c.bytes + 12, 0, 4);
	{
		uint32_t crc = crc32c(0, c.bytes, c.length);
		char key[VF_KEY_SIZE];

		memcpy(c.bytes + 12, &crc, sizeof(crc));
		vf_key_commit(key, VM_KEY, c.seq);
		CHECK_OK(store_memory_set(s, key, c.bytes, c.length));
	}
	CHECK_FAILS(-EKEYREJECTED, look_at(s));
	vf_commit_release(&c);

	/* What it sealed while it counted stays good; elsewhere it never counted. */
	CHECK_OK(look(&l, s));
	CHECK_OK(vault_commit(l.v, VM_KEY, 1, &c));
	vf_commit_release(&c);
	CHECK_OK(vault_commit(l.v, VM_KEY, 2, &c));
	vf_commit_release(&c);
	CHECK_FAILS(-ENOENT, vault_commit(l.v, VM_KEY, 13, &c));
	{
		DROP(vault_config)
		struct vault_config *cfg = vault_config_ref(l.v);
		struct sign_public a;

		CHECK_OK(sign_public_of(writer_a, &a));
		CHECK_OK(vf_config_key_counts(&cfg->c, &a, VM, 2));
		CHECK_FAILS(-EKEYREJECTED,
			    vf_config_key_counts(&cfg->c, &a, VM, 3));
		CHECK_FAILS(-EKEYREJECTED,
			    vf_config_key_counts(&cfg->c, &a, "c", 1));
	}
	look_away(&l);
}

/* A good commit where another one belongs. */
static void test_misplaced(void)
{
	DROP(store) struct store *s = fresh();
	struct point_row rows[VF_INDEX_ROWS];
	DROP(buf) struct buf b;
	struct vf_commit c;
	char key[VF_KEY_SIZE];
	size_t n;

	vf_key_commit(key, "b", 1);
	get(s, key, &b);
	vf_key_commit(key, "c", 1);
	CHECK_OK(store_memory_set(s, key, b.data, b.len));
	CHECK_SAYS(-EKEYREJECTED, "it is commit 1 of VM b", look_at_vm(s, "c"));
	vf_key_commit(key, VM_KEY, HEAD + 1);
	CHECK_OK(store_memory_set(s, key, b.data, b.len));
	CHECK_SAYS(-EKEYREJECTED, "it is commit 1 of VM b", look_at(s));

	next_commit(s, &c, rows, &n);
	c.id.b[3] ^= 1;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_SAYS(-EKEYREJECTED, "belongs to another vault", look_at(s));
	c.id.b[3] ^= 1;
	c.config_digest.b[0] ^= 1;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_SAYS(-EKEYREJECTED, "a config that this vault does not have",
		   look_at(s));
	c.config_digest.b[0] ^= 1;
	c.config_n = CONFIG + 1;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	CHECK_SAYS(-EKEYREJECTED, "a config that this vault does not have",
		   look_at(s));
	vf_commit_release(&c);
}

/* --- what is newer than this software --- */

static void next_config(struct store *s, struct vf_config *c)
{
	get_config(s, CONFIG, c);
	c->n++;
	c->prev = c->digest;
}

static void test_features(void)
{
	DROP(store) struct store *s = fresh();
	struct vf_feature names[] = { { 1, 5, "of another class" },
				      { 0, 5, "hyperdrive" } };
	struct vf_config c;
	struct look l;

	next_config(s, &c);
	free(c.features);
	c.features = names;
	c.nfeatures = ARRAY_SIZE(names);
	c.incompatible = 1u << 5;
	set_config(s, &c);
	CHECK_SAYS(-ENOTSUP, "'hyperdrive'", look_at(s));
	c.nfeatures = 1;
	set_config(s, &c);
	CHECK_SAYS(-ENOTSUP, "'bit 5'", look_at(s));

	/* One that only writers need to know, and one that nobody needs to. */
	c.incompatible = 0;
	c.read_compatible = 1u << 5;
	c.compatible = UINT64_C(1) << 63;
	set_config(s, &c);
	CHECK_OK(look_at(s));
	CHECK_OK(keys_save(&id, "writer", writer_b));
	CHECK_OK(look(&l, s));
	{
		struct point_id none = { 1, 2 };

		CHECK_SAYS(-EROFS, "of another class",
			   vault_prune(l.v, VM, &none, 1));
	}
	look_away(&l);
	c.features = NULL;
	vf_config_release(&c);
}

/* Sets a byte of a record's header, as software of another age would have. */
static void set_byte(struct store *s, const char *key, size_t at, uint8_t v,
		     const char *tag, struct secret *seed)
{
	DROP(buf) struct buf b;
	uint32_t crc;

	get(s, key, &b);
	b.data[at] = v;
	memset(b.data + 12, 0, 4);
	if (tag)
		CHECK_OK(sign_make(seed, tag, b.data, b.len - SIGN_SIZE,
				   b.data + b.len - SIGN_SIZE));
	crc = crc32c(0, b.data, b.len);
	memcpy(b.data + 12, &crc, sizeof(crc));
	CHECK_OK(store_memory_set(s, key, b.data, b.len));
}

static void test_versions(void)
{
	static const struct {
		size_t at;
		uint8_t v;
		const char *says;
	} newer[] = {
		{ 4, 2, "of format version 2, newer than" },
		{ 5, 1, "of format version 257, newer than" },
		{ 6, 1, "of suite 1, which" },
		{ 7, 1, "has record flags 0x01, which" },
	};
	char config[VF_KEY_SIZE], commit[VF_KEY_SIZE];

	vf_key_config(config, CONFIG);
	vf_key_commit(commit, VM_KEY, HEAD);
	for (size_t i = 0; i < ARRAY_SIZE(newer); i++) {
		struct store *s = fresh();

		set_byte(s, "vault.hdr", newer[i].at, newer[i].v, NULL, NULL);
		CHECK_SAYS(-ENOTSUP, newer[i].says, look_at(s));
		store_close(s);
		s = fresh();
		set_byte(s, config, newer[i].at, newer[i].v, VF_TAG_CONFIG,
			 owner);
		CHECK_SAYS(-ENOTSUP, newer[i].says, look_at(s));
		store_close(s);
		s = fresh();
		set_byte(s, commit, newer[i].at, newer[i].v, VF_TAG_COMMIT,
			 writer_b);
		CHECK_SAYS(-ENOTSUP, newer[i].says, look_at(s));
		CHECK_OK(look_at_vm(s, "b"));
		store_close(s);
	}
	{
		DROP(store) struct store *s = fresh();

		set_byte(s, commit, 112, 7, VF_TAG_COMMIT, writer_b);
		CHECK_SAYS(-ENOTSUP, "a commit of kind 7", look_at(s));
	}
}

/* --- keys, points --- */

/* Keys that the format does not have are passed over. */
static void test_strange_keys(void)
{
	static const char *const keys[] = {
		"h/0",
		"h/.nfs0001",
		"h/FFFFFFFFFFFFFFF0",
		"V/readme",
		"V/%41/c/fffffffffffffffe",
		"V/a%20b/c/-",
		"V/a%20b/c/0000000000000000x",
		"V/a%20b/c/FFFFFFFFFFFFFFF0",
		"V/a%20b/x/0",
		"V/empty/w/0",
		"a",
	};
	DROP(store) struct store *s = fresh();
	struct look l;
	DROP(name_page) struct name_page vms = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		CHECK_OK(store_memory_set(s, keys[i], "?", 1));
	CHECK_OK(look_at(s));
	CHECK_OK(look(&l, s));
	CHECK_OK(vault_vms(l.v, "", 10, &vms));
	CHECK_U64(vms.count, 2);
	CHECK_STR(vms.names[0], VM);
	CHECK_STR(vms.names[1], "b");
	look_away(&l);
}

static void remove_segments(struct store *s, const char *prefix)
{
	DROP(store_list) struct store_list l = { 0 };

	CHECK_OK(store_list(s, prefix, "", 100, false, &l));
	for (size_t i = 0; i < l.count; i++)
		if (strstr(l.entries[i].key, "/s/"))
			CHECK_OK(store_remove(s, l.entries[i].key));
}

/* A point is dropped, then its objects, while a disk of it is open. */
static void test_dropped(void)
{
	struct store *s = fresh();
	struct point_row rows[VF_INDEX_ROWS], row;
	struct cache *cache = NULL;
	struct vault *v = NULL;
	struct vm_head *h = NULL;
	struct vault_point *p = NULL;
	struct tree *t = NULL;
	struct source *src = NULL;
	struct vf_commit c;
	uint8_t byte;
	size_t n;
	char key[VF_KEY_SIZE];

	CHECK_OK(cache_new(0, &cache));
	CHECK_OK(vault_open(s, cache, 0, &v));
	CHECK_OK(vault_head(v, VM, 0, &h));
	/* The middle one of three. */
	next_commit(s, &c, rows, &n);
	CHECK_U64(n, 3);
	row = rows[1];
	CHECK_OK(vault_find_id(v, h, &row.id, &rows[3]));
	CHECK(!memcmp(&rows[3], &row, sizeof(row)));
	CHECK_OK(vault_find_time(v, h, row.time_ns, &rows[3]));
	CHECK(point_id_equal(&rows[3].id, &row.id));
	CHECK_OK(vault_point(v, h, &row, &p));
	CHECK_STR(p->info.disks[1].name, "e");
	CHECK_OK(tree_open(v, p, 1, &t));
	CHECK_OK(source_open_disk(t, &src));
	CHECK_OK(source_read(src, &byte, 1, 0));

	c.kind = VF_PRUNE;
	c.ids[0] = row.id;
	rows[1] = rows[2];
	set_commit(s, VM_KEY, &c, rows, 2, writer_b);
	vf_commit_release(&c);
	/* Dropped, but not swept yet. */
	CHECK_OK(source_read(src, &byte, 1, 0));
	remove_segments(s, "V/" VM_KEY "/d/e/");
	CHECK_SAYS(-ESTALE, "was dropped from the vault",
		   source_read(src, &byte, 1, 0));
	vm_head_unref(h);
	CHECK_OK(vault_head(v, VM, 0, &h));
	CHECK_SAYS(-ENOENT, "has no recovery point",
		   vault_find_id(v, h, &row.id, &rows[3]));
	CHECK_SAYS(-ENOENT, "has no recovery point",
		   vault_find_time(v, h, row.time_ns, &rows[3]));
	vf_key_gen(key, VM_KEY, 'p', &row.id);
	CHECK_OK(store_remove(s, key));
	{
		struct vault_point *gone = NULL;

		CHECK_SAYS(-ESTALE, "was dropped",
			   vault_point(v, h, &row, &gone));
	}
	source_close(src);

	/* A point that is still there, without its data: that is damage. */
	point_info_unref(&p->info);
	CHECK_OK(vault_point(v, h, &rows[0], &p));
	CHECK_OK(tree_open(v, p, 1, &t));
	CHECK_OK(source_open_disk(t, &src));
	CHECK_SAYS(-EIO, "is missing from vault golden; run 'vaultctl verify'",
		   source_read(src, &byte, 1, 0));
	source_close(src);
	point_info_unref(&p->info);
	p = NULL;
	vf_key_gen(key, VM_KEY, 'p', &rows[0].id);
	CHECK_OK(store_remove(s, key));
	CHECK_SAYS(-EIO, "is missing from vault golden; run 'vaultctl verify'",
		   vault_point(v, h, &rows[0], &p));
	vm_head_unref(h);
	vault_close(v);
	cache_free(cache);
}

/* Stored bytes move, and the old ones are swept, while a disk is open. */
static void test_moved(void)
{
	struct store *s = fresh();
	struct point_row rows[VF_INDEX_ROWS];
	DROP(buf) struct buf stored;
	DROP(buf) struct buf list = BUF_INIT(4096);
	struct cache *cache = NULL;
	struct vault *v = NULL;
	struct vm_head *h = NULL;
	struct vault_point *p = NULL;
	struct tree *t = NULL;
	struct source *src = NULL;
	struct vf_commit c;
	struct place from = { .length = 1 }, to = from;
	uint8_t byte, before;
	char key[VF_KEY_SIZE];
	size_t n, at;

	CHECK_OK(cache_new(0, &cache));
	CHECK_OK(vault_open(s, cache, 0, &v));
	CHECK_OK(vault_head(v, VM, 0, &h));
	next_commit(s, &c, rows, &n);
	CHECK_OK(vault_point(v, h, &rows[n - 1], &p));
	CHECK_OK(tree_open(v, p, 1, &t));
	CHECK_OK(source_open_disk(t, &src));
	/* Frame 1 is new in the newest point: the one frame of its segment. */
	CHECK_OK(source_read(src, &before, 1, VF_FRAME_SIZE));

	from.gen = rows[n - 1].id;
	to.gen = c.session;
	vf_key_place(key, VM_KEY, "e", &from);
	get(s, key, &stored);
	CHECK_OK(store_remove(s, key));
	vf_key_place(key, VM_KEY, "e", &to);
	CHECK_OK(store_memory_set(s, key, stored.data, stored.len));
	from.length = to.length = (uint32_t)stored.len;
	CHECK_SAYS(-EIO, "is missing",
		   source_read(src, &byte, 1, VF_FRAME_SIZE));

	at = record_begin(&list, "VFls");
	buf_u16(&list, VF_RELOCATE);
	buf_u16(&list, 1); /* disks */
	buf_u16(&list, 2); /* rows */
	buf_u16(&list, 0);
	buf_u32(&list, 1); /* entries */
	buf_u32(&list, 0);
	buf_name(&list, "e");
	buf_gen(&list, &from.gen);
	buf_gen(&list, &to.gen);
	buf_u16(&list, 0); /* disk */
	buf_zero(&list, 6);
	place_put(&list, 0, &from);
	place_put(&list, 1, &to);
	record_end(&list, at);
	vf_key_gen(key, VM_KEY, 'l', &c.session);
	CHECK_OK(store_memory_set(s, key, list.data, list.len));

	c.kind = VF_RELOCATE;
	c.prev_relocate = c.last_relocate;
	c.last_relocate = c.seq;
	sha256(list.data, list.len, &c.list_digest);
	c.list_length = (uint32_t)list.len;
	set_commit(s, VM_KEY, &c, rows, n, writer_b);
	vf_commit_release(&c);
	CHECK_OK(source_read(src, &byte, 1, VF_FRAME_SIZE));
	CHECK(byte == before);

	/* A list that is not what the commit says is no help. */
	list.data[100] ^= 1;
	CHECK_OK(store_memory_set(s, key, list.data, list.len));
	CHECK_SAYS(-EBADMSG, "does not match its digest",
		   source_read(src, &byte, 1, VF_FRAME_SIZE));
	CHECK_OK(store_remove(s, key));
	CHECK(source_read(src, &byte, 1, VF_FRAME_SIZE) < 0);
	source_close(src);
	point_info_unref(&p->info);
	vm_head_unref(h);
	vault_close(v);
	cache_free(cache);
}

int main(void)
{
	small = golden_load("small-1");
	owner = golden_seed("owner");
	writer_a = golden_seed("writer a");
	writer_b = golden_seed("writer b");
	CHECK_OK(sign_public_of(owner, &owner_public));
	for (size_t i = 0; i < sizeof(id.b); i++)
		id.b[i] = (uint8_t)(0xa0 + i);

	test_pins();
	test_stranger();
	test_rolled_back();
	test_other_head();
	test_chain();
	test_configs();
	test_writers();
	test_misplaced();
	test_features();
	test_versions();
	test_strange_keys();
	test_dropped();
	test_moved();

	secret_close(owner);
	secret_close(writer_a);
	secret_close(writer_b);
	store_close(small);
	return 0;
}
