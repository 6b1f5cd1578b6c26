// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=240 */
/*
 * Law: on an xsync mount a call that promises durability returns at once, while
 * the disk stands still, and makes its caller dependent. Negative control: on a
 * plain mount each of them blocks until the disk moves. A kernel thread's fsync
 * (loop) is a real one on both.
 *
 * All calls of a mount run at the same time, each in its own process, so that
 * the blocked ones cost one timeout. A process that has become dependent can
 * neither print nor open the gate nor map what others could see until it is
 * open: so everything is prepared before, and goes by the clock.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest.h"
#include "gate.h"

/* Seconds after the start */
#define DIRTY	2	/* every file is written to */
#define CALL	4	/* the calls */
#define FAST	10	/* until now asynchronous ones must have returned */
#define LATE	10	/* the call of the kernel thread, whose commit disturbs */
#define SLOW	14	/* until now real ones must not have returned */
#define OPEN	15	/* the gate is opened */
#define END	60	/* all must have ended */

static char page[4096];
static double start;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_until(int second)
{
	double left = start + second - now();

	if (left > 0)
		usleep(left * 1e6);
}

static int op_fsync(int fd)
{
	return fsync(fd);
}

static int op_fdatasync(int fd)
{
	return fdatasync(fd);
}

static int op_sync(int fd)
{
	sync();
	return 0;
}

static int op_syncfs(int fd)
{
	return syncfs(fd);
}

static int op_sync_file_range(int fd)
{
	return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE |
			       SYNC_FILE_RANGE_WRITE |
			       SYNC_FILE_RANGE_WAIT_AFTER);
}

static char *map;

static int prepare_msync(int fd)
{
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return map == MAP_FAILED;
}

static int op_msync(int fd)
{
	map[7] = 'm';
	return msync(map, 4096, MS_SYNC);
}

static int reopen(int fd, int flags)
{
	char link[64], path[64] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		return -1;
	return open(path, O_WRONLY | flags);
}

static int reopened_write(int fd, int flags)
{
	int again = reopen(fd, flags);

	return again < 0 || write(again, page, 4096) != 4096;
}

static int op_o_sync(int fd)
{
	return reopened_write(fd, O_SYNC);
}

static int op_o_dsync(int fd)
{
	return reopened_write(fd, O_DSYNC);
}

static int rwf_write(int fd, int flags)
{
	struct iovec iov = { page, 4096 };

	return pwritev2(fd, &iov, 1, 0, flags) != 4096;
}

static int op_rwf_sync(int fd)
{
	return rwf_write(fd, RWF_SYNC);
}

static int op_rwf_dsync(int fd)
{
	return rwf_write(fd, RWF_DSYNC);
}

/* The handle of an O_SYNC file's fallocate waits when it is closed. */
static int op_o_sync_fallocate(int fd)
{
	int again = reopen(fd, O_SYNC);

	return again < 0 || fallocate(again, 0, 8192, 4096);
}

static aio_context_t aio;

static int prepare_aio(int fd)
{
	return syscall(SYS_io_setup, 1, &aio);
}

static int op_aio(int fd)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = fd };
	struct iocb *cbs[] = { &cb };
	struct io_event event;

	if (syscall(SYS_io_submit, aio, 1, cbs) != 1 ||
	    syscall(SYS_io_getevents, aio, 1, 1, &event, NULL) != 1)
		return -1;
	return event.res;
}

/* On an overlay, where nobody has promised anything for the file below. */
static int overlay;

static int prepare_overlay(int fd)
{
	overlay = open("/mnt/overlay/file", O_RDWR);
	return overlay < 0 || prepare_aio(fd);
}

static int op_overlay(int fd)
{
	return op_aio(overlay);
}

static int ring;
static struct io_uring_params params;
static char *sq, *cq;
static struct io_uring_sqe *sqe;

static int prepare_io_uring(int fd)
{
	ring = syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0)
		return -1;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4,
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes +
		  params.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, params.sq_entries * sizeof(*sqe),
		   PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	return sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED;
}

static int op_io_uring(int fd)
{
	struct io_uring_cqe *cqe;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_FSYNC;
	sqe->fd = fd;
	*(unsigned int *)(sq + params.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(sq + params.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) != 1)
		return -1;
	cqe = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	return cqe->res;
}

static int op_fsync_dir(int fd)
{
	int dir = open(GATE_MNT "/dir", O_RDONLY);

	return dir < 0 || mkdirat(dir, "new", 0755) || fsync(dir);
}

static int op_dirsync(int fd)
{
	return mkdir(GATE_MNT "/dirsync/new", 0755);
}

static int device;

static int prepare_loop(int fd)
{
	device = open("/dev/loop7", O_RDWR);
	return device < 0;
}

/* The fsync of the loop device ends in an fsync of the file by a kworker. */
static int op_loop(int fd)
{
	return pwrite(device, page, 4096, 0) != 4096 || fsync(device);
}

/* A device without anything to do with the mount. */
static int prepare_raw(int fd)
{
	device = open("/dev/loop6", O_RDWR);
	return device < 0;
}

/* Somebody else has written the file: only fsync can make us dependent. */
static int op_raw_after_fsync(int fd)
{
	return fsync(fd) || pwrite(device, page, 4096, 0) != 4096;
}

static int op_raw(int fd)
{
	return pwrite(device, page, 4096, 0) != 4096;
}

enum { RETURNS, BLOCKS };

/**
 * struct op - a call
 * @name: what it is
 * @run: does it; 0 if it has succeeded
 * @plain: on a plain mount
 * @xsync: on an xsync mount
 * @prepare: what a dependent process could not do
 * @other: somebody else writes to the file
 * @at: when, instead of CALL
 */
static const struct op {
	const char *name;
	int (*run)(int fd);
	int plain, xsync;
	int (*prepare)(int fd);
	bool other;
	int at;
} ops[] = {
	{ "fsync", op_fsync, BLOCKS, RETURNS },
	{ "fdatasync", op_fdatasync, BLOCKS, RETURNS },
	{ "sync", op_sync, BLOCKS, RETURNS },
	{ "syncfs", op_syncfs, BLOCKS, RETURNS },
	{ "sync_file_range", op_sync_file_range, BLOCKS, RETURNS },
	{ "mmap store, msync(MS_SYNC)", op_msync, BLOCKS, RETURNS,
	  prepare_msync },
	{ "O_SYNC write", op_o_sync, BLOCKS, RETURNS },
	{ "O_DSYNC write", op_o_dsync, BLOCKS, RETURNS },
	{ "RWF_SYNC write", op_rwf_sync, BLOCKS, RETURNS },
	{ "RWF_DSYNC write", op_rwf_dsync, BLOCKS, RETURNS },
	{ "O_SYNC fallocate", op_o_sync_fallocate, BLOCKS, RETURNS },
	{ "AIO fsync", op_aio, BLOCKS, RETURNS, prepare_aio },
	{ "AIO fsync through an overlay", op_overlay, BLOCKS, BLOCKS,
	  prepare_overlay, true },
	{ "io_uring fsync", op_io_uring, BLOCKS, RETURNS, prepare_io_uring },
	{ "mkdir, fsync of the directory", op_fsync_dir, BLOCKS, RETURNS },
	{ "mkdir in a dirsync directory", op_dirsync, BLOCKS, RETURNS },
	{ "fsync of a loop device on it", op_loop, BLOCKS, BLOCKS,
	  prepare_loop, true, LATE },
	{ "a raw write after fsync", op_raw_after_fsync, BLOCKS, BLOCKS,
	  prepare_raw, true },
	{ "a raw write without", op_raw, RETURNS, RETURNS, prepare_raw, true },
};

#define NR_OPS ((int)ARRAY_SIZE(ops))

/**
 * struct run - one call in its process
 * @pid: the process
 * @file: it works on
 * @early: it returned while the gate was shut
 * @status: of the process, -1 while it runs
 */
static struct run {
	pid_t pid;
	int file;
	bool early;
	int status;
} runs[32];

/* Collect processes until all have ended or it is time. */
static void collect(int second)
{
	bool left;
	int i;

	do {
		left = false;
		for (i = 0; i < NR_OPS; i++) {
			int status;

			if (runs[i].status != -1)
				continue;
			if (waitpid(runs[i].pid, &status, WNOHANG) ==
			    runs[i].pid)
				runs[i].status = status;
			else
				left = true;
		}
		usleep(50000);
	} while (left && now() < start + second);
}

/*
 * Nobody who depends on the disk can open the gate. So the porter is there
 * before anybody does, and starts no other program: a new process may get the
 * address space, and with it the key, of one that depended and has exited.
 */
static int open_gate(int control)
{
	struct dm_ioctl io = {
		.version = { DM_VERSION_MAJOR, 0, 0 },
		.data_size = sizeof(io),
		.name = "gate",
	};

	return ioctl(control, DM_DEV_SUSPEND, &io);	/* without the flag */
}

/* Everything is durable, on any mount. */
static void commit_all(void)
{
	if (system("fsfreeze -f " GATE_MNT " && fsfreeze -u " GATE_MNT))
		ksft_exit_fail_msg("fsfreeze\n");
}

static void prepare(void)
{
	int dir, flags = FS_DIRSYNC_FL, i;
	char path[64];

	mkdir(GATE_MNT "/dir", 0755);
	mkdir(GATE_MNT "/dirsync", 0755);
	dir = open(GATE_MNT "/dirsync", O_RDONLY);
	if (dir < 0 || ioctl(dir, FS_IOC_SETFLAGS, &flags))
		ksft_exit_fail_msg("dirsync: %m\n");
	close(dir);
	for (i = 0; i < NR_OPS; i++) {
		snprintf(path, sizeof(path), GATE_MNT "/file%d", i);
		runs[i].file = open(path, O_RDWR | O_CREAT, 0600);
		if (runs[i].file < 0 || write(runs[i].file, page, 4096) != 4096)
			ksft_exit_fail_msg("%s: %m\n", path);
		if (ops[i].prepare == prepare_overlay &&
		    (mkdir(GATE_MNT "/upper", 0755) ||
		     link(path, GATE_MNT "/upper/file")))
			ksft_exit_fail_msg("overlay: %m\n");
	}
	if (system("modprobe overlay && mkdir -p /mnt/overlay /tmp/lower " GATE_MNT
		   "/work && mount -t overlay none -o lowerdir=/tmp/lower,upperdir="
		   GATE_MNT "/upper,workdir=" GATE_MNT "/work /mnt/overlay"))
		ksft_exit_fail_msg("overlay\n");
	if (system("modprobe loop && truncate -s 1M " GATE_MNT "/image && "
		   "losetup /dev/loop7 " GATE_MNT "/image && "
		   "truncate -s 1M /tmp/image && losetup /dev/loop6 /tmp/image"))
		ksft_exit_fail_msg("losetup\n");
	commit_all();
}

static void run_op(const struct op *op, int fd)
{
	if (op->prepare && op->prepare(fd))
		_exit(2);
	sleep_until(DIRTY);
	if (!op->other && pwrite(fd, "dirty", 5, 0) != 5)
		_exit(3);
	sleep_until(op->at ? op->at : CALL);
	_exit(!!op->run(fd));
}

static void check_mount(bool xsync)
{
	const char *kind = xsync ? "xsync" : "plain";
	bool unfinished = false;
	int control, i, status;
	pid_t other, porter;

	/*
	 * No commit by the timer: while one is stuck, jbd2 lets nobody modify
	 * the blocks it is writing, and a write could block where fsync did not
	 */
	if (gate_lib(xsync ? "gate_setup xsync commit=300" :
		     "gate_setup plain commit=300"))
		ksft_exit_fail_msg("no %s mount\n", kind);
	prepare();
	gate_suspend();
	start = now();

	control = open("/dev/mapper/control", O_RDWR);
	porter = fork();
	if (!porter) {
		sleep_until(OPEN);
		_exit(!!open_gate(control));
	}
	other = fork();
	if (!other) {
		sleep_until(DIRTY);
		for (i = 0; i < NR_OPS; i++)
			if (ops[i].other &&
			    pwrite(runs[i].file, "dirty", 5, 0) != 5)
				_exit(1);
		_exit(0);
	}
	for (i = 0; i < NR_OPS; i++) {
		runs[i].status = -1;
		runs[i].pid = fork();
		if (!runs[i].pid) {
			/* Who depends on something waits to close a device. */
			close(control);
			run_op(&ops[i], runs[i].file);
		}
	}
	collect(FAST);
	for (i = 0; i < NR_OPS; i++)
		runs[i].early = runs[i].status != -1;
	collect(SLOW);
	for (i = 0; i < NR_OPS; i++)
		if ((xsync ? ops[i].xsync : ops[i].plain) == BLOCKS)
			runs[i].early = runs[i].status != -1;

	collect(END);
	waitpid(other, NULL, 0);
	waitpid(porter, &status, 0);
	close(control);
	if (status)
		ksft_exit_fail_msg("the gate stays shut\n");
	for (i = 0; i < NR_OPS; i++) {
		bool blocks = (xsync ? ops[i].xsync : ops[i].plain) == BLOCKS;

		unfinished |= runs[i].status == -1;
		ksft_test_result(runs[i].early == !blocks,
				 "%s: %s %s while the gate is shut\n", kind,
				 ops[i].name, blocks ? "blocks" : "returns");
		ksft_test_result(!runs[i].status, "%s: %s has succeeded\n",
				 kind, ops[i].name);
		if (runs[i].status)
			ksft_print_msg("status 0x%x\n", runs[i].status);
		close(runs[i].file);
	}
	ksft_test_result(!unfinished, "%s: all have ended once it is open\n",
			 kind);
	if (system("losetup -d /dev/loop7; losetup -d /dev/loop6; umount /mnt/overlay"))
		ksft_print_msg("losetup -d or umount failed\n");
	ksft_test_result(!gate_teardown(), "%s: umount\n", kind);
}

int main(void)
{
	if (load_modules())
		ksft_exit_fail_msg("no modules\n");
	ksft_print_header();
	ksft_set_plan(2 * (2 * NR_OPS + 2) + 1);
	check_mount(false);
	check_mount(true);
	ksft_test_result(!unload_modules(), "the modules can be unloaded\n");
	ksft_finished();
}
