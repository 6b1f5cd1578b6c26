// SPDX-License-Identifier: GPL-2.0
/* Counters of a mount, and debugfs xsync/<device>/stat. */

#include <linux/debugfs.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include "trace.h"

static struct dentry *top;

static const char *const trigger_names[XSYNC_TRIGGERS] = {
	[XSYNC_BY_OUTPUT] = "output",
	[XSYNC_BY_WAIT] = "wait",
	[XSYNC_BY_EAGER] = "eager",
	[XSYNC_BY_SYNC] = "sync",
	[XSYNC_BY_TIMER] = "timer",
	[XSYNC_BY_JOURNAL] = "journal",
};

static const char *const call_names[XSYNC_CALLS] = {
	[XSYNC_FSYNC] = "fsync",
	[XSYNC_SYNC] = "sync",
	[XSYNC_RANGE] = "range",
	[XSYNC_HANDLE] = "handle",
};

/**
 * xsync_stats_asked - somebody wants a transaction to commit
 * @x: the mount
 * @tid: the transaction
 * @by: why
 *
 * Only the first to ask counts.
 *
 * Context: any.
 */
void xsync_stats_asked(struct xsync_mount *x, tid_t tid, enum xsync_trigger by)
{
	struct xsync_asked *asked = &x->stats.asked[tid & 1];
	unsigned long flags;

	spin_lock_irqsave(&x->stats.lock, flags);
	if (!asked->valid || asked->tid != tid) {
		asked->tid = tid;
		asked->by = by;
		asked->at = ktime_get();
		asked->valid = true;
		trace_commit_request(x, tid, by);
	}
	spin_unlock_irqrestore(&x->stats.lock, flags);
}

/**
 * xsync_stats_committed - a commit has ended
 * @x: the mount
 * @transaction: what was committed
 *
 * Context: the journal's thread; does not sleep.
 */
void xsync_stats_committed(struct xsync_mount *x,
			   const transaction_t *transaction)
{
	struct xsync_asked *asked = &x->stats.asked[transaction->t_tid & 1];
	enum xsync_trigger by = XSYNC_BY_JOURNAL;
	unsigned long flags;
	s64 usecs = 0;

	spin_lock_irqsave(&x->stats.lock, flags);
	if (asked->valid && asked->tid == transaction->t_tid) {
		by = asked->by;
		usecs = ktime_us_delta(ktime_get(), asked->at);
		asked->valid = false;
	} else if (!transaction->t_requested ||
		   time_after_eq(transaction->t_requested,
				 transaction->t_expires)) {
		by = XSYNC_BY_TIMER;
	}
	spin_unlock_irqrestore(&x->stats.lock, flags);
	x->stats.commits[by]++;
	if (by != XSYNC_BY_TIMER && by != XSYNC_BY_JOURNAL)
		x->stats.latency[min(usecs > 0 ? ilog2(usecs) + 1 : 0,
				     XSYNC_HIST - 1)]++;
	trace_committed(x, transaction->t_tid, by, usecs);
}

static int stat_show(struct seq_file *m, void *unused)
{
	struct xsync_mount *x = m->private;
	journal_t *journal = READ_ONCE(x->journal);
	u64 commits = 0;
	s64 async = 0;
	int i;

	seq_printf(m, "device: %s\n", x->source.name);
	seq_printf(m, "mode: %s\n", READ_ONCE(x->eager) ? "eager" : "output");
	seq_printf(m, "state: %s\n", !journal ? "readonly" :
		   is_journal_aborted(journal) ? "failed" : "live");
	if (journal) {
		seq_printf(m, "journal_bytes: %llu\n",
			   (u64)journal->j_last * journal->j_blocksize);
		seq_printf(m, "committed_tid: %u\n",
			   READ_ONCE(journal->j_commit_sequence));
		seq_printf(m, "requested_tid: %u\n",
			   READ_ONCE(journal->j_commit_request));
	}
	for (i = 0; i < XSYNC_TRIGGERS; i++)
		commits += READ_ONCE(x->stats.commits[i]);
	seq_printf(m, "commits: %llu\n", commits);
	for (i = 0; i < XSYNC_TRIGGERS; i++)
		seq_printf(m, "commits_%s: %llu\n", trigger_names[i],
			   READ_ONCE(x->stats.commits[i]));
	seq_printf(m, "taints: %lld\n", atomic64_read(&x->source.taints));
	for (i = 0; i < XSYNC_CALLS; i++)
		async += atomic64_read(&x->stats.async[i]);
	seq_printf(m, "syncs_async: %lld\n", async);
	for (i = 0; i < XSYNC_CALLS; i++)
		seq_printf(m, "syncs_async_%s: %lld\n", call_names[i],
			   atomic64_read(&x->stats.async[i]));
	seq_printf(m, "syncs_real: %lld\n", atomic64_read(&x->stats.real));
	for (i = 0; i < XSYNC_HIST; i++)
		seq_printf(m, "commit_below_%luus: %llu\n", 1UL << i,
			   READ_ONCE(x->stats.latency[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stat);

/**
 * xsync_stats_add - show a mount in debugfs
 * @x: the mount
 *
 * Context: process.
 */
void xsync_stats_add(struct xsync_mount *x)
{
	x->stats.dir = debugfs_create_dir(x->source.name, top);
	debugfs_create_file("stat", 0400, x->stats.dir, x, &stat_fops);
}

/**
 * xsync_stats_remove - and no more; waits for readers
 * @x: the mount
 *
 * Context: process.
 */
void xsync_stats_remove(struct xsync_mount *x)
{
	debugfs_remove_recursive(x->stats.dir);
}

/**
 * xsync_stats_init - debugfs xsync/
 */
void xsync_stats_init(void)
{
	top = debugfs_create_dir("xsync", NULL);
}

/**
 * xsync_stats_exit - all mounts have gone
 */
void xsync_stats_exit(void)
{
	debugfs_remove_recursive(top);
}
