// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the files of the directory store (dir.c) share. Functions called dir_sys_
 * and those that say "silent" return a negative errno as the system gave it, and
 * no sentence: the retries decide on it first. Any thread.
 */
#pragma once
#include <stdatomic.h>

#include "backend/base/err.h"
#include "backend/store/store.h"

#define DIR_TMP "tmp"
#define DIR_TRIES_MAX 16
#define DIR_FOLDERS_MAX 16

/* A directory kept open for putting into it; it exists, and so do its
 * parents. */
struct folder {
	char *path;
	int fd;
	unsigned users; /* lock */
	bool kept;	/* lock: in dir->folders */
	uint64_t used;	/* lock */
};

struct dir {
	struct store base;
	char *path; /* absolute */
	int root;   /* same number for life; replaced under lock */
	bool writable;
	atomic_uint generation; /* of the root */
	atomic_bool no_openat2;
	atomic_bool no_tmpfile;
	atomic_bool no_rename; /* RENAME_NOREPLACE */
	atomic_bool swept;
	atomic_bool wrote; /* an object became visible */
	atomic_bool broken;
	pthread_mutex_t lock;
	struct err_saved cause;			 /* lock; of broken */
	struct folder *folders[DIR_FOLDERS_MAX]; /* lock */
	uint64_t clock;				 /* lock */
};

static inline struct dir *dir_of(struct store *s)
{
	return container_of(s, struct dir, base);
}

/* dir.c: system calls, begun again after a signal. dir_sys_open() does not leave
 * the directory `at`, and follows no link; flags as open(2) has them. */
int dir_sys_open(struct dir *d, int at, const char *path, int flags,
		 uint64_t resolve) MUST_USE;
int dir_sys_fsync(int fd) MUST_USE;
int dir_sys_fsync_folder(int fd) MUST_USE;
int dir_sys_close(int fd) MUST_USE;
/* As many bytes as there are before the end of the file, up to len. */
ssize_t dir_sys_pread(int fd, void *buf, size_t len, uint64_t off) MUST_USE;
int dir_sys_write(int fd, const struct store_piece *pieces,
		  size_t npieces) MUST_USE;

/* Ends all putting for good, with the thread's sentence as the cause, if it is
 * the first. Returns code. */
int dir_break_off(struct dir *d, int code);
/* Fails with that cause. */
int dir_broken(struct dir *d) MUST_USE;
/*
 * After the silent failure err of a call that began when the root was of the
 * given generation: 1 if it is worth another try, 0 if the failure stands,
 * -ENXIO with its sentence if the store is not there.
 */
int dir_root_lost(struct dir *d, int err, unsigned generation) MUST_USE;
/* The same after try number tries, from 0: 1, or negative with the sentence of what
 * stands; doing: for dir_say(). */
int dir_again(struct dir *d, int err, int tries, unsigned generation,
	      const char *doing, const char *key) MUST_USE;
/* What the silent failure err of a call that names an object that is to be
 * there means; doing: "read". */
int dir_say(struct dir *d, int err, const char *doing, const char *key);

/* dir_folder.c. The folder of the first len bytes of path, made if it is
 * missing, until dir_folder_put(). Silent. */
int dir_folder_get(struct dir *d, const char *path, size_t len,
		   struct folder **ret) MUST_USE;
void dir_folder_put(struct dir *d, struct folder *f);
/* It was removed under us. */
void dir_folder_forget(struct dir *d, const struct folder *f);
/* With the lock held, or nobody else there: all of them. */
void dir_forget_folders(struct dir *d);

/* The methods that are not in dir.c: dir_put.c, dir_list.c. */
int dir_put(struct store *s, const char *key, const struct store_piece *pieces,
	    size_t npieces);
int dir_put_whole(struct store *s, const char *key,
		  const struct store_piece *pieces, size_t npieces);
int dir_barrier(struct store *s);
int dir_list(struct store *s, const char *prefix, const char *after, size_t max,
	     bool fold, struct store_list *out);
int dir_remove(struct store *s, const char *key);
