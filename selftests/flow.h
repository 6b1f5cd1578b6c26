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
 * A and B keep in step by the clock alone: anything else would be a channel.
 */
#ifndef SELFTESTS_FLOW_H
#define SELFTESTS_FLOW_H

#include <signal.h>
#include <sys/stat.h>
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

enum mode { EARLY, LATE, CLEAN };

static void child_b(const struct flow *f, enum mode mode)
{
	if (mode == LATE || f->late_only)
		sleep_ms(2 * STEP);
	f->b();
	say("B");
	sleep_ms(5000);
	_exit(0);
}

static void child_a(const struct flow *f, enum mode mode)
{
	if (mode != CLEAN)
		flow_taint();
	sleep_ms(STEP);
	f->a();
	sleep_ms(5000); /* exit would tell the parent */
	_exit(0);
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
	static const char *const mode_name[] = { "early", "late", "clean" };
	bool before, after;
	pid_t a;

	f->make();
	pid_b = 0;
	if (f->b) {
		pid_b = fork();
		if (!pid_b)
			child_b(f, mode);
	}
	a = fork();
	if (!a)
		child_a(f, mode);
	close_objects();
	/* At once, as far as the machine is: nobody commits meanwhile. */
	before = heard("B", mode == CLEAN ? 20 * STEP : 4 * STEP);
	if (mode == CLEAN) {
		ksft_test_result(before, "%s: %s\n", f->name, mode_name[mode]);
	} else {
		flow_commit();
		after = before || heard("B", 3000);
		if (before)
			ksft_print_msg("%s: seen before the commit\n", f->name);
		if (!after)
			ksft_print_msg("%s: never seen\n", f->name);
		ksft_test_result(!before && after, "%s: %s\n", f->name,
				 mode_name[mode]);
	}
	drop_children(a, pid_b);
}

/* Nothing is held of a process that has nothing to do with the tainted one. */
static void run_bystander(const struct flow *f)
{
	bool before;
	pid_t a, b;

	f->make();
	b = fork();
	if (!b) {
		struct stat st;

		sleep_ms(2 * STEP);
		stat("/etc/passwd", &st);
		say("B");
		sleep_ms(5000);
		_exit(0);
	}
	pid_b = b;
	a = fork();
	if (!a)
		child_a(f, EARLY);
	close_objects();
	before = heard("B", 20 * STEP);
	flow_commit();
	ksft_test_result(before, "%s: bystander\n", f->name);
	drop_children(a, b);
}

/*
 * Run all @flows whose name contains $FLOW, if that is set, every
 * eighth also with a bystander. Returns the number of results.
 */
static unsigned int run_flows(const struct flow *flows, unsigned int n)
{
	const char *only = getenv("FLOW");
	unsigned int i, plan = 0;

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
			run_bystander(&flows[i]);
			plan++;
		}
	}
	return plan;
}

#endif /* SELFTESTS_FLOW_H */
