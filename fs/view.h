// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * view: the catalog's tree as folders, and the one place that stacks sources.
 * No FUSE here.
 *
 *	<vault>/			every vault of every catalog
 *		vault.json		what catalog_describe() says
 *		<vm>/
 *			latest		link to the greatest in time
 *			<point>/	time_name() of its time
 *				point.json
 *				point.txt	of one without disks: why, and
 *						what to do
 *				disks/<disk>.img
 *				vhd/<disk>.vhd	the same with a fixed-VHD footer
 *				volumes/	what is on them (crypt/volumes.h)
 *					<name>.img	clear, or decrypted
 *					<name>.locked	or why not
 *					volumes.json	all that is known
 *				escrow/<n>-<disk>.json	records of their keys
 *
 * Names are unique in their folder, and the same in every mount of the same
 * vaults. Points of one second all get '~' and point_id_tag(), the first four
 * hex digits of the SHA-256 of their id; those of them whose tags are the same
 * too get '~' and the whole id. Vaults of one name all get '~' and the first
 * four hex digits of the SHA-256 of their "id" in catalog_describe(); where
 * that is the same too (copies of one vault), also "-2", "-3", … in the order
 * of the catalogs. A VM named "vault.json" is shown as "vault.json~" and four
 * digits of the SHA-256 of its name.
 *
 * What lies above a point may be cached for fresh_ms, what lies in one for
 * VIEW_FIXED_MS, since points never change; but for point.json, which shows
 * holds and expiry too. Directories above a point bear the time the view was
 * opened, so that a listing of VMs costs nothing a VM; a point and all in it,
 * the point's.
 *
 * A listing of points costs nothing a point. Points whose time is before 1970
 * are not listed (a cookie is a time), but can be looked up.
 *
 * A disk that is not ready, or has no size, is an empty file that cannot be
 * opened (-EIO with the sentence), and DISK.txt beside it says why. A disk that
 * no fixed VHD can hold (not a multiple of 512 bytes) has only DISK.txt under
 * vhd/.
 *
 * volumes/ is resolved when it is first listed, or something is looked up in it, and
 * escrow/ likewise; not when a directory above is listed. Both, and what is in
 * them, are for the owner only (backend/folder.h). What is locked may open later, so
 * that nothing in them is cached for longer than fresh_ms.
 *
 * Extended attributes, of disks and of point directories:
 *
 *	user.vaultfs.point	id of the point
 *	user.vaultfs.verified	"sha256, seal pinned" or "sha256, seal not
 *				pinned": what stands behind each byte; of a
 *				vault that is not ours: "no, as the service
 *				gives it"
 *	user.vaultfs.root	root hash of the image (disks only)
 */
#pragma once
#include "backend/catalog.h"
#include "backend/folder.h"
#include "fs/resolver.h"

#define VIEW_FIXED_MS (7u * 24 * 3600 * 1000)

#define VIEW_XATTR_POINT "user.vaultfs.point"
#define VIEW_XATTR_VERIFIED "user.vaultfs.verified"
#define VIEW_XATTR_ROOT "user.vaultfs.root"

struct view_options {
	uint32_t fresh_ms; /* how long names above a point may be cached */
	/* Borrowed; NULL, and 0: none. */
	struct keyring *keyring;
	struct keycache *keycache;
	bool trust_unsealed;
	const struct resolver_header *headers;
	size_t nheaders;
};

/*
 * The root folder over n catalogs, which are borrowed: folders and the sources
 * that came from them are closed before the catalogs. Any thread.
 */
int view_open(struct catalog *const *catalogs, size_t n,
	      const struct view_options *o, struct folder **ret) MUST_USE;
/* Of such a root: what is locked is looked at anew. */
void view_reset(struct folder *root);
