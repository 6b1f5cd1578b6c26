// SPDX-License-Identifier: GPL-2.0
/*
 * Law 1 for single system calls that tell one process of another: timers that
 * both have, touched pages, files by their handle (flow/anon.c, file.c, name.c),
 * and for the entries of 32-bit programs that are wrapped by themselves. The
 * three runs are in flow.h.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include "flow.h"
#include "int80.h"

static int fd = -1, pipes[2] = { -1, -1 };

static void close_objects(void)
{
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	fd = -1;
	pipes[0] = -1;
	pipes[1] = -1;
}

static void mk_none(void)
{
}

/* Touches nothing that B looks at. */
static void a_none(void)
{
}

static void mk_timer(void)
{
	fd = timerfd_create(CLOCK_MONOTONIC, 0);
}

static void a_timer(void)
{
	struct itimerspec when = { .it_value.tv_nsec = 1 };

	timerfd_settime(fd, 0, &when, NULL);
}

static void b_timer(void)
{
	unsigned long n;

	(void)!read(fd, &n, sizeof(n));
}

static void b_gettime(void)
{
	struct itimerspec when;

	timerfd_gettime(fd, &when);
}

static void b_mincore(void)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	unsigned char in;

	mincore(page, 4096, &in);
}

#define FILE_ "/tmp/flows_calls.file"

static struct {
	struct file_handle head;
	char rest[128];
} handle;

static void mk_handle(void)
{
	int mount_id;

	close(open(FILE_, O_CREAT | O_WRONLY, 0600));
	handle.head.handle_bytes = sizeof(handle.rest);
	if (name_to_handle_at(AT_FDCWD, FILE_, &handle.head, &mount_id, 0))
		ksft_exit_fail_msg("name_to_handle_at: %m\n");
	fd = open("/tmp", O_RDONLY);
}

static void a_unlink(void)
{
	unlink(FILE_);
}

static void b_handle(void)
{
	int got;

	while ((got = open_by_handle_at(fd, &handle.head, O_PATH)) >= 0) {
		close(got);
		usleep(10000);
	}
}

/* The stack and the buffer of a 32-bit call are below 4 GiB. */
static void *low;

static void mk_pipe(void)
{
	if (!low)
		low = low_page();
	if (pipe(pipes))
		ksft_exit_fail_msg("pipe: %m\n");
}

static void a_vmsplice_32(void)
{
	unsigned int *iov = low;

	iov[0] = (unsigned int)(unsigned long)low + 64;
	iov[1] = 1;
	int80(316, pipes[1], (long)low, 1, 0, 0);
}

static void b_read(void)
{
	char c;

	(void)!read(pipes[0], &c, 1);
}

static const struct flow flows[] = {
	{ "timerfd read", mk_timer, a_timer, b_timer },
	{ "timerfd_gettime", mk_timer, a_timer, b_gettime, .late_only = true },
	{ "mincore", mk_none, a_none, b_mincore, .late_only = true },
	{ "open_by_handle_at", mk_handle, a_unlink, b_handle },
	{ "vmsplice, 32 bit", mk_pipe, a_vmsplice_32, b_read },
};

int main(void)
{
	unsigned int plan;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	if (outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	plan = run_flows(flows, ARRAY_SIZE(flows));
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
