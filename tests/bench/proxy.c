// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A way to a server that takes time: an HTTP/1.1 proxy for one server on loopback, which
 * holds each request back for a while, can cap the bandwidth, and counts.
 *
 *	proxy HOST:PORT [DELAY_MS [RATE [PORT]]]
 *
 * DELAY_MS (20) passes between a request's arrival and its being sent on; RATE (0: no
 * cap) is in bytes a second, of bodies in both directions together. It listens on
 * 127.0.0.1, on a port that the kernel chooses unless PORT is given, and prints it.
 *
 * Then it takes commands on standard input, a line each, until that is closed:
 *
 *	stats		a line of JSON: what went through since the last reset
 *	reset
 *	delay MS	from now on
 *	rate BYTES
 *	down / up	breaks all connections and takes none; takes them again
 *
 * Two threads a connection would be one too many: a connection is a thread, and one
 * upstream connection, which lives as long. The request's head is read, held back and
 * sent on, then its body is; then the same the other way, without the delay.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/parse.h"
#include "backend/base/scope.h"

#define HEAD_MAX (64u << 10)
#define BODY_STEP (128u << 10)
#define CONNECTIONS_MAX 1024

static struct sockaddr_in server;
static atomic_uint_fast64_t delay_ms = 20, rate;
static atomic_bool is_down;

/* What is counted. */
static atomic_uint_fast64_t connections, requests, get_count, put_count,
	head_count, list_count, others, rounds, bytes_up, bytes_down, in_flight,
	in_flight_max, failures;

/* Open sockets, so that "down" can break them. */
static pthread_mutex_t fds_lock = PTHREAD_MUTEX_INITIALIZER;
static int fds[2 * CONNECTIONS_MAX];

static void note_fd(int fd, bool add)
{
	DROP(lock) pthread_mutex_t *held = lock(&fds_lock);

	(void)held;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] == (add ? 0 : fd)) {
			fds[i] = add ? fd : 0;
			return;
		}
}

static void break_all(void)
{
	DROP(lock) pthread_mutex_t *held = lock(&fds_lock);

	(void)held;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i])
			shutdown(fds[i], SHUT_RDWR);
}

static void nap_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000),
			      (long)(ns % 1000000000) };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* One for all: the line is free again at free_ns. */
static void pay(size_t bytes)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t free_ns;
	uint64_t r = atomic_load(&rate), now = monotonic_ns(), until;

	if (!r)
		return;
	pthread_mutex_lock(&mutex);
	free_ns = max_u64(free_ns, now) + bytes * 1000000000 / r;
	until = free_ns;
	pthread_mutex_unlock(&mutex);
	if (until > now)
		nap_ns(until - now);
}

/* --- bytes --- */

/* One side of a connection, with what was read and not used yet. */
struct side {
	int fd;
	size_t at, len;
	char buf[HEAD_MAX];
};

static bool send_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Up to and with the empty line, into head (ended by NUL). false: the connection ended
 * or it is too long. */
static bool read_head(struct side *s, char head[static HEAD_MAX + 1],
		      size_t *len)
{
	for (;;) {
		char *end =
			memmem(s->buf + s->at, s->len - s->at, "\r\n\r\n", 4);
		ssize_t n;

		if (end) {
			*len = (size_t)(end + 4 - (s->buf + s->at));
			memcpy(head, s->buf + s->at, *len);
			head[*len] = '\0';
			s->at += *len;
			return true;
		}
		if (s->at) {
			memmove(s->buf, s->buf + s->at, s->len - s->at);
			s->len -= s->at;
			s->at = 0;
		}
		if (s->len == sizeof(s->buf))
			return false;
		n = recv(s->fd, s->buf + s->len, sizeof(s->buf) - s->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s->len += (size_t)n;
	}
}

/* Bytes from what was read, else from the socket; 0 at the end. */
static size_t some(struct side *s, void *to, size_t max)
{
	ssize_t n;

	if (s->at < s->len) {
		size_t have = min_u64(s->len - s->at, max);

		memcpy(to, s->buf + s->at, have);
		s->at += have;
		return have;
	}
	do {
		n = recv(s->fd, to, max, 0);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? (size_t)n : 0;
}

static bool relay(struct side *from, int to, uint64_t len,
		  atomic_uint_fast64_t *counter)
{
	char buf[BODY_STEP];

	while (len) {
		size_t n = some(from, buf, min_u64(len, sizeof(buf)));

		if (!n)
			return false;
		pay(n);
		if (!send_all(to, buf, n))
			return false;
		atomic_fetch_add(counter, n);
		len -= n;
	}
	return true;
}

/* A line, with its end. */
static size_t read_line(struct side *from, char *line, size_t max)
{
	size_t n = 0;

	while (n < max && some(from, line + n, 1))
		if (line[n++] == '\n')
			return n;
	return 0;
}

/* The digits that text begins with; what follows them (an extension of a chunk, the
 * end of a line) is not looked at. */
static uint64_t number(const char *text, unsigned base)
{
	uint64_t n = 0;

	for (; isxdigit((unsigned char)*text); text++) {
		int c = tolower((unsigned char)*text);
		unsigned digit =
			(unsigned)(isdigit(c) ? c - '0' : c - 'a' + 10);

		if (digit >= base)
			break;
		n = n * base + digit;
	}
	return n;
}

static bool relay_chunks(struct side *from, int to,
			 atomic_uint_fast64_t *counter)
{
	char line[256];

	for (;;) {
		size_t n = read_line(from, line, sizeof(line) - 1);
		uint64_t len;

		if (!n || !send_all(to, line, n))
			return false;
		line[n] = '\0';
		len = number(line, 16);
		if (!relay(from, to, len + (len ? 2 : 0), counter))
			return false;
		if (len)
			continue;
		/* Trailers, and the empty line. */
		do {
			n = read_line(from, line, sizeof(line) - 1);
			if (!n || !send_all(to, line, n))
				return false;
		} while (line[0] != '\r');
		return true;
	}
}

/* --- messages --- */

static const char *field(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
		p += 2;
		if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
			p += n + 1;
			return p + strspn(p, " ");
		}
	}
	return NULL;
}

static bool says(const char *head, const char *name, const char *word)
{
	const char *v = field(head, name);

	return v && strncasecmp(v, word, strlen(word)) == 0;
}

static bool relay_body(struct side *from, const char *head, int to,
		       atomic_uint_fast64_t *counter, bool until_end)
{
	const char *v = field(head, "Content-Length");

	if (says(head, "Transfer-Encoding", "chunked"))
		return relay_chunks(from, to, counter);
	if (v)
		return relay(from, to, number(v, 10), counter);
	/* An answer of no told length lasts as long as its connection. */
	if (until_end)
		(void)relay(from, to, UINT64_MAX, counter);
	return !until_end;
}

static void count_request(const char *head)
{
	atomic_uint_fast64_t *kind = &others;
	const char *end = strchr(head, '\r');
	const char *query = memchr(head, '?', (size_t)(end - head));

	if (strncmp(head, "GET ", 4) == 0)
		kind = &get_count;
	else if (strncmp(head, "PUT ", 4) == 0)
		kind = &put_count;
	else if (strncmp(head, "HEAD ", 5) == 0)
		kind = &head_count;
	if (kind == &get_count && query &&
	    (memmem(query, (size_t)(end - query), "comp=list", 9) ||
	     memmem(query, (size_t)(end - query), "prefix=", 7)))
		kind = &list_count;
	atomic_fetch_add(&requests, 1);
	atomic_fetch_add(kind, 1);
}

struct connection {
	struct side client, up;
	char head[HEAD_MAX + 1];
};

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&server, sizeof(server))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The answer to a request that is out. false: the connection is at its end. */
static bool answer(struct connection *c, bool no_body, bool *go_on)
{
	size_t len;
	int status;

	*go_on = false;
	if (!read_head(&c->up, c->head, &len) ||
	    sscanf(c->head, "HTTP/1.%*d %d", &status) != 1)
		return false;
	if (!send_all(c->client.fd, c->head, len))
		return false;
	if (status == 100) {
		*go_on = true;
		return true;
	}
	if (no_body || status == 204 || status == 304)
		return !says(c->head, "Connection", "close");
	return relay_body(&c->up, c->head, c->client.fd, &bytes_down, true) &&
	       !says(c->head, "Connection", "close");
}

static bool exchange(struct connection *c, bool expects, bool no_body)
{
	bool go_on, alive;
	char *request = strdup(c->head);

	alive = request != NULL;
	if (alive && expects) {
		alive = answer(c, no_body, &go_on);
		if (!go_on) {
			free(request);
			return false; /* refused: the body does not come */
		}
	}
	alive = alive &&
		relay_body(&c->client, request, c->up.fd, &bytes_up, false);
	free(request);
	do {
		alive = alive && answer(c, no_body, &go_on);
	} while (alive && go_on);
	return alive;
}

/* One request and its answer. */
static bool turn(struct connection *c)
{
	size_t len;
	uint64_t n, max;
	bool alive, expects, no_body;

	if (!read_head(&c->client, c->head, &len))
		return false;
	count_request(c->head);
	n = atomic_fetch_add(&in_flight, 1) + 1;
	if (n == 1)
		atomic_fetch_add(&rounds, 1);
	max = atomic_load(&in_flight_max);
	while (n > max &&
	       !atomic_compare_exchange_weak(&in_flight_max, &max, n))
		;
	nap_ns(atomic_load(&delay_ms) * 1000000);
	no_body = strncmp(c->head, "HEAD ", 5) == 0;
	expects = says(c->head, "Expect", "100-continue");
	alive = send_all(c->up.fd, c->head, len) &&
		exchange(c, expects, no_body);
	if (!alive)
		atomic_fetch_add(&failures, 1);
	atomic_fetch_sub(&in_flight, 1);
	return alive;
}

static void *serve(void *arg)
{
	struct connection *c = arg;

	note_fd(c->client.fd, true);
	c->up.fd = dial();
	if (c->up.fd >= 0) {
		note_fd(c->up.fd, true);
		while (turn(c))
			;
		note_fd(c->up.fd, false);
		close(c->up.fd);
	}
	note_fd(c->client.fd, false);
	close(c->client.fd);
	free(c);
	return NULL;
}

static void *accept_all(void *arg)
{
	int listener = *(int *)arg;
	pthread_attr_t a;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
		struct connection *c;
		pthread_t t;

		if (fd < 0)
			continue;
		c = atomic_load(&is_down) ? NULL : calloc(1, sizeof(*c));
		if (!c) {
			close(fd);
			continue;
		}
		atomic_fetch_add(&connections, 1);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->client.fd = fd;
		if (pthread_create(&t, &a, serve, c)) {
			close(fd);
			free(c);
		}
	}
	return NULL;
}

/* --- commands --- */

static const struct {
	const char *name;
	atomic_uint_fast64_t *value;
} counters[] = {
	{ "connections", &connections },
	{ "requests", &requests },
	/* Times that a request went out and no other was under way. */
	{ "rounds", &rounds },
	{ "gets", &get_count },
	{ "puts", &put_count },
	{ "heads", &head_count },
	{ "lists", &list_count },
	{ "others", &others },
	{ "bytes_up", &bytes_up },
	{ "bytes_down", &bytes_down },
	{ "in_flight_max", &in_flight_max },
	{ "failures", &failures },
};

static void command(const char *line)
{
	if (strncmp(line, "stats", 5) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
			printf("%s\"%s\": %" PRIu64, i ? ", " : "{",
			       counters[i].name,
			       (uint64_t)atomic_load(counters[i].value));
		puts("}");
	} else if (strncmp(line, "reset", 5) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
			atomic_store(counters[i].value, 0);
		puts("ok");
	} else if (strncmp(line, "delay ", 6) == 0) {
		atomic_store(&delay_ms, number(line + 6, 10));
		puts("ok");
	} else if (strncmp(line, "rate ", 5) == 0) {
		atomic_store(&rate, number(line + 5, 10));
		puts("ok");
	} else if (strncmp(line, "down", 4) == 0) {
		atomic_store(&is_down, true);
		break_all();
		puts("ok");
	} else if (strncmp(line, "up", 2) == 0) {
		atomic_store(&is_down, false);
		puts("ok");
	} else {
		puts("what?");
	}
	fflush(stdout);
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(fd, 512) || getsockname(fd, (struct sockaddr *)&a, &len)) {
		perror("proxy: listening");
		exit(1);
	}
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	char host[64], line[256];
	unsigned port;
	pthread_t t;
	int fd;

	if (argc < 2 || sscanf(argv[1], "%63[^:]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &server.sin_addr) != 1) {
		fputs("usage: proxy ADDRESS:PORT [DELAY_MS [RATE [PORT]]]\n",
		      stderr);
		return 2;
	}
	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)port);
	if (argc > 2)
		atomic_store(&delay_ms, number(argv[2], 10));
	if (argc > 3)
		atomic_store(&rate, number(argv[3], 10));
	signal(SIGPIPE, SIG_IGN);
	fd = listen_on(argc > 4 ? (uint16_t)number(argv[4], 10) : 0);
	if (pthread_create(&t, NULL, accept_all, &fd))
		return 1;
	while (fgets(line, sizeof(line), stdin))
		command(line);
	return 0;
}
