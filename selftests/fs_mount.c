// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=240 */
/*
 * What is seen of an xsync mount whose disk stands still, by ways around read()
 * and stat(): an overlay, questions about a file, the disk below, NFS. See
 * flow.h; here A's modification of the mount is what makes it dependent, and in
 * the clean run nobody modifies anything.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <stdalign.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include "gate.h"
#define STEP 300 /* a disk below */
#include "flow.h"

#define ONE GATE_MNT
#define OVERLAY "/mnt/fs_mount.overlay"
#define NFS "/mnt/fs_mount.nfs"

static void (*modify)(void);
static int early_fd = -1;
static DIR *early_dir;
static char disk[64];

static void run_modify(void)
{
	modify();
}

static void open_gate(void)
{
	gate_resume();
}

static void nothing(void)
{
}

/* Everything is clean and in memory, and then the disk stands still. */
static void shut(const char *path, void (*what)(void))
{
	char c;

	gate_resume();
	unlink(OVERLAY "/new");
	early_fd = open(path, O_RDWR | O_TRUNC);
	early_dir = opendir(OVERLAY);
	if (early_fd < 0 || !early_dir || write(early_fd, "x", 1) != 1 ||
	    lseek(early_fd, 0, SEEK_SET) || read(early_fd, &c, 1) != 1)
		ksft_exit_fail_msg("%s: %m\n", path);
	while (readdir(early_dir))
		;
	/* Shutting waits until we are committed. */
	if (syncfs(early_fd) || gate_suspend())
		ksft_exit_fail_msg("cannot shut the gate\n");
	modify = what;
}

static void add(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);

	if (write(fd, "new", 3) != 3)
		_exit(96);
	close(fd);
}

static void append_file(void)
{
	add(ONE "/file");
}

static void append_overlay(void)
{
	add(OVERLAY "/file");
}

static void set_flags(void)
{
	int flags, fd = open(ONE "/file", O_RDONLY);

	ioctl(fd, FS_IOC_GETFLAGS, &flags);
	flags ^= FS_NODUMP_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		_exit(96);
}

/* A makes a file and lists the directory: B is shown the same list. */
static void create_and_list(void)
{
	DIR *d;

	add(OVERLAY "/new");
	d = opendir(OVERLAY);
	while (readdir(d))
		;
}

static void mk_append(void)
{
	shut(ONE "/file", append_file);
}

static void mk_flags(void)
{
	shut(ONE "/file", set_flags);
}

static void mk_overlay(void)
{
	shut(OVERLAY "/file", append_overlay);
}

static void mk_overlay_new(void)
{
	shut(OVERLAY "/file", create_and_list);
}

static void seek_b(void)
{
	lseek(early_fd, 0, SEEK_END);
}

static void flags_b(void)
{
	int flags;

	ioctl(early_fd, FS_IOC_GETFLAGS, &flags);
}

static void version_b(void)
{
	int version;

	ioctl(early_fd, FS_IOC_GETVERSION, &version);
}

static void quota_b(void)
{
	struct dqblk q;

	quotactl(QCMD(Q_GETQUOTA, USRQUOTA), "/dev/mapper/gate", 0, (void *)&q);
}

static void raw_b(void)
{
	static alignas(4096) char sector[4096];

	if (read(open(disk, O_RDONLY | O_DIRECT), sector, 4096) != 4096)
		_exit(97);
}

static void overlay_read_b(void)
{
	char c[16];

	if (read(early_fd, c, sizeof(c)) < 0)
		_exit(97);
}

static void overlay_list_b(void)
{
	rewinddir(early_dir);
	while (readdir(early_dir))
		;
}

static void overlay_access_b(void)
{
	access(OVERLAY "/new", F_OK);
}

static void nfs_b(void)
{
	char c[16];
	int fd = open(NFS "/file", O_RDONLY);

	if (fd < 0 || read(fd, c, sizeof(c)) < 0)
		_exit(97);
}

static void nfs_stat_b(void)
{
	struct stat st;

	stat(NFS "/file", &st);
}

static const struct flow flows[] = {
	{ "SEEK_END", mk_append, nothing, seek_b, true },
	{ "FS_IOC_GETFLAGS", mk_flags, nothing, flags_b, true },
	{ "FS_IOC_GETVERSION", mk_append, nothing, version_b, true },
	{ "quotactl", mk_append, nothing, quota_b, true },
	{ "direct read of the disk below", mk_append, nothing, raw_b, true },
	{ "overlay write/read", mk_overlay, nothing, overlay_read_b, true },
	{ "overlay create/readdir", mk_overlay_new, nothing, overlay_list_b,
	  true },
	{ "overlay create/access", mk_overlay_new, nothing, overlay_access_b,
	  true },
};

static const struct flow nfs_flows[] = {
	{ "NFS read", mk_append, nothing, nfs_b, true },
	{ "NFS stat", mk_append, nothing, nfs_stat_b, true },
};

static void close_objects(void)
{
	close(early_fd);
	closedir(early_dir);
}

/* What a client is told is durable: fsync. */
static void test_nfs_write(void)
{
	bool before, after;
	pid_t b;

	shut(ONE "/file", nothing);
	b = fork();
	if (!b) {
		int fd = open(NFS "/file", O_RDWR);

		if (write(fd, "nfs", 3) != 3 || fsync(fd))
			_exit(96);
		say("B");
		sleep_ms(5000);
		_exit(0);
	}
	before = heard("B", 6 * STEP);
	gate_resume();
	after = before || heard("B", 5000);
	ksft_test_result(!before && after, "NFS write and fsync\n");
	kill(b, SIGKILL);
	waitpid(b, NULL, 0);
	close_objects();
}

/* A server here, a client that comes from the outside. */
static bool start_nfs(void)
{
	return !system("{ for p in rpcbind rpc.mountd rpc.nfsd exportfs mount.nfs; do "
		"command -v $p; done && modprobe -a nfsd nfsv3 && "
		"mount -t nfsd none /proc/fs/nfsd && "
		"mkdir -p /run/rpcbind /var/lib/nfs/sm " NFS " && "
		"touch /var/lib/nfs/etab /var/lib/nfs/rmtab && rpcbind -w && "
		"exportfs -o rw,no_root_squash,no_subtree_check,insecure,fsid=1 "
		"'*:" ONE "' && rpc.nfsd -N 4 2 && rpc.mountd -N 4 -p 20048 && "
		"nsenter --net=/run/netns/outside mount -t nfs -o vers=3,nolock,"
		"noac,tcp,port=2049,mountport=20048,mountproto=tcp "
		"10.99.0.1:" ONE " " NFS "; } >&2");
}

static void stop_nfs(void)
{
	if (system("umount -f " NFS "; exportfs -au; rpc.nfsd 0; "
		   "kill $(pidof rpc.mountd rpcbind); umount /proc/fs/nfsd; "
		   "umount -q /var/lib/nfs/rpc_pipefs; "
		   "! grep -q ' nfsd ' /proc/mounts"))
		ksft_print_msg("cannot stop NFS\n");
}

static void set_up(void)
{
	FILE *f;

	setenv("DM_DISABLE_UDEV", "1", 1);
	if (gate_lib("load_modules && modprobe -a overlay quota_v2 && "
		     "scratch_disk scratch0 > /tmp/fs_mount.disk") ||
	    gate_setup(true) ||
	    system("umount " ONE " && tune2fs -O quota /dev/mapper/gate >&2 && "
		   "mount -t ext4 -o xsync,usrquota /dev/mapper/gate " ONE
		   " && mkdir -p " ONE "/u " ONE "/w " OVERLAY
		   " /tmp/fs_mount.low && echo > " ONE "/file && "
		   "mount -t overlay -o lowerdir=/tmp/fs_mount.low,upperdir="
		   ONE "/u,workdir=" ONE "/w none " OVERLAY " && echo > "
		   OVERLAY "/file") ||
	    outside_open())
		ksft_exit_fail_msg("cannot set up\n");
	f = fopen("/tmp/fs_mount.disk", "r");
	if (!f || fscanf(f, "%63s", disk) != 1)
		ksft_exit_fail_msg("no disk\n");
	fclose(f);
}

int main(void)
{
	unsigned int plan;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	flow_taint = run_modify;
	flow_commit = open_gate;
	set_up();
	plan = run_flows(flows, ARRAY_SIZE(flows));
	gate_resume();
	if (!start_nfs()) {
		ksft_test_result_skip("NFS: no server here\n");
		plan++;
	} else {
		plan += run_flows(nfs_flows, ARRAY_SIZE(nfs_flows));
		test_nfs_write();
		plan++;
	}
	gate_resume();
	stop_nfs();
	outside_close();
	if (system("umount " OVERLAY))
		ksft_print_msg("umount failed\n");
	ksft_test_result(!gate_teardown() && !unload_modules(),
			 "umount and unload\n");
	ksft_set_plan(plan + 1);
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
