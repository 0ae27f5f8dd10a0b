// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fakes/http_script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "backend/base/buf.h"
#include "tests/unit/check.h"

#define REQUESTS_MAX 4096
#define THREADS_MAX 512

struct http_script {
	const struct http_step *steps;
	size_t nsteps;
	int listener;
	int wake[2]; /* readable once it is to end */
	char url[64];
	pthread_t thread;
	pthread_mutex_t lock;
	size_t count;
	char *requests[REQUESTS_MAX];
	pthread_t threads[THREADS_MAX];
	size_t nthreads;
};

struct client {
	struct http_script *s;
	int fd;
};

/* False when it is to end. */
static bool wait_readable(struct http_script *s, int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = s->wake[0], .events = POLLIN } };

	while (poll(p, 2, -1) < 0)
		;
	return !(p[1].revents & POLLIN);
}

static size_t body_length(const char *head)
{
	const char *p = strcasestr(head, "\nContent-Length:");
	size_t n = 0;

	if (!p)
		return 0;
	for (p += 16; *p == ' '; p++)
		;
	for (; *p >= '0' && *p <= '9'; p++)
		n = 10 * n + (size_t)(*p - '0');
	return n;
}

/* One whole request into b; false at the end of the connection. */
static bool receive(struct client *c, struct buf *b)
{
	for (;;) {
		const char *text = buf_cstr(b), *end = strstr(text, "\r\n\r\n");
		uint8_t *at;
		ssize_t n;

		if (end &&
		    b->len >= (size_t)(end + 4 - text) + body_length(text))
			return true;
		if (!wait_readable(c->s, c->fd))
			return false;
		at = buf_reserve(b, 65536);
		CHECK(at);
		n = recv(c->fd, at, 65536, 0);
		if (n <= 0)
			return false;
		b->len += (size_t)n;
	}
}

static const struct http_step *next_step(struct http_script *s,
					 const char *request)
{
	static const struct http_step end = {
		.answer = "HTTP/1.1 599 The script is over\r\n"
			  "Content-Length: 0\r\n\r\n",
	};
	DROP(lock) pthread_mutex_t *held = lock(&s->lock);
	size_t i = s->count++;

	CHECK(i < REQUESTS_MAX);
	s->requests[i] = strdup(request);
	if (i >= s->nsteps)
		return &end;
	if (s->steps[i].expect && !strstr(request, s->steps[i].expect)) {
		fprintf(stderr, "no \"%s\" in request %zu:\n%s\n",
			s->steps[i].expect, i, request);
		exit(1);
	}
	return &s->steps[i];
}

static void send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

static void drip(struct client *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pollfd w = { .fd = c->s->wake[0], .events = POLLIN };

		if (send(c->fd, p + i, 1, MSG_NOSIGNAL) != 1 ||
		    poll(&w, 1, 20) != 0)
			return;
	}
}

/* True while the connection stays. */
static bool answer(struct client *c, const struct http_step *step)
{
	size_t n = step->len	  ? step->len
		   : step->answer ? strlen(step->answer)
				  : 0;
	struct linger hard = { 1, 0 };

	if (step->then == THEN_DRIP)
		drip(c, step->answer, n);
	else
		send_all(c->fd, step->answer, n);
	if (step->then == THEN_RESET) {
		/* What was sent must be out, or the reset overtakes it. */
		nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	}
	if (step->then == THEN_HANG)
		while (wait_readable(c->s, c->fd)) {
			char byte;

			if (recv(c->fd, &byte, 1, 0) <= 0)
				break;
		}
	return step->then == THEN_KEEP;
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	bool on = true;

	while (on) {
		struct buf b = BUF_INIT(256u << 20);

		on = receive(c, &b) && answer(c, next_step(c->s, buf_cstr(&b)));
		buf_release(&b);
	}
	close(c->fd);
	free(c);
	return NULL;
}

static void *script_main(void *arg)
{
	struct http_script *s = arg;

	while (wait_readable(s, s->listener)) {
		struct client *c = malloc(sizeof(*c));

		*c = (struct client){ s, accept(s->listener, NULL, NULL) };
		CHECK(c->fd >= 0 && s->nthreads < THREADS_MAX);
		CHECK(!pthread_create(&s->threads[s->nthreads++], NULL,
				      client_main, c));
	}
	return NULL;
}

int http_script_start(const struct http_step *steps, size_t n,
		      struct http_script **ret)
{
	struct http_script *s = calloc(1, sizeof(*s));
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->steps = steps;
	s->nsteps = n;
	pthread_mutex_init(&s->lock, NULL);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(s->listener >= 0 && pipe(s->wake) == 0);
	CHECK(bind(s->listener, (struct sockaddr *)&a, len) == 0 &&
	      listen(s->listener, 128) == 0 &&
	      getsockname(s->listener, (struct sockaddr *)&a, &len) == 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d",
		 ntohs(a.sin_port));
	CHECK(!pthread_create(&s->thread, NULL, script_main, s));
	*ret = s;
	return 0;
}

const char *http_script_url(const struct http_script *s)
{
	return s->url;
}

size_t http_script_count(struct http_script *s)
{
	DROP(lock) pthread_mutex_t *held = lock(&s->lock);

	return s->count;
}

const char *http_script_request(struct http_script *s, size_t i)
{
	DROP(lock) pthread_mutex_t *held = lock(&s->lock);

	CHECK(i < s->count);
	return s->requests[i];
}

void http_script_stop(struct http_script *s)
{
	if (!s)
		return;
	CHECK(write(s->wake[1], "x", 1) == 1);
	pthread_join(s->thread, NULL);
	for (size_t i = 0; i < s->nthreads; i++)
		pthread_join(s->threads[i], NULL);
	for (size_t i = 0; i < s->count; i++)
		free(s->requests[i]);
	close(s->listener);
	close(s->wake[0]);
	close(s->wake[1]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
