// SPDX-License-Identifier: GPL-2.0
/*
 * An nbdkit plugin: a disk with a volatile write cache.
 *
 *   nbdkit volatile.so FILE [flush-us=8333] [keep=50] [cache=64M] [fails=PATH]
 *
 * FILE is the medium; its size is the disk's size. Killing nbdkit with SIGKILL
 * is the power cut: what is on the medium then is what the disk comes up with.
 * (The host's page cache belongs to the medium: the host does not lose power.)
 *
 * A write goes either into the cache, in memory, or straight to the medium,
 * block by block as a die falls: a real disk destages its cache in an order of
 * its own, so a cut may keep a late write and lose an early one. A FLUSH brings
 * all of the cache to the medium and takes flush-us microseconds, as does a
 * write with FUA, for its own blocks only: 8333 is one turn at 7200 rpm. A FLUSH
 * with nothing written since the last one is free. A block is kept or lost as a
 * whole, as the 4 KiB sectors of a disk are.
 *
 *   keep=PERCENT   of the blocks written that reach the medium without a FLUSH;
 *                  0 is the strictest disk: a cut loses all since the FLUSH
 *   cache=SIZE     beyond it, blocks chosen by lot are destaged
 *   fails=PATH     as long as PATH exists a FLUSH fails, and the cache forgets
 *                  what it had: a disk does not say which writes it has lost
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

/* As a disk: one request at a time, and a FLUSH holds up those behind it. */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

#define BLOCK 4096

static char *file;
static unsigned int flush_us = 8333;
static unsigned int keep = 50;
static int64_t cache_size = 64 << 20;
static char *fails;

static int medium = -1;
static uint64_t n_blocks;
static char **cached;		/* by block number; NULL: only on the medium */
static uint64_t *dirty;		/* the numbers of the cached blocks, unordered */
static size_t n_dirty, max_dirty;
static bool flushed = true;	/* nothing was written since the last FLUSH */

static int volatile_config(const char *key, const char *value)
{
	if (!strcmp(key, "file")) {
		free(file);
		file = nbdkit_realpath(value);
		return file ? 0 : -1;
	}
	if (!strcmp(key, "fails")) {
		free(fails);
		fails = nbdkit_absolute_path(value);
		return fails ? 0 : -1;
	}
	if (!strcmp(key, "flush-us"))
		return nbdkit_parse_unsigned(key, value, &flush_us);
	if (!strcmp(key, "keep"))
		return nbdkit_parse_unsigned(key, value, &keep);
	if (!strcmp(key, "cache")) {
		cache_size = nbdkit_parse_size(value);
		return cache_size < 0 ? -1 : 0;
	}
	nbdkit_error("unknown parameter %s", key);
	return -1;
}

static int volatile_config_complete(void)
{
	if (!file) {
		nbdkit_error("FILE is missing");
		return -1;
	}
	if (cache_size < BLOCK) {
		nbdkit_error("cache= is below one block of %d bytes", BLOCK);
		return -1;
	}
	return 0;
}

/* After nbdkit's fork. */
static int volatile_after_fork(void)
{
	struct stat st;

	medium = open(file, O_RDWR | O_CLOEXEC);
	if (medium < 0 || fstat(medium, &st)) {
		nbdkit_error("%s: %m", file);
		return -1;
	}
	if (st.st_size % BLOCK) {
		nbdkit_error("%s: not a multiple of %d bytes", file, BLOCK);
		return -1;
	}
	n_blocks = st.st_size / BLOCK;
	max_dirty = cache_size / BLOCK;
	cached = calloc(n_blocks, sizeof(*cached));
	dirty = calloc(max_dirty, sizeof(*dirty));
	if (!cached || !dirty) {
		nbdkit_error("%m");
		return -1;
	}
	srandom(time(NULL) ^ getpid());
	return 0;
}

static void *volatile_open(int readonly)
{
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t volatile_get_size(void *handle)
{
	return n_blocks * BLOCK;
}

static int volatile_can_fua(void *handle)
{
	return NBDKIT_FUA_NATIVE;
}

/* The time that the disk takes to bring its cache to the medium. */
static void turn(void)
{
	struct timespec left = {
		.tv_sec = flush_us / 1000000,
		.tv_nsec = flush_us % 1000000 * 1000L,
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static int medium_write(uint64_t block, const char *data)
{
	if (pwrite(medium, data, BLOCK, block * BLOCK) != BLOCK) {
		nbdkit_error("%s: write: %m", file);
		return -1;
	}
	return 0;
}

/* What a read sees: the cache comes before the medium. */
static int block_read(uint64_t block, char *data)
{
	if (cached[block]) {
		memcpy(data, cached[block], BLOCK);
	} else if (pread(medium, data, BLOCK, block * BLOCK) != BLOCK) {
		nbdkit_error("%s: read: %m", file);
		return -1;
	}
	return 0;
}

/* Bring the block in dirty[slot] to the medium. */
static int destage(size_t slot)
{
	uint64_t block = dirty[slot];

	if (medium_write(block, cached[block]))
		return -1;
	free(cached[block]);
	cached[block] = NULL;
	dirty[slot] = dirty[--n_dirty];
	return 0;
}

static int block_write(uint64_t block, const char *data, bool fua)
{
	if (!cached[block]) {
		if (fua || random() % 100 < keep)
			return medium_write(block, data);
		if (n_dirty == max_dirty && destage(random() % n_dirty))
			return -1;
		cached[block] = malloc(BLOCK);
		if (!cached[block]) {
			nbdkit_error("%m");
			return -1;
		}
		dirty[n_dirty++] = block;
	}
	/* With FUA both copies: the older one in the cache must not win later. */
	memcpy(cached[block], data, BLOCK);
	return fua ? medium_write(block, data) : 0;
}

static int volatile_pread(void *handle, void *buf, uint32_t count,
			  uint64_t offset, uint32_t flags)
{
	char data[BLOCK];

	while (count) {
		uint32_t start = offset % BLOCK;
		uint32_t n = count < BLOCK - start ? count : BLOCK - start;

		if (block_read(offset / BLOCK, data))
			return -1;
		memcpy(buf, data + start, n);
		buf += n;
		offset += n;
		count -= n;
	}
	return 0;
}

static int volatile_pwrite(void *handle, const void *buf, uint32_t count,
			   uint64_t offset, uint32_t flags)
{
	bool fua = flags & NBDKIT_FLAG_FUA;
	char data[BLOCK];

	if (fua)
		turn();
	else
		flushed = false;
	while (count) {
		uint32_t start = offset % BLOCK;
		uint32_t n = count < BLOCK - start ? count : BLOCK - start;

		if (n < BLOCK && block_read(offset / BLOCK, data))
			return -1;
		memcpy(data + start, buf, n);
		if (block_write(offset / BLOCK, data, fua))
			return -1;
		buf += n;
		offset += n;
		count -= n;
	}
	return 0;
}

static void forget(void)
{
	while (n_dirty) {
		n_dirty--;
		free(cached[dirty[n_dirty]]);
		cached[dirty[n_dirty]] = NULL;
	}
	flushed = true;
}

static int volatile_flush(void *handle, uint32_t flags)
{
	if (fails && !access(fails, F_OK)) {
		forget();
		nbdkit_set_error(EIO);
		return -1;
	}
	if (flushed)
		return 0;
	/* First the time, then the effect: nothing is safe too early. */
	turn();
	while (n_dirty)
		if (destage(random() % n_dirty))
			return -1;
	flushed = true;
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "volatile",
	.longname = "disk with a volatile write cache",
	.config = volatile_config,
	.config_complete = volatile_config_complete,
	.magic_config_key = "file",
	.config_help = "file=FILE  the medium\n"
		       "flush-us=MICROSECONDS  what a FLUSH takes (8333)\n"
		       "keep=PERCENT  of the writes that need no FLUSH (50)\n"
		       "cache=SIZE  of the cache (64M)\n"
		       "fails=PATH  while it exists a FLUSH fails",
	.after_fork = volatile_after_fork,
	.open = volatile_open,
	.get_size = volatile_get_size,
	.can_fua = volatile_can_fua,
	.pread = volatile_pread,
	.pwrite = volatile_pwrite,
	.flush = volatile_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
