// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * volumes [-b BEK-FILE] [-p PASSWORD-FILE] [-k KEK] [-r [DISK[-pN]]=RECORD]
 *	[-u WHY] [-H VOLUME=HEADER] [-o VOLUME] DISK=IMAGE...
 *
 * What crypt/volumes finds on images: volumes.json, or, with -o, the bytes of one.
 * On standard error: how many keys were derived.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/err.h"
#include "backend/base/log.h"
#include "crypt/volumes.h"

#define MOST 16

struct args {
	struct keyring *keyring;
	struct escrow_records records;
	struct volumes_header_file headers[MOST];
	size_t nheaders;
	const char *untrusted, *out;
};

static int add_record(struct args *a, char *spec)
{
	DROP(escrow_record) struct escrow_record r = { 0 };
	DROP(mem) char *text = NULL;
	char *path = strchr(spec, '='), *part;
	size_t n = 0;
	FILE *f;
	int e;

	if (!path)
		return fail(-EINVAL, "-r %s", spec);
	*path++ = '\0';
	text = malloc(ESCROW_TEXT_MAX);
	f = fopen(path, "re");
	if (!f || !text)
		return fail_errno(errno, "%s", path);
	n = fread(text, 1, ESCROW_TEXT_MAX, f);
	fclose(f);
	e = escrow_parse(text, n, &r);
	if (e)
		return e;
	part = strstr(spec, "-p");
	if (part) {
		r.part = (unsigned)(part[2] - '0');
		*part = '\0';
	}
	snprintf(r.disk, sizeof(r.disk), "%s", spec);
	return escrow_records_add(&a->records, &r);
}

static int add_header(struct args *a, char *spec)
{
	char *path = strchr(spec, '=');

	if (!path || a->nheaders == MOST)
		return fail(-EINVAL, "-H %s", spec);
	*path++ = '\0';
	a->headers[a->nheaders++] = (struct volumes_header_file){ spec, path };
	return 0;
}

static int option(struct args *a, int c, char *value)
{
	switch (c) {
	case 'b':
		return keyring_add_bek(a->keyring, value);
	case 'p':
		return keyring_add_password(a->keyring, value);
	case 'k':
		return keyring_add_kek(a->keyring, value);
	case 'r':
		return add_record(a, value);
	case 'H':
		return add_header(a, value);
	case 'u':
		a->untrusted = value;
		return 0;
	case 'o':
		a->out = value;
		return 0;
	default:
		return fail(-EINVAL, "not used like that");
	}
}

static int copy_out(struct volumes *vs, const char *name)
{
	static uint8_t buf[1 << 20];
	DROP(source) struct source *s = NULL;
	size_t row;
	int r = volumes_find(vs, name, &row);

	if (!r)
		r = volumes_image(vs, row, &s);
	for (uint64_t off = 0; !r && off < source_size(s);) {
		size_t n = min_u64(sizeof(buf), source_size(s) - off);

		r = source_read(s, buf, n, off);
		if (!r && fwrite(buf, 1, n, stdout) != n)
			r = fail_errno(errno, "writing");
		off += n;
	}
	return r;
}

static int print(const struct volumes *vs)
{
	DROP(json) struct json *j = volumes_json(vs);
	DROP(mem) char *text = NULL;
	size_t len;
	int r = json_text(j, true, &text, &len);

	if (!r)
		fputs(text, stdout);
	return r;
}

static int run(int argc, char **argv)
{
	struct args a = { 0 };
	DROP(keyring) struct keyring *keyring = NULL;
	DROP(keycache) struct keycache *cache = NULL;
	DROP(volumes) struct volumes *vs = NULL;
	struct volumes_disk disks[MOST];
	size_t n = 0;
	int c, r = secret_setup();

	if (!r)
		r = keyring_new(&keyring);
	if (!r)
		r = keycache_new(&cache);
	a.keyring = keyring;
	while (!r && (c = getopt(argc, argv, "b:p:k:r:u:H:o:")) >= 0)
		r = option(&a, c, optarg);
	for (; !r && optind < argc && n < MOST; optind++, n++) {
		char *path = strchr(argv[optind], '=');

		if (!path)
			return fail(-EINVAL, "%s", argv[optind]);
		*path++ = '\0';
		disks[n].name = argv[optind];
		r = source_open_file(path, &disks[n].source);
	}
	if (!r) {
		struct volumes_options o = {
			.keyring = keyring,
			.cache = cache,
			.records = a.records.v,
			.nrecords = a.records.n,
			.untrusted = a.untrusted,
			.headers = a.headers,
			.nheaders = a.nheaders,
		};

		r = volumes_open(disks, n, &o, &vs);
	}
	if (!r)
		r = a.out ? copy_out(vs, a.out) : print(vs);
	if (!r)
		fprintf(stderr, "derived %" PRIu64 "\n",
			keycache_derived(cache));
	escrow_records_release(&a.records);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	log_init("volumes", LOG_LEVEL_WARN);
	r = run(argc, argv);
	if (r)
		fprintf(stderr, "volumes: %s\n", err_text(r));
	return r ? 1 : 0;
}
