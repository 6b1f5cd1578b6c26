/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Many calls at the same time, each by a child of its own that depends on a
 * commit that has not happened: which return before the commit, which after?
 *
 * A child notes when it began and ended in a file of its own on tmpfs. To look
 * there before the commit would make the parent dependent, so it looks after.
 * Children that are done stay, since an exit tells the parent as well.
 */
#ifndef SELFTESTS_BATCH_H
#define SELFTESTS_BATCH_H

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "outside.h"

#define BATCH_DIR "/tmp/batch"
#define BATCH_MAX 128	/* children at a time */
#define BATCH_MS 2000	/* that they get before the commit */
#define BATCH_LATE 2000 /* and after it */

/**
 * struct probe - a call
 * @name: for TAP
 * @act: does it; the result does not matter
 * @arg: for @act
 * @fd: for @act
 * @waits: whether a process that depends on something must wait in it
 */
struct probe {
	char name[80];
	long (*act)(const struct probe *probe);
	long arg;
	int fd;
	bool waits;
};

struct batch_note {
	long long begun, ended;
	long result;
	int error;
};

static void batch_child(const struct probe *probe, int note_fd, bool tainted)
{
	struct batch_note note = {};

	if (tainted)
		taint();
	note.begun = now_ms();
	if (pwrite(note_fd, &note, sizeof(note), 0) != sizeof(note))
		_exit(97);
	errno = 0;
	note.result = probe->act(probe);
	note.error = errno;
	note.ended = now_ms();
	if (pwrite(note_fd, &note, sizeof(note), 0) != sizeof(note))
		_exit(97);
	for (;;)
		pause();
}

/* Nothing is said of a call that is not as it should be but in the result. */
static bool batch_judge(const struct probe *probe, const struct batch_note *note,
			bool tainted, long long commit)
{
	const char *why = NULL;

	if (!note->begun)
		why = "did not begin";
	else if (note->begun >= commit)
		why = "began after the commit: too slow a machine";
	else if (!note->ended)
		why = "never returned";
	else if (tainted && probe->waits && note->ended < commit)
		why = "returned before the commit";
	else if (!(tainted && probe->waits) && note->ended >= commit)
		why = "waited";
	if (why)
		ksft_print_msg("%s: %s (began %lld, ended %lld, commit %lld; %ld, errno %d)\n",
			       probe->name, why, note->begun, note->ended,
			       commit, note->result, note->error);
	return !why;
}

/* Up to BATCH_MAX of them, by dependent children or by clean ones. */
static void batch_part(const struct probe *probes, int n, bool tainted,
		       bool good[])
{
	long long commit;
	pid_t pid[BATCH_MAX];
	int fd[BATCH_MAX];

	fflush(stdout);
	for (int i = 0; i < n; i++) {
		char path[64];

		snprintf(path, sizeof(path), BATCH_DIR "/%d", i);
		fd[i] = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (fd[i] < 0)
			ksft_exit_fail_msg("%s: %m\n", path);
		pid[i] = fork();
		if (!pid[i])
			batch_child(&probes[i], fd[i], tainted);
	}
	sleep_ms(BATCH_MS);
	commit = now_ms();
	commit_all();
	sleep_ms(tainted ? BATCH_LATE : 0);
	commit_all();
	for (int i = 0; i < n; i++) {
		struct batch_note note = {};

		if (pread(fd[i], &note, sizeof(note), 0) < 0)
			ksft_print_msg("%s: %m\n", probes[i].name);
		good[i] = batch_judge(&probes[i], &note, tainted, commit);
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(fd[i]);
	}
}

/*
 * Run @probes by dependent children, and by clean ones, which must not wait: a
 * result each. Returns their number.
 */
static int batch_run(const struct probe *probes, int n)
{
	bool dirty[BATCH_MAX], clean[BATCH_MAX];

	mkdir(BATCH_DIR, 0700);
	if (signal(SIGALRM, SIG_IGN) == SIG_ERR)
		return 0;
	for (int at = 0; at < n; at += BATCH_MAX) {
		int part = n - at < BATCH_MAX ? n - at : BATCH_MAX;

		batch_part(probes + at, part, true, dirty);
		batch_part(probes + at, part, false, clean);
		for (int i = 0; i < part; i++)
			ksft_test_result(dirty[i] && clean[i], "%s: %s\n",
					 probes[at + i].name,
					 probes[at + i].waits ?
						 "waits" : "goes on");
	}
	return n;
}

#endif /* SELFTESTS_BATCH_H */
