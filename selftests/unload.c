// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=420 */
/*
 * Law 5: unloading at any time. Tasks are asleep inside wrapped functions when
 * the modules go; the modules must go promptly, the tasks must not notice, and
 * what they were waiting for must still reach them. Then everything is loaded
 * and unloaded in a loop while other tasks keep calling the wrapped functions.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define PROMPT_MS 20000
#define FIFO "/tmp/unload.fifo"

static int p[2], stream[2], dgram[2], tcp_listen, master, slave, packet;
static int msg, sem, event, notify;
static mqd_t mq;
static int netlink;
static struct sockaddr_ll lo = {
	.sll_family = AF_PACKET, .sll_halen = ETH_ALEN,
};

static struct sockaddr_nl netlink_addr = { .nl_family = AF_NETLINK };
static struct sockaddr_in tcp_addr = { .sin_family = AF_INET };

static int one(int fd)
{
	char c;

	return read(fd, &c, 1) == 1 && c == 'x' ? 0 : 1;
}

static int sleep_pipe(void)
{
	return one(p[0]);
}

static int sleep_stream(void)
{
	return one(stream[0]);
}

static int sleep_dgram(void)
{
	return one(dgram[0]);
}

static int sleep_accept(void)
{
	int fd = accept(tcp_listen, NULL, NULL);

	return fd < 0 ? 1 : one(fd);
}

static int sleep_fifo(void)
{
	int fd = open(FIFO, O_RDONLY);

	return fd < 0 ? 1 : one(fd);
}

static int sleep_tty(void)
{
	return one(master);
}

static struct {
	long type;
	char text[1];
} message = { 1, "x" };

static int sleep_msg(void)
{
	return msgrcv(msg, &message, 1, 0, 0) != 1;
}

static int sleep_sem(void)
{
	struct sembuf op = { 0, -1, 0 };

	return semop(sem, &op, 1) != 0;
}

static int sleep_mq(void)
{
	char text[8];

	return mq_receive(mq, text, sizeof(text), NULL) != 1;
}

static int sleep_event(void)
{
	eventfd_t n;

	return eventfd_read(event, &n) != 0;
}

static int sleep_notify(void)
{
	char events[4096];

	return read(notify, events, sizeof(events)) <= 0;
}

static void wake_ipc(void)
{
	struct sembuf op = { 0, 1, 0 };

	if (msgsnd(msg, &message, 1, 0) || semop(sem, &op, 1) ||
	    mq_send(mq, "x", 1, 0) || eventfd_write(event, 1) ||
	    utimensat(AT_FDCWD, FIFO, NULL, 0))
		ksft_print_msg("cannot wake: %m\n");
}

static int sleep_packet(void)
{
	char frame[100];

	return read(packet, frame, sizeof(frame)) > 0 && *frame == 'x' ? 0 : 1;
}

static int sleep_netlink(void)
{
	return one(netlink);
}

static void wake_accept(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (void *)&tcp_addr, sizeof(tcp_addr)) ||
	    write(fd, "x", 1) != 1)
		ksft_print_msg("cannot connect: %m\n");
}

static void wake_fd(int fd)
{
	if (write(fd, "x", 1) != 1)
		ksft_print_msg("cannot write: %m\n");
}

static void wake_to(int fd, void *addr, socklen_t len)
{
	if (sendto(fd, "x", 1, 0, addr, len) != 1)
		ksft_print_msg("cannot send: %m\n");
}

static const struct {
	const char *name;
	int (*body)(void);
} sleepers[] = {
	{ "pipe read", sleep_pipe },	 { "unix stream read", sleep_stream },
	{ "unix dgram read", sleep_dgram }, { "tcp accept", sleep_accept },
	{ "fifo open", sleep_fifo },	 { "pty read", sleep_tty },
	{ "msgrcv", sleep_msg },	 { "semop", sleep_sem },
	{ "mq_receive", sleep_mq },	 { "eventfd read", sleep_event },
	{ "inotify read", sleep_notify },
	{ "packet read", sleep_packet }, { "netlink read", sleep_netlink },
};

#define NR ARRAY_SIZE(sleepers)

static void make_objects(void)
{
	socklen_t len = sizeof(tcp_addr);

	tcp_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	tcp_listen = socket(AF_INET, SOCK_STREAM, 0);
	unlink(FIFO);
	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (system("ip link set lo up") || pipe(p) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, stream) ||
	    socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) ||
	    bind(tcp_listen, (void *)&tcp_addr, len) ||
	    getsockname(tcp_listen, (void *)&tcp_addr, &len) ||
	    listen(tcp_listen, 5) || mkfifo(FIFO, 0600) || grantpt(master) ||
	    unlockpt(master))
		ksft_exit_fail_msg("cannot make objects: %m\n");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);

	msg = msgget(IPC_PRIVATE, 0600);
	sem = semget(IPC_PRIVATE, 1, 0600);
	mq_unlink("/unload");
	mq = mq_open("/unload", O_CREAT | O_RDWR, 0600,
		     &(struct mq_attr){ .mq_maxmsg = 1, .mq_msgsize = 8 });
	event = eventfd(0, 0);
	notify = inotify_init();
	if (msg < 0 || sem < 0 || mq < 0 || event < 0 ||
	    inotify_add_watch(notify, FIFO, IN_ATTRIB) < 0)
		ksft_exit_fail_msg("cannot make objects: %m\n");

	/* A protocol of its own: other tests' packets do not wake it. */
	packet = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_802_EX1));
	lo.sll_protocol = htons(ETH_P_802_EX1);
	lo.sll_ifindex = if_nametoindex("lo");
	netlink = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_USERSOCK);
	len = sizeof(netlink_addr);
	if (packet < 0 || bind(packet, (void *)&lo, sizeof(lo)) ||
	    netlink < 0 || bind(netlink, (void *)&netlink_addr, len) ||
	    getsockname(netlink, (void *)&netlink_addr, &len))
		ksft_exit_fail_msg("cannot make packet or netlink socket: %m\n");
}

static void sleepers_survive(void)
{
	pid_t pid[NR];
	long long t;
	int status;

	make_objects();
	if (source_open())
		ksft_exit_fail_msg("cannot load the modules\n");
	for (unsigned int i = 0; i < NR; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			/* An open file of the test source would pin it. */
			close(source_taint);
			close(source_commit);
			_exit(sleepers[i].body());
		}
	}
	sleep_ms(1000);
	t = now_ms();
	status = source_close();
	t = now_ms() - t;
	ksft_print_msg("unloading took %lld ms\n", t);
	ksft_test_result(!status && t < PROMPT_MS * slowness(),
			 "modules unload under %d sleepers\n", (int)NR);

	wake_fd(p[1]);
	wake_fd(stream[1]);
	wake_fd(dgram[1]);
	wake_accept();
	wake_ipc();
	wake_fd(open(FIFO, O_WRONLY));
	wake_fd(slave);
	wake_to(packet, &lo, sizeof(lo));
	wake_to(netlink, &netlink_addr, sizeof(netlink_addr));
	for (unsigned int i = 0; i < NR; i++) {
		int tries = 50;

		while (!waitpid(pid[i], &status, WNOHANG) && tries--)
			sleep_ms(100);
		if (tries < 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], &status, 0);
		}
		ksft_test_result(tries >= 0 && WIFEXITED(status) &&
				 !WEXITSTATUS(status),
				 "%s: goes on after the unload\n",
				 sleepers[i].name);
	}
}

/* Calls the wrapped functions as fast as it can. */
static void busy(void)
{
	int q[2], u[2];
	struct stat st;
	char c = 'x';

	if (pipe(q) || socketpair(AF_UNIX, SOCK_STREAM, 0, u))
		_exit(1);
	for (;;) {
		if (write(q[1], &c, 1) != 1 || read(q[0], &c, 1) != 1 ||
		    write(u[1], &c, 1) != 1 || read(u[0], &c, 1) != 1 ||
		    stat("/etc/passwd", &st) || c != 'x')
			_exit(1);
	}
}

static void load_loop(void)
{
	pid_t pid[2];
	int status, loops;
	bool ok = true;

	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			busy();
	}
	for (loops = 0; loops < 3 && ok; loops++) {
		ok = !source_open();
		sleep_ms(200);
		ok = !source_close() && ok;
	}
	for (int i = 0; i < 2; i++) {
		ok = !waitpid(pid[i], &status, WNOHANG) && ok;
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	ksft_test_result(ok, "loads and unloads under load, %d times\n", loops);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(NR + 2);
	sleepers_survive();
	load_loop();
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
