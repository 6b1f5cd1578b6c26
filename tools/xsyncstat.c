// SPDX-License-Identifier: GPL-2.0
/*
 * xsyncstat: what external synchrony does, in rates per interval, in the way of
 * vmstat(8).  Reads debugfs speculator/ and, where xsync is loaded,
 * xsync/<device>/stat.  Columns of those files are found by their names.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <linux/magic.h>

#define __noreturn	__attribute__((noreturn))
#define __printf(a, b)	__attribute__((format(printf, a, b)))

#define VERSION		"1.0"
#define DEBUGFS		"/sys/kernel/debug"
#define SPECULATOR	DEBUGFS "/speculator"
#define XSYNC		DEBUGFS "/xsync"
#define HEADER_EVERY	20	/* rows */
#define MAX_COLUMNS	64
#define MAX_BUCKETS	48

enum trigger { BY_OUTPUT, BY_WAIT, BY_EAGER, BY_SYNC, BY_TIMER, BY_JOURNAL, TRIGGERS };

/**
 * struct sample - the counters at one moment
 * @time:	of CLOCK_MONOTONIC, in seconds
 * @taints:	modifications that made a process depend on a commit
 * @commits:	by what started them
 * @fsyncs:	calls of the fsync family that returned at once
 * @puts:	dependencies put on an object
 * @takes:	dependencies taken from an object
 * @held_items:	items of output held now
 * @held_bytes:	their size
 * @released:	items let out
 * @waits:	calls that waited for a commit
 * @drops:	items thrown away
 * @held:	items let out, by how long they were held: bucket i is those of
 *		less than @below[i]
 * @below:	microseconds; INFINITY for the last bucket
 * @buckets:	how many there are
 */
struct sample {
	double time;
	long long taints;
	long long commits[TRIGGERS];
	long long fsyncs;
	long long puts;
	long long takes;
	long long held_items;
	long long held_bytes;
	long long released;
	long long waits;
	long long drops;
	long long held[MAX_BUCKETS];
	double below[MAX_BUCKETS];
	int buckets;
};

static volatile sig_atomic_t stopped;
static bool have_xsync;

static void __noreturn __printf(1, 2) fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("xsyncstat: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "re");

	if (file)
		return file;
	if (errno == ENOENT || errno == ENODEV)
		fail("%s is gone: has a module been unloaded, or the device unmounted?",
		     path);
	fail("%s: %s", path, strerror(errno));
}

/* Cut @line into words; returns how many. */
static int split(char *line, char **words)
{
	char *save, *word;
	int n = 0;

	for (word = strtok_r(line, " \t\n", &save); word && n < MAX_COLUMNS;
	     word = strtok_r(NULL, " \t\n", &save))
		words[n++] = word;
	return n;
}

static long long number(const char *path, const char *word)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(word, &end, 10);
	if (errno || end == word || *end)
		fail("%s: '%s' is not numeric: does this xsyncstat belong to the loaded modules?",
		     path, word);
	return value;
}

/*
 * A table: a line of column names, then a row per line up to an empty line or
 * the end.  Calls @row for each.
 */
struct table {
	const char *path;
	char *names[MAX_COLUMNS];
	char *words[MAX_COLUMNS];
	int columns;
};

static int column(const struct table *t, const char *name)
{
	for (int i = 0; i < t->columns; i++)
		if (!strcmp(t->names[i], name))
			return i;
	fail("%s has no field '%s': does this xsyncstat belong to the loaded modules?",
	     t->path, name);
}

static long long cell(const struct table *t, const char *name)
{
	return number(t->path, t->words[column(t, name)]);
}

static void read_table(const char *path, struct sample *s, const void *arg,
		       void (*row)(const struct table *t, struct sample *s,
				   const void *arg))
{
	struct table t = { .path = path };
	char *header = NULL, *line = NULL;
	size_t header_size = 0, size = 0;
	FILE *file = open_file(path);

	if (getline(&header, &header_size, file) > 0)
		t.columns = split(header, t.names);
	while (getline(&line, &size, file) > 0) {
		int n = split(line, t.words);

		if (!n)
			break;
		if (n != t.columns)
			fail("%s: %d words below a header of %d", path, n,
			     t.columns);
		row(&t, s, arg);
	}
	free(line);
	free(header);
	fclose(file);
}

static void channel_row(const struct table *t, struct sample *s,
			const void *arg)
{
	(void)arg;
	s->puts += cell(t, "puts");
	s->takes += cell(t, "takes");
	s->waits += cell(t, "waits");
	s->drops += cell(t, "drops");
	s->held_items += cell(t, "held_items");
	s->held_bytes += cell(t, "held_bytes");
}

static void source_row(const struct table *t, struct sample *s,
		       const void *device)
{
	if (!device || !strcmp(t->words[column(t, "source")], device))
		s->taints += cell(t, "taints");
}

/* The buckets are the columns whose name is a number, and "more". */
static void held_row(const struct table *t, struct sample *s, const void *arg)
{
	int more = column(t, "more");
	int first = column(t, "1");

	(void)arg;
	s->released += cell(t, "count");
	s->buckets = more - first + 1;
	if (s->buckets < 1 || s->buckets > MAX_BUCKETS)
		fail("%s: %d buckets", t->path, s->buckets);
	for (int i = 0; i < s->buckets; i++) {
		s->below[i] = first + i == more ? INFINITY :
			      number(t->path, t->names[first + i]);
		s->held[i] += number(t->path, t->words[first + i]);
	}
}

/* "key: value" lines.  What isn't known here is for others. */
static void read_device(const char *device, struct sample *s)
{
	const struct {
		const char *key;
		long long *value;
	} keys[] = {
		{ "commits_output", &s->commits[BY_OUTPUT] },
		{ "commits_wait", &s->commits[BY_WAIT] },
		{ "commits_eager", &s->commits[BY_EAGER] },
		{ "commits_sync", &s->commits[BY_SYNC] },
		{ "commits_timer", &s->commits[BY_TIMER] },
		{ "commits_journal", &s->commits[BY_JOURNAL] },
		{ "syncs_async", &s->fsyncs },
	};
	char path[512], *line = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), XSYNC "/%s/stat", device);
	file = open_file(path);
	while (getline(&line, &size, file) > 0) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (!strcmp(line, keys[i].key))
				*keys[i].value += strtoll(colon + 1, NULL, 10);
	}
	free(line);
	fclose(file);
}

static void read_devices(struct sample *s)
{
	struct dirent *entry;
	DIR *dir = opendir(XSYNC);

	/* Not loaded: another commit source than xsync, or none yet. */
	have_xsync = dir;
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			read_device(entry->d_name, s);
	closedir(dir);
}

static struct sample take_sample(const char *device)
{
	struct sample s = {};
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s.time = now.tv_sec + now.tv_nsec / 1e9;
	read_table(SPECULATOR "/channels", &s, NULL, channel_row);
	read_table(SPECULATOR "/sources", &s, device, source_row);
	read_table(SPECULATOR "/held", &s, NULL, held_row);
	if (device) {
		have_xsync = true;
		read_device(device, &s);
	} else {
		read_devices(&s);
	}
	return s;
}

static void print_header(void)
{
	puts("--modified--- --------------commits/s------------- ---spread---- "
	     "-----held---- ----------output-----------");
	puts(" taint  fsync  outp  wait eager  sync timer  jrnl    put   take "
	     " items    KiB    rel   wait  p50ms  p99ms");
}

/* A rate in six characters at most. */
static void print_rate(int width, long long before, long long after, double seconds)
{
	/* Counters go back when a device is unmounted or a module reloaded. */
	double rate = after > before ? (after - before) / seconds : 0;

	if (rate >= 99999.5)
		printf("%*.0fk", width - 1, rate / 1000);
	else if (rate > 0 && rate < 9.95)
		printf("%*.1f", width, rate);
	else
		printf("%*.0f", width, rate);
}

/*
 * The time below which a part of the items of this interval was held, which is
 * known to a power of two.
 */
static void print_percentile(const struct sample *a, const struct sample *b,
			     double part)
{
	long long all = 0, seen = 0;
	double below = 0;
	int i;

	for (i = 0; i < b->buckets; i++)
		if (b->held[i] > a->held[i])
			all += b->held[i] - a->held[i];
	if (!all) {
		printf(" %6s", "-");
		return;
	}
	for (i = 0; i < b->buckets && seen < part * all; i++) {
		if (b->held[i] > a->held[i])
			seen += b->held[i] - a->held[i];
		below = b->below[i];
	}
	if (isinf(below))
		printf(" %6s", ">4s");
	else if (below < 10000)
		printf(" %6.3g", below / 1000);
	else
		printf(" %6.0f", below / 1000);
}

static void print_row(const struct sample *a, const struct sample *b)
{
	double seconds = b->time - a->time;
	int i;

	print_rate(6, a->taints, b->taints, seconds);
	putchar(' ');
	if (have_xsync) {
		print_rate(6, a->fsyncs, b->fsyncs, seconds);
		for (i = 0; i < TRIGGERS; i++) {
			putchar(' ');
			print_rate(5, a->commits[i], b->commits[i], seconds);
		}
	} else {
		printf("%6s", "-");
		for (i = 0; i < TRIGGERS; i++)
			printf(" %5s", "-");
	}
	putchar(' ');
	print_rate(6, a->puts, b->puts, seconds);
	putchar(' ');
	print_rate(6, a->takes, b->takes, seconds);
	printf(" %6lld %6lld ", b->held_items,
	       (b->held_bytes + 1023) / 1024);
	print_rate(6, a->released, b->released, seconds);
	putchar(' ');
	print_rate(6, a->waits, b->waits, seconds);
	print_percentile(a, b, 0.50);
	print_percentile(a, b, 0.99);
	if (b->drops > a->drops)
		printf("  %lld DROPPED", b->drops - a->drops);
	putchar('\n');
}

/* Say what is missing, and what to do. */
static void check_kernel(const char *device)
{
	char path[512];
	struct statfs fs;

	if (statfs(DEBUGFS, &fs) || fs.f_type != DEBUGFS_MAGIC)
		fail("debugfs is not mounted: mount -t debugfs none " DEBUGFS);
	if (access(DEBUGFS, R_OK | X_OK))
		fail("only root may read " DEBUGFS);
	if (access(SPECULATOR, F_OK))
		fail("speculator is not loaded: modprobe xsync, then mount with -o xsync");
	if (access(SPECULATOR "/channels", R_OK))
		fail("only root may read " SPECULATOR);
	if (!device)
		return;
	snprintf(path, sizeof(path), XSYNC "/%s", device);
	if (access(XSYNC, F_OK))
		fail("the module xsync is not loaded: modprobe xsync");
	if (access(path, F_OK))
		fail("%s is not mounted with -o xsync; the devices that are: ls "
		     XSYNC, device);
}

static void sleep_until(double time)
{
	struct timespec until = {
		.tv_sec = (time_t)time,
		.tv_nsec = (long)((time - (time_t)time) * 1e9),
	};

	while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME,
					   &until, NULL) == EINTR)
		;
}

static void usage(FILE *to)
{
	fputs("Usage: xsyncstat [-n] [-d DEVICE] [INTERVAL [COUNT]]\n"
	      "Show what external synchrony does: rates per INTERVAL of seconds, COUNT times.\n"
	      "Without COUNT until interrupted; without INTERVAL one second, once.\n"
	      "\n"
	      "  -d, --device=DEVICE  modifications and commits of this device only (e.g. sda1)\n"
	      "  -n, --no-repeat      print the header only once\n"
	      "  -h, --help           print this and exit\n"
	      "  -V, --version        print the version and exit\n"
	      "\n"
	      "Columns (/s unless said otherwise):\n"
	      "  taint  modifications that made a process depend on a commit\n"
	      "  fsync  calls of the fsync family that returned at once\n"
	      "  outp, wait, eager, sync, timer, jrnl\n"
	      "         commits started by held output, by a call that waits, by\n"
	      "         commit_mode=eager, by a real sync, by the commit interval, by\n"
	      "         the journal itself (mostly since it is full)\n"
	      "  put, take\n"
	      "         dependencies put on, and taken from, pipes, sockets, files, ...\n"
	      "  items, KiB\n"
	      "         output held at this moment\n"
	      "  rel    items of held output let out\n"
	      "  wait   calls that waited for a commit\n"
	      "  p50ms, p99ms\n"
	      "         half, and 99 %, of what was let out was held for less than this,\n"
	      "         in milliseconds (known to a power of two)\n"
	      "\n"
	      "See xsyncstat(8).\n", to);
}

static double parse_interval(const char *word)
{
	char *end;
	double value = strtod(word, &end);

	if (end == word || *end || !(value >= 0.01 && value <= 1e6))
		fail("interval '%s': must be a number of seconds from 0.01 to 1000000",
		     word);
	return value;
}

static long parse_count(const char *word)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(word, &end, 10);
	if (errno || end == word || *end || value < 1)
		fail("count '%s': must be a whole number from 1", word);
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "no-repeat", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{}
	};
	const struct sigaction action = { .sa_handler = stop };
	const char *device = NULL;
	struct sample before, after;
	bool repeat = true;
	double interval = 1, next;
	long count = 1;
	int c;

	while ((c = getopt_long(argc, argv, "d:nhV", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			/* What mount(8) calls it, too. */
			device = strncmp(optarg, "/dev/", 5) ? optarg :
				 optarg + 5;
			if (!*device || strchr(device, '/'))
				fail("device '%s': give the kernel's name, as in ls "
				     XSYNC, optarg);
			break;
		case 'n':
			repeat = false;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("xsyncstat " VERSION);
			return 0;
		default:
			fputs("Try 'xsyncstat --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		interval = parse_interval(argv[optind++]);
		count = 0;
	}
	if (optind < argc)
		count = parse_count(argv[optind++]);
	if (optind < argc)
		fail("too many arguments; try 'xsyncstat --help'");

	check_kernel(device);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);

	before = take_sample(device);
	next = before.time;
	for (long row = 0; !count || row < count; row++) {
		next += interval;
		sleep_until(next);
		if (stopped)
			break;
		after = take_sample(device);
		if (!row || (repeat && row % HEADER_EVERY == 0))
			print_header();
		print_row(&before, &after);
		before = after;
		/* After a stop (^Z, suspend) go on from now. */
		if (after.time > next + interval)
			next = after.time;
	}
	if (fflush(stdout) || ferror(stdout))
		fail("standard output: %s", strerror(errno));
	return 0;
}
