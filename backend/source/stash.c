// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * An entry is written bytes first, then the index. Nobody waits for anybody: two
 * processes that write one set at once may each undo what the other did, and then
 * something is missing or does not match its CRC, which is a miss. Threads of
 * one process do take turns at an index, by a lock a part of the sets.
 */
#include "backend/source/stash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backend/base/err.h"
#include "backend/base/hash.h"
#include "backend/base/log.h"
#include "backend/base/parse.h"

#define MAGIC "vaultfs stash 1\n"
#define ENTRIES 126
#define LOCKS 64
#define PAUSE_NS (30 * UINT64_C(1000000000))
#define ROOM_EVERY (64u << 20) /* bytes between two looks at what is free */

/* The format: little endian hosts only write it as it is, and the magic is another
 * on others; a cache need not travel. */
struct entry {
	uint8_t key[STASH_KEY_SIZE];
	uint32_t offset, length; /* in the arena; length 0: none */
	uint32_t crc;
	uint32_t zero[4];
	uint32_t own_crc; /* of all before it */
};

struct set_index {
	uint32_t next_slot, next_offset;
	uint8_t zero[STASH_INDEX - 8 - ENTRIES * sizeof(struct entry)];
	struct entry e[ENTRIES];
};

struct header {
	char magic[16];
	uint64_t one; /* 1 where it was written */
	uint64_t sets;
};

_Static_assert(sizeof(struct entry) == 64, "an entry");
_Static_assert(sizeof(struct set_index) == STASH_INDEX, "an index");

struct stash {
	int fd;
	pthread_mutex_t locks[LOCKS]; /* set % LOCKS: its index, here */
	atomic_uint_fast64_t paused_until;
	atomic_uint_fast64_t since_room;
	atomic_bool told;
	atomic_uint_fast64_t hits, misses, damaged, puts, failed_puts;
};

/* --- the file --- */

static bool read_at(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool write_at(int fd, const void *data, size_t len, uint64_t off)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : ENOSPC;
			return false;
		}
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool header_ok(const struct header *h)
{
	return !memcmp(h->magic, MAGIC, sizeof(h->magic)) && h->one == 1 &&
	       h->sets >= 1 && h->sets < UINT64_MAX / STASH_SET / 2;
}

/* How many sets there are now; another process may have changed it. 0: what is there
 * is no stash (any more). */
static uint64_t sets_now(const struct stash *s)
{
	struct header h;

	return read_at(s->fd, &h, sizeof(h), 0) && header_ok(&h) ? h.sets : 0;
}

static int set_size(struct stash *s, const char *path, uint64_t max_bytes)
{
	uint64_t sets = max_bytes > STASH_HEADER
				? (max_bytes - STASH_HEADER) / STASH_SET
				: 0;
	struct header h = { .one = 1, .sets = sets ? sets : 1 };
	struct stat st;

	if (fstat(s->fd, &st))
		return fail_errno(errno, "%s", path);
	if (st.st_uid != geteuid())
		return fail(-EPERM, "%s belongs to somebody else", path);
	memcpy(h.magic, MAGIC, sizeof(h.magic));
	if (sets_now(s) == h.sets)
		return 0;
	/* First the header: nobody goes on beyond what is cut off. */
	if (!write_at(s->fd, &h, sizeof(h), 0))
		return fail_errno(errno, "%s", path);
	if ((uint64_t)st.st_size > STASH_HEADER + h.sets * STASH_SET &&
	    ftruncate(s->fd, (off_t)(STASH_HEADER + h.sets * STASH_SET)))
		return fail_errno(errno, "%s", path);
	return 0;
}

/* All that are above path. */
static int make_folders(char *path)
{
	for (char *s = path + 1; *s; s++) {
		int e = 0;

		if (*s != '/')
			continue;
		*s = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			e = errno;
		if (e)
			return fail_errno(e, "%s: cannot be made", path);
		*s = '/';
	}
	return 0;
}

int stash_open(const char *dir, uint64_t max_bytes, struct stash **ret)
{
	DROP(stash) struct stash *s = calloc(1, sizeof(*s));
	DROP(mem) char *path = NULL;
	int r;

	if (!s)
		return fail(-ENOMEM, "out of memory");
	s->fd = -1;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&s->locks[i], NULL);
	if (asprintf(&path, "%s/stash", dir) < 0) {
		path = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	r = make_folders(path);
	if (r)
		return r;
	s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fd < 0)
		return fail_errno(errno, "%s", path);
	r = set_size(s, path, max_bytes);
	if (r)
		return r;
	*ret = take(s);
	return 0;
}

void stash_close(struct stash *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&s->locks[i]);
	free(s);
}

void stash_stats(struct stash *s, struct stash_stats *out)
{
	*out = (struct stash_stats){
		.hits = atomic_load(&s->hits),
		.misses = atomic_load(&s->misses),
		.damaged = atomic_load(&s->damaged),
		.puts = atomic_load(&s->puts),
		.failed_puts = atomic_load(&s->failed_puts),
	};
}

/* --- sets --- */

/* Keys are digests: any of their bytes are as good as random. */
static uint64_t set_of(const uint8_t key[static STASH_KEY_SIZE], uint64_t sets)
{
	uint64_t n;

	memcpy(&n, key, sizeof(n));
	return n % sets;
}

static uint64_t index_at(uint64_t set)
{
	return STASH_HEADER + set * STASH_SET;
}

static uint64_t arena_at(uint64_t set)
{
	return index_at(set) + STASH_INDEX;
}

static uint32_t crc_of(const struct entry *e)
{
	return crc32c(0, e, offsetof(struct entry, own_crc));
}

static bool entry_ok(const struct entry *e)
{
	return e->length && e->length <= STASH_BYTES_MAX &&
	       e->offset <= STASH_ARENA - e->length && e->own_crc == crc_of(e);
}

/* Past the end of the file all is zeros: no entries. */
static void load(const struct stash *s, uint64_t set, struct set_index *x)
{
	if (!read_at(s->fd, x, sizeof(*x), index_at(set)))
		memset(x, 0, sizeof(*x));
}

static const struct entry *find(const struct set_index *x,
				const uint8_t key[static STASH_KEY_SIZE])
{
	for (size_t i = 0; i < ENTRIES; i++)
		if (x->e[i].length && !memcmp(x->e[i].key, key, STASH_KEY_SIZE))
			return &x->e[i];
	return NULL;
}

static bool get(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
		void *buf, size_t len)
{
	struct set_index x;
	const struct entry *e;
	uint64_t sets = sets_now(s), set;

	if (!sets)
		return false;
	set = set_of(key, sets);
	load(s, set, &x);
	e = find(&x, key);
	if (!e || (entry_ok(e) && e->length != len))
		return false;
	if (entry_ok(e) &&
	    read_at(s->fd, buf, len, arena_at(set) + e->offset) &&
	    crc32c(0, buf, len) == e->crc)
		return true;
	atomic_fetch_add(&s->damaged, 1);
	return false;
}

bool stash_get(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
	       void *buf, size_t len)
{
	bool found = get(s, key, buf, len);

	atomic_fetch_add(found ? &s->hits : &s->misses, 1);
	return found;
}

static bool overlap(const struct entry *e, uint32_t offset, uint32_t length)
{
	return e->length && e->offset < offset + length &&
	       offset < e->offset + e->length;
}

/* Makes room for an entry of this key; what lies where it goes is forgotten. */
static struct entry *place(struct set_index *x,
			   const uint8_t key[static STASH_KEY_SIZE],
			   uint32_t length)
{
	uint32_t offset = x->next_offset;
	struct entry *e;

	if (offset > STASH_ARENA - length)
		offset = 0;
	e = &x->e[x->next_slot % ENTRIES];
	for (size_t i = 0; i < ENTRIES; i++)
		if (overlap(&x->e[i], offset, length) ||
		    (x->e[i].length &&
		     !memcmp(x->e[i].key, key, STASH_KEY_SIZE)))
			memset(&x->e[i], 0, sizeof(x->e[i]));
	memset(e, 0, sizeof(*e));
	memcpy(e->key, key, STASH_KEY_SIZE);
	e->offset = offset;
	e->length = length;
	x->next_slot = (x->next_slot + 1) % ENTRIES;
	/* Whole blocks, so that no block is written for two entries. */
	x->next_offset = (offset + length + 4095) & ~UINT32_C(4095);
	return e;
}

static bool put(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
		const void *data, uint32_t len)
{
	struct set_index x;
	struct entry *e;
	uint64_t sets = sets_now(s), set;

	if (!sets) {
		errno = EIO;
		return false;
	}
	set = set_of(key, sets);
	DROP(lock) pthread_mutex_t *held = lock(&s->locks[set % LOCKS]);
	(void)held;
	load(s, set, &x);
	e = place(&x, key, len);
	e->crc = crc32c(0, data, len);
	e->own_crc = crc_of(e);
	return write_at(s->fd, data, len, arena_at(set) + e->offset) &&
	       write_at(s->fd, &x, sizeof(x), index_at(set));
}

/* --- room --- */

static bool room(struct stash *s, size_t len)
{
	struct statvfs v;
	uint64_t n = atomic_fetch_add(&s->since_room, len);

	if (n && n + len < ROOM_EVERY)
		return true;
	atomic_store(&s->since_room, len);
	return fstatvfs(s->fd, &v) == 0 && v.f_bavail >= v.f_blocks / 20;
}

static void pause_puts(struct stash *s, const char *why)
{
	atomic_fetch_add(&s->failed_puts, 1);
	atomic_store(&s->since_room, 0);
	atomic_store(&s->paused_until, monotonic_ns() + PAUSE_NS);
	if (!atomic_exchange(&s->told, true))
		log_info(
			"the cache on disk takes nothing new for half a minute: %s",
			why);
}

void stash_put(struct stash *s, const uint8_t key[static STASH_KEY_SIZE],
	       const void *data, size_t len)
{
	uint64_t until = atomic_load(&s->paused_until);

	if (!len || len > STASH_BYTES_MAX)
		return;
	if (until && monotonic_ns() < until) {
		atomic_fetch_add(&s->failed_puts, 1);
		return;
	}
	if (!room(s, len))
		pause_puts(s, "its file system is nearly full");
	else if (!put(s, key, data, (uint32_t)len))
		pause_puts(s, strerrordesc_np(errno));
	else
		atomic_fetch_add(&s->puts, 1);
}
