// SPDX-License-Identifier: GPL-2.0
/*
 * peak FILE: look at the second line of FILE every 10 ms; at SIGTERM print the
 * highest number with which it began. For held_bytes in debugfs speculator/limit.
 */

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_NS 10000000

static volatile sig_atomic_t ended;

static void end(int sig)
{
	ended = 1;
}

int main(int argc, char **argv)
{
	struct timespec interval = { .tv_nsec = INTERVAL_NS };
	long peak = 0, now;
	char text[200];
	char *line;
	ssize_t n;
	int fd;

	if (argc != 2)
		errx(1, "usage: peak FILE");
	fd = open(argv[1], O_RDONLY);
	if (fd < 0)
		err(1, "%s", argv[1]);
	if (signal(SIGTERM, end) == SIG_ERR)
		err(1, "signal");
	while (!ended) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		if (n < 0)
			err(1, "%s", argv[1]);
		text[n] = '\0';
		line = strchr(text, '\n');
		now = line ? atol(line + 1) : 0;
		if (now > peak)
			peak = now;
		nanosleep(&interval, NULL);
	}
	printf("%ld\n", peak);
	return 0;
}
