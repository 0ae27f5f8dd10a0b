// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * folder: a read-only tree of names. The catalog's tree, volumes/ and a guest's
 * file tree are its implementations; fs/tree only gives numbers to what they
 * return.
 *
 * A struct folder is one directory; entries are asked by name. Any thread. An
 * entry that is a directory is opened with folder_open_dir(); a file gives a
 * source. Times and sizes are those of the entry. Nothing here knows FUSE.
 */
#pragma once
#include "backend/base/buf.h"
#include "backend/base/scope.h"
#include "backend/source/source.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entry_kind { ENTRY_DIR, ENTRY_FILE, ENTRY_LINK };

struct entry_attr {
	enum entry_kind kind;
	uint64_t size;	 /* file or link; 0 for a directory */
	uint64_t blocks; /* 512-byte units of what is not hole */
	int64_t mtime_ns;
	uint32_t nlink;	   /* 0: do not know, shown as 1 */
	uint32_t valid_ms; /* how long this and the name may be cached */
	/* Not for others than who mounted: it is of what was encrypted. */
	bool owner_only;
	/* A file whose size stays what it is, but whose bytes are not to be kept
	 * by anybody once it is closed. */
	bool dropped;
};

struct folder;

/* Called for each entry in order; cookie asks for what follows it. Nonzero
 * stops. */
typedef int folder_emit(void *ctx, const char *name,
			const struct entry_attr *attr, uint64_t cookie);

struct folder_ops {
	const char *name;
	int (*lookup)(struct folder *f, const char *name,
		      struct entry_attr *out);
	int (*list)(struct folder *f, uint64_t cookie, folder_emit *emit,
		    void *ctx);
	int (*open_dir)(struct folder *f, const char *name,
			struct folder **ret);
	int (*open)(struct folder *f, const char *name, struct source **ret);
	int (*readlink)(struct folder *f, const char *name, char *buf,
			size_t size);
	/* Optional: names (NUL-separated) when key is NULL. */
	int (*xattr)(struct folder *f, const char *name, const char *key,
		     struct buf *out);
	void (*close)(struct folder *f);
};

struct folder {
	const struct folder_ops *ops;
};

int folder_lookup(struct folder *f, const char *name,
		  struct entry_attr *out) MUST_USE;
/* cookie 0: from the start. */
int folder_list(struct folder *f, uint64_t cookie, folder_emit *emit,
		void *ctx) MUST_USE;
int folder_open_dir(struct folder *f, const char *name,
		    struct folder **ret) MUST_USE;
int folder_open(struct folder *f, const char *name,
		struct source **ret) MUST_USE;
/* NUL-terminated; -ENAMETOOLONG. */
int folder_readlink(struct folder *f, const char *name, char *buf,
		    size_t size) MUST_USE;
int folder_xattr(struct folder *f, const char *name, const char *key,
		 struct buf *out) MUST_USE;
void folder_close(struct folder *f);

DROP_DEFINE(folder, struct folder *, folder_close)
