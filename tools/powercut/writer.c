// SPDX-License-Identifier: GPL-2.0
/*
 * Modifies files without pause, and tells the observer of each step once it is
 * done. workload.py knows what the steps are.
 *
 *   writer [--fsync] WORKLOAD CHANNEL		in the current directory
 *   writer relay WORKLOAD CHANNEL		tells of the numbers on stdin
 *
 * CHANNEL is udp, tcp or serial; the observer is found by XSYNC_OBS_HOST and so
 * on. A message is "WORKLOAD NUMBER" and a newline: steps 1 to NUMBER are done.
 * With --fsync a step ends with what POSIX asks for.
 */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../demo/event.h"

#define SLOTS		64	/* overwritten in turn, a page each */
#define PAGE		4096
#define TARGETS		3	/* renamed over in turn */
#define KEPT		8	/* files, until they are unlinked */

static bool with_fsync;
static const char *workload;
static int output, dir;

/*
 * The outside.
 */

static const char *env(const char *name)
{
	const char *value = getenv(name);

	if (!value)
		errx(1, "%s is not set", name);
	return value;
}

static int connect_observer(int type, const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(env(port))),
	};
	int sock = socket(AF_INET, type, 0);

	if (!inet_aton(env("XSYNC_OBS_HOST"), &addr.sin_addr))
		errx(1, "XSYNC_OBS_HOST: not an address");
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "the observer");
	return sock;
}

static int open_channel(const char *channel)
{
	int fd;

	if (!strcmp(channel, "udp"))
		return connect_observer(SOCK_DGRAM, "XSYNC_OBS_UDP");
	if (!strcmp(channel, "tcp"))
		return connect_observer(SOCK_STREAM, "XSYNC_OBS_TCP");
	if (strcmp(channel, "serial"))
		errx(1, "%s: not a channel", channel);
	fd = open(env("XSYNC_SERIAL2"), O_WRONLY | O_NOCTTY);
	if (fd < 0)
		err(1, "serial");
	return fd;
}

/* A datagram may get lost. */
static void tell(unsigned long number)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %lu\n", workload, number);

	if (write(output, line, n) != n && errno != ENOBUFS &&
	    errno != ECONNREFUSED)
		err(1, "the observer");
}

/*
 * Files.
 */

static void event(char *buf, unsigned long number)
{
	char text[EVENT_SIZE + 1];

	sprintf(text, EVENT_FORMAT, number, workload);
	memcpy(buf, text, EVENT_SIZE);
}

static int open_file(const char *name, int flags)
{
	int fd = open(name, flags | O_CREAT, 0666);

	if (fd < 0)
		err(1, "%s", name);
	return fd;
}

static void put(int fd, unsigned long number, off_t offset)
{
	char buf[EVENT_SIZE];

	event(buf, number);
	if ((offset < 0 ? write(fd, buf, EVENT_SIZE) :
	     pwrite(fd, buf, EVENT_SIZE, offset)) != EVENT_SIZE)
		err(1, "write");
}

static void make_durable(int fd)
{
	if (with_fsync && fsync(fd))
		err(1, "fsync");
}

/* Two files in turn. */
static void append(unsigned long number)
{
	static int files[2] = { -1, -1 };
	int *fd = &files[number % 2];
	char name[32];

	if (*fd < 0) {
		sprintf(name, "%s%lu", workload, number % 2);
		*fd = open_file(name, O_WRONLY | O_APPEND);
		make_durable(dir);
	}
	put(*fd, number, -1);
	make_durable(*fd);
}

/* All blocks are there, and durable, before the first step. */
static int open_slots(void)
{
	int fd = open_file(workload, O_RDWR);
	int i;

	for (i = 0; i < SLOTS; i++)
		put(fd, 0, i * PAGE);
	if (ftruncate(fd, SLOTS * PAGE) || fsync(fd) || fsync(dir))
		err(1, "%s", workload);
	return fd;
}

static void overwrite(unsigned long number)
{
	static int fd = -1;

	if (fd < 0)
		fd = open_slots();
	put(fd, number, number % SLOTS * PAGE);
	make_durable(fd);
}

static void store(unsigned long number, bool sync)
{
	static char *map;
	char *slot;

	if (!map) {
		map = mmap(NULL, SLOTS * PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED, open_slots(), 0);
		if (map == MAP_FAILED)
			err(1, "mmap");
	}
	slot = map + number % SLOTS * PAGE;
	event(slot, number);
	if (sync && msync(slot, PAGE, MS_SYNC))
		err(1, "msync");
}

static void store_only(unsigned long number)
{
	store(number, false);
}

static void store_and_sync(unsigned long number)
{
	store(number, true);
}

static void rename_over(unsigned long number)
{
	char name[32];
	int fd = open_file("rename.new", O_WRONLY | O_TRUNC);

	put(fd, number, -1);
	make_durable(fd);
	close(fd);
	sprintf(name, "rename%lu", number % TARGETS);
	if (rename("rename.new", name))
		err(1, "%s", name);
	make_durable(dir);
}

static void create_and_unlink(unsigned long number)
{
	char name[32];
	int fd;

	sprintf(name, "create%lu", number);
	fd = open_file(name, O_WRONLY | O_EXCL);
	put(fd, number, -1);
	make_durable(fd);
	close(fd);
	make_durable(dir);
	if (number <= KEPT)
		return;
	sprintf(name, "create%lu", number - KEPT);
	if (unlink(name))
		err(1, "%s", name);
	make_durable(dir);
}

/*
 * Two processes: one writes, the other one tells. The teller modifies nothing, so
 * all that holds its messages back is what it has from the writer.
 */

static void make_pipe(int ends[2])
{
	if (pipe(ends))
		err(1, "pipe");
}

static void make_unix(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		err(1, "socketpair");
}

static void make_tcp(int ends[2])
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &size) ||
	    connect(ends[1], (struct sockaddr *)&addr, size))
		err(1, "loopback");
	ends[0] = accept(listener, NULL, NULL);
	if (ends[0] < 0)
		err(1, "accept");
	close(listener);
}

static void tell_what_is_read(int fd)
{
	unsigned long number;

	while (read(fd, &number, sizeof(number)) == sizeof(number))
		tell(number);
}

static void write_and_pass(int ends[2])
{
	unsigned long number;

	if (!fork()) {
		close(ends[1]);
		tell_what_is_read(ends[0]);
		exit(1);
	}
	close(ends[0]);
	for (number = 1; ; number++) {
		append(number);
		if (write(ends[1], &number, sizeof(number)) != sizeof(number))
			err(1, "%s", workload);
	}
}

static void write_and_share(void)
{
	volatile unsigned long *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long number, told = 0;

	if (done == MAP_FAILED)
		err(1, "mmap");
	if (!fork()) {
		for (;;) {
			number = *done;
			if (number != told)
				tell(told = number);
			usleep(200);
		}
	}
	for (number = 1; ; number++) {
		append(number);
		*done = number;
	}
}

static void relay(void)
{
	unsigned long number;

	while (scanf("%lu", &number) == 1)
		tell(number);
}

static const struct {
	const char *name;
	void (*step)(unsigned long number);
	void (*make)(int ends[2]);
} workloads[] = {
	{ "append",	append },
	{ "overwrite",	overwrite },
	{ "rename",	rename_over },
	{ "create",	create_and_unlink },
	{ "mmap",	store_only },
	{ "msync",	store_and_sync },
	{ "pipe",	NULL, make_pipe },
	{ "unix",	NULL, make_unix },
	{ "tcp",	NULL, make_tcp },
};

static void work(void)
{
	unsigned long number;
	int ends[2];
	size_t i;

	for (i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
		if (strcmp(workloads[i].name, workload))
			continue;
		if (workloads[i].make) {
			workloads[i].make(ends);
			write_and_pass(ends);
		}
		for (number = 1; ; number++) {
			workloads[i].step(number);
			tell(number);
		}
	}
	if (strcmp(workload, "shm"))
		errx(1, "%s: not a workload", workload);
	write_and_share();
}

int main(int argc, char **argv)
{
	bool relays = argc > 1 && !strcmp(argv[1], "relay");

	with_fsync = argc > 1 && !strcmp(argv[1], "--fsync");
	argv += with_fsync || relays;
	argc -= with_fsync || relays;
	if (argc != 3)
		errx(1, "usage: writer [--fsync | relay] WORKLOAD CHANNEL");
	workload = argv[1];
	output = open_channel(argv[2]);
	dir = open(".", O_RDONLY | O_DIRECTORY);
	if (relays)
		relay();
	else
		work();
	return 1;
}
