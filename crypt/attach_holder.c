// SPDX-License-Identifier: GPL-3.0-or-later
/* Who has a device open: looked for in /proc and /sys, for a sentence. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "crypt/attach_record.h"

static void closedir_any(DIR *d)
{
	if (d)
		closedir(d);
}
static void fclose_any(FILE *f)
{
	if (f)
		fclose(f);
}
DROP_DEFINE(dir, DIR *, closedir_any)
DROP_DEFINE(file, FILE *, fclose_any)

/* The first line of a small file, without its end. */
static bool first_line(const char *path, char *out, size_t size)
{
	DROP(file) FILE *f = fopen(path, "re");

	if (!f || !fgets(out, (int)size, f))
		return false;
	out[strcspn(out, "\n")] = '\0';
	return true;
}

/* --- devices on it --- */

static bool in_record(const struct attach_record *r, const char *uuid)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->entries[i].uuid, uuid) == 0)
			return true;
	return false;
}

/* The next device on it, by its kernel's name, or NULL; ours: it is of r. */
static const char *next_holder(DIR *d, const char *dir,
			       const struct attach_record *r, bool *ours)
{
	char path[512], uuid[DM_UUID_SIZE] = "";
	struct dirent *e;

	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/dm/uuid", dir, e->d_name);
		*ours = first_line(path, uuid, sizeof(uuid)) &&
			in_record(r, uuid);
		return e->d_name;
	}
	return NULL;
}

static void holders_dir(const struct dm_device *d, char out[static 64])
{
	snprintf(out, 64, "/sys/dev/block/%u:%u/holders", d->major, d->minor);
}

unsigned attach_own_holders(const struct attach_record *r,
			    const struct dm_device *d)
{
	char path[64];
	unsigned n = 0;
	bool ours;

	holders_dir(d, path);

	DROP(dir) DIR *dir = opendir(path);

	while (dir && next_holder(dir, path, r, &ours))
		n += ours;
	return n;
}

static bool other_device(const struct attach_record *r,
			 const struct dm_device *d, char *out, size_t size)
{
	char path[64], file[512], name[DM_NAME_SIZE];
	const char *kernel;
	bool ours;

	holders_dir(d, path);

	DROP(dir) DIR *dir = opendir(path);

	while (dir && (kernel = next_holder(dir, path, r, &ours)) != NULL) {
		if (ours)
			continue;
		snprintf(file, sizeof(file), "%s/%s/dm/name", path, kernel);
		if (first_line(file, name, sizeof(name)))
			snprintf(out, size, "/dev/mapper/%s is made of it",
				 name);
		else
			snprintf(out, size, "/dev/%s is made of it", kernel);
		return true;
	}
	return false;
}

/* --- mounts --- */

/* Undoes \040 and the like, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' &&
		    isdigit((unsigned char)s[2]) &&
		    isdigit((unsigned char)s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Of a line of mountinfo, cut apart in place: some file systems show a device
 * number of their own, but all of them where they come from. */
static const char *mounted_on(char *line, const char *number,
			      const char *device)
{
	char *word[5] = { NULL }, *rest, *source, *save = NULL;

	rest = strstr(line, " - ");
	if (!rest)
		return NULL;
	*rest = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(word); i++) {
		word[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!word[i])
			return NULL;
	}
	source = strchr(rest + 3, ' ');
	if (source) {
		source++;
		source[strcspn(source, " \n")] = '\0';
		unescape(source);
	}
	if (strcmp(word[2], number) != 0 &&
	    !(source && strcmp(source, device) == 0))
		return NULL;
	unescape(word[4]);
	return word[4];
}

static bool mount_of(const char *pid, const char *number, const char *device,
		     char *out, size_t size)
{
	char path[64], line[4096];
	const char *where;

	snprintf(path, sizeof(path), "/proc/%.20s/mountinfo", pid);

	DROP(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		where = mounted_on(line, number, device);
		if (where) {
			snprintf(out, size, "%s", where);
			return true;
		}
	}
	return false;
}

/* --- processes --- */

/* By what the link says: to follow it could hang, where it leads to a file system
 * that does. */
static bool has_open(const char *pid, unsigned minor_number, const char *device)
{
	char path[64], file[512], to[256], kernel[32];
	struct dirent *e;
	ssize_t n;

	snprintf(kernel, sizeof(kernel), "/dev/dm-%u", minor_number);
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);

	DROP(dir) DIR *d = opendir(path);

	while (d && (e = readdir(d)) != NULL) {
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		n = readlink(file, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (strcmp(to, kernel) == 0 || strcmp(to, device) == 0)
			return true;
	}
	return false;
}

static void process_name(const char *pid, char *out, size_t size)
{
	char path[64], comm[64] = "?";

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	first_line(path, comm, sizeof(comm));
	snprintf(out, size, "process %.20s (%s)", pid, comm);
}

static bool by_process(const struct dm_device *d, const char *number,
		       const char *device, char *out, size_t size)
{
	DROP(dir) DIR *proc = opendir("/proc");
	char who[128], where[1024];
	struct dirent *e;

	while (proc && (e = readdir(proc)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (mount_of(e->d_name, number, device, where, sizeof(where))) {
			process_name(e->d_name, who, sizeof(who));
			snprintf(out, size,
				 "it is mounted on %s, as %s sees it", where,
				 who);
			return true;
		}
		if (has_open(e->d_name, d->minor, device)) {
			process_name(e->d_name, who, sizeof(who));
			snprintf(out, size, "%s has it open", who);
			return true;
		}
	}
	return false;
}

void attach_holder(const struct attach_record *r, const struct dm_device *d,
		   const char *name, char *out, size_t size)
{
	char number[32], device[160], where[1024];

	snprintf(number, sizeof(number), "%u:%u", d->major, d->minor);
	snprintf(device, sizeof(device), "/dev/mapper/%s", name);
	if (mount_of("self", number, device, where, sizeof(where)))
		snprintf(out, size, "it is mounted on %s", where);
	else if (!other_device(r, d, out, size) &&
		 !by_process(d, number, device, out, size))
		snprintf(out, size, "somebody has it open");
}
