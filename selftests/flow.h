/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Law 1 for a channel that passes a dependency on: process A depends on a
 * commit that has not happened and acts on an object; process B, which is
 * clean, observes it and says something to the outside. It must not be heard
 * before the commit, and soon after it.
 *
 * Three runs per channel:
 *   early    B is already waiting (or looks in a loop) when A acts
 *   late     B looks after A has acted
 *   clean    A does not depend on anything: B is heard at once
 * and for some a bystander: while A is tainted and acts, B does not use the channel and
 * is heard at once.
 *
 * A can tell nobody that it depends: that would be a channel. The parent looks at it,
 * exempt, and tells first A to act and then a B that comes late to look.
 */
#ifndef SELFTESTS_FLOW_H
#define SELFTESTS_FLOW_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#ifndef STEP
#define STEP 150 /* ms between "B waits", "A acts" and "B looks" */
#endif

/**
 * struct flow - a channel
 * @name: for TAP
 * @make: makes the object, in the clean parent, before A and B are born
 * @a: acts
 * @b: observes; NULL: A's action leads to the output itself
 * @late_only: B does not wait for A by itself, so it always comes later
 * @early_only: a B that comes later is told nothing
 * @to_b: A addresses B (pid_b), who is no bystander then
 */
struct flow {
	const char *name;
	void (*make)(void);
	void (*a)(void);
	void (*b)(void);
	bool late_only, early_only, to_b;
};

/* The parent lets go of what make() has made, or nobody sees it closed. */
static void close_objects(void);

static pid_t pid_b; /* for an A that addresses B */
static pid_t third; /* a process that make() has started */

/* How A becomes dependent, and how that is committed. */
static void (*flow_taint)(void) = taint;
static void (*flow_commit)(void) = commit_all;

static sigset_t act; /* a signal that tells A to act; no channel uses it */

enum mode { EARLY, LATE, CLEAN, BYSTANDER };

/* Is B told to go on once A has acted? */
static bool is_late(const struct flow *f, enum mode m)
{
	return f->b && (m == LATE || m == BYSTANDER || f->late_only);
}

static void child_b(const struct flow *f, enum mode m, int go)
{
	struct stat st;
	char c;

	if (is_late(f, m) && read(go, &c, 1) != 1)
		_exit(97);
	close(go);
	if (m == BYSTANDER)
		stat("/etc/passwd", &st);
	else
		f->b();
	say("B");
	sleep_ms(5000);
	_exit(0);
}

static void child_a(const struct flow *f, enum mode mode)
{
	if (mode != CLEAN)
		flow_taint();
	sigwaitinfo(&act, NULL);
	f->a();
	sleep_ms(5000); /* exit would tell the parent */
	_exit(0);
}

/* What process @pid waits for in the kernel, by its number, or -1. */
static long in_syscall(pid_t pid)
{
	char path[64], text[256] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		text[0] = 'r';
	close(fd);
	return text[0] == 'r' ? -1 : atol(text);
}

/*
 * When A depends on a commit, which may take long on a busy machine, let it act.
 * Looking at it is exempt.
 */
static void let_act(pid_t a)
{
	long long end = now_ms() + 10000;

	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	while (in_syscall(a) != SYS_rt_sigtimedwait && now_ms() < end)
		sleep_ms(5);
	kill(a, SIGRTMAX);
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
}

static void drop_children(pid_t a, pid_t b)
{
	int status;

	if (a > 0)
		kill(a, SIGKILL);
	if (b > 0)
		kill(b, SIGKILL);
	if (third > 0)
		kill(third, SIGKILL);
	third = 0;
	while (waitpid(-1, &status, 0) > 0)
		;
	heard("nobody", 0); /* what is left in the socket */
}

static void run_flow(const struct flow *f, enum mode mode)
{
	static const char *const mode_name[] = { "early", "late", "clean",
						 "bystander" };
	bool held = mode == EARLY || mode == LATE;
	bool before, after;
	int go[2];
	pid_t a;

	if (pipe2(go, O_CLOEXEC))
		exit(1);
	f->make();
	pid_b = 0;
	if (f->b) {
		pid_b = fork();
		if (!pid_b) {
			close(go[1]);
			child_b(f, mode, go[0]);
		}
	}
	a = fork();
	if (!a) {
		close(go[0]);
		close(go[1]);
		child_a(f, mode);
	}
	close_objects();
	sleep_ms(STEP);
	let_act(a);
	if (is_late(f, mode)) {
		sleep_ms(STEP);
		if (write(go[1], "", 1) != 1)
			exit(1);
	}
	close(go[0]);
	close(go[1]);
	/* At once, as far as the machine is: nobody commits meanwhile. */
	before = heard("B", held ? 3 * STEP : 20 * STEP);
	if (held || mode == BYSTANDER)
		flow_commit();
	after = before || (held && heard("B", 3000));
	if (held && before)
		ksft_print_msg("%s: seen before the commit\n", f->name);
	if (!after)
		ksft_print_msg("%s: never seen\n", f->name);
	ksft_test_result(after && before != held, "%s: %s\n", f->name,
			 mode_name[mode]);
	drop_children(a, pid_b);
}

/*
 * Run all @flows whose name contains $FLOW, if that is set, every
 * eighth also with a bystander. Returns the number of results.
 */
static unsigned int run_flows(const struct flow *flows, unsigned int n)
{
	const char *only = getenv("FLOW");
	unsigned int i, plan = 0;

	sigemptyset(&act);
	sigaddset(&act, SIGRTMAX);
	sigprocmask(SIG_BLOCK, &act, NULL);
	for (i = 0; i < n; i++) {
		if (only && !strstr(flows[i].name, only))
			continue;
		if (!flows[i].late_only)
			run_flow(&flows[i], EARLY);
		if (flows[i].b && !flows[i].early_only)
			run_flow(&flows[i], LATE);
		run_flow(&flows[i], CLEAN);
		plan += 1 + !flows[i].late_only +
			(flows[i].b && !flows[i].early_only);
		/* Without a B it is A who speaks, before the bystander. */
		if (i % 8 == 0 && flows[i].b && !flows[i].to_b) {
			run_flow(&flows[i], BYSTANDER);
			plan++;
		}
	}
	return plan;
}

#endif /* SELFTESTS_FLOW_H */
