// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=90 */
/*
 * A dependent process, asleep in a wait for the commit or not, meets the cgroup
 * freezer, the OOM killer, and writes its core to a file. Nothing hangs, and
 * nothing is said before the commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define CGROUP "/sys/fs/cgroup/fs_helpers/"
#define DIR_ "/tmp/fs_helpers/"
#define STEP 300

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ksft_exit_fail_msg("%s: %m\n", path);
	close(fd);
}

static bool frozen(void)
{
	char text[64] = "";
	int fd = open(CGROUP "cgroup.events", O_RDONLY);

	if (read(fd, text, sizeof(text) - 1) < 0)
		return false;
	close(fd);
	return strstr(text, "frozen 1");
}

static void join(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	put_text(CGROUP "cgroup.procs", pid);
}

/* A process that is dependent, and then sleeps in a call that waits. */
static pid_t waiter(void)
{
	pid_t a = fork();

	if (!a) {
		join();
		taint();
		if (sethostname("waiter", 6))
			_exit(96);
		say("waited");
		sleep_ms(10000);
		_exit(0);
	}
	sleep_ms(STEP);
	return a;
}

static void end(pid_t a)
{
	kill(a, SIGKILL);
	waitpid(a, NULL, 0);
}

static void test_freezer(void)
{
	pid_t a = waiter();

	put_text(CGROUP "cgroup.freeze", "1");
	sleep_ms(STEP);
	/* As in any wait for the disk: it freezes when it leaves the call. */
	ksft_test_result(!frozen(), "a waiter freezes after the commit\n");
	commit_all();
	for (int i = 0; i < 20 && !frozen(); i++)
		sleep_ms(100);
	ksft_test_result(frozen(), "and then it does\n");
	ksft_test_result(!heard("waited", STEP), "and says nothing\n");
	put_text(CGROUP "cgroup.freeze", "0");
	ksft_test_result(heard("waited", 3000), "until it is thawed\n");
	end(a);

	a = fork();
	if (!a) {
		join();
		taint();
		sleep_ms(2 * STEP);
		say("thawed");
		sleep_ms(10000);
		_exit(0);
	}
	sleep_ms(STEP);
	put_text(CGROUP "cgroup.freeze", "1");
	for (int i = 0; i < 20 && !frozen(); i++)
		sleep_ms(100);
	ksft_test_result(frozen(), "a dependent process freezes\n");
	commit_all();
	put_text(CGROUP "cgroup.freeze", "0");
	ksft_test_result(heard("thawed", 3000), "and goes on\n");
	end(a);
}

/*
 * Who sees a dependent process die depends on the same: it cannot make the
 * commit any more that lets it go on.
 */
static void commit_later(void)
{
	if (!fork()) {
		sleep_ms(30 * STEP);
		commit_all();
		_exit(0);
	}
}

/* Dies within a second or so, long before the commit? */
static bool dies(pid_t a)
{
	for (int i = 0; i < 20; i++) {
		if (waitpid(a, NULL, WNOHANG) == a)
			return true;
		sleep_ms(STEP);
	}
	return false;
}

static void test_kill(void)
{
	bool died;
	pid_t a;

	commit_later();
	a = waiter();
	put_text(CGROUP "cgroup.freeze", "1");
	kill(a, SIGKILL);
	died = dies(a);
	put_text(CGROUP "cgroup.freeze", "0");
	ksft_test_result(died, "a waiter in a frozen group is killed\n");
	while (wait(NULL) > 0)
		;
	ksft_test_result(!heard("waited", 0), "and has said nothing\n");
}

static void test_oom(void)
{
	bool died;
	pid_t a, hog;

	put_text(CGROUP "memory.max", "20M");
	put_text(CGROUP "memory.oom.group", "1");
	commit_later();
	hog = fork();
	if (!hog) {
		join();
		sleep_ms(2 * STEP);
		memset(mmap(NULL, 100 << 20, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 100 << 20);
		_exit(0);
	}
	a = waiter();
	died = dies(a);
	ksft_test_result(died, "the OOM killer kills a waiter\n");
	while (wait(NULL) > 0)
		;
	ksft_test_result(!heard("waited", 0), "which has said nothing\n");
}

/* B reads the core that A has left in a file. */
static void test_core(bool tainted)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	bool before, after;
	pid_t a, b;

	unlink(DIR_ "core");
	a = fork();
	if (!a) {
		if (!fork()) {
			setrlimit(RLIMIT_CORE, &unlimited);
			if (tainted)
				taint();
			abort();
		}
		sleep_ms(10000);
		_exit(0);
	}
	b = fork();
	if (!b) {
		char c;
		int fd;

		while ((fd = open(DIR_ "core", O_RDONLY)) < 0 ||
		       read(fd, &c, 1) != 1)
			sleep_ms(50);
		say("core");
		sleep_ms(10000);
		_exit(0);
	}
	before = heard("core", tainted ? 4 * STEP : 3000);
	commit_all();
	after = before || heard("core", 3000);
	ksft_test_result(before == !tainted && after, "core dump to a file: %s\n",
			 tainted ? "dependent" : "clean");
	end(a);
	end(b);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(13);
	mkdir(DIR_, 0755);
	put_text("/proc/sys/kernel/core_pattern", DIR_ "core");
	put_text("/proc/sys/kernel/core_uses_pid", "0");
	if (system("mkdir -p /sys/fs/cgroup && "
		   "mount -t cgroup2 none /sys/fs/cgroup && "
		   "echo +memory > /sys/fs/cgroup/cgroup.subtree_control && "
		   "mkdir " CGROUP) ||
	    outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	test_freezer();
	test_core(true);
	test_core(false);
	test_kill();
	test_oom();
	put_text("/proc/sys/kernel/core_pattern", "core");
	rmdir(CGROUP);
	umount("/sys/fs/cgroup");
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
