// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=200 */
/*
 * Two xsync mounts and other disks: a process that depends on what the first
 * mount, whose disk stands still, has not committed, and modifies the second, or
 * makes a third disk write. It waits. Then what it may do without waiting.
 */
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/swap.h>
#include <sys/xattr.h>
#include "gate.h"
#include "waits.h"

#define ONE "/mnt/gate"
#define TWO "/mnt/fs_two"
#define PLAIN "/mnt/fs_two.plain"
#define OVERLAY "/mnt/fs_two.overlay"

#define START 2000 /* ms until all processes have written to the first mount */
#define SHUT 3000 /* ms for which the disk stands still */

static void mk_none(void)
{
	fd = -1;
}

static void mk_two(void)
{
	opened(open(TWO "/file", O_CREAT | O_RDWR, 0600));
}

static void mk_plain(void)
{
	opened(open(PLAIN "/file", O_CREAT | O_RDWR, 0600));
}

static void mk_one(void)
{
	opened(open(ONE "/other", O_RDWR));
}

static void mk_overlay(void)
{
	opened(open(OVERLAY "/file", O_CREAT | O_RDWR, 0600));
}

/* Each its own: who shares a mapping with a dependent process depends, too. */
static void mk_own(void)
{
	char path[] = TWO "/map.XXXXXX";

	opened(mkstemp(path));
	if (ftruncate(fd, 4096))
		ksft_exit_fail_msg("ftruncate: %m\n");
}

static volatile char *map(void)
{
	char *got = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (got == MAP_FAILED)
		_exit(95);
	return got;
}

static int do_write(void)
{
	return pwrite(fd, "x", 1, 0);
}

static int do_fsync(void)
{
	return pwrite(fd, "x", 1, 0) == 1 ? fsync(fd) : -1;
}

static int do_fdatasync(void)
{
	return pwrite(fd, "x", 1, 0) == 1 ? fdatasync(fd) : -1;
}

static int do_store(void)
{
	*map() = 1;
	return 0;
}

static int do_read_into_map(void)
{
	return read(open("/dev/zero", O_RDONLY), (void *)map(), 4096) == 4096 ?
		0 : -1;
}

static int do_mkdir(void)
{
	return mkdir(TWO "/dir", 0700) && errno != EEXIST ? -1 : 0;
}

static int do_rename(void)
{
	return rename(TWO "/from", TWO "/to");
}

static int do_link(void)
{
	unlink(TWO "/link");
	return link(TWO "/file", TWO "/link");
}

static int do_truncate(void)
{
	return truncate(TWO "/file", 10);
}

static int do_fallocate(void)
{
	return fallocate(fd, 0, 0, 8192);
}

static int do_chmod(void)
{
	return fchmod(fd, 0600);
}

static int do_xattr(void)
{
	return fsetxattr(fd, "user.x", "x", 1, 0);
}

static int do_flags(void)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	flags ^= FS_NODUMP_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

/* mv and cp from one to the other. */
static int do_rename_between(void)
{
	return rename(ONE "/file", TWO "/moved") && errno == EXDEV ? 0 : -1;
}

static int do_copy_between(void)
{
	int in = open(ONE "/file", O_RDONLY);
	off_t off = 0;

	copy_file_range(in, NULL, fd, NULL, 4096, 0); /* not between mounts */
	return sendfile(fd, in, &off, 1);
}

/* Of what another process has written. */
static int do_copy_of_others(void)
{
	return do_copy_between();
}

static int do_sync_range(void)
{
	return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int do_syncfs(void)
{
	return syncfs(fd);
}

static int do_sync(void)
{
	sync();
	return 0;
}

static int do_setquota(void)
{
	struct dqblk q = { .dqb_bhardlimit = 1000000,
			   .dqb_valid = QIF_BLIMITS };

	return quotactl(QCMD(Q_SETQUOTA, USRQUOTA), "/dev/mapper/fs_two", 1000,
			(void *)&q);
}

/* The next thing that is said, within a few seconds. */
static bool heard_line(char *buf, size_t size)
{
	struct pollfd p = { .fd = outside_rx, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, 5000) <= 0)
		return false;
	n = recv(outside_rx, buf, size - 1, 0);
	buf[n > 0 ? n : 0] = 0;
	return true;
}

static void depend(void)
{
	int one = open(ONE "/file", O_WRONLY);

	if (write(one, "x", 1) != 1)
		_exit(99);
	close(one);
}

static const struct wait_row rows[] = {
	{ "write to the second mount", mk_two, do_write, true },
	{ "store through its mapping", mk_own, do_store, true },
	{ "read into its mapping", mk_own, do_read_into_map, true },
	{ "mkdir", mk_none, do_mkdir, true },
	{ "rename", mk_two, do_rename, true },
	{ "link", mk_two, do_link, true },
	{ "truncate", mk_two, do_truncate, true },
	{ "fallocate", mk_two, do_fallocate, true },
	{ "chmod", mk_two, do_chmod, true },
	{ "setxattr", mk_two, do_xattr, true },
	{ "chattr", mk_two, do_flags, true },
	{ "setquota", mk_none, do_setquota, true },
	{ "sendfile between them", mk_two, do_copy_between, true },
	{ "sendfile of what another has written", mk_two, do_copy_of_others,
	  true },
	{ "rename between them is refused", mk_none, do_rename_between, false },
	{ "fsync on a plain disk", mk_plain, do_fsync, true },
	{ "sync_file_range on a plain disk", mk_plain, do_sync_range, true },
	{ "syncfs of a plain disk", mk_plain, do_syncfs, true },
	{ "sync with a plain disk", mk_none, do_sync, true },
	{ "write to a plain disk", mk_plain, do_write, false },
	{ "write to the first mount again", mk_one, do_write, false },
	{ "fsync of the first mount", mk_one, do_fsync, false },
	{ "fsync through an overlay of it", mk_overlay, do_fsync, false },
	{ "fdatasync through an overlay of it", mk_overlay, do_fdatasync,
	  false },
};

static void sleep_until(long long when)
{
	long long now = now_ms();

	if (now < when)
		sleep_ms(when - now);
}

/*
 * In a process of its own: what it did, and how long it took. The first to wait
 * or to speak starts the commit, behind which ext4 itself may make a writer wait.
 */
static void act(unsigned int i, bool tainted, long long start)
{
	char buf[64];
	long long t;
	int err;

	if (tainted && rows[i].act != do_copy_of_others)
		depend();
	if (rows[i].waits)
		sleep_until(start);
	t = now_ms();
	err = rows[i].act() < 0 ? errno : 0;
	t = now_ms() - t;
	sleep_until(start);
	snprintf(buf, sizeof(buf), "%u %lld %d", i, t, err);
	say(buf);
	sleep_ms(3 * SHUT);
	_exit(0);
}

/* All rows at once: shutting and opening takes longer than all of them. */
static void run(bool tainted)
{
	int waited[ARRAY_SIZE(rows)], err[ARRAY_SIZE(rows)];
	int fds[ARRAY_SIZE(rows)];
	pid_t child[ARRAY_SIZE(rows)];
	unsigned int i, n;
	long long start;
	char buf[64];

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		rows[i].make();
		fds[i] = fd;
	}
	/* What is needed is in memory, and all is clean. */
	if (system("rm -rf " TWO "/dir " TWO "/to " TWO "/link && echo > " TWO
		   "/from && cat " ONE "/* " TWO "/* " PLAIN
		   "/* > /dev/null 2>&1; sync -f " ONE "; sync -f " TWO
		   "; sync -f " PLAIN) ||
	    gate_suspend())
		ksft_exit_fail_msg("cannot shut the gate\n");
	start = now_ms() + START;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		waited[i] = -1;
		fd = fds[i];
		child[i] = fork();
		if (!child[i])
			act(i, tainted, start);
	}
	sleep_until(start + SHUT);
	if (gate_resume())
		ksft_exit_fail_msg("cannot open the gate\n");
	for (n = 0; n < ARRAY_SIZE(rows) && heard_line(buf, sizeof(buf)); n++) {
		int ms, error;

		if (sscanf(buf, "%u %d %d", &i, &ms, &error) == 3) {
			waited[i] = ms;
			err[i] = error;
		}
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ksft_print_msg("%s: waited %d ms, error %d\n", rows[i].name,
			       waited[i], waited[i] < 0 ? 0 : err[i]);
		if (tainted && rows[i].waits)
			ksft_test_result(waited[i] >= SHUT / 2 && !err[i],
					 "%s: waits when dependent\n",
					 rows[i].name);
		else
			ksft_test_result(waited[i] >= 0 && !err[i] &&
					 waited[i] < SHUT / 2,
					 "%s: does not wait when %s\n",
					 rows[i].name,
					 tainted ? "dependent" : "clean");
		kill(child[i], SIGKILL);
		waitpid(child[i], NULL, 0);
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void set_up(void)
{
	if (gate_lib("load_modules") || gate_setup(true) ||
	    system("truncate -s 256M /tmp/fs_two.img /tmp/fs_two.plain && "
		   "modprobe -a loop overlay quota_v2 && "
		   "mkdir -p " TWO " " PLAIN " " OVERLAY " " ONE "/u " ONE "/w "
		   "/tmp/fs_two.low && "
		   "dmsetup create fs_two --table \"0 524288 linear "
		   "$(losetup -f --show /tmp/fs_two.img) 0\" && "
		   "mkfs.ext4 -q -O quota /dev/mapper/fs_two && "
		   "mount -t ext4 -o xsync,usrquota,noinit_itable "
		   "/dev/mapper/fs_two " TWO " && "
		   "mkfs.ext4 -q /tmp/fs_two.plain && "
		   "mount -o loop /tmp/fs_two.plain " PLAIN " && "
		   "echo > " ONE "/file && echo > " ONE "/other && "
		   "mount -t overlay -o lowerdir=/tmp/fs_two.low,upperdir=" ONE
		   "/u,workdir=" ONE "/w none " OVERLAY) ||
	    outside_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
}

static void tear_down(void)
{
	outside_close();
	if (system("umount " OVERLAY " " PLAIN " " TWO " && "
		   "dmsetup remove --retry fs_two && losetup -D"))
		ksft_print_msg("umount failed\n");
	ksft_test_result(!gate_teardown() && !unload_modules(),
			 "umount and unload\n");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 1);
	setenv("DM_DISABLE_UDEV", "1", 1);
	set_up();
	run(true);
	run(false);
	tear_down();
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
