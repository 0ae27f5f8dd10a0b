// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Who we are, as a session record says it, and whether the process that wrote
 * one still runs. What is asked of /proc: boot_id (proc(5), sys/kernel/random),
 * the inode of ns/pid, and field 22 of PID/stat, the start time in clock ticks
 * since boot: a process id alone may have been given out again.
 */
#include "backend/vault/writer_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backend/base/parse.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct live {
	struct live *next;
	struct point_id gen;
} * lives;			 /* by mutex */
static bool pretended;		 /* by mutex */
static uint8_t pretended_id[16]; /* by mutex */

/* The first bytes of a small file, NUL-terminated; -errno without a
 * sentence. */
static int slurp(const char *path, char *buf, size_t size)
{
	DROP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static void read_boot_id(uint8_t out[static 16])
{
	char text[64], hex[33];
	size_t n = 0;

	memset(out, 0, 16);
	if (slurp("/proc/sys/kernel/random/boot_id", text, sizeof(text)))
		return;
	for (const char *p = text; *p && *p != '\n' && n < 32; p++)
		if (*p != '-')
			hex[n++] = *p;
	hex[n] = '\0';
	if (n != 32 || parse_hex(hex, out, 16))
		memset(out, 0, 16);
}

/* Start time of a process; -ENOENT when there is none. */
static int start_ticks(uint64_t pid, uint64_t *out)
{
	char path[64], text[2048];
	const char *p;
	int r;

	snprintf(path, sizeof(path), "/proc/%llu/stat",
		 (unsigned long long)pid);
	r = slurp(path, text, sizeof(text));
	if (r)
		return r == -ESRCH ? -ENOENT : r;
	/* Field 2 is a name in parentheses that may hold anything, so the
	 * fields are counted from the last one: what follows it is field 3. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	if (!p || sscanf(p, "%" SCNu64, out) != 1)
		return -EPROTO;
	return 0;
}

static void read_name(char out[static CATALOG_NAME_MAX + 1])
{
	char name[256];

	if (gethostname(name, sizeof(name)) < 0)
		name[0] = '\0';
	name[sizeof(name) - 1] = '\0';
	if (catalog_check_name("host name", name, strlen(name))) {
		err_clear();
		snprintf(name, sizeof(name), "unknown");
	}
	memcpy(out, name, strlen(name) + 1);
}

int host_self(struct host *out)
{
	struct timespec up;
	struct stat st;

	memset(out, 0, sizeof(*out));
	read_boot_id(out->boot_id);
	read_name(out->name);
	out->pid = (uint64_t)getpid();
	if (start_ticks(out->pid, &out->start_ticks))
		return fail(
			-ENOENT,
			"/proc/self/stat: cannot be read; is /proc mounted?");
	if (stat("/proc/self/ns/pid", &st) == 0)
		out->pidns = st.st_ino;
	clock_gettime(CLOCK_BOOTTIME, &up);
	out->boot_ns =
		time_now_ns() - ((int64_t)up.tv_sec * 1000000000 + up.tv_nsec);
	DROP(lock) pthread_mutex_t *held = lock(&mutex);
	if (pretended) {
		memcpy(out->boot_id, pretended_id, sizeof(pretended_id));
		out->boot_ns = time_now_ns();
	}
	return 0;
}

void host_pretend_boot(const uint8_t *id)
{
	DROP(lock) pthread_mutex_t *held = lock(&mutex);

	pretended = id != NULL;
	if (id)
		memcpy(pretended_id, id, sizeof(pretended_id));
}

static bool is_live(const struct point_id *gen)
{
	DROP(lock) pthread_mutex_t *held = lock(&mutex);

	for (struct live *l = lives; l; l = l->next)
		if (point_id_equal(&l->gen, gen))
			return true;
	return false;
}

int host_live_add(const struct point_id *gen)
{
	struct live *l = malloc(sizeof(*l));

	if (!l)
		return fail(-ENOMEM, "no memory for a session");
	l->gen = *gen;
	DROP(lock) pthread_mutex_t *held = lock(&mutex);
	l->next = lives;
	lives = l;
	return 0;
}

void host_live_remove(const struct point_id *gen)
{
	DROP(lock) pthread_mutex_t *held = lock(&mutex);

	for (struct live **at = &lives; *at; at = &(*at)->next) {
		struct live *l = *at;

		if (!point_id_equal(&l->gen, gen))
			continue;
		*at = l->next;
		free(l);
		return;
	}
}

enum host_state host_judge(const struct host *self, const struct vf_session *s)
{
	static const uint8_t unknown[16];
	bool same_boot = memcmp(self->boot_id, s->boot_id, 16) == 0;
	uint64_t ticks;
	int r;

	if (memcmp(s->boot_id, unknown, 16) == 0 || s->pid == 0)
		return HOST_FOREIGN;
	if (!same_boot) {
		/* Two hosts may have one name: what began after we were booted,
		 * under another boot id, did not begin here. */
		if (strcmp(self->name, s->host) == 0 &&
		    s->time_ns < self->boot_ns)
			return HOST_REBOOTED;
		return HOST_FOREIGN;
	}
	/* Another container of this host, perhaps: its process ids are not
	 * ours. */
	if (s->pidns != self->pidns)
		return HOST_FOREIGN;
	if (s->pid == self->pid && s->start_ticks == self->start_ticks)
		return is_live(&s->gen) ? HOST_ALIVE : HOST_DEAD;
	r = start_ticks(s->pid, &ticks);
	if (r == -ENOENT || (r == 0 && ticks != s->start_ticks))
		return HOST_DEAD;
	/* What cannot be read is taken to live. */
	return HOST_ALIVE;
}
