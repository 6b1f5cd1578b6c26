// SPDX-License-Identifier: GPL-2.0
/* vm: timeout=400 */
/*
 * Terminals: what a process with dependencies writes to a serial line, a
 * virtual console or /dev/console is held until they are durable; a pty passes
 * them on.  The serial line is seen from outside the machine, the virtual
 * consoles through /dev/vcs.
 *
 * The law: nothing is shown before it is durable, nothing that is durable is
 * lost, the order of the writes stays, and who waits for output waits for what
 * is held as well.
 *
 * Commits come from the test source.  The test itself must stay clean until it
 * has committed: so it looks only at /sys, /dev/vcs and the observer, and a
 * tainted process is the child of a minder, who gets its SIGCHLD.  Results are
 * read from a pipe after the commit.  (A process started before the commit may
 * get the mm of one that has exited, and with it its dependency.)
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include "gate.h"

/*
 * The harness shares its results with each test, and thereby with the children
 * that a test makes dependent: it would depend on what they do, and wait. The
 * exit status is enough.
 */
#undef MAP_SHARED
#define MAP_SHARED MAP_PRIVATE
#include "kselftest_harness.h"
#undef MAP_SHARED

#define DEBUGFS "/sys/kernel/debug/"
#define TEST_SOURCE DEBUGFS "speculator-test/0/"
#define TTY_LIMIT "/sys/module/speculator/parameters/tty_limit"

#define SOON	10000	/* ms: within which what is shown must be seen */
#define NEVER	1500	/* ms: for which what is held must not be seen */

/* --- small things --------------------------------------------------------- */

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
	const struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int commit(void)
{
	return write_file(TEST_SOURCE "commit", "all");
}

/* The calling process depends on a new sequence of the test source. */
static void taint(void)
{
	int fd = open(TEST_SOURCE "taint", O_RDONLY);
	char text[16];

	if (fd < 0 || pread(fd, text, sizeof(text), 0) <= 0)
		_exit(99);
	close(fd);
}

/* A number in the line of channel "tty" in debugfs; 5: drops, 6: held items. */
static long tty_channel(int column)
{
	char line[256], *word, *save;
	FILE *file = fopen(DEBUGFS "speculator/channels", "r");
	long value = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "tty ", 4))
			continue;
		word = strtok_r(line, " ", &save);
		while (word && column--)
			word = strtok_r(NULL, " ", &save);
		value = word ? atol(word) : -1;
		break;
	}
	if (file)
		fclose(file);
	return value;
}

static long held_items(void)
{
	return tty_channel(6);
}

static bool wait_held(long items)
{
	long long end = now_ms() + SOON;

	while (held_items() != items) {
		if (now_ms() > end)
			return false;
		sleep_ms(20);
	}
	return true;
}

/* Is @text on the screen of virtual console @n? */
static bool on_screen(int n, const char *text)
{
	char path[32], screen[65536];
	ssize_t size;
	int fd;

	/* The one in the foreground has no number. */
	snprintf(path, sizeof(path), n ? "/dev/vcs%d" : "/dev/vcs", n);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	size = read(fd, screen, sizeof(screen));
	close(fd);
	return size > 0 && memmem(screen, size, text, strlen(text));
}

static bool wait_on_screen(int n, const char *text, int ms)
{
	long long end = now_ms() + ms;

	while (!on_screen(n, text)) {
		if (now_ms() > end)
			return false;
		sleep_ms(20);
	}
	return true;
}

/* Where @text stands in what the host received on the serial line, or -1. */
static long observed_at(const char *text)
{
	static char log[1 << 22];
	char path[256], *found;
	ssize_t size, n;
	int fd;

	snprintf(path, sizeof(path), "%s.serial", getenv("XSYNC_OBS_LOG"));
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	for (size = 0; size < (ssize_t)sizeof(log); size += n) {
		n = read(fd, log + size, sizeof(log) - size);
		if (n <= 0)
			break;
	}
	close(fd);
	found = memmem(log, size, text, strlen(text));
	return found ? found - log : -1;
}

/* --- processes ------------------------------------------------------------ */

/* What a child tells: read it after the commit only. */
struct report {
	long ret;
	int error;
	long long when;
};

struct child {
	pid_t minder;
	int reports;
};

static int report_fd;

static void report(long ret)
{
	struct report r = { ret, ret < 0 ? errno : 0, now_ms() };

	if (write(report_fd, &r, sizeof(r)) != sizeof(r))
		_exit(98);
}

static struct child start(void (*fn)(void *), void *arg)
{
	struct child child;
	char text[16];
	int fds[2], fd;
	pid_t pid;

	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC))
		_exit(97);
	child.minder = fork();
	if (child.minder) {
		close(fds[1]);
		child.reports = fds[0];
		return child;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(fds[0]);
	report_fd = fds[1];
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(arg);
		_exit(0);
	}
	/* It alone shall have its files. */
	close_range(3, ~0U, 0);
	waitpid(pid, NULL, 0);
	/* Now we depend on what it did: don't hand that on. */
	fd = open(TEST_SOURCE "wait", O_RDONLY);
	if (fd >= 0 && read(fd, text, sizeof(text)) > 0 && !atoi(text))
		_exit(0);
	close(fd);
	pause();
	_exit(0);
}

static bool next_report(struct child *child, struct report *r)
{
	struct pollfd pfd = { .fd = child->reports, .events = POLLIN };

	return poll(&pfd, 1, SOON) == 1 &&
	       read(child->reports, r, sizeof(*r)) == sizeof(*r);
}

static void end(struct child *child)
{
	kill(child->minder, SIGKILL);
	waitpid(child->minder, NULL, 0);
	close(child->reports);
}

/* --- what children do ----------------------------------------------------- */

struct output {
	const char *path;
	const char *text;
	bool tainted;
	int flags;
};

static void write_output(void *arg)
{
	const struct output *out = arg;
	int fd = open(out->path, O_WRONLY | O_NOCTTY | out->flags);

	if (fd < 0)
		_exit(96);
	if (out->tainted)
		taint();
	report(write(fd, out->text, strlen(out->text)));
}

#define OUTPUT(p, t, ...) (&(struct output){ .path = p, .text = t, ##__VA_ARGS__ })

/* --- the serial line ------------------------------------------------------ */

FIXTURE(tty) {
	const char *serial;
	int fd;			/* keeps the line open */
};

FIXTURE_SETUP(tty)
{
	struct termios tio;

	self->serial = getenv("XSYNC_SERIAL2");
	ASSERT_NE(NULL, self->serial);
	self->fd = open(self->serial, O_RDWR | O_NOCTTY | O_NONBLOCK);
	ASSERT_LE(0, self->fd);
	/* The last test may have left it with other settings. */
	ASSERT_EQ(0, tcgetattr(self->fd, &tio));
	tio.c_oflag |= OPOST | ONLCR;
	tio.c_cflag |= CLOCAL;
	tio.c_lflag &= ~(TOSTOP | ECHO);
	cfsetspeed(&tio, B115200);
	ASSERT_EQ(0, tcsetattr(self->fd, TCSANOW, &tio));
	ASSERT_EQ(0, write_file(TTY_LIMIT, "262144"));
	ASSERT_EQ(0, held_items());
}

FIXTURE_TEARDOWN(tty)
{
	tcflow(self->fd, TCOON);
	commit();
	EXPECT_TRUE(wait_held(0));
	close(self->fd);
}

/* Control: nothing depends on anything, nothing is held. */
TEST_F(tty, clean_output_is_not_held)
{
	struct child c = start(write_output,
			       OUTPUT(self->serial, "serial-clean\n"));

	EXPECT_TRUE(wait_observed("serial", "serial-clean", SOON));
	EXPECT_EQ(0, held_items());
	end(&c);
}

TEST_F(tty, output_is_held_until_the_commit)
{
	struct child c = start(write_output,
			       OUTPUT(self->serial, "serial-held\n",
				      .tainted = true));
	long long start_ms = now_ms();
	struct report r;

	EXPECT_TRUE(wait_held(1));
	EXPECT_TRUE(not_observed_for("serial", "serial-held", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "serial-held", SOON));
	EXPECT_TRUE(wait_held(0));
	/* The writer did not wait for that. */
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(12, r.ret);
	EXPECT_GT(NEVER, r.when - start_ms);
	end(&c);
}

static int alive(pid_t pid)
{
	char path[64], text[512], *state;
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	/* Who looks at a process takes over from it; an exempt one does not. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	file = fopen(path, "r");
	n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	if (!file)
		return -1;
	text[n] = 0;
	state = strtok(text, " ");
	return state && *state;
}

TEST_F(tty, the_writer_may_exit_before_the_commit)
{
	struct child c = start(write_output,
			       OUTPUT(self->serial, "serial-orphan\n",
				      .tainted = true));
	long long end_ms = now_ms() + SOON;

	EXPECT_TRUE(wait_held(1));
	while (alive(c.minder) > 0 && now_ms() < end_ms)
		sleep_ms(20);
	EXPECT_EQ(0, alive(c.minder));
	EXPECT_TRUE(not_observed_for("serial", "serial-orphan", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "serial-orphan", SOON));
	end(&c);
}

TEST_F(tty, clean_output_goes_behind_held_output)
{
	struct child c = start(write_output,
			       OUTPUT(self->serial, "order-1\n",
				      .tainted = true));

	EXPECT_TRUE(wait_held(1));
	EXPECT_EQ(8, write(self->fd, "order-2\n", 8));
	EXPECT_TRUE(not_observed_for("serial", "order-2", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "order-2", SOON));
	EXPECT_LE(0, observed_at("order-1\r\norder-2\r\n"));
	/* And when nothing is held any more it does not. */
	EXPECT_TRUE(wait_held(0));
	EXPECT_EQ(8, write(self->fd, "order-3\n", 8));
	EXPECT_TRUE(wait_observed("serial", "order-3", SOON));
	end(&c);
}

static void write_after_each_taint(void *arg)
{
	int fd = *(int *)arg, i;
	char text[16];

	for (i = 0; i < 3; i++) {
		taint();
		snprintf(text, sizeof(text), "step-%d\n", i);
		report(write(fd, text, 7));
	}
}

/* A commit shows what it covers, no less and no more. */
TEST_F(tty, each_commit_shows_its_own)
{
	struct child c = start(write_after_each_taint, &self->fd);
	unsigned int latest;
	char text[64], *p;
	FILE *file;

	EXPECT_TRUE(wait_held(3));
	file = fopen(TEST_SOURCE "state", "r");
	ASSERT_NE(NULL, file);
	p = fgets(text, sizeof(text), file);
	fclose(file);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, strncmp(text, "latest=", 7));
	latest = strtoul(text + 7, NULL, 10);
	snprintf(text, sizeof(text), "%u", latest - 2);
	ASSERT_EQ(0, write_file(TEST_SOURCE "commit", text));
	EXPECT_TRUE(wait_observed("serial", "step-0", SOON));
	EXPECT_TRUE(not_observed_for("serial", "step-1", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "step-2", SOON));
	EXPECT_LE(0, observed_at("step-0\r\nstep-1\r\nstep-2"));
	end(&c);
}

/* --- limits --------------------------------------------------------------- */

#define PIECE	500

static void fill_nonblocking(void *arg)
{
	int fd = open(arg, O_WRONLY | O_NOCTTY | O_NONBLOCK);
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	char piece[PIECE];
	long sum = 0, n;

	memset(piece, 'n', PIECE);
	taint();
	pfd.revents = 0;
	report(poll(&pfd, 1, 0));		/* 1: there is room */
	while ((n = write(fd, piece, PIECE)) > 0)
		sum += n;
	report(n);				/* EAGAIN */
	report(sum);
	report(poll(&pfd, 1, 0));		/* 0: there is none */
	report(poll(&pfd, 1, SOON));		/* 1: after the commit */
	report(write(fd, piece, PIECE));
}

TEST_F(tty, a_full_queue_is_eagain_and_not_writable)
{
	struct report r;
	struct child c;
	long long when;

	ASSERT_EQ(0, write_file(TTY_LIMIT, "16384"));
	c = start(fill_nonblocking, (void *)self->serial);
	sleep_ms(NEVER);
	EXPECT_LT(10, held_items());
	when = now_ms();
	ASSERT_EQ(0, commit());

	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(1, r.ret);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(-1, r.ret);
	EXPECT_EQ(EAGAIN, r.error);
	EXPECT_GT(when, r.when);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_LT(16384 / 2, r.ret);		/* the rest is bookkeeping */
	EXPECT_GE(16384, r.ret);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(0, r.ret);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(1, r.ret);
	EXPECT_LE(when, r.when);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(PIECE, r.ret);
	end(&c);
}

static void write_much(void *arg)
{
	static char much[65536];
	int fd = *(int *)arg;

	fcntl(fd, F_SETFL, O_RDWR);
	memset(much, 'b', sizeof(much));
	memcpy(much + sizeof(much) - 10, "much-done\n", 10);
	taint();
	report(write(fd, much, sizeof(much)));
}

TEST_F(tty, a_blocking_writer_sleeps_at_the_limit_and_goes_on)
{
	struct report r;
	struct child c;
	long long when;

	ASSERT_EQ(0, write_file(TTY_LIMIT, "16384"));
	c = start(write_much, &self->fd);
	sleep_ms(NEVER);
	EXPECT_LE(3, held_items());
	EXPECT_GE(16384 / 2048, held_items());
	when = now_ms();
	ASSERT_EQ(0, commit());
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(65536, r.ret);
	EXPECT_LE(when, r.when);
	EXPECT_TRUE(wait_observed("serial", "much-done", SOON));
	end(&c);
}

static void on_alarm(int sig)
{
}

static void write_until_signal(void *arg)
{
	const struct itimerval in_400ms = { .it_value.tv_usec = 400000 };
	struct sigaction sa = { .sa_handler = on_alarm };

	static char much[65536];
	int fd = *(int *)arg;

	fcntl(fd, F_SETFL, O_RDWR);
	memset(much, 's', sizeof(much));
	sigaction(SIGALRM, &sa, NULL);
	taint();
	setitimer(ITIMER_REAL, &in_400ms, NULL);
	report(write(fd, much, sizeof(much)));	/* what was taken */
	setitimer(ITIMER_REAL, &in_400ms, NULL);
	report(write(fd, much, 4096));		/* nothing */
}

TEST_F(tty, a_signal_ends_the_wait_for_room)
{
	struct report r;
	struct child c;
	long long when;

	ASSERT_EQ(0, write_file(TTY_LIMIT, "16384"));
	c = start(write_until_signal, &self->fd);
	sleep_ms(2 * NEVER);
	when = now_ms();
	ASSERT_EQ(0, commit());
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_LT(0, r.ret);
	EXPECT_GT(16384, r.ret);
	EXPECT_GT(when, r.when);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(-1, r.ret);
	EXPECT_EQ(EINTR, r.error);
	EXPECT_GT(when, r.when);
	end(&c);
}

/* --- who asks for the output ---------------------------------------------- */

static void drain(void *arg)
{
	report(tcdrain(*(int *)arg));
}

static void set_attributes_and_drain(void *arg)
{
	struct termios tio;
	int fd = *(int *)arg;

	tcgetattr(fd, &tio);
	report(tcsetattr(fd, TCSADRAIN, &tio));
}

FIXTURE(drains) {
	const char *serial;
	int fd;
};

FIXTURE_VARIANT(drains) {
	void (*fn)(void *arg);
};

FIXTURE_VARIANT_ADD(drains, tcdrain) {
	.fn = drain,
};

FIXTURE_VARIANT_ADD(drains, tcsetattr) {
	.fn = set_attributes_and_drain,
};

FIXTURE_SETUP(drains)
{
	self->serial = getenv("XSYNC_SERIAL2");
	self->fd = open(self->serial, O_RDWR | O_NOCTTY | O_NONBLOCK);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(drains)
{
	commit();
	EXPECT_TRUE(wait_held(0));
	close(self->fd);
}

TEST_F(drains, waits_for_held_output)
{
	struct child writer, drainer;
	struct report r;
	long long when;

	/* Control: there is nothing to wait for. */
	when = now_ms();
	drainer = start(variant->fn, &self->fd);
	ASSERT_TRUE(next_report(&drainer, &r));
	EXPECT_EQ(0, r.ret);
	EXPECT_GT(NEVER, r.when - when);
	end(&drainer);

	writer = start(write_output, OUTPUT(self->serial, "drain-me\n",
					    .tainted = true));
	EXPECT_TRUE(wait_held(1));
	drainer = start(variant->fn, &self->fd);
	sleep_ms(NEVER);
	when = now_ms();
	ASSERT_EQ(0, commit());
	ASSERT_TRUE(next_report(&drainer, &r));
	EXPECT_EQ(0, r.ret);
	EXPECT_LE(when, r.when);
	EXPECT_TRUE(wait_observed("serial", "drain-me", SOON));
	end(&drainer);
	end(&writer);
}

TEST_F(tty, tcflush_throws_held_output_away)
{
	struct child c = start(write_output,
			       OUTPUT(self->serial, "flush-me\n",
				      .tainted = true));

	EXPECT_TRUE(wait_held(1));
	/* Control: flushing the input doesn't. */
	ASSERT_EQ(0, tcflush(self->fd, TCIFLUSH));
	EXPECT_EQ(1, held_items());
	ASSERT_EQ(0, tcflush(self->fd, TCOFLUSH));
	EXPECT_EQ(0, held_items());
	ASSERT_EQ(0, commit());
	EXPECT_EQ(14, write(self->fd, "after-a-flush\n", 14));
	EXPECT_TRUE(wait_observed("serial", "after-a-flush", SOON));
	EXPECT_EQ(-1, observed_at("flush-me"));
	end(&c);
}

TEST_F(tty, outq_counts_held_output)
{
	struct child c;
	int n = -1;

	ASSERT_EQ(0, tcdrain(self->fd));
	ASSERT_EQ(0, ioctl(self->fd, TIOCOUTQ, &n));
	EXPECT_EQ(0, n);
	c = start(write_output, OUTPUT(self->serial, "count-me\n",
				       .tainted = true));
	EXPECT_TRUE(wait_held(1));
	/* Who asks depends on what is held, and would not get to the commit. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	ASSERT_EQ(0, ioctl(self->fd, TIOCOUTQ, &n));
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	EXPECT_EQ(9, n);
	ASSERT_EQ(0, commit());
	ASSERT_EQ(0, tcdrain(self->fd));
	ASSERT_EQ(0, ioctl(self->fd, TIOCOUTQ, &n));
	EXPECT_EQ(0, n);
	end(&c);
}

/* --- consoles ------------------------------------------------------------- */

TEST_F(tty, a_stopped_terminal_does_not_stop_others)
{
	struct child c1, c2;

	int vt = open("/dev/tty3", O_RDWR | O_NOCTTY);

	ASSERT_LE(0, vt);
	ASSERT_EQ(0, tcflow(vt, TCOOFF));
	c1 = start(write_output, OUTPUT("/dev/tty3", "\033cstopped-tty\n",
					.tainted = true));
	EXPECT_TRUE(wait_held(1));
	c2 = start(write_output, OUTPUT(self->serial, "other-tty\n",
					.tainted = true));
	EXPECT_TRUE(wait_held(2));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "other-tty", SOON));
	EXPECT_FALSE(wait_on_screen(3, "stopped-tty", NEVER));
	EXPECT_EQ(1, held_items());
	ASSERT_EQ(0, tcflow(vt, TCOON));
	EXPECT_TRUE(wait_on_screen(3, "stopped-tty", SOON));
	end(&c1);
	end(&c2);
	close(vt);
}

TEST_F(tty, a_virtual_console_is_held)
{
	struct child c;
	int vt = open("/dev/tty4", O_RDWR | O_NOCTTY);

	ASSERT_LE(0, vt);
	/* Control: clean output is seen, so it could be. */
	EXPECT_LT(0, dprintf(vt, "\033cvt-clean\n"));
	EXPECT_TRUE(wait_on_screen(4, "vt-clean", SOON));
	c = start(write_output, OUTPUT("/dev/tty4", "vt-held\n",
				       .tainted = true));
	EXPECT_TRUE(wait_held(1));
	EXPECT_FALSE(wait_on_screen(4, "vt-held", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_on_screen(4, "vt-held", SOON));
	end(&c);
	close(vt);
}

#define MANY	20

TEST_F(tty, twenty_terminals_at_once)
{
	struct child c[MANY];
	char path[MANY][16], text[MANY][32];
	struct output out[MANY];
	int vt[MANY], i;

	for (i = 0; i < MANY; i++) {
		snprintf(path[i], sizeof(path[i]), "/dev/tty%d", 20 + i);
		snprintf(text[i], sizeof(text[i]), "\033cmany-%d.", i);
		vt[i] = open(path[i], O_RDWR | O_NOCTTY);
		ASSERT_LE(0, vt[i]);
		out[i] = (struct output){ .path = path[i], .text = text[i],
					  .tainted = true };
		c[i] = start(write_output, &out[i]);
	}
	EXPECT_TRUE(wait_held(MANY));
	sleep_ms(NEVER);
	for (i = 0; i < MANY; i++)
		EXPECT_FALSE(on_screen(20 + i, "many-"));
	ASSERT_EQ(0, commit());
	for (i = 0; i < MANY; i++) {
		EXPECT_TRUE(wait_on_screen(20 + i, text[i] + 2, SOON));
		end(&c[i]);
		close(vt[i]);
	}
}

/* Echo is the kernel's answer to a key, not the output of a process. */
TEST_F(tty, echo_is_not_held)
{
	const char *key = "echoed";
	struct child c;
	int vt = open("/dev/tty5", O_RDWR | O_NOCTTY);

	ASSERT_LE(0, vt);
	EXPECT_LT(0, dprintf(vt, "\033c"));
	c = start(write_output, OUTPUT("/dev/tty5", "echo-held\n",
				       .tainted = true));
	EXPECT_TRUE(wait_held(1));
	while (*key)
		ASSERT_EQ(0, ioctl(vt, TIOCSTI, key++));
	EXPECT_TRUE(wait_on_screen(5, "echoed", SOON));
	EXPECT_FALSE(on_screen(5, "echo-held"));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_on_screen(5, "echo-held", SOON));
	end(&c);
	close(vt);
}

/* /dev/console and /dev/tty0 have a write function of their own. */
TEST_F(tty, the_console_is_held)
{
	struct child c;
	int vt = open("/dev/tty0", O_RDWR | O_NOCTTY);

	ASSERT_LE(0, vt);
	EXPECT_LT(0, dprintf(vt, "\033ctty0-clean\n"));
	EXPECT_TRUE(wait_on_screen(0, "tty0-clean", SOON));
	c = start(write_output, OUTPUT("/dev/tty0", "tty0-held\n",
				       .tainted = true));
	EXPECT_TRUE(wait_held(1));
	EXPECT_FALSE(wait_on_screen(0, "tty0-held", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_on_screen(0, "tty0-held", SOON));
	end(&c);
	close(vt);
}

/* TIOCCONS: what counts is the tty that is written in the end. */
TEST_F(tty, a_redirected_console_is_held_there)
{
	struct child c;
	int console = open("/dev/console", O_RDWR | O_NOCTTY);

	ASSERT_LE(0, console);
	ASSERT_EQ(0, ioctl(self->fd, TIOCCONS));
	EXPECT_LT(0, dprintf(console, "console-clean\n"));
	EXPECT_TRUE(wait_observed("serial", "console-clean", SOON));
	c = start(write_output, OUTPUT("/dev/console", "console-held\n",
				       .tainted = true));
	EXPECT_TRUE(wait_held(1));
	/* It is in the queue of the line, and other output goes behind it. */
	EXPECT_EQ(13, write(self->fd, "console-next\n", 13));
	EXPECT_TRUE(not_observed_for("serial", "console-next", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "console-next", SOON));
	EXPECT_LE(0, observed_at("console-held\r\nconsole-next"));
	EXPECT_EQ(0, ioctl(console, TIOCCONS));
	end(&c);
	close(console);
}

/* --- sessions ------------------------------------------------------------- */

static void lead_session(void *arg)
{
	const struct output *out = arg;
	int fd;

	setsid();
	fd = open(out->path, O_RDWR);		/* becomes our terminal */
	if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0)
		_exit(96);
	if (out->tainted)
		taint();
	report(write(fd, out->text, strlen(out->text)));
}

/* The exit of a session leader hangs its terminal up. */
TEST_F(tty, a_session_leader_may_exit_before_the_commit)
{
	struct child c = start(lead_session,
			       OUTPUT("/dev/tty6", "\033cleader-held\n",
				      .tainted = true));

	EXPECT_TRUE(wait_held(1));
	EXPECT_FALSE(wait_on_screen(6, "leader-held", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_on_screen(6, "leader-held", SOON));
	end(&c);
}

static void lead_session_and_hang_up(void *arg)
{
	signal(SIGHUP, SIG_IGN);
	lead_session(arg);
	report(vhangup());
}

/* So does vhangup(), which waits for what is held. */
TEST_F(tty, vhangup_shows_what_is_held_first)
{
	struct child c = start(lead_session_and_hang_up,
			       OUTPUT("/dev/tty10", "\033changup-held\n",
				      .tainted = true));
	int vt = open("/dev/vcs10", O_RDONLY);
	struct report r;
	long long when;

	EXPECT_TRUE(wait_held(1));
	EXPECT_FALSE(wait_on_screen(10, "hangup-held", NEVER));
	when = now_ms();
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_on_screen(10, "hangup-held", SOON));
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(14, r.ret);
	EXPECT_GT(when, r.when);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(0, r.ret);
	EXPECT_LE(when, r.when);
	end(&c);
	close(vt);
}

static void write_in_background(void *arg)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct termios tio;
	int fd;

	setsid();
	fd = open("/dev/tty7", O_RDWR);
	if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0 || tcgetattr(fd, &tio))
		_exit(96);
	tio.c_lflag |= TOSTOP;
	tcsetattr(fd, TCSANOW, &tio);
	if (!fork()) {
		setpgid(0, 0);
		sigaction(SIGTTOU, &sa, NULL);
		taint();
		report(write(fd, "background\n", 11));
		_exit(0);
	}
	wait(NULL);
}

/* Job control concerns the writer: it must be told, not our work item. */
TEST_F(tty, a_background_writer_gets_sigttou)
{
	struct child c = start(write_in_background, NULL);
	struct report r;

	sleep_ms(NEVER);
	EXPECT_EQ(0, held_items());
	ASSERT_EQ(0, commit());
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(-1, r.ret);
	EXPECT_EQ(EINTR, r.error);
	end(&c);
}

/* --- ptys pass on --------------------------------------------------------- */

struct pair {
	int master, slave;
	const char *serial;
	const char *text;	/* what the reader tells the serial line */
};

static int open_pair(struct pair *pair)
{
	int zero = 0;

	pair->master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (pair->master < 0 || ioctl(pair->master, TIOCSPTLCK, &zero))
		return -1;
	pair->slave = ioctl(pair->master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	return pair->slave < 0 ? -1 : 0;
}

static void tell(const struct pair *pair)
{
	dprintf(open(pair->serial, O_WRONLY | O_NOCTTY), "%s\n", pair->text);
}

static void write_master(void *arg)
{
	struct pair *pair = arg;

	taint();
	report(write(pair->master, "x\n", 2));
	pause();
}

static void write_slave(void *arg)
{
	struct pair *pair = arg;

	taint();
	report(write(pair->slave, "x\n", 2));
	pause();
}

static void write_slave_clean(void *arg)
{
	struct pair *pair = arg;

	report(write(pair->slave, "x\n", 2));
	pause();
}

static void close_slave(void *arg)
{
	taint();
	/* and exit: nobody else has it */
}

static void read_master(void *arg)
{
	struct pair *pair = arg;
	char c;

	close(pair->slave);
	report(read(pair->master, &c, 1));
	tell(pair);
	pause();
}

static void read_slave(void *arg)
{
	struct pair *pair = arg;
	char c;

	report(read(pair->slave, &c, 1));
	tell(pair);
	pause();
}

static void poll_master(void *arg)
{
	struct pair *pair = arg;
	struct pollfd pfd = { .fd = pair->master, .events = POLLIN };

	report(poll(&pfd, 1, -1));
	tell(pair);
	pause();
}

FIXTURE(pty) {
	struct pair pair;
	int fd;
};

FIXTURE_VARIANT(pty) {
	void (*writer)(void *arg);
	void (*reader)(void *arg);
	const char *text;
	long ret;		/* of the reader's call */
	bool clean;		/* nothing to pass on */
};

/* Control: a pty alone makes nobody dependent. */
FIXTURE_VARIANT_ADD(pty, clean_slave_to_master) {
	.writer = write_slave_clean, .reader = read_master,
	.text = "pty-clean", .ret = 1, .clean = true,
};

FIXTURE_VARIANT_ADD(pty, slave_to_master) {
	.writer = write_slave, .reader = read_master,
	.text = "pty-read-master", .ret = 1,
};

FIXTURE_VARIANT_ADD(pty, slave_to_poll) {
	.writer = write_slave, .reader = poll_master,
	.text = "pty-polled-master", .ret = 1,
};

FIXTURE_VARIANT_ADD(pty, master_to_slave) {
	.writer = write_master, .reader = read_slave,
	.text = "pty-read-slave", .ret = 1,
};

FIXTURE_VARIANT_ADD(pty, echo_to_master) {
	.writer = write_master, .reader = read_master,
	.text = "pty-read-echo", .ret = 1,
};

FIXTURE_VARIANT_ADD(pty, close_to_master) {
	.writer = close_slave, .reader = read_master,
	.text = "pty-read-hangup", .ret = -1,
};

FIXTURE_SETUP(pty)
{
	ASSERT_EQ(0, open_pair(&self->pair));
	self->pair.serial = getenv("XSYNC_SERIAL2");
	self->pair.text = variant->text;
	self->fd = open(self->pair.serial, O_RDWR | O_NOCTTY | O_NONBLOCK);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, held_items());
}

FIXTURE_TEARDOWN(pty)
{
	commit();
	EXPECT_TRUE(wait_held(0));
	close(self->fd);
}

TEST_F(pty, passes_the_dependency_on)
{
	struct child reader, writer;
	struct report r;

	/* The reader sleeps in its call when the writer comes. */
	reader = start(variant->reader, &self->pair);
	sleep_ms(300);
	EXPECT_EQ(0, held_items());
	writer = start(variant->writer, &self->pair);
	close(self->pair.slave);
	if (!variant->clean) {
		EXPECT_TRUE(wait_held(1));
		EXPECT_TRUE(not_observed_for("serial", variant->text, NEVER));
		ASSERT_EQ(0, commit());
	}
	EXPECT_TRUE(wait_observed("serial", variant->text, SOON));
	ASSERT_TRUE(next_report(&reader, &r));
	EXPECT_EQ(variant->ret, r.ret);
	end(&writer);
	end(&reader);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = 1;
}

static void wait_for_interrupt(void *arg)
{
	struct sigaction sa = { .sa_handler = on_interrupt };
	struct pair *pair = arg;

	setsid();
	if (ioctl(pair->slave, TIOCSCTTY, 0))
		_exit(96);
	sigaction(SIGINT, &sa, NULL);
	while (!interrupted)
		sleep_ms(20);
	tell(pair);
	pause();
}

static void write_interrupt(void *arg)
{
	struct pair *pair = arg;

	taint();
	report(write(pair->master, "\003", 1));
	pause();
}

/* ^C becomes a signal in a kernel thread, which depends on nothing. */
TEST_F(tty, an_interrupt_key_passes_the_dependency_on)
{
	struct child reader, writer;
	struct pair pair = { .serial = self->serial, .text = "interrupted" };

	ASSERT_EQ(0, open_pair(&pair));
	reader = start(wait_for_interrupt, &pair);
	sleep_ms(300);
	writer = start(write_interrupt, &pair);
	EXPECT_TRUE(wait_held(1));
	EXPECT_TRUE(not_observed_for("serial", "interrupted", NEVER));
	ASSERT_EQ(0, commit());
	EXPECT_TRUE(wait_observed("serial", "interrupted", SOON));
	end(&writer);
	end(&reader);
}

/* --- the journal fails ---------------------------------------------------- */

static void write_twice(void *arg)
{
	const char *serial = arg;
	int fd = open(serial, O_WRONLY | O_NOCTTY);

	taint();
	report(write(fd, "lost-1\n", 7));
	sleep_ms(2 * NEVER);
	report(write(fd, "lost-2\n", 7));
}

/* The last one: the source is dead for good. */
TEST_F_TIMEOUT(tty, z_a_failure_drops_and_refuses, 120)
{
	long drops = tty_channel(5);
	struct child c = start(write_twice, (void *)self->serial);
	struct report r;

	EXPECT_TRUE(wait_held(1));
	EXPECT_EQ(12, write(self->fd, "behind-lost\n", 12));
	EXPECT_TRUE(wait_held(2));
	ASSERT_EQ(0, write_file(TEST_SOURCE "abort", "now"));
	/* What was clean comes, what was lost doesn't. */
	EXPECT_TRUE(wait_observed("serial", "behind-lost", SOON));
	EXPECT_TRUE(wait_held(0));
	EXPECT_EQ(drops + 1, tty_channel(5));
	sleep_ms(3 * NEVER);
	EXPECT_EQ(11, write(self->fd, "still-good\n", 11));
	EXPECT_TRUE(wait_observed("serial", "still-good", SOON));
	EXPECT_EQ(-1, observed_at("lost-1"));
	EXPECT_EQ(-1, observed_at("lost-2"));
	/* The writer's pipe is not clean before the source has gone. */
	ASSERT_EQ(0, gate_lib("rmmod testsource"));
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(7, r.ret);
	ASSERT_TRUE(next_report(&c, &r));
	EXPECT_EQ(-1, r.ret);
	EXPECT_EQ(EIO, r.error);
	end(&c);
	ASSERT_EQ(0, gate_lib("load_modules testsource"));
}

/*
 * Unloading with held output on terminals that are stopped, by the user and by
 * a program: the output is durable, so it must come; and rmmod must not wait
 * for somebody to press ^Q.
 */
TEST_F_TIMEOUT(tty, zz_unload_loses_nothing, 120)
{
	struct child c1, c2;
	char ctrl_s = '\023';
	long long when;
	int vt1, vt2;

	vt1 = open("/dev/tty8", O_RDWR | O_NOCTTY);
	ASSERT_LE(0, vt1);
	vt2 = open("/dev/tty9", O_RDWR | O_NOCTTY);
	ASSERT_LE(0, vt2);
	ASSERT_EQ(0, ioctl(vt1, TIOCSTI, &ctrl_s));
	ASSERT_EQ(0, tcflow(vt2, TCOOFF));
	c1 = start(write_output, OUTPUT("/dev/tty8", "\033cunload-1\n",
					.tainted = true));
	c2 = start(write_output, OUTPUT("/dev/tty9", "\033cunload-2\n",
					.tainted = true));
	EXPECT_TRUE(wait_held(2));
	ASSERT_EQ(0, commit());
	EXPECT_FALSE(wait_on_screen(8, "unload-1", NEVER));
	EXPECT_FALSE(on_screen(9, "unload-2"));
	EXPECT_EQ(2, held_items());
	end(&c1);
	end(&c2);
	when = now_ms();
	ASSERT_EQ(0, gate_lib("rmmod testsource"));
	ASSERT_EQ(0, gate_lib("rmmod speculator"));
	/* Most of it is for the hooks, without KVM. */
	EXPECT_GT(60000, now_ms() - when);
	EXPECT_TRUE(wait_on_screen(8, "unload-1", SOON));
	EXPECT_TRUE(wait_on_screen(9, "unload-2", SOON));
	close(vt1);
	close(vt2);
	ASSERT_EQ(0, gate_lib("load_modules speculator testsource"));
}

static void unload(void)
{
	if (unload_modules())
		_exit(KSFT_FAIL);
}

int main(int argc, char **argv)
{
	if (!getenv("XSYNC_SERIAL2"))
		ksft_exit_skip("only in the machine of tools/vm, with --observe\n");
	if (gate_lib("load_modules speculator testsource"))
		ksft_exit_fail_msg("cannot load the modules\n");
	/* The harness does not come back. */
	atexit(unload);
	return test_harness_run(argc, argv);
}
