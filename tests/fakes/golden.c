// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/golden.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/base/parse.h"
#include "backend/base/secret.h"
#include "tests/unit/check.h"

#define PIECE (1u << 20)

static _Noreturn void skip(const char *why)
{
	puts(why);
	exit(77);
}

static char *join(const char *a, const char *b, const char *c)
{
	char *s;

	CHECK(asprintf(&s, "%s%s%s", a, b, c) >= 0);
	return s;
}

static const char *tmp_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp && *tmp ? tmp : "/tmp";
}

static char *data_file(const char *name, const char *suffix)
{
	const char *src = getenv("SRC");
	char *dir = join(src && *src ? src : ".", "/tests/data/", name);
	char *path = join(dir, suffix, "");

	free(dir);
	return path;
}

/* The exit code; 127 when there is no such program. */
static int run(const char *const argv[])
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static char *new_dir(const char *what)
{
	char *dir = join(tmp_dir(), "/", what),
	     *path = join(dir, ".XXXXXX", "");

	CHECK(mkdtemp(path));
	free(dir);
	return path;
}

char *golden_unpack(const char *name)
{
	DROP(mem) char *tar = data_file(name, ".tar.xz");
	DROP(mem) char *dir = new_dir("unpacked");
	const char *xz[] = { "xz", "-t", tar, NULL };
	const char *unpack[] = { "tar", "-C", dir, "-xJf", tar, NULL };
	int code = run(xz);

	if (code == 127)
		skip("needs xz");
	CHECK(code == 0);
	code = run(unpack);
	if (code == 127)
		skip("needs tar");
	CHECK(code == 0);
	return join(dir, "/", name);
}

struct json *golden_json(const char *name)
{
	DROP(mem) char *path = data_file(name, ".json");
	DROP(buf) struct buf b = BUF_INIT(16u << 20);
	struct json *j = NULL;
	uint8_t *room;
	size_t n;
	FILE *f = fopen(path, "re");

	CHECK(f);
	do {
		room = buf_reserve(&b, 65536);
		CHECK(room);
		n = fread(room, 1, 65536, f);
		b.len += n;
	} while (n);
	CHECK(!ferror(f));
	fclose(f);
	CHECK_OK(json_parse((const char *)b.data, b.len, 32, &j));
	return j;
}

struct store *golden_load(const char *name)
{
	DROP(mem) char *dir = golden_unpack(name);
	DROP(mem) char *after = strdup("");
	DROP(store) struct store *from = NULL;
	struct store *to;
	bool more = true;

	CHECK_OK(store_open_dir(dir, false, &from));
	CHECK_OK(store_open_memory(&to));
	while (more) {
		DROP(store_list) struct store_list l = { 0 };

		CHECK_OK(store_list(from, "", after, 1000, false, &l));
		more = l.more;
		for (size_t i = 0; i < l.count; i++) {
			DROP(buf) struct buf b = BUF_INIT(STORE_OBJECT_MAX);
			const char *key = l.entries[i].key;

			CHECK_OK(store_get(from, key, STORE_OBJECT_MAX, &b));
			CHECK_OK(store_memory_set(to, key, b.data, b.len));
			free(after);
			after = strdup(key);
			CHECK(after);
		}
	}
	return to;
}

struct secret *golden_seed(const char *words)
{
	DROP(mem) char *text = join("vaultfs golden ", words, "");
	struct secret *s = NULL;
	struct digest d;

	sha256(text, strlen(text), &d);
	CHECK_OK(secret_new(SIGN_SEED_SIZE, &s));
	memcpy(secret_bytes(s), d.b, SIGN_SEED_SIZE);
	return s;
}

void golden_fresh_user(void)
{
	DROP(mem) char *config = new_dir("config");
	DROP(mem) char *state = new_dir("state");

	CHECK(!setenv("VAULTFS_CONFIG_DIR", config, 1));
	CHECK(!setenv("VAULTFS_STATE_DIR", state, 1));
}

/* --- comparing --- */

static uint64_t u64_of(const struct json *j, const char *key)
{
	uint64_t n;

	CHECK(json_get_u64(j, key, &n));
	return n;
}

static void compare_disk(struct catalog *c, const char *vault,
			 struct point_info *p, size_t i,
			 const struct json *want)
{
	static uint8_t bytes[PIECE];
	static const uint8_t zeros[PIECE];
	const struct disk_info *d = &p->disks[i];
	DROP(source) struct source *s = NULL;
	struct sha256 h = { 0 };
	struct digest got;
	char hex[DIGEST_HEX + 1];
	uint64_t data = 0;
	static unsigned large;
	/* Of the disk that is nearly all hole, by default the first one: the rest
	 * is SHA-256 of zeros, a second of it. */
	bool hashed = d->size <= 64u << 20 || !large++ || check_all();

	CHECK(d->state == DISK_READY && d->has_size && d->has_root);
	CHECK_U64(d->size, u64_of(want, "size"));
	digest_hex(&d->root, hex);
	CHECK_STR(hex, json_get_str(want, "root"));
	CHECK_OK(catalog_open_disk(c, vault, p->vm, p, i, &s));
	CHECK_U64(source_size(s), d->size);
	sha256_init(&h);
	/* Holes are exact to a frame: all that is data, and only that, counts. */
	for (uint64_t off = 0; off < d->size;) {
		struct extent e;

		CHECK_OK(source_extent(s, off, PIECE, &e));
		CHECK_OK(source_read(s, bytes, e.length, off));
		CHECK(!e.hole || !memcmp(bytes, zeros, e.length));
		data += e.hole ? 0 : e.length;
		if (hashed)
			sha256_add(&h, bytes, e.length);
		off += e.length;
	}
	CHECK_U64(data, d->data_bytes);
	sha256_final(&h, &got);
	digest_hex(&got, hex);
	if (hashed)
		CHECK_STR(hex, json_get_str(want, "sha256"));
}

static size_t compare_point(struct catalog *c, const char *vault,
			    const char *vm, const struct point_row *row,
			    const struct json *want)
{
	DROP(point_info) struct point_info *p = NULL;
	const struct json *labels = json_get(want, "labels");
	const struct json *disks = json_get(want, "disks");
	char id[POINT_ID_TEXT];
	size_t n = 0;
	bool hold;

	CHECK_U64(row->time_ns, u64_of(want, "time"));
	CHECK_U64(row->expiry_ns, u64_of(want, "expiry"));
	CHECK(json_get_bool(want, "hold", &hold) && row->held == hold);
	point_id_text(&row->id, id);
	CHECK_STR(id, json_get_str(want, "id"));

	CHECK_OK(catalog_point(c, vault, vm, row, &p));
	CHECK_STR(p->vm, vm);
	CHECK(point_id_equal(&p->row.id, &row->id));
	if (json_get_str(want, "base")) {
		point_id_text(&p->base, id);
		CHECK_STR(id, json_get_str(want, "base"));
	} else {
		CHECK(!p->base.seq && !p->base.nonce);
	}
	while (json_key_at(labels, n))
		n++;
	CHECK_U64(p->nlabels, n);
	for (size_t i = 0; i < n; i++)
		CHECK_STR(p->labels[i].value,
			  json_get_str(labels, p->labels[i].key));
	for (n = 0; json_key_at(disks, n);)
		n++;
	CHECK_U64(p->ndisks, n);
	CHECK_U64(row->ndisks, n);
	for (size_t i = 0; i < n; i++) {
		const struct json *d = json_get(disks, p->disks[i].name);

		CHECK(d);
		compare_disk(c, vault, p, i, d);
	}
	return n;
}

static size_t compare_vm(struct catalog *c, const char *vault, const char *vm,
			 const struct json *want)
{
	const struct json *points = json_get(want, "points");
	uint64_t count, version;
	struct point_row latest, last = { 0 };
	size_t disks = 0, seen = 0;
	int64_t from = INT64_MIN;
	bool more = true;

	CHECK_OK(catalog_count(c, vault, vm, &count, &version));
	CHECK_U64(count, json_len(points));
	CHECK_U64(version, u64_of(want, "head"));
	while (more) {
		DROP(point_page) struct point_page page = { 0 };

		CHECK_OK(catalog_points(c, vault, vm, from, 100, &page));
		more = page.more;
		CHECK(page.count > 0 && seen + page.count <= count);
		for (size_t i = 0; i < page.count; i++, seen++)
			disks += compare_point(c, vault, vm, &page.rows[i],
					       json_at(points, seen));
		last = page.rows[page.count - 1];
		from = last.time_ns + 1;
	}
	CHECK_U64(seen, count);
	CHECK_OK(catalog_latest(c, vault, vm, &latest));
	CHECK(point_id_equal(&latest.id, &last.id));
	return disks;
}

size_t golden_compare(struct catalog *c, const struct json *want)
{
	const struct json *vms = json_get(want, "vms");
	DROP(name_page) struct name_page names = { 0 };
	DROP(json) struct json *about = json_object();
	size_t disks = 0, n = 0;

	CHECK_OK(catalog_describe(c, "golden", about));
	CHECK_STR(json_get_str(about, "id"), json_get_str(want, "vault"));
	CHECK_STR(json_get_str(about, "ownerKey"), json_get_str(want, "owner"));
	CHECK_U64(u64_of(about, "config"), u64_of(want, "config"));
	while (json_key_at(vms, n))
		n++;
	CHECK_OK(catalog_vms(c, "golden", "", 1000, &names));
	CHECK_U64(names.count, n);
	for (size_t i = 0; i < n; i++) {
		CHECK(json_get(vms, names.names[i]));
		disks += compare_vm(c, "golden", names.names[i],
				    json_get(vms, names.names[i]));
	}
	return disks;
}
