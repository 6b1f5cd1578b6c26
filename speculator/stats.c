// SPDX-License-Identifier: GPL-2.0
/*
 * Counters per channel, what is held and its limit, and debugfs speculator/.
 *
 * Held output is memory that a program can make us allocate, so there is one
 * limit for all of it, and a share of it for each user; and each cgroup's memory
 * has room for a part of it (output/memcg.c).  Who holds output asks
 * spec_held_charge() first and tells spec_held_uncharge() in the end; both also
 * count and trace, so that what debugfs, xsyncstat and the tracepoints show is
 * the same thing.
 */

#include <linux/debugfs.h>
#include <linux/hash.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/sysfs.h>
#include "main.h"
#include "object.h"
#include "output/memcg.h"
#include "source.h"
#include "stats.h"
#include "trace.h"

/* In the order of the enum, which is made from the same list. */
#define X(id, name) name,
const char *const spec_channel_names[SPEC_CH_NR] = { SPEC_CHANNELS(X) };
#undef X

DEFINE_PER_CPU(struct spec_stats, spec_stats);
struct dentry *spec_debugfs;

/**
 * struct histogram - how often something took how long
 * @count:	bucket i: times of at least 2^(i-1) and below 2^i microseconds;
 *		the last one: all that took longer
 * @usecs:	their sum
 *
 * Updated when an item is released or a wait ends, which is as rare as a commit
 * makes it: no need for a copy per CPU.
 */
struct histogram {
	atomic64_t count[SPEC_HIST];
	atomic64_t usecs;
};

/**
 * struct held - what a channel holds now, and how long it held what went out
 * @items:	packets, bytes queued by one call, whatever the channel holds
 * @bytes:	their size
 * @time:	from the hold to the release; what was dropped isn't in it
 */
struct held {
	atomic64_t items;
	atomic64_t bytes;
	struct histogram time;
};

static struct held held[SPEC_CH_NR];
static struct histogram waited[SPEC_CH_NR];

static atomic64_t held_total;		/* memory of all items */
static atomic64_t held_peak;		/* the most it has been */
static atomic64_t held_refused;		/* charges that didn't fit */
static struct spec_limit held_limit = {
	.value = 64UL << 20, .min = PAGE_SIZE, .size = 1,
};

/*
 * What each user has of it.  Nobody is to stop others by filling the limit: who
 * holds something gets no more than what is left for all others together
 * ("dynamic threshold", as switches share their buffers).  One user alone gets
 * to a half, two to a third each, and there always is room for one more.
 *
 * Users whose numbers have the same hash share a share.
 */
#define USER_BITS	10
static atomic64_t held_by[1 << USER_BITS];

/*
 * Once a user's share was reached, he goes on when an eighth of it is free, so
 * that not every item makes a writer go on.
 */
static s64 low_water(s64 share)
{
	return share - share / 8;
}

/* What is left for all is what each may have. */
static s64 share_now(void)
{
	return max_t(s64, (s64)READ_ONCE(held_limit.value) -
		     atomic64_read(&held_total), 0);
}

static int limit_set(const char *val, const struct kernel_param *kp)
{
	struct spec_limit *limit = kp->arg;
	unsigned long new, max = (totalram_pages() << PAGE_SHIFT) / 2 /
				 limit->size;
	int err = kstrtoul(val, 0, &new);

	if (!err && (new < limit->min || new > max))
		err = -ERANGE;
	if (err) {
		pr_err("%s: %s=%.*s: must be a number from %lu to %lu (half of the memory)\n",
		       KBUILD_MODNAME, kp->name,
		       (int)min_t(size_t, strcspn(val, "\n"), 32), val,
		       limit->min, max);
		return -EINVAL;
	}
	WRITE_ONCE(limit->value, new);
	return 0;
}

static int limit_get(char *buffer, const struct kernel_param *kp)
{
	const struct spec_limit *limit = kp->arg;

	return sysfs_emit(buffer, "%lu\n", READ_ONCE(limit->value));
}

/* Of all our parameters. */
const struct kernel_param_ops spec_limit_ops = {
	.set = limit_set,
	.get = limit_get,
};
module_param_cb(held_limit, &spec_limit_ops, &held_limit, 0644);
MODULE_PARM_DESC(held_limit, "bytes of memory for output held in all, writers sleep beyond (default 67108864)");

static void histogram_add(struct histogram *h, u64 usecs)
{
	unsigned int i = min_t(unsigned int, fls64(usecs), SPEC_HIST - 1);

	atomic64_inc(&h->count[i]);
	atomic64_add(usecs, &h->usecs);
}

static u64 usecs_since(ktime_t since)
{
	return max_t(s64, ktime_us_delta(ktime_get(), since), 0);
}

/**
 * spec_user - the share of a user
 * @uid: who sends or writes; of a socket, who has made it
 *
 * Return: for spec_held_room() and struct spec_held.
 */
unsigned int spec_user(kuid_t uid)
{
	return hash_32(__kuid_val(uid), USER_BITS);
}

/**
 * spec_held_room - may more output of a user be held?
 * @user: see spec_user()
 *
 * When this is true, a charge of any size succeeds, unless somebody else was
 * faster.  Who holds nothing always has room.
 *
 * Context: any.
 */
bool spec_held_room(unsigned int user)
{
	return atomic64_read(&held_by[user]) <= low_water(share_now());
}

static void raise_peak(s64 now)
{
	s64 old = atomic64_read(&held_peak);

	while (now > old && !atomic64_try_cmpxchg(&held_peak, &old, now))
		;
}

/* Take a part of the limit.  Racing writers may pass it by an item each. */
static bool reserve(const struct spec_held *item, bool force)
{
	atomic64_t *by = &held_by[item->user];
	s64 old = atomic64_read(by), share = share_now();

	if (!force && !spec_memcg_room(item->memcg))
		return false;
	do {
		/*
		 * An item larger than the free eighth would otherwise be
		 * refused whenever it tried, though there is room.
		 */
		if (!force && old + (s64)item->memory > share &&
		    old > low_water(share))
			return false;
	} while (!atomic64_try_cmpxchg(by, &old, old + item->memory));
	raise_peak(atomic64_add_return(item->memory, &held_total));
	spec_memcg_add(item->memcg, item->memory);
	return true;
}

/**
 * spec_held_charge - an item of output is going to be held
 * @ch: the channel that holds it
 * @key: the process or object on whose dependency it waits, for the trace
 * @item: filled in by the caller but for the time
 * @force: the caller cannot wait nor refuse (it counts all the same)
 *
 * Counts the hold and fires the tracepoint; so the caller does neither.
 *
 * Context: any.
 * Return: false when the user's share would be passed, or the cgroup has none
 *	left: the writer must sleep for spec_held_room() or get EAGAIN.  The share
 *	may be passed by one item which is larger than an eighth of it, and by what
 *	is forced.
 */
bool spec_held_charge(enum spec_channel_id ch, const void *key,
		      struct spec_held *item, bool force)
{
	if (!reserve(item, force)) {
		atomic64_inc(&held_refused);
		return false;
	}
	item->since = ktime_get();
	atomic64_inc(&held[ch].items);
	atomic64_add(item->bytes, &held[ch].bytes);
	spec_count(holds, ch);
	trace_hold(ch, key, item->bytes, 0);
	return true;
}

/**
 * spec_held_uncharge - an item of output is no longer held
 * @ch: the channel that held it
 * @item: as charged
 * @dropped: it was thrown away, since it never became durable
 *
 * Counts and fires the tracepoint, release or drop.
 *
 * Context: any.
 */
void spec_held_uncharge(enum spec_channel_id ch, const struct spec_held *item,
			bool dropped)
{
	u64 usecs = usecs_since(item->since);

	atomic64_dec(&held[ch].items);
	atomic64_sub(item->bytes, &held[ch].bytes);
	if (dropped) {
		spec_count(drops, ch);
		trace_drop(ch, NULL, item->bytes, usecs);
	} else {
		histogram_add(&held[ch].time, usecs);
		trace_release(ch, NULL, item->bytes, usecs);
	}
	atomic64_sub(item->memory, &held_total);
	atomic64_sub(item->memory, &held_by[item->user]);
	spec_memcg_add(item->memcg, -(s64)item->memory);
}

/**
 * spec_waited - a call has waited for a commit
 * @ch: the channel because of which it did
 * @since: when it began
 *
 * Context: any.
 */
void spec_waited(enum spec_channel_id ch, ktime_t since)
{
	spec_count(waits, ch);
	histogram_add(&waited[ch], usecs_since(since));
}

static void add_stats(struct spec_stats *sum, const struct spec_stats *s)
{
	int ch;

	for (ch = 0; ch < SPEC_CH_NR; ch++) {
		sum->puts[ch] += READ_ONCE(s->puts[ch]);
		sum->takes[ch] += READ_ONCE(s->takes[ch]);
		sum->holds[ch] += READ_ONCE(s->holds[ch]);
		sum->waits[ch] += READ_ONCE(s->waits[ch]);
		sum->drops[ch] += READ_ONCE(s->drops[ch]);
	}
}

static int channels_show(struct seq_file *m, void *unused)
{
	struct spec_stats *sum = kzalloc(sizeof(*sum), GFP_KERNEL);
	int cpu, ch;

	if (!sum)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		add_stats(sum, per_cpu_ptr(&spec_stats, cpu));

	seq_puts(m, "channel puts takes holds waits drops held_items held_bytes\n");
	for (ch = 0; ch < SPEC_CH_NR; ch++)
		seq_printf(m, "%s %llu %llu %llu %llu %llu %lld %lld\n",
			   spec_channel_names[ch], sum->puts[ch],
			   sum->takes[ch], sum->holds[ch], sum->waits[ch],
			   sum->drops[ch], atomic64_read(&held[ch].items),
			   atomic64_read(&held[ch].bytes));
	kfree(sum);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channels);

/* A column is named by the microseconds that its times are below. */
static void histogram_header(struct seq_file *m)
{
	int i;

	seq_puts(m, "channel count mean_us");
	for (i = 0; i < SPEC_HIST - 1; i++)
		seq_printf(m, " %u", 1U << i);
	seq_puts(m, " more\n");
}

static void histogram_row(struct seq_file *m, int ch, const struct histogram *h)
{
	u64 count[SPEC_HIST], all = 0;
	int i;

	for (i = 0; i < SPEC_HIST; i++) {
		count[i] = atomic64_read(&h->count[i]);
		all += count[i];
	}
	seq_printf(m, "%s %llu %llu", spec_channel_names[ch], all,
		   all ? div64_u64(atomic64_read(&h->usecs), all) : 0);
	for (i = 0; i < SPEC_HIST; i++)
		seq_printf(m, " %llu", count[i]);
	seq_putc(m, '\n');
}

static int held_show(struct seq_file *m, void *unused)
{
	int ch;

	histogram_header(m);
	for (ch = 0; ch < SPEC_CH_NR; ch++)
		histogram_row(m, ch, &held[ch].time);
	seq_putc(m, '\n');
	spec_channels_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(held);

static int waits_show(struct seq_file *m, void *unused)
{
	int ch;

	histogram_header(m);
	for (ch = 0; ch < SPEC_CH_NR; ch++)
		histogram_row(m, ch, &waited[ch]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(waits);

static int limit_show(struct seq_file *m, void *unused)
{
	s64 most = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(held_by); i++)
		most = max_t(s64, most, atomic64_read(&held_by[i]));
	seq_puts(m, "held_memory held_limit refused most_of_a_user held_peak\n");
	seq_printf(m, "%lld %lu %lld %lld %lld\n", atomic64_read(&held_total),
		   READ_ONCE(held_limit.value), atomic64_read(&held_refused),
		   most, atomic64_read(&held_peak));
	return 0;
}

static int limit_open(struct inode *inode, struct file *file)
{
	return single_open(file, limit_show, NULL);
}

/* Whatever is written: the peak is that from now on. */
static ssize_t limit_write(struct file *file, const char __user *buf,
			   size_t count, loff_t *pos)
{
	atomic64_set(&held_peak, atomic64_read(&held_total));
	return count;
}

static const struct file_operations limit_fops = {
	.owner = THIS_MODULE,
	.open = limit_open,
	.read = seq_read,
	.write = limit_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int sources_show(struct seq_file *m, void *unused)
{
	spec_source_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(sources);

static int self_show(struct seq_file *m, void *unused)
{
	spec_self_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(self);

static int objects_show(struct seq_file *m, void *unused)
{
	spec_object_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(objects);

static int hooks_show(struct seq_file *m, void *unused)
{
	spec_hooks_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hooks);

/**
 * spec_stats_init - make debugfs speculator/
 *
 * Nothing depends on it: a kernel without debugfs, or one that is locked down,
 * tracks dependencies all the same.
 *
 * Return: 0.
 */
int spec_stats_init(void)
{
	struct dentry *dir = debugfs_create_dir("speculator", NULL);

	debugfs_create_file("sources", 0400, dir, NULL, &sources_fops);
	debugfs_create_file("self", 0400, dir, NULL, &self_fops);
	debugfs_create_file("objects", 0400, dir, NULL, &objects_fops);
	debugfs_create_file("channels", 0400, dir, NULL, &channels_fops);
	debugfs_create_file("held", 0400, dir, NULL, &held_fops);
	debugfs_create_file("waits", 0400, dir, NULL, &waits_fops);
	debugfs_create_file("limit", 0600, dir, NULL, &limit_fops);
	debugfs_create_file("hooks", 0400, dir, NULL, &hooks_fops);
	spec_debugfs = dir;
	return 0;
}

/**
 * spec_stats_exit - remove debugfs speculator/
 */
void spec_stats_exit(void)
{
	debugfs_remove(spec_debugfs);
}
