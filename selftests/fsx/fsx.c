// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on a file, compared with a copy in memory, with fsync marks
 * in a dm-log-writes log: the part of xfstests' fsx and generic/455 that we
 * need. The second half replays such a log.
 *
 *	fsx run FILE OPS SEED PREFIX LOG-NAME [WITHOUT]
 *		At each mark the expected content is kept in PREFIX.N and the
 *		mark "PREFIX.N" is written into the log (dmsetup message);
 *		not if LOG-NAME is "-". WITHOUT are letters of operations to
 *		leave out: w m t a p z i c.
 *	fsx replay LOG IMAGE COMMAND
 *		Writes the log onto IMAGE and runs "COMMAND MARK" at each mark.
 *
 * Not a test by itself: tools of xsync_fsx.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX (256 << 10)
#define BLOCK 4096

static char good[MAX];
static off_t size;
static int fd;

static void die(const char *what)
{
	fprintf(stderr, "fsx: %s: %s\n", what, strerror(errno));
	exit(2);
}

static off_t below(off_t n)
{
	return n > 0 ? random() % n : 0;
}

/*
 * Mostly short: ext4 zeroes around a write into a preallocated extent only if
 * that is small.
 */
static off_t length(off_t at, off_t some)
{
	off_t most = random() % 3 ? some : 64 << 10;

	return 1 + below(MAX - at < most ? MAX - at : most);
}

static void fill(off_t at, off_t len)
{
	off_t i;

	for (i = at; i < at + len; i++)
		good[i] = random() | 1;	/* never zero: stale data shows */
	if (at + len > size)
		size = at + len;
}

static void op_write(void)
{
	off_t at = below(MAX - 1), len = length(at, 4 << 10);

	fill(at, len);
	if (pwrite(fd, good + at, len, at) != len)
		die("write");
}

static void op_mmap_write(void)
{
	off_t at = below(MAX - 1), len = length(at, 4 << 10);
	char *map;

	if (at + len > size && ftruncate(fd, at + len))
		die("ftruncate");
	fill(at, len);
	map = mmap(NULL, MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	memcpy(map + at, good + at, len);
	munmap(map, MAX);
}

static void op_truncate(void)
{
	off_t to = below(MAX);

	if (ftruncate(fd, to))
		die("ftruncate");
	if (to < size)
		memset(good + to, 0, size - to);
	size = to;
}

static void op_allocate(void)
{
	off_t at = below(MAX - 1), len = length(at, 32 << 10);
	int keep = random() & 1 ? FALLOC_FL_KEEP_SIZE : 0;

	if (fallocate(fd, keep, at, len))
		die("fallocate");
	if (!keep && at + len > size)
		size = at + len;
}

static void op_zero(int mode)
{
	off_t at = below(MAX - 1), len = length(at, 32 << 10);

	if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, at, len))
		die("punch or zero range");
	memset(good + at, 0, len);
}

static void op_insert(void)
{
	off_t at = below(size / BLOCK) * BLOCK;
	off_t len = (1 + below(8)) * BLOCK;

	if (!size || at >= size || size + len > MAX)
		return;
	if (fallocate(fd, FALLOC_FL_INSERT_RANGE, at, len))
		die("insert range");
	memmove(good + at + len, good + at, size - at);
	memset(good + at, 0, len);
	size += len;
}

static void op_collapse(void)
{
	off_t at = below(size / BLOCK) * BLOCK;
	off_t len = (1 + below(8)) * BLOCK;

	if (at + len >= size)
		return;
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, at, len))
		die("collapse range");
	memmove(good + at, good + at + len, size - at - len);
	memset(good + size - len, 0, len);
	size -= len;
}

/*
 * Stock 6.1 sometimes reads wrong data without any crash after a collapse under
 * data=journal. That is not what we are after: go on with what is there.
 */
static void check_live(int n)
{
	static char now[MAX];
	struct stat st;

	if (fstat(fd, &st) || pread(fd, now, MAX, 0) != st.st_size)
		die("read");
	if (st.st_size == size && !memcmp(now, good, size))
		return;
	fprintf(stderr, "# wrong without a crash before mark %d\n", n);
	size = st.st_size;
	memcpy(good, now, size);
	memset(good + size, 0, MAX - size);
}

static void mark(const char *log, const char *prefix, int n)
{
	struct {
		struct dm_ioctl io;
		struct dm_target_msg msg;
		char text[256];
	} m = { .io = { .version = { DM_VERSION_MAJOR, 0, 0 },
			.data_size = sizeof(m), .data_start = sizeof(m.io) } };
	static int control = -1;
	char path[200];
	int out;

	snprintf(path, sizeof(path), "%s.%d", prefix, n);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (out < 0 || write(out, good, size) != size)
		die(path);
	close(out);
	if (!strcmp(log, "-"))
		return;
	/*
	 * The fsync has returned early. But an ioctl is not known to be
	 * harmless, so it waits until we are committed: the mark is output.
	 */
	if (control < 0)
		control = open("/dev/mapper/control", O_RDWR);
	snprintf(m.io.name, sizeof(m.io.name), "%s", log);
	snprintf(m.text, sizeof(m.text), "mark %s.%d",
		 strrchr(prefix, '/') ? strrchr(prefix, '/') + 1 : prefix, n);
	if (ioctl(control, DM_TARGET_MSG, &m))
		die("mark");
}

static int run(char **argv)
{
	int ops = atoi(argv[1]), n = 0, i;

	srandom(atoi(argv[2]));
	fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		die(argv[0]);
	for (i = 0; i < ops; i++) {
		char op = "wwwmtaapzzicff"[random() % 14];

		if (argv[5] && strchr(argv[5], op))
			continue;
		switch (op) {
		case 'w': op_write(); break;
		case 'm': op_mmap_write(); break;
		case 't': op_truncate(); break;
		case 'a': op_allocate(); break;
		case 'p': op_zero(FALLOC_FL_PUNCH_HOLE); break;
		case 'z': op_zero(FALLOC_FL_ZERO_RANGE); break;
		case 'i': op_insert(); break;
		case 'c': op_collapse(); break;
		case 'f':
			if (fsync(fd))
				die("fsync");
			check_live(n);
			mark(argv[4], argv[3], n++);
			break;
		}
	}
	printf("%d\n", n);
	return 0;
}

/*
 * The log: a super block, then for each write a sector with struct log_entry
 * and the data (drivers/md/dm-log-writes.c).
 */
#define LOG_MAGIC	0x6a736677736872ULL
#define LOG_DISCARD	(1 << 2)
#define LOG_MARK	(1 << 3)

struct log_super {
	uint64_t magic, version, nr_entries;
	uint32_t sectorsize;
} __attribute__((packed));

struct log_entry {
	uint64_t sector, nr_sectors, flags, data_len;
} __attribute__((packed));

static int replay(char **argv)
{
	int log = open(argv[0], O_RDONLY);
	int image = open(argv[1], O_WRONLY | O_CREAT, 0600);
	static char sector[4096], data[64 << 20];
	struct log_entry *entry = (struct log_entry *)sector;
	char command[8192], *text = sector + sizeof(*entry);
	struct log_super super;
	uint64_t i, at;

	if (log < 0 || image < 0)
		die("replay");
	if (pread(log, &super, sizeof(super), 0) != sizeof(super) ||
	    super.magic != LOG_MAGIC)
		die("no log");
	at = super.sectorsize;
	for (i = 0; i < super.nr_entries; i++) {
		uint64_t bytes;

		if (pread(log, sector, super.sectorsize, at) !=
		    super.sectorsize)
			die("log entry");
		at += super.sectorsize;
		bytes = entry->nr_sectors * super.sectorsize;
		if (entry->flags & LOG_MARK) {
			text[entry->data_len] = '\0';
			snprintf(command, sizeof(command), "%s '%s'", argv[2],
				 text);
			if (system(command))
				die(command);
		} else if (bytes && !(entry->flags & LOG_DISCARD)) {
			if (bytes > sizeof(data) ||
			    pread(log, data, bytes, at) != (ssize_t)bytes ||
			    pwrite(image, data, bytes,
				   entry->sector * super.sectorsize) !=
			    (ssize_t)bytes)
				die("log data");
			at += bytes;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if ((argc == 7 || argc == 8) && !strcmp(argv[1], "run"))
		return run(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "replay"))
		return replay(argv + 2);
	fprintf(stderr, "usage: fsx run FILE OPS SEED PREFIX LOG | replay LOG IMAGE COMMAND\n");
	return 2;
}
