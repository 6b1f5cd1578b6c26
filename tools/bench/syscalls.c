// SPDX-License-Identifier: GPL-2.0
/*
 * What a system call costs, in instructions: under -icount shift=0 the clock
 * counts one nanosecond per instruction. Prints "name instructions" lines, the
 * smallest mean of several rounds, since only interrupts can make one longer.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALLS	500
#define ROUNDS	20

static int p[2], s[2], udp, file, null, plain;
static char buf[64];

static void check(long ret)
{
	if (ret < 0) {
		perror("syscalls");
		exit(1);
	}
}

static void do_getppid(void) { check(syscall(SYS_getppid)); }
static void do_null(void) { check(write(null, buf, 1)); }
static void do_pread(void) { check(pread(file, buf, 16, 0)); }
static void do_stat(void)
{
	struct stat st;

	check(stat("/usr/share/doc", &st));
}
static void do_fstat(void)
{
	struct stat st;

	check(fstat(file, &st));
}
static void do_pipe(void)
{
	check(write(p[1], buf, 1));
	check(read(p[0], buf, 1));
}
static void do_unix(void)
{
	check(write(s[1], buf, 1));
	check(read(s[0], buf, 1));
}
static void do_udp(void) { check(send(udp, buf, 16, 0)); }
static void do_pwrite(void) { check(pwrite(plain, buf, 16, 0)); }

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{ "getppid", do_getppid },
	{ "write-null", do_null },
	{ "pread", do_pread },
	{ "stat", do_stat },
	{ "fstat", do_fstat },
	{ "pwrite-tmpfs", do_pwrite },
	{ "pipe-write+read", do_pipe },
	{ "unix-write+read", do_unix },
	{ "udp-send", do_udp },
};

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9) };
	unsigned int i, round, n;

	check(pipe(p));
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	a.sin_addr.s_addr = inet_addr("10.98.0.2");
	check(connect(udp, (void *)&a, sizeof(a)));
	file = open("/usr/bin/env", O_RDONLY);
	check(file);
	null = open("/dev/null", O_WRONLY);
	plain = open("/dev/shm/syscalls", O_CREAT | O_RDWR, 0600);
	check(plain);

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		long long best = 1LL << 60;

		for (round = 0; round < ROUNDS; round++) {
			long long t = now();

			for (n = 0; n < CALLS; n++)
				calls[i].call();
			t = now() - t;
			if (t < best)
				best = t;
		}
		printf("%s %lld\n", calls[i].name, best / CALLS);
	}
	return 0;
}
