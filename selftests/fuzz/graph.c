// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a batch of process graphs and tells what happened: graph SCRIPT
 *
 * The script is made by fuzz.py: objects, processes and what each does when. All
 * objects are made here before a process is born, each process keeps only those
 * that it uses, and then they run by the clock. What each operation returned, and
 * which tokens it has seen, is written to a file of the process in memory, which
 * nobody reads before all is durable. A token is the number of the operation that
 * has written it, so fuzz.py can tell exactly what was known to whom.
 *
 * This process and its parent are exempt (PR_SET_IO_FLUSHER): they take nothing
 * over from what they look at. The processes of the graph are not.
 *
 * What comes out on stdout:
 *	rec OP RESULT ERRNO BEGIN END TOKEN...	an operation
 *	seen EPOCH OP			it has come out; before commit number EPOCH
 *	commit EPOCH SEQ TIME		what that commit made durable
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "../gate.h"
#include "../uring.h"

#define SOURCE		"/sys/kernel/debug/speculator-test/0/"
#define OUTSIDE		"10.99.0.2"
#define MAX_OBJECTS	400
#define MAX_PROCS	300
#define MAX_OPS		4000
#define TOKENS		40	/* that one operation can see */
#define SLOTS		16	/* words of a shared memory, of a file */
#define SIZE		4096	/* of them, at first */
#define PATIENCE_MS	20	/* an operation that sleeps gives up */
#define RUN_MS		700	/* bound for what comes before the last commit */
#define SETTLE_MS	60	/* from the last operation to the last look */
#define END_MS		6000	/* bound for what comes after it */
#define CHAN_UDP_PORT	7
#define CHAN_TCP_PORT	8
#define PRIVATE		((unsigned int *)0x10000000)	/* see vm_read() */
#define INBOX		16
#define END_OF_PROC	0xffffffffU

/* Descriptors have fixed numbers, so that they are known after an exec. */
#define FD_OBJECT	100
#define FD_TAINT	90
#define FD_LOG		2000
#define FD_SPARE	1500

struct object {
	char name[24];
	char kind[24];
	char path[128];
	char memory;		/* can be mapped */
	int id;			/* System V */
	unsigned int *map;
	int rx;			/* an output: where it comes out */
	int rx_len;
	char rx_buf[4096];
	bool seen[MAX_OPS];
};

struct op {
	int proc;
	long at;		/* microseconds after the start */
	char name[16];
	int obj, obj2;		/* objects or -1 */
	int to;			/* a process or -1 */
	int m, a;		/* a variant, an argument */
};

struct record {
	unsigned int op;
	int res, err;
	unsigned int n;
	unsigned long long t0, t1;
	unsigned int tok[TOKENS];
};

static struct object objs[MAX_OBJECTS];
static struct op ops[MAX_OPS];
static int nr_objs, nr_procs, nr_ops;
static int parent_of[MAX_PROCS];
static char uses[MAX_PROCS][MAX_OBJECTS];	/* bits: which ends */
static bool stores[MAX_PROCS][MAX_OBJECTS];
static bool gate, source, exempt;
static int commits[16], nr_commits;
static char dir[64], mdir[64];
static const char *script;
static unsigned long long start;
static int pid_base;

static int me;			/* which process of the graph this is */
static off_t log_at;

static void die(const char *what)
{
	fprintf(stderr, "graph: %s: %m\n", what);
	exit(1);
}

static unsigned long long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static void sleep_until(unsigned long long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

static int fd_of(int obj, int end)
{
	return FD_OBJECT + 2 * obj + end;
}

static pid_t pid_of(int proc)
{
	return pid_base + proc;
}

static bool is(int obj, const char *kind)
{
	return !strcmp(objs[obj].kind, kind);
}

static bool is_listener(int obj)
{
	return is(obj, "lstream") || is(obj, "ltcp");
}

/* --- the script ------------------------------------------------------------ */

static int object_named(const char *name)
{
	for (int i = 0; i < nr_objs; i++)
		if (!strcmp(objs[i].name, name))
			return i;
	return -1;
}

static void parse_do(char *rest)
{
	struct op *o = &ops[nr_ops];
	char *word, *save;
	int field = 0;

	o->obj = -1;
	o->obj2 = -1;
	o->to = -1;
	for (word = strtok_r(rest, "\n ", &save); word;
	     word = strtok_r(NULL, "\n ", &save), field++) {
		if (field == 0)
			o->proc = atoi(word + 1);
		else if (field == 1)
			o->at = atol(word);
		else if (field == 2)
			strncpy(o->name, word, sizeof(o->name) - 1);
		else if (!strncmp(word, "m=", 2))
			o->m = atoi(word + 2);
		else if (!strncmp(word, "a=", 2))
			o->a = atoi(word + 2);
		else if (word[0] == 'p' && word[1] >= '0' && word[1] <= '9')
			o->to = atoi(word + 1);
		else if (o->obj < 0)
			o->obj = object_named(word);
		else
			o->obj2 = object_named(word);
	}
	nr_ops++;
}

/* Which ends of its object an operation needs. The rest is closed. */
static int ends_of(const struct op *o, bool second)
{
	static const struct {
		const char *name;
		char ends, ends2;
	} table[] = {
		{ "read", 1 }, { "ready", 1 }, { "write", 2 }, { "shut", 2 },
		{ "rwrite", 1 }, { "rread", 2 }, { "close", 0 },
		{ "splice", 1, 2 }, { "tee", 1, 2 },
		{ "sendfd", 2, 3 }, { "recvfd", 1, 0 },
	};

	for (unsigned int i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strcmp(o->name, table[i].name))
			return second ? table[i].ends2 : table[i].ends;
	return 3;
}

static void parse(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256], word[32];
	int n;

	if (!file)
		die(path);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31s%n", word, &n) != 1 || word[0] == '#')
			continue;
		if (!strcmp(word, "obj")) {
			if (sscanf(line + n, "%23s %23s", objs[nr_objs].name,
				   objs[nr_objs].kind) != 2)
				die(line);
			nr_objs++;
		} else if (!strcmp(word, "proc")) {
			if (sscanf(line + n, " p%*d p%d", &parent_of[nr_procs]) != 1)
				parent_of[nr_procs] = -1;
			nr_procs++;
		} else if (!strcmp(word, "do")) {
			parse_do(line + n);
		} else if (!strcmp(word, "commit")) {
			commits[nr_commits++] = atoi(line + n);
		} else if (!strcmp(word, "gate")) {
			gate = true;
		} else if (!strcmp(word, "source")) {
			source = true;
		} else if (!strcmp(word, "exempt")) {
			exempt = true;
		} else if (!strcmp(word, "pids")) {
			pid_base = atoi(line + n);
		} else if (!strcmp(word, "dirs")) {
			if (sscanf(line + n, "%63s %63s", dir, mdir) != 2)
				die(line);
		}
	}
	fclose(file);

	/* What is passed at run time is not there from the beginning. */
	for (int p = 0; p < nr_procs; p++) {
		bool passed[MAX_OBJECTS] = {};

		for (int i = 0; i < nr_ops; i++) {
			struct op *o = &ops[i];
			bool gets = !strcmp(o->name, "recvfd") ||
				    !strcmp(o->name, "getfd");

			if (o->proc != p)
				continue;
			if (o->obj >= 0 && !passed[o->obj] &&
			    strcmp(o->name, "getfd")) {
				uses[p][o->obj] |= ends_of(o, false);
				if (!strcmp(o->name, "store"))
					stores[p][o->obj] = true;
			}
			if (o->obj2 >= 0 && !gets && !passed[o->obj2])
				uses[p][o->obj2] |= ends_of(o, true);
			if (!strcmp(o->name, "recvfd"))
				passed[o->obj2] = true;
			if (!strcmp(o->name, "getfd"))
				passed[o->obj] = true;
		}
	}
	/* A child is born with what its parent has. */
	for (int p = nr_procs - 1; p >= 0; p--)
		for (int i = 0; i < nr_objs && parent_of[p] >= 0; i++) {
			uses[parent_of[p]][i] |= uses[p][i];
			stores[parent_of[p]][i] |= stores[p][i];
		}
}

/* --- objects --------------------------------------------------------------- */

static void place(int obj, int end, int fd)
{
	if (fd < 0)
		die(objs[obj].name);
	if (dup2(fd, fd_of(obj, end)) < 0)
		die("dup2");
	close(fd);
}

static void make_pair(int obj, int domain, int type)
{
	struct sockaddr_storage addr = {};
	socklen_t len = domain == AF_INET ? sizeof(struct sockaddr_in) :
					    sizeof(struct sockaddr_in6);
	int a = socket(domain, type, 0), b = socket(domain, type, 0), one = 1;

	addr.ss_family = domain;
	if (domain == AF_INET)
		((struct sockaddr_in *)&addr)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&addr)->sin6_addr = in6addr_loopback;
	if (bind(a, (void *)&addr, len) || getsockname(a, (void *)&addr, &len))
		die("bind");
	if (type == SOCK_STREAM) {
		int l = a;

		if (listen(l, 1) || connect(b, (void *)&addr, len))
			die("loopback");
		a = accept(l, NULL, NULL);
		close(l);
		setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	} else {
		if (connect(b, (void *)&addr, len) ||
		    getsockname(b, (void *)&addr, &len) ||
		    connect(a, (void *)&addr, len))
			die("loopback");
	}
	place(obj, 0, a);
	place(obj, 1, b);
}

static void make_listener(int obj)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd;

	if (is(obj, "ltcp")) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (bind(fd, (void *)&in, sizeof(in)) || listen(fd, 16))
			die("listen");
	} else {
		fd = socket(AF_UNIX, is(obj, "lstream") ? SOCK_STREAM :
							  SOCK_DGRAM, 0);
		strcpy(un.sun_path, objs[obj].path);
		if (bind(fd, (void *)&un, sizeof(un)) ||
		    (is(obj, "lstream") && listen(fd, 16)))
			die("listen");
	}
	place(obj, 0, fd);
}

static void make_pty(int obj)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios t;

	if (master < 0 || grantpt(master) || unlockpt(master))
		die("pty");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	tcgetattr(slave, &t);
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	place(obj, 0, master);
	place(obj, 1, slave);
}

/* A file of SIZE zeros. */
static int make_file(const char *path)
{
	static const char zeros[SIZE];
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (fd < 0 || write(fd, zeros, SIZE) != SIZE)
		die(path);
	return fd;
}

/* How an output is heard: from inside of the namespace that is outside. */
static int outside_listener = -1, outside_udp = -1;
static char *serial_path;
static off_t serial_at;

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path);
	close(fd);
}

static void open_outside(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int here = open("/proc/self/ns/net", O_RDONLY), one = 1;
	int size = 1 << 20;

	enter("/run/netns/outside");
	outside_udp = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(outside_udp, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	addr.sin_port = htons(CHAN_UDP_PORT);
	if (bind(outside_udp, (void *)&addr, sizeof(addr)))
		die("outside udp");
	outside_listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(outside_listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	addr.sin_port = htons(CHAN_TCP_PORT);
	if (bind(outside_listener, (void *)&addr, sizeof(addr)) ||
	    listen(outside_listener, 64))
		die("outside tcp");
	if (setns(here, CLONE_NEWNET))
		die("setns");
	close(here);
	if (getenv("XSYNC_OBS_LOG") &&
	    asprintf(&serial_path, "%s.serial", getenv("XSYNC_OBS_LOG")) > 0) {
		struct stat st;

		serial_at = stat(serial_path, &st) ? 0 : st.st_size;
	}
}

static void make_output(int obj)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct object *o = &objs[obj];
	static int vt = 12;
	int fd, one = 1;
	bool tcp = is(obj, "Tcp");
	struct termios t;

	inet_pton(AF_INET, OUTSIDE, &addr.sin_addr);
	addr.sin_port = htons(tcp ? CHAN_TCP_PORT : CHAN_UDP_PORT);
	o->rx = -1;
	if (is(obj, "Udp") || tcp) {
		fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
		if (connect(fd, (void *)&addr, sizeof(addr)))
			die("connect to the outside");
		if (tcp) {
			o->rx = accept(outside_listener, NULL, NULL);
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		}
	} else if (is(obj, "Raw")) {
		fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
		if (connect(fd, (void *)&addr, sizeof(addr)))
			die("connect to the outside");
		shutdown(fd, SHUT_RD);
	} else if (is(obj, "Tty")) {
		sprintf(o->path, "/dev/tty%d", vt);
		fd = open(o->path, O_RDWR | O_NOCTTY);
		if (fd < 0 || write(fd, "\033c", 2) != 2)
			die(o->path);
		sprintf(o->path, "/dev/vcs%d", vt++);
		o->rx = open(o->path, O_RDONLY);
		if (o->rx < 0)
			die(o->path);
	} else {
		fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
		tcgetattr(fd, &t);
		cfmakeraw(&t);
		t.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &t);
	}
	place(obj, 0, fd);
}

static void make_object(int obj)
{
	struct object *o = &objs[obj];
	const char *k = o->kind, *top = k[0] == 'm' && k[1] == '-' ? mdir : dir;
	struct mq_attr attr = { .mq_maxmsg = 10, .mq_msgsize = 64 };
	int fd[2];

	sprintf(o->path, "%s/%s", top, o->name);
	if (top == mdir)
		memmove(o->kind, o->kind + 2, strlen(o->kind) - 1);
	if (is(obj, "pipe")) {
		if (pipe(fd))
			die("pipe");
		place(obj, 0, fd[0]);
		place(obj, 1, fd[1]);
	} else if (is(obj, "fifo")) {
		if (mkfifo(o->path, 0600))
			die("fifo");
	} else if (is(obj, "stream") || is(obj, "dgram") || is(obj, "seqpacket")) {
		if (socketpair(AF_UNIX, is(obj, "stream") ? SOCK_STREAM :
			       is(obj, "dgram") ? SOCK_DGRAM : SOCK_SEQPACKET,
			       0, fd))
			die("socketpair");
		place(obj, 0, fd[0]);
		place(obj, 1, fd[1]);
	} else if (is(obj, "tcp") || is(obj, "tcp6")) {
		make_pair(obj, is(obj, "tcp") ? AF_INET : AF_INET6, SOCK_STREAM);
	} else if (is(obj, "udp") || is(obj, "udp6")) {
		make_pair(obj, is(obj, "udp") ? AF_INET : AF_INET6, SOCK_DGRAM);
	} else if (is_listener(obj) || is(obj, "ldgram")) {
		make_listener(obj);
	} else if (is(obj, "pty")) {
		make_pty(obj);
	} else if (is(obj, "eventfd")) {
		place(obj, 0, eventfd(0, EFD_NONBLOCK));
	} else if (is(obj, "msg")) {
		o->id = msgget(IPC_PRIVATE, 0600);
	} else if (is(obj, "sem")) {
		o->id = semget(IPC_PRIVATE, 1, 0600);
	} else if (is(obj, "mq")) {
		sprintf(o->path, "/%s", o->name);
		mq_unlink(o->path);
		place(obj, 0, mq_open(o->path, O_RDWR | O_CREAT, 0600, &attr));
	} else if (is(obj, "sysv")) {
		o->id = shmget(IPC_PRIVATE, SIZE, 0600);
		o->memory = true;
	} else if (is(obj, "memfd")) {
		fd[0] = memfd_create(o->name, 0);
		if (ftruncate(fd[0], SIZE))
			die("memfd");
		place(obj, 0, fd[0]);
		o->memory = true;
	} else if (is(obj, "shm") || is(obj, "map")) {
		if (is(obj, "shm"))
			sprintf(o->path, "/dev/shm/%s", o->name);
		place(obj, 0, make_file(o->path));
		o->memory = true;
	} else if (is(obj, "anon")) {
		o->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		o->memory = true;
	} else if (is(obj, "file")) {
		place(obj, 0, make_file(o->path));
	} else if (is(obj, "lock")) {
		close(make_file(o->path));
	} else if (is(obj, "dir")) {
		if (mkdir(o->path, 0700))
			die(o->path);
		fd[0] = inotify_init1(IN_NONBLOCK);
		if (top == dir &&
		    inotify_add_watch(fd[0], o->path, IN_CREATE | IN_MOVED_TO) < 0)
			die("inotify");
		place(obj, 0, fd[0]);
		place(obj, 1, open(o->path, O_RDONLY | O_DIRECTORY));
	} else {
		make_output(obj);
	}
	if (o->id < 0)
		die(o->name);
}

/* For operations that rename: what they rename. */
static void make_names(void)
{
	char path[192];

	for (int i = 0; i < nr_ops; i++)
		if (!strcmp(ops[i].name, "mkname") && ops[i].m >= 4) {
			sprintf(path, "%s/b%d", objs[ops[i].obj].path, i + 1);
			close(open(path, O_CREAT | O_RDWR, 0600));
		}
}

static void map_object(int p, int obj)
{
	struct object *o = &objs[obj];
	int prot = PROT_READ | PROT_WRITE, fd = fd_of(obj, 0);

	if (is(obj, "anon")) {
		return;
	} else if (is(obj, "sysv")) {
		o->map = shmat(o->id, NULL, stores[p][obj] ? 0 : SHM_RDONLY);
	} else if (stores[p][obj] || is(obj, "memfd")) {
		o->map = mmap(NULL, SIZE, prot, MAP_SHARED, fd, 0);
	} else {
		/* This one can never store. */
		fd = open(o->path, O_RDONLY);
		o->map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (o->map == MAP_FAILED)
		die("map");
}

/* --- operations ------------------------------------------------------------ */

static void saw(struct record *r, unsigned int token)
{
	if (token && token <= (unsigned int)nr_ops && r->n < TOKENS)
		r->tok[r->n++] = token;
}

static void saw_words(struct record *r, const unsigned int *words, ssize_t bytes)
{
	for (int i = 0; i < bytes / 4; i++)
		saw(r, words[i]);
}

/* Bytes of a pty or pipe may be cut: ours are always written four at once. */
static int do_write(const struct op *o, int fd, unsigned int token)
{
	struct iovec v = { &token, sizeof(token) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct mmsghdr mm = { .msg_hdr = m };
	bool sock = !is(o->obj, "pipe") && !is(o->obj, "pty");

	switch (o->m) {
	case 1:
		return sock ? sendmsg(fd, &m, 0) : writev(fd, &v, 1);
	case 2:
		if (is(o->obj, "pipe"))
			return vmsplice(fd, &v, 1, 0);
		if (sock)
			return sendmmsg(fd, &mm, 1, 0) == 1 ? 4 : -1;
		return write(fd, &token, sizeof(token));
	case 3:
		return uring_do(0, 0, sock ? IORING_OP_SEND : IORING_OP_WRITE,
				fd, &token, sizeof(token));
	case 4: {
		int p[2], n;

		if (is(o->obj, "pty") || pipe(p))
			return write(fd, &token, sizeof(token));
		write(p[1], &token, sizeof(token));
		n = splice(p[0], NULL, fd, NULL, sizeof(token), 0);
		close(p[0]);
		close(p[1]);
		return n;
	}
	default:
		return write(fd, &token, sizeof(token));
	}
}

static int do_read(const struct op *o, int fd, unsigned int *buf, int len)
{
	struct iovec v = { buf, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct mmsghdr mm = { .msg_hdr = m };
	bool sock = !is(o->obj, "pipe") && !is(o->obj, "pty");
	struct pollfd p = { .fd = fd, .events = POLLIN };

	switch (o->m) {
	case 1:
		return sock ? recvmsg(fd, &m, 0) : readv(fd, &v, 1);
	case 2:
		if (sock)
			return recvmmsg(fd, &mm, 1, 0, NULL) == 1 ?
			       (int)mm.msg_len : -1;
		return read(fd, buf, len);
	case 3:
		/* A request that does not end cannot be given up. */
		if (poll(&p, 1, PATIENCE_MS) != 1)
			return -1;
		return uring_do(0, 0, sock ? IORING_OP_RECV : IORING_OP_READ,
				fd, buf, len);
	case 4: {
		int q[2], n;

		if (is(o->obj, "pty") || is(o->obj, "dgram") ||
		    is(o->obj, "seqpacket") || !strncmp(objs[o->obj].kind, "udp", 3) ||
		    pipe(q))
			return read(fd, buf, len);
		n = splice(fd, NULL, q[1], NULL, len, 0);
		if (n > 0)
			n = read(q[0], buf, n);
		close(q[0]);
		close(q[1]);
		return n;
	}
	default:
		return read(fd, buf, len);
	}
}

static int op_read(const struct op *o, struct record *r, int end)
{
	unsigned int buf[TOKENS];
	int n = do_read(o, fd_of(o->obj, end), buf, sizeof(buf));

	if (n > 0)
		saw_words(r, buf, n);
	return n;
}

static int op_fifo(const struct op *o, struct record *r, unsigned int token)
{
	int flags = token ? O_RDWR | O_NONBLOCK : O_RDONLY | O_NONBLOCK;
	int fd = open(objs[o->obj].path, flags), n;
	unsigned int buf[TOKENS];

	if (fd < 0)
		return -1;
	if (token)
		return write(fd, &token, 4);	/* stays open, or it is lost */
	fcntl(fd, F_SETFL, 0);
	n = read(fd, buf, sizeof(buf));
	if (n > 0)
		saw_words(r, buf, n);
	close(fd);
	return n;
}

static int op_sendfd(const struct op *o, unsigned int token)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec v = { &token, sizeof(token) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fds[2] = { fd_of(o->obj2, 0), fd_of(o->obj2, 1) }, n = 2;

	if (fcntl(fds[1], F_GETFD) < 0)
		n = 1;
	m.msg_controllen = CMSG_SPACE(n * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(fd_of(o->obj, 1), &m, 0);
}

static int op_recvfd(const struct op *o, struct record *r)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = {};
	unsigned int buf[TOKENS];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int n = recvmsg(fd_of(o->obj, 0), &m, 0), fds[2];
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (n > 0)
		saw_words(r, buf, n);
	if (n <= 0 || !c || c->cmsg_type != SCM_RIGHTS)
		return n;
	for (unsigned int i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / 4; i++) {
		memcpy(&fds[0], CMSG_DATA(c) + 4 * i, 4);
		dup2(fds[0], fd_of(o->obj2, i));
		close(fds[0]);
	}
	return n;
}

/* Another process's descriptors, without asking it. */
static int op_getfd(const struct op *o)
{
	int pidfd = syscall(SYS_pidfd_open, pid_of(o->to), 0), err = -1;

	if (pidfd < 0)
		return -1;
	for (int end = 0; end < 2; end++) {
		int fd = syscall(SYS_pidfd_getfd, pidfd, fd_of(o->obj, end), 0);

		if (fd >= 0) {
			dup2(fd, fd_of(o->obj, end));
			close(fd);
			err = 0;
		}
	}
	close(pidfd);
	return err;
}

static int op_connect(const struct op *o, unsigned int token)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int fd;

	if (is(o->obj, "ltcp")) {
		if (getsockname(fd_of(o->obj, 0), (void *)&addr, &len))
			return -1;
	} else {
		struct sockaddr_un *un = (void *)&addr;

		un->sun_family = AF_UNIX;
		strcpy(un->sun_path, objs[o->obj].path);
		len = sizeof(*un);
	}
	fd = socket(addr.ss_family, is(o->obj, "ldgram") ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (is(o->obj, "ldgram"))
		return sendto(fd, &token, 4, 0, (void *)&addr, len);
	if (connect(fd, (void *)&addr, len))
		return -1;
	if (o->m)
		return 0;	/* that somebody has connected says enough */
	return write(fd, &token, 4);
}

static int op_accept(const struct op *o, struct record *r)
{
	unsigned int buf[TOKENS];
	int fd, n;

	if (is(o->obj, "ldgram")) {
		n = read(fd_of(o->obj, 0), buf, sizeof(buf));
	} else {
		fd = accept(fd_of(o->obj, 0), NULL, NULL);
		if (fd < 0)
			return -1;
		n = o->m ? 0 : read(fd, buf, sizeof(buf));
		close(fd);
	}
	if (n > 0)
		saw_words(r, buf, n);
	return n;
}

struct message {
	long type;
	unsigned int token;
};

static int op_store(const struct op *o, unsigned int token)
{
	unsigned int *slot = objs[o->obj].map + o->a % SLOTS;

	__atomic_store_n(slot, token, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, slot, FUTEX_WAKE, 100, NULL, NULL, 0);
	return 0;
}

static int op_load(const struct op *o, struct record *r)
{
	unsigned int *slot = objs[o->obj].map;
	struct timespec ts = { .tv_nsec = PATIENCE_MS * 1000000 };

	if (o->m && __atomic_load_n(slot + o->a % SLOTS, __ATOMIC_SEQ_CST) == 0)
		syscall(SYS_futex, slot + o->a % SLOTS, FUTEX_WAIT, 0, &ts, NULL, 0);
	for (int i = 0; i < SLOTS; i++)
		saw(r, __atomic_load_n(slot + i, __ATOMIC_SEQ_CST));
	return r->n;
}

static int op_pwrite(const struct op *o, unsigned int token)
{
	int fd = fd_of(o->obj, 0), other, n;
	struct iovec v = { &token, 4 };
	loff_t at = o->a % SLOTS * 4;

	switch (o->m) {
	case 1:
		return pwritev2(fd, &v, 1, at, 0);
	case 2:
		/* by way of another file */
		other = memfd_create("copy", 0);
		if (write(other, &token, 4) != 4)
			return -1;
		lseek(other, 0, SEEK_SET);
		n = copy_file_range(other, (loff_t[]){ 0 }, fd, &at, 4, 0);
		close(other);
		if (n == 4)
			return n;
		return pwrite(fd, &token, 4, o->a % SLOTS * 4);
	default:
		return pwrite(fd, &token, 4, at);
	}
}

static int op_pread(const struct op *o, struct record *r)
{
	int fd = fd_of(o->obj, 0), n = -1, p[2];
	unsigned int buf[SLOTS] = {}, *map;
	struct iovec v = { buf, sizeof(buf) };
	off_t at = 0;

	switch (o->m) {
	case 1:
		n = preadv2(fd, &v, 1, 0, 0);
		break;
	case 2:
		if (pipe(p))
			return -1;
		n = sendfile(p[1], fd, &at, sizeof(buf));
		if (n > 0)
			n = read(p[0], buf, sizeof(buf));
		close(p[0]);
		close(p[1]);
		break;
	case 3:
		map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			return -1;
		memcpy(buf, map, sizeof(buf));
		munmap(map, SIZE);
		n = sizeof(buf);
		break;
	default:
		n = pread(fd, buf, sizeof(buf), 0);
	}
	if (n > 0)
		saw_words(r, buf, n);
	return n;
}

static int op_setmeta(const struct op *o, unsigned int token)
{
	int fd = fd_of(o->obj, 0);

	switch (o->m) {
	case 0:
		return ftruncate(fd, SIZE + token);
	case 1:
		return fchown(fd, token, -1);
	case 2:
		return fsetxattr(fd, "trusted.token", &token, 4, 0);
	default:
		return lseek(fd, SIZE + token, SEEK_SET);
	}
}

static int op_getmeta(const struct op *o, struct record *r)
{
	int fd = fd_of(o->obj, 0), n;
	unsigned int token = 0;
	struct stat st;

	switch (o->m) {
	case 0:
	case 1:
		n = o->a ? stat(objs[o->obj].path, &st) : fstat(fd, &st);
		if (!n && o->m == 0)
			token = st.st_size > SIZE ? st.st_size - SIZE : 0;
		else if (!n)
			token = st.st_uid;
		break;
	case 2:
		n = fgetxattr(fd, "trusted.token", &token, 4);
		break;
	default:
		n = lseek(fd, 0, SEEK_CUR);
		token = n > SIZE ? n - SIZE : 0;
	}
	saw(r, token);
	return n;
}

static int op_mkname(const struct op *o, unsigned int token)
{
	char path[192], from[192];
	int fd;

	sprintf(path, "%s/n%u", objs[o->obj].path, token);
	sprintf(from, "%s/b%u", objs[o->obj].path, token);
	switch (o->m) {
	case 1:
		return mkdir(path, 0700);
	case 2:
		return symlink("nowhere", path);
	case 3:
		return mknod(path, S_IFIFO | 0600, 0);
	case 4:
		return link(from, path);
	case 5:
		return rename(from, path);
	default:
		fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		close(fd);
		return fd < 0 ? -1 : 0;
	}
}

static int op_ls(const struct op *o, struct record *r)
{
	char buf[4096] __attribute__((aligned(8))), name[192];
	struct inotify_event *e;
	unsigned int token = o->a;
	struct stat st;
	long n, at;
	int fd;

	if (o->m == 1) {	/* look for one name */
		sprintf(name, "%s/n%u", objs[o->obj].path, token);
		if (lstat(name, &st))
			return -1;
		saw(r, token);
		return 0;
	}
	if (o->m == 2) {	/* what inotify says */
		n = read(fd_of(o->obj, 0), buf, sizeof(buf));
		for (at = 0; at < n; at += sizeof(*e) + e->len) {
			e = (void *)(buf + at);
			if (e->len && e->name[0] == 'n')
				saw(r, atoi(e->name + 1));
		}
		return n;
	}
	fd = openat(fd_of(o->obj, 1), ".", O_RDONLY | O_DIRECTORY);
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (at = 0; at < n;) {
			struct dirent64 *d = (void *)(buf + at);

			if (d->d_name[0] == 'n')
				saw(r, atoi(d->d_name + 1));
			at += d->d_reclen;
		}
	close(fd);
	return r->n;
}

static int lock_fd = -1;	/* of this process, kept open to keep the lock */

static int op_lock(const struct op *o, bool lock)
{
	struct flock fl = { .l_type = lock ? F_WRLCK : F_UNLCK };

	if (lock_fd < 0)
		lock_fd = open(objs[o->obj].path, O_RDWR);
	if (lock_fd < 0)
		return -1;
	if (o->m)
		return flock(lock_fd, lock ? LOCK_EX | LOCK_NB : LOCK_UN);
	return fcntl(lock_fd, F_SETLK, &fl);
}

static int op_kill(const struct op *o, unsigned int token)
{
	union sigval v = { .sival_int = token };

	return sigqueue(pid_of(o->to), SIGRTMIN, v);
}

static int op_sigget(struct record *r)
{
	struct timespec ts = { .tv_nsec = PATIENCE_MS * 1000000 };
	siginfo_t si;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sig = sigtimedwait(&set, &si, &ts);
	if (sig > 0)
		saw(r, si.si_value.sival_int);
	return sig;
}

static int op_setname(unsigned int token)
{
	char name[16];

	sprintf(name, "t%u", token);
	return prctl(PR_SET_NAME, name);
}

static int op_getname(const struct op *o, struct record *r)
{
	char buf[256] = "", path[64], *t;
	int fd, n;

	sprintf(path, o->m ? "/proc/%d/stat" : "/proc/%d/comm", pid_of(o->to));
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	t = o->m ? strchr(buf, '(') : buf;
	if (n > 0 && t) {
		t += o->m;
		if (t[0] == 't' && t[1] >= '0' && t[1] <= '9')
			saw(r, atoi(t + 1));
	}
	return n;
}

/* The words that others look at are at the same place in each process. */
static int op_vmread(const struct op *o, struct record *r)
{
	unsigned int word = 0;
	struct iovec here = { &word, 4 }, there = { PRIVATE, 4 };
	int n = process_vm_readv(pid_of(o->to), &here, 1, &there, 1, 0);

	saw(r, word);
	return n;
}

static int op_vmwrite(const struct op *o, unsigned int token)
{
	struct iovec here = { &token, 4 };
	struct iovec there = { PRIVATE + INBOX + o->a % SLOTS, 4 };

	return process_vm_writev(pid_of(o->to), &here, 1, &there, 1, 0);
}

static int op_inbox(struct record *r)
{
	for (int i = 0; i < SLOTS; i++)
		saw(r, __atomic_load_n(PRIVATE + INBOX + i, __ATOMIC_SEQ_CST));
	return r->n;
}

static int op_ptrace(const struct op *o, struct record *r, unsigned int token)
{
	pid_t pid = pid_of(o->to);
	int status, n = -1;
	long word;

	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		return -1;
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, PRIVATE, 0);
	if (!errno) {
		saw(r, (unsigned int)word);
		/* Two words at once: the next slot gets it, too. */
		n = ptrace(PTRACE_POKEDATA, pid, PRIVATE + INBOX + o->a % (SLOTS - 1),
			   (long)token | (long)token << 32);
	}
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return n;
}

static void run_proc(int proc, int from) __attribute__((noreturn));

static pid_t spawn(int proc)
{
	pid_t tid = pid_of(proc);
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&tid,
		.set_tid_size = 1,
	};

	return syscall(SYS_clone3, &args, sizeof(args));
}

static int op_exec(int index, unsigned long long t0)
{
	char argv[7][32];
	char *const args[] = { "graph", (char *)script, argv[0], argv[1],
			       argv[2], argv[3], argv[4], NULL };

	sprintf(argv[0], "%d", me);
	sprintf(argv[1], "%d", index);
	sprintf(argv[2], "%llu", start);
	sprintf(argv[3], "%llu", t0);
	sprintf(argv[4], "%llu", (unsigned long long)log_at);
	return execv("/proc/self/exe", args);
}

static int say_raw(int fd, unsigned int token)
{
	struct {
		struct udphdr h;
		unsigned int token;
	} __attribute__((packed)) packet = {
		.h = { .source = htons(4444), .dest = htons(CHAN_UDP_PORT),
		       .len = htons(12) },
		.token = token,
	};

	return send(fd, &packet, sizeof(packet), 0);
}

static int op_say(const struct op *o, unsigned int token)
{
	int fd = fd_of(o->obj, 0), n;
	char text[24];

	if (is(o->obj, "Raw"))
		return say_raw(fd, token);
	if (is(o->obj, "Tty") || is(o->obj, "Serial")) {
		n = sprintf(text, "F%07u\r\n", token);
		return write(fd, text, n);
	}
	if (o->m == 1)
		return send(fd, &token, 4, MSG_DONTWAIT);
	return write(fd, &token, 4);
}

static void stop_timer(void)
{
	struct itimerval none = {};

	setitimer(ITIMER_REAL, &none, NULL);
}

/* Operations that may sleep are woken. */
static void start_timer(void)
{
	struct itimerval t = { { 0, 5000 }, { 0, PATIENCE_MS * 1000 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static int run_op(int index, struct record *r)
{
	const struct op *o = &ops[index];
	const char *n = o->name;
	unsigned int token = index + 1;
	struct message msg = { 1, token };
	struct sembuf sem = { 0, 0, 0 };
	unsigned long long value = 0;
	char text[64];
	int res;

	if (!strcmp(n, "taint")) {
		res = pread(FD_TAINT, text, sizeof(text) - 1, 0);
		text[res > 0 ? res : 0] = 0;
		return res > 0 ? atoi(text) : -1;
	}
	if (!strcmp(n, "say"))
		return op_say(o, token);
	if (!strcmp(n, "write"))
		return do_write(o, fd_of(o->obj, 1), token);
	if (!strcmp(n, "read"))
		return op_read(o, r, 0);
	if (!strcmp(n, "rwrite"))
		return do_write(o, fd_of(o->obj, 0), token);
	if (!strcmp(n, "rread"))
		return op_read(o, r, 1);
	if (!strcmp(n, "ready")) {
		struct pollfd p = { .fd = fd_of(o->obj, 0), .events = POLLIN };
		int bytes = 0;

		if (o->m)
			return ioctl(p.fd, FIONREAD, &bytes) ? -1 : bytes;
		return poll(&p, 1, PATIENCE_MS) == 1 && (p.revents & POLLIN);
	}
	if (!strcmp(n, "close")) {
		close(fd_of(o->obj, 1));
		return close(fd_of(o->obj, 0));
	}
	if (!strcmp(n, "keep"))
		return 0;
	if (!strcmp(n, "shut"))
		return shutdown(fd_of(o->obj, 1), SHUT_WR);
	if (!strcmp(n, "splice"))
		return splice(fd_of(o->obj, 0), NULL, fd_of(o->obj2, 1), NULL,
			      64, 0);
	if (!strcmp(n, "tee"))
		return tee(fd_of(o->obj, 0), fd_of(o->obj2, 1), 64, 0);
	if (!strcmp(n, "fput"))
		return op_fifo(o, r, token);
	if (!strcmp(n, "fget"))
		return op_fifo(o, r, 0);
	if (!strcmp(n, "sendfd"))
		return op_sendfd(o, token);
	if (!strcmp(n, "recvfd"))
		return op_recvfd(o, r);
	if (!strcmp(n, "getfd"))
		return op_getfd(o);
	if (!strcmp(n, "connect"))
		return op_connect(o, token);
	if (!strcmp(n, "accept"))
		return op_accept(o, r);
	if (!strcmp(n, "add")) {
		if (is(o->obj, "eventfd")) {
			value = 1ULL << o->a;
			return write(fd_of(o->obj, 0), &value, 8);
		}
		sem.sem_op = 1 << o->a;
		return semop(objs[o->obj].id, &sem, 1);
	}
	if (!strcmp(n, "get")) {
		if (is(o->obj, "eventfd")) {
			res = read(fd_of(o->obj, 0), &value, 8);
			return res == 8 ? (int)value : 0;
		}
		return semctl(objs[o->obj].id, 0, GETVAL);
	}
	if (!strcmp(n, "send")) {
		if (is(o->obj, "mq"))
			return mq_send(fd_of(o->obj, 0), (char *)&token, 4, 0);
		return msgsnd(objs[o->obj].id, &msg, 4, IPC_NOWAIT);
	}
	if (!strcmp(n, "recv")) {
		if (is(o->obj, "mq")) {
			res = mq_receive(fd_of(o->obj, 0), text, sizeof(text), NULL);
			memcpy(&token, text, 4);
		} else {
			res = msgrcv(objs[o->obj].id, &msg, 4, 0, 0);
			token = msg.token;
		}
		if (res == 4)
			saw(r, token);
		return res;
	}
	if (!strcmp(n, "store"))
		return op_store(o, token);
	if (!strcmp(n, "load"))
		return op_load(o, r);
	if (!strcmp(n, "pwrite"))
		return op_pwrite(o, token);
	if (!strcmp(n, "pread"))
		return op_pread(o, r);
	if (!strcmp(n, "setmeta"))
		return op_setmeta(o, token);
	if (!strcmp(n, "getmeta"))
		return op_getmeta(o, r);
	if (!strcmp(n, "fsync"))
		return fsync(fd_of(o->obj, 0));
	if (!strcmp(n, "mkname"))
		return op_mkname(o, token);
	if (!strcmp(n, "ls"))
		return op_ls(o, r);
	if (!strcmp(n, "lock") || !strcmp(n, "unlock"))
		return op_lock(o, !strcmp(n, "lock"));
	if (!strcmp(n, "kill"))
		return op_kill(o, token);
	if (!strcmp(n, "sigget"))
		return op_sigget(r);
	if (!strcmp(n, "setname"))
		return op_setname(token);
	if (!strcmp(n, "getname"))
		return op_getname(o, r);
	if (!strcmp(n, "setword")) {
		__atomic_store_n(PRIVATE, token, __ATOMIC_SEQ_CST);
		return 0;
	}
	if (!strcmp(n, "vmread"))
		return op_vmread(o, r);
	if (!strcmp(n, "vmwrite"))
		return op_vmwrite(o, token);
	if (!strcmp(n, "inbox"))
		return op_inbox(r);
	if (!strcmp(n, "ptrace"))
		return op_ptrace(o, r, token);
	if (!strcmp(n, "wait"))
		return waitpid(pid_of(o->to), &res, 0);
	if (!strcmp(n, "fork")) {
		res = spawn(o->to);
		if (!res)
			run_proc(o->to, 0);
		return res;
	}
	errno = EINVAL;
	return -1;
}

static void write_log(const struct record *r)
{
	if (pwrite(FD_LOG + me, r, sizeof(*r), log_at) != sizeof(*r))
		_exit(90);
	log_at += sizeof(*r);
}

static void finish(int index, struct record *r, unsigned long long t0, int res)
{
	r->op = index + 1;
	r->err = res < 0 ? errno : 0;
	r->res = res;
	r->t0 = t0;
	r->t1 = now_us();
	write_log(r);
}

static void run_proc(int proc, int from)
{
	struct record r;

	if (from == 0) {
		log_at = 0;
		memset(PRIVATE, 0, SIZE);
		lock_fd = -1;
	}
	me = proc;
	for (int i = from; i < nr_ops; i++) {
		unsigned long long t0;

		if (ops[i].proc != proc)
			continue;
		sleep_until(start + ops[i].at);
		memset(&r, 0, sizeof(r));
		t0 = now_us();
		if (!strcmp(ops[i].name, "exit")) {
			finish(i, &r, t0, 0);
			_exit(i % 100);
		}
		errno = 0;
		/* An exec would forget the handler, and not the timer. */
		if (!strcmp(ops[i].name, "exec")) {
			finish(i, &r, t0, op_exec(i, t0));
			continue;
		}
		start_timer();
		finish(i, &r, t0, run_op(i, &r));
		stop_timer();
	}
	memset(&r, 0, sizeof(r));
	r.op = END_OF_PROC;
	write_log(&r);
	while (1)
		pause();
}

static void nothing(int sig)
{
}

/* A process of the first generation. */
static void born(int proc)
{
	sigset_t set;

	if (!exempt && prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0))
		die("PR_SET_IO_FLUSHER");
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = nothing }, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < nr_objs; i++) {
		if (uses[proc][i] && objs[i].memory)
			map_object(proc, i);
		for (int end = 0; end < 2; end++)
			if (!(uses[proc][i] & (1 << end)))
				close(fd_of(i, end));
	}
	sleep_until(start);
	run_proc(proc, 0);
}

/* After an exec: all that is not in memory is still there. */
static void reborn(char **argv)
{
	int proc = atoi(argv[2]), index = atoi(argv[3]);
	unsigned long long t0 = strtoull(argv[5], NULL, 10);
	struct record r = {};

	start = strtoull(argv[4], NULL, 10);
	log_at = strtoull(argv[6], NULL, 10);
	me = proc;
	stop_timer();
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = nothing }, NULL);
	for (int i = 0; i < nr_objs; i++)
		if (uses[proc][i] && objs[i].memory)
			map_object(proc, i);
	finish(index, &r, t0, 0);
	run_proc(proc, index + 1);
}

/* --- looking --------------------------------------------------------------- */

static int epoch;
static int nr_seen;
static bool came[MAX_OPS + 1];

static void seen(unsigned int token)
{
	if (!token || token > (unsigned int)nr_ops) {
		printf("strange %u\n", token);
		return;
	}
	printf("seen %d %u\n", epoch, token);
	if (!came[token])
		nr_seen++;
	came[token] = true;
}

static void look_screen(struct object *o)
{
	char screen[1 << 16], *at, *end;
	ssize_t n = pread(o->rx, screen, sizeof(screen) - 1, 0);

	if (n < 0)
		return;
	screen[n] = 0;
	for (at = screen; (at = memmem(at, screen + n - at, "F0", 2)); at = end) {
		unsigned int token = strtoul(at + 1, &end, 10);

		if (token && token < MAX_OPS && !o->seen[token]) {
			o->seen[token] = true;
			seen(token);
		}
	}
}

static void look_serial(void)
{
	static char buf[65536];
	int fd = open(serial_path, O_RDONLY);
	ssize_t n;
	char *at, *nl;

	if (fd < 0)
		return;
	n = pread(fd, buf, sizeof(buf) - 1, serial_at);
	close(fd);
	if (n <= 0)
		return;
	buf[n] = 0;
	for (at = buf; (nl = strchr(at, '\n')); at = nl + 1) {
		char *f = strchr(at, 'F');

		if (f && f < nl)
			seen(strtoul(f + 1, NULL, 10));
	}
	serial_at += at - buf;
}

static bool has_serial;

/* All that has come out up to now. */
static void look(void)
{
	unsigned int token;
	ssize_t n;

	while ((n = recv(outside_udp, &token, 4, MSG_DONTWAIT)) >= 0)
		seen(token);
	for (int i = 0; i < nr_objs; i++) {
		struct object *o = &objs[i];

		if (is(i, "Tty")) {
			look_screen(o);
		} else if (is(i, "Tcp")) {
			while ((n = recv(o->rx, o->rx_buf + o->rx_len,
					 sizeof(o->rx_buf) - o->rx_len,
					 MSG_DONTWAIT)) > 0) {
				int at = 0;

				o->rx_len += n;
				for (; o->rx_len - at >= 4; at += 4) {
					memcpy(&token, o->rx_buf + at, 4);
					seen(token);
				}
				memmove(o->rx_buf, o->rx_buf + at, o->rx_len - at);
				o->rx_len -= at;
			}
		}
	}
	if (has_serial && serial_path)
		look_serial();
}

static unsigned int source_latest(void)
{
	FILE *f = fopen(SOURCE "state", "r");
	unsigned int latest = 0;

	if (!f || fscanf(f, "latest=%u", &latest) != 1)
		die("state");
	fclose(f);
	return latest;
}

static void source_commit(unsigned int seq)
{
	int fd = open(SOURCE "commit", O_WRONLY);
	char text[16];
	int n = sprintf(text, "%u", seq);

	if (write(fd, text, n) != n)
		die("commit");
	close(fd);
}

/* Nobody is looked at but the length of his log. */
static bool all_done(void)
{
	struct stat st;

	for (int p = 0; p < nr_procs; p++) {
		struct record r;

		if (fstat(FD_LOG + p, &st))
			die("log");
		if (parent_of[p] >= 0 && !st.st_size)
			continue;	/* may not have been born */
		if (st.st_size < (off_t)sizeof(r) ||
		    pread(FD_LOG + p, &r, sizeof(r), st.st_size - sizeof(r)) < 0)
			return false;
		if (r.op != END_OF_PROC && strcmp(ops[r.op - 1].name, "exit"))
			return false;
	}
	return true;
}

static int said(void)
{
	struct record r;
	int n = 0;

	for (int p = 0; p < nr_procs; p++)
		for (off_t at = 0; pread(FD_LOG + p, &r, sizeof(r), at) == sizeof(r);
		     at += sizeof(r))
			n += r.op != END_OF_PROC && r.res > 0 &&
			     !strcmp(ops[r.op - 1].name, "say");
	return n;
}

static void print_logs(void)
{
	struct record r;

	for (int p = 0; p < nr_procs; p++)
		for (off_t at = 0; pread(FD_LOG + p, &r, sizeof(r), at) == sizeof(r);
		     at += sizeof(r)) {
			if (r.op == END_OF_PROC)
				continue;
			printf("rec %u %d %d %lld %lld", r.op, r.res, r.err,
			       (long long)(r.t0 - start), (long long)(r.t1 - start));
			for (unsigned int i = 0; i < r.n; i++)
				printf(" %u", r.tok[i]);
			printf("\n");
		}
}

static void remove_objects(void)
{
	for (int i = 0; i < nr_objs; i++) {
		if (is(i, "msg"))
			msgctl(objs[i].id, IPC_RMID, NULL);
		else if (is(i, "sem"))
			semctl(objs[i].id, 0, IPC_RMID);
		else if (is(i, "sysv"))
			shmctl(objs[i].id, IPC_RMID, NULL);
		else if (is(i, "mq"))
			mq_unlink(objs[i].path);
		else if (is(i, "shm"))
			unlink(objs[i].path);
	}
}

static void commit(unsigned int seq)
{
	printf("commit %d %u %lld\n", epoch, seq, (long long)(now_us() - start));
	epoch++;
}

static void observe(void)
{
	unsigned long long end;
	long last = 0;
	int next = 0;

	for (int i = 0; i < nr_ops; i++)
		if (ops[i].at > last)
			last = ops[i].at;
	end = start + last + RUN_MS * 1000;
	while (now_us() < end && !all_done()) {
		sleep_until(now_us() + 5000);
		if (next < nr_commits &&
		    now_us() >= start + commits[next] * 1000ULL) {
			unsigned int seq = source_latest();

			look();
			commit(seq);
			source_commit(seq);
			next++;
		}
	}
	sleep_until(now_us() + SETTLE_MS * 1000);
	/* Read the log of the outside in time: it is on the host. */
	look();
	commit(0);
	if (gate && gate_resume())
		die("resume");
	end = now_us() + END_MS * 1000;
	do {
		if (source)
			source_commit(source_latest());
		sleep_until(now_us() + 20000);
		look();
	} while (now_us() < end && (nr_seen < said() || !all_done()));
}

static void kill_all(void)
{
	if (source)
		source_commit(source_latest());
	for (int p = 0; p < nr_procs; p++)
		kill(pid_of(p), SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

int main(int argc, char **argv)
{
	struct rlimit limit = { 65536, 65536 };
	char path[192];

	script = argv[1];
	memset(parent_of, -1, sizeof(parent_of));
	parse(script);
	if (mmap(PRIVATE, SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("private");
	if (argc > 2) {
		/* paths and identities are as they were */
		for (int i = 0; i < nr_objs; i++) {
			struct object *o = &objs[i];
			bool m = !strncmp(o->kind, "m-", 2);

			if (m)
				memmove(o->kind, o->kind + 2, strlen(o->kind) - 1);
			sprintf(o->path, "%s/%s", is(i, "shm") ? "/dev/shm" :
				m ? mdir : dir, o->name);
			o->memory = is(i, "shm") || is(i, "map") || is(i, "memfd");
		}
		reborn(argv);
	}
	setrlimit(RLIMIT_NOFILE, &limit);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	open_outside();
	if (source) {
		int fd = open(SOURCE "taint", O_RDONLY);

		if (dup2(fd, FD_TAINT) < 0)
			die("taint");
		close(fd);
	}
	for (int i = 0; i < nr_objs; i++) {
		make_object(i);
		has_serial |= is(i, "Serial");
	}
	make_names();
	for (int p = 0; p < nr_procs; p++) {
		int fd;

		sprintf(path, "%s/log%d", dir, p);
		fd = open(path, O_CREAT | O_RDWR, 0600);
		if (dup2(fd, FD_LOG + p) < 0)
			die("log");
		close(fd);
	}
	if (gate) {
		int fd = open(mdir, O_RDONLY);

		if (syncfs(fd) || gate_suspend())
			die("gate");
		close(fd);
	}
	start = now_us() + 10000 + nr_procs * 4000;
	for (int p = 0; p < nr_procs; p++) {
		pid_t pid;

		if (parent_of[p] >= 0)
			continue;
		pid = spawn(p);
		if (pid < 0)
			die("clone3");
		if (!pid)
			born(p);
	}
	/* Or nobody would see them closed. */
	for (int i = 0; i < nr_objs; i++) {
		close(fd_of(i, 0));
		close(fd_of(i, 1));
	}
	observe();
	kill_all();
	look();
	print_logs();
	remove_objects();
	return 0;
}
