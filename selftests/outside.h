/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An outside to look from, and a source to depend on, for tests without a disk.
 *
 * The outside is a network namespace at the far end of a veth: what arrives
 * there has left the machine as far as speculator knows. The source is the
 * module testsource: nothing commits until the test says so.
 *
 * The process that uses these must stay clean: it may not touch what a tainted
 * process has touched until outside_commit().
 */
#ifndef SELFTESTS_OUTSIDE_H
#define SELFTESTS_OUTSIDE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define OUTSIDE_ADDR "10.99.0.2"
#define OUTSIDE_PORT 7
#define SOURCE "/sys/kernel/debug/speculator-test/0/"

static int outside_rx = -1, outside_tx = -1;
static int source_taint = -1, source_commit = -1;

static inline long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms)
{
	usleep(ms * 1000);
}

/* How much longer things may take: a debug kernel has more to do. See lib.sh. */
static inline int slowness(void)
{
	struct utsname name;

	return !uname(&name) && (strstr(name.release, "-kasan") ||
				 strstr(name.release, "-kcsan") ||
				 strstr(name.release, "-faults")) ? 6 : 1;
}

static inline int outside_open(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(OUTSIDE_PORT),
	};
	int here, there;

	if (system("ip netns add outside && "
		   "ip link add in0 type veth peer name out0 netns outside && "
		   "ip addr add 10.99.0.1/24 dev in0 && "
		   "ip addr add fd99::1/64 dev in0 nodad && ip link set in0 up && "
		   "ip -n outside addr add 10.99.0.2/24 dev out0 && "
		   "ip -n outside addr add fd99::2/64 dev out0 nodad && "
		   "ip -n outside link set out0 up && "
		   "ip -n outside link set lo up && ip link set lo up"))
		return -1;
	here = open("/proc/self/ns/net", O_RDONLY);
	there = open("/run/netns/outside", O_RDONLY);
	if (setns(there, CLONE_NEWNET))
		return -1;
	outside_rx = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(outside_rx, (struct sockaddr *)&addr, sizeof(addr)))
		return -1;
	if (setns(here, CLONE_NEWNET))
		return -1;
	close(here);
	close(there);
	outside_tx = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, OUTSIDE_ADDR, &addr.sin_addr);
	if (connect(outside_tx, (struct sockaddr *)&addr, sizeof(addr)))
		return -1;
	/* Neighbour discovery and the link's coming up are no part of a test. */
	for (int try = 0; try < 20; try++) {
		char c;

		if (send(outside_tx, "?", 1, 0) == 1) {
			sleep_ms(100);
			if (recv(outside_rx, &c, 1, MSG_DONTWAIT) == 1)
				return 0;
		}
	}
	return -1;
}

static inline void outside_close(void)
{
	close(outside_rx);
	close(outside_tx);
	if (system("ip netns del outside; ip link del in0 2>/dev/null"))
		return;
}

/* Load speculator and the test source, so that the hooks are in place. */
static inline int source_open(void)
{
	if (system("bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; "
		   "load_modules speculator testsource' >&2"))
		return -1;
	source_taint = open(SOURCE "taint", O_RDONLY);
	source_commit = open(SOURCE "commit", O_WRONLY);
	return source_taint < 0 || source_commit < 0 ? -1 : 0;
}

static inline int source_close(void)
{
	close(source_taint);
	close(source_commit);
	return system("bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; "
		      "unload_modules' >&2");
}

/* The calling process now depends on a commit that has not happened. */
static inline void taint(void)
{
	char seq[32];

	if (pread(source_taint, seq, sizeof(seq), 0) <= 0)
		_exit(99);
}

/* Everything is durable. By a clean process. */
static inline void commit_all(void)
{
	if (pwrite(source_commit, "all", 3, 0) != 3)
		exit(99);
}

/* A process says something to the outside. */
static inline void say(const char *text)
{
	if (send(outside_tx, text, strlen(text), 0) < 0)
		_exit(98);
}

/* By a socket of its own: behind what is held on one all others wait. */
static inline void say_alone(const char *text)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(OUTSIDE_PORT),
	};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, OUTSIDE_ADDR, &addr.sin_addr);
	if (sendto(fd, text, strlen(text), 0, (void *)&addr, sizeof(addr)) < 0)
		_exit(98);
	close(fd);
}

/* Has @text come out within @ms?  Anything else is thrown away. */
static inline bool heard(const char *text, int ms)
{
	struct pollfd p = { .fd = outside_rx, .events = POLLIN };
	long long end = now_ms() + ms;
	char buf[256];

	do {
		int left = end - now_ms();
		ssize_t n;

		if (poll(&p, 1, left > 0 ? left : 0) <= 0)
			return false;
		n = recv(outside_rx, buf, sizeof(buf) - 1, MSG_DONTWAIT);
		if (n < 0)
			continue;
		buf[n] = 0;
		if (!strncmp(buf, text, strlen(text)))
			return true;
	} while (1);
}

#endif /* SELFTESTS_OUTSIDE_H */
