// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * tree: gives numbers to what folders return. No FUSE here.
 *
 * A node is a name in a directory that somebody outside (the kernel) knows, or
 * that lies above one. Its id is a number that is never used again, found in a
 * table; so an id from outside that is stale, or made up, is -ESTALE and
 * nothing worse. A node lives while lookups of it are counted (tree_lookup(),
 * tree_adopt(), until tree_forget()), while it has a child, or while a handle
 * is open on it.
 *
 * A name that comes to stand for something else (another kind, or another
 * VIEW_XATTR_POINT: a point that was dropped and one made in its place) is
 * another node; the old one stays what it was for those who hold it.
 *
 * st_ino is a hash of the path, 63 bits, and with it the same whenever and
 * wherever it is asked, also of an entry that is only listed. Two of a million
 * entries have the same with a chance of 1 in 18 million.
 *
 * Attributes are asked again once their time (valid_ms) is over.
 *
 * Functions return 0 or a negative errno with a sentence. Any thread. No lock
 * is held while a folder or source is called.
 */
#pragma once
#include "backend/folder.h"

#define TREE_ROOT 1
/* Longest name of an entry. */
#define TREE_NAME_MAX 255

struct tree;

struct tree_entry {
	uint64_t id; /* 0 in a listing */
	uint64_t ino;
	struct entry_attr attr;
	/* Nothing below a directory, or in a file, will ever be other than it
	 * is. */
	bool fixed;
};

/* root is owned, on failure too; fixed_ms: what is valid for so long is
 * fixed. */
int tree_new(struct folder *root, uint32_t fixed_ms,
	     struct tree **ret) MUST_USE;
/* No call is under way. Closes what is still open; handles are gone with it. */
void tree_free(struct tree *t);

/* Counts one lookup. */
int tree_lookup(struct tree *t, uint64_t parent, const char *name,
		struct tree_entry *out) MUST_USE;
void tree_forget(struct tree *t, uint64_t id, uint64_t nlookup);
/* -ESTALE when the name is gone or stands for something else now. */
int tree_attr(struct tree *t, uint64_t id, struct tree_entry *out) MUST_USE;
int tree_readlink(struct tree *t, uint64_t id, char *buf, size_t size) MUST_USE;
/* As folder_xattr(). */
int tree_xattr(struct tree *t, uint64_t id, const char *key,
	       struct buf *out) MUST_USE;
/* "/vault/vm/..." for messages, cut at the front when longer; "?" for no
 * node. */
void tree_path(struct tree *t, uint64_t id, char *buf, size_t size);
/* Nodes that live now, the root among them. */
size_t tree_count(struct tree *t);

/* --- a directory that is open --- */

struct tree_dir;

/* Nonzero stops; cookie asks for what follows the entry. */
typedef int tree_emit(void *ctx, const char *name, const struct tree_entry *e,
		      uint64_t cookie);

int tree_dir_open(struct tree *t, uint64_t id, struct tree_dir **ret) MUST_USE;
bool tree_dir_fixed(const struct tree_dir *d);
/* "." and ".." first. cookie 0: from the start. */
int tree_dir_list(struct tree_dir *d, uint64_t cookie, tree_emit *emit,
		  void *ctx) MUST_USE;
/* From within emit, for an entry that is not "." or "..": makes it a node and
 * counts one lookup of it; sets e->id. */
int tree_dir_adopt(struct tree_dir *d, const char *name,
		   struct tree_entry *e) MUST_USE;
void tree_dir_close(struct tree_dir *d);

/* --- a file that is open --- */

struct tree_file;

/* All that are open on one fixed node share one source. */
int tree_file_open(struct tree *t, uint64_t id,
		   struct tree_file **ret) MUST_USE;
bool tree_file_fixed(const struct tree_file *f);
/* Its bytes are not to be kept after the last close (entry_attr.dropped). */
bool tree_file_dropped(const struct tree_file *f);
/* Borrowed while the file is open. */
struct source *tree_file_source(struct tree_file *f);
void tree_file_close(struct tree_file *f);
/* The same; the number of its node, if nothing of it is to be kept now that nobody
 * has it open any more; else 0. */
uint64_t tree_file_close_last(struct tree_file *f);

DROP_DEFINE(tree, struct tree *, tree_free)
DROP_DEFINE(tree_dir, struct tree_dir *, tree_dir_close)
DROP_DEFINE(tree_file, struct tree_file *, tree_file_close)
