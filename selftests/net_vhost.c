// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=120 */
/*
 * Law 1 for vhost: a kernel thread sends what a process has put into a ring, when
 * the process rings its eventfd. A process with dependencies waits before it
 * does; the frame is looked for on the tap device. Control: a clean one.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define TAP "vhosttap"
#define QUEUE 1 /* the one that sends */
#define SLOTS 8
#define PROTOCOL 0x88b5 /* for experiments */

static void must(const char *what, long ret)
{
	if (ret < 0) {
		perror(what);
		_exit(1);
	}
}

static int open_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR);

	must("/dev/net/tun", fd);
	strcpy(ifr.ifr_name, TAP);
	must("TUNSETIFF", ioctl(fd, TUNSETIFF, &ifr));
	return fd;
}

/* All is set up while it is clean; then one frame is put into the ring. */
static void sender(int tap, bool tainted)
{
	static const unsigned char head[14] = { 255, 255, 255, 255, 255, 255,
						2, 0, 0, 0, 0, 1,
						PROTOCOL >> 8, PROTOCOL & 255 };
	int vhost = open("/dev/vhost-net", O_RDWR), kick = eventfd(0, 0);
	char *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *frame = memory + 8192;
	unsigned long long features = 0, one = 1;
	struct vhost_vring_state num = { QUEUE, SLOTS }, base = { QUEUE, 0 };
	struct vhost_vring_file kick_file = { QUEUE, kick },
				call_file = { QUEUE, eventfd(0, 0) },
				backend = { QUEUE, tap };
	struct {
		struct vhost_memory memory;
		struct vhost_memory_region region;
	} table = { { 1, 0 }, { (unsigned long)memory, 1 << 16,
				(unsigned long)memory, 0 } };
	struct vhost_vring_addr addr = { .index = QUEUE };
	struct vring ring;

	must("/dev/vhost-net", vhost);
	vring_init(&ring, SLOTS, memory, 4096);
	addr.desc_user_addr = (unsigned long)ring.desc;
	addr.avail_user_addr = (unsigned long)ring.avail;
	addr.used_user_addr = (unsigned long)ring.used;
	must("owner", ioctl(vhost, VHOST_SET_OWNER));
	must("features", ioctl(vhost, VHOST_SET_FEATURES, &features));
	must("memory", ioctl(vhost, VHOST_SET_MEM_TABLE, &table));
	must("num", ioctl(vhost, VHOST_SET_VRING_NUM, &num));
	must("base", ioctl(vhost, VHOST_SET_VRING_BASE, &base));
	must("addr", ioctl(vhost, VHOST_SET_VRING_ADDR, &addr));
	must("kick", ioctl(vhost, VHOST_SET_VRING_KICK, &kick_file));
	must("call", ioctl(vhost, VHOST_SET_VRING_CALL, &call_file));
	must("backend", ioctl(vhost, VHOST_NET_SET_BACKEND, &backend));

	/* Until vhost has looked, found nothing and asked for a ring. */
	sleep_ms(300);
	if (tainted)
		taint();
	memset(frame, 0, 128);
	memcpy(frame + sizeof(struct virtio_net_hdr), head, sizeof(head));
	ring.desc[0].addr = (unsigned long)frame;
	ring.desc[0].len = sizeof(struct virtio_net_hdr) + 64;
	ring.avail->ring[0] = 0;
	__sync_synchronize();
	ring.avail->idx = 1;
	must("write", write(kick, &one, 8));
	sleep_ms(10000);
	_exit(0);
}

static bool arrives(int sniffer, int ms)
{
	struct pollfd p = { sniffer, POLLIN, 0 };
	char frame[256];

	return poll(&p, 1, ms) == 1 &&
	       recv(sniffer, frame, sizeof(frame), 0) > 0;
}

int main(void)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(PROTOCOL) };
	int tap, sniffer;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(4);
	if (system("modprobe -a tun vhost_net af_packet") || source_open())
		ksft_exit_fail_msg("cannot set up\n");
	tap = open_tap();
	if (system("ip link set " TAP " up"))
		ksft_exit_fail_msg("no tap\n");
	ll.sll_ifindex = if_nametoindex(TAP);
	sniffer = socket(AF_PACKET, SOCK_RAW, htons(PROTOCOL));
	if (bind(sniffer, (struct sockaddr *)&ll, sizeof(ll)))
		ksft_exit_fail_msg("bind: %m\n");

	for (int tainted = 0; tainted < 2; tainted++) {
		pid_t a = fork();

		if (!a)
			sender(tap, tainted);
		ksft_test_result(arrives(sniffer, 1500) == !tainted, "%s\n",
				 tainted ? "not before the commit" :
					   "a clean process sends at once");
		if (tainted) {
			commit_all();
			ksft_test_result(arrives(sniffer, 3000),
					 "after the commit\n");
		}
		kill(a, SIGKILL);
		waitpid(a, NULL, 0);
	}
	close(sniffer);
	close(tap);
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
