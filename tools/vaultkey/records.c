// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultkey/records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/buf.h"
#include "backend/base/err.h"
#include "backend/base/log.h"

#define FILES_MAX 1024

bool is_point_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What a mount shows, which is public. */
static int read_text(const char *path, struct buf *out)
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint8_t *p;
	ssize_t n;

	if (fd < 0)
		return fail_errno(errno, "%s", path);
	do {
		p = buf_reserve(out, 4096);
		n = p ? read(fd, p, 4096) : 0;
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return fail_errno(errno, "%s", path);
	return buf_check(out, path);
}

static int add_file(const char *path, struct escrow_records *out)
{
	DROP(buf) struct buf text = BUF_INIT(ESCROW_TEXT_MAX);
	DROP(escrow_record) struct escrow_record rec = { 0 };
	DROP(json) struct json *j = NULL;
	const char *disk;
	int r = read_text(path, &text);

	if (r < 0)
		return r;
	r = escrow_parse(buf_cstr(&text), text.len, &rec);
	if (r == -EPROTO) {
		log_info("%s: %s", path, err_text(r));
		return 0;
	}
	/* A mount says in the document which disk it is of. */
	if (r == 0)
		r = json_parse(buf_cstr(&text), text.len, 4, &j);
	if (r < 0)
		return r;
	disk = json_get_str(j, "disk");
	if (disk && strlen(disk) < sizeof(rec.disk))
		memcpy(rec.disk, disk, strlen(disk) + 1);
	return escrow_records_add(out, &rec);
}

static int only_json(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && !strcmp(e->d_name + n - 5, ".json");
}

int point_dir_records(const char *path, struct escrow_records *out)
{
	DROP(mem) char *dir = NULL;
	struct dirent **files;
	int n, r = 0;

	if (asprintf(&dir, "%s/escrow", path) < 0) {
		dir = NULL;
		return fail(-ENOMEM, "out of memory");
	}
	n = scandir(dir, &files, only_json, alphasort);
	if (n < 0)
		return fail_errno(errno, "%s", dir);
	for (int i = 0; i < n; i++) {
		DROP(mem) char *file = NULL;

		if (r == 0 && i >= FILES_MAX)
			r = fail(-EFBIG, "%s: more than %d records", dir,
				 FILES_MAX);
		if (r == 0 &&
		    asprintf(&file, "%s/%s", dir, files[i]->d_name) < 0) {
			file = NULL;
			r = fail(-ENOMEM, "out of memory");
		}
		if (r == 0)
			r = add_file(file, out);
		free(files[i]);
	}
	free(files);
	if (r == 0 && !out->n)
		r = fail(-ENOENT, "%s: the point has no escrow record of ours",
			 dir);
	return r;
}

const char *point_dir_untrusted(const char *path)
{
	static char why[ERR_MAX];
	DROP(buf) struct buf text = BUF_INIT(ESCROW_TEXT_MAX);
	DROP(json) struct json *j = NULL;
	DROP(mem) char *file = NULL;
	bool pinned = false;

	if (asprintf(&file, "%s/../../vault.json", path) < 0) {
		file = NULL;
		return "out of memory";
	}
	if (read_text(file, &text) < 0 ||
	    json_parse(buf_cstr(&text), text.len, 16, &j) < 0)
		snprintf(why, sizeof(why),
			 "%s is not a point in a mount of vaultfs, so nothing "
			 "says whose records these are; --trust-unsealed tries "
			 "them all the same",
			 path);
	else if (!json_get_bool(j, "ownerKeyPinned", &pinned) || !pinned)
		snprintf(
			why, sizeof(why),
			"no owner key is pinned here for the vault, so anybody "
			"may have made its records: 'vaultctl key pin' pins "
			"it, --trust-unsealed tries them all the same");
	return pinned ? NULL : why;
}

int record_fits(const struct escrow_record *r, const char *volume)
{
	char place[ESCROW_PLACE_SIZE];
	size_t n = strlen(r->disk);

	if (!n)
		return 1;
	escrow_place(r, place);
	if (!strcmp(place, volume))
		return 3;
	return !r->part && !strncmp(volume, r->disk, n) && volume[n] == '-' ? 2
									    : 0;
}
