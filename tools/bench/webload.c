// SPDX-License-Identifier: GPL-2.0
/*
 * A web client for the benchmark "web": connections that fetch files and post,
 * in the mix of SPECweb99, and the time that took by size class.
 *
 *	webload ADDRESS PORT CONNECTIONS SECONDS [KBIT]
 *
 * Of the requests 4.8 % are POSTs to /post; the others GET one of nine files of
 * one of four classes, /CLASS/N, where file N of class C has N * 102 * 10^C
 * bytes.  With KBIT each connection waits after an answer until it has received
 * no more than that many kbit/s, as SPECweb99's clients do (400); without, the
 * next request follows at once.  A connection is closed after ten requests and
 * made again.  Every connection draws its requests from a generator of its own,
 * so that all runs ask for the same.
 *
 * ab measures one URL at a time, and no latencies by size.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS	1000
#define PER_CONNECTION	10
#define CLASSES		4
#define POST		CLASSES
#define KINDS		(CLASSES + 1)
#define STUCK		10	/* seconds */
#define NSEC		1000000000ULL

/* Per mille: SPECweb99's shares of the classes and of the files in each. */
static const unsigned int class_share[CLASSES] = { 350, 500, 140, 10 };
static const unsigned int file_share[9] = { 39, 59, 88, 177, 353, 118, 71, 50,
					    45 };
#define POST_SHARE	48

/**
 * struct connection - one client
 * @fd:		its socket, or -1
 * @random:	state of its generator
 * @requests:	made on this socket
 * @text:	the request that goes out when the connection is there
 * @len:	its length, 0 when it has gone
 * @kind:	class of what it waits for, or POST
 * @start:	when it sent the request; 0 when it waits for @next
 * @next:	when the next request is due
 * @left:	bytes of the answer still to come; -1 while the header is read
 * @header:	what has come of the header
 * @have:	bytes in @header
 * @size:	bytes of the whole answer
 */
struct connection {
	int fd;
	uint64_t random;
	int requests;
	char text[256];
	int len;
	int kind;
	uint64_t start;
	uint64_t next;
	long left;
	char header[2048];
	size_t have;
	long size;
};

/**
 * struct latencies - of one kind of request
 * @usecs:	each
 * @count:	how many
 * @room:	entries of @usecs
 */
struct latencies {
	uint32_t *usecs;
	size_t count;
	size_t room;
};

static struct connection connections[CONNECTIONS];
static struct latencies latencies[KINDS];
static struct sockaddr_in server;
static uint64_t bytes, begin, end;
static unsigned long kbit;
static int epoll;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

/* Below @limit. */
static unsigned int draw(struct connection *c, unsigned int limit)
{
	c->random = c->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (c->random >> 33) % limit;
}

/* An index of @share with that probability. */
static int pick(struct connection *c, const unsigned int *share)
{
	unsigned int at = draw(c, 1000);
	int i = 0;

	while (at >= share[i])
		at -= share[i++];
	return i;
}

static void open_socket(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = c };
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("socket");
	if (connect(c->fd, (struct sockaddr *)&server, sizeof(server)) &&
	    errno != EINPROGRESS)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
		die("epoll_ctl");
	c->requests = 0;
}

static void send_request(struct connection *c)
{
	if (write(c->fd, c->text, c->len) != c->len)
		die("write");
	c->len = 0;
}

static void connected(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event))
		die("epoll_ctl");
	send_request(c);
}

/* The time counts from here, a new connection included. */
static void request(struct connection *c)
{
	bool new;

	c->start = now();
	if (c->fd >= 0 && c->requests == PER_CONNECTION) {
		close(c->fd);
		c->fd = -1;
	}
	new = c->fd < 0;
	if (new)
		open_socket(c);
	c->requests++;
	if (draw(c, 1000) < POST_SHARE) {
		c->kind = POST;
		c->len = snprintf(c->text, sizeof(c->text),
				  "POST /post HTTP/1.1\r\nHost: bench\r\n"
				  "Content-Length: 32\r\n\r\n"
				  "client=%08x&order=%010u",
				  (unsigned int)(c - connections),
				  draw(c, 1000000000));
	} else {
		c->kind = pick(c, class_share);
		c->len = snprintf(c->text, sizeof(c->text),
				  "GET /%d/%d HTTP/1.1\r\nHost: bench\r\n\r\n",
				  c->kind, pick(c, file_share) + 1);
	}
	c->have = 0;
	c->left = -1;
	c->size = 0;
	if (!new)
		send_request(c);
}

static void answered(struct connection *c)
{
	struct latencies *l = &latencies[c->kind];
	uint64_t t = now();

	if (c->start >= begin && t <= end) {
		if (l->count == l->room) {
			l->room = l->room ? 2 * l->room : 1024;
			l->usecs = realloc(l->usecs, l->room * sizeof(*l->usecs));
			if (!l->usecs)
				die("realloc");
		}
		l->usecs[l->count++] = (t - c->start) / 1000;
		bytes += c->size;
	}
	c->next = t;
	/* Bytes * 8000000 / kbit are nanoseconds. */
	if (kbit && c->start + c->size * 8000000 / kbit > t)
		c->next = c->start + c->size * 8000000 / kbit;
	c->start = 0;
}

/* The header is complete: how much is to follow? */
static void begin_body(struct connection *c, const char *body)
{
	const char *length = strcasestr(c->header, "\r\nContent-Length:");

	if (strncmp(c->header, "HTTP/1.1 200", 12) || !length) {
		fprintf(stderr, "webload: unexpected answer: %.60s\n", c->header);
		exit(1);
	}
	c->left = strtol(length + strlen("\r\nContent-Length:"), NULL, 10);
	c->left -= c->header + c->have - body;
}

static void receive(struct connection *c)
{
	static char data[65536];
	ssize_t n;

	if (c->left >= 0) {
		n = read(c->fd, data, sizeof(data));
		if (n > 0)
			c->left -= n;
	} else {
		n = read(c->fd, c->header + c->have,
			 sizeof(c->header) - 1 - c->have);
		if (n > 0) {
			const char *body;

			c->have += n;
			c->header[c->have] = 0;
			body = strstr(c->header, "\r\n\r\n");
			if (body)
				begin_body(c, body + 4);
		}
	}
	if (n <= 0) {
		fprintf(stderr, "webload: connection lost: %s\n",
			n ? strerror(errno) : "closed");
		exit(1);
	}
	c->size += n;
	if (!c->left)
		answered(c);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(void)
{
	static const char * const names[KINDS] = { "c0", "c1", "c2", "c3",
						   "post" };
	double seconds = (double)(end - begin) / NSEC;
	size_t all = 0;
	int i;

	for (i = 0; i < KINDS; i++)
		all += latencies[i].count;
	printf("requests_s=%.1f\nkbit_s=%.0f\n", all / seconds,
	       bytes * 8 / 1000 / seconds);
	for (i = 0; i < KINDS; i++) {
		struct latencies *l = &latencies[i];
		uint64_t sum = 0;
		size_t j;

		if (!l->count)
			continue;
		qsort(l->usecs, l->count, sizeof(*l->usecs), by_value);
		for (j = 0; j < l->count; j++)
			sum += l->usecs[j];
		printf("%s_ms=%.3f\n%s_p50_ms=%.3f\n%s_p95_ms=%.3f\n",
		       names[i], sum / 1000.0 / l->count,
		       names[i], l->usecs[l->count / 2] / 1000.0,
		       names[i], l->usecs[l->count * 95 / 100] / 1000.0);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[CONNECTIONS];
	int count, i, n;

	if (argc < 5) {
		fprintf(stderr, "usage: webload ADDRESS PORT CONNECTIONS SECONDS [KBIT]\n");
		return 2;
	}
	server.sin_family = AF_INET;
	server.sin_port = htons(atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		die(argv[1]);
	count = atoi(argv[3]);
	if (count < 1 || count > CONNECTIONS)
		die(argv[3]);
	kbit = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
	epoll = epoll_create1(0);
	if (epoll < 0)
		die("epoll_create1");

	/* The first second is for getting out of step. */
	begin = now() + NSEC;
	end = begin + strtoul(argv[4], NULL, 10) * NSEC;
	for (i = 0; i < count; i++) {
		connections[i].fd = -1;
		connections[i].random = i + 1;
		connections[i].next = begin - NSEC + NSEC / count * i;
	}
	for (;;) {
		uint64_t t = now(), next = end;
		int timeout;

		if (t >= end)
			break;
		for (i = 0; i < count; i++) {
			struct connection *c = &connections[i];

			if (!c->start && c->next <= t)
				request(c);
			if (!c->start && c->next < next)
				next = c->next;
		}
		t = now();
		timeout = next > t ? (next - t) / 1000000 + 1 : 0;
		n = epoll_wait(epoll, events, CONNECTIONS, timeout);
		for (i = 0; i < n; i++)
			if (events[i].events & EPOLLOUT)
				connected(events[i].data.ptr);
			else
				receive(events[i].data.ptr);
	}
	for (i = 0; i < count; i++) {
		if (connections[i].start &&
		    connections[i].start + STUCK * NSEC < end) {
			fprintf(stderr, "webload: no answer for %d s to: %s\n",
				STUCK, connections[i].text);
			return 1;
		}
	}
	report();
	return 0;
}
