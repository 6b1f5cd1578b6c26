// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=300 */
/*
 * Law 1 for mapped files of an xsync mount: while the disk stands still, A
 * changes the file and B sees it by a load, without a system call. B must not be
 * heard before the disk moves, and soon after. Control: the same on a plain
 * mount, where B is heard at once.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "gate.h"
#include "outside.h"

#define SIZE 4096
#define ACT 8000 /* ms; by then the gate is shut */

static volatile int *mem;
static int fd;

static void a_stores(void)
{
	mem[0] = 1;
}

static void a_writes(void)
{
	int one = 1;

	if (pwrite(fd, &one, sizeof(one), 0) != sizeof(one))
		_exit(1);
}

static const struct row {
	const char *name;
	void (*a)(void);
	int flags; /* of B's mapping */
} rows[] = {
	{ "store, shared mapping", a_stores, MAP_SHARED },
	{ "store, private mapping", a_stores, MAP_PRIVATE },
	{ "pwrite, shared mapping", a_writes, MAP_SHARED },
};

static void map(int prot, int flags)
{
	mem = mmap(NULL, SIZE, prot, flags, fd, 0);
	if (mem == MAP_FAILED)
		_exit(2);
}

/* A and B are nobody's children, or the parent would learn of their exit. */
static pid_t start(const struct row *row)
{
	pid_t parent = fork();

	if (!parent) {
		setpgid(0, 0);
		if (!fork()) {
			map(PROT_READ, row->flags);
			while (!mem[0])
				;
			say("B");
			sleep_ms(20000);
			_exit(0);
		}
		if (!fork()) {
			map(PROT_READ | PROT_WRITE, MAP_SHARED);
			sleep_ms(ACT);
			row->a();
			sleep_ms(20000);
			_exit(0);
		}
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	return parent;
}

static void run(const struct row *row, bool xsync)
{
	static const int zero[SIZE / sizeof(int)];
	bool before, after;
	long long begin;
	pid_t group;

	fd = open(GATE_MNT "/mapped", O_RDWR | O_CREAT, 0600);
	if (fd < 0 || pwrite(fd, zero, SIZE, 0) != SIZE ||
	    syncfs(fd))
		ksft_exit_fail_msg("cannot prepare the file: %m\n");
	/* On an xsync mount this makes us dependent: until the timer's commit. */
	sleep_ms(xsync ? 7000 : 0);
	begin = now_ms();
	group = start(row);
	close(fd);
	sleep_ms(1000);		/* both have mapped it */
	if (gate_suspend() || now_ms() - begin > ACT - 500)
		ksft_exit_fail_msg("cannot shut the gate in time\n");
	before = heard("B", begin + ACT + 2000 - now_ms());
	gate_resume();
	after = before || heard("B", 8000);
	ksft_test_result(before == !xsync && after, "%s: %s\n", row->name,
			 xsync ? "xsync" : "plain mount");
	if (!after)
		ksft_print_msg("never seen\n");
	kill(-group, SIGKILL);
	heard("nobody", 100);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 1);
	if (outside_open() || load_modules())
		ksft_exit_fail_msg("cannot set up: %m\n");
	for (int xsync = 1; xsync >= 0; xsync--) {
		if (gate_setup(xsync))
			ksft_exit_fail_msg("no gate\n");
		for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
			run(&rows[i], xsync);
		sleep_ms(xsync ? 6000 : 0);
		gate_teardown();
	}
	outside_close();
	ksft_test_result(!unload_modules(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
