/* SPDX-License-Identifier: GPL-2.0 */
/* Counters per channel, held bytes and their limits, time held. */
#ifndef _SPEC_STATS_H
#define _SPEC_STATS_H

#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/percpu.h>
#include <linux/uidgid.h>
#include "channel.h"

#define SPEC_HIST	24	/* bucket i counts times below 2^i microseconds */

/**
 * struct spec_limit - a module parameter that bounds memory
 * @value:	what it is now
 * @min:	the least that makes sense
 * @size:	bytes that one of it stands for; all of it at most half of the memory
 */
struct spec_limit {
	unsigned long value;
	unsigned long min;
	size_t size;
};

extern const struct kernel_param_ops spec_limit_ops;

/**
 * struct spec_held - the account of an item of held output
 * @since:	when it was charged
 * @bytes:	of output, for statistics and traces
 * @memory:	what it occupies, for the limits
 * @user:	whose share of the memory, see spec_user()
 * @memcg:	to whose cgroup it is charged, or NULL; the caller keeps it
 */
struct spec_held {
	ktime_t since;
	size_t bytes;
	size_t memory;
	unsigned int user;
	struct mem_cgroup *memcg;
};

/**
 * struct spec_stats - events per channel, one copy per CPU
 * @puts:	dependencies put on an object
 * @takes:	dependencies taken from an object
 * @holds:	items held
 * @waits:	calls that waited for a commit
 * @drops:	items never shown because the source failed
 *
 * Holds and drops are counted and traced by spec_held_charge() and
 * spec_held_uncharge(), waits are counted by spec_waited(): their callers don't.
 */
struct spec_stats {
	u64 puts[SPEC_CH_NR];
	u64 takes[SPEC_CH_NR];
	u64 holds[SPEC_CH_NR];
	u64 waits[SPEC_CH_NR];
	u64 drops[SPEC_CH_NR];
};

DECLARE_PER_CPU(struct spec_stats, spec_stats);

#define spec_count(what, ch)	this_cpu_inc(spec_stats.what[ch])

unsigned int spec_user(kuid_t uid);
bool spec_held_room(unsigned int user);
bool spec_held_charge(enum spec_channel_id ch, const void *key,
		      struct spec_held *item, bool force);
void spec_held_uncharge(enum spec_channel_id ch, const struct spec_held *item,
			bool dropped);
void spec_waited(enum spec_channel_id ch, ktime_t since);
int spec_stats_init(void);
void spec_stats_exit(void);

/* hook.c: debugfs "hooks" */
void spec_hooks_show(struct seq_file *m);

extern struct dentry *spec_debugfs;

#endif /* _SPEC_STATS_H */
