/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The helpers of lib.sh for C programs: our modules, the gate (an ext4 whose
 * disk can be made to stand still) and the observer. All that return int
 * return 0 when they have succeeded.
 */
#ifndef SELFTESTS_GATE_H
#define SELFTESTS_GATE_H

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define GATE_MNT "/mnt/gate"

/* Run a function of lib.sh. */
static inline int gate_lib(const char *call)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "bash -c '. \"$XSYNC_VM_REPO\"/selftests/lib.sh; %s' >&2",
		 call);
	return system(command);
}

static inline int load_modules(void)
{
	return gate_lib("load_modules");
}

static inline int load_testsource(void)
{
	return gate_lib("load_modules testsource");
}

static inline int unload_modules(void)
{
	return gate_lib("unload_modules");
}

/* A new file system on GATE_MNT, mounted with -o xsync or without. */
static inline int gate_setup(bool xsync)
{
	return gate_lib(xsync ? "gate_setup xsync" : "gate_setup plain");
}

/* As dmsetup does it, without the time that starting a program takes. */
static inline int gate_move(unsigned int flags)
{
	struct dm_ioctl dm = {
		.version = { DM_VERSION_MAJOR, 0, 0 },
		.data_size = sizeof(dm), .flags = flags, .name = "gate",
	};
	int fd = open("/dev/mapper/control", O_RDWR);
	int err = fd < 0 ? -1 : ioctl(fd, DM_DEV_SUSPEND, &dm);

	close(fd);
	return err;
}

/* Shut the gate: nothing becomes durable until gate_resume(). */
static inline int gate_suspend(void)
{
	return gate_move(DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG |
			 DM_NOFLUSH_FLAG);
}

static inline int gate_resume(void)
{
	return gate_move(0);
}

static inline int gate_teardown(void)
{
	return gate_lib("gate_teardown");
}

/* Has the host received @text on @channel ("udp", "tcp", "serial")? */
static inline bool observed(const char *channel, const char *text)
{
	char path[256], *log = NULL;
	size_t size = 0, capacity = 0;
	ssize_t got;
	bool found;
	int fd;

	snprintf(path, sizeof(path), "%s.%s", getenv("XSYNC_OBS_LOG"), channel);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	do {
		if (size == capacity) {
			capacity += 1 << 16;
			log = realloc(log, capacity);
		}
		got = read(fd, log + size, capacity - size);
		if (got > 0)
			size += got;
	} while (got > 0);
	close(fd);
	found = memmem(log, size, text, strlen(text));
	free(log);
	return found;
}

/* Wait until @text is observed; false if it isn't within @ms. */
static inline bool wait_observed(const char *channel, const char *text, int ms)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		if (observed(channel, text))
			return true;
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 +
		 (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
	return observed(channel, text);
}

static inline bool not_observed_for(const char *channel, const char *text,
				    int ms)
{
	return !wait_observed(channel, text, ms);
}

#endif /* SELFTESTS_GATE_H */
