// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * libext2fs reads through an io_manager of ours, which it finds by a name only: the
 * file system that is being opened is handed to it in a variable of the thread.
 *
 * Its reads are small and often the same, hence the cache; how many there may be is
 * bounded, and so is what a crafted file system can make it do.
 */
#include "backend/guest/ext.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/parse.h"
#include "backend/base/rd.h"

#define LINE_SIZE (64u << 10)
#define LINES 32
/* Of libext2fs, on one file system. */
#define READS_MAX 1000000
#define FILE_MAX_SIZE (UINT64_C(256) << 20)
#define SUPERBLOCK 1024

struct line {
	uint64_t number; /* of the source, in lines */
	uint8_t *data;	 /* NULL: none */
};

struct ext {
	struct shared *shared;
	ext2_filsys fs;
	uint64_t reads;
	struct line lines[LINES];
	/* Why the source could not be read, which is no damage. */
	struct err_saved failed;
};

static _Thread_local struct ext *being_opened;

/* --- reading for libext2fs --- */

static int get_line(struct ext *e, uint64_t number, const uint8_t **ret)
{
	struct line *l = &e->lines[number % LINES];
	struct source *s = shared_source(e->shared);
	uint64_t off = number * LINE_SIZE;
	int r;

	if (!l->data || l->number != number) {
		if (!l->data)
			l->data = malloc(LINE_SIZE);
		if (!l->data)
			return fail(-ENOMEM, "out of memory");
		/* Not to be found should this fail. */
		l->number = UINT64_MAX;
		r = source_read(s, l->data,
				min_u64(LINE_SIZE, source_size(s) - off), off);
		if (r)
			return r;
		l->number = number;
	}
	*ret = l->data;
	return 0;
}

static errcode_t read_bytes(struct ext *e, uint8_t *p, uint64_t n, uint64_t off)
{
	uint64_t size = source_size(shared_source(e->shared));

	if (off > size || n > size - off)
		return EXT2_ET_SHORT_READ;
	while (n) {
		uint64_t in = off % LINE_SIZE,
			 step = min_u64(n, LINE_SIZE - in);
		const uint8_t *line = NULL;
		int r = get_line(e, off / LINE_SIZE, &line);

		if (r) {
			err_save(r, &e->failed);
			return EXT2_ET_SHORT_READ;
		}
		memcpy(p, line + in, step);
		p += step;
		off += step;
		n -= step;
	}
	return 0;
}

static errcode_t io_read64(io_channel ch, unsigned long long block, int count,
			   void *data)
{
	struct ext *e = ch->private_data;
	uint64_t off, n;

	if (++e->reads > READS_MAX)
		return EXT2_ET_SHORT_READ;
	/* A negative count is one of bytes. */
	n = count < 0 ? -(uint64_t)(int64_t)count
		      : (uint64_t)count * (unsigned)ch->block_size;
	if (__builtin_mul_overflow(block, (unsigned)ch->block_size, &off))
		return EXT2_ET_SHORT_READ;
	return read_bytes(e, data, n, off);
}

static errcode_t io_read(io_channel ch, unsigned long block, int count,
			 void *data)
{
	return io_read64(ch, block, count, data);
}

static errcode_t io_open(const char *name, int flags, io_channel *ret);

static errcode_t io_close(io_channel ch)
{
	if (--ch->refcount > 0)
		return 0;
	free(ch->name);
	free(ch);
	return 0;
}

static errcode_t io_set_blksize(io_channel ch, int size)
{
	ch->block_size = size;
	return 0;
}

static errcode_t io_write64(io_channel ch, unsigned long long block, int count,
			    const void *data)
{
	return EROFS;
}

static errcode_t io_write(io_channel ch, unsigned long block, int count,
			  const void *data)
{
	return EROFS;
}

static errcode_t io_flush(io_channel ch)
{
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "source",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.read_blk64 = io_read64,
	.write_blk = io_write,
	.write_blk64 = io_write64,
	.flush = io_flush,
};

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
	io_channel ch = calloc(1, sizeof(*ch));

	if (!ch || !(ch->name = strdup(name))) {
		free(ch);
		return ENOMEM;
	}
	ch->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	ch->manager = &manager;
	ch->block_size = 1024;
	ch->refcount = 1;
	ch->private_data = being_opened;
	*ret = ch;
	return 0;
}

/* --- failures --- */

static int failed(struct ext *e, errcode_t code, const char *what)
{
	if (e->failed.code)
		return err_load(&e->failed);
	switch (code) {
	case EXT2_ET_FILE_NOT_FOUND:
		return fail(-ENOENT, "%s: there is no such file", what);
	case EXT2_ET_NO_MEMORY:
	case ENOMEM:
		return fail(-ENOMEM, "out of memory");
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
		return fail(-ENOTSUP, "ext: it has features that are not known "
				      "here");
	default:
		return fail(-EPROTO,
			    "ext: %s: the file system is damaged (%ld)", what,
			    (long)code);
	}
}

/* --- the file system --- */

/*
 * Before libext2fs allocates by what it says: blocks, low and high, at 4 and
 * 0x150; the size of one at 0x18; magic at 0x38; features at 0x60, 0x80: 64 bits.
 */
static int check_superblock(struct source *s)
{
	uint64_t size = source_size(s), blocks;
	uint8_t sb[1024];
	struct rd r = rd_over(sb, sizeof(sb));
	uint32_t shift, features, high;
	int err;

	if (size < SUPERBLOCK + sizeof(sb))
		return fail(-EPROTO, "ext: too small");
	err = source_read(s, sb, sizeof(sb), SUPERBLOCK);
	if (err)
		return err;
	rd_skip(&r, 4);
	blocks = rd_u32(&r);
	rd_skip(&r, 0x18 - 8);
	shift = rd_u32(&r);
	rd_skip(&r, 0x60 - 0x1c);
	features = rd_u32(&r);
	rd_skip(&r, 0x150 - 0x64);
	high = rd_u32(&r);
	if (features & 0x80)
		blocks |= (uint64_t)high << 32;
	if (sb[0x38] != 0x53 || sb[0x39] != 0xef || shift > 6)
		return fail(-EPROTO, "ext: no superblock");
	if (blocks > size >> (10 + shift))
		return fail(-EPROTO,
			    "ext: it says that it has %" PRIu64
			    " blocks, more than there are",
			    blocks);
	return 0;
}

void ext_close(struct ext *e)
{
	if (!e)
		return;
	if (e->fs)
		ext2fs_free(e->fs);
	for (size_t i = 0; i < LINES; i++)
		free(e->lines[i].data);
	shared_unref(e->shared);
	free(e);
}

int ext_open(struct shared *s, struct ext **ret)
{
	DROP(ext) struct ext *e = NULL;
	errcode_t code;
	int r = check_superblock(shared_source(s));

	if (r)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return fail(-ENOMEM, "out of memory");
	e->shared = shared_ref(s);
	being_opened = e;
	code = ext2fs_open2("source", NULL,
			    EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES |
				    EXT2_FLAG_SKIP_MMP,
			    0, 0, &manager, &e->fs);
	being_opened = NULL;
	if (code) {
		e->fs = NULL;
		return failed(e, code, "superblock");
	}
	*ret = take(e);
	return 0;
}

/* --- files --- */

/* Blocks that lie together. */
struct run {
	uint64_t off, len, where;
};

struct file {
	struct source base;
	struct shared *shared;
	struct run *runs; /* ascending; what lies between is zeros */
	size_t count, room;
};

static const struct source_ops file_ops;

static struct file *file_of(struct source *s)
{
	return container_of(s, struct file, base);
}

static void file_close(struct source *s)
{
	struct file *f = file_of(s);

	shared_unref(f->shared);
	free(f->runs);
	free(f);
}

/* The first run that ends behind off. */
static const struct run *run_after(const struct file *f, uint64_t off)
{
	size_t lo = 0, hi = f->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->runs[mid].off + f->runs[mid].len > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < f->count ? &f->runs[lo] : NULL;
}

static int file_extent(struct source *s, uint64_t off, uint64_t max,
		       struct extent *out)
{
	const struct run *run = run_after(file_of(s), off);

	if (!run)
		*out = (struct extent){ .length = max, .hole = true };
	else if (run->off > off)
		*out = (struct extent){ .length = run->off - off,
					.hole = true };
	else
		*out = (struct extent){ .length = run->off + run->len - off };
	return 0;
}

static int file_read(struct source *s, void *buf, size_t len, uint64_t off)
{
	struct source *inner = shared_source(file_of(s)->shared);
	uint8_t *p = buf;
	int r = 0;

	while (len && !r) {
		const struct run *run = run_after(file_of(s), off);
		struct extent e;
		size_t n;

		file_extent(s, off, len, &e);
		n = min_u64(e.length, len);
		if (e.hole)
			memset(p, 0, n);
		else
			r = source_read(inner, p, n,
					run->where + (off - run->off));
		p += n;
		off += n;
		len -= n;
	}
	return r;
}

static const struct source_ops file_ops = {
	.name = "ext file",
	.read = file_read,
	.extent = file_extent,
	.close = file_close,
};

static int add_block(struct file *f, uint64_t off, uint64_t where,
		     uint32_t size)
{
	struct run *last = f->count ? &f->runs[f->count - 1] : NULL;
	uint64_t len = min_u64(size, f->base.size - off);

	if (last && last->off + last->len == off &&
	    last->where + last->len == where) {
		last->len += len;
		return 0;
	}
	if (f->count == f->room) {
		size_t room = 2 * f->room + 16;
		struct run *more = reallocarray(f->runs, room, sizeof(*more));

		if (!more)
			return fail(-ENOMEM, "out of memory");
		f->runs = more;
		f->room = room;
	}
	f->runs[f->count++] = (struct run){ off, len, where };
	return 0;
}

static int add_blocks(struct ext *e, ext2_ino_t ino, struct ext2_inode *inode,
		      struct file *f, const char *path)
{
	uint64_t end = source_size(shared_source(f->shared));
	uint32_t size = e->fs->blocksize;

	for (uint64_t off = 0, n = 0; off < f->base.size; off += size, n++) {
		blk64_t block = 0;
		int flags = 0, r;
		errcode_t code = ext2fs_bmap2(e->fs, ino, inode, NULL, 0, n,
					      &flags, &block);

		if (code)
			return failed(e, code, path);
		if (!block || flags & BMAP_RET_UNINIT)
			continue;
		if (block >= ext2fs_blocks_count(e->fs->super) ||
		    (block + 1) * size > end)
			return fail(-EPROTO,
				    "ext: %s: a block lies beyond the end",
				    path);
		r = add_block(f, off, block * size, size);
		if (r)
			return r;
	}
	return 0;
}

static int find(struct ext *e, const char *path, ext2_ino_t *ino,
		struct ext2_inode *inode)
{
	errcode_t code = ext2fs_namei_follow(e->fs, EXT2_ROOT_INO,
					     EXT2_ROOT_INO, path, ino);

	if (!code)
		code = ext2fs_read_inode(e->fs, *ino, inode);
	if (!code && inode->i_flags & EXT4_ENCRYPT_FL)
		return fail(-ENOTSUP, "ext: %s is encrypted", path);
	return code ? failed(e, code, path) : 0;
}

int ext_open_file(struct ext *e, const char *path, struct source **ret)
{
	DROP(source) struct source *s = NULL;
	struct ext2_inode inode;
	struct file *f;
	ext2_ino_t ino;
	uint64_t size;
	int r = find(e, path, &ino, &inode);

	if (r)
		return r;
	if (LINUX_S_ISDIR(inode.i_mode))
		return fail(-EISDIR, "ext: %s is a directory", path);
	if (!LINUX_S_ISREG(inode.i_mode))
		return fail(-EINVAL, "ext: %s is no regular file", path);
	if (inode.i_flags & EXT4_INLINE_DATA_FL)
		return fail(-ENOTSUP, "ext: %s lies in its inode", path);
	size = EXT2_I_SIZE(&inode);
	if (size > FILE_MAX_SIZE)
		return fail(-ENOTSUP, "ext: %s is too large to be read here",
			    path);
	f = calloc(1, sizeof(*f));
	if (!f)
		return fail(-ENOMEM, "out of memory");
	source_init(&f->base, &file_ops, size);
	f->shared = shared_ref(e->shared);
	s = &f->base;
	r = add_blocks(e, ino, &inode, f, path);
	if (!r)
		*ret = take(s);
	return r;
}

/* --- directories --- */

struct listing {
	int (*emit)(void *ctx, const char *name);
	void *ctx;
};

static int list_one(ext2_ino_t dir, int entry, struct ext2_dir_entry *d,
		    int off, int blocksize, char *buf, void *ctx)
{
	struct listing *l = ctx;
	char name[EXT2_NAME_LEN + 1];
	size_t n = (size_t)ext2fs_dirent_name_len(d);

	if (entry != DIRENT_OTHER_FILE)
		return 0;
	memcpy(name, d->name, n);
	name[n] = '\0';
	return l->emit(l->ctx, name) ? DIRENT_ABORT : 0;
}

int ext_list(struct ext *e, const char *path,
	     int (*emit)(void *ctx, const char *name), void *ctx)
{
	struct listing l = { emit, ctx };
	struct ext2_inode inode;
	errcode_t code;
	ext2_ino_t ino;
	int r = find(e, path, &ino, &inode);

	if (r)
		return r;
	if (!LINUX_S_ISDIR(inode.i_mode))
		return fail(-ENOTDIR, "ext: %s is no directory", path);
	code = ext2fs_dir_iterate2(e->fs, ino, 0, NULL, list_one, &l);
	return code ? failed(e, code, path) : 0;
}
