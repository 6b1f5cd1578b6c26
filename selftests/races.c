// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 thread=multi timeout=600 */
/*
 * Races between two processors, $LOOPS times (5,000): the writer becomes
 * dependent on a new sequence and passes it on as data, as fast as it can; the
 * reader gets the number and must, at that moment, depend on it (debugfs
 * speculator/self). The reader sleeps at times, and at times is just looking.
 *
 * A third process, which takes part in nothing, commits all there is every few
 * milliseconds: dependencies come, go and come again.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <signal.h>
#include "kselftest.h"
#include "outside.h"

#define COMMIT 3 /* ms */

/**
 * struct race - a channel
 * @name: for TAP
 * @make: makes it, before the two are born
 * @put: the writer gives a number
 * @take: the reader gets one
 * @part: of $LOOPS only one in so many, or 0: it starts processes
 */
struct race {
	const char *name;
	void (*make)(void);
	void (*put)(unsigned int n);
	unsigned int (*take)(void);
	unsigned int part;
};

static int in, out, back_in, back_out, self, state;
static volatile unsigned int *mem;
static unsigned int last, loops = 5000;
static bool tainting; /* the writer is dependent in this run */
static pid_t reader_pid;

static void make_pipe(void)
{
	int p[2];

	if (pipe(p))
		exit(1);
	in = p[0];
	out = p[1];
}

static void make_unix(int type)
{
	int s[2];

	if (socketpair(AF_UNIX, type, 0, s))
		exit(1);
	in = s[0];
	out = s[1];
}

static void make_stream(void)
{
	make_unix(SOCK_STREAM);
}

static void make_dgram(void)
{
	make_unix(SOCK_DGRAM);
}

static void make_inet(int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, type, 0);

	out = socket(AF_INET, type, 0);
	if (bind(l, (struct sockaddr *)&a, len) ||
	    getsockname(l, (struct sockaddr *)&a, &len) ||
	    (type == SOCK_STREAM && listen(l, 1)) ||
	    connect(out, (struct sockaddr *)&a, len))
		exit(1);
	in = l;
	if (type == SOCK_STREAM) {
		in = accept(l, NULL, NULL);
		close(l);
	}
}

static void make_tcp(void)
{
	make_inet(SOCK_STREAM);
}

static void make_udp(void)
{
	make_inet(SOCK_DGRAM);
}

static void make_file(void)
{
	in = open("/tmp/races.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	out = in;
	if (in < 0 || pwrite(in, &last, sizeof(last), 0) < 0)
		exit(1);
}

static void make_memory(void)
{
	in = memfd_create("races", 0);
	if (in < 0 || ftruncate(in, 4096))
		exit(1);
	out = in;
}

static void map_memory(void)
{
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, in, 0);
	if (mem == MAP_FAILED)
		_exit(1);
}

static void put_fd(unsigned int n)
{
	if (write(out, &n, sizeof(n)) != sizeof(n))
		_exit(2);
}

static unsigned int take_fd(void)
{
	unsigned int n;

	if (read(in, &n, sizeof(n)) != sizeof(n))
		_exit(3);
	return n;
}

static void put_file(unsigned int n)
{
	if (pwrite(out, &n, sizeof(n), 0) != sizeof(n))
		_exit(2);
}

static unsigned int take_file(void)
{
	unsigned int n;

	do {
		if (pread(in, &n, sizeof(n), 0) != sizeof(n))
			_exit(3);
	} while (n == last);
	return n;
}

static void put_memory(unsigned int n)
{
	mem[0] = n;
}

static unsigned int take_memory(void)
{
	unsigned int n;

	do {
		n = mem[0];
	} while (n == last);
	return n;
}

static void make_pty(void)
{
	struct termios raw;

	if (openpty(&out, &in, NULL, NULL, NULL) || tcgetattr(in, &raw))
		exit(1);
	cfmakeraw(&raw);
	tcsetattr(in, TCSANOW, &raw);
}

static void make_eventfd(void)
{
	in = eventfd(0, 0);
	out = in;
	if (in < 0)
		exit(1);
}

static void put_eventfd(unsigned int n)
{
	eventfd_t count = n;

	if (write(out, &count, sizeof(count)) != sizeof(count))
		_exit(2);
}

static unsigned int take_eventfd(void)
{
	eventfd_t count;

	if (read(in, &count, sizeof(count)) != sizeof(count))
		_exit(3);
	return count;
}

static struct {
	long type;
	unsigned int n;
} message = { .type = 1 };

static int queue;

static void make_msg(void)
{
	queue = msgget(IPC_PRIVATE, 0600);
	in = -1;
	out = -1;
	if (queue < 0)
		exit(1);
}

static void put_msg(unsigned int n)
{
	message.n = n;
	if (msgsnd(queue, &message, sizeof(n), 0))
		_exit(2);
}

static unsigned int take_msg(void)
{
	if (msgrcv(queue, &message, sizeof(message.n), 0, 0) < 0)
		_exit(3);
	return message.n;
}

static void make_mq(void)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = sizeof(last) };

	in = mq_open("/races", O_RDWR | O_CREAT, 0600, &attr);
	out = in;
	if (in < 0 || mq_unlink("/races"))
		exit(1);
}

static void put_mq(unsigned int n)
{
	if (mq_send(out, (char *)&n, sizeof(n), 0))
		_exit(2);
}

static unsigned int take_mq(void)
{
	unsigned int n;

	if (mq_receive(in, (char *)&n, sizeof(n), NULL) < 0)
		_exit(3);
	return n;
}

static sigset_t signal_set;

static void make_signal(void)
{
	sigemptyset(&signal_set);
	sigaddset(&signal_set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &signal_set, NULL);
	in = -1;
	out = -1;
}

static void put_signal(unsigned int n)
{
	union sigval value = { .sival_int = n };

	if (sigqueue(reader_pid, SIGRTMIN, value))
		_exit(2);
}

static unsigned int take_signal(void)
{
	siginfo_t info;

	if (sigwaitinfo(&signal_set, &info) < 0)
		_exit(3);
	return info.si_value.sival_int;
}

/* The writer's own memory, of which the reader is told by its first number. */
static volatile unsigned int cell;
static pid_t writer_pid;
static int cell_fd = -1;

static void put_cell(unsigned int n)
{
	pid_t self_pid = getpid();

	if (!cell && write(out, &self_pid, sizeof(self_pid)) < 0)
		_exit(2);
	cell = n;
}

static void find_writer(void)
{
	char name[32];

	if (writer_pid)
		return;
	if (read(in, &writer_pid, sizeof(writer_pid)) < 0)
		_exit(3);
	sprintf(name, "/proc/%d/mem", writer_pid);
	cell_fd = open(name, O_RDONLY);
}

static unsigned int take_cell_vm(void)
{
	unsigned int n = 0;
	struct iovec to = { &n, sizeof(n) };
	struct iovec from = { (void *)&cell, sizeof(cell) };

	find_writer();
	do {
		if (process_vm_readv(writer_pid, &to, 1, &from, 1, 0) < 0)
			_exit(3);
	} while (n == last);
	return n;
}

static unsigned int take_cell_mem(void)
{
	unsigned int n = 0;

	find_writer();
	do {
		if (pread(cell_fd, &n, sizeof(n), (long)&cell) < 0)
			_exit(3);
	} while (n == last);
	return n;
}

/* The name of a file that the writer has open, and which leads to no other object. */
#define NAMED_FD 50

static void put_name(unsigned int n)
{
	char name[32];
	int fd;

	put_cell(n);
	sprintf(name, "%u", n);
	fd = memfd_create(name, 0);
	if (dup2(fd, NAMED_FD) < 0)
		_exit(2);
	close(fd);
}

static unsigned int read_name(const char *link)
{
	char name[64] = "";

	if (readlink(link, name, sizeof(name) - 1) < 0)
		return last;
	return strtoul(name + strlen("/memfd:"), NULL, 10);
}

static unsigned int take_name_link(void)
{
	unsigned int n;
	char link[64];

	find_writer();
	sprintf(link, "/proc/%d/fd/%d", writer_pid, NAMED_FD);
	do {
		n = read_name(link);
	} while (n == last);
	return n;
}

static unsigned int take_name_fd(void)
{
	static int pidfd = -1;
	unsigned int n = last;
	char link[64];
	int fd;

	find_writer();
	if (pidfd < 0)
		pidfd = syscall(SYS_pidfd_open, writer_pid, 0);
	do {
		fd = syscall(SYS_pidfd_getfd, pidfd, NAMED_FD, 0);
		if (fd < 0)
			continue;
		sprintf(link, "/proc/self/fd/%d", fd);
		n = read_name(link);
		close(fd);
	} while (n == last);
	return n;
}

/* The kernel does not look at the list before the thread exits. */
static void put_robust(unsigned int n)
{
	put_cell(n);
	if (syscall(SYS_set_robust_list, (long)n << 4, 24))
		_exit(2);
}

static unsigned int take_robust(void)
{
	unsigned long head;
	size_t len;

	find_writer();
	do {
		if (syscall(SYS_get_robust_list, writer_pid, &head, &len))
			_exit(3);
	} while ((unsigned int)(head >> 4) == last || head >> 4 > UINT_MAX);
	return head >> 4;
}

/* A second thread is stopped by its tracer, and the first one goes on. */
static void *stopped_thread(void *arg)
{
	writer_pid = gettid();
	if (write(out, &writer_pid, sizeof(writer_pid)) < 0)
		_exit(2);
	for (;;)
		pause();
}

static void put_traced(unsigned int n)
{
	pthread_t thread;

	if (!cell && pthread_create(&thread, NULL, stopped_thread, NULL))
		_exit(2);
	cell = n;
}

static unsigned int take_traced(void)
{
	unsigned int n;

	if (!writer_pid &&
	    (read(in, &writer_pid, sizeof(writer_pid)) < 0 ||
	     ptrace(PTRACE_SEIZE, writer_pid, 0, 0) ||
	     ptrace(PTRACE_INTERRUPT, writer_pid, 0, 0) ||
	     waitpid(writer_pid, NULL, __WALL) != writer_pid))
		_exit(3);
	do {
		errno = 0;
		n = ptrace(PTRACE_PEEKDATA, writer_pid, &cell, 0);
		if (errno)
			_exit(3);
	} while (n == last);
	return n;
}

/*
 * A memory that goes while it is read: each number is that of a process of its
 * own, which becomes dependent once the reader has opened its memory.
 */
static int go_in, go_out;

static unsigned int new_sequence(void);

static void make_gone(void)
{
	make_pipe();
	go_in = in;
	go_out = out;
	make_pipe();
}

static void put_gone(unsigned int n, bool exec)
{
	pid_t pid = fork();
	char c;

	if (!pid) {
		pid = getpid();
		if (write(out, &pid, sizeof(pid)) < 0 || read(go_in, &c, 1) != 1)
			_exit(2);
		cell = tainting ? new_sequence() : n;
		if (exec)
			execl("/proc/self/exe", "races", "nothing", NULL);
		_exit(exec);
	}
	if (waitpid(pid, NULL, 0) != pid)
		_exit(2);
}

static void put_exit(unsigned int n)
{
	put_gone(n, false);
}

static void put_exec(unsigned int n)
{
	put_gone(n, true);
}

static unsigned int take_gone(void)
{
	unsigned int n = 0;
	char name[32];
	pid_t pid;
	int fd;

	if (read(in, &pid, sizeof(pid)) != sizeof(pid))
		_exit(3);
	sprintf(name, "/proc/%d/mem", pid);
	fd = open(name, O_RDONLY);
	if (fd < 0 || write(go_out, "", 1) != 1)
		_exit(3);
	/* It may be gone before the number was seen. */
	while (!n && pread(fd, &n, sizeof(n), (long)&cell) > 0)
		;
	close(fd);
	return n ?: last;
}

static void put_futex(unsigned int n)
{
	mem[0] = n;
	syscall(SYS_futex, mem, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static unsigned int take_futex(void)
{
	while (mem[0] == last)
		syscall(SYS_futex, mem, FUTEX_WAIT, last, NULL, NULL, 0);
	return mem[0];
}

static const struct race races[] = {
	{ "pipe", make_pipe, put_fd, take_fd },
	{ "unix stream", make_stream, put_fd, take_fd },
	{ "unix datagram", make_dgram, put_fd, take_fd },
	{ "TCP over loopback", make_tcp, put_fd, take_fd },
	{ "UDP over loopback", make_udp, put_fd, take_fd },
	{ "file", make_file, put_file, take_file },
	{ "shared memory", make_memory, put_memory, take_memory },
	{ "futex", make_memory, put_futex, take_futex },
	{ "pseudo-terminal", make_pty, put_fd, take_fd },
	{ "eventfd", make_eventfd, put_eventfd, take_eventfd },
	{ "System V message", make_msg, put_msg, take_msg },
	{ "POSIX message", make_mq, put_mq, take_mq },
	{ "signal", make_signal, put_signal, take_signal },
	{ "process_vm_readv", make_pipe, put_cell, take_cell_vm },
	{ "proc mem", make_pipe, put_cell, take_cell_mem },
	{ "proc link", make_pipe, put_name, take_name_link },
	{ "pidfd_getfd", make_pipe, put_name, take_name_fd },
	{ "get_robust_list", make_pipe, put_robust, take_robust },
	{ "ptrace of another thread", make_pipe, put_traced, take_traced },
	{ "proc mem and exit", make_gone, put_exit, take_gone, 10 },
	{ "proc mem and exec", make_gone, put_exec, take_gone, 40 },
};

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static unsigned int loops_of(const struct race *race)
{
	return loops / (tainting ? 1 : 10) / (race->part ?: 1);
}

static unsigned int new_sequence(void)
{
	char text[32] = "";

	if (pread(source_taint, text, sizeof(text) - 1, 0) <= 0)
		_exit(4);
	return strtoul(text, NULL, 10);
}

/* The sequence on which the caller depends; 0: on none. */
static unsigned int own_sequence(void)
{
	char text[128] = "", *line;
	ssize_t n = pread(self, text, sizeof(text) - 1, 0);

	if (n <= 0)
		_exit(5);
	line = strstr(text, "test0 ");
	return line ? strtoul(line + 6, NULL, 10) : 0;
}

/* Has it been committed meanwhile? */
static bool committed(unsigned int n)
{
	char text[128] = "", *word;

	if (pread(state, text, sizeof(text) - 1, 0) <= 0)
		_exit(5);
	word = strstr(text, "committed=");
	return word && (int)(strtoul(word + 10, NULL, 10) - n) >= 0;
}

static void committer(void)
{
	for (;;) {
		sleep_ms(COMMIT);
		commit_all();
	}
}

/*
 * Number by number: the next is not made before the reader has looked. The way
 * back is a pipe, so the writer depends on nothing newer by it.
 */
static void writer(const struct race *race, bool tainted)
{
	char c;

	on_cpu(0);
	if (race->make == make_memory)
		map_memory();
	for (unsigned int i = 0; i < loops_of(race); i++) {
		race->put(tainted ? new_sequence() : i + 1);
		if (read(back_in, &c, 1) != 1)
			_exit(6);
	}
	_exit(0);
}

static void reader(const struct race *race, bool tainted)
{
	unsigned int n, own, wrong = 0;

	on_cpu(1);
	if (race->make == make_memory)
		map_memory();
	for (unsigned int i = 0; i < loops_of(race); i++) {
		n = race->take();
		own = own_sequence();
		if (tainted ? own < n && !committed(n) : own)
			wrong++;
		last = n;
		if (write(back_out, "", 1) != 1)
			_exit(8);
	}
	_exit(wrong > 99 ? 99 : wrong);
}

static void run(const struct race *race, bool tainted)
{
	int back[2], status[2];
	pid_t c, r, w;

	last = 0;
	tainting = tainted;
	race->make();
	if (pipe(back))
		exit(1);
	back_in = back[0];
	back_out = back[1];
	c = fork();
	if (!c)
		committer();
	r = fork();
	if (!r)
		reader(race, tainted);
	reader_pid = r;
	w = fork();
	if (!w)
		writer(race, tainted);
	close(in);
	if (out != in)
		close(out);
	close(back_in);
	close(back_out);
	waitpid(w, &status[0], 0);
	waitpid(r, &status[1], 0);
	/* Who waits for them depends on what they did, until that is durable. */
	sleep_ms(50 * COMMIT);
	kill(c, SIGKILL);
	waitpid(c, NULL, 0);
	if (status[0] || status[1])
		ksft_print_msg("%s: writer %#x, reader %#x\n", race->name,
			       status[0], status[1]);
	ksft_test_result(!status[0] && !status[1], "%s: %s\n", race->name,
			 tainted ? "dependent" : "clean");
}

int main(int argc, char **argv)
{
	const char *only = getenv("FLOW");
	unsigned int plan = 0;

	if (argc > 1) /* what has been begun by exec */
		return 0;
	if (getenv("LOOPS"))
		loops = atoi(getenv("LOOPS"));
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	if (source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	self = open("/sys/kernel/debug/speculator/self", O_RDONLY);
	state = open(SOURCE "state", O_RDONLY);
	for (unsigned int i = 0; i < ARRAY_SIZE(races); i++) {
		if (only && !strstr(races[i].name, only))
			continue;
		run(&races[i], true);
		run(&races[i], false);
		plan += 2;
	}
	close(self);
	close(state);
	ksft_test_result(!source_close(), "modules unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
