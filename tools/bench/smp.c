// SPDX-License-Identifier: GPL-2.0
/*
 * Independent processes that make themselves dependent and pass it on all the
 * time: what of ours could make one wait for the other?
 *
 *	smp DIR PROCESSES SECONDS
 *
 * Prints how many rounds all of them have made together. A round appends to a
 * file of the process's own in DIR, looks it up, and sends a byte through a pipe
 * and a local socket; each 64th begins a new file.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_OF_A_FILE 64

static volatile sig_atomic_t over;

static void end(int sig)
{
	(void)sig;
	over = 1;
}

static void through(int in, int out)
{
	char c = 'x';

	if (write(in, &c, 1) != 1 || read(out, &c, 1) != 1)
		err(1, "pass");
}

static unsigned long work(const char *dir, int number, unsigned int seconds)
{
	static char data[4096];
	unsigned long rounds = 0;
	int fd = -1, p[2], s[2];
	char path[4096];
	struct stat st;

	if (pipe(p) || socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		err(1, "pipe");
	snprintf(path, sizeof(path), "%s/%d", dir, number);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%d/file", dir, number);
	signal(SIGALRM, end);
	alarm(seconds);
	for (; !over; rounds++) {
		if (rounds % ROUNDS_OF_A_FILE == 0) {
			if (fd >= 0) {
				close(fd);
				unlink(path);
			}
			fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		}
		if (write(fd, data, sizeof(data)) != sizeof(data) ||
		    stat(path, &st))
			err(1, "%s", path);
		through(p[1], p[0]);
		through(s[1], s[0]);
	}
	unlink(path);
	return rounds;
}

int main(int argc, char **argv)
{
	unsigned long rounds, sum = 0;
	int i, n, p[2], status, failed = 0;

	if (argc != 4)
		errx(1, "usage: smp DIR PROCESSES SECONDS");
	n = atoi(argv[2]);
	if (pipe(p))
		err(1, "pipe");
	for (i = 0; i < n; i++) {
		if (fork())
			continue;
		rounds = work(argv[1], i, atoi(argv[3]));
		if (write(p[1], &rounds, sizeof(rounds)) != sizeof(rounds))
			err(1, "write");
		_exit(0);
	}
	close(p[1]);
	while (read(p[0], &rounds, sizeof(rounds)) == sizeof(rounds))
		sum += rounds;
	while (wait(&status) > 0)
		failed |= status;
	printf("%lu\n", sum);
	return !!failed;
}
