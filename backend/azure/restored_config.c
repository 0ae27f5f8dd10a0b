// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/azure/restored_config.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "backend/azure/arm.h"
#include "backend/azure/model_impl.h"
#include "backend/base/buf.h"
#include "backend/base/err.h"

/* --- the config blob --- */

static void put_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_u8(b, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		buf_u8(b, (uint8_t)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_u8(b, (uint8_t)(0xe0 | c >> 12));
		} else {
			buf_u8(b, (uint8_t)(0xf0 | c >> 18));
			buf_u8(b, (uint8_t)(0x80 | (c >> 12 & 63)));
		}
		buf_u8(b, (uint8_t)(0x80 | (c >> 6 & 63)));
	}
	buf_u8(b, (uint8_t)(0x80 | (c & 63)));
}

static uint32_t utf16_at(const uint8_t *p, size_t i)
{
	return (uint32_t)p[2 * i] | (uint32_t)p[2 * i + 1] << 8;
}

/* A lone surrogate becomes U+FFFD. */
static void from_utf16(const uint8_t *p, size_t units, struct buf *out)
{
	for (size_t i = 0; i < units; i++) {
		uint32_t c = utf16_at(p, i), low;

		if (c >= 0xd800 && c < 0xdc00 && i + 1 < units) {
			low = utf16_at(p, i + 1);
			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) +
				    (low - 0xdc00);
				i++;
			}
		}
		if (c >= 0xd800 && c < 0xe000)
			c = 0xfffd;
		put_utf8(out, c);
	}
}

/* As UTF-8, without BOM and padding. */
static void config_text(const uint8_t *p, size_t len, struct buf *out)
{
	bool wide = len >= 2 &&
		    ((p[0] == 0xff && p[1] == 0xfe) || (p[0] && !p[1]));
	size_t whole = len;

	while (len && !p[len - 1])
		len--;
	if (wide) {
		/* The NUL that was the upper half of the last character. */
		if (len % 2)
			len += len < whole ? 1 : -(size_t)1;
		if (p[0] == 0xff && len >= 2) {
			p += 2;
			len -= 2;
		}
		from_utf16(p, len / 2, out);
		return;
	}
	if (len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3)) {
		p += 3;
		len -= 3;
	}
	buf_add(out, p, len);
}

/* What a blob has in it; close it by json_close_secret(). */
static int blob_json(const void *bytes, size_t len, const char *what,
		     struct json **ret)
{
	DROP(buf)
	struct buf text = SECRET_BUF_INIT(2 * (size_t)ARM_BODY_MAX);
	int r;

	config_text(bytes, len, &text);
	r = buf_check(&text, what);
	return r ? r
		 : json_parse_secret((char *)text.data, text.len, ARM_DEPTH,
				     ret);
}

/* The settings of a disk of the model, in either of their places. */
static int config_keys(const struct json *disk, struct rsv_settings *to)
{
	int r = rsv_settings_add(to,
				 model_get_folded(disk, "encryptionSettings"));

	return r ? r
		 : rsv_settings_add(
			   to, model_get_folded(
				       disk, "encryptionSettingsCollection"));
}

static int config_disk(const struct json *j, int lun, struct rsv_config *to)
{
	struct rsv_config_disk *d = &to->disks[to->ndisks];
	const char *uri = json_as_str(
		model_get_folded(model_get_folded(j, "vhd"), "uri"));
	int r;

	r = config_keys(j, &to->keys);
	/* A managed disk that the job made itself: no VHD. */
	if (r || !uri)
		return r;
	to->ndisks++;
	d->lun = lun;
	r = model_copy_text(json_as_str(model_get_folded(j, "name")), &d->name);
	return r ? r : model_copy_text(uri, &d->uri);
}

static int config_disks(const struct json *profile, struct rsv_config *out)
{
	const struct json *os = model_get_folded(profile, "osDisk");
	const struct json *data = model_get_folded(profile, "dataDisks");
	size_t n = json_len(data);
	int r = 0;

	if (n >= CATALOG_DISKS_MAX)
		return fail(-EPROTO, "%zu disks", n);
	out->disks = calloc(n + 1, sizeof(*out->disks));
	if (!out->disks)
		return fail(-ENOMEM, "out of memory");
	if (os)
		r = config_disk(os, -1, out);
	for (size_t i = 0; !r && i < n; i++) {
		const struct json *d = json_at(data, i);
		int lun = (int)i;

		if (!model_lun(d, "lun", &lun))
			model_lun(d, "Lun", &lun);
		if (lun < 0)
			return fail(-EPROTO, "a data disk without a LUN");
		r = config_disk(d, lun, out);
	}
	return r;
}

static int copy_folded(const struct json *j, const char *key, char **to)
{
	return model_copy_text(json_as_str(model_get_folded(j, key)), to);
}

int rsv_config_parse(const void *bytes, size_t len, struct rsv_config *out)
{
	DROP(rsv_config) struct rsv_config got = { 0 };
	DROP(secret_json) struct json *j = NULL;
	const struct json *profile;
	int r = blob_json(bytes, len, "the config of restored disks", &j);

	if (r)
		return r;
	profile = model_get_folded(j, "properties.storageProfile");
	if (!profile)
		profile = model_get_folded(model_get_folded(j, "properties"),
					   "storageProfile");
	if (!profile)
		return fail(-EPROTO, "no storage profile in it");
	r = model_copy(j, "name", &got.vm);
	if (!r)
		r = copy_folded(model_get_folded(profile, "osDisk"), "osType",
				&got.os);
	if (!r)
		r = config_disks(profile, &got);
	if (r)
		return r;
	*out = got;
	got = (struct rsv_config){ 0 };
	return 0;
}

void rsv_config_release(struct rsv_config *c)
{
	for (size_t i = 0; i < c->ndisks; i++) {
		free(c->disks[i].name);
		free(c->disks[i].uri);
	}
	free(c->disks);
	free(c->vm);
	free(c->os);
	rsv_settings_release(&c->keys);
	*c = (struct rsv_config){ 0 };
}

/* --- the encryption info blob --- */

static int secret_folded(const struct json *k, const char *key,
			 struct secret **to)
{
	return model_secret_text(json_as_str(model_get_folded(k, key)), to);
}

static int info_key(const struct json *k, struct rsv_key *key)
{
	const char *data = json_as_str(model_get_folded(k, "SecretData"));
	int r = copy_folded(k, "SecretUrl", &key->secret_url);

	if (!r)
		r = copy_folded(k, "KeyUrl", &key->key_url);
	if (!r)
		r = model_secret_data(data, key);
	if (!r)
		r = secret_folded(k, "KeyBackupData", &key->key_backup);
	if (!r)
		r = secret_folded(k, "KeyVaultSecretBackupData",
				  &key->secret_backup);
	return r;
}

int rsv_encryption_info_parse(const void *bytes, size_t len,
			      struct rsv_key *out)
{
	DROP(rsv_key) struct rsv_key got = { 0 };
	DROP(secret_json) struct json *j = NULL;
	const struct json *k;
	int r = blob_json(bytes, len, "the encryption info of restored disks",
			  &j);

	if (r)
		return r;
	k = model_get_folded(j, "OsDiskKeyAndSecretDetails");
	if (!k)
		return fail(-EPROTO, "no OsDiskKeyAndSecretDetails in it");
	r = info_key(k, &got);
	if (r)
		return r;
	*out = got;
	got = (struct rsv_key){ 0 };
	return 0;
}
