// SPDX-License-Identifier: GPL-2.0
/* vm: own extra mem=4096 timeout=1000 */
/*
 * An unprivileged user who makes 100,000 objects or 10,000 processes dependent.
 *
 * Law 2 and 3: others are not held meanwhile (unless the table is full: then all
 * are, until the next commit), what waits is released soon after the commit, and
 * the memory comes back.  The kernel's watchdogs watch.  A bystander who depends
 * on nothing is the negative control, and so is a table that is full.
 *
 * FLOOD_OBJECTS= and FLOOD_PROCESSES= in the environment ask for other numbers.
 */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define USER		1001
#define MAX_OBJECTS	"/sys/module/speculator/parameters/max_objects"
#define DIR_		"/tmp/flood/"
#define SOON		(3000 * slowness())	/* ms */
#define FULL		40000	/* objects, for a table of half as many */

static int objects = 100000, processes = 10000;

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ksft_exit_fail_msg("%s: %m\n", path);
	close(fd);
}

/*
 * Open from the beginning: a lookup while somebody makes files by the thousand
 * takes over from him (flow/name.c), and we have to stay clean.
 */
static int objects_fd, meminfo_fd;

static void files_open(void)
{
	objects_fd = open("/sys/kernel/debug/speculator/objects", O_RDONLY);
	meminfo_fd = open("/proc/meminfo", O_RDONLY);
	if (objects_fd < 0 || meminfo_fd < 0)
		ksft_exit_fail_msg("no debugfs or no meminfo: %m\n");
}

/* The number behind a word at the start of a line. */
static long number(int fd, const char *word)
{
	size_t len = strlen(word);
	char text[4096], *line;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = 0;
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, word, len) && strchr(" :\t", line[len]))
			return strtol(line + len + 1, NULL, 0);
	return -1;
}

static long entries(void)
{
	return number(objects_fd, "all");
}

static long shared_by_all(void)
{
	return number(objects_fd, "shared_by_all");
}

/* What the kernel has in small pieces that it can't give back, in KiB. */
static long slab_kb(void)
{
	return number(meminfo_fd, "SUnreclaim");
}

static bool wait_entries(long at_least, long at_most, int ms)
{
	long long end = now_ms() + ms * slowness();
	long n;

	while (n = entries(), n < at_least || n > at_most) {
		if (now_ms() > end)
			return false;
		sleep_ms(20);
	}
	return true;
}

/* Until whoever makes them is done. */
static bool wait_stable(long at_least, int ms)
{
	long long since = now_ms(), end = since + ms * slowness();
	long last = -1, n;

	while (now_ms() < end) {
		n = entries();
		if (n != last) {
			last = n;
			since = now_ms();
		} else if (n >= at_least && now_ms() - since > 2000) {
			return true;
		}
		sleep_ms(50);
	}
	return false;
}

static void become_user(void)
{
	int most = objects > FULL ? objects : FULL;
	struct rlimit files = { most * 2 + 100, most * 2 + 100 };
	struct rlimit tasks = { processes + 100, processes + 100 };

	if (setrlimit(RLIMIT_NOFILE, &files) ||
	    setrlimit(RLIMIT_NPROC, &tasks) || setgid(USER) || setuid(USER))
		_exit(97);
}

/* A fifth each of what the kernel has most of; all are known by then. */
static void make_object(int n)
{
	char path[64];
	int fd[2];

	switch (n % 5) {
	case 0:
		if (pipe(fd) || write(fd[1], "x", 1) != 1)
			_exit(96);
		break;
	case 1:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) ||
		    write(fd[1], "x", 1) != 1)
			_exit(95);
		break;
	case 2:
		fd[0] = eventfd(0, 0);
		if (fd[0] < 0 || eventfd_write(fd[0], 1))
			_exit(94);
		break;
	default:
		snprintf(path, sizeof(path), DIR_ "%d", n);
		fd[0] = open(path, O_CREAT | O_WRONLY, 0600);
		if (fd[0] < 0 || write(fd[0], "x", 1) != 1)
			_exit(93);
		close(fd[0]);
	}
}

/* Becomes dependent and makes objects, writing to each; then waits for its end. */
static pid_t flood_objects(int n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	become_user();
	taint();
	for (int i = 0; i < n; i++)
		make_object(i);
	pause();
	_exit(0);
}

/* How long a process that depends on nothing needs to get something out. */
static long bystander(const char *text, int ms)
{
	long long start = now_ms();
	pid_t pid = fork();

	if (!pid) {
		say_alone(text);
		_exit(0);
	}
	if (!heard(text, ms))
		start = -1;
	/* Whoever waits for a process may become dependent on what it is. */
	if (start < 0)
		return -1;
	waitpid(pid, NULL, 0);
	return now_ms() - start;
}

/* The same for one that depends on something; its exit would tell us. */
static pid_t speak_later(const char *text)
{
	pid_t pid = fork();

	if (!pid) {
		taint();
		say_alone(text);
		pause();
		_exit(0);
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_objects(void)
{
	long before = slab_kb(), with, without;
	long long start = now_ms(), took;
	pid_t flood, other;
	long late, n;

	mkdir(DIR_, 0777);
	chmod(DIR_, 0777);
	flood = flood_objects(objects);
	ksft_test_result(wait_stable(objects, 20000 + 3 * objects),
			 "%d dependent objects of one user\n", objects);
	n = entries();
	with = slab_kb();
	ksft_print_msg("%ld entries, made in %lld ms, %ld KiB of kernel memory in all\n",
		       n, now_ms() - start, with - before);
	ksft_test_result(!shared_by_all(), "the table has room for them\n");
	late = bystander("beside", SOON);
	ksft_test_result(late >= 0, "who depends on nothing is not held, %ld ms\n",
			 late);
	other = speak_later("other");
	ksft_test_result(!heard("other", 500), "another user's output is held\n");
	start = now_ms();
	commit_all();
	ksft_test_result(heard("other", SOON), "and goes after the commit\n");
	ksft_print_msg("%lld ms after it\n", now_ms() - start);
	ksft_test_result(wait_entries(0, n / 100, 5000),
			 "nothing is left in the table\n");
	took = now_ms() - start;
	/* RCU gives the memory back in its own time. */
	for (int i = 0; i < 50 && with - slab_kb() < n / 12; i++)
		sleep_ms(100);
	without = slab_kb();
	ksft_print_msg("%ld bytes each, gone after %lld ms\n",
		       n ? (with - without) * 1024 / n : 0, took);
	if (slowness() > 1)
		ksft_test_result_skip("what entries take: KASAN keeps what is freed\n");
	else
		ksft_test_result(with - without > n / 12 && with - without < n / 3,
				 "an entry has taken 80 to 350 bytes, and gives them back\n");
	end(flood);
	end(other);
}

/* We depend on it as well, and must not commit: the source does by itself. */
static void test_full_table(void)
{
	pid_t flood;

	put_text(SOURCE "delay_ms", "2000");
	put_text(SOURCE "auto", "1");
	put_text(MAX_OBJECTS, "20000");
	flood = flood_objects(FULL);
	for (int i = 0; i < 600 && !shared_by_all(); i++)
		sleep_ms(50);
	ksft_test_result(shared_by_all() && entries() < 20200,
			 "a full table grows no further: %ld entries\n",
			 entries());
	ksft_test_result(bystander("full", 1000) < 0,
			 "then everybody's output waits\n");
	ksft_test_result(heard("full", SOON), "for one commit\n");
	kill(flood, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	put_text(SOURCE "auto", "0");
	put_text(MAX_OBJECTS, "262144");
	ksft_test_result(wait_entries(0, 100, 5000) && !shared_by_all() &&
			 bystander("again", SOON) >= 0,
			 "and not any more after it\n");
}

/* Every other one waits for the commit in a call, the rest have a packet held. */
static pid_t flood_processes(void)
{
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	become_user();
	setpgid(0, 0);
	for (i = 0; i < processes; i++) {
		pid = fork();
		if (pid < 0)
			break;
		if (pid)
			continue;
		taint();
		if (i % 2)
			setpriority(PRIO_PROCESS, 0, 5);
		else
			say_alone("many");
		pause();
		_exit(0);
	}
	taint();
	pause();
	_exit(0);
}

static void test_processes(void)
{
	long long start = now_ms(), took;
	int rcvbuf = 64 << 20, count = 0;
	pid_t flood, other;
	long late;

	setsockopt(outside_rx, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf,
		   sizeof(rcvbuf));
	flood = flood_processes();
	ksft_test_result(wait_stable(processes, 20000 + 40 * processes),
			 "%d dependent processes\n", processes);
	ksft_print_msg("%ld entries, made in %lld ms\n", entries(),
		       now_ms() - start);
	late = bystander("beside", SOON);
	ksft_test_result(late >= 0, "who depends on nothing is not held, %ld ms\n",
			 late);
	other = speak_later("other");
	ksft_test_result(!heard("other", 1000), "another user's output is held\n");
	start = now_ms();
	commit_all();
	for (took = 0; took < 20000 * slowness() && count < processes / 2 + 1;) {
		struct pollfd p = { .fd = outside_rx, .events = POLLIN };
		char text[64] = "";

		if (poll(&p, 1, 1000) <= 0)
			break;
		if (recv(outside_rx, text, sizeof(text), MSG_DONTWAIT) < 0)
			continue;
		took = now_ms() - start;
		if (!strncmp(text, "other", 5))
			ksft_print_msg("the other's output after %lld ms\n", took);
		count += !strncmp(text, "other", 5) || !strncmp(text, "many", 4);
	}
	ksft_test_result(count == processes / 2 + 1,
			 "all of it comes out after the commit: %d in %lld ms\n",
			 count, took);
	late = bystander("meanwhile", SOON);
	ksft_test_result(late >= 0, "and nobody is kept from it, %ld ms\n", late);
	kill(-flood, SIGKILL);
	waitpid(flood, NULL, 0);
	end(other);
	ksft_test_result(wait_entries(0, 200, 10000),
			 "nothing is left in the table: %ld\n", entries());
}

/* As source_open(); but what we make takes longer than the source is patient. */
static int patient_source_open(void)
{
	if (system("bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; "
		   "PATIENCE=300 load_modules speculator testsource' >&2"))
		return -1;
	source_taint = open(SOURCE "taint", O_RDONLY);
	source_commit = open(SOURCE "commit", O_WRONLY);
	return source_taint < 0 || source_commit < 0 ? -1 : 0;
}

int main(void)
{
	if (getenv("FLOOD_OBJECTS"))
		objects = atoi(getenv("FLOOD_OBJECTS"));
	if (getenv("FLOOD_PROCESSES"))
		processes = atoi(getenv("FLOOD_PROCESSES"));
	setlinebuf(stdout);	/* what is known when the time is up */
	ksft_print_header();
	ksft_set_plan(17);
	if (outside_open() || patient_source_open())
		ksft_exit_fail_msg("no outside or no source: %m\n");
	files_open();
	test_objects();
	test_full_table();
	test_processes();
	close(objects_fd);
	close(meminfo_fd);
	outside_close();
	if (system("rm -rf " DIR_))
		ksft_print_msg("cannot remove " DIR_ "\n");
	if (source_close())
		ksft_exit_fail_msg("cannot unload\n");
	ksft_finished();
}
