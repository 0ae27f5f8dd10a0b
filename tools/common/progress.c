// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/common/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/base/parse.h"

#define NS UINT64_C(1000000000)
#define FIRST_NS NS
#define EVERY_NS (NS / 5)
/* The rate's memory: a change shows fully after about this long. */
#define RATE_SECONDS 5.0

void progress_start(struct progress *p, const char *what, bool off)
{
	uint64_t now = monotonic_ns();

	*p = (struct progress){
		.what = what,
		.off = off || !isatty(STDERR_FILENO),
		.start_ns = now,
		.rate_ns = now,
	};
}

void progress_what(struct progress *p, const char *what)
{
	p->what = what;
}

static void measure(struct progress *p, uint64_t now, uint64_t done)
{
	double seconds = (double)(now - p->rate_ns) / (double)NS;
	double since_start = (double)(now - p->start_ns) / (double)NS;
	double weight;

	if (seconds < 0.1 || done < p->rate_done)
		return;
	/* At first the plain mean, later one that forgets. */
	weight = seconds /
		 (since_start < RATE_SECONDS ? since_start : RATE_SECONDS);
	if (weight > 1)
		weight = 1;
	p->rate += weight * ((double)(done - p->rate_done) / seconds - p->rate);
	p->rate_ns = now;
	p->rate_done = done;
}

static unsigned columns(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
		return w.ws_col;
	return 80;
}

static void time_left(double seconds, char *out, size_t size)
{
	uint64_t s = (uint64_t)(seconds + 0.5);

	if (s >= 3600)
		snprintf(out, size, "%llu:%02llu:%02llu left",
			 (unsigned long long)(s / 3600),
			 (unsigned long long)(s / 60 % 60),
			 (unsigned long long)(s % 60));
	else
		snprintf(out, size, "%llu:%02llu left",
			 (unsigned long long)(s / 60),
			 (unsigned long long)(s % 60));
}

static void draw(struct progress *p, uint64_t done, uint64_t total)
{
	char have[SIZE_TEXT_SIZE], all[SIZE_TEXT_SIZE], rate[SIZE_TEXT_SIZE];
	char left[48] = "";
	char line[512];
	int n;

	size_text(done, have);
	size_text(total, all);
	size_text((uint64_t)p->rate, rate);
	if (total > done && p->rate >= 1)
		time_left((double)(total - done) / p->rate, left, sizeof(left));
	if (total)
		n = snprintf(line, sizeof(line),
			     "%s: %s of %s (%.0f %%), %s/s%s%s", p->what, have,
			     all, 100.0 * (double)done / (double)total, rate,
			     *left ? ", " : "", left);
	else
		n = snprintf(line, sizeof(line), "%s: %s, %s/s", p->what, have,
			     rate);
	if (n < 0)
		return;
	printable(line);
	/* One less than the width: the cursor must not wrap. */
	if ((unsigned)n >= columns())
		line[columns() - 1] = '\0';
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	p->drawn = true;
}

void progress_update(struct progress *p, uint64_t done, uint64_t total)
{
	uint64_t now;

	if (p->off)
		return;
	now = monotonic_ns();
	measure(p, now, done);
	if (now - p->start_ns < FIRST_NS || now - p->last_ns < EVERY_NS)
		return;
	p->last_ns = now;
	draw(p, done, total);
}

void progress_end(struct progress *p)
{
	if (!p->drawn)
		return;
	p->drawn = false;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
