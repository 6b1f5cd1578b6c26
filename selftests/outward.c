// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 mem=2048 timeout=500 */
/*
 * Law 1, completeness, for what a system call is done to: every character
 * device of this machine, every family and type of socket that it can make,
 * kinds of files with no name, commands to all kinds of files, kernel file
 * systems. Whatever is not on a list of the harmless must wait. A row is done by
 * a child that depends on a commit that has not happened, and by a clean one.
 *
 * WHAT=devices, sockets, commands or files runs one part.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/major.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <pty.h>
#include "batch.h"

#define MAX_PROBES 1500

static struct probe probes[MAX_PROBES];
static int nr_probes;

static void add(const char *what, const char *name,
		long (*act)(const struct probe *), int fd, long arg, bool waits)
{
	struct probe *p = &probes[nr_probes++];

	if (nr_probes == MAX_PROBES)
		ksft_exit_fail_msg("too many rows\n");
	snprintf(p->name, sizeof(p->name), "%.40s: %.30s", name, what);
	p->act = act;
	p->fd = fd;
	p->arg = arg;
	p->waits = waits;
}

static long do_write(const struct probe *p)
{
	return write(p->fd, "", 0);
}

static long do_write_8(const struct probe *p)
{
	long one = 1;

	return write(p->fd, &one, sizeof(one));
}

static long do_ioctl(const struct probe *p)
{
	char buf[256] = "";

	return ioctl(p->fd, p->arg, buf);
}

static long do_close(const struct probe *p)
{
	return close(p->fd);
}

static long do_mmap(const struct probe *p)
{
	return (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, p->fd, 0);
}

static long do_open(const struct probe *p)
{
	return open((const char *)p->arg, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

/* Devices */

#define UNKNOWN_COMMAND _IO('Z', 0x7f)

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(name, *list))
			return true;
	return false;
}

/*
 * Not opened: it starts a clock that restarts the machine, or belongs to the
 * machine that runs the test.
 */
static bool is_left_alone(const char *name)
{
	return strstr(name, "watchdog") || !strncmp(name, "vport", 5);
}

static void add_device(const char *node, const char *name, bool block)
{
	static const char *const harmless[] = { "null", "zero", "full",
						"random", "urandom", NULL };
	bool quiet = is_one_of(name, harmless), tty, can_write;
	int fd = open(node, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		fd = open(node, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		ksft_print_msg("%s: not here: %m\n", name);
		return;
	}
	/* A line without hardware is a terminal that says it is none. */
	tty = isatty(fd) || !strncmp(name, "tty", 3);
	/* EINVAL: the device has nothing to write with. */
	can_write = !block && !write(fd, "", 0);
	if (can_write)
		add("write", name, do_write, fd, 0, !quiet && !tty);
	add("unknown command", name, do_ioctl, fd, UNKNOWN_COMMAND, true);
	add("mmap", name, do_mmap, fd, 0, !quiet);
	add("close", name, do_close, fd, 0, !quiet && !tty);
	add("open", name, do_open, -1, (long)strdup(node), !quiet && !tty);
}

static void add_devices(const char *dir, bool block)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int seen[512] = {};

	while (d && (e = readdir(d))) {
		char path[512], line[256], name[128] = "", node[512];
		int major, minor;
		FILE *f;

		if (sscanf(e->d_name, "%d:%d", &major, &minor) != 2)
			continue;
		snprintf(path, sizeof(path), "%s/%s/uevent", dir, e->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			sscanf(line, "DEVNAME=%127s", name);
		if (f)
			fclose(f);
		if (!*name || is_left_alone(name))
			continue;
		/* Of many of one driver, two. */
		if (major != MEM_MAJOR && major != TTYAUX_MAJOR &&
		    major != MISC_MAJOR && major < 512 && seen[major]++ > 1)
			continue;
		snprintf(node, sizeof(node), "/dev/batch/%d:%d", major, minor);
		if (mknod(node, (block ? S_IFBLK : S_IFCHR) | 0600,
			  makedev(major, minor)) && errno != EEXIST)
			ksft_print_msg("%s: %m\n", node);
		add_device(node, name, block);
	}
	if (d)
		closedir(d);
}

static void devices(void)
{
	mkdir("/dev/batch", 0700);
	add_devices("/sys/dev/char", false);
	add_devices("/sys/dev/block", true);
}

/* Sockets */

/* Each child has a socket of its own: what others do would be in the way. */
struct kind {
	int family, type, protocol;
};

static struct kind kind_of(const struct probe *p)
{
	return (struct kind){ p->arg >> 20, p->arg >> 12 & 0xff,
			      p->arg & 0xfff };
}

static int own_socket(const struct probe *p)
{
	struct kind k = kind_of(p);

	return socket(k.family, k.type | SOCK_NONBLOCK, k.protocol);
}

static long do_send(const struct probe *p)
{
	return send(own_socket(p), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long do_bind(const struct probe *p)
{
	struct sockaddr_storage a = { .ss_family = kind_of(p).family };

	return bind(own_socket(p), (void *)&a, sizeof(a));
}

static long do_connect(const struct probe *p)
{
	struct sockaddr_storage a = { .ss_family = kind_of(p).family };

	/* To this machine, where an address is known. */
	if (a.ss_family == AF_INET)
		((struct sockaddr_in *)&a)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
	if (a.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
	return connect(own_socket(p), (void *)&a, sizeof(a));
}

static long do_setsockopt(const struct probe *p)
{
	int n = 0;

	return setsockopt(own_socket(p), 12345, 1, &n, sizeof(n));
}

static long do_socket_close(const struct probe *p)
{
	return close(own_socket(p));
}

static void add_socket(int family, int type, int protocol)
{
	bool ip = family == AF_INET || family == AF_INET6;
	bool quiet = family == AF_NETLINK || family == AF_PACKET;
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	socklen_t len = sizeof(protocol);
	bool held;
	char name[64];
	long arg;

	if (fd < 0)
		return;
	arg = (long)family << 20 | (long)type << 12 | protocol;
	/* output/tcp.c and output/datagram.c know these. */
	if (ip)
		getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
	held = ip && (type == SOCK_RAW || protocol == IPPROTO_TCP ||
		      protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
		      protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6);
	close(fd);
	snprintf(name, sizeof(name), "socket %d/%d/%d", family, type, protocol);
	/* TCP that is not connected waits before it says so; see net_tcp.py. */
	if (!held || protocol != IPPROTO_TCP)
		add("send", name, do_send, -1, arg,
		    family != AF_UNIX && !held);
	add("connect", name, do_connect, -1, arg,
	    family != AF_UNIX && !held && !quiet);
	add("bind", name, do_bind, -1, arg, family != AF_UNIX && !quiet);
	add("unknown option", name, do_setsockopt, -1, arg,
	    family != AF_UNIX && !quiet);
	add("close", name, do_socket_close, -1, arg,
	    family != AF_UNIX && !held && !quiet);
}

static void sockets(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW,
				     SOCK_RDM, SOCK_SEQPACKET };
	static const int protocols[] = { IPPROTO_SCTP, IPPROTO_DCCP,
					 IPPROTO_MPTCP, IPPROTO_UDPLITE,
					 IPPROTO_ICMP, IPPROTO_ICMPV6,
					 115 /* L2TP */ };
	unsigned int t, i;

	for (int family = 1; family < AF_MAX; family++)
		for (t = 0; t < sizeof(types) / sizeof(*types); t++) {
			int raw = types[t] == SOCK_RAW &&
				  (family == AF_INET || family == AF_INET6);

			add_socket(family, types[t], raw ? IPPROTO_RAW : 0);
			if (family == AF_KEY)
				add_socket(family, types[t], 2);
			if (family == AF_CAN || family == AF_BLUETOOTH)
				add_socket(family, types[t], 1);
			if (family != AF_INET && family != AF_INET6)
				continue;
			for (i = 0; i < sizeof(protocols) / sizeof(int); i++)
				if (!raw)
					add_socket(family, types[t],
						   protocols[i]);
		}
}

/* Commands to all kinds of files */

static struct {
	const char *name;
	int fd;
} kinds[32];
static int nr_kinds;

static void kind(const char *name, int fd)
{
	if (fd < 0) {
		ksft_print_msg("%s: not here: %m\n", name);
		return;
	}
	kinds[nr_kinds].name = name;
	kinds[nr_kinds++].fd = fd;
}

static int perf_open(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr) };

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int map_open(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 4,
				.max_entries = 1 };

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static void make_kinds(void)
{
	struct io_uring_params params = {};
	int pipes[2], master, slave;
	sigset_t set;

	sigemptyset(&set);
	kind("file", open("/tmp/outward.file", O_RDWR | O_CREAT, 0600));
	/* Not one that others pass through: an ioctl counts as a change. */
	mkdir("/tmp/outward.dir", 0700);
	kind("directory", open("/tmp/outward.dir", O_RDONLY));
	kind("proc file", open("/proc/self/stat", O_RDONLY));
	kind("sysfs file", open("/sys/kernel/uevent_seqnum", O_RDONLY));
	kind("udp", socket(AF_INET, SOCK_DGRAM, 0));
	kind("tcp", socket(AF_INET, SOCK_STREAM, 0));
	kind("unix", socket(AF_UNIX, SOCK_STREAM, 0));
	kind("packet", socket(AF_PACKET, SOCK_RAW, 0));
	if (!pipe(pipes))
		kind("pipe", pipes[1]);
	if (!openpty(&master, &slave, NULL, NULL, NULL)) {
		kind("pty master", master);
		kind("pty slave", slave);
	}
	kind("serial line", open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_NONBLOCK));
	kind("console", open("/dev/tty0", O_RDWR | O_NOCTTY | O_NONBLOCK));
	kind("block device", open("/dev/loop0", O_RDONLY));
	kind("tun", open("/dev/net/tun", O_RDWR));
	kind("eventfd", eventfd(0, 0));
	kind("epoll", epoll_create1(0));
	kind("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	kind("signalfd", signalfd(-1, &set, 0));
	kind("inotify", inotify_init());
	kind("fanotify", syscall(SYS_fanotify_init, 0, O_RDONLY));
	kind("memfd", memfd_create("outward", 0));
	kind("pidfd", syscall(SYS_pidfd_open, getpid(), 0));
	kind("userfaultfd", syscall(SYS_userfaultfd, 0));
	kind("io_uring", syscall(SYS_io_uring_setup, 4, &params));
	kind("perf event", perf_open());
	kind("bpf map", map_open());
	kind("mount context", syscall(SYS_fsopen, "tmpfs", 0));
	kind("namespace", open("/proc/self/ns/net", O_RDONLY));
	kind("mqueue", syscall(SYS_mq_open, "outward", O_RDWR | O_CREAT, 0600,
			       NULL));
}

static void commands(void)
{
	char path[64];
	int i;

	for (i = 0; i < nr_kinds; i++) {
		struct stat st;

		fstat(kinds[i].fd, &st);
		add("_IO", kinds[i].name, do_ioctl, kinds[i].fd,
		    _IO('Z', 0x7f), true);
		add("_IOR", kinds[i].name, do_ioctl, kinds[i].fd,
		    _IOR('Z', 0x7f, int), true);
		add("_IOW", kinds[i].name, do_ioctl, kinds[i].fd,
		    _IOW('Z', 0x7f, int), true);
		add("_IOWR", kinds[i].name, do_ioctl, kinds[i].fd,
		    _IOWR('Z', 0x7f, int), true);
		add("FIONBIO", kinds[i].name, do_ioctl, kinds[i].fd, FIONBIO,
		    false);
		add("TCGETS", kinds[i].name, do_ioctl, kinds[i].fd, TCGETS,
		    false);
		/* On a file in memory a question about flags is no output. */
		snprintf(path, sizeof(path), "%s", kinds[i].name);
		add("FS_IOC_GETFLAGS", kinds[i].name, do_ioctl, kinds[i].fd,
		    FS_IOC_GETFLAGS,
		    strcmp(path, "file") && strcmp(path, "directory") &&
			    strcmp(path, "memfd") && strcmp(path, "mqueue"));
		add("FITHAW", kinds[i].name, do_ioctl, kinds[i].fd, FITHAW,
		    true);
	}
}

/* Files: without a name, of the kernel, of the unknown */

static void file(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		ksft_print_msg("%s: not here: %m\n", path);
	else
		add("write", path, do_write, fd, 0, true);
}

static long do_mkdir(const struct probe *p)
{
	return mkdir((const char *)p->arg, 0700);
}

static long do_rmdir(const struct probe *p)
{
	return rmdir((const char *)p->arg);
}

static long do_creat(const struct probe *p)
{
	return open((const char *)p->arg, O_CREAT | O_WRONLY, 0600);
}

static long do_chmod(const struct probe *p)
{
	return chmod((const char *)p->arg, 0755);
}

static long do_umount(const struct probe *p)
{
	return umount((const char *)p->arg);
}

static void names(const char *type, const char *source, const char *options,
		  bool waits)
{
	char dir[64], path[4][96];
	static int count;
	int i;

	snprintf(dir, sizeof(dir), "/mnt/outward%d", count++);
	mkdir(dir, 0700);
	if (mount(source, dir, type, 0, options)) {
		ksft_print_msg("%s: not here: %m\n", type);
		return;
	}
	for (i = 0; i < 3; i++)
		snprintf(path[i], sizeof(path[i]), "%s/x%d", dir, i);
	add("mkdir", type, do_mkdir, -1, (long)strdup(path[0]), waits);
	add("rmdir", type, do_rmdir, -1, (long)strdup(path[1]), waits);
	add("create", type, do_creat, -1, (long)strdup(path[2]), waits);
	add("chmod", type, do_chmod, -1, (long)strdup(dir), waits);
}

static void files(void)
{
	static const char *const writers[] = { "eventfd", "timerfd",
		"signalfd", "inotify", "fanotify", "userfaultfd", "io_uring",
		"perf event", "bpf map", "epoll", "pidfd", NULL };
	const char *share = getenv("XSYNC_SHARE");
	char path[300];

	for (int i = 0; i < nr_kinds; i++) {
		if (!is_one_of(kinds[i].name, writers))
			continue;
		/* Those with nothing to write with fail before any gate. */
		if (!strcmp(kinds[i].name, "eventfd") ||
		    !strcmp(kinds[i].name, "fanotify"))
			add("write", kinds[i].name, do_write_8, kinds[i].fd, 0,
			    strcmp(kinds[i].name, "eventfd"));
		add("mmap", kinds[i].name, do_mmap, kinds[i].fd, 0, true);
	}
	mount("config", "/sys/kernel/config", "configfs", 0, NULL);
	mount("security", "/sys/kernel/security", "securityfs", 0, NULL);
	mkdir("/sys/fs/cgroup", 0755);
	mount("cgroup", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	file("/proc/self/oom_score_adj");
	file("/proc/self/comm");
	file("/proc/self/mem");
	file("/proc/sys/vm/swappiness");
	file("/proc/sysrq-trigger");
	file("/proc/sys/kernel/hostname");
	file("/sys/kernel/profiling");
	file("/sys/power/state");
	file("/sys/module/printk/parameters/time");
	file("/sys/kernel/debug/sched/debug_enabled");
	file("/sys/kernel/debug/dynamic_debug/control");
	file("/sys/kernel/tracing/trace_marker");
	file("/sys/kernel/tracing/tracing_on");
	file("/sys/fs/cgroup/cgroup.procs");
	file("/sys/fs/cgroup/cgroup.subtree_control");
	file("/dev/kmsg");
	names("tmpfs", "none", NULL, false);
	names("ramfs", "none", NULL, false);
	mkdir("/mnt/outward", 0700);
	if (!mount("none", "/mnt/outward", "tmpfs", 0, NULL))
		add("umount", "tmpfs", do_umount, -1, (long)"/mnt/outward",
		    true);
	names("hugetlbfs", "none", NULL, false);
	names("bpf", "none", NULL, true);
	names("mqueue", "none", NULL, false);
	names("configfs", "none", NULL, true);
	names("cgroup2", "none", NULL, true);
	names("tracefs", "none", NULL, true);
	names("binfmt_misc", "none", NULL, true);
	names("devpts", "none", NULL, true);
	names("pstore", "none", NULL, true);
	names("proc", "none", NULL, true);
	names("sysfs", "none", NULL, true);
	if (share && *share) {
		snprintf(path, sizeof(path), "%s/outward", share);
		add("mkdir", "9p", do_mkdir, -1, (long)strdup(path), true);
	}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*collect)(void);
	} parts[] = {
		{ "devices", devices },
		{ "sockets", sockets },
		{ "commands", commands },
		{ "files", files },
	};
	const char *what = getenv("WHAT");

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	mkdir(BATCH_DIR, 0700);
	/* One by one: some are not in every kernel. */
	if (system("for m in loop tun fuse cuse uinput uhid vhost_net "
		   "vhost_vsock vsock_loopback nvram ppp_generic btrfs vfio uio "
		   "snd-timer snd-seq msr cpuid hci_vhci i2c-dev dm-mod "
		   "ipmi_devintf kvm raw sctp dccp l2tp_ip l2tp_ip6 rds tipc "
		   "smc kcm can can-raw can-bcm can-j1939 can-isotp bluetooth "
		   "rfcomm ax25 netrom rose phonet qrtr ieee802154_socket nfc "
		   "pppoe llc2 appletalk af_key af_alg algif_hash rxrpc atm "
		   "configfs; do modprobe -q $m; done; true") ||
	    outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	make_kinds();
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (!what || !strcmp(what, parts[i].name))
			parts[i].collect();
	ksft_set_plan(nr_probes + 1);
	batch_run(probes, nr_probes);
	for (int i = 0; i < nr_probes; i++)
		if (probes[i].fd >= 0)
			close(probes[i].fd);
	outside_close();
	if (system("umount -l /mnt/outward* 2>/dev/null; rm -rf /dev/batch; "
		   "for m in config security; do "
		   "umount /sys/kernel/$m 2>/dev/null; done; "
		   "umount /sys/fs/cgroup 2>/dev/null; true"))
		ksft_print_msg("cannot clean up\n");
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
