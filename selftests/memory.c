// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 timeout=240 */
/*
 * Law 1 for shared memory (flow/memory.c): process A depends on a commit that
 * has not happened and stores; process B, which is clean, loads and says
 * something to the outside. No system call passes between the two.
 *
 * A, B and what is between them are children of a process that is gone before A
 * becomes dependent: whoever maps the memory learns of it.
 */
#include <linux/futex.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include "kselftest.h"
#include "outside.h"

#define STEP 200 /* ms */
#define SIZE 4096
#define FILE_ "/tmp/memory.file"

/**
 * struct row - a kind of shared memory, and who does what with it
 * @name: for TAP
 * @make: makes what can be shared, in the clean parent of A and B
 * @map: maps it, in A and B; NULL: make() has mapped it
 * @a: stores, when A has become dependent; NULL: just that
 * @b: comes back when it has seen what A stored; NULL: just looks once
 * @between: a third process that carries on what A stores, or NULL
 * @free: B must be heard although A is dependent
 */
struct row {
	const char *name;
	void (*make)(void);
	void (*map)(bool is_a);
	void (*a)(void);
	void (*b)(void);
	void (*between)(void);
	bool free;
};

static volatile int *mem, *mem2;
static int fd = -1, fd2 = -1, shm, s[2];

static void fail(int code)
{
	perror("memory");
	_exit(code);
}

static void *map_fd(int f, int prot, int flags)
{
	void *p = mmap(NULL, SIZE, prot, flags, f, 0);

	if (p == MAP_FAILED)
		fail(90);
	return p;
}

static void store(void)
{
	mem[0] = 1;
}

static void spin(void)
{
	while (!mem[0])
		;
}

/* --- what is shared ------------------------------------------------------- */

static void make_anon(void)
{
	mem = map_fd(-1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
}

static void make_huge(void)
{
	mem = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		fail(91);
}

static void make_memfd(void)
{
	fd = memfd_create("memory", 0);
	if (fd < 0 || ftruncate(fd, SIZE))
		fail(92);
}

static void make_two(void)
{
	make_memfd();
	fd2 = fd;
	make_memfd();
}

static void make_file(void)
{
	unlink(FILE_);
	fd = open(FILE_, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, SIZE))
		fail(93);
}

static void make_disk_file(void)
{
	fd = open("/mnt/memory.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, SIZE))
		fail(93);
}

static void make_shm(void)
{
	shm = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	if (shm < 0)
		fail(94);
}

static void make_socket(void)
{
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		fail(95);
}

static void map_both(bool is_a)
{
	mem = map_fd(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void map_shm(bool is_a)
{
	mem = shmat(shm, NULL, 0);
	if (mem == (void *)-1)
		fail(96);
}

static void map_passed(bool is_a)
{
	char byte = 0, space[CMSG_SPACE(sizeof(int))] = {};
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = space,
			    .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (is_a) {
		make_memfd();
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		if (sendmsg(s[0], &m, 0) != 1)
			fail(97);
	} else {
		if (recvmsg(s[1], &m, 0) != 1)
			fail(98);
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	}
	map_both(is_a);
}

/* Only A may write. */
static void map_reader(bool is_a)
{
	mem = map_fd(fd, is_a ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
}

static void map_private_reader(bool is_a)
{
	mem = map_fd(fd, is_a ? PROT_READ | PROT_WRITE : PROT_READ,
		     is_a ? MAP_SHARED : MAP_PRIVATE);
}

/* Only B may write. */
static void map_a_reader(bool is_a)
{
	if (is_a)
		fd = open(FILE_, O_RDONLY);
	mem = map_fd(fd, is_a ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* Nobody may; as with a library. */
static void map_readers(bool is_a)
{
	fd = open(FILE_, O_RDONLY);
	mem = map_fd(fd, PROT_READ, is_a ? MAP_SHARED : MAP_PRIVATE);
}

static void map_b_only(bool is_a)
{
	if (!is_a)
		mem = map_fd(fd, PROT_READ, MAP_PRIVATE);
}

static void map_late(bool is_a)
{
	if (is_a)
		map_both(true);
}

/* A writes fd, B reads fd2. */
static void map_chain(bool is_a)
{
	mem = map_fd(is_a ? fd : fd2, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void map_protected(bool is_a)
{
	mem = map_fd(fd, PROT_READ, MAP_SHARED);
}

static void map_and_unmap(bool is_a)
{
	map_both(is_a);
	if (!is_a)
		munmap((void *)mem, SIZE);
}

/* --- what A and B do ------------------------------------------------------ */

static void between_copy(void)
{
	mem = map_fd(fd, PROT_READ, MAP_SHARED);
	mem2 = map_fd(fd2, PROT_READ | PROT_WRITE, MAP_SHARED);
	spin();
	mem2[0] = 1;
}

static void write_file(void)
{
	int one = 1;

	if (pwrite(fd, &one, sizeof(one), 0) != sizeof(one))
		fail(89);
}

static void store_and_unmap(void)
{
	store();
	munmap((void *)mem, SIZE);
}

static void store_and_exit(void)
{
	store();
	_exit(0);
}

static void protect_and_store(void)
{
	if (mprotect((void *)mem, SIZE, PROT_READ | PROT_WRITE))
		fail(88);
	store();
}

static void fork_and_store(void)
{
	if (!fork()) {
		store();
		sleep_ms(5000);
		_exit(0);
	}
}

static void map_and_spin(void)
{
	sleep_ms(3 * STEP);
	map_both(false);
	spin();
}

static void read_file(void)
{
	int one = 0;

	while (pread(fd, &one, sizeof(one), 0) == sizeof(one) && !one)
		;
}

static void futex_wait(void)
{
	syscall(SYS_futex, mem, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void futex_wake(void)
{
	syscall(SYS_futex, mem, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void wait_after_unmap(void)
{
	/* The link goes a second after the mapping. */
	sleep_ms(3 * STEP);
}

static const struct row rows[] = {
	{ "anonymous, inherited", make_anon, NULL, store, spin },
	{ "anonymous, A's child stores", make_anon, NULL, fork_and_store, spin },
	{ "anonymous, A unmaps", make_anon, NULL, store_and_unmap, spin },
	{ "anonymous, A exits", make_anon, NULL, store_and_exit, spin },
	{ "memfd, each maps it", make_memfd, map_both, store, spin },
	{ "memfd, descriptor passed", make_socket, map_passed, store, spin },
	{ "memfd, B maps later", make_memfd, map_late, store, map_and_spin },
	{ "memfd, B maps when A has unmapped", make_memfd, map_late,
	  store_and_unmap, map_and_spin },
	{ "memfd, B maps when A has exited", make_memfd, map_late,
	  store_and_exit, map_and_spin },
	{ "memfd, made writable later", make_memfd, map_protected,
	  protect_and_store, spin },
	{ "memfd, B reads by pread", make_memfd, map_late, store, read_file },
	{ "memfd, through a third process", make_two, map_chain, store, spin,
	  between_copy },
	{ "System V shared memory", make_shm, map_shm, store, spin },
	{ "hugetlb, inherited", make_huge, NULL, store, spin },
	{ "file on tmpfs", make_file, map_both, store, spin },
	{ "file on another ext4", make_disk_file, map_both, store, spin },
	{ "file, B may only read", make_file, map_reader, store, spin },
	{ "file, B has a private mapping", make_file, map_private_reader,
	  store, spin },
	{ "file, A writes by pwrite", make_file, map_b_only, write_file, spin },
	{ "futex, A may only read", make_file, map_a_reader, futex_wake,
	  futex_wait },
	{ "readers of a file do not share", make_file, map_readers, NULL, NULL,
	  NULL, true },
	{ "a reader does not write", make_file, map_a_reader, NULL, NULL, NULL,
	  true },
	{ "memfd, B has unmapped", make_memfd, map_and_unmap, store,
	  wait_after_unmap, NULL, true },
};

static void child_a(const struct row *row, bool tainted)
{
	if (row->map)
		row->map(true);
	sleep_ms(row->b == wait_after_unmap ? 2500 : STEP);
	if (tainted)
		taint();
	if (row->a)
		row->a();
	sleep_ms(10000);
	_exit(0);
}

static void child_b(const struct row *row)
{
	if (row->map)
		row->map(false);
	if (row->b == wait_after_unmap)
		sleep_ms(2500);
	if (row->b)
		row->b();
	else
		sleep_ms(2 * STEP);
	say("B");
	sleep_ms(10000);
	_exit(0);
}

/* Returns the process group of A, B and so on; their parent has gone. */
static pid_t start(const struct row *row, bool tainted)
{
	pid_t parent = fork();

	if (!parent) {
		setpgid(0, 0);
		row->make();
		if (!fork())
			child_b(row);
		if (row->between && !fork()) {
			row->between();
			sleep_ms(10000);
			_exit(0);
		}
		if (!fork())
			child_a(row, tainted);
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	return parent;
}

static void run(const struct row *row, bool tainted)
{
	bool held = tainted && !row->free;
	pid_t group = start(row, tainted);
	/* At once, as far as the machine is: nobody commits meanwhile. */
	bool before = heard("B", held ? 5 * STEP : 30 * STEP), after;

	if (!held) {
		if (tainted)
			commit_all();
		ksft_test_result(before, "%s: %s\n", row->name,
				 tainted ? "not held" : "clean");
	} else {
		commit_all();
		after = before || heard("B", 3000);
		if (before)
			ksft_print_msg("%s: seen before the commit\n",
				       row->name);
		if (!after)
			ksft_print_msg("%s: never seen\n", row->name);
		ksft_test_result(!before && after, "%s: tainted\n", row->name);
	}
	kill(-group, SIGKILL);
	heard("nobody", 100);
}

static void put_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		ksft_exit_fail_msg("%s: %m\n", path);
	close(file);
}

/*
 * No entry can be made, as without memory: the dependency is everybody's then.
 * Those who share memory in a circle must not be told for ever. We depend on it
 * as well, so the source commits by itself, some time after it is asked.
 */
static void run_without_entries(void)
{
	static const char limit[] =
		"/sys/module/speculator/parameters/max_objects";
	bool before, after;
	pid_t group;

	put_text(SOURCE "delay_ms", "3000");
	put_text(SOURCE "auto", "1");
	put_text(limit, "0");
	group = start(&rows[0], true);
	before = heard("B", 5 * STEP);
	after = before || heard("B", 6000);
	ksft_test_result(!before && after, "no entry can be made: tainted\n");
	put_text(limit, "262144");
	put_text(SOURCE "auto", "0");
	kill(-group, SIGKILL);
	heard("nobody", 100);
}

/* A and B share memory since before anything was tracked on this machine. */
static pid_t start_before(void)
{
	pid_t parent = fork();

	if (!parent) {
		setpgid(0, 0);
		make_anon();
		if (!fork()) {
			spin();
			say("B");
			sleep_ms(10000);
			_exit(0);
		}
		if (!fork()) {
			while (source_taint < 0) {
				sleep_ms(100);
				source_taint = open(SOURCE "taint", O_RDONLY);
			}
			sleep_ms(500);
			taint();
			store();
			sleep_ms(10000);
			_exit(0);
		}
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	return parent;
}

static void run_before(pid_t group)
{
	bool before = heard("B", 2000), after;

	commit_all();
	after = before || heard("B", 3000);
	ksft_test_result(!before && after, "mapped before the source came\n");
	kill(-group, SIGKILL);
	heard("nobody", 100);
}

int main(void)
{
	const char *only = getenv("FLOW");
	unsigned int i, plan = 0;
	pid_t group;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	if (system("bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; "
		   "disk=$(scratch_disk scratch0) && "
		   "echo 4 > /proc/sys/vm/nr_hugepages && "
		   "mkfs.ext4 -q -F $disk && mount $disk /mnt' >&2"))
		ksft_exit_fail_msg("cannot set up\n");
	if (outside_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	group = start_before();
	if (source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	run_before(group);
	plan++;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (only && !strstr(rows[i].name, only))
			continue;
		run(&rows[i], true);
		run(&rows[i], false);
		plan += 2;
	}
	run_without_entries();
	plan++;
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	if (system("umount /mnt"))
		ksft_print_msg("umount failed\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
