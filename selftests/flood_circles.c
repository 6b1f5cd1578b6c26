// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=120 */
/*
 * A dependent unprivileged process that passes descriptors in circles, nests
 * epolls, leads pipes into pipes, and never reads what comes.
 *
 * Law 3: nobody else is disturbed, all of it can be killed before the commit, and
 * nothing is left behind.  Law 1: what comes out at the far end is dependent.  The
 * negative control is the same by a process that depends on nothing.
 */
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define USER	1001
#define CIRCLES	500
#define NESTS	50
#define PIPES	200
#define SOON	(3000 * slowness())	/* ms */

static void become_user(void)
{
	/* Descriptors in flight count, too, and those of the run before. */
	struct rlimit files = { 8 * CIRCLES, 8 * CIRCLES };

	if (setrlimit(RLIMIT_NOFILE, &files) || setgid(USER) || setuid(USER))
		_exit(97);
}

/* Sockets in use, by /proc/net/sockstat; an exempt task takes nothing over. */
static long sockets(void)
{
	FILE *p = popen("bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; "
			"unseen head -1 /proc/net/sockstat'", "r");
	long n = -1;

	if (!p || fscanf(p, "sockets: used %ld", &n) != 1)
		n = -1;
	if (p)
		pclose(p);
	return n;
}

static void send_fd(int to, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(to, &msg, 0) != 1)
		_exit(96);
}

/* Each end is in flight to the other, and with it a socket to the outside. */
static void make_circles(void)
{
	for (int i = 0; i < CIRCLES; i++) {
		int fd[2], udp = socket(AF_INET, SOCK_DGRAM, 0);

		if (socketpair(AF_UNIX, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0,
			       fd))
			_exit(95);
		send_fd(fd[0], fd[1]);
		send_fd(fd[1], fd[0]);
		send_fd(fd[0], udp);
		close(fd[0]);
		close(fd[1]);
		close(udp);
	}
}

/* The deepest nests there may be, around one pipe; and one that is refused. */
static void nest_epolls(void)
{
	for (int i = 0; i < NESTS; i++) {
		struct epoll_event ev = { .events = EPOLLIN };
		int fd[2], inner, outer = -1;

		if (pipe(fd))
			_exit(94);
		inner = fd[0];
		for (int depth = 0; depth < 8; depth++) {
			outer = epoll_create1(0);
			if (epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev))
				break;
			inner = outer;
		}
		if (write(fd[1], "x", 1) != 1 ||
		    epoll_wait(inner, &ev, 1, 1000) != 1)
			_exit(93);
		/* A circle, which the kernel refuses. */
		if (!epoll_ctl(inner, EPOLL_CTL_ADD, outer, &ev) &&
		    !epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev))
			_exit(92);
	}
}

/* A byte through many pipes, by splice. */
static void chain_pipes(int in, int out)
{
	int from = in, fd[2];

	for (int i = 0; i < PIPES; i++) {
		if (pipe(fd) || splice(from, NULL, fd[1], NULL, 1, 0) != 1)
			_exit(91);
		close(fd[1]);
		if (from != in)
			close(from);
		from = fd[0];
	}
	if (splice(from, NULL, out, NULL, 1, 0) != 1)
		_exit(90);
}

static void fill(int fd)
{
	static char much[4096];

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, much, sizeof(much)) > 0)
		;
	if (errno != EAGAIN)
		_exit(89);
	fcntl(fd, F_SETFL, 0);
}

/* All that has a reader who does not read; a child sleeps in each write. */
static void write_unread(void)
{
	int fd[4][2], master, slave;
	struct termios raw;

	if (pipe(fd[0]) || socketpair(AF_UNIX, SOCK_STREAM, 0, fd[1]) ||
	    socketpair(AF_UNIX, SOCK_DGRAM, 0, fd[2]) ||
	    openpty(&master, &slave, NULL, NULL, NULL))
		_exit(88);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	fd[3][1] = slave;
	for (int i = 0; i < 4; i++) {
		fill(fd[i][1]);
		if (!fork()) {
			if (write(fd[i][1], "y", 1))
				_exit(87);
		}
	}
	/* And one that is never accepted, nor read. */
	make_circles();
}

/*
 * Runs @what, dependent or not, as a group of its own that waits for its end.
 * Its parent is a nurse, who becomes dependent when it dies; we must not.
 */
static pid_t start(void (*what)(void), bool dependent, const char *text,
		   pid_t *nurse)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		ksft_exit_fail_msg("pipe: %m\n");
	*nurse = fork();
	if (!*nurse) {
		signal(SIGCHLD, SIG_IGN);
		pid = fork();
		if (pid) {
			if (write(fd[1], &pid, sizeof(pid)) != sizeof(pid))
				_exit(85);
			pause();
		}
		setpgid(0, 0);
		sleep_ms(100);
		become_user();
		if (dependent)
			taint();
		what();
		say(text);
		pause();
		_exit(0);
	}
	if (read(fd[0], &pid, sizeof(pid)) != sizeof(pid))
		ksft_exit_fail_msg("no nurse: %m\n");
	close(fd[0]);
	close(fd[1]);
	return pid;
}

/* Who asks for a process takes over from it, but an exempt task does not. */
static bool kill_group(pid_t pid)
{
	long long end = now_ms() + SOON;
	bool gone = false;

	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	kill(-pid, SIGKILL);
	while (!gone && now_ms() < end) {
		gone = kill(-pid, 0) && errno == ESRCH;
		sleep_ms(50);
	}
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	return gone;
}

static void end_nurse(pid_t nurse)
{
	kill(nurse, SIGKILL);
	waitpid(nurse, NULL, 0);
}

/* Somebody who depends on nothing, beside all that. */
static bool others_work(const char *name)
{
	pid_t pid = fork();
	bool good;

	if (!pid) {
		say_alone(name);
		_exit(0);
	}
	good = heard(name, SOON);
	waitpid(pid, NULL, 0);
	return good;
}

static void run(const char *name, void (*what)(void))
{
	long before = sockets(), after = -1;
	pid_t nurse, pid;

	pid = start(what, false, "clean", &nurse);
	ksft_test_result(heard("clean", SOON), "%s: by a clean process\n", name);
	kill_group(pid);
	end_nurse(nurse);

	pid = start(what, true, "dirty", &nurse);
	/* Long enough for @what to be done and the text to be said. */
	ksft_test_result(!heard("dirty", 5000 * slowness()), "%s: held\n", name);
	ksft_test_result(others_work("beside"), "%s: nobody else is\n", name);
	ksft_test_result(kill_group(pid), "%s: can be killed\n", name);
	commit_all();
	ksft_test_result(heard("dirty", SOON),
			 "%s: what was said goes after the commit\n", name);
	end_nurse(nurse);
	for (int i = 0; i < 100 && (after < 0 || after > before); i++) {
		int fd[2];

		/* The collector runs when a local socket is closed. */
		if (!socketpair(AF_UNIX, SOCK_STREAM, 0, fd)) {
			close(fd[0]);
			close(fd[1]);
		}
		sleep_ms(100);
		after = sockets();
	}
	ksft_test_result(after <= before, "%s: nothing is left, %ld sockets of %ld\n",
			 name, after, before);
}

static int chain_in[2], chain_out[2];

static void send_through(void)
{
	if (write(chain_in[1], "x", 1) != 1)
		_exit(86);
	chain_pipes(chain_in[0], chain_out[1]);
}

/* What comes out of the last pipe carries what went into the first. */
static void test_far_end(void)
{
	char c;
	pid_t reader, pid, nurse;

	for (int dependent = 0; dependent < 2; dependent++) {
		if (pipe(chain_in) || pipe(chain_out))
			ksft_exit_fail_msg("pipe: %m\n");
		reader = fork();
		if (!reader) {
			if (read(chain_out[0], &c, 1) == 1)
				say("far end");
			pause();
		}
		pid = start(send_through, dependent, "near end", &nurse);
		ksft_test_result(heard("far end", dependent ? SOON / 2 : SOON) ==
				 !dependent, "%d pipes: %s\n", PIPES,
				 dependent ? "held at the far end" : "clean");
		commit_all();
		ksft_test_result(!dependent || heard("far end", SOON),
				 "%d pipes: out after the commit\n", PIPES);
		kill_group(pid);
		end_nurse(nurse);
		end_nurse(reader);
		for (int i = 0; i < 2; i++) {
			close(chain_in[i]);
			close(chain_out[i]);
		}
	}
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(22);
	if (outside_open() || source_open())
		ksft_exit_fail_msg("no outside or no source: %m\n");
	run("circles of descriptors", make_circles);
	run("nests of epolls", nest_epolls);
	run("what nobody reads", write_unread);
	test_far_end();
	outside_close();
	if (source_close())
		ksft_exit_fail_msg("cannot unload\n");
	ksft_finished();
}
