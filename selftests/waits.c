// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=240 */
/*
 * Law 1 for everything that is neither passed on nor held (output/wait.c): a
 * process that depends on a commit that has not happened waits in the call
 * until it has; see waits.h.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "int80.h"
#include "uring.h"
#include "waits.h"

static int id;

static void mk_none(void)
{
	fd = -1;
}

static void mk_null(void)
{
	opened(open("/dev/null", O_WRONLY));
}

static void mk_urandom(void)
{
	opened(open("/dev/urandom", O_WRONLY));
}

static void mk_kmsg(void)
{
	opened(open("/dev/kmsg", O_WRONLY));
}

static void mk_ram(void)
{
	opened(open("/dev/ram0", O_WRONLY));
}

static void mk_proc(void)
{
	opened(open("/proc/sys/vm/swappiness", O_RDWR));
}

static void mk_sysfs(void)
{
	opened(open("/sys/class/net/lo/ifalias", O_WRONLY));
}

static void mk_event(void)
{
	opened(eventfd(0, 0));
}

static void mk_udp(void)
{
	opened(socket(AF_INET, SOCK_DGRAM, 0));
}

static void mk_netlink(void)
{
	opened(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static void mk_packet(void)
{
	opened(socket(AF_PACKET, SOCK_RAW, 0));
}

static void mk_alg(void)
{
	struct sockaddr_alg a = { AF_ALG, "hash", 0, 0, "sha256" };
	int s = socket(AF_ALG, SOCK_SEQPACKET, 0);

	if (s < 0 || bind(s, (void *)&a, sizeof(a)))
		ksft_exit_fail_msg("AF_ALG: %m\n");
	opened(accept(s, NULL, NULL));
	close(s);
}

static void mk_vsock(void)
{
	opened(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static void mk_msg(void)
{
	id = msgget(IPC_PRIVATE, 0600);
	fd = -1;
}

static void mk_sem(void)
{
	id = semget(IPC_PRIVATE, 1, 0600);
	fd = -1;
}

static void mk_mq(void)
{
	mq_unlink("/waits");
	opened(mq_open("/waits", O_CREAT | O_RDWR, 0600, NULL));
}

static void mk_ext4(void)
{
	opened(open("/mnt/waits/file", O_CREAT | O_RDWR, 0600));
}

static void mk_tmpfs(void)
{
	opened(open("/tmp/waits", O_CREAT | O_RDWR, 0600));
}

static void mk_sink(void)
{
	opened(socket(AF_INET, SOCK_STREAM, 0));
}

static void mk_ring(void)
{
	struct io_uring_params par = {};

	opened(syscall(SYS_io_uring_setup, 4, &par));
}

static int do_uring_cmd(void)
{
	errno = -uring_do(0, 0, IORING_OP_URING_CMD, fd, NULL, 0);
	return -errno;
}

static int do_msg_ring(void)
{
	errno = -uring_do(0, 0, IORING_OP_MSG_RING, fd, NULL, 1);
	return -errno;
}

static int do_write(void)
{
	return write(fd, "60\n", 3);
}

static int do_event(void)
{
	unsigned long long one = 1;

	return write(fd, &one, 8);
}

static int do_read_proc(void)
{
	char c;

	return read(fd, &c, 1);
}

static int do_netlink(void)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} req = { { sizeof(req), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP },
		  { AF_UNSPEC } };

	return send(fd, &req, sizeof(req), 0);
}

static int do_packet(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_halen = 6 };
	struct ifreq ifr = { .ifr_name = "in0" };
	char frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	ioctl(fd, SIOCGIFINDEX, &ifr);
	a.sll_ifindex = ifr.ifr_ifindex;
	return sendto(fd, frame, sizeof(frame), 0, (void *)&a, sizeof(a));
}

static int do_send(void)
{
	return send(fd, "x", 1, 0);
}

static int do_vsock(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = 1234,
				 .svm_port = 1 };

	connect(fd, (void *)&a, sizeof(a));
	return 0;
}

static int do_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9) };

	inet_pton(AF_INET, OUTSIDE_ADDR, &a.sin_addr);
	connect(fd, (void *)&a, sizeof(a)); /* refused: an answer came */
	return 0;
}

static int do_ioctl_unknown(void)
{
	struct ifreq ifr = { .ifr_name = "in0" };

	ifr.ifr_mtu = 1400;
	return ioctl(fd, SIOCSIFMTU, &ifr);
}

static int do_ioctl_harmless(void)
{
	int n;

	return ioctl(fd, FIONREAD, &n);
}

static int do_multicast(void)
{
	struct ip_mreqn m = { .imr_multiaddr.s_addr = inet_addr("239.1.2.3"),
			      .imr_address.s_addr = inet_addr("10.99.0.1") };

	return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m));
}

static int do_sockopt(void)
{
	int n = 65536;

	return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof(n));
}

static int do_msgsnd(void)
{
	struct {
		long type;
		char c;
	} m = { 1, 'x' };

	return msgsnd(id, &m, 1, 0);
}

static int do_semop(void)
{
	struct sembuf op = { 0, 1, 0 };

	return semop(id, &op, 1);
}

static int do_mq(void)
{
	mqd_t made = mq_open("/waits.new", O_CREAT | O_RDWR, 0600, NULL);

	if (made < 0 || mq_unlink("/waits.new"))
		return -1;
	mq_close(made);
	return mq_send(fd, "x", 1, 0);
}

static int do_hostname(void)
{
	return sethostname("xsync", 5);
}

static int do_mount(void)
{
	int err = mount("none", "/tmp/waits.dir", "tmpfs", 0, NULL);

	if (!err)
		umount("/tmp/waits.dir");
	return err;
}

static int do_fsync(void)
{
	return write(fd, "x", 1) == 1 ? fsync(fd) : -1;
}

static int do_fdatasync(void)
{
	return write(fd, "x", 1) == 1 ? fdatasync(fd) : -1;
}

static int do_syncfs(void)
{
	return syncfs(fd);
}

static int do_mkdir_debugfs(void)
{
	return mkdir("/sys/fs/cgroup/waits", 0700) && errno != EEXIST ? -1 : 0;
}

static int do_bpf(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 4,
				.max_entries = 1 };

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int do_key(void)
{
	return syscall(SYS_add_key, "user", "waits", "x", 1, -3);
}

static void mk_epoll(void)
{
	opened(epoll_create1(0));
}

static int do_epoll(void)
{
	struct epoll_event e = { .events = EPOLLIN };

	return epoll_ctl(fd, EPOLL_CTL_ADD, outside_tx, &e);
}

/* The parent keeps it. */
static void mk_shared_epoll(void)
{
	static int shared = -1;

	mk_epoll();
	close(shared);
	shared = dup(fd);
}

static int do_own_epoll(void)
{
	mk_epoll();
	return do_epoll();
}

static int do_request_key(void)
{
	/* There is none, and without a helper there will not be. */
	syscall(SYS_request_key, "user", "waits.none", NULL, -3);
	return 0;
}

static int do_keyctl(void)
{
	return syscall(SYS_keyctl, 0, -3, 1, 0, 0) < 0; /* the keyring's id */
}

/* As a 32-bit program makes them; memory with a 32-bit address. */
static char *low;

static void mk_low(void)
{
	fd = -1;
	if (!low)
		low = low_page();
	if (low == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %m\n");
	strcpy(low, "user");
	strcpy(low + 16, "waits32");
}

static int do_key32(void)
{
	return int80(286, (long)low, (long)low + 16, (long)low, 1, -3);
}

static int do_request_key32(void)
{
	int80(287, (long)low, (long)low + 16, 0, -3, 0);
	return 0;
}

static int do_keyctl32(void)
{
	return int80(288, 0, -3, 1, 0, 0);
}

static int do_getpid(void)
{
	return syscall(SYS_getpid) < 0;
}

static const struct wait_row rows[] = {
	{ "getpid", mk_none, do_getpid, false },
	{ "write /dev/null", mk_null, do_write, false },
	{ "write /dev/urandom", mk_urandom, do_write, false },
	{ "ioctl FIONREAD", mk_udp, do_ioctl_harmless, false },
	{ "setsockopt SO_RCVBUF", mk_udp, do_sockopt, false },
	{ "read /proc/sys", mk_proc, do_read_proc, false },
	{ "write+fsync on tmpfs", mk_tmpfs, do_fsync, false },
	{ "write eventfd", mk_event, do_event, false },
	{ "msgsnd", mk_msg, do_msgsnd, false },
	{ "semop", mk_sem, do_semop, false },
	{ "mq_open+mq_send", mk_mq, do_mq, false },
	{ "write /dev/kmsg", mk_kmsg, do_write, true },
	{ "write a block device", mk_ram, do_write, true },
	{ "write /proc/sys", mk_proc, do_write, true },
	{ "write sysfs", mk_sysfs, do_write, true },
	{ "mkdir in cgroup2", mk_none, do_mkdir_debugfs, true },
	{ "netlink send", mk_netlink, do_netlink, true },
	{ "packet sendto", mk_packet, do_packet, true },
	{ "AF_ALG send", mk_alg, do_send, true },
	{ "vsock connect", mk_vsock, do_vsock, true },
	{ "tcp connect to the outside", mk_sink, do_connect, true },
	{ "io_uring device command", mk_null, do_uring_cmd, true },
	{ "io_uring message to another ring", mk_ring, do_msg_ring, true },
	{ "unknown ioctl", mk_udp, do_ioctl_unknown, true },
	{ "multicast join", mk_udp, do_multicast, true },
	{ "sethostname", mk_none, do_hostname, true },
	{ "mount", mk_none, do_mount, true },
	{ "fsync on another disk", mk_ext4, do_fsync, true },
	{ "fdatasync on another disk", mk_ext4, do_fdatasync, true },
	{ "syncfs on another disk", mk_ext4, do_syncfs, true },
	{ "bpf", mk_none, do_bpf, true },
	{ "add_key", mk_none, do_key, true },
	{ "epoll_ctl", mk_none, do_own_epoll, false },
	{ "epoll_ctl of a shared set", mk_shared_epoll, do_epoll, true },
	{ "request_key", mk_none, do_request_key, true },
	{ "keyctl", mk_none, do_keyctl, true },
	{ "32-bit add_key", mk_low, do_key32, true },
	{ "32-bit request_key", mk_low, do_request_key32, true },
	{ "32-bit keyctl", mk_low, do_keyctl32, true },
};

int main(void)
{
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(2 * ARRAY_SIZE(rows) + 1);
	mkdir("/tmp/waits.dir", 0700);
	mkdir("/mnt/waits", 0700);
	if (system("modprobe -a brd vsock_loopback af_alg algif_hash ext4 && "
		   "mkfs.ext4 -q -F /dev/ram1 && mount /dev/ram1 /mnt/waits && "
		   "mkdir -p /sys/fs/cgroup && { mountpoint -q /sys/fs/cgroup || "
		   "mount -t cgroup2 none /sys/fs/cgroup; }") ||
	    outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_wait(&rows[i], taint, commit_all);
	outside_close();
	rmdir("/sys/fs/cgroup/waits");
	if (system("umount /sys/fs/cgroup; umount /mnt/waits"))
		ksft_print_msg("umount failed\n");
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
