// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=180 */
/*
 * What a dependent process does to file systems that are no xsync mounts: it
 * waits before anything reaches another disk or another machine by what it
 * does, and does not wait for what stays in memory.
 */
#include <linux/fs.h>
#include <stdalign.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include "fuse_server.h"
#include "waits.h"

#define DISK "/mnt/fs_waits/disk"
#define SYNC_DISK "/mnt/fs_waits/sync"
#define FUSE "/mnt/fs_waits/fuse"
#define OVERLAY "/mnt/fs_waits/overlay"

static void mk_none(void)
{
	fd = -1;
}

static void mk_file(void)
{
	opened(open(DISK "/file", O_CREAT | O_RDWR, 0600));
	if (ftruncate(fd, 8192))
		ksft_exit_fail_msg("ftruncate: %m\n");
}

static void mk_osync(void)
{
	opened(open(DISK "/file", O_CREAT | O_RDWR | O_SYNC, 0600));
}

static void mk_odsync(void)
{
	opened(open(DISK "/file", O_CREAT | O_RDWR | O_DSYNC, 0600));
}

static void mk_direct(void)
{
	opened(open(DISK "/file", O_CREAT | O_RDWR | O_DIRECT, 0600));
}

static void mk_sync_disk(void)
{
	opened(open(SYNC_DISK "/file", O_CREAT | O_RDWR, 0600));
}

static void mk_tmpfs(void)
{
	opened(open("/tmp/fs_waits", O_CREAT | O_RDWR | O_SYNC, 0600));
}

static void mk_overlay(void)
{
	opened(open(OVERLAY "/file", O_CREAT | O_RDWR, 0600));
}

static void mk_fuse(void)
{
	opened(open(FUSE "/file", O_RDWR));
}

/*
 * In the process that acts: who shares a mapping with a dependent process is
 * dependent, too.
 */
static volatile char *map(void)
{
	char *got = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (got == MAP_FAILED)
		_exit(95);
	return got;
}

static int do_write(void)
{
	static alignas(4096) char page[4096];

	return pwrite(fd, page, sizeof(page), 0);
}

static int do_rwf_dsync(void)
{
	struct iovec v = { "x", 1 };

	return pwritev2(fd, &v, 1, 0, RWF_DSYNC);
}

static int do_mkdir(void)
{
	return mkdir(SYNC_DISK "/dir", 0700) && errno != EEXIST ? -1 : 0;
}

static int do_fsync(void)
{
	return write(fd, "x", 1) == 1 ? fsync(fd) : -1;
}

static int do_msync(void)
{
	volatile char *page = map();

	*page = 1;
	return msync((void *)page, 4096, MS_SYNC);
}

static int do_store(void)
{
	*map() = 1;
	return 0;
}

/* Nobody may drop mmap_lock for this one. */
static int do_read_into_map(void)
{
	int zero = open("/dev/zero", O_RDONLY);

	return read(zero, (void *)map(), 4096) == 4096 ? 0 : -1;
}

static int do_sync(void)
{
	sync();
	return 0;
}

static int do_close(void)
{
	return close(fd);
}

static int do_setquota(void)
{
	struct dqblk q = { .dqb_bhardlimit = 1000, .dqb_valid = QIF_BLIMITS };

	return quotactl(QCMD(Q_SETQUOTA, USRQUOTA), "/dev/ram1", 1000,
			(void *)&q);
}

static const struct wait_row rows[] = {
	{ "buffered write to another disk", mk_file, do_write, false },
	{ "store through a mapping of another disk", mk_file, do_store,
	  false },
	{ "O_SYNC write", mk_osync, do_write, true },
	{ "O_DSYNC write", mk_odsync, do_write, true },
	{ "O_DIRECT write", mk_direct, do_write, true },
	{ "RWF_DSYNC write", mk_file, do_rwf_dsync, true },
	{ "write to a sync mount", mk_sync_disk, do_write, true },
	{ "mkdir on a sync mount", mk_none, do_mkdir, true },
	{ "msync", mk_file, do_msync, true },
	{ "sync", mk_none, do_sync, true },
	{ "set a quota", mk_none, do_setquota, true },
	{ "O_SYNC write on tmpfs", mk_tmpfs, do_write, false },
	{ "fsync through an overlay in memory", mk_overlay, do_fsync, false },
	{ "write to FUSE", mk_fuse, do_write, true },
	{ "store through a mapping of FUSE", mk_fuse, do_store, true },
	{ "read into a mapping of FUSE", mk_fuse, do_read_into_map, true },
	{ "close of a FUSE file", mk_fuse, do_close, true },
};

/* fsync by a clean process of what a dependent one has written. */
static void test_fsync_of_others(void)
{
	pid_t a, b;
	int waited = -1;
	char buf[64];

	mk_file();
	a = fork();
	if (!a) {
		taint();
		do_write();
		sleep_ms(5000);
		_exit(0);
	}
	b = fork();
	if (!b) {
		long long t;

		sleep_ms(100);
		t = now_ms();
		fsync(fd);
		snprintf(buf, sizeof(buf), "%lld", now_ms() - t);
		say(buf);
		sleep_ms(5000);
		_exit(0);
	}
	sleep_ms(COMMIT_AFTER);
	commit_all();
	sleep_ms(300);
	if (recv(outside_rx, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		waited = atoi(buf);
	ksft_print_msg("waited %d ms\n", waited);
	ksft_test_result(waited > COMMIT_AFTER / 2,
			 "fsync of what a dependent process has written\n");
	close(fd);
	kill(a, SIGKILL);
	kill(b, SIGKILL);
	waitpid(a, NULL, 0);
	waitpid(b, NULL, 0);
}

static void set_up(void)
{
	if (system("modprobe -a brd ext4 fuse overlay quota_v2 && "
		   "mkdir -p " DISK " " SYNC_DISK " " FUSE " " OVERLAY
		   " /tmp/fs_waits.ovl && "
		   "mkfs.ext4 -q -F -O quota /dev/ram1 && "
		   "mount -o usrquota /dev/ram1 " DISK " && "
		   "mkfs.ext4 -q -F /dev/ram2 && "
		   "mount -o sync /dev/ram2 " SYNC_DISK " && "
		   "mount -t tmpfs none /tmp/fs_waits.ovl && "
		   "mkdir /tmp/fs_waits.ovl/u /tmp/fs_waits.ovl/w /tmp/fs_waits.ovl/l && "
		   "mount -t overlay -o lowerdir=/tmp/fs_waits.ovl/l,"
		   "upperdir=/tmp/fs_waits.ovl/u,workdir=/tmp/fs_waits.ovl/w "
		   "none " OVERLAY) ||
	    fuse_mount(FUSE) || outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
}

int main(void)
{
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 2);
	set_up();
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_wait(&rows[i], taint, commit_all);
	test_fsync_of_others();
	outside_close();
	if (system("umount " FUSE " " DISK " " SYNC_DISK " " OVERLAY
		   " /tmp/fs_waits.ovl"))
		ksft_print_msg("umount failed\n");
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
