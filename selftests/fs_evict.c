// SPDX-License-Identifier: GPL-2.0
/* vm: own timeout=180 */
/*
 * Law 1 for what leaves memory: process A changes something while nothing can
 * commit, the kernel drops the inodes and names from its caches, as it does when it
 * needs the memory, and process B, which is clean, reads them from the disk again and
 * says something to the outside. It must not be heard before the commit, and soon
 * after it.
 *
 * Controls: without our modules B is heard at once; and so is a B that looks at what
 * nobody has changed and has been dropped as well.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include "gate.h"
#include "kselftest.h"
#include "outside.h"

#define DISKS "/mnt/fs_evict/"

static char *dir;	/* where A and B work; below the root, which stays */

static char *in(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		_exit(95);
	return path;
}

static void must(bool good, const char *what)
{
	if (!good) {
		ksft_print_msg("%s: %m\n", what);
		_exit(96);
	}
}

static void put_in(const char *name, const char *text)
{
	int fd = open(in(name), O_CREAT | O_WRONLY | O_APPEND, 0644);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text),
	     name);
	close(fd);
}

static void create_a(void)
{
	int fd = open(in("d/new"), O_CREAT | O_EXCL | O_WRONLY, 0644);

	must(fd >= 0, "create");
	close(fd);
}

static void create_b(void)
{
	must(!access(in("d/new"), F_OK), "what A has created");
}

static void readdir_b(void)
{
	DIR *d = opendir(in("d"));
	int n = 0;

	must(d, "opendir");
	while (readdir(d))
		n++;
	must(n > 4, "as many names");
	closedir(d);
}

static void unlink_a(void)
{
	must(!unlink(in("d/old")), "unlink");
}

static void unlink_b(void)
{
	must(access(in("d/old"), F_OK) && errno == ENOENT, "what A has removed");
}

static void mkdir_a(void)
{
	must(!mkdir(in("d/dir"), 0755), "mkdir");
}

static void mkdir_b(void)
{
	struct stat st;

	must(!stat(in("d"), &st) && st.st_nlink != 2, "the links of the parent");
}

static void rename_a(void)
{
	must(!rename(in("d/old"), in("e/old")), "rename");
}

static void rename_b(void)
{
	must(!access(in("e/old"), F_OK), "what A has renamed");
}

static void link_a(void)
{
	must(!link(in("d/old"), in("e/linked")), "link");
}

/* Neither directory is looked at but for the name that was there before. */
static void link_b(void)
{
	struct stat st;

	must(!stat(in("d/old"), &st) && st.st_nlink == 2, "two links");
}

static void symlink_a(void)
{
	must(!symlink("there", in("d/new")), "symlink");
}

static void symlink_b(void)
{
	char to[16];

	must(readlink(in("d/new"), to, sizeof(to)) == 5, "readlink");
}

static void chmod_a(void)
{
	must(!chmod(in("d/old"), 0600), "chmod");
}

static void chmod_b(void)
{
	struct stat st;

	must(!stat(in("d/old"), &st) && (st.st_mode & 0777) == 0600, "the mode");
}

static void xattr_a(void)
{
	must(!setxattr(in("d/old"), "user.a", "b", 1, 0), "setxattr");
}

static void xattr_b(void)
{
	char value;

	must(getxattr(in("d/old"), "user.a", &value, 1) == 1, "the attribute");
}

static void write_a(void)
{
	put_in("d/old", "new");
}

static void read_b(void)
{
	char text[16];
	int fd = open(in("d/old"), O_RDONLY);

	must(fd >= 0 && read(fd, text, sizeof(text)) == 6, "what A has written");
}

/* The kernel has read it from the disk before B does. */
static void handle_b(void)
{
	struct {
		struct file_handle h;
		char space[MAX_HANDLE_SZ];
	} at = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount;
	int fd = open(dir, O_RDONLY);

	must(!name_to_handle_at(AT_FDCWD, in("d/old"), &at.h, &mount, 0), "handle");
	fd = open_by_handle_at(fd, &at.h, O_RDONLY);
	must(fd >= 0, "open by handle");
	must(read(fd, at.space, 16) == 6, "what A has written");
}

static void others_b(void)
{
	struct stat st;

	must(!stat(in("other/file"), &st), "what nobody has changed");
}

static const struct row {
	const char *name;
	void (*a)(void);
	void (*b)(void);
	bool no_fat;
} rows[] = {
	{ "a name, created", create_a, create_b },
	{ "a directory's names", create_a, readdir_b },
	{ "a name, removed", unlink_a, unlink_b },
	{ "a directory in a directory", mkdir_a, mkdir_b, true },
	{ "a name, moved", rename_a, rename_b },
	{ "a link", link_a, link_b, true },
	{ "a symbolic link", symlink_a, symlink_b, true },
	{ "the mode", chmod_a, chmod_b, true },
	{ "an attribute", xattr_a, xattr_b, true },
	{ "data", write_a, read_b },
	{ "data, by a handle", write_a, handle_b, true },
};

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text),
	     path);
	close(fd);
}

static void exempt(bool is)
{
	must(!prctl(PR_SET_IO_FLUSHER, is, 0, 0, 0), "exempt");
}

/* What is dirty is written first, by the flusher, which waits for no commit. */
static void drop_caches(void)
{
	write_text("/proc/sys/vm/dirty_expire_centisecs", "1");
	write_text("/proc/sys/vm/dirty_writeback_centisecs", "10");
	sleep_ms(700);
	write_text("/proc/sys/vm/dirty_writeback_centisecs", "0");
	/* What has been used gets another chance first. */
	for (int i = 0; i < 4; i++)
		write_text("/proc/sys/vm/drop_caches", "2");
}

#define NR ARRAY_SIZE(rows)
#define OTHER NR		/* who looks at what nobody has changed */

static pid_t start(const char *top, unsigned int row, void (*before)(void), bool is_b)
{
	char said[16];
	pid_t pid = fork();

	if (pid)
		return pid;
	exempt(false);
	must(asprintf(&dir, "%s/%u", top, row), "path");
	if (before)
		before();
	if (is_b) {
		row == OTHER ? others_b() : rows[row].b();
		snprintf(said, sizeof(said), "B%u.", row);
		say_alone(said);
	} else {
		rows[row].a();
	}
	sleep_ms(60000);	/* exit would tell the parent */
	_exit(0);
}

static pid_t a[NR], b[NR + 1];

static bool all(const bool *got, unsigned int from, unsigned int to)
{
	while (from < to && (got[from] || !b[from]))
		from++;
	return from == to;
}

/* Whose Bs are heard within @ms, or until those of @from to @to have been. */
static void listen_to(bool *got, unsigned int from, unsigned int to, int ms)
{
	struct pollfd p = { .fd = outside_rx, .events = POLLIN };
	long long end = now_ms() + ms;
	unsigned int row;
	char text[64];

	while (!all(got, from, to) && now_ms() < end) {
		if (poll(&p, 1, 50) <= 0)
			continue;
		memset(text, 0, sizeof(text));
		if (recv(outside_rx, text, sizeof(text) - 1, MSG_DONTWAIT) > 1 &&
		    sscanf(text, "B%u.", &row) == 1 && row <= NR)
			got[row] = true;
	}
}

/**
 * struct where - what is changed, and what keeps it from being committed
 * @name: for TAP
 * @dir: of a file system
 * @fat: without links and modes
 * @overlay: without handles
 * @taint: A does it first; NULL: to change something there is enough
 * @shut: nothing commits from here on, or NULL
 * @commit: all is committed
 */
struct where {
	const char *name, *dir;
	bool fat, overlay;
	void (*taint)(void);
	int (*shut)(void);
	void (*commit)(void);
};

static void open_gate(void)
{
	must(!gate_resume(), "resume");
}

/* For each row and for OTHER a directory below one that is not the root. */
static void make_files(const char *top)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "mkdir %s && cd %s && for i in $(seq 0 %zu); do mkdir -p $i/d $i/e $i/other && "
		 "echo -n old > $i/d/old && echo > $i/d/stays && echo > $i/d/stays2 && "
		 "echo > $i/other/file; done && sync -f .", top, top, NR);
	must(!system(command), "make files");
	sleep_ms(500);
	drop_caches();
}

static void report(const struct where *w, const struct row *r, bool tracked,
		   bool before, bool after)
{
	ksft_test_result(after && before != tracked, "%s, %s%s\n", w->name, r->name,
			 tracked ? "" : " (control)");
	if (tracked && before)
		ksft_print_msg("seen before the commit\n");
	if (!after)
		ksft_print_msg("never seen\n");
}

static void end(pid_t *pids, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (pids[i]) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
			pids[i] = 0;
		}
}

static bool fits(const struct where *w, const struct row *r)
{
	return (!w->fat || !r->no_fat) && (!w->overlay || r->b != handle_b);
}

static void run(const struct where *w, bool tracked)
{
	bool before[NR + 1] = {}, after[NR + 1];
	unsigned int i;

	make_files(w->dir);
	must(!w->shut || !w->shut(), "suspend");
	for (i = 0; i < NR; i++)
		if (fits(w, &rows[i]))
			a[i] = start(w->dir, i, w->taint, false);
	sleep_ms(1000);
	drop_caches();
	/* The inodes of vfat have no number, so there all is everybody's. */
	if (!w->fat) {
		b[OTHER] = start(w->dir, OTHER, NULL, true);
		listen_to(before, OTHER, OTHER + 1, 3000);
		ksft_test_result(before[OTHER], "%s, what nobody has changed\n",
				 w->name);
	}
	for (i = 0; i < NR; i++)
		if (fits(w, &rows[i]))
			b[i] = start(w->dir, i, NULL, true);
	listen_to(before, 0, NR, tracked ? 1500 : 10000);
	w->commit();
	memcpy(after, before, sizeof(before));
	listen_to(after, 0, NR, 5000);
	for (i = 0; i < NR; i++)
		if (fits(w, &rows[i]))
			report(w, &rows[i], tracked, before[i], after[i]);
	end(a, NR);
	end(b, NR + 1);
}

/*
 * What is read in gets the addresses of what was evicted before, and those were made
 * dependent in the same transaction: these files must be, too. No name is looked up
 * that anybody has changed. There are as many in a group as xsync remembers.
 */
#define GROUP 64
#define REUSED (10 * GROUP)	/* at most */

static char *nth(unsigned int n)
{
	char *path;

	must(asprintf(&path, GATE_MNT "/reused/%u", n) > 0, "path");
	return path;
}

/* What was freed last is given first, so each group goes the other way. */
static unsigned int in_group(unsigned int group, unsigned int i)
{
	return group * GROUP + (group % 2 ? GROUP - 1 - i : i);
}

/* By one processor: each has a list of free addresses of its own. */
static pid_t chmod_files(unsigned int group)
{
	pid_t pid = fork();
	cpu_set_t first;

	if (pid)
		return pid;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	must(!sched_setaffinity(0, sizeof(first), &first), "affinity");
	exempt(false);
	for (unsigned int i = 0; i < GROUP; i++)
		must(!chmod(nth(in_group(group, i)), 0600), "chmod");
	sleep_ms(60000);
	_exit(0);
}

/* Before 20 s are over? */
static bool changed(unsigned int group)
{
	long long end = now_ms() + 20000;
	struct stat st;

	do {
		sleep_ms(50);
		must(!stat(nth(in_group(group, GROUP - 1)), &st), "stat");
	} while ((st.st_mode & 0777) != 0600 && now_ms() < end);
	return (st.st_mode & 0777) == 0600;
}

static pid_t stat_file(unsigned int n)
{
	struct stat st;
	char said[16];
	pid_t pid = fork();

	if (pid)
		return pid;
	exempt(false);
	must(!stat(nth(n), &st) && (st.st_mode & 0777) == 0600, "the mode");
	snprintf(said, sizeof(said), "R%u.", n);
	say_alone(said);
	sleep_ms(60000);
	_exit(0);
}

/* How many of them are heard within @ms, or until all are. */
static unsigned int count_heard(unsigned int so_far, unsigned int files, int ms)
{
	struct pollfd p = { .fd = outside_rx, .events = POLLIN };
	long long end = now_ms() + ms;
	unsigned int n;
	char text[64];

	while (so_far < files && now_ms() < end) {
		if (poll(&p, 1, 50) <= 0)
			continue;
		memset(text, 0, sizeof(text));
		so_far += recv(outside_rx, text, sizeof(text) - 1, MSG_DONTWAIT) > 1 &&
			  sscanf(text, "R%u.", &n) == 1;
	}
	return so_far;
}

static void run_reused(void)
{
	pid_t change[REUSED / GROUP], look[REUSED];
	/* KASAN keeps what is freed, so that no address is used again soon. */
	unsigned int files = slowness() > 1 ? 2 * GROUP : REUSED;
	unsigned int early, late, n;
	const int room = 4 << 20;
	char command[256];

	/* All in one transaction: who changes what one commits would wait. */
	snprintf(command, sizeof(command),
		 "mkdir %1$s && cd %1$s && touch $(seq 0 %2$d) && chmod 644 * && "
		 "mount -o remount,commit=300 " GATE_MNT " && sync -f .",
		 GATE_MNT "/reused", files - 1);
	must(!system(command), "make files");
	drop_caches();
	must(!setsockopt(outside_rx, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)),
	     "room for all of them");
	must(!gate_suspend(), "suspend");
	for (n = 0; n < files / GROUP; n++) {
		change[n] = chmod_files(n);
		must(changed(n), "a group changed");
		drop_caches();
	}
	for (n = 0; n < files; n++)
		look[n] = stat_file(n);
	early = count_heard(0, files, 2000);
	open_gate();
	late = count_heard(early, files, 10000);
	ksft_test_result(!early && late == files,
			 "xsync, at an address that another inode had\n");
	if (early || late != files)
		ksft_print_msg("%u of %u early, %u heard\n", early, files, late);
	end(change, files / GROUP);
	end(look, files);
}

static const struct where gated = {
	"xsync", GATE_MNT "/work", false, false, NULL, gate_suspend, open_gate
};

static const struct where disks[] = {
	{ "ext4", DISKS "ext4/work", false, false, taint, NULL, commit_all },
	{ "overlay", DISKS "overlay/work", false, true, taint, NULL, commit_all },
	{ "xfs", DISKS "xfs/work", false, false, taint, NULL, commit_all },
	{ "vfat", DISKS "vfat/work", true, false, taint, NULL, commit_all },
};

static void make_disks(void)
{
	must(!system("modprobe -a loop overlay ext4 xfs vfat nls_ascii nls_cp437 && "
		     "cd /tmp && mkdir -p " DISKS "ext4 " DISKS "xfs " DISKS "vfat "
		     DISKS "overlay && truncate -s 64M e.img v.img && truncate -s 300M x.img && "
		     "mkfs.ext4 -q -E lazy_itable_init=0 e.img && mkfs.xfs -q x.img && "
		     "mkfs.vfat v.img >/dev/null && "
		     "mount -o loop e.img " DISKS "ext4 && "
		     "mkdir " DISKS "ext4/low " DISKS "ext4/up " DISKS "ext4/tmp && "
		     "mount -t overlay -o lowerdir=" DISKS "ext4/low,upperdir=" DISKS
		     "ext4/up,workdir=" DISKS "ext4/tmp none " DISKS "overlay && "
		     "mount -o loop x.img " DISKS "xfs && "
		     "mount -o loop v.img " DISKS "vfat"), "make disks");
}

int main(void)
{
	struct where plain = gated;
	unsigned int fat = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setenv("DM_DISABLE_UDEV", "1", 1);
	ksft_print_header();
	for (unsigned int i = 0; i < NR; i++)
		fat += !rows[i].no_fat;
	ksft_set_plan(4 * (NR + 1) + NR + fat + 2);
	must(!outside_open(), "outside");
	/* Whatever it makes and looks at, it goes on, and its syncs are real. */
	exempt(true);
	plain.name = "plain ext4";
	must(!gate_setup(false), "plain");
	run(&plain, false);
	must(!gate_teardown() && !load_modules() && !gate_setup(true), "xsync");
	run(&gated, true);
	run_reused();
	must(!gate_teardown() && !unload_modules(), "unload");
	make_disks();
	must(!source_open(), "test source");
	for (unsigned int i = 0; i < ARRAY_SIZE(disks); i++)
		run(&disks[i], true);
	ksft_test_result(!source_close() &&
			 !system("umount " DISKS "overlay " DISKS "ext4 " DISKS "xfs "
				 DISKS "vfat"),
			 "umount and unload\n");
	outside_close();
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
