// SPDX-License-Identifier: GPL-2.0
/*
 * An nbdkit plugin: a disk that records what is written to it, and when it has
 * promised what.
 *
 *   nbdkit recorder.so FILE log=LOG [flush-us=8333] [write-us=500]
 *
 * FILE is the disk, as the machine sees it. LOG tells what its medium may hold
 * after a power cut at any moment; crash.py makes such a medium. A write takes up
 * to write-us microseconds, a FLUSH takes flush-us, and requests run side by
 * side: a FLUSH covers the writes that had been answered when it came, no more.
 *
 * LOG is a sequence of struct entry, those of kind WRITE with the data behind
 * them. The order is the order of the events. A FLUSH is logged as done, with the
 * time, *before* its answer is sent: who has heard of it did so later.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

enum kind { WRITE, WRITTEN, FLUSH, FLUSHED };

/**
 * struct entry - of the log; crash.py reads it
 * @kind: enum kind
 * @length: of the data, for WRITE
 * @id: the same for the begin and the end of a request
 * @time: CLOCK_MONOTONIC, in nanoseconds
 * @offset: on the disk, for WRITE
 */
struct entry {
	uint32_t kind;
	uint32_t length;
	uint64_t id;
	uint64_t time;
	uint64_t offset;
};

static char *file, *log_file;
static unsigned int flush_us = 8333;
static unsigned int write_us = 500;

static int disk = -1, log_fd = -1;
static int64_t size;

/* The order in the log, and the numbers of the requests. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_id;

static int recorder_config(const char *key, const char *value)
{
	if (!strcmp(key, "file")) {
		free(file);
		file = nbdkit_realpath(value);
		return file ? 0 : -1;
	}
	if (!strcmp(key, "log")) {
		free(log_file);
		log_file = nbdkit_absolute_path(value);
		return log_file ? 0 : -1;
	}
	if (!strcmp(key, "flush-us"))
		return nbdkit_parse_unsigned(key, value, &flush_us);
	if (!strcmp(key, "write-us"))
		return nbdkit_parse_unsigned(key, value, &write_us);
	nbdkit_error("unknown parameter %s", key);
	return -1;
}

static int recorder_config_complete(void)
{
	if (file && log_file)
		return 0;
	nbdkit_error("FILE or log= is missing");
	return -1;
}

/* After nbdkit's fork. */
static int recorder_after_fork(void)
{
	struct stat st;

	disk = open(file, O_RDWR | O_CLOEXEC);
	if (disk < 0 || fstat(disk, &st)) {
		nbdkit_error("%s: %m", file);
		return -1;
	}
	size = st.st_size;
	log_fd = open(log_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (log_fd < 0) {
		nbdkit_error("%s: %m", log_file);
		return -1;
	}
	srandom(time(NULL) ^ getpid());
	return 0;
}

static void *recorder_open(int readonly)
{
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t recorder_get_size(void *handle)
{
	return size;
}

/* A client that wants FUA has to send a FLUSH. */
static int recorder_can_fua(void *handle)
{
	return NBDKIT_FUA_NONE;
}

static void pass_time(unsigned int us)
{
	struct timespec left = {
		.tv_sec = us / 1000000,
		.tv_nsec = us % 1000000 * 1000L,
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Log an event of the request *id, which gets its number with the first. */
static int record(enum kind kind, uint64_t *id, uint64_t offset,
		  const void *data, uint32_t length)
{
	struct entry entry = {
		.kind = kind, .length = length, .offset = offset
	};
	struct iovec parts[] = {
		{ &entry, sizeof(entry) }, { (void *)data, length }
	};
	struct timespec now;
	ssize_t n;

	pthread_mutex_lock(&lock);
	if (!*id)
		*id = ++last_id;
	clock_gettime(CLOCK_MONOTONIC, &now);
	entry.id = *id;
	entry.time = now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
	n = writev(log_fd, parts, 2);
	pthread_mutex_unlock(&lock);
	if (n == (ssize_t)(sizeof(entry) + length))
		return 0;
	nbdkit_error("%s: %m", log_file);
	return -1;
}

static int recorder_pread(void *handle, void *buf, uint32_t count,
			  uint64_t offset, uint32_t flags)
{
	if (pread(disk, buf, count, offset) == count)
		return 0;
	nbdkit_error("%s: read: %m", file);
	return -1;
}

static int recorder_pwrite(void *handle, const void *buf, uint32_t count,
			   uint64_t offset, uint32_t flags)
{
	uint64_t id = 0;

	if (record(WRITE, &id, offset, buf, count))
		return -1;
	if (pwrite(disk, buf, count, offset) != count) {
		nbdkit_error("%s: write: %m", file);
		return -1;
	}
	if (write_us)
		pass_time(random() % write_us);
	return record(WRITTEN, &id, 0, NULL, 0);
}

static int recorder_flush(void *handle, uint32_t flags)
{
	uint64_t id = 0;

	if (record(FLUSH, &id, 0, NULL, 0))
		return -1;
	pass_time(flush_us);
	return record(FLUSHED, &id, 0, NULL, 0);
}

static struct nbdkit_plugin plugin = {
	.name = "recorder",
	.longname = "disk that records what is written to it",
	.config = recorder_config,
	.config_complete = recorder_config_complete,
	.magic_config_key = "file",
	.config_help = "file=FILE  the disk\n"
		       "log=LOG  what is written, and when\n"
		       "flush-us=MICROSECONDS  what a FLUSH takes (8333)\n"
		       "write-us=MICROSECONDS  what a write takes at most (500)",
	.after_fork = recorder_after_fork,
	.open = recorder_open,
	.get_size = recorder_get_size,
	.can_fua = recorder_can_fua,
	.pread = recorder_pread,
	.pwrite = recorder_pwrite,
	.flush = recorder_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
