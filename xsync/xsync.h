/* SPDX-License-Identifier: GPL-2.0 */
/* xsync: external synchrony for ext4. What the parts know of each other. */
#ifndef _XSYNC_H
#define _XSYNC_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/jbd2.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <speculator.h>

struct dentry;
struct fs_context;
struct spec_hook;

/**
 * enum xsync_trigger - what made a transaction commit
 * @XSYNC_BY_OUTPUT: dependent output is held
 * @XSYNC_BY_WAIT: a process waits until it is committed
 * @XSYNC_BY_EAGER: commit_mode=eager
 * @XSYNC_BY_SYNC: a real sync: a kernel thread's, umount, remount, freeze
 * @XSYNC_BY_TIMER: the commit interval (commit=, 5 s)
 * @XSYNC_BY_JOURNAL: jbd2 or ext4 itself; mostly that the journal is full
 */
enum xsync_trigger {
	XSYNC_BY_OUTPUT,
	XSYNC_BY_WAIT,
	XSYNC_BY_EAGER,
	XSYNC_BY_SYNC,
	XSYNC_BY_TIMER,
	XSYNC_BY_JOURNAL,
	XSYNC_TRIGGERS
};

/**
 * enum xsync_call - a call that promises durability
 * @XSYNC_FSYNC: fsync, fdatasync, msync, O_SYNC and the like
 * @XSYNC_SYNC: sync, syncfs
 * @XSYNC_RANGE: sync_file_range
 * @XSYNC_HANDLE: an operation on an O_SYNC file or in a dirsync directory that
 *	waits when it closes its handle
 */
enum xsync_call { XSYNC_FSYNC, XSYNC_SYNC, XSYNC_RANGE, XSYNC_HANDLE,
		  XSYNC_CALLS };

#define XSYNC_HIST 24	/* bucket i counts commits that took < 2^i us */

/**
 * struct xsync_asked - the first reason for which a commit was asked
 * @tid: the transaction
 * @by: the reason
 * @at: when
 * @valid: the others are
 */
struct xsync_asked {
	tid_t tid;
	enum xsync_trigger by;
	ktime_t at;
	bool valid;
};

/**
 * struct xsync_stats - what debugfs xsync/<device>/stat tells
 * @lock: protects @asked; innermost, interrupts off
 * @asked: by the lowest bit of the tid: at most two are uncommitted
 * @commits: by trigger; written by the journal's thread only
 * @latency: commits by time from the first request to durability; the same
 * @async: durability promised at once and passed on to the observer
 * @real: calls that had to wait for the disk
 * @dir: debugfs
 */
struct xsync_stats {
	spinlock_t lock;	/* protects @asked */
	struct xsync_asked asked[2];
	u64 commits[XSYNC_TRIGGERS];
	u64 latency[XSYNC_HIST];
	atomic64_t async[XSYNC_CALLS];
	atomic64_t real;
	struct dentry *dir;
};

#define XSYNC_RECENT 64

/**
 * struct xsync_recent - an inode that a CPU has made dependent
 * @inode: compared only
 * @ino: its number
 * @generation: which of the files that have had this number
 * @tid: on what
 *
 * Written and read with preemption disabled, when all of speculator_taint_inode()
 * is done, which need not be done again for the same file: what it has put stays
 * until @tid is durable.  A directory is counted then, too: whoever begins to look
 * later finds what it depends on there.  When the inode is evicted and the file
 * read in again, at this address or at another, it goes along
 * (speculator/flow/inode.c); what another file at this address is told of must be
 * put first.
 */
struct xsync_recent {
	const struct inode *inode;
	unsigned long ino;
	u32 generation;
	tid_t tid;
};

/**
 * struct xsync_mount - a super block mounted with -o xsync
 * @ops: what sb->s_op points to: ext4's with ours in between
 * @orig: ext4's
 * @sb: the super block; while @ops is its s_op, it holds this structure
 * @journal: its journal; NULL while mounted read-only from the start. Set once
 * @source: the journal as speculator knows it; registered when @journal is set
 * @node: in the list that the probes walk (RCU), while @journal is set
 * @tainting: modifications make dependent, and sync calls do not wait.
 *	Changed under s_umount
 * @eager: commit_mode=eager; changed under s_umount
 * @eager_tid: the last transaction an eager commit was asked for
 * @wanted: highest transaction whose commit was requested
 * @work: starts the commit of @wanted
 * @recent: XSYNC_RECENT for each CPU, by inode number
 * @zeroout: what extent_max_zeroout_kb was before
 * @users: calls inside our super operations, or flushing the device
 * @stats: see there
 *
 * Hooks and probes look at it under rcu_read_lock(). It is freed after a grace
 * period when the super block goes or is remounted with noxsync.
 */
struct xsync_mount {
	struct super_operations ops;
	const struct super_operations *orig;
	struct super_block *sb;
	journal_t *journal;
	struct speculator_source source;
	struct list_head node;
	bool tainting;
	bool eager;
	tid_t eager_tid;
	tid_t wanted;
	struct work_struct work;
	struct xsync_recent __percpu *recent;
	char zeroout[16];
	atomic_t users;
	struct xsync_stats stats;
};

/**
 * struct xsync_choice - what a mount or remount says about xsync
 * @xsync: wanted
 * @eager_set: commit_mode= was given
 * @eager: and is eager
 */
struct xsync_choice {
	bool xsync;
	bool eager_set;
	bool eager;
};

/* options.c */
int xsync_options_init(void);
void xsync_options_exit(void);
__printf(2, 3) void xsync_refused(struct fs_context *fc, const char *fmt, ...);

/* mount.c */
void xsync_put_super(struct super_block *sb);
int xsync_mount_check(struct fs_context *fc, struct super_block *sb);
int xsync_mount_attach(struct fs_context *fc, struct super_block *sb,
		       const struct xsync_choice *choice);
int xsync_mount_change(struct fs_context *fc, struct xsync_mount *x,
		       const struct xsync_choice *choice);
void xsync_mount_detach(struct xsync_mount *x);
int xsync_hooks_get(struct fs_context *fc);
void xsync_hooks_put(void);

/* zeroout.c */
int xsync_zeroout_init(void);
void xsync_zeroout_exit(void);
int xsync_zeroout_off(struct xsync_mount *x);
void xsync_zeroout_restore(struct xsync_mount *x);

/* journal.c */
int xsync_journal_init(void);
void xsync_journal_exit(void);
bool xsync_journal_ready(void);
journal_t *xsync_journal_find(struct super_block *sb);
int xsync_journal_arm(struct xsync_mount *x, char *why, size_t why_len);
void xsync_journal_disarm(struct xsync_mount *x);
bool xsync_journal_newest(const struct xsync_mount *x, tid_t *tid);
bool xsync_journal_on(const struct super_block *sb, const void *mapping);
extern struct spec_hook *const xsync_journal_hooks[];
extern const int xsync_journal_nr_hooks;

/* sync.c */
bool xsync_sync_fs_async(struct super_block *sb, int wait);
extern struct spec_hook *const xsync_sync_hooks[];
extern const int xsync_sync_nr_hooks;

/* shift.c */
extern struct spec_hook *const xsync_shift_hooks[];
extern const int xsync_shift_nr_hooks;

/* writeback.c */
extern struct spec_hook *const xsync_writeback_hooks[];
extern const int xsync_writeback_nr_hooks;

/* stats.c */
void xsync_stats_init(void);
void xsync_stats_exit(void);
void xsync_stats_add(struct xsync_mount *x);
void xsync_stats_remove(struct xsync_mount *x);
void xsync_stats_asked(struct xsync_mount *x, tid_t tid, enum xsync_trigger by);
void xsync_stats_committed(struct xsync_mount *x,
			   const transaction_t *transaction);

/*
 * Is @sb an xsync mount? Two loads and a compare, since hooks ask this for
 * every file system. The caller holds rcu_read_lock() or s_umount, or has
 * preemption disabled.
 */
static inline struct xsync_mount *xsync_mount_of(const struct super_block *sb)
{
	const struct super_operations *ops = READ_ONCE(sb->s_op);

	if (likely(ops->put_super != xsync_put_super))
		return NULL;
	return container_of((struct super_operations *)ops, struct xsync_mount,
			    ops);
}

#endif /* _XSYNC_H */
