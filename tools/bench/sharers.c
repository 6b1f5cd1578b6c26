// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs a process to become dependent on a new sequence when it shares
 * writable memory with others: "sharers instructions" for each number of them
 * in the arguments, under -icount (see syscalls.c).
 *
 *	sharers TAINT N...
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	50

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	static pid_t child[10000];
	int taint = open(argv[1], O_RDONLY), n = 0;
	char buf[32];

	if (taint < 0 || mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
		perror("sharers");
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		long long best = 1LL << 60;

		for (; n < atoi(argv[i]) && n < 10000; n++) {
			child[n] = fork();
			if (!child[n]) {
				pause();
				_exit(0);
			}
		}
		for (int round = 0; round < ROUNDS; round++) {
			long long t = now();

			if (pread(taint, buf, sizeof(buf), 0) <= 0)
				return 1;
			t = now() - t;
			if (t < best)
				best = t;
		}
		printf("%d %lld\n", n, best);
	}
	while (n--)
		kill(child[n], SIGKILL);
	return 0;
}
