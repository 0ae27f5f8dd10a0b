// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * args: the command line of vaultfs.
 *
 *	vaultfs [options] VAULT... MOUNTPOINT
 *	vaultfs VAULT MOUNTPOINT -o OPTIONS	as mount.fuse3 calls it
 *
 * VAULTs come from the operands and from -o vault=. With the latter, a first
 * operand that is "vaultfs" or "none" is only what fstab calls the device.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/base/scope.h"
#include "backend/store/store.h"

#define ARGS_CACHE_SIZE (UINT64_C(128) << 20)
#define ARGS_DISK_CACHE_SIZE (UINT64_C(4) << 30)
#define ARGS_WAIT_FOR_EVER UINT64_MAX
#define ARGS_REFRESH_MS 10000

struct args {
	char **vaults; /* URLs; a path is made absolute */
	size_t nvaults;
	char *mountpoint; /* as given */
	char *fsname;	  /* NULL: the vaults */
	char *kernel; /* options for libfuse, split by commas; may be NULL */
	char *log;    /* FILE or "syslog"; NULL: not given */
	bool foreground, debug, nonempty;
	bool allow_other;
	struct store_options store; /* its texts are ours */
	/* Keys, in the order given; each of them as its option takes it, with its
	 * paths made absolute. */
	struct args_key {
		enum args_key_kind {
			ARGS_KEK,
			ARGS_KEYS,
			ARGS_BEK,
			ARGS_PASSWORD,
			ARGS_KEK_HOST,
			ARGS_KV_RESOURCE,
		} kind;
		char *text;
	} * keys;
	size_t nkeys;
	bool trust_unsealed;
	struct args_header {
		char *vm; /* NULL: any */
		char *volume;
		char *path;
	} * headers;
	size_t nheaders;
	bool has_keys_gid;
	gid_t keys_gid;
	bool require_pin; /* no vault whose owner key is not pinned here */
	int verbose;
	uint64_t cache_size;
	char *cache_dir;	  /* absolute; NULL: the usual place */
	uint64_t disk_cache_size; /* of each vault; 0: none */
	bool disk_cache_asked;	  /* one of the two was given */
	/* How long to wait for a server that does not answer; 0: not. */
	uint64_t offline_wait_ms;
	uint64_t refresh_ms;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	bool help, version; /* then nothing else counts */
};

/* 0, or -EINVAL with a sentence that names the option. The options may be mixed
 * with operands. One call in a process. */
int args_parse(struct args *a, int argc, char **argv) MUST_USE;
void args_release(struct args *a);
void args_print_help(void);

static inline void drop_args(struct args *a)
{
	args_release(a);
}
