// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 timeout=300 */
/*
 * What passes a dependency on: answers about files, overlays, raw disks, and
 * what the kernel does for a process in a thread or program of its own; see
 * flow.h.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdalign.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#define STEP 250 /* a disk below, and programs that are started */
#include "flow.h"
#include "uring.h"

#define DIR_ "/tmp/fs_flows/"
#define DISK "/mnt/fs_flows/disk/"
#define OVERLAY "/mnt/fs_flows/overlay/"
#define XFS "/mnt/fs_flows/xfs/"
#define VFAT "/mnt/fs_flows/vfat/"

static int p[2] = { -1, -1 };

static void nothing(void)
{
}

static int open_file(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	if (fd < 0)
		_exit(95);
	return fd;
}

static void mk_in(const char *path)
{
	unlink(path);
	close(open_file(path));
}

static void append(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	if (write(fd, "x", 1) != 1)
		_exit(96);
	close(fd);
}

static void mk_file(void)
{
	mk_in(DIR_ "file");
	mk_in(DIR_ "copy");
	chmod(DIR_, 0755);
}

/* Opened before the change: nothing is learnt by opening. */
static int early_fd = -1;

static void mk_opened(void)
{
	mk_file();
	early_fd = open_file(DIR_ "file");
}

static void mk_disk(void)
{
	mk_in(DISK "file");
	early_fd = open_file(DISK "file");
}

static void file_a(void)
{
	append(DIR_ "file");
}

static void disk_a(void)
{
	append(DISK "file");
}

static void seek_end_b(void)
{
	lseek(early_fd, 0, SEEK_END);
}

static void seek_data_b(void)
{
	lseek(early_fd, 0, SEEK_DATA);
}

static void fionread_b(void)
{
	int n;

	ioctl(early_fd, FIONREAD, &n);
}

static void flags_a(void)
{
	int flags;

	ioctl(early_fd, FS_IOC_GETFLAGS, &flags);
	flags ^= FS_NODUMP_FL;
	if (ioctl(early_fd, FS_IOC_SETFLAGS, &flags))
		_exit(96);
}

static void flags_b(void)
{
	int flags;

	ioctl(early_fd, FS_IOC_GETFLAGS, &flags);
}

static void fiemap_b(void)
{
	struct fiemap map = { .fm_length = 4096 };

	ioctl(early_fd, FS_IOC_FIEMAP, &map);
}

static void statfs_b(void)
{
	struct statfs st;

	statfs("/tmp", &st);
}

static void fstatfs_b(void)
{
	struct statfs st;

	fstatfs(early_fd, &st);
}

static void chmod_a(void)
{
	chmod(DIR_, 0);
}

static void eacces_b(void)
{
	if (setresuid(65534, 65534, 65534) || open(DIR_ "file", O_RDONLY) >= 0)
		_exit(97);
}

static void copy_b(void)
{
	int to = open_file(DIR_ "copy");
	loff_t off = 0;

	copy_file_range(early_fd, &off, to, NULL, 1, 0);
}

static void sendfile_b(void)
{
	int to = open_file(DIR_ "copy");
	off_t off = 0;

	sendfile(to, early_fd, &off, 1);
}

static void mk_xfs(void)
{
	mk_in(XFS "file");
	mk_in(XFS "copy");
	early_fd = open_file(XFS "file");
}

static void xfs_a(void)
{
	append(XFS "file");
}

/* The clone is read by a process that does not know the original. */
static void clone_b(void)
{
	pid_t child = fork();

	if (!child) {
		ioctl(open_file(XFS "copy"), FICLONE, early_fd);
		sleep_ms(5000);
		_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		char c;
		int fd = open(XFS "copy", O_RDONLY);

		if (read(fd, &c, 1) == 1)
			return;
		close(fd);
		sleep_ms(20);
	}
}

static void mk_overlay(void)
{
	mk_in(OVERLAY "file");
	unlink(OVERLAY "new");
	unlink(OVERLAY "other");
}

static void overlay_write_a(void)
{
	append(OVERLAY "file");
}

static void overlay_read_b(void)
{
	char c;

	if (read(open(OVERLAY "file", O_RDONLY), &c, 1) < 0)
		_exit(97);
}

static void overlay_new_a(void)
{
	close(open_file(OVERLAY "new"));
}

static void overlay_stat_b(void)
{
	struct stat st;

	stat(OVERLAY "new", &st);
}

static void overlay_access_b(void)
{
	access(OVERLAY "new", F_OK);
}

static alignas(4096) char sector[4096];

static void raw_b(void)
{
	if (read(open("/dev/ram3", O_RDONLY), sector, 4096) != 4096)
		_exit(97);
}

static void raw_direct_b(void)
{
	if (read(open("/dev/ram3", O_RDONLY | O_DIRECT), sector, 4096) != 4096)
		_exit(97);
}

static void mk_vfat(void)
{
	mk_in(VFAT "file");
	early_fd = open(VFAT "file", O_RDONLY | O_DIRECT);
}

static void vfat_a(void)
{
	append(VFAT "file");
}

static void vfat_b(void)
{
	if (read(early_fd, sector, 4096) < 0)
		_exit(97);
}

/* --- threads of the kernel ------------------------------------------------ */

static void mk_pipe(void)
{
	if (pipe(p))
		exit(1);
}

static void pipe_a(void)
{
	if (write(p[1], "x", 1) != 1)
		_exit(96);
}

static void pipe_b(void)
{
	char c;

	if (read(p[0], &c, 1) < 0)
		_exit(97);
}

static void ring_write(unsigned int setup, unsigned int flags)
{
	if (uring_do(setup, flags, IORING_OP_WRITE, p[1], "x", 1) != 1)
		_exit(96);
}

static void ring_read(unsigned int setup, unsigned int flags)
{
	char c;

	if (uring_do(setup, flags, IORING_OP_READ, p[0], &c, 1) != 1)
		_exit(97);
}

static void ring_say(unsigned int setup, unsigned int flags)
{
	if (uring_do(setup, flags, IORING_OP_SEND, outside_tx, "B", 1) != 1)
		_exit(98);
}

static void sqpoll_write_a(void)
{
	ring_write(IORING_SETUP_SQPOLL, 0);
}

static void sqpoll_read_b(void)
{
	ring_read(IORING_SETUP_SQPOLL, 0);
}

static void sqpoll_say_a(void)
{
	ring_say(IORING_SETUP_SQPOLL, 0);
}

static void async_write_a(void)
{
	ring_write(0, IOSQE_ASYNC);
}

static void async_read_b(void)
{
	ring_read(0, IOSQE_ASYNC);
}

static void async_say_a(void)
{
	ring_say(0, IOSQE_ASYNC);
}

static void aio(int op, int fd)
{
	aio_context_t ctx = 0;
	char c = 'x';
	struct iocb cb = { .aio_lio_opcode = op, .aio_fildes = fd,
			   .aio_buf = (unsigned long)&c, .aio_nbytes = 1 };
	struct iocb *list = &cb;
	struct io_event event;

	if (syscall(SYS_io_setup, 1, &ctx) ||
	    syscall(SYS_io_submit, ctx, 1, &list) != 1 ||
	    syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
		_exit(96);
}

static void aio_write_a(void)
{
	aio(IOCB_CMD_PWRITE, open_file(DIR_ "file"));
}

static void aio_read_b(void)
{
	aio(IOCB_CMD_PREAD, early_fd);
}

static void read_b(void)
{
	char c;

	if (pread(early_fd, &c, 1, 0) < 0)
		_exit(97);
}

/* --- programs that the kernel starts -------------------------------------- */

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ksft_exit_fail_msg("%s: %m\n", path);
	close(fd);
}

static void mk_helper(void)
{
	put_text(DIR_ "helper",
		 "#!/bin/bash\necho B > /dev/udp/" OUTSIDE_ADDR "/7\n");
	put_text("/proc/sys/kernel/modprobe", DIR_ "helper");
	put_text("/proc/sys/kernel/core_pattern", "|" DIR_ "helper");
	chmod(DIR_, 0755);
}

static void modprobe_a(void)
{
	socket(AF_X25, SOCK_SEQPACKET, 0);
}

static void core_a(void)
{
	if (!fork()) {
		struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

		setrlimit(RLIMIT_CORE, &unlimited);
		abort();
	}
}

static const struct flow flows[] = {
	{ "SEEK_END", mk_opened, file_a, seek_end_b, true },
	{ "SEEK_DATA", mk_opened, file_a, seek_data_b, true },
	{ "FIONREAD of a file", mk_opened, file_a, fionread_b, true },
	{ "FS_IOC_GETFLAGS", mk_disk, flags_a, flags_b, true },
	{ "FIEMAP", mk_disk, disk_a, fiemap_b, true },
	{ "statfs", mk_file, file_a, statfs_b, true },
	{ "fstatfs", mk_disk, disk_a, fstatfs_b, true },
	{ "EACCES on tmpfs", mk_file, chmod_a, eacces_b, true },
	{ "copy_file_range", mk_opened, file_a, copy_b, true },
	{ "sendfile to a file", mk_opened, file_a, sendfile_b, true },
	{ "FICLONE", mk_xfs, xfs_a, clone_b, true },
	{ "overlay write/read", mk_overlay, overlay_write_a, overlay_read_b,
	  true },
	{ "overlay create/stat", mk_overlay, overlay_new_a, overlay_stat_b,
	  true },
	{ "overlay create/access", mk_overlay, overlay_new_a, overlay_access_b,
	  true },
	{ "raw read of a disk", nothing, nothing, raw_b, true },
	{ "raw direct read of a disk", nothing, nothing, raw_direct_b, true },
	{ "direct read on vfat", mk_vfat, vfat_a, vfat_b, true },
	{ "SQPOLL write", mk_pipe, sqpoll_write_a, pipe_b },
	{ "SQPOLL read", mk_pipe, pipe_a, sqpoll_read_b },
	{ "SQPOLL send to the outside", nothing, sqpoll_say_a },
	{ "io worker write", mk_pipe, async_write_a, pipe_b },
	{ "io worker read", mk_pipe, pipe_a, async_read_b },
	{ "io worker send to the outside", nothing, async_say_a },
	{ "AIO write", mk_opened, aio_write_a, read_b, true },
	{ "AIO read", mk_opened, file_a, aio_read_b, true },
	{ "modprobe", mk_helper, modprobe_a },
	{ "core dump handler", mk_helper, core_a },
};

static void close_objects(void)
{
	close(p[0]);
	close(p[1]);
	close(early_fd);
	p[0] = -1;
	p[1] = -1;
	early_fd = -1;
}

static void set_up(void)
{
	mkdir(DIR_, 0755);
	if (system("modprobe -a brd ext4 overlay xfs loop && "
		   "mkdir -p " DISK " " OVERLAY " " XFS " " DIR_ "/ovl && "
		   "mkfs.ext4 -q -F /dev/ram4 && mount /dev/ram4 " DISK " && "
		   "mount -t tmpfs none " DIR_ "/ovl && cd " DIR_ "/ovl && "
		   "mkdir u w l && touch l/lower && "
		   "mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none "
		   OVERLAY " && truncate -s 400M /tmp/fs_flows.xfs && "
		   "mkfs.xfs -q /tmp/fs_flows.xfs && "
		   "mount -o loop /tmp/fs_flows.xfs " XFS " && mkdir -p " VFAT
		   " && mkfs.vfat /dev/ram5 > /dev/null && "
		   "modprobe -a vfat nls_cp437 nls_ascii && "
		   "mount -t vfat /dev/ram5 " VFAT) ||
	    outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
}

static void tear_down(void)
{
	put_text("/proc/sys/kernel/modprobe", "/sbin/modprobe");
	put_text("/proc/sys/kernel/core_pattern", "core");
	outside_close();
	if (system("umount " DISK " " OVERLAY " " XFS " " VFAT " " DIR_ "/ovl"))
		ksft_print_msg("umount failed\n");
}

int main(void)
{
	unsigned int plan;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	set_up();
	plan = run_flows(flows, ARRAY_SIZE(flows));
	tear_down();
	ksft_test_result(!source_close(), "modules unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
