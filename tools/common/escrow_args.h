// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The options that give escrow records for the disks of a point, and what comes of
 * them: documents as a vault keeps them.
 *
 *	--escrow [DISK|DISK-pN]=FILE	once for each; no name: the whole VM
 *	--escrow-to PUBLIC		adds a wrap for this key, of a BEK that is
 *					plain, or that a --kek unwraps
 *	--wrapped KEKURL, --plain	where a secret does not say so
 */
#pragma once
#include "backend/vault/writer.h"
#include "tools/common/keys.h"
#include "tools/common/options.h"

struct escrow_args {
	struct string_list escrow, to;
	const char *wrapped;
	bool plain;
	struct keys_options keys;
};
static inline void drop_escrow_args(struct escrow_args *a)
{
	string_list_release(&a->escrow);
	string_list_release(&a->to);
	drop_keys_options(&a->keys);
}

#define ESCROW_OPTIONS(a)                                                      \
	{ 'e',                                                                 \
	  "escrow",                                                            \
	  OPTION_LIST,                                                         \
	  &(a).escrow,                                                         \
	  "NAME=FILE",                                                         \
	  "the escrowed key of a disk (os=FILE), of its partition N "          \
	  "(os-pN=FILE) or of the whole VM (=FILE): what 'az keyvault secret " \
	  "show -o json' prints, or a record of vaultkey; - is standard "      \
	  "input; may be repeated" },                                          \
		{ 0,                                                           \
		  "escrow-to",                                                 \
		  OPTION_LIST,                                                 \
		  &(a).to,                                                     \
		  "PUBLIC",                                                    \
		  "wrap these keys for this public key or certificate too "    \
		  "(RSA, 3072 bits or more), unwrapping them once with --kek " \
		  "where they are wrapped; may be repeated" },                 \
		{ 0,                                                           \
		  "wrapped",                                                   \
		  OPTION_VALUE,                                                \
		  &(a).wrapped,                                                \
		  "KEKURL",                                                    \
		  "the secrets are wrapped, by this KEK, though they do not "  \
		  "say so" },                                                  \
		{ 0,	      "plain", OPTION_FLAG,                            \
		  &(a).plain, NULL,    "the secrets are not wrapped" },        \
		KEYS_KEKS_OPTIONS((a).keys)

/* Documents; text and disk are owned. */
struct escrow_list {
	struct escrow_addition *v;
	size_t n;
};
void escrow_list_release(struct escrow_list *l);
static inline void drop_escrow_list(struct escrow_list *l)
{
	escrow_list_release(l);
}
/* Adds a document for r's place; the point is not set. */
int escrow_list_add(struct escrow_list *l, struct escrow_record *r) MUST_USE;

/* How the options go together; -EUSAGE. copied: records come with a point. */
int escrow_args_check(const struct escrow_args *a, bool copied) MUST_USE;
/*
 * The records of a point that is copied, with its keys: what a record only refers to
 * is read in Key Vault now. Where that fails, or a key cannot be wrapped for
 * --escrow-to, it fails; without --escrow-to it warns, and the record stays what it
 * was.
 */
int escrow_args_copy(const struct escrow_args *a, const struct point_info *p,
		     const struct escrow_docs *docs,
		     struct escrow_list *out) MUST_USE;
/* Reads them all; disks: the names that there are. Warns of keys that are not
 * kept, since nothing wraps them. */
int escrow_args_read(const struct escrow_args *a, const char *const *disks,
		     size_t ndisks, struct escrow_list *out) MUST_USE;
