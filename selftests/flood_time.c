// SPDX-License-Identifier: GPL-2.0
/* vm: stock own icount mem=2048 timeout=120 */
/*
 * How long one user can keep others waiting, in virtual time: an instruction is
 * a nanosecond, on any machine. On the stock kernel: of a debug kernel the times
 * say nothing, and 30,000 links take KASAN longer than any bound.
 *
 * By what he sends: held packets go out one after the other. By sharing memory: a
 * dependency is spread over all links of the processes that share it, with
 * interrupts off. At first that takes longer the more there are (the control), but
 * after 8192 steps the dependency is everybody's, which is sound, and over with
 * the commit.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define USER	1001
#define ROUNDS	5
#define MOST	30000
#define BOUND	8000000		/* ns */
#define PACKETS	4000

static const int links[] = { 500, 1000, 2000, 16000, MOST };
#define STEPS	(int)(sizeof(links) / sizeof(*links))

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ksft_exit_fail_msg("%s: %m\n", path);
	close(fd);
}

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void become_user(void)
{
	if (setgid(USER) || setuid(USER))
		_exit(97);
}

/* Small packets of many sockets, as many as the user's share allows. */
static void send_many(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(OUTSIDE_PORT),
	};
	int left = PACKETS;

	become_user();
	taint();
	inet_pton(AF_INET, OUTSIDE_ADDR, &addr.sin_addr);
	while (left) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		while (left && sendto(fd, "x", 1, MSG_DONTWAIT, (void *)&addr,
				      sizeof(addr)) == 1)
			left--;
	}
	pause();
}

static void test_release(void)
{
	int rcvbuf = 64 << 20, count = 0;
	long long start, other = 0, all = 0;
	pid_t many, one;
	char c;

	setsockopt(outside_rx, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf,
		   sizeof(rcvbuf));
	many = fork();
	if (!many)
		send_many();
	sleep_ms(3000);
	one = fork();
	if (!one) {
		taint();
		say_alone("o");
		pause();
	}
	sleep_ms(500);
	start = now_ns();
	commit_all();
	while (count <= PACKETS) {
		struct pollfd p = { .fd = outside_rx, .events = POLLIN };

		if (poll(&p, 1, 2000) <= 0 || recv(outside_rx, &c, 1, 0) != 1)
			break;
		count++;
		all = now_ns() - start;
		if (c == 'o')
			other = all;
	}
	ksft_print_msg("%d packets after %lld us, %lld ns each; another user's after %lld us\n",
		       count, all / 1000, all / PACKETS, other / 1000);
	ksft_test_result(count == PACKETS + 1 && other,
			 "a user's packets go out, and another's\n");
	ksft_test_result(all / PACKETS < 50000, "none takes longer than 50 us\n");
	kill(many, SIGKILL);
	kill(one, SIGKILL);
	waitpid(many, NULL, 0);
	waitpid(one, NULL, 0);
}

/* One more object that this process can write, and another may. */
static void map_one(void)
{
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		_exit(95);
}

/* Prints "links ns" for each number of them; best and worst of some rounds. */
static void measure(int fd)
{
	int n = 0;

	become_user();
	for (int i = 0; i < STEPS; i++) {
		long long best = 1LL << 60, worst = 0;

		for (; n < links[i]; n++)
			map_one();
		for (int round = 0; round < ROUNDS; round++) {
			long long t = now_ns();

			taint();
			t = now_ns() - t;
			best = t < best ? t : best;
			worst = t > worst ? t : worst;
		}
		dprintf(fd, "%lld %lld\n", best, worst);
	}
	_exit(0);
}

/*
 * A process with @n objects becomes dependent; one that maps the last of them
 * speaks, and one that has nothing to do with it.
 */
static void test_spread(int n, bool all)
{
	pid_t sharer, other, pid;
	bool early, beside;

	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		for (int i = 0; i < n; i++)
			map_one();
		sharer = fork();
		if (!sharer) {
			sleep_ms(2000);
			say("sharer");
			pause();
		}
		/* What is shared is shared with the child now. */
		taint();
		pause();
	}
	sleep_ms(3000);
	early = heard("sharer", 500);
	other = fork();
	if (!other) {
		say_alone("beside");
		_exit(0);
	}
	beside = heard("beside", all ? 500 : 2000);
	ksft_test_result(!early && beside == !all,
			 "%d links: whoever shares is held%s\n", n,
			 all ? ", and all others are" : ", and nobody else");
	/* We may depend on it: the source commits by itself. */
	ksft_test_result(heard(all ? "beside" : "sharer", 20000),
			 "until the commit\n");
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	waitpid(other, NULL, 0);
}

int main(void)
{
	long long best[STEPS], worst[STEPS];
	int fd[2], i;
	FILE *file;
	pid_t pid;

	ksft_print_header();
	ksft_set_plan(10);
	if (outside_open() || source_open())
		ksft_exit_fail_msg("no outside or no source: %m\n");
	test_release();

	put_text(SOURCE "delay_ms", "6000");
	put_text(SOURCE "auto", "1");
	if (pipe(fd))
		ksft_exit_fail_msg("pipe: %m\n");
	pid = fork();
	if (!pid)
		measure(fd[1]);
	close(fd[1]);
	file = fdopen(fd[0], "r");
	for (i = 0; i < STEPS; i++)
		if (fscanf(file, "%lld %lld", &best[i], &worst[i]) != 2)
			ksft_exit_fail_msg("no figures\n");
	waitpid(pid, NULL, 0);
	for (i = 0; i < STEPS; i++)
		ksft_print_msg("%5d links: %lld us to become dependent, %lld at worst\n",
			       links[i], best[i] / 1000, worst[i] / 1000);
	ksft_test_result(best[1] * 10 > best[0] * 13 && best[2] * 10 > best[1] * 13,
			 "up to 2000 links it takes longer the more there are\n");
	ksft_test_result(best[4] < 4 * best[2] && best[3] < 4 * best[2],
			 "30000 take not much longer than 2000\n");
	ksft_test_result(worst[4] < BOUND && worst[3] < BOUND,
			 "never longer than %d us\n", BOUND / 1000);

	/* We have taken over from the pipe and the exit, and so would our children. */
	pid = fork();
	if (!pid) {
		say("clean again");
		_exit(0);
	}
	heard("clean again", 20000);
	waitpid(pid, NULL, 0);
	test_spread(300, false);
	test_spread(20000, true);
	/* Nothing is left of it. */
	pid = fork();
	if (!pid) {
		say("after");
		_exit(0);
	}
	ksft_test_result(heard("after", 5000), "and nobody is held after it\n");
	waitpid(pid, NULL, 0);

	outside_close();
	if (source_close())
		ksft_exit_fail_msg("cannot unload\n");
	ksft_finished();
}
