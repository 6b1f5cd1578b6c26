// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=1 append=preempt=full timeout=300 */
/*
 * Law 1 for what ext4 lets others see before it is in a transaction: the moments
 * between. The kernel is the stock one, told to be preemptible, on one processor:
 * who has to wait is overtaken at once, where others would race.
 *
 * stores      The commit's thread overtakes a store through a mapping between the
 *             end of its handle and its page table entry. The page must be
 *             write-protected by that commit all the same: else what is stored
 *             later is in no transaction, and nobody depends on anything.
 * time        A store through a mapping has changed the time of modification, and
 *             waits for the disk before the inode is changed. Who asks for the
 *             time must not be heard before the commit.
 * unload      A reader is asleep in the update of the access time while the mount
 *             becomes a plain one and the modules go.
 *
 * The negative control of the time is an open gate.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "gate.h"
#include "outside.h"

#define PAGES 512
#define FILES 64
/* Their inodes are in different blocks. */
#define FILE_STORE 0
#define FILE_TIME_OPEN 10
#define FILE_TIME_SHUT 30
#define FILE_UNLOAD 50
#define PAGE 4096

/**
 * struct shared - what the processes of a test tell each other
 * @commits: how often the committer has committed
 * @pause: it shall not
 * @paused: and does not
 * @free: pages that could be stored to without a fault after the commit
 * @dependent: the store after the commit has made dependent
 */
static volatile struct shared {
	unsigned int commits, pause, paused;
	unsigned int free, dependent;
} *shared;

static int self;

static int open_file(int i, int flags)
{
	char name[64];
	int fd;

	sprintf(name, GATE_MNT "/file%d", i);
	fd = open(name, flags, 0600);
	if (fd < 0)
		ksft_exit_fail_msg("cannot open %s: %m\n", name);
	return fd;
}

/* Files, of which none is in memory afterwards: their inodes fill some blocks. */
static void make_files(void)
{
	char page[PAGE];

	memset(page, 'a', sizeof(page));
	for (int i = 0; i < FILES; i++) {
		int fd = open_file(i, O_CREAT | O_RDWR);

		if (write(fd, page, sizeof(page)) != sizeof(page))
			ksft_exit_fail_msg("cannot write: %m\n");
		close(fd);
	}
	if (system("umount " GATE_MNT " && "
		   "mount -t ext4 -o xsync /dev/mapper/gate " GATE_MNT))
		ksft_exit_fail_msg("cannot mount again\n");
}

/* Nothing of the disk is in memory, not even what was used last. */
static void drop_blocks(void)
{
	if (system("blockdev --flushbufs /dev/mapper/gate"))
		ksft_exit_fail_msg("cannot drop the blocks\n");
}

static void *map(int fd, int pages)
{
	void *map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);

	if (map == MAP_FAILED)
		_exit(95);
	return map;
}

/*
 * Modifies and waits for the commit. Not by a sync, of an exempt process: that
 * would write-protect all pages there are.
 */
static void committer(int fd)
{
	char name[64];

	gethostname(name, sizeof(name));
	for (;;) {
		while (shared->pause) {
			shared->paused = 1;
			sleep_ms(1);
		}
		if (pwrite(fd, "x", 1, 0) != 1 ||
		    sethostname(name, strlen(name)))
			_exit(96);
		shared->commits++;
	}
}

static void wait_commits(unsigned int n)
{
	unsigned int end = shared->commits + n;

	while ((int)(shared->commits - end) < 0)
		sleep_ms(1);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* Dependent on anything: a second line after the header. */
static bool depends(void)
{
	char text[256];
	ssize_t n = pread(self, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return strchr(text, '\n') && strchr(text, '\n')[1];
}

static void storer(int fd)
{
	const struct sched_param idle = {};
	volatile char *mem = map(fd, PAGES);

	if (ftruncate(fd, PAGES * PAGE))
		_exit(95);
	for (int i = 0; i < PAGES; i++)
		mem[i * PAGE] += 1;
	/* A page that waits for its checkpoint is dirty anyway: write it back. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) || syncfs(fd) || syncfs(fd) ||
	    prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0))
		_exit(95);
	sched_setscheduler(0, SCHED_IDLE, &idle);
	for (int i = 0; i < PAGES; i++)
		mem[i * PAGE] += 1;
	wait_commits(3);
	shared->pause = 1;
	while (!shared->paused)
		sleep_ms(1);
	for (int i = 0; i < PAGES; i++) {
		long before = faults();

		mem[i * PAGE] += 1;
		if (faults() != before)
			continue;
		if (!shared->free++)
			shared->dependent = depends();
	}
	/* And it is those faults that have made dependent. */
	if (!shared->free)
		shared->dependent = depends();
	_exit(0);
}

static void stores(void)
{
	int fd = open_file(FILE_STORE, O_RDWR), other = open_file(1, O_RDWR), status;
	pid_t c, s;

	/* By this memory we become dependent as well, which does not matter now. */
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	c = fork();
	if (!c)
		committer(other);
	s = fork();
	if (!s)
		storer(fd);
	waitpid(s, &status, 0);
	kill(c, SIGKILL);
	waitpid(c, NULL, 0);
	close(fd);
	close(other);
	if (status || shared->free)
		ksft_print_msg("status %#x, %u of %d pages not write-protected by the commit, dependent %u\n",
			       status, shared->free, PAGES, shared->dependent);
	ksft_test_result(!status && !shared->free,
			 "a commit write-protects all pages of its transaction\n");
	ksft_test_result(!status && shared->dependent,
			 "a store after the commit makes dependent\n");
}

/* Stores to a page that it has seen before; not so the block of the inode. */
static void late_store(int fd)
{
	volatile char *mem = map(fd, 1);

	if (mem[0] != 'a')
		_exit(95);
	sleep_ms(5000);
	mem[0] = 'b';
	sleep_ms(30000);
	_exit(0);
}

static void time_of(bool shut)
{
	int fd = open_file(shut ? FILE_TIME_SHUT : FILE_TIME_OPEN, O_RDWR);
	struct stat old, new;
	bool before, after;
	pid_t s, b;

	fstat(fd, &old);
	s = fork();
	if (!s)
		late_store(fd);
	b = fork();
	if (!b) {
		do {
			sleep_ms(10);
			fstat(fd, &new);
		} while (new.st_mtim.tv_sec == old.st_mtim.tv_sec);
		say("time");
		sleep_ms(30000);
		_exit(0);
	}
	if (shut) {
		sleep_ms(500);
		drop_blocks();
		gate_suspend();
	}
	before = heard("time", 9000);
	if (shut)
		gate_resume();
	after = before || heard("time", 15000);
	if (shut)
		ksft_test_result(!before && after,
				 "time of modification: not heard before the commit%s\n",
				 before ? " (early)" : after ? "" : " (never)");
	else
		ksft_test_result(before,
				 "time of modification: heard with an open gate\n");
	kill(s, SIGKILL);
	kill(b, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	close(fd);
	heard("nobody", 0);
}

static bool no_source(void)
{
	char text[512];
	int fd = open("/sys/kernel/debug/speculator/sources", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 && !strstr(text, "live");
}

static void unload(void)
{
	int fd = open_file(FILE_UNLOAD, O_RDONLY), status = -1, left;
	pid_t reader, remount, rmmod;
	char c;

	drop_blocks();
	remount = fork();
	if (!remount)
		_exit(!!system("mount -o remount,noxsync " GATE_MNT));
	while (!no_source())
		sleep_ms(1);
	gate_suspend();
	reader = fork();
	if (!reader) {
		/* Nothing to read, but an access. */
		lseek(fd, 0, SEEK_END);
		_exit(read(fd, &c, 1) != 0);
	}
	waitpid(remount, &status, 0);
	ksft_test_result(!status && !waitpid(reader, NULL, WNOHANG),
			 "remount with noxsync while a reader sleeps\n");
	rmmod = fork();
	if (!rmmod)
		_exit(!!unload_modules());
	sleep_ms(3000);
	gate_resume();
	waitpid(reader, &status, 0);
	ksft_test_result(!status, "the reader goes on\n");
	for (left = 200; left && !waitpid(rmmod, &status, WNOHANG); left--)
		sleep_ms(100);
	ksft_test_result(left && !status, "modules unload after a reader\n");
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(8);
	if (outside_open() || load_modules() || gate_setup(true))
		ksft_exit_fail_msg("cannot set up: %m\n");
	self = open("/sys/kernel/debug/speculator/self", O_RDONLY);
	make_files();
	time_of(false);
	time_of(true);
	stores();
	close(self);
	unload();
	ksft_test_result(!gate_teardown(), "umount\n");
	outside_close();
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
