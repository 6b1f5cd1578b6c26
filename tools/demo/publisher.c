// SPDX-License-Identifier: GPL-2.0
/*
 * publisher PORT: offers numbered events to the republisher at PORT of this
 * machine, as fast as it takes them, without end.
 */

#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "event.h"

#define BATCH 32	/* events in a send(): the load is not what we measure */

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	char events[BATCH * EVENT_SIZE + 1];
	unsigned long number = 0;
	int i;

	if (argc != 2)
		errx(1, "usage: publisher PORT");
	addr.sin_port = htons(atoi(argv[1]));
	/* The republisher was started at the same time. */
	for (i = 0; connect(sock, (struct sockaddr *)&addr, sizeof(addr)); i++) {
		if (i == 100)
			err(1, "port %s", argv[1]);
		usleep(100000);
	}
	do {
		for (i = 0; i < BATCH; i++)
			sprintf(events + i * EVENT_SIZE, EVENT_FORMAT, ++number,
				"buy 100 shares of EXAMPLE at 42.00");
	} while (send(sock, events, BATCH * EVENT_SIZE, 0) > 0);
	return 0;
}
