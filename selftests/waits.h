/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Law 1 for a call that waits: it is made by a tainted process, which must wait
 * for the commit and then go on, and by a clean one, which must not wait.
 * Harmless calls must not wait in either.
 */
#ifndef SELFTESTS_WAITS_H
#define SELFTESTS_WAITS_H

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

static int fd;

static inline void opened(int got)
{
	if (got < 0)
		ksft_exit_fail_msg("cannot make an object: %m\n");
	fd = got;
}

/**
 * struct wait_row - a call
 * @name: for TAP
 * @make: in the clean parent; sets fd, which the parent closes again, or -1
 * @act: returns less than 0 on error
 * @waits: whether a tainted process must wait
 */
struct wait_row {
	const char *name;
	void (*make)(void);
	int (*act)(void);
	bool waits;
};

#define COMMIT_AFTER 500

static void run_one(const struct wait_row *row, bool tainted,
		    void (*depend)(void), void (*commit)(void))
{
	int waited = -1, err = -1;
	char buf[64];
	ssize_t n;
	pid_t a;

	row->make();
	a = fork();
	if (!a) {
		long long t;

		if (tainted)
			depend();
		t = now_ms();
		err = row->act();
		snprintf(buf, sizeof(buf), "%lld %d", now_ms() - t,
			 err < 0 ? errno : 0);
		say(buf);
		sleep_ms(5000);
		_exit(0);
	}
	if (fd >= 0)
		close(fd);
	sleep_ms(COMMIT_AFTER);
	commit();
	for (int i = 0; i < 30; i++) {
		n = recv(outside_rx, buf, sizeof(buf) - 1, MSG_DONTWAIT);
		if (n > 0) {
			buf[n] = 0;
			if (sscanf(buf, "%d %d", &waited, &err) != 2)
				ksft_exit_fail_msg("said '%s'\n", buf);
			break;
		}
		sleep_ms(100);
	}
	ksft_print_msg("%s: waited %d ms, error %d\n", row->name, waited, err);
	if (tainted && row->waits)
		ksft_test_result(waited >= COMMIT_AFTER * 3 / 4 && !err,
				 "%s: waits when tainted\n", row->name);
	else
		ksft_test_result(waited >= 0 && waited < COMMIT_AFTER / 2 &&
				 !err,
				 "%s: does not wait when %s\n", row->name,
				 tainted ? "tainted" : "clean");
	kill(a, SIGKILL);
	waitpid(a, NULL, 0);
}

/* Both runs: @depend makes a process dependent, on what @commit commits. */
static inline void run_wait(const struct wait_row *row, void (*depend)(void),
			    void (*commit)(void))
{
	const char *only = getenv("FLOW");

	if (only && !strstr(row->name, only)) {
		ksft_test_result_skip("%s\n", row->name);
		ksft_test_result_skip("%s\n", row->name);
		return;
	}
	run_one(row, true, depend, commit);
	run_one(row, false, depend, commit);
}

#endif /* SELFTESTS_WAITS_H */
