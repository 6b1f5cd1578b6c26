// SPDX-License-Identifier: GPL-2.0
/*
 * Middleware in miniature: takes numbered events from a publisher, appends each
 * to three queue files and a journal file, and forwards it to a subscriber.
 *
 *   republisher [--fsync] PORT HOST:PORT DIR
 *
 * It listens on PORT for the publisher, connects to the subscriber at HOST:PORT
 * and writes DIR/queue0, queue1, queue2 and journal. It knows nothing of xsync:
 * plain write(), and what the file system makes of it. With --fsync it does what
 * POSIX asks for when a subscriber must never see an event that can get lost:
 * fsync() of each file, before the event is forwarded.
 */

#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "event.h"

#define N_FILES 4

static const char *const names[N_FILES] = {
	"queue0", "queue1", "queue2", "journal"
};

static int accept_publisher(const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int sock;

	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 1))
		err(1, "port %s", port);
	sock = accept(listener, NULL, NULL);
	if (sock < 0)
		err(1, "accept");
	close(listener);
	return sock;
}

static int connect_subscriber(char *where)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	char *port = strchr(where, ':');
	int sock = socket(AF_INET, SOCK_STREAM, 0);

	if (!port)
		errx(1, "%s: not HOST:PORT", where);
	*port++ = '\0';
	addr.sin_port = htons(atoi(port));
	if (!inet_aton(where, &addr.sin_addr))
		errx(1, "%s: not an address", where);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "%s:%s", where, port);
	return sock;
}

static void put(int fd, const char *event, const char *name)
{
	if (write(fd, event, EVENT_SIZE) != EVENT_SIZE)
		err(1, "%s", name);
}

int main(int argc, char **argv)
{
	bool sync = argc > 1 && !strcmp(argv[1], "--fsync");
	int files[N_FILES], publisher, subscriber, i;
	char event[EVENT_SIZE];

	argv += sync;
	argc -= sync;
	if (argc != 4)
		errx(1, "usage: republisher [--fsync] PORT HOST:PORT DIR");
	subscriber = connect_subscriber(argv[2]);
	publisher = accept_publisher(argv[1]);
	if (chdir(argv[3]))
		err(1, "%s", argv[3]);
	for (i = 0; i < N_FILES; i++) {
		files[i] = open(names[i], O_WRONLY | O_CREAT | O_APPEND, 0666);
		if (files[i] < 0)
			err(1, "%s", names[i]);
	}

	while (recv(publisher, event, EVENT_SIZE, MSG_WAITALL) == EVENT_SIZE) {
		for (i = 0; i < N_FILES; i++)
			put(files[i], event, names[i]);
		for (i = 0; sync && i < N_FILES; i++)
			if (fsync(files[i]))
				err(1, "%s", names[i]);
		put(subscriber, event, "subscriber");
	}
	return 0;
}
