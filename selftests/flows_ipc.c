// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 timeout=600 */
/*
 * What passes a dependency on: messages, semaphores, events, readiness, other
 * processes, locks, what open files share, signals of files; see flow.h.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include "flow.h"
#include "int80.h"

#define DIR_ "/tmp/flows_ipc/"
#define FILE_ DIR_ "file"
#define KEY 0x78737963

static int p[2], s[2], lst, fd, ep, master, slave;
static int id;
static mqd_t mq = -1;

static void check(bool ok, int code)
{
	if (!ok)
		_exit(code);
}

static void read_one(int from)
{
	char c;

	check(read(from, &c, 1) >= 0, 97);
}

static void write_one(int to)
{
	check(write(to, "x", 1) == 1, 96);
}

static void mk_pipe(void)
{
	if (pipe(p))
		exit(1);
}

static void pipe_a(void)
{
	write_one(p[1]);
}

/* --- System V ------------------------------------------------------------- */

struct message {
	long type;
	char text[1024];
};

static struct message message = { 1, "x" };

static void mk_msg(void)
{
	id = msgget(IPC_PRIVATE, 0600);
	if (id < 0)
		exit(1);
}

static void msg_a(void)
{
	check(!msgsnd(id, &message, 1, 0), 96);
}

static void msg_b(void)
{
	check(msgrcv(id, &message, 1, 0, 0) == 1, 97);
}

static void mk_msg_full(void)
{
	mk_msg();
	while (!msgsnd(id, &message, sizeof(message.text), IPC_NOWAIT))
		;
}

static void msg_room_a(void)
{
	check(msgrcv(id, &message, sizeof(message.text), 0, 0) > 0, 96);
}

static void msg_room_b(void)
{
	check(!msgsnd(id, &message, sizeof(message.text), 0), 97);
}

static void msg_remove_a(void)
{
	check(!msgctl(id, IPC_RMID, NULL), 96);
}

static void msg_remove_b(void)
{
	check(msgrcv(id, &message, 1, 0, 0) < 0, 97);
}

static void msg_stat_b(void)
{
	struct msqid_ds ds;

	do
		check(!msgctl(id, IPC_STAT, &ds), 97);
	while (!ds.msg_qnum);
}

static void msg_proc_b(void)
{
	char name[16], buf[4096];
	bool found;

	sprintf(name, " %d ", id);
	do {
		int from = open("/proc/sysvipc/msg", O_RDONLY);
		ssize_t n = read(from, buf, sizeof(buf) - 1);

		check(n > 0, 97);
		buf[n] = 0;
		found = strstr(buf, name);
		close(from);
	} while (found);
}

static void mk_key(void)
{
	id = msgget(KEY, 0600);
	if (id >= 0)
		msgctl(id, IPC_RMID, NULL);
}

static void key_a(void)
{
	check(msgget(KEY, IPC_CREAT | 0600) >= 0, 96);
}

static void key_b(void)
{
	while (msgget(KEY, 0600) < 0)
		;
}

static void mk_sem(void)
{
	id = semget(IPC_PRIVATE, 1, 0600);
	if (id < 0)
		exit(1);
}

static void sem_op(int n, int flags)
{
	struct sembuf op = { 0, n, flags };

	check(!semop(id, &op, 1), 96);
}

static void sem_a(void)
{
	sem_op(1, 0);
}

static void sem_b(void)
{
	sem_op(-1, 0);
}

static void sem_set_a(void)
{
	check(!semctl(id, 0, SETVAL, 7), 96);
}

static void sem_get_b(void)
{
	while (semctl(id, 0, GETVAL) != 7)
		;
}

/* --- System calls as a 32-bit program makes them -------------------------- */

static char *low; /* memory with a 32-bit address */

static void mk_low(void)
{
	if (!low)
		low = low_page();
	if (low == MAP_FAILED)
		exit(1);
	memset(low, 0, 64);
	*(int *)low = 1; /* the type of a message */
}

static void mk_msg32(void)
{
	mk_low();
	mk_msg();
}

static void msg32_a(void)
{
	check(!int80(400, id, (long)low, 1, 0, 0), 96);
}

static void msg32_b(void)
{
	check(int80(401, id, (long)low, 1, 0, 0) == 1, 97);
}

/* ipc(MSGSND, ...), as an old one does */
static void msg117_a(void)
{
	check(!int80(117, 11, id, 1, 0, (long)low), 96);
}

static void msg32_remove_a(void)
{
	check(!int80(402, id, IPC_RMID, 0, 0, 0), 96);
}

static void mk_sem32(void)
{
	mk_low();
	mk_sem();
}

static void sem32_a(void)
{
	*(struct sembuf *)low = (struct sembuf){ 0, 1, 0 };
	check(!int80(420, id, (long)low, 1, 0, 0), 96);
}

static void sem32_b(void)
{
	*(struct sembuf *)low = (struct sembuf){ 0, -1, 0 };
	check(!int80(420, id, (long)low, 1, 0, 0), 97);
}

static void sem32_set_a(void)
{
	check(!int80(394, id, 0, SETVAL, 7, 0), 96);
}

static void sem32_get_b(void)
{
	while (int80(394, id, 0, GETVAL, 0, 0) != 7)
		;
}

/* --- a third process, which A makes do something -------------------------- */

/*
 * Runs @job when A writes to the pipe. It has a parent of its own, who reaps it.
 */
static pid_t helper;

static void mk_helper(void (*before)(void), void (*job)(void))
{
	int to[2];

	mk_pipe();
	if (pipe(to))
		exit(1);
	third = fork();
	if (!third) {
		helper = fork();
		if (!helper) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (before)
				before();
			read_one(p[0]);
			job();
			_exit(0);
		}
		check(write(to[1], &helper, sizeof(helper)) > 0, 95);
		waitpid(helper, NULL, 0);
		sleep_ms(8000);
		_exit(0);
	}
	if (read(to[0], &helper, sizeof(helper)) != sizeof(helper))
		exit(1);
	close(to[0]);
	close(to[1]);
	sleep_ms(50);
}

static void nothing(void)
{
}

static void undo_before(void)
{
	sem_op(5, SEM_UNDO);
	sem_op(2, 0);
}

static void mk_undo(void)
{
	mk_sem();
	mk_helper(undo_before, nothing);
}

static void undo_b(void)
{
	while (semctl(id, 0, GETVAL) != 2)
		;
}

static void mk_exit(void)
{
	mk_helper(NULL, nothing);
}

static void kill_b(void)
{
	while (!kill(helper, 0))
		;
}

static void getpgid_b(void)
{
	while (getpgid(helper) >= 0)
		;
}

static void proc_gone_b(void)
{
	char name[32];

	sprintf(name, "/proc/%d", helper);
	while (!access(name, F_OK))
		;
}

static void proc_list_b(void)
{
	bool found;

	do {
		DIR *d = opendir("/proc");
		struct dirent *e;

		found = false;
		while ((e = readdir(d)))
			if (atoi(e->d_name) == helper)
				found = true;
		closedir(d);
	} while (found);
}

static void mk_pidfd(void)
{
	mk_exit();
	fd = syscall(SYS_pidfd_open, helper, 0);
	if (fd < 0)
		exit(1);
}

static void pidfd_b(void)
{
	struct pollfd f = { fd, POLLIN };

	check(poll(&f, 1, 5000) == 1, 97);
}

static void pidfd_kill_b(void)
{
	while (!syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0))
		;
}

/* --- what /proc and numbers tell of the helper ---------------------------- */

static char cell;
static int proc_fd, new_pid = 31000;

static void mk_proc(const char *file, void (*job)(void))
{
	char name[32];

	cell = 0;
	new_pid++;	/* the last one may not have been reaped yet */
	mk_helper(NULL, job);
	sprintf(name, "/proc/%d/%s", helper, file);
	proc_fd = open(name, O_RDONLY);
	if (proc_fd < 0)
		exit(1);
}

static void store_job(void)
{
	cell = 'x';
	environ[0][0] = '!';
	sleep_ms(8000);
}

static void mk_mem(void)
{
	mk_proc("mem", store_job);
}

static void mem_b(void)
{
	char c;

	do {
		check(pread(proc_fd, &c, 1, (long)&cell) == 1, 97);
	} while (c != 'x');
}

static void mk_environ(void)
{
	mk_proc("environ", store_job);
}

static void environ_b(void)
{
	char c;

	do {
		check(pread(proc_fd, &c, 1, 0) == 1, 97);
	} while (c != '!');
}

static void mk_mem_exit(void)
{
	mk_proc("mem", nothing);
}

static void mem_gone_b(void)
{
	char c;

	while (pread(proc_fd, &c, 1, (long)&cell) == 1)
		;
}

static void mk_comm_exit(void)
{
	mk_proc("comm", nothing);
}

static void comm_gone_b(void)
{
	char c;

	while (pread(proc_fd, &c, 1, 0) == 1)
		;
}

static void dup_job(void)
{
	dup2(p[0], 200);
	sleep_ms(8000);
}

static void mk_dup(void)
{
	mk_proc("fd", dup_job);
}

static void fd_name_b(void)
{
	while (faccessat(proc_fd, "200", F_OK, AT_SYMLINK_NOFOLLOW))
		;
}

static void fd_list_b(void)
{
	bool found = false;
	struct dirent *e;
	DIR *d;

	while (!found) {
		d = fdopendir(openat(proc_fd, ".", O_RDONLY | O_DIRECTORY));
		check(d, 95);
		while ((e = readdir(d)))
			found |= !strcmp(e->d_name, "200");
		closedir(d);
	}
}

static void fork_job(void)
{
	pid_t wanted = new_pid;
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
	};

	if (!syscall(SYS_clone3, &args, sizeof(args)))
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	sleep_ms(8000);
}

static void mk_fork(void)
{
	mk_proc("stat", fork_job);
}

static void kill_new_b(void)
{
	while (kill(new_pid, 0))
		;
}

static void tgkill_new_b(void)
{
	while (syscall(SYS_tgkill, new_pid, new_pid, 0))
		;
}

static void pidfd_new_b(void)
{
	while (syscall(SYS_pidfd_open, new_pid, 0) < 0)
		;
}

static void proc_new_b(void)
{
	char name[32];

	sprintf(name, "/proc/%d", new_pid);
	while (access(name, F_OK))
		;
}

static void list_new_b(void)
{
	bool found = false;
	struct dirent *e;
	DIR *d;

	while (!found) {
		d = opendir("/proc");
		while ((e = readdir(d)))
			found |= atoi(e->d_name) == new_pid;
		closedir(d);
	}
}

/* --- POSIX message queues ------------------------------------------------- */

#define MQ "/flows_ipc"

static mqd_t mq_make(int flags)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };

	return mq_open(MQ, flags, 0600, &attr);
}

static void mk_mq(void)
{
	mq_unlink(MQ);
	mq = mq_make(O_RDWR | O_CREAT);
	if (mq < 0)
		exit(1);
}

static void mk_mq_full(void)
{
	mk_mq();
	if (mq_send(mq, "x", 1, 0))
		exit(1);
}

static void mk_mq_none(void)
{
	mq_unlink(MQ);
}

static void mq_a(void)
{
	check(!mq_send(mq, "x", 1, 0), 96);
}

static void mq_b(void)
{
	char buf[8];

	check(mq_receive(mq, buf, sizeof(buf), NULL) == 1, 97);
}

static void mq_attr_b(void)
{
	struct mq_attr attr;

	do
		check(!mq_getattr(mq, &attr), 97);
	while (!attr.mq_curmsgs);
}

static void mq_poll_b(void)
{
	struct pollfd f = { mq, POLLIN };

	check(poll(&f, 1, 5000) == 1, 97);
}

static void mq_create_a(void)
{
	check(mq_make(O_RDWR | O_CREAT) >= 0, 96);
}

static void mq_create_b(void)
{
	while (mq_open(MQ, O_RDWR) < 0)
		;
}

static void mq_unlink_a(void)
{
	check(!mq_unlink(MQ), 96);
}

static void mq_unlink_b(void)
{
	for (;;) {
		mqd_t q = mq_open(MQ, O_RDWR);

		if (q < 0)
			return;
		mq_close(q);
	}
}

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = 1;
}

static void wait_signal(void)
{
	while (!got_signal)
		sleep_ms(10);
	/* More of them must not wake B from its last sleep. */
	signal(SIGIO, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
}

static void on_notify(union sigval v)
{
	got_signal = 1;
	sleep_ms(5000); /* the exit of a thread also goes to the parent */
}

static void mq_notify_b(void)
{
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL,
			      .sigev_signo = SIGUSR1 };

	got_signal = 0;
	signal(SIGUSR1, on_signal);
	check(!mq_notify(mq, &e), 97);
	wait_signal();
}

static void mq_thread_b(void)
{
	struct sigevent e = { .sigev_notify = SIGEV_THREAD,
			      .sigev_notify_function = on_notify };

	got_signal = 0;
	check(!mq_notify(mq, &e), 97);
	wait_signal();
}

static void mk_mq32(void)
{
	mk_low();
	mk_mq();
}

static void mq32_a(void)
{
	check(!int80(279, mq, (long)low, 1, 0, 0), 96);
}

static void mq32_b(void)
{
	check(int80(280, mq, (long)low, 8, 0, 0) == 1, 97);
}

/* --- events --------------------------------------------------------------- */

static void mk_eventfd(void)
{
	fd = eventfd(0, 0);
	if (fd < 0)
		exit(1);
}

static void mk_eventfd_full(void)
{
	fd = eventfd(0, 0);
	if (eventfd_write(fd, -2ULL))
		exit(1);
}

static void event_a(void)
{
	check(!eventfd_write(fd, 1), 96);
}

static void event_b(void)
{
	eventfd_t n;

	check(!eventfd_read(fd, &n), 97);
}

static void mk_file(void)
{
	int to = open(FILE_, O_CREAT | O_TRUNC | O_RDWR, 0600);

	if (write(to, "0123456789", 10) != 10)
		exit(1);
	close(to);
}

/* Reading changes nothing, so that the event is all there is to see. */
static void touch_a(void)
{
	int from = open(FILE_, O_RDONLY);

	read_one(from);
	close(from);
}

/* For a B that must be there first. */
static void touch_often_a(void)
{
	for (int i = 0; i < 100; i++) {
		touch_a();
		sleep_ms(20);
	}
}

static void mk_inotify(void)
{
	mk_file();
	fd = inotify_init1(0);
	if (fd < 0 || inotify_add_watch(fd, FILE_, IN_ACCESS) < 0)
		exit(1);
}

static void notify_b(void)
{
	char buf[4096];

	check(read(fd, buf, sizeof(buf)) > 0, 97);
}

static void notify_poll_b(void)
{
	struct pollfd f = { fd, POLLIN };

	check(poll(&f, 1, 5000) == 1, 97);
}

static void notify_count_b(void)
{
	int n;

	do
		check(!ioctl(fd, FIONREAD, &n), 97);
	while (!n);
}

static void mk_fanotify(void)
{
	mk_file();
	fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
	if (fd < 0 ||
	    fanotify_mark(fd, FAN_MARK_ADD, FAN_ACCESS, AT_FDCWD, FILE_))
		exit(1);
}

static void dnotify_b(void)
{
	int dir = open(DIR_, O_RDONLY | O_DIRECTORY);

	got_signal = 0;
	signal(SIGIO, on_signal);
	check(!fcntl(dir, F_NOTIFY, DN_ACCESS), 97);
	wait_signal();
}

/* In the parent: the signal must not find B without it. */
static void mk_signalfd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, 0);
}

static void signalfd_a(void)
{
	check(!kill(pid_b, SIGUSR2), 96);
}

static void signalfd_b(void)
{
	struct signalfd_siginfo info;

	check(read(fd, &info, sizeof(info)) > 0, 97);
}

/*
 * A process is named by its first thread, also when that has gone and the others
 * go on.
 */
static void *second_thread(void *act)
{
	((void (*)(void))act)();
	say("B");
	sleep_ms(5000);
	_exit(0);
}

static void leave_first(void (*act)(void))
{
	pthread_t thread;

	check(!pthread_create(&thread, NULL, second_thread, act), 95);
	syscall(SYS_exit, 0);
}

static void second_signalfd_b(void)
{
	leave_first(signalfd_b);
}

/* --- readiness ------------------------------------------------------------ */

static int ready_fd;

static void poll_b(void)
{
	struct pollfd f = { ready_fd, POLLIN };

	check(poll(&f, 1, 5000) == 1, 97);
}

static void select_b(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ready_fd, &set);
	check(select(ready_fd + 1, &set, NULL, NULL, NULL) == 1, 97);
}

static void epoll_b(void)
{
	struct epoll_event e;

	check(epoll_wait(ep, &e, 1, -1) == 1, 97);
}

static void count_b(void)
{
	int n;

	do
		check(!ioctl(ready_fd, FIONREAD, &n), 97);
	while (!n);
}

static void watch(int watched)
{
	struct epoll_event e = { .events = EPOLLIN };

	ready_fd = watched;
	ep = epoll_create1(0);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, watched, &e))
		exit(1);
}

static void mk_poll_pipe(void)
{
	mk_pipe();
	watch(p[0]);
}

static void mk_poll_unix(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		exit(1);
	watch(s[1]);
}

static void mk_poll_dgram(void)
{
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		exit(1);
	watch(s[1]);
}

static void mk_poll_event(void)
{
	mk_eventfd();
	watch(fd);
}

static struct sockaddr_in tcp_addr;

static void mk_listen(void)
{
	socklen_t len = sizeof(tcp_addr);

	tcp_addr = (struct sockaddr_in){ .sin_family = AF_INET };
	tcp_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	lst = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(lst, (void *)&tcp_addr, sizeof(tcp_addr)) || listen(lst, 5))
		exit(1);
	getsockname(lst, (void *)&tcp_addr, &len);
	watch(lst);
}

static void connect_a(void)
{
	int to = socket(AF_INET, SOCK_STREAM, 0);

	check(!connect(to, (void *)&tcp_addr, sizeof(tcp_addr)), 96);
	sleep_ms(5000);
}

static void mk_poll_tcp(void)
{
	mk_listen();
	close(ep);
	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(s[0], (void *)&tcp_addr, sizeof(tcp_addr)))
		exit(1);
	s[1] = accept(lst, NULL, NULL);
	watch(s[1]);
}

static void mk_poll_udp(void)
{
	socklen_t len = sizeof(tcp_addr);

	tcp_addr = (struct sockaddr_in){ .sin_family = AF_INET };
	tcp_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s[1] = socket(AF_INET, SOCK_DGRAM, 0);
	s[0] = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(s[1], (void *)&tcp_addr, sizeof(tcp_addr)))
		exit(1);
	getsockname(s[1], (void *)&tcp_addr, &len);
	if (connect(s[0], (void *)&tcp_addr, sizeof(tcp_addr)))
		exit(1);
	watch(s[1]);
}

static void send_a(void)
{
	write_one(s[0]);
}

static void close_a(void)
{
	close(s[0]);
}

static void close_poll_b(void)
{
	close(s[0]);
	poll_b();
}

static void mk_pty(void)
{
	struct termios t;

	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master))
		exit(1);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	tcgetattr(slave, &t);
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	watch(slave);
}

static void pty_a(void)
{
	write_one(master);
}

static void uring_poll_b(void)
{
	struct io_uring_params par = {};
	int ring = syscall(SYS_io_uring_setup, 4, &par);
	struct io_uring_sqe *sqe;
	char *sq;

	check(ring >= 0, 94);
	sq = mmap(0, par.sq_off.array + par.sq_entries * 4,
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqe = mmap(0, par.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE,
		   MAP_SHARED, ring, IORING_OFF_SQES);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = ready_fd;
	sqe->poll32_events = POLLIN;
	((unsigned int *)(sq + par.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned int *)(sq + par.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	while (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS,
		       NULL, 0) < 0)
		;
}

/* --- signals of files ----------------------------------------------------- */

static void sigio_b(void)
{
	got_signal = 0;
	signal(SIGIO, on_signal);
	check(!fcntl(ready_fd, F_SETOWN, getpid()), 97);
	check(!fcntl(ready_fd, F_SETFL, O_ASYNC), 97);
	wait_signal();
}

static void setsig_b(void)
{
	got_signal = 0;
	signal(SIGUSR1, on_signal);
	check(!fcntl(ready_fd, F_SETSIG, SIGUSR1), 97);
	sigio_b();
}

/* Again and again, for a B that has come late. */
static void pipe_often_a(void)
{
	for (int i = 0; i < 100; i++) {
		write_one(p[1]);
		sleep_ms(20);
	}
}

static void send_often_a(void)
{
	for (int i = 0; i < 100; i++) {
		write_one(s[0]);
		sleep_ms(20);
	}
}

static void pty_often_a(void)
{
	for (int i = 0; i < 100; i++) {
		write_one(master);
		sleep_ms(20);
	}
}

/* --- other processes ------------------------------------------------------ */

/* A, as B finds it: the other child of their parent. */
static pid_t pid_a(void)
{
	char name[64], buf[128], *at, *end;
	pid_t self = getpid(), parent = getppid();

	sprintf(name, "/proc/%d/task/%d/children", parent, parent);
	for (;;) {
		int from = open(name, O_RDONLY);
		ssize_t n = read(from, buf, sizeof(buf) - 1);

		close(from);
		check(n >= 0, 95);
		buf[n] = 0;
		for (at = buf;; at = end) {
			pid_t pid = strtol(at, &end, 10);

			if (end == at)
				break;
			if (pid != self && pid != third)
				return pid;
		}
	}
}

static void nice_a(void)
{
	check(!setpriority(PRIO_PROCESS, 0, 7), 96);
}

static void nice_b(void)
{
	pid_t a = pid_a();

	while (getpriority(PRIO_PROCESS, a) != 7)
		;
}

static void nice_group_b(void)
{
	pid_t a = pid_a();

	while (getpriority(PRIO_PGRP, a) != 7)
		;
}

static void group_nice_a(void)
{
	setpgid(0, 0);
	nice_a();
}

static void affinity_a(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	check(!sched_setaffinity(0, sizeof(set), &set), 96);
}

static void affinity_b(void)
{
	pid_t a = pid_a();
	cpu_set_t set;

	do
		check(!sched_getaffinity(a, sizeof(set), &set), 97);
	while (CPU_COUNT(&set) != 1);
}

static void limit_a(void)
{
	struct rlimit l = { 123, 123 };

	check(!setrlimit(RLIMIT_CORE, &l), 96);
}

static void limit_b(void)
{
	pid_t a = pid_a();
	struct rlimit l;

	do
		check(!prlimit(a, RLIMIT_CORE, NULL, &l), 97);
	while (l.rlim_cur != 123);
}

static void pgid_a(void)
{
	check(!setpgid(0, 0), 96);
}

static void pgid_b(void)
{
	pid_t a = pid_a();

	while (getpgid(a) != a)
		;
}

static void second_pgid(void)
{
	read_one(p[0]);
	pgid_a();
	for (;;)
		pause();
}

static void mk_second_pgid(void)
{
	mk_pipe();
	third = fork();
	if (!third)
		leave_first(second_pgid);
}

static void second_pgid_b(void)
{
	while (getpgid(third) != third)
		;
}

static void comm_a(void)
{
	check(!prctl(PR_SET_NAME, "xsynced"), 96);
}

static void proc_find(const char *file, const char *text)
{
	char name[64], buf[4096];
	ssize_t n;
	int from;

	sprintf(name, "/proc/%d/%s", pid_a(), file);
	do {
		from = open(name, O_RDONLY);
		check(from >= 0, 95);
		n = read(from, buf, sizeof(buf) - 1);
		check(n > 0, 97);
		buf[n] = 0;
		close(from);
	} while (!strstr(buf, text));
}

static void comm_b(void)
{
	proc_find("comm", "xsynced");
}

static void stat_b(void)
{
	proc_find("stat", "xsynced");
}

static void status_b(void)
{
	proc_find("status", "xsynced");
}

static char *title;

static void cmdline_a(void)
{
	strcpy(title, "xsynced");
}

static void cmdline_b(void)
{
	proc_find("cmdline", "xsynced");
}

static void nice_other_a(void)
{
	check(!setpriority(PRIO_PROCESS, pid_b, 7), 96);
}

static void nice_self_b(void)
{
	while (getpriority(PRIO_PROCESS, 0) != 7)
		;
}

static void limit_other_a(void)
{
	struct rlimit l = { 123, 123 };

	check(!prlimit(pid_b, RLIMIT_CORE, &l, NULL), 96);
}

static void limit_self_b(void)
{
	struct rlimit l;

	do
		check(!getrlimit(RLIMIT_CORE, &l), 97);
	while (l.rlim_cur != 123);
}

/* B's grandchild sees that B's child has gone, and says so itself. */
static void getppid_b(void)
{
	pid_t middle = fork();

	if (!middle) {
		pid_t parent = getpid();

		if (!fork()) {
			/* It outlives the test, and must not hold a module. */
			close(source_taint);
			close(source_commit);
			while (getppid() == parent)
				sleep_ms(10);
			say("B");
			sleep_ms(5000);
			_exit(0);
		}
		read_one(p[0]);
		_exit(0);
	}
	sleep_ms(8000);
}

static void stop(int sig)
{
	struct sigaction sa = { .sa_handler = SIG_DFL,
				.sa_flags = SA_NOCLDSTOP };
	pid_t child;
	int status;

	sigaction(SIGCHLD, &sa, NULL);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sig != SIGSTOP)
			ptrace(PTRACE_TRACEME, 0, 0, 0);
		read_one(p[0]);
		raise(sig);
		_exit(0);
	}
	check(waitpid(child, &status, WUNTRACED) == child, 97);
	check(WIFSTOPPED(status), 94);
}

static void stop_b(void)
{
	stop(SIGSTOP);
}

static void trace_stop_b(void)
{
	stop(SIGUSR1);
}

/* --- locks and what open files share -------------------------------------- */

static void lock(int cmd, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };

	check(!fcntl(open(FILE_, O_RDWR), cmd, &l), 93);
}

static void getlk_a(void)
{
	lock(F_SETLKW, F_WRLCK);
}

static void getlk_b(void)
{
	int from = open(FILE_, O_RDWR);
	struct flock l;

	do {
		l = (struct flock){ .l_type = F_RDLCK, .l_len = 1 };
		check(!fcntl(from, F_GETLK, &l), 97);
	} while (l.l_type == F_UNLCK);
}

static void proc_locks_b(void)
{
	char name[32], buf[4096];
	struct stat st;
	bool found;

	stat(FILE_, &st);
	sprintf(name, ":%ld ", (long)st.st_ino);
	do {
		int from = open("/proc/locks", O_RDONLY);
		ssize_t n = read(from, buf, sizeof(buf) - 1);

		check(n >= 0, 97);
		buf[n] = 0;
		found = strstr(buf, name);
		close(from);
	} while (!found);
}

static void lease_a(void)
{
	int from = open(FILE_, O_RDONLY);

	signal(SIGIO, SIG_IGN);
	while (fcntl(from, F_SETLEASE, F_RDLCK))
		; /* B has it open for writing at times */
	sleep_ms(5000);
}

static void lease_b(void)
{
	int to;

	do {
		sleep_ms(10);
		to = open(FILE_, O_WRONLY | O_NONBLOCK);
		close(to);
	} while (to >= 0);
	check(errno != EACCES, 97);
}

static int leased;

static void lease_before(void)
{
	signal(SIGIO, SIG_IGN);
	leased = open(FILE_, O_RDONLY);
	check(!fcntl(leased, F_SETLEASE, F_RDLCK), 96);
}

static void lease_job(void)
{
	check(!fcntl(leased, F_SETLEASE, F_UNLCK), 96);
	sleep_ms(5000);
}

static void mk_lease(void)
{
	mk_file();
	mk_helper(lease_before, lease_job);
}

static void lease_wait_b(void)
{
	check(open(FILE_, O_WRONLY) >= 0, 97);
}

static void lease_told_b(void)
{
	got_signal = 0;
	signal(SIGIO, on_signal);
	check(!fcntl(open(FILE_, O_RDONLY), F_SETLEASE, F_RDLCK), 97);
	wait_signal();
}

static void open_often_a(void)
{
	for (int i = 0; i < 100; i++) {
		close(open(FILE_, O_WRONLY | O_NONBLOCK));
		sleep_ms(20);
	}
}

static void mk_shared(void)
{
	mk_file();
	fd = open(FILE_, O_RDWR);
}

static void seek_a(void)
{
	check(lseek(fd, 5, SEEK_SET) == 5, 96);
}

static void seek_b(void)
{
	while (lseek(fd, 0, SEEK_CUR) == 0)
		;
}

static void fdinfo_b(void)
{
	char name[32], text[256];
	ssize_t n;
	int info;

	sprintf(name, "/proc/self/fdinfo/%d", fd);
	do {
		info = open(name, O_RDONLY);
		n = read(info, text, sizeof(text) - 1);
		check(n > 0, 97);
		text[n] = '\0';
		close(info);
	} while (!strstr(text, "pos:\t5\n"));
}

static void read_a(void)
{
	read_one(fd);
}

/* B reads at the end of the file until A goes back. */
static void mk_shared_end(void)
{
	mk_shared();
	lseek(fd, 0, SEEK_END);
}

static void seek_read_b(void)
{
	char c = 0;

	do
		check(read(fd, &c, 1) >= 0, 97);
	while (c != '5');
}

static void setfl_a(void)
{
	check(!fcntl(fd, F_SETFL, O_APPEND), 96);
}

static void fionbio_a(void)
{
	int on = 1;

	check(!ioctl(fd, FIONBIO, &on), 96);
}

static void getfl_b(void)
{
	while (!(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK)))
		;
}

/* --- names of local sockets ----------------------------------------------- */

static struct sockaddr_un hidden = { AF_UNIX, "\0flows_ipc" };

static void listen_a(void)
{
	int sk = socket(AF_UNIX, SOCK_STREAM, 0);

	check(!bind(sk, (void *)&hidden, sizeof(hidden)) && !listen(sk, 5), 96);
	sleep_ms(5000);
}

static void listen_b(void)
{
	int sk = socket(AF_UNIX, SOCK_STREAM, 0);

	while (connect(sk, (void *)&hidden, sizeof(hidden)))
		;
}

static void mk_hidden(void)
{
	s[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (bind(s[0], (void *)&hidden, sizeof(hidden)))
		exit(1);
}

static void refused_b(void)
{
	int sk = socket(AF_UNIX, SOCK_DGRAM, 0);

	close(s[0]);
	while (!connect(sk, (void *)&hidden, sizeof(hidden)))
		;
}

static void refused_send_b(void)
{
	int sk = socket(AF_UNIX, SOCK_DGRAM, 0);

	close(s[0]);
	while (sendto(sk, "x", 1, MSG_DONTWAIT, (void *)&hidden,
		      sizeof(hidden)) == 1 || errno == EAGAIN)
		;
}

static const struct flow flows[] = {
	{ "msgsnd/msgrcv", mk_msg, msg_a, msg_b },
	{ "msgrcv/msgsnd to a full queue", mk_msg_full, msg_room_a,
	  msg_room_b },
	{ "msgctl IPC_RMID/msgrcv", mk_msg, msg_remove_a, msg_remove_b },
	{ "msgsnd/msgctl IPC_STAT", mk_msg, msg_a, msg_stat_b },
	{ "msgctl IPC_RMID/proc", mk_msg, msg_remove_a, msg_proc_b },
	{ "msgget creates/finds", mk_key, key_a, key_b },
	{ "semop/semop", mk_sem, sem_a, sem_b },
	{ "semctl SETVAL/GETVAL", mk_sem, sem_set_a, sem_get_b },
	{ "exit with SEM_UNDO/GETVAL", mk_undo, pipe_a, undo_b },
	{ "32-bit msgsnd/msgrcv", mk_msg32, msg32_a, msg32_b },
	{ "32-bit ipc/msgrcv", mk_msg32, msg117_a, msg_b },
	{ "32-bit msgctl IPC_RMID/msgrcv", mk_msg32, msg32_remove_a,
	  msg_remove_b },
	{ "32-bit semtimedop/semtimedop", mk_sem32, sem32_a, sem32_b },
	{ "32-bit semctl SETVAL/GETVAL", mk_sem32, sem32_set_a, sem32_get_b },
	{ "mq_send/mq_receive", mk_mq, mq_a, mq_b },
	{ "mq_receive/mq_send to a full queue", mk_mq_full, mq_b, mq_a },
	{ "mq_send/mq_getattr", mk_mq, mq_a, mq_attr_b },
	{ "mq_send/poll", mk_mq, mq_a, mq_poll_b },
	{ "mq_open creates/finds", mk_mq_none, mq_create_a, mq_create_b },
	{ "mq_unlink/mq_open", mk_mq, mq_unlink_a, mq_unlink_b },
	{ "mq_send/mq_notify by signal", mk_mq, mq_a, mq_notify_b,
	  .early_only = true },
	{ "mq_send/mq_notify by thread", mk_mq, mq_a, mq_thread_b,
	  .early_only = true },
	{ "32-bit mq_timedsend/mq_timedreceive", mk_mq32, mq32_a, mq32_b },
	{ "eventfd write/read", mk_eventfd, event_a, event_b },
	{ "eventfd read/write to a full one", mk_eventfd_full, event_b,
	  event_a },
	{ "inotify", mk_inotify, touch_a, notify_b },
	{ "inotify/poll", mk_inotify, touch_a, notify_poll_b },
	{ "inotify/FIONREAD", mk_inotify, touch_a, notify_count_b },
	{ "fanotify", mk_fanotify, touch_a, notify_b },
	{ "fanotify/poll", mk_fanotify, touch_a, notify_poll_b },
	{ "dnotify", mk_file, touch_often_a, dnotify_b },
	{ "signalfd", mk_signalfd, signalfd_a, signalfd_b, .to_b = true },
	{ "signal to a second thread", mk_signalfd, signalfd_a,
	  second_signalfd_b, .early_only = true, .to_b = true },
	{ "pipe/poll", mk_poll_pipe, pipe_a, poll_b },
	{ "pipe/select", mk_poll_pipe, pipe_a, select_b },
	{ "pipe/epoll_wait", mk_poll_pipe, pipe_a, epoll_b },
	{ "pipe/io_uring poll", mk_poll_pipe, pipe_a, uring_poll_b },
	{ "pipe/FIONREAD", mk_poll_pipe, pipe_a, count_b },
	{ "unix stream/poll", mk_poll_unix, send_a, poll_b },
	{ "unix stream/epoll_wait", mk_poll_unix, send_a, epoll_b },
	{ "unix stream/FIONREAD", mk_poll_unix, send_a, count_b },
	{ "unix stream close/poll", mk_poll_unix, close_a, close_poll_b },
	{ "unix dgram/poll", mk_poll_dgram, send_a, poll_b },
	{ "tcp/poll", mk_poll_tcp, send_a, poll_b },
	{ "tcp/epoll_wait", mk_poll_tcp, send_a, epoll_b },
	{ "tcp/FIONREAD", mk_poll_tcp, send_a, count_b },
	{ "tcp connect/poll of the listener", mk_listen, connect_a, poll_b },
	{ "udp/poll", mk_poll_udp, send_a, poll_b },
	{ "eventfd/poll", mk_poll_event, event_a, poll_b },
	{ "eventfd/io_uring poll", mk_poll_event, event_a, uring_poll_b },
	{ "pty/poll", mk_pty, pty_a, poll_b },
	{ "pipe/SIGIO", mk_poll_pipe, pipe_often_a, sigio_b },
	{ "pipe/F_SETSIG", mk_poll_pipe, pipe_often_a, setsig_b },
	{ "unix stream/SIGIO", mk_poll_unix, send_often_a, sigio_b },
	{ "tcp/SIGIO", mk_poll_tcp, send_often_a, sigio_b },
	{ "udp/F_SETSIG", mk_poll_udp, send_often_a, setsig_b },
	{ "pty/SIGIO", mk_pty, pty_often_a, sigio_b },
	{ "exit/kill 0", mk_exit, pipe_a, kill_b },
	{ "exit/getpgid", mk_exit, pipe_a, getpgid_b },
	{ "exit/proc", mk_exit, pipe_a, proc_gone_b },
	{ "exit/list of proc", mk_exit, pipe_a, proc_list_b },
	{ "exit/proc mem opened before", mk_mem_exit, pipe_a, mem_gone_b },
	{ "exit/proc comm opened before", mk_comm_exit, pipe_a, comm_gone_b },
	{ "store/proc mem opened before", mk_mem, pipe_a, mem_b },
	{ "store/proc environ opened before", mk_environ, pipe_a, environ_b },
	{ "dup/name in proc fd", mk_dup, pipe_a, fd_name_b },
	{ "dup/list of proc fd", mk_dup, pipe_a, fd_list_b },
	{ "fork/kill 0", mk_fork, pipe_a, kill_new_b },
	{ "fork/tgkill 0", mk_fork, pipe_a, tgkill_new_b },
	{ "fork/pidfd_open", mk_fork, pipe_a, pidfd_new_b },
	{ "fork/proc", mk_fork, pipe_a, proc_new_b },
	{ "fork/list of proc", mk_fork, pipe_a, list_new_b },
	{ "exit/poll of a pidfd", mk_pidfd, pipe_a, pidfd_b },
	{ "exit/pidfd_send_signal", mk_pidfd, pipe_a, pidfd_kill_b },
	{ "exit/getppid", mk_pipe, pipe_a, getppid_b },
	{ "stop/wait", mk_pipe, pipe_a, stop_b },
	{ "ptrace stop/wait", mk_pipe, pipe_a, trace_stop_b },
	{ "nice/getpriority", nothing, nice_a, nice_b },
	{ "nice/getpriority of a group", nothing, group_nice_a, nice_group_b },
	{ "sched_setaffinity/sched_getaffinity", nothing, affinity_a,
	  affinity_b },
	{ "setrlimit/prlimit", nothing, limit_a, limit_b },
	{ "setpgid/getpgid", nothing, pgid_a, pgid_b },
	{ "setpgid by a second thread/getpgid", mk_second_pgid, pipe_a,
	  second_pgid_b },
	{ "name/proc comm", nothing, comm_a, comm_b },
	{ "name/proc stat", nothing, comm_a, stat_b },
	{ "name/proc status", nothing, comm_a, status_b },
	{ "arguments/proc cmdline", nothing, cmdline_a, cmdline_b },
	{ "setpriority of another", nothing, nice_other_a, nice_self_b,
	  .to_b = true },
	{ "prlimit of another", nothing, limit_other_a, limit_self_b,
	  .to_b = true },
	{ "F_SETLK/F_GETLK", mk_file, getlk_a, getlk_b },
	{ "F_SETLK/proc locks", mk_file, getlk_a, proc_locks_b },
	{ "F_SETLEASE/open", mk_file, lease_a, lease_b },
	{ "open/lease broken", mk_file, open_often_a, lease_told_b,
	  .early_only = true },
	{ "lease let go/open", mk_lease, pipe_a, lease_wait_b,
	  .early_only = true },
	{ "lseek/lseek", mk_shared, seek_a, seek_b },
	{ "lseek/proc fdinfo", mk_shared, seek_a, fdinfo_b },
	{ "read/lseek", mk_shared, read_a, seek_b },
	{ "lseek/read", mk_shared_end, seek_a, seek_read_b },
	{ "F_SETFL/F_GETFL", mk_shared, setfl_a, getfl_b },
	{ "FIONBIO/F_GETFL", mk_shared, fionbio_a, getfl_b },
	{ "abstract name bound/connect", nothing, listen_a, listen_b },
	{ "abstract name gone/connect", mk_hidden, close_a, refused_b },
	{ "abstract name gone/sendto", mk_hidden, close_a, refused_send_b },
};

/* The parent lets go of what it made for A and B, or nobody sees it closed. */
static void close_objects(void)
{
	int *fds[] = { &p[0], &p[1], &s[0], &s[1],   &lst,
		       &fd,   &ep,   &mq,   &master, &slave, &proc_fd };

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] > 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

int main(int argc, char **argv)
{
	unsigned int plan;

	title = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	signal(SIGPIPE, SIG_IGN);
	mkdir(DIR_, 0700);
	if (outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	plan = run_flows(flows, ARRAY_SIZE(flows));
	mq_unlink(MQ);
	mk_key();
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
