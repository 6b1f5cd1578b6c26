// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 thread=multi timeout=500 */
/* What passes a dependency on: files, pipes, sockets, processes, terminals; see flow.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <dirent.h>
#include <termios.h>
#include "flow.h"
#include "uring.h"

#define DIR_ "/tmp/flows/"

static int p[2], q[2], s[2], lst;
static int master, slave;

/* --- what A and B do, a pair per channel ---------------------------------- */

static void nothing(void)
{
}

static void read_one(int fd)
{
	char c;

	if (read(fd, &c, 1) < 0)
		_exit(97);
}

static void write_one(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(96);
}

static void mk_pipe(void)
{
	if (pipe(p) || pipe(q))
		exit(1);
}

static void pipe_a(void)
{
	write_one(p[1]);
}

static void pipe_b(void)
{
	read_one(p[0]);
}

static void pipe_close_a(void)
{
	close(p[1]);
}

static void pipe_close_b(void)
{
	close(p[1]);
	read_one(p[0]);
}

static void vmsplice_a(void)
{
	struct iovec v = { "x", 1 };

	if (vmsplice(p[1], &v, 1, 0) != 1)
		_exit(96);
}

static void vmsplice_b(void)
{
	char c;
	struct iovec v = { &c, 1 };

	/* vmsplice out of a pipe does not wait */
	while (vmsplice(p[0], &v, 1, 0) != 1)
		sleep_ms(10);
}

static void splice_b(void)
{
	if (splice(p[0], NULL, q[1], NULL, 1, 0) != 1)
		_exit(97);
	read_one(q[0]);
}

/* B only moves it on; the clean reader of the second pipe is its child. */
static void splice_on_b(void)
{
	pid_t child = fork();

	if (!child) {
		if (splice(p[0], NULL, q[1], NULL, 1, 0) != 1)
			_exit(97);
		sleep_ms(5000);
		_exit(0);
	}
	read_one(q[0]);
}

static void tee_on_b(void)
{
	pid_t child = fork();

	if (!child) {
		if (tee(p[0], q[1], 1, 0) != 1)
			_exit(97);
		sleep_ms(5000);
		_exit(0);
	}
	read_one(q[0]);
}

static void mk_fifo(void)
{
	unlink(DIR_ "fifo");
	if (mkfifo(DIR_ "fifo", 0600))
		exit(1);
}

static void fifo_a(void)
{
	int fd = open(DIR_ "fifo", O_RDWR);

	write_one(fd);
	sleep_ms(5000);
}

static void fifo_b(void)
{
	read_one(open(DIR_ "fifo", O_RDONLY));
}

static void mk_stream(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		exit(1);
}

static void mk_dgram(void)
{
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		exit(1);
}

static void mk_seq(void)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s))
		exit(1);
}

static void unix_a(void)
{
	write_one(s[0]);
}

static void unix_b(void)
{
	read_one(s[1]);
}

static void unix_shut_a(void)
{
	shutdown(s[0], SHUT_WR);
}

static void unix_msg_a(void)
{
	struct iovec v = { "x", 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };

	if (sendmmsg(s[0], &m, 1, 0) != 1)
		_exit(96);
}

static void unix_msg_b(void)
{
	char c;
	struct iovec v = { &c, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };

	if (recvmmsg(s[1], &m, 1, 0, NULL) != 1)
		_exit(97);
}

static void unix_close_a(void)
{
	close(s[0]);
}

static void unix_close_b(void)
{
	close(s[0]);
	read_one(s[1]);
}

static void unix_splice_a(void)
{
	struct iovec v = { "x", 1 };

	if (vmsplice(p[1], &v, 1, 0) != 1 ||
	    splice(p[0], NULL, s[0], NULL, 1, 0) != 1)
		_exit(96);
}

static void unix_splice_b(void)
{
	if (splice(s[1], NULL, q[1], NULL, 1, 0) != 1)
		_exit(97);
	read_one(q[0]);
}

static void mk_unix_pipe(void)
{
	mk_pipe();
	mk_stream();
}

static struct sockaddr_un named = { AF_UNIX, DIR_ "sock" };

static void mk_named(void)
{
	unlink(named.sun_path);
	lst = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(lst, (void *)&named, sizeof(named)) || listen(lst, 5))
		exit(1);
}

static void named_a(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (connect(fd, (void *)&named, sizeof(named)))
		_exit(96);
	sleep_ms(5000);
}

static void named_b(void)
{
	if (accept(lst, NULL, NULL) < 0)
		_exit(97);
}

static void mk_named_dgram(void)
{
	unlink(named.sun_path);
	s[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
	s[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (bind(s[1], (void *)&named, sizeof(named)))
		exit(1);
}

static void named_dgram_a(void)
{
	if (sendto(s[0], "x", 1, 0, (void *)&named, sizeof(named)) != 1)
		_exit(96);
}

/* Inet over loopback. */
static void mk_inet(int family, int type)
{
	struct sockaddr_storage a = { .ss_family = family };
	socklen_t len = sizeof(a);

	if (family == AF_INET)
		((struct sockaddr_in *)&a)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
	lst = socket(family, type, 0);
	if (bind(lst, (void *)&a,
		 family == AF_INET ? sizeof(struct sockaddr_in) :
				     sizeof(struct sockaddr_in6)))
		exit(1);
	getsockname(lst, (void *)&a, &len);
	if (type == SOCK_STREAM && listen(lst, 5))
		exit(1);
	s[0] = socket(family, type, 0);
	if (connect(s[0], (void *)&a, len))
		exit(1);
	s[1] = type == SOCK_STREAM ? accept(lst, NULL, NULL) : lst;
}

static void mk_tcp(void)
{
	mk_inet(AF_INET, SOCK_STREAM);
}

static void mk_tcp6(void)
{
	mk_inet(AF_INET6, SOCK_STREAM);
}

static void mk_udp(void)
{
	mk_inet(AF_INET, SOCK_DGRAM);
}

static void mk_udp6(void)
{
	mk_inet(AF_INET6, SOCK_DGRAM);
}

static struct sockaddr_in tcp_addr;

static void mk_tcp_listen(void)
{
	socklen_t len = sizeof(tcp_addr);

	tcp_addr.sin_family = AF_INET;
	tcp_addr.sin_port = 0;
	tcp_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	lst = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(lst, (void *)&tcp_addr, sizeof(tcp_addr)) || listen(lst, 5))
		exit(1);
	getsockname(lst, (void *)&tcp_addr, &len);
}

static void tcp_connect_a(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (void *)&tcp_addr, sizeof(tcp_addr)))
		_exit(96);
	sleep_ms(5000);
}

/* Files on tmpfs: data, names, attributes. */
static void put_file(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	if (fd < 0)
		_exit(96);
	write_one(fd);
	close(fd);
}

static void mk_file(void)
{
	int fd = open(DIR_ "file", O_CREAT | O_TRUNC | O_RDWR, 0600);

	if (fd < 0 || ftruncate(fd, 4096))
		exit(1);
	close(fd);
	unlink(DIR_ "new");
	rmdir(DIR_ "dir");
}

static int file_fd(int flags)
{
	int fd = open(DIR_ "file", flags);

	if (fd < 0)
		_exit(95);
	return fd;
}

static int held_fd; /* opened before A acts, so that only data is observed */
static void mk_open_file(void)
{
	mk_file();
	held_fd = file_fd(O_RDWR);
}

static void data_a(void)
{
	if (pwrite(held_fd, "A", 1, 0) != 1)
		_exit(96);
}

static void data_b(void)
{
	char c = 0;

	while (c != 'A')
		if (pread(held_fd, &c, 1, 0) != 1)
			_exit(97);
}

static void data_readv_b(void)
{
	char c = 0;
	struct iovec v = { &c, 1 };

	while (c != 'A')
		if (preadv2(held_fd, &v, 1, 0, 0) != 1)
			_exit(97);
}

static void data_sendfile_b(void)
{
	char c = 0;

	while (c != 'A') {
		off_t pos = 0;

		if (sendfile(p[1], held_fd, &pos, 1) != 1 ||
		    read(p[0], &c, 1) != 1)
			_exit(97);
	}
}

static void mk_file_pipe(void)
{
	mk_open_file();
	mk_pipe();
}

static void copy_range_a(void)
{
	int from = open(DIR_ "from", O_CREAT | O_RDWR, 0600);
	loff_t in = 0, out = 0;

	if (pwrite(from, "A", 1, 0) != 1 ||
	    copy_file_range(from, &in, held_fd, &out, 1, 0) != 1)
		_exit(96);
}

static void mmap_b(void)
{
	volatile char *m;

	/* A fresh mapping each time: what a mapping sees later is issue 3. */
	do {
		m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, held_fd, 0);
		if (m == MAP_FAILED)
			_exit(97);
		if (*m == 'A')
			return;
		munmap((void *)m, 4096);
	} while (1);
}

static void truncate_a(void)
{
	if (ftruncate(held_fd, 12345))
		_exit(96);
}

static void stat_b(void)
{
	struct stat st;

	do {
		if (fstat(held_fd, &st))
			_exit(97);
	} while (st.st_size != 12345);
}

static void chmod_a(void)
{
	if (fchmod(held_fd, 0640))
		_exit(96);
}

static void chmod_b(void)
{
	struct stat st;

	do {
		if (fstat(held_fd, &st))
			_exit(97);
	} while ((st.st_mode & 0777) != 0640);
}

static void xattr_a(void)
{
	if (fsetxattr(held_fd, "trusted.flow", "A", 1, 0))
		_exit(96);
}

static void xattr_b(void)
{
	char c = 0;

	while (fgetxattr(held_fd, "trusted.flow", &c, 1) != 1 || c != 'A')
		;
}

static void create_a(void)
{
	put_file(DIR_ "new");
}

static void create_b(void)
{
	while (access(DIR_ "new", F_OK))
		;
}

static void create_open_b(void)
{
	while (open(DIR_ "new", O_RDONLY | O_PATH) < 0)
		;
}

static void create_excl_b(void)
{
	/* Hears EEXIST, unless it comes first; then A finds it there. */
	while (link(DIR_ "file", DIR_ "new") == 0)
		unlink(DIR_ "new");
}

static void unlink_a(void)
{
	unlink(DIR_ "file");
}

static void unlink_b(void)
{
	while (!access(DIR_ "file", F_OK))
		;
}

static void rename_a(void)
{
	if (rename(DIR_ "file", DIR_ "new"))
		_exit(96);
}

static void mkdir_a(void)
{
	if (mkdir(DIR_ "dir", 0700))
		_exit(96);
}

static void mkdir_b(void)
{
	while (rmdir(DIR_ "dir") && errno == ENOENT)
		;
}

static void getdents_b(void)
{
	bool found = false;

	while (!found) {
		DIR *d = opendir(DIR_);
		struct dirent *e;

		while ((e = readdir(d)))
			if (!strcmp(e->d_name, "new"))
				found = true;
		closedir(d);
	}
}

/* Processes. */
static void fork_a(void)
{
	if (!fork()) {
		say("B");
		_exit(0);
	}
	sleep_ms(5000);
}

static void exec_a(void)
{
	char fd[16];

	sprintf(fd, "%d", outside_tx);
	execl("/proc/self/exe", "flows", "say", fd, NULL);
}

/* A name changes of which somebody has open what it leads to. */
static void mk_moved(void)
{
	rename(DIR_ "moved2", DIR_ "moved");
	mkdir(DIR_ "moved", 0700);
	held_fd = open(DIR_ "moved/file", O_CREAT | O_RDWR, 0600);
}

/* A file system is mounted below the directory that is renamed. */
static void unmount_moved(void)
{
	umount2(DIR_ "moved/mnt", MNT_DETACH);
	umount2(DIR_ "moved2/mnt", MNT_DETACH);
}

static void mk_moved_mount(void)
{
	unmount_moved();
	mk_moved();
	close(held_fd);
	mkdir(DIR_ "moved/mnt", 0700);
	if (mount("none", DIR_ "moved/mnt", "tmpfs", 0, NULL))
		exit(1);
	held_fd = open(DIR_ "moved/mnt/file", O_CREAT | O_RDWR, 0600);
}

static void moved_a(void)
{
	if (rename(DIR_ "moved", DIR_ "moved2"))
		_exit(96);
}

static void moved_cwd_b(void)
{
	char name[256] = "";

	if (chdir(DIR_ "moved"))
		_exit(97);
	do {
		if (!getcwd(name, sizeof(name)))
			_exit(97);
	} while (!strstr(name, "moved2"));
}

static void moved_link_b(void)
{
	char link[32], name[256] = "";

	sprintf(link, "/proc/self/fd/%d", held_fd);
	do {
		if (readlink(link, name, sizeof(name) - 1) < 0)
			_exit(97);
	} while (!strstr(name, "moved2"));
}

static void kill_a(void)
{
	if (kill(pid_b, SIGUSR1))
		_exit(96);
}

static volatile sig_atomic_t got_signal;

static void on_usr1(int sig)
{
	got_signal = 1;
}

/* In the parent: the signal must not find B without a handler. */
static void mk_signal(void)
{
	got_signal = 0;
	signal(SIGUSR1, on_usr1);
}

static void kill_b(void)
{
	while (!got_signal)
		sleep_ms(10);
}

static char shared_word[64]; /* private: copied by fork */

static void vm_write_a(void)
{
	struct iovec l = { "A", 1 }, r = { shared_word, 1 };

	if (process_vm_writev(pid_b, &l, 1, &r, 1, 0) != 1)
		_exit(96);
}

static void vm_write_b(void)
{
	while (*(volatile char *)shared_word != 'A')
		;
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
}

static void pty_a(void)
{
	write_one(slave);
}

static void pty_b(void)
{
	read_one(master);
}

static void pty_master_a(void)
{
	write_one(master);
}

static void pty_slave_b(void)
{
	read_one(slave);
}

/* A terminal that is not a pty, and job control there. */
static void mk_console(void)
{
	/* For a program that does not lead its session yet. */
	setsid();
	signal(SIGTTOU, SIG_IGN);
	slave = open("/dev/tty14", O_RDWR | O_NOCTTY);
	if (slave < 0 || (tcgetpgrp(slave) < 0 && ioctl(slave, TIOCSCTTY, 0)) ||
	    tcsetpgrp(slave, getpgrp()))
		exit(1);
}

static void console_group_a(void)
{
	if (setpgid(0, 0) || tcsetpgrp(slave, getpgrp()))
		_exit(96);
}

static void console_group_b(void)
{
	while (tcgetpgrp(slave) == getpgrp())
		sleep_ms(1);
}

static void console_held_b(void)
{
	int n;

	if (ioctl(slave, TIOCOUTQ, &n))
		_exit(97);
}

/* The leader of a session exits, and who has its terminal open reads the end. */
static void mk_hangup(void)
{
	mk_pipe();
	slave = open("/dev/tty15", O_RDWR | O_NOCTTY);
	/* The parent is told of no exit but that of who is killed in the end. */
	third = fork();
	if (third)
		return;
	if (!fork()) {
		if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0))
			_exit(97);
		read_one(p[0]);
		_exit(0);
	}
	for (;;)
		pause();
}

static void hangup_b(void)
{
	char c;

	while (read(slave, &c, 1) > 0)
		;
}

static void mk_lock(void)
{
	mk_file();
}

static void flock_hold_a(void)
{
	int fd = file_fd(O_RDWR);

	flock(fd, LOCK_EX);
	flock(fd, LOCK_UN);
}

static void fcntl_lock(short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };

	if (fcntl(file_fd(O_RDWR), F_SETLKW, &l))
		_exit(93);
}

static void fcntl_a(void)
{
	fcntl_lock(F_WRLCK);
	fcntl_lock(F_UNLCK);
}

static void fcntl_b(void)
{
	fcntl_lock(F_RDLCK);
}

static void sigpipe_a(void)
{
	close(p[0]);
}

/* B keeps no reader itself, and writes until there is none. */
static void sigpipe_b(void)
{
	close(p[0]);
	while (write(p[1], "x", 1) == 1)
		sleep_ms(10);
}

static void unix_epipe_a(void)
{
	close(s[1]);
}

static void unix_epipe_b(void)
{
	close(s[1]);
	while (send(s[0], "x", 1, MSG_NOSIGNAL) == 1)
		sleep_ms(10);
}

static void flock_b(void)
{
	int fd = file_fd(O_RDWR);

	flock(fd, LOCK_SH);
}

static int uring_op(int op, int fd, void *buf, unsigned int len)
{
	return uring_do(0, 0, op, fd, buf, len);
}

static void uring_a(void)
{
	if (uring_op(IORING_OP_WRITE, p[1], "x", 1) != 1)
		_exit(96);
}

static void uring_b(void)
{
	char c;

	if (uring_op(IORING_OP_READ, p[0], &c, 1) != 1)
		_exit(97);
}

static void uring_send_a(void)
{
	if (uring_op(IORING_OP_SEND, s[0], "x", 1) != 1)
		_exit(96);
}

static void uring_recv_b(void)
{
	char c;

	if (uring_op(IORING_OP_RECV, s[1], &c, 1) != 1)
		_exit(97);
}

static const struct flow flows[] = {
	{ "pipe write/read", mk_pipe, pipe_a, pipe_b },
	{ "pipe close/read", mk_pipe, pipe_close_a, pipe_close_b },
	{ "pipe vmsplice/read", mk_pipe, vmsplice_a, pipe_b },
	{ "pipe write/vmsplice", mk_pipe, pipe_a, vmsplice_b },
	{ "pipe write/splice+read", mk_pipe, pipe_a, splice_b },
	{ "pipe write/spliced on by another", mk_pipe, pipe_a, splice_on_b },
	{ "pipe write/teed on by another", mk_pipe, pipe_a, tee_on_b },
	{ "pipe io_uring write/read", mk_pipe, uring_a, pipe_b },
	{ "pipe write/io_uring read", mk_pipe, pipe_a, uring_b },
	{ "fifo open+write/open+read", mk_fifo, fifo_a, fifo_b },
	{ "unix stream write/read", mk_stream, unix_a, unix_b },
	{ "unix dgram write/read", mk_dgram, unix_a, unix_b },
	{ "unix seqpacket write/read", mk_seq, unix_a, unix_b },
	{ "unix stream sendmmsg/recvmmsg", mk_stream, unix_msg_a, unix_msg_b },
	{ "unix seqpacket sendmmsg/recvmmsg", mk_seq, unix_msg_a, unix_msg_b },
	{ "unix stream io_uring send/recv", mk_stream, uring_send_a,
	  uring_recv_b },
	{ "unix stream shutdown/read", mk_stream, unix_shut_a, unix_b },
	{ "unix stream close/read", mk_stream, unix_close_a, unix_close_b },
	{ "unix stream splice/splice", mk_unix_pipe, unix_splice_a,
	  unix_splice_b },
	{ "unix connect/accept", mk_named, named_a, named_b },
	{ "unix dgram sendto/read", mk_named_dgram, named_dgram_a, unix_b },
	{ "tcp loopback write/read", mk_tcp, unix_a, unix_b },
	{ "tcp6 loopback write/read", mk_tcp6, unix_a, unix_b },
	{ "tcp loopback sendmmsg/recvmmsg", mk_tcp, unix_msg_a, unix_msg_b },
	{ "tcp loopback io_uring send/recv", mk_tcp, uring_send_a,
	  uring_recv_b },
	{ "tcp loopback shutdown/read", mk_tcp, unix_shut_a, unix_b },
	{ "tcp loopback close/read", mk_tcp, unix_close_a, unix_close_b },
	{ "tcp loopback connect/accept", mk_tcp_listen, tcp_connect_a,
	  named_b },
	{ "udp loopback write/read", mk_udp, unix_a, unix_b },
	{ "udp6 loopback write/read", mk_udp6, unix_a, unix_b },
	{ "udp loopback sendmmsg/recvmmsg", mk_udp, unix_msg_a, unix_msg_b },
	{ "file pwrite/pread", mk_open_file, data_a, data_b },
	{ "file pwrite/preadv2", mk_open_file, data_a, data_readv_b },
	{ "file pwrite/sendfile to a pipe", mk_file_pipe, data_a,
	  data_sendfile_b },
	{ "file copy_file_range/pread", mk_open_file, copy_range_a, data_b },
	{ "file pwrite/mmap", mk_open_file, data_a, mmap_b },
	{ "file ftruncate/fstat", mk_open_file, truncate_a, stat_b },
	{ "file fchmod/fstat", mk_open_file, chmod_a, chmod_b },
	{ "file fsetxattr/fgetxattr", mk_open_file, xattr_a, xattr_b },
	{ "name create/access", mk_file, create_a, create_b },
	{ "name create/open", mk_file, create_a, create_open_b },
	{ "name create/link gets EEXIST", mk_file, create_a, create_excl_b,
	  true },
	{ "name unlink/no such file", mk_file, unlink_a, unlink_b },
	{ "name rename/access", mk_file, rename_a, create_b },
	{ "name rename/getcwd", mk_moved, moved_a, moved_cwd_b,
	  .early_only = true },
	{ "name rename/link of an open file", mk_moved, moved_a,
	  moved_link_b },
	{ "name rename above a mount/link of an open file", mk_moved_mount,
	  moved_a, moved_link_b },
	{ "name mkdir/rmdir", mk_file, mkdir_a, mkdir_b },
	{ "name create/getdents", mk_file, create_a, getdents_b },
	{ "fork", nothing, fork_a, NULL },
	{ "exec", nothing, exec_a, NULL },
	{ "signal", mk_signal, kill_a, kill_b, .to_b = true },
	{ "process_vm_writev", nothing, vm_write_a, vm_write_b,
	  .to_b = true },
	{ "pty slave/master", mk_pty, pty_a, pty_b },
	{ "pty master/slave", mk_pty, pty_master_a, pty_slave_b },
	{ "console tcsetpgrp/tcgetpgrp", mk_console, console_group_a,
	  console_group_b },
	{ "console exit of a leader/read", mk_hangup, pipe_a, hangup_b },
	{ "console write/TIOCOUTQ", mk_console, pty_a, console_held_b, true },
	{ "flock", mk_lock, flock_hold_a, flock_b, true },
	{ "fcntl lock", mk_lock, fcntl_a, fcntl_b, true },
	{ "pipe close/EPIPE", mk_pipe, sigpipe_a, sigpipe_b },
	{ "unix stream close/EPIPE", mk_stream, unix_epipe_a, unix_epipe_b },
};

/* The parent lets go of what it made for A and B, or nobody sees it closed. */
static void close_objects(void)
{
	int *fds[] = { &p[0], &p[1], &q[0],    &q[1],	&s[0],
		       &s[1], &lst,  &held_fd, &master, &slave };

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] > 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* The clean parent of a child that exits. */
static void run_exit(bool tainted)
{
	bool before, after;
	pid_t b = fork();

	if (!b) {
		pid_t a = fork();

		if (!a) {
			if (tainted)
				taint();
			_exit(0);
		}
		waitpid(a, NULL, 0);
		say("B");
		sleep_ms(5000);
		_exit(0);
	}
	before = heard("B", tainted ? 3 * STEP : 20 * STEP);
	if (!tainted) {
		ksft_test_result(before, "exit to wait: clean\n");
	} else {
		commit_all();
		after = before || heard("B", 3000);
		ksft_test_result(!before && after, "exit to wait: tainted\n");
	}
	drop_children(0, b);
}

int main(int argc, char **argv)
{
	unsigned int plan;

	if (argc == 3 && !strcmp(argv[1], "say")) {
		outside_tx = atoi(argv[2]);
		say("B");
		sleep_ms(5000);
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	signal(SIGPIPE, SIG_IGN);
	mkdir(DIR_, 0700);
	if (outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	plan = run_flows(flows, ARRAY_SIZE(flows));
	run_exit(true);
	run_exit(false);
	plan += 2;
	outside_close();
	unmount_moved();
	ksft_test_result(!source_close(), "modules unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
