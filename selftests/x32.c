// SPDX-License-Identifier: GPL-2.0
/* vm: own append=syscall.x32=y timeout=120 */
/*
 * Law 1 for the system calls of x32 programs, which Debian's kernel has but turns
 * off unless booted with syscall.x32=y. They share the hooks of the 64-bit ones;
 * what has a number of its own (512 and up) always waits. See waits.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/unistd.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "int80.h"
#include "waits.h"

#define X32_BIT 0x40000000
#define X32_READV 515

static char *low;

static void mk_none(void)
{
	fd = -1;
}

static void mk_zero(void)
{
	opened(open("/dev/zero", O_RDONLY));
}

static void mk_proc(void)
{
	opened(open("/proc/sys/vm/swappiness", O_RDWR));
}

static int do_getpid(void)
{
	return syscall(X32_BIT | SYS_getpid);
}

static int do_write(void)
{
	return syscall(X32_BIT | SYS_write, fd, "60", 2);
}

static int do_hostname(void)
{
	return syscall(X32_BIT | SYS_sethostname, "debian", 6);
}

static int do_key(void)
{
	return syscall(X32_BIT | SYS_add_key, "user", "x32", "x", 1, -3);
}

/* Two 32-bit fields, not two of 64. */
static int do_readv(void)
{
	unsigned int *iov = (unsigned int *)low;

	iov[0] = (uintptr_t)low + 64;
	iov[1] = 8;
	return syscall(X32_BIT | X32_READV, fd, iov, 1) == 8 ? 0 : -1;
}

static const struct wait_row rows[] = {
	{ "x32 getpid", mk_none, do_getpid, false },
	{ "x32 write /proc/sys", mk_proc, do_write, true },
	{ "x32 sethostname", mk_none, do_hostname, true },
	{ "x32 add_key", mk_none, do_key, true },
	{ "x32 readv, with a number of its own", mk_zero, do_readv, true },
};

int main(void)
{
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	if (syscall(X32_BIT | SYS_getpid) != getpid())
		ksft_exit_skip("no x32 system calls\n");
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 1);
	low = low_page();
	if (low == MAP_FAILED || outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_wait(&rows[i], taint, commit_all);
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
