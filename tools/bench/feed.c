// SPDX-License-Identifier: GPL-2.0
/*
 * feed open|closed COUNT ADDRESS PORT: sends COUNT messages to `republish`, and
 * prints what it took, as "key=value" words, when all answers have come.
 *
 * closed: each message waits for the answer to the one before, and the time from
 * one to the other is what is printed. open: messages are sent as fast as the
 * connection takes them; printed is the duration of all by their number.
 */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "message.h"

#define BATCH 32	/* messages in a send(): the load is not what we measure */

static int sock;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void connect_to(const char *address, const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(port)),
	};
	int one = 1, tries;

	if (!inet_aton(address, &addr.sin_addr))
		errx(1, "%s: not an address", address);
	/* The server was started at the same time. */
	for (tries = 0; ; tries++) {
		sock = socket(AF_INET, SOCK_STREAM, 0);
		if (sock < 0)
			err(1, "socket");
		if (!connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			break;
		if (tries == 100)
			err(1, "%s:%s", address, port);
		close(sock);
		usleep(10000);
	}
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void closed_loop(long count)
{
	double *took = calloc(count, sizeof(*took)), sum = 0, start;
	char message[MESSAGE_SIZE] = "message";
	long i;

	if (!took)
		err(1, "memory");
	for (i = 0; i < count; i++) {
		start = now_us();
		if (send(sock, message, MESSAGE_SIZE, 0) != MESSAGE_SIZE ||
		    recv(sock, message, MESSAGE_SIZE, MSG_WAITALL) !=
		    MESSAGE_SIZE)
			err(1, "message %ld", i);
		took[i] = now_us() - start;
		sum += took[i];
	}
	qsort(took, count, sizeof(*took), by_value);
	printf("mean_us=%.2f p50_us=%.2f p99_us=%.2f max_us=%.2f\n",
	       sum / count, took[count / 2], took[count * 99 / 100],
	       took[count - 1]);
}

static void open_loop(long count)
{
	static char out[BATCH * MESSAGE_SIZE], in[16 * BATCH * MESSAGE_SIZE];
	long to_send = count * MESSAGE_SIZE, to_come = to_send;
	double start = now_us(), first = 0;
	struct pollfd poller = { .fd = sock };
	ssize_t n;

	while (to_come) {
		poller.events = POLLIN | (to_send ? POLLOUT : 0);
		if (poll(&poller, 1, -1) < 0)
			err(1, "poll");
		if (poller.revents & POLLIN) {
			n = recv(sock, in, sizeof(in), MSG_DONTWAIT);
			if (n <= 0)
				err(1, "recv");
			if (!first)
				first = now_us() - start;
			to_come -= n;
		}
		if (to_send && poller.revents & POLLOUT) {
			n = to_send < (long)sizeof(out) ? to_send :
			    (long)sizeof(out);
			n = send(sock, out, n, MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				err(1, "send");
			to_send -= n < 0 ? 0 : n;
		}
	}
	printf("mean_us=%.2f first_us=%.2f\n", (now_us() - start) / count,
	       first);
}

int main(int argc, char **argv)
{
	bool closed = argc > 1 && !strcmp(argv[1], "closed");
	long count;

	if (argc != 5 || (!closed && strcmp(argv[1], "open")))
		errx(1, "usage: feed open|closed COUNT ADDRESS PORT");
	count = atol(argv[2]);
	connect_to(argv[3], argv[4]);
	if (closed)
		closed_loop(count);
	else
		open_loop(count);
	return 0;
}
