// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=420 */
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
#define ACT 3000 /* ms; by then the gate is shut */
#define TRIES 6

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
static pid_t start(const struct row *row, long long begin)
{
	pid_t parent = fork();

	if (!parent) {
		setpgid(0, 0);
		if (!fork()) {
			map(PROT_READ, row->flags);
			while (!mem[0])
				;
			/* Not because the gate was opened? */
			say(now_ms() < begin + ACT + 1500 ? "B" : "late");
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

/* The first letter of what B says within @ms; 0: nothing. */
static char answer(long long ms)
{
	struct pollfd p = { .fd = outside_rx, .events = POLLIN };
	char text[16];

	if (ms < 0 || poll(&p, 1, ms) <= 0 ||
	    recv(outside_rx, text, sizeof(text), 0) < 1)
		return 0;
	return text[0];
}

/*
 * Returns false if the try does not count: A was held up by a commit that was on
 * its way when the gate was shut, or that was late.
 */
static bool run(const struct row *row, bool xsync)
{
	static const int zero[SIZE / sizeof(int)];
	char before, after;
	long long begin;
	bool in_time;
	pid_t group;

	fd = open(GATE_MNT "/mapped", O_RDWR | O_CREAT, 0600);
	if (fd < 0 || pwrite(fd, zero, SIZE, 0) != SIZE ||
	    syncfs(fd))
		ksft_exit_fail_msg("cannot prepare the file: %m\n");
	/* On an xsync mount this makes us dependent: until the timer's commit. */
	sleep_ms(xsync ? 7000 : 0);
	begin = now_ms();
	group = start(row, begin);
	close(fd);
	sleep_ms(1000);		/* both have mapped it */
	if (gate_suspend())
		ksft_exit_fail_msg("cannot shut the gate\n");
	in_time = now_ms() - begin < ACT - 500;
	before = answer(begin + ACT + 2000 - now_ms());
	gate_resume();
	after = before ? before : answer(8000);
	kill(-group, SIGKILL);
	heard("nobody", 100);
	if (after == 'l' || !in_time)
		return false;
	ksft_test_result((before == 'B') == !xsync && after == 'B', "%s: %s\n",
			 row->name, xsync ? "xsync" : "plain mount");
	if (after != 'B')
		ksft_print_msg("never seen\n");
	return true;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 1);
	if (outside_open() || load_modules())
		ksft_exit_fail_msg("cannot set up: %m\n");
	for (int xsync = 1; xsync >= 0; xsync--) {
		/*
		 * No access time: its transaction would be committing when A
		 * acts, and hold A up.
		 */
		if (gate_lib(xsync ? "gate_setup xsync noatime" :
				     "gate_setup plain noatime"))
			ksft_exit_fail_msg("no gate\n");
		for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
			int tries = TRIES;

			while (tries && !run(&rows[i], xsync))
				tries--;
			if (!tries)
				ksft_test_result_fail("%s: no try counts\n",
						      rows[i].name);
		}
		sleep_ms(xsync ? 6000 : 0);
		gate_teardown();
	}
	outside_close();
	ksft_test_result(!unload_modules(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
