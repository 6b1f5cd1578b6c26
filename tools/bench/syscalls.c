// SPDX-License-Identifier: GPL-2.0
/*
 * What a system call costs, in instructions: under -icount shift=0 the clock
 * counts one nanosecond per instruction. Prints "name instructions" lines, the
 * smallest mean of several rounds, since only interrupts can make one longer.
 *
 *	syscalls DIR [TAINT]
 *	syscalls --loop CALL DIR [TAINT]	one of them for ever, for profile
 *
 * DIR is on the file system that is or is not an xsync mount. With TAINT, the
 * file of the test source that makes its reader dependent, the process depends
 * on something that is never committed: all is put and taken over and over.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int p[2], filled[2], s[2], d[2], tcp[2], lo[2], udp, file, null, plain, on_disk;
static int event, ep, msg, sem, pty[2], dir;
static mqd_t mq;
static int *shared;
static char buf[64], path[256], new_path[260];

static void check(long ret)
{
	if (ret < 0) {
		perror("syscalls");
		exit(1);
	}
}

static void do_getppid(void)
{
	check(syscall(SYS_getppid));
}

static void do_null(void)
{
	check(write(null, buf, 1));
}

static void do_pread(void)
{
	check(pread(file, buf, 16, 0));
}

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

static void do_getdents(void)
{
	char entries[4096];

	check(lseek(dir, 0, SEEK_SET));
	check(syscall(SYS_getdents64, dir, entries, sizeof(entries)));
}

static void do_pwrite(void)
{
	check(pwrite(plain, buf, 16, 0));
}

static void write_disk(off_t offset)
{
	/* Not before: to make it is a modification. */
	if (!on_disk) {
		on_disk = open(path, O_CREAT | O_RDWR, 0600);
		check(on_disk);
	}
	check(pwrite(on_disk, buf, 16, offset));
}

static void do_ext4(void)
{
	write_disk(0);
}

/* Over the end of a page: a handle for each. */
static void do_ext4_two(void)
{
	write_disk(4096 - 8);
}

static void create(size_t size)
{
	static char data[4096];
	int created = open(new_path, O_CREAT | O_EXCL | O_WRONLY, 0600);

	check(created);
	for (; size > sizeof(data); size -= sizeof(data))
		check(write(created, data, sizeof(data)));
	check(write(created, data, size));
	check(close(created));
	check(unlink(new_path));
}

static void do_create(void)
{
	create(64);
}

static void do_create_two(void)
{
	create(5000);
}

static void do_rename(void)
{
	check(rename("/dev/shm/syscalls", "/dev/shm/syscalls2"));
	check(rename("/dev/shm/syscalls2", "/dev/shm/syscalls"));
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

static void do_dgram(void)
{
	check(write(d[1], buf, 1));
	check(read(d[0], buf, 1));
}

static void do_tcp(void)
{
	check(write(tcp[1], buf, 1));
	check(read(tcp[0], buf, 1));
}

static void do_lo(void)
{
	check(write(lo[1], buf, 1));
	check(read(lo[0], buf, 1));
}

static void do_udp(void)
{
	check(send(udp, buf, 16, 0));
}

static void do_pty(void)
{
	check(write(pty[0], "x", 1));
	check(read(pty[1], buf, 1));
}

static void do_pipe_write(void)
{
	check(write(filled[1], buf, 1));
}

static void do_pipe_poll(void)
{
	struct pollfd f = { filled[0], POLLIN, 0 };

	check(poll(&f, 1, 0));
}

static void do_event(void)
{
	unsigned long long n = 1;

	check(write(event, &n, 8));
	check(read(event, &n, 8));
}

static void do_epoll(void)
{
	struct epoll_event e;

	check(epoll_wait(ep, &e, 1, 0));
}

static void do_poll(void)
{
	struct pollfd f[2] = { { p[0], POLLIN, 0 }, { s[0], POLLIN, 0 } };

	check(poll(f, 2, 0));
}

static void do_msg(void)
{
	struct { long type; char c; } m = { 1, 'x' };

	check(msgsnd(msg, &m, 1, 0));
	check(msgrcv(msg, &m, 1, 0, 0));
}

static void do_sem(void)
{
	struct sembuf up = { 0, 1, 0 }, down = { 0, -1, 0 };

	check(semop(sem, &up, 1));
	check(semop(sem, &down, 1));
}

static void do_mq(void)
{
	check(mq_send(mq, buf, 1, 0));
	check(mq_receive(mq, buf, sizeof(buf), NULL));
}

static void do_futex(void)
{
	check(syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0));
}

static void do_flock(void)
{
	check(flock(plain, LOCK_EX));
	check(flock(plain, LOCK_UN));
}

static void do_fcntl(void)
{
	struct flock l = { .l_type = F_WRLCK };

	check(fcntl(plain, F_SETLK, &l));
	l.l_type = F_UNLCK;
	check(fcntl(plain, F_SETLK, &l));
}

static void do_kill(void)
{
	check(kill(getpid(), SIGURG));
}

static void do_mmap(void)
{
	void *a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);

	if (a == MAP_FAILED)
		check(-1);
	check(munmap(a, 4096));
}

static void do_mmap_anon(void)
{
	void *a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (a == MAP_FAILED)
		check(-1);
	check(munmap(a, 4096));
}

static void do_fork(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	check(child);
	check(waitpid(child, NULL, 0));
}

/* @clean_only: with a dependency it is held, which is another thing */
static const struct {
	const char *name;
	void (*call)(void);
	int rounds, calls;
	int clean_only;
} calls[] = {
	{ "getppid", do_getppid, 20, 500 },
	{ "write-null", do_null, 20, 500 },
	{ "pread", do_pread, 20, 500 },
	{ "stat", do_stat, 20, 500 },
	{ "fstat", do_fstat, 20, 500 },
	{ "getdents", do_getdents, 20, 100 },
	{ "pwrite-tmpfs", do_pwrite, 20, 500 },
	{ "rename-tmpfs", do_rename, 20, 100 },
	{ "pipe-write", do_pipe_write, 20, 500 },
	{ "pipe-poll", do_pipe_poll, 20, 500 },
	{ "pipe-write+read", do_pipe, 20, 500 },
	{ "unix-write+read", do_unix, 20, 500 },
	{ "dgram-write+read", do_dgram, 20, 500 },
	{ "tcp-lo-write+read", do_tcp, 20, 200 },
	{ "udp-lo-write+read", do_lo, 20, 200 },
	{ "udp-send", do_udp, 20, 500, 1 },
	{ "pty-write+read", do_pty, 20, 100 },
	{ "eventfd-write+read", do_event, 20, 500 },
	{ "epoll_wait", do_epoll, 20, 500 },
	{ "poll-2", do_poll, 20, 500 },
	{ "msgsnd+msgrcv", do_msg, 20, 500 },
	{ "semop-2", do_sem, 20, 500 },
	{ "mq_send+receive", do_mq, 20, 500 },
	{ "futex-wake-shared", do_futex, 20, 500 },
	{ "flock-2", do_flock, 20, 500 },
	{ "fcntl-lock-2", do_fcntl, 20, 500 },
	{ "kill-self", do_kill, 20, 200 },
	{ "mmap-file+munmap", do_mmap, 20, 200 },
	{ "mmap-anon+munmap", do_mmap_anon, 20, 200 },
	{ "fork+exit+wait", do_fork, 10, 10 },
	/* Last: on an xsync mount they make dependent. */
	{ "pwrite-ext4", do_ext4, 20, 200 },
	{ "pwrite-ext4-2", do_ext4_two, 20, 200 },
	{ "create+unlink-ext4", do_create, 20, 50 },
	{ "create-5k+unlink-ext4", do_create_two, 20, 50 },
};

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void make_inet(int type, int ends[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, type, 0);

	ends[1] = socket(AF_INET, type, 0);
	check(bind(l, (struct sockaddr *)&a, len));
	check(getsockname(l, (struct sockaddr *)&a, &len));
	if (type == SOCK_STREAM)
		check(listen(l, 1));
	check(connect(ends[1], (struct sockaddr *)&a, len));
	ends[0] = type == SOCK_STREAM ? accept(l, NULL, NULL) : l;
	check(ends[0]);
}

static void loop(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		while (!strcmp(calls[i].name, name)) {
			calls[i].call();
			syscall(SYS_getuid);
		}
	fprintf(stderr, "syscalls: no call %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = sizeof(buf) };
	struct epoll_event e = { .events = EPOLLIN };
	struct termios raw;
	unsigned int i;
	const char *wanted = NULL;
	int round, n, taint;

	if (argc > 3 && !strcmp(argv[1], "--loop")) {
		wanted = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: syscalls [--loop CALL] DIR [TAINT]\n");
		return 2;
	}
	signal(SIGURG, SIG_IGN);
	check(pipe(p));
	check(pipe(filled));	/* one byte a call, never read */
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	check(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	make_inet(SOCK_STREAM, tcp);
	make_inet(SOCK_DGRAM, lo);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	a.sin_addr.s_addr = inet_addr("10.98.0.2");
	check(connect(udp, (void *)&a, sizeof(a)));
	file = open("/usr/bin/env", O_RDONLY);
	check(file);
	/* Of its own: it must have the same entries each time. */
	check(mkdir("/dev/shm/syscalls.dir", 0700));
	dir = open("/dev/shm/syscalls.dir", O_RDONLY | O_DIRECTORY);
	check(dir);
	null = open("/dev/null", O_WRONLY);
	plain = open("/dev/shm/syscalls", O_CREAT | O_RDWR, 0600);
	check(plain);
	snprintf(path, sizeof(path), "%s/syscalls", argv[1]);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	check(openpty(&pty[0], &pty[1], NULL, NULL, NULL));
	check(tcgetattr(pty[1], &raw));
	cfmakeraw(&raw);
	check(tcsetattr(pty[1], TCSANOW, &raw));
	event = eventfd(0, 0);
	ep = epoll_create1(0);
	check(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	check(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e));
	msg = msgget(IPC_PRIVATE, 0600);
	check(msg);
	sem = semget(IPC_PRIVATE, 1, 0600);
	check(sem);
	mq = mq_open("/syscalls", O_CREAT | O_RDWR, 0600, &attr);
	check(mq);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 2) {
		taint = open(argv[2], O_RDONLY);
		check(taint);
		check(read(taint, buf, sizeof(buf)));
	}
	if (wanted)
		loop(wanted);

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		long long best = 1LL << 60;

		for (round = 0; round < calls[i].rounds; round++) {
			long long t = now();

			if (argc > 2 && calls[i].clean_only)
				break;
			for (n = 0; n < calls[i].calls; n++)
				calls[i].call();
			t = now() - t;
			if (t < best)
				best = t;
		}
		printf("%s %lld\n", calls[i].name,
		       round ? best / calls[i].calls : -1);
	}
	msgctl(msg, IPC_RMID, NULL);
	semctl(sem, 0, IPC_RMID);
	mq_unlink("/syscalls");
	rmdir("/dev/shm/syscalls.dir");
	return 0;
}
