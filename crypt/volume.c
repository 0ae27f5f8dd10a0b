// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypt/volume.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "crypt/bitlocker.h"
#include "crypt/luks.h"

struct volume_key {
	atomic_uint refs;
	enum volume_type type;
	struct digest metadata;
	struct secret *key;
};

const char *volume_type_name(enum volume_type type)
{
	static const char *const names[] = {
		[VOLUME_CLEAR] = "clear",
		[VOLUME_LUKS1] = "luks1",
		[VOLUME_LUKS2] = "luks2",
		[VOLUME_BITLOCKER] = "bitlocker",
	};

	return names[type];
}

/* --- what it is --- */

/* 0 when r only says what is wrong with the volume, which goes to out. */
static int conclude(int r, struct volume_info *out)
{
	switch (r) {
	case 0:
		return 0;
	case -ENOTSUP:
		out->state = VOLUME_REFUSED;
		break;
	case -EPROTO:
		out->state = VOLUME_DAMAGED;
		break;
	case -EBADMSG:
		/* A store that checks digests says that too, of the medium. */
		out->state = VOLUME_DAMAGED;
		break;
	default:
		return r;
	}
	snprintf(out->reason, sizeof(out->reason), "%s", err_text(r));
	return 0;
}

static void describe_luks(const struct luks *l, uint64_t size,
			  struct volume_info *out)
{
	out->type = l->version == 1 ? VOLUME_LUKS1 : VOLUME_LUKS2;
	memcpy(out->uuid, l->uuid, sizeof(l->uuid));
	memcpy(out->label, l->label, sizeof(l->label));
	memcpy(out->cipher, l->cipher, sizeof(l->cipher));
	out->key_bits = (unsigned)l->key_size * 8;
	out->sector_size = l->format.sector_size;
	out->data_offset = l->data_offset;
	out->confidential = l->confidential;
	out->metadata = l->digest;
	if (l->data_size)
		out->size = l->data_size;
	else if (l->data_offset && l->data_offset < size && out->sector_size)
		out->size = (size - l->data_offset) / out->sector_size *
			    out->sector_size;
}

static void describe_bitlocker(const struct bitlocker *b,
			       struct volume_info *out)
{
	out->type = VOLUME_BITLOCKER;
	memcpy(out->uuid, b->id, sizeof(b->id));
	memcpy(out->label, b->label, sizeof(b->label));
	if (b->key_size)
		snprintf(out->cipher, sizeof(out->cipher), "%s",
			 sector_mode_name(b->format.mode));
	out->key_bits = (unsigned)b->key_size * 8;
	out->sector_size = b->format.sector_size;
	out->size = b->size;
	out->suspended = b->suspended;
	out->metadata = b->digest;
	for (size_t i = 0; i < b->nprotectors; i++)
		if (b->protectors[i].type == PROTECTOR_EXTERNAL &&
		    out->nkey_ids < VOLUME_KEY_IDS)
			memcpy(out->key_ids[out->nkey_ids++],
			       b->protectors[i].id, GUID_TEXT_SIZE);
}

int volume_probe(struct source *s, struct volume_info *out)
{
	DROP(bitlocker) struct bitlocker b = { 0 };
	struct luks l;
	int r;

	memset(out, 0, sizeof(*out));
	r = luks_read(s, &l);
	if (l.version) {
		describe_luks(&l, source_size(s), out);
		return conclude(r, out);
	}
	if (r < 0)
		return r;
	r = bitlocker_read(s, &b);
	if (b.here) {
		describe_bitlocker(&b, out);
		return conclude(r, out);
	}
	return r;
}

/* --- opening it --- */

/* Either metadata. Fails with the sentence of what is wrong. */
struct metadata {
	struct luks luks;
	struct bitlocker bitlocker;
};

static void metadata_free(struct metadata *m)
{
	if (!m)
		return;
	bitlocker_release(&m->bitlocker);
	free(m);
}

DROP_DEFINE(metadata, struct metadata *, metadata_free)

static int metadata_read(struct source *data, struct source *header,
			 struct metadata **ret)
{
	DROP(metadata) struct metadata *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return fail(-ENOMEM, "out of memory");
	r = luks_read(header ? header : data, &m->luks);
	if (r < 0)
		return r;
	if (!m->luks.version && header)
		return fail(-ENOTSUP, "the detached header has no LUKS header");
	if (!m->luks.version) {
		r = bitlocker_read(data, &m->bitlocker);
		if (r < 0)
			return r;
		if (!m->bitlocker.here)
			return fail(-ENOTSUP, "it has no header of LUKS or "
					      "BitLocker");
	}
	*ret = take(m);
	return 0;
}

static enum volume_type type_of(const struct metadata *m)
{
	if (m->luks.version)
		return m->luks.version == 1 ? VOLUME_LUKS1 : VOLUME_LUKS2;
	return VOLUME_BITLOCKER;
}

static const struct digest *digest_of(const struct metadata *m)
{
	return m->luks.version ? &m->luks.digest : &m->bitlocker.digest;
}

static int unlock(struct source *data, struct source *header,
		  const struct metadata *m, struct secret *key,
		  enum key_kind kind, struct secret **ret)
{
	int r;

	if (!m->luks.version)
		return bitlocker_unlock(&m->bitlocker, key,
					kind == KEY_PASSPHRASE, ret);
	if (!key)
		return fail(-ENOKEY, "it needs a key");
	r = luks_unlock(header ? header : data, &m->luks, key, ret);
	if (r == -ENOKEY && m->luks.confidential)
		return fail(r, "the key does not open it: it is of a "
			       "confidential VM, whose key is released to that "
			       "VM only");
	return r;
}

static int map(struct source *data, bool detached, const struct metadata *m,
	       struct secret *volume_key, struct source **ret)
{
	if (m->luks.version)
		return luks_map(data, &m->luks, detached, volume_key, ret);
	return bitlocker_map(data, &m->bitlocker, volume_key, ret);
}

struct volume_key *volume_key_ref(struct volume_key *k)
{
	atomic_fetch_add(&k->refs, 1);
	return k;
}

void volume_key_close(struct volume_key *k)
{
	if (!k || atomic_fetch_sub(&k->refs, 1) > 1)
		return;
	secret_close(k->key);
	free(k);
}

int volume_unlock(struct source *data, struct source *header,
		  struct secret *key, enum key_kind kind,
		  struct volume_key **ret)
{
	DROP(metadata) struct metadata *m = NULL;
	DROP(volume_key) struct volume_key *k = NULL;
	int r = metadata_read(data, header, &m);

	if (r < 0)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return fail(-ENOMEM, "out of memory");
	atomic_init(&k->refs, 1);
	k->type = type_of(m);
	k->metadata = *digest_of(m);
	r = unlock(data, header, m, key, kind, &k->key);
	if (r == 0)
		*ret = take(k);
	return r;
}

int volume_map(struct source *data, struct source *header,
	       const struct volume_key *key, struct source **ret)
{
	DROP(source) struct source *owned = data;
	DROP(metadata) struct metadata *m = NULL;
	int r = metadata_read(data, header, &m);

	if (r < 0)
		return r;
	if (key->type != type_of(m) ||
	    !digest_equal(&key->metadata, digest_of(m)))
		return fail(-ENOKEY, "the volume key is of other metadata");
	return map(take(owned), header, m, key->key, ret);
}

int volume_open(struct source *data, struct source *header, struct secret *key,
		enum key_kind kind, struct source **ret)
{
	DROP(source) struct source *owned = data;
	DROP(metadata) struct metadata *m = NULL;
	DROP(secret) struct secret *volume_key = NULL;
	int r = metadata_read(data, header, &m);

	if (r == 0)
		r = unlock(data, header, m, key, kind, &volume_key);
	return r < 0 ? r : map(take(owned), header, m, volume_key, ret);
}

int volume_activate(struct source *data, struct source *header,
		    const struct volume_key *key, const char *device,
		    const char *name, const char *uuid, bool readonly)
{
	DROP(metadata) struct metadata *m = NULL;
	int r = metadata_read(data, header, &m);

	if (r < 0)
		return r;
	if (key->type != type_of(m) ||
	    !digest_equal(&key->metadata, digest_of(m)))
		return fail(-ENOKEY, "the volume key is of other metadata");
	if (m->luks.version)
		return luks_activate(header ? header : data, &m->luks, key->key,
				     device, name, readonly);
	return bitlocker_activate(&m->bitlocker, key->key, device, name, uuid,
				  readonly);
}

void volume_dm_uuid(const struct volume_info *info, const char *name,
		    char out[static VOLUME_DM_UUID_SIZE])
{
	static const char *const kinds[] = {
		[VOLUME_CLEAR] = "PLAIN",
		[VOLUME_LUKS1] = "LUKS1",
		[VOLUME_LUKS2] = "LUKS2",
		[VOLUME_BITLOCKER] = "BITLK",
	};
	char bare[sizeof(info->uuid)];
	size_t n = 0;

	for (const char *p = info->uuid; *p; p++)
		if (*p != '-')
			bare[n++] = *p;
	bare[n] = '\0';
	snprintf(out, VOLUME_DM_UUID_SIZE, "CRYPT-%s-%s-%s", kinds[info->type],
		 bare, name);
}
